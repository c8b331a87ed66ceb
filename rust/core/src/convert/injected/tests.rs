use proptest::prelude::*;

use super::*;
use crate::json::scan;

/// Returns the content of a JSON string with this text.
fn content(text: &str) -> Vec<u8> {
    let mut escaped = Vec::new();
    string::escape(text.as_bytes(), &mut escaped);
    escaped
}

fn is_codex(text: &str) -> bool {
    is_codex_text(&content(text))
}

const OF_CODEX: [&str; 23] = [
    "# AGENTS.md instructions for /srv\n\n<INSTRUCTIONS>\nUse tabs.\n</INSTRUCTIONS>",
    "# AGENTS.md instructions\n\n<INSTRUCTIONS>\nUse tabs.\n</INSTRUCTIONS>",
    "# agents.md Instructions</instructions>",
    "<user_instructions>\nUse tabs.\n</user_instructions>",
    "\u{a0}\n <ENVIRONMENT_CONTEXT>\n</environment_context>\u{3000}\n",
    "<skill>\n<name>deploy</name>\n</skill>",
    "<user_shell_command>\n</user_shell_command>",
    "<turn_aborted>\n</turn_aborted>",
    "<subagent_notification>{}</subagent_notification>",
    "<agent_message_board_notification>\n</agent_message_board_notification>",
    "<goal_context>é</goal_context>",
    "<codex_internal_context source=\"goal\">\n</codex_internal_context>",
    "<extension_context></extension_context>",
    "<external_browser_info>tab</external_browser_info>",
    "<external_é>tab</external_é>",
    "<recommended_plugins>\n- shop\n</recommended_plugins>",
    "<next_prompt_suggestion>\n</next_prompt_suggestion>",
    "<hook_prompt hook_run_id=\"stop:0:/a&gt;b\">Lint.</hook_prompt>",
    "<user_action>\n  <action>review</action>\n</user_action>\n",
    "Warning: apply_patch was requested via shell. Use the apply_patch tool instead of exec_command.",
    "Warning: The maximum number of unified exec processes you can keep open is 60 and",
    "Warning: Your account was flagged for potentially high-risk cyber activity, so",
    "Here is a list of plugins that are available but not installed. If",
];

const OF_A_PERSON: [&str; 14] = [
    "",
    " \n",
    "Why is the total wrong?",
    "# AGENTS.md instructions for /srv are out of date",
    "<environment_context>\n</environment_context> What is this?",
    "What is <environment_context></environment_context>",
    "<environment_context",
    "<skills></skill>",
    "<hook_prompt></hook_prompt>",
    "<codex_internal_context></codex_internal_context>",
    "<external_>tab</external_>",
    "<external_one>tab</external_two>",
    "<external_one tab</external_one",
    "Warning: apply_patch was requested via shell. Why?",
];

#[test]
fn texts_of_codex_are_told_from_texts_of_a_person() {
    for text in OF_CODEX {
        assert!(is_codex(text), "{text}");
    }
    for text in OF_A_PERSON {
        assert!(!is_codex(text), "{text}");
    }
}

#[test]
fn escapes_make_no_difference() {
    assert!(is_codex_text(br"\u003cskill\u003e \u003c\/skill>\r\n\t"));
    assert!(!is_codex_text(br"\u003cskill\u003e \\u003c/skill>"));
}

#[test]
fn a_long_text_is_decided_by_its_ends() {
    for blank in ["", "\n", "\u{2003}"] {
        for filling in ["x", "\n", "é\"", "</skill>", "<skill>"] {
            let filling = filling.repeat(300_000);
            let (before, after) = (blank.repeat(100_000), blank.repeat(100_000));
            assert!(is_codex(&format!("{before}<skill>{filling}</skill>{after}")));
            assert!(!is_codex(&format!("{before}<skill>{filling}</skill>x{after}")));
        }
    }
}

#[test]
fn a_long_text_of_a_person_is_not_read_to_its_end() {
    let mut recognizer = Recognizer::default();
    assert!(!recognizer.read(format!("<b>{}", "x".repeat(1_000)).as_bytes()));
}

#[test]
fn the_command_of_a_user_is_read() {
    let read = |text: &str| ShellCommand::read(&content(text));
    let command = |command: &str, exit_code| Some(ShellCommand { command: command.into(), exit_code });
    let text = |cmd: &str, code: &str| {
        format!(
            "<user_shell_command>\n<command>\n{cmd}\n</command>\n<result>\nExit code: {code}\nDuration: 0.0104 seconds\nOutput:\nx\n</result>\n</user_shell_command>"
        )
    };
    assert_eq!(read(&text("echo \"é\"\nls", "0")), command("echo \"é\"\nls", Some(0)));
    assert_eq!(read(&text("false", "-1")), command("false", Some(-1)));
    assert_eq!(
        read(&text("echo '\n</command>\nExit code: 7'", "1")),
        command("echo '\n</command>\nExit code: 7'", Some(1))
    );
    assert_eq!(read(&text("true", "99999999999")), command("true", None));
    assert_eq!(read("<user_shell_command></user_shell_command>"), command("", None));
    assert_eq!(read("echo"), None);
    assert_eq!(read(""), None);
}

/// Returns the writers that a message with this metadata names.
fn writers_of(metadata: &str, parts: usize) -> Vec<Writer> {
    let mut line = format!(r#"{{"payload":{{"content":[],{metadata}}}}}"#).into_bytes();
    let (text, mut tape) = (Text::pad(&mut line), Tape::default());
    scan(text, &mut tape).expect("valid");
    let payload = tape.children(tape.root()).next().expect("one member");
    writers(text, &tape, payload, parts)
}

#[test]
fn the_writers_of_parts_are_read_from_the_metadata() {
    use Writer::{Codex, Person, Unknown};
    let of = |kinds: &str, parts| {
        writers_of(
            &format!(r#""internal_chat_message_metadata_passthrough":{{"a":1,"content_item_kinds":{kinds}}}"#),
            parts,
        )
    };
    assert_eq!(of(r#"["user.text","user.image","user.later","images.unsupported"]"#, 4), [Person; 4]);
    assert_eq!(of(r#"["agents_md.instructions","shell.user_command","later"]"#, 3), [Codex; 3]);
    assert_eq!(of(r#"["user.goal","unknown","",null,{}]"#, 5), [Unknown; 5]);
    assert_eq!(of(r#"["user.text"]"#, 2), []);
    assert_eq!(of(r#"["user.text","user.text"]"#, 1), []);
    assert_eq!(of("{}", 0), []);
    assert_eq!(of("null", 1), []);
    assert_eq!(writers_of(r#""internal_chat_message_metadata_passthrough":[]"#, 1), []);
    assert_eq!(writers_of(r#""other":{"content_item_kinds":["user.text"]}"#, 1), []);
}

proptest! {
    /// Where a text is cut into pieces makes no difference.
    #[test]
    fn a_text_is_recognized_the_same_in_any_pieces(
        opening in prop::sample::select(OF_CODEX.into_iter().chain(OF_A_PERSON).collect::<Vec<_>>()),
        before in "[ \n\u{3000}a]{0,3}",
        middle in "[<>/a é\n]{0,300}",
        after in "[ \n\u{3000}a]{0,3}",
        cuts in prop::collection::vec(0_usize..700, 0..12),
    ) {
        let half = opening.char_indices().nth(opening.chars().count() / 2).map_or(0, |(at, _)| at);
        let text = format!("{before}{}{middle}{}{after}", &opening[..half], &opening[half..]);
        let whole = is_codex(&text);
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| text.is_char_boundary(*cut)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let mut recognizer = Recognizer::default();
        let is_read = cuts.windows(2).all(|cut| recognizer.read(&text.as_bytes()[cut[0]..cut[1]]));
        prop_assert_eq!(is_read && recognizer.is_codex_text(), whole);
    }

    /// The markers decide, with white space around them ignored.
    #[test]
    fn the_recognizer_agrees_with_its_description(text in "(<skill>|<SKILL>| |\n|\u{a0}|x|</skill>|</sKill>){0,8}") {
        let trimmed = text.trim().to_ascii_lowercase();
        prop_assert_eq!(is_codex(&text), trimmed.starts_with("<skill>") && trimmed.ends_with("</skill>"));
    }
}
