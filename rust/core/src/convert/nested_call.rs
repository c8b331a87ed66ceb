//! The record of a call that a program made itself in code mode: of a tool of an MCP server, or of `apply_patch`.
//!
//! Codex reports each such call by an event, but writes no call line and no output line (seen on 0.163 to 0.171). For any
//! other call the same event repeats these lines. The event is an `item_completed` (seen on 0.163 to 0.171), before that
//! `mcp_tool_call_end` or `patch_apply_end` (seen on 0.138 and 0.147).

use crate::json::dump::{Members, write_python_json};
use crate::json::{Key, Text, Value, string};
use crate::rollout::envelope;
use crate::rollout::ids::{CallId, Name};

use super::command::push_integer;
use super::command_attribution::Rule;
use super::content::{base64_size, each_piece_without_base64};
use super::notice::{BoundedJson, is_named};

/// The number of characters of a result, or of a file's content or diff, that a record keeps.
const MAX_CHARACTERS: usize = 16_000;

/// The tool of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NestedTool {
    /// A tool of an MCP server.
    Mcp,
    /// `apply_patch`.
    ApplyPatch,
}

impl NestedTool {
    /// Returns the `tool_name` of the record, which is also the name of the member with its details.
    const fn name(self) -> &'static str {
        match self {
            Self::Mcp => "mcp_tool_call",
            Self::ApplyPatch => "file_change",
        }
    }

    /// Returns the message of the step for a call that belongs to no program.
    pub(crate) const fn unowned_message(self) -> &'static [u8] {
        match self {
            Self::Mcp => b"An MCP tool was called by no known program.",
            Self::ApplyPatch => b"Files were changed by no known program.",
        }
    }

    /// Returns the kind of the event, for the summary.
    pub(crate) const fn event(self, is_item: bool) -> [&'static str; 3] {
        match (self, is_item) {
            (Self::Mcp, true) => ["event_msg", "item_completed", "McpToolCall"],
            (Self::Mcp, false) => ["event_msg", "mcp_tool_call_end", ""],
            (Self::ApplyPatch, true) => ["event_msg", "item_completed", "FileChange"],
            (Self::ApplyPatch, false) => ["event_msg", "patch_apply_end", ""],
        }
    }
}

/// An event about a call of a tool.
pub(crate) struct NestedCall<'a> {
    text: Text<'a>,
    tool: NestedTool,
    /// The members of the call, from the item or the payload of an older event.
    item: &'a [u8],
    /// Whether the event is an `item_completed`.
    pub(crate) is_item: bool,
    started: Option<&'a Value>,
    completed: Option<&'a Value>,
}

impl<'a> NestedCall<'a> {
    /// Reads the payload of a scanned line.
    #[must_use]
    pub(crate) fn read(text: Text<'a>, tool: NestedTool, payload: &'a Value, members: &envelope::Members<'a>) -> Self {
        let item = members.get(Key::Item);
        let (started, completed) = (members.get(Key::StartedAtMs), members.get(Key::CompletedAtMs));
        Self { text, tool, item: item.unwrap_or(payload).token(text), is_item: item.is_some(), started, completed }
    }

    /// Returns the call's id, if there is one.
    #[must_use]
    pub(crate) fn id(&self) -> Option<CallId> {
        let [id, call_id] = members(self.item, ["id", "call_id"]);
        let content = content_of(if self.is_item { id } else { call_id })?;
        Some(CallId(Name::new(content, content.contains(&b'\\')))).filter(|call| !call.0.is_empty())
    }

    /// Returns `started_at_ms`, in milliseconds since 1970. Older events have none.
    #[must_use]
    pub(crate) fn started(&self) -> Option<i64> {
        envelope::integer(self.text, self.started?)
    }

    /// Appends the text that the event id hashes: the call's id, or the entire item if it has no id.
    pub(crate) fn push_hashed_text(&self, limit: usize, out: &mut Vec<u8>) {
        if let Some(id) = self.id() {
            string::decode_prefix(id.0.as_bytes(), limit, out);
        } else {
            write_python_json(self.item, true, &mut |dumped| {
                out.extend_from_slice(&dumped[..dumped.len().min(limit - out.len())]);
                out.len() < limit
            });
        }
    }

    /// Appends the name by which a program calls the tool: `mcp__SERVER__TOOL` or `apply_patch`.
    pub(crate) fn push_function_name(&self, out: &mut Vec<u8>) {
        if self.tool == NestedTool::ApplyPatch {
            out.extend_from_slice(b"apply_patch");
            return;
        }
        let [server, tool, _] = self.invocation();
        out.extend_from_slice(b"mcp");
        for name in [server, tool] {
            out.extend_from_slice(b"__");
            let identifier = content_of(name).unwrap_or_default().iter();
            out.extend(identifier.map(|byte| if byte.is_ascii_alphanumeric() { *byte } else { b'_' }));
        }
    }

    /// Returns the server, the tool and the arguments.
    fn invocation(&self) -> [Option<&'a [u8]>; 3] {
        let [invocation] = members(self.item, ["invocation"]);
        members(invocation.unwrap_or(self.item), ["server", "tool", "arguments"])
    }

    /// Appends the result's `extra`, without its closing brace.
    pub(crate) fn push_extra(&self, rule: Option<Rule>, out: &mut Vec<u8>) {
        let name = self.tool.name();
        out.extend_from_slice(format!("\"extra\":{{\"tool_name\":\"{name}\",\"{name}\":{{").as_bytes());
        match self.tool {
            NestedTool::Mcp => self.push_mcp_call(out),
            NestedTool::ApplyPatch => self.push_file_change(out),
        }
        out.extend_from_slice(b",\"started_at_ms\":");
        push_integer(self.text, self.started, out);
        out.extend_from_slice(b",\"completed_at_ms\":");
        push_integer(self.text, self.completed, out);
        if let Some(rule) = rule {
            out.extend_from_slice(format!(",\"attribution\":\"{}\"", rule.name()).as_bytes());
        }
        out.push(b'}');
    }

    fn push_mcp_call(&self, out: &mut Vec<u8>) {
        let [status, error, result, duration] = members(self.item, ["status", "error", "result", "duration"]);
        // Older events have a result of Rust's type.
        let [ok, err] = members(result.unwrap_or_default(), ["Ok", "Err"]);
        let (result, error) = if ok.is_some() || err.is_some() { (ok, err) } else { (result, error) };
        let [content, structured, is_error] =
            members(result.unwrap_or_default(), ["content", "structuredContent", "isError"]);
        let [server, tool, arguments] = self.invocation();
        out.extend_from_slice(b"\"server\":");
        push_text(server, out);
        out.extend_from_slice(b",\"tool\":");
        push_text(tool, out);
        push_json("arguments", arguments, out);
        out.extend_from_slice(b",\"status\":");
        if status.is_some() {
            push_text(status, out);
        } else {
            let has_failed = error.is_some() || is_error == Some(b"true");
            out.extend_from_slice(if has_failed { b"\"failed\"" } else { b"\"completed\"" });
        }
        let [message] = members(error.unwrap_or_default(), ["message"]);
        push_json("error", message.or(error), out);
        let mut written = CutText::default();
        match (content, result) {
            (Some(parts @ [b'[', ..]), _) if structured.is_none() || Members::of(parts).next().is_some() => {
                for (position, (_, part)) in Members::of(parts).enumerate() {
                    if position > 0 {
                        written.push_escaped(br"\n");
                    }
                    push_part(part, &mut written);
                }
            }
            (_, Some(result)) => push_part(structured.unwrap_or(result), &mut written),
            (_, None) => {}
        }
        written.push_member("result", result.is_some(), out);
        out.extend_from_slice(b",\"duration_ms\":");
        push_duration(duration, out);
    }

    fn push_file_change(&self, out: &mut Vec<u8>) {
        let [changes, status, success, stderr] = members(self.item, ["changes", "status", "success", "stderr"]);
        let changes = changes.unwrap_or(b"{}");
        out.extend_from_slice(b"\"changes\":");
        if changes.first() == Some(&b'{') {
            out.push(b'[');
            for (position, (path, change)) in Members::of(changes).enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                push_change(path, change, out);
            }
            out.push(b']');
        } else {
            out.extend_from_slice(&BoundedJson::of(changes).token);
        }
        out.extend_from_slice(b",\"status\":");
        match success {
            _ if status.is_some() => push_text(status, out),
            Some(b"false") => out.extend_from_slice(b"\"failed\""),
            _ => out.extend_from_slice(b"\"completed\""),
        }
        push_json("error", stderr.filter(|stderr| *stderr != b"\"\""), out);
    }
}

/// Appends a file's path, the kind of its change, and its content or diff.
fn push_change(path: &[u8], change: &[u8], out: &mut Vec<u8>) {
    let [kind, content, diff, moved_to] = members(change, ["type", "content", "unified_diff", "move_path"]);
    out.extend_from_slice(b"{\"path\":");
    out.extend_from_slice(path);
    out.extend_from_slice(b",\"kind\":");
    push_text(kind, out);
    if moved_to.is_some() {
        out.extend_from_slice(b",\"move_path\":");
        push_text(moved_to, out);
    }
    for (name, text) in [("content", content), ("diff", diff)] {
        if let Some(content) = content_of(text) {
            let mut written = CutText::default();
            written.push_escaped(content);
            written.push_member(name, true, out);
        }
    }
    if kind.is_none() {
        push_json("change", Some(change), out);
    }
    out.push(b'}');
}

/// Appends a part of an MCP result: its text, or its type and size if it has bytes, or else its JSON.
fn push_part(part: &[u8], out: &mut CutText) {
    let [kind, text, media_type, data, resource] = members(part, ["type", "text", "mimeType", "data", "resource"]);
    let [inner_text, inner_media_type, blob] = members(resource.unwrap_or_default(), ["text", "mimeType", "blob"]);
    if let Some(text) = content_of(text.or(inner_text)) {
        out.push_escaped(text);
        return;
    }
    if let Some(bytes) = content_of(data.or(blob)) {
        out.push_escaped(b"[");
        out.push_escaped(content_of(kind).unwrap_or(b"data"));
        if let Some(media_type) = content_of(media_type.or(inner_media_type)) {
            out.push_escaped(b": ");
            out.push_escaped(media_type);
        }
        out.push_escaped(format!(", {} bytes]", base64_size(bytes)).as_bytes());
        return;
    }
    each_piece_without_base64(part, |piece| out.push_decoded(piece));
}

/// A text of which the first [`MAX_CHARACTERS`] characters are kept, as the content of a JSON string.
#[derive(Default)]
struct CutText {
    kept: Vec<u8>,
    characters: usize,
}

impl CutText {
    fn left(&self) -> usize {
        MAX_CHARACTERS.saturating_sub(self.characters)
    }

    /// Appends the content of a JSON string.
    fn push_escaped(&mut self, content: &[u8]) {
        self.kept.extend_from_slice(string::cut(content, self.left()));
        self.characters += string::count(content);
    }

    /// Appends a text.
    fn push_decoded(&mut self, text: &[u8]) {
        let mut beginning = Vec::new();
        string::prefix_of_decoded(text, self.left(), &mut beginning);
        string::escape(&beginning, &mut self.kept);
        self.characters += text.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
    }

    /// Appends the text as a member, and its full length as `output_length` if it was cut.
    fn push_member(&self, name: &str, exists: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        if !exists {
            out.extend_from_slice(b"null");
            return;
        }
        out.push(b'"');
        out.extend_from_slice(&self.kept);
        out.push(b'"');
        if self.characters > MAX_CHARACTERS {
            out.extend_from_slice(format!(",\"output_length\":{}", self.characters).as_bytes());
        }
    }
}

/// Returns the values of an object's members with these names; `None` for `null`. If a name is repeated, the last one
/// counts.
fn members<'a, const N: usize>(object: &'a [u8], names: [&str; N]) -> [Option<&'a [u8]>; N] {
    let mut values = [None; N];
    if object.first() != Some(&b'{') {
        return values;
    }
    for (key, value) in Members::of(object) {
        if let Some(position) = names.iter().position(|name| is_named(key, name.as_bytes())) {
            values[position] = Some(value).filter(|value| *value != b"null");
        }
    }
    values
}

/// Returns the content of a string, with its escapes.
fn content_of(token: Option<&[u8]>) -> Option<&[u8]> {
    match token? {
        [b'"', content @ .., b'"'] => Some(content),
        _ => None,
    }
}

/// Appends a string of at most [`MAX_CHARACTERS`]; `null` for any other value.
fn push_text(token: Option<&[u8]>, out: &mut Vec<u8>) {
    match content_of(token) {
        Some(content) => out.extend_from_slice(&[b"\"", string::cut(content, MAX_CHARACTERS), b"\""].concat()),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends a member as JSON of bounded size, and its full length as `NAME_length` if it was cut.
fn push_json(name: &str, value: Option<&[u8]>, out: &mut Vec<u8>) {
    let written = BoundedJson::of(value.unwrap_or(b"null"));
    out.extend_from_slice(format!(",\"{name}\":").as_bytes());
    out.extend_from_slice(&written.token);
    if let Some(length) = written.full_length {
        out.extend_from_slice(format!(",\"{name}_length\":{length}").as_bytes());
    }
}

/// Appends `{"secs", "nanos"}` as milliseconds; `null` for any other value.
fn push_duration(duration: Option<&[u8]>, out: &mut Vec<u8>) {
    let counts = members(duration.unwrap_or_default(), ["secs", "nanos"])
        .map(|count| count.and_then(|count| std::str::from_utf8(count).ok()?.parse::<i64>().ok()).map(i128::from));
    match counts {
        [Some(secs), Some(nanos)] => {
            out.extend_from_slice((secs * 1000 + nanos.div_euclid(1_000_000)).to_string().as_bytes());
        }
        _ => out.extend_from_slice(b"null"),
    }
}
