//! The marker's state and what each event makes of it: pure, so that every rule can be read and tested here.
//!
//! Turns are followed thread by thread: the root's own, and that of each subagent. Of a thread only the latest turn
//! counts. Which of two is later is told by their ids (UUIDs of version 7), not by when the news came; but where one
//! begins in a rollout behind the other it is the later one, even if the clock was put back in between.

use crate::files::fingerprint::Fingerprint;
use crate::rollout::ids::{ThreadId, TurnId};

/// Subagents that are remembered. Beyond it those go first that are not in flight, the oldest first.
const MOST_SUBAGENTS: usize = 256;

/// Sessions that are remembered: those that ran inside a turn of the root's, and those that were the root's.
const MOST_SESSIONS: usize = 32;

/// What is known of the agent's codex.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct State {
    /// The root's session; empty before any hook ran.
    pub session: ThreadId,
    /// The root's thread.
    pub root: Thread,
    /// Subagents that are in flight, and some that were, the oldest first.
    pub subagents: Vec<Subagent>,
    /// Sessions of codex processes that ran as a tool of the root's.
    nested: Vec<ThreadId>,
    /// Sessions that were the root's before this one, and may be again.
    former: Vec<ThreadId>,
    /// Turns up to this one are over, whatever is heard of them: what was open when the agent was started anew.
    over: TurnId,
    /// How often it was reset. By that it is known whether another codex was started since.
    pub resets: u64,
}

/// A subagent.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Subagent {
    /// Its `agent_id`, which is its thread's.
    pub id: ThreadId,
    /// Its thread.
    pub thread: Thread,
}

/// What is known of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Thread {
    /// Its latest turn; empty where none is known.
    pub turn: TurnId,
    /// How far that turn is.
    pub phase: Phase,
    /// Whether codex asked for an approval in this turn and has not gone on since.
    pub is_asking: bool,
    /// What brought the turn where it is.
    pub evidence: Option<Evidence>,
    /// Its rollout: an absolute path; empty where none is known.
    pub rollout: String,
    /// How much of the rollout was read, in bytes.
    pub read: u64,
    /// The hash of the last bytes of that, where it is known.
    pub read_end: Option<Fingerprint>,
    /// Whether the turn begins in what was read of the rollout: another that begins there later is a later one.
    has_beginning: bool,
}

/// How far a turn is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Phase {
    /// No turn is known.
    #[default]
    None,
    /// The turn goes on.
    Open,
    /// Codex would end the turn; if another hook blocks that, it goes on.
    Stopped {
        /// The size of the rollout then, in bytes.
        rollout_size: u64,
    },
    /// The turn is over for good.
    Over,
}

/// What is known from what, for people to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Evidence {
    /// A hook or a line of the rollout.
    pub source: Source,
    /// What it told.
    pub sign: Sign,
    /// When that was taken in, in milliseconds since 1970.
    pub at: u64,
}

/// Where news come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Source {
    /// A hook.
    Hook,
    /// A line of a rollout.
    Rollout,
}

/// What an event says of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Sign {
    /// It was prompted (`UserPromptSubmit`), also while it goes on.
    Prompted,
    /// It begins (`SubagentStart`, `task_started`).
    Began,
    /// It goes on (`PreModelRequest`, `PreToolUse`, `PostToolUse`).
    Lives,
    /// It asks for an approval (`PermissionRequest`).
    Asks,
    /// It would end (Stop, `SubagentStop`).
    Stops {
        /// The size of its rollout, in bytes.
        rollout_size: u64,
    },
    /// It is over (Interrupt, `task_complete`, `turn_aborted`).
    Ended,
    /// A line of the rollout names it.
    Named {
        /// Where the line ends, in bytes.
        line_end: u64,
    },
    /// Turns were taken back (`thread_rolled_back`, which names none): what was begun before is over.
    RolledBack,
}

/// Whose turn an event speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// The root's.
    Root,
    /// A subagent's.
    Subagent(ThreadId),
}

impl Thread {
    /// Whether it follows from the place of a line in the rollout which of two turns is later: one that begins behind
    /// the latest one's beginning is, whatever the ids say, and nothing else that stands there makes another one later.
    fn is_told_by_place(&self, source: Source) -> bool {
        self.has_beginning && source == Source::Rollout
    }

    /// Takes in what an event says of `turn`.
    fn take(&mut self, turn: &TurnId, sign: Sign, source: Source, at: u64) {
        // What names no turn speaks of the latest.
        let is_later = !turn.0.is_empty() && *turn != self.turn;
        let is_earlier =
            if self.is_told_by_place(source) { sign != Sign::Began } else { turn.is_earlier_than(&self.turn) };
        if is_later && is_earlier {
            return;
        }
        let phase = if is_later { Phase::None } else { self.phase };
        let next = match (phase, sign) {
            (Phase::Over, _) | (_, Sign::Ended) => Phase::Over,
            (Phase::None, Sign::RolledBack | Sign::Named { .. }) => return,
            (_, Sign::RolledBack) if !self.has_beginning => return,
            (_, Sign::RolledBack) => Phase::Over,
            (Phase::Stopped { rollout_size: size }, Sign::Stops { rollout_size }) => {
                Phase::Stopped { rollout_size: size.max(rollout_size) }
            }
            (_, Sign::Stops { rollout_size }) => Phase::Stopped { rollout_size },
            (Phase::Stopped { rollout_size }, Sign::Named { line_end }) if line_end > rollout_size => Phase::Open,
            // The news of its beginning may come late.
            (Phase::Stopped { .. }, Sign::Began | Sign::Named { .. } | Sign::Asks) => phase,
            (_, Sign::Prompted | Sign::Lives | Sign::Began | Sign::Asks | Sign::Named { .. }) => Phase::Open,
        };
        if is_later {
            self.turn = turn.clone();
            self.has_beginning = false;
        }
        self.has_beginning |= source == Source::Rollout && sign == Sign::Began;
        self.is_asking = next == Phase::Open
            && match sign {
                Sign::Asks => true,
                Sign::Began | Sign::Named { .. } => self.is_asking && !is_later,
                _ => false,
            };
        if next != self.phase || is_later {
            self.evidence = Some(Evidence { source, sign, at });
        }
        self.phase = next;
    }

    /// Whether its latest turn begins in what was read of the rollout.
    #[must_use]
    pub fn has_beginning(&self) -> bool {
        self.has_beginning
    }

    /// Whether a turn goes on.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// How large the rollout was when its latest turn was stopped, in bytes, if it is.
    #[must_use]
    pub fn stopped_at(&self) -> Option<u64> {
        match self.phase {
            Phase::Stopped { rollout_size } => Some(rollout_size),
            Phase::None | Phase::Open | Phase::Over => None,
        }
    }

    /// Takes in where its rollout is; another one is read from its start.
    pub fn set_rollout(&mut self, path: &str) {
        if self.rollout != path {
            path.clone_into(&mut self.rollout);
            self.forget_lines();
        }
    }

    /// Takes in that the latest turn does not begin in what was read of the rollout.
    pub fn forget_beginning(&mut self) {
        self.has_beginning = false;
    }

    /// Takes in that its rollout is to be read from the start.
    pub fn forget_lines(&mut self) {
        self.read = 0;
        self.read_end = None;
        self.has_beginning = false;
    }
}

impl State {
    /// Takes in what an event of `session` says of a turn of `who`.
    pub fn take(&mut self, who: &Who, turn: &TurnId, sign: Sign, source: Source, at: u64) {
        let (thread, id) = match who {
            Who::Root => (Some(&mut self.root), &self.session),
            Who::Subagent(id) => (self.subagents.iter_mut().find(|known| known.id == *id).map(|it| &mut it.thread), id),
        };
        // A copy of another thread's history, in a file of this one. It stands in front of the thread's own turns: what
        // has an earlier id behind them was begun when the clock was put back.
        let is_behind = thread.as_ref().is_some_and(|thread| thread.is_told_by_place(source));
        if source == Source::Rollout && !is_behind && turn.is_later_than(id) == Some(false) {
            return;
        }
        if *turn == self.over && !turn.0.is_empty() {
            return;
        }
        if turn.is_earlier_than(&self.over) {
            if sign != Sign::Began || !is_behind {
                return;
            }
            // The clock was put back: ids that it gives now do not tell what was before.
            self.over = TurnId::default();
        }
        match (thread, who) {
            (Some(thread), _) => thread.take(turn, sign, source, at),
            (None, Who::Subagent(id)) => {
                self.forget_subagents();
                let mut thread = Thread::default();
                thread.take(turn, sign, source, at);
                self.subagents.push(Subagent { id: id.clone(), thread });
            }
            (None, Who::Root) => {}
        }
    }

    /// The thread of `who`, where it is known.
    pub fn thread_mut(&mut self, who: &Who) -> Option<&mut Thread> {
        match who {
            Who::Root => Some(&mut self.root),
            Who::Subagent(id) => self.subagents.iter_mut().find(|known| known.id == *id).map(|known| &mut known.thread),
        }
    }

    /// Whether an event of `session` is of a codex that runs inside a turn of the root's, or ran so; by what is known.
    #[must_use]
    pub fn is_nested(&self, session: &ThreadId, who: &Who) -> bool {
        // Subagents of the session before go on after `/new`.
        let is_known = match who {
            Who::Root => false,
            Who::Subagent(id) => self.former.contains(session) || self.subagents.iter().any(|known| known.id == *id),
        };
        *session != self.session && !is_known && (self.nested.contains(session) || self.root.is_open())
    }

    /// Whether a session without a rollout is another one than the root's, which has one.
    #[must_use]
    pub fn is_beside(&self, session: &ThreadId) -> bool {
        *session != self.session && !self.former.contains(session) && !self.root.rollout.is_empty()
    }

    /// Whether a session is known to run inside the root's, or to have.
    #[must_use]
    pub fn has_nested(&self, session: &ThreadId) -> bool {
        self.nested.contains(session)
    }

    /// Remembers a session that runs inside the root's; one that was the root's can be resumed, and is only late.
    pub fn add_nested(&mut self, session: &ThreadId) {
        if !self.former.contains(session) {
            remember(&mut self.nested, session);
        }
    }

    /// Makes `session` the root's.
    pub fn set_session(&mut self, session: &ThreadId) {
        if self.session != *session {
            let before = std::mem::replace(&mut self.session, session.clone());
            if !before.0.is_empty() {
                remember(&mut self.former, &before);
            }
            self.nested.retain(|nested| nested != session);
            // An ephemeral session has no rollout, and another session's tells nothing of it.
            self.root.set_rollout("");
            // What another session's turn was is no matter any more; its id still tells what is earlier.
            if self.root.phase != Phase::None {
                self.root.phase = Phase::Over;
                self.root.is_asking = false;
            }
        }
    }

    /// Whether the agent is at work.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.root.is_open() || self.in_flight().next().is_some()
    }

    /// The subagents in flight.
    pub fn in_flight(&self) -> impl Iterator<Item = &Subagent> {
        self.subagents.iter().filter(|subagent| subagent.thread.is_open())
    }

    /// Whether codex waits for an approval.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.threads().any(|thread| thread.is_asking)
    }

    fn threads(&self) -> impl Iterator<Item = &Thread> {
        std::iter::once(&self.root).chain(self.subagents.iter().map(|subagent| &subagent.thread))
    }

    /// Closes all that is open: nothing that was begun so far will be opened again. `latest` is the latest turn that
    /// any rollout names; `read` how large the root's rollout is, in bytes, where it is there, and the hash of its end.
    pub fn reset(&mut self, latest: &TurnId, read: Option<(u64, Fingerprint)>) {
        let latest = self.threads().map(|thread| &thread.turn).chain([&self.over]).fold(latest, |latest, turn| {
            if latest.0.is_empty() || latest.is_earlier_than(turn) { turn } else { latest }
        });
        let has_beginning = read.is_some();
        let (read, read_end) = read.map_or((self.root.read, self.root.read_end), |(size, end)| (size, Some(end)));
        let root = Thread { rollout: self.root.rollout.clone(), read, read_end, has_beginning, ..Thread::default() };
        let (session, over, resets) = (self.session.clone(), latest.clone(), self.resets.wrapping_add(1));
        *self = Self { session, root, over, resets, ..Self::default() };
    }

    /// Makes room for a subagent.
    fn forget_subagents(&mut self) {
        if self.subagents.len() >= MOST_SUBAGENTS {
            let place = self.subagents.iter().position(|subagent| !subagent.thread.is_open()).unwrap_or(0);
            self.subagents.remove(place);
        }
    }
}

/// Adds a session to those that are remembered, the latest at the end.
fn remember(sessions: &mut Vec<ThreadId>, session: &ThreadId) {
    if !sessions.contains(session) {
        if sessions.len() >= MOST_SESSIONS {
            sessions.remove(0);
        }
        sessions.push(session.clone());
    }
}

#[cfg(test)]
mod tests;
