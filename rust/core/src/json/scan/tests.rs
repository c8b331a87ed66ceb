use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;
use crate::json::block::PADDING;

/// A parser of RFC 8259's grammar that reads byte by byte. The scanner must agree with it.
struct Model<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    deepest: usize,
    has_blank: bool,
}

impl<'a> Model<'a> {
    /// Reads a text, which must be one object. Returns the offset of the first wrong byte if it is not.
    fn read(text: &'a [u8]) -> Result<Self, usize> {
        let mut model = Self { text, at: 0, depth: 0, deepest: 0, has_blank: false };
        model.blank();
        if model.byte() != Some(b'{') {
            return Err(model.at);
        }
        model.value()?;
        model.blank();
        if model.at == text.len() { Ok(model) } else { Err(model.at) }
    }

    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Reads one byte, which must be `expected`.
    fn take(&mut self, expected: u8) -> Result<(), usize> {
        if self.byte() == Some(expected) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.at)
        }
    }

    fn blank(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
            self.has_blank = true;
        }
    }

    fn value(&mut self) -> Result<(), usize> {
        match self.byte() {
            Some(b'"') => self.string(),
            Some(open @ (b'{' | b'[')) => {
                self.at += 1;
                self.depth += 1;
                self.deepest = self.deepest.max(self.depth);
                self.members(open == b'{', open + 2)?;
                self.depth -= 1;
                Ok(())
            }
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.at),
        }
    }

    fn members(&mut self, is_object: bool, close: u8) -> Result<(), usize> {
        self.blank();
        if self.take(close).is_ok() {
            return Ok(());
        }
        loop {
            if is_object {
                self.string()?;
                self.blank();
                self.take(b':')?;
                self.blank();
            }
            self.value()?;
            self.blank();
            if self.take(close).is_ok() {
                return Ok(());
            }
            self.take(b',')?;
            self.blank();
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), usize> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.at);
        }
        self.at += word.len();
        Ok(())
    }

    fn string(&mut self) -> Result<(), usize> {
        self.take(b'"')?;
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.byte() {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                        Some(b'u') => {
                            let digits = self.text.get(self.at + 1..self.at + 5);
                            if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                                return Err(self.at);
                            }
                            self.at += 5;
                        }
                        _ => return Err(self.at),
                    }
                }
                Some(0x20..) => self.at += 1,
                _ => return Err(self.at),
            }
        }
    }

    fn number(&mut self) -> Result<(), usize> {
        // The minus is optional.
        let _ = self.take(b'-');
        if self.take(b'0').is_err() {
            self.digits()?;
        }
        if self.take(b'.').is_ok() {
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), usize> {
        let digits = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        if digits > 0 { Ok(()) } else { Err(self.at) }
    }
}

/// A value and the recorded values in it, without indexes.
#[derive(Debug, PartialEq)]
struct Tree {
    key: Key,
    kind: Kind,
    content: Content,
    key_span: (u32, u32),
    span: (u32, u32),
    children: Vec<Tree>,
}

fn tree(tape: &Tape, value: &Value) -> Tree {
    Tree {
        key: value.key,
        kind: value.kind,
        content: value.content,
        key_span: (value.key_start, value.key_end),
        span: (value.start, value.end),
        children: tape.children(value).map(|child| tree(tape, child)).collect(),
    }
}

/// Scans `json` with every implementation. All must return the same.
fn scan_with_all(json: &[u8]) -> Result<(Tree, Tape), Malformed> {
    // The padding may contain any bytes, and nothing follows it.
    let mut buffer = [json, b"\n"].concat();
    buffer.extend(b"\"\\u12\\\"}],:\xff1".iter().cycle().take(PADDING));
    let text = Text::new(&buffer, json.len());
    let mut first = None;
    for instructions in Instructions::all() {
        // The tape of an earlier text must not change the result.
        let (mut tape, mut earlier) = (Tape::default(), b"{ \"payload\":{\"content\":[[{\"\xC3\xA9\":[".to_vec());
        let _ = scan_with(instructions, Text::pad(&mut earlier), 0, &mut tape);
        let result = scan_with(instructions, text, 0, &mut tape).map(|()| (tree(&tape, tape.root()), tape));
        match (&first, &result) {
            (None, _) => first = Some(result),
            (Some(Ok((first_tree, first_tape))), Ok((tree, tape))) => {
                assert_eq!(first_tree, tree);
                assert_eq!(
                    (first_tape.depth(), first_tape.has_blank(), first_tape.has_non_ascii()),
                    (tape.depth(), tape.has_blank(), tape.has_non_ascii())
                );
            }
            (Some(Err(first)), Err(error)) => assert_eq!(first, error),
            (Some(first), _) => panic!("{:?} and {:?}", first.as_ref().err(), result.err()),
        }
    }
    first.expect("one implementation")
}

/// Scans `json`. All implementations, the model and `serde_json` must agree on whether it is an object.
///
/// `serde_json` does not check surrogates or UTF-8 in values that it ignores. So the only difference is that it accepts
/// values other than objects.
fn check(json: &[u8]) -> Result<(Tree, Tape), Malformed> {
    let scanned = scan_with_all(json);
    match (Model::read(json), &scanned) {
        (Ok(model), Ok((tree, tape))) => {
            assert_eq!((tape.depth(), tape.has_blank()), (model.deepest, model.has_blank));
            assert_eq!(tape.has_non_ascii(), !json.is_ascii());
            assert_eq!((tree.kind, tree.key), (Kind::Object, Key::Other));
        }
        (Err(at), Err(malformed)) => assert_eq!(at, malformed.at, "{}", malformed.reason),
        (model, _) => panic!("the model returns {:?}, the scanner {:?}", model.map(|model| model.at), scanned.err()),
    }
    let starts_as_object = json.iter().find(|byte| !b" \t\r\n".contains(byte)) == Some(&b'{');
    assert_eq!(scanned.is_ok(), starts_as_object && serde_json::from_slice::<IgnoredAny>(json).is_ok());
    scanned
}

// ---- generated texts ----

fn blank() -> impl Strategy<Value = String> {
    prop_oneof![8 => Just(String::new()), 2 => "[ \t\r\n]{1,3}", 1 => "[ \t\r\n]{60,70}"]
}

/// A string. If `is_paired`, it has no unpaired surrogates.
fn string(is_paired: bool) -> impl Strategy<Value = String> {
    let lone = if is_paired { "" } else { "\\uDfFf" };
    let piece = prop_oneof![
        6 => "[ -!#-\\[\\]-~]{0,70}",
        2 => r#"(\\["\\/bfnrt]){1,9}"#,
        2 => "\\\\u[0-9a-cA-C][0-9a-fA-F]{3}",
        1 => Just("\\ud83d\\uDE00".to_owned()),
        1 => Just(lone.to_owned()),
        2 => "[ä漢😀\u{7f}\u{2028}]{1,9}",
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn number() -> impl Strategy<Value = String> {
    "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?"
}

/// Known keys, some with escapes, and others.
fn key() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "payload",
        "content",
        "summary",
        "output",
        "info",
        "item",
        "command",
        "duration",
        "type",
        "text",
        "id",
        "name",
        "call_id",
        "p\\u0061yload",
        "\\u0063ontent",
        "total_token_usage",
        "subagent_history_start_ordinal",
    ];
    prop_oneof![6 => prop::sample::select(KNOWN).prop_map(|name| format!("\"{name}\"")), 1 => string(true)]
}

fn object(value: impl Strategy<Value = String>, members: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    let member = (blank(), key(), blank(), blank(), value, blank());
    let member = member.prop_map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}"));
    (prop::collection::vec(member, members), blank()).prop_map(|(members, blank)| {
        if members.is_empty() { format!("{{{blank}}}") } else { format!("{{{}}}", members.join(",")) }
    })
}

fn array(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let element = (blank(), value, blank()).prop_map(|(before, value, after)| before + &value + &after);
    (prop::collection::vec(element, 0..6), blank()).prop_map(|(elements, blank)| {
        if elements.is_empty() { format!("[{blank}]") } else { format!("[{}]", elements.join(",")) }
    })
}

fn value(is_paired: bool) -> impl Strategy<Value = String> {
    let word = prop::sample::select(&["true", "false", "null"][..]).prop_map(str::to_owned);
    let leaf = prop_oneof![1 => word, 2 => number(), 3 => string(is_paired)];
    leaf.prop_recursive(16, 48, 6, |inner| prop_oneof![2 => object(inner.clone(), 0..6), 1 => array(inner)])
}

/// A valid text.
fn text(is_paired: bool) -> impl Strategy<Value = String> {
    (blank(), object(value(is_paired), 0..6), blank(), 0_usize..40).prop_map(|(before, object, after, deeper)| {
        let (open, close) = ("{\"payload\":[".repeat(deeper), "]}".repeat(deeper));
        before + &open + &object + &close + &after
    })
}

/// A small change to a text, which may make it invalid.
#[derive(Clone, Debug)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Delete(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    Truncate(prop::sample::Index),
}

/// A byte, usually with a meaning in JSON.
fn byte() -> impl Strategy<Value = u8> {
    let special = b"\"\"\"\\\\\\{}[],:-+.eE019tfnu \t\r\n\x00\x1f\x7f\x80\xff";
    prop_oneof![6 => prop::sample::select(&special[..]), 1 => any::<u8>()]
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        (place(), byte()).prop_map(|(at, byte)| Damage::Flip(at, byte)),
        (place(), byte()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        (place(), 1_usize..4).prop_map(|(at, count)| Damage::Delete(at, count)),
        (place(), 1_usize..80).prop_map(|(at, count)| Damage::Repeat(at, count)),
        place().prop_map(Damage::Truncate),
    ]
}

fn damaged(mut text: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        if text.is_empty() {
            break;
        }
        match damage {
            Damage::Flip(at, byte) => {
                let at = at.index(text.len());
                text[at] = *byte;
            }
            Damage::Insert(at, byte) => text.insert(at.index(text.len()), *byte),
            Damage::Delete(at, count) => {
                let at = at.index(text.len());
                let end = text.len().min(at + count);
                text.drain(at..end);
            }
            Damage::Repeat(at, count) => {
                let at = at.index(text.len());
                let piece = text[at..text.len().min(at + count)].to_vec();
                text.splice(at..at, piece);
            }
            Damage::Truncate(at) => text.truncate(at.index(text.len())),
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn valid_texts_are_accepted(json in text(false)) {
        prop_assert!(check(json.as_bytes()).is_ok());
    }

    #[test]
    fn damaged_texts_are_valid_only_if_the_grammar_allows_them(
        json in text(false),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        let _ = check(&damaged(json.into_bytes(), &damages));
    }

    #[test]
    fn arbitrary_bytes_are_valid_only_if_the_grammar_allows_them(
        bytes in prop::collection::vec(byte(), 0..200),
        rest in any::<Vec<u8>>(),
    ) {
        let _ = check(&bytes);
        let _ = check(&[b"{\"", &bytes[..]].concat());
        let _ = check(&[b"{\"a\":", &bytes[..]].concat());
        let _ = check(&rest);
    }

    #[test]
    fn recorded_values_are_the_same_as_in_another_parser(json in text(true)) {
        let (_, tape) = check(json.as_bytes()).expect("valid");
        let parsed: serde_json::Value = serde_json::from_str(&json).expect("valid");
        let mut padded = json.clone().into_bytes();
        assert_same(Text::pad(&mut padded), &tape, tape.root(), &parsed);
    }

    #[test]
    fn a_scan_from_the_payload_records_the_same_as_a_complete_scan(
        payload in object(value(false), 0..6),
        following in prop::collection::vec((key(), value(false)), 0..4),
        damages in prop::collection::vec(damage(), 0..2),
    ) {
        let head = "{\"timestamp\":\"2026-11-22T07:12:04.790Z\",\"ordinal\":7,\"type\":\"event_msg\",\"payload\":";
        let following = following.iter().map(|(key, value)| format!(",{key}:{value}")).collect::<Vec<_>>().concat();
        let rest = damaged(format!("{payload}{following}}}").into_bytes(), &damages);
        let line = [head.as_bytes(), &rest].concat();
        let complete = check(&line);
        let mut padded = line.clone();
        let text = Text::pad(&mut padded);
        for instructions in Instructions::all() {
            let mut tape = Tape::default();
            let result = scan_with(instructions, text, head.len(), &mut tape);
            match (&complete, result) {
                // Nobody scans from the payload if it is not an object.
                _ if rest.first() != Some(&b'{') => {}
                (Ok((complete, complete_tape)), Ok(())) => {
                    let members = tree(&tape, tape.root()).children;
                    prop_assert_eq!(members.len() + 3, complete.children.len());
                    prop_assert_eq!(members[0].key, Key::Payload);
                    prop_assert_eq!(&members[0].children, &complete.children[3].children);
                    prop_assert_eq!(members[0].span, complete.children[3].span);
                    prop_assert_eq!(&members[1..], &complete.children[4..]);
                    prop_assert_eq!(tape.depth(), complete_tape.depth());
                    prop_assert_eq!(tape.has_blank(), complete_tape.has_blank());
                    prop_assert_eq!(tape.has_non_ascii(), complete_tape.has_non_ascii());
                }
                (Err(complete), Err(error)) => prop_assert_eq!(*complete, error),
                (_, result) => prop_assert!(false, "{:?}", result),
            }
        }
    }
}

/// Compares a recorded value with the value that `serde_json` parsed.
fn assert_same(text: Text<'_>, tape: &Tape, value: &Value, parsed: &serde_json::Value) {
    use serde_json::Value as Parsed;
    let again: Parsed = serde_json::from_slice(value.token(text)).expect("a value's token is valid");
    assert_eq!(again, *parsed);
    let raw = value.raw(text);
    match (value.kind, parsed) {
        (Kind::String, Parsed::String(_)) => {
            assert_eq!(value.content.has_escape(), raw.contains(&b'\\'));
            assert_eq!(value.content.has_non_ascii(), !raw.is_ascii());
            let mut escapes = raw.iter();
            let has_unicode = std::iter::from_fn(|| {
                escapes.find(|byte| **byte == b'\\')?;
                escapes.next()
            });
            assert_eq!(value.content.has_unicode_escape(), has_unicode.into_iter().any(|byte| *byte == b'u'));
            assert_eq!(value.content.is_plain(), !raw.contains(&b'\\') && raw.is_ascii());
        }
        (Kind::Integer, Parsed::Number(_)) => assert!(!raw.iter().any(|byte| b".eE".contains(byte))),
        (Kind::Float, Parsed::Number(_)) => assert!(raw.iter().any(|byte| b".eE".contains(byte))),
        (Kind::True, Parsed::Bool(true)) | (Kind::False, Parsed::Bool(false)) | (Kind::Null, Parsed::Null) => {}
        (Kind::Object, Parsed::Object(members)) if value.is_entered => {
            let mut seen = std::collections::HashSet::new();
            for child in tape.children(value) {
                let name: String = serde_json::from_slice(&[b"\"", child.key_name(text), b"\""].concat())
                    .expect("a key's name is valid");
                assert_eq!(child.key, Key::named(name.as_bytes()));
                assert!(members.contains_key(&name));
                seen.insert(name);
            }
            assert_eq!(seen.len(), members.len());
            for (name, parsed) in members {
                // For a repeated key, `serde_json` has the last value.
                let of_name = |child: &&Value| {
                    let quoted = [b"\"", child.key_name(text), b"\""].concat();
                    serde_json::from_slice::<String>(&quoted).expect("a key's name is valid") == *name
                };
                let child = tape.children(value).filter(of_name).last().expect("every member is recorded");
                assert_same(text, tape, child, parsed);
            }
        }
        (Kind::Array, Parsed::Array(elements)) if value.is_entered => {
            assert_eq!(tape.children(value).count(), elements.len());
            for (child, parsed) in tape.children(value).zip(elements) {
                assert_eq!(child.key, value.key);
                assert_same(text, tape, child, parsed);
            }
        }
        (Kind::Object, Parsed::Object(_)) | (Kind::Array, Parsed::Array(_)) => {
            assert_eq!(tape.children(value).count(), 0);
        }
        (kind, parsed) => panic!("{kind:?} for {parsed}"),
    }
    let should_be_entered = matches!(value.kind, Kind::Object | Kind::Array) && value.key.is_entered();
    assert!(value.is_entered || !should_be_entered || tape.depth() > MAX_RECORDED_DEPTH);
}

// ---- edges ----

#[test]
fn the_end_of_a_string_is_found_at_every_offset_of_a_block() {
    for start in 0..65 {
        for length in 0..=140 {
            let content = "x".repeat(length);
            let json = format!("{{{}\"k\":\"{content}\",\"id\":\"{content}\"}}", " ".repeat(start));
            let (tree, _) = check(json.as_bytes()).expect("valid");
            let [first, second] = &tree.children[..] else { panic!("two members") };
            assert_eq!((first.span.1 - first.span.0) as usize, length);
            assert_eq!((second.span.1 - second.span.0) as usize, length);
            assert_eq!((first.key, second.key), (Key::Other, Key::Id));
        }
    }
}

#[test]
fn runs_of_backslashes_may_cross_blocks() {
    for before in 0..140 {
        for run in 0..12 {
            let json = |rest: &str| format!("{{\"k\":\"{}{}{rest}", "x".repeat(before), "\\".repeat(run));
            let ends = run % 2 == 0;
            assert_eq!(check(json("\"}").as_bytes()).is_ok(), ends);
            assert_eq!(check(json("\",\"id\":\"\\\"\"}").as_bytes()).is_ok(), ends);
            assert_eq!(check(json("\"\"}").as_bytes()).is_ok(), !ends);
            assert!(check(json("u12aF\"}").as_bytes()).is_ok());
            assert_eq!(check(json("u12a\"}").as_bytes()).is_ok(), ends);
            assert_eq!(check(json("x\"}").as_bytes()).is_ok(), ends);
            assert!(check(json("").as_bytes()).is_err());
        }
    }
}

#[test]
fn every_byte_is_checked_at_every_offset_of_a_block() {
    for before in [0, 1, 6, 7, 8, 55, 56, 57, 63, 64, 65] {
        for byte in 0..=255 {
            for escape in [&b""[..], b"\\"] {
                let content = [&vec![b'x'; before][..], escape, &[byte], b"12aF"].concat();
                let _ = check(&[b"{\"k\":\"", &content[..], b"\"}"].concat());
            }
        }
    }
}

#[test]
fn all_forms_of_numbers_are_accepted_and_no_others() {
    let number = |text: &str| check(format!("{{\"k\":{text}}}").as_bytes()).map(|(tree, _)| tree.children[0].kind);
    for integer in ["0", "-0", "1", "-1", "10", "9007199254740993", "123456789012345678901234567890"] {
        assert_eq!(number(integer), Ok(Kind::Integer), "{integer}");
    }
    for float in ["0.0", "-0.5", "1e5", "1E+5", "1e-5", "10.25e00", "0e0", "1e999", "-1.5E-999"] {
        assert_eq!(number(float), Ok(Kind::Float), "{float}");
    }
    for none in ["", "-", "+1", "01", "-01", ".5", "1.", "1.e5", "1e", "1e+", "0x1", "1_0", "NaN", "Infinity", "1 2"] {
        assert!(number(none).is_err(), "{none}");
    }
}

#[test]
fn surrogates_may_be_unpaired() {
    for content in ["\\ud83d", "\\ude00", "\\ude00\\ud83d", "\\ud83d\\ud83d", "\\uD83Dx", "\\ud83d\\n"] {
        assert!(check(format!("{{\"k\":\"{content}\"}}").as_bytes()).is_ok(), "{content}");
    }
}

#[test]
fn invalid_utf_8_is_accepted_in_strings() {
    assert!(check(b"{\"k\":\"\xff\xc3\xed\xa0\x80\x80\"}").expect("valid").1.has_non_ascii());
    assert!(check(b"{\"k\":\xff}").is_err());
    assert!(check(b"\xef\xbb\xbf{}").is_err());
}

#[test]
fn ten_thousand_levels_are_accepted() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("{\"payload\":", "}"), ("[{\"content\" : [", "]}]")] {
        let json = format!("{{\"payload\":{}0{}}}", open.repeat(10_000), close.repeat(10_000));
        let levels = open.matches(['[', '{']).count();
        let (_, tape) = scan_with_all(json.as_bytes()).expect("valid");
        assert_eq!(tape.depth(), 1 + levels * 10_000);
        assert!(serde_json::from_str::<IgnoredAny>(&json).is_ok());
        // The innermost closing bracket is of the other kind.
        let swapped = json.replacen(&format!("0{close}"), if close.starts_with(']') { "0}" } else { "0]" }, 1);
        assert_eq!(scan_with_all(swapped.as_bytes()).err().expect("invalid").at, json.find('0').expect("a zero") + 1);
    }
}

#[test]
fn nesting_deeper_than_the_limit_is_an_error() {
    let mut json = b"{\"a\":".to_vec();
    json.resize(json.len() + MAX_DEPTH, b'[');
    let mut tape = Tape::default();
    let error = scan(Text::pad(&mut json), &mut tape).expect_err("too deep");
    assert_eq!((error.at, error.reason), (4 + MAX_DEPTH, "containers are nested too deeply"));
}

#[test]
fn only_the_extent_is_recorded_of_a_container_with_more_values_than_the_limit() {
    // The object, the array and the string after it are values too.
    let json = |elements: usize| format!("{{\"content\":[{}\"\\n\"],\"id\":\"x\"}}", "0,".repeat(elements - 1));
    let (tree, _) = scan_with_all(json(MAX_VALUES - 3).as_bytes()).expect("valid");
    assert_eq!(tree.children[0].children.len(), MAX_VALUES - 3);
    assert_eq!(tree.children.len(), 2);
    for elements in [MAX_VALUES - 1, MAX_VALUES, 3 * MAX_VALUES] {
        let json = json(elements);
        let (tree, tape) = scan_with_all(json.as_bytes()).expect("valid");
        assert_eq!(tree.children.len(), 2);
        assert!(tree.children[0].children.is_empty());
        let content = tape.children(tape.root()).next().expect("two members");
        assert!(!content.is_entered);
        assert_eq!((content.start, content.end as usize), (11, json.len() - ",\"id\":\"x\"}".len()));
    }
    // The object itself has too many members. The payload is the last of them.
    let members = "\"a\":\"\\\\\",".repeat(MAX_VALUES);
    let json = format!("{{{members}\"payload\":{{\"id\":[1]}}}}");
    let (tree, tape) = scan_with_all(json.as_bytes()).expect("valid");
    assert!(tree.children.is_empty() && !tape.root().is_entered);
    assert_eq!(tape.root().end as usize, json.len());
    // Values in containers that are not entered do not count. All of the text is checked.
    assert!(scan_with_all(json.replace("content", "other").as_bytes()).is_ok());
    let error = scan_with_all(json.replace("[1]", "[1}").as_bytes()).err().expect("invalid");
    assert_eq!(error.at, json.len() - 3);
}

#[test]
fn only_the_extent_is_recorded_of_a_payload_with_more_values_than_the_limit() {
    let head = "{\"timestamp\":\"t\",\"payload\":";
    let mut json = format!("{head}{{{}\"b\":[{{}},\"\\\"\"]}}}}", "\"a\":1,".repeat(MAX_VALUES)).into_bytes();
    let length = json.len();
    let mut tape = Tape::default();
    scan_from_payload(Text::pad(&mut json), head.len(), &mut tape).expect("valid");
    let payload = tape.children(tape.root()).next().expect("one member");
    assert!(!payload.is_entered);
    assert_eq!((payload.key, payload.start as usize, payload.end as usize), (Key::Payload, head.len(), length - 1));
}
