//! A progress bar for long reads.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mngr_codex_core::Input;

/// Shows bytes, rate and remaining time on standard error, if it is a terminal and the input is large.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Creates the progress bar for an input.
    pub(crate) fn of(input: &Input) -> Self {
        const LARGE: u64 = 64 << 20;
        let is_large = input.size().is_none_or(|size| size >= LARGE);
        if !(io::stderr().is_terminal() && is_large) {
            return Self { bar: None };
        }
        let (bar, template) = match input.size() {
            Some(size) => (ProgressBar::new(size), "{bytes} of {total_bytes} {wide_bar} {bytes_per_sec}, {eta} left"),
            None => (ProgressBar::no_length(), "{bytes} {spinner} {bytes_per_sec}"),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(8));
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar: Some(bar) }
    }

    /// Shows how many bytes were read. Returns whether to continue, which is always the case.
    pub(crate) fn update(&mut self, bytes: u64) -> bool {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        }
        true
    }

    /// Removes the bar from the screen.
    pub(crate) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
