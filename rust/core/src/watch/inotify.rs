//! Watching files with inotify(7), on Linux.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::files::regular::FileId;

use super::{FALLBACK_POLL_INTERVAL, POLL_INTERVAL, WakeUp, WatchUnavailable, Watched, wait_for};

/// File systems on which other machines or programs change files. The kernel does not report all of these changes. The
/// numbers are from statfs(2).
const SHARED: [(u64, &str); 7] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFE53_4D42, "SMB2"),
    (0xFF53_4D42, "CIFS"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9P"),
    (0x00C3_6400, "Ceph"),
];

impl Watched {
    fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Names(path, _) => path,
        }
    }

    fn flags(&self) -> WatchFlags {
        match self {
            Self::File(_) => WatchFlags::MODIFY | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF,
            Self::Names(..) => {
                WatchFlags::CREATE
                    | WatchFlags::MOVED_TO
                    | WatchFlags::MOVED_FROM
                    | WatchFlags::DELETE
                    | WatchFlags::DELETE_SELF
                    | WatchFlags::MOVE_SELF
            }
        }
    }
}

/// The files and folders that are watched.
#[derive(Default)]
pub struct Watches {
    inotify: Option<OwnedFd>,
    /// The targets that the kernel watches, by watch descriptor.
    active: HashMap<i32, Vec<Active>>,
    targets: Vec<Watched>,
    unavailable: Option<WatchUnavailable>,
}

/// A target that the kernel watches.
#[derive(Clone)]
struct Active {
    target: Watched,
    /// The file that was at the target's path. The kernel keeps watching this file if it is moved and another one takes its
    /// path.
    id: Option<FileId>,
}

fn file_id(path: &Path) -> Option<FileId> {
    path.metadata().ok().map(|metadata| FileId::from(&metadata))
}

impl Watches {
    /// Replaces the targets. Targets that do not exist are not watched. Returns whether a target is watched that was not
    /// watched before, because it may have changed already.
    pub fn set(&mut self, targets: Vec<Watched>) -> bool {
        if targets == self.targets && targets.iter().all(|target| self.is_active(target)) {
            return false;
        }
        self.unavailable = targets.iter().find_map(|target| shared_file_system(target.path()));
        self.targets = targets;
        let before = self.active.clone();
        if let Err(error) = self.activate() {
            let is_limit = matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOSPC | Errno::NOMEM);
            let reason = io::Error::from(error).to_string();
            let unavailable = if is_limit { WatchUnavailable::Limit } else { WatchUnavailable::System };
            self.unavailable = Some(unavailable(reason));
        }
        let was_active = |descriptor: &i32, target: &Watched| {
            before.get(descriptor).is_some_and(|before| before.iter().any(|active| active.target == *target))
        };
        self.active
            .iter()
            .any(|(descriptor, active)| active.iter().any(|active| !was_active(descriptor, &active.target)))
    }

    /// Returns whether nothing needs to be done for a target: the kernel watches the file at its path or cannot watch it, or
    /// the file does not exist.
    fn is_active(&self, target: &Watched) -> bool {
        let id = file_id(target.path());
        let is_it = |active: &Active| active.target == *target && active.id == id;
        id.is_none() || self.unavailable.is_some() || self.active.values().flatten().any(is_it)
    }

    fn activate(&mut self) -> Result<(), Errno> {
        let inotify = match self.inotify.take() {
            Some(inotify) => inotify,
            None => inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?,
        };
        let inotify = self.inotify.insert(inotify);
        let mut all: HashMap<i32, Vec<Active>> = HashMap::new();
        let mut result = Ok(());
        for target in &self.targets {
            // The kernel has one watch for each file, so targets of the same path share their flags.
            let same_path = self.targets.iter().filter(|other| other.path() == target.path());
            let flags = same_path.fold(WatchFlags::empty(), |flags, other| flags | other.flags());
            // Get the identity first. If the file is replaced before it is watched, the next call notices the difference.
            let id = file_id(target.path());
            match inotify::add_watch(&*inotify, target.path(), flags) {
                Ok(descriptor) => all.entry(descriptor).or_default().push(Active { target: target.clone(), id }),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => {}
                Err(error) => result = Err(error),
            }
        }
        for descriptor in self.active.keys().filter(|descriptor| !all.contains_key(descriptor)) {
            // This fails if the watch ended with its file.
            let _ = inotify::remove_watch(&*inotify, *descriptor);
        }
        self.active = all;
        result
    }

    /// Returns why files are polled; `None` if they are watched.
    pub(crate) fn unavailable(&self) -> Option<&WatchUnavailable> {
        self.unavailable.as_ref()
    }

    /// Waits until something changes, any of `others` is readable, or it is time to poll.
    ///
    /// # Errors
    ///
    /// Returns an error if waiting fails, or if the events cannot be read.
    pub fn wait(&mut self, others: &[BorrowedFd<'_>]) -> io::Result<WakeUp> {
        self.wait_at_most(others, Duration::MAX)
    }

    /// Waits for a change, until one of `others` is readable, until it is time to poll, or until `limit` has
    /// passed, which counts as a change.
    ///
    /// # Errors
    ///
    /// Returns an error if waiting fails, or if the events cannot be read.
    pub fn wait_at_most(&mut self, others: &[BorrowedFd<'_>], limit: Duration) -> io::Result<WakeUp> {
        let is_polling = self.unavailable.is_some() || self.inotify.is_none();
        let timeout = if is_polling { POLL_INTERVAL } else { FALLBACK_POLL_INTERVAL }.min(limit);
        // Events of other files must not put off the poll.
        let begun = Instant::now();
        loop {
            let timeout = timeout.saturating_sub(begun.elapsed());
            let inotify = self.inotify.as_ref().map(AsFd::as_fd);
            let descriptors: Vec<BorrowedFd<'_>> = others.iter().copied().chain(inotify).collect();
            match wait_for(&descriptors, timeout)? {
                Some(index) if index < others.len() => return Ok(WakeUp::Ready(index)),
                Some(_) if !self.has_changed()? => {}
                _ => return Ok(WakeUp::Change),
            }
        }
    }

    /// Reads the available events; returns whether a target has changed.
    pub(super) fn has_changed(&mut self) -> io::Result<bool> {
        let Some(inotify) = &self.inotify else { return Ok(false) };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(inotify, &mut buffer);
        let mut has_changed = false;
        let mut ended = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| name.to_bytes().to_vec());
                    let flags = event.events();
                    // The kernel dropped events, so anything may have changed.
                    has_changed |= flags.contains(inotify::ReadFlags::QUEUE_OVERFLOW);
                    if flags.contains(inotify::ReadFlags::IGNORED) {
                        ended.push(event.wd());
                    }
                    let active = self.active.get(&event.wd()).into_iter().flatten();
                    has_changed |= active.into_iter().any(|active| match (&active.target, &name) {
                        (Watched::Names(_, prefix), Some(name)) => name.starts_with(prefix.as_encoded_bytes()),
                        _ => true,
                    });
                }
                Err(Errno::WOULDBLOCK) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for descriptor in ended {
            self.active.remove(&descriptor);
        }
        Ok(has_changed)
    }
}

/// Returns the file system of a path if it is a shared one.
fn shared_file_system(path: &Path) -> Option<WatchUnavailable> {
    let number = rustix::fs::statfs(path).ok()?.f_type;
    #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "its type varies, but it has 32 bits")]
    let number = u64::from(number as u32);
    let (_, file_system) = SHARED.iter().find(|(shared, _)| *shared == number)?;
    Some(WatchUnavailable::Shared { path: path.to_owned(), file_system })
}
