//! What each kind of rollout line does to the transcript, and what is remembered between two lines.
//!
//! The converter takes whole lines in order and pushes records to an [`Output`]. It reads no clock and no file.

use std::io::Write;

use crate::files::checksummed;
use crate::json::{Key, Kind as JsonKind, Malformed, Shapes, Tape, Text, Value, scan, scan_alike, string};
use crate::rollout::ByteOffset;
use crate::rollout::envelope::{Envelope, Members, member, string as as_string, unsigned};
use crate::rollout::ids::{CallId, Name, ThreadId, TurnId};
use crate::rollout::kind::{Kind, Role, item_kind};
use crate::rollout::lines::Line;
use crate::rollout::probe;
use crate::rollout::timestamp::{self, Clock, Nanos};

use super::arguments::{Invocation, is_framing, is_skipped};
use super::attribution::{MOST_TEXT, Owner, Programs, Reread, starts_commands};
use super::command::Command;
use super::content::{Body, base64_media_type, base64_of, base64_size, trim_python_start};
use super::copied::{CopiedContext, Meaning, SessionMeta};
use super::event_id::{Digest16, GivenIds, HASHED_CHARACTERS, IdKind};
use super::held_commands::{HeldCommand, HeldCommands, MOST_HELD_COMMANDS};
use super::notice::Notice;
use super::open_calls::OpenCalls;
use super::output::{Output, OutputError};
use super::record::{self, Origin, Source};
use super::summary::{MalformedLine, Summary};
use super::usage::{TotalUsage, push_metrics};

/// What is to become of the end of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The input may still grow: what awaits its token counts is held back.
    Partial,
    /// The input is complete: it comes, unless a call still awaits its output.
    Complete,
    /// Nothing will ever come: nothing is held back.
    Final,
}

/// Behind a line of more than this many bytes no buffer is kept.
const LARGE: usize = 1 << 20;

/// The longest model name, effort, or id of a turn or thread that is kept, in bytes.
const LONGEST_SETTING: usize = 512;

/// What a program that goes on in a cell answers (code mode, seen on 0.154 to 0.169).
const YIELDED: &[u8] = b"Script running with cell ID ";

/// The timestamp of a line without one, before any other was seen.
const NO_TIMESTAMP: &[u8] = b"1970-01-01T00:00:00.000Z";

/// All that must be remembered between two lines, apart from records that wait; its size is bounded.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
struct State {
    has_header: bool,
    /// The model of the turn, as JSON string content.
    model: Name,
    /// The effort of the turn, as a JSON token.
    effort: Name,
    /// The turn that calls are made in, by the last `turn_context`.
    context_turn: TurnId,
    /// The latest turn that a line began.
    latest_turn: TurnId,
    /// Whether the rollout says what inferences cost.
    reports_usage: bool,
    previous_total: Option<TotalUsage>,
    /// Counts the windows in which a step awaits its token counts.
    window: u64,
    open_calls: OpenCalls,
    programs: Programs,
    given_ids: GivenIds,
    copied: CopiedContext,
    /// The last timestamp seen.
    timestamp: Name,
}

/// The converter between two lines, to go on from later.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Checkpoint {
    /// Where to go on reading.
    pub resume_at: ByteOffset,
    /// How many bytes of what comes then were let go already.
    pub skip: u64,
    /// The state there, in a form of its own; under 64 KiB.
    pub state: Vec<u8>,
}

/// The version of the form of [`Checkpoint::state`].
const STATE_VERSION: u8 = 2;

/// A saved state that this version cannot read.
#[derive(Debug, thiserror::Error)]
#[error(
    "the saved state is of version {version}, or damaged; this program reads version {STATE_VERSION}: convert from the start"
)]
pub struct StateError {
    version: u8,
}

/// Turns rollout lines into records, one line after the other.
pub struct Converter<W> {
    agent_id: Vec<u8>,
    state: State,
    /// What the state says of model and effort, as members of a step.
    settings: Vec<u8>,
    output: Output<W>,
    held_commands: HeldCommands,
    /// Records of those that wait.
    waiting_records: u64,
    summary: Summary,
    clock: Clock,
    /// Where the next line begins.
    offset: ByteOffset,
    /// The last state that could be saved.
    anchor: Checkpoint,
    /// What the output had let go then.
    anchor_released: u64,
    /// What lines looked like so far.
    shapes: Shapes,
    scratch: Scratch,
}

/// Buffers that are used again for each line.
#[derive(Default)]
struct Scratch {
    tape: Tape,
    body: Body,
    invocation: Invocation,
    hashed: Vec<u8>,
    metrics: Vec<u8>,
    notice: Notice,
    /// A line in which something was replaced.
    repaired: Vec<u8>,
}

/// A line under conversion.
struct Item<'a> {
    text: Text<'a>,
    tape: &'a Tape,
    payload: &'a Value,
    members: &'a Members<'a>,
    offset: ByteOffset,
    /// The timestamp as it stands, and read; none where it is none.
    timestamp: Option<(&'a [u8], Nanos)>,
    is_copied: bool,
}

impl Item<'_> {
    fn member(&self, key: Key) -> Option<&Value> {
        self.members.get(key)
    }

    /// A string member as an id, where it is there and not empty.
    fn name(&self, key: Key) -> Option<Name> {
        let value = self.member(key).and_then(as_string)?;
        Some(Name::new(value.raw(self.text), value.content.has_escape())).filter(|name| !name.is_empty())
    }

    /// As [`Self::name`]; none where it is too long to be remembered.
    fn short_name(&self, key: Key) -> Option<Name> {
        self.name(key).filter(|name| name.as_bytes().len() <= LONGEST_SETTING)
    }

    fn millis(&self) -> Option<i64> {
        self.timestamp.map(|(_, nanos)| timestamp::millis(nanos))
    }
}

impl State {
    /// Model and effort as members of a step.
    fn settings(&self) -> Vec<u8> {
        let mut members = Vec::new();
        if !self.model.is_empty() {
            members.extend([b",\"model_name\":\"", self.model.as_bytes(), b"\""].concat());
        }
        if !self.effort.is_empty() {
            members.extend([b",\"reasoning_effort\":", self.effort.as_bytes()].concat());
        }
        members
    }
}

impl<W: Write> Converter<W> {
    /// A converter at the start of an input.
    pub fn new(agent_id: &str, sink: W) -> Self {
        Self::with_state(agent_id, State::default(), ByteOffset(0), Output::new(sink, 0))
    }

    /// A converter that goes on from a checkpoint; lines are to come from [`Checkpoint::resume_at`] on.
    ///
    /// # Errors
    ///
    /// [`StateError`] where the state is of another version, or damaged.
    pub fn restore(agent_id: &str, checkpoint: &Checkpoint, sink: W) -> Result<Self, StateError> {
        let state = checksummed::open(STATE_VERSION, &checkpoint.state)
            .map_err(|broken| StateError { version: broken.version })?;
        Ok(Self::with_state(agent_id, state, checkpoint.resume_at, Output::new(sink, checkpoint.skip)))
    }

    fn with_state(agent_id: &str, state: State, offset: ByteOffset, output: Output<W>) -> Self {
        let anchor = Checkpoint { resume_at: offset, skip: 0, state: checksummed::seal(STATE_VERSION, &state) };
        Self {
            agent_id: agent_id.as_bytes().to_vec(),
            settings: state.settings(),
            state,
            output,
            held_commands: HeldCommands::default(),
            waiting_records: 0,
            summary: Summary::default(),
            clock: Clock::default(),
            offset,
            anchor,
            anchor_released: 0,
            shapes: Shapes::default(),
            scratch: Scratch::default(),
        }
    }

    /// A checkpoint for the place between the lines given so far and the next.
    ///
    /// Where records wait, it goes back to the last place where none did and a checkpoint was taken: lines from there
    /// are to be given again, and [`Checkpoint::skip`] keeps what they let go from coming twice.
    pub fn checkpoint(&mut self) -> Checkpoint {
        let released = self.output.released();
        if !self.output.is_waiting() && self.held_commands.is_empty() {
            self.anchor =
                Checkpoint { resume_at: self.offset, skip: 0, state: checksummed::seal(STATE_VERSION, &self.state) };
            self.anchor_released = released;
        }
        // What an earlier run let go counts, whether or not its lines have been given again.
        let released = released.max(self.output.suppressed());
        Checkpoint { skip: released - self.anchor_released, ..self.anchor.clone() }
    }

    /// Converts one line.
    ///
    /// # Errors
    ///
    /// [`OutputError`]: what the sink said, or the temporary file for waiting records.
    pub fn line(&mut self, line: Line<'_>, reread: &mut dyn Reread) -> Result<(), OutputError> {
        self.summary.lines += 1;
        self.offset = line.next;
        if line.text.bytes().trim_ascii().is_empty() {
            return Ok(());
        }
        let head = probe::head(line.text.bytes(), &mut self.clock);
        if let Some(head) = &head
            && let Some(kind) = probe::listed(line.text.bytes(), line.has_control, head)
        {
            self.state.timestamp.assign(head.timestamp.0);
            self.summary.add_skipped(kind);
            return Ok(());
        }
        let mut tape = std::mem::take(&mut self.scratch.tape);
        let payload = head.as_ref().map_or(0, |head| head.payload);
        match scan_alike(line.text, payload, &mut self.shapes, &mut tape) {
            Ok(()) if tape.has_non_ascii() && needs_repair(line.text.bytes()) => {
                let mut repaired = std::mem::take(&mut self.scratch.repaired);
                repair(line.text.bytes(), &mut repaired);
                let text = Text::pad(&mut repaired);
                // Only what stands inside strings was replaced, by what belongs into strings.
                if scan(text, &mut tape).is_ok() {
                    self.object(text, &tape, None, line.offset, reread);
                }
                self.scratch.repaired = repaired;
            }
            Ok(()) => self.object(line.text, &tape, head.as_ref(), line.offset, reread),
            Err(Malformed { at, why }) => {
                self.summary.add_malformed(MalformedLine { offset: line.offset, at, why });
            }
        }
        self.scratch.tape = tape;
        if line.text.bytes().len() > LARGE {
            // What grew with it goes back to the system.
            self.scratch = Scratch::default();
        }
        self.output.check()
    }

    /// Ends the input.
    ///
    /// # Errors
    ///
    /// [`OutputError`]: what the sink said, or the temporary file for waiting records.
    pub fn finish(&mut self, end: End) -> Result<(), OutputError> {
        let awaits_output = self.state.open_calls.is_awaited_in(self.state.window);
        let holds_back = match end {
            End::Partial => true,
            End::Complete => self.output.is_waiting() && awaits_output,
            End::Final => false,
        };
        if holds_back {
            if self.output.is_waiting() {
                self.output.withdraw();
                self.summary.records -= self.waiting_records;
            }
        } else {
            self.end_window(b"");
            self.release_commands();
        }
        self.output.flush()
    }

    /// Hands what may go to the sink.
    ///
    /// # Errors
    ///
    /// [`OutputError`]: what the sink said, or the temporary file for waiting records.
    pub fn flush(&mut self) -> Result<(), OutputError> {
        self.output.flush()
    }

    /// What the records are handed to.
    pub fn sink(&self) -> &W {
        self.output.sink()
    }

    /// What the records are handed to.
    pub fn sink_mut(&mut self) -> &mut W {
        self.output.sink_mut()
    }

    /// What came of the lines so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What came of it so far.
    pub fn summary_mut(&mut self) -> &mut Summary {
        &mut self.summary
    }

    /// Converts a line that is a JSON object.
    fn object<'a>(
        &mut self,
        text: Text<'a>,
        tape: &Tape,
        head: Option<&probe::Head<'a>>,
        offset: ByteOffset,
        reread: &mut dyn Reread,
    ) {
        let envelope = Envelope::of(text, tape, head);
        let kind = Kind::of(text, tape, &envelope);
        let timestamp = match (envelope.timestamp.as_deref(), head) {
            (Some(raw), Some(head)) if std::ptr::eq(raw, head.timestamp.0) => Some(head.timestamp),
            (Some(raw), _) => timestamp::parse(raw).map(|nanos| (raw, nanos)),
            (None, _) => None,
        };
        if let Some((raw, _)) = timestamp {
            self.state.timestamp.assign(raw);
        }
        let payload = envelope.payload.filter(|payload| payload.kind == JsonKind::Object);
        let is_copied = self.state.copied.covers(envelope.ordinal);
        let Some(payload) = payload else {
            if kind == Kind::TurnContext {
                self.state.reports_usage = true;
                self.end_window(b"");
            }
            let item =
                Item { text, tape, payload: tape.root(), members: &envelope.members, offset, timestamp, is_copied };
            self.unknown(&item, &envelope);
            return;
        };
        let item = Item { text, tape, payload, members: &envelope.members, offset, timestamp, is_copied };
        match kind {
            Kind::Message(Role::User) => self.user_message(&item),
            Kind::Message(Role::Assistant) => self.assistant_message(&item),
            Kind::Message(Role::Developer) => self.leave_out(["response_item", "message", "developer"]),
            Kind::Message(Role::Other) | Kind::Other => self.unknown(&item, &envelope),
            Kind::Reasoning => self.reasoning(&item),
            Kind::AgentMessage => self.agent_message(&item),
            Kind::FunctionCall => self.call(&item, item.member(Key::Arguments), "function_call"),
            Kind::CustomToolCall => self.call(&item, item.member(Key::Input), "custom_tool_call"),
            Kind::OtherCall(tool) => self.other_call(&item, tool),
            Kind::CallOutput => self.call_output(&item),
            Kind::OtherOutput(tool) => self.other_output(&item, tool),
            Kind::CommandExecution => self.command(&item, reread),
            Kind::TokenCount => self.token_count(&item),
            Kind::TurnContext => self.turn_context(&item),
            Kind::SessionMeta => self.session_meta(&item),
            Kind::TaskStarted => self.task_started(&item),
            Kind::TaskComplete | Kind::TurnAborted => self.turn_over(&item, kind),
            Kind::Compacted => {
                self.notice(&item, |notice| {
                    notice.compacted(tape, payload);
                    Some(())
                });
            }
            Kind::ThreadRolledBack => {
                self.notice(&item, |notice| {
                    notice.rolled_back(text, tape, payload);
                    Some(())
                });
            }
            Kind::Listed => {
                let detail = item_kind(text, tape, &envelope).unwrap_or_default();
                let (kind, item) = (envelope.kind.as_deref(), envelope.payload_kind.as_deref());
                self.summary.add_skipped([kind.unwrap_or_default(), item.unwrap_or_default(), &detail]);
            }
        }
    }

    // ---- messages ----

    fn user_message(&mut self, item: &Item<'_>) {
        let mut body = std::mem::take(&mut self.scratch.body);
        body.read_message(item.text, item.tape, item.member(Key::Content), "input_text");
        if body.is_empty() {
            self.leave_out(["response_item", "message", "user"]);
        } else {
            self.end_window(b"");
            let mut buffer = std::mem::take(&mut self.scratch.hashed);
            let hashed = body.hashed(item.text, b"", false, &mut buffer);
            let is_context = body.is_injected_context(item.text, hashed);
            let (kind, source) =
                if is_context { (IdKind::System, Source::System) } else { (IdKind::User, Source::User) };
            let digest = self.give_id(item, hashed, kind);
            self.scratch.hashed = buffer;
            self.open_step(item, digest, kind, source);
            body.push_text(item.text, b"", &mut self.output);
            self.output.push(b"\"");
            if body.has_images() {
                self.output.push(b",\"extra\":{\"images\":");
                body.push_images(item.text, &mut self.output);
                self.output.push(b"}");
            }
            self.close_step(item);
        }
        self.scratch.body = body;
    }

    fn assistant_message(&mut self, item: &Item<'_>) {
        let mut body = std::mem::take(&mut self.scratch.body);
        body.read_message(item.text, item.tape, item.member(Key::Content), "output_text");
        if body.is_empty() {
            self.leave_out(["response_item", "message", "assistant"]);
        } else {
            let digest = self.give_body_id(item, &body, b"", IdKind::Assistant);
            self.open_agent_step(item, digest, IdKind::Assistant);
            body.push_text(item.text, b"", &mut self.output);
            self.output.push(b"\"");
            self.push_settings();
            if body.has_images() {
                self.output.push(b",\"extra\":{\"images\":");
                body.push_images(item.text, &mut self.output);
                self.output.push(b"}");
            }
            self.close_agent_step(item);
        }
        self.scratch.body = body;
    }

    fn reasoning(&mut self, item: &Item<'_>) {
        let mut body = std::mem::take(&mut self.scratch.body);
        body.read_reasoning(item.tape, item.payload);
        if body.is_empty() {
            self.leave_out(["response_item", "reasoning", ""]);
        } else {
            let digest = self.give_body_id(item, &body, br"\n\n", IdKind::Reasoning);
            self.open_agent_step(item, digest, IdKind::Reasoning);
            self.output.push(b"\"");
            self.push_settings();
            self.output.push(b",\"reasoning_content\":\"");
            body.push_text(item.text, br"\n\n", &mut self.output);
            self.output.push(b"\"");
            self.close_agent_step(item);
        }
        self.scratch.body = body;
    }

    fn agent_message(&mut self, item: &Item<'_>) {
        let mut body = std::mem::take(&mut self.scratch.body);
        body.read_any_text(item.text, item.tape, item.member(Key::Content));
        let digest = self.give_body_id(item, &body, b"", IdKind::System);
        self.open_step(item, digest, IdKind::System, Source::System);
        body.push_text(item.text, b"", &mut self.output);
        self.output.push(b"\",\"extra\":{");
        for (place, (name, key)) in [("author", Key::Author), ("recipient", Key::Recipient)].into_iter().enumerate() {
            self.output.push(if place == 0 { b"\"" } else { b",\"" });
            self.output.push(name.as_bytes());
            self.output.push(b"\":");
            let value = item.member(key).and_then(as_string);
            self.output.push(value.map_or(b"null", |value| value.token(item.text)));
        }
        if body.has_images() {
            self.output.push(b",\"images\":");
            body.push_images(item.text, &mut self.output);
        }
        self.output.push(b"}");
        self.close_step(item);
        self.scratch.body = body;
    }

    // ---- calls ----

    /// A `function_call` or a `custom_tool_call`.
    fn call(&mut self, item: &Item<'_>, value: Option<&Value>, kind: &str) {
        // Without an id there is nothing that an output could be paired with.
        let Some(call) = item.name(Key::CallId).map(CallId) else {
            self.leave_out(["response_item", kind, "without call_id"]);
            return;
        };
        let tool = item.name(Key::Name).unwrap_or_default();
        let mut invocation = std::mem::take(&mut self.scratch.invocation);
        invocation.read(item.text, value);
        self.register_call(item, &call, &tool, &mut invocation, true);
        let digest = self.give_invocation_id(item, &invocation);
        self.push_call_step(item, digest, Some(&call), &tool, |out| invocation.push(item.text, value, out), b"");
        self.scratch.invocation = invocation;
    }

    /// Any other `*_call`.
    fn other_call(&mut self, item: &Item<'_>, tool: &[u8]) {
        let image = image_of(tool, item.tape, item.payload);
        let mut invocation = std::mem::take(&mut self.scratch.invocation);
        let value = invocation.read_other_call(item.text, item.tape, item.payload, image);
        let name = item.name(Key::Name).unwrap_or_else(|| Name::new(tool, tool.contains(&b'\\')));
        let call = item.name(Key::CallId).or_else(|| item.name(Key::Id)).map(CallId);
        if let Some(call) = &call {
            // Of these only calls that codex itself carries out are known to be answered.
            let is_answered = matches!(tool, b"local_shell" | b"tool_search");
            self.register_call(item, call, &name, &mut invocation, is_answered);
        }
        let digest = self.give_invocation_id(item, &invocation);
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
        if value.is_some() && notice.beside_arguments(item.text, item.tape, item.payload, is_skipped) {
            for piece in [b",\"codex\":{", &notice.codex[..], b"}"] {
                extra.extend_from_slice(piece);
            }
        }
        self.push_call_step(item, digest, call.as_ref(), &name, |out| invocation.push(item.text, value, out), &extra);
        self.scratch.invocation = invocation;
    }

    /// Remembers a call until its output comes, and its program for the commands that it runs.
    fn register_call(
        &mut self,
        item: &Item<'_>,
        call: &CallId,
        tool: &Name,
        invocation: &mut Invocation,
        is_answered: bool,
    ) {
        let window = (is_answered && !item.is_copied).then_some(self.state.window);
        self.state.open_calls.called(call, tool, window);
        if starts_commands(tool.as_bytes()) {
            let turn = &self.state.context_turn;
            self.state.programs.called(call.clone(), item.millis(), turn, invocation.text(), item.offset);
        } else if tool.as_bytes() == b"wait"
            && let Some(cell) = invocation.cell_id()
        {
            self.state.programs.waits_for(call.clone(), cell);
        }
    }

    /// Writes the step of a call; without a call id, the step's own event id stands in its place. `extra` is its members,
    /// each behind a comma.
    fn push_call_step(
        &mut self,
        item: &Item<'_>,
        digest: Digest16,
        call: Option<&CallId>,
        tool: &Name,
        push_arguments: impl FnOnce(&mut Output<W>),
        extra: &[u8],
    ) {
        self.open_agent_step(item, digest, IdKind::Assistant);
        self.output.push(b"\"");
        self.push_settings();
        self.output.push(b",\"tool_calls\":[{\"tool_call_id\":\"");
        match call {
            Some(call) => self.output.push(call.0.as_bytes()),
            None => Origin { digest, kind: IdKind::Assistant, timestamp: b"" }.push_id(&mut self.output),
        }
        self.output.push(b"\",\"function_name\":\"");
        self.output.push(tool.as_bytes());
        self.output.push(b"\",\"arguments\":");
        push_arguments(&mut self.output);
        self.output.push(b"}]");
        if let Some((_, members)) = extra.split_first() {
            self.output.push(b",\"extra\":{");
            self.output.push(members);
            self.output.push(b"}");
        }
        self.close_agent_step(item);
    }

    // ---- outputs ----

    /// A `function_call_output` or a `custom_tool_call_output`.
    fn call_output(&mut self, item: &Item<'_>) {
        let Some(call) = item.name(Key::CallId).map(CallId) else {
            self.leave_out(["response_item", "function_call_output", "without call_id"]);
            return;
        };
        let mut body = std::mem::take(&mut self.scratch.body);
        body.read_output(item.tape, item.member(Key::Output));
        self.push_output(item, item.text, &call, &body, None);
        self.scratch.body = body;
    }

    /// Any other `*_output`: what stands under `output` or `tools`, or all that is no framing.
    fn other_output(&mut self, item: &Item<'_>, tool: &[u8]) {
        let mut body = std::mem::take(&mut self.scratch.body);
        let call = item.name(Key::CallId).or_else(|| item.name(Key::Id)).map(CallId);
        let Some(call) = call else {
            self.summary.add_skipped([b"response_item", tool, b"without call_id"]);
            self.scratch.body = body;
            return;
        };
        let given = |key| item.member(key).filter(|value| value.kind != JsonKind::Null);
        match (given(Key::Output), given(Key::Tools)) {
            (None, Some(tools)) => body.read_dumped(tools),
            (None, None) if item.member(Key::Output).is_none() => {
                let mut invocation = std::mem::take(&mut self.scratch.invocation);
                invocation.read_members(item.text, item.tape, item.payload, is_framing);
                if let Some((text, rest)) = invocation.object() {
                    body.read_dumped(rest);
                    self.push_output(item, text, &call, &body, Some(tool));
                } else {
                    // Nested too deep to be told apart from its framing.
                    body.read_dumped(item.payload);
                    self.push_output(item, item.text, &call, &body, Some(tool));
                }
                self.scratch.invocation = invocation;
                self.scratch.body = body;
                return;
            }
            _ => body.read_output(item.tape, item.member(Key::Output)),
        }
        self.push_output(item, item.text, &call, &body, Some(tool));
        self.scratch.body = body;
    }

    /// Writes the observation of a call's output, whose `body` stands in `text`, then the commands that waited for it.
    fn push_output(&mut self, item: &Item<'_>, text: Text<'_>, call: &CallId, body: &Body, tool: Option<&[u8]>) {
        let mut buffer = std::mem::take(&mut self.scratch.hashed);
        let hashed = body.hashed(text, b"", true, &mut buffer);
        let cell = hashed.strip_prefix(YIELDED).and_then(first_word);
        self.state.programs.answered(call, item.millis(), cell);
        let digest = self.give_id(item, hashed, IdKind::ToolResult);
        self.scratch.hashed = buffer;
        let tool = self.state.open_calls.answered(call).unwrap_or_else(|| Name::new(tool.unwrap_or(b"unknown"), false));
        self.open_observation(item, digest, IdKind::ToolResult, call);
        body.push_text(text, b"", &mut self.output);
        self.output.push(b"\",\"extra\":{\"is_error\":false,\"tool_name\":\"");
        self.output.push(tool.as_bytes());
        self.output.push(b"\"");
        if body.has_images() {
            self.output.push(b",\"images\":");
            body.push_images(text, &mut self.output);
        }
        record::close_observation(&mut self.output, item.is_copied);
        self.end_record();
        self.release_commands_of(call);
    }

    // ---- commands ----

    fn command(&mut self, item: &Item<'_>, reread: &mut dyn Reread) {
        let Some(command) = Command::read(item.text, item.tape, item.members) else {
            return;
        };
        let turn = item.name(Key::TurnId).map(TurnId).unwrap_or_default();
        let mut buffer = std::mem::take(&mut self.scratch.hashed);
        let owner = command.started(item.text).and_then(|started| {
            buffer.clear();
            // A longer one than all program texts together stands in none of them.
            let line = |buffer: &mut Vec<u8>| command.line(item.text, item.tape, MOST_TEXT, buffer);
            self.state.programs.owner(started, line, &mut buffer, &turn, reread)
        });
        buffer.clear();
        command.hashed(item.text, HASHED_CHARACTERS, &mut buffer);
        let digest = self.give_id(item, &buffer, IdKind::CommandExecution);
        self.scratch.hashed = buffer;
        let rule = owner.as_ref().map(|owner| owner.rule);
        match owner {
            Some(Owner { call, is_settled: true, .. }) => {
                self.open_observation(item, digest, IdKind::CommandExecution, &call);
                self.output.push(b"\",");
                command.push_extra(item.text, item.tape, rule, &mut self.output);
                record::close_observation(&mut self.output, item.is_copied);
                self.end_record();
            }
            Some(Owner { call, .. }) if item.text.bytes().len() <= MOST_HELD_COMMANDS => {
                let mut extra = Vec::new();
                command.push_extra(item.text, item.tape, rule, &mut extra);
                let timestamp = self.state.timestamp.clone();
                let held = HeldCommand { owner: call, digest, timestamp, is_copied: item.is_copied, extra };
                self.held_commands.push(held);
                while let Some(oldest) = self.held_commands.pop_excess() {
                    self.push_unowned(&oldest);
                }
            }
            _ => {
                self.scratch.notice.unowned_command();
                let message = std::mem::take(&mut self.scratch.notice.message);
                self.open_step(item, digest, IdKind::CommandExecution, Source::System);
                self.output.push(&message);
                self.output.push(b"\",");
                command.push_extra(item.text, item.tape, rule, &mut self.output);
                self.output.push(b"}");
                self.close_step(item);
                self.scratch.notice.message = message;
            }
        }
    }

    /// Writes the commands that waited for the output of `call`.
    fn release_commands_of(&mut self, call: &CallId) {
        while let Some(held) = self.held_commands.pop_of(call) {
            self.push_held(&held);
        }
    }

    /// Writes all commands that wait.
    fn release_commands(&mut self) {
        while let Some(held) = self.held_commands.pop() {
            self.push_held(&held);
        }
    }

    fn push_held(&mut self, held: &HeldCommand) {
        self.start_record();
        let origin =
            Origin { digest: held.digest, kind: IdKind::CommandExecution, timestamp: or_epoch(&held.timestamp) };
        record::open_observation(&mut self.output, &origin, held.owner.0.as_bytes());
        self.output.push(b"\",");
        self.output.push(&held.extra);
        record::close_observation(&mut self.output, held.is_copied);
        self.end_record();
    }

    fn push_unowned(&mut self, held: &HeldCommand) {
        self.start_record();
        self.scratch.notice.unowned_command();
        let origin =
            Origin { digest: held.digest, kind: IdKind::CommandExecution, timestamp: or_epoch(&held.timestamp) };
        record::open_step(&mut self.output, &origin, Source::System);
        self.output.push(&self.scratch.notice.message);
        self.output.push(b"\",");
        self.output.push(&held.extra);
        self.output.push(b"}");
        record::close_step(&mut self.output, held.is_copied);
        self.end_record();
    }

    // ---- turns and usage ----

    fn token_count(&mut self, item: &Item<'_>) {
        self.leave_out(["event_msg", "token_count", ""]);
        let info = item.member(Key::Info);
        let total = info
            .and_then(|info| member(item.tape, info, Key::TotalTokenUsage))
            .and_then(|total| TotalUsage::of(item.text, item.tape, total));
        self.state.reports_usage = true;
        if total.is_some() && total == self.state.previous_total {
            return;
        }
        self.state.previous_total = total;
        let mut metrics = std::mem::take(&mut self.scratch.metrics);
        metrics.clear();
        if let Some(info) = info.filter(|_| self.output.is_waiting()) {
            push_metrics(item.text, item.tape, info, &mut metrics);
        }
        self.end_window(&metrics);
        self.scratch.metrics = metrics;
    }

    fn turn_context(&mut self, item: &Item<'_>) {
        self.leave_out(["turn_context", "", ""]);
        self.state.reports_usage = true;
        if let Some(model) = item.short_name(Key::Model) {
            self.state.model = model;
        }
        let effort = item.member(Key::Effort).filter(|effort| match effort.kind {
            JsonKind::String => effort.start < effort.end,
            kind => kind == JsonKind::Float,
        });
        let effort = effort.map(|effort| effort.token(item.text)).filter(|effort| effort.len() <= LONGEST_SETTING);
        self.state.effort = Name::new(effort.unwrap_or_default(), false);
        self.settings = self.state.settings();
        self.state.context_turn = item.short_name(Key::TurnId).map(TurnId).unwrap_or_default();
        let turn = self.state.context_turn.clone();
        let is_next = !turn.0.is_empty() && !self.state.latest_turn.0.is_empty() && turn != self.state.latest_turn;
        self.turn_begins(turn);
        if is_next && !item.is_copied {
            self.end_turn();
        } else {
            self.end_window(b"");
        }
    }

    fn task_started(&mut self, item: &Item<'_>) {
        self.leave_out(["event_msg", "task_started", ""]);
        self.turn_begins(item.short_name(Key::TurnId).map(TurnId).unwrap_or_default());
        if !item.is_copied {
            self.end_turn();
        }
    }

    fn turn_begins(&mut self, turn: TurnId) {
        if !turn.0.is_empty() {
            self.state.copied.turn(&turn);
            self.state.latest_turn = turn;
        }
    }

    /// `task_complete` or `turn_aborted`.
    fn turn_over(&mut self, item: &Item<'_>, kind: Kind<'_>) {
        let turn = item.name(Key::TurnId).map(TurnId).unwrap_or_default();
        // Copied history ends nothing, nor does what comes late of an earlier turn.
        if !item.is_copied && !turn.is_earlier_than(&self.state.latest_turn) {
            self.end_turn();
        }
        let (text, tape, payload) = (item.text, item.tape, item.payload);
        if kind == Kind::TurnAborted {
            self.notice(item, |notice| {
                notice.turn_aborted(text, tape, payload);
                Some(())
            });
        } else if self.notice(item, |notice| notice.turn_failed(text, tape, payload)).is_none() {
            self.leave_out(["event_msg", "task_complete", ""]);
        }
    }

    fn session_meta(&mut self, item: &Item<'_>) {
        let meta = SessionMeta {
            thread: ThreadId(item.short_name(Key::Id).unwrap_or_default()),
            forked_from: item.short_name(Key::ForkedFromId).map(ThreadId),
            history_start: item
                .member(Key::SubagentHistoryStartOrdinal)
                .and_then(|ordinal| unsigned(item.text, ordinal)),
        };
        let (text, tape, payload) = (item.text, item.tape, item.payload);
        match self.state.copied.session_meta(meta) {
            Meaning::CopiedHistory => self.leave_out(["session_meta", "", ""]),
            Meaning::NewRollout => {
                self.end_turn();
                let own = Item { is_copied: false, ..*item };
                if self.notice(&own, |notice| notice.new_file(text, tape, payload)).is_none() {
                    self.leave_out(["session_meta", "", ""]);
                }
            }
        }
    }

    /// Says that the turn is over: nothing of it is awaited any more.
    fn end_turn(&mut self) {
        self.end_window(b"");
        self.release_commands();
        self.state.programs.settle_all();
    }

    /// Ends the window in which a step awaits its token counts, and lets the step go with them.
    fn end_window(&mut self, metrics: &[u8]) {
        self.state.window += 1;
        if self.output.is_waiting() {
            self.output.release(metrics);
        }
    }

    // ---- notices ----

    /// Writes a system step with what `fill` says; `None` where it says nothing.
    fn notice(&mut self, item: &Item<'_>, fill: impl FnOnce(&mut Notice) -> Option<()>) -> Option<()> {
        let mut notice = std::mem::take(&mut self.scratch.notice);
        let filled = fill(&mut notice);
        if filled.is_some() {
            let mut hashed = std::mem::take(&mut self.scratch.hashed);
            hashed.clear();
            string::decode_prefix(&notice.message, HASHED_CHARACTERS, &mut hashed);
            let digest = self.give_id(item, &hashed, IdKind::System);
            self.scratch.hashed = hashed;
            self.open_step(item, digest, IdKind::System, Source::System);
            self.output.push(&notice.message);
            self.output.push(b"\",\"extra\":{\"codex\":{");
            self.output.push(&notice.codex);
            if let Some(message) = notice.whole_message {
                self.output.push(b",\"message\":\"");
                self.output.push(message.raw(item.text));
                self.output.push(b"\"");
            }
            self.output.push(b"}}");
            self.close_step(item);
        }
        self.scratch.notice = notice;
        filled
    }

    fn unknown(&mut self, item: &Item<'_>, envelope: &Envelope<'_, '_>) {
        let text = item.text;
        self.notice(item, |notice| {
            notice.unknown(text, envelope);
            Some(())
        });
    }

    // ---- records ----

    fn leave_out(&mut self, kind: [&str; 3]) {
        self.summary.add_skipped(kind.map(str::as_bytes));
    }

    fn give_id(&mut self, item: &Item<'_>, hashed: &[u8], kind: IdKind) -> Digest16 {
        self.state.given_ids.give(item.timestamp, hashed, kind, item.offset)
    }

    fn give_body_id(&mut self, item: &Item<'_>, body: &Body, between: &[u8], kind: IdKind) -> Digest16 {
        let mut buffer = std::mem::take(&mut self.scratch.hashed);
        let digest = self.give_id(item, body.hashed(item.text, between, false, &mut buffer), kind);
        self.scratch.hashed = buffer;
        digest
    }

    fn give_invocation_id(&mut self, item: &Item<'_>, invocation: &Invocation) -> Digest16 {
        let mut buffer = std::mem::take(&mut self.scratch.hashed);
        let digest = self.give_id(item, invocation.hashed(HASHED_CHARACTERS, &mut buffer), IdKind::Assistant);
        self.scratch.hashed = buffer;
        digest
    }

    /// What comes before each record: the header before the first.
    fn start_record(&mut self) {
        if !self.state.has_header {
            self.state.has_header = true;
            record::push_header(&mut self.output, &self.agent_id);
            self.count_record();
        }
    }

    fn open_step(&mut self, item: &Item<'_>, digest: Digest16, kind: IdKind, source: Source) {
        self.start_record();
        let timestamp = item.timestamp.map_or_else(|| or_epoch(&self.state.timestamp), |(raw, _)| raw);
        record::open_step(&mut self.output, &Origin { digest, kind, timestamp }, source);
    }

    fn close_step(&mut self, item: &Item<'_>) {
        record::close_step(&mut self.output, item.is_copied);
        self.end_record();
    }

    /// Opens a step of the agent. It takes over the window: the one before it goes unmeasured.
    fn open_agent_step(&mut self, item: &Item<'_>, digest: Digest16, kind: IdKind) {
        if self.output.is_waiting() {
            self.output.release(b"");
        }
        if self.state.reports_usage && !item.is_copied {
            self.waiting_records = 0;
            self.output.begin_waiting();
        }
        self.open_step(item, digest, kind, Source::Agent);
    }

    fn close_agent_step(&mut self, item: &Item<'_>) {
        self.close_step(item);
        self.output.end_waiting_step();
    }

    /// Appends model and effort to a step of the agent.
    fn push_settings(&mut self) {
        self.output.push(&self.settings);
    }

    fn open_observation(&mut self, item: &Item<'_>, digest: Digest16, kind: IdKind, call: &CallId) {
        self.start_record();
        let timestamp = item.timestamp.map_or_else(|| or_epoch(&self.state.timestamp), |(raw, _)| raw);
        record::open_observation(&mut self.output, &Origin { digest, kind, timestamp }, call.0.as_bytes());
    }

    fn end_record(&mut self) {
        self.count_record();
        self.output.end_record();
    }

    fn count_record(&mut self) {
        self.summary.records += 1;
        self.waiting_records += 1;
    }
}

impl Converter<Vec<u8>> {
    /// Takes the records that were let go so far.
    ///
    /// # Errors
    ///
    /// Where waiting records could not be kept in a temporary file.
    pub fn take_records(&mut self) -> Result<Vec<u8>, OutputError> {
        self.output.flush()?;
        Ok(std::mem::take(self.output.sink_mut()))
    }
}

/// The image that a call made, base64.
pub(super) fn image_of<'t>(tool: &[u8], tape: &'t Tape, payload: &Value) -> Option<&'t Value> {
    member(tape, payload, Key::Result).and_then(as_string).filter(|_| tool == b"image_generation")
}

/// Whether a line holds invalid UTF-8, or characters that would end a line of the transcript for some readers.
fn needs_repair(line: &[u8]) -> bool {
    simdutf8::basic::from_utf8(line).is_err() || string::has_line_end(line)
}

/// Writes a line anew with U+FFFD in place of what is no UTF-8, and what ends lines escaped.
fn repair(line: &[u8], repaired: &mut Vec<u8>) {
    repaired.clear();
    if simdutf8::basic::from_utf8(line).is_ok() {
        string::escape_line_ends(line, repaired);
        return;
    }
    for chunk in line.utf8_chunks() {
        string::escape_line_ends(chunk.valid().as_bytes(), repaired);
        if !chunk.invalid().is_empty() {
            repaired.extend_from_slice("\u{FFFD}".as_bytes());
        }
    }
}

/// A timestamp seen before, or that of the beginning of time.
fn or_epoch(timestamp: &Name) -> &[u8] {
    if timestamp.is_empty() { NO_TIMESTAMP } else { timestamp.as_bytes() }
}

/// The first word of decoded text, as Python's `split` finds it.
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
