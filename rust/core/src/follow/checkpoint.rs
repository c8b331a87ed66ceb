//! How far following came, on disk, under one lock.
//!
//! One file holds two places for the checkpoint, and a third for the intent of the step that is under way: which bytes of
//! which source are being appended. A step writes its intent, appends, and writes the checkpoint, whose number makes
//! the intent void.

use std::fs::{self, File};
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::source::Source;
use crate::convert::Checkpoint as Conversion;
use crate::files::checksummed;
use crate::files::lock::{self, LockError};
use crate::files::open;
use crate::files::positional::{read_at, write_all_at};
use crate::files::regular::FileId;
use crate::files::slots::Form;
use crate::state_dir::StateDir;

/// The form of the checkpoint in its file. Tests copy that file often.
const FORM: Form = Form { version: 1, second: if cfg!(test) { 128 << 10 } else { 4 << 20 }, first_read: 16 << 10 };

/// Where the intent stands, in bytes: behind the two places.
pub(super) const INTENT: u64 = 2 * FORM.second;

/// Bytes of an intent at the most.
const MOST_INTENT: usize = 256;

/// How far following came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Bytes of the list of rollouts that were taken in.
    pub listed: u64,
    /// The rollout that is current, by its place among the sources.
    pub current: Option<u32>,
    /// The rollouts.
    pub sources: Vec<Source>,
    /// The raw transcript.
    pub raw: Extent,
    /// The common transcript.
    pub common: Extent,
    /// The conversion from the one to the other; none where nothing was converted.
    pub conversion: Option<Conversion>,
}

/// What a file is to be like up to a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Its bytes.
    pub length: u64,
    /// The hash of the last of them.
    pub end: [u8; 16],
}

/// What a step is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    /// Append to the raw transcript.
    Append {
        /// The source, by its place.
        source: u32,
        /// Where the first byte stands in it.
        from: u64,
        /// Where the last one ends.
        to: u64,
    },
    /// Let go all records that wait.
    Release,
}

/// What was found on disk.
#[derive(Debug, Default)]
pub struct Found {
    /// The checkpoint's number, 0 where there is none.
    pub number: u64,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The step that was not completed.
    pub intent: Option<Intent>,
    /// Whether there is something that is no checkpoint, or of another version.
    pub is_broken: bool,
}

/// The checkpoint's file, locked.
pub struct Locked {
    file: File,
}

impl Locked {
    /// Locks the file, which is made where it is missing; waits no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`LockError`]
    pub fn open(dir: &StateDir, timeout: Duration) -> Result<Self, LockError> {
        let path = dir.following();
        loop {
            let mut options = open::options();
            let file = open::open_or_make(dir, &path, options.read(true).write(true).create(true).truncate(false))?;
            lock::exclusive_in_turn(&file, &dir.following_queue(), timeout)?;
            // Someone may have removed it meanwhile: then this is the lock of nobody.
            let (locked, there) = (file.metadata()?, fs::metadata(&path));
            if there.is_ok_and(|there| FileId::from(&there) == FileId::from(&locked)) {
                return Ok(Self { file });
            }
        }
    }

    /// Which file it is, and the number of the checkpoint in it: the same as long as nobody else wrote one.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn stamp(&self) -> io::Result<(FileId, u64)> {
        Ok((FileId::from(&self.file.metadata()?), FORM.number(&self.file)?))
    }

    /// Reads what is there.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn read(&self) -> io::Result<Found> {
        let found = FORM.read::<Checkpoint>(&self.file)?;
        if found.number == 0 {
            return Ok(Found { is_broken: found.is_broken, ..Found::default() });
        }
        let mut bytes = [0; MOST_INTENT];
        let length = read_at(&self.file, &mut bytes, INTENT)?;
        let intent = bytes[..length].split_first().and_then(|(size, rest)| {
            let sealed = rest.get(..usize::from(*size))?;
            let (number, intent) = checksummed::open::<(u64, Intent)>(FORM.version, sealed).ok()?;
            (number == found.number).then_some(intent)
        });
        Ok(Found { number: found.number, checkpoint: found.state, intent, is_broken: false })
    }

    /// Says what the step behind checkpoint `number` is about to append.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn write_intent(&self, number: u64, intent: Intent) -> io::Result<()> {
        let sealed = checksummed::seal(FORM.version, &(number, intent));
        let size = u8::try_from(sealed.len()).map_err(io::Error::other)?;
        write_all_at(&self.file, &[&[size], &sealed[..]].concat(), INTENT)
    }

    /// Writes the checkpoint with this number.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn write(&self, number: u64, checkpoint: &Checkpoint) -> io::Result<()> {
        FORM.write(&self.file, number, checkpoint, false)
    }
}
