//! Which agent a command is for.

use std::path::PathBuf;

/// Where mngr tells each process of an agent its state dir.
pub const VARIABLE: &str = "MNGR_AGENT_STATE_DIR";

/// The state dir that was named, or that of the agent which runs this program.
pub fn of(named: Option<PathBuf>) -> Option<PathBuf> {
    named.or_else(|| std::env::var_os(VARIABLE).map(PathBuf::from)).filter(|dir| !dir.as_os_str().is_empty())
}
