//! The record of a command that a call ran, from an `item_completed` line of a `CommandExecution`.

use crate::json::dump::{Sink, compact, compacted, depth, dump};
use crate::json::number::has_unreadable_integer;
use crate::json::{Key, Kind, Tape, Text, Value, scan, string};
use crate::rollout::envelope::{Envelope, Members, member, string as as_string, word};
use crate::rollout::kind::Kind as LineKind;

use super::arguments::{Invocation, MOST_DEPTH};
use super::attribution::Rule;
use super::converter::image_of;
use super::record::Push;

/// Characters of a command's output that its record keeps.
const MOST_OUTPUT: usize = 16_000;

/// The options that hand a shell a command string: for such an argv the string is the command.
const SCRIPT_OPTIONS: [&[u8]; 4] = [b"-c", b"-lc", b"-ic", b"-lic"];

/// A `CommandExecution` item and the line around it.
pub struct Command<'t> {
    item: &'t Value,
    members: Members<'t>,
    argv: Option<&'t Value>,
    /// The script of a shell's argv, quoted as it stands.
    script: Option<&'t Value>,
    started: Option<&'t Value>,
    completed: Option<&'t Value>,
}

impl<'t> Command<'t> {
    /// Reads it off a scanned line's payload.
    #[must_use]
    pub fn read(text: Text<'_>, tape: &'t Tape, payload: &Members<'t>) -> Option<Self> {
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

    /// The number under `started_at_ms`, milliseconds since 1970.
    #[must_use]
    pub fn started(&self, text: Text<'_>) -> Option<i64> {
        crate::rollout::envelope::integer(text, self.started?)
    }

    /// Appends the text that the id hashes: the item's id, or all of it where it has none.
    pub fn hashed(&self, text: Text<'_>, limit: usize, out: &mut Vec<u8>) {
        match self.members.get(Key::Id).and_then(as_string).filter(|id| id.start < id.end) {
            Some(id) => {
                string::decode_prefix(id.raw(text), limit, out);
            }
            None => {
                dump(self.item.raw(text), true, &mut |dumped| {
                    out.extend_from_slice(&dumped[..dumped.len().min(limit - out.len())]);
                    out.len() < limit
                });
            }
        }
    }

    /// Appends the command as one shell command line, decoded; of a line of more than `limit` bytes at least as many.
    pub fn line(&self, text: Text<'_>, tape: &Tape, limit: usize, out: &mut Vec<u8>) {
        self.line_in_pieces(text, tape, &mut |piece| {
            out.extend_from_slice(piece);
            out.len() <= limit
        });
    }

    /// Hands the command line to `sink`, decoded, until that wants no more.
    fn line_in_pieces(&self, text: Text<'_>, tape: &Tape, sink: &mut Sink<'_>) {
        if let Some(script) = self.script {
            decoded(script.raw(text), sink);
            return;
        }
        let Some(argv) = self.argv else { return };
        if tape.children(argv).any(|part| part.kind != Kind::String) {
            return;
        }
        for (place, part) in tape.children(argv).enumerate() {
            if !((place == 0 || sink(b" ")) && quote_for_shell(part.raw(text), sink)) {
                return;
            }
        }
    }

    /// Appends the result's `extra`, without its closing brace.
    pub fn push_extra(&self, text: Text<'_>, tape: &Tape, rule: Option<Rule>, out: &mut impl Push) {
        out.push(b"\"extra\":{\"tool_name\":\"command_execution\",\"command_execution\":{\"cmd\":\"");
        if let Some(script) = self.script {
            out.push(script.raw(text));
        } else {
            self.line_in_pieces(text, tape, &mut |piece| {
                push_escaped(piece, out);
                true
            });
        }
        out.push(b"\",\"argv\":");
        match self.argv {
            Some(argv) if tape.depth() > MOST_DEPTH || has_unreadable_integer(argv.raw(text)) => {
                push_readable_argv(text, tape, argv, out);
            }
            Some(argv) if tape.has_blank() => compacted(argv.raw(text)).for_each(|piece| out.push(piece)),
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
        // A character takes a byte at least, so a text of no more bytes is never cut.
        let kept = if output.len() > MOST_OUTPUT { string::cut(output, MOST_OUTPUT) } else { output };
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

/// Appends an argv, those of its parts as their text that are nested deep or hold an integer that is too long.
#[cold]
fn push_readable_argv(text: Text<'_>, tape: &Tape, argv: &Value, out: &mut impl Push) {
    out.push(b"[");
    for (place, part) in tape.children(argv).enumerate() {
        if place > 0 {
            out.push(b",");
        }
        let mut written = Vec::new();
        compact(part.token(text), &mut written);
        if depth(&written) < MOST_DEPTH && !has_unreadable_integer(&written) {
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

/// Appends an integer as it stands, `null` for anything else, and for one that is too long to be read.
fn push_integer(text: Text<'_>, value: Option<&Value>, out: &mut impl Push) {
    match value {
        Some(value) if value.kind == Kind::Integer && !has_unreadable_integer(value.raw(text)) => {
            out.push(value.raw(text));
        }
        _ => out.push(b"null"),
    }
}

/// Appends `{"secs", "nanos"}` as milliseconds, `null` for anything else.
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

/// Appends a working directory, which codex gives as a `file://` URI (seen from 0.147 on), as a path.
fn push_path(text: Text<'_>, cwd: Option<&Value>, out: &mut impl Push) {
    let Some(cwd) = cwd else { return };
    let raw = cwd.raw(text);
    if cwd.content.has_escape() || (raw.starts_with(b"file://") && raw.contains(&b'%')) {
        let mut decoded = Vec::new();
        string::decode(raw, &mut decoded);
        match decoded.strip_prefix(b"file://") {
            Some(path) => push_escaped(String::from_utf8_lossy(&percent_decode(path)).as_bytes(), out),
            None => push_escaped(&decoded, out),
        }
    } else {
        out.push(raw.strip_prefix(b"file://").unwrap_or(raw));
    }
}

/// Replaces `%XX` by the byte that it stands for.
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

/// Hands the text that a string's content stands for to `sink`, piece by piece; `false` where it wanted no more.
fn decoded(content: &[u8], sink: &mut Sink<'_>) -> bool {
    let mut buffer = Vec::new();
    string::stretches(content).all(|stretch| {
        buffer.clear();
        string::decode(stretch, &mut buffer);
        sink(&buffer)
    })
}

/// Hands a word, the content of a JSON string, to `sink` as a POSIX shell reads it back, in the form that Python's
/// `shlex.quote` gives; `false` where it wanted no more.
fn quote_for_shell(word: &[u8], sink: &mut Sink<'_>) -> bool {
    let is_safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(byte);
    if !word.is_empty() && decoded(word, &mut |piece| piece.iter().all(is_safe)) {
        return decoded(word, sink);
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
    decoded(word, &mut quote) && sink(b"'")
}

/// The text of a call's program, found again in its line: for naming a command after a restored state.
#[must_use]
pub fn program_text(line: &[u8]) -> Option<Vec<u8>> {
    let mut repaired = String::from_utf8_lossy(line).into_owned().into_bytes();
    let (text, mut tape) = (Text::pad(&mut repaired), Tape::default());
    scan(text, &mut tape).ok()?;
    let envelope = Envelope::of(text, &tape, None);
    let payload = envelope.payload?;
    let mut invocation = Invocation::default();
    match LineKind::of(text, &tape, &envelope) {
        LineKind::FunctionCall => invocation.read(text, member(&tape, payload, Key::Arguments)),
        LineKind::CustomToolCall => invocation.read(text, member(&tape, payload, Key::Input)),
        LineKind::OtherCall(tool) => {
            invocation.read_other_call(text, &tape, payload, image_of(tool, &tape, payload));
        }
        _ => return None,
    }
    Some(invocation.text().to_vec())
}
