use std::io::Write;

use tempfile::TempDir;

use super::*;

const HEADER: &str = r#"{"type":"header","event_id":"header-0","emitter":"codex","schema_version":"ATIF-v1.7"}"#;
const META: &str = r#"{"timestamp":"2026-01-31T12:34:56.789Z","type":"session_meta","payload":{"id":"0"}}"#;
const ROLLOUT: &str = "rollout-2026-01-31T12-34-56-019a-7b.jsonl";

fn folder() -> TempDir {
    tempfile::tempdir().expect("can be made")
}

/// Writes a file, and the folders above it.
fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("has one")).expect("can be made");
    fs::write(path, bytes).expect("can be written");
}

/// An agent's state dir with a transcript of each of these sources.
fn agent_in(host: &Path, id: &str, name: &str, sources: &[&str]) -> PathBuf {
    let state_dir = host.join("agents").join(id);
    write(&state_dir.join("data.json"), format!(r#"{{"id":"{id}","name":"{name}","type":"codex"}}"#));
    for source in sources {
        write(&state_dir.join("events").join(source).join(COMMON).join(CURRENT), format!("{HEADER}\n"));
    }
    state_dir
}

fn agent_of(kind: Option<&str>, id: Option<&str>) -> Agent {
    Agent { kind: kind.map(str::to_owned), id: id.map(str::to_owned) }
}

/// A transcript of one file.
fn transcript(current: PathBuf, agent: Agent) -> Target {
    Target::Transcript { files: vec![current.clone()], is_all: true, current, agent }
}

/// As [`transcript`], where its file was named.
fn named_alone(current: PathBuf, agent: Agent) -> Target {
    Target::Transcript { files: vec![current.clone()], is_all: false, current, agent }
}

/// What a file is that holds this.
fn kind(bytes: impl AsRef<[u8]>) -> Option<FileKind> {
    let folder = folder();
    let path = folder.path().join("file");
    write(&path, bytes);
    kind_of(&path).expect("can be read")
}

fn compressed(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 0).expect("can be compressed")
}

#[test]
fn a_state_dir_has_its_agents_transcript() {
    let host = folder();
    let state_dir = agent_in(host.path(), "agent-1", "ada", &["codex"]);
    let current = state_dir.join("events/codex/common_transcript/events.jsonl");
    let expected = transcript(current.clone(), agent_of(Some("codex"), Some("agent-1")));
    assert_eq!(find(&state_dir).expect("is there"), expected);
    assert_eq!(find(current.parent().expect("has one")).expect("is there"), expected);
    let alone = named_alone(current.clone(), agent_of(Some("codex"), Some("agent-1")));
    assert_eq!(find(&current).expect("is there"), alone);
}

#[test]
fn a_transcript_without_a_source_of_its_own_is_found() {
    let host = folder();
    let state_dir = agent_in(host.path(), "agent-1", "ada", &[""]);
    let current = state_dir.join("events/common_transcript/events.jsonl");
    assert_eq!(in_folder(&state_dir).expect("is there"), transcript(current, agent_of(Some("codex"), Some("agent-1"))));
}

#[test]
fn rotated_files_come_first_and_count_also_alone() {
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
    assert_eq!(in_folder(&state_dir).expect("is there"), expected);
    fs::remove_file(&current).expect("can be removed");
    let expected = Target::Transcript { files: rotated.to_vec(), is_all: true, current, agent };
    assert_eq!(in_folder(&state_dir).expect("is there"), expected);
}

#[test]
fn an_agent_that_has_written_nothing_yet_has_a_transcript_without_files() {
    let host = folder();
    let known = agent_in(host.path(), "agent-1", "ada", &[]);
    let ours = host.path().join("agents/agent-2");
    fs::create_dir_all(ours.join("plugin/mngr_codex")).expect("can be made");
    for (state_dir, agent) in
        [(known, agent_of(Some("codex"), Some("agent-1"))), (ours, agent_of(None, Some("agent-2")))]
    {
        let current = state_dir.join("events/codex/common_transcript/events.jsonl");
        let expected = Target::Transcript { files: Vec::new(), is_all: true, current, agent };
        assert_eq!(in_folder(&state_dir).expect("is one"), expected);
    }
}

#[test]
fn of_several_transcripts_one_must_be_named() {
    let host = folder();
    let state_dir = agent_in(host.path(), "agent-1", "ada", &["claude", "codex"]);
    let both = ["claude", "codex"].map(|source| state_dir.join("events").join(source).join(COMMON));
    match in_folder(&state_dir) {
        Err(TargetError::SeveralTranscripts { folder, mut transcripts }) => {
            transcripts.sort();
            assert_eq!((folder, transcripts.as_slice()), (shown(&state_dir), both.as_slice()));
        }
        other => panic!("{other:?}"),
    }
    let error = in_folder(&state_dir).expect_err("are several").to_string();
    assert!(both.iter().all(|path| error.contains(&shown(path))), "{error}");
    let agent = agent_of(Some("codex"), Some("agent-1"));
    assert_eq!(in_folder(&both[0]).expect("is one"), transcript(both[0].join(CURRENT), agent));
}

#[test]
fn a_folder_of_something_else_has_no_transcript() {
    let folder = folder();
    let error = find(folder.path()).expect_err("has none");
    assert!(
        matches!(&error, TargetError::NoTranscript { folder: told, .. } if *told == shown(folder.path())),
        "{error}"
    );
    // An empty folder of a transcript, and files where folders belong, are none either.
    fs::create_dir_all(folder.path().join("events/codex/common_transcript")).expect("can be made");
    write(&folder.path().join("events/file"), "");
    write(&folder.path().join("events/claude/common_transcript"), "");
    assert!(matches!(in_folder(folder.path()), Err(TargetError::NoTranscript { .. })));
}

#[test]
fn what_is_kept_of_a_destroyed_agent_has_its_id_in_its_name() {
    let host = folder();
    let copy = host.path().join("preserved/my--ada--agent-1");
    let current = copy.join("events/codex/common_transcript/events.jsonl");
    write(&current, format!("{HEADER}\n"));
    assert_eq!(in_folder(&copy).expect("is there"), transcript(current.clone(), agent_of(None, Some("agent-1"))));
    write(&copy.join("data.json"), r#"{"type":"codex","id":"agent-2","name":"ada"}"#);
    let told = agent_of(Some("codex"), Some("agent-2"));
    assert_eq!(in_folder(&copy).expect("is there"), transcript(current, told));
}

#[test]
fn what_mngr_wrote_of_an_agent_is_used_as_far_as_it_is_of_use() {
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
    write(&host.path().join("agents/eve"), "a file is no agent");
    for name in ["ada", "agent-1"] {
        assert_eq!(named(Path::new(name), host.path()).expect("is there"), in_folder(&ada).expect("is there"));
    }
    for name in ["ad", "Ada", "eve", "agent-3"] {
        let found = named(Path::new(name), host.path());
        assert!(matches!(&found, Err(TargetError::Nothing { kept_copies, .. }) if kept_copies.is_empty()), "{found:?}");
    }
}

#[test]
fn an_agent_without_a_known_name_is_found_by_its_folder() {
    let host = folder();
    let current = host.path().join("agents/agent-1/events/codex/common_transcript/events.jsonl");
    write(&current, "");
    let found = named(Path::new("agent-1"), host.path()).expect("is there");
    assert_eq!(found, transcript(current, agent_of(None, Some("agent-1"))));
}

#[test]
fn of_several_agents_of_one_name_one_must_be_named_by_its_id() {
    let host = folder();
    let one = agent_in(host.path(), "agent-1", "ada", &["codex"]);
    let other = agent_in(host.path(), "agent-2", "ada", &["codex"]);
    match named(Path::new("ada"), host.path()) {
        Err(TargetError::Several { name, mut folders }) => {
            folders.sort();
            assert_eq!((name.as_str(), folders), ("ada", vec![one.clone(), other]));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(named(Path::new("agent-1"), host.path()).expect("is one"), in_folder(&one).expect("is there"));
}

#[test]
fn where_an_agent_was_destroyed_it_is_told_what_is_kept_of_it() {
    let host = folder();
    let copy = host.path().join("preserved/my--ada--agent-1");
    for folder in [&copy, &host.path().join("preserved/other--agent-2"), &host.path().join("preserved/my")] {
        fs::create_dir_all(folder).expect("can be made");
    }
    for name in ["my--ada", "agent-1"] {
        match named(Path::new(name), host.path()) {
            Err(error @ TargetError::Nothing { .. }) => {
                assert!(error.to_string().ends_with(&shown(&copy)), "{error}");
                let TargetError::Nothing { name: told, agents, kept_copies } = error else { unreachable!() };
                assert_eq!((told.as_str(), agents), (name, shown(&host.path().join("agents"))));
                assert_eq!(kept_copies, std::slice::from_ref(&copy));
            }
            other => panic!("{other:?}"),
        }
    }
    for name in ["my", "ada", "my--ada--agent-1"] {
        let found = named(Path::new(name), host.path());
        assert!(matches!(&found, Err(TargetError::Nothing { kept_copies, .. }) if kept_copies.is_empty()), "{found:?}");
    }
}

#[test]
fn where_there_are_no_agents_there_is_none_of_a_name() {
    let host = folder();
    let error = named(Path::new("ada"), &host.path().join("none")).expect_err("is not there");
    assert!(matches!(error, TargetError::Nothing { .. }));
}

#[test]
fn a_path_that_leads_nowhere_is_no_agents_name() {
    let folder = folder();
    let gone = folder.path().join("gone");
    write(&folder.path().join("file"), "");
    for path in [gone.clone(), gone.join("further"), folder.path().join("file/further")] {
        let error = find(&path).expect_err("is not there");
        assert!(matches!(&error, TargetError::NoFile { name } if *name == shown(&path)), "{error}");
    }
}

#[test]
fn a_rollout_is_told_by_its_content_and_its_session_by_its_name() {
    let folder = folder();
    for (name, id) in [(ROLLOUT, Some("019a-7b")), ("events.jsonl", None), ("transcript.jsonl.zst", None)] {
        for text in [format!("{META}\n").into_bytes(), compressed(&format!("{META}\n"))] {
            let path = folder.path().join(name);
            write(&path, text);
            assert_eq!(find(&path).expect("is one"), Target::Rollout { path, agent: agent_of(None, id) });
        }
    }
}

#[test]
fn a_transcript_is_told_by_its_content() {
    let folder = folder();
    let path = folder.path().join(ROLLOUT);
    write(&path, format!("{HEADER}\n"));
    assert_eq!(find(&path).expect("is one"), named_alone(path.clone(), Agent::default()));
    write(&path, compressed(&format!("{HEADER}\n")));
    let error = find(&path).expect_err("is not read compressed");
    assert!(matches!(&error, TargetError::Compressed { path: told } if *told == shown(&path)), "{error}");
}

#[test]
fn of_several_agents_above_a_transcript_the_nearest_has_it() {
    let host = folder();
    let outer = agent_in(host.path(), "agent-1", "ada", &[]);
    let inner = agent_in(&outer, "agent-2", "bob", &["codex"]);
    let current = inner.join("events/codex/common_transcript/events.jsonl");
    let agent = agent_of(Some("codex"), Some("agent-2"));
    assert_eq!(in_file(&current).expect("is one"), named_alone(current.clone(), agent.clone()));
    let folder = in_folder(current.parent().expect("has one"));
    assert_eq!(folder.expect("is one"), transcript(current, agent));
}

#[test]
fn the_first_object_tells_what_a_file_is() {
    for (text, expected) in [
        (format!("{HEADER}\n{META}\n"), Some(FileKind::Transcript)),
        (format!("{META}\n{HEADER}\n"), Some(FileKind::Rollout)),
        (format!("{{\"type\":\"st\n\n[1]\n{META}\n"), Some(FileKind::Rollout)),
        (format!("{{\"a\":1}}\n{HEADER}\n"), None),
        ("{\"payload\":{}}\n".to_owned(), None),
        ("{\"type\":\"session_meta\"}\n".to_owned(), None),
        ("{\"type\":\"step\"}\n".to_owned(), Some(FileKind::Transcript)),
        ("{\"type\":\"observation\"}\n".to_owned(), Some(FileKind::Transcript)),
        ("{\"type\":\"user_message\"}\n".to_owned(), Some(FileKind::Transcript)),
        ("{\"type\":\"turn\",\"payload\":0}\n".to_owned(), Some(FileKind::Rollout)),
    ] {
        assert_eq!(kind(&text), expected, "{text}");
        assert_eq!(kind(compressed(&text)), if_compressed(expected), "{text}");
    }
}

#[test]
fn damaged_lines_before_the_first_object_are_passed_over_up_to_a_number() {
    assert_eq!(kind("damaged\n".repeat(63) + META + "\n"), Some(FileKind::Rollout));
    assert_eq!(kind("damaged\n".repeat(64) + META + "\n"), None);
}

#[test]
fn a_file_without_a_line_has_not_begun_and_is_taken_for_a_transcript() {
    assert_eq!(kind(""), Some(FileKind::NotBegun));
    assert_eq!(kind("\n \n"), Some(FileKind::NotBegun));
    assert_eq!(kind(compressed("")), None);
    let folder = folder();
    let path = folder.path().join(ROLLOUT);
    assert!(!is_not_begun(&path).expect("is not there"));
    write(&path, "");
    assert!(is_not_begun(&path).expect("is there"));
    write(&folder.path().join(CURRENT), "");
    assert!(is_not_begun(folder.path()).expect("is there"));
    write(&folder.path().join(CURRENT), format!("{META}\n"));
    assert!(!is_not_begun(folder.path()).expect("is there"));
    assert_eq!(find(&path).expect("is one"), named_alone(path.clone(), Agent::default()));
    write(&path, format!("{META}\n"));
    assert!(!is_not_begun(&path).expect("is there"));
}

/// What a file is that holds the same compressed.
fn if_compressed(kind: Option<FileKind>) -> Option<FileKind> {
    match kind {
        Some(FileKind::Transcript) => Some(FileKind::CompressedTranscript),
        // It has been written to its end.
        Some(FileKind::NotBegun) => None,
        kind => kind,
    }
}

#[test]
fn a_folder_of_a_rollout_is_that_rollout() {
    let folder = folder();
    let current = folder.path().join(CURRENT);
    write(&current, format!("{META}\n"));
    assert_eq!(in_folder(folder.path()).expect("is one"), in_file(&current).expect("is one"));
    assert!(matches!(in_file(&current), Ok(Target::Rollout { .. })));
    write(&folder.path().join("events.jsonl.2026"), format!("{META}\n"));
    let error = in_folder(folder.path()).expect_err("are two");
    assert!(matches!(&error, TargetError::SeveralTranscripts { transcripts, .. } if transcripts.len() == 2), "{error}");
}

#[test]
fn half_a_first_line_tells_by_how_it_begins() {
    for (text, expected) in [
        (META, Some(FileKind::Rollout)),
        (&META[..META.len() / 2], Some(FileKind::Rollout)),
        (&META[.."{\"timestamp\"".len()], Some(FileKind::Rollout)),
        (HEADER, Some(FileKind::Transcript)),
        (&HEADER[..HEADER.len() / 2], Some(FileKind::Transcript)),
        (" \t{\"type", Some(FileKind::Transcript)),
        (" \t{", Some(FileKind::NotBegun)),
        ("{\"tim", Some(FileKind::NotBegun)),
        (" ", Some(FileKind::NotBegun)),
        ("damaged", None),
        ("[{\"timestamp\"", None),
    ] {
        assert_eq!(kind(text), expected, "{text}");
        assert_eq!(kind(compressed(text)), if_compressed(expected), "{text}");
    }
}

#[test]
fn half_a_line_behind_others_tells_nothing_unless_those_are_blank() {
    assert_eq!(kind(format!("damaged\n{META}")), None);
    assert_eq!(kind(format!("\n \n{META}")), Some(FileKind::Rollout));
    assert_eq!(kind("\n{\"tim"), Some(FileKind::NotBegun));
}

#[test]
fn a_long_first_line_tells() {
    let long = format!(r#"{{"timestamp":"","type":"session_meta","payload":"{}"}}"#, "x".repeat(3 << 20));
    assert_eq!(kind(format!("{long}\n")), Some(FileKind::Rollout));
    assert_eq!(kind(compressed(&long)), Some(FileKind::Rollout));
}

#[test]
fn a_file_of_something_else_is_neither() {
    let folder = folder();
    let path = folder.path().join(ROLLOUT);
    for bytes in [&b"\x7fELF\0\x01\n\xff\n"[..], b"# Notes\n\n{}\n", b"null\n"] {
        write(&path, bytes);
        let error = find(&path).expect_err("is neither");
        assert!(matches!(&error, TargetError::Neither { path: told } if *told == shown(&path)), "{error}");
    }
}

#[test]
fn a_damaged_compressed_file_cannot_be_read() {
    let folder = folder();
    let path = folder.path().join(ROLLOUT);
    let whole = compressed(&format!("{META}\n"));
    write(&path, &whole[..whole.len() / 2]);
    let error = find(&path).expect_err("is damaged");
    assert!(matches!(&error, TargetError::Io { path: told, .. } if *told == shown(&path)), "{error}");
}

#[test]
fn a_sessions_id_stands_in_its_rollouts_name() {
    for (name, id) in [
        ("rollout-2026-01-31T12-34-56-019a-7b.jsonl", Some("019a-7b")),
        ("rollout-2026-01-31T12-34-56-019a-7b.jsonl.zst", Some("019a-7b")),
        ("rollout-2026-01-31T12-34-56-019a-7b_01c3.jsonl", Some("019a-7b")),
        ("rollout-2026-01-31T12-34-56-019a-7b", Some("019a-7b")),
        ("rollout-2026-01-31T12-34-56-.jsonl", None),
        ("rollout-2026-01-31T12-34-56", None),
        ("rollout-2026-01-31T12-34-56\u{e9}1.jsonl", None),
        ("rollout-", None),
        ("2026-01-31T12-34-56-019a-7b.jsonl", None),
    ] {
        assert_eq!(thread_id(name).as_deref(), id, "{name}");
    }
}

#[test]
fn what_a_message_shows_of_a_path_does_not_drive_the_terminal() {
    for (path, expected) in [
        ("a b/\u{e9}\u{4e2d}", "a b/\u{e9}\u{4e2d}"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[31m\u{9b}\0\x7f", "\\u{1b}[31m\\u{9b}\\u{0}\\u{7f}"),
        ("a\\n", "a\\n"),
    ] {
        assert_eq!(shown(Path::new(path)), expected);
    }
    let host = folder();
    let odd = host.path().join("\x1b[2J\n");
    write(&odd.join("file"), "damaged\n");
    let messages = [
        find(&odd).expect_err("has none").to_string(),
        find(&odd.join("file")).expect_err("is neither").to_string(),
        find(&odd.join("gone")).expect_err("is not there").to_string(),
        named(Path::new("\x1b[2J\n"), &odd).expect_err("is not there").to_string(),
    ];
    for message in messages {
        assert!(message.contains("\\u{1b}[2J\\n") && !message.contains(char::is_control), "{message}");
    }
}

#[test]
fn a_transcript_is_one_from_its_first_byte_on() {
    let folder = folder();
    let path = folder.path().join(CURRENT);
    let mut file = fs::File::create(&path).expect("can be made");
    for (piece, expected) in [
        ("", Some(FileKind::NotBegun)),
        ("{\"type\"", Some(FileKind::Transcript)),
        (":\"header\"}\n", Some(FileKind::Transcript)),
    ] {
        file.write_all(piece.as_bytes()).expect("can be written");
        assert_eq!(kind_of(&path).expect("can be read"), expected);
    }
}
