use std::io::Write;

use proptest::prelude::*;

use super::*;

/// Returns an id of version 7. Ids sort by `number`.
fn uuid(number: u32) -> String {
    format!("01a20218-{number:04x}-7000-8000-00000000beef")
}

fn turn(number: u32) -> TurnId {
    TurnId(Name::new(uuid(number).as_bytes(), false))
}

fn thread(number: u32) -> ThreadId {
    ThreadId(Name::new(uuid(number).as_bytes(), false))
}

/// The number of the default thread.
const THREAD: u32 = 5;

/// Returns a line in the format of Codex. `rest` is the rest of the payload, after its type.
fn line(kind: &str, payload_kind: &str, rest: &str) -> String {
    format!(
        "{{\"timestamp\":\"2026-11-22T07:15:36.123Z\",\"ordinal\":3,\"type\":\"{kind}\",\"payload\":{{\"type\":\"{payload_kind}\"{rest}}}}}\n"
    )
}

fn event(payload_kind: &str, number: u32) -> String {
    line("event_msg", payload_kind, &format!(",\"turn_id\":\"{}\",\"x\":1", uuid(number)))
}

fn began(number: u32) -> String {
    event("task_started", number)
}

fn ended(number: u32) -> String {
    event("task_complete", number)
}

/// Returns a line that names a turn without beginning or ending it.
fn naming(number: u32) -> String {
    line("response_item", "message", &format!(",\"metadata\":{{\"turn_id\":\"{}\"}}", uuid(number)))
}

/// Returns the call that asks the user a question.
fn question() -> String {
    line(
        "response_item",
        "function_call",
        ",\"status\":\"completed\",\"name\":\"request_user_input\",\"arguments\":\"{}\"",
    )
}

/// Returns the output of a call.
fn output() -> String {
    line("response_item", "function_call_output", ",\"call_id\":\"c\",\"output\":\"x\"")
}

fn rolled_back() -> String {
    line("event_msg", "thread_rolled_back", ",\"num_turns\":1")
}

/// Returns a thread whose rollout was read up to `read_offset` without the beginning of `turn`. The turn was stopped when
/// the rollout was empty.
fn known(turn: &TurnId, read_offset: u64) -> KnownThread {
    KnownThread {
        thread: thread(THREAD),
        turn: turn.clone(),
        stopped_at: Some(0),
        read_offset,
        ..KnownThread::default()
    }
}

fn read_text(text: &str, turn: &TurnId) -> Signals {
    read_lines(text.as_bytes(), 0, &known(turn, 0)).expect("can be read")
}

/// Returns the signals of lines if no turn is known.
fn signals(lines: &[&str]) -> Vec<(TurnId, Signal)> {
    read_text(&lines.concat(), &TurnId::default()).list
}

#[test]
fn beginnings_and_all_kinds_of_ends_are_signals() {
    for (kind, signal) in [
        ("task_started", Signal::Began),
        ("turn_started", Signal::Began),
        ("task_complete", Signal::Ended),
        ("turn_complete", Signal::Ended),
        ("turn_aborted", Signal::Ended),
    ] {
        assert_eq!(signals(&[&event(kind, 6)]), [(turn(6), signal)]);
    }
    assert_eq!(signals(&[&rolled_back()]), [(TurnId::default(), Signal::RolledBack)]);
}

/// Returns a line with a compaction.
fn compacted() -> String {
    line("compacted", "", ",\"message\":\"\",\"replacement_history\":[]").replace("\"type\":\"\",", "")
}

/// Returns the lines of a prompt, as versions before and since 0.147 write them.
fn prompts(number: u32) -> [String; 2] {
    let item = format!(
        ",\"thread_id\":\"{}\",\"turn_id\":\"{}\",\"item\":{{\"type\":\"UserMessage\",\"id\":\"u\"}}",
        uuid(THREAD),
        uuid(number)
    );
    [line("event_msg", "user_message", ",\"message\":\"Hi\""), line("event_msg", "item_completed", &item)]
}

#[test]
fn compactions_and_prompts_are_signals_of_the_turn_that_has_begun() {
    let none = TurnId::default;
    let begun = (turn(6), Signal::Began);
    let compaction = (none(), Signal::CompactionRead);
    let over = (turn(6), Signal::Ended);
    let expected = [begun.clone(), compaction.clone(), over.clone()];
    assert_eq!(signals(&[&began(6), &compacted(), &compacted(), &ended(6)]), expected);
    let other_form = "{\"payload\":{\"replacement_history\":[]},\"type\":\"compacted\"}\n";
    assert_eq!(signals(&[&began(6), other_form, &ended(6)]), expected);
    for prompt in prompts(6) {
        let expected = [begun.clone(), (none(), Signal::PromptRead), compaction.clone(), over.clone()];
        assert_eq!(signals(&[&began(6), &prompt, &prompt, &compacted(), &prompt, &ended(6)]), expected, "{prompt}");
        // Those of earlier turns do not matter, and what precedes the first turn is a copy.
        assert_eq!(signals(&[&prompt, &compacted(), &began(6)]), std::slice::from_ref(&begun));
        let later = [(turn(7), Signal::Began), (none(), Signal::PromptRead)];
        assert_eq!(signals(&[&began(6), &prompt, &compacted(), &ended(6), &began(7), &prompt]), later);
        // Two records in one line.
        let damaged = format!("{}{}", compacted().trim_end(), prompt);
        let expected = [begun.clone(), compaction.clone(), (none(), Signal::PromptRead)];
        assert_eq!(signals(&[&began(6), &damaged]), expected);
    }
    for other in [
        line("event_msg", "item_completed", ",\"item\":{\"type\":\"AgentMessage\",\"text\":\"UserMessage\"}"),
        line("event_msg", "context_compacted", ""),
        line("response_item", "message", ",\"role\":\"user\""),
        line("response_item", "compacted", ""),
    ] {
        assert_eq!(signals(&[&began(6), &other]), std::slice::from_ref(&begun), "{other}");
    }
}

#[test]
fn the_prompt_of_a_stopped_turn_names_it() {
    let [_, prompt] = prompts(6);
    let mut read = known(&turn(6), 0);
    read.has_read_beginning = true;
    let signals = read_lines(prompt.as_bytes(), 0, &read).expect("can be read").list;
    let line_end = prompt.len() as u64;
    assert_eq!(signals, [(TurnId::default(), Signal::PromptRead), (turn(6), Signal::Named { line_end })]);
}

#[test]
fn a_large_compaction_is_not_parsed() {
    let history = "x".repeat(MAX_KEPT + 5);
    let large = line("compacted", "", &format!(",\"message\":\"{history}\"")).replace("\"type\":\"\",", "");
    let expected = [(turn(6), Signal::Began), (TurnId::default(), Signal::CompactionRead)];
    assert_eq!(signals(&[&began(6), &large]), expected);
}

#[test]
fn lines_in_other_json_formatting_are_equivalent() {
    let id = uuid(6);
    for line in [
        format!(r#"{{"type":"event_msg","payload":{{"turn_id":"{id}","type":"task_started"}}}}"#),
        format!(r#" {{ "payload" : {{ "type" : "task_started" , "turn_id" : "{id}" }} , "type" : "event_msg" }} "#),
        format!(
            r#"{{"timestamp":"2026-11-22T07:15:36Z","type":"event_msg","payload":{{"type":"task_started","turn_id":"{id}"}}}}"#
        ),
        format!(
            r#"{{"timestamp":"2026-11-22T07:15:36.123Z","type":"event_msg","payload":{{"x":{{}},"type":"t\u0061sk_started","turn_id":"{id}"}}}}"#
        ),
        format!(
            r#"{{"type":"x","type":"event_msg","payload":{{"type":"task_started","turn_id":"no","turn_id":"{id}"}}}}"#
        ),
        format!(
            "{{\"type\":\"event_msg\",\"payload\":{{\"type\":\"task_started\",\"turn_id\":\"\\u0030{}\"}}}}\r",
            &id[1..]
        ),
    ] {
        assert_eq!(signals(&[&line, "\n"]), [(turn(6), Signal::Began)], "{line}");
    }
}

#[test]
fn similar_lines_are_not_signals() {
    let quoted = began(6).replace('"', "\\\"").replace('\n', "");
    let id = uuid(6);
    for line in [
        line("response_item", "task_started", &format!(",\"turn_id\":\"{id}\"")),
        line("event_msg", "agent_message", &format!(",\"message\":\"{quoted}\"")),
        line("event_msg", "task_started_", &format!(",\"turn_id\":\"{id}\"")),
        line("event_msg", "task_started", ""),
        line("event_msg", "task_started", ",\"turn_id\":null"),
        line("event_msg", "task_started", ",\"turn_id\":\"\""),
        line("event_msg", "task_started", &format!(",\"info\":{{\"turn_id\":\"{id}\"}}")),
        line("event_msg", "item_completed", &format!(",\"item\":{{\"type\":\"task_started\",\"turn_id\":\"{id}\"}}")),
        began(6)[10..].to_owned(),
        "\n\n{}\nnull\n\"event_msg\"\n\0\n".to_owned(),
    ] {
        assert_eq!(signals(&[&line]), [], "{line}");
    }
}

#[test]
fn signals_in_damaged_lines_are_found() {
    let (begin, end) = (began(6), ended(6));
    let half = line("response_item", "message", ",\"role\":\"user\"");
    let expected = [(turn(6), Signal::Began), (turn(6), Signal::Ended)];
    for before in ["\0\0\0", "\u{FEFF}", &half[..half.len() - 1], &half[..half.len() / 2], &begin[..40], "x"] {
        assert_eq!(signals(&[&begin, before, &end]), expected, "{before}");
        assert_eq!(signals(&[&format!("{}{before}{end}", begin.trim_end())]), expected, "{before}");
    }
}

#[test]
fn only_the_latest_of_several_turns_counts() {
    let expected = [(turn(8), Signal::Began)];
    assert_eq!(signals(&[&began(6), &ended(6), &began(7), &began(8)]), expected);
    assert_eq!(signals(&[&began(8), &ended(7), &ended(6)]), expected);
    let found = read_text(&(began(6) + &ended(6)), &turn(7));
    assert_eq!((found.list.len(), found.latest), (0, turn(7)));
    assert_eq!(read_text(&began(8), &turn(7)).latest, turn(8));
}

#[test]
fn a_turn_that_begins_after_another_is_later_even_if_the_clock_was_set_back() {
    let all = |numbers: &[u32]| numbers.iter().map(|number| (turn(*number), Signal::Began)).collect::<Vec<_>>();
    assert_eq!(signals(&[&began(8), &began(6)]), all(&[8, 6]));
    assert_eq!(signals(&[&began(8), &ended(8), &began(6), &ended(8), &began(7)]), all(&[8, 7]));
    assert_eq!(signals(&[&began(8), &began(6), &began(9)]), all(&[9]));
    // Lines before a turn that only a hook has reported so far.
    assert_eq!(read_text(&(began(6) + &ended(6)), &turn(8)).list, []);
    assert_eq!(read_text(&(began(6) + &began(8) + &began(7)), &turn(8)).list, all(&[8, 7]));
    let read_after = |read: u64, from: u64| {
        let known = KnownThread { has_read_beginning: true, ..known(&turn(8), read) };
        read_lines(began(6).as_bytes(), from, &known).expect("can be read").list
    };
    assert_eq!(read_after(100, 100), all(&[8, 6]));
    // A rewritten file.
    assert_eq!(read_after(100, 0), []);
}

#[test]
fn turns_that_are_older_than_the_thread_are_copies() {
    assert_eq!(signals(&[&began(4), &ended(4), &event("turn_aborted", THREAD)]), []);
    assert_eq!(signals(&[&began(6), &event("turn_aborted", 4)]), [(turn(6), Signal::Began)]);
    assert_eq!(read_text(&began(4), &TurnId::default()).latest, TurnId::default());
    // The clock was set back after a turn of the thread.
    assert_eq!(signals(&[&began(6), &ended(6), &began(4)]), [(turn(6), Signal::Began), (turn(4), Signal::Began)]);
}

#[test]
fn turns_with_other_ids_are_ordered_by_their_lines() {
    let named = |kind: &str, id: &str| line("event_msg", kind, &format!(",\"turn_id\":\"{id}\""));
    let found = signals(&[&named("task_started", "b"), &named("task_complete", "b"), &named("task_started", "a")]);
    assert_eq!(found, [(TurnId(Name::new(b"a", false)), Signal::Began)]);
}

#[test]
fn a_line_that_names_the_stopped_turn_is_a_signal_with_its_end() {
    let text = naming(6) + &line("response_item", "message", "") + &naming(7);
    let end = |count: usize| text.lines().take(count).map(|line| line.len() as u64 + 1).sum::<u64>();
    let named = |number, line_end| vec![(turn(number), Signal::Named { line_end })];
    assert_eq!(read_text(&text, &turn(6)).list, named(6, end(1)));
    assert_eq!(read_text(&text, &turn(7)).list, named(7, end(3)));
    assert_eq!(read_text(&text, &TurnId::default()).list, []);
    // Only the last of several lines counts.
    assert_eq!(read_text(&(naming(6) + &text), &turn(6)).list, named(6, naming(6).len() as u64 + end(1)));
    // Lines before the stop do not count, and names of a running turn are not signals.
    let stopped_at = |size| KnownThread { stopped_at: size, ..known(&turn(6), 0) };
    let signals = |known: &KnownThread| read_lines(text.as_bytes(), 0, known).expect("can be read").list;
    assert_eq!(signals(&stopped_at(Some(end(1) - 1))), named(6, end(1)));
    assert_eq!(signals(&stopped_at(Some(end(1)))), []);
    assert_eq!(signals(&stopped_at(None)), []);
    // In a string the same bytes are escaped.
    let quoting = line("response_item", "message", &format!(",\"text\":\"\\\"turn_id\\\":\\\"{}\\\"\"", uuid(6)));
    assert_eq!(read_text(&quoting, &turn(6)).list, []);
}

#[test]
fn names_of_a_turn_keep_their_order_relative_to_its_beginning_and_end() {
    let lines = [began(6), naming(6), naming(6), ended(6), naming(6)];
    let ends: Vec<u64> =
        (1..=lines.len()).map(|count| lines[..count].iter().map(|line| line.len() as u64).sum()).collect();
    let expected = [
        (turn(6), Signal::Began),
        (turn(6), Signal::Named { line_end: ends[2] }),
        (turn(6), Signal::Ended),
        (turn(6), Signal::Named { line_end: ends[4] }),
    ];
    assert_eq!(read_text(&lines.concat(), &turn(6)).list, expected);
    assert_eq!(read_text(&lines.concat(), &TurnId::default()).list, [expected[0].clone(), expected[2].clone()]);
}

#[test]
fn an_incomplete_last_line_is_read_once_it_is_complete() {
    let text = began(6) + &ended(6);
    let first = began(6).len();
    for cut in first..text.len() {
        let found = read_text(&text[..cut], &TurnId::default());
        assert_eq!((found.list, found.read_offset), (vec![(turn(6), Signal::Began)], first as u64));
        let rest = &text.as_bytes()[first..];
        let found = read_lines(rest, first as u64, &known(&turn(6), first as u64)).expect("can be read");
        assert_eq!((found.list, found.read_offset), (vec![(turn(6), Signal::Ended)], text.len() as u64));
    }
}

#[test]
fn only_new_lines_are_read_and_a_shorter_file_is_read_from_its_start() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all((began(6) + &ended(6) + &naming(6)).as_bytes()).expect("can be written");
    let size = file.as_file().metadata().expect("it exists").len();
    let read_from = |from: u64| read(file.path(), &known(&turn(6), from), u64::MAX).expect("can be read");
    let first = began(6).len() as u64;
    let new = [(turn(6), Signal::Ended), (turn(6), Signal::Named { line_end: size })];
    assert_eq!(read_from(first).list, new);
    assert_eq!(read_from(first).read_offset, size);
    assert_eq!(read_from(size), Signals { latest: turn(6), read_offset: size, ..Signals::default() });
    assert_eq!(read_from(size + 1).list, read_from(0).list);
    assert_eq!(read_from(u64::MAX).list.len(), 3);
}

#[test]
fn the_middle_of_a_huge_line_is_skipped() {
    let (head, tail) = (line("compacted", "x", ",\"message\":\"@\""), naming(6));
    let (head, end) = head.split_once('@').expect("it exists");
    let size = MAX_KEPT as u64 * 3 + 12_345;
    let input = head.as_bytes().chain(io::repeat(b'x').take(size)).chain(end.as_bytes()).chain(tail.as_bytes());
    let found = read_lines(input, 0, &known(&turn(6), 0)).expect("can be read");
    let length = (head.len() + end.len() + tail.len()) as u64 + size;
    assert_eq!((found.list, found.read_offset), (vec![(turn(6), Signal::Named { line_end: length })], length));
}

#[test]
fn only_the_end_of_a_large_file_is_read_if_the_length_is_limited() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let text = began(6) + &ended(6) + &began(7) + &naming(7) + &ended(7);
    file.write_all(text.as_bytes()).expect("can be written");
    let size = text.len() as u64;
    let read_from = |from: u64, limit: u64| read_end(file.path(), limit, &known(&turn(6), from)).expect("can be read");
    assert_eq!(read_from(0, size).list, read_text(&text, &turn(6)).list);
    let end = ended(7).len() as u64;
    // The rest of the line before is not a signal.
    for limit in [end, end + 1, end + 50] {
        let found = read_from(3, limit);
        assert_eq!((found.list, found.read_offset), (vec![(turn(7), Signal::Ended)], 3));
    }
    assert_eq!(read_from(3, end - 1).list, []);
    assert_eq!(read_from(size, size).list, []);
}

#[test]
fn a_compressed_rollout_has_the_same_signals() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rollout.jsonl");
    let text = began(6) + &ended(6) + &naming(6);
    let compressed = zstd::encode_all(text.as_bytes(), 0).expect("can be compressed");
    std::fs::write(folder.path().join("rollout.jsonl.zst"), compressed).expect("can be written");
    let read_from = |from: u64| read(&path, &known(&turn(6), from), u64::MAX).expect("can be read");
    assert_eq!(read_from(0), read_text(&text, &turn(6)));
    assert_eq!(read_from(began(6).len() as u64).list.len(), 2);
    assert_eq!(
        read_from(text.len() as u64),
        Signals { latest: turn(6), read_offset: text.len() as u64, ..Signals::default() }
    );
    assert_eq!(read_from(text.len() as u64 + 1).read_offset, text.len() as u64);
    // Both files can exist for a moment.
    std::fs::write(&path, began(7)).expect("can be written");
    assert_eq!(read_from(0).latest, turn(7));
}

#[test]
fn anything_but_a_regular_file_is_an_error_without_waiting() {
    let folder = tempfile::tempdir().expect("a folder");
    let try_to_read = |path: &Path| read(path, &known(&turn(6), 0), u64::MAX).map_err(|error| error.kind());
    assert_eq!(try_to_read(&folder.path().join("none")), Err(io::ErrorKind::NotFound));
    assert_eq!(try_to_read(folder.path()), Err(io::ErrorKind::IsADirectory));
    assert_eq!(try_to_read(Path::new("/dev/zero")), Err(io::ErrorKind::Other));
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("can be created");
    assert_eq!(try_to_read(&pipe), Err(io::ErrorKind::Other));
}

#[test]
fn the_number_of_signals_is_bounded() {
    let back_and_forth = (began(6) + &rolled_back() + &naming(6)).repeat(50);
    let found = read_text(&(rolled_back() + &back_and_forth), &turn(6));
    let kinds: Vec<Signal> = found.list.iter().map(|(_, signal)| *signal).collect();
    // The rollback before the beginning of the turn does not concern it.
    let Some((last @ Signal::Named { .. }, kinds)) = kinds.split_last() else { panic!("{kinds:?}") };
    assert_eq!(kinds, [Signal::RolledBack, Signal::Began, Signal::RolledBack], "{last:?}");
    assert!(signals(&[&(began(6) + &ended(6)).repeat(50)]).len() <= 3);
    let found = read_text(&(rolled_back() + &began(6) + &rolled_back()).repeat(20), &turn(6));
    assert!(found.list.len() <= 4);
    assert_eq!(found.list[0].1, Signal::RolledBack);
}

#[test]
fn a_question_is_read_from_its_call_to_its_output() {
    let start = began(6);
    let asked = (start.len() + question().len()) as u64;
    let answered = asked + output().len() as u64;
    let found = signals(&[&start, &output(), &question()]);
    let asked_later = asked + output().len() as u64;
    assert_eq!(found, [(turn(6), Signal::Began), (turn(6), Signal::QuestionRead { line_end: asked_later })]);
    let found = signals(&[&start, &question(), &output()]);
    assert_eq!(found, [(turn(6), Signal::Began), (turn(6), Signal::OutputRead { line_end: answered })]);
    // Another key order, and blanks.
    let other = r#"{"payload": {"name": "request_user_input", "type": "function_call"}, "type": "response_item"}"#;
    let found = signals(&[&start, other, "\n"]);
    assert_eq!(found[1].1, Signal::QuestionRead { line_end: (start.len() + other.len() + 1) as u64 });
}

#[test]
fn calls_that_are_no_questions_and_copies_of_questions_are_no_signals() {
    let call = |name: &str| {
        line(
            "response_item",
            "function_call",
            &format!(",\"name\":\"{name}\",\"arguments\":\"\\\"name\\\":\\\"request_user_input\\\"\""),
        )
    };
    assert_eq!(signals(&[&began(6), &call("exec_command"), &output()]), [(turn(6), Signal::Began)]);
    // A copy precedes the thread's own turns.
    assert_eq!(signals(&[&began(3), &question(), &output(), &began(6)]), [(turn(6), Signal::Began)]);
}

#[test]
fn an_output_is_a_signal_only_after_the_request_to_the_user() {
    let text = began(6) + &output() + &line("response_item", "custom_tool_call_output", "");
    let first = (began(6).len() + output().len()) as u64;
    let read = |asked_at| {
        let known = KnownThread { asked_at, ..known(&turn(6), 0) };
        read_lines(text.as_bytes(), 0, &known).expect("can be read").list.len()
    };
    assert_eq!([None, Some(0), Some(first), Some(text.len() as u64)].map(read), [1, 2, 2, 1]);
}

/// A line of a rollout.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (1_u32..10).prop_map(began),
        3 => (1_u32..10).prop_map(ended),
        1 => (1_u32..10).prop_map(|number| event("turn_aborted", number)),
        4 => (1_u32..10).prop_map(naming),
        1 => Just(rolled_back()),
        3 => Just(question()),
        3 => Just(output()),
        1 => Just("junk\n".to_owned()),
        1 => Just("{\"type\":\"event_msg\"\n".to_owned()),
    ]
}

proptest! {
    #[test]
    fn reading_in_parts_leads_to_the_same_state(
        mut pieces in prop::collection::vec(piece(), 0..20),
        cut in any::<prop::sample::Index>(),
    ) {
        use crate::lifecycle::state::{SignalSource, State, ThreadKey};
        // No turn begins twice.
        let mut begun = std::collections::HashSet::new();
        pieces.retain(|piece| !piece.contains("task_started") || begun.insert(piece.clone()));
        let text = pieces.concat();
        let cut = cut.index(text.len() + 1);
        let apply = |state: &mut State, from: usize, until: usize| {
            let read = from as u64;
            let known = KnownThread {
                has_read_beginning: state.root.has_read_beginning(),
                asked_at: state.root.asked_at(),
                ..known(&state.root.turn, read)
            };
            let found = read_lines(&text.as_bytes()[from..until], read, &known).expect("can be read");
            for (turn, signal) in found.list {
                state.apply(&ThreadKey::Root, &turn, signal, SignalSource::Rollout, 0);
            }
            usize::try_from(found.read_offset).expect("small")
        };
        let (mut complete, mut parts) = (State::default(), State::default());
        complete.set_session(&thread(THREAD));
        parts.set_session(&thread(THREAD));
        apply(&mut complete, 0, text.len());
        let read = apply(&mut parts, 0, cut);
        prop_assert_eq!(read, text[..cut].rfind('\n').map_or(0, |newline| newline + 1));
        apply(&mut parts, read, text.len());
        prop_assert_eq!((&complete.root.turn, complete.root.phase), (&parts.root.turn, parts.root.phase));
        prop_assert_eq!(complete.root.request, parts.root.request);
    }

    #[test]
    fn the_turn_that_begins_last_is_the_latest(
        numbers in prop::collection::btree_set(6_u32..20, 1..6).prop_map(Vec::from_iter).prop_shuffle(),
        ends in prop::collection::vec(any::<bool>(), 6),
        cut in any::<prop::sample::Index>(),
    ) {
        use crate::lifecycle::state::{SignalSource, State, ThreadKey};
        let turns = numbers.iter().zip(&ends).map(|(number, is_over)| {
            began(*number) + &naming(*number) + if *is_over { ended(*number) } else { String::new() }.as_str()
        });
        // A late end of the first turn.
        let text = turns.collect::<String>() + &ended(numbers[0]).repeat(usize::from(numbers.len() > 1));
        let cut = text[..cut.index(text.len() + 1)].rfind('\n').map_or(0, |newline| newline + 1);
        let mut state = State::default();
        state.set_session(&thread(THREAD));
        for (from, until) in [(0, cut), (cut, text.len())] {
            let read = from as u64;
            let known = KnownThread { has_read_beginning: state.root.has_read_beginning(), ..known(&state.root.turn, read) };
            for (turn, signal) in read_lines(&text.as_bytes()[from..until], read, &known).expect("can be read").list {
                state.apply(&ThreadKey::Root, &turn, signal, SignalSource::Rollout, 0);
            }
        }
        prop_assert_eq!(&state.root.turn, &turn(*numbers.last().expect("one")));
        prop_assert_eq!(state.is_active(), !ends[numbers.len() - 1]);
    }

    #[test]
    fn arbitrary_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..200), pieces in prop::collection::vec(piece(), 0..4), at in any::<prop::sample::Index>()) {
        let text = pieces.concat();
        let at = at.index(text.len() + 1);
        let text = [&text.as_bytes()[..at], &bytes, &text.as_bytes()[at..]].concat();
        let found = read_lines(&text[..], 0, &known(&turn(6), 0)).expect("can be read");
        prop_assert!(found.read_offset <= text.len() as u64 && found.list.len() <= 8);
    }
}
