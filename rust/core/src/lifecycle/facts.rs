//! What the rollouts tell about the root's session besides its turns: its model, its tokens, compactions and errors.

use serde::{Deserialize, Serialize};

use crate::rollout::ids::ThreadId;

/// The facts about a session. The watcher reads them in its rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// The session. Facts about another session than the root's are ignored.
    pub(crate) session: ThreadId,
    /// The model of the latest turn.
    pub(crate) model: Option<String>,
    /// The size of the context, if a request has shown it since the last compaction.
    pub(crate) context: Option<ContextSize>,
    /// The tokens of the whole session.
    pub(crate) tokens: Option<Tokens>,
    /// The time of the last compaction, in milliseconds since 1970.
    pub(crate) compacted_at: Option<u64>,
    /// Why the latest turn failed, if it did.
    pub(crate) error: Option<TurnError>,
}

/// The size of a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContextSize {
    /// The tokens of the input of the latest request, including cached ones.
    pub(crate) tokens: u64,
    /// The offset of the end of the line that reports it, in bytes.
    pub(crate) line_end: u64,
}

/// Counts of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tokens {
    /// The tokens of all inputs, including cached ones.
    pub(crate) input: u64,
    /// Those of them that were cached.
    pub(crate) cached_input: u64,
    /// The tokens of all outputs, including reasoning.
    pub(crate) output: u64,
    /// Those of them that were reasoning.
    pub(crate) reasoning_output: u64,
}

/// Why a turn failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TurnError {
    /// Codex's message.
    pub(crate) message: String,
    /// The time of the line that reports it, in milliseconds since 1970.
    pub(crate) at: u64,
}
