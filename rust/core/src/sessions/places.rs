//! The Codex homes of a machine.

use std::env;
use std::path::PathBuf;

use crate::transcript::locate::{folders_in, host_dir};

/// The folders in which sessions and agents are searched.
#[derive(Clone, Debug)]
pub struct Places {
    /// The Codex homes of the user, in which the newest sessions are searched.
    pub homes: Vec<PathBuf>,
    /// The Codex homes of mngr's agents on this machine, destroyed ones included. They are searched for ids only.
    pub agent_homes: Vec<PathBuf>,
    /// mngr's folder.
    pub host: PathBuf,
}

impl Places {
    /// Returns the Codex homes that the user names. If there are none, these are `$CODEX_HOME`, else `~/.codex`, and the
    /// homes of mngr's agents.
    #[must_use]
    pub fn new(homes: Vec<PathBuf>) -> Self {
        let host = host_dir();
        if !homes.is_empty() {
            return Self { homes, agent_homes: Vec::new(), host };
        }
        let own = codex_home().unwrap_or_else(|| PathBuf::from(".codex"));
        let mut places = Self { homes: vec![own], agent_homes: Vec::new(), host };
        places.agent_homes = places.homes_of_agents();
        places
    }

    /// Searches the newest sessions in the homes of mngr's agents too.
    #[must_use]
    pub fn including_agents(mut self) -> Self {
        let agents = if self.agent_homes.is_empty() { self.homes_of_agents() } else { self.agent_homes };
        self.agent_homes = Vec::new();
        self.homes.extend(agents);
        self
    }

    /// Returns the Codex homes in the state directories of agents and in the copies that mngr keeps of destroyed ones.
    fn homes_of_agents(&self) -> Vec<PathBuf> {
        let own: Vec<_> = self.homes.iter().filter_map(|home| home.canonicalize().ok()).collect();
        let folders = ["agents", "preserved"].into_iter().flat_map(|kind| folders_in(&self.host.join(kind)));
        let homes = folders.map(|folder| folder.join("plugin/codex/home"));
        // `$CODEX_HOME` can be the home of an agent.
        homes.filter(|home| home.canonicalize().is_ok_and(|home| !own.contains(&home))).collect()
    }
}

/// Returns the home of the user's Codex: `$CODEX_HOME`, else `~/.codex`. Returns `None` if neither variable is set.
#[must_use]
pub fn codex_home() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("CODEX_HOME").or_else(|| Some(set("HOME")?.join(".codex")))
}
