use serde_json::Value;

use super::*;

fn hooks(program: &str) -> OwnHooks {
    OwnHooks::new(Path::new(program), Path::new("/s/{session_id}")).expect("usable paths")
}

fn add(text: &str) -> String {
    hooks("/bin/mngr-codex").add_to(text).expect("is a hooks.json")
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("is JSON")
}

/// A file with hooks of the user, in the form in which people and programs write it.
const USERS: &str = r#"{
    "$schema": "x",
    "hooks": {
        "Stop": [
            { "hooks": [{"type": "command", "command": "say done", "timeout": 1.50}] }
        ],
        "Notification": [],
        "PreToolUse": [
            {"matcher": "Bash", "hooks": [{"type": "command", "command": "check"}]}
        ]
    },
    "zzz": 12345678901234567890123, "a": 1e400
}
"#;

#[test]
fn a_new_file_has_one_hook_for_each_event_that_has_an_effect() {
    let text = add("");
    assert_eq!(text, add("{}"), "an empty file is like an empty object");
    let file = parsed(&text);
    let events = file["hooks"].as_object().expect("is an object");
    assert_eq!(
        events.keys().map(String::as_str).collect::<Vec<_>>(),
        [
            "SessionStart",
            "SessionEnd",
            "UserPromptSubmit",
            "PreModelRequest",
            "PreToolUse",
            "PermissionRequest",
            "PostToolUse",
            "PreCompact",
            "PostCompact",
            "SubagentStart",
            "SubagentStop",
            "Stop",
            "Interrupt",
        ],
    );
    let expected = serde_json::json!([{"hooks": [{
        "type": "command",
        "command": "exec /bin/mngr-codex hook stop --state-dir '/s/{session_id}'",
        "timeout": 60,
    }]}]);
    assert_eq!(events["Stop"], expected);
    assert_eq!(events["Interrupt"][0]["hooks"][0]["timeout"], 3);
    assert_eq!(hooks("/bin/mngr-codex").count(), events.len());
}

#[test]
fn everything_else_keeps_its_bytes() {
    let text = add(USERS);
    for line in USERS.lines().filter(|line| line.contains("say") || line.contains("zzz") || line.contains("schema")) {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    let (before, after) = (parsed(&USERS.replace("1e400", "1")), parsed(&text.replace("1e400", "1")));
    assert_eq!(after["hooks"]["PreToolUse"][0], before["hooks"]["PreToolUse"][0]);
    assert_eq!(after["hooks"]["PreToolUse"].as_array().map(Vec::len), Some(2));
    // The position of a hook is part of its identity for Codex, so the user's stay where they are.
    assert_eq!(after["hooks"]["Stop"][0], before["hooks"]["Stop"][0]);
    assert_eq!(remove_hooks(&text).expect("is a hooks.json"), USERS);
}

#[test]
fn a_second_installation_changes_nothing_and_another_program_replaces_the_hooks_in_place() {
    let text = add(USERS);
    assert_eq!(add(&text), text);
    let moved = hooks("/new place/mngr-codex").add_to(&text).expect("is a hooks.json");
    assert_eq!(moved, text.replace("exec /bin/mngr-codex", "exec '/new place/mngr-codex'"));
    let followed = text.replacen("say done", "say begun", 1);
    assert_eq!(
        remove_hooks(&hooks("/x/mngr-codex").add_to(&followed).expect("is one")).expect("is one"),
        USERS.replace("say done", "say begun")
    );
}

#[test]
fn a_hook_that_was_edited_is_restored() {
    let text = add("");
    let edited = text.replacen("\"timeout\": 60", "\"async\": true, \"timeout\": 1", 1);
    assert_ne!(edited, text);
    assert_eq!(parsed(&add(&edited)), parsed(&text));
    let compact = serde_json::to_string(&parsed(&text)).expect("can be written");
    assert_eq!(add(&compact), format!("{compact}\n"));
    assert_eq!(parsed(&remove_hooks(&compact).expect("is a hooks.json")), serde_json::json!({}));
}

#[test]
fn hooks_of_an_earlier_recipe_are_replaced() {
    let old = r#"{"hooks": {
        "Stop": [{"hooks": [{"type": "command", "command": "mngr-codex hook stop"}, {"type": "command", "command": "mine"}]}],
        "PreToolUse": [{"matcher": "Bash", "hooks": [{"type": "command", "command": "mngr-codex hook pre-tool-use"}]}],
        "PostModelRequest": [
            {"hooks": [{"type": "command", "command": "'/old/mngr-codex' hook post-model-request --state-dir=/d"}]}
        ]
    }}"#;
    assert_eq!(state_dirs_of_hooks(old), [PathBuf::from("/d")]);
    let text = add(old);
    let new = &parsed(&text)["hooks"];
    assert_eq!(new["Stop"][0]["hooks"][1]["command"], "mine");
    assert_eq!(new["Stop"].as_array().map(Vec::len), Some(1));
    assert!(new["PreToolUse"][0].get("matcher").is_none(), "it has to run for every tool: {text}");
    assert!(new.get("PostModelRequest").is_none(), "it has no effect: {text}");
    assert_eq!(state_dirs_of_hooks(&text), [PathBuf::from("/s/{session_id}")]);
    assert_eq!(
        parsed(&remove_hooks(&text).expect("is a hooks.json")),
        serde_json::json!({"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "mine"}]}]}}),
    );
}

#[test]
fn only_hooks_that_do_nothing_else_are_recognized() {
    for own in [
        "mngr-codex hook stop",
        "exec /a/mngr-codex hook session-start --state-dir '/a b/{session_id}' --flush-budget 5",
        "'/a b/mngr-codex' hook interrupt --state-dir=/x",
    ] {
        assert!(Command::parse(own).is_some(), "{own}");
    }
    for other in [
        "",
        "mngr-codex",
        "mngr-codex hook",
        "mngr-codex hook stops",
        "mngr-codex watch stop",
        "other hook stop",
        "mngr-codex hook stop; say done",
        "mngr-codex hook stop && say done",
        "mngr-codex hook stop --state-dir",
        "mngr-codex hook stop --state-dir 'x",
        "mngr codex hook stop",
    ] {
        assert_eq!(Command::parse(other), None, "{other}");
    }
}

#[test]
fn a_file_of_another_form_is_refused_with_the_place() {
    let message = |text: &str| hooks("/bin/mngr-codex").add_to(text).expect_err("not usable").to_string();
    assert_eq!(message("{\n  \"hooks\": {,}\n}"), "it is not valid JSON: key must be a string (line 2, column 13)");
    assert!(message("{} // comment").contains("(line 1, column 4)"));
    assert_eq!(message("[]"), "the file is not an object");
    assert_eq!(message(r#"{"hooks": []}"#), "`hooks` is not an object");
    assert_eq!(message(r#"{"hooks": {"Stop": {}}}"#), "`hooks.Stop` is not an array");
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(message(&nested), "it is not valid JSON: maximum nesting depth exceeded (line 1, column 513)");
    assert!(remove_hooks("{").is_err() && state_dirs_of_hooks("{").is_empty());
}

#[test]
fn paths_are_quoted_for_a_shell() {
    let hooks = OwnHooks::new(Path::new("/it's $HOME/mngr-codex"), Path::new("/d \"ä\"/{session_id}"));
    let text = hooks.expect("usable paths").add_to("").expect("is a hooks.json");
    let command = &parsed(&text)["hooks"]["Stop"][0]["hooks"][0]["command"];
    let words = shlex::split(command.as_str().expect("is a string")).expect("is one command");
    assert_eq!(words, ["exec", "/it's $HOME/mngr-codex", "hook", "stop", "--state-dir", "/d \"ä\"/{session_id}"]);
    let damaged = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"/\xff");
    assert!(matches!(OwnHooks::new(Path::new(damaged), Path::new("/d")), Err(HooksFileError::Path(_))));
}
