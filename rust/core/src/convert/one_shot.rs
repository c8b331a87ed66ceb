//! A whole input at once: from a rollout to a common transcript.

use std::io::{Read, Write};

use crate::rollout::ByteOffset;
use crate::rollout::lines::{DEFAULT_LINE_LIMIT, Line, LineError, Lines};

use super::attribution::Reread;
use super::converter::{Converter, End};
use super::output::OutputError;
use super::summary::{MalformedLine, Summary};

/// How to convert.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seeds the header's id.
    pub agent_id: String,
    /// Whether the input may still grow.
    pub end: End,
    /// The longest line that is read, in bytes.
    pub line_limit: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { agent_id: String::new(), end: End::Complete, line_limit: DEFAULT_LINE_LIMIT }
    }
}

/// Why a conversion stopped.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The input could not be read on.
    #[error(transparent)]
    Input(#[from] LineError),
    /// The output could not be written, or waiting records could not be kept.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The input is a common transcript already.
    #[error("it is a common transcript already, and no rollout; Codex keeps rollouts under ~/.codex/sessions")]
    IsTranscript,
    /// The caller wanted no more.
    #[error("stopped")]
    Stopped,
}

/// Bytes between two calls of the caller's `progress`.
const PROGRESS_BYTES: u64 = 4 << 20;

/// Converts all lines of `input`; `progress` is told now and then how many bytes were read, and says whether to go on.
///
/// # Errors
///
/// [`ConvertError`]; what was written until then stays written.
pub fn convert<R: Read, W: Write>(
    input: R,
    sink: W,
    options: &Options,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<Summary, ConvertError> {
    let mut lines = Lines::new(input, options.line_limit);
    let mut converter = Converter::new(&options.agent_id, sink);
    let mut told = 0;
    while let Some(line) = lines.next_line()? {
        let ByteOffset(offset) = line.offset;
        refuse_transcript(line)?;
        converter.line(line, &mut NothingBefore)?;
        if offset - told >= PROGRESS_BYTES {
            told = offset;
            if !progress(offset) {
                return Err(ConvertError::Stopped);
            }
        }
    }
    converter.finish(options.end)?;
    let mut summary = std::mem::take(converter.summary_mut());
    summary.partial_line = lines.partial_line();
    Ok(summary)
}

/// A common transcript begins with its header, or where it was rotated with another record, as no rollout does.
fn refuse_transcript(line: Line<'_>) -> Result<(), ConvertError> {
    const BEGINNINGS: [&[u8]; 3] = [
        b"{\"type\":\"header\",\"event_id\":",
        b"{\"type\":\"step\",\"event_id\":",
        b"{\"type\":\"observation\",\"event_id\":",
    ];
    let begins_with = |beginning: &&[u8]| {
        let bytes = line.text.bytes().iter().filter(|byte| !byte.is_ascii_whitespace());
        bytes.take(beginning.len()).eq(*beginning)
    };
    if line.offset == ByteOffset(0) && BEGINNINGS.iter().any(begins_with) {
        return Err(ConvertError::IsTranscript);
    }
    Ok(())
}

/// Converts an input bit by bit, for a caller who takes the records as they come.
pub struct LineByLine<R> {
    lines: Lines<R>,
    converter: Converter<Vec<u8>>,
    end: Option<End>,
    /// Why the input cannot be read on; told once the records before that are.
    failed: Option<ConvertError>,
}

/// Bytes of input that a batch is made of, at the least.
const BATCH: u64 = 256 << 10;

impl<R: Read> LineByLine<R> {
    /// A conversion of `input`, not yet begun.
    pub fn new(input: R, options: &Options) -> Self {
        Self {
            lines: Lines::new(input, options.line_limit),
            converter: Converter::new(&options.agent_id, Vec::new()),
            end: Some(options.end),
            failed: None,
        }
    }

    /// The records of the next part of the input, whole lines, which may be none; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ConvertError`] where the input cannot be read on, once all records before that were given; or where waiting ones
    /// cannot be kept.
    pub fn next_batch(&mut self) -> Result<Option<Vec<u8>>, ConvertError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let Some(end) = self.end else { return Ok(None) };
        let until = self.lines.bytes_read() + BATCH;
        while self.end.is_some() && self.lines.bytes_read() < until {
            match self.lines.next_line() {
                Ok(Some(line)) => {
                    refuse_transcript(line).inspect_err(|_| self.end = None)?;
                    self.converter.line(line, &mut NothingBefore)?;
                }
                Ok(None) => {
                    self.end = None;
                    self.converter.finish(end)?;
                }
                Err(error) => {
                    self.end = None;
                    self.failed = Some(error.into());
                    self.converter.finish(end)?;
                }
            }
        }
        Ok(Some(self.converter.take_records()?))
    }

    /// The malformed lines so far, or since this was asked last, and how many more there were.
    pub fn take_malformed(&mut self) -> (Vec<MalformedLine>, u64) {
        self.converter.summary_mut().take_malformed()
    }
}

/// Converts an input that grows, for a caller who has its lines.
pub struct AsItGrows {
    converter: Converter<Vec<u8>>,
    /// Bytes of lines whose records were not taken.
    untaken: u64,
}

impl AsItGrows {
    /// A conversion, not yet begun. Nothing but the agent's id is taken from the options.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self { converter: Converter::new(&options.agent_id, Vec::new()), untaken: 0 }
    }

    /// Takes the next line, and says whether so much has come that its records are to be taken.
    ///
    /// # Errors
    ///
    /// [`ConvertError`] where waiting records cannot be kept.
    pub fn line(&mut self, line: Line<'_>) -> Result<bool, ConvertError> {
        self.untaken += line.next.0 - line.offset.0;
        self.converter.line(line, &mut NothingBefore)?;
        Ok(self.untaken >= BATCH)
    }

    /// The records so far, whole lines; what must wait for what is to come is held back.
    ///
    /// # Errors
    ///
    /// As for [`Self::line`].
    pub fn take_records(&mut self) -> Result<Vec<u8>, ConvertError> {
        self.untaken = 0;
        Ok(self.converter.take_records()?)
    }

    /// The malformed lines since this was asked last, and how many more there were.
    pub fn take_malformed(&mut self) -> (Vec<MalformedLine>, u64) {
        self.converter.summary_mut().take_malformed()
    }
}

/// Nothing lies before the start of an input, so nothing has to be read again.
struct NothingBefore;

impl Reread for NothingBefore {
    fn program_text(&mut self, _line: ByteOffset, _text: &mut Vec<u8>) {}
}
