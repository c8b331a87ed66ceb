//! What Codex's terminal shows: a pure function of the content of its tmux pane.
//!
//! One place decides whether Codex is starting, ready for a message, or showing something else that takes all input. The
//! screens were seen on 0.138 to 0.171.

mod dialog;
mod lines;
mod startup;

pub use dialog::Dialog;
use lines::{RowKind, above_composer, is_choice, names_keys, names_keys_above_composer, strip_styles};
pub use startup::{Start, StartWatch};

/// The shells that can be in the foreground of a pane after Codex has exited.
const SHELLS: [&str; 8] = ["bash", "sh", "zsh", "fish", "dash", "ksh", "tcsh", "csh"];

/// The beginning of Codex's login screen, which has no composer.
const WELCOME: &str = "Welcome to Codex, OpenAI's";

/// Below the composer of the conversations that `/side` and `/btw` open.
const SIDE_FOOTER: &str = "Side from main thread";

/// The first line that Codex prints.
const BANNER: &str = ">_ OpenAI Codex";

/// The number of lines after the banner that can say that Codex is loading.
const LOADING_LINES: usize = 4;

/// The number of lines at the end of the screen that can list the keys of a dialog without a selected row.
const KEY_LINES: usize = 3;

/// The number of lines at the end of the screen among which the end of a long message is searched.
const COMPOSER_LINES: usize = 8;

/// The script that mngr runs in the terminal. The output of Codex follows, unless Codex has cleared the screen.
const LAUNCH_SCRIPT: &str = "launch_agent.sh";

/// The last characters of shell prompts. The last one is that of zsh themes.
const PROMPT_ENDS: [char; 5] = ['$', '#', '%', '>', '\u{276F}'];

/// The most lines of the output of a Codex that has exited.
const MAX_OUTPUT_LINES: usize = 12;

/// What a terminal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// A shell: Codex has exited, or was not started yet.
    Shell,
    /// Codex is starting and cannot take a message yet.
    Loading,
    /// Codex's login screen, which has no composer.
    Login,
    /// A conversation that `/side` or `/btw` opened. It is not part of the agent's session.
    Side,
    /// A dialog that takes all input.
    Dialog(Dialog),
    /// Text in the composer.
    Draft,
    /// An empty composer: a message can be typed.
    Empty,
}

impl View {
    /// Returns the name of the kind of view: `shell`, `loading`, `login`, `side`, `dialog`, `draft` or `empty`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Loading => "loading",
            Self::Login => "login",
            Self::Side => "side",
            Self::Dialog(_) => "dialog",
            Self::Draft => "draft",
            Self::Empty => "empty",
        }
    }

    /// Returns the name of the dialog.
    #[must_use]
    pub const fn dialog(self) -> Option<&'static str> {
        match self {
            Self::Dialog(dialog) => Some(dialog.name()),
            _ => None,
        }
    }

    /// Returns whether something takes all input: a dialog, the login screen or a side conversation.
    #[must_use]
    pub const fn takes_input(self) -> bool {
        self.showing().is_some()
    }

    /// Returns what takes all input, as an English phrase: "its login screen", "an approval request".
    #[must_use]
    pub const fn showing(self) -> Option<&'static str> {
        match self {
            Self::Login => Some("its login screen"),
            Self::Side => Some("a side conversation"),
            Self::Dialog(dialog) => Some(dialog.phrase()),
            _ => None,
        }
    }

    /// Returns why an agent with this screen waits if it is not in a turn.
    #[must_use]
    pub const fn waiting_reason(self) -> &'static str {
        match self {
            Self::Login => "LOGIN",
            Self::Dialog(Dialog::Approval) => "PERMISSIONS",
            Self::Dialog(Dialog::Question | Dialog::Plan) => "QUESTION",
            Self::Side | Self::Dialog(_) => "DIALOG",
            Self::Shell | Self::Loading | Self::Draft | Self::Empty => "END_OF_TURN",
        }
    }
}

/// The beginning and the end of a message that was typed, by which the composer is recognized. The text of a message can
/// look like a dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedText {
    /// The beginning of the first line.
    head: String,
    /// Whether the first line is longer than `head`.
    is_head_cut: bool,
    /// The end of the last line.
    ending: String,
}

impl TypedText {
    /// The number of characters at the beginning that are compared. A narrow terminal wraps longer texts.
    const HEAD_LENGTH: usize = 20;
    /// The number of characters at the end that are compared.
    const ENDING_LENGTH: usize = 200;

    /// Describes a message.
    #[must_use]
    pub fn new(message: &str) -> Self {
        let first = message.trim().lines().next().unwrap_or_default().replace('\t', " ");
        let first = first.trim();
        let head: String = first.chars().take(Self::HEAD_LENGTH).collect();
        let last = message.trim_end().lines().next_back().unwrap_or_default().trim();
        let skipped = last.chars().count().saturating_sub(Self::ENDING_LENGTH);
        Self { is_head_cut: head.len() < first.len(), head, ending: last.chars().skip(skipped).collect() }
    }

    /// Returns the beginning of the first line, at most 20 characters.
    #[must_use]
    pub fn head(&self) -> &str {
        &self.head
    }

    /// Returns whether a row of the composer has the beginning of the message.
    fn begins(&self, row: &str) -> bool {
        let Some(shown) = row.strip_prefix('›') else { return false };
        match shown.trim_start().strip_prefix(self.head.as_str()) {
            Some(rest) => self.is_head_cut || rest.trim_end().is_empty(),
            None => false,
        }
    }
}

/// The content of a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screen {
    is_codex: bool,
    is_loading: bool,
    row: Option<String>,
    is_empty: bool,
    text: String,
}

impl Screen {
    /// Parses the content of a terminal.
    ///
    /// `command` is the name of the process in its foreground, and `pane` the content with styles, as from
    /// `tmux capture-pane -e -p`.
    #[must_use]
    pub fn parse(command: &str, pane: &str) -> Self {
        let text = strip_styles(pane);
        let composer = pane.lines().rev().find_map(|line| Some((RowKind::of(line)?, line)));
        Self {
            is_codex: !SHELLS.contains(&command),
            is_loading: is_loading(&text),
            row: composer.map(|(_, line)| strip_styles(line).trim_end().to_owned()),
            is_empty: composer.is_some_and(|(kind, _)| kind == RowKind::Placeholder),
            text,
        }
    }

    /// Returns what the terminal shows.
    #[must_use]
    pub fn view(&self) -> View {
        self.classify(None)
    }

    /// Returns what the terminal shows after a message was typed. The message itself is no dialog, whatever it looks like.
    #[must_use]
    pub fn view_with(&self, typed: &TypedText) -> View {
        self.classify(Some(typed))
    }

    fn classify(&self, typed: Option<&TypedText>) -> View {
        if !self.is_codex {
            return View::Shell;
        }
        if self.row.is_none() && self.text.contains(WELCOME) {
            return View::Login;
        }
        let lines: Vec<&str> = self.lines().collect();
        if lines.last().is_some_and(|line| line.contains(SIDE_FOOTER)) {
            return View::Side;
        }
        if self.has_dialog(&lines, typed) {
            return View::Dialog(Dialog::in_text(&self.text));
        }
        match &self.row {
            _ if self.is_loading => View::Loading,
            None => View::Loading,
            Some(_) if self.is_empty => View::Empty,
            Some(_) => View::Draft,
        }
    }

    /// Returns whether a dialog is open. `lines` are the lines that are not blank.
    fn has_dialog(&self, lines: &[&str], typed: Option<&TypedText>) -> bool {
        if names_keys_above_composer(above_composer(&self.text)) {
            return true;
        }
        let row = self.row.as_deref();
        // An empty composer has no dialog below it, and neither has one with the beginning of the message.
        if self.is_empty || matches!((row, typed), (Some(row), Some(typed)) if typed.begins(row)) {
            return false;
        }
        if row.is_some_and(is_choice) {
            return true;
        }
        // In a small terminal the message can be on the last line.
        let bottom = lines.last().map_or("", |line| line.trim());
        if typed.is_some_and(|typed| typed.ending.ends_with(bottom)) {
            return false;
        }
        let count = if row.is_some() { 1 } else { KEY_LINES };
        lines.iter().rev().take(count).any(|line| names_keys(line))
    }

    /// Returns the lines that are not blank.
    fn lines(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.text.lines().filter(|line| !line.trim().is_empty())
    }

    /// Returns whether Codex runs in the terminal, and not a shell.
    #[must_use]
    pub fn is_codex(&self) -> bool {
        self.is_codex
    }

    /// Returns the first row of the composer, or the selected choice of a dialog.
    #[must_use]
    pub fn row(&self) -> Option<&str> {
        self.row.as_deref()
    }

    /// Returns the complete text without styles.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns whether a message can be typed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.view() == View::Empty
    }

    /// Returns whether Codex shows its composer or a dialog.
    #[must_use]
    pub fn is_started(&self) -> bool {
        let view = self.view();
        view != View::Shell && !self.is_loading && (self.row.is_some() || view.takes_input())
    }

    /// Returns whether the line with the model is below the composer. Codex shows it when it opens the session (0.163).
    #[must_use]
    pub fn has_session_line(&self) -> bool {
        let mut below = self.text.lines().rev().take_while(|line| !line.starts_with('›')).collect::<Vec<_>>();
        let has_composer = below.len() < self.text.lines().count();
        below.reverse();
        has_composer && self.is_started() && !is_blank_footer(&below.join(" "))
    }

    /// Returns whether the composer contains a message.
    ///
    /// The first row of a long message becomes visible only when the cursor moves there, so the row at the time of Enter
    /// counts as well: `is_row_of_enter` compares with it.
    #[must_use]
    pub fn contains(&self, typed: &TypedText, is_row_of_enter: impl FnOnce(&str) -> bool) -> bool {
        self.row().is_some_and(|row| !self.is_empty && (typed.begins(row) || is_row_of_enter(row)))
    }

    /// Returns whether the composer may contain a message whose row at the time of Enter is not known: its beginning, its
    /// end, or the placeholder by which Codex shows a long paste is visible.
    #[must_use]
    pub fn may_contain(&self, typed: &TypedText) -> bool {
        const PASTED: &str = "[Pasted Content";
        let ends = |line: &str| typed.ending.ends_with(line.trim());
        self.contains(typed, |row| row.contains(PASTED)) || self.lines().rev().take(COMPOSER_LINES).any(ends)
    }

    /// Returns the number of rows that begin like the composer and have the beginning of a message: the composer and the
    /// messages in the conversation above it.
    #[must_use]
    pub fn rows_with(&self, typed: &TypedText) -> usize {
        self.text.lines().filter(|line| typed.begins(line)).count()
    }

    /// Returns whether Codex has queued a message until it can be submitted.
    #[must_use]
    pub fn has_queued(&self, typed: &TypedText) -> bool {
        let queued = format!("↳ {}", typed.head);
        self.text.lines().any(|line| line.contains(&queued))
    }

    /// Returns how often Codex says that it rejects a command during a turn or while MCP servers start.
    #[must_use]
    pub fn rejections(&self) -> usize {
        self.text.lines().filter(|line| line.contains("disabled while a task is in progress")).count()
    }

    /// Returns how often Codex says that it does not know a command.
    #[must_use]
    pub fn unrecognized(&self, command: &str) -> usize {
        // Of a long command only the beginning is compared, because the line may be broken.
        let beginning: String = command.chars().take(TypedText::HEAD_LENGTH).collect();
        let end = if beginning == command { "'" } else { "" };
        let words = format!("Unrecognized command '{beginning}{end}");
        self.text.lines().filter(|line| line.contains(&words)).count()
    }

    /// Returns the last lines that Codex printed before it exited, without the prompt of the shell, which follows.
    #[must_use]
    pub fn last_output(&self) -> Vec<String> {
        let mut lines: Vec<&str> = self.lines().map(str::trim_end).collect();
        let launched = lines.iter().rposition(|line| line.contains(LAUNCH_SCRIPT));
        lines.drain(..launched.map_or(0, |launched| launched + 1));
        if lines.last().is_some_and(|line| line.ends_with(PROMPT_ENDS)) {
            lines.pop();
        }
        let skipped = lines.len().saturating_sub(MAX_OUTPUT_LINES);
        lines.drain(skipped..).map(str::to_owned).collect()
    }
}

/// Returns whether Codex is still loading, although its composer is visible. The lines after its last banner show it.
fn is_loading(text: &str) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    let banner = lines.iter().rposition(|line| line.contains(BANNER));
    let after = banner.map_or(&[][..], |banner| &lines[banner + 1..]);
    after.iter().take(LOADING_LINES).any(|line| lines::says_loading(line))
}

/// Returns whether the lines below the composer have nothing but hints for keys.
fn is_blank_footer(below: &str) -> bool {
    let mut rest = below.to_owned();
    for hint in ["? for shortcuts", "← for agents", "·"] {
        rest = rest.replace(hint, "");
    }
    rest.trim().is_empty()
}

#[cfg(test)]
mod tests;
