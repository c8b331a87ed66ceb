//! Messages that are logged once by a process, although their cause lasts.

use std::cell::RefCell;
use std::collections::HashSet;

use crate::event_log::{Level, log};
use crate::state_dir::StateDir;

/// The number of messages that are remembered.
const MAX_MESSAGES: usize = 1 << 10;

/// The log of an agent.
#[derive(Debug)]
pub(super) struct LogOnce {
    dir: StateDir,
    logged: RefCell<HashSet<String>>,
}

impl LogOnce {
    pub(super) fn new(dir: StateDir) -> Self {
        Self { dir, logged: RefCell::default() }
    }

    /// Logs the message, unless it was logged before.
    pub(super) fn log(&self, level: Level, message: &str) {
        let mut logged = self.logged.borrow_mut();
        if logged.len() < MAX_MESSAGES && logged.insert(message.to_owned()) {
            log(&self.dir, level, message);
        }
    }
}
