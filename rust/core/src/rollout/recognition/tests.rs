use super::*;
use crate::rollout::lines::Lines;

/// Recognizes a complete input.
fn recognized(bytes: impl AsRef<[u8]>) -> (bool, Option<NotARollout>) {
    let mut recognizer = Recognizer::default();
    let mut lines = Lines::new(bytes.as_ref(), 1000);
    while let Some(line) = lines.next_line().expect("no error") {
        recognizer.add(&line);
    }
    if let Some(line) = lines.take_partial_line().expect("no error") {
        recognizer.add_last(&line);
    }
    (recognizer.is_rollout(), recognizer.other())
}

fn utf16(text: &str, is_little: bool) -> Vec<u8> {
    text.encode_utf16().flat_map(|unit| if is_little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
}

fn utf32(text: &str, is_little: bool) -> Vec<u8> {
    let units = text.chars().map(u32::from);
    units.flat_map(|unit| if is_little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
}

const LINE: &str = r#"{"timestamp":"2026-01-01T00:00:00.000Z","type":"event_msg","payload":{}}"#;

#[test]
fn a_rollout_has_a_rollout_line() {
    for rollout in [
        format!("{LINE}\n"),
        LINE.to_owned(),
        format!("\u{FEFF}{LINE}\n"),
        format!("junk\n\n{{\"a\":1}}\n{LINE}\n"),
        format!("{}{LINE}\n", &LINE[..40]),
        r#"{"payload":{"type":"message"},"type":"response_item"}"#.to_owned(),
    ] {
        assert_eq!(recognized(&rollout), (true, None), "{rollout}");
    }
}

#[test]
fn an_input_that_may_become_a_rollout_is_nothing_else() {
    for start in ["", "{", "{\"", "{\"timest", &LINE[..60], "\u{FEFF}{\"time", "\n\n{\"payload\":"] {
        assert_eq!(recognized(start), (false, None), "{start}");
    }
}

#[test]
fn other_files_are_recognized() {
    for (bytes, expected) in [
        (r#"{"type":"header","event_id":"evt-1"}"#.as_bytes().to_vec(), NotARollout::Transcript),
        (br#"{"type": "thread.started", "thread_id": "1"}"#.to_vec(), NotARollout::ExecOutput),
        (br#"{"id":"0","msg":{"type":"task_started"}}"#.to_vec(), NotARollout::ExecOutput),
        (br#"{"session_id":"1","ts":1780000000,"text":"hi"}"#.to_vec(), NotARollout::History),
        (br#"{"id":"1","thread_name":"fix it","updated_at":"2026"}"#.to_vec(), NotARollout::SessionIndex),
        (br#"{"parentUuid":null,"sessionId":"1","type":"user","message":{}}"#.to_vec(), NotARollout::ClaudeCode),
        (br#"{"type":"summary","summary":"x","leafUuid":"1"}"#.to_vec(), NotARollout::ClaudeCode),
        (br#"{"id":"1","timestamp":"2025","instructions":null}"#.to_vec(), NotARollout::OldRollout),
        (br#"{"record_type":"state"}"#.to_vec(), NotARollout::OldRollout),
        (br#"{"type":"message","id":null,"role":"user","content":[]}"#.to_vec(), NotARollout::OldRollout),
        (br#"{"session":{"id":"1"},"items":[]}"#.to_vec(), NotARollout::OldRollout),
        (b"{\n  \"session\": {\n    \"id\": \"1\"\n  },\n  \"items\": []\n}\n".to_vec(), NotARollout::OldRollout),
        (utf32(LINE, true), NotARollout::Utf32),
        (utf32(LINE, false), NotARollout::Utf32),
        (utf32(&format!("\u{FEFF}{LINE}\n{LINE}\n"), true), NotARollout::Utf32),
        (utf32(&format!("\u{FEFF}{LINE}\n{LINE}\n"), false), NotARollout::Utf32),
        (b"\x1F\x8B\x08\0\n\0\0".to_vec(), NotARollout::Compressed(Compression::Gzip)),
        (b"\xFD7zXZ\0\0\x04\n".to_vec(), NotARollout::Compressed(Compression::Xz)),
        (b"BZh91AY&SY\n".to_vec(), NotARollout::Compressed(Compression::Bzip2)),
        (b"PK\x03\x04\x14\0\n".to_vec(), NotARollout::Compressed(Compression::Zip)),
        (utf16(LINE, true), NotARollout::Utf16),
        (utf16(&format!("\u{FEFF}{LINE}\n{LINE}\n"), true), NotARollout::Utf16),
        (utf16(&format!("{LINE}\n{LINE}\n"), false), NotARollout::Utf16),
        (b"\n \n\t\r\n".to_vec(), NotARollout::Blank),
        (b" ".to_vec(), NotARollout::Blank),
        (b"junk\n{\"timestamp\"".to_vec(), NotARollout::Damaged),
        (b"plain text".to_vec(), NotARollout::Damaged),
        (vec![0; 10_000], NotARollout::Damaged),
        (b"{\"a\":1}\n{\"b\":2}\n".to_vec(), NotARollout::Other),
    ] {
        assert_eq!(recognized(&bytes), (false, Some(expected)), "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_file_is_recognized_by_its_first_known_line() {
    let lines = "{\"a\":1}\n{\"record_type\":\"state\"}\n{\"type\":\"thread.started\"}\n";
    assert_eq!(recognized(lines).1, Some(NotARollout::OldRollout));
}
