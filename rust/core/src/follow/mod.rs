//! Following: each byte of the agent's rollouts once into the raw transcript, and from there into the common one.
//!
//! * [`pass`]: one pass over what is there, step by step
//! * [`flush`]: a brief one, before a hook says that a turn is over
//! * [`checkpoint`]: how far it came, on disk
//! * [`source`]: rollouts: where they are, whether they are what they were, how far their whole lines go
//! * [`transcripts`]: the two files that are appended to
//! * [`watcher`]: passes over the transcripts and the marker, again and again
//! * [`watches`]: waiting until there is something new
//! * [`known_lines`]: which lines are in the raw transcript, where a source or the checkpoint is not what it was

pub mod checkpoint;
pub mod flush;
pub mod known_lines;
pub mod pass;
pub mod source;
pub mod transcripts;
pub mod watcher;

pub use pass::{FollowError, Followed, Follower, Until};
