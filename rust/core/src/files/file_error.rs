//! I/O errors with the path and the operation that failed, and how messages show paths.

use std::io;
use std::path::{Path, PathBuf};

/// An operation on a file that failed.
///
/// Displays as `cannot read /x/y.jsonl: Permission denied (os error 13)`.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", escaped_path(path))]
pub struct FileError {
    /// The operation, as a verb: "read", "write", "open".
    pub operation: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The operating system's error, or the reason for refusing the file.
    pub source: io::Error,
}

impl FileError {
    /// Returns a function that adds the operation and the path to an [`io::Error`], for `map_err`.
    pub(crate) fn on(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { operation, path: path.to_owned(), source }
    }
}

/// Formats a path for a message. Control characters are escaped, so that a path can neither break the line nor move the
/// cursor.
#[must_use]
pub fn escaped_path(path: &Path) -> String {
    let mut text = String::new();
    for character in path.display().to_string().chars() {
        if character.is_control() { text.extend(character.escape_default()) } else { text.push(character) }
    }
    text
}
