//! The list of the agent's rollouts, which hooks write: one absolute path per line, in the order in which the rollouts
//! became current.

use std::io;
use std::path::{Path, PathBuf};

use super::error::FollowError;
use crate::files::file_error::FileError;
use crate::files::regular::read_regular;
use crate::state_dir::StateDir;

/// An entry of the list.
pub(super) struct ListEntry {
    /// The rollout's path.
    pub(crate) path: String,
    /// The offset after the entry's newline; `None` if it has none, because it is still being written.
    pub(crate) end: Option<u64>,
}

/// Returns the entries after the first `listed` bytes of the list.
///
/// # Errors
///
/// Returns [`FollowError::File`] if the list exists but cannot be read.
pub(super) fn new_entries(dir: &StateDir, listed: u64) -> Result<Vec<ListEntry>, FollowError> {
    let path = dir.transcript_paths();
    let list = match read_regular(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Earlier versions of the plugin wrote only the path of the current rollout.
            let current = read_regular(&dir.transcript_path()).unwrap_or_default();
            let entry = entries(&current, 0).next().map(|entry| ListEntry { end: None, ..entry });
            return Ok(entry.into_iter().collect());
        }
        list => list.map_err(FileError::on("read", &path))?,
    };
    let listed = usize::try_from(listed).unwrap_or(usize::MAX);
    // A list that has become shorter was rewritten.
    let from = if listed <= list.len() { listed } else { 0 };
    Ok(entries(&list, from).collect())
}

/// Returns the paths in the list, followed by the path of the current rollout; each once.
pub(super) fn all_paths(dir: &StateDir) -> Vec<String> {
    let list = read_regular(&dir.transcript_paths()).unwrap_or_default();
    let current = read_regular(&dir.transcript_path()).unwrap_or_default();
    let mut paths: Vec<String> = Vec::new();
    for ListEntry { path, .. } in entries(&list, 0).chain(entries(&current, 0)) {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

/// Returns a file that begins like the current rollout of the agent with this common transcript: that rollout, or the raw
/// transcript if it is gone. Returns `None` for transcripts that are not in the state directory of a Codex agent.
#[must_use]
pub fn rollout_of_transcript(common: &Path) -> Option<PathBuf> {
    let dir = StateDir::of_common_transcript(common)?;
    current_rollout(&dir).or_else(|| Some(dir.raw_transcript()).filter(|path| path.is_file()))
}

/// Returns the current rollout that the hooks have recorded in a state directory, if the file exists.
pub(crate) fn current_rollout(dir: &StateDir) -> Option<PathBuf> {
    let current = read_regular(&dir.transcript_path()).unwrap_or_default();
    let rollout = entries(&current, 0).next().map(|entry| PathBuf::from(entry.path));
    rollout.filter(|path| path.is_file())
}

/// Returns the entries of `list` from the offset `from`. Lines that are not absolute paths are ignored.
fn entries(list: &[u8], from: usize) -> impl Iterator<Item = ListEntry> {
    let mut end = from;
    let lines = list[from..].split_inclusive(|byte| *byte == b'\n');
    lines.filter_map(move |line| {
        end += line.len();
        let complete = line.strip_suffix(b"\n");
        let path = std::str::from_utf8(complete.unwrap_or(line)).ok()?;
        let end = complete.map(|_| end as u64);
        path.starts_with('/').then(|| ListEntry { path: path.to_owned(), end })
    })
}
