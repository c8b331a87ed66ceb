//! The members of every rollout line: a timestamp, an ordinal (from Codex 0.147 on), a type and a payload, in any
//! order.

use std::borrow::Cow;

use super::ids::Name;
use super::timestamp::Nanos;
use crate::json::{Key, Kind, Tape, Text, Value};

/// The members of a line before its payload, read without parsing the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    /// `timestamp` as written, and its value.
    pub(crate) timestamp: (&'a [u8], Nanos),
    /// `ordinal`.
    pub(crate) ordinal: Option<u64>,
    /// `type`.
    pub(crate) kind: &'a [u8],
    /// The position of the payload's opening brace.
    pub(crate) payload: usize,
}

/// The members of a line's object. If a key is repeated, the last one counts. Strings are in the form that [`word`] returns.
#[derive(Default)]
pub(crate) struct Envelope<'a, 't> {
    /// `timestamp`, if it is a string.
    pub(crate) timestamp: Option<Cow<'a, [u8]>>,
    /// `ordinal`, if it is an unsigned 64-bit number.
    pub(crate) ordinal: Option<u64>,
    /// `type`, if it is a string.
    pub(crate) kind: Option<Cow<'a, [u8]>>,
    /// `payload`.
    pub(crate) payload: Option<&'t Value>,
    /// The members of the payload.
    pub(crate) members: Members<'t>,
    /// `payload.type`, if it is a string.
    pub(crate) payload_kind: Option<Cow<'a, [u8]>>,
}

impl<'a, 't> Envelope<'a, 't> {
    /// Reads the envelope of a scanned line. `head` contains the members before the first scanned one, if the scan did
    /// not begin at the line's start.
    #[must_use]
    #[inline(always)]
    pub(crate) fn of(text: Text<'a>, tape: &'t Tape, head: Option<&Head<'a>>) -> Self {
        let mut envelope = Self::default();
        if let Some(head) = head {
            envelope.timestamp = Some(Cow::Borrowed(head.timestamp.0));
            envelope.ordinal = head.ordinal;
            envelope.kind = Some(Cow::Borrowed(head.kind));
        }
        for value in tape.children(tape.root()) {
            match value.key {
                Key::Timestamp => envelope.timestamp = word(text, value),
                Key::Ordinal => envelope.ordinal = unsigned(text, value),
                Key::Type => envelope.kind = word(text, value),
                Key::Payload => envelope.payload = Some(value),
                _ => {}
            }
        }
        if let Some(payload) = envelope.payload {
            envelope.members = Members::of(tape, payload);
            envelope.payload_kind = envelope.members.get(Key::Type).and_then(|value| word(text, value));
        }
        envelope
    }

    /// Returns whether the object is a rollout line: every one has a type and a payload (Codex 0.32 to 0.171).
    #[must_use]
    pub(crate) fn is_rollout_line(&self) -> bool {
        self.kind.is_some() && self.payload.is_some_and(|payload| payload.kind == Kind::Object)
    }
}

/// The members of an object by their keys. If a key is repeated, the last one counts.
#[derive(Clone, Copy)]
pub(crate) struct Members<'t> {
    tape: Option<&'t Tape>,
    /// The members' positions on the tape. 0 marks a missing member, because it is the position of the outermost value.
    positions: [u32; Key::COUNT],
}

impl Default for Members<'_> {
    fn default() -> Self {
        Self { tape: None, positions: [0; Key::COUNT] }
    }
}

impl<'t> Members<'t> {
    /// Indexes the members of a value. A value that is not an object has none.
    #[must_use]
    #[inline(always)]
    pub(crate) fn of(tape: &'t Tape, object: &Value) -> Self {
        let mut members = Self { tape: Some(tape), ..Self::default() };
        if object.kind == Kind::Object {
            for value in tape.children(object) {
                members.positions[value.key as usize] = value.index();
            }
        }
        members
    }

    /// Returns the member with this key.
    #[must_use]
    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<&'t Value> {
        match self.positions[key as usize] {
            0 => None,
            position => self.tape.map(|tape| tape.value(position)),
        }
    }
}

/// Returns the last member of `object` with this key. Faster than [`Members`] for one or two keys.
#[must_use]
pub(crate) fn member<'t>(tape: &'t Tape, object: &Value, key: Key) -> Option<&'t Value> {
    if object.kind != Kind::Object {
        return None;
    }
    tape.children(object).filter(|value| value.key == key).last()
}

/// Returns the value if it is a string.
#[must_use]
pub(crate) fn string(value: &Value) -> Option<&Value> {
    (value.kind == Kind::String).then_some(value)
}

/// Returns a string for comparison: unchanged, or with its escapes in their shortest form. Returns `None` for any other
/// value.
#[must_use]
#[inline]
pub(crate) fn word<'a>(text: Text<'a>, value: &Value) -> Option<Cow<'a, [u8]>> {
    let raw = string(value)?.raw(text);
    Some(if value.content.has_escape() {
        Cow::Owned(Name::new(raw, true).as_bytes().to_vec())
    } else {
        Cow::Borrowed(raw)
    })
}

/// Returns the value if it is an unsigned 64-bit number.
#[must_use]
pub(crate) fn unsigned(text: Text<'_>, value: &Value) -> Option<u64> {
    if value.kind != Kind::Integer {
        return None;
    }
    let digits = value.raw(text);
    let fold = |number: u64, digit: &u8| number.checked_mul(10)?.checked_add(u64::from(digit.checked_sub(b'0')?));
    digits.iter().try_fold(0, fold)
}

/// Returns the value if it is an integer. One beyond 64 bits becomes the nearest number within them.
#[must_use]
pub(crate) fn integer(text: Text<'_>, value: &Value) -> Option<i64> {
    if value.kind != Kind::Integer {
        return None;
    }
    let digits = std::str::from_utf8(value.raw(text)).ok()?;
    Some(digits.parse().unwrap_or(if digits.starts_with('-') { i64::MIN } else { i64::MAX }))
}
