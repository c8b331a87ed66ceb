use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::lifecycle::hook::HookEvent;
use crate::lifecycle::payload::{Payload, PayloadError};
use crate::lifecycle::state::Phase;
use crate::lifecycle::timeline::Activity;

/// Runs a hook as the program does.
fn run_hook(dir: &StateDir, event: HookEvent, payload: &[u8]) -> Result<(), MarkerError> {
    apply(dir, &HookRun::read(event, payload)?)
}

/// A Codex home and a state directory for one test.
struct World {
    _folder: TempDir,
    day: PathBuf,
    dir: StateDir,
}

/// Returns an id of version 7. Ids sort by `number`.
fn uuid(number: u32) -> String {
    format!("01a20218-{number:04x}-7000-8000-00000000beef")
}

fn turn(number: u32) -> TurnId {
    TurnId(crate::rollout::ids::Name::new(uuid(number).as_bytes(), false))
}

/// The root's session.
const ROOT: u32 = 1;

/// Returns a line of a rollout about a turn.
fn line(kind: &str, number: u32) -> String {
    json!({"type": "event_msg", "payload": {"type": kind, "turn_id": uuid(number)}}).to_string() + "\n"
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (day, state) = (folder.path().join("sessions/2026/11/22"), folder.path().join("state"));
        fs::create_dir_all(&day).expect("can be created");
        fs::create_dir(&state).expect("can be created");
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

    /// Runs a hook of the root.
    fn hook(&self, event: HookEvent, number: u32) {
        run_hook(&self.dir, event, self.payload(ROOT, number).to_string().as_bytes()).expect("applied");
    }

    /// Runs a hook of a subagent. It may be deferred.
    fn try_hook_of(&self, event: HookEvent, agent: u32, number: u32) -> Result<(), MarkerError> {
        let mut payload = self.payload(ROOT, number);
        payload["agent_id"] = uuid(agent).into();
        payload["agent_transcript_path"] = Value::from(self.rollout(agent).to_str());
        if event != HookEvent::SubagentStop {
            payload["transcript_path"] = Value::from(self.rollout(agent).to_str());
        }
        run_hook(&self.dir, event, payload.to_string().as_bytes())
    }

    fn hook_of(&self, event: HookEvent, agent: u32, number: u32) {
        self.try_hook_of(event, agent, number).expect("applied");
    }

    fn is_active(&self) -> bool {
        self.dir.active().exists()
    }

    fn reconciles_to(&self, is_active: bool) {
        let state = recompute(&self.dir).expect("succeeds");
        assert_eq!((state.is_active(), self.is_active()), (is_active, is_active));
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.log()).unwrap_or_default()
    }
}

#[test]
fn hooks_create_and_remove_the_marker() {
    let world = World::new();
    world.hook(HookEvent::UserPromptSubmit, 2);
    assert!(world.is_active());
    world.hook(HookEvent::Stop, 2);
    assert!(!world.is_active());
    assert_eq!(world.log(), "");
}

#[test]
fn an_interrupt_without_a_hook_is_found_in_the_rollout() {
    let world = World::new();
    world.write(ROOT, &[("task_started", 2)]);
    world.hook(HookEvent::UserPromptSubmit, 2);
    world.reconciles_to(true);
    world.write(ROOT, &[("turn_aborted", 2)]);
    world.reconciles_to(false);
    // A turn without a prompt's hook.
    world.write(ROOT, &[("task_started", 3)]);
    world.reconciles_to(true);
    world.write(ROOT, &[("task_complete", 3)]);
    world.reconciles_to(false);
}

#[test]
fn a_blocked_stop_is_undone_by_later_lines_of_the_rollout() {
    let world = World::new();
    world.write(ROOT, &[("task_started", 2), ("agent_message", 2)]);
    world.hook(HookEvent::UserPromptSubmit, 2);
    world.hook(HookEvent::Stop, 2);
    world.reconciles_to(false);
    world.write(ROOT, &[("agent_message", 2)]);
    world.reconciles_to(true);
    world.hook(HookEvent::Stop, 2);
    world.reconciles_to(false);
}

#[test]
fn a_subagent_whose_stop_is_missing_ends_with_its_rollout() {
    let world = World::new();
    world.hook(HookEvent::UserPromptSubmit, 2);
    // Copied history begins and ends no turn.
    world.write(5, &[("task_started", 2), ("turn_aborted", 2), ("task_started", 6)]);
    world.hook_of(HookEvent::SubagentStart, 5, 6);
    world.hook(HookEvent::Stop, 2);
    world.reconciles_to(true);
    world.write(5, &[("turn_aborted", 6)]);
    world.reconciles_to(false);
    world.write(5, &[("task_started", 7)]);
    world.reconciles_to(true);
    world.hook_of(HookEvent::SubagentStop, 5, 7);
    world.reconciles_to(false);
}

#[test]
fn an_unnamed_rollout_of_a_subagent_is_found_in_the_folder_of_the_roots_or_of_a_later_day() {
    for day in ["22", "24"] {
        let world = World::new();
        world.hook(HookEvent::UserPromptSubmit, 2);
        let mut payload = world.payload(ROOT, 6);
        payload["agent_id"] = uuid(5).into();
        payload["transcript_path"] = Value::Null;
        run_hook(&world.dir, HookEvent::SubagentStart, payload.to_string().as_bytes()).expect("applied");
        world.hook(HookEvent::Stop, 2);
        world.reconciles_to(true);
        let folder = world.day.with_file_name(day);
        fs::create_dir_all(&folder).expect("can be created");
        let name = world.rollout(5).file_name().expect("a name").to_owned();
        fs::write(folder.join(name), line("turn_aborted", 6)).expect("can be written");
        world.reconciles_to(false);
    }
}

#[test]
fn a_session_after_an_unreported_end_is_not_nested() {
    let world = World::new();
    world.write(ROOT, &[("task_started", 2)]);
    world.hook(HookEvent::UserPromptSubmit, 2);
    let prompt = |session: u32, number: u32| {
        let payload = world.payload(session, number).to_string();
        run_hook(&world.dir, HookEvent::UserPromptSubmit, payload.as_bytes()).expect("applied");
        fs::read_to_string(world.dir.root_session()).expect("it exists")
    };
    assert_eq!(prompt(3, 4), uuid(ROOT));
    world.write(ROOT, &[("turn_aborted", 2)]);
    // The rollout shows that the turn has ended.
    assert_eq!(prompt(5, 6), uuid(5));
    assert!(world.is_active());
    // A nested session stays nested.
    assert_eq!(prompt(3, 7), uuid(5));
}

#[test]
fn a_reset_closes_all_turns_and_existing_lines_do_not_reopen_them() {
    let world = World::new();
    world.write(ROOT, &[("task_started", 2)]);
    world.hook(HookEvent::UserPromptSubmit, 2);
    world.hook(HookEvent::PermissionRequest, 2);
    world.write(5, &[("task_started", 6)]);
    world.hook_of(HookEvent::SubagentStart, 5, 6);
    // A turn whose lines were not read yet.
    world.write(ROOT, &[("task_started", 7)]);
    reset(&world.dir).expect("succeeds");
    let dir = &world.dir;
    for removed in [dir.active(), dir.root_active(), dir.permissions_waiting(), dir.subagents().join(uuid(5))] {
        assert!(!removed.exists(), "{}", removed.display());
    }
    for kept in [dir.root_session(), dir.transcript_path(), dir.transcript_paths()] {
        assert!(kept.exists(), "{}", kept.display());
    }
    world.reconciles_to(false);
    for number in [2, 6, 7] {
        world.hook(HookEvent::PreToolUse, number);
        world.hook_of(HookEvent::PreToolUse, 5, number);
    }
    world.write(ROOT, &[("agent_message", 7)]);
    world.reconciles_to(false);
    world.write(ROOT, &[("task_started", 8)]);
    world.reconciles_to(true);
}

#[test]
fn the_end_of_a_session_reads_the_ends_of_all_open_turns() {
    let world = World::new();
    world.write(ROOT, &[("task_started", 2)]);
    world.hook(HookEvent::UserPromptSubmit, 2);
    world.write(5, &[("task_started", 6)]);
    world.hook_of(HookEvent::SubagentStart, 5, 6);
    world.write(ROOT, &[("task_complete", 2)]);
    world.write(5, &[("turn_aborted", 6)]);
    let mut payload = world.payload(ROOT, 0);
    payload["turn_id"] = Value::Null;
    run_hook(&world.dir, HookEvent::SessionEnd, payload.to_string().as_bytes()).expect("applied");
    assert!(!world.is_active());
    let state = read(&world.dir).expect("can be read");
    assert_eq!((state.root.phase, state.subagents[0].thread.phase), (Phase::Over, Phase::Over));
    // Lines that are read later change nothing.
    world.reconciles_to(false);
    assert_eq!(world.log(), "");
}

#[test]
fn the_end_of_another_session_reads_nothing() {
    let world = World::new();
    world.write(ROOT, &[("task_started", 2)]);
    world.hook(HookEvent::UserPromptSubmit, 2);
    world.write(ROOT, &[("task_complete", 2)]);
    world.write(9, &[("task_started", 10), ("task_complete", 10)]);
    let before = read(&world.dir).expect("can be read").root;
    // A session that the root's turn does not know belongs to a Codex that runs as a tool, unless the turn is over.
    run_hook(&world.dir, HookEvent::SessionEnd, world.payload(9, 10).to_string().as_bytes()).expect("applied");
    let after = read(&world.dir).expect("can be read").root;
    assert_eq!((&after.turn, after.rollout), (&before.turn, before.rollout));
}

#[test]
fn turns_that_a_codex_left_open_are_closed_unless_another_was_started() {
    let world = World::new();
    reset(&world.dir).expect("succeeds");
    let resets = read(&world.dir).expect("can be read").resets;
    world.write(ROOT, &[("task_started", 2)]);
    world.hook(HookEvent::UserPromptSubmit, 2);
    world.hook(HookEvent::PermissionRequest, 2);
    let after_restart = resets + 1;
    end(&world.dir, after_restart).expect("succeeds");
    assert!(world.dir.root_active().exists() && world.dir.permissions_waiting().exists());
    end(&world.dir, resets).expect("succeeds");
    assert!(!world.is_active() && !world.dir.permissions_waiting().exists());
    assert_eq!(read(&world.dir).expect("can be read").resets, after_restart);
    world.write(ROOT, &[("task_started", 8)]);
    world.reconciles_to(true);
    end(&world.dir, resets).expect("succeeds");
    assert!(world.is_active());
}

#[test]
fn the_end_of_an_idle_codex_is_shown_until_the_next_start() {
    let world = World::new();
    world.write(ROOT, &[("task_started", 2), ("task_complete", 2)]);
    world.hook(HookEvent::UserPromptSubmit, 2);
    world.reconciles_to(false);
    let shown = || {
        let state = read(&world.dir).expect("can be read");
        (state.timeline().activity, state.timeline().idle_since, state.root, state.resets)
    };
    let (activity, idle_since, root, resets) = shown();
    assert_eq!(activity, Activity::Idle);
    end(&world.dir, resets + 1).expect("succeeds");
    assert_eq!(shown(), (Activity::Idle, idle_since, root.clone(), resets));
    end(&world.dir, resets).expect("succeeds");
    assert_eq!(shown(), (Activity::Ended, idle_since, root, resets));
    reset(&world.dir).expect("succeeds");
    let (activity, still_idle_since, ..) = shown();
    assert_eq!((activity, still_idle_since), (Activity::Idle, idle_since));
}

#[test]
fn a_reset_of_an_empty_state_creates_only_the_state() {
    let world = World::new();
    reset(&world.dir).expect("succeeds");
    world.reconciles_to(false);
    assert_eq!(fs::read_dir(world.dir.path()).expect("it exists").count(), 1);
    let gone = StateDir::new(world.dir.path().join("none"));
    assert!(matches!(reset(&gone), Err(MarkerError::Store(StoreError::NoStateDir(_)))));
    assert!(matches!(read(&gone), Err(MarkerError::Store(StoreError::NoStateDir(_)))));
    assert!(!gone.path().exists());
}

#[test]
fn a_rewritten_rollout_is_read_from_its_start() {
    let world = World::new();
    let rolled_back = json!({"type": "event_msg", "payload": {"type": "thread_rolled_back"}}).to_string() + "\n";
    let before = line("task_started", 2) + &line("task_complete", 2) + &rolled_back;
    fs::write(world.rollout(ROOT), before.clone() + &"junk\n".repeat(50) + &line("task_started", 3)).expect("written");
    world.hook(HookEvent::UserPromptSubmit, 3);
    world.reconciles_to(true);
    // The turn that was rolled back is not the current one.
    fs::write(world.rollout(ROOT), before + &line("task_started", 3)).expect("can be written");
    world.reconciles_to(true);
    world.write(ROOT, &[("task_complete", 3)]);
    world.reconciles_to(false);
}

#[test]
fn only_hooks_count_if_the_rollout_is_missing_or_unreadable() {
    let world = World::new();
    world.hook(HookEvent::UserPromptSubmit, 2);
    world.reconciles_to(true);
    assert_eq!(world.log(), "");
    fs::create_dir(world.rollout(ROOT)).expect("can be created");
    world.reconciles_to(true);
    assert!(world.log().contains("cannot read"));
    world.hook(HookEvent::Stop, 2);
    assert!(!world.is_active());
}

// ---- locks ----

#[test]
fn a_hook_that_cannot_acquire_the_lock_is_applied_later() {
    let world = World::new();
    world.hook(HookEvent::SessionStart, 2);
    let store = Store::open(&world.dir, LOCK_TIMEOUT).expect("can be opened");
    let payload = world.payload(ROOT, 2).to_string();
    let rejected = run_hook(&world.dir, HookEvent::UserPromptSubmit, payload.as_bytes());
    assert!(matches!(rejected, Err(MarkerError::Deferred(_))));
    drop(store);
    assert!(!world.is_active());
    world.reconciles_to(true);
    assert!(!world.dir.lifecycle_pending().exists());
    world.hook(HookEvent::Stop, 2);
    world.reconciles_to(false);
}

#[test]
fn a_deferred_stop_is_applied_before_later_lines() {
    let world = World::new();
    world.write(ROOT, &[("task_started", 2)]);
    world.hook(HookEvent::UserPromptSubmit, 2);
    let stop = |world: &World| {
        let payload = Payload::read(world.payload(ROOT, 2).to_string().as_bytes(), false).expect("valid");
        defer(&world.dir, &HookRun::new(HookEvent::Stop, payload, 0).expect("applied")).expect("can be deferred");
    };
    stop(&world);
    world.reconciles_to(false);
    // Another hook blocked it, and the turn continued before the run was applied.
    world.write(ROOT, &[("agent_message", 2)]);
    world.reconciles_to(true);
    stop(&world);
    world.write(ROOT, &[("agent_message", 2)]);
    world.reconciles_to(true);
}

#[test]
fn a_deferred_prompt_names_the_rollout_to_read() {
    let world = World::new();
    world.write(ROOT, &[("task_started", 2), ("turn_aborted", 2)]);
    reset(&world.dir).expect("succeeds");
    let payload = Payload::read(world.payload(ROOT, 2).to_string().as_bytes(), false).expect("valid");
    defer(&world.dir, &HookRun::new(HookEvent::UserPromptSubmit, payload, 0).expect("applied"))
        .expect("can be deferred");
    world.reconciles_to(false);
    assert_eq!(read(&world.dir).expect("can be opened").root.phase, Phase::Over);
}

#[test]
fn deferred_runs_are_applied_before_a_session_is_classified() {
    let world = World::new();
    reset(&world.dir).expect("succeeds");
    let payload = Payload::read(world.payload(ROOT, 2).to_string().as_bytes(), false).expect("valid");
    defer(&world.dir, &HookRun::new(HookEvent::UserPromptSubmit, payload, 0).expect("applied"))
        .expect("can be deferred");
    let nested = world.payload(3, 4).to_string();
    run_hook(&world.dir, HookEvent::UserPromptSubmit, nested.as_bytes()).expect("applied");
    let state = read(&world.dir).expect("can be opened");
    assert_eq!(fs::read_to_string(world.dir.root_session()).expect("it exists"), uuid(ROOT));
    assert_eq!(state.root.turn, turn(2));
}

#[test]
fn concurrent_hooks_are_all_applied() {
    let world = World::new();
    world.hook(HookEvent::UserPromptSubmit, 2);
    let all_run = |event| {
        std::thread::scope(|scope| {
            for agent in 3..11 {
                let world = &world;
                // On a slow machine some may be deferred.
                scope.spawn(move || world.try_hook_of(event, agent, 20 + agent));
            }
        });
        recompute(&world.dir).expect("succeeds").in_flight().count()
    };
    assert_eq!(all_run(HookEvent::SubagentStart), 8);
    world.hook(HookEvent::Stop, 2);
    assert!(world.is_active());
    assert_eq!(all_run(HookEvent::SubagentStop), 0);
    assert!(!world.is_active());
    assert_eq!(fs::read_dir(world.dir.subagents()).expect("it exists").count(), 0);
}

// ---- bad input ----

#[test]
fn unusable_ids_are_rejected_and_never_become_a_path() {
    let world = World::new();
    world.hook(HookEvent::UserPromptSubmit, 2);
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
    let (before, state) = (everything(&world), read(&world.dir).expect("can be opened"));
    let long = "x".repeat(5000);
    let unusable = ["../../x", "..", ".", "", "a/b", "/tmp/x", "a\0b", "a\nb", "a\\..\\b", &long];
    for id in unusable {
        for member in ["agent_id", "session_id"] {
            let mut payload = world.payload(ROOT, 6);
            payload["agent_id"] = uuid(5).into();
            payload[member] = id.into();
            for event in [HookEvent::SubagentStart, HookEvent::PreToolUse] {
                let rejected = run_hook(&world.dir, event, payload.to_string().as_bytes());
                assert!(matches!(rejected, Err(MarkerError::Payload(PayloadError::Id { .. }))), "{id:?}");
            }
        }
    }
    assert_eq!((everything(&world), read(&world.dir).expect("can be opened")), (before, state));
}

#[test]
fn an_invalid_payload_is_rejected_and_changes_nothing() {
    let world = World::new();
    world.hook(HookEvent::UserPromptSubmit, 2);
    let state = read(&world.dir).expect("can be opened");
    for payload in ["", "{}", "[]", "{\"session_id\":", "\0", "null"] {
        for (_, event) in HookEvent::ALL {
            assert!(run_hook(&world.dir, event, payload.as_bytes()).is_err());
        }
    }
    assert_eq!(read(&world.dir).expect("can be opened"), state);
}

#[test]
fn nothing_is_created_without_a_state_directory() {
    let world = World::new();
    let dir = StateDir::new(world.dir.path().join("none"));
    assert!(run_hook(&dir, HookEvent::Stop, world.payload(ROOT, 2).to_string().as_bytes()).is_err());
    assert!(!dir.path().exists());
}

#[test]
fn a_damaged_state_is_logged_and_replaced() {
    let world = World::new();
    world.hook(HookEvent::UserPromptSubmit, 2);
    fs::write(world.dir.lifecycle(), [7; 5000]).expect("can be written");
    world.hook(HookEvent::PreToolUse, 2);
    assert!(world.is_active() && world.log().contains("damaged"));
    let logged = world.log();
    fs::write(world.dir.lifecycle(), [7; 5000]).expect("can be written");
    world.reconciles_to(false);
    assert_eq!(world.log().lines().count(), logged.lines().count() + 1);
}

#[test]
fn a_lost_state_is_restored_from_the_rollout() {
    let world = World::new();
    world.write(ROOT, &[("task_started", 2)]);
    world.hook(HookEvent::UserPromptSubmit, 2);
    fs::write(world.dir.lifecycle(), [7; 5000]).expect("can be written");
    world.reconciles_to(true);
    fs::remove_file(world.dir.lifecycle()).expect("it exists");
    reset(&world.dir).expect("succeeds");
    world.reconciles_to(false);
    // The session is resumed. The turn that the killed Codex left open stays over.
    world.hook(HookEvent::SessionStart, 2);
    world.hook(HookEvent::PreToolUse, 2);
    world.reconciles_to(false);
}

/// Defers the prompt of a session.
fn defer_prompt(world: &World, session: u32, number: u32) {
    let payload = Payload::read(world.payload(session, number).to_string().as_bytes(), false).expect("valid");
    let run = HookRun::new(HookEvent::UserPromptSubmit, payload, number.into()).expect("applied");
    defer(&world.dir, &run).expect("can be deferred");
}

#[test]
fn the_rollout_shows_whether_a_deferred_prompt_is_of_a_nested_session() {
    for ends in [&["turn_aborted"][..], &[]] {
        let world = World::new();
        world.write(ROOT, &[("task_started", 2)]);
        world.hook(HookEvent::UserPromptSubmit, 2);
        for end in ends {
            world.write(ROOT, &[(*end, 2)]);
        }
        defer_prompt(&world, 3, 4);
        reconcile(&world.dir, None, &|_| None).expect("succeeds");
        let session = fs::read_to_string(world.dir.root_session()).expect("it exists");
        assert_eq!(session, uuid(if ends.is_empty() { ROOT } else { 3 }));
        assert!(world.is_active());
    }
}

#[test]
fn the_end_of_a_turn_is_found_in_a_compressed_rollout() {
    let world = World::new();
    world.hook(HookEvent::UserPromptSubmit, 2);
    world.write(ROOT, &[("task_started", 2), ("turn_aborted", 2)]);
    let text = fs::read(world.rollout(ROOT)).expect("it exists");
    let compressed = zstd::encode_all(&text[..], 0).expect("can be compressed");
    fs::write(world.rollout(ROOT).with_extension("jsonl.zst"), compressed).expect("can be written");
    fs::remove_file(world.rollout(ROOT)).expect("it exists");
    let prompt = world.payload(3, 4).to_string();
    run_hook(&world.dir, HookEvent::UserPromptSubmit, prompt.as_bytes()).expect("applied");
    assert_eq!(fs::read_to_string(world.dir.root_session()).expect("it exists"), uuid(3));
}

#[test]
fn every_rollout_that_became_current_among_deferred_runs_is_listed() {
    let world = World::new();
    reset(&world.dir).expect("succeeds");
    let end = |session: u32, number: u32| world.write(session, &[("task_started", number), ("task_complete", number)]);
    let mut expected = Vec::new();
    for (sessions, first) in [([3, 5, 3], 10), ([3, 5, 6], 20), ([6, 7, 6], 30)] {
        for (session, number) in sessions.into_iter().zip(first..) {
            end(session, number);
            defer_prompt(&world, session, number);
            if expected.last() != Some(&session) {
                expected.push(session);
            }
        }
        reconcile(&world.dir, None, &|_| None).expect("succeeds");
        let listed = fs::read_to_string(world.dir.transcript_paths()).expect("it exists");
        let expected: Vec<_> = expected.iter().map(|session| world.rollout(*session)).collect();
        assert_eq!(listed.lines().map(PathBuf::from).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_session_that_is_resumed_after_the_clock_was_set_back_counts_by_positions() {
    let world = World::new();
    reset(&world.dir).expect("succeeds");
    let session = 8;
    world.write(session, &[("task_started", 9), ("task_complete", 9)]);
    defer_prompt(&world, session, 9);
    reset(&world.dir).expect("succeeds");
    world.write(session, &[("task_started", 4)]);
    world.reconciles_to(true);
    world.write(session, &[("task_complete", 4), ("task_started", 5)]);
    world.reconciles_to(true);
    world.write(session, &[("turn_aborted", 5)]);
    world.reconciles_to(false);
}

#[test]
fn a_rewritten_rollout_that_is_longer_than_before_is_read_from_its_start() {
    let world = World::new();
    world.write(ROOT, &[("task_started", 2)]);
    world.hook(HookEvent::UserPromptSubmit, 2);
    world.reconciles_to(true);
    // The end is at an offset that was read before, and the lines after it are not signals.
    let other = line("turn_aborted", 2) + &line("agent_message", 7).repeat(3);
    fs::write(world.rollout(ROOT), other).expect("can be written");
    world.reconciles_to(false);
}

#[test]
fn runs_are_applied_even_if_the_list_of_rollouts_cannot_be_written() {
    let world = World::new();
    fs::create_dir(world.dir.transcript_paths()).expect("can be created");
    reset(&world.dir).expect("succeeds");
    for (session, number) in [(3, 4), (5, 6), (7, 8)] {
        world.write(session, &[("task_started", number), ("task_complete", number)]);
        defer_prompt(&world, session, number);
    }
    assert!(reconcile(&world.dir, None, &|_| None).is_err());
    let state = read(&world.dir).expect("can be opened");
    assert_eq!((state.root.turn, world.log().contains("to the list of rollouts")), (turn(8), true));
    assert_eq!(fs::read_to_string(world.dir.root_session()).expect("it exists"), uuid(7));
}
