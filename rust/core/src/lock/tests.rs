use super::*;

#[test]
fn a_lock_that_another_has_is_waited_for_and_given_up() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let open = || File::open(file.path()).expect("it is there");
    let (one, other) = (open(), open());
    exclusive(&one, Duration::ZERO).expect("nobody has it");
    let patience = Duration::from_millis(20);
    assert!(matches!(exclusive(&other, patience), Err(LockError::Held(waited)) if waited == patience));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(patience);
            // Closing the file unlocks it.
            drop(one);
        });
        exclusive(&other, Duration::from_secs(60)).expect("it comes free");
    });
}
