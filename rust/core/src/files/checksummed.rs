//! State as bytes with a version and a checksum.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// The length of the checksum, in bytes.
const CHECKSUM: usize = 8;

/// Bytes that are damaged or of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// The version in the first byte, or 0 if it is empty. Undamaged bytes are of this version.
    pub(crate) version: u8,
}

/// Encodes `state` as bytes of `version`.
pub(crate) fn encode(version: u8, state: &impl Serialize) -> Vec<u8> {
    let bytes = postcard::to_extend(state, Vec::new()).unwrap_or_default();
    [&[version], &checksum(version, &bytes)[..], &bytes].concat()
}

/// Decodes bytes of `version`.
///
/// # Errors
///
/// Returns [`Unreadable`] if the bytes are of another version or damaged.
pub(crate) fn decode<T: DeserializeOwned>(version: u8, encoded: &[u8]) -> Result<T, Unreadable> {
    let (found, rest) = encoded.split_first().unwrap_or((&0, &[]));
    let unreadable = Unreadable { version: *found };
    let (stored, bytes) = rest.split_first_chunk::<CHECKSUM>().ok_or(unreadable)?;
    if *found != version || *stored != checksum(version, bytes) {
        return Err(unreadable);
    }
    postcard::from_bytes(bytes).map_err(|_| unreadable)
}

fn checksum(version: u8, bytes: &[u8]) -> [u8; CHECKSUM] {
    let digest = Sha256::new().chain_update([version]).chain_update(bytes).finalize();
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
