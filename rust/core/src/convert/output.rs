//! Records on their way out: what may go, and what waits for its inference's token counts.
//!
//! At most one step waits at a time, and everything behind it waits with it. Its metrics are put in when they are
//! known, then all of it may go.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

/// Records that may go are written once there are this many bytes of them.
const WRITE: usize = 64 << 10;

/// Writes end at a multiple of this many bytes of the output, so that the system need not fill pages in two goes.
const BLOCK: u64 = 64 << 10;

/// Waiting records are kept in memory up to this many bytes, and in an unnamed temporary file beyond.
const MOST_WAITING: usize = 4 << 20;

/// How every step ends; its metrics stand before this.
const STEP_END: &[u8] = b"}\n";

/// Why records could not be written, or kept until they may be.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// What the records are handed to failed.
    #[error("writing failed: {0}")]
    Sink(io::Error),
    /// The temporary file for waiting records failed.
    #[error(
        "records that must wait cannot be kept in the temporary folder {folder}: {0}; name another folder with TMPDIR=FOLDER",
        folder = temporary_folder().display()
    )]
    Waiting(io::Error),
}

/// Where waiting records are kept when they are many: what `TMPDIR` names, or the system's folder for such files.
#[must_use]
pub fn temporary_folder() -> PathBuf {
    std::env::temp_dir()
}

/// A buffer in front of a writer that can hold back its end.
///
/// The first error of the writer is kept for [`Output::check`]; nothing is written after it.
pub struct Output<W> {
    sink: W,
    buffer: Vec<u8>,
    /// Bytes that were let go and have left the buffer.
    gone: u64,
    /// Of these, the first so many are not handed to the sink: an earlier run has let them go.
    suppressed: u64,
    waiting: Option<Waiting>,
    failure: Option<OutputError>,
    /// Whether there was a failure, told or not.
    has_failed: bool,
}

/// The records that wait: those of the spill, then the buffer from `start` on.
struct Waiting {
    start: usize,
    /// Where the metrics belong, in bytes from the first waiting one.
    metrics: u64,
    spill: Option<Spill>,
}

/// Waiting records in a temporary file, when they are many.
struct Spill {
    file: File,
    length: u64,
}

impl<W: Write> Output<W> {
    /// An output to `sink` that leaves out its first `suppressed` bytes.
    pub fn new(sink: W, suppressed: u64) -> Self {
        let buffer = Vec::with_capacity(WRITE + WRITE / 4);
        Self { sink, buffer, gone: 0, suppressed, waiting: None, failure: None, has_failed: false }
    }

    /// Appends a piece of a record.
    #[inline]
    pub fn push(&mut self, piece: &[u8]) {
        if self.buffer.capacity() - self.buffer.len() < piece.len() {
            self.make_room(piece);
        } else {
            self.buffer.extend_from_slice(piece);
        }
    }

    /// Says that a whole record has been pushed.
    #[inline]
    pub fn end_record(&mut self) {
        if self.waiting.is_none() && self.buffer.len() >= WRITE {
            // A block that would be left half written stays here.
            let odd = (self.gone + self.buffer.len() as u64) % BLOCK;
            self.write_until(self.buffer.len() - usize::try_from(odd).unwrap_or(0));
        }
    }

    /// Lets all that is pushed from here on wait.
    pub fn begin_waiting(&mut self) {
        self.waiting = Some(Waiting { start: self.buffer.len(), metrics: 0, spill: None });
    }

    /// Says that the step whose metrics are awaited has just been pushed.
    pub fn end_waiting_step(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            let length = waiting.spill.as_ref().map_or(0, |spill| spill.length);
            // The end itself may be in the file.
            let behind = length + (self.buffer.len() - waiting.start) as u64;
            waiting.metrics = behind.saturating_sub(STEP_END.len() as u64);
        }
    }

    /// Whether records wait.
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Bytes that were let go so far, those left out included.
    pub fn released(&self) -> u64 {
        self.gone + self.free() as u64
    }

    /// Bytes at the start that are left out, as an earlier run has let them go.
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// Lets the waiting records go, with `metrics` in the step that they were awaited for.
    pub fn release(&mut self, metrics: &[u8]) {
        let Some(waiting) = self.waiting.take() else {
            return;
        };
        if self.has_failed {
            // Of what waits a part may be lost.
            self.buffer.truncate(waiting.start);
            return;
        }
        match waiting.spill {
            None => self.insert(waiting.start + usize::try_from(waiting.metrics).unwrap_or(0), metrics),
            Some(mut spill) => {
                let mut rest = self.buffer.split_off(waiting.start);
                self.write_until(waiting.start);
                if waiting.metrics > spill.length {
                    // The step's end is still in the buffer.
                    let place = usize::try_from(waiting.metrics - spill.length).unwrap_or(0).min(rest.len());
                    let moved = spill.file.write_all(&rest[..place]);
                    spill.length += place as u64;
                    rest.drain(..place);
                    self.keep_failure(moved.map_err(OutputError::Waiting));
                }
                let result = self.write_spill(spill, waiting.metrics, metrics);
                self.keep_failure(result.map_err(OutputError::Waiting));
                self.push(&rest);
            }
        }
        self.end_record();
    }

    /// Drops the waiting records.
    pub fn withdraw(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.buffer.truncate(waiting.start);
        }
    }

    /// Writes all that may go.
    ///
    /// # Errors
    ///
    /// What the sink or the temporary file said, now or before.
    pub fn flush(&mut self) -> Result<(), OutputError> {
        self.write_until(self.free());
        self.check()?;
        if self.has_failed { Ok(()) } else { self.sink.flush().map_err(OutputError::Sink) }
    }

    /// Gives the first error, once.
    ///
    /// # Errors
    ///
    /// That error.
    #[inline]
    pub fn check(&mut self) -> Result<(), OutputError> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// What the records are handed to.
    pub fn sink(&self) -> &W {
        &self.sink
    }

    /// What the records are handed to.
    pub fn sink_mut(&mut self) -> &mut W {
        &mut self.sink
    }

    /// How many bytes of the buffer may go.
    fn free(&self) -> usize {
        self.waiting.as_ref().map_or(self.buffer.len(), |waiting| waiting.start)
    }

    /// Puts `metrics` into the buffer at `place`.
    fn insert(&mut self, place: usize, metrics: &[u8]) {
        let end = self.buffer.len();
        self.buffer.extend_from_slice(metrics);
        self.buffer.copy_within(place..end, place + metrics.len());
        self.buffer[place..place + metrics.len()].copy_from_slice(metrics);
    }

    /// Appends a piece for which the buffer has no room: what may go is written, what waits is spilled.
    #[cold]
    fn make_room(&mut self, piece: &[u8]) {
        self.write_until(self.free());
        if self.waiting.is_none() && piece.len() >= WRITE {
            self.hand_over(piece);
        } else if self.waiting.is_some() && self.buffer.len() + piece.len() > MOST_WAITING {
            let result = self.spill(piece);
            self.keep_failure(result.map_err(OutputError::Waiting));
        } else {
            self.buffer.extend_from_slice(piece);
        }
    }

    /// Moves the waiting part of the buffer, and `piece`, to the temporary file.
    fn spill(&mut self, piece: &[u8]) -> io::Result<()> {
        let Some(waiting) = &mut self.waiting else {
            return Ok(());
        };
        let mut spill = match waiting.spill.take() {
            Some(spill) => spill,
            None => Spill { file: tempfile::tempfile_in(temporary_folder())?, length: 0 },
        };
        let kept = &self.buffer[waiting.start..];
        spill.file.write_all(kept)?;
        spill.file.write_all(piece)?;
        spill.length += (kept.len() + piece.len()) as u64;
        waiting.spill = Some(spill);
        self.buffer.truncate(waiting.start);
        self.buffer.shrink_to(WRITE + WRITE / 4);
        Ok(())
    }

    /// Hands over the records of the temporary file, with `metrics` at their `place` in it.
    fn write_spill(&mut self, mut spill: Spill, place: u64, metrics: &[u8]) -> io::Result<()> {
        let mut chunk = vec![0; WRITE];
        let mut at = 0;
        spill.file.seek(SeekFrom::Start(0))?;
        for (end, behind) in [(place, metrics), (spill.length, &[][..])] {
            while at < end {
                let wanted = usize::try_from(end - at).unwrap_or(WRITE).min(WRITE);
                spill.file.read_exact(&mut chunk[..wanted])?;
                self.hand_over(&chunk[..wanted]);
                at += wanted as u64;
            }
            self.hand_over(behind);
        }
        Ok(())
    }

    /// Hands the first `end` bytes of the buffer over and takes them away.
    fn write_until(&mut self, end: usize) {
        let buffer = std::mem::take(&mut self.buffer);
        self.hand_over(&buffer[..end]);
        self.buffer = buffer;
        self.buffer.drain(..end);
        if let Some(waiting) = &mut self.waiting {
            waiting.start -= end;
        }
    }

    /// Hands bytes to the sink, but for those that are to be left out.
    fn hand_over(&mut self, bytes: &[u8]) {
        let skipped = usize::try_from(self.suppressed.saturating_sub(self.gone)).unwrap_or(usize::MAX).min(bytes.len());
        self.gone += bytes.len() as u64;
        if !self.has_failed && skipped < bytes.len() {
            let result = self.sink.write_all(&bytes[skipped..]);
            self.keep_failure(result.map_err(OutputError::Sink));
        }
    }

    fn keep_failure(&mut self, result: Result<(), OutputError>) {
        if let Err(error) = result
            && !self.has_failed
        {
            self.has_failed = true;
            self.failure = Some(error);
        }
    }
}

#[cfg(test)]
mod tests;
