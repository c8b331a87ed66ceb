//! The ids by which rollouts name threads, turns and calls.

use std::hash::{Hash, Hasher};

use crate::json::string;

/// The longest text that a [`Name`] stores without an allocation, in bytes. Ids of Codex have at most 36 (seen on 0.64
/// to 0.169).
const INLINE_BYTES: usize = 38;

/// The text of a JSON string, with its escapes in their shortest form. Records can quote it unchanged, and equal texts
/// are equal names.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Name(NameText);

/// The storage of a name. Each text has only one form, so that equal texts are equal values.
#[derive(Clone, Eq)]
enum NameText {
    /// The text, followed by zeros.
    Inline { bytes: [u8; INLINE_BYTES], length: u8 },
    /// A text of more than [`INLINE_BYTES`] bytes.
    Boxed(Box<[u8]>),
}

impl PartialEq for NameText {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Inline { bytes: one, length: one_length }, Self::Inline { bytes: other, length: other_length }) => {
                // Most ids differ in their middle. Three loads cover all bytes, where a bytewise comparison is a
                // function call.
                let load = |bytes: &[u8; INLINE_BYTES], at: usize| {
                    bytes[at..].first_chunk::<16>().map_or(0, |chunk| u128::from_le_bytes(*chunk))
                };
                let same = |at| load(one, at) == load(other, at);
                same(16) && same(INLINE_BYTES - 16) && same(0) && one_length == other_length
            }
            (Self::Boxed(one), Self::Boxed(other)) => one == other,
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
        Self(NameText::Inline { bytes: [0; INLINE_BYTES], length: 0 })
    }
}

impl Name {
    /// Creates a name from the content of a JSON string. `has_escape` must be true if the content has any escapes.
    #[must_use]
    pub(crate) fn new(content: &[u8], has_escape: bool) -> Self {
        if has_escape {
            let (mut decoded, mut escaped) = (Vec::new(), Vec::new());
            string::decode_string(content, &mut decoded);
            string::escape(&decoded, &mut escaped);
            return Self::of(&escaped);
        }
        Self::of(content)
    }

    fn of(text: &[u8]) -> Self {
        let mut bytes = [0; INLINE_BYTES];
        match (u8::try_from(text.len()), bytes.get_mut(..text.len())) {
            (Ok(length), Some(short)) => {
                short.copy_from_slice(text);
                Self(NameText::Inline { bytes, length })
            }
            _ => Self(NameText::Boxed(text.into())),
        }
    }

    /// Replaces the name with a text without escapes.
    pub(crate) fn assign(&mut self, text: &[u8]) {
        match (&mut self.0, u8::try_from(text.len())) {
            (NameText::Inline { bytes, length }, Ok(new)) if text.len() <= INLINE_BYTES => {
                bytes[..text.len()].copy_from_slice(text);
                bytes[text.len()..].fill(0);
                *length = new;
            }
            _ => *self = Self::of(text),
        }
    }

    /// Returns the text with its escapes in their shortest form.
    #[must_use]
    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            NameText::Inline { bytes, length } => &bytes[..usize::from(*length)],
            NameText::Boxed(text) => text,
        }
    }

    /// Returns whether the text is empty.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// Returns whether the name has the form of a UUID. Those of Codex are of version 7 and sort by time (seen on 0.138
    /// to 0.169).
    #[must_use]
    pub(crate) fn is_uuid(&self) -> bool {
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

/// Defines a type for each kind of id, so that one cannot be used in place of another.
macro_rules! ids {
    ($($(#[$doc:meta])+ $id:ident,)+) => {
        $(
            $(#[$doc])+
            #[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
            #[serde(transparent)]
            pub(crate) struct $id(pub Name);
        )+
    };
}

ids! {
    /// The thread of a session: the `id` of its `session_meta`.
    ThreadId,
    /// A turn of a thread; empty if it is unknown.
    TurnId,
    /// A tool call: the `call_id` that its output repeats.
    CallId,
}

impl ThreadId {
    /// Returns whether the thread was created before the other one, by the times in the two ids. Returns `false` if an
    /// id is not a UUID.
    #[must_use]
    pub(crate) fn is_earlier_than(&self, other: &Self) -> bool {
        self.0.is_uuid() && other.0.is_uuid() && self.0.as_bytes() < other.0.as_bytes()
    }
}

impl TurnId {
    /// Returns the time in the id, at which the turn began, in milliseconds since 1970. Returns `None` if the id is not a
    /// UUID of version 7.
    #[must_use]
    pub(crate) fn began_at(&self) -> Option<u64> {
        let text = std::str::from_utf8(self.0.as_bytes()).ok().filter(|_| self.0.is_uuid())?;
        let digits = text[14..].starts_with('7').then(|| [&text[..8], &text[9..13]].concat())?;
        u64::from_str_radix(&digits, 16).ok()
    }

    /// Returns whether the turn began after the thread was created, by the times in the two ids. Returns `None` if an
    /// id is not a UUID.
    #[must_use]
    pub(crate) fn is_later_than(&self, thread: &ThreadId) -> Option<bool> {
        (self.0.is_uuid() && thread.0.is_uuid()).then(|| self.0.as_bytes() > thread.0.as_bytes())
    }

    /// Returns whether the turn began before the other one, by the times in the two ids. Returns `false` if an id is
    /// not a UUID.
    #[must_use]
    pub(crate) fn is_earlier_than(&self, other: &Self) -> bool {
        self.0.is_uuid() && other.0.is_uuid() && self.0.as_bytes() < other.0.as_bytes()
    }
}

#[cfg(test)]
mod tests;
