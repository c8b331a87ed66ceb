//! Text of a session made harmless for the terminal that it is shown on, and measured in its columns.
//!
//! A session holds what tools and web pages gave. Nothing of it may move the cursor, set a title, write the clipboard,
//! or turn the order of what is read: what could is shown as what it is.

use unicode_width::UnicodeWidthChar;

/// Stands for bytes that are no UTF-8, and for surrogates without a partner.
const REPLACEMENT: &str = "\u{FFFD}";

/// Appends `text`, which may be WTF-8 or no UTF-8 at all, with all that could drive a terminal made visible: control
/// characters as `^[`, others as `<U+202E>`. Newlines and tabs stay; a carriage return before a newline is left out.
pub fn push_safe(text: &[u8], out: &mut Vec<u8>) {
    if text.chunks(64).all(is_plain) {
        return out.extend_from_slice(text);
    }
    let mut is_replaced = false;
    for chunk in text.utf8_chunks() {
        if !chunk.valid().is_empty() {
            is_replaced = false;
            push_safe_str(chunk.valid(), out);
        }
        // A surrogate is three bytes, each of which is invalid by itself.
        if !chunk.invalid().is_empty() && !std::mem::replace(&mut is_replaced, true) {
            out.extend_from_slice(REPLACEMENT.as_bytes());
        }
    }
}

/// Whether a text is shown as it is: most are. Written so that it is looked at many bytes at once.
fn is_plain(text: &[u8]) -> bool {
    let is_other = |byte: u8| (byte < b' ' && byte != b'\n' && byte != b'\t') || byte > b'~';
    !text.iter().fold(false, |has_other, byte| has_other | is_other(*byte))
}

fn push_safe_str(text: &str, out: &mut Vec<u8>) {
    let mut rest = text;
    while !rest.is_empty() {
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n' | b'\t');
        let plain = rest.as_bytes().iter().position(|byte| !is_plain(byte)).unwrap_or(rest.len());
        out.extend_from_slice(&rest.as_bytes()[..plain]);
        rest = &rest[plain..];
        let Some(character) = rest.chars().next() else { break };
        rest = &rest[character.len_utf8()..];
        match character {
            '\r' if rest.starts_with('\n') => {}
            '\u{7F}' => out.extend_from_slice(b"^?"),
            // The key that gives it together with Control, as terminals and `cat -v` show it.
            '\0'..'\u{20}' => out.extend_from_slice(&[b'^', character as u8 | 0x40]),
            _ if is_harmful(character) => {
                out.extend_from_slice(format!("<U+{:04X}>", u32::from(character)).as_bytes());
            }
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Whether a character beyond ASCII drives a terminal or misleads a reader: C1 controls, what turns the direction of
/// writing, what ends lines, what is invisible (Unicode 17, categories Cc, Zl, Zp and Cf, and fillers that are blank), but
/// for the two joiners and the selectors U+FE00 to U+FE0F that scripts and emoji are written with.
fn is_harmful(character: char) -> bool {
    matches!(character,
        '\u{80}'..='\u{9F}'
        | '\u{AD}'
        | '\u{34F}'
        | '\u{600}'..='\u{605}'
        | '\u{61C}'
        | '\u{6DD}'
        | '\u{70F}'
        | '\u{890}'..='\u{891}'
        | '\u{8E2}'
        | '\u{115F}'..='\u{1160}'
        | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}'
        | '\u{200B}'
        | '\u{200E}'..='\u{200F}'
        | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}'
        | '\u{3164}'
        | '\u{FEFF}'
        | '\u{FFA0}'
        | '\u{FFF0}'..='\u{FFFB}'
        | '\u{110BD}'
        | '\u{110CD}'
        | '\u{13430}'..='\u{1343F}'
        | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}'
        | '\u{E0000}'..='\u{E0FFF}')
}

/// As many characters from the start of `text` as fit in so many columns. Marks stay with the character they belong to, as
/// far as no column has more than a few of them.
#[must_use]
pub fn cut_to_columns(text: &str, columns: usize) -> &str {
    /// Characters to a column, on average: a family of emoji has seven to two.
    const MOST: usize = 8;
    // No character has more columns than bytes.
    if text.len() <= columns {
        return text;
    }
    let mut taken = 0;
    for (number, (at, character)) in text.char_indices().enumerate() {
        taken += character.width().unwrap_or(0);
        if taken > columns || number >= columns.saturating_mul(MOST) {
            return &text[..at];
        }
    }
    text
}

#[cfg(test)]
mod tests;
