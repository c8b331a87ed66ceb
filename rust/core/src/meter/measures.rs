//! The measures of one rollout.

use serde::{Deserialize, Serialize};

use super::rate_limits::RateLimits;
use crate::convert::copied_history::CopiedContext;
use crate::convert::usage::{Counts, Ledger};
use crate::rollout::ids::ThreadId;

/// What the lines of a rollout so far have shown. It is small, and can be saved between two lines.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Measures {
    /// Decides which lines repeat another thread's history.
    pub(super) copied: CopiedContext,
    /// Decides which lines report an inference that has not been counted yet.
    pub(super) ledger: Ledger,
    /// The thread, by the first `session_meta`. It is empty before that line.
    pub(crate) thread: ThreadId,
    /// The provider of the model.
    pub(crate) provider: Option<String>,
    /// The model of the latest turn.
    pub(crate) model: Option<String>,
    /// The tokens of the thread's own inferences in this rollout.
    pub(crate) tokens: Tokens,
    /// The latest line that reported an inference.
    pub(crate) counted: Option<LinePosition>,
    /// The size of the context, if a request has shown it since the last compaction.
    pub(crate) context: Option<ContextSize>,
    /// The time of the last compaction, in milliseconds since 1970.
    pub(crate) compacted_at: Option<u64>,
    /// Why the latest turn failed, if it did.
    pub(crate) error: Option<TurnError>,
    /// The rate limits of the account, as the latest line with any has them.
    pub(crate) limits: RateLimits,
    /// That line.
    pub(crate) limits_read: Option<LinePosition>,
}

/// The position of a line in a rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct LinePosition {
    /// The line's time, in milliseconds since 1970.
    pub(crate) at: u64,
    /// The offset of its end, in bytes.
    pub(crate) end: u64,
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

impl Tokens {
    /// Returns the sum of both counts.
    #[must_use]
    pub(crate) fn plus(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    /// Returns by how much each count exceeds the other one.
    #[must_use]
    pub(crate) fn minus(self, other: Self) -> Self {
        self.with(other, u64::saturating_sub)
    }

    /// Returns the higher of each count.
    #[must_use]
    pub(crate) fn at_least(self, other: Self) -> Self {
        self.with(other, u64::max)
    }

    fn with(self, other: Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            input: combine(self.input, other.input),
            cached_input: combine(self.cached_input, other.cached_input),
            output: combine(self.output, other.output),
            reasoning_output: combine(self.reasoning_output, other.reasoning_output),
        }
    }
}

impl From<Counts> for Tokens {
    fn from(counts: Counts) -> Self {
        Self {
            input: counts.input(),
            cached_input: counts.cached_input(),
            output: counts.output(),
            reasoning_output: counts.reasoning_output(),
        }
    }
}

/// The size of a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContextSize {
    /// The tokens of the input of the latest request, including cached ones.
    pub(crate) tokens: u64,
    /// The offset of the end of the line that reports it, in bytes.
    pub(crate) line_end: u64,
}

/// Why a turn failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TurnError {
    /// Codex's message.
    pub(crate) message: String,
    /// The time of the line that reports it, in milliseconds since 1970.
    pub(crate) at: u64,
}
