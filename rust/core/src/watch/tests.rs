use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use tempfile::TempDir;

use super::*;

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
        assert!(!rollout.has_changed());
        rollout
    }

    fn watch(&mut self) -> bool {
        let names = Watched::Names(self.folder.path().to_owned(), OsString::from("rollout-1"));
        self.watches.set(vec![Watched::File(self.file.clone()), names])
    }

    fn append(&self) {
        File::options().append(true).open(&self.file).expect("exists").write_all(b"b\n").expect("can be written");
    }

    fn has_changed(&mut self) -> bool {
        self.watches.has_changed().expect("can be read")
    }
}

#[test]
fn several_writes_are_reported_once() {
    let mut rollout = WatchedRollout::new();
    rollout.append();
    rollout.append();
    assert!(rollout.has_changed());
    assert!(!rollout.has_changed());
}

#[test]
fn a_replaced_file_is_reported_and_the_new_one_watched() {
    for is_moved_away in [true, false] {
        let mut rollout = WatchedRollout::new();
        // The old file exists as long as it is open.
        let _open = File::open(&rollout.file).expect("exists");
        let (old, new) = (rollout.folder.path().join("old"), rollout.folder.path().join("new"));
        if is_moved_away {
            fs::rename(&rollout.file, old).expect("can be moved");
        }
        fs::write(&new, "a\n").expect("can be written");
        fs::rename(new, &rollout.file).expect("can be moved");
        assert!(rollout.has_changed());
        assert!(rollout.watch(), "it is another file");
        assert!(!rollout.watch());
        assert!(!rollout.has_changed());
        rollout.append();
        assert!(rollout.has_changed());
    }
}

#[test]
fn a_change_ends_a_wait() {
    let mut rollout = WatchedRollout::new();
    rollout.append();
    assert_eq!(rollout.watches.wait(&[]).expect("can wait"), WakeUp::Change);
}

#[test]
fn a_readable_descriptor_ends_a_wait() {
    let mut rollout = WatchedRollout::new();
    let (readable, mut sender) = UnixStream::pair().expect("a pair");
    let (silent, _other) = UnixStream::pair().expect("a pair");
    sender.write_all(b"x").expect("can be written");
    let woken = rollout.watches.wait(&[silent.as_fd(), readable.as_fd()]).expect("can wait");
    assert_eq!(woken, WakeUp::Ready(1));
}

#[test]
fn only_names_with_the_prefix_are_reported() {
    let mut rollout = WatchedRollout::new();
    let name = |name: &str| rollout.folder.path().join(name);
    let (other, compressed, moved) = (name("rollout-2.jsonl"), name("rollout-1.jsonl.zst"), name("elsewhere"));
    fs::write(&other, "").expect("can be written");
    assert!(!rollout.has_changed(), "another rollout was created");
    fs::write(&compressed, "").expect("can be written");
    assert!(rollout.has_changed(), "a name with the prefix was created");
    fs::rename(&rollout.file, &moved).expect("can be moved");
    assert!(rollout.has_changed(), "the file was moved away");
}

#[test]
fn a_file_that_was_overwritten_by_a_rename_is_watched_again() {
    let mut rollout = WatchedRollout::new();
    let new = rollout.folder.path().join("new");
    fs::write(&new, "a\n").expect("can be written");
    fs::rename(&new, &rollout.file).expect("can be moved");
    assert!(rollout.has_changed());
    assert!(rollout.watch(), "the new file was not watched");
    assert!(!rollout.watch(), "it is watched now");
    while rollout.has_changed() {}
    rollout.append();
    assert!(rollout.has_changed());
}

#[test]
fn a_file_is_watched_once_it_exists() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("codex_transcript_paths");
    let mut watches = Watches::default();
    assert!(!watches.set(vec![Watched::File(file.clone())]));
    fs::write(&file, "").expect("can be written");
    assert!(watches.set(vec![Watched::File(file.clone())]));
    fs::write(&file, "x").expect("can be written");
    assert!(watches.has_changed().expect("can be read"));
}

#[test]
fn other_files_do_not_put_off_the_end_of_a_wait() {
    let mut rollout = WatchedRollout::new();
    let folder = rollout.folder.path().to_owned();
    let noise = std::thread::spawn(move || {
        for index in 0..200 {
            fs::write(folder.join(format!("other-{index}")), "").expect("can be written");
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let woken = rollout.watches.wait_at_most(&[], Duration::from_millis(50)).expect("can wait");
    assert_eq!(woken, WakeUp::Change);
    assert!(!noise.is_finished(), "the wait has ended during the writes");
    noise.join().expect("it writes all files");
}
