//! The usage of an agent: its rollouts are measured as they grow, and the results are written for mngr.
//!
//! * [`pass`]: one pass over the rollouts
//! * [`checkpoint`]: the measures and positions, on disk
//! * [`log_once`]: messages of the log that are not repeated
//! * [`threads`]: the sums over the rollouts of a thread
//! * [`events`]: mngr's usage events
//! * [`inherited`]: the tokens that other agents have used in this agent's sessions
//! * [`live_output`]: the root's messages as text
//! * [`session_facts`]: the facts about the root's session
//! * [`login`]: whether a subscription or an API key pays

mod checkpoint;
mod events;
mod inherited;
mod live_output;
mod log_once;
mod login;
mod pass;
mod session_facts;
mod threads;

pub use inherited::inherit;
pub use live_output::begin_live_output;
pub(super) use pass::{Extent, Scope, UsageFollower};
