//! Whether the agent is at work: what codex's hooks and rollouts say, and the marker files that tell others.
//!
//! * [`state`]: the state and its transitions, pure
//! * [`hook`]: what each hook says
//! * [`payload`]: what codex hands to a hook
//! * [`healing`]: what a rollout's lines say
//! * [`store`]: the state on disk, under one lock
//! * `markers`: the marker files, which follow from the state
//! * `put_off`: hook runs that could not get the lock
//! * [`report`]: the state as people and programs read it
//! * [`marker`]: hook runs, healing and reset as a whole

mod deferred;
pub mod hook;
pub mod marker;
mod marker_files;
pub mod payload;
pub mod reconcile;
pub mod report;
pub mod state;
pub mod store;
