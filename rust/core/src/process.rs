//! The identity of a process: its id and its start time, because a system uses an id again after the process has exited.

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// A process, which may have exited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ProcessId {
    id: i32,
    /// When it started, in clock ticks since the system was booted; `None` if that is not known.
    start_time: Option<u64>,
}

impl ProcessId {
    /// Returns the identity of a running process; `None` if no process with this id is running.
    #[must_use]
    pub fn of(process: Pid) -> Option<Self> {
        let status = Status::of(process).filter(Status::is_running)?;
        Some(Self { id: process.as_raw_nonzero().get(), start_time: status.start_time })
    }

    /// Returns the process that has started this one; `None` if it has exited.
    pub(crate) fn of_parent() -> Option<Self> {
        // An orphan is adopted by another process, usually the one with the id 1.
        rustix::process::getppid().filter(|parent| !parent.is_init()).and_then(Self::of)
    }

    /// Returns the id.
    #[must_use]
    pub fn pid(self) -> Option<Pid> {
        Pid::from_raw(self.id)
    }

    /// Returns whether the process is still running.
    #[must_use]
    pub fn is_running(self) -> bool {
        self.pid().and_then(Self::of).is_some_and(|now| {
            self.start_time.is_none() || now.start_time.is_none() || self.start_time == now.start_time
        })
    }
}

/// Returns whether a process is in the foreground of its terminal, and not a process that it has started. Returns `None`
/// if that is not known.
#[cfg(target_os = "linux")]
pub(crate) fn foreground(process: Pid) -> Option<bool> {
    let stat = std::fs::read(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    // Of the fields after the name, the group is the third, and the group in the terminal's foreground the sixth.
    let fields: Vec<&[u8]> = fields_after_name(&stat)?.collect();
    Some(fields.get(2)? == fields.get(5)?)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn foreground(_: Pid) -> Option<bool> {
    None
}

/// Returns the fields of `/proc/PID/stat` after the name of the program. The name is in parentheses, and can contain
/// anything, including parentheses.
#[cfg(target_os = "linux")]
fn fields_after_name(stat: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    Some(stat[end + 1..].split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()))
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
        let mut fields = fields_after_name(stat)?;
        let state = fields.next()?.first().copied();
        // The start time is field 22; the state is field 3.
        let start_time = std::str::from_utf8(fields.nth(18)?).ok()?.parse().ok();
        Some(Self { state, start_time })
    }

    /// Returns whether the process has not exited. A zombie has exited, but its parent has not collected its status yet.
    fn is_running(&self) -> bool {
        !matches!(self.state, Some(b'Z' | b'X' | b'x'))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
