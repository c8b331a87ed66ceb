//! Hook runs that could not acquire the lock. Each is kept in its own file until the next owner of the lock applies it.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::files::atomic_write::AtomicFile;
use crate::files::checksummed;
use crate::files::file_error::FileError;
use crate::state_dir::StateDir;

use super::hook::HookRun;
use super::marker_files::{names_in, remove};

/// The version of the serialized form of a [`HookRun`].
const VERSION: u8 = 5;

/// The number of attempts to write into a folder that other processes remove. More than one is rarely needed.
const MAX_ATTEMPTS: u32 = 100;

/// Stores a run for the next owner of the lock, without waiting for anything.
///
/// # Errors
///
/// Returns an error if the run cannot be written.
pub(super) fn defer(dir: &StateDir, run: &HookRun) -> Result<(), FileError> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let folder = dir.lifecycle_pending();
    let (number, process) = (COUNTER.fetch_add(1, Ordering::Relaxed), std::process::id());
    // Sorting the names sorts the runs by time.
    let path = folder.join(format!("{:020}-{number:010}-{process}", run.at));
    let bytes = checksummed::encode(VERSION, run);
    let mut attempts = 1;
    loop {
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(FileError::on("create", &folder)(error));
            }
            _ => {}
        }
        let written =
            AtomicFile::create(&path).and_then(|mut file| file.write_all(&bytes).and_then(|()| file.commit()));
        match written {
            // Most likely the process that applied the earlier runs has removed the folder. The error differs between
            // file systems.
            Err(_) if attempts < MAX_ATTEMPTS => attempts += 1,
            written => return written.map_err(FileError::on("write", &path)),
        }
    }
}

/// The files of deferred runs that were read. Only the owner of the lock may read and remove them.
pub(super) struct DeferredRuns {
    folder: PathBuf,
    files: Vec<PathBuf>,
}

impl DeferredRuns {
    /// Reads the deferred runs, oldest first. Returns `None` if their folder does not exist. Damaged and unreadable files
    /// are skipped, so that they block no other event.
    pub(super) fn read(dir: &StateDir) -> Option<(Self, Vec<HookRun>)> {
        let folder = dir.lifecycle_pending();
        let mut names = names_in(&folder).ok().flatten()?;
        // Names of unfinished files begin with a dot.
        names.retain(|name| !name.starts_with('.'));
        names.sort_unstable();
        let (mut runs, mut files) = (Vec::new(), Vec::new());
        for path in names.iter().map(|name| folder.join(name)) {
            let is_file = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
            if is_file && let Ok(bytes) = fs::read(&path) {
                runs.extend(checksummed::decode::<HookRun>(VERSION, &bytes));
                files.push(path);
            }
        }
        Some((Self { folder, files }, runs))
    }

    /// Returns whether no files were found.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Removes the files.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be removed.
    pub(super) fn remove(self) -> Result<(), FileError> {
        for path in &self.files {
            remove(path)?;
        }
        // If another run was deferred in the meantime, the folder is not empty and stays.
        let _ = fs::remove_dir(self.folder);
        Ok(())
    }
}
