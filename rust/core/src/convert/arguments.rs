//! The arguments of a call: a JSON object, or the raw text if they are not an object.

use crate::json::dump::{compact_chunks, compact_unescaped, write_python_json};
use crate::json::number::has_unreadable_integer;
use crate::json::{Key, Kind, Tape, Text, Value, scan, string};
use crate::rollout::envelope::member;
use crate::rollout::ids::Name;

use super::command_attribution::MAX_PROGRAM_TEXT;
use super::content::{push_dumped, trim_python_start};
use super::record::Push;

/// The deepest nesting of arguments that is written as JSON. Deeper ones stay text, because readers of records (orjson,
/// Python's `json`) fail at about 1,000 levels.
pub(crate) const MAX_DEPTH: usize = 200;

/// The arguments of a call.
#[derive(Default)]
pub(crate) struct Invocation {
    /// The arguments as decoded text, for event ids and for finding commands in programs. Padding follows after
    /// `length` bytes.
    decoded: Vec<u8>,
    length: usize,
    /// Whether the text is known to be ASCII.
    is_ascii: bool,
    /// The values of the object, if the text is one.
    tape: Tape,
    form: ArgumentsForm,
}

/// The form in which arguments are written.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum ArgumentsForm {
    /// `{}`
    #[default]
    None,
    /// The decoded text, which is an object.
    Object,
    /// The text, under `_raw`.
    Raw,
}

impl Invocation {
    /// Reads the value of `arguments` or `input`. A missing value counts as empty text.
    pub(crate) fn read(&mut self, text: Text<'_>, value: Option<&Value>) {
        self.decoded.clear();
        match value {
            None => {}
            Some(value) if value.kind == Kind::String && value.raw(text).len() > MAX_PROGRAM_TEXT => {
                for stretch in string::chunks(value.raw(text)) {
                    string::decode_string(stretch, &mut self.decoded);
                    // If the text is not an object, only its beginning is needed.
                    let first = trim_python_start(&self.decoded).first();
                    if self.decoded.len() > MAX_PROGRAM_TEXT && first.is_some_and(|first| *first != b'{') {
                        break;
                    }
                }
            }
            Some(value) if value.kind == Kind::String && !value.content.has_escape() => {
                self.decoded.extend_from_slice(value.raw(text));
            }
            Some(value) if value.kind == Kind::String => string::decode_string(value.raw(text), &mut self.decoded),
            Some(value) => {
                write_python_json(value.token(text), false, &mut |dumped| {
                    self.decoded.extend_from_slice(dumped);
                    true
                });
            }
        }
        self.is_ascii = value.is_none_or(|value| {
            value.kind != Kind::String || !(value.content.has_non_ascii() || value.content.has_unicode_escape())
        });
        let is_text = value.is_none_or(|value| value.kind == Kind::String);
        let is_object = value.is_some_and(|value| value.kind == Kind::Object);
        self.settle(is_text, is_object);
    }

    /// Reads the arguments of a call that is neither a `function_call` nor a `custom_tool_call`.
    ///
    /// Returns the single member that holds them. Without such a member, reads all members except framing and `image`.
    pub(crate) fn read_other_call<'t>(
        &mut self,
        text: Text<'_>,
        tape: &'t Tape,
        payload: &Value,
        image: Option<&Value>,
    ) -> Option<&'t Value> {
        let value = arguments_of_other_call(text, tape, payload, image);
        if value.is_some() {
            self.read(text, value);
        } else {
            self.read_members(text, tape, payload, |value, name| is_skipped(value, name, image));
        }
        value
    }

    /// Reads the members of `payload` that are not `excluded`, as an object.
    pub(crate) fn read_members(
        &mut self,
        text: Text<'_>,
        tape: &Tape,
        payload: &Value,
        excluded: impl Fn(&Value, &[u8]) -> bool,
    ) {
        self.decoded.clear();
        self.decoded.push(b'{');
        for value in tape.children(payload).filter(|value| !excluded(value, value.key_name(text))) {
            if self.decoded.len() > 1 {
                self.decoded.push(b',');
            }
            compact_unescaped(value.key_token(text), &mut self.decoded);
            self.decoded.push(b':');
            compact_unescaped(value.token(text), &mut self.decoded);
        }
        self.decoded.push(b'}');
        self.is_ascii = self.decoded.is_ascii();
        self.settle(false, true);
    }

    /// Decides in which form the arguments are written.
    fn settle(&mut self, is_text: bool, is_object: bool) {
        self.length = self.decoded.len();
        self.form = if is_text && trim_python_start(&self.decoded).is_empty() {
            ArgumentsForm::None
        } else if (is_text || is_object) && self.decoded.trim_ascii_start().first() == Some(&b'{') {
            let scanned = scan(Text::pad(&mut self.decoded), &mut self.tape);
            let is_readable = scanned.is_ok()
                && self.tape.depth() <= MAX_DEPTH
                && !has_unreadable_integer(&self.decoded[..self.length]);
            if is_readable { ArgumentsForm::Object } else { ArgumentsForm::Raw }
        } else {
            ArgumentsForm::Raw
        };
    }

    /// Returns the arguments as text. If they are not an object, text beyond [`MAX_PROGRAM_TEXT`] may be missing.
    #[must_use]
    pub(crate) fn text(&self) -> &[u8] {
        &self.decoded[..self.length]
    }

    /// Returns the first `limit` characters of the text, as hashed by an event id.
    pub(crate) fn hashed<'a>(&'a self, limit: usize, buffer: &'a mut Vec<u8>) -> &'a [u8] {
        let text = self.text();
        if self.is_ascii || text.is_empty() {
            return &text[..text.len().min(limit)];
        }
        buffer.clear();
        string::prefix_of_decoded(text, limit, buffer);
        buffer
    }

    /// Returns the arguments as a value and the text that contains it, if they are an object.
    #[must_use]
    pub(crate) fn object(&self) -> Option<(Text<'_>, &Value)> {
        (self.form == ArgumentsForm::Object).then(|| (Text::new(&self.decoded, self.length), self.tape.root()))
    }

    /// Returns the member `cell_id` as text.
    #[must_use]
    pub(crate) fn cell_id(&self) -> Option<Name> {
        if self.form != ArgumentsForm::Object {
            return None;
        }
        let text = Text::new(&self.decoded, self.length);
        let value = member(&self.tape, self.tape.root(), Key::CellId)?;
        matches!(value.kind, Kind::String | Kind::Integer)
            .then(|| Name::new(value.raw(text), value.content.has_escape()))
    }

    /// Appends the arguments as an object. `value` is the value that they were read from, if any; a string is quoted
    /// unchanged.
    pub(crate) fn push(&self, text: Text<'_>, value: Option<&Value>, out: &mut impl Push) {
        match self.form {
            ArgumentsForm::None => out.push(b"{}"),
            ArgumentsForm::Object => {
                let may_have_specials = value.is_none_or(|value| value.content.has_unicode_escape());
                if self.tape.has_blank() || may_have_specials {
                    let mut escaped = Vec::new();
                    for piece in compact_chunks(self.text()) {
                        escaped.clear();
                        string::escape_specials(piece, &mut escaped);
                        out.push(&escaped);
                    }
                } else {
                    out.push(&self.decoded[..self.length]);
                }
            }
            ArgumentsForm::Raw => {
                out.push(b"{\"_raw\":\"");
                match value {
                    Some(value) if value.kind == Kind::String => out.push(value.raw(text)),
                    Some(value) => push_dumped(value.token(text), out),
                    None => {
                        let mut escaped = Vec::new();
                        string::escape(self.text(), &mut escaped);
                        out.push(&escaped);
                    }
                }
                out.push(b"\"}");
            }
        }
    }
}

/// Returns the single member that holds the arguments of a call. A member `action` counts only if no other member
/// describes the call.
#[must_use]
pub(crate) fn arguments_of_other_call<'t>(
    text: Text<'_>,
    tape: &'t Tape,
    payload: &Value,
    image: Option<&Value>,
) -> Option<&'t Value> {
    let is_present = |value: &&Value| value.kind != Kind::Null;
    let present = |key| member(tape, payload, key).filter(is_present);
    present(Key::Arguments).or_else(|| present(Key::Input)).or_else(|| {
        let is_other = |value: &Value| value.key != Key::Action && !is_skipped(value, value.key_name(text), image);
        present(Key::Action).filter(|_| !tape.children(payload).filter(is_present).any(is_other))
    })
}

/// Returns whether a member does not describe the call: framing, the generated `image`, or a `null`.
#[must_use]
pub(crate) fn is_skipped(value: &Value, name: &[u8], image: Option<&Value>) -> bool {
    is_framing(value, name)
        || (value.key == Key::Result && image.is_some())
        || (value.kind == Kind::Null && matches!(value.key, Key::Arguments | Key::Input | Key::Action))
}

/// Returns whether a member of a response item is framing.
#[must_use]
pub(crate) fn is_framing(value: &Value, name: &[u8]) -> bool {
    matches!(value.key, Key::Type | Key::Id | Key::CallId | Key::Status | Key::Name) || is_internal_metadata(name)
}

/// Returns whether a member is named like the internal metadata of Codex.
fn is_internal_metadata(name: &[u8]) -> bool {
    let mut decoded = Vec::new();
    let name = if name.contains(&b'\\') {
        string::decode_string(name, &mut decoded);
        &decoded
    } else {
        name
    };
    name == b"metadata" || name.starts_with(b"internal_")
}
