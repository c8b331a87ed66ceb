//! What a rollout's lines say of its thread's turns: the signs that no hook gives (interrupt, error turn, a killed or
//! interrupted subagent, `/compact`).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use memchr::memmem::Finder;

use crate::files::fingerprint::{self, Fingerprint};
use crate::json::{Key, Kind as JsonKind, Tape, Text, scan};
use crate::rollout::ByteOffset;
use crate::rollout::envelope::Envelope;
use crate::rollout::ids::{Name, ThreadId, TurnId};
use crate::rollout::input::Input;
use crate::rollout::lines::Lines;
use crate::rollout::probe;
use crate::rollout::timestamp::Clock;

use super::state::Sign;

/// Of a line of more bytes than this the middle is passed over. Lines that tell are of some 100 bytes; the largest are
/// histories that a compaction has replaced.
const MOST_KEPT: usize = 16 << 20;

/// What was read of a rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// What lines say, in their order: of the latest turn that any names, as of those before nothing matters; and that
    /// another begins in front of it, where the ids do not tell.
    pub signs: Vec<(TurnId, Sign)>,
    /// The latest turn that the lines name as begun or ended.
    pub latest: TurnId,
    /// Where the last whole line ends, in bytes.
    pub read: u64,
    /// The hash of the last bytes before that place, where it is known.
    pub read_end: Option<Fingerprint>,
    /// Whether the rollout was written anew since it was read, so that this is what it says from its start.
    pub is_anew: bool,
}

/// What is known of a thread whose rollout is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The thread.
    pub thread: ThreadId,
    /// Its latest turn.
    pub turn: TurnId,
    /// Where that was stopped, the rollout's size then, in bytes: of lines behind it that only name the turn the last one
    /// is told too.
    pub stopped_at: Option<u64>,
    /// Whether that turn begins in what was read of the rollout.
    pub has_beginning: bool,
    /// How much of the rollout was read, in bytes.
    pub read: u64,
    /// The hash of the last bytes of that, where it is known.
    pub read_end: Option<Fingerprint>,
}

/// Reads what the lines of `rollout` that were not read yet say of a thread's turns, as far as the place `until`. A
/// rollout that is shorter than what was read, or has other bytes before that place, was written anew, and is read from
/// its start. One that codex compressed since is read as it was.
///
/// # Errors
///
/// What the system says.
pub fn read(rollout: &Path, known: &Known, until: u64) -> io::Result<Signals> {
    let file = match open(rollout) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return read_compressed(rollout, until, known),
        file => file?,
    };
    let size = file.metadata()?.len();
    // One of the same size has nothing new.
    let is_anew = match known.read_end {
        Some(read_end) if size > known.read => fingerprint::before(&file, known.read)? != read_end,
        _ => size < known.read,
    };
    let from = if is_anew { 0 } else { known.read };
    let signs = read_file(&file, from, until, known)?;
    let read_end = if signs.read == from { known.read_end } else { Some(fingerprint::before(&file, signs.read)?) };
    Ok(Signals { read_end, is_anew, ..signs })
}

/// How large a rollout is, in bytes, and the hash of its end.
///
/// # Errors
///
/// What the system says.
pub fn size(rollout: &Path) -> io::Result<(u64, Fingerprint)> {
    let file = open(rollout)?;
    let size = file.metadata()?.len();
    Ok((size, fingerprint::before(&file, size)?))
}

/// As [`read`], but of no more than the last `most` bytes, which takes no time to speak of. Where that is not all that was
/// not read yet, it is not told that more was read than before.
///
/// # Errors
///
/// As those of [`read`]
pub fn read_end(rollout: &Path, most: u64, known: &Known) -> io::Result<Signals> {
    let signs = match open(rollout) {
        // Of a compressed one the end cannot be had without all that is in front of it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            read_compressed(rollout, known.read.saturating_add(most), known)?
        }
        file => {
            let file = file?;
            let end = file.metadata()?.len().saturating_sub(most);
            if end <= known.read {
                return read(rollout, known, u64::MAX);
            }
            // The first line of the end is most likely the rest of one, which says nothing.
            read_file(&file, end, u64::MAX, known)?
        }
    };
    Ok(Signals { read: known.read, read_end: known.read_end, is_anew: false, ..signs })
}

fn open(rollout: &Path) -> io::Result<File> {
    // A pipe would make the open wait, a device the reading.
    if !std::fs::metadata(rollout)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    File::open(rollout)
}

fn read_file(mut file: &File, from: u64, until: u64, known: &Known) -> io::Result<Signals> {
    file.seek(SeekFrom::Start(from))?;
    read_lines(file.take(until.saturating_sub(from)), from, known)
}

/// Codex (0.163, 0.169) can replace an idle rollout by `<its path>.zst`, and puts it back when the session is resumed. It
/// is read as far as the place `until`.
fn read_compressed(rollout: &Path, until: u64, known: &Known) -> io::Result<Signals> {
    let mut path = rollout.as_os_str().to_owned();
    path.push(".zst");
    open(Path::new(&path))?;
    let decompressed = || Input::open(Path::new(&path)).map(|input| input.take(until.max(known.read)));
    let mut input = decompressed()?;
    let skipped = io::copy(&mut input.by_ref().take(known.read), &mut io::sink())?;
    if skipped < known.read {
        return Ok(Signals { is_anew: true, ..read_lines(decompressed()?, 0, known)? });
    }
    let signs = read_lines(input, known.read, known)?;
    let read_end = known.read_end.filter(|_| signs.read == known.read);
    Ok(Signals { read_end, ..signs })
}

fn read_lines(input: impl Read, from: u64, known: &Known) -> io::Result<Signals> {
    let mut reading = Reading::new(from, known);
    let mut lines = Lines::starting_at(input, ByteOffset(from), usize::MAX).keeping(MOST_KEPT);
    while let Some(line) = lines.next_line()? {
        reading.line(line.text, line.next.0);
    }
    Ok(reading.finish())
}

/// Hears a rollout's lines as somebody else reads them, so that they are not read twice.
pub struct LineListener {
    path: PathBuf,
    known: Known,
    reading: Reading,
    /// The hash of the last bytes before the place that was come to.
    end: Option<Fingerprint>,
}

impl LineListener {
    /// Hears the lines of `path` that are not known yet.
    #[must_use]
    pub fn new(path: PathBuf, known: Known) -> Self {
        Self { path, reading: Reading::new(known.read, &known), end: known.read_end, known }
    }

    /// Whether the line behind so many bytes of `path`, which end in this hash, is the one to be heard next.
    #[must_use]
    pub fn is_at(&self, path: &Path, read: u64, end: Fingerprint) -> bool {
        read == self.reading.found.read && (read == 0 || self.end == Some(end)) && path == self.path
    }

    /// Hears the next line, which ends at `line_end`.
    pub fn line(&mut self, text: Text<'_>, line_end: u64) {
        self.reading.line(text, line_end);
    }

    /// Takes in what hash the lines that were heard end in.
    pub fn pause(&mut self, end: Fingerprint) {
        self.end = Some(end);
    }

    /// What the lines say, if they are those of `path` that are not known, as far as `known` goes.
    pub(super) fn signs(self, path: &Path, known: &Known) -> Option<Signals> {
        let is_wanted = path == self.path && *known == self.known && self.reading.found.read > known.read;
        is_wanted.then(|| Signals { read_end: self.end, ..self.reading.finish() })
    }
}

/// How a line names a turn: in JSON these bytes are a member, never part of a text.
fn naming(turn: &TurnId) -> Option<Finder<'static>> {
    let member = [b"\"turn_id\":\"", turn.0.as_bytes(), b"\""].concat();
    (!turn.0.is_empty()).then(|| Finder::new(&member).into_owned())
}

struct Reading {
    thread: ThreadId,
    /// What names the known turn, and from where on in the rollout that matters.
    naming: Option<(Finder<'static>, u64)>,
    found: Signals,
    /// Of the turns that begin in what was read the latest by its id.
    begun: Option<TurnId>,
    /// Whether the latest turn does.
    has_beginning: bool,
    /// Where the last line ends that names the latest turn, if that was not told yet.
    named: Option<u64>,
    tape: Tape,
    clock: Clock,
}

impl Reading {
    fn new(from: u64, known: &Known) -> Self {
        Self {
            thread: known.thread.clone(),
            naming: known.stopped_at.and_then(|size| Some((naming(&known.turn)?, size))),
            found: Signals { latest: known.turn.clone(), read: from, ..Signals::default() },
            begun: (known.has_beginning && from >= known.read).then(|| known.turn.clone()),
            has_beginning: known.has_beginning && from >= known.read,
            named: None,
            tape: Tape::default(),
            clock: Clock::default(),
        }
    }

    fn finish(mut self) -> Signals {
        self.push_named();
        self.found
    }

    fn line(&mut self, text: Text<'_>, line_end: u64) {
        self.found.read = line_end;
        match self.sign(text) {
            Some((turn, sign)) => {
                // A copy stands in front of the thread's own turns.
                let is_copied = !self.has_beginning && turn.is_later_than(&self.thread) == Some(false);
                let is_other = !turn.0.is_empty() && turn != self.found.latest;
                // As the state takes it.
                let is_earlier =
                    if self.has_beginning { sign != Sign::Began } else { turn.is_earlier_than(&self.found.latest) };
                if is_copied || (is_other && is_earlier) {
                    return;
                }
                if is_other {
                    self.begin_turn(&turn);
                }
                if sign == Sign::Began {
                    self.has_beginning = true;
                    if self.begun.as_ref().is_none_or(|begun| !turn.is_earlier_than(begun)) {
                        self.begun = Some(turn.clone());
                    }
                }
                if !self.is_known(&turn, sign) {
                    self.push_named();
                    self.found.signs.push((turn, sign));
                }
            }
            None if self.is_named(text, line_end) => self.named = Some(line_end),
            None => {}
        }
    }

    /// Whether the line names the turn that was stopped, behind that.
    fn is_named(&self, text: Text<'_>, line_end: u64) -> bool {
        self.naming.as_ref().is_some_and(|(naming, size)| line_end > *size && naming.find(text.bytes()).is_some())
    }

    /// Takes in that lines are about another turn from now on: what those before it said is of no matter, but that a
    /// turn with a later id begins in front of it.
    fn begin_turn(&mut self, turn: &TurnId) {
        let in_front = self.begun.as_ref().filter(|begun| turn.is_earlier_than(begun));
        self.found.signs = in_front.map(|begun| (begun.clone(), Sign::Began)).into_iter().collect();
        self.found.latest = turn.clone();
        self.has_beginning = false;
        self.named = None;
        self.naming = None;
    }

    /// Whether the sign adds nothing to those before it: so there are never more than a few.
    fn is_known(&self, turn: &TurnId, sign: Sign) -> bool {
        let mut before = self.found.signs.iter().rev();
        match sign {
            // What was begun since the last time.
            Sign::RolledBack => before
                .find(|(_, sign)| matches!(sign, Sign::RolledBack | Sign::Began))
                .is_some_and(|(_, known)| *known == sign),
            _ => before.any(|(of, known)| (of, *known) == (turn, sign)),
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
