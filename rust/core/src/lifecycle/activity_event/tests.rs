use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::*;

fn host_of(path: &str) -> Option<PathBuf> {
    HostDir::above(&StateDir::new(path)).map(|host| host.0)
}

#[test]
fn the_host_of_an_agent_is_two_folders_above_its_state_directory() {
    assert_eq!(host_of("/home/u/.mngr/agents/agent-1"), Some("/home/u/.mngr".into()));
    assert_eq!(host_of("/home/u/.mngr/agents/agent-1/"), Some("/home/u/.mngr".into()));
    assert_eq!(host_of("/agents/agent-1"), Some("/".into()));
    assert_eq!(host_of("agents/agent-1"), Some("".into()));
    for elsewhere in
        ["/home/u/.local/state/mngr-codex/0192", "/agents", "agents", "/", "", "/x/agents/", "/x/agents/a/b"]
    {
        assert_eq!(host_of(elsewhere), None, "{elsewhere}");
    }
}

#[test]
fn an_event_has_mngrs_members() {
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_795_331_570, 5);
    let line = line(time);
    assert!(line.ends_with("}\n") && line.matches('\n').count() == 1, "{line}");
    let event: Value = serde_json::from_str(&line).expect("JSON");
    let id = event["event_id"].as_str().and_then(|id| id.strip_prefix("evt-")).expect("an id");
    assert!(id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{id}");
    let expected = serde_json::json!({
        "source": "mngr/activity",
        "type": "activity",
        "event_id": event["event_id"],
        "timestamp": "2026-11-22T07:12:50.000000005Z",
    });
    assert_eq!(event, expected);
}

#[test]
fn the_folders_are_created_but_not_the_hosts() {
    let folder = tempfile::tempdir().expect("a folder");
    let host = HostDir(folder.path().to_owned());
    for _ in 0..3 {
        append(&host).expect("can be appended");
    }
    let text = fs::read_to_string(host.events()).expect("it exists");
    let ids: HashSet<String> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["event_id"].to_string()).collect();
    assert_eq!(ids.len(), 3);
    let gone = HostDir(folder.path().join("none"));
    assert!(append(&gone).is_err() && !gone.0.exists());
}
