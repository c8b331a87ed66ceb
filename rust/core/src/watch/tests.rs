use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use tempfile::TempDir;

use super::*;

/// A rollout in a folder, both watched.
struct Place {
    folder: TempDir,
    file: PathBuf,
    watches: Watches,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("rollout-1.jsonl");
        fs::write(&file, "a\n").expect("can be written");
        let mut place = Self { folder, file, watches: Watches::default() };
        assert!(place.watch(), "all of it is new");
        assert_eq!(place.watches.unavailable(), None);
        assert!(!place.is_told());
        place
    }

    fn watch(&mut self) -> bool {
        let names = Watched::Names(self.folder.path().to_owned(), OsString::from("rollout-1"));
        self.watches.set(vec![Watched::File(self.file.clone()), names])
    }

    fn append(&self) {
        File::options().append(true).open(&self.file).expect("it is there").write_all(b"b\n").expect("can be written");
    }

    fn is_told(&mut self) -> bool {
        self.watches.is_told().expect("can be read")
    }
}

#[test]
fn what_is_appended_is_told_once() {
    let mut place = Place::new();
    place.append();
    place.append();
    assert!(place.is_told());
    assert!(!place.is_told());
}

#[test]
fn of_a_file_in_the_place_of_another_one_is_told_too() {
    for is_moved_away in [true, false] {
        let mut place = Place::new();
        // Who still has the old one open keeps it alive.
        let _open = File::open(&place.file).expect("it is there");
        let (old, new) = (place.folder.path().join("old"), place.folder.path().join("new"));
        if is_moved_away {
            fs::rename(&place.file, old).expect("can be moved");
        }
        fs::write(&new, "a\n").expect("can be written");
        fs::rename(new, &place.file).expect("can be moved");
        assert!(place.is_told());
        assert!(place.watch(), "it is another file");
        assert!(!place.watch());
        assert!(!place.is_told());
        place.append();
        assert!(place.is_told());
    }
}

#[test]
fn a_wait_ends_with_a_change() {
    let mut place = Place::new();
    place.append();
    assert_eq!(place.watches.wait(&[]).expect("can wait"), WakeUp::Change);
}

#[test]
fn a_wait_ends_with_what_is_readable() {
    let mut place = Place::new();
    let (here, mut there) = UnixStream::pair().expect("a pair");
    let (never, _other) = UnixStream::pair().expect("a pair");
    there.write_all(b"x").expect("can be written");
    assert_eq!(place.watches.wait(&[never.as_fd(), here.as_fd()]).expect("can wait"), WakeUp::Ready(1));
}

#[test]
fn names_that_come_and_go_are_told_where_they_begin_as_wanted() {
    let mut place = Place::new();
    let name = |name: &str| place.folder.path().join(name);
    let (other, compressed, moved) = (name("rollout-2.jsonl"), name("rollout-1.jsonl.zst"), name("elsewhere"));
    fs::write(&other, "").expect("can be written");
    assert!(!place.is_told(), "another rollout");
    fs::write(&compressed, "").expect("can be written");
    assert!(place.is_told(), "a name that begins so");
    fs::rename(&place.file, &moved).expect("can be moved");
    assert!(place.is_told(), "it went");
}

#[test]
fn a_file_that_was_replaced_is_watched_again() {
    let mut place = Place::new();
    let new = place.folder.path().join("new");
    fs::write(&new, "a\n").expect("can be written");
    fs::rename(&new, &place.file).expect("can be moved");
    assert!(place.is_told());
    assert!(place.watch(), "what stands there now was not watched");
    assert!(!place.watch(), "and is from now on");
    while place.is_told() {}
    place.append();
    assert!(place.is_told());
}

#[test]
fn what_is_not_there_yet_is_watched_when_it_comes() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("codex_transcript_paths");
    let mut watches = Watches::default();
    assert!(!watches.set(vec![Watched::File(file.clone())]));
    fs::write(&file, "").expect("can be written");
    assert!(watches.set(vec![Watched::File(file.clone())]));
    fs::write(&file, "x").expect("can be written");
    assert!(watches.is_told().expect("can be read"));
}
