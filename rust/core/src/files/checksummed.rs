//! State in bytes that tell whether they are whole and of a version that is understood.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// Bytes of the check sum.
const SUM: usize = 8;

/// Sealed bytes that cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The version that they say they are of, 0 where there are none.
    pub version: u8,
}

/// Writes `state` as bytes of `version`.
pub fn seal(version: u8, state: &impl Serialize) -> Vec<u8> {
    let bytes = postcard::to_extend(state, Vec::new()).unwrap_or_default();
    [&[version], &sum(version, &bytes)[..], &bytes].concat()
}

/// Reads bytes of `version` back.
///
/// # Errors
///
/// [`Broken`] where they are of another version, or damaged.
pub fn open<T: DeserializeOwned>(version: u8, sealed: &[u8]) -> Result<T, Broken> {
    let (found, rest) = sealed.split_first().unwrap_or((&0, &[]));
    let broken = Broken { version: *found };
    let (sum_found, bytes) = rest.split_first_chunk::<SUM>().ok_or(broken)?;
    if *found != version || *sum_found != sum(version, bytes) {
        return Err(broken);
    }
    postcard::from_bytes(bytes).map_err(|_| broken)
}

/// What tells damaged bytes.
fn sum(version: u8, bytes: &[u8]) -> [u8; SUM] {
    let digest = Sha256::new().chain_update([version]).chain_update(bytes).finalize();
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
