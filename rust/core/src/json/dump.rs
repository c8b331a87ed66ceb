//! JSON values as Python's `json.dumps` formats them.
//!
//! The published converter writes and hashes values other than strings, such as the output of a tool that is an object,
//! in the compact format. Our records and ids are the same only if the format is the same. mngr prints transcripts in
//! both formats.

use super::string;
use super::walk::{PieceKind, pieces, value_length};

/// Objects with more members than this keep repeated keys and the order of their keys, so that memory use is bounded.
const MAX_MEMBERS: usize = 256;

/// Values nested deeper than this are copied unchanged.
const MAX_DEPTH: usize = 64;

/// The same limit for indented values. Python itself supports some 300 to 1,000 levels.
const MAX_DEPTH_INDENTED: usize = 512;

/// Long strings are passed to the sink in chunks of about this many bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// Receives a dump in pieces. Returns `false` to stop.
pub(crate) type Sink<'s> = dyn FnMut(&[u8]) -> bool + 's;

/// The layout of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Without white space, like `separators=(",", ":")`; `sort_keys` is Python's option.
    Compact { sort_keys: bool },
    /// Like `indent=2`, for a value nested `level` levels deep in a larger one.
    Indented { level: usize },
}

impl Layout {
    fn sort_keys(self) -> bool {
        self == Self::Compact { sort_keys: true }
    }

    fn max_depth(self) -> usize {
        match self {
            Self::Compact { .. } => MAX_DEPTH,
            Self::Indented { .. } => MAX_DEPTH_INDENTED,
        }
    }

    fn colon(self) -> &'static [u8] {
        match self {
            Self::Compact { .. } => b":",
            Self::Indented { .. } => b": ",
        }
    }

    /// Starts a new line after a bracket or a comma, for a token nested `depth` levels deep in the value.
    fn break_line(self, depth: usize, sink: &mut Sink<'_>) -> bool {
        const BLANKS: [u8; 64] = [b' '; 64];
        let Self::Indented { level } = self else { return true };
        let mut blanks = 2 * (level + depth);
        let mut wants_more = sink(b"\n");
        while wants_more && blanks > 0 {
            let count = blanks.min(BLANKS.len());
            wants_more = sink(&BLANKS[..count]);
            blanks -= count;
        }
        wants_more
    }
}

/// Writes `value`, which must be valid JSON, to `sink` in the compact format. Returns `false` if the sink stopped.
///
/// With `sort_keys`, the members of objects are sorted by their keys, like Python's option of that name does.
pub fn write_python_json(value: &[u8], sort_keys: bool, sink: &mut Sink<'_>) -> bool {
    dump_at(value, Layout::Compact { sort_keys }, 0, sink)
}

/// Appends `value`, which must be valid JSON, to `out` as `json.dumps(…, indent=2)` writes it `level` levels deep in a
/// larger value.
pub fn write_python_json_indented(value: &[u8], level: usize, out: &mut Vec<u8>) {
    dump_at(value, Layout::Indented { level }, 0, &mut |piece| {
        out.extend_from_slice(piece);
        true
    });
}

fn dump_at(value: &[u8], layout: Layout, depth: usize, sink: &mut Sink<'_>) -> bool {
    let value = value.trim_ascii();
    match value.first() {
        Some(b'"') => {
            let (mut decoded, mut text) = (Vec::new(), vec![b'"']);
            for chunk in string::chunks(&value[1..value.len() - 1]) {
                decoded.clear();
                string::decode_string(chunk, &mut decoded);
                string::escape_to_ascii(&decoded, &mut text);
                if text.len() >= CHUNK_BYTES {
                    if !sink(&text) {
                        return false;
                    }
                    text.clear();
                }
            }
            text.push(b'"');
            sink(&text)
        }
        Some(b'{' | b'[') if depth >= layout.max_depth() => sink(value),
        Some(b'[') => {
            let mut separator: &[u8] = b"[";
            for (_, element) in Members::of(value) {
                let opened = sink(separator) && layout.break_line(depth + 1, sink);
                if !(opened && dump_at(element, layout, depth + 1, sink)) {
                    return false;
                }
                separator = b",";
            }
            if separator == b"[" { sink(b"[]") } else { layout.break_line(depth, sink) && sink(b"]") }
        }
        Some(b'{') => dump_object(value, layout, depth, sink),
        Some(b'-' | b'0'..=b'9') => dump_number(value, sink),
        _ => sink(value),
    }
}

fn dump_object(value: &[u8], layout: Layout, depth: usize, sink: &mut Sink<'_>) -> bool {
    let write = |separator: &[u8], key: &[u8], member: &[u8], sink: &mut Sink<'_>| {
        sink(separator)
            && layout.break_line(depth + 1, sink)
            && dump_at(key, layout, layout.max_depth(), sink)
            && sink(layout.colon())
            && dump_at(member, layout, depth + 1, sink)
    };
    let close = |separator: &[u8], sink: &mut Sink<'_>| {
        if separator == b"{" { sink(b"{}") } else { layout.break_line(depth, sink) && sink(b"}") }
    };
    let mut separator: &[u8] = b"{";
    if Members::of(value).take(MAX_MEMBERS + 1).count() > MAX_MEMBERS {
        for (key, member) in Members::of(value) {
            if !write(separator, key, member, sink) {
                return false;
            }
            separator = b",";
        }
        return close(separator, sink);
    }
    // A repeated key keeps its first position and its last value, as in a Python dict.
    let mut members: Vec<(Vec<u8>, &[u8], &[u8])> = Vec::new();
    for (key, member) in Members::of(value) {
        let mut name = Vec::new();
        string::decode_string(&key[1..key.len() - 1], &mut name);
        match members.iter_mut().find(|known| known.0 == name) {
            Some(known) => known.2 = member,
            None => members.push((name, key, member)),
        }
    }
    if layout.sort_keys() {
        members.sort_by(|one, other| one.0.cmp(&other.0));
    }
    for (_, key, member) in members {
        if !write(separator, key, member, sink) {
            return false;
        }
        separator = b",";
    }
    close(separator, sink)
}

/// Writes a number. Python keeps all digits of integers, and writes floats as the shortest text with the same value.
fn dump_number(value: &[u8], sink: &mut Sink<'_>) -> bool {
    if !value.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        return sink(if value == b"-0" { b"0" } else { value });
    }
    let number: f64 = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
    if !number.is_finite() {
        // Python reads a number outside the range of floats as infinity, which JSON cannot express.
        return sink(value);
    }
    sink(python_float(number).as_bytes())
}

/// Returns Python's `repr` of a finite float.
pub(crate) fn python_float(number: f64) -> String {
    // Rust's `d.ddde±x` has the same shortest digits as Python's. Python writes no exponent if it is from -4 to 15.
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = number.to_string();
        if plain.contains('.') { plain } else { plain + ".0" }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{digits}e{sign}{:02}", exponent.abs())
    }
}

/// Iterates over the members of an object, as key token and value, or over the elements of an array, with empty keys.
pub struct Members<'a> {
    rest: &'a [u8],
    is_object: bool,
}

impl<'a> Members<'a> {
    /// Returns the members of `container`, which must be valid JSON. Yields nothing if it is not a container.
    #[must_use]
    pub fn of(container: &'a [u8]) -> Self {
        let container = container.trim_ascii();
        let inner = match container {
            [b'{' | b'[', inner @ .., _] => inner.trim_ascii(),
            _ => &[],
        };
        Self { rest: inner, is_object: container.first() == Some(&b'{') }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let mut key: &[u8] = &[];
        if self.is_object {
            (key, self.rest) = self.rest.split_at(value_length(self.rest));
            self.rest = self.rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        }
        let (value, rest) = self.rest.split_at(value_length(self.rest));
        self.rest = rest.trim_ascii_start();
        self.rest = self.rest.strip_prefix(b",").unwrap_or(self.rest).trim_ascii_start();
        Some((key, value))
    }
}

/// Returns the tokens of valid JSON.
fn tokens(json: &[u8]) -> impl Iterator<Item = &[u8]> {
    pieces(json).filter(|piece| piece.kind != PieceKind::Blank).map(|piece| piece.bytes)
}

/// Returns valid JSON without the white space between its tokens, in chunks that end between characters.
pub(crate) fn compact_chunks(json: &[u8]) -> impl Iterator<Item = &[u8]> {
    tokens(json).flat_map(string::chunks)
}

/// Appends valid JSON to `out` without the white space between its tokens.
pub fn write_compact_json(json: &[u8], out: &mut Vec<u8>) {
    tokens(json).for_each(|token| out.extend_from_slice(token));
}

/// Does the same as [`write_compact_json`], and writes strings with only the necessary escapes, in their shortest form.
pub(crate) fn compact_unescaped(json: &[u8], out: &mut Vec<u8>) {
    let mut decoded = Vec::new();
    for token in tokens(json) {
        if let [b'"', content @ .., b'"'] = token {
            out.push(b'"');
            for chunk in string::chunks(content) {
                decoded.clear();
                string::decode_string(chunk, &mut decoded);
                string::escape(&decoded, out);
            }
            out.push(b'"');
        } else {
            out.extend_from_slice(token);
        }
    }
}

/// Returns how deep the containers of valid JSON are nested.
#[must_use]
pub(crate) fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for piece in pieces(json) {
        match piece.kind {
            PieceKind::Open => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            PieceKind::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests;
