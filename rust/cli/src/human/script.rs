//! Programs of code mode, whose commands are shown in place of their text.
//!
//! A program's records follow each other: its call, its output, and the commands that it ran. Whether the commands show
//! everything that the program did is only known after the last one, so these records are held until then.

use memchr::memmem;

use super::command::codex_preamble;
use super::json_object::{Object, any_text, content_text};
use super::patch;

/// The number of bytes of records that are held at most.
const MAX_HELD: usize = 1 << 20;

/// The name of the tool that runs a program.
const EXEC: &[u8] = b"exec";

/// Records of programs, and of other calls at the same time.
#[derive(Clone, Default)]
pub(super) struct HeldRecords {
    records: Vec<Vec<u8>>,
    size: usize,
    /// Whether an output is among them. The next step then belongs to another inference.
    has_output: bool,
}

/// A program of which the commands are shown in place of its text.
#[derive(Clone)]
pub(super) struct ExplainedScript {
    /// The id of the program's call.
    pub(super) call: Vec<u8>,
    /// The command lines of its commands.
    pub(super) commands: Vec<Vec<u8>>,
    /// Whether the program's output only repeats its commands' output.
    pub(super) is_output_repeated: bool,
}

impl HeldRecords {
    /// Adds a record if it has to be held. Otherwise the records that are held must be shown first.
    pub(super) fn add(&mut self, record: &Object<'_>, kind: &[u8]) -> bool {
        let is_observation = kind == b"observation";
        let continues = match kind {
            _ if self.records.is_empty() => has_script(record),
            b"observation" => true,
            b"step" => !self.has_output && record.text("source").is_some_and(|source| source == b"agent"),
            _ => false,
        };
        if !continues || self.size + record.text.len() > MAX_HELD {
            return false;
        }
        self.has_output |= is_observation;
        self.size += record.text.len();
        self.records.push(record.text.to_vec());
        true
    }

    /// Returns the programs among the records that are explained by their commands.
    pub(super) fn explained(&self) -> Vec<ExplainedScript> {
        let records: Vec<Object<'_>> = self.records.iter().map(|record| Object::of(record)).collect();
        let calls = records.iter().flat_map(|record| record.elements("tool_calls")).map(Object::of);
        let results: Vec<Object<'_>> =
            records.iter().flat_map(|record| record.elements("results")).map(Object::of).collect();
        calls.filter_map(|call| explain(&call, &results)).collect()
    }

    /// Returns the records. None are held after this.
    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(self).records
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

fn has_script(record: &Object<'_>) -> bool {
    // Most calls are recognized without parsing them.
    let may_have = record.get("tool_calls").is_some_and(|calls| memmem::find(calls, b"\"exec\"").is_some());
    may_have && record.elements("tool_calls").map(Object::of).any(|call| script_of(&call).is_some())
}

/// Returns the text of a program if the call runs one.
fn script_of(call: &Object<'_>) -> Option<Vec<u8>> {
    let is_exec = call.get("function_name").map(any_text).is_some_and(|name| name == EXEC);
    is_exec.then(|| call.object("arguments").text("_raw")).flatten()
}

/// Returns the program of a call if it has completed, and each of its calls of a tool has left a record.
fn explain(call: &Object<'_>, results: &[Object<'_>]) -> Option<ExplainedScript> {
    let sites = count_call_sites(&script_of(call)?)?;
    let id = call.get("tool_call_id").map(any_text)?;
    let own = results.iter().filter(|result| result.get("source_call_id").map(any_text).as_ref() == Some(&id));
    let (mut output, mut performed, mut commands, mut has_patch) = (None, Vec::new(), Vec::new(), false);
    for result in own {
        let extra = result.object("extra");
        let outputs = [("command_execution", "output"), ("mcp_tool_call", "result"), ("file_change", "error")];
        let Some((kind, name)) = outputs.into_iter().find(|(kind, _)| extra.get(kind).is_some()) else {
            let content = result.get("content").map(content_text).unwrap_or_default();
            let (about, text) = codex_preamble(&content);
            if about != b"Script completed" || extra.is_true("is_error") || output.is_some() {
                return None;
            }
            output = Some((text.to_vec(), extra.get("images").is_some()));
            continue;
        };
        let details = extra.object(kind);
        has_patch |= kind == "file_change";
        commands.extend(details.get("cmd").map(any_text));
        performed.push(details.get(name).map(any_text).unwrap_or_default());
    }
    let (mut rest, has_images) = output?;
    if performed.is_empty() || performed.len() < sites {
        return None;
    }
    for part in performed.iter().map(|output| output.trim_ascii()).filter(|part| !part.is_empty()) {
        if let Some(at) = memmem::find(&rest, part) {
            rest.drain(at..at + part.len());
        }
    }
    if has_patch {
        rest = patch::without_report(&rest);
    }
    Some(ExplainedScript { call: id, commands, is_output_repeated: rest.trim_ascii().is_empty() && !has_images })
}

/// Counts the places in a program that call a tool. Returns `None` if it may use one whose calls leave no record.
fn count_call_sites(script: &[u8]) -> Option<usize> {
    const TOOLS: &[u8] = b"tools";
    let is_part_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
    let mut sites = 0;
    for at in memmem::find_iter(script, TOOLS) {
        let (before, after) = (script[..at].trim_ascii_end(), script[at + TOOLS.len()..].trim_ascii_start());
        let is_word =
            !script[..at].last().is_some_and(|byte| is_part_of_name(byte) || matches!(byte, b'.' | b'/' | b'-'));
        let Some(member) = after.strip_prefix(b".") else {
            // Another name for the tools, or a tool's computed name.
            if is_word && (before.ends_with(b"=") || after.starts_with(b"[") || after.starts_with(b"?")) {
                return None;
            }
            continue;
        };
        if is_word {
            let length = member.iter().take_while(|byte| is_part_of_name(byte)).count();
            match &member[..length] {
                b"exec_command" | b"apply_patch" => sites += 1,
                name if name.starts_with(b"mcp__") => sites += 1,
                _ => return None,
            }
        }
    }
    (sites > 0).then_some(sites)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_that_leave_a_record_are_counted() {
        for (script, sites) in [
            ("await tools.exec_command({cmd: 'ls'})", Some(1)),
            ("const a = await tools.mcp__shop__find({}); await tools.apply_patch('x')", Some(2)),
            ("tools.exec_command({cmd: 'ls tools/ my-tools.d /x/tools.d'})", Some(1)),
            ("tools.exec_command({cmd: 'python tools.py'})", None),
            ("tools.exec_command({}); tools.update_plan({})", None),
            ("tools.exec_command({}); tools[name]({})", None),
            ("const t = tools; t.exec_command({})", None),
            ("const {exec_command} = tools; tools.exec_command({})", None),
            ("text('nothing')", None),
        ] {
            assert_eq!(count_call_sites(script.as_bytes()), sites, "{script}");
        }
    }
}
