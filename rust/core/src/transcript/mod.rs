//! Reading common transcripts, also of agents other than Codex.
//!
//! * [`locate`]: finding a transcript by a path or a name
//! * [`stream`]: the files of a transcript as one stream of lines
//! * [`backwards`]: the lines of a file from its end
//! * [`tail_follow`]: the lines that are added to a transcript
//! * [`spool`]: the transcript of a rollout, in a temporary file
//! * [`record`]: the kind and the role of a line
//! * [`head_tail`]: selects records by role, or the first or last ones
//! * [`resume`]: where showing a transcript continues after an interruption
//! * [`last_records`]: the last records of a transcript, a rollout or an agent
//! * [`atif`]: a transcript as one ATIF document

pub mod atif;
mod backwards;
pub(crate) mod head_tail;
pub(crate) mod last_records;
pub mod locate;
pub(crate) mod record;
pub(crate) mod resume;
pub(crate) mod spool;
pub(crate) mod stream;
pub(crate) mod tail_follow;

pub(crate) use head_tail::{Selection, Window};
pub(crate) use record::Record;
pub(crate) use stream::{ReadError, Stream, StreamPosition};
