//! What each hook of codex says: from its name and payload to changes of the state.

use serde::{Deserialize, Serialize};

use crate::rollout::ids::{ThreadId, TurnId};

use super::payload::{Payload, PayloadError, refused};
use super::state::{Sign, Source, State, Who};

/// Codex's hook events (all that 0.138 to 0.169 have).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// `SessionStart`: with a session's first prompt, after a resume and a compaction.
    SessionStart,
    /// `SessionEnd`
    SessionEnd,
    /// `UserPromptSubmit`: also of a prompt while the turn goes on, and of a subagent's (v1).
    UserPromptSubmit,
    /// `PreModelRequest`, from 0.169 on.
    PreModelRequest,
    /// `PostModelRequest`, from 0.169 on; may come after the turn's end.
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
    /// `SubagentStop`; often missing.
    SubagentStop,
    /// `Stop`; never after an interrupt or an error.
    Stop,
    /// `Interrupt`, from 0.154 on.
    Interrupt,
}

impl Event {
    /// All events with their names on the command line.
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

    /// The event of this name, in kebab-case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, event)| *event)
    }

    /// Its name in kebab-case.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, event)| *event == self).map_or("", |(name, _)| name)
    }

    /// What it says of its turn; `rollout_size` is the size of the turn's rollout, in bytes.
    fn sign(self, rollout_size: u64) -> Option<Sign> {
        match self {
            Self::UserPromptSubmit => Some(Sign::Prompted),
            Self::SubagentStart => Some(Sign::Began),
            Self::PreModelRequest | Self::PreToolUse | Self::PostToolUse => Some(Sign::Lives),
            Self::PermissionRequest => Some(Sign::Asks),
            Self::Stop | Self::SubagentStop => Some(Sign::Stops { rollout_size }),
            Self::Interrupt => Some(Sign::Ended),
            Self::SessionStart | Self::SessionEnd | Self::PostModelRequest | Self::PreCompact | Self::PostCompact => {
                None
            }
        }
    }

    /// Whether a root's event says which session and rollout are current from now on.
    fn sets_session(self) -> bool {
        matches!(self, Self::SessionStart | Self::UserPromptSubmit)
    }
}

/// A hook's run, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Which hook.
    pub event: Event,
    /// The root's session.
    pub session: ThreadId,
    /// The subagent whose hook it is, if it is one's.
    pub agent: Option<ThreadId>,
    /// The turn; empty where none is named.
    pub turn: TurnId,
    /// The rollout of the event's own thread; empty where it is not known.
    pub rollout: String,
    /// The rollout's size, in bytes, where it matters.
    pub rollout_size: u64,
    /// When it ran, in milliseconds since 1970.
    pub at: u64,
}

impl Run {
    /// Puts together what is known of a run.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Id`] where a subagent's event does not say whose it is.
    pub fn new(event: Event, payload: Payload, at: u64) -> Result<Self, PayloadError> {
        if matches!(event, Event::SubagentStart | Event::SubagentStop) && payload.agent.is_none() {
            return Err(refused("agent_id", b""));
        }
        let rollout = match event {
            Event::SubagentStop => payload.agent_transcript,
            _ => payload.transcript,
        };
        let rollout = rollout.unwrap_or_default();
        // Signals of life in the rollout are those beyond what it holds now.
        let is_stop = matches!(event, Event::Stop | Event::SubagentStop);
        let rollout_size = match &rollout {
            _ if !is_stop => 0,
            // Whatever some rollout holds, it cannot be told what of it is new.
            path if path.is_empty() => u64::MAX,
            path => rustix::fs::stat(path.as_str()).map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0)),
        };
        let Payload { session, agent, turn, .. } = payload;
        Ok(Self { event, session, agent, turn, rollout, rollout_size, at })
    }

    /// Whose event it is.
    #[must_use]
    pub fn who(&self) -> Who {
        self.agent.clone().map_or(Who::Root, Who::Subagent)
    }

    /// Whether codex has written all of the root's answer by then: whoever sees that the agent waits looks for it.
    #[must_use]
    pub fn has_last_words(&self) -> bool {
        self.agent.is_none() && matches!(self.event, Event::Stop | Event::SessionEnd)
    }

    /// Takes it in.
    pub fn apply(&self, state: &mut State) {
        let who = self.who();
        if state.is_nested(&self.session, &who) {
            state.add_nested(&self.session);
            return;
        }
        // A side conversation (`/side`, `/btw`) has no rollout: it is shown beside the session that the agent goes on in.
        if who == Who::Root && self.rollout.is_empty() && state.is_beside(&self.session) {
            return;
        }
        // The end of a session that nothing is known of begins none.
        let is_first = state.session.0.is_empty() && self.event != Event::SessionEnd;
        if who == Who::Root && (self.event.sets_session() || is_first) {
            state.set_session(&self.session);
            if !self.rollout.is_empty() {
                state.root.set_rollout(&self.rollout);
            }
        }
        // What comes late of a session that was left says nothing of the present one.
        if who == Who::Root && self.session != state.session {
            return;
        }
        if let Some(sign) = self.event.sign(self.rollout_size) {
            state.take(&who, &self.turn, sign, Source::Hook, self.at);
        }
        // Where the prompt's hook was lost, the others of its turn name the rollout too: after a backtrack it is another.
        if !self.rollout.is_empty()
            && let Some(thread) = state.thread_mut(&who)
            && (who != Who::Root || (!self.turn.0.is_empty() && thread.turn == self.turn))
        {
            thread.set_rollout(&self.rollout);
        }
    }
}

#[cfg(test)]
mod tests;
