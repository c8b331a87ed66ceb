//! The file format of Codex's rollouts: their bytes, their lines, and the kind of each line.
//!
//! * [`decompression`]: the bytes of a rollout, which may be compressed or come from standard input
//! * [`lines`]: lines and their offsets
//! * [`damage`]: the whole records in a damaged line
//! * [`recognition`]: whether an input is a rollout, and what it is otherwise
//! * [`envelope`]: a line's timestamp, ordinal, type and payload
//! * [`kind`]: kinds of lines, and the kinds that produce no record
//! * [`ids`]: ids of threads, turns and calls
//! * [`file_name`]: the names of rollouts; [`home`]: the rollouts in a Codex home
//! * [`session_meta`]: the first line of a rollout, which describes the session
//! * [`line_prefix`]: reads the envelope and the kind of most lines without parsing them
//! * [`timestamp`]: ISO 8601 timestamps

pub(crate) mod damage;
pub(crate) mod decompression;
pub(crate) mod envelope;
pub(crate) mod file_name;
pub(crate) mod home;
pub(crate) mod ids;
pub(crate) mod kind;
pub(crate) mod line_prefix;
pub(crate) mod lines;
pub(crate) mod recognition;
pub(crate) mod session_meta;
pub(crate) mod timestamp;

/// A position in a rollout, in bytes from its start. In a compressed rollout, it is a position in the decompressed
/// text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ByteOffset(pub u64);

impl std::fmt::Display for ByteOffset {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}
