//! The files of a transcript as one stream of lines: the files that mngr has rotated, then the current one.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::backwards::Backwards;
use super::record::Record;
use crate::files::file_error::{FileError, escaped_path};
use crate::files::positional::{PositionalReader, after_last_newline};
use crate::files::regular::{FileId, open_regular};
use crate::json::{Tape, Text};
use crate::rollout::ByteOffset;
use crate::rollout::lines::{DEFAULT_LINE_LIMIT, LineError, Lines};

/// mngr's name for the current file of a transcript, to which records are appended.
pub(super) const CURRENT: &str = "events.jsonl";

/// Why a transcript cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {}", escaped_path(path), source)]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// The error and its offset.
    pub source: LineError,
}

/// The position of a line in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamPosition {
    /// The index of the file.
    pub segment: usize,
    /// The offset in the file.
    pub offset: ByteOffset,
}

impl StreamPosition {
    /// The start of a stream.
    pub const START: Self = Self { segment: 0, offset: ByteOffset(0) };
}

/// One line of a stream.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    /// The position of its first byte.
    pub position: StreamPosition,
    /// The text without the newline.
    pub text: Text<'a>,
    /// Whether it lacks its newline: the last line of a file, which may be incomplete.
    pub is_partial: bool,
}

/// One file of a stream.
struct Segment {
    path: PathBuf,
    file: File,
    /// The number of bytes to read: the length of the file when it was opened.
    length: u64,
}

/// The lines that a transcript had when it was opened.
pub struct Stream {
    segments: Vec<Segment>,
    limit: usize,
}

impl Stream {
    /// Opens the files of a stream, the oldest first. Lines may have at most [`DEFAULT_LINE_LIMIT`] bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be opened or is not a regular file.
    pub fn open(paths: impl IntoIterator<Item = PathBuf>) -> Result<Self, FileError> {
        let segments = paths.into_iter().map(|path| match open(&path) {
            Ok((file, length)) => Ok(Segment { path, file, length }),
            Err(error) => Err(FileError::on("open", &path)(error)),
        });
        Ok(Self { segments: segments.collect::<Result<_, _>>()?, limit: DEFAULT_LINE_LIMIT })
    }

    /// Opens all files of the stream whose current file is `current`, even if they are being rotated. `files` is a recent
    /// list of them.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be opened or is not a regular file.
    pub fn open_all(files: &[PathBuf], current: &Path) -> Result<Self, FileError> {
        /// The files are opened again each time another one has been rotated.
        const MAX_ATTEMPTS: usize = 16;
        let (mut files, folder) = (files.to_vec(), current.parent().unwrap_or(Path::new(".")));
        for _ in 1..MAX_ATTEMPTS {
            let opened = Self::open(files.iter().cloned());
            let listed = files_in(folder).unwrap_or_default();
            match opened {
                Ok(stream) if listed == files && stream.segments.iter().all(Segment::is_at_its_path) => {
                    return Ok(stream);
                }
                Err(error) if error.source.kind() != ErrorKind::NotFound || listed == files => return Err(error),
                _ => files = listed,
            }
        }
        Self::open(files)
    }

    /// Returns a stream of the first `length` bytes of an open file. `path` names it in messages.
    #[must_use]
    pub(crate) fn of(file: File, path: PathBuf, length: u64) -> Self {
        Self { segments: vec![Segment { path, file, length }], limit: DEFAULT_LINE_LIMIT }
    }

    /// Sets the maximum length of a line in bytes.
    #[cfg(test)]
    pub(super) fn with_line_limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// Returns the file with this index, if it exists.
    pub(super) fn file(&self, segment: usize) -> Option<&File> {
        self.segments.get(segment).map(|segment| &segment.file)
    }

    /// Removes the last line from the stream if it lacks its newline, for a caller that follows the stream.
    ///
    /// # Errors
    ///
    /// Returns a [`ReadError`] if the last file cannot be read.
    pub fn without_partial_line(mut self) -> Result<Self, ReadError> {
        if let Some(last) = self.segments.last_mut() {
            last.length = last.end_of_lines(0).map_err(|source| last.unread(0, source))?;
        }
        Ok(self)
    }

    /// Returns the end of the stream. A stream without files ends at its start.
    #[must_use]
    pub fn end(&self) -> StreamPosition {
        let length = self.segments.last().map_or(0, |last| last.length);
        StreamPosition { segment: self.segments.len().saturating_sub(1), offset: ByteOffset(length) }
    }

    /// Returns whether the stream has no files.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Returns the path of the file with this index; an empty path if it does not exist.
    #[must_use]
    pub fn path(&self, segment: usize) -> &Path {
        self.segments.get(segment).map_or(Path::new(""), |segment| &segment.path)
    }

    /// Returns an iterator over all lines.
    #[must_use]
    pub(crate) fn lines(&self) -> StreamLines<'_> {
        StreamLines { stream: self, segment: 0, lines: self.lines_of(0), last: Vec::new() }
    }

    /// Returns an iterator over the lines from `position`, which must be the start of a line.
    #[must_use]
    pub fn lines_from(&self, position: StreamPosition) -> StreamLines<'_> {
        let lines = self.segments.get(position.segment).map(|segment| {
            let input = PositionalReader::within(&segment.file, position.offset.0..segment.length);
            Lines::starting_at(input, position.offset, self.limit)
        });
        StreamLines { stream: self, segment: position.segment, lines, last: Vec::new() }
    }

    /// Returns an iterator over all lines, the last one first.
    #[must_use]
    pub fn backwards(&self) -> StreamBackwards<'_> {
        let segment = self.segments.len();
        StreamBackwards { stream: self, segment, lines: None }
    }

    /// Writes all bytes from `from` to `out`, unchanged. If a file's last line lacks its newline, it gets one if it is a
    /// complete record, and is skipped otherwise.
    ///
    /// # Errors
    ///
    /// Returns [`CopyError::Read`] if a file cannot be read or has become shorter, and [`CopyError::Write`] if `out` cannot
    /// be written. Some bytes may have been written then.
    pub fn copy(&self, from: StreamPosition, out: &mut dyn io::Write) -> Result<(), CopyError> {
        // The buffer size and alignment of `cat` (GNU coreutils 9). With an aligned buffer the kernel copies a third faster.
        const BLOCK: usize = 128 << 10;
        const PAGE: usize = 4 << 10;
        let mut block = vec![0; BLOCK + PAGE];
        let aligned = block.as_ptr().align_offset(PAGE).min(PAGE);
        let block = &mut block[aligned..aligned + BLOCK];
        let (mut partial, mut tape) = (Vec::new(), Tape::default());
        for (position, segment) in self.segments.iter().enumerate().skip(from.segment) {
            let start = if position == from.segment { from.offset.0 } else { 0 };
            let end = segment.end_of_lines(start).map_err(|source| segment.unread(start, source))?;
            let mut input = PositionalReader::within(&segment.file, start..end);
            while input.offset() < end {
                let at = input.offset();
                match input.read(block).map_err(|source| segment.unread(at, source))? {
                    0 => return Err(segment.unread(at, ErrorKind::UnexpectedEof.into()).into()),
                    count => out.write_all(&block[..count]).map_err(CopyError::Write)?,
                }
            }
            if end < segment.length {
                let position = StreamPosition { segment: position, offset: ByteOffset(end) };
                let text = self.reread_partial(position, segment.length - end, &mut partial)?;
                if Record::read(text, &mut tape).is_ok() {
                    out.write_all(text.bytes()).and_then(|()| out.write_all(b"\n")).map_err(CopyError::Write)?;
                }
            }
        }
        Ok(())
    }

    /// Reads the line at `position`, which lacks its newline.
    fn reread_partial<'b>(
        &self,
        position: StreamPosition,
        length: u64,
        buffer: &'b mut Vec<u8>,
    ) -> Result<Text<'b>, ReadError> {
        let (offset, limit) = (position.offset, self.limit);
        let too_long = || self.failed(position.segment, LineError::TooLong { offset, limit });
        let length = usize::try_from(length).ok().filter(|length| *length <= limit).ok_or_else(too_long)?;
        self.reread(position, length, buffer)
    }

    /// Reads a line of `length` bytes at `position` into `buffer`.
    ///
    /// # Errors
    ///
    /// Returns a [`ReadError`] if the file cannot be read or has become shorter.
    fn reread<'b>(
        &self,
        position: StreamPosition,
        length: usize,
        buffer: &'b mut Vec<u8>,
    ) -> Result<Text<'b>, ReadError> {
        let failed = |source| {
            let source = LineError::Read { offset: position.offset, source };
            ReadError { path: self.path(position.segment).to_owned(), source }
        };
        let Some(segment) = self.segments.get(position.segment) else {
            return Err(failed(io::Error::from(ErrorKind::NotFound)));
        };
        buffer.clear();
        buffer.resize(length, 0);
        segment.file.read_exact_at(buffer, position.offset.0).map_err(failed)?;
        Ok(Text::pad(buffer))
    }

    /// Reads at least `min` and at most `max` bytes from `position` into `buffer`.
    ///
    /// # Errors
    ///
    /// Returns a [`ReadError`] if the file cannot be read or has become shorter.
    pub(super) fn read_block(
        &self,
        position: StreamPosition,
        min: usize,
        max: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        let remaining =
            self.segments.get(position.segment).map_or(0, |segment| segment.length.saturating_sub(position.offset.0));
        let length = usize::try_from(remaining).unwrap_or(usize::MAX).min(max).max(min);
        self.reread(position, length, buffer)?;
        buffer.truncate(length);
        Ok(())
    }

    fn lines_of(&self, segment: usize) -> Option<Lines<PositionalReader<&File>>> {
        let segment = self.segments.get(segment)?;
        Some(Lines::new(PositionalReader::within(&segment.file, 0..segment.length), self.limit))
    }

    fn failed(&self, segment: usize, source: LineError) -> ReadError {
        ReadError { path: self.path(segment).to_owned(), source }
    }
}

impl Segment {
    /// Returns whether the open file is still at its path.
    fn is_at_its_path(&self) -> bool {
        let (opened, found) = (self.file.metadata(), fs::metadata(&self.path));
        matches!((opened, found), (Ok(opened), Ok(found)) if FileId::from(&opened) == FileId::from(&found))
    }

    /// Returns the end of the last complete line after `start`, or `start` if no line is complete.
    fn end_of_lines(&self, start: u64) -> io::Result<u64> {
        Ok(after_last_newline(&self.file, start..self.length)?.unwrap_or(start))
    }

    fn unread(&self, offset: u64, source: io::Error) -> ReadError {
        ReadError { path: self.path.clone(), source: LineError::Read { offset: ByteOffset(offset), source } }
    }
}

/// Why a transcript cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The transcript cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The output cannot be written.
    #[error(transparent)]
    Write(io::Error),
}

/// Opens a file, and returns it with its length.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = open_regular(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

/// The lines of a stream. The last line of a file is included even if it lacks its newline, as in mngr.
pub struct StreamLines<'s> {
    stream: &'s Stream,
    segment: usize,
    lines: Option<Lines<PositionalReader<&'s File>>>,
    /// The last line of a file if it lacks its newline.
    last: Vec<u8>,
}

impl StreamLines<'_> {
    /// Returns the next line, or `None` at the end.
    ///
    /// # Errors
    ///
    /// Returns a [`ReadError`] if a line is over the limit or a file cannot be read.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, ReadError> {
        let partial = loop {
            let Some(lines) = &mut self.lines else { return Ok(None) };
            if lines.has_line().map_err(|error| self.stream.failed(self.segment, error))? {
                break None;
            }
            let partial = lines.partial_line();
            self.segment += 1;
            self.lines = self.stream.lines_of(self.segment);
            if partial.is_some() {
                break partial;
            }
        };
        if let Some((offset, length)) = partial {
            let position = StreamPosition { segment: self.segment - 1, offset };
            let text = self.stream.reread_partial(position, length, &mut self.last)?;
            return Ok(Some(Line { position, text, is_partial: true }));
        }
        let segment = self.segment;
        let Some(lines) = &mut self.lines else { return Ok(None) };
        let line = lines.next_line().map_err(|error| self.stream.failed(segment, error))?;
        Ok(line.map(|line| Line {
            position: StreamPosition { segment, offset: line.offset },
            text: line.text,
            is_partial: false,
        }))
    }
}

/// The lines of a stream, the last one first.
pub struct StreamBackwards<'s> {
    stream: &'s Stream,
    /// The index of the file that is being read; at first, the number of files.
    segment: usize,
    lines: Option<Backwards<'s>>,
}

impl StreamBackwards<'_> {
    /// Returns the previous line, or `None` at the start.
    ///
    /// # Errors
    ///
    /// Returns a [`ReadError`] if a line is over the limit or a file cannot be read.
    pub fn previous_line(&mut self) -> Result<Option<Line<'_>>, ReadError> {
        loop {
            if let Some(lines) = &mut self.lines
                && lines.has_line().map_err(|error| self.stream.failed(self.segment, error))?
            {
                break;
            }
            let Some(segment) = self.segment.checked_sub(1) else { return Ok(None) };
            let Segment { file, length, .. } = &self.stream.segments[segment];
            self.segment = segment;
            self.lines = Some(Backwards::new(file, *length, self.stream.limit));
        }
        let segment = self.segment;
        let line = self.lines.as_mut().and_then(Backwards::previous_line);
        Ok(line.map(|(offset, text, is_partial)| Line {
            position: StreamPosition { segment, offset },
            text,
            is_partial,
        }))
    }
}

/// Returns the files of the transcript in `folder`, the oldest first: `events.jsonl.<time>`, to which mngr renames the files
/// that it rotates, then `events.jsonl`.
///
/// # Errors
///
/// Returns an error if the folder cannot be listed.
pub(super) fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    /// The folder is listed again each time files have been renamed.
    const MAX_LISTINGS: usize = 16;
    let mut files = listed_in(folder)?;
    for _ in 1..MAX_LISTINGS {
        // A listing can miss a file that is being renamed, under both of its names.
        let again = listed_in(folder)?;
        if again == files {
            break;
        }
        files = again;
    }
    Ok(files)
}

fn listed_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut rotated = Vec::new();
    let mut current = None;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let Some(suffix) = name.strip_prefix(CURRENT) else { continue };
        if !entry.path().is_file() {
            continue;
        }
        match suffix.strip_prefix('.') {
            None if suffix.is_empty() => current = Some(entry.path()),
            Some(time) if !time.is_empty() && time.bytes().all(|byte| byte.is_ascii_digit()) => {
                rotated.push((time.to_owned(), entry.path()));
            }
            _ => {}
        }
    }
    rotated.sort();
    Ok(rotated.into_iter().map(|(_, path)| path).chain(current).collect())
}

#[cfg(test)]
mod tests;
