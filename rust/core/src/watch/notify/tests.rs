use std::ffi::OsString;
use std::fs::{self, File};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;

/// How long news may take.
const LONG: Duration = Duration::from_secs(10);

/// Long enough for news that are none.
const SHORT: Duration = Duration::from_millis(200);

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
        assert!(!place.watch(), "nothing is");
        place.forget();
        place
    }

    fn watch(&mut self) -> bool {
        let names = Watched::Names(self.folder.path().to_owned(), OsString::from("rollout-1"));
        self.watches.set(vec![Watched::File(self.file.clone()), names])
    }

    fn append(&self) {
        File::options().append(true).open(&self.file).expect("it is there").write_all(b"b\n").expect("can be written");
    }

    /// Whether something is told within a time.
    fn is_told(&mut self, within: Duration) -> bool {
        let system = self.watches.system.as_mut().expect("it is there");
        let is_told = wait_for(&[system.told.as_fd()], within).expect("can wait").is_some();
        system.take_told();
        is_told
    }

    /// Waits until all was told.
    fn forget(&mut self) {
        while self.is_told(SHORT) {}
    }
}

#[test]
fn what_is_appended_is_told_and_what_is_read_is_not() {
    let mut place = Place::new();
    place.append();
    assert!(place.is_told(LONG));
    place.forget();
    fs::read(&place.file).expect("can be read");
    assert!(!place.is_told(SHORT));
}

#[test]
fn a_wait_ends_with_a_change_or_with_what_is_readable() {
    let mut place = Place::new();
    place.append();
    let begun = Instant::now();
    assert_eq!(place.watches.wait(&[]).expect("can wait"), WakeUp::Change);
    assert!(begun.elapsed() < LONG);
    place.forget();
    let (here, mut there) = UnixStream::pair().expect("a pair");
    there.write_all(b"x").expect("can be written");
    assert_eq!(place.watches.wait(&[here.as_fd()]).expect("can wait"), WakeUp::Ready(0));
}

#[test]
fn names_are_told_where_they_begin_as_wanted() {
    let mut place = Place::new();
    let name = |name: &str| place.folder.path().join(name);
    let (other, compressed, moved) = (name("rollout-2.jsonl"), name("rollout-1.jsonl.zst"), name("elsewhere"));
    fs::write(&other, "").expect("can be written");
    assert!(!place.is_told(SHORT), "another rollout");
    fs::write(&compressed, "").expect("can be written");
    assert!(place.is_told(LONG), "a name that begins so");
    place.forget();
    fs::rename(&place.file, &moved).expect("can be moved");
    assert!(place.is_told(LONG), "it went");
}

#[test]
fn a_file_that_was_replaced_or_came_late_is_watched() {
    let mut place = Place::new();
    let new = place.folder.path().join("new");
    fs::write(&new, "a\n").expect("can be written");
    fs::rename(&new, &place.file).expect("can be moved");
    assert!(place.is_told(LONG));
    assert!(place.watch(), "what stands there now was not watched");
    assert!(!place.watch(), "and is from now on");
    place.forget();
    place.append();
    assert!(place.is_told(LONG));
    let late = place.folder.path().join("late/list");
    assert!(place.watches.set(vec![Watched::File(late.clone())]), "it is wanted from now on");
    fs::create_dir(place.folder.path().join("late")).expect("can be made");
    assert!(place.watches.set(vec![Watched::File(late.clone())]), "and can be watched now");
    place.forget();
    fs::write(&late, "x").expect("can be written");
    assert!(place.is_told(LONG));
}

#[test]
fn a_folder_is_known_by_all_its_names() {
    let mut place = Place::new();
    let link = place.folder.path().join("link");
    std::os::unix::fs::symlink(place.folder.path(), &link).expect("can be made");
    place.watches.set(vec![Watched::File(link.join("rollout-1.jsonl"))]);
    place.forget();
    place.append();
    assert!(place.is_told(LONG));
}
