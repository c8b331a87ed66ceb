//! What an agent is doing, and since when.

use serde::{Deserialize, Serialize};

use super::state::RequestKind;

/// What an agent is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Activity {
    /// Nothing is known: no hook has run, and the marker was never reset.
    #[default]
    Unknown,
    /// A turn is running, and no request to the user is open.
    Running,
    /// Codex has asked the user something and waits for the answer.
    Asking(RequestKind),
    /// Codex waits for a prompt.
    Idle,
    /// Codex has exited.
    Ended,
}

impl Activity {
    /// Returns whether a turn is running, including one in which Codex waits for an answer.
    pub(crate) fn is_in_turn(self) -> bool {
        matches!(self, Self::Running | Self::Asking(_))
    }
}

/// What an agent is doing, with times in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timeline {
    /// What it is doing.
    pub(crate) activity: Activity,
    /// When that began; 0 if nothing has been recorded.
    pub(crate) since: u64,
    /// When it became idle the last time, whether it is idle now or not.
    pub(crate) idle_since: Option<u64>,
    /// Whether something other than the root's latest turn has run since then.
    has_worked: bool,
}

impl Timeline {
    /// Records the present activity. `is_only_compacting` is whether the root's latest turn does nothing but compact the
    /// session: such a turn ends no idle period.
    pub(super) fn record(&mut self, activity: Activity, is_only_compacting: bool, at: u64) {
        if activity == self.activity && self.since > 0 {
            return;
        }
        let was_in_turn = self.activity.is_in_turn();
        if !activity.is_in_turn() && activity != Activity::Unknown {
            let has_worked = was_in_turn && (self.has_worked || !is_only_compacting);
            if has_worked || self.idle_since.is_none() {
                self.idle_since = Some(at);
            }
            self.has_worked = false;
        }
        self.activity = activity;
        self.since = at;
    }

    /// Records that something other than the root's latest turn is running.
    pub(super) fn record_other_work(&mut self) {
        self.has_worked = true;
    }

    /// Records that a turn of the root was over by the time at which the next one began. `is_only_compacting` is as in
    /// [`Timeline::record`].
    pub(super) fn record_end_of_turn(&mut self, is_only_compacting: bool, at: u64) {
        if !is_only_compacting {
            self.idle_since = Some(at);
        }
    }

    /// Records that Codex was started. Its turns are closed, and the agent is idle.
    pub(super) fn record_start(&mut self, is_only_compacting: bool, at: u64) {
        self.record(Activity::Idle, is_only_compacting, at);
        self.since = at;
    }
}
