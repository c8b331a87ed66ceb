//! Measures rollouts: how many tokens a thread has used, the size of its context, its rate limits, its last error.
//!
//! A measure is a pure function of a rollout's lines. It knows neither agents nor files, so it serves one session as well
//! as all sessions of a machine.
//!
//! * [`rollout_meter`]: reads the lines of one rollout
//! * [`measures`]: the results, which can be saved between two lines
//! * [`rate_limits`]: the windows of the account's rate limits
//! * [`message`]: the finished messages of the agent

mod measures;
mod message;
mod rate_limits;
mod rollout_meter;

pub(crate) use measures::{ContextSize, LinePosition, Measures, Tokens, TurnError};
pub(crate) use message::Message;
pub(crate) use rate_limits::RateLimits;
pub(crate) use rollout_meter::Meter;
