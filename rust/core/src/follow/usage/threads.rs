//! The sums over the rollouts of a thread: Codex writes a further file of the same thread after going back in a
//! conversation.

use std::collections::HashSet;
use std::ffi::OsStr;

use super::checkpoint::MeasuredRollout;
use crate::meter::{LinePosition, RateLimits, Tokens};
use crate::rollout::ids::ThreadId;

/// What the rollouts of a thread show together.
#[derive(Debug, Default)]
pub(super) struct ThreadSum<'c> {
    /// The tokens of the thread's inferences.
    pub(super) tokens: Tokens,
    /// The model of the latest turn.
    pub(super) model: Option<&'c str>,
    /// The provider of that model, and the path of the latest rollout.
    pub(super) provider: Option<&'c str>,
    /// The latest line with limits, and the limits.
    pub(super) limits: Option<(LinePosition, &'c RateLimits)>,
    /// The latest line that reported an inference or limits, and the name of its file.
    pub(super) latest: Option<(LinePosition, &'c OsStr)>,
    /// The path of that file.
    pub(super) path: &'c str,
    /// Whether all complete lines of all files were measured.
    pub(super) is_complete: bool,
    /// The time of the last compaction, in milliseconds since 1970.
    pub(super) compacted_at: Option<u64>,
}

/// Returns each thread once, except an unknown one.
pub(super) fn unique<'c>(threads: impl Iterator<Item = &'c ThreadId>) -> Vec<ThreadId> {
    let mut seen = HashSet::new();
    threads.filter(|thread| !thread.0.is_empty() && seen.insert(*thread)).cloned().collect()
}

/// Sums up the rollouts of a thread.
pub(super) fn sum_of<'c>(thread: &ThreadId, rollouts: &'c [MeasuredRollout]) -> ThreadSum<'c> {
    let mut sum = ThreadSum { is_complete: true, ..ThreadSum::default() };
    for rollout in rollouts.iter().filter(|rollout| rollout.measures.thread == *thread) {
        let measures = &rollout.measures;
        sum.tokens = sum.tokens.plus(rollout.tokens());
        sum.is_complete &= rollout.stamp.is_some();
        sum.compacted_at = sum.compacted_at.max(measures.compacted_at);
        if let Some(read) = measures.limits_read.filter(|read| sum.limits.is_none_or(|(known, _)| known < *read)) {
            sum.limits = Some((read, &measures.limits));
        }
        let latest = measures.counted.max(measures.limits_read);
        if let Some(latest) = latest.filter(|latest| sum.latest.is_none_or(|(known, _)| known < *latest)) {
            sum.latest = Some((latest, rollout.name()));
            sum.path = &rollout.path;
            sum.model = measures.model.as_deref().or(sum.model);
            sum.provider = measures.provider.as_deref().or(sum.provider);
        }
    }
    sum
}
