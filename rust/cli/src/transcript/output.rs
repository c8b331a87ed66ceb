//! The destination of human-readable output: a pager, or standard output.

use std::env;
use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::{Child, Command, Stdio};

use signal_hook::consts::SIGPIPE;

use crate::signals;
use crate::streams::{self, StandardOutput};

/// The pager if `$PAGER` is not set.
const PAGER: &str = "less";

/// The options for `less` if `$LESS` is not set: quit if the text fits on one screen, show colors, leave the text on the
/// screen (the options that git 2.47 passes).
const LESS: &str = "FRX";

/// The destination of the output.
pub(super) enum Output {
    /// Standard output.
    Plain,
    /// A pager that writes to standard output.
    Pager(Child),
}

impl Output {
    /// Starts a pager, unless standard output is not a terminal or `$PAGER` is empty or `cat`.
    pub(super) fn paged() -> Self {
        let pager = env::var_os("PAGER").unwrap_or_else(|| OsString::from(PAGER));
        let is_disabled = pager.is_empty() || pager == "cat";
        if is_disabled || !io::stdout().is_terminal() || env::var_os("TERM").is_some_and(|term| term == "dumb") {
            return Self::Plain;
        }
        let mut command = Command::new("sh");
        // Without this check, a missing pager would lose the output.
        let script = r#"command -v "${1%% *}" >/dev/null || exec cat; eval "exec $1""#;
        command.args(["-c", script, "sh"]).arg(&pager).stdin(Stdio::piped());
        command.env("LESS", less_options(env::var_os("LESS")));
        match command.spawn() {
            Ok(child) => {
                // Ctrl-C is for the pager, which stops a search with it.
                signals::leave_to_others(signal_hook::consts::SIGINT);
                Self::Pager(child)
            }
            Err(_) => Self::Plain,
        }
    }

    /// Waits until the pager exits.
    pub(super) fn finish(self) {
        if let Self::Pager(mut child) = self {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }

    /// Returns the message for a write error, or `None` if the user has quit the pager.
    pub(super) fn explain(self, error: &io::Error) -> Option<String> {
        match self {
            Self::Pager(_) if error.kind() == ErrorKind::BrokenPipe => {
                self.finish();
                None
            }
            Self::Pager(_) => {
                self.finish();
                Some(format!("cannot write to the pager: {error}\nhint: use --no-pager"))
            }
            Self::Plain => {
                if error.kind() == ErrorKind::BrokenPipe {
                    signals::end_as_if_by(SIGPIPE);
                }
                Some(format!("cannot write to standard output: {}", streams::explain(error)))
            }
        }
    }
}

/// Returns the options for `less`: the user's own, and `-R` to show colors.
fn less_options(own: Option<OsString>) -> OsString {
    match own {
        None => LESS.into(),
        // First, because some options consume the rest of the string.
        Some(own) => {
            let mut options = OsString::from("-R ");
            options.push(own);
            options
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain => StandardOutput.write(bytes),
            Self::Pager(child) => match &mut child.stdin {
                Some(stdin) => stdin.write(bytes),
                None => Err(io::Error::from(ErrorKind::BrokenPipe)),
            },
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
