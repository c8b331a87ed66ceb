//! Integers that readers in Python do not take as they are.

use super::dump::string_end;

/// Digits of the longest integer that Python reads, unless told otherwise (`sys.set_int_max_str_digits`).
pub const MOST_DIGITS: usize = 4300;

/// Digits from which on an integer may be beyond 64 bits.
const BEYOND_64_BITS: usize = 19;

/// Whether JSON may hold an integer beyond 64 bits; `false` is sure.
#[must_use]
pub fn may_exceed_64_bits(json: &[u8]) -> bool {
    runs(json, BEYOND_64_BITS).any(|(start, _)| {
        let before = json[..start].strip_suffix(b"-").unwrap_or(&json[..start]);
        matches!(before.trim_ascii_end().last(), None | Some(b':' | b',' | b'['))
    })
}

/// Whether valid JSON holds an integer of more than [`MOST_DIGITS`].
#[must_use]
#[inline]
pub fn has_unreadable_integer(json: &[u8]) -> bool {
    json.len() > MOST_DIGITS && runs(json, MOST_DIGITS + 1).next().is_some() && find_unreadable_integer(json)
}

#[cold]
fn find_unreadable_integer(json: &[u8]) -> bool {
    let mut at = 0;
    while at < json.len() {
        at = match json[at] {
            b'"' => string_end(json, at),
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let end = at + json[at..].iter().take_while(|byte| is_part(byte)).count();
                let digits = json[at..end].strip_prefix(b"-").unwrap_or(&json[at..end]);
                if digits.len() > MOST_DIGITS && digits.iter().all(u8::is_ascii_digit) {
                    return true;
                }
                end
            }
            _ => at + 1,
        };
    }
    false
}

/// The places of all runs of at least `least` digits. Where there are no digits, one byte in so many is looked at.
fn runs(text: &[u8], least: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = least - 1;
    std::iter::from_fn(move || {
        while at < text.len() {
            if !text[at].is_ascii_digit() {
                at += least;
                continue;
            }
            let start = text[..at].iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |before| before + 1);
            let end =
                text[at..].iter().position(|byte| !byte.is_ascii_digit()).map_or(text.len(), |behind| at + behind);
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
        fn runs_are_found_as_by_looking_at_every_byte(text in "[0-9a]{0,60}|[0-9]{0,60}|[0-9]{0,9}[:a-]{1,20}[0-9]{0,40}", least in 1_usize..12) {
            let mut wanted = Vec::new();
            let mut at = 0;
            for piece in text.split(|character: char| !character.is_ascii_digit()) {
                if piece.len() >= least {
                    wanted.push((at, at + piece.len()));
                }
                at += piece.len() + 1;
            }
            prop_assert_eq!(runs(text.as_bytes(), least).collect::<Vec<_>>(), wanted);
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
        let (most, more) = ("1".repeat(4300), "1".repeat(4301));
        for json in
            [format!("[{more}]"), format!("{{\"a\":-{more}}}"), format!("[\"\\\"\",1,[{more}],2]"), more.clone()]
        {
            assert!(has_unreadable_integer(json.as_bytes()));
        }
        for json in [
            format!("[{most}]"),
            format!("[-{most}]"),
            format!("[\"{more}\"]"),
            format!("{{\"\\\"{more}\":1}}"),
            format!("[{more}.0]"),
            format!("[0.{more}]"),
            format!("[{more}e1]"),
        ] {
            assert!(!has_unreadable_integer(json.as_bytes()));
        }
    }
}
