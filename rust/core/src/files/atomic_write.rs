//! The one way to write a file: whole or not at all.
//!
//! The file is written without a name where the system can do that (Linux, `O_TMPFILE`), so that whatever ends the
//! program leaves nothing behind; else beside its place under a name of its own. It gets its name when it is whole.
//! Where an old file stands there, the new one has a name beside it for the instant between two calls of the system,
//! since a link cannot replace a file: a program that is not to be stopped in that instant holds signals back meanwhile.
//! It is not forced to the disk: after a power failure it can be made again.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that is being written.
pub struct AtomicFile {
    target: PathBuf,
    form: Form,
}

enum Form {
    /// Without a name.
    #[cfg(target_os = "linux")]
    Unnamed(File),
    /// Under a name beside its place; removed when dropped.
    Named(tempfile::NamedTempFile),
    /// The target is no regular file (a device, a pipe) or a descriptor: written as it is.
    Direct(File),
}

impl AtomicFile {
    /// Begins a file that is to stand at `path`. One that stands there keeps its permissions, and its owner where
    /// that is allowed; a symbolic link stays, and the file comes to stand where it points. What is no regular file is written as it is: a device, a pipe, and a
    /// descriptor of this process, such as `/dev/stdout`, whatever file it leads to.
    ///
    /// # Errors
    ///
    /// What the system says when no file can be made there; [`io::ErrorKind::IsADirectory`] for a folder.
    pub fn create(path: &Path) -> io::Result<Self> {
        let target = match end_of_links(path)? {
            Destination::Place(target) => target,
            Destination::Descriptor(file) => return Ok(Self { target: path.to_owned(), form: Form::Direct(file) }),
        };
        let existing = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // Among others: a link that the system does not let this user follow.
            result => Some(result?),
        };
        if names_a_folder(path) || existing.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        if existing.as_ref().is_some_and(|existing| !existing.is_file()) {
            let file = fs::OpenOptions::new().write(true).open(path)?;
            return Ok(Self { target, form: Form::Direct(file) });
        }
        let permissions = existing.as_ref().map(fs::Metadata::permissions);
        #[cfg(target_os = "linux")]
        if let Some(file) = unnamed(folder_of(&target))? {
            if let Some(permissions) = permissions {
                file.set_permissions(permissions)?;
            }
            keep_owner(&file, existing.as_ref());
            return Ok(Self { target, form: Form::Unnamed(file) });
        }
        let mut builder = tempfile::Builder::new();
        let named = builder.prefix(".").suffix(".tmp").permissions(permissions.unwrap_or_else(default_permissions));
        let named = named.tempfile_in(folder_of(&target))?;
        keep_owner(named.as_file(), existing.as_ref());
        Ok(Self { target, form: Form::Named(named) })
    }

    /// Whether what is written stands in its place at once, because that is a device, a pipe or a descriptor.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        matches!(self.form, Form::Direct(_))
    }

    /// The name under which the file is written, where it has one that is to be removed if the program is stopped.
    #[must_use]
    pub fn temporary_path(&self) -> Option<&Path> {
        match &self.form {
            Form::Named(named) => Some(named.path()),
            _ => None,
        }
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    ///
    /// What the system says when it cannot; then what stood there stays.
    pub fn commit(self) -> io::Result<()> {
        match self.form {
            #[cfg(target_os = "linux")]
            Form::Unnamed(file) => name(&file, &self.target),
            Form::Named(named) => named.persist(&self.target).map(drop).map_err(|error| error.error),
            Form::Direct(_) => Ok(()),
        }
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.form {
            #[cfg(target_os = "linux")]
            Form::Unnamed(file) => file.write(bytes),
            Form::Named(named) => named.as_file_mut().write(bytes),
            Form::Direct(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The folder in which a file at `path` is to stand, links followed.
///
/// # Errors
///
/// What the system says of links that cannot be followed.
pub fn folder(path: &Path) -> io::Result<PathBuf> {
    match end_of_links(path)? {
        Destination::Place(target) => Ok(folder_of(&target).to_owned()),
        Destination::Descriptor(_) => Ok(folder_of(path).to_owned()),
    }
}

/// Where a path leads.
enum Destination {
    /// To a descriptor of this process; this is a copy of it, with the same position in the file.
    Descriptor(File),
    /// To a place in the file system that is no symbolic link; a file may stand there or not.
    Place(PathBuf),
}

/// Follows the symbolic links of a path, as opening it would.
fn end_of_links(path: &Path) -> io::Result<Destination> {
    let mut place = path.to_owned();
    for _ in 0..MOST_LINKS {
        if let Some(file) = descriptor(&place)? {
            return Ok(Destination::Descriptor(file));
        }
        match fs::read_link(&place) {
            Ok(to) => place = folder_of(&place).join(to),
            // No link, or nothing at all.
            Err(_) => return Ok(Destination::Place(place)),
        }
    }
    Err(io::Error::from(rustix::io::Errno::LOOP))
}

/// How many links may follow one another, as on Linux.
const MOST_LINKS: usize = 40;

/// The descriptor of this process that a path names (`/proc/self/fd/1`, and `/dev/fd/1` where that is no link).
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
    let is_one = |descriptors: &str| folder.is_some() && folder == fs::canonicalize(descriptors).ok();
    if !(is_one("/proc/self/fd") || is_one("/dev/fd")) {
        return Ok(None);
    }
    // Nothing stands there for a descriptor that is not open.
    fs::symlink_metadata(path)?;
    // SAFETY: it is open, as was just seen, and it is borrowed only to be copied. Whoever named it gave it to be used.
    let open = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(Some(File::from(open.try_clone_to_owned()?)))
}

/// Whether a path cannot be a file's for its last character.
fn names_a_folder(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

/// The folder that a path names a file in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Gives a file to the owner of the one that it replaces, where that is allowed: a user whose file root replaces is to
/// read it as before.
#[cfg(unix)]
fn keep_owner(file: &File, existing: Option<&fs::Metadata>) {
    use std::os::unix::fs::{MetadataExt, fchown};
    if let (Some(existing), Ok(new)) = (existing, file.metadata())
        && (existing.uid(), existing.gid()) != (new.uid(), new.gid())
    {
        let _ = fchown(file, Some(existing.uid()), Some(existing.gid()));
    }
}

/// What a new file is allowed, less what the user's mask takes away.
#[cfg(unix)]
fn default_permissions() -> Permissions {
    use std::os::unix::fs::PermissionsExt;
    Permissions::from_mode(0o666)
}

/// Opens a file without a name in `folder`; `None` where the system cannot do that.
#[cfg(target_os = "linux")]
fn unnamed(folder: &Path) -> io::Result<Option<File>> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    use rustix::io::Errno;
    // Without /proc it could not be given its name later.
    if !Path::new("/proc/self/fd").exists() {
        return Ok(None);
    }
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    match openat(CWD, folder, flags, Mode::from_raw_mode(0o666)) {
        Ok(file) => Ok(Some(File::from(file))),
        // What file systems and kernels without such files say (open(2)).
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) if folder.is_dir() => Ok(None),
        Err(error) => Err(io::Error::from(error)),
    }
}

/// Gives an unnamed file its name, in place of what stands there.
#[cfg(target_os = "linux")]
fn name(file: &File, target: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, linkat};
    use std::os::fd::AsRawFd;
    let unnamed = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let link = |place: &Path| linkat(CWD, &unnamed, CWD, place, AtFlags::SYMLINK_FOLLOW).map_err(io::Error::from);
    match link(target) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        result => return result,
    }
    // A link cannot replace a file, a rename can.
    let beside = tempfile::Builder::new().prefix(".").suffix(".tmp").make_in(folder_of(target), |place| link(place))?;
    beside.into_temp_path().persist(target).map_err(|error| error.error)
}

#[cfg(test)]
mod tests;
