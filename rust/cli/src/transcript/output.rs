//! Where output for people goes: to the terminal page by page, or to standard output as it is.

use std::env;
use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::{Child, Command, Stdio};

use signal_hook::consts::SIGPIPE;

use crate::signals;
use crate::streams::{self, StandardOutput};

/// Used where `$PAGER` names none.
const PAGER: &str = "less";

/// What `less` is told where `$LESS` does not: end at once if all fits on the screen, show colours, leave the text there
/// (what git 2.47 tells it).
const LESS: &str = "FRX";

/// Where output goes.
pub enum Output {
    /// Standard output.
    Plain,
    /// A pager, which shows it on standard output.
    Pager(Child),
}

impl Output {
    /// A pager if a person is there to use one, and has not said otherwise with an empty `$PAGER` or `cat`.
    pub fn for_people() -> Self {
        let pager = env::var_os("PAGER").unwrap_or_else(|| OsString::from(PAGER));
        let is_none = pager.is_empty() || pager == "cat";
        if is_none || !io::stdout().is_terminal() || env::var_os("TERM").is_some_and(|term| term == "dumb") {
            return Self::Plain;
        }
        let mut command = Command::new("sh");
        // The shell would say of a pager that is missing no more than its name, behind output that is lost.
        let script = r#"command -v "${1%% *}" >/dev/null || exec cat; eval "exec $1""#;
        command.args(["-c", script, "sh"]).arg(&pager).stdin(Stdio::piped());
        command.env("LESS", less_options(env::var_os("LESS")));
        match command.spawn() {
            Ok(child) => {
                // Ctrl-C is the pager's: it stops its search, and neither of us.
                signals::leave_to_others(signal_hook::consts::SIGINT);
                Self::Pager(child)
            }
            Err(_) => Self::Plain,
        }
    }

    /// Waits until the reader has seen all.
    pub fn finish(self) {
        if let Self::Pager(mut child) = self {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }

    /// What is to be said of an error of writing; nothing where the reader wants no more.
    pub fn explain(self, error: &io::Error) -> Option<String> {
        match self {
            Self::Pager(_) if error.kind() == ErrorKind::BrokenPipe => {
                self.finish();
                None
            }
            Self::Pager(_) => {
                self.finish();
                Some(format!("cannot write to the pager: {error}; --no-pager does without"))
            }
            Self::Plain => {
                if error.kind() == ErrorKind::BrokenPipe {
                    signals::end_as_if_by(SIGPIPE);
                }
                Some(format!("cannot write standard output: {}", streams::explain(error)))
            }
        }
    }
}

/// What `less` is told: the user's own options, but colours are shown in any case.
fn less_options(own: Option<OsString>) -> OsString {
    match own {
        None => LESS.into(),
        // In front, as some options take all that comes behind them.
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
