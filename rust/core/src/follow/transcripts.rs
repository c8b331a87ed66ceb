//! The two files that are appended to.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::checkpoint::Extent;
use crate::files::fingerprint;
use crate::files::open;
use crate::files::positional::{after_last_newline, read_at, write_all_at};
use crate::files::regular::FileId;
use crate::state_dir::StateDir;

/// Bytes that are compared at a time.
const CHUNK: usize = 64 << 10;

/// A file that only ever grows. What stands behind the place where it is to go on is taken to be what is written next, by
/// one who was stopped: it is compared, and cut from where it differs.
pub struct Transcript {
    file: File,
    /// Where the next byte goes.
    length: u64,
    /// Where what was found ends.
    found: u64,
    /// Whether some of it was cut because it differed.
    is_cut: bool,
}

impl Transcript {
    /// Opens or makes a file of the state dir, and its folder.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn open(dir: &StateDir, path: &Path) -> io::Result<Self> {
        let mut options = open::options();
        let file = open::open_or_make(dir, path, options.read(true).write(true).create(true).truncate(false))?;
        let found = file.metadata()?.len();
        Ok(Self { file, length: 0, found, is_cut: false })
    }

    /// Whether the file is there, as it was opened, and holds what was written and nothing else.
    #[must_use]
    pub fn is_as_left(&self, path: &Path) -> bool {
        let (Ok(open), Ok(there)) = (self.file.metadata(), fs::metadata(path)) else { return false };
        FileId::from(&open) == FileId::from(&there) && there.len() == self.length
    }

    /// Goes on behind `extent`; `false` where the file is not like that.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn go_on_behind(&mut self, extent: Extent) -> io::Result<bool> {
        if self.found < extent.length || self.extent_at(extent.length)? != extent {
            return Ok(false);
        }
        self.length = extent.length;
        Ok(true)
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where the next byte goes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// How many bytes stand behind that.
    #[must_use]
    pub fn left_over(&self) -> u64 {
        self.found.saturating_sub(self.length)
    }

    /// Whether something was cut because it was not what was to be written, told once.
    pub fn take_cut(&mut self) -> bool {
        std::mem::take(&mut self.is_cut)
    }

    /// Whether `bytes` stand behind where it goes on.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn stands_next(&self, bytes: &[u8]) -> io::Result<bool> {
        Ok(self.same(bytes)? == bytes.len())
    }

    /// Goes on from an earlier place.
    pub fn go_back_to(&mut self, length: u64) {
        self.length = self.length.min(length);
    }

    /// What the file is like up to where it goes on.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn extent(&self) -> io::Result<Extent> {
        self.extent_at(self.length)
    }

    fn extent_at(&self, length: u64) -> io::Result<Extent> {
        Ok(Extent { length, end: fingerprint::before(&self.file, length)? })
    }

    /// Takes in `count` bytes that stand behind where it goes on.
    pub fn pass_over(&mut self, count: u64) {
        self.length = (self.length + count).min(self.found.max(self.length));
    }

    /// Cuts what stands behind where it goes on.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.found = self.length;
        Ok(())
    }

    /// Takes in the whole lines that stand behind where it goes on, and cuts the half one.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn keep_whole_lines(&mut self) -> io::Result<()> {
        self.length = after_last_newline(&self.file, self.length..self.found)?.unwrap_or(self.length);
        if self.left_over() > 0 { self.cut() } else { Ok(()) }
    }

    /// Cuts the half line at the end of the file, which was appended behind `start`: the disk may have been full.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn cut_partial_line(&mut self, start: u64) -> io::Result<()> {
        self.found = self.file.metadata()?.len();
        self.go_back_to(start);
        self.keep_whole_lines()
    }

    /// How many bytes, of those that stand behind where it goes on, are the beginning of `bytes`.
    fn same(&self, bytes: &[u8]) -> io::Result<usize> {
        let there = usize::try_from(self.left_over()).unwrap_or(usize::MAX).min(bytes.len());
        let mut chunk = vec![0; CHUNK.min(there)];
        let mut same = 0;
        while same < there {
            let wanted = CHUNK.min(there - same);
            let count = read_at(&self.file, &mut chunk[..wanted], self.length + same as u64)?;
            let differing = chunk[..count].iter().zip(&bytes[same..]).position(|(one, other)| one != other);
            same += differing.unwrap_or(count);
            if differing.is_some() || count == 0 {
                break;
            }
        }
        Ok(same)
    }
}

impl Write for Transcript {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left_over() == 0 {
            write_all_at(&self.file, bytes, self.length)?;
            self.length += bytes.len() as u64;
            self.found = self.length;
            return Ok(bytes.len());
        }
        let same = self.same(bytes)?;
        self.length += same as u64;
        if same < bytes.len() && self.left_over() > 0 {
            self.cut()?;
            self.is_cut = true;
        }
        Ok(if same == 0 && !bytes.is_empty() { self.write(bytes)? } else { same })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
