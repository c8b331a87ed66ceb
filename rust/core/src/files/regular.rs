//! Regular files: refusing pipes and devices, and comparing the identity of two files.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Opens a regular file for reading.
///
/// # Errors
///
/// Returns an error if the file cannot be opened or is not a regular file: opening a pipe, or reading a device, could
/// block forever.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    require_regular(&fs::metadata(path)?)?;
    File::open(path)
}

/// Reads a small regular file.
///
/// # Errors
///
/// Returns an error if the file cannot be read or is not a regular file, as for [`open_regular`].
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Checks that `metadata` describes a regular file.
///
/// # Errors
///
/// Returns [`io::ErrorKind::IsADirectory`] for a directory, and an error of kind [`io::ErrorKind::Other`] for a pipe, a
/// socket or a device.
pub(crate) fn require_regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_dir() {
        Err(io::Error::from(io::ErrorKind::IsADirectory))
    } else if metadata.is_file() {
        Ok(())
    } else {
        Err(io::Error::other("it is a pipe or a device"))
    }
}

/// The identity of a file: two paths with the same identity name the same file while it exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub(crate) struct FileId {
    /// The device that holds the file.
    pub(crate) device: u64,
    /// The inode number on that device.
    pub(crate) inode: u64,
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}
