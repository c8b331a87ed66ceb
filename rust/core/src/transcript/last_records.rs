//! The last records of what stands at a path.

use std::io;
use std::path::{Path, PathBuf};

use super::locate::{self, Target, TargetError};
use super::spool::spool;
use super::{Place, ReadError, Record, Selection, Stream, Window};
use crate::convert::{ConvertError, Options};
use crate::json::Tape;
use crate::json::string::replace_invalid_utf8;
use crate::rollout::decompression::Input;

/// Why they cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// There is no transcript.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A file cannot be opened.
    #[error("cannot open {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The transcript cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The rollout cannot be converted.
    #[error("{path}: {source}")]
    Convert {
        /// The rollout.
        path: PathBuf,
        /// Why not.
        source: ConvertError,
    },
}

/// The last `count` records at `path`, a line each: of a common transcript, of an agent's state dir, or of a rollout,
/// which is converted whole for it (`progress` as for [`crate::convert::conversion`]). Lines that are no JSON object are
/// none.
///
/// # Errors
///
/// [`TailError`]
pub fn tail(path: &Path, count: u64, progress: &mut dyn FnMut(u64) -> bool) -> Result<Vec<u8>, TailError> {
    let stream = match locate::at(path)? {
        Target::Transcript { files, is_all, current, .. } => {
            // Where there is none yet, that is told of the one that will be.
            let opened = match files.as_slice() {
                [] => Stream::open([current]),
                files if is_all => Stream::open_all(files, &current),
                files => Stream::open(files.iter().cloned()),
            };
            opened.map_err(|(path, source)| TailError::Open { path, source })?
        }
        Target::Rollout { path, .. } => {
            let opened = |source| TailError::Open { path: path.clone(), source };
            let spooled = spool(Input::open(&path).map_err(opened)?, &path, &Options::default(), progress);
            spooled.map_err(|source| TailError::Convert { path: path.clone(), source })?.0
        }
    };
    let mut records = Vec::new();
    if count == 0 {
        return Ok(records);
    }
    let selection = Selection { window: Window::Tail(count), has_header: true, ..Selection::default() };
    let start = selection.start_of_tail(&stream)?.unwrap_or(Place::START);
    let mut lines = stream.lines_from(start);
    let (mut tape, mut repaired) = (Tape::default(), Vec::new());
    while let Some(line) = lines.next_line()? {
        if Record::read(line.text, &mut tape).is_ok() {
            records.extend_from_slice(replace_invalid_utf8(line.text.bytes().trim_ascii(), &mut repaired));
            records.push(b'\n');
        }
    }
    Ok(records)
}
