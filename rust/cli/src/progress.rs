//! How far a long reading has come, for a person who waits.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mngr_codex_core::rollout::input::Input;

/// Bytes, rate and time left on standard error, when a person is watching and it takes long.
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// None yet of an input.
    pub fn of(input: &Input) -> Self {
        const LONG: u64 = 64 << 20;
        let is_long = input.size().is_none_or(|size| size >= LONG);
        if !(io::stderr().is_terminal() && is_long) {
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

    /// Says how many bytes were read; gives whether to go on, which is always so.
    pub fn tell(&mut self, bytes: u64) -> bool {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        }
        true
    }

    /// Takes it off the screen.
    pub fn end(&mut self) {
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
