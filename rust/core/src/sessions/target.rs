//! Finds what a user names: a path, an agent or a session.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::lookup::{self, MIN_ID_LENGTH, Session, Sessions};
use super::places::Places;
use crate::files::file_error::{FileError, escaped_path};
use crate::transcript::locate::{self, TargetError};

/// What a user named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file or folder. One that is named by several components need not exist.
    Path(PathBuf),
    /// The state directory of an agent.
    Agent(PathBuf),
    /// A session.
    Session(Session),
}

impl Place {
    /// Returns the path of the file or folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Path(path) | Self::Agent(path) => path,
            Self::Session(session) => &session.path,
        }
    }
}

/// Why nothing, or nothing definite, was found.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Nothing has this name.
    #[error(
        "cannot find {}: no such file, no agent of that name in {}, and {}{}",
        escaped_path(name),
        escaped_path(agents),
        without_session(homes),
        preserved(copies)
    )]
    NotFound {
        /// The name that the user gave.
        name: PathBuf,
        /// The folder of the agents.
        agents: PathBuf,
        /// The Codex homes that were searched. Empty if the name cannot be the beginning of an id.
        homes: Vec<PathBuf>,
        /// The folders in which mngr has preserved destroyed agents of this name.
        copies: Vec<PathBuf>,
        /// Folders that could not be read.
        unreadable: Vec<FileError>,
    },
    /// Several agents have this name.
    #[error("cannot read {}: several agents have that name: {}", escaped_path(name), locate::joined(folders))]
    SeveralAgents {
        /// The name that the user gave.
        name: PathBuf,
        /// The folders of the agents.
        folders: Vec<PathBuf>,
    },
    /// The ids of several sessions begin like this.
    #[error("cannot find session {beginning}: the ids of {} sessions begin with it", sessions.len())]
    SeveralSessions {
        /// The beginning that the user gave.
        beginning: String,
        /// The sessions, the last changed first.
        sessions: Vec<Session>,
    },
    /// A session was copied, and several copies were continued.
    #[error("cannot read session {}: it was continued in several places: {}", copies[0].id, paths(copies))]
    Diverged {
        /// The copies, at least two.
        copies: Vec<Session>,
    },
    /// There are no sessions.
    #[error("cannot find a session{} in {}", in_folder(cwd.as_deref()), locate::joined(homes))]
    NoSession {
        /// The Codex homes.
        homes: Vec<PathBuf>,
        /// The folder in which the session must have been started.
        cwd: Option<PathBuf>,
    },
    /// A file or folder that cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

fn without_session(homes: &[PathBuf]) -> String {
    match homes {
        [] => format!("no session id begins with it (at least {MIN_ID_LENGTH} hexadecimal digits)"),
        [home] => format!("no session in {} whose id begins with it", escaped_path(home)),
        [home, others @ ..] => {
            let agents = if others.len() == 1 { "another Codex home" } else { "other Codex homes" };
            format!("no session in {} or {} {agents} whose id begins with it", escaped_path(home), others.len())
        }
    }
}

fn preserved(copies: &[PathBuf]) -> String {
    if copies.is_empty() {
        return String::new();
    }
    format!("; a destroyed agent of that name is preserved in {}", locate::joined(copies))
}

fn in_folder(cwd: Option<&Path>) -> String {
    cwd.map(|cwd| format!(" that was started in {}", escaped_path(cwd))).unwrap_or_default()
}

fn paths(sessions: &[Session]) -> String {
    sessions.iter().map(|session| escaped_path(&session.path)).collect::<Vec<_>>().join(", ")
}

/// Finds what `name` refers to. In this order: a file, a folder with a transcript, an agent of this name or id, a session
/// whose id begins with it.
///
/// # Errors
///
/// Returns a [`PlaceError`] if there is nothing of this name, or more than one thing.
pub fn find(name: &Path, places: &Places) -> Result<Place, PlaceError> {
    let is_folder = match fs::metadata(name) {
        Ok(metadata) if metadata.is_dir() => true,
        Ok(_) => return Ok(Place::Path(name.to_owned())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => false,
        // A name that is too long for a file can still be mistyped.
        Err(error) => return Err(FileError::on("read", name)(error).into()),
    };
    // A folder in a project is often called like an agent.
    let is_name = name.iter().count() == 1 && !(is_folder && has_transcript(name));
    if !is_name {
        return Ok(Place::Path(name.to_owned()));
    }
    let mut folders = locate::agents_named(name, &places.host);
    match folders.len() {
        0 => {}
        1 => return Ok(Place::Agent(folders.remove(0))),
        _ => return Err(PlaceError::SeveralAgents { name: name.to_owned(), folders }),
    }
    match find_session(name, places) {
        Err(PlaceError::NotFound { .. }) if is_folder => Ok(Place::Path(name.to_owned())),
        found => found.map(Place::Session),
    }
}

/// Returns whether a folder is an agent's state directory or has a transcript, whether or not that can be read.
fn has_transcript(folder: &Path) -> bool {
    !matches!(locate::at(folder), Err(TargetError::NoTranscript(_)))
}

fn find_session(name: &Path, places: &Places) -> Result<Session, PlaceError> {
    let beginning = name.to_str().and_then(lookup::beginning_of_id).filter(|id| id.len() >= MIN_ID_LENGTH);
    let Sessions { mut found, unreadable } =
        beginning.as_deref().map(|id| lookup::with_id(id, places)).unwrap_or_default();
    let is_one = found.iter().all(|session| session.id == found[0].id);
    match found.len() {
        0 => {
            let homes = beginning.map(|_| places.homes.iter().chain(&places.agent_homes).cloned().collect());
            Err(PlaceError::NotFound {
                name: name.to_owned(),
                agents: places.host.join("agents"),
                homes: homes.unwrap_or_default(),
                copies: locate::copies_named(name, &places.host),
                unreadable,
            })
        }
        1 => Ok(found.remove(0)),
        _ if is_one => match lookup::longest_copy(&found)?.cloned() {
            Some(session) => Ok(session),
            None => Err(PlaceError::Diverged { copies: found }),
        },
        _ => {
            // A session with copies is one.
            let mut ids = std::collections::HashSet::new();
            found.retain(|session| ids.insert(session.id.clone()));
            Err(PlaceError::SeveralSessions { beginning: beginning.unwrap_or_default(), sessions: found })
        }
    }
}

/// Finds the session that was changed last. With `cwd`, only sessions that were started in that folder count.
///
/// # Errors
///
/// Returns [`PlaceError::NoSession`] without a session.
pub fn latest(places: &Places, cwd: Option<&Path>) -> Result<Session, PlaceError> {
    let newest = lookup::newest(places, cwd, 1)?.into_iter().next();
    newest.ok_or_else(|| PlaceError::NoSession { homes: places.homes.clone(), cwd: cwd.map(Path::to_owned) })
}

#[cfg(test)]
mod tests;
