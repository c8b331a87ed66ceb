use proptest::prelude::*;

use super::super::envelope::Envelope;
use super::super::kind::{self, BOOKKEEPING, BOOKKEEPING_ITEMS, DISPLAY_EVENTS, item_kind};
use super::*;
use crate::json::{Tape, Text, scan};

/// Lines in Codex's usual form and in similar forms.
fn line() -> impl Strategy<Value = String> {
    let timestamp =
        prop_oneof![8 => Just("2026-11-22T07:12:04.790Z"), 1 => Just("2026-11-22T07:12:04Z"), 1 => Just("")];
    let ordinal = prop::sample::select(
        &[
            "",
            "",
            ",\"ordinal\":0",
            ",\"ordinal\":17",
            ",\"ordinal\":18446744073709551615",
            ",\"ordinal\":123456789012345678901234",
            ",\"ordinal\":-1",
            ",\"ordinal\":1.0",
            ",\"ordinal\":\"1\"",
            ",\"ordinal\": 1",
            ",\"ordinal\":9999999999999999999",
        ][..],
    );
    let kinds = ["event_msg", "response_item", "turn_context", "session_meta", "e\\u0076ent_msg", "other", ""];
    let kinds: Vec<&str> = kinds.into_iter().chain(texts(BOOKKEEPING)).collect();
    let items =
        ["token_count", "function_call", "message", "item_completed", "task_started", "item_comp\\u006ceted", "new"];
    let items = items.into_iter().chain(["mcp_tool_call_end", "patch_apply_end"]);
    let items: Vec<&str> = items.chain(texts(BOOKKEEPING_ITEMS)).chain(texts(DISPLAY_EVENTS)).collect();
    let details =
        vec!["CommandExecution", "Command\\u0045xecution", "McpToolCall", "FileChange", "Plan", "Reasoning", ""];
    let rest =
        prop::sample::select(&["", ",\"role\":\"user\"", ",\"text\":\"}\\\"\"", ",\"item\":null", ",\"é\":[1,{}]"][..]);
    let parts = (
        timestamp,
        ordinal,
        prop::sample::select(kinds),
        prop::sample::select(items),
        prop::sample::select(details),
        rest,
    );
    (parts, 0_usize..4).prop_map(|((timestamp, ordinal, kind, item, detail, rest), form)| {
        let id = "01a20218-0001-7000-8000-00000000beef";
        let item = format!("\"type\":\"{item}\"");
        let payload = match form {
            0 => format!("{{{item}{rest}}}"),
            1 => format!(
                "{{{item},\"thread_id\":\"{id}\",\"turn_id\":\"{id}\",\"item\":{{\"type\":\"{detail}\"{rest}}}}}"
            ),
            2 => format!("{{ \"id\":1,{item}{rest}}}"),
            _ => "\"payload\"".to_owned(),
        };
        format!("{{\"timestamp\":\"{timestamp}\"{ordinal},\"type\":\"{kind}\",\"payload\":{payload}}}")
    })
}

/// Returns static words as text.
fn texts(words: &'static [&'static [u8]]) -> impl Iterator<Item = &'static str> {
    words.iter().map(|word| std::str::from_utf8(word).expect("ASCII"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_head_equals_the_envelope_of_the_scanned_line(line in line(), cut in any::<prop::sample::Index>()) {
        let mut clock = timestamp::Clock::default();
        let found = head(line.as_bytes(), &mut clock);
        let mut padded = line.clone().into_bytes();
        let (text, mut tape) = (Text::pad(&mut padded), Tape::default());
        prop_assert!(scan(text, &mut tape).is_ok());
        let envelope = Envelope::of(text, &tape, None);
        if let Some(found) = found {
            prop_assert_eq!(Some(found.timestamp.0), envelope.timestamp.as_deref());
            prop_assert_eq!(Some(found.timestamp.1), timestamp::parse(found.timestamp.0));
            prop_assert_eq!(found.ordinal, envelope.ordinal);
            prop_assert_eq!(Some(found.kind), envelope.kind.as_deref());
            prop_assert_eq!(Some(found.payload), envelope.payload.map(|payload| payload.start as usize));
        } else {
            // The scanner is needed only for these forms.
            let is_plain = line.contains("04.790Z") && !line.contains("\"payload\":\"payload\"")
                && (!line.contains("ordinal") || line.contains("ordinal\":0") || line.contains("ordinal\":17") || line.contains("9999999999999999999"))
                && !line.contains("e\\u0076ent_msg");
            prop_assert!(!is_plain, "{}", line);
        }
        // Reading the head of a cut line does not panic.
        let _ = head(&line.as_bytes()[..cut.index(line.len())], &mut clock);
    }

    #[test]
    fn a_line_skipped_without_a_scan_has_the_same_kind_in_a_scan(line in line()) {
        let mut padded = line.clone().into_bytes();
        let (text, mut tape) = (Text::pad(&mut padded), Tape::default());
        prop_assert!(scan(text, &mut tape).is_ok());
        let envelope = Envelope::of(text, &tape, None);
        let kind = kind::LineKind::of(text, &tape, &envelope);
        let found = head(line.as_bytes(), &mut timestamp::Clock::default());
        if let Some(parts) = found.and_then(|head| skipped_kind(line.as_bytes(), false, &head, |_| false)) {
            prop_assert_eq!(kind, kind::LineKind::Skipped);
            let item = envelope.payload_kind.as_deref().filter(|_| !BOOKKEEPING.contains(&parts[0])).unwrap_or_default();
            let detail = item_kind(text, &tape, &envelope).filter(|_| item == b"item_completed").unwrap_or_default();
            prop_assert_eq!(parts, [envelope.kind.as_deref().unwrap_or_default(), item, &detail]);
        }
    }
}

#[test]
fn a_cut_line_is_never_skipped_without_a_scan() {
    let line = "{\"timestamp\":\"2026-11-22T07:12:04.790Z\",\"type\":\"event_msg\",\"payload\":{\"type\":\"user_message\",\"message\":\"a\"}}";
    let mut clock = timestamp::Clock::default();
    let mut is_skipped = |line: &[u8]| {
        let has_control = line.iter().any(|byte| *byte < 0x20);
        head(line, &mut clock).is_some_and(|head| skipped_kind(line, has_control, &head, |_| false).is_some())
    };
    assert!(is_skipped(line.as_bytes()));
    for end in 0..line.len() - 1 {
        assert!(!is_skipped(&line.as_bytes()[..end]));
    }
    for byte in 0..b' ' {
        assert!(!is_skipped(line.replace("\"a\"", &format!("\"{}\"", byte as char)).as_bytes()));
    }
}

#[test]
fn a_line_merged_with_the_next_is_never_skipped_without_a_scan() {
    let next =
        "{\"timestamp\":\"2026-11-22T07:12:04.791Z\",\"type\":\"event_msg\",\"payload\":{\"type\":\"user_message\"}}";
    let line = next.replace("\"}}", "\",\"message\":\"a \\\"b\\\" c\",\"n\":[1,{\"x\":null}]}}");
    let is_skipped = |line: &str| {
        let head = head(line.as_bytes(), &mut timestamp::Clock::default());
        head.is_some_and(|head| skipped_kind(line.as_bytes(), false, &head, |_| false).is_some())
    };
    assert!(is_skipped(&line));
    for end in 1..line.len() {
        assert!(!is_skipped(&format!("{}{next}", &line[..end])), "torn at {end}");
    }
    // Inside a string, the beginning of a line is escaped.
    assert!(is_skipped(&line.replace("a \\\"b", &next.replace('"', "\\\""))));
}

#[test]
fn the_event_of_a_tool_is_skipped_if_its_call_is_known() {
    let item = |kind: &str, id: &str| {
        let uuid = "01a20218-0001-7000-8000-00000000beef";
        format!(
            "\"item_completed\",\"thread_id\":\"{uuid}\",\"turn_id\":\"{uuid}\",\"item\":{{\"type\":\"{kind}\",\"id\":\"{id}\"}}"
        )
    };
    let is_skipped = |payload: &str| {
        let line = format!(
            "{{\"timestamp\":\"2026-11-22T07:12:04.790Z\",\"type\":\"event_msg\",\"payload\":{{\"type\":{payload}}}}}"
        );
        let head = head(line.as_bytes(), &mut timestamp::Clock::default());
        head.is_some_and(|head| skipped_kind(line.as_bytes(), false, &head, |id| id == b"call_1").is_some())
    };
    for kind in ["McpToolCall", "FileChange"] {
        assert!(is_skipped(&item(kind, "call_1")));
        assert!(!is_skipped(&item(kind, "call_2")));
        assert!(!is_skipped(&item(kind, "call\\u005f1")));
        assert!(!is_skipped(&item(kind, "")));
    }
    assert!(!is_skipped(&item("CommandExecution", "call_1")));
    assert!(is_skipped(&item("Plan", "call_2")));
    for kind in ["mcp_tool_call_end", "patch_apply_end"] {
        assert!(is_skipped(&format!("\"{kind}\",\"call_id\":\"call_1\"")));
        assert!(!is_skipped(&format!("\"{kind}\",\"call_id\":\"call_2\"")));
        assert!(!is_skipped(&format!("\"{kind}\"")));
    }
}
