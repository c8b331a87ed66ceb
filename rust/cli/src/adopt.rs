//! `mngr-codex adopt`: separates the usage of a new agent from the usage of the agents whose sessions it continues.

use std::path::PathBuf;
use std::process::ExitCode;

use mngr_codex_core::{LOCK_TIMEOUT, StateDir, inherit};

use crate::state_dir;
use crate::streams::{complain, print};

/// Count the tokens used so far in an agent's sessions as other agents' usage
///
/// mngr runs this after it has copied sessions to a new agent, before Codex is started. The agent's usage events then report
/// only its own usage. The agents from which the sessions come report the rest.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The agent's state directory (default: `$MNGR_AGENT_STATE_DIR`, which mngr sets for an agent's processes)
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  mngr-codex adopt --state-dir ~/.mngr/agents/AGENT_ID";

/// Runs the command. Exits 1 if the rollouts cannot be read or the result cannot be written, and 2 if no agent is given.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let Some(path) = state_dir::of(arguments.state_dir.clone()) else {
        complain(state_dir::MISSING);
        return ExitCode::from(2);
    };
    let sessions = match inherit(&StateDir::new(path), LOCK_TIMEOUT) {
        Ok(1) => "1 session was used by other agents".to_owned(),
        Ok(sessions) => format!("{sessions} sessions were used by other agents"),
        Err(error) => {
            complain(error);
            return ExitCode::FAILURE;
        }
    };
    match print(&format!("{sessions}\n")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}
