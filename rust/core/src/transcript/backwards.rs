//! The lines of a file from its end, in blocks, so that the last ones cost what they are and not what the file is.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::files::positional::after_last_newline;
use crate::json::{PADDING, Text};
use crate::rollout::ByteOffset;
use crate::rollout::lines::LineError;

/// Bytes that are read at a time, at the least.
const BLOCK: usize = 64 << 10;

/// The lines of a file, the last one first.
///
/// * A line is what a newline ends; the last one counts without, too.
/// * What stands behind `length` is not looked at.
/// * Memory is a block, or twice the largest line where that is larger.
pub struct Backwards<'f> {
    file: &'f File,
    limit: usize,
    block: usize,
    /// `buffer[..end]` is read and not yet given out, and a newline stands behind it.
    buffer: Vec<u8>,
    end: usize,
    /// No newline stands in `buffer[searched..end]`.
    searched: usize,
    /// Where the buffer's beginning stands in the file.
    offset: u64,
    progress: Progress,
    is_torn: bool,
}

/// How far the lines have been given out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The end of the file has not been looked at.
    Nothing,
    /// `buffer[..end]`, with what stands before it in the file, holds a further line.
    Some,
    /// That is found: it starts at `searched`.
    Found,
    /// The file's first line was given out.
    All,
}

impl<'f> Backwards<'f> {
    /// The lines, of at most `limit` bytes, in the first `length` bytes of `file`.
    #[must_use]
    pub fn new(file: &'f File, length: u64, limit: usize) -> Self {
        Self::in_blocks_of(BLOCK, file, length, limit)
    }

    /// As [`Self::new`], with a block of another size.
    pub(super) fn in_blocks_of(block: usize, file: &'f File, length: u64, limit: usize) -> Self {
        let progress = if length == 0 { Progress::All } else { Progress::Nothing };
        let (buffer, end, searched) = (Vec::new(), 0, 0);
        Self { file, limit, block, buffer, end, searched, offset: length, progress, is_torn: false }
    }

    /// Reads until a whole line is there; whether there is one.
    ///
    /// # Errors
    ///
    /// [`LineError::TooLong`] where the next line is over the limit, [`LineError::Read`] where reading fails or the file
    /// has become shorter.
    pub fn has_line(&mut self) -> Result<bool, LineError> {
        match self.progress {
            Progress::All => return Ok(false),
            Progress::Found => return Ok(true),
            Progress::Some => {}
            Progress::Nothing => {
                self.fill()?;
                self.progress = Progress::Some;
                self.is_torn = self.buffer[self.end - 1] != b'\n';
                if !self.is_torn {
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

    /// The line that [`Self::has_line`] has found: where it starts, what it says, whether it lacks its newline.
    pub fn previous_line(&mut self) -> Option<(ByteOffset, Text<'_>, bool)> {
        if self.progress != Progress::Found {
            return None;
        }
        let (begin, end) = (self.searched, self.end);
        match begin.checked_sub(1) {
            Some(newline) => (self.end, self.searched, self.progress) = (newline, newline, Progress::Some),
            None => self.progress = Progress::All,
        }
        let offset = ByteOffset(self.offset + begin as u64);
        Some((offset, Text::new(&self.buffer[begin..], end - begin), std::mem::take(&mut self.is_torn)))
    }

    fn too_long(&self, start: u64) -> LineError {
        LineError::TooLong { offset: ByteOffset(start), limit: self.limit }
    }

    /// Reads what stands before what there is: as much as there is already, so that a long line is moved seldom.
    fn fill(&mut self) -> Result<(), LineError> {
        let held = self.end;
        let more = usize::try_from(self.offset).unwrap_or(usize::MAX).min(self.block.max(held));
        let begin = self.offset - more as u64;
        let failed = |source| LineError::Read { offset: ByteOffset(begin), source };
        let wanted = more + held + 1 + PADDING;
        if self.buffer.len() < wanted {
            let out_of_memory = |_| failed(std::io::Error::from(std::io::ErrorKind::OutOfMemory));
            self.buffer.try_reserve_exact(wanted - self.buffer.len()).map_err(out_of_memory)?;
            self.buffer.resize(wanted, 0);
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
