//! What came of a conversion, for people and for checks.

use std::fmt;

use crate::rollout::ByteOffset;

/// Malformed lines whose places are kept.
const MOST_PLACES: usize = 16;

/// Kinds whose names come from the input and that are counted by name.
const MOST_KINDS: usize = 256;

/// The longest part of a name from the input that is kept, in bytes.
const LONGEST_NAME: usize = 64;

/// A line that is not a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedLine {
    /// Where the line starts.
    pub offset: ByteOffset,
    /// The byte that does not fit, counted from there.
    pub at: usize,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Counts of a conversion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Whole lines read, blank ones too.
    pub lines: u64,
    /// Records written, the header too.
    pub records: u64,
    /// Lines that are not a JSON object.
    pub malformed: u64,
    /// The first of these.
    pub malformed_lines: Vec<MalformedLine>,
    /// The unfinished line behind the last newline: where it starts and its length in bytes.
    pub partial_line: Option<(ByteOffset, u64)>,
    /// How many lines of each kind made no record, in the order in which the kinds were met.
    pub skipped: Vec<(String, u64)>,
    /// A mark of each of these names, to find them by.
    marks: Vec<u64>,
}

impl Summary {
    /// Counts a malformed line.
    pub fn add_malformed(&mut self, line: MalformedLine) {
        self.malformed += 1;
        if self.malformed_lines.len() < MOST_PLACES {
            self.malformed_lines.push(line);
        }
    }

    /// The malformed lines, and how many there were beyond those whose places were kept. Counting begins anew.
    pub fn take_malformed(&mut self) -> (Vec<MalformedLine>, u64) {
        let lines = std::mem::take(&mut self.malformed_lines);
        let untold = std::mem::take(&mut self.malformed) - lines.len() as u64;
        (lines, untold)
    }

    /// Counts a line that made no record, under the parts of its kind's name.
    pub fn add_skipped(&mut self, parts: [&[u8]; 3]) {
        let mark = mark(parts);
        if let Some(place) = self.marks.iter().position(|known| *known == mark)
            && is_named(&self.skipped[place].0, parts)
        {
            self.skipped[place].1 += 1;
        } else {
            self.add_other_skipped(parts, mark);
        }
    }

    #[cold]
    fn add_other_skipped(&mut self, parts: [&[u8]; 3], mark: u64) {
        let parts = parts.map(|part| String::from_utf8_lossy(&part[..part.len().min(LONGEST_NAME)]));
        let mut name = parts.iter().filter(|part| !part.is_empty()).map(AsRef::as_ref).collect::<Vec<&str>>().join("/");
        let place = |name: &str| self.skipped.iter().position(|(known, _)| known == name);
        let mut known = place(&name);
        if known.is_none() && self.skipped.len() >= MOST_KINDS {
            "others".clone_into(&mut name);
            known = place(&name);
        }
        if let Some(place) = known {
            self.skipped[place].1 += 1;
        } else {
            self.skipped.push((name, 1));
            self.marks.push(mark);
        }
    }
}

/// A number that equal names share and others hardly ever do.
fn mark(parts: [&[u8]; 3]) -> u64 {
    parts.iter().fold(0, |mark: u64, part| {
        let (head, tail) = match (part.first_chunk::<8>(), part.last_chunk::<8>()) {
            (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
            _ => (part.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0),
        };
        (mark ^ head ^ tail.rotate_left(23) ^ part.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31)
    })
}

/// Whether `name` is the parts joined by slashes, empty ones left out.
fn is_named(name: &str, parts: [&[u8]; 3]) -> bool {
    let mut rest = Some(name.as_bytes());
    for (place, part) in parts.into_iter().filter(|part| !part.is_empty()).enumerate() {
        if place > 0 {
            rest = rest.and_then(|rest| rest.strip_prefix(b"/"));
        }
        rest = rest.and_then(|rest| rest.strip_prefix(part));
    }
    rest == Some(b"")
}

impl fmt::Display for Summary {
    /// One line: `31 lines read, 12 records written, 0 lines malformed; left out: world_state 1`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, records, malformed, .. } = self;
        write!(formatter, "{lines} lines read, {records} records written, {malformed} lines malformed")?;
        for (place, (kind, count)) in self.skipped.iter().enumerate() {
            let separator = if place == 0 { "; skipped: " } else { ", " };
            write!(formatter, "{separator}{kind} {count}")?;
        }
        if let Some((offset, length)) = self.partial_line {
            write!(formatter, "; partial line of {length} bytes at offset {offset} skipped")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
