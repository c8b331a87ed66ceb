//! The names that users give to sessions, which Codex keeps in `session_index.jsonl` in its home.
//!
//! A line has an `id` and a `thread_name`. A session that is renamed gets another line (seen on 0.163 and 0.171).

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::files::regular::open_regular;

/// The maximum number of bytes that are read of a list of names.
const MAX_BYTES: u64 = 64 << 20;

/// The names of sessions by session id.
#[derive(Clone, Debug, Default)]
pub struct SessionNames(HashMap<String, String>);

#[derive(serde::Deserialize)]
struct Entry {
    id: String,
    thread_name: String,
}

impl SessionNames {
    /// Reads the names in a Codex home. Empty if the list is missing or unreadable. Damaged lines are skipped.
    #[must_use]
    pub fn in_home(home: &Path) -> Self {
        let mut text = Vec::new();
        if let Ok(file) = open_regular(&home.join("session_index.jsonl")) {
            // After an error, the lines before it are used.
            let _ = file.take(MAX_BYTES).read_to_end(&mut text);
        }
        let entries = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Entry>(line).ok());
        Self(entries.map(|entry| (entry.id, entry.thread_name)).collect())
    }

    /// Returns the latest name of a session. A blank name does not count.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(String::as_str).filter(|name| !name.trim().is_empty())
    }
}

/// Returns the Codex home that a file belongs to: the home that contains the file, or the home of the agent whose state
/// directory contains it.
pub(crate) fn home_of(file: &Path) -> Option<PathBuf> {
    let folders = || file.ancestors().skip(1);
    let of_agent = |folder: &Path| Some(folder.join("plugin/codex/home")).filter(|home| home.is_dir());
    let is_sessions = |folder: &&Path| folder.ends_with("sessions") || folder.ends_with("archived_sessions");
    let sessions = folders().find(is_sessions).and_then(Path::parent);
    sessions.map(Path::to_owned).or_else(|| folders().find_map(of_agent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_latest_name_counts_and_damaged_lines_do_not() {
        let home = tempfile::tempdir().expect("can be created");
        assert!(SessionNames::in_home(home.path()).get("1").is_none());
        let lines = concat!(
            "{\"id\":\"1\",\"thread_name\":\"first\",\"updated_at\":\"2026-12-01T01:39:48.6Z\"}\n",
            "{\"id\":\"1\",\"thread_\n[]\n\n",
            "{\"id\":\"2\",\"thread_name\":\"other \\\"one\\\"\"}\n",
            "{\"id\":\"1\",\"thread_name\":\"second\"}\n",
            "{\"id\":\"3\",\"thread_name\":\" \"}\n",
        );
        fs::write(home.path().join("session_index.jsonl"), lines).expect("can be written");
        let names = SessionNames::in_home(home.path());
        assert_eq!(names.get("1"), Some("second"));
        assert_eq!(names.get("2"), Some("other \"one\""));
        assert_eq!(names.get("3"), None);
    }

    #[test]
    fn the_home_of_a_file_is_found() {
        let state_dir = tempfile::tempdir().expect("can be created");
        let home = state_dir.path().join("plugin/codex/home");
        fs::create_dir_all(&home).expect("can be created");
        let of = |path: &str| home_of(&state_dir.path().join(path));
        assert_eq!(of("logs/codex_transcript/events.jsonl"), Some(home.clone()));
        assert_eq!(of("plugin/codex/home/sessions/2026/01/31/rollout.jsonl"), Some(home.clone()));
        assert_eq!(of("plugin/codex/home/archived_sessions/rollout.jsonl"), Some(home));
        assert_eq!(home_of(Path::new("/nowhere/rollout.jsonl")), None);
    }
}
