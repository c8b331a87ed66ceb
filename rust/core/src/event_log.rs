//! The agent's log: one JSON object per line in the format of mngr's own logs (`mngr_log.sh` of mngr 0.3.0), bounded in
//! size.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::clock::rfc3339_nanos;
use crate::cut::cut;
use crate::files::append::append_line;
use crate::files::regular::FileId;
use crate::files::{lock, open};
use crate::json::string;
use crate::state_dir::StateDir;

/// The size in bytes above which the log becomes the previous log, and a new one begins.
const MAX_SIZE: u64 = 1 << 20;

/// The length in bytes at which messages are truncated.
const MAX_MESSAGE: usize = 4 << 10;

/// The severity of a log entry, with loguru's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A decision that may need an explanation later.
    Info,
    /// An unexpected condition that was handled.
    Warning,
    /// An operation that failed.
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

/// Appends an entry to the agent's log. Creates the log's folders, but not the state directory. Errors are ignored,
/// because they cannot be reported anywhere else.
pub fn log(dir: &StateDir, level: Level, message: &str) {
    let _ = append(dir, level, message, SystemTime::now());
}

fn append(dir: &StateDir, level: Level, message: &str, now: SystemTime) -> io::Result<()> {
    let path = dir.log();
    let mut file = open_for_append(dir, &path)?;
    let metadata = file.metadata()?;
    if metadata.len() > MAX_SIZE {
        // If several processes find the log full at the same time, only the one that gets the lock renames it. The
        // comparison keeps it from renaming a new log over the previous one.
        let is_current = || fs::metadata(&path).is_ok_and(|current| FileId::from(&current) == FileId::from(&metadata));
        let locked = lock::try_acquire(file).ok().flatten();
        if locked.is_some() && is_current() {
            fs::rename(&path, dir.previous_log())?;
        }
        file = open_for_append(dir, &path)?;
    }
    append_line(&file, line(level, message, now))
}

fn open_for_append(dir: &StateDir, path: &Path) -> io::Result<File> {
    open::open_or_create(dir, path, open::options().read(true).append(true).create(true))
}

/// Returns the id of an event of this process, in mngr's format. The time and the process id make it unique.
pub(crate) fn event_id(now: SystemTime) -> String {
    let from_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_else(|error| error.duration());
    format!("evt-{:032x}", from_1970.as_nanos() << 32 | u128::from(std::process::id()))
}

/// Returns one entry, to be written with one call so that entries of several processes do not mix.
fn line(level: Level, message: &str, now: SystemTime) -> Vec<u8> {
    let process = std::process::id();
    let mut line = Vec::new();
    line.extend_from_slice(b"{\"timestamp\":\"");
    line.extend_from_slice(rfc3339_nanos(now).as_bytes());
    line.extend_from_slice(format!("\",\"type\":\"mngr_codex\",\"event_id\":\"{}\"", event_id(now)).as_bytes());
    line.extend_from_slice(b",\"source\":\"mngr_codex\",\"level\":\"");
    line.extend_from_slice(level.name().as_bytes());
    line.extend_from_slice(b"\",\"message\":\"");
    string::escape(cut(message, MAX_MESSAGE).as_bytes(), &mut line);
    line.extend_from_slice(format!("\",\"pid\":{process}}}\n").as_bytes());
    line
}

#[cfg(test)]
mod tests;
