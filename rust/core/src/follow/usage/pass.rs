//! One pass: new lines of the agent's rollouts are measured, and changes are written for mngr.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checkpoint::{Checkpoint, CheckpointFile, MeasuredRollout, name_of};
use super::events::{append, event_of};
use super::inherited::{self, Inherited};
use super::threads::threads_of;
use crate::event_log::{Level, log};
use crate::files::file_error::FileError;
use crate::follow::error::FollowError;
use crate::follow::rollout_file::{FileStamp, RolloutFile};
use crate::follow::rollout_list::all_paths;
use crate::follow::watcher::WatchError;
use crate::lifecycle::state::State;
use crate::meter::{Measures, Meter};
use crate::rollout::ByteOffset;
use crate::rollout::file_name::thread_id_in;
use crate::rollout::home::Rollouts;
use crate::rollout::ids::{Name, ThreadId};
use crate::rollout::lines::Lines;
use crate::state_dir::StateDir;

/// The number of bytes after which progress is saved, unless a single line is longer. Tests make many steps.
const STEP: u64 = if cfg!(test) { 700 } else { 32 << 20 };

/// The length in bytes above which the middle of a line is skipped. The longest lines are histories that a compaction has
/// replaced.
const MAX_KEPT: usize = 16 << 20;

/// Measures the rollouts of one agent, pass by pass.
pub(in crate::follow) struct UsageFollower {
    dir: StateDir,
    /// Whether a pass has searched the agent's home for rollouts.
    has_searched: bool,
    /// Whether the agent was active after the last pass.
    was_active: bool,
}

/// What a pass measures.
pub(in crate::follow) struct Scope<'p> {
    /// The state after the rollouts' signals were applied.
    pub(in crate::follow) state: &'p State,
    /// The rollouts of the root that may have grown.
    pub(in crate::follow) roots: Vec<PathBuf>,
    /// Whether this is the agent's last pass.
    pub(in crate::follow) is_final: bool,
}

impl UsageFollower {
    pub(in crate::follow) fn new(dir: StateDir) -> Self {
        Self { dir, has_searched: false, was_active: false }
    }

    /// Makes one pass. Waits for the pass of another process, but no longer than `timeout`. Returns the number of bytes that
    /// were measured.
    ///
    /// A pass checks the rollouts that hooks have named. The first pass, a final one, and one after which the agent is no
    /// longer active also search the agent's home, for sessions that no hook reports.
    ///
    /// # Errors
    ///
    /// Returns [`WatchError::Follow`] if a file cannot be read or written or the lock cannot be acquired, and
    /// [`WatchError::Stopped`] if `should_continue` returned `false`.
    pub(in crate::follow) fn pass(
        &mut self,
        scope: &Scope<'_>,
        timeout: Duration,
        should_continue: &mut dyn FnMut() -> bool,
    ) -> Result<u64, WatchError> {
        let is_active = scope.state.is_active();
        let searches = !self.has_searched || scope.is_final || (self.was_active && !is_active);
        let mut pass = Pass::begin(&self.dir, timeout)?;
        let subagents = scope.state.subagents.iter().map(|subagent| &subagent.thread.rollout);
        let named = [&scope.state.root.rollout].into_iter().chain(subagents).filter(|path| !path.is_empty());
        let mut paths: Vec<PathBuf> = scope.roots.iter().cloned().chain(named.map(PathBuf::from)).collect();
        if searches {
            paths.extend(self.search());
        }
        let bytes = pass.measure(&paths, should_continue)?;
        pass.report(searches)?;
        (self.has_searched, self.was_active) = (true, is_active);
        Ok(bytes)
    }

    /// Measures all rollouts of the agent, and writes no events. Returns the measures.
    ///
    /// # Errors
    ///
    /// Returns [`WatchError::Follow`] if a file cannot be read or written or the lock cannot be acquired.
    pub(super) fn measure_all(&self, timeout: Duration) -> Result<Vec<MeasuredRollout>, WatchError> {
        let mut pass = Pass::begin(&self.dir, timeout)?;
        pass.measure(&self.search(), &mut || true)?;
        pass.commit()?;
        Ok(pass.checkpoint.rollouts)
    }

    /// Returns the paths of all rollouts in the agent's home, and of those that hooks have named.
    fn search(&self) -> Vec<PathBuf> {
        let found = Rollouts::in_home(&self.dir.codex_home(), &|_| true);
        for error in found.unreadable {
            log(&self.dir, Level::Warning, &error.to_string());
        }
        let mut in_home: Vec<PathBuf> = found.files.into_iter().map(|file| file.path).collect();
        in_home.sort();
        all_paths(&self.dir).into_iter().map(PathBuf::from).chain(in_home).collect()
    }
}

/// A pass, under the lock of the checkpoint's file.
struct Pass<'p> {
    dir: &'p StateDir,
    file: CheckpointFile,
    checkpoint: Checkpoint,
    /// What other agents have used. `None` if that cannot be read, in which case there are no events.
    inherited: Option<Vec<Inherited>>,
    /// The threads of rollouts with new lines.
    grown: Vec<ThreadId>,
    /// Whether the checkpoint has changed since it was written.
    is_changed: bool,
}

impl<'p> Pass<'p> {
    fn begin(dir: &'p StateDir, timeout: Duration) -> Result<Self, FollowError> {
        if !dir.path().is_dir() {
            return Err(FollowError::NoStateDir(dir.path().to_owned()));
        }
        let (file, checkpoint, is_damaged) = CheckpointFile::open(dir, timeout)?;
        if is_damaged {
            log(dir, Level::Warning, "the checkpoint of usage is damaged; measuring the rollouts again");
        }
        let inherited = inherited::read(dir)
            .inspect_err(|error| log(dir, Level::Error, &format!("{error}; no usage events are written")));
        Ok(Self { dir, file, checkpoint, inherited: inherited.ok(), grown: Vec::new(), is_changed: false })
    }

    /// Measures the new lines of the rollouts at `paths`. Returns their number of bytes.
    fn measure(&mut self, paths: &[PathBuf], should_continue: &mut dyn FnMut() -> bool) -> Result<u64, WatchError> {
        let (mut seen, mut bytes) = (HashSet::new(), 0);
        for path in paths {
            let name = name_of(path);
            if !seen.insert(name) {
                continue;
            }
            let known = self.checkpoint.rollouts.iter().position(|rollout| rollout.name() == name);
            let index = known.unwrap_or_else(|| self.add(path));
            bytes += self.measure_rollout(index, should_continue)?;
        }
        Ok(bytes)
    }

    fn add(&mut self, path: &Path) -> usize {
        let path = path.with_file_name(name_of(path)).to_string_lossy().into_owned();
        self.checkpoint.rollouts.push(MeasuredRollout { path, ..MeasuredRollout::default() });
        self.checkpoint.rollouts.len() - 1
    }

    /// Measures the new lines of a rollout. Returns their number of bytes.
    fn measure_rollout(&mut self, index: usize, should_continue: &mut dyn FnMut() -> bool) -> Result<u64, WatchError> {
        let rollout = &mut self.checkpoint.rollouts[index];
        let path = PathBuf::from(&rollout.path);
        if rollout.stamp.is_some() && FileStamp::of(&path).ok() == rollout.stamp {
            return Ok(0);
        }
        let file = match RolloutFile::find(&path) {
            Ok(file) => file,
            // Codex has not written it yet, or it was removed. What it has shown remains.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => {
                log(self.dir, Level::Warning, &FileError::on("read", &path)(error).to_string());
                return Ok(0);
            }
        };
        if rollout.stamp == Some(file.stamp) {
            return Ok(0);
        }
        self.is_changed = true;
        rollout.stamp = None;
        let failed = |error: io::Error| FollowError::File(FileError::on("read", &file.path)(error));
        if !file.begins_with(&rollout.measured).map_err(failed)? {
            rollout.restart();
        }
        // A compressed file can only be read from its start, so it is read at once.
        let step = if file.is_compressed { u64::MAX } else { STEP };
        let from = rollout.measured.length;
        loop {
            let rollout = &mut self.checkpoint.rollouts[index];
            let begin = rollout.measured.length;
            let Some(end) = file.complete_lines(begin, &mut rollout.searched, step).map_err(failed)? else { break };
            let measures = measured(&file, begin, end, rollout.measures.clone()).map_err(failed)?;
            let Some(prefix) = file.prefix(end).map_err(failed)? else {
                // The file became shorter while it was being read. The next pass finds out what happened.
                return Ok(0);
            };
            (rollout.measures, rollout.measured, rollout.searched) = (measures, prefix, end);
            if end - from >= STEP {
                self.commit()?;
                if !should_continue() {
                    return Err(WatchError::Stopped);
                }
            }
        }
        let rollout = &mut self.checkpoint.rollouts[index];
        rollout.stamp = Some(file.stamp);
        if rollout.measures.thread.0.is_empty()
            && let Some(id) = thread_id_in(&path)
        {
            rollout.measures.thread = ThreadId(Name::new(id.as_bytes(), false));
        }
        self.grown.push(rollout.measures.thread.clone());
        Ok(rollout.measured.length.saturating_sub(from))
    }

    /// Writes the events of the threads that have grown, or of all threads whose measures differ from their events, and then
    /// the checkpoint.
    fn report(&mut self, all: bool) -> Result<(), FollowError> {
        if let Some(inherited) = &self.inherited {
            let Checkpoint { rollouts, reported, .. } = &self.checkpoint;
            let grown = threads_of(rollouts).into_iter().filter(|thread| all || self.grown.contains(thread));
            let events: Vec<_> = grown.filter_map(|thread| event_of(&thread, rollouts, reported, inherited)).collect();
            self.is_changed |= !events.is_empty();
            append(self.dir, &mut self.checkpoint, events)?;
        }
        self.commit()
    }

    /// Writes the checkpoint, if it has changed.
    fn commit(&mut self) -> Result<(), FollowError> {
        if std::mem::take(&mut self.is_changed) {
            let written = self.file.write(&self.checkpoint);
            written.map_err(FileError::on("write", &self.dir.usage()))?;
        }
        Ok(())
    }
}

/// Returns the measures after the lines of `begin..end`.
fn measured(file: &RolloutFile, begin: u64, end: u64, measures: Measures) -> io::Result<Measures> {
    let input = file.read_from(begin)?.take(end - begin);
    let mut lines = Lines::starting_at(input, ByteOffset(begin), usize::MAX).keeping(MAX_KEPT);
    let mut meter = Meter::resume(measures, false);
    while let Some(line) = lines.next_line()? {
        meter.line(&line);
    }
    Ok(meter.finish().0)
}

#[cfg(test)]
mod tests;
