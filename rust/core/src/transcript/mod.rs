//! Common transcripts read back, also those that other agents wrote.
//!
//! * [`stream`]: a transcript's files as one stream of lines, from the start
//! * [`backwards`]: the lines of a file from its end
//! * [`growing`]: the lines that come behind those
//! * [`spooled`]: a rollout as a transcript
//! * [`locate`]: what a user names: a rollout, a transcript, an agent
//! * [`record`]: what a line says of itself: its kind and role
//! * [`tail`]: the last records of what stands at a path
//! * [`selection`]: which records are wanted, and where those begin

pub mod atif;
pub mod backwards;

pub mod last_records;
pub mod locate;
pub mod record;
pub mod selection;
pub mod spool;
pub mod stream;
pub mod tail_follow;

pub use record::{Record, Role};
pub use selection::{Selection, Window};
pub use stream::{Line, Place, ReadError, Stream};
