//! Commands, and calls that programs made themselves, that wait for their call's output, because their records must
//! follow its record.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::rollout::ids::{CallId, Name};

use super::event_id::Digest16;
use super::nested_call::NestedTool;

/// The maximum total size of the waiting records, in bytes.
pub(crate) const MAX_HELD_BYTES: usize = 4 << 20;

/// The record of a command that waits for its call's output.
pub(crate) struct HeldCommand {
    /// The call that owns the command.
    pub(crate) owner: CallId,
    /// The hash in the event id.
    pub(crate) digest: Digest16,
    /// The timestamp of the command's line.
    pub(crate) timestamp: Name,
    /// Whether the line repeats another session's history.
    pub(crate) is_copied: bool,
    /// The result's `extra`, without its closing brace.
    pub(crate) extra: Vec<u8>,
    /// The facts about a call that a program made itself; `None` for a command.
    pub(crate) nested: Option<Box<HeldNestedCall>>,
}

/// A call that a program made itself, as far as is known.
pub(crate) struct HeldNestedCall {
    pub(crate) tool: NestedTool,
    /// Whether the event is an `item_completed`.
    pub(crate) is_item: bool,
    /// The call's id. If a call line with this id follows, the event repeats that call.
    pub(crate) id: Option<CallId>,
    /// Whether the record waits only for such a line. Its [`HeldCommand::owner`] is then the call itself.
    pub(crate) awaits_own_line: bool,
    /// The call that owns the record in that case, if any does.
    pub(crate) settled_owner: Option<CallId>,
}

impl HeldCommand {
    /// Returns its size in memory, in bytes.
    fn size(&self) -> usize {
        let nested = self.nested.as_ref().map_or(0, |nested| {
            let ids = [nested.id.as_ref(), nested.settled_owner.as_ref()];
            size_of::<HeldNestedCall>() + ids.into_iter().flatten().map(|call| call.0.as_bytes().len()).sum::<usize>()
        });
        size_of::<Self>() + self.extra.len() + self.owner.0.as_bytes().len() + nested
    }
}

/// The number of commands up to which a linear search is faster than an index.
const MAX_UNINDEXED: usize = 24;

/// A queue of commands, from which the oldest can be taken, or the oldest of one call.
#[derive(Default)]
pub(crate) struct HeldCommands {
    unindexed: VecDeque<HeldCommand>,
    /// All commands, if there are more than [`MAX_UNINDEXED`].
    index: Option<Box<Index>>,
    bytes: usize,
}

impl HeldCommands {
    /// Returns whether no command waits.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.unindexed.is_empty() && self.index.is_none()
    }

    /// Returns the commands, the oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &HeldCommand> {
        let indexed = self.index.iter().flat_map(|index| index.commands.values());
        self.unindexed.iter().chain(indexed)
    }

    /// Adds a command to the end of the queue.
    pub(crate) fn push(&mut self, held: HeldCommand) {
        self.bytes += held.size();
        if let Some(index) = &mut self.index {
            index.push(held);
            return;
        }
        self.unindexed.push_back(held);
        if self.unindexed.len() > MAX_UNINDEXED {
            let index = self.index.insert(Box::default());
            self.unindexed.drain(..).for_each(|held| index.push(held));
        }
    }

    /// Removes the oldest command if the queue exceeds [`MAX_HELD_BYTES`].
    pub(crate) fn pop_excess(&mut self) -> Option<HeldCommand> {
        if self.bytes <= MAX_HELD_BYTES { None } else { self.pop() }
    }

    /// Removes the oldest command.
    pub(crate) fn pop(&mut self) -> Option<HeldCommand> {
        let held = match &mut self.index {
            Some(index) => index.pop(),
            None => self.unindexed.pop_front(),
        };
        self.account_for(held)
    }

    /// Removes the oldest command of one call.
    pub(crate) fn pop_of(&mut self, call: &CallId) -> Option<HeldCommand> {
        let held = match &mut self.index {
            Some(index) => index.pop_of(call),
            None => self
                .unindexed
                .iter()
                .position(|held| held.owner == *call)
                .and_then(|position| self.unindexed.remove(position)),
        };
        self.account_for(held)
    }

    fn account_for(&mut self, held: Option<HeldCommand>) -> Option<HeldCommand> {
        if self.index.as_ref().is_some_and(|index| index.commands.is_empty()) {
            self.index = None;
        }
        self.bytes -= held.as_ref().map_or(0, HeldCommand::size);
        held
    }
}

/// An index over many commands.
#[derive(Default)]
struct Index {
    /// The commands, by consecutive numbers.
    commands: BTreeMap<u64, HeldCommand>,
    /// The numbers of each call's commands.
    of_call: HashMap<CallId, VecDeque<u64>>,
    next: u64,
}

impl Index {
    fn push(&mut self, held: HeldCommand) {
        self.of_call.entry(held.owner.clone()).or_default().push_back(self.next);
        self.commands.insert(self.next, held);
        self.next += 1;
    }

    fn pop(&mut self) -> Option<HeldCommand> {
        let owner = self.commands.first_key_value()?.1.owner.clone();
        self.pop_of(&owner)
    }

    fn pop_of(&mut self, call: &CallId) -> Option<HeldCommand> {
        let numbers = self.of_call.get_mut(call)?;
        let number = numbers.pop_front()?;
        if numbers.is_empty() {
            self.of_call.remove(call);
        }
        self.commands.remove(&number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn command(call: &str, number: usize, size: usize) -> HeldCommand {
        HeldCommand {
            owner: CallId(Name::new(call.as_bytes(), false)),
            digest: Digest16::of(&[&number.to_le_bytes()]),
            timestamp: Name::default(),
            is_copied: false,
            extra: vec![b'x'; size],
            nested: None,
        }
    }

    fn number(held: &HeldCommand) -> u64 {
        held.digest.number()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn the_queue_behaves_like_a_list_that_is_searched_from_its_start(
            steps in prop::collection::vec((0_usize..7, 0_usize..4, 0_usize..300_000), 0..150),
        ) {
            let (mut queue, mut list) = (HeldCommands::default(), Vec::new());
            for (position, (step, call, size)) in steps.into_iter().enumerate() {
                let call = ["call_1", "call_2", "call_3", "call_4"][call];
                match step {
                    0..=4 => {
                        queue.push(command(call, position, size));
                        list.push(command(call, position, size));
                        while list.iter().map(HeldCommand::size).sum::<usize>() > MAX_HELD_BYTES {
                            prop_assert_eq!(queue.pop_excess().as_ref().map(number), Some(number(&list.remove(0))));
                        }
                        prop_assert!(queue.pop_excess().is_none());
                    }
                    5 => {
                        let owner = CallId(Name::new(call.as_bytes(), false));
                        let taken: Vec<u64> = std::iter::from_fn(|| queue.pop_of(&owner)).map(|held| number(&held)).collect();
                        let expected: Vec<u64> = list.extract_if(.., |held| held.owner == owner).map(|held| number(&held)).collect();
                        prop_assert_eq!(taken, expected);
                    }
                    _ => {
                        let expected = (!list.is_empty()).then(|| number(&list.remove(0)));
                        prop_assert_eq!(queue.pop().as_ref().map(number), expected);
                    }
                }
                prop_assert_eq!(queue.is_empty(), list.is_empty());
                prop_assert_eq!(queue.bytes, list.iter().map(HeldCommand::size).sum::<usize>());
            }
        }
    }
}
