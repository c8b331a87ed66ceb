//! The marker files: what others see of the state.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::files::open;
use crate::json::string;
use crate::rollout::ids::{ThreadId, TurnId};
use crate::state_dir::StateDir;

use super::payload;
use super::state::{State, Subagent, Thread};
use super::store::{StoreError, io_error};

/// What the marker files are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Markers<'s> {
    is_active: bool,
    root: Option<(&'s ThreadId, &'s TurnId)>,
    subagents: Vec<InFlight<'s>>,
    is_asking: bool,
    session: &'s ThreadId,
    rollout: &'s str,
}

/// What the marker file of a subagent tells.
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
            is_asking: state.is_asking(),
            session: &state.session,
            rollout: &state.root.rollout,
        }
    }

    /// Makes the files so; `before` is what they are, where that is known. Where one cannot be made, the others are.
    pub(super) fn publish(&self, before: Option<&Markers<'_>>, dir: &StateDir) -> Result<(), StoreError> {
        let differs = |is_same: &dyn Fn(&Markers<'_>) -> bool| before.is_none_or(|before| !is_same(before));
        let differs_in_active = differs(&|before| before.is_active == self.is_active);
        let mut result = Ok(());
        let mut first_error = |made: Result<(), StoreError>| {
            if result.is_ok() {
                result = made;
            }
        };
        // Pointers first: who sees that the agent is at work finds the session that is.
        if differs(&|before| before.session == self.session) && !self.session.0.is_empty() {
            first_error(replace(dir, &dir.root_session(), self.session.0.as_bytes()));
        }
        if differs(&|before| before.rollout == self.rollout) && !self.rollout.is_empty() {
            first_error(add_line(&dir.transcript_paths(), self.rollout, before.is_none()));
            first_error(replace(dir, &dir.transcript_path(), self.rollout.as_bytes()));
        }
        if self.is_active && differs_in_active {
            first_error(make_empty(&dir.active()));
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
        if differs(&|before| before.is_asking == self.is_asking) {
            let path = dir.permissions_waiting();
            first_error(if self.is_asking { make_empty(&path) } else { remove(&path) });
        }
        if !self.is_active && differs_in_active {
            first_error(remove(&dir.active()));
        }
        result
    }

    /// Makes and removes the files of subagents. Where one cannot be made, the others are.
    fn publish_subagents(&self, before: Option<&Markers<'_>>, dir: &StateDir) -> Result<(), StoreError> {
        let folder = dir.subagents();
        let is_new = |(place, subagent): &(usize, &InFlight<'_>)| {
            !before.is_some_and(|before| has(&before.subagents, *place, |known| known == *subagent))
        };
        let mut new = self.subagents.iter().enumerate().filter(is_new).peekable();
        let is_other = |name: &OsStr| !self.subagents.iter().any(|known| file_name(known.id) == name);
        let old: Vec<OsString> = match before {
            Some(before) => before.subagents.iter().map(|known| file_name(known.id).to_owned()).collect(),
            None => names_in(&folder)?.unwrap_or_default().into_iter().map(OsString::from).collect(),
        };
        let mut old = old.iter().filter(|name| is_other(name)).peekable();
        if new.peek().is_some() || old.peek().is_some() {
            is_there(&folder)?;
        }
        let made = new.map(|(_, subagent)| subagent.publish(&folder, dir));
        let removed = old.map(|name| remove(&folder.join(name)));
        // All are tried; the first error is told.
        let results: Vec<Result<(), StoreError>> = made.chain(removed).collect();
        results.into_iter().collect()
    }
}

impl<'s> InFlight<'s> {
    fn new(id: &'s ThreadId, thread: &'s Thread) -> Self {
        Self { id, turn: &thread.turn, rollout: &thread.rollout }
    }

    fn publish(self, folder: &Path, dir: &StateDir) -> Result<(), StoreError> {
        let mut rollout = Vec::new();
        string::escape(self.rollout.as_bytes(), &mut rollout);
        let content = object(&[("turn_id", self.turn.0.as_bytes()), ("transcript_path", &rollout)]);
        let path = folder.join(file_name(self.id));
        match replace(dir, &path, &content) {
            Err(_) if !folder.is_dir() => {
                fs::create_dir(folder).map_err(io_error(folder))?;
                replace(dir, &path, &content)
            }
            replaced => replaced,
        }
    }
}

/// Whether one of the subagents is the one; most are at the same place as before.
fn has(subagents: &[InFlight<'_>], place: usize, is_it: impl Fn(&InFlight<'_>) -> bool) -> bool {
    subagents.get(place).is_some_and(&is_it) || subagents.iter().any(is_it)
}

/// The name of a subagent's file: its id, of which [`payload`] lets none pass that is no plain name.
fn file_name(id: &ThreadId) -> &OsStr {
    OsStr::from_bytes(id.0.as_bytes())
}

/// A line with a JSON object of texts that are escaped already.
fn object(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut line = Vec::new();
    for (place, (key, escaped)) in members.iter().enumerate() {
        line.extend_from_slice(if place == 0 { b"{\"" } else { b",\"" });
        line.extend_from_slice(key.as_bytes());
        line.extend_from_slice(b"\":\"");
        line.extend_from_slice(escaped);
        line.extend_from_slice(b"\"");
    }
    line.extend_from_slice(b"}\n");
    line
}

/// Whether something is there that is no link: one in place of a folder leads to what is none of ours.
fn is_there(folder: &Path) -> Result<bool, StoreError> {
    match rustix::fs::lstat(folder) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_symlink() => {
            Err(io_error(folder)(io::Error::from(io::ErrorKind::NotADirectory)))
        }
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(io_error(folder)(error.into())),
    }
}

/// The names of what is in a folder but for folders; `None` where there is no folder.
pub(super) fn names_in(folder: &Path) -> Result<Option<Vec<String>>, StoreError> {
    if !is_there(folder)? {
        return Ok(None);
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(folder)(error)),
    };
    let is_file = |entry: &fs::DirEntry| !entry.file_type().is_ok_and(|kind| kind.is_dir());
    let names = entries.filter(|entry| entry.as_ref().map_or(true, is_file));
    let names = names.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    names.collect::<io::Result<_>>().map(Some).map_err(io_error(folder))
}

/// Puts `content` at `path`, whole, in place of what stands there. Only who has the lock may.
fn replace(dir: &StateDir, path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let unfinished = dir.unfinished();
    let write = || open::options().write(true).create(true).truncate(true).open(&unfinished)?.write_all(content);
    write()
        .or_else(|_| {
            // A link or a pipe in its place.
            fs::remove_file(&unfinished)?;
            write()
        })
        .map_err(io_error(&unfinished))?;
    fs::rename(&unfinished, path).map_err(io_error(path))
}

/// Adds a rollout, if there is one, to the list of those that were current, if it is not the last.
pub(super) fn list_rollout(dir: &StateDir, rollout: &str) -> Result<(), StoreError> {
    if rollout.is_empty() { Ok(()) } else { add_line(&dir.transcript_paths(), rollout, true) }
}

/// Appends a line; where it is not known whether it stands there already, only if it is not the last. The beginning of
/// it without an end of line is completed.
fn add_line(path: &Path, line: &str, may_be_there: bool) -> Result<(), StoreError> {
    let mut file = open::options().read(true).append(true).create(true).open(path).map_err(io_error(path))?;
    let mut added = format!("{line}\n");
    let length = file.metadata().map_err(io_error(path))?.len();
    if length > 0 {
        let start = length.saturating_sub(8192);
        let mut end = Vec::new();
        file.seek(SeekFrom::Start(start)).and_then(|_| file.read_to_end(&mut end)).map_err(io_error(path))?;
        let whole = end.strip_suffix(b"\n");
        let last = whole.unwrap_or(&end);
        let last = memchr::memrchr(b'\n', last).map_or(last, |newline| &last[newline + 1..]);
        if whole.is_none() && line.as_bytes().starts_with(last) {
            added.drain(..last.len());
        } else if whole.is_none() {
            added.insert(0, '\n');
        } else if may_be_there && last == line.as_bytes() {
            return Ok(());
        }
    }
    file.write_all(added.as_bytes()).map_err(io_error(path))
}

fn make_empty(path: &Path) -> Result<(), StoreError> {
    open::options().write(true).create(true).truncate(false).open(path).map(drop).map_err(io_error(path))
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path)(error)),
        _ => Ok(()),
    }
}

/// What the pointer files tell where there is no state: those of a state that was lost, or of the plugin that ran
/// before this one. The rollout that they name tells the rest.
pub(super) fn from_pointers(dir: &StateDir) -> State {
    let first_line = |path: PathBuf| -> Option<String> {
        let text = fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()).then(|| fs::read_to_string(path))?;
        text.ok()?.lines().next().map(str::to_owned)
    };
    let mut state = State::default();
    if let Some(session) = first_line(dir.root_session()).and_then(|line| payload::thread_id(&line)) {
        state.set_session(&session);
        if let Some(rollout) = first_line(dir.transcript_path()).and_then(payload::fit_path) {
            state.root.set_rollout(&rollout);
        }
    }
    state
}

#[cfg(test)]
mod tests;
