//! The facts about the root's session, for the lifecycle state.

use std::path::Path;

use super::checkpoint::{MeasuredRollout, name_of};
use super::threads::sum_of;
use crate::lifecycle::facts::Facts;
use crate::lifecycle::state::State;

/// Returns the facts about the root's session.
///
/// Its tokens are those of its thread in all of its files, whichever agent used them. Its context is that of the current file:
/// after going back in a conversation, Codex writes a further file, and the earlier one no longer shows the context. A fork
/// is another thread, whose context is known after its first response.
pub(super) fn facts_of(state: &State, rollouts: &[MeasuredRollout]) -> Facts {
    if state.session.0.is_empty() {
        return Facts::default();
    }
    let name = name_of(Path::new(&state.root.rollout));
    let current = rollouts.iter().find(|rollout| rollout.name() == name && !name.is_empty());
    let current = current.filter(|rollout| rollout.measures.thread == state.session).map(|rollout| &rollout.measures);
    let is_known = rollouts.iter().any(|rollout| rollout.measures.thread == state.session);
    let sum = sum_of(&state.session, rollouts);
    Facts {
        session: state.session.clone(),
        model: current.and_then(|measures| measures.model.clone()).or(sum.model.map(str::to_owned)),
        context: current.and_then(|measures| measures.context),
        tokens: is_known.then_some(sum.tokens),
        compacted_at: sum.compacted_at,
        error: current.and_then(|measures| measures.error.clone()),
    }
}
