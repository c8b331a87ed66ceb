use super::*;

#[test]
fn paths_in_messages_cannot_break_or_reverse_the_line() {
    let path = Path::new("a\nb\u{1b}[31m\u{202E}txt\u{2028}é");
    assert_eq!(escaped_path(path), r"a\nb\u{1b}[31m\u{202e}txt\u{2028}é");
}
