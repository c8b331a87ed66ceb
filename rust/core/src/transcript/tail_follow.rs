//! A transcript that still grows: its lines as they come.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::stream::{CURRENT, Place, ReadError, Stream, files_in};
use crate::files::positional::{PositionalReader, read_at};
use crate::files::regular::{FileId, require_regular};
use crate::json::{Text, find_control};
use crate::rollout::ByteOffset;
use crate::rollout::lines::{DEFAULT_LINE_LIMIT, Line, LineError, Lines};
use crate::watch::Watched;

/// Bytes at the start of what was read, and at its end, by which a file is known again.
const KNOWN: usize = 4 << 10;

/// What is told of a transcript that is followed.
pub enum Event<'a> {
    /// The next line.
    Line(Line<'a>),
    /// The last line of a file that was rotated away, and lacks its newline.
    Torn(Line<'a>),
    /// The file holds something else than what was read. Its lines come from its start.
    Rewritten,
}

/// The file that a transcript grows in, as far as it was read.
pub struct Growing {
    path: PathBuf,
    open: Option<Open>,
}

/// The file that is read.
struct Open {
    file: File,
    lines: Lines<PositionalReader<File>>,
    /// Where the next line starts.
    next: u64,
    known: Known,
}

/// What a file that was read is known by.
#[derive(Default)]
struct Known {
    /// The first bytes.
    start: Vec<u8>,
    /// The last ones, up to the line that comes next.
    end: Vec<u8>,
}

/// What a file is, compared with one that was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It begins with what was read.
    Same,
    /// It is shorter, and what there is of it was read.
    Cut,
    /// It holds something else.
    Other,
}

impl Known {
    /// What is known of a file that was read up to `next`; `None` where it has been cut meanwhile.
    fn of(file: &File, next: u64) -> io::Result<Option<Self>> {
        let count = usize::try_from(next).unwrap_or(KNOWN).min(KNOWN);
        let (start, end) = (bytes_at(file, 0, count)?, bytes_at(file, next - count as u64, count)?);
        Ok((start.len() == count && end.len() == count).then_some(Self { start, end }))
    }

    /// Takes note of a line that was read.
    fn add(&mut self, line: &[u8]) {
        for piece in [line, b"\n"] {
            let room = KNOWN - self.start.len();
            self.start.extend_from_slice(&piece[..piece.len().min(room)]);
            let last = &piece[piece.len().saturating_sub(KNOWN)..];
            // What is kept is one stretch. It is moved seldom, as this is done for each line.
            if last.len() < piece.len() {
                self.end.clear();
            } else if self.end.len() > 4 * KNOWN {
                self.end.drain(..self.end.len() - KNOWN);
            }
            self.end.extend_from_slice(last);
        }
    }

    /// Compares a file with the one that was read up to `next`.
    fn look_at(&self, file: &File, next: u64) -> io::Result<Seen> {
        let length = file.metadata()?.len();
        let start = bytes_at(file, 0, self.start.len())?;
        let end = bytes_at(file, next - self.end.len() as u64, self.end.len())?;
        Ok(match (self.start.starts_with(&start), self.end.starts_with(&end)) {
            (true, true) if length < next => Seen::Cut,
            (true, true) => Seen::Same,
            _ => Seen::Other,
        })
    }
}

/// The bytes at a place of a file, as many as there are of those wanted.
fn bytes_at(file: &File, place: u64, wanted: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; wanted];
    let count = read_at(file, &mut bytes, place)?;
    bytes.truncate(count);
    Ok(bytes)
}

impl Open {
    /// A file from its start.
    fn from_start(file: File) -> io::Result<Self> {
        Self::at(file, 0, Known::default())
    }

    /// A file from the line on that starts at `next`.
    fn at(file: File, next: u64, known: Known) -> io::Result<Self> {
        Ok(Self { lines: Self::lines(&file, next)?, file, next, known })
    }

    /// The lines of a file from a place on, which it may not reach yet.
    fn lines(file: &File, next: u64) -> io::Result<Lines<PositionalReader<File>>> {
        let input = PositionalReader::new(file.try_clone()?, next);
        Ok(Lines::starting_at(input, ByteOffset(next), DEFAULT_LINE_LIMIT))
    }

    fn is(&self, other: &fs::Metadata) -> bool {
        self.file.metadata().is_ok_and(|own| FileId::from(&own) == FileId::from(other))
    }

    /// Hands over the whole lines behind those that were read.
    fn read<E: From<ReadError>>(
        &mut self,
        path: &Path,
        tell: &mut dyn FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |source| E::from(ReadError { path: path.to_owned(), source });
        let result = loop {
            match self.lines.next_line() {
                Ok(Some(line)) => {
                    self.next = line.next.0;
                    self.known.add(line.text.bytes());
                    if let Err(error) = tell(Event::Line(line)) {
                        break Err(error);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(failed(error)),
            }
        };
        // Half a line is read again: it may be cut off and written anew.
        if self.lines.partial_line().is_some() {
            let failed = |source| failed(LineError::Read { offset: ByteOffset(self.next), source });
            self.lines = Self::lines(&self.file, self.next).map_err(failed)?;
        }
        result
    }

    /// Hands over all that is left, of a file to which nothing is written any more.
    fn read_to_end<E: From<ReadError>>(
        &mut self,
        path: &Path,
        tell: &mut dyn FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.read(path, tell)?;
        let failed = |source| E::from(ReadError { path: path.to_owned(), source });
        let offset = ByteOffset(self.next);
        let unread = |source| failed(LineError::Read { offset, source });
        let left = self.file.metadata().map_err(unread)?.len().saturating_sub(self.next);
        if left > DEFAULT_LINE_LIMIT as u64 {
            return Err(failed(LineError::TooLong { offset, limit: DEFAULT_LINE_LIMIT }));
        }
        let mut torn = bytes_at(&self.file, self.next, usize::try_from(left).unwrap_or(0)).map_err(unread)?;
        if torn.is_empty() {
            return Ok(());
        }
        self.next += torn.len() as u64;
        let (next, has_control) = (ByteOffset(self.next), find_control(&torn).is_some());
        tell(Event::Torn(Line { offset, next, text: Text::pad(&mut torn), has_control }))
    }
}

impl Growing {
    /// The transcript at `path`, which may not be there yet, from its start.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// The file at `path`, which is open, from its start.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn from_start(file: File, path: PathBuf) -> io::Result<Self> {
        Ok(Self { path, open: Some(Open::from_start(file)?) })
    }

    /// The transcript that grows at `path`, from a place of `stream` on, which is what it was a moment ago. A file that was
    /// cut since is taken from its start.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where it cannot be read.
    pub fn from(stream: &Stream, place: Place, path: PathBuf) -> Result<Self, ReadError> {
        let failed = |source| {
            let source = LineError::Read { offset: place.offset, source };
            ReadError { path: path.clone(), source }
        };
        let open = match stream.file(place.segment) {
            Some(file) => {
                let ByteOffset(next) = place.offset;
                let (file, known) = (file.try_clone().map_err(failed)?, Known::of(file, next).map_err(failed)?);
                let opened = match known {
                    Some(known) => Open::at(file, next, known),
                    None => Open::from_start(file),
                };
                Some(opened.map_err(failed)?)
            }
            None => None,
        };
        Ok(Self { path, open })
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What tells that there is more to read.
    #[must_use]
    pub fn watched(&self) -> Vec<Watched> {
        let folder = self.path.ancestors().skip(1).find(|folder| folder.is_dir());
        let mut watched = Vec::new();
        if let Some(folder) = folder {
            let name = self.path.strip_prefix(folder).ok().and_then(|rest| rest.iter().next());
            watched.push(Watched::Names(folder.to_owned(), name.unwrap_or_default().to_owned()));
        }
        watched.push(Watched::File(self.path.clone()));
        // A link can be put in the place of another one, and what it leads to as well.
        let links = self.path.ancestors().skip(1).filter(|folder| folder.is_symlink()).map(Path::to_owned);
        watched.extend(links_behind(&self.path).into_iter().chain(links).filter_map(|link| {
            let (folder, name) = (link.parent()?.to_owned(), link.file_name()?.to_owned());
            Some(Watched::Names(folder, name))
        }));
        watched
    }

    /// Hands over the whole lines that are new, each with its place in its file.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where the file cannot be read; what `tell` says. Either can be followed by another call.
    pub fn read<E: From<ReadError>>(&mut self, tell: &mut dyn FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let path = self.path.clone();
        let failed = |at: u64, source| {
            E::from(ReadError { path: path.clone(), source: LineError::Read { offset: ByteOffset(at), source } })
        };
        loop {
            let Some(open) = &mut self.open else {
                let Some(file) = first(&path).map_err(|error| failed(0, error))? else { return Ok(()) };
                self.open = Some(Open::from_start(file).map_err(|error| failed(0, error))?);
                continue;
            };
            match open.known.look_at(&open.file, open.next).map_err(|error| failed(open.next, error))? {
                Seen::Same => open.read(&path, tell)?,
                // It is made anew in its place, which whoever follows a rollout does up to where both agree.
                Seen::Cut => {
                    open.lines = Open::lines(&open.file, open.next).map_err(|error| failed(open.next, error))?;
                }
                Seen::Other => {
                    let file = open.file.try_clone().map_err(|error| failed(0, error))?;
                    *open = Open::from_start(file).map_err(|error| failed(0, error))?;
                    tell(Event::Rewritten)?;
                    open.read(&path, tell)?;
                }
            }
            let there = at(&path).map_err(|error| failed(0, error))?;
            if there.as_ref().is_some_and(|there| open.is(there)) {
                return Ok(());
            }
            match behind(open, &path).map_err(|error| failed(0, error))? {
                Behind::NotRotated => {}
                // What was written to it last, before it was rotated.
                Behind::Nothing => return open.read(&path, tell),
                // Then the next one, which may be rotated as well.
                Behind::Next(next) => {
                    open.read_to_end(&path, tell)?;
                    *open = next;
                    continue;
                }
            }
            // Removed, or another one was put in its place.
            let Some(_) = there else { return Ok(()) };
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(0, error)),
            };
            let next = open.next;
            if open.known.look_at(&file, next).map_err(|error| failed(0, error))? == Seen::Other {
                *open = Open::from_start(file).map_err(|error| failed(0, error))?;
                tell(Event::Rewritten)?;
            } else {
                let known = std::mem::take(&mut open.known);
                *open = Open::at(file, next, known).map_err(|error| failed(next, error))?;
            }
        }
    }
}

/// What a link at a path leads to, step by step; nothing where there is no link.
fn links_behind(path: &Path) -> Vec<PathBuf> {
    /// As many as Linux goes along (`path_resolution(7)`).
    const MOST: usize = 40;
    let target = |link: &PathBuf| Some(link.parent()?.join(fs::read_link(link).ok()?));
    std::iter::successors(target(&path.to_owned()), target).take(MOST).collect()
}

/// What is at a path, if anything.
fn at(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::metadata(path) {
        Ok(there) => require_regular(&there).map(|()| Some(there)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The files of the transcript that grows at a path, as far as they can be listed: those that were rotated away, the oldest
/// first, then itself. Only a file of mngr's name is rotated.
fn files_of(path: &Path) -> Vec<PathBuf> {
    let folder = path.parent().filter(|_| path.file_name().is_some_and(|name| name == CURRENT));
    folder.and_then(|folder| files_in(folder).ok()).unwrap_or_default()
}

/// Opens the first file of a transcript of which there was none. It may have been rotated since, or be while it is opened.
fn first(path: &Path) -> io::Result<Option<File>> {
    loop {
        let first = files_of(path).into_iter().next();
        let candidate = first.as_deref().unwrap_or(path);
        let opened = match at(candidate)? {
            None => None,
            Some(_) => match File::open(candidate) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            },
        };
        // The name of the growing file stands for another one as soon as it is rotated, and then this lists it.
        if files_of(path).into_iter().next() == first && (opened.is_some() || first.is_none()) {
            return Ok(opened);
        }
    }
}

/// What comes behind a file.
enum Behind {
    /// It does not stand beside its path under a name that mngr gives to what it rotates away.
    NotRotated,
    /// It does, and there is no other one yet.
    Nothing,
    /// It does, and this is the next one.
    Next(Open),
}

/// Looks what comes behind a file that is no longer at `path`. Files may be rotated meanwhile: what is seen must be so twice.
fn behind(open: &Open, path: &Path) -> io::Result<Behind> {
    /// As often as it is looked anew: each time another file was rotated.
    const MOST_LOOKS: usize = 64;
    let list = || -> Vec<(PathBuf, fs::Metadata)> {
        let files = files_of(path).into_iter();
        files.filter_map(|file| fs::metadata(&file).ok().map(|metadata| (file, metadata))).collect()
    };
    let place_in = |files: &[(PathBuf, fs::Metadata)]| files.iter().position(|(_, metadata)| open.is(metadata));
    let mut files = list();
    for _ in 0..MOST_LOOKS {
        let next = match place_in(&files) {
            Some(place) if files[place].0 != path => files.get(place + 1),
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
        match (place_in(&again), opened) {
            (Some(place), Some(opened))
                if again.get(place + 1).is_some_and(|(_, next)| {
                    opened.metadata().is_ok_and(|opened| FileId::from(&opened) == FileId::from(next))
                }) =>
            {
                return Open::from_start(opened).map(Behind::Next);
            }
            (Some(place), None) if is_settled && again[place].0 != path => return Ok(Behind::Nothing),
            (None, _) if is_settled => return Ok(Behind::NotRotated),
            _ => files = again,
        }
    }
    Ok(Behind::Nothing)
}

#[cfg(test)]
mod tests;
