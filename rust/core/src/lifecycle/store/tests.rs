use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::files::slots::{self, HEADER};
use crate::lifecycle::deferred::defer;
use crate::lifecycle::hook::HookEvent;
use crate::lifecycle::marker_files::{names_in, remove};
use crate::lifecycle::state::{Signal, SignalSource, Thread, ThreadKey};
use crate::rollout::ids::{Name, ThreadId, TurnId};

/// More than the duration of any test.
const LONG: Duration = Duration::from_secs(600);

/// Returns a state directory for one test.
fn folder() -> (TempDir, StateDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = StateDir::new(folder.path());
    (folder, dir)
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes(), false)
}

/// Returns a state with a running root turn.
fn open(turn: &str) -> State {
    let mut state = State::default();
    state.set_session(&ThreadId(name("session")));
    state.root.set_rollout("/c/rollout");
    state.apply(&ThreadKey::Root, &TurnId(name(turn)), Signal::Prompted, SignalSource::Hook, 7);
    state
}

/// Returns the same state after the end of the turn.
fn over(turn: &str) -> State {
    let mut state = open(turn);
    state.apply(&ThreadKey::Root, &TurnId(name(turn)), Signal::Ended, SignalSource::Hook, 8);
    state
}

fn with_subagents(mut state: State, ids: &[&str]) -> State {
    for id in ids {
        let key = ThreadKey::Subagent(ThreadId(name(id)));
        state.apply(&key, &TurnId(name("turn")), Signal::Began, SignalSource::Hook, 9);
        state.thread_mut(&key).expect("it exists").set_rollout("/c/child");
    }
    state
}

fn save(dir: &StateDir, state: &State) {
    Store::open(dir, LONG).expect("can be opened").save(state.clone()).expect("can be saved");
}

fn load(dir: &StateDir) -> State {
    let store = Store::open(dir, LONG).expect("can be opened");
    assert_eq!(store.damage(), None);
    store.state().clone()
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Returns the content of the marker files.
fn markers(dir: &StateDir) -> Value {
    let mut subagents = names_in(&dir.subagents()).expect("can be listed").unwrap_or_default();
    subagents.sort();
    json!({
        "active": text(&dir.active()),
        "root": text(&dir.root_active()),
        "subagents": subagents,
        "asking": text(&dir.permissions_waiting()),
        "question": text(&dir.question_waiting()),
        "session": text(&dir.root_session()),
        "rollout": text(&dir.transcript_path()),
        "rollouts": text(&dir.transcript_paths()),
    })
}

/// Returns the content of the marker files after `state` was saved in an empty directory.
fn markers_of(state: &State) -> Value {
    let (_folder, dir) = folder();
    save(&dir, state);
    markers(&dir)
}

#[test]
fn a_saved_state_is_loaded() {
    let (_folder, dir) = folder();
    assert_eq!(load(&dir), State::default());
    let mut unknown = State::default();
    unknown.settle(3);
    for state in [open("1"), with_subagents(open("2"), &["a", "b"]), over("2"), unknown, open("3")] {
        save(&dir, &state);
        assert_eq!(load(&dir), state);
    }
}

/// Returns a state in which the root has an open request.
fn asking(mut state: State, signal: Signal) -> State {
    state.apply(&ThreadKey::Root, &TurnId::default(), signal, SignalSource::Hook, 9);
    state
}

#[test]
fn the_marker_files_show_an_approval_and_a_question() {
    let (_folder, dir) = folder();
    let shown = || {
        let markers = markers(&dir);
        ["active", "asking", "question"].map(|name| markers[name] != Value::Null)
    };
    for _ in 0..2 {
        save(&dir, &open("turn"));
        assert_eq!(shown(), [true, false, false]);
        save(&dir, &asking(open("turn"), Signal::AskedForApproval { rollout_size: 0 }));
        assert_eq!(shown(), [false, true, false]);
        save(&dir, &asking(open("turn"), Signal::AskedQuestion { rollout_size: 0 }));
        assert_eq!(shown(), [true, false, true]);
    }
    save(&dir, &over("turn"));
    assert_eq!(shown(), [false, false, false]);
}

#[test]
fn the_marker_files_show_the_state() {
    let (_folder, dir) = folder();
    let state = with_subagents(open("turn"), &["child"]);
    save(&dir, &asking(state, Signal::AskedForApproval { rollout_size: 0 }));
    assert_eq!(
        markers(&dir),
        json!({
            "active": null,
            "root": "{\"session_id\":\"session\",\"turn_id\":\"turn\"}\n",
            "subagents": ["child"],
            "asking": "",
            "question": null,
            "session": "session",
            "rollout": "/c/rollout",
            "rollouts": "/c/rollout\n",
        })
    );
    let child: Value =
        serde_json::from_slice(&fs::read(dir.subagents().join("child")).expect("it exists")).expect("JSON");
    assert_eq!(child, json!({"turn_id": "turn", "transcript_path": "/c/child"}));
    // The pointers, which are needed to resume, stay.
    save(&dir, &over("turn"));
    let pointers = json!({"session": "session", "rollout": "/c/rollout", "rollouts": "/c/rollout\n"});
    let mut expected = json!({"active": null, "root": null, "subagents": [], "asking": null, "question": null});
    expected.as_object_mut().expect("an object").extend(pointers.as_object().expect("an object").clone());
    assert_eq!(markers(&dir), expected);
    save(&dir, &State::default());
    assert_eq!(markers(&dir), expected);
}

#[test]
fn quotes_in_a_path_are_escaped_in_a_subagents_file() {
    let (_folder, dir) = folder();
    let mut state = with_subagents(State::default(), &["child"]);
    let key = ThreadKey::Subagent(ThreadId(name("child")));
    state.thread_mut(&key).expect("it exists").set_rollout("/a\"b\\cä");
    save(&dir, &state);
    let child: Value =
        serde_json::from_slice(&fs::read(dir.subagents().join("child")).expect("it exists")).expect("JSON");
    assert_eq!(child["transcript_path"], "/a\"b\\cä");
}

#[test]
fn every_rollout_is_listed_in_the_order_in_which_it_became_current() {
    let (_folder, dir) = folder();
    let mut state = State::default();
    for rollout in ["/a", "/b", "/b", "/a"] {
        state.root.set_rollout(rollout);
        save(&dir, &state);
    }
    assert_eq!(text(&dir.transcript_paths()).as_deref(), Some("/a\n/b\n/a\n"));
    assert_eq!(text(&dir.transcript_path()).as_deref(), Some("/a"));
}

#[test]
fn an_unchanged_state_is_not_written() {
    let (_folder, dir) = folder();
    let state = with_subagents(open("1"), &["a"]);
    save(&dir, &state);
    let files = [dir.root_active(), dir.root_session(), dir.subagents().join("a"), dir.transcript_path()];
    let inodes = || files.clone().map(|path| fs::metadata(path).expect("it exists").ino());
    let (before, bytes) = (inodes(), fs::read(dir.lifecycle()).expect("it exists"));
    save(&dir, &state);
    assert_eq!((inodes(), fs::read(dir.lifecycle()).expect("it exists")), (before, bytes));
}

// ---- damage ----

/// Returns the part of a state that the pointer files contain.
fn with_session_alone(state: &State) -> State {
    let mut lost = State::default();
    lost.set_session(&state.session);
    lost.root.set_rollout(&state.root.rollout);
    lost
}

/// Returns the content of the file after these states were saved.
fn saved(states: &[&State]) -> Vec<u8> {
    let (_folder, dir) = folder();
    for state in states {
        save(&dir, state);
    }
    fs::read(dir.lifecycle()).expect("it exists")
}

/// Returns the range of the slot with this number.
fn slot(bytes: &[u8], number: u64) -> std::ops::Range<usize> {
    let start = usize::try_from(LAYOUT.offset_of(number)).expect("small");
    let (_, found, size) = slots::split(*bytes[start..].first_chunk().expect("it exists"));
    assert_eq!(found, number);
    start..start + HEADER + size
}

#[test]
fn an_incomplete_write_of_any_length_leaves_the_previous_state() {
    let (first, second, third) = (open("1"), with_subagents(over("1"), &["a"]), open("3"));
    let (before, after) = (saved(&[&first, &second]), saved(&[&first, &second, &third]));
    let slot = slot(&after, 3);
    let (_folder, dir) = folder();
    save(&dir, &second);
    let expected = markers(&dir);
    for written in 0..slot.len() {
        let mut bytes = before.clone();
        let until = slot.start + written;
        bytes[slot.start..until].copy_from_slice(&after[slot.start..until]);
        // The flag is the first byte that is written.
        if written > 0 {
            bytes[slot.start] = 1;
        }
        // The previous content of the slot may have the same end.
        let is_complete = bytes[slot.start + 1..slot.end] == after[slot.start + 1..slot.end];
        fs::write(dir.lifecycle(), bytes).expect("can be written");
        assert_eq!(load(&dir), if is_complete { third.clone() } else { second.clone() }, "{written}");
        save(&dir, &second);
        assert_eq!(markers(&dir), expected);
    }
}

#[test]
fn a_file_truncated_at_any_length_has_an_intact_state_or_is_reported_as_damaged() {
    let (first, second) = (open("1"), over("2"));
    let bytes = saved(&[&first, &second]);
    let (_folder, dir) = folder();
    save(&dir, &first);
    let (one, other) = (slot(&bytes, 1), slot(&bytes, 2));
    for length in (0..=one.end).chain(other.start..other.end) {
        fs::write(dir.lifecycle(), &bytes[..length]).expect("can be written");
        let mut store = Store::open(&dir, LONG).expect("can be opened");
        let mut expected = if length < one.end { with_session_alone(&first) } else { first.clone() };
        assert_eq!(store.state(), &expected, "{length}");
        assert_eq!(store.damage().is_some(), (HEADER..one.end).contains(&length), "{length}");
        expected.settle(3);
        store.save_all(expected.clone()).expect("can be saved");
        drop(store);
        assert_eq!(load(&dir), expected);
        assert_eq!(dir.active().exists(), expected.is_active());
    }
}

#[test]
fn a_slot_with_a_damaged_byte_is_ignored_and_all_marker_files_are_written_again() {
    let (first, second) = (open("1"), with_subagents(over("2"), &["a"]));
    let bytes = saved(&[&first, &second]);
    let (_folder, dir) = folder();
    save(&dir, &first);
    let (expected, older) = (markers(&dir), slot(&bytes, 1));
    let newer = slot(&bytes, 2);
    // Damage to the flag cannot be detected, and damage to the length need not matter.
    for at in (newer.start + 1..newer.start + 9).chain(newer.start + HEADER..newer.end) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x41;
        fs::write(dir.lifecycle(), &damaged).expect("can be written");
        for marker in [dir.active(), dir.root_active()] {
            fs::remove_file(marker).expect("it exists");
        }
        fs::write(dir.subagents().join("a"), "").or_else(|_| fs::create_dir(dir.subagents())).expect("can be created");
        let mut store = Store::open(&dir, LONG).expect("can be opened");
        assert_eq!((store.state(), store.damage()), (&first, None), "{at}");
        store.save(first.clone()).expect("can be saved");
        drop(store);
        assert_eq!(markers(&dir), expected);
        // If the other slot is damaged too, the pointers supply the session.
        damaged[older.end - 1] ^= 1;
        fs::write(dir.lifecycle(), damaged).expect("can be written");
        let mut store = Store::open(&dir, LONG).expect("can be opened");
        assert_eq!(store.state(), &with_session_alone(&first));
        assert!(store.damage().is_some());
        let lost = store.state().clone();
        store.save(lost).expect("can be saved");
        assert!(!dir.active().exists() && text(&dir.root_session()).as_deref() == Some("session"));
        drop(store);
        save(&dir, &first);
    }
}

#[test]
fn a_state_of_another_version_is_reported_as_damaged() {
    let (_folder, dir) = folder();
    save(&dir, &open("1"));
    let mut bytes = fs::read(dir.lifecycle()).expect("it exists");
    let state = slot(&bytes, 1).start + HEADER;
    bytes[state] += 1;
    fs::write(dir.lifecycle(), bytes).expect("can be written");
    assert!(Store::open(&dir, LONG).expect("can be opened").damage().is_some());
}

#[test]
fn a_file_with_other_content_is_reported_as_damaged_and_replaced() {
    for byte in [1, 7, 0xFF] {
        let (_folder, dir) = folder();
        save(&dir, &over("1"));
        fs::write(dir.lifecycle(), vec![byte; usize::try_from(LAYOUT.second).expect("small") + 5000])
            .expect("can be written");
        let mut store = Store::open(&dir, LONG).expect("can be opened");
        assert!(store.damage().is_some() && store.state() == &with_session_alone(&over("1")));
        store.save(open("2")).expect("can be saved");
        drop(store);
        for turn in ["3", "4"] {
            assert!(load(&dir).is_active());
            save(&dir, &open(turn));
        }
        assert_eq!(load(&dir), open("4"));
    }
}

#[test]
fn marker_files_are_completed_after_a_kill_between_state_and_marker_files() {
    let (idle, busy) = (over("1"), with_subagents(open("2"), &["a", "b"]));
    let with_note = |states: &[&State], number| {
        let mut bytes = saved(states);
        let slot = slot(&bytes, number);
        bytes[slot.start] = 1;
        bytes
    };
    for (before, after) in [(&idle, &busy), (&busy, &idle)] {
        let (_folder, dir) = folder();
        save(&dir, before);
        fs::write(dir.lifecycle(), with_note(&[before, after], 2)).expect("can be written");
        assert_ne!(markers(&dir), markers_of(after));
        assert_eq!(load(&dir), *after);
        // The next save can be of the same state or of another one.
        save(&dir, after);
        assert_eq!(markers(&dir), markers_of(after));
        fs::write(dir.lifecycle(), with_note(&[before, after], 2)).expect("can be written");
        save(&dir, before);
        assert_eq!(markers(&dir), markers_of(before));
        // The flag is cleared, so the next save does not recreate anything.
        fs::remove_file(dir.root_session()).expect("it exists");
        save(&dir, before);
        assert!(!dir.root_session().exists());
    }
}

#[test]
fn save_all_recreates_missing_files_and_removes_stray_ones() {
    let (_folder, dir) = folder();
    let state = with_subagents(open("1"), &["a"]);
    save(&dir, &state);
    let expected = markers(&dir);
    for path in [dir.active(), dir.root_active(), dir.root_session(), dir.transcript_path(), dir.subagents().join("a")]
    {
        fs::remove_file(path).expect("it exists");
    }
    for path in [dir.permissions_waiting(), dir.subagents().join("stranger")] {
        fs::write(path, "x").expect("can be written");
    }
    save(&dir, &state);
    assert_ne!(markers(&dir), expected);
    Store::open(&dir, LONG).expect("can be opened").save_all(state).expect("can be saved");
    assert_eq!(markers(&dir), expected);
}

#[test]
fn a_marker_file_that_cannot_be_created_does_not_affect_the_others() {
    let state = with_subagents(open("1"), &["a"]);
    let expected = markers_of(&state);
    let (_folder, dir) = folder();
    for path in [dir.root_session(), dir.root_active(), dir.transcript_paths(), dir.active(), dir.subagents().join("b")]
    {
        fs::create_dir_all(&path).expect("can be created");
        let mut store = Store::open(&dir, LONG).expect("can be opened");
        let saved = store.save_all(state.clone());
        drop(store);
        let is_blocked = path != dir.subagents().join("b");
        match saved {
            Err(StoreError::File(error)) => assert!(is_blocked && error.path == path),
            saved => assert!(!is_blocked && saved.is_ok()),
        }
        assert!(dir.active().exists() && dir.transcript_path().exists() && dir.subagents().join("a").exists());
        // The error is returned until it is fixed.
        assert_eq!(Store::open(&dir, LONG).expect("can be opened").save(state.clone()).is_err(), is_blocked);
        fs::remove_dir(&path).expect("is empty");
        save(&dir, &state);
        assert_eq!(markers(&dir), expected);
        fs::remove_dir_all(dir.path()).and_then(|()| fs::create_dir(dir.path())).expect("can be emptied");
    }
}

// ---- sizes ----

#[test]
fn the_largest_state_can_be_saved() {
    let (_folder, dir) = folder();
    let mut state = State::default();
    let long = |number: usize, length: usize| format!("{number:04}{}", "x".repeat(length - 4));
    state.set_session(&ThreadId(name(&long(0, 255))));
    for number in 0..40 {
        state.add_nested(&ThreadId(name(&long(number, 255))));
    }
    for number in 0..256 {
        let key = ThreadKey::Subagent(ThreadId(name(&long(number, 255))));
        state.apply(&key, &TurnId(name(&long(number, 255))), Signal::Began, SignalSource::Hook, u64::MAX);
        let thread = state.thread_mut(&key).expect("it exists");
        thread.set_rollout(&format!("/{}", long(number, 4094)));
        thread.read_offset = u64::MAX;
        if [0, 3, 4, 8, 20, 100, 255].contains(&number) {
            save(&dir, &state);
            save(&dir, &state);
            assert_eq!(load(&dir), state);
            assert_eq!(names_in(&dir.subagents()).expect("can be listed").expect("it exists").len(), number + 1);
        }
    }
    save(&dir, &open("1"));
    assert_eq!(load(&dir), open("1"));
    assert_eq!(markers(&dir)["subagents"], json!([]));
}

// ---- the lock and the folder ----

#[test]
fn opening_waits_for_the_lock_until_the_timeout() {
    let (_folder, dir) = folder();
    let mut store = Store::open(&dir, Duration::ZERO).expect("can be opened");
    for timeout in [Duration::ZERO, Duration::from_millis(5)] {
        let error = Store::open(&dir, timeout).err().expect("the lock is held").to_string();
        let path = dir.lifecycle();
        let expected =
            format!("could not acquire the lifecycle lock {} within {} ms", path.display(), timeout.as_millis());
        assert_eq!(error, expected);
    }
    std::thread::scope(|scope| {
        let other = scope.spawn(|| Store::open(&dir, LONG).expect("can be opened").state().clone());
        store.save(open("1")).expect("can be saved");
        drop(store);
        assert_eq!(other.join().expect("no panic"), open("1"));
    });
}

#[test]
fn concurrent_updates_are_all_kept() {
    let (_folder, dir) = folder();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let dir = &dir;
            scope.spawn(move || {
                for number in 0..8 {
                    let mut store = Store::open(dir, LONG).expect("can be opened");
                    let state = with_subagents(store.state().clone(), &[&format!("{thread}-{number}")]);
                    store.save(state).expect("can be saved");
                }
            });
        }
    });
    assert_eq!(load(&dir).subagents.len(), 64);
    assert_eq!(names_in(&dir.subagents()).expect("can be listed").expect("it exists").len(), 64);
}

#[test]
fn the_state_directory_is_not_created() {
    let (folder, _) = folder();
    let dir = StateDir::new(folder.path().join("none"));
    assert!(matches!(Store::open(&dir, LONG), Err(StoreError::NoStateDir(_))));
    assert!(!dir.path().exists());
}

#[test]
fn an_unusable_folder_causes_an_error_with_its_path() {
    let failed_path = |dir: &StateDir| match Store::open(dir, LONG) {
        Err(StoreError::File(error)) => error.path,
        other => panic!("{:?}", other.err()),
    };
    let (_folder, dir) = folder();
    fs::write(dir.path().join("plugin"), "").expect("can be written");
    assert!(failed_path(&dir).starts_with(dir.path().join("plugin")));
    let (_folder, dir) = self::folder();
    fs::create_dir_all(dir.lifecycle()).expect("can be created");
    assert_eq!(failed_path(&dir), dir.lifecycle());
    // The state directory is a file.
    let dir = StateDir::new("/dev/null");
    assert_eq!(failed_path(&dir), dir.lifecycle());
}

// ---- deferred runs ----

fn run(turn: &str, event: HookEvent) -> HookRun {
    HookRun {
        event,
        session: ThreadId(name("session")),
        agent: None,
        turn: TurnId(name(turn)),
        rollout: "/c/rollout".to_owned(),
        rollout_size: 5,
        is_question: false,
        trigger: None,
        at: 6,
        folder: None,
    }
}

#[test]
fn deferred_runs_are_read_once_in_order() {
    let (_folder, dir) = folder();
    save(&dir, &State::default());
    let runs =
        [run("1", HookEvent::UserPromptSubmit), run("1", HookEvent::Stop), run("2", HookEvent::UserPromptSubmit)];
    for run in &runs {
        defer(&dir, run).expect("can be deferred");
    }
    // A process that does not save leaves them for others.
    assert_eq!(Store::open(&dir, LONG).expect("can be opened").read_deferred(), runs);
    let mut store = Store::open(&dir, LONG).expect("can be opened");
    assert_eq!(store.read_deferred(), runs);
    store.save(open("2")).expect("can be saved");
    assert_eq!(store.read_deferred(), []);
    assert!(!dir.lifecycle_pending().exists());
    drop(store);
    // They are removed even if they change nothing.
    defer(&dir, &runs[0]).expect("can be deferred");
    let mut store = Store::open(&dir, LONG).expect("can be opened");
    assert_eq!(store.read_deferred(), runs[..1]);
    store.save(open("2")).expect("can be saved");
    assert!(!dir.lifecycle_pending().exists());
}

#[test]
fn deferred_runs_are_applied_once_even_if_a_marker_file_cannot_be_created() {
    let (_folder, dir) = folder();
    save(&dir, &State::default());
    defer(&dir, &run("1", HookEvent::UserPromptSubmit)).expect("can be deferred");
    fs::create_dir(dir.active()).expect("can be created");
    let mut store = Store::open(&dir, LONG).expect("can be opened");
    assert_eq!(store.read_deferred().len(), 1);
    assert!(store.save(open("1")).is_err());
    drop(store);
    assert_eq!(load(&dir), open("1"));
    assert!(!dir.lifecycle_pending().exists());
}

#[test]
fn damaged_and_stray_files_do_not_block_deferred_runs() {
    let (_folder, dir) = folder();
    save(&dir, &State::default());
    let deferred = || Store::open(&dir, LONG).expect("can be opened").read_deferred();
    let path_of = |name: &str| dir.lifecycle_pending().join(name);
    defer(&dir, &run("1", HookEvent::Stop)).expect("can be deferred");
    let file = fs::read_dir(dir.lifecycle_pending()).expect("it exists").next().expect("a file").expect("can be read");
    let bytes = fs::read(file.path()).expect("it exists");
    for cut in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[cut] ^= 0x11;
        fs::write(path_of("0"), &bytes[..cut]).expect("can be written");
        fs::write(path_of("1"), damaged).expect("can be written");
        assert_eq!(deferred(), [run("1", HookEvent::Stop)]);
    }
    // A dangling link, a folder, and an unfinished file.
    std::os::unix::fs::symlink("nowhere", path_of("2")).expect("can be created");
    fs::create_dir(path_of("3")).expect("can be created");
    fs::write(path_of(".4"), &bytes).expect("can be written");
    let mut store = Store::open(&dir, LONG).expect("can be opened");
    assert_eq!(store.read_deferred(), [run("1", HookEvent::Stop)]);
    store.save(open("1")).expect("can be saved");
    let mut left = names_in(&dir.lifecycle_pending()).expect("can be listed").expect("it exists");
    left.sort();
    assert_eq!(left, [".4", "2"]);
    assert!(store.read_deferred().is_empty() && !store.has_deferred());
    drop(store);
    // An empty folder, which a killed hook can leave behind.
    fs::remove_dir_all(dir.lifecycle_pending())
        .and_then(|()| fs::create_dir(dir.lifecycle_pending()))
        .expect("can be created");
    let mut store = Store::open(&dir, LONG).expect("can be opened");
    assert!(store.read_deferred().is_empty() && !store.has_deferred());
    store.save(open("1")).expect("can be saved");
    assert!(!dir.lifecycle_pending().exists());
    drop(store);
    // A file in place of the folder.
    fs::write(dir.lifecycle_pending(), bytes).expect("can be written");
    assert_eq!(deferred(), []);
    assert!(defer(&dir, &run("1", HookEvent::Stop)).is_err());
}

#[test]
fn a_run_can_be_deferred_while_others_are_applied() {
    let (_folder, dir) = folder();
    save(&dir, &State::default());
    defer(&dir, &run("1", HookEvent::UserPromptSubmit)).expect("can be deferred");
    let mut store = Store::open(&dir, LONG).expect("can be opened");
    assert_eq!(store.read_deferred().len(), 1);
    defer(&dir, &run("2", HookEvent::Stop)).expect("can be deferred");
    store.save(open("1")).expect("can be saved");
    assert_eq!(store.read_deferred(), [run("2", HookEvent::Stop)]);
}

#[test]
fn runs_deferred_concurrently_are_all_read_once() {
    let (_folder, dir) = folder();
    save(&dir, &State::default());
    let mut applied: Vec<HookRun> = Vec::new();
    std::thread::scope(|scope| {
        let putters: Vec<_> = (0..4)
            .map(|thread| {
                let dir = &dir;
                scope.spawn(move || {
                    for number in 0..50 {
                        defer(dir, &run(&format!("{thread}-{number}"), HookEvent::Stop)).expect("can be deferred");
                    }
                })
            })
            .collect();
        let mut is_last = false;
        while !is_last {
            is_last = putters.iter().all(std::thread::ScopedJoinHandle::is_finished);
            let mut store = Store::open(&dir, LONG).expect("can be opened");
            applied.extend(store.read_deferred());
            store.save(State::default()).expect("can be saved");
        }
    });
    let order = |thread: usize| {
        let prefix = format!("{thread}-");
        let text = |run: &HookRun| String::from_utf8_lossy(run.turn.0.as_bytes()).into_owned();
        applied.iter().map(text).filter_map(|turn| turn.strip_prefix(&prefix)?.parse().ok()).collect::<Vec<usize>>()
    };
    for thread in 0..4 {
        assert_eq!(order(thread), (0..50).collect::<Vec<_>>());
    }
    assert!(!dir.lifecycle_pending().exists());
}

// ---- pointers without a state ----

#[test]
fn the_pointer_files_supply_the_session_if_there_is_no_state() {
    let found = |session: &[u8], rollout: &[u8]| {
        let (_folder, dir) = folder();
        fs::write(dir.root_session(), session).expect("can be written");
        fs::write(dir.transcript_path(), rollout).expect("can be written");
        load(&dir)
    };
    let mut expected = Thread::default();
    expected.set_rollout("/c/r");
    for end in ["", "\n"] {
        let state = found(format!("session{end}").as_bytes(), format!("/c/r{end}").as_bytes());
        assert_eq!(state.session, ThreadId(name("session")));
        assert_eq!(state.root, expected);
    }
    for unusable in [&b"../x"[..], b"", b"\n", b"a\\b", b"\xff", &[b'x'; 5000]] {
        assert_eq!(found(unusable, b"/c/r"), State::default());
    }
    for unusable in [&b"relative"[..], b"", b"\xff", b"/a\0b"] {
        assert_eq!(found(b"session", unusable).root, Thread::default());
    }
    // Folders in place of the files.
    let (_folder, dir) = folder();
    fs::create_dir(dir.root_session()).expect("can be created");
    assert_eq!(load(&dir), State::default());
}

// ---- against a model ----

/// One event: the index of its thread (0 is the root), its kind, and how its hook ends.
type Step = (usize, Kind, End);

#[derive(Clone, Copy, Debug)]
enum Kind {
    Beginning,
    SignOfLife,
    Stop,
}

#[derive(Clone, Copy, Debug)]
enum End {
    /// The hook completes.
    Completed,
    /// The hook runs twice.
    Twice,
    /// The hook is killed before it has written anything.
    KilledBefore,
    /// The hook is killed while it writes the marker files. Those whose bit is set are unchanged.
    KilledInMarkers(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![2 => Just(Kind::Beginning), 1 => Just(Kind::SignOfLife), 2 => Just(Kind::Stop)];
    let end = prop_oneof![
        4 => Just(End::Completed),
        1 => Just(End::Twice),
        1 => Just(End::KilledBefore),
        2 => any::<u16>().prop_map(End::KilledInMarkers),
    ];
    (0_usize..4, kind, end)
}

fn event_of(thread: usize, kind: Kind) -> HookEvent {
    match (kind, thread) {
        (Kind::Beginning, 0) => HookEvent::UserPromptSubmit,
        (Kind::Beginning, _) => HookEvent::SubagentStart,
        (Kind::SignOfLife, _) => HookEvent::PreToolUse,
        (Kind::Stop, 0) => HookEvent::Stop,
        (Kind::Stop, _) => HookEvent::SubagentStop,
    }
}

fn apply_run(dir: &StateDir, run: &HookRun) {
    let mut store = Store::open(dir, LONG).expect("can be opened");
    let mut state = store.state().clone();
    run.apply_to(&mut state);
    store.save(state).expect("can be saved");
}

/// Restores the marker files whose bit in `unchanged` is set, and sets the flag that they may not match the state.
fn undo_markers(dir: &StateDir, before: &[(PathBuf, Option<Vec<u8>>)], unchanged: u16) {
    for (number, (path, content)) in before.iter().enumerate() {
        if unchanged >> number & 1 == 1 {
            match content {
                Some(content) => fs::write(path, content).expect("can be written"),
                None => remove(path).expect("can be removed"),
            }
        }
    }
    let store = Store::open(dir, LONG).expect("can be opened");
    store.file.write_all_at(&[1], LAYOUT.offset_of(store.number)).expect("can be written");
}

proptest! {
    /// A turn is open from its beginning or its last sign of life to its stop. The agent is running while a turn is open.
    #[test]
    fn the_files_are_correct_after_every_event_despite_kills(steps in prop::collection::vec(step(), 1..25)) {
        let host = tempfile::tempdir().expect("a folder");
        let dir = StateDir::new(host.path().join("agents/agent-1"));
        fs::create_dir_all(dir.path()).expect("can be created");
        let events = host.path().join("events/mngr/activity/events.jsonl");
        let events_now = || text(&events).unwrap_or_default().lines().count();
        let children = ["child-1", "child-2", "child-3"];
        let mut paths = vec![dir.active(), dir.root_active(), dir.root_session(), dir.transcript_path()];
        paths.extend(children.map(|child| dir.subagents().join(child)));
        let of_others = [events.clone(), dir.status()];
        let (mut turns, mut open) = ([0; 4], [false; 4]);
        let mut is_flagged = true;
        for (number, (thread, kind, end)) in steps.into_iter().enumerate() {
            let turn = if matches!(kind, Kind::Beginning) { number + 1 } else { turns[thread] };
            if turn == 0 {
                continue;
            }
            let agent = (thread > 0).then(|| ThreadId(name(children[thread - 1])));
            let run = HookRun { agent, at: 1000 + number as u64, ..run(&format!("01a20218-{turn:04x}-7000-8000-00000000beef"), event_of(thread, kind)) };
            let before: Vec<_> =
                paths.iter().chain(&of_others).map(|path| (path.clone(), fs::read(path).ok())).collect();
            if matches!(end, End::KilledBefore) {
                continue;
            }
            let (was_active, events_before) = (open.contains(&true), events_now());
            apply_run(&dir, &run);
            (turns[thread], open[thread]) = (turn, !matches!(kind, Kind::Stop));
            let is_active = open.contains(&true);
            prop_assert_eq!(events_now(), events_before + usize::from(is_flagged || is_active != was_active));
            is_flagged = false;
            match end {
                End::KilledInMarkers(unchanged) => {
                    undo_markers(&dir, &before, unchanged);
                    is_flagged = true;
                    continue;
                }
                End::Twice => {
                    let events_before = events_now();
                    apply_run(&dir, &run);
                    prop_assert_eq!(events_now(), events_before);
                }
                End::Completed | End::KilledBefore => {}
            }
            let are_there: Vec<bool> = paths.iter().map(|path| path.exists()).collect();
            prop_assert_eq!(are_there, [&[is_active, open[0], turns[0] > 0, turns[0] > 0][..], &open[1..]].concat());
            let status: Value = serde_json::from_slice(&fs::read(dir.status()).expect("it exists")).expect("JSON");
            prop_assert_eq!(&status["state"], if is_active { "RUNNING" } else { "WAITING" });
            prop_assert_eq!(status["turn_since"].is_string(), open[0]);
            prop_assert_eq!(status["idle_since"].is_string(), !is_active);
        }
    }
}
