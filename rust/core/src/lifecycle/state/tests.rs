use proptest::prelude::*;

use super::*;
use crate::rollout::ids::Name;

/// Returns an id of version 7. Ids sort by `number`.
fn uuid(number: u32) -> Name {
    Name::new(format!("01a20218-{number:04x}-7000-8000-00000000beef").as_bytes(), false)
}

fn turn(number: u32) -> TurnId {
    TurnId(uuid(number))
}

fn subagent(number: u32) -> ThreadKey {
    ThreadKey::Subagent(ThreadId(uuid(number)))
}

const ROOT: ThreadKey = ThreadKey::Root;

/// Returns a state whose session id is earlier than any turn id.
fn state() -> State {
    let mut state = State { session: ThreadId(uuid(0)), ..State::default() };
    state.settle(1);
    state
}

impl State {
    /// Applies signals of hooks.
    fn hooks(&mut self, key: &ThreadKey, signals: &[(u32, Signal)]) -> &mut Self {
        for (number, signal) in signals {
            self.apply(key, &turn(*number), *signal, SignalSource::Hook, 0);
        }
        self
    }

    fn is_approval_pending(&self) -> bool {
        self.request() == Some(RequestKind::Approval)
    }

    fn is_question_open(&self) -> bool {
        self.request() == Some(RequestKind::Question)
    }

    /// Applies signals of a rollout's lines.
    fn lines(&mut self, key: &ThreadKey, signals: &[(u32, Signal)]) -> &mut Self {
        for (number, signal) in signals {
            self.apply(key, &turn(*number), *signal, SignalSource::Rollout, 0);
        }
        self
    }
}

const STOPS: Signal = Signal::Stopped { rollout_size: 100 };
const ASKS: Signal = Signal::AskedForApproval { rollout_size: 100 };
const QUESTION: Signal = Signal::AskedQuestion { rollout_size: 100 };
const SESSION_ENDS: Signal = Signal::SessionEnded { rollout_size: 100 };

// ---- a root turn ----

#[test]
fn a_turn_is_running_from_its_prompt_to_its_stop() {
    let mut state = state();
    assert!(!state.is_active());
    assert!(state.hooks(&ROOT, &[(1, Signal::Prompted)]).is_active());
    assert!(!state.hooks(&ROOT, &[(1, STOPS)]).is_active());
    assert!(state.hooks(&ROOT, &[(2, Signal::Prompted)]).is_active());
}

#[test]
fn a_turn_without_a_prompt_begins_and_ends_in_the_rollout() {
    let mut state = state();
    assert!(state.lines(&ROOT, &[(1, Signal::Began)]).is_active());
    assert!(!state.lines(&ROOT, &[(1, Signal::Ended)]).is_active());
}

#[test]
fn a_blocked_stop_is_undone_by_the_next_sign_of_life() {
    for life in [Signal::SignOfLife, Signal::Prompted] {
        let mut state = state();
        assert!(!state.hooks(&ROOT, &[(1, Signal::Prompted), (1, STOPS)]).is_active());
        assert!(state.hooks(&ROOT, &[(1, life)]).is_active());
        assert!(!state.hooks(&ROOT, &[(1, STOPS)]).is_active());
    }
}

#[test]
fn only_lines_after_the_size_at_the_stop_are_signs_of_life() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted), (1, STOPS)]);
    // Lines that were written before the stop may be read after it.
    assert!(!state.lines(&ROOT, &[(1, Signal::Began), (1, Signal::Named { line_end: 100 })]).is_active());
    assert!(state.lines(&ROOT, &[(1, Signal::Named { line_end: 101 })]).is_active());
    assert!(!state.hooks(&ROOT, &[(1, Signal::Stopped { rollout_size: 150 })]).is_active());
    assert!(!state.lines(&ROOT, &[(1, Signal::Named { line_end: 150 })]).is_active());
}

#[test]
fn of_two_stops_the_one_with_the_larger_rollout_counts() {
    for sizes in [[100, 200], [200, 100]] {
        let mut state = state();
        state.hooks(&ROOT, &[(1, Signal::Prompted)]);
        state.hooks(&ROOT, &sizes.map(|rollout_size| (1, Signal::Stopped { rollout_size })));
        assert!(!state.lines(&ROOT, &[(1, Signal::Named { line_end: 200 })]).is_active());
        assert!(state.lines(&ROOT, &[(1, Signal::Named { line_end: 201 })]).is_active());
    }
}

#[test]
fn a_stop_with_an_unknown_rollout_is_undone_only_by_hooks() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted), (1, Signal::Stopped { rollout_size: u64::MAX })]);
    assert!(!state.lines(&ROOT, &[(1, Signal::Named { line_end: 1 << 40 })]).is_active());
    assert!(state.hooks(&ROOT, &[(1, Signal::SignOfLife)]).is_active());
}

#[test]
fn a_prompt_during_a_turn_belongs_to_that_turn() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted), (1, Signal::Prompted)]);
    assert!(!state.hooks(&ROOT, &[(1, STOPS)]).is_active());
}

#[test]
fn an_interrupted_turn_stays_over() {
    for is_line in [false, true] {
        let mut state = state();
        state.hooks(&ROOT, &[(1, Signal::Prompted)]);
        let ended = [(1, Signal::Ended)];
        if is_line {
            state.lines(&ROOT, &ended)
        } else {
            state.hooks(&ROOT, &ended)
        };
        let over = state.clone();
        state.hooks(
            &ROOT,
            &[(1, Signal::SignOfLife), (1, Signal::Prompted), (1, ASKS), (1, STOPS), (1, Signal::SignOfLife)],
        );
        state.lines(&ROOT, &[(1, Signal::Named { line_end: 1 << 40 }), (1, Signal::Began)]);
        assert!(!state.is_active() && state.root.phase == over.root.phase && state.root.evidence == over.root.evidence);
    }
}

#[test]
fn a_prompt_after_the_interrupt_of_its_turn_changes_nothing() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Ended), (1, Signal::Prompted), (1, Signal::SignOfLife)]);
    assert!(!state.is_active());
}

#[test]
fn a_later_turn_replaces_the_earlier_one_and_late_signals_change_nothing() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted), (2, Signal::Prompted)]);
    let before = state.clone();
    state.hooks(&ROOT, &[(1, STOPS), (1, Signal::Ended), (1, Signal::SignOfLife)]).lines(&ROOT, &[(1, Signal::Ended)]);
    assert_eq!(state, before);
    assert!(!state.hooks(&ROOT, &[(2, STOPS), (1, Signal::SignOfLife)]).is_active());
}

#[test]
fn a_turn_that_begins_after_the_latest_one_in_the_rollout_is_later_even_if_the_clock_was_set_back() {
    let mut state = state();
    state.lines(&ROOT, &[(5, Signal::Began), (5, Signal::Ended)]);
    assert!(!state.hooks(&ROOT, &[(3, Signal::Prompted)]).is_active());
    assert!(state.lines(&ROOT, &[(3, Signal::Began)]).is_active());
    assert!(!state.hooks(&ROOT, &[(3, STOPS)]).is_active());
    // If only a hook has reported the latest turn, its position is unknown.
    state.hooks(&ROOT, &[(7, Signal::Prompted), (7, STOPS)]);
    assert!(!state.lines(&ROOT, &[(6, Signal::Began)]).is_active());
    // A rewritten rollout is read from its start, so its lines are not new.
    state.lines(&ROOT, &[(7, Signal::Began)]);
    state.root.reset_position();
    assert!(!state.lines(&ROOT, &[(6, Signal::Began)]).is_active());
}

#[test]
fn a_signal_without_a_turn_is_for_the_latest_turn() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted)]);
    state.apply(&ROOT, &TurnId::default(), STOPS, SignalSource::Hook, 0);
    assert!(!state.is_active());
    assert_eq!(state.root.turn, turn(1));
}

#[test]
fn turns_with_other_ids_are_ordered_by_their_signals() {
    let mut state = state();
    let [one, other] = ["one", "other"].map(|id| TurnId(Name::new(id.as_bytes(), false)));
    state.apply(&ROOT, &one, Signal::Prompted, SignalSource::Hook, 0);
    state.apply(&ROOT, &one, Signal::Ended, SignalSource::Hook, 0);
    state.apply(&ROOT, &other, Signal::Prompted, SignalSource::Hook, 0);
    assert!(state.is_active() && state.root.turn == other);
    state.apply(&ROOT, &other, STOPS, SignalSource::Hook, 0);
    assert!(!state.is_active());
}

#[test]
fn lines_that_only_name_a_turn_do_not_begin_it() {
    let mut state = state();
    let before = state.clone();
    state.lines(&ROOT, &[(1, Signal::Named { line_end: 5 })]);
    assert_eq!(state, before);
    state.hooks(&ROOT, &[(1, Signal::Prompted), (1, STOPS)]).lines(&ROOT, &[(2, Signal::Named { line_end: 500 })]);
    assert!(!state.is_active() && state.root.turn == turn(1));
}

#[test]
fn a_turn_that_was_rolled_back_is_over_if_its_beginning_was_read() {
    let mut state = state();
    let back = |state: &mut State| state.apply(&ROOT, &TurnId::default(), Signal::RolledBack, SignalSource::Rollout, 0);
    state.hooks(&ROOT, &[(1, Signal::Prompted)]);
    // Another turn was rolled back, because this one is not in the rollout yet.
    back(&mut state);
    assert!(state.is_active());
    state.lines(&ROOT, &[(1, Signal::Began)]);
    back(&mut state);
    assert!(!state.is_active());
    state.hooks(&ROOT, &[(2, Signal::Prompted)]);
    back(&mut state);
    assert!(state.is_active());
    // The rollout is read from its start, so the rollback may be an earlier one.
    state.lines(&ROOT, &[(2, Signal::Began)]);
    state.root.reset_position();
    back(&mut state);
    assert!(state.is_active());
}

#[test]
fn a_rollback_before_any_turn_changes_nothing() {
    let mut state = state();
    let before = state.clone();
    state.apply(&ROOT, &TurnId::default(), Signal::RolledBack, SignalSource::Rollout, 0);
    assert_eq!(state, before);
}

#[test]
fn history_copied_from_another_thread_begins_and_ends_no_turn() {
    let child = subagent(5);
    let mut state = state();
    state.hooks(&ROOT, &[(4, Signal::Prompted)]).hooks(&child, &[(6, Signal::Began)]);
    let before = state.clone();
    // Turns that are older than the child belong to its parent.
    state.lines(
        &child,
        &[(4, Signal::Began), (4, Signal::Ended), (5, Signal::Began), (4, Signal::Named { line_end: 9 })],
    );
    assert_eq!(state, before);
    state.lines(&child, &[(6, Signal::Ended)]);
    assert!(state.root.is_open() && state.in_flight().next().is_none());
}

#[test]
fn the_evidence_is_the_first_signal_that_led_to_the_phase() {
    let mut state = state();
    let evidence = |source, signal, at| Some(Evidence { source, signal, at });
    state.apply(&ROOT, &turn(1), Signal::Prompted, SignalSource::Hook, 10);
    state.apply(&ROOT, &turn(1), Signal::Began, SignalSource::Rollout, 20);
    state.apply(&ROOT, &turn(1), Signal::SignOfLife, SignalSource::Hook, 30);
    assert_eq!(state.root.evidence, evidence(SignalSource::Hook, Signal::Prompted, 10));
    state.apply(&ROOT, &turn(1), Signal::Ended, SignalSource::Rollout, 40);
    state.apply(&ROOT, &turn(1), Signal::Ended, SignalSource::Hook, 50);
    assert_eq!(state.root.evidence, evidence(SignalSource::Rollout, Signal::Ended, 40));
}

// ---- subagents ----

#[test]
fn a_subagent_is_in_flight_from_its_start_to_its_stop() {
    let mut state = state();
    assert!(state.hooks(&subagent(5), &[(6, Signal::Began)]).is_active());
    assert!(!state.hooks(&subagent(5), &[(6, STOPS)]).is_active());
}

#[test]
fn a_child_prompt_after_the_roots_stop_keeps_the_agent_running() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted), (1, STOPS)]);
    assert!(state.hooks(&subagent(5), &[(6, Signal::Prompted)]).is_active());
    assert!(!state.root.is_open());
    assert!(!state.hooks(&subagent(5), &[(6, STOPS)]).is_active());
}

#[test]
fn a_start_after_the_stop_of_its_turn_changes_nothing() {
    let mut state = state();
    state.hooks(&subagent(5), &[(6, STOPS), (6, Signal::Began)]).lines(&subagent(5), &[(6, Signal::Began)]);
    assert!(!state.is_active());
}

#[test]
fn a_subagent_can_have_a_later_turn() {
    let child = subagent(5);
    let mut state = state();
    state.hooks(&child, &[(6, Signal::Began), (6, STOPS)]);
    assert!(state.lines(&child, &[(7, Signal::Began)]).is_active());
    assert!(!state.lines(&child, &[(7, Signal::Ended)]).is_active());
    assert!(state.hooks(&child, &[(8, Signal::Prompted)]).is_active());
    assert_eq!(state.subagents.len(), 1);
}

#[test]
fn subagents_and_the_root_are_independent() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted)]);
    state.hooks(&subagent(5), &[(7, Signal::Began)]).hooks(&subagent(6), &[(8, Signal::Began)]);
    state.hooks(&ROOT, &[(1, Signal::Ended)]);
    assert_eq!(state.in_flight().count(), 2);
    state.hooks(&subagent(5), &[(7, STOPS)]);
    assert_eq!(state.in_flight().map(|one| one.id.clone()).collect::<Vec<_>>(), [ThreadId(uuid(6))]);
    assert!(state.is_active());
}

#[test]
fn subagents_in_flight_are_remembered_longest() {
    let limit = u32::try_from(MAX_SUBAGENTS).expect("small");
    let mut state = state();
    state.hooks(&subagent(1), &[(1000, Signal::Began)]);
    for number in 2..=limit + 50 {
        state.hooks(&subagent(number), &[(1000 + number, Signal::Began), (1000 + number, STOPS)]);
        assert!(state.subagents.len() <= MAX_SUBAGENTS && state.is_active());
    }
    assert_eq!(state.in_flight().count(), 1);
    for number in 1000..1000 + 2 * limit {
        state.hooks(&subagent(number), &[(5000 + number, Signal::Began)]);
        assert!(state.subagents.len() <= MAX_SUBAGENTS);
    }
    // If all are in flight, the oldest are forgotten.
    assert_eq!(state.subagents.last().map(|last| &last.id), Some(&ThreadId(uuid(1000 + 2 * limit - 1))));
    assert_eq!(state.in_flight().count(), MAX_SUBAGENTS);
}

// ---- approvals ----

#[test]
fn an_approval_is_pending_until_the_turn_continues_or_ends() {
    for after in [Signal::SignOfLife, Signal::Prompted, STOPS, Signal::Ended] {
        let mut state = state();
        state.hooks(&ROOT, &[(1, Signal::Prompted), (1, ASKS)]);
        assert!(state.is_approval_pending() && state.is_in_turn() && !state.is_active());
        // Late lines of the rollout are not an answer.
        state.lines(&ROOT, &[(1, Signal::Began), (1, Signal::Named { line_end: 1 })]);
        assert!(state.is_approval_pending());
        assert!(!state.hooks(&ROOT, &[(1, after)]).is_approval_pending(), "{after:?}");
    }
}

#[test]
fn an_approval_of_an_earlier_turn_is_not_pending() {
    for after in [Signal::Began, Signal::Prompted, Signal::SignOfLife] {
        let mut state = state();
        state.hooks(&ROOT, &[(1, Signal::Prompted), (1, ASKS), (2, after)]);
        assert!(!state.is_approval_pending() && state.is_active(), "{after:?}");
    }
}

#[test]
fn a_stopped_or_finished_turn_has_no_pending_approval() {
    for end in [STOPS, Signal::Ended] {
        let mut state = state();
        state.hooks(&ROOT, &[(1, Signal::Prompted), (1, end), (1, ASKS)]);
        assert!(!state.is_approval_pending() && !state.is_active());
    }
}

#[test]
fn an_approval_of_a_subagent_is_pending_while_the_root_continues() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted)]).hooks(&subagent(5), &[(6, ASKS)]);
    assert!(state.hooks(&ROOT, &[(1, Signal::SignOfLife)]).is_approval_pending());
    assert!(!state.hooks(&subagent(5), &[(6, Signal::SignOfLife)]).is_approval_pending());
}

// ---- questions ----

#[test]
fn a_question_is_open_until_the_turn_continues_or_ends() {
    for after in [Signal::SignOfLife, Signal::Prompted, STOPS, SESSION_ENDS, Signal::Ended] {
        let mut state = state();
        state.hooks(&ROOT, &[(1, Signal::Prompted), (1, QUESTION)]);
        assert!(state.is_question_open() && state.is_active());
        // Its call was written before the hook, and other calls can end later.
        let before = [Signal::Began, Signal::Named { line_end: 1 }, Signal::QuestionRead { line_end: 100 }];
        state
            .lines(&ROOT, &before.map(|signal| (1, signal)))
            .lines(&ROOT, &[(1, Signal::OutputRead { line_end: 100 })]);
        assert!(state.is_question_open());
        assert!(!state.hooks(&ROOT, &[(1, after)]).is_question_open(), "{after:?}");
    }
}

#[test]
fn the_output_of_a_call_answers_a_question_and_an_approval() {
    for asks in [ASKS, QUESTION] {
        let mut state = state();
        state
            .hooks(&ROOT, &[(1, Signal::Prompted), (1, asks)])
            .lines(&ROOT, &[(1, Signal::OutputRead { line_end: 101 })]);
        assert!(state.request().is_none() && state.is_active());
    }
}

#[test]
fn a_question_that_no_hook_has_reported_is_open_from_its_call_to_its_output() {
    let mut state = state();
    state.lines(&ROOT, &[(1, Signal::Began), (1, Signal::QuestionRead { line_end: 50 })]);
    assert!(state.is_question_open());
    assert!(!state.lines(&ROOT, &[(1, Signal::OutputRead { line_end: 60 })]).is_question_open());
}

#[test]
fn the_call_of_a_question_that_was_answered_does_not_open_it_again() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted), (1, QUESTION), (1, Signal::SignOfLife)]);
    assert!(!state.lines(&ROOT, &[(1, Signal::QuestionRead { line_end: 90 })]).is_question_open());
    assert!(state.lines(&ROOT, &[(1, Signal::QuestionRead { line_end: 190 })]).is_question_open());
}

#[test]
fn a_question_reopens_a_stopped_turn_and_no_other() {
    let mut state = state();
    assert!(state.hooks(&ROOT, &[(1, Signal::Prompted), (1, STOPS), (1, QUESTION)]).is_question_open());
    assert!(!state.hooks(&ROOT, &[(1, Signal::Ended), (1, QUESTION)]).is_question_open());
    assert!(!state.lines(&ROOT, &[(1, Signal::QuestionRead { line_end: 190 })]).is_question_open());
}

#[test]
fn an_approval_counts_more_than_a_question_of_another_thread() {
    for (root, child) in [(ASKS, QUESTION), (QUESTION, ASKS)] {
        let mut state = state();
        state.hooks(&ROOT, &[(1, root)]).hooks(&subagent(5), &[(6, child)]);
        assert!(state.is_approval_pending() && !state.is_active());
    }
}

// ---- the end of the session ----

#[test]
fn the_end_of_the_session_stops_a_running_turn_and_no_other() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, SESSION_ENDS)]);
    assert!(state.root.phase == Phase::None);
    assert!(!state.hooks(&ROOT, &[(1, Signal::Prompted), (1, SESSION_ENDS)]).is_active());
    // Lines that were written before it are read after it.
    assert!(!state.lines(&ROOT, &[(1, Signal::Began), (1, Signal::Named { line_end: 100 })]).is_active());
    state.lines(&ROOT, &[(1, Signal::Ended)]).hooks(&ROOT, &[(1, SESSION_ENDS)]);
    assert!(state.root.phase == Phase::Over);
}

#[test]
fn the_end_of_the_session_stops_subagents_until_their_next_hook() {
    let mut state = state();
    state.hooks(&subagent(5), &[(6, Signal::Began)]).hooks(&subagent(7), &[(8, Signal::Began), (8, Signal::Ended)]);
    state.stop_subagents(0);
    assert!(!state.is_active());
    state.lines(&subagent(5), &[(6, Signal::Began), (6, Signal::Named { line_end: 1 << 40 })]);
    assert!(!state.is_active());
    assert!(!state.hooks(&subagent(7), &[(8, Signal::SignOfLife)]).is_active());
    assert!(state.hooks(&subagent(5), &[(6, Signal::SignOfLife)]).is_active());
}

#[test]
fn a_late_end_of_a_session_is_undone_by_the_turn_that_began_since() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted), (1, SESSION_ENDS)]);
    assert!(state.lines(&ROOT, &[(1, Signal::Named { line_end: 101 })]).is_active());
    state.hooks(&ROOT, &[(1, SESSION_ENDS)]);
    assert!(state.hooks(&ROOT, &[(1, Signal::SignOfLife)]).is_active());
}

// ---- sessions ----

#[test]
fn a_new_session_ends_a_stopped_turn() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted), (1, STOPS)]);
    state.set_session(&ThreadId(uuid(2)));
    // The turn of the former session does not continue.
    assert!(!state.hooks(&ROOT, &[(1, Signal::SignOfLife)]).is_active());
    assert!(state.hooks(&ROOT, &[(3, Signal::Prompted)]).is_active());
}

#[test]
fn a_session_during_a_root_turn_is_nested_and_stays_nested() {
    let mut state = state();
    let other = ThreadId(uuid(9));
    assert!(!state.is_nested(&other, &ROOT));
    state.hooks(&ROOT, &[(1, Signal::Prompted)]);
    assert!(state.is_nested(&other, &ROOT) && !state.has_nested(&other));
    assert!(!state.is_nested(&ThreadId(uuid(0)), &ROOT));
    state.add_nested(&other);
    state.hooks(&ROOT, &[(1, STOPS)]);
    assert!(state.is_nested(&other, &ROOT) && state.has_nested(&other));
    assert!(!state.is_nested(&ThreadId(uuid(10)), &ROOT));
}

#[test]
fn a_former_session_is_never_remembered_as_nested() {
    let mut state = state();
    let [first, second] = [0, 9].map(|number| ThreadId(uuid(number)));
    state.set_session(&second);
    state.hooks(&ROOT, &[(10, Signal::Prompted)]);
    assert!(state.is_nested(&first, &ROOT));
    state.add_nested(&first);
    state.hooks(&ROOT, &[(10, STOPS)]);
    assert!(!state.is_nested(&first, &ROOT));
}

#[test]
fn a_new_session_does_not_keep_the_rollout() {
    let mut state = state();
    state.root.set_rollout("/rollout");
    state.set_session(&ThreadId(uuid(0)));
    assert_eq!(state.root.rollout, "/rollout");
    state.set_session(&ThreadId(uuid(9)));
    assert_eq!(state.root.rollout, "");
}

#[test]
fn a_known_subagent_is_never_nested() {
    let mut state = state();
    state.hooks(&subagent(5), &[(6, Signal::Began)]);
    state.set_session(&ThreadId(uuid(7)));
    state.hooks(&ROOT, &[(8, Signal::Prompted)]);
    assert!(!state.is_nested(&ThreadId(uuid(0)), &subagent(5)));
    // Subagents of the former session continue, including new ones.
    assert!(!state.is_nested(&ThreadId(uuid(0)), &subagent(6)));
    assert!(state.is_nested(&ThreadId(uuid(0)), &ROOT));
    assert!(state.is_nested(&ThreadId(uuid(9)), &subagent(6)));
}

#[test]
fn only_the_latest_32_nested_sessions_are_remembered() {
    let mut state = state();
    for number in 1..=40 {
        state.add_nested(&ThreadId(uuid(number)));
        state.add_nested(&ThreadId(uuid(number)));
    }
    assert_eq!(state.nested.len(), MAX_SESSIONS);
    assert!(state.has_nested(&ThreadId(uuid(40))) && state.has_nested(&ThreadId(uuid(9))));
    assert!(!state.has_nested(&ThreadId(uuid(8))));
}

// ---- reset ----

#[test]
fn a_reset_closes_all_turns_and_late_signals_do_not_reopen_them() {
    let mut state = state();
    state.root.set_rollout("/rollout");
    state.hooks(&ROOT, &[(1, Signal::Prompted), (1, ASKS)]).hooks(&subagent(5), &[(6, Signal::Began)]);
    state.reset(&TurnId::default(), None, 50);
    assert!(!state.is_active() && !state.is_approval_pending() && state.subagents.is_empty());
    assert_eq!((&state.session, &state.root.rollout[..]), (&ThreadId(uuid(0)), "/rollout"));
    let before = state.clone();
    for number in 1..=6 {
        state
            .hooks(&ROOT, &[(number, Signal::Prompted), (number, Signal::SignOfLife)])
            .lines(&ROOT, &[(number, Signal::Began)]);
        state.hooks(&subagent(5), &[(number, Signal::SignOfLife)]).lines(&subagent(5), &[(number, Signal::Began)]);
    }
    assert_eq!(state, before);
    assert!(state.hooks(&ROOT, &[(7, Signal::Prompted)]).is_active());
}

#[test]
fn a_turn_that_begins_after_a_reset_counts_even_if_the_clock_was_set_back() {
    for is_read in [false, true] {
        let mut state = state();
        state.root.set_rollout("/rollout");
        state.hooks(&ROOT, &[(5, Signal::Prompted)]);
        state.reset(&turn(6), is_read.then_some((100, [7; 16])), 50);
        assert_eq!(state.root.read_offset, if is_read { 100 } else { 0 });
        assert_eq!(state.lines(&ROOT, &[(4, Signal::Began)]).is_active(), is_read);
        assert_eq!(state.hooks(&ROOT, &[(4, STOPS), (4, Signal::SignOfLife)]).is_active(), is_read);
    }
}

#[test]
fn a_reset_also_closes_turns_that_only_a_rollout_names() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted)]);
    state.reset(&turn(3), None, 50);
    assert!(!state.hooks(&ROOT, &[(2, Signal::Prompted), (3, Signal::Prompted)]).is_active());
    // A later reset that knows fewer turns does not reopen any.
    state.reset(&turn(2), None, 50);
    assert!(!state.hooks(&ROOT, &[(3, Signal::Prompted)]).is_active());
    assert!(state.hooks(&ROOT, &[(4, Signal::Prompted)]).is_active());
}

#[test]
fn a_reset_closes_a_turn_with_another_id() {
    let mut state = state();
    let id = TurnId(Name::new(b"turn", false));
    state.apply(&ROOT, &id, Signal::Prompted, SignalSource::Hook, 0);
    state.reset(&TurnId::default(), None, 50);
    state.apply(&ROOT, &id, Signal::SignOfLife, SignalSource::Hook, 0);
    assert!(!state.is_active());
}

// ---- against a model ----

/// A signal or a reset.
#[derive(Clone, Debug)]
enum Step {
    Signal { thread: usize, turn: u32, signal: Signal, source: SignalSource },
    Reset,
}

/// A model that derives the state from the complete history.
#[derive(Default)]
struct Model {
    steps: Vec<Step>,
}

/// The signals that count for a turn, in order.
type TurnSignals = Vec<(Signal, SignalSource)>;

impl Model {
    /// Returns the turn up to which turns were closed by a reset.
    fn closed_through(&self, until: usize) -> u32 {
        let mut resets = self.steps[..until].iter().enumerate().filter(|(_, step)| matches!(step, Step::Reset));
        resets
            .next_back()
            .map_or(0, |(reset, _)| (0..THREADS.len()).map(|it| self.latest(it, reset)).max().unwrap_or(0))
    }

    /// Returns the latest turn of a thread, among those with a signal that can begin a turn and those that a reset closed.
    fn latest(&self, thread: usize, until: usize) -> u32 {
        let turns = self.steps[..until].iter().filter_map(|step| match step {
            Step::Signal { thread: of, turn, signal, source }
                if *of == thread && is_own(thread, *turn, *source) && !begins_no_turn(*signal) =>
            {
                Some(*turn)
            }
            _ => None,
        });
        turns.max().unwrap_or(0).max(self.closed_through(until))
    }

    /// Returns the signals of the thread's latest turn, starting with the first that can begin a turn.
    fn signals_of(&self, thread: usize) -> TurnSignals {
        let latest = self.latest(thread, self.steps.len());
        if latest <= self.closed_through(self.steps.len()) {
            return TurnSignals::new();
        }
        let own = self.steps.iter().filter_map(|step| match step {
            Step::Signal { thread: of, turn, signal, source }
                if *of == thread && (*turn == latest || *signal == Signal::RolledBack) =>
            {
                Some((*signal, *source))
            }
            _ => None,
        });
        own.skip_while(|(signal, _)| begins_no_turn(*signal)).collect()
    }

    fn phase(&self, thread: usize) -> &'static str {
        let signals = self.signals_of(thread);
        let began = signals.iter().position(|signal| *signal == (Signal::Began, SignalSource::Rollout));
        let is_back =
            began.is_some_and(|began| signals[began..].iter().any(|(signal, _)| *signal == Signal::RolledBack));
        match () {
            () if signals.is_empty() => "none",
            () if is_back || signals.iter().any(|(signal, _)| *signal == Signal::Ended) => "over",
            () if stopped_at(&signals).is_some() => "stopped",
            () => "open",
        }
    }

    fn request(&self, thread: usize) -> Option<RequestKind> {
        let signals = self.signals_of(thread);
        let (asked, request) =
            (0..signals.len()).rev().find_map(|at| Some((at, asks(&signals[..at], signals[at].0)?)))?;
        let is_answer = |signal: Signal| match signal {
            Signal::SignOfLife | Signal::Prompted | Signal::Stopped { .. } | Signal::SessionEnded { .. } => true,
            Signal::OutputRead { line_end } => line_end > request.rollout_size,
            _ => false,
        };
        let is_open = self.phase(thread) == "open" && !signals[asked..].iter().any(|(signal, _)| is_answer(*signal));
        is_open.then_some(request.kind)
    }
}

/// Returns the request that a signal opens after these signals of its turn.
fn asks(before: &[(Signal, SignalSource)], signal: Signal) -> Option<Request> {
    let questions_through = before.iter().rev().find_map(|(signal, _)| match signal {
        Signal::AskedQuestion { rollout_size } => Some(*rollout_size),
        _ => None,
    });
    let (kind, rollout_size) = match signal {
        Signal::AskedQuestion { rollout_size } => return Some(Request { kind: RequestKind::Question, rollout_size }),
        Signal::AskedForApproval { rollout_size } => (RequestKind::Approval, rollout_size),
        Signal::QuestionRead { line_end } if line_end > questions_through.unwrap_or(0) => {
            (RequestKind::Question, line_end)
        }
        _ => return None,
    };
    stopped_at(before).is_none().then_some(Request { kind, rollout_size })
}

/// Returns whether a signal cannot begin a turn.
fn begins_no_turn(signal: Signal) -> bool {
    matches!(
        signal,
        Signal::Named { .. }
            | Signal::RolledBack
            | Signal::QuestionRead { .. }
            | Signal::OutputRead { .. }
            | Signal::SessionEnded { .. }
    )
}

/// Returns whether a turn belongs to the thread and is not a copy.
fn is_own(thread: usize, turn: u32, source: SignalSource) -> bool {
    source == SignalSource::Hook || turn > THREADS[thread]
}

/// Returns the size at which the turn was stopped, or `None` if a sign of life followed.
fn stopped_at(signals: &[(Signal, SignalSource)]) -> Option<u64> {
    let (last, before) = signals.split_last()?;
    match (last.0, stopped_at(before)) {
        (Signal::SignOfLife | Signal::Prompted | Signal::AskedQuestion { .. }, _) => None,
        (Signal::SessionEnded { rollout_size }, size) => Some(size.unwrap_or(rollout_size)),
        (Signal::Stopped { rollout_size }, size) => Some(rollout_size.max(size.unwrap_or(0))),
        (Signal::Named { line_end }, size) => size.filter(|size| line_end <= *size),
        (_, size) => size,
    }
}

/// The numbers of the ids of the root and two subagents.
const THREADS: [u32; 3] = [0, 3, 5];

fn key(thread: usize) -> ThreadKey {
    if thread == 0 { ThreadKey::Root } else { subagent(THREADS[thread]) }
}

fn step() -> impl Strategy<Value = Step> {
    let hook = prop_oneof![
        3 => Just(Signal::Prompted),
        1 => Just(Signal::Began),
        3 => Just(Signal::SignOfLife),
        2 => (0_u64..4).prop_map(|rollout_size| Signal::AskedForApproval { rollout_size }),
        2 => (0_u64..4).prop_map(|rollout_size| Signal::AskedQuestion { rollout_size }),
        1 => (0_u64..4).prop_map(|rollout_size| Signal::SessionEnded { rollout_size }),
        3 => (0_u64..4).prop_map(|rollout_size| Signal::Stopped { rollout_size }),
        1 => Just(Signal::Ended),
    ];
    let line = prop_oneof![
        3 => Just(Signal::Began),
        1 => Just(Signal::Ended),
        4 => (0_u64..6).prop_map(|line_end| Signal::Named { line_end }),
        2 => (0_u64..6).prop_map(|line_end| Signal::QuestionRead { line_end }),
        2 => (0_u64..6).prop_map(|line_end| Signal::OutputRead { line_end }),
        1 => Just(Signal::RolledBack),
    ];
    let signal = prop_oneof![
        hook.prop_map(|signal| (signal, SignalSource::Hook)),
        line.prop_map(|signal| (signal, SignalSource::Rollout))
    ];
    let signals = (0_usize..3, 1_u32..9, signal).prop_filter_map("a copy", |(thread, turn, (signal, source))| {
        // Copies have a separate test.
        let turn = if signal == Signal::RolledBack { 0 } else { turn };
        (turn == 0 || is_own(thread, turn, source)).then_some(Step::Signal { thread, turn, signal, source })
    });
    prop_oneof![40 => signals, 1 => Just(Step::Reset)]
}

/// Removes lines that no rollout contains unless the clock is set back: beginnings after those of later turns, and ends
/// before the beginning of their turn.
fn as_in_rollouts(mut all: Vec<Step>) -> Vec<Step> {
    let mut begun = [None; THREADS.len()];
    all.retain(|step| match step {
        Step::Signal { thread, turn, signal, source: SignalSource::Rollout } if *turn > 0 => {
            let is_possible = match signal {
                Signal::Began => begun[*thread] <= Some(*turn),
                _ => begun[*thread].is_none_or(|begun| *turn <= begun),
            };
            if is_possible && *signal == Signal::Began {
                begun[*thread] = Some(*turn);
            }
            is_possible
        }
        _ => true,
    });
    all
}

fn steps(limit: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 0..limit).prop_map(as_in_rollouts)
}

fn apply(state: &mut State, step: &Step) {
    match step {
        Step::Signal { thread, turn: number, signal, source } => {
            let turn = if *number == 0 { TurnId::default() } else { turn(*number) };
            state.apply(&key(*thread), &turn, *signal, *source, 0);
        }
        Step::Reset => state.reset(&TurnId::default(), None, 50),
    }
}

fn phase(thread: &Thread) -> &'static str {
    match thread.phase {
        Phase::None => "none",
        Phase::Open => "open",
        Phase::Stopped { .. } => "stopped",
        Phase::Over => "over",
    }
}

proptest! {
    #[test]
    fn the_state_matches_the_model_after_every_step(all in steps(60)) {
        let (mut state, mut model) = (state(), Model::default());
        for step in all {
            apply(&mut state, &step);
            model.steps.push(step);
            for thread in 0..THREADS.len() {
                let found = state.thread_mut(&key(thread)).map_or(("none", None), |it| {
                    (phase(it), it.request.map(|request| request.kind))
                });
                prop_assert_eq!(found, (model.phase(thread), model.request(thread)), "thread {}", thread);
            }
        }
    }

    #[test]
    fn repeated_signals_change_nothing(all in steps(60)) {
        let (mut once, mut twice) = (state(), state());
        for step in all {
            apply(&mut once, &step);
            apply(&mut twice, &step);
            apply(&mut twice, &step);
            // Resets are counted.
            twice.resets = once.resets;
            prop_assert_eq!(&once, &twice);
        }
    }

    #[test]
    fn a_turn_that_is_over_stays_over(all in steps(60)) {
        let mut state = state();
        let mut over = std::collections::HashSet::new();
        for step in all {
            apply(&mut state, &step);
            for thread in 0..THREADS.len() {
                if let Some(known) = state.thread_mut(&key(thread)) {
                    let key = (thread, known.turn.clone());
                    prop_assert!(known.phase == Phase::Over || !over.contains(&key));
                    if known.phase == Phase::Over {
                        over.insert(key);
                    }
                }
            }
        }
    }

    #[test]
    fn signals_of_earlier_turns_change_nothing(
        all in steps(60),
        at in any::<prop::sample::Index>(),
    ) {
        let mut state = state();
        let (before, after) = all.split_at(at.index(all.len() + 1));
        for step in before {
            apply(&mut state, step);
        }
        for step in after {
            if let Step::Signal { thread, turn: number, .. } = step {
                let known = state.thread_mut(&key(*thread)).map(|it| it.turn.clone());
                let is_earlier = *number > 0 && known.is_some_and(|known| turn(*number).is_earlier_than(&known));
                let unchanged = state.clone();
                apply(&mut state, step);
                prop_assert!(!is_earlier || state == unchanged);
            }
        }
    }

    #[test]
    fn after_a_reset_only_later_turns_count(
        before in prop::collection::vec(step(), 0..40),
        after in prop::collection::vec(step(), 0..20),
    ) {
        let mut state = state();
        for step in &before {
            apply(&mut state, step);
        }
        state.reset(&turn(8), None, 50);
        let reset = state.clone();
        for step in after {
            if !matches!(step, Step::Signal { signal: Signal::RolledBack, .. } | Step::Reset) {
                apply(&mut state, &step);
            }
        }
        prop_assert_eq!(state, reset);
    }
}
