//! What the rollouts tell about the root's session besides its turns: its model, its tokens, compactions and errors.

use serde::{Deserialize, Serialize};

pub(crate) use crate::meter::{ContextSize, Tokens, TurnError};
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
