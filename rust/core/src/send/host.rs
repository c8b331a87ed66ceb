//! What sending needs of the agent's host. The tests simulate it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::files::file_error::FileError;
use crate::screen::Screen;

use super::record::Record;
use super::text::MessagePattern;

/// The lengths of the rollouts at one time, by their paths below the Codex home.
pub(super) type Lengths = BTreeMap<String, u64>;

/// A change of the terminal. Each is made by tmux together with its number, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Types the text that was loaded, as one paste: line breaks in it do not act as Enter.
    Paste,
    /// Presses Enter.
    Enter,
    /// Types a space.
    Space,
    /// Deletes the text on both sides of the cursor, which has at most this many lines.
    Delete {
        /// How often each of the two keys is pressed.
        keys: usize,
    },
}

/// Why the host could not do something.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The terminal is gone.
    #[error("{0}")]
    Terminal(String),
    /// tmux cannot be run or does not respond, so nothing is known about the terminal.
    #[error("{0}")]
    Tmux(String),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The user has stopped the program.
    #[error("interrupted")]
    Interrupted,
    /// The simulated process was killed.
    #[cfg(test)]
    #[error("killed")]
    Killed,
}

/// What was seen at one time.
#[derive(Clone, Debug)]
pub(super) struct Look {
    /// The identity of the pane and of its process. Another one has another composer.
    pub(super) pane: String,
    /// What it shows.
    pub(super) screen: Screen,
}

/// The marker files of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// Codex waits for an approval, or is about to ask for it.
    Permissions,
    /// Codex waits for an answer.
    Question,
    /// A turn is running.
    Turn,
}

/// The agent's host.
pub(super) trait Host {
    /// Returns the time since some moment.
    fn now(&self) -> Duration;
    /// Waits until a rollout changes, but no longer than this.
    fn wait(&mut self, limit: Duration);
    /// Returns whether the user has stopped the program. It ends as soon as no text is in the composer that was not sent.
    fn is_interrupted(&self) -> bool;
    /// Returns whether a marker exists.
    fn has(&self, marker: Marker) -> bool;
    /// Returns whether Codex was just started without a login that its settings require.
    fn lacks_login(&self) -> bool;

    /// Reads the terminal.
    ///
    /// # Errors
    ///
    /// Returns [`Fault::Terminal`] if it does not exist.
    fn look(&mut self) -> Result<Look, Fault>;
    /// Returns the number of the last change that was made for this message; 0 if there was none.
    ///
    /// # Errors
    ///
    /// Returns [`Fault::Terminal`] if the terminal does not exist.
    fn last_change(&mut self) -> Result<u32, Fault>;
    /// Makes the text ready to be pasted. Loading it again replaces it.
    ///
    /// # Errors
    ///
    /// Returns [`Fault::Terminal`] if tmux fails.
    fn load(&mut self, text: &str) -> Result<(), Fault>;
    /// Changes the terminal and notes the change's number there, both or neither. Does nothing if this number was noted last.
    ///
    /// # Errors
    ///
    /// Returns [`Fault::Terminal`] if tmux fails. [`Self::last_change`] then shows whether the change was made.
    fn change(&mut self, effect: Effect, number: u32) -> Result<(), Fault>;

    /// Returns the lengths of all rollouts.
    fn lengths(&mut self) -> Lengths;
    /// Returns whether a line with the message was appended to a rollout after `before`.
    fn has_arrived(&mut self, before: &Lengths, pattern: &MessagePattern) -> bool;

    /// Saves what was done. After it returns, another run finds the record.
    ///
    /// # Errors
    ///
    /// Returns [`Fault::File`] if the record cannot be written.
    fn save(&mut self, record: &Record) -> Result<(), Fault>;
}
