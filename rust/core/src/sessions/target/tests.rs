use tempfile::TempDir;

use super::*;

const ONE: &str = "01a22cf9-1255-7310-ae91-b487198a0950";
const OTHER: &str = "01a22cf9-fad7-75b2-b254-3bde1734c936";

/// A machine with an agent `ada` and two sessions.
struct Machine {
    folder: TempDir,
    places: Places,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("can be created");
        let homes = vec![folder.path().join("codex")];
        let places = Places { homes, agent_homes: Vec::new(), host: folder.path().join("mngr") };
        let machine = Self { folder, places };
        machine.agent("agent-1", "ada");
        for id in [ONE, OTHER] {
            machine.session("codex", id, "");
        }
        machine
    }

    fn agent(&self, id: &str, name: &str) -> PathBuf {
        let state_dir = self.places.host.join("agents").join(id);
        write(&state_dir.join("data.json"), &format!(r#"{{"id":"{id}","name":"{name}"}}"#));
        state_dir
    }

    fn session(&self, home: &str, id: &str, content: &str) -> PathBuf {
        let name = format!("sessions/2026/01/31/rollout-2026-01-31T12-00-00-{id}.jsonl");
        let path = self.folder.path().join(home).join(name);
        write(&path, content);
        path
    }

    fn find(&self, name: &str) -> Result<Place, PlaceError> {
        find(Path::new(name), &self.places)
    }

    fn found_session(&self, name: &str) -> Option<String> {
        match self.find(name) {
            Ok(Place::Session(session)) => Some(session.id),
            _ => None,
        }
    }

    fn error(&self, name: &str) -> String {
        self.find(name).expect_err("is not found").to_string()
    }
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().expect("has a parent")).expect("can be created");
    fs::write(path, content).expect("can be written");
}

#[test]
fn a_path_an_agent_and_a_session_are_found() {
    let machine = Machine::new();
    let file = machine.session("codex", ONE, "");
    assert_eq!(find(&file, &machine.places).expect("exists"), Place::Path(file));
    for name in ["ada", "agent-1"] {
        assert_eq!(machine.find(name).expect("exists"), Place::Agent(machine.places.host.join("agents/agent-1")));
    }
    for name in [ONE, "01a22cf9-1", "01A22CF9-1"] {
        assert_eq!(machine.found_session(name).as_deref(), Some(ONE), "{name}");
    }
}

#[test]
fn a_path_with_a_folder_is_neither_an_agent_nor_a_session() {
    let machine = Machine::new();
    for path in ["./ada", "gone/01a22cf9-1", "/gone"] {
        assert_eq!(machine.find(path).expect("is a path"), Place::Path(path.into()));
    }
}

#[test]
fn an_agent_takes_precedence_over_a_session() {
    let machine = Machine::new();
    let state_dir = machine.agent("agent-2", "01a22cf9-1");
    assert_eq!(machine.find("01a22cf9-1").expect("exists"), Place::Agent(state_dir));
    assert_eq!(machine.found_session(ONE).as_deref(), Some(ONE));
}

#[test]
fn several_agents_of_one_name_are_ambiguous() {
    let machine = Machine::new();
    machine.agent("agent-2", "ada");
    let error = machine.error("ada");
    assert!(error.contains("several agents") && error.contains("agent-1") && error.contains("agent-2"), "{error}");
}

#[test]
fn a_beginning_of_several_ids_is_ambiguous() {
    let machine = Machine::new();
    match machine.find("01a22cf9") {
        Err(PlaceError::SeveralSessions { beginning, sessions }) => {
            assert_eq!((beginning.as_str(), sessions.len()), ("01a22cf9", 2));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn copies_of_one_session_are_one_unless_two_were_continued() {
    let mut machine = Machine::new();
    machine.session("codex", ONE, "a\n");
    let longest = machine.session("agent", ONE, "a\nb\n");
    machine.places.agent_homes = vec![machine.folder.path().join("agent")];
    assert_eq!(machine.find(ONE).expect("exists").path(), longest);
    // A copy does not count among the ambiguous ones.
    let error = machine.error("01a22cf9");
    assert!(error.contains("2 sessions"), "{error}");
    machine.session("codex", ONE, "a\nc\n");
    let error = machine.error(ONE);
    assert!(error.contains("several places") && error.contains(&escaped_path(&longest)), "{error}");
}

#[test]
fn an_error_names_everything_that_was_tried() {
    let mut machine = Machine::new();
    let home = escaped_path(&machine.places.homes[0]);
    let agents = escaped_path(&machine.places.host.join("agents"));
    let error = machine.error("01b2");
    assert!(error.contains("no such file") && error.contains(&agents) && error.contains(&home), "{error}");
    machine.places.agent_homes = vec!["x".into(), "y".into()];
    assert!(machine.error("01b2").contains("2 other Codex homes"));
    for name in ["eve", "01a"] {
        let error = machine.error(name);
        assert!(error.contains(&agents) && error.contains("no session id begins with it"), "{error}");
    }
    let copy = machine.places.host.join("preserved/eve--agent-3");
    fs::create_dir_all(&copy).expect("can be created");
    assert!(machine.error("eve").ends_with(&escaped_path(&copy)));
    let error = machine.error("\x1b[2J\n");
    assert!(!error.contains(char::is_control), "{error:?}");
}

#[test]
fn the_latest_session_is_missing_if_there_is_none() {
    let mut machine = Machine::new();
    let path = latest(&machine.places, None).expect("exists").path;
    assert!(path.starts_with(&machine.places.homes[0]));
    let error = latest(&machine.places, Some(Path::new("/nowhere"))).expect_err("has none").to_string();
    assert!(error.contains("started in /nowhere"), "{error}");
    machine.places.homes = vec![machine.folder.path().join("none")];
    let error = latest(&machine.places, None).expect_err("has none").to_string();
    assert!(error.starts_with("cannot find a session in ") && error.ends_with("none"), "{error}");
}
