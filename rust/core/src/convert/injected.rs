//! Recognizes the texts that Codex itself writes in the user's role: instructions, the environment, notifications,
//! warnings, commands of the user.
//!
//! From 0.150 on, a message says for each of its parts who wrote it. Before that, only the text tells. Codex itself
//! decides by the same markers what it shows to users (`core/src/context/contextual_user_message.rs` in its source).

use crate::json::dump::Members;
use crate::json::{Key, Kind, Tape, Text, Value, string};

use super::content::trim_python_start;

/// The texts between two markers, which are compared without regard to ASCII case.
const MARKED: [(&[u8], &[u8]); 17] = [
    (b"# AGENTS.md instructions", b"</INSTRUCTIONS>"),
    (b"<user_instructions>", b"</user_instructions>"),
    (b"<environment_context>", b"</environment_context>"),
    (b"<skill>", b"</skill>"),
    (SHELL_COMMAND_OPENING, b"</user_shell_command>"),
    (b"<turn_aborted>", b"</turn_aborted>"),
    (b"<subagent_notification>", b"</subagent_notification>"),
    (b"<agent_message_board_notification>", b"</agent_message_board_notification>"),
    (b"<goal_context>", b"</goal_context>"),
    (b"<codex_internal_context source=\"", b"</codex_internal_context>"),
    (b"<extension_context>", b"</extension_context>"),
    (b"<recommended_plugins>", b"</recommended_plugins>"),
    (b"<next_prompt_suggestion>", b"</next_prompt_suggestion>"),
    (b"<hook_prompt hook_run_id=", b"</hook_prompt>"),
    (b"<user_action>", b"</user_action>"),
    (b"Warning: apply_patch was requested via ", b"Use the apply_patch tool instead of exec_command."),
    // The context that a client adds under a key.
    (EXTERNAL_OPENING, b""),
];

/// The beginnings of texts that have no closing marker.
const UNCLOSED: [&[u8]; 3] = [
    b"Warning: The maximum number of unified exec processes you can keep open is",
    b"Warning: Your account was flagged for potentially high-risk cyber activity",
    b"Here is a list of plugins that are available but not installed.",
];

/// The opening marker of a command that the user ran with `!`.
const SHELL_COMMAND_OPENING: &[u8] = b"<user_shell_command>";

/// The beginning of `<external_KEY>`, which `</external_KEY>` closes.
const EXTERNAL_OPENING: &[u8] = b"<external_";

/// The number of bytes at each end of a text that decide about it. All markers are shorter, except `<external_KEY>` with
/// a longer key, which is not recognized.
const END_BYTES: usize = 256;

/// Who wrote a part of a message, according to the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// A person.
    Person,
    /// Codex.
    Codex,
    /// It is not known.
    Unknown,
}

impl Writer {
    /// Returns the writer of a part of this kind, an element of `content_item_kinds`.
    fn of_kind(kind: &[u8]) -> Self {
        match kind {
            // The description of a goal that a person edited, in words of Codex.
            b"" | b"unknown" | b"user.goal" => Self::Unknown,
            b"images.preparation_error" | b"images.unsupported" | b"audio.unsupported" => Self::Person,
            _ if kind.starts_with(b"user.") => Self::Person,
            _ => Self::Codex,
        }
    }
}

/// Returns who wrote each of the `parts` of a message, according to its metadata (from 0.150 on). The list is empty if
/// the metadata does not say this for each of them.
pub(crate) fn writers(text: Text<'_>, tape: &Tape, payload: &Value, parts: usize) -> Vec<Writer> {
    let is_metadata = |value: &&Value| {
        value.key == Key::Other
            && value.kind == Kind::Object
            && value.key_name(text) == b"internal_chat_message_metadata_passthrough"
    };
    let metadata = tape.children(payload).filter(is_metadata).last();
    let kinds = metadata.and_then(|metadata| {
        Members::of(metadata.raw(text)).filter(|(key, _)| *key == b"\"content_item_kinds\"").last()
    });
    let Some((_, kinds)) = kinds.filter(|(_, kinds)| kinds.starts_with(b"[")) else {
        return Vec::new();
    };
    let mut writers = Vec::new();
    for (_, kind) in Members::of(kinds).take(parts + 1) {
        writers.push(match kind {
            [b'"', kind @ .., b'"'] => Writer::of_kind(kind),
            _ => Writer::Unknown,
        });
    }
    if writers.len() == parts { writers } else { Vec::new() }
}

/// Returns whether a text is Codex's own. `content` is the content of a JSON string.
///
/// Only the first chunk of a text is decoded, unless it begins like a text of Codex.
#[must_use]
pub(crate) fn is_codex_text(content: &[u8]) -> bool {
    // Most texts are decided by their first byte.
    let may_begin = |first: &u8| matches!(first, b'<' | b'#' | b'W' | b'w' | b'H' | b'\\' | 0..=b' ' | 0x80..);
    if !content.first().is_some_and(may_begin) {
        return false;
    }
    let (mut recognizer, mut decoded) = (Recognizer::default(), Vec::new());
    string::chunks(content).all(|chunk| {
        decoded.clear();
        string::decode_string(chunk, &mut decoded);
        recognizer.read(&decoded)
    }) && recognizer.is_codex_text()
}

/// The two ends of a text that is read in pieces.
#[derive(Default)]
struct Recognizer {
    /// The first bytes after white space.
    beginning: Vec<u8>,
    /// The last bytes before white space.
    end: Vec<u8>,
    /// The white space since then.
    blank: Vec<u8>,
}

impl Recognizer {
    /// Reads a piece of the decoded text, which must not end inside a character. Returns `false` if the text is known
    /// not to be Codex's.
    fn read(&mut self, piece: &[u8]) -> bool {
        let missing = END_BYTES - self.beginning.len();
        if missing > 0 {
            let start = if self.beginning.is_empty() { trim_python_start(piece) } else { piece };
            self.beginning.extend_from_slice(&start[..start.len().min(missing)]);
            if self.beginning.len() == END_BYTES && Closing::of(&self.beginning).is_none() {
                return false;
            }
        }
        let trimmed = trim_end(piece);
        if !trimmed.is_empty() {
            let blank = std::mem::take(&mut self.blank);
            push_last(&mut self.end, &blank);
            push_last(&mut self.end, trimmed);
        }
        push_last(&mut self.blank, &piece[trimmed.len()..]);
        true
    }

    /// Returns whether the text that was read is Codex's own.
    fn is_codex_text(&self) -> bool {
        match Closing::of(&self.beginning) {
            None => false,
            Some(Closing::Anything) => true,
            Some(Closing::Marker(marker)) => ends_with(&self.end, marker),
            Some(Closing::Key(key)) => self
                .end
                .strip_suffix(b">")
                .and_then(|end| end.strip_suffix(key))
                .is_some_and(|end| ends_with(end, b"</external_")),
        }
    }
}

/// The end that a text needs to be Codex's.
#[derive(Clone, Copy)]
enum Closing<'a> {
    Anything,
    Marker(&'static [u8]),
    /// `</external_KEY>`
    Key(&'a [u8]),
}

impl<'a> Closing<'a> {
    /// Returns the end for a text with this beginning, or `None` if no text of Codex begins like this.
    fn of(beginning: &'a [u8]) -> Option<Self> {
        if UNCLOSED.iter().any(|opening| beginning.starts_with(opening)) {
            return Some(Self::Anything);
        }
        let (opening, closing) = MARKED.iter().find(|(opening, _)| starts_with(beginning, opening))?;
        if *opening != EXTERNAL_OPENING {
            return Some(Self::Marker(closing));
        }
        let key = &beginning[opening.len()..];
        memchr::memchr(b'>', key).filter(|length| *length > 0).map(|length| Self::Key(&key[..length]))
    }
}

fn starts_with(text: &[u8], opening: &[u8]) -> bool {
    text.get(..opening.len()).is_some_and(|start| start.eq_ignore_ascii_case(opening))
}

fn ends_with(text: &[u8], closing: &[u8]) -> bool {
    text.len().checked_sub(closing.len()).is_some_and(|start| text[start..].eq_ignore_ascii_case(closing))
}

/// Strips the trailing white space of a decoded text.
fn trim_end(text: &[u8]) -> &[u8] {
    let mut end = text.len();
    while end > 0 {
        let start = text[..end].iter().rposition(|byte| byte & 0xC0 != 0x80).unwrap_or(0);
        if !trim_python_start(&text[start..end]).is_empty() {
            break;
        }
        end = start;
    }
    &text[..end]
}

/// Appends bytes, and keeps the last [`END_BYTES`].
fn push_last(kept: &mut Vec<u8>, added: &[u8]) {
    let added = &added[added.len().saturating_sub(END_BYTES)..];
    let excess = (kept.len() + added.len()).saturating_sub(END_BYTES);
    kept.drain(..excess.min(kept.len()));
    kept.extend_from_slice(added);
}

/// A command that the user ran with `!`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ShellCommand {
    /// The command as it was typed.
    pub(crate) command: Vec<u8>,
    /// Its exit code.
    pub(crate) exit_code: Option<i32>,
}

impl ShellCommand {
    /// Reads the text in which Codex reports the command and its output (seen on 0.138 to 0.171). Returns `None` for
    /// any other text. `content` is the content of a JSON string.
    ///
    /// Only the first chunk of a long text is read.
    #[must_use]
    pub(crate) fn read(content: &[u8]) -> Option<Self> {
        let mut decoded = Vec::new();
        string::decode_string(string::chunks(content).next()?, &mut decoded);
        let text = trim_python_start(&decoded);
        if !starts_with(text, SHELL_COMMAND_OPENING) {
            return None;
        }
        let text = after(text, b"<command>\n").unwrap_or_default();
        let end = memchr::memmem::find(text, b"\n</command>\n<result>");
        let (command, result) = text.split_at(end.unwrap_or(text.len()));
        let digits = after(result, b"\nExit code: ").and_then(|code| code.split(|byte| *byte == b'\n').next());
        let exit_code = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.trim().parse().ok());
        Some(Self { command: command.to_vec(), exit_code })
    }
}

/// Returns the text after the first `marker`.
fn after<'a>(text: &'a [u8], marker: &[u8]) -> Option<&'a [u8]> {
    memchr::memmem::find(text, marker).map(|start| &text[start + marker.len()..])
}

#[cfg(test)]
mod tests;
