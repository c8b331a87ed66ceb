//! Any bytes at all: nothing panics, memory has its bounds, and what comes out is a transcript.
//!
//! The inputs of `tests/corpus` come first, then made ones: a fixed number, the same ones each time, or for as long
//! as `MNGR_CODEX_FUZZ_SECONDS` says, other ones each time. `MNGR_CODEX_FUZZ_SEED` makes one input again.

mod chance;
mod records;
mod rollouts;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{self, Cursor, Read, Write};

use chance::{Random, corpus, fuzz, input};
use mngr_codex_core::convert::{ConvertError, End, Options, convert};
use mngr_codex_core::rollout::input::Input;
use mngr_codex_core::rollout::lines::{LineError, Lines};
use serde_json::{Value, json};

// ---- memory ----

/// The system's allocator, counting what each thread holds.
struct Counting;

#[global_allocator]
static HEAP: Counting = Counting;

thread_local! {
    /// Bytes that are held, the most that were, and whether they are counted.
    static HELD: Cell<(isize, isize, bool)> = const { Cell::new((0, 0, true)) };
}

fn count(more: usize, less: usize) {
    let _ = HELD.try_with(|cell| {
        let (held, most, is_counted) = cell.get();
        if is_counted {
            let held = held + more.cast_signed() - less.cast_signed();
            cell.set((held, most.max(held), true));
        }
    });
}

// SAFETY: all is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// The most bytes that `run` holds at a time on this thread, beyond what was held before.
fn peak(run: impl FnOnce()) -> usize {
    let before = HELD.with(|cell| {
        let (held, _, is_counted) = cell.get();
        cell.set((held, held, is_counted));
        held
    });
    run();
    (HELD.get().1 - before).cast_unsigned()
}

/// Runs what is the test's own: its memory is not counted.
fn uncounted<T>(run: impl FnOnce() -> T) -> T {
    let was = HELD.get().2;
    HELD.with(|cell| cell.set((cell.get().0, cell.get().1, false)));
    let result = run();
    HELD.with(|cell| cell.set((cell.get().0, cell.get().1, was)));
    result
}

/// What a conversion may hold: a fixed part, and so many times the longest line. A text is held three times at the
/// most. The worst is invalid UTF-8, which triples, inside a value that is dumped, which takes some copies, each in a
/// vector that grows by doubling.
const FIXED: usize = 16 << 20;
const MOST_COPIES: usize = 24;

// ---- the first target: conversion ----

/// Keeps what is written, without its memory being counted.
struct Kept(Vec<u8>);

impl Write for Kept {
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

/// Converts an input and checks what was held meanwhile: at most so many times the longest line, and a fixed part.
fn check_held(input: &[u8], copies: usize) {
    let options = Options::default();
    let mut kept = Kept(Vec::new());
    let most = peak(|| drop(convert(input, &mut kept, &options, &mut |_| true)));
    let bound = FIXED + copies * longest_line(input);
    assert!(most <= bound, "{most} bytes held of {bound}: {}", String::from_utf8_lossy(&input[..300]));
    uncounted(|| drop(kept));
}

/// Converts an input in every way and checks what comes.
fn check_conversion(input: &[u8], line_limit: usize) {
    let mut shorter: Vec<u8> = Vec::new();
    for end in [End::Partial, End::Complete, End::Final] {
        let options = Options { agent_id: "agent".to_owned(), end, line_limit };
        let mut kept = Kept(Vec::new());
        let mut result = None;
        let most = peak(|| result = Some(convert(input, &mut kept, &options, &mut |_| true)));
        let bound = FIXED + MOST_COPIES * longest_line(input);
        assert!(most <= bound, "{most} bytes held of {bound}");
        match result.expect("a result") {
            Ok(summary) => {
                let lines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').count() as u64 - 1;
                assert_eq!(summary.lines, lines(input));
                assert_eq!(summary.records, lines(&kept.0));
                let half = input.rsplit(|byte| *byte == b'\n').next().map_or(0, <[u8]>::len) as u64;
                assert_eq!(summary.partial_line.map_or(0, |(_, length)| length), half);
            }
            Err(ConvertError::Input(LineError::TooLong { .. })) => assert!(longest_line(input) > line_limit),
            Err(error) => panic!("{error}"),
        }
        uncounted(|| {
            records::check_transcript(&kept.0);
            assert!(kept.0.starts_with(&shorter), "{end:?} goes on from what ends sooner");
            shorter = kept.0;
        });
    }
}

#[test]
fn any_bytes_become_a_transcript() {
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
fn a_long_text_is_held_three_times_at_the_most() {
    const LENGTH: usize = 6 << 20;
    let line = |kind: &str, payload: Value| {
        json!({"timestamp": rollouts::iso(0), "type": kind, "payload": payload}).to_string()
    };
    let item = |payload: Value| line("response_item", payload);
    let shapes = [
        item(json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "TEXT"}]})),
        item(json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "TEXT"}]})),
        item(json!({"type": "function_call", "name": "exec", "call_id": "c", "arguments": "TEXT"})),
        item(json!({"type": "custom_tool_call_output", "call_id": "c", "output": "TEXT"})),
        line("compacted", json!({"message": "TEXT"})),
        line("brand_new_line", json!({"text": "TEXT"})),
        "TEXT".to_owned(),
    ];
    for shape in &shapes {
        for piece in ["x", "\\n", "é"] {
            // Usage is reported, so the steps wait, and are too long to wait in memory.
            let context = line("turn_context", json!({"model": "gpt"}));
            let text = piece.repeat(LENGTH / piece.len());
            check_held(&format!("{context}\n{}\n", shape.replace("TEXT", &text)).into_bytes(), 3);
        }
    }
}

// ---- the second target: compressed input ----

/// Gives bytes in pieces, with interruptions.
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

/// Reads all lines there are; gives how many and their bytes, and whether the end was reached.
fn read_lines(bytes: Vec<u8>, line_limit: usize, seed: u64) -> (Vec<u8>, bool) {
    let mut text = Vec::new();
    let mut longest = 0;
    let mut is_whole = false;
    let mut reader = Some(Piecewise { bytes: Cursor::new(bytes), random: Random::new(seed) });
    let most = peak(|| {
        let Ok(input) = Input::from_reader(reader.take().expect("a reader")) else { return };
        let mut lines = Lines::new(input, line_limit);
        while let Ok(line) = lines.next_line() {
            let Some(line) = line else {
                is_whole = true;
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
    let bound = FIXED + 3 * longest.max(line_limit.min(1 << 20));
    assert!(most <= bound, "{most} bytes held of {bound}");
    (text, is_whole)
}

#[test]
fn any_bytes_can_be_read_as_a_compressed_rollout() {
    for (_, bytes) in corpus() {
        read_lines(bytes.clone(), usize::MAX, 1);
        let packed = zstd::encode_all(&bytes[..], 3).expect("can be compressed");
        let (text, is_whole) = read_lines(packed, usize::MAX, 1);
        assert!(is_whole && bytes.starts_with(&text));
    }
    fuzz(500, |random| {
        let mut bytes = match random.below(4) {
            0 => random.bytes(5000),
            1 => vec![*random.pick(b" \n{x"); random.below(200_000)],
            _ => input(random),
        };
        let mut packed = zstd::encode_all(&bytes[..], *random.pick(&[1, 3, 9])).expect("can be compressed");
        if random.one_in(3) {
            // Frames may follow each other, and ones that are passed over stand between them.
            packed.extend([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
            packed.extend(zstd::encode_all(&b"{}\nhalf"[..], 1).expect("can be compressed"));
            bytes.extend(b"{}\nhalf");
        }
        let seed = random.number();
        let (text, is_whole) = read_lines(packed.clone(), usize::MAX, seed);
        assert!(is_whole);
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        assert_eq!(text.len(), end);
        assert!(longest_line(&bytes) > 1 << 20 || text == bytes[..end]);
        // A frame that was cut or damaged.
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
