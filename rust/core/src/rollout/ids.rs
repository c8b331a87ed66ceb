//! The ids by which rollouts name threads, turns and calls.

use smallvec::SmallVec;

use crate::json::string;

/// Text of a JSON string as its shortest escaped content: what a record can quote as it stands, and equal for equal texts.
///
/// Ids of codex (36 bytes at the most, seen on 0.64 to 0.169) need no allocation.
#[derive(Default, PartialEq, Eq, Hash)]
pub struct Name(SmallVec<[u8; 40]>);

impl Name {
    /// Takes the content of a JSON string, `has_escape` telling whether it holds any escape.
    #[must_use]
    pub fn new(content: &[u8], has_escape: bool) -> Self {
        if !has_escape {
            return Self(SmallVec::from_slice(content));
        }
        let (mut decoded, mut escaped) = (Vec::new(), Vec::new());
        string::decode(content, &mut decoded);
        string::escape(&decoded, &mut escaped);
        Self(SmallVec::from_vec(escaped))
    }

    /// The escaped content.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it has the form of a UUID; those of codex are of version 7 and sort by time (seen on 0.138 to 0.169).
    #[must_use]
    pub fn is_uuid(&self) -> bool {
        self.0.len() == 36
            && self.0.iter().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => *byte == b'-',
                _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            })
    }
}

impl Clone for Name {
    fn clone(&self) -> Self {
        // The derived clone goes byte by byte.
        Self(SmallVec::from_slice(&self.0))
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(&self.0))
    }
}

impl<'de> serde::Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Ok(Self(SmallVec::from_slice(text.as_bytes())))
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
