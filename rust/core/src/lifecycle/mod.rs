//! Whether the agent is running, derived from Codex's hooks and rollouts, and the marker files that show it.
//!
//! * `state`: the state and its transitions: pure, without I/O
//! * [`hook`]: turns an event and its payload into a signal for a turn
//! * `payload`: reads a hook's payload in bounded memory
//! * `reconcile`: turns the lines of a rollout into signals
//! * `subagent_rollout`: finds the rollout of a subagent that no hook has named
//! * `facts`: the session's model, tokens, compactions and errors
//! * `timeline`: what the agent is doing, and since when
//! * `store`: the state on disk, and its lock
//! * `marker_files`: the marker files, which are derived from the state
//! * `status_file`: the status file, which is derived from the state as well
//! * `activity_event`: mngr's activity events
//! * `activity_file`: the file that is touched while an agent is working
//! * `deferred`: hook runs that could not acquire the lock
//! * [`marker`]: complete operations: a hook run, reconciliation, a reset
//! * [`session_dir`]: one state directory for each session
//! * [`report`]: the state as text and JSON for users and other programs
//! * [`error`]: the errors of these operations

pub(crate) mod activity_event;
pub(crate) mod activity_file;
mod deferred;
pub(crate) mod error;
pub(crate) mod facts;
pub(crate) mod hook;
pub mod marker;
mod marker_files;
mod payload;
pub(crate) mod reconcile;
pub(crate) mod report;
pub mod session_dir;
pub(crate) mod state;
pub(crate) mod status_file;
mod store;
mod subagent_rollout;
pub(crate) mod timeline;
