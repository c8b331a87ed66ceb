//! How a document's JSON is laid out.

use super::Form;
use super::schema::{Field, PART, PARTS, REFERENCE, Shape, members};
use crate::json::dump::{Members, dump_indented};
use crate::json::string;

/// Writes JSON token by token.
pub(super) struct JsonWriter {
    form: Form,
    level: usize,
    /// Whether the innermost container that is open has an element already.
    has_any: bool,
    pub out: Vec<u8>,
}

impl JsonWriter {
    pub(super) fn new(form: Form) -> Self {
        Self { form, level: 0, has_any: false, out: Vec::new() }
    }

    /// Opens an object or array.
    pub(super) fn open(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.level += 1;
        self.has_any = false;
    }

    /// Closes it.
    pub(super) fn close(&mut self, bracket: u8) {
        self.level -= 1;
        if self.has_any {
            self.break_line();
        }
        self.out.push(bracket);
        self.has_any = true;
    }

    /// Goes on to the next element.
    pub(super) fn element(&mut self) {
        if std::mem::replace(&mut self.has_any, true) {
            self.out.push(b',');
        }
        self.break_line();
    }

    /// Goes on to the next member, which has this name.
    pub(super) fn key(&mut self, name: &str) {
        self.element();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(if self.form == Form::AsMngr { b"\": " } else { b"\":" });
    }

    fn break_line(&mut self) {
        if self.form == Form::AsMngr {
            self.out.push(b'\n');
            self.out.extend(std::iter::repeat_n(b' ', 2 * self.level));
        }
    }

    /// A member whose name is a token of the stream.
    pub(super) fn copied_key(&mut self, key: &[u8]) {
        self.element();
        self.value(key);
        self.out.extend_from_slice(if self.form == Form::AsMngr { b": " } else { b":" });
    }

    /// A text that is no JSON yet.
    pub(super) fn text(&mut self, text: &str) {
        self.out.push(b'"');
        match self.form {
            Form::Compact => string::escape(text.as_bytes(), &mut self.out),
            Form::AsMngr => string::escape_to_ascii(text.as_bytes(), &mut self.out),
        }
        self.out.push(b'"');
    }

    /// Text that is JSON in either form.
    pub(super) fn raw(&mut self, json: &str) {
        self.out.extend_from_slice(json.as_bytes());
    }

    /// A value of the stream, as it is.
    pub(super) fn value(&mut self, value: &[u8]) {
        match value {
            _ if self.form == Form::Compact => self.out.extend_from_slice(value),
            [b'"', content @ .., b'"'] if content.iter().all(|byte| matches!(byte, b' '..=b'[' | b']'..=b'~')) => {
                self.out.extend_from_slice(value);
            }
            _ => dump_indented(value, self.level, &mut self.out),
        }
        self.has_any = true;
    }

    /// A value of the stream that has been checked to be of a shape: members of models come in the models' order, and
    /// only those that are not null.
    pub(super) fn shaped(&mut self, value: &[u8], shape: &'static Shape) {
        match shape {
            Shape::List(element) => {
                self.open(b'[');
                for (_, member) in Members::of(value) {
                    self.element();
                    self.shaped(member, element);
                }
                self.close(b']');
            }
            Shape::Model(fields) => self.model(value, fields),
            Shape::Part => self.model(value, PART),
            Shape::Reference => self.model(value, REFERENCE),
            Shape::TextOrParts if value.first() == Some(&b'[') => self.shaped(value, PARTS),
            _ => self.value(value),
        }
    }

    fn model(&mut self, value: &[u8], fields: &'static [Field]) {
        self.open(b'{');
        if let Ok(slots) = members(value, fields) {
            for (field, slot) in fields.iter().zip(slots) {
                if let Some(member) = slot {
                    self.key(field.name);
                    self.shaped(member, &field.shape);
                }
            }
        }
        self.close(b'}');
    }
}
