//! Atomic writes: a file is replaced completely or not at all. Nothing is synced to disk.
//!
//! * [`AtomicFile`] replaces any file and leaves nothing behind if the program is killed.
//! * [`replace`] replaces a small file with fewer system calls. Its callers share a temporary file, so they need a lock.
//!
//! If the system supports it (Linux, `O_TMPFILE`), an [`AtomicFile`] has no name until it is complete. Otherwise it has a
//! temporary name next to its destination. A link cannot replace an existing file, so in that case even an unnamed file
//! gets a temporary name for the instant between two system calls. A program that must not leave that name behind has to
//! block signals during [`AtomicFile::commit`].

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::file_error::FileError;
use super::open;

/// A file that is being written.
pub struct AtomicFile {
    target: PathBuf,
    output: Output,
}

enum Output {
    /// A file without a name.
    #[cfg(target_os = "linux")]
    Unnamed(File),
    /// A file with a temporary name next to the target. It is removed when dropped.
    Named(tempfile::NamedTempFile),
    /// The target itself, because it is a device, a pipe or a descriptor.
    Direct(File),
}

impl AtomicFile {
    /// Starts a new file for `path`. The new file gets the permissions of an existing one, and its owner if that is
    /// permitted. If `path` is a symbolic link, the target of the link is replaced. A device, a pipe, or a descriptor of
    /// this process such as `/dev/stdout` cannot be replaced and is written directly.
    ///
    /// # Errors
    ///
    /// Returns [`io::ErrorKind::IsADirectory`] if `path` is a folder, and an error if no file can be created there.
    pub fn create(path: &Path) -> io::Result<Self> {
        let target = match end_of_links(path)? {
            Destination::Path(target) => target,
            Destination::Descriptor(file) => return Ok(Self { target: path.to_owned(), output: Output::Direct(file) }),
        };
        let existing = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // For example a link that this user may not follow.
            result => Some(result?),
        };
        if names_a_folder(path) || existing.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        if existing.as_ref().is_some_and(|existing| !existing.is_file()) {
            let file = fs::OpenOptions::new().write(true).open(path)?;
            return Ok(Self { target, output: Output::Direct(file) });
        }
        let permissions = existing.as_ref().map(fs::Metadata::permissions);
        #[cfg(target_os = "linux")]
        if let Some(file) = unnamed(folder_of(&target))? {
            if let Some(permissions) = permissions {
                file.set_permissions(permissions)?;
            }
            keep_owner(&file, existing.as_ref());
            return Ok(Self { target, output: Output::Unnamed(file) });
        }
        let mut builder = tempfile::Builder::new();
        let named = builder.prefix(".").suffix(".tmp").permissions(permissions.unwrap_or_else(default_permissions));
        let named = named.tempfile_in(folder_of(&target))?;
        keep_owner(named.as_file(), existing.as_ref());
        Ok(Self { target, output: Output::Named(named) })
    }

    /// Returns whether writes take effect immediately, because the target is a device, a pipe or a descriptor.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        matches!(self.output, Output::Direct(_))
    }

    /// Returns the temporary name of the file, if it has one. It has to be removed if the program is stopped.
    #[must_use]
    pub fn temporary_path(&self) -> Option<&Path> {
        match &self.output {
            Output::Named(named) => Some(named.path()),
            _ => None,
        }
    }

    /// Replaces the target with the file.
    ///
    /// # Errors
    ///
    /// Returns an error if the target cannot be replaced. It is unchanged then.
    pub fn commit(self) -> io::Result<()> {
        match self.output {
            #[cfg(target_os = "linux")]
            Output::Unnamed(file) => add_name(&file, &self.target),
            Output::Named(named) => named.persist(&self.target).map(drop).map_err(|error| error.error),
            Output::Direct(_) => Ok(()),
        }
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.output {
            #[cfg(target_os = "linux")]
            Output::Unnamed(file) => file.write(bytes),
            Output::Named(named) => named.as_file_mut().write(bytes),
            Output::Direct(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Replaces the file at `path`: writes `content` to the file `temporary`, then renames that. A killed program can leave
/// `temporary` behind; the next call overwrites it. All callers with the same `temporary` must hold a common lock.
///
/// # Errors
///
/// Returns an error if the file cannot be written or renamed. The file at `path` is unchanged then.
pub(crate) fn replace(path: &Path, temporary: &Path, content: &[u8]) -> Result<(), FileError> {
    write_temporary(temporary, content)?;
    fs::rename(temporary, path).map_err(FileError::on("replace", path))
}

/// Like [`replace`], for a file that most likely exists: exchanges the two files and removes the earlier one. If a rename
/// removes a file, ext4 begins to write the new one to the disk, which takes longer than everything else here. After a
/// power failure, the file can therefore be empty.
///
/// # Errors
///
/// Returns an error if the file cannot be written or exchanged. The file at `path` is unchanged then.
#[cfg(target_os = "linux")]
pub(crate) fn exchange(path: &Path, temporary: &Path, content: &[u8]) -> Result<(), FileError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    write_temporary(temporary, content)?;
    // A folder is left to `rename`, which does not replace it.
    let is_exchanged = renameat_with(CWD, temporary, CWD, path, RenameFlags::EXCHANGE).is_ok();
    if is_exchanged && fs::remove_file(temporary).is_ok() {
        return Ok(());
    }
    if is_exchanged {
        // What was at the path is not a file.
        renameat_with(CWD, temporary, CWD, path, RenameFlags::EXCHANGE)
            .map_err(|error| FileError::on("replace", path)(error.into()))?;
    }
    // The file does not exist, or the file system cannot exchange files.
    fs::rename(temporary, path).map_err(FileError::on("replace", path))
}

/// Like [`replace`].
#[cfg(not(target_os = "linux"))]
pub(crate) fn exchange(path: &Path, temporary: &Path, content: &[u8]) -> Result<(), FileError> {
    replace(path, temporary, content)
}

/// Writes a file that may be there already.
fn write_temporary(temporary: &Path, content: &[u8]) -> Result<(), FileError> {
    let write = || open::options().write(true).create(true).truncate(true).open(temporary)?.write_all(content);
    write()
        .or_else(|_| {
            // The temporary file may be a link or a pipe, which is not opened.
            fs::remove_file(temporary)?;
            write()
        })
        .map_err(FileError::on("write", temporary))
}

/// Returns the folder of the file that a write to `path` would replace, after following links.
///
/// # Errors
///
/// Returns an error if links cannot be followed.
pub fn target_folder(path: &Path) -> io::Result<PathBuf> {
    match end_of_links(path)? {
        Destination::Path(target) => Ok(folder_of(&target).to_owned()),
        Destination::Descriptor(_) => Ok(folder_of(path).to_owned()),
    }
}

/// The destination of a path.
enum Destination {
    /// A duplicate of a descriptor of this process. It shares the position in the file with the original.
    Descriptor(File),
    /// A path that is not a symbolic link. It need not exist.
    Path(PathBuf),
}

/// Follows the symbolic links of a path in the same way as opening it.
fn end_of_links(path: &Path) -> io::Result<Destination> {
    let mut current = path.to_owned();
    for _ in 0..MAX_LINKS {
        if let Some(file) = descriptor(&current)? {
            return Ok(Destination::Descriptor(file));
        }
        match fs::read_link(&current) {
            Ok(target) => current = folder_of(&current).join(target),
            // Not a link, or it does not exist.
            Err(_) => return Ok(Destination::Path(current)),
        }
    }
    Err(io::Error::from(rustix::io::Errno::LOOP))
}

/// The number of links that are followed, as on Linux.
const MAX_LINKS: usize = 40;

/// Duplicates the descriptor of this process that a path names (`/proc/self/fd/1`, or `/dev/fd/1` if that is not a link).
#[cfg(unix)]
// A descriptor is known only by its number here.
#[allow(unsafe_code)]
fn descriptor(path: &Path) -> io::Result<Option<File>> {
    use std::os::fd::BorrowedFd;
    let number =
        path.file_name().and_then(|name| name.to_str()).filter(|name| name.bytes().all(|c| c.is_ascii_digit()));
    let Some(number) = number.and_then(|number| number.parse().ok()) else {
        return Ok(None);
    };
    let folder = fs::canonicalize(folder_of(path)).ok();
    let is_in = |descriptors: &str| folder.is_some() && folder == fs::canonicalize(descriptors).ok();
    if !(is_in("/proc/self/fd") || is_in("/dev/fd")) {
        return Ok(None);
    }
    // The entry exists only if the descriptor is open.
    fs::symlink_metadata(path)?;
    // SAFETY: a borrowed descriptor must stay open while it is borrowed. Its entry was just found, so it is open, and it is
    // borrowed only to be duplicated here. This program closes no descriptor that a caller could name.
    let open = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(Some(File::from(open.try_clone_to_owned()?)))
}

/// Returns whether a path can only name a folder, because it ends in a slash.
fn names_a_folder(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

/// Returns the folder of a file.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Gives a file to the owner of the file that it replaces, if that is permitted. A user can then still read a file that
/// root has replaced.
#[cfg(unix)]
fn keep_owner(file: &File, existing: Option<&fs::Metadata>) {
    use std::os::unix::fs::{MetadataExt, fchown};
    if let (Some(existing), Ok(new)) = (existing, file.metadata())
        && (existing.uid(), existing.gid()) != (new.uid(), new.gid())
    {
        let _ = fchown(file, Some(existing.uid()), Some(existing.gid()));
    }
}

/// Returns the permissions of a new file, before the umask is applied.
#[cfg(unix)]
fn default_permissions() -> Permissions {
    use std::os::unix::fs::PermissionsExt;
    Permissions::from_mode(0o666)
}

/// Opens a file without a name in `folder`. Returns `None` if the system does not support that.
#[cfg(target_os = "linux")]
fn unnamed(folder: &Path) -> io::Result<Option<File>> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    use rustix::io::Errno;
    // A name can only be added through /proc.
    if !Path::new("/proc/self/fd").exists() {
        return Ok(None);
    }
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    match openat(CWD, folder, flags, Mode::from_raw_mode(0o666)) {
        Ok(file) => Ok(Some(File::from(file))),
        // The errors of file systems and kernels that do not support it (open(2)).
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) if folder.is_dir() => Ok(None),
        Err(error) => Err(io::Error::from(error)),
    }
}

/// Gives an unnamed file the name `target`, replacing an existing file.
#[cfg(target_os = "linux")]
fn add_name(file: &File, target: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, linkat};
    use std::os::fd::AsRawFd;
    let unnamed = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let link = |name: &Path| linkat(CWD, &unnamed, CWD, name, AtFlags::SYMLINK_FOLLOW).map_err(io::Error::from);
    match link(target) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        result => return result,
    }
    // A rename can replace a file, a link cannot.
    let temporary =
        tempfile::Builder::new().prefix(".").suffix(".tmp").make_in(folder_of(target), |name| link(name))?;
    temporary.into_temp_path().persist(target).map_err(|error| error.error)
}

#[cfg(test)]
mod tests;
