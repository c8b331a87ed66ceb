//! A report of the state for users and other programs.

use serde::Serialize;

use crate::clock::rfc3339_millis;
use crate::rollout::ids::Name;
use crate::state_dir::StateDir;

use super::state::{Evidence, Phase, RequestKind, Signal, SignalSource, State, Thread};

/// The state of an agent, with its reasons. Serializes to the documented JSON object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `RUNNING`, `WAITING`, or `UNKNOWN` if no hook has run for this agent and it was never reset.
    pub state: &'static str,
    /// Why the agent waits: `PERMISSIONS` (Codex asks for an approval), `QUESTION` (Codex asks something else) or
    /// `END_OF_TURN`. `None` if it is running or unknown.
    pub waiting_reason: Option<&'static str>,
    /// Whether the file `active` exists.
    pub is_marker_there: bool,
    /// Whether the file `active` should exist. It does, except after a hook was killed, until the next hook.
    #[serde(skip)]
    pub is_marker_expected: bool,
    /// Whether Codex waits for an approval.
    pub is_permission_awaited: bool,
    /// The id of the root's session.
    pub session_id: Option<String>,
    /// The root's turn.
    pub root: Option<Turn>,
    /// The turns of the subagents in flight.
    pub subagents: Vec<Turn>,
}

/// The latest turn of a thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Turn {
    /// The subagent's id, or `None` for the root.
    pub agent_id: Option<String>,
    /// The turn's id.
    pub turn_id: Option<String>,
    /// `open`, `stopped` (about to end, unless a hook blocks that) or `over`.
    pub phase: &'static str,
    /// The time at which the phase began, in ISO 8601.
    pub since: Option<String>,
    /// The signal that led to the phase, such as `hook: prompt submitted`.
    pub evidence: Option<String>,
    /// The path of the thread's rollout.
    pub transcript_path: Option<String>,
    /// Whether the rollout exists, compressed or not.
    pub is_transcript_there: bool,
}

impl Report {
    /// Returns the report of a state.
    #[must_use]
    pub fn new(state: &State, dir: &StateDir) -> Self {
        let request = state.request();
        let waiting_reason = match request {
            Some(RequestKind::Approval) => Some("PERMISSIONS"),
            Some(RequestKind::Question) => Some("QUESTION"),
            None if state.is_in_turn() || !state.is_known() => None,
            None => Some("END_OF_TURN"),
        };
        Self {
            state: match waiting_reason {
                Some(_) => "WAITING",
                None if state.is_known() => "RUNNING",
                None => "UNKNOWN",
            },
            waiting_reason,
            is_marker_there: dir.active().exists(),
            is_marker_expected: state.is_active(),
            is_permission_awaited: request == Some(RequestKind::Approval),
            session_id: text(&state.session.0),
            root: (state.root.phase != Phase::None).then(|| Turn::new(None, &state.root)),
            subagents: state.in_flight().map(|subagent| Turn::new(text(&subagent.id.0), &subagent.thread)).collect(),
        }
    }

    /// Returns whether anything is known about the agent. Nothing is known before its first hook, unless it was reset.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.state != "UNKNOWN"
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
            since: thread.evidence.map(|evidence| rfc3339_millis(evidence.at)),
            evidence: thread.evidence.map(description),
            transcript_path: (!thread.rollout.is_empty()).then(|| thread.rollout.clone()),
            is_transcript_there: exists(&thread.rollout),
        }
    }
}

/// Returns whether a rollout exists, compressed or not, or whether that cannot be determined.
fn exists(rollout: &str) -> bool {
    [rollout.to_owned(), format!("{rollout}.zst")].iter().any(|path| std::fs::exists(path).unwrap_or(true))
}

/// Returns an id as text, or `None` if it is empty.
pub(super) fn text(name: &Name) -> Option<String> {
    (!name.is_empty()).then(|| String::from_utf8_lossy(name.as_bytes()).into_owned())
}

fn description(evidence: Evidence) -> String {
    let source = match evidence.source {
        SignalSource::Hook => "hook",
        SignalSource::Rollout => "rollout",
    };
    let signal = match evidence.signal {
        Signal::Prompted => "prompt submitted",
        Signal::Began => "turn began",
        Signal::SignOfLife => "turn is running",
        Signal::AskedForApproval { .. } => "approval requested",
        Signal::AskedQuestion { .. } | Signal::QuestionRead { .. } => "question asked",
        Signal::OutputRead { .. } => "call finished",
        Signal::Compacting { .. } => "compaction began",
        Signal::Compacted { .. } | Signal::CompactionRead => "compacted",
        Signal::PromptRead => "prompt read",
        Signal::SessionEnded { .. } => "session ended",
        Signal::Stopped { .. } => "turn stopped",
        Signal::Ended => "turn ended",
        Signal::Named { .. } => "more lines of the turn",
        Signal::RolledBack => "turn rolled back",
    };
    format!("{source}: {signal}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_no_clock_should_show_is_reported_without_a_panic() {
        let (source, signal) = (SignalSource::Hook, Signal::Ended);
        for (at, since) in [(0, "1970-01-01T00:00:00.000Z"), (u64::MAX, "9999-12-31T23:59:59.999Z")] {
            let mut thread = Thread::default();
            thread.evidence = Some(Evidence { source, signal, at });
            let turn = Turn::new(None, &thread);
            assert_eq!((turn.since.as_deref(), turn.evidence.as_deref()), (Some(since), Some("hook: turn ended")));
        }
    }
}
