//! Damages rollouts in the ways in which files are damaged: by crashes, full disks, editors, and programs that join or
//! rewrite lines.

use serde_json::{Map, Value};

use crate::random_inputs::Random;

/// A kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The file ends anywhere.
    CutFile,
    /// A line lacks its end. If its newline is missing too, the rest is glued to the next line.
    CutLine,
    /// A line lacks its beginning.
    Behead,
    /// Two lines are one, because the newline between them is missing.
    Glue,
    /// A line occurs twice.
    Duplicate,
    /// Two neighbors are in the other order.
    Swap,
    /// A line is missing.
    Drop,
    /// NULs before a line or in it, as in a file whose blocks were not written.
    Nuls,
    /// A byte order mark at the start of the file or of a line.
    ByteOrderMark,
    /// Lines end with CR and LF.
    Crlf,
    /// The members of a line and of its payload are in another order.
    KeyOrder,
    /// A line is written as `json.dumps` of Python writes it.
    Rewrite,
    /// Something follows the object in a line.
    Junk,
    /// A line without text.
    Blank,
    /// The last line lacks its newline, and possibly more of its end.
    CutLastLine,
    /// A byte has another value.
    Flip,
}

const KINDS: [Kind; 16] = [
    Kind::CutFile,
    Kind::CutLine,
    Kind::Behead,
    Kind::Glue,
    Kind::Duplicate,
    Kind::Swap,
    Kind::Drop,
    Kind::Nuls,
    Kind::ByteOrderMark,
    Kind::Crlf,
    Kind::KeyOrder,
    Kind::Rewrite,
    Kind::Junk,
    Kind::Blank,
    Kind::CutLastLine,
    Kind::Flip,
];

const JUNK: [&[u8]; 9] = [b"x", b"}", b"]}", b",", b" null", b"\0\0\0", b"{", b"{\"a\":1}", b"\xff\xfe \x1b[0m"];

/// One damage. Its position and its details depend on the seed, and on the bytes it is applied to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Damage {
    pub(crate) kind: Kind,
    seed: u64,
}

impl Damage {
    pub(crate) fn random(random: &mut Random) -> Self {
        Self { kind: *random.pick(&KINDS), seed: random.number() }
    }

    /// Returns the damaged bytes.
    pub(crate) fn apply(self, bytes: &[u8]) -> Vec<u8> {
        let random = &mut Random::new(self.seed);
        let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        if lines.is_empty() {
            return Vec::new();
        }
        let at = random.below(lines.len());
        let is_everywhere = random.one_in(4);
        let targets = if is_everywhere { 0..lines.len() } else { at..at + 1 };
        match self.kind {
            Kind::CutFile => {
                let mut bytes = bytes.to_vec();
                bytes.truncate(random.below(bytes.len()));
                return bytes;
            }
            Kind::CutLine => {
                let end = random.below(lines[at].len());
                lines[at].truncate(end);
                if random.one_in(2) {
                    lines[at].push(b'\n');
                }
            }
            Kind::Behead => {
                let end = random.below(lines[at].len());
                lines[at].drain(..end);
            }
            Kind::Glue => drop(lines[at].pop_if(|last| *last == b'\n')),
            Kind::Duplicate => {
                end_line(&mut lines[at]);
                lines.insert(at, lines[at].clone());
            }
            Kind::Swap if at + 1 < lines.len() => {
                end_line(&mut lines[at + 1]);
                lines.swap(at, at + 1);
            }
            Kind::Drop => drop(lines.remove(at)),
            Kind::Nuls => {
                let count = *random.pick(&[1, 2, 16, 512, 4096, 10_000]);
                let start = if random.one_in(3) { random.below(lines[at].len()) } else { 0 };
                lines[at].splice(start..start, std::iter::repeat_n(0, count));
            }
            Kind::ByteOrderMark => drop(lines[if is_everywhere { 0 } else { at }].splice(0..0, *b"\xef\xbb\xbf")),
            Kind::Crlf => lines[targets].iter_mut().for_each(|line| {
                if line.pop_if(|last| *last == b'\n').is_some() {
                    line.extend(b"\r\n");
                }
            }),
            Kind::KeyOrder => lines[targets].iter_mut().for_each(|line| {
                rewrite(line, |value| {
                    shuffle(value, random);
                    value["payload"].as_object_mut().is_some().then(|| shuffle(&mut value["payload"], random));
                    serde_json::to_string(value).expect("JSON")
                });
            }),
            Kind::Rewrite => {
                let is_ascii = random.one_in(2);
                lines[targets].iter_mut().for_each(|line| rewrite(line, |value| python_json(value, is_ascii)));
            }
            Kind::Junk => {
                let end = lines[at].len() - usize::from(lines[at].ends_with(b"\n"));
                lines[at].splice(end..end, random.pick(&JUNK).iter().copied());
            }
            Kind::Blank => lines.insert(at, random.pick(&[&b"\n"[..], b"  \n", b"\r\n", b"\t\n"]).to_vec()),
            Kind::CutLastLine => {
                let last = lines.last_mut().expect("a line");
                let end = last.len() - 1;
                last.truncate(if random.one_in(2) { random.below(end) } else { end });
            }
            Kind::Flip => {
                let byte = random.below(lines[at].len());
                lines[at][byte] ^= if random.one_in(2) { 1 << random.below(8) } else { random.byte() };
            }
            Kind::Swap => {}
        }
        lines.concat()
    }
}

fn end_line(line: &mut Vec<u8>) {
    if !line.ends_with(b"\n") {
        line.push(b'\n');
    }
}

/// Replaces a line that is a JSON object by another text for it.
fn rewrite(line: &mut Vec<u8>, text: impl FnOnce(&mut Value) -> String) {
    if let Ok(mut value @ Value::Object(_)) = serde_json::from_slice::<Value>(line) {
        *line = text(&mut value).into_bytes();
        line.push(b'\n');
    }
}

fn shuffle(object: &mut Value, random: &mut Random) {
    let Some(members) = object.as_object_mut() else { return };
    let mut rest: Vec<(String, Value)> = std::mem::take(members).into_iter().collect();
    while !rest.is_empty() {
        members.extend([rest.swap_remove(random.below(rest.len()))]);
    }
}

/// Returns a value as `json.dumps` writes it: with spaces after colons and commas, and by default in ASCII.
fn python_json(value: &Value, is_ascii: bool) -> String {
    let nested = |value: &Value| python_json(value, is_ascii);
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(nested).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| format!("{}: {}", string(key, is_ascii), nested(value));
            format!("{{{}}}", Map::iter(members).map(member).collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => string(text, is_ascii),
        other => other.to_string(),
    }
}

fn string(text: &str, is_ascii: bool) -> String {
    let text = serde_json::to_string(text).expect("JSON");
    if !is_ascii || text.is_ascii() {
        return text;
    }
    let escape = |unit: u16| match u8::try_from(unit) {
        Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
        _ => format!("\\u{unit:04x}"),
    };
    text.encode_utf16().map(escape).collect()
}
