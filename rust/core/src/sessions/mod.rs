//! The session files of a machine: what they say about their session, and finding one of many.
//!
//! * [`head`]: a session's folder, model, title and other properties, from the beginning of its rollout
//! * [`names`]: the names that users give to sessions

pub(crate) mod head;
pub(crate) mod names;
