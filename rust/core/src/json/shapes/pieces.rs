//! A text that was scanned, cut into what its shape consists of.

use super::{Closing, LONGEST_LITERAL, LONGEST_WORD, MOST_BYTES, MOST_PIECES, Pattern, Range, Then, small};
use crate::json::block::find_quote;
use crate::json::scan::{Tape, Value};
use crate::json::{Key, Text};

/// A node that is about to be learned; its parts are those of [`Pieces`].
pub(super) struct Piece<'a> {
    pub(super) literal: &'a [u8],
    pub(super) values: Range,
    pub(super) closings: Range,
    pub(super) then: Then,
    pub(super) open: Option<Range>,
    pub(super) recorded: u32,
    pub(super) depth: u32,
}

/// A text that was scanned, cut into pieces.
pub(super) struct Pieces<'a, 't> {
    text: Text<'a>,
    tape: &'t Tape,
    pub(super) all: Vec<Piece<'a>>,
    pub(super) values: Vec<Pattern>,
    pub(super) closings: Vec<Closing>,
    pub(super) open_places: Vec<u32>,
    /// Where the present piece starts: in the text, and in the two lists.
    start: usize,
    first_value: usize,
    first_closing: usize,
    /// The place of the next recorded value.
    next: usize,
    open: Vec<Level>,
    depth: usize,
}

/// A container that is open.
struct Level {
    /// Its place on the tape, where it is recorded.
    place: Option<u32>,
    /// Whether what it holds is recorded.
    is_entered: bool,
    is_object: bool,
}

impl<'a, 't> Pieces<'a, 't> {
    /// The pieces of a text; `None` of one that is not worth learning.
    pub(super) fn of(text: Text<'a>, start: usize, tape: &'t Tape) -> Option<Self> {
        if tape.has_blank || tape.values.len() > MOST_PIECES {
            return None;
        }
        let mut pieces = Pieces {
            text,
            tape,
            all: Vec::with_capacity(32),
            values: Vec::with_capacity(32),
            closings: Vec::with_capacity(16),
            open_places: Vec::with_capacity(64),
            start,
            first_value: 0,
            first_closing: 0,
            next: 0,
            open: Vec::with_capacity(8),
            depth: 0,
        };
        if start > 0 {
            // The object around the payload.
            pieces.next = 1;
            pieces.open.push(Level { place: Some(0), is_entered: true, is_object: true });
            pieces.depth = 1;
        }
        pieces.cut()?;
        (pieces.bytes() <= MOST_BYTES / 4).then_some(pieces)
    }

    fn cut(&mut self) -> Option<()> {
        let bytes = self.text.bytes();
        let mut at = self.start;
        let mut is_name = false;
        while at < bytes.len() {
            let recorded = self.tape.values.get(self.next);
            match bytes[at] {
                b'"' if is_name => {
                    let length = bytes[at + 1..].iter().position(|byte| *byte == b'"')?;
                    let name = &bytes[at + 1..at + 1 + length];
                    if name.contains(&b'\\') || !name.is_ascii() {
                        return None;
                    }
                    at += length + 2;
                    is_name = false;
                }
                b'"' => {
                    let recorded = recorded.filter(|value| value.start as usize == at + 1);
                    let end = match recorded {
                        Some(value) => value.end as usize,
                        None => at + 1 + find_quote(&bytes[at + 1..], &mut false)?,
                    };
                    let is_word = recorded.is_some_and(|value| {
                        matches!(value.key, Key::Type | Key::Role)
                            && value.content.is_plain()
                            && end - at <= LONGEST_WORD
                    });
                    if recorded.is_some() {
                        self.record(end);
                    }
                    if !is_word {
                        self.end_piece(at + 1, Then::String { is_recorded: recorded.is_some() })?;
                        self.start = end;
                    }
                    at = end + 1;
                }
                b'-' | b'0'..=b'9' => {
                    let is_recorded = recorded.is_some_and(|value| value.start as usize == at);
                    let is_digit = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                    let end = at + bytes[at..].iter().take_while(|byte| is_digit(byte)).count();
                    if is_recorded {
                        self.record(end);
                    }
                    self.end_piece(at, Then::Number { is_recorded })?;
                    self.start = end;
                    at = end;
                }
                b't' | b'f' | b'n' => {
                    let end = at + if bytes[at] == b'f' { 5 } else { 4 };
                    if recorded.is_some_and(|value| value.start as usize == at) {
                        self.record(end);
                    }
                    at = end;
                }
                opening @ (b'{' | b'[') => {
                    let recorded = recorded.filter(|value| value.start as usize == at);
                    let place = recorded.map(|value| value.place);
                    let is_entered = recorded.is_some_and(|value| value.is_entered);
                    is_name = opening == b'{';
                    self.open.push(Level { place, is_entered, is_object: is_name });
                    self.depth = self.depth.max(self.open.len());
                    if recorded.is_some() {
                        self.record(at);
                    }
                    at += 1;
                }
                b'}' | b']' => {
                    at += 1;
                    is_name = false;
                    if let Some(place) = self.open.pop()?.place {
                        let next = u32::try_from(self.next).ok()?;
                        self.closings.push(Closing { place, end: self.in_piece(at), next });
                    }
                }
                b',' => {
                    at += 1;
                    is_name = self.open.last()?.is_object;
                }
                _ => at += 1,
            }
        }
        // The newline behind the text tells its end.
        self.end_piece(at + 1, Then::End)
    }

    /// Bytes of what nodes of these pieces hold.
    pub(super) fn bytes(&self) -> usize {
        let literals: usize = self.all.iter().map(|piece| piece.literal.len()).sum();
        literals + size_of_val(&self.values[..]) + size_of_val(&self.closings[..]) + size_of_val(&self.open_places[..])
    }

    fn in_piece(&self, at: usize) -> u32 {
        small(at - self.start)
    }

    /// Takes the next recorded value, which ends at `end`, or is a container that begins.
    fn record(&mut self, end: usize) {
        let value = self.tape.values[self.next];
        self.next += 1;
        let is_member = value.key_end > 0;
        let name = |at: u32| if is_member { self.in_piece(at as usize) } else { 0 };
        let value = Value {
            key_start: name(value.key_start),
            key_end: name(value.key_end),
            start: self.in_piece(value.start as usize),
            end: self.in_piece(end),
            next: value.place + 1,
            ..value
        };
        self.values.push(Pattern { value, is_member });
    }

    /// Ends the piece before `end`.
    fn end_piece(&mut self, end: usize, then: Then) -> Option<()> {
        let literal = &self.text.buffer[self.start..end];
        if literal.len() > LONGEST_LITERAL || self.all.len() >= MOST_PIECES {
            return None;
        }
        let values = Range::from(self.first_value, &self.values);
        let closings = Range::from(self.first_closing, &self.closings);
        (self.first_value, self.first_closing) = (self.values.len(), self.closings.len());
        let is_open = !self.open.is_empty() && self.open.iter().all(|level| level.is_entered);
        let open = is_open.then(|| {
            let first = self.open_places.len();
            self.open_places.extend(self.open.iter().filter_map(|level| level.place));
            Range::from(first, &self.open_places)
        });
        let (recorded, depth) = (small(self.next), small(self.depth));
        self.all.push(Piece { literal, values, closings, then, open, recorded, depth });
        Some(())
    }
}
