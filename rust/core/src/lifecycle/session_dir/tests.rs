use super::*;
use crate::lifecycle::hook::HookEvent;

fn run(event: HookEvent, session: &str) -> HookRun {
    let payload = format!(
        r#"{{"session_id":"{session}","turn_id":"01a20218-0001-7000-8000-0123456789ab","cwd":"/work","transcript_path":null}}"#
    );
    HookRun::read(event, payload.as_bytes()).expect("usable")
}

fn dirs(folder: &tempfile::TempDir) -> SessionDirs {
    SessionDirs::of(&folder.path().join("sessions/{session_id}")).expect("contains the id")
}

#[test]
fn the_id_replaces_every_occurrence_of_the_text() {
    let expand = |path: &str| {
        let dirs = SessionDirs::of(Path::new(path))?;
        let of_session = dirs.of_run(&run(HookEvent::Stop, "s-1")).path().to_owned();
        Some((dirs.root_path().to_owned(), of_session))
    };
    let expected = |root: &str, dir: &str| Some((PathBuf::from(root), PathBuf::from(dir)));
    assert_eq!(expand("/a/{session_id}"), expected("/a", "/a/s-1"));
    assert_eq!(expand("/a/x-{session_id}-y/{session_id}/z"), expected("/a", "/a/x-s-1-y/s-1/z"));
    assert_eq!(expand("{session_id}"), expected("", "s-1"));
    assert_eq!(expand("/a/session_id"), None);
}

#[test]
fn the_first_hook_creates_the_directory_and_the_last_one_records_the_end() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dirs = dirs(&folder);
    let start = run(HookEvent::SessionStart, "s");
    let dir = dirs.of_run(&start);
    apply(&dir, &start).expect("can be applied");
    let record = SessionRecord::read(&dir).expect("was written");
    assert_eq!((record.folder.as_deref(), record.ended_at), (Some("/work"), None));
    assert_eq!(record.process, ProcessId::of_parent());
    for event in [HookEvent::UserPromptSubmit, HookEvent::Stop, HookEvent::SessionEnd] {
        apply(&dir, &run(event, "s")).expect("can be applied");
    }
    assert!(SessionRecord::read(&dir).is_some_and(|record| record.ended_at.is_some() && record.folder.is_some()));
    // The session is resumed.
    apply(&dir, &start).expect("can be applied");
    assert_eq!(SessionRecord::read(&dir), Some(record));
    assert!(!marker::read(&dir).expect("can be read").is_in_turn());
}

#[test]
fn a_directory_that_was_removed_is_created_again_unless_the_session_ends() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dirs = dirs(&folder);
    let tool = run(HookEvent::PreToolUse, "s");
    let dir = dirs.of_run(&tool);
    apply(&dir, &run(HookEvent::SessionEnd, "s")).expect("nothing to do");
    assert!(!dirs.root_path().exists());
    apply(&dir, &tool).expect("can be applied");
    assert!(marker::read(&dir).expect("can be read").is_active());
    assert!(SessionRecord::read(&dir).is_some());
}
