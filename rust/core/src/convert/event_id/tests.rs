use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::rollout::timestamp;

const NOW: &str = "2026-11-22T07:12:04.790Z";

/// Gives the id of an item that was written at `time`.
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
    fn no_id_is_given_twice(
        items in prop::collection::vec((0_usize..7, 0_usize..3, prop::sample::select(KINDS), any::<bool>()), 0..80),
    ) {
        // The second and the third are one instant.
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
        for (place, (time, text, kind, is_restored)) in items.iter().enumerate() {
            if *is_restored {
                issued = restored(&issued);
            }
            let id = issue(&mut issued, times[*time], ["", "a", "b"][*text], *kind, 100 * place as u64);
            prop_assert!(ids.insert(id), "item {} of {:?}", place, items);
        }
    }
}

#[test]
fn the_first_item_of_a_text_gets_the_published_id_and_the_later_one_hashes_its_place() {
    let mut issued = IssuedIds::default();
    let first = issue(&mut issued, Some(NOW), "hello", IdKind::User, 0);
    assert_eq!(first, "evt-9b7efdbfdf1e02f40f8988c4f4be828e-user");
    let later = issue(&mut issued, Some(NOW), "hello", IdKind::User, 400);
    assert_eq!(later, "evt-f12d5a12aa0d06e2efdc7ba0423f35d7-user");
    // Of another kind it is another id by its last part.
    let other = issue(&mut issued, Some(NOW), "hello", IdKind::System, 500);
    assert_eq!(other, first.replace("user", "system"));
}

#[test]
fn equal_lines_of_later_times_need_no_place() {
    let mut issued = IssuedIds::default();
    for time in ["2026-11-22T07:12:04.790Z", "2026-11-22T07:12:04.791Z", "2026-11-22T07:12:05Z"] {
        let mut fresh = IssuedIds::default();
        let wanted = issue(&mut fresh, Some(time), "hello", IdKind::User, 0);
        assert_eq!(issue(&mut issued, Some(time), "hello", IdKind::User, 700), wanted);
    }
}

#[test]
fn a_time_that_goes_back_or_is_missing_hashes_the_place() {
    let mut issued = IssuedIds::default();
    issue(&mut issued, Some(NOW), "now", IdKind::User, 0);
    for time in [Some("2026-11-22T07:12:04.789Z"), None] {
        let mut ids = HashSet::new();
        for offset in 1..5 {
            ids.insert(issue(&mut issued, time, "hello", IdKind::User, offset));
        }
        assert_eq!(ids.len(), 4);
        let mut fresh = IssuedIds::default();
        let unplaced = issue(&mut fresh, Some("2026-11-22T07:12:04.789Z"), "hello", IdKind::User, 0);
        assert!(!ids.contains(&unplaced));
    }
    // What was issued at the newest time is still known.
    let mut fresh = IssuedIds::default();
    let unplaced = issue(&mut fresh, Some(NOW), "now", IdKind::User, 9);
    assert_ne!(issue(&mut issued, Some(NOW), "now", IdKind::User, 9), unplaced);
}

#[test]
fn no_text_can_be_taken_for_a_place() {
    let mut issued = IssuedIds::default();
    issue(&mut issued, Some(NOW), "hi", IdKind::User, 0);
    let placed = issue(&mut issued, Some(NOW), "hi", IdKind::User, 400);
    for text in ["hi@400", "hi\u{ff}400", "hi400", "hi:400"] {
        assert_ne!(issue(&mut issued, Some(NOW), text, IdKind::User, 800), placed);
    }
}

#[test]
fn a_text_that_goes_on_with_the_timestamp_is_told_apart() {
    let mut issued = IssuedIds::default();
    let short = issue(&mut issued, Some("2026-11-22T07:12"), "04.790Z:hi", IdKind::User, 0);
    let again = issue(&mut issued, Some("2026-11-22T07:12"), "04.790Z:hi", IdKind::User, 400);
    let long = issue(&mut issued, Some(NOW), "hi", IdKind::User, 800);
    assert!(short != long && again != short && again != long);
    assert_eq!(long, issue(&mut IssuedIds::default(), Some(NOW), "hi", IdKind::User, 0));
}

#[test]
fn of_very_many_items_of_one_time_those_beyond_the_limit_hash_their_place() {
    let mut issued = IssuedIds::default();
    let mut ids = HashSet::new();
    for number in 0..MAX_REMEMBERED + 100 {
        let text = number.to_string();
        let mut fresh = IssuedIds::default();
        let unplaced = issue(&mut fresh, Some(NOW), &text, IdKind::User, 0);
        let id = issue(&mut issued, Some(NOW), &text, IdKind::User, number as u64);
        assert_eq!(id == unplaced, number < MAX_REMEMBERED, "item {number}");
        ids.insert(id);
    }
    // All of them once more.
    for number in 0..MAX_REMEMBERED + 100 {
        ids.insert(issue(&mut issued, Some(NOW), &number.to_string(), IdKind::User, 10_000 + number as u64));
    }
    assert_eq!(ids.len(), 2 * (MAX_REMEMBERED + 100));
    assert!(issued.newest.is_some_and(|newest| newest.issued.len() == MAX_REMEMBERED));
}
