//! Complete operations on the marker: a hook run, reconciliation with the rollouts, and a reset. Each acquires the lock,
//! changes the state and releases the lock.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::Access;

use crate::clock::{millis, now_millis};
use crate::event_log::{Level, log};
use crate::files::fingerprint::Fingerprint;
use crate::files::lock::LockError;
use crate::rollout::ids::{ThreadId, TurnId};
use crate::state_dir::StateDir;

use super::deferred::defer;
use super::error::{MarkerError, StoreError};
use super::facts::Facts;
use super::hook::HookRun;
use super::reconcile::{self, KnownThread, LineListener, Signals};
use super::state::{SignalSource, State, Subagent, Thread, ThreadKey};
use super::store::Store;
use super::subagent_rollout;

/// How long a hook waits for the lock. Codex waits for its hooks.
const HOOK_LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// How long other operations wait for the lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of bytes that a hook reads at the end of a rollout. Reading them takes some milliseconds.
const MAX_READ_BY_HOOK: u64 = 4 << 20;

/// How long the end of a session reads rollouts, before the last one is begun. Codex kills the
/// hook after 3 s.
const MAX_TIME_OF_SESSION_END: Duration = Duration::from_millis(300);

/// The number of times that a rollout is read again because another process has read it in the meantime. That process has
/// then applied the new lines.
const MAX_READINGS: u32 = 16;

/// Applies the run of a hook. If another process holds the lock for too long, the run is deferred.
///
/// # Errors
///
/// Returns [`MarkerError::Deferred`] if the run was deferred, and [`MarkerError::Store`] if the state cannot be read or
/// saved.
pub fn apply(dir: &StateDir, run: &HookRun) -> Result<(), MarkerError> {
    if run.ends_session() {
        read_open_turns(dir, run);
    }
    let result = match apply_locked(dir, run) {
        Err(StoreError::Lock(error @ LockError::Timeout { .. })) => {
            defer(dir, run)?;
            Err(MarkerError::Deferred(error))
        }
        result => result.map_err(MarkerError::Store),
    };
    let deferred = apply_deferred(dir);
    result.and(deferred)
}

fn apply_locked(dir: &StateDir, run: &HookRun) -> Result<(), StoreError> {
    let mut store = Store::open(dir, HOOK_LOCK_TIMEOUT)?;
    let mut state = current(dir, &mut store);
    apply_run(dir, &mut state, run);
    store.save(state)
}

/// Applies the runs that were deferred while another process held the lock. The process that defers a run tries to acquire
/// the lock once more afterwards, and the previous owner checks for deferred runs once more after releasing it, so one of
/// the two finds the run.
fn apply_deferred(dir: &StateDir) -> Result<(), MarkerError> {
    while rustix::fs::access(dir.lifecycle_pending(), Access::EXISTS).is_ok() {
        let mut store = match Store::open(dir, Duration::ZERO) {
            Err(StoreError::Lock(LockError::Timeout { .. })) => break,
            opened => opened?,
        };
        let state = current(dir, &mut store);
        if !store.has_deferred() {
            // The folder contains something else, so it will not disappear.
            break;
        }
        store.save(state)?;
    }
    Ok(())
}

/// Applies the ends of the rollouts of all running turns, for a session that has ended: there may be no watcher that does
/// it later, and no other hook follows. Codex stops waiting after 3 s, so what takes too long is left out.
fn read_open_turns(dir: &StateDir, run: &HookRun) {
    let begun = Instant::now();
    let Ok(mut state) = read(dir) else { return };
    if !run.is_of_root(&state) {
        return;
    }
    run.name_rollout(&mut state);
    let (mut rollouts, root_rollout) = (rollouts(&state), state.root.rollout.clone());
    rollouts.retain(|rollout| state.thread_mut(&rollout.key).is_some_and(|thread| thread.is_open()));
    let mut found: Vec<(RolloutToRead, Signals)> = Vec::new();
    for mut rollout in rollouts {
        if begun.elapsed() > MAX_TIME_OF_SESSION_END {
            break;
        }
        if rollout.path.is_empty() {
            let Some(path) = subagent_rollout::find(&root_rollout, &rollout.known.thread) else { continue };
            rollout.path = path;
        }
        match reconcile::read_end(Path::new(&rollout.path), MAX_READ_BY_HOOK, &rollout.known) {
            Ok(signals) => found.push((rollout, signals)),
            Err(error) => log_unreadable(dir, &rollout.path, &error),
        }
    }
    if found.iter().all(|(_, signals)| signals.list.is_empty()) {
        return;
    }
    let Ok(mut store) = Store::open(dir, HOOK_LOCK_TIMEOUT) else { return };
    let mut state = current(dir, &mut store);
    run.name_rollout(&mut state);
    for (rollout, signals) in found {
        apply_end(rollout, signals, &mut state);
    }
    if let Err(error) = store.save(state) {
        log(dir, Level::Warning, &format!("cannot save what the rollouts of the ended session say: {error}"));
    }
}

/// Applies a run, which may have been deferred.
fn apply_run(dir: &StateDir, state: &mut State, run: &HookRun) {
    if state.is_nested(&run.session, &run.thread()) && !state.has_nested(&run.session) {
        // A session is nested if the root's turn is running. The rollout may show that the turn has ended.
        read_end_of_root(dir, state);
    }
    if run.may_begin_side_conversation(state) && reconcile::is_side_conversation(Path::new(&run.rollout)) {
        // Its session never becomes the root's, and its later hooks change nothing either.
        state.add_nested(&run.session);
    }
    run.apply_to(state);
}

/// Applies the signals at the end of the root's rollout. It is read under the lock, because it is small and the session has
/// to be classified before the next event.
fn read_end_of_root(dir: &StateDir, state: &mut State) {
    if state.root.rollout.is_empty() {
        return;
    }
    let root = RolloutToRead::new(ThreadKey::Root, &state.root, &state.session);
    match reconcile::read_end(Path::new(&root.path), MAX_READ_BY_HOOK, &root.known) {
        Ok(signals) => apply_end(root, signals, state),
        Err(error) => log_unreadable(dir, &root.path, &error),
    }
}

/// Applies the signals that [`reconcile::read_end`] has returned.
fn apply_end(rollout: RolloutToRead, signals: Signals, state: &mut State) {
    let (key, known) = (rollout.key.clone(), rollout.known.clone());
    let is_offset_unchanged = signals.read_offset == known.read_offset;
    rollout.apply(signals, state);
    if let Some(thread) = state.thread_mut(&key)
        && is_offset_unchanged
        && !(known.has_read_beginning && thread.turn == known.turn)
    {
        // The turn begins in lines that will be read again.
        thread.forget_beginning();
    }
}

/// Logs that a rollout cannot be read. A missing rollout was archived or is not written yet, so only the hooks count, and
/// nothing is logged.
fn log_unreadable(dir: &StateDir, path: &str, error: &io::Error) {
    if error.kind() != io::ErrorKind::NotFound {
        log(dir, Level::Warning, &format!("cannot read {path}: {error}"));
    }
}

/// Returns the state with the deferred runs applied.
fn current(dir: &StateDir, store: &mut Store<'_>) -> State {
    let mut state = store.state().clone();
    if let Some(damage) = store.damage() {
        log(dir, Level::Warning, &format!("{damage}; starting with a new state"));
    }
    for run in store.read_deferred() {
        let before = state.root.rollout.clone();
        apply_run(dir, &mut state, &run);
        if before != state.root.rollout
            && let Err(error) = store.list_rollout_change(&before, &state.root.rollout)
        {
            // The run is applied nevertheless.
            log(dir, Level::Warning, &format!("cannot add {before} to the list of rollouts: {error}"));
        }
    }
    state
}

/// Reconciles the state with the rollouts and writes all marker files again. Returns the new state.
///
/// # Errors
///
/// Returns [`MarkerError::Store`] if the state cannot be read or saved.
pub fn recompute(dir: &StateDir) -> Result<State, MarkerError> {
    apply_rollouts(dir, None, &|_| None)?;
    let mut store = Store::open(dir, LOCK_TIMEOUT)?;
    let state = current(dir, &mut store);
    store.save_all(state)?;
    drop(store);
    apply_deferred(dir)?;
    read(dir)
}

/// Applies the new lines of the rollouts, for a Codex without a watcher. Returns the new state. Unlike [`recompute`], it
/// writes only what has changed.
///
/// # Errors
///
/// Returns [`MarkerError::Store`] if the state cannot be read or saved.
pub(crate) fn refresh(dir: &StateDir) -> Result<State, MarkerError> {
    reconcile(dir, None, &|_| None)
}

/// Returns a listener for the new lines of the root's rollout, to be passed to [`reconcile()`] later. Returns `None` if no
/// hook has named the rollout.
pub(crate) fn listen(state: &State) -> Option<LineListener> {
    let root = RolloutToRead::new(ThreadKey::Root, &state.root, &state.session);
    (!root.path.is_empty()).then(|| LineListener::new(root.path.into(), root.known))
}

/// Applies the signals that the listener collected and all other new signals in the rollouts. Returns the new state. The
/// root's rollout is read only up to the copied length: when a signal is applied, its line must already be in the
/// transcripts.
///
/// # Errors
///
/// Returns [`MarkerError::Store`] if the state cannot be read or saved.
pub(crate) fn reconcile(
    dir: &StateDir,
    listener: Option<LineListener>,
    copied: &CopiedLength<'_>,
) -> Result<State, MarkerError> {
    apply_rollouts(dir, listener, copied)?;
    apply_deferred(dir)?;
    read(dir)
}

/// Records the facts in the rollouts about the root's session. Facts about another session are ignored.
///
/// # Errors
///
/// Returns [`MarkerError::Store`] if the state cannot be read or saved.
pub(crate) fn record_facts(dir: &StateDir, facts: Facts) -> Result<(), MarkerError> {
    let mut store = Store::open(dir, LOCK_TIMEOUT)?;
    let mut state = current(dir, &mut store);
    state.set_facts(facts);
    store.save(state)?;
    drop(store);
    apply_deferred(dir)
}

/// Closes all turns before a Codex is started. Nothing that the rollouts contain by now opens them again.
///
/// # Errors
///
/// Returns [`MarkerError::Store`] if the state cannot be read or saved.
pub fn reset(dir: &StateDir) -> Result<(), MarkerError> {
    let latest = apply_rollouts(dir, None, &|_| None)?;
    let mut store = Store::open(dir, LOCK_TIMEOUT)?;
    let mut state = current(dir, &mut store);
    state.reset(&latest, end_of_root(&state), now_millis());
    store.save_all(state)?;
    drop(store);
    apply_deferred(dir)
}

/// Returns the size of the root's rollout in bytes and the hash of its end, if the rollout exists.
fn end_of_root(state: &State) -> Option<(u64, Fingerprint)> {
    reconcile::size(Path::new(&state.root.rollout)).ok()
}

/// Records that a Codex has exited, and closes the turns that it left open. `resets` is the number of resets while it was
/// running. If that number has changed, another Codex was started, and nothing happens.
///
/// # Errors
///
/// Returns [`MarkerError::Store`] if the state cannot be read or saved.
pub(crate) fn end(dir: &StateDir, resets: u64) -> Result<(), MarkerError> {
    let latest = if read(dir)?.is_in_turn() { apply_rollouts(dir, None, &|_| None)? } else { TurnId::default() };
    let mut store = Store::open(dir, LOCK_TIMEOUT)?;
    let mut state = current(dir, &mut store);
    if state.resets == resets {
        let at = now_millis();
        if state.is_in_turn() {
            state.reset(&latest, end_of_root(&state), at);
        }
        state.end(at);
    }
    store.save(state)?;
    drop(store);
    apply_deferred(dir)
}

/// Returns the state with the deferred runs applied, without waiting for the lock and without writing anything.
///
/// # Errors
///
/// Returns [`MarkerError::Store`] if the state cannot be read.
pub fn read(dir: &StateDir) -> Result<State, MarkerError> {
    Ok(Store::read_unlocked(dir)?)
}

/// A rollout to read.
struct RolloutToRead {
    key: ThreadKey,
    /// The path. It is empty if no hook has named it.
    path: String,
    known: KnownThread,
}

impl RolloutToRead {
    fn new(key: ThreadKey, thread: &Thread, id: &ThreadId) -> Self {
        let known = KnownThread {
            thread: id.clone(),
            turn: thread.turn.clone(),
            stopped_at: thread.stopped_at(),
            asked_at: thread.asked_at(),
            has_read_beginning: thread.has_read_beginning(),
            read_offset: thread.read_offset,
            read_fingerprint: thread.read_fingerprint,
        };
        Self { key, path: thread.rollout.clone(), known }
    }

    /// Applies the signals. Returns `false` if the rollout has to be read again, because another process has read some of
    /// it in the meantime or another rollout is current.
    fn apply(self, signals: Signals, state: &mut State) -> bool {
        let Some(thread) = state.thread_mut(&self.key) else { return true };
        let is_current = thread.rollout.is_empty() || thread.rollout == self.path;
        // If the turn was stopped in the meantime, lines that name it are signals now. If Codex asked, outputs are.
        let is_newly_stopped = thread.stopped_at().is_some() && thread.stopped_at() != self.known.stopped_at;
        let is_newly_asked = thread.asked_at().is_some() && thread.asked_at() != self.known.asked_at;
        if !is_current || thread.read_offset != self.known.read_offset || is_newly_stopped || is_newly_asked {
            return false;
        }
        if signals.is_rewritten {
            thread.reset_position();
        }
        let at = if signals.list.is_empty() { 0 } else { written_at(&self.path) };
        for (turn, signal) in signals.list {
            state.apply(&self.key, &turn, signal, SignalSource::Rollout, at);
        }
        if let Some(thread) = state.thread_mut(&self.key) {
            thread.set_rollout(&self.path);
            thread.read_offset = signals.read_offset;
            thread.read_fingerprint = signals.read_fingerprint;
        }
        true
    }
}

/// How much earlier than the write the time of a file can be, in milliseconds: the kernel uses the time of the last tick of
/// its clock.
const TICK: u64 = 10;

/// Returns the time of the last line of a rollout, in milliseconds since 1970: without a watcher, the line can be read much
/// later. It is the present time if that cannot be determined. A hook that ran before the line was written has an earlier
/// time.
fn written_at(rollout: &str) -> u64 {
    let modified = std::fs::metadata(rollout).and_then(|metadata| metadata.modified());
    modified.map_or(u64::MAX, |modified| millis(modified).saturating_add(TICK)).min(now_millis())
}

/// Returns how much of a rollout is in the transcripts, in bytes, or `None` if that is not known.
pub(crate) type CopiedLength<'c> = dyn Fn(&Path) -> Option<u64> + 'c;

/// Applies the new signals of all rollouts. Returns the latest turn that the rollouts name. Rollouts are searched and read
/// without holding the lock: a hook must not wait for a large one, and their signals have the same effect at any time.
fn apply_rollouts(
    dir: &StateDir,
    mut listener: Option<LineListener>,
    copied: &CopiedLength<'_>,
) -> Result<TurnId, MarkerError> {
    let mut latest = TurnId::default();
    for _ in 0..MAX_READINGS {
        let (found, is_complete) = apply_rollouts_once(dir, listener.take(), copied)?;
        if latest.0.is_empty() || latest.is_earlier_than(&found) {
            latest = found;
        }
        if is_complete {
            break;
        }
    }
    Ok(latest)
}

/// Does one round of [`apply_rollouts`]. Also returns whether all signals could be applied.
fn apply_rollouts_once(
    dir: &StateDir,
    listener: Option<LineListener>,
    copied: &CopiedLength<'_>,
) -> Result<(TurnId, bool), MarkerError> {
    let mut store = Store::open(dir, LOCK_TIMEOUT)?;
    let mut state = current(dir, &mut store);
    let root = RolloutToRead::new(ThreadKey::Root, &state.root, &state.session);
    if let Some(signals) = listener.and_then(|listener| listener.signals(Path::new(&root.path), &root.known)) {
        root.apply(signals, &mut state);
    }
    let (rollouts, root_rollout) = (rollouts(&state), state.root.rollout.clone());
    store.save(state)?;
    drop(store);
    let mut read: Vec<(RolloutToRead, Signals)> = Vec::new();
    let mut latest = TurnId::default();
    for mut rollout in rollouts {
        if rollout.path.is_empty() {
            let Some(found) = subagent_rollout::find(&root_rollout, &rollout.known.thread) else { continue };
            rollout.path = found;
        }
        let path = Path::new(&rollout.path);
        let until = if rollout.key == ThreadKey::Root { copied(path) } else { None };
        match reconcile::read(path, &rollout.known, until.unwrap_or(u64::MAX)) {
            Ok(signals) => {
                if latest.0.is_empty() || latest.is_earlier_than(&signals.latest) {
                    latest = signals.latest.clone();
                }
                let is_new = signals.read_offset != rollout.known.read_offset;
                if is_new || signals.is_rewritten || !signals.list.is_empty() {
                    read.push((rollout, signals));
                }
            }
            Err(error) => log_unreadable(dir, &rollout.path, &error),
        }
    }
    if read.is_empty() {
        return Ok((latest, true));
    }
    let mut store = Store::open(dir, LOCK_TIMEOUT)?;
    // Runs that were deferred in the meantime are applied first: lines after a stop were written after it.
    let mut state = current(dir, &mut store);
    let mut is_complete = true;
    for (rollout, signals) in read {
        is_complete &= rollout.apply(signals, &mut state);
    }
    store.save(state)?;
    Ok((latest, is_complete))
}

/// Returns the rollouts of all threads. A rollout that no hook has named is included while its thread's turn is running.
fn rollouts(state: &State) -> Vec<RolloutToRead> {
    let root =
        std::iter::once((ThreadKey::Root, &state.root, &state.session)).filter(|(_, root, _)| !root.rollout.is_empty());
    let subagents = state.subagents.iter().map(|Subagent { id, thread }| (ThreadKey::Subagent(id.clone()), thread, id));
    let subagents = subagents.filter(|(_, thread, _)| !thread.rollout.is_empty() || thread.is_open());
    root.chain(subagents).map(|(key, thread, id)| RolloutToRead::new(key, thread, id)).collect()
}

#[cfg(test)]
mod tests;
