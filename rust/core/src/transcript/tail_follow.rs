//! Following a transcript: the lines that are added to it, also if its files are rotated, truncated or replaced.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::stream::{CURRENT, ReadError, Stream, StreamPosition, files_in};
use crate::files::positional::{PositionalReader, read_at};
use crate::files::regular::{FileId, require_regular};
use crate::json::{Text, find_control};
use crate::rollout::ByteOffset;
use crate::rollout::lines::{DEFAULT_LINE_LIMIT, Line, LineError, Lines};
use crate::watch::Watched;

/// The number of bytes at the start and at the end of the read part by which a file is recognized.
const SAMPLE: usize = 4 << 10;

/// An event of a transcript that is followed.
pub enum TailEvent<'a> {
    /// The next line.
    Line(Line<'a>),
    /// The last line of a file that was rotated, if it lacks its newline.
    Partial(Line<'a>),
    /// The file was rewritten. Its lines follow from the start.
    Rewritten,
}

/// Follows the current file of a transcript.
pub struct TailFollower {
    path: PathBuf,
    open: Option<OpenFile>,
}

/// The file that is being read.
struct OpenFile {
    file: File,
    lines: Lines<PositionalReader<File>>,
    /// The offset of the next line.
    next: u64,
    samples: Samples,
}

/// Samples of the part of a file that has been read. They show whether it is still the same file.
#[derive(Default)]
struct Samples {
    /// The first bytes.
    start: Vec<u8>,
    /// The last bytes before the next line.
    end: Vec<u8>,
}

/// The result of comparing a file with the part that has been read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// The file begins with that part.
    Same,
    /// The file is shorter, and is the beginning of that part.
    Truncated,
    /// The file is different.
    Different,
}

impl Samples {
    /// Takes samples of a file that has been read up to `next`. Returns `None` if it has become shorter.
    fn of(file: &File, next: u64) -> io::Result<Option<Self>> {
        let count = usize::try_from(next).unwrap_or(SAMPLE).min(SAMPLE);
        let (start, end) = (bytes_at(file, 0, count)?, bytes_at(file, next - count as u64, count)?);
        Ok((start.len() == count && end.len() == count).then_some(Self { start, end }))
    }

    /// Adds a line that has been read.
    fn add(&mut self, line: &[u8]) {
        for piece in [line, b"\n"] {
            let room = SAMPLE - self.start.len();
            self.start.extend_from_slice(&piece[..piece.len().min(room)]);
            let last = &piece[piece.len().saturating_sub(SAMPLE)..];
            // This runs for each line, so the bytes are moved only when several samples have been collected.
            if last.len() < piece.len() {
                self.end.clear();
            } else if self.end.len() > 4 * SAMPLE {
                self.end.drain(..self.end.len() - SAMPLE);
            }
            self.end.extend_from_slice(last);
        }
    }

    /// Compares a file with the part that has been read, up to `next`.
    fn compare(&self, file: &File, next: u64) -> io::Result<Comparison> {
        let length = file.metadata()?.len();
        let start = bytes_at(file, 0, self.start.len())?;
        let end = bytes_at(file, next - self.end.len() as u64, self.end.len())?;
        Ok(match (self.start.starts_with(&start), self.end.starts_with(&end)) {
            (true, true) if length < next => Comparison::Truncated,
            (true, true) => Comparison::Same,
            _ => Comparison::Different,
        })
    }
}

/// Returns `length` bytes at `offset`, or fewer if the file ends before.
fn bytes_at(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let count = read_at(file, &mut bytes, offset)?;
    bytes.truncate(count);
    Ok(bytes)
}

impl OpenFile {
    /// Reads a file from its start.
    fn from_start(file: File) -> io::Result<Self> {
        Self::at(file, 0, Samples::default())
    }

    /// Reads a file from the line at `next`.
    fn at(file: File, next: u64, samples: Samples) -> io::Result<Self> {
        Ok(Self { lines: Self::lines(&file, next)?, file, next, samples })
    }

    /// Returns the lines of a file from `next`, which may be after its end.
    fn lines(file: &File, next: u64) -> io::Result<Lines<PositionalReader<File>>> {
        let input = PositionalReader::new(file.try_clone()?, next);
        Ok(Lines::starting_at(input, ByteOffset(next), DEFAULT_LINE_LIMIT))
    }

    fn is(&self, other: &fs::Metadata) -> bool {
        self.file.metadata().is_ok_and(|own| FileId::from(&own) == FileId::from(other))
    }

    /// Passes the complete new lines to `handle`.
    fn read<E: From<ReadError>>(
        &mut self,
        path: &Path,
        handle: &mut dyn FnMut(TailEvent<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |source| E::from(ReadError { path: path.to_owned(), source });
        let result = loop {
            match self.lines.next_line() {
                Ok(Some(line)) => {
                    self.next = line.next.0;
                    self.samples.add(line.text.bytes());
                    if let Err(error) = handle(TailEvent::Line(line)) {
                        break Err(error);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(failed(error)),
            }
        };
        // A partial line is read again next time, because it may be cut and rewritten.
        if self.lines.partial_line().is_some() {
            let failed = |source| failed(LineError::Read { offset: ByteOffset(self.next), source });
            self.lines = Self::lines(&self.file, self.next).map_err(failed)?;
        }
        result
    }

    /// Passes all remaining lines of a file that is complete to `handle`.
    fn read_to_end<E: From<ReadError>>(
        &mut self,
        path: &Path,
        handle: &mut dyn FnMut(TailEvent<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.read(path, handle)?;
        let failed = |source| E::from(ReadError { path: path.to_owned(), source });
        let offset = ByteOffset(self.next);
        let unread = |source| failed(LineError::Read { offset, source });
        let remaining = self.file.metadata().map_err(unread)?.len().saturating_sub(self.next);
        if remaining > DEFAULT_LINE_LIMIT as u64 {
            return Err(failed(LineError::TooLong { offset, limit: DEFAULT_LINE_LIMIT }));
        }
        let mut partial = bytes_at(&self.file, self.next, usize::try_from(remaining).unwrap_or(0)).map_err(unread)?;
        if partial.is_empty() {
            return Ok(());
        }
        self.next += partial.len() as u64;
        let (next, has_control) = (ByteOffset(self.next), find_control(&partial).is_some());
        let (text, has_lost_start, gaps) = (Text::pad(&mut partial), false, &[][..]);
        handle(TailEvent::Partial(Line { offset, next, text, has_control, has_lost_start, gaps }))
    }
}

impl TailFollower {
    /// Follows the transcript at `path` from its start. The file need not exist yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// Follows an open file from its start. `path` is its path.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub fn from_start(file: File, path: PathBuf) -> io::Result<Self> {
        Ok(Self { path, open: Some(OpenFile::from_start(file)?) })
    }

    /// Follows the transcript at `path` from a position of `stream`, which was opened from it. If the file has become shorter
    /// since, it is read from its start.
    ///
    /// # Errors
    ///
    /// Returns a [`ReadError`] if the file cannot be read.
    pub fn from(stream: &Stream, position: StreamPosition, path: PathBuf) -> Result<Self, ReadError> {
        let failed = |source| {
            let source = LineError::Read { offset: position.offset, source };
            ReadError { path: path.clone(), source }
        };
        let open = match stream.file(position.segment) {
            Some(file) => {
                let ByteOffset(next) = position.offset;
                let (file, samples) = (file.try_clone().map_err(failed)?, Samples::of(file, next).map_err(failed)?);
                let opened = match samples {
                    Some(samples) => OpenFile::at(file, next, samples),
                    None => OpenFile::from_start(file),
                };
                Some(opened.map_err(failed)?)
            }
            None => None,
        };
        Ok(Self { path, open })
    }

    /// Returns the offset of the next line in the current file, or 0 if it does not exist yet.
    #[must_use]
    pub fn offset(&self) -> ByteOffset {
        ByteOffset(self.open.as_ref().map_or(0, |open| open.next))
    }

    /// Returns what to watch for new lines.
    #[must_use]
    pub fn watched(&self) -> Vec<Watched> {
        let folder = self.path.ancestors().skip(1).find(|folder| folder.is_dir());
        let mut watched = Vec::new();
        if let Some(folder) = folder {
            let name = self.path.strip_prefix(folder).ok().and_then(|rest| rest.iter().next());
            watched.push(Watched::Names(folder.to_owned(), name.unwrap_or_default().to_owned()));
        }
        watched.push(Watched::File(self.path.clone()));
        // Links in the path can be replaced, and their targets as well.
        let links = self.path.ancestors().skip(1).filter(|folder| folder.is_symlink()).map(Path::to_owned);
        watched.extend(link_targets(&self.path).into_iter().chain(links).filter_map(|link| {
            let (folder, name) = (link.parent()?.to_owned(), link.file_name()?.to_owned());
            Some(Watched::Names(folder, name))
        }));
        watched
    }

    /// Passes the complete new lines to `handle`.
    ///
    /// # Errors
    ///
    /// Returns a [`ReadError`] if the file cannot be read, or the error of `handle`. It can be called again after an error.
    pub fn read<E: From<ReadError>>(
        &mut self,
        handle: &mut dyn FnMut(TailEvent<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let path = self.path.clone();
        let failed = |at: u64, source| {
            E::from(ReadError { path: path.clone(), source: LineError::Read { offset: ByteOffset(at), source } })
        };
        loop {
            let Some(open) = &mut self.open else {
                let Some(file) = first(&path).map_err(|error| failed(0, error))? else { return Ok(()) };
                self.open = Some(OpenFile::from_start(file).map_err(|error| failed(0, error))?);
                continue;
            };
            match open.samples.compare(&open.file, open.next).map_err(|error| failed(open.next, error))? {
                Comparison::Same => open.read(&path, handle)?,
                // A watcher is rewriting the file, which will begin with the same bytes again.
                Comparison::Truncated => {
                    open.lines = OpenFile::lines(&open.file, open.next).map_err(|error| failed(open.next, error))?;
                }
                Comparison::Different => {
                    let file = open.file.try_clone().map_err(|error| failed(0, error))?;
                    *open = OpenFile::from_start(file).map_err(|error| failed(0, error))?;
                    handle(TailEvent::Rewritten)?;
                    open.read(&path, handle)?;
                }
            }
            let current = metadata_at(&path).map_err(|error| failed(0, error))?;
            if current.as_ref().is_some_and(|current| open.is(current)) {
                return Ok(());
            }
            match successor(open, &path).map_err(|error| failed(0, error))? {
                Successor::NotRotated => {}
                // Lines may have been added just before the rotation.
                Successor::NoneYet => return open.read(&path, handle),
                // The next file may have been rotated as well.
                Successor::Next(next) => {
                    open.read_to_end(&path, handle)?;
                    *open = *next;
                    continue;
                }
            }
            // The file was removed or replaced.
            let Some(_) = current else { return Ok(()) };
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(0, error)),
            };
            let next = open.next;
            if open.samples.compare(&file, next).map_err(|error| failed(0, error))? == Comparison::Different {
                *open = OpenFile::from_start(file).map_err(|error| failed(0, error))?;
                handle(TailEvent::Rewritten)?;
            } else {
                let samples = std::mem::take(&mut open.samples);
                *open = OpenFile::at(file, next, samples).map_err(|error| failed(next, error))?;
            }
        }
    }
}

/// Returns the targets of a link at `path`, step by step; none if it is not a link.
fn link_targets(path: &Path) -> Vec<PathBuf> {
    /// The number of links that Linux follows (`path_resolution(7)`).
    const MAX_LINKS: usize = 40;
    let target = |link: &PathBuf| Some(link.parent()?.join(fs::read_link(link).ok()?));
    std::iter::successors(target(&path.to_owned()), target).take(MAX_LINKS).collect()
}

/// Returns the metadata of the file at `path`, or `None` if it does not exist.
fn metadata_at(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => require_regular(&metadata).map(|()| Some(metadata)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the files of the transcript at `path`, the oldest first; none if they cannot be listed. Only a file with mngr's name
/// is rotated.
fn files_of(path: &Path) -> Vec<PathBuf> {
    let folder = path.parent().filter(|_| path.file_name().is_some_and(|name| name == CURRENT));
    folder.and_then(|folder| files_in(folder).ok()).unwrap_or_default()
}

/// Opens the first file of a transcript that did not exist before. It may have been rotated already.
fn first(path: &Path) -> io::Result<Option<File>> {
    loop {
        let first = files_of(path).into_iter().next();
        let candidate = first.as_deref().unwrap_or(path);
        let opened = match metadata_at(candidate)? {
            None => None,
            Some(_) => match File::open(candidate) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            },
        };
        // If the file was rotated before it was opened, the list has changed.
        if files_of(path).into_iter().next() == first && (opened.is_some() || first.is_none()) {
            return Ok(opened);
        }
    }
}

/// The file that follows another one in a transcript.
enum Successor {
    /// The file was not rotated: it has none of the names that mngr gives to rotated files.
    NotRotated,
    /// The file was rotated, and there is no next one yet.
    NoneYet,
    /// The file was rotated, and this is the next one.
    Next(Box<OpenFile>),
}

/// Finds the file after one that has left `path`. Files can be rotated at any time, so two listings must agree.
fn successor(open: &OpenFile, path: &Path) -> io::Result<Successor> {
    /// The files are listed again each time another one has been rotated.
    const MAX_ATTEMPTS: usize = 64;
    let list = || -> Vec<(PathBuf, fs::Metadata)> {
        let files = files_of(path).into_iter();
        files.filter_map(|file| fs::metadata(&file).ok().map(|metadata| (file, metadata))).collect()
    };
    let index_in = |files: &[(PathBuf, fs::Metadata)]| files.iter().position(|(_, metadata)| open.is(metadata));
    let mut files = list();
    for _ in 0..MAX_ATTEMPTS {
        let next = match index_in(&files) {
            Some(index) if files[index].0 != path => files.get(index + 1),
            _ => None,
        };
        let opened = match next.map(|(next, _)| File::open(next)) {
            Some(Err(error)) if error.kind() != ErrorKind::NotFound => return Err(error),
            opened => opened.and_then(Result::ok),
        };
        let again = list();
        let is_settled = files.len() == again.len()
            && files.iter().zip(&again).all(|((one, of_one), (other, of_other))| {
                one == other && FileId::from(of_one) == FileId::from(of_other)
            });
        match (index_in(&again), opened) {
            (Some(index), Some(opened))
                if again.get(index + 1).is_some_and(|(_, next)| {
                    opened.metadata().is_ok_and(|opened| FileId::from(&opened) == FileId::from(next))
                }) =>
            {
                return OpenFile::from_start(opened).map(|next| Successor::Next(Box::new(next)));
            }
            (Some(index), None) if is_settled && again[index].0 != path => return Ok(Successor::NoneYet),
            (None, _) if is_settled => return Ok(Successor::NotRotated),
            _ => files = again,
        }
    }
    Ok(Successor::NoneYet)
}

#[cfg(test)]
mod tests;
