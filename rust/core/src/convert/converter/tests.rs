use super::*;
use crate::json::NOT_AN_OBJECT;

/// A [`Reread`] for inputs without programs.
struct NoPrograms;

impl Reread for NoPrograms {
    fn program_text(&mut self, _line: ByteOffset, _text: &mut Vec<u8>) {}
}

#[test]
fn a_repaired_line_that_the_scanner_refuses_is_counted_as_malformed() {
    let mut converter = Converter::new("agent", Vec::new());
    converter.repaired_line(
        Text::pad(&mut b"no object".to_vec()),
        &mut Tape::default(),
        ByteOffset(7),
        &mut NoPrograms,
    );
    let summary = converter.into_summary();
    assert_eq!((summary.malformed, summary.records), (1, 0));
    assert_eq!(summary.malformed_lines, [MalformedLine { offset: ByteOffset(7), at: 0, reason: NOT_AN_OBJECT, has_records: false }]);
}
