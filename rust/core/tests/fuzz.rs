//! Converts arbitrary bytes: nothing panics, memory is bounded, and the output is a transcript.
//!
//! The tests use the inputs in `tests/corpus`, followed by a fixed number of generated inputs, which are the same in every
//! run. With `MNGR_CODEX_FUZZ_SECONDS` they generate different inputs for that many seconds instead. With
//! `MNGR_CODEX_FUZZ_SEED` they generate the one input with that seed.

mod random_inputs;
mod records;
mod rollouts;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{self, Cursor, Read, Write};

use mngr_codex_core::{ConvertError, End, Input, LineError, Lines, Options, convert};
use random_inputs::{Random, corpus, fuzz, input};
use serde_json::{Value, json};

// ---- memory ----

/// The system's allocator, which counts the bytes that each thread has allocated.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    /// The bytes that are allocated, their highest number so far, and whether allocations are counted.
    static ALLOCATED: Cell<(isize, isize, bool)> = const { Cell::new((0, 0, true)) };
}

fn count(allocated: usize, freed: usize) {
    let _ = ALLOCATED.try_with(|cell| {
        let (bytes, highest, is_counted) = cell.get();
        if is_counted {
            let bytes = bytes + allocated.cast_signed() - freed.cast_signed();
            cell.set((bytes, highest.max(bytes), true));
        }
    });
}

// SAFETY: All calls are passed to the system's allocator without changes, and counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: The caller upholds the contract of `GlobalAlloc`, which the system's allocator shares.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: The caller upholds the contract of `GlobalAlloc`, which the system's allocator shares.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: The caller upholds the contract of `GlobalAlloc`, which the system's allocator shares.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: The caller upholds the contract of `GlobalAlloc`, which the system's allocator shares.
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// Runs `run` and returns the peak of the bytes that it allocates on this thread.
fn peak(run: impl FnOnce()) -> usize {
    let before = ALLOCATED.with(|cell| {
        let (bytes, _, is_counted) = cell.get();
        cell.set((bytes, bytes, is_counted));
        bytes
    });
    run();
    (ALLOCATED.get().1 - before).cast_unsigned()
}

/// Runs code of the test itself, whose memory is not counted.
fn uncounted<T>(run: impl FnOnce() -> T) -> T {
    let was_counted = ALLOCATED.get().2;
    ALLOCATED.with(|cell| cell.set((cell.get().0, cell.get().1, false)));
    let result = run();
    ALLOCATED.with(|cell| cell.set((cell.get().0, cell.get().1, was_counted)));
    result
}

/// The memory that a conversion may always allocate.
const FIXED_BYTES: usize = 16 << 20;

/// How many times the length of the longest line it may allocate in addition. A text is in memory at most three times. The
/// worst case is invalid UTF-8, which triples in length, in a value that is dumped. This takes several copies, each in a
/// vector that grows by doubling.
const MAX_COPIES: usize = 24;

// ---- the first target: conversion ----

/// An output whose memory is not counted.
struct Output(Vec<u8>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        uncounted(|| self.0.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn longest_line(input: &[u8]) -> usize {
    input.split(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap_or(0)
}

/// Converts an input and checks that it allocates at most `copies` times the longest line in addition to the fixed part.
fn check_memory(input: &[u8], copies: usize) {
    let options = Options::default();
    let mut output = Output(Vec::new());
    let bytes = peak(|| drop(convert(input, &mut output, &options, &mut |_| true)));
    let limit = FIXED_BYTES + copies * longest_line(input);
    assert!(bytes <= limit, "{bytes} bytes allocated, limit {limit}: {}", String::from_utf8_lossy(&input[..300]));
    uncounted(|| drop(output));
}

/// Converts an input with every kind of end and checks the transcripts.
fn check_conversion(input: &[u8], line_limit: usize) {
    let mut shorter: Vec<u8> = Vec::new();
    for end in [End::Partial, End::Complete] {
        let options = Options { agent_id: "agent".to_owned(), end, line_limit };
        let mut output = Output(Vec::new());
        let mut result = None;
        let bytes = peak(|| result = Some(convert(input, &mut output, &options, &mut |_| true)));
        let limit = FIXED_BYTES + MAX_COPIES * longest_line(input);
        assert!(bytes <= limit, "{bytes} bytes allocated, limit {limit}");
        match result.expect("a result") {
            Ok(summary) => {
                let lines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').count() as u64 - 1;
                // The records in a last line without a newline are converted if the input is complete.
                let has_last = u64::from(summary.lines == lines(input) + 1 && end == End::Complete);
                assert_eq!(summary.lines, lines(input) + has_last);
                assert_eq!(summary.records, lines(&output.0));
                let last = input.rsplit(|byte| *byte == b'\n').next().map_or(0, <[u8]>::len) as u64;
                let rest = summary.partial_line.map_or(0, |(_, length)| length);
                assert!(if has_last > 0 { rest < last } else { rest == last }, "{rest} of {last} bytes");
            }
            Err(ConvertError::NotARollout(_)) => assert!(output.0.is_empty()),
            Err(ConvertError::Input(LineError::TooLong { .. })) => assert!(longest_line(input) > line_limit),
            Err(error) => panic!("{error}"),
        }
        uncounted(|| {
            records::check_transcript(&output.0);
            assert!(output.0.starts_with(&shorter), "{end:?} must begin with the records of the ends before");
            shorter = output.0;
        });
    }
}

#[test]
fn arbitrary_bytes_are_converted_to_a_valid_transcript() {
    for (name, bytes) in corpus() {
        println!("{name}");
        check_conversion(&bytes, usize::MAX);
    }
    fuzz(700, |random| {
        let input = input(random);
        let line_limit = if random.one_in(8) { random.below(5000) } else { 1 << 30 };
        check_conversion(&input, line_limit);
    });
}

#[test]
fn a_long_text_is_in_memory_at_most_three_times() {
    const LENGTH: usize = 6 << 20;
    let line = |kind: &str, payload: Value| {
        json!({"timestamp": rollouts::iso(0), "type": kind, "payload": payload}).to_string()
    };
    let item = |payload: Value| line("response_item", payload);
    let templates = [
        item(json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "TEXT"}]})),
        item(json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "TEXT"}]})),
        item(json!({"type": "function_call", "name": "exec", "call_id": "c", "arguments": "TEXT"})),
        item(json!({"type": "custom_tool_call_output", "call_id": "c", "output": "TEXT"})),
        line("compacted", json!({"message": "TEXT"})),
        line("brand_new_line", json!({"text": "TEXT"})),
        "TEXT".to_owned(),
    ];
    for template in &templates {
        for piece in ["x", "\\n", "é"] {
            // Token counts are expected, so the steps wait for them. The steps are too long to wait in memory.
            let context = line("turn_context", json!({"model": "gpt"}));
            let text = piece.repeat(LENGTH / piece.len());
            check_memory(&format!("{context}\n{}\n", template.replace("TEXT", &text)).into_bytes(), 3);
        }
    }
}

// ---- the second target: compressed input ----

/// A reader that returns its bytes in pieces and is interrupted at times.
struct Piecewise {
    bytes: Cursor<Vec<u8>>,
    random: Random,
}

impl Read for Piecewise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = match self.random.below(8) {
            0 => return Err(io::Error::from(io::ErrorKind::Interrupted)),
            1 => self.random.below(4) + 1,
            _ => buffer.len(),
        };
        let end = size.min(buffer.len());
        self.bytes.read(&mut buffer[..end])
    }
}

/// Reads all lines. Returns their bytes, and whether the end was reached without an error.
fn read_lines(bytes: Vec<u8>, line_limit: usize, seed: u64) -> (Vec<u8>, bool) {
    let mut text = Vec::new();
    let mut longest = 0;
    let mut is_complete = false;
    let mut reader = Some(Piecewise { bytes: Cursor::new(bytes), random: Random::new(seed) });
    let allocated = peak(|| {
        let Ok(input) = Input::from_reader(reader.take().expect("a reader")) else { return };
        let mut lines = Lines::new(input, line_limit);
        while let Ok(line) = lines.next_line() {
            let Some(line) = line else {
                is_complete = true;
                longest =
                    longest.max(lines.partial_line().map_or(0, |(_, length)| usize::try_from(length).unwrap_or(0)));
                break;
            };
            assert_eq!(line.offset.0, uncounted(|| text.len() as u64), "offsets are those of the text");
            let length = usize::try_from(line.next.0 - line.offset.0 - 1).expect("small");
            assert!(length <= line_limit && line.text.bytes().len() <= length);
            longest = longest.max(length);
            uncounted(|| {
                text.extend_from_slice(line.text.bytes());
                text.resize(text.len() + length - line.text.bytes().len(), b'?');
                text.push(b'\n');
            });
        }
    });
    let limit = FIXED_BYTES + 3 * longest.max(line_limit.min(1 << 20));
    assert!(allocated <= limit, "{allocated} bytes allocated, limit {limit}");
    (text, is_complete)
}

#[test]
fn arbitrary_bytes_can_be_read_as_a_compressed_rollout() {
    for (_, bytes) in corpus() {
        read_lines(bytes.clone(), usize::MAX, 1);
        let packed = zstd::encode_all(&bytes[..], 3).expect("compression cannot fail");
        let (text, is_complete) = read_lines(packed, usize::MAX, 1);
        assert!(is_complete && bytes.starts_with(&text));
    }
    fuzz(500, |random| {
        let mut bytes = match random.below(4) {
            0 => random.bytes(5000),
            1 => vec![*random.pick(b" \n{x"); random.below(200_000)],
            _ => input(random),
        };
        let mut packed = zstd::encode_all(&bytes[..], *random.pick(&[1, 3, 9])).expect("compression cannot fail");
        if random.one_in(3) {
            // Frames may follow each other, with skippable frames between them.
            packed.extend([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
            packed.extend(zstd::encode_all(&b"{}\nhalf"[..], 1).expect("compression cannot fail"));
            bytes.extend(b"{}\nhalf");
        }
        let seed = random.number();
        let (text, is_complete) = read_lines(packed.clone(), usize::MAX, seed);
        assert!(is_complete);
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        assert_eq!(text.len(), end);
        assert!(longest_line(&bytes) > 1 << 20 || text == bytes[..end]);
        // The frame is truncated or damaged.
        if random.one_in(2) {
            packed.truncate(random.below(packed.len()));
        }
        for _ in 0..random.below(4) {
            let near = if random.one_in(2) { packed.len().min(20) } else { packed.len() };
            if near > 0 {
                let at = random.below(near);
                packed[at] = random.byte();
            }
        }
        let line_limit = *random.pick(&[0, 10, 5000, 1 << 20, 4 << 20]);
        let (again, _) = read_lines(packed, line_limit, seed);
        assert!(again.len() <= 64 << 20);
    });
}
