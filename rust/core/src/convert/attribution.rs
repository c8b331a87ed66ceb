//! Which call a command belongs to: codex does not say, so it is read from time.
//!
//! A command belongs to the call whose program was running when it started: from the call's line to its output's, or,
//! where the output says that the program goes on in a cell, to the end of the `wait` that collects the cell. Times
//! are milliseconds since 1970, as lines and commands give them.

use std::collections::VecDeque;

use memchr::memmem;

use crate::rollout::{
    ByteOffset,
    ids::{CallId, Name, TurnId},
};

use super::call_marks::CallMarks;

/// Programs that are remembered. A command that started before all of them goes to the oldest that can own it.
const MOST_PROGRAMS: usize = 192;

/// Programs are forgotten, as above, when their ids come to more than this many bytes.
const MOST_ID_BYTES: usize = 16 << 10;

/// The longest id of a cell, and of the call that waits for it, that is remembered, in bytes.
const LONGEST_CELL_ID: usize = 64;

/// Bytes of program text that are remembered, newest first.
pub const MOST_TEXT: usize = 1 << 20;

/// Cells, and waits for cells, that are remembered.
const MOST_CELLS: usize = 32;

/// How a command's call was found, the words of `attribution` in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// One program ran when the command started.
    RunningProgram,
    /// Several ran, and one names the command in its text.
    NamedInProgram,
    /// Several are left; the latest that was called in the command's own turn.
    LatestRunningProgramInTurn,
    /// Several are left; the latest.
    LatestRunningProgram,
    /// None ran; the nearest call before it in its own turn.
    NearestPrecedingCallInTurn,
    /// None ran; the nearest call before it.
    NearestPrecedingCall,
}

impl Rule {
    /// As it stands in a record.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RunningProgram => "running_program",
            Self::NamedInProgram => "named_in_program",
            Self::LatestRunningProgramInTurn => "latest_running_program_in_turn",
            Self::LatestRunningProgram => "latest_running_program",
            Self::NearestPrecedingCallInTurn => "nearest_preceding_call_in_turn",
            Self::NearestPrecedingCall => "nearest_preceding_call",
        }
    }
}

/// Whether a tool starts commands.
#[must_use]
pub fn starts_commands(tool: &[u8]) -> bool {
    matches!(tool, b"exec" | b"exec_command" | b"shell" | b"shell_command" | b"local_shell")
}

/// A call that ran a program.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Program {
    call: CallId,
    turn: TurnId,
    /// Whether its call's own output has come, or can come no more.
    is_settled: bool,
    /// Where its text starts among all program texts of the input, and its length in bytes.
    text: (u64, u64),
    /// Where its call's line starts.
    line: ByteOffset,
}

impl Program {
    fn id_bytes(&self) -> usize {
        self.call.0.as_bytes().len() + self.turn.0.as_bytes().len()
    }
}

/// When a program ran, both ends included.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
struct Span {
    /// When its call was written; the end of time where that line had no timestamp, so nothing started after it.
    started: i64,
    /// When it ended; the end of time while it runs.
    finished: i64,
}

/// A time that never comes.
const NEVER: i64 = i64::MAX;

impl Span {
    fn from(started: Option<i64>) -> Self {
        Self { started: started.unwrap_or(NEVER), finished: NEVER }
    }

    fn began_by(self, time: i64) -> bool {
        self.started <= time && self.started != NEVER
    }

    fn holds(self, time: i64) -> bool {
        self.began_by(time) && time <= self.finished
    }
}

/// A call found for a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The call.
    pub call: CallId,
    /// How it was found.
    pub rule: Rule,
    /// Whether its output has come, or can come no more: the command's record need not wait for it.
    pub is_settled: bool,
}

/// Gives the program text of an earlier call's line again; needed only behind a restored state.
pub trait Reread {
    /// Appends the decoded program text of the call whose line starts at `line`, or leaves `text` as it is when it
    /// cannot be had.
    fn program_text(&mut self, line: ByteOffset, text: &mut Vec<u8>);
}

/// The programs seen so far, as far as a later command can belong to them.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Programs {
    /// In the order of their calls. The three queues go in step: what is looked through often stands close together.
    calls: VecDeque<Program>,
    spans: VecDeque<Span>,
    marks: CallMarks,
    /// Bytes of their ids.
    id_bytes: usize,
    /// Calls whose program goes on in a cell, by the cell.
    cells: VecDeque<(Name, CallId)>,
    /// Cells that calls of `wait` collect.
    waits: VecDeque<(CallId, Name)>,
    wait_marks: CallMarks,
    /// Bytes of all program texts so far.
    text_end: u64,
    /// Texts up to `text_end`. Not part of a saved state: they are read again when needed.
    #[serde(skip)]
    texts: Vec<u8>,
}

impl Programs {
    /// Takes in the call of a program.
    pub fn called(&mut self, call: CallId, started: Option<i64>, turn: &TurnId, text: &[u8], line: ByteOffset) {
        let text_start = self.text_end;
        self.keep_text(text);
        let text = (text_start, text.len() as u64);
        let mut program = Program { call, turn: turn.clone(), is_settled: false, text, line };
        self.id_bytes += program.id_bytes();
        if let Some(place) = self.place(&program.call) {
            // A call id that comes again keeps its first place, and an output seen is seen.
            self.id_bytes -= self.calls[place].id_bytes();
            program.is_settled = self.calls[place].is_settled;
            self.calls[place] = program;
            self.spans[place] = Span::from(started);
        } else {
            self.marks.push(&program.call);
            self.calls.push_back(program);
            self.spans.push_back(Span::from(started));
        }
        while self.calls.len() > MOST_PROGRAMS || self.id_bytes > MOST_ID_BYTES {
            self.forget_one();
        }
    }

    /// Takes in a call that waits for a cell.
    pub fn waits_for(&mut self, call: CallId, cell: Name) {
        if self.wait_marks.may_hold(&call) {
            self.waits.retain(|(known, _)| *known != call);
        }
        remember(&mut self.waits, (call, cell));
        self.wait_marks = self.waits.iter().map(|(call, _)| call).collect();
    }

    /// Takes in a call's output: the program has ended, unless the output says that it goes on in `cell`.
    pub fn answered(&mut self, call: &CallId, at: Option<i64>, cell: Option<Name>) {
        let finished = at.unwrap_or(NEVER);
        let goes_on = cell.is_some();
        if let Some(place) = self.place(call) {
            self.calls[place].is_settled = true;
            match cell {
                None => self.spans[place].finished = finished,
                Some(cell) => {
                    self.cells.retain(|(known, _)| *known != cell);
                    remember(&mut self.cells, (cell, call.clone()));
                }
            }
        }
        if goes_on {
            return;
        }
        if !self.wait_marks.may_hold(call) {
            return;
        }
        let collected = self.waits.iter().rfind(|(known, _)| known == call).map(|(_, cell)| cell);
        if let Some(place) = self.cells.iter().position(|(cell, _)| Some(cell) == collected)
            && let Some((_, owner)) = self.cells.remove(place)
            && let Some(place) = self.place(&owner)
        {
            self.spans[place].finished = finished;
        }
    }

    /// Says that the turn is over: calls that have no output by now get none that commands should wait for.
    pub fn settle_all(&mut self) {
        for program in &mut self.calls {
            program.is_settled = true;
        }
    }

    /// The call that a command belongs to, which started at `started` in `turn`; `command` appends its line, decoded,
    /// to `buffer` where it must be known.
    pub fn owner(
        &self,
        started: i64,
        command: impl FnOnce(&mut Vec<u8>),
        buffer: &mut Vec<u8>,
        turn: &TurnId,
        reread: &mut dyn Reread,
    ) -> Option<Owner> {
        let found = |place: usize, rule| {
            let program = &self.calls[place];
            Some(Owner { call: program.call.clone(), rule, is_settled: program.is_settled })
        };
        let in_turn = |place: &usize| !turn.0.is_empty() && self.calls[*place].turn == *turn;
        let mut running = self.places(|span| span.holds(started));
        match (running.next(), running.next()) {
            (Some(only), None) => return found(only, Rule::RunningProgram),
            (None, _) => {
                let mut before = self.places(|span| span.began_by(started));
                let latest = before.clone().next_back();
                return match before.rfind(in_turn) {
                    Some(place) => found(place, Rule::NearestPrecedingCallInTurn),
                    None => found(latest?, Rule::NearestPrecedingCall),
                };
            }
            _ => {}
        }
        let running: Vec<usize> = self.places(|span| span.holds(started)).collect();
        command(buffer);
        let command = &buffer[..];
        let wanted = Wanted::new(command);
        let naming: Vec<usize> =
            running.iter().copied().filter(|place| self.names(&self.calls[*place], &wanted, reread)).collect();
        if let [place] = naming[..] {
            return found(place, Rule::NamedInProgram);
        }
        let candidates = if naming.is_empty() { running } else { naming };
        match candidates.iter().rfind(|place| in_turn(place)) {
            Some(place) => found(*place, Rule::LatestRunningProgramInTurn),
            None => found(*candidates.last()?, Rule::LatestRunningProgram),
        }
    }

    /// The places of the programs whose span fits.
    fn places(&self, fits: impl Fn(Span) -> bool + Clone) -> impl DoubleEndedIterator<Item = usize> + Clone {
        self.spans.iter().enumerate().filter(move |(_, span)| fits(**span)).map(|(place, _)| place)
    }

    /// The place of a call's program.
    fn place(&self, call: &CallId) -> Option<usize> {
        if self.marks.may_hold(call) { self.calls.iter().rposition(|program| program.call == *call) } else { None }
    }

    /// Whether the program's text spells the command out, as it is or escaped for JSON.
    fn names(&self, program: &Program, command: &Wanted<'_>, reread: &mut dyn Reread) -> bool {
        let (start, length) = program.text;
        if self.text_end - start > MOST_TEXT as u64 {
            return false;
        }
        let kept_from = self.text_end - self.texts.len() as u64;
        let mut again = Vec::new();
        let text = if let Some(from) = start.checked_sub(kept_from).and_then(|from| usize::try_from(from).ok()) {
            &self.texts[from..from + usize::try_from(length).unwrap_or(0)]
        } else {
            reread.program_text(program.line, &mut again);
            &again
        };
        command.is_in(text)
    }

    /// Forgets the oldest program that has ended, or the oldest.
    fn forget_one(&mut self) {
        let has_ended = |place: &usize| self.spans[*place].finished != NEVER && self.calls[*place].is_settled;
        let place = (0..self.calls.len()).find(has_ended).unwrap_or(0);
        if let Some(program) = self.calls.remove(place) {
            self.id_bytes -= program.id_bytes();
        }
        self.spans.remove(place);
        self.marks.remove(place);
    }

    /// Keeps a program's text behind the others, and of all no more than is asked for.
    fn keep_text(&mut self, text: &[u8]) {
        self.text_end += text.len() as u64;
        if text.len() > MOST_TEXT {
            // No rule can ask for it, nor for any before it.
            self.texts.clear();
            return;
        }
        if self.texts.len() + text.len() > 2 * MOST_TEXT {
            self.texts.drain(..self.texts.len() - (MOST_TEXT - text.len()));
        }
        self.texts.extend_from_slice(text);
    }
}

/// A command to be found in programs.
struct Wanted<'c> {
    /// As it is.
    plain: &'c [u8],
    /// Escaped for JSON, where that makes a difference.
    escaped: Option<Vec<u8>>,
}

impl<'c> Wanted<'c> {
    fn new(command: &'c [u8]) -> Self {
        let mut escaped = Vec::with_capacity(command.len() + 16);
        crate::json::string::escape_to_ascii(command, &mut escaped);
        Self { plain: command, escaped: (escaped != command).then_some(escaped) }
    }

    /// Whether a program's text spells the command out, in one form or the other; none names an empty one.
    fn is_in(&self, text: &[u8]) -> bool {
        !self.plain.is_empty()
            && (contains(text, self.plain) || self.escaped.as_ref().is_some_and(|escaped| contains(text, escaped)))
    }
}

/// Whether `text` contains `wanted`.
///
/// A search for the first bytes costs less to set up than one for a long command; where they come often, the search
/// that takes no more time than the text is long takes over.
fn contains(text: &[u8], wanted: &[u8]) -> bool {
    const FIRST: usize = 24;
    const OFTEN: usize = 32;
    if wanted.len() <= FIRST {
        return memmem::find(text, wanted).is_some();
    }
    let first = memmem::Finder::new(&wanted[..FIRST]);
    let mut rest = text;
    for _ in 0..OFTEN {
        let Some(at) = first.find(rest) else { return false };
        if rest[at..].starts_with(wanted) {
            return true;
        }
        // The first bytes may come again inside themselves.
        rest = &rest[at + 1..];
    }
    memmem::find(rest, wanted).is_some()
}

/// Appends a pair of ids; of many the oldest go, and ids that no codex writes are not taken.
fn remember<One: Id, Other: Id>(pairs: &mut VecDeque<(One, Other)>, pair: (One, Other)) {
    if pair.0.length() <= LONGEST_CELL_ID && pair.1.length() <= LONGEST_CELL_ID {
        pairs.push_back(pair);
        if pairs.len() > MOST_CELLS {
            pairs.pop_front();
        }
    }
}

/// An id with a length in bytes.
trait Id {
    fn length(&self) -> usize;
}

impl Id for Name {
    fn length(&self) -> usize {
        self.as_bytes().len()
    }
}

impl Id for CallId {
    fn length(&self) -> usize {
        self.0.length()
    }
}

#[cfg(test)]
mod tests;
