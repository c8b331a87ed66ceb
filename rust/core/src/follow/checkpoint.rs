//! The progress of following, on disk and protected by a lock.
//!
//! One file holds two slots for the checkpoint, followed by the intent of the current step: which bytes of which rollout
//! are being appended. A step writes its intent, appends, and writes the checkpoint. The number of the new checkpoint
//! makes the intent obsolete.

use std::fs;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rollout_file::FollowedRollout;
use crate::convert::Checkpoint as Conversion;
use crate::files::checksummed;
use crate::files::file_error::FileError;
use crate::files::fingerprint::Fingerprint;
use crate::files::lock::{Lock, LockError, LockedFile};
use crate::files::open;
use crate::files::positional::{read_at, write_all_at};
use crate::files::regular::{FileId, open_regular};
use crate::files::slots::Layout;
use crate::state_dir::StateDir;

/// The layout of the checkpoint's file. Tests use a smaller one, because they copy the file often.
const LAYOUT: Layout =
    Layout { version: 1, second: if cfg!(test) { 128 << 10 } else { 4 << 20 }, first_read: 16 << 10 };

/// The offset of the intent, after the two slots.
pub(super) const INTENT: u64 = 2 * LAYOUT.second;

/// The maximum length of an intent in bytes.
const MAX_INTENT: usize = 256;

/// The progress of following.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// The number of bytes of the rollout list that have been processed.
    pub(crate) listed: u64,
    /// The index of the current rollout.
    pub(crate) current: Option<u32>,
    /// The rollouts.
    pub(crate) rollouts: Vec<FollowedRollout>,
    /// The raw transcript.
    pub(crate) raw: Extent,
    /// The common transcript.
    pub common: Extent,
    /// The state of the conversion; `None` for an agent without a common transcript.
    pub conversion: Option<Conversion>,
}

/// The expected length of a transcript, and the hash of its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Extent {
    /// The length in bytes.
    pub(crate) length: u64,
    /// The hash of the last bytes.
    pub(crate) end: Fingerprint,
}

/// The action of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Intent {
    /// Append bytes of a rollout to the raw transcript.
    Append {
        /// The index of the rollout.
        rollout: u32,
        /// The offset of the first byte in the rollout.
        from: u64,
        /// The offset after the last byte.
        to: u64,
    },
    /// Emit all records that wait for their token counts.
    Release,
}

/// The content of the checkpoint's file.
#[derive(Debug, Default)]
pub(super) struct LoadedCheckpoint {
    /// The number of the checkpoint; 0 for a missing checkpoint.
    pub number: u64,
    /// The checkpoint.
    pub(crate) checkpoint: Checkpoint,
    /// The action of a step that was not completed.
    pub intent: Option<Intent>,
    /// Whether the file holds a damaged checkpoint, or one from another version.
    pub is_damaged: bool,
}

/// The checkpoint's file, locked.
pub(super) struct CheckpointFile {
    file: LockedFile,
}

impl CheckpointFile {
    /// Opens and locks the file, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// Returns a [`LockError`] if the file cannot be opened, or another process holds the lock until `timeout` has passed.
    pub(super) fn open(dir: &StateDir, timeout: Duration) -> Result<Self, LockError> {
        let path = dir.following();
        loop {
            let mut options = open::options();
            let file = open::open_or_create(dir, &path, options.read(true).write(true).create(true).truncate(false))
                .map_err(FileError::on("open", &path))?;
            let lock = Lock { file, path: &path, resource: "transcript" };
            let file = lock.acquire_queued(&dir.following_queue(), timeout)?;
            // If the file has just been removed, other processes would lock a new one.
            let locked = file.metadata().map_err(FileError::on("read", &path))?;
            if fs::metadata(&path).is_ok_and(|found| FileId::from(&found) == FileId::from(&locked)) {
                return Ok(Self { file });
            }
        }
    }

    /// Reads the newest checkpoint without waiting for the lock. Returns `None` if there is none that is intact, or if the
    /// file cannot be read.
    pub(super) fn read_unlocked(dir: &StateDir) -> Option<Checkpoint> {
        let file = open_regular(&dir.following()).ok()?;
        let found = LAYOUT.read::<Checkpoint>(&file).ok()?;
        (found.number > 0).then_some(found.state)
    }

    /// Returns the identity of the file and the number of its checkpoint. They stay the same until another process writes
    /// a checkpoint.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub(super) fn stamp(&self) -> io::Result<(FileId, u64)> {
        Ok((FileId::from(&self.file.metadata()?), LAYOUT.number(&self.file)?))
    }

    /// Reads the checkpoint and the intent.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub(super) fn read(&self) -> io::Result<LoadedCheckpoint> {
        let found = LAYOUT.read::<Checkpoint>(&self.file)?;
        if found.number == 0 {
            return Ok(LoadedCheckpoint { is_damaged: found.is_damaged, ..LoadedCheckpoint::default() });
        }
        let mut bytes = [0; MAX_INTENT];
        let length = read_at(&self.file, &mut bytes, INTENT)?;
        let intent = bytes[..length].split_first().and_then(|(size, rest)| {
            let encoded = rest.get(..usize::from(*size))?;
            let (number, intent) = checksummed::decode::<(u64, Intent)>(LAYOUT.version, encoded).ok()?;
            (number == found.number).then_some(intent)
        });
        Ok(LoadedCheckpoint { number: found.number, checkpoint: found.state, intent, is_damaged: false })
    }

    /// Writes the intent of the step that follows checkpoint `number`.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written.
    pub(super) fn write_intent(&self, number: u64, intent: Intent) -> io::Result<()> {
        let encoded = checksummed::encode(LAYOUT.version, &(number, intent));
        let size = u8::try_from(encoded.len()).map_err(io::Error::other)?;
        write_all_at(&self.file, &[&[size], &encoded[..]].concat(), INTENT)
    }

    /// Writes `checkpoint` with this number.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written.
    pub(super) fn write(&self, number: u64, checkpoint: &Checkpoint) -> io::Result<()> {
        LAYOUT.write(&self.file, number, checkpoint, false)
    }
}
