//! Standard input and output as they are: without the library's buffers, and closed when they are closed.

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::stdio::{stdin, stdout};

use crate::signals;

/// Rust opens `/dev/null` in place of a standard stream that is closed, so that no other file gets its number. Nothing
/// would be read or written then, and all be reported well. So before Rust starts, the places are taken by what cannot
/// be read or written; it costs two calls of the system.
#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
#[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn take_closed_places() {
        for (stream, other_way) in [(stdin(), OFlags::WRONLY), (stdout(), OFlags::RDONLY)] {
            if rustix::io::fcntl_getfd(stream) == Err(Errno::BADF)
                && let Ok(file) = rustix::fs::open("/dev/null", other_way, Mode::empty())
            {
                // The lowest free number was given: the stream's. It stays open.
                std::mem::forget(file);
            }
        }
    }
    take_closed_places
};

/// Standard input.
pub struct StandardInput;

impl Read for StandardInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        when_ready(stdin(), PollFlags::IN, || rustix::io::read(stdin(), &mut *buffer))
    }
}

/// Standard output.
pub struct StandardOutput;

impl Write for StandardOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        when_ready(stdout(), PollFlags::OUT, || rustix::io::write(stdout(), bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Does what may be told to come again: another program can have set a stream that it shares with this one so that it
/// does not wait.
fn when_ready(
    stream: BorrowedFd<'_>,
    wanted: PollFlags,
    mut act: impl FnMut() -> rustix::io::Result<usize>,
) -> io::Result<usize> {
    loop {
        match act() {
            Err(Errno::AGAIN) => match poll(&mut [PollFd::from_borrowed_fd(stream, wanted)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            },
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Writes `text` on standard output; ends the program quietly where nobody reads it.
///
/// # Errors
///
/// What is to be said of it on standard error.
pub fn put_out(text: &str) -> Result<(), String> {
    StandardOutput.write_all(text.as_bytes()).map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            signals::end_as_if_by(signal_hook::consts::SIGPIPE);
        }
        format!("cannot write standard output: {}", explain(&error))
    })
}

/// Says on standard error what is wrong; nobody may be listening there.
pub fn complain(message: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "mngr-codex: {message}");
}

/// An error of reading or writing, in plain words where a stream is closed or the wrong way round.
pub fn explain(error: &io::Error) -> String {
    if error.raw_os_error() == Some(Errno::BADF.raw_os_error()) {
        return "it is closed, or not open for this".to_owned();
    }
    error.to_string()
}

/// Whether standard output goes to the very file that `input` is, or, where that is `None`, that standard input is.
pub fn is_output(input: Option<&std::path::Path>) -> bool {
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
