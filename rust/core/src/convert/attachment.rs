//! Parts of messages and outputs that are neither text nor images, such as audio and files: a placeholder with their
//! type and size stands for their bytes.

use crate::json::dump::Members;
use crate::json::string;
use crate::json::walk::{Piece, PieceKind, pieces};

use super::content::base64_size;

/// The number of bytes from which a string of base64 is replaced by its size.
const LONG_BASE64_BYTES: usize = 512;

/// The number of characters of a name, a type or a URL that a placeholder keeps.
const MAX_WORD_CHARACTERS: usize = 255;

/// How deep the objects in a part are searched.
const MAX_DEPTH: usize = 3;

/// What a part of unknown type contains.
#[derive(Default)]
pub(crate) struct Attachment<'a> {
    /// The name of a file.
    name: Option<&'a [u8]>,
    media_type: Option<Vec<u8>>,
    /// The format of audio, which Codex's API names without `audio/`.
    format: Option<&'a [u8]>,
    /// The number of bytes of the content.
    size: Option<usize>,
    url: Option<&'a [u8]>,
}

impl<'a> Attachment<'a> {
    /// Reads a part, which must be valid JSON.
    #[must_use]
    pub(crate) fn read(part: &'a [u8]) -> Self {
        let mut attachment = Self::default();
        attachment.add_members(part, 0);
        attachment
    }

    fn add_members(&mut self, object: &'a [u8], depth: usize) {
        if object.first() != Some(&b'{') {
            return;
        }
        for (key, value) in Members::of(object) {
            match value {
                [b'"', content @ .., b'"'] => self.add_string(&key[1..key.len() - 1], content),
                _ if depth < MAX_DEPTH => self.add_members(value, depth + 1),
                _ => {}
            }
        }
    }

    fn add_string(&mut self, key: &[u8], content: &'a [u8]) {
        if let Some(data) = DataUrl::read(content) {
            self.size = Some(data.size);
            self.media_type = Some(data.media_type);
            return;
        }
        match key {
            b"filename" | b"name" => self.name = Some(content).filter(|name| !name.is_empty()),
            b"media_type" | b"mime_type" | b"mimeType" => self.media_type = Some(content.to_vec()),
            b"format" => self.format = Some(content),
            b"data" | b"file_data" | b"blob" if is_base64(content) => self.size = Some(size_of(content)),
            _ if key.ends_with(b"url") && content.windows(3).take(16).any(|window| window == b"://") => {
                self.url = Some(content);
            }
            _ if content.len() >= LONG_BASE64_BYTES && is_base64(content) => self.size = Some(size_of(content)),
            _ => {}
        }
    }

    /// Returns whether the part contains bytes, or refers to some.
    #[must_use]
    pub(crate) fn has_content(&self) -> bool {
        self.size.is_some() || self.url.is_some()
    }

    /// Returns a placeholder, such as `[input_file report.pdf, application/pdf, 12,345 bytes]`, as the content of a JSON
    /// string. `kind` is the type of the part, as the content of a JSON string; `part` is the part.
    ///
    /// Without any content, the size of the part's JSON.
    #[must_use]
    pub(crate) fn placeholder(&self, kind: &[u8], part: &[u8]) -> Vec<u8> {
        let cut = |word| string::cut(word, MAX_WORD_CHARACTERS);
        let mut text = b"[".to_vec();
        text.extend_from_slice(if kind.is_empty() { b"part" } else { cut(kind) });
        if let Some(name) = self.name {
            text.push(b' ');
            text.extend_from_slice(cut(name));
        }
        let is_audio = memchr::memmem::find(kind, b"audio").is_some();
        match (&self.media_type, self.format.filter(|_| is_audio)) {
            (Some(media_type), _) if !media_type.is_empty() => text.extend([b", ", cut(media_type)].concat()),
            (_, Some(format)) => text.extend([b", audio/", cut(format)].concat()),
            _ => {}
        }
        match (self.size, self.url) {
            (None, Some(url)) => text.extend([b", ", cut(url)].concat()),
            (size, _) => text.extend(format!(", {}", bytes(size.unwrap_or(part.len()))).into_bytes()),
        }
        text.push(b']');
        text
    }
}

/// What a `data:` URL contains.
struct DataUrl {
    /// As the content of a JSON string.
    media_type: Vec<u8>,
    /// In bytes.
    size: usize,
}

impl DataUrl {
    /// Reads the content of a JSON string. Returns `None` if it is not a `data:` URL.
    fn read(content: &[u8]) -> Option<Self> {
        let data = content.strip_prefix(b"data:")?;
        let comma = memchr::memchr(b',', data)?;
        let (kind, body) = (&data[..comma], &data[comma + 1..]);
        let end = memchr::memchr(b';', kind).unwrap_or(kind.len());
        let size = if kind.ends_with(b";base64") { size_of(body) } else { string::count(body) };
        // A backslash is at most part of an escaped slash.
        let media_type = kind[..end].iter().copied().filter(|byte| *byte != b'\\').collect();
        Some(Self { media_type, size })
    }
}

/// Returns a JSON value with a placeholder in place of each `data:` URL and each long string of base64. Returns `None` if
/// it contains none.
#[must_use]
pub(crate) fn without_long_base64(json: &[u8]) -> Option<Vec<u8>> {
    if json.len() < LONG_BASE64_BYTES || !pieces(json).any(|piece| replacement(&piece).is_some()) {
        return None;
    }
    let mut shortened = Vec::new();
    for piece in pieces(json) {
        match replacement(&piece) {
            Some(placeholder) => shortened.extend_from_slice(&placeholder),
            None => shortened.extend_from_slice(piece.bytes),
        }
    }
    Some(shortened)
}

/// Returns the string that replaces a token, if it is a long string of base64.
fn replacement(token: &Piece<'_>) -> Option<Vec<u8>> {
    if !matches!(token.kind, PieceKind::String { .. }) || token.bytes.len() < LONG_BASE64_BYTES {
        return None;
    }
    let content = &token.bytes[1..token.bytes.len() - 1];
    if let Some(DataUrl { media_type, size }) = DataUrl::read(content) {
        return Some(
            [b"\"[", string::cut(&media_type, MAX_WORD_CHARACTERS), b", ", bytes(size).as_bytes(), b"]\""].concat(),
        );
    }
    is_base64(content).then(|| format!("\"[base64, {}]\"", bytes(size_of(content))).into_bytes())
}

/// Returns whether the content of a JSON string is base64, which may be folded into lines. Slashes may be escaped.
fn is_base64(content: &[u8]) -> bool {
    let mut rest = content;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        if !is_base64_digits(&rest[..at]) || !matches!(rest.get(at + 1), Some(b'/' | b'n' | b'r')) {
            return false;
        }
        rest = &rest[at + 2..];
    }
    is_base64_digits(rest)
}

/// Returns whether all bytes are digits of base64, in either of its alphabets, or padding.
fn is_base64_digits(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte))
}

/// Returns the number of bytes that base64 in a JSON string encodes.
fn size_of(content: &[u8]) -> usize {
    if !content.contains(&b'\\') {
        return base64_size(content);
    }
    let mut decoded = Vec::new();
    string::decode_string(content, &mut decoded);
    decoded.retain(|byte| !byte.is_ascii_whitespace());
    base64_size(&decoded)
}

/// Returns a number of bytes in words, with its digits in groups of three.
fn bytes(count: usize) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped} {}", if count == 1 { "byte" } else { "bytes" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placeholder(kind: &str, part: &str) -> String {
        let attachment = Attachment::read(part.as_bytes());
        String::from_utf8(attachment.placeholder(kind.as_bytes(), part.as_bytes())).expect("UTF-8")
    }

    #[test]
    fn a_placeholder_names_type_media_type_and_size() {
        for (kind, part, expected) in [
            (
                "input_audio",
                r#"{"type":"input_audio","audio_url":"data:audio/wav;base64,UklGRg=="}"#,
                "[input_audio, audio/wav, 4 bytes]",
            ),
            ("input_audio", r#"{"input_audio":{"data":"UklG","format":"mp3"}}"#, "[input_audio, audio/mp3, 3 bytes]"),
            ("audio", r#"{"data":"Uk\nlG","mimeType":"audio\/ogg"}"#, r"[audio, audio\/ogg, 3 bytes]"),
            ("a", r#"{"x":"data:audio\/wav;base64,AA=="}"#, "[a, audio/wav, 1 byte]"),
            ("a", r#"{"x":"data:text/plain,a\nb"}"#, "[a, text/plain, 3 bytes]"),
            (
                "input_file",
                r#"{"filename":"report.pdf","file_data":"data:application/pdf;base64,AAAA"}"#,
                "[input_file report.pdf, application/pdf, 3 bytes]",
            ),
            ("input_file", r#"{"file_url":"https://example.org/a.pdf"}"#, "[input_file, https://example.org/a.pdf]"),
            ("new", r#"{"x":[1]}"#, "[new, 9 bytes]"),
            ("", "{}", "[part, 2 bytes]"),
        ] {
            assert_eq!(placeholder(kind, part), expected);
        }
        let long = format!(r#"{{"anything":"{}"}}"#, "AAAA".repeat(400_000));
        assert_eq!(placeholder("new", &long), "[new, 1,200,000 bytes]");
    }

    #[test]
    fn long_base64_is_replaced_wherever_it_is() {
        let (long, short) = ("AAA/".repeat(128), "AAA/".repeat(100));
        let json = format!(r#"[{{"a":"{long}"}}, "data:audio/wav;base64,{long}","{short}"]"#);
        let expected = format!(r#"[{{"a":"[base64, 384 bytes]"}}, "[audio/wav, 384 bytes]","{short}"]"#);
        let shortened = without_long_base64(json.as_bytes()).expect("it contains some");
        assert_eq!(String::from_utf8(shortened).expect("UTF-8"), expected);
    }

    #[test]
    fn other_text_stays() {
        for text in ["a b ".repeat(1000), "é".repeat(1000), r"A\u0041".repeat(1000), r"AAA\t".repeat(1000)] {
            assert_eq!(without_long_base64(format!(r#"["{text}",1]"#).as_bytes()), None);
        }
        assert_eq!(without_long_base64(format!("[{}]", "1".repeat(1000)).as_bytes()), None);
    }
}
