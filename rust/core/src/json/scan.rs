//! The scanner: checks a text in one pass and records the values that readers ask for.
//!
//! The grammar is exactly RFC 8259's: no `NaN`, no control characters in strings, no trailing commas. The scanner does
//! not check whether a text is UTF-8, but it reports whether there are any non-ASCII bytes.

// The scanner loads blocks from raw pointers without checking bounds: see the invariant of `Scanner`.
#![allow(unsafe_code)]

use super::block::{Block, escapes};
use super::dispatch::{Instructions, dispatch};
use super::tape::{Content, Kind, Tape, Value};
use super::{Key, Text};

/// How deep containers may be nested. Each level takes one bit, so this is at most 2 MiB.
const MAX_DEPTH: usize = 1 << 24;

/// The maximum number of values that are recorded for one text. Lines of Codex have some dozens. If a container would
/// exceed this, only its extent is recorded.
const MAX_VALUES: usize = 1 << 15;

/// How deep containers may be nested for their values to be recorded. No reader needs more.
const MAX_RECORDED_DEPTH: usize = 12;

/// The position and the reason at which a text stops being a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The offset of the first wrong byte from the start of the text.
    pub at: usize,
    /// The reason.
    pub reason: &'static str,
}

/// The reason if a text does not begin like an object.
pub const NOT_AN_OBJECT: &str = "not a JSON object";

/// The reason if more text follows a complete object. The position points to the first byte after white space.
pub(crate) const TEXT_FOLLOWS: &str = "text follows the object";

const UNCLOSED: &str = "the line ends inside a value";

/// Checks that `text` is one JSON object and nothing else, and records its values on `tape`.
///
/// # Errors
///
/// Returns [`Malformed`] with the offset of the first wrong byte if it is not.
#[inline]
pub(crate) fn scan(text: Text<'_>, tape: &mut Tape) -> Result<(), Malformed> {
    scan_with(Instructions::best(), text, 0, tape)
}

/// Does the same as [`scan`] for an object whose beginning is known to be valid: its members before the payload, and the
/// payload's key.
///
/// The scan starts at `payload`, the offset of the payload's first byte, and records the payload as the first member. If
/// `payload` is 0, the complete text is scanned.
///
/// # Errors
///
/// Returns [`Malformed`] with the offset of the first wrong byte if the text is not one object.
#[inline]
pub(crate) fn scan_from_payload(text: Text<'_>, payload: usize, tape: &mut Tape) -> Result<(), Malformed> {
    scan_with(Instructions::best(), text, payload, tape)
}

dispatch! {
    #[inline]
    fn scan_with(text: Text<'_>, payload: usize, tape: &mut Tape) -> Result<(), Malformed> = scan_in;
}

/// # Safety
///
/// The processor must have the instructions of `B`.
#[inline(always)]
unsafe fn scan_in<B: Block>(text: Text<'_>, payload: usize, tape: &mut Tape) -> Scanned<()> {
    tape.values.clear();
    tape.open.clear();
    tape.has_non_ascii = false;
    tape.has_blank = false;
    tape.depth = 0;
    let (padded, len) = (text.padded(), text.bytes().len());
    if u32::try_from(padded.len()).is_err() {
        return Err(Malformed { at: 0, reason: "the line is 4 GiB or longer" });
    }
    // This is also true of an empty text.
    if payload >= len {
        return Err(Malformed { at: 0, reason: NOT_AN_OBJECT });
    }
    let mut scanner = Scanner::<B> { start: padded.as_ptr(), len, text, tape, block: std::marker::PhantomData };
    // SAFETY: `payload` is less than `len`, `skip_blank` and `object` return offsets of at most `len`, and the caller
    // guarantees the instructions.
    unsafe {
        let mut at = payload;
        if payload > 0 {
            scanner.open_root();
        } else {
            at = scanner.skip_blank(0);
        }
        if scanner.byte(at) != b'{' {
            return Err(Malformed { at, reason: NOT_AN_OBJECT });
        }
        let end = scanner.object(at)?;
        let at = scanner.skip_blank(end);
        if at == len { Ok(()) } else { Err(Malformed { at, reason: TEXT_FOLLOWS }) }
    }
}

/// The scan of one text. Its functions are inlined into a function that is compiled for the block's instructions, and may only
/// be called there.
///
/// Invariant: every offset that is passed to an unsafe function is at most `len`. The byte at `len` is a newline. No token
/// contains a newline, so no token extends past it. [`PADDING`](super::block::PADDING) bytes follow the newline, so a
/// block that is loaded from an offset of at most `len` is inside the buffer.
struct Scanner<'a, 't, B> {
    /// The first byte of the text.
    start: *const u8,
    /// The length of the text.
    len: usize,
    text: Text<'a>,
    tape: &'t mut Tape,
    block: std::marker::PhantomData<B>,
}

/// The name of a key: its offsets and its content. All zero for an element of an array.
#[derive(Clone, Copy, Default)]
struct KeyName {
    start: usize,
    end: usize,
    content: Content,
}

type Scanned<T> = Result<T, Malformed>;

impl<B: Block> Scanner<'_, '_, B> {
    /// Records the object around a payload, without the members before the payload.
    #[inline(always)]
    fn open_root(&mut self) {
        let root = self.record(Kind::Object, Content::default(), Key::Other, KeyName::default(), 0, 0);
        self.tape.values[root].is_entered = true;
        self.tape.open.push(to_u32(root));
        self.tape.depth = 1;
    }

    /// Returns the byte at offset `at`.
    ///
    /// # Safety
    ///
    /// `at` must be at most `len`.
    #[inline(always)]
    unsafe fn byte(&self, at: usize) -> u8 {
        debug_assert!(at <= self.len);
        // SAFETY: The caller guarantees that `at` is at most `len`, and the buffer has a byte there.
        unsafe { *self.start.add(at) }
    }

    /// Returns the offset of the first byte from `at` on that is not white space.
    #[inline(always)]
    unsafe fn skip_blank(&mut self, mut at: usize) -> usize {
        // SAFETY: `at` is at most `len`, because it only advances while it is less.
        unsafe {
            if self.byte(at) > b' ' {
                return at;
            }
            while at < self.len && matches!(self.byte(at), b' ' | b'\t' | b'\r' | b'\n') {
                at += 1;
                self.tape.has_blank = true;
            }
        }
        at
    }

    /// Scans a string from the byte after its opening quote. Returns the offset of its closing quote.
    #[inline(always)]
    unsafe fn string(&mut self, at: usize) -> Scanned<(usize, Content)> {
        // SAFETY: `at` is at most `len`, so the block is inside the buffer. If a quote is found after `len`, the newline at
        // `len` is before it, and the string is not plain.
        unsafe {
            let block = B::load(self.start.add(at));
            let quotes = block.equal(b'"');
            // Most strings are plain and end in the first block.
            if quotes != 0 && block.not_plain() & before(quotes) == 0 {
                return Ok((at + quotes.trailing_zeros() as usize, Content::default()));
            }
            self.any_string(at)
        }
    }

    /// Does the same as [`Self::string`], block by block.
    #[inline(always)]
    unsafe fn any_string(&mut self, mut at: usize) -> Scanned<(usize, Content)> {
        let mut content = 0_u8;
        // 1 if the first byte of the next block is escaped by the last byte of this block.
        let mut carried = 0;
        // SAFETY: `at` is at most `len`: it only advances past a block without control characters, so past no newline. So the
        // block is inside the buffer, and so are the bytes of `rare`, which are before the first wrong byte.
        unsafe {
            loop {
                let block = B::load(self.start.add(at));
                let (_, escaped) = escapes::<B>(block.equal(b'\\'), &mut carried);
                let quotes = block.equal(b'"') & !escaped;
                let inside = before(quotes);
                let escaped = escaped & inside;
                let mut wrong = block.control() & inside;
                let common = block.equal(b'n') | block.equal(b't') | block.equal(b'"') | block.equal(b'\\');
                // Only bytes before the first wrong byte matter. The newline at the end of the text is a wrong byte.
                let rare = escaped & !common & before(wrong);
                if rare != 0 {
                    let unicode;
                    (wrong, unicode) = self.check_escapes(at, rare, wrong);
                    content |= if unicode == 0 { 0 } else { Content::UNICODE_ESCAPE };
                }
                if wrong != 0 {
                    return Err(self.wrong(at + wrong.trailing_zeros() as usize));
                }
                content |= if escaped == 0 { 0 } else { Content::ESCAPE };
                content |= if block.non_ascii() & inside == 0 { 0 } else { Content::NON_ASCII };
                if quotes != 0 {
                    self.tape.has_non_ascii |= content & Content::NON_ASCII != 0;
                    return Ok((at + quotes.trailing_zeros() as usize, Content(content)));
                }
                at += B::LANES;
            }
        }
    }

    /// Checks the escaped bytes `rare` of the block at `base`, which are neither quotes, backslashes, `n` nor `t`.
    ///
    /// Returns `wrong` with the invalid escapes added, and the escapes of the form `\uXXXX`.
    #[inline(always)]
    unsafe fn check_escapes(&self, base: usize, mut rare: u64, mut wrong: u64) -> (u64, u64) {
        let mut unicode = 0;
        // SAFETY: The caller guarantees that the bytes in `rare` are before the newline at `len`.
        unsafe {
            while rare != 0 {
                let lane = rare.trailing_zeros();
                let at = base + lane as usize;
                rare &= rare - 1;
                match self.byte(at) {
                    b'r' | b'/' | b'b' | b'f' => {}
                    b'u' => {
                        // The four bytes after `at` are inside the buffer, because `at` is less than `len`.
                        let digits = self.start.add(at + 1).cast::<[u8; 4]>().read_unaligned();
                        unicode |= 1 << lane;
                        wrong |= u64::from(!digits.iter().all(u8::is_ascii_hexdigit)) << lane;
                    }
                    _ => wrong |= 1 << lane,
                }
            }
        }
        (wrong, unicode)
    }

    /// Returns the error for the wrong byte of a string at `at`.
    #[cold]
    fn wrong(&self, at: usize) -> Malformed {
        let reason = match self.text.padded()[at] {
            _ if at == self.len => UNCLOSED,
            ..b' ' => "control character in a string",
            b'u' => "\\u escape without four hexadecimal digits",
            _ => "invalid escape",
        };
        Malformed { at, reason }
    }

    /// Scans a number. Returns the offset after it.
    #[inline(always)]
    unsafe fn number(&self, mut at: usize) -> Scanned<(usize, Kind)> {
        let mut kind = Kind::Integer;
        // SAFETY: `at` is at most `len`, because it only advances past bytes that are not newlines.
        unsafe {
            if self.byte(at) == b'-' {
                at += 1;
            }
            if self.byte(at) == b'0' {
                at += 1;
            } else {
                at = self.digits(at)?;
            }
            if self.byte(at) == b'.' {
                at = self.digits(at + 1)?;
                kind = Kind::Float;
            }
            if matches!(self.byte(at), b'e' | b'E') {
                at += 1;
                if matches!(self.byte(at), b'+' | b'-') {
                    at += 1;
                }
                at = self.digits(at)?;
                kind = Kind::Float;
            }
        }
        Ok((at, kind))
    }

    /// Scans one or more digits. Returns the offset after them.
    #[inline(always)]
    unsafe fn digits(&self, mut at: usize) -> Scanned<usize> {
        let first = at;
        // SAFETY: `at` is at most `len`, because it only advances past digits, and a digit is not a newline.
        while unsafe { self.byte(at) }.is_ascii_digit() {
            at += 1;
        }
        if at == first { Err(Malformed { at, reason: "number without digits" }) } else { Ok(at) }
    }

    /// Scans `true`, `false`, `null` or a number.
    #[inline(always)]
    unsafe fn scalar(&self, at: usize) -> Scanned<(usize, Kind)> {
        // SAFETY: `at` is at most `len`, and the padding is longer than a word. A word has no newline, so the offset after one
        // is at most `len`.
        unsafe {
            let (word, kind): (&[u8], Kind) = match self.byte(at) {
                b'-' | b'0'..=b'9' => return self.number(at),
                b't' => (b"true", Kind::True),
                b'f' => (b"false", Kind::False),
                b'n' => (b"null", Kind::Null),
                _ => {
                    let reason = if at == self.len { UNCLOSED } else { "expected a value" };
                    return Err(Malformed { at, reason });
                }
            };
            if std::slice::from_raw_parts(self.start.add(at), word.len()) == word {
                Ok((at + word.len(), kind))
            } else {
                Err(Malformed { at, reason: "expected a value" })
            }
        }
    }

    /// Scans a key, its colon and the white space around the colon. Returns the key's name and the offset of the value.
    #[inline(always)]
    unsafe fn key(&mut self, at: usize) -> Scanned<(KeyName, usize)> {
        // SAFETY: `skip_blank` returns offsets of at most `len`, and `string` the offset of a quote, which is less than `len`.
        // So are the offsets of the bytes after a quote or a colon at most `len`.
        unsafe {
            if self.byte(at) != b'"' {
                let reason = if at == self.len { UNCLOSED } else { "expected a key" };
                return Err(Malformed { at, reason });
            }
            let (end, content) = self.string(at + 1)?;
            let colon = self.skip_blank(end + 1);
            if self.byte(colon) != b':' {
                return Err(Malformed { at: colon, reason: "expected a colon" });
            }
            Ok((KeyName { start: at + 1, end, content }, self.skip_blank(colon + 1)))
        }
    }

    /// Scans the object that starts at `at`, and records the values in entered containers. Returns the offset after it.
    ///
    /// If a container is open already, this object is the payload in it, and the scan continues to the end of the container.
    #[inline(always)]
    unsafe fn object(&mut self, mut at: usize) -> Scanned<usize> {
        let mut key = if self.tape.open.is_empty() { Key::Other } else { Key::Payload };
        let mut name = KeyName::default();
        // Whether the innermost entered container is an object, and its key, which its elements have if it is an array.
        let (mut is_object, mut element_key) = (true, Key::Other);
        // SAFETY: All offsets are returned by functions that return offsets of at most `len`, or are the offsets of
        // bytes after a byte that is not a newline.
        unsafe {
            'value: loop {
                // A value with the key `key` starts at `at`.
                let first = self.byte(at);
                if self.tape.values.len() >= MAX_VALUES {
                    at = self.leave()?;
                    if self.tape.open.is_empty() {
                        return Ok(at);
                    }
                    (is_object, element_key) = self.innermost();
                } else if first == b'"' {
                    let (end, content) = self.string(at + 1)?;
                    self.record(Kind::String, content, key, name, at + 1, end);
                    at = end + 1;
                } else if first == b'{' || first == b'[' {
                    let kind = if first == b'{' { Kind::Object } else { Kind::Array };
                    let index = self.record(kind, Content::default(), key, name, at, at);
                    let depth = self.tape.open.len();
                    if depth == 0 || (key.is_entered() && depth < MAX_RECORDED_DEPTH) {
                        self.tape.values[index].is_entered = true;
                        self.tape.open.push(to_u32(index));
                        self.tape.depth = self.tape.depth.max(self.tape.open.len());
                        let after = self.skip_blank(at + 1);
                        // In ASCII, `}` and `]` are two after their opening brackets.
                        if self.byte(after) == first + 2 {
                            at = after + 1;
                            if self.close(at) {
                                return Ok(at);
                            }
                        } else if kind == Kind::Object {
                            is_object = true;
                            (name, at) = self.key(after)?;
                            key = self.named(name);
                            continue 'value;
                        } else {
                            (is_object, element_key) = (false, key);
                            name = KeyName::default();
                            at = after;
                            continue 'value;
                        }
                    } else {
                        at = self.skip_container(at)?;
                        self.tape.values[index].end = to_u32(at);
                    }
                } else {
                    let (end, kind) = self.scalar(at)?;
                    self.record(kind, Content::default(), key, name, at, end);
                    at = end;
                }
                // A value has ended before `at`.
                loop {
                    at = self.skip_blank(at);
                    match self.byte(at) {
                        b',' if is_object => {
                            let next = self.skip_blank(at + 1);
                            (name, at) = self.key(next)?;
                            key = self.named(name);
                            continue 'value;
                        }
                        b',' => {
                            key = element_key;
                            name = KeyName::default();
                            at = self.skip_blank(at + 1);
                            continue 'value;
                        }
                        b'}' if is_object => {}
                        b']' if !is_object => {}
                        _ => return Err(self.not_a_separator(at)),
                    }
                    at += 1;
                    if self.close(at) {
                        return Ok(at);
                    }
                    (is_object, element_key) = self.innermost();
                }
            }
        }
    }

    /// Returns whether the innermost entered container is an object, and its key.
    #[inline(always)]
    fn innermost(&self) -> (bool, Key) {
        let container = &self.tape.values[self.tape.open[self.tape.open.len() - 1] as usize];
        (container.kind == Kind::Object, container.key)
    }

    /// Returns the error for a byte at `at` that neither separates the values of a container nor ends it.
    #[cold]
    fn not_a_separator(&self, at: usize) -> Malformed {
        let reason = if at == self.len { UNCLOSED } else { "expected a comma or a closing bracket" };
        Malformed { at, reason }
    }

    /// Closes the innermost entered container, which ends before `at`. Returns whether it was the outermost one.
    #[inline(always)]
    fn close(&mut self, at: usize) -> bool {
        let Some(index) = self.tape.open.pop() else {
            return true;
        };
        let next = to_u32(self.tape.values.len());
        let container = &mut self.tape.values[index as usize];
        container.end = to_u32(at);
        container.next = next;
        self.tape.open.is_empty()
    }

    /// Returns the key with this name.
    #[inline(always)]
    unsafe fn named(&self, name: KeyName) -> Key {
        let bytes = &self.text.padded()[name.start..name.end];
        if name.content.has_escape() {
            return named_with_escapes(bytes);
        }
        // SAFETY: `name.start` is at most `len`, and the padding is longer than 16 bytes.
        let window = unsafe { self.start.add(name.start).cast::<[u8; 16]>().read_unaligned() };
        Key::named_in(window, bytes)
    }

    /// Records a value. Returns its index on the tape.
    #[inline(always)]
    fn record(&mut self, kind: Kind, content: Content, key: Key, name: KeyName, start: usize, end: usize) -> usize {
        let index = self.tape.values.len();
        self.tape.values.push(Value {
            key_start: to_u32(name.start),
            key_end: to_u32(name.end),
            start: to_u32(start),
            end: to_u32(end),
            index: to_u32(index),
            next: to_u32(index + 1),
            key,
            kind,
            content,
            is_entered: false,
        });
        index
    }

    /// Removes the recorded values of the innermost entered container, and scans it again without recording any. Returns the
    /// offset after it.
    ///
    /// This reads the text at most once more for each of the few levels that are entered.
    #[cold]
    #[inline(never)]
    unsafe fn leave(&mut self) -> Scanned<usize> {
        let index = self.tape.open.pop().map_or(0, |index| index as usize);
        self.tape.values.truncate(index + 1);
        self.tape.values[index].is_entered = false;
        let start = self.tape.values[index].start as usize;
        // SAFETY: `start` is the offset of the container's opening bracket, which is less than `len`.
        let end = unsafe { self.skip_container(start)? };
        self.tape.values[index].end = to_u32(end);
        Ok(end)
    }

    /// Scans the container that starts at `at` without recording the values in it. Returns the offset after it.
    #[inline(always)]
    unsafe fn skip_container(&mut self, mut at: usize) -> Scanned<usize> {
        let outer = self.tape.open.len();
        let mut depth = 0_usize;
        // SAFETY: All offsets are at most `len`, for the same reasons as in `object`.
        unsafe {
            let mut is_object;
            'open: loop {
                // A container opens at `at`.
                is_object = self.byte(at) == b'{';
                if depth + outer >= MAX_DEPTH {
                    return Err(Malformed { at, reason: "containers are nested too deeply" });
                }
                let (word, bit) = (depth / 64, depth % 64);
                if word == self.tape.nesting.len() {
                    self.tape.nesting.push(0);
                }
                let levels = &mut self.tape.nesting[word];
                *levels = (*levels & !(1 << bit)) | (u64::from(is_object) << bit);
                depth += 1;
                self.tape.depth = self.tape.depth.max(outer + depth);
                let closing = self.byte(at) + 2;
                at = self.skip_blank(at + 1);
                let mut ended = self.byte(at) == closing;
                loop {
                    if ended {
                        at += 1;
                        depth -= 1;
                        if depth == 0 {
                            return Ok(at);
                        }
                        is_object = self.tape.nesting[(depth - 1) / 64] >> ((depth - 1) % 64) & 1 == 1;
                    } else {
                        if is_object {
                            (_, at) = self.key(at)?;
                        }
                        match self.byte(at) {
                            b'"' => at = self.string(at + 1)?.0 + 1,
                            b'{' | b'[' => continue 'open,
                            _ => at = self.scalar(at)?.0,
                        }
                    }
                    at = self.skip_blank(at);
                    match self.byte(at) {
                        b',' => {
                            at = self.skip_blank(at + 1);
                            ended = false;
                        }
                        b'}' if is_object => ended = true,
                        b']' if !is_object => ended = true,
                        _ => return Err(self.not_a_separator(at)),
                    }
                }
            }
        }
    }
}

/// Returns a mask of the bytes before the first one in `some`, or of all bytes if `some` is empty.
#[inline(always)]
fn before(some: u64) -> u64 {
    some.wrapping_sub(1) & !some
}

/// Returns the key with a name that contains escapes.
#[cold]
fn named_with_escapes(name: &[u8]) -> Key {
    let mut decoded = Vec::new();
    super::string::decode_string(name, &mut decoded);
    Key::named(&decoded)
}

/// Converts an offset or an index for the tape.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "texts of 4 GiB or more are rejected before anything is recorded")]
fn to_u32(number: usize) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests;
