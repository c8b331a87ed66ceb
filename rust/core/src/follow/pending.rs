//! The records of a running agent that its common transcript does not have yet, for readers that show them.
//!
//! The watcher holds back the step that awaits its token counts, and everything after it. A reader converts the end of the
//! raw transcript itself, from the watcher's checkpoint on, and writes nothing.

use std::fs::{self, File};
use std::path::Path;

use super::checkpoint::{Checkpoint, CheckpointFile, Extent};
use super::conversion::RawLines;
use super::pass::agent_id;
use crate::convert::{Converter, MAX_PENDING_BYTES, Pending};
use crate::files::fingerprint;
use crate::files::positional::PositionalReader;
use crate::files::regular::{FileId, open_regular};
use crate::rollout::ByteOffset;
use crate::rollout::lines::{DEFAULT_LINE_LIMIT, Lines};
use crate::state_dir::StateDir;
use crate::transcript::tail_follow::TailFollower;
use crate::watch::Watched;

/// The number of bytes of the raw transcript that are converted at most. The watcher writes a checkpoint at least every 8
/// MiB, and a window in which records wait is usually much shorter.
const MAX_UNREAD: u64 = 32 << 20;

/// What the agent is doing, according to the marker files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// The agent is working.
    Running,
    /// Codex waits for an approval.
    AwaitingApproval,
    /// The agent waits for the user, or its Codex has ended.
    Ended,
}

/// Reads the records that an agent's common transcript does not have yet.
///
/// Empty if the checkpoint is missing, of another version, or does not match the transcripts.
pub struct PendingReader {
    dir: StateDir,
    converting: Option<Conversion>,
}

/// A conversion that continues from the checkpoint.
struct Conversion {
    converter: Converter<Vec<u8>>,
    raw: File,
    /// The offset of the next line in the raw transcript.
    next: u64,
    /// The offset in the common transcript of the first byte of `released`.
    start: u64,
    /// Records that the converter has released, and that the reader has not seen in the common transcript.
    released: Vec<u8>,
}

impl PendingReader {
    /// Returns a reader for the agent with this common transcript. Returns `None` for transcripts that are not in the state
    /// directory of a Codex agent.
    #[must_use]
    pub fn for_transcript(common: &Path) -> Option<Self> {
        StateDir::of_common_transcript(common).map(|dir| Self { dir, converting: None })
    }

    /// Reads the checkpoint, unless that has been done. Call this before reading the common transcript, so that the
    /// checkpoint is not newer than the lines that were read.
    pub fn prepare(&mut self) {
        if self.converting.is_none() {
            self.converting = Conversion::resume(&self.dir);
        }
    }

    /// Returns the records that follow the first `shown` bytes of the common transcript, and the calls without an output.
    pub fn read(&mut self, shown: ByteOffset) -> Pending {
        const ATTEMPTS: usize = 2;
        for _ in 0..ATTEMPTS {
            self.prepare();
            let Some(conversion) = &mut self.converting else { break };
            if let Some(pending) = conversion.read(&self.dir, shown.0) {
                return pending;
            }
            // Another watcher may have written the transcripts again.
            self.converting = None;
        }
        Pending::default()
    }

    /// Returns what the agent is doing.
    #[must_use]
    pub fn activity(&self) -> Activity {
        if !self.dir.active().exists() {
            Activity::Ended
        } else if self.dir.permissions_waiting().exists() {
            Activity::AwaitingApproval
        } else {
            Activity::Running
        }
    }

    /// Returns what to watch for changes of the records and of the activity.
    #[must_use]
    pub fn watched(&self) -> Vec<Watched> {
        let mut watched = TailFollower::new(self.dir.raw_transcript()).watched();
        watched.push(Watched::File(self.dir.following()));
        for marker in [self.dir.active(), self.dir.permissions_waiting()] {
            watched.push(Watched::Names(self.dir.path().to_owned(), marker.file_name().unwrap_or_default().to_owned()));
        }
        watched
    }
}

impl Conversion {
    /// Continues from the checkpoint, if it matches the transcripts.
    fn resume(dir: &StateDir) -> Option<Self> {
        let Checkpoint { raw, common, conversion, .. } = CheckpointFile::read_unlocked(dir)?;
        let conversion = conversion?;
        let raw = open_matching(&dir.raw_transcript(), raw)?;
        open_matching(&dir.common_transcript(), common)?;
        let converter = Converter::restore(&agent_id(dir), &conversion, Vec::new()).ok()?;
        Some(Self { converter, raw, next: conversion.resume_at.0, start: common.length, released: Vec::new() })
    }

    /// Converts the new lines. Returns `None` if the transcripts were written again, or if too much is new.
    fn read(&mut self, dir: &StateDir, shown: u64) -> Option<Pending> {
        let (opened, found) = (self.raw.metadata().ok()?, fs::metadata(dir.raw_transcript()).ok()?);
        let unread = opened.len().checked_sub(self.next)?;
        if FileId::from(&opened) != FileId::from(&found) || unread > MAX_UNREAD {
            return None;
        }
        let input = PositionalReader::within(&self.raw, self.next..opened.len());
        let mut lines = Lines::starting_at(input, ByteOffset(self.next), DEFAULT_LINE_LIMIT);
        while let Some(line) = lines.next_line().ok()? {
            self.next = line.next.0;
            self.converter.line(line, &mut RawLines(&self.raw)).ok()?;
        }
        self.released.append(&mut self.converter.take_records().ok()?);
        let seen = usize::try_from(shown.checked_sub(self.start)?).ok()?;
        if seen > self.released.len() {
            // The watcher has released records that are held back here, because no Codex writes to the rollout anymore.
            return None;
        }
        self.released.drain(..seen);
        self.start = shown;
        let mut pending = self.converter.pending(MAX_PENDING_BYTES).ok()?;
        pending.records.splice(..0, self.released.iter().copied());
        Some(pending)
    }
}

/// Opens a transcript if it begins with `extent`.
fn open_matching(path: &Path, extent: Extent) -> Option<File> {
    let file = open_regular(path).ok()?;
    let is_long_enough = file.metadata().ok()?.len() >= extent.length;
    (is_long_enough && fingerprint::before(&file, extent.length).ok()? == extent.end).then_some(file)
}
