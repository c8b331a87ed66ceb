use std::ffi::OsString;
use std::fs::{self, File};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;

/// How long a report may take.
const LONG: Duration = Duration::from_secs(10);

/// How long to wait to be sure that nothing is reported.
const SHORT: Duration = Duration::from_millis(200);

/// A rollout in a folder, both watched.
struct WatchedRollout {
    folder: TempDir,
    file: PathBuf,
    watches: Watches,
}

impl WatchedRollout {
    fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("rollout-1.jsonl");
        fs::write(&file, "a\n").expect("can be written");
        let mut rollout = Self { folder, file, watches: Watches::default() };
        assert!(rollout.watch(), "both are new");
        assert_eq!(rollout.watches.unavailable(), None);
        assert!(!rollout.watch(), "both are watched");
        rollout.drain();
        rollout
    }

    fn watch(&mut self) -> bool {
        let names = Watched::Names(self.folder.path().to_owned(), OsString::from("rollout-1"));
        self.watches.set(vec![Watched::File(self.file.clone()), names])
    }

    fn append(&self) {
        File::options().append(true).open(&self.file).expect("exists").write_all(b"b\n").expect("can be written");
    }

    /// Returns whether a change is reported within `timeout`.
    fn is_reported(&mut self, timeout: Duration) -> bool {
        let system = self.watches.system.as_mut().expect("was started");
        let is_reported = wait_for(&[system.changes.as_fd()], timeout).expect("can wait").is_some();
        system.drain_changes();
        is_reported
    }

    /// Waits until all earlier changes have been reported.
    fn drain(&mut self) {
        while self.is_reported(SHORT) {}
    }
}

#[test]
fn writes_are_reported_and_reads_are_not() {
    let mut rollout = WatchedRollout::new();
    rollout.append();
    assert!(rollout.is_reported(LONG));
    rollout.drain();
    fs::read(&rollout.file).expect("can be read");
    assert!(!rollout.is_reported(SHORT));
}

#[test]
fn a_change_or_a_readable_descriptor_ends_a_wait() {
    let mut rollout = WatchedRollout::new();
    rollout.append();
    let start = Instant::now();
    assert_eq!(rollout.watches.wait(&[]).expect("can wait"), WakeUp::Change);
    assert!(start.elapsed() < LONG);
    rollout.drain();
    let (readable, mut sender) = UnixStream::pair().expect("a pair");
    sender.write_all(b"x").expect("can be written");
    assert_eq!(rollout.watches.wait(&[readable.as_fd()]).expect("can wait"), WakeUp::Ready(0));
}

#[test]
fn only_names_with_the_prefix_are_reported() {
    let mut rollout = WatchedRollout::new();
    let name = |name: &str| rollout.folder.path().join(name);
    let (other, compressed, moved) = (name("rollout-2.jsonl"), name("rollout-1.jsonl.zst"), name("elsewhere"));
    fs::write(&other, "").expect("can be written");
    assert!(!rollout.is_reported(SHORT), "another rollout was created");
    fs::write(&compressed, "").expect("can be written");
    assert!(rollout.is_reported(LONG), "a name with the prefix was created");
    rollout.drain();
    fs::rename(&rollout.file, &moved).expect("can be moved");
    assert!(rollout.is_reported(LONG), "the file was moved away");
}

#[test]
fn a_file_that_was_replaced_or_created_later_is_watched() {
    let mut rollout = WatchedRollout::new();
    let new = rollout.folder.path().join("new");
    fs::write(&new, "a\n").expect("can be written");
    fs::rename(&new, &rollout.file).expect("can be moved");
    assert!(rollout.is_reported(LONG));
    assert!(rollout.watch(), "the new file was not watched");
    assert!(!rollout.watch(), "it is watched now");
    rollout.drain();
    rollout.append();
    assert!(rollout.is_reported(LONG));
    let late = rollout.folder.path().join("late/list");
    assert!(rollout.watches.set(vec![Watched::File(late.clone())]), "it is a new target");
    fs::create_dir(rollout.folder.path().join("late")).expect("can be created");
    assert!(rollout.watches.set(vec![Watched::File(late.clone())]), "its folder can be watched now");
    rollout.drain();
    fs::write(&late, "x").expect("can be written");
    assert!(rollout.is_reported(LONG));
}

#[test]
fn a_file_is_watched_by_a_path_with_a_link() {
    let mut rollout = WatchedRollout::new();
    let link = rollout.folder.path().join("link");
    std::os::unix::fs::symlink(rollout.folder.path(), &link).expect("can be created");
    rollout.watches.set(vec![Watched::File(link.join("rollout-1.jsonl"))]);
    rollout.drain();
    rollout.append();
    assert!(rollout.is_reported(LONG));
}
