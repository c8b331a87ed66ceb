//! A buffered writer that can hold back the end of the output.
//!
//! At most one step waits for its token counts at a time, and everything after it waits with it. When the counts are
//! known, they are inserted into the step, and everything is released.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::files::file_error::FileError;

/// Released records are written when there are this many bytes of them.
const WRITE_SIZE: usize = 64 << 10;

/// Writes end at multiples of this many bytes of the output, so that the system fills each page in one write.
const BLOCK: u64 = 64 << 10;

/// The number of bytes up to which waiting records are kept in memory. Beyond it, they are kept in an unnamed temporary
/// file.
const MAX_WAITING_BYTES: usize = 4 << 20;

/// The end of every step. The metrics are inserted before it.
const STEP_END: &[u8] = b"}\n";

/// The reason why records could not be written or held back.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The sink failed.
    #[error("cannot write the transcript: {0}")]
    Sink(io::Error),
    /// A temporary file for held-back records failed.
    #[error(transparent)]
    Waiting(FileError),
}

impl OutputError {
    /// Returns the error for a temporary file that failed.
    pub(crate) fn waiting(source: io::Error) -> Self {
        Self::Waiting(FileError::on("store held-back records in the temporary folder", &temporary_folder())(source))
    }
}

/// Returns the directory for large amounts of waiting records: `TMPDIR`, or the system's temporary directory.
#[must_use]
pub fn temporary_folder() -> PathBuf {
    std::env::temp_dir()
}

/// A buffered sink that can hold back the end of the output.
///
/// The first error is kept for [`Output::check`]. After it, nothing more is written.
pub(crate) struct Output<W> {
    sink: W,
    buffer: Vec<u8>,
    /// The number of bytes that have been released and have left the buffer.
    written: u64,
    /// The number of bytes at the start that are not written to the sink, because an earlier run released them.
    suppressed: u64,
    waiting: Option<Waiting>,
    failure: Option<OutputError>,
    /// Whether there was a failure, returned or not.
    has_failed: bool,
}

/// Waiting records: the contents of the spill file, then the buffer from `start` on.
struct Waiting {
    start: usize,
    /// The position of the metrics, in bytes from the start of the waiting records.
    metrics: u64,
    spill: Option<Spill>,
}

/// Waiting records in a temporary file.
struct Spill {
    file: File,
    length: u64,
}

impl<W: Write> Output<W> {
    /// Returns an output that skips the first `suppressed` bytes.
    pub(crate) fn new(sink: W, suppressed: u64) -> Self {
        let buffer = Vec::with_capacity(WRITE_SIZE + WRITE_SIZE / 4);
        Self { sink, buffer, written: 0, suppressed, waiting: None, failure: None, has_failed: false }
    }

    /// Appends a piece of a record.
    #[inline]
    pub(crate) fn push(&mut self, piece: &[u8]) {
        if self.buffer.capacity() - self.buffer.len() < piece.len() {
            self.make_room(piece);
        } else {
            self.buffer.extend_from_slice(piece);
        }
    }

    /// Ends a record, and writes the buffer if it is full.
    #[inline]
    pub(crate) fn end_record(&mut self) {
        if self.waiting.is_none() && self.buffer.len() >= WRITE_SIZE {
            // An incomplete block stays in the buffer.
            let excess = (self.written + self.buffer.len() as u64) % BLOCK;
            self.write_prefix(self.buffer.len() - usize::try_from(excess).unwrap_or(0));
        }
    }

    /// Holds back everything that is pushed after this.
    pub(crate) fn begin_waiting(&mut self) {
        self.waiting = Some(Waiting { start: self.buffer.len(), metrics: 0, spill: None });
    }

    /// Ends the step that awaits its metrics.
    pub(crate) fn end_waiting_step(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            let length = waiting.spill.as_ref().map_or(0, |spill| spill.length);
            // The end of the step may be in the file.
            let end = length + (self.buffer.len() - waiting.start) as u64;
            waiting.metrics = end.saturating_sub(STEP_END.len() as u64);
        }
    }

    /// Returns whether records wait.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Returns the number of bytes released so far, including suppressed ones.
    pub(crate) fn released(&self) -> u64 {
        self.written + self.releasable() as u64
    }

    /// Returns the number of bytes at the start that are not written, because an earlier run released them.
    pub(crate) fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// Releases the waiting records, with `metrics` in the step that awaited them.
    pub(crate) fn release(&mut self, metrics: &[u8]) {
        let Some(waiting) = self.waiting.take() else {
            return;
        };
        if self.has_failed {
            // A part of the waiting records may be lost.
            self.buffer.truncate(waiting.start);
            return;
        }
        match waiting.spill {
            None => self.insert(waiting.start + usize::try_from(waiting.metrics).unwrap_or(0), metrics),
            Some(mut spill) => {
                let mut rest = self.buffer.split_off(waiting.start);
                self.write_prefix(waiting.start);
                if waiting.metrics > spill.length {
                    // The step's end is still in the buffer.
                    let position = usize::try_from(waiting.metrics - spill.length).unwrap_or(0).min(rest.len());
                    let moved = spill.file.write_all(&rest[..position]);
                    spill.length += position as u64;
                    rest.drain(..position);
                    self.record_failure(moved.map_err(OutputError::waiting));
                }
                let result = self.write_spill(spill, waiting.metrics, metrics);
                self.record_failure(result.map_err(OutputError::waiting));
                self.push(&rest);
            }
        }
        self.end_record();
    }

    /// Returns the waiting records without releasing them, or `None` if they are longer than `limit` bytes.
    ///
    /// # Errors
    ///
    /// Returns [`OutputError::Waiting`] if the temporary file cannot be read.
    pub(crate) fn waiting_records(&self, limit: u64) -> Result<Option<Vec<u8>>, OutputError> {
        let Some(waiting) = &self.waiting else { return Ok(Some(Vec::new())) };
        let in_memory = &self.buffer[waiting.start..];
        let spilled = waiting.spill.as_ref().map_or(0, |spill| spill.length);
        if self.has_failed || spilled + in_memory.len() as u64 > limit {
            return Ok(None);
        }
        let mut records = vec![0; usize::try_from(spilled).unwrap_or(0)];
        if let Some(spill) = &waiting.spill {
            // The file's own position stays at its end, where the next records are appended.
            spill.file.read_exact_at(&mut records, 0).map_err(OutputError::waiting)?;
        }
        records.extend_from_slice(in_memory);
        Ok(Some(records))
    }

    /// Discards the waiting records.
    pub(crate) fn discard_waiting(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.buffer.truncate(waiting.start);
        }
    }

    /// Writes all released records to the sink.
    ///
    /// # Errors
    ///
    /// Returns the first error of the sink ([`OutputError::Sink`]) or of the temporary file ([`OutputError::Waiting`]),
    /// unless it was returned before.
    pub(crate) fn flush(&mut self) -> Result<(), OutputError> {
        self.write_prefix(self.releasable());
        self.check()?;
        if self.has_failed { Ok(()) } else { self.sink.flush().map_err(OutputError::Sink) }
    }

    /// Checks for an error since the start of the output.
    ///
    /// # Errors
    ///
    /// Returns the first error of the sink ([`OutputError::Sink`]) or of the temporary file ([`OutputError::Waiting`]),
    /// unless it was returned before.
    #[inline]
    pub(crate) fn check(&mut self) -> Result<(), OutputError> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Returns the sink.
    pub(crate) fn sink(&self) -> &W {
        &self.sink
    }

    /// Returns the sink.
    pub(crate) fn sink_mut(&mut self) -> &mut W {
        &mut self.sink
    }

    /// Returns the number of bytes in the buffer that may be written.
    fn releasable(&self) -> usize {
        self.waiting.as_ref().map_or(self.buffer.len(), |waiting| waiting.start)
    }

    /// Inserts `metrics` into the buffer at `position`.
    fn insert(&mut self, position: usize, metrics: &[u8]) {
        let end = self.buffer.len();
        self.buffer.extend_from_slice(metrics);
        self.buffer.copy_within(position..end, position + metrics.len());
        self.buffer[position..position + metrics.len()].copy_from_slice(metrics);
    }

    /// Appends a piece that does not fit into the buffer: released records are written, waiting ones are moved to the
    /// file.
    #[cold]
    fn make_room(&mut self, piece: &[u8]) {
        self.write_prefix(self.releasable());
        if self.waiting.is_none() && piece.len() >= WRITE_SIZE {
            self.write_to_sink(piece);
        } else if self.waiting.is_some() && self.buffer.len() + piece.len() > MAX_WAITING_BYTES {
            let result = self.spill(piece);
            self.record_failure(result.map_err(OutputError::waiting));
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
        self.buffer.shrink_to(WRITE_SIZE + WRITE_SIZE / 4);
        Ok(())
    }

    /// Writes the records of the temporary file to the sink, with `metrics` inserted at `position`.
    fn write_spill(&mut self, mut spill: Spill, position: u64, metrics: &[u8]) -> io::Result<()> {
        let mut chunk = vec![0; WRITE_SIZE];
        let mut at = 0;
        spill.file.seek(SeekFrom::Start(0))?;
        for (end, inserted) in [(position, metrics), (spill.length, &[][..])] {
            while at < end {
                let size = usize::try_from(end - at).unwrap_or(WRITE_SIZE).min(WRITE_SIZE);
                spill.file.read_exact(&mut chunk[..size])?;
                self.write_to_sink(&chunk[..size]);
                at += size as u64;
            }
            self.write_to_sink(inserted);
        }
        Ok(())
    }

    /// Writes the first `end` bytes of the buffer to the sink and removes them.
    fn write_prefix(&mut self, end: usize) {
        let buffer = std::mem::take(&mut self.buffer);
        self.write_to_sink(&buffer[..end]);
        self.buffer = buffer;
        self.buffer.drain(..end);
        if let Some(waiting) = &mut self.waiting {
            waiting.start -= end;
        }
    }

    /// Writes bytes to the sink, except suppressed ones.
    fn write_to_sink(&mut self, bytes: &[u8]) {
        let skipped =
            usize::try_from(self.suppressed.saturating_sub(self.written)).unwrap_or(usize::MAX).min(bytes.len());
        self.written += bytes.len() as u64;
        if !self.has_failed && skipped < bytes.len() {
            let result = self.sink.write_all(&bytes[skipped..]);
            self.record_failure(result.map_err(OutputError::Sink));
        }
    }

    fn record_failure(&mut self, result: Result<(), OutputError>) {
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
