//! The log: one JSON object a line in the form of mngr's own logs (`mngr_log.sh` of mngr 0.3.0), bounded in size.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};

use crate::files::open;
use crate::json::string;
use crate::state_dir::StateDir;

/// A log of more than this many bytes becomes the one before, and a new one begins.
const MOST: u64 = 1 << 20;

/// Bytes of a message that are kept.
const LONGEST_MESSAGE: usize = 4 << 10;

/// How bad it is, in loguru's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A decision that someone may want to understand later.
    Info,
    /// Something was odd and was dealt with.
    Warning,
    /// Something could not be done.
    Error,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// Appends a line to the agent's log. Makes no state dir that is not there.
///
/// # Errors
///
/// What the system said; nobody else can be told, so callers let it be.
pub fn log(dir: &StateDir, level: Level, message: &str) -> io::Result<()> {
    let path = dir.log();
    let mut file = append_to(dir, &path)?;
    if file.metadata()?.len() > MOST {
        // Of two that find it full at once one moves it, and none the new log over the old one.
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
            && fs::metadata(&path).is_ok_and(|there| file.metadata().is_ok_and(|full| full.ino() == there.ino()))
        {
            fs::rename(&path, path.with_extension("jsonl.1"))?;
        }
        file = append_to(dir, &path)?;
    }
    file.write_all(&line(level, message, SystemTime::now()))
}

fn append_to(dir: &StateDir, path: &Path) -> io::Result<File> {
    open::open_or_make(dir, path, open::options().append(true).create(true))
}

/// One line; written at once, so that those of others stand before or behind it.
fn line(level: Level, message: &str, now: SystemTime) -> Vec<u8> {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let process = std::process::id();
    let mut line = Vec::new();
    line.extend_from_slice(b"{\"timestamp\":\"");
    line.extend_from_slice(humantime::format_rfc3339_nanos(now).to_string().as_bytes());
    // The process and the time make it unlike any other.
    let id = format!("{:032x}", since.as_nanos() << 32 | u128::from(process));
    line.extend_from_slice(format!("\",\"type\":\"mngr_codex\",\"event_id\":\"evt-{id}\"").as_bytes());
    line.extend_from_slice(b",\"source\":\"mngr_codex\",\"level\":\"");
    line.extend_from_slice(level.name().as_bytes());
    line.extend_from_slice(b"\",\"message\":\"");
    let end = (0..=message.len().min(LONGEST_MESSAGE)).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
    string::escape(&message.as_bytes()[..end], &mut line);
    line.extend_from_slice(format!("\",\"pid\":{process}}}\n").as_bytes());
    line
}

#[cfg(test)]
mod tests;
