//! File locks based on `flock(2)`. The kernel releases them when the owning process exits.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::file_error::{FileError, escaped_path};
use super::open;

/// The longest sleep between two attempts to acquire a lock.
const MAX_PAUSE: Duration = Duration::from_millis(4);

/// Why a lock could not be acquired.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process held the lock until the timeout.
    #[error("could not acquire the {resource} lock {} within {}", escaped_path(path), with_unit(*timeout))]
    Timeout {
        /// What the lock protects, as an adjective: "lifecycle", "transcript".
        resource: &'static str,
        /// The lock's file.
        path: PathBuf,
        /// How long the process waited.
        timeout: Duration,
    },
    /// The lock's file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Formats a duration in seconds if it is a whole number of them, else in milliseconds.
fn with_unit(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 && !duration.is_zero() {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}

/// A file that is used as a lock, with its description for error messages.
pub(crate) struct Lock<'p> {
    /// The open file.
    pub(crate) file: File,
    /// Its path.
    pub(crate) path: &'p Path,
    /// What the lock protects, as an adjective: "lifecycle", "transcript".
    pub(crate) resource: &'static str,
}

/// A file that this process has locked. Dropping it releases the lock.
#[derive(Debug)]
pub(crate) struct LockedFile(File);

impl Deref for LockedFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        // Closing the file would not suffice: a process that another thread has just forked shares the open file, and
        // with it the lock, until it executes its program. If this fails, only closing the file remains.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl Lock<'_> {
    /// Acquires the lock for this process alone.
    ///
    /// # Errors
    ///
    /// Returns [`LockError::Timeout`] if another process holds the lock until `timeout` has passed, and
    /// [`LockError::File`] if the file system does not support locks.
    pub(crate) fn acquire(self, timeout: Duration) -> Result<LockedFile, LockError> {
        self.wait(timeout).map(|()| LockedFile(self.file))
    }

    /// Acquires a lock whose owner releases it and takes it again in a loop. Waiting processes lock the file `queue` one
    /// after the other, and the owner lets them go first with [`yield_to_queue`].
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`Lock::acquire`], and [`LockError::File`] if `queue` cannot be opened.
    pub(crate) fn acquire_queued(self, queue: &Path, timeout: Duration) -> Result<LockedFile, LockError> {
        match self.wait(Duration::ZERO) {
            Err(LockError::Timeout { .. }) if timeout > Duration::ZERO => {}
            result => return result.map(|()| LockedFile(self.file)),
        }
        let started = Instant::now();
        let queue_file = open::options().write(true).create(true).truncate(false).open(queue);
        let queue_file = queue_file.map_err(FileError::on("open", queue))?;
        let waited = Lock { file: queue_file, path: queue, resource: self.resource }
            .acquire(timeout)
            .and_then(|_first_in_queue| self.wait(timeout.saturating_sub(started.elapsed())));
        match waited {
            Ok(()) => Ok(LockedFile(self.file)),
            Err(LockError::Timeout { .. }) => Err(self.timed_out(timeout)),
            Err(error @ LockError::File(_)) => Err(error),
        }
    }

    /// Waits until the lock is this process's.
    fn wait(&self, timeout: Duration) -> Result<(), LockError> {
        let mut started = None;
        // Owners hold a lock for about 50 microseconds. If many processes asked that often, they would slow the owner.
        let mut pause = Duration::from_micros(200);
        while !try_lock(&self.file).map_err(FileError::on("lock", self.path))? {
            if started.get_or_insert_with(Instant::now).elapsed() >= timeout {
                return Err(self.timed_out(timeout));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(MAX_PAUSE);
        }
        Ok(())
    }

    fn timed_out(&self, timeout: Duration) -> LockError {
        LockError::Timeout { resource: self.resource, path: self.path.to_owned(), timeout }
    }
}

/// Locks `file` for this process alone; returns `None` if another process holds the lock.
///
/// # Errors
///
/// Returns an error if the file system does not support locks.
pub(crate) fn try_acquire(file: File) -> io::Result<Option<LockedFile>> {
    Ok(try_lock(&file)?.then(|| LockedFile(file)))
}

fn try_lock(file: &File) -> io::Result<bool> {
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until no process is in the queue, but no longer than `timeout`. For an owner that has released the lock and is
/// about to take it again.
pub(crate) fn yield_to_queue(queue: &Path, timeout: Duration) {
    // A queue that does not exist or cannot be opened has no waiting processes.
    if let Ok(file) = open::options().write(true).open(queue) {
        let _ = Lock { file, path: queue, resource: "queue" }.acquire(timeout);
    }
}

#[cfg(test)]
mod tests;
