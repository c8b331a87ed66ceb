//! Waiting until another process exits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use mngr_codex_core::ProcessId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Pid;

/// How often the process is checked if the system cannot report its exit.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// A descriptor that becomes readable when a process exits.
pub(crate) struct ProcessExit {
    descriptor: OwnedFd,
    /// Why the process is polled; `None` if the system reports its exit.
    pub polling: Option<io::Error>,
}

impl AsFd for ProcessExit {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl ProcessExit {
    /// Waits for a process; returns `None` if it does not exist.
    ///
    /// On Linux 5.3 and later a pidfd reports the exit. Older kernels and strict seccomp filters have none; the process is
    /// polled there, as on other systems.
    ///
    /// # Errors
    ///
    /// Returns an error if the process cannot be polled either.
    pub(crate) fn of(process: Pid) -> io::Result<Option<Self>> {
        #[cfg(target_os = "linux")]
        let error = match rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()) {
            Ok(descriptor) => return Ok(Some(Self { descriptor, polling: None })),
            Err(Errno::SRCH) => return Ok(None),
            Err(error) => Some(error.into()),
        };
        #[cfg(not(target_os = "linux"))]
        let error = None;
        Ok(poll_process(process)?.map(|descriptor| Self { descriptor, polling: error }))
    }

    /// Returns whether the process has exited, or exits within `timeout`.
    pub(crate) fn happens_within(&self, timeout: Duration) -> bool {
        let timeout = Timespec::try_from(timeout).ok();
        poll(&mut [PollFd::new(self, PollFlags::IN)], timeout.as_ref()).is_ok_and(|ready| ready > 0)
    }
}

/// Starts a thread that checks the process until it exits. The returned descriptor becomes readable then.
fn poll_process(process: Pid) -> io::Result<Option<OwnedFd>> {
    let Some(running) = ProcessId::of(process) else { return Ok(None) };
    let (exit, open) = UnixStream::pair()?;
    thread::Builder::new().spawn(move || {
        while running.is_running() {
            thread::sleep(POLL_INTERVAL);
        }
        // Closing this end makes the other one readable.
        drop(open);
    })?;
    Ok(Some(exit.into()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
