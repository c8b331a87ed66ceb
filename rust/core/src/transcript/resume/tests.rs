use std::io::Write;
use std::path::PathBuf;

use super::*;

fn stream_of(lines: &[String]) -> Stream {
    let mut file = tempfile::tempfile().expect("can be created");
    let text = lines.iter().flat_map(|line| [line, "\n"]).collect::<String>();
    file.write_all(text.as_bytes()).expect("can be written");
    Stream::of(file, PathBuf::from("stream"), text.len() as u64)
}

fn lines(count: usize) -> Vec<String> {
    (0..count).map(|number| format!(r#"{{"type":"step","source":"user","event_id":"evt-{number}"}}"#)).collect()
}

fn positions(stream: &Stream) -> Vec<StreamPosition> {
    let mut lines = stream.lines_from(StreamPosition::START);
    let mut found = Vec::new();
    while let Some(line) = lines.next_line().expect("can be read") {
        found.push(line.position);
    }
    found.push(stream.end());
    found
}

#[test]
fn it_continues_after_the_record_with_the_id() {
    for count in [1, 2, 70, 200] {
        let stream = stream_of(&lines(count));
        let positions = positions(&stream);
        for shown in 0..count {
            let found = Resumption::after(&stream, format!("evt-{shown}").as_bytes()).expect("can be read");
            let context = positions[(shown + 1).saturating_sub(Resumption::CONTEXT_LINES)];
            assert_eq!(found, Some(Resumption { next: positions[shown + 1], context }));
        }
    }
}

#[test]
fn an_unknown_id_is_not_found() {
    let stream = stream_of(&lines(3));
    assert_eq!(Resumption::after(&stream, b"evt-3").expect("can be read"), None);
    assert_eq!(Resumption::after(&stream_of(&[]), b"evt-0").expect("can be read"), None);
}

#[test]
fn ids_are_compared_as_json_strings_of_the_record_itself() {
    let all = [
        r#"{"event_id":"a\u002Db"}"#.to_owned(),
        r#"{"extra":{"event_id":"a-b"},"event_id":"c"}"#.to_owned(),
        r#"{"event_id":1}"#.to_owned(),
        "damaged a-b".to_owned(),
    ];
    let stream = stream_of(&all);
    let found = Resumption::after(&stream, b"a-b").expect("can be read").expect("is there");
    assert_eq!(found.next, positions(&stream)[1]);
    assert_eq!(last_event_id(&stream).expect("can be read").as_deref(), Some(&b"c"[..]));
    assert_eq!(last_event_id(&stream_of(&[])).expect("can be read"), None);
}
