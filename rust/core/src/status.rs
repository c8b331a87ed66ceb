//! The sessions of this machine and their states: sessions whose hooks have a state directory of their own, and sessions of
//! mngr's agents.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::clock::{millis, now_millis, rfc3339_millis};
use crate::files::file_error::FileError;
use crate::follow::watcher::creation_of;
use crate::lifecycle::error::MarkerError;
use crate::lifecycle::marker;
use crate::lifecycle::report::Report;
use crate::lifecycle::session_dir::SessionRecord;
use crate::lifecycle::state::State;
use crate::lifecycle::timeline::Activity;
use crate::process::ProcessId;
use crate::state_dir::StateDir;
use crate::transcript::locate;
use crate::watch::Watched;

/// Where sessions are searched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateFolders {
    /// Folders that contain one state directory for each session. Missing ones are ignored.
    pub roots: Vec<PathBuf>,
    /// mngr's folder of agents, if they are included.
    pub agents: Option<PathBuf>,
    /// Codex's `hooks.json`, if it names some of these folders.
    pub hooks: Option<PathBuf>,
}

/// The state of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SessionState {
    /// Codex is working.
    Running,
    /// Codex waits for the user.
    Waiting,
    /// Codex runs, but no hook has reported anything.
    Unknown,
    /// The session has ended, or its process is gone.
    Ended,
}

/// A session. Serializes to the documented JSON object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionStatus {
    /// The id of the session, if it is known.
    pub session_id: Option<String>,
    /// The name of the agent, if it is mngr's.
    pub agent: Option<String>,
    /// Its state.
    pub state: SessionState,
    /// Why Codex waits: `PERMISSIONS`, `QUESTION` or `END_OF_TURN`.
    pub waiting_reason: Option<&'static str>,
    /// When the state began, in milliseconds since 1970. Serializes as ISO 8601.
    #[serde(serialize_with = "as_time")]
    pub since: Option<u64>,
    /// The folder of the session.
    pub cwd: Option<String>,
    /// The number of subagents in flight.
    pub subagents: usize,
    /// The state directory.
    #[serde(serialize_with = "as_text")]
    pub state_dir: PathBuf,
    /// The path of the rollout.
    pub transcript_path: Option<String>,
    /// The model of the latest turn, if a watcher has read it.
    pub model: Option<String>,
    /// The input tokens of the newest request since the last compaction, if a watcher has read them.
    pub context_tokens: Option<u64>,
    /// The process that runs the session, if it is known.
    #[serde(skip)]
    pub process: Option<ProcessId>,
    /// The files whose changes can change the state.
    #[serde(skip)]
    watched: Vec<Watched>,
}

impl SessionStatus {
    /// Returns the session as if it had just ended.
    #[must_use]
    pub fn ended_now(&self) -> Self {
        Self { state: SessionState::Ended, waiting_reason: None, since: Some(now_millis()), ..self.clone() }
    }
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the member")]
fn as_time<S: Serializer>(since: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    since.map(rfc3339_millis).serialize(serializer)
}

fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    path.to_string_lossy().serialize(serializer)
}

/// The sessions that were found, and what could not be read.
#[derive(Debug, Default)]
pub struct Listing {
    /// The running sessions, then the waiting ones, then the others; the newest state first.
    pub sessions: Vec<SessionStatus>,
    /// The state directories and folders that could not be read.
    pub problems: Vec<MarkerError>,
}

/// mngr's folder of agents on this machine, which need not exist.
#[must_use]
pub fn agents_folder() -> PathBuf {
    locate::host_dir().join("agents")
}

/// Returns the current time in milliseconds since 1970.
#[must_use]
pub fn now() -> u64 {
    now_millis()
}

/// Lists the sessions. The state of a session without a watcher is corrected by its rollout.
#[must_use]
pub fn list(searched: &StateFolders, includes_ended: bool) -> Listing {
    let mut listing = Listing::default();
    for (folder, are_agents) in searched.folders() {
        let dirs = match folders_in(folder) {
            Ok(dirs) => dirs,
            Err(error) => {
                listing.problems.push(error.into());
                continue;
            }
        };
        for dir in dirs.into_iter().map(StateDir::new) {
            match session(&dir, are_agents, includes_ended) {
                Ok(session) => listing.sessions.extend(session),
                Err(error) => listing.problems.push(error),
            }
        }
    }
    // An agent that also runs the hooks of the user is listed once. Agents come first here.
    let mut seen = HashSet::new();
    // Several agents can run the same session, because a clone begins with a copy.
    listing.sessions.retain(|session| {
        let is_first = session.session_id.as_ref().is_none_or(|id| seen.insert(id.clone()));
        is_first || session.agent.is_some()
    });
    listing.sessions.sort_by_key(|session| (session.state, std::cmp::Reverse(session.since)));
    listing
}

/// Returns the files and folders whose changes can change the list. Missing folders are watched for their creation.
#[must_use]
pub fn watched(searched: &StateFolders, sessions: &[SessionStatus]) -> Vec<Watched> {
    let folders = searched.folders().flat_map(|(folder, _)| {
        // A relative path has no folder above it.
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        creation_of(&folder).into_iter().chain([Watched::Names(folder, OsString::new())])
    });
    let hooks =
        searched.hooks.iter().flat_map(|file| creation_of(file).into_iter().chain([Watched::File(file.clone())]));
    let live = sessions.iter().filter(|session| session.state != SessionState::Ended);
    folders.chain(hooks).chain(live.flat_map(|session| session.watched.iter().cloned())).collect()
}

impl StateFolders {
    /// Returns the folders to search, and whether they contain agents.
    fn folders(&self) -> impl Iterator<Item = (&Path, bool)> {
        let agents = self.agents.iter().map(|folder| (folder.as_path(), true));
        agents.chain(self.roots.iter().map(|folder| (folder.as_path(), false)))
    }
}

fn folders_in(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(FileError::on("list", folder)(error)),
    };
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
}

/// Returns the session of a state directory; `None` if the folder is not a state directory, or if the session has ended and
/// `includes_ended` is false.
fn session(dir: &StateDir, is_agent: bool, includes_ended: bool) -> Result<Option<SessionStatus>, MarkerError> {
    if !dir.lifecycle().exists() {
        return Ok(None);
    }
    let record = SessionRecord::read(dir).unwrap_or_default();
    let is_gone = match record.process {
        Some(process) => !process.is_running(),
        // The watcher of an agent records its process.
        None => is_agent,
    };
    let has_ended = record.ended_at.is_some() || is_gone;
    if has_ended && !includes_ended {
        return Ok(None);
    }
    let state = if is_agent {
        // Its watcher corrects the state, after it has copied the rollout.
        marker::read(dir)?
    } else {
        // A directory that this user cannot write, for example of another user, can still be read.
        marker::refresh(dir).or_else(|_| marker::read(dir))?
    };
    let report = Report::new(&state, dir);
    let shown = match report.state {
        _ if has_ended => SessionState::Ended,
        "RUNNING" => SessionState::Running,
        "WAITING" => SessionState::Waiting,
        _ => SessionState::Unknown,
    };
    let (agent, work_dir) = if is_agent { locate::name_and_folder(dir.path()) } else { (None, None) };
    let timeline = state.timeline();
    let since = Some(timeline.since).filter(|since| *since > 0);
    let since = match shown {
        SessionState::Ended if timeline.activity != Activity::Ended => {
            record.ended_at.or_else(|| modified(Path::new(&state.root.rollout)))
        }
        _ => since,
    };
    Ok(Some(SessionStatus {
        session_id: report.session_id,
        agent,
        state: shown,
        waiting_reason: report.waiting_reason.filter(|_| !has_ended),
        since: since.or_else(|| modified(&dir.session_record())),
        cwd: record.folder.or(work_dir),
        subagents: state.in_flight().count(),
        state_dir: dir.path().to_owned(),
        transcript_path: Some(state.root.rollout.clone()).filter(|path| !path.is_empty()),
        model: state.facts().model.clone(),
        context_tokens: state.facts().context.map(|context| context.tokens),
        process: record.process,
        watched: watched_of(dir, &state),
    }))
}

fn modified(path: &Path) -> Option<u64> {
    path.metadata().and_then(|metadata| metadata.modified()).ok().map(millis)
}

/// Returns the files that hooks and Codex write.
fn watched_of(dir: &StateDir, state: &State) -> Vec<Watched> {
    let name = dir.session_record().file_name().map(OsString::from).unwrap_or_default();
    let markers = [Watched::Names(dir.path().to_owned(), OsString::new()), Watched::Names(dir.own(), name)];
    let threads = std::iter::once(&state.root).chain(state.in_flight().map(|subagent| &subagent.thread));
    let rollouts = threads.map(|thread| Path::new(&thread.rollout)).filter(|path| !path.as_os_str().is_empty());
    let changes = |path: &Path| creation_of(path).into_iter().chain([Watched::File(path.to_owned())]);
    markers.into_iter().chain(rollouts.flat_map(changes)).collect()
}

#[cfg(test)]
mod tests;
