//! A transcript that goes on: its new records as they come.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::path::Path;

use mngr_codex_core::convert::one_shot::AsItGrows;
use mngr_codex_core::json::Tape;
use mngr_codex_core::rollout::lines::Lines;
use mngr_codex_core::transcript::locate::{self, Agent, shown};
use mngr_codex_core::transcript::tail_follow::{Event, Growing};
use mngr_codex_core::transcript::{Place, Record, Selection, Stream, Window};
use mngr_codex_core::watch::{WakeUp, Watches};
use rustix::fs::FileType;
use rustix::stdio::stdout;

use super::output::Output;
use super::{Counted, Failure, PassedOver, Shown, cannot_convert, cannot_read, options, retired};
use crate::streams::complain;

/// Waits for a file that is not there yet, or of which it cannot be told yet what it is.
pub fn wait_for_begin(target: &Path) -> Result<(), Failure> {
    // What has no folder in front can be an agent's name.
    let is_file_name = target.iter().count() > 1 || target.extension().is_some_and(|extension| extension == "jsonl");
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_to_come = || {
        let is_missing = || target.metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
        is_file_name && folder.is_dir() && is_missing()
    };
    let mut watches = Watches::default();
    let mut is_told = false;
    loop {
        watches.set(Growing::new(target.to_owned()).watched());
        if !is_to_come() && !locate::is_not_begun(target).map_err(Failure::said)? {
            return Ok(());
        }
        if !std::mem::replace(&mut is_told, true) {
            complain(format!("waiting for {}", shown(target)));
        }
        wait(&mut watches)?;
    }
}

/// Shows what there is of a transcript, then what comes, until a signal ends the program or nobody reads any more.
pub fn show(shown_now: &mut Shown<'_>, stream: Stream, path: &Path, out: &mut Output) -> Result<(), Failure> {
    if stream.is_empty() {
        complain(format!("waiting for {}", shown(path)));
    }
    let mut records = shown_now.arguments.records(shown_now.is_paged);
    let stream = stream.without_torn_end()?;
    // What is there is shown as what comes: it may be cut or written anew meanwhile.
    let start = if shown_now.arguments.tail == Some(0) {
        stream.end()
    } else {
        shown_now.arguments.selection().start_of_tail(&stream)?.unwrap_or(Place::START)
    };
    let mut growing = Growing::from(&stream, start, path.to_owned())?;
    drop(stream);
    let mut counted = Counted::new(of_new_records(shown_now));
    let mut tape = Tape::default();
    follow(shown_now, &mut growing, |shown_now, growing| {
        let is_read = growing.read(&mut |event| {
            let (line, is_torn) = match event {
                Event::Rewritten => {
                    records.write(out)?;
                    rewritten(path);
                    return Ok(());
                }
                Event::Line(line) => (line, false),
                Event::Torn(line) => (line, true),
            };
            match shown_now.show_text(line.text, &mut tape, &mut counted, &mut records, out) {
                Err(PassedOver::Failure(failure)) => Err(failure),
                Err(PassedOver::Malformed { why, at }) if !is_torn => {
                    shown_now.note_malformed(path, line.offset, why, at);
                    Ok(())
                }
                Err(PassedOver::Retired) => Err(retired(path, line.offset)),
                Err(PassedOver::Malformed { .. } | PassedOver::NoObject) | Ok(()) => Ok(()),
            }
        });
        records.write(out)?;
        is_read
    })
}

/// Shows a rollout's records, then those that come.
pub fn show_rollout(shown_now: &mut Shown<'_>, path: &Path, agent: &Agent, out: &mut Output) -> Result<(), Failure> {
    let opened = File::open(path).and_then(|file| Growing::from_start(file, path.to_owned()));
    let mut growing = opened.map_err(|error| cannot_read(path, &error))?;
    let mut records = shown_now.arguments.records(shown_now.is_paged);
    let mut converted = AsItGrows::new(&options(agent));
    let mut counted = Counted::new(of_new_records(shown_now));
    let mut last = Last::new(shown_now.arguments.tail);
    follow(shown_now, &mut growing, |shown_now, growing| {
        let mut take = |shown_now: &mut Shown<'_>, converted: &mut AsItGrows, last: &mut Option<Last>| {
            let batch = converted.take_records().map_err(|error| cannot_convert(path, &error))?;
            shown_now.note_malformed_lines(path, converted.take_malformed());
            match last {
                Some(last) => last.keep(&batch, &counted.selection),
                None => shown_now.show_batch(&batch, &mut counted, &mut records, out),
            }
        };
        let is_read = growing.read(&mut |event| match event {
            Event::Rewritten => {
                take(shown_now, &mut converted, &mut last)?;
                converted = AsItGrows::new(&options(agent));
                rewritten(path);
                Ok(())
            }
            Event::Line(line) | Event::Torn(line) => {
                let is_much = converted.line(line).map_err(|error| cannot_convert(path, &error))?;
                if is_much { take(shown_now, &mut converted, &mut last) } else { Ok(()) }
            }
        });
        take(shown_now, &mut converted, &mut last)?;
        for record in last.take().into_iter().flat_map(|last| last.kept) {
            shown_now.show_batch(&record, &mut counted, &mut records, out)?;
        }
        records.write(out)?;
        is_read
    })
}

/// Looks and waits in turn; what is left out is told at once, since there is no end.
fn follow(
    shown_now: &mut Shown<'_>,
    growing: &mut Growing,
    mut look: impl FnMut(&mut Shown<'_>, &mut Growing) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut watches = Watches::default();
    loop {
        // What changes from here on is told, so nothing is missed between a look and the wait.
        let is_new = watches.set(growing.watched());
        look(shown_now, growing)?;
        shown_now.notes.tell();
        if !is_new || !watches.set(growing.watched()) {
            wait(&mut watches)?;
        }
    }
}

fn rewritten(path: &Path) {
    complain(format!("{} was written anew; what it holds now is shown from the start", shown(path)));
}

/// Which of the records that come are wanted: as many as come.
fn of_new_records(shown_now: &Shown<'_>) -> Selection {
    Selection { window: Window::All, ..shown_now.arguments.selection() }
}

/// The last records of what is there when following begins.
struct Last {
    most: u64,
    kept: VecDeque<Vec<u8>>,
}

impl Last {
    fn new(most: Option<u64>) -> Option<Self> {
        Some(Self { most: most?, kept: VecDeque::new() })
    }

    fn keep(&mut self, batch: &[u8], selection: &Selection) -> Result<(), Failure> {
        let mut lines = Lines::new(batch, usize::MAX);
        let mut tape = Tape::default();
        while let Some(line) = lines.next_line().map_err(Failure::said)? {
            let record = Record::read(line.text, &mut tape);
            if record.is_ok_and(|record| selection.takes(record.kind())) {
                self.kept.push_back([line.text.bytes(), b"\n"].concat());
                if self.kept.len() as u64 > self.most {
                    self.kept.pop_front();
                }
            }
        }
        Ok(())
    }
}

/// Waits for a change. Ends the program when nobody reads its output any more.
fn wait(watches: &mut Watches) -> Result<(), Failure> {
    // A pipe without a reader is told of as an error; a terminal would be ready with each key that is pressed.
    let is_pipe = rustix::fs::fstat(stdout())
        .is_ok_and(|stat| matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::Socket));
    let others: &[BorrowedFd<'_>] = if is_pipe { &[stdout()] } else { &[] };
    match watches.wait(others) {
        Ok(WakeUp::Change) => Ok(()),
        Ok(WakeUp::Ready(_)) => Err(Failure::Output(io::Error::from(ErrorKind::BrokenPipe))),
        Err(error) => Err(Failure::Said(format!("cannot wait for changes: {error}"))),
    }
}
