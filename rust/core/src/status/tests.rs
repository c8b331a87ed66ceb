use std::io::Write;
use std::process::{Child, Command};

use rustix::process::Pid;

use super::*;
use crate::lifecycle::hook::{HookEvent, HookRun};
use crate::lifecycle::session_dir::{self, SessionDirs};

const TURN: &str = "01a20218-0001-7000-8000-0123456789ab";

/// A folder with state directories, and the process that their sessions run in.
struct Machine {
    folder: tempfile::TempDir,
    codex: Child,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let codex = Command::new("sleep").arg("60").spawn().expect("can be started");
        Self { folder, codex }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("sessions")
    }

    fn hook(&self, event: HookEvent, session: &str) -> StateDir {
        let rollout = self.folder.path().join(format!("{session}.jsonl"));
        let payload = serde_json::json!({
            "session_id": session, "turn_id": TURN, "cwd": "/work", "transcript_path": rollout, "agent_transcript_path": null,
        });
        let run = HookRun::read(event, payload.to_string().as_bytes()).expect("usable");
        let dir = SessionDirs::of(&self.root().join("{session_id}")).expect("contains the id").of_run(&run);
        session_dir::apply(&dir, &run).expect("can be applied");
        if event != HookEvent::SessionEnd {
            let codex = ProcessId::of(Pid::from_child(&self.codex)).expect("is running");
            session_dir::record_process(&dir, codex).expect("can be written");
        }
        dir
    }

    fn write_line(&self, session: &str, kind: &str) {
        let path = self.folder.path().join(format!("{session}.jsonl"));
        let mut file = fs::File::options().create(true).append(true).open(path).expect("can be opened");
        let line = format!(
            r#"{{"timestamp":"2026-11-22T07:12:50.678Z","type":"event_msg","payload":{{"type":"{kind}","turn_id":"{TURN}"}}}}"#
        );
        writeln!(file, "{line}").expect("can be written");
    }

    fn folders(&self) -> StateFolders {
        StateFolders { roots: vec![self.root()], ..StateFolders::default() }
    }

    fn list(&self, includes_ended: bool) -> Vec<(String, SessionState, Option<&'static str>)> {
        let listing = list(&self.folders(), includes_ended);
        assert!(listing.problems.is_empty(), "{:?}", listing.problems);
        let sessions = listing.sessions.into_iter();
        sessions.map(|each| (each.session_id.unwrap_or_default(), each.state, each.waiting_reason)).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.codex.kill();
        let _ = self.codex.wait();
    }
}

#[test]
fn sessions_are_listed_with_their_states() {
    let machine = Machine::new();
    assert!(machine.list(true).is_empty(), "there is no folder yet");
    machine.hook(HookEvent::UserPromptSubmit, "a");
    machine.hook(HookEvent::UserPromptSubmit, "b");
    machine.hook(HookEvent::PermissionRequest, "b");
    machine.hook(HookEvent::UserPromptSubmit, "c");
    machine.hook(HookEvent::SessionEnd, "c");
    fs::create_dir(machine.root().join("events")).expect("can be created");
    let running = ("a".to_owned(), SessionState::Running, None);
    let asking = ("b".to_owned(), SessionState::Waiting, Some("PERMISSIONS"));
    assert_eq!(machine.list(false), [running.clone(), asking.clone()]);
    assert_eq!(machine.list(true), [running, asking, ("c".to_owned(), SessionState::Ended, None)]);
}

#[test]
fn a_turn_that_only_the_rollout_has_ended_is_over_since_its_last_line() {
    let machine = Machine::new();
    machine.write_line("a", "task_started");
    machine.hook(HookEvent::UserPromptSubmit, "a");
    machine.write_line("a", "turn_aborted");
    let written = fs::File::options().append(true).open(machine.folder.path().join("a.jsonl")).expect("exists");
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_795_331_570);
    written.set_modified(at).expect("can be changed");
    let [session] = list(&machine.folders(), false).sessions.try_into().expect("one session");
    // The time of a file can be some milliseconds before the write.
    assert_eq!((session.state, session.since), (SessionState::Waiting, Some(1_795_331_570_010)));
    let json = serde_json::to_value(&session).expect("can be serialized");
    assert_eq!((&json["state"], &json["since"]), (&"WAITING".into(), &"2026-11-22T07:12:50.010Z".into()));
    assert_eq!((&json["cwd"], &json["subagents"]), (&"/work".into(), &0.into()));
    let changed = watched(&machine.folders(), &[session]);
    assert!(changed.contains(&Watched::File(machine.folder.path().join("a.jsonl"))), "{changed:?}");
}

#[test]
fn a_session_whose_process_is_gone_has_ended() {
    let mut machine = Machine::new();
    machine.hook(HookEvent::UserPromptSubmit, "a");
    assert_eq!(machine.list(false).len(), 1);
    machine.codex.kill().and_then(|()| machine.codex.wait()).expect("can be killed");
    assert!(machine.list(false).is_empty());
    assert_eq!(machine.list(true), [("a".to_owned(), SessionState::Ended, None)]);
}

#[test]
fn agents_have_their_name_and_are_listed_once() {
    let machine = Machine::new();
    let agents = machine.folder.path().join("agents");
    fs::create_dir(&agents).expect("can be created");
    let own = machine.hook(HookEvent::UserPromptSubmit, "a");
    let agent = agents.join("agent-1");
    assert!(Command::new("cp").arg("-r").arg(own.path()).arg(&agent).status().expect("can be run").success());
    fs::write(agent.join("data.json"), r#"{"name":"helper","work_dir":"/tree"}"#).expect("can be written");
    fs::create_dir(agents.join("other")).expect("can be created");
    let folders = StateFolders { agents: Some(agents), ..machine.folders() };
    let [session] = list(&folders, false).sessions.try_into().expect("one session");
    assert_eq!((session.agent.as_deref(), &session.state_dir), (Some("helper"), &agent));
    // A clone runs a copy of the session.
    let clone = folders.agents.as_ref().expect("set above").join("agent-2");
    assert!(Command::new("cp").arg("-r").arg(&agent).arg(&clone).status().expect("can be run").success());
    fs::write(clone.join("data.json"), r#"{"name":"clone","work_dir":"/tree-2"}"#).expect("can be written");
    let mut names: Vec<_> = list(&folders, false).sessions.into_iter().map(|session| session.agent).collect();
    names.sort();
    assert_eq!(names, [Some("clone".to_owned()), Some("helper".to_owned())]);
    fs::remove_dir_all(clone).expect("can be removed");
    // Its watcher has not recorded a process yet, so nothing shows that Codex runs.
    fs::remove_file(StateDir::new(&agent).session_record()).expect("can be removed");
    fs::remove_dir_all(machine.root()).expect("can be removed");
    assert!(list(&folders, false).sessions.is_empty());
    let [session] = list(&folders, true).sessions.try_into().expect("one session");
    assert_eq!((session.state, session.cwd.as_deref()), (SessionState::Ended, Some("/tree")));
}
