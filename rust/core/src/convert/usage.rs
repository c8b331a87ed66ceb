//! Token counts: `token_count` lines as a step's metrics.

use crate::json::number::has_unreadable_integer;
use crate::json::{Key, Kind, Tape, Text, Value};
use crate::rollout::envelope::member;

/// A hash of a session's total token counts, to recognize a repeated `token_count` line.
///
/// Two are equal if the objects are equal as Python dicts, whatever the order of their members.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct TotalUsage {
    members: u64,
    /// A sum over the members of hashes of their keys and values.
    hash: u64,
}

impl TotalUsage {
    /// Hashes the totals in an object. Returns `None` for any other value.
    #[must_use]
    pub(crate) fn of(text: Text<'_>, tape: &Tape, usage: &Value) -> Option<Self> {
        if usage.kind != Kind::Object {
            return None;
        }
        let (mut members, mut hash) = (0, 0_u64);
        for value in tape.children(usage) {
            members += 1;
            let key = if value.key == Key::Other { mix(value.key_name(text)) } else { value.key as u64 };
            let member = (key ^ mix(value.raw(text)).rotate_left(32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
            hash = hash.wrapping_add(member ^ (member >> 29));
        }
        Some(Self { members, hash })
    }
}

/// Hashes bytes, eight at a time.
fn mix(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(bytes.len() as u64, |hash, chunk| {
        let word = chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31)
    })
}

/// Appends the metrics of the inference that a `token_count` ends, as a member of a step. Returns `false` if it has no
/// counts that make metrics.
///
/// `prompt_tokens` includes the cached tokens, as `input_tokens` of Codex does.
pub(crate) fn push_metrics(text: Text<'_>, tape: &Tape, info: &Value, out: &mut Vec<u8>) -> bool {
    let Some(usage) = member(tape, info, Key::LastTokenUsage).filter(|usage| usage.kind == Kind::Object) else {
        return false;
    };
    let mut counts: [Option<&Value>; 5] = [None; 5];
    for value in tape.children(usage) {
        let index = match value.key {
            Key::InputTokens => 0,
            Key::OutputTokens => 1,
            Key::CachedInputTokens => 2,
            Key::CacheWriteInputTokens => 3,
            Key::ReasoningOutputTokens => 4,
            _ => continue,
        };
        counts[index] = Some(value);
    }
    if counts.iter().all(Option::is_none) {
        return false;
    }
    let mut push = |name: &str, count: Option<&Value>| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(
            count
                .filter(|count| count.kind == Kind::Integer && !has_unreadable_integer(count.raw(text)))
                .map_or(b"0", |count| normalized(count.raw(text))),
        );
    };
    let [input, output, cached, cache_write, reasoning] = counts;
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
    true
}

/// Returns an integer as Python writes it: without a negative zero.
fn normalized(digits: &[u8]) -> &[u8] {
    if digits == b"-0" { b"0" } else { digits }
}
