//! The rollouts in a Codex home.

use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::file_name::RolloutName;
use crate::files::file_error::FileError;

/// A rollout in a Codex home, described by its name.
#[derive(Clone, Debug)]
pub(crate) struct RolloutFile {
    pub(crate) path: PathBuf,
    /// The id of the session.
    pub(crate) id: String,
    /// Whether the file is in the folder of archived sessions.
    pub(crate) is_archived: bool,
}

impl RolloutFile {
    /// Returns the file's name without `.zst`. The names of a session's files sort by the time of their creation.
    pub(crate) fn stem(&self) -> &OsStr {
        let name = if self.is_compressed() { self.path.file_stem() } else { self.path.file_name() };
        name.unwrap_or_default()
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.path.extension().is_some_and(|extension| extension == "zst")
    }
}

/// Returns whether an entry of a folder is a regular file, or a link to one. Opening a pipe could block forever.
fn is_regular(entry: &DirEntry) -> bool {
    match entry.file_type() {
        Ok(kind) if kind.is_symlink() => entry.path().is_file(),
        kind => kind.is_ok_and(|kind| kind.is_file()),
    }
}

/// The rollouts in a Codex home.
#[derive(Debug, Default)]
pub(crate) struct Rollouts {
    pub(crate) files: Vec<RolloutFile>,
    /// Folders that cannot be read.
    pub(crate) unreadable: Vec<FileError>,
}

impl Rollouts {
    /// Lists the rollouts in a Codex home, in no order, by their names alone: no file is opened. `accepts` decides by the
    /// session's id.
    pub(crate) fn in_home(home: &Path, accepts: &dyn Fn(&str) -> bool) -> Self {
        let mut rollouts = Self::default();
        for (name, is_archived) in [("sessions", false), ("archived_sessions", true)] {
            rollouts.add_folder(&home.join(name), is_archived, 0, accepts);
        }
        rollouts
    }

    fn add_folder(&mut self, folder: &Path, is_archived: bool, depth: usize, accepts: &dyn Fn(&str) -> bool) {
        /// Codex's files are in `YYYY/MM/DD`. The limit ends a cycle of symbolic links.
        const MAX_DEPTH: usize = 4;
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
                    self.unreadable.push(FileError::on("read", folder)(error));
                }
                return;
            }
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if let Some(rollout) = name.to_str().and_then(RolloutName::parse) {
                if accepts(rollout.thread_id) && is_regular(&entry) {
                    self.files.push(RolloutFile { path: entry.path(), id: rollout.thread_id.to_owned(), is_archived });
                }
            } else if depth < MAX_DEPTH && entry.file_type().is_ok_and(|kind| !kind.is_file()) {
                self.add_folder(&entry.path(), is_archived, depth + 1, accepts);
            }
        }
    }
}
