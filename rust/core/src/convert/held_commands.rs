//! Commands that wait for their call's output, so that their records stand behind its own.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::rollout::ids::{CallId, Name};

use super::event_id::Digest16;

/// Commands that wait come to at most this many bytes of records.
pub const MOST_HELD_COMMANDS: usize = 4 << 20;

/// A command's record that waits for its call's output.
pub struct HeldCommand {
    /// The call that owns it.
    pub owner: CallId,
    /// Its id's hash.
    pub digest: Digest16,
    /// The timestamp of its line, or the last one seen.
    pub timestamp: Name,
    /// Whether its line repeats another session's history.
    pub is_copied: bool,
    /// The result's `extra`, open.
    pub extra: Vec<u8>,
}

impl HeldCommand {
    /// Its bytes in memory.
    fn size(&self) -> usize {
        size_of::<Self>() + self.extra.len() + self.owner.0.as_bytes().len()
    }
}

/// Of no more commands than these a call's are looked for one by one, which takes less time than an index.
const FEW: usize = 24;

/// A queue from which the oldest of all can be taken, or the oldest of one call.
#[derive(Default)]
pub struct HeldCommands {
    few: VecDeque<HeldCommand>,
    /// Where they became more, all of them.
    many: Option<Box<Index>>,
    bytes: usize,
}

impl HeldCommands {
    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.few.is_empty() && self.many.is_none()
    }

    /// Puts a command behind the others.
    pub fn push(&mut self, held: HeldCommand) {
        self.bytes += held.size();
        if let Some(many) = &mut self.many {
            many.push(held);
            return;
        }
        self.few.push_back(held);
        if self.few.len() > FEW {
            let many = self.many.insert(Box::default());
            self.few.drain(..).for_each(|held| many.push(held));
        }
    }

    /// Takes the oldest of all, where they are too many to wait.
    pub fn pop_excess(&mut self) -> Option<HeldCommand> {
        if self.bytes <= MOST_HELD_COMMANDS { None } else { self.pop() }
    }

    /// Takes the oldest of all.
    pub fn pop(&mut self) -> Option<HeldCommand> {
        let held = match &mut self.many {
            Some(many) => many.pop(),
            None => self.few.pop_front(),
        };
        self.taken(held)
    }

    /// Takes the oldest of one call.
    pub fn pop_of(&mut self, call: &CallId) -> Option<HeldCommand> {
        let held = match &mut self.many {
            Some(many) => many.pop_of(call),
            None => self.few.iter().position(|held| held.owner == *call).and_then(|place| self.few.remove(place)),
        };
        self.taken(held)
    }

    fn taken(&mut self, held: Option<HeldCommand>) -> Option<HeldCommand> {
        if self.many.as_ref().is_some_and(|many| many.commands.is_empty()) {
            self.many = None;
        }
        self.bytes -= held.as_ref().map_or(0, HeldCommand::size);
        held
    }
}

/// Very many commands.
#[derive(Default)]
struct Index {
    /// By the numbers in which they came.
    commands: BTreeMap<u64, HeldCommand>,
    /// Those numbers, by the call.
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
        }
    }

    fn number(held: &HeldCommand) -> u64 {
        held.digest.number()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn it_is_a_list_searched_from_its_beginning(
            steps in prop::collection::vec((0_usize..7, 0_usize..4, 0_usize..300_000), 0..150),
        ) {
            let (mut queue, mut list) = (HeldCommands::default(), Vec::new());
            for (place, (step, call, size)) in steps.into_iter().enumerate() {
                let call = ["call_1", "call_2", "call_3", "call_4"][call];
                match step {
                    0..=4 => {
                        queue.push(command(call, place, size));
                        list.push(command(call, place, size));
                        while list.iter().map(HeldCommand::size).sum::<usize>() > MOST_HELD_COMMANDS {
                            prop_assert_eq!(queue.pop_excess().as_ref().map(number), Some(number(&list.remove(0))));
                        }
                        prop_assert!(queue.pop_excess().is_none());
                    }
                    5 => {
                        let owner = CallId(Name::new(call.as_bytes(), false));
                        let taken: Vec<u64> = std::iter::from_fn(|| queue.pop_of(&owner)).map(|held| number(&held)).collect();
                        let wanted: Vec<u64> = list.extract_if(.., |held| held.owner == owner).map(|held| number(&held)).collect();
                        prop_assert_eq!(taken, wanted);
                    }
                    _ => {
                        let wanted = (!list.is_empty()).then(|| number(&list.remove(0)));
                        prop_assert_eq!(queue.pop().as_ref().map(number), wanted);
                    }
                }
                prop_assert_eq!(queue.is_empty(), list.is_empty());
                prop_assert_eq!(queue.bytes, list.iter().map(HeldCommand::size).sum::<usize>());
            }
        }
    }
}
