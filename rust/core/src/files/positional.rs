//! Reading and writing at an offset of a file. Tests can simulate a full disk.

use std::borrow::Borrow;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Writes all of `bytes` at `offset`.
///
/// # Errors
///
/// Returns an error if the file cannot be written. Some of the bytes may have been written then.
pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(test)]
    if let Some(fitting) = full::fitting(bytes.len()) {
        file.write_all_at(&bytes[..fitting], offset)?;
        return Err(io::Error::from(io::ErrorKind::StorageFull));
    }
    file.write_all_at(bytes, offset)
}

/// Reads from `offset` until `buffer` is full or the file ends. Returns the number of bytes that were read.
///
/// # Errors
///
/// Returns an error if the file cannot be read.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], offset + length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Bytes that the search for a newline reads at a time.
const BLOCK: u64 = 64 << 10;

/// Reads a range of a file, which may be shared with others that read it. After the end of the file, a further read
/// continues if the file has grown.
pub(crate) struct PositionalReader<F> {
    file: F,
    offset: u64,
    end: u64,
}

impl<F: Borrow<File>> PositionalReader<F> {
    /// Reads `file` from `offset` to its end.
    pub(crate) fn new(file: F, offset: u64) -> Self {
        Self { file, offset, end: u64::MAX }
    }

    /// Reads the bytes of `range`, or fewer if the file ends before.
    pub(crate) fn within(file: F, range: Range<u64>) -> Self {
        Self { file, offset: range.start, end: range.end }
    }

    /// Returns the offset of the next byte in the file.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }
}

impl<F: Borrow<File>> Read for PositionalReader<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let remaining = usize::try_from(self.end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let length = buffer.len().min(remaining);
        if length == 0 {
            return Ok(0);
        }
        let count = self.file.borrow().read_at(&mut buffer[..length], self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// Returns the offset after the last newline in `range` of `file`, or `None` if the range contains no newline.
/// Reads backwards from the end of the range.
///
/// # Errors
///
/// Returns [`io::ErrorKind::UnexpectedEof`] if the file ends before the range, or an error if it cannot be read.
pub(crate) fn after_last_newline(file: &File, range: Range<u64>) -> io::Result<Option<u64>> {
    let Range { start, mut end } = range;
    let mut block = Vec::new();
    while end > start {
        let begin = end.saturating_sub(BLOCK).max(start);
        block.resize(usize::try_from(end - begin).unwrap_or(0), 0);
        if read_at(file, &mut block, begin)? < block.len() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        if let Some(newline) = memchr::memrchr(b'\n', &block) {
            return Ok(Some(begin + newline as u64 + 1));
        }
        end = begin;
    }
    Ok(None)
}

/// A simulated full disk, for the current thread.
#[cfg(test)]
pub(crate) mod full {
    use std::cell::Cell;

    thread_local! {
        /// The number of bytes that can still be written, if it is limited.
        static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    }

    /// Runs `act` on a disk that has room for `bytes` bytes.
    pub(crate) fn after<T>(bytes: usize, act: impl FnOnce() -> T) -> T {
        LEFT.set(Some(bytes));
        let result = act();
        LEFT.set(None);
        result
    }

    /// Returns how many of `count` bytes can be written, or `None` if all can.
    pub(super) fn fitting(count: usize) -> Option<usize> {
        let left = LEFT.get()?;
        LEFT.set(Some(left.saturating_sub(count)));
        (left < count).then_some(left)
    }
}
