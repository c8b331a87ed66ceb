use std::io::Write;

use super::*;

const TEXT: &[u8] = b"{\"type\":\"a line\"}\n";

/// Reads all bytes of an input.
fn read(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    Input::from_reader(Cursor::new(bytes))?.read_to_end(&mut text)?;
    Ok(text)
}

fn compressed() -> Vec<u8> {
    zstd::encode_all(TEXT, 3).expect("can be compressed")
}

#[test]
fn an_input_that_begins_with_a_skippable_frame_is_compressed() {
    for number in 0..16 {
        let mut bytes = vec![0x50 + number, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, b'a', b'b', b'c'];
        bytes.extend(compressed());
        assert_eq!(read(bytes).expect("can be read"), TEXT, "{number}");
    }
    for text in [&b"P*M\x19\n"[..], b"P*M", b"`*M\x18\n", b"P"] {
        assert_eq!(read(text.to_owned()).expect("can be read"), text);
    }
}

#[test]
fn a_window_that_is_too_large_has_its_own_error() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).expect("can be made");
    encoder.window_log(ZSTD_WINDOW_LOG_MAX + 1).expect("is allowed");
    encoder.write_all(TEXT).expect("can be written");
    let error = read(encoder.finish().expect("can be written")).expect_err("refused");
    assert!(WindowTooLarge::is_in(&error), "{error}");
    assert!(error.to_string().contains("larger than 8 MiB"), "{error}");
}

#[test]
fn a_damaged_file_is_reported_as_damaged() {
    let complete = compressed();
    let error = read(complete[..complete.len() - 1].to_owned()).expect_err("cut short");
    assert!(error.to_string().contains("cut short"), "{error}");
    assert!(!WindowTooLarge::is_in(&error));
}
