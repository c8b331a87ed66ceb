//! What stands between the quotes of a JSON string: decoded, counted, cut, escaped.
//!
//! Rollouts can hold escapes of surrogates without their partner (codex keeps them in tool arguments, seen on 0.138
//! to 0.169). Decoded text therefore is WTF-8: UTF-8 in which such a surrogate stands as the three bytes that its
//! number would have. [`escape`] turns it back into `\udXXX`.

use super::block::{Block, Instructions, Portable, below, escapes};

/// One character of a string's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// A Unicode character.
    Char(char),
    /// A surrogate without a partner, 0xD800 to 0xDFFF.
    Lone(u16),
}

/// Reads the four digits at `at`; 0 where there are none, which the scanner has excluded.
fn hex4(content: &[u8], at: usize) -> u16 {
    content.get(at..at + 4).into_iter().flatten().fold(0, |number, digit| {
        let digit = (*digit as char).to_digit(16).unwrap_or(0);
        (number << 4) | u16::try_from(digit).unwrap_or(0)
    })
}

/// The character of the escape whose backslash is at `at`, and the escape's length.
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

/// Appends a character in WTF-8.
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

/// Appends the text that `content` stands for, as WTF-8.
pub fn decode(content: &[u8], out: &mut Vec<u8>) {
    decode_some(content, usize::MAX, Lone::Kept, out);
}

/// Appends at most `limit` characters of the text that `content` stands for, with `?` for a lone surrogate; gives
/// how many characters that were.
///
/// This is what an event id hashes: Python's `text[:limit].encode("utf-8", "replace")`.
pub fn decode_prefix(content: &[u8], limit: usize, out: &mut Vec<u8>) -> usize {
    decode_some(content, limit, Lone::Replaced, out)
}

/// What becomes of a surrogate without a partner.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lone {
    /// It stands in the text as WTF-8 has it.
    Kept,
    /// A question mark stands for it.
    Replaced,
}

/// Appends at most `limit` characters of what `content` stands for; gives how many.
fn decode_some(content: &[u8], limit: usize, lone: Lone, out: &mut Vec<u8>) -> usize {
    match Instructions::best() {
        // SAFETY: `Instructions::best` asked the processor for each of the features.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => unsafe { decode_avx512(content, limit, lone, out) },
        // SAFETY: the same.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => unsafe { decode_avx2(content, limit, lone, out) },
        // SAFETY: the portable block needs no feature.
        _ => unsafe { decode_blocks::<Portable>(content, limit, lone, out) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn decode_avx512(content: &[u8], limit: usize, lone: Lone, out: &mut Vec<u8>) -> usize {
    // SAFETY: this function is entered only where the features are there.
    unsafe { decode_blocks::<super::block::Avx512>(content, limit, lone, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn decode_avx2(content: &[u8], limit: usize, lone: Lone, out: &mut Vec<u8>) -> usize {
    // SAFETY: this function is entered only where the features are there.
    unsafe { decode_blocks::<super::block::Avx2>(content, limit, lone, out) }
}

/// Decodes block by block: what stands before the first backslash of a block is copied at once, and behind it too where
/// the processor can leave bytes out.
///
/// # Safety
///
/// The processor must have the instructions of `B`.
#[inline(always)]
unsafe fn decode_blocks<B: Block>(content: &[u8], limit: usize, lone: Lone, out: &mut Vec<u8>) -> usize {
    let mut left = limit;
    let mut at = 0;
    // Decoded text is never longer than its content.
    out.reserve(content.len().min(limit.saturating_mul(4)) + B::LANES);
    while left > 0 && at < content.len() {
        let length = (content.len() - at).min(B::LANES);
        // Of bytes that are no UTF-8 there can be more than four for a character.
        out.reserve(B::LANES);
        // SAFETY: `length` bytes are left from `at` on, and room for a block was reserved.
        unsafe {
            let start = content.as_ptr().add(at);
            let block = if length == B::LANES { B::load(start) } else { B::load_part(start, length) };
            let end = out.as_mut_ptr().add(out.len());
            let backslashes = block.equal(b'\\');
            // The bytes that are kept, of them those that begin a character, and how much of the block that is.
            let mut taken = (backslashes.trailing_zeros() as usize).min(length);
            let mut kept = below(taken);
            let mut is_written = backslashes == 0;
            if is_written {
                block.store(end);
            } else {
                let (escaping, escaped) = escapes::<B>(backslashes, &mut 0);
                // An escape that the block's end cuts in two is left to the next block.
                let cut = escaping >> (length - 1) & 1;
                is_written = (length == B::LANES || cut == 0) && block.write_unescaped(escaping, escaped, end);
                if is_written {
                    taken = length - usize::from(cut != 0);
                    kept = !escaping & below(length);
                } else {
                    block.store(end);
                }
            }
            let beginnings = kept & !block.continuation();
            let characters = beginnings.count_ones() as usize;
            if characters > left {
                let kept = kept & below(place_of(beginnings, left));
                out.set_len(out.len() + kept.count_ones() as usize);
                return limit;
            }
            out.set_len(out.len() + kept.count_ones() as usize);
            at += taken;
            left -= characters;
            if !is_written && left > 0 {
                at += push_escape(content, at, lone, out);
                left -= 1;
            }
        }
    }
    // The last block may have ended inside the last character.
    while at < content.len() && is_continuation(content[at]) {
        out.push(content[at]);
        at += 1;
    }
    limit - left
}

/// The place of the set bit of `mask` that has `before` set ones below it; there is one.
fn place_of(mut mask: u64, before: usize) -> usize {
    for _ in 0..before {
        mask &= mask - 1;
    }
    mask.trailing_zeros() as usize
}

/// Appends the character of the escape whose backslash is at `at`; gives the escape's length.
#[inline(always)]
fn push_escape(content: &[u8], at: usize, lone: Lone, out: &mut Vec<u8>) -> usize {
    let simple = match content.get(at + 1) {
        Some(b'n') => b'\n',
        Some(b't') => b'\t',
        Some(quoted @ (b'"' | b'\\' | b'/')) => *quoted,
        _ => {
            let (unit, length) = unescape(content, at);
            let is_replaced = lone == Lone::Replaced && matches!(unit, Unit::Lone(_));
            push(out, if is_replaced { Unit::Char('?') } else { unit });
            return length;
        }
    };
    out.push(simple);
    2
}

/// Appends at most `limit` characters of WTF-8 `text`, with `?` for a lone surrogate.
pub fn prefix_of_decoded(text: &[u8], limit: usize, out: &mut Vec<u8>) {
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

/// The length in bytes of the first `limit` characters of `text`, which has no escapes, and how many those are.
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

/// Whether a byte goes on with a character that began before it.
fn is_continuation(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}

/// The characters of a text without escapes.
fn count_unescaped(text: &[u8]) -> usize {
    text.iter().filter(|byte| !is_continuation(**byte)).count()
}

/// The characters that `content` stands for.
#[must_use]
pub fn count(content: &[u8]) -> usize {
    let mut characters = 0;
    let mut rest = content;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        characters += count_unescaped(&rest[..at]) + 1;
        rest = &rest[at + unescape(rest, at).1..];
    }
    characters + count_unescaped(rest)
}

/// The part of `content` that stands for its first `limit` characters; no escape is cut in two.
#[must_use]
pub fn cut(content: &[u8], limit: usize) -> &[u8] {
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

/// Goes over WTF-8 `text` in pieces of plain UTF-8, each with the lone surrogate behind it, if there is one.
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

/// Where the next character stands in UTF-8 `text` that ends a line for Python's `str.splitlines`, with its number and
/// its length in bytes. The others that do (U+000A to U+000D, U+001C to U+001E) are control characters, which JSON
/// always escapes.
fn next_line_end(text: &[u8]) -> Option<(usize, u16, usize)> {
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

/// Whether UTF-8 `text` holds a character that ends a line for Python's `str.splitlines` and that JSON leaves as it is:
/// U+0085, U+2028 or U+2029. mngr 0.3.0 splits transcripts so.
#[must_use]
pub fn has_line_end(text: &[u8]) -> bool {
    next_line_end(text).is_some()
}

/// Appends valid JSON, or the content of a JSON string, with these characters escaped.
pub fn escape_line_ends(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((at, number, length)) = next_line_end(rest) {
        out.extend_from_slice(&rest[..at]);
        escape_number(number, out);
        rest = &rest[at + length..];
    }
    out.extend_from_slice(rest);
}

/// Appends WTF-8 `text` as the content of a JSON string, on one line for every reader.
pub fn escape(text: &[u8], out: &mut Vec<u8>) {
    for (piece, lone) in pieces(text) {
        let mut from = 0;
        for (at, byte) in piece.iter().enumerate() {
            if *byte < 0x20 || *byte == b'"' || *byte == b'\\' {
                escape_line_ends(&piece[from..at], out);
                escape_ascii(*byte, out);
                from = at + 1;
            }
        }
        escape_line_ends(&piece[from..], out);
        if let Some(surrogate) = lone {
            escape_number(surrogate, out);
        }
    }
}

/// Appends the shortest escape of an ASCII character that needs one.
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

/// Appends WTF-8 `text` as Python's `json.dumps` writes a string's content: ASCII only.
pub fn escape_to_ascii(text: &[u8], out: &mut Vec<u8>) {
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

/// Appends WTF-8 JSON with its surrogates as `\udXXX` and what ends lines escaped.
pub fn escape_specials(text: &[u8], out: &mut Vec<u8>) {
    for (piece, lone) in pieces(text) {
        escape_line_ends(piece, out);
        if let Some(surrogate) = lone {
            escape_number(surrogate, out);
        }
    }
}

/// How much of a long string is worked on at a time, in bytes.
const STRETCH: usize = 64 << 10;

/// Goes over a string's content in stretches, so that a long one need not be held twice: no character and no escape is
/// cut in two.
pub fn stretches(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    stretches_of(STRETCH, content)
}

/// As [`stretches`], of at most `longest` bytes, which must be as many as the longest escape has.
fn stretches_of(longest: usize, content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = content;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (stretch, behind) = rest.split_at(stretch_end(longest, rest));
        rest = behind;
        Some(stretch)
    })
}

/// Where the first stretch of a string's content ends.
fn stretch_end(longest: usize, content: &[u8]) -> usize {
    if content.len() <= longest {
        return content.len();
    }
    let mut end = 0;
    while let Some(found) = memchr::memchr(b'\\', &content[end..longest]) {
        let escape = end + found;
        let behind = escape + unescape(content, escape).1;
        if behind > longest {
            return escape;
        }
        end = behind;
    }
    // A character is at most four bytes.
    let characters = (longest - 3..=longest).rev().find(|end| !is_continuation(content[*end]));
    characters.unwrap_or(longest).max(end)
}

/// A text with the bytes that are no UTF-8 replaced (U+FFFD, as Python's `errors="replace"` has it); `repaired` holds it
/// where there are such.
pub fn in_utf8<'a>(text: &'a [u8], repaired: &'a mut Vec<u8>) -> &'a [u8] {
    if simdutf8::basic::from_utf8(text).is_ok() {
        return text;
    }
    repaired.clear();
    repaired.extend_from_slice(String::from_utf8_lossy(text).as_bytes());
    repaired
}

#[cfg(test)]
mod tests;
