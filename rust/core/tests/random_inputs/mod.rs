//! Random inputs: lines of recordings and of the corpus, with random changes to their values and bytes.

#![allow(dead_code, reason = "not every test uses all of them")]

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::rollouts;

/// A generator of random numbers that are determined by a seed (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Returns a number below `end`, or 0 if `end` is 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() >> 33).unwrap_or(0) % end.max(1)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.number().to_be_bytes()[0]
    }

    /// Returns `true` once in `cases` times, on average.
    pub(crate) fn one_in(&mut self, cases: usize) -> bool {
        self.below(cases) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub(crate) fn bytes(&mut self, limit: usize) -> Vec<u8> {
        let length = self.below(limit);
        (0..length).map(|_| self.byte()).collect()
    }
}

/// Prints how to generate the input again if its test panics.
struct SeedHint(u64);

impl Drop for SeedHint {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("MNGR_CODEX_FUZZ_SEED={} generates this input again", self.0);
        }
    }
}

/// Runs `target` with the seeds that the environment variables request. By default, these are `cases` fixed seeds.
pub(crate) fn fuzz(cases: u64, mut target: impl FnMut(&mut Random)) {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let mut run = |seed: u64| {
        let _hint = SeedHint(seed);
        target(&mut Random::new(seed));
    };
    if let Some(seed) = number("MNGR_CODEX_FUZZ_SEED") {
        run(seed);
    } else if let Some(seconds) = number("MNGR_CODEX_FUZZ_SECONDS") {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_nanos());
        let first = u64::try_from(now % (1 << 62)).unwrap_or(0);
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed() < Duration::from_secs(seconds) {
            run(first + count);
            count += 1;
        }
        println!("{count} inputs, first seed {first}");
    } else {
        (0..cases).for_each(run);
    }
}

/// Returns the inputs in `tests/corpus`, with their paths.
pub(crate) fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(paths.len() >= 20);
    paths.into_iter().map(|path| (path.display().to_string(), fs::read(&path).expect("an input"))).collect()
}

/// Returns the lines to change, from the recordings, the corpus and a built rollout. Most are short.
fn pool() -> &'static [Vec<u8>] {
    static POOL: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    POOL.get_or_init(|| {
        let mut built = rollouts::Rollout::default();
        built
            .meta(2, Some(1))
            .context(3)
            .user("go")
            .call("call_a", "wait", "{\"cell_id\":1}")
            .program("call_b", "ls()");
        built.output("call_b", "Script running with cell ID 1").output("call_a", "done").command("exec-1", 3, 0, "ls");
        for event in [
            json!({"type": "mcp_tool_call_end", "call_id": "exec-3", "invocation": {"server": "s"}, "result": {"Err": "e"}}),
            json!({"type": "mcp_tool_call_end", "result": {"Ok": {"content": [{"type": "image", "data": "iVBORw0KGgo="}]}}}),
            json!({"type": "thread_goal_updated", "goal": {"objective": "a", "status": "active"}}),
        ] {
            built.line("event_msg", &event);
        }
        built.tool_event("call_b", 3, 0, 0).tool_event("exec-2", 3, 0, 1).tool_event("exec-4", 3, 0, 2);
        built.search(None).usage(true).usage(false).failed(3).aborted(3).complete(3).started(4).reasoning("so");
        let recorded = rollouts::recordings().into_iter().chain(corpus()).map(|(_, bytes)| bytes);
        let mut lines: Vec<Vec<u8>> = recorded
            .chain([built.bytes])
            .flat_map(|bytes| rollouts::lines_of(&bytes).into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>())
            .map(|line| line.strip_suffix(b"\n").unwrap_or(&line).to_vec())
            .collect();
        lines.sort();
        lines.dedup();
        let mut long = 0;
        lines.retain(|line| {
            long += usize::from(line.len() >= 3000);
            line.len() < 3000 || long % 10 == 0
        });
        lines
    })
}

/// Keys with a meaning in some kind of line.
const NAMES: &[&str] = &[
    "type",
    "payload",
    "timestamp",
    "ordinal",
    "content",
    "text",
    "role",
    "call_id",
    "id",
    "name",
    "arguments",
    "input",
    "output",
    "action",
    "item",
    "command",
    "cwd",
    "status",
    "exit_code",
    "duration",
    "secs",
    "nanos",
    "started_at_ms",
    "completed_at_ms",
    "aggregated_output",
    "turn_id",
    "thread_id",
    "info",
    "total_token_usage",
    "last_token_usage",
    "input_tokens",
    "output_tokens",
    "summary",
    "image_url",
    "result",
    "tools",
    "model",
    "effort",
    "message",
    "reason",
    "error",
    "num_turns",
    "forked_from_id",
    "history_base",
    "end_ordinal_exclusive",
    "subagent_history_start_ordinal",
    "thread_source",
    "author",
    "recipient",
    "cell_id",
    "server",
    "changes",
    "unified_diff",
    "data",
    "internal_chat_message_metadata_passthrough",
    "content_item_kinds",
    "source",
    "audio_url",
    "file_data",
    "filename",
    "refusal",
];

/// Values of such keys.
const WORDS: &[&str] = &[
    "response_item",
    "event_msg",
    "session_meta",
    "turn_context",
    "compacted",
    "world_state",
    "message",
    "reasoning",
    "function_call",
    "custom_tool_call",
    "function_call_output",
    "custom_tool_call_output",
    "local_shell_call",
    "web_search_call",
    "image_generation_call",
    "tool_search_call",
    "tool_search_output",
    "agent_message",
    "new_call",
    "new_output",
    "_call",
    "_output",
    "token_count",
    "task_started",
    "task_complete",
    "turn_aborted",
    "item_completed",
    "thread_rolled_back",
    "CommandExecution",
    "McpToolCall",
    "FileChange",
    "mcp_tool_call_end",
    "patch_apply_end",
    "thread_goal_updated",
    "exited_review_mode",
    "realtime_conversation_realtime",
    "user",
    "assistant",
    "developer",
    "exec",
    "wait",
    "shell",
    "input_text",
    "output_text",
    "input_image",
    "data:image/png;base64,iVBORw0KGgo=",
    "data:,",
    "file:///a%20b%",
    "call_a",
    "",
    "Script running with cell ID 1\n",
    "Script running with cell ID ",
    "{\"cell_id\":\"1\"}",
    "{\"a\":{\"b\":[1e999]}}",
    "<user_instructions>",
    "# AGENTS.md instructions for <INSTRUCTIONS>",
    "# AGENTS.md instructions </INSTRUCTIONS>",
    "<skill></skill>\n",
    "<user_shell_command>\n<command>\nls\n</command>\n<result>\nExit code: 1\n</result>\n</user_shell_command>",
    "{\"author\":\"/a\",\"recipient\":\"/b\",\"content\":\"\\ud83d\"}",
    "text",
    "refusal",
    "input_audio",
    "input_file",
    "user_shell",
    "user.text",
    "data:audio/wav;base64,UklGRg==",
    "2026-11-22T07:12:04.790Z",
    "2026-11-22 07:12",
    "01a20218-0002-7000-8000-00000000beef",
    "\u{2028}\u{85}\u{0}\u{7f}\"\\/\u{8}\u{c}\u{1f}",
    "é漢😀",
    "-c",
    "-lc",
];

fn value(random: &mut Random) -> Value {
    match random.below(16) {
        0 => Value::Null,
        1 => json!(random.one_in(2)),
        2 => json!(random.number()),
        3 => json!(-i64::try_from(random.number() >> 1).unwrap_or(0)),
        4 => json!(random.below(3)),
        5 => json!([]),
        6 => json!({}),
        7 => json!(1.5),
        8 => (0..random.below(60)).fold(json!(1), |inner, _| json!([inner])),
        9 => json!(random.pick(WORDS).repeat(random.below(2000))),
        10 => json!({*random.pick(NAMES): *random.pick(WORDS), *random.pick(NAMES): *random.pick(WORDS)}),
        11 => json!([random.pick(WORDS), random.pick(WORDS), random.pick(WORDS)]),
        12 => json!([{"type": random.pick(WORDS), "text": random.pick(WORDS), "image_url": random.pick(WORDS)}]),
        _ => json!(random.pick(WORDS)),
    }
}

/// Changes one value somewhere in `tree`.
fn change(random: &mut Random, tree: &mut Value) {
    if random.one_in(6) {
        *tree = value(random);
        return;
    }
    match tree {
        Value::Object(members) if !members.is_empty() => {
            let name = members.keys().nth(random.below(members.len())).cloned().unwrap_or_default();
            match random.below(8) {
                0 => drop(members.shift_remove(&name)),
                1 => drop(members.insert((*random.pick(NAMES)).to_owned(), value(random))),
                2 => {
                    let moved = members.get(&name).cloned().unwrap_or_default();
                    members.insert((*random.pick(NAMES)).to_owned(), moved);
                }
                _ => members.get_mut(&name).into_iter().for_each(|member| change(random, member)),
            }
        }
        Value::Array(elements) if !elements.is_empty() => {
            let index = random.below(elements.len());
            match random.below(6) {
                0 => drop(elements.remove(index)),
                1 => elements.insert(index, value(random)),
                _ => change(random, &mut elements[index]),
            }
        }
        _ => *tree = value(random),
    }
}

/// Pieces of JSON that are inserted at any offset, and may make a line malformed.
const PIECES: &[&[u8]] = &[
    b"\\ud83d",
    b"\\uDE00",
    b"\\ud83d\\ude00",
    b"\\u0000",
    b"\\",
    b"\"",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xe2\x80\xa8",
    b"\xc2\x85",
    b"\n",
    b"\r",
    b"\0",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b" ",
    b"\t",
    b"1e999",
    b"-0",
    b"0.1",
    b"null,",
    b"\"type\":\"message\",",
    b"\"payload\":{},",
    b"\"p\\u0061yload\":{},",
    b"12345678901234567890123456789012345678901",
];

/// Changes bytes at up to four offsets.
fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() + 1);
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] = random.byte(),
            1 => drop(bytes.splice(at..at, random.pick(PIECES).iter().copied())),
            2 => {
                let end = (at + random.below(20)).min(bytes.len());
                bytes.drain(at..end);
            }
            3 if random.one_in(4) => bytes.truncate(at),
            4 => {
                let end = (at + random.below(200)).min(bytes.len());
                bytes.extend_from_within(at..end);
            }
            _ => {
                // After a colon, a comma or a quote, the line most likely stays valid.
                let offsets: Vec<usize> = (0..bytes.len()).filter(|at| b":,\"".contains(&bytes[*at])).collect();
                let at = if offsets.is_empty() { at } else { *random.pick(&offsets) + 1 };
                let depth = if random.one_in(4) { random.below(3000) } else { 0 };
                let deep = [b"[".repeat(depth), b"]".repeat(depth)].concat();
                let piece = if deep.is_empty() { random.pick(PIECES) } else { &deep[..] };
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
}

/// Returns a line of the pool, usually with changes.
fn line(random: &mut Random) -> Vec<u8> {
    let mut line = random.pick(pool()).clone();
    if random.one_in(3) {
        return line;
    }
    if random.below(4) > 0
        && let Ok(mut tree) = serde_json::from_slice::<Value>(&line)
    {
        for _ in 0..=random.below(3) {
            if !tree.is_object() {
                break;
            }
            // The converter's behavior depends mostly on the types.
            match random.below(8) {
                0 => tree["type"] = json!(random.pick(WORDS)),
                1 if tree["payload"].is_object() => tree["payload"]["type"] = json!(random.pick(WORDS)),
                _ => change(random, &mut tree),
            }
        }
        line = tree.to_string().into_bytes();
    }
    if random.one_in(3) {
        damage(random, &mut line);
    }
    line
}

/// Returns a complete input.
pub(crate) fn input(random: &mut Random) -> Vec<u8> {
    if random.one_in(8) {
        return random.bytes(3000);
    }
    let mut input = Vec::new();
    let mut earlier: Vec<Vec<u8>> = Vec::new();
    for _ in 0..random.below(24) {
        let line = if random.one_in(5) && !earlier.is_empty() { random.pick(&earlier).clone() } else { line(random) };
        input.extend_from_slice(&line);
        input.extend_from_slice(if random.one_in(40) { b"\r\n" } else { b"\n" });
        earlier.push(line);
    }
    if random.one_in(100) {
        // The line is larger than all buffers. It is a step, which waits for its token counts, or not JSON.
        let length = (1 << 20) + random.below(7 << 20);
        let beginning: &[u8] = if random.one_in(2) {
            b"{\"type\":\"response_item\",\"payload\":{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\""
        } else {
            b"junk"
        };
        input.extend_from_slice(beginning);
        input.resize(input.len() + length, *random.pick(b"x \\\xe9\""));
        input.extend_from_slice(b"\"}]}}\n");
    }
    if random.one_in(10) {
        input.truncate(random.below(input.len()));
    }
    input
}
