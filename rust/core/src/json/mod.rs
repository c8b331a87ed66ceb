//! JSON as it stands in rollouts: checked in one pass, copied as spans, decoded only where the text is needed.
//!
//! * [`scan`](mod@scan): the one scanner; checks a text and records its values
//! * [`shapes`]: what texts looked like so far, so that it need not look at all of the next one anew
//! * [`block`]: how it looks at 64 bytes at once
//! * [`key`]: the object keys that are told apart
//! * [`string`]: decoding, counting and escaping of strings
//! * [`dump`]: a value in the form that Python's `json.dumps` gives it
//! * [`number`]: integers that readers in Python do not take as they are

pub mod block;
pub mod dump;
pub mod key;
pub mod number;
pub mod scan;
pub mod shapes;
pub mod string;

pub use key::Key;
pub use scan::{Kind, Malformed, NO_OBJECT, Tape, Value, scan, scan_alike};
pub use shapes::Shapes;

/// A JSON text laid out for the scanner: a newline behind it, and [`block::PADDING`] readable bytes behind that.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    /// The text, the newline, the padding.
    buffer: &'a [u8],
    len: usize,
}

impl<'a> Text<'a> {
    /// Takes the first `len` bytes of `buffer` for a text.
    ///
    /// # Panics
    ///
    /// If `buffer[len]` is not a newline, or fewer than [`block::PADDING`] bytes follow it: a caller's mistake,
    /// never a matter of input.
    #[must_use]
    pub fn new(buffer: &'a [u8], len: usize) -> Self {
        assert!(buffer.len() > len + block::PADDING && buffer[len] == b'\n', "text without its padding");
        Self { buffer, len }
    }

    /// Appends newline and padding to `bytes` and takes what stood there for a text.
    ///
    /// The bytes appended stay; truncate to reuse the buffer.
    #[must_use]
    pub fn pad(bytes: &'a mut Vec<u8>) -> Self {
        let len = bytes.len();
        bytes.push(b'\n');
        bytes.resize(len + 1 + block::PADDING, 0);
        Self { buffer: bytes, len }
    }

    /// The text's bytes.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        &self.buffer[..self.len]
    }

    /// Its bytes from `start` to `end`, counted as a [`Value`] counts them.
    #[must_use]
    #[inline]
    pub fn span(self, start: u32, end: u32) -> &'a [u8] {
        &self.buffer[start as usize..end as usize]
    }
}
