//! Splits bytes into lines, in one buffer that is reused and grows only for larger lines.

use std::io::{ErrorKind, Read};

use super::ByteOffset;
use super::damage::{find_record, is_record, skip_junk};
use crate::json::{PADDING, Text, find_control};

/// The default maximum line length: 1 GiB.
pub const DEFAULT_LINE_LIMIT: usize = 1 << 30;

/// The number of bytes per read. On 100 MB, sizes from 64 KiB to 1 MiB differed by less than 3%.
const CHUNK: usize = 64 << 10;

/// A line that reaches this size without beginning like a JSON object is not kept completely.
const LARGE: usize = 1 << 20;

/// Longer runs of NULs are shortened to one NUL. A crash can leave holes of any size in a file.
const MAX_NULS: usize = 4 << 10;

/// The number of bytes that are kept of text without the beginning of a record, because they may be the first bytes of
/// one.
const KEPT_TEXT: usize = 256;

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
    /// The line's text. Parts of a damaged line can be missing: long runs of NULs, and of a line of more than 1 MiB that
    /// does not begin like an object, the text before the first record. See also [`Lines::keeping`].
    pub text: Text<'a>,
    /// Whether the line contains a control character. JSON text contains none, except white space. It is also set if
    /// `has_lost_start` is.
    pub(crate) has_control: bool,
    /// Whether text before `text` that is not white space is missing.
    pub(crate) has_lost_start: bool,
    /// The parts that are missing in `text`, in order.
    pub(crate) gaps: &'a [Gap],
}

/// A part of a line that was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// Its position in the text that was kept.
    at: usize,
    /// Its length in bytes.
    length: u64,
}

impl Line<'_> {
    /// Returns the offset in the input of the byte at `at` of the text.
    #[must_use]
    pub(crate) fn position(&self, at: usize) -> ByteOffset {
        let missing: u64 = self.gaps.iter().take_while(|gap| gap.at <= at).map(|gap| gap.length).sum();
        ByteOffset(self.offset.0 + at as u64 + missing)
    }
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
    /// The parts of the current line that were not kept, and their total length.
    gaps: Vec<Gap>,
    dropped: u64,
    /// The number of these bytes that do not count toward the limit, because they are NULs.
    nuls: u64,
    /// Whether text at the start of the current line that is not white space was not kept.
    has_lost_start: bool,
    /// The gaps of the line that was returned last.
    returned_gaps: Vec<Gap>,
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
            gaps: Vec::new(),
            dropped: 0,
            nuls: 0,
            has_lost_start: false,
            returned_gaps: Vec::new(),
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

    /// Returns the unterminated last line at the end of a complete input, and takes it from the input.
    ///
    /// # Errors
    ///
    /// Returns [`LineError::TooLong`] if it is longer than the limit.
    pub(crate) fn take_partial_line(&mut self) -> Result<Option<Line<'_>>, LineError> {
        if self.partial_line().is_none() || self.buffer.is_empty() {
            return Ok(None);
        }
        // The buffer has room for a newline and the padding after the last byte.
        self.buffer[self.end] = b'\n';
        self.end += 1;
        let line = self.take(self.end - 1)?;
        // This newline is not in the input.
        Ok(Some(Line { next: ByteOffset(line.next.0 - 1), ..line }))
    }

    /// Returns the text that is kept of the unterminated last line.
    #[must_use]
    pub(crate) fn partial_text(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
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
        if length as u64 + self.dropped - self.nuls > self.limit as u64 {
            return Err(LineError::TooLong { offset, limit: self.limit });
        }
        self.offset += length as u64 + self.dropped + 1;
        let is_shortened = self.dropped > 0;
        let has_lost_start = is_shortened && self.take_gaps();
        let text = Text::new(&self.buffer[self.start..], length);
        self.start = newline + 1;
        self.searched = self.start;
        let has_control = std::mem::take(&mut self.has_control) || has_lost_start;
        let gaps = if is_shortened { self.returned_gaps.as_slice() } else { &[] };
        Ok(Line { offset, next: ByteOffset(self.offset), text, has_control, has_lost_start, gaps })
    }

    /// Moves the gaps of the current line to the line that is returned. Returns whether it has lost its start.
    #[cold]
    fn take_gaps(&mut self) -> bool {
        self.returned_gaps.clear();
        std::mem::swap(&mut self.gaps, &mut self.returned_gaps);
        (self.dropped, self.nuls) = (0, 0);
        std::mem::take(&mut self.has_lost_start)
    }

    /// Removes the bytes `from..to` of the current line, which must be at the start of the buffer.
    fn drop_bytes(&mut self, from: usize, to: usize) {
        let count = to - from;
        let mut merged = Gap { at: from, length: count as u64 };
        self.gaps.retain_mut(|gap| {
            if (from..=to).contains(&gap.at) {
                merged.length += gap.length;
                return false;
            }
            if gap.at > to {
                gap.at -= count;
            }
            true
        });
        let index = self.gaps.partition_point(|gap| gap.at < from);
        self.gaps.insert(index, merged);
        self.dropped += count as u64;
        self.buffer.copy_within(to..self.end, from);
        self.end -= count;
        self.searched = self.end;
    }

    /// Shortens the run of NULs at the end of the current line, which is at the start of the buffer.
    #[cold]
    fn shorten_nuls(&mut self) {
        let nuls = self.buffer[..self.end].iter().rev().take_while(|byte| **byte == 0).count();
        if nuls > MAX_NULS {
            self.nuls += nuls as u64 - 1;
            self.drop_bytes(self.end - nuls + 1, self.end);
        }
    }

    /// Drops parts of the current line, which is at the start of the buffer and has more than [`LARGE`] bytes.
    ///
    /// Of text that does not begin like an object, the part before the first record is dropped.
    #[cold]
    fn shorten(&mut self) {
        let line = &self.buffer[..self.end];
        let start = skip_junk(line);
        let is_object = if self.has_lost_start { is_record(line, 0) } else { line.get(start) == Some(&b'{') };
        if is_object {
            if self.end > self.max_kept {
                // A NUL marks the gap, so that no record is read across it.
                let part = self.max_kept / 4;
                self.buffer[part - 1] = 0;
                self.has_control = true;
                self.drop_bytes(part, self.end - part);
            }
        } else if self.has_lost_start || start < self.end {
            self.has_lost_start = true;
            let kept = find_record(line, 0).unwrap_or(self.end - KEPT_TEXT);
            self.drop_bytes(0, kept);
        } else {
            // It is only white space, NULs and byte order marks. A NUL is kept if it is not only white space.
            let kept = usize::from(!line.trim_ascii().is_empty());
            if kept > 0 {
                self.buffer[0] = 0;
                self.has_control = true;
            }
            self.drop_bytes(kept, self.end);
        }
    }

    /// Reads more bytes into the buffer. Returns `false` at the end of the input.
    fn fill(&mut self) -> Result<bool, LineError> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.searched -= self.start;
            self.start = 0;
        }
        if self.has_control && self.end > 0 && self.buffer[self.end - 1] == 0 {
            self.shorten_nuls();
        }
        if self.end as u64 + self.dropped - self.nuls > self.limit as u64 {
            return Err(LineError::TooLong { offset: ByteOffset(self.offset), limit: self.limit });
        }
        if self.end > LARGE {
            self.shorten();
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
