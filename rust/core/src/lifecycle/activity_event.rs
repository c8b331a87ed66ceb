//! mngr's activity events: one line for each change, in a file that all agents of a host share. `mngr observe` follows it,
//! and reads the state of the host's agents after each line.

use std::env;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use memchr::memmem;

use crate::clock::rfc3339_nanos;
use crate::event_log::event_id;
use crate::files::append;
use crate::files::file_error::FileError;
use crate::files::open;
use crate::rollout::ids::ThreadId;
use crate::state_dir::StateDir;

/// mngr's folder on the host of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostDir(PathBuf);

impl HostDir {
    /// Returns the folder of the host that an agent's state directory is in: `HOST/agents/ID`. For a state directory that is
    /// somewhere else, returns `MNGR_HOST_DIR`, if that is an absolute path. Returns `None` without that variable, or if
    /// `MNGR_AGENT_STATE_DIR` names another state directory: a shell of an agent can run a Codex that does not belong to
    /// mngr. A path that contains the id of the session is not an agent's either ([`session_dir`](super::session_dir)).
    pub(crate) fn of(dir: &StateDir, session: &ThreadId) -> Option<Self> {
        let (path, session) = (dir.path().as_os_str().as_bytes(), session.0.as_bytes());
        if !session.is_empty() && memmem::find(path, session).is_some() {
            return None;
        }
        Self::above(dir).or_else(|| {
            let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
            let is_agents = variable("MNGR_AGENT_STATE_DIR").is_none_or(|agent| agent == dir.path());
            variable("MNGR_HOST_DIR").filter(|host| is_agents && host.is_absolute()).map(Self)
        })
    }

    fn above(dir: &StateDir) -> Option<Self> {
        let agents = dir.path().parent().filter(|folder| folder.file_name().is_some_and(|name| name == "agents"))?;
        agents.parent().map(|host| Self(host.to_owned()))
    }

    /// Returns the path of the file.
    fn events(&self) -> PathBuf {
        self.0.join("events/mngr/activity/events.jsonl")
    }
}

/// Appends an event to the host's file.
///
/// # Errors
///
/// Returns an error if the file or its folders cannot be created or written.
pub(super) fn append(host: &HostDir) -> Result<(), FileError> {
    let path = host.events();
    append_line(&host.0, &path, line(SystemTime::now())).map_err(FileError::on("write", &path))
}

fn append_line(host: &Path, path: &Path, line: String) -> io::Result<()> {
    let file = open::open_or_create(&StateDir::new(host), path, open::options().read(true).append(true).create(true))?;
    append::append_line(&file, line.into_bytes())
}

fn line(now: SystemTime) -> String {
    format!(
        "{{\"source\":\"mngr/activity\",\"type\":\"activity\",\"event_id\":\"{}\",\"timestamp\":\"{}\"}}\n",
        event_id(now),
        rfc3339_nanos(now)
    )
}

#[cfg(test)]
mod tests;
