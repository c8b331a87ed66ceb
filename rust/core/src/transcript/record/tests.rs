use super::*;

fn kind(line: &str) -> RecordKind {
    let mut bytes = line.as_bytes().to_vec();
    let mut tape = Tape::default();
    Record::read(Text::pad(&mut bytes), &mut tape).expect("is an object").kind()
}

#[test]
fn records_are_told_by_their_type_and_source() {
    for (line, expected) in [
        (r#"{"type":"header"}"#, RecordKind::Header),
        (r#"{"type":"step","source":"user"}"#, RecordKind::Step(Some(Role::User))),
        (r#"{"type":"step","source":"agent"}"#, RecordKind::Step(Some(Role::Agent))),
        (r#"{"type":"step","source":"system"}"#, RecordKind::Step(Some(Role::System))),
        (r#"{"type":"step","source":"tool"}"#, RecordKind::Step(None)),
        (r#"{"type":"step","source":["user"]}"#, RecordKind::Step(None)),
        (r#"{"type":"step"}"#, RecordKind::Step(None)),
        (r#"{"type":"observation"}"#, RecordKind::Observation),
        (r#"{"type":"assistant_message"}"#, RecordKind::Retired),
        (r#"{"type":"turn"}"#, RecordKind::Other),
        (r#"{"type":1}"#, RecordKind::Other),
        ("{}", RecordKind::Other),
        // As Python reads it: the last of one name, and escapes as what they stand for.
        (r#"{"type":"header","type":"observation"}"#, RecordKind::Observation),
        (r#"{"t\u0079pe":"st\u0065p","source":"us\u0065r"}"#, RecordKind::Step(Some(Role::User))),
    ] {
        assert_eq!(kind(line), expected, "{line}");
    }
}

#[test]
fn a_member_inside_another_is_none_of_the_record() {
    assert_eq!(kind(r#"{"extra":{"type":"header"}}"#), RecordKind::Other);
}

#[test]
fn what_is_no_object_is_malformed() {
    for line in ["[1]", "", "{", "\"step\""] {
        let mut bytes = line.as_bytes().to_vec();
        assert!(Record::read(Text::pad(&mut bytes), &mut Tape::default()).is_err(), "{line}");
    }
}
