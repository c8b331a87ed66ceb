//! Which records of a transcript are wanted, and where they begin.

use super::record::{Record, RecordKind, Role};
use super::stream::{Place, ReadError, Stream};
use crate::json::{Tape, string};

/// How many of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window {
    /// All.
    #[default]
    All,
    /// The first so many.
    Head(u64),
    /// The last so many.
    Tail(u64),
}

/// Which records are wanted.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Whose; anybody's where it is empty.
    pub roles: Vec<Role>,
    /// How many of those.
    pub window: Window,
    /// Whether the header is one of them.
    pub has_header: bool,
    /// Whether what Python takes for several lines (`str.splitlines`) is none of them.
    pub is_python: bool,
}

impl Selection {
    /// Whether such a record is wanted, but for how many there are.
    #[must_use]
    pub fn takes(&self, kind: RecordKind) -> bool {
        if !self.roles.is_empty() {
            return kind.role().is_some_and(|role| self.roles.contains(&role));
        }
        self.has_header || kind != RecordKind::Header
    }

    /// Where the first wanted record stands, if the window is a tail of the stream that is not all of it.
    ///
    /// Reads from the end, and no more than it must.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where a line is over the limit, or reading fails.
    pub fn start_of_tail(&self, stream: &Stream) -> Result<Option<Place>, ReadError> {
        let Window::Tail(wanted) = self.window else { return Ok(None) };
        let mut tape = Tape::default();
        let mut found = 0;
        let mut lines = stream.backwards();
        let mut first = None;
        while found < wanted {
            let Some(line) = lines.previous_line()? else { return Ok(None) };
            if self.is_python && string::has_line_break(line.text.bytes()) {
                continue;
            }
            if Record::read(line.text, &mut tape).is_ok_and(|record| self.takes(record.kind())) {
                found += 1;
                first = Some(line.place);
            }
        }
        Ok(first)
    }
}

#[cfg(test)]
mod tests;
