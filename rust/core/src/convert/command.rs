//! The record of a command that a call ran, from an `item_completed` line of a `CommandExecution`.

use crate::json::dump::{Sink, compact_chunks, depth, write_compact_json, write_python_json};
use crate::json::number::has_unreadable_integer;
use crate::json::{Key, Kind, Malformed, PADDING, TEXT_FOLLOWS, Tape, Text, Value, scan, string};
use crate::rollout::envelope::{Envelope, Members, member, string as as_string, word};
use crate::rollout::kind::LineKind;

use super::arguments::{Invocation, MAX_DEPTH};
use super::command_attribution::Rule;
use super::content::generated_image;
use super::record::Push;

/// The number of characters of a command's output that its record keeps.
const MAX_OUTPUT_CHARACTERS: usize = 16_000;

/// The options that pass a script to a shell. If an argv contains one, the script is the command.
const SCRIPT_OPTIONS: [&[u8]; 4] = [b"-c", b"-lc", b"-ic", b"-lic"];

/// A `CommandExecution` item, and the members of its line.
pub(crate) struct CommandExecution<'t> {
    item: &'t Value,
    members: Members<'t>,
    argv: Option<&'t Value>,
    /// The script in a shell's argv.
    script: Option<&'t Value>,
    started: Option<&'t Value>,
    completed: Option<&'t Value>,
}

impl<'t> CommandExecution<'t> {
    /// Reads a command from the payload of a scanned line.
    #[must_use]
    pub(crate) fn read(text: Text<'_>, tape: &'t Tape, payload: &Members<'t>) -> Option<Self> {
        let item = payload.get(Key::Item)?;
        let members = Members::of(tape, item);
        let argv = members.get(Key::Command).filter(|argv| argv.kind == Kind::Array);
        let script = argv.and_then(|argv| {
            let mut parts = tape.children(argv);
            let (program, option, script) = (parts.next()?, parts.next()?, parts.next()?);
            let is_shell = parts.next().is_none()
                && [program, option, script].iter().all(|part| part.kind == Kind::String)
                && word(text, option).is_some_and(|option| SCRIPT_OPTIONS.contains(&&*option));
            is_shell.then_some(script)
        });
        let started = payload.get(Key::StartedAtMs);
        let completed = payload.get(Key::CompletedAtMs);
        Some(Self { item, members, argv, script, started, completed })
    }

    /// Returns whether the user ran the command with `!`. The next message in the user's role reports it too (seen on
    /// 0.163).
    #[must_use]
    pub(crate) fn is_users(&self, text: Text<'_>, tape: &Tape) -> bool {
        let is_source = |value: &&Value| value.key == Key::Other && value.key_name(text) == b"source";
        tape.children(self.item).filter(is_source).last().is_some_and(|source| source.raw(text) == b"user_shell")
    }

    /// Returns `started_at_ms`, in milliseconds since 1970.
    #[must_use]
    pub(crate) fn started(&self, text: Text<'_>) -> Option<i64> {
        crate::rollout::envelope::integer(text, self.started?)
    }

    /// Appends the text that the event id hashes: the item's id, or the entire item if it has no id.
    pub(crate) fn push_hashed_text(&self, text: Text<'_>, limit: usize, out: &mut Vec<u8>) {
        match self.members.get(Key::Id).and_then(as_string).filter(|id| id.start < id.end) {
            Some(id) => {
                string::decode_prefix(id.raw(text), limit, out);
            }
            None => {
                write_python_json(self.item.raw(text), true, &mut |dumped| {
                    out.extend_from_slice(&dumped[..dumped.len().min(limit - out.len())]);
                    out.len() < limit
                });
            }
        }
    }

    /// Appends the command as one decoded shell command line. Stops after more than `limit` bytes.
    pub(crate) fn push_line(&self, text: Text<'_>, tape: &Tape, limit: usize, out: &mut Vec<u8>) {
        self.stream_line(text, tape, &mut |piece| {
            out.extend_from_slice(piece);
            out.len() <= limit
        });
    }

    /// Passes the decoded command line to `sink`, until `sink` returns `false`.
    fn stream_line(&self, text: Text<'_>, tape: &Tape, sink: &mut Sink<'_>) {
        if let Some(script) = self.script {
            stream_decoded(script.raw(text), sink);
            return;
        }
        let Some(argv) = self.argv else { return };
        if tape.children(argv).any(|part| part.kind != Kind::String) {
            return;
        }
        for (position, part) in tape.children(argv).enumerate() {
            if !((position == 0 || sink(b" ")) && quote_for_shell(part.raw(text), sink)) {
                return;
            }
        }
    }

    /// Appends the result's `extra`, without its closing brace.
    pub(crate) fn push_extra(&self, text: Text<'_>, tape: &Tape, rule: Option<Rule>, out: &mut impl Push) {
        out.push(b"\"extra\":{\"tool_name\":\"command_execution\",\"command_execution\":{\"cmd\":\"");
        if let Some(script) = self.script {
            out.push(script.raw(text));
        } else {
            self.stream_line(text, tape, &mut |piece| {
                push_escaped(piece, out);
                true
            });
        }
        out.push(b"\",\"argv\":");
        match self.argv {
            Some(argv) if tape.depth() > MAX_DEPTH || has_unreadable_integer(argv.raw(text)) => {
                push_readable_argv(text, tape, argv, out);
            }
            Some(argv) if tape.has_blank() => compact_chunks(argv.raw(text)).for_each(|piece| out.push(piece)),
            Some(argv) => out.push(argv.raw(text)),
            None => out.push(b"[]"),
        }
        out.push(b",\"cwd\":\"");
        push_path(text, self.members.get(Key::Cwd).and_then(as_string), out);
        out.push(b"\",\"status\":\"");
        out.push(self.members.get(Key::Status).and_then(as_string).map_or(b"", |status| status.raw(text)));
        out.push(b"\",\"exit_code\":");
        push_integer(text, self.members.get(Key::ExitCode), out);
        out.push(b",\"duration_ms\":");
        push_duration(text, tape, self.members.get(Key::Duration), out);
        out.push(b",\"started_at_ms\":");
        push_integer(text, self.started, out);
        out.push(b",\"completed_at_ms\":");
        push_integer(text, self.completed, out);
        out.push(b",\"output\":\"");
        let output = self.members.get(Key::AggregatedOutput).and_then(as_string);
        let output = output.map_or(&b""[..], |output| output.raw(text));
        // A character has at least one byte, so a text of that many bytes need not be cut.
        let kept =
            if output.len() > MAX_OUTPUT_CHARACTERS { string::cut(output, MAX_OUTPUT_CHARACTERS) } else { output };
        out.push(kept);
        out.push(b"\"");
        if let Some(rule) = rule {
            out.push(b",\"attribution\":\"");
            out.push(rule.name().as_bytes());
            out.push(b"\"");
        }
        if kept.len() < output.len() {
            out.push(b",\"output_length\":");
            out.push(string::count(output).to_string().as_bytes());
        }
        out.push(b"}");
    }
}

/// Appends an argv. Parts that are nested too deeply, or contain an integer that is too long, are written as text.
#[cold]
fn push_readable_argv(text: Text<'_>, tape: &Tape, argv: &Value, out: &mut impl Push) {
    out.push(b"[");
    for (position, part) in tape.children(argv).enumerate() {
        if position > 0 {
            out.push(b",");
        }
        let mut written = Vec::new();
        write_compact_json(part.token(text), &mut written);
        if depth(&written) < MAX_DEPTH && !has_unreadable_integer(&written) {
            out.push(&written);
        } else {
            out.push(b"\"");
            push_escaped(&written, out);
            out.push(b"\"");
        }
    }
    out.push(b"]");
}

/// Appends decoded text as the content of a JSON string.
fn push_escaped(decoded: &[u8], out: &mut impl Push) {
    let mut escaped = Vec::with_capacity(decoded.len());
    string::escape(decoded, &mut escaped);
    out.push(&escaped);
}

/// Appends an integer unchanged; `null` for any other value, and for an integer that is too long.
pub(super) fn push_integer(text: Text<'_>, value: Option<&Value>, out: &mut impl Push) {
    match value {
        Some(value) if value.kind == Kind::Integer && !has_unreadable_integer(value.raw(text)) => {
            out.push(value.raw(text));
        }
        _ => out.push(b"null"),
    }
}

/// Appends `{"secs", "nanos"}` as milliseconds; `null` for any other value.
fn push_duration(text: Text<'_>, tape: &Tape, duration: Option<&Value>, out: &mut impl Push) {
    let count = |key| {
        let value = member(tape, duration?, key)?;
        crate::rollout::envelope::integer(text, value).map(i128::from)
    };
    match (count(Key::Secs), count(Key::Nanos)) {
        (Some(secs), Some(nanos)) => out.push((secs * 1000 + nanos.div_euclid(1_000_000)).to_string().as_bytes()),
        _ => out.push(b"null"),
    }
}

/// Appends a working directory as a path. Codex writes it as a `file://` URI (seen from 0.147 on).
fn push_path(text: Text<'_>, cwd: Option<&Value>, out: &mut impl Push) {
    let Some(cwd) = cwd else { return };
    let raw = cwd.raw(text);
    if cwd.content.has_escape() || (raw.starts_with(b"file://") && raw.contains(&b'%')) {
        let mut decoded = Vec::new();
        string::decode_string(raw, &mut decoded);
        match decoded.strip_prefix(b"file://") {
            Some(path) => push_escaped(String::from_utf8_lossy(&percent_decode(path)).as_bytes(), out),
            None => push_escaped(&decoded, out),
        }
    } else {
        out.push(raw.strip_prefix(b"file://").unwrap_or(raw));
    }
}

/// Decodes `%XX` escapes.
fn percent_decode(path: &[u8]) -> Vec<u8> {
    let hex = |byte: Option<&u8>| byte.and_then(|byte| (*byte as char).to_digit(16));
    let mut decoded = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        match (path[at], hex(path.get(at + 1)), hex(path.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

/// Passes the decoded text of a JSON string to `sink` in pieces. Returns `false` if `sink` did.
fn stream_decoded(content: &[u8], sink: &mut Sink<'_>) -> bool {
    let mut buffer = Vec::new();
    string::chunks(content).all(|stretch| {
        buffer.clear();
        string::decode_string(stretch, &mut buffer);
        sink(&buffer)
    })
}

/// Passes a word, the content of a JSON string, to `sink`, quoted for a POSIX shell as Python's `shlex.quote` quotes
/// it. Returns `false` if `sink` did.
fn quote_for_shell(word: &[u8], sink: &mut Sink<'_>) -> bool {
    let is_safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(byte);
    if !word.is_empty() && stream_decoded(word, &mut |piece| piece.iter().all(is_safe)) {
        return stream_decoded(word, sink);
    }
    if !sink(b"'") {
        return false;
    }
    let mut quoted = Vec::new();
    let mut quote = |piece: &[u8]| {
        quoted.clear();
        for byte in piece {
            match byte {
                b'\'' => quoted.extend_from_slice(b"'\"'\"'"),
                byte => quoted.push(*byte),
            }
        }
        sink(&quoted)
    };
    stream_decoded(word, &mut quote) && sink(b"'")
}

/// Returns the program text of the call at the start of `line`, for attributing commands after a state was restored.
///
/// In a damaged line, other text can follow the call.
#[must_use]
pub fn program_text(line: &[u8]) -> Option<Vec<u8>> {
    let mut repaired = String::from_utf8_lossy(line).into_owned().into_bytes();
    let mut tape = Tape::default();
    if let Err(Malformed { at, reason: TEXT_FOLLOWS }) = scan(Text::pad(&mut repaired), &mut tape) {
        repaired.truncate(at);
    } else {
        repaired.truncate(repaired.len() - 1 - PADDING);
    }
    let text = Text::pad(&mut repaired);
    scan(text, &mut tape).ok()?;
    let envelope = Envelope::of(text, &tape, None);
    let payload = envelope.payload?;
    let mut invocation = Invocation::default();
    match LineKind::of(text, &tape, &envelope) {
        LineKind::FunctionCall => invocation.read(text, member(&tape, payload, Key::Arguments)),
        LineKind::CustomToolCall => invocation.read(text, member(&tape, payload, Key::Input)),
        LineKind::OtherCall(tool) => {
            invocation.read_other_call(text, &tape, payload, generated_image(tool, &tape, payload));
        }
        _ => return None,
    }
    Some(invocation.text().to_vec())
}
