//! Transcript records as a conversation: who said what and when, which commands ran, and their output.
//!
//! Text from every field of a record passes through [`push_safe`], so a session cannot control the terminal.

use std::collections::VecDeque;

use mngr_codex_core::{SessionHead, Text};

use super::command::{CallText, codex_preamble, one_line, user_command_output};
use super::json_object::{Object, any_text, content_text};
use super::local_time::{LocalClock, LocalTime, Zone};
use super::markdown;
use super::patch;
use super::script::{ExplainedScript, HeldRecords};
use super::session::{self, Tokens, Totals};
use super::style::{Limits, Sgr, Style};
use super::terminal::{cut_to_columns, is_harmless, push_safe};
use super::units::{grouped, seconds, size_of};

/// Writes records in human-readable form, one after the other. Uses bounded memory.
#[derive(Clone)]
pub(crate) struct Human {
    style: Style,
    clock: LocalClock,
    /// The width of the terminal, for text that is rendered.
    columns: usize,
    /// The day and the zone that were shown last.
    day: Vec<u8>,
    zone_name: Vec<u8>,
    /// The model and its effort that were shown last.
    model: Vec<u8>,
    /// The number of copied records since the last one that was shown.
    folded: u64,
    is_first: bool,
    /// The latest result of a call, because the record of its command repeats the output.
    last_result: LastResult,
    /// The ids of the latest calls whose command line was shown.
    commands: VecDeque<Vec<u8>>,
    /// Whether records of programs may be held until the effect of the programs is known.
    holds_scripts: bool,
    held: HeldRecords,
    /// The programs among the held records whose commands are shown in place of their text.
    explained: Vec<ExplainedScript>,
    totals: Totals,
}

/// A call's result that was shown.
#[derive(Clone, Default)]
struct LastResult {
    /// The call's id.
    call: Vec<u8>,
    output: Vec<u8>,
    /// The outcome that was shown, such as `exit 0`.
    about: Vec<u8>,
}

/// The number of calls whose command lines are remembered: more than run at the same time.
const RECENT_COMMANDS_LIMIT: usize = 64;

/// The start of a message that mngr sent and that began with `!`: the invisible character keeps Codex from running it.
const ESCAPED_BANG: &str = "\u{2060}!";

/// The size in bytes above which outputs are not checked for repetition.
const REMEMBERED_OUTPUT_LIMIT: usize = 64 << 10;

impl Human {
    /// The width of a terminal that does not report any.
    const DEFAULT_COLUMNS: usize = 80;

    /// Creates a writer that has shown nothing yet.
    #[must_use]
    pub(crate) fn new(style: Style, zone: Zone) -> Self {
        Self {
            style,
            clock: LocalClock::new(zone),
            columns: Self::DEFAULT_COLUMNS,
            day: Vec::new(),
            zone_name: Vec::new(),
            model: Vec::new(),
            folded: 0,
            is_first: true,
            last_result: LastResult::default(),
            commands: VecDeque::new(),
            holds_scripts: true,
            held: HeldRecords::default(),
            explained: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// Shows each record at once. Then a program is always shown with its text.
    pub(crate) fn show_at_once(&mut self) {
        self.holds_scripts = false;
    }

    /// Sets the width of the terminal.
    pub(crate) fn set_columns(&mut self, columns: usize) {
        self.columns = columns;
    }

    /// Returns whether nothing was shown yet.
    pub(crate) fn is_at_start(&self) -> bool {
        self.is_first && self.held.is_empty() && self.folded == 0
    }

    /// Returns whether all records were appended, and none is held back.
    pub(crate) fn has_written_all(&self) -> bool {
        self.held.is_empty() && self.folded == 0
    }

    /// Appends a line about the session.
    pub(crate) fn session(&mut self, head: &SessionHead, out: &mut Vec<u8>) {
        if let Some((facts, title)) = session::first_line(head) {
            self.paint(Sgr::DIM, facts.as_bytes(), out);
            self.paint(Sgr::BOLD, title.as_bytes(), out);
            out.push(b'\n');
        }
    }

    /// Appends a record, which must be a JSON object, in human-readable form. A record of a program may be appended later.
    pub(crate) fn record(&mut self, text: Text<'_>, out: &mut Vec<u8>) {
        let record = Object::of(text.bytes().trim_ascii());
        let kind = record.text("type").unwrap_or_default();
        if kind == b"header" {
            return;
        }
        let is_copied = record.is_true("is_copied_context")
            || record.elements("results").any(|result| Object::of(result).object("extra").is_true("is_copied_context"));
        let may_hold = self.holds_scripts && !self.style.full && !is_copied;
        let has_held = !self.held.is_empty();
        if may_hold && self.held.add(&record, &kind) {
            return;
        }
        if has_held {
            self.release(out);
            if may_hold && self.held.add(&record, &kind) {
                return;
            }
        }
        self.show(&record, &kind, is_copied, out);
    }

    /// Appends the records that are held.
    fn release(&mut self, out: &mut Vec<u8>) {
        if self.held.is_empty() {
            return;
        }
        self.explained = self.held.explained();
        for record in self.held.take() {
            let record = Object::of(&record);
            let kind = record.text("type").unwrap_or_default();
            self.show(&record, &kind, false, out);
        }
        self.explained.clear();
    }

    fn show(&mut self, record: &Object<'_>, kind: &[u8], is_copied: bool, out: &mut Vec<u8>) {
        if is_copied && !self.style.full {
            self.folded += 1;
            return;
        }
        self.unfold(out);
        if !is_copied {
            self.totals.add_time(&record.get("timestamp").map(any_text).unwrap_or_default());
        }
        match kind {
            b"step" => self.step(record, is_copied, out),
            b"observation" => self.observation(record, out),
            _ => self.other(record, kind, out),
        }
        self.is_first = false;
    }

    /// Appends the records that are held, and the count of copied records at the end, if any.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.release(out);
        self.unfold(out);
    }

    /// Appends what the session took, if any record was shown.
    pub(crate) fn totals(&self, out: &mut Vec<u8>) {
        if let Some(line) = self.totals.line() {
            out.push(b'\n');
            self.line(Sgr::DIM, 0, line.as_bytes(), out);
        }
    }

    /// Returns how a program is explained by its commands, if they are shown in place of its text.
    fn explained(&self, call: &[u8]) -> Option<&ExplainedScript> {
        self.explained.iter().find(|script| script.call == call)
    }

    fn unfold(&mut self, out: &mut Vec<u8>) {
        let count = std::mem::take(&mut self.folded);
        if count == 0 {
            return;
        }
        let records = if count == 1 { "1 record" } else { &format!("{} records", grouped(count)) };
        self.line(
            Sgr::DIM,
            0,
            format!("… {records} copied from an earlier session; --full shows them").as_bytes(),
            out,
        );
        self.is_first = false;
    }

    fn step(&mut self, step: &Object<'_>, is_copied: bool, out: &mut Vec<u8>) {
        let source = step.text("source").unwrap_or_default();
        let extra = step.object("extra");
        let author = extra.text("author");
        let mut message = step.get("message").map(content_text).unwrap_or_default();
        if source == b"user" && message.starts_with(ESCAPED_BANG.as_bytes()) {
            message.drain(..ESCAPED_BANG.len() - 1);
        }
        // Codex writes some notifications in the user's role: that a subagent has ended, that a turn was aborted (0.138 to
        // 0.171). The published converter leaves them to the user.
        let is_injected = |opening: &[u8], closing: &[u8]| {
            source != b"agent" && message.starts_with(opening) && message.trim_ascii_end().ends_with(closing)
        };
        let is_notification = is_injected(b"<subagent_notification>", b"</subagent_notification>");
        let is_aborted = is_injected(b"<turn_aborted>", b"</turn_aborted>");
        let depth = if author.is_some() || is_notification { 4 } else { 0 };
        let (speaker, sgr): (&[u8], Sgr) = match source.as_slice() {
            _ if is_notification => (b"subagent", Sgr::SYSTEM),
            _ if is_aborted => (b"system", Sgr::SYSTEM),
            b"user" => (b"user", Sgr::USER),
            b"agent" => (b"agent", Sgr::AGENT),
            b"system" => (b"system", Sgr::SYSTEM),
            other => (other, Sgr::SYSTEM),
        };
        if !self.is_first {
            out.push(b'\n');
        }
        let notice = extra.object("codex");
        if source == b"system" && notice.text("type").is_some_and(|kind| kind == b"user_shell_command") {
            return self.user_command(step, &notice, &message, out);
        }
        if source == b"user" && !is_notification && !is_aborted {
            if !is_copied {
                self.totals.add_turn();
            }
            if !self.is_first {
                self.line(Sgr::DIM, 0, "─".repeat(60).as_bytes(), out);
            }
        }
        let mut head = Vec::new();
        self.paint(sgr, speaker, &mut head);
        if let Some(author) = author {
            let recipient = extra.text("recipient").unwrap_or_default();
            self.paint(Sgr::DIM, &[b" ", author.as_slice(), " → ".as_bytes(), &recipient].concat(), &mut head);
        }
        if is_copied {
            self.paint(Sgr::DIM, b" (copied from an earlier session)", &mut head);
        }
        self.name_model(step, &mut head);
        self.head(step, depth, &head, out);
        self.message(step, &message, depth, out);
        self.notice_details(&extra.object("codex"), depth + 4, out);
        self.performed(step, &extra, b"", out);
        for call in step.elements("tool_calls") {
            self.call(&Object::of(call), depth + 2, out);
        }
        self.images(&extra, depth + 2, out);
        for result in step.object("observation").elements("results") {
            let text = Object::of(result).get("content").map(content_text).unwrap_or_default();
            self.text(Sgr::DIM, depth + 4, &text, Limits::OUTPUT, out);
        }
        self.tokens(step, is_copied, depth + 2, out);
    }

    /// Appends the message of a step, after its reasoning.
    fn message(&mut self, step: &Object<'_>, message: &[u8], depth: usize, out: &mut Vec<u8>) {
        if let Some(reasoning) = step.get("reasoning_content").map(any_text).filter(|reasoning| !reasoning.is_empty()) {
            let text = [b"(thinking) ", reasoning.as_slice()].concat();
            self.markdown(Sgr::DIM, depth + 2, &text, Limits::THINKING, out);
        }
        let author = step.object("extra").get("author");
        let is_system = step.text("source").is_some_and(|source| source == b"system");
        let notice = step.object("extra").object("codex").text("type");
        match notice.as_deref() {
            Some(b"task_complete" | b"turn_aborted") => self.text(Sgr::ERROR, depth + 2, message, Limits::SYSTEM, out),
            Some(_) => self.text(Sgr::BOLD, depth + 2, message, Limits::SYSTEM, out),
            // Text that Codex injects: instructions, the environment, notifications.
            None if is_system && author.is_none() => self.injected(depth + 2, message, out),
            None if step.text("source").is_some_and(|source| source == b"agent") => {
                self.markdown(Sgr::PLAIN, depth + 2, message, Limits::ALL, out);
            }
            None => self.text(Sgr::PLAIN, depth + 2, message, Limits::ALL, out),
        }
    }

    /// Appends text that Codex wrote: the whole text if it is short, else only its first line.
    fn injected(&self, depth: usize, text: &[u8], out: &mut Vec<u8>) {
        const SHORT: usize = Limits::SYSTEM.first + Limits::SYSTEM.last;
        let lines = memchr::memchr_iter(b'\n', text.trim_ascii_end()).count() + 1;
        self.text(Sgr::DIM, depth, text, if lines > SHORT { Limits::LINE } else { Limits::SYSTEM }, out);
    }

    /// Appends a command that the user ran with `!`. `report` is Codex's text about it.
    fn user_command(&mut self, step: &Object<'_>, notice: &Object<'_>, report: &[u8], out: &mut Vec<u8>) {
        let line = notice.get("command").map(any_text).unwrap_or_default();
        let exit = notice.integer("exit_code");
        let failed = exit.is_some_and(|exit| exit != 0);
        let mut head = Vec::new();
        self.paint(Sgr::USER, b"user", &mut head);
        self.paint(Sgr::TOOL, b" ran", &mut head);
        self.paint(Sgr::BOLD, &[b" ", one_line(&line, self.style.full).as_slice()].concat(), &mut head);
        if let Some(exit) = exit {
            self.paint(if failed { Sgr::ERROR } else { Sgr::DIM }, format!("  exit {exit}").as_bytes(), &mut head);
        }
        self.head(step, 0, &head, out);
        if self.style.full {
            self.text(Sgr::BOLD, 4, &line[nth_line(&line, 1)..], Limits::ALL, out);
        }
        let sgr = if failed { Sgr::ERROR } else { Sgr::DIM };
        self.text(sgr, 2, user_command_output(report).unwrap_or(report), Limits::OUTPUT, out);
    }

    /// Appends the model and its effort if they have changed.
    fn name_model(&mut self, step: &Object<'_>, head: &mut Vec<u8>) {
        let Some(mut model) = step.get("model_name").map(any_text).filter(|model| !model.is_empty()) else { return };
        if let Some(effort) = step.get("reasoning_effort").map(any_text).filter(|effort| !effort.is_empty()) {
            model.push(b' ');
            model.extend_from_slice(&effort);
        }
        if model != self.model {
            self.paint(Sgr::DIM, &[b"  ", model.as_slice()].concat(), head);
            self.model = model;
        }
    }

    fn call(&mut self, call: &Object<'_>, depth: usize, out: &mut Vec<u8>) {
        let id = call.get("tool_call_id").map(any_text).unwrap_or_default();
        if let Some(script) = self.explained(&id) {
            for command in &script.commands {
                self.call_text(&CallText::of_command(command.clone()), depth, out);
            }
            return;
        }
        let text = CallText::of(call);
        if text.mark == CallText::COMMAND {
            if self.commands.len() == RECENT_COMMANDS_LIMIT {
                self.commands.pop_front();
            }
            self.commands.push_back(if id.len() <= REMEMBERED_OUTPUT_LIMIT { id } else { Vec::new() });
        }
        self.call_text(&text, depth, out);
        self.images(&call.object("extra"), depth + 2, out);
    }

    fn call_text(&self, CallText { mark, text, patch, limits }: &CallText, depth: usize, out: &mut Vec<u8>) {
        let patch = patch.start + mark.len()..patch.end + mark.len();
        let color = |at: usize, line: &[u8]| if patch.contains(&at) { patch::line_color(line) } else { Sgr::BOLD };
        self.lines(color, depth, &[*mark, text].concat(), *limits, out);
    }

    fn observation(&mut self, record: &Object<'_>, out: &mut Vec<u8>) {
        let mut has_results = false;
        for result in record.elements("results") {
            has_results = true;
            self.result(record, &Object::of(result), out);
        }
        if !has_results {
            self.head(record, 2, b"no output", out);
        }
    }

    fn result(&mut self, record: &Object<'_>, result: &Object<'_>, out: &mut Vec<u8>) {
        let extra = result.object("extra");
        let call = result.get("source_call_id").map(any_text).unwrap_or_default();
        if self.performed(record, &extra, &call, out) {
            return;
        }
        if self.explained(&call).is_some_and(|script| script.is_output_repeated) {
            self.last_result = LastResult::default();
            return;
        }
        let name = extra.get("tool_name").map_or_else(|| b"tool".to_vec(), any_text);
        let content = result.get("content").map(content_text).unwrap_or_default();
        let (about, output) = if self.style.full { (Vec::new(), content.as_slice()) } else { codex_preamble(&content) };
        let failed = extra.is_true("is_error") || about.starts_with(b"exit") && !about.starts_with(b"exit 0");
        let mut head = Vec::new();
        self.paint(Sgr::TOOL, &name, &mut head);
        if extra.is_true("is_error") {
            self.paint(Sgr::ERROR, b" failed", &mut head);
        }
        if !about.is_empty() {
            let sgr = if failed { Sgr::ERROR } else { Sgr::DIM };
            self.paint(sgr, &[b"  ", about.as_slice()].concat(), &mut head);
        }
        self.head(record, 2, &head, out);
        self.text(if failed { Sgr::ERROR } else { Sgr::DIM }, 4, output, Limits::OUTPUT, out);
        self.images(&extra, 4, out);
        let references = result.elements("subagent_trajectory_ref").count();
        if references > 0 {
            self.line(Sgr::DIM, 4, b"(a subagent with its own transcript; see --format atif)", out);
        }
        let is_remembered = content.len() <= REMEMBERED_OUTPUT_LIMIT;
        self.last_result =
            if is_remembered { LastResult { call, about, output: content } } else { LastResult::default() };
    }

    /// Appends what Codex did for a call: a command that it ran, a tool that it called, or files that it changed. Returns
    /// whether there is such a member in `extra`.
    fn performed(&mut self, record: &Object<'_>, extra: &Object<'_>, call: &[u8], out: &mut Vec<u8>) -> bool {
        let [command, tool, files] =
            ["command_execution", "mcp_tool_call", "file_change"].map(|name| extra.object(name));
        let exists = |object: &Object<'_>| !object.text.is_empty();
        if exists(&command) {
            self.command(record, &command, call, out);
        } else if exists(&tool) {
            self.mcp_call(record, &tool, out);
        } else if exists(&files) {
            self.file_change(record, &files, out);
        }
        exists(&command) || exists(&tool) || exists(&files)
    }

    /// Appends a call of an MCP server's tool that a program made itself.
    fn mcp_call(&mut self, record: &Object<'_>, call: &Object<'_>, out: &mut Vec<u8>) {
        let name = ["server", "tool"].map(|name| call.get(name).map(any_text).unwrap_or_default()).join(&b'.');
        let arguments = call.get("arguments").map(any_text).unwrap_or_default();
        let failed = self.performed_head(record, call, b"called", &[&name[..], b" ", &arguments].concat(), out);
        let sgr = if failed { Sgr::ERROR } else { Sgr::DIM };
        for name in ["error", "result"] {
            self.text(sgr, 4, &call.get(name).map(any_text).unwrap_or_default(), Limits::OUTPUT, out);
        }
    }

    /// Appends the files that a program changed itself.
    fn file_change(&mut self, record: &Object<'_>, change: &Object<'_>, out: &mut Vec<u8>) {
        let changes: Vec<Object<'_>> = change.elements("changes").map(Object::of).collect();
        let failed = self.performed_head(record, change, b"changed", &patch::changed_files(&changes), out);
        let sgr = if failed { Sgr::ERROR } else { Sgr::DIM };
        self.text(sgr, 4, &change.get("error").map(any_text).unwrap_or_default(), Limits::OUTPUT, out);
        self.lines(|_, line| patch::line_color(line), 4, &patch::of_changes(&changes), Limits::PATCH, out);
    }

    /// Appends the line before the details of a call that a program made itself. Returns whether the call failed.
    fn performed_head(
        &mut self,
        record: &Object<'_>,
        call: &Object<'_>,
        verb: &[u8],
        what: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        let status = call.get("status").map(any_text).unwrap_or_default();
        let failed = matches!(status.as_slice(), b"failed" | b"declined");
        let mut head = self.painted(Sgr::TOOL, verb);
        self.paint(Sgr::BOLD, &[b" ", one_line(what, self.style.full).as_slice()].concat(), &mut head);
        let mut about = [b"  ", status.as_slice()].concat();
        if let Some(duration) = call.integer("duration_ms").filter(|duration| *duration > 0) {
            about.extend_from_slice(format!(", {}", seconds(duration)).as_bytes());
        }
        self.paint(if failed { Sgr::ERROR } else { Sgr::DIM }, about.trim_ascii_end(), &mut head);
        self.head(record, 2, &head, out);
        failed
    }

    /// Appends the details of a notice if everything is shown: a goal or a review in words, and the payload of
    /// any other event or item as JSON.
    fn notice_details(&self, codex: &Object<'_>, depth: usize, out: &mut Vec<u8>) {
        let payload = codex.object("payload");
        if !self.style.full || payload.text.is_empty() {
            return;
        }
        let member = |object: &Object<'_>, name| object.get(name).map(any_text).unwrap_or_default();
        let mut lines: Vec<Vec<u8>> = Vec::new();
        match codex.text("payload_type").as_deref() {
            Some(b"thread_goal_updated") => {
                let goal = payload.object("goal");
                for name in ["objective", "status"].into_iter().filter(|name| goal.get(name).is_some()) {
                    lines.push([name.as_bytes(), b": ", &member(&goal, name)].concat());
                }
            }
            Some(b"exited_review_mode") => {
                let review = payload.object("review_output");
                lines.push(member(&review, "overall_explanation"));
                for finding in review.elements("findings").map(Object::of) {
                    let location = finding.object("code_location");
                    let file = member(&location, "absolute_file_path");
                    let line = location.object("line_range").integer("start");
                    let line = line.filter(|_| !file.is_empty()).map(|line| format!(":{line}")).unwrap_or_default();
                    let place = if file.is_empty() { Vec::new() } else { [b"  ", &file[..], line.as_bytes()].concat() };
                    lines.push([b"- ", &member(&finding, "title")[..], &place].concat());
                    lines.push(member(&finding, "body"));
                }
            }
            _ => {}
        }
        lines.retain(|line| !line.is_empty());
        if lines.is_empty() {
            lines.push(any_text(payload.text));
        }
        self.text(Sgr::DIM, depth, &lines.join(&b'\n'), Limits::ALL, out);
    }

    /// Appends a command that Codex ran for a call, unless the call and its result have shown everything already.
    fn command(&mut self, record: &Object<'_>, command: &Object<'_>, call: &[u8], out: &mut Vec<u8>) {
        let exit = command.integer("exit_code");
        let failed = exit.is_some_and(|exit| exit != 0);
        let output = command.get("output").map(any_text).unwrap_or_default();
        let is_output_repeated =
            !self.style.full && self.last_result.call == call && contains(&self.last_result.output, &output);
        let is_exit_repeated =
            |exit| self.last_result.about.split(|byte| *byte == b',').next() == Some(format!("exit {exit}").as_bytes());
        if is_output_repeated && self.commands.iter().any(|shown| shown == call) && exit.is_some_and(is_exit_repeated) {
            return;
        }
        let mut head = Vec::new();
        let line = command.get("cmd").map(any_text).unwrap_or_default();
        // The only command of a program is shown in the place of its call.
        if self.explained(call).is_some_and(|script| script.commands.len() == 1) {
            self.paint(Sgr::TOOL, b"exec_command", &mut head);
        } else {
            self.paint(Sgr::TOOL, b"ran", &mut head);
            self.paint(Sgr::BOLD, &[b" ", one_line(&line, self.style.full).as_slice()].concat(), &mut head);
        }
        let mut about = match (exit, command.get("status").map(any_text)) {
            (Some(exit), _) => format!("  exit {exit}").into_bytes(),
            (None, Some(status)) => [b"  ", status.as_slice()].concat(),
            (None, None) => Vec::new(),
        };
        if let Some(duration) = command.integer("duration_ms").filter(|duration| *duration > 0) {
            about.extend_from_slice(format!(", {}", seconds(duration)).as_bytes());
        }
        self.paint(if failed { Sgr::ERROR } else { Sgr::DIM }, &about, &mut head);
        self.head(record, 2, &head, out);
        if self.style.full {
            let more = nth_line(&line, 1);
            self.text(Sgr::BOLD, 6, &line[more..], Limits::ALL, out);
        }
        if !is_output_repeated {
            self.text(if failed { Sgr::ERROR } else { Sgr::DIM }, 4, &output, Limits::OUTPUT, out);
        }
    }

    /// Appends a record that is neither a step nor an observation.
    fn other(&mut self, record: &Object<'_>, kind: &[u8], out: &mut Vec<u8>) {
        if !self.is_first {
            out.push(b'\n');
        }
        self.head(record, 0, &self.painted(Sgr::SYSTEM, if kind.is_empty() { b"record" } else { kind }), out);
        self.text(Sgr::DIM, 2, &any_text(record.text), Limits::LINE, out);
    }

    fn images(&mut self, extra: &Object<'_>, depth: usize, out: &mut Vec<u8>) {
        for image in extra.elements("images").map(Object::of) {
            let kind = image.get("media_type").map(any_text).unwrap_or_default();
            let size = image.integer("size").and_then(|size| u64::try_from(size).ok()).map(size_of);
            let details = [Some(kind).filter(|kind| !kind.is_empty()), size.map(String::into_bytes), image.text("url")];
            let details: Vec<Vec<u8>> = details.into_iter().flatten().collect();
            self.line(Sgr::DIM, depth, &[b"[image: ", details.join(&b", "[..]).as_slice(), b"]"].concat(), out);
        }
    }

    fn tokens(&mut self, step: &Object<'_>, is_copied: bool, depth: usize, out: &mut Vec<u8>) {
        let metrics = step.object("metrics");
        if metrics.text.is_empty() {
            return;
        }
        let tokens = Tokens::of(&metrics);
        if !is_copied {
            self.totals.add_metrics(step, &tokens);
        }
        if let Some(line) = tokens.line() {
            self.line(Sgr::DIM, depth, line.as_bytes(), out);
        }
    }

    /// Appends a line with the record's time, after a line with the day or the zone if they have changed.
    fn head(&mut self, record: &Object<'_>, depth: usize, rest: &[u8], out: &mut Vec<u8>) {
        let timestamp = record.get("timestamp").map(any_text).unwrap_or_default();
        let LocalTime { day, time, zone } = self.local_time(&timestamp);
        let is_zone_new = zone != self.zone_name;
        if !day.is_empty() && (day != self.day || is_zone_new) {
            let name = if is_zone_new { [b", ", zone.as_slice()].concat() } else { Vec::new() };
            self.line(Sgr::DIM, 0, &[b"[", day.as_slice(), &name, b"]"].concat(), out);
            self.day = day;
            self.zone_name = zone;
        }
        out.extend(std::iter::repeat_n(b' ', depth));
        self.paint(Sgr::DIM, &time, out);
        out.push(b' ');
        out.extend_from_slice(rest);
        out.push(b'\n');
    }

    pub(super) fn local_time(&mut self, timestamp: &[u8]) -> LocalTime {
        self.clock.read(timestamp)
    }

    /// Appends one line.
    fn line(&self, sgr: Sgr, depth: usize, text: &[u8], out: &mut Vec<u8>) {
        out.extend(std::iter::repeat_n(b' ', depth));
        self.paint(sgr, text, out);
        out.push(b'\n');
    }

    /// Appends Markdown: rendered if colors are used, else as it is.
    fn markdown(&self, sgr: Sgr, depth: usize, text: &[u8], limits: Limits, out: &mut Vec<u8>) {
        let columns = self.columns.saturating_sub(depth);
        let rendered = self.style.color.then(|| markdown::render(text, columns, sgr.0)).flatten();
        let Some(rows) = rendered else { return self.text(sgr, depth, text, limits, out) };
        let limit = if self.style.full { usize::MAX } else { limits.first };
        // A single line is no longer than the line that would count it.
        let shown = if rows.len() == limit.saturating_add(1) { rows.len() } else { limit };
        for row in rows.iter().take(shown) {
            out.extend(std::iter::repeat_n(b' ', if row.is_empty() { 0 } else { depth }));
            out.extend_from_slice(row.as_bytes());
            out.push(b'\n');
        }
        let left = rows.len().saturating_sub(shown);
        if left > 0 {
            self.line(Sgr::DIM, depth, format!("… {} more lines", grouped(left as u64)).as_bytes(), out);
        }
    }

    /// Appends the lines of a text, indented and within the limits.
    fn text(&self, sgr: Sgr, depth: usize, text: &[u8], limits: Limits, out: &mut Vec<u8>) {
        self.lines(|_, _| sgr, depth, text, limits, out);
    }

    /// Appends the lines of a text. `color` returns the color of a line, of which it is given the offset.
    fn lines(&self, color: impl Fn(usize, &[u8]) -> Sgr, depth: usize, text: &[u8], limits: Limits, out: &mut Vec<u8>) {
        let text = text.trim_ascii_end();
        if text.is_empty() {
            return;
        }
        let limits = if self.style.full { Limits::ALL } else { limits };
        let count = memchr::memchr_iter(b'\n', text).count() + 1;
        let left = count.saturating_sub(limits.first.saturating_add(limits.last));
        // A single skipped line is no longer than the line that would count it.
        let skipped = if left > 1 { limits.first..limits.first + left } else { 0..0 };
        let mut rest = text;
        let mut safe = Vec::new();
        for number in 0..count {
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let (line, following) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
            if number == skipped.start && left > 1 {
                let bytes = nth_line(rest, left);
                rest = &rest[bytes..];
                let omitted = format!("… {} more lines, {}", grouped(left as u64), size_of(bytes as u64));
                self.line(Sgr::DIM, depth, omitted.as_bytes(), out);
            }
            if skipped.contains(&number) {
                continue;
            }
            let sgr = color(text.len() - rest.len(), line);
            rest = following;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !self.style.color && line.len() <= limits.columns && is_harmless(line) {
                out.extend(std::iter::repeat_n(b' ', if line.is_empty() { 0 } else { depth }));
                out.extend_from_slice(line);
                out.push(b'\n');
                continue;
            }
            safe.clear();
            push_safe(line, &mut safe);
            let line = String::from_utf8_lossy(&safe);
            let shown = cut_to_columns(&line, limits.columns);
            let more = line.len() - shown.len();
            let more = if more == 0 { String::new() } else { format!("… {} more", size_of(more as u64)) };
            out.extend(std::iter::repeat_n(b' ', if line.is_empty() { 0 } else { depth }));
            self.paint_safe(sgr, shown, out);
            self.paint_safe(Sgr::DIM, &more, out);
            out.push(b'\n');
        }
    }

    /// Appends a text on one line, made safe for the terminal.
    pub(super) fn paint(&self, sgr: Sgr, text: &[u8], out: &mut Vec<u8>) {
        let mut safe = Vec::new();
        push_safe(text, &mut safe);
        self.paint_safe(sgr, &String::from_utf8_lossy(&safe).replace('\n', " "), out);
    }

    fn painted(&self, sgr: Sgr, text: &[u8]) -> Vec<u8> {
        let mut painted = Vec::new();
        self.paint(sgr, text, &mut painted);
        painted
    }

    /// Appends a text that is already safe for the terminal.
    fn paint_safe(&self, sgr: Sgr, text: &str, out: &mut Vec<u8>) {
        if !self.style.color || sgr.0.is_empty() || text.is_empty() {
            return out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(format!("\x1b[{}m", sgr.0).as_bytes());
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"\x1b[0m");
    }
}

/// Returns the offset after the first `count` lines.
fn nth_line(text: &[u8], count: usize) -> usize {
    memchr::memchr_iter(b'\n', text).nth(count.saturating_sub(1)).map_or(text.len(), |newline| newline + 1)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part.trim_ascii()).is_some()
}

#[cfg(test)]
mod tests;
