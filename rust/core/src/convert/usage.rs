//! Token counts: which lines report the cost of an inference, and their counts as a step's metrics.
//!
//! Codex reports the cost of an inference up to twice: in a `token_usage_record` as soon as the response has ended (from
//! 0.154 on), and in a `token_count` when its calls have ended, too. An interrupted or killed turn, and a compaction by
//! the server, have only the first; older versions write only the second, and repeat it.

use std::collections::VecDeque;

use crate::json::number::has_unreadable_integer;
use crate::json::{Key, Kind, Tape, Text, Value};
use crate::rollout::envelope::{member, unsigned};

/// Decides which lines report the cost of an inference that has not been counted yet.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Ledger {
    /// The latest total, to recognize a repeated `token_count`.
    total: Option<Usage>,
    /// The highest counts of all totals, from which the next total differs by one inference.
    highest: Counts,
    /// A hash of the id of the latest response that has a `token_usage_record`, and its usage, to recognize a repeated
    /// line.
    record: Option<(u64, Usage)>,
    /// The latest inferences with only one of their two lines read so far, at most [`MAX_UNCONFIRMED`].
    unconfirmed: VecDeque<(CountLine, Counts)>,
}

/// A line that reports the cost of an inference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum CountLine {
    /// `event_msg`/`token_count`
    TokenCount,
    /// `token_usage_record`
    UsageRecord,
}

/// The cost of an inference.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cost<'t> {
    /// An object of the line with these counts. Its digits are kept, because they may exceed 64 bits.
    Reported(&'t Value, Counts),
    /// Counts that were calculated, or read without their line being parsed.
    Counted(Counts),
}

impl Cost<'_> {
    /// Returns the counts.
    pub(crate) fn counts(&self) -> Counts {
        let (Cost::Reported(_, counts) | Cost::Counted(counts)) = self;
        *counts
    }

    /// Returns whether all counts are zero.
    pub(crate) fn is_zero(&self) -> bool {
        self.counts().are_zero()
    }
}

impl Ledger {
    /// Applies a `token_count` with this `info`. Returns the cost of the inference that it ends, unless the line repeats
    /// or confirms an earlier one, or its line is copied history.
    pub(crate) fn token_count<'t>(
        &mut self,
        text: Text<'_>,
        tape: &'t Tape,
        info: Option<&Value>,
        is_copied: bool,
    ) -> Option<Cost<'t>> {
        let info = info?;
        let object = |key| member(tape, info, key).filter(|usage| usage.kind == Kind::Object);
        let total = object(Key::TotalTokenUsage).map(|total| Usage::of(text, tape, total));
        let last = object(Key::LastTokenUsage).map(|last| (last, Usage::of(text, tape, last).counts));
        let last = last.filter(|(_, counts)| !counts.are_missing());
        match self.count(total, last.map(|(_, counts)| counts), is_copied)? {
            counts if last.is_some_and(|(_, last)| last == counts) => {
                last.map(|(last, _)| Cost::Reported(last, counts))
            }
            counts => Some(Cost::Counted(counts)),
        }
    }

    /// Applies a `token_count` with both usages, as [`Self::token_count`] does.
    pub(crate) fn token_count_of(&mut self, total: Usage, last: Usage, is_copied: bool) -> Option<Cost<'static>> {
        let last = Some(last.counts).filter(|counts| !counts.are_missing());
        self.count(Some(total), last, is_copied).map(Cost::Counted)
    }

    fn count(&mut self, total: Option<Usage>, last: Option<Counts>, is_copied: bool) -> Option<Counts> {
        if total.is_some() && total == self.total {
            return None;
        }
        let mut difference = None;
        if let Some(Usage { counts, .. }) = total {
            difference = Some(counts.beyond(&self.highest)).filter(|counts| !counts.are_zero());
            self.highest = counts.at_least(&self.highest);
            self.total = total;
        }
        if is_copied {
            self.unconfirmed.clear();
            return None;
        }
        last.or(difference).filter(|counts| self.is_new(CountLine::TokenCount, *counts))
    }

    /// Applies a `token_usage_record` with this payload. Returns the cost of its inference, unless the line repeats or
    /// confirms an earlier one, or is copied history.
    pub(crate) fn usage_record<'t>(
        &mut self,
        text: Text<'_>,
        tape: &'t Tape,
        payload: &Value,
        is_copied: bool,
    ) -> Option<Cost<'t>> {
        let value = member(tape, payload, Key::Usage).filter(|usage| usage.kind == Kind::Object)?;
        let usage = Usage::of(text, tape, value);
        let is_id = |member: &&Value| member.key == Key::Other && member.key_name(text) == b"response_id";
        let id = tape.children(payload).filter(is_id).last().map_or(&b""[..], |id| id.raw(text));
        self.usage_record_of(id, usage, is_copied).map(|counts| Cost::Reported(value, counts))
    }

    /// Applies the `token_usage_record` of the response with this id, as [`Self::usage_record`] does.
    pub(crate) fn usage_record_of(&mut self, id: &[u8], usage: Usage, is_copied: bool) -> Option<Counts> {
        let record = Some((mix(id), usage));
        if usage.counts.are_missing() || record == self.record {
            return None;
        }
        self.record = record;
        Some(usage.counts).filter(|counts| !is_copied && self.is_new(CountLine::UsageRecord, *counts))
    }

    /// Applies the beginning of another session, whose totals begin at zero.
    pub(crate) fn begin_session(&mut self) {
        *self = Self::default();
    }

    /// Returns whether a line reports an inference that no line of the other kind has reported.
    fn is_new(&mut self, line: CountLine, counts: Counts) -> bool {
        let confirms = |(other, reported): &(CountLine, Counts)| *other != line && reported.is_same_inference(&counts);
        if let Some(position) = self.unconfirmed.iter().position(confirms) {
            // Earlier inferences that have only one line will not get another one.
            self.unconfirmed.drain(..=position);
            return false;
        }
        if self.unconfirmed.len() >= MAX_UNCONFIRMED {
            self.unconfirmed.pop_front();
        }
        self.unconfirmed.push_back((line, counts));
        true
    }
}

/// The number of inferences whose second line can still follow. Codex writes the two lines of an inference before the next
/// one's; damage can mix them.
const MAX_UNCONFIRMED: usize = 4;

/// Returns the position of a key in [`Counts`].
#[inline]
const fn position(key: Key) -> Option<usize> {
    match key {
        Key::InputTokens => Some(0),
        Key::OutputTokens => Some(1),
        Key::CachedInputTokens => Some(2),
        Key::CacheWriteInputTokens => Some(3),
        Key::ReasoningOutputTokens => Some(4),
        _ => None,
    }
}

/// Returns the members of an object that hold counts, in the order of [`Counts`].
fn count_members<'t>(tape: &'t Tape, usage: &Value) -> [Option<&'t Value>; 5] {
    let mut members = [None; 5];
    for value in tape.children(usage) {
        if let Some(index) = position(value.key) {
            members[index] = Some(value);
        }
    }
    members
}

/// Token counts: input, output, cached input, input written to the cache, and output of reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Counts([Option<u64>; 5]);

impl Counts {
    /// Returns the tokens of the input, including cached ones.
    pub(crate) fn input(&self) -> u64 {
        self.0[0].unwrap_or_default()
    }

    /// Returns the tokens of the output, including reasoning.
    pub(crate) fn output(&self) -> u64 {
        self.0[1].unwrap_or_default()
    }

    /// Returns the cached tokens of the input.
    pub(crate) fn cached_input(&self) -> u64 {
        self.0[2].unwrap_or_default()
    }

    /// Returns the tokens of reasoning.
    pub(crate) fn reasoning_output(&self) -> u64 {
        self.0[4].unwrap_or_default()
    }

    /// Returns by how much these counts exceed others.
    fn beyond(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_sub)
    }

    /// Returns the higher of each count in both.
    fn at_least(&self, other: &Self) -> Self {
        self.with(other, u64::max)
    }

    /// Combines each count with another one. A count that is missing here stays so.
    fn with(&self, other: &Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        let mut counts = *self;
        for (count, other) in counts.0.iter_mut().zip(other.0) {
            *count = count.map(|count| combine(count, other.unwrap_or_default()));
        }
        counts
    }

    fn are_zero(&self) -> bool {
        self.0.iter().all(|count| count.unwrap_or_default() == 0)
    }

    fn are_missing(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Returns whether two lines with these counts can report the same inference.
    fn is_same_inference(&self, other: &Self) -> bool {
        let compared = |counts: &Self| [0, 1, 2].map(|index: usize| counts.0[index].unwrap_or_default());
        compared(self) == compared(other)
    }
}

/// The members of a usage object.
///
/// Two are equal if the objects are equal, whatever the order of their members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Usage {
    counts: Counts,
    /// A sum over the other members, and over counts that are not unsigned 64-bit numbers, of hashes of their keys and
    /// values.
    others: u64,
}

impl Usage {
    /// Reads an object. A count that is not a number, or negative, is zero; one beyond 64 bits is the highest number.
    fn of(text: Text<'_>, tape: &Tape, object: &Value) -> Self {
        let mut usage = Self::default();
        for value in tape.children(object) {
            match (position(value.key), unsigned(text, value)) {
                (Some(index), Some(count)) => usage.counts.0[index] = Some(count),
                (index, _) => {
                    let key = if value.key == Key::Other { mix(value.key_name(text)) } else { value.key as u64 };
                    usage.add_other(key, value.raw(text));
                    if let Some(index) = index {
                        let is_too_large = value.kind == Kind::Integer && !value.raw(text).starts_with(b"-");
                        usage.counts.0[index] = Some(if is_too_large { u64::MAX } else { 0 });
                    }
                }
            }
        }
        usage
    }

    /// Reads an object in the form in which Codex writes it, from the text after its opening brace, and returns it with
    /// the text after its closing brace. Returns `None` for any other form.
    #[inline]
    pub(crate) fn of_compact(mut rest: &[u8]) -> Option<(Self, &[u8])> {
        let mut usage = Self::default();
        loop {
            let (key, after_key) = compact_key(rest)?;
            let digits = after_key.iter().take(MAX_DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 || digits > MAX_DIGITS || (digits > 1 && after_key[0] == b'0') {
                return None;
            }
            let (number, after) = after_key.split_at(digits);
            match position(key) {
                Some(index) => {
                    let count = number.iter().fold(0, |count, digit| count * 10 + u64::from(digit - b'0'));
                    usage.counts.0[index] = Some(count);
                }
                None => usage.add_other(key as u64, number),
            }
            match after.split_first()? {
                (b',', next) => rest = next,
                (b'}', after) => return Some((usage, after)),
                _ => return None,
            }
        }
    }

    fn add_other(&mut self, key: u64, value: &[u8]) {
        let member = (key ^ mix(value).rotate_left(32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        self.others = self.others.wrapping_add(member ^ (member >> 29));
    }
}

/// The number of digits that always fit into 64 bits.
const MAX_DIGITS: usize = 19;

/// Returns the key at the start of `text` if Codex writes it in usage objects, and the text after its colon.
#[inline]
fn compact_key(text: &[u8]) -> Option<(Key, &[u8])> {
    const KEYS: [(&[u8], Key); 6] = [
        (b"\"input_tokens\":", Key::InputTokens),
        (b"\"cached_input_tokens\":", Key::CachedInputTokens),
        (b"\"cache_write_input_tokens\":", Key::CacheWriteInputTokens),
        (b"\"output_tokens\":", Key::OutputTokens),
        (b"\"reasoning_output_tokens\":", Key::ReasoningOutputTokens),
        (b"\"total_tokens\":", Key::TotalTokens),
    ];
    KEYS.iter().find_map(|(name, key)| Some((*key, text.strip_prefix(*name)?)))
}

/// Hashes bytes, eight at a time.
fn mix(bytes: &[u8]) -> u64 {
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31);
    let (chunks, rest) = bytes.as_chunks::<8>();
    let hash = chunks.iter().fold(bytes.len() as u64, |hash, chunk| step(hash, u64::from_le_bytes(*chunk)));
    step(hash, rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)))
}

/// Appends the metrics of an inference, as a member of a step.
///
/// `prompt_tokens` includes the cached tokens, as `input_tokens` of Codex does.
pub(crate) fn push_metrics(text: Text<'_>, tape: &Tape, cost: Cost<'_>, out: &mut Vec<u8>) {
    match cost {
        Cost::Reported(usage, _) => {
            let digits = |count: &'_ Value| {
                let is_readable = count.kind == Kind::Integer && !has_unreadable_integer(count.raw(text));
                if is_readable { normalized(count.raw(text)) } else { b"0" }
            };
            push_counts(count_members(tape, usage).map(|count| count.map(digits)), out);
        }
        Cost::Counted(counts) => {
            let digits = counts.0.map(|count| count.map(|count| count.to_string()));
            push_counts([0, 1, 2, 3, 4].map(|index: usize| digits[index].as_ref().map(String::as_bytes)), out);
        }
    }
}

/// Appends metrics with counts in digits, in the order of [`Counts`]. The first three are always written.
fn push_counts(counts: [Option<&[u8]>; 5], out: &mut Vec<u8>) {
    let [input, output, cached, cache_write, reasoning] = counts;
    let mut push = |name: &str, count: Option<&[u8]>| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(count.unwrap_or(b"0"));
    };
    push(",\"metrics\":{\"prompt_tokens\":", input);
    push(",\"completion_tokens\":", output);
    push(",\"cached_tokens\":", cached);
    match (cache_write, reasoning) {
        (None, None) => {}
        (Some(_), None) => push(",\"extra\":{\"cache_creation_input_tokens\":", cache_write),
        (None, Some(_)) => push(",\"extra\":{\"reasoning_output_tokens\":", reasoning),
        (Some(_), Some(_)) => {
            push(",\"extra\":{\"cache_creation_input_tokens\":", cache_write);
            push(",\"reasoning_output_tokens\":", reasoning);
        }
    }
    if cache_write.is_some() || reasoning.is_some() {
        out.push(b'}');
    }
    out.push(b'}');
}

/// Returns an integer as Python writes it: without a negative zero.
fn normalized(digits: &[u8]) -> &[u8] {
    if digits == b"-0" { b"0" } else { digits }
}

#[cfg(test)]
mod tests;
