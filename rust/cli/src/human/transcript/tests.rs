use proptest::prelude::*;

use super::*;

const PLAIN: Style = Style { color: false, full: false };
const FULL: Style = Style { color: false, full: true };
const COLOR: Style = Style { color: true, full: false };

fn shown_as(style: Style, lines: &[&str]) -> String {
    let mut human = Human::new(style, Zone::UTC);
    let mut out = Vec::new();
    for line in lines {
        let mut bytes = line.as_bytes().to_vec();
        human.record(Text::pad(&mut bytes), &mut out);
    }
    human.finish(&mut out);
    String::from_utf8(out).expect("is UTF-8")
}

fn shown(lines: &[&str]) -> String {
    shown_as(PLAIN, lines)
}

/// Returns a record of this kind at this time of day, with more members.
fn record(kind: &str, time: &str, rest: &str) -> String {
    format!(r#"{{"type":"{kind}","event_id":"e","emitter":"t","timestamp":"2026-01-31T{time}.123Z",{rest}}}"#)
}

fn call(name: &str, arguments: &str) -> String {
    let call = format!(r#"{{"tool_call_id":"c","function_name":"{name}","arguments":{arguments}}}"#);
    record("step", "10:00:01", &format!(r#""source":"agent","message":"","tool_calls":[{call}]"#))
}

fn result(content: &str, extra: &str) -> String {
    let result =
        format!(r#"{{"source_call_id":"c","content":{content},"extra":{{"tool_name":"exec_command",{extra}}}}}"#);
    record("observation", "10:00:02", &format!(r#""results":[{result}]"#))
}

#[test]
fn a_conversation_reads_as_one() {
    let lines = [
        r#"{"type":"header","event_id":"h"}"#.to_owned(),
        record("step", "10:00:00", r#""source":"user","message":"What is there?\nLook.""#),
        record(
            "step",
            "10:00:01",
            r#""source":"agent","message":"I look.","model_name":"gpt-5.5","reasoning_effort":"high","metrics":{"prompt_tokens":12345,"cached_tokens":1000,"completion_tokens":7}"#,
        ),
        call("exec_command", r#"{"cmd":"ls -a"}"#),
        result(r#""Chunk ID: 1\nProcess exited with code 0\nOutput:\none\ntwo\n""#, r#""is_error":false"#),
        record("step", "10:00:03", r#""source":"user","message":"Thanks""#),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let expected = "[2026-01-31, UTC]\n10:00:00 user\n  What is there?\n  Look.\n\n10:00:01 agent  gpt-5.5 high\n  I look.\n  \
                    12,345 tokens in (1,000 cached), 7 out\n\n10:00:01 agent\n  $ ls -a\n  10:00:02 exec_command  exit \
                    0\n    one\n    two\n\n────────────────────────────────────────────────────────────\n10:00:03 \
                    user\n  Thanks\n";
    assert_eq!(shown(&lines), expected);
}

#[test]
fn commands_are_shown_as_they_are_typed() {
    for (name, arguments, expected) in [
        ("exec_command", r#"{"cmd":"a | b"}"#, "$ a | b"),
        ("shell", r#"{"command":["bash","-lc","x && y"]}"#, "$ x && y"),
        ("shell", r#"{"command":["ls","-a"]}"#, "$ ls -a"),
        ("shell_command", r#"{"command":"pwd"}"#, "$ pwd"),
        ("local_shell", r#"{"action":{"type":"exec","command":["/bin/zsh","-c","z"]}}"#, "$ z"),
        ("exec_command", r#"{"_raw":"not json"}"#, "→ exec_command not json"),
        ("exec", r#"{"_raw":"await tools.x()"}"#, "→ exec await tools.x()"),
        ("update_plan", r#"{"plan": [1, 2]}"#, r#"→ update_plan {"plan":[1,2]}"#),
        (
            "apply_patch",
            r#"{"_raw":"*** Begin Patch\n*** Add File: a.txt\n+x\n*** Update File: b/c\n*** Delete File: d\n"}"#,
            "→ apply_patch +a.txt ~b/c -d",
        ),
        ("exec_command", "7", "→ exec_command 7"),
    ] {
        let text = shown(&[&call(name, arguments)]);
        assert!(text.contains(&format!("  {expected}\n")), "{text}");
    }
}

#[test]
fn long_output_is_shortened_with_a_count() {
    let output: String = (0..100).map(|number| format!(r"line {number}\n")).collect::<Vec<_>>().concat();
    let line = result(&format!("\"{output}\""), r#""is_error":false"#);
    let text = shown(&[&line]);
    assert!(text.contains("line 11\n    … 82 more lines, 656 B\n    line 94\n"), "{text}");
    assert!(shown_as(FULL, &[&line]).contains("line 50\n"));
    let wide = result(&format!("\"{}\"", "漢".repeat(300)), r#""is_error":false"#);
    let text = shown(&[&wide]);
    assert!(text.contains(&format!("    {}… 600 B more\n", "漢".repeat(100))), "{text}");
    assert_eq!(shown_as(FULL, &[&wide]).matches('漢').count(), 300);
}

#[test]
fn a_single_line_over_the_limit_is_shown() {
    let output: String = (0..19).map(|number| format!(r"line {number}\n")).collect::<Vec<_>>().concat();
    assert!(!shown(&[&result(&format!("\"{output}\""), r#""is_error":false"#)]).contains('…'));
}

#[test]
fn failures_are_named() {
    let failed = result(r#""Exit code: 7\nOutput:\noops""#, r#""is_error":true"#);
    assert!(shown(&[&failed]).contains("exec_command failed  exit 7\n    oops\n"));
    let command = r#""command_execution":{"cmd":"false","exit_code":1,"duration_ms":1500,"output":"x\n"}"#;
    assert!(shown(&[&result("\"\"", command)]).contains("ran false  exit 1, 1.5 s\n    x\n"));
}

#[test]
fn calls_that_a_program_made_are_shown_like_commands() {
    let call = result(
        "\"\"",
        r#""mcp_tool_call":{"server":"shop","tool":"find","arguments":{"id":7},"status":"completed","error":null,"result":"Teapot\n4","duration_ms":1500}"#,
    );
    assert!(shown(&[&call]).contains("  10:00:02 called shop.find {\"id\":7}  completed, 1.5 s\n    Teapot\n    4\n"));
    let failed = call.replace("completed", "failed").replace("\"error\":null", "\"error\":\"no shop\"");
    assert!(shown(&[&failed]).contains("{\"id\":7}  failed, 1.5 s\n    no shop\n"));
    let change = result(
        "\"\"",
        r#""file_change":{"changes":[{"path":"/a","kind":"add","content":"one\ntwo\n"},{"path":"b","kind":"update","diff":"@@"},{"path":"c","kind":"delete"}],"status":"completed","error":null}"#,
    );
    let diff = "    *** Add File: /a\n    +one\n    +two\n    *** Update File: b\n    @@\n    *** Delete File: c\n";
    assert_eq!(shown(&[&change]), format!("[2026-01-31, UTC]\n  10:00:02 changed +/a ~b -c  completed\n{diff}"));
}

#[test]
fn a_command_or_call_without_an_owner_is_shown_after_its_message() {
    let step =
        |extra: &str| record("step", "10:00:01", &format!(r#""source":"system","message":"Ran.","extra":{{{extra}}}"#));
    let command = step(r#""command_execution":{"cmd":"ls","exit_code":0,"output":"a\n"}"#);
    assert!(shown(&[&command]).contains("system\n  Ran.\n  10:00:01 ran ls  exit 0\n    a\n"));
    let change = step(r#""file_change":{"changes":[{"path":"a","kind":"add"}],"status":"completed"}"#);
    assert!(shown(&[&change]).contains("  Ran.\n  10:00:01 changed +a  completed\n"));
}

#[test]
fn details_of_notices_are_shown_in_full_on_request() {
    let notice = |kind: &str, payload: &str| {
        let codex = format!(r#"{{"type":"event_msg","payload_type":"{kind}","payload":{payload}}}"#);
        record("step", "10:00:01", &format!(r#""source":"system","message":"Happened.","extra":{{"codex":{codex}}}"#))
    };
    let goal = notice("thread_goal_updated", r#"{"goal":{"objective":"one\ntwo","status":"active","x":1}}"#);
    let review = notice(
        "exited_review_mode",
        r#"{"review_output":{"overall_explanation":"Two bugs.","findings":[{"title":"Off by one","body":"Ends early.","code_location":{"absolute_file_path":"/a.py","line_range":{"start":3,"end":4}}},{"title":"Typo"}]}}"#,
    );
    let unknown = notice("brand_new", r#"{"a":[1,"b"]}"#);
    let cut = notice("brand_new", r#""{\"a\":1""#);
    for (line, details) in [
        (&goal, "    objective: one\n    two\n    status: active\n"),
        (&review, "    Two bugs.\n    - Off by one  /a.py:3\n    Ends early.\n    - Typo\n"),
        (&unknown, "    {\"a\":[1,\"b\"]}\n"),
        (&cut, "    {\"a\":1\n"),
    ] {
        let short = "[2026-01-31, UTC]\n10:00:01 system\n  Happened.\n";
        assert_eq!(shown(&[line]), short);
        assert_eq!(shown_as(FULL, &[line]), format!("{short}{details}"));
    }
}

#[test]
fn a_commands_output_is_shown_once() {
    let output = result(r#""Output:\none\n""#, r#""is_error":false"#);
    let command = result("\"\"", r#""command_execution":{"cmd":"a","exit_code":0,"output":"one\n"}"#);
    assert_eq!(shown(&[&output, &command]).matches("one").count(), 1);
    assert_eq!(shown_as(FULL, &[&output, &command]).matches("one").count(), 2);
    let other = result("\"\"", r#""command_execution":{"cmd":"a","exit_code":0,"output":"two\n"}"#);
    assert!(shown(&[&output, &other]).contains("    two\n"));
}

#[test]
fn a_command_is_not_shown_if_its_call_and_result_show_everything() {
    let output = result(r#""Process exited with code 3\nOutput:\none\n""#, r#""is_error":false"#);
    let command =
        |exit: u8| result("\"\"", &format!(r#""command_execution":{{"cmd":"a","exit_code":{exit},"output":"one\n"}}"#));
    let call = call("exec_command", r#"{"cmd":"a"}"#);
    assert!(!shown(&[&call, &output, &command(3)]).contains("ran a"));
    assert!(shown(&[&call, &output, &command(4)]).contains("ran a  exit 4"));
    assert!(shown(&[&output, &command(3)]).contains("ran a  exit 3"));
    assert!(shown(&[&call, &command(3)]).contains("ran a  exit 3"));
    assert!(shown_as(FULL, &[&call, &output, &command(3)]).contains("ran a  exit 3"));
}

#[test]
fn a_command_of_several_lines_is_shown_in_full_on_request() {
    let command = result("\"\"", r#""command_execution":{"cmd":"one\ntwo\nthree","exit_code":0,"output":"x\n"}"#);
    assert!(shown(&[&command]).contains("ran one …  exit 0\n    x\n"));
    assert!(shown_as(FULL, &[&command]).contains("ran one  exit 0\n      two\n      three\n    x\n"));
}

#[test]
fn the_character_that_escapes_an_exclamation_mark_is_not_shown() {
    let step = |text: &str| record("step", "10:00:00", &format!(r#""source":"user","message":"{text}""#));
    assert!(shown(&[&step("\u{2060}!ls")]).contains("\n  !ls\n"));
    assert!(shown(&[&step("\u{2060}ls")]).contains("<U+2060>ls"));
}

#[test]
fn copied_context_is_folded() {
    let copied = record("step", "10:00:00", r#""source":"user","message":"old","is_copied_context":true"#);
    let output = result("\"old\"", r#""is_error":false,"is_copied_context":true"#);
    let own = record("step", "10:00:01", r#""source":"user","message":"new""#);
    let text = shown(&[&copied, &output, &own]);
    assert!(text.starts_with("… 2 records copied from an earlier session; --full shows them\n"), "{text}");
    assert!(text.contains("new") && !text.contains("old"));
    assert!(shown(&[&copied]).contains("1 record copied"));
    assert!(shown_as(FULL, &[&copied]).contains("user (copied from an earlier session)\n  old\n"));
}

#[test]
fn subagents_are_indented_and_begin_no_turn() {
    let user = record("step", "10:00:00", r#""source":"user","message":"go""#);
    let output = record(
        "step",
        "10:00:01",
        r#""source":"user","message":"<subagent_notification>\n{}\n</subagent_notification>""#,
    );
    let sent =
        record("step", "10:00:02", r#""source":"system","message":"done","extra":{"author":"/a","recipient":"/b"}"#);
    let text = shown(&[&user, &output, &sent]);
    assert!(text.contains("\n    10:00:01 subagent\n      <subagent_notification>\n"), "{text}");
    assert!(text.contains("\n    10:00:02 system /a → /b\n      done\n") && !text.contains('─'), "{text}");
}

#[test]
fn a_command_of_the_user_is_shown_with_its_output() {
    let step = |command: &str, code: &str, output: &str| {
        let report = format!(
            r"<user_shell_command>\n<command>\n{command}\n</command>\n<result>\nExit code: {code}\nDuration: 0.0104 seconds\nOutput:\n{output}\n</result>\n</user_shell_command>"
        );
        record(
            "step",
            "10:00:00",
            &format!(
                r#""source":"system","message":"{report}","extra":{{"codex":{{"type":"user_shell_command","command":"{command}","exit_code":{code}}}}}"#
            ),
        )
    };
    assert!(shown(&[&step("ls -a", "0", r"one\ntwo\n")]).ends_with("10:00:00 user ran ls -a  exit 0\n  one\n  two\n"));
    let two = step(r"ls\nfalse", "1", &r"x\n".repeat(100));
    assert!(shown(&[&two]).contains("user ran ls …  exit 1\n  x\n"));
    assert!(shown(&[&two]).contains("\n  … 82 more lines, 164 B\n"));
    assert!(shown_as(FULL, &[&two]).contains(&format!("user ran ls  exit 1\n    false\n{}", "  x\n".repeat(100))));
    let bare = record(
        "step",
        "10:00:00",
        r#""source":"system","message":"m","extra":{"codex":{"type":"user_shell_command"}}"#,
    );
    assert!(shown(&[&bare]).ends_with("10:00:00 user ran \n  m\n"));
}

#[test]
fn long_context_of_codex_is_folded_to_one_line() {
    let step = |text: &str| record("step", "10:00:00", &format!(r#""source":"system","message":"{text}""#));
    let short = r"<turn_aborted>\nwhy\n</turn_aborted>";
    assert!(shown(&[&step(short)]).ends_with("system\n  <turn_aborted>\n  why\n  </turn_aborted>\n"));
    let long = format!(r"# AGENTS.md instructions\n\n{}</INSTRUCTIONS>", r"rule\n".repeat(20));
    let text = shown(&[&step(&long)]);
    assert!(text.ends_with("system\n  # AGENTS.md instructions\n  … 22 more lines, 116 B\n"), "{text}");
    assert_eq!(shown_as(FULL, &[&step(&long)]).matches("rule").count(), 20);
    // A person who writes about the tag is not Codex.
    let person = record("step", "10:00:00", r#""source":"user","message":"<turn_aborted> is shown to me, why?""#);
    assert!(shown(&[&person]).contains("user\n  <turn_aborted> is shown to me"));
    let notification = step(r"<subagent_notification>\n{}\n</subagent_notification>");
    assert!(shown(&[&notification]).contains("    10:00:00 subagent\n      <subagent_notification>\n      {}\n"));
}

#[test]
fn images_and_parts_are_named() {
    let images = r#""source":"user","message":[{"type":"text","text":"see"},{"type":"image","source":{"media_type":"image/png"}}],"extra":{"images":[{"media_type":"image/gif","size":12345}]}"#;
    let text = shown(&[&record("step", "10:00:00", images)]);
    assert!(text.contains("  see\n  [image: image/png]\n  [image: image/gif, 12.3 kB]\n"), "{text}");
    let link = r#""source":"user","message":"see","extra":{"images":[{"url":"https://example.org/a.png"}]}"#;
    let text = shown(&[&record("step", "10:00:00", link)]);
    assert!(text.contains("  see\n  [image: https://example.org/a.png]\n"), "{text}");
}

#[test]
fn records_of_other_kinds_are_shown_as_json() {
    let text = shown(&[r#"{"type":"tick","timestamp":7,"x":"\u001b[31m"}"#]);
    assert_eq!(text, "7 tick\n  {\"type\":\"tick\",\"timestamp\":7,\"x\":\"\\u001b[31m\"}\n");
    assert_eq!(shown(&["{}"]), " record\n  {}\n");
}

#[test]
fn session_text_cannot_control_the_terminal() {
    let evil = r"\u001b]52;c;eA==\u0007\u009b31m\u202e\r\u2028x\udc80";
    let members = format!(
        r#""source":"{evil}","message":"{evil}","model_name":"{evil}","reasoning_content":"{evil}","tool_calls":[{{"function_name":"{evil}","arguments":{{"cmd":"{evil}"}}}},{{"function_name":"shell","arguments":{{"cmd":"{evil}"}}}}],"extra":{{"author":"{evil}","recipient":"{evil}","images":[{{"media_type":"{evil}"}}]}}"#
    );
    let lines = [
        record("step", "10:00:00", &members),
        record("observation", &evil.replace('\\', "\\\\"), r#""results":[]"#),
        result(
            &format!("\"{evil}\""),
            &format!(
                r#""tool_name":"{evil}","command_execution":{{"cmd":"{evil}","status":"{evil}","output":"{evil}"}}"#
            ),
        ),
        result(&format!("\"{evil}\""), &format!(r#""x":1,"tool_name":"{evil}""#)),
        format!(r#"{{"type":"{evil}","timestamp":"{evil}"}}"#),
    ];
    for style in [PLAIN, FULL] {
        for line in &lines {
            assert!(is_safe(&shown_as(style, &[line])), "{line}");
        }
    }
}

/// Returns whether a text has no control characters except newlines and tabs, and no bidirectional controls.
fn is_safe(text: &str) -> bool {
    text.chars().all(|it| matches!(it, '\n' | '\t') || !(it.is_control() || matches!(it, '\u{2028}'..='\u{202E}')))
}

/// Removes color sequences. Each line must end its own.
fn without_colors(text: &str) -> String {
    let mut plain = String::new();
    for line in text.split_inclusive('\n') {
        let mut is_open = false;
        let mut pieces = line.split("\x1b[");
        plain.push_str(pieces.next().unwrap_or_default());
        for piece in pieces {
            let (numbers, rest) = piece.split_once('m').expect("is a color");
            assert!(numbers.bytes().all(|byte| byte.is_ascii_digit() || byte == b';'), "{numbers:?}");
            is_open = numbers != "0";
            plain.push_str(rest);
        }
        assert!(!is_open, "{line:?}");
    }
    plain
}

/// Generates JSON with many of the members that are read.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_filter("is JSON", |number| number.is_finite()).prop_map(|number| format!("{number:e}")),
        any::<String>().prop_map(|text| serde_json::to_string(&text).expect("is text")),
        prop::sample::select(vec![
            "\"step\"",
            "\"observation\"",
            "\"user\"",
            "\"agent\"",
            "\"\\ud800\"",
            "\"\\u001b[2J\""
        ])
        .prop_map(str::to_owned),
    ];
    let name = prop::sample::select(vec![
        "type",
        "source",
        "message",
        "timestamp",
        "tool_calls",
        "function_name",
        "arguments",
        "cmd",
        "command",
        "results",
        "extra",
        "content",
        "command_execution",
        "mcp_tool_call",
        "file_change",
        "changes",
        "payload",
        "exit_code",
        "output",
        "images",
        "media_type",
        "size",
        "metrics",
        "prompt_tokens",
        "reasoning_content",
        "codex",
        "author",
        "is_copied_context",
        "_raw",
        "t\\u0079pe",
        "text",
    ]);
    leaf.prop_recursive(4, 40, 6, move |inner| {
        let member = (name.clone(), inner.clone()).prop_map(|(name, value)| format!("\"{name}\": {value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|elements| format!("[{}]", elements.join(","))),
            prop::collection::vec(member, 0..8).prop_map(|members| format!("{{{}}}", members.join(" , "))),
        ]
    })
}

proptest! {
    #[test]
    fn any_record_is_shown_safely(
        values in prop::collection::vec((prop::sample::select(vec![
            "source", "message", "timestamp", "tool_calls", "results", "extra", "metrics", "model_name", "observation",
        ]), json()), 0..6),
        kind in prop::sample::select(vec!["step", "observation", "header", "other"]),
    ) {
        let members: String = values.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect::<Vec<_>>().concat();
        let line = format!("{{\"type\":\"{kind}\"{members}}}");
        prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&line).is_ok(), "{}", line);
        for style in [PLAIN, FULL] {
            let text = shown_as(style, &[&line]);
            prop_assert!(is_safe(&text), "{:?}", text);
            let colored = without_colors(&shown_as(Style { color: true, ..style }, &[&line]));
            prop_assert!(is_safe(&colored), "{:?}", colored);
        }
    }
}

#[test]
fn colors_do_not_change_the_text() {
    let lines = [call("exec_command", r#"{"cmd":"ls"}"#), result("\"a\\nb\"", r#""is_error":true"#)];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let colored = shown_as(COLOR, &lines);
    assert!(colored.contains("\x1b[1;32magent\x1b[0m"), "{colored:?}");
    assert_eq!(without_colors(&colored), shown(&lines));
}

/// Returns a shown text with `<1>` for SGR sequences and `<>` for their end.
fn visible_colors(text: &str) -> String {
    let mut visible = String::new();
    for (number, piece) in text.split("\x1b[").enumerate() {
        match piece.split_once('m') {
            Some((parameters, rest)) if number > 0 => {
                visible.extend(["<", if parameters == "0" { "" } else { parameters }, ">", rest]);
            }
            _ => visible.push_str(piece),
        }
    }
    visible
}

#[test]
fn a_change_of_the_zone_is_named() {
    let step =
        |timestamp: &str| format!(r#"{{"type":"step","timestamp":"{timestamp}","source":"user","message":"x"}}"#);
    let mut human = Human::new(PLAIN, Zone::of_rule("CET-1CEST,M3.5.0,M10.5.0/3"));
    let mut out = Vec::new();
    let times = ["2026-10-24T23:30:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-26T10:00:00Z"];
    for timestamp in times {
        human.record(Text::pad(&mut step(timestamp).into_bytes()), &mut out);
    }
    let text = String::from_utf8(out).expect("is UTF-8");
    let lines: Vec<&str> = text.lines().filter(|line| line.contains('[') || line.contains("user")).collect();
    let expected = [
        "[2026-10-25, CEST]",
        "01:30:00 user",
        "02:30:00 user",
        "[2026-10-25, CET]",
        "02:30:00 user",
        "[2026-10-26]",
        "11:00:00 user",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_patch_is_shown_as_a_difference() {
    let patch = r"*** Begin Patch\n*** Update File: a.txt\n@@ x\n same\n-old\n+new\n*** End Patch\n";
    let raw = call("apply_patch", &format!(r#"{{"_raw":"{patch}"}}"#));
    let lines = "  *** Update File: a.txt\n  @@ x\n   same\n  -old\n  +new\n";
    assert!(shown(&[&raw]).ends_with(&format!("  → apply_patch ~a.txt\n{lines}")));
    let colored = "  <1>*** Update File: a.txt<>\n  <36>@@ x<>\n   same\n  <31>-old<>\n  <32>+new<>\n";
    let text = visible_colors(&shown_as(COLOR, &[&raw]));
    assert!(text.ends_with(&format!("  <1>→ apply_patch ~a.txt<>\n{colored}")), "{text}");
    let command = call("exec_command", &format!(r#"{{"cmd":"apply_patch <<'E'\n{patch}E"}}"#));
    let text = visible_colors(&shown_as(COLOR, &[&command]));
    assert!(
        text.contains(&format!("  <1>$ apply_patch <<'E'<>\n  <1>*** Begin Patch<>\n{colored}  <1>*** End Patch<>\n")),
        "{text}"
    );
    let change = result(
        "\"\"",
        r#""file_change":{"changes":[{"path":"b","kind":"update","move_path":"c","diff":"@@ -1 +1 @@\n-x\n+y\n"}],"status":"completed"}"#,
    );
    let text = visible_colors(&shown_as(COLOR, &[&change]));
    assert!(
        text.contains("    <1>*** Update File: b → c<>\n    <36>@@ -1 +1 @@<>\n    <31>-x<>\n    <32>+y<>\n"),
        "{text}"
    );
}

#[test]
fn a_long_patch_is_shortened() {
    let patch = format!(r"*** Begin Patch\n*** Add File: a\n{}*** End Patch", r"+x\n".repeat(100));
    let raw = call("apply_patch", &format!(r#"{{"_raw":"{patch}"}}"#));
    assert!(shown(&[&raw]).contains("  +x\n  … 52 more lines, 156 B\n  +x\n"));
    assert_eq!(shown_as(FULL, &[&raw]).matches("+x").count(), 100);
}

/// Returns a program's call, its output, and the records of what it ran.
fn program(script: &str, output: &str, performed: &[&str]) -> Vec<String> {
    let report = format!(r#""Script completed\nWall time 0.1 seconds\nOutput:\n{output}""#);
    let exec = result(&report, r#""is_error":false"#).replace("exec_command", "exec");
    let mut records = vec![call("exec", &format!(r#"{{"_raw":"{script}"}}"#)), exec];
    records.extend(performed.iter().map(|performed| result("\"\"", performed)));
    records
}

fn command(line: &str, output: &str) -> String {
    format!(r#""command_execution":{{"cmd":"{line}","exit_code":0,"output":"{output}"}}"#)
}

fn shown_program(style: Style, script: &str, output: &str, performed: &[&str]) -> String {
    let records = program(script, output, performed);
    shown_as(style, &records.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_program_is_shown_as_its_commands() {
    let script = r"const r = await tools.exec_command({cmd: 'ls'});\ntext(r.output);";
    let ls = command("ls", r"a\nb\n");
    let text = shown_program(PLAIN, script, r"a\nb\n", &[&ls]);
    let expected = "10:00:01 agent\n  $ ls\n  10:00:02 exec_command  exit 0\n    a\n    b\n";
    assert_eq!(text, format!("[2026-01-31, UTC]\n{expected}"));
    let full = shown_program(FULL, script, r"a\nb\n", &[&ls]);
    assert!(full.contains("→ exec const r") && full.contains("ran ls"), "{full}");
    let pwd = command("pwd", "/x");
    let two = shown_program(PLAIN, "tools.exec_command({}); tools.exec_command({})", r"a\nb\n\n/x", &[&ls, &pwd]);
    let expected = "  $ ls\n  $ pwd\n  10:00:02 ran ls  exit 0\n    a\n    b\n  10:00:02 ran pwd  exit 0\n    /x\n";
    assert!(two.ends_with(expected), "{two}");
}

#[test]
fn what_a_program_prints_itself_is_shown() {
    let text = shown_program(PLAIN, "tools.exec_command({})", r"a\nand more", &[&command("ls", "a")]);
    let expected = "  $ ls\n  10:00:02 exec  Script completed\n    a\n    and more\n  10:00:02 exec_command  exit 0\n";
    assert!(text.ends_with(expected), "{text}");
    let change = r#""file_change":{"changes":[{"path":"a","kind":"add","content":"x\n"}],"status":"completed"}"#;
    let report = r"Exit code: 0\nWall time: 0 seconds\nOutput:\nSuccess. Updated the following files:\nA a\n";
    let text = shown_program(PLAIN, "tools.apply_patch('x')", report, &[change]);
    assert!(text.ends_with("10:00:01 agent\n  10:00:02 changed +a  completed\n    +x\n"), "{text}");
}

#[test]
fn a_program_that_its_commands_do_not_explain_is_shown() {
    let ls = command("ls", "a");
    for (script, performed) in [
        ("tools.exec_command({}); tools.exec_command({})", &[ls.as_str()][..]),
        ("tools.exec_command({}); tools.update_plan({})", &[ls.as_str()]),
        ("tools.exec_command({})", &[]),
        ("text(1)", &[]),
    ] {
        let text = shown_program(PLAIN, script, "a", performed);
        assert!(text.contains(&format!("→ exec {script}\n")), "{text}");
    }
    let mut failed = program("tools.exec_command({})", "a", &[&ls]);
    failed[1] = failed[1].replace("Script completed", "Script failed");
    for records in [&failed[..], &failed[..1]] {
        let text = shown(&records.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(text.contains("→ exec tools.exec_command({})\n"), "{text}");
    }
}

#[test]
fn programs_of_one_inference_are_shown_as_their_commands() {
    let named = |id: &str, records: Vec<String>| -> Vec<String> {
        records.into_iter().map(|record| record.replace(r#"_id":"c""#, &format!(r#"_id":"{id}""#))).collect()
    };
    let script = "tools.exec_command({})";
    let first = named("1", program(script, "a", &[&command("ls a", "a")]));
    let second = named("2", program(script, "b", &[&command("ls b", "b")]));
    let records = [&first[0], &second[0], &first[1], &first[2], &second[1], &second[2]];
    let last = record("step", "10:00:03", r#""source":"agent","message":"Done""#);
    let lines: Vec<&str> = records.into_iter().chain([&last]).map(String::as_str).collect();
    let text = shown(&lines);
    let calls = "10:00:01 agent\n  $ ls a\n\n10:00:01 agent\n  $ ls b\n";
    let results = "  10:00:02 exec_command  exit 0\n    a\n  10:00:02 exec_command  exit 0\n    b\n";
    assert!(text.ends_with(&format!("{calls}{results}\n10:00:03 agent\n  Done\n")), "{text}");
    // A call that is still running has no output.
    assert!(shown(&lines[..4]).contains("  $ ls a\n\n10:00:01 agent\n  → exec tools"));
}

#[test]
fn answers_are_rendered_only_in_color() {
    let step = |source: &str| {
        record("step", "10:00:01", &format!(r#""source":"{source}","message":"**Yes** &#27;[2J\n- `a`""#))
    };
    assert!(shown(&[&step("agent")]).ends_with("agent\n  **Yes** &#27;[2J\n  - `a`\n"));
    let colored = visible_colors(&shown_as(COLOR, &[&step("agent")]));
    assert!(colored.ends_with("  <1>Yes<> ^[[2J\n  • <36>a<>\n"), "{colored}");
    assert!(visible_colors(&shown_as(COLOR, &[&step("user")])).ends_with("  **Yes** &#27;[2J\n  - `a`\n"));
}

#[test]
fn totals_count_what_is_not_copied() {
    let user = |rest: &str| record("step", "10:00:00", &format!(r#""source":"user","message":"x"{rest}"#));
    let agent = |time: &str, rest: &str| {
        let metrics = r#""metrics":{"prompt_tokens":1000,"cached_tokens":100,"completion_tokens":20,"extra":{"reasoning_output_tokens":5}}"#;
        record("step", time, &format!(r#""source":"agent","message":"y",{metrics}{rest}"#))
    };
    let copied = r#","is_copied_context":true"#;
    let records =
        [user(copied), agent("09:00:00", copied), user(""), agent("10:00:01", ""), agent("10:01:05", ""), user("")];
    let mut human = Human::new(PLAIN, Zone::UTC);
    let mut out = Vec::new();
    human.totals(&mut out);
    assert!(out.is_empty());
    for record in &records {
        human.record(Text::pad(&mut record.clone().into_bytes()), &mut Vec::new());
    }
    human.totals(&mut out);
    let expected = "\ntotal: 2 turns, 2 model calls, 1 min 5 s, 2,000 tokens in (200 cached), 40 out (10 reasoning)\n";
    assert_eq!(String::from_utf8_lossy(&out), expected);
}

#[test]
fn the_first_line_names_what_is_known_of_a_session() {
    let shown = |head: &SessionHead| {
        let mut out = Vec::new();
        Human::new(PLAIN, Zone::UTC).session(head, &mut out);
        String::from_utf8(out).expect("is UTF-8")
    };
    assert_eq!(shown(&SessionHead::default()), "");
    let mut head = SessionHead::default();
    head.meta.id = Some("019a".to_owned());
    head.meta.cli_version = Some("0.171.0".to_owned());
    assert_eq!(shown(&head), "session 019a, Codex 0.171.0\n");
    head.meta.cwd = Some("/x/\u{1b}[2J".into());
    head.meta.branch = Some("main\n".to_owned());
    head.model = Some("gpt-5.5".to_owned());
    head.title = Some("Fix \u{1b}]0;it".to_owned());
    head.meta.is_subagent = true;
    let text = shown(&head);
    assert!(is_safe(&text) && text.ends_with(", Codex 0.171.0, gpt-5.5: Fix ^[]0;it\n"), "{text}");
    assert!(text.starts_with("subagent 019a in /x/") && text.contains(" (main "), "{text}");
}
