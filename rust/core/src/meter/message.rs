//! The text of a finished message of the agent.

use crate::convert::inter_agent::InterAgentMessage;
use crate::json::string::decode_string;
use crate::json::{Key, Kind, Tape, Text, Value};
use crate::rollout::envelope::{member, string};

/// A finished message of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// The time of its line, in milliseconds since 1970.
    pub(crate) at: u64,
    /// Its text, which is not blank.
    pub(crate) text: String,
}

impl Message {
    /// Reads the content of a message in the assistant's role. Returns `None` if it has no text, or is for another agent.
    pub(super) fn read(text: Text<'_>, tape: &Tape, content: &Value, at: u64) -> Option<Self> {
        let parts: Vec<&Value> = match content.kind {
            Kind::String => vec![content],
            Kind::Array => tape.children(content).filter_map(|part| words(text, tape, part)).collect(),
            _ => return None,
        };
        if let [part] = parts[..]
            && InterAgentMessage::read(part.raw(text)).is_some()
        {
            return None;
        }
        let mut decoded = Vec::new();
        for part in parts.into_iter().filter(|part| part.start < part.end) {
            if !decoded.is_empty() {
                decoded.extend_from_slice(b"\n\n");
            }
            decode_string(part.raw(text), &mut decoded);
        }
        let text = String::from_utf8_lossy(&decoded).into_owned();
        (!text.trim().is_empty()).then_some(Self { at, text })
    }
}

/// Returns the text of a part: its own, or a refusal's.
fn words<'t>(text: Text<'_>, tape: &'t Tape, part: &'t Value) -> Option<&'t Value> {
    if part.kind == Kind::String {
        return Some(part);
    }
    let refusal = |value: &&Value| value.key == Key::Other && value.key_name(text) == b"refusal";
    member(tape, part, Key::Text).or_else(|| tape.children(part).filter(refusal).last()).and_then(string)
}
