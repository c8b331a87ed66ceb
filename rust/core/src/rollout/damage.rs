//! The whole records in a damaged line.
//!
//! A process that is killed while it writes leaves half a line, and the next process appends to it. A crash of the system
//! can leave NULs, and editors add byte order marks. So a line can contain several records, whole or not.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::ByteOffset;
use super::envelope::Envelope;
use super::lines::Line;
use crate::json::{Malformed, NOT_AN_OBJECT, TEXT_FOLLOWS, Tape, Text, scan};

/// The reason for an object, among other text, that is not a rollout line.
const NOT_A_RECORD: &str = "an object that is no record";

/// The byte order mark of UTF-8.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The key with which every record of Codex begins (seen on 0.32 to 0.171). Inside a string, its quotes are escaped.
const KEY: &[u8] = b"\"timestamp\"";

/// The most white space that is expected at each place in the beginning of a record.
const MAX_BLANK: usize = 16;

/// The number of bytes that failed attempts to read a record may scan in each line, in addition to [`MAX_SCANS`] times
/// its length. It bounds the time for a line with many beginnings. Records after that are lost.
const SCANNED_BYTES: usize = 1 << 20;

/// See [`SCANNED_BYTES`].
const MAX_SCANS: usize = 16;

/// The minimum cost of a failed attempt in bytes.
const MIN_SCANNED: usize = 64;

/// Finds the whole records in a line, in order.
pub(crate) struct WholeRecords<'a> {
    text: Text<'a>,
    /// The end of the last whole record, or 0.
    rest: usize,
    /// Where the search for the next record begins.
    at: usize,
    /// Whether an object begins at this position, if any: at the start of a line, and after a whole object. Elsewhere a
    /// record must begin with its timestamp, because an object can also be part of a record that is cut.
    is_boundary: bool,
    /// The number of bytes that may still be scanned in vain.
    budget: usize,
    first_damage: Option<Malformed>,
}

impl<'a> WholeRecords<'a> {
    /// Returns the records of a line. `has_lost_start` is whether text before `text` is missing.
    pub(crate) fn of(text: Text<'a>, has_lost_start: bool) -> Self {
        let budget = text.bytes().len().saturating_mul(MAX_SCANS).saturating_add(SCANNED_BYTES);
        let first_damage = has_lost_start.then_some(Malformed { at: 0, reason: NOT_AN_OBJECT });
        Self { text, rest: 0, at: 0, is_boundary: !has_lost_start, budget, first_damage }
    }

    /// Returns the records of a line of an input. A byte order mark at the start of the input is not damage.
    pub(crate) fn of_line(line: &Line<'a>) -> Self {
        let is_marked = line.offset == ByteOffset(0) && line.text.bytes().starts_with(BYTE_ORDER_MARK);
        let at = if is_marked && !line.has_lost_start { BYTE_ORDER_MARK.len() } else { 0 };
        Self { at, ..Self::of(line.text, line.has_lost_start) }
    }

    /// Returns the position of the next whole record, without white space around it.
    pub(crate) fn next(&mut self, tape: &mut Tape) -> Option<Range<usize>> {
        let bytes = self.text.bytes();
        while let Some(start) = self.next_start() {
            let is_boundary = std::mem::take(&mut self.is_boundary);
            let text = self.text.from(start);
            let (end, next) = match scan(text, tape) {
                Ok(()) => (bytes.trim_ascii_end().len(), bytes.len()),
                Err(Malformed { at, reason: TEXT_FOLLOWS }) => {
                    self.add_damage(start + at, TEXT_FOLLOWS);
                    (start + bytes[start..start + at].trim_ascii_end().len(), start + at)
                }
                Err(Malformed { at, reason }) => {
                    self.add_damage(start + at, reason);
                    self.reject(start, at);
                    continue;
                }
            };
            // A line without other text is one record, whatever it contains.
            let is_line = is_boundary && start == skip_junk(bytes) && next == bytes.len();
            if !is_line && !Envelope::of(text, tape, None).is_rollout_line() {
                self.add_damage(start, NOT_A_RECORD);
                if is_boundary {
                    (self.at, self.is_boundary) = (next, true);
                } else {
                    self.reject(start, end - start);
                }
                continue;
            }
            (self.at, self.rest, self.is_boundary) = (next, end, true);
            return Some(start..end);
        }
        None
    }

    /// Returns the position of the text after the last whole record that was returned.
    pub(crate) fn rest(&self) -> usize {
        self.rest
    }

    /// Returns the first position so far that is not part of a whole record, or at which a second record begins.
    pub(crate) fn first_damage(&self) -> Option<Malformed> {
        self.first_damage
    }

    /// Returns the start of the next object that may be a record.
    fn next_start(&mut self) -> Option<usize> {
        let bytes = self.text.bytes();
        if self.is_boundary {
            let start = self.at + skip_junk(&bytes[self.at..]);
            if start > self.at + skip_blank(&bytes[self.at..]) {
                self.add_damage(self.at, NOT_AN_OBJECT);
            }
            if bytes.get(start) == Some(&b'{') {
                return Some(start);
            }
            if start < bytes.len() {
                self.add_damage(start, NOT_AN_OBJECT);
            }
            self.is_boundary = false;
        }
        if self.budget == 0 { None } else { find_record(bytes, self.at) }
    }

    /// Continues after an object that is not a whole record. Its scan read `scanned` bytes.
    fn reject(&mut self, start: usize, scanned: usize) {
        self.at = start + 1;
        self.budget = self.budget.saturating_sub(scanned.max(MIN_SCANNED));
    }

    fn add_damage(&mut self, at: usize, reason: &'static str) {
        self.first_damage.get_or_insert(Malformed { at, reason });
    }
}

/// Returns the number of bytes of white space at the start of `bytes`.
fn skip_blank(bytes: &[u8]) -> usize {
    bytes.len() - bytes.trim_ascii_start().len()
}

/// Returns the number of bytes of white space, NULs and byte order marks at the start of `bytes`.
pub(super) fn skip_junk(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match &bytes[at..] {
            [0, ..] => at += 1,
            [first, ..] if first.is_ascii_whitespace() => at += 1,
            rest if rest.starts_with(BYTE_ORDER_MARK) => at += BYTE_ORDER_MARK.len(),
            _ => return at,
        }
    }
}

/// Returns the position of the first beginning of a record in `bytes[from..]`: an object whose first key is `timestamp`,
/// with a string.
pub(crate) fn find_record(bytes: &[u8], from: usize) -> Option<usize> {
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY));
    let before = |key: usize| {
        let blank = bytes[..key].iter().rev().take(MAX_BLANK).take_while(|byte| byte.is_ascii_whitespace()).count();
        let start = (key - blank).checked_sub(1)?;
        (start >= from && bytes[start] == b'{').then_some(start)
    };
    let mut keys = FINDER.find_iter(bytes.get(from..)?);
    keys.find_map(|key| before(from + key).filter(|_| is_timestamp(&bytes[from + key..])))
}

/// Returns whether a record begins at `at`, in the form that [`find_record`] finds.
pub(super) fn is_record(bytes: &[u8], at: usize) -> bool {
    bytes.get(at) == Some(&b'{') && after_blank(&bytes[at + 1..]).is_some_and(is_timestamp)
}

/// Returns whether `bytes` begin with the key and the opening quote of a timestamp.
fn is_timestamp(bytes: &[u8]) -> bool {
    let value = bytes.strip_prefix(KEY).and_then(after_blank).and_then(|rest| rest.strip_prefix(b":"));
    value.and_then(after_blank).is_some_and(|value| value.starts_with(b"\""))
}

/// Returns the text after at most [`MAX_BLANK`] bytes of white space.
fn after_blank(bytes: &[u8]) -> Option<&[u8]> {
    let blank = bytes.iter().take(MAX_BLANK + 1).take_while(|byte| byte.is_ascii_whitespace()).count();
    (blank <= MAX_BLANK).then(|| &bytes[blank..])
}

#[cfg(test)]
mod tests;
