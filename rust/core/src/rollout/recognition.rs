//! Whether an input is a rollout, and what it is otherwise.
//!
//! An input is a rollout if it has a rollout line: an object with a type and a payload. Some files that users may confuse
//! with a rollout are recognized, so that errors can name them.

use super::damage::{BYTE_ORDER_MARK, WholeRecords, skip_junk};
use super::envelope::{Envelope, string as as_string};
use super::lines::Line;
use crate::json::{Kind, Tape, Text, Value, scan};

/// The number of bytes at the start of an input that are kept to recognize it.
const MAX_HEAD: usize = 512;

/// What an input is that is not a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARollout {
    /// A common transcript.
    #[error("it is already a common transcript, not a rollout")]
    Transcript,
    /// The output of `codex exec --json`.
    #[error("it is the output of `codex exec --json`, not a rollout")]
    ExecOutput,
    /// Codex's `history.jsonl`.
    #[error("it is Codex's history of prompts, not a rollout")]
    History,
    /// Codex's `session_index.jsonl`.
    #[error("it is Codex's list of session names, not a rollout")]
    SessionIndex,
    /// A session file of Claude Code.
    #[error("it is a session of Claude Code, not a rollout of Codex")]
    ClaudeCode,
    /// Text in UTF-16, with or without a byte order mark.
    #[error("it is UTF-16 text, and a rollout is UTF-8 text")]
    Utf16,
    /// Text in UTF-32, with or without a byte order mark.
    #[error("it is UTF-32 text, and a rollout is UTF-8 text")]
    Utf32,
    /// A file that another program than zstd compressed.
    #[error("it is compressed by {}, and of compressed rollouts only those of zstd can be read", .0.name())]
    Compressed(Compression),
    /// A rollout in one of the formats before 0.32.
    #[error("it is a rollout of Codex 0.31 or earlier, whose format is not supported")]
    OldRollout,
    /// Blank lines.
    #[error("it has only blank lines")]
    Blank,
    /// Text without any JSON object.
    #[error("it is not a rollout, or is damaged completely: no line contains a JSON object")]
    Damaged,
    /// JSON objects of another kind.
    #[error("it is neither a rollout nor a common transcript")]
    Other,
}

/// A format of compressed files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// The format of `xz`.
    Xz,
    /// The format of `bzip2`.
    Bzip2,
    /// A ZIP archive.
    Zip,
}

impl Compression {
    /// Returns the format that the first bytes of a file show.
    fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1F, 0x8B, ..] => Some(Self::Gzip),
            [0xFD, b'7', b'z', b'X', b'Z', ..] => Some(Self::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Self::Bzip2),
            [b'P', b'K', 3, 4, ..] => Some(Self::Zip),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
            Self::Zip => "zip",
        }
    }

    /// Returns the command that writes the decompressed bytes of a file to its standard output.
    const fn decompress(self) -> &'static str {
        match self {
            Self::Gzip => "gzip -dc",
            Self::Xz => "xz -dc",
            Self::Bzip2 => "bzip2 -dc",
            Self::Zip => "unzip -p",
        }
    }
}

impl NotARollout {
    /// Returns the way out, as a hint for the user. `file` is the file, or `None` if it is a pipe.
    #[must_use]
    pub fn hint(self, file: Option<&str>) -> String {
        match (self, file) {
            (Self::Transcript, Some(file)) => format!("show it with `mngr-codex transcript {file}`"),
            (Self::Transcript, None) => "save it to a file and show it with `mngr-codex transcript FILE`".to_owned(),
            (Self::ExecOutput, _) => {
                "the rollout of that session is under ~/.codex/sessions; its name ends in the session's id".to_owned()
            }
            (Self::Utf16, file) => {
                format!("convert it first: `iconv -f UTF-16 -t UTF-8 {}`", file.unwrap_or("FILE"))
            }
            (Self::Utf32, file) => {
                format!("convert it first: `iconv -f UTF-32 -t UTF-8 {}`", file.unwrap_or("FILE"))
            }
            (Self::Compressed(format), file) => {
                format!("decompress it first: `{} {}`", format.decompress(), file.unwrap_or("FILE"))
            }
            (Self::OldRollout, _) => "rollouts of Codex 0.32 and later can be read".to_owned(),
            _ => "Codex keeps its rollouts under ~/.codex/sessions".to_owned(),
        }
    }
}

/// Recognizes an input by its lines.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent fact")]
pub(crate) struct Recognizer {
    tape: Tape,
    head: Vec<u8>,
    is_rollout: bool,
    /// The first kind that a line shows.
    found: Option<NotARollout>,
    has_object: bool,
    has_text: bool,
    /// Whether the input ends in the middle of a line that may become the first object.
    is_undetermined: bool,
}

impl Recognizer {
    /// Adds the next line, with or without its newline.
    pub(crate) fn add(&mut self, line: &Line<'_>) {
        let bytes = line.text.bytes();
        self.add_head(bytes);
        if bytes.trim_ascii().is_empty() {
            return;
        }
        self.has_text = true;
        let mut tape = std::mem::take(&mut self.tape);
        if scan(line.text, &mut tape).is_ok() {
            self.add_object(line.text, &tape);
        } else {
            let (mut records, mut copy) = (WholeRecords::of_line(line), Vec::new());
            while let Some(range) = records.next(&mut tape) {
                let text = line.text.part(range, &mut copy);
                if scan(text, &mut tape).is_ok() {
                    self.add_object(text, &tape);
                }
            }
        }
        self.tape = tape;
    }

    /// Adds the unterminated last line of a complete input.
    pub(crate) fn add_last(&mut self, line: &Line<'_>) {
        let had_text = self.has_text;
        self.add(line);
        self.is_undetermined = !had_text && !self.has_object && begins_like_an_object(line.text.bytes());
    }

    /// Adds the unterminated last line of an input that may grow.
    pub(crate) fn add_partial(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.add_head(bytes);
        self.is_undetermined = !self.has_text && begins_like_an_object(bytes);
        self.has_text |= !bytes.trim_ascii().is_empty();
    }

    /// Returns whether there was a rollout line.
    #[inline]
    pub(crate) fn is_rollout(&self) -> bool {
        self.is_rollout
    }

    /// Returns whether there was a record of a common transcript before any rollout line.
    pub(crate) fn is_transcript(&self) -> bool {
        self.found == Some(NotARollout::Transcript) && !self.is_rollout
    }

    /// Returns what the input is if it is not a rollout. Returns `None` for a rollout, an empty input, and an input that
    /// has only the beginning of a line.
    pub(crate) fn other(&self) -> Option<NotARollout> {
        if self.is_rollout || self.head.is_empty() {
            return None;
        }
        let by_head = || {
            let head = self.head.iter().filter(|byte| !byte.is_ascii_whitespace());
            match self.head.as_slice() {
                [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] | [b'{', 0, 0, 0, ..] | [0, 0, 0, b'{', ..] => {
                    Some(NotARollout::Utf32)
                }
                [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] | [b'{', 0, ..] | [0, b'{', ..] => Some(NotARollout::Utf16),
                // A single document, which is usually indented.
                _ if head.take(12).eq(b"{\"session\":{") => Some(NotARollout::OldRollout),
                head => Compression::of(head).map(NotARollout::Compressed),
            }
        };
        match self.found.or_else(by_head) {
            None if self.is_undetermined => None,
            None if self.has_object => Some(NotARollout::Other),
            None if self.has_text => Some(NotARollout::Damaged),
            None => Some(NotARollout::Blank),
            found => found,
        }
    }

    fn add_head(&mut self, bytes: &[u8]) {
        let room = MAX_HEAD - self.head.len();
        if room > 0 {
            self.head.extend(bytes.iter().take(room - 1));
            self.head.push(b'\n');
        }
    }

    fn add_object(&mut self, text: Text<'_>, tape: &Tape) {
        self.has_object = true;
        if Envelope::of(text, tape, None).is_rollout_line() {
            self.is_rollout = true;
        } else if self.found.is_none() {
            self.found = kind_of(text, tape);
        }
    }
}

/// Returns whether a line may be the beginning of an object.
fn begins_like_an_object(bytes: &[u8]) -> bool {
    let start = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes).trim_ascii_start();
    start.strip_prefix(b"{").is_some_and(|rest| matches!(rest.trim_ascii_start(), [] | [b'"', ..]))
}

/// Recognizes the kind of a file by an object that is not a rollout line.
fn kind_of(text: Text<'_>, tape: &Tape) -> Option<NotARollout> {
    let member = |name: &str| tape.children(tape.root()).filter(|value| value.key_name(text) == name.as_bytes()).last();
    let is = |name: &str, kind: Kind| member(name).is_some_and(|value| value.kind == kind);
    let has_string = |name: &str| is(name, Kind::String);
    let kind = member("type").and_then(as_string).map(|kind: &Value| kind.raw(text)).unwrap_or_default();
    match kind {
        b"header" | b"step" | b"observation" if has_string("event_id") => Some(NotARollout::Transcript),
        // The format that mngr used before ATIF (mngr 0.3.0).
        b"user_message" | b"assistant_message" | b"tool_result" => Some(NotARollout::Transcript),
        // Every line of Claude Code has one of these (seen on 2.0).
        _ if ["sessionId", "leafUuid", "messageId"].into_iter().any(has_string) => Some(NotARollout::ClaudeCode),
        _ if [&b"thread."[..], b"turn.", b"item."].iter().any(|start| kind.starts_with(start)) => {
            Some(NotARollout::ExecOutput)
        }
        // The older form of that output (seen on 0.30).
        _ if has_string("id") && is("msg", Kind::Object) => Some(NotARollout::ExecOutput),
        _ if has_string("session_id") && is("ts", Kind::Integer) && has_string("text") => Some(NotARollout::History),
        _ if has_string("id") && has_string("thread_name") => Some(NotARollout::SessionIndex),
        // The first line, later lines, and the items.
        b"" if has_string("id") && has_string("timestamp") && member("instructions").is_some() => {
            Some(NotARollout::OldRollout)
        }
        _ if has_string("record_type") => Some(NotARollout::OldRollout),
        b"message" if has_string("role") => Some(NotARollout::OldRollout),
        b"function_call" | b"function_call_output" | b"reasoning" => Some(NotARollout::OldRollout),
        _ if is("session", Kind::Object) && is("items", Kind::Array) => Some(NotARollout::OldRollout),
        _ => None,
    }
}

/// Returns whether the first bytes of an input may be the beginning of a rollout line in Codex's usual form. Returns
/// `None` if there are too few.
pub(crate) fn begins_like_a_rollout(head: &[u8]) -> Option<bool> {
    const ROLLOUT: &[u8] = b"{\"timestamp\"";
    let head = &head[skip_junk(head)..];
    if head.len() < ROLLOUT.len() && ROLLOUT.starts_with(head) {
        return None;
    }
    Some(head.starts_with(ROLLOUT))
}

#[cfg(test)]
mod tests;
