//! One state directory for each session, for hooks that one Codex runs for all its sessions.
//!
//! The path that such a hook is given contains `{session_id}`, which the payload replaces. The directory also has a record
//! of the session: its folder, the process that runs it, and its end.

use std::fs::DirBuilder;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use memchr::memmem;
use serde::{Deserialize, Serialize};

use crate::files::atomic_write::AtomicFile;
use crate::files::file_error::FileError;
use crate::files::regular::read_regular;
use crate::process::ProcessId;
use crate::rollout::ids::ThreadId;
use crate::state_dir::StateDir;

use super::error::{MarkerError, StoreError};
use super::hook::HookRun;
use super::marker;

/// The text in a path that stands for the id of a session.
pub const SESSION_ID: &str = "{session_id}";

/// The state directories of sessions, by a path that contains [`SESSION_ID`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionDirs {
    path: PathBuf,
    /// The folder of the first name that contains the id.
    root: StateDir,
}

impl SessionDirs {
    /// Returns the state directories of a path; `None` if it does not contain [`SESSION_ID`].
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let has_id = |path: &Path| {
            let path = path.as_os_str().as_bytes();
            // Most paths have no brace, and every hook checks its path.
            memchr::memchr(b'{', path).is_some() && memmem::find(path, SESSION_ID.as_bytes()).is_some()
        };
        let root = path.ancestors().find(|above| !has_id(above)).filter(|root| *root != path)?;
        Some(Self { path: path.to_owned(), root: StateDir::new(root) })
    }

    /// Returns the folder above all these directories. Its log has the problems of hooks whose session is not known.
    #[must_use]
    pub fn root(&self) -> &StateDir {
        &self.root
    }

    /// Returns the path of that folder.
    #[must_use]
    pub fn root_path(&self) -> &Path {
        self.root.path()
    }

    /// Returns the state directory of a run's session.
    #[must_use]
    pub fn of_run(&self, run: &HookRun) -> StateDir {
        StateDir::new(self.of_session(&run.session))
    }

    /// The id of a session is a plain file name: [`super::payload`] accepts no other.
    fn of_session(&self, session: &ThreadId) -> PathBuf {
        let (path, mut expanded) = (self.path.as_os_str().as_bytes(), Vec::new());
        let mut end = 0;
        for at in memmem::find_iter(path, SESSION_ID) {
            expanded.extend_from_slice(&path[end..at]);
            expanded.extend_from_slice(session.0.as_bytes());
            end = at + SESSION_ID.len();
        }
        expanded.extend_from_slice(&path[end..]);
        std::ffi::OsString::from_vec(expanded).into()
    }
}

/// Applies the run of a hook to the state directory of its session, which is created if it is missing.
///
/// # Errors
///
/// Returns the errors of [`marker::apply`], and [`MarkerError::Store`] if the directory cannot be created.
pub fn apply(dir: &StateDir, run: &HookRun) -> Result<(), MarkerError> {
    if run.sets_session() {
        begin(dir, run)?;
    }
    match marker::apply(dir, run) {
        Err(MarkerError::Store(StoreError::NoStateDir(_))) if run.ends_session() => return Ok(()),
        // The hook of its beginning was lost, or the directory was removed.
        Err(MarkerError::Store(StoreError::NoStateDir(_))) => {
            begin(dir, run)?;
            marker::apply(dir, run)?;
        }
        applied => applied?,
    }
    if run.ends_session() {
        let record = SessionRecord::read(dir).unwrap_or_default();
        SessionRecord { ended_at: Some(run.at), ..record }.write(dir)?;
    }
    Ok(())
}

/// Creates the state directory of a session, and records the folder and the process that run it.
fn begin(dir: &StateDir, run: &HookRun) -> Result<(), FileError> {
    let record = SessionRecord { folder: run.folder.clone(), process: ProcessId::of_parent(), ended_at: None };
    if SessionRecord::read(dir).as_ref() == Some(&record) {
        return Ok(());
    }
    create_private(dir.path())?;
    record.write(dir)
}

/// Creates a folder and the folders above it, accessible to this user only.
///
/// # Errors
///
/// Returns an error if a folder cannot be created.
pub fn create_private(folder: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(FileError::on("create", folder))
}

/// What is known about a session besides its lifecycle state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    /// The folder of the session, if a hook has named it.
    pub(crate) folder: Option<String>,
    /// The process that runs the session: Codex, or its daemon. `None` if it could not be determined.
    pub(crate) process: Option<ProcessId>,
    /// When the session ended, in milliseconds since 1970. `None` if no hook has reported that.
    pub(crate) ended_at: Option<u64>,
}

impl SessionRecord {
    /// Reads the record; `None` if there is none, or it is damaged.
    pub(crate) fn read(dir: &StateDir) -> Option<Self> {
        serde_json::from_slice(&read_regular(&dir.session_record()).ok()?).ok()
    }

    /// Writes the record of a state directory that exists.
    fn write(&self, dir: &StateDir) -> Result<(), FileError> {
        let path = dir.session_record();
        let folder = dir.own();
        if !folder.is_dir() {
            create_private(&folder)?;
        }
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        let written =
            AtomicFile::create(&path).and_then(|mut file| file.write_all(&bytes).and_then(|()| file.commit()));
        written.map_err(FileError::on("write", &path))
    }
}

/// Records the process that runs the session of an agent.
///
/// # Errors
///
/// Returns an error if the record cannot be written.
pub fn record_process(dir: &StateDir, process: ProcessId) -> Result<(), FileError> {
    let record = SessionRecord::read(dir).unwrap_or_default();
    SessionRecord { process: Some(process), ended_at: None, ..record }.write(dir)
}

#[cfg(test)]
mod tests;
