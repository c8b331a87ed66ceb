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
        self.file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (other.dev(), other.ino()))
    }

    /// Hands over the whole lines behind those that were read.
    fn read<E: From<ReadError>>(
        &mut self,
        path: &Path,
        line: &mut dyn FnMut(Text<'_>, ByteOffset) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |source| E::from(ReadError { path: path.to_owned(), source });
        let mut was_any = false;
        while let Some(found) = self.lines.next_line().map_err(failed)? {
            self.next = found.next.0;
            was_any = true;
            line(found.text, found.offset)?;
        }
        if was_any {
            self.known = before(&self.file, self.next)
                .map_err(|source| failed(LineError::Read { offset: ByteOffset(self.next), source }))?;
        }
        Ok(())
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
            Some((last, file, _)) if last == path => {
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
            if let Some(open) = &mut self.open {
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
            }
            let there = match fs::metadata(&self.path) {
                Ok(there) => there,
                // Rotated away, and the next one is not there yet; or not there at all.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    return Ok(turn);
                }
                Err(error) => return Err(failed(0, error)),
            };
            if there.is_dir() {
                return Err(failed(0, io::Error::from(ErrorKind::IsADirectory)));
            }
            if self.open.as_ref().is_some_and(|open| open.is(&there)) {
                return Ok(turn);
            }
            let file = File::open(&self.path).map_err(|error| failed(0, error))?;
            let next = match self.open.take() {
                None => 0,
                Some(mut open) if is_rotated(&open, &self.path) => {
                    // What was written to it last, before it was rotated.
                    open.read(&path, line)?;
                    0
                }
                Some(open) => {
                    let length = file.metadata().map_err(|error| failed(0, error))?.len();
                    let is_known = length >= open.next && before(&file, open.next).is_ok_and(|it| it == open.known);
                    if !is_known {
                        turn = Some(Turn::Rewritten);
                    }
                    if is_known { open.next } else { 0 }
                }
            };
            self.open = Some(Open::at(file, next).map_err(|error| failed(next, error))?);
        }
    }
}

/// Whether the file that was read stands beside `path` under a name that mngr gives to what it rotates away.
fn is_rotated(open: &Open, path: &Path) -> bool {
    if path.file_name().is_none_or(|name| name != CURRENT) {
        return false;
    }
    let files = path.parent().map(files_in).and_then(Result::ok).unwrap_or_default();
    files.iter().filter(|file| *file != path).any(|file| fs::metadata(file).is_ok_and(|it| open.is(&it)))
}

#[cfg(test)]
mod tests;
