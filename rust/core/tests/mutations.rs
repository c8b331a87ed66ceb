//! Converts damaged rollouts: what is whole in them is converted, once, and nothing is invented.
//!
//! Each case damages a recording in one to four ways and checks the transcript against a simple reading of the same bytes.
//! By default the cases are always the same. `MNGR_CODEX_MUTATIONS` is the number of cases, which then begin at a random
//! seed, and `MNGR_CODEX_MUTATION_SEED` the first seed. The first failing case of each kind is made as small as possible
//! and written to a file.

mod damage;
mod random_inputs;
mod records;
mod reference;
mod rollouts;

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use damage::{Damage, Kind};
use mngr_codex_core::{ByteOffset, Converter, End, Lines, Options, Reread, convert, program_text};
use random_inputs::Random;
use reference::{Content, Cost, Count, Tokens};
use serde_json::Value;

/// The default number of cases.
const CASES: u64 = 10_000;

/// The longest time that one case may take. Usually it takes a few milliseconds.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// In most cases, longer strings are shortened, because most of a small recording are Codex's instructions.
const LONG_STRING: usize = 120;

// ---- recordings ----

struct Recording {
    name: String,
    bytes: Vec<u8>,
    shortened: Vec<u8>,
}

fn recordings() -> Vec<Recording> {
    let mut all = rollouts::recordings();
    if let Some(folder) = std::env::var_os("MNGR_CODEX_LAB_ROLLOUTS") {
        all.extend(rollouts::recordings_in(&PathBuf::from(folder)));
    }
    all.retain(|(name, _)| !name.ends_with(".hooks.jsonl"));
    all.into_iter().map(|(name, bytes)| Recording { name, shortened: shortened(&bytes), bytes }).collect()
}

fn shortened(rollout: &[u8]) -> Vec<u8> {
    fn shorten(value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some((end, _)) = text.char_indices().nth(LONG_STRING) {
                    text.truncate(end);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(shorten),
            Value::Object(members) => members.values_mut().for_each(shorten),
            _ => {}
        }
    }
    let mut out = Vec::new();
    for line in rollouts::lines_of(rollout) {
        let Ok(mut value) = serde_json::from_slice::<Value>(line) else {
            out.extend(line);
            continue;
        };
        shorten(&mut value);
        out.extend(serde_json::to_vec(&value).expect("JSON"));
        out.push(b'\n');
    }
    out
}

/// Returns a recording, small ones more often than large ones.
fn pick<'a>(recordings: &'a [Recording], random: &mut Random) -> &'a Recording {
    let (one, other) = (random.pick(recordings), random.pick(recordings));
    if one.bytes.len() < other.bytes.len() { one } else { other }
}

// ---- a case ----

struct Case {
    /// The undamaged rollout.
    original: Vec<u8>,
    damages: Vec<Damage>,
    /// The seed of the checks that use random positions.
    seed: u64,
}

impl Case {
    fn new(seed: u64, recordings: &[Recording]) -> (String, Self) {
        let mut random = Random::new(seed);
        let recording = pick(recordings, &mut random);
        let bytes = if random.one_in(40) { &recording.bytes } else { &recording.shortened };
        let lines = rollouts::lines_of(bytes);
        let length = if random.one_in(2) { lines.len() } else { random.below(lines.len()) + 1 };
        let damages = (0..=random.below(4)).map(|_| Damage::random(&mut random)).collect();
        let original = lines[..length].concat();
        (recording.name.clone(), Self { original, damages, seed: random.number() })
    }

    fn damaged(&self) -> Vec<u8> {
        self.damages.iter().fold(self.original.clone(), |bytes, damage| damage.apply(&bytes))
    }

    fn check(&self) -> Result<(), Failure> {
        let is_flipped = self.damages.iter().any(|damage| damage.kind == Kind::Flip);
        let cost = reference::cost(&reference::records(&self.original));
        check(&self.damaged(), (!is_flipped).then_some(cost), self.seed)
    }
}

thread_local! {
    /// Whether a panic of this thread is reported as a failing case, and not printed.
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// A violated invariant.
struct Failure {
    invariant: &'static str,
    detail: String,
}

fn fail(invariant: &'static str, detail: impl Into<String>) -> Result<(), Failure> {
    Err(Failure { invariant, detail: detail.into() })
}

/// Checks all invariants of a rollout. `undamaged` is the cost of the rollout before damage that cannot change numbers.
fn check(rollout: &[u8], undamaged: Option<Cost>, seed: u64) -> Result<(), Failure> {
    let run = || {
        let start = Instant::now();
        IS_CAUGHT.set(true);
        let outcome = catch_unwind(AssertUnwindSafe(|| check_outputs(rollout, undamaged, seed)));
        IS_CAUGHT.set(false);
        (outcome, start.elapsed())
    };
    let (outcome, elapsed) = run();
    // A busy machine can stop once for that long.
    if elapsed > TIME_LIMIT && run().1 > TIME_LIMIT {
        return fail("bounded time", format!("{elapsed:?}"));
    }
    outcome.unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().cloned();
        let message = message.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        fail("no panic, and only valid records", message.unwrap_or_default())
    })
}

fn check_outputs(rollout: &[u8], undamaged: Option<Cost>, seed: u64) -> Result<(), Failure> {
    let random = &mut Random::new(seed);
    let found = reference::records(rollout);
    let Some(complete) = converted(rollout, rollout.len().max(1), End::Complete) else {
        let whole = found.iter().filter(|record| record.is_rollout_line()).count();
        return if whole == 0 { Ok(()) } else { fail("no rollout is rejected", format!("{whole} whole records")) };
    };
    records::check_transcript(&complete);

    let piece = *random.pick(&[1, 7, 100, 1000, 5000]);
    if piece < 1000 && rollout.len() > 20_000 || converted(rollout, piece, End::Complete).as_ref() == Some(&complete) {
    } else {
        return fail("the same bytes with pieces of any size", format!("pieces of {piece} bytes"));
    }
    check_growth(rollout, &complete, random)?;

    let (shown, sum) = read_transcript(&complete);
    for (content, Count { least, most }) in reference::contents(&found) {
        let times = shown.get(&content).copied().unwrap_or(0);
        if !(least..=most).contains(&times) {
            let invariant = match content {
                Content::Message(_) => "each whole message is converted once",
                Content::Call(_) | Content::Output(_) => "each whole call and output is converted once",
            };
            return fail(invariant, format!("{times} times, not {least} to {most}: {content:?}"));
        }
    }
    let Some(undamaged) = undamaged else { return Ok(()) };
    let readable = reference::cost(&found);
    let is_above = |sum: Tokens, limit: Tokens| (0..3).any(|index| sum[index] > limit[index]);
    let detail = || format!("{sum:?}, {readable:?} in the file, {undamaged:?} in the undamaged file");
    if !readable.is_mixed && is_above(sum, readable.all) && is_above(sum, undamaged.all) {
        return fail("no more tokens than the file's", detail());
    }
    let has_copies = found.iter().any(|record| record.value["payload"]["forked_from_id"].is_string());
    if !has_copies && is_above(readable.all, sum) && is_above(undamaged.all, sum) {
        return fail("no whole count is lost", detail());
    }
    Ok(())
}

/// Checks that the output grows with the input, and that a conversion can resume at a random line.
fn check_growth(rollout: &[u8], complete: &[u8], random: &mut Random) -> Result<(), Failure> {
    let Some(partial) = converted(rollout, rollout.len().max(1), End::Partial) else {
        // Only the unterminated last line shows that it is a rollout.
        return Ok(());
    };
    if !complete.starts_with(&partial) {
        return fail("the output of a growing input is a prefix of the complete one's", "");
    }
    let ends: Vec<usize> = memchr::memchr_iter(b'\n', rollout).map(|newline| newline + 1).collect();
    let (mut at, mut released) = (0, Vec::new());
    let mut converter = Converter::new("agent", Vec::new());
    let middle = if ends.is_empty() { 0 } else { *random.pick(&ends) };
    if !partial.starts_with(&converted(&rollout[..middle], middle.max(1), End::Partial).unwrap_or_default()) {
        return fail("the output of a prefix is a prefix", format!("of the first {middle} bytes"));
    }
    for end in [middle, ends.last().copied().unwrap_or(0)] {
        let mut lines = Lines::starting_at(&rollout[at..end], ByteOffset(at as u64), usize::MAX);
        while let Some(line) = lines.next_line().expect("in memory") {
            converter.line(line, &mut Input(rollout)).expect("in memory");
        }
        let checkpoint = converter.checkpoint();
        released.extend(converter.take_records().expect("in memory"));
        if !partial.starts_with(&released) {
            return fail("the same bytes after resuming", format!("at byte {middle}"));
        }
        converter = Converter::restore("agent", &checkpoint, Vec::new()).expect("a state of this version");
        at = usize::try_from(checkpoint.resume_at.0).expect("small");
    }
    if released != partial {
        return fail("the same bytes after resuming", format!("at byte {middle}"));
    }
    Ok(())
}

/// Reads the texts of programs from the complete input.
struct Input<'a>(&'a [u8]);

impl Reread for Input<'_> {
    fn program_text(&mut self, line: ByteOffset, text: &mut Vec<u8>) {
        let from = usize::try_from(line.0).expect("small");
        let line = rollouts::lines_of(&self.0[from..])[0];
        text.extend(program_text(line.strip_suffix(b"\n").unwrap_or(line)).unwrap_or_default());
    }
}

/// A reader that returns at most `piece` bytes at once.
struct Pieces<'a> {
    bytes: &'a [u8],
    piece: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(self.piece);
        self.bytes.read(&mut buffer[..length])
    }
}

/// Returns the transcript, or `None` if the bytes are rejected, for example because they are not a rollout.
fn converted(rollout: &[u8], piece: usize, end: End) -> Option<Vec<u8>> {
    let mut transcript = Vec::new();
    let options = Options { agent_id: "agent".to_owned(), end, ..Options::default() };
    let result = convert(Pieces { bytes: rollout, piece }, &mut transcript, &options, &mut |_| true);
    result.is_ok().then_some(transcript)
}

/// Returns how often each content occurs in a transcript, and the sum of the metrics that are not copied.
fn read_transcript(transcript: &[u8]) -> (HashMap<Content, usize>, Tokens) {
    let (mut contents, mut sum) = (HashMap::new(), Tokens::default());
    for line in rollouts::lines_of(transcript) {
        // Unpaired surrogates are valid JSON, but cannot be read.
        let Ok(record) = serde_json::from_slice::<Value>(line) else { continue };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let is_output = record["event_id"].as_str().is_some_and(|id| id.ends_with("-tool_result"));
        let content = [
            text(&record["message"]).map(Content::Message),
            text(&record["tool_calls"][0]["tool_call_id"]).map(Content::Call),
            text(&record["results"][0]["source_call_id"]).map(Content::Output).filter(|_| is_output),
        ];
        content.into_iter().flatten().for_each(|content| *contents.entry(content).or_default() += 1);
        if record["is_copied_context"] != true {
            for (sum, name) in sum.iter_mut().zip(["prompt_tokens", "completion_tokens", "cached_tokens"]) {
                *sum += record["metrics"][name].as_i64().unwrap_or(0);
            }
        }
    }
    (contents, sum)
}

// ---- making a failing case small ----

/// Removes damages, then lines, as long as the case violates the same invariant.
fn shrunk(mut case: Case, failure: Failure) -> (Vec<Damage>, Vec<u8>, Failure) {
    let mut failure = failure;
    let mut is_same = |checked: Result<(), Failure>| {
        let same = checked.err().filter(|other| other.invariant == failure.invariant);
        same.map(|same| failure = same).is_some()
    };
    for index in (0..case.damages.len()).rev() {
        let removed = case.damages.remove(index);
        if !is_same(case.check()) {
            case.damages.insert(index, removed);
        }
    }
    // The lines of the original and of the damaged rollout do not correspond, so the costs of the original stay.
    let is_flipped = case.damages.iter().any(|damage| damage.kind == Kind::Flip);
    let cost = (!is_flipped).then(|| reference::cost(&reference::records(&case.original)));
    let damaged = case.damaged();
    let mut lines = rollouts::lines_of(&damaged);
    let mut size = lines.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < lines.len() {
            let end = (at + size).min(lines.len());
            let rest = [&lines[..at], &lines[end..]].concat();
            if is_same(check(&rest.concat(), cost, case.seed)) {
                lines = rest;
            } else {
                at = end;
            }
        }
        size /= 2;
    }
    let rollout = lines.concat();
    (case.damages, rollout, failure)
}

// ---- tests ----

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// The failing cases of an invariant: how many, and the seed of the first one.
type Failures = HashMap<&'static str, (u64, u64)>;

fn run(seeds: std::ops::Range<u64>, recordings: &[Recording]) -> Failures {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut failures = Failures::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) {
                return failures;
            }
            if let Err(failure) = Case::new(seed, recordings).1.check() {
                failures.entry(failure.invariant).or_insert((0, seed)).0 += 1;
            }
        }
    };
    std::thread::scope(|scope| {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        let mut failures = Failures::new();
        for (invariant, (count, seed)) in threads.into_iter().flat_map(|thread| thread.join().expect("no panic")) {
            let entry = failures.entry(invariant).or_insert((0, seed));
            *entry = (entry.0 + count, entry.1.min(seed));
        }
        failures
    })
}

#[test]
fn what_is_whole_in_a_damaged_rollout_is_converted_once() {
    let count = number("MNGR_CODEX_MUTATIONS");
    let first = number("MNGR_CODEX_MUTATION_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
        count.map_or(0, |_| now << 20)
    });
    println!("the first seed is {first}");
    let recordings = recordings();
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !IS_CAUGHT.get() {
            print(panic);
        }
    }));
    let mut failures: Vec<_> = run(first..first + count.unwrap_or(CASES), &recordings).into_iter().collect();
    failures.sort_by_key(|(_, (_, seed))| *seed);
    let mut report = String::new();
    for (invariant, (count, seed)) in &failures {
        let (name, case) = Case::new(*seed, &recordings);
        let Err(failure) = case.check() else {
            let _ =
                writeln!(report, "\n{count} cases violate: {invariant}\n  seed {seed}, but not when it was repeated");
            continue;
        };
        let (damages, rollout, failure) = shrunk(case, failure);
        let path = std::env::temp_dir().join(format!("mngr-codex-mutation-{seed}.jsonl"));
        std::fs::write(&path, rollout).expect("the temporary folder can be written");
        let kinds: Vec<Kind> = damages.iter().map(|damage| damage.kind).collect();
        let _ = writeln!(
            report,
            "\n{count} cases violate: {invariant}\n  {name}, {kinds:?}: {}\n  {}: {}",
            "MNGR_CODEX_MUTATIONS=1 MNGR_CODEX_MUTATION_SEED=".to_owned() + &seed.to_string(),
            path.display(),
            failure.detail
        );
    }
    assert!(failures.is_empty(), "{report}");
}

#[test]
fn the_metrics_of_a_recording_add_up_to_what_its_session_cost() {
    let mut wrong = String::new();
    for Recording { name, bytes, .. } in recordings() {
        let found = reference::records(&bytes);
        let cost = reference::cost(&found);
        let (_, sum) = read_transcript(&converted(&bytes, bytes.len().max(1), End::Complete).unwrap_or_default());
        if sum != cost.own {
            let _ = writeln!(wrong, "{name}: {sum:?}, right is {:?}", cost.own);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
