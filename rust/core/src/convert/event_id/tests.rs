use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::rollout::timestamp;

const NOW: &str = "2026-11-22T07:12:04.790Z";

/// Issues the id of an item with this timestamp.
fn issue(issued: &mut IssuedIds, time: Option<&str>, text: &str, kind: IdKind, offset: u64) -> String {
    let time = time.map(|time| (time.as_bytes(), timestamp::parse(time.as_bytes()).unwrap_or_default()));
    let digest = issued.issue(time, text.as_bytes(), kind, ByteOffset(offset));
    String::from_utf8_lossy(&digest.event_id()).into_owned() + kind.name()
}

fn restored(issued: &IssuedIds) -> IssuedIds {
    postcard::from_bytes(&postcard::to_extend(issued, Vec::new()).unwrap_or_default()).unwrap_or_default()
}

const KINDS: &[IdKind] =
    &[IdKind::User, IdKind::System, IdKind::Assistant, IdKind::Reasoning, IdKind::ToolResult, IdKind::CommandExecution];

proptest! {
    #[test]
    fn no_id_is_issued_twice(
        items in prop::collection::vec((0_usize..7, 0_usize..3, prop::sample::select(KINDS), any::<bool>()), 0..80),
    ) {
        // The second and the third timestamp are the same instant.
        let times = [
            Some("2026-11-22T07:12:03.000Z"),
            Some(NOW),
            Some("2026-11-22T07:12:04.790+00:00"),
            Some("2026-11-22 08:12:04.79+01:00"),
            Some("2026-11-22T07:12:05.000Z"),
            Some("2026-11-22T07:12:06.000Z"),
            None,
        ];
        let mut issued = IssuedIds::default();
        let mut ids = HashSet::new();
        for (index, (time, text, kind, is_restored)) in items.iter().enumerate() {
            if *is_restored {
                issued = restored(&issued);
            }
            let id = issue(&mut issued, times[*time], ["", "a", "b"][*text], *kind, 100 * index as u64);
            prop_assert!(ids.insert(id), "item {} of {:?}", index, items);
        }
    }
}

#[test]
fn the_first_item_has_the_published_id_and_a_repeated_one_hashes_its_offset() {
    let mut issued = IssuedIds::default();
    let first = issue(&mut issued, Some(NOW), "hello", IdKind::User, 0);
    assert_eq!(first, "evt-9b7efdbfdf1e02f40f8988c4f4be828e-user");
    let later = issue(&mut issued, Some(NOW), "hello", IdKind::User, 400);
    assert_eq!(later, "evt-f12d5a12aa0d06e2efdc7ba0423f35d7-user");
    // The same item of another kind has another id because of the last part.
    let other = issue(&mut issued, Some(NOW), "hello", IdKind::System, 500);
    assert_eq!(other, first.replace("user", "system"));
}

#[test]
fn equal_lines_with_later_timestamps_do_not_hash_their_offset() {
    let mut issued = IssuedIds::default();
    for time in ["2026-11-22T07:12:04.790Z", "2026-11-22T07:12:04.791Z", "2026-11-22T07:12:05Z"] {
        let mut fresh = IssuedIds::default();
        let expected = issue(&mut fresh, Some(time), "hello", IdKind::User, 0);
        assert_eq!(issue(&mut issued, Some(time), "hello", IdKind::User, 700), expected);
    }
}

#[test]
fn ids_with_a_decreasing_or_missing_timestamp_hash_the_offset() {
    let mut issued = IssuedIds::default();
    issue(&mut issued, Some(NOW), "now", IdKind::User, 0);
    for time in [Some("2026-11-22T07:12:04.789Z"), None] {
        let mut ids = HashSet::new();
        for offset in 1..5 {
            ids.insert(issue(&mut issued, time, "hello", IdKind::User, offset));
        }
        assert_eq!(ids.len(), 4);
        let mut fresh = IssuedIds::default();
        let plain = issue(&mut fresh, Some("2026-11-22T07:12:04.789Z"), "hello", IdKind::User, 0);
        assert!(!ids.contains(&plain));
    }
    // Ids of the latest timestamp are still remembered.
    let mut fresh = IssuedIds::default();
    let plain = issue(&mut fresh, Some(NOW), "now", IdKind::User, 9);
    assert_ne!(issue(&mut issued, Some(NOW), "now", IdKind::User, 9), plain);
}

#[test]
fn a_text_cannot_imitate_an_offset() {
    let mut issued = IssuedIds::default();
    issue(&mut issued, Some(NOW), "hi", IdKind::User, 0);
    let with_offset = issue(&mut issued, Some(NOW), "hi", IdKind::User, 400);
    for text in ["hi@400", "hi\u{ff}400", "hi400", "hi:400"] {
        assert_ne!(issue(&mut issued, Some(NOW), text, IdKind::User, 800), with_offset);
    }
}

#[test]
fn a_text_cannot_imitate_the_rest_of_a_timestamp() {
    let mut issued = IssuedIds::default();
    let short = issue(&mut issued, Some("2026-11-22T07:12"), "04.790Z:hi", IdKind::User, 0);
    let again = issue(&mut issued, Some("2026-11-22T07:12"), "04.790Z:hi", IdKind::User, 400);
    let long = issue(&mut issued, Some(NOW), "hi", IdKind::User, 800);
    assert!(short != long && again != short && again != long);
    assert_eq!(long, issue(&mut IssuedIds::default(), Some(NOW), "hi", IdKind::User, 0));
}

#[test]
fn items_beyond_the_limit_of_one_timestamp_hash_their_offset() {
    let mut issued = IssuedIds::default();
    let mut ids = HashSet::new();
    for number in 0..MAX_REMEMBERED + 100 {
        let text = number.to_string();
        let mut fresh = IssuedIds::default();
        let plain = issue(&mut fresh, Some(NOW), &text, IdKind::User, 0);
        let id = issue(&mut issued, Some(NOW), &text, IdKind::User, number as u64);
        assert_eq!(id == plain, number < MAX_REMEMBERED, "item {number}");
        ids.insert(id);
    }
    // All items again.
    for number in 0..MAX_REMEMBERED + 100 {
        ids.insert(issue(&mut issued, Some(NOW), &number.to_string(), IdKind::User, 10_000 + number as u64));
    }
    assert_eq!(ids.len(), 2 * (MAX_REMEMBERED + 100));
    assert!(issued.newest.is_some_and(|newest| newest.issued.len() == MAX_REMEMBERED));
}
