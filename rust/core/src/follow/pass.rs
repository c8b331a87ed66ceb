//! One pass: new lines of the rollouts are copied to the raw transcript, and converted into the common one.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::checkpoint::{Checkpoint, CheckpointFile, Intent};
use super::error::FollowError;
use super::recovery::recover;
use super::resync::resync;
use super::rollout_file::{CopiedPrefix, FileStamp, FollowedRollout};
use super::rollout_list::{ListEntry, new_entries};
use super::step::{FollowState, Searched, StepWriter, index};
use crate::event_log::{Level, log};
use crate::files::file_error::FileError;
use crate::lifecycle::reconcile::LineListener;
use crate::state_dir::StateDir;

/// The number of bytes that a step copies, unless a single line is longer. Tests make many steps.
const STEP: u64 = if cfg!(test) { 700 } else { 8 << 20 };

/// The number of bytes that a step of a brief pass copies: it is copied and converted within some milliseconds. A brief
/// pass does not convert more than that again, either.
const BRIEF_STEP: u64 = if cfg!(test) { 300 } else { 1 << 20 };

/// The length in bytes of the longest line that a brief pass copies.
const MAX_BRIEF_LINE: u64 = 8 << 20;

/// The number of rollouts that are watched in addition to the current one, because lines of a finished turn can be written
/// seconds later. The other rollouts are checked in each pass, but cause none.
const WATCHED: usize = 4;

/// The number of rollouts that the checkpoint remembers. If an older one becomes current again, it is compared line by
/// line.
const MAX_ROLLOUTS: usize = 4096;

/// How much a pass does.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PassOptions {
    /// When the pass stops, after the current step. Without a deadline it continues until everything is copied.
    pub(crate) deadline: Option<Instant>,
    /// Whether the rollouts are complete: records that wait for their token counts are emitted without them.
    pub(crate) is_final: bool,
    /// Whether to leave slow work to a later pass: comparing line by line, converting much again, and rollouts that are no
    /// longer current.
    pub(crate) is_brief: bool,
}

impl PassOptions {
    fn is_past_deadline(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Returns the number of bytes that a step copies.
    fn step(&self) -> u64 {
        if self.is_brief { BRIEF_STEP } else { STEP }
    }
}

/// The result of a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassSummary {
    /// The number of bytes that were added to the raw transcript.
    pub raw_bytes: u64,
    /// The number of bytes that were added to the common transcript.
    pub common_bytes: u64,
    /// Whether some work remains, because the deadline passed or the pass was brief.
    pub(crate) is_incomplete: bool,
}

/// Follows the rollouts of one agent, pass by pass.
pub(super) struct Follower {
    dir: StateDir,
    agent_id: String,
    state: Option<FollowState>,
}

impl Follower {
    /// Follows the agent with this state directory. The name of the directory is the agent's id.
    pub(super) fn new(dir: StateDir) -> Self {
        let agent_id = agent_id(&dir);
        Self { dir, agent_id, state: None }
    }

    /// Makes one pass. Waits for the pass of another process, but no longer than `timeout`. While lines are copied, the
    /// listener receives the records it waits for.
    ///
    /// # Errors
    ///
    /// Returns [`FollowError::NoStateDir`] if the state directory does not exist, [`FollowError::Lock`] if the lock cannot
    /// be acquired, and [`FollowError::File`] if a file cannot be read or written.
    pub(super) fn pass(
        &mut self,
        options: PassOptions,
        timeout: Duration,
        listener: Option<&mut LineListener>,
    ) -> Result<PassSummary, FollowError> {
        if !self.dir.path().is_dir() {
            return Err(FollowError::NoStateDir(self.dir.path().to_owned()));
        }
        let file = CheckpointFile::open(&self.dir, timeout)?;
        let (dir, agent_id) = (&self.dir, &self.agent_id);
        let mut writer = match self.state.take().filter(|state| state.is_current(&file, dir)) {
            Some(state) => StepWriter { dir, file: &file, state, listener: None },
            None => match recover(dir, agent_id, &file, options.is_brief.then_some(BRIEF_STEP))? {
                Some(writer) => writer,
                None => return Ok(PassSummary { is_incomplete: true, ..PassSummary::default() }),
            },
        };
        writer.listener = listener;
        let before = (writer.state.raw.length(), writer.state.common_length());
        let is_complete = copy_all(&mut writer, options).inspect_err(|_| writer.cut_partial_lines())?;
        let state = writer.state;
        let (raw, common) = (state.raw.length(), state.common_length());
        self.state = Some(state);
        Ok(PassSummary {
            raw_bytes: raw.saturating_sub(before.0),
            common_bytes: common.saturating_sub(before.1),
            is_incomplete: !is_complete,
        })
    }

    /// Returns how many bytes of a rollout are in the raw transcript, or `None` if that is not known. `path` is the
    /// rollout's path in the hooks' list.
    pub(super) fn copied(&self, path: &Path) -> Option<u64> {
        let rollouts = &self.state.as_ref()?.checkpoint.rollouts;
        let rollout = rollouts.iter().find(|rollout| Path::new(&rollout.path) == path)?;
        Some(rollout.copied?.length)
    }

    /// Returns the paths of the rollouts that may grow: the current one and the latest others.
    pub(super) fn growing_rollouts(&self) -> impl Iterator<Item = &Path> {
        let checkpoint = self.state.as_ref().map(|state| &state.checkpoint);
        let rollouts = checkpoint.map_or(&[][..], |checkpoint| &checkpoint.rollouts);
        let current =
            checkpoint.and_then(|checkpoint| checkpoint.current).and_then(|index| rollouts.get(index as usize));
        let latest = rollouts.iter().rev().take(WATCHED);
        current.into_iter().chain(latest).map(|rollout| Path::new(&rollout.path))
    }
}

/// Returns the id of the agent with this state directory: the directory's name.
pub(super) fn agent_id(dir: &StateDir) -> String {
    let path = dir.path();
    let name = if path.is_symlink() { None } else { path.file_name().map(ToOwned::to_owned) };
    let name = name.or_else(|| Some(fs::canonicalize(path).ok()?.file_name()?.to_owned()));
    name.unwrap_or_default().to_string_lossy().into_owned()
}

/// Copies all new lines; returns whether nothing remains.
fn copy_all(writer: &mut StepWriter<'_>, options: PassOptions) -> Result<bool, FollowError> {
    if !options.is_brief {
        resync(writer)?;
    }
    if let Some(current) = writer.state.checkpoint.current
        && !copy_rollout(writer, current, options)?
    {
        return Ok(false);
    }
    for ListEntry { path, end } in new_entries(writer.dir, writer.state.checkpoint.listed)? {
        if options.is_past_deadline() {
            return Ok(false);
        }
        let rollout = find_or_add(writer, &path)?;
        writer.state.checkpoint.current = Some(rollout);
        let is_complete = copy_rollout(writer, rollout, options)?;
        // An entry without a newline may still grow. The next pass reads it again.
        if let Some(end) = end {
            writer.state.checkpoint.listed = end;
        }
        if !is_complete {
            return Ok(false);
        }
    }
    let current = writer.state.checkpoint.current;
    let count = if options.is_brief { 0 } else { index(writer.state.checkpoint.rollouts.len()) };
    for rollout in (0..count).rev().filter(|rollout| Some(*rollout) != current) {
        if !copy_rollout(writer, rollout, options)? {
            return Ok(false);
        }
    }
    if options.is_final {
        let written = writer.file.write_intent(writer.state.stamp.1, Intent::Release);
        written.map_err(FileError::on("write", &writer.dir.following()))?;
        writer.release()?;
        writer.commit()?;
    }
    Ok(true)
}

/// Returns the index of the rollout with this path, and adds it to the checkpoint if it is new.
fn find_or_add(writer: &mut StepWriter<'_>, path: &str) -> Result<u32, FollowError> {
    let Checkpoint { rollouts, current, .. } = &mut writer.state.checkpoint;
    if let Some(found) = rollouts.iter().position(|rollout| rollout.path == path) {
        return Ok(index(found));
    }
    if rollouts.len() >= MAX_ROLLOUTS {
        rollouts.remove(0);
        *current = current.and_then(|current| current.checked_sub(1));
        writer.state.searched.clear();
    }
    rollouts.push(FollowedRollout { path: path.to_owned(), copied: Some(CopiedPrefix::default()) });
    let added = index(rollouts.len() - 1);
    // An intent refers to a rollout by its index, so the index has to be on disk first.
    writer.commit()?;
    Ok(added)
}

/// Copies the new lines of a rollout; returns whether nothing remains.
fn copy_rollout(writer: &mut StepWriter<'_>, rollout: u32, options: PassOptions) -> Result<bool, FollowError> {
    let searched = writer.state.searched.get(&rollout).copied();
    let is_unchanged = |stamp: FileStamp| searched.is_some_and(|searched| searched.stamp == stamp);
    let path = Path::new(&writer.state.checkpoint.rollouts[rollout as usize].path);
    if FileStamp::of(path).is_ok_and(is_unchanged) {
        return Ok(true);
    }
    let Some(file) = writer.open(rollout) else { return Ok(true) };
    if is_unchanged(file.stamp) {
        return Ok(true);
    }
    let Some(mut copied) = writer.state.checkpoint.rollouts[rollout as usize].copied else {
        return Ok(!options.is_brief);
    };
    let failed = |source: io::Error| FileError::on("read", &file.path)(source);
    if options.is_brief && file.is_compressed {
        return Ok(false);
    }
    if !file.begins_with(&copied).map_err(failed)? {
        if options.is_brief {
            return Ok(false);
        }
        let message = format!("{} was rewritten; comparing it line by line", file.path.display());
        log(writer.dir, Level::Info, &message);
        writer.set_copied(rollout, None);
        writer.state.searched.remove(&rollout);
        resync(writer)?;
        return Ok(true);
    }
    let mut until = 0;
    if let Some(searched) = searched
        && file.partial_line_end(copied.length, searched.until).map_err(failed)? == Some(searched.end)
    {
        until = searched.until;
    }
    while let Some(to) = file.complete_lines(copied.length, &mut until, options.step()).map_err(failed)? {
        if options.is_brief && to - copied.length > MAX_BRIEF_LINE {
            return Ok(false);
        }
        let Some(after) = file.prefix(to).map_err(failed)? else { break };
        writer.append(rollout, &file, copied.length..to, Some(after))?;
        copied = after;
        if options.is_past_deadline() {
            return Ok(false);
        }
    }
    let end = file.partial_line_end(copied.length, until).map_err(failed)?.unwrap_or_default();
    writer.state.searched.insert(rollout, Searched { stamp: file.stamp, until, end });
    Ok(true)
}

#[cfg(test)]
mod tests;
