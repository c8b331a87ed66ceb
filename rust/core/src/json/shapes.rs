//! What texts look like: the bytes between their values, learned from texts that were scanned before.
//!
//! Codex writes lines of one kind alike: the same members in the same order, and only values that differ. A scan
//! follows what earlier texts looked like as far as it goes: what stands between two values is compared as a whole, in
//! place of reading names, colons and brackets one by one, and only values that vary are scanned. Where no earlier text
//! went on in this way, the scanner takes over. What it finds, and where it fails, is the same with and without shapes.
//!
//! Shapes are a tree. A [`Node`] is a literal piece of text and the value behind it; its children are what followed.
//! So the values that were recorded before a node, and the containers that are open there, are always the same.

mod pieces;

use super::Text;
use super::block::{Block, PADDING};
use super::scan::{Scanned, Scanner, Tape, Value};
use pieces::{Piece, Pieces};

/// Nodes that are kept; with more, all are forgotten and learned anew.
const MOST_NODES: usize = 1024;

/// Bytes that all that nodes hold may come to; with more, the same.
const MOST_BYTES: usize = 256 << 10;

/// Texts of more pieces than this are not learned.
const MOST_PIECES: usize = 192;

/// The longest literal piece that is learned, in bytes.
const LONGEST_LITERAL: usize = 480;

/// Nodes that follow the same one; texts that go on in yet another way are not learned.
const MOST_SIBLINGS: usize = 6;

/// One text in so many is learned, where they differ all the time: learning takes longer than scanning.
const SELDOM: u64 = 16;

/// Texts that are learned in any case.
const FIRST_TEXTS: u64 = 64;

/// Strings under `type` and `role` up to this length, in bytes, are taken for literal: texts differ in shape with them.
const LONGEST_WORD: usize = 48;

/// Ways in which texts begin are told apart by eight bytes from this place on: behind `{"type":"`.
const BEGINNING: usize = 9;

/// Lists of beginnings, of whole texts and of payloads each.
const BEGINNINGS: usize = 64;

/// What the texts scanned so far look like. All that nodes hold lies together, in the order in which it is looked at.
#[derive(Default)]
pub struct Shapes {
    nodes: Vec<Node>,
    /// The literal pieces, and [`PADDING`] bytes behind them.
    literals: Vec<u8>,
    /// The values that begin in pieces.
    values: Vec<Pattern>,
    /// The containers that end in pieces.
    closings: Vec<Closing>,
    /// The places of open containers.
    open: Vec<u32>,
    /// The first nodes of texts, by their beginning; empty before any text was learned.
    beginnings: Vec<Option<u32>>,
    /// Texts scanned, and learned.
    texts: u64,
    learned: u64,
}

/// A literal piece of text and the value behind it.
struct Node {
    literal: Range,
    /// The values that begin in the piece, and with it, as far as they are recorded.
    values: Range,
    /// The recorded containers that end in the piece.
    closings: Range,
    /// What stands behind the piece.
    then: Then,
    /// The first of the nodes that follow, and the next of those that follow the same one.
    child: Option<u32>,
    sibling: Option<u32>,
    /// The containers that are open behind that, where all open ones are recorded value by value.
    open: Option<Range>,
    /// How many values were recorded by then.
    recorded: u32,
    /// How deep containers were nested by then.
    depth: u32,
}

/// A part of one of the lists that nodes share.
#[derive(Clone, Copy)]
struct Range {
    start: u32,
    length: u32,
}

impl Range {
    #[inline(always)]
    fn of<T>(self, all: &[T]) -> &[T] {
        &all[self.start as usize..(self.start + self.length) as usize]
    }

    /// Appends a part.
    fn appended<T: Copy>(all: &mut Vec<T>, part: &[T]) -> Self {
        let start = all.len();
        all.extend_from_slice(part);
        Self::from(start, all)
    }

    /// What was appended to a list since it had `start` entries.
    fn from<T>(start: usize, all: &[T]) -> Self {
        Self { start: small(start), length: small(all.len() - start) }
    }
}

/// A number that limits keep small.
#[expect(clippy::cast_possible_truncation, reason = "the limits of what is learned, and of a text's size")]
#[inline(always)]
fn small(number: usize) -> u32 {
    number as u32
}

/// A value as it is recorded, its places counted from the piece's start.
#[derive(Clone, Copy)]
struct Pattern {
    value: Value,
    /// Whether it has a name.
    is_member: bool,
}

/// A container that ends.
#[derive(Clone, Copy)]
struct Closing {
    /// Its place on the tape.
    place: u32,
    /// Where it ends, counted from the piece's start.
    end: u32,
    /// The place on the tape behind all that it contains.
    next: u32,
}

/// What stands behind a literal piece.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// A string, which is recorded or only checked.
    String { is_recorded: bool },
    /// A number.
    Number { is_recorded: bool },
    /// Nothing.
    End,
}

/// How far a text went on as earlier ones did.
pub(super) enum Followed {
    /// To its end.
    Whole,
    /// Not at all.
    Nothing,
    /// To the end of a value, which stands before `at`; what is recorded and what is open is as it is there.
    Until {
        /// The place behind the value.
        at: usize,
    },
}

impl Shapes {
    /// Says that a text was scanned; whether its shape should be learned.
    pub(super) fn wants(&mut self, followed: &Followed) -> bool {
        self.texts += 1;
        !matches!(followed, Followed::Whole) && self.learned < FIRST_TEXTS + self.texts / SELDOM
    }

    /// Where the first node is listed of texts with this beginning. A scan that starts at a payload has recorded the object
    /// around it, so its nodes are not those of whole texts.
    #[inline(always)]
    fn beginning(bytes: [u8; 8], start: usize) -> usize {
        let kept = u64::from_le_bytes(bytes).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - BEGINNINGS.ilog2());
        // It is less than `BEGINNINGS`: no more bits are left.
        usize::try_from(kept).unwrap_or(0) + if start > 0 { BEGINNINGS } else { 0 }
    }

    /// Learns the shape of a text from what was recorded of it; `start` is where the scan began.
    pub(super) fn learn(&mut self, text: Text<'_>, start: usize, tape: &Tape) {
        let Some(pieces) = Pieces::of(text, start, tape) else { return };
        self.learned += 1;
        if self.nodes.len() + pieces.all.len() > MOST_NODES || self.bytes() + pieces.bytes() > MOST_BYTES {
            *self = Self { texts: self.texts, learned: self.learned, ..Self::default() };
        }
        self.beginnings.resize(2 * BEGINNINGS, None);
        let mut beginning = [0; 8];
        for (byte, at) in beginning.iter_mut().zip(start + BEGINNING..) {
            *byte = text.buffer.get(at).copied().unwrap_or(0);
        }
        let beginning = Self::beginning(beginning, start);
        let mut parent = None;
        for piece in &pieces.all {
            let mut last = None;
            let mut next = match parent {
                None => self.beginnings[beginning],
                Some(parent) => self.node(parent).child,
            };
            let mut siblings = 0;
            while let Some(place) = next {
                let node = self.node(place);
                if node.literal.of(&self.literals) == piece.literal && node.then == piece.then {
                    break;
                }
                siblings += 1;
                (last, next) = (Some(place), node.sibling);
            }
            if next.is_none() {
                if siblings >= MOST_SIBLINGS {
                    return;
                }
                next = Some(self.add(piece, &pieces));
                match (last, parent) {
                    (Some(last), _) => self.nodes[last as usize].sibling = next,
                    (None, Some(parent)) => self.nodes[parent as usize].child = next,
                    (None, None) => self.beginnings[beginning] = next,
                }
            }
            parent = next;
        }
    }

    /// Appends a node; gives its place.
    fn add(&mut self, piece: &Piece<'_>, pieces: &Pieces<'_, '_>) -> u32 {
        self.literals.truncate(self.literals.len().saturating_sub(PADDING));
        let literal = Range::appended(&mut self.literals, piece.literal);
        self.literals.resize(self.literals.len() + PADDING, 0);
        self.nodes.push(Node {
            literal,
            values: Range::appended(&mut self.values, piece.values.of(&pieces.values)),
            closings: Range::appended(&mut self.closings, piece.closings.of(&pieces.closings)),
            then: piece.then,
            child: None,
            sibling: None,
            open: piece.open.map(|open| Range::appended(&mut self.open, open.of(&pieces.open_places))),
            recorded: piece.recorded,
            depth: piece.depth,
        });
        small(self.nodes.len() - 1)
    }

    /// Bytes of what nodes hold.
    fn bytes(&self) -> usize {
        self.literals.len()
            + size_of_val(&self.values[..])
            + size_of_val(&self.closings[..])
            + size_of_val(&self.open[..])
    }

    fn node(&self, place: u32) -> &Node {
        &self.nodes[place as usize]
    }
}

impl<B: Block> Scanner<'_, '_, B> {
    /// Goes over the text from `start` on as far as it goes on as earlier ones did.
    ///
    /// # Safety
    ///
    /// `start` must be at most `len`, and the processor must have the instructions of `B`.
    #[inline(always)]
    pub(super) unsafe fn follow(&mut self, shapes: &Shapes, start: usize) -> Scanned<Followed> {
        // SAFETY: 8 bytes from a place that is at most `BEGINNING` behind `len` are inside the padding.
        let beginning = unsafe { self.start.add(start + BEGINNING).cast::<[u8; 8]>().read_unaligned() };
        let Some(mut next) = shapes.beginnings.get(Shapes::beginning(beginning, start)).copied() else {
            return Ok(Followed::Nothing);
        };
        let mut at = start;
        // The last place from which the scanner can go on.
        let mut until: Option<(usize, &Node)> = None;
        // SAFETY: `at` is at most `len`: it stands behind a value, and a value ends before the newline.
        while let Some(node) = unsafe { self.find(shapes, next, at) } {
            let piece = small(at);
            self.tape.values.extend(node.values.of(&shapes.values).iter().map(|pattern| pattern.at(piece)));
            for closing in node.closings.of(&shapes.closings) {
                let container = &mut self.tape.values[closing.place as usize];
                container.end = piece + closing.end;
                container.next = closing.next;
            }
            at += node.literal.length as usize;
            // SAFETY: as above; a string's opening quote is the literal's last byte.
            unsafe {
                match node.then {
                    Then::String { is_recorded } => {
                        let (end, content) = self.string(at)?;
                        if is_recorded && let Some(value) = self.tape.values.last_mut() {
                            value.end = small(end);
                            value.content = content;
                        }
                        at = end;
                    }
                    Then::Number { is_recorded } => {
                        let (end, kind) = self.likely_integer(at)?;
                        if is_recorded && let Some(value) = self.tape.values.last_mut() {
                            value.end = small(end);
                            value.kind = kind;
                        }
                        at = end;
                    }
                    Then::End => {
                        if at != self.len + 1 {
                            // White space between tokens.
                            break;
                        }
                        self.tape.depth = node.depth as usize;
                        return Ok(Followed::Whole);
                    }
                }
            }
            if node.open.is_some() {
                until = Some((at, node));
            }
            next = node.child;
        }
        let Some((end, node)) = until else {
            self.tape.values.truncate(usize::from(start > 0));
            return Ok(Followed::Nothing);
        };
        let at = end + usize::from(matches!(node.then, Then::String { .. }));
        self.tape.values.truncate(node.recorded as usize);
        self.tape.open.clear();
        self.tape.open.extend(node.open.into_iter().flat_map(|open| open.of(&shapes.open)));
        self.tape.depth = node.depth as usize;
        Ok(Followed::Until { at })
    }

    /// The node whose literal stands at `at`: the one at `next`, or one of its siblings.
    #[inline(always)]
    unsafe fn find<'s>(&self, shapes: &'s Shapes, mut next: Option<u32>, at: usize) -> Option<&'s Node> {
        // SAFETY: a block at a place up to `len` is inside the padding, and so is one of a literal's; where one is the
        // same as the text throughout, it holds no newline, so the next is at a place up to `len` too.
        unsafe {
            let first = B::load(self.start.add(at));
            'siblings: while let Some(place) = next {
                let node = shapes.node(place);
                next = node.sibling;
                let length = node.literal.length as usize;
                let literal = shapes.literals.as_ptr().add(node.literal.start as usize);
                if !starts_with(first, B::load(literal), length) {
                    continue;
                }
                let mut compared = B::LANES;
                while compared < length {
                    let block = B::load(self.start.add(at + compared));
                    if !starts_with(block, B::load(literal.add(compared)), length - compared) {
                        continue 'siblings;
                    }
                    compared += B::LANES;
                }
                let is_number = matches!(node.then, Then::Number { .. });
                if is_number && !matches!(self.byte(at + length), b'-' | b'0'..=b'9') {
                    continue;
                }
                return Some(node);
            }
        }
        None
    }
}

/// Whether the first `length` bytes of two blocks are the same; all of them where there are more.
///
/// # Safety
///
/// The processor must have the instructions of `B`.
#[inline(always)]
unsafe fn starts_with<B: Block>(block: B, literal: B, length: usize) -> bool {
    // SAFETY: the caller's.
    let differing = !unsafe { block.same(literal) };
    let first = differing.trailing_zeros() as usize;
    first >= length.min(B::LANES)
}

impl Pattern {
    /// The value where its piece starts at `piece`.
    #[inline(always)]
    fn at(&self, piece: u32) -> Value {
        let name = if self.is_member { piece } else { 0 };
        Value {
            key_start: name + self.value.key_start,
            key_end: name + self.value.key_end,
            start: piece + self.value.start,
            end: piece + self.value.end,
            ..self.value
        }
    }
}

#[cfg(test)]
mod tests;
