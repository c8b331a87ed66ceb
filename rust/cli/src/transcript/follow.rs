//! A transcript that goes on: its new records as they come.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::path::Path;

use mngr_codex_core::follow::watches::{Watched, Watches};
use mngr_codex_core::json::Tape;
use mngr_codex_core::reading::growing::{Growing, Turn};
use mngr_codex_core::reading::locate::shown;
use mngr_codex_core::reading::{Selection, Window};
use mngr_codex_core::rollout::lines::Lines;
use mngr_codex_core::transcript::convert::LineByLine;
use rustix::fs::FileType;
use rustix::stdio::stdout;

use super::output::Output;
use super::records::Records;
use super::{Counted, Failure, PassedOver, Shown, Source, cannot_convert, retired};
use crate::streams::complain;

/// Shows what there is of a transcript, then what comes, until a signal ends the program or nobody reads any more.
pub fn show(
    shown_now: &mut Shown<'_>,
    source: &Source<'_>,
    records: &mut Records,
    out: &mut Output,
) -> Result<(), Failure> {
    if shown_now.arguments.tail != Some(0) {
        shown_now.show_stream(&source.stream, records, out)?;
    }
    records.write(out)?;
    let mut growing = Growing::after(&source.stream, source.path.to_owned())?;
    let mut counted = Counted::new(of_new_records(shown_now));
    let mut watches = Watches::default();
    let mut tape = Tape::default();
    loop {
        // What changes from here on is told, so nothing is missed between a look and the wait.
        let is_new = watches.set(growing.watched());
        let path = source.path;
        let turn =
            growing.read(
                &mut |text, offset| match shown_now.show_text(text, &mut tape, &mut counted, records, out) {
                    Err(PassedOver::Failure(failure)) => Err(failure),
                    Err(PassedOver::Malformed { why, at }) => {
                        shown_now.note_malformed(path, offset, why, at);
                        Ok(())
                    }
                    Err(PassedOver::Retired) => Err(retired(path, offset)),
                    Err(PassedOver::NoObject) | Ok(()) => Ok(()),
                },
            )?;
        records.write(out)?;
        if turn == Some(Turn::Rewritten) {
            complain(format!("{} was written anew; what it holds now is shown from the start", shown(path)));
        }
        if !is_new || !watches.set(growing.watched()) {
            wait(&mut watches)?;
        }
    }
}

/// Shows a rollout's records, then those that come.
pub fn show_rollout<R: Read>(
    shown_now: &mut Shown<'_>,
    path: &Path,
    converted: &mut LineByLine<R>,
    records: &mut Records,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut counted = Counted::new(of_new_records(shown_now));
    let mut watches = Watches::default();
    let mut last = Last::new(shown_now.arguments.tail);
    loop {
        watches.set(vec![Watched::File(path.to_owned())]);
        while let Some(batch) = converted.next_grown().map_err(|error| cannot_convert(path, &error))? {
            match &mut last {
                Some(last) => last.keep(&batch, &counted.selection)?,
                None => shown_now.show_batch(&batch, &mut counted, records, out)?,
            }
        }
        for record in last.take().into_iter().flat_map(|last| last.kept) {
            shown_now.show_batch(&record, &mut counted, records, out)?;
        }
        records.write(out)?;
        wait(&mut watches)?;
    }
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
            let record = mngr_codex_core::reading::Record::read(line.text, &mut tape);
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
        Ok(mngr_codex_core::follow::watches::Woken::Change) => Ok(()),
        Ok(mngr_codex_core::follow::watches::Woken::Ready(_)) => {
            Err(Failure::Output(io::Error::from(io::ErrorKind::BrokenPipe)))
        }
        Err(error) => Err(Failure::Said(format!("cannot wait for changes: {error}"))),
    }
}
