//! The agent whose terminal a command uses.

use std::path::PathBuf;

use crate::state_dir;

// A doc comment would replace the description of the command.
#[derive(clap::Args)]
pub(crate) struct AgentTerminal {
    /// The agent's state directory (default: `$MNGR_AGENT_STATE_DIR`, which mngr sets for an agent's processes)
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// The tmux pane (default: the one that mngr has recorded for the agent)
    #[arg(long, value_name = "PANE")]
    target: Option<String>,
}

impl AgentTerminal {
    /// Returns the state directory; `None` if none was given.
    pub(crate) fn state_dir(&self) -> Option<PathBuf> {
        state_dir::of(self.state_dir.clone())
    }

    /// Returns the tmux pane that was given.
    pub(crate) fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }
}
