//! The logic of mngr-codex: reading Codex's rollouts and converting them to mngr's common transcript.
//!
//! Four rooms, each with one reason to change:
//!
//! * [`json`]: JSON as it stands in rollouts
//! * [`rollout`]: Codex's file format
//! * [`transcript`]: rollout items as transcript records
//! * [`atomic_file`]: files that are whole or not there
//!
//! This library knows neither Python nor the command line, and prints nothing.

pub mod atomic_file;
pub mod json;
pub mod rollout;
pub mod transcript;
