use super::*;
use crate::lifecycle::state::{Phase, RequestKind};
use crate::rollout::ids::Name;

/// Returns an id of version 7. Ids sort by `number`.
fn uuid(number: u32) -> Name {
    Name::new(format!("01a20218-{number:04x}-7000-8000-00000000beef").as_bytes(), false)
}

/// Returns a run of a root's hook.
fn run(event: HookEvent, session: u32, turn: u32) -> HookRun {
    HookRun {
        event,
        session: ThreadId(uuid(session)),
        agent: None,
        turn: if turn == 0 { TurnId::default() } else { TurnId(uuid(turn)) },
        rollout: format!("/rollout-{session}"),
        rollout_size: 0,
        is_question: false,
        trigger: None,
        at: 0,
        folder: None,
    }
}

/// Returns a run of a subagent's hook.
fn of_subagent(event: HookEvent, agent: u32, turn: u32) -> HookRun {
    let agent_id = Some(ThreadId(uuid(agent)));
    HookRun { agent: agent_id, rollout: format!("/rollout-{agent}"), ..run(event, 1, turn) }
}

fn state(runs: &[HookRun]) -> State {
    let mut state = State::default();
    for run in runs {
        run.apply_to(&mut state);
    }
    state
}

#[test]
fn every_event_has_a_unique_name_in_kebab_case() {
    for (name, event) in HookEvent::ALL {
        assert_eq!(HookEvent::from_name(name), Some(event));
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
    }
    for unknown in ["", "Stop", "stop ", "notification", "user_prompt_submit", "session-started"] {
        assert_eq!(HookEvent::from_name(unknown), None);
    }
}

#[test]
fn a_typical_session_is_running_from_prompt_to_stop() {
    let mut state = State::default();
    for (event, turn, is_active) in [
        (HookEvent::SessionStart, 0, false),
        (HookEvent::UserPromptSubmit, 2, true),
        (HookEvent::PreModelRequest, 2, true),
        (HookEvent::PostModelRequest, 2, true),
        (HookEvent::PreToolUse, 2, true),
        (HookEvent::PostToolUse, 2, true),
        (HookEvent::Stop, 2, false),
        (HookEvent::SessionEnd, 0, false),
        (HookEvent::UserPromptSubmit, 3, true),
        (HookEvent::Interrupt, 3, false),
        (HookEvent::PostModelRequest, 3, false),
        (HookEvent::PreToolUse, 3, false),
    ] {
        run(event, 1, turn).apply_to(&mut state);
        assert_eq!(state.is_active(), is_active, "{event:?} {turn}");
    }
}

#[test]
fn events_that_can_follow_an_abort_are_not_signs_of_life() {
    for event in [
        HookEvent::PostModelRequest,
        HookEvent::SessionStart,
        HookEvent::SessionEnd,
        HookEvent::PreCompact,
        HookEvent::PostCompact,
        HookEvent::PermissionRequest,
    ] {
        let state = state(&[run(HookEvent::UserPromptSubmit, 1, 2), run(HookEvent::Stop, 1, 2), run(event, 1, 2)]);
        assert!(!state.is_active(), "{event:?}");
    }
    for event in
        [HookEvent::PreModelRequest, HookEvent::PreToolUse, HookEvent::PostToolUse, HookEvent::UserPromptSubmit]
    {
        let state = state(&[run(HookEvent::UserPromptSubmit, 1, 2), run(HookEvent::Stop, 1, 2), run(event, 1, 2)]);
        assert!(state.is_active(), "{event:?}");
    }
}

#[test]
fn an_approval_is_pending_from_the_request_to_the_end_of_the_tool() {
    let mut state = state(&[run(HookEvent::UserPromptSubmit, 1, 2), run(HookEvent::PermissionRequest, 1, 2)]);
    assert!((state.request() == Some(RequestKind::Approval)));
    run(HookEvent::PostToolUse, 1, 2).apply_to(&mut state);
    assert!(!(state.request() == Some(RequestKind::Approval)));
}

#[test]
fn a_prompt_names_the_session_and_its_rollout() {
    let state = state(&[run(HookEvent::UserPromptSubmit, 1, 2)]);
    assert_eq!((&state.session.0, &state.root.rollout[..]), (&uuid(1), "/rollout-1"));
}

#[test]
fn the_first_event_of_the_root_names_the_session() {
    let state = state(&[run(HookEvent::PreToolUse, 1, 2)]);
    assert_eq!((&state.session.0, &state.root.rollout[..]), (&uuid(1), "/rollout-1"));
    assert!(state.is_active());
}

#[test]
fn a_new_session_replaces_an_idle_one_whose_late_events_change_nothing() {
    let mut state = state(&[
        run(HookEvent::UserPromptSubmit, 1, 2),
        run(HookEvent::Stop, 1, 2),
        run(HookEvent::SessionStart, 3, 0),
        run(HookEvent::UserPromptSubmit, 3, 4),
    ]);
    assert_eq!((&state.session.0, &state.root.rollout[..]), (&uuid(3), "/rollout-3"));
    for event in [HookEvent::Stop, HookEvent::Interrupt, HookEvent::SessionEnd, HookEvent::PreToolUse] {
        run(event, 1, 2).apply_to(&mut state);
        assert!(state.root.is_open() && state.session.0 == uuid(3), "{event:?}");
    }
    run(HookEvent::Stop, 3, 4).apply_to(&mut state);
    run(HookEvent::PreToolUse, 1, 2).apply_to(&mut state);
    assert!(!state.is_active());
}

#[test]
fn a_resumed_session_is_current_again_with_its_rollout() {
    let mut state = state(&[
        run(HookEvent::UserPromptSubmit, 1, 2),
        run(HookEvent::Stop, 1, 2),
        run(HookEvent::UserPromptSubmit, 3, 4),
        run(HookEvent::Stop, 3, 4),
        run(HookEvent::SessionStart, 1, 0),
    ]);
    assert_eq!((&state.session.0, &state.root.rollout[..]), (&uuid(1), "/rollout-1"));
    assert!(!state.is_active());
    run(HookEvent::UserPromptSubmit, 1, 5).apply_to(&mut state);
    assert!(state.is_active());
}

#[test]
fn a_backtrack_makes_another_rollout_current() {
    let back = HookRun { rollout: "/rollout-1_back".to_owned(), ..run(HookEvent::UserPromptSubmit, 1, 3) };
    let mut state = state(&[run(HookEvent::UserPromptSubmit, 1, 2), run(HookEvent::Stop, 1, 2)]);
    state.root.read_offset = 100;
    back.apply_to(&mut state);
    assert_eq!((&state.root.rollout[..], state.root.read_offset), ("/rollout-1_back", 0));
}

#[test]
fn a_nested_codex_changes_nothing_not_even_with_late_events() {
    let mut state = state(&[run(HookEvent::UserPromptSubmit, 1, 2)]);
    let subagent_of_it = HookRun { session: ThreadId(uuid(3)), ..of_subagent(HookEvent::SubagentStart, 5, 6) };
    let nested = |state: &mut State| {
        let before = state.clone();
        for event in [
            HookEvent::SessionStart,
            HookEvent::UserPromptSubmit,
            HookEvent::PreToolUse,
            HookEvent::Stop,
            HookEvent::SessionEnd,
        ] {
            run(event, 3, 4).apply_to(state);
        }
        subagent_of_it.apply_to(state);
        assert_eq!((&state.session, &state.root, &state.subagents), (&before.session, &before.root, &before.subagents));
    };
    nested(&mut state);
    run(HookEvent::Stop, 1, 2).apply_to(&mut state);
    nested(&mut state);
    assert!(!state.is_active() && state.has_nested(&ThreadId(uuid(3))));
}

#[test]
fn a_codex_without_a_rollout_is_tracked_by_its_hooks() {
    let none = |event| HookRun { rollout: String::new(), ..run(event, 1, 2) };
    let mut state = state(&[none(HookEvent::SessionStart), none(HookEvent::UserPromptSubmit)]);
    assert!(state.is_active() && state.root.rollout.is_empty());
    none(HookEvent::Stop).apply_to(&mut state);
    assert!(!state.is_active());
    none(HookEvent::PreModelRequest).apply_to(&mut state);
    assert!(state.is_active());
}

#[test]
fn a_side_conversation_does_not_change_the_session() {
    let side = |event| HookRun { rollout: String::new(), ..run(event, 3, 4) };
    for is_open in [false, true] {
        let mut state = state(&[run(HookEvent::UserPromptSubmit, 1, 2)]);
        if !is_open {
            run(HookEvent::Stop, 1, 2).apply_to(&mut state);
        }
        let before = state.clone();
        for event in [
            HookEvent::SessionStart,
            HookEvent::UserPromptSubmit,
            HookEvent::PreToolUse,
            HookEvent::Stop,
            HookEvent::SessionEnd,
        ] {
            side(event).apply_to(&mut state);
            assert_eq!((&state.session, &state.root), (&before.session, &before.root), "{event:?}");
        }
        run(HookEvent::UserPromptSubmit, 1, 5).apply_to(&mut state);
        assert!(state.is_active());
    }
}

#[test]
fn a_session_that_names_its_rollout_late_is_not_a_side_conversation() {
    let mut state = state(&[run(HookEvent::UserPromptSubmit, 1, 2), run(HookEvent::Stop, 1, 2)]);
    HookRun { rollout: String::new(), ..run(HookEvent::SessionStart, 3, 0) }.apply_to(&mut state);
    assert_eq!(state.session.0, uuid(1));
    run(HookEvent::UserPromptSubmit, 3, 4).apply_to(&mut state);
    assert_eq!((&state.session.0, &state.root.rollout[..]), (&uuid(3), "/rollout-3"));
    assert!(state.is_active());
}

#[test]
fn hooks_of_subagents_do_not_affect_the_root() {
    let mut state = state(&[
        run(HookEvent::UserPromptSubmit, 1, 2),
        of_subagent(HookEvent::SubagentStart, 3, 4),
        of_subagent(HookEvent::PreToolUse, 3, 4),
    ]);
    assert_eq!(&state.root.rollout[..], "/rollout-1");
    run(HookEvent::Stop, 1, 2).apply_to(&mut state);
    assert!(state.is_active() && state.root.phase != Phase::Open);
    assert_eq!(state.subagents[0].thread.rollout, "/rollout-3");
    of_subagent(HookEvent::SubagentStop, 3, 4).apply_to(&mut state);
    assert!(!state.is_active());
}

#[test]
fn a_late_event_of_an_unknown_subagent_does_not_begin_a_turn() {
    let state = state(&[run(HookEvent::UserPromptSubmit, 1, 2), of_subagent(HookEvent::PostModelRequest, 3, 4)]);
    assert!(state.subagents.is_empty());
}

// ---- payloads ----

fn payload(json: &str) -> Payload {
    Payload::read(json.as_bytes(), false).expect("valid")
}

#[test]
fn a_run_belongs_to_the_thread_whose_hook_ran() {
    let root =
        HookRun::new(HookEvent::Stop, payload(r#"{"session_id":"s","transcript_path":"/none/a"}"#), 0).expect("usable");
    assert_eq!((root.thread(), &root.rollout[..]), (ThreadKey::Root, "/none/a"));
    let json = r#"{"session_id":"s","agent_id":"a","transcript_path":"/none/a","agent_transcript_path":"/none/b"}"#;
    let child = ThreadKey::Subagent(ThreadId(Name::new(b"a", false)));
    for (event, rollout) in [(HookEvent::PreToolUse, "/none/a"), (HookEvent::SubagentStop, "/none/b")] {
        let run = HookRun::new(event, payload(json), 0).expect("usable");
        assert_eq!((run.thread(), &run.rollout[..]), (child.clone(), rollout));
    }
}

#[test]
fn an_event_of_an_unnamed_subagent_is_rejected() {
    for event in [HookEvent::SubagentStart, HookEvent::SubagentStop] {
        for json in [r#"{"session_id":"s"}"#, r#"{"session_id":"s","agent_id":null}"#] {
            let rejected = HookRun::new(event, payload(json), 0);
            assert!(matches!(rejected, Err(PayloadError::Id { member: "agent_id", .. })));
        }
    }
}

#[test]
fn a_stop_contains_the_size_of_its_rollout() {
    let rollout = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(rollout.path(), "12345").expect("can be written");
    let json = serde_json::json!({
        "session_id": "s", "agent_id": "a", "transcript_path": rollout.path(), "agent_transcript_path": "/none/a",
    });
    let size = |event, json: &str| HookRun::new(event, payload(json), 0).expect("usable").rollout_size;
    assert_eq!(size(HookEvent::Stop, &json.to_string()), 5);
    assert_eq!(size(HookEvent::SubagentStop, &json.to_string()), 0);
    assert_eq!(size(HookEvent::PreToolUse, &json.to_string()), 0);
    // If the rollout is unknown, no line is a sign of life.
    assert_eq!(size(HookEvent::Stop, r#"{"session_id":"s","transcript_path":null}"#), u64::MAX);
}

#[test]
fn a_turn_that_continues_in_another_file_makes_it_current() {
    for event in [HookEvent::PreToolUse, HookEvent::Stop] {
        let mut state = state(&[run(HookEvent::UserPromptSubmit, 1, 2)]);
        // Events of an earlier turn and without a turn are late.
        for turn in [0, 1] {
            HookRun { rollout: "/other".into(), ..run(event, 1, turn) }.apply_to(&mut state);
            assert_eq!(state.root.rollout, "/rollout-1");
        }
        HookRun { rollout: "/other".into(), ..run(event, 1, 3) }.apply_to(&mut state);
        assert_eq!((state.root.rollout.as_str(), &state.root.turn), ("/other", &TurnId(uuid(3))));
    }
}

#[test]
fn the_end_of_an_unknown_session_does_not_begin_it() {
    assert_eq!(state(&[run(HookEvent::SessionEnd, 1, 0)]), State::default());
}
