//! Where no system tells of changes: files are looked at every so often.

use std::io;
use std::os::fd::BorrowedFd;

use super::{POLL, Untold, Watched, Woken, wait_for};

/// What is watched: nothing, so that there is always something that may have changed.
#[derive(Default)]
pub struct Watches;

#[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the watches of Linux have the same functions")]
impl Watches {
    /// Does nothing; what is to be watched is looked at in any case.
    pub fn set(&mut self, _wanted: Vec<Watched>) -> bool {
        false
    }

    /// Why files are looked at every so often.
    #[must_use]
    pub fn untold(&self) -> Option<&Untold> {
        Some(&Untold::System)
    }

    /// Waits until it is time to look, or one of `others` is readable.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn wait(&mut self, others: &[BorrowedFd<'_>]) -> io::Result<Woken> {
        Ok(wait_for(others, POLL)?.map_or(Woken::Change, Woken::Ready))
    }
}
