//! Which lines are in the raw transcript: what of a source is new, where it was written anew, or the checkpoint is lost.
//!
//! A line is the same when its timestamp, type and payload are: codex writes ordinals into old rollouts that it migrates
//! (0.163, 0.169).

use std::collections::HashMap;
use std::io::{self, Read};

use sha2::{Digest, Sha256};

use crate::json::{Key, Shapes, Tape, Text, scan_alike};
use crate::rollout::lines::Lines;

/// Lines by a hash, each with how often it is there.
#[derive(Default)]
pub struct KnownLines {
    lines: HashMap<[u8; 16], u32>,
    tape: Tape,
    shapes: Shapes,
}

impl KnownLines {
    /// Adds the lines of `input`.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn add(&mut self, input: impl Read) -> io::Result<()> {
        let mut lines = Lines::new(input, usize::MAX);
        while let Some(line) = lines.next_line()? {
            let hash = self.hash(line.text);
            *self.lines.entry(hash).or_default() += 1;
        }
        Ok(())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Takes one line like this away; whether there was one.
    pub fn take(&mut self, line: Text<'_>) -> bool {
        let hash = self.hash(line);
        let Some(count) = self.lines.get_mut(&hash) else { return false };
        *count -= 1;
        if *count == 0 {
            self.lines.remove(&hash);
        }
        true
    }

    fn hash(&mut self, line: Text<'_>) -> [u8; 16] {
        let mut hasher = Sha256::new();
        if scan_alike(line, 0, &mut self.shapes, &mut self.tape).is_ok() {
            for wanted in [Key::Timestamp, Key::Type, Key::Payload] {
                let value = self.tape.children(self.tape.root()).filter(|value| value.key == wanted).last();
                hasher.update(value.map_or(&b"\n"[..], |value| value.token(line)));
                hasher.update(b"\n");
            }
        } else {
            hasher.update(line.bytes());
        }
        hasher.finalize().first_chunk().copied().unwrap_or_default()
    }
}
