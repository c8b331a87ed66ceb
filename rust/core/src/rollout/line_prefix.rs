//! Reads the beginning of a line in Codex's usual form without parsing the line.
//!
//! Codex writes `timestamp`, `ordinal` (from 0.147 on), `type`, `payload` in this order (seen on 0.64 to 0.169). If a
//! line has this form, its members before the payload need no scanner. If its kind produces no record, the rest needs
//! none either: see [`skipped_kind`]. Any other line is parsed completely.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::envelope::Head;
use super::kind::{is_bookkeeping, is_bookkeeping_item, is_display_event};
use super::timestamp;

const OPENING: &[u8] = b"{\"timestamp\":\"";

/// The beginning of a record, with or without white space after the key. Inside a string, it is escaped.
const BEGINNING: &[u8] = b"{\"timestamp\"";

/// The length of a timestamp as Codex writes it.
const TIMESTAMP: usize = 24;

/// The length of a UUID.
const UUID: usize = 36;

/// Reads the members of a line before its payload. Returns `None` if the line has another form.
#[must_use]
#[inline]
pub(crate) fn head<'a>(line: &'a [u8], clock: &mut timestamp::Clock) -> Option<Head<'a>> {
    let rest = line.strip_prefix(OPENING)?;
    let (stamp, rest) = rest.split_first_chunk::<TIMESTAMP>()?;
    let nanos = clock.read(stamp)?;
    let mut rest = rest.strip_prefix(b"\",\"")?;
    let mut ordinal = None;
    if let Some(value) = rest.strip_prefix(b"ordinal\":") {
        let digits = value.iter().take(19).take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 || (digits > 1 && value[0] == b'0') {
            return None;
        }
        ordinal = Some(value[..digits].iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')));
        rest = value[digits..].strip_prefix(b",\"")?;
    }
    let (kind, rest) =
        likely_word(rest.strip_prefix(b"type\":\"")?, [b"event_msg\"", b"response_item\"", b"token_usage_record\""])?;
    let rest = rest.strip_prefix(b",\"payload\":")?;
    (rest.first() == Some(&b'{')).then(|| Head {
        timestamp: (stamp, nanos),
        ordinal,
        kind,
        payload: line.len() - rest.len(),
    })
}

/// The parts of the name of a kind that produces no record.
pub(crate) type KindName<'a> = [&'a [u8]; 3];

/// Returns the kind of a line if it produces no record. `is_call` returns whether an id belongs to a call with lines of
/// its own, which the event of a tool repeats.
///
/// The line is not parsed. It is only checked for damage: it must contain no control character, end like an object, and
/// not contain the beginning of a second line. So a line that was cut, or merged with the next one, is not skipped
/// here. Inside a string, such a beginning would be escaped.
#[must_use]
#[inline]
pub(crate) fn skipped_kind<'a>(
    line: &'a [u8],
    has_control: bool,
    head: &Head<'a>,
    is_call: impl Fn(&[u8]) -> bool,
) -> Option<KindName<'a>> {
    if has_control || line.last() != Some(&b'}') {
        return None;
    }
    let skipped_kind = kind_name(line, head, is_call)?;
    (!has_second_record(line, head)).then_some(skipped_kind)
}

/// Returns whether a second record may begin in a line.
#[must_use]
#[inline]
pub(crate) fn has_second_record(line: &[u8], head: &Head<'_>) -> bool {
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(BEGINNING));
    FINDER.find(&line[head.payload..]).is_some()
}

/// The usage objects of a line that reports token counts, each as the text after its opening brace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UsagePrefix<'a> {
    /// The `total_token_usage` of a `token_count`, whose `last_token_usage` follows.
    TokenCount(&'a [u8]),
    /// The id of the response and the `usage` in a `token_usage_record`.
    UsageRecord(&'a [u8], &'a [u8]),
}

/// Finds the usage objects of a line that reports token counts in Codex's usual form.
///
/// Like [`skipped_kind`], it only checks the line for damage instead of parsing it.
#[must_use]
#[inline]
pub(crate) fn usage<'a>(line: &'a [u8], has_control: bool, head: &Head<'a>) -> Option<UsagePrefix<'a>> {
    static RESPONSE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b",\"response_id\":\""));
    const TOKEN_COUNT: &[u8] = b"{\"type\":\"token_count\",\"info\":{\"total_token_usage\":{";
    let payload = &line[head.payload..];
    let found = match head.kind {
        b"event_msg" => UsagePrefix::TokenCount(payload.strip_prefix(TOKEN_COUNT)?),
        b"token_usage_record" => {
            let id = &payload[RESPONSE.find(payload)? + RESPONSE.needle().len()..];
            let end = memchr::memchr2(b'"', b'\\', id)?;
            UsagePrefix::UsageRecord(&id[..end], id[end..].strip_prefix(b"\",\"usage\":{")?)
        }
        _ => return None,
    };
    (!has_control && line.ends_with(b"}}") && !has_second_record(line, head)).then_some(found)
}

#[inline]
fn kind_name<'a>(line: &'a [u8], head: &Head<'a>, is_call: impl Fn(&[u8]) -> bool) -> Option<KindName<'a>> {
    let is_event = head.kind == b"event_msg";
    if !is_event && head.kind != b"response_item" {
        return is_bookkeeping(head.kind).then_some([head.kind, b"", b""]);
    }
    let payload = line[head.payload..].strip_prefix(b"{\"type\":\"")?;
    if payload.starts_with(b"token_count\"") || payload.starts_with(b"function_call") {
        return None;
    }
    let (item, rest) = likely_word(payload, [b"item_completed\"", b"reasoning\"", b"message\""])?;
    if !is_event {
        return is_bookkeeping_item(item).then_some([head.kind, item, b""]);
    }
    if item != b"item_completed" {
        let is_skipped = match item {
            b"mcp_tool_call_end" | b"patch_apply_end" => is_call(id(rest, b",\"call_id\":\"")?),
            _ => is_display_event(item),
        };
        return is_skipped.then_some([head.kind, item, b""]);
    }
    let rest = rest.strip_prefix(b",\"thread_id\":\"")?.get(UUID..)?;
    let rest = rest.strip_prefix(b"\",\"turn_id\":\"")?.get(UUID..)?;
    let (detail, rest) = likely_word(
        rest.strip_prefix(b"\",\"item\":{\"type\":\"")?,
        [b"CommandExecution\"", b"Reasoning\"", b"AgentMessage\""],
    )?;
    let is_skipped = match detail {
        b"CommandExecution" => false,
        b"McpToolCall" | b"FileChange" => is_call(id(rest, b",\"id\":\"")?),
        _ => true,
    };
    is_skipped.then_some([head.kind, item, detail])
}

/// Returns the id after `key` at the start of `text`, unless it contains escapes.
fn id<'a>(text: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let text = text.strip_prefix(key)?;
    let end = memchr::memchr2(b'"', b'\\', text).filter(|end| text[*end] == b'"')?;
    Some(&text[..end])
}

/// Returns the word at the start of `text`, and the text after its closing quote. The words in `frequent`, which
/// include the quote, are found faster.
#[inline(always)]
fn likely_word<'a, const N: usize>(text: &'a [u8], frequent: [&'static [u8]; N]) -> Option<(&'a [u8], &'a [u8])> {
    for word in frequent {
        if let Some(rest) = text.strip_prefix(word) {
            return Some((&text[..word.len() - 1], rest));
        }
    }
    word(text)
}

/// Returns the word at the start of `text`, and the text after its closing quote.
#[inline]
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = text.iter().take(64).position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_'))?;
    let rest = text[length..].strip_prefix(b"\"")?;
    Some((&text[..length], rest))
}

#[cfg(test)]
mod tests;
