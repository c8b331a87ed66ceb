//! The properties of a session that the beginning of its rollout has.

use std::borrow::Borrow;
use std::io::{self, Read};
use std::path::Path;

use super::names::{SessionNames, home_of};
use crate::convert::{IncrementalConverter, Options};
use crate::json::{Tape, Text, scan};
use crate::rollout::decompression::Input;
use crate::rollout::envelope::Envelope;
use crate::rollout::file_name::thread_id_in;
use crate::rollout::lines::{Line, Lines};
use crate::rollout::session_meta::{SessionMeta, member, string};
use crate::transcript::record::{Record, RecordKind, Role};

/// The maximum number of bytes of text that are read. A first message with images can be this large.
const MAX_READ: u64 = 8 << 20;

/// The number of bytes of text after which only the first message of the user is still searched for.
const USUAL_HEAD: u64 = 1 << 20;

/// The maximum length of a title, in characters.
const MAX_TITLE: usize = 200;

/// The properties of a session, from the beginning of its rollout or of an agent's raw transcript.
///
/// Whoever shows a session reads its properties with [`SessionHead::read`], so that lists and headers agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionHead {
    /// The session's id, folder, branch, version of Codex, and time of the start.
    pub meta: SessionMeta,
    /// The model of the first turn.
    pub model: Option<String>,
    /// The name that the user gave the session, else the user's first message. It is one line of at most 200 characters.
    /// It can contain control characters, which a terminal must not be sent.
    pub title: Option<String>,
}

impl SessionHead {
    /// Reads the beginning of a rollout, compressed or not: usually less than 100 KB, at most 8 MiB. The name that the user
    /// gave the session is read from the Codex home that the file belongs to.
    ///
    /// A file that is not a rollout has no properties, except for the id in its name.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be opened or read.
    pub fn read(path: &Path) -> io::Result<Self> {
        Self::read_with(path, || home_of(path).map(|home| SessionNames::in_home(&home)).unwrap_or_default())
    }

    /// Does the same with the names of a home that the caller has read, for many sessions.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be opened or read.
    pub fn read_named(path: &Path, names: &SessionNames) -> io::Result<Self> {
        Self::read_with(path, || names)
    }

    /// Does the same for an input at its start, whose path is not known.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be read.
    pub fn of_input(input: Input) -> io::Result<Self> {
        let mut reader = Reader::default();
        reader.read(input)?;
        let title = reader.first_message.or(reader.copied_message);
        Ok(Self { meta: reader.meta.unwrap_or_default(), model: reader.model, title })
    }

    fn read_with<N: Borrow<SessionNames>>(path: &Path, names: impl FnOnce() -> N) -> io::Result<Self> {
        let mut head = Self::of_input(Input::open(path)?)?;
        head.meta.id = head.meta.id.or_else(|| thread_id_in(path));
        if let Some(name) = head.meta.id.as_deref().and_then(|id| names().borrow().get(id).map(one_line)) {
            head.title = Some(name);
        }
        Ok(head)
    }
}

/// Reads the lines of a rollout until everything is known.
#[derive(Default)]
struct Reader {
    /// The first one. History that was copied from other sessions can contain others.
    meta: Option<SessionMeta>,
    model: Option<String>,
    first_message: Option<String>,
    /// The first message that was copied from another session.
    copied_message: Option<String>,
}

impl Reader {
    fn read(&mut self, input: Input) -> io::Result<()> {
        let mut lines = Lines::new(input.take(MAX_READ), usize::MAX);
        // The converter determines which texts in the user's role are the user's, and which were copied.
        let mut converter = IncrementalConverter::new(&Options::default());
        let mut tape = Tape::default();
        while let Some(line) = lines.next_line()? {
            if self.meta.is_none() {
                self.meta = SessionMeta::of_line(&line, &mut tape);
            }
            if self.model.is_none() {
                self.model = model(line.text, &mut tape);
            }
            if self.first_message.is_none() {
                converter.line(line).map_err(io::Error::other)?;
                self.read_messages(&converter.take_records().map_err(io::Error::other)?, &mut tape)?;
            }
            if self.is_complete(line.next.0) {
                break;
            }
        }
        Ok(())
    }

    /// Returns whether to stop after this number of bytes.
    fn is_complete(&self, bytes_read: u64) -> bool {
        let Some(meta) = &self.meta else { return false };
        if bytes_read < USUAL_HEAD {
            return self.model.is_some() && self.first_message.is_some();
        }
        self.first_message.is_some() || self.copied_message.is_some() || meta.is_subagent
    }

    /// Searches records for the first message of the user.
    fn read_messages(&mut self, records: &[u8], tape: &mut Tape) -> io::Result<()> {
        let mut lines = Lines::new(records, usize::MAX);
        while let Some(Line { text, .. }) = lines.next_line()? {
            let Some((title, is_copied)) = user_message(text, tape) else { continue };
            let message = if is_copied { &mut self.copied_message } else { &mut self.first_message };
            message.get_or_insert(title);
        }
        Ok(())
    }
}

/// Returns the model that a line names, if it is a `turn_context`.
fn model(text: Text<'_>, tape: &mut Tape) -> Option<String> {
    scan(text, tape).ok()?;
    let envelope = Envelope::of(text, tape, None);
    let is_turn_context = envelope.kind.as_deref() == Some(b"turn_context");
    string(envelope.payload.filter(|_| is_turn_context)?.raw(text), "model")
}

/// Returns a title for a record that is a message of the user, and whether it was copied from another session.
fn user_message(text: Text<'_>, tape: &mut Tape) -> Option<(String, bool)> {
    if Record::read(text, tape).ok()?.kind() != RecordKind::Step(Some(Role::User)) {
        return None;
    }
    let message = string(text.bytes(), "message")?;
    // Codex writes a tag before and after each image (seen on 0.171).
    let lines = message.lines().filter(|line| !line.starts_with("<image name=") && *line != "</image>");
    let title = one_line(&lines.collect::<Vec<_>>().join("\n"));
    let is_copied = member(text.bytes(), "is_copied_context") == Some(b"true");
    (!title.is_empty()).then_some((title, is_copied))
}

/// Returns a text with single spaces for its white space, shortened to the length of a title.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        // A character has at most four bytes.
        if line.len() > 4 * MAX_TITLE {
            break;
        }
    }
    if line.chars().count() > MAX_TITLE {
        line = line.chars().take(MAX_TITLE - 1).chain(['…']).collect();
    }
    line
}

#[cfg(test)]
mod tests;
