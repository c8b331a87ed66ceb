//! The contents of JSON strings, which are the bytes between the quotes: decoding, counting, cutting and escaping.
//!
//! Rollouts can contain escapes of unpaired surrogates: Codex keeps them in tool arguments (seen in 0.138 to 0.169). So
//! decoded text is WTF-8, which is UTF-8 that encodes an unpaired surrogate as three bytes, like any other code point.
//! [`escape`] turns it back into `\udXXX`.

// Decoding loads blocks from raw pointers, and writes them to the spare capacity of a `Vec`.
#![allow(unsafe_code)]

use super::block::{Block, escapes, first_lanes};
use super::dispatch::{Instructions, dispatch};

/// One character of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// A Unicode character.
    Char(char),
    /// An unpaired surrogate, 0xD800 to 0xDFFF.
    Lone(u16),
}

/// Returns the value of the four hexadecimal digits at `at`. The scanner has checked that they are digits.
fn hex4(content: &[u8], at: usize) -> u16 {
    content.get(at..at + 4).into_iter().flatten().fold(0, |number, digit| {
        let digit = (*digit as char).to_digit(16).unwrap_or(0);
        (number << 4) | u16::try_from(digit).unwrap_or(0)
    })
}

/// Returns the character of the escape with its backslash at `at`, and the length of the escape.
fn unescape(content: &[u8], at: usize) -> (Unit, usize) {
    let simple = |byte: u8| (Unit::Char(byte as char), 2);
    match content.get(at + 1) {
        Some(b'n') => simple(b'\n'),
        Some(b't') => simple(b'\t'),
        Some(b'r') => simple(b'\r'),
        Some(b'b') => simple(0x08),
        Some(b'f') => simple(0x0C),
        Some(b'u') => {
            let first = hex4(content, at + 2);
            if (0xD800..0xDC00).contains(&first) && content.get(at + 6..at + 8) == Some(b"\\u") {
                let second = hex4(content, at + 8);
                if let Some(Ok(pair)) = char::decode_utf16([first, second]).next() {
                    return (Unit::Char(pair), 12);
                }
            }
            (char::from_u32(u32::from(first)).map_or(Unit::Lone(first), Unit::Char), 6)
        }
        Some(byte) => simple(*byte),
        None => (Unit::Char('\\'), 1),
    }
}

/// Appends a character as WTF-8.
fn push(out: &mut Vec<u8>, unit: Unit) {
    match unit {
        Unit::Char(character) if character.is_ascii() => out.push(character as u8),
        Unit::Char(character) => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        Unit::Lone(surrogate) => {
            let [high, low] = surrogate.to_be_bytes();
            out.extend_from_slice(&[0xE0 | (high >> 4), 0x80 | ((high & 0x0F) << 2) | (low >> 6), 0x80 | (low & 0x3F)]);
        }
    }
}

/// Appends the decoded `content` to `out`, as WTF-8.
pub fn decode_string(content: &[u8], out: &mut Vec<u8>) {
    decode_up_to(content, usize::MAX, LoneSurrogates::Keep, out);
}

/// Appends at most `limit` characters of the decoded `content` to `out`, with `?` for each unpaired surrogate. Returns how
/// many characters it appended.
///
/// Event ids hash this prefix. In Python it is `text[:limit].encode("utf-8", "replace")`.
pub(crate) fn decode_prefix(content: &[u8], limit: usize, out: &mut Vec<u8>) -> usize {
    decode_up_to(content, limit, LoneSurrogates::Replace, out)
}

/// How unpaired surrogates are decoded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LoneSurrogates {
    /// To three bytes of WTF-8.
    Keep,
    /// To a question mark.
    Replace,
}

/// Appends at most `limit` characters of the decoded `content`. Returns how many it appended.
fn decode_up_to(content: &[u8], limit: usize, lone: LoneSurrogates, out: &mut Vec<u8>) -> usize {
    decode_with(Instructions::best(), content, limit, lone, out)
}

dispatch! {
    fn decode_with(content: &[u8], limit: usize, lone: LoneSurrogates, out: &mut Vec<u8>) -> usize = decode_in;
}

/// Decodes block by block. The bytes of a block before the first backslash are copied together. So are the
/// others, if the processor can remove bytes.
///
/// # Safety
///
/// The processor must have the instructions of `B`.
#[inline(always)]
unsafe fn decode_in<B: Block>(content: &[u8], limit: usize, lone: LoneSurrogates, out: &mut Vec<u8>) -> usize {
    let mut left = limit;
    let mut at = 0;
    // The decoded text is never longer than the content.
    out.reserve(content.len().min(limit.saturating_mul(4)) + B::LANES);
    while left > 0 && at < content.len() {
        let length = (content.len() - at).min(B::LANES);
        // In invalid UTF-8, a character can have more than four bytes.
        out.reserve(B::LANES);
        // SAFETY: `length` is at least 1 and at most `B::LANES`, and `length` bytes of `content` are left from `at` on. Capacity
        // for a block was reserved after the end of `out`. `set_len` adds no more than the bytes of a block that were written:
        // `store` writes all of them, and `write_unescaped` writes the bytes that are not in `escaping`. The caller guarantees the
        // instructions.
        unsafe {
            let start = content.as_ptr().add(at);
            let block = if length == B::LANES { B::load(start) } else { B::load_part(start, length) };
            let end = out.as_mut_ptr().add(out.len());
            let backslashes = block.equal(b'\\');
            // `consumed` bytes of the block are decoded in this round. The bytes in `kept` are part of the decoded text.
            let mut consumed = (backslashes.trailing_zeros() as usize).min(length);
            let mut kept = first_lanes(consumed);
            let mut is_written = backslashes == 0;
            if is_written {
                block.store(end);
            } else {
                let (escaping, escaped) = escapes::<B>(backslashes, &mut 0);
                // An escape that the end of the block cuts in two is decoded with the next block.
                let cut = escaping >> (length - 1) & 1;
                is_written = (length == B::LANES || cut == 0) && block.write_unescaped(escaping, escaped, end);
                if is_written {
                    consumed = length - usize::from(cut != 0);
                    kept = !escaping & first_lanes(length);
                } else {
                    block.store(end);
                }
            }
            let beginnings = kept & !block.continuation();
            let characters = beginnings.count_ones() as usize;
            if characters > left {
                let kept = kept & first_lanes(nth_set_bit(beginnings, left));
                out.set_len(out.len() + kept.count_ones() as usize);
                return limit;
            }
            out.set_len(out.len() + kept.count_ones() as usize);
            at += consumed;
            left -= characters;
            if !is_written && left > 0 {
                at += push_escape(content, at, lone, out);
                left -= 1;
            }
        }
    }
    // The last block may have ended inside a character.
    while at < content.len() && is_continuation(content[at]) {
        out.push(content[at]);
        at += 1;
    }
    limit - left
}

/// Returns the index of the set bit of `mask` that has `lower` set bits below it. There must be one.
fn nth_set_bit(mut mask: u64, lower: usize) -> usize {
    for _ in 0..lower {
        mask &= mask - 1;
    }
    mask.trailing_zeros() as usize
}

/// Appends the character of the escape with its backslash at `at`. Returns the length of the escape.
#[inline(always)]
fn push_escape(content: &[u8], at: usize, lone: LoneSurrogates, out: &mut Vec<u8>) -> usize {
    let simple = match content.get(at + 1) {
        Some(b'n') => b'\n',
        Some(b't') => b'\t',
        Some(quoted @ (b'"' | b'\\' | b'/')) => *quoted,
        _ => {
            let (unit, length) = unescape(content, at);
            let is_replaced = lone == LoneSurrogates::Replace && matches!(unit, Unit::Lone(_));
            push(out, if is_replaced { Unit::Char('?') } else { unit });
            return length;
        }
    };
    out.push(simple);
    2
}

/// Appends at most `limit` characters of WTF-8 `text` to `out`, with `?` for each unpaired surrogate.
pub(crate) fn prefix_of_decoded(text: &[u8], limit: usize, out: &mut Vec<u8>) {
    let mut left = limit;
    // A character is at most 4 bytes.
    for (piece, lone) in pieces(&text[..text.len().min(4 * limit)]) {
        let (length, characters) = prefix(piece, left);
        out.extend_from_slice(&piece[..length]);
        left -= characters;
        if left > 0 && lone.is_some() {
            out.push(b'?');
            left -= 1;
        }
    }
}

/// Returns the length in bytes of the first `limit` characters of `text`, which has no escapes, and their number.
fn prefix(text: &[u8], limit: usize) -> (usize, usize) {
    let characters = count_unescaped(text);
    if characters <= limit {
        return (text.len(), characters);
    }
    let mut seen = 0;
    let end = text.iter().position(|byte| {
        seen += usize::from(!is_continuation(*byte));
        seen > limit
    });
    (end.unwrap_or(text.len()), limit)
}

/// Returns whether a byte is part of a UTF-8 character but not its first byte.
fn is_continuation(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}

/// Returns the number of characters of a text without escapes.
fn count_unescaped(text: &[u8]) -> usize {
    text.iter().filter(|byte| !is_continuation(**byte)).count()
}

/// Returns the number of characters of the decoded `content`.
#[must_use]
pub(crate) fn count(content: &[u8]) -> usize {
    let mut characters = 0;
    let mut rest = content;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        characters += count_unescaped(&rest[..at]) + 1;
        rest = &rest[at + unescape(rest, at).1..];
    }
    characters + count_unescaped(rest)
}

/// Returns the part of `content` that decodes to its first `limit` characters.
#[must_use]
pub(crate) fn cut(content: &[u8], limit: usize) -> &[u8] {
    let mut taken = 0;
    let mut end = 0;
    while taken < limit && end < content.len() {
        let rest = &content[end..];
        let at = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
        let (length, characters) = prefix(&rest[..at], limit - taken);
        taken += characters;
        end += length;
        if taken < limit && length == at && at < rest.len() {
            end += unescape(rest, at).1;
            taken += 1;
        }
    }
    &content[..end]
}

/// Splits WTF-8 `text` into pieces of UTF-8, each with the unpaired surrogate that follows it, if any.
fn pieces(text: &[u8]) -> impl Iterator<Item = (&[u8], Option<u16>)> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let piece = rest.take()?;
        let lone = memchr::memchr_iter(0xED, piece).find(|at| piece.get(at + 1).is_some_and(|next| *next >= 0xA0));
        let Some(at) = lone else {
            return Some((piece, None));
        };
        let low = |place: usize| u16::from(piece.get(place).copied().unwrap_or(0) & 0x3F);
        rest = Some(piece.get(at + 3..).unwrap_or_default());
        Some((&piece[..at], Some(0xD000 | low(at + 1) << 6 | low(at + 2))))
    })
}

/// Finds the first U+0085, U+2028 or U+2029 in UTF-8 `text`. Returns its offset, its code point and its length in bytes.
fn next_line_break(text: &[u8]) -> Option<(usize, u16, usize)> {
    let mut from = 0;
    while let Some(found) = memchr::memchr2(0xC2, 0xE2, &text[from..]) {
        let at = from + found;
        match text[at..] {
            [0xC2, 0x85, ..] => return Some((at, 0x85, 2)),
            [0xE2, 0x80, last @ (0xA8 | 0xA9), ..] => return Some((at, 0x2000 | u16::from(last & 0x3F), 3)),
            _ => from = at + 1,
        }
    }
    None
}

/// Returns whether UTF-8 JSON contains an unescaped character that ends a line for Python's `str.splitlines`: U+0085, U+2028
/// or U+2029.
///
/// mngr 0.3.0 splits transcripts with `splitlines`. The other characters that end lines for it are control characters
/// (U+000A to U+000D, U+001C to U+001E), which JSON always escapes.
#[must_use]
pub fn has_line_break(text: &[u8]) -> bool {
    next_line_break(text).is_some()
}

/// Appends valid JSON, or the content of a JSON string, with the characters of [`has_line_break`] escaped.
pub(crate) fn escape_line_breaks(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((at, number, length)) = next_line_break(rest) {
        out.extend_from_slice(&rest[..at]);
        escape_number(number, out);
        rest = &rest[at + length..];
    }
    out.extend_from_slice(rest);
}

/// Appends WTF-8 `text` as the content of a JSON string, without any character that ends a line for some reader.
pub(crate) fn escape(text: &[u8], out: &mut Vec<u8>) {
    for (piece, lone) in pieces(text) {
        let mut from = 0;
        for (at, byte) in piece.iter().enumerate() {
            if *byte < 0x20 || *byte == b'"' || *byte == b'\\' {
                escape_line_breaks(&piece[from..at], out);
                escape_ascii(*byte, out);
                from = at + 1;
            }
        }
        escape_line_breaks(&piece[from..], out);
        if let Some(surrogate) = lone {
            escape_number(surrogate, out);
        }
    }
}

/// Appends the shortest escape of an ASCII character.
fn escape_ascii(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0x08 => out.extend_from_slice(b"\\b"),
        0x0C => out.extend_from_slice(b"\\f"),
        _ => escape_number(u16::from(byte), out),
    }
}

/// Appends `\uXXXX`.
fn escape_number(number: u16, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(DIGITS[usize::from(number >> shift & 0xF)]);
    }
}

/// Appends WTF-8 `text` as the content of a JSON string, ASCII only, like Python's `json.dumps`.
pub(crate) fn escape_to_ascii(text: &[u8], out: &mut Vec<u8>) {
    for (piece, lone) in pieces(text) {
        let mut rest = piece;
        while !rest.is_empty() {
            let is_special = |byte: &u8| !(b' '..=b'~').contains(byte) || *byte == b'"' || *byte == b'\\';
            let plain = rest.iter().position(is_special).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..plain]);
            rest = &rest[plain..];
            let Some(first) = rest.first() else { break };
            let length = 1 + rest[1..].iter().take_while(|byte| is_continuation(**byte)).count();
            if first.is_ascii() {
                escape_ascii(*first, out);
            } else {
                for character in String::from_utf8_lossy(&rest[..length]).chars() {
                    character.encode_utf16(&mut [0; 2]).iter().for_each(|half| escape_number(*half, out));
                }
            }
            rest = &rest[length..];
        }
        if let Some(surrogate) = lone {
            escape_number(surrogate, out);
        }
    }
}

/// Appends WTF-8 JSON with the unpaired surrogates and the characters of [`has_line_break`] escaped.
pub(crate) fn escape_specials(text: &[u8], out: &mut Vec<u8>) {
    for (piece, lone) in pieces(text) {
        escape_line_breaks(piece, out);
        if let Some(surrogate) = lone {
            escape_number(surrogate, out);
        }
    }
}

/// The size of the chunks of a long string, in bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// Splits the content of a string into chunks, so that a long string need not be in memory twice. No character and no escape
/// is cut in two.
pub(crate) fn chunks(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    chunks_of(CHUNK_BYTES, content)
}

/// Does the same as [`chunks`], with chunks of at most `longest` bytes. The longest escape, of 12 bytes, must fit.
fn chunks_of(longest: usize, content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = content;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let chunk;
        (chunk, rest) = rest.split_at(chunk_length(longest, rest));
        Some(chunk)
    })
}

/// Returns the length of the first chunk of a string's content.
fn chunk_length(longest: usize, content: &[u8]) -> usize {
    if content.len() <= longest {
        return content.len();
    }
    let mut end = 0;
    while let Some(found) = memchr::memchr(b'\\', &content[end..longest]) {
        let escape = end + found;
        let escape_end = escape + unescape(content, escape).1;
        if escape_end > longest {
            return escape;
        }
        end = escape_end;
    }
    // A character has at most four bytes.
    let characters = (longest - 3..=longest).rev().find(|end| !is_continuation(content[*end]));
    characters.unwrap_or(longest).max(end)
}

/// Returns `text` with invalid UTF-8 replaced by U+FFFD, like Python's `errors="replace"`. If anything is replaced, the
/// result is in `repaired`.
pub fn replace_invalid_utf8<'a>(text: &'a [u8], repaired: &'a mut Vec<u8>) -> &'a [u8] {
    if simdutf8::basic::from_utf8(text).is_ok() {
        return text;
    }
    repaired.clear();
    repaired.extend_from_slice(String::from_utf8_lossy(text).as_bytes());
    repaired
}

#[cfg(test)]
mod tests;
