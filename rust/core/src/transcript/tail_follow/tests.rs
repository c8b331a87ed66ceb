use std::io::Write;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A transcript in a folder of its own, and who follows it.
struct Followed {
    folder: TempDir,
    growing: Growing,
    rotated: usize,
}

impl Followed {
    /// One that is not there yet.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("can be made");
        let growing = Growing::new(folder.path().join(CURRENT));
        Self { folder, growing, rotated: 0 }
    }

    /// One that has been read.
    fn with(text: &str) -> Self {
        let mut followed = Self::new();
        followed.append(text);
        followed.look();
        followed
    }

    fn path(&self) -> PathBuf {
        self.growing.path().to_owned()
    }

    fn append(&self, text: &str) {
        let mut file = File::options().create(true).append(true).open(self.path()).expect("can be opened");
        file.write_all(text.as_bytes()).expect("can be written");
    }

    /// Writes the file anew, in its place.
    fn overwrite(&self, text: &str) {
        fs::write(self.path(), text).expect("can be written");
    }

    /// Puts another file in its place.
    fn replace(&self, text: &str) {
        let other = self.folder.path().join("other");
        fs::write(&other, text).expect("can be written");
        fs::rename(other, self.path()).expect("can be moved");
    }

    /// Moves the file away as mngr does.
    fn rotate(&mut self) {
        self.rotated += 1;
        let name = format!("{CURRENT}.{:020}", self.rotated);
        fs::rename(self.path(), self.folder.path().join(name)).expect("can be moved");
    }

    /// The lines that are new, `~` behind a torn one, and whether all of them are told as written anew.
    fn look(&mut self) -> (Vec<String>, bool) {
        let (mut lines, mut is_rewritten) = (Vec::new(), false);
        let told = self.growing.read::<ReadError>(&mut |event| {
            let (line, mark) = match event {
                Event::Line(line) => (line, ""),
                Event::Torn(line) => (line, "~"),
                Event::Rewritten => {
                    assert!(lines.is_empty());
                    is_rewritten = true;
                    return Ok(());
                }
            };
            lines.push(String::from_utf8_lossy(line.text.bytes()).into_owned() + mark);
            Ok(())
        });
        told.expect("can be read");
        (lines, is_rewritten)
    }
}

#[track_caller]
fn assert_lines(followed: &mut Followed, lines: &[&str]) {
    let (found, is_rewritten) = followed.look();
    assert_eq!((found.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), is_rewritten), (lines, false));
}

#[track_caller]
fn assert_rewritten(followed: &mut Followed, lines: &[&str]) {
    let (found, is_rewritten) = followed.look();
    assert_eq!((found.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), is_rewritten), (lines, true));
}

/// Who follows a stream from where its whole lines end.
fn after(stream: Stream, path: PathBuf) -> Growing {
    let stream = stream.without_torn_end().expect("can be read");
    Growing::from(&stream, stream.end(), path).expect("can be read")
}

/// Where an event's line starts.
fn offset_of(event: &Event<'_>) -> ByteOffset {
    match event {
        Event::Line(line) | Event::Torn(line) => line.offset,
        Event::Rewritten => panic!("nothing was written anew"),
    }
}

#[test]
fn a_line_that_comes_in_pieces_is_shown_once_it_is_whole() {
    let mut followed = Followed::new();
    for (piece, lines) in
        [("on", &[][..]), ("e", &[]), ("\ntw", &["one"]), ("o\n\nth", &["two", ""]), ("ree\n", &["three"])]
    {
        followed.append(piece);
        assert_lines(&mut followed, lines);
    }
    assert_lines(&mut followed, &[]);
}

#[test]
fn each_line_comes_with_its_place() {
    let mut followed = Followed::with("one\ntw");
    followed.append("o\n\n");
    let mut places = Vec::new();
    let place = &mut |event: Event<'_>| {
        places.push(offset_of(&event).0);
        Ok::<(), ReadError>(())
    };
    followed.growing.read(place).expect("can be read");
    assert_eq!(places, [4, 8]);
}

#[test]
fn a_file_that_is_not_there_yet_is_read_from_its_start_once_it_is() {
    let folder = tempfile::tempdir().expect("can be made");
    let path = folder.path().join("events/codex").join(CURRENT);
    let mut followed = Followed { growing: Growing::new(path.clone()), folder, rotated: 0 };
    assert_lines(&mut followed, &[]);
    fs::create_dir_all(path.parent().expect("has one")).expect("can be made");
    assert_lines(&mut followed, &[]);
    followed.append("a\n");
    assert_lines(&mut followed, &["a"]);
}

#[test]
fn a_file_that_was_not_there_yet_and_is_rotated_before_it_is_seen_comes_first() {
    for has_current in [true, false] {
        let mut followed = Followed::new();
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
fn a_file_in_the_folders_place_is_as_if_nothing_were_there() {
    let folder = tempfile::tempdir().expect("can be made");
    fs::write(folder.path().join("events"), "").expect("can be written");
    let growing = Growing::new(folder.path().join("events").join(CURRENT));
    assert_lines(&mut Followed { folder, growing, rotated: 0 }, &[]);
}

#[test]
fn a_folder_in_the_files_place_is_an_error_with_its_path() {
    let mut followed = Followed::new();
    fs::create_dir(followed.path()).expect("can be made");
    let error = followed.growing.read::<ReadError>(&mut |_| Ok(())).expect_err("is no file");
    assert_eq!(error.path, followed.path());
    assert!(matches!(&error.source, LineError::Read { source, .. } if source.kind() == ErrorKind::IsADirectory));
    fs::remove_dir(followed.path()).expect("can be removed");
    followed.append("a\n");
    assert_lines(&mut followed, &["a"]);
}

#[test]
fn an_error_of_whoever_takes_the_lines_is_handed_on() {
    let mut followed = Followed::new();
    followed.append("a\nb\n");
    let mut taken = 0;
    let error = followed.growing.read::<ReadError>(&mut |event| {
        taken += 1;
        let offset = offset_of(&event);
        Err(ReadError { path: PathBuf::from("taker"), source: LineError::TooLong { offset, limit: 0 } })
    });
    assert_eq!((error.expect_err("is handed on").path, taken), (PathBuf::from("taker"), 1));
}

#[test]
fn what_a_stream_has_shown_is_not_shown_again_and_its_torn_line_comes_once_it_is_whole() {
    let folder = tempfile::tempdir().expect("can be made");
    let path = folder.path().join(CURRENT);
    for (text, added, lines) in [
        ("a\nb\n", "c\n", &["c"][..]),
        ("a\nb", "", &[]),
        ("a\nb", "c\n", &["bc"]),
        ("b", "\n", &["b"]),
        ("", "a\n", &["a"]),
    ] {
        fs::write(&path, text).expect("can be written");
        let growing = after(Stream::open([path.clone()]).expect("is there"), path.clone());
        let folder = tempfile::tempdir().expect("can be made");
        let mut followed = Followed { folder, growing, rotated: 0 };
        followed.append(added);
        assert_lines(&mut followed, lines);
    }
}

#[test]
fn a_transcript_that_was_rotated_before_its_stream_ended_is_read_from_the_new_files_start() {
    let mut followed = Followed::new();
    followed.append("a\n");
    followed.rotate();
    let stream = Stream::open(files_in(followed.folder.path()).expect("is there")).expect("are there");
    followed.growing = after(stream, followed.path());
    assert_lines(&mut followed, &[]);
    followed.append("b\n");
    assert_lines(&mut followed, &["b"]);
}

#[test]
fn a_rotation_between_stream_and_following_loses_nothing() {
    let mut followed = Followed::new();
    followed.append("a\n");
    let stream = Stream::open([followed.path()]).expect("is there");
    followed.append("b\n");
    followed.rotate();
    followed.append("c\n");
    followed.growing = after(stream, followed.path());
    assert_lines(&mut followed, &["b", "c"]);
}

#[test]
fn what_was_written_last_before_a_rotation_comes_before_the_new_file() {
    let mut followed = Followed::with("a\n");
    followed.append("b\n");
    followed.rotate();
    followed.append("c\nd\n");
    assert_lines(&mut followed, &["b", "c", "d"]);
    assert_lines(&mut followed, &[]);
}

#[test]
fn what_still_comes_to_a_rotated_file_is_shown_while_there_is_no_new_one() {
    let mut followed = Followed::with("a\n");
    followed.rotate();
    assert_lines(&mut followed, &[]);
    let mut away =
        File::options().append(true).open(&files_in(followed.folder.path()).expect("is there")[0]).expect("is");
    away.write_all(b"b\n").expect("can be written");
    assert_lines(&mut followed, &["b"]);
    followed.append("c\n");
    assert_lines(&mut followed, &["c"]);
}

#[test]
fn a_new_file_that_begins_as_the_rotated_one_is_read_from_its_start() {
    let mut followed = Followed::with("a\n");
    followed.rotate();
    followed.append("a\nb\n");
    assert_lines(&mut followed, &["a", "b"]);
}

#[test]
fn a_file_cut_in_place_goes_on_where_it_was_once_it_is_written_again() {
    let mut followed = Followed::with("a\nb\nc\n");
    for text in ["", "a\n", "a\nb\nc", "a\nb\nc\n"] {
        followed.overwrite(text);
        assert_lines(&mut followed, &[]);
    }
    followed.append("d\n");
    assert_lines(&mut followed, &["d"]);
}

#[test]
fn a_file_cut_in_place_with_something_else_written_is_shown_from_its_start() {
    let mut followed = Followed::with("a\nb\n");
    followed.overwrite("x\n");
    assert_rewritten(&mut followed, &["x"]);
    followed.append("y\nz\n");
    assert_lines(&mut followed, &["y", "z"]);
}

#[test]
fn a_large_file_cut_near_its_end_with_something_else_written_is_shown_from_its_start() {
    let read = (0..5_000).map(|number| format!("{number}\n")).collect::<Vec<_>>().concat();
    let mut followed = Followed::with(&read);
    let kept = &read[..read.len() - 1_000];
    followed.overwrite(kept);
    assert_lines(&mut followed, &[]);
    followed.append("other\n");
    let (lines, is_rewritten) = followed.look();
    assert!(is_rewritten);
    assert_eq!(lines.join("\n") + "\n", format!("{kept}other\n"));
}

#[test]
fn lines_longer_than_what_a_file_is_known_by_are_read_on() {
    let mut followed = Followed::with("a\nb\n");
    for length in [KNOWN - 1, KNOWN, KNOWN + 1, 5 * KNOWN, 1, 20 * KNOWN] {
        let line = "l".repeat(length);
        followed.append(&format!("{line}\n"));
        assert_lines(&mut followed, &[&line]);
        assert_lines(&mut followed, &[]);
    }
}

#[test]
fn a_file_rotated_with_half_a_line_has_it_told_before_the_next_file() {
    let mut followed = Followed::with("a\nb");
    followed.rotate();
    assert_lines(&mut followed, &[]);
    followed.append("c\n");
    assert_lines(&mut followed, &["b~", "c"]);
}

#[test]
fn a_file_put_in_place_with_the_same_beginning_is_read_on() {
    let mut followed = Followed::with("a\nb\n");
    followed.replace("a\nb\nc\n");
    assert_lines(&mut followed, &["c"]);
    followed.append("d\n");
    assert_lines(&mut followed, &["d"]);
}

#[test]
fn a_torn_line_is_taken_from_the_file_that_is_put_in_place() {
    let mut followed = Followed::with("a\nb");
    followed.replace("a\ncd\n");
    assert_lines(&mut followed, &["cd"]);
}

#[test]
fn a_file_put_in_place_with_another_beginning_is_shown_from_its_start() {
    for (text, lines) in [("a\nx\nc\n", &["a", "x", "c"][..]), ("x\n", &["x"])] {
        let mut followed = Followed::with("a\nb\n");
        followed.replace(text);
        assert_rewritten(&mut followed, lines);
        followed.append("d\n");
        assert_lines(&mut followed, &["d"]);
    }
}

#[test]
fn a_shorter_file_put_in_place_is_as_one_that_was_cut() {
    for text in ["a\n", ""] {
        let mut followed = Followed::with("a\nb\n");
        followed.replace(text);
        assert_lines(&mut followed, &[]);
        let rest = "a\nb\nc\n".strip_prefix(text).expect("begins so");
        followed.append(rest);
        assert_lines(&mut followed, &["c"]);
    }
    let mut followed = Followed::with("a\nb\n");
    followed.replace("a\n");
    followed.append("x\n");
    assert_rewritten(&mut followed, &["a", "x"]);
}

#[test]
fn following_begins_at_any_place_and_goes_on_over_rotated_files() {
    let mut followed = Followed::new();
    followed.append("a\nb\n");
    followed.rotate();
    followed.append("c\nd");
    let stream = Stream::open(files_in(followed.folder.path()).expect("is there")).expect("are there");
    let place = |segment, offset| Place { segment, offset: ByteOffset(offset) };
    for (start, lines) in [(place(0, 0), &["a", "b", "c"][..]), (place(0, 2), &["b", "c"]), (place(1, 0), &["c"])] {
        followed.growing = Growing::from(&stream, start, followed.path()).expect("can be read");
        assert_lines(&mut followed, lines);
    }
    followed.append("d\n");
    assert_lines(&mut followed, &["dd"]);
}

#[test]
fn a_file_that_was_cut_before_its_following_begins_is_taken_from_its_start() {
    let mut followed = Followed::new();
    followed.append("a\nb\n");
    let stream = Stream::open([followed.path()]).expect("is there");
    followed.overwrite("x\n");
    followed.growing = Growing::from(&stream, stream.end(), followed.path()).expect("can be read");
    assert_lines(&mut followed, &["x"]);
}

#[test]
fn a_folder_that_is_a_link_is_watched() {
    let folder = tempfile::tempdir().expect("can be made");
    fs::create_dir(folder.path().join("real")).expect("can be made");
    std::os::unix::fs::symlink("real", folder.path().join("link")).expect("can be made");
    let watched = Growing::new(folder.path().join("link").join(CURRENT)).watched();
    assert!(watched.contains(&Watched::Names(folder.path().into(), "link".into())), "{watched:?}");
}

#[test]
fn a_file_that_was_removed_is_known_again_when_it_comes_back() {
    let mut followed = Followed::with("a\n");
    fs::remove_file(followed.path()).expect("can be removed");
    assert_lines(&mut followed, &[]);
    followed.replace("a\nb\n");
    assert_lines(&mut followed, &["b"]);
}

#[test]
fn files_that_were_rotated_between_two_looks_are_shown_in_their_order() {
    for has_current in [true, false] {
        let mut followed = Followed::with("a\n");
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
fn half_a_line_that_is_cut_off_leaves_nothing() {
    let mut followed = Followed::with("a\nbcd");
    followed.overwrite("a\n");
    followed.append("xyz\n");
    assert_lines(&mut followed, &["xyz"]);
    let mut followed = Followed::with("bcd");
    followed.overwrite("wxyz\n");
    assert_lines(&mut followed, &["wxyz"]);
}

#[test]
fn a_line_that_could_not_be_shown_is_behind() {
    let mut followed = Followed::new();
    followed.append("a\nb\n");
    let failed = followed.growing.read(&mut |event| {
        let offset = offset_of(&event);
        Err(ReadError { path: PathBuf::new(), source: LineError::TooLong { offset, limit: 1 } })
    });
    assert!(failed.is_err());
    assert_lines(&mut followed, &["b"]);
}

#[test]
fn only_what_mngr_rotates_is_rotated() {
    let mut followed = Followed::with("a\n");
    fs::rename(followed.path(), followed.folder.path().join("events.jsonl.old")).expect("can be moved");
    followed.append("b\n");
    assert_rewritten(&mut followed, &["b"]);

    let mut followed = Followed::new();
    followed.growing = Growing::new(followed.folder.path().join("copy.jsonl"));
    followed.append("a\n");
    assert_lines(&mut followed, &["a"]);
    followed.rotate();
    followed.append("b\n");
    assert_rewritten(&mut followed, &["b"]);
}

#[test]
fn the_folder_that_is_there_is_watched_for_the_name_that_comes_next() {
    let folder = tempfile::tempdir().expect("can be made");
    let path = folder.path().join("events/codex").join(CURRENT);
    let growing = Growing::new(path.clone());
    let watched =
        |folder: &Path, name: &str| vec![Watched::Names(folder.into(), name.into()), Watched::File(path.clone())];
    assert_eq!(growing.watched(), watched(folder.path(), "events"));
    fs::create_dir(folder.path().join("events")).expect("can be made");
    assert_eq!(growing.watched(), watched(&folder.path().join("events"), "codex"));
    fs::create_dir(folder.path().join("events/codex")).expect("can be made");
    assert_eq!(growing.watched(), watched(&folder.path().join("events/codex"), CURRENT));
}

#[test]
fn each_folder_that_a_link_leads_through_is_watched() {
    let folder = tempfile::tempdir().expect("can be made");
    let [link, middle, end] = ["a/link", "b/middle", "c/end"].map(|name| folder.path().join(name));
    for path in [&link, &middle, &end] {
        fs::create_dir(path.parent().expect("has one")).expect("can be made");
    }
    std::os::unix::fs::symlink(&middle, &link).expect("can be made");
    std::os::unix::fs::symlink("../c/end", &middle).expect("can be made");
    let watched = Growing::new(link.clone()).watched();
    let names = |path: &Path, name: &str| Watched::Names(path.into(), name.into());
    let behind = middle.parent().expect("has one").join("../c");
    assert_eq!(
        watched,
        [
            names(&folder.path().join("a"), "link"),
            Watched::File(link),
            names(&folder.path().join("b"), "middle"),
            names(&behind, "end"),
        ]
    );
}

#[test]
fn links_that_lead_in_a_circle_are_watched_and_no_more() {
    let folder = tempfile::tempdir().expect("can be made");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&link, &link).expect("can be made");
    assert!(Growing::new(link).watched().len() <= 42);
}

#[derive(Clone, Debug)]
enum Step {
    Append(String),
    Rotate,
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    let piece = prop::collection::vec(prop::sample::select(&["\n", "a", "bc", "d\ne", "\r\n"][..]), 1..4);
    prop_oneof![
        5 => piece.prop_map(|pieces| Step::Append(pieces.concat())),
        1 => "[x-z]{200,400}\n".prop_map(Step::Append),
        1 => (KNOWN - 9..3 * KNOWN).prop_map(|length| Step::Append("l".repeat(length) + "\n")),
        1 => Just(Step::Rotate),
        3 => Just(Step::Look),
    ]
}

/// The whole lines of a text.
fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}

proptest! {
    #[test]
    fn any_schedule_gives_each_whole_line_once_in_order(steps in prop::collection::vec(step(), 0..40)) {
        let mut followed = Followed::new();
        let mut files = vec![String::new()];
        let mut found = Vec::new();
        for step in steps.into_iter().chain([Step::Look]) {
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
                Step::Look => {
                    let (lines, is_rewritten) = followed.look();
                    prop_assert!(!is_rewritten);
                    found.extend(lines);
                    // The last one is not there before something is written to it.
                    let last = files.iter().rposition(|file| !file.is_empty()).unwrap_or(0);
                    let of = |(number, file): (usize, &String)| {
                        let torn = file.rsplit('\n').next().filter(|torn| !torn.is_empty() && number < last);
                        whole_lines(file).map(str::to_owned).chain(torn.map(|torn| format!("{torn}~"))).collect::<Vec<_>>()
                    };
                    let all: Vec<String> = files.iter().enumerate().flat_map(of).collect();
                    prop_assert_eq!(&found, &all);
                }
            }
        }
    }

    #[test]
    fn what_is_written_anew_is_read_on_where_it_agrees_with_what_was_read(
        lines in prop::collection::vec("[ab]{0,9}\n", 0..12),
        kept in 0_usize..12,
        others in prop::collection::vec("[ab]{0,9}\n", 0..12),
        is_in_place: bool,
    ) {
        // What was read is shorter than what a file is known by.
        let before = lines.concat();
        prop_assert!(before.len() <= KNOWN);
        let after = lines.iter().take(kept).chain(&others).map(String::as_str).collect::<String>();
        let mut followed = Followed::with(&before);
        if is_in_place { followed.overwrite(&after) } else { followed.replace(&after) }
        let (found, is_rewritten) = followed.look();
        let expected = match after.strip_prefix(&before) {
            Some(more) => (whole_lines(more).collect(), false),
            None if before.starts_with(&after) => (Vec::new(), false),
            None => (whole_lines(&after).collect::<Vec<_>>(), true),
        };
        prop_assert_eq!((found.iter().map(String::as_str).collect::<Vec<_>>(), is_rewritten), expected);
    }
}
