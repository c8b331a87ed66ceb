//! Recovery: the first pass of a process continues from the files of earlier ones, whatever interrupted them.
//!
//! An interrupted step is completed from its intent. If the checkpoint is missing, damaged, or does not match
//! the raw transcript, the rollouts are compared with the raw transcript line by line ([`resync`](super::resync)).

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::path::Path;

use super::checkpoint::{Checkpoint, CheckpointFile, Intent};
use super::conversion;
use super::error::FollowError;
use super::rollout_file::{CopiedPrefix, FollowedRollout, RolloutFile};
use super::rollout_list::all_paths;
use super::step::{Chunk, FollowState, StepWriter};
use super::transcripts::Transcript;
use crate::event_log::{Level, log};
use crate::files::file_error::FileError;
use crate::rollout::ByteOffset;
use crate::state_dir::StateDir;

/// Loads the checkpoint, completes a step that was interrupted, and converts the rest of the raw transcript. Returns
/// `None` if that would take long and there is a limit: `brief_limit` is the number of bytes that may be converted.
///
/// # Errors
///
/// Returns [`FollowError::File`] if a file of the agent cannot be read or written.
pub(super) fn recover<'p>(
    dir: &'p StateDir,
    agent_id: &str,
    file: &'p CheckpointFile,
    brief_limit: Option<u64>,
) -> Result<Option<StepWriter<'p>>, FollowError> {
    let (raw_path, own) = (dir.raw_transcript(), dir.following());
    let found = file.read().map_err(FileError::on("read", &own))?;
    let id = file.stamp().map_err(FileError::on("read", &own))?.0;
    let mut checkpoint = found.checkpoint;
    let mut raw = Transcript::open(dir, &raw_path).map_err(FileError::on("open", &raw_path))?;
    let matches = found.number > 0 && raw.resume_at(checkpoint.raw).map_err(FileError::on("read", &raw_path))?;
    let is_intact = matches && (raw.unverified() == 0 || matches!(found.intent, Some(Intent::Append { .. })));
    let is_new = found.number == 0 && !found.is_damaged && raw.unverified() == 0;
    if brief_limit.is_some() && !is_intact && !is_new {
        return Ok(None);
    }
    if !is_intact {
        if !is_new {
            let problem = if found.number == 0 { "is missing or damaged" } else { "does not match the raw transcript" };
            let message = format!("the checkpoint {problem}; comparing the rollouts with the transcript line by line");
            log(dir, Level::Warning, &message);
        }
        raw.keep_complete_lines().map_err(FileError::on("write", &raw_path))?;
        let paths = if raw.length() == 0 { Vec::new() } else { all_paths(dir) };
        let rollouts = paths.into_iter().map(|path| FollowedRollout { path, copied: None }).collect();
        checkpoint = Checkpoint { rollouts, ..Checkpoint::default() };
    }
    let (converter, from) = if conversion::is_enabled(dir) {
        let (converter, from) = conversion::resume(dir, agent_id, &checkpoint)?;
        (Some(converter), from)
    } else {
        (None, ByteOffset(raw.length()))
    };
    let to_append = match found.intent {
        Some(Intent::Append { from, to, .. }) => to - from,
        Some(Intent::Release) | None => 0,
    };
    if brief_limit.is_some_and(|limit| raw.length() - from.0 + to_append > limit) {
        return Ok(None);
    }
    let state = FollowState { stamp: (id, found.number), checkpoint, raw, converter, searched: HashMap::new() };
    let mut writer = StepWriter { dir, file, state, listener: None };
    let intent = found.intent.filter(|_| is_intact);
    let completed = complete(&mut writer, from, intent);
    let committed = completed.and_then(|()| {
        // The completed step gets a checkpoint, so that the next intent does not overwrite a needed one.
        if is_new || (is_intact && intent.is_none()) { Ok(()) } else { writer.commit() }
    });
    committed.inspect_err(|_| writer.cut_partial_lines())?;
    Ok(Some(writer))
}

/// Completes the interrupted step, and converts the raw transcript from the offset `from`.
fn complete(writer: &mut StepWriter<'_>, from: ByteOffset, intent: Option<Intent>) -> Result<(), FollowError> {
    if let Some(Intent::Append { rollout, from, to }) = intent {
        complete_append(writer, rollout, from, to)?;
    }
    writer.convert_raw(from)?;
    if intent == Some(Intent::Release) {
        writer.release()?;
    }
    writer.flush()
}

/// Completes a step that appended the bytes `from..to` of a rollout. If the rollout no longer has these bytes, the complete
/// lines that were appended stay, and the rollout is marked to be compared line by line.
fn complete_append(writer: &mut StepWriter<'_>, index: u32, from: u64, to: u64) -> Result<(), FollowError> {
    if writer.state.raw.unverified() == 0 {
        return Ok(());
    }
    let path = writer.dir.raw_transcript();
    let start = writer.state.raw.length();
    match append_rest(&mut writer.state, index, from, to) {
        Ok(Some(copied)) => {
            writer.set_copied(index, Some(copied));
            return Ok(());
        }
        Err(AppendError::Transcript(error)) => return Err(FileError::on("write", &path)(error).into()),
        Ok(None) | Err(AppendError::Rollout) => {}
    }
    writer.state.raw.rewind_to(start);
    writer.state.raw.keep_complete_lines().map_err(FileError::on("write", &path))?;
    writer.set_copied(index, None);
    let rollout = &writer.state.checkpoint.rollouts[index as usize].path;
    let message = format!("{rollout} was rewritten while it was being copied; comparing it line by line");
    log(writer.dir, Level::Warning, &message);
    Ok(())
}

/// Why the rest of a step could not be appended.
enum AppendError {
    /// The rollout, or the part of the transcript that had been appended, cannot be read.
    Rollout,
    /// The transcript cannot be written.
    Transcript(io::Error),
}

impl From<io::Error> for AppendError {
    fn from(_: io::Error) -> Self {
        Self::Rollout
    }
}

/// Appends the bytes of `from..to` that are missing; returns `None` if the rollout has changed or become too short.
fn append_rest(state: &mut FollowState, index: u32, from: u64, to: u64) -> Result<Option<CopiedPrefix>, AppendError> {
    let Some(FollowedRollout { path, copied: Some(copied) }) = state.checkpoint.rollouts.get(index as usize) else {
        return Ok(None);
    };
    let rollout = RolloutFile::find(Path::new(path))?;
    if copied.length != from || !rollout.begins_with(copied)? {
        return Ok(None);
    }
    // If the rollout was cut and has grown again, `to` may be in the middle of another line.
    let mut last = [0];
    let is_line_end = rollout.read_from(to - 1)?.read(&mut last)? == 1 && last == *b"\n";
    let Some(after) = rollout.prefix(to)?.filter(|_| is_line_end) else { return Ok(None) };
    let raw = &mut state.raw;
    let appended = raw.unverified();
    if appended > to - from {
        return Ok(None);
    }
    // Compare the bytes that were appended, then append the rest.
    let mut chunk = Chunk::for_length(to - from);
    let mut input = rollout.read_from(from)?.take(appended);
    loop {
        let bytes = chunk.refill(&mut input)?;
        if bytes.is_empty() {
            break;
        }
        if !raw.continues_with(bytes)? {
            return Ok(None);
        }
        raw.advance(bytes.len() as u64);
    }
    let mut input = rollout.read_from(from + appended)?.take(to - from - appended);
    let mut remaining = to - from - appended;
    loop {
        let bytes = chunk.refill(&mut input)?;
        if bytes.is_empty() {
            return Ok((remaining == 0).then_some(after));
        }
        raw.write_all(bytes).map_err(AppendError::Transcript)?;
        remaining -= bytes.len() as u64;
    }
}
