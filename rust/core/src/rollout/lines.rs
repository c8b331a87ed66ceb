//! Splits bytes into lines, in one buffer that is reused and grows only for larger lines.

use std::io::{ErrorKind, Read};

use super::ByteOffset;
use crate::json::{PADDING, Text, find_control};

/// The default maximum line length: 1 GiB.
pub const DEFAULT_LINE_LIMIT: usize = 1 << 30;

/// The number of bytes per read. On 100 MB, sizes from 64 KiB to 1 MiB differed by less than 3%.
const CHUNK: usize = 64 << 10;

/// A line that reaches this size without beginning like a JSON object is not kept completely.
const LARGE: usize = 1 << 20;

/// The reason why the next line cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// A line is longer than the limit.
    #[error("the line at byte {offset} is longer than {limit} bytes")]
    TooLong {
        /// The offset of the line.
        offset: ByteOffset,
        /// The limit, in bytes without the newline.
        limit: usize,
    },
    /// Reading failed.
    #[error("{source} (at byte {offset})")]
    Read {
        /// The number of bytes read so far.
        offset: ByteOffset,
        /// The error.
        source: std::io::Error,
    },
}

impl From<LineError> for std::io::Error {
    /// Returns the source of a failed read. A line that is too long is [`ErrorKind::InvalidData`].
    fn from(error: LineError) -> Self {
        match error {
            LineError::Read { source, .. } => source,
            error @ LineError::TooLong { .. } => Self::new(ErrorKind::InvalidData, error),
        }
    }
}

/// A complete line, without its newline.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    /// The offset of the line.
    pub offset: ByteOffset,
    /// The offset of the next line.
    pub next: ByteOffset,
    /// The line's text. If the line has more than 1 MiB and does not begin with `{`, only its beginning and end are
    /// kept: it is not a rollout line. See also [`Lines::keeping`].
    pub text: Text<'a>,
    /// Whether the line contains a control character. JSON text contains none, except white space.
    pub(crate) has_control: bool,
}

/// The lines of an input, in order.
///
/// * A line ends with a newline. Bytes after the last newline are not a line yet: see [`Lines::partial_line`].
/// * At the end of the input, a further call checks whether the input has grown.
/// * The memory is one chunk, or the size of the largest recent line if that is larger.
pub struct Lines<R> {
    reader: R,
    /// `buffer[start..end]` has been read but not returned. At least one byte and [`PADDING`] follow it.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// `buffer[start..searched]` contains no newline.
    searched: usize,
    /// The offset of `buffer[start]` in the input.
    offset: u64,
    /// Whether the current line contains a control character in `buffer[start..searched]`.
    has_control: bool,
    /// The number of bytes of the current line that were not kept.
    dropped: u64,
    /// The number of bytes beyond which only the beginning and the end of a line are kept.
    max_kept: usize,
    limit: usize,
}

impl<R: Read> Lines<R> {
    /// Returns the lines of `reader`, which may have up to `limit` bytes.
    pub fn new(reader: R, limit: usize) -> Self {
        Self::starting_at(reader, ByteOffset(0), limit)
    }

    /// Returns the lines of `reader`, whose next byte is at `offset` of the input.
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
            max_kept: usize::MAX,
            limit,
        }
    }

    /// Keeps only the beginning and the end of lines of more than `max` bytes. This bounds the memory for callers that
    /// need only short lines.
    #[must_use]
    pub(crate) fn keeping(self, max: usize) -> Self {
        Self { max_kept: max, ..self }
    }

    /// Returns the reader, so that more input can be added to it.
    pub(crate) fn reader_mut(&mut self) -> &mut R {
        &mut self.reader
    }

    /// Returns the next line, or `None` at the current end of the input.
    ///
    /// # Errors
    ///
    /// Returns [`LineError::TooLong`] if the next line is longer than the limit, and [`LineError::Read`] if reading
    /// fails.
    #[inline]
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, LineError> {
        match self.find_newline()? {
            Some(newline) => self.take(newline).map(Some),
            None => Ok(None),
        }
    }

    /// Returns whether there is a next line. If so, [`Self::next_line`] returns it without reading.
    ///
    /// # Errors
    ///
    /// Returns [`LineError::TooLong`] if the next line is longer than the limit, and [`LineError::Read`] if reading
    /// fails.
    pub(crate) fn has_line(&mut self) -> Result<bool, LineError> {
        let newline = self.find_newline()?;
        self.searched = newline.unwrap_or(self.searched);
        Ok(newline.is_some())
    }

    /// Returns the position of the next newline in the buffer, or `None` at the current end of the input.
    #[inline(always)]
    fn find_newline(&mut self) -> Result<Option<usize>, LineError> {
        loop {
            // In a rollout line, the first control character is the newline at its end.
            let rest = &self.buffer[self.searched..self.end];
            let found = if self.has_control { memchr::memchr(b'\n', rest) } else { find_control(rest) };
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

    /// Returns the offset and the length in bytes of the unterminated last line, or `None` if the input ends with a
    /// newline.
    #[must_use]
    pub fn partial_line(&self) -> Option<(ByteOffset, u64)> {
        let length = (self.end - self.start) as u64 + self.dropped;
        (length > 0).then_some((ByteOffset(self.offset), length))
    }

    /// Returns the number of bytes read so far, for progress.
    #[must_use]
    pub(crate) fn bytes_read(&self) -> u64 {
        self.offset + self.dropped + (self.end - self.start) as u64
    }

    /// Returns the line that ends at `newline`.
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

    /// Reads more bytes into the buffer. Returns `false` at the end of the input.
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
        let most = if self.end > LARGE && is_object() { self.max_kept } else { LARGE };
        if self.end > most {
            let kept = most / 2;
            self.dropped += (self.end - kept) as u64;
            self.end = kept;
            self.searched = kept;
        }
        if self.end <= CHUNK && self.buffer.len() > 4 * LARGE {
            // The buffer has grown for a large line: free its memory.
            self.buffer.truncate(self.end);
            self.buffer.shrink_to_fit();
        }
        // Only the bytes to be read next are initialized, so that a large line needs no more memory than its own size.
        let required = self.end + CHUNK + 1 + PADDING;
        if self.buffer.len() < required {
            if self.buffer.capacity() < required {
                let more = |length: usize| length - self.buffer.len();
                let (double, least) = (more(required.max(self.buffer.len() * 2)), more(required));
                if self.buffer.try_reserve(double).or_else(|_| self.buffer.try_reserve(least)).is_err() {
                    let source = std::io::Error::from(ErrorKind::OutOfMemory);
                    return Err(LineError::Read { offset: ByteOffset(self.offset), source });
                }
            }
            self.buffer.resize(required, 0);
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
