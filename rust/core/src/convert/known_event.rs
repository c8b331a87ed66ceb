//! Events that Codex writes for people to read, each described in one sentence.
//!
//! The names and members come from `EventMsg` in openai/codex (`protocol/src/protocol.rs`), of the versions up to
//! 0.171. Which of them a rollout contains depends on its version and mode (`rollout/src/policy.rs`).

use crate::json::dump::Members;
use crate::json::string;

use super::notice::is_named;

/// The number of characters of an event's own words that a sentence quotes.
const MAX_WORDS: usize = 300;

/// The number of characters of a status or a reason that a sentence quotes.
const MAX_DETAIL: usize = 60;

/// The description of an event: `SENTENCE: WORDS (DETAIL).`
struct Event {
    kind: &'static str,
    sentence: &'static str,
    /// The paths of the words in the payload; the first one with a text counts.
    words: &'static [&'static str],
    detail: Detail,
}

/// A fact at the end of a sentence.
enum Detail {
    /// None.
    None,
    /// The text at one of these paths.
    Text(&'static [&'static str]),
    /// The number of elements at this path, and what each of them is.
    Count(&'static str, &'static str),
}

const fn event(kind: &'static str, sentence: &'static str, words: &'static [&'static str], detail: Detail) -> Event {
    Event { kind, sentence, words, detail }
}

/// The known events. In a path, `*` is any member.
const EVENTS: &[Event] = &[
    // Goals and plans.
    event("thread_goal_updated", "The goal was set or updated", &["goal.objective"], Detail::Text(&["goal.status"])),
    event("thread_goal_cleared", "The goal was cleared", &[], Detail::None),
    event("plan_update", "The plan was updated", &["explanation"], Detail::Count("plan", "step")),
    // Reviews.
    event("entered_review_mode", "A review began", &["user_facing_hint", "prompt"], Detail::Text(&["target.type"])),
    event(
        "exited_review_mode",
        "The review ended",
        &["review_output.overall_explanation"],
        Detail::Count("review_output.findings", "finding"),
    ),
    // Voice.
    event("realtime_conversation_started", "A voice conversation began", &[], Detail::None),
    event(
        "realtime_conversation_realtime",
        "A voice conversation went on",
        &["payload.*.transcript", "payload.*.text", "payload.*.delta", "payload.Error", "transcript", "text"],
        Detail::Text(&["payload.*.role", "role"]),
    ),
    event("realtime_conversation_sdp", "A voice conversation was connected", &[], Detail::None),
    event("realtime_conversation_closed", "A voice conversation ended", &[], Detail::Text(&["reason"])),
    event("realtime_conversation_list_voices_response", "Codex listed its voices", &[], Detail::None),
    // Errors and warnings.
    event("error", "Codex reported an error", &["message"], Detail::None),
    event("stream_error", "The connection to the model failed", &["message"], Detail::None),
    event("warning", "Codex warned", &["message"], Detail::None),
    event("guardian_warning", "The automatic reviewer of approvals warned", &["message"], Detail::None),
    event("deprecation_notice", "Codex warned of a deprecated feature", &["summary"], Detail::None),
    event("background_event", "Codex reported", &["message"], Detail::None),
    // Models.
    event("model_reroute", "Another model answered", &["to_model"], Detail::Text(&["reason"])),
    event("model_verification", "The model's provider asked for a verification of the account", &[], Detail::None),
    event("safety_buffering", "The answer was held back by a safety check", &[], Detail::Text(&["model"])),
    // Approvals and questions.
    event(
        "guardian_assessment",
        "The automatic reviewer of approvals assessed an action",
        &["rationale", "action.command", "action.program"],
        Detail::Text(&["status"]),
    ),
    event("exec_approval_request", "Codex asked for approval of a command", &["reason"], Detail::None),
    event("apply_patch_approval_request", "Codex asked for approval of a patch", &["reason"], Detail::None),
    event("request_permissions", "Codex asked for permissions", &["reason"], Detail::None),
    event("request_user_input", "Codex asked a question", &["questions.*.question"], Detail::None),
    event(
        "elicitation_request",
        "An MCP server asked a question",
        &["message", "request.message"],
        Detail::Text(&["server_name"]),
    ),
    // Hooks.
    event("hook_started", "A hook started", &["run.event_name"], Detail::None),
    event(
        "hook_completed",
        "A hook ended",
        &["run.entries.*.text", "run.status_message", "run.event_name"],
        Detail::Text(&["run.status"]),
    ),
    // The session.
    event("thread_name_updated", "The session was named", &["thread_name"], Detail::None),
    event("undo_started", "An undo started", &["message"], Detail::None),
    event("undo_completed", "An undo ended", &["message"], Detail::None),
    event("turn_diff", "The turn changed files", &[], Detail::None),
    event(
        "mcp_startup_update",
        "An MCP server is starting",
        &["server"],
        Detail::Text(&["status.state", "status.status"]),
    ),
    event("mcp_startup_complete", "The MCP servers have started", &[], Detail::Count("failed", "failure")),
    event("shutdown_complete", "Codex shut down", &[], Detail::None),
    event("dynamic_tool_call_request", "Codex called a tool of its client", &["tool"], Detail::None),
    event(
        "dynamic_tool_call_response",
        "Codex's client answered the call of a tool",
        &["tool"],
        Detail::Text(&["error"]),
    ),
];

/// Appends the sentence that describes an event, as the content of a JSON string. `payload` is valid JSON. Returns
/// `None` if the event is not known.
pub(crate) fn push_sentence(kind: &[u8], payload: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let event = EVENTS.iter().find(|event| event.kind.as_bytes() == kind)?;
    let text_at = |paths: &[&str], limit| paths.iter().find_map(|path| one_line(find(payload, path)?, limit));
    let words = text_at(event.words, MAX_WORDS);
    let detail = match event.detail {
        Detail::None => None,
        Detail::Text(paths) => text_at(paths, MAX_DETAIL),
        Detail::Count(path, what) => {
            find(payload, path).filter(|list| matches!(list.first(), Some(b'[' | b'{'))).map(|list| {
                let count = Members::of(list).count();
                format!("{count} {what}{}", if count == 1 { "" } else { "s" }).into_bytes()
            })
        }
    };
    let mut sentence = event.sentence.as_bytes().to_vec();
    if let Some(words) = words {
        sentence.extend_from_slice(&[b": ", words.as_slice()].concat());
    }
    if let Some(detail) = detail {
        while sentence.last() == Some(&b'.') {
            sentence.pop();
        }
        sentence.extend_from_slice(&[b" (", detail.as_slice(), b")"].concat());
    }
    if !matches!(sentence.last(), Some(b'.' | b'!' | b'?')) {
        sentence.push(b'.');
    }
    string::escape(&sentence, out);
    Some(())
}

/// Returns the value at a path of names separated by `.`; `*` is the first member with the rest of the path.
fn find<'a>(value: &'a [u8], path: &str) -> Option<&'a [u8]> {
    if path.is_empty() {
        return Some(value);
    }
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    if name == "*" {
        return Members::of(value).find_map(|(_, member)| find(member, rest));
    }
    if value.first() != Some(&b'{') {
        return None;
    }
    let member = Members::of(value).filter(|(key, _)| is_named(key, name.as_bytes())).last();
    find(member?.1, rest)
}

/// Returns the first line of a string, decoded and cut. Returns `None` for any other value and for an empty line.
fn one_line(token: &[u8], limit: usize) -> Option<Vec<u8>> {
    let [b'"', content @ .., b'"'] = token else { return None };
    let mut decoded = Vec::new();
    string::decode_string(string::cut(content, limit), &mut decoded);
    let end = decoded.iter().position(|byte| *byte < 0x20).unwrap_or(decoded.len());
    decoded.truncate(end);
    (!decoded.trim_ascii().is_empty()).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(kind: &str, payload: &str) -> Option<String> {
        let mut out = Vec::new();
        push_sentence(kind.as_bytes(), payload.as_bytes(), &mut out)?;
        Some(String::from_utf8(out).expect("UTF-8"))
    }

    #[test]
    fn events_are_described_by_their_own_words() {
        for (kind, payload, expected) in [
            (
                "thread_goal_updated",
                r#"{"goal":{"objective":"Be \"green\"\nnow","status":"active"}}"#,
                r#"The goal was set or updated: Be \"green\" (active)."#,
            ),
            ("thread_goal_updated", r#"{"goal":7}"#, "The goal was set or updated."),
            (
                "exited_review_mode",
                r#"{"review_output":{"findings":[{"title":"a"}],"overall_explanation":"One bug."}}"#,
                "The review ended: One bug (1 finding).",
            ),
            ("exited_review_mode", r#"{"review_output":null}"#, "The review ended."),
            (
                "realtime_conversation_realtime",
                r#"{"payload":{"InputTranscriptDone":{"text":"Hello?"}}}"#,
                "A voice conversation went on: Hello?",
            ),
            (
                "model_reroute",
                r#"{"from_model":"a","to_model":"b","reason":"busy"}"#,
                "Another model answered: b (busy).",
            ),
            ("warning", r#"{"message":"  "}"#, "Codex warned."),
        ] {
            assert_eq!(sentence(kind, payload).as_deref(), Some(expected));
        }
        assert_eq!(sentence("brand_new", "{}"), None);
    }

    #[test]
    fn each_event_is_one_line_whatever_its_payload() {
        for event in EVENTS {
            for payload in ["{}", "[]", r#"{"goal":[{"objective":1}],"message":{"x":[]},"payload":[[[]]]}"#] {
                let sentence = sentence(event.kind, payload).expect("is known");
                assert!(sentence.starts_with(event.sentence) && sentence.ends_with('.'), "{sentence}");
            }
            assert_eq!(EVENTS.iter().filter(|other| other.kind == event.kind).count(), 1, "{}", event.kind);
        }
    }
}
