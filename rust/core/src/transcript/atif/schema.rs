//! What records of a common transcript may hold, and in which order a document has it: mngr's models as tables.

use super::Form;
use crate::json::dump::Members;
use crate::json::string;
use crate::transcript::record::Record;

/// What a value may be.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// A string.
    Text,
    /// One of these strings.
    One(&'static [&'static str]),
    /// A string, or a number.
    TextOrNumber,
    /// A number without fraction and exponent.
    Integer,
    /// Any number.
    Float,
    /// `true` or `false`.
    Boolean,
    /// An object of whatever.
    Object,
    /// A string, or content parts.
    TextOrParts,
    /// An array.
    List(&'static Shape),
    /// An object of these members, in this order, and no others.
    Model(&'static [Field]),
    /// A content part: a model in which the type says what else there is.
    Part,
    /// A reference to another trajectory: a model that must name one.
    Reference,
}

/// A member of a model.
pub(super) struct Field {
    pub name: &'static str,
    pub shape: Shape,
    /// It must be there, and not be null.
    pub is_required: bool,
}

const fn required(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, is_required: true }
}

const fn optional(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, is_required: false }
}

/// A stream's first record.
pub(super) const HEADER: &[Field] = &[
    required("type", Shape::One(&["header"])),
    required("event_id", Shape::Text),
    required("emitter", Shape::Text),
    required("schema_version", Shape::One(&["ATIF-v1.7"])),
];

/// A step, in a document's order, then what only a stream has.
pub(super) const STEP: &[Field] = &[
    required("timestamp", Shape::Text),
    required("source", Shape::One(&["system", "user", "agent"])),
    optional("model_name", Shape::Text),
    optional("reasoning_effort", Shape::TextOrNumber),
    required("message", Shape::Text),
    optional("reasoning_content", Shape::Text),
    optional("tool_calls", Shape::List(&Shape::Model(CALL))),
    optional("observation", Shape::Model(OBSERVATION)),
    optional("metrics", Shape::Model(METRICS)),
    optional("is_copied_context", Shape::Boolean),
    optional("llm_call_count", Shape::Integer),
    optional("extra", Shape::Object),
    required("type", Shape::One(&["step"])),
    required("event_id", Shape::Text),
    required("emitter", Shape::Text),
];

/// Places in [`STEP`].
pub(super) mod step {
    pub const TIMESTAMP: usize = 0;
    pub const SOURCE: usize = 1;
    pub const TOOL_CALLS: usize = 6;
    pub const OBSERVATION: usize = 7;
    pub const METRICS: usize = 8;
    pub const LLM_CALL_COUNT: usize = 10;
    pub const EXTRA: usize = 11;
    pub const EVENT_ID: usize = 13;
    pub const EMITTER: usize = 14;
    /// Only steps of the model have them.
    pub const OF_AGENTS: [usize; 5] = [2, 3, 5, TOOL_CALLS, METRICS];
    /// Only steps for which the model was called have them.
    pub const OF_THE_MODEL: [usize; 2] = [5, METRICS];
}

/// Results of calls.
pub(super) const OBSERVATIONS: &[Field] = &[
    required("timestamp", Shape::Text),
    required("results", Shape::List(&Shape::Model(RESULT))),
    required("type", Shape::One(&["observation"])),
    required("event_id", Shape::Text),
    required("emitter", Shape::Text),
];

/// Places in [`OBSERVATIONS`].
pub(super) mod observations {
    pub const TIMESTAMP: usize = 0;
    pub const RESULTS: usize = 1;
}

pub(super) const CALL: &[Field] = &[
    required("tool_call_id", Shape::Text),
    required("function_name", Shape::Text),
    required("arguments", Shape::Object),
    optional("extra", Shape::Object),
];

/// The place of the id in [`CALL`] and in [`RESULT`].
pub(super) const CALL_ID: usize = 0;

pub(super) const OBSERVATION: &[Field] = &[required("results", Shape::List(&Shape::Model(RESULT)))];

pub(super) const RESULT: &[Field] = &[
    optional("source_call_id", Shape::Text),
    optional("content", Shape::TextOrParts),
    optional("subagent_trajectory_ref", Shape::List(&Shape::Reference)),
    optional("extra", Shape::Object),
];

/// The place of what a result may have further in [`RESULT`].
pub(super) const RESULT_EXTRA: usize = 3;

pub(super) const REFERENCE: &[Field] = &[
    optional("trajectory_id", Shape::Text),
    optional("session_id", Shape::Text),
    optional("trajectory_path", Shape::Text),
    optional("extra", Shape::Object),
];

pub(super) const METRICS: &[Field] = &[
    optional("prompt_tokens", Shape::Integer),
    optional("completion_tokens", Shape::Integer),
    optional("cached_tokens", Shape::Integer),
    optional("cost_usd", Shape::Float),
    optional("prompt_token_ids", Shape::List(&Shape::Integer)),
    optional("completion_token_ids", Shape::List(&Shape::Integer)),
    optional("logprobs", Shape::List(&Shape::Float)),
    optional("extra", Shape::Object),
];

pub(super) const PART: &[Field] = &[
    required("type", Shape::One(&["text", "image"])),
    optional("text", Shape::Text),
    optional("source", Shape::Model(IMAGE)),
];

/// Content parts.
pub(super) const PARTS: &Shape = &Shape::List(&Shape::Part);

const IMAGE: &[Field] = &[
    required("media_type", Shape::One(&["image/jpeg", "image/png", "image/gif", "image/webp"])),
    required("path", Shape::Text),
];

/// What is wrong with a value.
pub(super) struct Wrong {
    pub what: String,
    /// mngr reads it in a way of its own; it is not wrong by itself.
    pub is_unusual: bool,
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), is_unusual: false }
    }

    pub(super) fn unusual(what: impl Into<String>) -> Self {
        Self { what: what.into(), is_unusual: true }
    }

    pub(super) fn inside(mut self, name: &str) -> Self {
        let dot = if self.what.starts_with([' ', '[']) { "" } else { "." };
        self.what = format!("{name}{dot}{}", self.what);
        self
    }
}

/// The members of a model, by their places in its table.
pub(super) type Slots<'a> = [Option<&'a [u8]>; 16];

/// Sorts the members of `object`, of which there may be no others; of several of one name the last counts, as for Python.
pub(super) fn members<'a>(object: &'a [u8], fields: &[Field]) -> Result<Slots<'a>, Wrong> {
    if object.first() != Some(&b'{') {
        return Err(Wrong::new(" is no object"));
    }
    sorted(Members::of(object).map(|(key, value)| (&key[1..key.len() - 1], value)), fields)
}

/// The same for a record, whose members the scanner has found.
pub(super) fn members_of<'a>(record: &Record<'a>, fields: &[Field]) -> Result<Slots<'a>, Wrong> {
    let text = record.text();
    sorted(record.tape().children(record.tape().root()).map(|it| (it.key_name(text), it.token(text))), fields)
}

fn sorted<'a>(members: impl Iterator<Item = (&'a [u8], &'a [u8])>, fields: &[Field]) -> Result<Slots<'a>, Wrong> {
    let mut slots = Slots::default();
    for (name, value) in members {
        let place = fields.iter().position(|field| field.name.as_bytes() == name).or_else(|| {
            let mut decoded = Vec::new();
            string::decode(name, &mut decoded);
            fields.iter().position(|field| field.name.as_bytes() == decoded)
        });
        let Some(place) = place else {
            return Err(Wrong::new(format!("{} is no member that it may have", String::from_utf8_lossy(name))));
        };
        slots[place] = (value != b"null").then_some(value);
    }
    match fields.iter().zip(&slots).find(|(field, slot)| field.is_required && slot.is_none()) {
        Some((field, _)) => Err(Wrong::new(format!("{} is missing", field.name))),
        None => Ok(slots),
    }
}

/// Where a part of a text starts in it.
pub(super) fn place_in(text: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

/// Checks the members of a model; gives them.
pub(super) fn check_model<'a>(object: &'a [u8], fields: &'static [Field], form: Form) -> Result<Slots<'a>, Wrong> {
    let slots = members(object, fields)?;
    check_members(&slots, fields, usize::MAX, form)?;
    Ok(slots)
}

/// Checks the members of a model, but for one that the caller looks into.
pub(super) fn check_members(slots: &Slots<'_>, fields: &'static [Field], but: usize, form: Form) -> Result<(), Wrong> {
    for (place, (field, slot)) in fields.iter().zip(slots).enumerate() {
        if let Some(value) = slot.filter(|_| place != but) {
            check(value, &field.shape, form).map_err(|wrong| wrong.inside(field.name))?;
        }
    }
    Ok(())
}

fn check(value: &[u8], shape: &'static Shape, form: Form) -> Result<(), Wrong> {
    let is_text = value.first() == Some(&b'"');
    let is_number = matches!(value.first(), Some(b'-' | b'0'..=b'9'));
    let is_integer = is_number && !value.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    let fits = match shape {
        Shape::One(texts) => {
            let content = value.get(1..value.len().max(2) - 1).unwrap_or_default();
            let is_one = |text: &[u8]| texts.iter().any(|one| one.as_bytes() == text);
            is_text && (is_one(content) || content.contains(&b'\\') && is_one(&text_of(value)))
        }
        Shape::Integer => is_integer,
        // An integer becomes a float there, which is written in another way.
        Shape::TextOrNumber | Shape::Float if is_integer && form == Form::AsMngr => {
            return Err(Wrong::unusual(" is an integer, and ought to be a float"));
        }
        // What such add up to can be beyond what JSON has a word for.
        Shape::Float if is_number && form == Form::AsMngr && is_huge(value) => {
            return Err(Wrong::unusual(" is near the end of what a double holds"));
        }
        Shape::TextOrNumber => is_text || is_number,
        Shape::Float => is_number,
        Shape::Boolean => matches!(value, b"true" | b"false"),
        Shape::Object => value.first() == Some(&b'{'),
        Shape::TextOrParts if value.first() == Some(&b'[') => return check(value, PARTS, form),
        Shape::Text | Shape::TextOrParts => is_text,
        Shape::List(element) => {
            if value.first() == Some(&b'[') {
                for (number, (_, member)) in Members::of(value).enumerate() {
                    check(member, element, form).map_err(|wrong| wrong.inside(&format!("[{number}]")))?;
                }
            }
            value.first() == Some(&b'[')
        }
        Shape::Model(fields) => return check_model(value, fields, form).map(drop),
        Shape::Part => {
            let [kind, text, source, ..] = check_model(value, PART, form)?;
            let is_text = kind.map(text_of).as_deref() == Some(b"text");
            is_text == text.is_some() && is_text != source.is_some()
        }
        Shape::Reference => {
            let [trajectory, _, path, ..] = check_model(value, REFERENCE, form)?;
            trajectory.is_some() || path.is_some()
        }
    };
    if fits { Ok(()) } else { Err(Wrong::new(" is of a kind that it may not be")) }
}

fn is_huge(number: &[u8]) -> bool {
    std::str::from_utf8(number).ok().and_then(|text| text.parse::<f64>().ok()).is_none_or(|number| number.abs() > 1e300)
}

/// What a string token stands for; nothing for any other.
pub(super) fn text_of(token: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    if let [b'"', content @ .., b'"'] = token {
        string::decode(content, &mut text);
    }
    text
}
