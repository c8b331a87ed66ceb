//! The one list of paths in an agent's state dir. Names are fixed: mngr and other programs read them.

use std::path::{Path, PathBuf};

/// An agent's state dir.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The state dir at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Empty; exists while the agent is at work.
    #[must_use]
    pub fn active(&self) -> PathBuf {
        self.0.join("active")
    }

    /// Exists while a root turn goes on; names its session and turn.
    #[must_use]
    pub fn root_active(&self) -> PathBuf {
        self.0.join("codex_root_active")
    }

    /// Holds one file for each subagent in flight.
    #[must_use]
    pub fn subagents(&self) -> PathBuf {
        self.0.join("codex_subagents")
    }

    /// Exists while codex waits for an approval.
    #[must_use]
    pub fn permissions_waiting(&self) -> PathBuf {
        self.0.join("permissions_waiting")
    }

    /// The root's session id.
    #[must_use]
    pub fn root_session(&self) -> PathBuf {
        self.0.join("codex_root_session")
    }

    /// The path of the root's present rollout.
    #[must_use]
    pub fn transcript_path(&self) -> PathBuf {
        self.0.join("codex_transcript_path")
    }

    /// The paths of all root rollouts, in the order in which they became current.
    #[must_use]
    pub fn transcript_paths(&self) -> PathBuf {
        self.0.join("codex_transcript_paths")
    }

    /// What went wrong or was decided, as mngr logs events.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.0.join("events/logs/mngr_codex/events.jsonl")
    }

    /// The raw transcript: the bytes of the root's rollouts.
    #[must_use]
    pub fn raw_transcript(&self) -> PathBuf {
        self.0.join("logs/codex_transcript/events.jsonl")
    }

    /// The common transcript.
    #[must_use]
    pub fn common_transcript(&self) -> PathBuf {
        self.0.join("events/codex/common_transcript/events.jsonl")
    }

    /// How far the rollouts were followed, and the lock of who follows them.
    #[must_use]
    pub fn following(&self) -> PathBuf {
        self.own().join("following")
    }

    /// The lock of who waits for that lock.
    #[must_use]
    pub fn following_queue(&self) -> PathBuf {
        self.own().join("following.queue")
    }

    /// Where this is there no common transcript is made.
    #[must_use]
    pub fn raw_only(&self) -> PathBuf {
        self.own().join("raw_only")
    }

    /// What is ours alone.
    #[must_use]
    pub fn own(&self) -> PathBuf {
        self.0.join("plugin/mngr_codex")
    }

    /// The lifecycle's state, and its lock.
    #[must_use]
    pub fn lifecycle(&self) -> PathBuf {
        self.own().join("lifecycle")
    }

    /// Holds one file for each event whose hook could not get the lock in time.
    #[must_use]
    pub fn lifecycle_pending(&self) -> PathBuf {
        self.own().join("lifecycle.pending")
    }

    /// A file on its way to its place.
    #[must_use]
    pub fn unfinished(&self) -> PathBuf {
        self.own().join("unfinished")
    }
}
