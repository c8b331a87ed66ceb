//! Live output: the finished messages of the root, as text, for programs that show an agent's answers as they come.
//!
//! A reader remembers how many characters it has read. So the file only grows while Codex runs, and is emptied when Codex is
//! started. After a program was killed, the same messages are written to the same place.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::now_millis;
use crate::event_log::{Level, log};
use crate::files::checksummed;
use crate::files::file_error::FileError;
use crate::files::lock::{Lock, LockError, LockedFile};
use crate::files::open;
use crate::files::positional::write_all_at;
use crate::follow::checkpoint::Extent;
use crate::follow::error::FollowError;
use crate::follow::transcripts::Transcript;
use crate::meter::Message;
use crate::state_dir::StateDir;

/// The length of the file in bytes after which nothing is added. mngr reads the whole file, possibly from another machine,
/// each time that it has grown. Some 10,000 messages fit.
const MAX_LENGTH: u64 = if cfg!(test) { 200 } else { 8 << 20 };

/// The last line of a file that is full.
const FULL: &str = "[The live output is full. `mngr transcript` shows all messages.]\n\n";

/// How long to wait for the lock. It is held for some writes.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// The version of the file with the time of the start.
const VERSION: u8 = 1;

/// The progress of the live output.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct LiveProgress {
    /// The time from which messages count, in milliseconds since 1970. It identifies a start of Codex.
    since: u64,
    /// What was written since.
    written: Extent,
    /// Whether a message did not fit.
    is_full: bool,
}

/// Empties the live output, because Codex is about to be started. Errors are logged.
pub fn begin_live_output(dir: &StateDir) {
    if let Err(error) = begin(dir) {
        log(dir, Level::Error, &format!("cannot begin the live output: {error}"));
    }
}

fn begin(dir: &StateDir) -> Result<(), LockError> {
    let file = open_locked(dir)?;
    // If the process is killed in between, the next pass replaces the content.
    write_since(&file, now_millis()).map_err(FileError::on("write", &dir.live_since()))?;
    let path = dir.live_output();
    let emptied = open::open_or_create(dir, &path, open::options().write(true).create(true).truncate(true));
    emptied.map(drop).map_err(FileError::on("write", &path))?;
    Ok(())
}

/// Returns the time from which messages count, in milliseconds since 1970. It is the present time if it is not known.
///
/// # Errors
///
/// Returns a [`LockError`] if the file with the time cannot be read or written.
pub(super) fn since(dir: &StateDir) -> Result<u64, LockError> {
    let file = open_locked(dir)?;
    read_since(&file).map_err(FileError::on("read", &dir.live_since())).map_err(LockError::from)
}

/// Appends messages to the live output, and records that in `progress`. Returns whether `progress` has changed. The messages
/// are removed from `messages` unless an error is returned.
///
/// # Errors
///
/// Returns [`FollowError::File`] if a file cannot be read or written, and [`FollowError::Lock`] if the lock cannot be
/// acquired.
pub(super) fn append(
    dir: &StateDir,
    progress: &mut LiveProgress,
    messages: &mut Vec<Message>,
) -> Result<bool, FollowError> {
    if messages.is_empty() {
        return Ok(false);
    }
    let file = open_locked(dir)?;
    let since = read_since(&file).map_err(FileError::on("read", &dir.live_since()))?;
    if progress.since != since {
        *progress = LiveProgress { since, ..LiveProgress::default() };
    }
    messages.retain(|message| message.at >= since);
    // The messages of several rollouts, after the checkpoint was lost.
    messages.sort_by_key(|message| message.at);
    let path = dir.live_output();
    write(dir, progress, messages).map_err(FileError::on("write", &path))?;
    messages.clear();
    Ok(true)
}

fn write(dir: &StateDir, progress: &mut LiveProgress, messages: &[Message]) -> io::Result<()> {
    let mut output = Transcript::open(dir, &dir.live_output())?;
    if progress.written.length > 0 && !output.resume_at(progress.written)? {
        // Somebody else has changed the file.
        output.advance(output.unverified());
    }
    for message in messages {
        if progress.is_full {
            break;
        }
        let room = MAX_LENGTH.saturating_sub(output.length() + FULL.len() as u64);
        progress.is_full = message.text.len() as u64 + 2 > room;
        let text = if progress.is_full { FULL.to_owned() } else { format!("{}\n\n", message.text) };
        output.write_all(text.as_bytes())?;
    }
    progress.written = output.extent()?;
    Ok(())
}

fn open_locked(dir: &StateDir) -> Result<LockedFile, LockError> {
    let path = dir.live_since();
    let mut options = open::options();
    let file = open::open_or_create(dir, &path, options.read(true).write(true).create(true).truncate(false))
        .map_err(FileError::on("open", &path))?;
    Lock { file, path: &path, resource: "live output" }.acquire(LOCK_TIMEOUT)
}

fn read_since(mut file: &File) -> io::Result<u64> {
    let mut encoded = Vec::new();
    file.read_to_end(&mut encoded)?;
    if let Ok(since) = checksummed::decode(VERSION, &encoded) {
        return Ok(since);
    }
    let now = now_millis();
    write_since(file, now)?;
    Ok(now)
}

fn write_since(file: &File, since: u64) -> io::Result<()> {
    let encoded = checksummed::encode(VERSION, &since);
    file.set_len(encoded.len() as u64)?;
    write_all_at(file, &encoded, 0)
}

#[cfg(test)]
mod tests;
