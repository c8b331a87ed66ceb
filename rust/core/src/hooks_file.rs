//! Codex's `hooks.json`: adds this program's hooks or removes them, and keeps everything else as it is, including order,
//! spacing and keys that Codex does not know.
//!
//! A hook of this program is recognized by its command: `PROGRAM hook EVENT`, where the file name of PROGRAM is
//! `mngr-codex`, with the options of `hook` only.

use std::path::{Path, PathBuf};

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstArray, CstInputValue, CstNode, CstObject, CstObjectProp, CstRootNode};
use jsonc_parser::json;
use serde::de::IgnoredAny;

use crate::lifecycle::hook::HookEvent;

/// The file name of this program.
const PROGRAM: &str = "mngr-codex";

/// The option of a hook that names the state directory.
const STATE_DIR: &str = "--state-dir";

/// How long Codex lets a hook run, in seconds. A hook takes milliseconds; Codex's own limit is ten minutes.
const TIMEOUT: u32 = 60;

/// The limit for `SessionEnd` and `Interrupt`. Codex warns if a hook of these events asks for more (seen on 0.163).
const TIMEOUT_OF_LAST_EVENTS: u32 = 3;

/// Why a `hooks.json` cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum HooksFileError {
    /// The text is not JSON.
    #[error("it is not valid JSON: {reason} (line {line}, column {column})")]
    Malformed {
        /// What is wrong.
        reason: String,
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
    },
    /// A value is of another type than Codex expects.
    #[error("{place} is not {expected}")]
    Unexpected {
        /// The value, such as `hooks.Stop`.
        place: String,
        /// The expected type.
        expected: &'static str,
    },
    /// A path cannot be part of a command in a JSON file.
    #[error("the path {0:?} is not valid UTF-8 or contains a NUL")]
    Path(PathBuf),
}

/// This program's hooks for a Codex.
#[derive(Clone, Debug)]
pub struct OwnHooks {
    /// The words of a command before and after the event.
    program: String,
    state_dir: String,
}

impl OwnHooks {
    /// Returns the hooks that run `program` with the option `--state-dir state_dir`. Both paths must be absolute, because
    /// Codex runs its hooks in the folder of the session and in the environment of the process that started its daemon (0.163).
    ///
    /// # Errors
    ///
    /// Returns [`HooksFileError::Path`] if a path cannot be part of a command.
    pub fn new(program: &Path, state_dir: &Path) -> Result<Self, HooksFileError> {
        let quoted = |path: &Path| {
            let quoted = path.to_str().and_then(|path| shlex::try_quote(path).ok());
            quoted.map(String::from).ok_or_else(|| HooksFileError::Path(path.to_owned()))
        };
        Ok(Self { program: quoted(program)?, state_dir: quoted(state_dir)? })
    }

    /// Returns the number of hooks.
    #[must_use]
    pub fn count(&self) -> usize {
        events().count()
    }

    /// Returns the hook of an event.
    fn hook(&self, name: &str, event: HookEvent) -> CstInputValue {
        // The shell of the hook replaces itself, so that Codex is the parent of the program in any shell.
        let command = format!("exec {} hook {name} {STATE_DIR} {}", self.program, self.state_dir);
        let timeout = match event {
            HookEvent::SessionEnd | HookEvent::Interrupt => TIMEOUT_OF_LAST_EVENTS,
            _ => TIMEOUT,
        };
        json!({ "type": "command", "command": command, "timeout": timeout })
    }

    /// Adds the hooks to the text of a `hooks.json`, which may be empty. Hooks of this program that are in it already are
    /// replaced in place: Codex identifies a trusted hook by its position.
    ///
    /// # Errors
    ///
    /// Returns a [`HooksFileError`] if the text is not valid JSON or not a `hooks.json`.
    pub fn add_to(&self, text: &str) -> Result<String, HooksFileError> {
        let file = File::parse(text)?;
        let hooks = file.hooks_or_create();
        remove_own(&hooks, |name| !events().any(|(_, event)| codex_name(event) == name));
        for (name, event) in events() {
            let groups = hooks.array_value_or_set(&codex_name(event));
            let wanted = self.hook(name, event);
            let (usable, others): (Vec<Own>, Vec<Own>) = own_in(&groups).into_iter().partition(Own::runs_always);
            let mut usable = usable.into_iter();
            match usable.next() {
                Some(own) => own.set(wanted),
                None => drop(groups.append(json!({ "hooks": [wanted] }))),
            }
            usable.chain(others).for_each(Own::remove);
        }
        Ok(file.text())
    }
}

/// Removes this program's hooks from the text of a `hooks.json`. What becomes empty by that is removed as well.
///
/// # Errors
///
/// Returns a [`HooksFileError`] if the text is not valid JSON or not a `hooks.json`.
pub fn remove_hooks(text: &str) -> Result<String, HooksFileError> {
    let file = File::parse(text)?;
    if let Some(hooks) = file.hooks() {
        let had_any = !hooks.properties().is_empty();
        remove_own(&hooks, |_| true);
        if had_any && hooks.properties().is_empty() {
            file.remove_hooks();
        }
    }
    Ok(file.text())
}

/// Returns the state directories of this program's hooks in the text of a `hooks.json`, without repetitions. Returns none
/// if the text cannot be read.
#[must_use]
pub fn state_dirs_of_hooks(text: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let Ok(file) = File::parse(text) else { return found };
    let groups = file.hooks().into_iter().flat_map(|hooks| hooks.properties()).filter_map(|event| event.array_value());
    for own in groups.flat_map(|groups| own_in(&groups)) {
        found.extend(own.state_dir.map(PathBuf::from).filter(|dir| !found.contains(dir)));
    }
    found
}

/// Returns the events that have an effect, with the names by which this program knows them.
fn events() -> impl Iterator<Item = (&'static str, HookEvent)> {
    HookEvent::ALL.into_iter().filter(|(_, event)| event.has_effect())
}

/// Returns Codex's name of an event.
fn codex_name(event: HookEvent) -> String {
    // The variants have Codex's names.
    format!("{event:?}")
}

/// A parsed `hooks.json`.
struct File {
    root: CstRootNode,
    object: CstObject,
}

impl File {
    fn parse(text: &str) -> Result<Self, HooksFileError> {
        let text = if text.trim_ascii().is_empty() { "{}\n" } else { text };
        // Codex reads the file with the same parser.
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
            let message = error.to_string();
            let reason = message.split(" at line ").next().unwrap_or(&message).to_owned();
            HooksFileError::Malformed { reason, line: error.line(), column: error.column() }
        })?;
        let root = CstRootNode::parse(text, &STRICT).map_err(|error| HooksFileError::Malformed {
            reason: error.kind().to_string().to_lowercase(),
            line: error.line_display(),
            column: error.column_display(),
        })?;
        let object = root.object_value().ok_or_else(|| unexpected("the file".to_owned(), OBJECT))?;
        let file = Self { root, object };
        if let Some(hooks) = file.object.get("hooks") {
            let hooks = hooks.object_value().ok_or_else(|| unexpected("`hooks`".to_owned(), OBJECT))?;
            for event in hooks.properties() {
                let is_array = event.array_value().is_some();
                let name = event.decoded_name().unwrap_or_default();
                // Some versions of Codex keep the trusted hooks there.
                if !is_array && name != "state" {
                    return Err(unexpected(format!("`hooks.{name}`"), "an array"));
                }
            }
        }
        Ok(file)
    }

    fn hooks(&self) -> Option<CstObject> {
        self.object.object_value("hooks")
    }

    fn hooks_or_create(&self) -> CstObject {
        self.object.object_value_or_set("hooks")
    }

    fn remove_hooks(&self) {
        if let Some(hooks) = self.object.get("hooks") {
            hooks.remove();
        }
    }

    fn text(&self) -> String {
        let mut text = self.root.to_string();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }
}

/// JSON without extensions.
const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

const OBJECT: &str = "an object";

fn unexpected(place: String, expected: &'static str) -> HooksFileError {
    HooksFileError::Unexpected { place, expected }
}

/// A hook of this program in a file.
struct Own {
    /// The group of hooks that it is in.
    group: CstObject,
    /// The hooks of the group.
    hooks: CstArray,
    hook: CstObject,
    /// The state directory in its command.
    state_dir: Option<String>,
}

impl Own {
    /// Returns whether the hook runs for every event of its kind.
    fn runs_always(&self) -> bool {
        self.group.get("matcher").is_none()
    }

    /// Gives the hook these members and no others.
    fn set(self, wanted: CstInputValue) {
        let CstInputValue::Object(members) = wanted else { return };
        let is_wanted = |name: &str| members.iter().any(|(wanted, _)| wanted == name);
        let others = self.hook.properties().into_iter();
        others
            .filter(|member| !member.decoded_name().is_some_and(|name| is_wanted(&name)))
            .for_each(CstObjectProp::remove);
        for (name, value) in members {
            match self.hook.get(&name) {
                Some(member) if member.value().is_some_and(|found| is_value(&found, &value)) => {}
                Some(member) => member.set_value(value),
                None => drop(self.hook.append(&name, value)),
            }
        }
    }

    /// Removes the hook, and its group if that is empty then.
    fn remove(self) {
        self.hook.remove();
        if self.hooks.elements().is_empty() {
            self.group.remove();
        }
    }
}

fn is_value(found: &CstNode, value: &CstInputValue) -> bool {
    match value {
        CstInputValue::String(text) => string(found).is_some_and(|found| found == *text),
        CstInputValue::Number(number) => found.as_number_lit().is_some_and(|found| found.to_string() == *number),
        _ => false,
    }
}

fn string(node: &CstNode) -> Option<String> {
    node.as_string_lit()?.decoded_value().ok()
}

/// Returns this program's hooks in the groups of an event.
fn own_in(groups: &CstArray) -> Vec<Own> {
    let mut found = Vec::new();
    for group in groups.elements().iter().filter_map(CstNode::as_object) {
        let Some(hooks) = group.array_value("hooks") else { continue };
        for hook in hooks.elements().iter().filter_map(CstNode::as_object) {
            let command = hook.get("command").and_then(|command| string(&command.value()?));
            if let Some(Command { state_dir }) = command.and_then(|command| Command::parse(&command)) {
                found.push(Own { group: group.clone(), hooks: hooks.clone(), hook, state_dir });
            }
        }
    }
    found
}

/// Removes this program's hooks of the events with a matching name, and the events that have no hook then.
fn remove_own(hooks: &CstObject, is_included: impl Fn(&str) -> bool) {
    let is_event = |event: &CstObjectProp| event.decoded_name().is_some_and(|name| is_included(&name));
    for event in hooks.properties().into_iter().filter(is_event) {
        let Some(groups) = event.array_value() else { continue };
        let own = own_in(&groups);
        let has_any = !own.is_empty();
        own.into_iter().for_each(Own::remove);
        if has_any && groups.elements().is_empty() {
            event.remove();
        }
    }
}

/// The command of a hook of this program.
#[derive(Debug, PartialEq, Eq)]
struct Command {
    state_dir: Option<String>,
}

impl Command {
    /// Parses a command. Returns `None` if it is not a hook of this program, or does something in addition.
    fn parse(command: &str) -> Option<Self> {
        let words = shlex::split(command)?;
        let mut words = words.iter().map(String::as_str).peekable();
        words.next_if_eq(&"exec");
        let is_program = Path::new(words.next()?).file_name().is_some_and(|name| name == PROGRAM);
        if !is_program || words.next()? != "hook" || HookEvent::from_name(words.next()?).is_none() {
            return None;
        }
        let mut state_dir = None;
        while let Some(word) = words.next() {
            let (option, value) = match word.split_once('=') {
                Some((option, value)) => (option, value),
                None => (word, words.next()?),
            };
            match option {
                STATE_DIR => state_dir = Some(value.to_owned()),
                "--flush-budget" => {}
                _ => return None,
            }
        }
        Some(Self { state_dir })
    }
}

#[cfg(test)]
mod tests;
