//! Following: each byte of the agent's rollouts is copied once to the raw transcript, and converted from there into the
//! common one.
//!
//! * [`watcher`]: updates the transcripts and the marker whenever something changes
//! * [`pass`]: one pass over the rollouts
//! * [`flush`]: the brief pass of a hook that ends a turn
//! * [`step`]: one step of a pass: append, convert, write the checkpoint
//! * [`recovery`]: completing the step of a process that was killed or had a full disk
//! * [`resync`]: comparing rollouts that were rewritten with the raw transcript, line by line
//! * [`known_lines`]: the lines of the raw transcript, for that comparison
//! * [`conversion`]: converting the raw transcript
//! * [`checkpoint`]: the progress of following, on disk
//! * [`rollout_list`]: the list of rollouts that hooks write
//! * [`rollout_file`]: finding a rollout, checking whether it has changed, and finding its complete lines
//! * [`transcripts`]: the two append-only files
//! * [`usage`]: measuring the rollouts
//! * [`pending`]: the records that the common transcript does not have yet, for readers of a running agent
//! * [`error`]: why a pass fails

mod checkpoint;
mod conversion;
mod error;
pub(crate) mod flush;
mod known_lines;
mod pass;
pub(crate) mod pending;
mod recovery;
mod resync;
mod rollout_file;
pub(crate) mod rollout_list;
mod step;
mod transcripts;
pub(crate) mod usage;
pub(crate) mod watcher;

pub use error::FollowError;
pub use pass::PassSummary;
