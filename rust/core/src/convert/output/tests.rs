use proptest::prelude::*;

use super::*;

/// A model of an output: the released bytes, and the waiting bytes with the position of the metrics.
#[derive(Default)]
struct Model {
    written: Vec<u8>,
    waiting: Option<(Vec<u8>, usize)>,
}

impl Model {
    fn push(&mut self, piece: &[u8]) {
        self.waiting.as_mut().map_or(&mut self.written, |(waiting, _)| waiting).extend_from_slice(piece);
    }

    fn end_waiting_step(&mut self) {
        if let Some((waiting, metrics_at)) = &mut self.waiting {
            *metrics_at = waiting.len() - STEP_END.len();
        }
    }

    fn release(&mut self, metrics: &[u8]) {
        if let Some((waiting, metrics_at)) = self.waiting.take() {
            self.written.extend([&waiting[..metrics_at], metrics, &waiting[metrics_at..]].concat());
        }
    }
}

/// An action on an output. Pieces have a size, and begin with a number that makes them different.
#[derive(Clone, Debug)]
enum Action {
    /// Pieces of a record. It waits if a step waits.
    Record(Vec<Size>),
    /// A step that waits, after the release of the previous one.
    WaitingStep(Vec<Size>),
    Release(usize),
    Discard,
    Flush,
}

/// The size of a piece: a number of bytes, or a difference from the free space in the buffer.
#[derive(Clone, Copy, Debug)]
enum Size {
    Bytes(usize),
    Room(isize),
}

fn size() -> impl Strategy<Value = Size> {
    prop_oneof![
        6 => (0_usize..40).prop_map(Size::Bytes),
        3 => (1000_usize..200_000).prop_map(Size::Bytes),
        3 => (WRITE_SIZE - 2..WRITE_SIZE + 3).prop_map(Size::Bytes),
        3 => (-3_isize..3).prop_map(Size::Room),
        1 => (MAX_WAITING_BYTES - 2..MAX_WAITING_BYTES + 3).prop_map(Size::Bytes),
        1 => (1_usize << 20..6 << 20).prop_map(Size::Bytes),
    ]
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let sizes = || prop::collection::vec(size(), 0..5);
    let action = prop_oneof![
        4 => sizes().prop_map(Action::Record),
        3 => sizes().prop_map(Action::WaitingStep),
        2 => prop_oneof![Just(0), 1_usize..300].prop_map(Action::Release),
        1 => Just(Action::Flush),
    ];
    // Records are only discarded at the end of an input.
    (prop::collection::vec(action, 1..14), any::<bool>()).prop_map(|(mut actions, is_discarded)| {
        if is_discarded {
            actions.push(Action::Discard);
        }
        actions.push(Action::Flush);
        actions
    })
}

/// An output and its model, which receive the same actions.
struct Pair<W> {
    output: Output<W>,
    model: Model,
    pieces: u64,
}

impl<W: Write> Pair<W> {
    fn new(sink: W, suppressed: u64) -> Self {
        Self { output: Output::new(sink, suppressed), model: Model::default(), pieces: 0 }
    }

    fn push(&mut self, piece: &[u8]) {
        self.output.push(piece);
        self.model.push(piece);
    }

    fn push_sizes(&mut self, sizes: &[Size]) {
        for size in sizes {
            let room = self.output.buffer.capacity() - self.output.buffer.len();
            let size = match *size {
                Size::Bytes(size) => size,
                Size::Room(more) => room.saturating_add_signed(more),
            };
            self.pieces += 1;
            let mut piece = vec![self.pieces.to_le_bytes()[0]; size];
            for (byte, number) in piece.iter_mut().zip(self.pieces.to_le_bytes()) {
                *byte = number;
            }
            self.push(&piece);
        }
    }

    fn begin_waiting(&mut self) {
        self.output.begin_waiting();
        self.model.waiting = Some((Vec::new(), 0));
    }

    fn end_waiting_step(&mut self) {
        self.push(STEP_END);
        self.output.end_record();
        self.output.end_waiting_step();
        self.model.end_waiting_step();
    }

    fn release(&mut self, metrics: &[u8]) {
        self.output.release(metrics);
        self.model.release(metrics);
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Record(sizes) => {
                self.push_sizes(sizes);
                self.output.end_record();
            }
            Action::WaitingStep(sizes) => {
                self.release(b"");
                self.begin_waiting();
                self.push_sizes(sizes);
                self.end_waiting_step();
            }
            Action::Release(length) => self.release(&vec![b'm'; *length]),
            Action::Discard => {
                self.output.discard_waiting();
                self.model.waiting = None;
            }
            Action::Flush => self.output.flush().expect("the sink takes all"),
        }
        assert_eq!(self.output.is_waiting(), self.model.waiting.is_some());
        if !self.output.has_failed {
            assert_eq!(self.output.released(), self.model.written.len() as u64);
        }
    }
}

/// Returns `bytes` without the first `suppressed` bytes.
fn without_suppressed(bytes: &[u8], suppressed: u64) -> &[u8] {
    bytes.get(usize::try_from(suppressed).unwrap_or(usize::MAX)..).unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn released_records_are_written_in_order_and_waiting_ones_are_not(
        actions in actions(),
        suppressed in prop_oneof![3 => Just(0_u64), 2 => 0_u64..3000, 1 => 0_u64..8 << 20],
    ) {
        let mut pair = Pair::new(Vec::new(), suppressed);
        for action in &actions {
            pair.act(action);
            let Pair { output, model, .. } = &mut pair;
            prop_assert!(without_suppressed(&model.written, suppressed).starts_with(output.sink_mut()));
            prop_assert!(output.buffer.len() <= MAX_WAITING_BYTES + WRITE_SIZE + WRITE_SIZE / 4 + (6 << 20));
        }
        prop_assert!(without_suppressed(&pair.model.written, suppressed) == pair.output.sink_mut());
    }

    #[test]
    fn the_first_error_is_returned_once_and_nothing_is_written_after_it(actions in actions(), room in 0_u64..4 << 20) {
        let mut pair = Pair::new(Failing { room, taken: Vec::new(), has_failed: false }, 0);
        let mut errors = 0;
        for action in &actions {
            if let Action::Flush = action {
                errors += u64::from(pair.output.flush().is_err());
            } else {
                pair.act(action);
                errors += u64::from(pair.output.check().is_err());
            }
        }
        let sink = pair.output.sink_mut();
        prop_assert_eq!(errors, u64::from(sink.has_failed));
        prop_assert!(pair.model.written.starts_with(&sink.taken));
        if !sink.has_failed {
            prop_assert!(pair.model.written == sink.taken);
        }
    }
}

/// A sink that accepts `room` bytes, possibly in partial writes, and fails once. It must not be called again after
/// that.
struct Failing {
    room: u64,
    taken: Vec<u8>,
    has_failed: bool,
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.has_failed, "written after an error");
        let room = usize::try_from(self.room).unwrap_or(usize::MAX) - self.taken.len();
        if room == 0 {
            self.has_failed = true;
            return Err(io::Error::other("full"));
        }
        let count = room.min(bytes.len()).min(100_000);
        self.taken.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        assert!(!self.has_failed, "flushed after an error");
        Ok(())
    }
}

/// Returns whether waiting records are in a temporary file.
fn is_spilled<W>(output: &Output<W>) -> bool {
    output.waiting.as_ref().is_some_and(|waiting| waiting.spill.is_some())
}

#[test]
fn many_waiting_records_are_kept_in_a_file_and_written_unchanged() {
    let mut pair = Pair::new(Vec::new(), 0);
    pair.act(&Action::Record(vec![Size::Bytes(1000)]));
    pair.act(&Action::WaitingStep(vec![Size::Bytes(10)]));
    let mut largest = 0;
    for number in 0..3000 {
        pair.act(&Action::Record(vec![Size::Bytes(5000 + number % 7)]));
        largest = largest.max(pair.output.buffer.capacity());
    }
    assert!(is_spilled(&pair.output));
    assert!(largest <= 2 * MAX_WAITING_BYTES, "{largest} bytes in memory");
    pair.act(&Action::Release(50));
    assert!(!is_spilled(&pair.output));
    pair.act(&Action::Record(vec![Size::Bytes(1000)]));
    pair.act(&Action::Flush);
    assert!(*pair.output.sink_mut() == pair.model.written);
}

#[test]
fn metrics_are_inserted_into_their_step_in_the_buffer_and_in_the_file() {
    // The step ends `room` bytes after the point at which it is moved to the file.
    for room in -4..=4 {
        for spilled_before in [false, true] {
            let mut pair = Pair::new(Vec::new(), 0);
            pair.begin_waiting();
            if spilled_before {
                pair.push_sizes(&[Size::Bytes(6 << 20), Size::Bytes(100)]);
                assert!(is_spilled(&pair.output));
            }
            while pair.output.buffer.capacity() <= MAX_WAITING_BYTES {
                pair.push_sizes(&[Size::Room(0), Size::Bytes(1)]);
            }
            pair.push_sizes(&[Size::Room(room)]);
            pair.end_waiting_step();
            pair.push_sizes(&[Size::Bytes(3), Size::Bytes(7 << 20), Size::Bytes(3)]);
            assert!(is_spilled(&pair.output));
            pair.act(&Action::Release(20));
            pair.act(&Action::Flush);
            assert!(*pair.output.sink_mut() == pair.model.written, "{room}, {spilled_before}");
        }
    }
}

#[test]
fn discarded_records_are_not_written() {
    for size in [10, 10 << 20] {
        let mut pair = Pair::new(Vec::new(), 0);
        pair.act(&Action::Record(vec![Size::Bytes(100)]));
        pair.act(&Action::WaitingStep(vec![Size::Bytes(size), Size::Bytes(10)]));
        pair.act(&Action::Discard);
        pair.act(&Action::Record(vec![Size::Bytes(100)]));
        pair.act(&Action::Flush);
        assert_eq!(pair.output.sink_mut().len(), 200);
        assert!(*pair.output.sink_mut() == pair.model.written);
    }
}

#[test]
fn records_are_written_before_the_end_of_the_input() {
    let mut output = Output::new(Vec::new(), 0);
    for _ in 0..100 {
        output.push(&[b'r'; 10_000]);
        output.end_record();
    }
    assert!(output.sink_mut().len() as u64 >= 1_000_000 - WRITE_SIZE as u64);
    assert_eq!(output.sink_mut().len() as u64 % BLOCK, 0);
}

#[test]
fn a_temporary_file_that_fails_is_reported_once_and_its_records_are_dropped() {
    let mut output = Output::new(Vec::new(), 0);
    output.push(b"before\n");
    output.begin_waiting();
    output.push(&vec![b'a'; 6 << 20]);
    output.push(STEP_END);
    output.end_record();
    output.end_waiting_step();
    let spill = output.waiting.as_mut().and_then(|waiting| waiting.spill.as_mut()).expect("a file");
    spill.file = File::open(env!("CARGO_MANIFEST_DIR").to_owned() + "/Cargo.toml").expect("to be read only");
    output.push(&vec![b'b'; 6 << 20]);
    output.end_record();
    let error = output.check().expect_err("cannot be kept");
    assert!(matches!(error, OutputError::Waiting(_)));
    let expected = format!("cannot store held-back records in the temporary folder {}: ", temporary_folder().display());
    assert!(error.to_string().starts_with(&expected), "{error}");
    output.release(b"metrics");
    output.push(b"after\n");
    output.end_record();
    assert!(output.check().is_ok());
    assert!(output.flush().is_ok());
    assert_eq!(output.sink_mut(), b"before\n");
}
