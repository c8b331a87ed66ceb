//! Hashes that tell whether a file is what it was: of the last bytes before a place in it.

use std::fs::File;
use std::io;

use sha2::{Digest, Sha256};

use crate::files::positional::read_at;

/// A hash that tells other bytes.
pub type Fingerprint = [u8; 16];

/// Bytes that are hashed at the most.
pub const HASHED: u64 = 1024;

/// The hash of these bytes.
#[must_use]
pub fn hash(bytes: &[u8]) -> Fingerprint {
    Sha256::digest(bytes).first_chunk().copied().unwrap_or_default()
}

/// The hash of the last [`HASHED`] bytes before a place of a file, or of as many as there are.
///
/// # Errors
///
/// What the system says.
pub fn before(file: &File, place: u64) -> io::Result<Fingerprint> {
    let mut bytes = vec![0; usize::try_from(place.min(HASHED)).unwrap_or(0)];
    let count = read_at(file, &mut bytes, place.saturating_sub(HASHED))?;
    Ok(hash(&bytes[..count]))
}
