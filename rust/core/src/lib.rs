//! The logic of mngr-codex: reading Codex's rollouts and converting them to mngr's common transcript.
//!
//! Seven rooms, each with one reason to change:
//!
//! * [`json`]: JSON as it stands in rollouts
//! * [`rollout`]: Codex's file format
//! * [`transcript`]: rollout items as transcript records
//! * [`follow`]: rollouts as they grow, each byte once
//! * [`reading`]: transcripts read back
//! * [`lifecycle`]: whether the agent is at work
//! * [`state_dir`], [`event_log`], [`atomic_file`], [`lock`]: an agent's files
//!
//! This library knows neither Python nor the command line, and prints nothing.

#![deny(unsafe_code)]

mod clock;
pub mod convert;
pub mod event_log;
pub mod files;
pub mod follow;
pub mod json;
pub mod lifecycle;
pub mod rollout;
pub mod state_dir;
pub mod transcript;
pub mod watch;
