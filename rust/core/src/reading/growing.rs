//! A transcript that still grows: its lines as they come.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::stream::{CURRENT, ReadError, Stream, files_in};
use crate::follow::watches::Watched;
use crate::json::Text;
use crate::rollout::ByteOffset;
use crate::rollout::lines::{DEFAULT_LINE_LIMIT, LineError, Lines};

/// Bytes before the place that was read up to, by which a file is known again.
const KNOWN: usize = 256;

/// What became of a file while it was followed, where that is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It holds something else now, and is shown from its start.
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
    lines: Lines<Grown>,
    /// Where the next line starts.
    next: u64,
    /// The bytes before that.
    known: Vec<u8>,
}

/// Reads a file up to where it ends at the moment.
struct Grown {
    file: File,
    at: u64,
}

impl Read for Grown {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Open {
    /// A file from the line on that starts at `next`.
    fn at(file: File, next: u64) -> io::Result<Self> {
        let known = before(&file, next)?;
        Ok(Self { lines: Self::lines(&file, next)?, file, next, known })
    }

    /// The lines of a file from a place on, which it may not reach yet.
    fn lines(file: &File, next: u64) -> io::Result<Lines<Grown>> {
        let grown = Grown { file: file.try_clone()?, at: next };
        Ok(Lines::starting_at(grown, ByteOffset(next), DEFAULT_LINE_LIMIT))
    }

    fn is(&self, other: &fs::Metadata) -> bool {
        self.file.metadata().is_ok_and(|own| is_same(&own, other))
    }

    /// Hands over the whole lines behind those that were read.
    fn read<E: From<ReadError>>(
        &mut self,
        path: &Path,
        line: &mut dyn FnMut(Text<'_>, ByteOffset) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |source| E::from(ReadError { path: path.to_owned(), source });
        let mut was_any = false;
        let result = loop {
            match self.lines.next_line() {
                Ok(Some(found)) => {
                    self.next = found.next.0;
                    was_any = true;
                    if let Err(error) = line(found.text, found.offset) {
                        break Err(error);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(failed(error)),
            }
        };
        let at = |next| move |source| failed(LineError::Read { offset: ByteOffset(next), source });
        if was_any {
            self.known = before(&self.file, self.next).map_err(at(self.next))?;
        }
        // Half a line is read again: it may be cut off and written anew.
        if self.lines.half_line().is_some() {
            self.lines = Self::lines(&self.file, self.next).map_err(at(self.next))?;
        }
        result
    }
}

/// The bytes before a place of a file.
fn before(file: &File, place: u64) -> io::Result<Vec<u8>> {
    let count = usize::try_from(place).unwrap_or(KNOWN).min(KNOWN);
    let mut bytes = vec![0; count];
    file.read_exact_at(&mut bytes, place - count as u64)?;
    Ok(bytes)
}

impl Growing {
    /// The transcript at `path`, which may not be there yet, from its start.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// A transcript of which `stream` was shown. Its last line is shown again where it was torn.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where it cannot be read.
    pub fn after(stream: &Stream, path: PathBuf) -> Result<Self, ReadError> {
        let failed = |source| {
            let source = LineError::Read { offset: ByteOffset(0), source };
            ReadError { path: path.clone(), source }
        };
        let open = match stream.last() {
            // A last one that was rotated comes before the one that is not there yet.
            Some((last, file, _)) if last.parent() == path.parent() => {
                let end = stream.end_of_whole_lines().map_err(failed)?;
                Some(Open::at(file.try_clone().map_err(failed)?, end).map_err(failed)?)
            }
            _ => None,
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
        watched
    }

    /// Hands over the whole lines that are new, each with its place in its file, and says what became of the file.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where the file cannot be read; what `line` says. Either can be followed by another call.
    pub fn read<E: From<ReadError>>(
        &mut self,
        line: &mut dyn FnMut(Text<'_>, ByteOffset) -> Result<(), E>,
    ) -> Result<Option<Turn>, E> {
        let path = self.path.clone();
        let failed = |at: u64, source| {
            E::from(ReadError { path: path.clone(), source: LineError::Read { offset: ByteOffset(at), source } })
        };
        let mut turn = None;
        loop {
            let Some(open) = &mut self.open else {
                let Some(file) = first(&path).map_err(|error| failed(0, error))? else { return Ok(turn) };
                self.open = Some(Open::at(file, 0).map_err(|error| failed(0, error))?);
                continue;
            };
            let length = open.file.metadata().map_err(|error| failed(open.next, error))?.len();
            if length < open.next {
                // It is cut: made anew in its place, which whoever follows a rollout does up to where both agree.
                open.lines = Open::lines(&open.file, open.next).map_err(|error| failed(open.next, error))?;
            } else if before(&open.file, open.next).map_err(|error| failed(open.next, error))? != open.known {
                let file = open.file.try_clone().map_err(|error| failed(0, error))?;
                *open = Open::at(file, 0).map_err(|error| failed(0, error))?;
                turn = Some(Turn::Rewritten);
            }
            if length >= open.next {
                open.read(&path, line)?;
            }
            let there = at(&path).map_err(|error| failed(0, error))?;
            if there.as_ref().is_some_and(|there| open.is(there)) {
                return Ok(turn);
            }
            match behind(open, &path).map_err(|error| failed(0, error))? {
                Behind::NotRotated => {}
                // What was written to it last, before it was rotated.
                Behind::Nothing => {
                    open.read(&path, line)?;
                    return Ok(turn);
                }
                // Then the next one, which may be rotated as well.
                Behind::Next(next) => {
                    open.read(&path, line)?;
                    *open = next;
                    continue;
                }
            }
            // Removed, or another one was put in its place.
            let Some(_) = there else { return Ok(turn) };
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(0, error)),
            };
            let length = file.metadata().map_err(|error| failed(0, error))?.len();
            let is_known = length >= open.next && before(&file, open.next).is_ok_and(|it| it == open.known);
            if !is_known {
                turn = Some(Turn::Rewritten);
            }
            let next = if is_known { open.next } else { 0 };
            *open = Open::at(file, next).map_err(|error| failed(next, error))?;
        }
    }
}

/// What is at a path, if anything.
fn at(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(io::Error::from(ErrorKind::IsADirectory)),
        Ok(there) if !there.is_file() => Err(io::Error::other("is no file that can be followed")),
        Ok(there) => Ok(Some(there)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
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
            && files
                .iter()
                .zip(&again)
                .all(|((one, of_one), (other, of_other))| one == other && is_same(of_one, of_other));
        match (place_in(&again), opened) {
            (Some(place), Some(opened))
                if again
                    .get(place + 1)
                    .is_some_and(|(_, next)| opened.metadata().is_ok_and(|opened| is_same(&opened, next))) =>
            {
                return Open::at(opened, 0).map(Behind::Next);
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
