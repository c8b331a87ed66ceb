//! Marks of call ids: to see at once that an id is not among many.

use std::collections::VecDeque;

use crate::rollout::ids::CallId;

/// How many different marks there are.
const MARKS: u16 = 1024;

/// A mark for each call of a queue, in step with it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "VecDeque<u16>", into = "VecDeque<u16>")]
pub struct CallMarks {
    marks: VecDeque<u16>,
    /// How many calls have each mark, as far as a byte counts: what has come to its end stays there.
    counts: Box<[u8; MARKS as usize]>,
}

impl Default for CallMarks {
    fn default() -> Self {
        Self::from(VecDeque::new())
    }
}

impl From<VecDeque<u16>> for CallMarks {
    fn from(mut marks: VecDeque<u16>) -> Self {
        let mut counts = Box::new([0; MARKS as usize]);
        for mark in &mut marks {
            *mark %= MARKS;
            count(&mut counts[usize::from(*mark)]);
        }
        Self { marks, counts }
    }
}

impl<'a> FromIterator<&'a CallId> for CallMarks {
    fn from_iter<I: IntoIterator<Item = &'a CallId>>(calls: I) -> Self {
        Self::from(calls.into_iter().map(mark).collect::<VecDeque<u16>>())
    }
}

impl From<CallMarks> for VecDeque<u16> {
    fn from(calls: CallMarks) -> Self {
        calls.marks
    }
}

impl CallMarks {
    /// Says that a call was added behind the others.
    pub fn push(&mut self, call: &CallId) {
        let mark = mark(call);
        self.marks.push_back(mark);
        count(&mut self.counts[usize::from(mark)]);
    }

    /// Says that the call at `place` was taken away.
    pub fn remove(&mut self, place: usize) {
        if let Some(mark) = self.marks.remove(place) {
            let count = &mut self.counts[usize::from(mark)];
            if *count < u8::MAX {
                *count -= 1;
            }
        }
    }

    /// Whether the call may be among them; `false` is certain.
    #[must_use]
    pub fn may_hold(&self, call: &CallId) -> bool {
        self.counts[usize::from(mark(call))] > 0
    }
}

/// Counts one more.
fn count(calls: &mut u8) {
    *calls = calls.saturating_add(1);
}

/// A number below [`MARKS`] that equal ids share and most others do not.
fn mark(call: &CallId) -> u16 {
    let mixed = call.0.as_bytes().chunks(8).fold(0x9E37_79B9_7F4A_7C15, |mark: u64, chunk| {
        let word = match <[u8; 8]>::try_from(chunk) {
            Ok(chunk) => u64::from_le_bytes(chunk),
            Err(_) => chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        (mark ^ word).wrapping_mul(0xD6E8_FEB8_6659_FD93).rotate_left(29)
    });
    u16::try_from(mixed >> 54).map_or(0, |mark| mark % MARKS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rollout::ids::Name;

    proptest! {
        #[test]
        fn a_call_that_is_there_is_never_missed(
            changes in prop::collection::vec((any::<bool>(), "[a-z]{0,3}|call_[0-9]{30,60}", any::<prop::sample::Index>()), 0..80),
        ) {
            let (mut calls, mut marks): (Vec<CallId>, CallMarks) = (Vec::new(), CallMarks::default());
            for (is_added, id, place) in changes {
                let call = CallId(Name::new(id.as_bytes(), false));
                if is_added || calls.is_empty() {
                    marks.push(&call);
                    calls.push(call);
                } else {
                    let place = place.index(calls.len());
                    calls.remove(place);
                    marks.remove(place);
                }
                prop_assert_eq!(&marks, &calls.iter().collect());
                prop_assert!(calls.iter().all(|call| marks.may_hold(call)));
            }
            calls.drain(..).for_each(|_| marks.remove(0));
            prop_assert_eq!(marks, CallMarks::default());
        }
    }

    #[test]
    fn hardly_any_other_call_seems_to_be_there() {
        let id = |number: usize| CallId(Name::new(format!("call_{number:024}").as_bytes(), false));
        let calls: Vec<CallId> = (0..192).map(id).collect();
        let marks: CallMarks = calls.iter().collect();
        assert!((1000..11_000).filter(|number| marks.may_hold(&id(*number))).count() < 2500);
    }
}
