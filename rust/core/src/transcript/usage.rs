//! What an inference cost: `token_count` lines as a step's metrics.

use crate::json::{Key, Kind, Tape, Text, Value};
use crate::rollout::envelope::member;

/// Totals of a session up to an inference, to recognise a `token_count` that is written again unchanged.
///
/// Two are equal where Python's dicts would be: whatever the order of their members.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TotalUsage {
    members: u64,
    /// A sum over the members, each mixed from its key and value.
    mixed: u64,
}

impl TotalUsage {
    /// The totals that an object holds.
    #[must_use]
    pub fn of(text: Text<'_>, tape: &Tape, usage: &Value) -> Option<Self> {
        if usage.kind != Kind::Object {
            return None;
        }
        let (mut members, mut mixed) = (0, 0_u64);
        for value in tape.children(usage) {
            members += 1;
            let key = value
                .key_name(text)
                .iter()
                .fold(0xCBF2_9CE4_8422_2325, fold);
            mixed = mixed.wrapping_add(
                value
                    .raw(text)
                    .iter()
                    .fold(key, fold)
                    .rotate_left(23)
                    .wrapping_mul(0x9E37_79B9_7F4A_7C15),
            );
        }
        Some(Self { members, mixed })
    }
}

/// One step of FNV-1a.
fn fold(hash: u64, byte: &u8) -> u64 {
    (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
}

/// Appends the metrics of the inference that a `token_count` closes, as a member of a step; `false` where it says
/// none of the counts that make metrics.
///
/// `prompt_tokens` counts the cached ones too, as codex's `input_tokens` does.
pub fn push_metrics(text: Text<'_>, tape: &Tape, info: &Value, out: &mut Vec<u8>) -> bool {
    let Some(usage) =
        member(tape, info, Key::LastTokenUsage).filter(|usage| usage.kind == Kind::Object)
    else {
        return false;
    };
    let mut counts: [Option<&Value>; 5] = [None; 5];
    for value in tape.children(usage) {
        let place = match value.key {
            Key::InputTokens => 0,
            Key::OutputTokens => 1,
            Key::CachedInputTokens => 2,
            Key::CacheWriteInputTokens => 3,
            Key::ReasoningOutputTokens => 4,
            _ => continue,
        };
        counts[place] = Some(value);
    }
    if counts.iter().all(Option::is_none) {
        return false;
    }
    let mut push = |name: &str, count: Option<&Value>| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(
            count
                .filter(|count| count.kind == Kind::Integer)
                .map_or(b"0", |count| plain(count.raw(text))),
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

/// An integer as Python writes it: there is no negative zero.
fn plain(digits: &[u8]) -> &[u8] {
    if digits == b"-0" { b"0" } else { digits }
}
