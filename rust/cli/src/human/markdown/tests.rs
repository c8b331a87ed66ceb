use proptest::prelude::*;

use super::*;

fn rendered(text: &str, columns: usize) -> Vec<String> {
    render(text.as_bytes(), columns, "").expect("is short")
}

fn is_rendered(text: &str, expected: &[&str]) {
    let shown: Vec<String> = rendered(text, 40).iter().map(|row| visible(row)).collect();
    assert_eq!(shown, expected, "{text}");
}

/// Shows SGR sequences as `<1>` and their end as `<>`.
fn visible(row: &str) -> String {
    let mut visible = String::new();
    let mut rest = row;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        let (parameters, after) = after.split_once('m').expect("ends");
        visible.push_str(before);
        visible.push('<');
        visible.push_str(if parameters == "0" { "" } else { parameters });
        visible.push('>');
        rest = after;
    }
    visible + rest
}

#[test]
fn inline_markup_becomes_color() {
    is_rendered("**bold** and *it* and `a b` ~~no~~", &["<1>bold<> and <3>it<> and <36>a b<> <9>no<>"]);
    is_rendered("**a *b***", &["<1>a<> <1;3>b<>"]);
    is_rendered("snake_case and 2 * 3 * 4", &["snake_case and 2 * 3 * 4"]);
    is_rendered("[name](https://e.org/a)", &["<4>name<> <2>(https://e.org/a)<>"]);
    is_rendered("<https://e.org>", &["<4>https://e.org<>"]);
    is_rendered("a <b> c &amp; d", &["a <b> c & d"]);
}

#[test]
fn blocks_are_separated_and_indented() {
    is_rendered("# Title\ntext\nmore\n\nlast", &["<1>Title<>", "text", "more", "", "last"]);
    is_rendered("- a\n- b\n  1. c\n  2. d\n\nend", &["• a", "• b", "  1. c", "  2. d", "", "end"]);
    is_rendered("9. a\n10. b", &["9. a", "10. b"]);
    is_rendered("a\n- [x] done\n- [ ] open\n-", &["a", "• [x] done", "• [ ] open", "•"]);
    is_rendered("- a\n\n  b\n\n- c", &["• a", "", "  b", "", "• c"]);
    is_rendered("> a\n> b", &["<2>│ <>a", "<2>│ <>b"]);
    is_rendered("a\n\n```py\nx = 1\n\n  y\n```\nb", &["a", "", "  <36>x = 1<>", "", "  <36>  y<>", "b"]);
    is_rendered("a\n\n---\n\nb", &["a", "", "<2>───<>", "", "b"]);
    is_rendered("- a\n  ```\n  code\n  ```\n- b", &["• a", "    <36>code<>", "• b"]);
}

#[test]
fn an_unfinished_block_is_shown_to_its_end() {
    is_rendered("```\na **b", &["  <36>a **b<>"]);
    is_rendered("**a", &["**a"]);
}

#[test]
fn lines_are_filled_up_to_the_width() {
    assert_eq!(rendered("one two three four five six", 20), ["one two three four", "five six"]);
    assert_eq!(rendered("- one two three four five", 20), ["• one two three four", "  five"]);
    assert_eq!(rendered(&"漢".repeat(12), 20), ["漢".repeat(10), "漢".repeat(2)]);
    assert_eq!(rendered(&format!("ab{}", "漢".repeat(10)), 20), [format!("ab{}", "漢".repeat(9)), "漢".to_owned()]);
    let word = "x".repeat(30);
    assert_eq!(rendered(&format!("a {word} b"), 20), ["a", word.as_str(), "b"]);
    // A family of three people is one character.
    let family = "\u{1F469}\u{200D}\u{1F469}\u{200D}\u{1F466}";
    assert_eq!(rendered(&format!("{} {family}", "x".repeat(17)), 20), ["x".repeat(17), family.to_owned()]);
}

#[test]
fn tables_are_aligned_if_they_fit() {
    let table = "| a | long |\n|---|---|\n| 漢字 | `x` |\n| y |";
    is_rendered(table, &["<1>a<>   <2> │ <><1>long<>", "<2>─────┼─────<>", "漢字<2> │ <><36>x<>", "y   <2> │ <>"]);
    let aligned = "| a | b |\n|:-:|--:|\n| wide | 1 |\n| x | 200 |";
    is_rendered(aligned, &[" <1>a<>  <2> │ <>  <1>b<>", "<2>─────┼────<>", "wide<2> │ <>  1", " x  <2> │ <>200"]);
    let wide = format!("| a | b |\n|---|---|\n| {} | y |", "x".repeat(50));
    assert_eq!(rendered(&wide, 40), wide.lines().collect::<Vec<_>>());
}

#[test]
fn nothing_in_a_text_reaches_the_terminal() {
    for text in [
        "\x1b[31m **\x1b]0;x\x07** `\u{9b}`",
        "&#27;[31m &#x1b;]52;c;x&#7; &#x202e; &#155;",
        "[a](&#27;[2J) ![&#27;](b) <x&#27;>",
        "```\n\x1b[2J\n```",
        "| &#27; |\n|---|\n| \x1b |",
    ] {
        let rows = render(text.as_bytes(), 40, "").expect("is short");
        assert!(rows.iter().all(|row| is_safe(row)), "{rows:?}");
    }
    assert!(rendered("&#27;[31m", 40)[0].contains("^["));
    assert!(rendered("&#x202e;", 40)[0].contains("<U+202E>"));
}

fn is_safe(row: &str) -> bool {
    visible(row).chars().all(|it| it == '\t' || !(it.is_control() || matches!(it, '\u{2028}'..='\u{202E}')))
}

#[test]
fn long_and_deeply_nested_texts_are_not_rendered() {
    assert!(render(&vec![b'a'; MAX_TEXT + 1], 40, "").is_none());
    for marker in [">", "> ", "- ", "1. "] {
        assert!(render(format!("a\n{}b", marker.repeat(65)).as_bytes(), 40, "").is_none(), "{marker}");
        let rows = rendered(&format!("{}b", marker.repeat(64)), 40);
        assert!(rows.concat().ends_with('b') && rows.concat().len() < 500, "{rows:?}");
    }
    assert_eq!(rendered(&"-".repeat(80), 40).len(), 1);
}

proptest! {
    #[test]
    fn any_text_is_rendered_safely(text in "([-*_`#>|&;~\\[\\]()!0-9a-c \n\u{1b}\u{6f22}]|&#27;|\\| - |```|\n\n){0,60}", columns in 0_usize..60) {
        let rows = render(text.as_bytes(), columns, "2").expect("is short");
        prop_assert!(rows.iter().all(|row| is_safe(row)), "{rows:?}");
    }
}
