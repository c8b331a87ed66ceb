//! The ids by which rollouts name threads, turns and calls.

use std::hash::{Hash, Hasher};

use crate::json::string;

/// The longest text of a [`Name`] that needs no allocation, in bytes; ids of codex have 36 at the most (seen on 0.64 to
/// 0.169).
const SHORT: usize = 38;

/// Text of a JSON string as its shortest escaped content: what a record can quote as it stands, and equal for equal texts.
#[derive(Clone, PartialEq, Eq)]
pub struct Name(Form);

/// How the text is kept. Each has but one form, so that equal texts are equal values.
#[derive(Clone, Eq)]
enum Form {
    /// The text, zeros behind it.
    Short { bytes: [u8; SHORT], length: u8 },
    /// A text of more than [`SHORT`] bytes.
    Long(Box<[u8]>),
}

impl PartialEq for Form {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Short { bytes: one, length: one_length }, Self::Short { bytes: other, length: other_length }) => {
                // Ids differ in their middle, most of them; three loads hold all, where a comparison byte by byte is a
                // call.
                let load = |bytes: &[u8; SHORT], at: usize| {
                    bytes[at..].first_chunk::<16>().map_or(0, |chunk| u128::from_le_bytes(*chunk))
                };
                let same = |at| load(one, at) == load(other, at);
                same(16) && same(SHORT - 16) && same(0) && one_length == other_length
            }
            (Self::Long(one), Self::Long(other)) => one == other,
            _ => false,
        }
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl Default for Name {
    fn default() -> Self {
        Self(Form::Short { bytes: [0; SHORT], length: 0 })
    }
}

impl Name {
    /// Takes the content of a JSON string, `has_escape` telling whether it holds any escape.
    #[must_use]
    pub fn new(content: &[u8], has_escape: bool) -> Self {
        if has_escape {
            let (mut decoded, mut escaped) = (Vec::new(), Vec::new());
            string::decode(content, &mut decoded);
            string::escape(&decoded, &mut escaped);
            return Self::of(&escaped);
        }
        Self::of(content)
    }

    fn of(text: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match (u8::try_from(text.len()), bytes.get_mut(..text.len())) {
            (Ok(length), Some(short)) => {
                short.copy_from_slice(text);
                Self(Form::Short { bytes, length })
            }
            _ => Self(Form::Long(text.into())),
        }
    }

    /// Takes a text without escapes in place of the present one.
    pub fn assign(&mut self, text: &[u8]) {
        match (&mut self.0, u8::try_from(text.len())) {
            (Form::Short { bytes, length }, Ok(new)) if text.len() <= SHORT => {
                bytes[..text.len()].copy_from_slice(text);
                bytes[text.len()..].fill(0);
                *length = new;
            }
            _ => *self = Self::of(text),
        }
    }

    /// The escaped content.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Form::Short { bytes, length } => &bytes[..usize::from(*length)],
            Form::Long(text) => text,
        }
    }

    /// Whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// Whether it has the form of a UUID; those of codex are of version 7 and sort by time (seen on 0.138 to 0.169).
    #[must_use]
    pub fn is_uuid(&self) -> bool {
        let text = self.as_bytes();
        text.len() == 36
            && text.iter().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => *byte == b'-',
                _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            })
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}

impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl<'de> serde::Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Ok(Self::of(text.as_bytes()))
    }
}

/// Makes a type of its own for each kind of id, so that one cannot stand where another is meant.
macro_rules! ids {
    ($($(#[$doc:meta])+ $id:ident,)+) => {
        $(
            $(#[$doc])+
            #[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
            #[serde(transparent)]
            pub struct $id(pub Name);
        )+
    };
}

ids! {
    /// A session's thread, the `id` of its `session_meta`.
    ThreadId,
    /// A turn of a thread; empty where it is not known.
    TurnId,
    /// A tool call, the `call_id` that its output repeats.
    CallId,
}

impl TurnId {
    /// Whether the turn began after the thread was made, told by the time in the two ids; `None` where they are not
    /// of the kind that tells.
    #[must_use]
    pub fn is_later_than(&self, thread: &ThreadId) -> Option<bool> {
        (self.0.is_uuid() && thread.0.is_uuid()).then(|| self.0.as_bytes() > thread.0.as_bytes())
    }

    /// Whether the turn began before the other, told by the time in the two ids.
    #[must_use]
    pub fn is_earlier_than(&self, other: &Self) -> bool {
        self.0.is_uuid() && other.0.is_uuid() && self.0.as_bytes() < other.0.as_bytes()
    }
}

#[cfg(test)]
mod tests;
