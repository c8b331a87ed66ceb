//! The text of messages.

/// Returns a message without control characters other than tabs and line breaks. Escape sequences would end the paste, and
/// the following characters would be keys.
#[must_use]
pub fn clean_message(message: &str) -> String {
    let is_kept = |character: &char| !character.is_control() || matches!(character, '\t' | '\n');
    message.replace("\r\n", "\n").replace('\r', "\n").chars().filter(is_kept).collect()
}

/// Returns whether Codex may run a message as a command: its first word is `/` and a name.
#[must_use]
pub fn is_slash_command(text: &str) -> bool {
    let name = text.strip_prefix('/').map(|rest| rest.split(char::is_whitespace).next().unwrap_or_default());
    name.is_some_and(|name| !name.is_empty() && !name.contains('/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_are_removed() {
        let message = "a\u{1B}[201~b\u{3}\u{7F}\u{9B}c\td\r\ne\rf\ng";
        assert_eq!(clean_message(message), "a[201~bc\td\ne\nf\ng");
    }

    #[test]
    fn slash_commands_are_recognized() {
        for (text, is_command) in [
            ("/model", true),
            ("/review now", true),
            ("/x\ny", true),
            ("/tmp/x", false),
            ("a /b", false),
            ("/ x", false),
        ] {
            assert_eq!(is_slash_command(text), is_command, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_cleaned_message_stays_as_it_is(text in any::<String>()) {
            let cleaned = clean_message(&text);
            prop_assert_eq!(clean_message(&cleaned), cleaned);
        }
    }
}
