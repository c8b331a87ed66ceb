use super::*;

#[test]
fn a_lock_that_another_has_is_waited_for_and_given_up() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let open = || File::open(file.path()).expect("it is there");
    let (one, other) = (open(), open());
    exclusive(&one, Duration::ZERO).expect("nobody has it");
    let timeout = Duration::from_millis(20);
    assert!(matches!(exclusive(&other, timeout), Err(LockError::Held(waited)) if waited == timeout));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(timeout);
            // Closing the file unlocks it.
            drop(one);
        });
        exclusive(&other, Duration::from_secs(60)).expect("it comes free");
    });
}

#[test]
fn who_waits_in_the_queue_goes_before_an_owner_that_comes_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, queue) = (folder.path().join("lock"), folder.path().join("queue"));
    let open = || File::options().write(true).create(true).truncate(false).open(&path).expect("can be opened");
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let owner = scope.spawn(|| {
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                let file = open();
                exclusive_in_turn(&file, &queue, Duration::from_secs(10)).expect("is let go");
                std::thread::sleep(Duration::from_millis(20));
                drop(file);
                let_others(&queue, Duration::from_secs(10));
            }
        });
        for _ in 0..20 {
            // The owner lets go of it once in this time, for microseconds.
            exclusive_in_turn(&open(), &queue, Duration::from_secs(5)).expect("it is our turn");
        }
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        owner.join().expect("no panic");
    });
}

#[test]
fn a_lock_that_is_held_is_waited_for_no_longer_than_told_in_the_queue_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, queue) = (folder.path().join("lock"), folder.path().join("queue"));
    let open = || File::options().write(true).create(true).truncate(false).open(&path).expect("can be opened");
    let held = open();
    exclusive(&held, Duration::ZERO).expect("is free");
    for timeout in [Duration::ZERO, Duration::from_millis(30)] {
        let waited = exclusive_in_turn(&open(), &queue, timeout);
        assert!(matches!(waited, Err(LockError::Held(told)) if told == timeout), "{waited:?}");
    }
    let_others(&queue, Duration::ZERO);
    let_others(&folder.path().join("none"), Duration::ZERO);
}
