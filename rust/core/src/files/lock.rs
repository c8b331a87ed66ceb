//! The one way to lock a file: by `flock`, which the kernel frees when its owner ends, however that comes.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::files::open;

/// How long a process sleeps at most before it asks for the lock again.
const LONGEST_PAUSE: Duration = Duration::from_millis(4);

/// Why a lock was not to be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has had it for too long.
    #[error("another process has had the lock for {0:?}")]
    Held(Duration),
    /// The system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Locks `file` for this process alone, or gives up after `timeout`. Closing the file unlocks it.
///
/// # Errors
///
/// [`LockError`]
pub fn exclusive(file: &File, timeout: Duration) -> Result<(), LockError> {
    let mut begun = None;
    // Owners hold a lock for some 50 microseconds. Many that asked for it that often would keep the owner from its work.
    let mut pause = Duration::from_micros(200);
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) => {
                let begun = *begun.get_or_insert_with(Instant::now);
                if begun.elapsed() >= timeout {
                    return Err(LockError::Held(timeout));
                }
                std::thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(LockError::Io(error.into())),
        }
    }
}

/// As [`exclusive`], where an owner takes the lock again and again: who has to wait does so in the queue, one behind the
/// other, and the owner lets them go first ([`let_others`]).
///
/// # Errors
///
/// [`LockError`]
pub fn exclusive_in_turn(file: &File, queue: &Path, timeout: Duration) -> Result<(), LockError> {
    match exclusive(file, Duration::ZERO) {
        Err(LockError::Held(_)) if timeout > Duration::ZERO => {}
        locked => return locked,
    }
    let begun = Instant::now();
    let held = |error| if let LockError::Held(_) = error { LockError::Held(timeout) } else { error };
    let queue = open::options().write(true).create(true).truncate(false).open(queue)?;
    exclusive(&queue, timeout).map_err(held)?;
    exclusive(file, timeout.saturating_sub(begun.elapsed())).map_err(held)
}

/// Waits until nobody is in the queue, but no longer than `timeout`; for one who has let go of the lock and will take it
/// again.
pub fn let_others(queue: &Path, timeout: Duration) {
    // One that is not there or cannot be had keeps nobody waiting.
    if let Ok(queue) = open::options().write(true).open(queue) {
        let _ = exclusive(&queue, timeout);
    }
}

#[cfg(test)]
mod tests;
