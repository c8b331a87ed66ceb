use proptest::prelude::*;

use super::*;

fn record(number: usize) -> String {
    format!(
        r#"{{"timestamp":"2026-01-01T00:00:00.{number:03}Z","type":"event_msg","payload":{{"text":"a }}{{ \\\"{{"}}}}"#
    )
}

/// Returns the whole records of a line, and the position of the first damage.
fn whole(line: &str) -> (Vec<&str>, Option<usize>) {
    let mut bytes = line.as_bytes().to_vec();
    let mut records = WholeRecords::of(Text::pad(&mut bytes), false);
    let (mut found, mut tape) = (Vec::new(), Tape::default());
    while let Some(range) = records.next(&mut tape) {
        found.push(&line[range]);
    }
    (found, records.first_damage().map(|damage| damage.at))
}

#[test]
fn whole_records_are_found_in_a_damaged_line() {
    let (one, two) = (&record(1), &record(2));
    let spaced = &one.replace("\":", "\": ");
    let other_order = r#"{"type":"x","payload":{},"timestamp":"y"}"#;
    let third = one.len() / 3;
    for (line, expected, damage) in [
        (one.clone(), vec![one.as_str()], None),
        (format!(" {one}\r"), vec![one], None),
        (format!("{one}{two}"), vec![one, two], Some(one.len())),
        (format!("{one} , {two}"), vec![one, two], Some(one.len() + 1)),
        (format!("{one}{other_order}"), vec![one, other_order], Some(one.len())),
        (format!("\0\0{other_order}"), vec![other_order], Some(0)),
        (format!("\u{FEFF}{one}"), vec![one], Some(0)),
        (format!("{}{two}", &one[..5]), vec![two], Some(7)),
        (format!("{}\0\0{two}", &one[..50]), vec![two], Some(50)),
        (format!("{}{spaced}", &one[..60]), vec![spaced], None),
        (format!("{}{}{}{two}", &one[..third], &two[..2 * third], &one[..70]), vec![two], None),
        // Half a string, an escape, and a value before the record.
        (format!(r#"{{"timestamp":"x","type":"a{two}"#), vec![two], None),
        (format!(r#"{{"timestamp":"x","type":"a\{two}"#), vec![two], None),
        (format!(r#"{{"timestamp":"x","payload":{two}"#), vec![two], None),
        (format!(r#"{{"timestamp":"x","payload":[{two}"#), vec![two], None),
        // The end of a record, and values that are not records.
        (format!("{}{two}", &one[30..]), vec![two], Some(0)),
        (format!("[1]{two}"), vec![two], Some(0)),
        // An object inside a record that is cut is not a record.
        (format!(r#"{{"a":{{"timestamp":"x"}},{two}"#), vec![two], None),
        (format!(r#"{{"a":1}}{other_order}"#), vec![other_order], Some(7)),
        (r#"{"a":1}"#.to_owned(), vec![r#"{"a":1}"#], None),
        (r#"{"a":1}}"#.to_owned(), vec![], Some(7)),
        (r#"{"a":1} {"b":2}"#.to_owned(), vec![], Some(8)),
        ("[]".to_owned(), vec![], Some(0)),
        (String::new(), vec![], None),
    ] {
        let (found, at) = whole(&line);
        assert_eq!(found, expected, "{line}");
        if damage.is_some() {
            assert_eq!(at, damage, "{line}");
        }
    }
}

#[test]
fn a_line_with_many_beginnings_takes_bounded_time() {
    for piece in [r#"{"timestamp":"x","a":["#, r#"{"timestamp":"x"#, r#"{"timestamp":"x","a":{}}{"#] {
        let line = piece.repeat((4 << 20) / piece.len());
        let mut bytes = line.into_bytes();
        let mut records = WholeRecords::of(Text::pad(&mut bytes), false);
        let mut tape = Tape::default();
        while records.next(&mut tape).is_some() {}
        assert!(records.first_damage().is_some());
    }
}

proptest! {
    #[test]
    fn every_whole_record_of_any_pieces_is_found_once(
        pieces in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..6), 1..12),
    ) {
        let (mut line, mut expected) = (String::new(), Vec::new());
        for (number, (cut, kind)) in pieces.iter().enumerate() {
            let record = record(number);
            match kind {
                0 => line.push_str(&record[..cut.index(record.len())]),
                1 => line.push_str("\0\0\0"),
                2 => line.push('\u{FEFF}'),
                _ => {
                    line.push_str(&record);
                    expected.push(record);
                }
            }
        }
        prop_assert_eq!(whole(&line).0, expected);
    }

    #[test]
    fn any_text_is_searched(text in "[{}\\[\\]\":,a\\\\ \0]{0,60}|(\\{ ?\"timestamp\" ?: ?\"|\\}|,|\"type\":\"a\"|\"payload\":\\{){0,30}") {
        for record in whole(&text).0 {
            prop_assert!(serde_json::from_str::<serde_json::Map<_, _>>(record).is_ok());
        }
    }
}
