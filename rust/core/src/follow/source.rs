//! Rollouts as sources: where they are, whether they are what they were, how far their whole lines go.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::files::fingerprint::{Fingerprint, HASHED, hash};
use crate::files::positional::{PositionalReader, after_last_newline, read_at};
use crate::files::regular::{FileId, open_regular};
use crate::rollout::input::Input;
use serde::{Deserialize, Serialize};

/// Bytes that are looked through at a time for the end of a line.
const CHUNK: usize = 64 << 10;

/// The folder beside `sessions` that codex moves archived rollouts to (0.163, 0.169).
const ARCHIVE: &str = "archived_sessions";

/// A rollout, as far as it was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its path as the hooks name it; it may have moved.
    pub path: String,
    /// What was copied; none where it is not known what of it was.
    pub copied: Option<Copied>,
}

/// What was copied of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// How many bytes from its start, decompressed ones where it is compressed.
    pub length: u64,
    /// The hash of the first of them.
    pub start: Fingerprint,
    /// The hash of the last of them.
    pub end: Fingerprint,
}

/// What a path holds, to see that nothing has changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    id: FileId,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    /// What stands at `path`.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::from(&metadata))
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self { id: FileId::from(metadata), size: metadata.size(), changed: (metadata.ctime(), metadata.ctime_nsec()) }
    }
}

/// A source that was opened.
pub struct Opened {
    /// Where it is.
    pub path: PathBuf,
    file: File,
    /// Whether its bytes are to be had from its start alone.
    pub is_compressed: bool,
    /// What it was when it was opened.
    pub stamp: Stamp,
}

impl Opened {
    /// Opens the rollout that hooks name `path`: there, in the archive, or compressed.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] where it is nowhere; what the system says.
    pub fn find(path: &Path) -> io::Result<Self> {
        let with_zst = |path: &Path| {
            let mut path = path.as_os_str().to_owned();
            path.push(".zst");
            PathBuf::from(path)
        };
        let archived = archived(path);
        let places = [Some(path.to_owned()), archived.clone(), Some(with_zst(path)), archived.as_deref().map(with_zst)];
        for place in places.into_iter().flatten() {
            match Self::open(&place) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                opened => return opened,
            }
        }
        Err(io::Error::from(io::ErrorKind::NotFound))
    }

    fn open(path: &Path) -> io::Result<Self> {
        let file = open_regular(path)?;
        let stamp = Stamp::from(&file.metadata()?);
        let is_compressed = path.extension() == Some(OsStr::new("zst"));
        Ok(Self { path: path.to_owned(), file, is_compressed, stamp })
    }

    /// Its bytes from `from` on.
    ///
    /// # Errors
    ///
    /// What the system says, and that a compressed file is broken.
    pub fn read_from(&self, from: u64) -> io::Result<Box<dyn Read + '_>> {
        if self.is_compressed {
            let mut input = Input::open(&self.path)?;
            io::copy(&mut input.by_ref().take(from), &mut io::sink())?;
            return Ok(Box::new(input));
        }
        Ok(Box::new(PositionalReader::new(&self.file, from)))
    }

    /// Whether it begins with what was copied.
    ///
    /// # Errors
    ///
    /// What the system says, and that a compressed file is broken.
    pub fn begins_with(&self, copied: &Copied) -> io::Result<bool> {
        if copied.length == 0 {
            return Ok(true);
        }
        if !self.is_compressed && self.stamp.size < copied.length {
            return Ok(false);
        }
        Ok(self.copied_until(copied.length)?.as_ref() == Some(copied))
    }

    /// What is said of it once its first `length` bytes were copied; `None` where it has not as many.
    ///
    /// # Errors
    ///
    /// What the system says, and that a compressed file is broken.
    pub fn copied_until(&self, length: u64) -> io::Result<Option<Copied>> {
        let hashed = length.min(HASHED);
        let (mut start, mut end) = (Vec::new(), Vec::new());
        if self.is_compressed {
            let mut input = Input::open(&self.path)?;
            input.by_ref().take(hashed).read_to_end(&mut start)?;
            // The end may begin inside the start.
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
        let is_whole = start.len() as u64 == hashed && end.len() as u64 == hashed;
        Ok(is_whole.then(|| Copied { length, start: hash(&start), end: hash(&end) }))
    }

    /// The hash of the last bytes of an unfinished line that starts at `from`, as far as `until`; `None` where there are not
    /// as many, and of a compressed file.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn unfinished(&self, from: u64, until: u64) -> io::Result<Option<Fingerprint>> {
        let length = until.saturating_sub(from).min(HASHED);
        if self.is_compressed || length == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let count = read_at(&self.file, &mut bytes, until - length)?;
        Ok((count == bytes.len()).then(|| hash(&bytes)))
    }

    /// Where the whole lines end that a step from `from` on copies: at `step` bytes at the most, or at the end of the
    /// first line; `None` where no line ends. No line ends between `from` and `searched`, which is moved on.
    ///
    /// # Errors
    ///
    /// What the system says, and that a compressed file is broken.
    pub fn whole_lines(&self, from: u64, searched: &mut u64, step: u64) -> io::Result<Option<u64>> {
        *searched = from.max(*searched);
        if self.is_compressed {
            return self.whole_lines_streamed(from, searched, step);
        }
        let size = self.file.metadata()?.size();
        // Back from the end, so that little is read where much is new.
        let bound = size.min(from.saturating_add(step));
        match after_last_newline(&self.file, *searched..bound) {
            // It has been cut meanwhile, which the next pass finds out.
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

    fn whole_lines_streamed(&self, from: u64, searched: &mut u64, step: u64) -> io::Result<Option<u64>> {
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

/// Where codex moves a rollout that is archived: out of `sessions/YYYY/MM/DD`.
fn archived(path: &Path) -> Option<PathBuf> {
    let sessions = path.ancestors().nth(4)?;
    (sessions.file_name() == Some(OsStr::new("sessions")))
        .then(|| sessions.with_file_name(ARCHIVE).join(path.file_name().unwrap_or_default()))
}
