//! The watcher: updates the transcripts and the marker of an agent whenever something changes.

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::FollowError;
use super::pass::{Follower, PassOptions, PassSummary};
use super::rollout_file::RolloutFile;
use super::usage::{Extent, Scope, UsageFollower};
use crate::clock::now_millis;
use crate::event_log::{Level, log};
use crate::files::lock::{self, LockError};
use crate::lifecycle::activity_event::HostDir;
use crate::lifecycle::activity_file::{self, ActivityTimer};
use crate::lifecycle::error::MarkerError;
use crate::lifecycle::marker;
use crate::lifecycle::reconcile::LineListener;
use crate::lifecycle::state::State;
use crate::state_dir::StateDir;
use crate::watch::{WakeUp, WatchUnavailable, Watched, Watches};

/// How long a pass holds the lock before it lets other processes have it, such as a hook that ends a turn.
const SLICE: Duration = Duration::from_millis(20);

/// How long a pass waits for the pass of another process by default.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the watcher lets other processes have the lock between two slices.
const YIELD_TIMEOUT: Duration = Duration::from_millis(100);

/// How long the watcher waits for the lock before it checks whether to continue.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long the facts about a session can delay the end of a turn that they belong to.
const FACTS_TIMEOUT: Duration = Duration::from_secs(1);

/// The number of new bytes after which a pass counts as large.
const LARGE_PASS: u64 = 1 << 20;

/// Why following stopped.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The transcripts could not be updated.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The marker could not be updated.
    #[error(transparent)]
    Marker(#[from] MarkerError),
    /// The caller stopped it.
    #[error("stopped by the caller")]
    Stopped,
    /// Waiting for changes failed.
    #[error("cannot wait for changes: {0}")]
    Wait(#[from] io::Error),
}

/// Follows one agent.
pub struct Watcher {
    dir: StateDir,
    follower: Follower,
    usage: UsageFollower,
    /// The number of bytes that the last update has measured.
    measured_bytes: u64,
    watches: Watches,
    activity: ActivityTimer,
    /// The last reason for polling that was logged.
    logged: Option<WatchUnavailable>,
}

impl Watcher {
    /// Returns a watcher of the agent with this state directory.
    #[must_use]
    pub fn new(dir: StateDir) -> Self {
        let (follower, usage) = (Follower::new(dir.clone()), UsageFollower::new(dir.clone()));
        let (watches, activity) = (Watches::default(), ActivityTimer::default());
        Self { dir, follower, usage, measured_bytes: 0, watches, activity, logged: None }
    }

    /// Makes the next update search the agent's home for sessions that no hook has reported.
    pub fn search_again(&mut self) {
        self.usage.search_again();
    }

    /// Updates the transcripts, the marker and the usage. Waits for other processes that do the same, but no longer than
    /// `timeout`. If `is_final` is set, the rollouts are treated as complete: no record is held back.
    ///
    /// Errors of the usage are logged. The next update repeats the measurements that have failed.
    ///
    /// # Errors
    ///
    /// Returns [`WatchError::Follow`] if the transcripts cannot be updated, and [`WatchError::Marker`] if the marker
    /// cannot. If only one of them fails, the other is updated.
    pub fn once(&mut self, is_final: bool, timeout: Duration) -> Result<PassSummary, WatchError> {
        self.once_while(is_final, timeout, &mut || true)
    }

    /// Like [`Watcher::once`], but stops when `should_continue` returns `false`. It is called about 50 times a second.
    ///
    /// # Errors
    ///
    /// Returns [`WatchError::Stopped`] if `should_continue` returned `false`, and the errors of [`Watcher::once`].
    pub fn once_while(
        &mut self,
        is_final: bool,
        timeout: Duration,
        should_continue: &mut dyn FnMut() -> bool,
    ) -> Result<PassSummary, WatchError> {
        let (mut total, mut state) = (PassSummary::default(), State::default());
        // The state with which everything that was copied has been measured.
        let mut measured = None;
        self.measured_bytes = 0;
        // A second pass copies a rollout that a hook has added to the list after the first one.
        for is_last in [false, true] {
            let before = marker::read(&self.dir).unwrap_or_default();
            let mut listener = marker::listen(&before);
            let passed = match self.copy_in_slices(is_final, timeout, should_continue, listener.as_mut()) {
                Err(error @ (WatchError::Stopped | WatchError::Follow(FollowError::NoStateDir(_)))) => {
                    return Err(error);
                }
                passed => passed,
            };
            // The transcripts are updated first, so that an agent's last message is in them when it shows WAITING. But if
            // the disk is full, an agent that waits must not show RUNNING forever, so the marker is updated anyway.
            let has_copied = passed.is_ok();
            match passed.as_ref().map_or(0, |passed| passed.raw_bytes) {
                0 => {}
                1..=LARGE_PASS if self.usage.has_searched() => {
                    measured = self.measure_first(&before, should_continue)?.then_some(before);
                }
                _ => measured = None,
            }
            let has_unknown = Cell::new(false);
            let copied = |path: &Path| {
                let copied = self.follower.copied(path);
                has_unknown.set(has_unknown.get() || copied.is_none());
                copied.or((!is_last).then_some(0)).filter(|_| has_copied)
            };
            state = marker::reconcile(&self.dir, listener.filter(|_| has_copied), &copied)?;
            let passed = passed?;
            total.raw_bytes += passed.raw_bytes;
            total.common_bytes += passed.common_bytes;
            if !has_unknown.get() {
                break;
            }
        }
        if !is_final && measured.is_some_and(|measured| !self.usage.is_pass_needed(&measured, &state)) {
            return Ok(total);
        }
        let extent = if is_final { Extent::Final } else { Extent::Usual };
        match self.measure(&state, extent, timeout, should_continue) {
            Err(WatchError::Follow(error)) if !matches!(error, FollowError::NoStateDir(_)) => {
                self.usage.log_once(Level::Error, &error.to_string());
            }
            measured => measured?,
        }
        Ok(total)
    }

    /// Records the facts in new lines before the state that these lines show. So the error of a turn is in the status file when
    /// mngr learns that the turn has ended. `state` is the one before. Returns `false` after an error, which is ignored because
    /// everything is measured again.
    ///
    /// # Errors
    ///
    /// Returns [`WatchError::Stopped`] if `should_continue` returned `false`, and [`WatchError::Marker`] if the facts cannot be
    /// recorded.
    fn measure_first(&mut self, state: &State, should_continue: &mut dyn FnMut() -> bool) -> Result<bool, WatchError> {
        let (begun, mut is_stopped) = (Instant::now(), false);
        let mut in_time = || {
            is_stopped = !should_continue();
            !is_stopped && begun.elapsed() < FACTS_TIMEOUT
        };
        match self.measure(state, Extent::Named, FACTS_TIMEOUT, &mut in_time) {
            Err(WatchError::Stopped) if is_stopped => Err(WatchError::Stopped),
            Err(error @ WatchError::Marker(_)) => Err(error),
            measured => Ok(measured.is_ok()),
        }
    }

    /// Measures the usage, and records the facts about the root's session.
    ///
    /// # Errors
    ///
    /// Returns [`WatchError::Stopped`] if `should_continue` returned `false`, [`WatchError::Follow`] if the usage cannot be
    /// measured, and [`WatchError::Marker`] if the facts cannot be recorded.
    fn measure(
        &mut self,
        state: &State,
        extent: Extent,
        timeout: Duration,
        should_continue: &mut dyn FnMut() -> bool,
    ) -> Result<(), WatchError> {
        let roots = self.follower.growing_rollouts().map(Path::to_owned).collect();
        let scope = Scope { state, roots, extent };
        let (measured_bytes, facts) = self.usage.pass(&scope, timeout, should_continue)?;
        self.measured_bytes += measured_bytes;
        if facts != *state.facts() {
            marker::record_facts(&self.dir, facts)?;
        }
        Ok(())
    }

    /// Returns how many times the marker has been reset. [`Watcher::end`] uses it to identify the current Codex process.
    ///
    /// # Errors
    ///
    /// Returns [`WatchError::Marker`] if the lifecycle state cannot be read.
    pub fn resets(&self) -> Result<u64, WatchError> {
        Ok(marker::read(&self.dir)?.resets)
    }

    /// Records that Codex has exited, and closes the turns that it left open. Does nothing if the marker has been reset
    /// more than `resets` times, because another Codex was started then.
    ///
    /// # Errors
    ///
    /// Returns [`WatchError::Marker`] if the lifecycle state cannot be read or written.
    pub fn end(&self, resets: u64) -> Result<(), WatchError> {
        Ok(marker::end(&self.dir, resets)?)
    }

    /// Copies everything, and lets other processes have the lock after each slice.
    fn copy_in_slices(
        &mut self,
        is_final: bool,
        timeout: Duration,
        should_continue: &mut dyn FnMut() -> bool,
        mut listener: Option<&mut LineListener>,
    ) -> Result<PassSummary, WatchError> {
        let mut total = PassSummary::default();
        let mut waiting_since = Instant::now();
        while should_continue() {
            let deadline = Some(Instant::now() + SLICE);
            let remaining = timeout.saturating_sub(waiting_since.elapsed());
            let options = PassOptions { deadline, is_final, is_brief: false };
            let passed = self.follower.pass(options, remaining.min(LOCK_POLL_INTERVAL), listener.as_deref_mut());
            let passed = match passed {
                Err(FollowError::Lock(LockError::Timeout { .. })) if waiting_since.elapsed() < timeout => continue,
                Err(FollowError::Lock(LockError::Timeout { resource, path, .. })) => {
                    return Err(FollowError::Lock(LockError::Timeout { resource, path, timeout }).into());
                }
                passed => passed?,
            };
            total.raw_bytes += passed.raw_bytes;
            total.common_bytes += passed.common_bytes;
            if !passed.is_incomplete {
                return Ok(total);
            }
            lock::yield_to_queue(&self.dir.following_queue(), YIELD_TIMEOUT);
            waiting_since = Instant::now();
        }
        Err(WatchError::Stopped)
    }

    /// Updates the transcripts and the marker, then waits for a change or until one of `others` is readable. Returns the
    /// index of the readable descriptor, or `None` for a change. Errors of the update are logged; the update is tried again
    /// after the next change.
    ///
    /// # Errors
    ///
    /// Returns [`FollowError::NoStateDir`] if the agent has been removed, and [`WatchError::Wait`] if waiting fails.
    pub fn update_and_wait(&mut self, others: &[BorrowedFd<'_>]) -> Result<Option<usize>, WatchError> {
        // Watch before the update, so that no change between the update and the wait is missed.
        let state = marker::read(&self.dir).unwrap_or_default();
        self.watches.set(self.targets(&state));
        self.log_unavailable();
        let mut has_grown = false;
        match self.once(false, LOCK_TIMEOUT) {
            Err(WatchError::Follow(error @ FollowError::NoStateDir(_))) => return Err(error.into()),
            Err(error) => log(&self.dir, Level::Error, &format!("watch: {error}")),
            Ok(passed) if passed.raw_bytes.max(self.measured_bytes) > LARGE_PASS => {
                // Long lines need memory that an idle watcher should not keep.
                self.follower = Follower::new(self.dir.clone());
                release_memory();
                return Ok(None);
            }
            Ok(passed) => has_grown = passed.raw_bytes.max(self.measured_bytes) > 0,
        }
        // The update may have found new rollouts and subagents.
        let state = marker::read(&self.dir).unwrap_or_default();
        self.touch_activity_file(&state, has_grown);
        let targets = self.targets(&state);
        if self.watches.set(targets) {
            return Ok(None);
        }
        // The directory may have been removed before it was watched.
        if !self.dir.path().is_dir() {
            return Err(FollowError::NoStateDir(self.dir.path().to_owned()).into());
        }
        match self.watches.wait_at_most(others, self.activity.wait(Instant::now()))? {
            WakeUp::Change => Ok(None),
            WakeUp::Ready(index) => Ok(Some(index)),
        }
    }

    /// Touches the activity file of an agent of mngr if that is due.
    fn touch_activity_file(&mut self, state: &State, has_grown: bool) {
        let is_in_turn = state.timeline().activity.is_in_turn() && HostDir::of(&self.dir, &state.session).is_some();
        if self.activity.is_due(is_in_turn, has_grown, Instant::now())
            && let Err(error) = activity_file::touch(&self.dir, now_millis())
        {
            log(&self.dir, Level::Warning, &format!("watch: {error}"));
        }
    }

    /// Returns what to watch: the files that hooks write, and the rollouts that may grow.
    fn targets(&self, state: &State) -> Vec<Watched> {
        let dir = &self.dir;
        let name = |path: PathBuf| path.file_name().map(OsStr::to_owned).unwrap_or_default();
        let mut targets = vec![
            Watched::Names(dir.path().to_owned(), name(dir.transcript_path())),
            Watched::Names(dir.path().to_owned(), name(dir.subagents())),
            Watched::Names(dir.path().to_owned(), name(dir.root_active())),
            Watched::File(dir.transcript_paths()),
            Watched::Names(dir.subagents(), OsString::new()),
        ];
        let subagents = state.in_flight().map(|subagent| &subagent.thread.rollout);
        let threads = [&state.root.rollout].into_iter().chain(subagents).filter(|rollout| !rollout.is_empty());
        let mut seen = HashSet::new();
        for path in self.follower.growing_rollouts().chain(threads.map(Path::new)) {
            if !seen.insert(path.to_owned()) {
                continue;
            }
            let found = RolloutFile::find(path).map_or_else(|_| path.to_owned(), |rollout| rollout.path);
            targets.extend(creation_of(path));
            targets.push(Watched::File(found));
        }
        targets
    }

    /// Logs once why files are polled instead of watched.
    fn log_unavailable(&mut self) {
        let unavailable = self.watches.unavailable().cloned();
        if unavailable != self.logged {
            if let Some(unavailable) = &unavailable {
                let message = format!("watch: {unavailable}; polling the files instead");
                log(&self.dir, Level::Warning, &message);
            }
            self.logged = unavailable;
        }
    }
}

/// Returns what to watch for the creation of a rollout: its name in its folder, or the first missing folder of its path.
pub(crate) fn creation_of(path: &Path) -> Option<Watched> {
    let folder = path.parent()?;
    let existing = folder.ancestors().find(|folder| folder.is_dir())?;
    let missing = folder.strip_prefix(existing).ok().and_then(|rest| rest.iter().next());
    let name = missing.or(path.file_stem()).unwrap_or_default();
    Some(Watched::Names(existing.to_owned(), name.to_owned()))
}

/// Returns free memory to the system. glibc would keep it.
// `malloc_trim` is a C function.
#[allow(unsafe_code)]
fn release_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` takes no pointer, and may run while other threads use the allocator (malloc_trim(3): MT-Safe).
    unsafe {
        libc::malloc_trim(0);
    }
}
