//! What a rollout's lines say of its thread's turns: the signs that no hook gives (interrupt, error turn, a killed or
//! interrupted subagent, `/compact`).

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use memchr::memmem::Finder;

use crate::json::{Key, Kind as JsonKind, Tape, Text, scan};
use crate::rollout::ByteOffset;
use crate::rollout::envelope::Envelope;
use crate::rollout::ids::{Name, ThreadId, TurnId};
use crate::rollout::lines::{DEFAULT_LINE_LIMIT, LineError, Lines};
use crate::rollout::probe;
use crate::rollout::timestamp::Clock;

use super::state::Sign;

/// What was read of a rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// What lines say, in their order: of the latest turn that any names, as of those before nothing matters.
    pub signs: Vec<(TurnId, Sign)>,
    /// The latest turn that the lines name as begun or ended.
    pub latest: TurnId,
    /// Where the last whole line ends, in bytes.
    pub read: u64,
}

/// Reads what the lines of `rollout` from `from` on say of the turns of `thread`. `known` is the latest turn that is
/// known: lines that only name it are told too. A rollout that is shorter than `from` was written anew, and is read
/// from its start.
///
/// # Errors
///
/// What the system says, and an error of kind `InvalidData` for a line of more than 1 GiB.
pub fn read(rollout: &Path, from: u64, thread: &ThreadId, known: &TurnId) -> io::Result<Signs> {
    // A pipe would make the open wait, a device the reading.
    if !std::fs::metadata(rollout)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut file = std::fs::File::open(rollout)?;
    let size = file.metadata()?.len();
    let from = if from <= size { from } else { 0 };
    if from > 0 {
        file.seek(SeekFrom::Start(from))?;
    }
    read_lines(file, from, thread, known)
}

fn read_lines(input: impl Read, from: u64, thread: &ThreadId, known: &TurnId) -> io::Result<Signs> {
    let mut reading = Reading {
        thread,
        naming: naming(known),
        found: Signs { signs: Vec::new(), latest: known.clone(), read: from },
        named: None,
        tape: Tape::default(),
        clock: Clock::default(),
    };
    let mut lines = Lines::starting_at(input, ByteOffset(from), DEFAULT_LINE_LIMIT);
    loop {
        match lines.next_line() {
            Ok(None) => break,
            Ok(Some(line)) => {
                reading.line(line.text, line.next.0);
                reading.found.read = line.next.0;
            }
            Err(LineError::Read { source, .. }) => return Err(source),
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
    reading.push_named();
    Ok(reading.found)
}

/// How a line names a turn: in JSON these bytes are a member, never part of a text.
fn naming(turn: &TurnId) -> Option<Finder<'static>> {
    let member = [b"\"turn_id\":\"", turn.0.as_bytes(), b"\""].concat();
    (!turn.0.is_empty()).then(|| Finder::new(&member).into_owned())
}

struct Reading<'t> {
    thread: &'t ThreadId,
    naming: Option<Finder<'static>>,
    found: Signs,
    /// Where the last line ends that names the latest turn, if that was not told yet.
    named: Option<u64>,
    tape: Tape,
    clock: Clock,
}

impl Reading<'_> {
    fn line(&mut self, text: Text<'_>, line_end: u64) {
        match self.sign(text) {
            Some((turn, sign)) => {
                let is_copied = turn.is_later_than(self.thread) == Some(false);
                if is_copied || turn.is_earlier_than(&self.found.latest) {
                    return;
                }
                if !turn.0.is_empty() && turn != self.found.latest {
                    self.found.signs.clear();
                    self.named = None;
                    self.naming = naming(&turn);
                    self.found.latest = turn.clone();
                }
                if !self.is_known(sign) {
                    self.push_named();
                    self.found.signs.push((turn, sign));
                }
            }
            None if self.naming.as_ref().is_some_and(|naming| naming.find(text.bytes()).is_some()) => {
                self.named = Some(line_end);
            }
            None => {}
        }
    }

    /// Whether the sign adds nothing to those before it: so there are never more than a few.
    fn is_known(&self, sign: Sign) -> bool {
        let mut before = self.found.signs.iter().rev().map(|(_, sign)| *sign);
        match sign {
            // What was begun since the last time.
            Sign::RolledBack => before.find(|sign| matches!(sign, Sign::RolledBack | Sign::Began)) == Some(sign),
            _ => before.any(|known| known == sign),
        }
    }

    fn push_named(&mut self) {
        if let Some(line_end) = self.named.take() {
            self.found.signs.push((self.found.latest.clone(), Sign::Named { line_end }));
        }
    }

    /// What a line says of a turn's beginning and end.
    fn sign(&mut self, text: Text<'_>) -> Option<(TurnId, Sign)> {
        let head = probe::head(text.bytes(), &mut self.clock);
        if let Some(head) = &head
            && (head.kind != b"event_msg" || !may_be_sign(&text.bytes()[head.payload..]))
        {
            return None;
        }
        scan(text, &mut self.tape).ok()?;
        let envelope = Envelope::of(text, &self.tape, None);
        if envelope.kind.as_deref() != Some(b"event_msg") {
            return None;
        }
        let sign = match envelope.payload_kind.as_deref()? {
            b"task_started" | b"turn_started" => Sign::Began,
            b"task_complete" | b"turn_complete" | b"turn_aborted" => Sign::Ended,
            b"thread_rolled_back" => return Some((TurnId::default(), Sign::RolledBack)),
            _ => return None,
        };
        let turn = envelope.members.get(Key::TurnId)?;
        let name = (turn.kind == JsonKind::String).then(|| Name::new(turn.raw(text), turn.content.has_escape()));
        // Lines of versions whose turns have no ids (0.64) say nothing that can be told from older news.
        name.filter(|name| !name.is_empty()).map(|name| (TurnId(name), sign))
    }
}

/// Whether a payload, as codex writes it, may be one of those that tell.
fn may_be_sign(payload: &[u8]) -> bool {
    match payload.strip_prefix(b"{\"type\":\"") {
        Some(kind) => [&b"task_"[..], b"turn_", b"thread_rolled_back\""].iter().any(|sign| kind.starts_with(sign)),
        None => true,
    }
}

#[cfg(test)]
mod tests;
