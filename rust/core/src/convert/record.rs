//! The form of records: compact JSON, one a line, the framing first.

use super::event_id::{Digest16, IdKind};
use super::output::Output;

/// Who writes these records, the `emitter` of each.
pub const EMITTER: &str = "codex/common_transcript";

/// The revision of ATIF that the records follow; mngr 0.3.0 pins this one.
pub const SCHEMA_VERSION: &str = "ATIF-v1.7";

/// What pieces of a record are appended to.
pub trait Push {
    /// Appends a piece.
    fn push(&mut self, piece: &[u8]);
}

impl Push for Vec<u8> {
    #[inline]
    fn push(&mut self, piece: &[u8]) {
        self.extend_from_slice(piece);
    }
}

impl<W: std::io::Write> Push for Output<W> {
    #[inline]
    fn push(&mut self, piece: &[u8]) {
        Output::push(self, piece);
    }
}

/// Who a step is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The user.
    User,
    /// Codex itself.
    System,
    /// The model.
    Agent,
}

impl Source {
    /// A step's members from its source to its message.
    const fn opening(self) -> &'static [u8] {
        match self {
            Self::User => b"\",\"source\":\"user\",\"message\":\"",
            Self::System => b"\",\"source\":\"system\",\"message\":\"",
            Self::Agent => b"\",\"source\":\"agent\",\"message\":\"",
        }
    }
}

/// What a record says of its origin: its id and its time.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    /// The id's hash.
    pub digest: Digest16,
    /// The id's last part.
    pub kind: IdKind,
    /// ISO 8601.
    pub timestamp: &'a [u8],
}

impl Origin<'_> {
    /// Appends the event id.
    pub fn push_id(&self, out: &mut impl Push) {
        out.push(&self.digest.event_id());
        out.push(self.kind.name().as_bytes());
    }
}

/// Appends the header of the agent's transcript.
pub fn push_header(out: &mut impl Push, agent_id: &[u8]) {
    let digest = Digest16::of(&[agent_id, b":", EMITTER.as_bytes()]);
    out.push(b"{\"type\":\"header\",\"event_id\":\"header-");
    out.push(&digest.hex());
    out.push(b"\",\"emitter\":\"codex/common_transcript\",\"schema_version\":\"");
    out.push(SCHEMA_VERSION.as_bytes());
    out.push(b"\"}\n");
}

/// Appends a step up to and with the quote before its message.
pub fn open_step(out: &mut impl Push, origin: &Origin<'_>, source: Source) {
    out.push(b"{\"type\":\"step\",\"event_id\":\"");
    push_origin(out, origin);
    out.push(source.opening());
}

/// Appends the id, the emitter and the timestamp.
fn push_origin(out: &mut impl Push, origin: &Origin<'_>) {
    origin.push_id(out);
    out.push(b"\",\"emitter\":\"codex/common_transcript\",\"timestamp\":\"");
    out.push(origin.timestamp);
}

/// Appends the end of a step.
pub fn close_step(out: &mut impl Push, is_copied: bool) {
    if is_copied {
        out.push(b",\"is_copied_context\":true");
    }
    out.push(b"}\n");
}

/// Appends an observation of one result up to and with the quote before its content; `call` is escaped.
pub fn open_observation(out: &mut impl Push, origin: &Origin<'_>, call: &[u8]) {
    out.push(b"{\"type\":\"observation\",\"event_id\":\"");
    push_origin(out, origin);
    out.push(b"\",\"results\":[{\"source_call_id\":\"");
    out.push(call);
    out.push(b"\",\"content\":\"");
}

/// Appends the end of an observation, behind the members of its result's `extra`, of which there is one at least.
pub fn close_observation(out: &mut impl Push, is_copied: bool) {
    if is_copied {
        out.push(b",\"is_copied_context\":true");
    }
    out.push(b"}}]}\n");
}
