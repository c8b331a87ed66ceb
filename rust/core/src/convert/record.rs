//! The framing of records: compact JSON, one record per line, with the common members first.

use super::event_id::{Digest16, IdKind};
use super::output::Output;

/// The `emitter` of each record.
pub(crate) const EMITTER: &str = "codex/common_transcript";

/// The revision of ATIF that the records follow. mngr 0.3.0 requires this one.
pub(crate) const SCHEMA_VERSION: &str = "ATIF-v1.7";

/// A target for pieces of a record.
pub(crate) trait Push {
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

/// The source of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepSource {
    /// The user.
    User,
    /// Codex itself.
    System,
    /// The model.
    Agent,
}

impl StepSource {
    /// Returns a step's members from its source to its message.
    const fn opening(self) -> &'static [u8] {
        match self {
            Self::User => b"\",\"source\":\"user\",\"message\":\"",
            Self::System => b"\",\"source\":\"system\",\"message\":\"",
            Self::Agent => b"\",\"source\":\"agent\",\"message\":\"",
        }
    }
}

/// The id and the time of a record.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// The hash in the event id.
    pub(crate) digest: Digest16,
    /// The last part of the event id.
    pub(crate) kind: IdKind,
    /// The timestamp, in ISO 8601.
    pub(crate) timestamp: &'a [u8],
}

impl Origin<'_> {
    /// Appends the event id.
    pub(crate) fn push_id(&self, out: &mut impl Push) {
        out.push(&self.digest.event_id());
        out.push(self.kind.name().as_bytes());
    }
}

/// Appends the header of an agent's transcript.
pub(crate) fn push_header(out: &mut impl Push, agent_id: &[u8]) {
    let digest = Digest16::of(&[agent_id, b":", EMITTER.as_bytes()]);
    out.push(b"{\"type\":\"header\",\"event_id\":\"header-");
    out.push(&digest.hex());
    out.push(b"\",\"emitter\":\"codex/common_transcript\",\"schema_version\":\"");
    out.push(SCHEMA_VERSION.as_bytes());
    out.push(b"\"}\n");
}

/// Appends the beginning of a step, up to the opening quote of its message.
pub(crate) fn open_step(out: &mut impl Push, origin: &Origin<'_>, source: StepSource) {
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
pub(crate) fn close_step(out: &mut impl Push, is_copied: bool) {
    if is_copied {
        out.push(b",\"is_copied_context\":true");
    }
    out.push(b"}\n");
}

/// Appends the beginning of an observation with one result, up to the opening quote of its content. `call` is escaped.
pub(crate) fn open_observation(out: &mut impl Push, origin: &Origin<'_>, call: &[u8]) {
    out.push(b"{\"type\":\"observation\",\"event_id\":\"");
    push_origin(out, origin);
    out.push(b"\",\"results\":[{\"source_call_id\":\"");
    out.push(call);
    out.push(b"\",\"content\":\"");
}

/// Appends the end of an observation, after one or more members of its result's `extra`.
pub(crate) fn close_observation(out: &mut impl Push, is_copied: bool) {
    if is_copied {
        out.push(b",\"is_copied_context\":true");
    }
    out.push(b"}}]}\n");
}
