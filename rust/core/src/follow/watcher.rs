//! Following without end: the transcripts and the marker are brought up to date whenever something has changed.

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::pass::{FollowError, Followed, Follower, Until};
use super::source::Opened;
use crate::event_log::{Level, log};
use crate::files::lock::{self, LockError};
use crate::lifecycle::marker::{self, MarkerError};
use crate::lifecycle::reconcile::LineListener;
use crate::lifecycle::state::State;
use crate::state_dir::StateDir;
use crate::watch::{WakeUp, WatchUnavailable, Watched, Watches};

/// How long a pass goes on before it lets others have the lock: a hook that ends a turn, say.
const SLICE: Duration = Duration::from_millis(20);

/// How long a pass waits for another one, where nobody says otherwise.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a watcher that has more to do lets others go first.
const PATIENCE_WITH_OTHERS: Duration = Duration::from_millis(100);

/// How long it waits before it looks whether it is to go on.
const PATIENCE_AT_ONCE: Duration = Duration::from_millis(50);

/// Bytes of a pass that are many.
const LARGE: u64 = 1 << 20;

/// Why following cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The transcripts could not be brought up to date.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The marker could not.
    #[error(transparent)]
    Marker(#[from] MarkerError),
    /// The caller wanted no more.
    #[error("it was stopped")]
    Stopped,
    /// The system cannot wait.
    #[error("waiting for changes failed: {0}")]
    Wait(#[from] io::Error),
}

/// Follows one agent.
pub struct Watcher {
    dir: StateDir,
    follower: Follower,
    watches: Watches,
    /// Why files are looked at every so often, as far as that was said.
    told: Option<WatchUnavailable>,
}

impl Watcher {
    /// One who follows the agent whose state dir this is.
    #[must_use]
    pub fn new(dir: StateDir) -> Self {
        Self { follower: Follower::new(dir.clone()), dir, watches: Watches::default(), told: None }
    }

    /// Brings transcripts and marker up to date; waits for others that do no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`WatchError`]; what could be done was done.
    pub fn once(&mut self, is_final: bool, timeout: Duration) -> Result<Followed, WatchError> {
        self.once_while(is_final, timeout, &mut || true)
    }

    /// As [`Watcher::once`], for as long as `goes_on` says so; it is asked some fifty times a second.
    ///
    /// # Errors
    ///
    /// [`WatchError`]; what could be done was done.
    pub fn once_while(
        &mut self,
        is_final: bool,
        timeout: Duration,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Followed, WatchError> {
        let mut all = Followed::default();
        // A rollout that a hook names behind the pass is copied by another one.
        for is_last in [false, true] {
            let mut hearing = marker::listen(&self.dir).unwrap_or_default();
            let followed = match self.follow(is_final, timeout, goes_on, hearing.as_mut()) {
                Err(error @ (WatchError::Stopped | WatchError::Follow(FollowError::NoStateDir(_)))) => {
                    return Err(error);
                }
                followed => followed,
            };
            // The transcripts first: who sees that the agent waits finds its last words. But a disk that is full is no
            // reason to show an agent at work that waits.
            let is_done = followed.is_ok();
            let is_unknown = Cell::new(false);
            let copied = |path: &Path| {
                let copied = self.follower.copied(path);
                is_unknown.set(is_unknown.get() || copied.is_none());
                copied.or((!is_last).then_some(0)).filter(|_| is_done)
            };
            marker::follow(&self.dir, hearing.filter(|_| is_done), &copied)?;
            let followed = followed?;
            all.raw_bytes += followed.raw_bytes;
            all.common_bytes += followed.common_bytes;
            if !is_unknown.get() {
                break;
            }
        }
        Ok(all)
    }

    /// How often the marker was reset, by which [`Watcher::close`] knows the codex that is there now.
    ///
    /// # Errors
    ///
    /// [`WatchError::Marker`]
    pub fn resets(&self) -> Result<u64, WatchError> {
        Ok(marker::read(&self.dir)?.resets)
    }

    /// Ends the turns that a codex left open when it ended, unless another one was started since there were that many
    /// `resets`.
    ///
    /// # Errors
    ///
    /// [`WatchError::Marker`]
    pub fn close(&self, resets: u64) -> Result<(), WatchError> {
        Ok(marker::reset_after(&self.dir, resets)?)
    }

    /// All that is there, slice by slice.
    fn follow(
        &mut self,
        is_final: bool,
        timeout: Duration,
        goes_on: &mut dyn FnMut() -> bool,
        mut hearing: Option<&mut LineListener>,
    ) -> Result<Followed, WatchError> {
        let mut all = Followed::default();
        let mut waiting_since = Instant::now();
        while goes_on() {
            let deadline = Some(Instant::now() + SLICE);
            let left = timeout.saturating_sub(waiting_since.elapsed());
            let until = Until { deadline, is_final, is_brief: false };
            let followed = match self.follower.pass(until, left.min(PATIENCE_AT_ONCE), hearing.as_deref_mut()) {
                Err(FollowError::Lock { source: LockError::Held(_), .. }) if waiting_since.elapsed() < timeout => {
                    continue;
                }
                Err(FollowError::Lock { path, source: LockError::Held(_) }) => {
                    return Err(FollowError::Lock { path, source: LockError::Held(timeout) }.into());
                }
                followed => followed?,
            };
            all.raw_bytes += followed.raw_bytes;
            all.common_bytes += followed.common_bytes;
            if !followed.is_cut_short {
                return Ok(all);
            }
            lock::let_others(&self.dir.following_queue(), PATIENCE_WITH_OTHERS);
            waiting_since = Instant::now();
        }
        Err(WatchError::Stopped)
    }

    /// Brings all up to date, then waits until there is something new or one of `others` is readable; gives which, by its
    /// place. What fails is said in the log, and tried again with the next change.
    ///
    /// # Errors
    ///
    /// [`WatchError::Wait`], and [`FollowError::NoStateDir`] where the agent is gone.
    pub fn turn(&mut self, others: &[BorrowedFd<'_>]) -> Result<Option<usize>, WatchError> {
        // What changes from here on is told, so nothing is missed between a look and the wait.
        let state = marker::read(&self.dir).unwrap_or_default();
        self.watches.set(self.wanted(&state));
        self.say_untold();
        match self.once(false, LOCK_TIMEOUT) {
            Err(WatchError::Follow(error @ FollowError::NoStateDir(_))) => return Err(error.into()),
            Err(error) => drop(log(&self.dir, Level::Error, &format!("watch: {error}"))),
            Ok(followed) if followed.raw_bytes > LARGE => {
                // Large lines took memory that a watcher with nothing to do need not keep.
                self.follower = Follower::new(self.dir.clone());
                release_memory();
                return Ok(None);
            }
            Ok(_) => {}
        }
        // Rollouts and subagents that were not known before.
        let state = marker::read(&self.dir).unwrap_or_default();
        let wanted = self.wanted(&state);
        if self.watches.set(wanted) {
            return Ok(None);
        }
        // What went away before it was watched is not told of.
        if !self.dir.path().is_dir() {
            return Err(FollowError::NoStateDir(self.dir.path().to_owned()).into());
        }
        match self.watches.wait(others)? {
            WakeUp::Change => Ok(None),
            WakeUp::Ready(place) => Ok(Some(place)),
        }
    }

    /// What is to be watched: what hooks write, and the rollouts that may go on.
    fn wanted(&self, state: &State) -> Vec<Watched> {
        let dir = &self.dir;
        let name = |path: PathBuf| path.file_name().map(OsStr::to_owned).unwrap_or_default();
        let mut wanted = vec![
            Watched::Names(dir.path().to_owned(), name(dir.transcript_path())),
            Watched::Names(dir.path().to_owned(), name(dir.subagents())),
            Watched::Names(dir.path().to_owned(), name(dir.root_active())),
            Watched::File(dir.transcript_paths()),
            Watched::Names(dir.subagents(), OsString::new()),
        ];
        let subagents = state.in_flight().map(|subagent| &subagent.thread.rollout);
        let threads = [&state.root.rollout].into_iter().chain(subagents).filter(|rollout| !rollout.is_empty());
        let mut seen = HashSet::new();
        for path in self.follower.rollouts().chain(threads.map(Path::new)) {
            if !seen.insert(path.to_owned()) {
                continue;
            }
            let there = Opened::find(path).map_or_else(|_| path.to_owned(), |opened| opened.path);
            wanted.extend(coming(path));
            wanted.push(Watched::File(there));
        }
        wanted
    }

    /// Says in the log, once, where changes cannot be told.
    fn say_untold(&mut self) {
        let untold = self.watches.untold().cloned();
        if untold != self.told {
            if let Some(untold) = &untold {
                let message = format!("watch: {untold}; files are looked at every so often instead");
                let _ = log(&self.dir, Level::Warning, &message);
            }
            self.told = untold;
        }
    }
}

/// That a rollout comes: its name in its folder, or the first folder on the way there that is missing.
fn coming(path: &Path) -> Option<Watched> {
    let folder = path.parent()?;
    let there = folder.ancestors().find(|folder| folder.is_dir())?;
    let missing = folder.strip_prefix(there).ok().and_then(|rest| rest.iter().next());
    let name = missing.or(path.file_stem()).unwrap_or_default();
    Some(Watched::Names(there.to_owned(), name.to_owned()))
}

/// Gives memory that is free back to the system, which glibc alone keeps.
fn release_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes no pointer, and other threads may use the allocator meanwhile (malloc_trim(3): MT-Safe).
    unsafe {
        libc::malloc_trim(0);
    }
}
