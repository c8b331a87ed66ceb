//! Finds the call that a command belongs to. Codex does not record it, so it is derived from times.
//!
//! A command belongs to the call whose program was running when the command started. A program runs from the line of
//! its call to the line of its output. If the output reports that the program continues in a cell, it runs until the
//! output of the `wait` that collects the cell. Times are milliseconds since 1970, as in lines and commands.

use std::collections::VecDeque;

use memchr::memmem;

use crate::rollout::{
    ByteOffset,
    ids::{CallId, Name, TurnId},
};

use super::call_filter::CallFilter;

/// The number of programs that are remembered. A command that started before all of them belongs to the oldest one
/// that can own it.
const MAX_PROGRAMS: usize = 192;

/// The maximum total size of the remembered programs' ids, in bytes. Programs are forgotten beyond it.
const MAX_ID_BYTES: usize = 16 << 10;

/// The longest id of a cell, or of a call that waits for one, that is remembered, in bytes.
const MAX_CELL_ID_BYTES: usize = 64;

/// The number of bytes of program text that are remembered. The oldest are dropped first.
pub(crate) const MAX_PROGRAM_TEXT: usize = 1 << 20;

/// The number of cells, and of waits for cells, that are remembered.
const MAX_CELLS: usize = 32;

/// The rule that attributed a command to its call; a record's `attribution`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Exactly one program was running when the command started.
    RunningProgram,
    /// Several were running, and exactly one contains the command in its text.
    NamedInProgram,
    /// Several candidates remain: the latest that was called in the command's own turn.
    LatestRunningProgramInTurn,
    /// Several candidates remain: the latest.
    LatestRunningProgram,
    /// None was running: the nearest earlier call in the command's own turn.
    NearestPrecedingCallInTurn,
    /// None was running: the nearest earlier call.
    NearestPrecedingCall,
}

impl Rule {
    /// Returns the rule's name in a record.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
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

/// Returns whether a tool starts commands.
#[must_use]
pub(crate) fn starts_commands(tool: &[u8]) -> bool {
    matches!(tool, b"exec" | b"exec_command" | b"shell" | b"shell_command" | b"local_shell")
}

/// A call that runs a program.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Program {
    call: CallId,
    turn: TurnId,
    /// Whether the call's own output has been read, or can no longer follow.
    is_settled: bool,
    /// The position of its text among all program texts of the input, and its length, in bytes.
    text: (u64, u64),
    /// The offset of its call's line.
    line: ByteOffset,
}

impl Program {
    fn id_bytes(&self) -> usize {
        self.call.0.as_bytes().len() + self.turn.0.as_bytes().len()
    }
}

/// The time during which a program ran, both ends included.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
struct Span {
    /// The time of its call; [`NEVER`] if that line had no timestamp, so that no command started after it.
    started: i64,
    /// The time of its end; [`NEVER`] while it runs.
    finished: i64,
}

/// A time after all others.
const NEVER: i64 = i64::MAX;

impl Span {
    fn from(started: Option<i64>) -> Self {
        Self { started: started.unwrap_or(NEVER), finished: NEVER }
    }

    fn started_by(self, time: i64) -> bool {
        self.started <= time && self.started != NEVER
    }

    fn contains(self, time: i64) -> bool {
        self.started_by(time) && time <= self.finished
    }
}

/// The call that a command belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The call.
    pub(crate) call: CallId,
    /// The rule that found it.
    pub(crate) rule: Rule,
    /// Whether its output has been read, or can no longer follow: the command's record need not wait for it.
    pub(crate) is_settled: bool,
}

/// Reads program texts of earlier lines again. This is needed only after a state was restored.
pub trait Reread {
    /// Appends the decoded program text of the call whose line starts at `line`. Leaves `text` unchanged if it cannot
    /// be read.
    fn program_text(&mut self, line: ByteOffset, text: &mut Vec<u8>);
}

/// The programs that later commands can belong to.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Programs {
    /// The programs in the order of their calls. `spans` and `filter` have the same order. They are separate because
    /// they are searched often.
    calls: VecDeque<Program>,
    spans: VecDeque<Span>,
    filter: CallFilter,
    /// The total size of the programs' ids, in bytes.
    id_bytes: usize,
    /// Cells, and the calls whose programs continue in them.
    cells: VecDeque<(Name, CallId)>,
    /// Calls of `wait`, and the cells that they collect.
    waits: VecDeque<(CallId, Name)>,
    wait_filter: CallFilter,
    /// The total length of all program texts so far, in bytes.
    text_end: u64,
    /// The latest texts, up to `text_end`. They are not saved with the state: after it is restored, they are read again
    /// when needed.
    #[serde(skip)]
    texts: Vec<u8>,
}

impl Programs {
    /// Adds a call that runs a program.
    pub(crate) fn add_call(
        &mut self,
        call: CallId,
        started: Option<i64>,
        turn: &TurnId,
        text: &[u8],
        line: ByteOffset,
    ) {
        let text_start = self.text_end;
        self.keep_text(text);
        let text = (text_start, text.len() as u64);
        let mut program = Program { call, turn: turn.clone(), is_settled: false, text, line };
        self.id_bytes += program.id_bytes();
        if let Some(position) = self.position(&program.call) {
            // A repeated call id keeps its position, and its output still counts as read.
            self.id_bytes -= self.calls[position].id_bytes();
            program.is_settled = self.calls[position].is_settled;
            self.calls[position] = program;
            self.spans[position] = Span::from(started);
        } else {
            self.filter.push(&program.call);
            self.calls.push_back(program);
            self.spans.push_back(Span::from(started));
        }
        while self.calls.len() > MAX_PROGRAMS || self.id_bytes > MAX_ID_BYTES {
            self.forget_one();
        }
    }

    /// Adds a call that waits for a cell.
    pub(crate) fn add_wait(&mut self, call: CallId, cell: Name) {
        if self.wait_filter.may_contain(&call) {
            self.waits.retain(|(known, _)| *known != call);
        }
        push_bounded(&mut self.waits, (call, cell));
        self.wait_filter = self.waits.iter().map(|(call, _)| call).collect();
    }

    /// Adds a call's output. It ends the program, unless the program continues in `cell`.
    pub(crate) fn add_output(&mut self, call: &CallId, at: Option<i64>, cell: Option<Name>) {
        let finished = at.unwrap_or(NEVER);
        let continues = cell.is_some();
        if let Some(position) = self.position(call) {
            self.calls[position].is_settled = true;
            match cell {
                None => self.spans[position].finished = finished,
                Some(cell) => {
                    self.cells.retain(|(known, _)| *known != cell);
                    push_bounded(&mut self.cells, (cell, call.clone()));
                }
            }
        }
        if continues {
            return;
        }
        if !self.wait_filter.may_contain(call) {
            return;
        }
        let collected = self.waits.iter().rfind(|(known, _)| known == call).map(|(_, cell)| cell);
        if let Some(position) = self.cells.iter().position(|(cell, _)| Some(cell) == collected)
            && let Some((_, owner)) = self.cells.remove(position)
            && let Some(position) = self.position(&owner)
        {
            self.spans[position].finished = finished;
        }
    }

    /// Ends the turn: commands no longer wait for outputs that have not been read by now.
    pub(crate) fn settle_all(&mut self) {
        for program in &mut self.calls {
            program.is_settled = true;
        }
    }

    /// Returns the call that a command belongs to. The command started at `started` in `turn`. `command` appends its
    /// decoded command line to `buffer`; it is called only if the line is needed.
    pub(crate) fn owner(
        &self,
        started: i64,
        command: impl FnOnce(&mut Vec<u8>),
        buffer: &mut Vec<u8>,
        turn: &TurnId,
        reread: &mut dyn Reread,
    ) -> Option<Owner> {
        let found = |position: usize, rule| {
            let program = &self.calls[position];
            Some(Owner { call: program.call.clone(), rule, is_settled: program.is_settled })
        };
        let in_turn = |position: &usize| !turn.0.is_empty() && self.calls[*position].turn == *turn;
        let mut running = self.positions(|span| span.contains(started));
        match (running.next(), running.next()) {
            (Some(only), None) => return found(only, Rule::RunningProgram),
            (None, _) => {
                let mut before = self.positions(|span| span.started_by(started));
                let latest = before.clone().next_back();
                return match before.rfind(in_turn) {
                    Some(position) => found(position, Rule::NearestPrecedingCallInTurn),
                    None => found(latest?, Rule::NearestPrecedingCall),
                };
            }
            _ => {}
        }
        let running: Vec<usize> = self.positions(|span| span.contains(started)).collect();
        command(buffer);
        let command = &buffer[..];
        let pattern = CommandPattern::new(command);
        let mentioning: Vec<usize> = running
            .iter()
            .copied()
            .filter(|position| self.mentions(&self.calls[*position], &pattern, reread))
            .collect();
        if let [position] = mentioning[..] {
            return found(position, Rule::NamedInProgram);
        }
        let candidates = if mentioning.is_empty() { running } else { mentioning };
        match candidates.iter().rfind(|position| in_turn(position)) {
            Some(position) => found(*position, Rule::LatestRunningProgramInTurn),
            None => found(*candidates.last()?, Rule::LatestRunningProgram),
        }
    }

    /// Returns the positions of the programs whose span `fits`.
    fn positions(&self, fits: impl Fn(Span) -> bool + Clone) -> impl DoubleEndedIterator<Item = usize> + Clone {
        self.spans.iter().enumerate().filter(move |(_, span)| fits(**span)).map(|(position, _)| position)
    }

    /// Returns the position of a call's program.
    fn position(&self, call: &CallId) -> Option<usize> {
        if self.filter.may_contain(call) { self.calls.iter().rposition(|program| program.call == *call) } else { None }
    }

    /// Returns whether the program's text contains the command, verbatim or escaped for JSON.
    fn mentions(&self, program: &Program, command: &CommandPattern<'_>, reread: &mut dyn Reread) -> bool {
        let (start, length) = program.text;
        if self.text_end - start > MAX_PROGRAM_TEXT as u64 {
            return false;
        }
        let kept_from = self.text_end - self.texts.len() as u64;
        let mut reread_text = Vec::new();
        let text = if let Some(from) = start.checked_sub(kept_from).and_then(|from| usize::try_from(from).ok()) {
            &self.texts[from..from + usize::try_from(length).unwrap_or(0)]
        } else {
            reread.program_text(program.line, &mut reread_text);
            &reread_text
        };
        command.is_contained_in(text)
    }

    /// Forgets the oldest program that has ended, or the oldest of all if none has.
    fn forget_one(&mut self) {
        let has_ended = |position: &usize| self.spans[*position].finished != NEVER && self.calls[*position].is_settled;
        let position = (0..self.calls.len()).find(has_ended).unwrap_or(0);
        if let Some(program) = self.calls.remove(position) {
            self.id_bytes -= program.id_bytes();
        }
        self.spans.remove(position);
        self.filter.remove(position);
    }

    /// Appends a program's text, and drops texts that no rule needs anymore.
    fn keep_text(&mut self, text: &[u8]) {
        self.text_end += text.len() as u64;
        if text.len() > MAX_PROGRAM_TEXT {
            // No rule searches this text, or any text before it.
            self.texts.clear();
            return;
        }
        if self.texts.len() + text.len() > 2 * MAX_PROGRAM_TEXT {
            self.texts.drain(..self.texts.len() - (MAX_PROGRAM_TEXT - text.len()));
        }
        self.texts.extend_from_slice(text);
    }
}

/// A command line to be found in program texts.
struct CommandPattern<'c> {
    /// The command line.
    plain: &'c [u8],
    /// The command line escaped for JSON, if that differs.
    escaped: Option<Vec<u8>>,
}

impl<'c> CommandPattern<'c> {
    fn new(command: &'c [u8]) -> Self {
        let mut escaped = Vec::with_capacity(command.len() + 16);
        crate::json::string::escape_to_ascii(command, &mut escaped);
        Self { plain: command, escaped: (escaped != command).then_some(escaped) }
    }

    /// Returns whether a program's text contains the command line in either form. An empty command line is never found.
    fn is_contained_in(&self, text: &[u8]) -> bool {
        !self.plain.is_empty()
            && (contains(text, self.plain) || self.escaped.as_ref().is_some_and(|escaped| contains(text, escaped)))
    }
}

/// Returns whether `text` contains `part`.
///
/// Searching for the first bytes needs less preparation than searching for a long command line. If they occur often,
/// the search continues with a linear-time algorithm.
fn contains(text: &[u8], part: &[u8]) -> bool {
    const FIRST: usize = 24;
    const OFTEN: usize = 32;
    if part.len() <= FIRST {
        return memmem::find(text, part).is_some();
    }
    let first = memmem::Finder::new(&part[..FIRST]);
    let mut rest = text;
    for _ in 0..OFTEN {
        let Some(at) = first.find(rest) else { return false };
        if rest[at..].starts_with(part) {
            return true;
        }
        // The first bytes may overlap themselves.
        rest = &rest[at + 1..];
    }
    memmem::find(rest, part).is_some()
}

/// Appends a pair of ids and drops the oldest pair if there are too many. Ids longer than any that Codex writes are
/// ignored.
fn push_bounded<One: Id, Other: Id>(pairs: &mut VecDeque<(One, Other)>, pair: (One, Other)) {
    if pair.0.length() <= MAX_CELL_ID_BYTES && pair.1.length() <= MAX_CELL_ID_BYTES {
        pairs.push_back(pair);
        if pairs.len() > MAX_CELLS {
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
