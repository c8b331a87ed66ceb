//! What the kernel of Linux tells of changes: inotify(7).

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::files::regular::FileId;

use super::{FALLBACK_POLL_INTERVAL, POLL_INTERVAL, WakeUp, WatchUnavailable, Watched, wait_for};

/// File systems that other machines change, or a program; the kernel does not tell of all that happens there (numbers of
/// statfs(2)).
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

/// What is watched.
#[derive(Default)]
pub struct Watches {
    inotify: Option<OwnedFd>,
    /// The wishes that the kernel took, by the number that it gave each file or folder.
    taken: HashMap<i32, Vec<Taken>>,
    wanted: Vec<Watched>,
    unavailable: Option<WatchUnavailable>,
}

/// A wish that the kernel took.
#[derive(Clone)]
struct Taken {
    watched: Watched,
    /// What stood at its path: the kernel watches that, also when it is moved away and another one is put in its place.
    identity: Option<FileId>,
}

fn identity(path: &Path) -> Option<FileId> {
    path.metadata().ok().map(|metadata| FileId::from(&metadata))
}

impl Watches {
    /// Watches these from now on, in place of those before; what is not there is not watched. Gives whether there is
    /// something that was not watched before: it may have changed meanwhile.
    pub fn set(&mut self, wanted: Vec<Watched>) -> bool {
        if wanted == self.wanted && wanted.iter().all(|watched| self.is_taken(watched)) {
            return false;
        }
        self.unavailable = wanted.iter().find_map(|watched| shared(watched.path()));
        self.wanted = wanted;
        let before = self.taken.clone();
        if let Err(error) = self.take() {
            self.unavailable = Some(WatchUnavailable::Limit(std::io::Error::from(error).to_string()));
        }
        let was_taken = |number: &i32, watched: &Watched| {
            before.get(number).is_some_and(|before| before.iter().any(|taken| taken.watched == *watched))
        };
        self.taken.iter().any(|(number, taken)| taken.iter().any(|taken| !was_taken(number, &taken.watched)))
    }

    /// Whether the kernel watches what stands at its path now, or cannot.
    fn is_taken(&self, watched: &Watched) -> bool {
        let there = identity(watched.path());
        let is_it = |taken: &Taken| taken.watched == *watched && taken.identity == there;
        there.is_none() || self.unavailable.is_some() || self.taken.values().flatten().any(is_it)
    }

    fn take(&mut self) -> Result<(), Errno> {
        let inotify = match self.inotify.take() {
            Some(inotify) => inotify,
            None => inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?,
        };
        let inotify = self.inotify.insert(inotify);
        let mut taken: HashMap<i32, Vec<Taken>> = HashMap::new();
        let mut result = Ok(());
        for watched in &self.wanted {
            let before = self.wanted.iter().filter(|other| other.path() == watched.path());
            let flags = before.fold(WatchFlags::empty(), |flags, other| flags | other.flags());
            // Looked up first: where another one comes in between, that is seen the next time.
            let identity = identity(watched.path());
            match inotify::add_watch(&*inotify, watched.path(), flags) {
                Ok(number) => taken.entry(number).or_default().push(Taken { watched: watched.clone(), identity }),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => {}
                Err(error) => result = Err(error),
            }
        }
        for number in self.taken.keys().filter(|number| !taken.contains_key(number)) {
            // It may have ended with its file.
            let _ = inotify::remove_watch(&*inotify, *number);
        }
        self.taken = taken;
        result
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
            if self.unavailable.is_some() || self.inotify.is_none() { POLL_INTERVAL } else { FALLBACK_POLL_INTERVAL };
        loop {
            let inotify = self.inotify.as_ref().map(AsFd::as_fd);
            let descriptors: Vec<BorrowedFd<'_>> = others.iter().copied().chain(inotify).collect();
            match wait_for(&descriptors, longest)? {
                Some(place) if place < others.len() => return Ok(WakeUp::Ready(place)),
                Some(_) if !self.is_told()? => {}
                _ => return Ok(WakeUp::Change),
            }
        }
    }

    /// Reads what the kernel tells; whether any of it matters.
    pub(super) fn is_told(&mut self) -> io::Result<bool> {
        let Some(inotify) = &self.inotify else { return Ok(false) };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(inotify, &mut buffer);
        let mut is_told = false;
        let mut ended = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| name.to_bytes().to_vec());
                    let flags = event.events();
                    // Of more than the kernel keeps it tells only that.
                    is_told |= flags.contains(inotify::ReadFlags::QUEUE_OVERFLOW);
                    if flags.contains(inotify::ReadFlags::IGNORED) {
                        ended.push(event.wd());
                    }
                    let watched = self.taken.get(&event.wd()).into_iter().flatten();
                    is_told |= watched.into_iter().any(|taken| match (&taken.watched, &name) {
                        (Watched::Names(_, beginning), Some(name)) => name.starts_with(beginning.as_encoded_bytes()),
                        _ => true,
                    });
                }
                Err(Errno::WOULDBLOCK) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for number in ended {
            self.taken.remove(&number);
        }
        Ok(is_told)
    }
}

/// The kind of the file system that a path is on, where others change it.
fn shared(path: &Path) -> Option<WatchUnavailable> {
    let kind = rustix::fs::statfs(path).ok()?.f_type;
    // The type of the number differs from system to system.
    #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "it is a number of 32 bits")]
    let kind = u64::from(kind as u32);
    let (_, kind) = SHARED.iter().find(|(number, _)| *number == kind)?;
    Some(WatchUnavailable::Shared { path: path.to_owned(), kind })
}
