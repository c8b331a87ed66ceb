//! Hashes that show whether a file has changed: of the last bytes before an offset.

use std::fs::File;
use std::io;

use sha2::{Digest, Sha256};

use super::positional::read_at;

/// A hash of some bytes.
pub(crate) type Fingerprint = [u8; 16];

/// The largest number of bytes that are hashed.
pub(crate) const HASHED: u64 = 1024;

/// Returns the hash of `bytes`.
pub(crate) fn hash(bytes: &[u8]) -> Fingerprint {
    Sha256::digest(bytes).first_chunk().copied().unwrap_or_default()
}

/// Returns the hash of the last [`HASHED`] bytes before `offset`, or of all bytes before it if there are fewer.
///
/// # Errors
///
/// Returns an error if the file cannot be read.
pub(crate) fn before(file: &File, offset: u64) -> io::Result<Fingerprint> {
    let mut bytes = vec![0; usize::try_from(offset.min(HASHED)).unwrap_or(0)];
    let count = read_at(file, &mut bytes, offset.saturating_sub(HASHED))?;
    Ok(hash(&bytes[..count]))
}
