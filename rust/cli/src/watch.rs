//! `mngr-codex watch`: follows the agent's rollouts.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use mngr_codex_core::follow::watcher::{LOCK_TIMEOUT, Watcher};
use mngr_codex_core::state_dir::StateDir;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::Pid;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::state_dir;
use crate::streams::complain;

/// Says for how many seconds a pass waits for another one. mngr sets it when it destroys an agent.
const PATIENCE_VARIABLE: &str = "MNGR_CONVERT_LOCK_TIMEOUT";

/// How long codex may take to end after a signal came. mngr kills what has not ended a second after that.
const GRACE: Duration = Duration::from_millis(500);

/// Follow the agent's rollouts: raw transcript, common transcript, and whether the agent is at work
///
/// Runs until SIGTERM or SIGINT, makes a last pass, and ends with 0.
#[derive(clap::Args)]
pub struct Arguments {
    /// The agent's state dir; without it `$MNGR_AGENT_STATE_DIR`, which mngr sets for all that an agent runs
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// Make one pass over what is there, then end
    #[arg(long)]
    once: bool,

    /// Nothing more will come: hold no record back
    #[arg(long, requires = "once")]
    r#final: bool,

    /// End when this process, codex, has ended, after a last pass; a turn that it left open is over then
    #[arg(long, value_name = "PID", conflicts_with = "once", value_parser = process)]
    with_pid: Option<Pid>,
}

fn process(text: &str) -> Result<Pid, String> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .and_then(Pid::from_raw)
        .ok_or_else(|| "a process id is wanted".into())
}

/// Runs the command; gives 0, 1 where the system failed, 2 where no agent is named.
pub fn run(arguments: &Arguments) -> ExitCode {
    let Some(path) = state_dir::of(arguments.state_dir.clone()) else {
        complain(state_dir::MISSING);
        return ExitCode::from(2);
    };
    let mut watcher = Watcher::new(StateDir::new(path));
    let result = if arguments.once {
        watcher.once(arguments.r#final, timeout()).map(drop).map_err(|error| error.to_string())
    } else {
        follow(&mut watcher, arguments.with_pid)
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}

fn timeout() -> Duration {
    let seconds = std::env::var(PATIENCE_VARIABLE).ok().and_then(|seconds| seconds.trim().parse().ok());
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(LOCK_TIMEOUT)
}

/// Follows until a signal comes or the process ends, then makes a last pass.
fn follow(watcher: &mut Watcher, with: Option<Pid>) -> Result<(), String> {
    let (stop, stopped) = UnixStream::pair().map_err(|error| format!("no signal can be waited for: {error}"))?;
    for signal in [SIGTERM, SIGINT] {
        let stopped = stopped.try_clone().map_err(|error| format!("no signal can be waited for: {error}"))?;
        signal_hook::low_level::pipe::register(signal, stopped)
            .map_err(|error| format!("no signal can be waited for: {error}"))?;
    }
    let codex = match with.map(open_process).transpose()? {
        // It has ended already.
        Some(None) => return last(watcher),
        process => process.flatten(),
    };
    let resets = watcher.resets().map_err(|error| error.to_string())?;
    let others: Vec<_> = [stop.as_fd()].into_iter().chain(codex.as_ref().map(AsFd::as_fd)).collect();
    loop {
        if watcher.update_and_wait(&others).map_err(|error| error.to_string())?.is_some() {
            break;
        }
    }
    last(watcher)?;
    // Who stops the agent sends the signal to both.
    let Some(codex) = codex.filter(|codex| has_ended(codex, GRACE)) else { return Ok(()) };
    drop(codex);
    last(watcher)?;
    watcher.close_turns(resets).map_err(|error| error.to_string())
}

/// Whether the process of a descriptor has ended, or does so within this time.
fn has_ended(process: &OwnedFd, within: Duration) -> bool {
    let within = rustix::event::Timespec::try_from(within).ok();
    let mut process = [PollFd::new(process, PollFlags::IN)];
    poll(&mut process, within.as_ref()).is_ok_and(|ready| ready > 0)
}

/// A descriptor that becomes readable when a process ends; `None` where there is no such process.
#[cfg(target_os = "linux")]
fn open_process(process: Pid) -> Result<Option<OwnedFd>, String> {
    match rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()) {
        Ok(process) => Ok(Some(process)),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(format!("process {} cannot be waited for: {error}", process.as_raw_nonzero())),
    }
}

/// The same where processes have no descriptors: it is looked whether it is there, once a second.
#[cfg(not(target_os = "linux"))]
fn open_process(process: Pid) -> Result<Option<OwnedFd>, String> {
    use rustix::process::test_kill_process;
    let is_there = move || !matches!(test_kill_process(process), Err(Errno::SRCH));
    if !is_there() {
        return Ok(None);
    }
    let (here, there) = UnixStream::pair().map_err(|error| format!("the process cannot be waited for: {error}"))?;
    std::thread::spawn(move || {
        while is_there() {
            std::thread::sleep(Duration::from_secs(1));
        }
        // The other end becomes readable.
        drop(there);
    });
    Ok(Some(here.into()))
}

fn last(watcher: &mut Watcher) -> Result<(), String> {
    watcher.once(false, LOCK_TIMEOUT).map(drop).map_err(|error| error.to_string())
}
