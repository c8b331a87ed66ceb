//! `--follow`: shows new records of a transcript as they are appended.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use mngr_codex_core::{
    Activity, Agent, IncrementalConverter, Lines, PendingReader, Record, Resumption, Selection, Stream, StreamPosition,
    TailEvent, TailFollower, Tape, WakeUp, Watched, Watches, escaped_path, last_event_id, locate,
};

use super::output::Output;
use super::records::Records;
use super::running::{self, Announced, RunningCalls};
use super::{Failure, Filter, Format, Skipped, Viewer, cannot_convert, cannot_read, options, retired};
use crate::human::Style;
use crate::live_output::{LiveOutput, size};
use crate::streams::{complain, piped_output};

/// Returns whether the target is a file that does not exist yet, in an existing folder. A name without a folder can be an
/// agent's or a session's, which is not waited for.
pub(super) fn is_expected(target: &Path) -> bool {
    let is_file_name = target.iter().count() > 1 || target.extension().is_some_and(|extension| extension == "jsonl");
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_missing = || target.metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    is_file_name && folder.is_dir() && is_missing()
}

/// Waits until the target exists and its kind can be detected.
pub(super) fn wait_for_target(target: &Path) -> Result<(), Failure> {
    let mut watches = Watches::default();
    let mut is_announced = false;
    loop {
        watches.set(TailFollower::new(target.to_owned()).watched());
        if !is_expected(target) && !locate::is_undetermined(target).map_err(Failure::message)? {
            return Ok(());
        }
        if !std::mem::replace(&mut is_announced, true) {
            complain(format!("waiting for {}", escaped_path(target)));
        }
        wait(&mut watches, Duration::MAX)?;
    }
}

/// Shows a transcript and then new records, until a signal ends the program or the reader closes the pipe.
///
/// `pending` reads the records that an agent's transcript does not have yet.
pub(super) fn show(
    viewer: &mut Viewer<'_>,
    stream: Stream,
    path: &Path,
    mut pending: Option<PendingReader>,
    out: &mut Output,
) -> Result<(), Failure> {
    if stream.is_empty() {
        complain(format!("waiting for {}", escaped_path(path)));
    }
    let mut records = viewer.arguments.records(viewer.is_paged);
    let stream = stream.without_partial_line()?;
    // The existing records are read like new ones, because the file may be truncated or replaced at any time.
    let start = match &viewer.arguments.after {
        Some(shown) => start_after(viewer, &stream, shown, path, &mut records)?,
        None if viewer.arguments.tail == Some(0) => {
            if viewer.arguments.marks {
                records.mark(&last_event_id(&stream)?.unwrap_or_default());
                records.write(out)?;
            }
            stream.end()
        }
        None => viewer.arguments.selection().tail_start(&stream)?.unwrap_or(StreamPosition::START),
    };
    let mut growing = TailFollower::from(&stream, start, path.to_owned())?;
    drop(stream);
    let mut filter = Filter::new(viewer.arguments.selection_of_new_records());
    let mut tape = Tape::default();
    let mut end = OpenEnd::new(viewer, out, &mut records);
    follow(viewer, &mut growing, &mut end, |viewer, growing, end| {
        records.set_columns(size().columns);
        let mut watched = Vec::new();
        if let Some(pending) = &mut pending {
            pending.prepare();
            watched = pending.watched();
        }
        let out = &mut end.out;
        let is_read = growing.read(&mut |event| {
            let (line, is_partial) = match event {
                TailEvent::Rewritten => {
                    records.write(out)?;
                    return rewritten(path, out);
                }
                TailEvent::Line(line) => (line, false),
                TailEvent::Partial(line) => (line, true),
            };
            let taken = filter.taken;
            let is_shown = viewer.show_text(line.text, &mut tape, &mut filter, &mut records, out);
            if viewer.arguments.marks
                && filter.taken > taken
                && let Ok(record) = Record::read(line.text, &mut tape)
                && let Some(id) = record.event_id()
            {
                records.mark(&id);
            }
            match is_shown {
                Err(Skipped::Failure(failure)) => Err(failure),
                Err(Skipped::Malformed { reason, at }) if !is_partial => {
                    viewer.note_malformed(path, line.offset, reason, at);
                    Ok(())
                }
                Err(Skipped::Retired) => Err(retired(path, line.offset)),
                Err(Skipped::Malformed { .. } | Skipped::NoObject) | Ok(()) => Ok(()),
            }
        });
        records.write(out)?;
        is_read?;
        end.print_notes(viewer)?;
        if let Some(pending) = &mut pending {
            // Before the records are read: a call that has no output when the agent has ended will never have one.
            let activity = pending.activity();
            let read = pending.read(growing.offset());
            end.calls.set_awaited(&read.awaited_calls);
            end.calls.search(&read.records);
            if !end.calls.is_complete()
                && let Ok(stream) = Stream::open([path.to_owned()])
            {
                end.calls.search_backwards(&stream);
            }
            end.show(viewer, &read.records, activity, &mut records, &filter.selection)?;
        }
        if viewer.arguments.marks {
            end.out.write_beside(Records::MARK_WITHOUT_RECORD)?;
        }
        Ok(watched)
    })
}

/// Returns the position after the record with the id `shown`, which another process has shown, or the start.
fn start_after(
    viewer: &mut Viewer<'_>,
    stream: &Stream,
    shown: &str,
    path: &Path,
    records: &mut Records,
) -> Result<StreamPosition, Failure> {
    if shown.is_empty() {
        return Ok(StreamPosition::START);
    }
    if let Some(resumption) = Resumption::after(stream, shown.as_bytes())? {
        viewer.skip_shown(stream, resumption, records)?;
        return Ok(resumption.next);
    }
    complain_rewritten(path);
    Ok(StreamPosition::START)
}

/// Shows a rollout's records and then new ones.
pub(super) fn show_rollout(
    viewer: &mut Viewer<'_>,
    path: &Path,
    agent: &Agent,
    out: &mut Output,
) -> Result<(), Failure> {
    let opened = File::open(path).and_then(|file| TailFollower::from_start(file, path.to_owned()));
    let mut growing = opened.map_err(|error| cannot_read(path, &error))?;
    let mut records = viewer.arguments.records(viewer.is_paged);
    let mut converted = IncrementalConverter::new(&options(agent));
    let mut filter = Filter::new(viewer.arguments.selection_of_new_records());
    let mut last = Last::new(viewer.arguments.tail);
    let mut end = OpenEnd::new(viewer, out, &mut records);
    follow(viewer, &mut growing, &mut end, |viewer, growing, end| {
        records.set_columns(size().columns);
        let OpenEnd { out, calls, .. } = &mut *end;
        let mut take = |viewer: &mut Viewer<'_>,
                        converted: &mut IncrementalConverter,
                        last: &mut Option<Last>,
                        out: &mut LiveOutput<'_>| {
            let batch = converted.take_records().map_err(|error| cannot_convert(path, &error))?;
            viewer.note_malformed_lines(path, converted.take_malformed());
            calls.set_awaited(&converted.awaited_calls());
            calls.search(&batch);
            match last {
                Some(last) => last.keep(&batch, &filter.selection),
                None => viewer.show_batch(&batch, &mut filter, &mut records, out),
            }
        };
        let is_read = growing.read(&mut |event| match event {
            TailEvent::Rewritten => {
                take(viewer, &mut converted, &mut last, out)?;
                converted = IncrementalConverter::new(&options(agent));
                rewritten(path, out)
            }
            TailEvent::Line(line) | TailEvent::Partial(line) => {
                let has_enough = converted.line(line).map_err(|error| cannot_convert(path, &error))?;
                if has_enough { take(viewer, &mut converted, &mut last, out) } else { Ok(()) }
            }
        });
        take(viewer, &mut converted, &mut last, out)?;
        for record in last.take().into_iter().flat_map(|last| last.kept) {
            viewer.show_batch(&record, &mut filter, &mut records, out)?;
        }
        records.write(out)?;
        is_read?;
        end.print_notes(viewer)?;
        if viewer.arguments.format == Format::Human {
            let pending = converted.pending().map_err(|error| cannot_convert(path, &error))?;
            end.calls.search(&pending.records);
            // Nothing tells whether the Codex that writes the rollout still runs.
            end.show(viewer, &pending.records, Activity::Running, &mut records, &filter.selection)?;
        }
        Ok(Vec::new())
    })
}

/// Reads and waits in turn. `read` returns what to watch in addition to the transcript.
fn follow(
    viewer: &mut Viewer<'_>,
    growing: &mut TailFollower,
    end: &mut OpenEnd<'_>,
    mut read: impl FnMut(&mut Viewer<'_>, &mut TailFollower, &mut OpenEnd<'_>) -> Result<Vec<Watched>, Failure>,
) -> Result<(), Failure> {
    let mut watches = Watches::default();
    let mut others = Vec::new();
    let watched = |growing: &TailFollower, others: &[Watched]| [growing.watched(), others.to_vec()].concat();
    loop {
        // Set the watches before reading, so that no change between reading and waiting is missed.
        let is_new = watches.set(watched(growing, &others));
        let is_read = read(viewer, growing, end);
        end.print_notes(viewer)?;
        let are_others_new = is_read.as_ref().is_ok_and(|found| *found != others);
        others = is_read?;
        if !are_others_new && (!is_new || !watches.set(watched(growing, &others))) {
            wait(&mut watches, end.interval())?;
        }
    }
}

fn rewritten(path: &Path, out: &mut LiveOutput<'_>) -> Result<(), Failure> {
    out.erase()?;
    complain_rewritten(path);
    Ok(())
}

fn complain_rewritten(path: &Path) {
    complain(format!("{} was rewritten; showing it from the start", escaped_path(path)));
}

/// The end of a transcript that grows: the records that later ones may still change, and the calls without an output.
///
/// On a terminal it is replaced when it changes. Elsewhere only final records are written, and one line for a call that is
/// in none of them and takes long.
struct OpenEnd<'o> {
    out: LiveOutput<'o>,
    style: Style,
    calls: RunningCalls,
    announced: Announced,
    /// Whether announced calls are marked.
    marks: bool,
    /// Whether time changes what is shown.
    is_timed: bool,
}

/// How often the time since a call began is shown anew.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a call takes before it is announced where nothing can be replaced. Most calls are shorter.
const ANNOUNCED_AFTER: u64 = 1000;

impl<'o> OpenEnd<'o> {
    fn new(viewer: &Viewer<'_>, out: &'o mut Output, records: &mut Records) -> Self {
        let style = viewer.arguments.style(viewer.is_paged);
        let is_human = viewer.arguments.format == Format::Human;
        let out = LiveOutput::new(out, is_human);
        if !out.can_replace() {
            records.show_at_once();
        }
        let announced = viewer.arguments.announced.clone().unwrap_or_default();
        let marks = viewer.arguments.marks;
        Self { out, style, calls: RunningCalls::new(style), announced, marks, is_timed: false }
    }

    /// Prints warnings immediately, because following has no end.
    fn print_notes(&mut self, viewer: &mut Viewer<'_>) -> io::Result<()> {
        if !viewer.notes.is_empty() {
            self.out.erase()?;
            viewer.notes.print();
        }
        Ok(())
    }

    /// Shows the records that are pending, and the calls without an output.
    fn show(
        &mut self,
        viewer: &mut Viewer<'_>,
        pending: &[u8],
        activity: Activity,
        records: &mut Records,
        selection: &Selection,
    ) -> Result<(), Failure> {
        let now = running::now();
        let has_calls = viewer.arguments.shows_calls();
        if !self.out.can_replace() {
            return if has_calls { self.announce(pending, activity, now, records) } else { Ok(()) };
        }
        let Some(mut preview) = records.preview() else { return Ok(()) };
        let mut text = Vec::new();
        viewer.show_batch(pending, &mut Filter::new(selection.clone()), &mut preview, &mut text)?;
        let calls = has_calls.then(|| self.calls.found()).into_iter().flatten();
        preview.open_calls(calls, activity, Some(now));
        preview.write(&mut text)?;
        self.is_timed = has_calls && self.calls.found().next().is_some();
        Ok(self.out.replace(&text)?)
    }

    /// Writes one line for each call whose step is pending for some time.
    fn announce(&mut self, pending: &[u8], activity: Activity, now: u64, records: &mut Records) -> Result<(), Failure> {
        self.announced.retain(&self.calls);
        self.is_timed = false;
        for call in self.calls.found() {
            if self.announced.contains(call, activity) || !running::has_step(pending, &call.id, self.style) {
                continue;
            }
            if call.age(now).is_some_and(|age| age < ANNOUNCED_AFTER) {
                self.is_timed = true;
                continue;
            }
            self.announced.add(call, activity);
            records.open_calls(std::iter::once(call), activity, None);
            if self.marks {
                records.mark_announced(&self.announced);
            }
        }
        Ok(records.write(&mut self.out)?)
    }

    /// Returns how long the end stays the same if no file changes.
    fn interval(&self) -> Duration {
        if self.is_timed { INTERVAL } else { Duration::MAX }
    }
}

/// The last records at the time when following begins.
struct Last {
    limit: u64,
    kept: VecDeque<Vec<u8>>,
}

impl Last {
    fn new(limit: Option<u64>) -> Option<Self> {
        Some(Self { limit: limit?, kept: VecDeque::new() })
    }

    fn keep(&mut self, batch: &[u8], selection: &Selection) -> Result<(), Failure> {
        let mut lines = Lines::new(batch, usize::MAX);
        let mut tape = Tape::default();
        while let Some(line) = lines.next_line().map_err(Failure::message)? {
            let record = Record::read(line.text, &mut tape);
            if record.is_ok_and(|record| selection.includes(record.kind())) {
                self.kept.push_back([line.text.bytes(), b"\n"].concat());
                if self.kept.len() as u64 > self.limit {
                    self.kept.pop_front();
                }
            }
        }
        Ok(())
    }
}

/// Waits for a change, but no longer than `limit`. Returns an error if the reader of the output has closed the pipe.
fn wait(watches: &mut Watches, limit: Duration) -> Result<(), Failure> {
    match watches.wait_at_most(piped_output().as_slice(), limit) {
        Ok(WakeUp::Change) => Ok(()),
        Ok(WakeUp::Ready(_)) => Err(Failure::Output(io::Error::from(ErrorKind::BrokenPipe))),
        Err(error) => Err(Failure::Message(format!("cannot wait for changes: {error}"))),
    }
}
