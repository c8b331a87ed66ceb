//! Watching files on systems other than Linux, with the crate `notify`. It uses kqueue, on macOS too: `FSEvents` reports a
//! changed file only when it is closed, and Codex keeps its rollout open.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::files::regular::FileId;

use super::{POLL_INTERVAL, WakeUp, WatchUnavailable, Watched, wait_for};

/// The interval of the fallback poll. It is short, because these backends have not been tried on a real machine yet.
const FALLBACK_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The files and folders that are watched.
#[derive(Default)]
pub(crate) struct Watches {
    system: Option<System>,
    targets: Vec<Watched>,
    unavailable: Option<WatchUnavailable>,
}

/// The system's watcher, which has its own thread.
struct System {
    watcher: RecommendedWatcher,
    /// Readable after a change of a target.
    changes: UnixStream,
    targets: Arc<Mutex<Vec<Watched>>>,
    /// The files and folders that the system watches.
    active: BTreeMap<PathBuf, FileId>,
}

impl Watched {
    /// Returns the paths to watch: the file itself, and its folder.
    fn paths(&self) -> impl Iterator<Item = &Path> {
        let (file, folder) = match self {
            Self::File(path) => (Some(path.as_path()), path.parent()),
            Self::Names(folder, _) => (None, Some(folder.as_path())),
        };
        file.into_iter().chain(folder)
    }

    /// Returns the target without links in its path, as the system reports it.
    fn resolved(self) -> Self {
        let resolve = |folder: &Path| folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        match self {
            Self::File(path) => match (path.parent(), path.file_name()) {
                (Some(folder), Some(name)) => Self::File(resolve(folder).join(name)),
                _ => Self::File(path),
            },
            Self::Names(folder, prefix) => Self::Names(resolve(&folder), prefix),
        }
    }

    /// Returns whether a change of this path is a change of the target.
    fn includes(&self, changed: &Path) -> bool {
        match self {
            Self::File(path) => path == changed,
            // kqueue may report the folder only.
            Self::Names(folder, _) if folder == changed => true,
            Self::Names(folder, prefix) => {
                let name = changed.file_name().filter(|_| changed.parent() == Some(folder));
                name.is_some_and(|name| name.as_encoded_bytes().starts_with(prefix.as_encoded_bytes()))
            }
        }
    }
}

impl Watches {
    /// Replaces the targets. Targets that do not exist are not watched. Returns whether a target is watched that was not
    /// watched before, because it may have changed already.
    pub(crate) fn set(&mut self, targets: Vec<Watched>) -> bool {
        let targets: Vec<Watched> = targets.into_iter().map(Watched::resolved).collect();
        let before = std::mem::replace(&mut self.targets, targets);
        match self.activate() {
            Ok(has_new_path) => {
                self.unavailable = None;
                has_new_path || self.targets.iter().any(|target| !before.contains(target))
            }
            Err(error) => {
                self.unavailable = Some(WatchUnavailable::System(error.to_string()));
                false
            }
        }
    }

    /// Watches all files and folders of the targets that exist; returns whether one was not watched before.
    fn activate(&mut self) -> Result<bool, notify::Error> {
        let system = match self.system.take() {
            Some(system) => system,
            None => System::start()?,
        };
        let system = self.system.insert(system);
        system.targets().clone_from(&self.targets);
        let id = |path: &Path| path.metadata().ok().map(|metadata| FileId::from(&metadata));
        let paths = self.targets.iter().flat_map(Watched::paths);
        let existing: BTreeMap<PathBuf, FileId> = paths.filter_map(|path| Some((path.to_owned(), id(path)?))).collect();
        // A file that was replaced has another identity.
        let System { watcher, active, .. } = &mut *system;
        active.retain(|path, id| {
            let is_current = existing.get(path) == Some(id);
            if !is_current {
                // This fails if the watch ended with its file.
                let _ = watcher.unwatch(path);
            }
            is_current
        });
        let mut has_new = false;
        for (path, id) in existing {
            if !system.active.contains_key(&path) {
                system.watcher.watch(&path, RecursiveMode::NonRecursive)?;
                system.active.insert(path, id);
                has_new = true;
            }
        }
        Ok(has_new)
    }

    /// Returns why files are polled; `None` if they are watched.
    pub(crate) fn unavailable(&self) -> Option<&WatchUnavailable> {
        self.unavailable.as_ref()
    }

    /// Waits until something changes, any of `others` is readable, or it is time to poll.
    ///
    /// # Errors
    ///
    /// Returns an error if waiting fails.
    pub(crate) fn wait(&mut self, others: &[BorrowedFd<'_>]) -> io::Result<WakeUp> {
        self.wait_at_most(others, Duration::MAX)
    }

    /// Waits for a change, until one of `others` is readable, until it is time to poll, or until `limit` has
    /// passed, which counts as a change.
    ///
    /// # Errors
    ///
    /// Returns an error if waiting fails.
    pub(crate) fn wait_at_most(&mut self, others: &[BorrowedFd<'_>], limit: Duration) -> io::Result<WakeUp> {
        let is_polling = self.unavailable.is_some() || self.system.is_none();
        let timeout = if is_polling { POLL_INTERVAL } else { FALLBACK_POLL_INTERVAL }.min(limit);
        let changes = self.system.as_ref().map(|system| system.changes.as_fd());
        let descriptors: Vec<BorrowedFd<'_>> = others.iter().copied().chain(changes).collect();
        match wait_for(&descriptors, timeout)? {
            Some(index) if index < others.len() => Ok(WakeUp::Ready(index)),
            _ => {
                if let Some(system) = &mut self.system {
                    system.drain_changes();
                }
                Ok(WakeUp::Change)
            }
        }
    }
}

impl System {
    fn start() -> Result<Self, notify::Error> {
        let (changes, sender) = UnixStream::pair()?;
        for stream in [&changes, &sender] {
            stream.set_nonblocking(true)?;
        }
        let targets = Arc::new(Mutex::new(Vec::new()));
        let watched = Arc::clone(&targets);
        let watcher = notify::recommended_watcher(move |event: Result<Event, notify::Error>| {
            let is_change_of_target = event.map_or(true, |event| {
                let is_change = !matches!(event.kind, EventKind::Access(_));
                let targets = lock(&watched);
                let is_included = |path: &PathBuf| targets.iter().any(|target: &Watched| target.includes(path));
                is_change && (event.need_rescan() || event.paths.is_empty() || event.paths.iter().any(is_included))
            });
            if is_change_of_target {
                // If the stream is full, it is readable already.
                let _ = (&sender).write(b"!");
            }
        })?;
        Ok(Self { watcher, changes, targets, active: BTreeMap::new() })
    }

    fn targets(&self) -> MutexGuard<'_, Vec<Watched>> {
        lock(&self.targets)
    }

    /// Reads the bytes that were sent for earlier changes.
    fn drain_changes(&mut self) {
        let mut buffer = [0; 4096];
        while self.changes.read(&mut buffer).is_ok_and(|count| count == buffer.len()) {}
    }
}

/// Locks the list. It is complete even if a thread panicked while it had the lock.
fn lock(targets: &Mutex<Vec<Watched>>) -> MutexGuard<'_, Vec<Watched>> {
    targets.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
