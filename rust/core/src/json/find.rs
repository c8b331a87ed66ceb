//! Searches for bytes that end lines and strings.

// The searches load blocks from raw pointers.
#![allow(unsafe_code)]

use super::block::{Block, escapes};
use super::dispatch::{Instructions, dispatch};

/// Returns the offset of the first byte below 0x20, such as the newline that ends a line.
#[must_use]
#[inline]
pub(crate) fn find_control(bytes: &[u8]) -> Option<usize> {
    find_control_with(Instructions::best(), bytes)
}

dispatch! {
    #[inline]
    fn find_control_with(bytes: &[u8]) -> Option<usize> = find_control_in;
}

/// # Safety
///
/// The processor must have the instructions of `B`.
#[inline(always)]
unsafe fn find_control_in<B: Block>(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while bytes.len() - at >= B::LANES {
        // SAFETY: At least `B::LANES` bytes of `bytes` are left after `at`, and the caller guarantees the instructions.
        let found = unsafe { B::load(bytes.as_ptr().add(at)).control() };
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize);
        }
        at += B::LANES;
    }
    bytes[at..].iter().position(|byte| *byte < 0x20).map(|found| at + found)
}

/// Returns the offset of the quote that ends a string, in `content`, which is a piece of the string after its opening quote.
///
/// `is_escaped` is whether the first byte is escaped by the piece before. Without a quote, it is set for the next piece.
#[must_use]
pub(crate) fn find_quote(content: &[u8], is_escaped: &mut bool) -> Option<usize> {
    find_quote_with(Instructions::best(), content, is_escaped)
}

dispatch! {
    fn find_quote_with(content: &[u8], is_escaped: &mut bool) -> Option<usize> = find_quote_in;
}

/// # Safety
///
/// The processor must have the instructions of `B`.
#[inline(always)]
unsafe fn find_quote_in<B: Block>(content: &[u8], is_escaped: &mut bool) -> Option<usize> {
    let mut carried = u64::from(*is_escaped);
    let mut at = 0;
    while content.len() - at >= B::LANES {
        // SAFETY: At least `B::LANES` bytes of `content` are left after `at`, and the caller guarantees the instructions.
        let (backslashes, quotes) = unsafe {
            let block = B::load(content.as_ptr().add(at));
            (block.equal(b'\\'), block.equal(b'"'))
        };
        let (_, escaped) = escapes::<B>(backslashes, &mut carried);
        let quotes = quotes & !escaped;
        if quotes != 0 {
            *is_escaped = false;
            return Some(at + quotes.trailing_zeros() as usize);
        }
        at += B::LANES;
    }
    *is_escaped = carried != 0;
    for (offset, byte) in content.iter().enumerate().skip(at) {
        match byte {
            _ if *is_escaped => *is_escaped = false,
            b'\\' => *is_escaped = true,
            b'"' => return Some(offset),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_control_character_is_found_at_every_offset() {
        for length in 0..200 {
            let mut bytes = vec![b' '; length];
            assert_eq!(find_control(&bytes), None);
            for at in (0..length).rev() {
                bytes[at] = b'\n';
                for instructions in Instructions::all() {
                    assert_eq!(find_control_with(instructions, &bytes), Some(at), "{instructions:?}");
                }
            }
        }
    }

    /// Does the same as [`find_quote`], byte by byte.
    fn find_quote_bytewise(content: &[u8], is_escaped: &mut bool) -> Option<usize> {
        content.iter().position(|byte| {
            let was_escaped = std::mem::replace(is_escaped, !*is_escaped && *byte == b'\\');
            *byte == b'"' && !was_escaped
        })
    }

    proptest::proptest! {
        #[test]
        fn the_closing_quote_is_found(content in "[a\\\\]{0,150}(\"[a\\\\\"]{0,30})?", escaped: bool) {
            let mut expected = (None, escaped);
            expected.0 = find_quote_bytewise(content.as_bytes(), &mut expected.1);
            for instructions in Instructions::all() {
                let mut is_escaped = escaped;
                let found = find_quote_with(instructions, content.as_bytes(), &mut is_escaped);
                proptest::prop_assert_eq!((found, is_escaped), expected);
            }
        }
    }
}
