//! The files of rollouts: finding a rollout that was moved or compressed, checking whether it still begins with the copied
//! bytes, and finding its complete lines.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::files::fingerprint::{Fingerprint, HASHED, hash};
use crate::files::positional::{PositionalReader, after_last_newline, read_at};
use crate::files::regular::{FileId, open_regular};
use crate::rollout::decompression::Input;
use serde::{Deserialize, Serialize};

/// The number of bytes that the search for a newline reads at a time.
const CHUNK: usize = 64 << 10;

/// The folder next to `sessions` into which Codex moves archived rollouts (0.163, 0.169).
const ARCHIVE: &str = "archived_sessions";

/// A rollout in the checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FollowedRollout {
    /// The path in the hooks' list. The file may have been moved or compressed since.
    pub(crate) path: String,
    /// The bytes that have been copied; `None` if they are not known.
    pub(crate) copied: Option<CopiedPrefix>,
}

/// The beginning of a rollout that has been copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CopiedPrefix {
    /// The length in bytes, after decompression.
    pub(crate) length: u64,
    /// The hash of the first bytes.
    pub(crate) start: Fingerprint,
    /// The hash of the last bytes.
    pub(crate) end: Fingerprint,
}

/// The metadata of a file that change with its content. The default describes no file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileStamp {
    id: FileId,
    size: u64,
    changed: (i64, i64),
}

impl FileStamp {
    /// Returns the stamp of the file at `path`.
    ///
    /// # Errors
    ///
    /// Returns an error if the metadata cannot be read.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::from(&metadata))
    }
}

impl From<&Metadata> for FileStamp {
    fn from(metadata: &Metadata) -> Self {
        Self { id: FileId::from(metadata), size: metadata.size(), changed: (metadata.ctime(), metadata.ctime_nsec()) }
    }
}

/// An open rollout.
pub(super) struct RolloutFile {
    /// The path at which it was found.
    pub(crate) path: PathBuf,
    file: File,
    /// Whether it is compressed, and so can only be read from its start.
    pub(crate) is_compressed: bool,
    /// Its stamp when it was opened.
    pub(crate) stamp: FileStamp,
}

impl RolloutFile {
    /// Opens the rollout with this path: there, in the archive, or compressed in either folder.
    ///
    /// # Errors
    ///
    /// Returns [`io::ErrorKind::NotFound`] if it is in none of these places, and an error if it cannot be opened or is not
    /// a regular file.
    pub(super) fn find(path: &Path) -> io::Result<Self> {
        let with_zst = |path: &Path| {
            let mut path = path.as_os_str().to_owned();
            path.push(".zst");
            PathBuf::from(path)
        };
        let archived = archived(path);
        let candidates =
            [Some(path.to_owned()), archived.clone(), Some(with_zst(path)), archived.as_deref().map(with_zst)];
        for candidate in candidates.into_iter().flatten() {
            match Self::open(&candidate) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                opened => return opened,
            }
        }
        Err(io::Error::from(io::ErrorKind::NotFound))
    }

    fn open(path: &Path) -> io::Result<Self> {
        let file = open_regular(path)?;
        let stamp = FileStamp::from(&file.metadata()?);
        let is_compressed = path.extension() == Some(OsStr::new("zst"));
        Ok(Self { path: path.to_owned(), file, is_compressed, stamp })
    }

    /// Returns a reader of the bytes from the offset `from`.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read, or is compressed and damaged.
    pub(super) fn read_from(&self, from: u64) -> io::Result<Box<dyn Read + '_>> {
        if self.is_compressed {
            let mut input = Input::open(&self.path)?;
            io::copy(&mut input.by_ref().take(from), &mut io::sink())?;
            return Ok(Box::new(input));
        }
        Ok(Box::new(PositionalReader::new(&self.file, from)))
    }

    /// Returns whether the rollout still begins with the copied bytes. Compares their first and last bytes only.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read, or is compressed and damaged.
    pub(super) fn begins_with(&self, copied: &CopiedPrefix) -> io::Result<bool> {
        if copied.length == 0 {
            return Ok(true);
        }
        if !self.is_compressed && self.stamp.size < copied.length {
            return Ok(false);
        }
        Ok(self.prefix(copied.length)?.as_ref() == Some(copied))
    }

    /// Returns the description of the first `length` bytes, or `None` if the rollout is shorter.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read, or is compressed and damaged.
    pub(super) fn prefix(&self, length: u64) -> io::Result<Option<CopiedPrefix>> {
        let hashed = length.min(HASHED);
        let (mut start, mut end) = (Vec::new(), Vec::new());
        if self.is_compressed {
            let mut input = Input::open(&self.path)?;
            input.by_ref().take(hashed).read_to_end(&mut start)?;
            // The two ranges may overlap.
            let between = (length - hashed).saturating_sub(hashed);
            io::copy(&mut input.by_ref().take(between), &mut io::sink())?;
            end.extend_from_slice(
                &start[usize::try_from((length - hashed).min(hashed)).unwrap_or(0).min(start.len())..],
            );
            input.take(hashed - (end.len() as u64).min(hashed)).read_to_end(&mut end)?;
        } else {
            for (bytes, at) in [(&mut start, 0), (&mut end, length - hashed)] {
                bytes.resize(usize::try_from(hashed).unwrap_or(0), 0);
                let count = read_at(&self.file, bytes, at)?;
                bytes.truncate(count);
            }
        }
        let is_complete = start.len() as u64 == hashed && end.len() as u64 == hashed;
        Ok(is_complete.then(|| CopiedPrefix { length, start: hash(&start), end: hash(&end) }))
    }

    /// Returns the hash of the last bytes of the partial line `from..until`. Returns `None` if the file is shorter or
    /// compressed.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub(super) fn partial_line_end(&self, from: u64, until: u64) -> io::Result<Option<Fingerprint>> {
        let length = until.saturating_sub(from).min(HASHED);
        if self.is_compressed || length == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let count = read_at(&self.file, &mut bytes, until - length)?;
        Ok((count == bytes.len()).then(|| hash(&bytes)))
    }

    /// Returns the end of the complete lines that a step copies from the offset `from`: at most `step` bytes, or the first
    /// line if that is longer. Returns `None` if no line is complete.
    ///
    /// There must be no newline between `from` and `searched`, which is advanced to the end of the search.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read, or is compressed and damaged.
    pub(super) fn complete_lines(&self, from: u64, searched: &mut u64, step: u64) -> io::Result<Option<u64>> {
        *searched = from.max(*searched);
        if self.is_compressed {
            return self.complete_lines_streamed(from, searched, step);
        }
        let size = self.file.metadata()?.size();
        // Backwards from the end, so that little is read even if much is new.
        let bound = size.min(from.saturating_add(step));
        match after_last_newline(&self.file, *searched..bound) {
            // The file has just been truncated. The next pass handles that.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Ok(None) => {}
            end => return end,
        }
        *searched = (*searched).max(bound);
        let mut chunk = vec![0; CHUNK];
        while *searched < size {
            let count = read_at(&self.file, &mut chunk, *searched)?;
            if count == 0 {
                break;
            }
            if let Some(newline) = memchr::memchr(b'\n', &chunk[..count]) {
                return Ok(Some(*searched + newline as u64 + 1));
            }
            *searched += count as u64;
        }
        Ok(None)
    }

    fn complete_lines_streamed(&self, from: u64, searched: &mut u64, step: u64) -> io::Result<Option<u64>> {
        let mut input = self.read_from(*searched)?;
        let mut chunk = vec![0; CHUNK];
        let mut found = None;
        loop {
            let count = input.read(&mut chunk)?;
            if count == 0 || (found.is_some() && *searched - from >= step) {
                return Ok(found);
            }
            let newline = memchr::memrchr(b'\n', &chunk[..count]);
            found = newline.map(|newline| *searched + newline as u64 + 1).or(found);
            *searched += count as u64;
        }
    }
}

/// Returns the path to which Codex moves the rollout if it archives it: out of `sessions/YYYY/MM/DD`.
fn archived(path: &Path) -> Option<PathBuf> {
    let sessions = path.ancestors().nth(4)?;
    (sessions.file_name() == Some(OsStr::new("sessions")))
        .then(|| sessions.with_file_name(ARCHIVE).join(path.file_name().unwrap_or_default()))
}
