//! Decides which records each kind of rollout line becomes, and keeps the state between two lines.
//!
//! The converter takes complete lines in order and hands records to a [`RecordWriter`]. It reads no clock and no file.

use std::io::Write;

use crate::files::checksummed;
use crate::json::{Key, Kind, Malformed, Tape, Text, Value, scan, scan_from_payload, string};
use crate::rollout::ByteOffset;
use crate::rollout::damage::WholeRecords;
use crate::rollout::envelope::{Envelope, Head, Members, string as as_string};
use crate::rollout::ids::{CallId, Name, TurnId};
use crate::rollout::kind::{LineKind, Role, item_kind};
use crate::rollout::line_prefix::{self, UsagePrefix};
use crate::rollout::lines::Line;
use crate::rollout::timestamp::{self, Clock};

use super::arguments::{Invocation, is_framing, is_skipped};
use super::command::CommandExecution;
use super::command_attribution::{MAX_PROGRAM_TEXT, Owner, Programs, Reread, Rule, starts_commands};
use super::content::{Body, base64_media_type, base64_of, base64_size, generated_image, trim_python_start};
use super::copied_history::{CopiedContext, MAX_ID_BYTES, SessionMeta, SessionMetaKind, bounded_name};
use super::event_id::IssuedIds;
use super::held_commands::{HeldCommand, HeldCommands, HeldNestedCall, MAX_HELD_BYTES};
use super::inter_agent::InterAgentMessage;
use super::nested_call::{NestedCall, NestedTool};
use super::notice::{Notice, UNOWNED_COMMAND};
use super::open_calls::OpenCalls;
use super::output::{Output, OutputError};
use super::recent_calls::RecentCalls;
use super::record_writer::{CallStep, CommandRecord, Framing, LineOrigin, RecordWriter};
use super::summary::{MalformedLine, Summary};
use super::usage::{Cost, CountLine, Ledger, Usage, push_metrics};

/// How much of the end of the input is converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The input may still grow: the step that awaits its token counts, and everything after it, is held back.
    Partial,
    /// The input is complete: everything is converted.
    Complete,
}

/// After a line of more than this many bytes, the buffers are freed.
const LARGE_LINE: usize = 1 << 20;

/// The beginning of the output of a program that continues in a cell (code mode, seen on Codex 0.154 to 0.169).
const YIELDED: &[u8] = b"Script running with cell ID ";

/// The beginning of the id of a call that a program made itself (code mode, seen on Codex 0.163 to 0.171). No call line
/// has such an id.
const NESTED_ID: &[u8] = b"exec-";

/// The turns, calls and programs that later lines can refer to. Its size is bounded.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
struct State {
    /// The turn that calls are made in, according to the last `turn_context`.
    context_turn: TurnId,
    /// The latest turn that a line began.
    latest_turn: TurnId,
    /// Whether the rollout reports token counts.
    reports_usage: bool,
    ledger: Ledger,
    open_calls: OpenCalls,
    recent_calls: RecentCalls,
    programs: Programs,
}

/// The state between two lines, without held-back records, in the order in which it is serialized.
type SavedState = (Framing, State, IssuedIds, CopiedContext, Name);

/// A position between two lines from which a conversion can resume.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Checkpoint {
    /// The offset of the next line to read.
    pub resume_at: ByteOffset,
    /// The number of bytes after that position that have been released already.
    pub skip: u64,
    /// The serialized state at that position; under 64 KiB.
    pub state: Vec<u8>,
}

/// The version of [`Checkpoint::state`].
const STATE_VERSION: u8 = 3;

/// A saved state that this version of the program cannot read.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot resume the conversion: its saved state has version {version} or is damaged (this program reads version {STATE_VERSION})"
)]
pub struct StateError {
    version: u8,
}

/// Converts rollout lines to records, one line at a time.
pub struct Converter<W> {
    state: State,
    copied: CopiedContext,
    writer: RecordWriter<W>,
    held_commands: HeldCommands,
    summary: Summary,
    clock: Clock,
    /// The offset of the next line.
    offset: ByteOffset,
    /// The last state that could be saved.
    anchor: Checkpoint,
    /// The number of bytes that the output had released at that point.
    anchor_released: u64,
    scratch: Scratch,
}

/// Buffers that are reused for each line.
#[derive(Default)]
struct Scratch {
    tape: Tape,
    body: Body,
    invocation: Invocation,
    hashed: Vec<u8>,
    metrics: Vec<u8>,
    notice: Notice,
    /// A line with replaced characters.
    repaired: Vec<u8>,
}

/// The end of a conversion that is not released yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// The records that are held back, one per line: the step that awaits its token counts, the records after it, and
    /// the commands that wait for their call's output.
    pub records: Vec<u8>,
    /// The ids of the calls in the current turn that have no output yet, the oldest first. Their steps may have been
    /// released.
    pub awaited_calls: Vec<Vec<u8>>,
}

/// A line under conversion.
struct RolloutItem<'a> {
    text: Text<'a>,
    tape: &'a Tape,
    payload: &'a Value,
    members: &'a Members<'a>,
    origin: LineOrigin<'a>,
}

impl RolloutItem<'_> {
    fn member(&self, key: Key) -> Option<&Value> {
        self.members.get(key)
    }

    /// Returns a member as an id, if it is a string and not empty.
    fn name(&self, key: Key) -> Option<Name> {
        let value = self.member(key).and_then(as_string)?;
        Some(Name::new(value.raw(self.text), value.content.has_escape())).filter(|name| !name.is_empty())
    }

    /// Returns a member as an id, if it is short enough to be remembered.
    fn bounded_name(&self, key: Key) -> Option<Name> {
        bounded_name(self.text, self.members, key)
    }

    /// Returns the turn that the line names, or an empty id.
    fn turn(&self) -> TurnId {
        self.name(Key::TurnId).map(TurnId).unwrap_or_default()
    }

    /// Returns the turn that the line names, or an empty id if that is missing or too long to be remembered.
    fn bounded_turn(&self) -> TurnId {
        self.bounded_name(Key::TurnId).map(TurnId).unwrap_or_default()
    }

    fn millis(&self) -> Option<i64> {
        self.origin.timestamp.map(|(_, nanos)| timestamp::millis(nanos))
    }
}

impl State {
    /// Returns whether a call with this id has lines of its own.
    fn has_lines(&self, call: &CallId) -> bool {
        self.open_calls.contains(call) || self.recent_calls.is_answered(call)
    }

    /// Remembers a call until its output, and its program for the commands that it runs.
    fn register_call(
        &mut self,
        item: &RolloutItem<'_>,
        call: &CallId,
        tool: &Name,
        invocation: &Invocation,
        is_answered: bool,
    ) {
        self.open_calls.insert(call, tool, is_answered && !item.origin.is_copied);
        if starts_commands(tool.as_bytes()) {
            let (turn, text) = (&self.context_turn, invocation.text());
            self.programs.add_call(call.clone(), item.millis(), turn, text, item.origin.offset);
        } else if tool.as_bytes() == b"wait"
            && let Some(cell) = invocation.cell_id()
        {
            self.programs.add_wait(call.clone(), cell);
        }
    }
}

impl<W: Write> Converter<W> {
    /// Returns a converter at the start of an input.
    pub fn new(agent_id: &str, sink: W) -> Self {
        Self::with_state(agent_id, SavedState::default(), ByteOffset(0), Output::new(sink, 0))
    }

    /// Returns a converter that resumes from a checkpoint. The next line must be the one at [`Checkpoint::resume_at`].
    ///
    /// # Errors
    ///
    /// Returns [`StateError`] if the state has another version or is damaged.
    pub fn restore(agent_id: &str, checkpoint: &Checkpoint, sink: W) -> Result<Self, StateError> {
        let state = checksummed::decode(STATE_VERSION, &checkpoint.state)
            .map_err(|broken| StateError { version: broken.version })?;
        Ok(Self::with_state(agent_id, state, checkpoint.resume_at, Output::new(sink, checkpoint.skip)))
    }

    fn with_state(agent_id: &str, saved: SavedState, offset: ByteOffset, output: Output<W>) -> Self {
        let (framing, state, issued_ids, copied, timestamp) = saved;
        let mut converter = Self {
            state,
            copied,
            writer: RecordWriter::new(agent_id, framing, issued_ids, timestamp, output),
            held_commands: HeldCommands::default(),
            summary: Summary::default(),
            clock: Clock::default(),
            offset,
            anchor: Checkpoint { resume_at: offset, skip: 0, state: Vec::new() },
            anchor_released: 0,
            scratch: Scratch::default(),
        };
        converter.anchor.state = converter.save();
        converter
    }

    /// Serializes the state.
    fn save(&self) -> Vec<u8> {
        let (framing, issued_ids, timestamp) = self.writer.state();
        checksummed::encode(STATE_VERSION, &(framing, &self.state, issued_ids, &self.copied, timestamp))
    }

    /// Returns a checkpoint for the position between the last line and the next.
    ///
    /// While records are held back, it is the last earlier position at which a checkpoint was taken and no records were
    /// held back. The lines after that position must be converted again; [`Checkpoint::skip`] prevents their released
    /// records from being written twice.
    pub fn checkpoint(&mut self) -> Checkpoint {
        let output = self.writer.output();
        let released = output.released();
        // An earlier run may have released more than the lines so far account for.
        let all_released = released.max(output.suppressed());
        if !self.writer.is_waiting() && self.held_commands.is_empty() {
            self.anchor = Checkpoint { resume_at: self.offset, skip: 0, state: self.save() };
            self.anchor_released = released;
        }
        Checkpoint { skip: all_released - self.anchor_released, ..self.anchor.clone() }
    }

    /// Converts one line.
    ///
    /// # Errors
    ///
    /// Returns [`OutputError::Sink`] if the sink fails, and [`OutputError::Waiting`] if records cannot be held back in a
    /// temporary file.
    pub fn line(&mut self, line: Line<'_>, reread: &mut dyn Reread) -> Result<(), OutputError> {
        self.summary.lines += 1;
        self.offset = line.next;
        if line.text.bytes().trim_ascii().is_empty() {
            return Ok(());
        }
        let head = line_prefix::head(line.text.bytes(), &mut self.clock);
        if let Some(head) = &head
            && let Some(kind) = line_prefix::skipped_kind(line.text.bytes(), line.has_control, head, |id| {
                self.state.has_lines(&CallId(Name::new(id, false)))
            })
        {
            self.writer.set_timestamp(head.timestamp.0);
            self.summary.add_skipped(kind);
            return Ok(());
        }
        if let Some(head) = &head
            && self.usage_prefix(&line, head).is_some()
        {
            return self.writer.output_mut().check();
        }
        let mut tape = std::mem::take(&mut self.scratch.tape);
        let payload = head.as_ref().map_or(0, |head| head.payload);
        match scan_from_payload(line.text, payload, &mut tape) {
            Ok(()) if line.has_lost_start => self.damaged_line(&line, &mut tape, reread),
            Ok(()) if tape.has_non_ascii() && needs_repair(line.text.bytes()) => {
                self.repaired_line(line.text, &mut tape, line.offset, reread);
            }
            Ok(()) => self.object(line.text, &tape, head.as_ref(), line.offset, reread),
            Err(_) => self.damaged_line(&line, &mut tape, reread),
        }
        self.scratch.tape = tape;
        if line.text.bytes().len() > LARGE_LINE {
            // The buffers have grown with the line.
            self.scratch = Scratch::default();
        }
        self.writer.output_mut().check()
    }

    /// Converts the unterminated last line of an input that is complete. Returns the position and the length of the
    /// text after its last whole record, if there is any.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Self::line`].
    pub(crate) fn last_line(
        &mut self,
        line: Line<'_>,
        reread: &mut dyn Reread,
    ) -> Result<Option<(ByteOffset, u64)>, OutputError> {
        let mut tape = std::mem::take(&mut self.scratch.tape);
        let rest = self.last_records(&line, &mut tape, reread);
        self.scratch.tape = tape;
        self.offset = line.next;
        let length = line.next.0 - rest.0;
        self.writer.output_mut().check().map(|()| (length > 0).then_some((rest, length)))
    }

    /// Ends the input.
    ///
    /// # Errors
    ///
    /// Returns [`OutputError::Sink`] if the sink fails, and [`OutputError::Waiting`] if the temporary file fails.
    pub fn finish(&mut self, end: End) -> Result<(), OutputError> {
        match end {
            End::Partial => self.writer.discard_waiting(),
            End::Complete => {
                self.writer.release(b"");
                self.write_held_commands();
            }
        }
        self.flush()
    }

    /// Returns the end of the conversion that is not released yet. It is empty if its records are longer than `limit`
    /// bytes. The state does not change.
    ///
    /// # Errors
    ///
    /// Returns [`OutputError::Waiting`] if the temporary file with held-back records cannot be read.
    pub(crate) fn pending(&self, limit: u64) -> Result<Pending, OutputError> {
        let Some(mut records) = self.writer.output().waiting_records(limit)? else { return Ok(Pending::default()) };
        for held in self.held_commands.iter() {
            if let Some((record, owner)) = self.held_record(held, Some(&held.owner)) {
                record.push(owner, &mut records, |out| out.extend_from_slice(&held.extra));
            }
        }
        Ok(Pending { records, awaited_calls: self.awaited_calls() })
    }

    /// Returns the ids of the calls in the current turn that have no output yet, the oldest first.
    pub(crate) fn awaited_calls(&self) -> Vec<Vec<u8>> {
        let decoded = |call: &CallId| {
            let mut id = Vec::new();
            string::decode_string(call.0.as_bytes(), &mut id);
            id
        };
        self.state.open_calls.awaited().map(decoded).collect()
    }

    /// Writes all released records to the sink.
    ///
    /// # Errors
    ///
    /// Returns [`OutputError::Sink`] if the sink fails, and [`OutputError::Waiting`] if the temporary file fails.
    pub(crate) fn flush(&mut self) -> Result<(), OutputError> {
        self.writer.flush()
    }

    /// Returns the sink that the records are written to.
    pub(crate) fn sink(&self) -> &W {
        self.writer.output().sink()
    }

    /// Returns the sink that the records are written to.
    pub(crate) fn sink_mut(&mut self) -> &mut W {
        self.writer.output_mut().sink_mut()
    }

    /// Returns the counts so far.
    pub(crate) fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Ends the conversion and returns its summary.
    pub(crate) fn into_summary(self) -> Summary {
        let mut summary = self.summary;
        summary.records = self.writer.records();
        summary
    }

    /// Returns the malformed lines since the last call, and the number of further ones whose positions were not kept.
    pub(crate) fn take_malformed(&mut self) -> (Vec<MalformedLine>, u64) {
        self.summary.take_malformed()
    }

    // ---- Lines ----

    /// Converts the whole records of a line that is not exactly one object, and counts the line as malformed.
    #[cold]
    fn damaged_line(&mut self, line: &Line<'_>, tape: &mut Tape, reread: &mut dyn Reread) {
        let mut records = WholeRecords::of_line(line);
        let has_records = self.whole_records(line, &mut records, tape, reread) > 0;
        if let Some(malformed) = records.first_damage() {
            self.malformed_line(malformed, line, has_records);
        }
    }

    /// Converts the whole records of an unterminated last line. Returns the position of the text after them.
    ///
    /// The line counts only if it has any. Text after them is incomplete, not damaged.
    #[cold]
    fn last_records(&mut self, line: &Line<'_>, tape: &mut Tape, reread: &mut dyn Reread) -> ByteOffset {
        let mut records = WholeRecords::of_line(line);
        let count = self.whole_records(line, &mut records, tape, reread);
        if count == 0 {
            return line.offset;
        }
        self.summary.lines += 1;
        let is_damage = |malformed: &Malformed| count > 1 || malformed.at < records.rest();
        if let Some(malformed) = records.first_damage().filter(is_damage) {
            self.malformed_line(malformed, line, true);
        }
        let rest = &line.text.bytes()[records.rest()..];
        if rest.trim_ascii().is_empty() { line.next } else { line.position(records.rest()) }
    }

    /// Converts the whole records of a line, and returns their number.
    fn whole_records(
        &mut self,
        line: &Line<'_>,
        records: &mut WholeRecords<'_>,
        tape: &mut Tape,
        reread: &mut dyn Reread,
    ) -> u64 {
        let (mut copy, mut count) = (Vec::new(), 0);
        while let Some(range) = records.next(tape) {
            let offset = line.position(range.start);
            let text = line.text.part(range, &mut copy);
            count += 1;
            match scan(text, tape) {
                Ok(()) if tape.has_non_ascii() && needs_repair(text.bytes()) => {
                    self.repaired_line(text, tape, offset, reread);
                }
                Ok(()) => self.object(text, tape, None, offset, reread),
                // It was just scanned without an error.
                Err(_) => {}
            }
        }
        count
    }

    fn malformed_line(&mut self, malformed: Malformed, line: &Line<'_>, has_records: bool) {
        let Malformed { at, reason } = malformed;
        // Text before the first byte that was kept is damage, too.
        let at = if line.has_lost_start { 0 } else { line.position(at).0 - line.offset.0 };
        self.summary.add_malformed(MalformedLine { offset: line.offset, at, reason, has_records });
    }

    /// Replaces characters of a line or a record that was scanned, and converts it.
    ///
    /// Only contents of strings are replaced, by valid contents, so it can merely become too long. It counts as malformed
    /// then.
    #[cold]
    fn repaired_line(&mut self, text: Text<'_>, tape: &mut Tape, offset: ByteOffset, reread: &mut dyn Reread) {
        let mut repaired = std::mem::take(&mut self.scratch.repaired);
        repair(text.bytes(), &mut repaired);
        let text = Text::pad(&mut repaired);
        match scan(text, tape) {
            Ok(()) => self.object(text, tape, None, offset, reread),
            Err(Malformed { at, reason }) => {
                let malformed = MalformedLine { offset, at: at as u64, reason, has_records: false };
                self.summary.add_malformed(malformed);
            }
        }
        self.scratch.repaired = repaired;
    }

    /// Converts a line that is a JSON object.
    fn object<'a>(
        &mut self,
        text: Text<'a>,
        tape: &Tape,
        head: Option<&Head<'a>>,
        offset: ByteOffset,
        reread: &mut dyn Reread,
    ) {
        let envelope = Envelope::of(text, tape, head);
        let kind = LineKind::of(text, tape, &envelope);
        let timestamp = match (envelope.timestamp.as_deref(), head) {
            (Some(raw), Some(head)) if std::ptr::eq(raw, head.timestamp.0) => Some(head.timestamp),
            (Some(raw), _) => timestamp::parse(raw).map(|nanos| (raw, nanos)),
            (None, _) => None,
        };
        if let Some((raw, _)) = timestamp {
            self.writer.set_timestamp(raw);
        }
        let origin = LineOrigin {
            offset,
            timestamp,
            is_copied: self.copied.begin_line(envelope.ordinal, timestamp.map(|(_, nanos)| nanos)),
        };
        let Some(payload) = envelope.payload.filter(|payload| payload.kind == Kind::Object) else {
            if kind == LineKind::TurnContext {
                self.state.reports_usage = true;
                self.writer.release(b"");
            }
            let item = RolloutItem { text, tape, payload: tape.root(), members: &envelope.members, origin };
            self.unknown(&item, &envelope);
            return;
        };
        let item = RolloutItem { text, tape, payload, members: &envelope.members, origin };
        match kind {
            LineKind::Message(Role::User) => self.user_message(&item),
            LineKind::Message(Role::Assistant) => self.assistant_message(&item),
            LineKind::Message(Role::Developer) => self.skip(["response_item", "message", "developer"]),
            LineKind::Message(Role::Other) | LineKind::Other => self.unknown(&item, &envelope),
            LineKind::Reasoning => self.reasoning(&item),
            LineKind::AgentMessage => self.agent_message(&item),
            LineKind::FunctionCall => self.call(&item, item.member(Key::Arguments), "function_call"),
            LineKind::CustomToolCall => self.call(&item, item.member(Key::Input), "custom_tool_call"),
            LineKind::OtherCall(tool) => self.other_call(&item, tool),
            LineKind::CallOutput => self.call_output(&item),
            LineKind::OtherOutput(tool) => self.other_output(&item, tool),
            LineKind::CommandExecution => self.command(&item, reread),
            LineKind::McpToolCall => self.nested_call(&item, NestedTool::Mcp, reread),
            LineKind::FileChange => self.nested_call(&item, NestedTool::ApplyPatch, reread),
            LineKind::TokenCount => self.token_count(&item),
            LineKind::UsageRecord => self.usage_record(&item),
            LineKind::TurnContext => self.turn_context(&item),
            LineKind::SessionMeta => self.session_meta(&item, envelope.ordinal),
            LineKind::TaskStarted => self.task_started(&item),
            LineKind::TaskComplete => self.task_complete(&item),
            LineKind::TurnAborted => self.turn_aborted(&item),
            LineKind::Compacted => {
                self.scratch.notice.compacted(tape, payload);
                self.write_notice(&item);
            }
            LineKind::ThreadRolledBack => {
                self.scratch.notice.rolled_back(text, tape, payload);
                self.write_notice(&item);
            }
            LineKind::Skipped => {
                let detail = item_kind(text, tape, &envelope).unwrap_or_default();
                let (kind, item) = (envelope.kind.as_deref(), envelope.payload_kind.as_deref());
                self.summary.add_skipped([kind.unwrap_or_default(), item.unwrap_or_default(), &detail]);
            }
        }
    }

    /// Counts a line that produces no record.
    fn skip(&mut self, kind: [&str; 3]) {
        self.summary.add_skipped(kind.map(str::as_bytes));
    }

    fn unknown(&mut self, item: &RolloutItem<'_>, envelope: &Envelope<'_, '_>) {
        self.scratch.notice.other(item.text, envelope);
        self.write_notice(item);
    }

    fn write_notice(&mut self, item: &RolloutItem<'_>) {
        self.writer.notice(&item.origin, item.text, &self.scratch.notice);
    }

    // ---- Messages ----

    fn user_message(&mut self, item: &RolloutItem<'_>) {
        self.summary.messages += 1;
        let content = item.member(Key::Content);
        let other = self.scratch.body.read_user_message(item.text, item.tape, item.payload, content);
        if self.scratch.body.is_empty() {
            self.skip(["response_item", "message", "user"]);
        } else {
            self.writer.release(b"");
            self.writer.user_message(&item.origin, item.text, &self.scratch.body);
            if let Some(other) = other {
                self.writer.user_message(&item.origin, item.text, &other);
            }
        }
    }

    fn assistant_message(&mut self, item: &RolloutItem<'_>) {
        self.summary.messages += 1;
        let body = &mut self.scratch.body;
        body.read_message(item.text, item.tape, item.member(Key::Content));
        if body.is_empty() {
            self.skip(["response_item", "message", "assistant"]);
        } else if let Some(message) = body.single_text(item.text).and_then(InterAgentMessage::read) {
            // It is not a step of the agent, so nothing measures it.
            self.writer.inter_agent_message(&item.origin, item.text, body, &message);
        } else {
            self.begin_agent_step(item);
            self.writer.assistant_message(&item.origin, item.text, &self.scratch.body);
        }
    }

    fn reasoning(&mut self, item: &RolloutItem<'_>) {
        self.scratch.body.read_reasoning(item.tape, item.payload);
        if self.scratch.body.is_empty() {
            self.skip(["response_item", "reasoning", ""]);
        } else {
            self.begin_agent_step(item);
            self.writer.reasoning(&item.origin, item.text, &self.scratch.body);
        }
    }

    fn agent_message(&mut self, item: &RolloutItem<'_>) {
        let body = &mut self.scratch.body;
        body.read_agent_message(item.text, item.tape, item.member(Key::Content));
        let (author, recipient) = (item.member(Key::Author), item.member(Key::Recipient));
        self.writer.agent_message(&item.origin, item.text, body, author, recipient);
    }

    /// Releases the previous step of the agent, which stays unmeasured. The next one waits for its token counts if the
    /// rollout reports any.
    fn begin_agent_step(&mut self, item: &RolloutItem<'_>) {
        self.writer.release(b"");
        if self.state.reports_usage && !item.origin.is_copied {
            self.writer.begin_waiting();
        }
    }

    // ---- Calls ----

    /// Converts a `function_call` or a `custom_tool_call`.
    fn call(&mut self, item: &RolloutItem<'_>, value: Option<&Value>, kind: &str) {
        // Without an id, no output could be paired with the call.
        let Some(call) = item.name(Key::CallId).map(CallId) else {
            self.skip(["response_item", kind, "without call_id"]);
            return;
        };
        let tool = item.name(Key::Name).unwrap_or_default();
        self.scratch.invocation.read(item.text, value);
        self.state.register_call(item, &call, &tool, &self.scratch.invocation, true);
        self.begin_agent_step(item);
        let invocation = &self.scratch.invocation;
        let step = CallStep { text: item.text, call: Some(&call), tool: &tool, invocation, value, extra: b"" };
        self.writer.call(&item.origin, &step);
    }

    /// Converts any other `*_call`.
    fn other_call(&mut self, item: &RolloutItem<'_>, tool: &[u8]) {
        let image = generated_image(tool, item.tape, item.payload);
        let value = self.scratch.invocation.read_other_call(item.text, item.tape, item.payload, image);
        let name = item.name(Key::Name).unwrap_or_else(|| Name::new(tool, tool.contains(&b'\\')));
        let call = item.name(Key::CallId).or_else(|| item.name(Key::Id)).map(CallId);
        if let Some(call) = &call {
            // Of these, only the calls that Codex itself carries out are known to have outputs.
            let is_answered = matches!(tool, b"local_shell" | b"tool_search");
            self.state.register_call(item, call, &name, &self.scratch.invocation, is_answered);
        }
        let mut extra = Vec::new();
        if let Some(image) = image {
            let base64 = base64_of(item.text, image);
            let (media_type, size) = (base64_media_type(&base64), base64_size(&base64));
            extra.extend_from_slice(
                format!(",\"images\":[{{\"media_type\":\"{media_type}\",\"size\":{size}}}]").as_bytes(),
            );
        }
        let is_argument = |other: &Value| value.is_some_and(|value| value.key == other.key);
        let is_skipped =
            |other: &Value, name: &[u8]| is_argument(other) || name == b"execution" || is_skipped(other, name, image);
        let notice = &mut self.scratch.notice;
        if value.is_some() && notice.extra_members(item.text, item.tape, item.payload, is_skipped) {
            for piece in [b",\"codex\":{", &notice.codex[..], b"}"] {
                extra.extend_from_slice(piece);
            }
        }
        self.begin_agent_step(item);
        let invocation = &self.scratch.invocation;
        let (text, call) = (item.text, call.as_ref());
        self.writer.call(&item.origin, &CallStep { text, call, tool: &name, invocation, value, extra: &extra });
    }

    // ---- Outputs ----

    /// Converts a `function_call_output` or a `custom_tool_call_output`.
    fn call_output(&mut self, item: &RolloutItem<'_>) {
        let Some(call) = item.name(Key::CallId).map(CallId) else {
            self.skip(["response_item", "function_call_output", "without call_id"]);
            return;
        };
        self.scratch.body.read_output(item.text, item.tape, item.member(Key::Output));
        self.output(item, item.text, &call, None);
    }

    /// Converts any other `*_output`: its `output` or `tools`, or all members that are not framing.
    fn other_output(&mut self, item: &RolloutItem<'_>, tool: &[u8]) {
        let Some(call) = item.name(Key::CallId).or_else(|| item.name(Key::Id)).map(CallId) else {
            self.summary.add_skipped([b"response_item", tool, b"without call_id"]);
            return;
        };
        let present = |key| item.member(key).filter(|value| value.kind != Kind::Null);
        let body = &mut self.scratch.body;
        match (present(Key::Output), present(Key::Tools)) {
            (None, Some(tools)) => body.read_dumped(tools),
            (None, None) if item.member(Key::Output).is_none() => {
                let mut invocation = std::mem::take(&mut self.scratch.invocation);
                invocation.read_members(item.text, item.tape, item.payload, is_framing);
                if let Some((text, members)) = invocation.object() {
                    body.read_dumped(members);
                    self.output(item, text, &call, Some(tool));
                } else {
                    // It is nested too deeply for its framing to be removed.
                    body.read_dumped(item.payload);
                    self.output(item, item.text, &call, Some(tool));
                }
                self.scratch.invocation = invocation;
                return;
            }
            _ => body.read_output(item.text, item.tape, item.member(Key::Output)),
        }
        self.output(item, item.text, &call, Some(tool));
    }

    /// Writes a call's output, whose body has been read from `text`, and then the commands that waited for it.
    fn output(&mut self, item: &RolloutItem<'_>, text: Text<'_>, call: &CallId, tool: Option<&[u8]>) {
        let body = &self.scratch.body;
        let hashed = body.hashed(text, b"", true, &mut self.scratch.hashed);
        let cell = hashed.strip_prefix(YIELDED).and_then(first_word);
        self.state.programs.add_output(call, item.millis(), cell);
        let tool = self.state.open_calls.remove(call).unwrap_or_else(|| Name::new(tool.unwrap_or(b"unknown"), false));
        self.writer.output_of(&item.origin, text, body, hashed, call, &tool);
        self.state.recent_calls.add_answered(call);
        while let Some(held) = self.held_commands.pop_of(call) {
            self.write_held(&held, Some(&held.owner));
        }
    }

    // ---- Commands ----

    fn command(&mut self, item: &RolloutItem<'_>, reread: &mut dyn Reread) {
        let Some(command) = CommandExecution::read(item.text, item.tape, item.members) else {
            return;
        };
        if command.is_users(item.text, item.tape) {
            self.skip(["event_msg", "item_completed", "CommandExecution"]);
            return;
        }
        let owner = command.started(item.text).and_then(|started| {
            let buffer = &mut self.scratch.hashed;
            buffer.clear();
            // No program text can contain a command line that is longer than all texts together.
            let line = |buffer: &mut Vec<u8>| command.push_line(item.text, item.tape, MAX_PROGRAM_TEXT, buffer);
            self.state.programs.owner(started, line, buffer, &item.turn(), reread)
        });
        let push_hashed = |limit, hashed: &mut Vec<u8>| command.push_hashed_text(item.text, limit, hashed);
        let digest = self.writer.issue_command_id(&item.origin, push_hashed);
        let rule = owner.as_ref().map(|owner| owner.rule);
        let timestamp = self.writer.timestamp().clone();
        let is_copied = item.origin.is_copied;
        let owner = match owner {
            Some(Owner { call, is_settled: false, .. }) if item.text.bytes().len() <= MAX_HELD_BYTES => {
                let mut extra = Vec::new();
                command.push_extra(item.text, item.tape, rule, &mut extra);
                self.hold(HeldCommand { owner: call, digest, timestamp, is_copied, extra, nested: None });
                return;
            }
            Some(Owner { call, is_settled: true, .. }) => Some(call),
            _ => None,
        };
        let record = CommandRecord { digest, timestamp: &timestamp, is_copied, unowned_message: UNOWNED_COMMAND };
        self.writer.command(&record, owner.as_ref(), |out| command.push_extra(item.text, item.tape, rule, out));
    }

    /// Converts the event of a tool, unless it repeats a call that has lines of its own.
    fn nested_call(&mut self, item: &RolloutItem<'_>, tool: NestedTool, reread: &mut dyn Reread) {
        let call = NestedCall::read(item.text, tool, item.payload, item.members);
        let id = call.id();
        if let Some(id) = &id
            && (self.state.has_lines(id) || !self.state.recent_calls.add_nested(id))
        {
            self.skip(tool.event(call.is_item));
            return;
        }
        let owner = call.started().or_else(|| item.millis()).and_then(|started| {
            let buffer = &mut self.scratch.hashed;
            buffer.clear();
            let name = |buffer: &mut Vec<u8>| call.push_function_name(buffer);
            self.state.programs.owner(started, name, buffer, &item.turn(), reread)
        });
        let digest = self.writer.issue_command_id(&item.origin, |limit, hashed| call.push_hashed_text(limit, hashed));
        let (timestamp, is_copied) = (self.writer.timestamp().clone(), item.origin.is_copied);
        let rule = owner.as_ref().map(|owner| owner.rule);
        let mut extra = Vec::new();
        call.push_extra(rule, &mut extra);
        let was_running =
            rule.is_some_and(|rule| !matches!(rule, Rule::NearestPrecedingCall | Rule::NearestPrecedingCallInTurn));
        // If no program was running, the call's own line may still follow.
        let own_line = id.clone().filter(|id| !was_running && !id.0.as_bytes().starts_with(NESTED_ID));
        let awaits_own_line = owner.as_ref().is_none_or(|owner| owner.is_settled);
        let (awaited, settled_owner) = match owner {
            Some(Owner { call, is_settled: false, .. }) => (Some(call), None),
            owner => (own_line, owner.map(|owner| owner.call)),
        };
        let nested = Box::new(HeldNestedCall { tool, is_item: call.is_item, id, awaits_own_line, settled_owner });
        match awaited {
            Some(owner) if extra.len() <= MAX_HELD_BYTES => {
                self.hold(HeldCommand { owner, digest, timestamp, is_copied, extra, nested: Some(nested) });
            }
            _ => {
                let record =
                    CommandRecord { digest, timestamp: &timestamp, is_copied, unowned_message: tool.unowned_message() };
                self.writer.command(&record, nested.settled_owner.as_ref(), |out| out.push(&extra));
            }
        }
    }

    /// Lets a command wait for its call's output. The oldest ones become steps of the system if too many wait.
    fn hold(&mut self, command: HeldCommand) {
        self.held_commands.push(command);
        while let Some(oldest) = self.held_commands.pop_excess() {
            self.write_held(&oldest, None);
        }
    }

    /// Writes all commands that wait for their calls' outputs.
    fn write_held_commands(&mut self) {
        while let Some(held) = self.held_commands.pop() {
            self.write_held(&held, Some(&held.owner));
        }
    }

    /// Returns the framing of a held command and its owner, or `None` if it is a call that has lines of its own.
    fn held_record<'h>(
        &self,
        held: &'h HeldCommand,
        owner: Option<&'h CallId>,
    ) -> Option<(CommandRecord<'h>, Option<&'h CallId>)> {
        let mut owner = owner;
        let mut unowned_message = UNOWNED_COMMAND;
        if let Some(nested) = &held.nested {
            if nested.id.as_ref().is_some_and(|id| self.state.has_lines(id)) {
                return None;
            }
            unowned_message = nested.tool.unowned_message();
            if nested.awaits_own_line {
                owner = nested.settled_owner.as_ref();
            }
        }
        let (timestamp, is_copied) = (&held.timestamp, held.is_copied);
        Some((CommandRecord { digest: held.digest, timestamp, is_copied, unowned_message }, owner))
    }

    fn write_held(&mut self, held: &HeldCommand, owner: Option<&CallId>) {
        let Some((record, owner)) = self.held_record(held, owner) else {
            if let Some(nested) = &held.nested {
                self.skip(nested.tool.event(nested.is_item));
            }
            return;
        };
        self.writer.command(&record, owner, |out| out.push(&held.extra));
    }

    // ---- Turns and token counts ----

    fn token_count(&mut self, item: &RolloutItem<'_>) {
        self.skip(["event_msg", "token_count", ""]);
        self.state.reports_usage = true;
        let cost = self.state.ledger.token_count(item.text, item.tape, item.member(Key::Info), item.origin.is_copied);
        self.add_cost(&item.origin, item.text, item.tape, cost, CountLine::TokenCount);
    }

    fn usage_record(&mut self, item: &RolloutItem<'_>) {
        self.skip(["token_usage_record", "", ""]);
        let cost = self.state.ledger.usage_record(item.text, item.tape, item.payload, item.origin.is_copied);
        self.add_cost(&item.origin, item.text, item.tape, cost, CountLine::UsageRecord);
    }

    /// Converts a line that reports token counts without parsing it. Returns `None` if it is a different line, or not in
    /// Codex's usual form.
    #[inline]
    fn usage_prefix(&mut self, line: &Line<'_>, head: &Head<'_>) -> Option<()> {
        let usage = line_prefix::usage(line.text.bytes(), line.has_control, head)?;
        let is_copied = self.copied.begin_line(head.ordinal, Some(head.timestamp.1));
        let (count_line, cost) = match usage {
            UsagePrefix::TokenCount(total) => {
                let (total, rest) = Usage::of_compact(total)?;
                let (last, _) = Usage::of_compact(rest.strip_prefix(b",\"last_token_usage\":{")?)?;
                self.state.reports_usage = true;
                self.skip(["event_msg", "token_count", ""]);
                (CountLine::TokenCount, self.state.ledger.token_count_of(total, last, is_copied))
            }
            UsagePrefix::UsageRecord(id, usage) => {
                let (usage, _) = Usage::of_compact(usage)?;
                self.skip(["token_usage_record", "", ""]);
                let counts = self.state.ledger.usage_record_of(id, usage, is_copied);
                (CountLine::UsageRecord, counts.map(Cost::Counted))
            }
        };
        self.writer.set_timestamp(head.timestamp.0);
        let origin = LineOrigin { offset: line.offset, timestamp: Some(head.timestamp), is_copied };
        let tape = std::mem::take(&mut self.scratch.tape);
        self.add_cost(&origin, line.text, &tape, cost, count_line);
        self.scratch.tape = tape;
        Some(())
    }

    /// Adds the cost of an inference to the step that awaits it. If none does, the cost becomes a step of its own, so
    /// that no tokens are lost.
    fn add_cost(
        &mut self,
        origin: &LineOrigin<'_>,
        text: Text<'_>,
        tape: &Tape,
        cost: Option<Cost<'_>>,
        line: CountLine,
    ) {
        let Some(cost) = cost else { return };
        let mut metrics = std::mem::take(&mut self.scratch.metrics);
        metrics.clear();
        push_metrics(text, tape, cost, &mut metrics);
        if self.writer.is_waiting() {
            self.writer.release(&metrics);
        } else if !cost.is_zero() {
            self.writer.cost(origin, line, &metrics);
        }
        self.scratch.metrics = metrics;
    }

    fn turn_context(&mut self, item: &RolloutItem<'_>) {
        self.skip(["turn_context", "", ""]);
        self.state.reports_usage = true;
        let effort = item.member(Key::Effort).filter(|effort| match effort.kind {
            Kind::String => effort.start < effort.end,
            kind => kind == Kind::Float,
        });
        let effort = effort.map(|effort| effort.token(item.text)).filter(|effort| effort.len() <= MAX_ID_BYTES);
        let effort = Name::new(effort.unwrap_or_default(), false);
        self.writer.set_settings(item.bounded_name(Key::Model), effort);
        let turn = item.bounded_turn();
        self.state.context_turn = turn.clone();
        let is_next = !turn.0.is_empty() && !self.state.latest_turn.0.is_empty() && turn != self.state.latest_turn;
        self.begin_turn(turn, item);
        if is_next && !item.origin.is_copied {
            self.end_turn();
        } else {
            self.writer.release(b"");
        }
    }

    fn task_started(&mut self, item: &RolloutItem<'_>) {
        self.skip(["event_msg", "task_started", ""]);
        self.begin_turn(item.bounded_turn(), item);
        if !item.origin.is_copied {
            self.end_turn();
        }
    }

    fn begin_turn(&mut self, turn: TurnId, item: &RolloutItem<'_>) {
        self.copied.begin_turn(&turn, item.origin.timestamp.map(|(_, nanos)| nanos));
        if !turn.0.is_empty() {
            self.state.latest_turn = turn;
        }
    }

    fn task_complete(&mut self, item: &RolloutItem<'_>) {
        self.end_turn_of(item);
        if self.scratch.notice.turn_failed(item.text, item.tape, item.payload).is_some() {
            self.write_notice(item);
        } else {
            self.skip(["event_msg", "task_complete", ""]);
        }
    }

    fn turn_aborted(&mut self, item: &RolloutItem<'_>) {
        self.end_turn_of(item);
        self.scratch.notice.turn_aborted(item.text, item.tape, item.payload);
        self.write_notice(item);
    }

    /// Ends the turn that a line reports as over, unless the line is copied history or reports an earlier turn late.
    fn end_turn_of(&mut self, item: &RolloutItem<'_>) {
        if !item.origin.is_copied && !item.turn().is_earlier_than(&self.state.latest_turn) {
            self.end_turn();
        }
    }

    fn session_meta(&mut self, item: &RolloutItem<'_>, ordinal: Option<u64>) {
        let time = item.origin.timestamp.map(|(_, nanos)| nanos);
        let meta = SessionMeta::read(item.text, item.members, ordinal, time);
        let mut is_reported = false;
        match self.copied.session_meta(meta) {
            SessionMetaKind::CopiedHistory => {}
            kind => {
                if kind == SessionMetaKind::NewSession {
                    self.state.ledger.begin_session();
                }
                self.end_turn();
                is_reported = self.scratch.notice.new_file(item.text, item.tape, item.payload).is_some();
            }
        }
        if is_reported {
            let origin = LineOrigin { is_copied: false, ..item.origin };
            self.writer.notice(&origin, item.text, &self.scratch.notice);
        } else {
            self.skip(["session_meta", "", ""]);
        }
    }

    /// Ends the turn: nothing in it is awaited anymore.
    fn end_turn(&mut self) {
        self.writer.release(b"");
        self.write_held_commands();
        self.state.programs.settle_all();
        self.state.open_calls.stop_awaiting();
    }
}

impl Converter<Vec<u8>> {
    /// Returns the records released since the last call.
    ///
    /// # Errors
    ///
    /// Returns [`OutputError::Waiting`] if records could not be held back in a temporary file.
    pub fn take_records(&mut self) -> Result<Vec<u8>, OutputError> {
        self.flush()?;
        Ok(std::mem::take(self.sink_mut()))
    }
}

/// Returns whether a line contains invalid UTF-8, or characters that some readers of the transcript treat as line ends.
fn needs_repair(line: &[u8]) -> bool {
    simdutf8::basic::from_utf8(line).is_err() || string::has_line_break(line)
}

/// Copies a line, with invalid UTF-8 replaced by U+FFFD and with characters that end lines escaped.
fn repair(line: &[u8], repaired: &mut Vec<u8>) {
    repaired.clear();
    if simdutf8::basic::from_utf8(line).is_ok() {
        string::escape_line_breaks(line, repaired);
        return;
    }
    for chunk in line.utf8_chunks() {
        string::escape_line_breaks(chunk.valid().as_bytes(), repaired);
        if !chunk.invalid().is_empty() {
            repaired.extend_from_slice("\u{FFFD}".as_bytes());
        }
    }
}

/// Returns the first word of decoded text, delimited as by Python's `str.split`.
fn first_word(text: &[u8]) -> Option<Name> {
    let rest = trim_python_start(text);
    let mut end = 0;
    while end < rest.len() && trim_python_start(&rest[end..]).len() == rest.len() - end {
        end += 1;
    }
    let mut escaped = Vec::new();
    string::escape(&rest[..end], &mut escaped);
    (end > 0).then(|| Name::new(&escaped, false))
}

#[cfg(test)]
mod tests;
