use std::fs;

use proptest::prelude::*;

use super::*;

/// Writes the files of a stream to `folder`, and opens it. The last file is the current one.
fn stream_of(folder: &Path, files: &[&[u8]]) -> Stream {
    let mut paths = Vec::new();
    for (number, bytes) in files.iter().enumerate() {
        let is_last = number + 1 == files.len();
        let name = if is_last { CURRENT.to_owned() } else { format!("{CURRENT}.2026010{number}") };
        fs::write(folder.join(&name), bytes).expect("can be written");
        paths.push(folder.join(name));
    }
    assert_eq!(files_in(folder).expect("exists"), paths);
    Stream::open(paths).expect("exist")
}

type Found = (usize, u64, Vec<u8>, bool);

fn found(line: Line<'_>) -> Found {
    (line.position.segment, line.position.offset.0, line.text.bytes().to_vec(), line.is_partial)
}

fn forwards(stream: &Stream) -> Vec<Found> {
    let mut lines = stream.lines();
    std::iter::from_fn(|| lines.next_line().expect("can be read").map(found)).collect()
}

fn backwards(stream: &Stream) -> Vec<Found> {
    let mut lines = stream.backwards();
    std::iter::from_fn(|| lines.previous_line().expect("can be read").map(found)).collect()
}

#[test]
fn files_are_read_in_order_with_their_partial_lines() {
    let folder = tempfile::tempdir().expect("can be created");
    let stream = stream_of(folder.path(), &[b"a\nb", b"", b"c\n\nd"]);
    let expected: Vec<Found> = vec![
        (0, 0, b"a".to_vec(), false),
        (0, 2, b"b".to_vec(), true),
        (2, 0, b"c".to_vec(), false),
        (2, 2, b"".to_vec(), false),
        (2, 3, b"d".to_vec(), true),
    ];
    assert_eq!(forwards(&stream), expected);
    assert_eq!(stream.segments.iter().map(|segment| segment.length).sum::<u64>(), 7);
    let mut back = backwards(&stream);
    back.reverse();
    assert_eq!(back, expected);
}

#[test]
fn reading_starts_at_any_line() {
    let folder = tempfile::tempdir().expect("can be created");
    let stream = stream_of(folder.path(), &[b"a\nb\n", b"c\nd\n"]);
    let mut lines = stream.lines_from(StreamPosition { segment: 0, offset: ByteOffset(2) });
    let rest: Vec<_> = std::iter::from_fn(|| lines.next_line().expect("can be read").map(found)).collect();
    assert_eq!(rest.iter().map(|line| line.2.as_slice()).collect::<Vec<_>>(), [b"b", b"c", b"d"]);
    assert_eq!(rest[0].1, 2);
}

#[test]
fn lines_added_after_opening_are_not_read() {
    let folder = tempfile::tempdir().expect("can be created");
    let stream = stream_of(folder.path(), &[b"a\n"]);
    fs::write(folder.path().join(CURRENT), b"a\nb\n").expect("can be written");
    assert_eq!(forwards(&stream).len(), 1);
    assert_eq!(backwards(&stream).len(), 1);
}

#[test]
fn a_copy_has_the_complete_lines_and_the_partial_ones_that_are_records() {
    let folder = tempfile::tempdir().expect("can be created");
    let stream = stream_of(folder.path(), &[b"a\n{\"b\":1}", b"c\nd", b"e\n{}"]);
    let mut out = Vec::new();
    stream.copy(StreamPosition::START, &mut out).expect("can be read");
    assert_eq!(out, b"a\n{\"b\":1}\nc\ne\n{}\n");
    out.clear();
    stream.copy(StreamPosition { segment: 1, offset: ByteOffset(2) }, &mut out).expect("can be read");
    assert_eq!(out, b"e\n{}\n");
}

#[test]
fn copying_a_file_that_is_truncated_meanwhile_fails() {
    /// Truncates a file when something is written.
    struct Truncating(PathBuf);
    impl io::Write for Truncating {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            fs::write(&self.0, "")?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let folder = tempfile::tempdir().expect("can be created");
    let stream = stream_of(folder.path(), &[&b"a\n".repeat(1 << 20)]);
    let path = folder.path().join(CURRENT);
    let start = StreamPosition::START;
    let error = stream.copy(start, &mut Truncating(path.clone())).expect_err("is truncated");
    assert!(matches!(error, CopyError::Read(error) if error.path == path));
}

#[test]
fn copying_a_partial_line_over_the_limit_is_an_error_with_its_offset() {
    let folder = tempfile::tempdir().expect("can be created");
    let stream = stream_of(folder.path(), &[b"a\nbcdef"]).with_line_limit(4);
    let start = StreamPosition::START;
    let error = stream.copy(start, &mut Vec::new()).expect_err("it is too long");
    let CopyError::Read(ReadError { source, .. }) = error else { panic!("{error}") };
    assert!(matches!(source, LineError::TooLong { offset: ByteOffset(2), limit: 4 }), "{source}");
}

#[test]
fn only_the_partial_line_of_the_last_file_is_removed() {
    let folder = tempfile::tempdir().expect("can be created");
    for (last, end) in [(&b"c\nd"[..], 2), (b"c\n", 2), (b"d", 0), (b"", 0)] {
        let stream = stream_of(folder.path(), &[b"a\nb", last]).without_partial_line().expect("can be read");
        assert_eq!(stream.end(), StreamPosition { segment: 1, offset: ByteOffset(end) });
        assert!(forwards(&stream)[..2].iter().map(|line| line.2.as_slice()).eq([b"a", b"b"]));
    }
}

#[test]
fn a_full_disk_is_reported_as_a_write_error() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::Error::from(ErrorKind::StorageFull))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let folder = tempfile::tempdir().expect("can be created");
    let stream = stream_of(folder.path(), &[b"a\n"]);
    let start = StreamPosition::START;
    let error = stream.copy(start, &mut Full).expect_err("nothing can be written");
    assert!(matches!(error, CopyError::Write(error) if error.kind() == ErrorKind::StorageFull));
}

#[test]
fn reading_a_line_that_was_cut_is_an_error_with_its_path() {
    let folder = tempfile::tempdir().expect("can be created");
    let stream = stream_of(folder.path(), &[b"a\nbcd\n"]);
    let mut buffer = Vec::new();
    let position = StreamPosition { segment: 0, offset: ByteOffset(2) };
    assert_eq!(stream.reread(position, 3, &mut buffer).expect("exists").bytes(), b"bcd");
    fs::OpenOptions::new().write(true).open(folder.path().join(CURRENT)).expect("exists").set_len(3).expect("is cut");
    let error = stream.reread(position, 3, &mut buffer).err().expect("is cut").to_string();
    assert!(error.contains(CURRENT) && error.contains("byte 2"), "{error}");
}

#[test]
fn a_partial_line_over_the_limit_is_an_error() {
    let folder = tempfile::tempdir().expect("can be created");
    let stream = stream_of(folder.path(), &[b"{\n123456"]).with_line_limit(4);
    let mut lines = stream.lines();
    assert!(lines.next_line().expect("fits").is_some());
    let error = lines.next_line().map(|line| line.is_some()).expect_err("does not fit");
    assert!(matches!(error.source, LineError::TooLong { limit: 4, .. }), "{error}");
}

#[test]
fn files_with_other_names_are_not_part_of_the_stream() {
    let folder = tempfile::tempdir().expect("can be created");
    for name in ["events.jsonl.", "events.jsonl.12a", "events.jsonl2", "events.jsonl.20", "events.jsonl.9", "other"] {
        fs::write(folder.path().join(name), b"").expect("can be written");
    }
    fs::create_dir(folder.path().join("events.jsonl.5")).expect("can be created");
    // Sorted as text, as in mngr 0.3.0. Real times have the same length.
    let names = [folder.path().join("events.jsonl.20"), folder.path().join("events.jsonl.9")];
    assert_eq!(files_in(folder.path()).expect("exists"), names);
}

#[test]
fn a_folder_is_refused() {
    let folder = tempfile::tempdir().expect("can be created");
    let error = Stream::open([folder.path().to_owned()]).err().expect("is refused");
    assert_eq!((error.path.as_path(), error.source.kind()), (folder.path(), ErrorKind::IsADirectory));
}

proptest! {
    #[test]
    fn backwards_is_the_reverse_of_forwards(
        files in prop::collection::vec(prop::collection::vec(prop_oneof![
            Just(b"\n".to_vec()), Just(b"\r\n".to_vec()), Just(b"{}".to_vec()), prop::collection::vec(b'a'..b'f', 0..200)
        ], 0..30), 1..4)
    ) {
        let folder = tempfile::tempdir().expect("can be created");
        let files: Vec<Vec<u8>> = files.iter().map(|pieces| pieces.concat()).collect();
        let stream = stream_of(folder.path(), &files.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let mut back = backwards(&stream);
        back.reverse();
        prop_assert_eq!(back, forwards(&stream));
    }
}
