use proptest::prelude::*;

use super::*;

/// A terminal that knows the sequences that the program writes. Long lines are wrapped again when it is resized.
struct Terminal {
    size: Size,
    /// The lines, each with the characters of all its rows. The cells that were never written are spaces.
    lines: Vec<Vec<char>>,
    /// The line of the cursor.
    line: usize,
    /// The column of the cursor in the line, as if the line were not wrapped.
    column: usize,
    has_margins: bool,
    /// Whether wrapping is undone when the terminal is resized. If not, characters beyond the margin are lost.
    rewraps: bool,
}

impl Terminal {
    fn new(size: Size, rewraps: bool) -> Self {
        Self { size, lines: vec![Vec::new()], line: 0, column: 0, has_margins: true, rewraps }
    }

    fn resize(&mut self, size: Size) {
        if !self.rewraps && size.columns < self.size.columns {
            for line in &mut self.lines {
                let rows: Vec<&[char]> = line.chunks(self.size.columns).collect();
                assert!(rows.len() < 2, "this terminal is for texts without wrapping");
                line.truncate(size.columns);
            }
        }
        self.size = size;
    }

    fn write(&mut self, bytes: &[u8]) {
        let text = String::from_utf8(bytes.to_vec()).expect("is UTF-8");
        let mut rest = text.as_str();
        while let Some(character) = rest.chars().next() {
            if let Some(sequence) = rest.strip_prefix("\x1b[") {
                let end = sequence.find(|character: char| character.is_ascii_alphabetic()).expect("ends");
                self.control(&sequence[..end], &sequence[end..=end]);
                rest = &sequence[end + 1..];
                continue;
            }
            rest = &rest[character.len_utf8()..];
            match character {
                // The kernel adds a carriage return.
                '\n' => {
                    self.line += 1;
                    self.column = 0;
                    if self.line == self.lines.len() {
                        self.lines.push(Vec::new());
                    }
                }
                // After a full row, the cursor stays in it until the next character.
                '\r' => self.column = self.column.saturating_sub(1) / self.size.columns * self.size.columns,
                character => self.put(character),
            }
        }
    }

    fn put(&mut self, character: char) {
        if !self.has_margins && self.column == self.size.columns {
            self.column -= 1;
        }
        let line = &mut self.lines[self.line];
        if line.len() <= self.column {
            line.resize(self.column + 1, ' ');
        }
        line[self.column] = character;
        self.column += 1;
    }

    fn control(&mut self, parameters: &str, function: &str) {
        match (parameters, function) {
            ("", "J") => {
                self.lines[self.line].truncate(self.column);
                self.lines.truncate(self.line + 1);
            }
            ("?7", "l") => self.has_margins = false,
            ("?7", "h") => self.has_margins = true,
            (count, "A") => {
                let count: usize = count.parse().expect("a number");
                assert!(count < self.size.rows, "the cursor cannot leave the screen");
                // Every row is a line of its own.
                self.line -= count;
            }
            (_, "m") => {}
            other => panic!("{other:?} is not known"),
        }
    }

    /// Returns everything that was written and not erased.
    fn content(&self) -> Vec<String> {
        self.lines.iter().map(|line| line.iter().collect()).collect()
    }
}

#[derive(Clone, Debug)]
enum Update {
    /// Final text, which takes the place of the lines.
    Print(String),
    Show(String),
    Resize(Size),
}

fn size_of_terminal() -> impl Strategy<Value = Size> {
    (1..12_usize, 1..8_usize).prop_map(|(columns, rows)| Size { columns, rows })
}

fn update() -> impl Strategy<Value = Update> {
    prop_oneof![
        "[a-d]{0,3}".prop_map(Update::Print),
        "([a-f]{0,20}\n){0,6}".prop_map(Update::Show),
        size_of_terminal().prop_map(Update::Resize),
    ]
}

proptest! {
    #[test]
    fn the_screen_is_as_if_it_were_written_once(
        first in size_of_terminal(),
        rewraps: bool,
        updates in prop::collection::vec(update(), 0..20),
        last in "([a-f]{0,20}\n){0,6}",
    ) {
        let (mut terminal, mut lines) = (Terminal::new(first, rewraps), StatusLines::default());
        let mut printed = String::new();
        for update in updates {
            let mut bytes = Vec::new();
            match update {
                Update::Print(text) => {
                    // Final text is short here, so that no terminal cuts it.
                    let text: String = text.chars().take(terminal.size.columns).collect();
                    lines.erase(&mut bytes);
                    bytes.extend_from_slice(format!("{text}\n").as_bytes());
                    printed.extend([text.as_str(), "\n"]);
                }
                Update::Show(text) => lines.show(text.as_bytes(), terminal.size, &mut bytes),
                Update::Resize(size) => {
                    if !rewraps && printed.lines().any(|line| line.len() > size.columns) {
                        continue;
                    }
                    terminal.resize(size);
                }
            }
            terminal.write(&bytes);
        }
        let mut bytes = Vec::new();
        lines.show(last.as_bytes(), terminal.size, &mut bytes);
        terminal.write(&bytes);
        let mut fresh = Terminal::new(terminal.size, rewraps);
        fresh.write(printed.as_bytes());
        let mut bytes = Vec::new();
        StatusLines::default().show(last.as_bytes(), terminal.size, &mut bytes);
        fresh.write(&bytes);
        prop_assert_eq!(terminal.content(), fresh.content());
        prop_assert_eq!((terminal.line, terminal.column), (fresh.line, fresh.column));
        // What is left when a signal ends the program.
        let mut bytes = Vec::new();
        lines.leave(terminal.size, &mut bytes);
        terminal.write(&bytes);
        prop_assert_eq!(terminal.column, 0);
        prop_assert_eq!(terminal.line, terminal.lines.len() - 1);
    }

    #[test]
    fn no_row_is_wider_than_the_terminal(text in "[a-c\u{6f22}\t\u{301}\x1b]{0,40}", columns in 2..20_usize) {
        let painted = text.replace('\x1b', "\x1b[1;35m");
        for row in rows(&painted, columns) {
            let plain = row.replace("\x1b[1;35m", "");
            let width: usize = plain.chars().map(|character| character.width().unwrap_or(0)).sum();
            prop_assert!(width <= columns, "{:?}", row);
        }
    }
}

const SMALL: Size = Size { columns: 10, rows: 3 };

#[test]
fn a_long_line_is_wrapped_and_only_the_end_of_a_high_text_is_shown() {
    assert_eq!(rows("123456789012\nab\n", 10), ["1234567890", "12", "ab"]);
    let mut bytes = Vec::new();
    StatusLines::default().show(b"1\n2\n3\n4\n", SMALL, &mut bytes);
    assert_eq!(bytes, "\x1b[?7l…\r\n4\x1b[?7h\r\x1b[1A".as_bytes());
}

#[test]
fn unchanged_lines_are_not_written_again() {
    let (mut lines, mut bytes) = (StatusLines::default(), Vec::new());
    lines.show(b"one\n", SMALL, &mut bytes);
    bytes.clear();
    lines.show(b"one\n", SMALL, &mut bytes);
    assert!(bytes.is_empty());
    lines.show(b"", SMALL, &mut bytes);
    assert_eq!(bytes, b"\r\x1b[J");
    bytes.clear();
    lines.erase(&mut bytes);
    lines.leave(SMALL, &mut bytes);
    assert!(bytes.is_empty());
}
