use proptest::prelude::*;

use super::*;
use crate::rollout::ids::Name;

/// An id that sorts by `number`, of version 7.
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

/// A state whose root's session was made before any turn.
fn state() -> State {
    State { session: ThreadId(uuid(0)), ..State::default() }
}

impl State {
    /// Takes in what hooks say, in their order.
    fn hooks(&mut self, key: &ThreadKey, signals: &[(u32, Signal)]) -> &mut Self {
        for (number, signal) in signals {
            self.apply(key, &turn(*number), *signal, SignalSource::Hook, 0);
        }
        self
    }

    /// Takes in what a rollout's lines say, in their order.
    fn lines(&mut self, key: &ThreadKey, signals: &[(u32, Signal)]) -> &mut Self {
        for (number, signal) in signals {
            self.apply(key, &turn(*number), *signal, SignalSource::Rollout, 0);
        }
        self
    }
}

const STOPS: Signal = Signal::Stopped { rollout_size: 100 };

// ---- a root turn ----

#[test]
fn a_turn_begins_with_its_prompt_and_is_over_with_its_stop() {
    let mut state = state();
    assert!(!state.is_active());
    assert!(state.hooks(&ROOT, &[(1, Signal::Prompted)]).is_active());
    assert!(!state.hooks(&ROOT, &[(1, STOPS)]).is_active());
    assert!(state.hooks(&ROOT, &[(2, Signal::Prompted)]).is_active());
}

#[test]
fn a_turn_that_has_no_prompt_begins_and_ends_in_the_rollout() {
    let mut state = state();
    assert!(state.lines(&ROOT, &[(1, Signal::Began)]).is_active());
    assert!(!state.lines(&ROOT, &[(1, Signal::Ended)]).is_active());
}

#[test]
fn a_stop_that_another_hook_blocked_is_no_end_at_the_next_sign_of_life() {
    for life in [Signal::SignOfLife, Signal::Prompted] {
        let mut state = state();
        assert!(!state.hooks(&ROOT, &[(1, Signal::Prompted), (1, STOPS)]).is_active());
        assert!(state.hooks(&ROOT, &[(1, life)]).is_active());
        assert!(!state.hooks(&ROOT, &[(1, STOPS)]).is_active());
    }
}

#[test]
fn lines_beyond_what_the_rollout_held_at_the_stop_are_signs_of_life_and_others_are_not() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted), (1, STOPS)]);
    // The news of its beginning, and of what stood there at the stop, may be read late.
    assert!(!state.lines(&ROOT, &[(1, Signal::Began), (1, Signal::Named { line_end: 100 })]).is_active());
    assert!(state.lines(&ROOT, &[(1, Signal::Named { line_end: 101 })]).is_active());
    assert!(!state.hooks(&ROOT, &[(1, Signal::Stopped { rollout_size: 150 })]).is_active());
    assert!(!state.lines(&ROOT, &[(1, Signal::Named { line_end: 150 })]).is_active());
}

#[test]
fn of_two_stops_the_one_that_saw_more_of_the_rollout_counts() {
    for sizes in [[100, 200], [200, 100]] {
        let mut state = state();
        state.hooks(&ROOT, &[(1, Signal::Prompted)]);
        state.hooks(&ROOT, &sizes.map(|rollout_size| (1, Signal::Stopped { rollout_size })));
        assert!(!state.lines(&ROOT, &[(1, Signal::Named { line_end: 200 })]).is_active());
        assert!(state.lines(&ROOT, &[(1, Signal::Named { line_end: 201 })]).is_active());
    }
}

#[test]
fn a_stop_whose_rollout_is_not_known_is_undone_by_hooks_alone() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted), (1, Signal::Stopped { rollout_size: u64::MAX })]);
    assert!(!state.lines(&ROOT, &[(1, Signal::Named { line_end: 1 << 40 })]).is_active());
    assert!(state.hooks(&ROOT, &[(1, Signal::SignOfLife)]).is_active());
}

#[test]
fn a_prompt_while_the_turn_goes_on_is_of_that_turn() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted), (1, Signal::Prompted)]);
    assert!(!state.hooks(&ROOT, &[(1, STOPS)]).is_active());
}

#[test]
fn a_turn_that_was_interrupted_is_dead_for_good() {
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
            &[
                (1, Signal::SignOfLife),
                (1, Signal::Prompted),
                (1, Signal::AskedForApproval),
                (1, STOPS),
                (1, Signal::SignOfLife),
            ],
        );
        state.lines(&ROOT, &[(1, Signal::Named { line_end: 1 << 40 }), (1, Signal::Began)]);
        assert!(!state.is_active() && state.root.phase == over.root.phase && state.root.evidence == over.root.evidence);
    }
}

#[test]
fn an_interrupt_whose_prompt_comes_later_is_the_end_all_the_same() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Ended), (1, Signal::Prompted), (1, Signal::SignOfLife)]);
    assert!(!state.is_active());
}

#[test]
fn a_later_turn_ends_the_one_before_and_old_news_change_nothing() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted), (2, Signal::Prompted)]);
    let before = state.clone();
    state.hooks(&ROOT, &[(1, STOPS), (1, Signal::Ended), (1, Signal::SignOfLife)]).lines(&ROOT, &[(1, Signal::Ended)]);
    assert_eq!(state, before);
    assert!(!state.hooks(&ROOT, &[(2, STOPS), (1, Signal::SignOfLife)]).is_active());
}

#[test]
fn a_turn_that_begins_in_the_rollout_behind_the_latest_is_later_though_the_clock_was_put_back() {
    let mut state = state();
    state.lines(&ROOT, &[(5, Signal::Began), (5, Signal::Ended)]);
    assert!(!state.hooks(&ROOT, &[(3, Signal::Prompted)]).is_active());
    assert!(state.lines(&ROOT, &[(3, Signal::Began)]).is_active());
    assert!(!state.hooks(&ROOT, &[(3, STOPS)]).is_active());
    // Where the latest was told by a hook alone, its place is not known.
    state.hooks(&ROOT, &[(7, Signal::Prompted), (7, STOPS)]);
    assert!(!state.lines(&ROOT, &[(6, Signal::Began)]).is_active());
    // And what is read anew is no news.
    state.lines(&ROOT, &[(7, Signal::Began)]);
    state.root.reset_position();
    assert!(!state.lines(&ROOT, &[(6, Signal::Began)]).is_active());
}

#[test]
fn what_names_no_turn_speaks_of_the_latest() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted)]);
    state.apply(&ROOT, &TurnId::default(), STOPS, SignalSource::Hook, 0);
    assert!(!state.is_active());
    assert_eq!(state.root.turn, turn(1));
}

#[test]
fn turns_whose_ids_do_not_tell_which_is_later_follow_in_the_order_of_their_news() {
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
fn lines_that_only_name_a_turn_begin_none() {
    let mut state = state();
    let before = state.clone();
    state.lines(&ROOT, &[(1, Signal::Named { line_end: 5 })]);
    assert_eq!(state, before);
    state.hooks(&ROOT, &[(1, Signal::Prompted), (1, STOPS)]).lines(&ROOT, &[(2, Signal::Named { line_end: 500 })]);
    assert!(!state.is_active() && state.root.turn == turn(1));
}

#[test]
fn turns_that_were_taken_back_are_over_if_their_beginning_was_read() {
    let mut state = state();
    let back = |state: &mut State| state.apply(&ROOT, &TurnId::default(), Signal::RolledBack, SignalSource::Rollout, 0);
    state.hooks(&ROOT, &[(1, Signal::Prompted)]);
    // Some other turn was taken back: this one does not stand in the rollout yet.
    back(&mut state);
    assert!(state.is_active());
    state.lines(&ROOT, &[(1, Signal::Began)]);
    back(&mut state);
    assert!(!state.is_active());
    state.hooks(&ROOT, &[(2, Signal::Prompted)]);
    back(&mut state);
    assert!(state.is_active());
    // The rollout is read anew: what it says of earlier is said again.
    state.lines(&ROOT, &[(2, Signal::Began)]);
    state.root.reset_position();
    back(&mut state);
    assert!(state.is_active());
}

#[test]
fn nothing_is_taken_back_where_nothing_was_begun() {
    let mut state = state();
    let before = state.clone();
    state.apply(&ROOT, &TurnId::default(), Signal::RolledBack, SignalSource::Rollout, 0);
    assert_eq!(state, before);
}

#[test]
fn history_that_was_copied_from_another_thread_opens_and_ends_nothing() {
    let child = subagent(5);
    let mut state = state();
    state.hooks(&ROOT, &[(4, Signal::Prompted)]).hooks(&child, &[(6, Signal::Began)]);
    let before = state.clone();
    // Turns from before the child was made are its parent's.
    state.lines(
        &child,
        &[(4, Signal::Began), (4, Signal::Ended), (5, Signal::Began), (4, Signal::Named { line_end: 9 })],
    );
    assert_eq!(state, before);
    state.lines(&child, &[(6, Signal::Ended)]);
    assert!(state.root.is_open() && state.in_flight().next().is_none());
}

#[test]
fn what_brought_a_turn_where_it_is_is_kept_until_it_goes_elsewhere() {
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
fn a_child_prompt_after_the_roots_stop_keeps_the_agent_at_work() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted), (1, STOPS)]);
    assert!(state.hooks(&subagent(5), &[(6, Signal::Prompted)]).is_active());
    assert!(!state.root.is_open());
    assert!(!state.hooks(&subagent(5), &[(6, STOPS)]).is_active());
}

#[test]
fn a_stop_that_comes_before_the_start_is_the_end() {
    let mut state = state();
    state.hooks(&subagent(5), &[(6, STOPS), (6, Signal::Began)]).lines(&subagent(5), &[(6, Signal::Began)]);
    assert!(!state.is_active());
}

#[test]
fn a_later_turn_of_the_same_subagent_counts_again() {
    let child = subagent(5);
    let mut state = state();
    state.hooks(&child, &[(6, Signal::Began), (6, STOPS)]);
    assert!(state.lines(&child, &[(7, Signal::Began)]).is_active());
    assert!(!state.lines(&child, &[(7, Signal::Ended)]).is_active());
    assert!(state.hooks(&child, &[(8, Signal::Prompted)]).is_active());
    assert_eq!(state.subagents.len(), 1);
}

#[test]
fn each_subagent_is_told_from_the_others_and_from_the_root() {
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
fn of_very_many_subagents_those_in_flight_are_kept() {
    let most = u32::try_from(MAX_SUBAGENTS).expect("small");
    let mut state = state();
    state.hooks(&subagent(1), &[(1000, Signal::Began)]);
    for number in 2..=most + 50 {
        state.hooks(&subagent(number), &[(1000 + number, Signal::Began), (1000 + number, STOPS)]);
        assert!(state.subagents.len() <= MAX_SUBAGENTS && state.is_active());
    }
    assert_eq!(state.in_flight().count(), 1);
    for number in 1000..1000 + 2 * most {
        state.hooks(&subagent(number), &[(5000 + number, Signal::Began)]);
        assert!(state.subagents.len() <= MAX_SUBAGENTS);
    }
    // The oldest go where all are in flight.
    assert_eq!(state.subagents.last().map(|last| &last.id), Some(&ThreadId(uuid(1000 + 2 * most - 1))));
    assert_eq!(state.in_flight().count(), MAX_SUBAGENTS);
}

// ---- approvals ----

#[test]
fn an_approval_is_awaited_until_the_turn_goes_on_or_ends() {
    for after in [Signal::SignOfLife, Signal::Prompted, STOPS, Signal::Ended] {
        let mut state = state();
        state.hooks(&ROOT, &[(1, Signal::Prompted), (1, Signal::AskedForApproval)]);
        assert!(state.is_approval_pending() && state.is_active());
        // What the rollout tells late is no answer.
        state.lines(&ROOT, &[(1, Signal::Began), (1, Signal::Named { line_end: 1 })]);
        assert!(state.is_approval_pending());
        assert!(!state.hooks(&ROOT, &[(1, after)]).is_approval_pending(), "{after:?}");
    }
}

#[test]
fn an_approval_of_an_earlier_turn_is_awaited_no_more() {
    for after in [Signal::Began, Signal::Prompted, Signal::SignOfLife] {
        let mut state = state();
        state.hooks(&ROOT, &[(1, Signal::Prompted), (1, Signal::AskedForApproval), (2, after)]);
        assert!(!state.is_approval_pending() && state.is_active(), "{after:?}");
    }
}

#[test]
fn a_turn_that_stopped_or_is_over_asks_for_nothing() {
    for end in [STOPS, Signal::Ended] {
        let mut state = state();
        state.hooks(&ROOT, &[(1, Signal::Prompted), (1, end), (1, Signal::AskedForApproval)]);
        assert!(!state.is_approval_pending() && !state.is_active());
    }
}

#[test]
fn a_subagents_approval_is_awaited_though_the_root_goes_on() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted)]).hooks(&subagent(5), &[(6, Signal::AskedForApproval)]);
    assert!(state.hooks(&ROOT, &[(1, Signal::SignOfLife)]).is_approval_pending());
    assert!(!state.hooks(&subagent(5), &[(6, Signal::SignOfLife)]).is_approval_pending());
}

// ---- sessions ----

#[test]
fn another_session_takes_the_place_of_a_turn_that_was_stopped() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted), (1, STOPS)]);
    state.set_session(&ThreadId(uuid(2)));
    // The turn of the session before does not go on.
    assert!(!state.hooks(&ROOT, &[(1, Signal::SignOfLife)]).is_active());
    assert!(state.hooks(&ROOT, &[(3, Signal::Prompted)]).is_active());
}

#[test]
fn a_session_inside_a_turn_of_the_roots_is_nested_and_stays_so() {
    let mut state = state();
    let (other, who) = (ThreadId(uuid(9)), ThreadKey::Root);
    assert!(!state.is_nested(&other, &who));
    state.hooks(&ROOT, &[(1, Signal::Prompted)]);
    assert!(state.is_nested(&other, &who) && !state.has_nested(&other));
    assert!(!state.is_nested(&ThreadId(uuid(0)), &who));
    state.add_nested(&other);
    state.hooks(&ROOT, &[(1, STOPS)]);
    assert!(state.is_nested(&other, &who) && state.has_nested(&other));
    assert!(!state.is_nested(&ThreadId(uuid(10)), &who));
}

#[test]
fn a_session_that_was_the_roots_is_only_late_and_can_be_so_again() {
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
fn another_session_has_another_rollout_or_none() {
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
    // The session before goes on with its subagents, also those that are new.
    assert!(!state.is_nested(&ThreadId(uuid(0)), &subagent(6)));
    assert!(state.is_nested(&ThreadId(uuid(0)), &ROOT));
    assert!(state.is_nested(&ThreadId(uuid(9)), &subagent(6)));
}

#[test]
fn no_more_than_32_nested_sessions_are_remembered_the_latest() {
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
fn a_reset_closes_all_and_old_news_open_nothing() {
    let mut state = state();
    state.root.set_rollout("/rollout");
    state
        .hooks(&ROOT, &[(1, Signal::Prompted), (1, Signal::AskedForApproval)])
        .hooks(&subagent(5), &[(6, Signal::Began)]);
    state.reset(&TurnId::default(), None);
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
fn a_turn_that_begins_behind_what_the_rollout_held_at_a_reset_counts_though_the_clock_was_put_back() {
    for is_read in [false, true] {
        let mut state = state();
        state.root.set_rollout("/rollout");
        state.hooks(&ROOT, &[(5, Signal::Prompted)]);
        state.reset(&turn(6), is_read.then_some((100, [7; 16])));
        assert_eq!(state.root.read_offset, if is_read { 100 } else { 0 });
        assert_eq!(state.lines(&ROOT, &[(4, Signal::Began)]).is_active(), is_read);
        assert_eq!(state.hooks(&ROOT, &[(4, STOPS), (4, Signal::SignOfLife)]).is_active(), is_read);
    }
}

#[test]
fn turns_that_only_a_rollout_names_are_over_with_a_reset_too() {
    let mut state = state();
    state.hooks(&ROOT, &[(1, Signal::Prompted)]);
    state.reset(&turn(3), None);
    assert!(!state.hooks(&ROOT, &[(2, Signal::Prompted), (3, Signal::Prompted)]).is_active());
    // A later reset with less to go by takes nothing back.
    state.reset(&turn(2), None);
    assert!(!state.hooks(&ROOT, &[(3, Signal::Prompted)]).is_active());
    assert!(state.hooks(&ROOT, &[(4, Signal::Prompted)]).is_active());
}

#[test]
fn a_reset_of_turns_whose_ids_do_not_tell_the_time_ends_the_latest() {
    let mut state = state();
    let id = TurnId(Name::new(b"turn", false));
    state.apply(&ROOT, &id, Signal::Prompted, SignalSource::Hook, 0);
    state.reset(&TurnId::default(), None);
    state.apply(&ROOT, &id, Signal::SignOfLife, SignalSource::Hook, 0);
    assert!(!state.is_active());
}

// ---- against a model ----

/// Something that is told.
#[derive(Clone, Debug)]
enum Told {
    News { thread: usize, turn: u32, signal: Signal, source: SignalSource },
    Reset,
}

/// All that was ever told, and what follows from it.
#[derive(Default)]
struct Model {
    told: Vec<Told>,
}

/// What was told of one turn, in its order, as far as it can count.
type News = Vec<(Signal, SignalSource)>;

impl Model {
    /// Turns up to this one are over.
    fn over(&self, until: usize) -> u32 {
        let mut resets = self.told[..until].iter().enumerate().filter(|(_, told)| matches!(told, Told::Reset));
        resets
            .next_back()
            .map_or(0, |(reset, _)| (0..THREADS.len()).map(|it| self.latest(it, reset)).max().unwrap_or(0))
    }

    /// The latest turn of a thread that anything begins, ends or tells to go on; or that a reset made over.
    fn latest(&self, thread: usize, until: usize) -> u32 {
        let turns = self.told[..until].iter().filter_map(|told| match told {
            Told::News { thread: of, turn, signal, source }
                if *of == thread && is_own(thread, *turn, *source) && !is_of_others(*signal) =>
            {
                Some(*turn)
            }
            _ => None,
        });
        turns.max().unwrap_or(0).max(self.over(until))
    }

    /// What was told of the thread's latest turn, from what made it known on.
    fn news(&self, thread: usize) -> News {
        let latest = self.latest(thread, self.told.len());
        if latest <= self.over(self.told.len()) {
            return News::new();
        }
        let own = self.told.iter().filter_map(|told| match told {
            Told::News { thread: of, turn, signal, source }
                if *of == thread && (*turn == latest || *signal == Signal::RolledBack) =>
            {
                Some((*signal, *source))
            }
            _ => None,
        });
        own.skip_while(|(signal, _)| is_of_others(*signal)).collect()
    }

    fn phase(&self, thread: usize) -> &'static str {
        let news = self.news(thread);
        let began = news.iter().position(|news| *news == (Signal::Began, SignalSource::Rollout));
        let is_back = began.is_some_and(|began| news[began..].iter().any(|(signal, _)| *signal == Signal::RolledBack));
        match () {
            () if news.is_empty() => "none",
            () if is_back || news.iter().any(|(signal, _)| *signal == Signal::Ended) => "over",
            () if stopped_at(&news).is_some() => "stopped",
            () => "open",
        }
    }

    fn is_approval_pending(&self, thread: usize) -> bool {
        let news = self.news(thread);
        let asked =
            (0..news.len()).rfind(|at| news[*at].0 == Signal::AskedForApproval && stopped_at(&news[..*at]).is_none());
        let is_answer =
            |signal: Signal| matches!(signal, Signal::SignOfLife | Signal::Prompted | Signal::Stopped { .. });
        self.phase(thread) == "open"
            && asked.is_some_and(|asked| !news[asked..].iter().any(|(signal, _)| is_answer(*signal)))
    }
}

/// Signals that make no turn known.
fn is_of_others(signal: Signal) -> bool {
    matches!(signal, Signal::Named { .. } | Signal::RolledBack)
}

/// Whether a thread's own rollout, or a hook, would speak of its turn.
fn is_own(thread: usize, turn: u32, source: SignalSource) -> bool {
    source == SignalSource::Hook || turn > THREADS[thread]
}

/// The size at which a turn was stopped, unless there was a signal of life since.
fn stopped_at(news: &[(Signal, SignalSource)]) -> Option<u64> {
    let (last, before) = news.split_last()?;
    match (last.0, stopped_at(before)) {
        (Signal::SignOfLife | Signal::Prompted, _) => None,
        (Signal::Stopped { rollout_size }, size) => Some(rollout_size.max(size.unwrap_or(0))),
        (Signal::Named { line_end }, size) => size.filter(|size| line_end <= *size),
        (_, size) => size,
    }
}

/// The numbers of the threads' ids: the root's, and two subagents'.
const THREADS: [u32; 3] = [0, 3, 5];

fn who(thread: usize) -> ThreadKey {
    if thread == 0 { ThreadKey::Root } else { subagent(THREADS[thread]) }
}

fn told() -> impl Strategy<Value = Told> {
    let hook = prop_oneof![
        3 => Just(Signal::Prompted),
        1 => Just(Signal::Began),
        3 => Just(Signal::SignOfLife),
        2 => Just(Signal::AskedForApproval),
        3 => (0_u64..4).prop_map(|rollout_size| Signal::Stopped { rollout_size }),
        1 => Just(Signal::Ended),
    ];
    let line = prop_oneof![
        3 => Just(Signal::Began),
        1 => Just(Signal::Ended),
        4 => (0_u64..6).prop_map(|line_end| Signal::Named { line_end }),
        1 => Just(Signal::RolledBack),
    ];
    let signal = prop_oneof![
        hook.prop_map(|signal| (signal, SignalSource::Hook)),
        line.prop_map(|signal| (signal, SignalSource::Rollout))
    ];
    let news = (0_usize..3, 1_u32..9, signal).prop_filter_map("a copy", |(thread, turn, (signal, source))| {
        // Copies have a test of their own; a line that names a copied turn is as good as none.
        let turn = if signal == Signal::RolledBack { 0 } else { turn };
        (turn == 0 || is_own(thread, turn, source)).then_some(Told::News { thread, turn, signal, source })
    });
    prop_oneof![40 => news, 1 => Just(Told::Reset)]
}

/// Without the lines that stand in no rollout while the clock goes on: turns that begin behind later ones, and ends of
/// turns that begin nowhere before.
fn as_rollouts_tell(mut all: Vec<Told>) -> Vec<Told> {
    let mut begun = [None; THREADS.len()];
    all.retain(|told| match told {
        Told::News { thread, turn, signal, source: SignalSource::Rollout } if *turn > 0 => {
            let is_so = match signal {
                Signal::Began => begun[*thread] <= Some(*turn),
                _ => begun[*thread].is_none_or(|begun| *turn <= begun),
            };
            if is_so && *signal == Signal::Began {
                begun[*thread] = Some(*turn);
            }
            is_so
        }
        _ => true,
    });
    all
}

fn all_told(most: usize) -> impl Strategy<Value = Vec<Told>> {
    prop::collection::vec(told(), 0..most).prop_map(as_rollouts_tell)
}

fn take(state: &mut State, told: &Told) {
    match told {
        Told::News { thread, turn: number, signal, source } => {
            let turn = if *number == 0 { TurnId::default() } else { turn(*number) };
            state.apply(&who(*thread), &turn, *signal, *source, 0);
        }
        Told::Reset => state.reset(&TurnId::default(), None),
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
    fn all_that_was_told_decides_by_one_rule(all in all_told(60)) {
        let (mut state, mut model) = (state(), Model::default());
        for told in all {
            take(&mut state, &told);
            model.told.push(told);
            for thread in 0..THREADS.len() {
                let found = state.thread_mut(&who(thread)).map_or(("none", false), |it| (phase(it), it.is_approval_pending));
                prop_assert_eq!(found, (model.phase(thread), model.is_approval_pending(thread)), "thread {}", thread);
            }
        }
    }

    #[test]
    fn what_is_told_twice_is_told_once(all in all_told(60)) {
        let (mut once, mut twice) = (state(), state());
        for told in all {
            take(&mut once, &told);
            take(&mut twice, &told);
            take(&mut twice, &told);
            // Two resets are two.
            twice.resets = once.resets;
            prop_assert_eq!(&once, &twice);
        }
    }

    #[test]
    fn a_turn_that_is_over_is_never_opened_again(all in all_told(60)) {
        let mut state = state();
        let mut over = std::collections::HashSet::new();
        for told in all {
            take(&mut state, &told);
            for thread in 0..THREADS.len() {
                if let Some(known) = state.thread_mut(&who(thread)) {
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
    fn news_of_earlier_turns_change_nothing(
        all in all_told(60),
        at in any::<prop::sample::Index>(),
    ) {
        let mut state = state();
        let (before, after) = all.split_at(at.index(all.len() + 1));
        for told in before {
            take(&mut state, told);
        }
        for told in after {
            if let Told::News { thread, turn: number, .. } = told {
                let known = state.thread_mut(&who(*thread)).map(|it| it.turn.clone());
                let is_earlier = *number > 0 && known.is_some_and(|known| turn(*number).is_earlier_than(&known));
                let unchanged = state.clone();
                take(&mut state, told);
                prop_assert!(!is_earlier || state == unchanged);
            }
        }
    }

    #[test]
    fn after_a_reset_only_later_turns_count(
        before in prop::collection::vec(told(), 0..40),
        after in prop::collection::vec(told(), 0..20),
    ) {
        let mut state = state();
        for told in &before {
            take(&mut state, told);
        }
        state.reset(&turn(8), None);
        let reset = state.clone();
        for told in after {
            if !matches!(told, Told::News { signal: Signal::RolledBack, .. } | Told::Reset) {
                take(&mut state, &told);
            }
        }
        prop_assert_eq!(state, reset);
    }
}
