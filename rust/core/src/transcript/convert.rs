//! A whole input at once: from a rollout to a common transcript.

use std::io::{Read, Write};

use crate::rollout::ByteOffset;
use crate::rollout::lines::{DEFAULT_LINE_LIMIT, LineError, Lines};

use super::attribution::Reread;
use super::converter::{Converter, End};
use super::output::OutputError;
use super::summary::Summary;

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
    summary.half_line = lines.half_line();
    Ok(summary)
}

/// Converts an input bit by bit, for a caller who takes the records as they come.
pub struct LineByLine<R> {
    lines: Lines<R>,
    converter: Converter<Vec<u8>>,
    end: Option<End>,
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
        }
    }

    /// The records of the next part of the input, whole lines, which may be none; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ConvertError`] where the input cannot be read on, or its waiting records cannot be kept.
    pub fn next_batch(&mut self) -> Result<Option<Vec<u8>>, ConvertError> {
        let Some(end) = self.end else { return Ok(None) };
        let until = self.lines.bytes_read() + BATCH;
        while self.end.is_some() && self.lines.bytes_read() < until {
            if let Some(line) = self.lines.next_line()? {
                self.converter.line(line, &mut NothingBefore)?;
            } else {
                self.end = None;
                self.converter.finish(end)?;
            }
        }
        Ok(Some(self.converter.take_records()?))
    }

    /// As [`Self::next_batch`] for an input that still grows: `None` where it holds nothing new, and what must wait for
    /// what is to come is held back.
    ///
    /// # Errors
    ///
    /// As for [`Self::next_batch`].
    pub fn next_grown(&mut self) -> Result<Option<Vec<u8>>, ConvertError> {
        let until = self.lines.bytes_read() + BATCH;
        let mut was_any = false;
        while !was_any || self.lines.bytes_read() < until {
            let Some(line) = self.lines.next_line()? else { break };
            self.converter.line(line, &mut NothingBefore)?;
            was_any = true;
        }
        if was_any { Ok(Some(self.converter.take_records()?)) } else { Ok(None) }
    }

    /// What came of it so far.
    pub fn summary(&self) -> &Summary {
        self.converter.summary()
    }
}

/// Nothing lies before the start of an input, so nothing has to be read again.
struct NothingBefore;

impl Reread for NothingBefore {
    fn program_text(&mut self, _line: ByteOffset, _text: &mut Vec<u8>) {}
}
