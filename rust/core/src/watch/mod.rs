//! Waiting for file changes.
//!
//! Linux reports changes through inotify, and other systems through kqueue or the like. Files are polled if that does not
//! work: because a limit is reached, or because the files are on a file system that other machines change.
//! A fallback poll with a long interval always runs, in case a change was not reported.

use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::files::file_error::escaped_path;

#[cfg(target_os = "linux")]
mod inotify;
// The tests run it on Linux as well.
#[cfg(any(not(target_os = "linux"), test))]
mod notify;

#[cfg(target_os = "linux")]
pub use inotify::Watches;
#[cfg(not(target_os = "linux"))]
pub use notify::Watches;

/// The interval of the fallback poll.
#[cfg(target_os = "linux")]
const FALLBACK_POLL_INTERVAL: Duration = Duration::from_secs(30);

/// The interval of polling if changes are not reported.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// What to watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Watched {
    /// A file: report writes to it, and when it is moved or removed.
    File(PathBuf),
    /// The names in a folder that begin with this prefix: report when a file of such a name is created, removed or replaced.
    Names(PathBuf, OsString),
}

/// Why files are polled instead of watched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WatchUnavailable {
    /// A limit of the system is reached.
    #[error("{0}; raise fs.inotify.max_user_instances or fs.inotify.max_user_watches")]
    Limit(String),
    /// The system cannot watch files.
    #[error("the system does not report file changes: {0}")]
    System(String),
    /// The files are on a shared file system.
    #[error("{} is on {file_system}, where changes by other machines are not reported", escaped_path(path))]
    Shared {
        /// The folder or file.
        path: PathBuf,
        /// The name of the file system.
        file_system: &'static str,
    },
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeUp {
    /// A watched file has changed, or it is time to poll.
    Change,
    /// The descriptor with this index is ready.
    Ready(usize),
}

/// Waits until any of `descriptors` is readable, but no longer than `timeout`. Returns the index of the first readable
/// one, or `None` after the timeout.
///
/// # Errors
///
/// Returns an error if `poll(2)` fails.
fn wait_for(descriptors: &[BorrowedFd<'_>], timeout: Duration) -> io::Result<Option<usize>> {
    let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
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
