use std::io::Write;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A transcript in its own folder, and its follower.
struct FollowedTranscript {
    folder: TempDir,
    follower: TailFollower,
    rotated: usize,
}

impl FollowedTranscript {
    /// Returns a transcript that does not exist yet.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("can be created");
        let follower = TailFollower::new(folder.path().join(CURRENT));
        Self { folder, follower, rotated: 0 }
    }

    /// Returns a transcript with this text, which has been read.
    fn with(text: &str) -> Self {
        let mut followed = Self::new();
        followed.append(text);
        followed.read();
        followed
    }

    fn path(&self) -> PathBuf {
        self.follower.path.clone()
    }

    fn append(&self, text: &str) {
        let mut file = File::options().create(true).append(true).open(self.path()).expect("can be opened");
        file.write_all(text.as_bytes()).expect("can be written");
    }

    /// Rewrites the file in place.
    fn overwrite(&self, text: &str) {
        fs::write(self.path(), text).expect("can be written");
    }

    /// Replaces the file with another one.
    fn replace(&self, text: &str) {
        let other = self.folder.path().join("other");
        fs::write(&other, text).expect("can be written");
        fs::rename(other, self.path()).expect("can be moved");
    }

    /// Rotates the file as mngr does.
    fn rotate(&mut self) {
        self.rotated += 1;
        let name = format!("{CURRENT}.{:020}", self.rotated);
        fs::rename(self.path(), self.folder.path().join(name)).expect("can be moved");
    }

    /// Returns the new lines, with `~` after a partial one, and whether the file was reported as rewritten.
    fn read(&mut self) -> (Vec<String>, bool) {
        let (mut lines, mut is_rewritten) = (Vec::new(), false);
        let result = self.follower.read::<ReadError>(&mut |event| {
            let (line, mark) = match event {
                TailEvent::Line(line) => (line, ""),
                TailEvent::Partial(line) => (line, "~"),
                TailEvent::Rewritten => {
                    assert!(lines.is_empty());
                    is_rewritten = true;
                    return Ok(());
                }
            };
            lines.push(String::from_utf8_lossy(line.text.bytes()).into_owned() + mark);
            Ok(())
        });
        result.expect("can be read");
        (lines, is_rewritten)
    }
}

#[track_caller]
fn assert_lines(followed: &mut FollowedTranscript, lines: &[&str]) {
    let (found, is_rewritten) = followed.read();
    assert_eq!((found.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), is_rewritten), (lines, false));
}

#[track_caller]
fn assert_rewritten(followed: &mut FollowedTranscript, lines: &[&str]) {
    let (found, is_rewritten) = followed.read();
    assert_eq!((found.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), is_rewritten), (lines, true));
}

/// Returns a follower that continues after the complete lines of a stream.
fn after(stream: Stream, path: PathBuf) -> TailFollower {
    let stream = stream.without_partial_line().expect("can be read");
    TailFollower::from(&stream, stream.end(), path).expect("can be read")
}

/// Returns the offset of an event's line.
fn offset_of(event: &TailEvent<'_>) -> ByteOffset {
    match event {
        TailEvent::Line(line) | TailEvent::Partial(line) => line.offset,
        TailEvent::Rewritten => panic!("nothing was rewritten"),
    }
}

#[test]
fn a_line_written_in_pieces_is_reported_when_it_is_complete() {
    let mut followed = FollowedTranscript::new();
    for (piece, lines) in
        [("on", &[][..]), ("e", &[]), ("\ntw", &["one"]), ("o\n\nth", &["two", ""]), ("ree\n", &["three"])]
    {
        followed.append(piece);
        assert_lines(&mut followed, lines);
    }
    assert_lines(&mut followed, &[]);
}

#[test]
fn each_line_has_its_offset() {
    let mut followed = FollowedTranscript::with("one\ntw");
    followed.append("o\n\n");
    let mut offsets = Vec::new();
    let collect = &mut |event: TailEvent<'_>| {
        offsets.push(offset_of(&event).0);
        Ok::<(), ReadError>(())
    };
    followed.follower.read(collect).expect("can be read");
    assert_eq!(offsets, [4, 8]);
}

#[test]
fn a_file_that_is_created_later_is_read_from_its_start() {
    let folder = tempfile::tempdir().expect("can be created");
    let path = folder.path().join("events/codex").join(CURRENT);
    let mut followed = FollowedTranscript { follower: TailFollower::new(path.clone()), folder, rotated: 0 };
    assert_lines(&mut followed, &[]);
    fs::create_dir_all(path.parent().expect("has a parent")).expect("can be created");
    assert_lines(&mut followed, &[]);
    followed.append("a\n");
    assert_lines(&mut followed, &["a"]);
}

#[test]
fn a_file_that_is_created_and_rotated_between_two_reads_is_read_first() {
    for has_current in [true, false] {
        let mut followed = FollowedTranscript::new();
        followed.append("a\n");
        followed.rotate();
        followed.append("b\n");
        if !has_current {
            followed.rotate();
        }
        assert_lines(&mut followed, &["a", "b"]);
        followed.append("c\n");
        assert_lines(&mut followed, &["c"]);
    }
}

#[test]
fn a_file_in_place_of_the_folder_is_like_a_missing_transcript() {
    let folder = tempfile::tempdir().expect("can be created");
    fs::write(folder.path().join("events"), "").expect("can be written");
    let follower = TailFollower::new(folder.path().join("events").join(CURRENT));
    assert_lines(&mut FollowedTranscript { folder, follower, rotated: 0 }, &[]);
}

#[test]
fn a_folder_in_place_of_the_file_is_an_error_with_its_path() {
    let mut followed = FollowedTranscript::new();
    fs::create_dir(followed.path()).expect("can be created");
    let error = followed.follower.read::<ReadError>(&mut |_| Ok(())).expect_err("is a folder");
    assert_eq!(error.path, followed.path());
    assert!(matches!(&error.source, LineError::Read { source, .. } if source.kind() == ErrorKind::IsADirectory));
    fs::remove_dir(followed.path()).expect("can be removed");
    followed.append("a\n");
    assert_lines(&mut followed, &["a"]);
}

#[test]
fn an_error_of_the_handler_is_returned() {
    let mut followed = FollowedTranscript::new();
    followed.append("a\nb\n");
    let mut calls = 0;
    let error = followed.follower.read::<ReadError>(&mut |event| {
        calls += 1;
        let offset = offset_of(&event);
        Err(ReadError { path: PathBuf::from("handler"), source: LineError::TooLong { offset, limit: 0 } })
    });
    assert_eq!((error.expect_err("is returned").path, calls), (PathBuf::from("handler"), 1));
}

#[test]
fn a_follower_continues_after_the_complete_lines_of_a_stream() {
    let folder = tempfile::tempdir().expect("can be created");
    let path = folder.path().join(CURRENT);
    for (text, added, lines) in [
        ("a\nb\n", "c\n", &["c"][..]),
        ("a\nb", "", &[]),
        ("a\nb", "c\n", &["bc"]),
        ("b", "\n", &["b"]),
        ("", "a\n", &["a"]),
    ] {
        fs::write(&path, text).expect("can be written");
        let follower = after(Stream::open([path.clone()]).expect("exists"), path.clone());
        let folder = tempfile::tempdir().expect("can be created");
        let mut followed = FollowedTranscript { folder, follower, rotated: 0 };
        followed.append(added);
        assert_lines(&mut followed, lines);
    }
}

#[test]
fn after_a_rotation_the_new_file_is_read_from_its_start() {
    let mut followed = FollowedTranscript::new();
    followed.append("a\n");
    followed.rotate();
    let stream = Stream::open(files_in(followed.folder.path()).expect("exists")).expect("exist");
    followed.follower = after(stream, followed.path());
    assert_lines(&mut followed, &[]);
    followed.append("b\n");
    assert_lines(&mut followed, &["b"]);
}

#[test]
fn a_rotation_before_following_starts_loses_no_line() {
    let mut followed = FollowedTranscript::new();
    followed.append("a\n");
    let stream = Stream::open([followed.path()]).expect("exists");
    followed.append("b\n");
    followed.rotate();
    followed.append("c\n");
    followed.follower = after(stream, followed.path());
    assert_lines(&mut followed, &["b", "c"]);
}

#[test]
fn lines_written_just_before_a_rotation_are_reported_before_the_new_file() {
    let mut followed = FollowedTranscript::with("a\n");
    followed.append("b\n");
    followed.rotate();
    followed.append("c\nd\n");
    assert_lines(&mut followed, &["b", "c", "d"]);
    assert_lines(&mut followed, &[]);
}

#[test]
fn lines_added_to_a_rotated_file_are_reported_until_there_is_a_new_one() {
    let mut followed = FollowedTranscript::with("a\n");
    followed.rotate();
    assert_lines(&mut followed, &[]);
    let mut rotated =
        File::options().append(true).open(&files_in(followed.folder.path()).expect("exists")[0]).expect("exists");
    rotated.write_all(b"b\n").expect("can be written");
    assert_lines(&mut followed, &["b"]);
    followed.append("c\n");
    assert_lines(&mut followed, &["c"]);
}

#[test]
fn a_new_file_with_the_same_beginning_as_the_rotated_one_is_read_from_its_start() {
    let mut followed = FollowedTranscript::with("a\n");
    followed.rotate();
    followed.append("a\nb\n");
    assert_lines(&mut followed, &["a", "b"]);
}

#[test]
fn a_truncated_file_that_is_written_again_continues_at_the_same_offset() {
    let mut followed = FollowedTranscript::with("a\nb\nc\n");
    for text in ["", "a\n", "a\nb\nc", "a\nb\nc\n"] {
        followed.overwrite(text);
        assert_lines(&mut followed, &[]);
    }
    followed.append("d\n");
    assert_lines(&mut followed, &["d"]);
}

#[test]
fn a_truncated_file_with_other_content_is_read_from_its_start() {
    let mut followed = FollowedTranscript::with("a\nb\n");
    followed.overwrite("x\n");
    assert_rewritten(&mut followed, &["x"]);
    followed.append("y\nz\n");
    assert_lines(&mut followed, &["y", "z"]);
}

#[test]
fn a_large_file_truncated_near_its_end_with_other_content_is_read_from_its_start() {
    let read = (0..5_000).map(|number| format!("{number}\n")).collect::<Vec<_>>().concat();
    let mut followed = FollowedTranscript::with(&read);
    let kept = &read[..read.len() - 1_000];
    followed.overwrite(kept);
    assert_lines(&mut followed, &[]);
    followed.append("other\n");
    let (lines, is_rewritten) = followed.read();
    assert!(is_rewritten);
    assert_eq!(lines.join("\n") + "\n", format!("{kept}other\n"));
}

#[test]
fn lines_longer_than_a_sample_are_followed() {
    let mut followed = FollowedTranscript::with("a\nb\n");
    for length in [SAMPLE - 1, SAMPLE, SAMPLE + 1, 5 * SAMPLE, 1, 20 * SAMPLE] {
        let line = "l".repeat(length);
        followed.append(&format!("{line}\n"));
        assert_lines(&mut followed, &[&line]);
        assert_lines(&mut followed, &[]);
    }
}

#[test]
fn a_partial_line_of_a_rotated_file_is_reported_before_the_next_file() {
    let mut followed = FollowedTranscript::with("a\nb");
    followed.rotate();
    assert_lines(&mut followed, &[]);
    followed.append("c\n");
    assert_lines(&mut followed, &["b~", "c"]);
}

#[test]
fn a_replacement_with_the_same_beginning_continues_at_the_same_offset() {
    let mut followed = FollowedTranscript::with("a\nb\n");
    followed.replace("a\nb\nc\n");
    assert_lines(&mut followed, &["c"]);
    followed.append("d\n");
    assert_lines(&mut followed, &["d"]);
}

#[test]
fn a_partial_line_is_read_from_the_replacement() {
    let mut followed = FollowedTranscript::with("a\nb");
    followed.replace("a\ncd\n");
    assert_lines(&mut followed, &["cd"]);
}

#[test]
fn a_replacement_with_another_beginning_is_read_from_its_start() {
    for (text, lines) in [("a\nx\nc\n", &["a", "x", "c"][..]), ("x\n", &["x"])] {
        let mut followed = FollowedTranscript::with("a\nb\n");
        followed.replace(text);
        assert_rewritten(&mut followed, lines);
        followed.append("d\n");
        assert_lines(&mut followed, &["d"]);
    }
}

#[test]
fn a_shorter_replacement_is_like_a_truncated_file() {
    for text in ["a\n", ""] {
        let mut followed = FollowedTranscript::with("a\nb\n");
        followed.replace(text);
        assert_lines(&mut followed, &[]);
        let rest = "a\nb\nc\n".strip_prefix(text).expect("has this prefix");
        followed.append(rest);
        assert_lines(&mut followed, &["c"]);
    }
    let mut followed = FollowedTranscript::with("a\nb\n");
    followed.replace("a\n");
    followed.append("x\n");
    assert_rewritten(&mut followed, &["a", "x"]);
}

#[test]
fn following_starts_at_any_position_and_continues_over_rotated_files() {
    let mut followed = FollowedTranscript::new();
    followed.append("a\nb\n");
    followed.rotate();
    followed.append("c\nd");
    let stream = Stream::open(files_in(followed.folder.path()).expect("exists")).expect("exist");
    let position = |segment, offset| StreamPosition { segment, offset: ByteOffset(offset) };
    for (start, lines) in
        [(position(0, 0), &["a", "b", "c"][..]), (position(0, 2), &["b", "c"]), (position(1, 0), &["c"])]
    {
        followed.follower = TailFollower::from(&stream, start, followed.path()).expect("can be read");
        assert_lines(&mut followed, lines);
    }
    followed.append("d\n");
    assert_lines(&mut followed, &["dd"]);
}

#[test]
fn a_file_truncated_before_following_starts_is_read_from_its_start() {
    let mut followed = FollowedTranscript::new();
    followed.append("a\nb\n");
    let stream = Stream::open([followed.path()]).expect("exists");
    followed.overwrite("x\n");
    followed.follower = TailFollower::from(&stream, stream.end(), followed.path()).expect("can be read");
    assert_lines(&mut followed, &["x"]);
}

#[test]
fn a_folder_that_is_a_link_is_watched() {
    let folder = tempfile::tempdir().expect("can be created");
    fs::create_dir(folder.path().join("real")).expect("can be created");
    std::os::unix::fs::symlink("real", folder.path().join("link")).expect("can be created");
    let watched = TailFollower::new(folder.path().join("link").join(CURRENT)).watched();
    assert!(watched.contains(&Watched::Names(folder.path().into(), "link".into())), "{watched:?}");
}

#[test]
fn a_file_that_was_removed_is_recognized_when_it_is_created_again() {
    let mut followed = FollowedTranscript::with("a\n");
    fs::remove_file(followed.path()).expect("can be removed");
    assert_lines(&mut followed, &[]);
    followed.replace("a\nb\n");
    assert_lines(&mut followed, &["b"]);
}

#[test]
fn files_rotated_between_two_reads_are_read_in_order() {
    for has_current in [true, false] {
        let mut followed = FollowedTranscript::with("a\n");
        followed.append("b\n");
        followed.rotate();
        followed.append("c\n");
        followed.rotate();
        followed.append("d\n");
        if !has_current {
            followed.rotate();
        }
        assert_lines(&mut followed, &["b", "c", "d"]);
        followed.append("e\n");
        assert_lines(&mut followed, &["e"]);
    }
}

#[test]
fn nothing_remains_of_a_partial_line_that_was_cut() {
    let mut followed = FollowedTranscript::with("a\nbcd");
    followed.overwrite("a\n");
    followed.append("xyz\n");
    assert_lines(&mut followed, &["xyz"]);
    let mut followed = FollowedTranscript::with("bcd");
    followed.overwrite("wxyz\n");
    assert_lines(&mut followed, &["wxyz"]);
}

#[test]
fn a_line_whose_handler_failed_is_not_reported_again() {
    let mut followed = FollowedTranscript::new();
    followed.append("a\nb\n");
    let failed = followed.follower.read(&mut |event| {
        let offset = offset_of(&event);
        Err(ReadError { path: PathBuf::new(), source: LineError::TooLong { offset, limit: 1 } })
    });
    assert!(failed.is_err());
    assert_lines(&mut followed, &["b"]);
}

#[test]
fn only_names_of_mngrs_rotation_count_as_rotated() {
    let mut followed = FollowedTranscript::with("a\n");
    fs::rename(followed.path(), followed.folder.path().join("events.jsonl.old")).expect("can be moved");
    followed.append("b\n");
    assert_rewritten(&mut followed, &["b"]);

    let mut followed = FollowedTranscript::new();
    followed.follower = TailFollower::new(followed.folder.path().join("copy.jsonl"));
    followed.append("a\n");
    assert_lines(&mut followed, &["a"]);
    followed.rotate();
    followed.append("b\n");
    assert_rewritten(&mut followed, &["b"]);
}

#[test]
fn the_innermost_existing_folder_is_watched() {
    let folder = tempfile::tempdir().expect("can be created");
    let path = folder.path().join("events/codex").join(CURRENT);
    let follower = TailFollower::new(path.clone());
    let watched =
        |folder: &Path, name: &str| vec![Watched::Names(folder.into(), name.into()), Watched::File(path.clone())];
    assert_eq!(follower.watched(), watched(folder.path(), "events"));
    fs::create_dir(folder.path().join("events")).expect("can be created");
    assert_eq!(follower.watched(), watched(&folder.path().join("events"), "codex"));
    fs::create_dir(folder.path().join("events/codex")).expect("can be created");
    assert_eq!(follower.watched(), watched(&folder.path().join("events/codex"), CURRENT));
}

#[test]
fn each_folder_with_a_link_of_the_path_is_watched() {
    let folder = tempfile::tempdir().expect("can be created");
    let [link, middle, end] = ["a/link", "b/middle", "c/end"].map(|name| folder.path().join(name));
    for path in [&link, &middle, &end] {
        fs::create_dir(path.parent().expect("has a parent")).expect("can be created");
    }
    std::os::unix::fs::symlink(&middle, &link).expect("can be created");
    std::os::unix::fs::symlink("../c/end", &middle).expect("can be created");
    let watched = TailFollower::new(link.clone()).watched();
    let names = |path: &Path, name: &str| Watched::Names(path.into(), name.into());
    let target = middle.parent().expect("has a parent").join("../c");
    assert_eq!(
        watched,
        [
            names(&folder.path().join("a"), "link"),
            Watched::File(link),
            names(&folder.path().join("b"), "middle"),
            names(&target, "end"),
        ]
    );
}

#[test]
fn circular_links_are_watched_up_to_a_limit() {
    let folder = tempfile::tempdir().expect("can be created");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&link, &link).expect("can be created");
    assert!(TailFollower::new(link).watched().len() <= 42);
}

#[derive(Clone, Debug)]
enum Step {
    Append(String),
    Rotate,
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    let piece = prop::collection::vec(prop::sample::select(&["\n", "a", "bc", "d\ne", "\r\n"][..]), 1..4);
    prop_oneof![
        5 => piece.prop_map(|pieces| Step::Append(pieces.concat())),
        1 => "[x-z]{200,400}\n".prop_map(Step::Append),
        1 => (SAMPLE - 9..3 * SAMPLE).prop_map(|length| Step::Append("l".repeat(length) + "\n")),
        1 => Just(Step::Rotate),
        3 => Just(Step::Read),
    ]
}

/// Returns the complete lines of a text.
fn complete_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}

proptest! {
    #[test]
    fn each_complete_line_is_reported_once_and_in_order(steps in prop::collection::vec(step(), 0..40)) {
        let mut followed = FollowedTranscript::new();
        let mut files = vec![String::new()];
        let mut found = Vec::new();
        for step in steps.into_iter().chain([Step::Read]) {
            match step {
                Step::Append(text) => {
                    followed.append(&text);
                    files.last_mut().expect("is one").push_str(&text);
                }
                Step::Rotate if followed.path().exists() => {
                    followed.rotate();
                    files.push(String::new());
                }
                Step::Rotate => {}
                Step::Read => {
                    let (lines, is_rewritten) = followed.read();
                    prop_assert!(!is_rewritten);
                    found.extend(lines);
                    // A file exists once something has been written to it.
                    let last = files.iter().rposition(|file| !file.is_empty()).unwrap_or(0);
                    let of = |(number, file): (usize, &String)| {
                        let partial = file.rsplit('\n').next().filter(|partial| !partial.is_empty() && number < last);
                        complete_lines(file).map(str::to_owned).chain(partial.map(|partial| format!("{partial}~"))).collect::<Vec<_>>()
                    };
                    let all: Vec<String> = files.iter().enumerate().flat_map(of).collect();
                    prop_assert_eq!(&found, &all);
                }
            }
        }
    }

    #[test]
    fn a_rewritten_file_continues_if_it_has_the_same_beginning(
        lines in prop::collection::vec("[ab]{0,9}\n", 0..12),
        kept in 0_usize..12,
        others in prop::collection::vec("[ab]{0,9}\n", 0..12),
        is_in_place: bool,
    ) {
        // All of it fits in a sample.
        let before = lines.concat();
        prop_assert!(before.len() <= SAMPLE);
        let after = lines.iter().take(kept).chain(&others).map(String::as_str).collect::<String>();
        let mut followed = FollowedTranscript::with(&before);
        if is_in_place { followed.overwrite(&after) } else { followed.replace(&after) }
        let (found, is_rewritten) = followed.read();
        let expected = match after.strip_prefix(&before) {
            Some(more) => (complete_lines(more).collect(), false),
            None if before.starts_with(&after) => (Vec::new(), false),
            None => (complete_lines(&after).collect::<Vec<_>>(), true),
        };
        prop_assert_eq!((found.iter().map(String::as_str).collect::<Vec<_>>(), is_rewritten), expected);
    }
}
