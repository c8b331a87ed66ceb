//! The tokens that other agents have used in this agent's sessions.
//!
//! An agent that adopts a session, or clones an agent, begins with copies of rollouts. What they contain was used by
//! another agent, and is in that agent's events.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, MeasuredRollout};
use super::events;
use super::pass::UsageFollower;
use super::threads::{sum_of, unique};
use crate::files::atomic_write::AtomicFile;
use crate::files::checksummed;
use crate::files::file_error::FileError;
use crate::files::regular::read_regular;
use crate::follow::error::FollowError;
use crate::follow::watcher::WatchError;
use crate::meter::{RateLimits, Tokens};
use crate::rollout::ids::ThreadId;
use crate::state_dir::StateDir;

/// The version of the file.
const VERSION: u8 = 1;

/// What other agents have used in a thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Inherited {
    /// The thread.
    pub(super) thread: ThreadId,
    /// The tokens of its inferences at that time.
    pub(super) tokens: Tokens,
    /// The limits that it showed.
    pub(super) limits: RateLimits,
}

/// Records that another agent has used the tokens of all inferences in the rollouts that this agent has now, except those of
/// threads that an earlier call has found or whose usage the agent has reported. Returns the number of threads in which other
/// agents have used tokens.
///
/// # Errors
///
/// Returns [`WatchError::Follow`] if a file of the agent cannot be read or written. A rollout that cannot be read is logged.
pub fn inherit(dir: &StateDir, timeout: Duration) -> Result<usize, WatchError> {
    let Checkpoint { rollouts, reported, .. } = UsageFollower::new(dir.clone()).measure_all(timeout)?;
    let mut inherited = read(dir).map_err(FollowError::File)?;
    let mut known = events::threads(dir).map_err(FollowError::File)?;
    known.extend(reported.into_iter().map(|reported| reported.thread));
    known.extend(inherited.iter().map(|inherited| inherited.thread.clone()));
    let threads = unique(rollouts.iter().map(|rollout| &rollout.measures.thread));
    let new = threads.into_iter().filter(|thread| !known.contains(thread));
    inherited.extend(new.map(|thread| of_thread(thread, &rollouts)));
    write(dir, &inherited).map_err(FollowError::File)?;
    Ok(inherited.iter().filter(|inherited| inherited.tokens != Tokens::default()).count())
}

fn of_thread(thread: ThreadId, rollouts: &[MeasuredRollout]) -> Inherited {
    let sum = sum_of(&thread, rollouts);
    Inherited { thread, tokens: sum.tokens, limits: sum.limits.map(|limits| limits.1.clone()).unwrap_or_default() }
}

/// Reads what other agents have used. Nothing if no session was adopted.
///
/// # Errors
///
/// Returns a [`FileError`] if the file cannot be read or is damaged.
pub(super) fn read(dir: &StateDir) -> Result<Vec<Inherited>, FileError> {
    let path = dir.inherited();
    let encoded = match read_regular(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(FileError::on("read", &path))?,
    };
    checksummed::decode(VERSION, &encoded)
        .map_err(|_| FileError::on("read", &path)(io::Error::other("it is damaged or of another version")))
}

fn write(dir: &StateDir, inherited: &[Inherited]) -> Result<(), FileError> {
    let path: PathBuf = dir.inherited();
    let write = |path: &Path| {
        let mut file = AtomicFile::create(path)?;
        file.write_all(&checksummed::encode(VERSION, &inherited))?;
        file.commit()
    };
    write(&path).map_err(FileError::on("write", &path))
}
