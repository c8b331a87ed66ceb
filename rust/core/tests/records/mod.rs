//! Checks that a common transcript conforms to mngr's record schema. Unknown members are errors.

use std::collections::HashSet;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// An object with any members.
struct Object;

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                while map.next_entry::<String, IgnoredAny>()?.is_some() {}
                Ok(Object)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A record of any type. [`check`] checks which members the type has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    r#type: String,
    event_id: String,
    emitter: String,
    schema_version: Option<String>,
    timestamp: Option<String>,
    source: Option<String>,
    message: Option<String>,
    model_name: Option<String>,
    reasoning_effort: Option<IgnoredAny>,
    reasoning_content: Option<String>,
    tool_calls: Option<Vec<ToolCall>>,
    llm_call_count: Option<u64>,
    metrics: Option<Metrics>,
    is_copied_context: Option<bool>,
    extra: Option<Object>,
    results: Option<Vec<Outcome>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, clippy::struct_field_names, reason = "the names are mngr's, and the fields are only deserialized")]
struct ToolCall {
    tool_call_id: String,
    function_name: String,
    arguments: Object,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the fields are only deserialized")]
struct Metrics {
    prompt_tokens: IgnoredAny,
    completion_tokens: IgnoredAny,
    cached_tokens: IgnoredAny,
    extra: Option<Object>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the fields are only deserialized")]
struct Outcome {
    source_call_id: String,
    content: String,
    extra: Object,
}

/// How deep the containers of a record may be nested. Readers support about 1,000 levels.
const MAX_DEPTH: usize = 210;

/// Checks a transcript, which may be empty.
pub(crate) fn check_transcript(transcript: &[u8]) {
    let text = std::str::from_utf8(transcript).expect("a transcript must be UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "a transcript must end with a newline");
    assert!(!text.contains(['\u{85}', '\u{2028}', '\u{2029}']), "a record must be one line for every reader");
    let mut ids = HashSet::new();
    for (index, line) in text.split_terminator('\n').enumerate() {
        assert!(!line.bytes().any(|byte| byte < b' '), "control character: {line}");
        assert!(depth(line) <= MAX_DEPTH, "nested too deep: {} levels", depth(line));
        let record: Record =
            serde_json::from_str(&without_surrogates(line)).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(record.emitter, "codex/common_transcript");
        assert_eq!(record.r#type == "header", index == 0, "only the first record is a header: {line}");
        check(&record, line);
        assert!(ids.insert(record.event_id), "duplicate id: {line}");
    }
}

fn check(record: &Record, line: &str) {
    let is_step = record.r#type == "step";
    let is_observation = record.r#type == "observation";
    assert!(is_step || is_observation || record.r#type == "header", "{line}");
    assert_eq!(record.source.is_some(), is_step, "{line}");
    assert_eq!(record.message.is_some(), is_step, "{line}");
    assert_eq!(record.results.is_some(), is_observation, "{line}");
    assert_eq!(record.timestamp.is_some(), is_step || is_observation, "{line}");
    if let Some(timestamp) = &record.timestamp {
        assert!(mngr_codex_core::parse_timestamp(timestamp.as_bytes()).is_some(), "{line}");
    }
    if record.r#type == "header" {
        assert_eq!(record.schema_version.as_deref(), Some("ATIF-v1.7"));
        assert!(record.event_id.strip_prefix("header-").is_some_and(is_hash), "{line}");
        return;
    }
    let kinds: &[&str] = match record.source.as_deref() {
        Some("user") => &["user"],
        Some("system") => &["system", "command_execution"],
        Some("agent") => &["assistant", "reasoning"],
        Some(_) => &[],
        None => &["tool_result", "command_execution"],
    };
    let id = record.event_id.strip_prefix("evt-").and_then(|id| id.split_at_checked(32));
    assert!(
        id.is_some_and(|(hash, kind)| is_hash(hash) && kinds.iter().any(|known| kind == format!("-{known}"))),
        "{line}"
    );
    let is_agent_step = record.source.as_deref() == Some("agent");
    let has_agent_members = record.model_name.is_some()
        || record.reasoning_effort.is_some()
        || record.reasoning_content.is_some()
        || record.tool_calls.is_some()
        || record.metrics.is_some()
        || record.llm_call_count.is_some();
    assert!(is_agent_step || !has_agent_members, "{line}");
    assert!(is_step || (record.is_copied_context.is_none() && record.extra.is_none()), "{line}");
    assert!(record.schema_version.is_none() && record.is_copied_context != Some(false), "{line}");
    assert!(record.results.as_ref().is_none_or(|results| results.len() == 1), "{line}");
}

fn is_hash(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns how deep the containers of valid JSON are nested.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut is_inside, mut is_escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_inside = !is_inside,
            b'{' | b'[' if !is_inside => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !is_inside => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Replaces the escapes of surrogates in JSON. Unpaired ones are valid JSON, but cannot be read into a Rust string.
fn without_surrogates(json: &str) -> String {
    let mut rest = json;
    let mut out = String::with_capacity(json.len());
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let is_surrogate =
            rest[at..].starts_with("\\ud") && rest.as_bytes().get(at + 3).is_some_and(|digit| *digit > b'7');
        let is_upper = rest[at..].starts_with("\\uD") && rest.as_bytes().get(at + 3).is_some_and(|digit| *digit > b'7');
        if is_surrogate || is_upper {
            out.push_str("\\ufffd");
            rest = &rest[at + 6..];
        } else {
            let end = at + 1 + rest[at + 1..].chars().next().map_or(0, char::len_utf8);
            out.push_str(&rest[at..end]);
            rest = &rest[end..];
        }
    }
    out + rest
}
