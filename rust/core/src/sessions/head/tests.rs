use std::fs;
use std::path::PathBuf;

use super::*;

const ID: &str = "01a22cf9-1255-7310-ae91-b487198a0950";

fn recording(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(format!("{name}.jsonl"))
}

fn read(name: &str) -> SessionHead {
    SessionHead::read(&recording(name)).expect("can be read")
}

/// Reads the head of a file with these lines.
fn head_of(lines: &[String]) -> SessionHead {
    let folder = tempfile::tempdir().expect("can be created");
    let path = folder.path().join(format!("rollout-2026-01-31T12-34-56-{ID}.jsonl"));
    fs::write(&path, lines.join("\n") + "\n").expect("can be written");
    SessionHead::read(&path).expect("can be read")
}

fn line(kind: &str, payload: &str) -> String {
    format!(r#"{{"timestamp":"2026-01-31T12:34:56.789Z","type":"{kind}","payload":{payload}}}"#)
}

fn user(text: &str) -> String {
    let content = format!(r#"[{{"type":"input_text","text":{text:?}}}]"#);
    line("response_item", &format!(r#"{{"type":"message","role":"user","content":{content}}}"#))
}

#[test]
fn a_session_of_the_newest_version_is_described() {
    let meta = SessionMeta {
        id: Some(ID.to_owned()),
        cwd: Some("/srv/lab/runs/0.171.0/plain/proj".into()),
        branch: Some("master".to_owned()),
        cli_version: Some("0.171.0".to_owned()),
        model_provider: Some("mock".to_owned()),
        started_ms: Some(1_796_050_850_412),
        ..SessionMeta::default()
    };
    let (model, title) = (Some("gpt-5.5".to_owned()), Some("[[plain]] hello there".to_owned()));
    assert_eq!(read("0.171.0/plain"), SessionHead { meta, model, title });
}

#[test]
fn each_recorded_session_has_an_id_a_folder_a_version_and_a_title() {
    for name in ["0.64.0/calls", "0.138.0/plain", "0.147.0/plain", "0.163.0/fork", "0.169.0/unicode"] {
        let head = read(name);
        assert!(head.meta.id.is_some() && head.meta.cwd.is_some() && head.model.is_some(), "{name}: {head:?}");
        let version = name.split_once('/').map(|(version, _)| version);
        assert_eq!(head.meta.cli_version.as_deref(), version, "{name}");
        assert!(head.title.is_some_and(|title| !title.starts_with('<')), "{name}");
        assert!(!head.meta.is_subagent, "{name}");
    }
}

#[test]
fn a_subagent_names_its_parent() {
    let meta = read("0.171.0/spawn.child1").meta;
    assert!(meta.is_subagent);
    assert_eq!(meta.parent.as_deref(), Some("01a22cf9-816c-7693-a98b-7fc33c07f24e"));
    assert_eq!(meta.id.as_deref(), Some("01a22cf9-8648-70b3-b08d-a5e097ef063e"));
}

#[test]
fn a_fork_is_titled_by_its_own_first_message() {
    assert_eq!(read("0.98.0/tui_fork.2").title.as_deref(), Some("forked question"));
    let fork = read("0.171.0/fork.2");
    assert_eq!(fork.meta.forked_from.as_deref(), Some("01a22cf9-fad7-75b2-b254-3bde1734c936"));
}

#[test]
fn the_branch_comes_from_the_header() {
    let git = r#"{"id":"1","git":{"commit_hash":"0171f4a8","branch":"feature/\u00e9"}}"#;
    assert_eq!(head_of(&[line("session_meta", git)]).meta.branch.as_deref(), Some("feature/é"));
}

#[test]
fn the_name_that_the_user_gave_is_the_title() {
    let home = tempfile::tempdir().expect("can be created");
    let folder = home.path().join("sessions/2026/11/30");
    fs::create_dir_all(&folder).expect("can be created");
    let path = folder.join(format!("rollout-2026-11-30T15-00-50-{ID}.jsonl"));
    fs::copy(recording("0.171.0/plain"), &path).expect("can be copied");
    let name = format!("{{\"id\":\"{ID}\",\"thread_name\":\"Say\\nhello\"}}\n");
    fs::write(home.path().join("session_index.jsonl"), name).expect("can be written");
    assert_eq!(SessionHead::read(&path).expect("can be read").title.as_deref(), Some("Say hello"));
}

#[test]
fn a_compressed_session_is_described() {
    let folder = tempfile::tempdir().expect("can be created");
    let path = folder.path().join("session.jsonl.zst");
    let text = fs::read(recording("0.171.0/plain")).expect("can be read");
    fs::write(&path, zstd::encode_all(&text[..], 0).expect("can be compressed")).expect("can be written");
    assert_eq!(SessionHead::read(&path).expect("can be read"), read("0.171.0/plain"));
}

#[test]
fn a_title_is_one_line_of_limited_length() {
    let long = "word ".repeat(100);
    let title = head_of(&[line("session_meta", "{}"), user(&format!("  \n{long}"))]).title.expect("exists");
    assert_eq!(title.chars().count(), MAX_TITLE);
    assert!(title.starts_with("word word") && title.ends_with('…'), "{title}");
    let image = "<image name=[Image #1] path=\"/x.png\">\n\n</image>\n\nsee this";
    assert_eq!(head_of(&[line("session_meta", "{}"), user(image)]).title.as_deref(), Some("see this"));
}

#[test]
fn text_of_codex_in_the_users_role_is_no_title() {
    let context = user("<environment_context>\n  <cwd>/x</cwd>\n</environment_context>");
    let head = head_of(&[line("session_meta", "{}"), context, user("fix it")]);
    assert_eq!(head.title.as_deref(), Some("fix it"));
}

#[test]
fn a_damaged_file_has_what_can_be_read() {
    let head = head_of(&["{\"timestamp".to_owned(), line("turn_context", r#"{"model":"gpt-5.5"}"#), user("fix it")]);
    assert_eq!((head.meta.id.as_deref(), head.meta.cwd), (Some(ID), None));
    assert_eq!((head.model.as_deref(), head.title.as_deref()), (Some("gpt-5.5"), Some("fix it")));
    let meta = SessionMeta { id: Some(ID.to_owned()), ..SessionMeta::default() };
    assert_eq!(head_of(&[]), SessionHead { meta, ..SessionHead::default() });
    let wrong = r#"{"id":1,"cwd":[],"git":"main","source":{"subagent":"review"},"timestamp":"never"}"#;
    let meta = head_of(&[line("session_meta", wrong)]).meta;
    assert_eq!((meta.id.as_deref(), meta.cwd, meta.branch), (Some(ID), None, None));
    assert!(meta.is_subagent);
    assert_eq!(meta.started_ms, Some(1_769_862_896_789));
}

#[test]
fn only_the_beginning_of_a_large_file_is_read() {
    let copied = line("session_meta", r#"{"id":"other","cwd":"/other"}"#);
    let filler = line("event_msg", &format!(r#"{{"type":"x","text":"{}"}}"#, "x".repeat(1 << 20)));
    let mut lines = vec![line("session_meta", &format!(r#"{{"id":"{ID}","cwd":"/own"}}"#)), copied];
    lines.extend((0..9).map(|_| filler.clone()));
    lines.push(user("too late"));
    let head = head_of(&lines);
    assert_eq!((head.meta.cwd.as_deref(), head.title), (Some(Path::new("/own")), None));
}
