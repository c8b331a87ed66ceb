//! The state directory of the agent that a command works on.

use std::path::PathBuf;

/// The environment variable in which mngr passes the state directory to an agent's processes.
const VARIABLE: &str = "MNGR_AGENT_STATE_DIR";

/// The error message for a command without an agent.
pub(crate) const MISSING: &str = "no agent given\nhint: use --state-dir DIR or set MNGR_AGENT_STATE_DIR";

/// Returns the state directory that was given, or else the one in the environment.
pub(crate) fn of(given: Option<PathBuf>) -> Option<PathBuf> {
    given.or_else(|| std::env::var_os(VARIABLE).map(PathBuf::from)).filter(|dir| !dir.as_os_str().is_empty())
}
