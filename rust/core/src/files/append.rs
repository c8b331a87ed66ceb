//! Appending lines to files that several processes append to.

use std::fs::File;
use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

use super::positional::read_at;

/// How often and how long a line that seems to be cut short is waited for: another process may be writing it, and the size
/// of a file grows page by page.
const CHECKS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(5);

/// Appends a line with one call, so that lines of several processes do not mix. The file must be open for reading and
/// appending. If the last line was cut short, for example because the disk was full, a newline comes first, so that only
/// that line is damaged.
///
/// # Errors
///
/// Returns an error if the file cannot be read or written. A part of the line may have been written then.
pub(crate) fn append_line(mut file: &File, mut line: Vec<u8>) -> io::Result<()> {
    let mut checks = 0;
    while !ends_in_newline(file)? {
        if checks == CHECKS {
            line.insert(0, b'\n');
            break;
        }
        checks += 1;
        sleep(PAUSE);
    }
    file.write_all(&line)
}

fn ends_in_newline(file: &File) -> io::Result<bool> {
    let mut last = *b"\n";
    if let Some(offset) = file.metadata()?.len().checked_sub(1) {
        read_at(file, &mut last, offset)?;
    }
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_line_begins_after_the_end_of_the_previous_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lines");
        for (before, after) in [("", "new\n"), ("old\n", "old\nnew\n"), ("ol", "ol\nnew\n"), ("\n", "\nnew\n")] {
            fs::write(&path, before).expect("can be written");
            let file = File::options().read(true).append(true).open(&path).expect("can be opened");
            append_line(&file, b"new\n".to_vec()).expect("can be appended");
            assert_eq!(fs::read_to_string(&path).expect("can be read"), after);
        }
    }
}
