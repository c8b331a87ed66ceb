//! `TARGET` of the commands that read a session: a path, standard input, an agent, a session, or one that the user chooses.

mod chooser;
mod session_list;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::ValueHint;
use mngr_codex_core::{Place, PlaceError, Places, Session, escaped_path, find_place, latest_session, newest_sessions};

use session_list::SessionList;

/// The arguments that name what a command reads.
#[derive(clap::Args)]
pub(crate) struct TargetArguments {
    /// A rollout (.jsonl or .jsonl.zst), a common transcript, or a state directory; `-` for standard input; `latest`; the
    /// name or id of an agent on this machine; or a session id or its beginning [default: choose from a list]
    target: Option<PathBuf>,

    /// With `latest` or without TARGET: only sessions that were started in DIR [default of DIR: .]
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = ".", value_hint = ValueHint::DirPath, help_heading = "Sessions")]
    cwd: Option<PathBuf>,

    /// Search sessions in this Codex home (repeatable) instead of `$CODEX_HOME` or ~/.codex
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Sessions")]
    codex_home: Vec<PathBuf>,

    /// With `latest` or without TARGET: also sessions of mngr's agents on this machine
    #[arg(long, help_heading = "Sessions")]
    agents: bool,
}

/// What a command reads.
pub(crate) enum Source {
    StandardInput,
    Place(Place),
}

/// Why there is nothing to read.
pub(crate) enum Unresolved {
    /// The arguments are wrong.
    Usage(String),
    /// An error message for the user.
    Failed(String),
}

/// The number of sessions from which the user chooses.
const LISTED: usize = 50;

impl TargetArguments {
    /// Returns the target as the user wrote it.
    pub(crate) fn given(&self) -> Option<&Path> {
        self.target.as_deref()
    }

    /// Finds what the arguments name. Without TARGET on a terminal, the user chooses. `command` is the name of the command.
    pub(crate) fn resolve(&self, command: &str) -> Result<Source, Unresolved> {
        let target = self.target.as_deref();
        let is_latest = target == Some(Path::new("latest")) && !Path::new("latest").is_file();
        if target.is_some() && !is_latest && (self.cwd.is_some() || self.agents) {
            let option = if self.cwd.is_some() { "--cwd" } else { "--agents" };
            let hint = format!("`mngr-codex {command} latest {option}` reads the latest of these sessions");
            return Err(Unresolved::Usage(format!("{option} needs `latest`, or no TARGET\nhint: {hint}")));
        }
        if target == Some(Path::new("-")) {
            return Ok(Source::StandardInput);
        }
        let cwd = self.cwd.as_deref().map(existing_folder).transpose()?;
        // The chooser is drawn on standard error.
        if target.is_none() && !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Err(Unresolved::Usage(
                "no TARGET given\nhint: pass a rollout, the name of an agent, a session id, or `latest`; without TARGET, a \
                 terminal shows a list to choose from"
                    .to_owned(),
            ));
        }
        let places = self.places()?;
        let fail = |error: PlaceError| Unresolved::Failed(explain(&error));
        let place = match target {
            Some(_) if is_latest => Place::Session(latest_session(&places, cwd.as_deref()).map_err(fail)?),
            Some(target) => find_place(target, &places).map_err(fail)?,
            None => Place::Session(choose(&places, cwd.as_deref())?),
        };
        Ok(Source::Place(place))
    }

    fn places(&self) -> Result<Places, Unresolved> {
        let homes = self.codex_home.iter().map(|home| existing_folder(home)).collect::<Result<_, _>>()?;
        let places = Places::new(homes);
        Ok(if self.agents { places.including_agents() } else { places })
    }
}

/// Returns the absolute path of a folder that the user named.
fn existing_folder(folder: &Path) -> Result<PathBuf, Unresolved> {
    let failed = |reason: String| Unresolved::Failed(format!("cannot read {}: {reason}", escaped_path(folder)));
    match folder.canonicalize() {
        Ok(path) if path.is_dir() => Ok(path),
        Ok(_) => Err(failed("it is not a folder".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(failed("no such folder".to_owned())),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Lets the user choose one of the newest sessions.
fn choose(places: &Places, cwd: Option<&Path>) -> Result<Session, Unresolved> {
    let failed = |error: &PlaceError| Unresolved::Failed(explain(error));
    let mut newest = newest_sessions(places, cwd, LISTED).map_err(|error| failed(&error.into()))?;
    if newest.is_empty() {
        let cwd = cwd.map(Path::to_owned);
        return Err(failed(&PlaceError::NoSession { homes: places.homes.clone(), cwd }));
    }
    match chooser::choose(&SessionList::of(&newest)) {
        Ok(Some(chosen)) => Ok(newest.swap_remove(chosen)),
        Ok(None) => Err(Unresolved::Failed("no session was chosen".to_owned())),
        Err(error) => Err(Unresolved::Failed(format!("cannot show the list of sessions: {error}"))),
    }
}

/// Returns a note if a session has earlier rollouts, which are not read.
pub(crate) fn note_earlier(place: &Place) -> Option<String> {
    let Place::Session(Session { id, path, earlier, .. }) = place else { return None };
    let last = escaped_path(earlier.last()?);
    Some(format!(
        "session {id} has {} rollouts, because the user went back in the conversation; this is the current one, {}\n\
         hint: the one before it is {last}",
        earlier.len() + 1,
        escaped_path(path),
    ))
}

/// Describes why nothing, or nothing definite, was found, and the way out.
fn explain(error: &PlaceError) -> String {
    /// The number of sessions that are listed if the beginning of an id is ambiguous.
    const CANDIDATES: usize = 10;
    let mut lines = vec![error.to_string()];
    let hint = match error {
        PlaceError::NotFound { unreadable, .. } => {
            lines.extend(unreadable.iter().map(ToString::to_string));
            "`mngr-codex transcript` lists the newest sessions on a terminal; `mngr list` shows all agents, and \
             `mngr transcript NAME --format jsonl` the transcript of one on another host"
        }
        PlaceError::SeveralAgents { .. } => "pass the id or the folder of one of them",
        PlaceError::SeveralSessions { sessions, .. } => {
            let shown = &sessions[..sessions.len().min(CANDIDATES)];
            lines.extend(SessionList::of(shown).with_ids().map(|line| format!("  {line}")));
            if sessions.len() > shown.len() {
                lines.push(format!("  and {} more", sessions.len() - shown.len()));
            }
            "give more of the id"
        }
        PlaceError::Diverged { .. } => "pass the path of one of them",
        PlaceError::NoSession { .. } => {
            "--codex-home DIR searches another Codex home; --agents adds the sessions of mngr's agents"
        }
        PlaceError::File(_) => return error.to_string(),
    };
    lines.push(format!("hint: {hint}"));
    lines.join("\n")
}
