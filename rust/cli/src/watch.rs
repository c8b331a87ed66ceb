//! `mngr-codex watch`: follows the agent's rollouts.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use mngr_codex_core::event_log::{Level, log};
use mngr_codex_core::{LOCK_TIMEOUT, ProcessId, StateDir, Watcher, session_dir};
use rustix::process::Pid;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::process_exit::ProcessExit;
use crate::state_dir;
use crate::streams::complain;

/// The number of seconds that a pass waits for the pass of another process. mngr sets it when it destroys an agent.
const LOCK_TIMEOUT_VARIABLE: &str = "MNGR_CONVERT_LOCK_TIMEOUT";

/// How long Codex may take to exit after a signal. mngr kills the remaining processes one second after the signal.
const EXIT_TIMEOUT: Duration = Duration::from_millis(500);

/// Keep an agent's transcripts and its RUNNING/WAITING state up to date
///
/// Runs until SIGTERM or SIGINT, makes a final pass, and exits 0.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The agent's state directory (default: `$MNGR_AGENT_STATE_DIR`, which mngr sets for an agent's processes)
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// Make one pass and exit
    #[arg(long)]
    once: bool,

    /// Treat the rollouts as complete: emit records that are still held back
    #[arg(long, requires = "once")]
    r#final: bool,

    /// Exit when the process PID (usually Codex) exits: make a final pass, and close any turn that it left open
    #[arg(long, value_name = "PID", conflicts_with = "once", value_parser = process_id)]
    with_pid: Option<Pid>,
}

const EXAMPLES: &str = "\
Examples:
  mngr-codex watch --state-dir ~/.mngr/agents/agent-1 --once
  MNGR_AGENT_STATE_DIR=~/.mngr/agents/agent-1 mngr-codex watch --with-pid 4711";

/// Parses `--with-pid`.
fn process_id(text: &str) -> Result<Pid, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.and_then(Pid::from_raw).ok_or_else(|| "expected a process id".to_owned())
}

/// Runs the command. Exits 1 if the agent cannot be followed, and 2 if no agent is given.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let Some(path) = state_dir::of(arguments.state_dir.clone()) else {
        complain(state_dir::MISSING);
        return ExitCode::from(2);
    };
    let dir = StateDir::new(path);
    let mut watcher = Watcher::new(dir.clone());
    let result = if arguments.once {
        watcher.once(arguments.r#final, lock_timeout()).map(drop).map_err(|error| error.to_string())
    } else {
        // Nobody reads the standard error of an agent's watcher.
        let log_error = |error: &String| log(&dir, Level::Error, &format!("watch: {error}"));
        follow(&mut watcher, &dir, arguments.with_pid).inspect_err(log_error)
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}

/// Returns how long a single pass waits for the pass of another process.
fn lock_timeout() -> Duration {
    let seconds = std::env::var(LOCK_TIMEOUT_VARIABLE).ok().and_then(|seconds| seconds.trim().parse().ok());
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(LOCK_TIMEOUT)
}

/// Follows until a signal arrives or the process exits, then makes a final pass.
fn follow(watcher: &mut Watcher, dir: &StateDir, process: Option<Pid>) -> Result<(), String> {
    let stop = stop_signals().map_err(|error| format!("cannot install signal handlers: {error}"))?;
    let codex = match process.map(|process| exit_of(process, dir)).transpose()? {
        // It has already exited.
        Some(None) => {
            let resets = watcher.resets().map_err(|error| error.to_string())?;
            return end(watcher, resets).and(last_pass(watcher));
        }
        codex => codex.flatten(),
    };
    if let Some(process) = process.and_then(ProcessId::of) {
        // `mngr-codex status` lists only agents whose Codex is running. The transcripts do not depend on it.
        if let Err(error) = session_dir::record_process(dir, process) {
            log(dir, Level::Warning, &format!("watch: {error}"));
        }
    }
    let resets = watcher.resets().map_err(|error| error.to_string())?;
    let others: Vec<_> = [stop.as_fd()].into_iter().chain(codex.as_ref().map(AsFd::as_fd)).collect();
    while watcher.update_and_wait(&others).map_err(|error| error.to_string())?.is_none() {}
    let mut result = pass(watcher);
    // A signal that stops the agent is usually sent to Codex as well. Its last lines need another pass then.
    if codex.is_some_and(|codex| codex.happens_within(EXIT_TIMEOUT)) {
        result = end(watcher, resets);
    }
    result.and(last_pass(watcher))
}

/// Makes a pass and records that Codex has exited, which is also done if the pass fails.
fn end(watcher: &mut Watcher, resets: u64) -> Result<(), String> {
    let passed = pass(watcher);
    passed.and(watcher.end(resets).map_err(|error| error.to_string()))
}

/// Returns a stream that becomes readable after SIGTERM or SIGINT.
fn stop_signals() -> io::Result<UnixStream> {
    let (stop, sender) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT] {
        signal_hook::low_level::pipe::register(signal, sender.try_clone()?)?;
    }
    Ok(stop)
}

/// Waits for the exit of a process; returns `None` if it does not exist. Logs if the process must be polled.
fn exit_of(process: Pid, dir: &StateDir) -> Result<Option<ProcessExit>, String> {
    let number = process.as_raw_nonzero();
    let exit = ProcessExit::of(process).map_err(|error| format!("cannot wait for process {number}: {error}"))?;
    if let Some(ProcessExit { polling: Some(error), .. }) = &exit {
        let message = format!("watch: cannot open a pidfd of process {number}: {error}; polling the process instead");
        log(dir, Level::Warning, &message);
    }
    Ok(exit)
}

fn pass(watcher: &mut Watcher) -> Result<(), String> {
    watcher.once(false, LOCK_TIMEOUT).map(drop).map_err(|error| error.to_string())
}

/// Makes a pass that also finds the sessions that no hook has reported.
fn last_pass(watcher: &mut Watcher) -> Result<(), String> {
    watcher.search_again();
    pass(watcher)
}
