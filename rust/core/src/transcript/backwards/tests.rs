use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::rollout::lines::DEFAULT_LINE_LIMIT;

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("can be created");
    file.write_all(bytes).expect("can be written");
    file
}

/// Returns the lines of a file from its end: the offset, the text, and whether the line is partial.
fn all(block: usize, bytes: &[u8], limit: usize) -> Result<Vec<(u64, Vec<u8>, bool)>, LineError> {
    let file = file_of(bytes);
    let mut lines = Backwards::in_blocks_of(block, &file, bytes.len() as u64, limit);
    let mut found = Vec::new();
    while lines.has_line()? {
        // A second call changes nothing.
        assert!(lines.has_line()?);
        let (offset, text, is_partial) = lines.previous_line().expect("was found");
        found.push((offset.0, text.bytes().to_vec(), is_partial));
    }
    assert!(lines.previous_line().is_none());
    Ok(found)
}

/// The same result, by splitting the complete text.
fn model(bytes: &[u8]) -> Vec<(u64, Vec<u8>, bool)> {
    let mut lines = Vec::new();
    let mut at = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        lines.push((at, text.to_vec(), text.len() == line.len()));
        at += line.len() as u64;
    }
    lines.reverse();
    lines
}

#[test]
fn a_line_without_its_newline_is_returned_first() {
    let found = all(4, b"one\ntwo\nthr", 100).expect("can be read");
    assert_eq!(found, [(8, b"thr".to_vec(), true), (4, b"two".to_vec(), false), (0, b"one".to_vec(), false)]);
}

#[test]
fn a_line_of_20_mib_is_one_line() {
    let mut bytes = b"{}\n".to_vec();
    bytes.resize(20 << 20, b'x');
    bytes.extend_from_slice(b"\n\n");
    let found = all(BLOCK, &bytes, DEFAULT_LINE_LIMIT).expect("can be read");
    let lengths: Vec<_> = found.iter().map(|(offset, text, _)| (*offset, text.len())).collect();
    assert_eq!(lengths, [((20 << 20) + 1, 0), (3, (20 << 20) - 3), (0, 2)]);
}

#[test]
fn a_line_over_the_limit_is_an_error_with_its_offset() {
    for block in [1, 3, 64] {
        assert_eq!(all(block, b"one\n12345\n", 5).expect("fits").len(), 2);
        let error = all(block, b"one\n123456\n", 5).expect_err("does not fit");
        assert!(matches!(error, LineError::TooLong { limit: 5, offset: ByteOffset(4) }), "{error}");
    }
}

#[test]
fn a_truncated_file_is_an_error() {
    let file = file_of(b"one\n");
    let mut lines = Backwards::new(&file, 100, 100);
    assert!(matches!(lines.has_line(), Err(LineError::Read { .. })));
}

#[test]
fn bytes_after_the_length_are_ignored() {
    let file = file_of(b"one\ntwo\n");
    let mut lines = Backwards::new(&file, 5, 100);
    assert!(lines.has_line().expect("can be read"));
    let (offset, text, is_partial) = lines.previous_line().expect("was found");
    assert_eq!((offset.0, text.bytes(), is_partial), (4, &b"t"[..], true));
}

proptest! {
    #[test]
    fn the_lines_do_not_depend_on_the_block_size(
        lines in prop::collection::vec(prop_oneof![Just(0_usize), 1_usize..12, 50_usize..300], 0..20),
        block in 1_usize..400,
        is_partial: bool,
        has_returns: bool,
    ) {
        let mut bytes = Vec::new();
        for (number, length) in lines.iter().enumerate() {
            bytes.extend(std::iter::repeat_n(b'a' + u8::try_from(number).expect("are few"), *length));
            bytes.extend_from_slice(if has_returns { b"\r\n" } else { b"\n" });
        }
        if is_partial {
            bytes.pop();
        }
        prop_assert_eq!(all(block, &bytes, 1000).expect("can be read"), model(&bytes));
    }
}
