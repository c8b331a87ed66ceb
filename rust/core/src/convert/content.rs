//! The text and the images of messages and outputs.

use std::borrow::Cow;

use crate::json::dump::write_python_json;
use crate::json::walk::{PieceKind, pieces};
use crate::json::{Content, Key, Kind, Tape, Text, Value, string};

use super::attachment::{Attachment, without_long_base64};
use super::event_id::HASHED_CHARACTERS;
use super::injected::{self, ShellCommand, Writer};
use super::record::Push;
use crate::rollout::envelope::{member, string as as_string, word};

/// A part of a text.
#[derive(Clone, Copy)]
struct Piece {
    start: u32,
    end: u32,
    form: PieceForm,
}

/// How a part is written.
#[derive(Clone, Copy)]
enum PieceForm {
    /// The content of a JSON string, unchanged.
    Plain(Content),
    /// A value that is not text, as `json.dumps` of Python writes it.
    Dumped,
    /// An image. It is hashed like [`Self::Dumped`], and not written.
    Image,
    /// A part for which the placeholder with this index is written. It is hashed like an image.
    Placeholder(u32),
}

/// How parts that are texts are joined. A placeholder is always separated by a blank line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joint {
    /// One directly after the other.
    Direct,
    /// With a blank line between them.
    BlankLine,
}

/// A blank line, as the content of a JSON string.
pub(crate) const BLANK_LINE: &[u8] = br"\n\n";

/// The number of bytes up to which the text of a part of unknown type is shown.
const MAX_UNKNOWN_TEXT: usize = 4_096;

/// A text in parts, and its images. It is reused between lines to avoid allocations.
#[derive(Default)]
pub(crate) struct Body {
    pieces: Vec<Piece>,
    /// The positions of the images' URLs, and which characters these strings contain.
    images: Vec<(u32, u32, Content)>,
    placeholders: Vec<Vec<u8>>,
    /// Whether Codex wrote this message in the user's role.
    is_injected: bool,
    /// Whether encrypted parts were skipped.
    has_encrypted: bool,
}

impl Body {
    /// Reads a message: texts, images, and placeholders for all other parts.
    pub(crate) fn read_message(&mut self, text: Text<'_>, tape: &Tape, content: Option<&Value>) {
        self.clear();
        match content {
            Some(content) if content.kind == Kind::Array => {
                self.add_unread(content);
                for part in tape.children(content) {
                    self.add_message_part(text, tape, part);
                }
            }
            Some(content) if content.kind == Kind::String => self.add_string(content),
            _ => {}
        }
    }

    /// Reads a message in the user's role, of which a person or Codex may have written each part.
    ///
    /// If both have, the parts of the one who comes second are returned.
    #[must_use]
    pub(crate) fn read_user_message(
        &mut self,
        text: Text<'_>,
        tape: &Tape,
        payload: &Value,
        content: Option<&Value>,
    ) -> Option<Self> {
        let Some(list) = content.filter(|content| content.kind == Kind::Array && content.is_entered) else {
            self.read_message(text, tape, content);
            self.is_injected = self.pieces.iter().any(|piece| piece.is_codex_text(text));
            return None;
        };
        self.clear();
        let writers = injected::writers(text, tape, payload, tape.children(list).count());
        let mut are_injected = Vec::new();
        for (index, part) in tape.children(list).enumerate() {
            self.add_message_part(text, tape, part);
            if let Some(piece) = self.pieces.get(are_injected.len()) {
                are_injected.push(match writers.get(index) {
                    Some(Writer::Person) => false,
                    Some(Writer::Codex) => true,
                    Some(Writer::Unknown) | None => piece.is_codex_text(text),
                });
            }
        }
        self.is_injected = are_injected.first() == Some(&true);
        are_injected.contains(&!self.is_injected).then(|| self.split_off(&are_injected))
    }

    /// Removes the pieces of which Codex is not the writer like it is of the first one, and returns them.
    #[cold]
    fn split_off(&mut self, are_injected: &[bool]) -> Self {
        let all = std::mem::take(self);
        self.is_injected = all.is_injected;
        let mut other = Self { is_injected: !all.is_injected, ..Self::default() };
        let mut images = all.images.into_iter();
        for (mut piece, is_injected) in all.pieces.into_iter().zip(are_injected) {
            let body = if *is_injected == all.is_injected { &mut *self } else { &mut other };
            match &mut piece.form {
                PieceForm::Image => body.images.extend(images.next()),
                PieceForm::Placeholder(index) => {
                    body.placeholders.extend(all.placeholders.get(*index as usize).cloned());
                    *index = position(body.placeholders.len() - 1);
                }
                PieceForm::Plain(_) | PieceForm::Dumped => {}
            }
            body.pieces.push(piece);
        }
        other
    }

    /// Reads a message between agents: a text, or parts whose texts are joined. Any other value is dumped as JSON, and
    /// encrypted parts are skipped.
    pub(crate) fn read_agent_message(&mut self, text: Text<'_>, tape: &Tape, content: Option<&Value>) {
        self.clear();
        match content {
            Some(content) if content.kind == Kind::Array => {
                self.add_unread(content);
                for part in tape.children(content) {
                    let kind = member(tape, part, Key::Type).and_then(|kind| word(text, kind));
                    if kind.as_deref() == Some(b"encrypted_content") {
                        self.has_encrypted = true;
                    } else if part.kind == Kind::String {
                        self.add_string(part);
                    } else {
                        self.add_output_part(text, tape, part);
                    }
                }
            }
            Some(content) if content.kind != Kind::Null => self.add_any(content),
            _ => {}
        }
    }

    /// Reads reasoning: the texts of `summary`, then of `content`, except empty ones.
    pub(crate) fn read_reasoning(&mut self, tape: &Tape, payload: &Value) {
        self.clear();
        for key in [Key::Summary, Key::Content] {
            let Some(list) = member(tape, payload, key).filter(|list| list.kind == Kind::Array) else {
                continue;
            };
            self.add_unread(list);
            for block in tape.children(list) {
                if let Some(text) =
                    member(tape, block, Key::Text).and_then(as_string).filter(|text| text.start < text.end)
                {
                    self.pieces.push(Piece { start: text.start, end: text.end, form: PieceForm::Plain(text.content) });
                }
            }
        }
    }

    /// Reads an output: a text, or parts whose texts are joined. Audio and files become placeholders, and any other part
    /// without text is dumped as JSON.
    pub(crate) fn read_output(&mut self, text: Text<'_>, tape: &Tape, output: Option<&Value>) {
        self.clear();
        let Some(output) = output else { return };
        match output.kind {
            Kind::Array => {
                self.add_unread(output);
                for part in tape.children(output) {
                    self.add_output_part(text, tape, part);
                }
            }
            _ => self.add_any(output),
        }
    }

    /// Reads any value, and dumps it as JSON.
    pub(crate) fn read_dumped(&mut self, value: &Value) {
        self.clear();
        self.add_dumped(value);
    }

    fn clear(&mut self) {
        self.pieces.clear();
        self.images.clear();
        self.placeholders.clear();
        (self.is_injected, self.has_encrypted) = (false, false);
    }

    fn add_message_part(&mut self, text: Text<'_>, tape: &Tape, part: &Value) {
        let kind = member(tape, part, Key::Type).and_then(|kind| word(text, kind));
        match kind.as_deref() {
            Some(b"output_text" | b"input_text" | b"text") => {
                if let Some(words) = member(tape, part, Key::Text).and_then(as_string) {
                    self.add_string(words);
                }
            }
            Some(b"input_image") if self.add_image(tape, part) => {}
            kind => self.add_other_part(text, tape, part, kind),
        }
    }

    /// Adds a part of a message that has no common type.
    #[cold]
    fn add_other_part(&mut self, text: Text<'_>, tape: &Tape, part: &Value, kind: Option<&[u8]>) {
        if part.kind != Kind::Object {
            if part.kind == Kind::String {
                self.add_string(part);
            }
            return;
        }
        let is_refusal = |value: &&Value| kind == Some(b"refusal") && value.key_name(text) == b"refusal";
        let words = tape.children(part).filter(is_refusal).last().or_else(|| {
            member(tape, part, Key::Text).filter(|words| (words.end - words.start) as usize <= MAX_UNKNOWN_TEXT)
        });
        if let Some(words) = words.and_then(as_string) {
            self.add_string(words);
            return;
        }
        let attachment = Attachment::read(part.raw(text));
        self.add_placeholder(attachment.placeholder(kind.unwrap_or_default(), part.raw(text)), part);
    }

    #[inline]
    fn add_output_part(&mut self, text: Text<'_>, tape: &Tape, part: &Value) {
        if !(self.add_text(tape, part) || self.add_image(tape, part)) {
            self.add_part_without_text(text, tape, part);
        }
    }

    #[cold]
    fn add_part_without_text(&mut self, text: Text<'_>, tape: &Tape, part: &Value) {
        let attachment = Attachment::read(part.raw(text));
        let kind = member(tape, part, Key::Type).and_then(|kind| word(text, kind));
        match kind.as_deref() {
            Some(kind) if attachment.has_content() || matches!(kind, b"input_audio" | b"input_file") => {
                self.add_placeholder(attachment.placeholder(kind, part.raw(text)), part);
            }
            _ => self.add_dumped(part),
        }
    }

    fn add_placeholder(&mut self, placeholder: Vec<u8>, part: &Value) {
        let form = PieceForm::Placeholder(position(self.placeholders.len()));
        self.placeholders.push(placeholder);
        self.pieces.push(Piece { start: part.start, end: part.end, form });
    }

    /// Adds a string as text, unless it is empty.
    #[inline]
    fn add_string(&mut self, value: &Value) {
        if value.start < value.end {
            self.pieces.push(Piece { start: value.start, end: value.end, form: PieceForm::Plain(value.content) });
        }
    }

    fn add_text(&mut self, tape: &Tape, part: &Value) -> bool {
        let Some(text) = member(tape, part, Key::Text).and_then(as_string) else {
            return false;
        };
        self.pieces.push(Piece { start: text.start, end: text.end, form: PieceForm::Plain(text.content) });
        true
    }

    /// Adds a string as text, any other value dumped as JSON.
    fn add_any(&mut self, value: &Value) {
        if value.kind == Kind::String {
            self.pieces.push(Piece { start: value.start, end: value.end, form: PieceForm::Plain(value.content) });
        } else {
            self.add_dumped(value);
        }
    }

    fn add_image(&mut self, tape: &Tape, part: &Value) -> bool {
        let Some(url) = member(tape, part, Key::ImageUrl).and_then(as_string) else {
            return false;
        };
        self.pieces.push(Piece { start: part.start, end: part.end, form: PieceForm::Image });
        self.images.push((url.start, url.end, url.content));
        true
    }

    /// Adds a list dumped as JSON, if it has more parts than the tape holds.
    fn add_unread(&mut self, list: &Value) {
        if !list.is_entered {
            self.add_dumped(list);
        }
    }

    fn add_dumped(&mut self, value: &Value) {
        let quote = u32::from(value.kind == Kind::String);
        self.pieces.push(Piece { start: value.start - quote, end: value.end + quote, form: PieceForm::Dumped });
    }

    /// Returns whether there is neither text nor an image nor a placeholder.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.images.is_empty()
            && self.pieces.iter().all(|piece| matches!(piece.form, PieceForm::Plain(_)) && piece.start == piece.end)
    }

    /// Returns whether Codex wrote this message in the user's role.
    #[must_use]
    pub(crate) fn is_injected(&self) -> bool {
        self.is_injected
    }

    /// Returns whether encrypted parts were skipped and there is nothing else.
    #[must_use]
    pub(crate) fn is_encrypted(&self) -> bool {
        self.has_encrypted && self.is_empty()
    }

    /// Returns the command of the user that an injected message reports, if any.
    #[must_use]
    pub(crate) fn shell_command(&self, text: Text<'_>) -> Option<ShellCommand> {
        let texts = self.pieces.iter().filter(|piece| self.is_injected && matches!(piece.form, PieceForm::Plain(_)));
        texts.into_iter().find_map(|piece| ShellCommand::read(text.span(piece.start, piece.end)))
    }

    /// Returns the content of the text if it is a single string without anything else.
    #[must_use]
    pub(crate) fn single_text<'a>(&self, text: Text<'a>) -> Option<&'a [u8]> {
        match self.pieces[..] {
            [Piece { start, end, form: PieceForm::Plain(_) }] => Some(text.span(start, end)),
            _ => None,
        }
    }

    /// Returns whether there are images.
    #[must_use]
    pub(crate) fn has_images(&self) -> bool {
        !self.images.is_empty()
    }

    /// Returns the text as hashed by an event id: its first characters, decoded, with `separator` between the parts.
    /// With `has_image_text`, images and placeholders count as the JSON of their parts, as they do in outputs.
    pub(crate) fn hashed<'a>(
        &self,
        text: Text<'a>,
        separator: &[u8],
        has_image_text: bool,
        buffer: &'a mut Vec<u8>,
    ) -> &'a [u8] {
        if let [Piece { start, end, form: PieceForm::Plain(content) }] = self.pieces[..]
            && content.is_plain()
        {
            let plain = text.span(start, end);
            return &plain[..plain.len().min(HASHED_CHARACTERS)];
        }
        buffer.clear();
        let mut taken = 0;
        for (index, piece) in self.pieces.iter().enumerate() {
            if index > 0 {
                taken += string::decode_prefix(separator, HASHED_CHARACTERS - taken, buffer);
            }
            let raw = text.span(piece.start, piece.end);
            match piece.form {
                PieceForm::Plain(_) => taken += string::decode_prefix(raw, HASHED_CHARACTERS - taken, buffer),
                PieceForm::Image | PieceForm::Placeholder(_) if !has_image_text => {}
                PieceForm::Dumped | PieceForm::Image | PieceForm::Placeholder(_) => {
                    write_python_json(raw, false, &mut |dumped| {
                        // A dump is ASCII, so each byte is a character.
                        let count = dumped.len().min(HASHED_CHARACTERS - taken);
                        buffer.extend_from_slice(&dumped[..count]);
                        taken += count;
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

    /// Appends the text as the content of a JSON string.
    pub(crate) fn push_text(&self, text: Text<'_>, joint: Joint, out: &mut impl Push) {
        let mut previous = None;
        for piece in &self.pieces {
            let is_apart = matches!(piece.form, PieceForm::Placeholder(_));
            if matches!(piece.form, PieceForm::Image) {
                continue;
            }
            if let Some(was_apart) = previous.replace(is_apart)
                && (joint == Joint::BlankLine || is_apart || was_apart)
            {
                out.push(BLANK_LINE);
            }
            let raw = text.span(piece.start, piece.end);
            match piece.form {
                PieceForm::Plain(_) => out.push(raw),
                PieceForm::Image => {}
                PieceForm::Placeholder(index) => {
                    out.push(self.placeholders.get(index as usize).map_or(b"", |placeholder| placeholder));
                }
                PieceForm::Dumped => match without_long_base64(raw) {
                    Some(shortened) => push_dumped(&shortened, out),
                    None => push_dumped(raw, out),
                },
            }
        }
    }

    /// Appends the list of images, each with its media type and size in bytes, or its URL.
    pub(crate) fn push_images(&self, text: Text<'_>, out: &mut impl Push) {
        out.push(b"[");
        for (index, (start, end, content)) in self.images.iter().enumerate() {
            if index > 0 {
                out.push(b",");
            }
            let url = text.span(*start, *end);
            if content.has_escape() { push_escaped_image(url, out) } else { push_image(url, out) }
        }
        out.push(b"]");
    }
}

impl Piece {
    /// Returns whether this is a text of Codex's own.
    fn is_codex_text(self, text: Text<'_>) -> bool {
        matches!(self.form, PieceForm::Plain(_)) && injected::is_codex_text(text.span(self.start, self.end))
    }
}

/// Returns an index as a small number. A line has fewer parts than that.
fn position(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// Strips the leading white space that Python's `str.lstrip` strips.
#[must_use]
pub(crate) fn trim_python_start(text: &[u8]) -> &[u8] {
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

/// Appends a value, dumped as JSON, as the content of a JSON string.
pub(crate) fn push_dumped(raw: &[u8], out: &mut impl Push) {
    let mut escaped = Vec::new();
    write_python_json(raw, false, &mut |dumped| {
        escaped.clear();
        string::escape(dumped, &mut escaped);
        out.push(&escaped);
        true
    });
}

/// Appends an image whose URL contains escapes, such as `\/`.
#[cold]
fn push_escaped_image(url: &[u8], out: &mut impl Push) {
    let (mut decoded, mut escaped) = (Vec::new(), Vec::new());
    string::decode_string(url, &mut decoded);
    let is_base64 = |data: &[u8]| memchr::memchr(b',', data).is_some_and(|comma| data[..comma].ends_with(b";base64"));
    if decoded.strip_prefix(b"data:").is_some_and(is_base64) {
        remove_white_space(&mut decoded);
    }
    string::escape(&decoded, &mut escaped);
    push_image(&escaped, out);
}

/// Appends an image's media type and size, or its URL; never its bytes. `url` contains only the escapes that JSON
/// requires.
fn push_image(url: &[u8], out: &mut impl Push) {
    let Some(data) = url.strip_prefix(b"data:") else {
        out.push(b"{\"url\":\"");
        out.push(string::cut(url, MAX_URL_CHARACTERS));
        out.push(b"\"}");
        return;
    };
    let comma = memchr::memchr(b',', data).unwrap_or(data.len());
    let (kind, body) = (&data[..comma], data.get(comma + 1..).unwrap_or_default());
    let media_type = &kind[..memchr::memchr(b';', kind).unwrap_or(kind.len())];
    let size = if kind.ends_with(b";base64") { base64_size(body) } else { string::count(body) };
    out.push(b"{\"media_type\":\"");
    out.push(string::cut(media_type, MAX_MEDIA_TYPE_CHARACTERS));
    out.push(b"\",\"size\":");
    out.push(size.to_string().as_bytes());
    out.push(b"}");
}

/// The number of characters of an image's URL that are kept.
const MAX_URL_CHARACTERS: usize = 2_000;

/// The number of characters of a media type that are kept. RFC 6838 allows 127 on each side of the slash.
const MAX_MEDIA_TYPE_CHARACTERS: usize = 255;

/// Removes the white space by which base64 text may be folded.
fn remove_white_space(base64: &mut Vec<u8>) {
    base64.retain(|byte| !byte.is_ascii_whitespace());
}

/// Returns the base64 text of the image that a call of `tool` generated, if any.
pub(crate) fn generated_image<'t>(tool: &[u8], tape: &'t Tape, payload: &Value) -> Option<&'t Value> {
    member(tape, payload, Key::Result).and_then(as_string).filter(|_| tool == b"image_generation")
}

/// Returns the base64 text in a JSON string, decoded.
#[must_use]
pub(crate) fn base64_of<'a>(text: Text<'a>, value: &Value) -> Cow<'a, [u8]> {
    if !value.content.has_escape() {
        return Cow::Borrowed(value.raw(text));
    }
    let mut decoded = Vec::new();
    string::decode_string(value.raw(text), &mut decoded);
    remove_white_space(&mut decoded);
    Cow::Owned(decoded)
}

/// Returns the number of bytes that base64 text encodes.
#[must_use]
pub(crate) fn base64_size(body: &[u8]) -> usize {
    let digits = body.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    digits * 3 / 4
}

/// Returns an image's media type, detected from the beginning of its base64 text.
#[must_use]
pub(crate) fn base64_media_type(body: &[u8]) -> &'static str {
    match body {
        [b'i', b'V', b'B', b'O', b'R', ..] => "image/png",
        [b'/', b'9', b'j', b'/', ..] => "image/jpeg",
        [b'U', b'k', b'l', b'G', b'R', ..] => "image/webp",
        [b'R', b'0', b'l', b'G', b'O', b'D', ..] => "image/gif",
        _ => "application/octet-stream",
    }
}

/// The length from which a string without spaces and punctuation is taken for base64, in bytes.
const MIN_BASE64_BYTES: usize = 256;

/// Passes the tokens of valid JSON to `act`, with the size in place of each string of base64.
pub(crate) fn each_piece_without_base64(json: &[u8], mut act: impl FnMut(&[u8])) {
    for piece in pieces(json).filter(|piece| piece.kind != PieceKind::Blank) {
        match piece.bytes {
            [b'"', content @ .., b'"'] if is_base64(content) => {
                act(format!("\"[{} bytes]\"", base64_size(content)).as_bytes());
            }
            token => act(token),
        }
    }
}

/// Returns whether the content of a string is long and consists of base64 only, possibly as a data URL.
fn is_base64(content: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=_-\\".contains(byte);
    let data = match content.strip_prefix(b"data:") {
        Some(rest) => memchr::memchr(b',', rest).map_or(rest, |comma| &rest[comma + 1..]),
        None => content,
    };
    data.len() >= MIN_BASE64_BYTES && data.iter().all(is_digit)
}
