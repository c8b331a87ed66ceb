use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

/// Returns a folder for one test.
fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Returns the names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("may be changed");
}

/// The kinds of files on different systems.
const KINDS: [Kind; 2] = [Kind::Native, Kind::Named];

#[derive(Clone, Copy)]
enum Kind {
    Native,
    Named,
}

/// Creates a file for `path`.
fn create(path: &Path, kind: Kind) -> AtomicFile {
    let file = AtomicFile::create(path).expect("can be created");
    match kind {
        Kind::Native => file,
        Kind::Named => {
            let permissions =
                fs::metadata(path).map_or_else(|_| default_permissions(), |existing| existing.permissions());
            let mut builder = tempfile::Builder::new();
            let named = builder.permissions(permissions).tempfile_in(folder_of(&file.target)).expect("can be created");
            AtomicFile { target: file.target, output: Output::Named(named) }
        }
    }
}

#[test]
fn a_new_file_appears_complete_on_commit() {
    let folder = folder();
    let path = folder.path().join("new");
    for kind in KINDS {
        let mut file = create(&path, kind);
        file.write_all(b"first, ").expect("can be written");
        file.write_all(b"second").expect("can be written");
        file.flush().expect("can be flushed");
        assert!(!path.exists());
        file.commit().expect("can be committed");
        assert_eq!(fs::read(&path).expect("it exists"), b"first, second");
        assert_eq!(names(folder.path()), ["new"]);
        fs::remove_file(&path).expect("can be removed");
    }
}

#[test]
fn a_new_file_has_default_permissions() {
    let folder = folder();
    let other = folder.path().join("other");
    fs::write(&other, b"").expect("can be written");
    let path = folder.path().join("new");
    AtomicFile::create(&path).expect("can be created").commit().expect("can be committed");
    assert_eq!(mode(&path), mode(&other));
}

#[test]
fn a_replaced_file_keeps_its_permissions() {
    let folder = folder();
    let path = folder.path().join("old");
    for expected in [0o600, 0o640, 0o755, 0o444] {
        fs::write(&path, b"old").expect("can be written");
        set_mode(&path, expected);
        for kind in KINDS {
            let mut file = create(&path, kind);
            file.write_all(b"new").expect("can be written");
            file.commit().expect("can be committed");
            assert_eq!(mode(&path), expected);
            assert_eq!(fs::read(&path).expect("it exists"), b"new");
        }
        assert_eq!(names(folder.path()), ["old"]);
        fs::remove_file(&path).expect("can be removed");
    }
}

#[test]
fn a_reader_of_the_replaced_file_continues_to_see_the_old_content() {
    use std::io::Read;
    let folder = folder();
    let path = folder.path().join("file");
    fs::write(&path, b"old").expect("can be written");
    let mut reader = File::open(&path).expect("can be read");
    let mut file = AtomicFile::create(&path).expect("can be created");
    file.write_all(b"new").expect("can be written");
    assert_eq!(fs::read(&path).expect("it exists"), b"old");
    file.commit().expect("can be committed");
    let mut read = String::new();
    reader.read_to_string(&mut read).expect("can be read");
    assert_eq!((read.as_str(), &fs::read(&path).expect("it exists")[..]), ("old", &b"new"[..]));
}

#[test]
fn the_target_of_a_link_is_replaced() {
    let folder = folder();
    let other = folder.path().join("other");
    fs::create_dir(&other).expect("can be created");
    let (target, link) = (other.join("target"), folder.path().join("link"));
    fs::write(&target, b"old").expect("can be written");
    set_mode(&target, 0o640);
    symlink("other/target", &link).expect("can be created");
    for kind in KINDS {
        let mut file = create(&link, kind);
        file.write_all(b"new").expect("can be written");
        file.commit().expect("can be committed");
        assert!(fs::symlink_metadata(&link).expect("it exists").is_symlink());
        assert_eq!(fs::read(&target).expect("it exists"), b"new");
        assert_eq!(mode(&target), 0o640);
        fs::write(&target, b"old").expect("can be written");
    }
    assert_eq!(names(&other), ["target"]);
}

#[test]
fn the_target_of_a_dangling_link_is_created() {
    let folder = folder();
    fs::create_dir(folder.path().join("other")).expect("can be created");
    let (target, link) = (folder.path().join("other/target"), folder.path().join("link"));
    symlink("other/second", &link).expect("can be created");
    symlink("../other/target", folder.path().join("other/second")).expect("can be created");
    for kind in KINDS {
        let mut file = create(&link, kind);
        file.write_all(b"new").expect("can be written");
        file.commit().expect("can be committed");
        assert!(fs::symlink_metadata(&link).expect("it exists").is_symlink());
        assert_eq!(fs::read(&target).expect("it exists"), b"new");
        assert_eq!(names(&folder.path().join("other")), ["second", "target"]);
        fs::remove_file(&target).expect("can be removed");
    }
    fs::remove_dir_all(folder.path().join("other")).expect("can be removed");
    assert_eq!(AtomicFile::create(&link).err().expect("an error").kind(), io::ErrorKind::NotFound);
    assert_eq!(names(folder.path()), ["link"]);
}

#[test]
fn a_cycle_of_links_is_an_error() {
    let folder = folder();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    symlink(&other, &one).expect("can be created");
    symlink("one", &other).expect("can be created");
    let error = AtomicFile::create(&one).err().expect("an error");
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::LOOP.raw_os_error()));
    assert!(fs::symlink_metadata(&one).expect("it exists").is_symlink());
}

#[test]
fn a_descriptor_of_a_file_is_written_at_its_position() {
    use std::os::fd::AsRawFd;
    let folder = folder();
    let (path, link) = (folder.path().join("file"), folder.path().join("link"));
    let mut opened = File::create(&path).expect("can be created");
    opened.write_all(b"before, ").expect("can be written");
    symlink(format!("/dev/fd/{}", opened.as_raw_fd()), &link).expect("can be created");
    for name in [PathBuf::from(format!("/dev/fd/{}", opened.as_raw_fd())), link] {
        let mut file = AtomicFile::create(&name).expect("can be opened");
        assert!(matches!(file.output, Output::Direct(_)));
        file.write_all(b"it, ").expect("can be written");
        file.commit().expect("nothing to do");
    }
    opened.write_all(b"after").expect("can be written");
    assert_eq!(fs::read(&path).expect("it exists"), b"before, it, it, after");
    assert_eq!(names(folder.path()), ["file", "link"]);
    assert_eq!(
        AtomicFile::create(Path::new("/dev/fd/987654")).err().expect("an error").kind(),
        io::ErrorKind::NotFound
    );
    // A number is also an ordinary name.
    AtomicFile::create(&folder.path().join("1")).expect("can be created").commit().expect("can be committed");
    assert_eq!(names(folder.path()), ["1", "file", "link"]);
}

#[test]
fn a_dropped_file_leaves_nothing_behind() {
    let folder = folder();
    let path = folder.path().join("file");
    for old in [None, Some(b"old")] {
        if let Some(old) = old {
            fs::write(&path, old).expect("can be written");
        }
        for kind in KINDS {
            let mut file = create(&path, kind);
            file.write_all(b"new").expect("can be written");
            assert_eq!(file.temporary_path().is_some(), matches!(file.output, Output::Named(_)));
            drop(file);
        }
        assert_eq!(names(folder.path()), old.map_or(vec![], |_| vec!["file"]));
    }
    assert_eq!(fs::read(&path).expect("it exists"), b"old");
}

#[test]
fn a_folder_cannot_be_replaced() {
    let folder = folder();
    let error = AtomicFile::create(folder.path()).err().expect("an error");
    assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_missing_folder_is_an_error_and_is_not_created() {
    let folder = folder();
    let error = AtomicFile::create(&folder.path().join("none/file")).err().expect("an error");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    // A file in place of the folder.
    fs::write(folder.path().join("file"), b"").expect("can be written");
    assert!(AtomicFile::create(&folder.path().join("file/file")).is_err());
    // A path that can only name a folder.
    for name in ["none/", "file/"] {
        assert!(AtomicFile::create(&folder.path().join(name)).is_err(), "{name}");
    }
    assert_eq!(names(folder.path()), ["file"]);
}

#[test]
fn a_device_is_written_directly() {
    let mut file = AtomicFile::create(Path::new("/dev/null")).expect("can be opened");
    assert!(matches!(file.output, Output::Direct(_)) && file.temporary_path().is_none());
    file.write_all(b"gone").expect("can be written");
    file.commit().expect("nothing to do");
    let device = fs::metadata("/dev/null").expect("it exists");
    assert!(!device.is_file());
}

#[test]
fn a_failed_commit_leaves_the_target_unchanged() {
    let outer = folder();
    let (before, moved) = (outer.path().join("before"), outer.path().join("moved"));
    for kind in KINDS {
        fs::create_dir(&before).expect("can be created");
        fs::write(before.join("file"), b"old").expect("can be written");
        let mut file = create(&before.join("file"), kind);
        file.write_all(b"new").expect("can be written");
        // The folder is moved away before the commit.
        fs::rename(&before, &moved).expect("can be moved");
        assert!(file.commit().is_err());
        assert!(!before.exists());
        assert_eq!(fs::read(moved.join("file")).expect("it exists"), b"old");
        fs::remove_dir_all(&moved).expect("can be removed");
    }
}

#[test]
fn a_folder_created_before_the_commit_stays_and_no_temporary_file_is_left() {
    let folder = folder();
    let path = folder.path().join("file");
    for kind in KINDS {
        let mut file = create(&path, kind);
        file.write_all(b"new").expect("can be written");
        fs::create_dir(&path).expect("can be created");
        fs::write(path.join("inner"), b"kept").expect("can be written");
        assert!(file.commit().is_err());
        assert_eq!(names(&path), ["inner"]);
        fs::remove_dir_all(&path).expect("can be removed");
    }
    assert!(names(folder.path()).is_empty());
}

#[test]
fn the_later_of_two_commits_to_a_path_counts() {
    let folder = folder();
    let path = folder.path().join("file");
    let mut files = KINDS.map(|kind| create(&path, kind));
    files[0].write_all(b"one").expect("can be written");
    files[1].write_all(b"two").expect("can be written");
    for (file, expected) in files.into_iter().zip([b"one", b"two"]) {
        file.commit().expect("can be committed");
        assert_eq!(fs::read(&path).expect("it exists"), expected);
    }
    assert_eq!(names(folder.path()), ["file"]);
}

#[test]
fn a_bare_name_is_a_file_in_the_current_folder() {
    assert_eq!(folder_of(Path::new("file")), Path::new("."));
    assert_eq!(folder_of(Path::new("a/file")), Path::new("a"));
    assert_eq!(folder_of(Path::new("/file")), Path::new("/"));
}

#[test]
fn an_exchange_replaces_a_file_or_creates_it_and_leaves_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, temporary) = (folder.path().join("file"), folder.path().join("temporary"));
    for content in ["first", "second, longer", "3"] {
        exchange(&path, &temporary, content.as_bytes()).expect("can be written");
        assert_eq!(fs::read_to_string(&path).expect("it exists"), content);
        assert!(!temporary.exists());
    }
    // A reader keeps the content of the file that it has opened.
    let opened = File::open(&path).expect("it exists");
    exchange(&path, &temporary, b"4").and_then(|()| exchange(&path, &temporary, b"5")).expect("can be written");
    let read = std::io::read_to_string(opened).expect("can be read");
    assert_eq!(read, "3");
    // A killed program has left the temporary file behind.
    fs::write(&temporary, "much longer than the new content").expect("can be written");
    exchange(&path, &temporary, b"6").expect("can be written");
    assert_eq!(fs::read_to_string(&path).expect("it exists"), "6");
    // A folder is not replaced.
    fs::remove_file(&path).and_then(|()| fs::create_dir(&path)).expect("can be created");
    assert!(exchange(&path, &temporary, b"7").is_err());
    assert!(path.is_dir());
    // A link is replaced, and its target is not changed.
    let target = folder.path().join("target");
    fs::write(&target, "precious").and_then(|()| fs::remove_dir(&path)).expect("can be written");
    symlink(&target, &path).expect("can be created");
    exchange(&path, &temporary, b"8").expect("can be written");
    assert_eq!(fs::read_to_string(&path).expect("it exists"), "8");
    assert_eq!(fs::read_to_string(&target).expect("it exists"), "precious");
}
