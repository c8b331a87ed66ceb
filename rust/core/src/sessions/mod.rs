//! The sessions of a machine: their properties, and how a session is found.
//!
//! * [`head`]: a session's folder, model, title and other properties, from the beginning of its rollout
//! * [`names`]: the names that users give to sessions
//! * [`places`]: the Codex homes of a machine, and the rollouts in them
//! * [`lookup`]: finds sessions by id, and the newest ones
//! * [`target`]: finds what a user names: a path, an agent or a session

pub(crate) mod head;
pub(crate) mod lookup;
pub(crate) mod names;
pub(crate) mod places;
pub(crate) mod target;
