//! Waiting until something that matters has changed, without looking at it again and again.
//!
//! On Linux the kernel tells (inotify), elsewhere what the system has for it. Where it cannot, because the limit of
//! watches is reached, or the files are on a file system that others change, files are looked at every so often instead;
//! and as a net, seldom, in any case.

use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

#[cfg(target_os = "linux")]
mod inotify;
// Linux has what its tests need.
#[cfg(any(not(target_os = "linux"), test))]
mod notify;

#[cfg(target_os = "linux")]
pub use inotify::Watches;
#[cfg(not(target_os = "linux"))]
pub use notify::Watches;

/// How often everything is looked at when nothing was told.
pub const FALLBACK_POLL_INTERVAL: Duration = Duration::from_secs(30);

/// How often it is where the kernel cannot tell.
pub const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// What is to be told of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Watched {
    /// That a file is written, moved or removed.
    File(PathBuf),
    /// That a name which begins like this comes or goes in a folder, or the file behind it is replaced.
    Names(PathBuf, OsString),
}

/// Why the kernel cannot tell of all that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchUnavailable {
    /// A limit of the system.
    #[error("{0}; raise fs.inotify.max_user_instances or fs.inotify.max_user_watches")]
    Limit(String),
    /// Another system than Linux said why.
    #[error("this system does not tell of changes: {0}")]
    System(String),
    /// The files are on a shared file system.
    #[error("{path} is on {kind}, where others can change files unnoticed")]
    Shared {
        /// The folder or file.
        path: PathBuf,
        /// The kind of file system.
        kind: &'static str,
    },
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeUp {
    /// Something that is watched has changed, or it is time to look.
    Change,
    /// One of the descriptors that were given is ready, by its place.
    Ready(usize),
}

/// Waits until one of `descriptors` is readable, or for `longest`; gives which, by its place.
///
/// # Errors
///
/// What the system says.
fn wait_for(descriptors: &[BorrowedFd<'_>], longest: Duration) -> io::Result<Option<usize>> {
    let timeout = Timespec::try_from(longest).map_err(io::Error::other)?;
    let mut polled: Vec<PollFd<'_>> =
        descriptors.iter().map(|descriptor| PollFd::new(descriptor, PollFlags::IN)).collect();
    loop {
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) => return Ok(polled.iter().position(|descriptor| !descriptor.revents().is_empty())),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
