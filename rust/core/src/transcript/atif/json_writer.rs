//! Writing the JSON of a document.

use super::Layout;
use super::schema::{Field, PART, PARTS, REFERENCE, Shape, members};
use crate::json::dump::{Members, write_python_json_indented};
use crate::json::string;

/// Writes JSON token by token.
pub(super) struct JsonWriter {
    layout: Layout,
    level: usize,
    /// Whether the innermost open container has an element.
    has_element: bool,
    /// The JSON that has been written.
    pub(crate) out: Vec<u8>,
}

impl JsonWriter {
    pub(super) fn new(layout: Layout) -> Self {
        Self { layout, level: 0, has_element: false, out: Vec::new() }
    }

    /// Opens an object or an array.
    pub(super) fn open(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.level += 1;
        self.has_element = false;
    }

    /// Closes the innermost object or array.
    pub(super) fn close(&mut self, bracket: u8) {
        self.level -= 1;
        if self.has_element {
            self.break_line();
        }
        self.out.push(bracket);
        self.has_element = true;
    }

    /// Starts the next element.
    pub(super) fn element(&mut self) {
        if std::mem::replace(&mut self.has_element, true) {
            self.out.push(b',');
        }
        self.break_line();
    }

    /// Starts the next member. The name needs no escapes.
    pub(super) fn key(&mut self, name: &str) {
        self.element();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(if self.layout == Layout::AsMngr { b"\": " } else { b"\":" });
    }

    fn break_line(&mut self) {
        if self.layout == Layout::AsMngr {
            self.out.push(b'\n');
            self.out.extend(std::iter::repeat_n(b' ', 2 * self.level));
        }
    }

    /// Starts the next member. The name is a token of the stream.
    pub(super) fn copied_key(&mut self, key: &[u8]) {
        self.element();
        self.value(key);
        self.out.extend_from_slice(if self.layout == Layout::AsMngr { b": " } else { b":" });
    }

    /// Writes a string.
    pub(super) fn text(&mut self, text: &str) {
        self.out.push(b'"');
        match self.layout {
            Layout::Compact => string::escape(text.as_bytes(), &mut self.out),
            Layout::AsMngr => string::escape_to_ascii(text.as_bytes(), &mut self.out),
        }
        self.out.push(b'"');
    }

    /// Writes JSON that is the same in both layouts.
    pub(super) fn raw(&mut self, json: &str) {
        self.out.extend_from_slice(json.as_bytes());
    }

    /// Writes a value of the stream.
    pub(super) fn value(&mut self, value: &[u8]) {
        match value {
            _ if self.layout == Layout::Compact => self.out.extend_from_slice(value),
            [b'"', content @ .., b'"'] if content.iter().all(|byte| matches!(byte, b' '..=b'[' | b']'..=b'~')) => {
                self.out.extend_from_slice(value);
            }
            _ => write_python_json_indented(value, self.level, &mut self.out),
        }
        self.has_element = true;
    }

    /// Writes a value of the stream that has this shape. The members of models are written in the order of the schema, without
    /// null members.
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
