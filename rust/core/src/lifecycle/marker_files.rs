//! The marker files, which show the state to other programs.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::files::atomic_write;
use crate::files::file_error::FileError;
use crate::files::open;
use crate::files::regular::open_regular;
use crate::json::string;
use crate::rollout::ids::{ThreadId, TurnId};
use crate::state_dir::StateDir;

use super::payload;
use super::state::{RequestKind, State, Subagent, Thread};
use super::status_file::Status;

/// The bytes at the end of the list of rollouts that are searched for its last line: more than the longest path.
const LIST_TAIL: u64 = 8192;

/// The intended content of the marker files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Markers<'s> {
    is_active: bool,
    root: Option<(&'s ThreadId, &'s TurnId)>,
    subagents: Vec<InFlight<'s>>,
    request: Option<RequestKind>,
    session: &'s ThreadId,
    rollout: &'s str,
}

/// The content of a subagent's marker file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InFlight<'s> {
    id: &'s ThreadId,
    turn: &'s TurnId,
    rollout: &'s str,
}

impl<'s> Markers<'s> {
    pub(super) fn of(state: &'s State) -> Self {
        let in_flight = state.in_flight();
        Self {
            is_active: state.is_active(),
            root: state.root.is_open().then_some((&state.session, &state.root.turn)),
            subagents: in_flight.map(|Subagent { id, thread }| InFlight::new(id, thread)).collect(),
            request: state.request(),
            session: &state.session,
            rollout: &state.root.rollout,
        }
    }

    /// Creates, replaces and removes files so that they match. `before` is their current content, if it is known, and
    /// `status` is the new content of the status file, if it changes. If a file cannot be written, the others are written
    /// all the same, and the first error is returned.
    pub(super) fn publish(
        &self,
        before: Option<&Markers<'_>>,
        status: Option<&Status>,
        dir: &StateDir,
    ) -> Result<(), FileError> {
        let differs = |is_same: &dyn Fn(&Markers<'_>) -> bool| before.is_none_or(|before| !is_same(before));
        let differs_in_active = differs(&|before| before.is_active == self.is_active);
        let mut result = Ok(());
        let mut first_error = |written: Result<(), FileError>| {
            if result.is_ok() {
                result = written;
            }
        };
        // Pointers come first: when the agent is shown as running, they must already name the running session.
        if differs(&|before| before.session == self.session) && !self.session.0.is_empty() {
            first_error(replace(dir, &dir.root_session(), self.session.0.as_bytes()));
        }
        if differs(&|before| before.rollout == self.rollout) && !self.rollout.is_empty() {
            first_error(add_line(&dir.transcript_paths(), self.rollout, before.is_none()));
            first_error(replace(dir, &dir.transcript_path(), self.rollout.as_bytes()));
        }
        // mngr reads `active` first, and asks the status file why an agent waits. So the status is new before `active` is.
        if let Some(status) = status {
            first_error(publish_status(status, dir));
        }
        if self.is_active && differs_in_active {
            first_error(create_empty(&dir.active()));
        }
        if differs(&|before| before.root == self.root) {
            first_error(match self.root {
                Some((session, turn)) => {
                    let content = object(&[("session_id", session.0.as_bytes()), ("turn_id", turn.0.as_bytes())]);
                    replace(dir, &dir.root_active(), &content)
                }
                None => remove(&dir.root_active()),
            });
        }
        first_error(self.publish_subagents(before, dir));
        for (kind, path) in
            [(RequestKind::Approval, dir.permissions_waiting()), (RequestKind::Question, dir.question_waiting())]
        {
            let is_open = self.request == Some(kind);
            if differs(&|before| (before.request == Some(kind)) == is_open) {
                first_error(if is_open { create_empty(&path) } else { remove(&path) });
            }
        }
        if !self.is_active && differs_in_active {
            first_error(remove(&dir.active()));
        }
        result
    }

    /// Creates and removes the files of subagents. If one cannot be written, the others are written all the same.
    fn publish_subagents(&self, before: Option<&Markers<'_>>, dir: &StateDir) -> Result<(), FileError> {
        let folder = dir.subagents();
        let is_new = |(index, subagent): &(usize, &InFlight<'_>)| {
            !before.is_some_and(|before| has(&before.subagents, *index, |known| known == *subagent))
        };
        let mut new = self.subagents.iter().enumerate().filter(is_new).peekable();
        let is_stale = |name: &OsStr| !self.subagents.iter().any(|known| file_name(known.id) == name);
        let old: Vec<OsString> = match before {
            Some(before) => before.subagents.iter().map(|known| file_name(known.id).to_owned()).collect(),
            None => names_in(&folder)?.unwrap_or_default().into_iter().map(OsString::from).collect(),
        };
        let mut old = old.iter().filter(|name| is_stale(name)).peekable();
        if new.peek().is_some() || old.peek().is_some() {
            exists(&folder)?;
        }
        let created = new.map(|(_, subagent)| subagent.publish(&folder, dir));
        let removed = old.map(|name| remove(&folder.join(name)));
        // The intermediate list makes sure that all are tried.
        let results: Vec<Result<(), FileError>> = created.chain(removed).collect();
        results.into_iter().collect()
    }
}

impl<'s> InFlight<'s> {
    fn new(id: &'s ThreadId, thread: &'s Thread) -> Self {
        Self { id, turn: &thread.turn, rollout: &thread.rollout }
    }

    fn publish(self, folder: &Path, dir: &StateDir) -> Result<(), FileError> {
        let mut rollout = Vec::new();
        string::escape(self.rollout.as_bytes(), &mut rollout);
        let content = object(&[("turn_id", self.turn.0.as_bytes()), ("transcript_path", &rollout)]);
        let path = folder.join(file_name(self.id));
        match replace(dir, &path, &content) {
            Err(_) if !folder.is_dir() => {
                fs::create_dir(folder).map_err(FileError::on("create", folder))?;
                replace(dir, &path, &content)
            }
            replaced => replaced,
        }
    }
}

/// Returns whether one of the subagents matches. Most have the same index as before, so that one is checked first.
fn has(subagents: &[InFlight<'_>], index: usize, matches: impl Fn(&InFlight<'_>) -> bool) -> bool {
    subagents.get(index).is_some_and(&matches) || subagents.iter().any(matches)
}

/// Returns the name of a subagent's file: its id. [`payload`] accepts only ids that are plain file names.
fn file_name(id: &ThreadId) -> &OsStr {
    OsStr::from_bytes(id.0.as_bytes())
}

/// Returns a line with a JSON object whose values are strings that are already escaped.
fn object(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut line = Vec::new();
    for (index, (key, escaped)) in members.iter().enumerate() {
        line.extend_from_slice(if index == 0 { b"{\"" } else { b",\"" });
        line.extend_from_slice(key.as_bytes());
        line.extend_from_slice(b"\":\"");
        line.extend_from_slice(escaped);
        line.extend_from_slice(b"\"");
    }
    line.extend_from_slice(b"}\n");
    line
}

/// Returns whether `folder` exists. Fails if it is a link, because that could lead out of the state directory.
fn exists(folder: &Path) -> Result<bool, FileError> {
    match rustix::fs::lstat(folder) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_symlink() => {
            Err(FileError::on("open", folder)(io::Error::from(io::ErrorKind::NotADirectory)))
        }
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(FileError::on("open", folder)(error.into())),
    }
}

/// Returns the names in a folder, except for the names of folders. Returns `None` if the folder does not exist.
pub(super) fn names_in(folder: &Path) -> Result<Option<Vec<String>>, FileError> {
    if !exists(folder)? {
        return Ok(None);
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::on("list", folder)(error)),
    };
    let is_file = |entry: &fs::DirEntry| !entry.file_type().is_ok_and(|kind| kind.is_dir());
    let names = entries.filter(|entry| entry.as_ref().map_or(true, is_file));
    let names = names.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    names.collect::<io::Result<_>>().map(Some).map_err(FileError::on("list", folder))
}

/// Replaces the status file.
fn publish_status(status: &Status, dir: &StateDir) -> Result<(), FileError> {
    let (path, content) = (dir.status(), status.to_json());
    let exchange = || atomic_write::exchange(&path, &dir.unfinished(), &content);
    let Some(folder) = path.parent() else { return Ok(()) };
    match exchange() {
        Err(_) if !folder.is_dir() => {
            fs::create_dir(folder).map_err(FileError::on("create", folder))?;
            exchange()
        }
        exchanged => exchanged,
    }
}

/// Replaces a file. The caller must own the lock.
fn replace(dir: &StateDir, path: &Path, content: &[u8]) -> Result<(), FileError> {
    atomic_write::replace(path, &dir.unfinished(), content)
}

/// Appends a rollout to the list of rollouts that were current, unless it is the last one or `rollout` is empty.
pub(super) fn list_rollout(dir: &StateDir, rollout: &str) -> Result<(), FileError> {
    if rollout.is_empty() { Ok(()) } else { add_line(&dir.transcript_paths(), rollout, true) }
}

/// Appends a line. If `may_exist`, an equal last line is not repeated. If the file ends in an unterminated beginning of
/// the line, that is completed.
fn add_line(path: &Path, line: &str, may_exist: bool) -> Result<(), FileError> {
    let error = |operation| FileError::on(operation, path);
    let mut file = open::options().read(true).append(true).create(true).open(path).map_err(error("open"))?;
    let mut added = format!("{line}\n");
    let length = file.metadata().map_err(error("read"))?.len();
    if length > 0 {
        let start = length.saturating_sub(LIST_TAIL);
        let mut end = Vec::new();
        file.seek(SeekFrom::Start(start)).and_then(|_| file.read_to_end(&mut end)).map_err(error("read"))?;
        let terminated = end.strip_suffix(b"\n");
        let last = terminated.unwrap_or(&end);
        let last = memchr::memrchr(b'\n', last).map_or(last, |newline| &last[newline + 1..]);
        if terminated.is_none() && line.as_bytes().starts_with(last) {
            added.drain(..last.len());
        } else if terminated.is_none() {
            added.insert(0, '\n');
        } else if may_exist && last == line.as_bytes() {
            return Ok(());
        }
    }
    file.write_all(added.as_bytes()).map_err(error("write"))
}

fn create_empty(path: &Path) -> Result<(), FileError> {
    let opened = open::options().write(true).create(true).truncate(false).open(path);
    opened.map(drop).map_err(FileError::on("create", path))
}

/// Removes a file if it exists.
pub(super) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::on("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Returns the state that the pointer files describe, for a state directory whose state was lost or that was written by
/// an earlier plugin. The rollout that they name supplies the rest.
pub(super) fn from_pointers(dir: &StateDir) -> State {
    let first_line = |path: PathBuf| -> Option<String> {
        let text = open_regular(&path).and_then(io::read_to_string).ok()?;
        text.lines().next().map(str::to_owned)
    };
    let mut state = State::default();
    if let Some(session) = first_line(dir.root_session()).and_then(|line| payload::thread_id(&line)) {
        state.set_session(&session);
        if let Some(rollout) = first_line(dir.transcript_path()).and_then(payload::usable_path) {
            state.root.set_rollout(&rollout);
        }
    }
    state
}

#[cfg(test)]
mod tests;
