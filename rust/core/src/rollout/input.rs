//! Where a rollout's bytes come from: a file, a compressed file (told by its content), or standard input.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use zstd::zstd_safe::get_error_name;
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;

/// The first bytes of a zstd frame (RFC 8878, section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

/// The first bytes of a frame that a reader passes over, the lower half of the first one cleared (RFC 8878, section
/// 3.1.2). `pzstd` begins a file with one.
const SKIPPABLE_MAGIC: [u8; 4] = [0x50, 0x2A, 0x4D, 0x18];

/// The largest window that a compressed rollout may ask for, as a power of two: 8 MiB, what RFC 8878 recommends every
/// decoder to support. It bounds the memory that a hostile file can claim.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// A compressed rollout asks for a larger window than is allowed. It comes as the inner error of an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("the file's zstd window is larger than {} MiB", (1 << ZSTD_WINDOW_LOG_MAX) >> 20)]
pub struct WindowTooLarge;

impl WindowTooLarge {
    /// Whether an error of reading an [`Input`] is this one.
    #[must_use]
    pub fn is_in(error: &io::Error) -> bool {
        error.get_ref().and_then(|inner| inner.downcast_ref::<Self>()).is_some()
    }
}

/// A rollout's bytes, decompressed where they were compressed.
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
    /// What the system says when it cannot be opened or read; [`io::ErrorKind::IsADirectory`] for a directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        let size = metadata.is_file().then_some(metadata.len());
        let mut input = Self::from_reader(file)?;
        // The size of a compressed file says nothing of the text's.
        input.size = input.size.and(size);
        Ok(input)
    }

    /// Takes bytes from `reader`, such as standard input.
    ///
    /// # Errors
    ///
    /// What `reader` says when its first bytes cannot be read.
    pub fn from_reader(mut reader: impl Read + Send + 'static) -> io::Result<Self> {
        let mut head = Vec::with_capacity(ZSTD_MAGIC.len());
        reader.by_ref().take(ZSTD_MAGIC.len() as u64).read_to_end(&mut head)?;
        let is_compressed = head == ZSTD_MAGIC || is_skippable(&head);
        let whole = Cursor::new(head).chain(reader);
        if is_compressed {
            let mut decoder = zstd::stream::read::Decoder::new(whole)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            return Ok(Self { reader: Box::new(Decompressed(decoder)), size: None, is_compressed });
        }
        Ok(Self { reader: Box::new(whole), size: Some(0), is_compressed })
    }

    /// Whether the bytes come from a compressed file, which no one appends to.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.is_compressed
    }

    /// The text's size in bytes, where it is known beforehand; for progress.
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

/// Whether a frame begins so that is to be passed over.
fn is_skippable(head: &[u8]) -> bool {
    matches!(head, [first, rest @ ..] if first & 0xF0 == SKIPPABLE_MAGIC[0] && *rest == SKIPPABLE_MAGIC[1..])
}

/// A decompressed text; says more of some errors than the decoder, which has but a name for each.
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
