//! Finds sessions by id, and the newest ones.
//!
//! The names of rollouts contain the session's id, so a search by id opens no file. The newest sessions are those whose
//! files were changed last: Codex appends to the old file of a session that is resumed, so the date in a name says nothing
//! about them. Only the files that may be shown are opened.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::places::Places;
use crate::files::file_error::FileError;
use crate::rollout::decompression::Input;
use crate::rollout::home::{RolloutFile, Rollouts};
use crate::rollout::session_meta::SessionMeta;

/// A session in a Codex home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// Its current rollout: of several, the newest.
    pub path: PathBuf,
    /// Its other rollouts, the oldest first. Codex begins a further file after the user went back in the conversation.
    pub earlier: Vec<PathBuf>,
    /// When the current rollout was changed last.
    pub modified: SystemTime,
    /// The Codex home.
    pub home: PathBuf,
    /// Whether the user has archived the session.
    pub is_archived: bool,
}

/// The minimum length of the beginning of an id. All sessions of two years begin with the same three digits.
pub const MIN_ID_LENGTH: usize = 4;

/// Returns a text in the form of an id if it may be the beginning of one: hexadecimal digits of either case, and dashes.
#[must_use]
pub(crate) fn beginning_of_id(text: &str) -> Option<String> {
    const UUID_LENGTH: usize = 36;
    let is_part = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    let is_id = text.len() <= UUID_LENGTH && text.bytes().all(is_part) && text.starts_with(|first| first != '-');
    is_id.then(|| text.to_ascii_lowercase())
}

/// The result of a search.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// The sessions.
    pub(crate) found: Vec<Session>,
    /// Folders that cannot be read.
    pub(crate) unreadable: Vec<FileError>,
}

/// Finds the sessions whose id begins with `beginning`, the last changed first. A session is found in each
/// home that has it.
#[must_use]
pub(crate) fn with_id(beginning: &str, places: &Places) -> Sessions {
    let homes = places.homes.iter().chain(&places.agent_homes);
    let mut sessions = list(homes, &|id| id.starts_with(beginning));
    sessions.found.sort_by_cached_key(|session| Reverse((session.modified, session.path.clone())));
    sessions
}

/// Returns the sessions that were changed last, at most `limit`, the newest first. Sessions of subagents and archived ones
/// are not among them. With `cwd`, only sessions that were started in that folder are.
///
/// # Errors
///
/// Returns a [`FileError`] if a folder of sessions cannot be read and no session is found.
pub fn newest(places: &Places, cwd: Option<&Path>, limit: usize) -> Result<Vec<Session>, FileError> {
    let Sessions { mut found, unreadable } = list(&places.homes, &|_| true);
    found.retain(|session| !session.is_archived);
    found.sort_by(|one, other| (other.modified, &other.path).cmp(&(one.modified, &one.path)));
    let mut newest: Vec<Session> = Vec::new();
    for session in found {
        if newest.len() == limit {
            break;
        }
        // The home of an agent can contain a copy.
        let is_known = newest.iter().any(|known| known.id == session.id);
        if !is_known && is_root_in(&session.path, cwd) {
            newest.push(session);
        }
    }
    match unreadable.into_iter().next() {
        Some(error) if newest.is_empty() => Err(error),
        _ => Ok(newest),
    }
}

/// Returns whether a rollout is the user's own session, in a folder if there is one. A file that cannot be read may be.
fn is_root_in(path: &Path, cwd: Option<&Path>) -> bool {
    let meta = SessionMeta::read(path).ok().flatten().unwrap_or_default();
    !meta.is_subagent && cwd.is_none_or(|folder| meta.cwd.is_some_and(|cwd| is_same_folder(&cwd, folder)))
}

/// Returns whether two absolute paths name the same folder, which may no longer exist.
fn is_same_folder(one: &Path, other: &Path) -> bool {
    one == other || one.canonicalize().is_ok_and(|one| one == other)
}

/// Lists the sessions in homes whose id `accepts`, in no order.
fn list<'a>(homes: impl IntoIterator<Item = &'a PathBuf>, accepts: &dyn Fn(&str) -> bool) -> Sessions {
    let mut sessions = Sessions::default();
    for home in homes {
        let Rollouts { files, unreadable } = Rollouts::in_home(home, accepts);
        sessions.unreadable.extend(unreadable);
        let mut by_id: HashMap<String, Vec<RolloutFile>> = HashMap::new();
        for file in files {
            by_id.entry(file.id.clone()).or_default().push(file);
        }
        sessions.found.extend(by_id.into_iter().filter_map(|(id, files)| session_of(id, files, home)));
    }
    sessions
}

/// Returns the session with these files. Returns `None` if its current file has just disappeared.
fn session_of(id: String, mut files: Vec<RolloutFile>, home: &Path) -> Option<Session> {
    // While Codex compresses or archives a file, there are two of one name. The plain and the active one are first.
    files.sort_by(|one, other| {
        let key = |file: &RolloutFile| (file.is_archived, file.is_compressed());
        one.stem().cmp(other.stem()).then_with(|| key(one).cmp(&key(other)))
    });
    files.dedup_by(|later, first| later.stem() == first.stem());
    let current = files.pop()?;
    let modified = fs::metadata(&current.path).and_then(|metadata| metadata.modified()).ok()?;
    let earlier = files.into_iter().map(|file| file.path).collect();
    Some(Session { id, path: current.path, earlier, modified, home: home.to_owned(), is_archived: current.is_archived })
}

/// Returns the one of several copies of a session that has the content of all others, and more. Returns `None` if there is
/// no such copy, because two of them were continued.
///
/// Copies arise when an agent adopts a session, and when mngr preserves the files of a destroyed agent.
///
/// # Errors
///
/// Returns a [`FileError`] if a copy cannot be read.
pub(crate) fn longest_copy(copies: &[Session]) -> Result<Option<&Session>, FileError> {
    let mut copies = copies.iter();
    let Some(mut longest) = copies.next() else { return Ok(None) };
    for copy in copies {
        match compare(&longest.path, &copy.path)? {
            Contained::Second | Contained::Both => {}
            Contained::First => longest = copy,
            Contained::Neither => return Ok(None),
        }
    }
    Ok(Some(longest))
}

/// Which of two files is the beginning of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contained {
    First,
    Second,
    Both,
    Neither,
}

/// Compares the texts of two rollouts, either of which may be compressed.
fn compare(first: &Path, second: &Path) -> Result<Contained, FileError> {
    const CHUNK: usize = 64 << 10;
    let open = |path: &Path| Input::open(path).map_err(FileError::on("read", path));
    let (mut one, mut other) = (open(first)?, open(second)?);
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let left = fill(&mut one, &mut left).map_err(FileError::on("read", first))?;
        let right = fill(&mut other, &mut right).map_err(FileError::on("read", second))?;
        let common = left.len().min(right.len());
        if left[..common] != right[..common] {
            return Ok(Contained::Neither);
        }
        match left.len().cmp(&right.len()) {
            std::cmp::Ordering::Less => return Ok(Contained::First),
            std::cmp::Ordering::Greater => return Ok(Contained::Second),
            std::cmp::Ordering::Equal if common < CHUNK => return Ok(Contained::Both),
            std::cmp::Ordering::Equal => {}
        }
    }
}

/// Fills the buffer, except at the end of the input.
fn fill<'b>(input: &mut Input, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(&buffer[..filled])
}

#[cfg(test)]
mod tests;
