//! Detects lines that repeat another session's history, from the input alone.
//!
//! The file of a subagent or a fork begins with a copy of its parent's lines. From Codex 0.154 on, its `session_meta`
//! names the ordinal at which its own lines begin. In earlier versions (seen on 0.138 and 0.147), the copy begins with
//! a second `session_meta`, the parent's. It ends with the first turn that began after the file's own thread: turn ids
//! and thread ids are UUIDs of version 7, which contain their time.

use crate::rollout::ids::{ThreadId, TurnId};

/// The members of a `session_meta` line that matter for copied history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionMeta {
    /// `id`
    pub(crate) thread: ThreadId,
    /// `forked_from_id`
    pub(crate) forked_from: Option<ThreadId>,
    /// `subagent_history_start_ordinal`
    pub(crate) history_start: Option<u64>,
}

/// The meaning of a `session_meta` line at its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionMetaKind {
    /// Another rollout begins.
    NewRollout,
    /// Copied history begins.
    CopiedHistory,
}

/// Tracks whether the current line is copied history.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct CopiedContext {
    own_thread: ThreadId,
    /// The thread that was forked, whose copied `session_meta` may be next.
    forked_from: Option<ThreadId>,
    extent: Extent,
}

/// The end of copied history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Extent {
    /// No copied history, or it has ended.
    #[default]
    None,
    /// Lines with a lower ordinal are copied.
    UntilOrdinal(u64),
    /// All lines are copied until a turn of the file's own thread begins.
    UntilOwnTurn,
}

impl CopiedContext {
    /// Applies a `session_meta` line and returns its meaning.
    pub(crate) fn session_meta(&mut self, meta: SessionMeta) -> SessionMetaKind {
        let is_copy = self.forked_from.as_ref().is_some_and(|forked_from| *forked_from == meta.thread);
        self.forked_from = meta.forked_from;
        if is_copy {
            if self.extent == Extent::None {
                self.extent = Extent::UntilOwnTurn;
            }
            return SessionMetaKind::CopiedHistory;
        }
        self.own_thread = meta.thread;
        self.extent = meta.history_start.map_or(Extent::None, Extent::UntilOrdinal);
        SessionMetaKind::NewRollout
    }

    /// Applies a line that begins or continues a turn.
    pub(crate) fn begin_turn(&mut self, turn: &TurnId) {
        if self.extent == Extent::UntilOwnTurn && turn.is_later_than(&self.own_thread) == Some(true) {
            self.extent = Extent::None;
        }
    }

    /// Returns whether a line with this ordinal is copied.
    #[must_use]
    pub(crate) fn covers(&self, ordinal: Option<u64>) -> bool {
        match self.extent {
            Extent::None => false,
            Extent::UntilOrdinal(own) => ordinal.is_some_and(|ordinal| ordinal < own),
            Extent::UntilOwnTurn => true,
        }
    }
}

#[cfg(test)]
mod tests;
