//! The raw and the common transcript: append-only files that can be completed after an interruption.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::checkpoint::Extent;
use crate::files::fingerprint;
use crate::files::open;
use crate::files::positional::{after_last_newline, read_at, write_all_at};
use crate::files::regular::FileId;
use crate::state_dir::StateDir;

/// The number of bytes that are compared at a time.
const CHUNK: usize = 64 << 10;

/// An append-only file.
///
/// The file may be longer than the position at which writing continues, because an interrupted process has written more
/// than its checkpoint covers. These unverified bytes are compared with the bytes that are written next. They are cut where
/// they differ.
pub(super) struct Transcript {
    file: File,
    /// The offset of the next byte to write.
    length: u64,
    /// The length of the file.
    file_length: u64,
    /// Whether unverified bytes were cut because they differed.
    was_cut: bool,
}

impl Transcript {
    /// Opens a file of the state directory, and creates it and its folder if they do not exist. All of its bytes are
    /// unverified.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be opened or created.
    pub(super) fn open(dir: &StateDir, path: &Path) -> io::Result<Self> {
        let mut options = open::options();
        let file = open::open_or_create(dir, path, options.read(true).write(true).create(true).truncate(false))?;
        let file_length = file.metadata()?.len();
        Ok(Self { file, length: 0, file_length, was_cut: false })
    }

    /// Returns whether `path` is still this file, and has the length that was written.
    pub(super) fn is_unchanged(&self, path: &Path) -> bool {
        let (Ok(open), Ok(found)) = (self.file.metadata(), fs::metadata(path)) else { return false };
        FileId::from(&open) == FileId::from(&found) && found.len() == self.length
    }

    /// Continues after `extent`. Returns `false` if the file does not match it.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub(super) fn resume_at(&mut self, extent: Extent) -> io::Result<bool> {
        if self.file_length < extent.length || self.extent_at(extent.length)? != extent {
            return Ok(false);
        }
        self.length = extent.length;
        Ok(true)
    }

    /// Returns the file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Returns the offset of the next byte to write.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Returns the number of unverified bytes, which follow that offset.
    pub(super) fn unverified(&self) -> u64 {
        self.file_length.saturating_sub(self.length)
    }

    /// Returns whether unverified bytes were cut because they differed, and resets that.
    pub(super) fn take_was_cut(&mut self) -> bool {
        std::mem::take(&mut self.was_cut)
    }

    /// Returns whether the unverified bytes begin with `bytes`.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub(super) fn continues_with(&self, bytes: &[u8]) -> io::Result<bool> {
        Ok(self.matching(bytes)? == bytes.len())
    }

    /// Continues at the earlier offset `length`. The bytes after it become unverified.
    pub(super) fn rewind_to(&mut self, length: u64) {
        self.length = self.length.min(length);
    }

    /// Returns the length and the hash of the end of the bytes that were written.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub(super) fn extent(&self) -> io::Result<Extent> {
        self.extent_at(self.length)
    }

    fn extent_at(&self, length: u64) -> io::Result<Extent> {
        Ok(Extent { length, end: fingerprint::before(&self.file, length)? })
    }

    /// Keeps `count` unverified bytes as if they had been written now.
    pub(super) fn advance(&mut self, count: u64) {
        self.length = (self.length + count).min(self.file_length.max(self.length));
    }

    fn cut_unverified(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file_length = self.length;
        Ok(())
    }

    /// Keeps the complete lines of the unverified bytes, and cuts the partial line after them.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read or truncated.
    pub(super) fn keep_complete_lines(&mut self) -> io::Result<()> {
        self.length = after_last_newline(&self.file, self.length..self.file_length)?.unwrap_or(self.length);
        if self.unverified() > 0 { self.cut_unverified() } else { Ok(()) }
    }

    /// Cuts a partial line at the end of the file that was appended after the offset `start`, for example because the disk
    /// was full.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read or truncated.
    pub(super) fn cut_partial_line(&mut self, start: u64) -> io::Result<()> {
        self.file_length = self.file.metadata()?.len();
        self.rewind_to(start);
        self.keep_complete_lines()
    }

    /// Returns the length of the common prefix of the unverified bytes and `bytes`.
    fn matching(&self, bytes: &[u8]) -> io::Result<usize> {
        let unverified = usize::try_from(self.unverified()).unwrap_or(usize::MAX).min(bytes.len());
        let mut chunk = vec![0; CHUNK.min(unverified)];
        let mut matching = 0;
        while matching < unverified {
            let length = CHUNK.min(unverified - matching);
            let count = read_at(&self.file, &mut chunk[..length], self.length + matching as u64)?;
            let difference = chunk[..count].iter().zip(&bytes[matching..]).position(|(found, byte)| found != byte);
            matching += difference.unwrap_or(count);
            if difference.is_some() || count == 0 {
                break;
            }
        }
        Ok(matching)
    }
}

impl Write for Transcript {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.unverified() == 0 {
            write_all_at(&self.file, bytes, self.length)?;
            self.length += bytes.len() as u64;
            self.file_length = self.length;
            return Ok(bytes.len());
        }
        let matching = self.matching(bytes)?;
        self.length += matching as u64;
        if matching < bytes.len() && self.unverified() > 0 {
            self.cut_unverified()?;
            self.was_cut = true;
        }
        Ok(if matching == 0 && !bytes.is_empty() { self.write(bytes)? } else { matching })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
