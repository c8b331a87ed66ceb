//! The file `plugin/codex/status.json`, which shows the state to other programs.

use serde::Serialize;

use crate::clock::rfc3339_millis;

use super::facts::Tokens;
use super::report::text;
use super::state::{RequestKind, State, Trigger};
use super::timeline::Activity;

/// The version of the file's format.
const VERSION: u8 = 1;

/// The content of the file. Serializes to the documented JSON object. Times are in ISO 8601.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Status {
    version: u8,
    /// `RUNNING`, `WAITING`, `UNKNOWN` or `ENDED`.
    pub(crate) state: &'static str,
    /// When this state began, with this reason.
    pub(crate) since: String,
    /// Why the agent waits: `PERMISSIONS`, `QUESTION` or `END_OF_TURN`.
    pub(crate) waiting_reason: Option<&'static str>,
    /// The id of the root's session.
    pub(crate) session_id: Option<String>,
    /// The model of the latest turn.
    pub(crate) model: Option<String>,
    /// When the running turn of the root began.
    pub(crate) turn_since: Option<String>,
    /// When the agent became idle. `None` during a turn.
    pub(crate) idle_since: Option<String>,
    /// The tokens of the input of the newest request since the last compaction.
    pub(crate) context_tokens: Option<u64>,
    /// The tokens of the whole session.
    pub(crate) tokens: Option<Tokens>,
    /// The last compaction of the session.
    pub(crate) last_compaction: Option<LastCompaction>,
    /// Why the latest turn failed.
    pub(crate) last_error: Option<LastError>,
}

/// The last compaction of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LastCompaction {
    at: String,
    trigger: Option<&'static str>,
}

/// Why the latest turn failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LastError {
    at: String,
    message: String,
}

impl Status {
    /// Returns the status of a state.
    pub(crate) fn of(state: &State) -> Self {
        let (timeline, facts) = (state.timeline(), state.facts());
        let (shown, waiting_reason) = match timeline.activity {
            Activity::Unknown => ("UNKNOWN", None),
            Activity::Running => ("RUNNING", None),
            Activity::Asking(RequestKind::Approval) => ("WAITING", Some("PERMISSIONS")),
            Activity::Asking(RequestKind::Question) => ("WAITING", Some("QUESTION")),
            Activity::Idle => ("WAITING", Some("END_OF_TURN")),
            Activity::Ended => ("ENDED", None),
        };
        let idle_since = timeline.idle_since.filter(|_| !timeline.activity.is_in_turn());
        Self {
            version: VERSION,
            state: shown,
            since: rfc3339_millis(timeline.since),
            waiting_reason,
            session_id: text(&state.session.0),
            model: facts.model.clone(),
            turn_since: state.root.is_open().then(|| rfc3339_millis(state.root.began_at())),
            idle_since: idle_since.map(rfc3339_millis),
            context_tokens: facts.context.map(|context| context.tokens),
            tokens: facts.tokens,
            last_compaction: state
                .last_compaction()
                .map(|(at, trigger)| LastCompaction { at: rfc3339_millis(at), trigger: trigger.map(Trigger::name) }),
            last_error: state
                .error()
                .map(|error| LastError { at: rfc3339_millis(error.at), message: error.message.clone() }),
        }
    }

    /// Returns the content of the file.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(512);
        // A status has only strings and numbers, and writing to memory cannot fail.
        let _ = serde_json::to_writer(&mut json, self);
        json.push(b'\n');
        json
    }
}

#[cfg(test)]
mod tests;
