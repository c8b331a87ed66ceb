//! A JSON value in the form that Python's `json.dumps` gives it.
//!
//! The published converter writes values that are no text (a tool's output that is an object, say) in the compact form,
//! and hashes them so; records and ids are the same only if this form is. mngr prints transcripts in both.

use super::block::find_quote;
use super::string;

/// Objects of more members than this keep repeated keys, and their order: so that the memory needed has a bound.
const MOST_MEMBERS: usize = 256;

/// Values nested deeper than this are written as they stand.
const MOST_DEPTH: usize = 64;

/// The same where each level is a line of its own. Python itself goes no deeper than some 300 to 1,000 levels.
const MOST_DEPTH_INDENTED: usize = 512;

/// A string's text is handed over in pieces of about this many bytes.
const LONG: usize = 64 << 10;

/// Takes the text of a dump, piece by piece; `false` means that no more is wanted.
pub type Sink<'s> = dyn FnMut(&[u8]) -> bool + 's;

/// How a dump is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Without white space, `separators=(",", ":")`; with `sort_keys` of that name.
    Compact { sort_keys: bool },
    /// As with `indent=2`, for a value that stands so many levels deep in the whole.
    Indented { level: usize },
}

impl Layout {
    fn sort_keys(self) -> bool {
        self == Self::Compact { sort_keys: true }
    }

    fn most_depth(self) -> usize {
        match self {
            Self::Compact { .. } => MOST_DEPTH,
            Self::Indented { .. } => MOST_DEPTH_INDENTED,
        }
    }

    fn colon(self) -> &'static [u8] {
        match self {
            Self::Compact { .. } => b":",
            Self::Indented { .. } => b": ",
        }
    }

    /// Writes what stands between a bracket or comma and the next token, at a depth inside the value.
    fn break_line(self, depth: usize, sink: &mut Sink<'_>) -> bool {
        const BLANKS: [u8; 64] = [b' '; 64];
        let Self::Indented { level } = self else { return true };
        let mut blanks = 2 * (level + depth);
        let mut goes_on = sink(b"\n");
        while goes_on && blanks > 0 {
            let count = blanks.min(BLANKS.len());
            goes_on = sink(&BLANKS[..count]);
            blanks -= count;
        }
        goes_on
    }
}

/// Writes `value`, which must be valid JSON, to `sink`; gives `false` where the sink wanted no more.
///
/// With `sort_keys` the members of objects come in the order of their keys, as Python's option of that name has it.
pub fn dump(value: &[u8], sort_keys: bool, sink: &mut Sink<'_>) -> bool {
    dump_at(value, Layout::Compact { sort_keys }, 0, sink)
}

/// Appends `value`, which must be valid JSON, as `json.dumps(value, indent=2)` gives it where it stands `level` levels
/// deep in a larger one.
pub fn dump_indented(value: &[u8], level: usize, out: &mut Vec<u8>) {
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
            for stretch in string::stretches(&value[1..value.len() - 1]) {
                decoded.clear();
                string::decode(stretch, &mut decoded);
                string::escape_to_ascii(&decoded, &mut text);
                if text.len() >= LONG {
                    if !sink(&text) {
                        return false;
                    }
                    text.clear();
                }
            }
            text.push(b'"');
            sink(&text)
        }
        Some(b'{' | b'[') if depth >= layout.most_depth() => sink(value),
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
            && dump_at(key, layout, layout.most_depth(), sink)
            && sink(layout.colon())
            && dump_at(member, layout, depth + 1, sink)
    };
    let close = |separator: &[u8], sink: &mut Sink<'_>| {
        if separator == b"{" { sink(b"{}") } else { layout.break_line(depth, sink) && sink(b"}") }
    };
    let mut separator: &[u8] = b"{";
    if Members::of(value).take(MOST_MEMBERS + 1).count() > MOST_MEMBERS {
        for (key, member) in Members::of(value) {
            if !write(separator, key, member, sink) {
                return false;
            }
            separator = b",";
        }
        return close(separator, sink);
    }
    // A repeated key keeps its first place and its last value, as in a Python dict.
    let mut members: Vec<(Vec<u8>, &[u8], &[u8])> = Vec::new();
    for (key, member) in Members::of(value) {
        let mut name = Vec::new();
        string::decode(&key[1..key.len() - 1], &mut name);
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

/// Python keeps integers of any size and writes other numbers as the shortest text that gives the same double.
fn dump_number(value: &[u8], sink: &mut Sink<'_>) -> bool {
    if !value.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        return sink(if value == b"-0" { b"0" } else { value });
    }
    let number: f64 = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
    if !number.is_finite() {
        // Python reads a number beyond the double's range as infinity, for which JSON has no word.
        return sink(value);
    }
    sink(python_float(number).as_bytes())
}

/// `repr` of a finite Python float.
pub(crate) fn python_float(number: f64) -> String {
    // Rust gives the same shortest digits as Python, `d.ddde±x`; Python spells out exponents from -4 to 15.
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

/// Goes over the members of an object (key token and value) or an array (empty key) of valid JSON.
pub struct Members<'a> {
    rest: &'a [u8],
    is_object: bool,
}

impl<'a> Members<'a> {
    /// The members of `container`, which must be valid JSON; none where it is no container.
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
            let end = token_end(self.rest);
            key = &self.rest[..end];
            self.rest = self.rest[end..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        }
        let (value, rest) = self.rest.split_at(token_end(self.rest));
        self.rest = rest.trim_ascii_start();
        self.rest = self.rest.strip_prefix(b",").unwrap_or(self.rest).trim_ascii_start();
        Some((key, value))
    }
}

/// Where the value ends that `text` starts with.
fn token_end(text: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' => {
                at = string_end(text, at);
                if depth == 0 {
                    return at;
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return if depth == 1 { at + 1 } else { at },
            b'}' | b']' => depth -= 1,
            b',' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    at
}

/// The place behind the string that starts at `at`.
pub(super) fn string_end(text: &[u8], at: usize) -> usize {
    let content = text.get(at + 1..).unwrap_or_default();
    find_quote(content, &mut false).map_or(text.len(), |quote| at + quote + 2)
}

/// Goes over valid JSON without its white space: strings, and what stands between them.
fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let mut at = 0;
    std::iter::from_fn(move || {
        at += value[at..].iter().position(|byte| !is_blank(byte))?;
        let rest = &value[at..];
        let end = match rest[0] {
            b'"' => string_end(rest, 0),
            _ => rest.iter().position(|byte| *byte == b'"' || is_blank(byte)).unwrap_or(rest.len()),
        };
        at += end;
        Some(&rest[..end])
    })
}

/// Goes over valid JSON without the white space between its tokens, in pieces that end between characters.
pub fn compacted(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    tokens(value).flat_map(string::stretches)
}

/// Appends valid JSON without the white space between its tokens.
pub fn compact(value: &[u8], out: &mut Vec<u8>) {
    tokens(value).for_each(|token| out.extend_from_slice(token));
}

/// As [`compact`], with no escapes in strings but those that must be, in their shortest form.
pub fn compact_unescaped(value: &[u8], out: &mut Vec<u8>) {
    let mut decoded = Vec::new();
    for token in tokens(value) {
        if let [b'"', content @ .., b'"'] = token {
            out.push(b'"');
            for stretch in string::stretches(content) {
                decoded.clear();
                string::decode(stretch, &mut decoded);
                string::escape(&decoded, out);
            }
            out.push(b'"');
        } else {
            out.extend_from_slice(token);
        }
    }
}

/// How deep the containers of valid JSON are nested.
#[must_use]
pub fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests;
