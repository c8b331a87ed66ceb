//! The state on disk.
//!
//! The state has one file with two places. A new state goes to the place of the older one, so that whatever is killed
//! when, one of them is whole; the newer whole one counts. The file is also the lock (`flock`, which the kernel frees
//! when its owner ends, however that comes).
//!
//! A state is written before its marker files are, with a note that they may not fit; the note goes when they do. Who
//! finds the note makes all of them anew.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::files::lock::{self, LockError};
use crate::files::open;
use crate::files::slots::Form;
use crate::state_dir::StateDir;

use super::deferred::Taken;
use super::hook::Run;
use super::marker_files::{self, Markers};
use super::state::State;

/// The form of the state in its file. No state is as large as a place, with as many subagents as there may be and the
/// longest ids and paths.
pub(super) const FORM: Form = Form { version: 3, second: 2 << 20, first_read: 2048 };

/// Why the state could not be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such state dir.
    #[error("there is no state dir at {0}")]
    NoStateDir(String),
    /// Another process has had the lock for too long.
    #[error("the lock was not to be had within {0:?}")]
    Locked(Duration),
    /// The system failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> StoreError + '_ {
    |source| StoreError::Io { path: path.display().to_string(), source }
}

/// The state of one agent, locked.
pub struct Store<'d> {
    dir: &'d StateDir,
    file: File,
    /// The state as it is on disk.
    saved: State,
    /// The state's number; the next goes to the other place.
    number: u64,
    /// Whether the marker files may not fit.
    is_unsettled: bool,
    /// What was found damaged.
    damage: Option<&'static str>,
    /// The runs that were put off, once they were taken.
    put_off: Option<Taken>,
}

impl<'d> Store<'d> {
    /// Locks and reads the state; waits for the lock no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub fn open(dir: &'d StateDir, timeout: Duration) -> Result<Self, StoreError> {
        let path = dir.lifecycle();
        let file = open_or_make(dir, &path)?;
        lock(&file, timeout, &path)?;
        let mut store =
            Self { dir, file, saved: State::default(), number: 0, is_unsettled: true, damage: None, put_off: None };
        store.load().map_err(io_error(&path))?;
        Ok(store)
    }

    /// The state as it is, with the runs that were put off; nothing is locked, made or written.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub fn look(dir: &'d StateDir) -> Result<State, StoreError> {
        let path = dir.lifecycle();
        let mut state = match File::open(&path) {
            Ok(file) => {
                let saved = State::default();
                let mut store = Self { dir, file, saved, number: 0, is_unsettled: true, damage: None, put_off: None };
                store.load().map_err(io_error(&path))?;
                store.saved
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && dir.path().is_dir() => {
                marker_files::from_pointers(dir)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::NoStateDir(dir.path().display().to_string()));
            }
            Err(error) => return Err(io_error(&path)(error)),
        };
        for run in Taken::read(dir).map(|(_, runs)| runs).unwrap_or_default() {
            run.apply(&mut state);
        }
        Ok(state)
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.saved
    }

    /// What was found damaged when the state was read.
    #[must_use]
    pub fn damage(&self) -> Option<&'static str> {
        self.damage
    }

    /// Takes what is on disk.
    fn load(&mut self) -> io::Result<()> {
        let found = FORM.read(&self.file)?;
        // A place that is broken was being written; what it was to replace is the other one.
        self.is_unsettled = found.has_note || found.is_broken || found.number == 0;
        self.number = found.number;
        self.saved = found.state;
        if self.number == 0 {
            self.saved = marker_files::from_pointers(self.dir);
            self.damage = found.is_broken.then_some("the lifecycle's state was damaged, or of another version");
        }
        Ok(())
    }

    /// Saves `state` and makes the marker files fit.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`]
    pub fn save(&mut self, state: State) -> Result<(), StoreError> {
        let is_same = state == self.saved && self.number > 0;
        if is_same && !self.is_unsettled {
            return self.forget_put_off();
        }
        let fits = !self.is_unsettled && Markers::of(&self.saved) == Markers::of(&state);
        if !is_same {
            self.write(&state, fits)?;
        }
        let before = std::mem::replace(&mut self.saved, state);
        let forgotten = self.forget_put_off();
        if !fits {
            let before = (!self.is_unsettled).then(|| Markers::of(&before));
            self.is_unsettled = true;
            Markers::of(&self.saved).publish(before.as_ref(), self.dir)?;
            FORM.take_back_note(&self.file, self.number).map_err(io_error(&self.dir.lifecycle()))?;
        }
        self.is_unsettled = false;
        forgotten
    }

    /// Writes a state to the place of the older one.
    fn write(&mut self, state: &State, fits: bool) -> Result<(), StoreError> {
        let number = self.number.wrapping_add(1);
        FORM.write(&self.file, number, state, !fits).map_err(io_error(&self.dir.lifecycle()))?;
        self.number = number;
        Ok(())
    }

    /// The runs that were put off, in their order; they are taken away with the next [`Store::save`].
    pub fn take_put_off(&mut self) -> Vec<Run> {
        let (taken, runs) = Taken::read(self.dir).unzip();
        self.put_off = taken;
        runs.unwrap_or_default()
    }

    /// Adds to the list of rollouts what a save does not: of those that were current one after the other among runs that
    /// were put off it sees the first and the last only.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`]
    pub fn pass_rollout(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let saved = &self.saved.root.rollout;
        if from != saved {
            marker_files::list_rollout(self.dir, from)?;
        }
        // Back where the saved state is: no save will tell.
        if to == saved { marker_files::list_rollout(self.dir, to) } else { Ok(()) }
    }

    /// Whether runs were found that were put off.
    #[must_use]
    pub fn has_put_off(&self) -> bool {
        self.put_off.as_ref().is_some_and(|taken| !taken.is_empty())
    }

    /// Takes away the runs that were put off and are in the state now.
    fn forget_put_off(&mut self) -> Result<(), StoreError> {
        self.put_off.take().map_or(Ok(()), Taken::remove)
    }

    /// Makes all marker files anew, whatever they are.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`]
    pub fn save_all(&mut self, state: State) -> Result<(), StoreError> {
        self.is_unsettled = true;
        self.save(state)
    }
}

fn open_or_make(dir: &StateDir, path: &Path) -> Result<File, StoreError> {
    let mut options = open::options();
    let opened = open::open_or_make(dir, path, options.read(true).write(true).create(true).truncate(false));
    opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if !dir.path().is_dir() => StoreError::NoStateDir(dir.path().display().to_string()),
        _ => io_error(path)(error),
    })
}

/// Takes the lock, or gives up after `timeout`.
fn lock(file: &File, timeout: Duration, path: &Path) -> Result<(), StoreError> {
    lock::exclusive(file, timeout).map_err(|error| match error {
        LockError::Held(timeout) => StoreError::Locked(timeout),
        LockError::Io(error) => io_error(path)(error),
    })
}

#[cfg(test)]
mod tests;
