//! Bytes written at a place of a file. Tests can have the disk full.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Writes all of `bytes` at a place of a file; where that fails, some may have been written.
///
/// # Errors
///
/// What the system says.
pub fn write_all_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    #[cfg(test)]
    if let Some(fitting) = full::fitting(bytes.len()) {
        file.write_all_at(&bytes[..fitting], at)?;
        return Err(io::Error::from(io::ErrorKind::StorageFull));
    }
    file.write_all_at(bytes, at)
}

/// Reads until `buffer` is full or the file ends; gives how much there was.
pub fn read_at(file: &File, buffer: &mut [u8], start: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], start + length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// A disk that is full, for this thread.
#[cfg(test)]
pub mod full {
    use std::cell::Cell;

    thread_local! {
        /// The bytes that still fit.
        static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    }

    /// Does something while only so many bytes fit.
    pub fn after<T>(bytes: usize, act: impl FnOnce() -> T) -> T {
        LEFT.set(Some(bytes));
        let done = act();
        LEFT.set(None);
        done
    }

    /// How many of so many bytes fit; none where all do.
    pub(super) fn fitting(wanted: usize) -> Option<usize> {
        let left = LEFT.get()?;
        LEFT.set(Some(left.saturating_sub(wanted)));
        (left < wanted).then_some(left)
    }
}
