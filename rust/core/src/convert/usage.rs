//! Token counts: which lines report what an inference cost, and their counts as a step's metrics.
//!
//! Codex reports the cost of an inference up to twice: in a `token_usage_record` as soon as the response has ended (from
//! 0.154 on), and in a `token_count` when its calls have ended, too. An interrupted or killed turn, and a compaction by
//! the server, have only the first; older versions write only the second, and repeat it.

use crate::json::number::has_unreadable_integer;
use crate::json::{Key, Kind, Tape, Text, Value};
use crate::rollout::envelope::{member, unsigned};

/// Decides which lines report the cost of an inference that has not been counted yet.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Ledger {
    /// The latest total, to recognize a repeated `token_count`.
    total: Option<TotalUsage>,
    /// The highest counts of all totals, from which the next total differs by one inference.
    highest: Counts,
    /// A hash of the latest `token_usage_record`, to recognize a repeated one.
    record: Option<u64>,
    /// The latest inference, if only one of its two lines has been read.
    unconfirmed: Option<(CountLine, Counts)>,
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
    /// Returns whether all counts are zero.
    pub(crate) fn is_zero(&self) -> bool {
        let (Cost::Reported(_, counts) | Cost::Counted(counts)) = self;
        counts.are_zero()
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
        let total = object(Key::TotalTokenUsage);
        let last = object(Key::LastTokenUsage).filter(|last| Counts::of(text, tape, last).is_some());
        let mut difference = None;
        if let Some(total) = total {
            let hash = Some(TotalUsage::of(text, tape, total));
            if hash == self.total {
                return None;
            }
            self.total = hash;
            let counts = Counts::of(text, tape, total).unwrap_or_default();
            difference = Some(counts.beyond(&self.highest));
            self.highest = counts.at_least(&self.highest);
        }
        if is_copied {
            self.unconfirmed = None;
            return None;
        }
        match last {
            Some(last) => {
                let counts = Counts::of(text, tape, last).unwrap_or_default();
                self.is_new(CountLine::TokenCount, counts).then_some(Cost::Reported(last, counts))
            }
            None => difference
                .filter(|counts| !counts.are_zero() && self.is_new(CountLine::TokenCount, *counts))
                .map(Cost::Counted),
        }
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
        let usage = member(tape, payload, Key::Usage).filter(|usage| usage.kind == Kind::Object)?;
        let counts = Counts::of(text, tape, usage)?;
        self.is_new_record(payload.token(text), counts, is_copied).then_some(Cost::Reported(usage, counts))
    }

    /// Applies a `token_usage_record` that was not parsed: its payload, and the part of it after the opening brace of
    /// `usage`. Returns `None` if the counts have another form than Codex writes, so that the line must be parsed.
    #[inline]
    pub(crate) fn usage_record_prefix<'t>(
        &mut self,
        payload: &[u8],
        usage: &[u8],
        is_copied: bool,
    ) -> Option<Option<Cost<'t>>> {
        let counts = Counts::of_compact(usage)?;
        Some(self.is_new_record(payload, counts, is_copied).then_some(Cost::Counted(counts)))
    }

    /// Returns whether a `token_usage_record` reports an inference that has not been counted.
    fn is_new_record(&mut self, payload: &[u8], counts: Counts, is_copied: bool) -> bool {
        let record = Some(mix(payload));
        if record == self.record {
            return false;
        }
        self.record = record;
        !is_copied && self.is_new(CountLine::UsageRecord, counts)
    }

    /// Applies the beginning of another session, whose totals begin at zero.
    pub(crate) fn begin_session(&mut self) {
        *self = Self::default();
    }

    /// Returns whether a line reports an inference that no line of the other kind has reported.
    fn is_new(&mut self, line: CountLine, counts: Counts) -> bool {
        let is_confirmation =
            self.unconfirmed.is_some_and(|(other, reported)| other != line && reported.is_same_inference(&counts));
        self.unconfirmed = (!is_confirmation).then_some((line, counts));
        !is_confirmation
    }
}

/// The keys of the counts, in the order of [`Counts`].
const KEYS: [Key; 5] = [
    Key::InputTokens,
    Key::OutputTokens,
    Key::CachedInputTokens,
    Key::CacheWriteInputTokens,
    Key::ReasoningOutputTokens,
];

/// The names of [`KEYS`].
const NAMES: [&[u8]; 5] = [
    b"input_tokens",
    b"output_tokens",
    b"cached_input_tokens",
    b"cache_write_input_tokens",
    b"reasoning_output_tokens",
];

/// Returns the members of an object that hold counts.
fn count_members<'t>(tape: &'t Tape, usage: &Value) -> [Option<&'t Value>; 5] {
    let mut members = [None; 5];
    for value in tape.children(usage) {
        if let Some(index) = KEYS.iter().position(|key| *key == value.key) {
            members[index] = Some(value);
        }
    }
    members
}

/// The number of digits that always fit into 64 bits.
const MAX_DIGITS: usize = 19;

/// The longest key that is read without parsing its line, in bytes.
const MAX_KEY_BYTES: usize = 40;

/// Token counts: input, output, cached input, input written to the cache, and output of reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Counts([Option<u64>; 5]);

impl Counts {
    /// Reads the counts of an object. Returns `None` if it has none. A count that is no unsigned 64-bit number is zero.
    fn of(text: Text<'_>, tape: &Tape, usage: &Value) -> Option<Self> {
        let members = count_members(tape, usage);
        members
            .iter()
            .any(Option::is_some)
            .then(|| Self(members.map(|member| member.map(|count| unsigned(text, count).unwrap_or_default()))))
    }

    /// Reads the counts of an object in Codex's usual form, from the text after its opening brace: integers without white
    /// space. Returns `None` for any other form.
    fn of_compact(mut rest: &[u8]) -> Option<Self> {
        let mut counts = Self::default();
        loop {
            rest = rest.strip_prefix(b"\"")?;
            let length = rest.iter().take(MAX_KEY_BYTES).position(|byte| *byte == b'"')?;
            let key = NAMES.iter().position(|name| *name == &rest[..length]);
            rest = rest[length..].strip_prefix(b"\":")?;
            let digits = rest.iter().take(MAX_DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
            let has_leading_zero = digits > 1 && rest[0] == b'0';
            if digits == 0 || digits > MAX_DIGITS || has_leading_zero {
                return None;
            }
            if let Some(index) = key {
                counts.0[index] =
                    Some(rest[..digits].iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')));
            }
            rest = &rest[digits..];
            match rest.split_first()? {
                (b',', next) => rest = next,
                (b'}', _) => return counts.0.iter().any(Option::is_some).then_some(counts),
                _ => return None,
            }
        }
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

    /// Returns whether two lines with these counts can report the same inference.
    fn is_same_inference(&self, other: &Self) -> bool {
        let compared = |counts: &Self| [0, 1, 2].map(|index: usize| counts.0[index].unwrap_or_default());
        compared(self) == compared(other)
    }
}

/// A hash of an object, to recognize a repeated line.
///
/// Two are equal if the objects are equal as Python dicts, whatever the order of their members.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct TotalUsage {
    members: u64,
    /// A sum over the members of hashes of their keys and values.
    hash: u64,
}

impl TotalUsage {
    /// Hashes an object.
    fn of(text: Text<'_>, tape: &Tape, usage: &Value) -> Self {
        let (mut members, mut hash) = (0, 0_u64);
        for value in tape.children(usage) {
            members += 1;
            let key = if value.key == Key::Other { mix(value.key_name(text)) } else { value.key as u64 };
            let content =
                if value.kind == Kind::Object { mix(&compact(value.raw(text))) } else { mix(value.raw(text)) };
            let member = (key ^ content.rotate_left(32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
            hash = hash.wrapping_add(member ^ (member >> 29));
        }
        Self { members, hash }
    }
}

/// Returns the bytes without white space, which is not part of the value of an object of numbers.
fn compact(object: &[u8]) -> Vec<u8> {
    object.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect()
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
