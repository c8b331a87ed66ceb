use std::fs;
use std::io::{self, ErrorKind, Write};

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::*;
use crate::transcript::stream::Stream;

const HEADER: &str = r#"{"type":"header","event_id":"header-0123456789abcdef0123456789abcdef","emitter":"codex/common_transcript","schema_version":"ATIF-v1.7"}"#;

const BOTH: [Layout; 2] = [Layout::Compact, Layout::AsMngr];

/// A transcript in its own folder.
struct Transcript {
    _folder: TempDir,
    files: Vec<PathBuf>,
}

impl Transcript {
    fn of(files: &[impl AsRef<[u8]>]) -> Self {
        let folder = tempfile::tempdir().expect("can be created");
        let mut paths = Vec::new();
        for (number, bytes) in files.iter().enumerate() {
            paths.push(folder.path().join(format!("events.jsonl.{number}")));
            fs::write(&paths[number], bytes).expect("can be written");
        }
        Self { _folder: folder, files: paths }
    }

    /// Returns a transcript of one file with a header and these lines.
    fn with(lines: &[impl ToString]) -> Self {
        let lines = lines.iter().map(|line| line.to_string() + "\n").collect::<String>();
        Self::of(&[format!("{HEADER}\n{lines}")])
    }

    fn stream(&self) -> Stream {
        Stream::open(self.files.clone()).expect("exist")
    }

    fn build(&self, layout: Layout) -> Result<(String, DocumentSummary), AtifError> {
        let stream = self.stream();
        let mut out = Vec::new();
        let index = check(&stream, layout)?;
        let built = write(&stream, &index, &about(), layout, &mut out)?;
        Ok((String::from_utf8(out).expect("is UTF-8"), built))
    }

    /// Returns the document, which is the same in both layouts, and the warnings.
    fn document(&self) -> (Value, Vec<String>) {
        let [(compact, built), (as_mngr, also)] = BOTH.map(|layout| self.build(layout).expect("is a transcript"));
        let document: Value = serde_json::from_str(&compact).expect("is JSON");
        assert_eq!(serde_json::from_str::<Value>(&as_mngr).expect("is JSON"), document);
        assert_eq!(built, also);
        assert_eq!(Some(built.steps), document["final_metrics"]["total_steps"].as_u64());
        (document, built.warnings)
    }
}

fn about() -> TrajectoryInfo {
    TrajectoryInfo { agent_name: "codex".to_owned(), session_id: "agent-1".to_owned(), trajectory_id: "é".to_owned() }
}

/// Returns a step with the required members and these.
fn step(source: &str, members: &Value) -> Value {
    let mut step = json!({"type": "step", "event_id": "e", "emitter": "m", "timestamp": "2026-01-31T12:34:56.789Z"});
    step["source"] = json!(source);
    step["message"] = json!("");
    let members = members.as_object().expect("is one");
    step.as_object_mut().expect("is one").extend(members.clone());
    step
}

/// Returns a step of the agent with calls of these ids.
fn calling(ids: &[&str]) -> Value {
    let call = |id: &&str| json!({"tool_call_id": id, "function_name": "f", "arguments": {}});
    step("agent", &json!({"tool_calls": ids.iter().map(call).collect::<Vec<_>>()}))
}

fn observation(results: &Value) -> Value {
    let timestamp = "2026-01-31T12:34:57Z";
    json!({"type": "observation", "event_id": "o", "emitter": "m", "timestamp": timestamp, "results": results})
}

/// Returns an observation with one result.
fn result_of(id: &str, content: &str) -> Value {
    observation(&json!([{"source_call_id": id, "content": content}]))
}

fn user() -> String {
    step("user", &json!({})).to_string()
}

/// Returns the offset of the line after a header and another line.
fn after_line(line: &str) -> u64 {
    (HEADER.len() + line.len() + 2) as u64
}

/// Returns the contents of the results of each step.
fn contents(document: &Value) -> Vec<Vec<&str>> {
    fn of_step(step: &Value) -> Vec<&str> {
        let results = step["observation"]["results"].as_array();
        results.into_iter().flatten().map(|result| result["content"].as_str().expect("is text")).collect()
    }
    document["steps"].as_array().expect("is one").iter().map(of_step).collect()
}

#[track_caller]
fn assert_invalid(transcript: &Transcript, position: u64, word: &str) {
    for layout in BOTH {
        match transcript.build(layout) {
            Err(AtifError::Invalid { path, offset, reason }) => {
                assert_eq!((&path, offset.0), (&transcript.files[0], position), "{reason}");
                assert!(reason.contains(word), "{word}: {reason}");
            }
            other => panic!("{word}: {other:?}"),
        }
    }
}

#[test]
fn a_transcript_without_steps_is_an_error() {
    let beginning = format!("{HEADER}\n{{\"type\":\"st");
    for text in ["", "\n \n", HEADER, &format!("{HEADER}\n"), &beginning] {
        let transcript = Transcript::of(&[text]);
        for layout in BOTH {
            let error = transcript.build(layout).expect_err("has no step");
            assert!(matches!(&error, AtifError::NoSteps(path) if *path == transcript.files[0]), "{error}");
        }
    }
    let empty = Stream::open([]).expect("has no files");
    assert!(matches!(check(&empty, Layout::Compact), Err(AtifError::NoSteps(_))));
}

#[test]
fn a_document_has_one_of_two_layouts() {
    let call = json!({"arguments": {"a": [1, {}], "b": []}, "function_name": "f", "tool_call_id": "c"});
    let metrics = json!({"cost_usd": 1e-7, "prompt_tokens": 3});
    let members = json!({"extra": {"é": null}, "tool_calls": [call], "metrics": metrics});
    let transcript = Transcript::with(&[step("agent", &members), result_of("c", "😀\n")]);
    let (compact, _) = transcript.build(Layout::Compact).expect("is a transcript");
    let expected = concat!(
        r#"{"schema_version":"ATIF-v1.7","session_id":"agent-1","trajectory_id":"é","#,
        r#""agent":{"name":"codex","version":"unknown"},"#,
        r#""steps":[{"step_id":1,"timestamp":"2026-01-31T12:34:56.789Z","source":"agent","message":"","#,
        r#""tool_calls":[{"tool_call_id":"c","function_name":"f","arguments":{"a":[1,{}],"b":[]}}],"#,
        r#""observation":{"results":[{"source_call_id":"c","content":"😀\n"}]},"#,
        r#""metrics":{"prompt_tokens":3,"cost_usd":1e-7},"extra":{"é":null,"event_id":"e","emitter":"m"}}],"#,
        r#""final_metrics":{"total_prompt_tokens":3,"total_cost_usd":1e-07,"total_steps":1}}"#,
        "\n"
    );
    assert_eq!(compact, expected);
    let (as_mngr, _) = transcript.build(Layout::AsMngr).expect("is a transcript");
    let expected = r#"{
  "schema_version": "ATIF-v1.7",
  "session_id": "agent-1",
  "trajectory_id": "\u00e9",
  "agent": {
    "name": "codex",
    "version": "unknown"
  },
  "steps": [
    {
      "step_id": 1,
      "timestamp": "2026-01-31T12:34:56.789Z",
      "source": "agent",
      "message": "",
      "tool_calls": [
        {
          "tool_call_id": "c",
          "function_name": "f",
          "arguments": {
            "a": [
              1,
              {}
            ],
            "b": []
          }
        }
      ],
      "observation": {
        "results": [
          {
            "source_call_id": "c",
            "content": "\ud83d\ude00\n"
          }
        ]
      },
      "metrics": {
        "prompt_tokens": 3,
        "cost_usd": 1e-07
      },
      "extra": {
        "\u00e9": null,
        "event_id": "e",
        "emitter": "m"
      }
    }
  ],
  "final_metrics": {
    "total_prompt_tokens": 3,
    "total_cost_usd": 1e-07,
    "total_steps": 1
  }
}
"#;
    assert_eq!(as_mngr, expected);
}

#[test]
fn a_late_result_is_attached_to_the_step_of_its_call() {
    let user = step("user", &json!({}));
    let lines = [
        calling(&["a", "b"]),
        calling(&["c"]),
        result_of("c", "1"),
        result_of("b", "2"),
        user,
        result_of("a", "3"),
        result_of("c", "4"),
    ];
    let (document, warnings) = Transcript::with(&lines).document();
    assert_eq!(contents(&document), [vec!["2", "3"], vec!["1", "4"], vec![]]);
    assert!(document["steps"][2].get("observation").is_none());
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn each_result_of_an_observation_is_attached_to_its_own_step() {
    let both = observation(&json!([{"source_call_id": "b", "content": "1"}, {"source_call_id": "a", "content": "2"}]));
    let (document, _) = Transcript::with(&[calling(&["a"]), calling(&["b"]), both]).document();
    assert_eq!(contents(&document), [["2"], ["1"]]);
}

#[test]
fn a_result_of_an_unknown_call_is_attached_to_the_previous_step_of_the_agent() {
    let result = observation(&json!([{"source_call_id": "z", "content": "1", "extra": {"a": 1}}]));
    // The call of this id follows later.
    let lines = [calling(&["a"]), step("user", &json!({})), result, calling(&["z"]), result_of("a", "2")];
    let (document, warnings) = Transcript::with(&lines).document();
    assert_eq!(contents(&document), [vec!["1", "2"], vec![], vec![]]);
    let marked = json!({"content": "1", "extra": {"a": 1, "unmatched": true, "source_call_id": "z"}});
    assert_eq!(document["steps"][0]["observation"]["results"][0], marked);
    assert!(matches!(warnings.as_slice(), [only] if only.contains("\"z\"")), "{warnings:?}");
}

#[test]
fn a_result_of_an_unknown_call_before_all_steps_of_the_agent_is_skipped() {
    let lines = [step("user", &json!({})), result_of("z", "1"), calling(&["z"])];
    let (document, warnings) = Transcript::with(&lines).document();
    assert_eq!(contents(&document), [[""; 0], []]);
    assert!(matches!(warnings.as_slice(), [only] if only.starts_with("skipped") && only.contains("\"z\"")));
}

#[test]
fn a_result_is_attached_to_the_latest_of_several_calls_with_its_id() {
    let lines = [calling(&["a"]), result_of("a", "1"), calling(&["a"]), result_of("a", "2"), calling(&["b", "b"])];
    let (document, warnings) = Transcript::with(&lines).document();
    assert_eq!(contents(&document), [vec!["1"], vec!["2"], vec![]]);
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].contains("\"a\"") && warnings[1].contains("\"b\""), "{warnings:?}");
}

#[test]
fn a_step_of_the_system_keeps_its_own_observation() {
    for results in [json!([]), json!([{"content": "1"}, {"extra": {"a": null}}, {}])] {
        let line = step("system", &json!({"observation": {"results": results}}));
        let (document, _) = Transcript::with(&[line]).document();
        assert_eq!(document["steps"][0]["observation"], json!({"results": results}));
    }
}

#[test]
fn all_members_of_a_result_are_kept() {
    let image = json!({"type": "image", "source": {"media_type": "image/png", "path": "p"}});
    let result = json!({
        "source_call_id": "a",
        "content": [{"type": "text", "text": ""}, image],
        "subagent_trajectory_ref": [{"trajectory_id": "t", "session_id": "s"}, {"trajectory_path": "p", "extra": {}}],
        "extra": {},
    });
    let empty = json!({"source_call_id": "a", "content": [], "subagent_trajectory_ref": []});
    let reference = json!([{"trajectory_id": "t"}]);
    let unmatched = json!({"source_call_id": "z", "subagent_trajectory_ref": reference, "extra": null});
    let line = observation(&json!([result, empty, unmatched]));
    let (document, _) = Transcript::with(&[calling(&["a"]), line]).document();
    let extra = json!({"unmatched": true, "source_call_id": "z"});
    let marked = json!({"subagent_trajectory_ref": reference, "extra": extra});
    assert_eq!(document["steps"][0]["observation"]["results"], json!([result, empty, marked]));
}

#[test]
fn totals_include_only_metrics_that_exist() {
    let of = |metrics: Value| step("agent", &json!({"metrics": metrics}));
    let (document, _) = Transcript::with(&[
        of(json!({"prompt_tokens": 1, "cached_tokens": 0})),
        step("user", &json!({})),
        of(json!({"prompt_tokens": 9_007_199_254_740_993_u64, "cached_tokens": null, "logprobs": [-0.5]})),
    ])
    .document();
    let expected =
        json!({"total_prompt_tokens": 9_007_199_254_740_994_u64, "total_cached_tokens": 0, "total_steps": 3});
    assert_eq!(document["final_metrics"], expected);
}

#[test]
fn costs_are_added_as_in_python() {
    for (costs, total) in [
        (vec![0.1; 10], "1.0"),
        (vec![1e16, 1.0, -1e16], "1.0"),
        (vec![1.0, 1e16, -1e16], "1.0"),
        (vec![-0.0], "0.0"),
        (vec![1e22, 1e22], "2e+22"),
    ] {
        let line = |cost: &f64| step("agent", &json!({"metrics": {"cost_usd": cost}}));
        let transcript = Transcript::with(&costs.iter().map(line).collect::<Vec<_>>());
        for layout in BOTH {
            let (text, _) = transcript.build(layout).expect("is a transcript");
            let text = text.replace(' ', "");
            assert!(text.contains(&format!("\"total_cost_usd\":{total},")), "{costs:?}: {text}");
        }
    }
}

#[test]
fn the_framing_members_replace_those_of_the_extra() {
    let line = step("user", &json!({"extra": {"event_id": 1, "a": 2, "emitter": null}}));
    let (text, _) = Transcript::with(&[line]).build(Layout::Compact).expect("is a transcript");
    assert!(text.contains(r#""extra":{"a":2,"event_id":"e","emitter":"m"}"#), "{text}");
}

#[test]
fn members_may_be_null_escaped_repeated_and_in_any_order() {
    let line = concat!(
        r#" {"message":"no","extra":null,"s\u006furce":"us\u0065r","event_id":"e","metrics":null,"emitter":"m","#,
        r#" "type":"st\u0065p" , "tool_calls":null,"timestamp":"2026-01-31T12:34:56Z","message":"yes"} "#
    );
    let (document, _) = Transcript::with(&[line]).document();
    let expected = json!({
        "step_id": 1,
        "timestamp": "2026-01-31T12:34:56Z",
        "source": "user",
        "message": "yes",
        "extra": {"event_id": "e", "emitter": "m"},
    });
    assert_eq!(document["steps"], json!([expected]));
}

#[test]
fn a_stream_starts_with_exactly_one_header() {
    let user = user();
    for text in [format!("{user}\n"), format!("{user}\n{HEADER}\n"), format!("{}\n{HEADER}\n", result_of("a", ""))] {
        assert_invalid(&Transcript::of(&[text]), 0, "must be a header");
    }
    assert_invalid(&Transcript::with(&[&user, HEADER]), after_line(&user), "second header");
    for (part, other) in [
        ("ATIF-v1.7", "ATIF-v1.6"),
        ("header-0", "header-"),
        ("header-0", "header-00"),
        ("header-0", "header-g"),
        ("abcdef\"", "ABCDEF\""),
        ("event_id", "event"),
    ] {
        let header = HEADER.replace(part, other);
        assert!(header != HEADER);
        assert_invalid(&Transcript::of(&[format!("{header}\n{user}\n")]), 0, "");
    }
}

#[test]
fn records_of_an_old_or_unknown_format_are_errors_with_their_offset() {
    let user = user();
    for (line, word) in [
        (r#"{"type":"user_message"}"#, "no longer supported"),
        (r#"{"type":"assistant_message"}"#, "no longer supported"),
        (r#"{"type":"tool_result"}"#, "no longer supported"),
        (r#"{"type":"turn"}"#, "unknown type"),
        ("{}", "unknown type"),
        ("[]", "not a JSON object"),
        ("12", "not a JSON object"),
        (" null", "not a JSON object"),
    ] {
        assert_invalid(&Transcript::with(&[user.as_str(), line]), after_line(&user), word);
    }
    assert_invalid(&Transcript::of(&["{\"type\":\"tool_result\"}\n"]), 0, "no longer supported");
    // No more of it would make it an object.
    assert_invalid(&Transcript::of(&[format!("{HEADER}\n{user}\n12")]), after_line(&user), "not a JSON object");
}

#[test]
fn steps_that_violate_the_schema_are_errors_with_the_members_name() {
    for (source, members, word) in [
        ("user", json!({"event_id": null}), "event_id is missing"),
        ("user", json!({"message": 1}), "message"),
        ("user", json!({"message": []}), "message"),
        ("user", json!({"other": null}), "other"),
        ("user", json!({"step_id": 1}), "step_id"),
        ("tool", json!({}), "source"),
        ("user", json!({"timestamp": 1}), "timestamp"),
        ("user", json!({"extra": []}), "extra"),
        ("user", json!({"is_copied_context": "true"}), "is_copied_context"),
        ("user", json!({"llm_call_count": -1}), "llm_call_count"),
        ("user", json!({"llm_call_count": 1.5}), "llm_call_count"),
        ("agent", json!({"reasoning_effort": []}), "reasoning_effort"),
        ("user", json!({"model_name": ""}), "model_name"),
        ("system", json!({"reasoning_effort": ""}), "reasoning_effort"),
        ("user", json!({"reasoning_content": ""}), "reasoning_content"),
        ("user", json!({"tool_calls": []}), "tool_calls"),
        ("user", json!({"metrics": {}}), "metrics"),
        ("agent", json!({"llm_call_count": 0, "metrics": {}}), "metrics"),
        ("agent", json!({"llm_call_count": 0, "reasoning_content": ""}), "reasoning_content"),
        ("agent", json!({"observation": {"results": []}}), "observation"),
        ("user", json!({"observation": {"results": []}}), "observation"),
        ("system", json!({"observation": {}}), "observation.results is missing"),
        ("system", json!({"observation": {"results": [{"source_call_id": "a"}]}}), "observation"),
        ("system", json!({"observation": {"results": [{}, {"other": 1}]}}), "observation.results[1].other"),
        ("agent", json!({"metrics": {"prompt_tokens": "one"}}), "metrics.prompt_tokens"),
        ("agent", json!({"metrics": {"prompt_token_ids": [1, 1.5]}}), "metrics.prompt_token_ids[1]"),
        ("agent", json!({"metrics": {"cost_usd": ""}}), "metrics.cost_usd"),
        ("agent", json!({"metrics": {"tokens": 1}}), "metrics.tokens"),
        ("agent", json!({"tool_calls": {}}), "tool_calls"),
        ("agent", json!({"tool_calls": [1]}), "tool_calls"),
        (
            "agent",
            json!({"tool_calls": [{"function_name": "", "arguments": {}}]}),
            "tool_calls.tool_call_id is missing",
        ),
        ("agent", json!({"tool_calls": [{"tool_call_id": "", "function_name": "", "arguments": ""}]}), "arguments"),
        ("agent", json!({"tool_calls": [{"tool_call_id": "", "arguments": {}}]}), "function_name is missing"),
    ] {
        assert_invalid(&Transcript::with(&[user(), step(source, &members).to_string()]), after_line(&user()), word);
    }
}

#[test]
fn results_that_violate_the_schema_are_errors_with_the_members_name() {
    let before = calling(&["a"]).to_string();
    let part = |part: Value| json!([{"source_call_id": "a", "content": [part]}]);
    for (results, word) in [
        (json!([]), "results"),
        (json!({}), "results"),
        (json!(null), "results is missing"),
        (json!([{"content": ""}]), "results.source_call_id is missing"),
        (json!([{"source_call_id": "a", "content": 1}]), "results.content"),
        (
            json!([{"source_call_id": "a", "subagent_trajectory_ref": [{"session_id": ""}]}]),
            "results.subagent_trajectory_ref[0]",
        ),
        (json!([{"source_call_id": "a", "extra": ""}]), "results.extra"),
        (json!([{"source_call_id": "a"}, {"source_call_id": "a", "other": ""}]), "results.other"),
        (part(json!({"type": "text"})), "results.content[0]"),
        (part(json!({"type": "image", "text": ""})), "results.content[0]"),
        (part(json!({"type": "audio", "text": ""})), "results.content[0].type"),
        (
            part(json!({"type": "text", "text": "", "source": {"media_type": "image/png", "path": ""}})),
            "results.content[0]",
        ),
        (part(json!({"type": "image", "source": {"media_type": "image/bmp", "path": ""}})), "source.media_type"),
    ] {
        let transcript = Transcript::with(&[before.clone(), observation(&results).to_string()]);
        assert_invalid(&transcript, after_line(&before), word);
    }
}

#[test]
fn lines_that_are_not_json_are_skipped_with_one_warning() {
    let user = user();
    // They begin like steps.
    let damaged = &user[..user.len() - 1];
    for (lines, has_more) in [(vec![damaged], false), (vec![damaged, "", "damaged", damaged], true)] {
        let lines = [vec![user.as_str()], lines, vec![user.as_str()]].concat();
        let (document, warnings) = Transcript::with(&lines).document();
        assert_eq!(document["steps"].as_array().map(Vec::len), Some(2));
        let position = format!("at byte {} ", after_line(&user));
        assert!(matches!(warnings.as_slice(), [only] if only.contains(&position)), "{warnings:?}");
        assert_eq!(warnings[0].contains("and 2 more lines"), has_more, "{warnings:?}");
    }
}

#[test]
fn a_partial_last_line_is_a_step_if_it_is_complete() {
    let user = user();
    for (partial, steps) in [(user.as_str(), 2), (&user[..user.len() / 2], 1), ("{", 1)] {
        let (document, warnings) = Transcript::of(&[format!("{HEADER}\n{user}\n{partial}")]).document();
        assert_eq!((document["steps"].as_array().map(Vec::len), warnings.len()), (Some(steps), 0), "{partial}");
    }
}

#[test]
fn a_partial_line_of_an_earlier_file_is_ignored() {
    let partial = r#"{"type":"step","event_id""#;
    let files = [format!("{HEADER}\n{}\n{partial}", user()), format!("{}\n", user())];
    let (document, warnings) = Transcript::of(&files).document();
    assert_eq!((document["steps"].as_array().map(Vec::len), warnings.len()), (Some(2), 0));
}

#[test]
fn costs_that_overflow_have_no_total() {
    let expensive = step("agent", &json!({"metrics": {"cost_usd": 1e308}}));
    let transcript = Transcript::with(&[&expensive, &expensive]);
    let (document, _) = transcript.build(Layout::Compact).expect("is a transcript");
    let document: Value = serde_json::from_str(&document).expect("is JSON");
    assert_eq!(document["final_metrics"], json!({"total_steps": 2}));
    assert!(matches!(transcript.build(Layout::AsMngr), Err(AtifError::Unusual { .. })));
}

#[test]
fn a_line_with_the_prefix_of_a_step_can_be_an_observation() {
    // The last of several members with one name counts.
    let observed = result_of("a", "1").to_string().replacen('{', r#"{"type":"step","#, 1);
    let stepped = user().replacen('{', r#"{"type":"observation","#, 1);
    let (document, warnings) = Transcript::with(&[calling(&["a"]).to_string(), observed, stepped]).document();
    assert_eq!((contents(&document), warnings.len()), (vec![vec!["1"], vec![]], 0));
}

#[test]
fn results_are_found_in_other_files_and_far_after_their_steps() {
    // Longer than a block.
    let long = "x".repeat(700 << 10);
    let long_step = step("user", &json!({"message": long}));
    let first = format!("{HEADER}\n{}\n{long_step}\n", calling(&["a", "b"]));
    let second = format!("{}\n{long_step}\n{}\n", result_of("b", &long), calling(&["c"]));
    let third = format!("{}\n{}\n{}\n", result_of("c", "1"), result_of("b", "2"), result_of("a", "3"));
    let (document, warnings) = Transcript::of(&[first, second, third]).document();
    assert!(contents(&document) == [vec![long.as_str(), "2", "3"], vec![], vec![], vec!["1"]]);
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn invalid_utf8_is_replaced() {
    let mut step = calling(&["c"]);
    step["message"] = json!("a?b");
    let text = format!("{HEADER}\n{step}\n{}\n", result_of("c", "c?d"));
    let bytes: Vec<u8> = text.bytes().map(|byte| if byte == b'?' { 0xff } else { byte }).collect();
    let (document, _) = Transcript::of(&[bytes]).document();
    assert_eq!(document["steps"][0]["message"], "a\u{fffd}b");
    assert_eq!(contents(&document), [["c\u{fffd}d"]]);
}

#[test]
fn records_that_mngr_reads_differently_are_errors_in_its_layout() {
    let before = calling(&["a"]).to_string();
    let user = |members: Value| step("user", &members).to_string();
    for line in [
        user(json!({"message": "\u{2028}"})),
        user(json!({"message": "?"})).replace('?', "\\ud83d"),
        user(json!({"message": "?"})).replace('?', "\\uDE00\\ud83d"),
        user(json!({"extra": {"a": 0}})).replace(":0}", &format!(":{}}}", "1".repeat(4301))),
        user(json!({"extra": {"event_id": ""}})),
        user(json!({"extra": {"a": 0}})).replace(":0}", ":0,\"\\u0061\":1}"),
        step("agent", &json!({"metrics": {"cost_usd": 1}})).to_string(),
        step("agent", &json!({"reasoning_effort": 1})).to_string(),
        observation(&json!([{"source_call_id": "z", "extra": {"unmatched": false}}])).to_string(),
    ] {
        let transcript = Transcript::with(&[&before, &line]);
        let (text, _) = transcript.build(Layout::Compact).expect("is a transcript");
        assert!(text.ends_with("}\n"), "{text}");
        let error = transcript.build(Layout::AsMngr).expect_err("is unusual");
        assert!(
            matches!(&error, AtifError::Unusual { offset, .. } if offset.0 == after_line(&before)),
            "{line}: {error}"
        );
    }
    let odd = Transcript::with(&[user(json!({"timestamp": "2026-W05-6"}))]);
    assert!(matches!(odd.build(Layout::AsMngr), Err(AtifError::Unusual { .. })));
    assert!(odd.build(Layout::Compact).expect("has a year").0.contains("\"2026-W05-6\""));
    let none = Transcript::with(&[user(json!({"timestamp": "yesterday"}))]);
    assert!(matches!(none.build(Layout::Compact), Err(AtifError::Invalid { .. })));
}

#[test]
fn valid_surrogates_and_long_numbers_are_usual() {
    for (escaped, text) in [("\\ud83d\\uDE00", "😀"), ("\\\\ud83d", "\\ud83d"), ("\\u2028", "\u{2028}")] {
        let line = step("user", &json!({"message": "?"})).to_string().replace('?', escaped);
        let (document, _) = Transcript::with(&[line]).document();
        assert_eq!(document["steps"][0]["message"], text);
    }
    let digits = "1".repeat(4300);
    let line = step("user", &json!({"message": "1".repeat(4301), "extra": {"a": 0}})).to_string();
    let transcript = Transcript::with(&[line.replace(":0}", &format!(":{digits}}}"))]);
    let (text, _) = transcript.build(Layout::AsMngr).expect("is usual");
    assert!(text.contains(&format!("\"a\": {digits},")));
}

#[test]
fn only_a_hundred_warnings_are_kept() {
    let results = (0..103).map(|number| result_of(&format!("call {number}"), ""));
    let transcript = Transcript::with(&results.chain([calling(&[])]).collect::<Vec<_>>());
    let (_, built) = transcript.build(Layout::Compact).expect("is a transcript");
    assert_eq!((built.warnings.len(), built.omitted_warnings), (100, 3));
    assert!(built.warnings[99].contains("\"call 99\""), "{}", built.warnings[99]);
}

#[test]
fn a_stream_that_changes_after_the_check_is_an_error() {
    let text = format!("{HEADER}\n{}\n{}\n", calling(&["a"]), result_of("a", "1"));
    for (part, other) in
        [("\"step\"", "\"stop\""), ("\"content\"", "\"CONTENT\""), ("\"emitter\":\"m\"", "\"EMITTER\":\"m\"")]
    {
        let transcript = Transcript::of(&[&text]);
        let stream = transcript.stream();
        let index = check(&stream, Layout::Compact).expect("is a transcript");
        fs::write(&transcript.files[0], text.replace(part, other)).expect("can be written");
        let error = write(&stream, &index, &about(), Layout::Compact, &mut Vec::new()).expect_err("has changed");
        assert!(matches!(&error, AtifError::Changed(path) if *path == transcript.files[0]), "{error}");
    }
}

#[test]
fn records_added_after_opening_are_not_in_the_document() {
    let transcript = Transcript::with(&[calling(&["a"])]);
    let stream = transcript.stream();
    let mut file = fs::File::options().append(true).open(&transcript.files[0]).expect("exists");
    writeln!(file, "{}\ndamaged", result_of("a", "1")).expect("can be written");
    let index = check(&stream, Layout::Compact).expect("is a transcript");
    let mut out = Vec::new();
    let built = write(&stream, &index, &about(), Layout::Compact, &mut out).expect("is a transcript");
    assert_eq!(built, DocumentSummary { steps: 1, ..DocumentSummary::default() });
    assert_eq!(contents(&serde_json::from_slice(&out).expect("is JSON")), [[""; 0]]);
}

#[test]
fn a_full_disk_is_reported_as_a_write_error() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::Error::from(ErrorKind::StorageFull))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for message in ["", &"x".repeat(1 << 20)] {
        let stream = Transcript::with(&[step("user", &json!({"message": message}))]).stream();
        let index = check(&stream, Layout::Compact).expect("is a transcript");
        let error = write(&stream, &index, &about(), Layout::Compact, &mut Full).expect_err("nothing can be written");
        assert!(matches!(&error, AtifError::Write(error) if error.kind() == ErrorKind::StorageFull), "{error}");
    }
}

type Values = BoxedStrategy<Value>;

/// Generates an object with some of these members, in any order. Each can be null.
fn some_of(members: Vec<(&'static str, Values)>) -> Values {
    let member = |(name, value): (&'static str, Values)| {
        let value = prop_oneof![3 => value, 1 => Just(Value::Null)];
        prop::option::of(value.prop_map(move |value| (name.to_owned(), value)))
    };
    let members: Vec<_> = members.into_iter().map(member).collect();
    let present = members.prop_map(|members| members.into_iter().flatten().collect::<Vec<_>>());
    present.prop_shuffle().prop_map(|members| Value::Object(members.into_iter().collect())).boxed()
}

/// Generates an object with all of these members, before or after those of another object.
fn with(others: Values, members: Vec<(&'static str, Values)>) -> Values {
    let member = |(name, value): (&'static str, Values)| value.prop_map(move |value| (name.to_owned(), value));
    let members: Vec<_> = members.into_iter().map(member).collect();
    (others, members, any::<bool>())
        .prop_map(|(others, members, is_before)| {
            let others: Vec<_> = others.as_object().expect("is one").clone().into_iter().collect();
            let all = if is_before { [members, others].concat() } else { [others, members].concat() };
            Value::Object(all.into_iter().collect())
        })
        .boxed()
}

fn all_of(members: Vec<(&'static str, Values)>) -> Values {
    with(Just(json!({})).boxed(), members)
}

fn one(value: impl Into<Value>) -> Values {
    Just(value.into()).boxed()
}

fn text() -> Values {
    let texts = ["", "a", "é", "q\"\\", "\n\t\u{1}", "😀", "\u{7f}/"];
    prop::sample::select(texts.to_vec()).prop_map(Value::from).boxed()
}

fn id() -> Values {
    prop::sample::select(vec!["c1", "c2", "c3", "é\n"]).prop_map(Value::from).boxed()
}

fn number() -> Values {
    (0_u32..1_000_000).prop_map(Value::from).boxed()
}

/// Generates numbers whose sums are exact.
fn quarters() -> Values {
    (0_u32..1000).prop_map(|number| json!(f64::from(number) / 4.0)).boxed()
}

fn list(element: Values, min: usize) -> Values {
    prop::collection::vec(element, min..3).prop_map(Value::from).boxed()
}

fn any_object() -> Values {
    let integer = any::<i64>().prop_map(Value::from);
    let leaf = prop_oneof![one(Value::Null), one(true), one(false), integer, one(0.5), text()];
    let value = leaf.prop_recursive(3, 8, 3, |inner| {
        let object = prop::collection::btree_map("[ab\"é]", inner.clone(), 0..3).prop_map(|members| json!(members));
        prop_oneof![list(inner.boxed(), 0), object]
    });
    prop::collection::btree_map("[a-cé]", value, 0..3).prop_map(|members| json!(members)).boxed()
}

fn result(members: Vec<(&'static str, Values)>) -> Values {
    let image = all_of(vec![("path", text()), ("media_type", one("image/webp"))]);
    let part = prop_oneof![
        all_of(vec![("text", text()), ("type", one("text"))]),
        all_of(vec![("source", image), ("type", one("image"))]),
    ];
    let reference = |name| with(some_of(vec![("session_id", text()), ("extra", any_object())]), vec![(name, text())]);
    let references = list(prop_oneof![reference("trajectory_id"), reference("trajectory_path")].boxed(), 0);
    let others = some_of(vec![
        ("content", prop_oneof![text(), list(part.boxed(), 0)].boxed()),
        ("subagent_trajectory_ref", references),
        ("extra", any_object()),
    ]);
    with(others, members)
}

/// Generates a step of any source, or an observation.
fn record() -> Values {
    let framed = |kind: &str, others, members: Vec<_>| {
        let timestamp = one("2026-01-31T12:34:56.789Z");
        let framing = vec![("type", one(kind)), ("event_id", text()), ("emitter", text()), ("timestamp", timestamp)];
        with(others, [framing, members].concat())
    };
    let step = |source: &str, members: Vec<_>| {
        let of_any = vec![("is_copied_context", prop_oneof![one(true), one(false)].boxed()), ("extra", any_object())];
        framed("step", some_of([members, of_any].concat()), vec![("source", one(source)), ("message", text())])
    };
    let metrics = some_of(vec![
        ("prompt_tokens", number()),
        ("completion_tokens", number()),
        ("cached_tokens", number()),
        ("cost_usd", quarters()),
        ("prompt_token_ids", list(number(), 0)),
        ("completion_token_ids", list(number(), 0)),
        ("logprobs", list(quarters(), 0)),
        ("extra", any_object()),
    ]);
    let call = vec![("tool_call_id", id()), ("function_name", text()), ("arguments", any_object())];
    let call = with(some_of(vec![("extra", any_object())]), call);
    let of_agents = vec![
        ("model_name", text()),
        ("reasoning_effort", prop_oneof![text(), quarters()].boxed()),
        ("reasoning_content", text()),
        ("tool_calls", list(call, 0)),
        ("metrics", metrics),
        ("llm_call_count", (1_u32..3).prop_map(Value::from).boxed()),
    ];
    let own = all_of(vec![("results", list(result(Vec::new()), 0))]);
    let results = vec![("results", list(result(vec![("source_call_id", id())]), 1))];
    prop_oneof![
        3 => step("agent", of_agents),
        1 => step("user", vec![("llm_call_count", one(0))]),
        1 => step("system", vec![("observation", own)]),
        4 => framed("observation", one(json!({})), results),
    ]
    .boxed()
}

/// Returns the members with these names, in this order, without those that are null.
fn picked(object: &Value, names: &[&str]) -> Map<String, Value> {
    let is_present = |value: &&Value| !value.is_null();
    let member = |name: &&str| Some(((*name).to_owned(), object.get(*name).filter(is_present)?.clone()));
    names.iter().filter_map(member).collect()
}

/// Replaces the elements of a member if it is an array.
fn each(object: &mut Map<String, Value>, name: &str, act: fn(&Value) -> Value) {
    if let Some(Value::Array(elements)) = object.get_mut(name) {
        *elements = elements.iter().map(act).collect();
    }
}

fn modeled_result(result: &Value) -> Value {
    let mut result = picked(result, &["source_call_id", "content", "subagent_trajectory_ref", "extra"]);
    each(&mut result, "content", |part| {
        let mut part = picked(part, &["type", "text", "source"]);
        if let Some(source) = part.get_mut("source") {
            *source = picked(source, &["media_type", "path"]).into();
        }
        part.into()
    });
    each(&mut result, "subagent_trajectory_ref", |reference| {
        picked(reference, &["trajectory_id", "session_id", "trajectory_path", "extra"]).into()
    });
    result.into()
}

fn modeled_unmatched(result: &Value) -> Value {
    let mut result = result.clone();
    let id = result["source_call_id"].take();
    if result["extra"].is_null() {
        result["extra"] = json!({});
    }
    result["extra"]["unmatched"] = json!(true);
    result["extra"]["source_call_id"] = id;
    modeled_result(&result)
}

fn modeled_step(number: usize, step: &Value, results: &[Value]) -> Value {
    const NAMES: &str = "step_id timestamp source model_name reasoning_effort message reasoning_content tool_calls \
                         observation metrics is_copied_context llm_call_count extra";
    const METRICS: &str = "prompt_tokens completion_tokens cached_tokens cost_usd prompt_token_ids \
                           completion_token_ids logprobs extra";
    let mut step = step.clone();
    step["step_id"] = json!(number + 1);
    if !results.is_empty() {
        step["observation"] = json!({ "results": results });
    }
    if step["extra"].is_null() {
        step["extra"] = json!({});
    }
    for name in ["event_id", "emitter"] {
        step["extra"][name] = step[name].clone();
    }
    let mut step = picked(&step, &NAMES.split(' ').collect::<Vec<_>>());
    each(&mut step, "tool_calls", |call| picked(call, &["tool_call_id", "function_name", "arguments", "extra"]).into());
    if let Some(Value::Object(observation)) = step.get_mut("observation") {
        each(observation, "results", modeled_result);
    }
    if let Some(metrics) = step.get_mut("metrics") {
        *metrics = picked(metrics, &METRICS.split(' ').collect::<Vec<_>>()).into();
    }
    step.into()
}

/// Returns the expected document of some records, and the expected number of warnings.
fn model(records: &[Value]) -> (Value, usize) {
    let mut steps: Vec<(&Value, Vec<Value>)> = Vec::new();
    let mut calls: Vec<(&Value, usize)> = Vec::new();
    let mut warnings = 0;
    for record in records {
        for call in record["tool_calls"].as_array().into_iter().flatten() {
            warnings += usize::from(calls.iter().any(|(id, _)| *id == &call["tool_call_id"]));
            calls.push((&call["tool_call_id"], steps.len()));
        }
        if record["type"] == "step" {
            steps.push((record, Vec::new()));
        }
        for result in record["results"].as_array().into_iter().flatten() {
            if let Some((_, step)) = calls.iter().rev().find(|(id, _)| *id == &result["source_call_id"]) {
                steps[*step].1.push(result.clone());
                continue;
            }
            warnings += 1;
            if let Some((_, results)) = steps.iter_mut().rev().find(|(step, _)| step["source"] == "agent") {
                results.push(modeled_unmatched(result));
            }
        }
    }
    let mut totals = Map::new();
    let present = |name: &str| -> Vec<&Value> {
        steps.iter().map(|(step, _)| &step["metrics"][name]).filter(|value| !value.is_null()).collect()
    };
    for name in ["prompt_tokens", "completion_tokens", "cached_tokens"] {
        let values = present(name);
        if !values.is_empty() {
            totals
                .insert(format!("total_{name}"), values.iter().filter_map(|value| value.as_u64()).sum::<u64>().into());
        }
    }
    let costs = present("cost_usd");
    if !costs.is_empty() {
        totals.insert("total_cost_usd".to_owned(), costs.iter().filter_map(|value| value.as_f64()).sum::<f64>().into());
    }
    totals.insert("total_steps".to_owned(), steps.len().into());
    let steps = steps.iter().enumerate().map(|(number, (step, results))| modeled_step(number, step, results));
    let document = json!({
        "schema_version": "ATIF-v1.7",
        "session_id": "agent-1",
        "trajectory_id": "é",
        "agent": {"name": "codex", "version": "unknown"},
        "steps": steps.collect::<Vec<_>>(),
        "final_metrics": totals,
    });
    (document, warnings)
}

/// Formats a document like Python.
fn as_python_prints(document: &Value) -> String {
    let mut text = String::new();
    for character in (serde_json::to_string_pretty(document).expect("can be written") + "\n").chars() {
        if matches!(character, '\n' | ' '..='~') {
            text.push(character);
        } else {
            text.extend(character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    text
}

proptest! {
    #[test]
    fn a_document_is_that_of_a_simple_model(
        records in prop::collection::vec(record(), 0..12),
        between in prop::collection::vec(prop::sample::select(vec!["", "\n", " \n\n", "{\"type\":\"step\",\n"]), 12),
        ends in prop::collection::vec(0_usize..12, 0..3),
        partial in prop::sample::select(vec!["", "{", "{\"type\":\"step\","]),
    ) {
        let mut files = vec![format!("{HEADER}\n")];
        for (number, (record, rest)) in records.iter().zip(&between).enumerate() {
            if ends.contains(&number) {
                files.push(String::new());
            }
            files.last_mut().expect("is one").extend([&record.to_string(), "\n", rest]);
        }
        files.last_mut().expect("is one").push_str(partial);
        let transcript = Transcript::of(&files);
        let (document, warnings) = model(&records);
        if document["steps"] == json!([]) {
            prop_assert!(matches!(transcript.build(Layout::Compact), Err(AtifError::NoSteps(_))));
            return Ok(());
        }
        let damaged = between.iter().take(records.len()).any(|rest| rest.starts_with('{'));
        let (compact, built) = transcript.build(Layout::Compact).expect("is a transcript");
        prop_assert_eq!(compact, format!("{document}\n"));
        prop_assert_eq!(built.warnings.len(), warnings + usize::from(damaged));
        let (as_mngr, also) = transcript.build(Layout::AsMngr).expect("is a transcript");
        prop_assert_eq!(as_mngr, as_python_prints(&document));
        prop_assert_eq!(built, also);
    }
}
