use super::*;
use crate::json::NOT_AN_OBJECT;

/// A [`Reread`] for inputs without programs.
struct NoPrograms;

impl Reread for NoPrograms {
    fn program_text(&mut self, _line: ByteOffset, _text: &mut Vec<u8>) {}
}

#[test]
fn a_repaired_line_that_the_scanner_refuses_is_counted_as_malformed() {
    let mut converter = Converter::new("agent", Vec::new());
    converter.repaired_line(
        Text::pad(&mut b"no object".to_vec()),
        &mut Tape::default(),
        ByteOffset(7),
        &mut NoPrograms,
    );
    let summary = converter.into_summary();
    assert_eq!((summary.malformed, summary.records), (1, 0));
    assert_eq!(
        summary.malformed_lines,
        [MalformedLine { offset: ByteOffset(7), at: 0, reason: NOT_AN_OBJECT, has_records: false }]
    );
}

fn message(number: usize) -> String {
    format!(
        concat!(
            r#"{{"timestamp":"2026-01-01T00:00:{:02}.000Z","type":"response_item","payload":{{"type":"message","#,
            r#""role":"user","content":[{{"type":"input_text","text":"message {} {{ }}{{ \"timestamp\""}}]}}}}"#
        ),
        number, number
    )
}

/// Converts an input in parts that end after the lines at `stops`, with a checkpoint between two parts.
fn convert_in_parts(input: &str, stops: &[usize]) -> String {
    let mut transcript = Vec::new();
    let mut checkpoint: Option<Checkpoint> = None;
    let mut lines = crate::rollout::lines::Lines::new(input.as_bytes(), usize::MAX);
    let mut converter = Converter::new("agent", Vec::new());
    let mut index = 0;
    while let Some(line) = lines.next_line().expect("is in memory") {
        if let Some(checkpoint) = checkpoint.take() {
            converter = Converter::restore("agent", &checkpoint, Vec::new()).expect("is valid");
        }
        converter.line(line, &mut NoPrograms).expect("is in memory");
        if stops.contains(&index) {
            transcript.extend(converter.take_records().expect("is in memory"));
            checkpoint = Some(converter.checkpoint());
        }
        index += 1;
    }
    converter.finish(End::Complete).expect("is in memory");
    transcript.extend(converter.take_records().expect("is in memory"));
    String::from_utf8(transcript).expect("is UTF-8")
}

proptest::proptest! {
    #[test]
    fn every_whole_record_of_a_damaged_rollout_is_converted_once(
        pieces in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), 0_u8..8), 1..20),
        stops in proptest::collection::vec(0_usize..20, 0..4),
    ) {
        let (mut input, mut whole) = (String::new(), Vec::new());
        for (number, (cut, kind)) in pieces.iter().enumerate() {
            let record = message(number);
            match kind {
                0 => input.push_str(&record[..cut.index(record.len())]),
                1 => input.push_str(&"\0".repeat(cut.index(9000))),
                2 => input.push('\u{FEFF}'),
                3 | 4 => input.push('\n'),
                _ => {
                    input.push_str(&record);
                    whole.push(number);
                }
            }
        }
        input.push('\n');
        let transcript = convert_in_parts(&input, &[]);
        for number in 0..pieces.len() {
            let count = transcript.matches(&format!("\"message {number} ")).count();
            proptest::prop_assert_eq!(count, usize::from(whole.contains(&number)), "message {}", number);
        }
        proptest::prop_assert_eq!(convert_in_parts(&input, &stops), transcript);
    }
}

#[test]
fn the_program_of_a_call_that_is_followed_by_another_record_is_found() {
    let call = concat!(
        r#"{"timestamp":"2026-01-01T00:00:00.000Z","type":"response_item","payload":{"type":"custom_tool_call","#,
        r#""call_id":"c","name":"exec","input":"ls -l"}}"#
    );
    for after in ["", "\r", &message(1), "{\"timest", "\0\0"] {
        assert_eq!(crate::convert::program_text(format!("{call}{after}").as_bytes()), Some(b"ls -l".to_vec()));
    }
    assert_eq!(crate::convert::program_text(&call.as_bytes()[..90]), None);
}
