//! The arguments of calls: a JSON object, or the raw text where they are none.

use crate::json::dump::{compact_unescaped, compacted, dump};
use crate::json::number::has_unreadable_integer;
use crate::json::scan::Kind;
use crate::json::{Key, Shapes, Tape, Text, Value, scan_alike, string};
use crate::rollout::envelope::member;
use crate::rollout::ids::Name;

use super::attribution::MOST_TEXT;
use super::content::{push_dumped, trim_python_start};
use super::record::Push;

/// Arguments nested deeper than this stay text: readers of records (orjson, Python's json) give up at about 1,000.
pub const MOST_DEPTH: usize = 200;

/// What a call was called with.
#[derive(Default)]
pub struct Invocation {
    /// The invocation as text, decoded; what ids hash and programs are searched in. Padded behind `length` bytes.
    decoded: Vec<u8>,
    length: usize,
    /// Whether the text is known to be ASCII.
    is_ascii: bool,
    /// The values of an object, for what is read from it.
    tape: Tape,
    /// What such objects looked like so far.
    shapes: Shapes,
    form: Form,
}

/// How arguments are written.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Form {
    /// `{}`
    #[default]
    None,
    /// The decoded text is an object.
    Object,
    /// The text, under `_raw`.
    Raw,
}

impl Invocation {
    /// Reads the value under `arguments` or `input`; none counts as an empty text.
    pub fn read(&mut self, text: Text<'_>, value: Option<&Value>) {
        self.decoded.clear();
        match value {
            None => {}
            Some(value) if value.kind == Kind::String && value.raw(text).len() > MOST_TEXT => {
                for stretch in string::stretches(value.raw(text)) {
                    string::decode(stretch, &mut self.decoded);
                    // Of what is no object no more is looked at.
                    let first = trim_python_start(&self.decoded).first();
                    if self.decoded.len() > MOST_TEXT && first.is_some_and(|first| *first != b'{') {
                        break;
                    }
                }
            }
            Some(value) if value.kind == Kind::String && !value.content.has_escape() => {
                self.decoded.extend_from_slice(value.raw(text));
            }
            Some(value) if value.kind == Kind::String => string::decode(value.raw(text), &mut self.decoded),
            Some(value) => {
                dump(value.token(text), false, &mut |dumped| {
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

    /// Reads what a call calls with that is neither a `function_call` nor a `custom_tool_call`: its arguments, which
    /// are given, or all members that are neither framing nor `image`.
    pub fn read_other_call<'t>(
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
    pub fn read_members(
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

    /// Decides how the arguments are written.
    fn settle(&mut self, is_text: bool, is_object: bool) {
        self.length = self.decoded.len();
        self.form = if is_text && trim_python_start(&self.decoded).is_empty() {
            Form::None
        } else if (is_text || is_object) && self.decoded.trim_ascii_start().first() == Some(&b'{') {
            let scanned = scan_alike(Text::pad(&mut self.decoded), 0, &mut self.shapes, &mut self.tape);
            let is_readable = scanned.is_ok()
                && self.tape.depth() <= MOST_DEPTH
                && !has_unreadable_integer(&self.decoded[..self.length]);
            if is_readable { Form::Object } else { Form::Raw }
        } else {
            Form::Raw
        };
    }

    /// The invocation as text; of one that is no object and longer than programs are looked into, the beginning.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.decoded[..self.length]
    }

    /// The first `limit` characters of the text as an event id hashes them.
    pub fn hashed<'a>(&'a self, limit: usize, buffer: &'a mut Vec<u8>) -> &'a [u8] {
        let text = self.text();
        if self.is_ascii || text.is_empty() {
            return &text[..text.len().min(limit)];
        }
        buffer.clear();
        string::prefix_of_decoded(text, limit, buffer);
        buffer
    }

    /// The invocation as a value, where it is an object, and the text that it stands in.
    #[must_use]
    pub fn object(&self) -> Option<(Text<'_>, &Value)> {
        (self.form == Form::Object).then(|| (Text::new(&self.decoded, self.length), self.tape.root()))
    }

    /// The value under `cell_id`, as text.
    #[must_use]
    pub fn cell_id(&mut self) -> Option<Name> {
        if self.form != Form::Object {
            return None;
        }
        let text = Text::new(&self.decoded, self.length);
        let value = member(&self.tape, self.tape.root(), Key::CellId)?;
        matches!(value.kind, Kind::String | Kind::Integer)
            .then(|| Name::new(value.raw(text), value.content.has_escape()))
    }

    /// Appends the arguments object. `value` is what was read; its text is quoted as it stands where it is one.
    pub fn push(&mut self, text: Text<'_>, value: Option<&Value>, out: &mut impl Push) {
        match self.form {
            Form::None => out.push(b"{}"),
            Form::Object => {
                let may_have_specials = value.is_none_or(|value| value.content.has_unicode_escape());
                if self.tape.has_blank() || may_have_specials {
                    let mut escaped = Vec::new();
                    for piece in compacted(self.text()) {
                        escaped.clear();
                        string::escape_specials(piece, &mut escaped);
                        out.push(&escaped);
                    }
                } else {
                    out.push(&self.decoded[..self.length]);
                }
            }
            Form::Raw => {
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

/// The one member that holds what a call calls with. An `action` does so where it stands alone.
#[must_use]
pub fn arguments_of_other_call<'t>(
    text: Text<'_>,
    tape: &'t Tape,
    payload: &Value,
    image: Option<&Value>,
) -> Option<&'t Value> {
    let is_there = |value: &&Value| value.kind != Kind::Null;
    let given = |key| member(tape, payload, key).filter(is_there);
    given(Key::Arguments).or_else(|| given(Key::Input)).or_else(|| {
        let is_more = |value: &Value| value.key != Key::Action && !is_skipped(value, value.key_name(text), image);
        given(Key::Action).filter(|_| !tape.children(payload).filter(is_there).any(is_more))
    })
}

/// Whether a member says nothing of what is called: framing, the `image` that was made, a place left empty.
#[must_use]
pub fn is_skipped(value: &Value, name: &[u8], image: Option<&Value>) -> bool {
    is_framing(value, name)
        || (value.key == Key::Result && image.is_some())
        || (value.kind == Kind::Null && matches!(value.key, Key::Arguments | Key::Input | Key::Action))
}

/// Whether a member of a response item only frames what it says.
#[must_use]
pub fn is_framing(value: &Value, name: &[u8]) -> bool {
    matches!(value.key, Key::Type | Key::Id | Key::CallId | Key::Status | Key::Name) || is_codexs_own(name)
}

/// Whether a member of this name is codex's own remark.
fn is_codexs_own(name: &[u8]) -> bool {
    let mut decoded = Vec::new();
    let name = if name.contains(&b'\\') {
        string::decode(name, &mut decoded);
        &decoded
    } else {
        name
    };
    name == b"metadata" || name.starts_with(b"internal_")
}
