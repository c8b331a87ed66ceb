//! The lifecycle state and its transitions: pure, without I/O, so that every rule can be tested here.
//!
//! Every thread is tracked separately: the root, and each subagent. Only the latest turn of a thread counts. Turn ids (UUIDs
//! of version 7) decide which of two turns is later, not the order in which signals arrive. If both turns begin in the
//! same rollout, their positions decide instead, because the clock may have been set back in between.

use crate::files::fingerprint::Fingerprint;
use crate::rollout::ids::{ThreadId, TurnId};

use super::facts::{Facts, TurnError};
use super::timeline::{Activity, Timeline};

/// The number of subagents that are remembered. Those that are not in flight are forgotten first, starting with the oldest.
const MAX_SUBAGENTS: usize = 256;

/// The number of nested and of former sessions that are remembered.
const MAX_SESSIONS: usize = 32;

/// The state of an agent's Codex.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct State {
    /// The root's session. It is empty before the first hook.
    pub(crate) session: ThreadId,
    /// The root's thread.
    pub(crate) root: Thread,
    /// The subagents in flight and some earlier ones, oldest first.
    pub(crate) subagents: Vec<Subagent>,
    /// Sessions of Codex processes that the root ran as a tool.
    nested: Vec<ThreadId>,
    /// Sessions that were the root's before this one. They can be resumed.
    former: Vec<ThreadId>,
    /// Turns up to this one were closed by a reset, so their signals are ignored.
    closed_through: TurnId,
    /// The number of resets. It shows whether another Codex was started in the meantime.
    pub(crate) resets: u64,
    /// The facts about the root's session.
    facts: Facts,
    /// The last compaction of the root's session that a hook has reported.
    compaction: Option<Compaction>,
    /// The beginning of a compaction whose end is not known, in milliseconds since 1970, and its trigger.
    compacting: Option<(u64, Option<Trigger>)>,
    /// Whether Codex has exited.
    has_ended: bool,
    /// What the agent is doing, and since when.
    timeline: Timeline,
}

/// A compaction of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Compaction {
    /// The time of its end, in milliseconds since 1970.
    at: u64,
    /// Why Codex did it, if that is known.
    trigger: Option<Trigger>,
}

/// Why Codex compacts a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Trigger {
    /// The user has asked for it (`/compact`).
    Manual,
    /// The context is full.
    Auto,
}

impl Trigger {
    /// Returns Codex's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Auto => "auto",
        }
    }
}

/// A subagent.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Subagent {
    /// Its `agent_id`, which is the id of its thread.
    pub(crate) id: ThreadId,
    /// Its thread.
    pub(crate) thread: Thread,
}

/// The state of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Thread {
    /// The latest turn. It is empty if none is known.
    pub(crate) turn: TurnId,
    /// The phase of that turn.
    pub(crate) phase: Phase,
    /// What Codex has asked the user in this turn, if it has not continued since.
    pub(crate) request: Option<Request>,
    /// The size of the rollout, in bytes, when a hook last reported a question. Calls before it are not new questions.
    questions_through: u64,
    /// The time at which that turn began, in milliseconds since 1970.
    began_at: u64,
    /// What is known about the work of that turn.
    work: Work,
    /// The size of the rollout, in bytes, after the last compaction that a hook has reported. What the lines before it say
    /// about the size of the context is obsolete.
    compacted_through: u64,
    /// The signal that led to this phase.
    pub(crate) evidence: Option<Evidence>,
    /// The absolute path of the thread's rollout. It is empty if none is known.
    pub(crate) rollout: String,
    /// The offset up to which the rollout was read, in bytes.
    pub(crate) read_offset: u64,
    /// The hash of the bytes before that offset, if it is known.
    pub(crate) read_fingerprint: Option<Fingerprint>,
    /// Whether the beginning of the turn was read in the rollout. If so, a turn that begins after it there is later.
    has_read_beginning: bool,
}

/// What is known about the work of a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Work {
    /// It compacts the session.
    is_compacting: bool,
    /// It does something else: it has a prompt, asks the user, or was compacted because its context was full.
    is_other: bool,
}

impl Work {
    /// Returns the state after a signal.
    fn after(self, signal: Signal) -> Self {
        let (is_compacting, is_other) = match signal {
            Signal::Compacting { trigger } | Signal::Compacted { trigger, .. } => {
                (true, trigger == Some(Trigger::Auto))
            }
            Signal::CompactionRead => (true, false),
            Signal::Prompted
            | Signal::PromptRead
            | Signal::AskedForApproval { .. }
            | Signal::AskedQuestion { .. }
            | Signal::QuestionRead { .. } => (false, true),
            _ => (false, false),
        };
        Self { is_compacting: self.is_compacting || is_compacting, is_other: self.is_other || is_other }
    }

    /// Returns whether the turn does nothing but compact the session.
    fn is_only_compaction(self) -> bool {
        self.is_compacting && !self.is_other
    }
}

/// An open request to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Request {
    /// Its kind.
    pub(crate) kind: RequestKind,
    /// The size of the rollout, in bytes, at the time of the request. The output of a call after it is the answer.
    pub(crate) rollout_size: u64,
}

/// The kind of a request to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum RequestKind {
    /// May Codex run this call?
    Approval,
    /// A question of the model (`request_user_input`).
    Question,
}

/// The phase of a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Phase {
    /// No turn is known.
    #[default]
    None,
    /// The turn is running.
    Open,
    /// Codex is about to end the turn. The turn continues if another hook blocks that.
    Stopped {
        /// The size of the rollout at that time, in bytes.
        rollout_size: u64,
    },
    /// The turn is over permanently.
    Over,
}

/// The signal that led to a phase, shown to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Evidence {
    /// The origin of the signal.
    pub(crate) source: SignalSource,
    /// The signal.
    pub(crate) signal: Signal,
    /// The time at which it was applied, in milliseconds since 1970.
    pub(crate) at: u64,
}

/// The origin of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum SignalSource {
    /// A hook.
    Hook,
    /// A line of a rollout.
    Rollout,
}

/// A change of a turn that a hook or a rollout reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Signal {
    /// The user or the parent sent a prompt (`UserPromptSubmit`), possibly during the turn.
    Prompted,
    /// The turn begins (`SubagentStart`, `task_started`).
    Began,
    /// The turn is running (`PreModelRequest`, `PreToolUse`, `PostToolUse`).
    SignOfLife,
    /// Codex asks for an approval (`PermissionRequest`).
    AskedForApproval {
        /// The size of the rollout, in bytes.
        rollout_size: u64,
    },
    /// Codex asks the user a question (`PreToolUse` of `request_user_input`). The turn is running.
    AskedQuestion {
        /// The size of the rollout, in bytes.
        rollout_size: u64,
    },
    /// A line of the rollout has the call that asks a question.
    QuestionRead {
        /// The offset of the end of the line, in bytes.
        line_end: u64,
    },
    /// A line of the rollout has the output of a call.
    OutputRead {
        /// The offset of the end of the line, in bytes.
        line_end: u64,
    },
    /// Codex begins to compact the session (`PreCompact`). The turn is running.
    Compacting {
        /// Why, if that is known.
        trigger: Option<Trigger>,
    },
    /// Codex has compacted the session (`PostCompact`).
    Compacted {
        /// Why, if that is known.
        trigger: Option<Trigger>,
        /// The size of the rollout, in bytes, or the largest number if the session has no rollout.
        rollout_size: u64,
    },
    /// A line of the rollout has a compaction.
    CompactionRead,
    /// A line of the rollout has a prompt of the user.
    PromptRead,
    /// Codex is about to end the turn (`Stop`, `SubagentStop`).
    Stopped {
        /// The size of the rollout, in bytes.
        rollout_size: u64,
    },
    /// The session has ended (`SessionEnd`), and its turn with it.
    SessionEnded {
        /// The size of the rollout, in bytes.
        rollout_size: u64,
    },
    /// The turn is over (`Interrupt`, `task_complete`, `turn_aborted`).
    Ended,
    /// A line of the rollout names the turn.
    Named {
        /// The offset of the end of the line, in bytes.
        line_end: u64,
    },
    /// Turns were rolled back (`thread_rolled_back`, which does not name them): every turn that began before is over.
    RolledBack,
}

/// The key of a thread: the root, or a subagent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ThreadKey {
    /// The root.
    Root,
    /// A subagent.
    Subagent(ThreadId),
}

impl Thread {
    /// Returns whether the positions of lines decide which of two turns is later. If so, a turn that begins after the
    /// beginning of the latest one is later, whatever the ids suggest, and no other line names a later turn.
    fn is_ordered_by_position(&self, source: SignalSource) -> bool {
        self.has_read_beginning && source == SignalSource::Rollout
    }

    /// Applies a signal for `turn`, or for the latest turn if `turn` is empty.
    fn apply(&mut self, turn: &TurnId, signal: Signal, source: SignalSource, at: u64) {
        let is_other = !turn.0.is_empty() && *turn != self.turn;
        let is_earlier = if self.is_ordered_by_position(source) {
            signal != Signal::Began
        } else {
            turn.is_earlier_than(&self.turn)
        };
        if is_other && is_earlier {
            return;
        }
        let phase = if is_other { Phase::None } else { self.phase };
        let work = if phase == Phase::None { Work::default() } else { self.work }.after(signal);
        let next = match (phase, signal) {
            (Phase::Over, _) | (_, Signal::Ended) => Phase::Over,
            (
                Phase::None,
                Signal::RolledBack
                | Signal::Named { .. }
                | Signal::QuestionRead { .. }
                | Signal::OutputRead { .. }
                | Signal::CompactionRead
                | Signal::PromptRead
                | Signal::SessionEnded { .. },
            ) => return,
            (_, Signal::RolledBack) if !self.has_read_beginning => return,
            (_, Signal::RolledBack) => Phase::Over,
            (Phase::Stopped { rollout_size: size }, Signal::Stopped { rollout_size }) => {
                Phase::Stopped { rollout_size: size.max(rollout_size) }
            }
            (Phase::Stopped { rollout_size }, Signal::Named { line_end }) if line_end > rollout_size => Phase::Open,
            // Without a rollout, nothing else shows the end of a turn that only compacts the session.
            (_, Signal::Compacted { rollout_size: u64::MAX, .. }) if work.is_only_compaction() => {
                Phase::Stopped { rollout_size: u64::MAX }
            }
            // The line of the turn's beginning may be read late.
            (
                _,
                Signal::QuestionRead { .. } | Signal::OutputRead { .. } | Signal::CompactionRead | Signal::PromptRead,
            )
            | (
                Phase::Stopped { .. },
                Signal::Began
                | Signal::Named { .. }
                | Signal::AskedForApproval { .. }
                | Signal::Compacting { .. }
                | Signal::Compacted { .. }
                | Signal::SessionEnded { .. },
            ) => phase,
            (_, Signal::Stopped { rollout_size } | Signal::SessionEnded { rollout_size }) => {
                Phase::Stopped { rollout_size }
            }
            (
                _,
                Signal::Prompted
                | Signal::SignOfLife
                | Signal::Began
                | Signal::AskedForApproval { .. }
                | Signal::AskedQuestion { .. }
                | Signal::Compacting { .. }
                | Signal::Compacted { .. }
                | Signal::Named { .. },
            ) => Phase::Open,
        };
        if phase == Phase::None {
            // A line is read later than it was written, but its turn's id has the time of the beginning.
            let known = turn.began_at().filter(|began_at| source == SignalSource::Rollout && *began_at < at);
            self.began_at = known.unwrap_or(at);
        }
        self.work = work;
        if is_other {
            self.turn = turn.clone();
            self.has_read_beginning = false;
            self.questions_through = 0;
        }
        self.has_read_beginning |= source == SignalSource::Rollout && signal == Signal::Began;
        let before = self.request.filter(|_| !is_other);
        self.request = if next == Phase::Open { self.request_after(before, signal) } else { None };
        if next != self.phase || is_other {
            self.evidence = Some(Evidence { source, signal, at });
        }
        self.phase = next;
    }

    /// Returns the request that is open after a signal of a running turn. `before` is the request that was open before it.
    fn request_after(&mut self, before: Option<Request>, signal: Signal) -> Option<Request> {
        match signal {
            Signal::AskedForApproval { rollout_size } => Some(Request { kind: RequestKind::Approval, rollout_size }),
            Signal::AskedQuestion { rollout_size } => {
                self.questions_through = rollout_size;
                Some(Request { kind: RequestKind::Question, rollout_size })
            }
            // The hooks that follow a call can run before its line is read.
            Signal::QuestionRead { line_end } if line_end > self.questions_through => {
                Some(Request { kind: RequestKind::Question, rollout_size: line_end })
            }
            Signal::OutputRead { line_end } => before.filter(|request| line_end <= request.rollout_size),
            Signal::Began
            | Signal::Named { .. }
            | Signal::QuestionRead { .. }
            | Signal::CompactionRead
            | Signal::PromptRead => before,
            Signal::Prompted
            | Signal::SignOfLife
            | Signal::Compacting { .. }
            | Signal::Compacted { .. }
            | Signal::Stopped { .. }
            | Signal::SessionEnded { .. }
            | Signal::Ended
            | Signal::RolledBack => None,
        }
    }

    /// Returns whether the beginning of the latest turn was read in the rollout.
    pub(crate) fn has_read_beginning(&self) -> bool {
        self.has_read_beginning
    }

    /// Returns whether a turn is running.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Returns when the latest turn began, in milliseconds since 1970, or 0 if none is known.
    pub(crate) fn began_at(&self) -> u64 {
        self.began_at
    }

    /// Returns whether the latest turn does nothing but compact the session.
    fn is_only_compacting(&self) -> bool {
        self.work.is_only_compaction()
    }

    /// Returns the size of the rollout, in bytes, when its latest turn was stopped. Returns `None` if the turn is in
    /// another phase.
    pub(crate) fn stopped_at(&self) -> Option<u64> {
        match self.phase {
            Phase::Stopped { rollout_size } => Some(rollout_size),
            Phase::None | Phase::Open | Phase::Over => None,
        }
    }

    /// Returns the size of the rollout, in bytes, at the time of the open request to the user, if there is one.
    pub(crate) fn asked_at(&self) -> Option<u64> {
        self.request.map(|request| request.rollout_size)
    }

    /// Sets the path of the rollout. A different rollout is read from its start.
    pub(crate) fn set_rollout(&mut self, path: &str) {
        if self.rollout != path {
            path.clone_into(&mut self.rollout);
            self.reset_position();
        }
    }

    /// Records that the beginning of the latest turn was not read in the rollout.
    pub(crate) fn forget_beginning(&mut self) {
        self.has_read_beginning = false;
    }

    /// Makes the next reading of the rollout begin at its start.
    pub(crate) fn reset_position(&mut self) {
        self.read_offset = 0;
        self.read_fingerprint = None;
        self.has_read_beginning = false;
        self.questions_through = 0;
        self.compacted_through = 0;
    }
}

impl State {
    /// Applies a signal for a turn of the thread `key`.
    pub(crate) fn apply(&mut self, key: &ThreadKey, turn: &TurnId, signal: Signal, source: SignalSource, at: u64) {
        let id = match key {
            ThreadKey::Root => &self.session,
            ThreadKey::Subagent(id) => id,
        };
        let thread = self.thread(key);
        // A turn that is older than its thread is a copy of another thread's history. Copies precede the thread's own
        // turns. A turn with an early id after those began when the clock was set back.
        let is_ordered_by_position = thread.is_some_and(|thread| thread.is_ordered_by_position(source));
        if source == SignalSource::Rollout && !is_ordered_by_position && turn.is_later_than(id) == Some(false) {
            return;
        }
        if *turn == self.closed_through && !turn.0.is_empty() {
            return;
        }
        if turn.is_earlier_than(&self.closed_through) {
            if signal != Signal::Began || !is_ordered_by_position {
                return;
            }
            // The clock was set back, so new ids no longer show which turns came before the reset.
            self.closed_through = TurnId::default();
        }
        let before = self.root.is_open().then(|| (self.root.turn.clone(), self.root.is_only_compacting()));
        match (self.thread_mut(key), key) {
            (Some(thread), _) => thread.apply(turn, signal, source, at),
            (None, ThreadKey::Subagent(id)) => {
                self.make_room_for_subagent();
                let mut thread = Thread::default();
                thread.apply(turn, signal, source, at);
                self.subagents.push(Subagent { id: id.clone(), thread });
            }
            (None, ThreadKey::Root) => {}
        }
        if let Some((_, is_only_compacting)) = before.filter(|(turn, _)| *turn != self.root.turn) {
            self.timeline.record_end_of_turn(is_only_compacting, at);
        }
        self.settle(at);
    }

    /// Records what the agent is doing since `at`, if that has changed.
    pub(crate) fn settle(&mut self, at: u64) {
        if self.in_flight().next().is_some() {
            self.timeline.record_other_work();
        }
        let activity = self.activity();
        if activity.is_in_turn() {
            self.has_ended = false;
        }
        self.timeline.record(activity, self.root.is_only_compacting(), at);
    }

    /// Returns whether [`State::settle`] has to be called.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.timeline.activity != self.activity() || self.timeline.since == 0
    }

    fn activity(&self) -> Activity {
        match self.request() {
            Some(kind) => Activity::Asking(kind),
            None if self.is_in_turn() => Activity::Running,
            None if !self.is_known() => Activity::Unknown,
            None if self.has_ended => Activity::Ended,
            None => Activity::Idle,
        }
    }

    /// Returns what the agent is doing, and since when.
    pub(crate) fn timeline(&self) -> Timeline {
        self.timeline
    }

    /// Records that Codex has exited.
    pub(crate) fn end(&mut self, at: u64) {
        self.has_ended = true;
        self.settle(at);
    }

    fn thread(&self, key: &ThreadKey) -> Option<&Thread> {
        match key {
            ThreadKey::Root => Some(&self.root),
            ThreadKey::Subagent(id) => self.subagents.iter().find(|known| known.id == *id).map(|known| &known.thread),
        }
    }

    /// Returns the thread with this key, if it is known.
    pub(crate) fn thread_mut(&mut self, key: &ThreadKey) -> Option<&mut Thread> {
        match key {
            ThreadKey::Root => Some(&mut self.root),
            ThreadKey::Subagent(id) => {
                self.subagents.iter_mut().find(|known| known.id == *id).map(|known| &mut known.thread)
            }
        }
    }

    /// Returns whether an event of `session` belongs to a Codex that runs, or ran, as a tool of the root.
    pub(crate) fn is_nested(&self, session: &ThreadId, key: &ThreadKey) -> bool {
        // Subagents of the former session continue after `/new`.
        let is_known_subagent = match key {
            ThreadKey::Root => false,
            ThreadKey::Subagent(id) => {
                self.former.contains(session) || self.subagents.iter().any(|known| known.id == *id)
            }
        };
        *session != self.session && !is_known_subagent && (self.nested.contains(session) || self.root.is_open())
    }

    /// Returns whether a session without a rollout is a side conversation: the root's session has a rollout.
    pub(crate) fn is_side_conversation(&self, session: &ThreadId) -> bool {
        *session != self.session && !self.former.contains(session) && !self.root.rollout.is_empty()
    }

    /// Returns whether a session is unknown, and not the first one.
    pub(crate) fn is_new_session(&self, session: &ThreadId) -> bool {
        let is_known = *session == self.session || self.former.contains(session) || self.nested.contains(session);
        !self.session.0.is_empty() && !is_known
    }

    /// Returns whether a session is remembered as nested.
    pub(crate) fn has_nested(&self, session: &ThreadId) -> bool {
        self.nested.contains(session)
    }

    /// Remembers a nested session. A former session of the root is not remembered: its events are late ones, and it can
    /// be resumed.
    pub(crate) fn add_nested(&mut self, session: &ThreadId) {
        if !self.former.contains(session) {
            remember(&mut self.nested, session);
        }
    }

    /// Makes `session` the root's session.
    pub(crate) fn set_session(&mut self, session: &ThreadId) {
        if self.session != *session {
            let before = std::mem::replace(&mut self.session, session.clone());
            if !before.0.is_empty() {
                remember(&mut self.former, &before);
            }
            self.nested.retain(|nested| nested != session);
            // An ephemeral session has no rollout, and the former session's does not describe it.
            self.root.set_rollout("");
            self.facts = Facts::default();
            (self.compaction, self.compacting) = (None, None);
            // The turn of the former session is over. Its id still shows which turns are earlier.
            if self.root.phase != Phase::None {
                self.root.phase = Phase::Over;
                self.root.request = None;
            }
        }
    }

    /// Sets the facts about the root's session. Those about another session are ignored.
    pub(crate) fn set_facts(&mut self, mut facts: Facts) {
        if facts.session == self.session {
            facts.context = facts.context.filter(|context| context.line_end > self.root.compacted_through);
            self.facts = facts;
        }
    }

    /// Returns the facts about the root's session.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Returns why the root's latest turn failed. The error of an earlier turn does not count: the hook of a prompt runs
    /// before the watcher reads that another turn has begun.
    pub(crate) fn error(&self) -> Option<&TurnError> {
        self.facts.error.as_ref().filter(|error| error.at >= self.root.began_at)
    }

    /// Returns the time of the last compaction of the root's session, in milliseconds since 1970, and why Codex did it, if
    /// that is known.
    pub(crate) fn last_compaction(&self) -> Option<(u64, Option<Trigger>)> {
        let reported = self.compaction.map(|Compaction { at, trigger }| (at, trigger));
        // Its line is written before the hook of its end runs, and that hook can be missing.
        let read = self.facts.compacted_at.filter(|read| reported.is_none_or(|(at, _)| *read > at));
        let trigger_of =
            |read| self.compacting.filter(|(began_at, _)| *began_at <= read).and_then(|(_, trigger)| trigger);
        read.map(|read| (read, trigger_of(read))).or(reported)
    }

    /// Records that Codex begins to compact the root's session.
    pub(crate) fn begin_compaction(&mut self, trigger: Option<Trigger>, at: u64) {
        self.compacting = Some((at, trigger));
    }

    /// Records that Codex has compacted the root's session. `rollout` is the path of its rollout, and `rollout_size` the
    /// size at that time, in bytes.
    pub(crate) fn end_compaction(&mut self, trigger: Option<Trigger>, rollout: &str, rollout_size: u64, at: u64) {
        self.compaction = Some(Compaction { at, trigger });
        self.compacting = None;
        // The positions in another rollout say nothing about this one.
        if self.root.rollout == rollout {
            self.root.compacted_through = rollout_size;
        }
        self.facts.context = self.facts.context.filter(|context| context.line_end > self.root.compacted_through);
    }

    /// Returns whether a hook has run for the agent, or its turns were closed. Rollouts are found only through hooks.
    pub(crate) fn is_known(&self) -> bool {
        self.resets > 0 || !self.session.0.is_empty() || !self.subagents.is_empty()
    }

    /// Returns whether a turn of the root or of a subagent is running.
    pub(crate) fn is_in_turn(&self) -> bool {
        self.root.is_open() || self.in_flight().next().is_some()
    }

    /// Returns whether the file `active` exists: a turn is running, and Codex does not wait for an approval.
    pub(crate) fn is_active(&self) -> bool {
        self.is_in_turn() && self.request() != Some(RequestKind::Approval)
    }

    /// Returns the subagents in flight.
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = &Subagent> {
        self.subagents.iter().filter(|subagent| subagent.thread.is_open())
    }

    /// Stops the turns of the subagents in flight, because the root's session has ended. Their next hook undoes that.
    pub(crate) fn stop_subagents(&mut self, at: u64) {
        for subagent in self.subagents.iter_mut().filter(|subagent| subagent.thread.is_open()) {
            // Which of their lines were written later is unknown.
            let signal = Signal::SessionEnded { rollout_size: u64::MAX };
            subagent.thread.apply(&TurnId::default(), signal, SignalSource::Hook, at);
        }
    }

    /// Returns what Codex waits for: an answer of the user, or nothing. An approval counts more than a question of
    /// another thread.
    pub(crate) fn request(&self) -> Option<RequestKind> {
        let mut kinds = self.threads().filter_map(|thread| thread.request).map(|request| request.kind);
        let first = kinds.next()?;
        Some(kinds.find(|kind| *kind == RequestKind::Approval).unwrap_or(first))
    }

    fn threads(&self) -> impl Iterator<Item = &Thread> {
        std::iter::once(&self.root).chain(self.subagents.iter().map(|subagent| &subagent.thread))
    }

    /// Closes all turns permanently. `latest` is the latest turn that any rollout names. `read` is the size of the root's
    /// rollout in bytes and the hash of its end, if the rollout exists. `at` is the time, in milliseconds since 1970.
    pub(crate) fn reset(&mut self, latest: &TurnId, read: Option<(u64, Fingerprint)>, at: u64) {
        let turns = self.threads().map(|thread| &thread.turn).chain([&self.closed_through]);
        let later =
            |latest, turn| if TurnId::is_earlier_than(latest, turn) || latest.0.is_empty() { turn } else { latest };
        let closed_through = turns.fold(latest, later).clone();
        // Turns that begin after the present end of the rollout are later, whatever their ids suggest.
        let has_read_beginning = read.is_some();
        let (read_offset, read_fingerprint) =
            read.map_or((self.root.read_offset, self.root.read_fingerprint), |(size, end)| (size, Some(end)));
        let rollout = self.root.rollout.clone();
        let compacted_through = self.root.compacted_through;
        self.timeline.record_start(self.root.is_only_compacting(), at);
        let root = Thread {
            compacted_through,
            rollout,
            read_offset,
            read_fingerprint,
            has_read_beginning,
            ..Thread::default()
        };
        let (session, resets) = (self.session.clone(), self.resets.wrapping_add(1));
        let (facts, compaction, timeline) = (std::mem::take(&mut self.facts), self.compaction, self.timeline);
        *self = Self { session, root, closed_through, resets, facts, compaction, timeline, ..Self::default() };
    }

    fn make_room_for_subagent(&mut self) {
        if self.subagents.len() >= MAX_SUBAGENTS {
            let index = self.subagents.iter().position(|subagent| !subagent.thread.is_open()).unwrap_or(0);
            self.subagents.remove(index);
        }
    }
}

/// Appends a session to a list of remembered ones, latest last.
fn remember(sessions: &mut Vec<ThreadId>, session: &ThreadId) {
    if !sessions.contains(session) {
        if sessions.len() >= MAX_SESSIONS {
            sessions.remove(0);
        }
        sessions.push(session.clone());
    }
}

#[cfg(test)]
mod tests;
