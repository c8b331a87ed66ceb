use super::*;
use crate::meter::{LinePosition, Measures};
use crate::rollout::ids::Name;

fn thread(id: &str) -> ThreadId {
    ThreadId(Name::new(id.as_bytes(), false))
}

fn rollout(path: &str, input: u64, at: u64) -> MeasuredRollout {
    let tokens = Tokens { input, cached_input: input / 4, output: 1, reasoning_output: 0 };
    let counted = Some(LinePosition { at, end: at + 5 });
    let mut measures = Measures::default();
    (measures.thread, measures.tokens, measures.counted) = (thread("t"), tokens, counted);
    let mut rollout = MeasuredRollout { path: path.to_owned(), measures, ..MeasuredRollout::default() };
    let folder = tempfile::tempdir().expect("a folder");
    rollout.stamp = crate::follow::rollout_file::FileStamp::of(folder.path()).ok();
    rollout
}

fn event(rollouts: &[MeasuredRollout], reported: &[Reported], inherited: &[Inherited]) -> Option<serde_json::Value> {
    let event = event_of(&thread("t"), rollouts, reported, inherited)?;
    Some(serde_json::from_slice(&event.line).expect("JSON"))
}

#[test]
fn an_event_has_the_sum_of_a_threads_files() {
    let rollouts = [rollout("/a", 100, 2000), rollout("/b", 20, 1000)];
    let found = event(&rollouts, &[], &[]).expect("an event");
    assert_eq!(found["timestamp"], "1970-01-01T00:00:02.000Z");
    let tokens = serde_json::json!({"input": 90, "output": 2, "cache_read": 30, "cache_creation": null});
    assert_eq!((&found["tokens"], &found["model"]), (&tokens, &serde_json::Value::Null));
}

#[test]
fn a_file_that_is_not_complete_defers_the_event() {
    let mut rollouts = [rollout("/a", 100, 2000), rollout("/b", 20, 1000)];
    rollouts[1].stamp = None;
    assert_eq!(event(&rollouts, &[], &[]), None);
}

#[test]
fn an_id_depends_on_the_content_alone() {
    let id = |rollouts: &[MeasuredRollout]| event(rollouts, &[], &[]).expect("an event")["event_id"].clone();
    let same = id(&[rollout("/a", 100, 2000)]);
    assert_eq!(id(&[rollout("/folder/a.zst", 100, 2000)]), same);
    for other in [rollout("/a", 101, 2000), rollout("/a", 100, 2001), rollout("/b", 100, 2000)] {
        assert_ne!(id(&[other]), same);
    }
}

#[test]
fn reported_numbers_are_never_taken_back() {
    let tokens = Tokens { input: 70, cached_input: 17, output: 9, reasoning_output: 0 };
    let reported = Reported { thread: thread("t"), tokens, at: 9000, ..Reported::default() };
    assert_eq!(event(&[rollout("/a", 70, 2000)], std::slice::from_ref(&reported), &[]), None);
    let found = event(&[rollout("/a", 100, 2000)], &[reported], &[]).expect("an event");
    assert_eq!((&found["tokens"]["output"], &found["timestamp"]), (&9.into(), &"1970-01-01T00:00:09.000Z".into()));
}

#[test]
fn inherited_tokens_are_not_the_agents() {
    let inherited = |input| {
        let tokens = Tokens { input, cached_input: input / 4, output: 1, reasoning_output: 0 };
        [Inherited { thread: thread("t"), tokens, ..Inherited::default() }]
    };
    assert_eq!(event(&[rollout("/a", 100, 2000)], &[], &inherited(100)), None);
    let found = event(&[rollout("/a", 100, 2000)], &[], &inherited(60)).expect("an event");
    assert_eq!(
        found["tokens"],
        serde_json::json!({"input": 30, "output": 0, "cache_read": 10, "cache_creation": null})
    );
}

#[test]
fn names_are_escaped() {
    let mut one = rollout("/a", 100, 2000);
    one.measures.model = Some("a\"\n".to_owned());
    assert_eq!(event(&[one], &[], &[]).expect("an event")["model"], "openai/a\"\n");
}
