//! The record of a message: what was done for it, and what is about to be done.

use crate::files::fingerprint::hash;
use serde::{Deserialize, Serialize};

use super::host::Lengths;
use super::outcome::Outcome;

/// The record of a message. It has no text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The digest of the message. A token names one message only.
    pub(super) message: String,
    /// The pane into which the text was typed.
    pub(super) pane: Option<String>,
    /// The number of the last change of the terminal that was begun.
    pub(super) changes: u32,
    /// Whether the marker of a request existed before the message was typed. It says nothing about a new dialog then.
    pub(super) was_asking: bool,
    /// Whether Codex has no such command, so that the message is for the model.
    pub(super) is_no_command: bool,
    pub(super) progress: Progress,
}

impl Record {
    /// Returns the record of a message for which nothing was done.
    pub(super) fn new(message: &str) -> Self {
        Self {
            message: digest(message),
            pane: None,
            changes: 0,
            was_asking: false,
            is_no_command: false,
            progress: Progress::Waiting,
        }
    }

    /// Returns what became of the message, if that is known.
    pub(super) fn outcome(&self) -> Option<&Outcome> {
        match &self.progress {
            Progress::Done(outcome) => Some(outcome),
            _ => None,
        }
    }
}

/// How far the sending of a message is. Each step is saved before what it names is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(super) enum Progress {
    /// Nothing is typed. The composer must become empty.
    Waiting,
    /// The text is being pasted, which is the change with this number.
    Pasting { change: u32, before: Lengths },
    /// The text was pasted, and must appear.
    Typed { before: Lengths },
    /// Enter is being pressed.
    Entering(Entry),
    /// Enter was pressed. Codex must take the message.
    Entered(Entry),
    /// A space is being typed before a text that is no command.
    Spacing { before: Lengths },
    /// Codex did not react to Enter. The text is being deleted.
    Withdrawing(Entry),
    /// Nothing remains to be done.
    Done(Outcome),
}

/// What was seen just before Enter was pressed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The number of the change.
    pub(super) change: u32,
    /// The lengths of the rollouts. Only lines after them are answers to this message.
    pub(super) before: Lengths,
    /// The digest of the composer's first row.
    pub(super) row: Option<String>,
    /// How often Codex said that it rejects a command.
    pub(super) rejections: usize,
    /// How often Codex said that it does not know this command.
    pub(super) unrecognized: usize,
}

/// Returns a digest of a text that other users could otherwise read in a copy of the file.
pub(super) fn digest(text: &str) -> String {
    format!("{:032x}", u128::from_be_bytes(hash(text.as_bytes())))
}
