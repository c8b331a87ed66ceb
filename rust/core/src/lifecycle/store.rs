//! The state on disk.
//!
//! The state is in a double-buffered file ([`slots`](crate::files::slots)), so one intact state remains, whichever
//! process is killed. The file is also the lock.
//!
//! A state is written before the files that show it to other programs: the marker files and the status file. It has a flag
//! that they may not match it, which is cleared when they do and the change was announced. A process that finds the flag
//! writes all these files again.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::clock::now_millis;
use crate::event_log::{Level, log};
use crate::files::file_error::FileError;
use crate::files::lock::{Lock, LockedFile};
use crate::files::open;
use crate::files::regular::open_regular;
use crate::files::slots::{Latest, Layout};
use crate::state_dir::StateDir;

use super::activity_event::{self, HostDir};
use super::activity_file;
use super::deferred::DeferredRuns;
use super::error::StoreError;
use super::hook::HookRun;
use super::marker_files::{self, Markers};
use super::state::State;
use super::status_file::Status;
use super::timeline::{Activity, Timeline};

/// The layout of the state's file. The largest possible state, with all subagents and the longest ids and paths, fits in
/// a slot.
const LAYOUT: Layout = Layout { version: 5, second: 2 << 20, first_read: 2048 };

/// The state of one agent, locked.
pub(super) struct Store<'d> {
    dir: &'d StateDir,
    file: LockedFile,
    /// The state on disk.
    saved: State,
    /// The state's number. The next state goes to the other slot.
    number: u64,
    /// Whether the files that show the state may not match it.
    is_unsettled: bool,
    /// Whether the last change of the state may not have been announced.
    is_unannounced: bool,
    /// A description of the damage that was found.
    damage: Option<&'static str>,
    /// The deferred runs that were read and not yet removed.
    deferred: Option<DeferredRuns>,
}

impl<'d> Store<'d> {
    /// Locks and reads the state.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::Lock`] if another process holds the lock until `timeout` has passed,
    /// [`StoreError::NoStateDir`] if there is no state directory, and [`StoreError::File`] if the state cannot be read.
    pub(super) fn open(dir: &'d StateDir, timeout: Duration) -> Result<Self, StoreError> {
        let path = dir.lifecycle();
        let file = open_or_create(dir, &path)?;
        let file = Lock { file, path: &path, resource: "lifecycle" }.acquire(timeout)?;
        let latest = read(dir, &file).map_err(FileError::on("read", &path))?;
        Ok(Self {
            dir,
            file,
            // The writer of a damaged slot was killed. The other slot holds the previous state.
            is_unsettled: latest.is_flagged || latest.is_damaged || latest.number == 0,
            is_unannounced: latest.is_flagged || latest.is_damaged,
            damage: (latest.is_damaged && latest.number == 0)
                .then_some("the lifecycle state is damaged or of another version"),
            saved: latest.state,
            number: latest.number,
            deferred: None,
        })
    }

    /// Reads the state and applies deferred runs to it, without locking, creating or writing anything.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::NoStateDir`] if there is no state directory, and [`StoreError::File`] if the state cannot be
    /// read.
    pub(super) fn read_unlocked(dir: &'d StateDir) -> Result<State, StoreError> {
        let path = dir.lifecycle();
        let mut state = match open_regular(&path) {
            Ok(file) => read(dir, &file).map_err(FileError::on("read", &path))?.state,
            Err(error) if error.kind() == io::ErrorKind::NotFound && dir.path().is_dir() => {
                marker_files::from_pointers(dir)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::NoStateDir(dir.path().to_owned()));
            }
            Err(error) => return Err(FileError::on("open", &path)(error).into()),
        };
        for run in DeferredRuns::read(dir).map(|(_, runs)| runs).unwrap_or_default() {
            run.apply_to(&mut state);
        }
        Ok(state)
    }

    /// Returns the state on disk.
    pub(super) fn state(&self) -> &State {
        &self.saved
    }

    /// Returns a description of the damage that was found when the state was read, if any.
    pub(super) fn damage(&self) -> Option<&'static str> {
        self.damage
    }

    /// Saves `state`, updates the files that show it, announces the change, and removes the deferred runs that were read.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::File`] if a file cannot be written. The other files are written all the same. An activity
    /// event that cannot be written is only logged.
    pub(super) fn save(&mut self, mut state: State) -> Result<(), StoreError> {
        if state.is_unsettled() {
            state.settle(now_millis());
        }
        let is_same = state == self.saved && self.number > 0;
        if is_same && !self.is_unsettled {
            return self.remove_deferred();
        }
        let status = Status::of(&state);
        let differs_in_status = self.is_unsettled || Status::of(&self.saved) != status;
        let is_shown = !differs_in_status && Markers::of(&self.saved) == Markers::of(&state);
        if !is_same {
            self.write(&state, is_shown)?;
        }
        let before = std::mem::replace(&mut self.saved, state);
        let removed = self.remove_deferred();
        if !is_shown {
            let markers = (!self.is_unsettled).then(|| Markers::of(&before));
            self.is_unsettled = true;
            let status = differs_in_status.then_some(&status);
            let published = Markers::of(&self.saved).publish(markers.as_ref(), status, self.dir);
            self.announce(before.timeline(), published.is_ok());
            published?;
            LAYOUT.clear_flag(&self.file, self.number).map_err(FileError::on("write", &self.dir.lifecycle()))?;
        }
        self.is_unsettled = false;
        removed
    }

    /// Appends an activity event if the agent does something else than `before`. The files that show the state match it by
    /// then, so that a reader of the event finds the new state. If some could not be written, the others match, and
    /// a change that may have been announced is not announced again.
    fn announce(&mut self, before: Timeline, is_published: bool) {
        let now = self.saved.timeline();
        let has_changed = (now.activity, now.since) != (before.activity, before.since);
        let is_due = has_changed || (is_published && self.is_unannounced);
        if !is_due || now.activity == Activity::Unknown {
            return;
        }
        self.is_unannounced = false;
        let Some(host) = HostDir::of(self.dir, &self.saved.session) else { return };
        if let Err(error) = activity_event::append(&host) {
            log(self.dir, Level::Warning, &format!("cannot announce that the state has changed: {error}"));
        }
        if now.activity == Activity::Running
            && before.activity != Activity::Running
            && let Err(error) = activity_file::touch(self.dir, now_millis())
        {
            log(self.dir, Level::Warning, &error.to_string());
        }
    }

    fn write(&mut self, state: &State, is_shown: bool) -> Result<(), StoreError> {
        let number = self.number.wrapping_add(1);
        let written = LAYOUT.write(&self.file, number, state, !is_shown);
        written.map_err(FileError::on("write", &self.dir.lifecycle()))?;
        self.number = number;
        Ok(())
    }

    /// Reads the deferred runs, oldest first. The next [`Store::save`] removes them.
    pub(super) fn read_deferred(&mut self) -> Vec<HookRun> {
        let (deferred, runs) = DeferredRuns::read(self.dir).unzip();
        self.deferred = deferred;
        runs.unwrap_or_default()
    }

    /// Adds rollouts to the list of rollouts that [`Store::save`] would miss. If several rollouts became current among
    /// the deferred runs, it sees only the first and the last one.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::File`] if the list cannot be written.
    pub(super) fn list_rollout_change(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let saved = &self.saved.root.rollout;
        if from != saved {
            marker_files::list_rollout(self.dir, from)?;
        }
        // If the rollout is the saved one again, the save makes no difference.
        if to == saved {
            marker_files::list_rollout(self.dir, to)?;
        }
        Ok(())
    }

    /// Returns whether deferred runs were read and not yet removed.
    pub(super) fn has_deferred(&self) -> bool {
        self.deferred.as_ref().is_some_and(|deferred| !deferred.is_empty())
    }

    fn remove_deferred(&mut self) -> Result<(), StoreError> {
        self.deferred.take().map_or(Ok(()), DeferredRuns::remove)?;
        Ok(())
    }

    /// Saves `state` and writes all files that show it again, whatever they contain.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::File`] if a file cannot be written. The other files are written all the same.
    pub(super) fn save_all(&mut self, state: State) -> Result<(), StoreError> {
        self.is_unsettled = true;
        self.save(state)
    }
}

fn open_or_create(dir: &StateDir, path: &Path) -> Result<File, StoreError> {
    let mut options = open::options();
    let opened = open::open_or_create(dir, path, options.read(true).write(true).create(true).truncate(false));
    opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if !dir.path().is_dir() => StoreError::NoStateDir(dir.path().to_owned()),
        _ => FileError::on("open", path)(error).into(),
    })
}

/// Reads the latest intact state. If there is none, it is derived from the pointer files.
fn read(dir: &StateDir, file: &File) -> io::Result<Latest<State>> {
    let mut latest: Latest<State> = LAYOUT.read(file)?;
    if latest.number == 0 {
        latest.state = marker_files::from_pointers(dir);
    }
    Ok(latest)
}

#[cfg(test)]
mod tests;
