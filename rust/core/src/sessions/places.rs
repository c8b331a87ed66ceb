//! The Codex homes of a machine, and the rollouts in them.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::files::file_error::FileError;
use crate::rollout::file_name::RolloutName;
use crate::transcript::locate::{folders_in, host_dir};

/// The folders in which sessions and agents are searched.
#[derive(Clone, Debug)]
pub struct Places {
    /// The Codex homes of the user, in which the newest sessions are searched.
    pub homes: Vec<PathBuf>,
    /// The Codex homes of mngr's agents on this machine, destroyed ones included. They are searched for ids only.
    pub agent_homes: Vec<PathBuf>,
    /// mngr's folder.
    pub host: PathBuf,
}

impl Places {
    /// Returns the Codex homes that the user names. If there are none, these are `$CODEX_HOME`, else `~/.codex`, and the
    /// homes of mngr's agents.
    #[must_use]
    pub fn new(homes: Vec<PathBuf>) -> Self {
        let host = host_dir();
        if !homes.is_empty() {
            return Self { homes, agent_homes: Vec::new(), host };
        }
        let own = codex_home().unwrap_or_else(|| PathBuf::from(".codex"));
        let mut places = Self { homes: vec![own], agent_homes: Vec::new(), host };
        places.agent_homes = places.homes_of_agents();
        places
    }

    /// Searches the newest sessions in the homes of mngr's agents too.
    #[must_use]
    pub fn including_agents(mut self) -> Self {
        let agents = if self.agent_homes.is_empty() { self.homes_of_agents() } else { self.agent_homes };
        self.agent_homes = Vec::new();
        self.homes.extend(agents);
        self
    }

    /// Returns the Codex homes in the state directories of agents and in the copies that mngr keeps of destroyed ones.
    fn homes_of_agents(&self) -> Vec<PathBuf> {
        let own: Vec<_> = self.homes.iter().filter_map(|home| home.canonicalize().ok()).collect();
        let folders = ["agents", "preserved"].into_iter().flat_map(|kind| folders_in(&self.host.join(kind)));
        let homes = folders.map(|folder| folder.join("plugin/codex/home"));
        // `$CODEX_HOME` can be the home of an agent.
        homes.filter(|home| home.canonicalize().is_ok_and(|home| !own.contains(&home))).collect()
    }
}

/// Returns the home of the user's Codex: `$CODEX_HOME`, else `~/.codex`. Returns `None` if neither variable is set.
#[must_use]
pub fn codex_home() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("CODEX_HOME").or_else(|| Some(set("HOME")?.join(".codex")))
}

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
