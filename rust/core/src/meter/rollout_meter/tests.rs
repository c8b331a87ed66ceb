use serde_json::{Value, json};

use super::*;
use crate::meter::Tokens;
use crate::rollout::ByteOffset;
use crate::rollout::lines::Lines;

const THREAD: &str = "01a20218-0001-7000-8000-00000000beef";
const OTHER_THREAD: &str = "01a20210-0001-7000-8000-00000000beef";
const TURN: &str = "01a20218-0002-7000-8000-00000000beef";

/// The time of the first line, in milliseconds since 1970.
const START: u64 = 1_795_330_800_000;

/// Builds a rollout line by line; each is written a second after the previous one.
#[derive(Default)]
struct Rollout {
    bytes: Vec<u8>,
    lines: u64,
    /// The time from which messages are collected; by default from the first line.
    since: Option<u64>,
}

impl Rollout {
    fn new() -> Self {
        let mut rollout = Self::default();
        rollout.line("session_meta", &json!({"id": THREAD, "model_provider": "openai"}));
        rollout.event(&json!({"type": "task_started", "turn_id": TURN}));
        rollout.line("turn_context", &json!({"turn_id": TURN, "model": "gpt-5.5"}));
        rollout
    }

    fn line(&mut self, kind: &str, payload: &Value) -> &mut Self {
        let timestamp = crate::clock::rfc3339_millis(self.next_time());
        self.raw(json!({"timestamp": timestamp, "type": kind, "payload": payload}).to_string().as_bytes())
    }

    fn raw(&mut self, line: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(line);
        self.bytes.push(b'\n');
        self.lines += 1;
        self
    }

    fn event(&mut self, payload: &Value) -> &mut Self {
        self.line("event_msg", payload)
    }

    fn count(&mut self, total: u64, last: u64) -> &mut Self {
        let info = json!({"total_token_usage": usage(total), "last_token_usage": usage(last)});
        self.event(&json!({"type": "token_count", "info": info, "rate_limits": null}))
    }

    fn response(&mut self, id: &str, input: u64) -> &mut Self {
        self.line("token_usage_record", &json!({"response_id": id, "usage": usage(input)}))
    }

    fn message(&mut self, role: &str, text: &str) -> &mut Self {
        let content = json!([{"type": "output_text", "text": text}]);
        self.line("response_item", &json!({"type": "message", "role": role, "content": content}))
    }

    fn next_time(&self) -> u64 {
        START + self.lines * 1000
    }

    fn end(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn measured(&self) -> Measures {
        self.measured_with(usize::MAX).0
    }

    fn messages(&self) -> Vec<String> {
        self.measured_with(usize::MAX).1.into_iter().map(|message| message.text).collect()
    }

    fn measured_with(&self, max_kept: usize) -> (Measures, Vec<Message>) {
        let mut meter = Meter::resume(Measures::default(), self.since.or(Some(0)));
        let mut lines = Lines::new(&self.bytes[..], usize::MAX).keeping(max_kept);
        while let Some(line) = lines.next_line().expect("a line") {
            meter.line(&line);
        }
        meter.finish()
    }
}

fn usage(input: u64) -> Value {
    json!({"input_tokens": input, "cached_input_tokens": input / 2, "output_tokens": 5, "reasoning_output_tokens": 1})
}

fn tokens(input: u64, inferences: u64) -> Tokens {
    Tokens { input, cached_input: input / 2, output: 5 * inferences, reasoning_output: inferences }
}

fn limits(used: f64) -> Value {
    json!({"limit_id": "codex", "primary": {"used_percent": used, "window_minutes": 300, "resets_at": 1_795_340_000}})
}

#[test]
fn a_session_is_measured() {
    let mut rollout = Rollout::new();
    rollout.count(100, 100).count(100, 100).response("r2", 40).count(140, 40);
    let found = rollout.measured();
    assert_eq!(found.thread.0.as_bytes(), THREAD.as_bytes());
    assert_eq!((found.provider.as_deref(), found.model.as_deref()), (Some("openai"), Some("gpt-5.5")));
    assert_eq!(found.tokens, tokens(140, 2));
    // The line that confirms the response counts nothing.
    let counted = found.counted.expect("a counted line");
    assert_eq!(counted.at, START + 5000);
    assert_eq!(found.context, Some(ContextSize { tokens: 40, line_end: counted.end }));
    assert!(counted.end < rollout.end());
}

#[test]
fn the_measures_can_be_saved_between_any_two_lines() {
    let mut rollout = Rollout::new();
    rollout.count(100, 100).response("r2", 40).count(140, 40).event(&json!({"type": "token_count", "info": null}));
    rollout.message("assistant", "done").line("compacted", &json!({"message": ""})).count(140, 0).count(170, 30);
    let expected = rollout.measured();
    let mut measures = Measures::default();
    let mut at = 0;
    for line in rollout.bytes.split_inclusive(|byte| *byte == b'\n') {
        let saved = crate::files::checksummed::encode(1, &measures);
        assert!(saved.len() < 600, "{}", saved.len());
        let mut meter = Meter::resume(crate::files::checksummed::decode(1, &saved).expect("a state"), None);
        let mut lines = Lines::starting_at(line, ByteOffset(at), usize::MAX);
        meter.line(&lines.next_line().expect("a line").expect("a line"));
        measures = meter.finish().0;
        at += line.len() as u64;
    }
    assert_eq!(format!("{measures:?}"), format!("{expected:?}"));
}

#[test]
fn copied_history_is_not_the_threads_own() {
    let mut rollout = Rollout::default();
    rollout.line("session_meta", &json!({"id": THREAD, "forked_from_id": OTHER_THREAD, "thread_source": "subagent"}));
    rollout.line("session_meta", &json!({"id": OTHER_THREAD, "model_provider": "azure"}));
    rollout.event(&json!({"type": "task_started", "turn_id": OTHER_THREAD}));
    rollout.line("turn_context", &json!({"turn_id": OTHER_THREAD, "model": "gpt-4"}));
    let count = json!({"total_token_usage": usage(700), "last_token_usage": usage(700)});
    rollout.event(&json!({"type": "token_count", "info": count, "rate_limits": limits(50.0)}));
    rollout.message("assistant", "the parent's");
    let before = rollout.measured();
    assert_eq!((before.tokens, before.context, before.model, before.provider), (Tokens::default(), None, None, None));
    assert!(before.limits.is_empty());
    rollout.event(&json!({"type": "task_started", "turn_id": TURN}));
    rollout.line("turn_context", &json!({"turn_id": TURN, "model": "gpt-5.5"}));
    rollout.message("assistant", "its own").count(730, 30);
    let found = rollout.measured();
    assert_eq!((found.thread.0.as_bytes(), found.tokens), (THREAD.as_bytes(), tokens(30, 1)));
    assert_eq!(rollout.messages(), ["its own"]);
}

#[test]
fn a_compaction_makes_the_size_of_the_context_unknown() {
    for compaction in [
        ("compacted", json!({"message": "", "replacement_history": []})),
        ("event_msg", json!({"type": "context_compacted"})),
    ] {
        let mut rollout = Rollout::new();
        let at = rollout.count(900, 900).next_time();
        rollout.line(compaction.0, &compaction.1);
        let found = rollout.measured();
        assert_eq!((found.context, found.compacted_at), (None, Some(at)));
        // The estimate that Codex writes, and a count that is repeated while the next response begins.
        let estimate = json!({"input_tokens": 0, "output_tokens": 0, "total_tokens": 5492});
        let info = json!({"total_token_usage": usage(900), "last_token_usage": estimate});
        rollout.event(&json!({"type": "token_count", "info": info}));
        assert_eq!(rollout.measured().context, None);
        rollout.count(900, 900);
        assert_eq!(rollout.measured().context, None);
        rollout.count(950, 50);
        assert_eq!(rollout.measured().context.map(|context| context.tokens), Some(50));
        assert_eq!(rollout.measured().tokens, tokens(950, 2));
    }
}

#[test]
fn a_long_replaced_history_is_not_parsed() {
    let mut rollout = Rollout::new();
    rollout.count(900, 900).line("compacted", &json!({"message": "x".repeat(5 << 20)})).count(950, 50);
    let (found, _) = rollout.measured_with(1 << 20);
    assert_eq!((found.compacted_at, found.tokens), (Some(START + 4000), tokens(950, 2)));
    assert_eq!(found.context.map(|context| context.tokens), Some(50));
}

#[test]
fn the_error_of_a_turn_remains_until_the_next_turn() {
    for error in [
        json!({"type": "task_complete", "turn_id": TURN, "error": {"message": "a \"limit\"", "codex_error_info": "other"}}),
        json!({"type": "error", "message": "a \"limit\""}),
    ] {
        let mut rollout = Rollout::new();
        let at = rollout.next_time();
        rollout.event(&error).event(&json!({"type": "token_count", "info": null}));
        rollout.event(&json!({"type": "turn_complete", "turn_id": TURN, "error": null}));
        assert_eq!(rollout.measured().error, Some(TurnError { message: "a \"limit\"".to_owned(), at }));
        rollout.event(&json!({"type": "turn_started", "turn_id": TURN}));
        assert_eq!(rollout.measured().error, None);
    }
}

#[test]
fn a_long_error_is_cut() {
    let mut rollout = Rollout::new();
    rollout.event(&json!({"type": "error", "message": "é".repeat(10_000)}));
    let message = rollout.measured().error.expect("an error").message;
    assert!(message.len() == MAX_ERROR && message.chars().all(|char| char == 'é'), "{}", message.len());
}

#[test]
fn the_latest_limits_count() {
    let mut rollout = Rollout::new();
    for value in
        [limits(10.0), limits(12.5), json!({"limit_id": "other", "primary": {"used_percent": 99}}), json!(null)]
    {
        rollout.event(&json!({"type": "token_count", "info": null, "rate_limits": value}));
    }
    let found = rollout.measured();
    assert_eq!(found.limits.windows[0].used_percent, Some(12.5));
    assert_eq!(found.limits_read.map(|line| line.at), Some(START + 4000));
    assert_eq!((found.tokens, found.counted), (Tokens::default(), None));
}

#[test]
fn the_model_changes_with_the_turn_and_with_the_settings() {
    let mut rollout = Rollout::new();
    rollout.event(&json!({"type": "thread_settings_applied", "thread_settings":
        {"model": "o5", "model_provider_id": "azure"}}));
    let found = rollout.measured();
    assert_eq!((found.model.as_deref(), found.provider.as_deref()), (Some("o5"), Some("azure")));
    rollout.line("turn_context", &json!({"turn_id": TURN, "model": "gpt-6"}));
    rollout.line("turn_context", &json!({"turn_id": TURN, "model": "x".repeat(1000)}));
    assert_eq!(rollout.measured().model.as_deref(), Some("gpt-6"));
}

#[test]
fn each_message_of_the_agent_is_collected_once() {
    let mut rollout = Rollout::new();
    rollout.message("user", "a question").event(&json!({"type": "agent_message", "message": "One."}));
    rollout.message("assistant", "One.").message("assistant", "  \n").message("developer", "rules");
    let parts = json!([{"type": "output_text", "text": "a \u{1F600}\n"}, {"type": "refusal", "refusal": "No."}]);
    rollout.line("response_item", &json!({"type": "message", "id": "m", "role": "assistant", "content": parts}));
    rollout.message("assistant", r#"{"author":"/root","recipient":"/root/a","content":"hi"}"#);
    assert_eq!(rollout.messages(), ["One.", "a \u{1F600}\n\n\nNo."]);
}

#[test]
fn messages_are_collected_from_a_time_on() {
    let mut rollout = Rollout::new();
    rollout.message("assistant", "One.").message("assistant", "Two.");
    rollout.since = Some(rollout.next_time());
    rollout.message("assistant", "Three.");
    assert_eq!(rollout.messages(), ["Three."]);
}

#[test]
fn whole_records_in_damaged_lines_count() {
    let mut rollout = Rollout::new();
    let timestamp = "2026-11-22T07:00:00.000Z";
    let count = |total: u64| {
        json!({"timestamp": timestamp, "type": "event_msg", "payload": {"type": "token_count",
            "info": {"total_token_usage": usage(total), "last_token_usage": usage(10)}}})
        .to_string()
    };
    rollout.raw(format!("{}{}", &count(10)[..90], count(20)).as_bytes());
    rollout.raw(format!("\0\0{}", count(30)).as_bytes());
    let output = json!({"type": "function_call_output", "call_id": "c", "output": "x"});
    let output = json!({"timestamp": timestamp, "type": "response_item", "payload": output}).to_string();
    rollout.raw(format!("{output}{}", count(40)).as_bytes());
    rollout.raw(b"no json").raw(b"").raw(&count(50).as_bytes()[..60]);
    assert_eq!(rollout.measured().tokens.input, 30);
}

#[test]
fn other_forms_of_lines_are_parsed() {
    let mut rollout = Rollout::new();
    let usage = usage(10).to_string();
    rollout.raw(
        format!(
            r#"{{"type":"event_msg","payload":{{"info":{{"total_token_usage":{usage},"last_token_usage":{usage}}},"type":"token_count"}},"timestamp":"2026-11-22T07:00:00Z"}}"#
        )
        .as_bytes(),
    );
    rollout.raw(
        br#"{ "timestamp" : "2026-11-22T07:00:01Z", "type" : "response_item", "payload" : { "role" : "assistant", "content" : "Hi", "type" : "message" } }"#,
    );
    assert_eq!((rollout.measured().tokens.input, rollout.messages()), (10, vec!["Hi".to_owned()]));
}
