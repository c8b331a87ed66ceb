//! A rollout's transcript in a temporary file, for what cannot be told in one pass: the last records, a whole document.

use std::io::{self, Seek, SeekFrom};
use std::path::Path;

use super::stream::Stream;
use crate::convert::{ConvertError, Options, OutputError, Summary, convert, temporary_folder};
use crate::rollout::decompression::Input;

/// Converts a rollout into a file without a name, which goes away with the stream.
///
/// `path` is what messages call the rollout; `progress` is as for [`convert`].
///
/// # Errors
///
/// [`ConvertError`]; of the temporary file's folder what the system says, as [`OutputError::Waiting`].
pub fn spool(
    input: Input,
    path: &Path,
    options: &Options,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<(Stream, Summary), ConvertError> {
    let kept = |error: io::Error| ConvertError::Output(OutputError::waiting(error));
    let mut file = tempfile::tempfile_in(temporary_folder()).map_err(kept)?;
    let summary = convert(input, &file, options, progress).map_err(|error| match error {
        ConvertError::Output(OutputError::Sink(error)) => kept(error),
        error => error,
    })?;
    let length = file.seek(SeekFrom::End(0)).map_err(kept)?;
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
    fn a_spooled_rollout_has_its_records_and_their_last_ones() {
        let input = Input::from_reader(Cursor::new(ROLLOUT)).expect("it is there");
        let (stream, summary) =
            spool(input, Path::new("r"), &Options::default(), &mut |_| true).expect("can be converted");
        assert_eq!(summary.records, 3);
        let last = Selection { window: Window::Tail(1), ..Selection::default() };
        let place = last.start_of_tail(&stream).expect("can be read").expect("is not the first");
        let mut lines = stream.lines_from(place);
        let line = lines.next_line().expect("can be read").expect("is there");
        assert!(String::from_utf8_lossy(line.text.bytes()).contains("two"));
        assert!(lines.next_line().expect("can be read").is_none());
    }
}
