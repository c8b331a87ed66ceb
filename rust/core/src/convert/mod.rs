//! Converts rollout lines to records of mngr's common transcript (ATIF v1.7).
//!
//! The transcript is a pure function of the input's bytes and the agent's id.
//!
//! * [`conversion`]: conversions of a complete input, in batches, or line by line
//! * [`converter`]: which record each kind of line becomes, and the state between two lines
//! * [`content`]: texts and images of messages and outputs; [`attachment`]: their other parts
//! * [`injected`]: texts that Codex itself writes in the user's role
//! * [`inter_agent`]: messages between agents that are written as JSON
//! * [`arguments`]: arguments of calls
//! * [`open_calls`]: calls that await their output; [`call_filter`] speeds up finding them
//! * [`usage`]: token counts as metrics
//! * [`command_attribution`]: the call that a command belongs to
//! * [`command`]: the record of a command; [`held_commands`]: commands that wait for their call's output
//! * [`nested_call`]: the record of a call that a program made itself; [`recent_calls`]: calls that an event may repeat
//! * [`notice`]: system steps that describe an event in one sentence; [`known_event`]: the sentences of events
//! * [`copied_history`]: lines that repeat another session's history
//! * [`event_id`]: the ids of records
//! * [`record_writer`]: writes records; [`record`]: their JSON framing; [`output`]: holds records back
//! * [`summary`]: counts of a conversion

mod arguments;
mod attachment;
mod call_filter;
pub(crate) mod command;
pub(crate) mod command_attribution;
mod content;
mod conversion;
mod converter;
pub(crate) mod copied_history;
mod event_id;
mod held_commands;
mod injected;
pub(crate) mod inter_agent;
mod known_event;
mod nested_call;
mod notice;
mod open_calls;
mod output;
mod recent_calls;
pub(crate) mod record;
mod record_writer;
mod summary;
pub(crate) mod usage;

pub use command::program_text;
pub use command_attribution::Reread;
pub(crate) use conversion::MAX_PENDING_BYTES;
pub use conversion::{BatchConverter, ConvertError, IncrementalConverter, Options, convert};
pub use converter::{Checkpoint, Converter, End, Pending};
pub use output::{OutputError, temporary_folder};
pub use summary::{MalformedLine, Summary};
