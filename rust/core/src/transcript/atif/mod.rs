//! A whole transcript as one document of the Agent Trajectory Interchange Format (ATIF v1.7), as mngr builds it.
//!
//! The stream tells what a call gave after the call, sometimes long after; the document has it in the call's step. So
//! the stream is read twice: once to check all of it and to note which result belongs to which step, once to write the
//! steps in their order, each with its results. What is kept in memory are some bytes for each call and result, no text.
//!
//! * [`schema`]: what records may hold
//! * [`index`]: the first reading
//! * [`document`]: the second one
//! * [`pen`]: how JSON is laid out
//!
//! Rules: mngr 0.3.0, `agents/trajectory_build.py`, `agents/common_transcript_records.py`, `agents/data_types/atif/`.

mod document;
mod index;
mod json_writer;
mod schema;

use std::io;
use std::path::PathBuf;

use super::locate::shown;
use super::stream::ReadError;
use crate::rollout::ByteOffset;

pub use document::write;
pub use index::{Index, check};

/// What the document says of the agent, beside what its stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// mngr's type of agent.
    pub agent_name: String,
    /// The agent's id.
    pub session_id: String,
    /// The document's own id; mngr takes the agent's.
    pub trajectory_id: String,
}

/// How the document is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// On one line, values as the stream has them.
    Compact,
    /// Byte for byte as mngr 0.3.0 prints it: two blanks for each level, ASCII.
    AsMngr,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Built {
    /// Steps of the document.
    pub steps: u64,
    /// What was not as it should be and has been made the best of: the first hundred such things.
    pub warnings: Vec<String>,
    /// How many more there were.
    pub untold_warnings: u64,
}

/// Why there is no document, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum AtifError {
    /// The stream cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The document cannot be written.
    #[error("{0}")]
    Write(io::Error),
    /// There is no step to make a document of.
    #[error("{}: no step is in it yet, so there is no document", shown(.0))]
    NoStep(PathBuf),
    /// A line is not as the schema has it.
    #[error("{}: the record at byte {offset} is none of a common transcript: {what}", shown(.path))]
    Violates {
        /// The file.
        path: PathBuf,
        /// Where the line starts.
        offset: ByteOffset,
        /// What is wrong.
        what: String,
    },
    /// mngr writes something else here, or nothing; only for [`Form::AsMngr`].
    #[error("{}: mngr reads the record at byte {offset} in a way of its own: {what}", shown(.path))]
    Unusual {
        /// The file.
        path: PathBuf,
        /// Where the line starts.
        offset: ByteOffset,
        /// What is unusual.
        what: String,
    },
    /// The stream is not what it was when it was checked.
    #[error("{}: it was changed while it was read; try again", shown(.0))]
    Changed(PathBuf),
}

#[cfg(test)]
mod tests;
