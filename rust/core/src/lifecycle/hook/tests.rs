use super::*;
use crate::lifecycle::state::Phase;
use crate::rollout::ids::Name;

/// An id that sorts by `number`, of version 7.
fn uuid(number: u32) -> Name {
    Name::new(format!("01a20218-{number:04x}-7000-8000-00000000beef").as_bytes(), false)
}

/// A run of the root's hook in its session and turn.
fn run(event: Event, session: u32, turn: u32) -> Run {
    Run {
        event,
        session: ThreadId(uuid(session)),
        agent: None,
        turn: if turn == 0 { TurnId::default() } else { TurnId(uuid(turn)) },
        rollout: format!("/rollout-{session}"),
        rollout_size: 0,
        at: 0,
    }
}

/// A run of a subagent's hook.
fn of_subagent(event: Event, agent: u32, turn: u32) -> Run {
    let agent_id = Some(ThreadId(uuid(agent)));
    Run { agent: agent_id, rollout: format!("/rollout-{agent}"), ..run(event, 1, turn) }
}

fn state(runs: &[Run]) -> State {
    let mut state = State::default();
    for run in runs {
        run.apply(&mut state);
    }
    state
}

#[test]
fn every_event_has_a_name_of_its_own_in_kebab_case() {
    for (name, event) in Event::ALL {
        assert_eq!((Event::named(name), event.name()), (Some(event), name));
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
    }
    for unknown in ["", "Stop", "stop ", "notification", "user_prompt_submit", "session-started"] {
        assert_eq!(Event::named(unknown), None);
    }
}

#[test]
fn a_session_in_the_order_of_codex_is_at_work_from_prompt_to_stop() {
    let mut state = State::default();
    for (event, turn, is_active) in [
        (Event::SessionStart, 0, false),
        (Event::UserPromptSubmit, 2, true),
        (Event::PreModelRequest, 2, true),
        (Event::PostModelRequest, 2, true),
        (Event::PreToolUse, 2, true),
        (Event::PostToolUse, 2, true),
        (Event::Stop, 2, false),
        (Event::SessionEnd, 0, false),
        (Event::UserPromptSubmit, 3, true),
        (Event::Interrupt, 3, false),
        (Event::PostModelRequest, 3, false),
        (Event::PreToolUse, 3, false),
    ] {
        run(event, 1, turn).apply(&mut state);
        assert_eq!(state.is_active(), is_active, "{event:?} {turn}");
    }
}

#[test]
fn what_can_come_after_an_abort_is_no_sign_of_life() {
    for event in [
        Event::PostModelRequest,
        Event::SessionStart,
        Event::SessionEnd,
        Event::PreCompact,
        Event::PostCompact,
        Event::PermissionRequest,
    ] {
        let state = state(&[run(Event::UserPromptSubmit, 1, 2), run(Event::Stop, 1, 2), run(event, 1, 2)]);
        assert!(!state.is_active(), "{event:?}");
    }
    for event in [Event::PreModelRequest, Event::PreToolUse, Event::PostToolUse, Event::UserPromptSubmit] {
        let state = state(&[run(Event::UserPromptSubmit, 1, 2), run(Event::Stop, 1, 2), run(event, 1, 2)]);
        assert!(state.is_active(), "{event:?}");
    }
}

#[test]
fn an_approval_is_awaited_from_the_request_to_the_tools_end() {
    let mut state = state(&[run(Event::UserPromptSubmit, 1, 2), run(Event::PermissionRequest, 1, 2)]);
    assert!(state.is_asking());
    run(Event::PostToolUse, 1, 2).apply(&mut state);
    assert!(!state.is_asking());
}

#[test]
fn a_prompt_names_the_session_and_its_rollout() {
    let state = state(&[run(Event::UserPromptSubmit, 1, 2)]);
    assert_eq!((&state.session.0, &state.root.rollout[..]), (&uuid(1), "/rollout-1"));
}

#[test]
fn whatever_root_event_comes_first_names_the_session() {
    let state = state(&[run(Event::PreToolUse, 1, 2)]);
    assert_eq!((&state.session.0, &state.root.rollout[..]), (&uuid(1), "/rollout-1"));
    assert!(state.is_active());
}

#[test]
fn a_new_session_takes_the_place_of_an_idle_one_whose_late_events_say_nothing() {
    let mut state = state(&[
        run(Event::UserPromptSubmit, 1, 2),
        run(Event::Stop, 1, 2),
        run(Event::SessionStart, 3, 0),
        run(Event::UserPromptSubmit, 3, 4),
    ]);
    assert_eq!((&state.session.0, &state.root.rollout[..]), (&uuid(3), "/rollout-3"));
    for event in [Event::Stop, Event::Interrupt, Event::SessionEnd, Event::PreToolUse] {
        run(event, 1, 2).apply(&mut state);
        assert!(state.root.is_open() && state.session.0 == uuid(3), "{event:?}");
    }
    run(Event::Stop, 3, 4).apply(&mut state);
    run(Event::PreToolUse, 1, 2).apply(&mut state);
    assert!(!state.is_active());
}

#[test]
fn a_session_that_is_resumed_is_current_again_with_its_rollout() {
    let mut state = state(&[
        run(Event::UserPromptSubmit, 1, 2),
        run(Event::Stop, 1, 2),
        run(Event::UserPromptSubmit, 3, 4),
        run(Event::Stop, 3, 4),
        run(Event::SessionStart, 1, 0),
    ]);
    assert_eq!((&state.session.0, &state.root.rollout[..]), (&uuid(1), "/rollout-1"));
    assert!(!state.is_active());
    run(Event::UserPromptSubmit, 1, 5).apply(&mut state);
    assert!(state.is_active());
}

#[test]
fn going_back_in_a_session_makes_another_rollout_current() {
    let back = Run { rollout: "/rollout-1_back".to_owned(), ..run(Event::UserPromptSubmit, 1, 3) };
    let mut state = state(&[run(Event::UserPromptSubmit, 1, 2), run(Event::Stop, 1, 2)]);
    state.root.read = 100;
    back.apply(&mut state);
    assert_eq!((&state.root.rollout[..], state.root.read), ("/rollout-1_back", 0));
}

#[test]
fn a_codex_inside_a_turn_changes_nothing_its_late_events_included() {
    let mut state = state(&[run(Event::UserPromptSubmit, 1, 2)]);
    let subagent_of_it = Run { session: ThreadId(uuid(3)), ..of_subagent(Event::SubagentStart, 5, 6) };
    let nested = |state: &mut State| {
        let before = state.clone();
        for event in [Event::SessionStart, Event::UserPromptSubmit, Event::PreToolUse, Event::Stop, Event::SessionEnd] {
            run(event, 3, 4).apply(state);
        }
        subagent_of_it.apply(state);
        assert_eq!((&state.session, &state.root, &state.subagents), (&before.session, &before.root, &before.subagents));
    };
    nested(&mut state);
    run(Event::Stop, 1, 2).apply(&mut state);
    nested(&mut state);
    assert!(!state.is_active() && state.has_nested(&ThreadId(uuid(3))));
}

#[test]
fn a_codex_without_a_rollout_is_followed_by_its_hooks_alone() {
    let none = |event| Run { rollout: String::new(), ..run(event, 1, 2) };
    let mut state = state(&[none(Event::SessionStart), none(Event::UserPromptSubmit)]);
    assert!(state.is_active() && state.root.rollout.is_empty());
    none(Event::Stop).apply(&mut state);
    assert!(!state.is_active());
    none(Event::PreModelRequest).apply(&mut state);
    assert!(state.is_active());
}

#[test]
fn a_side_conversation_leaves_the_session_as_it_is() {
    let side = |event| Run { rollout: String::new(), ..run(event, 3, 4) };
    for is_open in [false, true] {
        let mut state = state(&[run(Event::UserPromptSubmit, 1, 2)]);
        if !is_open {
            run(Event::Stop, 1, 2).apply(&mut state);
        }
        let before = state.clone();
        for event in [Event::SessionStart, Event::UserPromptSubmit, Event::PreToolUse, Event::Stop, Event::SessionEnd] {
            side(event).apply(&mut state);
            assert_eq!((&state.session, &state.root), (&before.session, &before.root), "{event:?}");
        }
        run(Event::UserPromptSubmit, 1, 5).apply(&mut state);
        assert!(state.is_active());
    }
}

#[test]
fn a_session_that_names_its_rollout_late_is_none_beside() {
    let mut state = state(&[run(Event::UserPromptSubmit, 1, 2), run(Event::Stop, 1, 2)]);
    Run { rollout: String::new(), ..run(Event::SessionStart, 3, 0) }.apply(&mut state);
    assert_eq!(state.session.0, uuid(1));
    run(Event::UserPromptSubmit, 3, 4).apply(&mut state);
    assert_eq!((&state.session.0, &state.root.rollout[..]), (&uuid(3), "/rollout-3"));
    assert!(state.is_active());
}

#[test]
fn hooks_of_subagents_say_nothing_of_the_root() {
    let mut state = state(&[
        run(Event::UserPromptSubmit, 1, 2),
        of_subagent(Event::SubagentStart, 3, 4),
        of_subagent(Event::PreToolUse, 3, 4),
    ]);
    assert_eq!(&state.root.rollout[..], "/rollout-1");
    run(Event::Stop, 1, 2).apply(&mut state);
    assert!(state.is_active() && state.root.phase != Phase::Open);
    assert_eq!(state.subagents[0].thread.rollout, "/rollout-3");
    of_subagent(Event::SubagentStop, 3, 4).apply(&mut state);
    assert!(!state.is_active());
}

#[test]
fn a_subagent_that_is_only_heard_of_late_is_not_begun_by_that() {
    let state = state(&[run(Event::UserPromptSubmit, 1, 2), of_subagent(Event::PostModelRequest, 3, 4)]);
    assert!(state.subagents.is_empty());
}

// ---- from payloads ----

fn payload(json: &str) -> Payload {
    Payload::read(json.as_bytes()).expect("valid")
}

#[test]
fn a_run_is_of_the_thread_whose_hook_it_is() {
    let root = Run::new(Event::Stop, payload(r#"{"session_id":"s","transcript_path":"/none/a"}"#), 0).expect("taken");
    assert_eq!((root.who(), &root.rollout[..]), (Who::Root, "/none/a"));
    let json = r#"{"session_id":"s","agent_id":"a","transcript_path":"/none/a","agent_transcript_path":"/none/b"}"#;
    let child = Who::Subagent(ThreadId(Name::new(b"a", false)));
    for (event, rollout) in [(Event::PreToolUse, "/none/a"), (Event::SubagentStop, "/none/b")] {
        let run = Run::new(event, payload(json), 0).expect("taken");
        assert_eq!((run.who(), &run.rollout[..]), (child.clone(), rollout));
    }
}

#[test]
fn an_event_of_a_subagent_that_is_not_named_is_refused() {
    for event in [Event::SubagentStart, Event::SubagentStop] {
        for json in [r#"{"session_id":"s"}"#, r#"{"session_id":"s","agent_id":null}"#] {
            let refused = Run::new(event, payload(json), 0);
            assert!(matches!(refused, Err(PayloadError::Id { member: "agent_id", .. })));
        }
    }
}

#[test]
fn a_stop_says_how_large_its_rollout_is() {
    let rollout = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(rollout.path(), "12345").expect("can be written");
    let json = serde_json::json!({
        "session_id": "s", "agent_id": "a", "transcript_path": rollout.path(), "agent_transcript_path": "/none/a",
    });
    let size = |event, json: &str| Run::new(event, payload(json), 0).expect("taken").rollout_size;
    assert_eq!(size(Event::Stop, &json.to_string()), 5);
    assert_eq!(size(Event::SubagentStop, &json.to_string()), 0);
    assert_eq!(size(Event::PreToolUse, &json.to_string()), 0);
    // Without a rollout, nothing in one is a sign of life.
    assert_eq!(size(Event::Stop, r#"{"session_id":"s","transcript_path":null}"#), u64::MAX);
}

#[test]
fn a_turn_that_goes_on_in_another_file_brings_that_file() {
    for event in [Event::PreToolUse, Event::Stop] {
        let mut state = state(&[run(Event::UserPromptSubmit, 1, 2)]);
        // Of a turn before, and of none: late.
        for turn in [0, 1] {
            Run { rollout: "/other".into(), ..run(event, 1, turn) }.apply(&mut state);
            assert_eq!(state.root.rollout, "/rollout-1");
        }
        Run { rollout: "/other".into(), ..run(event, 1, 3) }.apply(&mut state);
        assert_eq!((state.root.rollout.as_str(), &state.root.turn), ("/other", &TurnId(uuid(3))));
    }
}

#[test]
fn the_end_of_a_session_begins_none() {
    assert_eq!(state(&[run(Event::SessionEnd, 1, 0)]), State::default());
}
