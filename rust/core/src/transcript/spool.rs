//! The transcript of a rollout, in a temporary file. The last records and ATIF documents need it, because they cannot be
//! produced in one pass.

use std::io::{self, Seek, SeekFrom};
use std::path::Path;

use super::stream::Stream;
use crate::convert::{ConvertError, Options, OutputError, Summary, convert, temporary_folder};
use crate::rollout::decompression::Input;

/// Converts a rollout into an unnamed temporary file, which is removed when the stream is dropped.
///
/// `path` names the rollout in messages. `progress` is called as by [`convert`].
///
/// # Errors
///
/// Returns a [`ConvertError`] if the rollout cannot be converted. Errors of the temporary file are
/// [`OutputError::Waiting`].
pub fn spool(
    input: Input,
    path: &Path,
    options: &Options,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<(Stream, Summary), ConvertError> {
    let spool_error = |error: io::Error| ConvertError::Output(OutputError::waiting(error));
    let mut file = tempfile::tempfile_in(temporary_folder()).map_err(spool_error)?;
    let summary = convert(input, &file, options, progress).map_err(|error| match error {
        ConvertError::Output(OutputError::Sink(error)) => spool_error(error),
        error => error,
    })?;
    let length = file.seek(SeekFrom::End(0)).map_err(spool_error)?;
    Ok((Stream::of(file, path.to_owned(), length), summary))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::{Selection, Window};
    use std::io::Cursor;

    const ROLLOUT: &str = concat!(
        r#"{"timestamp":"2026-01-01T00:00:00.000Z","type":"response_item","payload":{"type":"message","role":"user","#,
        r#""content":[{"type":"input_text","text":"one"}]}}"#,
        "\n",
        r#"{"timestamp":"2026-01-01T00:00:01.000Z","type":"response_item","payload":{"type":"message","role":"user","#,
        r#""content":[{"type":"input_text","text":"two"}]}}"#,
        "\n",
    );

    #[test]
    fn the_last_records_of_a_rollout_can_be_read() {
        let input = Input::from_reader(Cursor::new(ROLLOUT)).expect("is in memory");
        let (stream, summary) =
            spool(input, Path::new("r"), &Options::default(), &mut |_| true).expect("can be converted");
        assert_eq!(summary.records, 3);
        let last = Selection { window: Window::Tail(1), ..Selection::default() };
        let position = last.tail_start(&stream).expect("can be read").expect("is not the first record");
        let mut lines = stream.lines_from(position);
        let line = lines.next_line().expect("can be read").expect("exists");
        assert!(String::from_utf8_lossy(line.text.bytes()).contains("two"));
        assert!(lines.next_line().expect("can be read").is_none());
    }
}
