use std::collections::VecDeque;
use std::io;

use proptest::prelude::*;

use super::*;

/// A reader that returns pieces of the given sizes, repeatedly. A size of 0 is an interrupted read.
struct Piecewise {
    bytes: Vec<u8>,
    at: usize,
    sizes: Vec<usize>,
    turn: usize,
}

impl Piecewise {
    fn new(bytes: Vec<u8>, sizes: &[usize]) -> Self {
        Self { bytes, at: 0, sizes: sizes.to_vec(), turn: 0 }
    }
}

impl Read for Piecewise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(!buffer.is_empty(), "a read of zero bytes would mean the end");
        let size = self.sizes.get(self.turn % self.sizes.len().max(1)).copied().unwrap_or(usize::MAX);
        self.turn += 1;
        if size == 0 {
            return Err(io::Error::from(ErrorKind::Interrupted));
        }
        let count = size.min(buffer.len()).min(self.bytes.len() - self.at);
        buffer[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// An offset and a line.
type OffsetLine<'a> = (u64, &'a [u8]);

/// Returns the lines of an input, and the bytes after the last newline.
fn expected(bytes: &[u8]) -> (Vec<OffsetLine<'_>>, OffsetLine<'_>) {
    let mut offset = 0;
    let mut lines: Vec<OffsetLine<'_>> = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        lines.push((offset, line));
        offset += line.len() as u64 + 1;
    }
    let partial = lines.pop().expect("split gives one piece at least");
    (lines, partial)
}

/// Reads all lines and compares them with `expected`. The first line longer than `limit` must be an error with its
/// offset.
fn check(bytes: &[u8], sizes: &[usize], limit: usize) {
    let mut lines = Lines::new(Piecewise::new(bytes.to_vec(), sizes), limit);
    let (complete, partial) = expected(bytes);
    for (offset, expected) in complete {
        let progress = lines.bytes_read();
        match lines.next_line() {
            Ok(Some(line)) => {
                assert!(expected.len() <= limit);
                assert_eq!(
                    (line.offset, line.next),
                    (ByteOffset(offset), ByteOffset(offset + expected.len() as u64 + 1))
                );
                assert_eq!(line.has_control, line.has_lost_start || expected.iter().any(|byte| *byte < b' '));
                let given = line.text.bytes();
                if line.gaps.is_empty() {
                    assert!(given == expected, "the line at {offset}");
                } else {
                    // Only text before a record is dropped.
                    assert!(expected.len() > LARGE && expected.ends_with(given));
                    let is_blank = expected[..expected.len() - given.len()].trim_ascii().is_empty();
                    assert_eq!(line.has_lost_start, !is_blank);
                    assert!(!is_blank || given.trim_ascii() == expected.trim_ascii());
                    assert_eq!(line.position(0), ByteOffset(offset + (expected.len() - given.len()) as u64));
                }
            }
            Ok(None) => panic!("the line at {offset} is missing"),
            Err(LineError::TooLong { offset: at, limit: reported }) => {
                assert!(expected.len() > limit);
                assert_eq!((at, reported), (ByteOffset(offset), limit));
                assert!(matches!(lines.next_line(), Err(LineError::TooLong { .. })));
                return;
            }
            Err(error) => panic!("{error}"),
        }
        assert!((progress..=bytes.len() as u64).contains(&lines.bytes_read()));
    }
    let (offset, expected) = partial;
    match lines.next_line() {
        Ok(None) => {
            assert!(expected.len() <= limit);
            let partial_line = (!expected.is_empty()).then_some((ByteOffset(offset), expected.len() as u64));
            assert_eq!(lines.partial_line(), partial_line);
            assert_eq!(lines.bytes_read(), bytes.len() as u64);
            assert!(matches!(lines.next_line(), Ok(None)), "the end stays");
        }
        Err(LineError::TooLong { offset: at, .. }) => {
            assert!(expected.len() > limit);
            assert_eq!(at, ByteOffset(offset));
        }
        other => panic!("{:?}", other.map(|line| line.map(|line| line.offset))),
    }
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![1 => Just(0_usize), 4 => 1_usize..20, 2 => 1000_usize..400_000];
    // An input whose reads are always interrupted would never end.
    prop::collection::vec(size, 0..6)
        .prop_filter("progress", |sizes| sizes.is_empty() || sizes.iter().any(|size| *size > 0))
}

/// A compact description of large lines: the beginning and the length of each.
#[derive(Clone, Debug)]
struct Large {
    lines: Vec<(&'static str, usize)>,
    is_ended: bool,
}

impl Large {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, (beginning, length)) in self.lines.iter().enumerate() {
            let start = bytes.len();
            bytes.extend_from_slice(beginning.as_bytes());
            let rest = if beginning.trim().is_empty() { b' ' } else { b'.' };
            bytes.resize(start + length.max(&beginning.len()), rest);
            if self.is_ended || index + 1 < self.lines.len() {
                bytes.push(b'\n');
            }
        }
        bytes
    }
}

fn large() -> impl Strategy<Value = Large> {
    let length = prop_oneof![
        3 => 0_usize..5,
        2 => CHUNK - 2..CHUNK + 3,
        2 => LARGE - 2..LARGE + 3,
        1 => LARGE + CHUNK - 2..LARGE + CHUNK + 3,
        1 => 3 * LARGE..3 * LARGE + 3,
    ];
    let line = (prop::sample::select(&["", "{", "x", " {", " ", "\t\r x"][..]), length);
    (prop::collection::vec(line, 1..5), any::<bool>()).prop_map(|(lines, is_ended)| Large { lines, is_ended })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn newlines_end_lines_for_any_sizes_of_reads(
        pieces in prop::collection::vec(prop_oneof![Just("\n"), Just("{"), Just("\r\n"), Just("\0"), Just("line")], 0..60),
        bytes in any::<Vec<u8>>(),
        sizes in sizes(),
        limit in prop_oneof![3 => Just(usize::MAX), 1 => 0_usize..20],
    ) {
        check(pieces.concat().as_bytes(), &sizes, limit);
        check(&bytes, &sizes, limit);
    }

    #[test]
    fn resumed_lines_have_their_offsets_in_the_complete_input(bytes in "[a\n]{0,40}", from in any::<prop::sample::Index>()) {
        let (complete, partial) = expected(bytes.as_bytes());
        let starts: Vec<u64> = complete.iter().map(|(offset, _)| *offset).chain([partial.0]).collect();
        let index = from.index(starts.len());
        let start = usize::try_from(starts[index]).expect("small");
        let reader = Piecewise::new(bytes.as_bytes()[start..].to_vec(), &[3]);
        let mut lines = Lines::starting_at(reader, ByteOffset(starts[index]), 100);
        for (offset, expected) in &complete[index..] {
            let line = lines.next_line().expect("no error").expect("a line");
            prop_assert_eq!((line.offset, line.text.bytes()), (ByteOffset(*offset), *expected));
        }
        prop_assert!(lines.next_line().expect("no error").is_none());
        prop_assert_eq!(lines.bytes_read(), bytes.len() as u64);
    }

    #[test]
    fn appended_bytes_continue_the_partial_line(
        parts in prop::collection::vec("[{a\n]{0,12}", 1..8),
        sizes in sizes(),
    ) {
        let parts: VecDeque<Vec<u8>> = parts.into_iter().map(String::into_bytes).collect();
        let complete: Vec<u8> = parts.iter().flatten().copied().collect();
        let mut lines = Lines::new(Growing { parts, present: Piecewise::new(Vec::new(), &sizes) }, 1000);
        let (expected, partial) = expected(&complete);
        let mut given = Vec::new();
        while !lines.reader.is_over() {
            while let Some(line) = lines.next_line().expect("no error") {
                given.push((line.offset.0, line.text.bytes().to_vec()));
            }
        }
        prop_assert_eq!(given, expected.into_iter().map(|(at, line)| (at, line.to_vec())).collect::<Vec<_>>());
        prop_assert_eq!(lines.partial_line(), (!partial.1.is_empty()).then_some((ByteOffset(partial.0), partial.1.len() as u64)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn large_lines_are_read_for_any_sizes_of_reads(
        large in large(),
        sizes in prop::collection::vec(prop_oneof![Just(usize::MAX), Just(CHUNK - 1), 100_000..700_000_usize], 1..4),
        limit in prop::sample::select(&[usize::MAX, 3 * LARGE, LARGE + 1, LARGE, LARGE - 1, 600_000, CHUNK][..]),
    ) {
        check(&large.bytes(), &sizes, limit);
    }
}

/// A reader that reports the end of the input after each part.
struct Growing {
    parts: VecDeque<Vec<u8>>,
    present: Piecewise,
}

impl Growing {
    fn is_over(&self) -> bool {
        self.parts.is_empty() && self.present.at == self.present.bytes.len()
    }
}

impl Read for Growing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.present.read(buffer)?;
        if count == 0
            && let Some(part) = self.parts.pop_front()
        {
            self.present.bytes.extend(part);
        }
        Ok(count)
    }
}

#[test]
fn the_limit_counts_the_bytes_before_the_newline() {
    for (bytes, limit, expected) in
        [("abc\nabcd\n", 4, None), ("abc\nabcd\n", 3, Some(4)), ("abcd", 3, Some(0)), ("\n\nx\n", 0, Some(2))]
    {
        let mut lines = Lines::new(bytes.as_bytes(), limit);
        let error = loop {
            match lines.next_line() {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        match (error, expected) {
            (None, None) => {}
            (Some(LineError::TooLong { offset, .. }), Some(expected)) => assert_eq!(offset, ByteOffset(expected)),
            (error, _) => panic!("{bytes:?}, {limit}: {error:?}"),
        }
    }
}

#[test]
fn lines_that_are_not_kept_completely_have_the_same_limit() {
    for beginning in ["x", " ", "{"] {
        for length in 3 * LARGE - 1..=3 * LARGE + 1 {
            let line = format!("{beginning}{}", if beginning == " " { " " } else { "." }.repeat(length - 1));
            for bytes in [format!("{line}\n{{}}\n"), line] {
                check(bytes.as_bytes(), &[], 3 * LARGE);
            }
        }
    }
}

#[test]
fn a_line_that_is_too_long_is_reported_with_its_offset() {
    let mut lines = Lines::new(&b"ok\n0123456789\n"[..], 9);
    assert!(lines.next_line().expect("no error").is_some());
    let error = lines.next_line().err().expect("too long").to_string();
    assert_eq!(error, "the line at byte 3 is longer than 9 bytes");
}

#[test]
fn a_failed_read_is_reported_with_its_offset() {
    struct Failing<'a>(&'a [u8], bool);
    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 if !self.1 => {
                    self.1 = true;
                    Err(io::Error::other("no more"))
                }
                count => Ok(count),
            }
        }
    }
    let mut lines = Lines::new(Failing(b"line\nhalf", false), 100);
    assert!(lines.next_line().expect("no error").is_some());
    match lines.next_line() {
        Err(LineError::Read { offset, source }) => {
            assert_eq!((offset, source.to_string().as_str()), (ByteOffset(9), "no more"));
        }
        other => panic!("{:?}", other.map(|line| line.map(|line| line.offset))),
    }
    // The failed read lost nothing.
    assert!(lines.next_line().expect("the end").is_none());
    assert_eq!(lines.partial_line(), Some((ByteOffset(5), 4)));
}

#[test]
fn a_large_line_without_an_object_is_not_kept_completely() {
    const LENGTH: u64 = 64 << 20;
    for junk in [b'x', b' ', 0] {
        let reader = b"first\n".chain(io::repeat(junk).take(LENGTH)).chain(&b"\n{}\n"[..]);
        let mut lines = Lines::new(reader, DEFAULT_LINE_LIMIT);
        assert_eq!(lines.next_line().expect("no error").expect("a line").text.bytes(), b"first");
        let line = lines.next_line().expect("no error").expect("a line");
        assert_eq!(line.offset, ByteOffset(6));
        assert!(line.text.bytes().len() <= 2 * LARGE);
        assert!(lines.buffer.capacity() <= 4 * LARGE, "{} bytes for {junk:?}", lines.buffer.capacity());
        let line = lines.next_line().expect("no error").expect("a line");
        assert_eq!((line.offset, line.text.bytes()), (ByteOffset(6 + LENGTH + 1), &b"{}"[..]));
        assert_eq!(line.next, ByteOffset(6 + LENGTH + 1 + 3));
    }
}

#[test]
fn an_object_after_much_white_space_is_kept() {
    let reader = io::repeat(b' ').take(3 << 20).chain(&b"{\"a\":1}\n{}\n"[..]);
    let mut lines = Lines::new(reader, DEFAULT_LINE_LIMIT);
    let line = lines.next_line().expect("no error").expect("a line");
    assert_eq!(crate::json::scan(line.text, &mut crate::json::Tape::default()), Ok(()));
    assert_eq!(line.next, ByteOffset((3 << 20) + 8));
    assert_eq!(lines.next_line().expect("no error").expect("a line").text.bytes(), b"{}");
}

#[test]
fn a_record_after_a_hole_or_other_text_is_kept_with_its_position() {
    const RECORD: &[u8] = b"{\"timestamp\":\"x\",\"type\":\"y\",\"payload\":{}}";
    for (before, byte) in [(&b""[..], 0), (b"{\"a\":\"ha", 0), (b"x", b'x'), (b"\xEF\xBB\xBF", 0), (b"  ", b' ')] {
        for length in [0, 1, MAX_NULS + 1, CHUNK + 7, 3 * LARGE + 5] {
            for sizes in [&[][..], &[1000, 70_000], &[CHUNK - 1]] {
                let mut bytes = before.to_vec();
                bytes.resize(before.len() + length, byte);
                let start = bytes.len() as u64;
                bytes.extend_from_slice(RECORD);
                bytes.extend_from_slice(b"\n{}\n");
                let mut lines = Lines::new(Piecewise::new(bytes, sizes), 4 * LARGE);
                let line = lines.next_line().expect("no error").expect("a line");
                assert_eq!((line.offset, line.next.0), (ByteOffset(0), start + RECORD.len() as u64 + 1));
                let text = line.text.bytes();
                assert!(text.ends_with(RECORD), "{before:?} and {length} bytes");
                assert_eq!(line.position(text.len() - RECORD.len()), ByteOffset(start));
                let next = lines.next_line().expect("no error").expect("a line");
                assert_eq!((next.text.bytes(), next.gaps), (&b"{}"[..], &[][..]));
            }
        }
    }
}

#[test]
fn a_hole_takes_no_memory_and_does_not_count_toward_the_limit() {
    const LENGTH: u64 = 64 << 20;
    let reader = b"{\"a\":\"half".chain(io::repeat(0).take(LENGTH)).chain(&b"{\"b\":1}\n"[..]);
    let mut lines = Lines::new(reader, 1000);
    assert_eq!(lines.next_line().expect("no error").expect("a line").next.0, 10 + LENGTH + 8);
    assert!(lines.buffer.capacity() <= LARGE, "{} bytes", lines.buffer.capacity());
}

#[test]
fn the_end_of_a_line_that_is_not_kept_is_kept() {
    let end = b"{\"timestamp\":\"x\"}";
    for sizes in [&[][..], &[1000], &[CHUNK - 1]] {
        let bytes = [b"{\"a\":\"".as_slice(), &vec![b'x'; 5 * LARGE], end, b"\n"].concat();
        let mut lines = Lines::new(Piecewise::new(bytes, sizes), DEFAULT_LINE_LIMIT).keeping(2 * LARGE);
        let line = lines.next_line().expect("no error").expect("a line");
        assert!(line.text.bytes().len() <= 3 * LARGE && line.text.bytes().contains(&0));
        assert!(line.text.bytes().ends_with(end));
        assert_eq!(line.position(line.text.bytes().len()).0 + 1, line.next.0);
    }
}

#[test]
fn an_unterminated_last_line_can_be_taken() {
    for sizes in [&[][..], &[1]] {
        let mut lines = Lines::new(Piecewise::new(b"{}\n{\"a\":1}".to_vec(), sizes), 100);
        assert!(lines.next_line().expect("no error").is_some());
        assert!(lines.next_line().expect("no error").is_none());
        let line = lines.take_partial_line().expect("no error").expect("a line");
        assert_eq!((line.offset, line.next, line.text.bytes()), (ByteOffset(3), ByteOffset(10), &b"{\"a\":1}"[..]));
        assert!(lines.partial_line().is_none());
    }
}

#[test]
fn a_partial_line_without_an_object_has_its_complete_length() {
    let mut lines = Lines::new(b"a\n".chain(io::repeat(b'x').take(5 << 20)), DEFAULT_LINE_LIMIT);
    assert!(lines.next_line().expect("no error").is_some());
    assert!(lines.next_line().expect("no error").is_none());
    assert_eq!(lines.partial_line(), Some((ByteOffset(2), 5 << 20)));
    assert_eq!(lines.bytes_read(), 2 + (5 << 20));
}

#[test]
fn the_memory_of_a_large_line_is_freed() {
    const LENGTH: u64 = 32 << 20;
    let small = "{}\n".repeat(CHUNK);
    let reader = b"{".chain(io::repeat(b'x').take(LENGTH)).chain(&b"\n"[..]).chain(small.as_bytes());
    let mut lines = Lines::new(reader, DEFAULT_LINE_LIMIT);
    assert_eq!(lines.next_line().expect("no error").expect("a line").text.bytes().len() as u64, LENGTH + 1);
    assert!(lines.buffer.capacity() as u64 > LENGTH);
    let mut read = 0;
    while lines.next_line().expect("no error").is_some() {
        read += 1;
    }
    assert_eq!(read, CHUNK);
    assert!(lines.buffer.capacity() <= 4 * LARGE, "{} bytes", lines.buffer.capacity());
}

#[test]
fn the_bytes_after_a_line_are_valid_padding() {
    let mut lines = Lines::new(Piecewise::new(b"{}\n[]\n\n{\"a\":1}\n".to_vec(), &[1]), 100);
    let mut tape = crate::json::Tape::default();
    let mut scanned = Vec::new();
    while let Some(line) = lines.next_line().expect("no error") {
        scanned.push(crate::json::scan(line.text, &mut tape).is_ok());
    }
    assert_eq!(scanned, [true, false, false, true]);
}
