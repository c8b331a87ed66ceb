//! One step of a pass: lines of a rollout are appended to the raw transcript and converted, then the checkpoint is
//! written.
//!
//! The intent of a step is written before its first byte is appended, so that a step that was interrupted can be completed
//! by the next pass ([`recovery`](super::recovery)).

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::Path;

use super::checkpoint::{Checkpoint, CheckpointFile, Extent, Intent};
use super::conversion::{self, convert_lines};
use super::error::FollowError;
use super::rollout_file::{CopiedPrefix, FileStamp, FollowedRollout, RolloutFile};
use super::transcripts::Transcript;
use crate::convert::{Converter, End};
use crate::event_log::{Level, log};
use crate::files::file_error::FileError;
use crate::files::fingerprint::Fingerprint;
use crate::files::positional::PositionalReader;
use crate::files::regular::FileId;
use crate::lifecycle::reconcile::LineListener;
use crate::rollout::ByteOffset;
use crate::rollout::lines::{Line, Lines};
use crate::state_dir::StateDir;

/// The number of bytes that are copied at a time.
const CHUNK: usize = 64 << 10;

/// The state that is kept between two passes. It is valid until another process makes a pass.
pub(super) struct FollowState {
    /// The identity of the checkpoint's file, and the number of the checkpoint in it.
    pub(crate) stamp: (FileId, u64),
    pub(crate) checkpoint: Checkpoint,
    pub(crate) raw: Transcript,
    /// Writes the common transcript; `None` if the agent has none.
    pub(crate) converter: Option<Converter<Transcript>>,
    /// The rollouts whose complete lines have all been copied, by their index in the checkpoint.
    pub(crate) searched: HashMap<u32, Searched>,
}

/// The state of a rollout after all of its complete lines were copied.
#[derive(Clone, Copy)]
pub(super) struct Searched {
    pub stamp: FileStamp,
    /// The bytes from the copied prefix to this offset contain no newline.
    pub until: u64,
    /// The hash of the bytes before that offset.
    pub(crate) end: Fingerprint,
}

impl FollowState {
    fn common(&self) -> Option<&Transcript> {
        self.converter.as_ref().map(Converter::sink)
    }

    fn common_mut(&mut self) -> Option<&mut Transcript> {
        self.converter.as_mut().map(Converter::sink_mut)
    }

    /// Returns the length of the common transcript in bytes; 0 if the agent has none.
    pub(super) fn common_length(&self) -> u64 {
        self.common().map_or(0, Transcript::length)
    }

    /// Returns whether no other process has made a pass since, and the transcripts are unchanged.
    pub(super) fn is_current(&self, file: &CheckpointFile, dir: &StateDir) -> bool {
        self.stamp.1 > 0
            && file.stamp().is_ok_and(|stamp| stamp == self.stamp)
            && self.raw.is_unchanged(&dir.raw_transcript())
            && self.converter.is_some() == conversion::is_enabled(dir)
            && self.common().is_none_or(|common| common.is_unchanged(&dir.common_transcript()))
    }
}

/// Makes steps, under the lock of the checkpoint's file.
pub(super) struct StepWriter<'p> {
    pub(crate) dir: &'p StateDir,
    pub(crate) file: &'p CheckpointFile,
    pub(crate) state: FollowState,
    /// Receives the lines that it waits for as they are copied.
    pub(crate) listener: Option<&'p mut LineListener>,
}

impl StepWriter<'_> {
    /// Opens the rollout with this index; `None` if it does not exist or cannot be read.
    pub(super) fn open(&self, index: u32) -> Option<RolloutFile> {
        let path = &self.state.checkpoint.rollouts.get(index as usize)?.path;
        match RolloutFile::find(Path::new(path)) {
            Ok(rollout) => Some(rollout),
            // Codex has not written it yet, or it was removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                log(self.dir, Level::Warning, &FileError::on("read", Path::new(path))(error).to_string());
                None
            }
        }
    }

    /// Makes one step: appends `range` of a rollout to the raw transcript, converts it, and writes the checkpoint. `copied`
    /// is the state of the rollout after the step; `None` if it is not known which of its lines have been copied.
    ///
    /// # Errors
    ///
    /// Returns [`FollowError::File`] if the rollout cannot be read or has become shorter, or if a file of the agent cannot
    /// be written.
    pub(super) fn append(
        &mut self,
        index: u32,
        rollout: &RolloutFile,
        range: Range<u64>,
        copied: Option<CopiedPrefix>,
    ) -> Result<(), FollowError> {
        let Range { start: from, end: to } = range;
        let intent = Intent::Append { rollout: index, from, to };
        let written = self.file.write_intent(self.state.stamp.1, intent);
        written.map_err(FileError::on("write", &self.dir.following()))?;
        let FollowState { raw, converter, checkpoint, .. } = &mut self.state;
        let FollowedRollout { path, copied: before } = &checkpoint.rollouts[index as usize];
        let before = before.filter(|before| copied.is_some() && before.length == from);
        let mut listener = self.listener.as_deref_mut().filter(|listener| {
            before.is_some_and(|before| !rollout.is_compressed && listener.is_at(Path::new(path), from, before.end))
        });
        let (raw_path, start) = (self.dir.raw_transcript(), raw.length());
        let mut observe = |line: &Line<'_>| {
            if let Some(listener) = &mut listener {
                listener.line(line.text, line.next.0 - start + from);
            }
        };
        let mut input = rollout.read_from(from).map_err(FileError::on("read", &rollout.path))?.take(to - from);
        let mut lines = Lines::starting_at(Chunk::for_length(to - from), ByteOffset(start), usize::MAX);
        loop {
            let chunk = lines.reader_mut().refill(&mut input).map_err(FileError::on("read", &rollout.path))?;
            if chunk.is_empty() {
                break;
            }
            // The raw transcript first: the converter may read these lines again.
            raw.write_all(chunk).map_err(FileError::on("write", &raw_path))?;
            convert_lines(&mut lines, &rollout.path, converter.as_mut(), raw.file(), self.dir, &mut observe)?;
        }
        if let (Some(listener), Some(copied)) = (listener, copied) {
            listener.pause(copied.end);
        }
        if raw.length() != start + (to - from) {
            let error = io::Error::other("it became shorter while it was being copied");
            return Err(FileError::on("read", &rollout.path)(error).into());
        }
        self.set_copied(index, copied);
        self.commit()
    }

    /// Converts the raw transcript from the offset `from`.
    ///
    /// # Errors
    ///
    /// Returns [`FollowError::File`] if a transcript cannot be read or written.
    pub(super) fn convert_raw(&mut self, from: ByteOffset) -> Result<(), FollowError> {
        let FollowState { raw, converter, .. } = &mut self.state;
        if from.0 == raw.length() {
            return Ok(());
        }
        let input = PositionalReader::within(raw.file(), from.0..raw.length());
        let mut lines = Lines::starting_at(input, from, usize::MAX);
        let path = self.dir.raw_transcript();
        convert_lines(&mut lines, &path, converter.as_mut(), raw.file(), self.dir, |_| {})
    }

    /// Records which bytes of a rollout have been copied.
    pub(super) fn set_copied(&mut self, index: u32, copied: Option<CopiedPrefix>) {
        if let Some(rollout) = self.state.checkpoint.rollouts.get_mut(index as usize) {
            rollout.copied = copied;
        }
    }

    /// Emits the records that wait for their token counts, without counts.
    ///
    /// # Errors
    ///
    /// Returns [`FollowError::File`] if the common transcript cannot be written.
    pub(super) fn release(&mut self) -> Result<(), FollowError> {
        let released = self.state.converter.as_mut().map_or(Ok(()), |converter| converter.finish(End::Complete));
        released.map_err(|error| FollowError::from_output(error, self.dir))
    }

    /// Writes the records that the converter has buffered.
    ///
    /// # Errors
    ///
    /// Returns [`FollowError::File`] if the common transcript cannot be written.
    pub(super) fn flush(&mut self) -> Result<(), FollowError> {
        let flushed = self.state.converter.as_mut().map_or(Ok(()), Converter::flush);
        flushed.map_err(|error| FollowError::from_output(error, self.dir))?;
        if self.state.common_mut().is_some_and(Transcript::take_was_cut) {
            let message = "the common transcript differed from the conversion of the raw transcript; \
                           it was cut there and written again";
            log(self.dir, Level::Warning, message);
        }
        Ok(())
    }

    /// Writes the checkpoint.
    ///
    /// # Errors
    ///
    /// Returns [`FollowError::File`] if a file of the agent cannot be read or written.
    pub(super) fn commit(&mut self) -> Result<(), FollowError> {
        self.flush()?;
        let state = &mut self.state;
        state.checkpoint.raw = state.raw.extent().map_err(FileError::on("read", &self.dir.raw_transcript()))?;
        let common = state.common().map_or(Ok(Extent::default()), Transcript::extent);
        state.checkpoint.common = common.map_err(FileError::on("read", &self.dir.common_transcript()))?;
        state.checkpoint.conversion = state.converter.as_mut().map(Converter::checkpoint);
        let number = state.stamp.1 + 1;
        let written = self.file.write(number, &state.checkpoint);
        written.map_err(FileError::on("write", &self.dir.following()))?;
        state.stamp.1 = number;
        Ok(())
    }

    /// Cuts partial lines from the ends of the transcripts, if possible. Complete lines stay, because readers may have seen
    /// them; the next pass compares them with the intent.
    pub(super) fn cut_partial_lines(&mut self) {
        let Checkpoint { raw, common, .. } = self.state.checkpoint;
        let _ = self.state.raw.cut_partial_line(raw.length);
        if let Some(transcript) = self.state.common_mut() {
            let _ = transcript.cut_partial_line(common.length);
        }
    }
}

/// The bytes that were copied last. [`Lines`] reads them from here.
pub(super) struct Chunk {
    bytes: Vec<u8>,
    unread: Range<usize>,
}

impl Chunk {
    /// Returns an empty chunk for copying `length` bytes.
    pub(super) fn for_length(length: u64) -> Self {
        Self { bytes: vec![0; usize::try_from(length).unwrap_or(CHUNK).min(CHUNK)], unread: 0..0 }
    }

    /// Reads the next bytes from `input`, and returns them; none at its end.
    pub(super) fn refill(&mut self, input: &mut impl Read) -> io::Result<&[u8]> {
        let count = loop {
            match input.read(&mut self.bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                count => break count?,
            }
        };
        self.unread = 0..count;
        Ok(&self.bytes[..count])
    }
}

impl Read for Chunk {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (&self.bytes[self.unread.clone()]).read(buffer)?;
        self.unread.start += count;
        Ok(count)
    }
}

/// Returns an index as the checkpoint stores it. There are at most a few thousand rollouts.
pub(super) fn index(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
