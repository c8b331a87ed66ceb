//! The human-readable form of what the core reads.
//!
//! * [`transcript`]: records as a conversation: who said what and when, which commands ran, and their output
//! * [`command`]: calls of tools, such as commands
//! * [`patch`]: patches, as differences
//! * [`script`]: programs of code mode, of which the commands are shown
//! * [`markdown`]: answers of the model, rendered for a terminal
//! * [`session`]: the properties of a session, and its cost
//! * [`open_call`]: calls that have no output yet
//! * [`marker()`]: the state of an agent
//! * [`status`]: the list of sessions and their states
//! * [`json_object`]: members of a record, whatever their types
//! * [`terminal`]: text from a session, made safe for a terminal
//! * [`style`]: colors, and how much of a text is shown
//! * [`local_time`]: times in a time zone
//! * [`units`]: numbers, sizes and durations

mod command;
mod json_object;
mod local_time;
mod markdown;
mod marker;
mod open_call;
mod patch;
mod script;
mod session;
mod status;
mod style;
mod terminal;
mod transcript;
mod units;

pub(crate) use local_time::Zone;
pub(crate) use marker::marker;
pub(crate) use open_call::OpenCall;
pub(crate) use status::{status, status_change};
pub(crate) use style::Style;
pub(crate) use terminal::{cut_to_columns, safe_line};
pub(crate) use transcript::Human;
