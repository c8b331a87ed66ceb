//! Integers that readers in Python reject or handle differently.

use super::walk::{PieceKind, pieces};

/// The digits of the longest integer that Python reads by default (see `sys.set_int_max_str_digits`).
const MAX_DIGITS: usize = 4300;

/// The fewest digits of an integer that does not fit into 64 bits.
const MIN_DIGITS_BEYOND_64_BITS: usize = 19;

/// Returns whether JSON may contain an integer that does not fit into 64 bits. `false` is certain, `true` is not.
#[must_use]
pub fn may_exceed_64_bits(json: &[u8]) -> bool {
    runs(json, MIN_DIGITS_BEYOND_64_BITS).any(|(start, _)| {
        let before = json[..start].strip_suffix(b"-").unwrap_or(&json[..start]);
        matches!(before.trim_ascii_end().last(), None | Some(b':' | b',' | b'['))
    })
}

/// Returns whether valid JSON contains an integer with more digits than Python reads by default, which are 4,300.
#[must_use]
#[inline]
pub(crate) fn has_unreadable_integer(json: &[u8]) -> bool {
    json.len() > MAX_DIGITS && runs(json, MAX_DIGITS + 1).next().is_some() && find_unreadable_integer(json)
}

#[cold]
fn find_unreadable_integer(json: &[u8]) -> bool {
    pieces(json).filter(|piece| piece.kind == PieceKind::Scalar).any(|number| {
        let digits = number.bytes.strip_prefix(b"-").unwrap_or(number.bytes);
        digits.len() > MAX_DIGITS && digits.iter().all(u8::is_ascii_digit)
    })
}

/// Returns start and end of all runs of at least `least` digits. Of `least` bytes without digits, it reads only one.
fn runs(text: &[u8], least: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = least - 1;
    std::iter::from_fn(move || {
        while at < text.len() {
            if !text[at].is_ascii_digit() {
                at += least;
                continue;
            }
            let start = text[..at].iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |before| before + 1);
            let end = text[at..].iter().position(|byte| !byte.is_ascii_digit()).map_or(text.len(), |end| at + end);
            at = end + least;
            if end - start >= least {
                return Some((start, end));
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_are_the_same_as_in_a_search_of_every_byte(text in "[0-9a]{0,60}|[0-9]{0,60}|[0-9]{0,9}[:a-]{1,20}[0-9]{0,40}", least in 1_usize..12) {
            let mut expected = Vec::new();
            let mut at = 0;
            for piece in text.split(|character: char| !character.is_ascii_digit()) {
                if piece.len() >= least {
                    expected.push((at, at + piece.len()));
                }
                at += piece.len() + 1;
            }
            prop_assert_eq!(runs(text.as_bytes(), least).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn integers_beyond_64_bits_are_never_missed() {
        for json in ["[-9223372036854775809]", "{\"a\":18446744073709551616}", "[0,123456789012345678901234567890]"] {
            assert!(may_exceed_64_bits(json.as_bytes()), "{json}");
        }
        for json in ["[999999999999999999]", "{\"a\":\"12345678901234567890\"}", "[0.12345678901234567890]", "[]", ""] {
            assert!(!may_exceed_64_bits(json.as_bytes()), "{json}");
        }
    }

    #[test]
    fn an_integer_is_unreadable_from_4301_digits_on() {
        let (longest, longer) = ("1".repeat(4300), "1".repeat(4301));
        for json in [
            format!("[{longer}]"),
            format!("{{\"a\":-{longer}}}"),
            format!("[\"\\\"\",1,[{longer}],2]"),
            longer.clone(),
        ] {
            assert!(has_unreadable_integer(json.as_bytes()));
        }
        for json in [
            format!("[{longest}]"),
            format!("[-{longest}]"),
            format!("[\"{longer}\"]"),
            format!("{{\"\\\"{longer}\":1}}"),
            format!("[{longer}.0]"),
            format!("[0.{longer}]"),
            format!("[{longer}e1]"),
        ] {
            assert!(!has_unreadable_integer(json.as_bytes()));
        }
    }
}
