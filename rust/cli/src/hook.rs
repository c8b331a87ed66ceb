//! `mngr-codex hook`: handles one event of Codex's hooks.

use std::any::Any;
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use mngr_codex_core::event_log::{Level, log};
use mngr_codex_core::session_dir::{self, SessionDirs};
use mngr_codex_core::{FLUSH_BUDGET, HookEvent, HookRun, StateDir, flush_transcripts, marker};

use crate::state_dir;
use crate::streams::StandardInput;

/// Handle one Codex hook event (payload on standard input)
///
/// Always exits 0 and prints nothing on standard output, so that Codex neither waits nor fails because of it. Errors are
/// logged in `events/logs/mngr_codex/events.jsonl` in the agent's state directory.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The event: session-start, session-end, user-prompt-submit, pre-model-request, post-model-request, pre-tool-use,
    /// permission-request, post-tool-use, pre-compact, post-compact, subagent-start, subagent-stop, stop, interrupt
    event: OsString,

    /// The agent's state directory (default: `$MNGR_AGENT_STATE_DIR`, which mngr sets for an agent's processes). If it
    /// contains `{session_id}`, each session has its own directory, which is created when it is needed
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// How long stop and session-end may update the transcripts before they end the turn, in milliseconds; the watcher
    /// does the rest
    #[arg(long, value_name = "MS", default_value_t = 50)]
    flush_budget: u64,
}

const EXAMPLES: &str = "\
Examples:
  mngr-codex hook stop --state-dir ~/.mngr/agents/AGENT_ID < payload.json";

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) {
    handle(&arguments.event, arguments.state_dir.clone(), Duration::from_millis(arguments.flush_budget));
}

/// Runs the command if the command line is `hook EVENT`, with no option or with `--state-dir DIR`, and returns whether it
/// is. Codex waits for its hooks, and this path avoids the cost of a complete command-line parser.
pub(crate) fn run_plain(arguments: &[OsString]) -> bool {
    let (event, dir) = match arguments {
        [_, command, event] if command == "hook" => (event, None),
        [_, command, event, option, dir] if command == "hook" && option == "--state-dir" => (event, Some(dir)),
        _ => return false,
    };
    let is_plain = [Some(event), dir].into_iter().flatten().all(|word| !word.as_encoded_bytes().starts_with(b"-"));
    if is_plain {
        handle(event, dir.map(PathBuf::from), FLUSH_BUDGET);
    }
    is_plain
}

/// Prints the help, or the error for a wrong command line. Exits 0 even then, so that Codex does not fail because of it.
pub(crate) fn print_parse_result(result: &clap::Error) -> ExitCode {
    // Standard error may be closed.
    let _ = result.print();
    ExitCode::SUCCESS
}

fn handle(name: &OsStr, dir: Option<PathBuf>, flush_budget: Duration) {
    // A write above the file size limit must fail instead of killing the hook.
    // SAFETY: the signal is only ignored, so no handler runs, and no other thread exists that could rely on it.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let Some(dir) = state_dir::of(dir).map(Place::of) else { return };
    let name = name.to_string_lossy();
    let name = Name(&name);
    let shared = dir.shared();
    without_panic(shared, name, || {
        let Some(event) = HookEvent::from_name(name.0) else {
            let known = HookEvent::ALL.map(|(name, _)| name).join(", ");
            log(shared, Level::Warning, &format!("hook {name}: no such event; the events are {known}"));
            return;
        };
        match HookRun::read(event, StandardInput) {
            Ok(run) => dir.apply(name, &run, flush_budget),
            Err(error) => log(shared, Level::Error, &format!("hook {name}: {error}")),
        }
    });
}

/// The state directories of the hooks.
enum Place {
    /// The directory of one agent.
    One(StateDir),
    /// A directory for each session.
    Sessions(SessionDirs),
}

impl Place {
    fn of(path: PathBuf) -> Self {
        SessionDirs::of(&path).map_or_else(|| Self::One(StateDir::new(path)), Self::Sessions)
    }

    /// Returns the directory for the log of hooks whose session is not known.
    fn shared(&self) -> &StateDir {
        match self {
            Self::One(dir) => dir,
            Self::Sessions(dirs) => dirs.root(),
        }
    }

    fn apply(&self, name: Name<'_>, run: &HookRun, flush_budget: Duration) {
        let (dir, applied) = match self {
            Self::One(dir) => {
                if run.ends_root_turn() {
                    // The turn is over even if the transcripts cannot be updated.
                    without_panic(dir, name, || flush_transcripts(dir, flush_budget));
                }
                (Cow::Borrowed(dir), marker::apply(dir, run))
            }
            // These sessions have no transcripts besides their rollouts.
            Self::Sessions(dirs) => {
                let dir = dirs.of_run(run);
                let applied = session_dir::apply(&dir, run);
                (Cow::Owned(dir), applied)
            }
        };
        if let Err(error) = applied {
            log(&dir, Level::Error, &format!("hook {name}: {error}"));
        }
    }
}

/// The event's name as given. Messages show only its beginning.
#[derive(Clone, Copy)]
struct Name<'n>(&'n str);

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:.80}", self.0)
    }
}

/// Runs `act`. If it panics, logs the panic and returns, because a hook must always exit 0.
fn without_panic(dir: &StateDir, name: Name<'_>, act: impl FnOnce()) {
    // Nothing that a panic could leave in an inconsistent state is used afterwards: all state is on disk.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(act)) {
        let message = format!("hook {name}: internal error: {}", panic_message(&*panic));
        // The cause of the panic may affect the log too.
        let _ = catch_unwind(|| log(dir, Level::Error, &message));
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_logged_and_ends_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = StateDir::new(folder.path());
        without_panic(&dir, Name("stop"), || panic!("no {}", "way"));
        without_panic(&dir, Name("stop"), || panic!("second"));
        let log = std::fs::read_to_string(dir.log()).expect("something was logged");
        for message in ["hook stop: internal error: no way\"", "hook stop: internal error: second\""] {
            assert!(log.contains(message), "{log}");
        }
        // Without a state directory, nothing is logged.
        without_panic(&StateDir::new(folder.path().join("none")), Name("stop"), || panic!("third"));
    }
}
