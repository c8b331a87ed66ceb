//! The scanner: one pass over a text that checks all of it and records the values that readers ask for.
//!
//! The grammar is RFC 8259's, nothing looser: no `NaN`, no control characters in strings, no lone commas.
//! Whether the bytes are UTF-8 is left to the caller, who learns whether there is anything but ASCII at all.

use super::block::{Block, Instructions, Portable, escapes};
use super::shapes::{Followed, Shapes};
use super::{Key, Text};

/// Containers may be nested this deep; one bit is kept for each level, so 2 MiB at the most.
pub const MAX_DEPTH: usize = 1 << 24;

/// Values of one text that are recorded at the most; a line of codex has some dozens. Of a container that would bring
/// it over this, only the extent is kept.
pub const MAX_VALUES: usize = 1 << 15;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// A number without fraction and exponent.
    Integer,
    /// Any other number.
    Float,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

/// What a string holds beyond plain ASCII, found while scanning it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content(u8);

impl Content {
    const ESCAPE: u8 = 1;
    const UNICODE_ESCAPE: u8 = 2;
    const NON_ASCII: u8 = 4;

    /// Has an escape.
    #[must_use]
    pub const fn has_escape(self) -> bool {
        self.0 & Self::ESCAPE != 0
    }

    /// Has an escape of the form `\uXXXX`.
    #[must_use]
    pub const fn has_unicode_escape(self) -> bool {
        self.0 & Self::UNICODE_ESCAPE != 0
    }

    /// Has a byte of 0x80 or above.
    #[must_use]
    pub const fn has_non_ascii(self) -> bool {
        self.0 & Self::NON_ASCII != 0
    }

    /// Each byte stands for one character: neither escapes nor anything beyond ASCII.
    #[must_use]
    pub const fn is_plain(self) -> bool {
        self.0 == 0
    }
}

/// One recorded value and its place in the text.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    /// Where its key's name starts, behind the quote; 0 for an element of an array.
    pub(super) key_start: u32,
    /// Where its key's name ends; 0 for an element of an array.
    pub(super) key_end: u32,
    /// Where it starts; for a string behind the quote.
    pub start: u32,
    /// Where it ends; for a string at the closing quote.
    pub end: u32,
    /// Its own place on the tape.
    pub(super) place: u32,
    /// The place on the tape of the value after it and all that it contains.
    pub(super) next: u32,
    /// Its key; the elements of an array have the array's.
    pub key: Key,
    /// What it is.
    pub kind: Kind,
    /// For a string, what it holds.
    pub content: Content,
    /// For a container, whether what it holds is recorded too.
    pub(super) is_entered: bool,
}

impl Value {
    /// The bytes between the quotes of a string, the whole token of anything else.
    #[must_use]
    #[inline]
    pub fn raw<'a>(&self, text: Text<'a>) -> &'a [u8] {
        text.span(self.start, self.end)
    }

    /// Its place on the tape; 0 for the text's outermost value alone.
    #[must_use]
    pub fn place(&self) -> u32 {
        self.place
    }

    /// Like [`Self::raw`], with the quotes of a string.
    #[must_use]
    pub fn token<'a>(&self, text: Text<'a>) -> &'a [u8] {
        if self.kind == Kind::String { text.span(self.start - 1, self.end + 1) } else { self.raw(text) }
    }

    /// The key with its quotes; only for a member of an object.
    #[must_use]
    pub fn key_token<'a>(&self, text: Text<'a>) -> &'a [u8] {
        text.span(self.key_start - 1, self.key_end + 1)
    }

    /// The key's name as it stands, escapes included; empty for an element of an array.
    #[must_use]
    pub fn key_name<'a>(&self, text: Text<'a>) -> &'a [u8] {
        text.span(self.key_start, self.key_end)
    }
}

/// Where and why a text is not a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Bytes from the text's start.
    pub at: usize,
    /// What is wrong there.
    pub why: &'static str,
}

/// The values of a text in the order in which they stand, kept from text to text so that nothing is allocated.
#[derive(Default)]
pub struct Tape {
    pub(super) values: Vec<Value>,
    /// Places of the entered containers that are open.
    pub(super) open: Vec<u32>,
    /// For each level of a container that is not entered, whether it is an object; 64 levels a word.
    nesting: Vec<u64>,
    /// Has any string a byte of 0x80 or above?
    has_non_ascii: bool,
    /// Is there white space between tokens?
    pub(super) has_blank: bool,
    /// How deep containers are nested, at the most.
    pub(super) depth: usize,
}

impl Tape {
    /// Whether any string of the text has a byte beyond ASCII.
    #[must_use]
    pub fn has_non_ascii(&self) -> bool {
        self.has_non_ascii
    }

    /// Whether white space stands between tokens.
    #[must_use]
    pub fn has_blank(&self) -> bool {
        self.has_blank
    }

    /// How deep containers are nested, at the most; 1 for an object of scalars.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The text's outermost value.
    #[must_use]
    pub fn root(&self) -> &Value {
        &self.values[0]
    }

    /// The value at a place, as [`Value::place`] gives it.
    ///
    /// # Panics
    ///
    /// If the place is none of this tape's.
    #[must_use]
    pub fn value(&self, place: u32) -> &Value {
        &self.values[place as usize]
    }

    /// Whether the values inside `container` are recorded.
    #[must_use]
    pub fn is_entered(&self, container: &Value) -> bool {
        container.is_entered
    }

    /// The values inside `container`: an object's with their keys, an array's elements; none where it was not entered.
    #[must_use]
    pub fn children(&self, container: &Value) -> Children<'_> {
        let first = if container.is_entered { container.place as usize + 1 } else { container.next as usize };
        Children { values: &self.values, at: first, end: container.next as usize }
    }
}

/// Goes over the values inside one container.
pub struct Children<'t> {
    values: &'t [Value],
    at: usize,
    end: usize,
}

impl<'t> Iterator for Children<'t> {
    type Item = &'t Value;

    #[inline]
    fn next(&mut self) -> Option<&'t Value> {
        if self.at >= self.end {
            return None;
        }
        let value = &self.values[self.at];
        self.at = value.next as usize;
        Some(value)
    }
}

/// Checks that `text` is one JSON object and nothing else, and records its values on `tape`.
///
/// # Errors
///
/// [`Malformed`] with the place of the first byte that does not fit.
#[inline]
pub fn scan(text: Text<'_>, tape: &mut Tape) -> Result<(), Malformed> {
    scan_with(text, 0, None, tape)
}

/// As [`scan`], for one of many texts that look alike, whose shapes are kept in `shapes`.
///
/// Of an object whose members before its payload, and the key of that, are known to be in order, `payload` tells where
/// that starts: the scan goes on from there, and records it as the first of the members. For any other text it is 0.
///
/// # Errors
///
/// As [`scan`].
#[inline]
pub fn scan_alike(text: Text<'_>, payload: usize, shapes: &mut Shapes, tape: &mut Tape) -> Result<(), Malformed> {
    scan_with(text, payload, Some(shapes), tape)
}

#[inline]
fn scan_with(text: Text<'_>, payload: usize, shapes: Option<&mut Shapes>, tape: &mut Tape) -> Scanned<()> {
    match Instructions::best() {
        // SAFETY: `Instructions::best` asked the processor for each of the features.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => unsafe { scan_avx512(text, payload, shapes, tape) },
        // SAFETY: the same.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => unsafe { scan_avx2(text, payload, shapes, tape) },
        // SAFETY: the portable block needs no feature.
        _ => unsafe { Scanner::<Portable>::run(text, payload, shapes, tape) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn scan_avx512(text: Text<'_>, payload: usize, shapes: Option<&mut Shapes>, tape: &mut Tape) -> Scanned<()> {
    // SAFETY: this function is entered only where the features are there.
    unsafe { Scanner::<super::block::Avx512>::run(text, payload, shapes, tape) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn scan_avx2(text: Text<'_>, payload: usize, shapes: Option<&mut Shapes>, tape: &mut Tape) -> Scanned<()> {
    // SAFETY: this function is entered only where the features are there.
    unsafe { Scanner::<super::block::Avx2>::run(text, payload, shapes, tape) }
}

/// The scan of one text. Its functions are inlined into the function that has the block's instructions.
///
/// Invariant: every place handed to [`Self::byte`] or [`Self::string`] is at most `len`. At `len` stands a
/// newline, which no token contains, so no token is followed beyond it; a block loaded at a place up to `len`
/// stays inside the padding.
pub(super) struct Scanner<'a, 't, B> {
    pub(super) start: *const u8,
    pub(super) len: usize,
    text: Text<'a>,
    pub(super) tape: &'t mut Tape,
    block: std::marker::PhantomData<B>,
}

/// Where a key's name stands, and what it holds; nowhere for an element of an array.
#[derive(Clone, Copy, Default)]
struct KeyName {
    start: usize,
    end: usize,
    content: Content,
}

/// Place of a scan that goes on.
pub(super) type Scanned<T> = Result<T, Malformed>;

/// What is wrong with a text that does not begin as an object does.
pub const NO_OBJECT: &str = "not a JSON object";

const UNCLOSED: &str = "the line ends inside a value";

impl<'a, 't, B: Block> Scanner<'a, 't, B> {
    /// # Safety
    ///
    /// The processor must have the instructions of `B`.
    #[inline(always)]
    unsafe fn run(text: Text<'a>, payload: usize, shapes: Option<&mut Shapes>, tape: &'t mut Tape) -> Scanned<()> {
        tape.values.clear();
        tape.open.clear();
        tape.has_non_ascii = false;
        tape.has_blank = false;
        tape.depth = 0;
        if u32::try_from(text.buffer.len()).is_err() {
            return Err(Malformed { at: 0, why: "the line is 4 GiB or longer" });
        }
        let start = text.buffer.as_ptr();
        let mut scanner = Self { start, len: text.len, text, tape, block: std::marker::PhantomData };
        if payload >= text.len {
            // Also for an empty text.
            return Err(Malformed { at: 0, why: NO_OBJECT });
        }
        // SAFETY: `payload` is below `len`, and so is what `follow` gives.
        unsafe {
            if payload > 0 {
                scanner.open_root();
            }
            let followed = match &shapes {
                Some(shapes) => scanner.follow(shapes, payload)?,
                None => Followed::Nothing,
            };
            match followed {
                Followed::Whole => {}
                Followed::Until { at } => scanner.rest(at, true)?,
                Followed::Nothing => {
                    let at = if payload == 0 { scanner.skip_blank(0) } else { payload };
                    if scanner.byte(at) != b'{' {
                        return Err(Malformed { at, why: NO_OBJECT });
                    }
                    scanner.rest(at, false)?;
                }
            }
            if let Some(shapes) = shapes
                && shapes.wants(&followed)
            {
                shapes.learn(text, payload, scanner.tape);
            }
        }
        Ok(())
    }

    /// Records the object around a payload, whose members before that are known.
    #[inline(always)]
    fn open_root(&mut self) {
        let root = self.record(Kind::Object, Content::default(), Key::Other, KeyName::default(), 0, 0);
        self.tape.values[root].is_entered = true;
        self.tape.open.push(place_u32(root));
        self.tape.depth = 1;
    }

    /// Scans what is left of the text, as [`Self::object`] does.
    #[inline(always)]
    unsafe fn rest(&mut self, at: usize, is_behind: bool) -> Scanned<()> {
        // SAFETY: the caller's.
        let end = unsafe { self.object(at, is_behind)? };
        // SAFETY: as `object` keeps places at most `len`.
        let at = unsafe { self.skip_blank(end) };
        if at == self.len { Ok(()) } else { Err(Malformed { at, why: "something follows the object" }) }
    }

    /// The byte at `at`.
    ///
    /// # Safety
    ///
    /// `at` must be at most `len`.
    #[inline(always)]
    pub(super) unsafe fn byte(&self, at: usize) -> u8 {
        debug_assert!(at <= self.len + super::block::PADDING);
        // SAFETY: at most `len`, which is inside the buffer.
        unsafe { *self.start.add(at) }
    }

    /// The first place from `at` on that is no white space.
    #[inline(always)]
    unsafe fn skip_blank(&mut self, mut at: usize) -> usize {
        // SAFETY: `at` stays at most `len`.
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

    /// Scans a string from behind its opening quote; gives the place of the closing one.
    #[inline(always)]
    pub(super) unsafe fn string(&mut self, at: usize) -> Scanned<(usize, Content)> {
        // SAFETY: a block at a place up to `len` is inside the padding; what stands behind `len` stands behind a newline,
        // which no plain string holds.
        unsafe {
            let block = B::load(self.start.add(at));
            let quotes = block.equal(b'"');
            // Most strings are plain and end in their first block.
            if quotes != 0 && block.not_plain() & before(quotes) == 0 {
                return Ok((at + quotes.trailing_zeros() as usize, Content::default()));
            }
            self.any_string(at)
        }
    }

    /// As [`Self::string`], block by block.
    #[inline(always)]
    unsafe fn any_string(&mut self, mut at: usize) -> Scanned<(usize, Content)> {
        let mut content = 0_u8;
        // 1 where the first byte of the next block is escaped by the last of this one.
        let mut carried = 0;
        // SAFETY: `at` is at most `len`: no block that the string goes on behind holds the newline there.
        unsafe {
            loop {
                let block = B::load(self.start.add(at));
                let (_, escaped) = escapes::<B>(block.equal(b'\\'), &mut carried);
                let quotes = block.equal(b'"') & !escaped;
                let inside = before(quotes);
                let escaped = escaped & inside;
                let mut wrong = block.control() & inside;
                let common = block.equal(b'n') | block.equal(b't') | block.equal(b'"') | block.equal(b'\\');
                // Only what stands before the first wrong byte matters, which the newline behind the text is one of.
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

    /// Checks the escapes of the block at `base` whose characters are `rare`: neither quote, backslash, `n` nor `t`.
    /// Adds those that JSON does not have to what is `wrong`, and tells those that are a `u`.
    #[inline(always)]
    unsafe fn check_escapes(&self, base: usize, mut rare: u64, mut wrong: u64) -> (u64, u64) {
        let mut unicode = 0;
        // SAFETY: the bits stand for bytes before the newline at `len`.
        unsafe {
            while rare != 0 {
                let lane = rare.trailing_zeros();
                let at = base + lane as usize;
                rare &= rare - 1;
                match self.byte(at) {
                    b'r' | b'/' | b'b' | b'f' => {}
                    b'u' => {
                        // Four bytes behind a byte up to `len` are inside the padding.
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

    /// What is wrong with a string at `at`.
    #[cold]
    fn wrong(&self, at: usize) -> Malformed {
        let why = match self.text.buffer[at] {
            _ if at == self.len => UNCLOSED,
            ..b' ' => "a control character inside a string",
            b'u' => "an escape \\u without four digits",
            _ => "an escape that JSON does not have",
        };
        Malformed { at, why }
    }

    /// Scans a number; gives the place behind it.
    #[inline(always)]
    unsafe fn number(&self, mut at: usize) -> Scanned<(usize, Kind)> {
        let mut kind = Kind::Integer;
        // SAFETY: each step is over a byte that is no newline, so `at` stays at most `len`.
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

    /// Scans a number of which a digit or a minus is there; gives the place behind it. Quick for short integers.
    #[inline(always)]
    pub(super) unsafe fn likely_integer(&self, at: usize) -> Scanned<(usize, Kind)> {
        // SAFETY: a block at a place up to `len` is inside the padding; a digit is no newline, so what is behind some is
        // at most `len`.
        unsafe {
            let length = (!B::load(self.start.add(at)).digits()).trailing_zeros() as usize;
            let is_plain = (1..B::LANES).contains(&length) && (self.byte(at) != b'0' || length == 1);
            if is_plain && !matches!(self.byte(at + length), b'.' | b'e' | b'E') {
                return Ok((at + length, Kind::Integer));
            }
            self.number(at)
        }
    }

    /// Scans one digit or more; gives the place behind them.
    #[inline(always)]
    unsafe fn digits(&self, mut at: usize) -> Scanned<usize> {
        let first = at;
        // SAFETY: a digit is no newline, so `at` stays at most `len`.
        while unsafe { self.byte(at) }.is_ascii_digit() {
            at += 1;
        }
        if at == first { Err(Malformed { at, why: "a number without digits" }) } else { Ok(at) }
    }

    /// Scans `true`, `false`, `null` or a number.
    #[inline(always)]
    unsafe fn scalar(&self, at: usize) -> Scanned<(usize, Kind)> {
        // SAFETY: `at` is at most `len`; the words are compared inside the padding and contain no newline.
        unsafe {
            let (word, kind): (&[u8], Kind) = match self.byte(at) {
                b'-' | b'0'..=b'9' => return self.number(at),
                b't' => (b"true", Kind::True),
                b'f' => (b"false", Kind::False),
                b'n' => (b"null", Kind::Null),
                _ => {
                    let why = if at == self.len { UNCLOSED } else { "a value was expected" };
                    return Err(Malformed { at, why });
                }
            };
            if std::slice::from_raw_parts(self.start.add(at), word.len()) == word {
                Ok((at + word.len(), kind))
            } else {
                Err(Malformed { at, why: "a value was expected" })
            }
        }
    }

    /// Scans a key, its colon and the white space around them; gives the key's name and the place of the value.
    #[inline(always)]
    unsafe fn key(&mut self, at: usize) -> Scanned<(KeyName, usize)> {
        // SAFETY: the places come from `skip_blank` and `string`, which keep them at most `len`.
        unsafe {
            if self.byte(at) != b'"' {
                let why = if at == self.len { UNCLOSED } else { "a key was expected" };
                return Err(Malformed { at, why });
            }
            let (end, content) = self.string(at + 1)?;
            let colon = self.skip_blank(end + 1);
            if self.byte(colon) != b':' {
                return Err(Malformed { at: colon, why: "a colon was expected" });
            }
            Ok((KeyName { start: at + 1, end, content }, self.skip_blank(colon + 1)))
        }
    }

    /// Scans the object that starts at `at`, or is open there as the payload of another, and records what is inside
    /// entered containers. Where `at` `is_behind` a value, what is open goes on there.
    #[inline(always)]
    unsafe fn object(&mut self, mut at: usize, mut is_behind: bool) -> Scanned<usize> {
        let mut key = if self.tape.open.is_empty() { Key::Other } else { Key::Payload };
        let mut name = KeyName::default();
        // SAFETY: all places come from functions that keep them at most `len`, or step over a byte just seen to be
        // no newline.
        unsafe {
            'value: loop {
                // A value starts at `at`, under `key`.
                let first = self.byte(at);
                if is_behind {
                    is_behind = false;
                } else if self.tape.values.len() >= MAX_VALUES {
                    at = self.leave()?;
                    if self.tape.open.is_empty() {
                        return Ok(at);
                    }
                } else if first == b'"' {
                    let (end, content) = self.string(at + 1)?;
                    self.record(Kind::String, content, key, name, at + 1, end);
                    at = end + 1;
                } else if first == b'{' || first == b'[' {
                    let kind = if first == b'{' { Kind::Object } else { Kind::Array };
                    let place = self.record(kind, Content::default(), key, name, at, at);
                    // The text itself is entered, and nothing that is nested deeper than any reader looks.
                    if self.tape.open.is_empty() || (key.is_entered() && self.tape.open.len() < 12) {
                        self.tape.values[place].is_entered = true;
                        self.tape.open.push(place_u32(place));
                        self.tape.depth = self.tape.depth.max(self.tape.open.len());
                        let after = self.skip_blank(at + 1);
                        if self.byte(after) == first + 2 {
                            // An empty container: `}` and `]` stand two behind their opening in ASCII.
                            at = after + 1;
                            if self.close(at) {
                                return Ok(at);
                            }
                        } else if kind == Kind::Object {
                            (name, at) = self.key(after)?;
                            key = self.named(name);
                            continue 'value;
                        } else {
                            name = KeyName::default();
                            at = after;
                            continue 'value;
                        }
                    } else {
                        at = self.skip_container(at)?;
                        self.tape.values[place].end = place_u32(at);
                    }
                } else {
                    let (end, kind) = self.scalar(at)?;
                    self.record(kind, Content::default(), key, name, at, end);
                    at = end;
                }
                // A value has ended at `at`.
                loop {
                    at = self.skip_blank(at);
                    let innermost = self.tape.open[self.tape.open.len() - 1] as usize;
                    let container = &self.tape.values[innermost];
                    let (is_object, element_key) = (container.kind == Kind::Object, container.key);
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
                        _ => {
                            let why =
                                if at == self.len { UNCLOSED } else { "a comma or a closing bracket was expected" };
                            return Err(Malformed { at, why });
                        }
                    }
                    at += 1;
                    if self.close(at) {
                        return Ok(at);
                    }
                }
            }
        }
    }

    /// Ends the innermost entered container, whose last byte stands before `at`; whether it was the text itself.
    #[inline(always)]
    fn close(&mut self, at: usize) -> bool {
        let Some(place) = self.tape.open.pop() else {
            return true;
        };
        let next = place_u32(self.tape.values.len());
        let container = &mut self.tape.values[place as usize];
        container.end = place_u32(at);
        container.next = next;
        self.tape.open.is_empty()
    }

    /// The key of a name.
    #[inline(always)]
    unsafe fn named(&self, name: KeyName) -> Key {
        let bytes = &self.text.buffer[name.start..name.end];
        if name.content.has_escape() {
            return named_with_escapes(bytes);
        }
        // SAFETY: 16 bytes from a place up to `len` are inside the padding.
        let window = unsafe { self.start.add(name.start).cast::<[u8; 16]>().read_unaligned() };
        Key::named_in(window, bytes)
    }

    /// Records a value; gives its place on the tape.
    #[inline(always)]
    fn record(&mut self, kind: Kind, content: Content, key: Key, name: KeyName, start: usize, end: usize) -> usize {
        let place = self.tape.values.len();
        self.tape.values.push(Value {
            key_start: place_u32(name.start),
            key_end: place_u32(name.end),
            start: place_u32(start),
            end: place_u32(end),
            place: place_u32(place),
            next: place_u32(place + 1),
            key,
            kind,
            content,
            is_entered: false,
        });
        place
    }

    /// Forgets what was recorded of the innermost entered container, and scans it again for its extent alone; gives the
    /// place behind it. The text is looked at no more than once for each of the few levels that are entered.
    #[cold]
    #[inline(never)]
    unsafe fn leave(&mut self) -> Scanned<usize> {
        let place = self.tape.open.pop().map_or(0, |place| place as usize);
        self.tape.values.truncate(place + 1);
        self.tape.values[place].is_entered = false;
        let start = self.tape.values[place].start as usize;
        // SAFETY: `start` is the place of the container's opening bracket, which no backslash stands before.
        let end = unsafe { self.skip_container(start)? };
        self.tape.values[place].end = place_u32(end);
        Ok(end)
    }

    /// Scans the container that starts at `at` without recording what it holds; gives the place behind it.
    #[inline(always)]
    unsafe fn skip_container(&mut self, mut at: usize) -> Scanned<usize> {
        let outer = self.tape.open.len();
        let mut depth = 0_usize;
        // SAFETY: as in `object`.
        unsafe {
            let mut is_object;
            'open: loop {
                // A container opens at `at`.
                is_object = self.byte(at) == b'{';
                if depth + outer >= MAX_DEPTH {
                    return Err(Malformed { at, why: "containers are nested too deep" });
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
                        _ => {
                            let why =
                                if at == self.len { UNCLOSED } else { "a comma or a closing bracket was expected" };
                            return Err(Malformed { at, why });
                        }
                    }
                }
            }
        }
    }
}

/// A mask of the bytes before the first of `some`; of all where there are none.
#[inline(always)]
fn before(some: u64) -> u64 {
    some.wrapping_sub(1) & !some
}

/// The key of a name that contains escapes.
#[cold]
fn named_with_escapes(name: &[u8]) -> Key {
    let mut decoded = Vec::new();
    super::string::decode(name, &mut decoded);
    Key::named(&decoded)
}

/// A place as it is recorded.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "texts of 4 GiB and more are refused before anything is recorded")]
fn place_u32(place: usize) -> u32 {
    place as u32
}

#[cfg(test)]
pub(super) mod tests;
