//! Codex's rollout files: where their bytes come from, their lines, and what each line is.
//!
//! * [`input`]: a file, a compressed file or standard input as bytes
//! * [`lines`]: bytes as lines, with their offsets
//! * [`envelope`]: a line's timestamp, ordinal and payload
//! * [`kind`]: what kind of item a line holds, and which kinds make no record
//! * [`ids`]: the ids of threads, turns and calls
//! * [`probe`]: the same, read off the beginning of a line in codex's own form
//! * [`timestamp`]: ISO 8601 as rollouts write it

pub mod envelope;
pub mod ids;
pub mod input;
pub mod kind;
pub mod lines;
pub mod probe;
pub mod timestamp;

/// A place in a rollout: bytes from its start (of the decompressed text, where it is compressed).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ByteOffset(pub u64);

impl std::fmt::Display for ByteOffset {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}
