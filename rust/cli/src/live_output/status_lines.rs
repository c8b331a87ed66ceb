//! Lines at the end of a terminal's output that are replaced when they change.
//!
//! After the lines are written, the cursor is moved back to their start. So they can be erased without knowing how many
//! rows they take, which the terminal changes when it is resized.

use unicode_width::UnicodeWidthChar;

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

/// The lines that are on the screen. Only decides what to write, and writes nothing itself.
#[derive(Debug, Default)]
pub(super) struct StatusLines {
    shown: Option<(Vec<u8>, Size)>,
}

impl StatusLines {
    /// Moves to the start of the row, and erases everything after that (ECMA-48).
    const ERASE: &[u8] = b"\r\x1b[J";

    /// A terminal without automatic margins cuts a row that it considers wider than this program does, instead of
    /// wrapping it (DECAWM).
    const MARGINS_OFF: &[u8] = b"\x1b[?7l";
    const MARGINS_ON: &[u8] = b"\x1b[?7h";

    /// Appends what removes the lines from the screen. Text that is written next appears in their place.
    pub(super) fn erase(&mut self, out: &mut Vec<u8>) {
        if self.shown.take().is_some() {
            out.extend_from_slice(Self::ERASE);
        }
    }

    /// Appends what replaces the lines by `text`, which may contain SGR sequences but nothing else that moves the
    /// cursor. If it is higher than the terminal, only its end is shown.
    pub(super) fn show(&mut self, text: &[u8], size: Size, out: &mut Vec<u8>) {
        if self.shown.as_ref().is_some_and(|(shown, at)| shown == text && *at == size) {
            return;
        }
        self.erase(out);
        if text.is_empty() {
            return;
        }
        let count = push_rows(text, size, out);
        out.push(b'\r');
        if count > 1 {
            out.extend_from_slice(format!("\x1b[{}A", count - 1).as_bytes());
        }
        self.shown = Some((text.to_vec(), size));
    }

    /// Appends what leaves the lines on the screen for good, with the cursor after them.
    pub(super) fn leave(&mut self, size: Size, out: &mut Vec<u8>) {
        if let Some((text, _)) = self.shown.take() {
            out.extend_from_slice(Self::ERASE);
            push_rows(&text, size, out);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Appends the rows of a text, without a newline after the last. Returns their number, which is less than the number of the
/// terminal's rows unless it has only one.
fn push_rows(text: &[u8], size: Size, out: &mut Vec<u8>) -> usize {
    let mut rows = rows(&String::from_utf8_lossy(text), size.columns.max(1));
    let limit = size.rows.saturating_sub(1).max(1);
    if rows.len() > limit {
        rows.drain(..rows.len() - limit);
        if limit > 1 {
            "…".clone_into(&mut rows[0]);
        }
    }
    out.extend_from_slice(StatusLines::MARGINS_OFF);
    out.extend_from_slice(rows.join("\r\n").as_bytes());
    out.extend_from_slice(StatusLines::MARGINS_ON);
    rows.len()
}

/// Splits a text into rows of at most this many columns.
fn rows(text: &str, columns: usize) -> Vec<String> {
    const TAB: usize = 8;
    let mut rows = Vec::new();
    for line in text.trim_end_matches('\n').split('\n') {
        let (mut row, mut taken, mut is_in_sequence) = (String::new(), 0, false);
        for character in line.chars() {
            if is_in_sequence || character == '\x1b' {
                is_in_sequence = !character.is_ascii_alphabetic();
                row.push(character);
                continue;
            }
            let (width, is_tab) = match character {
                '\t' => (TAB - taken % TAB, true),
                _ => (character.width().unwrap_or(0), false),
            };
            if taken + width > columns && taken > 0 {
                rows.push(std::mem::take(&mut row));
                taken = 0;
            }
            let width = width.min(columns);
            taken += width;
            if is_tab {
                row.extend(std::iter::repeat_n(' ', width));
            } else {
                row.push(character);
            }
        }
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests;
