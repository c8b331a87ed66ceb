//! Runs of hooks that could not get the lock: each is kept in a file of its own, for whoever gets the lock next.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::files::atomic_write::AtomicFile;
use crate::files::checksummed;
use crate::state_dir::StateDir;

use super::hook::Run;
use super::marker_files::{names_in, remove};
use super::store::{FORM, StoreError, io_error};

/// How often a run is put off into a folder that others remove. More than once is rare.
const MOST_ATTEMPTS: u32 = 100;

/// Keeps a run whose hook could not get the lock, for whoever gets it next. Waits for nobody.
///
/// # Errors
///
/// [`StoreError::Io`]
pub fn put_off(dir: &StateDir, run: &Run) -> Result<(), StoreError> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let folder = dir.lifecycle_pending();
    let (number, process) = (NUMBER.fetch_add(1, Ordering::Relaxed), std::process::id());
    // Names sort by time.
    let path = folder.join(format!("{:020}-{number:010}-{process}", run.at));
    let sealed = checksummed::seal(FORM.version, run);
    let mut attempts = 1;
    loop {
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io_error(&folder)(error)),
            _ => {}
        }
        let written =
            AtomicFile::create(&path).and_then(|mut file| file.write_all(&sealed).and_then(|()| file.commit()));
        match written {
            // Most likely who took the runs before has removed the folder; file systems have several errors for that.
            Err(_) if attempts < MOST_ATTEMPTS => attempts += 1,
            written => return written.map_err(io_error(&path)),
        }
    }
}

/// Runs that were put off and taken. Only who has the lock may.
pub(super) struct Taken {
    folder: PathBuf,
    files: Vec<PathBuf>,
}

impl Taken {
    /// Reads the runs that were put off, in their order; `None` where there is no folder of them. What is damaged or
    /// cannot be read is passed over: it is to keep no other event from being taken in.
    pub(super) fn read(dir: &StateDir) -> Option<(Self, Vec<Run>)> {
        let folder = dir.lifecycle_pending();
        let mut names = names_in(&folder).ok().flatten()?;
        // What begins with a dot is being written.
        names.retain(|name| !name.starts_with('.'));
        names.sort_unstable();
        let (mut runs, mut files) = (Vec::new(), Vec::new());
        for path in names.iter().map(|name| folder.join(name)) {
            let is_file = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
            if is_file && let Ok(sealed) = fs::read(&path) {
                runs.extend(checksummed::open::<Run>(FORM.version, &sealed));
                files.push(path);
            }
        }
        Some((Self { folder, files }, runs))
    }

    /// Whether there were none.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Takes them away for good.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`]
    pub(super) fn remove(self) -> Result<(), StoreError> {
        for path in &self.files {
            remove(path)?;
        }
        // It stays where another run was put off meanwhile.
        let _ = fs::remove_dir(self.folder);
        Ok(())
    }
}
