//! Waiting until another process exits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

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
    let Some(status) = Status::of(process).filter(Status::is_running) else { return Ok(None) };
    let (exit, running) = UnixStream::pair()?;
    thread::Builder::new().spawn(move || {
        while Status::of(process).is_some_and(|now| now.is_running() && now.is_same(&status)) {
            thread::sleep(POLL_INTERVAL);
        }
        // Closing this end makes the other one readable.
        drop(running);
    })?;
    Ok(Some(exit.into()))
}

/// The status of a process.
struct Status {
    /// The state as a letter (`proc_pid_stat(5)`); `None` if it is not known.
    state: Option<u8>,
    /// When the process started, in clock ticks since the system was booted; `None` if that is not known.
    start_time: Option<u64>,
}

impl Status {
    /// Returns the status of a process, or `None` if no process has this id.
    fn of(process: Pid) -> Option<Self> {
        if let Some(status) = Self::from_proc(process) {
            return Some(status);
        }
        // /proc is not mounted, or hides the processes of other users.
        let exists = !matches!(test_kill_process(process), Err(Errno::SRCH));
        exists.then_some(Self { state: None, start_time: None })
    }

    #[cfg(target_os = "linux")]
    fn from_proc(process: Pid) -> Option<Self> {
        let stat = std::fs::read(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
        Self::parse(&stat)
    }

    #[cfg(not(target_os = "linux"))]
    fn from_proc(_: Pid) -> Option<Self> {
        None
    }

    /// Parses the content of `/proc/PID/stat`.
    #[cfg(target_os = "linux")]
    fn parse(stat: &[u8]) -> Option<Self> {
        // The second field is the program's name in parentheses. It can contain anything, including parentheses.
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        let mut fields = stat[end + 1..].split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        let state = fields.next()?.first().copied();
        // The start time is field 22; the state is field 3.
        let start_time = std::str::from_utf8(fields.nth(18)?).ok()?.parse().ok();
        Some(Self { state, start_time })
    }

    /// Returns whether both are of the same process. After an exit, another process can get the same id, but it has another
    /// start time.
    fn is_same(&self, other: &Self) -> bool {
        self.start_time.is_none() || other.start_time.is_none() || self.start_time == other.start_time
    }

    /// Returns whether the process has not exited. A zombie has exited, but its parent has not collected its status yet.
    fn is_running(&self) -> bool {
        !matches!(self.state, Some(b'Z' | b'X' | b'x'))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
