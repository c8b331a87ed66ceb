use proptest::prelude::*;

use super::*;
use crate::json::scan::tests::{Harm, Tree, harm, harmed, implementations, text, tree};
use crate::json::{Malformed, scan_alike};

/// All that a scan says of a text.
type Said = Result<(Tree, usize, bool, bool), Malformed>;

fn said(result: Result<(), Malformed>, tape: &Tape) -> Said {
    result.map(|()| (tree(tape, tape.root()), tape.depth(), tape.has_blank(), tape.has_non_ascii()))
}

/// Scans texts one after the other, with every implementation, with and without shapes; what they say must be the same.
/// `payload` is where the object starts from which on each is scanned.
fn check(texts: &[Vec<u8>], payload: usize) {
    for run in implementations() {
        let (mut shapes, mut tape) = (Shapes::default(), Tape::default());
        for text in texts.iter().chain(texts) {
            let mut buffer = [text, &b"\n"[..]].concat();
            buffer.extend(b"\"\\u12\\\"}],:\xff1".iter().cycle().take(PADDING));
            let text = Text::new(&buffer, text.len());
            // SAFETY: the processor was asked for the features.
            let (without, with) = unsafe {
                let without = run(text, payload, None, &mut tape);
                let without = said(without, &tape);
                let with = run(text, payload, Some(&mut shapes), &mut tape);
                (without, said(with, &tape))
            };
            assert_eq!(without, with, "{}", String::from_utf8_lossy(text.bytes()));
        }
    }
}

/// Whether a text is followed to its end by what was learned from others.
fn is_followed(shapes: &mut Shapes, text: &str) -> bool {
    let mut padded = text.as_bytes().to_vec();
    let (learned, nodes) = (shapes.learned, shapes.nodes.len());
    scan_alike(Text::pad(&mut padded), 0, shapes, &mut Tape::default()).expect("valid");
    (shapes.learned, shapes.nodes.len()) == (learned, nodes)
}

/// Texts that look like the one before, but for some harm.
fn alike() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let change = prop::collection::vec(harm(), 0..3);
    (text(false), prop::collection::vec(change, 0..6)).prop_map(|(first, changes): (String, Vec<Vec<Harm>>)| {
        let mut texts = vec![first.into_bytes()];
        for harms in changes {
            texts.push(harmed(texts[texts.len() - 1].clone(), &harms));
            texts.push(harmed(texts[0].clone(), &harms));
        }
        texts
    })
}

/// A text without white space between its tokens, so that it is learned.
fn compact(json: &str) -> Vec<u8> {
    let value: serde_json::Value = serde_json::from_str(json).expect("valid");
    serde_json::to_vec(&value).expect("valid")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_texts_say_the_same_with_shapes(texts in alike()) {
        check(&texts, 0);
    }

    #[test]
    fn compact_texts_say_the_same_with_shapes(
        first in text(true),
        changes in prop::collection::vec(prop::collection::vec(harm(), 0..3), 0..8),
    ) {
        let first = compact(&first);
        let changed = changes.iter().map(|harms| harmed(first.clone(), harms));
        check(&[first.clone()].into_iter().chain(changed).collect::<Vec<_>>(), 0);
    }

    #[test]
    fn payloads_say_the_same_with_shapes(
        payload in text(true),
        changes in prop::collection::vec(prop::collection::vec(harm(), 0..3), 0..8),
    ) {
        const HEAD: &[u8] = b"{\"timestamp\":\"2026-11-22T07:12:04.790Z\",\"type\":\"event_msg\",\"payload\":";
        let rest = [&compact(&payload)[..], b",\"metadata\":{\"a\":[1,{\"b\":null}]}}"].concat();
        let texts = [Vec::new()].into_iter().chain(changes).map(|harms| harmed(rest.clone(), &harms));
        // Where harm made it no object, nobody scans from there.
        let texts = texts.filter(|rest| rest.first() == Some(&b'{'));
        check(&texts.map(|rest| [HEAD, &rest].concat()).collect::<Vec<_>>(), HEAD.len());
    }
}

const LINE: &str =
    r#"{"type":"call","id":"a","n":1,"m":[1,-2.5e3,"x"],"content":[{"type":"t","text":"a\nb"}],"ok":true}"#;

#[test]
fn a_text_with_other_values_is_followed_to_its_end() {
    let long = "é\\\"".repeat(300);
    let mut shapes = Shapes::default();
    assert!(!is_followed(&mut shapes, LINE));
    for (from, to) in [
        ("\"a\"", "\"\""),
        ("\"a\"", &format!("\"{long}\"")),
        ("\"n\":1", "\"n\":0"),
        ("\"n\":1", "\"n\":-12.5E-3"),
        ("\"n\":1", "\"n\":12345678901234567890123456789012345678901234567890123456789012345678901234567890"),
        ("-2.5e3", "7"),
        ("a\\nb", "\\u0041"),
    ] {
        assert!(is_followed(&mut shapes, &LINE.replace(from, to)), "{to}");
    }
}

#[test]
fn a_text_of_another_shape_is_learned_beside_the_first() {
    let mut shapes = Shapes::default();
    assert!(!is_followed(&mut shapes, LINE));
    for (from, to) in [
        ("\"n\":1", "\"n\":null"),
        ("\"n\":1", "\"n\":\"1\""),
        ("\"type\":\"t\"", "\"type\":\"u\""),
        (",\"ok\":true", ""),
        ("\"ok\":true", "\"ok\":false"),
        ("\"m\":[1,", "\"m\":["),
        ("\"a\"", "{}"),
    ] {
        let other = LINE.replace(from, to);
        assert_ne!(other, LINE);
        assert!(!is_followed(&mut shapes, &other), "{other}");
        assert!(is_followed(&mut shapes, &other), "{other}");
        assert!(is_followed(&mut shapes, LINE));
    }
}

#[test]
fn what_is_only_the_beginning_of_a_shape_is_none() {
    let text = |rest: &str| [LINE, rest].concat().into_bytes();
    let texts: Vec<Vec<u8>> =
        ["", "}", " ", "\n", "\n }", ",", "x"].into_iter().map(text).chain([LINE[..LINE.len() - 1].into()]).collect();
    check(&texts, 0);
    check(&(0..LINE.len()).rev().map(|end| LINE.as_bytes()[..end].to_vec()).collect::<Vec<_>>(), 0);
}

#[test]
fn texts_that_always_differ_keep_within_bounds() {
    let mut shapes = Shapes::default();
    for number in 0..20_000 {
        is_followed(
            &mut shapes,
            &format!("{{\"key{number}\":{{\"{number}\":[{number},\"x\"]}},\"type\":\"t{number}\"}}"),
        );
        assert!(shapes.nodes.len() <= MOST_NODES);
    }
    assert!(shapes.learned < FIRST_TEXTS + 20_000 / SELDOM + 1);
    assert!(shapes.bytes() <= MOST_BYTES + PADDING);
    // And go on as before when something comes again.
    let mut lines = (0..64).map(|_| is_followed(&mut shapes, LINE));
    assert!(lines.any(|is_followed| is_followed));
}

#[test]
fn a_payload_and_a_whole_text_of_the_same_bytes_are_told_apart() {
    const HEAD: &str = "{\"type\":\"event_msg\",\"payload\":";
    // A whole text that looks like the payload of a line and its end, and the line.
    let texts = [
        (r#"{"type":"message","n":{}}"#, 0),
        (r#"{"type":"message","n":{}}}"#, 0),
        (r#"{"type":"message","n":"x","content":[{"type":"t","text":"y"}]}"#, 0),
        (r#"{"type":"message","n":"x","content":[{"type":"t","text":"y"}]}}"#, 0),
        (r#"{"type":"message","n":{}}}"#, HEAD.len()),
        (r#"{"type":"message","n":"x","content":[{"type":"t","text":"y"}]}}"#, HEAD.len()),
    ];
    for first in 0..texts.len() {
        for run in implementations() {
            let (mut shapes, mut tape) = (Shapes::default(), Tape::default());
            for (text, payload) in texts.iter().cycle().skip(first).take(3 * texts.len()) {
                let mut padded = [&HEAD[..*payload], text].concat().into_bytes();
                let text = Text::pad(&mut padded);
                // SAFETY: the processor was asked for the features.
                let (without, with) = unsafe {
                    let without = run(text, *payload, None, &mut tape);
                    let without = said(without, &tape);
                    let with = run(text, *payload, Some(&mut shapes), &mut tape);
                    (without, said(with, &tape))
                };
                assert_eq!(without, with, "{}", String::from_utf8_lossy(text.bytes()));
            }
        }
    }
}

#[test]
fn texts_of_many_pieces_are_scanned_as_ever() {
    let numbers = |count: usize| format!("{{\"content\":[{}0],\"id\":\"x\"}}", "1,".repeat(count)).into_bytes();
    let texts: Vec<Vec<u8>> = [1, 100, MOST_PIECES - 3, MOST_PIECES, MOST_PIECES + 1, 5000].map(numbers).into();
    check(&texts, 0);
    let key = |length: usize| format!("{{\"{}\":1,\"id\":\"x\"}}", "k".repeat(length)).into_bytes();
    check(&[LONGEST_LITERAL - 10, LONGEST_LITERAL, 2 * LONGEST_LITERAL].map(key), 0);
}
