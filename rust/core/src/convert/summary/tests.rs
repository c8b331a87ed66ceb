use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn lines_are_counted_by_the_name_of_their_kind(
        kinds in prop::collection::vec(("[ab]{1,20}", "[ab/]{0,20}", "[ab]{0,3}"), 0..200),
    ) {
        let mut summary = Summary::default();
        let mut counts: HashMap<String, u64> = HashMap::new();
        let mut order = Vec::new();
        for (one, two, three) in &kinds {
            let parts = [one, two, three];
            summary.add_skipped(parts.map(String::as_bytes));
            let name = parts.into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("/");
            let count = counts.entry(name.clone()).or_default();
            if *count == 0 {
                order.push(name);
            }
            *count += 1;
        }
        let expected: Vec<(String, u64)> = order.into_iter().map(|name| (name.clone(), counts[&name])).collect();
        prop_assert_eq!(summary.skipped, expected);
    }
}

#[test]
fn names_from_the_input_are_bounded_and_all_lines_are_counted() {
    let mut summary = Summary::default();
    for number in 0..2000 {
        for _ in 0..2 {
            let name = format!("{number}{}", "x".repeat(number));
            summary.add_skipped([b"event_msg", name.as_bytes(), "ä".repeat(40).as_bytes()]);
        }
    }
    assert_eq!(summary.skipped.len(), MAX_KINDS + 1);
    assert_eq!(summary.skipped.iter().map(|(_, count)| count).sum::<u64>(), 4000);
    assert!(summary.skipped.iter().all(|(name, _)| name.len() <= 3 * (MAX_NAME_BYTES + 3)));
    assert_eq!(summary.skipped.last(), Some(&("others".to_owned(), 2 * (2000 - MAX_KINDS as u64))));
    // Kinds that already have a name are still counted under it.
    summary.add_skipped([b"event_msg", b"0", "ä".repeat(40).as_bytes()]);
    assert_eq!(summary.skipped[0].1, 3);
}

#[test]
fn names_that_differ_only_in_their_middle_are_counted_separately() {
    let mut summary = Summary::default();
    for middle in ["one", "two", "one"] {
        summary.add_skipped([b"event_msg", format!("beginning_{middle}_and_its_end").as_bytes(), b""]);
    }
    let expected =
        [("event_msg/beginning_one_and_its_end".to_owned(), 2), ("event_msg/beginning_two_and_its_end".to_owned(), 1)];
    assert_eq!(summary.skipped, expected);
}

#[test]
fn the_first_malformed_lines_are_kept_and_all_are_counted() {
    let mut summary = Summary::default();
    for number in 0..100 {
        summary.add_malformed(MalformedLine {
            offset: ByteOffset(number),
            at: 0,
            reason: "reason",
            has_records: false,
        });
    }
    assert_eq!(summary.malformed, 100);
    let offsets: Vec<u64> = summary.malformed_lines.iter().map(|line| line.offset.0).collect();
    assert_eq!(offsets, (0..MAX_MALFORMED_LINES as u64).collect::<Vec<_>>());
}

#[test]
fn it_is_displayed_in_one_line() {
    let mut summary = Summary { lines: 31, records: 12, malformed: 1, ..Summary::default() };
    assert_eq!(summary.to_string(), "31 lines read, 12 records written, 1 lines malformed");
    summary.add_skipped([b"world_state", b"", b""]);
    summary.add_skipped([b"event_msg", b"item_completed", b"Plan"]);
    summary.add_skipped([b"world_state", b"", b""]);
    let displayed = "31 lines read, 12 records written, 1 lines malformed; \
                skipped: world_state 2, event_msg/item_completed/Plan 1";
    assert_eq!(summary.to_string(), displayed);
    summary.partial_line = Some((ByteOffset(400), 7));
    assert_eq!(summary.to_string(), format!("{displayed}; partial line of 7 bytes at offset 400 skipped"));
}

#[test]
fn events_announce_messages_in_either_form() {
    for (event, item) in [("user_message", ""), ("agent_message", ""), ("item_completed", "UserMessage")] {
        let mut summary = Summary::default();
        assert!(!summary.has_only_events());
        summary.add_skipped(["event_msg", event, item].map(str::as_bytes));
        assert!(summary.has_only_events());
        summary.messages = 1;
        assert!(!summary.has_only_events());
    }
}
