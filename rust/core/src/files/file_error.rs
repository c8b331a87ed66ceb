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

/// Formats a path for a message. Control characters, line separators and bidirectional controls are escaped, so that a path
/// can neither break the line, move the cursor nor change the reading direction.
#[must_use]
pub fn escaped_path(path: &Path) -> String {
    let mut text = String::new();
    for character in path.display().to_string().chars() {
        if is_unsafe(character) { text.extend(character.escape_default()) } else { text.push(character) }
    }
    text
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests;
