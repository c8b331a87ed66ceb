//! One pass: what is new in the rollouts goes into the raw transcript, and from there into the common one.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::checkpoint::{Checkpoint, Extent, Intent, Locked};
use super::known_lines::KnownLines;
use super::source::{Copied, Opened, Source, Stamp};
use super::transcripts::Transcript;
use crate::convert::attribution::Reread;
use crate::convert::{Converter, End, OutputError, command};
use crate::event_log::{Level, log};
use crate::files::lock::LockError;
use crate::files::positional::PositionalReader;
use crate::files::regular::{FileId, require_regular};
use crate::lifecycle::reconcile::LineListener;
use crate::rollout::ByteOffset;
use crate::rollout::lines::{Line, Lines};
use crate::state_dir::StateDir;

/// Bytes that a step copies, but for a line that is longer. Tests make many steps.
const STEP: u64 = if cfg!(test) { 700 } else { 8 << 20 };

/// The same for a pass that is to be brief: what is copied and converted in some milliseconds. It is also the most that
/// such a pass converts again.
const BRIEF_STEP: u64 = if cfg!(test) { 300 } else { 1 << 20 };

/// The longest line that such a pass copies.
const BRIEF_LINE: u64 = 8 << 20;

/// Sources that are watched besides the current one: lines of a turn that is over can come seconds late. All others are
/// looked at with each pass.
const WATCHED: usize = 4;

/// Sources that are remembered; one that was forgotten and comes again is compared line by line.
const MOST_SOURCES: usize = 4096;

/// Why a pass could not be made, or not to its end. What was done until then stays done.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// There is no such state dir.
    #[error("there is no state dir at {0}")]
    NoStateDir(PathBuf),
    /// Somebody else has been following for too long.
    #[error("{path}: {source}")]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// Why it was not to be had.
        source: LockError,
    },
    /// The system failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Records could not be kept until they may be written.
    #[error(transparent)]
    Waiting(OutputError),
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> FollowError + '_ {
    |source| FollowError::Io { path: path.to_owned(), source }
}

/// How far a pass goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Until {
    /// When it stops, between two steps, whatever is left; never where there is none.
    pub deadline: Option<Instant>,
    /// Whether nothing more will come: no record is held back.
    pub is_final: bool,
    /// Whether what may take long is left to a later pass: where lines must be compared or much is to be converted again,
    /// and rollouts that are no longer current.
    pub is_brief: bool,
}

impl Until {
    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Bytes that a step copies.
    fn step(&self) -> u64 {
        if self.is_brief { BRIEF_STEP } else { STEP }
    }
}

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// Bytes that the raw transcript has more.
    pub raw_bytes: u64,
    /// Bytes that the common transcript has more.
    pub common_bytes: u64,
    /// Whether something was left: the deadline came, or the pass was to be brief.
    pub is_cut_short: bool,
}

/// Follows the rollouts of one agent, pass by pass.
pub struct Follower {
    dir: StateDir,
    agent_id: String,
    live: Option<Live>,
}

/// What is kept between two passes; good as long as nobody else makes one.
struct Live {
    /// The checkpoint's file and number.
    stamp: (FileId, u64),
    checkpoint: Checkpoint,
    raw: Transcript,
    /// Makes the common transcript; none where that is not wanted.
    converter: Option<Converter<Transcript>>,
    /// What sources were when all of their whole lines were copied.
    seen: HashMap<u32, Seen>,
}

/// What a source was when all of its whole lines were copied.
#[derive(Clone, Copy)]
struct Seen {
    stamp: Stamp,
    /// No line ends between what was copied and this place.
    searched: u64,
    /// The hash of the bytes before that place.
    end: [u8; 16],
}

impl Follower {
    /// Follows the rollouts of the agent whose state dir this is. Its id is the state dir's name.
    #[must_use]
    pub fn new(dir: StateDir) -> Self {
        let path = dir.path();
        let name = if path.is_symlink() { None } else { path.file_name().map(ToOwned::to_owned) };
        let name = name.or_else(|| Some(fs::canonicalize(path).ok()?.file_name()?.to_owned()));
        let agent_id = name.unwrap_or_default().to_string_lossy().into_owned();
        Self { dir, agent_id, live: None }
    }

    /// Makes one pass; waits for others that make one no longer than `timeout`. The lines are heard as they are copied,
    /// as far as they are those that `hearing` waits for.
    ///
    /// # Errors
    ///
    /// [`FollowError`]
    pub fn pass(
        &mut self,
        until: Until,
        timeout: Duration,
        hearing: Option<&mut LineListener>,
    ) -> Result<Followed, FollowError> {
        if !self.dir.path().is_dir() {
            return Err(FollowError::NoStateDir(self.dir.path().to_owned()));
        }
        let path = self.dir.following();
        let locked = Locked::open(&self.dir, timeout).map_err(|source| FollowError::Lock { path, source })?;
        let (dir, agent_id) = (&self.dir, &self.agent_id);
        let mut pass = match self.live.take().filter(|live| live.is_current(&locked, dir)) {
            Some(live) => Pass { dir, locked: &locked, live, hearing: None },
            None => match Pass::load(dir, agent_id, &locked, until.is_brief)? {
                Some(pass) => pass,
                None => return Ok(Followed { is_cut_short: true, ..Followed::default() }),
            },
        };
        pass.hearing = hearing;
        let before = (pass.live.raw.length(), pass.live.common_length());
        let is_complete = pass.run(until).inspect_err(|_| pass.cut_partial_lines())?;
        let live = pass.live;
        let (raw, common) = (live.raw.length(), live.common_length());
        self.live = Some(live);
        Ok(Followed {
            raw_bytes: raw.saturating_sub(before.0),
            common_bytes: common.saturating_sub(before.1),
            is_cut_short: !is_complete,
        })
    }

    /// How much of the rollout that hooks name `path` is in the raw transcript, in bytes; none where that is not known.
    #[must_use]
    pub fn copied(&self, path: &Path) -> Option<u64> {
        let sources = &self.live.as_ref()?.checkpoint.sources;
        let source = sources.iter().find(|source| Path::new(&source.path) == path)?;
        Some(source.copied?.length)
    }

    /// The rollouts that may go on: the current one and those that were before it, where hooks named them.
    pub fn rollouts(&self) -> impl Iterator<Item = &Path> {
        let checkpoint = self.live.as_ref().map(|live| &live.checkpoint);
        let sources = checkpoint.map_or(&[][..], |checkpoint| &checkpoint.sources);
        let current =
            checkpoint.and_then(|checkpoint| checkpoint.current).and_then(|place| sources.get(place as usize));
        let late = sources.iter().rev().take(WATCHED);
        current.into_iter().chain(late).map(|source| Path::new(&source.path))
    }
}

impl Live {
    fn common(&self) -> Option<&Transcript> {
        self.converter.as_ref().map(Converter::sink)
    }

    fn common_mut(&mut self) -> Option<&mut Transcript> {
        self.converter.as_mut().map(Converter::sink_mut)
    }

    fn common_length(&self) -> u64 {
        self.common().map_or(0, Transcript::length)
    }

    /// Whether nobody else has made a pass since, and the transcripts are as they were left.
    fn is_current(&self, locked: &Locked, dir: &StateDir) -> bool {
        self.stamp.1 > 0
            && locked.stamp().is_ok_and(|stamp| stamp == self.stamp)
            && self.raw.is_as_left(&dir.raw_transcript())
            && self.converter.is_some() == makes_common(dir)
            && self.common().is_none_or(|common| common.is_as_left(&dir.common_transcript()))
    }
}

/// A pass under way.
struct Pass<'p> {
    dir: &'p StateDir,
    locked: &'p Locked,
    live: Live,
    hearing: Option<&'p mut LineListener>,
}

/// What a step came to.
type Stepped<T> = Result<T, FollowError>;

impl<'p> Pass<'p> {
    // ---- the beginning: what is on disk ----

    /// Takes up what is on disk, settles a step that was not completed, and brings the common transcript up to the raw
    /// one; `None` where it is to be brief and that may take long.
    fn load(dir: &'p StateDir, agent_id: &str, locked: &'p Locked, is_brief: bool) -> Stepped<Option<Self>> {
        let (raw_path, own) = (dir.raw_transcript(), dir.following());
        let found = locked.read().map_err(io_error(&own))?;
        let id = locked.stamp().map_err(io_error(&own))?.0;
        let mut checkpoint = found.checkpoint;
        let mut raw = Transcript::open(dir, &raw_path).map_err(io_error(&raw_path))?;
        let fits = found.number > 0 && raw.go_on_behind(checkpoint.raw).map_err(io_error(&raw_path))?;
        let is_whole = fits && (raw.left_over() == 0 || matches!(found.intent, Some(Intent::Append { .. })));
        let is_new = found.number == 0 && !found.is_broken && raw.left_over() == 0;
        if is_brief && !is_whole && !is_new {
            return Ok(None);
        }
        if !is_whole {
            if found.number > 0 || found.is_broken || raw.left_over() > 0 {
                let why = if found.number == 0 { "is lost or damaged" } else { "does not fit the raw transcript" };
                let how = "what is in the rollouts is compared with that line by line";
                say(dir, Level::Warning, &format!("the checkpoint {why}: {how}"));
            }
            raw.keep_whole_lines().map_err(io_error(&raw_path))?;
            let sources = if raw.length() == 0 { Vec::new() } else { listed_sources(dir) };
            checkpoint = Checkpoint { sources, ..Checkpoint::default() };
        }
        let (converter, from) = if makes_common(dir) {
            let (converter, from) = conversion(dir, agent_id, &checkpoint)?;
            (Some(converter), from)
        } else {
            (None, ByteOffset(raw.length()))
        };
        let to_append = match found.intent {
            Some(Intent::Append { from, to, .. }) => to - from,
            Some(Intent::Release) | None => 0,
        };
        if is_brief && raw.length() - from.0 + to_append > BRIEF_STEP {
            return Ok(None);
        }
        let live = Live { stamp: (id, found.number), checkpoint, raw, converter, seen: HashMap::new() };
        let mut pass = Self { dir, locked, live, hearing: None };
        let intent = found.intent.filter(|_| is_whole);
        let is_settled = is_new || (is_whole && intent.is_none());
        pass.take_up(from, intent, is_settled).inspect_err(|_| pass.cut_partial_lines())?;
        Ok(Some(pass))
    }

    /// Completes what was not completed, and brings the common transcript up to the raw one, `from` on.
    fn take_up(&mut self, from: ByteOffset, intent: Option<Intent>, is_settled: bool) -> Stepped<()> {
        if let Some(Intent::Append { source, from, to }) = intent {
            self.settle(source, from, to)?;
        }
        self.convert_raw(from)?;
        if intent == Some(Intent::Release) {
            self.release()?;
        }
        self.flush()?;
        // What was settled is so from now on: the next intent is of a step behind it.
        if is_settled { Ok(()) } else { self.commit() }
    }

    /// Leaves no half line behind, where that can be helped. Whole ones stay: who reads them has seen them, and the next
    /// pass compares them with what was intended.
    fn cut_partial_lines(&mut self) {
        let Checkpoint { raw, common, .. } = self.live.checkpoint;
        let _ = self.live.raw.cut_partial_line(raw.length);
        if let Some(transcript) = self.live.common_mut() {
            let _ = transcript.cut_partial_line(common.length);
        }
    }

    /// Completes what a step was about to append from `from` to `to` of a source. Where the source no longer has it, what
    /// was appended stays as far as it is whole lines, and the source is compared line by line.
    fn settle(&mut self, source: u32, from: u64, to: u64) -> Stepped<()> {
        let left = self.live.raw.left_over();
        if left == 0 {
            return Ok(());
        }
        let start = self.live.raw.length();
        let mut failure = None;
        let completed = self.complete(source, from, to, &mut failure).unwrap_or(None);
        let path = self.dir.raw_transcript();
        if let Some(error) = failure {
            return Err(io_error(&path)(error));
        }
        if let Some(copied) = completed {
            self.set_copied(source, Some(copied));
            return Ok(());
        }
        self.live.raw.go_back_to(start);
        self.live.raw.keep_whole_lines().map_err(io_error(&path))?;
        self.set_copied(source, None);
        say(self.dir, Level::Warning, "a rollout was written anew while it was copied; its lines are compared");
        Ok(())
    }

    /// Appends what is missing; `None` where the source is not what it was, or is too short. Why the transcript cannot be
    /// written is the `failure`; all other errors are of the source.
    fn complete(
        &mut self,
        source: u32,
        from: u64,
        to: u64,
        failure: &mut Option<io::Error>,
    ) -> io::Result<Option<Copied>> {
        let Some(Source { path, copied: Some(copied) }) = self.live.checkpoint.sources.get(source as usize) else {
            return Ok(None);
        };
        let opened = Opened::find(Path::new(path))?;
        if copied.length != from || !opened.begins_with(copied)? {
            return Ok(None);
        }
        // Where it was cut meanwhile and grew again, other lines may stand there.
        let mut last = [0];
        let is_line_end = opened.read_from(to - 1)?.read(&mut last)? == 1 && last == *b"\n";
        let Some(after) = opened.copied_until(to)?.filter(|_| is_line_end) else { return Ok(None) };
        let raw = &mut self.live.raw;
        let left = raw.left_over();
        if left > to - from {
            return Ok(None);
        }
        // What is there is compared, and the rest written.
        let mut there = opened.read_from(from)?.take(left);
        let mut chunk = vec![0; 64 << 10];
        loop {
            let count = there.read(&mut chunk)?;
            if count == 0 {
                break;
            }
            if !raw.stands_next(&chunk[..count])? {
                return Ok(None);
            }
            raw.pass_over(count as u64);
        }
        drop(there);
        let input = opened.read_from(from + left)?.take(to - from - left);
        let mut tee = Tee { input, raw, failure: None };
        let appended = io::copy(&mut tee, &mut io::sink());
        *failure = tee.failure.take();
        Ok((appended? == to - from - left).then_some(after))
    }

    /// Converts what stands in the raw transcript from `from` on.
    fn convert_raw(&mut self, from: ByteOffset) -> Stepped<()> {
        let Live { raw, converter, .. } = &mut self.live;
        if from.0 == raw.length() {
            return Ok(());
        }
        let input = PositionalReader::within(raw.file(), from.0..raw.length());
        let lines = Lines::starting_at(input, from, usize::MAX);
        convert(lines, converter.as_mut(), raw.file(), self.dir, &self.dir.raw_transcript(), |_| {})
    }

    // ---- what is new ----

    /// Takes in all that is new; whether that was possible as it is to be.
    fn run(&mut self, until: Until) -> Stepped<bool> {
        if !until.is_brief {
            self.align()?;
        }
        if let Some(current) = self.live.checkpoint.current
            && !self.drain(current, until)?
        {
            return Ok(false);
        }
        for (path, end) in self.list()? {
            if until.is_over() {
                return Ok(false);
            }
            let source = self.source(&path)?;
            self.live.checkpoint.current = Some(source);
            let is_complete = self.drain(source, until)?;
            // An entry without an end of line may go on; it is looked at again.
            if let Some(end) = end {
                self.live.checkpoint.listed = end;
            }
            if !is_complete {
                return Ok(false);
            }
        }
        let current = self.live.checkpoint.current;
        let sources = if until.is_brief { 0 } else { small(self.live.checkpoint.sources.len()) };
        for source in (0..sources).rev().filter(|source| Some(*source) != current) {
            if !self.drain(source, until)? {
                return Ok(false);
            }
        }
        if until.is_final {
            let number = self.live.stamp.1;
            self.locked.write_intent(number, Intent::Release).map_err(io_error(&self.dir.following()))?;
            self.release()?;
            self.commit()?;
        }
        Ok(true)
    }

    /// The entries of the list of rollouts that were not taken in yet, and where each ends; none for one without an end
    /// of line.
    fn list(&self) -> Stepped<Vec<(String, Option<u64>)>> {
        let path = self.dir.transcript_paths();
        let list = match read_regular(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // The plugin that ran before this one knows only the present one.
                let pointer = read_regular(&self.dir.transcript_path()).unwrap_or_default();
                return Ok(entries(&pointer, 0).map(|(entry, _)| (entry, None)).take(1).collect());
            }
            list => list.map_err(io_error(&path))?,
        };
        let listed = usize::try_from(self.live.checkpoint.listed).unwrap_or(usize::MAX);
        // One that is shorter than what was taken in was written anew.
        let from = if listed <= list.len() { listed } else { 0 };
        Ok(entries(&list, from).collect())
    }

    /// The place of the source that hooks name `path`, which may be a new one.
    fn source(&mut self, path: &str) -> Stepped<u32> {
        let Checkpoint { sources, current, .. } = &mut self.live.checkpoint;
        if let Some(place) = sources.iter().position(|source| source.path == path) {
            return Ok(small(place));
        }
        if sources.len() >= MOST_SOURCES {
            sources.remove(0);
            *current = current.and_then(|current| current.checked_sub(1));
            self.live.seen.clear();
        }
        sources.push(Source { path: path.to_owned(), copied: Some(Copied::default()) });
        let place = small(sources.len() - 1);
        // An intent names a source by its place: that must be on disk before.
        self.commit()?;
        Ok(place)
    }

    /// Copies what is new in a source; `false` where something is left.
    fn drain(&mut self, source: u32, until: Until) -> Stepped<bool> {
        let seen = self.live.seen.get(&source).copied();
        let is_seen = |stamp: Stamp| seen.is_some_and(|seen| seen.stamp == stamp);
        let path = Path::new(&self.live.checkpoint.sources[source as usize].path);
        if Stamp::of(path).is_ok_and(is_seen) {
            return Ok(true);
        }
        let Some(opened) = self.open(source) else { return Ok(true) };
        if is_seen(opened.stamp) {
            return Ok(true);
        }
        let Some(mut copied) = self.live.checkpoint.sources[source as usize].copied else { return Ok(!until.is_brief) };
        let name = |source: io::Error| io_error(&opened.path)(source);
        if until.is_brief && opened.is_compressed {
            return Ok(false);
        }
        if !opened.begins_with(&copied).map_err(name)? {
            if until.is_brief {
                return Ok(false);
            }
            say(self.dir, Level::Info, &format!("{} was written anew; its lines are compared", opened.path.display()));
            self.set_copied(source, None);
            self.live.seen.remove(&source);
            self.align()?;
            return Ok(true);
        }
        let mut searched = 0;
        if let Some(seen) = seen
            && opened.unfinished(copied.length, seen.searched).map_err(name)? == Some(seen.end)
        {
            searched = seen.searched;
        }
        while let Some(to) = opened.whole_lines(copied.length, &mut searched, until.step()).map_err(name)? {
            if until.is_brief && to - copied.length > BRIEF_LINE {
                return Ok(false);
            }
            let Some(after) = opened.copied_until(to).map_err(name)? else { break };
            self.copy(source, &opened, copied.length, to, Some(after))?;
            copied = after;
            if until.is_over() {
                return Ok(false);
            }
        }
        let end = opened.unfinished(copied.length, searched).map_err(name)?.unwrap_or_default();
        self.live.seen.insert(source, Seen { stamp: opened.stamp, searched, end });
        Ok(true)
    }

    fn open(&self, source: u32) -> Option<Opened> {
        let path = &self.live.checkpoint.sources.get(source as usize)?.path;
        match Opened::find(Path::new(path)) {
            Ok(opened) => Some(opened),
            // Not written yet, or gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                say(self.dir, Level::Warning, &format!("{path} could not be read: {error}"));
                None
            }
        }
    }

    /// One step: appends a part of a source, converts it, and writes the checkpoint; `copied` is what is said of the
    /// source then.
    fn copy(&mut self, source: u32, opened: &Opened, from: u64, to: u64, copied: Option<Copied>) -> Stepped<()> {
        let own = self.dir.following();
        let intent = Intent::Append { source, from, to };
        self.locked.write_intent(self.live.stamp.1, intent).map_err(io_error(&own))?;
        let raw_path = self.dir.raw_transcript();
        let start = self.live.raw.length();
        let Live { raw, converter, checkpoint, .. } = &mut self.live;
        let file = raw.file().try_clone().map_err(io_error(&raw_path))?;
        let input = opened.read_from(from).map_err(io_error(&opened.path))?.take(to - from);
        let mut tee = Tee { input, raw, failure: None };
        let lines = Lines::starting_at(&mut tee, ByteOffset(start), usize::MAX);
        let Source { path, copied: before } = &checkpoint.sources[source as usize];
        let before = before.filter(|before| copied.is_some() && before.length == from);
        let mut hearing = self.hearing.as_deref_mut().filter(|hearing| {
            before.is_some_and(|before| !opened.is_compressed && hearing.is_at(Path::new(path), from, before.end))
        });
        let hear = |line: &Line<'_>| {
            if let Some(hearing) = &mut hearing {
                hearing.line(line.text, line.next.0 - start + from);
            }
        };
        let converted = convert(lines, converter.as_mut(), &file, self.dir, &opened.path, hear);
        if let (Some(hearing), Some(copied)) = (hearing, copied) {
            hearing.pause(copied.end);
        }
        let appended = tee.failure.take().map_or(converted, |error| Err(io_error(&raw_path)(error)));
        let result = appended.and_then(|()| {
            let error = || io::Error::other("it became shorter while it was read");
            let is_all = self.live.raw.length() == start + (to - from);
            if is_all { Ok(()) } else { Err(io_error(&opened.path)(error())) }
        });
        result?;
        self.set_copied(source, copied);
        self.commit()
    }

    fn set_copied(&mut self, source: u32, copied: Option<Copied>) {
        if let Some(source) = self.live.checkpoint.sources.get_mut(source as usize) {
            source.copied = copied;
        }
    }

    /// Lets go all records that wait.
    fn release(&mut self) -> Stepped<()> {
        let released = self.live.converter.as_mut().map_or(Ok(()), |converter| converter.finish(End::Final));
        released.map_err(|error| output_error(self.dir, error))
    }

    fn flush(&mut self) -> Stepped<()> {
        let flushed = self.live.converter.as_mut().map_or(Ok(()), Converter::flush);
        flushed.map_err(|error| output_error(self.dir, error))?;
        if self.live.common_mut().is_some_and(Transcript::take_cut) {
            let what = "the common transcript was not what the raw one converts to, and was written anew from there";
            say(self.dir, Level::Warning, what);
        }
        Ok(())
    }

    /// Writes the checkpoint.
    fn commit(&mut self) -> Stepped<()> {
        self.flush()?;
        let own = self.dir.following();
        let live = &mut self.live;
        live.checkpoint.raw = live.raw.extent().map_err(io_error(&self.dir.raw_transcript()))?;
        let common = live.common().map_or(Ok(Extent::default()), Transcript::extent);
        live.checkpoint.common = common.map_err(io_error(&self.dir.common_transcript()))?;
        live.checkpoint.conversion = live.converter.as_mut().map(Converter::checkpoint);
        let number = live.stamp.1 + 1;
        self.locked.write(number, &live.checkpoint).map_err(io_error(&own))?;
        live.stamp.1 = number;
        Ok(())
    }

    // ---- sources that are not what they were ----

    /// Compares the sources of which it is not known what was copied with the raw transcript, line by line, and copies
    /// what is not in there.
    fn align(&mut self) -> Stepped<()> {
        let sources = 0..small(self.live.checkpoint.sources.len());
        let is_unknown = |source: &u32| self.live.checkpoint.sources[*source as usize].copied.is_none();
        // One that is gone is waited for.
        let unknown: Vec<u32> = sources.filter(is_unknown).filter(|source| self.open(*source).is_some()).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let mut known = KnownLines::default();
        let raw = PositionalReader::within(self.live.raw.file(), 0..self.live.raw.length());
        known.add(raw).map_err(io_error(&self.dir.raw_transcript()))?;
        // Lines of the others are theirs.
        for place in 0..self.live.checkpoint.sources.len() {
            let Some(copied) = self.live.checkpoint.sources[place].copied.filter(|copied| copied.length > 0) else {
                continue;
            };
            let Some(opened) = self.open(small(place)) else { continue };
            let input = opened.read_from(0).map_err(io_error(&opened.path))?.take(copied.length);
            let mut lines = Lines::new(input, usize::MAX);
            while let Some(line) = lines.next_line().map_err(|error| io_error(&opened.path)(error.into()))? {
                known.take(line.text);
            }
        }
        for source in unknown {
            self.align_source(source, &mut known)?;
        }
        self.commit()
    }

    fn align_source(&mut self, source: u32, known: &mut KnownLines) -> Stepped<()> {
        let Some(opened) = self.open(source) else { return Ok(()) };
        let name = |source: io::Error| io_error(&opened.path)(source);
        let mut lines = Lines::new(opened.read_from(0).map_err(name)?, usize::MAX);
        // The lines that are new, one behind the other, and where all that was compared ends.
        let (mut new, mut end) = (0..0, 0);
        while let Some(line) = lines.next_line().map_err(|error| name(error.into()))? {
            end = line.next.0;
            if known.take(line.text) {
                if !new.is_empty() {
                    self.copy(source, &opened, new.start, new.end, None)?;
                }
                new = end..end;
            } else {
                new.end = end;
            }
        }
        if !new.is_empty() {
            self.copy(source, &opened, new.start, new.end, None)?;
        }
        let copied = opened.copied_until(end).map_err(name)?;
        self.set_copied(source, copied);
        Ok(())
    }
}

/// Converts lines, which are read from `path`, and lets them be heard; those of earlier calls stand in `raw`.
fn convert<R: Read>(
    mut lines: Lines<R>,
    mut converter: Option<&mut Converter<Transcript>>,
    raw: &File,
    dir: &StateDir,
    path: &Path,
    mut hear: impl FnMut(&Line<'_>),
) -> Stepped<()> {
    let mut reread = RawLines(raw);
    while let Some(line) = lines.next_line().map_err(|error| io_error(path)(error.into()))? {
        hear(&line);
        if let Some(converter) = &mut converter {
            converter.line(line, &mut reread).map_err(|error| output_error(dir, error))?;
        }
    }
    Ok(())
}

/// The conversion to go on with, and from where in the raw transcript: the one of the checkpoint where that is there, can
/// be read, and the common transcript fits it; else one from the start.
fn conversion(dir: &StateDir, agent_id: &str, checkpoint: &Checkpoint) -> Stepped<(Converter<Transcript>, ByteOffset)> {
    let path = &dir.common_transcript();
    let mut common = Transcript::open(dir, path).map_err(io_error(path))?;
    if let Some(conversion) = &checkpoint.conversion
        && common.go_on_behind(checkpoint.common).map_err(io_error(path))?
        && let Ok(converter) = Converter::restore(agent_id, conversion, common)
    {
        return Ok((converter, conversion.resume_at));
    }
    let common = Transcript::open(dir, path).map_err(io_error(path))?;
    Ok((Converter::new(agent_id, common), ByteOffset(0)))
}

/// Whether the agent is to have a common transcript.
fn makes_common(dir: &StateDir) -> bool {
    !dir.raw_only().exists()
}

/// The rollouts of the list, each once; it is not known what of them was copied.
fn listed_sources(dir: &StateDir) -> Vec<Source> {
    let list = read_regular(&dir.transcript_paths()).unwrap_or_default();
    let pointer = read_regular(&dir.transcript_path()).unwrap_or_default();
    let mut sources: Vec<Source> = Vec::new();
    for (path, _) in entries(&list, 0).chain(entries(&pointer, 0)) {
        if sources.iter().all(|known| known.path != path) {
            sources.push(Source { path, copied: None });
        }
    }
    sources
}

/// The entries of a list of paths from `from` on, and where each ends; none for one without an end of line. What is no
/// absolute path is none.
fn entries(list: &[u8], from: usize) -> impl Iterator<Item = (String, Option<u64>)> {
    let mut end = from;
    let lines = list[from..].split_inclusive(|byte| *byte == b'\n');
    lines.filter_map(move |line| {
        end += line.len();
        let whole = line.strip_suffix(b"\n");
        let path = std::str::from_utf8(whole.unwrap_or(line)).ok()?;
        path.starts_with('/').then(|| (path.to_owned(), whole.map(|_| end as u64)))
    })
}

/// The content of a small file; a pipe or a device is an error.
fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    require_regular(&fs::metadata(path)?)?;
    fs::read(path)
}

/// Reads what is to be converted and appends it to the raw transcript on the way.
struct Tee<'t, R> {
    input: R,
    raw: &'t mut Transcript,
    /// Why it could not be appended.
    failure: Option<io::Error>,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        if let Err(error) = self.raw.write_all(&buffer[..count]) {
            self.failure = Some(error);
            return Err(io::Error::other("the raw transcript could not be written"));
        }
        Ok(count)
    }
}

/// Gives the programs of calls whose lines are in the raw transcript.
struct RawLines<'f>(&'f File);

impl Reread for RawLines<'_> {
    fn program_text(&mut self, line: ByteOffset, text: &mut Vec<u8>) {
        let mut lines = Lines::starting_at(PositionalReader::new(self.0, line.0), line, usize::MAX);
        if let Ok(Some(line)) = lines.next_line() {
            text.extend(command::program_text(line.text.bytes()).unwrap_or_default());
        }
    }
}

/// A number of sources, of which there are few.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn output_error(dir: &StateDir, error: OutputError) -> FollowError {
    match error {
        OutputError::Sink(source) => FollowError::Io { path: dir.common_transcript(), source },
        error @ OutputError::Waiting(_) => FollowError::Waiting(error),
    }
}

/// Says something in the log; there may be no place for one.
fn say(dir: &StateDir, level: Level, message: &str) {
    let _ = log(dir, level, message);
}

#[cfg(test)]
mod tests;
