//! Captured screens of real Codex versions show what `expected.json` says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mngr_codex_core::Screen;
use serde_json::{Map, Value};

fn screens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/screens")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("can be read").path()).collect()
}

/// Returns what the program sees, with the names of `expected.json`.
fn seen(command: &str, pane: &str) -> Map<String, Value> {
    let screen = Screen::parse(command, pane);
    let view = screen.view();
    let fields = [
        ("view", view.name().into()),
        ("dialog", view.dialog().into()),
        ("is_started", screen.is_started().into()),
        ("has_session_line", screen.has_session_line().into()),
        ("row", screen.row().into()),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[test]
fn captured_screens_show_what_they_are_expected_to() {
    let mut problems = Vec::new();
    let mut count = 0;
    for version in entries(&screens()) {
        let expected = fs::read(version.join("expected.json")).expect("each version has expectations");
        let expected: Map<String, Value> = serde_json::from_slice(&expected).expect("they are an object");
        let names: BTreeSet<String> = entries(&version)
            .iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
            .map(|path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, expected.keys().cloned().collect(), "in {}", version.display());
        for (name, expected) in &expected {
            let pane = fs::read_to_string(version.join(name).with_extension("txt")).expect("is UTF-8");
            let command = expected["command"].as_str().unwrap_or("codex");
            let seen = seen(command, &pane);
            let expected = expected.as_object().expect("is an object");
            assert!(expected.contains_key("view"), "{name} has no view");
            for (field, value) in expected.iter().filter(|(field, _)| *field != "command") {
                if seen.get(field) != Some(value) {
                    let path = version.join(name);
                    problems.push(format!("{}: {field} is {:?}, not {value}", path.display(), seen.get(field)));
                }
            }
            if expected["view"] != "dialog" && !seen["dialog"].is_null() {
                problems.push(format!("{}/{name}: there is a dialog", version.display()));
            }
            count += 1;
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(count > 0, "there are no captured screens");
}
