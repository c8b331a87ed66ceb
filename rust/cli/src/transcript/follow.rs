//! `--follow`: shows new records of a transcript as they are appended.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::path::Path;

use mngr_codex_core::{
    Agent, IncrementalConverter, Lines, Record, Selection, Stream, StreamPosition, TailEvent, TailFollower, Tape,
    WakeUp, Watches, Window, escaped_path, locate,
};
use rustix::fs::FileType;
use rustix::stdio::stdout;

use super::output::Output;
use super::{Failure, Filter, Skipped, Viewer, cannot_convert, cannot_read, options, retired};
use crate::streams::complain;

/// Waits until the target exists and its kind can be detected.
pub(super) fn wait_for_target(target: &Path) -> Result<(), Failure> {
    // A name without a folder can be an agent's name, which is not waited for.
    let is_file_name = target.iter().count() > 1 || target.extension().is_some_and(|extension| extension == "jsonl");
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_expected = || {
        let is_missing = || target.metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
        is_file_name && folder.is_dir() && is_missing()
    };
    let mut watches = Watches::default();
    let mut is_announced = false;
    loop {
        watches.set(TailFollower::new(target.to_owned()).watched());
        if !is_expected() && !locate::is_undetermined(target).map_err(Failure::message)? {
            return Ok(());
        }
        if !std::mem::replace(&mut is_announced, true) {
            complain(format!("waiting for {}", escaped_path(target)));
        }
        wait(&mut watches)?;
    }
}

/// Shows a transcript and then new records, until a signal ends the program or the reader closes the pipe.
pub(super) fn show(viewer: &mut Viewer<'_>, stream: Stream, path: &Path, out: &mut Output) -> Result<(), Failure> {
    if stream.is_empty() {
        complain(format!("waiting for {}", escaped_path(path)));
    }
    let mut records = viewer.arguments.records(viewer.is_paged);
    let stream = stream.without_torn_end()?;
    // The existing records are read like new ones, because the file may be truncated or replaced at any time.
    let start = if viewer.arguments.tail == Some(0) {
        stream.end()
    } else {
        viewer.arguments.selection().tail_start(&stream)?.unwrap_or(StreamPosition::START)
    };
    let mut growing = TailFollower::from(&stream, start, path.to_owned())?;
    drop(stream);
    let mut filter = Filter::new(selection_of_new_records(viewer));
    let mut tape = Tape::default();
    follow(viewer, &mut growing, |viewer, growing| {
        let is_read = growing.read(&mut |event| {
            let (line, is_torn) = match event {
                TailEvent::Rewritten => {
                    records.write(out)?;
                    rewritten(path);
                    return Ok(());
                }
                TailEvent::Line(line) => (line, false),
                TailEvent::Torn(line) => (line, true),
            };
            match viewer.show_text(line.text, &mut tape, &mut filter, &mut records, out) {
                Err(Skipped::Failure(failure)) => Err(failure),
                Err(Skipped::Malformed { reason, at }) if !is_torn => {
                    viewer.note_malformed(path, line.offset, reason, at);
                    Ok(())
                }
                Err(Skipped::Retired) => Err(retired(path, line.offset)),
                Err(Skipped::Malformed { .. } | Skipped::NoObject) | Ok(()) => Ok(()),
            }
        });
        records.write(out)?;
        is_read
    })
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
    let mut filter = Filter::new(selection_of_new_records(viewer));
    let mut last = Last::new(viewer.arguments.tail);
    follow(viewer, &mut growing, |viewer, growing| {
        let mut take = |viewer: &mut Viewer<'_>, converted: &mut IncrementalConverter, last: &mut Option<Last>| {
            let batch = converted.take_records().map_err(|error| cannot_convert(path, &error))?;
            viewer.note_malformed_lines(path, converted.take_malformed());
            match last {
                Some(last) => last.keep(&batch, &filter.selection),
                None => viewer.show_batch(&batch, &mut filter, &mut records, out),
            }
        };
        let is_read = growing.read(&mut |event| match event {
            TailEvent::Rewritten => {
                take(viewer, &mut converted, &mut last)?;
                converted = IncrementalConverter::new(&options(agent));
                rewritten(path);
                Ok(())
            }
            TailEvent::Line(line) | TailEvent::Torn(line) => {
                let has_enough = converted.line(line).map_err(|error| cannot_convert(path, &error))?;
                if has_enough { take(viewer, &mut converted, &mut last) } else { Ok(()) }
            }
        });
        take(viewer, &mut converted, &mut last)?;
        for record in last.take().into_iter().flat_map(|last| last.kept) {
            viewer.show_batch(&record, &mut filter, &mut records, out)?;
        }
        records.write(out)?;
        is_read
    })
}

/// Reads and waits in turn. Warnings are printed immediately, because following has no end.
fn follow(
    viewer: &mut Viewer<'_>,
    growing: &mut TailFollower,
    mut read: impl FnMut(&mut Viewer<'_>, &mut TailFollower) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut watches = Watches::default();
    loop {
        // Set the watches before reading, so that no change between reading and waiting is missed.
        let is_new = watches.set(growing.watched());
        read(viewer, growing)?;
        viewer.notes.print();
        if !is_new || !watches.set(growing.watched()) {
            wait(&mut watches)?;
        }
    }
}

fn rewritten(path: &Path) {
    complain(format!("{} was rewritten; showing it from the start", escaped_path(path)));
}

/// Returns the selection for new records: the roles apply, the window does not.
fn selection_of_new_records(viewer: &Viewer<'_>) -> Selection {
    Selection { window: Window::All, ..viewer.arguments.selection() }
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

/// Waits for a change. Returns an error if the reader of the output has closed the pipe.
fn wait(watches: &mut Watches) -> Result<(), Failure> {
    // `poll` reports a pipe without a reader; a terminal would be reported at every key press.
    let is_pipe = rustix::fs::fstat(stdout())
        .is_ok_and(|stat| matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::Socket));
    let others: &[BorrowedFd<'_>] = if is_pipe { &[stdout()] } else { &[] };
    match watches.wait(others) {
        Ok(WakeUp::Change) => Ok(()),
        Ok(WakeUp::Ready(_)) => Err(Failure::Output(io::Error::from(ErrorKind::BrokenPipe))),
        Err(error) => Err(Failure::Message(format!("cannot wait for changes: {error}"))),
    }
}
