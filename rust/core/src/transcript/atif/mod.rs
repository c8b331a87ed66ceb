//! A transcript as one document in the Agent Trajectory Interchange Format (ATIF v1.7), as mngr builds it.
//!
//! In the stream, the result of a call follows the call, sometimes much later. In the document, it is part of the call's
//! step. So the stream is read twice. The first reading checks all records and finds the step of each result. The second
//! one writes the steps in order, each with its results. The memory is a few bytes per call and result, but no text.
//!
//! * [`schema`]: the members that records may have
//! * [`index`]: the first reading
//! * [`document`]: the second reading
//! * [`json_writer`]: writing JSON in either layout
//!
//! Rules: mngr 0.3.0, `agents/trajectory_build.py`, `agents/common_transcript_records.py`, `agents/data_types/atif/`.

mod document;
mod index;
mod json_writer;
mod schema;

use std::io;
use std::path::PathBuf;

use super::stream::ReadError;
use crate::files::file_error::escaped_path;
use crate::rollout::ByteOffset;

pub use document::write;
pub use index::{Index, check};

/// The properties of the document that are not in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrajectoryInfo {
    /// The agent type in mngr.
    pub agent_name: String,
    /// The agent's id.
    pub session_id: String,
    /// The document's id. mngr uses the agent's id.
    pub trajectory_id: String,
}

/// The layout of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// On one line, with values copied from the stream.
    Compact,
    /// Byte for byte as mngr 0.3.0 prints it: indented by two blanks, in ASCII.
    AsMngr,
}

/// The result of writing a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentSummary {
    /// The number of steps in the document.
    pub(crate) steps: u64,
    /// The first hundred warnings about records that were skipped or corrected.
    pub warnings: Vec<String>,
    /// The number of further warnings.
    pub omitted_warnings: u64,
}

/// Why the document is missing or incomplete.
#[derive(Debug, thiserror::Error)]
pub enum AtifError {
    /// The stream cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The document cannot be written.
    #[error(transparent)]
    Write(io::Error),
    /// The stream has no steps.
    #[error("cannot create an ATIF document from {}: it has no steps yet", escaped_path(.0))]
    NoSteps(PathBuf),
    /// A record does not match the schema.
    #[error(
        "cannot create an ATIF document from {}: the record at byte {offset} is invalid: {reason}",
        escaped_path(path)
    )]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The offset of the record.
        offset: ByteOffset,
        /// The violation.
        reason: String,
    },
    /// mngr would write a different document or none. Only for [`Layout::AsMngr`].
    #[error(
        "cannot create an ATIF document from {}: mngr reads the record at byte {offset} differently: {reason}",
        escaped_path(path)
    )]
    Unusual {
        /// The file.
        path: PathBuf,
        /// The offset of the record.
        offset: ByteOffset,
        /// The difference.
        reason: String,
    },
    /// The stream has changed since it was checked.
    #[error("cannot read {}: it changed while it was being read", escaped_path(.0))]
    Changed(PathBuf),
}

#[cfg(test)]
mod tests;
