//! Why the lifecycle state or its marker files could not be read or written.

use std::path::PathBuf;

use crate::files::file_error::{FileError, escaped_path};
use crate::files::lock::LockError;

use super::payload::PayloadError;

/// Why the state could not be read or saved.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The state directory does not exist.
    #[error("cannot open the state directory {}: no such directory", escaped_path(.0))]
    NoStateDir(PathBuf),
    /// The lock could not be acquired.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why an operation on the marker failed.
#[derive(Debug, thiserror::Error)]
pub enum MarkerError {
    /// The hook's payload is not usable.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The hook could not acquire the lock. Its run was deferred: the next owner of the lock applies it.
    #[error("{0}; the event was queued for the next hook")]
    Deferred(LockError),
    /// The state could not be read or saved.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<FileError> for MarkerError {
    fn from(error: FileError) -> Self {
        Self::Store(error.into())
    }
}
