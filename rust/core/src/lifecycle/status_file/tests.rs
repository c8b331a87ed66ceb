use serde_json::{Value, json};

use super::*;
use crate::lifecycle::facts::{ContextSize, Facts, TurnError};
use crate::lifecycle::state::{Signal, SignalSource, ThreadKey};
use crate::rollout::ids::{Name, ThreadId, TurnId};

const ROOT: ThreadKey = ThreadKey::Root;

fn name(text: &str) -> Name {
    Name::new(text.as_bytes(), false)
}

/// A turn of this number, whose id has the time 1,000 × number.
fn turn(number: u64) -> TurnId {
    TurnId(name(&format!("{:08x}-{:04x}-7000-8000-00000000beef", (number * 1000) >> 16, (number * 1000) & 0xFFFF)))
}

fn session() -> ThreadId {
    ThreadId(name("session"))
}

/// Returns the state of an agent that was started at the time 500.
fn started() -> State {
    let mut state = State::default();
    state.reset(&TurnId::default(), None, 500);
    state.set_session(&session());
    state
}

fn hook(state: &mut State, number: u64, signal: Signal, at: u64) {
    state.apply(&ROOT, &turn(number), signal, SignalSource::Hook, at);
}

fn line(state: &mut State, number: u64, signal: Signal, at: u64) {
    state.apply(&ROOT, &turn(number), signal, SignalSource::Rollout, at);
}

fn facts() -> Facts {
    Facts { session: session(), ..Facts::default() }
}

fn error(message: &str, at: u64) -> TurnError {
    TurnError { message: message.to_owned(), at }
}

fn json_of(state: &State) -> Value {
    serde_json::from_slice(&Status::of(state).to_json()).expect("JSON")
}

const STOP: Signal = Signal::Stopped { rollout_size: 0 };

#[test]
fn all_members_are_there_even_if_nothing_is_known() {
    let expected = json!({
        "version": 1, "state": "UNKNOWN", "since": "1970-01-01T00:00:00.007Z", "waiting_reason": null,
        "session_id": null, "model": null, "turn_since": null, "idle_since": null, "context_tokens": null,
        "tokens": null, "last_compaction": null, "last_error": null,
    });
    let mut state = State::default();
    state.settle(7);
    assert_eq!(json_of(&state), expected);
    assert!(Status::of(&state).to_json().ends_with(b"}\n"));
}

#[test]
fn the_state_and_its_times_follow_a_turn() {
    let shown = |state: &State| {
        let status = json_of(state);
        let number = |name: &str| {
            let time = status[name].as_str()?;
            Some(humantime::parse_rfc3339(time).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis())
        };
        let text = |name: &str| status[name].as_str().unwrap_or_default().to_owned();
        (text("state"), text("waiting_reason"), number("since"), number("turn_since"), number("idle_since"))
    };
    let row = |state: &str, reason: &str, since, turn_since, idle_since| {
        (state.to_owned(), reason.to_owned(), Some(since), turn_since, idle_since)
    };
    let mut state = started();
    assert_eq!(shown(&state), row("WAITING", "END_OF_TURN", 500, None, Some(500)));
    hook(&mut state, 1, Signal::Prompted, 1010);
    assert_eq!(shown(&state), row("RUNNING", "", 1010, Some(1010), None));
    hook(&mut state, 1, Signal::SignOfLife, 1100);
    hook(&mut state, 1, Signal::AskedForApproval { rollout_size: 5 }, 1200);
    assert_eq!(shown(&state), row("WAITING", "PERMISSIONS", 1200, Some(1010), None));
    hook(&mut state, 1, Signal::SignOfLife, 1300);
    assert_eq!(shown(&state), row("RUNNING", "", 1300, Some(1010), None));
    hook(&mut state, 1, Signal::AskedQuestion { rollout_size: 5 }, 1400);
    assert_eq!(shown(&state), row("WAITING", "QUESTION", 1400, Some(1010), None));
    hook(&mut state, 1, STOP, 1500);
    assert_eq!(shown(&state), row("WAITING", "END_OF_TURN", 1500, None, Some(1500)));
    // Another hook blocks the end of the turn.
    hook(&mut state, 1, Signal::SignOfLife, 1600);
    assert_eq!(shown(&state), row("RUNNING", "", 1600, Some(1010), None));
    // Its last line is read later, and changes nothing.
    hook(&mut state, 1, STOP, 1700);
    line(&mut state, 1, Signal::Ended, 1800);
    assert_eq!(shown(&state), row("WAITING", "END_OF_TURN", 1700, None, Some(1700)));
    state.end(1900);
    assert_eq!(shown(&state), row("ENDED", "", 1900, None, Some(1700)));
    state.end(1950);
    assert_eq!(shown(&state), row("ENDED", "", 1900, None, Some(1700)));
    // Another start.
    state.reset(&TurnId::default(), None, 2000);
    assert_eq!(shown(&state), row("WAITING", "END_OF_TURN", 2000, None, Some(1700)));
    // The turn began when its id says, and the line was read later.
    line(&mut state, 3, Signal::Began, 3200);
    assert_eq!(shown(&state), row("RUNNING", "", 3200, Some(3000), None));
    state.reset(&TurnId::default(), None, 3300);
    assert_eq!(shown(&state), row("WAITING", "END_OF_TURN", 3300, None, Some(3300)));
    // Begun and over before anybody has read the rollout.
    line(&mut state, 4, Signal::Began, 4500);
    line(&mut state, 4, Signal::Ended, 4500);
    assert_eq!(shown(&state), row("WAITING", "END_OF_TURN", 4500, None, Some(4500)));
}

#[test]
fn an_agent_is_idle_when_its_last_subagent_is() {
    let mut state = started();
    let child = ThreadKey::Subagent(ThreadId(name("child")));
    hook(&mut state, 1, Signal::Prompted, 1000);
    state.apply(&child, &turn(2), Signal::Began, SignalSource::Hook, 1100);
    hook(&mut state, 1, STOP, 1200);
    assert_eq!((json_of(&state)["state"].as_str(), state.timeline().since), (Some("RUNNING"), 1000));
    assert_eq!(json_of(&state)["turn_since"], Value::Null);
    state.apply(&child, &turn(2), Signal::Ended, SignalSource::Hook, 1300);
    assert_eq!((state.timeline().since, state.timeline().idle_since), (1300, Some(1300)));
}

#[test]
fn a_turn_that_runs_after_the_end_of_codex_shows_that_codex_runs() {
    let mut state = started();
    state.end(600);
    hook(&mut state, 1, Signal::Prompted, 1000);
    hook(&mut state, 1, STOP, 1100);
    assert_eq!(json_of(&state)["waiting_reason"], "END_OF_TURN");
}

#[test]
fn the_facts_are_shown() {
    let mut state = started();
    let tokens = Tokens { input: 5, cached_input: 4, output: 3, reasoning_output: 2 };
    state.set_facts(Facts {
        model: Some("gpt \"x\"".to_owned()),
        context: Some(ContextSize { tokens: 70, line_end: 9 }),
        tokens: Some(tokens),
        compacted_at: Some(700),
        error: Some(error("no\nway", 800)),
        ..facts()
    });
    let status = json_of(&state);
    assert_eq!(status["session_id"], "session");
    assert_eq!(status["model"], "gpt \"x\"");
    assert_eq!(status["context_tokens"], 70);
    assert_eq!(status["tokens"], json!({"input": 5, "cached_input": 4, "output": 3, "reasoning_output": 2}));
    assert_eq!(status["last_compaction"], json!({"at": "1970-01-01T00:00:00.700Z", "trigger": null}));
    assert_eq!(status["last_error"], json!({"at": "1970-01-01T00:00:00.800Z", "message": "no\nway"}));
    // They belong to the session.
    state.set_facts(Facts { session: ThreadId(name("other")), ..facts() });
    assert_eq!(json_of(&state), status);
    state.set_session(&ThreadId(name("other")));
    for member in ["model", "context_tokens", "tokens", "last_compaction", "last_error"] {
        assert_eq!(json_of(&state)[member], Value::Null, "{member}");
    }
}

#[test]
fn the_error_of_an_earlier_turn_is_not_shown_during_a_later_one() {
    let mut state = started();
    hook(&mut state, 1, Signal::Prompted, 1000);
    let failed = || Facts { error: Some(error("1", 1500)), ..facts() };
    state.set_facts(failed());
    line(&mut state, 1, Signal::Ended, 1600);
    assert_eq!(json_of(&state)["last_error"]["message"], "1");
    hook(&mut state, 2, Signal::Prompted, 2000);
    assert_eq!(json_of(&state)["last_error"], Value::Null);
    // The watcher has not read the later turn yet.
    state.set_facts(failed());
    hook(&mut state, 2, STOP, 2500);
    assert_eq!(json_of(&state)["last_error"], Value::Null);
    // A turn that failed before anybody has read its beginning.
    state.set_facts(Facts { error: Some(error("3", 3100)), ..facts() });
    line(&mut state, 3, Signal::Began, 3300);
    line(&mut state, 3, Signal::Ended, 3300);
    assert_eq!(json_of(&state)["last_error"]["message"], "3");
    // A start does not change what the last turn did.
    state.reset(&TurnId::default(), None, 3400);
    assert_eq!(json_of(&state)["last_error"]["message"], "3");
    hook(&mut state, 4, Signal::Prompted, 4000);
    assert_eq!(json_of(&state)["last_error"], Value::Null);
}

// ---- compaction ----

const MANUAL: Option<Trigger> = Some(Trigger::Manual);
const AUTO: Option<Trigger> = Some(Trigger::Auto);

/// Returns an agent that has been idle since the time 1500.
fn idle() -> State {
    let mut state = started();
    hook(&mut state, 1, Signal::Prompted, 1000);
    hook(&mut state, 1, STOP, 1500);
    line(&mut state, 1, Signal::Ended, 1600);
    state
}

fn idle_since(state: &State) -> Option<u64> {
    assert_eq!(Status::of(state).state, "WAITING");
    state.timeline().idle_since
}

#[test]
fn a_turn_that_only_compacts_the_session_begins_no_idle_period() {
    for trigger in [MANUAL, None] {
        let mut state = idle();
        line(&mut state, 2, Signal::Began, 2000);
        assert_eq!(json_of(&state)["idle_since"], Value::Null);
        hook(&mut state, 2, Signal::Compacting { trigger }, 2001);
        line(&mut state, 2, Signal::CompactionRead, 2100);
        hook(&mut state, 2, Signal::Compacted { trigger, rollout_size: 50 }, 2200);
        assert_eq!(Status::of(&state).state, "RUNNING");
        line(&mut state, 2, Signal::Ended, 2300);
        assert_eq!((idle_since(&state), state.timeline().since), (Some(1500), 2300));
        // The next turn does.
        hook(&mut state, 3, Signal::Prompted, 3000);
        hook(&mut state, 3, STOP, 3500);
        assert_eq!(idle_since(&state), Some(3500));
    }
}

#[test]
fn a_compaction_without_hooks_begins_no_idle_period() {
    let mut state = idle();
    for (signal, at) in [(Signal::Began, 2000), (Signal::CompactionRead, 2100), (Signal::Ended, 2200)] {
        line(&mut state, 2, signal, at);
    }
    assert_eq!(idle_since(&state), Some(1500));
    // Its lines can be read at the same time.
    for signal in [Signal::Began, Signal::CompactionRead, Signal::Ended] {
        line(&mut state, 3, signal, 3000);
    }
    assert_eq!(idle_since(&state), Some(1500));
}

#[test]
fn a_compaction_without_a_rollout_is_over_with_its_last_hook() {
    let mut state = idle();
    hook(&mut state, 2, Signal::Compacting { trigger: MANUAL }, 2000);
    hook(&mut state, 2, Signal::Compacted { trigger: MANUAL, rollout_size: u64::MAX }, 2100);
    assert_eq!((idle_since(&state), state.timeline().since), (Some(1500), 2100));
    // The turn of an automatic one continues.
    hook(&mut state, 3, Signal::Prompted, 3000);
    hook(&mut state, 3, Signal::Compacting { trigger: AUTO }, 3100);
    hook(&mut state, 3, Signal::Compacted { trigger: AUTO, rollout_size: u64::MAX }, 3200);
    assert_eq!(Status::of(&state).state, "RUNNING");
}

#[test]
fn an_interrupted_compaction_begins_no_idle_period() {
    let mut state = idle();
    hook(&mut state, 2, Signal::Compacting { trigger: MANUAL }, 2000);
    hook(&mut state, 2, Signal::Ended, 2100);
    assert_eq!(idle_since(&state), Some(1500));
    let mut state = idle();
    hook(&mut state, 2, Signal::Compacting { trigger: MANUAL }, 2000);
    state.reset(&TurnId::default(), None, 2100);
    assert_eq!(idle_since(&state), Some(1500));
}

#[test]
fn any_other_turn_begins_an_idle_period_even_if_it_compacts_the_session() {
    let ends = |signals: &[(Signal, SignalSource)]| {
        let mut state = idle();
        for (signal, source) in signals {
            state.apply(&ROOT, &turn(2), *signal, *source, 2000);
        }
        line(&mut state, 2, Signal::Ended, 2500);
        idle_since(&state)
    };
    let (hook, line) = (SignalSource::Hook, SignalSource::Rollout);
    let compaction = (Signal::CompactionRead, line);
    let began = (Signal::Began, line);
    // `!cmd`.
    assert_eq!(ends(&[began]), Some(2500));
    // The context was full, before or after the prompt was read.
    assert_eq!(ends(&[(Signal::Prompted, hook), compaction]), Some(2500));
    assert_eq!(ends(&[began, compaction, (Signal::PromptRead, line)]), Some(2500));
    assert_eq!(ends(&[began, (Signal::PromptRead, line), compaction]), Some(2500));
    // A turn without a prompt, such as that of a goal.
    assert_eq!(ends(&[began, (Signal::Compacting { trigger: AUTO }, hook), compaction]), Some(2500));
    assert_eq!(ends(&[began, compaction, (Signal::Compacted { trigger: AUTO, rollout_size: 5 }, hook)]), Some(2500));
}

#[test]
fn a_compaction_after_a_turn_whose_end_was_not_noticed_ends_that_turn() {
    let mut state = idle();
    hook(&mut state, 2, Signal::Prompted, 2000);
    for (signal, at) in [(Signal::Began, 3000), (Signal::CompactionRead, 3100), (Signal::Ended, 3200)] {
        line(&mut state, 3, signal, at);
    }
    assert_eq!(idle_since(&state), Some(3000));
}

#[test]
fn a_subagent_that_works_during_a_compaction_begins_an_idle_period() {
    let mut state = idle();
    let child = ThreadKey::Subagent(ThreadId(name("child")));
    hook(&mut state, 2, Signal::Compacting { trigger: MANUAL }, 2000);
    state.apply(&child, &turn(3), Signal::Began, SignalSource::Hook, 2100);
    hook(&mut state, 2, Signal::Compacted { trigger: MANUAL, rollout_size: u64::MAX }, 2200);
    state.apply(&child, &turn(3), Signal::Ended, SignalSource::Hook, 2300);
    assert_eq!(idle_since(&state), Some(2300));
}

#[test]
fn the_size_of_the_context_before_a_compaction_is_not_shown() {
    let facts = |tokens, line_end| Facts { context: Some(ContextSize { tokens, line_end }), ..facts() };
    let shown = |state: &State| json_of(state)["context_tokens"].as_u64();
    let mut state = idle();
    state.root.set_rollout("/r/1");
    state.set_facts(facts(70, 900));
    assert_eq!(shown(&state), Some(70));
    state.begin_compaction(MANUAL, 2000);
    assert_eq!(shown(&state), Some(70));
    state.end_compaction(MANUAL, "/r/1", 1000, 2100);
    assert_eq!(shown(&state), None);
    // The watcher has not read the compaction yet.
    state.set_facts(facts(80, 1000));
    assert_eq!(shown(&state), None);
    state.set_facts(facts(20, 1001));
    assert_eq!(shown(&state), Some(20));
    // A start does not change that.
    state.end_compaction(MANUAL, "/r/1", 1100, 2200);
    state.reset(&TurnId::default(), None, 2300);
    state.set_facts(facts(20, 1001));
    assert_eq!(shown(&state), None);
    // The session continues in another rollout, which has other positions.
    state.root.set_rollout("/r/2");
    state.set_facts(facts(30, 500));
    assert_eq!(shown(&state), Some(30));
    state.end_compaction(MANUAL, "/r/1", 1100, 2400);
    assert_eq!(shown(&state), Some(30));
}

#[test]
fn the_last_compaction_is_shown_with_its_trigger() {
    let shown = |state: &State| state.last_compaction();
    let read = |at| Facts { compacted_at: Some(at), ..facts() };
    let mut state = idle();
    assert_eq!(shown(&state), None);
    state.begin_compaction(MANUAL, 2000);
    assert_eq!(shown(&state), None);
    // The line is written and read before the hook of the end runs.
    state.set_facts(read(2090));
    assert_eq!(shown(&state), Some((2090, MANUAL)));
    state.end_compaction(MANUAL, "", 0, 2100);
    assert_eq!(shown(&state), Some((2100, MANUAL)));
    // A compaction that was interrupted does not count.
    state.begin_compaction(AUTO, 3000);
    assert_eq!(shown(&state), Some((2100, MANUAL)));
    // Another one without hooks.
    let mut state = idle();
    state.end_compaction(MANUAL, "", 0, 2100);
    state.set_facts(read(2500));
    assert_eq!(shown(&state), Some((2500, None)));
    assert_eq!(json_of(&state)["last_compaction"], json!({"at": "1970-01-01T00:00:02.500Z", "trigger": null}));
    state.end_compaction(AUTO, "", 0, 2600);
    assert_eq!(json_of(&state)["last_compaction"], json!({"at": "1970-01-01T00:00:02.600Z", "trigger": "auto"}));
    state.reset(&TurnId::default(), None, 2700);
    assert_eq!(shown(&state), Some((2600, AUTO)));
    state.set_session(&ThreadId(name("other")));
    assert_eq!(shown(&state), None);
}
