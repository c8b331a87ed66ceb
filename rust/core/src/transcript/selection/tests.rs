use std::io::Write;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

const HEADER: &str = r#"{"type":"header"}"#;
const USER: &str = r#"{"type":"step","source":"user","message":""}"#;
const AGENT: &str = r#"{"type":"step","source":"agent","message":""}"#;
const TOOL: &str = r#"{"type":"observation","results":[]}"#;
const MALFORMED: &str = r#"{"type":"step","#;

fn stream_of(lines: &[String]) -> Stream {
    let mut file = tempfile::tempfile().expect("can be made");
    let text = lines.iter().flat_map(|line| [line, "\n"]).collect::<String>();
    file.write_all(text.as_bytes()).expect("can be written");
    Stream::of(file, PathBuf::from("stream"), text.len() as u64)
}

/// The places of the wanted records, by reading all.
fn wanted(stream: &Stream, selection: &Selection) -> Vec<Place> {
    let mut tape = Tape::default();
    let mut lines = stream.lines();
    let mut places = Vec::new();
    while let Some(line) = lines.next_line().expect("can be read") {
        if Record::read(line.text, &mut tape).is_ok_and(|record| selection.takes(record.kind())) {
            places.push(line.place);
        }
    }
    places
}

#[test]
fn the_header_is_wanted_only_where_it_is_asked_for_and_never_as_somebodys() {
    let people = Selection::default();
    assert!(!people.takes(RecordKind::Header) && people.takes(RecordKind::Other));
    let programs = Selection { has_header: true, ..Selection::default() };
    assert!(programs.takes(RecordKind::Header));
    let tools = Selection { roles: vec![Role::Tool], has_header: true, ..Selection::default() };
    assert!(!tools.takes(RecordKind::Header) && tools.takes(RecordKind::Observation));
}

proptest! {
    #[test]
    fn a_tail_starts_at_the_last_so_many_of_a_full_reading(
        lines in prop::collection::vec((prop::sample::select(vec![HEADER, USER, AGENT, TOOL, MALFORMED, ""]), 0_usize..3000), 0..60),
        count in 1_u64..20,
        roles in prop::sample::subsequence(Role::ALL.to_vec(), 0..4),
        has_header: bool,
    ) {
        // White space before a record makes lines of any length.
        let lines: Vec<String> = lines.iter().map(|(line, blanks)| " ".repeat(*blanks) + line).collect();
        let stream = stream_of(&lines);
        let selection = Selection { roles, window: Window::Tail(count), has_header, is_python: false };
        let all = wanted(&stream, &selection);
        let start = selection.start_of_tail(&stream).expect("can be read");
        match usize::try_from(count).expect("is small") {
            few if few <= all.len() => prop_assert_eq!(start, Some(all[all.len() - few])),
            _ => prop_assert_eq!(start, None),
        }
    }
}
