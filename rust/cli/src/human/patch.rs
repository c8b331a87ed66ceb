//! Patches, in Codex's format and as unified diffs.

use std::ops::Range;

use memchr::memmem;

use super::json_object::{Object, any_text};
use super::style::Sgr;

/// The lines around a patch in Codex's format.
const BEGIN: &[u8] = b"*** Begin Patch";
const END: &[u8] = b"*** End Patch";

/// Returns the lines of a patch in Codex's format in a text such as a command line, without the first and the last one.
pub(super) fn find(text: &[u8]) -> Option<Range<usize>> {
    let begin = memmem::find(text, BEGIN)?;
    let start = begin + memchr::memchr(b'\n', &text[begin..])? + 1;
    let end = memmem::find(&text[start..], END).map_or(text.len(), |end| start + end);
    Some(start..end)
}

/// Lists the files that a patch in Codex's format adds (`+`), updates (`~`) or deletes (`-`).
pub(super) fn files(patch: &[u8]) -> Vec<u8> {
    let mut files = Vec::new();
    for line in patch.split(|byte| *byte == b'\n') {
        for (mark, sign) in [("*** Add File: ", b"+"), ("*** Update File: ", b"~"), ("*** Delete File: ", b"-")] {
            if let Some(file) = line.strip_prefix(mark.as_bytes()) {
                files.push([sign, file.trim_ascii_end()].concat());
            }
        }
    }
    files.join(&b' ')
}

/// Returns the color of a line of a patch.
pub(super) fn line_color(line: &[u8]) -> Sgr {
    match line.first() {
        Some(b'+') => Sgr::ADDED,
        Some(b'-') => Sgr::REMOVED,
        Some(b'@') => Sgr::HUNK,
        Some(b'*') if line.starts_with(b"*** ") => Sgr::BOLD,
        _ => Sgr::PLAIN,
    }
}

/// The members of a file's change that hold text.
const TEXTS: [&str; 3] = ["content", "diff", "change"];

/// Lists the files that Codex reports as changed, like [`files`].
pub(super) fn changed_files(changes: &[Object<'_>]) -> Vec<u8> {
    let files = changes.iter().map(|change| {
        let sign: &[u8] = match change.text("kind").as_deref() {
            Some(b"add") => b"+",
            Some(b"delete") => b"-",
            _ => b"~",
        };
        [sign, &change.get("path").map(any_text).unwrap_or_default()].concat()
    });
    files.collect::<Vec<_>>().join(&b' ')
}

/// Returns the changes of files that Codex reports as one patch. A file has a header if there are several, or if it was
/// moved.
pub(super) fn of_changes(changes: &[Object<'_>]) -> Vec<u8> {
    let mut patch = Vec::new();
    for change in changes {
        let kind = change.text("kind").unwrap_or_default();
        let (verb, sign): (&str, &[u8]) = match kind.as_slice() {
            b"add" => ("Add", b"+"),
            b"delete" => ("Delete", b"-"),
            _ => ("Update", b""),
        };
        let moved_to = change.get("move_path").map(any_text).filter(|path| !path.is_empty());
        if changes.len() > 1 || moved_to.is_some() {
            let path = change.get("path").map(any_text).unwrap_or_default();
            let moved_to = moved_to.map(|path| [" → ".as_bytes(), &path].concat()).unwrap_or_default();
            let header = [format!("*** {verb} File: ").as_bytes(), &path, &moved_to].concat();
            patch.extend(header.into_iter().map(|byte| if byte == b'\n' { b' ' } else { byte }));
            patch.push(b'\n');
        }
        for name in TEXTS {
            let text = change.get(name).map(any_text).unwrap_or_default();
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                if name == "content" {
                    patch.extend_from_slice(sign);
                }
                patch.extend_from_slice(line);
            }
            if !text.is_empty() && !text.ends_with(b"\n") {
                patch.push(b'\n');
            }
        }
    }
    patch
}

/// Returns a text without Codex's report of a patch that was applied (seen on 0.138 to 0.171).
pub(super) fn without_report(text: &[u8]) -> Vec<u8> {
    let is_report = |line: &[u8]| {
        let line = line.trim_ascii_end();
        let starts =
            [&b"Exit code: 0"[..], b"Wall time: ", b"Success. Updated the following files:", b"A ", b"M ", b"D "];
        line == b"Output:" || starts.iter().any(|start| line.starts_with(start))
    };
    let lines = text.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_report(line));
    lines.collect::<Vec<_>>().concat()
}
