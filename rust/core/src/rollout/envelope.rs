//! What every rollout line has: a timestamp, from 0.147 on an ordinal, a type and a payload, in any order.

use std::borrow::Cow;

use super::ids::Name;
use super::probe::Head;
use crate::json::{Key, Kind, Tape, Text, Value};

/// The members of a line's object that say what it is; of a repeated key the last counts, as everywhere. Strings are
/// given as [`word`] gives them.
#[derive(Default)]
pub struct Envelope<'a, 't> {
    /// `timestamp`, where it is a string.
    pub timestamp: Option<Cow<'a, [u8]>>,
    /// `ordinal`, where it is a number that a place in a file can have.
    pub ordinal: Option<u64>,
    /// `type`, where it is a string.
    pub kind: Option<Cow<'a, [u8]>>,
    /// `payload`.
    pub payload: Option<&'t Value>,
    /// The members of the payload.
    pub members: Members<'t>,
    /// `payload.type`, where it is a string.
    pub payload_kind: Option<Cow<'a, [u8]>>,
}

impl<'a, 't> Envelope<'a, 't> {
    /// Reads it off a scanned line; `head` is what was read before the scan, if it did not begin at the line's start.
    #[must_use]
    #[inline(always)]
    pub fn of(text: Text<'a>, tape: &'t Tape, head: Option<&Head<'a>>) -> Self {
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
}

/// The members of an object by their keys; of a repeated key the last.
#[derive(Clone, Copy)]
pub struct Members<'t> {
    tape: Option<&'t Tape>,
    /// Their places on the tape, 0 where there is none: that is the text's outermost value.
    places: [u32; Key::COUNT],
}

impl Default for Members<'_> {
    fn default() -> Self {
        Self { tape: None, places: [0; Key::COUNT] }
    }
}

impl<'t> Members<'t> {
    /// The members of a value, none where it is no object.
    #[must_use]
    #[inline(always)]
    pub fn of(tape: &'t Tape, object: &Value) -> Self {
        let mut members = Self { tape: Some(tape), ..Self::default() };
        if object.kind == Kind::Object {
            for value in tape.children(object) {
                members.places[value.key as usize] = value.place();
            }
        }
        members
    }

    /// The member under `key`.
    #[must_use]
    #[inline]
    pub fn get(&self, key: Key) -> Option<&'t Value> {
        match self.places[key as usize] {
            0 => None,
            place => self.tape.map(|tape| tape.value(place)),
        }
    }
}

/// The last member of `object` under `key`, where one or two are asked for.
#[must_use]
pub fn member<'t>(tape: &'t Tape, object: &Value, key: Key) -> Option<&'t Value> {
    if object.kind != Kind::Object {
        return None;
    }
    tape.children(object).filter(|value| value.key == key).last()
}

/// The value, where it is a string.
#[must_use]
pub fn string(value: &Value) -> Option<&Value> {
    (value.kind == Kind::String).then_some(value)
}

/// The value as a word to be compared, where it is a string: as it stands, or where it holds escapes in their shortest
/// form.
#[must_use]
#[inline]
pub fn word<'a>(text: Text<'a>, value: &Value) -> Option<Cow<'a, [u8]>> {
    let raw = string(value)?.raw(text);
    Some(if value.content.has_escape() {
        Cow::Owned(Name::new(raw, true).as_bytes().to_vec())
    } else {
        Cow::Borrowed(raw)
    })
}

/// The value as a number of 0 or more, where it is one that 64 bits hold.
#[must_use]
pub fn unsigned(text: Text<'_>, value: &Value) -> Option<u64> {
    if value.kind != Kind::Integer {
        return None;
    }
    let digits = value.raw(text);
    let fold = |number: u64, digit: &u8| number.checked_mul(10)?.checked_add(u64::from(digit.checked_sub(b'0')?));
    digits.iter().try_fold(0, fold)
}

/// The value as a number, where it is an integer; one beyond 64 bits as the nearest that they hold.
#[must_use]
pub fn integer(text: Text<'_>, value: &Value) -> Option<i64> {
    if value.kind != Kind::Integer {
        return None;
    }
    let digits = std::str::from_utf8(value.raw(text)).ok()?;
    Some(digits.parse().unwrap_or(if digits.starts_with('-') { i64::MIN } else { i64::MAX }))
}
