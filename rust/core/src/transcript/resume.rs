//! Finds where showing a transcript continues if its records up to one of them were shown before.

use super::record::Record;
use super::stream::{ReadError, Stream, StreamPosition};
use crate::json::Tape;

/// Where to continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumption {
    /// The position of the first line that was not shown.
    pub next: StreamPosition,
    /// The position of an earlier line. The lines between the two are the last that were shown.
    pub context: StreamPosition,
}

impl Resumption {
    /// The number of lines that are read again for their context.
    const CONTEXT_LINES: usize = 64;

    /// Finds the record with this id, reading backwards from the end. Returns `None` if no record has it.
    ///
    /// # Errors
    ///
    /// Returns a [`ReadError`] if a line is over the limit or a file cannot be read.
    pub fn after(stream: &Stream, event_id: &[u8]) -> Result<Option<Self>, ReadError> {
        let mut tape = Tape::default();
        let mut lines = stream.backwards();
        let mut next = stream.end();
        loop {
            let Some(line) = lines.previous_line()? else { return Ok(None) };
            if Record::read(line.text, &mut tape).is_ok_and(|record| record.event_id().as_deref() == Some(event_id)) {
                let mut context = line.position;
                for _ in 1..Self::CONTEXT_LINES {
                    let Some(line) = lines.previous_line()? else { break };
                    context = line.position;
                }
                return Ok(Some(Self { next, context }));
            }
            next = line.position;
        }
    }
}

/// Returns the id of the last record that has one. Reads backwards from the end.
///
/// # Errors
///
/// Returns a [`ReadError`] if a line is over the limit or a file cannot be read.
pub fn last_event_id(stream: &Stream) -> Result<Option<Vec<u8>>, ReadError> {
    let mut tape = Tape::default();
    let mut lines = stream.backwards();
    while let Some(line) = lines.previous_line()? {
        let record = Record::read(line.text, &mut tape).ok();
        if let Some(id) = record.and_then(|record| record.event_id()) {
            return Ok(Some(id.into_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
