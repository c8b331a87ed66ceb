//! Finding the rollout of a subagent that no hook has named.

use std::path::{Path, PathBuf};

use crate::rollout::ids::ThreadId;

/// The number of days after the root's that are searched.
const MAX_DAYS: usize = 31;

/// Finds the rollout of `thread`. Its name ends in the thread's id, and it is in the folder of the root's day or of a later
/// one. `root` is the path of the root's rollout.
pub(super) fn find(root: &str, thread: &ThreadId) -> Option<String> {
    let day = Path::new(root).parent()?;
    let sessions = day.ancestors().nth(3)?;
    let ending = format!("-{}.jsonl", String::from_utf8_lossy(thread.0.as_bytes()));
    let in_folder = |folder: &Path| -> Option<PathBuf> {
        let mut entries = std::fs::read_dir(folder).ok()?.flatten();
        entries.find(|entry| entry.file_name().to_string_lossy().ends_with(&ending)).map(|entry| entry.path())
    };
    let found = in_folder(day).or_else(|| {
        let later = days(sessions).into_iter().filter(|other| other.as_path() > day);
        later.take(MAX_DAYS).find_map(|folder| in_folder(&folder))
    });
    found.and_then(|path| path.into_os_string().into_string().ok())
}

/// Returns the folders `YYYY/MM/DD` of a `sessions` folder, in order.
fn days(sessions: &Path) -> Vec<PathBuf> {
    let children = |folder: &PathBuf| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    };
    let mut days = vec![sessions.to_path_buf()];
    for _ in 0..3 {
        days = days.iter().flat_map(children).collect();
    }
    days.sort();
    days
}
