//! The payload of a hook: one JSON object on standard input, of which a few members are used.
//!
//! It can contain a prompt or a tool's output of any size. Strings that are too long to be an id or a path are skipped
//! while reading. The JSON scanner then parses the rest, so that escapes, repeated keys and nested copies of a key are
//! handled in the same way as everywhere.

use std::io::{self, Read};

use crate::json::walk::{Piece, PieceKind, Walker};
use crate::json::{Key, Kind, Malformed, Tape, Text, scan, string};
use crate::rollout::envelope::Members;
use crate::rollout::ids::{Name, ThreadId, TurnId};

use super::state::Trigger;

/// The number of bytes that are read first: more than most payloads have, but only few memory pages.
const FIRST_READ: usize = 8 << 10;

/// The number of bytes of each later read: the capacity of a pipe (pipe(7)).
const CHUNK: usize = 64 << 10;

/// The length in bytes above which a string is skipped: no escaped path is longer (`PATH_MAX` is 4,096 on Linux).
const MAX_STRING: usize = 32 << 10;

/// The largest shortened payload, in bytes.
const MAX_KEPT: usize = 1 << 20;

/// The tool with which the model asks the user a question (0.138 to 0.171).
pub(super) const QUESTION_TOOL: &[u8] = b"request_user_input";

/// The members of a payload that are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Payload {
    /// `session_id`: the root's, also in a subagent's hooks.
    pub(super) session: ThreadId,
    /// `turn_id`. It is empty if the member is missing.
    pub(super) turn: TurnId,
    /// `agent_id`, in a subagent's hooks.
    pub(super) agent: Option<ThreadId>,
    /// `transcript_path`. In `SubagentStop` it is the parent's rollout.
    pub(super) transcript: Option<String>,
    /// `agent_transcript_path`, in `SubagentStop`: the subagent's rollout.
    pub(super) agent_transcript: Option<String>,
    /// Whether `tool_name` is the tool with which the model asks the user a question.
    pub(super) is_question: bool,
    /// `trigger`: why Codex compacts the session, in `PreCompact` and `PostCompact`.
    pub(super) trigger: Option<Trigger>,
    /// `cwd`: the folder of the session, if the caller needs it.
    pub(super) folder: Option<String>,
}

/// Why a payload is not usable.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// Standard input could not be read.
    #[error("cannot read standard input: {0}")]
    Read(#[from] io::Error),
    /// The payload is not a JSON object.
    #[error("the payload is not a JSON object: {} (byte {})", .0.reason, .0.at)]
    Malformed(Malformed),
    /// The payload names no session, so the event cannot be attributed.
    #[error("the payload has no session_id")]
    NoSession,
    /// The payload has more members than any payload of Codex.
    #[error("the payload has more than {MAX_KEPT} bytes, not counting long strings")]
    TooLarge,
    /// An id is missing or not usable as the name of a file.
    #[error("the payload's {member} is missing or not usable as a file name: {shown:?}")]
    Id {
        /// The member's key.
        member: &'static str,
        /// The beginning of its value.
        shown: String,
    },
}

impl Payload {
    /// Reads a payload to its end, with the folder of the session if `needs_folder` is true.
    ///
    /// # Errors
    ///
    /// Returns a [`PayloadError`] if the payload cannot be read or is not usable.
    pub(super) fn read(mut input: impl Read, needs_folder: bool) -> Result<Self, PayloadError> {
        let mut chunk = vec![0; FIRST_READ];
        let mut end = fill(&mut input, &mut chunk)?;
        if end < FIRST_READ {
            chunk.truncate(end);
            return Self::parse(chunk, needs_folder);
        }
        let mut kept = Shortened::default();
        chunk.resize(CHUNK, 0);
        while end > 0 {
            kept.push(&chunk[..end])?;
            end = fill(&mut input, &mut chunk)?;
        }
        Self::parse(kept.bytes, needs_folder)
    }

    fn parse(mut bytes: Vec<u8>, needs_folder: bool) -> Result<Self, PayloadError> {
        // The converter handles invalid UTF-8 in the same way.
        if let Err(error) = std::str::from_utf8(&bytes) {
            debug_assert!(error.valid_up_to() < bytes.len());
            bytes = String::from_utf8_lossy(&bytes).into_owned().into_bytes();
        }
        let mut tape = Tape::default();
        let text = Text::pad(&mut bytes);
        scan(text, &mut tape).map_err(PayloadError::Malformed)?;
        let members = Members::of(&tape, tape.root());
        // Returns the string of a key, and whether it has escapes. If a key is repeated, the last one counts.
        let text_of = |key| {
            let value = members.get(key).filter(|value| value.kind == Kind::String);
            value.map(|value| (value.raw(text), value.content.has_escape()))
        };
        let agent = text_of(Key::AgentId).map(|agent| plain_name("agent_id", agent).map(ThreadId)).transpose()?;
        Ok(Self {
            session: ThreadId(plain_name("session_id", text_of(Key::SessionId).ok_or(PayloadError::NoSession)?)?),
            turn: TurnId(id("turn_id", text_of(Key::TurnId).unwrap_or_default())?),
            agent,
            transcript: text_of(Key::TranscriptPath).and_then(|(raw, _)| path(raw)),
            agent_transcript: text_of(Key::AgentTranscriptPath).and_then(|(raw, _)| path(raw)),
            is_question: text_of(Key::ToolName).is_some_and(is_question),
            trigger: text_of(Key::Trigger).and_then(|(raw, _)| trigger(raw)),
            folder: text_of(Key::Cwd).filter(|_| needs_folder).and_then(|(raw, _)| path(raw)),
        })
    }
}

/// Returns whether a JSON string is the name of the tool that asks the user a question.
fn is_question((raw, has_escape): (&[u8], bool)) -> bool {
    raw == QUESTION_TOOL
        || (has_escape && raw.len() <= 6 * MAX_NAME && Name::new(raw, true).as_bytes() == QUESTION_TOOL)
}

/// Returns the trigger with this name.
fn trigger(raw: &[u8]) -> Option<Trigger> {
    [Trigger::Manual, Trigger::Auto].into_iter().find(|trigger| trigger.name().as_bytes() == raw)
}

/// The length of the longest file name, in bytes (`NAME_MAX` on Linux).
const MAX_NAME: usize = 255;

/// Returns an id that is usable as the name of a file.
fn plain_name(member: &'static str, text: (&[u8], bool)) -> Result<Name, PayloadError> {
    let name = id(member, text)?;
    // Names are stored in their shortest escaped form, so a backslash stands for a character that ids do not need.
    let is_plain =
        !matches!(name.as_bytes(), b"" | b"." | b"..") && !name.as_bytes().iter().any(|byte| b"/\\".contains(byte));
    if is_plain { Ok(name) } else { Err(invalid_id(member, text.0)) }
}

/// Returns a thread's id, if `text` is usable as the name of a file.
pub(super) fn thread_id(text: &str) -> Option<ThreadId> {
    let mut raw = Vec::new();
    string::escape(text.as_bytes(), &mut raw);
    plain_name("session_id", (&raw, true)).ok().map(ThreadId)
}

/// Returns an id, if it is not too long.
fn id(member: &'static str, (raw, has_escape): (&[u8], bool)) -> Result<Name, PayloadError> {
    // An escape has at most six bytes and stands for at least one byte.
    let name = (raw.len() <= 6 * MAX_NAME).then(|| Name::new(raw, has_escape));
    name.filter(|name| name.as_bytes().len() <= MAX_NAME).ok_or_else(|| invalid_id(member, raw))
}

/// Returns the error for an id that is not usable.
#[cold]
pub(super) fn invalid_id(member: &'static str, raw: &[u8]) -> PayloadError {
    PayloadError::Id { member, shown: String::from_utf8_lossy(string::cut(raw, 80)).into_owned() }
}

/// Returns the path in a JSON string, if it is usable.
fn path(raw: &[u8]) -> Option<String> {
    let mut decoded = Vec::new();
    string::decode_string(raw, &mut decoded);
    usable_path(String::from_utf8(decoded).ok()?)
}

/// Returns the path, if it is absolute and fits on one line.
pub(super) fn usable_path(path: String) -> Option<String> {
    let is_usable = path.starts_with('/') && path.len() < 4096 && !path.contains(char::is_control);
    is_usable.then_some(path)
}

/// Reads until `buffer` is full or the input ends. Returns the number of bytes that were read.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match input.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// A JSON object whose long strings are replaced with empty ones, and whose nested containers are replaced with zeros.
#[derive(Default)]
struct Shortened {
    bytes: Vec<u8>,
    depth: usize,
    walker: Walker,
    /// The offset in `bytes` of the content of a string that is kept so far; `None` outside strings.
    string_start: Option<usize>,
}

impl Shortened {
    /// Appends the next chunk of the payload.
    fn push(&mut self, mut chunk: &[u8]) -> Result<(), PayloadError> {
        while let Some(piece) = self.walker.next(&mut chunk) {
            self.push_piece(piece);
            if self.bytes.len() > MAX_KEPT {
                return Err(PayloadError::TooLarge);
            }
        }
        Ok(())
    }

    fn push_piece(&mut self, piece: Piece<'_>) {
        let is_kept = self.depth <= 1;
        match piece.kind {
            PieceKind::Open => {
                self.depth += 1;
                match self.depth {
                    1 => self.bytes.extend_from_slice(piece.bytes),
                    2 => self.bytes.push(b'0'),
                    _ => {}
                }
            }
            PieceKind::Close => {
                if is_kept {
                    self.bytes.extend_from_slice(piece.bytes);
                }
                self.depth = self.depth.saturating_sub(1);
            }
            PieceKind::String { starts, ends } if is_kept => {
                if starts {
                    self.bytes.push(b'"');
                    self.string_start = Some(self.bytes.len());
                }
                self.push_content(&piece.bytes[usize::from(starts)..piece.bytes.len() - usize::from(ends)]);
                if ends {
                    self.bytes.push(b'"');
                    self.string_start = None;
                }
            }
            PieceKind::Separator | PieceKind::Blank | PieceKind::Scalar if is_kept => {
                self.bytes.extend_from_slice(piece.bytes);
            }
            _ => {}
        }
    }

    /// Appends more of a string's content, or removes all of it if the string is too long.
    fn push_content(&mut self, content: &[u8]) {
        let Some(start) = self.string_start else { return };
        if self.bytes.len() - start + content.len() > MAX_STRING {
            self.bytes.truncate(start);
            self.string_start = None;
        } else {
            self.bytes.extend_from_slice(content);
        }
    }
}

#[cfg(test)]
mod tests;
