//! Codex's hooks: from an event and its payload to changes of the state.

use std::io::Read;

use serde::{Deserialize, Serialize};

use crate::clock::now_millis;
use crate::rollout::ids::{ThreadId, TurnId};

use super::payload::{Payload, PayloadError, invalid_id};
use super::state::{Signal, SignalSource, State, ThreadKey, Trigger};

/// Codex's hook events (all events of 0.138 to 0.171).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookEvent {
    /// `SessionStart`: with the first prompt of a session, after a resume, and after a compaction.
    SessionStart,
    /// `SessionEnd`
    SessionEnd,
    /// `UserPromptSubmit`: also for a prompt during a turn, and for a subagent's prompt (v1).
    UserPromptSubmit,
    /// `PreModelRequest`, since 0.169.
    PreModelRequest,
    /// `PostModelRequest`, since 0.169. It can follow the end of the turn.
    PostModelRequest,
    /// `PreToolUse`
    PreToolUse,
    /// `PermissionRequest`
    PermissionRequest,
    /// `PostToolUse`
    PostToolUse,
    /// `PreCompact`
    PreCompact,
    /// `PostCompact`
    PostCompact,
    /// `SubagentStart`
    SubagentStart,
    /// `SubagentStop`. It is often missing.
    SubagentStop,
    /// `Stop`. It never follows an interrupt or an error.
    Stop,
    /// `Interrupt`, since 0.154.
    Interrupt,
}

impl HookEvent {
    /// All events, with their names in kebab-case.
    pub const ALL: [(&'static str, Self); 14] = [
        ("session-start", Self::SessionStart),
        ("session-end", Self::SessionEnd),
        ("user-prompt-submit", Self::UserPromptSubmit),
        ("pre-model-request", Self::PreModelRequest),
        ("post-model-request", Self::PostModelRequest),
        ("pre-tool-use", Self::PreToolUse),
        ("permission-request", Self::PermissionRequest),
        ("post-tool-use", Self::PostToolUse),
        ("pre-compact", Self::PreCompact),
        ("post-compact", Self::PostCompact),
        ("subagent-start", Self::SubagentStart),
        ("subagent-stop", Self::SubagentStop),
        ("stop", Self::Stop),
        ("interrupt", Self::Interrupt),
    ];

    /// Returns the event with this name, in kebab-case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, event)| *event)
    }

    /// Returns the signal that the event is for its turn. `is_question` tells whether it is about the tool that asks the
    /// user a question, `rollout_size` is the size of the turn's rollout, in bytes, and `trigger` is what triggered a
    /// compaction.
    fn signal(self, is_question: bool, rollout_size: u64, trigger: Option<Trigger>) -> Option<Signal> {
        match self {
            Self::PreToolUse if is_question => Some(Signal::AskedQuestion { rollout_size }),
            Self::UserPromptSubmit => Some(Signal::Prompted),
            Self::SubagentStart => Some(Signal::Began),
            Self::PreModelRequest | Self::PreToolUse | Self::PostToolUse => Some(Signal::SignOfLife),
            Self::PermissionRequest => Some(Signal::AskedForApproval { rollout_size }),
            Self::Stop | Self::SubagentStop => Some(Signal::Stopped { rollout_size }),
            Self::SessionEnd => Some(Signal::SessionEnded { rollout_size }),
            Self::Interrupt => Some(Signal::Ended),
            Self::PreCompact => Some(Signal::Compacting { trigger }),
            Self::PostCompact => Some(Signal::Compacted { trigger, rollout_size }),
            Self::SessionStart | Self::PostModelRequest => None,
        }
    }

    /// Returns whether the event can change the state, so that Codex has to run its hook.
    pub(crate) fn has_effect(self) -> bool {
        self.sets_session() || self.signal(false, 0, None).is_some()
    }

    /// Returns whether an event of the root sets the current session and rollout.
    fn sets_session(self) -> bool {
        matches!(self, Self::SessionStart | Self::UserPromptSubmit)
    }
}

/// One run of a hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRun {
    /// The event.
    pub(super) event: HookEvent,
    /// The root's session.
    pub(super) session: ThreadId,
    /// The subagent whose hook ran, or `None` for the root's.
    pub(super) agent: Option<ThreadId>,
    /// The turn. It is empty if the payload names none.
    pub(super) turn: TurnId,
    /// The path of the thread's rollout. It is empty if the payload names none.
    pub(super) rollout: String,
    /// The size of the rollout in bytes, for events that end a turn or a compaction, or ask the user.
    pub(super) rollout_size: u64,
    /// Whether the event is about the tool that asks the user a question.
    pub(super) is_question: bool,
    /// Why Codex compacts the session, for the events of a compaction.
    pub(super) trigger: Option<Trigger>,
    /// The time of the run, in milliseconds since 1970.
    pub(super) at: u64,
    /// The folder of the session. Deferred runs do not need it.
    #[serde(skip)]
    pub(super) folder: Option<String>,
}

/// The space, in bytes, below which a file system counts as full. Lines of Codex are rarely longer.
const FULL: u64 = 1 << 20;

/// Returns whether the file system of a file is full.
fn is_disk_full(path: &str) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < FULL)
}

impl HookRun {
    /// Reads the payload of a hook that runs now.
    ///
    /// # Errors
    ///
    /// Returns a [`PayloadError`] if the payload cannot be read or is not usable.
    pub fn read(event: HookEvent, payload: impl Read) -> Result<Self, PayloadError> {
        Self::new(event, Payload::read(payload, event.sets_session())?, now_millis())
    }

    /// Returns the run of a hook with this payload.
    ///
    /// # Errors
    ///
    /// Returns [`PayloadError::Id`] if the payload of a subagent's event does not name the subagent.
    pub(super) fn new(event: HookEvent, payload: Payload, at: u64) -> Result<Self, PayloadError> {
        if matches!(event, HookEvent::SubagentStart | HookEvent::SubagentStop) && payload.agent.is_none() {
            return Err(invalid_id("agent_id", b""));
        }
        let rollout = match event {
            HookEvent::SubagentStop => payload.agent_transcript,
            _ => payload.transcript,
        };
        let rollout = rollout.unwrap_or_default();
        // Lines after the present end of the rollout are signs of life, or an answer.
        let is_size_needed = match event {
            HookEvent::Stop
            | HookEvent::SubagentStop
            | HookEvent::SessionEnd
            | HookEvent::PermissionRequest
            | HookEvent::PostCompact => true,
            HookEvent::PreToolUse => payload.is_question,
            _ => false,
        };
        let rollout_size = match &rollout {
            _ if !is_size_needed => 0,
            // Nothing shows which lines of an unknown rollout are new.
            path if path.is_empty() => u64::MAX,
            // Codex keeps the lines that it could not write, and writes them later, with later timestamps. So lines after
            // the present end may be older than this hook.
            path if event != HookEvent::PostCompact && is_disk_full(path) => u64::MAX,
            path => rustix::fs::stat(path.as_str()).map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0)),
        };
        let Payload { session, agent, turn, is_question, trigger, folder, .. } = payload;
        Ok(Self { event, session, agent, turn, rollout, rollout_size, is_question, trigger, at, folder })
    }

    /// Returns the thread whose hook ran.
    pub(super) fn thread(&self) -> ThreadKey {
        self.agent.clone().map_or(ThreadKey::Root, ThreadKey::Subagent)
    }

    /// Returns whether Codex has written the root's complete answer by now. The transcripts must have it before the agent
    /// is shown as waiting.
    #[must_use]
    pub fn ends_root_turn(&self) -> bool {
        self.agent.is_none() && matches!(self.event, HookEvent::Stop | HookEvent::SessionEnd)
    }

    /// Returns whether the session begins or continues with this run, in the process that ran the hook.
    pub(super) fn sets_session(&self) -> bool {
        self.agent.is_none() && self.event.sets_session()
    }

    /// Returns whether the session has ended, so that its rollouts are complete.
    pub(super) fn ends_session(&self) -> bool {
        self.agent.is_none() && self.event == HookEvent::SessionEnd
    }

    /// Returns whether the run may be the first of a side conversation that has a rollout.
    pub(super) fn may_begin_side_conversation(&self, state: &State) -> bool {
        self.agent.is_none()
            && self.event.sets_session()
            && !self.rollout.is_empty()
            && state.is_new_session(&self.session)
    }

    /// Returns whether `state` knows the root's session.
    pub(super) fn is_of_root(&self, state: &State) -> bool {
        self.agent.is_none() && self.session == state.session
    }

    /// Sets the root's rollout if no earlier hook has named it.
    pub(super) fn name_rollout(&self, state: &mut State) {
        if self.is_of_root(state) && state.root.rollout.is_empty() && !self.rollout.is_empty() {
            state.root.set_rollout(&self.rollout);
        }
    }

    /// Applies the run to `state`.
    pub(super) fn apply_to(&self, state: &mut State) {
        let key = self.thread();
        if state.is_nested(&self.session, &key) {
            state.add_nested(&self.session);
            return;
        }
        // A side conversation (`/side`, `/btw`) has no rollout, and the agent's session continues during it.
        if key == ThreadKey::Root && self.rollout.is_empty() && state.is_side_conversation(&self.session) {
            return;
        }
        // The end of an unknown session does not begin one.
        let is_first = state.session.0.is_empty() && self.event != HookEvent::SessionEnd;
        if key == ThreadKey::Root && (self.event.sets_session() || is_first) {
            state.set_session(&self.session);
            if !self.rollout.is_empty() {
                state.root.set_rollout(&self.rollout);
            }
        }
        // Late events of a former session do not concern the current one.
        if key == ThreadKey::Root && self.session != state.session {
            return;
        }
        self.name_rollout(state);
        if let Some(signal) = self.event.signal(self.is_question, self.rollout_size, self.trigger) {
            state.apply(&key, &self.turn, signal, SignalSource::Hook, self.at);
        }
        if self.ends_session() {
            state.stop_subagents(self.at);
        }
        // If the prompt's hook was lost, the other hooks of its turn name the rollout too. After a backtrack it is a
        // different one.
        if !self.rollout.is_empty()
            && let Some(thread) = state.thread_mut(&key)
            && (key != ThreadKey::Root || (!self.turn.0.is_empty() && thread.turn == self.turn))
        {
            thread.set_rollout(&self.rollout);
        }
        if key == ThreadKey::Root {
            match self.event {
                HookEvent::PreCompact => state.begin_compaction(self.trigger, self.at),
                HookEvent::PostCompact => state.end_compaction(self.trigger, &self.rollout, self.rollout_size, self.at),
                _ => {}
            }
        }
        state.settle(self.at);
    }
}

#[cfg(test)]
mod tests;
