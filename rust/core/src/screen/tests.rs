use proptest::prelude::*;

use super::*;

const BOLD: &str = "\u{1B}[1m";
const DIM: &str = "\u{1B}[2m";
const OFF: &str = "\u{1B}[0m\u{1B}[39m\u{1B}[49m";

/// Styles lines that are given as plain text: `{empty}` is an empty composer.
fn styled(lines: &[&str]) -> String {
    let empty = format!("{BOLD}›{OFF} {DIM}Ask Codex to do anything");
    let line = |line: &&str| {
        line.replace("{empty}", &empty).replace("{bold}", BOLD).replace("{dim}", DIM).replace("{off}", OFF)
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn screen(lines: &[&str]) -> Screen {
    Screen::parse("codex", &styled(lines))
}

const EMPTY: &str = "{empty}";

#[test]
fn an_empty_composer_is_ready() {
    let seen = screen(&["  >_ OpenAI Codex (v0.163.0)", "     ~/work", "", EMPTY, "", "  ? for shortcuts"]);
    assert_eq!(seen.view(), View::Empty);
    assert!(seen.is_ready() && seen.is_started());
}

#[test]
fn a_loading_codex_is_not_ready() {
    let boxed: &[&str] =
        &["│ >_ OpenAI Codex (v0.154.0)  │", "│                     │", "│ model:     loading   /model to change │"];
    for head in [&["  >_ OpenAI Codex (v0.163.0)", "     loading"], boxed] {
        let lines = [&["$ . launch", "", "", "", "", "", "WAITING"], head, &["", EMPTY]].concat();
        assert_eq!(screen(&lines).view(), View::Loading);
        assert!(!screen(&lines).is_started());
        // The loading screen of an earlier Codex is ignored.
        let lines = [head, &["$ . launch", "  >_ OpenAI Codex (v0.163.0)", "     ~/work", "", EMPTY]].concat();
        assert!(screen(&lines).is_ready());
    }
}

#[test]
fn words_that_resemble_loading_are_ignored() {
    for (line, is_said) in [
        ("loading", true),
        ("   loading…", true),
        ("model: loading", true),
        ("model:  loading x", true),
        ("loadings", false),
        ("uploading", false),
        ("/loading", false),
        ("~/loading", false),
        ("not loading", false),
        ("  Resuming session…", true),
        ("Resuming session… now", false),
    ] {
        assert_eq!(lines::says_loading(line), is_said, "{line}");
    }
}

#[test]
fn a_codex_that_looks_for_its_session_is_not_ready() {
    // It exits if it does not find the session (0.163, 0.171).
    let head: &[&str] = &["  >_ OpenAI Codex (v0.163.0)", "     ~/work"];
    let footer: &[&str] = &["", EMPTY, "", "  ? for shortcuts"];
    let seen = screen(&[head, &["  Resuming session…"], footer].concat());
    assert_eq!(seen.view(), View::Loading);
    assert!(!seen.is_started());
    assert!(screen(&[head, &["", "", "› hello", "  Resuming session…"], footer].concat()).is_ready());
}

#[test]
fn the_line_with_the_model_shows_a_started_session() {
    let cases: [(&[&str], bool); 6] = [
        (&["", "  ? for shortcuts"], false),
        (&["", "  ← for agents · ? for shortcuts"], false),
        (&[], false),
        (&["", "  GPT-5.5 default · ~/work", "  ? for shortcuts"], true),
        // Without a status line (0.163), and 0.138.
        (&["", "  ? for shortcuts            100% context left"], true),
        (&["", "  gpt-5.5 default · ~/work"], true),
    ];
    for (footer, has_line) in cases {
        let seen = screen(&[&["› an earlier message", "• an answer", EMPTY], footer].concat());
        assert_eq!(seen.has_session_line(), has_line, "{footer:?}");
    }
}

#[test]
fn a_shell_is_not_ready() {
    let seen = Screen::parse("bash", &styled(&["$ echo", EMPTY]));
    assert_eq!(seen.view(), View::Shell);
    assert!(!seen.is_ready() && !seen.is_started());
}

#[test]
fn a_draft_is_not_ready() {
    for (line, row) in [("{bold}›{off} a draft", "› a draft"), ("{bold}›{off}", "›"), ("! ls", "! ls")] {
        let seen = screen(&["› an earlier message", line, "", "  ? for shortcuts"]);
        assert_eq!((seen.view(), seen.row()), (View::Draft, Some(row)));
    }
}

#[test]
fn a_screen_without_composer_is_loading() {
    for lines in [&[][..], &["mngr-codex: cannot resume"], &["x› y"]] {
        let seen = screen(lines);
        assert_eq!((seen.view(), seen.row(), seen.is_started()), (View::Loading, None, false));
    }
}

/// Dialogs are recognized below a conversation too, although its messages begin like the composer.
#[test]
fn dialogs_are_recognized() {
    let cases: [(&[&str], Dialog); 9] = [
        (&["  Hooks need review", "", "› 1. Review hooks", "  2. Trust all"], Dialog::Hooks),
        (
            &["  Would you like to run the following command?", "  $ true", "\u{1B}[1;7m› 1. Yes, proceed (y)"],
            Dialog::Approval,
        ),
        (&["  Meet GPT-6 Sol", "› 1. Try new model", "  2. Use existing model"], Dialog::Model),
        (&["  Select a review preset", "› 2. Review uncommitted changes"], Dialog::Menu),
        (&["  Select Syntax Theme", "› catppuccin-mocha (current)", "", "  enter select · esc back"], Dialog::Menu),
        // A question of the model, on 0.171. The last row that begins like a composer is the user's message.
        (
            &[
                "  Question 1/1 (1 unanswered)",
                "  Which color?",
                "  {bold}› 1. red   the red one",
                "    2. blue  the blue one",
                "",
                "  tab to add notes{dim} | {bold}enter{off} to submit answer{dim} | {bold}esc{off} to interrupt",
            ],
            Dialog::Question,
        ),
        // A form of an MCP server, on 0.171.
        (
            &[
                "  Field 1/1 (1 required unanswered)",
                "  Which color?",
                "  {bold}›{off} {dim}Type your answer",
                "  {bold}enter{off} to submit{dim} | {bold}esc{off} to cancel",
            ],
            Dialog::Menu,
        ),
        (
            &[
                "  3. user (/tmp/a› 1. Yes, enable  Save",
                "  4. project    enter select · esc back",
                "",
                EMPTY,
                "  ? for",
            ],
            Dialog::Menu,
        ),
        (&["  Implement this plan?", "› 1. Yes, implement this plan"], Dialog::Plan),
    ];
    for (lines, dialog) in cases {
        let seen = screen(&[&["{bold}›{off} Ask for it.", "• Running true"], lines].concat());
        assert_eq!(seen.view(), View::Dialog(dialog), "{lines:?}");
        assert!(seen.is_started() && !seen.is_ready());
    }
}

#[test]
fn dialogs_without_a_selected_row_are_recognized() {
    let menus: [&[&str]; 3] = [
        &[" Resume a session", "  › 11s ago  hello", " enter resume   esc exit", " ↑/↓ browse"],
        &["/ D I F F /", "No changes", " ↑/↓ to scroll", " q close"],
        &["› a [x] message", "  Configure", "› [x] activity", "  space toggle · enter save · esc cancel"],
    ];
    for lines in menus {
        assert_eq!(screen(lines).view(), View::Dialog(Dialog::Menu), "{lines:?}");
    }
    let login = screen(&["  Welcome to Codex, OpenAI's command-line coding agent", "  Finish signing in"]);
    assert_eq!(login.view(), View::Login);
    let side =
        screen(&["{bold}›{off} {dim}Ask a question", "", "  ? for shortcuts     Side from main thread · ^c to close"]);
    assert_eq!(side.view(), View::Side);
}

#[test]
fn text_that_resembles_a_dialog_is_not_one() {
    let words = "  enter select · esc back";
    let cases: [(&[&str], View); 5] = [
        // The list of files that complete a draft, on 0.147.
        (
            &[
                "{bold}›{off} see @READ",
                "",
                "> README.md  ./",
                "",
                "  enter insert · esc close · ←/→ switch search modes",
            ],
            View::Draft,
        ),
        (&[words, "  Welcome to Codex, OpenAI's", "  Worked for 1s", EMPTY, "", "  ? for shortcuts"], View::Empty),
        (&["        › 1. Yes", "        › 2. No", "", EMPTY, "", "  ? for shortcuts"], View::Empty),
        (&["{bold}›{off} press enter", words, "", "  GPT-5.5 default · ~/work"], View::Draft),
        (&["{bold}›{off} 1.5 is a number"], View::Draft),
    ];
    for (lines, view) in cases {
        assert_eq!(screen(lines).view(), view, "{lines:?}");
    }
}

#[test]
fn the_screen_shows_why_an_agent_waits() {
    let cases: [(&[&str], &str); 8] = [
        (&[EMPTY, "", "  ? for shortcuts"], "END_OF_TURN"),
        (&["{bold}›{off} a draft"], "END_OF_TURN"),
        (&["  Welcome to Codex, OpenAI's command-line coding agent", "> 1. Sign in with ChatGPT"], "LOGIN"),
        (&["  Select a review preset", "› 2. Review uncommitted changes"], "DIALOG"),
        (&["  Do you trust the contents of this directory?", "› 1. Yes, continue"], "DIALOG"),
        (&["  Would you like to run the following command?", "› 1. Yes, proceed (y)"], "PERMISSIONS"),
        (&["  Which color?", "› 1. red", "  tab to add notes | enter to submit answer"], "QUESTION"),
        (&["  Implement this plan?", "› 1. Yes, implement this plan"], "QUESTION"),
    ];
    for (lines, reason) in cases {
        assert_eq!(screen(lines).view().waiting_reason(), reason, "{lines:?}");
    }
}

#[test]
fn no_message_hides_a_dialog() {
    let lines = ["Meet GPT-6 Sol", "› 1. Try new model", "  2. Keep mine"];
    for message in ["y", "1", "Try", "1. Other", "1. Try", "Try new model"] {
        assert_eq!(screen(&lines).view_with(&TypedText::new(message)), View::Dialog(Dialog::Model), "{message}");
    }
    let menus: [&[&str]; 5] = [
        &["Select Syntax Theme", "› catppuccin-mocha (current)", "", "  enter select · esc back"],
        &["› a [x] message", "  Configure", "› [x] activity", "  space toggle · enter save · esc cancel"],
        &["Resume a session", "  › 11s ago  hello", " enter resume   esc exit   ^c exit", " ^o comfortable view"],
        &["/ D I F F /", "No changes", " ↑/↓ to scroll", " q close"],
        &[
            "a word of the conv› 1. Yes, enable",
            "  and ano         enter select · esc back",
            "",
            "› Hello",
            "",
            "  ? for",
        ],
    ];
    for lines in menus {
        assert_eq!(screen(lines).view_with(&TypedText::new("Hello")), View::Dialog(Dialog::Menu), "{lines:?}");
    }
}

#[test]
fn a_typed_message_may_resemble_a_dialog() {
    let cases: [(&str, &[&str], View); 4] = [
        ("1. Try this", &["› 1. Try this"], View::Draft),
        (
            "Hello",
            &["            › 1. Yes", "            › 2. No", "", "› Hello", "", "  ? for shortcuts"],
            View::Draft,
        ),
        // Only the last lines of a long message are visible.
        (
            "Hello\na line\nenter select · esc back",
            &["› Earlier", "  a line", "  enter select · esc back"],
            View::Draft,
        ),
        ("Hello", &["› Hello", "", "  ? / esc close"], View::Draft),
    ];
    for (message, lines, view) in cases {
        assert_eq!(screen(lines).view_with(&TypedText::new(message)), view, "{lines:?}");
    }
}

#[test]
fn the_composer_contains_the_message_that_was_typed() {
    let typed = TypedText::new("  Hello\tthere, this is a long line\nand more");
    assert_eq!(typed.head(), "Hello there, this is");
    let never = |_: &str| false;
    assert!(screen(&["{bold}›{off} Hello there, this is a long"]).contains(&typed, never));
    // After a space was put before it.
    assert!(screen(&["{bold}›{off}  Hello there, this is a long"]).contains(&typed, never));
    assert!(!screen(&["› Hello there, this is", EMPTY]).contains(&typed, never));
    assert!(!screen(&["› other"]).contains(&typed, never));
    assert!(screen(&["› [Pasted Content 3000 chars]"]).contains(&typed, |row| row.contains("Pasted")));
    let short = TypedText::new("yes");
    assert!(screen(&["› yes"]).contains(&short, never) && !screen(&["› yes please"]).contains(&short, never));
    assert_eq!(screen(&["› yes", "• ok", "› yes"]).rows_with(&short), 2);
}

#[test]
fn responses_to_a_message_are_recognized() {
    let seen = screen(&[
        "■ Unrecognized command '/nosuch'. Type \"/\"",
        "  ↳ Turn left",
        "'/compact' is disabled while a task is in progress.",
    ]);
    assert_eq!(["/nosuch", "/other", "/no"].map(|command| seen.unrecognized(command)), [1, 0, 0]);
    assert!(seen.has_queued(&TypedText::new("Turn left")) && !seen.has_queued(&TypedText::new("Turn right")));
    assert_eq!(seen.rejections(), 1);
}

#[test]
fn the_last_output_has_no_command_and_no_prompt() {
    let last = |text: &str| Screen::parse("bash", text).last_output();
    let text = "me@host:~/work$\nme@host:~/work$ . /home/me/.mngr/agents/a/launch_agent.sh\n\nERROR: no\n  more  \n\
        me@host:~/work$\n";
    assert_eq!(last(text), ["ERROR: no", "  more"]);
    let lines: Vec<String> = (0..30).map(|number| format!("line {number}")).collect();
    assert_eq!(last(&format!("$ . launch_agent.sh\n{}", lines.join("\n"))), lines[18..]);
    assert_eq!(last("ERROR: no\n$ "), ["ERROR: no"]);
    assert_eq!(last("ERROR: no\n"), ["ERROR: no"]);
    assert!(last("").is_empty());
}

/// Pieces of screens in any order, with damaged styles and arbitrary characters between them.
fn panes() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => prop::sample::select(vec![
            "› ", "›", "! ", "\u{1B}[1m", "\u{1B}[0;2m", "\u{1B}[2m", "\u{1B}[", "\u{1B}", "m", "\n", "\n\n", "1. ", " · ",
            "enter select", "esc back", "q close", ">_ OpenAI Codex", "loading", ": ", "Resuming session…", WELCOME,
            SIDE_FOOTER, "Would you like to", "? for shortcuts", "\u{2060}", "\r", "\t",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// Whatever is on the terminal is one of the views, with and without a message.
    #[test]
    fn any_pane_has_a_view(pane in panes(), command in "codex|bash|.{0,4}", message in panes()) {
        let seen = Screen::parse(&command, &pane);
        let typed = TypedText::new(&message);
        for view in [seen.view(), seen.view_with(&typed)] {
            prop_assert_eq!(view == View::Shell, !seen.is_codex());
            prop_assert_eq!(view.showing().is_some(), view.takes_input());
            prop_assert!(!matches!(view, View::Draft | View::Empty) || seen.row().is_some());
        }
        prop_assert_eq!(seen.is_ready(), seen.view() == View::Empty);
        prop_assert!(!seen.has_session_line() || seen.is_started());
        prop_assert!(!seen.text().contains(BOLD));
        let _ = (seen.last_output(), seen.has_queued(&typed), seen.unrecognized(&message), seen.rejections());
        prop_assert!(seen.rows_with(&typed) <= seen.text().lines().count());
    }

    /// A message in the composer is recognized, whatever it is.
    #[test]
    fn a_message_in_the_composer_is_a_draft(message in "[ -~é😀›\n]{1,80}") {
        prop_assume!(!message.trim().is_empty());
        let first = message.trim().lines().next().unwrap_or_default().trim();
        let typed = TypedText::new(&message);
        let seen = screen(&["  >_ OpenAI Codex", "", &format!("› {first}"), "", "  ? for shortcuts"]);
        prop_assert!(seen.contains(&typed, |_| false));
        prop_assert_eq!(seen.view_with(&typed), View::Draft);
    }
}
