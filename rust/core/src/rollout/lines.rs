//! Bytes as lines: one buffer that is used again and again, and grows only for a line that is larger.

use std::io::{ErrorKind, Read};

use super::ByteOffset;
use crate::json::Text;
use crate::json::block::{self, PADDING};

/// The largest line that is read unless the caller says otherwise: 1 GiB.
pub const DEFAULT_LINE_LIMIT: usize = 1 << 30;

/// Bytes that are asked for at a time. Measured on 100 MB: from 64 KiB to 1 MiB the same within 3 %.
const CHUNK: usize = 64 << 10;

/// A line that has come to this without being a JSON object's beginning is not kept.
const LARGE: usize = 1 << 20;

/// Why no further line could be had.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// A line is over the limit.
    #[error("the line at byte {offset} is longer than {limit} bytes")]
    TooLong {
        /// Where the line starts.
        offset: ByteOffset,
        /// The limit, in bytes without the newline.
        limit: usize,
    },
    /// Reading failed.
    #[error("reading failed at byte {offset}: {source}")]
    Read {
        /// How far the input was read.
        offset: ByteOffset,
        /// What the system said.
        source: std::io::Error,
    },
}

impl From<LineError> for std::io::Error {
    /// What the system said; a line over the limit is invalid data.
    fn from(error: LineError) -> Self {
        match error {
            LineError::Read { source, .. } => source,
            error @ LineError::TooLong { .. } => Self::new(ErrorKind::InvalidData, error),
        }
    }
}

/// A whole line, without its newline.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    /// Where it starts.
    pub offset: ByteOffset,
    /// Where the next one starts.
    pub next: ByteOffset,
    /// What it says. Of a line of more than 1 MiB that does not start with `{` only the beginning and the end: it is no
    /// rollout line, and need not be kept to know that. See also [`Lines::keeping`].
    pub text: Text<'a>,
    /// Whether it holds a control character, as no JSON text does but for white space.
    pub has_control: bool,
}

/// The lines of an input, in order, each once.
///
/// * A line is what a newline ends. What stands behind the last newline is no line yet: see [`Lines::partial_line`].
/// * After the end, a further call looks whether the input has grown.
/// * Memory is the chunk, or the largest line of late where that is larger.
pub struct Lines<R> {
    reader: R,
    /// `buffer[start..end]` is read and not yet given out; [`PADDING`] and one bytes are kept behind it.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// No newline stands in `buffer[start..searched]`.
    searched: usize,
    /// Where `buffer[start]` stands in the input.
    offset: u64,
    /// Whether a control character was found in the present line.
    has_control: bool,
    /// Bytes of the present line that were not kept.
    dropped: u64,
    /// Of a line of more bytes than this only the beginning and the end are kept.
    most_kept: usize,
    limit: usize,
}

impl<R: Read> Lines<R> {
    /// Lines of at most `limit` bytes from `reader`.
    pub fn new(reader: R, limit: usize) -> Self {
        Self::starting_at(reader, ByteOffset(0), limit)
    }

    /// As [`Lines::new`], where `reader` stands at `offset` of the input.
    pub fn starting_at(reader: R, offset: ByteOffset, limit: usize) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            searched: 0,
            offset: offset.0,
            has_control: false,
            dropped: 0,
            most_kept: usize::MAX,
            limit,
        }
    }

    /// The same, but of a line of more than `most` bytes only the beginning and the end are kept: for whoever looks for
    /// short lines and is to need no more memory.
    #[must_use]
    pub fn keeping(self, most: usize) -> Self {
        Self { most_kept: most, ..self }
    }

    /// The next line, or `None` at the end of what the input holds now.
    ///
    /// # Errors
    ///
    /// [`LineError::TooLong`] where the next line is over the limit, [`LineError::Read`] where reading fails.
    #[inline]
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, LineError> {
        match self.find_newline()? {
            Some(newline) => self.take(newline).map(Some),
            None => Ok(None),
        }
    }

    /// Whether [`Self::next_line`] gives one, which it does without reading then.
    ///
    /// # Errors
    ///
    /// [`LineError::TooLong`] or [`LineError::Read`], as the next line would give them.
    pub fn has_line(&mut self) -> Result<bool, LineError> {
        let newline = self.find_newline()?;
        self.searched = newline.unwrap_or(self.searched);
        Ok(newline.is_some())
    }

    /// Where the next newline stands in the buffer; `None` at the end of what the input holds now.
    #[inline(always)]
    fn find_newline(&mut self) -> Result<Option<usize>, LineError> {
        loop {
            // The first control character of a rollout line is its end.
            let rest = &self.buffer[self.searched..self.end];
            let found = if self.has_control { memchr::memchr(b'\n', rest) } else { block::find_control(rest) };
            match found {
                Some(found) if self.buffer[self.searched + found] == b'\n' => return Ok(Some(self.searched + found)),
                Some(found) => {
                    self.has_control = true;
                    self.searched += found + 1;
                }
                None => {
                    self.searched = self.end;
                    if !self.fill()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Where the unfinished line behind the last newline starts, and how many bytes of it there are; `None` where
    /// the input ends with a newline.
    #[must_use]
    pub fn partial_line(&self) -> Option<(ByteOffset, u64)> {
        let length = (self.end - self.start) as u64 + self.dropped;
        (length > 0).then_some((ByteOffset(self.offset), length))
    }

    /// How far the input has been read, in bytes; for progress.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.offset + self.dropped + (self.end - self.start) as u64
    }

    /// Gives out the line that ends at `newline`.
    #[inline(always)]
    fn take(&mut self, newline: usize) -> Result<Line<'_>, LineError> {
        let length = newline - self.start;
        let offset = ByteOffset(self.offset);
        if length as u64 + self.dropped > self.limit as u64 {
            return Err(LineError::TooLong { offset, limit: self.limit });
        }
        let text = Text::new(&self.buffer[self.start..], length);
        self.offset += length as u64 + self.dropped + 1;
        self.dropped = 0;
        self.start = newline + 1;
        self.searched = self.start;
        let has_control = std::mem::take(&mut self.has_control);
        Ok(Line { offset, next: ByteOffset(self.offset), text, has_control })
    }

    /// Reads more behind what there is; whether there was more.
    fn fill(&mut self) -> Result<bool, LineError> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.searched -= self.start;
            self.start = 0;
        }
        if self.end as u64 + self.dropped > self.limit as u64 {
            return Err(LineError::TooLong { offset: ByteOffset(self.offset), limit: self.limit });
        }
        let is_object = || self.buffer[..self.end].trim_ascii_start().first() == Some(&b'{');
        let most = if self.end > LARGE && is_object() { self.most_kept } else { LARGE };
        if self.end > most {
            let kept = most / 2;
            self.dropped += (self.end - kept) as u64;
            self.end = kept;
            self.searched = kept;
        }
        if self.end <= CHUNK && self.buffer.len() > 4 * LARGE {
            // A large line has gone: its memory goes back to the system.
            self.buffer.truncate(self.end);
            self.buffer.shrink_to_fit();
        }
        // Only what is about to be read into is touched, so that a large line costs its own size and no more.
        let wanted = self.end + CHUNK + 1 + PADDING;
        if self.buffer.len() < wanted {
            if self.buffer.capacity() < wanted {
                let more = |length: usize| length - self.buffer.len();
                let (double, least) = (more(wanted.max(self.buffer.len() * 2)), more(wanted));
                if self.buffer.try_reserve(double).or_else(|_| self.buffer.try_reserve(least)).is_err() {
                    let source = std::io::Error::from(ErrorKind::OutOfMemory);
                    return Err(LineError::Read { offset: ByteOffset(self.offset), source });
                }
            }
            self.buffer.resize(wanted, 0);
        }
        loop {
            let room = self.buffer.len() - 1 - PADDING;
            match self.reader.read(&mut self.buffer[self.end..room]) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.end += count;
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(LineError::Read { offset: ByteOffset(self.bytes_read()), source });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
