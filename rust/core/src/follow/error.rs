//! Why following an agent fails.

use std::path::PathBuf;

use crate::convert::OutputError;
use crate::files::file_error::{FileError, escaped_path};
use crate::files::lock::LockError;
use crate::state_dir::StateDir;

/// Why a pass failed. The steps that it completed before remain valid.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The state directory does not exist.
    #[error("cannot open the state directory {}: no such directory", escaped_path(.0))]
    NoStateDir(PathBuf),
    /// The lock could not be acquired.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Records that wait for their token counts could not be stored.
    #[error(transparent)]
    Waiting(OutputError),
}

impl FollowError {
    /// Returns the error for a conversion that could not write the common transcript of `dir`.
    pub(super) fn from_output(error: OutputError, dir: &StateDir) -> Self {
        match error {
            OutputError::Sink(source) => FileError::on("write", &dir.common_transcript())(source).into(),
            error @ OutputError::Waiting(_) => Self::Waiting(error),
        }
    }
}
