//! Which lines repeat another session's history, told from the input alone.
//!
//! A subagent's or forked file begins with a copy of its parent's lines. From 0.154 on its `session_meta` says at
//! which ordinal its own lines begin. Before, a second `session_meta`, that of the session it was forked from, heads
//! the copy, and the first turn that began after the file's own thread was made ends it (turn ids and thread ids are
//! UUIDs of version 7: they hold their time). Seen on 0.138 and 0.147.

use crate::rollout::ids::{ThreadId, TurnId};

/// What a `session_meta` line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionMeta {
    /// `id`
    pub thread: ThreadId,
    /// `forked_from_id`
    pub forked_from: Option<ThreadId>,
    /// `subagent_history_start_ordinal`
    pub history_start: Option<u64>,
}

/// What a `session_meta` line means where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Another rollout begins.
    NewRollout,
    /// Copied history begins.
    CopiedHistory,
}

/// Whether the present line is copied history.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct CopiedContext {
    own_thread: ThreadId,
    /// The thread whose copied `session_meta` may come next.
    forked_from: Option<ThreadId>,
    extent: Extent,
}

/// How far copied history goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Extent {
    /// There is none, or it is over.
    #[default]
    None,
    /// Lines with an ordinal below this are copied.
    UntilOrdinal(u64),
    /// All lines are copied until a turn of the file's own thread begins.
    UntilOwnTurn,
}

impl CopiedContext {
    /// Takes in a `session_meta` line.
    pub fn session_meta(&mut self, meta: SessionMeta) -> Meaning {
        let is_copy = self.forked_from.as_ref().is_some_and(|forked_from| *forked_from == meta.thread);
        self.forked_from = meta.forked_from;
        if is_copy {
            if self.extent == Extent::None {
                self.extent = Extent::UntilOwnTurn;
            }
            return Meaning::CopiedHistory;
        }
        self.own_thread = meta.thread;
        self.extent = meta.history_start.map_or(Extent::None, Extent::UntilOrdinal);
        Meaning::NewRollout
    }

    /// Takes in a line that says which turn goes on from here.
    pub fn turn(&mut self, turn: &TurnId) {
        if self.extent == Extent::UntilOwnTurn && turn.is_later_than(&self.own_thread) == Some(true) {
            self.extent = Extent::None;
        }
    }

    /// Whether a line with this ordinal is copied.
    #[must_use]
    pub fn covers(&self, ordinal: Option<u64>) -> bool {
        match self.extent {
            Extent::None => false,
            Extent::UntilOrdinal(own) => ordinal.is_some_and(|ordinal| ordinal < own),
            Extent::UntilOwnTurn => true,
        }
    }
}

#[cfg(test)]
mod tests;
