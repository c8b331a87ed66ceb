use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

use super::*;

fn folder() -> (TempDir, StateDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = StateDir::new(folder.path());
    (folder, dir)
}

/// Appends an entry with the current time.
fn append(dir: &StateDir, level: Level, message: &str) -> io::Result<()> {
    super::append(dir, level, message, SystemTime::now())
}

/// Returns the log's lines, each of which must be JSON.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("it exists");
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn an_entry_has_the_format_of_mngrs_own_logs() {
    let now = UNIX_EPOCH + Duration::new(1_795_331_570, 678_000_009);
    let bytes = line(Level::Warning, "a \"word\"\nof ä", now);
    assert_eq!(memchr::memchr(b'\n', &bytes), Some(bytes.len() - 1));
    let found: Value = serde_json::from_slice(&bytes).expect("JSON");
    let keys: Vec<&str> = found.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["timestamp", "type", "event_id", "source", "level", "message", "pid"]);
    assert_eq!(found["timestamp"], "2026-11-22T07:12:50.678000009Z");
    assert_eq!((&found["type"], &found["source"]), (&"mngr_codex".into(), &"mngr_codex".into()));
    assert_eq!((&found["level"], &found["message"]), (&"WARNING".into(), &"a \"word\"\nof ä".into()));
    assert_eq!(found["pid"], std::process::id());
    let id = found["event_id"].as_str().and_then(|id| id.strip_prefix("evt-")).expect("an id");
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
}

#[test]
fn a_clock_before_1970_causes_no_panic_and_ids_stay_unique() {
    let (_folder, dir) = folder();
    for nanos in [1, 2] {
        super::append(&dir, Level::Info, "early", UNIX_EPOCH - Duration::from_nanos(nanos)).expect("can be written");
    }
    let lines = lines(&dir.log());
    assert_eq!(lines[0]["timestamp"], "1970-01-01T00:00:00.000000000Z");
    assert_ne!(lines[0]["event_id"], lines[1]["event_id"]);
}

#[test]
fn levels_have_loguru_names() {
    let names = [Level::Info, Level::Warning, Level::Error].map(|level| {
        let line: Value = serde_json::from_slice(&line(level, "", UNIX_EPOCH)).expect("JSON");
        line["level"].as_str().expect("text").to_owned()
    });
    assert_eq!(names, ["INFO", "WARNING", "ERROR"]);
}

#[test]
fn entries_are_appended_with_unique_ids() {
    let (_folder, dir) = folder();
    for message in ["one", "two", "three"] {
        append(&dir, Level::Info, message).expect("can be written");
    }
    let lines = lines(&dir.log());
    assert_eq!(lines.iter().map(|line| &line["message"]).collect::<Vec<_>>(), ["one", "two", "three"]);
    assert!(lines[0]["event_id"] != lines[1]["event_id"] && lines[1]["event_id"] != lines[2]["event_id"]);
}

#[test]
fn the_state_directory_is_not_created() {
    let (folder, _) = folder();
    let dir = StateDir::new(folder.path().join("none"));
    assert_eq!(append(&dir, Level::Error, "x").expect_err("there is no folder").kind(), io::ErrorKind::NotFound);
    assert!(!dir.path().exists());
}

#[test]
fn a_log_that_cannot_be_written_causes_an_error_that_log_ignores() {
    let (_folder, dir) = folder();
    fs::create_dir_all(dir.log()).expect("can be created");
    assert!(append(&dir, Level::Error, "x").is_err());
    log(&dir, Level::Error, "x");
    let (_folder, dir) = self::folder();
    fs::write(dir.path().join("events"), "").expect("can be written");
    assert!(append(&dir, Level::Error, "x").is_err());
}

#[test]
fn a_full_log_becomes_the_previous_one_and_there_are_never_more_than_two() {
    let (_folder, dir) = folder();
    let before = dir.previous_log();
    append(&dir, Level::Info, "first").expect("can be written");
    let message = "x".repeat(MAX_MESSAGE);
    let count = usize::try_from(MAX_SIZE).expect("small") / MAX_MESSAGE + 2;
    for round in 0..2 {
        for _ in 0..count {
            append(&dir, Level::Info, &message).expect("can be written");
            let size = fs::metadata(dir.log()).expect("it exists").len();
            assert!(size <= MAX_SIZE + MAX_MESSAGE as u64 + 500);
        }
        let lines = lines(&before);
        assert_eq!(lines[0]["message"] == "first", round == 0);
        assert!(lines.len() > count / 2);
    }
    let folder = dir.log().parent().expect("a folder").to_path_buf();
    assert_eq!(fs::read_dir(folder).expect("a folder").count(), 2);
}

#[test]
fn threads_that_find_the_log_full_at_the_same_time_keep_the_previous_one() {
    let (_folder, dir) = folder();
    append(&dir, Level::Info, "first").expect("can be written");
    for round in 0..20 {
        let line = line(Level::Info, &"x".repeat(MAX_MESSAGE), SystemTime::now());
        let full = line.repeat(usize::try_from(MAX_SIZE).expect("small") / line.len() + 1);
        fs::write(dir.log(), full).expect("can be written");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| append(&dir, Level::Info, "x").expect("can be written"));
            }
        });
        let before = fs::metadata(dir.previous_log()).expect("it exists").len();
        assert!(before > MAX_SIZE, "{round}: {before}");
    }
}

#[test]
fn entries_of_concurrent_threads_are_complete() {
    let (_folder, dir) = folder();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let dir = &dir;
            scope.spawn(move || {
                for number in 0..50 {
                    append(dir, Level::Info, &format!("{thread} {number}")).expect("can be written");
                }
            });
        }
    });
    let mut messages: Vec<String> = lines(&dir.log()).iter().map(|line| line["message"].to_string()).collect();
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), 400);
}

proptest! {
    #[test]
    fn a_long_message_is_truncated_between_characters(
        start in "\\PC{0,20}",
        repeated in prop::sample::select(&["x", "ä", "漢", "😀", "\n", "\"", "\u{1}"][..]),
        count in prop_oneof![0_usize..20, 900_usize..5000],
    ) {
        let message = start + &repeated.repeat(count);
        let line: Value = serde_json::from_slice(&line(Level::Info, &message, UNIX_EPOCH)).expect("JSON");
        let found = line["message"].as_str().expect("text");
        prop_assert!(message.starts_with(found) && found.len() <= MAX_MESSAGE);
        prop_assert!(found == message || found.len() + 4 > MAX_MESSAGE);
    }
}
