//! Records: the kind and the role of a line of a transcript.

use std::fmt;

use crate::json::{Kind, Malformed, Tape, Text, Value, scan, string};

/// The role of a record, with the names that mngr uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A step of the user.
    User,
    /// A step of the model.
    Agent,
    /// A step of the program that runs the model.
    System,
    /// An observation: the results of tools.
    Tool,
}

impl Role {
    /// All roles, in the order of mngr's help.
    pub const ALL: [Self; 4] = [Self::User, Self::Agent, Self::System, Self::Tool];

    /// Returns the role's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Agent => "agent",
            Self::System => "system",
            Self::Tool => "tool",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// The first record of a stream.
    Header,
    /// A step; the role is `None` if it has no known source.
    Step(Option<Role>),
    /// Results of tool calls.
    Observation,
    /// A record in the format that mngr used before ATIF (mngr 0.3.0, `agents/common_transcript_records.py`).
    Retired,
    /// Any other object.
    Other,
}

impl RecordKind {
    /// Returns the role of a record of this kind, if it has one.
    #[must_use]
    pub(crate) const fn role(self) -> Option<Role> {
        match self {
            Self::Step(role) => role,
            Self::Observation => Some(Role::Tool),
            Self::Header | Self::Retired | Self::Other => None,
        }
    }
}

/// A line that is a JSON object.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    text: Text<'a>,
    tape: &'a Tape,
}

impl<'a> Record<'a> {
    /// Scans a line.
    ///
    /// # Errors
    ///
    /// Returns [`Malformed`] if the line is not a JSON object.
    pub fn read(text: Text<'a>, tape: &'a mut Tape) -> Result<Self, Malformed> {
        scan(text, tape)?;
        Ok(Self { text, tape })
    }

    /// Returns the kind of the record.
    #[must_use]
    pub fn kind(&self) -> RecordKind {
        let (mut kind, mut source) = (None, None);
        for value in self.tape.children(self.tape.root()) {
            match value.key_name(self.text) {
                b"type" => kind = Some(value),
                b"source" => source = Some(value),
                key if key.contains(&b'\\') => match decoded(key).as_slice() {
                    b"type" => kind = Some(value),
                    b"source" => source = Some(value),
                    _ => {}
                },
                _ => {}
            }
        }
        match kind.and_then(|kind| self.string_of(kind)).as_deref() {
            Some(b"step") => {
                let source = source.and_then(|source| self.string_of(source));
                let is_source = |role: &Role| source.as_deref() == Some(role.name().as_bytes());
                // A step cannot have the role of tools.
                RecordKind::Step(Role::ALL[..3].iter().copied().find(is_source))
            }
            Some(b"observation") => RecordKind::Observation,
            Some(b"header") => RecordKind::Header,
            Some(b"user_message" | b"assistant_message" | b"tool_result") => RecordKind::Retired,
            _ => RecordKind::Other,
        }
    }

    /// Returns the id of the record.
    #[must_use]
    pub fn event_id(&self) -> Option<std::borrow::Cow<'a, [u8]>> {
        let members = self.tape.children(self.tape.root());
        let id = members.filter(|value| value.key_name(self.text) == b"event_id").last()?;
        self.string_of(id)
    }

    /// Returns the line.
    #[must_use]
    pub(crate) fn text(&self) -> Text<'a> {
        self.text
    }

    /// Returns the scanned values.
    #[must_use]
    pub(crate) fn tape(&self) -> &'a Tape {
        self.tape
    }

    fn string_of(&self, value: &'a Value) -> Option<std::borrow::Cow<'a, [u8]>> {
        if value.kind != Kind::String {
            return None;
        }
        let raw = value.raw(self.text);
        Some(if value.content.has_escape() { decoded(raw).into() } else { raw.into() })
    }
}

fn decoded(content: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    string::decode_string(content, &mut text);
    text
}

#[cfg(test)]
mod tests;
