//! Records as people read them: who said what and when, which commands ran, what came of them.
//!
//! Shown text is what [`terminal`] leaves of it, whatever field it comes from.

use std::collections::VecDeque;

mod terminal;

use self::terminal::{cut_to_columns, push_safe};
use mngr_codex_core::json::dump::{Members, compact};
use mngr_codex_core::json::{Text, string};

/// How records are shown.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// With colours and the like (SGR sequences of ECMA-48).
    pub colour: bool,
    /// Nothing is shortened or folded.
    pub full: bool,
}

/// What a stretch of text looks like, in SGR's numbers.
#[derive(Clone, Copy)]
struct Look(&'static str);

impl Look {
    const DIM: Self = Self("2");
    const BOLD: Self = Self("1");
    const USER: Self = Self("1;36");
    const AGENT: Self = Self("1;32");
    const SYSTEM: Self = Self("1;33");
    const TOOL: Self = Self("35");
    const ERROR: Self = Self("31");
}

/// How much of a text is shown.
#[derive(Clone, Copy)]
struct Most {
    /// Lines from its start.
    first: usize,
    /// Lines from its end.
    last: usize,
    /// Columns of each.
    columns: usize,
}

impl Most {
    const OUTPUT: Self = Self { first: 12, last: 6, columns: 200 };
    const THINKING: Self = Self { first: 6, last: 0, columns: 200 };
    const SYSTEM: Self = Self { first: 4, last: 1, columns: 200 };
    const PROGRAM: Self = Self { first: 8, last: 2, columns: 200 };
    const LINE: Self = Self { first: 1, last: 0, columns: 200 };
    const ALL: Self = Self { first: usize::MAX, last: 0, columns: usize::MAX };
}

/// Shows records one after the other. Remembers what is shown once, in memory that has a bound.
pub struct Human {
    style: Style,
    /// The day, and the model with its effort, that were shown last.
    day: Vec<u8>,
    model: Vec<u8>,
    /// Records of copied context that wait to be counted.
    folded: u64,
    is_first: bool,
    /// The latest output of a call: commands tell it once more.
    told: Told,
    /// The calls of commands that were shown last.
    commands: VecDeque<Vec<u8>>,
}

/// What was shown of a call's result.
#[derive(Default)]
struct Told {
    /// The call's id.
    call: Vec<u8>,
    output: Vec<u8>,
    /// How the command ended, as it was shown.
    about: Vec<u8>,
}

/// Calls that run at once, and some more.
const MOST_COMMANDS: usize = 64;

/// How a message begins that mngr has sent and that began with `!`: the character in front keeps codex from running it.
const KEPT_TEXT: &str = "\u{2060}!";

/// Of a longer output it is not looked whether a command told the same.
const MOST_REMEMBERED: usize = 64 << 10;

/// An object, taken apart once.
struct Object<'a> {
    text: &'a [u8],
    /// Its members; none where it has too many to keep.
    members: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Object<'a> {
    /// Members that are kept: more than any record of a schema has.
    const MOST_KEPT: usize = 64;

    /// What `text` is, which has no members where it is no object.
    fn of(text: &'a [u8]) -> Self {
        let mut members = Vec::new();
        if text.first() == Some(&b'{') {
            members.extend(Members::of(text).take(Self::MOST_KEPT + 1));
            if members.len() > Self::MOST_KEPT {
                members = Vec::new();
            }
        }
        Self { text, members }
    }

    /// The value of a member; of several of one name the last, as Python has it.
    fn get(&self, name: &str) -> Option<&'a [u8]> {
        let is_it = |key: &[u8]| key.get(1..key.len().max(2) - 1) == Some(name.as_bytes());
        let is_named = |key: &[u8]| is_it(key) || (key.contains(&b'\\') && text_of(key) == name.as_bytes());
        if self.members.is_empty() && self.text.first() == Some(&b'{') {
            return Members::of(self.text).filter(|(key, _)| is_named(key)).last().map(|(_, value)| value);
        }
        self.members.iter().rev().find(|(key, _)| is_named(key)).map(|(_, value)| *value)
    }

    fn object(&self, name: &str) -> Self {
        Self::of(self.get(name).unwrap_or_default())
    }

    /// The text of a member that is a string.
    fn text(&self, name: &str) -> Option<Vec<u8>> {
        self.get(name).filter(|value| value.first() == Some(&b'"')).map(text_of)
    }

    /// The elements of a member that is an array.
    fn elements(&self, name: &str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let array = self.get(name).filter(|value| value.first() == Some(&b'[')).unwrap_or_default();
        Members::of(array).map(|(_, element)| element)
    }

    fn integer(&self, name: &str) -> Option<i64> {
        std::str::from_utf8(self.get(name)?).ok()?.parse().ok()
    }

    fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some(b"true")
    }
}

/// What a string token stands for, as WTF-8.
fn text_of(token: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    if let [b'"', content @ .., b'"'] = token {
        string::decode(content, &mut text);
    }
    text
}

/// The text of a value that ought to be a string, and is shown as JSON where it is not.
fn any_text(value: &[u8]) -> Vec<u8> {
    match value.first() {
        Some(b'"') => text_of(value),
        None => Vec::new(),
        _ if value == b"null" => Vec::new(),
        _ => {
            let mut text = Vec::new();
            compact(value, &mut text);
            text
        }
    }
}

/// The text of a message or an output: a string, or parts of text and images.
fn content_text(value: &[u8]) -> Vec<u8> {
    if value.first() != Some(&b'[') {
        return any_text(value);
    }
    let parts = Members::of(value).filter_map(|(_, part)| {
        let part = Object::of(part);
        match part.text("type").as_deref() {
            Some(b"text") => part.text("text"),
            Some(b"image") => {
                let kind = part.object("source").text("media_type").unwrap_or_else(|| b"unknown".to_vec());
                Some([b"[image: ", kind.as_slice(), b"]"].concat())
            }
            _ => None,
        }
    });
    parts.collect::<Vec<_>>().join(&b'\n')
}

impl Human {
    /// Nothing shown yet.
    #[must_use]
    pub fn new(style: Style) -> Self {
        let (day, model, told, commands) = Default::default();
        Self { style, day, model, folded: 0, is_first: true, told, commands }
    }

    /// Appends how a record is shown, which must be a JSON object.
    pub fn record(&mut self, text: Text<'_>, out: &mut Vec<u8>) {
        let record = Object::of(text.bytes().trim_ascii());
        let kind = record.text("type").unwrap_or_default();
        if kind == b"header" {
            return;
        }
        let is_copied = record.is_true("is_copied_context")
            || record.elements("results").any(|result| Object::of(result).object("extra").is_true("is_copied_context"));
        if is_copied && !self.style.full {
            self.folded += 1;
            return;
        }
        self.unfold(out);
        match kind.as_slice() {
            b"step" => self.step(&record, is_copied, out),
            b"observation" => self.observation(&record, out),
            _ => self.other(&record, &kind, out),
        }
        self.is_first = false;
    }

    /// Appends what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.unfold(out);
    }

    fn unfold(&mut self, out: &mut Vec<u8>) {
        let count = std::mem::take(&mut self.folded);
        if count == 0 {
            return;
        }
        let what = if count == 1 { "1 record" } else { &format!("{} records", grouped(count)) };
        self.line(Look::DIM, 0, format!("… {what} copied from an earlier session; --full shows them").as_bytes(), out);
        self.is_first = false;
    }

    fn step(&mut self, step: &Object<'_>, is_copied: bool, out: &mut Vec<u8>) {
        let source = step.text("source").unwrap_or_default();
        let extra = step.object("extra");
        let author = extra.text("author");
        let mut message = step.get("message").map(content_text).unwrap_or_default();
        if source == b"user" && message.starts_with(KEPT_TEXT.as_bytes()) {
            message.drain(..KEPT_TEXT.len() - 1);
        }
        // Codex tells some things in the user's name: that a child has ended, that a turn was aborted (0.138 to 0.169).
        let is_told_by = |mark: &[u8]| source == b"user" && message.starts_with(mark);
        let (is_notification, is_aborted) = (is_told_by(b"<subagent_notification>"), is_told_by(b"<turn_aborted>"));
        let depth = if author.is_some() || is_notification { 4 } else { 0 };
        let (who, look): (&[u8], Look) = match source.as_slice() {
            _ if is_notification => (b"subagent", Look::SYSTEM),
            _ if is_aborted => (b"system", Look::SYSTEM),
            b"user" => (b"user", Look::USER),
            b"agent" => (b"agent", Look::AGENT),
            b"system" => (b"system", Look::SYSTEM),
            other => (other, Look::SYSTEM),
        };
        if !self.is_first {
            out.push(b'\n');
            if source == b"user" && !is_notification && !is_aborted {
                self.line(Look::DIM, 0, "─".repeat(60).as_bytes(), out);
            }
        }
        let mut head = Vec::new();
        self.paint(look, who, &mut head);
        if let Some(author) = author {
            let recipient = extra.text("recipient").unwrap_or_default();
            self.paint(Look::DIM, &[b" ", author.as_slice(), " → ".as_bytes(), &recipient].concat(), &mut head);
        }
        if is_copied {
            self.paint(Look::DIM, b" (copied from an earlier session)", &mut head);
        }
        self.name_model(step, &mut head);
        self.head(step, depth, &head, out);
        self.said(step, &message, depth, out);
        for call in step.elements("tool_calls") {
            self.call(&Object::of(call), depth + 2, out);
        }
        self.images(&extra, depth + 2, out);
        for result in step.object("observation").elements("results") {
            let text = Object::of(result).get("content").map(content_text).unwrap_or_default();
            self.text(Look::DIM, depth + 4, &text, Most::OUTPUT, out);
        }
        self.tokens(&step.object("metrics"), depth + 2, out);
    }

    /// The text of a step, and what was thought before it.
    fn said(&mut self, step: &Object<'_>, message: &[u8], depth: usize, out: &mut Vec<u8>) {
        if let Some(thought) = step.get("reasoning_content").map(any_text).filter(|thought| !thought.is_empty()) {
            self.text(Look::DIM, depth + 2, &[b"(thinking) ", thought.as_slice()].concat(), Most::THINKING, out);
        }
        let is_system = step.text("source").is_some_and(|source| source == b"system");
        let notice = step.object("extra").object("codex").text("type");
        match notice.as_deref() {
            Some(b"task_complete" | b"turn_aborted") => self.text(Look::ERROR, depth + 2, message, Most::SYSTEM, out),
            Some(_) => self.text(Look::BOLD, depth + 2, message, Most::SYSTEM, out),
            // What the user did not write: instructions, the environment.
            None if is_system && depth == 0 => self.text(Look::DIM, depth + 2, message, Most::SYSTEM, out),
            None => self.text(Look(""), depth + 2, message, Most::ALL, out),
        }
    }

    /// The model and its effort, where they are others than before.
    fn name_model(&mut self, step: &Object<'_>, head: &mut Vec<u8>) {
        let Some(mut model) = step.get("model_name").map(any_text).filter(|model| !model.is_empty()) else { return };
        if let Some(effort) = step.get("reasoning_effort").map(any_text).filter(|effort| !effort.is_empty()) {
            model.push(b' ');
            model.extend_from_slice(&effort);
        }
        if model != self.model {
            self.paint(Look::DIM, &[b"  ", model.as_slice()].concat(), head);
            self.model = model;
        }
    }

    fn call(&mut self, call: &Object<'_>, depth: usize, out: &mut Vec<u8>) {
        let name = call.get("function_name").map(any_text).unwrap_or_default();
        let arguments = call.object("arguments");
        let is_shell = matches!(name.as_slice(), b"exec_command" | b"shell" | b"shell_command" | b"local_shell");
        let line = if is_shell { command_line(&arguments) } else { None };
        if line.is_some() {
            if self.commands.len() == MOST_COMMANDS {
                self.commands.pop_front();
            }
            let id = call.get("tool_call_id").map(any_text).unwrap_or_default();
            self.commands.push_back(if id.len() <= MOST_REMEMBERED { id } else { Vec::new() });
        }
        let patch = if name == b"apply_patch" { patch(&arguments) } else { None };
        let (mark, text, most): (&[u8], Vec<u8>, Most) = match (line, patch) {
            (Some(line), _) => (b"$ ", line, Most::PROGRAM),
            (None, Some(patch)) => {
                let mut files = patched_files(&patch);
                if self.style.full {
                    files.push(b'\n');
                    files.extend_from_slice(&patch);
                }
                ("→ ".as_bytes(), [b"apply_patch ", files.as_slice()].concat(), Most::PROGRAM)
            }
            (None, None) => {
                let program = arguments.text("_raw");
                let most = if program.is_some() { Most::PROGRAM } else { Most::LINE };
                let given = program.unwrap_or_else(|| any_text(arguments.text));
                ("→ ".as_bytes(), [name.as_slice(), b" ", &given].concat(), most)
            }
        };
        self.text(Look::BOLD, depth, &[mark, &text].concat(), most, out);
        self.images(&call.object("extra"), depth + 2, out);
    }

    fn observation(&mut self, record: &Object<'_>, out: &mut Vec<u8>) {
        let mut was_any = false;
        for result in record.elements("results") {
            was_any = true;
            self.result(record, &Object::of(result), out);
        }
        if !was_any {
            self.head(record, 2, b"tool gave nothing", out);
        }
    }

    fn result(&mut self, record: &Object<'_>, result: &Object<'_>, out: &mut Vec<u8>) {
        let extra = result.object("extra");
        let call = result.get("source_call_id").map(any_text).unwrap_or_default();
        let command = extra.object("command_execution");
        if !command.text.is_empty() {
            return self.command(record, &command, &call, out);
        }
        let name = extra.get("tool_name").map_or_else(|| b"tool".to_vec(), any_text);
        let content = result.get("content").map(content_text).unwrap_or_default();
        let (about, output) = if self.style.full { (Vec::new(), content.as_slice()) } else { codex_preamble(&content) };
        let failed = extra.is_true("is_error") || about.starts_with(b"exit") && !about.starts_with(b"exit 0");
        let mut head = Vec::new();
        self.paint(Look::TOOL, &name, &mut head);
        if extra.is_true("is_error") {
            self.paint(Look::ERROR, b" failed", &mut head);
        }
        if !about.is_empty() {
            let look = if failed { Look::ERROR } else { Look::DIM };
            self.paint(look, &[b"  ", about.as_slice()].concat(), &mut head);
        }
        self.head(record, 2, &head, out);
        self.text(if failed { Look::ERROR } else { Look::DIM }, 4, output, Most::OUTPUT, out);
        self.images(&extra, 4, out);
        let references = result.elements("subagent_trajectory_ref").count();
        if references > 0 {
            self.line(Look::DIM, 4, b"(has a transcript of its own: --format atif)", out);
        }
        let is_remembered = content.len() <= MOST_REMEMBERED;
        self.told = if is_remembered { Told { call, about, output: content } } else { Told::default() };
    }

    /// A command that codex ran for a call.
    fn command(&mut self, record: &Object<'_>, command: &Object<'_>, call: &[u8], out: &mut Vec<u8>) {
        let exit = command.integer("exit_code");
        let failed = exit.is_some_and(|exit| exit != 0);
        let output = command.get("output").map(any_text).unwrap_or_default();
        let is_told = !self.style.full && self.told.call == call && contains(&self.told.output, &output);
        let is_end_told =
            |exit| self.told.about.split(|byte| *byte == b',').next() == Some(format!("exit {exit}").as_bytes());
        if is_told && self.commands.iter().any(|shown| shown == call) && exit.is_some_and(is_end_told) {
            return;
        }
        let mut head = Vec::new();
        self.paint(Look::TOOL, b"ran", &mut head);
        let line = command.get("cmd").map(any_text).unwrap_or_default();
        self.paint(Look::BOLD, &[b" ", one_line(&line, self.style.full).as_slice()].concat(), &mut head);
        let mut about = match (exit, command.get("status").map(any_text)) {
            (Some(exit), _) => format!("  exit {exit}").into_bytes(),
            (None, Some(status)) => [b"  ", status.as_slice()].concat(),
            (None, None) => Vec::new(),
        };
        if let Some(duration) = command.integer("duration_ms").filter(|duration| *duration > 0) {
            about.extend_from_slice(format!(", {}", seconds(duration)).as_bytes());
        }
        self.paint(if failed { Look::ERROR } else { Look::DIM }, &about, &mut head);
        self.head(record, 2, &head, out);
        if self.style.full {
            let more = nth_line(&line, 1);
            self.text(Look::BOLD, 6, &line[more..], Most::ALL, out);
        }
        if !is_told {
            self.text(if failed { Look::ERROR } else { Look::DIM }, 4, &output, Most::OUTPUT, out);
        }
    }

    /// A record that is neither step nor observation.
    fn other(&mut self, record: &Object<'_>, kind: &[u8], out: &mut Vec<u8>) {
        if !self.is_first {
            out.push(b'\n');
        }
        self.head(record, 0, &self.painted(Look::SYSTEM, if kind.is_empty() { b"record" } else { kind }), out);
        self.text(Look::DIM, 2, &any_text(record.text), Most::LINE, out);
    }

    fn images(&mut self, extra: &Object<'_>, depth: usize, out: &mut Vec<u8>) {
        for image in extra.elements("images").map(Object::of) {
            let kind = image.get("media_type").map(any_text).unwrap_or_default();
            let size = image.integer("size").and_then(|size| u64::try_from(size).ok()).map(size_of);
            let size = size.map(|size| format!(", {size}")).unwrap_or_default();
            self.line(Look::DIM, depth, &[b"[image: ", kind.as_slice(), size.as_bytes(), b"]"].concat(), out);
        }
    }

    fn tokens(&mut self, metrics: &Object<'_>, depth: usize, out: &mut Vec<u8>) {
        let count = |of: &Object<'_>, name| of.integer(name).and_then(|count| u64::try_from(count).ok());
        let mut pieces = Vec::new();
        if let Some(prompt) = count(metrics, "prompt_tokens") {
            let cached = count(metrics, "cached_tokens").filter(|cached| *cached > 0);
            let cached = cached.map(|cached| format!(" ({} cached)", grouped(cached))).unwrap_or_default();
            pieces.push(format!("{} tokens in{cached}", grouped(prompt)));
        }
        if let Some(completion) = count(metrics, "completion_tokens") {
            let thought = count(&metrics.object("extra"), "reasoning_output_tokens").filter(|thought| *thought > 0);
            let thought = thought.map(|thought| format!(" ({} of them thought)", grouped(thought))).unwrap_or_default();
            pieces.push(format!("{} out{thought}", grouped(completion)));
        }
        if !pieces.is_empty() {
            self.line(Look::DIM, depth, pieces.join(", ").as_bytes(), out);
        }
    }

    /// Appends a line with the record's time; and before it the day, where that is another than before.
    fn head(&mut self, record: &Object<'_>, depth: usize, rest: &[u8], out: &mut Vec<u8>) {
        let timestamp = record.get("timestamp").map(any_text).unwrap_or_default();
        let (day, time) = match timestamp.split_at_checked("2026-01-31T12:34:56".len()) {
            Some((whole, _)) if whole[10] == b'T' => (&whole[..10], &whole[11..]),
            _ => (&[][..], timestamp.get(..19).unwrap_or(&timestamp)),
        };
        if !day.is_empty() && day != self.day {
            self.day = day.to_vec();
            self.line(Look::DIM, 0, &[b"[", day, b"]"].concat(), out);
        }
        out.extend(std::iter::repeat_n(b' ', depth));
        self.paint(Look::DIM, time, out);
        out.push(b' ');
        out.extend_from_slice(rest);
        out.push(b'\n');
    }

    /// Appends one line.
    fn line(&self, look: Look, depth: usize, text: &[u8], out: &mut Vec<u8>) {
        out.extend(std::iter::repeat_n(b' ', depth));
        self.paint(look, text, out);
        out.push(b'\n');
    }

    /// Appends the lines of a text, as many as are wanted, each indented.
    fn text(&self, look: Look, depth: usize, text: &[u8], most: Most, out: &mut Vec<u8>) {
        let text = text.trim_ascii_end();
        if text.is_empty() {
            return;
        }
        let most = if self.style.full { Most::ALL } else { most };
        let count = memchr::memchr_iter(b'\n', text).count() + 1;
        let left = count.saturating_sub(most.first.saturating_add(most.last));
        // One line is not worth another one that says that it is left out.
        let skipped = if left > 1 { most.first..most.first + left } else { 0..0 };
        let mut rest = text;
        let mut safe = Vec::new();
        for number in 0..count {
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let (line, behind) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
            if number == skipped.start && left > 1 {
                let bytes = nth_line(rest, left);
                rest = &rest[bytes..];
                let what = format!("… {} more lines, {}", grouped(left as u64), size_of(bytes as u64));
                self.line(Look::DIM, depth, what.as_bytes(), out);
            }
            if skipped.contains(&number) {
                continue;
            }
            rest = behind;
            safe.clear();
            push_safe(line.strip_suffix(b"\r").unwrap_or(line), &mut safe);
            let line = String::from_utf8_lossy(&safe);
            let shown = cut_to_columns(&line, most.columns);
            let more = line.len() - shown.len();
            let more = if more == 0 { String::new() } else { format!("… {} more", size_of(more as u64)) };
            out.extend(std::iter::repeat_n(b' ', if line.is_empty() { 0 } else { depth }));
            self.paint_safe(look, shown, out);
            self.paint_safe(Look::DIM, &more, out);
            out.push(b'\n');
        }
    }

    /// Appends a text on one line, harmless.
    fn paint(&self, look: Look, text: &[u8], out: &mut Vec<u8>) {
        let mut safe = Vec::new();
        push_safe(text, &mut safe);
        self.paint_safe(look, &String::from_utf8_lossy(&safe).replace('\n', " "), out);
    }

    fn painted(&self, look: Look, text: &[u8]) -> Vec<u8> {
        let mut painted = Vec::new();
        self.paint(look, text, &mut painted);
        painted
    }

    /// Appends a text that is harmless already.
    fn paint_safe(&self, look: Look, text: &str, out: &mut Vec<u8>) {
        if !self.style.colour || look.0.is_empty() || text.is_empty() {
            return out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(format!("\x1b[{}m", look.0).as_bytes());
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"\x1b[0m");
    }
}

/// A command's line: `cmd`, or `command` as a string or as words, those behind `bash -lc` alone.
fn command_line(arguments: &Object<'_>) -> Option<Vec<u8>> {
    if let Some(line) = arguments.text("cmd").or_else(|| arguments.text("command")) {
        return Some(line);
    }
    // `local_shell` has them inside its action.
    let action = arguments.object("action");
    let holder = if arguments.get("command").is_some() { arguments } else { &action };
    let words: Vec<Vec<u8>> = holder.elements("command").map(any_text).collect();
    match words.as_slice() {
        [] => None,
        [shell, option, line] if shell.ends_with(b"sh") && option.starts_with(b"-") && option.ends_with(b"c") => {
            Some(line.clone())
        }
        _ => Some(words.join(&b' ')),
    }
}

/// A patch's text.
fn patch(arguments: &Object<'_>) -> Option<Vec<u8>> {
    ["_raw", "input", "patch"].into_iter().find_map(|name| arguments.text(name))
}

/// The files that a patch of codex's own form touches.
fn patched_files(patch: &[u8]) -> Vec<u8> {
    let mut files = Vec::new();
    for line in patch.split(|byte| *byte == b'\n') {
        for (mark, sign) in [("Add", "+"), ("Update", "~"), ("Delete", "-")] {
            if let Some(file) = line.strip_prefix(format!("*** {mark} File: ").as_bytes()) {
                files.push([sign.as_bytes(), file.trim_ascii_end()].concat());
            }
        }
    }
    files.join(&b' ')
}

/// What codex says of a command before its output (0.138 to 0.169), and the output.
fn codex_preamble(content: &[u8]) -> (Vec<u8>, &[u8]) {
    const MOST_LINES: usize = 8;
    let mut at = 0;
    let mut about: Vec<Vec<u8>> = Vec::new();
    for line in content.split_inclusive(|byte| *byte == b'\n').take(MOST_LINES) {
        at += line.len();
        let line = line.trim_ascii_end();
        if line == b"Output:" {
            return (about.join(&b", "[..]), &content[at..]);
        }
        for prefix in [&b"Process exited with code "[..], b"Exit code: "] {
            if let Some(code) = line.strip_prefix(prefix) {
                about.insert(0, [b"exit ", code].concat());
            }
        }
        if line.starts_with(b"Script ") || line.starts_with(b"Process running") {
            about.push(line.to_vec());
        }
    }
    (Vec::new(), content)
}

/// Where the line begins that comes behind so many.
fn nth_line(text: &[u8], count: usize) -> usize {
    memchr::memchr_iter(b'\n', text).nth(count.saturating_sub(1)).map_or(text.len(), |newline| newline + 1)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part.trim_ascii()).is_some()
}

/// A command's first line, as long as one is; whole where nothing is to be shortened.
fn one_line(text: &[u8], full: bool) -> Vec<u8> {
    const COLUMNS: usize = 120;
    let mut safe = Vec::new();
    push_safe(text, &mut safe);
    let safe = String::from_utf8_lossy(&safe);
    let first = safe.lines().next().unwrap_or_default();
    let shown = if full { first } else { cut_to_columns(first, COLUMNS) };
    let is_all = full || shown.len() == safe.trim_end().len();
    format!("{shown}{}", if is_all { "" } else { " …" }).into_bytes()
}

/// A number with a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A size as people read it.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn size_of(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// A duration as people read it.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn seconds(milliseconds: i64) -> String {
    if milliseconds < 1_000 { format!("{milliseconds} ms") } else { format!("{:.1} s", milliseconds as f64 / 1e3) }
}

#[cfg(test)]
mod tests;
