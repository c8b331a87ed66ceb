//! Makes text from a session safe to show on a terminal, and measures it in columns.
//!
//! A session holds the output of tools and web pages. It must not move the cursor, set a title, write the clipboard or
//! reverse the reading direction, so characters that could do this are shown in a visible form.

use unicode_width::UnicodeWidthChar;

/// Replaces invalid UTF-8 and unpaired surrogates.
const REPLACEMENT: &str = "\u{FFFD}";

/// Appends `text`, which may be WTF-8 or invalid UTF-8, with every character that could control a terminal made visible:
/// control characters as `^[`, others as `<U+202E>`. Newlines and tabs are kept; a carriage return before a newline is
/// dropped.
pub(super) fn push_safe(text: &[u8], out: &mut Vec<u8>) {
    if is_harmless(text) {
        return out.extend_from_slice(text);
    }
    let mut is_replaced = false;
    for chunk in text.utf8_chunks() {
        if !chunk.valid().is_empty() {
            is_replaced = false;
            push_safe_str(chunk.valid(), out);
        }
        // A surrogate has three bytes, and each counts as an invalid chunk.
        if !chunk.invalid().is_empty() && !std::mem::replace(&mut is_replaced, true) {
            out.extend_from_slice(REPLACEMENT.as_bytes());
        }
    }
}

/// Returns `text` with every character that could control a terminal made visible, on one line.
#[must_use]
pub(crate) fn safe_line(text: &str) -> String {
    let mut safe = Vec::new();
    push_safe(text.as_bytes(), &mut safe);
    String::from_utf8_lossy(&safe).replace(['\n', '\t'], " ")
}

/// Returns whether a text needs no change because it is plain ASCII.
pub(super) fn is_harmless(text: &[u8]) -> bool {
    text.chunks(64).all(is_plain)
}

/// Returns whether all bytes are printable ASCII, newlines or tabs. Has no early exit, so that the compiler can vectorize it.
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
            // Caret notation, as terminals and `cat -v` use it.
            '\0'..'\u{20}' => out.extend_from_slice(&[b'^', character as u8 | 0x40]),
            _ if is_harmful(character) => {
                out.extend_from_slice(format!("<U+{:04X}>", u32::from(character)).as_bytes());
            }
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Returns whether a character outside ASCII can control a terminal or mislead a reader: C1 controls, bidirectional controls,
/// line separators and invisible characters (Unicode 17: categories Cc, Zl, Zp and Cf, and blank fillers). The two
/// joiners and the variation selectors U+FE00 to U+FE0F are allowed, because scripts and emoji need them.
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

/// Returns the longest start of `text` that fits in `columns`. Combining marks stay with their character, up to a limit
/// per column.
#[must_use]
pub(crate) fn cut_to_columns(text: &str, columns: usize) -> &str {
    /// The most characters per column, on average; a family emoji has seven in two columns.
    const CHARACTERS_PER_COLUMN: usize = 8;
    // No character is wider than its bytes.
    if text.len() <= columns {
        return text;
    }
    let mut taken = 0;
    for (number, (at, character)) in text.char_indices().enumerate() {
        taken += character.width().unwrap_or(0);
        if taken > columns || number >= columns.saturating_mul(CHARACTERS_PER_COLUMN) {
            return &text[..at];
        }
    }
    text
}

#[cfg(test)]
mod tests;
