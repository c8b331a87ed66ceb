//! The text and the images that messages and outputs hold.

use std::borrow::Cow;

use crate::json::dump::{Sink, dump};
use crate::json::scan::Content;
use crate::json::{Key, Kind, Tape, Text, Value, string};

use super::event_id::HASHED_CHARACTERS;
use super::record::Push;
use crate::rollout::envelope::{member, string as as_string, word};

/// A part of a text.
#[derive(Clone, Copy)]
struct Piece {
    start: u32,
    end: u32,
    form: Form,
}

/// How a part is written.
#[derive(Clone, Copy)]
enum Form {
    /// The content of a JSON string, as it stands.
    Plain(Content),
    /// A value that is no text, as Python dumps it.
    Dumped,
    /// An image: hashed as Python dumps it, not written.
    Image,
}

/// A text in parts, and the images among them; kept from line to line so that nothing is allocated.
#[derive(Default)]
pub struct Body {
    pieces: Vec<Piece>,
    /// Where the URLs of the images stand, and what these strings hold.
    images: Vec<(u32, u32, Content)>,
}

impl Body {
    /// Takes the text of a message: of the parts of type `wanted`, joined.
    pub fn read_message(&mut self, text: Text<'_>, tape: &Tape, content: Option<&Value>, wanted: &str) {
        self.clear();
        let Some(content) = content.filter(|content| content.kind == Kind::Array) else {
            return;
        };
        self.take_unread(tape, content);
        for part in tape.children(content).filter(|part| part.kind == Kind::Object) {
            let kind = member(tape, part, Key::Type).and_then(|kind| word(text, kind));
            if kind.as_deref() == Some(wanted.as_bytes()) {
                self.take_text(tape, part);
            } else if kind.as_deref() == Some(b"input_image") {
                self.take_image(tape, part);
            }
        }
    }

    /// Takes the text of a message between agents: a text, or parts whose texts are joined; anything else as JSON,
    /// but for what is encrypted.
    pub fn read_any_text(&mut self, text: Text<'_>, tape: &Tape, content: Option<&Value>) {
        self.clear();
        match content {
            Some(content) if content.kind == Kind::Array => {
                self.take_unread(tape, content);
                for part in tape.children(content) {
                    let kind = member(tape, part, Key::Type).and_then(|kind| word(text, kind));
                    if !(kind.as_deref() == Some(b"encrypted_content")
                        || self.take_text(tape, part)
                        || self.take_image(tape, part))
                    {
                        self.take_any(part);
                    }
                }
            }
            Some(content) if content.kind != Kind::Null => self.take_any(content),
            _ => {}
        }
    }

    /// Takes the texts of reasoning: `summary`, then `content`, those that are not empty.
    pub fn read_reasoning(&mut self, tape: &Tape, payload: &Value) {
        self.clear();
        for key in [Key::Summary, Key::Content] {
            let Some(list) = member(tape, payload, key).filter(|list| list.kind == Kind::Array) else {
                continue;
            };
            self.take_unread(tape, list);
            for block in tape.children(list) {
                if let Some(text) =
                    member(tape, block, Key::Text).and_then(as_string).filter(|text| text.start < text.end)
                {
                    self.pieces.push(Piece { start: text.start, end: text.end, form: Form::Plain(text.content) });
                }
            }
        }
    }

    /// Takes an output: a text, or parts whose texts are joined, a part without text as JSON.
    pub fn read_output(&mut self, tape: &Tape, output: Option<&Value>) {
        self.clear();
        let Some(output) = output else { return };
        match output.kind {
            Kind::Array => {
                self.take_unread(tape, output);
                for part in tape.children(output) {
                    if !(self.take_text(tape, part) || self.take_image(tape, part)) {
                        self.take_dumped(part);
                    }
                }
            }
            _ => self.take_any(output),
        }
    }

    /// Takes any value, as JSON.
    pub fn read_dumped(&mut self, value: &Value) {
        self.clear();
        self.take_dumped(value);
    }

    fn clear(&mut self) {
        self.pieces.clear();
        self.images.clear();
    }

    fn take_text(&mut self, tape: &Tape, part: &Value) -> bool {
        let Some(text) = member(tape, part, Key::Text).and_then(as_string) else {
            return false;
        };
        self.pieces.push(Piece { start: text.start, end: text.end, form: Form::Plain(text.content) });
        true
    }

    /// Takes a string as its text, any other value as JSON.
    fn take_any(&mut self, value: &Value) {
        if value.kind == Kind::String {
            self.pieces.push(Piece { start: value.start, end: value.end, form: Form::Plain(value.content) });
        } else {
            self.take_dumped(value);
        }
    }

    fn take_image(&mut self, tape: &Tape, part: &Value) -> bool {
        let Some(url) = member(tape, part, Key::ImageUrl).and_then(as_string) else {
            return false;
        };
        self.pieces.push(Piece { start: part.start, end: part.end, form: Form::Image });
        self.images.push((url.start, url.end, url.content));
        true
    }

    /// Takes a list as JSON, where it has more parts than are read.
    fn take_unread(&mut self, tape: &Tape, list: &Value) {
        if !tape.is_entered(list) {
            self.take_dumped(list);
        }
    }

    fn take_dumped(&mut self, value: &Value) {
        let quote = u32::from(value.kind == Kind::String);
        self.pieces.push(Piece { start: value.start - quote, end: value.end + quote, form: Form::Dumped });
    }

    /// Whether there is neither text nor image.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
            && self.pieces.iter().all(|piece| matches!(piece.form, Form::Plain(_)) && piece.start == piece.end)
    }

    /// Whether there are images.
    #[must_use]
    pub fn has_images(&self) -> bool {
        !self.images.is_empty()
    }

    /// The text as an event id hashes it: its first characters, decoded, `between` the parts. In messages, images
    /// are no text.
    pub fn hashed<'a>(
        &self,
        text: Text<'a>,
        between: &[u8],
        has_image_text: bool,
        buffer: &'a mut Vec<u8>,
    ) -> &'a [u8] {
        if let [Piece { start, end, form: Form::Plain(content) }] = self.pieces[..]
            && content.is_plain()
        {
            let plain = text.span(start, end);
            return &plain[..plain.len().min(HASHED_CHARACTERS)];
        }
        buffer.clear();
        let mut taken = 0;
        for (place, piece) in self.pieces.iter().enumerate() {
            if place > 0 {
                taken += string::decode_prefix(between, HASHED_CHARACTERS - taken, buffer);
            }
            let raw = text.span(piece.start, piece.end);
            match piece.form {
                Form::Plain(_) => taken += string::decode_prefix(raw, HASHED_CHARACTERS - taken, buffer),
                Form::Image if !has_image_text => {}
                Form::Dumped | Form::Image => {
                    dump(raw, false, &mut |dumped| {
                        // A dump is ASCII: a byte is a character.
                        let wanted = dumped.len().min(HASHED_CHARACTERS - taken);
                        buffer.extend_from_slice(&dumped[..wanted]);
                        taken += wanted;
                        taken < HASHED_CHARACTERS
                    });
                }
            }
            if taken >= HASHED_CHARACTERS {
                break;
            }
        }
        buffer
    }

    /// Appends the text as the content of a JSON string, with the escaped `between` between the parts.
    pub fn push_text(&self, text: Text<'_>, between: &[u8], out: &mut impl Push) {
        for (place, piece) in self.pieces.iter().enumerate() {
            if place > 0 {
                out.push(between);
            }
            let raw = text.span(piece.start, piece.end);
            match piece.form {
                Form::Plain(_) => out.push(raw),
                Form::Image => {}
                Form::Dumped => push_dumped(raw, out),
            }
        }
    }

    /// Appends the list of images, each with its media type and its size in bytes, or its URL.
    pub fn push_images(&self, text: Text<'_>, out: &mut impl Push) {
        out.push(b"[");
        for (place, (start, end, content)) in self.images.iter().enumerate() {
            if place > 0 {
                out.push(b",");
            }
            let url = text.span(*start, *end);
            if content.has_escape() { push_escaped_image(url, out) } else { push_image(url, out) }
        }
        out.push(b"]");
    }

    /// Whether the text begins with `<INSTRUCTIONS>` and the like: context that codex puts in the user's place.
    ///
    /// `hashed` is the text's beginning as [`Body::hashed`] gives it.
    #[must_use]
    pub fn is_injected_context(&self, text: Text<'_>, hashed: &[u8]) -> bool {
        let mut opening = Vec::new();
        let mut start = trim_python_start(hashed);
        if start.len() < LONGEST_OPENING && hashed.len() >= HASHED_CHARACTERS {
            // The beginning is white space for the most part.
            self.decode_in_pieces(text, &mut |piece| {
                let piece = if opening.is_empty() { trim_python_start(piece) } else { piece };
                opening.extend_from_slice(&piece[..piece.len().min(LONGEST_OPENING)]);
                opening.len() < LONGEST_OPENING
            });
            start = &opening;
        }
        if CONTEXT_OPENINGS.iter().any(|opening| start.starts_with(opening)) {
            return true;
        }
        if !start.starts_with(AGENTS_OPENING) {
            return false;
        }
        let mut is_found = false;
        let mut window = Vec::new();
        self.decode_in_pieces(text, &mut |piece| {
            // The end of the piece before may be its beginning.
            window.drain(..window.len().saturating_sub(AGENTS_ENVELOPE.len() - 1));
            window.extend_from_slice(piece);
            is_found = memchr::memmem::find(&window, AGENTS_ENVELOPE).is_some();
            !is_found
        });
        is_found
    }

    /// Hands the text to `sink`, decoded, until that wants no more.
    fn decode_in_pieces(&self, text: Text<'_>, sink: &mut Sink<'_>) {
        let mut decoded = Vec::new();
        for piece in self.pieces.iter().filter(|piece| matches!(piece.form, Form::Plain(_))) {
            for stretch in string::stretches(text.span(piece.start, piece.end)) {
                decoded.clear();
                string::decode(stretch, &mut decoded);
                if !sink(&decoded) {
                    return;
                }
            }
        }
    }
}

/// How context that codex injects begins (seen on 0.64 to 0.169).
const CONTEXT_OPENINGS: [&[u8]; 2] = [b"<user_instructions>", b"<environment_context>"];

/// How the message begins that carries an AGENTS.md file, and what it must hold too (seen on 0.147).
const AGENTS_OPENING: &[u8] = b"# AGENTS.md instructions for ";
const AGENTS_ENVELOPE: &[u8] = b"<INSTRUCTIONS>";

/// The length of the longest of the openings.
const LONGEST_OPENING: usize = AGENTS_OPENING.len();

/// The text without the white space that Python's `str.lstrip` takes away.
#[must_use]
pub fn trim_python_start(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let Some(first) = rest.first() {
        if first.is_ascii() {
            if !matches!(first, b'\t'..=b'\r' | 0x1C..=0x1F | b' ') {
                break;
            }
            rest = &rest[1..];
        } else {
            let length = rest.len().min(4);
            let Some(character) = rest[..length].utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next())
            else {
                break;
            };
            if !character.is_whitespace() {
                break;
            }
            rest = &rest[character.len_utf8()..];
        }
    }
    rest
}

/// Appends a value that is no text as JSON inside a JSON string.
pub fn push_dumped(raw: &[u8], out: &mut impl Push) {
    let mut escaped = Vec::new();
    dump(raw, false, &mut |dumped| {
        escaped.clear();
        string::escape(dumped, &mut escaped);
        out.push(&escaped);
        true
    });
}

/// As [`push_image`], for a URL with escapes, `\/` for a slash, say.
#[cold]
fn push_escaped_image(url: &[u8], out: &mut impl Push) {
    let (mut decoded, mut escaped) = (Vec::new(), Vec::new());
    string::decode(url, &mut decoded);
    let is_base64 = |data: &[u8]| memchr::memchr(b',', data).is_some_and(|comma| data[..comma].ends_with(b";base64"));
    if decoded.strip_prefix(b"data:").is_some_and(is_base64) {
        without_folds(&mut decoded);
    }
    string::escape(&decoded, &mut escaped);
    push_image(&escaped, out);
}

/// Appends what is kept of an image: never its bytes. Of the characters of its URL none is escaped but those that must.
fn push_image(url: &[u8], out: &mut impl Push) {
    let Some(data) = url.strip_prefix(b"data:") else {
        out.push(b"{\"url\":\"");
        out.push(string::cut(url, LONGEST_URL));
        out.push(b"\"}");
        return;
    };
    let comma = memchr::memchr(b',', data).unwrap_or(data.len());
    let (kind, body) = (&data[..comma], data.get(comma + 1..).unwrap_or_default());
    let media_type = &kind[..memchr::memchr(b';', kind).unwrap_or(kind.len())];
    let size = if kind.ends_with(b";base64") { base64_size(body) } else { string::count(body) };
    out.push(b"{\"media_type\":\"");
    out.push(string::cut(media_type, LONGEST_MEDIA_TYPE));
    out.push(b"\",\"size\":");
    out.push(size.to_string().as_bytes());
    out.push(b"}");
}

/// Characters of an image's URL that are kept.
const LONGEST_URL: usize = 2_000;

/// Characters of a media type that are kept; RFC 6838 allows 127 on each side of the slash.
const LONGEST_MEDIA_TYPE: usize = 255;

/// Takes away the white space that base64 text may be folded by.
fn without_folds(base64: &mut Vec<u8>) {
    base64.retain(|byte| !byte.is_ascii_whitespace());
}

/// A string that is base64, decoded as a JSON string.
#[must_use]
pub fn base64_of<'a>(text: Text<'a>, value: &Value) -> Cow<'a, [u8]> {
    if !value.content.has_escape() {
        return Cow::Borrowed(value.raw(text));
    }
    let mut decoded = Vec::new();
    string::decode(value.raw(text), &mut decoded);
    without_folds(&mut decoded);
    Cow::Owned(decoded)
}

/// The bytes that base64 text stands for.
#[must_use]
pub fn base64_size(body: &[u8]) -> usize {
    let digits = body.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    digits * 3 / 4
}

/// The media type of an image by the beginning of its base64 text.
#[must_use]
pub fn base64_media_type(body: &[u8]) -> &'static str {
    match body {
        [b'i', b'V', b'B', b'O', b'R', ..] => "image/png",
        [b'/', b'9', b'j', b'/', ..] => "image/jpeg",
        [b'U', b'k', b'l', b'G', b'R', ..] => "image/webp",
        [b'R', b'0', b'l', b'G', b'O', b'D', ..] => "image/gif",
        _ => "application/octet-stream",
    }
}
