//! Calls that were answered lately, and calls of programs whose records have been written.
//!
//! An event about a tool repeats a call in this list, or else is the only trace of a call that a program made itself.

use std::collections::VecDeque;

use crate::rollout::ids::CallId;

use super::call_filter::hash;

/// The number of calls that are remembered. An event follows its call's output by a few lines at most.
const MAX_CALLS: usize = 64;

/// The hashes of the latest calls.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct RecentCalls {
    /// Calls with an output.
    answered: VecDeque<u64>,
    /// Calls that a program made itself.
    nested: VecDeque<u64>,
}

impl RecentCalls {
    /// Remembers a call with an output.
    pub(crate) fn add_answered(&mut self, call: &CallId) {
        push(&mut self.answered, hash(call));
    }

    /// Remembers a call that a program made itself. Returns `false` if it was known before.
    pub(crate) fn add_nested(&mut self, call: &CallId) -> bool {
        let hash = hash(call);
        let is_new = !self.nested.contains(&hash);
        if is_new {
            push(&mut self.nested, hash);
        }
        is_new
    }

    /// Returns whether the call's output was read lately.
    #[must_use]
    pub(crate) fn is_answered(&self, call: &CallId) -> bool {
        self.answered.contains(&hash(call))
    }
}

/// Appends a hash and drops the oldest one if there are too many.
fn push(hashes: &mut VecDeque<u64>, hash: u64) {
    if hashes.len() == MAX_CALLS {
        hashes.pop_front();
    }
    hashes.push_back(hash);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::ids::Name;

    #[test]
    fn the_latest_calls_are_remembered() {
        let call = |number: usize| CallId(Name::new(format!("call_{number}").as_bytes(), false));
        let mut recent = RecentCalls::default();
        for number in 0..100 {
            recent.add_answered(&call(number));
        }
        for number in 0..200 {
            assert_eq!(recent.is_answered(&call(number)), (36..100).contains(&number));
        }
        assert!(recent.add_nested(&call(99)));
        assert!(!recent.add_nested(&call(99)));
        assert!((100..164).all(|number| recent.add_nested(&call(number))));
        assert!(recent.add_nested(&call(99)));
    }
}
