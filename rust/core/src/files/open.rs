//! Opening the small files of a state directory for writing, without following links and without waiting for pipes.
//! A link could lead out of the directory, and opening a pipe could block.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::state_dir::StateDir;

/// Returns options that neither follow a link at the end of the path nor wait for the other end of a pipe.
pub(crate) fn options() -> OpenOptions {
    let mut options = File::options();
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    options
}

/// Opens a file in the state directory. Creates missing folders in it, but never the state directory itself: it may have
/// been removed or moved away a moment ago, and must not reappear.
///
/// # Errors
///
/// Returns an error if the file cannot be opened or a folder cannot be created. It is of kind
/// [`io::ErrorKind::NotFound`] if the state directory does not exist.
pub(crate) fn open_or_create(dir: &StateDir, path: &Path, options: &OpenOptions) -> io::Result<File> {
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_folders(dir, path)?;
            options.open(path)
        }
        opened => opened,
    }
}

fn create_folders(dir: &StateDir, path: &Path) -> io::Result<()> {
    let relative = path.parent().and_then(|folder| folder.strip_prefix(dir.path()).ok());
    let mut folder = dir.path().to_owned();
    for name in relative.into_iter().flatten() {
        folder.push(name);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => created?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
