//! What other systems than Linux tell of changes, through the crate `notify`: kqueue, on macOS too. `FSEvents` there tells
//! of a file when it is closed, and codex keeps its rollout open.

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

/// How often everything is looked at when nothing was told. These backends have been seen on no machine yet.
const FALLBACK_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// What is watched.
#[derive(Default)]
pub struct Watches {
    system: Option<System>,
    wanted: Vec<Watched>,
    unavailable: Option<WatchUnavailable>,
}

/// What the system tells, in a thread of its own.
struct System {
    watcher: RecommendedWatcher,
    /// Readable when something that is wanted has changed.
    told: UnixStream,
    wanted: Arc<Mutex<Vec<Watched>>>,
    /// The files and folders that it was told to watch, with their identities.
    watched: BTreeMap<PathBuf, FileId>,
}

impl Watched {
    /// The file itself, and the folder in which it stands.
    fn paths(&self) -> impl Iterator<Item = &Path> {
        let (file, folder) = match self {
            Self::File(path) => (Some(path.as_path()), path.parent()),
            Self::Names(folder, _) => (None, Some(folder.as_path())),
        };
        file.into_iter().chain(folder)
    }

    /// As the system names it, which has no links in its paths.
    fn resolved(self) -> Self {
        let resolve = |folder: &Path| folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        match self {
            Self::File(path) => match (path.parent(), path.file_name()) {
                (Some(folder), Some(name)) => Self::File(resolve(folder).join(name)),
                _ => Self::File(path),
            },
            Self::Names(folder, beginning) => Self::Names(resolve(&folder), beginning),
        }
    }

    /// Whether news of this path are news of it.
    fn is_at(&self, changed: &Path) -> bool {
        match self {
            Self::File(path) => path == changed,
            // kqueue may tell of the folder alone.
            Self::Names(folder, _) if folder == changed => true,
            Self::Names(folder, beginning) => {
                changed.parent() == Some(folder)
                    && changed
                        .file_name()
                        .is_some_and(|name| name.as_encoded_bytes().starts_with(beginning.as_encoded_bytes()))
            }
        }
    }
}

impl Watches {
    /// Watches these from now on, in place of those before; what stands in no folder is not watched. Gives whether there
    /// is something that was not watched before: it may have changed meanwhile.
    pub fn set(&mut self, wanted: Vec<Watched>) -> bool {
        let wanted: Vec<Watched> = wanted.into_iter().map(Watched::resolved).collect();
        let before = std::mem::replace(&mut self.wanted, wanted);
        match self.watch() {
            Ok(has_new_folder) => {
                self.unavailable = None;
                has_new_folder || self.wanted.iter().any(|watched| !before.contains(watched))
            }
            Err(error) => {
                self.unavailable = Some(WatchUnavailable::System(error.to_string()));
                false
            }
        }
    }

    /// Watches all that is wanted and is there, files and folders; whether one is new.
    fn watch(&mut self) -> Result<bool, notify::Error> {
        let system = match self.system.take() {
            Some(system) => system,
            None => System::start()?,
        };
        let system = self.system.insert(system);
        system.wanted().clone_from(&self.wanted);
        let id = |path: &Path| path.metadata().ok().map(|metadata| FileId::from(&metadata));
        let there = self.wanted.iter().flat_map(Watched::paths);
        let there: BTreeMap<PathBuf, FileId> = there.filter_map(|path| Some((path.to_owned(), id(path)?))).collect();
        // A file that was replaced is another one.
        let System { watcher, watched, .. } = &mut *system;
        watched.retain(|path, id| {
            let is_there = there.get(path) == Some(id);
            if !is_there {
                // It may have ended with its file.
                let _ = watcher.unwatch(path);
            }
            is_there
        });
        let mut has_new = false;
        for (path, id) in there {
            if !system.watched.contains_key(&path) {
                system.watcher.watch(&path, RecursiveMode::NonRecursive)?;
                system.watched.insert(path, id);
                has_new = true;
            }
        }
        Ok(has_new)
    }

    /// Why files are looked at every so often, where they are.
    #[must_use]
    pub fn unavailable(&self) -> Option<&WatchUnavailable> {
        self.unavailable.as_ref()
    }

    /// Waits for a change, for one of `others` to be readable, or until it is time to look in any case.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn wait(&mut self, others: &[BorrowedFd<'_>]) -> io::Result<WakeUp> {
        let longest =
            if self.unavailable.is_some() || self.system.is_none() { POLL_INTERVAL } else { FALLBACK_POLL_INTERVAL };
        let told = self.system.as_ref().map(|system| system.told.as_fd());
        let descriptors: Vec<BorrowedFd<'_>> = others.iter().copied().chain(told).collect();
        match wait_for(&descriptors, longest)? {
            Some(place) if place < others.len() => Ok(WakeUp::Ready(place)),
            _ => {
                if let Some(system) = &mut self.system {
                    system.take_told();
                }
                Ok(WakeUp::Change)
            }
        }
    }
}

impl System {
    fn start() -> Result<Self, notify::Error> {
        let (told, teller) = UnixStream::pair()?;
        for stream in [&told, &teller] {
            stream.set_nonblocking(true)?;
        }
        let wanted = Arc::new(Mutex::new(Vec::new()));
        let known = Arc::clone(&wanted);
        let watcher = notify::recommended_watcher(move |event: Result<Event, notify::Error>| {
            let is_wanted = event.map_or(true, |event| {
                let is_change = !matches!(event.kind, EventKind::Access(_));
                let wanted = lock(&known);
                let is_at = |path: &PathBuf| wanted.iter().any(|watched: &Watched| watched.is_at(path));
                is_change && (event.need_rescan() || event.paths.is_empty() || event.paths.iter().any(is_at))
            });
            if is_wanted {
                // A pipe that is full has told already.
                let _ = (&teller).write(b"!");
            }
        })?;
        Ok(Self { watcher, told, wanted, watched: BTreeMap::new() })
    }

    fn wanted(&self) -> MutexGuard<'_, Vec<Watched>> {
        lock(&self.wanted)
    }

    /// Takes away what was told.
    fn take_told(&mut self) {
        let mut buffer = [0; 4096];
        while self.told.read(&mut buffer).is_ok_and(|count| count == buffer.len()) {}
    }
}

/// The list is whole whatever became of who changed it.
fn lock(wanted: &Mutex<Vec<Watched>>) -> MutexGuard<'_, Vec<Watched>> {
    wanted.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
