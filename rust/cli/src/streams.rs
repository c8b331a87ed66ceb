//! Unbuffered standard input and output, which report an error if they are closed.

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::stdio::{stdin, stdout};

use crate::signals;

/// Makes reading from a closed standard input, and writing to a closed standard output, fail.
///
/// Rust's runtime opens `/dev/null` in place of a closed standard stream, so that no other file gets its descriptor. Reads
/// and writes would then succeed without effect. Before the runtime starts, this opens `/dev/null` for the opposite
/// direction instead. It costs two system calls.
#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
#[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn occupy_closed_streams() {
        for (stream, opposite) in [(stdin(), OFlags::WRONLY), (stdout(), OFlags::RDONLY)] {
            if rustix::io::fcntl_getfd(stream) == Err(Errno::BADF)
                && let Ok(file) = rustix::fs::open("/dev/null", opposite, Mode::empty())
            {
                // `open` returns the lowest free descriptor, which is the stream's. It stays open.
                std::mem::forget(file);
            }
        }
    }
    occupy_closed_streams
};

/// Standard input.
pub(crate) struct StandardInput;

impl Read for StandardInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        when_ready(stdin(), PollFlags::IN, || rustix::io::read(stdin(), &mut *buffer))
    }
}

/// Standard output.
pub(crate) struct StandardOutput;

impl Write for StandardOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        when_ready(stdout(), PollFlags::OUT, || rustix::io::write(stdout(), bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Repeats a read or a write until it succeeds or fails. Another program that shares the stream may have made it
/// non-blocking, so this waits if the stream is not ready.
fn when_ready(
    stream: BorrowedFd<'_>,
    events: PollFlags,
    mut act: impl FnMut() -> rustix::io::Result<usize>,
) -> io::Result<usize> {
    loop {
        match act() {
            Err(Errno::AGAIN) => match poll(&mut [PollFd::from_borrowed_fd(stream, events)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            },
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Writes `text` to standard output. Ends the program quietly if the reader has closed the pipe.
///
/// # Errors
///
/// Returns a message for standard error if writing fails.
pub(crate) fn print(text: &str) -> Result<(), String> {
    StandardOutput.write_all(text.as_bytes()).map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            signals::end_as_if_by(signal_hook::consts::SIGPIPE);
        }
        format!("cannot write to standard output: {}", explain(&error))
    })
}

/// Returns standard output if it is a pipe. `poll(2)` reports a pipe without a reader; it would report a terminal at every
/// key press.
pub(crate) fn piped_output() -> Option<BorrowedFd<'static>> {
    let is_pipe = rustix::fs::fstat(stdout())
        .is_ok_and(|stat| matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::Socket));
    is_pipe.then(stdout)
}

/// Prints a message on standard error, which may be closed.
pub(crate) fn complain(message: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "mngr-codex: {}", as_the_user_runs_it(message.to_string()));
}

/// Returns the command by which the user runs this program, if that is not its own name: `mngr codex`.
pub(crate) fn given_name() -> Option<String> {
    std::env::var("MNGR_CODEX_RUN_AS").ok().filter(|name| !name.is_empty())
}

/// Replaces the program's name in the commands that a text names.
pub(crate) fn as_the_user_runs_it(text: String) -> String {
    match given_name() {
        Some(name) => text.replace("`mngr-codex ", &format!("`{name} ")),
        None => text,
    }
}

/// Describes an I/O error, in plain words if the stream is closed or open for the other direction.
pub(crate) fn explain(error: &io::Error) -> String {
    if error.raw_os_error() == Some(Errno::BADF.raw_os_error()) {
        return "it is closed or open for the other direction".to_owned();
    }
    error.to_string()
}

/// Returns whether standard output is the same regular file as `input`, or as standard input if that is `None`.
pub(crate) fn is_output(input: Option<&std::path::Path>) -> bool {
    let Ok(output) = rustix::fs::fstat(stdout()) else {
        return false;
    };
    if !FileType::from_raw_mode(output.st_mode).is_file() {
        return false;
    }
    let input = match input {
        Some(path) => rustix::fs::stat(path),
        None => rustix::fs::fstat(stdin()),
    };
    input.is_ok_and(|input| (input.st_dev, input.st_ino) == (output.st_dev, output.st_ino))
}
