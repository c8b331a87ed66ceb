//! What other systems than Linux tell of changes, through the crate `notify`: `FSEvents` on macOS, kqueue on the BSDs.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::{NET, POLL, Untold, Watched, Woken, wait_for};

/// What is watched.
#[derive(Default)]
pub struct Watches {
    system: Option<System>,
    wanted: Vec<Watched>,
    untold: Option<Untold>,
}

/// What the system tells, in a thread of its own.
struct System {
    watcher: RecommendedWatcher,
    /// Readable when something that is wanted has changed.
    told: UnixStream,
    wanted: Arc<Mutex<Vec<Watched>>>,
    folders: Vec<PathBuf>,
}

impl Watched {
    /// The folder in which it stands.
    fn folder(&self) -> Option<&Path> {
        match self {
            Self::File(path) => path.parent(),
            Self::Names(folder, _) => Some(folder),
        }
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
                self.untold = None;
                has_new_folder || self.wanted.iter().any(|watched| !before.contains(watched))
            }
            Err(error) => {
                self.untold = Some(Untold::System(error.to_string()));
                false
            }
        }
    }

    /// Watches the folders of all that is wanted; whether one is new.
    fn watch(&mut self) -> Result<bool, notify::Error> {
        let system = match self.system.take() {
            Some(system) => system,
            None => System::start()?,
        };
        let system = self.system.insert(system);
        system.wanted().clone_from(&self.wanted);
        let mut folders: Vec<PathBuf> = self.wanted.iter().filter_map(Watched::folder).map(Path::to_owned).collect();
        folders.retain(|folder| folder.is_dir());
        folders.sort();
        folders.dedup();
        for gone in system.folders.iter().filter(|folder| !folders.contains(folder)) {
            // It may have ended with its folder.
            let _ = system.watcher.unwatch(gone);
        }
        let before = std::mem::take(&mut system.folders);
        let mut has_new = false;
        for folder in folders {
            if !before.contains(&folder) {
                system.watcher.watch(&folder, RecursiveMode::NonRecursive)?;
                has_new = true;
            }
            system.folders.push(folder);
        }
        Ok(has_new)
    }

    /// Why files are looked at every so often, where they are.
    #[must_use]
    pub fn untold(&self) -> Option<&Untold> {
        self.untold.as_ref()
    }

    /// Waits for a change, for one of `others` to be readable, or until it is time to look in any case.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn wait(&mut self, others: &[BorrowedFd<'_>]) -> io::Result<Woken> {
        let longest = if self.untold.is_some() || self.system.is_none() { POLL } else { NET };
        let told = self.system.as_ref().map(|system| system.told.as_fd());
        let descriptors: Vec<BorrowedFd<'_>> = others.iter().copied().chain(told).collect();
        match wait_for(&descriptors, longest)? {
            Some(place) if place < others.len() => Ok(Woken::Ready(place)),
            _ => {
                if let Some(system) = &mut self.system {
                    system.take_told();
                }
                Ok(Woken::Change)
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
        Ok(Self { watcher, told, wanted, folders: Vec::new() })
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
