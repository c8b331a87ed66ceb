//! Reading members of a record leniently: a transcript may hold values of any type.

use mngr_codex_core::{Members, decode_string, write_compact_json};

/// A JSON object, split into members once.
pub(super) struct Object<'a> {
    pub(super) text: &'a [u8],
    /// The members; empty if there are more than [`Self::MEMBER_LIMIT`], which are then looked up in `text`.
    members: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Object<'a> {
    /// The number of members up to which they are indexed: more than any record of the schema has.
    const MEMBER_LIMIT: usize = 64;

    /// Splits `text`; a value that is not an object has no members.
    pub(super) fn of(text: &'a [u8]) -> Self {
        let mut members = Vec::new();
        if text.first() == Some(&b'{') {
            members.extend(Members::of(text).take(Self::MEMBER_LIMIT + 1));
            if members.len() > Self::MEMBER_LIMIT {
                members = Vec::new();
            }
        }
        Self { text, members }
    }

    /// Returns the value of a member. If a name is repeated, the last one counts, as in Python.
    pub(super) fn get(&self, name: &str) -> Option<&'a [u8]> {
        let is_it = |key: &[u8]| key.get(1..key.len().max(2) - 1) == Some(name.as_bytes());
        let is_named = |key: &[u8]| is_it(key) || (key.contains(&b'\\') && text_of(key) == name.as_bytes());
        if self.members.is_empty() && self.text.first() == Some(&b'{') {
            return Members::of(self.text).filter(|(key, _)| is_named(key)).last().map(|(_, value)| value);
        }
        self.members.iter().rev().find(|(key, _)| is_named(key)).map(|(_, value)| *value)
    }

    pub(super) fn object(&self, name: &str) -> Self {
        Self::of(self.get(name).unwrap_or_default())
    }

    /// Returns the decoded text of a member, if it is a string.
    pub(super) fn text(&self, name: &str) -> Option<Vec<u8>> {
        self.get(name).filter(|value| value.first() == Some(&b'"')).map(text_of)
    }

    /// Returns the elements of a member, if it is an array.
    pub(super) fn elements(&self, name: &str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let array = self.get(name).filter(|value| value.first() == Some(&b'[')).unwrap_or_default();
        Members::of(array).map(|(_, element)| element)
    }

    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        std::str::from_utf8(self.get(name)?).ok()?.parse().ok()
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some(b"true")
    }
}

/// Decodes a string token to WTF-8.
fn text_of(token: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    if let [b'"', content @ .., b'"'] = token {
        decode_string(content, &mut text);
    }
    text
}

/// Returns the text of a string; any other value is shown as JSON, and `null` as nothing.
pub(super) fn any_text(value: &[u8]) -> Vec<u8> {
    match value.first() {
        Some(b'"') => text_of(value),
        None => Vec::new(),
        _ if value == b"null" => Vec::new(),
        _ => {
            let mut text = Vec::new();
            write_compact_json(value, &mut text);
            text
        }
    }
}

/// Returns the text of a message or an output, which is a string or a list of texts and images.
pub(super) fn content_text(value: &[u8]) -> Vec<u8> {
    if value.first() != Some(&b'[') {
        return any_text(value);
    }
    let parts = Members::of(value).filter_map(|(_, part)| {
        let part = Object::of(part);
        match part.text("type").as_deref() {
            Some(b"text") => part.text("text"),
            Some(b"image") => {
                let kind = part.object("source").text("media_type").unwrap_or_else(|| b"unknown".to_vec());
                Some([b"[image: ", kind.as_slice(), b"]"].concat())
            }
            _ => None,
        }
    });
    parts.collect::<Vec<_>>().join(&b'\n')
}
