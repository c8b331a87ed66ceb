//! Signals in a rollout's lines. They show what no hook reports: an interrupt, a failed turn, a killed or interrupted
//! subagent, `/compact`.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::files::fingerprint::{self, Fingerprint};
use crate::files::regular::open_regular;
use crate::json::{Key, Kind as JsonKind, Tape, Text, scan};
use crate::rollout::ByteOffset;
use crate::rollout::damage::WholeRecords;
use crate::rollout::decompression::Input;
use crate::rollout::envelope::Envelope;
use crate::rollout::ids::{Name, ThreadId, TurnId};
use crate::rollout::line_prefix;
use crate::rollout::lines::Lines;
use crate::rollout::timestamp::Clock;

use super::payload::QUESTION_TOOL;
use super::state::Signal;

/// The length in bytes above which the middle of a line is skipped. Lines with signals have some 100 bytes. The longest
/// lines are histories that a compaction has replaced.
const MAX_KEPT: usize = 16 << 20;

/// The signals of a rollout's lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signals {
    /// The signals in line order, for the latest turn only; earlier turns no longer matter. If the ids do not show that
    /// the latest turn is later than another turn that begins before it, the first signal is that beginning.
    pub(crate) list: Vec<(TurnId, Signal)>,
    /// The latest turn of which the lines show the beginning or the end.
    pub(crate) latest: TurnId,
    /// The offset of the end of the last complete line, in bytes.
    pub(crate) read_offset: u64,
    /// The hash of the bytes before that offset, if it is known.
    pub(crate) read_fingerprint: Option<Fingerprint>,
    /// Whether the rollout was rewritten since it was last read. If so, the signals are those from its start.
    pub(crate) is_rewritten: bool,
}

/// The part of a thread's state that is needed to read its rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownThread {
    /// The thread.
    pub(crate) thread: ThreadId,
    /// Its latest turn.
    pub(crate) turn: TurnId,
    /// If that turn was stopped, the size of the rollout at that time, in bytes. The last line after it that names the
    /// turn is a signal.
    pub(crate) stopped_at: Option<u64>,
    /// If Codex waits for the user in that turn, the size of the rollout at the time of the request, in bytes. The output
    /// of a call after it is a signal.
    pub(crate) asked_at: Option<u64>,
    /// Whether the beginning of that turn was read in the rollout.
    pub(crate) has_read_beginning: bool,
    /// The offset up to which the rollout was read, in bytes.
    pub(crate) read_offset: u64,
    /// The hash of the bytes before that offset, if it is known.
    pub(crate) read_fingerprint: Option<Fingerprint>,
}

/// Reads the signals of the new lines of `rollout` that end at `until` or before. A rollout that is shorter than before,
/// or has other bytes before the known offset, was rewritten and is read from its start. A rollout that Codex has
/// compressed since continues at the same offset.
///
/// # Errors
///
/// Returns an error if the rollout cannot be read.
pub(crate) fn read(rollout: &Path, known: &KnownThread, until: u64) -> io::Result<Signals> {
    let file = match open_regular(rollout) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return read_compressed(rollout, until, known),
        file => file?,
    };
    let size = file.metadata()?.len();
    // If the size is unchanged, there are no new lines, and the hash need not be checked.
    let is_rewritten = match known.read_fingerprint {
        Some(expected) if size > known.read_offset => fingerprint::before(&file, known.read_offset)? != expected,
        _ => size < known.read_offset,
    };
    let from = if is_rewritten { 0 } else { known.read_offset };
    let signals = read_file(&file, from, until, known)?;
    let read_fingerprint = if signals.read_offset == from {
        known.read_fingerprint
    } else {
        Some(fingerprint::before(&file, signals.read_offset)?)
    };
    Ok(Signals { read_fingerprint, is_rewritten, ..signals })
}

/// Returns the size of a rollout in bytes, and the hash of its end.
///
/// # Errors
///
/// Returns an error if the rollout cannot be read.
pub(crate) fn size(rollout: &Path) -> io::Result<(u64, Fingerprint)> {
    let file = open_regular(rollout)?;
    let size = file.metadata()?.len();
    Ok((size, fingerprint::before(&file, size)?))
}

/// The bytes at the start of a rollout that are searched for the origin of its thread, which precedes the instructions.
const META: u64 = 16 << 10;

/// Returns whether a rollout belongs to a side conversation (`/side`, `/btw`). On 0.171 it has one if the TUI shows it next
/// to the main conversation.
pub(super) fn is_side_conversation(rollout: &Path) -> bool {
    let mut start = Vec::new();
    let read = open_regular(rollout).and_then(|file| file.take(META).read_to_end(&mut start));
    let meta = memchr::memchr(b'\n', &start).map_or(&start[..], |end| &start[..end]);
    // In JSON these bytes are never part of a string.
    read.is_ok() && memchr::memmem::find(meta, b"\"thread_source\":\"tui_side_chat\"").is_some()
}

/// Reads the signals of the new lines in the last `limit` bytes of `rollout`. The returned offset is the known one, so
/// that a later call of [`read`] does not miss the lines before them.
///
/// # Errors
///
/// Returns an error if the rollout cannot be read.
pub(crate) fn read_end(rollout: &Path, limit: u64, known: &KnownThread) -> io::Result<Signals> {
    let signals = match open_regular(rollout) {
        // The end of a compressed rollout can only be reached through everything before it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            read_compressed(rollout, known.read_offset.saturating_add(limit), known)?
        }
        file => {
            let file = file?;
            let start = file.metadata()?.len().saturating_sub(limit);
            if start <= known.read_offset {
                return read(rollout, known, u64::MAX);
            }
            // The first line is most likely the rest of a line, which is not a signal.
            read_file(&file, start, u64::MAX, known)?
        }
    };
    let KnownThread { read_offset, read_fingerprint, .. } = *known;
    Ok(Signals { read_offset, read_fingerprint, is_rewritten: false, ..signals })
}

fn read_file(mut file: &File, from: u64, until: u64, known: &KnownThread) -> io::Result<Signals> {
    file.seek(SeekFrom::Start(from))?;
    read_lines(file.take(until.saturating_sub(from)), from, known)
}

/// Reads a compressed rollout up to the offset `until`. Codex (0.163, 0.169) can replace an idle rollout by
/// `<its path>.zst`, and decompresses it again when the session is resumed.
fn read_compressed(rollout: &Path, until: u64, known: &KnownThread) -> io::Result<Signals> {
    let mut path = rollout.as_os_str().to_owned();
    path.push(".zst");
    // `Input::open` also opens pipes, which could block.
    open_regular(Path::new(&path))?;
    let decompressed = || Input::open(Path::new(&path)).map(|input| input.take(until.max(known.read_offset)));
    let mut input = decompressed()?;
    let skipped = io::copy(&mut input.by_ref().take(known.read_offset), &mut io::sink())?;
    if skipped < known.read_offset {
        return Ok(Signals { is_rewritten: true, ..read_lines(decompressed()?, 0, known)? });
    }
    let signals = read_lines(input, known.read_offset, known)?;
    let read_fingerprint = known.read_fingerprint.filter(|_| signals.read_offset == known.read_offset);
    Ok(Signals { read_fingerprint, ..signals })
}

fn read_lines(input: impl Read, from: u64, known: &KnownThread) -> io::Result<Signals> {
    let mut scanner = SignalScanner::new(from, known);
    let mut lines = Lines::starting_at(input, ByteOffset(from), usize::MAX).keeping(MAX_KEPT);
    while let Some(line) = lines.next_line()? {
        scanner.line(line.text, line.next.0);
    }
    Ok(scanner.finish())
}

/// Collects the signals of lines that another module reads, so that they are not read twice.
pub(crate) struct LineListener {
    path: PathBuf,
    known: KnownThread,
    scanner: SignalScanner,
    /// The hash of the bytes before the current offset.
    fingerprint: Option<Fingerprint>,
}

impl LineListener {
    /// Returns a listener for the new lines of `path`.
    pub(super) fn new(path: PathBuf, known: KnownThread) -> Self {
        let scanner = SignalScanner::new(known.read_offset, &known);
        Self { path, scanner, fingerprint: known.read_fingerprint, known }
    }

    /// Returns whether the next line that the listener expects is the one at `offset` of `path`, after bytes with this
    /// hash.
    pub(crate) fn is_at(&self, path: &Path, offset: u64, fingerprint: Fingerprint) -> bool {
        offset == self.scanner.found.read_offset
            && (offset == 0 || self.fingerprint == Some(fingerprint))
            && path == self.path
    }

    /// Scans the next line, which ends at the offset `line_end`.
    pub(crate) fn line(&mut self, text: Text<'_>, line_end: u64) {
        self.scanner.line(text, line_end);
    }

    /// Sets the hash of the bytes before the current offset.
    pub(crate) fn pause(&mut self, fingerprint: Fingerprint) {
        self.fingerprint = Some(fingerprint);
    }

    /// Returns the signals, if the lines are the next ones of `path` according to `known`.
    pub(super) fn signals(self, path: &Path, known: &KnownThread) -> Option<Signals> {
        let is_current =
            path == self.path && *known == self.known && self.scanner.found.read_offset > known.read_offset;
        is_current.then(|| Signals { read_fingerprint: self.fingerprint, ..self.scanner.finish() })
    }
}

/// Returns a finder for the member with which a line names the turn. In JSON these bytes are never part of a string.
fn name_finder(turn: &TurnId) -> Option<Finder<'static>> {
    let member = [b"\"turn_id\":\"", turn.0.as_bytes(), b"\""].concat();
    (!turn.0.is_empty()).then(|| Finder::new(&member).into_owned())
}

/// The finder for the member that names the tool of a question. In JSON these bytes are never part of a string.
static QUESTION_NAME: LazyLock<Finder<'static>> =
    LazyLock::new(|| Finder::new(b"\"name\":\"request_user_input\"").into_owned());

/// The finder for the item of a prompt. In JSON these bytes are never part of a string.
static USER_ITEM: LazyLock<Finder<'static>> =
    LazyLock::new(|| Finder::new(b"\"item\":{\"type\":\"UserMessage\"").into_owned());

/// The number of bytes at the start of a payload that have the type of its item, after the ids of thread and turn.
const ITEM_TYPE: usize = 256;

/// The kind of a line with a compaction.
const COMPACTED: &[u8] = b"compacted";

/// What a line may contain.
enum Scanned {
    /// No signal.
    NoSignal,
    /// One record, which was scanned.
    Record,
    /// A compaction, which was not scanned: it can have hundreds of megabytes.
    Compaction,
    /// Something else, such as several records.
    Damaged,
}

struct SignalScanner {
    thread: ThreadId,
    /// The finder for the known turn's name, and the offset after which names are signals.
    name_finder: Option<(Finder<'static>, u64)>,
    found: Signals,
    /// The offset after which the output of a call is a signal. It is known while Codex waits for the user.
    asked_at: Option<u64>,
    /// The turn with the latest id among those whose beginning was read.
    begun: Option<TurnId>,
    /// Whether the beginning of the latest turn was read.
    has_read_beginning: bool,
    /// Whether a prompt of that turn was read. Others add nothing.
    has_read_prompt: bool,
    /// The end of the last line that names the latest turn, unless that signal was already added.
    named: Option<u64>,
    tape: Tape,
    clock: Clock,
}

impl SignalScanner {
    fn new(from: u64, known: &KnownThread) -> Self {
        let has_read_beginning = known.has_read_beginning && from >= known.read_offset;
        Self {
            thread: known.thread.clone(),
            name_finder: known.stopped_at.and_then(|size| Some((name_finder(&known.turn)?, size))),
            asked_at: known.asked_at,
            found: Signals { latest: known.turn.clone(), read_offset: from, ..Signals::default() },
            begun: has_read_beginning.then(|| known.turn.clone()),
            has_read_beginning,
            has_read_prompt: false,
            named: None,
            tape: Tape::default(),
            clock: Clock::default(),
        }
    }

    /// Returns whether a payload of a model's message, in the format that Codex writes, may be a signal.
    fn may_be_call_signal(&self, payload: &[u8]) -> bool {
        match payload_kind(payload) {
            Some(b"function_call") => QUESTION_NAME.find(payload).is_some(),
            Some(kind) => self.asked_at.is_some() && kind.ends_with(OUTPUT),
            None => true,
        }
    }

    fn finish(mut self) -> Signals {
        self.push_named();
        self.found
    }

    fn line(&mut self, text: Text<'_>, line_end: u64) {
        self.found.read_offset = line_end;
        match self.scan_line(text) {
            Scanned::Record => {
                let signal = self.signal(text, line_end);
                self.apply(signal, text, line_end);
            }
            Scanned::Compaction => self.apply(Some((TurnId::default(), Signal::CompactionRead)), text, line_end),
            Scanned::Damaged => self.damaged_line(text, line_end),
            Scanned::NoSignal => self.apply(None, text, line_end),
        }
    }

    /// Applies the whole records of a damaged line.
    #[cold]
    fn damaged_line(&mut self, text: Text<'_>, line_end: u64) {
        let (mut records, mut copy) = (WholeRecords::of(text, false), Vec::new());
        let mut tape = std::mem::take(&mut self.tape);
        let mut has_signal = false;
        while let Some(range) = records.next(&mut tape) {
            let record = text.part(range, &mut copy);
            if scan(record, &mut self.tape).is_ok() {
                let signal = self.signal(record, line_end);
                has_signal |= signal.is_some();
                self.apply(signal, record, line_end);
            }
        }
        if !has_signal {
            self.apply(None, text, line_end);
        }
        self.tape = tape;
    }

    /// Applies the signal of a record that ends in the line before `line_end`.
    fn apply(&mut self, signal: Option<(TurnId, Signal)>, text: Text<'_>, line_end: u64) {
        match signal {
            Some((_, signal @ (Signal::QuestionRead { .. } | Signal::OutputRead { .. }))) => self.push_call(signal),
            Some((_, signal @ (Signal::CompactionRead | Signal::PromptRead))) => self.push_work(signal, text, line_end),
            Some((turn, signal)) => {
                // Copies of another thread's history precede the thread's own turns.
                let is_copied = !self.has_read_beginning && turn.is_later_than(&self.thread) == Some(false);
                let is_other = !turn.0.is_empty() && turn != self.found.latest;
                // The same rule as in `Thread::apply`.
                let is_earlier = if self.has_read_beginning {
                    signal != Signal::Began
                } else {
                    turn.is_earlier_than(&self.found.latest)
                };
                if is_copied || (is_other && is_earlier) {
                    return;
                }
                if is_other {
                    self.begin_turn(&turn);
                }
                if signal == Signal::Began {
                    self.has_read_beginning = true;
                    if self.begun.as_ref().is_none_or(|begun| !turn.is_earlier_than(begun)) {
                        self.begun = Some(turn.clone());
                    }
                }
                if !self.is_redundant(&turn, signal) {
                    self.push_named();
                    self.found.list.push((turn, signal));
                }
            }
            None => self.note_name(text, line_end),
        }
    }

    /// Notes the end of a line that names the stopped turn and ends after the size at which it was stopped.
    fn note_name(&mut self, text: Text<'_>, line_end: u64) {
        if self.names_stopped_turn(text, line_end) {
            self.named = Some(line_end);
        }
    }

    /// Adds what a line says about the work of the latest turn, once. Such a line may name the turn as well.
    fn push_work(&mut self, signal: Signal, text: Text<'_>, line_end: u64) {
        let turn = TurnId::default();
        // What precedes the thread's own turns is a copy.
        if self.has_read_beginning && !self.is_redundant(&turn, signal) {
            self.found.list.push((turn, signal));
        }
        self.has_read_prompt |= signal == Signal::PromptRead;
        self.note_name(text, line_end);
    }

    /// Returns whether the line names the stopped turn and ends after the size at which it was stopped.
    fn names_stopped_turn(&self, text: Text<'_>, line_end: u64) -> bool {
        let is_named = |(finder, size): &(Finder<'_>, u64)| line_end > *size && finder.find(text.bytes()).is_some();
        self.name_finder.as_ref().is_some_and(is_named)
    }

    /// Makes `turn` the latest one and drops the signals of earlier turns, except for the beginning of a turn with a later
    /// id.
    fn begin_turn(&mut self, turn: &TurnId) {
        let later_id = self.begun.as_ref().filter(|begun| turn.is_earlier_than(begun));
        self.found.list = later_id.map(|begun| (begun.clone(), Signal::Began)).into_iter().collect();
        self.found.latest = turn.clone();
        self.has_read_beginning = false;
        self.has_read_prompt = false;
        self.named = None;
        self.name_finder = None;
        self.asked_at = None;
    }

    /// Adds the signal of a call or an output, which is for the latest turn. Only the last ones matter.
    fn push_call(&mut self, signal: Signal) {
        // What precedes the thread's own turns is a copy.
        if !self.has_read_beginning {
            return;
        }
        if let Signal::QuestionRead { line_end } = signal {
            self.asked_at = Some(self.asked_at.map_or(line_end, |size| size.min(line_end)));
        }
        self.push_named();
        if let Some((_, Signal::QuestionRead { .. } | Signal::OutputRead { .. })) = self.found.list.last() {
            self.found.list.pop();
        }
        self.found.list.push((self.found.latest.clone(), signal));
    }

    /// Returns whether the signal adds nothing to the previous ones. This keeps the list short.
    fn is_redundant(&self, turn: &TurnId, signal: Signal) -> bool {
        let mut before = self.found.list.iter().rev();
        match signal {
            // A rollback matters again once another turn has begun.
            Signal::RolledBack => before
                .find(|(_, known)| matches!(known, Signal::RolledBack | Signal::Began))
                .is_some_and(|(_, known)| *known == signal),
            _ => before.any(|(of, known)| (of, *known) == (turn, signal)),
        }
    }

    fn push_named(&mut self) {
        if let Some(line_end) = self.named.take() {
            self.found.list.push((self.found.latest.clone(), Signal::Named { line_end }));
        }
    }

    /// Scans a line if it may report a signal.
    fn scan_line(&mut self, text: Text<'_>) -> Scanned {
        let head = line_prefix::head(text.bytes(), &mut self.clock);
        if let Some(head) = &head {
            let payload = &text.bytes()[head.payload..];
            let is_candidate = match head.kind {
                b"event_msg" => may_be_signal(payload) || (!self.has_read_prompt && is_prompt(payload)),
                b"response_item" => self.may_be_call_signal(payload),
                _ => false,
            };
            if head.kind == COMPACTED {
                let is_alone = !line_prefix::has_second_record(text.bytes(), head);
                return if is_alone { Scanned::Compaction } else { Scanned::Damaged };
            }
            if !is_candidate && !line_prefix::has_second_record(text.bytes(), head) {
                return Scanned::NoSignal;
            }
        }
        if scan(text, &mut self.tape).is_ok() { Scanned::Record } else { Scanned::Damaged }
    }

    /// Returns the beginning, end, rollback, question or output that a scanned record reports, and its turn. Questions
    /// and outputs name no turn in all versions.
    fn signal(&self, text: Text<'_>, line_end: u64) -> Option<(TurnId, Signal)> {
        let envelope = Envelope::of(text, &self.tape, None);
        if envelope.kind.as_deref() == Some(b"response_item") {
            let signal = match envelope.payload_kind.as_deref()? {
                b"function_call" => {
                    let name = envelope.members.get(Key::Name)?;
                    (name.kind == JsonKind::String && name.raw(text) == QUESTION_TOOL)
                        .then_some(Signal::QuestionRead { line_end })
                }
                kind if kind.ends_with(OUTPUT) && self.asked_at.is_some_and(|size| line_end > size) => {
                    Some(Signal::OutputRead { line_end })
                }
                _ => None,
            };
            return signal.map(|signal| (TurnId::default(), signal));
        }
        if envelope.kind.as_deref() == Some(COMPACTED) {
            return Some((TurnId::default(), Signal::CompactionRead));
        }
        if envelope.kind.as_deref() != Some(b"event_msg") {
            return None;
        }
        let signal = match envelope.payload_kind.as_deref()? {
            b"task_started" | b"turn_started" => Signal::Began,
            b"task_complete" | b"turn_complete" | b"turn_aborted" => Signal::Ended,
            b"thread_rolled_back" => return Some((TurnId::default(), Signal::RolledBack)),
            b"user_message" => return Some((TurnId::default(), Signal::PromptRead)),
            b"item_completed" if USER_ITEM.find(text.bytes()).is_some() => {
                return Some((TurnId::default(), Signal::PromptRead));
            }
            _ => return None,
        };
        let turn = envelope.members.get(Key::TurnId)?;
        let name = (turn.kind == JsonKind::String).then(|| Name::new(turn.raw(text), turn.content.has_escape()));
        // In versions without turn ids (0.64) late lines cannot be distinguished from new ones.
        name.filter(|name| !name.is_empty()).map(|name| (TurnId(name), signal))
    }
}

/// The end of the kinds of lines with the output of a call: `function_call_output`, `custom_tool_call_output`, ….
const OUTPUT: &[u8] = b"_output";

/// Returns the kind of a payload in the format that Codex writes.
fn payload_kind(payload: &[u8]) -> Option<&[u8]> {
    let rest = payload.strip_prefix(b"{\"type\":\"")?;
    rest.get(..memchr::memchr(b'"', rest)?)
}

/// Returns whether a payload, in the format that Codex writes, is a prompt of the user: an item since 0.147, an event
/// before.
fn is_prompt(payload: &[u8]) -> bool {
    match payload_kind(payload) {
        Some(b"item_completed") => USER_ITEM.find(&payload[..payload.len().min(ITEM_TYPE)]).is_some(),
        kind => kind == Some(b"user_message"),
    }
}

/// Returns whether a payload, in the format that Codex writes, may be a signal.
fn may_be_signal(payload: &[u8]) -> bool {
    match payload.strip_prefix(b"{\"type\":\"") {
        Some(kind) => [&b"task_"[..], b"turn_", b"thread_rolled_back\""].iter().any(|start| kind.starts_with(start)),
        None => true,
    }
}

#[cfg(test)]
mod tests;
