//! Rollouts to convert. Some are recorded, others are built line by line in Codex's format.

#![allow(dead_code, reason = "not every test uses all of them")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The time of the first line that is built, in milliseconds since 1970.
pub(crate) const START_MS: i64 = 1_795_330_800_000;

/// Returns all recorded rollouts that are not compressed, with their paths.
pub(crate) fn recordings() -> Vec<(String, Vec<u8>)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    let recordings = recordings_in(&root);
    assert!(recordings.len() > 50, "too few recordings in {}", root.display());
    recordings
}

/// Returns all recorded rollouts in a folder that are not compressed, with their paths.
pub(crate) fn recordings_in(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut paths = Vec::new();
    collect(folder, &mut paths);
    paths.sort();
    let read = |path: PathBuf| (path.display().to_string(), fs::read(&path).expect("a recording"));
    paths.into_iter().map(read).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "jsonl") {
            paths.push(path);
        }
    }
}

/// Returns the lines of a rollout, each with its newline.
pub(crate) fn lines_of(rollout: &[u8]) -> Vec<&[u8]> {
    rollout.split_inclusive(|byte| *byte == b'\n').collect()
}

/// Builds a rollout line by line.
#[derive(Default)]
pub(crate) struct Rollout {
    pub bytes: Vec<u8>,
    /// The time of the next line, in milliseconds after [`START_MS`].
    pub clock: i64,
    tokens: u64,
}

impl Rollout {
    /// Adds a line without changes.
    pub(crate) fn raw(&mut self, line: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(line);
        self.bytes.push(b'\n');
        self
    }

    pub(crate) fn line(&mut self, kind: &str, payload: &Value) -> &mut Self {
        let line = json!({"timestamp": iso(self.clock), "type": kind, "payload": payload});
        self.raw(line.to_string().as_bytes())
    }

    fn item(&mut self, payload: &Value) -> &mut Self {
        self.line("response_item", payload)
    }

    fn event(&mut self, payload: &Value) -> &mut Self {
        self.line("event_msg", payload)
    }

    /// Moves the time of the next line forward.
    pub(crate) fn after(&mut self, milliseconds: i64) -> &mut Self {
        self.clock += milliseconds;
        self
    }

    pub(crate) fn meta(&mut self, thread: u32, forked_from: Option<u32>) -> &mut Self {
        let mut payload = json!({"id": uuid(thread), "cli_version": "0.169.0", "thread_source": "user"});
        if let Some(forked_from) = forked_from {
            payload["forked_from_id"] = json!(uuid(forked_from));
        }
        self.line("session_meta", &payload)
    }

    pub(crate) fn context(&mut self, turn: u32) -> &mut Self {
        self.line("turn_context", &json!({"turn_id": uuid(turn), "model": format!("gpt-{turn}"), "effort": "high"}))
    }

    pub(crate) fn started(&mut self, turn: u32) -> &mut Self {
        self.event(&json!({"type": "task_started", "turn_id": uuid(turn)}))
    }

    pub(crate) fn complete(&mut self, turn: u32) -> &mut Self {
        self.event(&json!({"type": "task_complete", "turn_id": uuid(turn), "last_agent_message": null}))
    }

    pub(crate) fn failed(&mut self, turn: u32) -> &mut Self {
        self.event(&json!({"type": "task_complete", "turn_id": uuid(turn), "error": {"message": "no\nway"}}))
    }

    pub(crate) fn aborted(&mut self, turn: u32) -> &mut Self {
        self.event(&json!({"type": "turn_aborted", "turn_id": uuid(turn), "reason": "interrupted"}))
    }

    pub(crate) fn user(&mut self, text: &str) -> &mut Self {
        self.item(&json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}))
    }

    pub(crate) fn assistant(&mut self, text: &str) -> &mut Self {
        self.item(&json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}))
    }

    pub(crate) fn reasoning(&mut self, text: &str) -> &mut Self {
        self.item(
            &json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": text}], "encrypted_content": "b"}),
        )
    }

    pub(crate) fn call(&mut self, call: &str, tool: &str, arguments: &str) -> &mut Self {
        self.item(&json!({"type": "function_call", "name": tool, "arguments": arguments, "call_id": call}))
    }

    pub(crate) fn program(&mut self, call: &str, program: &str) -> &mut Self {
        self.item(&json!({"type": "custom_tool_call", "status": "completed", "call_id": call, "name": "exec", "input": program}))
    }

    pub(crate) fn output(&mut self, call: &str, output: &str) -> &mut Self {
        self.item(&json!({"type": "function_call_output", "call_id": call, "output": output}))
    }

    pub(crate) fn search(&mut self, id: Option<&str>) -> &mut Self {
        let mut payload =
            json!({"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}});
        if let Some(id) = id {
            payload["id"] = json!(id);
        }
        self.item(&payload)
    }

    /// Adds a command that started `ago` milliseconds before the line.
    pub(crate) fn command(&mut self, item: &str, turn: u32, ago: i64, script: &str) -> &mut Self {
        let started = START_MS + self.clock - ago;
        self.event(&json!({
            "type": "item_completed", "thread_id": uuid(1), "turn_id": uuid(turn),
            "item": {
                "type": "CommandExecution", "id": item, "command": ["/bin/bash", "-lc", script],
                "cwd": "file:///srv/lab/proj", "status": "completed", "aggregated_output": "hi\n", "exit_code": 0,
                "duration": {"secs": 0, "nanos": 12_345_678},
            },
            "started_at_ms": started, "completed_at_ms": started + 12,
        }))
    }

    /// Adds the event of a call of a tool, which is a call of its own or was made by a program. One `form` is that of an
    /// MCP tool and the others that of a patch; the third one has no start.
    pub(crate) fn tool_event(&mut self, call: &str, turn: u32, ago: i64, form: usize) -> &mut Self {
        let changes = json!({"a": {"type": "add", "content": "b\n"}});
        let (kind, started) = (if form == 0 { "McpToolCall" } else { "FileChange" }, START_MS + self.clock - ago);
        let payload = match form {
            0 | 1 => json!({
                "type": "item_completed", "thread_id": uuid(1), "turn_id": uuid(turn),
                "item": {
                    "type": kind, "id": call, "server": "s", "tool": "t", "changes": changes, "status": "completed",
                    "result": {"content": [{"type": "text", "text": "found"}]},
                },
                "started_at_ms": started, "completed_at_ms": started + 12,
            }),
            _ => json!({"type": "patch_apply_end", "call_id": call, "changes": changes, "success": true}),
        };
        self.event(&payload)
    }

    /// Adds the `token_count` of a new inference, or the last one again.
    pub(crate) fn usage(&mut self, is_new: bool) -> &mut Self {
        self.tokens += u64::from(is_new);
        let last = json!({"input_tokens": 100 + self.tokens, "cached_input_tokens": 10, "output_tokens": 5});
        let info = json!({"total_token_usage": {"total_tokens": self.tokens}, "last_token_usage": last});
        self.event(&json!({"type": "token_count", "info": info, "rate_limits": null}))
    }
}

/// Returns the timestamp of a line `milliseconds` after [`START_MS`].
pub(crate) fn iso(milliseconds: i64) -> String {
    // The start is 2026-11-22T07:00:00Z.
    let (seconds, millis) = (milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400) + 7 * 3600);
    let (days, second) = (days + second / 86_400, second % 86_400);
    assert!((-21..=8).contains(&days), "built rollouts must stay in one month");
    format!("2026-11-{:02}T{:02}:{:02}:{:02}.{millis:03}Z", 22 + days, second / 3600, second / 60 % 60, second % 60)
}

/// Returns a UUID of version 7. UUIDs sort by their numbers.
pub(crate) fn uuid(number: u32) -> String {
    format!("01a20218-{number:04x}-7000-8000-00000000beef")
}
