//! System steps that say in one plain line what happened, and in `extra.codex` the same for programs.

use crate::json::dump::{compact, depth};
use crate::json::number::has_unreadable_integer;
use crate::json::{Key, Kind, Tape, Text, Value, string};
use crate::rollout::envelope::{Envelope, member, string as as_string, word};

/// Characters of JSON that a notice keeps of what it cannot name.
const MOST_CHARACTERS: usize = 16_000;

/// Characters of codex's own words that go into a notice's line.
const MOST_WORDS: usize = 300;

/// Values nested deeper than this are kept as text: readers of records give up at about 1,000.
const MOST_DEPTH: usize = 200;

/// A system step to be written: both parts are pieces of JSON.
#[derive(Default)]
pub struct Notice {
    /// The content of the message's string.
    pub message: Vec<u8>,
    /// The members of `extra.codex`.
    pub codex: Vec<u8>,
    /// One more of them, `message`: a string of the line, quoted as it stands there.
    pub whole_message: Option<Value>,
}

impl Notice {
    /// Begins anew.
    fn start(&mut self, message: &str, kind: &str) {
        self.message.clear();
        self.message.extend_from_slice(message.as_bytes());
        self.whole_message = None;
        self.codex.clear();
        self.codex.extend_from_slice(b"\"type\":\"");
        self.codex.extend_from_slice(kind.as_bytes());
        self.codex.push(b'"');
    }

    /// Adds a member of the line's object, where it is there, as compact JSON, cut where it is long.
    fn add(&mut self, name: &str, text: Text<'_>, value: Option<&Value>) {
        if let Some(value) = value {
            self.add_json(name.as_bytes(), value.token(text));
        }
    }

    /// Adds a member; `name` is escaped.
    fn add_json(&mut self, name: &[u8], json: &[u8]) {
        let written = Json::of(json);
        for piece in [b",\"", name, b"\":", &written.token] {
            self.codex.extend_from_slice(piece);
        }
        if let Some(length) = written.whole_length {
            self.codex.extend_from_slice(&[b",\"", name, b"_length\":"].concat());
            self.codex.extend_from_slice(length.to_string().as_bytes());
        }
    }

    /// `compacted`: the summary is kept, the history that it replaces is not.
    pub fn compacted(&mut self, tape: &Tape, payload: &Value) {
        self.start("The conversation so far was compacted into a summary.", "compacted");
        // Whole, whatever its length: from here on it stands for all that came before.
        self.whole_message = member(tape, payload, Key::Message).and_then(as_string).copied();
    }

    /// `turn_aborted`
    pub fn turn_aborted(&mut self, text: Text<'_>, tape: &Tape, payload: &Value) {
        self.start("The turn was aborted", "turn_aborted");
        let reason = member(tape, payload, Key::Reason);
        self.add_words(text, reason);
        self.add("turn_id", text, member(tape, payload, Key::TurnId));
        self.add("reason", text, reason);
    }

    /// `task_complete` with an error; `None` where there is none.
    pub fn turn_failed(&mut self, text: Text<'_>, tape: &Tape, payload: &Value) -> Option<()> {
        let error = member(tape, payload, Key::Error).filter(|error| error.kind != Kind::Null)?;
        self.start("The turn ended with an error", "task_complete");
        let whole = error.token(text);
        let message = crate::json::dump::Members::of(whole).filter(|(key, _)| is_named(key, b"message")).last();
        self.add_words_of(message.map_or(whole, |(_, message)| message));
        self.add("turn_id", text, member(tape, payload, Key::TurnId));
        self.add("error", text, Some(error));
        Some(())
    }

    /// `thread_rolled_back`
    pub fn rolled_back(&mut self, text: Text<'_>, tape: &Tape, payload: &Value) {
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

    /// A file that goes on from a place in another one (`history_base`) or begins with a copy of it; `None` for any
    /// other `session_meta`.
    pub fn new_file(&mut self, text: Text<'_>, tape: &Tape, payload: &Value) -> Option<()> {
        let base = member(tape, payload, Key::HistoryBase).filter(|base| base.kind == Kind::Object);
        let forked_from = member(tape, payload, Key::ForkedFromId).and_then(as_string);
        let thread = member(tape, payload, Key::Id).and_then(as_string);
        // A subagent's file begins with a copy too, but is no fork of the user's.
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
        let place = base.and_then(|base| member(tape, base, Key::EndOrdinalExclusive));
        self.add("end_ordinal_exclusive", text, place);
        Some(())
    }

    /// A line of a kind that is on no list.
    pub fn unknown(&mut self, text: Text<'_>, envelope: &Envelope<'_, '_>) {
        self.message.clear();
        self.message.extend_from_slice(b"Codex wrote an item of a kind that is not known here");
        self.whole_message = None;
        self.codex.clear();
        let cut = |kind: &[u8]| string::cut(kind, MOST_WORDS).to_vec();
        let kinds: Vec<Vec<u8>> =
            [&envelope.kind, &envelope.payload_kind].into_iter().flatten().map(|kind| cut(kind)).collect();
        for (place, kind) in kinds.iter().enumerate() {
            self.message.extend_from_slice(if place == 0 { b": " } else { b"/" });
            self.message.extend_from_slice(kind);
        }
        self.message.push(b'.');
        self.codex.extend_from_slice(b"\"type\":");
        match &envelope.kind {
            Some(kind) => self.codex.extend_from_slice(&quoted(&cut(kind))),
            None => self.codex.extend_from_slice(b"null"),
        }
        if let Some(kind) = &envelope.payload_kind {
            self.codex.extend_from_slice(b",\"payload_type\":");
            self.codex.extend_from_slice(&quoted(&cut(kind)));
        }
        // Where there is no payload, the line itself is what would be lost.
        self.add_json(b"payload", envelope.payload.map_or(text.bytes(), |payload| payload.token(text)));
    }

    /// What stands in a call's item beside its arguments; whether there is anything.
    pub fn beside_arguments(
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
        // Each came behind a comma.
        if !self.codex.is_empty() {
            self.codex.remove(0);
        }
        !self.codex.is_empty()
    }

    /// A command that no call can own.
    pub fn unowned_command(&mut self) {
        self.message.clear();
        self.message.extend_from_slice(b"A command ran that belongs to no call.");
    }

    /// Ends the message's line with codex's own words, where there are any.
    fn add_words(&mut self, text: Text<'_>, words: Option<&Value>) {
        self.add_words_of(words.map_or(b"", |words| words.token(text)));
    }

    fn add_words_of(&mut self, token: &[u8]) {
        let content = match token {
            [b'"', content @ .., b'"'] => content,
            _ => b"",
        };
        // One line: up to the first line break or other control character.
        let mut decoded = Vec::new();
        string::decode(string::cut(content, MOST_WORDS), &mut decoded);
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

/// Whether a key, quoted as it stands, is this name.
fn is_named(key: &[u8], name: &[u8]) -> bool {
    let mut decoded = Vec::new();
    if let [b'"', content @ .., b'"'] = key {
        string::decode(content, &mut decoded);
    }
    decoded == name
}

/// Puts content between quotes.
fn quoted(content: &[u8]) -> Vec<u8> {
    [b"\"", content, b"\""].concat()
}

/// Any JSON value as it is kept: whole where it is short, else the beginning of its text.
struct Json {
    token: Vec<u8>,
    /// Characters of the whole, where it was cut.
    whole_length: Option<usize>,
}

impl Json {
    fn of(json: &[u8]) -> Self {
        let characters = |text: &[u8]| text.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
        if json.len() <= 4 * MOST_CHARACTERS {
            let mut token = Vec::new();
            compact(json, &mut token);
            if characters(&token) <= MOST_CHARACTERS && depth(&token) <= MOST_DEPTH && !has_unreadable_integer(&token) {
                return Self { token, whole_length: None };
            }
        }
        // White space is left in a value that is cut: its beginning is all that is looked at.
        let beginning = &json[..json.len().min(4 * MOST_CHARACTERS)];
        let mut kept: String = String::from_utf8_lossy(beginning).chars().take(MOST_CHARACTERS).collect();
        if let Some(whole) = kept.strip_suffix(char::REPLACEMENT_CHARACTER).filter(|_| json.len() > beginning.len()) {
            kept.truncate(whole.len());
        }
        let mut token = vec![b'"'];
        string::escape(kept.as_bytes(), &mut token);
        token.push(b'"');
        Self { token, whole_length: Some(characters(json)) }
    }
}
