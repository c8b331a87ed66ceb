//! Detects lines that repeat another session's history, from the input alone.
//!
//! The file of a subagent or a fork can begin with a copy of its parent's lines. Codex marks its end in four ways:
//!
//! * From 0.154 on, the `session_meta` names the ordinal at which the file's own lines begin. If the file's lines have no
//!   ordinals, the next two rules apply.
//! * A file with `history_base` contains no copy.
//! * The copy begins with a second `session_meta`, the parent's (seen on 0.98 to 0.147), or without one if it is only the
//!   last turns of a subagent's parent (seen on 0.138). It ends with the first turn that began after the file's own
//!   thread: turn ids and thread ids are UUIDs of version 7, which contain their time.
//! * Without turn ids (seen on 0.92 and 0.98), only time tells: Codex writes the entire copy at once when it forks.
//!
//! A copy can contain more `session_meta` lines, for example of the session that the parent was forked from. If none of
//! the rules applies, a line counts as the file's own.

use crate::json::{Key, Kind, Text};
use crate::rollout::envelope::{Members, string, unsigned, word};
use crate::rollout::ids::{Name, ThreadId, TurnId};
use crate::rollout::timestamp::Nanos;

/// The longest id that is kept, in bytes.
pub(crate) const MAX_ID_BYTES: usize = 512;

/// The members of a `session_meta` line that matter for copied history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionMeta {
    /// The line's ordinal.
    pub(crate) ordinal: Option<u64>,
    /// The line's time.
    pub(crate) time: Option<Nanos>,
    /// `id`
    pub(crate) thread: ThreadId,
    /// `forked_from_id`
    pub(crate) forked_from: Option<ThreadId>,
    /// `subagent_history_start_ordinal`
    pub(crate) history_start: Option<u64>,
    /// Whether there is a `history_base`.
    pub(crate) has_history_base: bool,
    /// Whether `thread_source` is `subagent`.
    pub(crate) is_subagent: bool,
}

impl SessionMeta {
    /// Reads the members of a payload. `ordinal` and `time` belong to its line.
    pub(crate) fn read(text: Text<'_>, members: &Members<'_>, ordinal: Option<u64>, time: Option<Nanos>) -> Self {
        let thread = |key| bounded_name(text, members, key).map(ThreadId);
        Self {
            ordinal,
            time,
            thread: thread(Key::Id).unwrap_or_default(),
            forked_from: thread(Key::ForkedFromId),
            history_start: members.get(Key::SubagentHistoryStartOrdinal).and_then(|ordinal| unsigned(text, ordinal)),
            has_history_base: members.get(Key::HistoryBase).is_some_and(|base| base.kind == Kind::Object),
            is_subagent: members
                .get(Key::ThreadSource)
                .is_some_and(|source| word(text, source).as_deref() == Some(b"subagent")),
        }
    }
}

/// Returns a member as an id, if it is a string, not empty, and short enough to be remembered.
pub(crate) fn bounded_name(text: Text<'_>, members: &Members<'_>, key: Key) -> Option<Name> {
    let value = members.get(key).and_then(string)?;
    let name = Name::new(value.raw(text), value.content.has_escape());
    Some(name).filter(|name| !name.is_empty() && name.as_bytes().len() <= MAX_ID_BYTES)
}

/// The meaning of a `session_meta` line at its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionMetaKind {
    /// Another rollout begins, of another session.
    NewSession,
    /// Another rollout of the same session begins.
    SameSession,
    /// Copied history begins.
    CopiedHistory,
}

/// Tracks whether the current line is copied history.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct CopiedContext {
    own_thread: ThreadId,
    /// The ordinal of the file's own `session_meta`.
    own_ordinal: Option<u64>,
    /// The thread that was forked, whose copied `session_meta` may be next.
    forked_from: Option<ThreadId>,
    /// Whether a copy without a `session_meta` can follow, before the first turn of the own thread.
    expects_copy: bool,
    extent: Extent,
    /// In copied history without ordinals: whether the current line was written together with the previous one.
    follows_at_once: bool,
}

/// The end of copied history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Extent {
    /// No copied history, or it has ended.
    #[default]
    None,
    /// Lines with a lower ordinal are copied.
    UntilOrdinal(u64),
    /// All lines are copied until a turn of the file's own thread begins. The latest line has this time.
    UntilOwnTurn(TurnIds, Option<Nanos>),
}

/// The ids of the copy's turns so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum TurnIds {
    /// No turn has begun.
    Unknown,
    /// A turn has an id with a time.
    Present,
    /// No turn has an id with a time. A pause ends the copy.
    Missing,
}

/// A pause that Codex does not make while it writes a copy, in nanoseconds. In recorded forks, the lines of a copy follow
/// each other within 3 ms, and the first own line after 1.5 s at the earliest.
const PAUSE: Nanos = 500_000_000;

impl CopiedContext {
    /// Applies a `session_meta` line and returns its meaning.
    pub(crate) fn session_meta(&mut self, meta: SessionMeta) -> SessionMetaKind {
        let is_below_boundary = matches!(self.extent, Extent::UntilOrdinal(own)
            if meta.ordinal.is_some_and(|ordinal| ordinal < own) && meta.ordinal > self.own_ordinal);
        let is_parents = self.forked_from.as_ref().is_some_and(|forked_from| *forked_from == meta.thread);
        // Another rollout can be older, too, but a copy is written at once.
        let is_in_copy = matches!(self.extent, Extent::UntilOwnTurn(..))
            && self.follows_at_once
            && meta.thread.is_earlier_than(&self.own_thread);
        if is_below_boundary || is_parents || is_in_copy {
            self.forked_from = meta.forked_from;
            if self.extent == Extent::None {
                self.extent = Extent::UntilOwnTurn(TurnIds::Unknown, meta.time);
            }
            return SessionMetaKind::CopiedHistory;
        }
        let is_same = !meta.thread.0.is_empty() && meta.thread == self.own_thread;
        let can_have_copy = meta.forked_from.is_some() && !meta.has_history_base;
        let history_start = meta.history_start.filter(|_| meta.ordinal.is_some());
        *self = Self {
            extent: match history_start {
                Some(own) => Extent::UntilOrdinal(own),
                None if can_have_copy && meta.is_subagent => Extent::UntilOwnTurn(TurnIds::Unknown, meta.time),
                None => Extent::None,
            },
            expects_copy: can_have_copy && history_start.is_none(),
            own_thread: meta.thread,
            own_ordinal: meta.ordinal,
            forked_from: meta.forked_from,
            follows_at_once: false,
        };
        if is_same { SessionMetaKind::SameSession } else { SessionMetaKind::NewSession }
    }

    /// Applies a line that begins or continues a turn. `time` is the line's time.
    pub(crate) fn begin_turn(&mut self, turn: &TurnId, time: Option<Nanos>) {
        match (turn.is_later_than(&self.own_thread), self.extent) {
            (Some(true), Extent::UntilOwnTurn(..)) => self.end_copy(),
            (Some(true), Extent::None) => self.expects_copy = false,
            (Some(false), Extent::UntilOwnTurn(_, latest)) => {
                self.extent = Extent::UntilOwnTurn(TurnIds::Present, latest);
            }
            (Some(false), Extent::None) if self.expects_copy => {
                self.extent = Extent::UntilOwnTurn(TurnIds::Present, time);
            }
            (None, Extent::UntilOwnTurn(TurnIds::Unknown, latest)) => {
                self.extent = Extent::UntilOwnTurn(TurnIds::Missing, latest);
            }
            _ => {}
        }
    }

    /// Applies the beginning of a line and returns whether the line is copied.
    #[inline]
    pub(crate) fn begin_line(&mut self, ordinal: Option<u64>, time: Option<Nanos>) -> bool {
        match self.extent {
            Extent::None => false,
            Extent::UntilOrdinal(own) => ordinal.is_some_and(|ordinal| ordinal < own),
            Extent::UntilOwnTurn(turn_ids, previous) => {
                let gap = time.zip(previous).map(|(time, previous)| time - previous);
                if turn_ids == TurnIds::Missing && gap.is_some_and(|gap| gap >= PAUSE) {
                    self.end_copy();
                    return false;
                }
                self.follows_at_once = gap.is_some_and(|gap| (0..PAUSE).contains(&gap));
                self.extent = Extent::UntilOwnTurn(turn_ids, time.or(previous));
                true
            }
        }
    }

    fn end_copy(&mut self) {
        self.extent = Extent::None;
        self.expects_copy = false;
    }
}

#[cfg(test)]
mod tests;
