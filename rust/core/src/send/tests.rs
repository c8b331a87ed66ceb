//! Sends messages to a simulated TUI. Runs are killed before and after each step, and the TUI loses keys, freezes, and opens
//! dialogs.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::host::{Effect, Fault, Host, Lengths, Look, Marker};
use super::outcome::{Outcome, OutcomeKind};
use super::record::{Progress, Record};
use super::sender::{Message, Sender};
use super::text::MessagePattern;
use crate::files::file_error::FileError;
use crate::screen::Screen;

const TIMEOUT: Duration = Duration::from_secs(20);
/// How long each call of the host takes.
const CALL: Duration = Duration::from_millis(4);
const ROLLOUT: &str = "sessions/rollout.jsonl";

/// What the TUI does wrong.
#[derive(Clone, Debug, Default)]
struct Faults {
    /// How many times Enter is lost.
    lost_enters: u32,
    /// From when until when Codex reads no keys. It reads them afterwards.
    frozen: Option<(Duration, Duration)>,
    /// From when until when a dialog is open, which gets all keys. The marker exists 100 ms before.
    dialog: Option<(Duration, Duration)>,
    /// How long after Enter Codex records a message.
    recorded_after: Duration,
    /// How long a pasted text takes to appear.
    shown_after: Duration,
    /// How many times a command is rejected.
    rejected: u32,
    /// Whether Codex knows no command.
    knows_no_command: bool,
    /// When the pane disappears.
    gone: Option<Duration>,
    /// From which record on none can be saved, because the disk is full.
    full: Option<usize>,
    /// When the user stops the first run.
    interrupted: Option<Duration>,
}

/// Keys that Codex has not read yet.
#[derive(Clone, Debug)]
enum Key {
    Paste(String),
    Enter,
    Space,
    Delete,
}

/// The state that outlives a run.
#[derive(Default)]
struct World {
    clock: Duration,
    faults: Faults,
    keys: Vec<(Duration, Key)>,
    composer: String,
    /// When a space was typed. An Enter soon after it is a line break.
    space_at: Option<Duration>,
    /// The lines above the composer.
    lines: Vec<String>,
    submitted: Vec<String>,
    /// Messages with the time at which they are recorded.
    recorded: Vec<(Duration, String)>,
    last_change: u32,
    buffer: Option<String>,
    record: Option<Record>,
    /// How many records were to be saved.
    saves: usize,
    /// How often Enter was pressed in a dialog.
    answers: usize,
}

fn is_within(time: Duration, range: Option<(Duration, Duration)>) -> bool {
    range.is_some_and(|(from, until)| (from..until).contains(&time))
}

impl World {
    fn with(faults: Faults) -> Self {
        Self { faults, ..Self::default() }
    }

    fn is_dialog_open(&self) -> bool {
        is_within(self.clock, self.faults.dialog)
    }

    /// Lets time pass, in which Codex reads each key when it arrives, or when it is no longer frozen.
    fn pass(&mut self, time: Duration) {
        let end = self.clock + time;
        while let Some((at, _)) = self.keys.first() {
            let arrived = self.clock.max(*at);
            let read_at = match self.faults.frozen {
                Some((_, until)) if is_within(arrived, self.faults.frozen) => until,
                _ => arrived,
            };
            if read_at > end {
                break;
            }
            let (at, key) = self.keys.remove(0);
            self.clock = read_at;
            self.read(at, key);
        }
        self.clock = end;
    }

    fn read(&mut self, at: Duration, key: Key) {
        if self.is_dialog_open() {
            self.answers += usize::from(matches!(key, Key::Enter));
            return;
        }
        match key {
            Key::Paste(text) => self.composer.push_str(&text),
            Key::Space => {
                self.composer.insert(0, ' ');
                self.space_at = Some(at);
            }
            Key::Delete => self.composer.clear(),
            Key::Enter if self.space_at.take().is_some_and(|space| at < space + Duration::from_millis(120)) => {
                self.composer.insert(1, '\n');
            }
            Key::Enter if self.faults.lost_enters > 0 => self.faults.lost_enters -= 1,
            Key::Enter => self.submit(),
        }
    }

    fn submit(&mut self) {
        if self.composer.starts_with('/') {
            if self.faults.rejected > 0 {
                self.faults.rejected -= 1;
                self.lines.push("'/compact' is disabled while a task is in progress.".to_owned());
                return;
            }
            if self.faults.knows_no_command {
                let word = self.composer.split_whitespace().next().unwrap_or_default();
                self.lines.push(format!("Unrecognized command '{word}'."));
                return;
            }
            self.submitted.push(std::mem::take(&mut self.composer));
            return;
        }
        let text = std::mem::take(&mut self.composer).trim().to_owned();
        if text.is_empty() {
            return;
        }
        self.lines.push(format!("› {}", text.lines().next().unwrap_or_default()));
        self.recorded.push((self.clock + self.faults.recorded_after, text.clone()));
        self.submitted.push(text);
    }

    fn pane(&self) -> String {
        let mut lines = self.lines.clone();
        if self.is_dialog_open() {
            lines.extend(["  Would you like to run it?".to_owned(), "› 1. Yes".to_owned()]);
        } else if self.composer.is_empty() {
            lines.push("› \u{1B}[2mAsk Codex\u{1B}[0m".to_owned());
        } else {
            let mut rows = self.composer.lines();
            lines.push(format!("› {}", rows.next().unwrap_or_default()));
            lines.extend(rows.map(|row| format!("  {row}")));
        }
        lines.join("\n")
    }

    /// The rollout as lines, up to now.
    fn rollout(&self) -> Vec<String> {
        let line = |text: &String| {
            let content = serde_json::json!([{"type": "input_text", "text": text}]);
            let payload = format!(r#"{{"type":"message","role":"user","content":{content}}}"#);
            format!(r#"{{"timestamp":"","type":"response_item","payload":{payload}}}"#)
        };
        self.recorded.iter().filter(|(at, _)| *at <= self.clock).map(|(_, text)| line(text)).collect()
    }
}

/// When a run is killed: before or after which call.
#[derive(Clone, Copy, Debug)]
struct Kill {
    call: usize,
    is_after: bool,
}

struct SimulatedHost<'a> {
    world: &'a mut World,
    kill: Option<Kill>,
    calls: usize,
}

impl SimulatedHost<'_> {
    /// Makes a call that takes time, during which the run may be killed.
    fn call<T>(&mut self, act: impl FnOnce(&mut World) -> Result<T, Fault>) -> Result<T, Fault> {
        self.calls += 1;
        let kill = self.kill.filter(|kill| kill.call == self.calls);
        if kill.is_some_and(|kill| !kill.is_after) {
            return Err(Fault::Killed);
        }
        self.world.pass(CALL);
        let result = act(self.world);
        if kill.is_some() { Err(Fault::Killed) } else { result }
    }

    /// Makes a call that needs the terminal.
    fn terminal<T>(&mut self, act: impl FnOnce(&mut World) -> T) -> Result<T, Fault> {
        self.call(|world| match world.faults.gone {
            Some(gone) if world.clock >= gone => Err(Fault::Terminal("can't find pane".to_owned())),
            _ => Ok(act(world)),
        })
    }
}

impl Host for SimulatedHost<'_> {
    fn now(&self) -> Duration {
        self.world.clock
    }

    fn wait(&mut self, limit: Duration) {
        self.world.pass(limit);
    }

    fn is_interrupted(&self) -> bool {
        self.world.faults.interrupted.is_some_and(|at| self.world.clock >= at)
    }

    fn has(&self, marker: Marker) -> bool {
        let is_asked = self.world.faults.dialog.map(|(from, until)| (from.saturating_sub(CALL * 25), until));
        marker == Marker::Permissions && is_within(self.world.clock, is_asked)
    }

    fn lacks_login(&self) -> bool {
        false
    }

    fn look(&mut self) -> Result<Look, Fault> {
        self.terminal(|world| Look { pane: "1 %0".to_owned(), screen: Screen::parse("codex", &world.pane()) })
    }

    fn last_change(&mut self) -> Result<u32, Fault> {
        self.terminal(|world| world.last_change)
    }

    fn load(&mut self, text: &str) -> Result<(), Fault> {
        self.terminal(|world| world.buffer = Some(text.to_owned()))
    }

    fn change(&mut self, effect: Effect, number: u32) -> Result<(), Fault> {
        self.terminal(|world| {
            if world.last_change == number {
                return;
            }
            let key = match effect {
                Effect::Paste => Key::Paste(world.buffer.take().unwrap_or_default()),
                Effect::Enter => Key::Enter,
                Effect::Space => Key::Space,
                Effect::Delete { .. } => Key::Delete,
            };
            let delay = if effect == Effect::Paste { world.faults.shown_after } else { Duration::ZERO };
            // Keys are read in their order.
            let at = world.keys.last().map_or(Duration::ZERO, |(at, _)| *at).max(world.clock + delay);
            world.keys.push((at, key));
            world.last_change = number;
        })
    }

    fn lengths(&mut self) -> Lengths {
        [(ROLLOUT.to_owned(), self.world.rollout().len() as u64)].into()
    }

    fn has_arrived(&mut self, before: &Lengths, pattern: &MessagePattern) -> bool {
        let begin = usize::try_from(before[ROLLOUT]).expect("is small");
        self.world.rollout()[begin..].iter().any(|line| pattern.matches(line.as_bytes()))
    }

    fn save(&mut self, record: &Record) -> Result<(), Fault> {
        self.call(|world| {
            world.saves += 1;
            if world.faults.full.is_some_and(|full| world.saves >= full) {
                let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
                return Err(Fault::File(FileError::on("write", Path::new("record"))(error)));
            }
            // Records survive as JSON.
            let json = serde_json::to_vec(record).expect("can be written");
            world.record = Some(serde_json::from_slice(&json).expect("can be read"));
            Ok(())
        })
    }
}

/// Runs the sender once. Returns the outcome, or `None` if the run was killed, and the number of calls.
fn run(world: &mut World, text: &str, kill: Option<Kill>) -> (Option<Outcome>, usize) {
    let record = world.record.clone().unwrap_or_else(|| Record::new(text));
    let mut host = SimulatedHost { world, kill, calls: 0 };
    let message = Message::new(text);
    let mut sender = Sender::new(&mut host, &message, record, TIMEOUT);
    let outcome = match sender.steps() {
        Ok(outcome) => Some(outcome),
        Err(Fault::Killed) => None,
        Err(fault) => Some(sender.failed(&fault)),
    };
    (outcome, host.calls)
}

/// Runs the sender until a run is not killed. The kills are at these calls of the first runs.
fn run_with_kills(world: &mut World, text: &str, kills: &[Kill]) -> Outcome {
    for kill in kills {
        if let (Some(outcome), _) = run(world, text, Some(*kill)) {
            return outcome;
        }
        world.pass(Duration::from_millis(300));
    }
    run(world, text, None).0.expect("is not killed")
}

/// Checks that the message was submitted as the outcome says, and stays so.
fn check(world: &mut World, text: &str, outcome: &Outcome) {
    // Whatever Codex has not read yet is read now.
    world.pass(Duration::from_secs(600));
    world.pass(CALL);
    let count = world.submitted.iter().filter(|submitted| submitted.trim() == text.trim()).count();
    assert!(count <= 1, "submitted {count} times: {outcome:?}");
    assert_eq!(world.submitted.len(), count, "something else was submitted: {:?}", world.submitted);
    match outcome.arrived {
        Some(true) => assert_eq!(count, 1, "did not arrive: {outcome:?}"),
        Some(false) => assert_eq!(count, 0, "arrived: {outcome:?}"),
        None => {}
    }
    let is_unsaved = world.faults.full.is_some_and(|full| world.saves >= full);
    if is_unsaved || matches!(outcome.kind, OutcomeKind::Failed | OutcomeKind::Interrupted) {
        // It is not recorded, so another run goes on.
        if outcome.arrived == Some(false) && !outcome.in_composer && world.faults.gone.is_none() {
            assert!(world.composer.is_empty(), "{:?} is in the composer: {outcome:?}", world.composer);
        }
        (world.faults.full, world.faults.interrupted) = (None, None);
        let again = run(world, text, None).0.expect("is not killed");
        assert!(!matches!(again.kind, OutcomeKind::Interrupted), "{again:?}");
        world.pass(Duration::from_secs(600));
        let count = world.submitted.len();
        assert!(count <= 1, "submitted {count} times: {outcome:?}, then {again:?}");
        assert!(again.arrived != Some(true) || count == 1, "did not arrive: {outcome:?}, then {again:?}");
        assert!(again.arrived != Some(false) || count == 0, "arrived: {outcome:?}, then {again:?}");
        return;
    }
    // Another run does nothing.
    let (again, _) = run(world, text, None);
    assert_eq!(again.as_ref(), Some(outcome));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.submitted.len(), count);
}

/// Returns the kills before and after each call of a run that is not killed.
fn every_kill(faults: &Faults, text: &str) -> Vec<Kill> {
    let (_, calls) = run(&mut World::with(faults.clone()), text, None);
    (1..=calls).flat_map(|call| [false, true].map(|is_after| Kill { call, is_after })).collect()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_message_arrives_once_whenever_the_first_run_is_killed() {
    let slow = Faults { recorded_after: SECOND / 2, shown_after: SECOND / 2, ..Faults::default() };
    let lost = Faults { lost_enters: 2, ..Faults::default() };
    let text = "Hello there\nsecond line";
    for faults in [Faults::default(), slow, lost] {
        for kill in every_kill(&faults, text) {
            let mut world = World::with(faults.clone());
            let outcome = run_with_kills(&mut world, text, &[kill]);
            assert_eq!(outcome.kind, OutcomeKind::Arrived, "{kill:?} {faults:?}");
            check(&mut world, text, &outcome);
        }
    }
}

#[test]
fn a_message_arrives_once_if_two_runs_are_killed() {
    let faults = Faults { recorded_after: SECOND / 10, ..Faults::default() };
    let kills = every_kill(&faults, "Hello");
    for first in &kills {
        for second in &kills {
            let mut world = World::with(faults.clone());
            let outcome = run_with_kills(&mut world, "Hello", &[*first, *second]);
            assert_eq!(outcome.kind, OutcomeKind::Arrived, "{first:?} {second:?}");
            check(&mut world, "Hello", &outcome);
        }
    }
}

#[test]
fn a_command_that_is_rejected_is_typed_again() {
    let faults = Faults { rejected: 3, ..Faults::default() };
    for kill in every_kill(&faults, "/compact now").into_iter().chain([Kill { call: usize::MAX, is_after: false }]) {
        let mut world = World::with(faults.clone());
        let outcome = run_with_kills(&mut world, "/compact now", &[kill]);
        assert_eq!(outcome.arrived, Some(true), "{kill:?} {outcome:?}");
        assert_eq!(outcome.command.as_deref(), Some("/compact"));
        assert_eq!(world.submitted, ["/compact now"], "{kill:?}");
    }
}

#[test]
fn an_unrecognized_command_is_a_message() {
    let faults = Faults { knows_no_command: true, ..Faults::default() };
    for kill in every_kill(&faults, "/nosuch word") {
        let mut world = World::with(faults.clone());
        let outcome = run_with_kills(&mut world, "/nosuch word", &[kill]);
        assert_eq!((outcome.kind, outcome.command.as_ref()), (OutcomeKind::Arrived, None), "{kill:?}");
        check(&mut world, "/nosuch word", &outcome);
    }
}

#[test]
fn a_message_that_codex_does_not_take_is_deleted() {
    let faults = Faults { lost_enters: 100, ..Faults::default() };
    let mut world = World::with(faults);
    let outcome = run_with_kills(&mut world, "Hello", &[]);
    assert_eq!((outcome.kind, outcome.arrived), (OutcomeKind::NotTaken, Some(false)));
    assert!(world.composer.is_empty());
    check(&mut world, "Hello", &outcome);
}

/// Returns what became of a message, and that of another run after the disk was freed.
fn outcomes(world: &mut World, text: &str) -> (Outcome, Outcome) {
    let first = run(world, text, None).0.expect("is not killed");
    (world.faults.full, world.faults.interrupted) = (None, None);
    world.pass(SECOND);
    (first, run(world, text, None).0.expect("is not killed"))
}

#[test]
fn a_message_whose_record_cannot_be_saved_does_not_stay_in_the_composer() {
    let slow = Faults { recorded_after: SECOND / 2, shown_after: SECOND / 2, ..Faults::default() };
    for faults in [Faults::default(), slow] {
        for full in 1..=3 {
            let mut world = World::with(Faults { full: Some(full), ..faults.clone() });
            let outcome = run(&mut world, "Hello\nthere", None).0.expect("is not killed");
            assert_eq!((outcome.kind, outcome.arrived, outcome.in_composer), (OutcomeKind::Failed, Some(false), false));
            world.pass(SECOND);
            assert!(world.composer.is_empty() && world.submitted.is_empty(), "{full}: {:?}", world.composer);
            check(&mut world, "Hello\nthere", &outcome);
            assert_eq!(world.submitted, ["Hello\nthere"], "the next run with the token sends it");
        }
        // Enter was pressed.
        let (first, again) = outcomes(&mut World::with(Faults { full: Some(4), ..faults.clone() }), "Hello");
        assert_eq!((first.kind, first.arrived, again.kind), (OutcomeKind::Failed, None, OutcomeKind::Arrived));
    }
}

#[test]
fn text_that_cannot_be_deleted_is_reported() {
    // Codex is about to ask for an approval when the text was pasted.
    let dialog = Some((Duration::from_millis(110), 100 * SECOND));
    let mut world = World::with(Faults { dialog, full: Some(2), ..Faults::default() });
    let outcome = run(&mut world, "Hello", None).0.expect("is not killed");
    assert_eq!((outcome.kind, outcome.arrived, outcome.in_composer), (OutcomeKind::Failed, Some(false), true));
    world.pass(SECOND);
    assert_eq!((world.composer.as_str(), world.answers), ("Hello", 0));
}

#[test]
fn a_run_that_the_user_stops_leaves_no_text_in_the_composer() {
    let slow = Faults { recorded_after: SECOND / 2, shown_after: SECOND / 2, ..Faults::default() };
    let lost = Faults { lost_enters: 100, ..Faults::default() };
    for faults in [Faults::default(), slow, lost] {
        let mut kinds = Vec::new();
        for at in (0..1200).step_by(2).map(Duration::from_millis) {
            let mut world = World::with(Faults { interrupted: Some(at), ..faults.clone() });
            let outcome = run(&mut world, "Hello", None).0.expect("is not killed");
            assert!(world.clock < at + 5 * SECOND, "{at:?} {outcome:?}");
            kinds.push(outcome.kind);
            world.pass(SECOND);
            assert!(world.composer.is_empty() && !outcome.in_composer, "{at:?} {outcome:?}");
            check(&mut world, "Hello", &outcome);
        }
        assert!(kinds.contains(&OutcomeKind::Interrupted));
        let last = if faults.lost_enters > 0 { OutcomeKind::NotTaken } else { OutcomeKind::Arrived };
        assert_eq!(kinds.last(), Some(&last));
    }
}

#[test]
fn a_frozen_codex_may_still_take_the_message() {
    let mut kinds = Vec::new();
    for from in (0..80).map(Duration::from_millis) {
        let frozen = Some((from, from + 300 * SECOND));
        let mut world = World::with(Faults { frozen, ..Faults::default() });
        let outcome = run_with_kills(&mut world, "Hello", &[]);
        check(&mut world, "Hello", &outcome);
        kinds.push(outcome.kind);
    }
    assert!(kinds.contains(&OutcomeKind::Unseen) && kinds.contains(&OutcomeKind::Unconfirmed), "{kinds:?}");
}

#[test]
fn a_dialog_gets_no_text_and_no_enter() {
    let faults = Faults { dialog: Some((Duration::ZERO, 100 * SECOND)), ..Faults::default() };
    let mut world = World::with(faults);
    let outcome = run_with_kills(&mut world, "Hello", &[]);
    assert_eq!((outcome.kind, outcome.dialog.as_deref()), (OutcomeKind::Dialog, Some("approval")));
    assert!(world.keys.is_empty() && world.last_change == 0);
    check(&mut world, "Hello", &outcome);
}

#[test]
fn a_draft_of_the_user_stays() {
    let mut world = World { composer: "my draft".to_owned(), ..World::default() };
    let outcome = run_with_kills(&mut world, "Hello", &[]);
    assert_eq!((outcome.kind, outcome.row.as_deref()), (OutcomeKind::Draft, Some("› my draft")));
    assert_eq!(world.composer, "my draft");
    check(&mut world, "Hello", &outcome);
}

#[test]
fn another_draft_is_not_sent_in_place_of_the_message() {
    // The run is killed after the paste, and the user replaces the text.
    let (mut world, kills) = (World::default(), every_kill(&Faults::default(), "Hello"));
    for kill in kills {
        world = World::default();
        run(&mut world, "Hello", Some(kill));
        if world.submitted.is_empty()
            && matches!(world.record.as_ref().map(|record| &record.progress), Some(Progress::Typed { .. }))
        {
            world.pass(SECOND);
            world.composer = "my own words".to_owned();
            let outcome = run(&mut world, "Hello", None).0.expect("is not killed");
            assert_eq!((outcome.kind, outcome.arrived), (OutcomeKind::Unseen, None));
            assert!(world.submitted.is_empty());
        }
    }
    assert!(world.submitted.len() <= 1);
}

fn spans() -> impl Strategy<Value = Option<(Duration, Duration)>> {
    prop::option::of((0..12_000_u64, 1..40_000_u64))
        .prop_map(|span| span.map(|(from, length)| (Duration::from_millis(from), Duration::from_millis(from + length))))
}

fn faults() -> impl Strategy<Value = Faults> {
    let delays = (0..3000_u64, 0..3000_u64)
        .prop_map(|(recorded, shown)| (Duration::from_millis(recorded), Duration::from_millis(shown)));
    let gone = prop::option::weighted(0.1, 0..20_000_u64);
    let stopped = (prop::option::weighted(0.2, 1..12_usize), prop::option::weighted(0.2, 0..9000_u64));
    (0..6_u32, spans(), delays, gone, stopped).prop_map(
        |(lost_enters, frozen, (recorded_after, shown_after), gone, (full, interrupted))| Faults {
            lost_enters,
            frozen,
            recorded_after,
            shown_after,
            gone: gone.map(Duration::from_millis),
            full,
            interrupted: interrupted.map(Duration::from_millis),
            ..Faults::default()
        },
    )
}

fn kills() -> impl Strategy<Value = Vec<Kill>> {
    prop::collection::vec((1..60_usize, any::<bool>()).prop_map(|(call, is_after)| Kill { call, is_after }), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever Codex does and whenever runs are killed, the message is submitted as the outcome says.
    #[test]
    fn a_message_arrives_exactly_once_or_is_reported(
        faults in faults(), kills in kills(), text in "[a-z@1.][a-z!@1. ]{0,29}(\n[a-z]{1,20}){0,3}"
    ) {
        let mut world = World::with(faults);
        let outcome = run_with_kills(&mut world, &text, &kills);
        check(&mut world, &text, &outcome);
    }

    /// A dialog gets neither text nor Enter if its marker exists a moment before.
    #[test]
    fn a_dialog_that_opens_at_any_time_is_not_answered(
        from in 0..3000_u64, length in 1..5000_u64, kills in kills(), delay in 0..1500_u64
    ) {
        let dialog = Some((Duration::from_millis(from), Duration::from_millis(from + length)));
        let shown_after = Duration::from_millis(delay);
        let mut world = World::with(Faults { dialog, shown_after, ..Faults::default() });
        let outcome = run_with_kills(&mut world, "Hello", &kills);
        prop_assert_eq!(world.answers, 0);
        check(&mut world, "Hello", &outcome);
    }
}
