//! A transcript's files as one stream: what mngr has rotated away first, the file that grows last.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::backwards::Backwards;
use super::record::Record;
use crate::files::positional::{PositionalReader, after_last_newline};
use crate::files::regular::{FileId, open_regular};
use crate::json::{Tape, Text};
use crate::rollout::ByteOffset;
use crate::rollout::lines::{DEFAULT_LINE_LIMIT, LineError, Lines};

/// The file that a transcript grows in; mngr's name for it.
pub const CURRENT: &str = "events.jsonl";

/// Why a transcript cannot be read on.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct ReadError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong, and where.
    pub source: LineError,
}

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which of the stream's files.
    pub segment: usize,
    /// Where in that.
    pub offset: ByteOffset,
}

impl Place {
    /// Where every stream begins.
    pub const START: Self = Self { segment: 0, offset: ByteOffset(0) };
}

/// One line of a stream.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    /// Where it starts.
    pub place: Place,
    /// What it says, without its newline.
    pub text: Text<'a>,
    /// Whether it has no newline: the last one of a file, which may still be written.
    pub is_torn: bool,
}

/// One file of a stream.
struct Segment {
    path: PathBuf,
    file: File,
    /// How much of it is read, in bytes: what it had when it was opened.
    length: u64,
}

/// A transcript, as it was when it was opened.
pub struct Stream {
    segments: Vec<Segment>,
    limit: usize,
}

impl Stream {
    /// Opens the files of a stream, the oldest first; lines are at most as long as [`DEFAULT_LINE_LIMIT`].
    ///
    /// # Errors
    ///
    /// What the system says of the file that cannot be opened, with its path.
    pub fn open(paths: impl IntoIterator<Item = PathBuf>) -> Result<Self, (PathBuf, io::Error)> {
        let segments = paths.into_iter().map(|path| match open(&path) {
            Ok((file, length)) => Ok(Segment { path, file, length }),
            Err(error) => Err((path, error)),
        });
        Ok(Self { segments: segments.collect::<Result<_, _>>()?, limit: DEFAULT_LINE_LIMIT })
    }

    /// Opens all files of the stream that grows at `current`, also while they are rotated; of `files` it is known that they
    /// were all a moment ago.
    ///
    /// # Errors
    ///
    /// What the system says of the file that cannot be opened, with its path.
    pub fn open_all(files: &[PathBuf], current: &Path) -> Result<Self, (PathBuf, io::Error)> {
        /// As often as they are opened anew: each time another file was rotated.
        const MOST_TIMES: usize = 16;
        let (mut files, folder) = (files.to_vec(), current.parent().unwrap_or(Path::new(".")));
        for _ in 1..MOST_TIMES {
            let opened = Self::open(files.iter().cloned());
            let listed = files_in(folder).unwrap_or_default();
            match opened {
                Ok(stream) if listed == files && stream.segments.iter().all(Segment::is_at_its_path) => {
                    return Ok(stream);
                }
                Err((path, error)) if error.kind() != ErrorKind::NotFound || listed == files => {
                    return Err((path, error));
                }
                _ => files = listed,
            }
        }
        Self::open(files)
    }

    /// A stream of one file that is open, up to `length`; `path` is what messages call it.
    #[must_use]
    pub fn of(file: File, path: PathBuf, length: u64) -> Self {
        Self { segments: vec![Segment { path, file, length }], limit: DEFAULT_LINE_LIMIT }
    }

    /// The same with lines of at most so many bytes.
    #[must_use]
    pub fn with_line_limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// Bytes of all files.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.segments.iter().map(|segment| segment.length).sum()
    }

    /// A file of the stream.
    #[must_use]
    pub fn file(&self, segment: usize) -> Option<&File> {
        self.segments.get(segment).map(|segment| &segment.file)
    }

    /// The same without the last line if that has no end yet, for whoever follows the stream.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where the last file cannot be read.
    pub fn without_torn_end(mut self) -> Result<Self, ReadError> {
        if let Some(last) = self.segments.last_mut() {
            last.length = last.whole_lines(0).map_err(|source| last.unread(0, source))?;
        }
        Ok(self)
    }

    /// Where it ends; its start where it has no files.
    #[must_use]
    pub fn end(&self) -> Place {
        let length = self.segments.last().map_or(0, |last| last.length);
        Place { segment: self.segments.len().saturating_sub(1), offset: ByteOffset(length) }
    }

    /// Whether it has no files.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The path of a file of the stream.
    #[must_use]
    pub fn path(&self, segment: usize) -> &Path {
        self.segments.get(segment).map_or(Path::new(""), |segment| &segment.path)
    }

    /// Goes over all lines, from the first.
    #[must_use]
    pub fn lines(&self) -> StreamLines<'_> {
        StreamLines { stream: self, segment: 0, lines: self.lines_of(0), last: Vec::new() }
    }

    /// Goes over the lines from one that is known on.
    #[must_use]
    pub fn lines_from(&self, place: Place) -> StreamLines<'_> {
        let lines = self.segments.get(place.segment).map(|segment| {
            let input = PositionalReader::within(&segment.file, place.offset.0..segment.length);
            Lines::starting_at(input, place.offset, self.limit)
        });
        StreamLines { stream: self, segment: place.segment, lines, last: Vec::new() }
    }

    /// Goes over all lines, from the last.
    #[must_use]
    pub fn backwards(&self) -> StreamBackwards<'_> {
        let segment = self.segments.len();
        StreamBackwards { stream: self, segment, lines: None }
    }

    /// Writes all bytes from `from` on to `out`, as they stand. A file's last line without its newline gets one if it is a
    /// whole record, and is left out if not.
    ///
    /// # Errors
    ///
    /// [`CopyError`]; what was written until then stays written.
    pub fn copy(&self, from: Place, out: &mut dyn io::Write) -> Result<(), CopyError> {
        // As large as `cat` of GNU coreutils 9 asks for, and on whole pages like its own: the kernel copies a third faster.
        const BLOCK: usize = 128 << 10;
        const PAGE: usize = 4 << 10;
        let mut block = vec![0; BLOCK + PAGE];
        let aligned = block.as_ptr().align_offset(PAGE).min(PAGE);
        let block = &mut block[aligned..aligned + BLOCK];
        let (mut torn, mut tape) = (Vec::new(), Tape::default());
        for (place, segment) in self.segments.iter().enumerate().skip(from.segment) {
            let start = if place == from.segment { from.offset.0 } else { 0 };
            let end = segment.whole_lines(start).map_err(|source| segment.unread(start, source))?;
            let mut input = PositionalReader::within(&segment.file, start..end);
            while input.offset() < end {
                let at = input.offset();
                match input.read(block).map_err(|source| segment.unread(at, source))? {
                    0 => return Err(segment.unread(at, ErrorKind::UnexpectedEof.into()).into()),
                    count => out.write_all(&block[..count]).map_err(CopyError::Write)?,
                }
            }
            if end < segment.length {
                let place = Place { segment: place, offset: ByteOffset(end) };
                let text = self.reread_torn(place, segment.length - end, &mut torn)?;
                if Record::read(text, &mut tape).is_ok() {
                    out.write_all(text.bytes()).and_then(|()| out.write_all(b"\n")).map_err(CopyError::Write)?;
                }
            }
        }
        Ok(())
    }

    /// Reads the line that starts at `place` and has no newline.
    fn reread_torn<'b>(&self, place: Place, length: u64, buffer: &'b mut Vec<u8>) -> Result<Text<'b>, ReadError> {
        let (offset, limit) = (place.offset, self.limit);
        let too_long = || self.failed(place.segment, LineError::TooLong { offset, limit });
        let length = usize::try_from(length).ok().filter(|length| *length <= limit).ok_or_else(too_long)?;
        self.reread(place, length, buffer)
    }

    /// Reads the line again that starts at `place` and has so many bytes, into `buffer`.
    ///
    /// # Errors
    ///
    /// [`ReadError`], also where the file has been cut meanwhile.
    pub fn reread<'b>(&self, place: Place, length: usize, buffer: &'b mut Vec<u8>) -> Result<Text<'b>, ReadError> {
        let failed = |source| {
            let source = LineError::Read { offset: place.offset, source };
            ReadError { path: self.path(place.segment).to_owned(), source }
        };
        let Some(segment) = self.segments.get(place.segment) else {
            return Err(failed(io::Error::from(ErrorKind::NotFound)));
        };
        buffer.clear();
        buffer.resize(length, 0);
        segment.file.read_exact_at(buffer, place.offset.0).map_err(failed)?;
        Ok(Text::pad(buffer))
    }

    /// Reads from `place` on, at least `least` bytes and at most `most`, into `buffer`.
    ///
    /// # Errors
    ///
    /// [`ReadError`], also where the file has been cut meanwhile.
    pub fn read_block(&self, place: Place, least: usize, most: usize, buffer: &mut Vec<u8>) -> Result<(), ReadError> {
        let there = self.segments.get(place.segment).map_or(0, |segment| segment.length.saturating_sub(place.offset.0));
        let length = usize::try_from(there).unwrap_or(usize::MAX).min(most).max(least);
        self.reread(place, length, buffer)?;
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
    /// Whether the file that is open stands where it was opened.
    fn is_at_its_path(&self) -> bool {
        let (opened, there) = (self.file.metadata(), fs::metadata(&self.path));
        matches!((opened, there), (Ok(opened), Ok(there)) if FileId::from(&opened) == FileId::from(&there))
    }

    /// Where the last whole line ends at or behind `start`.
    fn whole_lines(&self, start: u64) -> io::Result<u64> {
        Ok(after_last_newline(&self.file, start..self.length)?.unwrap_or(start))
    }

    fn unread(&self, offset: u64, source: io::Error) -> ReadError {
        ReadError { path: self.path.clone(), source: LineError::Read { offset: ByteOffset(offset), source } }
    }
}

/// Why a copy ended.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The transcript cannot be read on.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The output cannot be written.
    #[error(transparent)]
    Write(io::Error),
}

/// Opens a file for reading, and says how long it is.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = open_regular(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

/// The lines of a stream in order. A file's last line counts as one also without its newline, as for mngr.
pub struct StreamLines<'s> {
    stream: &'s Stream,
    segment: usize,
    lines: Option<Lines<PositionalReader<&'s File>>>,
    /// A torn line.
    last: Vec<u8>,
}

impl StreamLines<'_> {
    /// The next line, or `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where a line is over the limit, or reading fails.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, ReadError> {
        let torn = loop {
            let Some(lines) = &mut self.lines else { return Ok(None) };
            if lines.has_line().map_err(|error| self.stream.failed(self.segment, error))? {
                break None;
            }
            let torn = lines.partial_line();
            self.segment += 1;
            self.lines = self.stream.lines_of(self.segment);
            if torn.is_some() {
                break torn;
            }
        };
        if let Some((offset, length)) = torn {
            let place = Place { segment: self.segment - 1, offset };
            let text = self.stream.reread_torn(place, length, &mut self.last)?;
            return Ok(Some(Line { place, text, is_torn: true }));
        }
        let segment = self.segment;
        let Some(lines) = &mut self.lines else { return Ok(None) };
        let line = lines.next_line().map_err(|error| self.stream.failed(segment, error))?;
        Ok(line.map(|line| Line { place: Place { segment, offset: line.offset }, text: line.text, is_torn: false }))
    }
}

/// The lines of a stream from its end.
pub struct StreamBackwards<'s> {
    stream: &'s Stream,
    /// The file behind the one that is read.
    segment: usize,
    lines: Option<Backwards<'s>>,
}

impl StreamBackwards<'_> {
    /// The line before, or `None` at the start.
    ///
    /// # Errors
    ///
    /// As for [`StreamLines::next_line`].
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
        Ok(line.map(|(offset, text, is_torn)| Line { place: Place { segment, offset }, text, is_torn }))
    }
}

/// The files of the stream that grows in `folder`, the oldest first: `events.jsonl.<time>` as mngr rotates them, then
/// `events.jsonl`. None where there are none.
///
/// # Errors
///
/// What the system says of the folder.
pub fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    /// As often as a folder is listed in which something moves: each time something else has.
    const MOST_LISTINGS: usize = 16;
    let mut files = listed_in(folder)?;
    for _ in 1..MOST_LISTINGS {
        // A file that is renamed while its folder is listed can be missing under both of its names.
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
