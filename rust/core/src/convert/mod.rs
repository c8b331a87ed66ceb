//! Rollout items as records of mngr's common transcript (ATIF v1.7).
//!
//! A pure function of the input's bytes and the agent's id. Where to find what:
//!
//! * [`converter`]: what each kind of line does; the state between two lines
//! * [`content`]: the text and images of messages and outputs
//! * [`arguments`]: the arguments of calls
//! * [`open_calls`]: calls that await their output; [`call_marks`] tells known calls from others
//! * [`usage`]: token counts as metrics
//! * [`attribution`]: which call a command belongs to; [`command`]: a command's record;
//!   [`held_commands`]: those that wait
//! * [`notice`]: system steps that say in plain words what happened
//! * [`copied`]: which lines repeat another session's history
//! * [`event_id`] is the ids of records
//! * [`record`] is how records are written, [`output`] which of them may go
//! * [`convert`](mod@convert): a whole input at once
//! * [`summary`]: what came of it

pub mod arguments;
pub mod attribution;
pub mod call_marks;
pub mod command;
pub mod content;
pub mod converter;
pub mod copied;
pub mod event_id;
pub mod held_commands;
pub mod notice;
pub mod one_shot;
pub mod open_calls;
pub mod output;
pub mod record;
pub mod summary;
pub mod usage;

pub use converter::{Checkpoint, Converter, End};
pub use one_shot::{ConvertError, Options, convert};
pub use output::{OutputError, temporary_folder};
pub use summary::{MalformedLine, Summary};
