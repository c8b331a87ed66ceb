use std::fs;

use super::*;
use crate::json::dump::Members;
use crate::rollout::session_meta::{member, string};

const THREAD: &str = "01a20218-0001-7000-8000-00000000beef";

struct Fixture {
    dir: StateDir,
    rollout: PathBuf,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = StateDir::new(folder.path().join("agent"));
        let sessions = dir.codex_home().join("sessions/2026/11/22");
        fs::create_dir_all(&sessions).expect("a home");
        let rollout = sessions.join(format!("rollout-2026-11-22T07-00-00-{THREAD}.jsonl"));
        Self { dir, rollout, _folder: folder }
    }

    /// Writes a rollout with this number of inferences of 100 input tokens each.
    fn write(&self, inferences: u64) {
        let mut lines = format!(
            r#"{{"timestamp":"2026-11-22T07:00:00.000Z","type":"session_meta","payload":{{"id":"{THREAD}"}}}}"#
        );
        for number in 1..=inferences {
            let usage = |input: u64| format!(r#"{{"input_tokens":{input},"cached_input_tokens":0,"output_tokens":1}}"#);
            let info = format!(r#"{{"total_token_usage":{},"last_token_usage":{}}}"#, usage(100 * number), usage(100));
            let line = format!(
                "\n{{\"timestamp\":\"2026-11-22T07:00:00.{number:03}Z\",\"type\":\"event_msg\",\
                 \"payload\":{{\"type\":\"token_count\",\"info\":{info}}}}}"
            );
            lines.push_str(&line);
        }
        fs::write(&self.rollout, lines + "\n").expect("a rollout");
    }

    fn pass(&self, should_continue: &mut dyn FnMut() -> bool) -> Result<u64, WatchError> {
        let scope = Scope { state: &State::default(), roots: Vec::new(), extent: Extent::Usual };
        let mut follower = UsageFollower::new(self.dir.clone());
        follower.pass(&scope, Duration::ZERO, should_continue).map(|(bytes, _)| bytes)
    }

    /// Returns the uncached input of each event.
    fn events(&self) -> Vec<String> {
        let lines = fs::read(self.dir.usage_events()).unwrap_or_default();
        let input = |line: &[u8]| {
            let tokens = member(line, "tokens").expect("tokens");
            let input = Members::of(tokens).find(|(key, _)| key == b"\"input\"").expect("a count").1;
            assert_eq!(string(line, "session_id").as_deref(), Some(THREAD));
            String::from_utf8_lossy(input).into_owned()
        };
        lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(input).collect()
    }
}

#[test]
fn a_pass_that_is_stopped_continues_where_it_was_and_reports_no_part_of_a_sum() {
    let fixture = Fixture::new();
    fixture.write(20);
    let mut passes = 0;
    while fixture.pass(&mut || false).is_err() {
        passes += 1;
        assert!(fixture.events().is_empty());
    }
    assert!(passes > 3, "{passes}");
    assert_eq!(fixture.events(), ["2000"]);
    assert_eq!(fixture.pass(&mut || false).expect("a pass"), 0);
}

#[test]
fn a_rollout_that_is_removed_before_its_end_was_measured_does_not_hide_its_thread() {
    let fixture = Fixture::new();
    fixture.write(20);
    assert!(fixture.pass(&mut || false).is_err());
    fs::remove_file(&fixture.rollout).expect("can be removed");
    fixture.pass(&mut || true).expect("a pass");
    let [part] = fixture.events().try_into().expect("one event");
    let part: u64 = part.parse().expect("a number");
    assert!(0 < part && part < 2000, "{part}");
    // It is back, for example from the archive.
    fixture.write(20);
    fixture.pass(&mut || true).expect("a pass");
    assert_eq!(fixture.events().last().map(String::as_str), Some("2000"));
}

#[test]
fn a_rewritten_rollout_reports_no_part_of_a_sum() {
    let fixture = Fixture::new();
    fixture.write(10);
    fixture.pass(&mut || true).expect("a pass");
    let changed = fs::read_to_string(&fixture.rollout).expect("a rollout").replace("07:00:00", "07:00:01");
    fs::write(&fixture.rollout, changed).expect("a rollout");
    assert!(matches!(fixture.pass(&mut || false), Err(WatchError::Stopped)));
    fixture.pass(&mut || true).expect("a pass");
    assert_eq!(fixture.events(), ["1000"]);
}

#[test]
fn a_checkpoint_that_is_too_large_is_a_warning() {
    let fixture = Fixture::new();
    for thread in 0..1000 {
        let name = format!("rollout-2026-11-22T07-00-00-01a20218-{thread:04}-7000-8000-00000000beef.jsonl");
        fixture.write(1);
        let lines = fs::read_to_string(&fixture.rollout).expect("a rollout");
        let other = lines.replace("01a20218-0001", &format!("01a20218-{thread:04}"));
        fs::write(fixture.rollout.with_file_name(name), other).expect("a rollout");
    }
    fixture.write(2);
    for _ in 0..2 {
        let mut follower = UsageFollower::new(fixture.dir.clone());
        let scope = Scope { state: &State::default(), roots: Vec::new(), extent: Extent::Final };
        follower.pass(&scope, Duration::ZERO, &mut || true).expect("a pass");
        let events = fs::read_to_string(fixture.dir.usage_events()).expect("events");
        assert_eq!(events.lines().count(), 1000);
    }
    let logged = fs::read_to_string(fixture.dir.log()).expect("a log");
    assert!(logged.lines().all(|line| line.contains("larger than its slot")), "{logged}");
    assert_eq!(logged.lines().count(), 2);
}

#[test]
fn a_lock_that_is_held_is_an_error() {
    let fixture = Fixture::new();
    let _other = CheckpointFile::open(&fixture.dir, Duration::ZERO).expect("a checkpoint");
    let error = fixture.pass(&mut || true).expect_err("a held lock").to_string();
    assert!(error.contains("usage lock"), "{error}");
}

#[test]
fn a_missing_state_directory_is_not_created() {
    let fixture = Fixture::new();
    fs::remove_dir_all(fixture.dir.path()).expect("a removal");
    assert!(matches!(fixture.pass(&mut || true), Err(WatchError::Follow(FollowError::NoStateDir(_)))));
    assert!(!fixture.dir.path().exists());
}
