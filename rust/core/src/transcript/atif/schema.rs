//! The members that the records of a common transcript may have, in the order of a document: mngr's models as tables.

use super::Layout;
use crate::json::dump::Members;
use crate::json::string;
use crate::transcript::record::Record;

/// The shape of a value.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// A string.
    Text,
    /// One of these strings.
    One(&'static [&'static str]),
    /// A string or a number.
    TextOrNumber,
    /// A number without a fraction and an exponent.
    Integer,
    /// Any number.
    Float,
    /// `true` or `false`.
    Boolean,
    /// Any object.
    Object,
    /// A string or content parts.
    TextOrParts,
    /// An array.
    List(&'static Shape),
    /// An object with these members only, written in this order.
    Model(&'static [Field]),
    /// A content part: a model whose other member depends on its type.
    Part,
    /// A reference to another trajectory: a model that must have its id or its path.
    Reference,
}

/// A member of a model.
pub(super) struct Field {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    /// Whether it must exist and not be null.
    pub(crate) is_required: bool,
}

const fn required(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, is_required: true }
}

const fn optional(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, is_required: false }
}

/// The first record of a stream.
pub(super) const HEADER: &[Field] = &[
    required("type", Shape::One(&["header"])),
    required("event_id", Shape::Text),
    required("emitter", Shape::Text),
    required("schema_version", Shape::One(&["ATIF-v1.7"])),
];

/// A step: the members of a document in their order, then the members that only streams have.
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

/// Indexes in [`STEP`].
pub(super) mod step {
    pub(crate) const TIMESTAMP: usize = 0;
    pub(crate) const SOURCE: usize = 1;
    pub(crate) const TOOL_CALLS: usize = 6;
    pub(crate) const OBSERVATION: usize = 7;
    pub(crate) const METRICS: usize = 8;
    pub(crate) const LLM_CALL_COUNT: usize = 10;
    pub(crate) const EXTRA: usize = 11;
    pub(crate) const EVENT_ID: usize = 13;
    pub(crate) const EMITTER: usize = 14;
    /// Members that only steps of the agent may have.
    pub(crate) const OF_AGENTS: [usize; 5] = [2, 3, 5, TOOL_CALLS, METRICS];
    /// Members that steps may have only if the model was called.
    pub(crate) const OF_THE_MODEL: [usize; 2] = [5, METRICS];
}

/// The results of calls.
pub(super) const OBSERVATIONS: &[Field] = &[
    required("timestamp", Shape::Text),
    required("results", Shape::List(&Shape::Model(RESULT))),
    required("type", Shape::One(&["observation"])),
    required("event_id", Shape::Text),
    required("emitter", Shape::Text),
];

/// Indexes in [`OBSERVATIONS`].
pub(super) mod observations {
    pub(crate) const TIMESTAMP: usize = 0;
    pub(crate) const RESULTS: usize = 1;
}

pub(super) const CALL: &[Field] = &[
    required("tool_call_id", Shape::Text),
    required("function_name", Shape::Text),
    required("arguments", Shape::Object),
    optional("extra", Shape::Object),
];

/// The index of the id in [`CALL`] and in [`RESULT`].
pub(super) const CALL_ID: usize = 0;

pub(super) const OBSERVATION: &[Field] = &[required("results", Shape::List(&Shape::Model(RESULT)))];

pub(super) const RESULT: &[Field] = &[
    optional("source_call_id", Shape::Text),
    optional("content", Shape::TextOrParts),
    optional("subagent_trajectory_ref", Shape::List(&Shape::Reference)),
    optional("extra", Shape::Object),
];

/// The index of `extra` in [`RESULT`].
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

/// A violation of the schema.
pub(super) struct Violation {
    /// The message, which starts with the name of the member.
    pub(crate) message: String,
    /// Whether the value is valid, but mngr reads it differently.
    pub(crate) is_unusual: bool,
}

impl Violation {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_unusual: false }
    }

    pub(super) fn unusual(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_unusual: true }
    }

    /// Adds the name of the member that contains the value.
    pub(super) fn inside(mut self, name: &str) -> Self {
        let dot = if self.message.starts_with([' ', '[']) { "" } else { "." };
        self.message = format!("{name}{dot}{}", self.message);
        self
    }
}

/// The members of a model, by their indexes in its table.
pub(super) type Slots<'a> = [Option<&'a [u8]>; 16];

/// Returns the members of `object`, which may have no others. If several have the same name, the last one counts, as in
/// Python.
pub(super) fn members<'a>(object: &'a [u8], fields: &[Field]) -> Result<Slots<'a>, Violation> {
    if object.first() != Some(&b'{') {
        return Err(Violation::new(" is not an object"));
    }
    sorted(Members::of(object).map(|(key, value)| (&key[1..key.len() - 1], value)), fields)
}

/// Like [`members`], for a record that has been scanned.
pub(super) fn members_of<'a>(record: &Record<'a>, fields: &[Field]) -> Result<Slots<'a>, Violation> {
    let text = record.text();
    sorted(record.tape().children(record.tape().root()).map(|it| (it.key_name(text), it.token(text))), fields)
}

fn sorted<'a>(members: impl Iterator<Item = (&'a [u8], &'a [u8])>, fields: &[Field]) -> Result<Slots<'a>, Violation> {
    let mut slots = Slots::default();
    for (name, value) in members {
        let position = fields.iter().position(|field| field.name.as_bytes() == name).or_else(|| {
            let mut decoded = Vec::new();
            string::decode_string(name, &mut decoded);
            fields.iter().position(|field| field.name.as_bytes() == decoded)
        });
        let Some(position) = position else {
            return Err(Violation::new(format!("{} is not allowed", String::from_utf8_lossy(name))));
        };
        slots[position] = (value != b"null").then_some(value);
    }
    match fields.iter().zip(&slots).find(|(field, slot)| field.is_required && slot.is_none()) {
        Some((field, _)) => Err(Violation::new(format!("{} is missing", field.name))),
        None => Ok(slots),
    }
}

/// Returns the offset of a part of `text`.
pub(super) fn offset_in(text: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

/// Checks and returns the members of a model.
pub(super) fn check_model<'a>(
    object: &'a [u8],
    fields: &'static [Field],
    layout: Layout,
) -> Result<Slots<'a>, Violation> {
    let slots = members(object, fields)?;
    check_members(&slots, fields, usize::MAX, layout)?;
    Ok(slots)
}

/// Checks the members of a model, except the member `except`, which the caller checks.
pub(super) fn check_members(
    slots: &Slots<'_>,
    fields: &'static [Field],
    except: usize,
    layout: Layout,
) -> Result<(), Violation> {
    for (position, (field, slot)) in fields.iter().zip(slots).enumerate() {
        if let Some(value) = slot.filter(|_| position != except) {
            check(value, &field.shape, layout).map_err(|violation| violation.inside(field.name))?;
        }
    }
    Ok(())
}

fn check(value: &[u8], shape: &'static Shape, layout: Layout) -> Result<(), Violation> {
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
        // mngr converts an integer to a float, which is written differently.
        Shape::TextOrNumber | Shape::Float if is_integer && layout == Layout::AsMngr => {
            return Err(Violation::unusual(" is an integer instead of a float"));
        }
        // A sum of such values can overflow, and JSON has no infinity.
        Shape::Float if is_number && layout == Layout::AsMngr && is_huge(value) => {
            return Err(Violation::unusual(" is near the largest float"));
        }
        Shape::TextOrNumber => is_text || is_number,
        Shape::Float => is_number,
        Shape::Boolean => matches!(value, b"true" | b"false"),
        Shape::Object => value.first() == Some(&b'{'),
        Shape::TextOrParts if value.first() == Some(&b'[') => return check(value, PARTS, layout),
        Shape::Text | Shape::TextOrParts => is_text,
        Shape::List(element) => {
            if value.first() == Some(&b'[') {
                for (number, (_, member)) in Members::of(value).enumerate() {
                    check(member, element, layout).map_err(|violation| violation.inside(&format!("[{number}]")))?;
                }
            }
            value.first() == Some(&b'[')
        }
        Shape::Model(fields) => return check_model(value, fields, layout).map(drop),
        Shape::Part => {
            let [kind, text, source, ..] = check_model(value, PART, layout)?;
            let is_text = kind.map(text_of).as_deref() == Some(b"text");
            is_text == text.is_some() && is_text != source.is_some()
        }
        Shape::Reference => {
            let [trajectory, _, path, ..] = check_model(value, REFERENCE, layout)?;
            trajectory.is_some() || path.is_some()
        }
    };
    if fits { Ok(()) } else { Err(Violation::new(" has the wrong type")) }
}

fn is_huge(number: &[u8]) -> bool {
    std::str::from_utf8(number).ok().and_then(|text| text.parse::<f64>().ok()).is_none_or(|number| number.abs() > 1e300)
}

/// Returns the decoded text of a string token; an empty text for other tokens.
pub(super) fn text_of(token: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    if let [b'"', content @ .., b'"'] = token {
        string::decode_string(content, &mut text);
    }
    text
}
