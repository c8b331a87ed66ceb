//! Random schedules of the actions of Codex, users and accidents, and the properties that must hold after each pass.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tempfile::TempDir;

use super::*;
use crate::convert::command_attribution::Reread;
use crate::convert::{Converter, End, Pending};
use crate::files::positional;
use crate::follow::pending::PendingReader;
use crate::rollout::ByteOffset;
use crate::rollout::lines::Lines;

/// An action.
#[derive(Clone, Debug)]
enum Event {
    /// Codex appends complete lines.
    Append(Index, usize),
    /// Codex appends a part of a line.
    Tear(Index, usize),
    /// Another rollout becomes current: a new one or an existing one.
    Switch(Option<Index>),
    /// A rollout loses its last lines.
    Cut(Index, usize),
    /// A rollout is replaced by a copy of itself.
    Replace(Index),
    /// A rollout is rewritten: some lines are removed, and the others get ordinals.
    Migrate(Index, u64),
    /// A rollout is compressed, or decompressed.
    Compress(Index),
    Restore(Index),
    /// A rollout is archived, or moved back.
    Archive(Index),
    Unarchive(Index),
    /// A follower makes a pass.
    Follow(Process),
    /// A hook that ends a turn makes a brief pass.
    Flush,
    /// A follower is killed during a step. The numbers are the thousandths of the step that are in the raw and in the common
    /// transcript.
    Killed(Process, u16, u16),
    /// A follower makes a pass while this number of bytes fits on the disk.
    DiskFull(Process, usize),
    /// A rollout gets an earlier modification time, because the clock was set back.
    ClockBack(Index),
    /// The checkpoint is removed, or a byte in it is changed.
    Forget,
    Damage(prop::sample::Index, u8),
    /// The common transcript is removed.
    LoseCommon,
    /// The last entry of the list loses its newline.
    Unterminated,
}

type Index = prop::sample::Index;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Process {
    First,
    Second,
    New,
}

fn event() -> impl Strategy<Value = Event> {
    let rollout = any::<Index>;
    let process = || prop::sample::select(&[Process::First, Process::First, Process::Second, Process::New][..]);
    prop_oneof![
        10 => (rollout(), 1_usize..6).prop_map(|(rollout, lines)| Event::Append(rollout, lines)),
        3 => (rollout(), 1_usize..400).prop_map(|(rollout, bytes)| Event::Tear(rollout, bytes)),
        2 => prop::option::of(rollout()).prop_map(Event::Switch),
        1 => (rollout(), 1_usize..4).prop_map(|(rollout, lines)| Event::Cut(rollout, lines)),
        1 => rollout().prop_map(Event::Replace),
        1 => (rollout(), any::<u64>()).prop_map(|(rollout, seed)| Event::Migrate(rollout, seed)),
        1 => rollout().prop_map(Event::Compress),
        1 => rollout().prop_map(Event::Restore),
        1 => rollout().prop_map(Event::Archive),
        1 => rollout().prop_map(Event::Unarchive),
        10 => process().prop_map(Event::Follow),
        4 => Just(Event::Flush),
        6 => (process(), 0_u16..=1000, 0_u16..=1000).prop_map(|(process, raw, common)| Event::Killed(process, raw, common)),
        4 => (process(), 0_usize..6000).prop_map(|(process, bytes)| Event::DiskFull(process, bytes)),
        2 => rollout().prop_map(Event::ClockBack),
        1 => Just(Event::Forget),
        1 => (rollout(), 1_u8..).prop_map(|(at, flipped)| Event::Damage(at, flipped)),
        1 => Just(Event::LoseCommon),
        1 => Just(Event::Unterminated),
    ]
}

/// A rollout of Codex.
struct Rollout {
    path: PathBuf,
    /// The numbers of its complete lines, and whether they have ordinals.
    lines: Vec<(u64, bool)>,
    /// The number of the next line, and the length of its part that has been written.
    torn: Option<(u64, usize)>,
    is_compressed: bool,
    is_archived: bool,
}

impl Rollout {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.lines.iter().flat_map(|(number, has)| line(*number, *has)).collect();
        if let Some((number, length)) = self.torn {
            bytes.extend(&line(number, false)[..length]);
        }
        bytes
    }

    fn location(&self) -> PathBuf {
        let path = if self.is_archived { archive(&self.path) } else { self.path.clone() };
        if self.is_compressed { path.with_extension("jsonl.zst") } else { path }
    }

    fn rewrite(&self) {
        let path = self.location();
        fs::create_dir_all(path.parent().expect("a folder")).expect("can be created");
        let bytes = self.bytes();
        let bytes =
            if self.is_compressed { zstd::encode_all(&bytes[..], 1).expect("can be compressed") } else { bytes };
        // A rename gives the path to a new file.
        let new = path.with_extension("new");
        fs::write(&new, bytes).expect("can be written");
        fs::rename(new, path).expect("can be renamed");
    }

    fn remove(&self) {
        fs::remove_file(self.location()).expect("existed");
    }
}

fn archive(path: &Path) -> PathBuf {
    let home = path.ancestors().nth(5).expect("a home");
    home.join("archived_sessions").join(path.file_name().expect("a name"))
}

/// Returns a unique line. Some lines have token counts, some wait for them, and some are long.
fn line(number: u64, has_ordinal: bool) -> Vec<u8> {
    let ordinal = if has_ordinal { format!("\"ordinal\":{number},") } else { String::new() };
    let text = "word ".repeat(usize::try_from(number * 7 % 60).expect("small"));
    let (kind, payload) = match number % 7 {
        0 => ("turn_context", format!("{{\"turn_id\":\"turn {number}\",\"model\":\"m\"}}")),
        1 => (
            "response_item",
            format!(
                "{{\"type\":\"message\",\"role\":\"user\",\"content\":[{{\"type\":\"input_text\",\"text\":\"{text}\"}}]}}"
            ),
        ),
        2 => (
            "event_msg",
            format!(
                "{{\"type\":\"token_count\",\"info\":{{\"total_token_usage\":{{\"input_tokens\":{number}}},\
                 \"last_token_usage\":{{\"input_tokens\":1}}}}}}"
            ),
        ),
        3 => (
            "response_item",
            format!(
                "{{\"type\":\"function_call\",\"call_id\":\"c{number}\",\"name\":\"exec\",\"arguments\":\"{{}}\"}}"
            ),
        ),
        4 => (
            "response_item",
            format!("{{\"type\":\"function_call_output\",\"call_id\":\"c{}\",\"output\":\"{text}\"}}", number - 1),
        ),
        _ => (
            "response_item",
            format!(
                "{{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{{\"type\":\"output_text\",\
                 \"text\":\"{number} {text}\"}}]}}"
            ),
        ),
    };
    let time = 1_767_600_000_000 + time_of(number) * 10;
    let time = humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + Duration::from_millis(time));
    format!("{{\"timestamp\":\"{time}\",{ordinal}\"type\":\"{kind}\",\"payload\":{payload}}}\n").into_bytes()
}

/// Returns the time of a line. The clock is set back: of sixteen lines, the last eight are earlier than the first. The
/// function is its own inverse.
fn time_of(number: u64) -> u64 {
    number ^ 8
}

/// An agent with its Codex and its followers.
struct World {
    home: TempDir,
    rollouts: Vec<Rollout>,
    next: u64,
    followers: BTreeMap<bool, Follower>,
    /// The bytes of the raw and the common transcript that a reader has seen.
    seen: (Vec<u8>, Vec<u8>),
}

impl World {
    fn new() -> Self {
        let home = TempDir::new().expect("a temporary folder");
        fs::create_dir(home.path().join("agent")).expect("can be created");
        let mut world =
            Self { home, rollouts: Vec::new(), next: 0, followers: BTreeMap::new(), seen: (Vec::new(), Vec::new()) };
        world.switch(None);
        world
    }

    fn dir(&self) -> StateDir {
        StateDir::new(self.home.path().join("agent"))
    }

    fn rollout(&mut self, index: Index) -> &mut Rollout {
        let index = index.index(self.rollouts.len());
        &mut self.rollouts[index]
    }

    fn switch(&mut self, index: Option<Index>) {
        let index = if let Some(index) = index {
            index.index(self.rollouts.len())
        } else {
            let name = format!("codex/sessions/2026/01/05/rollout-{}.jsonl", self.rollouts.len());
            let path = self.home.path().join(name);
            let rollout = Rollout { path, lines: Vec::new(), torn: None, is_compressed: false, is_archived: false };
            rollout.rewrite();
            self.rollouts.push(rollout);
            self.rollouts.len() - 1
        };
        let path = self.dir().transcript_paths();
        let mut list = fs::read(&path).unwrap_or_default();
        if list.last().is_some_and(|last| *last != b'\n') {
            list.push(b'\n');
        }
        list.extend(format!("{}\n", self.rollouts[index].path.display()).into_bytes());
        fs::write(path, list).expect("can be written");
    }

    fn perform(&mut self, event: &Event) {
        let first = self.next;
        match event {
            Event::Append(index, count) => {
                let rollout = self.rollout(*index);
                let started = rollout.torn.take();
                let new = started.map(|(number, _)| number).into_iter().chain(first..first + *count as u64);
                let new: Vec<u64> = new.collect();
                rollout.lines.extend(new.iter().map(|number| (*number, false)));
                rollout.append(&new, started.map_or(0, |(_, length)| length));
                self.next += *count as u64;
            }
            Event::Tear(index, bytes) => {
                let rollout = self.rollout(*index);
                let (number, length) = rollout.torn.unwrap_or((first, 0));
                let complete = line(number, false);
                let more = (length + bytes).min(complete.len() - 1);
                rollout.torn = Some((number, more));
                rollout.append_bytes(&complete[length..more]);
                self.next += 1;
            }
            Event::Switch(index) => self.switch(*index),
            Event::Cut(index, count) => {
                let rollout = self.rollout(*index);
                rollout.torn = None;
                rollout.lines.truncate(rollout.lines.len().saturating_sub(*count));
                rollout.rewrite();
            }
            Event::Replace(index) => self.rollout(*index).rewrite(),
            Event::Migrate(index, seed) => {
                let rollout = self.rollout(*index);
                rollout
                    .lines
                    .retain(|(number, _)| (seed.rotate_left(u32::try_from(number % 64).unwrap_or(0))) % 5 != 0);
                rollout.lines.iter_mut().for_each(|(_, has_ordinal)| *has_ordinal = true);
                rollout.rewrite();
            }
            Event::Compress(index) => self.rollout(*index).set_compressed(true),
            Event::Restore(index) => self.rollout(*index).set_compressed(false),
            Event::Archive(index) => self.rollout(*index).move_to_archive(true),
            Event::Unarchive(index) => self.rollout(*index).move_to_archive(false),
            Event::Follow(process) => self.follow(*process, false),
            Event::Flush => self.flush(),
            Event::Killed(process, raw, common) => self.follow_and_be_killed(*process, *raw, *common),
            Event::DiskFull(process, bytes) => self.follow_on_a_full_disk(*process, *bytes),
            Event::ClockBack(index) => self.rollout(*index).set_clock_back(),
            Event::Forget => {
                let _ = fs::remove_file(self.dir().following());
            }
            Event::Damage(at, flipped) => {
                let path = self.dir().following();
                let mut bytes = fs::read(&path).unwrap_or_default();
                // Only the first bytes, because most of the others are unused.
                if !bytes.is_empty() {
                    let at = at.index(bytes.len().min(600));
                    bytes[at] ^= flipped;
                    fs::write(path, bytes).expect("can be written");
                }
            }
            Event::LoseCommon => {
                let _ = fs::remove_file(self.dir().common_transcript());
                self.seen.1.clear();
            }
            Event::Unterminated => {
                let path = self.dir().transcript_paths();
                let list = fs::read(&path).expect("exists");
                fs::write(path, list.strip_suffix(b"\n").unwrap_or(&list)).expect("can be written");
            }
        }
    }

    /// Makes a pass and checks its result.
    fn follow(&mut self, process: Process, is_final: bool) {
        self.pass(process, is_final).expect("a pass");
        self.check(is_final);
    }

    fn pass(&mut self, process: Process, is_final: bool) -> Result<PassSummary, FollowError> {
        let dir = self.dir();
        if process == Process::New {
            self.followers.clear();
        }
        let follower = self.followers.entry(process == Process::Second).or_insert_with(|| Follower::new(dir));
        follower.pass(PassOptions { is_final, ..PassOptions::default() }, Duration::ZERO, None)
    }

    /// Makes a brief pass, which may do nothing.
    fn flush(&mut self) {
        let before = self.transcripts();
        let options = PassOptions { is_brief: true, ..PassOptions::default() };
        Follower::new(self.dir()).pass(options, Duration::ZERO, None).expect("a pass");
        let (raw, common) = self.transcripts();
        if (&raw, &common) == (&before.0, &before.1) {
            return;
        }
        self.check_lines(&raw, &common);
        assert_eq!(String::from_utf8_lossy(&common), String::from_utf8_lossy(&converted(&raw)));
        self.check_pending(&raw, &common);
        self.seen = (raw, common);
    }

    /// Checks that the pending records complete the common transcript, for a reader that has seen any part of it.
    fn check_pending(&self, raw: &[u8], common: &[u8]) {
        let mut reader = PendingReader::for_transcript(&self.dir().common_transcript()).expect("is an agent's");
        let all = finished(raw);
        let shown = common.len();
        let pending = reader.read(ByteOffset(shown as u64));
        if pending != Pending::default() {
            assert_eq!(String::from_utf8_lossy(&pending.records), String::from_utf8_lossy(&all[shown..]));
        }
    }

    /// Makes a pass that may fail. The transcripts must be the beginning of the expected ones then.
    fn follow_on_a_full_disk(&mut self, process: Process, bytes: usize) {
        match positional::full::after(bytes, || self.pass(process, false)) {
            Ok(_) => self.check(false),
            Err(FollowError::File(FileError { source, .. })) if source.kind() == io::ErrorKind::StorageFull => {
                let (raw, common) = self.transcripts();
                self.check_lines(&raw, &common);
                assert!(converted(&raw).starts_with(&common), "the common transcript is ahead of the raw one");
                self.seen = (raw, common);
            }
            Err(error) => panic!("unexpected error: {error}"),
        }
    }

    /// Restores the files that a killed pass leaves: the intent of a step, and some of the bytes that it appends.
    fn follow_and_be_killed(&mut self, process: Process, raw_part: u16, common_part: u16) {
        let dir = self.dir();
        let files = [dir.following(), dir.raw_transcript(), dir.common_transcript()];
        let before = files.clone().map(|path| fs::read(path).unwrap_or_default());
        let size = self.rollouts.iter().map(|rollout| rollout.bytes().len()).sum::<usize>();
        self.follow(process, false);
        let after = files.clone().map(|path| fs::read(path).unwrap_or_default());
        let (raw, common) = (after[1].len() - before[1].len().min(after[1].len()), after[2].len());
        let is_one_step = raw > 0 && raw as u64 <= STEP && after[1].starts_with(&before[1]);
        if !is_one_step || size == 0 || after[0].len() < before[0].len() || before[0].is_empty() {
            return;
        }
        // The previous checkpoint with the intent that followed it.
        let mut following = before[0].clone();
        let intent = usize::try_from(super::super::checkpoint::INTENT).expect("small");
        following.resize(following.len().max(after[0].len()), 0);
        following[intent..].copy_from_slice(&after[0][intent..]);
        let part = |all: usize, part: u16| all * usize::from(part) / 1000;
        let raw_length = before[1].len() + part(raw, raw_part);
        // Records are written after the lines from which they are made.
        let common_part = if raw_length == after[1].len() { common_part } else { 0 };
        let was = before[2].len().min(common);
        let common_length = was + part(common - was, common_part);
        fs::write(&files[0], following).expect("can be written");
        fs::write(&files[1], &after[1][..raw_length]).expect("can be written");
        fs::write(&files[2], &after[2][..common_length]).expect("can be written");
        self.followers.clear();
        // A reader can have seen only the complete lines.
        self.seen.0.truncate(raw_length);
        self.seen.1.truncate(common_length);
        for seen in [&mut self.seen.0, &mut self.seen.1] {
            seen.truncate(complete_lines(seen));
        }
    }

    fn check(&mut self, is_final: bool) {
        let (raw, common) = self.transcripts();
        if is_final {
            // Records that were held back before may have been emitted without counts.
            self.seen.1.clear();
        } else {
            assert_eq!(String::from_utf8_lossy(&common), String::from_utf8_lossy(&converted(&raw)));
        }
        self.check_pending(&raw, &common);
        let numbers = self.check_lines(&raw, &common);
        let missing: Vec<u64> = self
            .rollouts
            .iter()
            .filter(|rollout| self.is_listed(rollout))
            .flat_map(|rollout| &rollout.lines)
            .map(|(number, _)| *number)
            .filter(|number| !numbers.contains(number))
            .collect();
        assert!(missing.is_empty(), "lines {missing:?} are missing");
        self.seen = (raw, common);
    }

    /// Checks that bytes that were seen are unchanged, that all lines are complete, and that each one is there once. Returns
    /// the numbers of the lines.
    fn check_lines(&self, raw: &[u8], common: &[u8]) -> HashSet<u64> {
        assert!(raw.starts_with(&self.seen.0), "the raw transcript changed");
        assert!(common.starts_with(&self.seen.1), "the common transcript changed");
        assert_eq!((complete_lines(raw), complete_lines(common)), (raw.len(), common.len()));
        let mut numbers = HashSet::new();
        for line in raw.split_inclusive(|byte| *byte == b'\n') {
            assert!(numbers.insert(number(line)), "{} is duplicated", String::from_utf8_lossy(line));
        }
        numbers
    }

    fn transcripts(&self) -> (Vec<u8>, Vec<u8>) {
        let dir = self.dir();
        let read = |path| fs::read(path).unwrap_or_default();
        (read(dir.raw_transcript()), read(dir.common_transcript()))
    }

    fn is_listed(&self, rollout: &Rollout) -> bool {
        let list = fs::read_to_string(self.dir().transcript_paths()).expect("exists");
        list.lines().any(|line| Path::new(line) == rollout.path)
    }
}

impl Rollout {
    fn append(&mut self, numbers: &[u64], started: usize) {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| line(*number, false)).collect();
        self.append_bytes(&bytes[started..]);
    }

    fn append_bytes(&mut self, bytes: &[u8]) {
        if self.is_compressed || self.is_archived {
            // Codex restores a rollout before it appends to it.
            self.remove();
            (self.is_compressed, self.is_archived) = (false, false);
            self.rewrite();
        } else {
            let mut file = File::options().append(true).open(self.location()).expect("exists");
            file.write_all(bytes).expect("can be written");
        }
    }

    /// Sets the modification time back.
    fn set_clock_back(&self) {
        let file = File::options().append(true).open(self.location()).expect("exists");
        let before = file.metadata().and_then(|metadata| metadata.modified()).expect("has a time");
        file.set_modified(before - Duration::from_secs(3600)).expect("can be set");
    }

    fn set_compressed(&mut self, is_compressed: bool) {
        if self.is_compressed != is_compressed {
            let before = self.location();
            self.is_compressed = is_compressed;
            self.rewrite();
            fs::remove_file(before).expect("existed");
        }
    }

    fn move_to_archive(&mut self, is_archived: bool) {
        if self.is_archived != is_archived {
            let before = self.location();
            self.is_archived = is_archived;
            let after = self.location();
            fs::create_dir_all(after.parent().expect("a folder")).expect("can be created");
            fs::rename(before, after).expect("can be moved");
        }
    }
}

/// Returns the end of the last complete line.
fn complete_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1)
}

/// Returns the number of a line, which is derived from its time.
fn number(line: &[u8]) -> u64 {
    let value: serde_json::Value = serde_json::from_slice(line).expect("a complete line");
    let time = humantime::parse_rfc3339(value["timestamp"].as_str().expect("a time")).expect("a time");
    let millis = time.duration_since(std::time::UNIX_EPOCH).expect("later").as_millis();
    time_of(u64::try_from(millis - 1_767_600_000_000).expect("small") / 10)
}

/// Returns the records of the raw transcript, as `convert --partial` makes them.
fn converted(raw: &[u8]) -> Vec<u8> {
    converted_until(raw, End::Partial)
}

/// Returns all records of the raw transcript.
fn finished(raw: &[u8]) -> Vec<u8> {
    converted_until(raw, End::Complete)
}

fn converted_until(raw: &[u8], end: End) -> Vec<u8> {
    let mut converter = Converter::new("agent", Vec::new());
    let mut lines = Lines::new(raw, usize::MAX);
    while let Some(line) = lines.next_line().expect("in memory") {
        converter.line(line, &mut NoLines).expect("in memory");
    }
    converter.finish(end).expect("in memory");
    converter.take_records().expect("in memory")
}

struct NoLines;

impl Reread for NoLines {
    fn program_text(&mut self, _line: ByteOffset, _text: &mut Vec<u8>) {}
}

/// The default number of schedules. These, and fewer, are always the same, so that a failure is caused by the change.
const SCHEDULES: u32 = 2000;

fn schedules() -> ProptestConfig {
    let count = std::env::var("MNGR_CODEX_SCHEDULES").ok().and_then(|count| count.parse().ok());
    let config = ProptestConfig::with_cases(count.unwrap_or(SCHEDULES));
    if config.cases > SCHEDULES {
        // Random schedules: proptest prints a failing one, and keeps its seed.
        return config;
    }
    ProptestConfig { rng_seed: RngSeed::Fixed(20_261_125), ..config }
}

proptest! {
    #![proptest_config(schedules())]

    #[test]
    fn each_line_is_copied_once(events in prop::collection::vec(event(), 1..40)) {
        let mut world = World::new();
        for event in &events {
            world.perform(event);
        }
        world.follow(Process::New, false);
        world.follow(Process::First, true);
    }
}
