//! The lines of the raw transcript, for finding the lines of a rollout that are missing there.
//!
//! Two lines are the same if their timestamp, type and payload are: Codex adds ordinals to old rollouts that it migrates
//! (0.163, 0.169).

use std::collections::HashMap;
use std::io::{self, Read};

use sha2::{Digest, Sha256};

use crate::json::{Key, Tape, Text, scan};
use crate::rollout::lines::Lines;

/// A multiset of lines, stored as hashes.
#[derive(Default)]
pub(super) struct KnownLines {
    counts: HashMap<[u8; 16], u32>,
    tape: Tape,
}

impl KnownLines {
    /// Adds the lines of `input`.
    ///
    /// # Errors
    ///
    /// Returns an error if `input` cannot be read.
    pub(super) fn add(&mut self, input: impl Read) -> io::Result<()> {
        let mut lines = Lines::new(input, usize::MAX);
        while let Some(line) = lines.next_line()? {
            let hash = self.hash(line.text);
            *self.counts.entry(hash).or_default() += 1;
        }
        Ok(())
    }

    /// Removes one line that is the same as `line`; returns whether there was one.
    pub(super) fn remove(&mut self, line: Text<'_>) -> bool {
        let hash = self.hash(line);
        let Some(count) = self.counts.get_mut(&hash) else { return false };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&hash);
        }
        true
    }

    fn hash(&mut self, line: Text<'_>) -> [u8; 16] {
        let mut hasher = Sha256::new();
        if scan(line, &mut self.tape).is_ok() {
            for key in [Key::Timestamp, Key::Type, Key::Payload] {
                let value = self.tape.children(self.tape.root()).filter(|value| value.key == key).last();
                hasher.update(value.map_or(&b"\n"[..], |value| value.token(line)));
                hasher.update(b"\n");
            }
        } else {
            hasher.update(line.bytes());
        }
        hasher.finalize().first_chunk().copied().unwrap_or_default()
    }
}
