//! The human-readable form of what the core reads.
//!
//! * [`transcript`]: records as a conversation: who said what and when, which commands ran, and their output
//! * [`command`]: commands and patches on one line
//! * [`open_call`]: calls that have no output yet
//! * [`marker()`]: the state of an agent
//! * [`json_object`]: members of a record, whatever their types
//! * [`terminal`]: text from a session, made safe for a terminal
//! * [`style`]: colors, and how much of a text is shown
//! * [`units`]: numbers, sizes and durations

mod command;
mod json_object;
mod marker;
mod open_call;
mod style;
mod terminal;
mod transcript;
mod units;

pub(crate) use marker::marker;
pub(crate) use open_call::OpenCall;
pub(crate) use style::Style;
pub(crate) use transcript::Human;
