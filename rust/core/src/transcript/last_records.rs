//! The last records of a transcript, a rollout or an agent.

use std::path::{Path, PathBuf};

use super::locate::{self, Target, TargetError};
use super::spool::spool;
use super::{ReadError, Record, Selection, Stream, StreamPosition, Window};
use crate::convert::{ConvertError, Options};
use crate::files::file_error::{FileError, escaped_path};
use crate::json::Tape;
use crate::json::string::replace_invalid_utf8;
use crate::rollout::decompression::Input;

/// Why the last records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LastRecordsError {
    /// The path does not lead to a transcript or a rollout.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A file cannot be opened.
    #[error(transparent)]
    File(#[from] FileError),
    /// The transcript cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The rollout cannot be converted.
    #[error("cannot convert {}: {source}", escaped_path(path))]
    Convert {
        /// The rollout.
        path: PathBuf,
        /// Why it cannot be converted.
        source: ConvertError,
    },
}

/// Returns the last `count` records at `path`, one per line. Lines that are not JSON objects are skipped.
///
/// `path` is a common transcript, an agent's state directory, or a rollout. A rollout is converted completely; `progress`
/// is called as by [`crate::convert::convert`].
///
/// # Errors
///
/// Returns [`LastRecordsError::Target`] if `path` has no transcript or rollout, [`LastRecordsError::File`] or
/// [`LastRecordsError::Read`] if it cannot be read, and [`LastRecordsError::Convert`] if a rollout cannot be converted.
pub fn last_records(
    path: &Path,
    count: u64,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<Vec<u8>, LastRecordsError> {
    let stream = match locate::at(path)? {
        Target::Transcript { files, is_all, current, .. } => match files.as_slice() {
            // The error names the file that the agent will write.
            [] => Stream::open([current])?,
            files if is_all => Stream::open_all(files, &current)?,
            files => Stream::open(files.iter().cloned())?,
        },
        Target::Rollout { path, .. } => {
            let input = Input::open(&path).map_err(FileError::on("open", &path))?;
            let spooled = spool(input, &path, &Options::default(), progress);
            spooled.map_err(|source| LastRecordsError::Convert { path, source })?.0
        }
    };
    let mut records = Vec::new();
    if count == 0 {
        return Ok(records);
    }
    let selection = Selection { window: Window::Tail(count), has_header: true, ..Selection::default() };
    let start = selection.tail_start(&stream)?.unwrap_or(StreamPosition::START);
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
