//! Files on disk: atomic writes, locks, double-buffered state, checksums, and opening without following links.
//!
//! * [`append`]: lines that several processes append
//! * [`atomic_write`]: files that are replaced completely or not at all
//! * [`slots`]: a double-buffered state file
//! * [`checksummed`]: state as bytes with a version and a checksum
//! * [`lock`]: file locks based on `flock(2)`
//! * [`open`]: opening a file without following links
//! * [`regular`]: checks for regular files, and file identity
//! * [`file_error`]: I/O errors with their path
//! * [`positional`]: reading and writing at an offset
//! * [`fingerprint`]: hashes that show whether a file has changed

pub(crate) mod append;
pub(crate) mod atomic_write;
pub(crate) mod checksummed;
pub(crate) mod file_error;
pub(crate) mod fingerprint;
pub(crate) mod lock;
pub(crate) mod open;
pub(crate) mod positional;
pub(crate) mod regular;
pub(crate) mod slots;
