//! The conversion of the raw transcript into the common one.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::checkpoint::Checkpoint;
use super::error::FollowError;
use super::transcripts::Transcript;
use crate::convert::command_attribution::Reread;
use crate::convert::{Converter, command};
use crate::files::file_error::FileError;
use crate::files::positional::PositionalReader;
use crate::rollout::ByteOffset;
use crate::rollout::lines::{Line, Lines};
use crate::state_dir::StateDir;

/// Returns whether the agent has a common transcript.
pub(super) fn is_enabled(dir: &StateDir) -> bool {
    !dir.raw_only().exists()
}

/// Returns a converter that writes the common transcript, and the offset in the raw transcript at which it continues. The
/// converter continues from the checkpoint if the common transcript matches it, and starts again otherwise.
///
/// # Errors
///
/// Returns [`FollowError::File`] if the common transcript cannot be opened or read.
pub(super) fn resume(
    dir: &StateDir,
    agent_id: &str,
    checkpoint: &Checkpoint,
) -> Result<(Converter<Transcript>, ByteOffset), FollowError> {
    let path = &dir.common_transcript();
    let mut common = Transcript::open(dir, path).map_err(FileError::on("open", path))?;
    if let Some(conversion) = &checkpoint.conversion
        && common.resume_at(checkpoint.common).map_err(FileError::on("read", path))?
        && let Ok(converter) = Converter::restore(agent_id, conversion, common)
    {
        return Ok((converter, conversion.resume_at));
    }
    let common = Transcript::open(dir, path).map_err(FileError::on("open", path))?;
    Ok((Converter::new(agent_id, common), ByteOffset(0)))
}

/// Converts the complete lines that `lines` returns, after passing each to `observe`.
///
/// `lines` reads from `path`. `raw` is the raw transcript, which must contain these lines and all earlier ones. Without a
/// converter, the lines are only observed.
///
/// # Errors
///
/// Returns [`FollowError::File`] if `path` cannot be read or the common transcript cannot be written, and
/// [`FollowError::Waiting`] if records cannot be stored until they are complete.
pub(super) fn convert_lines<R: Read>(
    lines: &mut Lines<R>,
    path: &Path,
    mut converter: Option<&mut Converter<Transcript>>,
    raw: &File,
    dir: &StateDir,
    mut observe: impl FnMut(&Line<'_>),
) -> Result<(), FollowError> {
    let mut reread = RawLines(raw);
    while let Some(line) = lines.next_line().map_err(|error| FileError::on("read", path)(error.into()))? {
        observe(&line);
        if let Some(converter) = &mut converter {
            converter.line(line, &mut reread).map_err(|error| FollowError::from_output(error, dir))?;
        }
    }
    Ok(())
}

/// Reads the lines of earlier calls from the raw transcript again.
pub(super) struct RawLines<'f>(pub(super) &'f File);

impl Reread for RawLines<'_> {
    fn program_text(&mut self, line: ByteOffset, text: &mut Vec<u8>) {
        let mut lines = Lines::starting_at(PositionalReader::new(self.0, line.0), line, usize::MAX);
        if let Ok(Some(line)) = lines.next_line() {
            text.extend(command::program_text(line.text.bytes()).unwrap_or_default());
        }
    }
}
