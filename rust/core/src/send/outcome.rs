//! What became of a message.

use serde::{Deserialize, Serialize};

use crate::screen::{Screen, View};

/// The number of characters of the composer's row that are kept.
const MAX_ROW_LENGTH: usize = 80;

/// What became of a message, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// Codex has recorded the message.
    Arrived,
    /// Codex has run the command.
    Taken,
    /// Codex has queued the message until the current tool call finishes.
    Queued,
    /// The message is empty.
    Empty,
    /// The input has ended before the message was complete.
    Truncated,
    /// There is no such pane.
    NoTerminal,
    /// A shell is in the terminal instead of Codex.
    Exited,
    /// Codex is showing its login screen.
    Login,
    /// Codex is showing a side conversation.
    Side,
    /// Codex is showing a dialog.
    Dialog,
    /// There is a draft in the composer.
    Draft,
    /// Codex was not ready in time.
    NotReady,
    /// The text did not appear in the terminal.
    Unseen,
    /// A dialog opened before Enter was pressed.
    Blocked,
    /// Codex rejects the command during a turn or while its MCP servers start.
    Refused,
    /// Codex did not react to Enter, and the text was deleted again.
    NotTaken,
    /// Codex exited after Enter.
    Ended,
    /// Codex did not record the message in time.
    Unconfirmed,
    /// Another message is being sent.
    Busy,
    /// The user has stopped the program before Enter was pressed.
    Interrupted,
    /// tmux or the file system failed.
    Failed,
}

impl OutcomeKind {
    /// Returns the name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arrived => "arrived",
            Self::Taken => "taken",
            Self::Queued => "queued",
            Self::Empty => "empty",
            Self::Truncated => "truncated",
            Self::NoTerminal => "no_terminal",
            Self::Exited => "exited",
            Self::Login => "login",
            Self::Side => "side",
            Self::Dialog => "dialog",
            Self::Draft => "draft",
            Self::NotReady => "not_ready",
            Self::Unseen => "unseen",
            Self::Blocked => "blocked",
            Self::Refused => "refused",
            Self::NotTaken => "not_taken",
            Self::Ended => "ended",
            Self::Unconfirmed => "unconfirmed",
            Self::Busy => "busy",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }

    /// Returns whether Codex has the message, as far as the kind alone shows it.
    const fn arrived(self) -> Option<bool> {
        match self {
            Self::Arrived | Self::Taken => Some(true),
            Self::Queued | Self::Ended | Self::Unconfirmed => None,
            _ => Some(false),
        }
    }
}

/// What became of a message, with what the terminal showed last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The outcome in one word.
    #[serde(rename = "outcome")]
    pub kind: OutcomeKind,
    /// Whether Codex has the message; `None` if that is not known.
    pub arrived: Option<bool>,
    /// The name of the view of the terminal, if it was read.
    pub view: Option<String>,
    /// The name of the dialog.
    pub dialog: Option<String>,
    /// What takes all input, as an English phrase.
    pub showing: Option<String>,
    /// The first row of the composer, at most 80 characters.
    pub row: Option<String>,
    /// The command, if Codex ran the message as one or may have.
    pub command: Option<String>,
    /// Whether the text may be left in the composer, where it was typed but not sent.
    #[serde(default)]
    pub in_composer: bool,
    /// The last lines of the terminal if Codex has exited, or an error.
    pub terminal: Vec<String>,
}

impl Outcome {
    /// Returns an outcome of this kind without what the terminal showed.
    #[must_use]
    pub fn new(kind: OutcomeKind) -> Self {
        Self {
            kind,
            arrived: kind.arrived(),
            view: None,
            dialog: None,
            showing: None,
            row: None,
            command: None,
            in_composer: matches!(kind, OutcomeKind::Blocked | OutcomeKind::Unseen),
            terminal: Vec::new(),
        }
    }

    /// Returns the outcome of an operation that failed.
    #[must_use]
    pub fn failed(error: &dyn std::fmt::Display) -> Self {
        Self { terminal: vec![error.to_string()], ..Self::new(OutcomeKind::Failed) }
    }

    /// Adds what the terminal showed.
    pub(super) fn with_screen(mut self, screen: &Screen, view: View) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        self.view = Some(view.name().to_owned());
        self.dialog = owned(view.dialog());
        self.showing = owned(view.showing());
        self.row = screen.row().map(|row| row.chars().take(MAX_ROW_LENGTH).collect());
        if view == View::Shell {
            self.terminal = screen.last_output();
        }
        self
    }

    /// Adds what is known about the arrival.
    pub(super) fn with_arrived(self, arrived: Option<bool>) -> Self {
        Self { arrived, ..self }
    }

    /// Returns whether the sender has nothing more to do.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self.kind, OutcomeKind::Arrived | OutcomeKind::Taken | OutcomeKind::Queued)
    }
}
