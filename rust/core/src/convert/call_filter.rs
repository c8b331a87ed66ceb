//! A counting filter over call ids, which quickly rules out ids that are not in a queue.

use std::collections::VecDeque;

use crate::rollout::ids::CallId;

/// The number of buckets.
const BUCKETS: u16 = 1024;

/// The buckets of the calls in a queue, in the order of the queue.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "VecDeque<u16>", into = "VecDeque<u16>")]
pub(crate) struct CallFilter {
    buckets: VecDeque<u16>,
    /// The number of calls in each bucket. A count that reaches its maximum stays there.
    counts: Box<[u8; BUCKETS as usize]>,
}

impl Default for CallFilter {
    fn default() -> Self {
        Self::from(VecDeque::new())
    }
}

impl From<VecDeque<u16>> for CallFilter {
    fn from(mut buckets: VecDeque<u16>) -> Self {
        let mut counts = Box::new([0; BUCKETS as usize]);
        for bucket in &mut buckets {
            *bucket %= BUCKETS;
            count(&mut counts[usize::from(*bucket)]);
        }
        Self { buckets, counts }
    }
}

impl<'a> FromIterator<&'a CallId> for CallFilter {
    fn from_iter<I: IntoIterator<Item = &'a CallId>>(calls: I) -> Self {
        Self::from(calls.into_iter().map(bucket).collect::<VecDeque<u16>>())
    }
}

impl From<CallFilter> for VecDeque<u16> {
    fn from(calls: CallFilter) -> Self {
        calls.buckets
    }
}

impl CallFilter {
    /// Adds a call to the end of the queue.
    pub(crate) fn push(&mut self, call: &CallId) {
        let bucket = bucket(call);
        self.buckets.push_back(bucket);
        count(&mut self.counts[usize::from(bucket)]);
    }

    /// Removes the call at `position`.
    pub(crate) fn remove(&mut self, position: usize) {
        if let Some(bucket) = self.buckets.remove(position) {
            let count = &mut self.counts[usize::from(bucket)];
            if *count < u8::MAX {
                *count -= 1;
            }
        }
    }

    /// Returns whether the queue may contain the call; `false` is certain.
    #[must_use]
    pub(crate) fn may_contain(&self, call: &CallId) -> bool {
        self.counts[usize::from(bucket(call))] > 0
    }
}

/// Adds one to a count.
fn count(calls: &mut u8) {
    *calls = calls.saturating_add(1);
}

/// Returns the bucket of a call, a number below [`BUCKETS`].
fn bucket(call: &CallId) -> u16 {
    u16::try_from(hash(call) >> 54).map_or(0, |bucket| bucket % BUCKETS)
}

/// Returns a hash of a call's id. It is the same on all machines.
pub(crate) fn hash(call: &CallId) -> u64 {
    call.0.as_bytes().chunks(8).fold(0x9E37_79B9_7F4A_7C15, |hash: u64, chunk| {
        let word = match <[u8; 8]>::try_from(chunk) {
            Ok(chunk) => u64::from_le_bytes(chunk),
            Err(_) => chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        (hash ^ word).wrapping_mul(0xD6E8_FEB8_6659_FD93).rotate_left(29)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rollout::ids::Name;

    proptest! {
        #[test]
        fn a_call_in_the_queue_is_always_found(
            changes in prop::collection::vec((any::<bool>(), "[a-z]{0,3}|call_[0-9]{30,60}", any::<prop::sample::Index>()), 0..80),
        ) {
            let (mut calls, mut buckets): (Vec<CallId>, CallFilter) = (Vec::new(), CallFilter::default());
            for (is_added, id, position) in changes {
                let call = CallId(Name::new(id.as_bytes(), false));
                if is_added || calls.is_empty() {
                    buckets.push(&call);
                    calls.push(call);
                } else {
                    let position = position.index(calls.len());
                    calls.remove(position);
                    buckets.remove(position);
                }
                prop_assert_eq!(&buckets, &calls.iter().collect());
                prop_assert!(calls.iter().all(|call| buckets.may_contain(call)));
            }
            calls.drain(..).for_each(|_| buckets.remove(0));
            prop_assert_eq!(buckets, CallFilter::default());
        }
    }

    #[test]
    fn few_other_calls_are_reported() {
        let id = |number: usize| CallId(Name::new(format!("call_{number:024}").as_bytes(), false));
        let calls: Vec<CallId> = (0..192).map(id).collect();
        let buckets: CallFilter = calls.iter().collect();
        assert!((1000..11_000).filter(|number| buckets.may_contain(&id(*number))).count() < 2500);
    }
}
