//! Sends a message to a running Codex: types it into the composer of the TUI, exactly once.
//!
//! A message has a token. [`send`] keeps a record for each token, so that a second run waits for the first one, or goes on
//! where a run was killed. Messages with different tokens are typed one after the other.

mod host;
mod outcome;
mod record;
mod rollouts;
mod sender;
mod store;
mod text;
mod tmux_host;
mod token;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::files::file_error::FileError;
use crate::state_dir::StateDir;

pub use outcome::{Outcome, OutcomeKind};
pub use text::{as_typed, clean_message, is_slash_command};
pub use token::{InvalidToken, Token};

use record::{Record, digest};
use sender::{Message, READY_TIMEOUT, SHOWN_TIMEOUT, Sender};
use store::Store;
use tmux_host::{TmuxHost, forget_texts};

/// The interval at which the lock is tried while another message is sent.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A message to be sent.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The message.
    pub message: &'a str,
    /// Its token.
    pub token: &'a Token,
    /// The tmux pane, if it is not the one that mngr has recorded for the agent.
    pub target: Option<&'a str>,
    /// How long to wait, after Enter, until the message is recorded.
    pub timeout: Duration,
    /// Whether the user has stopped the program. Text that was typed but not sent is then deleted.
    pub interrupt: &'a AtomicBool,
}

/// Sends a message to the Codex of an agent and returns what became of it.
#[must_use]
pub fn send(dir: &StateDir, request: &Request<'_>) -> Outcome {
    let text = clean_message(request.message);
    if text.trim().is_empty() {
        return Outcome::new(OutcomeKind::Empty);
    }
    send_locked(dir, request, &text).unwrap_or_else(|error| Outcome::failed(&error))
}

fn send_locked(dir: &StateDir, request: &Request<'_>, text: &str) -> Result<Outcome, FileError> {
    let store = Store::open(dir)?;
    let digest = digest(text);
    // A run takes as long as Codex needs to become ready, to show the text and to record it.
    let end = Instant::now() + READY_TIMEOUT + SHOWN_TIMEOUT + request.timeout + Duration::from_secs(10);
    let _lock = loop {
        let locked = store.try_lock()?;
        let record = store.read(request.token);
        if let Some(record) = &record
            && record.message != digest
        {
            let outcome = Outcome::failed(&"the token belongs to another message");
            return Ok(outcome);
        }
        if let Some(outcome) = record.as_ref().and_then(Record::outcome) {
            return Ok(outcome.clone());
        }
        match locked {
            Some(lock) => break lock,
            None if request.interrupt.load(Ordering::SeqCst) => {
                let interrupted = Outcome::new(OutcomeKind::Interrupted);
                return Ok(if record.is_some() { Outcome { arrived: None, ..interrupted } } else { interrupted });
            }
            None if Instant::now() >= end => {
                let busy = Outcome::new(OutcomeKind::Busy);
                return Ok(if record.is_some() { Outcome { arrived: None, ..busy } } else { busy });
            }
            None => std::thread::sleep(LOCK_PAUSE),
        }
    };
    forget_texts(&store.clean_up(request.token));
    let record = store.read(request.token).unwrap_or_else(|| Record::new(text));
    let message = Message::new(text);
    let mut host = TmuxHost::new(dir, request, &store);
    let outcome = Sender::new(&mut host, &message, record, request.timeout).run();
    if store.read(request.token).is_some_and(|record| record.outcome().is_some()) {
        host.clean_up();
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests;
