//! `mngr-codex marker`: shows, recomputes or resets the lifecycle state.

use std::path::PathBuf;
use std::process::ExitCode;

use mngr_codex_core::{MarkerError, Report, StateDir, begin_live_output, escaped_path, marker};

use crate::human;
use crate::state_dir;
use crate::streams::{as_the_user_runs_it, complain, print};

/// Show, recompute or reset an agent's RUNNING/WAITING state
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
Examples:
  mngr-codex marker show --state-dir ~/.mngr/agents/AGENT_ID
  mngr-codex marker show --json | jq -r .state";

#[derive(clap::Subcommand)]
enum Action {
    /// Show the state: RUNNING or WAITING, why, since when, and on what evidence; UNKNOWN before the first hook
    Show(Options),
    /// Read the rollouts, recreate the marker files, and show the state
    Recompute(Options),
    /// Close all open turns, before Codex is started or after it was killed; the session can still be resumed
    Reset(Options),
}

#[derive(clap::Args)]
struct Options {
    /// The agent's state directory (default: `$MNGR_AGENT_STATE_DIR`, which mngr sets for an agent's processes)
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command. Exits 1 if the state cannot be read or written, or if it is to be shown and is not known, and 2 if no
/// agent is given.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let (Action::Show(options) | Action::Recompute(options) | Action::Reset(options)) = &arguments.action;
    let Some(path) = state_dir::of(options.state_dir.clone()) else {
        complain(state_dir::MISSING);
        return ExitCode::from(2);
    };
    let report = match execute(&arguments.action, &StateDir::new(&path)) {
        Ok(report) => report,
        Err(error) => {
            complain(error);
            return ExitCode::FAILURE;
        }
    };
    let text = if options.json { to_json(&report) } else { as_the_user_runs_it(human::marker(&report)) };
    match print(&text) {
        Ok(()) if !report.is_known() && matches!(arguments.action, Action::Show(_)) => {
            complain(format!("no hook has run for {}\n{NO_HOOK_HINT}", escaped_path(&path)));
            ExitCode::FAILURE
        }
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}

/// What to do if no hook has run.
const NO_HOOK_HINT: &str = "hint: `mngr-codex hooks install` makes Codex run the hooks, and `mngr-codex status` lists its \
    sessions";

fn to_json(report: &Report) -> String {
    serde_json::to_string(report).unwrap_or_default() + "\n"
}

fn execute(action: &Action, dir: &StateDir) -> Result<Report, MarkerError> {
    let state = match action {
        Action::Show(_) => marker::read(dir)?,
        Action::Recompute(_) => marker::recompute(dir)?,
        Action::Reset(_) => {
            marker::reset(dir)?;
            begin_live_output(dir);
            marker::read(dir)?
        }
    };
    Ok(Report::new(&state, dir))
}
