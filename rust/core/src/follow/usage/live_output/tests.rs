use std::fs;
use std::path::PathBuf;

use super::*;

struct Live {
    dir: StateDir,
    progress: LiveProgress,
    _folder: tempfile::TempDir,
}

impl Live {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = StateDir::new(folder.path().join("agent"));
        fs::create_dir(dir.path()).expect("a state directory");
        begin_live_output(&dir);
        Self { dir, progress: LiveProgress::default(), _folder: folder }
    }

    fn path(&self) -> PathBuf {
        self.dir.live_output()
    }

    fn content(&self) -> String {
        fs::read_to_string(self.path()).expect("the live output")
    }

    /// Appends messages, each with its time in milliseconds after the start.
    fn append(&mut self, messages: &[(i64, &str)]) -> bool {
        let since = since(&self.dir).expect("a time");
        let message =
            |(after, text): &(i64, &str)| Message { at: since.saturating_add_signed(*after), text: (*text).to_owned() };
        append(&self.dir, &mut self.progress, &mut messages.iter().map(message).collect()).expect("an append")
    }
}

#[test]
fn messages_are_separated_by_blank_lines() {
    let mut live = Live::new();
    assert_eq!(live.content(), "");
    assert!(!live.append(&[]));
    assert!(live.append(&[(0, "One."), (1, "Two\nlines.")]));
    assert!(live.append(&[(2, "Ä")]));
    assert_eq!(live.content(), "One.\n\nTwo\nlines.\n\nÄ\n\n");
}

#[test]
fn only_messages_since_the_start_of_codex_count() {
    let mut live = Live::new();
    live.append(&[(-1, "before"), (0, "after")]);
    assert_eq!(live.content(), "after\n\n");
}

#[test]
fn the_next_start_of_codex_empties_it() {
    let mut live = Live::new();
    live.append(&[(0, "One.")]);
    std::thread::sleep(Duration::from_millis(2));
    begin_live_output(&live.dir);
    assert_eq!(live.content(), "");
    live.append(&[(-1, "One."), (0, "Two.")]);
    assert_eq!(live.content(), "Two.\n\n");
}

#[test]
fn what_a_killed_process_has_written_is_kept_if_it_is_the_same() {
    for written in ["", "T", "Two.\n\n", "Two.\n\nThr", "Something else"] {
        let mut live = Live::new();
        live.append(&[(0, "One.")]);
        fs::write(live.path(), format!("One.\n\n{written}")).expect("a write");
        live.append(&[(1, "Two."), (2, "Three.")]);
        assert_eq!(live.content(), "One.\n\nTwo.\n\nThree.\n\n", "{written}");
    }
}

#[test]
fn without_a_checkpoint_the_same_messages_are_the_same_text() {
    let mut live = Live::new();
    live.append(&[(0, "One."), (1, "Two.")]);
    live.progress = LiveProgress::default();
    live.append(&[(1, "Two."), (2, "Three."), (0, "One.")]);
    assert_eq!(live.content(), "One.\n\nTwo.\n\nThree.\n\n");
}

#[test]
fn a_file_that_somebody_else_has_changed_continues_at_its_end() {
    let mut live = Live::new();
    live.append(&[(0, "One.")]);
    for (content, expected) in [("Other", "OtherTwo.\n\n"), ("", "Two.\n\n")] {
        fs::write(live.path(), content).expect("a write");
        live.append(&[(1, "Two.")]);
        assert_eq!(live.content(), expected);
    }
    fs::remove_file(live.path()).expect("a removal");
    live.append(&[(1, "Two.")]);
    assert_eq!(live.content(), "Two.\n\n");
}

#[test]
fn a_full_file_says_so_and_stays_as_it_is() {
    let mut live = Live::new();
    let long = "x".repeat(100);
    live.append(&[(0, &long), (1, &long), (2, "short")]);
    let full = live.content();
    assert_eq!(full, format!("{long}\n\n{FULL}"));
    assert!(full.len() as u64 <= MAX_LENGTH);
    live.append(&[(3, "later")]);
    assert_eq!(live.content(), full);
    live.progress = LiveProgress::default();
    live.append(&[(0, &long), (1, &long), (2, "short"), (3, "later")]);
    assert_eq!(live.content(), full);
    std::thread::sleep(Duration::from_millis(2));
    begin_live_output(&live.dir);
    live.append(&[(0, "again")]);
    assert_eq!(live.content(), "again\n\n");
}

#[test]
fn a_damaged_time_of_the_start_is_replaced_by_the_present() {
    let live = Live::new();
    let first = since(&live.dir).expect("a time");
    fs::write(live.dir.live_since(), b"damaged").expect("a write");
    let second = since(&live.dir).expect("a time");
    assert!(second >= first);
    assert_eq!(since(&live.dir).expect("a time"), second);
}
