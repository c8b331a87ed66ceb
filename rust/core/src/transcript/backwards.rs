//! The lines of a file from its end. The file is read in blocks, so that the cost of the last lines does not depend on
//! the size of the file.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::files::positional::after_last_newline;
use crate::json::{PADDING, Text};
use crate::rollout::ByteOffset;
use crate::rollout::lines::LineError;

/// The minimum number of bytes that are read at a time.
const BLOCK: usize = 64 << 10;

/// The lines of a file, the last one first.
///
/// * A line ends with a newline. The last one may lack it.
/// * Bytes after `length` are ignored.
/// * The memory is a block, or twice the longest line if that is larger.
pub(super) struct Backwards<'f> {
    file: &'f File,
    limit: usize,
    block: usize,
    /// `buffer[..end]` has been read but not returned yet. A newline follows it.
    buffer: Vec<u8>,
    end: usize,
    /// `buffer[searched..end]` contains no newline.
    searched: usize,
    /// The offset of the buffer in the file.
    offset: u64,
    progress: Progress,
    is_partial: bool,
}

/// Which lines have been returned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Nothing has been read.
    NotStarted,
    /// The next line ends at `buffer[end]`. Its start is not known.
    Searching,
    /// The next line is `buffer[searched..end]`.
    Found,
    /// The first line of the file has been returned.
    Finished,
}

impl<'f> Backwards<'f> {
    /// Returns the lines in the first `length` bytes of `file`. Lines may have at most `limit` bytes.
    pub(super) fn new(file: &'f File, length: u64, limit: usize) -> Self {
        Self::in_blocks_of(BLOCK, file, length, limit)
    }

    /// Like [`Self::new`], with another block size.
    fn in_blocks_of(block: usize, file: &'f File, length: u64, limit: usize) -> Self {
        let progress = if length == 0 { Progress::Finished } else { Progress::NotStarted };
        let (buffer, end, searched) = (Vec::new(), 0, 0);
        Self { file, limit, block, buffer, end, searched, offset: length, progress, is_partial: false }
    }

    /// Reads until a complete line is available; returns whether there is one.
    ///
    /// # Errors
    ///
    /// Returns [`LineError::TooLong`] if the line is over the limit, and [`LineError::Read`] if the file cannot be read or
    /// has become shorter.
    pub(super) fn has_line(&mut self) -> Result<bool, LineError> {
        match self.progress {
            Progress::Finished => return Ok(false),
            Progress::Found => return Ok(true),
            Progress::Searching => {}
            Progress::NotStarted => {
                self.fill()?;
                self.progress = Progress::Searching;
                self.is_partial = self.buffer[self.end - 1] != b'\n';
                if !self.is_partial {
                    self.end -= 1;
                    self.searched = self.end;
                }
            }
        }
        loop {
            if let Some(newline) = memchr::memrchr(b'\n', &self.buffer[..self.searched]) {
                self.searched = newline + 1;
                break;
            }
            self.searched = 0;
            if self.offset == 0 {
                break;
            }
            if self.end > self.limit {
                let failed = |source| LineError::Read { offset: ByteOffset(self.offset), source };
                let newline = after_last_newline(self.file, 0..self.offset).map_err(failed)?;
                return Err(self.too_long(newline.unwrap_or(0)));
            }
            self.fill()?;
        }
        if self.end - self.searched > self.limit {
            return Err(self.too_long(self.offset + self.searched as u64));
        }
        self.progress = Progress::Found;
        Ok(true)
    }

    /// Returns the line that [`Self::has_line`] has found: its offset, its text, and whether it lacks its newline.
    pub(super) fn previous_line(&mut self) -> Option<(ByteOffset, Text<'_>, bool)> {
        if self.progress != Progress::Found {
            return None;
        }
        let (begin, end) = (self.searched, self.end);
        match begin.checked_sub(1) {
            Some(newline) => (self.end, self.searched, self.progress) = (newline, newline, Progress::Searching),
            None => self.progress = Progress::Finished,
        }
        let offset = ByteOffset(self.offset + begin as u64);
        Some((offset, Text::new(&self.buffer[begin..], end - begin), std::mem::take(&mut self.is_partial)))
    }

    fn too_long(&self, start: u64) -> LineError {
        LineError::TooLong { offset: ByteOffset(start), limit: self.limit }
    }

    /// Reads the block before the buffer. It is as long as the buffer, so that a long line is moved only a few times.
    fn fill(&mut self) -> Result<(), LineError> {
        let held = self.end;
        let more = usize::try_from(self.offset).unwrap_or(usize::MAX).min(self.block.max(held));
        let begin = self.offset - more as u64;
        let failed = |source| LineError::Read { offset: ByteOffset(begin), source };
        let required = more + held + 1 + PADDING;
        if self.buffer.len() < required {
            let out_of_memory = |_| failed(std::io::Error::from(std::io::ErrorKind::OutOfMemory));
            self.buffer.try_reserve_exact(required - self.buffer.len()).map_err(out_of_memory)?;
            self.buffer.resize(required, 0);
        }
        self.buffer.copy_within(..held, more);
        self.file.read_exact_at(&mut self.buffer[..more], begin).map_err(failed)?;
        self.offset = begin;
        self.searched = more;
        self.end = more + held;
        self.buffer[self.end] = b'\n';
        Ok(())
    }
}

#[cfg(test)]
mod tests;
