//! Walks over the tokens of JSON text that the scanner has checked, or is going to check.

use super::find::find_quote;

/// The type of a [`Piece`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PieceKind {
    /// `{` or `[`
    Open,
    /// `}` or `]`
    Close,
    /// `:` or `,`
    Separator,
    /// White space between tokens.
    Blank,
    /// A number, `true`, `false` or `null`. Also any other bytes that are not JSON.
    Scalar,
    /// A string with its quotes. If the text is walked over in chunks, a string may be cut into several pieces: only the
    /// first `starts` with the opening quote, and only the last `ends` with the closing quote.
    String {
        /// Whether the piece begins with the opening quote.
        starts: bool,
        /// Whether the piece ends with the closing quote.
        ends: bool,
    },
}

/// A token, or a run of white space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) kind: PieceKind,
    pub(crate) bytes: &'a [u8],
}

/// Cuts JSON into pieces. The pieces together are the text.
///
/// The walker does not check anything. It remembers whether the last piece was cut off inside a string, so that a text
/// can be walked over in chunks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Walker {
    /// Whether the next byte is inside a string.
    is_in_string: bool,
    /// Whether the next byte is inside a string and is escaped.
    is_escaped: bool,
}

impl Walker {
    /// Removes the first piece from `rest` and returns it. Returns `None` if `rest` is empty.
    #[inline]
    pub(crate) fn next<'a>(&mut self, rest: &mut &'a [u8]) -> Option<Piece<'a>> {
        let text = *rest;
        let (kind, length) = match text.first()? {
            _ if self.is_in_string => self.string(text, false),
            b'"' => self.string(text, true),
            b'{' | b'[' => (PieceKind::Open, 1),
            b'}' | b']' => (PieceKind::Close, 1),
            b':' | b',' => (PieceKind::Separator, 1),
            first if is_blank(*first) => (PieceKind::Blank, length_while(text, is_blank)),
            _ => (PieceKind::Scalar, length_while(text, is_scalar)),
        };
        let bytes;
        (bytes, *rest) = text.split_at(length);
        Some(Piece { kind, bytes })
    }

    /// Returns the kind and the length of a piece of a string.
    fn string(&mut self, text: &[u8], starts: bool) -> (PieceKind, usize) {
        let quotes = usize::from(starts);
        let end = find_quote(&text[quotes..], &mut self.is_escaped);
        self.is_in_string = end.is_none();
        let length = end.map_or(text.len(), |end| quotes + end + 1);
        (PieceKind::String { starts, ends: end.is_some() }, length)
    }
}

/// Returns the pieces of a complete text.
pub(crate) fn pieces(text: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let (mut walker, mut rest) = (Walker::default(), text);
    std::iter::from_fn(move || walker.next(&mut rest))
}

/// Returns the length of the value at the start of valid JSON.
pub(crate) fn value_length(text: &[u8]) -> usize {
    let (mut depth, mut length) = (0_usize, 0);
    for piece in pieces(text) {
        length += piece.bytes.len();
        match piece.kind {
            PieceKind::Open => depth += 1,
            PieceKind::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    length
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn is_scalar(byte: u8) -> bool {
    !is_blank(byte) && !matches!(byte, b'"' | b'{' | b'}' | b'[' | b']' | b':' | b',')
}

/// Returns the length of the run of matching bytes that `text` starts with.
#[inline]
fn length_while(text: &[u8], matches: impl Fn(u8) -> bool) -> usize {
    text.iter().position(|byte| !matches(*byte)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(pieces: Vec<Piece<'_>>) -> Vec<u8> {
        pieces.into_iter().flat_map(|piece| piece.bytes.iter().copied()).collect()
    }

    #[test]
    fn each_token_is_a_piece() {
        let whole = PieceKind::String { starts: true, ends: true };
        let text = br#"{ "a\"\\" :[-1.5e3,true, "{"] }"#;
        let expected: [(PieceKind, &[u8]); 15] = [
            (PieceKind::Open, b"{"),
            (PieceKind::Blank, b" "),
            (whole, br#""a\"\\""#),
            (PieceKind::Blank, b" "),
            (PieceKind::Separator, b":"),
            (PieceKind::Open, b"["),
            (PieceKind::Scalar, b"-1.5e3"),
            (PieceKind::Separator, b","),
            (PieceKind::Scalar, b"true"),
            (PieceKind::Separator, b","),
            (PieceKind::Blank, b" "),
            (whole, br#""{""#),
            (PieceKind::Close, b"]"),
            (PieceKind::Blank, b" "),
            (PieceKind::Close, b"}"),
        ];
        assert_eq!(pieces(text).map(|piece| (piece.kind, piece.bytes)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_value_is_as_long_as_its_brackets_and_quotes() {
        for value in ["{}", "[[],{\"]\":\"\\\"\"}]", "\"a\\\\\"", "-1.5", "null"] {
            for rest in ["", ",1", " ]", "}"] {
                assert_eq!(value_length(format!("{value}{rest}").as_bytes()), value.len(), "{value}{rest}");
            }
        }
    }

    proptest! {
        #[test]
        fn pieces_are_the_text(text in "[\"\\\\{}\\[\\],: 1a\\n]{0,40}") {
            prop_assert_eq!(joined(pieces(text.as_bytes()).collect()), text.as_bytes());
        }

        #[test]
        fn chunks_cut_only_strings_scalars_and_white_space(text in "[\"\\\\{}\\[\\],: 1a\\n]{0,40}", at in 0_usize..40) {
            let (first, second) = text.as_bytes().split_at(at.min(text.len()));
            let mut walker = Walker::default();
            let mut found: Vec<(PieceKind, Vec<u8>)> = Vec::new();
            for mut chunk in [first, second] {
                let mut is_first = true;
                while let Some(piece) = walker.next(&mut chunk) {
                    let is_cut = match (found.last().map(|last| last.0), piece.kind) {
                        (Some(PieceKind::String { ends: false, .. }), PieceKind::String { starts: false, .. }) => true,
                        (Some(last @ (PieceKind::Scalar | PieceKind::Blank)), kind) => last == kind,
                        _ => false,
                    };
                    match found.last_mut() {
                        Some(last) if is_first && is_cut => {
                            last.1.extend_from_slice(piece.bytes);
                            if let (PieceKind::String { ends, .. }, PieceKind::String { ends: last_ends, .. }) = (piece.kind, &mut last.0) {
                                *last_ends = ends;
                            }
                        }
                        _ => found.push((piece.kind, piece.bytes.to_vec())),
                    }
                    is_first = false;
                }
            }
            let whole: Vec<_> = pieces(text.as_bytes()).map(|piece| (piece.kind, piece.bytes.to_vec())).collect();
            prop_assert_eq!(found, whole);
        }
    }
}
