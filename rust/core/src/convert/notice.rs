//! Notices: system steps that describe an event in one sentence, with the details for programs in `extra.codex`.

use crate::json::dump::{depth, write_compact_json};
use crate::json::number::has_unreadable_integer;
use crate::json::{Key, Kind, Tape, Text, Value, string};
use crate::rollout::envelope::{Envelope, member, string as as_string, word};

use super::content::each_piece_without_base64;
use super::injected::ShellCommand;
use super::known_event::push_sentence;

/// The number of characters of JSON that a notice keeps of a value.
const MAX_VALUE_CHARACTERS: usize = 16_000;

/// The number of characters of Codex's own message that a notice quotes.
const MAX_MESSAGE_CHARACTERS: usize = 300;

/// The deepest nesting of a value that is kept as JSON. Deeper ones are kept as text, because readers of records fail
/// at about 1,000 levels.
const MAX_DEPTH: usize = 200;

/// The message of the step for a command that belongs to no call.
pub(crate) const UNOWNED_COMMAND: &[u8] = b"A command ran that belongs to no call.";

/// A notice, in pieces of JSON.
#[derive(Default)]
pub(crate) struct Notice {
    /// The message, as the content of a JSON string.
    pub(crate) message: Vec<u8>,
    /// The members of `extra.codex`.
    pub(crate) codex: Vec<u8>,
    /// A string of the line that is quoted completely as the last member, `message`.
    pub(crate) full_message: Option<Value>,
}

impl Notice {
    /// Starts a new notice.
    fn start(&mut self, message: &str, kind: &str) {
        self.message.clear();
        self.message.extend_from_slice(message.as_bytes());
        self.full_message = None;
        self.codex.clear();
        self.codex.extend_from_slice(b"\"type\":\"");
        self.codex.extend_from_slice(kind.as_bytes());
        self.codex.push(b'"');
    }

    /// Adds a member, if it has a value, as compact JSON. Long values are cut.
    fn add(&mut self, name: &str, text: Text<'_>, value: Option<&Value>) {
        if let Some(value) = value {
            self.add_json(name.as_bytes(), value.token(text));
        }
    }

    /// Adds a member with an escaped name.
    fn add_json(&mut self, name: &[u8], json: &[u8]) {
        let written = BoundedJson::of(json);
        for piece in [b",\"", name, b"\":", &written.token] {
            self.codex.extend_from_slice(piece);
        }
        if let Some(length) = written.full_length {
            self.codex.extend_from_slice(&[b",\"", name, b"_length\":"].concat());
            self.codex.extend_from_slice(length.to_string().as_bytes());
        }
    }

    /// Describes `compacted`. The summary is kept, the history that it replaces is not.
    pub(crate) fn compacted(&mut self, tape: &Tape, payload: &Value) {
        self.start("The conversation so far was compacted into a summary.", "compacted");
        // The summary is never cut, because it replaces everything before it.
        self.full_message = member(tape, payload, Key::Message).and_then(as_string).copied();
    }

    /// Describes `turn_aborted`.
    pub(crate) fn turn_aborted(&mut self, text: Text<'_>, tape: &Tape, payload: &Value) {
        self.start("The turn was aborted", "turn_aborted");
        let reason = member(tape, payload, Key::Reason);
        self.end_message_with(text, reason);
        self.add("turn_id", text, member(tape, payload, Key::TurnId));
        self.add("reason", text, reason);
    }

    /// Describes `task_complete` with an error. Returns `None` if there is no error.
    pub(crate) fn turn_failed(&mut self, text: Text<'_>, tape: &Tape, payload: &Value) -> Option<()> {
        let error = member(tape, payload, Key::Error).filter(|error| error.kind != Kind::Null)?;
        self.start("The turn ended with an error", "task_complete");
        let error_json = error.token(text);
        let message = crate::json::dump::Members::of(error_json).filter(|(key, _)| is_named(key, b"message")).last();
        self.end_message_with_token(message.map_or(error_json, |(_, message)| message));
        self.add("turn_id", text, member(tape, payload, Key::TurnId));
        self.add("error", text, Some(error));
        Some(())
    }

    /// Describes `thread_rolled_back`.
    pub(crate) fn rolled_back(&mut self, text: Text<'_>, tape: &Tape, payload: &Value) {
        let turns = member(tape, payload, Key::NumTurns);
        let count = turns.and_then(|turns| crate::rollout::envelope::integer(text, turns));
        let message = match count {
            Some(1) => "The last turn was taken back.".to_owned(),
            Some(count) => format!("The last {count} turns were taken back."),
            None => "Turns were taken back.".to_owned(),
        };
        self.start(&message, "thread_rolled_back");
        self.add("num_turns", text, turns);
    }

    /// Describes a file that continues another one from some position (`history_base`), or that begins with a copy of
    /// it. Returns `None` for any other `session_meta`.
    pub(crate) fn new_file(&mut self, text: Text<'_>, tape: &Tape, payload: &Value) -> Option<()> {
        let base = member(tape, payload, Key::HistoryBase).filter(|base| base.kind == Kind::Object);
        let forked_from = member(tape, payload, Key::ForkedFromId).and_then(as_string);
        let thread = member(tape, payload, Key::Id).and_then(as_string);
        // The file of a subagent also begins with a copy, but the user did not fork anything.
        let is_users = member(tape, payload, Key::ThreadSource)
            .is_some_and(|source| word(text, source).as_deref() == Some(b"user"));
        if base.is_none() && !(is_users && forked_from.is_some()) {
            return None;
        }
        let base_thread = base.and_then(|base| member(tape, base, Key::ThreadId)).and_then(as_string);
        if base.is_some() && base_thread.and_then(|id| word(text, id)) == thread.and_then(|id| word(text, id)) {
            self.start("The session goes on from an earlier point of itself.", "backtrack");
        } else {
            self.start("The session was forked from another one.", "fork");
        }
        self.add("thread_id", text, thread);
        self.add("forked_from_id", text, forked_from.or(base_thread));
        let end = base.and_then(|base| member(tape, base, Key::EndOrdinalExclusive));
        self.add("end_ordinal_exclusive", text, end);
        Some(())
    }

    /// Describes a line of any other kind: in a sentence if it is a known event, else by the names of its kind.
    pub(crate) fn other(&mut self, text: Text<'_>, envelope: &Envelope<'_, '_>) {
        self.message.clear();
        self.full_message = None;
        self.codex.clear();
        let event = envelope.payload_kind.as_deref().filter(|_| envelope.kind.as_deref() == Some(b"event_msg"));
        let payload = envelope.payload.map(|payload| payload.token(text));
        let cut = |kind: &[u8]| string::cut(kind, MAX_MESSAGE_CHARACTERS).to_vec();
        let sentence = event.zip(payload).and_then(|(kind, payload)| push_sentence(kind, payload, &mut self.message));
        if sentence.is_none() {
            self.message.extend_from_slice(b"Codex wrote an item of a kind that is not known here");
            for (index, kind) in [&envelope.kind, &envelope.payload_kind].into_iter().flatten().enumerate() {
                self.message.extend_from_slice(if index == 0 { b": " } else { b"/" });
                self.message.extend_from_slice(&cut(kind));
            }
            self.message.push(b'.');
        }
        self.codex.extend_from_slice(b"\"type\":");
        match &envelope.kind {
            Some(kind) => self.codex.extend_from_slice(&quoted(&cut(kind))),
            None => self.codex.extend_from_slice(b"null"),
        }
        if let Some(kind) = &envelope.payload_kind {
            self.codex.extend_from_slice(b",\"payload_type\":");
            self.codex.extend_from_slice(&quoted(&cut(kind)));
        }
        // Without a payload, the entire line is kept.
        let payload = payload.unwrap_or(text.bytes());
        if event.is_some_and(|kind| kind.starts_with(b"realtime_")) {
            let mut without_audio = Vec::new();
            each_piece_without_base64(payload, |piece| without_audio.extend_from_slice(piece));
            self.add_json(b"payload", &without_audio);
        } else {
            self.add_json(b"payload", payload);
        }
    }

    /// Collects the members of a call's item that are not `is_skipped`. Returns whether there are any.
    pub(crate) fn extra_members(
        &mut self,
        text: Text<'_>,
        tape: &Tape,
        payload: &Value,
        is_skipped: impl Fn(&Value, &[u8]) -> bool,
    ) -> bool {
        self.codex.clear();
        for value in tape.children(payload).filter(|value| value.kind != Kind::Null) {
            let name = value.key_name(text);
            if !is_skipped(value, name) {
                self.add_json(name, value.token(text));
            }
        }
        // Every member was added after a comma.
        if !self.codex.is_empty() {
            self.codex.remove(0);
        }
        !self.codex.is_empty()
    }

    /// Ends the message with Codex's own message, if there is one.
    fn end_message_with(&mut self, text: Text<'_>, words: Option<&Value>) {
        self.end_message_with_token(words.map_or(b"", |words| words.token(text)));
    }

    fn end_message_with_token(&mut self, token: &[u8]) {
        let content = match token {
            [b'"', content @ .., b'"'] => content,
            _ => b"",
        };
        // Only one line is quoted: up to the first line break or other control character.
        let mut decoded = Vec::new();
        string::decode_string(string::cut(content, MAX_MESSAGE_CHARACTERS), &mut decoded);
        let end = decoded.iter().position(|byte| *byte < 0x20).unwrap_or(decoded.len());
        if end > 0 {
            self.message.extend_from_slice(b": ");
            string::escape(&decoded[..end], &mut self.message);
        }
        if !matches!(self.message.last(), Some(b'.' | b'!' | b'?')) {
            self.message.push(b'.');
        }
    }
}

/// Returns the members of `extra.codex` for a command that the user ran.
pub(crate) fn user_shell_command(command: &ShellCommand) -> Vec<u8> {
    let mut notice = Notice::default();
    notice.start("", "user_shell_command");
    let mut token = vec![b'"'];
    string::escape(&command.command, &mut token);
    token.push(b'"');
    notice.add_json(b"command", &token);
    notice.add_json(b"exit_code", command.exit_code.map_or("null".to_owned(), |code| code.to_string()).as_bytes());
    notice.codex
}

/// Returns whether a quoted key has this name.
pub(super) fn is_named(key: &[u8], name: &[u8]) -> bool {
    let mut decoded = Vec::new();
    if let [b'"', content @ .., b'"'] = key {
        string::decode_string(content, &mut decoded);
    }
    decoded == name
}

/// Puts content in quotes.
fn quoted(content: &[u8]) -> Vec<u8> {
    [b"\"", content, b"\""].concat()
}

/// A JSON value of bounded size: complete if it is short, else the beginning of its text.
pub(super) struct BoundedJson {
    pub(super) token: Vec<u8>,
    /// The number of characters of the complete value, if it was cut.
    pub(super) full_length: Option<usize>,
}

impl BoundedJson {
    pub(super) fn of(json: &[u8]) -> Self {
        let characters = |text: &[u8]| text.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
        if json.len() <= 4 * MAX_VALUE_CHARACTERS {
            let mut token = Vec::new();
            write_compact_json(json, &mut token);
            if characters(&token) <= MAX_VALUE_CHARACTERS
                && depth(&token) <= MAX_DEPTH
                && !has_unreadable_integer(&token)
            {
                return Self { token, full_length: None };
            }
        }
        // White space in a value that is cut is kept, so that only its beginning must be read.
        let beginning = &json[..json.len().min(4 * MAX_VALUE_CHARACTERS)];
        let mut kept: String = String::from_utf8_lossy(beginning).chars().take(MAX_VALUE_CHARACTERS).collect();
        if let Some(complete) = kept.strip_suffix(char::REPLACEMENT_CHARACTER).filter(|_| json.len() > beginning.len())
        {
            kept.truncate(complete.len());
        }
        let mut token = vec![b'"'];
        string::escape(kept.as_bytes(), &mut token);
        token.push(b'"');
        Self { token, full_length: Some(characters(json)) }
    }
}
