//! Resynchronization: rollouts of which it is not known which lines have been copied are compared with the raw transcript,
//! line by line, and the missing lines are appended.

use std::io::Read;

use super::error::FollowError;
use super::known_lines::KnownLines;
use super::step::{StepWriter, index};
use crate::files::file_error::FileError;
use crate::files::positional::PositionalReader;
use crate::rollout::lines::Lines;

/// Compares the rollouts whose copied bytes are unknown with the raw transcript, and appends the lines that are missing
/// there. A rollout that does not exist at the moment is compared by a later pass.
///
/// # Errors
///
/// Returns [`FollowError::File`] if a rollout or a file of the agent cannot be read or written.
pub(super) fn resync(writer: &mut StepWriter<'_>) -> Result<(), FollowError> {
    let rollouts = 0..index(writer.state.checkpoint.rollouts.len());
    let is_unknown = |rollout: &u32| writer.state.checkpoint.rollouts[*rollout as usize].copied.is_none();
    let unknown: Vec<u32> = rollouts.filter(is_unknown).filter(|rollout| writer.open(*rollout).is_some()).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let mut known = KnownLines::default();
    let raw = PositionalReader::within(writer.state.raw.file(), 0..writer.state.raw.length());
    known.add(raw).map_err(FileError::on("read", &writer.dir.raw_transcript()))?;
    // The lines of the other rollouts are not missing copies of these.
    for (number, rollout) in writer.state.checkpoint.rollouts.iter().enumerate() {
        let Some(copied) = rollout.copied.filter(|copied| copied.length > 0) else { continue };
        let Some(file) = writer.open(index(number)) else { continue };
        let input = file.read_from(0).map_err(FileError::on("read", &file.path))?.take(copied.length);
        let mut lines = Lines::new(input, usize::MAX);
        while let Some(line) = lines.next_line().map_err(|error| FileError::on("read", &file.path)(error.into()))? {
            known.remove(line.text);
        }
    }
    for rollout in unknown {
        resync_rollout(writer, rollout, &mut known)?;
    }
    writer.commit()
}

/// Appends the lines of one rollout that are not in `known`.
fn resync_rollout(writer: &mut StepWriter<'_>, rollout: u32, known: &mut KnownLines) -> Result<(), FollowError> {
    let Some(file) = writer.open(rollout) else { return Ok(()) };
    let input = file.read_from(0).map_err(FileError::on("read", &file.path))?;
    let mut lines = Lines::new(input, usize::MAX);
    // A run of consecutive new lines, and the end of the lines that were compared.
    let (mut new, mut end) = (0..0, 0);
    while let Some(line) = lines.next_line().map_err(|error| FileError::on("read", &file.path)(error.into()))? {
        end = line.next.0;
        if known.remove(line.text) {
            if !new.is_empty() {
                writer.append(rollout, &file, new, None)?;
            }
            new = end..end;
        } else {
            new.end = end;
        }
    }
    if !new.is_empty() {
        writer.append(rollout, &file, new, None)?;
    }
    let copied = file.prefix(end).map_err(FileError::on("read", &file.path))?;
    writer.set_copied(rollout, copied);
    Ok(())
}
