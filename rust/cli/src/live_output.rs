//! Standard output of `--follow`: what stays, and on a terminal the lines after it that are replaced.

mod status_lines;

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use self::status_lines::Size;
use self::status_lines::StatusLines;

use crate::signals;
use crate::streams::StandardOutput;

/// The output of a command that follows something.
pub(crate) struct LiveOutput<'o> {
    out: &'o mut dyn Write,
    /// The lines that are replaced; `None` if standard output is not a terminal that can do that.
    lines: Option<Arc<Mutex<StatusLines>>>,
}

impl<'o> LiveOutput<'o> {
    /// Returns an output that can replace its last lines if standard output is a terminal and `is_human` is true.
    pub(crate) fn new(out: &'o mut dyn Write, is_human: bool) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if !is_human || is_dumb || !io::stdout().is_terminal() {
            return Self { out, lines: None };
        }
        let lines = Arc::new(Mutex::new(StatusLines::default()));
        let when_stopped = Arc::clone(&lines);
        // If this fails, the shell's prompt overwrites the lines.
        let _ = signals::act_when_stopped(move || leave_when_stopped(&when_stopped));
        Self { out, lines: Some(lines) }
    }

    /// Returns whether lines can be replaced.
    pub(crate) fn can_replace(&self) -> bool {
        self.lines.is_some()
    }

    /// Replaces the last lines by the lines of `text`.
    pub(crate) fn replace(&mut self, text: &[u8]) -> io::Result<()> {
        self.change(|lines, bytes| lines.show(text, size(), bytes))
    }

    /// Writes something that does not appear on the terminal, and leaves the lines there.
    pub(crate) fn write_beside(&mut self, bytes: &[u8]) -> io::Result<()> {
        let _locked = self.lines.as_ref().map(|lines| lock(lines));
        self.out.write_all(bytes)
    }

    /// Removes the lines that are replaced, before something else is written to the terminal.
    pub(crate) fn erase(&mut self) -> io::Result<()> {
        self.change(StatusLines::erase)
    }

    fn change(&mut self, change: impl FnOnce(&mut StatusLines, &mut Vec<u8>)) -> io::Result<()> {
        let Some(mut lines) = self.lines.as_ref().map(|lines| lock(lines)) else { return Ok(()) };
        let mut bytes = Vec::new();
        change(&mut lines, &mut bytes);
        // Locked, so that a signal does not end the program in the middle of the lines.
        self.out.write_all(&bytes)
    }
}

impl Write for LiveOutput<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.erase()?;
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for LiveOutput<'_> {
    fn drop(&mut self) {
        // The error that ended the program is reported.
        let _ = self.change(|lines, bytes| lines.leave(size(), bytes));
    }
}

fn lock(lines: &Mutex<StatusLines>) -> MutexGuard<'_, StatusLines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Leaves the lines on the screen when a signal ends the program.
fn leave_when_stopped(lines: &Mutex<StatusLines>) {
    // Writing may be blocked forever, for example by a terminal that nobody reads.
    const ATTEMPTS: u32 = 20;
    const PAUSE: Duration = Duration::from_millis(5);
    for _ in 0..ATTEMPTS {
        if let Ok(mut lines) = lines.try_lock() {
            let mut bytes = Vec::new();
            lines.leave(size(), &mut bytes);
            let _ = StandardOutput.write_all(&bytes);
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Returns the size of the terminal. If standard output is none, its width is `$COLUMNS`: another program shows the output.
pub(crate) fn size() -> Size {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `TIOCGWINSZ` writes one `winsize`, for which `size` is valid.
    let status = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    if let (0, columns @ 1.., rows @ 1..) = (status, size.ws_col, size.ws_row) {
        return Size { columns: columns.into(), rows: rows.into() };
    }
    let given = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    // The size of the VT100, which programs assume if a terminal does not report any.
    Size { columns: given.filter(|columns| *columns > 0).unwrap_or(80), rows: 24 }
}
