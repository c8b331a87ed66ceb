//! Calls of tools: commands as the user would type them, patches as differences.

use std::ops::Range;

use super::json_object::{Object, any_text};
use super::patch;
use super::style::Limits;
use super::terminal::{cut_to_columns, push_safe};

/// The text of a call.
pub(super) struct CallText {
    /// The sign before it.
    pub(super) mark: &'static [u8],
    pub(super) text: Vec<u8>,
    /// The lines of a patch in the text.
    pub(super) patch: Range<usize>,
    pub(super) limits: Limits,
}

impl CallText {
    /// The sign before a command line.
    pub(super) const COMMAND: &[u8] = b"$ ";

    const OTHER: &[u8] = "→ ".as_bytes();

    /// Returns the command line of a shell, a patch after the list of its files, or the tool's name and arguments.
    pub(super) fn of(call: &Object<'_>) -> Self {
        let name = call.get("function_name").map(any_text).unwrap_or_default();
        let arguments = call.object("arguments");
        let is_shell = matches!(name.as_slice(), b"exec_command" | b"shell" | b"shell_command" | b"local_shell");
        if let Some(text) = is_shell.then(|| command_line(&arguments)).flatten() {
            return Self::of_command(text);
        }
        if let Some(patch) = (name == b"apply_patch").then(|| patch_of(&arguments)).flatten() {
            let lines = &patch[patch::find(&patch).unwrap_or(0..patch.len())];
            let mut text = [b"apply_patch ", patch::files(lines).as_slice(), b"\n"].concat();
            let start = text.len();
            text.extend_from_slice(lines);
            return Self { mark: Self::OTHER, patch: start..text.len(), text, limits: Limits::PATCH };
        }
        let program = arguments.text("_raw");
        let limits = if program.is_some() { Limits::PROGRAM } else { Limits::LINE };
        let text = program.unwrap_or_else(|| any_text(arguments.text));
        let text = [name.as_slice(), b" ", &text].concat();
        Self { mark: Self::OTHER, text, patch: 0..0, limits }
    }

    /// Returns a command line.
    pub(super) fn of_command(text: Vec<u8>) -> Self {
        let patch = patch::find(&text);
        let limits = if patch.is_some() { Limits::PATCH } else { Limits::PROGRAM };
        Self { mark: Self::COMMAND, text, patch: patch.unwrap_or_default(), limits }
    }
}

/// Returns the command line in a call's arguments: `cmd`, or `command` as a string or a list of words. Of
/// `bash -lc LINE` it returns LINE.
fn command_line(arguments: &Object<'_>) -> Option<Vec<u8>> {
    if let Some(line) = arguments.text("cmd").or_else(|| arguments.text("command")) {
        return Some(line);
    }
    // `local_shell` has the words in its action.
    let action = arguments.object("action");
    let holder = if arguments.get("command").is_some() { arguments } else { &action };
    let words: Vec<Vec<u8>> = holder.elements("command").map(any_text).collect();
    match words.as_slice() {
        [] => None,
        [shell, option, line] if shell.ends_with(b"sh") && option.starts_with(b"-") && option.ends_with(b"c") => {
            Some(line.clone())
        }
        _ => Some(words.join(&b' ')),
    }
}

/// Returns the text of a patch.
fn patch_of(arguments: &Object<'_>) -> Option<Vec<u8>> {
    ["_raw", "input", "patch"].into_iter().find_map(|name| arguments.text(name))
}

/// Splits a result into Codex's summary of the command, such as `exit 0`, and the command's output. Codex 0.138 to 0.169
/// write a few lines before `Output:`.
pub(super) fn codex_preamble(content: &[u8]) -> (Vec<u8>, &[u8]) {
    const LINE_LIMIT: usize = 8;
    let mut at = 0;
    let mut about: Vec<Vec<u8>> = Vec::new();
    for line in content.split_inclusive(|byte| *byte == b'\n').take(LINE_LIMIT) {
        at += line.len();
        let line = line.trim_ascii_end();
        if line == b"Output:" {
            return (about.join(&b", "[..]), &content[at..]);
        }
        for prefix in [&b"Process exited with code "[..], b"Exit code: "] {
            if let Some(code) = line.strip_prefix(prefix) {
                about.insert(0, [b"exit ", code].concat());
            }
        }
        if line.starts_with(b"Script ") || line.starts_with(b"Process running") {
            about.push(line.to_vec());
        }
    }
    (Vec::new(), content)
}

/// Returns the output in Codex's report about a command that the user ran with `!` (seen on 0.138 to 0.171).
pub(super) fn user_command_output(report: &[u8]) -> Option<&[u8]> {
    let result = memchr::memmem::find(report, b"\n<result>\n").map(|start| &report[start..])?;
    let output = memchr::memmem::find(result, OUTPUT).map(|start| &result[start + OUTPUT.len()..])?;
    let end = memchr::memmem::rfind(output, b"\n</result>").unwrap_or(output.len());
    Some(&output[..end])
}

/// The line before the output of a command that the user ran.
const OUTPUT: &[u8] = b"\nOutput:\n";

/// Returns the first line of a command, shortened unless `full`.
pub(super) fn one_line(text: &[u8], full: bool) -> Vec<u8> {
    const COLUMNS: usize = 120;
    let mut safe = Vec::new();
    push_safe(text, &mut safe);
    let safe = String::from_utf8_lossy(&safe);
    let first = safe.lines().next().unwrap_or_default();
    let shown = if full { first } else { cut_to_columns(first, COLUMNS) };
    let is_all = full || shown.len() == safe.trim_end().len();
    format!("{shown}{}", if is_all { "" } else { " …" }).into_bytes()
}
