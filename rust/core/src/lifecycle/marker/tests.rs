use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::lifecycle::state::Phase;

/// A codex home and a state dir for one test.
struct World {
    _folder: TempDir,
    day: PathBuf,
    dir: StateDir,
}

/// An id that sorts by `number`, of version 7.
fn uuid(number: u32) -> String {
    format!("01a20218-{number:04x}-7000-8000-00000000beef")
}

fn turn(number: u32) -> TurnId {
    TurnId(crate::rollout::ids::Name::new(uuid(number).as_bytes(), false))
}

/// The root's session.
const ROOT: u32 = 1;

/// A line of a rollout about a turn.
fn line(kind: &str, number: u32) -> String {
    json!({"type": "event_msg", "payload": {"type": kind, "turn_id": uuid(number)}}).to_string() + "\n"
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (day, state) = (folder.path().join("sessions/2026/11/22"), folder.path().join("state"));
        fs::create_dir_all(&day).expect("can be made");
        fs::create_dir(&state).expect("can be made");
        Self { _folder: folder, day, dir: StateDir::new(state) }
    }

    fn rollout(&self, thread: u32) -> PathBuf {
        self.day.join(format!("rollout-2026-11-22T07-00-00-{}.jsonl", uuid(thread)))
    }

    /// Appends lines to a thread's rollout.
    fn write(&self, thread: u32, lines: &[(&str, u32)]) {
        let mut text = fs::read_to_string(self.rollout(thread)).unwrap_or_default();
        for (kind, number) in lines {
            text += &line(kind, *number);
        }
        fs::write(self.rollout(thread), text).expect("can be written");
    }

    fn payload(&self, session: u32, number: u32) -> Value {
        json!({"session_id": uuid(session), "turn_id": uuid(number), "transcript_path": self.rollout(session)})
    }

    /// A hook of the root's runs.
    fn hook(&self, event: Event, number: u32) {
        run_hook(&self.dir, event, self.payload(ROOT, number).to_string().as_bytes(), |_| {}).expect("taken");
    }

    /// A hook of a subagent's runs; gives whether it was taken in or put off.
    fn try_hook_of(&self, event: Event, agent: u32, number: u32) -> Result<(), MarkerError> {
        let mut payload = self.payload(ROOT, number);
        payload["agent_id"] = uuid(agent).into();
        payload["agent_transcript_path"] = Value::from(self.rollout(agent).to_str());
        if event != Event::SubagentStop {
            payload["transcript_path"] = Value::from(self.rollout(agent).to_str());
        }
        run_hook(&self.dir, event, payload.to_string().as_bytes(), |_| {})
    }

    fn hook_of(&self, event: Event, agent: u32, number: u32) {
        self.try_hook_of(event, agent, number).expect("taken");
    }

    fn is_active(&self) -> bool {
        self.dir.active().exists()
    }

    fn heals_to(&self, is_active: bool) {
        let state = recompute(&self.dir).expect("can be done");
        assert_eq!((state.is_active(), self.is_active()), (is_active, is_active));
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.log()).unwrap_or_default()
    }
}

#[test]
fn hooks_make_and_remove_the_marker() {
    let world = World::new();
    world.hook(Event::UserPromptSubmit, 2);
    assert!(world.is_active());
    world.hook(Event::Stop, 2);
    assert!(!world.is_active());
    assert_eq!(world.log(), "");
}

#[test]
fn an_interrupt_that_no_hook_told_is_healed() {
    let world = World::new();
    world.write(ROOT, &[("task_started", 2)]);
    world.hook(Event::UserPromptSubmit, 2);
    world.heals_to(true);
    world.write(ROOT, &[("turn_aborted", 2)]);
    world.heals_to(false);
    // A turn that has no prompt's hook.
    world.write(ROOT, &[("task_started", 3)]);
    world.heals_to(true);
    world.write(ROOT, &[("task_complete", 3)]);
    world.heals_to(false);
}

#[test]
fn a_blocked_stop_is_undone_by_what_the_rollout_gets_after_it() {
    let world = World::new();
    world.write(ROOT, &[("task_started", 2), ("agent_message", 2)]);
    world.hook(Event::UserPromptSubmit, 2);
    world.hook(Event::Stop, 2);
    world.heals_to(false);
    world.write(ROOT, &[("agent_message", 2)]);
    world.heals_to(true);
    world.hook(Event::Stop, 2);
    world.heals_to(false);
}

#[test]
fn a_subagent_whose_stop_is_missing_ends_with_its_rollout() {
    let world = World::new();
    world.hook(Event::UserPromptSubmit, 2);
    // Copied history opens and ends nothing.
    world.write(5, &[("task_started", 2), ("turn_aborted", 2), ("task_started", 6)]);
    world.hook_of(Event::SubagentStart, 5, 6);
    world.hook(Event::Stop, 2);
    world.heals_to(true);
    world.write(5, &[("turn_aborted", 6)]);
    world.heals_to(false);
    world.write(5, &[("task_started", 7)]);
    world.heals_to(true);
    world.hook_of(Event::SubagentStop, 5, 7);
    world.heals_to(false);
}

#[test]
fn a_subagents_rollout_that_no_hook_named_is_found_beside_the_roots_or_on_a_later_day() {
    for day in ["22", "24"] {
        let world = World::new();
        world.hook(Event::UserPromptSubmit, 2);
        let mut payload = world.payload(ROOT, 6);
        payload["agent_id"] = uuid(5).into();
        payload["transcript_path"] = Value::Null;
        run_hook(&world.dir, Event::SubagentStart, payload.to_string().as_bytes(), |_| {}).expect("taken");
        world.hook(Event::Stop, 2);
        world.heals_to(true);
        let folder = world.day.with_file_name(day);
        fs::create_dir_all(&folder).expect("can be made");
        let name = world.rollout(5).file_name().expect("a name").to_owned();
        fs::write(folder.join(name), line("turn_aborted", 6)).expect("can be written");
        world.heals_to(false);
    }
}

#[test]
fn a_nested_codex_is_told_from_a_session_after_an_end_that_no_hook_told() {
    let world = World::new();
    world.write(ROOT, &[("task_started", 2)]);
    world.hook(Event::UserPromptSubmit, 2);
    let prompt = |session: u32, number: u32| {
        let payload = world.payload(session, number).to_string();
        run_hook(&world.dir, Event::UserPromptSubmit, payload.as_bytes(), |_| {}).expect("taken");
        fs::read_to_string(world.dir.root_session()).expect("is there")
    };
    assert_eq!(prompt(3, 4), uuid(ROOT));
    world.write(ROOT, &[("turn_aborted", 2)]);
    // The rollout is asked first.
    assert_eq!(prompt(5, 6), uuid(5));
    assert!(world.is_active());
    // What was nested once stays so.
    assert_eq!(prompt(3, 7), uuid(5));
}

#[test]
fn a_reset_clears_all_and_nothing_that_the_rollouts_hold_opens_it_again() {
    let world = World::new();
    world.write(ROOT, &[("task_started", 2)]);
    world.hook(Event::UserPromptSubmit, 2);
    world.hook(Event::PermissionRequest, 2);
    world.write(5, &[("task_started", 6)]);
    world.hook_of(Event::SubagentStart, 5, 6);
    // A turn that nobody has read of yet.
    world.write(ROOT, &[("task_started", 7)]);
    reset(&world.dir).expect("can be done");
    let dir = &world.dir;
    for gone in [dir.active(), dir.root_active(), dir.permissions_waiting(), dir.subagents().join(uuid(5))] {
        assert!(!gone.exists(), "{}", gone.display());
    }
    for there in [dir.root_session(), dir.transcript_path(), dir.transcript_paths()] {
        assert!(there.exists(), "{}", there.display());
    }
    world.heals_to(false);
    for number in [2, 6, 7] {
        world.hook(Event::PreToolUse, number);
        world.hook_of(Event::PreToolUse, 5, number);
    }
    world.write(ROOT, &[("agent_message", 7)]);
    world.heals_to(false);
    world.write(ROOT, &[("task_started", 8)]);
    world.heals_to(true);
}

#[test]
fn what_a_codex_left_open_is_closed_behind_it_unless_another_one_was_started() {
    let world = World::new();
    reset(&world.dir).expect("can be done");
    let resets = read(&world.dir).expect("can be read").resets;
    world.write(ROOT, &[("task_started", 2)]);
    world.hook(Event::UserPromptSubmit, 2);
    world.hook(Event::PermissionRequest, 2);
    let begun_anew = resets + 1;
    reset_after(&world.dir, begun_anew).expect("can be done");
    assert!(world.is_active());
    reset_after(&world.dir, resets).expect("can be done");
    assert!(!world.is_active() && !world.dir.permissions_waiting().exists());
    assert_eq!(read(&world.dir).expect("can be read").resets, begun_anew);
    world.write(ROOT, &[("task_started", 8)]);
    world.heals_to(true);
    reset_after(&world.dir, resets).expect("can be done");
    assert!(world.is_active());
}

#[test]
fn what_a_codex_ended_by_itself_stays_as_it_is() {
    let world = World::new();
    world.write(ROOT, &[("task_started", 2), ("task_complete", 2)]);
    world.hook(Event::UserPromptSubmit, 2);
    world.heals_to(false);
    let before = read(&world.dir).expect("can be read");
    reset_after(&world.dir, before.resets).expect("can be done");
    assert_eq!(read(&world.dir).expect("can be read"), before);
}

#[test]
fn a_reset_of_nothing_makes_nothing_but_the_state() {
    let world = World::new();
    reset(&world.dir).expect("can be done");
    world.heals_to(false);
    assert_eq!(fs::read_dir(world.dir.path()).expect("is there").count(), 1);
    let gone = StateDir::new(world.dir.path().join("none"));
    assert!(matches!(reset(&gone), Err(MarkerError::Store(StoreError::NoStateDir(_)))));
    assert!(matches!(read(&gone), Err(MarkerError::Store(StoreError::NoStateDir(_)))));
    assert!(!gone.path().exists());
}

#[test]
fn a_rollout_that_was_written_anew_under_its_name_is_read_from_its_start() {
    let world = World::new();
    let rolled_back = json!({"type": "event_msg", "payload": {"type": "thread_rolled_back"}}).to_string() + "\n";
    let before = line("task_started", 2) + &line("task_complete", 2) + &rolled_back;
    fs::write(world.rollout(ROOT), before.clone() + &"junk\n".repeat(50) + &line("task_started", 3)).expect("written");
    world.hook(Event::UserPromptSubmit, 3);
    world.heals_to(true);
    // What was taken back then was not the turn that goes on.
    fs::write(world.rollout(ROOT), before + &line("task_started", 3)).expect("can be written");
    world.heals_to(true);
    world.write(ROOT, &[("task_complete", 3)]);
    world.heals_to(false);
}

#[test]
fn a_rollout_that_is_gone_or_cannot_be_read_leaves_the_hooks_to_tell() {
    let world = World::new();
    world.hook(Event::UserPromptSubmit, 2);
    world.heals_to(true);
    assert_eq!(world.log(), "");
    fs::create_dir(world.rollout(ROOT)).expect("can be made");
    world.heals_to(true);
    assert!(world.log().contains("could not be read"));
    world.hook(Event::Stop, 2);
    assert!(!world.is_active());
}

// ---- locks ----

#[test]
fn a_hook_that_cannot_get_the_lock_is_made_up_for_by_the_next() {
    let world = World::new();
    world.hook(Event::SessionStart, 2);
    let store = Store::open(&world.dir, LOCK_TIMEOUT).expect("can be had");
    let payload = world.payload(ROOT, 2).to_string();
    let refused = run_hook(&world.dir, Event::UserPromptSubmit, payload.as_bytes(), |_| {});
    assert!(matches!(refused, Err(MarkerError::PutOff(_))));
    assert!(world.log().contains("user-prompt-submit"));
    drop(store);
    assert!(!world.is_active());
    world.heals_to(true);
    assert!(!world.dir.lifecycle_pending().exists());
    world.hook(Event::Stop, 2);
    world.heals_to(false);
}

#[test]
fn a_stop_that_was_put_off_comes_before_the_lines_behind_it() {
    let world = World::new();
    world.write(ROOT, &[("task_started", 2)]);
    world.hook(Event::UserPromptSubmit, 2);
    let stop = |world: &World| {
        let payload = Payload::read(world.payload(ROOT, 2).to_string().as_bytes()).expect("valid");
        put_off(&world.dir, &Run::new(Event::Stop, payload, 0).expect("taken")).expect("can be put off");
    };
    stop(&world);
    world.heals_to(false);
    // Another hook blocked it, and the turn went on before anyone heard of it.
    world.write(ROOT, &[("agent_message", 2)]);
    world.heals_to(true);
    stop(&world);
    world.write(ROOT, &[("agent_message", 2)]);
    world.heals_to(true);
}

#[test]
fn a_prompt_that_was_put_off_names_the_rollout_that_is_healed_from() {
    let world = World::new();
    world.write(ROOT, &[("task_started", 2), ("turn_aborted", 2)]);
    reset(&world.dir).expect("can be done");
    let payload = Payload::read(world.payload(ROOT, 2).to_string().as_bytes()).expect("valid");
    put_off(&world.dir, &Run::new(Event::UserPromptSubmit, payload, 0).expect("taken")).expect("can be put off");
    world.heals_to(false);
    assert_eq!(read(&world.dir).expect("can be had").root.phase, Phase::Over);
}

#[test]
fn a_nested_codex_is_told_with_what_was_put_off() {
    let world = World::new();
    reset(&world.dir).expect("can be done");
    let payload = Payload::read(world.payload(ROOT, 2).to_string().as_bytes()).expect("valid");
    put_off(&world.dir, &Run::new(Event::UserPromptSubmit, payload, 0).expect("taken")).expect("can be put off");
    let nested = world.payload(3, 4).to_string();
    run_hook(&world.dir, Event::UserPromptSubmit, nested.as_bytes(), |_| {}).expect("taken");
    let state = read(&world.dir).expect("can be had");
    assert_eq!(fs::read_to_string(world.dir.root_session()).expect("is there"), uuid(ROOT));
    assert_eq!(state.root.turn, turn(2));
}

#[test]
fn hooks_at_once_are_all_taken_in() {
    let world = World::new();
    world.hook(Event::UserPromptSubmit, 2);
    let all_run = |event| {
        std::thread::scope(|scope| {
            for agent in 3..11 {
                let world = &world;
                // On a slow machine some may be put off.
                scope.spawn(move || world.try_hook_of(event, agent, 20 + agent));
            }
        });
        recompute(&world.dir).expect("can be done").in_flight().count()
    };
    assert_eq!(all_run(Event::SubagentStart), 8);
    world.hook(Event::Stop, 2);
    assert!(world.is_active());
    assert_eq!(all_run(Event::SubagentStop), 0);
    assert!(!world.is_active());
    assert_eq!(fs::read_dir(world.dir.subagents()).expect("is there").count(), 0);
}

// ---- bad input ----

#[test]
fn evil_ids_are_logged_and_never_become_a_path() {
    let world = World::new();
    world.hook(Event::UserPromptSubmit, 2);
    let everything = |world: &World| {
        let mut names: Vec<PathBuf> = Vec::new();
        let mut folders = vec![world.dir.path().parent().expect("a folder").to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path.clone());
                }
                names.push(path);
            }
        }
        names.retain(|name| !name.starts_with(world.dir.path().join("events")));
        names.sort();
        names
    };
    let (before, state) = (everything(&world), read(&world.dir).expect("can be had"));
    let long = "x".repeat(5000);
    let evil = ["../../x", "..", ".", "", "a/b", "/tmp/x", "a\0b", "a\nb", "a\\..\\b", &long];
    for (count, id) in (1..).zip(evil) {
        for member in ["agent_id", "session_id"] {
            let mut payload = world.payload(ROOT, 6);
            payload["agent_id"] = uuid(5).into();
            payload[member] = id.into();
            for event in [Event::SubagentStart, Event::PreToolUse] {
                let refused = run_hook(&world.dir, event, payload.to_string().as_bytes(), |_| {});
                assert!(matches!(refused, Err(MarkerError::Payload(PayloadError::Id { .. }))), "{id:?}");
            }
        }
        assert_eq!(world.log().lines().count(), 4 * count);
    }
    assert_eq!((everything(&world), read(&world.dir).expect("can be had")), (before, state));
}

#[test]
fn what_is_no_payload_is_logged_and_changes_nothing() {
    let world = World::new();
    world.hook(Event::UserPromptSubmit, 2);
    let state = read(&world.dir).expect("can be had");
    for payload in ["", "{}", "[]", "{\"session_id\":", "\0", "null"] {
        for (_, event) in Event::ALL {
            assert!(run_hook(&world.dir, event, payload.as_bytes(), |_| {}).is_err());
        }
    }
    assert_eq!(read(&world.dir).expect("can be had"), state);
    assert_eq!(world.log().lines().count(), 6 * Event::ALL.len());
}

#[test]
fn without_a_state_dir_nothing_is_made() {
    let world = World::new();
    let dir = StateDir::new(world.dir.path().join("none"));
    assert!(run_hook(&dir, Event::Stop, world.payload(ROOT, 2).to_string().as_bytes(), |_| {}).is_err());
    assert!(!dir.path().exists());
}

#[test]
fn a_damaged_state_is_logged_and_begun_anew() {
    let world = World::new();
    world.hook(Event::UserPromptSubmit, 2);
    fs::write(world.dir.lifecycle(), [7; 5000]).expect("can be written");
    world.hook(Event::PreToolUse, 2);
    assert!(world.is_active() && world.log().contains("damaged"));
    let logged = world.log();
    fs::write(world.dir.lifecycle(), [7; 5000]).expect("can be written");
    world.heals_to(false);
    assert_eq!(world.log().lines().count(), logged.lines().count() + 1);
}

#[test]
fn what_the_rollout_tells_is_known_also_where_the_state_was_lost() {
    let world = World::new();
    world.write(ROOT, &[("task_started", 2)]);
    world.hook(Event::UserPromptSubmit, 2);
    fs::write(world.dir.lifecycle(), [7; 5000]).expect("can be written");
    world.heals_to(true);
    fs::remove_file(world.dir.lifecycle()).expect("is there");
    reset(&world.dir).expect("can be done");
    world.heals_to(false);
    // The session is resumed: what a killed codex left open stays over.
    world.hook(Event::SessionStart, 2);
    world.hook(Event::PreToolUse, 2);
    world.heals_to(false);
}

/// Puts off the prompt of a session.
fn put_off_prompt(world: &World, session: u32, number: u32) {
    let payload = Payload::read(world.payload(session, number).to_string().as_bytes()).expect("valid");
    let run = Run::new(Event::UserPromptSubmit, payload, number.into()).expect("taken");
    put_off(&world.dir, &run).expect("can be put off");
}

#[test]
fn a_session_whose_prompt_was_put_off_is_told_from_a_nested_one_by_the_rollout() {
    for ends in [&["turn_aborted"][..], &[]] {
        let world = World::new();
        world.write(ROOT, &[("task_started", 2)]);
        world.hook(Event::UserPromptSubmit, 2);
        for end in ends {
            world.write(ROOT, &[(*end, 2)]);
        }
        put_off_prompt(&world, 3, 4);
        follow(&world.dir, None, &|_| None).expect("can be done");
        let session = fs::read_to_string(world.dir.root_session()).expect("is there");
        assert_eq!(session, uuid(if ends.is_empty() { ROOT } else { 3 }));
        assert!(world.is_active());
    }
}

#[test]
fn the_end_of_a_turn_is_found_in_a_compressed_rollout_too() {
    let world = World::new();
    world.hook(Event::UserPromptSubmit, 2);
    world.write(ROOT, &[("task_started", 2), ("turn_aborted", 2)]);
    let text = fs::read(world.rollout(ROOT)).expect("is there");
    let compressed = zstd::encode_all(&text[..], 0).expect("can be compressed");
    fs::write(world.rollout(ROOT).with_extension("jsonl.zst"), compressed).expect("can be written");
    fs::remove_file(world.rollout(ROOT)).expect("is there");
    let prompt = world.payload(3, 4).to_string();
    run_hook(&world.dir, Event::UserPromptSubmit, prompt.as_bytes(), |_| {}).expect("taken");
    assert_eq!(fs::read_to_string(world.dir.root_session()).expect("is there"), uuid(3));
}

#[test]
fn each_rollout_that_was_current_among_runs_that_were_put_off_is_listed() {
    let world = World::new();
    reset(&world.dir).expect("can be done");
    let end = |session: u32, number: u32| world.write(session, &[("task_started", number), ("task_complete", number)]);
    let mut expected = Vec::new();
    for (sessions, first) in [([3, 5, 3], 10), ([3, 5, 6], 20), ([6, 7, 6], 30)] {
        for (session, number) in sessions.into_iter().zip(first..) {
            end(session, number);
            put_off_prompt(&world, session, number);
            if expected.last() != Some(&session) {
                expected.push(session);
            }
        }
        follow(&world.dir, None, &|_| None).expect("can be done");
        let listed = fs::read_to_string(world.dir.transcript_paths()).expect("is there");
        let expected: Vec<_> = expected.iter().map(|session| world.rollout(*session)).collect();
        assert_eq!(listed.lines().map(PathBuf::from).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_session_that_is_resumed_with_the_clock_before_its_making_counts_by_its_lines() {
    let world = World::new();
    reset(&world.dir).expect("can be done");
    let session = 8;
    world.write(session, &[("task_started", 9), ("task_complete", 9)]);
    put_off_prompt(&world, session, 9);
    reset(&world.dir).expect("can be done");
    world.write(session, &[("task_started", 4)]);
    world.heals_to(true);
    world.write(session, &[("task_complete", 4), ("task_started", 5)]);
    world.heals_to(true);
    world.write(session, &[("turn_aborted", 5)]);
    world.heals_to(false);
}

#[test]
fn a_rollout_that_was_written_anew_and_is_longer_than_it_was_is_read_from_its_start() {
    let world = World::new();
    world.write(ROOT, &[("task_started", 2)]);
    world.hook(Event::UserPromptSubmit, 2);
    world.heals_to(true);
    // The end stands where lines were read before, and what is behind it says nothing.
    let other = line("turn_aborted", 2) + &line("agent_message", 7).repeat(3);
    fs::write(world.rollout(ROOT), other).expect("can be written");
    world.heals_to(false);
}

#[test]
fn a_list_of_rollouts_that_cannot_be_written_keeps_no_run_from_being_taken_in() {
    let world = World::new();
    fs::create_dir(world.dir.transcript_paths()).expect("can be made");
    reset(&world.dir).expect("can be done");
    for (session, number) in [(3, 4), (5, 6), (7, 8)] {
        world.write(session, &[("task_started", number), ("task_complete", number)]);
        put_off_prompt(&world, session, number);
    }
    assert!(follow(&world.dir, None, &|_| None).is_err());
    let state = read(&world.dir).expect("can be had");
    assert_eq!((state.root.turn, world.log().contains("missing in the list of rollouts")), (turn(8), true));
    assert_eq!(fs::read_to_string(world.dir.root_session()).expect("is there"), uuid(7));
}
