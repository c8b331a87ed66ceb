//! The `session_meta` line at the beginning of a rollout.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::decompression::Input;
use super::envelope::Envelope;
use super::lines::{Line, Lines};
use super::timestamp;
use crate::json::dump::Members;
use crate::json::string::decode_string;
use crate::json::{Tape, scan};

/// The properties of a session in its `session_meta`. A property that it does not name is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionMeta {
    /// The session's id, as `codex resume` takes it. Codex calls it the thread id: a subagent has its own.
    pub id: Option<String>,
    /// The id of the session that started this one, if this is a subagent.
    pub parent: Option<String>,
    /// The id of the session whose copy this one continues.
    pub forked_from: Option<String>,
    /// Whether the session belongs to a subagent or to another helper of Codex, such as a review.
    pub is_subagent: bool,
    /// The folder in which the session was started.
    pub cwd: Option<PathBuf>,
    /// The branch that was checked out in `cwd`.
    pub branch: Option<String>,
    /// The version of Codex that started the session, such as `0.171.0`.
    pub cli_version: Option<String>,
    /// The provider of the model.
    pub model_provider: Option<String>,
    /// When the session was started, in milliseconds since 1970-01-01T00:00:00Z.
    pub started_ms: Option<i64>,
}

impl SessionMeta {
    /// Sets the folder of an agent, unless its session began there or below it.
    pub fn set_folder(&mut self, folder: PathBuf) {
        // Codex resolves links.
        let resolved = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let began_here = self.cwd.as_deref().is_some_and(|cwd| resolved(cwd).starts_with(resolved(&folder)));
        if !began_here {
            // The branch is that of the other folder.
            (self.cwd, self.branch) = (Some(folder), None);
        }
    }

    /// Reads the first `session_meta` of the rollout at `path`. Returns `None` if the first MiB has none.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be opened or read.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        const MAX_READ: u64 = 1 << 20;
        let mut lines = Lines::new(Input::open(path)?.take(MAX_READ), usize::MAX);
        let mut tape = Tape::default();
        while let Some(line) = lines.next_line()? {
            if let Some(meta) = Self::of_line(&line, &mut tape) {
                return Ok(Some(meta));
            }
        }
        Ok(None)
    }

    /// Returns the properties if the line is a `session_meta`.
    pub(crate) fn of_line(line: &Line<'_>, tape: &mut Tape) -> Option<Self> {
        scan(line.text, tape).ok()?;
        let envelope = Envelope::of(line.text, tape, None);
        if envelope.kind.as_deref() != Some(b"session_meta") {
            return None;
        }
        let payload = envelope.payload?.raw(line.text);
        let millis = |text: &[u8]| timestamp::parse(text).map(timestamp::millis);
        let mut meta = Self { started_ms: envelope.timestamp.as_deref().and_then(millis), ..Self::default() };
        let (mut has_subagent, mut is_of_subagent) = (false, false);
        for (key, value) in Members::of(payload) {
            match key {
                b"\"id\"" => meta.id = text_of(value),
                b"\"parent_thread_id\"" => meta.parent = text_of(value),
                b"\"forked_from_id\"" => meta.forked_from = text_of(value),
                b"\"source\"" => has_subagent = member(value, "subagent").is_some(),
                b"\"thread_source\"" => is_of_subagent = value == b"\"subagent\"",
                b"\"cwd\"" => meta.cwd = text_of(value).map(PathBuf::from),
                b"\"git\"" => meta.branch = string(value, "branch"),
                b"\"cli_version\"" => meta.cli_version = text_of(value),
                b"\"model_provider\"" => meta.model_provider = text_of(value),
                b"\"timestamp\"" => {
                    let started = text_of(value).and_then(|text| millis(text.as_bytes()));
                    meta.started_ms = started.or(meta.started_ms);
                }
                _ => {}
            }
        }
        meta.is_subagent = has_subagent || is_of_subagent;
        Some(meta)
    }
}

/// Returns the last member of an object with this name. `object` must be valid JSON.
pub(crate) fn member<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let is_named = |key: &[u8]| matches!(key, [b'"', key @ .., b'"'] if key == name.as_bytes());
    Members::of(object).filter(|(key, _)| is_named(key)).last().map(|(_, value)| value)
}

/// Returns the last member of an object with this name, if it is a string that is not empty. `object` must be valid JSON.
pub(crate) fn string(object: &[u8], name: &str) -> Option<String> {
    text_of(member(object, name)?)
}

/// Returns the text of a value, if it is a string that is not empty.
fn text_of(value: &[u8]) -> Option<String> {
    let [b'"', content @ .., b'"'] = value else { return None };
    let mut decoded = Vec::new();
    decode_string(content, &mut decoded);
    let text = String::from_utf8_lossy(&decoded).into_owned();
    (!text.is_empty()).then_some(text)
}
