//! Selects records of a transcript by role, and the first (head) or last (tail) of them.

use super::record::{Record, RecordKind, Role};
use super::stream::{ReadError, Stream, StreamPosition};
use crate::json::{Tape, string};

/// How many records to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window {
    /// All records.
    #[default]
    All,
    /// The first records, this many.
    Head(u64),
    /// The last records, this many.
    Tail(u64),
}

/// Which records to show.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The roles of the records; all roles if it is empty.
    pub roles: Vec<Role>,
    /// How many of these records to show.
    pub window: Window,
    /// Whether the header counts as a record.
    pub has_header: bool,
    /// Whether to skip lines that contain a line break of Python's `str.splitlines`. mngr finds no record in them.
    pub skips_python_line_breaks: bool,
}

impl Selection {
    /// Returns whether records of this kind are selected, regardless of the window.
    #[must_use]
    pub fn includes(&self, kind: RecordKind) -> bool {
        if !self.roles.is_empty() {
            return kind.role().is_some_and(|role| self.roles.contains(&role));
        }
        self.has_header || kind != RecordKind::Header
    }

    /// Returns the position of the first selected record if the window is a tail. Returns `None` for other windows, and if
    /// the tail is the whole stream. Reads backwards from the end until it is found.
    ///
    /// # Errors
    ///
    /// Returns a [`ReadError`] if a line is over the limit or a file cannot be read.
    pub fn tail_start(&self, stream: &Stream) -> Result<Option<StreamPosition>, ReadError> {
        let Window::Tail(count) = self.window else { return Ok(None) };
        let mut tape = Tape::default();
        let mut found = 0;
        let mut lines = stream.backwards();
        let mut first = None;
        while found < count {
            let Some(line) = lines.previous_line()? else { return Ok(None) };
            if self.skips_python_line_breaks && string::has_line_break(line.text.bytes()) {
                continue;
            }
            if Record::read(line.text, &mut tape).is_ok_and(|record| self.includes(record.kind())) {
                found += 1;
                first = Some(line.position);
            }
        }
        Ok(first)
    }
}

#[cfg(test)]
mod tests;
