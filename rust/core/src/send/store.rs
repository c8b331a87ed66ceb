//! The records of messages in the state directory, which only the user can read.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::files::file_error::FileError;
use crate::files::lock::{LockedFile, try_acquire};
use crate::files::open;
use crate::files::regular::read_regular;
use crate::state_dir::StateDir;

use super::record::Record;
use super::token::Token;

/// How long a record is kept. mngr repeats a command within minutes.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// The most records that are kept.
const MAX_RECORDS: usize = 300;
/// The permissions of the records.
const PRIVATE: u32 = 0o600;
const EXTENSION: &str = "json";

/// The folder with the records of an agent's messages.
pub(super) struct Store {
    folder: PathBuf,
}

impl Store {
    /// Opens the folder, and creates it in an existing state directory.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be created.
    pub(super) fn open(dir: &StateDir) -> Result<Self, FileError> {
        let folder = dir.messages();
        for (path, mode) in [(dir.own(), 0o777), (folder.clone(), 0o700)] {
            match DirBuilder::new().mode(mode).create(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(FileError::on("create", &path)(error));
                }
                _ => {}
            }
        }
        Ok(Self { folder })
    }

    /// Locks the folder for this process. Returns `None` if another one sends a message.
    ///
    /// # Errors
    ///
    /// Returns an error if the lock cannot be used.
    pub(super) fn try_lock(&self) -> Result<Option<LockedFile>, FileError> {
        let path = self.folder.join("lock");
        let file = open::options().write(true).create(true).truncate(false).mode(PRIVATE).open(&path);
        file.and_then(try_acquire).map_err(FileError::on("lock", &path))
    }

    /// Reads the record of a message. Returns `None` if there is none that can be read.
    pub(super) fn read(&self, token: &Token) -> Option<Record> {
        read(&self.path(token))
    }

    /// Replaces the record of a message. The caller must have locked the folder.
    ///
    /// # Errors
    ///
    /// Returns an error if the record cannot be written.
    pub(super) fn write(&self, token: &Token, record: &Record) -> Result<(), FileError> {
        let temporary = self.folder.join("unfinished");
        let content = serde_json::to_vec(record).map_err(io::Error::other);
        let write = |content: Vec<u8>| {
            let _ = fs::remove_file(&temporary);
            let mut file: File = open::options().write(true).create_new(true).mode(PRIVATE).open(&temporary)?;
            file.write_all(&content)?;
            fs::rename(&temporary, self.path(token))
        };
        content.and_then(write).map_err(FileError::on("write", &self.path(token)))
    }

    /// Removes old records. Returns the tokens of other messages that were not sent completely.
    pub(super) fn clean_up(&self, own: &Token) -> Vec<Token> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut records: Vec<(SystemTime, PathBuf)> = entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION))
            .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
            .collect();
        records.sort();
        let excess = records.len().saturating_sub(MAX_RECORDS);
        let mut unfinished = Vec::new();
        for (number, (modified, path)) in records.iter().enumerate() {
            let Some(token) = token_of(path).filter(|token| token != own) else { continue };
            if read(path).is_some_and(|record| record.outcome().is_none()) {
                unfinished.push(token);
            }
            // A time in the future is not old: the clock may have been set back.
            if number < excess || modified.elapsed().is_ok_and(|age| age > MAX_AGE) {
                let _ = fs::remove_file(path);
            }
        }
        unfinished
    }

    fn path(&self, token: &Token) -> PathBuf {
        self.folder.join(token.as_str()).with_extension(EXTENSION)
    }
}

fn read(path: &Path) -> Option<Record> {
    serde_json::from_slice(&read_regular(path).ok()?).ok()
}

fn token_of(path: &Path) -> Option<Token> {
    path.file_stem()?.to_str()?.parse().ok()
}
