use super::*;

fn kind(line: &str) -> RecordKind {
    let mut bytes = line.as_bytes().to_vec();
    let mut tape = Tape::default();
    Record::read(Text::pad(&mut bytes), &mut tape).expect("is an object").kind()
}

#[test]
fn the_kind_depends_on_the_type_and_the_source() {
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
        // As in Python, the last of several members with one name counts, and escapes are decoded.
        (r#"{"type":"header","type":"observation"}"#, RecordKind::Observation),
        (r#"{"t\u0079pe":"st\u0065p","source":"us\u0065r"}"#, RecordKind::Step(Some(Role::User))),
    ] {
        assert_eq!(kind(line), expected, "{line}");
    }
}

#[test]
fn a_nested_type_is_ignored() {
    assert_eq!(kind(r#"{"extra":{"type":"header"}}"#), RecordKind::Other);
}

#[test]
fn other_values_than_objects_are_malformed() {
    for line in ["[1]", "", "{", "\"step\""] {
        let mut bytes = line.as_bytes().to_vec();
        assert!(Record::read(Text::pad(&mut bytes), &mut Tape::default()).is_err(), "{line}");
    }
}
