use super::*;

#[test]
fn a_line_is_added_once_and_a_torn_one_completed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lines");
    let add = |before: &str, line: &str, may_be_there: bool| {
        fs::write(&path, before).expect("can be written");
        add_line(&path, line, may_be_there).expect("can be added");
        fs::read_to_string(&path).expect("is there")
    };
    for may_be_there in [false, true] {
        assert_eq!(add("", "/b", may_be_there), "/b\n");
        assert_eq!(add("/a\n", "/b", may_be_there), "/a\n/b\n");
        assert_eq!(add("/b\n/a\n", "/b", may_be_there), "/b\n/a\n/b\n");
        // A line that broke off, and one of which the end is missing only.
        assert_eq!(add("/a\n/b", "/bcd", may_be_there), "/a\n/bcd\n");
        assert_eq!(add("/", "/bcd", may_be_there), "/bcd\n");
        assert_eq!(add("/a\n/bcd", "/bcd", may_be_there), "/a\n/bcd\n");
        // Another line than this that broke off.
        assert_eq!(add("/a\n/x", "/b", may_be_there), "/a\n/x\n/b\n");
        let long = format!("/{}", "x".repeat(4094));
        assert_eq!(add(&format!("{long}\n{}", &long[..100]), &long, may_be_there), format!("{long}\n{long}\n"));
    }
    assert_eq!(add("/a\n/b\n", "/b", true), "/a\n/b\n");
    assert_eq!(add("/a\n/b\n", "/b", false), "/a\n/b\n/b\n");
    let many = "/x\n".repeat(10_000);
    assert_eq!(add(&many, "/x", true), many);
}
