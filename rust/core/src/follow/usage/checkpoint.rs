//! The measures of the agent's rollouts, on disk and protected by a lock.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::live_output::LiveProgress;
use crate::files::file_error::FileError;
use crate::files::lock::{Lock, LockError, LockedFile};
use crate::files::open;
use crate::files::regular::FileId;
use crate::files::slots::Layout;
use crate::follow::rollout_file::{CopiedPrefix, FileStamp};
use crate::meter::{Measures, RateLimits, Tokens};
use crate::rollout::ids::ThreadId;
use crate::state_dir::StateDir;

/// The layout of the checkpoint's file. A rollout needs less than 1 KiB.
const LAYOUT: Layout =
    Layout { version: 1, second: if cfg!(test) { 128 << 10 } else { 16 << 20 }, first_read: 16 << 10 };

/// The progress of measuring.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// The rollouts.
    pub(super) rollouts: Vec<MeasuredRollout>,
    /// The latest event of each thread.
    pub(super) reported: Vec<Reported>,
    /// The length of the events' file in bytes.
    pub(super) events_length: u64,
    /// The progress of the live output.
    pub(super) live: LiveProgress,
}

/// A rollout, and what its lines so far have shown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct MeasuredRollout {
    /// The path of the uncompressed file. The file may have been archived or compressed since.
    pub(super) path: String,
    /// The state of the file when all of its complete lines were measured. `None` if some of them were not.
    pub(super) stamp: Option<FileStamp>,
    /// The lines that were measured.
    pub(super) measured: CopiedPrefix,
    /// The bytes from there to this offset contain no newline.
    pub(super) searched: u64,
    /// What they have shown.
    pub(super) measures: Measures,
    /// What the file had shown before it was rewritten. Tokens that were used stay used.
    pub(super) least: Tokens,
    /// Whether the root wrote it. Its messages are live output.
    pub(super) is_roots: bool,
}

/// The content of the latest event of a thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Reported {
    /// The thread.
    pub(super) thread: ThreadId,
    /// Its tokens, without inherited ones.
    pub(super) tokens: Tokens,
    /// Its limits.
    pub(super) limits: RateLimits,
    /// The time of the event, in milliseconds since 1970.
    pub(super) at: u64,
}

impl MeasuredRollout {
    /// Returns the tokens of the thread's own inferences in this rollout.
    pub(super) fn tokens(&self) -> Tokens {
        self.measures.tokens.at_least(self.least)
    }

    /// Returns the name of the uncompressed file, which stays the same when Codex moves or compresses the file.
    pub(super) fn name(&self) -> &OsStr {
        name_of(Path::new(&self.path))
    }

    /// Makes the next pass measure the rollout from its start.
    pub(super) fn restart(&mut self) {
        let least = self.tokens();
        *self = Self { path: std::mem::take(&mut self.path), least, is_roots: self.is_roots, ..Self::default() };
    }
}

/// Returns the name of a rollout without `.zst`.
pub(super) fn name_of(path: &Path) -> &OsStr {
    let is_compressed = path.extension() == Some(OsStr::new("zst"));
    let name = if is_compressed { path.file_stem() } else { path.file_name() };
    name.unwrap_or_default()
}

/// The checkpoint's file, locked.
pub(super) struct CheckpointFile {
    file: LockedFile,
    number: u64,
}

impl CheckpointFile {
    /// Opens and locks the file, and creates it if it does not exist. Returns it with its content, which is empty if the
    /// file is new or damaged, and whether it is damaged.
    ///
    /// # Errors
    ///
    /// Returns a [`LockError`] if the file cannot be opened or read, or another process holds the lock until `timeout` has
    /// passed.
    pub(super) fn open(dir: &StateDir, timeout: Duration) -> Result<(Self, Checkpoint, bool), LockError> {
        let path = dir.usage();
        loop {
            let mut options = open::options();
            let file = open::open_or_create(dir, &path, options.read(true).write(true).create(true).truncate(false))
                .map_err(FileError::on("open", &path))?;
            let file = Lock { file, path: &path, resource: "usage" }.acquire_queued(&dir.usage_queue(), timeout)?;
            // If the file has just been removed, other processes would lock a new one.
            let locked = file.metadata().map_err(FileError::on("read", &path))?;
            if !fs::metadata(&path).is_ok_and(|found| FileId::from(&found) == FileId::from(&locked)) {
                continue;
            }
            let found = LAYOUT.read::<Checkpoint>(&file).map_err(FileError::on("read", &path))?;
            let is_damaged = found.number == 0 && found.is_damaged;
            return Ok((Self { file, number: found.number }, found.state, is_damaged));
        }
    }

    /// Writes the checkpoint.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written.
    pub(super) fn write(&mut self, checkpoint: &Checkpoint) -> io::Result<()> {
        self.number += 1;
        LAYOUT.write(&self.file, self.number, checkpoint, false)
    }
}
