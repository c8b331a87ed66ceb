//! Lets the user choose a session on the terminal.

use std::io;

use dialoguer::console::Term;
use dialoguer::theme::ColorfulTheme;
use dialoguer::{Error, FuzzySelect};

use super::session_list::SessionList;
use crate::signals;

/// Shows the sessions on standard error, and returns the index of the one that the user chooses, or `None` after Esc.
pub(super) fn choose(sessions: &SessionList) -> io::Result<Option<usize>> {
    /// The columns of the mark before a line, and one at its end, where some terminals would wrap.
    const MARGIN: usize = 3;
    let terminal = Term::stderr();
    let columns = usize::from(terminal.size().1).saturating_sub(MARGIN);
    // The text that the user types follows it.
    let prompt = if columns > 70 { "Session (arrow keys or text, Enter; Esc cancels)" } else { "Session" };
    let theme = ColorfulTheme::default();
    let select =
        FuzzySelect::with_theme(&theme).with_prompt(prompt).items(sessions.lines(columns)).default(0).report(false);
    // Ctrl-C would otherwise end the program with a hidden cursor.
    signals::uninterrupted(|| {
        let chosen = select.interact_on_opt(&terminal);
        let is_shown = terminal.show_cursor();
        match chosen {
            Ok(chosen) => is_shown.map(|()| chosen),
            Err(Error::IO(error)) => Err(error),
        }
    })?
}
