//! Writes records in each output format.

use std::io::{self, Write};

use mngr_codex_core::{
    Activity, SessionHead, Text, replace_invalid_utf8, write_python_json, write_python_json_indented,
};

use super::running::Announced;
use crate::human::{Human, OpenCall, Style, Zone};

/// The size in bytes at which the buffer is written.
const BUFFER_SIZE: usize = 64 << 10;

/// Writes records one after the other.
pub(super) struct Records {
    format: RecordFormat,
    buffer: Vec<u8>,
    repaired: Vec<u8>,
    is_first: bool,
    /// The id of the last record that could not be marked yet.
    unmarked: Option<Vec<u8>>,
}

/// The format of a record.
pub(super) enum RecordFormat {
    /// Human-readable text.
    Human(Box<Human>),
    /// The line, unchanged.
    Line,
    /// A line as Python's `json.dumps` writes it.
    PythonLine,
    /// An element of an array, one per line.
    Element,
    /// An element of an array as Python's `json.dumps` writes it with `indent=2`.
    PythonElement,
}

impl RecordFormat {
    /// The human-readable format.
    pub(super) fn human(style: Style, zone: Zone) -> Self {
        Self::Human(Box::new(Human::new(style, zone)))
    }
}

impl Records {
    /// The mark after output in which no record was completed.
    pub(super) const MARK_WITHOUT_RECORD: &[u8] = b"\x1e\n";

    /// Creates a writer for this format.
    pub(super) fn new(format: RecordFormat) -> Self {
        Self { format, buffer: Vec::new(), repaired: Vec::new(), is_first: true, unmarked: None }
    }

    /// Sets the width of the terminal, for the human-readable form.
    pub(super) fn set_columns(&mut self, columns: usize) {
        if let RecordFormat::Human(human) = &mut self.format {
            human.set_columns(columns);
        }
    }

    /// Writes each record at once, even if the ones after it explain it.
    pub(super) fn show_at_once(&mut self) {
        if let RecordFormat::Human(human) = &mut self.format {
            human.show_at_once();
        }
    }

    /// Returns whether a line about the session can be added: the form is human-readable and nothing was added yet.
    pub(super) fn is_at_start(&self) -> bool {
        matches!(&self.format, RecordFormat::Human(human) if human.is_at_start())
    }

    /// Marks that all records up to the one with this id were written, once none of them is held back.
    pub(super) fn mark(&mut self, event_id: &[u8]) {
        self.unmarked = Some(event_id.to_vec());
        self.mark_written();
    }

    /// Marks which calls were announced, after their lines.
    pub(super) fn mark_announced(&mut self, announced: &Announced) {
        self.buffer.extend_from_slice(format!("\x1e~{announced}\n").as_bytes());
    }

    fn mark_written(&mut self) {
        let is_held = matches!(&self.format, RecordFormat::Human(human) if !human.has_written_all());
        // In JSON the character would be escaped, and in text it would be shown as `^^`.
        if let Some(event_id) = self.unmarked.take_if(|_| !is_held) {
            self.buffer.extend_from_slice(b"\x1e=");
            self.buffer.extend_from_slice(&event_id);
            self.buffer.push(b'\n');
        }
    }

    /// Adds a line about the session to the human-readable form.
    pub(super) fn session(&mut self, head: &SessionHead) {
        if let RecordFormat::Human(human) = &mut self.format {
            human.session(head, &mut self.buffer);
        }
    }

    /// Adds the session's cost to the human-readable form.
    pub(super) fn totals(&mut self) {
        if let RecordFormat::Human(human) = &mut self.format {
            human.finish(&mut self.buffer);
            human.totals(&mut self.buffer);
        }
    }

    /// Writes a record, which must be a JSON object.
    pub(super) fn push(&mut self, record: Text<'_>, out: &mut dyn Write) -> io::Result<()> {
        let buffer = &mut self.buffer;
        let line = replace_invalid_utf8(record.bytes().trim_ascii(), &mut self.repaired);
        match &mut self.format {
            RecordFormat::Human(human) => human.record(record, buffer),
            RecordFormat::Line => {
                buffer.extend_from_slice(line);
                buffer.push(b'\n');
            }
            RecordFormat::PythonLine => {
                write_python_json(line, false, &mut |piece| {
                    buffer.extend_from_slice(piece);
                    true
                });
                buffer.push(b'\n');
            }
            RecordFormat::Element => {
                buffer.extend_from_slice(if self.is_first { b"[\n" } else { b",\n" });
                buffer.extend_from_slice(line);
            }
            RecordFormat::PythonElement => {
                buffer.extend_from_slice(if self.is_first { b"[\n  " } else { b",\n  " });
                write_python_json_indented(line, 1, buffer);
            }
        }
        self.is_first = false;
        if self.buffer.len() >= BUFFER_SIZE { self.write(out) } else { Ok(()) }
    }

    /// Adds a line for each call without an output to the human-readable form. `now` is in milliseconds since the epoch.
    pub(super) fn open_calls<'c>(
        &mut self,
        calls: impl Iterator<Item = &'c OpenCall>,
        activity: Activity,
        now: Option<u64>,
    ) {
        if let RecordFormat::Human(human) = &mut self.format {
            human.finish(&mut self.buffer);
            self.mark_written();
        }
        if let RecordFormat::Human(human) = &mut self.format {
            calls.for_each(|call| human.open_call(call, activity, now, &mut self.buffer));
        }
    }

    /// Returns a writer that has shown the same records, and whose buffer is empty. Returns `None` for other formats than
    /// human-readable text.
    pub(super) fn preview(&self) -> Option<Self> {
        match &self.format {
            RecordFormat::Human(human) => Some(Self::new(RecordFormat::Human(human.clone()))),
            _ => None,
        }
    }

    /// Writes the buffered records.
    pub(super) fn write(&mut self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.buffer)?;
        self.buffer.clear();
        self.buffer.shrink_to(4 * BUFFER_SIZE);
        Ok(())
    }

    /// Writes the buffered records and the end of the output.
    pub(super) fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        match &mut self.format {
            RecordFormat::Human(human) => human.finish(&mut self.buffer),
            RecordFormat::Line | RecordFormat::PythonLine => {}
            RecordFormat::Element | RecordFormat::PythonElement => {
                self.buffer.extend_from_slice(if self.is_first { b"[]\n" } else { b"\n]\n" });
            }
        }
        self.write(out)
    }
}

#[cfg(test)]
mod tests {
    use mngr_codex_core::Text;

    use super::*;

    #[test]
    fn copied_records_are_marked_when_their_count_is_written() {
        let mut records = Records::new(RecordFormat::human(Style { color: false, full: false }, Zone::UTC));
        let mut copied = br#"{"type":"step","source":"user","message":"x","is_copied_context":true}"#.to_vec();
        let mut out = Vec::new();
        records.push(Text::pad(&mut copied), &mut out).expect("a vector takes everything");
        records.mark(b"evt-1");
        records.write(&mut out).expect("a vector takes everything");
        assert_eq!(out, b"");
        records.open_calls(std::iter::empty(), Activity::Running, None);
        records.write(&mut out).expect("a vector takes everything");
        assert!(out.starts_with("… 1 record copied".as_bytes()) && out.ends_with(b"\n\x1e=evt-1\n"), "{out:?}");
    }
}
