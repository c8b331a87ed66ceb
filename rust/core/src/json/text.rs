//! The text that the scanner reads.

use super::block::PADDING;

/// A JSON text, followed by a newline and by [`PADDING`] bytes that may be read.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    /// The text, the newline and the padding.
    buffer: &'a [u8],
    len: usize,
}

impl<'a> Text<'a> {
    /// Returns the first `len` bytes of `buffer` as a text.
    ///
    /// # Panics
    ///
    /// If `buffer[len]` is not a newline, or if fewer than [`PADDING`] bytes follow it. This is a bug of the caller and
    /// does not depend on the input.
    #[must_use]
    pub(crate) fn new(buffer: &'a [u8], len: usize) -> Self {
        assert!(buffer.len() > len + PADDING && buffer[len] == b'\n', "text without newline and padding");
        Self { buffer, len }
    }

    /// Appends the newline and the padding to `bytes`, and returns the bytes before them as a text.
    ///
    /// To reuse `bytes` without the appended bytes, truncate it.
    #[must_use]
    pub fn pad(bytes: &'a mut Vec<u8>) -> Self {
        let len = bytes.len();
        bytes.push(b'\n');
        bytes.resize(len + 1 + PADDING, 0);
        Self { buffer: bytes, len }
    }

    /// Returns the text from offset `start` on.
    ///
    /// # Panics
    ///
    /// If `start` is after the end of the text, which is a bug of the caller.
    #[must_use]
    pub(crate) fn from(self, start: usize) -> Self {
        assert!(start <= self.len, "a start after the end of the text");
        Self { buffer: &self.buffer[start..], len: self.len - start }
    }

    /// Returns the part of the text in `range`. It is copied to `copy`, unless it extends to the end.
    #[must_use]
    pub(crate) fn part<'b>(self, range: std::ops::Range<usize>, copy: &'b mut Vec<u8>) -> Text<'b>
    where
        'a: 'b,
    {
        if range.end == self.len {
            return self.from(range.start);
        }
        copy.clear();
        copy.extend_from_slice(&self.bytes()[range]);
        Text::pad(copy)
    }

    /// Returns the bytes of the text, without the newline and the padding.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        &self.buffer[..self.len]
    }

    /// Returns the bytes from offset `start` up to offset `end`, as [`Value`](super::Value) has them.
    #[must_use]
    #[inline]
    pub(crate) fn span(self, start: u32, end: u32) -> &'a [u8] {
        &self.buffer[start as usize..end as usize]
    }

    /// Returns the text with its newline and its padding.
    #[inline(always)]
    pub(super) fn padded(self) -> &'a [u8] {
        self.buffer
    }
}
