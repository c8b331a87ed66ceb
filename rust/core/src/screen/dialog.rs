//! The dialogs of Codex, recognized by their words.

/// A dialog that takes all input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialog {
    /// The review of hooks that are new or have changed.
    Hooks,
    /// A request to approve a command or a change.
    Approval,
    /// A question of the model.
    Question,
    /// A question about the model's plan.
    Plan,
    /// A question whether to trust the directory.
    Trust,
    /// A question about a newer model.
    Model,
    /// A question whether to update Codex.
    Update,
    /// Any other dialog.
    Menu,
}

/// The words by which a dialog is recognized. The first that the screen shows decides.
const WORDS: [(&str, Dialog); 9] = [
    ("Hooks need review", Dialog::Hooks),
    ("Would you like to", Dialog::Approval),
    ("enter to submit answer", Dialog::Question),
    ("Do you trust", Dialog::Trust),
    ("Trust this folder?", Dialog::Trust),
    ("Meet GPT", Dialog::Model),
    ("Try new model", Dialog::Model),
    ("Update available", Dialog::Update),
    ("Implement this plan?", Dialog::Plan),
];

impl Dialog {
    /// Returns the dialog that a screen with an open dialog shows.
    pub(super) fn in_text(text: &str) -> Self {
        WORDS.iter().find(|(words, _)| text.contains(words)).map_or(Self::Menu, |(_, dialog)| *dialog)
    }

    /// Returns the name: `hooks`, `approval`, `question`, `plan`, `trust`, `model`, `update` or `menu`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hooks => "hooks",
            Self::Approval => "approval",
            Self::Question => "question",
            Self::Plan => "plan",
            Self::Trust => "trust",
            Self::Model => "model",
            Self::Update => "update",
            Self::Menu => "menu",
        }
    }

    /// Returns the dialog as an English phrase, to follow "Codex is showing".
    #[must_use]
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Hooks => "its hook review",
            Self::Approval => "an approval request",
            Self::Question => "a question",
            Self::Plan => "a question about its plan",
            Self::Trust => "a question whether to trust the directory",
            Self::Model => "a question about a newer model",
            Self::Update => "an update prompt",
            Self::Menu => "a menu",
        }
    }
}
