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
    pub half_line: Option<(ByteOffset, u64)>,
    /// How many lines of each kind made no record, in the order in which the kinds were met.
    pub left_out: Vec<(String, u64)>,
}

impl Summary {
    /// Counts a malformed line.
    pub fn add_malformed(&mut self, line: MalformedLine) {
        self.malformed += 1;
        if self.malformed_lines.len() < MOST_PLACES {
            self.malformed_lines.push(line);
        }
    }

    /// Counts a line that made no record, under the parts of its kind's name.
    pub fn add_left_out(&mut self, parts: [&str; 3]) {
        if let Some((_, count)) = self
            .left_out
            .iter_mut()
            .find(|(name, _)| is_named(name, parts))
        {
            *count += 1;
            return;
        }
        let cut = parts.map(|part| {
            part.get(..LONGEST_NAME)
                .unwrap_or(if part.len() > LONGEST_NAME {
                    "…"
                } else {
                    part
                })
        });
        let cut = if self.left_out.len() >= MOST_KINDS {
            ["others", "", ""]
        } else {
            cut
        };
        match self
            .left_out
            .iter_mut()
            .find(|(name, _)| is_named(name, cut))
        {
            Some((_, count)) => *count += 1,
            None => {
                let name: Vec<&str> = cut.into_iter().filter(|part| !part.is_empty()).collect();
                self.left_out.push((name.join("/"), 1));
            }
        }
    }
}

/// Whether `name` is the parts joined by slashes, empty ones left out.
fn is_named(name: &str, parts: [&str; 3]) -> bool {
    let mut rest = Some(name);
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        rest = rest.and_then(|rest| {
            let rest = if rest.len() == name.len() {
                rest
            } else {
                rest.strip_prefix('/')?
            };
            rest.strip_prefix(part)
        });
    }
    rest == Some("")
}

impl fmt::Display for Summary {
    /// One line: `31 lines read, 12 records written, 0 lines malformed; left out: world_state 1`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lines,
            records,
            malformed,
            ..
        } = self;
        write!(
            formatter,
            "{lines} lines read, {records} records written, {malformed} lines malformed"
        )?;
        if let Some((offset, length)) = self.half_line {
            write!(
                formatter,
                "; half line of {length} bytes at offset {offset} left out"
            )?;
        }
        for (place, (kind, count)) in self.left_out.iter().enumerate() {
            let separator = if place == 0 { "; left out: " } else { ", " };
            write!(formatter, "{separator}{kind} {count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {}
