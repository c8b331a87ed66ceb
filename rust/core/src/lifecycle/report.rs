//! The state as people and programs read it.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::rollout::ids::Name;
use crate::state_dir::StateDir;

use super::state::{Evidence, Phase, Sign, Source, State, Thread};

/// What `marker show` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `RUNNING` or `WAITING`.
    pub state: &'static str,
    /// Whether the file `active` is there; differs from `state` only where a hook was killed, until the next.
    pub is_marker_there: bool,
    /// Whether codex waits for an approval.
    pub is_permission_awaited: bool,
    /// The root's session.
    pub session_id: Option<String>,
    /// The root's turn.
    pub root: Option<Turn>,
    /// The subagents in flight.
    pub subagents: Vec<Turn>,
}

/// A thread's latest turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Turn {
    /// The subagent's id; none for the root.
    pub agent_id: Option<String>,
    /// The turn's id.
    pub turn_id: Option<String>,
    /// `open`, `stopped` (would end, unless a hook blocks that) or `over`.
    pub phase: &'static str,
    /// Since when it is so, in ISO 8601.
    pub since: Option<String>,
    /// What told so.
    pub evidence: Option<String>,
    /// The thread's rollout.
    pub transcript_path: Option<String>,
    /// Whether that is there; codex may have compressed it.
    pub is_transcript_there: bool,
}

impl Report {
    /// Reads it off a state.
    #[must_use]
    pub fn new(state: &State, dir: &StateDir) -> Self {
        Self {
            state: if state.is_active() { "RUNNING" } else { "WAITING" },
            is_marker_there: dir.active().exists(),
            is_permission_awaited: state.is_asking(),
            session_id: text(&state.session.0),
            root: (state.root.phase != Phase::None).then(|| Turn::new(None, &state.root)),
            subagents: state.in_flight().map(|subagent| Turn::new(text(&subagent.id.0), &subagent.thread)).collect(),
        }
    }

    /// One JSON object and an end of line.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

impl Turn {
    fn new(agent_id: Option<String>, thread: &Thread) -> Self {
        Self {
            agent_id,
            turn_id: text(&thread.turn.0),
            phase: match thread.phase {
                Phase::None => "none",
                Phase::Open => "open",
                Phase::Stopped { .. } => "stopped",
                Phase::Over => "over",
            },
            since: thread.evidence.map(|evidence| {
                humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(evidence.at)).to_string()
            }),
            evidence: thread.evidence.map(|evidence| evidence.to_string()),
            transcript_path: (!thread.rollout.is_empty()).then(|| thread.rollout.clone()),
            is_transcript_there: is_there(&thread.rollout),
        }
    }
}

/// Whether a rollout is there, compressed or not; also where it cannot be known.
fn is_there(rollout: &str) -> bool {
    [rollout.to_owned(), format!("{rollout}.zst")].iter().any(|path| std::fs::exists(path).unwrap_or(true))
}

/// An id as text; none where it is empty.
fn text(name: &Name) -> Option<String> {
    (!name.is_empty()).then(|| String::from_utf8_lossy(name.as_bytes()).into_owned())
}

impl fmt::Display for Evidence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.sign {
            Sign::Prompted => "it was prompted",
            Sign::Began => "it began",
            Sign::Lives => "it goes on",
            Sign::Asks => "it asks for an approval",
            Sign::Stops { .. } => "it stopped",
            Sign::Ended => "it is over",
            Sign::Named { .. } => "it has more lines",
            Sign::RolledBack => "it was taken back",
        };
        let source = match self.source {
            Source::Hook => "a hook",
            Source::Rollout => "the rollout",
        };
        write!(formatter, "{source} says that {sign}")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.state)?;
        if self.is_marker_there != (self.state == "RUNNING") {
            let there = if self.is_marker_there { "there" } else { "not there" };
            writeln!(formatter, "  the file `active` is {there}: `mngr-codex marker recompute` mends it")?;
        }
        if self.is_permission_awaited {
            writeln!(formatter, "  codex waits for an approval")?;
        }
        if let Some(session) = &self.session_id {
            writeln!(formatter, "  session {session}")?;
        }
        for (name, turn) in
            self.root.iter().map(|turn| ("root", turn)).chain(self.subagents.iter().map(|it| ("subagent", it)))
        {
            write!(formatter, "  {name}")?;
            if let Some(id) = &turn.agent_id {
                write!(formatter, " {id}")?;
            }
            writeln!(formatter, ": turn {} {}", turn.turn_id.as_deref().unwrap_or("without id"), turn.phase)?;
            if let (Some(since), Some(evidence)) = (&turn.since, &turn.evidence) {
                writeln!(formatter, "    since {since}: {evidence}")?;
            }
            if let Some(path) = &turn.transcript_path {
                let note = if turn.is_transcript_there { "" } else { " (not there: hooks alone count)" };
                writeln!(formatter, "    rollout {path}{note}")?;
            }
        }
        Ok(())
    }
}
