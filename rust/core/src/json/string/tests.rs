use proptest::prelude::*;

use super::*;

/// Decodes content into its characters, one at a time. The fast functions must agree with it.
fn units(content: &[u8]) -> Vec<Vec<u8>> {
    let mut units = Vec::new();
    let mut at = 0;
    while at < content.len() {
        let mut one = Vec::new();
        if content[at] == b'\\' {
            let (unit, length) = unescape(content, at);
            push(&mut one, unit);
            at += length;
        } else {
            let length = 1 + content[at + 1..].iter().take_while(|byte| is_continuation(**byte)).count();
            one.extend_from_slice(&content[at..at + length]);
            at += length;
        }
        units.push(one);
    }
    units
}

/// Contents of valid strings with many special characters, long enough for several blocks.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[ -!#-\\[\\]-~]{0,70}",
        2 => Just("\\n".to_owned()),
        2 => Just("\\\"".to_owned()),
        2 => Just("\\\\".to_owned()),
        1 => Just("\\t".to_owned()),
        1 => prop_oneof![Just("\\r"), Just("\\b"), Just("\\f"), Just("\\/")].prop_map(str::to_owned),
        1 => Just("\\u00e9".to_owned()),
        1 => Just("\\ud83d\\ude00".to_owned()),
        1 => Just("\\ud83d".to_owned()),
        1 => Just("\\ude00".to_owned()),
        2 => "[äß漢字😀\u{85}\u{2028}\u{2029}…©]{1,20}",
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn decoding_in_blocks_is_the_same_as_by_character(content in content()) {
        let mut decoded = Vec::new();
        decode_string(&content, &mut decoded);
        prop_assert_eq!(decoded, units(&content).concat());
    }

    #[test]
    fn a_prefix_is_the_first_characters(content in content(), limit in 0_usize..300) {
        let mut decoded = Vec::new();
        let taken = decode_prefix(&content, limit, &mut decoded);
        let units = units(&content);
        prop_assert_eq!(taken, units.len().min(limit));
        let replaced = |unit: &Vec<u8>| if unit[0] == 0xED && unit[1] >= 0xA0 { b"?".to_vec() } else { unit.clone() };
        prop_assert_eq!(&decoded, &units.iter().take(limit).map(replaced).collect::<Vec<_>>().concat());
        let mut all = Vec::new();
        decode_string(&content, &mut all);
        let mut again = Vec::new();
        prefix_of_decoded(&all, limit, &mut again);
        prop_assert_eq!(again, decoded);
    }

    #[test]
    fn counting_and_cutting_agree_with_the_characters(content in content(), limit in 0_usize..300) {
        let units = units(&content);
        prop_assert_eq!(count(&content), units.len());
        let mut decoded = Vec::new();
        decode_string(cut(&content, limit), &mut decoded);
        prop_assert_eq!(decoded, units.into_iter().take(limit).collect::<Vec<_>>().concat());
    }

    #[test]
    fn escaping_undoes_decoding(content in content()) {
        let (mut decoded, mut escaped, mut again) = (Vec::new(), Vec::new(), Vec::new());
        decode_string(&content, &mut decoded);
        escape(&decoded, &mut escaped);
        decode_string(&escaped, &mut again);
        prop_assert!(again == decoded);
        let mut ascii = Vec::new();
        escape_to_ascii(&decoded, &mut ascii);
        prop_assert!(ascii.is_ascii());
        again.clear();
        decode_string(&ascii, &mut again);
        prop_assert!(again == decoded);
    }

    #[test]
    fn every_implementation_decodes_the_same(content in content(), limit in 0_usize..2000) {
        let mut expected = Vec::new();
        let characters = decode_prefix(&content, limit, &mut expected);
        for instructions in Instructions::all() {
            let mut decoded = Vec::new();
            let counted = decode_with(instructions, &content, limit, LoneSurrogates::Replace, &mut decoded);
            prop_assert_eq!((counted, &decoded), (characters, &expected), "{:?}", instructions);
        }
    }
}

proptest! {
    #[test]
    fn chunks_end_between_characters_and_are_as_long_as_possible(content in content(), longest in 12_usize..100) {
        let chunks: Vec<&[u8]> = chunks_of(longest, &content).collect();
        prop_assert_eq!(chunks.concat(), content.clone());
        let (mut one_by_one, mut all) = (Vec::new(), Vec::new());
        for (index, chunk) in chunks.iter().enumerate() {
            prop_assert!(!chunk.is_empty() && chunk.len() <= longest);
            decode_string(chunk, &mut one_by_one);
            // The next character had no room.
            let next = chunks.get(index + 1).map_or(0, |next| beginning(next));
            prop_assert!(next == 0 || chunk.len() + next > longest);
        }
        decode_string(&content, &mut all);
        prop_assert_eq!(one_by_one, all);
    }
}

/// Returns the length of the first escape or character.
fn beginning(content: &[u8]) -> usize {
    match content[0] {
        b'\\' => unescape(content, 0).1,
        _ => 1 + content[1..].iter().take_while(|byte| is_continuation(**byte)).count(),
    }
}

#[test]
fn only_paired_surrogates_are_combined() {
    let decoded = |content: &str| {
        let mut out = Vec::new();
        decode_string(content.as_bytes(), &mut out);
        out
    };
    assert_eq!(decoded("\\ud83d\\ude00"), "😀".as_bytes());
    assert_eq!(decoded("\\ud83d"), [0xED, 0xA0, 0xBD]);
    assert_eq!(decoded("\\ude00\\ud83d"), [0xED, 0xB8, 0x80, 0xED, 0xA0, 0xBD]);
    let mut text = Vec::new();
    escape_specials(&decoded("a\\ud83db"), &mut text);
    assert_eq!(text, b"a\\ud83db");
}

#[test]
fn decoded_invalid_utf_8_is_not_longer_than_its_content() {
    for (byte, limit) in [(0x80, 1), (0x80, 1024), (0xBF, 0), (0xFF, 1024), (0xC3, usize::MAX / 3)] {
        let content = vec![byte; 100_000];
        let mut out = Vec::new();
        decode_prefix(&content, limit, &mut out);
        assert!(out.len() <= content.len() && out.iter().all(|written| *written == byte));
    }
}
