//! Cutting text for files with a bounded size.

/// Returns the beginning of a text: as many whole characters as fit into `max` bytes.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    let end = (0..=text.len().min(max)).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_characters_remain() {
        for (max, expected) in [(0, ""), (1, "a"), (2, "a"), (3, "aé"), (4, "aé"), (6, "aé"), (7, "aé😀"), (8, "aé😀")]
        {
            assert_eq!(cut("aé😀", max), expected, "{max}");
        }
    }
}
