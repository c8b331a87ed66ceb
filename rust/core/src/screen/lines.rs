//! The meaning of single lines of Codex's screen.

/// The style of text with half intensity, in which Codex shows the placeholder of an empty composer.
const DIM: &str = "2";

/// A dialog above the composer has at most this many lines.
const MAX_DIALOG_LINES: usize = 16;

/// The row that the composer begins with, or a row that looks like it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowKind {
    /// `›` and dim text: the composer is empty.
    Placeholder,
    /// `›` or `!` and other text: a draft, a message in the conversation, or the selected choice of a dialog.
    Text,
}

impl RowKind {
    /// Returns the kind of a line with styles, or `None` if it is no such row.
    pub(super) fn of(line: &str) -> Option<Self> {
        let (_, rest) = split_styles(line);
        let (prompt, rest) = [('›', rest.strip_prefix('›')), ('!', rest.strip_prefix('!'))]
            .into_iter()
            .find_map(|(prompt, rest)| Some((prompt, rest?)))?;
        let (_, rest) = split_styles(rest);
        if rest.trim_end().is_empty() {
            return Some(Self::Text);
        }
        let (mut styles, _) = split_styles(rest.strip_prefix(' ')?);
        let is_dim = prompt == '›' && styles.any(|style| style.rsplit(';').next() == Some(DIM));
        Some(if is_dim { Self::Placeholder } else { Self::Text })
    }
}

/// Splits the styles from the beginning of a line. Returns their parameters and the rest.
fn split_styles(line: &str) -> (impl Iterator<Item = &str>, &str) {
    let mut rest = line;
    while let Some((_, after)) = style(rest) {
        rest = after;
    }
    let styles = &line[..line.len() - rest.len()];
    (styles.split("\u{1B}[").filter_map(|style| style.strip_suffix('m')), rest)
}

/// Splits a style (`ESC [ … m`) from the beginning of a text. Returns its parameters and the rest.
fn style(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix("\u{1B}[")?;
    let end = text.find(|character: char| !(character.is_ascii_digit() || matches!(character, ';' | ':')))?;
    Some((&text[..end], text[end..].strip_prefix('m')?))
}

/// Removes all styles from a text.
pub(super) fn strip_styles(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(escape) = rest.find('\u{1B}') {
        plain.push_str(&rest[..escape]);
        rest = &rest[escape..];
        if let Some((_, after)) = style(rest) {
            rest = after;
        } else {
            // Escape is one byte long.
            plain.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    plain.push_str(rest);
    plain
}

/// Returns whether a line below the banner says that Codex is loading or looks for the session.
pub(super) fn says_loading(line: &str) -> bool {
    const WORD: &str = "loading";
    if line.trim() == "Resuming session…" {
        return true;
    }
    let is_word_end = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
    line.match_indices(WORD).any(|(at, _)| {
        let before = &line[..at];
        let is_first = before.chars().all(|character| character == ' ');
        let is_value = before.ends_with(' ') && before.trim_end_matches(' ').ends_with(':');
        (is_first || is_value) && is_word_end(&line[at + WORD.len()..])
    })
}

/// Returns whether a row is a numbered choice: `› 1. Yes`.
pub(super) fn is_choice(row: &str) -> bool {
    row.strip_prefix("› ").is_some_and(is_numbered)
}

/// Returns whether a text begins with a number, a period and a space.
fn is_numbered(text: &str) -> bool {
    let rest = text.trim_start_matches(|character: char| character.is_ascii_digit());
    rest.len() < text.len() && rest.starts_with(". ")
}

/// The keys of dialogs and what they do, as the last line of a dialog lists them.
const KEYS: [(&[&str], &[&str]); 3] = [
    (&["enter "], &["select", "save", "details", "edit", "resume"]),
    (&["enter to ", "esc to "], &["confirm", "go back", "cancel", "close", "select", "save", "exit", "submit"]),
    (&["esc "], &["back", "cancel", "close", "exit", "save"]),
];

/// The keys of the list of files below a draft that ends in `@` and a name, which is no dialog (0.147, 0.154).
const COMPLETION_KEYS: &str = "enter insert · esc close";

/// Returns whether a line lists the keys of a dialog.
pub(super) fn names_keys(line: &str) -> bool {
    if line.contains(COMPLETION_KEYS) {
        return false;
    }
    let names = |key: &str, actions: &[&str]| {
        line.match_indices(key).any(|(at, _)| actions.iter().any(|action| line[at + key.len()..].starts_with(action)))
    };
    let names_q = || {
        line.match_indices("q ").any(|(at, key)| {
            let action = &line[at + key.len()..];
            let is_word = at == 0 || line[..at].ends_with(' ');
            is_word && (action.starts_with("close") || action.starts_with("to quit"))
        })
    };
    KEYS.iter().any(|(keys, actions)| keys.iter().any(|key| names(key, actions))) || names_q()
}

/// Returns whether a line ends in the keys of a dialog above the composer: `space toggle · enter save · esc cancel`. Other
/// text may be before them.
pub(super) fn names_keys_above_composer(line: &str) -> bool {
    let mut parts = line.trim_end_matches(' ').rsplit(" · ");
    let is_esc = |part: &str| {
        part.strip_prefix("esc ")
            .is_some_and(|does| !does.is_empty() && does.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'/'))
    };
    let names_key = |part: &str| {
        let (before, action) = part.rsplit_once(' ').unwrap_or_default();
        let key = before.rsplit(' ').next().unwrap_or_default();
        matches!(key, "enter" | "space") && !action.is_empty() && action.bytes().all(|byte| byte.is_ascii_lowercase())
    };
    let is_between = |part: &&str| !part.is_empty() && !part.contains('·');
    if !parts.next().is_some_and(is_esc) {
        return false;
    }
    parts.take_while(is_between).any(names_key)
}

/// Returns the last line above the composer that is not blank if a choice is a few lines above it, or an empty text. A
/// dialog there covers part of the conversation. The composer is the last row that begins like one.
pub(super) fn above_composer(text: &str) -> &str {
    let (mut before, mut last) = ("", "");
    let mut choice: Option<usize> = None;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with('›') {
            before = if choice.is_some_and(|choice| number - choice < MAX_DIALOG_LINES) { last } else { "" };
        } else if line.match_indices("› ").any(|(at, prompt)| is_numbered(&line[at + prompt.len()..])) {
            choice = Some(number);
        }
        if !line.trim().is_empty() {
            last = line;
        }
    }
    before
}
