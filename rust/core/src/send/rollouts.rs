//! The rollouts in which a message appears.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::rollout::home::Rollouts;
use crate::rollout::session_meta::SessionMeta;
use crate::watch::{Watched, Watches};

use super::host::Lengths;
use super::text::MessagePattern;

/// The most bytes of a line that are searched. Codex writes the role and the text at its beginning.
const MAX_LINE: u64 = 4 << 20;
/// The most rollouts that are watched: the ones that were changed last.
const MAX_WATCHED: usize = 32;

/// The rollouts of an agent, and what was read of them.
pub(super) struct RolloutReader {
    home: PathBuf,
    watches: Watches,
    /// How far each rollout was read.
    read: HashMap<String, u64>,
}

/// A rollout at one time.
struct Rollout {
    path: PathBuf,
    /// The path below the home.
    name: String,
    length: u64,
    modified: SystemTime,
}

impl RolloutReader {
    pub(super) fn new(home: PathBuf) -> Self {
        Self { home, watches: Watches::default(), read: HashMap::new() }
    }

    fn rollouts(&self) -> Vec<Rollout> {
        let files = Rollouts::in_home(&self.home, &|_| true).files;
        let current = files.into_iter().filter(|file| !file.is_archived && !file.is_compressed());
        let rollout = |path: PathBuf| {
            let metadata = path.metadata().ok()?;
            let name = path.strip_prefix(&self.home).ok()?.to_string_lossy().into_owned();
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            Some(Rollout { length: metadata.len(), modified, name, path })
        };
        current.filter_map(|file| rollout(file.path)).collect()
    }

    /// Returns the lengths of all rollouts.
    pub(super) fn lengths(&self) -> Lengths {
        self.rollouts().into_iter().map(|rollout| (rollout.name, rollout.length)).collect()
    }

    /// Returns whether a complete line that was appended after `before` matches. Each line is read once.
    pub(super) fn has(&mut self, before: &Lengths, pattern: &MessagePattern) -> bool {
        for Rollout { path, name, length, .. } in self.rollouts() {
            let begin = match before.get(&name) {
                Some(length) => *length,
                None if self.read.contains_key(&name) => 0,
                None => match first_offset(&path) {
                    Some(offset) => offset,
                    None => continue,
                },
            };
            let read = self.read.entry(name).or_insert(begin);
            // Another run of the same process may have read lines that were appended before.
            *read = (*read).max(begin);
            if length > *read {
                match search(&path, *read, pattern) {
                    Ok(Found::Match) => return true,
                    Ok(Found::End(end)) => *read = end,
                    // It is read again.
                    Err(_) => {}
                }
            }
        }
        false
    }

    /// Waits until a rollout changes or is created, but no longer than this.
    pub(super) fn wait(&mut self, limit: Duration) {
        let mut rollouts = self.rollouts();
        rollouts.sort_by_key(|rollout| std::cmp::Reverse(rollout.modified));
        let mut targets: Vec<Watched> = Vec::new();
        for Rollout { path, .. } in rollouts.into_iter().take(MAX_WATCHED) {
            // Codex creates a folder for each day, month and year.
            for folder in path.ancestors().skip(1).take_while(|folder| *folder != self.home) {
                add(&mut targets, Watched::Names(folder.to_owned(), OsString::new()));
            }
            add(&mut targets, Watched::File(path));
        }
        add(&mut targets, Watched::Names(self.home.join("sessions"), OsString::new()));
        // A file that was not watched may have changed already.
        if !self.watches.set(targets) && self.watches.wait_at_most(&[], limit).is_err() {
            std::thread::sleep(limit);
        }
    }
}

fn add(targets: &mut Vec<Watched>, target: Watched) {
    if !targets.contains(&target) {
        targets.push(target);
    }
}

/// Returns from where on a new rollout is searched; `None` if its first line is not complete yet. A subagent's rollout can
/// begin with a copy of its parent's messages, and the user writes none there, so it is not searched.
fn first_offset(path: &Path) -> Option<u64> {
    let meta = SessionMeta::read(path).ok()??;
    Some(if meta.is_subagent { u64::MAX } else { 0 })
}

enum Found {
    Match,
    /// The offset after the last complete line.
    End(u64),
}

/// Searches the complete lines of a file after an offset.
fn search(path: &Path, offset: u64, pattern: &MessagePattern) -> std::io::Result<Found> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let mut end = offset;
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut length = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)? as u64;
        let mut is_complete = line.last() == Some(&b'\n');
        if !is_complete && length == MAX_LINE {
            let skipped = reader.skip_until(b'\n')? as u64;
            length += skipped;
            // Whether the newline was reached does not matter: a match is in the part that was read.
            is_complete = skipped > 0;
        }
        if pattern.matches(&line) && is_complete {
            return Ok(Found::Match);
        }
        if !is_complete {
            return Ok(Found::End(end));
        }
        end += length;
    }
}
