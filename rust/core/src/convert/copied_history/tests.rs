use super::*;
use crate::rollout::ids::Name;

/// Returns a UUID of version 7. They sort by `number`.
fn uuid(number: u32) -> Name {
    Name::new(format!("01a20218-{number:04x}-7000-8000-00000000beef").as_bytes(), false)
}

fn thread(number: u32) -> ThreadId {
    ThreadId(uuid(number))
}

fn meta(thread_number: u32, forked_from: Option<u32>, history_start: Option<u64>) -> SessionMeta {
    SessionMeta { thread: thread(thread_number), forked_from: forked_from.map(thread), history_start }
}

fn turn(number: u32) -> TurnId {
    TurnId(uuid(number))
}

#[test]
fn nothing_is_copied_before_the_first_session_meta() {
    let copied = CopiedContext::default();
    assert!(!copied.covers(None) && !copied.covers(Some(0)));
}

#[test]
fn a_session_without_a_copied_session_meta_copies_nothing() {
    let mut copied = CopiedContext::default();
    assert_eq!(copied.session_meta(meta(5, None, None)), SessionMetaKind::NewRollout);
    assert!(!copied.covers(None) && !copied.covers(Some(0)));
    // A fork whose file contains only the new lines.
    assert_eq!(copied.session_meta(meta(6, Some(5), None)), SessionMetaKind::NewRollout);
    assert!(!copied.covers(None) && !copied.covers(Some(0)));
}

#[test]
fn lines_below_the_ordinal_in_the_session_meta_are_copied() {
    let mut copied = CopiedContext::default();
    assert_eq!(copied.session_meta(meta(5, None, Some(12))), SessionMetaKind::NewRollout);
    assert!(copied.covers(Some(0)) && copied.covers(Some(11)));
    assert!(!copied.covers(Some(12)) && !copied.covers(Some(u64::MAX)) && !copied.covers(None));
    // Turns do not end this kind of copied history.
    copied.begin_turn(&turn(9));
    assert!(copied.covers(Some(11)));
}

#[test]
fn history_after_a_copied_session_meta_ends_with_a_turn_of_the_own_thread() {
    let mut copied = CopiedContext::default();
    assert_eq!(copied.session_meta(meta(5, Some(3), None)), SessionMetaKind::NewRollout);
    assert_eq!(copied.session_meta(meta(3, None, None)), SessionMetaKind::CopiedHistory);
    assert!(copied.covers(None) && copied.covers(Some(0)) && copied.covers(Some(u64::MAX)));
    // Turns older than the thread, and ids without a time, do not end the copied history.
    for earlier in [turn(2), turn(5), TurnId::default(), TurnId(Name::new(b"turn-9", false))] {
        copied.begin_turn(&earlier);
        assert!(copied.covers(None));
    }
    copied.begin_turn(&turn(6));
    assert!(!copied.covers(None) && !copied.covers(Some(0)));
    copied.begin_turn(&turn(2));
    assert!(!copied.covers(None));
}

#[test]
fn copied_history_can_contain_copied_history() {
    let mut copied = CopiedContext::default();
    copied.session_meta(meta(5, Some(3), None));
    assert_eq!(copied.session_meta(meta(3, Some(2), None)), SessionMetaKind::CopiedHistory);
    assert_eq!(copied.session_meta(meta(2, None, None)), SessionMetaKind::CopiedHistory);
    assert!(copied.covers(None));
    // The file's own thread is still the first one.
    copied.begin_turn(&turn(4));
    assert!(copied.covers(None));
    copied.begin_turn(&turn(6));
    assert!(!copied.covers(None));
}

#[test]
fn a_copied_session_meta_does_not_change_the_ordinal() {
    let mut copied = CopiedContext::default();
    copied.session_meta(meta(5, Some(3), Some(4)));
    assert_eq!(copied.session_meta(meta(3, None, None)), SessionMetaKind::CopiedHistory);
    assert!(copied.covers(Some(3)) && !copied.covers(Some(4)));
}

#[test]
fn any_other_session_meta_begins_another_rollout() {
    let mut copied = CopiedContext::default();
    copied.session_meta(meta(5, Some(3), None));
    copied.session_meta(meta(3, None, None));
    assert!(copied.covers(None));
    assert_eq!(copied.session_meta(meta(8, None, None)), SessionMetaKind::NewRollout);
    assert!(!copied.covers(None));
    // The fork of the previous rollout no longer matters.
    assert_eq!(copied.session_meta(meta(3, None, None)), SessionMetaKind::NewRollout);
}

#[test]
fn a_restored_context_continues() {
    let mut copied = CopiedContext::default();
    copied.session_meta(meta(5, Some(3), None));
    copied.session_meta(meta(3, Some(2), None));
    let mut restored: CopiedContext =
        postcard::from_bytes(&postcard::to_extend(&copied, Vec::new()).unwrap_or_default()).unwrap_or_default();
    assert!(restored.covers(None));
    assert_eq!(restored.session_meta(meta(2, None, None)), SessionMetaKind::CopiedHistory);
    restored.begin_turn(&turn(6));
    assert!(!restored.covers(None));
}
