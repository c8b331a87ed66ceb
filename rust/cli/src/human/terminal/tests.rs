use proptest::prelude::*;

use super::*;

fn safe(text: &[u8]) -> String {
    let mut out = Vec::new();
    push_safe(text, &mut out);
    String::from_utf8(out).expect("is UTF-8")
}

#[test]
fn control_characters_are_made_visible() {
    for (text, expected) in [
        ("\x1b]52;c;aGk=\x07", "^[]52;c;aGk=^G"),
        ("\x1b[2J\x08\0\x7f", "^[[2J^H^@^?"),
        ("\u{9b}31m", "<U+009B>31m"),
        ("a\rb", "a^Mb"),
        ("user\u{202e}txt.exe\u{2069}", "user<U+202E>txt.exe<U+2069>"),
        ("a\u{2028}b\u{85}c", "a<U+2028>b<U+0085>c"),
        ("a\u{200b}b\u{feff}\u{e0041}", "a<U+200B>b<U+FEFF><U+E0041>"),
        ("a\u{1160}b\u{34f}c\u{600}", "a<U+1160>b<U+034F>c<U+0600>"),
    ] {
        assert_eq!(safe(text.as_bytes()), expected);
    }
}

#[test]
fn ordinary_text_is_unchanged() {
    for text in ["a\n\tb", "漢字 é e\u{301}", "👨\u{200d}👩\u{200d}👧 ❤\u{fe0f}", "می\u{200c}خواهم"] {
        assert_eq!(safe(text.as_bytes()), text);
    }
    assert_eq!(safe(b"a\r\nb\r\n"), "a\nb\n");
}

#[test]
fn invalid_utf_8_is_replaced() {
    assert_eq!(safe(b"a\xffb"), "a\u{FFFD}b");
    // An unpaired surrogate in WTF-8.
    assert_eq!(safe(b"a\xed\xa0\x80b"), "a\u{FFFD}b");
}

#[test]
fn wide_characters_take_two_columns_and_marks_none() {
    assert_eq!(cut_to_columns("漢字漢字", 5), "漢字");
    assert_eq!(cut_to_columns("e\u{301}e\u{301}e", 2), "e\u{301}e\u{301}");
    assert_eq!(cut_to_columns("abc", 3), "abc");
    assert_eq!(cut_to_columns(&"\u{301}".repeat(100), 2).chars().count(), 16);
}

proptest! {
    #[test]
    fn no_harmful_character_passes(text in prop::collection::vec(any::<u8>(), 0..200), characters in ".*") {
        for text in [text.as_slice(), characters.as_bytes()] {
            let shown = safe(text);
            prop_assert!(shown.chars().all(|it| it == '\n' || it == '\t' || !(it.is_control() || is_harmful(it))));
        }
    }
}

#[test]
fn no_character_is_wider_than_its_bytes() {
    let columns = |character: char| character.width().unwrap_or(0);
    let wider = ('\0'..=char::MAX).find(|character| columns(*character) > character.len_utf8());
    assert_eq!(wider, None);
}
