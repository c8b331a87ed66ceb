//! Writes records: frames them as JSON, issues their ids, and holds back the step whose token counts are not known yet.
//!
//! The [`Converter`](super::Converter) decides which record a line becomes; this module decides which bytes the record has.

use std::io::Write;

use crate::json::{Text, Value, string};
use crate::rollout::ByteOffset;
use crate::rollout::envelope::string as as_string;
use crate::rollout::ids::{CallId, Name};
use crate::rollout::timestamp::Nanos;

use super::arguments::Invocation;
use super::content::{BLANK_LINE, Body, Joint};
use super::event_id::{Digest16, HASHED_CHARACTERS, IdKind, IssuedIds};
use super::inter_agent::{InterAgentMessage, encrypted_message};
use super::notice::{Notice, user_shell_command};
use super::output::{Output, OutputError};
use super::record::{self, Origin, Push, StepSource};
use super::usage::CountLine;

/// The timestamp of a line that has none, if no earlier line has one either.
const EPOCH: &[u8] = b"1970-01-01T00:00:00.000Z";

/// The reason why the cost of an inference is a step of its own.
const COST_WITHOUT_STEP: &[u8] = b"No step of the agent was waiting for these token counts.";

/// The facts about a line that the id and the framing of its record depend on.
#[derive(Clone, Copy)]
pub(crate) struct LineOrigin<'a> {
    /// The position of the line's first byte.
    pub(crate) offset: ByteOffset,
    /// The timestamp as written, and its value; `None` if it is missing or invalid.
    pub(crate) timestamp: Option<(&'a [u8], Nanos)>,
    /// Whether the line repeats another session's history.
    pub(crate) is_copied: bool,
}

/// A tool call to be written as a step.
pub(crate) struct CallStep<'a> {
    /// The line's text.
    pub(crate) text: Text<'a>,
    /// The call's id. Without one, the step's own event id takes its place.
    pub(crate) call: Option<&'a CallId>,
    /// The tool's name.
    pub(crate) tool: &'a Name,
    /// The arguments.
    pub(crate) invocation: &'a Invocation,
    /// The value that the arguments were read from, if they are a single one.
    pub(crate) value: Option<&'a Value>,
    /// Members of the step's `extra`, each preceded by a comma.
    pub(crate) extra: &'a [u8],
}

/// The framing of a command's record.
pub(crate) struct CommandRecord<'a> {
    /// The hash in the event id.
    pub(crate) digest: Digest16,
    /// The timestamp of the command's line.
    pub(crate) timestamp: &'a Name,
    /// Whether the command's line repeats another session's history.
    pub(crate) is_copied: bool,
    /// The message of the step if no call owns the command, as the content of a JSON string.
    pub(crate) unowned_message: &'static [u8],
}

impl CommandRecord<'_> {
    /// Appends the record: an observation of the call that owns the command, or a step of the system if no call does.
    ///
    /// `push_extra` appends the `extra` member, without its closing brace.
    pub(crate) fn push<P: Push>(&self, owner: Option<&CallId>, out: &mut P, push_extra: impl FnOnce(&mut P)) {
        let origin =
            Origin { digest: self.digest, kind: IdKind::CommandExecution, timestamp: or_epoch(self.timestamp) };
        if let Some(call) = owner {
            record::open_observation(out, &origin, call.0.as_bytes());
            out.push(b"\",");
            push_extra(out);
            record::close_observation(out, self.is_copied);
        } else {
            record::open_step(out, &origin, StepSource::System);
            out.push(self.unowned_message);
            out.push(b"\",");
            push_extra(out);
            out.push(b"}");
            record::close_step(out, self.is_copied);
        }
    }
}

/// The header flag, the model and the effort: the part of the saved state that frames records.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Framing {
    /// Whether the header has been written.
    has_header: bool,
    /// The model of the turn, as JSON string content.
    model: Name,
    /// The reasoning effort of the turn, as a JSON token.
    effort: Name,
}

impl Framing {
    /// Returns the model and the effort as members of a step.
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

/// Writes the records of one transcript to an [`Output`].
pub(crate) struct RecordWriter<W> {
    agent_id: Vec<u8>,
    framing: Framing,
    /// [`Framing::settings`], kept because every agent step repeats them.
    settings: Vec<u8>,
    issued_ids: IssuedIds,
    /// The latest valid timestamp.
    timestamp: Name,
    output: Output<W>,
    /// Records written so far, including the header.
    records: u64,
    /// Records since the held-back step began.
    waiting_records: u64,
    /// The text that an event id hashes, reused between records.
    hashed: Vec<u8>,
}

impl<W: Write> RecordWriter<W> {
    /// Returns a writer for the transcript of `agent_id`, in the given state.
    pub(crate) fn new(
        agent_id: &str,
        framing: Framing,
        issued_ids: IssuedIds,
        timestamp: Name,
        output: Output<W>,
    ) -> Self {
        Self {
            agent_id: agent_id.as_bytes().to_vec(),
            settings: framing.settings(),
            framing,
            issued_ids,
            timestamp,
            output,
            records: 0,
            waiting_records: 0,
            hashed: Vec::new(),
        }
    }

    /// Returns the state that [`Self::new`] takes.
    pub(crate) fn state(&self) -> (&Framing, &IssuedIds, &Name) {
        (&self.framing, &self.issued_ids, &self.timestamp)
    }

    /// Returns the number of records written, including the header.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Sets the timestamp of the following records.
    #[inline]
    pub(crate) fn set_timestamp(&mut self, timestamp: &[u8]) {
        self.timestamp.assign(timestamp);
    }

    /// Returns the timestamp of the following records.
    pub(crate) fn timestamp(&self) -> &Name {
        &self.timestamp
    }

    /// Sets the effort of the following agent steps, and their model if one is given.
    pub(crate) fn set_settings(&mut self, model: Option<Name>, effort: Name) {
        if let Some(model) = model {
            self.framing.model = model;
        }
        self.framing.effort = effort;
        self.settings = self.framing.settings();
    }

    // ---- Holding records back ----

    /// Starts holding back all following records, until [`Self::release`].
    pub(crate) fn begin_waiting(&mut self) {
        self.waiting_records = 0;
        self.output.begin_waiting();
    }

    /// Returns whether records are held back.
    pub(crate) fn is_waiting(&self) -> bool {
        self.output.is_waiting()
    }

    /// Releases the records that are held back, if any, with `metrics` in the step that begins them.
    pub(crate) fn release(&mut self, metrics: &[u8]) {
        if self.output.is_waiting() {
            self.output.release(metrics);
        }
    }

    /// Discards the records that are held back, if any.
    pub(crate) fn discard_waiting(&mut self) {
        if self.output.is_waiting() {
            self.output.discard_waiting();
            self.records -= self.waiting_records;
        }
    }

    /// Returns the output, to inspect it.
    pub(crate) fn output(&self) -> &Output<W> {
        &self.output
    }

    /// Returns the output, to access its sink.
    pub(crate) fn output_mut(&mut self) -> &mut Output<W> {
        &mut self.output
    }

    /// Writes all released records to the sink.
    ///
    /// # Errors
    ///
    /// Returns the first error of the sink or of the temporary file, unless it was returned before.
    pub(crate) fn flush(&mut self) -> Result<(), OutputError> {
        self.output.flush()
    }

    // ---- Steps ----

    /// Writes a message in the user's role: a step of the user, or of the system if Codex wrote it.
    pub(crate) fn user_message(&mut self, line: &LineOrigin<'_>, text: Text<'_>, body: &Body) {
        let (kind, source) =
            if body.is_injected() { (IdKind::System, StepSource::System) } else { (IdKind::User, StepSource::User) };
        let digest = self.issue_body_id(line, text, body, b"", kind);
        self.open_step(digest, kind, source);
        body.push_text(text, Joint::BlankLine, &mut self.output);
        self.output.push(b"\"");
        match body.shell_command(text) {
            None => self.push_image_extra(text, body),
            Some(command) => {
                self.output.push(b",\"extra\":{\"codex\":{");
                self.output.push(&user_shell_command(&command));
                self.output.push(b"}");
                if body.has_images() {
                    self.output.push(b",\"images\":");
                    body.push_images(text, &mut self.output);
                }
                self.output.push(b"}");
            }
        }
        self.close_step(line.is_copied);
    }

    /// Writes a message of the agent.
    pub(crate) fn assistant_message(&mut self, line: &LineOrigin<'_>, text: Text<'_>, body: &Body) {
        let digest = self.issue_body_id(line, text, body, b"", IdKind::Assistant);
        self.open_step(digest, IdKind::Assistant, StepSource::Agent);
        body.push_text(text, Joint::Direct, &mut self.output);
        self.output.push(b"\"");
        self.output.push(&self.settings);
        self.push_image_extra(text, body);
        self.close_agent_step(line.is_copied);
    }

    /// Writes the agent's reasoning.
    pub(crate) fn reasoning(&mut self, line: &LineOrigin<'_>, text: Text<'_>, body: &Body) {
        let digest = self.issue_body_id(line, text, body, BLANK_LINE, IdKind::Reasoning);
        self.open_step(digest, IdKind::Reasoning, StepSource::Agent);
        self.output.push(b"\"");
        self.output.push(&self.settings);
        self.output.push(b",\"reasoning_content\":\"");
        body.push_text(text, Joint::BlankLine, &mut self.output);
        self.output.push(b"\"");
        self.close_agent_step(line.is_copied);
    }

    /// Writes a message between agents.
    pub(crate) fn agent_message(
        &mut self,
        line: &LineOrigin<'_>,
        text: Text<'_>,
        body: &Body,
        author: Option<&Value>,
        recipient: Option<&Value>,
    ) {
        let [author, recipient] = [author, recipient].map(|agent| Some(agent.and_then(as_string)?.raw(text)));
        let digest = self.issue_body_id(line, text, body, b"", IdKind::System);
        self.open_step(digest, IdKind::System, StepSource::System);
        if body.is_encrypted() {
            self.output.push(&encrypted_message(author, recipient));
        } else {
            body.push_text(text, Joint::Direct, &mut self.output);
        }
        self.close_agent_message(line, text, body, author, recipient);
    }

    /// Writes a message between agents whose text in `body` is JSON.
    pub(crate) fn inter_agent_message(
        &mut self,
        line: &LineOrigin<'_>,
        text: Text<'_>,
        body: &Body,
        message: &InterAgentMessage,
    ) {
        let (author, recipient) = (Some(&message.author[..]), Some(&message.recipient[..]));
        let digest = self.issue_body_id(line, text, body, b"", IdKind::System);
        self.open_step(digest, IdKind::System, StepSource::System);
        if message.content.is_empty() {
            self.output.push(&encrypted_message(author, recipient));
        } else {
            self.output.push(&message.content);
        }
        self.close_agent_message(line, text, body, author, recipient);
    }

    /// Writes the rest of a message between agents, after its text.
    fn close_agent_message(
        &mut self,
        line: &LineOrigin<'_>,
        text: Text<'_>,
        body: &Body,
        author: Option<&[u8]>,
        recipient: Option<&[u8]>,
    ) {
        self.output.push(b"\",\"extra\":{");
        for (name, agent) in [(&b"\"author\":"[..], author), (b",\"recipient\":", recipient)] {
            self.output.push(name);
            match agent {
                Some(agent) => [b"\"", agent, b"\""].into_iter().for_each(|piece| self.output.push(piece)),
                None => self.output.push(b"null"),
            }
        }
        if body.has_images() {
            self.output.push(b",\"images\":");
            body.push_images(text, &mut self.output);
        }
        self.output.push(b"}");
        self.close_step(line.is_copied);
    }

    /// Writes a tool call.
    pub(crate) fn call(&mut self, line: &LineOrigin<'_>, step: &CallStep<'_>) {
        let hashed = step.invocation.hashed(HASHED_CHARACTERS, &mut self.hashed);
        let digest = self.issued_ids.issue(line.timestamp, hashed, IdKind::Assistant, line.offset);
        self.open_step(digest, IdKind::Assistant, StepSource::Agent);
        self.output.push(b"\"");
        self.output.push(&self.settings);
        self.output.push(b",\"tool_calls\":[{\"tool_call_id\":\"");
        match step.call {
            Some(call) => self.output.push(call.0.as_bytes()),
            None => Origin { digest, kind: IdKind::Assistant, timestamp: b"" }.push_id(&mut self.output),
        }
        self.output.push(b"\",\"function_name\":\"");
        self.output.push(step.tool.as_bytes());
        self.output.push(b"\",\"arguments\":");
        step.invocation.push(step.text, step.value, &mut self.output);
        self.output.push(b"}]");
        if let Some((_, members)) = step.extra.split_first() {
            self.output.push(b",\"extra\":{");
            self.output.push(members);
            self.output.push(b"}");
        }
        self.close_agent_step(line.is_copied);
    }

    /// Writes a step for the cost of an inference that no step awaits. `metrics` is a member, preceded by a comma.
    pub(crate) fn cost(&mut self, line: &LineOrigin<'_>, source: CountLine, metrics: &[u8]) {
        let digest = self.issued_ids.issue(line.timestamp, b"", IdKind::Assistant, line.offset);
        self.open_step(digest, IdKind::Assistant, StepSource::Agent);
        self.output.push(b"\"");
        self.output.push(&self.settings);
        self.output.push(b",\"llm_call_count\":1,\"extra\":{\"codex\":{\"type\":\"");
        self.output.push(match source {
            CountLine::TokenCount => b"token_count",
            CountLine::UsageRecord => b"token_usage_record",
        });
        self.output.push(b"\",\"reason\":\"");
        self.output.push(COST_WITHOUT_STEP);
        self.output.push(b"\"}}");
        self.output.push(metrics);
        self.close_step(line.is_copied);
    }

    /// Writes a notice.
    pub(crate) fn notice(&mut self, line: &LineOrigin<'_>, text: Text<'_>, notice: &Notice) {
        self.hashed.clear();
        string::decode_prefix(&notice.message, HASHED_CHARACTERS, &mut self.hashed);
        let digest = self.issued_ids.issue(line.timestamp, &self.hashed, IdKind::System, line.offset);
        self.open_step(digest, IdKind::System, StepSource::System);
        self.output.push(&notice.message);
        self.output.push(b"\",\"extra\":{\"codex\":{");
        self.output.push(&notice.codex);
        if let Some(message) = notice.full_message {
            self.output.push(b",\"message\":\"");
            self.output.push(message.raw(text));
            self.output.push(b"\"");
        }
        self.output.push(b"}}");
        self.close_step(line.is_copied);
    }

    // ---- Observations ----

    /// Writes the output of a call to `tool`. `hashed` is the beginning of its text, as returned by [`Body::hashed`].
    pub(crate) fn output_of(
        &mut self,
        line: &LineOrigin<'_>,
        text: Text<'_>,
        body: &Body,
        hashed: &[u8],
        call: &CallId,
        tool: &Name,
    ) {
        let digest = self.issued_ids.issue(line.timestamp, hashed, IdKind::ToolResult, line.offset);
        self.begin_record();
        let timestamp = or_epoch(&self.timestamp);
        let origin = Origin { digest, kind: IdKind::ToolResult, timestamp };
        record::open_observation(&mut self.output, &origin, call.0.as_bytes());
        body.push_text(text, Joint::Direct, &mut self.output);
        self.output.push(b"\",\"extra\":{\"is_error\":false,\"tool_name\":\"");
        self.output.push(tool.as_bytes());
        self.output.push(b"\"");
        if body.has_images() {
            self.output.push(b",\"images\":");
            body.push_images(text, &mut self.output);
        }
        record::close_observation(&mut self.output, line.is_copied);
        self.end_record();
    }

    /// Issues the id of a command. Commands get their ids in line order, even if their records are written later.
    ///
    /// `push_hashed` appends the text that the id hashes, of at most the given number of characters.
    pub(crate) fn issue_command_id(
        &mut self,
        line: &LineOrigin<'_>,
        push_hashed: impl FnOnce(usize, &mut Vec<u8>),
    ) -> Digest16 {
        self.hashed.clear();
        push_hashed(HASHED_CHARACTERS, &mut self.hashed);
        self.issued_ids.issue(line.timestamp, &self.hashed, IdKind::CommandExecution, line.offset)
    }

    /// Writes a command: as an observation of the call that owns it, or as a step of the system if no call does.
    ///
    /// `push_extra` appends the `extra` member, without its closing brace.
    pub(crate) fn command(
        &mut self,
        command: &CommandRecord<'_>,
        owner: Option<&CallId>,
        push_extra: impl FnOnce(&mut Output<W>),
    ) {
        self.begin_record();
        command.push(owner, &mut self.output, push_extra);
        self.end_record();
    }

    // ---- Framing ----

    fn issue_body_id(
        &mut self,
        line: &LineOrigin<'_>,
        text: Text<'_>,
        body: &Body,
        separator: &[u8],
        kind: IdKind,
    ) -> Digest16 {
        let hashed = body.hashed(text, separator, false, &mut self.hashed);
        self.issued_ids.issue(line.timestamp, hashed, kind, line.offset)
    }

    fn push_image_extra(&mut self, text: Text<'_>, body: &Body) {
        if body.has_images() {
            self.output.push(b",\"extra\":{\"images\":");
            body.push_images(text, &mut self.output);
            self.output.push(b"}");
        }
    }

    /// Writes the header before the first record.
    #[inline]
    fn begin_record(&mut self) {
        if !self.framing.has_header {
            self.framing.has_header = true;
            record::push_header(&mut self.output, &self.agent_id);
            self.count_record();
        }
    }

    fn open_step(&mut self, digest: Digest16, kind: IdKind, source: StepSource) {
        self.begin_record();
        let timestamp = or_epoch(&self.timestamp);
        record::open_step(&mut self.output, &Origin { digest, kind, timestamp }, source);
    }

    fn close_step(&mut self, is_copied: bool) {
        record::close_step(&mut self.output, is_copied);
        self.end_record();
    }

    /// Closes a step of the agent; if it waits for its token counts, they will be inserted at its end.
    fn close_agent_step(&mut self, is_copied: bool) {
        self.close_step(is_copied);
        self.output.end_waiting_step();
    }

    #[inline]
    fn end_record(&mut self) {
        self.count_record();
        self.output.end_record();
    }

    fn count_record(&mut self) {
        self.records += 1;
        self.waiting_records += 1;
    }
}

/// Returns a timestamp as bytes, or [`EPOCH`] if it is empty.
fn or_epoch(timestamp: &Name) -> &[u8] {
    if timestamp.is_empty() { EPOCH } else { timestamp.as_bytes() }
}
