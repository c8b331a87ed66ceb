//! Files on disk: atomic writes, locks, double-buffered state, checksums, and opening without following links.
//!
//! * [`atomic_write`]: files that are replaced as a whole or not at all
//! * [`slots`]: a double-buffered state file
//! * [`checksummed`]: state as bytes with a version and a checksum
//! * [`lock`]: file locks based on `flock(2)`
//! * [`open`]: opening a file without following links
//! * [`positional`]: reading and writing at an offset
//! * [`fingerprint`]: hashes that show whether a file has changed

pub mod atomic_write;
pub mod checksummed;
pub mod fingerprint;
pub mod lock;
pub mod open;
pub mod positional;
pub mod slots;
