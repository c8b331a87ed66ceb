use std::io::Write;

use tempfile::TempDir;

use super::*;

const HEADER: &str = r#"{"type":"header","event_id":"header-0","emitter":"codex","schema_version":"ATIF-v1.7"}"#;
const META: &str = r#"{"timestamp":"2026-01-31T12:34:56.789Z","type":"session_meta","payload":{"id":"0"}}"#;
const ROLLOUT: &str = "rollout-2026-01-31T12-34-56-019a-7b.jsonl";

fn folder() -> TempDir {
    tempfile::tempdir().expect("can be created")
}

/// Writes a file, and creates its folders.
fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("has a parent")).expect("can be created");
    fs::write(path, bytes).expect("can be written");
}

/// Creates an agent's state directory with a transcript of each source.
fn agent_in(host: &Path, id: &str, name: &str, sources: &[&str]) -> PathBuf {
    let state_dir = host.join("agents").join(id);
    write(&state_dir.join("data.json"), format!(r#"{{"id":"{id}","name":"{name}","type":"codex"}}"#));
    for source in sources {
        write(&state_dir.join("events").join(source).join(COMMON).join(CURRENT), format!("{HEADER}\n"));
    }
    state_dir
}

fn agent_of(kind: Option<&str>, id: Option<&str>) -> Agent {
    Agent { kind: kind.map(str::to_owned), id: id.map(str::to_owned), work_dir: None }
}

/// A transcript of one file.
fn transcript(current: PathBuf, agent: Agent) -> Target {
    Target::Transcript { files: vec![current.clone()], is_all: true, current, agent }
}

/// Like [`transcript`], if the user gave the path of the file.
fn single_file(current: PathBuf, agent: Agent) -> Target {
    Target::Transcript { files: vec![current.clone()], is_all: false, current, agent }
}

/// Returns the kind of a file with this content.
fn kind(bytes: impl AsRef<[u8]>) -> Option<FileKind> {
    let folder = folder();
    let path = folder.path().join("file");
    write(&path, bytes);
    kind_of(&path).expect("can be read").ok()
}

fn compressed(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 0).expect("can be compressed")
}

#[test]
fn the_transcript_of_a_state_directory_is_found() {
    let host = folder();
    let state_dir = agent_in(host.path(), "agent-1", "ada", &["codex"]);
    let current = state_dir.join("events/codex/common_transcript/events.jsonl");
    let expected = transcript(current.clone(), agent_of(Some("codex"), Some("agent-1")));
    assert_eq!(at(&state_dir).expect("exists"), expected);
    assert_eq!(at(current.parent().expect("has a parent")).expect("exists"), expected);
    let alone = single_file(current.clone(), agent_of(Some("codex"), Some("agent-1")));
    assert_eq!(at(&current).expect("exists"), alone);
}

#[test]
fn a_transcript_without_a_source_is_found() {
    let host = folder();
    let state_dir = agent_in(host.path(), "agent-1", "ada", &[""]);
    let current = state_dir.join("events/common_transcript/events.jsonl");
    assert_eq!(in_folder(&state_dir).expect("exists"), transcript(current, agent_of(Some("codex"), Some("agent-1"))));
}

#[test]
fn rotated_files_come_first_even_without_a_current_one() {
    let host = folder();
    let state_dir = agent_in(host.path(), "agent-1", "ada", &["codex"]);
    let current = state_dir.join("events/codex/common_transcript/events.jsonl");
    let rotated = ["1", "2"].map(|time| current.with_file_name(format!("{CURRENT}.{time}")));
    for path in &rotated {
        write(path, format!("{HEADER}\n"));
    }
    let agent = agent_of(Some("codex"), Some("agent-1"));
    let all = [rotated.to_vec(), vec![current.clone()]].concat();
    let expected = Target::Transcript { files: all, is_all: true, current: current.clone(), agent: agent.clone() };
    assert_eq!(in_folder(&state_dir).expect("exists"), expected);
    fs::remove_file(&current).expect("can be removed");
    let expected = Target::Transcript { files: rotated.to_vec(), is_all: true, current, agent };
    assert_eq!(in_folder(&state_dir).expect("exists"), expected);
}

#[test]
fn an_agent_that_has_written_nothing_yet_has_a_transcript_without_files() {
    let host = folder();
    let known = agent_in(host.path(), "agent-1", "ada", &[]);
    let ours = host.path().join("agents/agent-2");
    fs::create_dir_all(ours.join("plugin/mngr_codex")).expect("can be created");
    for (state_dir, agent) in
        [(known, agent_of(Some("codex"), Some("agent-1"))), (ours, agent_of(None, Some("agent-2")))]
    {
        let current = state_dir.join("events/codex/common_transcript/events.jsonl");
        let expected = Target::Transcript { files: Vec::new(), is_all: true, current, agent };
        assert_eq!(in_folder(&state_dir).expect("is one"), expected);
    }
}

#[test]
fn several_transcripts_in_a_folder_are_ambiguous() {
    let host = folder();
    let state_dir = agent_in(host.path(), "agent-1", "ada", &["claude", "codex"]);
    let both = ["claude", "codex"].map(|source| state_dir.join("events").join(source).join(COMMON));
    match in_folder(&state_dir) {
        Err(TargetError::SeveralTranscripts { folder, mut transcripts }) => {
            transcripts.sort();
            assert_eq!((folder, transcripts.as_slice()), (state_dir.clone(), both.as_slice()));
        }
        other => panic!("{other:?}"),
    }
    let error = in_folder(&state_dir).expect_err("are several").to_string();
    assert!(both.iter().all(|path| error.contains(&escaped_path(path))), "{error}");
    let agent = agent_of(Some("codex"), Some("agent-1"));
    assert_eq!(in_folder(&both[0]).expect("is one"), transcript(both[0].join(CURRENT), agent));
}

#[test]
fn the_log_of_a_script_is_no_transcript() {
    let host = folder();
    let state_dir = agent_in(host.path(), "agent-1", "ada", &["codex"]);
    let only = in_folder(&state_dir).expect("is one");
    let log = r#"{"type":"common_transcript","source":"logs/common_transcript","level":"INFO","message":"x"}"#;
    write(&state_dir.join("events/logs").join(COMMON).join(CURRENT), format!("{log}\n"));
    assert_eq!(in_folder(&state_dir).expect("is one"), only);
}

#[test]
fn other_folders_have_no_transcript() {
    let folder = folder();
    let error = at(folder.path()).expect_err("has none");
    assert!(matches!(&error, TargetError::NoTranscript(path) if *path == folder.path()), "{error}");
    // Nor have an empty folder of a transcript, and files in place of folders.
    fs::create_dir_all(folder.path().join("events/codex/common_transcript")).expect("can be created");
    write(&folder.path().join("events/file"), "");
    write(&folder.path().join("events/claude/common_transcript"), "");
    assert!(matches!(in_folder(folder.path()), Err(TargetError::NoTranscript(_))));
}

#[test]
fn a_preserved_copy_has_the_agents_id_in_its_name() {
    let host = folder();
    let copy = host.path().join("preserved/my--ada--agent-1");
    let current = copy.join("events/codex/common_transcript/events.jsonl");
    write(&current, format!("{HEADER}\n"));
    assert_eq!(in_folder(&copy).expect("exists"), transcript(current.clone(), agent_of(None, Some("agent-1"))));
    write(&copy.join("data.json"), r#"{"type":"codex","id":"agent-2","name":"ada"}"#);
    let agent = agent_of(Some("codex"), Some("agent-2"));
    assert_eq!(in_folder(&copy).expect("exists"), transcript(current, agent));
}

#[test]
fn the_valid_members_of_mngrs_record_are_used() {
    for (data, agent) in [
        (r#"{"type":"codex","id":"a"}"#, agent_of(Some("codex"), Some("a"))),
        (r#"{"type":"codex"}"#, agent_of(Some("codex"), Some("folder"))),
        (r#"{"type":1,"id":[]}"#, agent_of(None, Some("folder"))),
        ("[]", agent_of(None, Some("folder"))),
        (r#"{"type":"codex","#, agent_of(None, Some("folder"))),
    ] {
        let above = folder();
        let state_dir = above.path().join("folder");
        write(&state_dir.join("data.json"), data);
        assert_eq!(super::agent(&state_dir), agent, "{data}");
    }
}

#[test]
fn an_agent_is_found_by_its_name_and_by_its_id() {
    let host = folder();
    let ada = agent_in(host.path(), "agent-1", "ada", &["codex"]);
    agent_in(host.path(), "agent-2", "bob", &["codex"]);
    write(&host.path().join("agents/eve"), "not a folder");
    fs::create_dir_all(host.path().join("agents/agent-3")).expect("can be created");
    for name in ["ada", "agent-1"] {
        assert_eq!(agents_named(Path::new(name), host.path()), std::slice::from_ref(&ada));
    }
    for name in ["ad", "Ada", "eve", "agent-4"] {
        assert!(agents_named(Path::new(name), host.path()).is_empty(), "{name}");
    }
    // mngr's record of it is missing.
    assert_eq!(agents_named(Path::new("agent-3"), host.path()), [host.path().join("agents/agent-3")]);
    assert!(agents_named(Path::new("ada"), &host.path().join("none")).is_empty());
}

#[test]
fn several_agents_can_have_one_name() {
    let host = folder();
    let both = ["agent-1", "agent-2"].map(|id| agent_in(host.path(), id, "ada", &["codex"]));
    let mut found = agents_named(Path::new("ada"), host.path());
    found.sort();
    assert_eq!(found, both);
    assert_eq!(agents_named(Path::new("agent-1"), host.path()), both[..1]);
}

#[test]
fn the_preserved_copies_of_a_destroyed_agent_are_found() {
    let host = folder();
    let copy = host.path().join("preserved/my--ada--agent-1");
    for folder in [&copy, &host.path().join("preserved/other--agent-2"), &host.path().join("preserved/my")] {
        fs::create_dir_all(folder).expect("can be created");
    }
    for name in ["my--ada", "agent-1"] {
        assert_eq!(copies_named(Path::new(name), host.path()), std::slice::from_ref(&copy));
    }
    for name in ["my", "ada", "my--ada--agent-1"] {
        assert!(copies_named(Path::new(name), host.path()).is_empty(), "{name}");
    }
}

#[test]
fn a_rollout_and_its_session_are_detected_by_content() {
    let folder = folder();
    let without_id = META.replace(r#"{"id":"0"}"#, "{}");
    let of_name = Some("019a-7b");
    for (name, line, id) in [
        (ROLLOUT, META, Some("0")),
        ("events.jsonl", META, Some("0")),
        (ROLLOUT, &without_id, of_name),
        ("transcript.jsonl.zst", &without_id, None),
    ] {
        for text in [format!("{line}\n").into_bytes(), compressed(&format!("{line}\n"))] {
            let path = folder.path().join(name);
            write(&path, text);
            assert_eq!(at(&path).expect("is one"), Target::Rollout { path, agent: agent_of(None, id) });
        }
    }
}

#[test]
fn a_transcript_is_detected_by_content() {
    let folder = folder();
    let path = folder.path().join(ROLLOUT);
    write(&path, format!("{HEADER}\n"));
    assert_eq!(at(&path).expect("is one"), single_file(path.clone(), Agent::default()));
    write(&path, compressed(&format!("{HEADER}\n")));
    let error = at(&path).expect_err("is not read compressed");
    assert!(matches!(&error, TargetError::Compressed(found) if *found == path), "{error}");
}

#[test]
fn a_transcript_belongs_to_the_innermost_agent() {
    let host = folder();
    let outer = agent_in(host.path(), "agent-1", "ada", &[]);
    let inner = agent_in(&outer, "agent-2", "bob", &["codex"]);
    let current = inner.join("events/codex/common_transcript/events.jsonl");
    let agent = agent_of(Some("codex"), Some("agent-2"));
    assert_eq!(in_file(&current).expect("is one"), single_file(current.clone(), agent.clone()));
    let folder = in_folder(current.parent().expect("has a parent"));
    assert_eq!(folder.expect("is one"), transcript(current, agent));
}

#[test]
fn the_first_rollout_line_or_record_decides_the_kind() {
    for (text, expected) in [
        (format!("{HEADER}\n{META}\n"), Some(FileKind::Transcript)),
        (format!("{META}\n{HEADER}\n"), Some(FileKind::Rollout)),
        (format!("{{\"type\":\"st\n\n[1]\n{META}\n"), Some(FileKind::Rollout)),
        (format!("{{\"a\":1}}\n{HEADER}\n"), Some(FileKind::Transcript)),
        (format!("{{\"a\":1}}\n{META}\n"), Some(FileKind::Rollout)),
        ("{\"payload\":{}}\n".to_owned(), None),
        ("{\"type\":\"session_meta\"}\n".to_owned(), None),
        ("{\"type\":\"step\"}\n".to_owned(), Some(FileKind::Transcript)),
        ("{\"type\":\"observation\"}\n".to_owned(), Some(FileKind::Transcript)),
        ("{\"type\":\"user_message\"}\n".to_owned(), Some(FileKind::Transcript)),
        ("{\"type\":\"turn\",\"payload\":{}}\n".to_owned(), Some(FileKind::Rollout)),
        ("{\"type\":\"turn\",\"payload\":0}\n".to_owned(), None),
        (format!("\u{FEFF}{META}\n"), Some(FileKind::Rollout)),
        (format!("{}{META}\n", &META[..20]), Some(FileKind::Rollout)),
    ] {
        assert_eq!(kind(&text), expected, "{text}");
        assert_eq!(kind(compressed(&text)), if_compressed(expected), "{text}");
    }
}

#[test]
fn some_damaged_lines_before_the_first_object_are_skipped() {
    assert_eq!(kind("damaged\n".repeat(4095) + META + "\n"), Some(FileKind::Rollout));
    assert_eq!(kind("damaged\n".repeat(4096) + META + "\n"), None);
}

#[test]
fn a_file_without_a_line_is_undetermined_and_treated_as_a_transcript() {
    assert_eq!(kind(""), Some(FileKind::Undetermined));
    assert_eq!(kind(compressed("")), None);
    let folder = folder();
    let path = folder.path().join(ROLLOUT);
    assert!(!is_undetermined(&path).expect("does not exist"));
    write(&path, "");
    assert!(is_undetermined(&path).expect("exists"));
    write(&folder.path().join(CURRENT), "");
    assert!(is_undetermined(folder.path()).expect("exists"));
    write(&folder.path().join(CURRENT), format!("{META}\n"));
    assert!(!is_undetermined(folder.path()).expect("exists"));
    assert_eq!(at(&path).expect("is one"), single_file(path.clone(), Agent::default()));
    write(&path, format!("{META}\n"));
    assert!(!is_undetermined(&path).expect("exists"));
}

/// Returns the kind of the same content after compression.
fn if_compressed(kind: Option<FileKind>) -> Option<FileKind> {
    match kind {
        Some(FileKind::Transcript) => Some(FileKind::CompressedTranscript),
        // A compressed file is complete.
        Some(FileKind::Undetermined) => None,
        kind => kind,
    }
}

#[test]
fn a_folder_with_a_rollout_is_that_rollout() {
    let folder = folder();
    let current = folder.path().join(CURRENT);
    write(&current, format!("{META}\n"));
    assert_eq!(in_folder(folder.path()).expect("is one"), in_file(&current).expect("is one"));
    assert!(matches!(in_file(&current), Ok(Target::Rollout { .. })));
    write(&folder.path().join("events.jsonl.2026"), format!("{META}\n"));
    let error = in_folder(folder.path()).expect_err("has two");
    assert!(matches!(&error, TargetError::SeveralTranscripts { transcripts, .. } if transcripts.len() == 2), "{error}");
}

#[test]
fn a_partial_first_line_decides_by_its_beginning() {
    for (text, expected) in [
        (META, Some(FileKind::Rollout)),
        (&META[..META.len() / 2], Some(FileKind::Rollout)),
        (&META[.."{\"timestamp\"".len()], Some(FileKind::Rollout)),
        (HEADER, Some(FileKind::Transcript)),
        (&HEADER[..HEADER.len() / 2], Some(FileKind::Transcript)),
        (" \t{\"type", Some(FileKind::Transcript)),
        (" \t{", Some(FileKind::Undetermined)),
        ("{\"tim", Some(FileKind::Undetermined)),
        (" ", Some(FileKind::Undetermined)),
        ("damaged", None),
        ("[{\"timestamp\"", None),
    ] {
        assert_eq!(kind(text), expected, "{text}");
        assert_eq!(kind(compressed(text)), if_compressed(expected), "{text}");
    }
}

#[test]
fn a_partial_line_decides_nothing_after_lines_that_are_not_blank() {
    assert_eq!(kind(format!("damaged\n{}", &META[..40])), None);
    assert_eq!(kind(format!("damaged\n{META}")), Some(FileKind::Rollout));
    assert_eq!(kind(format!("\n \n{META}")), Some(FileKind::Rollout));
    assert_eq!(kind("\n{\"tim"), Some(FileKind::Undetermined));
}

#[test]
fn a_long_first_line_decides_the_kind() {
    let long = format!(r#"{{"timestamp":"","type":"session_meta","payload":{{"a":"{}"}}}}"#, "x".repeat(3 << 20));
    assert_eq!(kind(format!("{long}\n")), Some(FileKind::Rollout));
    assert_eq!(kind(compressed(&long)), Some(FileKind::Rollout));
}

#[test]
fn blank_lines_are_no_transcript_but_one_may_follow_them() {
    assert_eq!(kind("\n \n"), Some(FileKind::Blank));
    let folder = folder();
    let path = folder.path().join(ROLLOUT);
    write(&path, "\n");
    assert!(is_undetermined(&path).expect("exists"));
    let error = at(&path).expect_err("is blank");
    assert!(matches!(&error, TargetError::Unrecognized { kind: NotARollout::Blank, .. }), "{error}");
}

#[test]
fn other_files_are_unrecognized() {
    let folder = folder();
    let path = folder.path().join(ROLLOUT);
    for bytes in [&b"\x7fELF\0\x01\n\xff\n"[..], b"# Notes\n\n{}\n", b"null\n"] {
        write(&path, bytes);
        let error = at(&path).expect_err("is neither");
        assert!(matches!(&error, TargetError::Unrecognized { path: found, .. } if *found == path), "{error}");
    }
}

#[test]
fn a_damaged_compressed_file_cannot_be_read() {
    let folder = folder();
    let path = folder.path().join(ROLLOUT);
    let complete = compressed(&format!("{META}\n"));
    write(&path, &complete[..complete.len() / 2]);
    let error = at(&path).expect_err("is damaged");
    assert!(matches!(&error, TargetError::File(FileError { path: damaged, .. }) if *damaged == path), "{error}");
}

#[test]
fn paths_in_messages_have_no_control_characters() {
    for (path, expected) in [
        ("a b/\u{e9}\u{4e2d}", "a b/\u{e9}\u{4e2d}"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[31m\u{9b}\0\x7f", "\\u{1b}[31m\\u{9b}\\u{0}\\u{7f}"),
        ("a\\n", "a\\n"),
    ] {
        assert_eq!(escaped_path(Path::new(path)), expected);
    }
    let host = folder();
    let odd = host.path().join("\x1b[2J\n");
    write(&odd.join("file"), "damaged\n");
    let messages = [
        at(&odd).expect_err("has none").to_string(),
        at(&odd.join("file")).expect_err("is neither").to_string(),
        at(&odd.join("gone")).expect_err("does not exist").to_string(),
    ];
    for message in messages {
        assert!(message.contains("\\u{1b}[2J\\n") && !message.contains(char::is_control), "{message}");
    }
}

#[test]
fn a_partial_transcript_is_recognized_by_its_first_bytes() {
    let folder = folder();
    let path = folder.path().join(CURRENT);
    let mut file = fs::File::create(&path).expect("can be created");
    for (piece, expected) in [
        ("", Some(FileKind::Undetermined)),
        ("{\"type\"", Some(FileKind::Transcript)),
        (":\"header\"}\n", Some(FileKind::Transcript)),
    ] {
        file.write_all(piece.as_bytes()).expect("can be written");
        assert_eq!(kind_of(&path).expect("can be read").ok(), expected);
    }
}
