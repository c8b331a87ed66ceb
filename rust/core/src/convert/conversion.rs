//! Conversions of an input: complete ([`convert`]), in batches ([`BatchConverter`]), or line by line
//! ([`IncrementalConverter`]).

use std::io::{self, Read, Write};

use crate::rollout::ByteOffset;
use crate::rollout::lines::{DEFAULT_LINE_LIMIT, Line, LineError, Lines};
use crate::rollout::recognition::{NotARollout, Recognizer};

use super::command_attribution::Reread;
use super::converter::{Converter, End, Pending};
use super::output::OutputError;
use super::summary::{MalformedLine, Summary};

/// Options of a conversion.
#[derive(Clone, Debug)]
pub struct Options {
    /// The agent's id, which determines the header's id.
    pub agent_id: String,
    /// How much of the end of the input is converted.
    pub end: End,
    /// The maximum line length, in bytes.
    pub line_limit: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { agent_id: String::new(), end: End::Complete, line_limit: DEFAULT_LINE_LIMIT }
    }
}

/// The reason why a conversion stopped.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The input could not be read.
    #[error(transparent)]
    Input(#[from] LineError),
    /// The output could not be written, or records could not be held back in a temporary file.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The input has no rollout line.
    #[error(transparent)]
    NotARollout(#[from] NotARollout),
    /// The caller stopped the conversion.
    #[error("stopped")]
    Stopped,
}

/// The number of bytes between two calls of `progress`.
const PROGRESS_BYTES: u64 = 4 << 20;

/// The number of bytes of records that are held back before the first rollout line. An input that has none by then is
/// not a rollout.
const MAX_HELD: usize = 16 << 20;

/// Converts all lines of `input`, and returns a summary. `progress` is called every few MiB with the number of bytes
/// read; the conversion stops if it returns `false`.
///
/// Unless `options.end` is [`End::Partial`], a last line without a newline is converted, too, if it is complete.
///
/// # Errors
///
/// Returns [`ConvertError::Input`] if the input cannot be read or a line is too long, [`ConvertError::Output`] if the
/// sink or a temporary file fails, [`ConvertError::NotARollout`] if the input has no rollout line and is not empty, and
/// [`ConvertError::Stopped`] if `progress` returned `false`. Records that have been written by then stay written. Nothing
/// is written before the first rollout line.
pub fn convert<R: Read, W: Write>(
    input: R,
    sink: W,
    options: &Options,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<Summary, ConvertError> {
    let mut lines = Lines::new(input, options.line_limit);
    let mut converter = Converter::new(&options.agent_id, Gate::new(sink));
    let mut recognizer = Recognizer::default();
    let mut reported = 0;
    while let Some(line) = lines.next_line()? {
        let ByteOffset(offset) = line.offset;
        if !recognizer.is_rollout() {
            recognizer.add(&line);
            judge(&recognizer, &mut converter)?;
        }
        converter.line(line, &mut NoEarlierLines)?;
        if offset - reported >= PROGRESS_BYTES {
            reported = offset;
            if !progress(offset) {
                return Err(ConvertError::Stopped);
            }
        }
    }
    let partial_line = finish(&mut lines, &mut recognizer, &mut converter, options.end)?;
    let mut summary = converter.into_summary();
    summary.partial_line = partial_line;
    Ok(summary)
}

/// A sink that holds everything back until the input is known to be a rollout.
struct Gate<W> {
    sink: W,
    /// `None` if it is open.
    held: Option<Vec<u8>>,
}

impl<W: Write> Gate<W> {
    fn new(sink: W) -> Self {
        Self { sink, held: Some(Vec::new()) }
    }

    fn open(&mut self) -> io::Result<()> {
        self.held.take().map_or(Ok(()), |held| self.sink.write_all(&held))
    }
}

impl<W: Write> Write for Gate<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.held {
            Some(held) => held.write(bytes),
            None => self.sink.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.held.is_some() { Ok(()) } else { self.sink.flush() }
    }
}

/// Opens the gate if a line has shown that the input is a rollout.
#[cold]
fn judge<W: Write>(recognizer: &Recognizer, converter: &mut Converter<Gate<W>>) -> Result<(), ConvertError> {
    let gate = converter.sink_mut();
    if recognizer.is_rollout() {
        gate.open().map_err(OutputError::Sink)?;
    } else if recognizer.is_transcript() || gate.held.as_ref().is_some_and(|held| held.len() > MAX_HELD) {
        return Err(recognizer.other().unwrap_or(NotARollout::Other).into());
    }
    Ok(())
}

/// Ends a conversion. Returns the offset and the length in bytes of the incomplete rest of the input, if there is any.
fn finish<R: Read, W: Write>(
    lines: &mut Lines<R>,
    recognizer: &mut Recognizer,
    converter: &mut Converter<Gate<W>>,
    end: End,
) -> Result<Option<(ByteOffset, u64)>, ConvertError> {
    let mut partial_line = lines.partial_line();
    if end == End::Partial {
        recognizer.add_partial(lines.partial_text());
    } else if let Some(line) = lines.take_partial_line()? {
        if !recognizer.is_rollout() {
            recognizer.add_last(&line);
            judge(recognizer, converter)?;
        }
        partial_line = converter.last_line(line, &mut NoEarlierLines)?;
    }
    if let Some(other) = recognizer.other() {
        return Err(other.into());
    }
    converter.finish(end)?;
    Ok(partial_line)
}

/// Converts an input in batches, for callers that process the records while they are read.
pub struct BatchConverter<R> {
    lines: Lines<R>,
    converter: Converter<Gate<Vec<u8>>>,
    recognizer: Recognizer,
    end: Option<End>,
    /// The reason why the input cannot be read further. It is returned after the records before it.
    failed: Option<ConvertError>,
}

/// The minimum size of a batch, in bytes of input.
const BATCH_BYTES: u64 = 256 << 10;

impl<R: Read> BatchConverter<R> {
    /// Returns a conversion at the start of `input`.
    pub fn new(input: R, options: &Options) -> Self {
        Self {
            lines: Lines::new(input, options.line_limit),
            converter: Converter::new(&options.agent_id, Gate::new(Vec::new())),
            recognizer: Recognizer::default(),
            end: Some(options.end),
            failed: None,
        }
    }

    /// Returns the records of the next part of the input, in complete lines, or `None` at the end. A batch can be
    /// empty.
    ///
    /// # Errors
    ///
    /// Returns [`ConvertError::Input`] if the input cannot be read, after all records before that position;
    /// [`ConvertError::Output`] if records cannot be held back in a temporary file; and [`ConvertError::NotARollout`] if
    /// the input has no rollout line and is not empty. In that case, all batches before it are empty.
    pub fn next_batch(&mut self) -> Result<Option<Vec<u8>>, ConvertError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let Some(end) = self.end else { return Ok(None) };
        let until = self.lines.bytes_read() + BATCH_BYTES;
        while self.end.is_some() && self.lines.bytes_read() < until {
            match self.lines.next_line() {
                Ok(Some(line)) => {
                    if !self.recognizer.is_rollout() {
                        self.recognizer.add(&line);
                        judge(&self.recognizer, &mut self.converter).inspect_err(|_| self.end = None)?;
                    }
                    self.converter.line(line, &mut NoEarlierLines)?;
                }
                Ok(None) => {
                    self.end = None;
                    finish(&mut self.lines, &mut self.recognizer, &mut self.converter, end)?;
                }
                Err(error) => {
                    self.end = None;
                    self.failed = Some(error.into());
                    self.converter.finish(end)?;
                }
            }
        }
        self.converter.flush()?;
        Ok(Some(std::mem::take(&mut self.converter.sink_mut().sink)))
    }

    /// Returns whether the lines so far announce messages in events, but do not contain them.
    pub fn has_only_events(&self) -> bool {
        self.converter.summary().has_only_events()
    }

    /// Returns the malformed lines since the last call, and the number of further ones whose positions were not kept.
    pub fn take_malformed(&mut self) -> (Vec<MalformedLine>, u64) {
        self.converter.take_malformed()
    }
}

/// The size in bytes up to which pending records are returned. Larger ones are an output that nobody waits to read.
pub(crate) const MAX_PENDING_BYTES: u64 = 64 << 20;

/// Converts a growing input, for callers that read its lines themselves.
pub struct IncrementalConverter {
    converter: Converter<Vec<u8>>,
    /// The number of bytes in lines whose records have not been taken.
    pending_bytes: u64,
}

impl IncrementalConverter {
    /// Returns a conversion at the start of an input. Of `options`, only the agent's id is used.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self { converter: Converter::new(&options.agent_id, Vec::new()), pending_bytes: 0 }
    }

    /// Converts the next line. Returns whether there is enough input for its records to be taken.
    ///
    /// # Errors
    ///
    /// Returns [`ConvertError::Output`] if records cannot be held back in a temporary file.
    pub fn line(&mut self, line: Line<'_>) -> Result<bool, ConvertError> {
        self.pending_bytes += line.next.0 - line.offset.0;
        self.converter.line(line, &mut NoEarlierLines)?;
        Ok(self.pending_bytes >= BATCH_BYTES)
    }

    /// Returns the records since the last call, in complete lines. Records that wait for later lines are held back.
    ///
    /// # Errors
    ///
    /// Returns [`ConvertError::Output`] if records cannot be held back in a temporary file.
    pub fn take_records(&mut self) -> Result<Vec<u8>, ConvertError> {
        self.pending_bytes = 0;
        Ok(self.converter.take_records()?)
    }

    /// Returns the ids of the calls in the current turn that have no output yet, the oldest first.
    #[must_use]
    pub fn awaited_calls(&self) -> Vec<Vec<u8>> {
        self.converter.awaited_calls()
    }

    /// Returns the records that wait for later lines, and the calls without an output.
    ///
    /// # Errors
    ///
    /// Returns [`ConvertError::Output`] if the temporary file with held-back records cannot be read.
    pub fn pending(&self) -> Result<Pending, ConvertError> {
        Ok(self.converter.pending(MAX_PENDING_BYTES)?)
    }

    /// Returns the malformed lines since the last call, and the number of further ones whose positions were not kept.
    pub fn take_malformed(&mut self) -> (Vec<MalformedLine>, u64) {
        self.converter.take_malformed()
    }
}

/// A [`Reread`] for conversions that begin at the start of an input, so that no program text must be read again.
struct NoEarlierLines;

impl Reread for NoEarlierLines {
    fn program_text(&mut self, _line: ByteOffset, _text: &mut Vec<u8>) {}
}
