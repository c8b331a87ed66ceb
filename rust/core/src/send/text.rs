//! The typed text of a message, and the pattern by which a rollout contains it.

use memchr::memmem;

/// Codex would run a message that begins with `!` as the user's own shell command, outside sandbox and approvals. A leading
/// zero-width character prevents that.
const WORD_JOINER: char = '\u{2060}';

/// The number of characters of a message that are searched in a rollout.
const MAX_PATTERN_LENGTH: usize = 300;

/// What a message's line contains before the role (0.64 to 0.171).
const MESSAGE: &[u8] = b"\"type\":\"response_item\",\"payload\":{\"type\":\"message\"";

/// Codex attaches the image instead of the text if a message is the path of an image.
const IMAGES: [&str; 6] = [".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp"];

/// Returns a message without control characters other than tabs and line breaks. Escape sequences would end the paste, and
/// the following characters would be keys.
#[must_use]
pub fn clean_message(message: &str) -> String {
    let is_kept = |character: &char| !character.is_control() || matches!(character, '\t' | '\n');
    message.replace("\r\n", "\n").replace('\r', "\n").chars().filter(is_kept).collect()
}

/// Returns a cleaned message so that Codex does not run or complete it when it is typed.
#[must_use]
pub fn as_typed(text: &str) -> String {
    let trimmed = text.trim_start();
    let mut typed = if trimmed.starts_with('!') { format!("{WORD_JOINER}{trimmed}") } else { text.to_owned() };
    // Codex completes the last word if it names a file or a skill.
    let last_word = typed.rsplit(char::is_whitespace).next().unwrap_or_default();
    let is_command =
        typed.strip_prefix('/').is_some_and(|word| !word.contains(|c: char| c == '/' || c.is_whitespace()));
    if last_word.starts_with(['@', '$']) || is_command {
        // Otherwise Enter would accept a completion instead of sending the message.
        typed.push(' ');
    }
    typed
}

/// Returns whether Codex may run a message as a command: its first word is `/` and a name.
#[must_use]
pub fn is_slash_command(text: &str) -> bool {
    let name = text.strip_prefix('/').map(|rest| rest.split(char::is_whitespace).next().unwrap_or_default());
    name.is_some_and(|name| !name.is_empty() && !name.contains('/'))
}

/// Recognizes the lines of a rollout that have a message.
#[derive(Clone, Debug)]
pub(super) struct MessagePattern(Vec<Vec<u8>>);

impl MessagePattern {
    /// Returns the pattern of a message: its beginning, or all of a short one. For the path of an image it also matches the
    /// attached image.
    pub(super) fn new(text: &str) -> Self {
        let text = text.trim();
        let end = text.char_indices().nth(MAX_PATTERN_LENGTH).map_or(text.len(), |(end, _)| end);
        // Codex writes JSON with the same library.
        let mut beginning = serde_json::to_vec(&text[..end]).unwrap_or_default();
        if end < text.len() {
            beginning.pop();
        }
        let mut patterns = vec![[b"\"text\":", &beginning[..]].concat()];
        if is_image(text) {
            patterns.push(b"\"type\":\"input_image\"".to_vec());
        }
        Self(patterns)
    }

    /// Returns whether a line has the message, in the role of the user. A `compacted` line repeats earlier messages, and is
    /// none.
    pub(super) fn matches(&self, line: &[u8]) -> bool {
        let Some(role) = memmem::find(line, b"\"role\":\"user\"") else { return false };
        let (beginning, message) = line.split_at(role);
        memmem::find(beginning, MESSAGE).is_some()
            && self.0.iter().any(|pattern| memmem::find(message, pattern).is_some())
    }
}

fn is_image(text: &str) -> bool {
    let path = text.strip_suffix(['\'', '"']).unwrap_or(text).to_ascii_lowercase();
    !text.contains('\n') && IMAGES.iter().any(|extension| path.ends_with(extension))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(text: &str) -> Vec<u8> {
        let content = serde_json::json!({"type": "input_text", "text": text.trim()});
        let content = serde_json::to_string(&content).expect("can be written");
        let payload = format!(r#"{{"type":"message","id":"msg_1","role":"user","content":[{content}]}}"#);
        format!(r#"{{"timestamp":"","ordinal":7,"type":"response_item","payload":{payload}}}"#).into_bytes()
    }

    #[test]
    fn control_characters_are_removed() {
        let message = "a\u{1B}[201~b\u{3}\u{7F}\u{9B}c\td\r\ne\rf\ng";
        assert_eq!(clean_message(message), "a[201~bc\td\ne\nf\ng");
    }

    #[test]
    fn the_typed_text_is_neither_run_nor_completed() {
        for (text, typed) in [
            ("hello", "hello"),
            ("  !rm -r x", "\u{2060}!rm -r x"),
            ("! $x", "\u{2060}! $x "),
            ("see @READ", "see @READ "),
            ("see\n@READ", "see\n@READ "),
            ("use $skill", "use $skill "),
            ("costs 5 $", "costs 5 $ "),
            ("a@b", "a@b"),
            ("see @READ now", "see @READ now"),
            ("/comp", "/comp "),
            ("/", "/ "),
            ("/tmp/file", "/tmp/file"),
            ("", ""),
        ] {
            assert_eq!(as_typed(text), typed);
        }
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

    #[test]
    fn the_pattern_of_a_short_message_does_not_match_a_longer_one() {
        assert!(!MessagePattern::new("yes").matches(&line("yes please")));
        assert!(MessagePattern::new(" yes\n").matches(&line("yes")));
    }

    #[test]
    fn only_messages_of_the_user_match() {
        let text = String::from_utf8(line("yes")).expect("is UTF-8");
        let of_model = text.replace("\"user\"", "\"assistant\"");
        let repeated =
            text.replace(r#""response_item","payload":{"#, r#""compacted","payload":{"replacement_history":[{"#);
        assert!(of_model != text && repeated != text && MessagePattern::new("yes").matches(text.as_bytes()));
        for other in [of_model, repeated] {
            assert!(!MessagePattern::new("yes").matches(other.as_bytes()));
        }
    }

    #[test]
    fn the_path_of_an_image_matches_the_attached_image() {
        let attached = String::from_utf8(line("")).expect("is UTF-8").replace("input_text", "input_image").into_bytes();
        for path in ["/tmp/a b.png", "'~/x.JPG'", "file:///x.webp", "dot.png"] {
            assert!(MessagePattern::new(path).matches(&attached) && MessagePattern::new(path).matches(&line(path)));
        }
        assert!(!MessagePattern::new("look at x.png now").matches(&attached));
    }

    proptest! {
        #[test]
        fn the_rollout_with_a_message_matches(text in any::<String>(), times in 1..400_usize) {
            let text = clean_message(&text.repeat(times));
            prop_assert!(MessagePattern::new(&text).matches(&line(&text)));
            prop_assert!(MessagePattern::new(&as_typed(&text)).matches(&line(&as_typed(&text))));
        }

        #[test]
        fn a_cleaned_message_stays_as_it_is(text in any::<String>()) {
            let cleaned = clean_message(&text);
            prop_assert_eq!(clean_message(&cleaned), cleaned);
        }
    }
}
