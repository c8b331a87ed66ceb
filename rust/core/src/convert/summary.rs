//! Counts of a conversion.

use std::fmt;

use crate::json::NOT_AN_OBJECT;
use crate::rollout::ByteOffset;

/// The number of malformed lines whose positions are kept.
const MAX_MALFORMED_LINES: usize = 16;

/// The number of skipped kinds that are counted by name. Further ones are counted under `others`.
const MAX_KINDS: usize = 256;

/// The maximum length of each part of a kind's name, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// A line that is not exactly one JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedLine {
    /// The offset of the line.
    pub offset: ByteOffset,
    /// The position of the first invalid byte, in bytes from the start of the line.
    pub at: u64,
    /// The reason.
    pub reason: &'static str,
    /// Whether the line contains whole records, which were converted.
    pub has_records: bool,
}

impl fmt::Display for MalformedLine {
    /// Writes the offset, the reason, and the skipped text.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, at, reason, has_records } = self;
        if *has_records {
            let reason = if *reason == NOT_AN_OBJECT { "text that is no record" } else { reason };
            return write!(
                formatter,
                "the line at byte {offset} is damaged: {reason} (byte {at} of the line); its whole records were read"
            );
        }
        write!(formatter, "the line at byte {offset} is not a JSON object")?;
        if *reason != NOT_AN_OBJECT {
            write!(formatter, ": {reason}")?;
        }
        write!(formatter, " (byte {at} of the line); skipped")
    }
}

/// Counts of a conversion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Complete lines, including blank ones.
    pub lines: u64,
    /// Records, including the header.
    pub records: u64,
    /// Lines that are not exactly one JSON object.
    pub malformed: u64,
    /// The first malformed lines.
    pub malformed_lines: Vec<MalformedLine>,
    /// The offset and the length in bytes of the unterminated last line, if there is one.
    pub partial_line: Option<(ByteOffset, u64)>,
    /// The number of lines without a record for each kind, in the order of each kind's first line.
    pub skipped: Vec<(String, u64)>,
    /// The number of messages of the user and the assistant, including empty ones.
    pub(crate) messages: u64,
    /// A hash of each name in `skipped`, to find it faster.
    hashes: Vec<u64>,
}

impl Summary {
    /// Counts a malformed line.
    pub(crate) fn add_malformed(&mut self, line: MalformedLine) {
        self.malformed += 1;
        if self.malformed_lines.len() < MAX_MALFORMED_LINES {
            self.malformed_lines.push(line);
        }
    }

    /// Returns the kept malformed lines and the number of further ones, and resets both.
    pub fn take_malformed(&mut self) -> (Vec<MalformedLine>, u64) {
        let lines = std::mem::take(&mut self.malformed_lines);
        let unlisted = std::mem::take(&mut self.malformed) - lines.len() as u64;
        (lines, unlisted)
    }

    /// Returns whether the rollout announces messages in events, but does not contain them.
    #[must_use]
    pub fn has_only_events(&self) -> bool {
        let is_announcement = |kind: &str| {
            let kind = kind.strip_prefix("event_msg/").unwrap_or_default();
            let kind = kind.strip_prefix("item_completed/").unwrap_or(kind);
            matches!(kind, "user_message" | "agent_message" | "UserMessage" | "AgentMessage")
        };
        self.messages == 0 && self.skipped.iter().any(|(kind, _)| is_announcement(kind))
    }

    /// Counts a line without a record, under the name of its kind, given in parts.
    pub(crate) fn add_skipped(&mut self, parts: [&[u8]; 3]) {
        let hash = hash(parts);
        if let Some(index) = self.hashes.iter().position(|known| *known == hash)
            && is_named(&self.skipped[index].0, parts)
        {
            self.skipped[index].1 += 1;
        } else {
            self.add_other_skipped(parts, hash);
        }
    }

    #[cold]
    fn add_other_skipped(&mut self, parts: [&[u8]; 3], hash: u64) {
        let parts = parts.map(|part| String::from_utf8_lossy(&part[..part.len().min(MAX_NAME_BYTES)]));
        let mut name = parts.iter().filter(|part| !part.is_empty()).map(AsRef::as_ref).collect::<Vec<&str>>().join("/");
        let index = |name: &str| self.skipped.iter().position(|(known, _)| known == name);
        let mut known = index(&name);
        if known.is_none() && self.skipped.len() >= MAX_KINDS {
            "others".clone_into(&mut name);
            known = index(&name);
        }
        if let Some(index) = known {
            self.skipped[index].1 += 1;
        } else {
            self.skipped.push((name, 1));
            self.hashes.push(hash);
        }
    }
}

/// Returns a hash of a kind's name.
fn hash(parts: [&[u8]; 3]) -> u64 {
    parts.iter().fold(0, |hash: u64, part| {
        let (head, tail) = match (part.first_chunk::<8>(), part.last_chunk::<8>()) {
            (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
            _ => (part.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0),
        };
        (hash ^ head ^ tail.rotate_left(23) ^ part.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31)
    })
}

/// Returns whether `name` is the concatenation of the non-empty parts, separated by slashes.
fn is_named(name: &str, parts: [&[u8]; 3]) -> bool {
    let mut rest = Some(name.as_bytes());
    for (index, part) in parts.into_iter().filter(|part| !part.is_empty()).enumerate() {
        if index > 0 {
            rest = rest.and_then(|rest| rest.strip_prefix(b"/"));
        }
        rest = rest.and_then(|rest| rest.strip_prefix(part));
    }
    rest == Some(b"")
}

impl fmt::Display for Summary {
    /// Writes one line: `31 lines read, 12 records written, 0 lines malformed; skipped: world_state 1`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, records, malformed, .. } = self;
        write!(formatter, "{lines} lines read, {records} records written, {malformed} lines malformed")?;
        for (index, (kind, count)) in self.skipped.iter().enumerate() {
            let separator = if index == 0 { "; skipped: " } else { ", " };
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
