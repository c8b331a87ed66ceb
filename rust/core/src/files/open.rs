//! The one way to open the small files of a state dir for writing: no link is followed, so that nothing outside is written,
//! and no pipe is waited for.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::state_dir::StateDir;

/// Options to open such a file with.
#[must_use]
pub fn options() -> OpenOptions {
    let mut options = File::options();
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    options
}

/// Opens a file of the state dir; makes the folders on the way there, but never the state dir: one that is removed or
/// moved away at this very moment is not to come again.
///
/// # Errors
///
/// What the system says: that it was not found where there is no state dir.
pub fn open_or_make(dir: &StateDir, path: &Path, options: &OpenOptions) -> io::Result<File> {
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_folders(dir, path)?;
            options.open(path)
        }
        opened => opened,
    }
}

fn make_folders(dir: &StateDir, path: &Path) -> io::Result<()> {
    let below = path.parent().and_then(|folder| folder.strip_prefix(dir.path()).ok());
    let mut folder = dir.path().to_owned();
    for name in below.into_iter().flatten() {
        folder.push(name);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
