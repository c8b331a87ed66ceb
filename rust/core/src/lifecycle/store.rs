//! The state on disk, and the marker files that follow from it.
//!
//! The state has one file with two places. A new state goes to the place of the older one, so that whatever is killed
//! when, one of them is whole; the newer whole one counts. The file is also the lock (`flock`, which the kernel frees
//! when its owner ends, however that comes).
//!
//! A state is written before its marker files are, with a note that they may not fit; the note goes when they do. Who
//! finds the note makes all of them anew.

use std::cmp::Reverse;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::atomic_file::AtomicFile;
use crate::json::string;
use crate::rollout::ids::{ThreadId, TurnId};
use crate::sealed;
use crate::state_dir::StateDir;

use super::hook::Run;
use super::payload;
use super::state::{State, Subagent, Thread};

/// The version of the state's form.
const VERSION: u8 = 1;

/// Where the second place starts, in bytes: no state is as large, with as many subagents as there may be and the
/// longest ids and paths.
const SECOND: u64 = 2 << 20;

/// Before the state: whether the marker files may not fit, the state's number and its length.
const HEADER: usize = 1 + 8 + 4;

/// Bytes that are read of each place at first: most states are shorter.
const FIRST_READ: usize = 2048;

/// How long a process sleeps at most before it asks for the lock again.
const LONGEST_PAUSE: Duration = Duration::from_millis(4);

/// How often a run is put off into a folder that others remove. More than once is rare.
const MOST_ATTEMPTS: u32 = 100;

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

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> StoreError + '_ {
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
    /// The files of the runs that were put off, once they were taken; none where there is no folder of them.
    put_off: Option<Vec<PathBuf>>,
}

impl<'d> Store<'d> {
    /// Locks and reads the state; waits for the lock no longer than `patience`.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub fn open(dir: &'d StateDir, patience: Duration) -> Result<Self, StoreError> {
        let path = dir.lifecycle();
        let file = open_or_make(dir, &path)?;
        lock(&file, patience, &path)?;
        let mut store =
            Self { dir, file, saved: State::default(), number: 0, is_unsettled: true, damage: None, put_off: None };
        store.load().map_err(io_error(&path))?;
        Ok(store)
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

    /// Reads both places and takes the newer whole one.
    fn load(&mut self) -> io::Result<()> {
        let mut places = [Place::read(&self.file, 0)?, Place::read(&self.file, SECOND)?];
        places.sort_by_key(|place| Reverse(place.number));
        let [newer, older] = &mut places;
        // Of the older one it matters only that it is there, while its number is the one before. Then the numbers, which
        // are outside the seals, are as they were written.
        let is_alone = older.number == 0 && newer.number <= 1;
        let follows = is_alone || older.number + 1 == newer.number;
        let mut broken = 0;
        for place in [newer, older] {
            if place.number == 0 {
                continue;
            }
            match place.open(&self.file)? {
                Some(state) if self.number == 0 => {
                    self.number = place.number;
                    self.is_unsettled = place.has_note;
                    self.saved = state;
                }
                Some(_) => {}
                None => broken += 1,
            }
            if self.number > 0 && follows {
                break;
            }
        }
        // A place that is broken was being written; what it was to replace is the other one.
        self.is_unsettled |= broken > 0 || self.number == 0;
        if self.number == 0 {
            self.saved = from_pointers(self.dir);
            self.damage = (broken > 0).then_some("the lifecycle's state was damaged, or of another version");
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
            let path = self.dir.lifecycle();
            self.file.write_all_at(&[0], place_of(self.number)).map_err(io_error(&path))?;
        }
        self.is_unsettled = false;
        forgotten
    }

    /// Writes a state to the place of the older one.
    fn write(&mut self, state: &State, fits: bool) -> Result<(), StoreError> {
        let path = self.dir.lifecycle();
        let number = self.number + 1;
        let sealed = sealed::seal(VERSION, &(number, state));
        let length = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEADER + sealed.len());
        bytes.push(u8::from(!fits));
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&sealed);
        if bytes.len() as u64 > SECOND {
            let error = io::Error::other("the state is larger than its place");
            return Err(io_error(&path)(error));
        }
        self.file.write_all_at(&bytes, place_of(number)).map_err(io_error(&path))?;
        self.number = number;
        Ok(())
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

/// What the pointer files tell where there is no state: those of a state that was lost, or of the plugin that ran
/// before this one. The rollout that they name tells the rest.
fn from_pointers(dir: &StateDir) -> State {
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

/// Where the state of this number goes.
fn place_of(number: u64) -> u64 {
    if number % 2 == 1 { 0 } else { SECOND }
}

/// One of the two places, as far as it was read.
struct Place {
    start: u64,
    /// What the marker files may not fit.
    has_note: bool,
    /// The state's number; 0 where there is none.
    number: u64,
    /// The length of the sealed state, in bytes.
    size: usize,
    /// The first bytes behind the header.
    first: Vec<u8>,
}

impl Place {
    fn read(file: &File, start: u64) -> io::Result<Self> {
        let mut bytes = vec![0; FIRST_READ];
        let length = read_at(file, &mut bytes, start)?;
        bytes.truncate(length);
        let Some((header, _)) = bytes.split_first_chunk::<HEADER>() else {
            return Ok(Self { start, has_note: false, number: 0, size: 0, first: Vec::new() });
        };
        let (note, number, size) = read_header(header);
        bytes.drain(..HEADER);
        Ok(Self { start, has_note: note != 0, number, size, first: bytes })
    }

    /// The state, if it is whole.
    fn open(&mut self, file: &File) -> io::Result<Option<State>> {
        let size = self.size.min(usize::try_from(SECOND).unwrap_or(0));
        let read = self.first.len();
        self.first.resize(size, 0);
        if size > read {
            let more = read_at(file, &mut self.first[read..], self.start + (HEADER + read) as u64)?;
            self.first.truncate(read + more);
        }
        // The number outside is not under the seal.
        let opened = sealed::open::<(u64, State)>(VERSION, &self.first).ok();
        Ok(opened.filter(|(sealed, _)| *sealed == self.number).map(|(_, state)| state))
    }
}

fn read_header(header: &[u8; HEADER]) -> (u8, u64, usize) {
    let number = header[1..9].try_into().map_or(0, u64::from_le_bytes);
    let length = header[9..].try_into().map_or(0, u32::from_le_bytes);
    (header[0], number, length as usize)
}

fn read_at(file: &File, buffer: &mut [u8], start: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], start + length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        // A first read of less than was wanted is the end of the file.
        if length > 0 && length < buffer.len() && buffer.len() == FIRST_READ {
            break;
        }
    }
    Ok(length)
}

fn open_or_make(dir: &StateDir, path: &Path) -> Result<File, StoreError> {
    let open = || File::options().read(true).write(true).create(true).truncate(false).open(path);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !dir.path().is_dir() {
                return Err(StoreError::NoStateDir(dir.path().display().to_string()));
            }
            fs::create_dir_all(dir.own()).map_err(io_error(&dir.own()))?;
            open().map_err(io_error(path))
        }
        opened => opened.map_err(io_error(path)),
    }
}

/// Takes the lock, or gives up after `patience`.
fn lock(file: &File, patience: Duration, path: &Path) -> Result<(), StoreError> {
    let mut begun = None;
    // Owners hold it for some 50 microseconds. Many that asked for it that often would keep the owner from its work.
    let mut pause = Duration::from_micros(200);
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) => {
                let begun = *begun.get_or_insert_with(Instant::now);
                if begun.elapsed() >= patience {
                    return Err(StoreError::Locked(patience));
                }
                std::thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(io_error(path)(error.into())),
        }
    }
}

/// What the marker files are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Markers<'s> {
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
    fn of(state: &'s State) -> Self {
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
    fn publish(&self, before: Option<&Markers<'_>>, dir: &StateDir) -> Result<(), StoreError> {
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

    fn publish_subagents(&self, before: Option<&Markers<'_>>, dir: &StateDir) -> Result<(), StoreError> {
        let folder = dir.subagents();
        for (place, subagent) in self.subagents.iter().enumerate() {
            let is_there = before.is_some_and(|before| has(&before.subagents, place, |known| known == subagent));
            if !is_there {
                subagent.publish(&folder, dir)?;
            }
        }
        if let Some(before) = before {
            for (place, InFlight { id, .. }) in before.subagents.iter().enumerate() {
                if !has(&self.subagents, place, |known| known.id == *id) {
                    remove(&folder.join(file_name(id)))?;
                }
            }
        } else {
            for name in names_in(&folder)?.unwrap_or_default() {
                if !self.subagents.iter().any(|known| known.id.0.as_bytes() == name.as_bytes()) {
                    remove(&folder.join(name))?;
                }
            }
        }
        Ok(())
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

/// The names of what is in a folder but for folders; `None` where there is no folder.
fn names_in(folder: &Path) -> Result<Option<Vec<String>>, StoreError> {
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
    fs::write(&unfinished, content).map_err(io_error(&unfinished))?;
    fs::rename(&unfinished, path).map_err(io_error(path))
}

/// Appends a line; where it is not known whether it stands there already, only if it is not the last. The beginning of
/// it without an end of line is completed.
fn add_line(path: &Path, line: &str, may_be_there: bool) -> Result<(), StoreError> {
    let mut file = File::options().read(true).append(true).create(true).open(path).map_err(io_error(path))?;
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
    File::options().write(true).create(true).truncate(false).open(path).map(drop).map_err(io_error(path))
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path)(error)),
        _ => Ok(()),
    }
}

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
    let sealed = sealed::seal(VERSION, run);
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

impl Store<'_> {
    /// The runs that were put off, in their order; they are taken away with the next [`Store::save`]. What is damaged
    /// or cannot be read is passed over: it is to keep no other event from being taken in.
    pub fn take_put_off(&mut self) -> Vec<Run> {
        let folder = self.dir.lifecycle_pending();
        let Ok(Some(mut names)) = names_in(&folder) else { return Vec::new() };
        // What begins with a dot is being written.
        names.retain(|name| !name.starts_with('.'));
        names.sort_unstable();
        let (mut runs, mut taken) = (Vec::new(), Vec::new());
        for path in names.iter().map(|name| folder.join(name)) {
            if let Ok(sealed) = fs::read(&path) {
                runs.extend(sealed::open::<Run>(VERSION, &sealed));
                taken.push(path);
            }
        }
        self.put_off = Some(taken);
        runs
    }

    /// Whether runs were found that were put off.
    #[must_use]
    pub fn has_put_off(&self) -> bool {
        self.put_off.as_ref().is_some_and(|taken| !taken.is_empty())
    }

    /// Takes away the runs that were put off and are in the state now.
    fn forget_put_off(&mut self) -> Result<(), StoreError> {
        let Some(taken) = self.put_off.take() else { return Ok(()) };
        for path in &taken {
            remove(path)?;
        }
        // It stays where another run was put off meanwhile.
        let _ = fs::remove_dir(self.dir.lifecycle_pending());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
