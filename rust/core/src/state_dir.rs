//! The paths in an agent's state directory. mngr and other programs read these files, so the names must not change.

use std::path::{Path, PathBuf};

/// An agent's state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// Returns the state directory at `path`, which need not exist.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Returns the state directory with this common transcript. Returns `None` if the file is not where an agent's is.
    #[must_use]
    pub(crate) fn of_common_transcript(path: &Path) -> Option<Self> {
        // events/codex/common_transcript/events.jsonl
        let dir = Self::new(path.ancestors().nth(4)?);
        (dir.common_transcript() == path).then_some(dir)
    }

    /// Returns the path of the directory.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the path of an empty file that exists while the agent is running.
    #[must_use]
    pub(crate) fn active(&self) -> PathBuf {
        self.0.join("active")
    }

    /// Returns the path of a file that exists during a root turn and names its session and turn.
    #[must_use]
    pub(crate) fn root_active(&self) -> PathBuf {
        self.0.join("codex_root_active")
    }

    /// Returns the path of a folder with one file for each subagent in flight.
    #[must_use]
    pub(crate) fn subagents(&self) -> PathBuf {
        self.0.join("codex_subagents")
    }

    /// Returns the path of an empty file that exists while Codex waits for an approval.
    #[must_use]
    pub(crate) fn permissions_waiting(&self) -> PathBuf {
        self.0.join("permissions_waiting")
    }

    /// Returns the path of the marker of a question, other than an approval.
    pub(crate) fn question_waiting(&self) -> PathBuf {
        self.0.join("question_waiting")
    }

    /// Returns the path of the file with the root's session id.
    #[must_use]
    pub(crate) fn root_session(&self) -> PathBuf {
        self.0.join("codex_root_session")
    }

    /// Returns the path of the file with the path of the root's current rollout.
    #[must_use]
    pub(crate) fn transcript_path(&self) -> PathBuf {
        self.0.join("codex_transcript_path")
    }

    /// Returns the path of the file with the paths of all root rollouts, in the order in which they became current.
    #[must_use]
    pub(crate) fn transcript_paths(&self) -> PathBuf {
        self.0.join("codex_transcript_paths")
    }

    /// Returns the path of the log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.0.join("events/logs/mngr_codex/events.jsonl")
    }

    /// Returns the path of the previous log. A full log is renamed to it.
    #[must_use]
    pub(crate) fn previous_log(&self) -> PathBuf {
        self.0.join("events/logs/mngr_codex/events.jsonl.1")
    }

    /// Returns the path of the raw transcript, which holds the bytes of the root's rollouts.
    #[must_use]
    pub fn raw_transcript(&self) -> PathBuf {
        self.0.join("logs/codex_transcript/events.jsonl")
    }

    /// Returns the path of the common transcript.
    #[must_use]
    pub(crate) fn common_transcript(&self) -> PathBuf {
        self.0.join("events/codex/common_transcript/events.jsonl")
    }

    /// Returns the path of the file with the positions up to which rollouts were copied. The copying process locks it.
    #[must_use]
    pub(crate) fn following(&self) -> PathBuf {
        self.own().join("following")
    }

    /// Returns the path of the file that processes lock while they wait for the lock on [`Self::following`].
    #[must_use]
    pub(crate) fn following_queue(&self) -> PathBuf {
        self.own().join("following.queue")
    }

    /// Returns the path of a file whose existence disables the common transcript.
    #[must_use]
    pub(crate) fn raw_only(&self) -> PathBuf {
        self.own().join("raw_only")
    }

    /// Returns the path of mngr's usage events.
    #[must_use]
    pub(crate) fn usage_events(&self) -> PathBuf {
        self.0.join("events/codex/usage/events.jsonl")
    }

    /// Returns the path of the file with the positions up to which rollouts were measured. The measuring process locks it.
    #[must_use]
    pub(crate) fn usage(&self) -> PathBuf {
        self.own().join("usage")
    }

    /// Returns the path of the file that processes lock while they wait for the lock on [`Self::usage`].
    #[must_use]
    pub(crate) fn usage_queue(&self) -> PathBuf {
        self.own().join("usage.queue")
    }

    /// Returns the path of the file with the tokens that other agents have used in this agent's sessions.
    #[must_use]
    pub(crate) fn inherited(&self) -> PathBuf {
        self.own().join("inherited")
    }

    /// Returns the path of the agent's own Codex home. Agents of mngr have one.
    #[must_use]
    pub(crate) fn codex_home(&self) -> PathBuf {
        self.0.join("plugin/codex/home")
    }

    /// Returns the path of the file with the agent's state and what is known about its session.
    #[must_use]
    pub(crate) fn status(&self) -> PathBuf {
        self.0.join("plugin/codex/status.json")
    }

    /// Returns the path of a file that is touched while the agent is working.
    #[must_use]
    pub(crate) fn activity(&self) -> PathBuf {
        self.0.join("activity/agent")
    }

    /// Returns the path of the file with the root's messages as text.
    #[must_use]
    pub(crate) fn live_output(&self) -> PathBuf {
        self.0.join("plugin/codex/live_output")
    }

    /// Returns the path of the file with the time from which messages are live output. Writers of live output lock it.
    #[must_use]
    pub(crate) fn live_since(&self) -> PathBuf {
        self.own().join("live_since")
    }

    /// Returns the path of the folder that is private to this program.
    #[must_use]
    pub(crate) fn own(&self) -> PathBuf {
        self.0.join("plugin/mngr_codex")
    }

    /// Returns the path of the file that names the process of the session.
    #[must_use]
    pub(crate) fn session_record(&self) -> PathBuf {
        self.own().join("session.json")
    }

    /// Returns the path of the lifecycle state, which is also the lifecycle lock.
    #[must_use]
    pub(crate) fn lifecycle(&self) -> PathBuf {
        self.own().join("lifecycle")
    }

    /// Returns the path of a folder with one file for each hook run that could not acquire the lifecycle lock.
    #[must_use]
    pub(crate) fn lifecycle_pending(&self) -> PathBuf {
        self.own().join("lifecycle.pending")
    }

    /// Returns the path of the folder with one record for each message that was sent.
    #[must_use]
    pub(crate) fn messages(&self) -> PathBuf {
        self.own().join("messages")
    }

    /// Returns the path of a file that is created when Codex is started. The plugin removes it before that.
    #[must_use]
    pub fn started(&self) -> PathBuf {
        self.0.join("plugin/codex/started")
    }

    /// Returns the path of the temporary file for marker files: it is written, then renamed.
    #[must_use]
    pub(crate) fn unfinished(&self) -> PathBuf {
        self.own().join("unfinished")
    }
}
