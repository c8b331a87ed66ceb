//! Event ids: a pure function of the input, the same as the published converter's wherever that one's are unique.

use sha2::{Digest, Sha256};

use crate::rollout::{ByteOffset, ids::Name, timestamp::Nanos};

/// Characters of an item's text that its id depends on.
pub const HASHED_CHARACTERS: usize = 1024;

/// Ids of one timestamp that are remembered. Items of that timestamp beyond it get ids that hash their place too.
const MOST_REMEMBERED: usize = 2048;

/// The length of `2026-11-22T07:12`. Behind this one alone a colon and a text could be a longer timestamp, a colon and
/// another text.
const WITHOUT_SECONDS: usize = 16;

/// What an id says of its record, its last part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// A user's message.
    User,
    /// A system step.
    System,
    /// An agent's message or call.
    Assistant,
    /// An agent's reasoning.
    Reasoning,
    /// A call's output.
    ToolResult,
    /// A command that a call ran.
    CommandExecution,
}

impl IdKind {
    /// As it stands in the id.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::System => "system",
            Self::Assistant => "assistant",
            Self::Reasoning => "reasoning",
            Self::ToolResult => "tool_result",
            Self::CommandExecution => "command_execution",
        }
    }
}

/// The two hexadecimal digits of each byte.
static HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        digits[byte] = [DIGITS[byte >> 4], DIGITS[byte & 0xF]];
        byte += 1;
    }
    digits
};

/// The first 16 bytes of a SHA-256, written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest16([u8; 16]);

impl Digest16 {
    /// Hashes `parts`, one behind the other.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        let mut first = [0; 16];
        first.copy_from_slice(&hasher.finalize()[..16]);
        Self(first)
    }

    /// As it stands in an id.
    #[must_use]
    pub fn hex(self) -> [u8; 32] {
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&HEX[usize::from(byte)]);
        }
        digits
    }

    /// An event id up to its last part.
    #[must_use]
    pub fn event_id(self) -> [u8; 37] {
        let mut id = *b"evt-................................-";
        id[4..36].copy_from_slice(&self.hex());
        id
    }

    /// Eight of its bytes as a number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// The ids given so far, as far as a later item could get one of them again.
///
/// An id depends on its line's timestamp, so only lines of one timestamp can collide. Timestamps of codex never go
/// back (none of 11,038 recorded lines, 0.64 to 0.169): the ids of the newest are enough. A line whose timestamp does
/// go back or has no seconds, or that has none, gets an id that hashes its place, which is unique by itself.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct GivenIds {
    newest: Option<Newest>,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Newest {
    timestamp: Name,
    nanos: Nanos,
    /// The first 8 bytes of each id, mixed with its kind.
    given: Vec<u64>,
}

impl GivenIds {
    /// The id of the item at `offset` with this timestamp (as it stands, and read) and this text, which is cut to
    /// [`HASHED_CHARACTERS`] and decoded.
    pub fn give(
        &mut self,
        timestamp: Option<(&[u8], Nanos)>,
        text: &[u8],
        kind: IdKind,
        offset: ByteOffset,
    ) -> Digest16 {
        let Some((timestamp, nanos)) = timestamp else {
            return placed(b"", text, offset);
        };
        if timestamp.len() <= WITHOUT_SECONDS {
            return placed(timestamp, text, offset);
        }
        match &mut self.newest {
            Some(newest) if newest.timestamp.as_bytes() == timestamp => {}
            Some(newest) if newest.nanos >= nanos => return placed(timestamp, text, offset),
            Some(newest) => {
                newest.timestamp.assign(timestamp);
                newest.nanos = nanos;
                newest.given.clear();
            }
            newest @ None => {
                let timestamp = Name::new(timestamp, false);
                *newest = Some(Newest { timestamp, nanos, given: Vec::new() });
            }
        }
        let digest = Digest16::of(&[timestamp, b":", text]);
        let Some(newest) = &mut self.newest else {
            return digest;
        };
        let mark = digest.number() ^ (kind as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        if newest.given.len() >= MOST_REMEMBERED || newest.given.contains(&mark) {
            return placed(timestamp, text, offset);
        }
        newest.given.push(mark);
        digest
    }
}

/// The id of an item that could be taken for another: it hashes the place of its line too, behind a byte that no text
/// in UTF-8 has, so that no other item's text can be the same.
fn placed(timestamp: &[u8], text: &[u8], offset: ByteOffset) -> Digest16 {
    Digest16::of(&[timestamp, b":", text, b"\xFF", offset.to_string().as_bytes()])
}

#[cfg(test)]
mod tests;
