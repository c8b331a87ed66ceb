use super::*;

#[test]
fn a_line_is_added_once_and_an_unterminated_one_completed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lines");
    let add = |before: &str, line: &str, may_exist: bool| {
        fs::write(&path, before).expect("can be written");
        add_line(&path, line, may_exist).expect("can be added");
        fs::read_to_string(&path).expect("it exists")
    };
    for may_exist in [false, true] {
        assert_eq!(add("", "/b", may_exist), "/b\n");
        assert_eq!(add("/a\n", "/b", may_exist), "/a\n/b\n");
        assert_eq!(add("/b\n/a\n", "/b", may_exist), "/b\n/a\n/b\n");
        // An unterminated beginning of the line.
        assert_eq!(add("/a\n/b", "/bcd", may_exist), "/a\n/bcd\n");
        assert_eq!(add("/", "/bcd", may_exist), "/bcd\n");
        assert_eq!(add("/a\n/bcd", "/bcd", may_exist), "/a\n/bcd\n");
        // An unterminated beginning of another line.
        assert_eq!(add("/a\n/x", "/b", may_exist), "/a\n/x\n/b\n");
        let long = format!("/{}", "x".repeat(4094));
        assert_eq!(add(&format!("{long}\n{}", &long[..100]), &long, may_exist), format!("{long}\n{long}\n"));
    }
    assert_eq!(add("/a\n/b\n", "/b", true), "/a\n/b\n");
    assert_eq!(add("/a\n/b\n", "/b", false), "/a\n/b\n/b\n");
    let many = "/x\n".repeat(10_000);
    assert_eq!(add(&many, "/x", true), many);
}
