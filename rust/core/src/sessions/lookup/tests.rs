use std::time::Duration;

use tempfile::TempDir;

use super::*;

/// Ids of sessions that were started within a minute of each other.
const ONE: &str = "01a22cf9-1255-7310-ae91-b487198a0950";
const OTHER: &str = "01a22cf9-fad7-75b2-b254-3bde1734c936";

/// A folder with Codex homes.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("can be created"))
    }

    fn home(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn places(&self, homes: &[&str], agent_homes: &[&str]) -> Places {
        let paths = |names: &[&str]| names.iter().map(|name| self.home(name)).collect();
        Places { homes: paths(homes), agent_homes: paths(agent_homes), host: self.home("mngr") }
    }

    /// Writes a rollout that was changed `age` seconds ago. `name` follows the day in the file's name.
    fn write(&self, home: &str, folder: &str, name: &str, content: &[u8], age: u64) -> PathBuf {
        let folder = self.home(home).join(folder);
        fs::create_dir_all(&folder).expect("can be created");
        let path = folder.join(format!("rollout-2026-01-31T{name}"));
        fs::write(&path, content).expect("can be written");
        let modified = SystemTime::now() - Duration::from_secs(age);
        let file = fs::File::options().write(true).open(&path).expect("can be opened");
        file.set_modified(modified).expect("can be set");
        path
    }

    /// Writes the rollout of a session that the user started in `cwd`.
    fn session(&self, id: &str, cwd: &str, age: u64) -> PathBuf {
        self.write("codex", "sessions/2026/01/31", &format!("12-00-00-{id}.jsonl"), &meta(id, cwd, "\"cli\""), age)
    }
}

fn meta(id: &str, cwd: &str, source: &str) -> Vec<u8> {
    let payload = format!(r#"{{"id":"{id}","cwd":"{cwd}","source":{source}}}"#);
    format!("{{\"timestamp\":\"2026-01-31T12:00:00Z\",\"type\":\"session_meta\",\"payload\":{payload}}}\n").into()
}

fn ids(sessions: &[Session]) -> Vec<&str> {
    sessions.iter().map(|session| session.id.as_str()).collect()
}

#[test]
fn a_session_is_found_by_the_beginning_of_its_id() {
    let machine = Machine::new();
    let one = machine.session(ONE, "/x", 10);
    machine.session(OTHER, "/x", 5);
    let places = machine.places(&["codex"], &[]);
    for beginning in [ONE, "01a22cf9-1255", "01a22cf9-1"] {
        let found = with_id(beginning, &places).found;
        assert_eq!(found.iter().map(|session| &session.path).collect::<Vec<_>>(), [&one], "{beginning}");
    }
    // The one that was changed last is first.
    assert_eq!(ids(&with_id("01a22cf9", &places).found), [OTHER, ONE]);
    assert_eq!(with_id("01a22cf9-2", &places).found, []);
    assert_eq!(with_id(ONE, &machine.places(&["none"], &[])).found, []);
}

#[test]
fn only_hexadecimal_digits_and_dashes_begin_an_id() {
    assert_eq!(beginning_of_id("01A2-f"), Some("01a2-f".to_owned()));
    for other in ["01g2", "fix-it", "-01a2", "", "01a2 ", "01a22cf9-1255-7310-ae91-b487198a0950a", "é1a2"] {
        assert_eq!(beginning_of_id(other), None, "{other}");
    }
}

#[test]
fn a_session_in_an_agents_home_is_found_by_id_but_is_not_among_the_newest() {
    let machine = Machine::new();
    let home = "mngr/agents/agent-1/plugin/codex/home";
    let path = machine.write(home, "sessions", &format!("12-00-00-{ONE}.jsonl"), &meta(ONE, "/x", "\"cli\""), 1);
    let places = machine.places(&["codex"], &[home]);
    assert_eq!(with_id(ONE, &places).found[0].path, path);
    assert_eq!(newest(&places, None, 9).expect("can be read"), []);
    assert_eq!(ids(&newest(&places.including_agents(), None, 9).expect("can be read")), [ONE]);
    // The homes of agents are found in mngr's folder.
    let places = machine.places(&["codex"], &[]).including_agents();
    assert_eq!(ids(&newest(&places, None, 9).expect("can be read")), [ONE]);
    // One that the user named is not searched twice.
    assert_eq!(machine.places(&[home], &[]).including_agents().homes, [machine.home(home)]);
}

#[test]
fn the_current_rollout_is_the_last_one_created_and_the_plain_one() {
    let machine = Machine::new();
    let day = "sessions/2026/01/31";
    let first = machine.write("codex", day, &format!("12-00-00-{ONE}.jsonl"), b"", 1);
    machine.write("codex", day, &format!("12-00-00-{ONE}.jsonl.zst"), b"", 1);
    let second = machine.write("codex", day, &format!("13-00-00-{ONE}_{OTHER}.jsonl.zst"), b"", 9);
    let session = with_id(ONE, &machine.places(&["codex"], &[])).found.remove(0);
    assert_eq!((session.path, session.earlier), (second, vec![first]));
}

#[test]
fn an_active_rollout_is_preferred_to_an_archived_one() {
    let machine = Machine::new();
    let name = format!("12-00-00-{ONE}.jsonl");
    let archived = machine.write("codex", "archived_sessions", &name, b"", 1);
    let places = machine.places(&["codex"], &[]);
    let find = || with_id(ONE, &places).found.remove(0);
    assert_eq!((find().path, find().is_archived), (archived, true));
    assert_eq!(newest(&places, None, 9).expect("can be read"), []);
    let active = machine.write("codex", "sessions/2026/01/31", &name, b"", 1);
    assert_eq!((find().path, find().is_archived), (active, false));
}

#[test]
fn the_newest_sessions_are_those_that_were_changed_last() {
    let machine = Machine::new();
    let resumed = "01a00000-0000-7000-8000-000000000001";
    machine.write("codex", "sessions/2025/01/01", &format!("00-00-00-{resumed}.jsonl"), &meta(resumed, "/x", "0"), 1);
    machine.session(ONE, "/x", 20);
    machine.session(OTHER, "/y", 10);
    let places = machine.places(&["codex"], &[]);
    let found = |cwd: Option<&str>, limit| newest(&places, cwd.map(Path::new), limit).expect("can be read");
    assert_eq!(ids(&found(None, 9)), [resumed, OTHER, ONE]);
    assert_eq!(ids(&found(None, 2)), [resumed, OTHER]);
    assert_eq!(ids(&found(Some("/x"), 9)), [resumed, ONE]);
    assert_eq!(ids(&found(Some("/y"), 9)), [OTHER]);
    assert_eq!(found(Some("/z"), 9), []);
}

#[test]
fn subagents_are_not_among_the_newest_sessions() {
    let machine = Machine::new();
    let source = r#"{"subagent":{"thread_spawn":{}}}"#;
    machine.write("codex", "sessions", &format!("12-00-00-{ONE}.jsonl"), &meta(ONE, "/x", source), 1);
    machine.session(OTHER, "/x", 10);
    let places = machine.places(&["codex"], &[]);
    assert_eq!(ids(&newest(&places, None, 9).expect("can be read")), [OTHER]);
    assert_eq!(ids(&with_id(ONE, &places).found), [ONE]);
}

#[test]
fn a_damaged_session_is_listed_unless_a_folder_is_given() {
    let machine = Machine::new();
    machine.write("codex", "sessions", &format!("12-00-00-{ONE}.jsonl"), b"{\"timestamp", 1);
    let places = machine.places(&["codex"], &[]);
    assert_eq!(ids(&newest(&places, None, 9).expect("can be read")), [ONE]);
    assert_eq!(newest(&places, Some(Path::new("/x")), 9).expect("can be read"), []);
}

#[test]
fn other_files_and_cycles_of_folders_are_no_sessions() {
    let machine = Machine::new();
    machine.session(ONE, "/x", 1);
    let sessions = machine.home("codex").join("sessions");
    fs::write(sessions.join("notes.jsonl"), "").expect("can be written");
    std::os::unix::fs::symlink(&sessions, sessions.join("again")).expect("can be created");
    assert_eq!(ids(&with_id("01a2", &machine.places(&["codex"], &[])).found), [ONE]);
    // The folder of sessions can be elsewhere.
    fs::create_dir(machine.home("other")).expect("can be created");
    std::os::unix::fs::symlink(&sessions, machine.home("other").join("sessions")).expect("can be created");
    assert_eq!(ids(&newest(&machine.places(&["other"], &[]), None, 9).expect("can be read")), [ONE]);
}

/// Writes copies of one session with these contents. Every other one is compressed.
fn copies(machine: &Machine, contents: &[&str]) -> Vec<Session> {
    let homes: Vec<_> = (0..contents.len()).map(|number| format!("home{number}")).collect();
    for (number, (home, content)) in homes.iter().zip(contents).enumerate() {
        let (name, content) = match number % 2 {
            0 => (format!("12-00-00-{ONE}.jsonl"), content.as_bytes().to_vec()),
            _ => (format!("12-00-00-{ONE}.jsonl.zst"), zstd::encode_all(content.as_bytes(), 0).expect("is valid")),
        };
        machine.write(home, "sessions", &name, &content, number as u64);
    }
    let names: Vec<_> = homes.iter().map(String::as_str).collect();
    with_id(ONE, &machine.places(&names, &[])).found
}

#[test]
fn the_longest_of_several_copies_is_the_session() {
    let long = "line\n".repeat(100_000);
    for (contents, expected) in [
        (["a\n", "a\nb\n", "a\nb\nc\n"], Some("home2")),
        (["a\nb\nc\n", "a\nb\n", "a\n"], Some("home0")),
        (["a\n", "a\n", ""], Some("home0")),
        ([&long, &long[5..], "line\n"], Some("home0")),
        (["a\nb\n", "a\nc\n", "a\n"], None),
    ] {
        let machine = Machine::new();
        let copies = copies(&machine, &contents);
        let longest = longest_copy(&copies).expect("can be read");
        assert_eq!(longest.map(|copy| copy.home.clone()), expected.map(|home| machine.home(home)), "{expected:?}");
    }
}
