//! One pass: new lines of the agent's rollouts are measured, and changes are written for mngr.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::checkpoint::{Checkpoint, CheckpointFile, MeasuredRollout, name_of};
use super::events::{append, event_of};
use super::inherited::{self, Inherited};
use super::live_output;
use super::log_once::LogOnce;
use super::session_facts::facts_of;
use super::threads::unique;
use crate::event_log::Level;
use crate::files::file_error::FileError;
use crate::files::lock;
use crate::follow::error::FollowError;
use crate::follow::rollout_file::{FileStamp, RolloutFile};
use crate::follow::rollout_list::all_paths;
use crate::follow::watcher::WatchError;
use crate::lifecycle::facts::Facts;
use crate::lifecycle::state::State;
use crate::meter::{Measures, Message, Meter};
use crate::rollout::ByteOffset;
use crate::rollout::file_name::thread_id_in;
use crate::rollout::home::Rollouts;
use crate::rollout::ids::{Name, ThreadId};
use crate::rollout::lines::Lines;
use crate::state_dir::StateDir;

/// The number of bytes that are measured at once, unless a single line is longer. Tests make many steps.
const STEP: u64 = if cfg!(test) { 700 } else { 8 << 20 };

/// How long a pass holds the lock before it saves its progress and lets other processes have the lock.
const SLICE: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_millis(20) };

/// How long a pass lets other processes have the lock between two slices.
const YIELD_TIMEOUT: Duration = Duration::from_millis(100);

/// The length in bytes above which the middle of a line is skipped. The longest lines are histories that a compaction has
/// replaced.
const MAX_KEPT: usize = 16 << 20;

/// The number of bytes that have few messages. All of them are collected, and earlier ones than those of the live output are
/// dropped when the others are written.
const FEW_BYTES: u64 = if cfg!(test) { 100 } else { 64 << 10 };

/// Measures the rollouts of one agent, pass by pass.
pub(in crate::follow) struct UsageFollower {
    dir: StateDir,
    log: LogOnce,
    /// The root's messages that could not be written to the live output.
    unwritten: Vec<Message>,
    /// Whether a pass has searched the agent's home for rollouts.
    has_searched: bool,
    /// Whether the agent was active after the last pass.
    was_active: bool,
}

/// Which rollouts a pass measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::follow) enum Extent {
    /// Those that hooks have named.
    Named,
    /// Those that hooks have named, and sometimes those in the agent's home.
    Usual,
    /// Those that hooks have named and those in the agent's home, for the last time.
    Final,
}

/// What a pass measures.
pub(in crate::follow) struct Scope<'p> {
    /// The state after the rollouts' signals were applied.
    pub(in crate::follow) state: &'p State,
    /// The rollouts of the root that may have grown.
    pub(in crate::follow) roots: Vec<PathBuf>,
    /// Which rollouts are measured.
    pub(in crate::follow) extent: Extent,
}

impl UsageFollower {
    pub(in crate::follow) fn new(dir: StateDir) -> Self {
        let log = LogOnce::new(dir.clone());
        Self { dir, log, unwritten: Vec::new(), has_searched: false, was_active: false }
    }

    /// Makes the next pass search the agent's home.
    pub(in crate::follow) fn search_again(&mut self) {
        self.has_searched = false;
    }

    /// Returns whether a pass has searched the agent's home. If not, the next one does.
    pub(in crate::follow) fn has_searched(&self) -> bool {
        self.has_searched
    }

    /// Returns whether a pass over the usual rollouts is needed, after one over those that hooks had named in the state
    /// `measured`. `state` is the present one.
    pub(in crate::follow) fn is_pass_needed(&mut self, measured: &State, state: &State) -> bool {
        let [one, other] =
            [measured, state].map(|state| state.subagents.iter().map(|subagent| &subagent.thread.rollout));
        let is_same = measured.session == state.session && measured.root.rollout == state.root.rollout;
        let is_active = state.is_active();
        let is_needed = self.searches(is_active) || !is_same || !one.eq(other);
        if !is_needed {
            self.was_active = is_active;
        }
        is_needed
    }

    /// Returns whether a pass searches the agent's home.
    fn searches(&self, is_active: bool) -> bool {
        !self.has_searched || (self.was_active && !is_active)
    }

    /// Logs a message, unless this follower has logged it before.
    pub(in crate::follow) fn log_once(&self, level: Level, message: &str) {
        self.log.log(level, &format!("usage: {message}"));
    }

    /// Makes one pass. Waits for the pass of another process, but no longer than `timeout`. Returns the number of bytes that
    /// were measured, and the facts about the root's session.
    ///
    /// A pass checks the rollouts that hooks have named. The first pass, a final one, and one after which the agent is no
    /// longer active also search the agent's home, for sessions that no hook reports.
    ///
    /// A rollout that cannot be read, and events or live output that cannot be written, are logged once. The next pass tries
    /// again.
    ///
    /// # Errors
    ///
    /// Returns [`WatchError::Follow`] if the checkpoint cannot be read or its lock cannot be acquired, and
    /// [`WatchError::Stopped`] if `should_continue` returned `false`.
    pub(in crate::follow) fn pass(
        &mut self,
        scope: &Scope<'_>,
        timeout: Duration,
        should_continue: &mut dyn FnMut() -> bool,
    ) -> Result<(u64, Facts), WatchError> {
        let is_active = scope.state.is_active();
        let searches = match scope.extent {
            Extent::Named => false,
            Extent::Usual => self.searches(is_active),
            Extent::Final => true,
        };
        let State { root, subagents, .. } = scope.state;
        let root = Some(&root.rollout).filter(|path| !path.is_empty()).map(PathBuf::from);
        let mut roots: Vec<PathBuf> = scope.roots.iter().cloned().chain(root).collect();
        let subagents = subagents.iter().map(|subagent| &subagent.thread.rollout).filter(|path| !path.is_empty());
        let mut others: Vec<PathBuf> = subagents.map(PathBuf::from).collect();
        if searches {
            roots.extend(all_paths(&self.dir).into_iter().map(PathBuf::from));
            others.extend(self.search());
        }
        let mut unwritten = std::mem::take(&mut self.unwritten);
        let measured = self.measure(&mut unwritten, &roots, &others, timeout, should_continue);
        let (mut pass, bytes) = match measured {
            Ok(measured) => measured,
            Err(error) => {
                self.unwritten = unwritten;
                return Err(error);
            }
        };
        pass.report(searches);
        let facts = facts_of(scope.state, &pass.checkpoint.rollouts);
        let unwritten = std::mem::take(&mut pass.messages);
        drop(pass);
        self.unwritten = unwritten;
        if scope.extent != Extent::Named {
            (self.has_searched, self.was_active) = (true, is_active);
        }
        Ok((bytes, facts))
    }

    /// Measures all rollouts of the agent, and writes no events. Returns the measures and the latest events.
    ///
    /// # Errors
    ///
    /// Returns [`WatchError::Follow`] if a file cannot be read or written or the lock cannot be acquired.
    pub(super) fn measure_all(&self, timeout: Duration) -> Result<Checkpoint, WatchError> {
        let roots: Vec<PathBuf> = all_paths(&self.dir).into_iter().map(PathBuf::from).collect();
        let (mut pass, _) = self.measure(&mut Vec::new(), &roots, &self.search(), timeout, &mut || true)?;
        pass.commit().map_err(FollowError::File)?;
        Ok(pass.checkpoint)
    }

    /// Measures all new lines, and lets other processes have the lock after each slice. Returns the last slice, and the number
    /// of bytes. `messages` are written to the live output before new ones.
    fn measure(
        &self,
        messages: &mut Vec<Message>,
        roots: &[PathBuf],
        others: &[PathBuf],
        timeout: Duration,
        should_continue: &mut dyn FnMut() -> bool,
    ) -> Result<(Pass<'_>, u64), WatchError> {
        let (mut bytes, mut grown) = (0, Vec::new());
        loop {
            let mut pass = Pass::begin(&self.dir, &self.log, timeout)?;
            (pass.grown, pass.messages) = (grown, std::mem::take(messages));
            loop {
                if pass.measure(roots, others) {
                    let measured = bytes + pass.bytes;
                    return Ok((pass, measured));
                }
                let Err(error) = pass.commit() else { break };
                // Nothing else remembers the measures, so the pass continues with them.
                self.log_once(Level::Error, &error.to_string());
                pass.deadline = Instant::now() + SLICE;
                if !should_continue() {
                    return Err(WatchError::Stopped);
                }
            }
            bytes += pass.bytes;
            (grown, *messages) = (std::mem::take(&mut pass.grown), std::mem::take(&mut pass.messages));
            drop(pass);
            if !should_continue() {
                return Err(WatchError::Stopped);
            }
            lock::yield_to_queue(&self.dir.usage_queue(), YIELD_TIMEOUT);
        }
    }

    /// Returns the paths of all rollouts in the agent's home.
    fn search(&self) -> Vec<PathBuf> {
        let found = Rollouts::in_home(&self.dir.codex_home(), &|_| true);
        for error in found.unreadable {
            self.log_once(Level::Warning, &error.to_string());
        }
        let mut paths: Vec<PathBuf> = found.files.into_iter().map(|file| file.path).collect();
        // The plain file is before its compressed copy.
        paths.sort();
        paths
    }
}

/// A pass or a slice of it, under the lock of the checkpoint's file.
struct Pass<'p> {
    dir: &'p StateDir,
    log: &'p LogOnce,
    file: CheckpointFile,
    checkpoint: Checkpoint,
    /// The usage of other agents. `None` if it cannot be read, in which case there are no events.
    inherited: Option<Vec<Inherited>>,
    /// The threads of rollouts with new lines.
    grown: Vec<ThreadId>,
    /// The time from which the root's messages are live output, in milliseconds since 1970, once it has been read.
    live_since: OnceCell<u64>,
    /// Messages that are not in the live output yet.
    messages: Vec<Message>,
    /// The number of bytes that were measured.
    bytes: u64,
    /// When the slice ends.
    deadline: Instant,
    /// Whether the checkpoint has changed since it was written.
    is_changed: bool,
}

impl<'p> Pass<'p> {
    fn begin(dir: &'p StateDir, log: &'p LogOnce, timeout: Duration) -> Result<Self, FollowError> {
        if !dir.path().is_dir() {
            return Err(FollowError::NoStateDir(dir.path().to_owned()));
        }
        let (file, checkpoint, is_damaged) = CheckpointFile::open(dir, timeout)?;
        if is_damaged {
            log.log(Level::Warning, "usage: the checkpoint is damaged; measuring the rollouts again");
        }
        let inherited = inherited::read(dir)
            .inspect_err(|error| log.log(Level::Error, &format!("usage: {error}; no usage events are written")));
        Ok(Self {
            dir,
            log,
            file,
            checkpoint,
            inherited: inherited.ok(),
            grown: Vec::new(),
            live_since: OnceCell::new(),
            messages: Vec::new(),
            bytes: 0,
            deadline: Instant::now() + SLICE,
            is_changed: false,
        })
    }

    /// Measures the new lines of the root's rollouts and of others. Returns whether nothing remains.
    fn measure(&mut self, roots: &[PathBuf], others: &[PathBuf]) -> bool {
        let rollouts = self.checkpoint.rollouts.iter().enumerate();
        let known: HashMap<_, _> = rollouts.map(|(index, rollout)| (rollout.name().to_owned(), index)).collect();
        let mut seen = HashSet::new();
        let roots = roots.iter().map(|path| (path, true));
        for (path, is_roots) in roots.chain(others.iter().map(|path| (path, false))) {
            let name = name_of(path);
            if !seen.insert(name) {
                continue;
            }
            let Some(index) = known.get(name).copied().or_else(|| self.add(path)) else { continue };
            let rollout = &mut self.checkpoint.rollouts[index];
            let present = path.with_file_name(name);
            if present != Path::new(&rollout.path) && RolloutFile::find(Path::new(&rollout.path)).is_err() {
                // A rollout that was found in the archive is not searched in its original folder.
                rollout.path = present.to_string_lossy().into_owned();
            }
            if is_roots && !rollout.is_roots {
                rollout.is_roots = true;
                if rollout.measured.length > 0 {
                    // Its messages were not collected.
                    rollout.restart();
                }
            }
            if !self.measure_or_leave_out(index) {
                return false;
            }
        }
        // A rollout that was not measured to its end may have been removed.
        let rollouts = self.checkpoint.rollouts.iter().enumerate();
        let left = rollouts.filter(|(_, rollout)| rollout.stamp.is_none() && !seen.contains(rollout.name()));
        let left: Vec<usize> = left.map(|(index, _)| index).collect();
        left.into_iter().all(|index| self.measure_or_leave_out(index))
    }

    /// Measures the new lines of a rollout. Returns whether nothing remains. A rollout that cannot be read does not stop the
    /// others.
    fn measure_or_leave_out(&mut self, index: usize) -> bool {
        self.measure_rollout(index).unwrap_or_else(|error| {
            self.log.log(Level::Warning, &format!("usage: {error}; leaving out this rollout"));
            true
        })
    }

    /// Adds a rollout to the checkpoint, and returns its index. Returns `None` if it does not exist.
    fn add(&mut self, path: &Path) -> Option<usize> {
        let path = path.with_file_name(name_of(path));
        RolloutFile::find(&path).ok()?;
        let path = path.to_string_lossy().into_owned();
        self.checkpoint.rollouts.push(MeasuredRollout { path, ..MeasuredRollout::default() });
        Some(self.checkpoint.rollouts.len() - 1)
    }

    /// Returns the time from which the root's messages are live output, in milliseconds since 1970. It is 0 if it is not known.
    fn live_since(&self) -> u64 {
        *self.live_since.get_or_init(|| {
            live_output::since(self.dir).unwrap_or_else(|error| {
                self.log.log(Level::Error, &format!("usage: {error}; no live output is written"));
                0
            })
        })
    }

    /// Measures the new lines of a rollout. Returns whether nothing remains.
    ///
    /// # Errors
    ///
    /// Returns an error if the rollout cannot be read. Its last lines are measured again then.
    fn measure_rollout(&mut self, index: usize) -> Result<bool, FileError> {
        let rollout = &mut self.checkpoint.rollouts[index];
        let path = PathBuf::from(&rollout.path);
        if rollout.stamp.is_some() && FileStamp::of(&path).ok() == rollout.stamp {
            return Ok(true);
        }
        let file = match RolloutFile::find(&path) {
            Ok(file) => file,
            // It was removed. What it has shown remains, and the other files of its thread count without the rest.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if rollout.stamp.is_none() {
                    rollout.stamp = Some(FileStamp::default());
                    self.is_changed = true;
                    self.grown.push(rollout.measures.thread.clone());
                }
                return Ok(true);
            }
            Err(error) => return Err(FileError::on("read", &path)(error)),
        };
        if rollout.stamp == Some(file.stamp) {
            return Ok(true);
        }
        self.is_changed |= rollout.stamp.take().is_some();
        let failed = |error: io::Error| FileError::on("read", &file.path)(error);
        if !file.begins_with(&rollout.measured).map_err(failed)? {
            rollout.restart();
            self.is_changed = true;
        }
        // A compressed file can only be read from its start, so it is read at once.
        let step = if file.is_compressed { u64::MAX } else { STEP };
        loop {
            let rollout = &mut self.checkpoint.rollouts[index];
            let begin = rollout.measured.length;
            let Some(end) = file.complete_lines(begin, &mut rollout.searched, step).map_err(failed)? else { break };
            let (before, is_roots) = (rollout.measures.clone(), rollout.is_roots);
            let since = is_roots.then(|| if end - begin > FEW_BYTES { self.live_since() } else { 0 });
            let (measures, messages) = measured(&file, begin, end, before, since).map_err(failed)?;
            let rollout = &mut self.checkpoint.rollouts[index];
            let Some(prefix) = file.prefix(end).map_err(failed)? else {
                // The file became shorter while it was being read. The next pass finds out what happened.
                return Ok(true);
            };
            (rollout.measures, rollout.measured, rollout.searched) = (measures, prefix, end);
            self.is_changed = true;
            self.messages.extend(messages);
            self.bytes += end - begin;
            if self.bytes >= STEP && Instant::now() >= self.deadline {
                return Ok(false);
            }
        }
        let rollout = &mut self.checkpoint.rollouts[index];
        rollout.stamp = Some(file.stamp);
        self.is_changed = true;
        if rollout.measures.thread.0.is_empty()
            && let Some(id) = thread_id_in(&path)
        {
            rollout.measures.thread = ThreadId(Name::new(id.as_bytes(), false));
        }
        self.grown.push(rollout.measures.thread.clone());
        Ok(true)
    }

    /// Writes the events of the threads that have grown, or of all threads whose measures differ from their events, and then
    /// the checkpoint. An error of one file is logged, and does not affect the others.
    fn report(&mut self, all: bool) {
        if let Some(inherited) = &self.inherited {
            let Checkpoint { rollouts, reported, .. } = &self.checkpoint;
            let grown = rollouts.iter().map(|rollout| &rollout.measures.thread);
            let grown = unique(grown.filter(|thread| all || self.grown.contains(thread)));
            let events = grown.iter().filter_map(|thread| event_of(thread, rollouts, reported, inherited));
            let events: Vec<_> = events.collect();
            self.is_changed |= !events.is_empty();
            if let Err(error) = append(self.dir, &mut self.checkpoint, events) {
                self.log.log(Level::Error, &format!("usage: {error}"));
            }
        }
        if let Err(error) = self.commit() {
            // The next pass measures the same lines again, and finds the same messages.
            self.messages.clear();
            self.log.log(Level::Error, &format!("usage: {error}"));
        }
    }

    /// Writes the live output, and then the checkpoint, if it has changed. Live output that cannot be written is kept for the
    /// next pass of this process.
    ///
    /// # Errors
    ///
    /// Returns a [`FileError`] if the checkpoint cannot be written.
    fn commit(&mut self) -> Result<(), FileError> {
        match live_output::append(self.dir, &mut self.checkpoint.live, &mut self.messages) {
            Ok(has_changed) => self.is_changed |= has_changed,
            Err(error) => self.log.log(Level::Error, &format!("usage: {error}")),
        }
        if std::mem::take(&mut self.is_changed) {
            let written = self.file.write(&self.checkpoint);
            self.is_changed = written.is_err();
            written.map_err(FileError::on("write", &self.dir.usage()))?;
        }
        Ok(())
    }
}

/// Returns the measures after the lines of `begin..end`, and the agent's messages in them from the time `since` on.
fn measured(
    file: &RolloutFile,
    begin: u64,
    end: u64,
    measures: Measures,
    since: Option<u64>,
) -> io::Result<(Measures, Vec<Message>)> {
    let input = file.read_from(begin)?.take(end - begin);
    let mut lines = Lines::starting_at(input, ByteOffset(begin), usize::MAX).keeping(MAX_KEPT);
    let mut meter = Meter::resume(measures, since);
    while let Some(line) = lines.next_line()? {
        meter.line(&line);
    }
    Ok(meter.finish())
}

#[cfg(test)]
mod tests;
