use super::*;

fn lock(file: File, path: &Path) -> Lock<'_> {
    Lock { file, path, resource: "test" }
}

#[test]
fn acquiring_a_held_lock_waits_until_it_is_released_or_the_timeout_has_passed() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let open = || File::open(file.path()).expect("it exists");
    let one = lock(open(), file.path()).acquire(Duration::ZERO).expect("it is free");
    let result = lock(open(), file.path()).acquire(Duration::from_millis(20));
    let message = format!("could not acquire the test lock {} within 20 ms", file.path().display());
    assert_eq!(result.map(drop).map_err(|error| error.to_string()), Err(message));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            drop(one);
        });
        lock(open(), file.path()).acquire(Duration::from_secs(60)).expect("it is released");
    });
}

#[test]
fn a_lock_is_released_although_another_process_shares_the_open_file() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let open = || File::open(file.path()).expect("it exists");
    let one = open();
    // As in a process that was forked and has not executed its program yet.
    let shared = one.try_clone().expect("a file descriptor");
    drop(lock(one, file.path()).acquire(Duration::ZERO).expect("it is free"));
    lock(open(), file.path()).acquire(Duration::ZERO).expect("it is free again");
    drop(shared);
}

#[test]
fn durations_in_messages_have_a_unit() {
    for (millis, shown) in [(0, "0 ms"), (500, "500 ms"), (1500, "1500 ms"), (2000, "2 s"), (600_000, "600 s")] {
        assert_eq!(with_unit(Duration::from_millis(millis)), shown);
    }
}

#[test]
fn queued_processes_acquire_the_lock_before_an_owner_that_takes_it_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, queue) = (folder.path().join("lock"), folder.path().join("queue"));
    let open = || File::options().write(true).create(true).truncate(false).open(&path).expect("can be opened");
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let owner = scope.spawn(|| {
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                let locked =
                    lock(open(), &path).acquire_queued(&queue, Duration::from_secs(10)).expect("it is released");
                std::thread::sleep(Duration::from_millis(20));
                drop(locked);
                yield_to_queue(&queue, Duration::from_secs(10));
            }
        });
        for _ in 0..20 {
            // The owner releases it once in this time, for microseconds.
            lock(open(), &path).acquire_queued(&queue, Duration::from_secs(5)).expect("the owner yields");
        }
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        owner.join().expect("no panic");
    });
}

#[test]
fn the_timeout_holds_in_the_queue_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, queue) = (folder.path().join("lock"), folder.path().join("queue"));
    let open = || File::options().write(true).create(true).truncate(false).open(&path).expect("can be opened");
    let _held = lock(open(), &path).acquire(Duration::ZERO).expect("it is free");
    for limit in [Duration::ZERO, Duration::from_millis(30)] {
        let result = lock(open(), &path).acquire_queued(&queue, limit);
        let is_expected = matches!(
            &result,
            Err(LockError::Timeout { path: locked, timeout, .. }) if *locked == path && *timeout == limit
        );
        assert!(is_expected, "{result:?}");
    }
    yield_to_queue(&queue, Duration::ZERO);
    yield_to_queue(&folder.path().join("none"), Duration::ZERO);
}
