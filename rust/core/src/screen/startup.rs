//! Recognizes when a Codex that was just started has opened its session.

use std::time::Duration;

use super::{Screen, View};

/// Codex shows its composer 0.3 s before it opens the session. The line that it then shows can be missing, because users can
/// configure it.
const COMPOSER_DELAY: Duration = Duration::from_secs(5);

/// Codex exits at most 0.1 s after the line with the model if it cannot open the session. A busy machine needs longer for
/// everything, so this also grows with the time that the start took.
const SETTLED_DELAY: Duration = Duration::from_millis(200);
const SETTLED_SHARE: u32 = 4;

/// The pane shows a shell for a moment between the first line of the launcher and Codex.
const EXIT_DELAY: Duration = Duration::from_millis(300);

/// What became of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Codex has opened its session, or shows a dialog.
    Started,
    /// Codex has exited.
    Exited,
}

/// Follows the screen of a Codex that was just started.
#[derive(Clone, Debug, Default)]
pub struct StartWatch {
    // Since when the terminal shows each of them.
    composer: Option<Duration>,
    ready: Option<Duration>,
    shell: Option<Duration>,
}

impl StartWatch {
    /// Adds what the terminal shows `elapsed` after the start. `was_launched` is whether Codex has run since the start, so
    /// that a shell means that it has exited. Returns what became of the start, once that is known.
    pub fn add(&mut self, screen: &Screen, elapsed: Duration, was_launched: bool) -> Option<Start> {
        let view = screen.view();
        let is_exited = view == View::Shell && was_launched;
        let shell_since = if is_exited { Some(*self.shell.get_or_insert(elapsed)) } else { None };
        self.shell = shell_since;
        if !screen.is_started() {
            (self.composer, self.ready) = (None, None);
            let has_exited = shell_since.is_some_and(|since| elapsed.saturating_sub(since) >= EXIT_DELAY);
            return has_exited.then_some(Start::Exited);
        }
        let composer_since = *self.composer.get_or_insert(elapsed);
        let is_ready = screen.has_session_line()
            || view.takes_input()
            || elapsed.saturating_sub(composer_since) > COMPOSER_DELAY
            || self.ready.is_some();
        if !is_ready {
            return None;
        }
        let ready_since = *self.ready.get_or_insert(elapsed);
        let delay = SETTLED_DELAY.max(ready_since / SETTLED_SHARE);
        (elapsed.saturating_sub(ready_since) >= delay).then_some(Start::Started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPOSER: &str = "\u{1B}[1m›\u{1B}[0m \u{1B}[2mAsk Codex\u{1B}[0m\n\n";

    fn codex(text: &str) -> Screen {
        Screen::parse("codex", text)
    }

    /// Shows screens one after the other, each from this time in milliseconds, with looks every 50 ms. Returns when the
    /// result was known.
    fn watch(screens: &[(u64, Screen)], was_launched: bool) -> Option<(u64, Start)> {
        let mut watch = StartWatch::default();
        (0..20_000).step_by(50).find_map(|now| {
            let (_, screen) = screens.iter().rev().find(|(from, _)| *from <= now)?;
            Some((now, watch.add(screen, Duration::from_millis(now), was_launched)?))
        })
    }

    #[test]
    fn codex_has_started_a_moment_after_the_line_with_the_model() {
        let ready = codex(&format!("{COMPOSER}  GPT-5.5 default · ~/work"));
        let screens = [(0, codex("")), (300, codex(COMPOSER)), (400, ready.clone())];
        assert_eq!(watch(&screens, true), Some((600, Start::Started)));
        // A slow start takes a quarter longer.
        assert_eq!(watch(&[(0, codex("")), (4000, ready)], true), Some((5000, Start::Started)));
    }

    #[test]
    fn codex_has_started_if_it_shows_a_dialog_or_the_composer_for_long() {
        let dialog = codex("  Hooks need review\n› 1. Review hooks");
        assert_eq!(watch(&[(0, codex("")), (400, dialog)], true), Some((600, Start::Started)));
        assert_eq!(watch(&[(0, codex("")), (400, codex(COMPOSER))], true), Some((6850, Start::Started)));
    }

    #[test]
    fn a_codex_that_exits_after_the_line_has_not_started() {
        let ready = codex(&format!("{COMPOSER}  GPT-5.5 default · ~/work"));
        let shell = Screen::parse("bash", "ERROR: no session\n$ ");
        let screens = [(0, codex("")), (400, ready), (450, shell)];
        assert_eq!(watch(&screens, true), Some((750, Start::Exited)));
    }

    #[test]
    fn a_shell_before_codex_was_launched_is_no_exit() {
        assert_eq!(watch(&[(0, Screen::parse("bash", "$ "))], false), None);
    }

    #[test]
    fn a_loading_codex_has_not_started() {
        assert_eq!(watch(&[(0, codex(&format!(">_ OpenAI Codex\n  loading\n{COMPOSER}")))], true), None);
    }
}
