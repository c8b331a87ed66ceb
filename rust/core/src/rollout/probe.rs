//! The beginning of a line in the form that codex writes, read without parsing the line.
//!
//! Codex writes `timestamp`, `ordinal` (from 0.147 on), `type`, `payload` in this order (seen on 0.64 to 0.169). Where
//! a line has this form, its members up to the payload need no scanner, and where its kind makes no record, neither
//! does the rest: see [`listed`]. Any other line is parsed as a whole.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::kind::{is_bookkeeping, is_bookkeeping_item, is_display_event};
use super::timestamp::{self, Nanos};

/// The members of a line before its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// `timestamp` as it stands, and read.
    pub timestamp: (&'a [u8], Nanos),
    /// `ordinal`
    pub ordinal: Option<u64>,
    /// `type`
    pub kind: &'a [u8],
    /// Where the payload's brace stands.
    pub payload: usize,
}

const OPENING: &[u8] = b"{\"timestamp\":\"";

/// Bytes of a timestamp as codex writes it.
const TIMESTAMP: usize = 24;

/// Bytes of a UUID.
const UUID: usize = 36;

/// Reads the head of a line; `None` where it has another form.
#[must_use]
#[inline]
pub fn head<'a>(line: &'a [u8], clock: &mut timestamp::Clock) -> Option<Head<'a>> {
    let rest = line.strip_prefix(OPENING)?;
    let (stamp, rest) = rest.split_first_chunk::<TIMESTAMP>()?;
    let nanos = clock.read(stamp)?;
    let mut rest = rest.strip_prefix(b"\",\"")?;
    let mut ordinal = None;
    if let Some(behind) = rest.strip_prefix(b"ordinal\":") {
        let digits = behind.iter().take(19).take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 || (digits > 1 && behind[0] == b'0') {
            return None;
        }
        ordinal = Some(behind[..digits].iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')));
        rest = behind[digits..].strip_prefix(b",\"")?;
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

/// A kind that makes no record, in the parts of its name.
pub type Listed<'a> = [&'a [u8]; 3];

/// The kind of a line, where it is one that makes no record. The line is not parsed: that it holds no control
/// character, ends as an object does, and holds no second line's beginning tells those that were cut, and those that
/// the next line runs into. Inside a string such a beginning would stand escaped.
#[must_use]
#[inline]
pub fn listed<'a>(line: &'a [u8], has_control: bool, head: &Head<'a>) -> Option<Listed<'a>> {
    static BEGINNING: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(OPENING));
    if has_control || line.last() != Some(&b'}') {
        return None;
    }
    let listed = listed_kind(line, head)?;
    BEGINNING.find(&line[head.payload..]).is_none().then_some(listed)
}

#[inline]
fn listed_kind<'a>(line: &'a [u8], head: &Head<'a>) -> Option<Listed<'a>> {
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
        return is_display_event(item).then_some([head.kind, item, b""]);
    }
    let rest = rest.strip_prefix(b",\"thread_id\":\"")?.get(UUID..)?;
    let rest = rest.strip_prefix(b"\",\"turn_id\":\"")?.get(UUID..)?;
    let (detail, _) = likely_word(
        rest.strip_prefix(b"\",\"item\":{\"type\":\"")?,
        [b"CommandExecution\"", b"Reasoning\"", b"AgentMessage\""],
    )?;
    (detail != b"CommandExecution").then_some([head.kind, item, detail])
}

/// The word that `text` starts with, and what stands behind its closing quote; found by comparing where it is one of
/// `frequent`, which have the quote.
#[inline(always)]
fn likely_word<'a, const N: usize>(text: &'a [u8], frequent: [&'static [u8]; N]) -> Option<(&'a [u8], &'a [u8])> {
    for word in frequent {
        if let Some(rest) = text.strip_prefix(word) {
            return Some((&text[..word.len() - 1], rest));
        }
    }
    word(text)
}

/// The word that `text` starts with and what stands behind its closing quote.
#[inline]
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = text.iter().take(64).position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_'))?;
    let rest = text[length..].strip_prefix(b"\"")?;
    Some((&text[..length], rest))
}

#[cfg(test)]
mod tests;
