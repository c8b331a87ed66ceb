//! The bytes of a rollout, from a file, a compressed file (detected by its content), or standard input.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use zstd::zstd_safe::get_error_name;
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;

/// The first bytes of a zstd frame (RFC 8878, section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

/// The first bytes of a skippable frame, with the lower half of the first byte cleared (RFC 8878, section 3.1.2). Files
/// written by `pzstd` begin with one.
const SKIPPABLE_MAGIC: [u8; 4] = [0x50, 0x2A, 0x4D, 0x18];

/// The maximum window size of a compressed rollout, as a power of two: 8 MiB, which RFC 8878 recommends every decoder
/// to support. It bounds the memory that a hostile file can claim.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// The window of a compressed rollout is too large. This is the inner error of an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("the file's zstd window is larger than {} MiB", (1 << ZSTD_WINDOW_LOG_MAX) >> 20)]
pub struct WindowTooLarge;

impl WindowTooLarge {
    /// Returns whether an error from reading an [`Input`] is this one.
    #[must_use]
    pub fn is_in(error: &io::Error) -> bool {
        error.get_ref().and_then(|inner| inner.downcast_ref::<Self>()).is_some()
    }
}

/// The bytes of a rollout, decompressed if necessary.
pub struct Input {
    reader: Box<dyn Read + Send>,
    size: Option<u64>,
    is_compressed: bool,
}

impl Input {
    /// Opens the rollout at `path`.
    ///
    /// # Errors
    ///
    /// Returns [`io::ErrorKind::IsADirectory`] for a directory, and any other error if the file cannot be opened or
    /// read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        let size = metadata.is_file().then_some(metadata.len());
        let mut input = Self::from_reader(file)?;
        // The size of a compressed file is not the size of its text.
        input.size = input.size.and(size);
        Ok(input)
    }

    /// Reads bytes from `reader`, such as standard input.
    ///
    /// # Errors
    ///
    /// Returns an error if the first bytes cannot be read.
    pub fn from_reader(mut reader: impl Read + Send + 'static) -> io::Result<Self> {
        let mut head = Vec::with_capacity(ZSTD_MAGIC.len());
        reader.by_ref().take(ZSTD_MAGIC.len() as u64).read_to_end(&mut head)?;
        let is_compressed = head == ZSTD_MAGIC || is_skippable(&head);
        let complete = Cursor::new(head).chain(reader);
        if is_compressed {
            let mut decoder = zstd::stream::read::Decoder::new(complete)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            return Ok(Self { reader: Box::new(Decompressed(decoder)), size: None, is_compressed });
        }
        Ok(Self { reader: Box::new(complete), size: Some(0), is_compressed })
    }

    /// Returns whether the file is compressed. Such a file does not grow.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.is_compressed
    }

    /// Returns the size of the text in bytes if it is known, for progress.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size.filter(|size| *size > 0)
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

/// Returns whether these are the first bytes of a skippable frame.
fn is_skippable(head: &[u8]) -> bool {
    matches!(head, [first, rest @ ..] if first & 0xF0 == SKIPPABLE_MAGIC[0] && *rest == SKIPPABLE_MAGIC[1..])
}

/// A decompressed text. It adds explanations to errors of the decoder, which have only a name.
struct Decompressed<R>(R);

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| {
            // An error is the negative of its code.
            let too_large =
                get_error_name((ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge as usize).wrapping_neg());
            match error.get_ref() {
                Some(inner) if inner.to_string() == too_large => io::Error::other(WindowTooLarge),
                Some(inner) => {
                    io::Error::new(error.kind(), format!("the compressed file is damaged or cut short: {inner}"))
                }
                None => error,
            }
        })
    }
}

#[cfg(test)]
mod tests;
