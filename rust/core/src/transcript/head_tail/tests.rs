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
    let mut file = tempfile::tempfile().expect("can be created");
    let text = lines.iter().flat_map(|line| [line, "\n"]).collect::<String>();
    file.write_all(text.as_bytes()).expect("can be written");
    Stream::of(file, PathBuf::from("stream"), text.len() as u64)
}

/// Returns the positions of all selected records, by reading forwards.
fn selected(stream: &Stream, selection: &Selection) -> Vec<StreamPosition> {
    let mut tape = Tape::default();
    let mut lines = stream.lines();
    let mut positions = Vec::new();
    while let Some(line) = lines.next_line().expect("can be read") {
        if Record::read(line.text, &mut tape).is_ok_and(|record| selection.includes(record.kind())) {
            positions.push(line.position);
        }
    }
    positions
}

#[test]
fn the_header_is_included_on_request_and_has_no_role() {
    let default = Selection::default();
    assert!(!default.includes(RecordKind::Header) && default.includes(RecordKind::Other));
    let with_header = Selection { has_header: true, ..Selection::default() };
    assert!(with_header.includes(RecordKind::Header));
    let tools = Selection { roles: vec![Role::Tool], has_header: true, ..Selection::default() };
    assert!(!tools.includes(RecordKind::Header) && tools.includes(RecordKind::Observation));
}

proptest! {
    #[test]
    fn a_tail_starts_where_reading_forwards_finds_it(
        lines in prop::collection::vec((prop::sample::select(vec![HEADER, USER, AGENT, TOOL, MALFORMED, ""]), 0_usize..3000), 0..60),
        count in 1_u64..20,
        roles in prop::sample::subsequence(Role::ALL.to_vec(), 0..4),
        has_header: bool,
    ) {
        // Blanks before a record vary the lengths of the lines.
        let lines: Vec<String> = lines.iter().map(|(line, blanks)| " ".repeat(*blanks) + line).collect();
        let stream = stream_of(&lines);
        let selection = Selection { roles, window: Window::Tail(count), has_header, skips_python_line_breaks: false };
        let all = selected(&stream, &selection);
        let start = selection.tail_start(&stream).expect("can be read");
        match usize::try_from(count).expect("is small") {
            count if count <= all.len() => prop_assert_eq!(start, Some(all[all.len() - count])),
            _ => prop_assert_eq!(start, None),
        }
    }
}
