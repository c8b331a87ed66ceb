//! Messages between agents that Codex writes as JSON in the assistant's role (seen on 0.138). Later versions have an item
//! of their own for them.

use crate::json::{Kind, Tape, Text, Value, scan, string};

/// A longer text is not read as a message between agents.
const MAX_BYTES: usize = 4 << 20;

/// A message between agents. All texts are contents of JSON strings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InterAgentMessage {
    /// The path of the agent that wrote it, such as `/root`.
    pub(crate) author: Vec<u8>,
    /// The path of the agent that it is for.
    pub(crate) recipient: Vec<u8>,
    /// Its text; empty if it is encrypted.
    pub(crate) content: Vec<u8>,
}

impl InterAgentMessage {
    /// Reads the text of an assistant's message, the content of a JSON string. Returns `None` if it is not a message
    /// between agents.
    #[must_use]
    #[inline]
    pub(crate) fn read(content: &[u8]) -> Option<Self> {
        if content.first() == Some(&b'{') { Self::read_object(content) } else { None }
    }

    #[cold]
    fn read_object(content: &[u8]) -> Option<Self> {
        let is_named = |name: &[u8]| memchr::memmem::find(content, name).is_some();
        if content.len() > MAX_BYTES || !is_named(b"\"author\\\"") || !is_named(b"\"recipient\\\"") {
            return None;
        }
        let mut decoded = Vec::new();
        string::decode_string(content, &mut decoded);
        let (text, mut tape) = (Text::pad(&mut decoded), Tape::default());
        scan(text, &mut tape).ok()?;
        let member = |name: &[u8]| tape.children(tape.root()).filter(|value| value.key_name(text) == name).last();
        let words = |value: Option<&Value>| {
            let raw = value.filter(|value| value.kind == Kind::String)?.raw(text);
            let (mut decoded, mut escaped) = (Vec::new(), Vec::new());
            string::decode_string(raw, &mut decoded);
            string::escape(&decoded, &mut escaped);
            Some(escaped)
        };
        // The path distinguishes an agent from, for example, the author of a letter.
        let path = |name: &[u8]| words(member(name)).filter(|path| path.starts_with(b"/"));
        Some(Self {
            author: path(b"author")?,
            recipient: path(b"recipient")?,
            content: words(Some(member(b"content")?))?,
        })
    }
}

/// Appends the message for a message between agents that shows nothing because it is encrypted. All texts are contents
/// of JSON strings.
pub(crate) fn encrypted_message(author: Option<&[u8]>, recipient: Option<&[u8]>) -> Vec<u8> {
    let name = |agent: Option<&[u8]>| agent.filter(|agent| !agent.is_empty()).unwrap_or(b"an agent").to_vec();
    [b"A message from ", &name(author)[..], b" to ", &name(recipient), b", which Codex encrypted."].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<InterAgentMessage> {
        let mut escaped = Vec::new();
        string::escape(text.as_bytes(), &mut escaped);
        InterAgentMessage::read(&escaped)
    }

    #[test]
    fn a_message_between_agents_is_read() {
        for text in [
            r#"{"author":"/root","recipient":"/root/kid","other_recipients":[],"content":"a \"b\"\n","trigger_turn":true}"#,
            r#"{ "content" : "a \"b\"\n", "recipient": "\/root\/kid", "author": "/r\u006fot" }"#,
        ] {
            let message = read(text).expect("a message between agents");
            assert_eq!(message.author, b"/root");
            assert_eq!(message.recipient, b"/root/kid");
            assert_eq!(message.content, br#"a \"b\"\n"#);
        }
        let lone = InterAgentMessage::read(br#"{\"author\":\"/root\",\"recipient\":\"/a\",\"content\":\"\ud83d\"}"#);
        assert_eq!(lone.expect("a message between agents").content, br"\ud83d");
        let encrypted = r#"{"author":"/root","recipient":"/root/kid","content":"","encrypted_content":"gAAAA"}"#;
        assert_eq!(read(encrypted).expect("a message between agents").content, b"");
    }

    #[test]
    fn other_texts_are_the_agents_speech() {
        for text in [
            "",
            "{",
            "hello",
            r#"{"author":"/root","recipient":"/root/kid"}"#,
            r#"{"author":"/root","recipient":"/root/kid","content":7}"#,
            r#"{"author":"/root","recipient":null,"content":""}"#,
            r#"{"author":"/root","recipient":"/root/kid","content":""} and more"#,
            r#"{"author":"Ann","recipient":"Bob","content":"Dear Bob"}"#,
            r#"{"message":{"author":"/root","recipient":"/root/kid","content":""}}"#,
            r#"[{"author":"/root","recipient":"/root/kid","content":""}]"#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
