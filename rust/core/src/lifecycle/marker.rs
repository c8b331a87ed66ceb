//! Hook runs, healing and reset as a whole: each takes the lock, changes the state, and lets go.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::Access;

use crate::event_log::{Level, log};
use crate::rollout::ids::{ThreadId, TurnId};
use crate::state_dir::StateDir;

use super::deferred::put_off;
use super::hook::{Event, Run};
use super::payload::{Payload, PayloadError};
use super::reconcile::{self, Known, LineListener, Signals};
use super::state::{Source, State, Subagent, Thread, Who};
use super::store::{Store, StoreError};

/// How long a hook waits for the lock. Codex waits for its hooks.
const HOOK_PATIENCE: Duration = Duration::from_millis(500);

/// How long anything else does.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of a rollout's end a hook reads, in bytes: what came last, in some milliseconds whatever the size.
const MOST_FOR_HOOK: u64 = 4 << 20;

/// Why the marker could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MarkerError {
    /// The payload cannot be used.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Another process has had the lock for too long; who gets it next takes in the event.
    #[error("the lock was not to be had within {0:?}: the event is put off until the next one")]
    PutOff(Duration),
    /// The state cannot be had or saved.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes in a hook's run, after what is to be done `before` that. What goes wrong is logged as well.
///
/// # Errors
///
/// [`MarkerError`], for callers other than codex.
pub fn run_hook(dir: &StateDir, event: Event, input: impl Read, before: impl FnOnce(&Run)) -> Result<(), MarkerError> {
    let result = take_hook(dir, event, input, before);
    if let Err(error) = &result {
        // There may be no place for a log, and nobody to be told.
        let _ = log(dir, Level::Error, &format!("hook {}: {error}", event.name()));
    }
    result
}

/// Says in the log that a hook was run under a name that no event has.
pub fn tell_unknown(dir: &StateDir, name: &str) {
    let known = Event::ALL.map(|(name, _)| name).join(", ");
    let _ = log(dir, Level::Warning, &format!("hook {}: there is no such event; there are {known}", cut(name)));
}

/// As much of a name as a message shows.
fn cut(name: &str) -> String {
    name.chars().take(80).collect()
}

fn take_hook(dir: &StateDir, event: Event, input: impl Read, before: impl FnOnce(&Run)) -> Result<(), MarkerError> {
    let run = Run::new(event, Payload::read(input)?, now())?;
    before(&run);
    let result = match apply(dir, &run, HOOK_PATIENCE) {
        Err(MarkerError::Store(StoreError::Locked(waited))) => {
            put_off(dir, &run)?;
            Err(MarkerError::PutOff(waited))
        }
        result => result,
    };
    let others = take_what_was_put_off(dir);
    result.and(others)
}

/// Takes in the runs that were put off while another process had the lock. Who puts one off looks for the lock once
/// more, and who had the lock looks for such runs once more: so one of the two finds it.
fn take_what_was_put_off(dir: &StateDir) -> Result<(), MarkerError> {
    while rustix::fs::access(dir.lifecycle_pending(), Access::EXISTS).is_ok() {
        let mut store = match Store::open(dir, Duration::ZERO) {
            Err(StoreError::Locked(_)) => break,
            opened => opened?,
        };
        let state = current(dir, &mut store);
        if !store.has_put_off() {
            // What else stands there is none of ours.
            break;
        }
        store.save(state)?;
    }
    Ok(())
}

fn apply(dir: &StateDir, run: &Run, timeout: Duration) -> Result<(), MarkerError> {
    let mut store = Store::open(dir, timeout)?;
    let mut state = current(dir, &mut store);
    take_run(dir, &mut state, run);
    store.save(state)?;
    Ok(())
}

/// Takes in a run, which may be one that was put off.
fn take_run(dir: &StateDir, state: &mut State, run: &Run) {
    if state.is_nested(&run.session, &run.who()) && !state.has_nested(&run.session) {
        // Whether the root's turn goes on decides what this session is, and the rollout may know better.
        look_at_root(dir, state);
    }
    run.apply(state);
}

/// Takes in what the end of the root's rollout says. It is read under the lock: it is small, and what a session is must
/// be known before the next event.
fn look_at_root(dir: &StateDir, state: &mut State) {
    if state.root.rollout.is_empty() {
        return;
    }
    let root = ToRead::new(Who::Root, &state.root, &state.session);
    let known = root.known.clone();
    match reconcile::read_end(Path::new(&root.path), MOST_FOR_HOOK, &known) {
        Ok(signs) => {
            let is_end_alone = signs.read == known.read;
            root.take(signs, state);
            if is_end_alone && !(known.has_beginning && state.root.turn == known.turn) {
                // The turn begins in what will be read once more.
                state.root.forget_beginning();
            }
        }
        Err(error) => tell_unread(dir, &root.path, &error),
    }
}

/// Says in the log that a rollout could not be read. One that is not there was archived or is not written yet: then
/// hooks alone count.
fn tell_unread(dir: &StateDir, path: &str, error: &io::Error) {
    if error.kind() != io::ErrorKind::NotFound {
        let _ = log(dir, Level::Warning, &format!("{path} could not be read: {error}"));
    }
}

/// The state with the runs that were put off.
fn current(dir: &StateDir, store: &mut Store<'_>) -> State {
    let mut state = store.state().clone();
    if let Some(damage) = store.damage() {
        let _ = log(dir, Level::Warning, &format!("{damage}; it begins anew"));
    }
    for run in store.take_put_off() {
        let before = state.root.rollout.clone();
        take_run(dir, &mut state, &run);
        if before != state.root.rollout
            && let Err(error) = store.pass_rollout(&before, &state.root.rollout)
        {
            // It is to keep no event from being taken in.
            let _ = log(dir, Level::Warning, &format!("{before} is missing in the list of rollouts: {error}"));
        }
    }
    state
}

/// Brings the state up to what the rollouts hold, and makes all marker files fit it.
///
/// # Errors
///
/// [`MarkerError::Store`]
pub fn recompute(dir: &StateDir) -> Result<State, MarkerError> {
    heal(dir, None, &|_| None)?;
    let mut store = Store::open(dir, LOCK_TIMEOUT)?;
    let state = current(dir, &mut store);
    store.save_all(state)?;
    drop(store);
    take_what_was_put_off(dir)?;
    read(dir)
}

/// What hears the lines of the root's rollout that are not known yet, for [`follow`]; none where no hook has named it.
///
/// # Errors
///
/// [`MarkerError::Store`]
pub fn listen(dir: &StateDir) -> Result<Option<LineListener>, MarkerError> {
    let state = read(dir)?;
    let root = ToRead::new(Who::Root, &state.root, &state.session);
    Ok((!root.path.is_empty()).then(|| LineListener::new(root.path.into(), root.known)))
}

/// Takes in what was heard and what else the rollouts say since they were last read, as one who follows them does again and
/// again; gives the state then. The root's is read as far as it was `copied`: whoever sees what its lines say finds them
/// in the transcripts.
///
/// # Errors
///
/// [`MarkerError::Store`]
pub fn follow(dir: &StateDir, heard: Option<LineListener>, copied: &Copied<'_>) -> Result<State, MarkerError> {
    heal(dir, heard, copied)?;
    take_what_was_put_off(dir)?;
    read(dir)
}

/// Closes all that is open, for a codex that starts anew: nothing that the rollouts hold by now opens it again.
///
/// # Errors
///
/// [`MarkerError::Store`]
pub fn reset(dir: &StateDir) -> Result<(), MarkerError> {
    reset_where(dir, |_| true)
}

/// Closes what a codex left open that has ended; nothing where another one was started meanwhile, which [`reset`] comes
/// before: `resets` is how many of these there had been when the one that ended was there.
///
/// # Errors
///
/// [`MarkerError::Store`]
pub fn reset_after(dir: &StateDir, resets: u64) -> Result<(), MarkerError> {
    reset_where(dir, |state| state.resets == resets && (state.is_active() || state.is_asking()))
}

fn reset_where(dir: &StateDir, is_wanted: impl Fn(&State) -> bool) -> Result<(), MarkerError> {
    if !is_wanted(&read(dir)?) {
        return Ok(());
    }
    let latest = heal(dir, None, &|_| None)?;
    let mut store = Store::open(dir, LOCK_TIMEOUT)?;
    let mut state = current(dir, &mut store);
    if !is_wanted(&state) {
        store.save(state)?;
        drop(store);
        return take_what_was_put_off(dir);
    }
    let read = reconcile::size(Path::new(&state.root.rollout)).ok();
    state.reset(&latest, read);
    store.save_all(state)?;
    drop(store);
    take_what_was_put_off(dir)
}

/// The state as it is, with the runs that were put off; nothing is written, and nobody waited for.
///
/// # Errors
///
/// [`MarkerError::Store`]
pub fn read(dir: &StateDir) -> Result<State, MarkerError> {
    Ok(Store::look(dir)?)
}

/// A rollout to be read.
struct ToRead {
    who: Who,
    /// Empty where no hook has named it.
    path: String,
    known: Known,
}

impl ToRead {
    fn new(who: Who, thread: &Thread, id: &ThreadId) -> Self {
        let known = Known {
            thread: id.clone(),
            turn: thread.turn.clone(),
            stopped_at: thread.stopped_at(),
            has_beginning: thread.has_beginning(),
            read: thread.read,
            read_end: thread.read_end,
        };
        Self { who, path: thread.rollout.clone(), known }
    }

    /// Takes in what was read; `false` where another process has read some of it meanwhile, so that it must be read
    /// again, or another rollout is current.
    fn take(self, signs: Signals, state: &mut State) -> bool {
        let Some(thread) = state.thread_mut(&self.who) else { return true };
        let is_current = thread.rollout.is_empty() || thread.rollout == self.path;
        // Of a turn that was stopped meanwhile it matters what names it.
        let is_stopped_since = thread.stopped_at().is_some() && thread.stopped_at() != self.known.stopped_at;
        if !is_current || thread.read != self.known.read || is_stopped_since {
            return false;
        }
        if signs.is_anew {
            thread.forget_lines();
        }
        for (turn, sign) in signs.signs {
            state.take(&self.who, &turn, sign, Source::Rollout, now());
        }
        if let Some(thread) = state.thread_mut(&self.who) {
            thread.set_rollout(&self.path);
            (thread.read, thread.read_end) = (signs.read, signs.read_end);
        }
        true
    }
}

/// How much of a rollout is in the transcripts, in bytes; none where that is not known.
pub type Copied<'c> = dyn Fn(&Path) -> Option<u64> + 'c;

/// How often a rollout is read again because another process has read some of it meanwhile: that one has gone on then.
const MOST_READINGS: u32 = 16;

/// Takes in what the rollouts say since they were last read; gives the latest turn that they name. They are found and read
/// without the lock: a hook need not wait for a large one, and what a line says does not depend on when it is said.
///
/// What was `heard` of the root's is taken in first.
fn heal(dir: &StateDir, mut heard: Option<LineListener>, copied: &Copied<'_>) -> Result<TurnId, MarkerError> {
    let mut latest = TurnId::default();
    for _ in 0..MOST_READINGS {
        let (found, is_all) = heal_once(dir, heard.take(), copied)?;
        if latest.0.is_empty() || latest.is_earlier_than(&found) {
            latest = found;
        }
        if is_all {
            break;
        }
    }
    Ok(latest)
}

/// As [`heal`]; also whether all that was read could be taken in.
fn heal_once(dir: &StateDir, heard: Option<LineListener>, copied: &Copied<'_>) -> Result<(TurnId, bool), MarkerError> {
    let mut store = Store::open(dir, LOCK_TIMEOUT)?;
    let mut state = current(dir, &mut store);
    let root = ToRead::new(Who::Root, &state.root, &state.session);
    if let Some(signs) = heard.and_then(|heard| heard.signs(Path::new(&root.path), &root.known)) {
        root.take(signs, &mut state);
    }
    let (rollouts, roots) = (rollouts(&state), state.root.rollout.clone());
    store.save(state)?;
    drop(store);
    let mut read: Vec<(ToRead, Signals)> = Vec::new();
    let mut latest = TurnId::default();
    for mut rollout in rollouts {
        if rollout.path.is_empty() {
            let Some(found) = find_rollout(&roots, &rollout.known.thread) else { continue };
            rollout.path = found;
        }
        let path = Path::new(&rollout.path);
        let until = if rollout.who == Who::Root { copied(path) } else { None };
        match reconcile::read(path, &rollout.known, until.unwrap_or(u64::MAX)) {
            Ok(signs) => {
                if latest.0.is_empty() || latest.is_earlier_than(&signs.latest) {
                    latest = signs.latest.clone();
                }
                if signs.read != rollout.known.read || signs.is_anew || !signs.signs.is_empty() {
                    read.push((rollout, signs));
                }
            }
            Err(error) => tell_unread(dir, &rollout.path, &error),
        }
    }
    if read.is_empty() {
        return Ok((latest, true));
    }
    let mut store = Store::open(dir, LOCK_TIMEOUT)?;
    // Runs that were put off meanwhile come first: what a rollout holds beyond a stop was written after it.
    let mut state = current(dir, &mut store);
    let mut is_all = true;
    for (rollout, signs) in read {
        is_all &= rollout.take(signs, &mut state);
    }
    store.save(state)?;
    Ok((latest, is_all))
}

/// The rollouts of all threads. One that no hook has named is looked for while its thread's turn goes on.
fn rollouts(state: &State) -> Vec<ToRead> {
    let root =
        std::iter::once((Who::Root, &state.root, &state.session)).filter(|(_, root, _)| !root.rollout.is_empty());
    let subagents = state.subagents.iter().map(|Subagent { id, thread }| (Who::Subagent(id.clone()), thread, id));
    let subagents = subagents.filter(|(_, thread, _)| !thread.rollout.is_empty() || thread.is_open());
    root.chain(subagents).map(|(who, thread, id)| ToRead::new(who, thread, id)).collect()
}

/// A subagent's rollout, which no hook has named: it ends in the thread's id, and stands in the folder of the root's
/// day or of a later one.
fn find_rollout(root: &str, thread: &ThreadId) -> Option<String> {
    let day = Path::new(root).parent()?;
    let sessions = day.ancestors().nth(3)?;
    let ending = format!("-{}.jsonl", String::from_utf8_lossy(thread.0.as_bytes()));
    let in_folder = |folder: &Path| -> Option<PathBuf> {
        let mut entries = std::fs::read_dir(folder).ok()?.flatten();
        entries.find(|entry| entry.file_name().to_string_lossy().ends_with(&ending)).map(|entry| entry.path())
    };
    let found = in_folder(day).or_else(|| {
        let later = days(sessions).into_iter().filter(|other| other.as_path() > day);
        later.take(31).find_map(|folder| in_folder(&folder))
    });
    found.and_then(|path| path.into_os_string().into_string().ok())
}

/// The folders `YYYY/MM/DD` of a `sessions` folder, in the order of their days.
fn days(sessions: &Path) -> Vec<PathBuf> {
    let children = |folder: &PathBuf| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    };
    let mut days = vec![sessions.to_path_buf()];
    for _ in 0..3 {
        days = days.iter().flat_map(children).collect();
    }
    days.sort();
    days
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
