//! The values of a text, as the scanner records them.

use super::{Key, Text};

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// A number without fraction or exponent.
    Integer,
    /// Any other number.
    Float,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

/// Whether a string contains escapes or non-ASCII bytes. The scanner determines this while it reads the string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content(pub(super) u8);

impl Content {
    pub(super) const ESCAPE: u8 = 1;
    pub(super) const UNICODE_ESCAPE: u8 = 2;
    pub(super) const NON_ASCII: u8 = 4;

    /// Returns whether the string contains an escape.
    #[must_use]
    pub(crate) const fn has_escape(self) -> bool {
        self.0 & Self::ESCAPE != 0
    }

    /// Returns whether the string contains an escape of the form `\uXXXX`.
    #[must_use]
    pub(crate) const fn has_unicode_escape(self) -> bool {
        self.0 & Self::UNICODE_ESCAPE != 0
    }

    /// Returns whether the string contains a byte of 0x80 or above.
    #[must_use]
    pub(crate) const fn has_non_ascii(self) -> bool {
        self.0 & Self::NON_ASCII != 0
    }

    /// Returns whether each byte is one character: the string contains neither escapes nor non-ASCII bytes.
    #[must_use]
    pub(crate) const fn is_plain(self) -> bool {
        self.0 == 0
    }
}

/// A recorded value. Offsets are counted in bytes from the start of the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    /// The offset of the first byte of the key's name, after the quote; 0 for an element of an array.
    pub(super) key_start: u32,
    /// The offset of the quote that ends the key's name; 0 for an element of an array.
    pub(super) key_end: u32,
    /// The offset of the first byte; for a string, of the byte after the opening quote.
    pub(crate) start: u32,
    /// The offset of the byte after the value; for a string, of the closing quote.
    pub(crate) end: u32,
    /// The index of this value on the tape.
    pub(super) index: u32,
    /// The index of the next value that is not inside this one.
    pub(super) next: u32,
    /// The key. Elements of an array have the key of the array.
    pub(crate) key: Key,
    /// The type.
    pub(crate) kind: Kind,
    /// The content of a string.
    pub(crate) content: Content,
    /// For a container, whether the values in it are recorded too.
    pub(crate) is_entered: bool,
}

impl Value {
    /// Returns the bytes of the value; for a string, those between the quotes.
    #[must_use]
    #[inline]
    pub(crate) fn raw<'a>(&self, text: Text<'a>) -> &'a [u8] {
        text.span(self.start, self.end)
    }

    /// Returns the index on the tape, for [`Tape::value`]. Only the root has index 0.
    #[must_use]
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// Returns the bytes of the value; for a string, including the quotes.
    #[must_use]
    pub(crate) fn token<'a>(&self, text: Text<'a>) -> &'a [u8] {
        if self.kind == Kind::String { text.span(self.start - 1, self.end + 1) } else { self.raw(text) }
    }

    /// Returns the key including its quotes. The value must be a member of an object.
    #[must_use]
    pub(crate) fn key_token<'a>(&self, text: Text<'a>) -> &'a [u8] {
        text.span(self.key_start - 1, self.key_end + 1)
    }

    /// Returns the key between its quotes, with its escapes. It is empty for an element of an array.
    #[must_use]
    pub(crate) fn key_name<'a>(&self, text: Text<'a>) -> &'a [u8] {
        text.span(self.key_start, self.key_end)
    }
}

/// The recorded values of one text, in text order.
///
/// One tape is used for many texts, so that scanning does not allocate memory.
#[derive(Default)]
pub struct Tape {
    pub(super) values: Vec<Value>,
    /// The indexes of the entered containers that are open.
    pub(super) open: Vec<u32>,
    /// The levels inside a container that is not entered, one bit each: whether it is an object.
    pub(super) nesting: Vec<u64>,
    /// Whether any string contains a byte of 0x80 or above.
    pub(super) has_non_ascii: bool,
    /// Whether there is white space between tokens.
    pub(super) has_blank: bool,
    /// How deep containers are nested.
    pub(super) depth: usize,
}

impl Tape {
    /// Returns whether any string of the text contains a byte of 0x80 or above.
    #[must_use]
    pub(crate) fn has_non_ascii(&self) -> bool {
        self.has_non_ascii
    }

    /// Returns whether there is white space between tokens.
    #[must_use]
    pub(crate) fn has_blank(&self) -> bool {
        self.has_blank
    }

    /// Returns how deep containers are nested; 1 for an object of scalars.
    #[must_use]
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Returns the outermost value of the text.
    #[must_use]
    pub(crate) fn root(&self) -> &Value {
        &self.values[0]
    }

    /// Returns the value with this [index](Value::index).
    ///
    /// # Panics
    ///
    /// If the tape has no value with this index.
    #[must_use]
    pub(crate) fn value(&self, index: u32) -> &Value {
        &self.values[index as usize]
    }

    /// Iterates over the members of an object or the elements of an array. Yields nothing if `container` was not entered.
    #[must_use]
    pub(crate) fn children(&self, container: &Value) -> Children<'_> {
        let first = if container.is_entered { container.index as usize + 1 } else { container.next as usize };
        Children { values: &self.values, at: first, end: container.next as usize }
    }
}

/// Iterates over the values directly inside a container.
pub(crate) struct Children<'t> {
    values: &'t [Value],
    at: usize,
    end: usize,
}

impl<'t> Iterator for Children<'t> {
    type Item = &'t Value;

    #[inline]
    fn next(&mut self) -> Option<&'t Value> {
        if self.at >= self.end {
            return None;
        }
        let value = &self.values[self.at];
        self.at = value.next as usize;
        Some(value)
    }
}
