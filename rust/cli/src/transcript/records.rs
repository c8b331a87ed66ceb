//! The forms in which records are written.

use std::io::{self, Write};

use crate::human::{Human, Style};
use mngr_codex_core::json::Text;
use mngr_codex_core::json::dump::{dump, dump_indented};
use mngr_codex_core::json::string::in_utf8;

/// Bytes that are gathered before they are written.
const ENOUGH: usize = 64 << 10;

/// Writes records one after the other.
pub struct Records {
    form: Form,
    gathered: Vec<u8>,
    repaired: Vec<u8>,
    is_first: bool,
}

/// How each record looks.
pub enum Form {
    /// As people read it.
    Human(Box<Human>),
    /// The line as it stands.
    Line,
    /// A line as Python's `json.dumps` writes it.
    PythonLine,
    /// One of an array, a line each.
    Element,
    /// One of an array as Python's `json.dumps` writes it with `indent=2`.
    PythonElement,
}

impl Form {
    /// The form for people.
    pub fn human(style: Style) -> Self {
        Self::Human(Box::new(Human::new(style)))
    }
}

impl Records {
    /// None written yet.
    pub fn new(form: Form) -> Self {
        Self { form, gathered: Vec::new(), repaired: Vec::new(), is_first: true }
    }

    /// Writes a record, which must be a JSON object.
    pub fn push(&mut self, record: Text<'_>, out: &mut dyn Write) -> io::Result<()> {
        let gathered = &mut self.gathered;
        let line = in_utf8(record.bytes().trim_ascii(), &mut self.repaired);
        match &mut self.form {
            Form::Human(human) => human.record(record, gathered),
            Form::Line => {
                gathered.extend_from_slice(line);
                gathered.push(b'\n');
            }
            Form::PythonLine => {
                dump(line, false, &mut |piece| {
                    gathered.extend_from_slice(piece);
                    true
                });
                gathered.push(b'\n');
            }
            Form::Element => {
                gathered.extend_from_slice(if self.is_first { b"[\n" } else { b",\n" });
                gathered.extend_from_slice(line);
            }
            Form::PythonElement => {
                gathered.extend_from_slice(if self.is_first { b"[\n  " } else { b",\n  " });
                dump_indented(line, 1, gathered);
            }
        }
        self.is_first = false;
        if self.gathered.len() >= ENOUGH { self.write(out) } else { Ok(()) }
    }

    /// Writes what was gathered.
    pub fn write(&mut self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.gathered)?;
        self.gathered.clear();
        self.gathered.shrink_to(4 * ENOUGH);
        Ok(())
    }

    /// Writes what was gathered, and what closes the whole.
    pub fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        match &mut self.form {
            Form::Human(human) => human.finish(&mut self.gathered),
            Form::Line | Form::PythonLine => {}
            Form::Element | Form::PythonElement => {
                self.gathered.extend_from_slice(if self.is_first { b"[]\n" } else { b"\n]\n" });
            }
        }
        self.write(out)
    }
}
