//! `mngr-codex hook`: one run of one of codex's hooks.

use std::ffi::{OsStr, OsString};
use std::panic;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use mngr_codex_core::follow::flush::{BUDGET, flush};
use mngr_codex_core::lifecycle::hook::{Event, Run};
use mngr_codex_core::lifecycle::marker;
use mngr_codex_core::state_dir::StateDir;

use crate::state_dir;
use crate::streams::StandardInput;

/// Take in one hook of codex: its payload on standard input
///
/// Always ends with 0 and writes nothing to standard output, whatever it gets: codex must not wait or fail because of
/// it. What goes wrong stands in the log of the agent, under events/logs in its state dir.
#[derive(clap::Args)]
pub struct Arguments {
    /// Which hook, in kebab-case: session-start, session-end, user-prompt-submit, pre-model-request,
    /// post-model-request, pre-tool-use, permission-request, post-tool-use, pre-compact, post-compact, subagent-start,
    /// subagent-stop, stop, interrupt
    event: OsString,

    /// The agent's state dir; without it `$MNGR_AGENT_STATE_DIR`, which mngr sets for all that an agent runs
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// How long stop and session-end bring the transcripts up to date before they say that the turn is over, in
    /// milliseconds; what is not done by then is left to the watcher
    #[arg(long, value_name = "MS", default_value_t = 50)]
    flush_budget: u64,
}

/// Runs the command.
pub fn run(arguments: &Arguments) {
    take(&arguments.event, arguments.state_dir.clone(), Duration::from_millis(arguments.flush_budget));
}

/// Runs `hook EVENT`, read off a command line that has nothing else; whether it was one. Codex waits for its hooks:
/// this spares them the reading of all that a command line can hold.
pub fn run_plain(arguments: &[OsString]) -> bool {
    match arguments {
        [_, command, event] if command == "hook" && !event.as_encoded_bytes().starts_with(b"-") => {
            take(event, None, BUDGET);
        }
        _ => return false,
    }
    true
}

/// Says what came of arguments that are no hook's: help, or on standard error what is wrong with them. Codex must not
/// fail because of it.
pub fn tell(told: &clap::Error) -> ExitCode {
    // Nobody may be listening.
    let _ = told.print();
    ExitCode::SUCCESS
}

fn take(event: &OsStr, dir: Option<PathBuf>, flush_budget: Duration) {
    // Beyond a limit of file sizes a write is to fail, and not to end the hook.
    // SAFETY: no handler is set, and no other thread runs that could rely on the signal.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let Some(dir) = state_dir::of(dir).map(StateDir::new) else { return };
    match event.to_str().and_then(Event::named) {
        Some(event) => {
            let before = |run: &Run| {
                if run.has_last_words() {
                    // Whatever becomes of the transcripts, the turn is over. What panics says so on standard error.
                    let _ = panic::catch_unwind(|| flush(&dir, flush_budget));
                }
            };
            // What goes wrong is logged, and codex has no use for it.
            drop(marker::run_hook(&dir, event, StandardInput, before));
        }
        None => marker::tell_unknown(&dir, &event.to_string_lossy()),
    }
}
