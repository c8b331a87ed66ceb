use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A reader that returns a few bytes at a time, according to `sizes` in a cycle.
struct InPieces<'b> {
    bytes: &'b [u8],
    sizes: Vec<usize>,
    reads: usize,
}

impl Read for InPieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        if self.reads.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let size = self.sizes[self.reads % self.sizes.len()];
        let size = size.min(buffer.len());
        self.bytes.read(&mut buffer[..size])
    }
}

fn name(text: &str) -> Name {
    let quoted = Value::from(text).to_string();
    Name::new(&quoted.as_bytes()[1..quoted.len() - 1], true)
}

fn session(text: &str) -> Payload {
    Payload { session: ThreadId(name(text)), ..Payload::default() }
}

fn read(json: &str) -> Result<Payload, PayloadError> {
    Payload::read(json.as_bytes(), true)
}

/// Parses a payload with `serde_json`. Returns `None` if it should be rejected.
fn model(json: &[u8]) -> Option<Payload> {
    let object: serde_json::Map<String, Value> = serde_json::from_slice(json).ok()?;
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let is_name = |text: &&str| {
        let is_plain = |character: char| !matches!(character, '/' | '\\' | '"' | '\0'..='\x1f');
        !matches!(*text, "" | "." | "..") && text.len() <= 255 && text.chars().all(is_plain)
    };
    let path = |key: &str| {
        let is_path = |path: &&str| path.starts_with('/') && path.len() < 4096 && !path.contains(char::is_control);
        text(key).filter(is_path).map(str::to_owned)
    };
    Some(Payload {
        session: ThreadId(name(text("session_id").filter(is_name)?)),
        turn: TurnId(Some(text("turn_id").map(name).unwrap_or_default()).filter(|id| id.as_bytes().len() <= 255)?),
        agent: text("agent_id")
            .map(|id| is_name(&id).then(|| ThreadId(name(id))))
            .map_or(Some(None), |id| id.map(Some))?,
        transcript: path("transcript_path"),
        agent_transcript: path("agent_transcript_path"),
        is_question: text("tool_name") == Some("request_user_input"),
        trigger: match text("trigger") {
            Some("manual") => Some(Trigger::Manual),
            Some("auto") => Some(Trigger::Auto),
            _ => None,
        },
        folder: path("cwd"),
    })
}

#[test]
fn payloads_of_codex_are_parsed() {
    let payload = read(concat!(
        r#"{"session_id":"01a20219-1e67-70e3-8b89-9e2fda1f8bb4","turn_id":"01a20219-1e7c-70e2-a2fc-37e87cb35949","#,
        r#""transcript_path":"/c/sessions/2026/11/22/rollout-p.jsonl","agent_transcript_path":"/c/rollout-a.jsonl","#,
        r#""cwd":"/srv","hook_event_name":"SubagentStop","model":"gpt-5.5","permission_mode":"default","#,
        r#""stop_hook_active":false,"agent_id":"01a20219-2222-70e3-8b89-9e2fda1f8bb4","agent_type":"default"}"#,
    ));
    let expected = Payload {
        session: ThreadId(name("01a20219-1e67-70e3-8b89-9e2fda1f8bb4")),
        turn: TurnId(name("01a20219-1e7c-70e2-a2fc-37e87cb35949")),
        agent: Some(ThreadId(name("01a20219-2222-70e3-8b89-9e2fda1f8bb4"))),
        transcript: Some("/c/sessions/2026/11/22/rollout-p.jsonl".to_owned()),
        agent_transcript: Some("/c/rollout-a.jsonl".to_owned()),
        is_question: false,
        trigger: None,
        folder: Some("/srv".to_owned()),
    };
    assert_eq!(payload.expect("usable"), expected);
    // An ephemeral session has no rollout.
    let payload = read(r#"{"session_id":"s","turn_id":"t","transcript_path":null}"#).expect("usable");
    assert_eq!(payload, Payload { turn: TurnId(name("t")), ..session("s") });
}

#[test]
fn escaped_keys_and_values_are_equivalent_to_plain_ones() {
    let json = r#"{"\u0073ession_id":"\u0061b","transcript_path":"\/a\u00e4\ud83d\ude00","turn\u005fid":"x"}"#;
    let expected = Payload { turn: TurnId(name("x")), transcript: Some("/aä😀".to_owned()), ..session("ab") };
    assert_eq!(read(json).expect("valid"), expected);
}

#[test]
fn the_tool_that_asks_a_question_is_known() {
    let question = Payload { is_question: true, ..session("s") };
    for name in ["request_user_input", r"request\u005fuser\u005finput"] {
        assert_eq!(read(&format!(r#"{{"session_id":"s","tool_name":"{name}"}}"#)).expect("valid"), question);
    }
    for other in [
        r#"{"session_id":"s","tool_name":"Bash","tool_input":{"tool_name":"request_user_input"}}"#,
        r#"{"session_id":"s","tool_name":"request_user_inputs"}"#,
        r#"{"session_id":"s","tool_name":["request_user_input"]}"#,
    ] {
        assert_eq!(read(other).expect("valid"), session("s"));
    }
}

#[test]
fn the_trigger_of_a_compaction_is_known() {
    for (name, trigger) in [("manual", Some(Trigger::Manual)), ("auto", Some(Trigger::Auto)), ("other", None)] {
        let payload = read(&format!(r#"{{"session_id":"s","hook_event_name":"PostCompact","trigger":"{name}"}}"#));
        assert_eq!(payload.expect("valid"), Payload { trigger, ..session("s") });
    }
}

#[test]
fn nested_copies_of_keys_are_ignored() {
    let json = concat!(
        r#"{"tool_input":{"session_id":"no","turn_id":"no"},"prompt":"\"session_id\":\"no\"","session_id":"yes","#,
        r#""tool_response":[{"agent_id":"no","transcript_path":"/no"}],"x":{"y":[{"turn_id":"no"}]}}"#
    );
    assert_eq!(read(json).expect("valid"), session("yes"));
}

#[test]
fn the_last_of_repeated_keys_counts() {
    let json = r#"{"session_id":"a","agent_id":"/","transcript_path":"/a","session_id":"..","session_id":"b","agent_id":null,"transcript_path":7}"#;
    assert_eq!(read(json).expect("valid"), session("b"));
}

#[test]
fn ids_that_cannot_name_a_file_are_rejected() {
    let long = "x".repeat(5000);
    let unusable = [
        "",
        ".",
        "..",
        "/",
        "../../x",
        "a/b",
        "/etc/passwd",
        "a\\b",
        "\0",
        "a\nb",
        "\u{1b}",
        "\"",
        &long,
        &long[..256],
    ];
    for id in unusable {
        for (member, payload) in [
            ("session_id", json!({"session_id": id, "turn_id": "t"})),
            ("agent_id", json!({"session_id": "s", "turn_id": "t", "agent_id": id})),
        ] {
            match read(&payload.to_string()) {
                Err(PayloadError::Id { member: found, shown }) => {
                    assert_eq!(found, member);
                    assert!(shown.len() <= 80);
                }
                other => panic!("{payload}: {other:?}"),
            }
        }
    }
    // A lone surrogate is not a character.
    assert!(matches!(read(r#"{"session_id":"\ud800"}"#), Err(PayloadError::Id { .. })));
}

#[test]
fn unusual_ids_that_can_name_a_file_are_accepted() {
    for id in ["a b", "ä漢😀", "...", ".a", "-", "a:b", "\u{7f}", &"x".repeat(255)] {
        let json = json!({"session_id": id, "agent_id": id}).to_string();
        let expected = Payload { agent: Some(ThreadId(name(id))), ..session(id) };
        assert_eq!(read(&json).expect("usable"), expected);
    }
    // The length is measured without escapes.
    let escaped = "\\u0078".repeat(255);
    assert_eq!(read(&format!("{{\"session_id\":\"{escaped}\"}}")).expect("usable"), session(&"x".repeat(255)));
    assert!(read(&format!("{{\"session_id\":\"{escaped}\\u0078\"}}")).is_err());
}

#[test]
fn a_payload_without_a_session_is_rejected() {
    for json in ["{}", r#"{"turn_id":"t"}"#, r#"{"session_id":null}"#, r#"{"session_id":7}"#, r#"{"session_id":["s"]}"#]
    {
        assert!(matches!(read(json), Err(PayloadError::NoSession)), "{json}");
    }
}

#[test]
fn a_turn_id_may_be_any_string_that_is_not_too_long() {
    for id in ["", "a/b", "..", "\0", "\"\\", "ä"] {
        let payload = read(&json!({"session_id": "s", "turn_id": id}).to_string()).expect("usable");
        assert_eq!(payload.turn, TurnId(name(id)));
    }
    assert!(read(&json!({"session_id": "s", "turn_id": "x".repeat(256)}).to_string()).is_err());
}

#[test]
fn a_path_must_be_absolute_fit_on_one_line_and_not_be_too_long() {
    let longest = format!("/{}", "x".repeat(4094));
    let path = |path: &Value| {
        read(&json!({"session_id": "s", "transcript_path": path}).to_string()).expect("usable").transcript
    };
    for usable in ["/", "/a b/ä\"\\", &longest] {
        assert_eq!(path(&json!(usable)).as_deref(), Some(usable));
    }
    for unusable in
        [json!("a/b"), json!(""), json!("/a\nb"), json!("/a\0"), json!(format!("{longest}x")), json!(null), json!({})]
    {
        assert_eq!(path(&unusable), None, "{unusable}");
    }
    let lone = r#"{"session_id":"s","transcript_path":"/\udc00"}"#;
    assert_eq!(read(lone).expect("usable"), session("s"));
}

#[test]
fn anything_but_a_json_object_is_rejected() {
    for json in
        ["", " ", "[]", "7", "\"session_id\"", "null", "{", r#"{"session_id":"s""#, r#"{"session_id":"s"}}"#, "{a:1}"]
    {
        assert!(matches!(read(json), Err(PayloadError::Malformed(_))), "{json}");
        // The same after more bytes than one read returns.
        let prompt = format!("{{\"prompt\":\"{}\",", "x".repeat(2 * CHUNK));
        let json = format!("{prompt}{}", json.strip_prefix('{').unwrap_or(json));
        assert!(matches!(read(&json), Err(PayloadError::Malformed(_))));
    }
}

#[test]
fn invalid_utf_8_is_replaced() {
    let payload = Payload::read(&b"{\"session_id\":\"a\xffb\",\"prompt\":\"\xed\xa0\x80\"}"[..], true).expect("usable");
    assert_eq!(payload, session("a\u{fffd}b"));
}

#[test]
fn an_error_of_the_reader_is_returned() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    assert!(matches!(Payload::read(Failing, true), Err(PayloadError::Read(_))));
    let beginning = vec![b' '; CHUNK];
    assert!(matches!(Payload::read(beginning.chain(Failing), true), Err(PayloadError::Read(_))));
}

#[test]
fn long_strings_before_between_and_after_used_members_are_skipped() {
    for length in [CHUNK - 40, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7] {
        for text in ["x", "\"", "\\", "ä", "\n", "{[\"", "😀\\\""] {
            let long = text.repeat(length / text.len());
            let json = json!({
                "prompt": long, "session_id": "s", "tool_input": {"command": long, "session_id": "no"},
                long.clone(): [long, {"turn_id": "no"}], "turn_id": "t", "tool_response": long, "agent_id": "a",
                "transcript_path": "/t", "last": long,
            });
            let expected = Payload {
                turn: TurnId(name("t")),
                agent: Some(ThreadId(name("a"))),
                transcript: Some("/t".to_owned()),
                ..session("s")
            };
            assert_eq!(read(&json.to_string()).expect("valid"), expected, "{length} {text:?}");
        }
    }
}

#[test]
fn strings_above_the_limit_become_empty() {
    for (length, is_kept) in [(MAX_STRING - 1, true), (MAX_STRING, true), (MAX_STRING + 1, false)] {
        let json = format!("{{\"a\":\"{}\",\"b\":\"\\\\\"}}", "x".repeat(length));
        for sizes in [vec![json.len()], vec![1], vec![CHUNK, 7], vec![length, 1], vec![length + 6, 1], vec![length + 5]]
        {
            let mut kept = Shortened::default();
            let mut rest = json.as_bytes();
            for size in sizes.iter().cycle() {
                let (chunk, remaining) = rest.split_at((*size).min(rest.len()));
                kept.push(chunk).expect("small");
                rest = remaining;
                if rest.is_empty() {
                    break;
                }
            }
            let expected = if is_kept { json.clone() } else { r#"{"a":"","b":"\\"}"#.to_owned() };
            assert_eq!(String::from_utf8(kept.bytes).expect("text"), expected);
        }
    }
}

#[test]
fn nested_values_become_zeros() {
    let mut kept = Shortened::default();
    kept.push(br#"{"a":{"b":[1,"}",{}],"c":"\"]"},"d":[[],"x"],"e":true}"#).expect("small");
    assert_eq!(String::from_utf8(kept.bytes).expect("text"), r#"{"a":0,"d":0,"e":true}"#);
}

#[test]
fn a_payload_with_very_many_members_is_rejected_and_memory_stays_bounded() {
    let many = format!("{{{}\"session_id\":\"s\"}}", "\"key\":\"value\",".repeat(MAX_KEPT / 10));
    assert!(matches!(read(&many), Err(PayloadError::TooLarge)));
    let mut kept = Shortened::default();
    let mut rejected = 0;
    for chunk in many.as_bytes().chunks(CHUNK) {
        rejected += usize::from(kept.push(chunk).is_err());
        assert!(kept.bytes.len() <= MAX_KEPT + CHUNK);
    }
    assert!(rejected > 0);
    // Nested values and long strings take no memory.
    let mut kept = Shortened::default();
    kept.push(b"{\"a\":[").expect("small");
    for _ in 0..200 {
        kept.push(&b"{\"b\":\"c\"},".repeat(1000)).expect("small");
    }
    kept.push(b"0],\"d\":\"").expect("small");
    for _ in 0..200 {
        kept.push(&[b'x'; 10_000]).expect("small");
        assert!(kept.bytes.len() <= MAX_STRING + 100);
    }
    kept.push(b"\"}").expect("small");
    assert_eq!(kept.bytes, b"{\"a\":0,\"d\":\"\"}");
}

// ---- against serde_json ----

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z]{0,6}",
        2 => r"[./\\a\x00\n\x22\x7fä😀]{0,4}",
        1 => "/[a-z/]{0,8}",
        1 => (250_usize..260).prop_map(|length| "x".repeat(length)),
        1 => (4090_usize..4100).prop_map(|length| "/".repeat(length)),
    ]
}

/// Returns a JSON string, with or without escapes.
fn quoted(text: &str, is_escaped: bool) -> String {
    if !is_escaped {
        return Value::from(text).to_string();
    }
    let units: Vec<String> = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
    format!("\"{}\"", units.concat())
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        6 => (text(), any::<bool>()).prop_map(|(text, is_escaped)| quoted(&text, is_escaped)),
        1 => prop::sample::select(&["null", "true", "-1.5e3", "0", "[]", "{}"][..]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let member = (key(), inner.clone()).prop_map(|(key, value)| format!("{key}:{value}"));
        prop_oneof![
            prop::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(","))),
            prop::collection::vec(inner, 0..4).prop_map(|elements| format!("[{}]", elements.join(" , "))),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    const KEYS: &[&str] = &[
        "session_id",
        "session_id",
        "turn_id",
        "agent_id",
        "transcript_path",
        "agent_transcript_path",
        "tool_name",
        "trigger",
        "prompt",
        "cwd",
    ];
    (prop::sample::select(KEYS), prop::bool::weighted(0.2)).prop_map(|(key, is_escaped)| quoted(key, is_escaped))
}

fn object() -> impl Strategy<Value = String> {
    let plain = "[a-z]{1,5}".prop_map(|id| ("\"session_id\"".to_owned(), format!("\"{id}\"")));
    let member = prop_oneof![2 => (key(), value()), 1 => plain];
    let member = member.prop_map(|(key, value)| format!("{key}:{value}"));
    (prop::collection::vec(member, 1..10), prop::sample::select(&["", " ", "\n\t"][..]))
        .prop_map(|(members, blank)| format!("{blank}{{{blank}{}{blank}}}{blank}", members.join(&format!("{blank},"))))
}

proptest! {
    #[test]
    fn the_members_are_those_that_serde_json_finds(json in object()) {
        prop_assert_eq!(read(&json).ok(), model(json.as_bytes()));
    }

    #[test]
    fn the_sizes_of_reads_do_not_matter(
        json in object(),
        sizes in prop::collection::vec(1_usize..40, 1..4),
        filling in prop_oneof![Just(0), CHUNK - 100..CHUNK + 100],
    ) {
        let json = format!("{}{json}", " ".repeat(filling));
        let at_once = read(&json);
        let pieces = Payload::read(InPieces { bytes: json.as_bytes(), sizes, reads: 0 }, true);
        prop_assert_eq!(format!("{at_once:?}"), format!("{pieces:?}"));
    }

    #[test]
    fn a_long_member_changes_nothing(json in object(), is_before in any::<bool>()) {
        let filling = format!("\"prompt\":\"{}\"", "\\\"x".repeat(CHUNK / 3));
        let (start, end) = (json.find('{').expect("an object") + 1, json.rfind('}').expect("an object"));
        let long = if is_before {
            format!("{}{filling},{}", &json[..start], &json[start..])
        } else {
            format!("{},{filling}{}", &json[..end], &json[end..])
        };
        match (read(&json), read(&long)) {
            (Ok(short), Ok(long)) => prop_assert_eq!(short, long),
            (Err(PayloadError::Id { member: short, .. }), Err(PayloadError::Id { member: long, .. })) => {
                prop_assert_eq!(short, long);
            }
            (Err(PayloadError::NoSession), Err(PayloadError::NoSession)) => {}
            (short, long) => prop_assert!(false, "{short:?} {long:?}"),
        }
    }

    #[test]
    fn arbitrary_bytes_cause_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), json in object()) {
        let _ = Payload::read(&bytes[..], true);
        let cut = bytes.len().min(json.len());
        let mut harmed = json.into_bytes();
        harmed[..cut].copy_from_slice(&bytes[..cut]);
        let _ = Payload::read(&harmed[..], true);
        let long = [&harmed[..], &b" ".repeat(CHUNK)].concat();
        prop_assert_eq!(Payload::read(&harmed[..], true).is_ok(), Payload::read(&long[..], true).is_ok());
    }
}
