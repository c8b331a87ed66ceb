//! Event ids: a pure function of the input. Unless the published converter repeats an id, both converters give the same
//! one.

use sha2::{Digest, Sha256};

use crate::rollout::{ByteOffset, ids::Name, timestamp::Nanos};

/// The number of characters of an item's text that its id depends on.
pub(crate) const HASHED_CHARACTERS: usize = 1024;

/// The number of ids of one timestamp that are remembered. The ids of further items with that timestamp also hash their
/// offset.
const MAX_REMEMBERED: usize = 2048;

/// The length of `2026-11-22T07:12`. Only this form of a timestamp is ambiguous: with a colon and a text it could be a
/// longer timestamp with a colon and another text.
const MINUTE_TIMESTAMP_BYTES: usize = 16;

/// The kind of record, which is the last part of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdKind {
    /// A user's message.
    User,
    /// A step of the system.
    System,
    /// A message or a call of the agent.
    Assistant,
    /// The agent's reasoning.
    Reasoning,
    /// A call's output.
    ToolResult,
    /// A command that a call ran.
    CommandExecution,
}

impl IdKind {
    /// Returns the kind's name in an id.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
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

/// The first 16 bytes of a SHA-256 hash, written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest16([u8; 16]);

impl Digest16 {
    /// Hashes the concatenation of `parts`.
    #[must_use]
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        let mut first = [0; 16];
        first.copy_from_slice(&hasher.finalize()[..16]);
        Self(first)
    }

    /// Returns the hexadecimal digits.
    #[must_use]
    pub(crate) fn hex(self) -> [u8; 32] {
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&HEX[usize::from(byte)]);
        }
        digits
    }

    /// Returns an event id without its last part.
    #[must_use]
    pub(crate) fn event_id(self) -> [u8; 37] {
        let mut id = *b"evt-................................-";
        id[4..36].copy_from_slice(&self.hex());
        id
    }

    /// Returns the first eight bytes as a number.
    #[must_use]
    pub(crate) fn number(self) -> u64 {
        self.0.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// Issues ids, and remembers the ids that a later item could repeat.
///
/// An id depends on its line's timestamp, so only ids of the same timestamp can be equal. Timestamps of Codex never
/// decrease (in 11,038 recorded lines of 0.64 to 0.169), so it is enough to remember the ids of the latest one. If a
/// timestamp decreases, has no seconds or is missing, the id also hashes the line's offset, which makes it unique.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct IssuedIds {
    newest: Option<Newest>,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Newest {
    timestamp: Name,
    nanos: Nanos,
    /// The first eight bytes of each id, mixed with its kind.
    issued: Vec<u64>,
}

impl IssuedIds {
    /// Issues the id of the item at `offset`. `timestamp` is the timestamp as written, and its value. `text` is decoded
    /// and cut to [`HASHED_CHARACTERS`].
    pub(crate) fn issue(
        &mut self,
        timestamp: Option<(&[u8], Nanos)>,
        text: &[u8],
        kind: IdKind,
        offset: ByteOffset,
    ) -> Digest16 {
        let Some((timestamp, nanos)) = timestamp else {
            return hash_with_offset(b"", text, offset);
        };
        if timestamp.len() <= MINUTE_TIMESTAMP_BYTES {
            return hash_with_offset(timestamp, text, offset);
        }
        match &mut self.newest {
            Some(newest) if newest.timestamp.as_bytes() == timestamp => {}
            Some(newest) if newest.nanos >= nanos => return hash_with_offset(timestamp, text, offset),
            Some(newest) => {
                newest.timestamp.assign(timestamp);
                newest.nanos = nanos;
                newest.issued.clear();
            }
            newest @ None => {
                let timestamp = Name::new(timestamp, false);
                *newest = Some(Newest { timestamp, nanos, issued: Vec::new() });
            }
        }
        let digest = Digest16::of(&[timestamp, b":", text]);
        let Some(newest) = &mut self.newest else {
            return digest;
        };
        let mark = digest.number() ^ (kind as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        if newest.issued.len() >= MAX_REMEMBERED || newest.issued.contains(&mark) {
            return hash_with_offset(timestamp, text, offset);
        }
        newest.issued.push(mark);
        digest
    }
}

/// Returns the hash for an item whose id would not be unique otherwise. It includes the line's offset after the byte
/// 0xFF, which UTF-8 text cannot contain, so no other item's text gives the same hash.
fn hash_with_offset(timestamp: &[u8], text: &[u8], offset: ByteOffset) -> Digest16 {
    Digest16::of(&[timestamp, b":", text, b"\xFF", offset.to_string().as_bytes()])
}

#[cfg(test)]
mod tests;
