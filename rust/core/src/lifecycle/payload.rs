//! What codex hands to a hook: one JSON object on standard input, of which a few members are wanted.
//!
//! A prompt or a tool's answer in it can be of any size. What is too long to be an id or a path is left out while
//! reading; the rest goes to the one JSON scanner, so that escapes, repeated keys and copies of a key further inside
//! mean what they mean everywhere.

use std::io::{self, Read};

use crate::json::walk::{Piece, PieceKind, Walker};
use crate::json::{Key, Kind, Malformed, Tape, Text, scan, string};
use crate::rollout::envelope::Members;
use crate::rollout::ids::{Name, ThreadId, TurnId};

/// Bytes that are asked for at first: more than most payloads have, and few fresh pages.
const FIRST: usize = 8 << 10;

/// Bytes that are asked for then, as many as a pipe holds (pipe(7)).
const CHUNK: usize = 64 << 10;

/// Strings of more than this many bytes are left out: longer than any path (`PATH_MAX` is 4,096 on Linux) escaped.
const LONGEST_STRING: usize = 32 << 10;

/// What is left of a payload is never more than this many bytes.
const MOST_KEPT: usize = 1 << 20;

/// The members of a payload that say what happened where. Ids that could not name a file are refused: see
/// [`PayloadError::Id`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// `session_id`: the root's, also in a subagent's hooks.
    pub session: ThreadId,
    /// `turn_id`; empty where there is none.
    pub turn: TurnId,
    /// `agent_id`, in a subagent's hooks.
    pub agent: Option<ThreadId>,
    /// `transcript_path`; of `SubagentStop` the parent's.
    pub transcript: Option<String>,
    /// `agent_transcript_path`, in `SubagentStop`: the subagent's.
    pub agent_transcript: Option<String>,
}

/// Why a payload could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// Standard input could not be read.
    #[error("standard input could not be read: {0}")]
    Read(#[from] io::Error),
    /// It is no JSON object.
    #[error("the payload is not a JSON object: {} (byte {})", .0.why, .0.at)]
    Malformed(Malformed),
    /// It names no session, so that nobody knows whose event it is.
    #[error("the payload has no session_id")]
    NoSession,
    /// It has more members than any payload of codex.
    #[error("the payload has more than {MOST_KEPT} bytes beside its long texts")]
    TooLarge,
    /// An id that could not name a file in a folder, or one that is missing.
    #[error("the payload's {member} is missing or cannot be a file's name: {shown:?}")]
    Id {
        /// The member's key.
        member: &'static str,
        /// The beginning of what stands under it.
        shown: String,
    },
}

impl Payload {
    /// Reads a payload to its end.
    ///
    /// # Errors
    ///
    /// [`PayloadError`]
    pub fn read(mut input: impl Read) -> Result<Self, PayloadError> {
        let mut chunk = vec![0; FIRST];
        let mut end = fill(&mut input, &mut chunk)?;
        if end < FIRST {
            chunk.truncate(end);
            return Self::parse(chunk);
        }
        let mut kept = Shortened::default();
        chunk.resize(CHUNK, 0);
        while end > 0 {
            kept.push(&chunk[..end])?;
            end = fill(&mut input, &mut chunk)?;
        }
        Self::parse(kept.bytes)
    }

    fn parse(mut bytes: Vec<u8>) -> Result<Self, PayloadError> {
        // What the converter does with invalid UTF-8 too.
        if let Err(error) = std::str::from_utf8(&bytes) {
            debug_assert!(error.valid_up_to() < bytes.len());
            bytes = String::from_utf8_lossy(&bytes).into_owned().into_bytes();
        }
        let mut tape = Tape::default();
        let text = Text::pad(&mut bytes);
        scan(text, &mut tape).map_err(PayloadError::Malformed)?;
        let members = Members::of(&tape, tape.root());
        // The text under a key, and whether it has escapes; of a repeated key the last counts.
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
        })
    }
}

/// The longest name of a file (`NAME_MAX` on Linux), in bytes.
const LONGEST_NAME: usize = 255;

/// An id that is a file's name.
fn plain_name(member: &'static str, text: (&[u8], bool)) -> Result<Name, PayloadError> {
    let name = id(member, text)?;
    // In its shortest escaped form a name with a backslash has a character that no id needs.
    let is_plain =
        !matches!(name.as_bytes(), b"" | b"." | b"..") && !name.as_bytes().iter().any(|byte| b"/\\".contains(byte));
    if is_plain { Ok(name) } else { Err(refused(member, text.0)) }
}

/// A thread's id from its text, if it is a file's name.
pub(super) fn thread_id(text: &str) -> Option<ThreadId> {
    let mut raw = Vec::new();
    string::escape(text.as_bytes(), &mut raw);
    plain_name("session_id", (&raw, true)).ok().map(ThreadId)
}

/// An id of a length that can be kept.
fn id(member: &'static str, (raw, has_escape): (&[u8], bool)) -> Result<Name, PayloadError> {
    // An escape is of six bytes at the most, for a byte or more.
    let name = (raw.len() <= 6 * LONGEST_NAME).then(|| Name::new(raw, has_escape));
    name.filter(|name| name.as_bytes().len() <= LONGEST_NAME).ok_or_else(|| refused(member, raw))
}

/// What is said of an id that cannot be taken.
#[cold]
pub(super) fn refused(member: &'static str, raw: &[u8]) -> PayloadError {
    PayloadError::Id { member, shown: String::from_utf8_lossy(string::cut(raw, 80)).into_owned() }
}

/// A path that is of use: see [`fit_path`].
fn path(raw: &[u8]) -> Option<String> {
    let mut decoded = Vec::new();
    string::decode(raw, &mut decoded);
    fit_path(String::from_utf8(decoded).ok()?)
}

/// The path, if it is absolute and fits on a line of its own.
pub(super) fn fit_path(path: String) -> Option<String> {
    let is_fit = path.starts_with('/') && path.len() < 4096 && !path.contains(|character: char| character.is_control());
    is_fit.then_some(path)
}

/// Reads until `buffer` is full or the input ends; gives how much there was.
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

/// A JSON object whose long strings are replaced by empty ones, and whose nested containers are replaced by zeros.
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
            if self.bytes.len() > MOST_KEPT {
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
        if self.bytes.len() - start + content.len() > LONGEST_STRING {
            self.bytes.truncate(start);
            self.string_start = None;
        } else {
            self.bytes.extend_from_slice(content);
        }
    }
}

#[cfg(test)]
mod tests;
