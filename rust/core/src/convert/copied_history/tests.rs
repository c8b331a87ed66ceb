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
    SessionMeta {
        thread: thread(thread_number),
        forked_from: forked_from.map(thread),
        history_start,
        ordinal: history_start.map(|_| 0),
        ..SessionMeta::default()
    }
}

/// Returns whether a line with this ordinal, and no timestamp, is copied.
fn covers(copied: &mut CopiedContext, ordinal: Option<u64>) -> bool {
    copied.begin_line(ordinal, None)
}

fn turn(number: u32) -> TurnId {
    TurnId(uuid(number))
}

#[test]
fn nothing_is_copied_before_the_first_session_meta() {
    let mut copied = CopiedContext::default();
    assert!(!covers(&mut copied, None) && !covers(&mut copied, Some(0)));
}

#[test]
fn a_session_without_a_copied_session_meta_copies_nothing() {
    let mut copied = CopiedContext::default();
    assert_eq!(copied.session_meta(meta(5, None, None)), SessionMetaKind::NewSession);
    assert!(!covers(&mut copied, None) && !covers(&mut copied, Some(0)));
    // A fork whose file contains only the new lines.
    assert_eq!(copied.session_meta(meta(6, Some(5), None)), SessionMetaKind::NewSession);
    assert!(!covers(&mut copied, None) && !covers(&mut copied, Some(0)));
}

#[test]
fn lines_below_the_ordinal_in_the_session_meta_are_copied() {
    let mut copied = CopiedContext::default();
    assert_eq!(copied.session_meta(meta(5, None, Some(12))), SessionMetaKind::NewSession);
    assert!(covers(&mut copied, Some(0)) && covers(&mut copied, Some(11)));
    assert!(!covers(&mut copied, Some(12)) && !covers(&mut copied, Some(u64::MAX)) && !covers(&mut copied, None));
    // Turns do not end this kind of copied history.
    copied.begin_turn(&turn(9), None);
    assert!(covers(&mut copied, Some(11)));
}

#[test]
fn history_after_a_copied_session_meta_ends_with_a_turn_of_the_own_thread() {
    let mut copied = CopiedContext::default();
    assert_eq!(copied.session_meta(meta(5, Some(3), None)), SessionMetaKind::NewSession);
    assert_eq!(copied.session_meta(meta(3, None, None)), SessionMetaKind::CopiedHistory);
    assert!(covers(&mut copied, None) && covers(&mut copied, Some(0)) && covers(&mut copied, Some(u64::MAX)));
    // Turns older than the thread, and ids without a time, do not end the copied history.
    for earlier in [turn(2), turn(5), TurnId::default(), TurnId(Name::new(b"turn-9", false))] {
        copied.begin_turn(&earlier, None);
        assert!(covers(&mut copied, None));
    }
    copied.begin_turn(&turn(6), None);
    assert!(!covers(&mut copied, None) && !covers(&mut copied, Some(0)));
    copied.begin_turn(&turn(2), None);
    assert!(!covers(&mut copied, None));
}

#[test]
fn copied_history_can_contain_copied_history() {
    let mut copied = CopiedContext::default();
    copied.session_meta(meta(5, Some(3), None));
    assert_eq!(copied.session_meta(meta(3, Some(2), None)), SessionMetaKind::CopiedHistory);
    assert_eq!(copied.session_meta(meta(2, None, None)), SessionMetaKind::CopiedHistory);
    assert!(covers(&mut copied, None));
    // The file's own thread is still the first one.
    copied.begin_turn(&turn(4), None);
    assert!(covers(&mut copied, None));
    copied.begin_turn(&turn(6), None);
    assert!(!covers(&mut copied, None));
}

#[test]
fn a_copied_session_meta_does_not_change_the_ordinal() {
    let mut copied = CopiedContext::default();
    copied.session_meta(meta(5, Some(3), Some(4)));
    assert_eq!(copied.session_meta(meta(3, None, None)), SessionMetaKind::CopiedHistory);
    assert!(covers(&mut copied, Some(3)) && !covers(&mut copied, Some(4)));
}

#[test]
fn any_other_session_meta_begins_another_rollout() {
    let mut copied = CopiedContext::default();
    copied.session_meta(meta(5, Some(3), None));
    copied.session_meta(meta(3, None, None));
    assert!(covers(&mut copied, None));
    assert_eq!(copied.session_meta(meta(8, None, None)), SessionMetaKind::NewSession);
    assert!(!covers(&mut copied, None));
    // The fork of the previous rollout no longer matters.
    assert_eq!(copied.session_meta(meta(3, None, None)), SessionMetaKind::NewSession);
}

#[test]
fn a_restored_context_continues() {
    let mut copied = CopiedContext::default();
    copied.session_meta(meta(5, Some(3), None));
    copied.session_meta(meta(3, Some(2), None));
    let mut restored: CopiedContext =
        postcard::from_bytes(&postcard::to_extend(&copied, Vec::new()).unwrap_or_default()).unwrap_or_default();
    assert!(covers(&mut restored, None));
    assert_eq!(restored.session_meta(meta(2, None, None)), SessionMetaKind::CopiedHistory);
    restored.begin_turn(&turn(6), None);
    assert!(!covers(&mut restored, None));
}

#[test]
fn the_ordinal_holds_for_a_copied_session_meta_that_the_own_one_does_not_name() {
    let mut copied = CopiedContext::default();
    copied.session_meta(SessionMeta { ordinal: Some(0), ..meta(5, None, Some(12)) });
    let parents = SessionMeta { ordinal: Some(1), ..meta(3, None, None) };
    assert_eq!(copied.session_meta(parents), SessionMetaKind::CopiedHistory);
    assert!(covers(&mut copied, Some(11)) && !covers(&mut copied, Some(12)));
    // A file that begins with an ordinal of its own is another rollout.
    let next = SessionMeta { ordinal: Some(0), ..meta(8, None, None) };
    assert_eq!(copied.session_meta(next), SessionMetaKind::NewSession);
    assert!(!covers(&mut copied, Some(1)));
}

#[test]
fn the_last_turns_of_a_subagents_parent_need_no_session_meta() {
    let mut copied = CopiedContext::default();
    copied.session_meta(SessionMeta { is_subagent: true, ..meta(5, Some(3), None) });
    assert!(covers(&mut copied, None));
    copied.begin_turn(&turn(4), None);
    assert!(covers(&mut copied, None));
    copied.begin_turn(&turn(6), None);
    assert!(!covers(&mut copied, None));
}

#[test]
fn a_turn_from_before_a_fork_is_copied_even_if_nothing_announced_it() {
    let mut copied = CopiedContext::default();
    copied.session_meta(meta(5, Some(3), None));
    copied.begin_turn(&turn(4), None);
    assert!(covers(&mut copied, None));
    copied.begin_turn(&turn(6), None);
    // The own turn has begun: later lines that name an earlier turn are late reports.
    copied.begin_turn(&turn(4), None);
    assert!(!covers(&mut copied, None));
}

#[test]
fn a_file_with_a_history_base_copies_nothing() {
    let mut copied = CopiedContext::default();
    copied.session_meta(SessionMeta { has_history_base: true, is_subagent: true, ..meta(5, Some(3), None) });
    copied.begin_turn(&turn(4), None);
    assert!(!covers(&mut copied, None));
}

#[test]
fn without_turn_ids_a_pause_ends_the_copy() {
    let millis = |millis: i128| Some(1_000_000 * millis);
    let mut copied = CopiedContext::default();
    copied.session_meta(meta(5, Some(3), None));
    copied.session_meta(meta(3, None, None));
    // Before the copy's first turn, its turns may have ids.
    assert!(copied.begin_line(None, millis(100)) && copied.begin_line(None, millis(1000)));
    copied.begin_turn(&TurnId::default(), millis(1000));
    assert!(copied.begin_line(None, millis(1499)));
    // A line without a timestamp is not a pause.
    assert!(copied.begin_line(None, None) && copied.begin_line(None, millis(1998)));
    assert!(!copied.begin_line(None, millis(2498)) && !copied.begin_line(None, millis(2499)));
}

#[test]
fn with_turn_ids_a_pause_does_not_end_the_copy() {
    let mut copied = CopiedContext::default();
    copied.session_meta(meta(5, Some(3), None));
    copied.session_meta(meta(3, None, None));
    assert!(copied.begin_line(None, Some(0)));
    copied.begin_turn(&turn(4), None);
    assert!(copied.begin_line(None, Some(10 * PAUSE)));
}

#[test]
fn another_rollout_of_the_same_session_is_told_apart() {
    let mut copied = CopiedContext::default();
    assert_eq!(copied.session_meta(meta(5, None, None)), SessionMetaKind::NewSession);
    assert_eq!(copied.session_meta(meta(5, None, None)), SessionMetaKind::SameSession);
    assert_eq!(copied.session_meta(meta(6, None, None)), SessionMetaKind::NewSession);
    assert_eq!(copied.session_meta(SessionMeta::default()), SessionMetaKind::NewSession);
    assert_eq!(copied.session_meta(SessionMeta::default()), SessionMetaKind::NewSession);
}

#[test]
fn an_ordinal_does_not_end_the_copy_in_a_file_without_ordinals() {
    let mut copied = CopiedContext::default();
    copied.session_meta(SessionMeta { ordinal: None, ..meta(5, Some(3), Some(12)) });
    assert_eq!(copied.session_meta(meta(3, None, None)), SessionMetaKind::CopiedHistory);
    copied.begin_turn(&turn(4), None);
    assert!(covers(&mut copied, None));
    copied.begin_turn(&turn(6), None);
    assert!(!covers(&mut copied, None));
}

#[test]
fn an_earlier_session_meta_in_a_copy_is_copied_if_no_pause_precedes_it() {
    let at = |copied: &mut CopiedContext, time: Nanos, number| {
        copied.begin_line(None, Some(time));
        copied.session_meta(SessionMeta { time: Some(time), ..meta(number, None, None) })
    };
    let mut copied = CopiedContext::default();
    copied.session_meta(meta(5, Some(3), None));
    assert_eq!(at(&mut copied, 0, 3), SessionMetaKind::CopiedHistory);
    // The parent's parent, which the parent does not name, and the parent itself, which was resumed.
    assert_eq!(at(&mut copied, 1, 2), SessionMetaKind::CopiedHistory);
    copied.begin_turn(&turn(4), Some(1));
    assert_eq!(at(&mut copied, 2, 3), SessionMetaKind::CopiedHistory);
    assert!(copied.begin_line(None, Some(3)));
    // A later session, and rollouts that were written at another time.
    for (time, number) in [(4, 6), (3 + PAUSE, 2), (-1, 2)] {
        let mut copied = copied.clone();
        assert_eq!(at(&mut copied, time, number), SessionMetaKind::NewSession);
        assert!(!copied.begin_line(None, Some(time)));
    }
}
