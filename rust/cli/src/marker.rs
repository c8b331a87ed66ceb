//! `mngr-codex marker`: the lifecycle's state, for people and programs.

use std::path::PathBuf;
use std::process::ExitCode;

use mngr_codex_core::lifecycle::marker::{self, MarkerError};
use mngr_codex_core::lifecycle::report::Report;
use mngr_codex_core::state_dir::StateDir;

use crate::state_dir;
use crate::streams::{complain, print};

/// Show, recompute or reset what says whether the agent is at work
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show the state: RUNNING or WAITING, since when, and on what evidence
    Show(Options),
    /// Bring the state up to what the rollouts hold now, make the marker files anew, and show it
    Recompute(Options),
    /// Clear what is open, as for a codex that starts anew; the session to resume stays
    Reset(Options),
}

#[derive(clap::Args)]
struct Options {
    /// The agent's state dir; without it `$MNGR_AGENT_STATE_DIR`, which mngr sets for all that an agent runs
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command; gives 0, 1 where the system failed, 2 where no agent is named.
pub fn run(arguments: &Arguments) -> ExitCode {
    let (Command::Show(options) | Command::Recompute(options) | Command::Reset(options)) = &arguments.command;
    let Some(path) = state_dir::of(options.state_dir.clone()) else {
        complain(format!("which agent? name its state dir with --state-dir, or set ${}", state_dir::VARIABLE));
        return ExitCode::from(2);
    };
    let report = match act(&arguments.command, &StateDir::new(&path)) {
        Ok(report) => report,
        Err(error) => {
            complain(error);
            return ExitCode::FAILURE;
        }
    };
    match print(&if options.json { report.to_json() } else { report.to_string() }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}

fn act(command: &Command, dir: &StateDir) -> Result<Report, MarkerError> {
    let state = match command {
        Command::Show(_) => marker::read(dir)?,
        Command::Recompute(_) => marker::recompute(dir)?,
        Command::Reset(_) => {
            marker::reset(dir)?;
            marker::read(dir)?
        }
    };
    Ok(Report::new(&state, dir))
}
