use std::fmt::Write;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

#[test]
fn unnecessary_escapes_are_removed() {
    let mut out = Vec::new();
    compact_unescaped(br#" { "\u0061\/" : [ "\n\u000a\"\u00e9\ud83d" , -1.0e5 , "" ] } "#, &mut out);
    assert_eq!(String::from_utf8_lossy(&out), r#"{"a/":["\n\n\"é\ud83d",-1.0e5,""]}"#);
}

fn dumped(json: &str, sort_keys: bool) -> String {
    let mut out = Vec::new();
    write_python_json(json.as_bytes(), sort_keys, &mut |piece| {
        out.extend_from_slice(piece);
        true
    });
    String::from_utf8(out).expect("a dump is ASCII")
}

/// Writes a value as Python does: compact, ASCII only.
fn of_python(value: &Value, sort_keys: bool, out: &mut String) {
    match value {
        Value::String(text) => {
            let quoted = serde_json::to_string(text).expect("a string");
            for character in quoted.chars() {
                if matches!(character, ' '..='~') {
                    out.push(character);
                } else {
                    let units = character.encode_utf16(&mut [0; 2]).to_vec();
                    for unit in units {
                        write!(out, "\\u{unit:04x}").expect("writing to a string cannot fail");
                    }
                }
            }
        }
        Value::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                of_python(element, sort_keys, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            if sort_keys {
                members.sort_by_key(|(name, _)| *name);
            }
            out.push('{');
            for (index, (name, member)) in members.into_iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                of_python(&Value::String(name.clone()), false, out);
                out.push(':');
                of_python(member, sort_keys, out);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

/// A value with white space between its tokens.
fn value() -> impl Strategy<Value = String> {
    let string = "[ !#-\\[\\]-~äß漢😀\u{7f}]{0,8}(\\\\(n|t|\"|\\\\|/|u00e9|u0041|u0000|ud83d\\\\ude00))?";
    let string = string.prop_map(|content| format!("\"{content}\""));
    let word = prop::sample::select(&["true", "false", "null", "0", "-1", "123456789012345678"][..]);
    let leaf = prop_oneof![word.prop_map(str::to_owned), string.clone()];
    leaf.prop_recursive(6, 32, 5, move |inner| {
        let blank = || "[ \t\r\n]{0,2}";
        let element = (blank(), inner.clone(), blank()).prop_map(|(before, value, after)| before + &value + &after);
        let member = (blank(), string.clone(), blank(), element.clone());
        let member = member.prop_map(|(before, name, after, value)| format!("{before}{name}{after}:{value}"));
        let list = |elements: Vec<String>, open: &str, close: &str| format!("{open}{}{close}", elements.join(","));
        prop_oneof![
            prop::collection::vec(element, 0..5).prop_map(move |elements| list(elements, "[", "]")),
            prop::collection::vec(member, 0..5).prop_map(move |members| list(members, "{", "}")),
        ]
    })
}

/// Removes the white space between the tokens, character by character.
fn without_blanks(json: &str) -> String {
    let (mut is_inside, mut is_escaped) = (false, false);
    let keep = |character: &char| {
        if is_inside {
            is_inside = is_escaped || *character != '"';
            is_escaped = !is_escaped && *character == '\\';
            return true;
        }
        is_inside = *character == '"';
        !" \t\r\n".contains(*character)
    };
    json.chars().filter(keep).collect()
}

proptest! {
    #[test]
    fn a_dump_is_the_same_as_in_python(json in value(), sort_keys in any::<bool>()) {
        // A repeated key keeps its first position and its last value in serde_json's ordered maps, as in Python's.
        let parsed: Value = serde_json::from_str(&json).expect("valid");
        let mut expected = String::new();
        of_python(&parsed, sort_keys, &mut expected);
        prop_assert_eq!(dumped(&json, sort_keys), expected);
    }

    #[test]
    fn a_dump_stops_if_the_sink_wants_no_more(json in value(), calls in 1_usize..20) {
        let mut left = calls;
        let is_complete = write_python_json(json.as_bytes(), false, &mut |_| {
            assert!(left > 0, "called again");
            left -= 1;
            left > 0
        });
        prop_assert_eq!(is_complete, left > 0);
    }

    #[test]
    fn compact_json_differs_only_in_white_space(json in value()) {
        let mut written = Vec::new();
        write_compact_json(json.as_bytes(), &mut written);
        prop_assert_eq!(String::from_utf8(written).expect("UTF-8"), without_blanks(&json));
    }

    #[test]
    fn members_are_the_same_as_in_another_parser(json in value()) {
        let members: Vec<(&[u8], &[u8])> = Members::of(json.as_bytes()).collect();
        let parse = |token: &[u8]| serde_json::from_slice::<Value>(token).expect("valid");
        match parse(json.as_bytes()) {
            Value::Array(elements) => {
                prop_assert!(members.iter().all(|(key, _)| key.is_empty()));
                prop_assert_eq!(members.iter().map(|(_, element)| parse(element)).collect::<Vec<_>>(), elements);
            }
            Value::Object(object) => {
                let mut again = serde_json::Map::new();
                for (key, member) in members {
                    prop_assert_eq!(key.first(), Some(&b'"'));
                    again.insert(parse(key).as_str().unwrap_or_default().to_owned(), parse(member));
                }
                prop_assert_eq!(again, object);
            }
            _ => prop_assert!(members.is_empty()),
        }
    }
}

#[test]
fn floats_are_written_like_pythons_repr() {
    for (json, expected) in [
        ("0.0", "0.0"),
        ("-0.0", "-0.0"),
        ("0.1", "0.1"),
        ("1e0", "1.0"),
        ("1E5", "100000.0"),
        ("1e15", "1000000000000000.0"),
        ("1e16", "1e+16"),
        ("123456789012345678.0", "1.2345678901234568e+17"),
        ("1e22", "1e+22"),
        ("1e23", "1e+23"),
        ("1.5e300", "1.5e+300"),
        ("1e-4", "0.0001"),
        ("1e-5", "1e-05"),
        ("0.00001234", "1.234e-05"),
        ("-1.25e-7", "-1.25e-07"),
        ("5e-324", "5e-324"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("3.141592653589793238", "3.141592653589793"),
        ("100.0", "100.0"),
        ("1e2", "100.0"),
        ("12345678901234567890.5", "1.2345678901234567e+19"),
        ("9007199254740993.0", "9007199254740992.0"),
        ("2.5e-05", "2.5e-05"),
    ] {
        assert_eq!(dumped(json, false), expected, "{json}");
    }
    // Python reads this as infinity, which JSON cannot express.
    assert_eq!(dumped("1e999", false), "1e999");
}

#[test]
fn integers_keep_all_their_digits() {
    for json in ["0", "-7", "123456789012345678901234567890"] {
        assert_eq!(dumped(json, false), json);
    }
    assert_eq!(dumped("-0", false), "0");
}

#[test]
fn a_repeated_key_keeps_its_first_position_and_its_last_value() {
    assert_eq!(dumped(r#"{"a": 1, "b": 2, "\u0061": 3}"#, false), r#"{"a":3,"b":2}"#);
    assert_eq!(dumped(r#"{"b": 1, "a": 2, "b": 3}"#, true), r#"{"a":2,"b":3}"#);
}

#[test]
fn unpaired_surrogates_stay_escaped() {
    assert_eq!(dumped(r#""\uD83D x \ude00""#, false), r#""\ud83d x \ude00""#);
}

#[test]
fn values_beyond_the_limits_are_written_without_changes() {
    let deep = format!("{}\"ä\"{}", "[".repeat(200), "]".repeat(200));
    let mut out = Vec::new();
    write_python_json(deep.as_bytes(), false, &mut |piece| {
        out.extend_from_slice(piece);
        true
    });
    assert_eq!(String::from_utf8_lossy(&out), deep);
    let members: Vec<String> = (0..1000).map(|number| format!("\"{}\":{number}", number % 500)).collect();
    let many = format!("{{{}}}", members.join(","));
    assert_eq!(dumped(&many, false), many);
}

#[test]
fn a_long_string_is_written_in_pieces() {
    let text = format!("\"{}\\u00e9\"", "ab\\n\u{e9}\\ud83d\\ude00\\ud83d".repeat(20_000));
    let (mut written, mut longest) = (String::new(), 0);
    write_python_json(text.as_bytes(), false, &mut |piece| {
        longest = longest.max(piece.len());
        written.push_str(std::str::from_utf8(piece).expect("ASCII"));
        true
    });
    assert_eq!(written, format!("\"{}\\u00e9\"", "ab\\n\\u00e9\\ud83d\\ude00\\ud83d".repeat(20_000)));
    assert!(longest < 8 * CHUNK_BYTES, "{longest}");
    let mut calls = 0;
    write_python_json(text.as_bytes(), false, &mut |_| {
        calls += 1;
        calls < 3
    });
    assert_eq!(calls, 3);
}

#[test]
fn an_indented_dump_is_the_same_as_in_python() {
    let mut out = Vec::new();
    write_python_json_indented(br#"{"a":[],"b":{},"c":[1,{"d":"\u00e9",  "c":1e3}],"a":[null]}"#, 1, &mut out);
    // The value of "x" in json.dumps({"x": …}, indent=2) of Python 3.12.
    let expected = "{\n    \"a\": [\n      null\n    ],\n    \"b\": {},\n    \"c\": [\n      1,\n      {\n        \
                    \"d\": \"\\u00e9\",\n        \"c\": 1000.0\n      }\n    ]\n  }";
    assert_eq!(String::from_utf8_lossy(&out), expected);
}
