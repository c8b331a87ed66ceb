//! Reads the lines of one rollout.
//!
//! Only lines that can matter are parsed: the envelope of a line shows its kind. So the time for a rollout is that for
//! finding the ends of its lines, and its long lines, such as replaced histories, need not be kept in memory.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::measures::{ContextSize, LinePosition, Measures, TurnError};
use super::message::Message;
use super::rate_limits::RateLimits;
use crate::convert::copied_history::{SessionMeta, SessionMetaKind, bounded_name};
use crate::convert::usage::{Cost, Usage};
use crate::cut::cut;
use crate::json::{Key, Kind, Tape, Text, scan, scan_from_payload};
use crate::rollout::damage::WholeRecords;
use crate::rollout::envelope::{Envelope, Head};
use crate::rollout::ids::TurnId;
use crate::rollout::kind::{LineKind, Role};
use crate::rollout::line_prefix::{self, UsagePrefix, has_second_record};
use crate::rollout::lines::Line;
use crate::rollout::session_meta;
use crate::rollout::timestamp::{self, Clock, Nanos};

/// After a line of more than this many bytes, the tape is freed.
const LARGE_LINE: usize = 1 << 20;

/// The length at which the message of an error is cut, in bytes.
const MAX_ERROR: usize = 1 << 10;

/// The longest name of a model or a provider that is kept, in bytes.
const MAX_NAME: usize = 256;

/// The number of bytes at the start of a message in which its role is searched.
const ROLE_WITHIN: usize = 256;

/// The member with the rate limits. In JSON these bytes are never part of a string.
static RATE_LIMITS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"rate_limits\":"));

/// Measures a rollout, line by line.
pub(crate) struct Meter {
    measures: Measures,
    /// The time from which the agent's messages are collected, in milliseconds since 1970.
    since: Option<u64>,
    messages: Vec<Message>,
    /// The latest line with rate limits, if they have not been read yet.
    limits_line: Vec<u8>,
    clock: Clock,
    tape: Tape,
}

impl Meter {
    /// Returns a meter for the lines after those that `measures` describe. It collects the agent's messages from the time
    /// `since` on, in milliseconds since 1970, or none.
    pub(crate) fn resume(measures: Measures, since: Option<u64>) -> Self {
        let (clock, tape) = (Clock::default(), Tape::default());
        Self { measures, since, messages: Vec::new(), limits_line: Vec::new(), clock, tape }
    }

    /// Returns the measures, and the messages that were collected.
    pub(crate) fn finish(mut self) -> (Measures, Vec<Message>) {
        let mut line = std::mem::take(&mut self.limits_line);
        let text = Text::pad(&mut line);
        if let (Ok(()), Some(read)) = (scan(text, &mut self.tape), self.measures.limits_read)
            && let Some(payload) = Envelope::of(text, &self.tape, None).payload
        {
            self.rate_limits(payload.raw(text), read);
        }
        (self.measures, self.messages)
    }

    /// Applies the next line.
    pub(crate) fn line(&mut self, line: &Line<'_>) {
        let bytes = line.text.bytes();
        let head = line_prefix::head(bytes, &mut self.clock).filter(|_| !line.has_lost_start);
        if let Some(head) = &head
            && self.usage_line(line, head).is_some()
        {
            return;
        }
        let is_whole = !line.has_control && bytes.last() == Some(&b'}');
        let mut may_be_damaged = true;
        if let Some(head) = &head {
            let payload = &bytes[head.payload..];
            let is_compaction = head.kind == b"compacted";
            let is_skipped = is_compaction || !self.may_matter(head, payload);
            may_be_damaged = !is_skipped || has_second_record(bytes, head);
            // The middle of a long line is missing.
            let is_shortened = !line.gaps.is_empty();
            if is_skipped && (is_shortened || (is_whole && !may_be_damaged)) {
                self.measures.copied.begin_line(head.ordinal, Some(head.timestamp.1));
                if is_compaction {
                    self.compacted(millis(head.timestamp.1));
                }
                if !may_be_damaged {
                    return;
                }
            }
        }
        if may_be_damaged || !is_whole {
            self.parse(line, head.as_ref());
        }
        if bytes.len() > LARGE_LINE {
            self.tape = Tape::default();
        }
    }

    /// Applies a line that reports token counts without parsing it. Returns `None` if it is a different line, or not in
    /// Codex's usual form. Of several lines with rate limits, only the last one matters, so [`Meter::finish`] parses it.
    fn usage_line(&mut self, line: &Line<'_>, head: &Head<'_>) -> Option<()> {
        let bytes = line.text.bytes();
        let usage = line_prefix::usage(bytes, line.has_control, head).filter(|_| line.gaps.is_empty())?;
        let position = LinePosition { at: millis(head.timestamp.1), end: line.next.0 };
        let measures = &mut self.measures;
        match usage {
            UsagePrefix::TokenCount(total) => {
                let (total, rest) = Usage::of_compact(total)?;
                let (last, rest) = Usage::of_compact(rest.strip_prefix(b",\"last_token_usage\":{")?)?;
                let limits = &rest[RATE_LIMITS.find(rest)? + RATE_LIMITS.needle().len()..];
                let has_limits = RateLimits::has_windows(limits)?;
                let is_copied = measures.copied.begin_line(head.ordinal, Some(head.timestamp.1));
                let cost = measures.ledger.token_count_of(total, last, is_copied);
                if has_limits && !is_copied {
                    measures.limits_read = Some(position);
                    self.limits_line.clear();
                    self.limits_line.extend_from_slice(bytes);
                }
                self.add(cost, position);
            }
            UsagePrefix::UsageRecord(id, usage) => {
                let (usage, _) = Usage::of_compact(usage)?;
                let is_copied = measures.copied.begin_line(head.ordinal, Some(head.timestamp.1));
                let counts = measures.ledger.usage_record_of(id, usage, is_copied);
                self.add(counts.map(Cost::Counted), position);
            }
        }
        Some(())
    }

    fn parse(&mut self, line: &Line<'_>, head: Option<&Head<'_>>) {
        let mut tape = std::mem::take(&mut self.tape);
        match scan_from_payload(line.text, head.map_or(0, |head| head.payload), &mut tape) {
            Ok(()) if !line.has_lost_start => self.record(line.text, &tape, head, line.next.0),
            _ => {
                let (mut records, mut copy) = (WholeRecords::of_line(line), Vec::new());
                while let Some(range) = records.next(&mut tape) {
                    let end = line.position(range.end - 1).0 + 1;
                    let text = line.text.part(range, &mut copy);
                    if scan(text, &mut tape).is_ok() {
                        self.record(text, &tape, None, end);
                    }
                }
            }
        }
        self.tape = tape;
    }

    /// Returns whether a line of this kind can change the measures. Its payload may be in another form than Codex's.
    fn may_matter(&self, head: &Head<'_>, payload: &[u8]) -> bool {
        let kind = head.kind;
        let Some(item) = payload.strip_prefix(b"{\"type\":\"") else {
            return matches!(
                kind,
                b"session_meta" | b"turn_context" | b"token_usage_record" | b"event_msg" | b"response_item"
            );
        };
        let is_one_of = |kinds: &[&[u8]]| kinds.iter().any(|kind| item.starts_with(kind));
        match kind {
            b"event_msg" => is_one_of(&[
                b"token_count\"",
                b"task_started\"",
                b"turn_started\"",
                b"task_complete\"",
                b"turn_complete\"",
                b"thread_settings_applied\"",
                b"thread_rolled_back\"",
                b"context_compacted\"",
                b"error\"",
            ]),
            b"response_item" => {
                self.since.is_some_and(|since| millis(head.timestamp.1) >= since)
                    && item.starts_with(b"message\"")
                    && may_be_assistants(item)
            }
            b"session_meta" | b"turn_context" | b"token_usage_record" => true,
            _ => false,
        }
    }

    /// Applies a record that was scanned, and ends at the offset `end`.
    fn record(&mut self, text: Text<'_>, tape: &Tape, head: Option<&Head<'_>>, end: u64) {
        let envelope = Envelope::of(text, tape, head);
        let time = envelope.timestamp.as_deref().and_then(timestamp::parse);
        let is_copied = self.measures.copied.begin_line(envelope.ordinal, time);
        let Some(payload) = envelope.payload.filter(|payload| payload.kind == Kind::Object) else { return };
        let measures = &mut self.measures;
        let position = LinePosition { at: time.map_or_else(|| measures.latest_time(), millis), end };
        let turn = || TurnId(bounded_name(text, &envelope.members, Key::TurnId).unwrap_or_default());
        match LineKind::of(text, tape, &envelope) {
            LineKind::SessionMeta => {
                let meta = SessionMeta::read(text, &envelope.members, envelope.ordinal, time);
                self.session_meta(meta, payload.raw(text));
            }
            LineKind::TurnContext => {
                measures.copied.begin_turn(&turn(), time);
                if !is_copied {
                    measures.error = None;
                    set_name(&mut measures.model, session_meta::string(payload.raw(text), "model"));
                }
            }
            LineKind::TaskStarted => {
                measures.copied.begin_turn(&turn(), time);
                if !is_copied {
                    measures.error = None;
                }
            }
            LineKind::TokenCount => {
                let info = envelope.members.get(Key::Info);
                let cost = measures.ledger.token_count(text, tape, info, is_copied);
                self.add(cost, position);
                if !is_copied {
                    self.rate_limits(payload.raw(text), position);
                }
            }
            LineKind::UsageRecord => {
                let cost = measures.ledger.usage_record(text, tape, payload, is_copied);
                self.add(cost, position);
            }
            _ if is_copied => {}
            LineKind::TaskComplete => {
                if let Some(error) = envelope.members.get(Key::Error).filter(|error| error.kind != Kind::Null) {
                    let json = error.token(text);
                    let message = session_meta::string(json, "message");
                    self.failed(&message.unwrap_or_else(|| String::from_utf8_lossy(json).into_owned()), position.at);
                }
            }
            LineKind::Compacted => self.compacted(position.at),
            LineKind::ThreadRolledBack => measures.context = None,
            LineKind::Message(Role::Assistant) => {
                let at = time.map(millis).filter(|at| self.since.is_some_and(|since| *at >= since));
                if let (Some(at), Some(content)) = (at, envelope.members.get(Key::Content)) {
                    self.messages.extend(Message::read(text, tape, content, at));
                }
            }
            _ if envelope.kind.as_deref() == Some(b"event_msg") => match envelope.payload_kind.as_deref() {
                Some(b"context_compacted") => self.compacted(position.at),
                Some(b"thread_settings_applied") => self.settings(payload.raw(text)),
                Some(b"error") => {
                    if let Some(message) = session_meta::string(payload.raw(text), "message") {
                        self.failed(&message, position.at);
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn session_meta(&mut self, meta: SessionMeta, payload: &[u8]) {
        let thread = meta.thread.clone();
        let measures = &mut self.measures;
        match measures.copied.session_meta(meta) {
            SessionMetaKind::CopiedHistory => return,
            SessionMetaKind::NewSession => measures.ledger.begin_session(),
            SessionMetaKind::SameSession => {}
        }
        if measures.thread.0.is_empty() {
            measures.thread = thread;
        }
        set_name(&mut measures.provider, session_meta::string(payload, "model_provider"));
    }

    fn settings(&mut self, payload: &[u8]) {
        let Some(settings) = session_meta::member(payload, "thread_settings") else { return };
        set_name(&mut self.measures.model, session_meta::string(settings, "model"));
        set_name(&mut self.measures.provider, session_meta::string(settings, "model_provider_id"));
    }

    /// Adds the cost of an inference. Its input is the context.
    fn add(&mut self, cost: Option<Cost<'_>>, position: LinePosition) {
        let Some(cost) = cost.filter(|cost| !cost.is_zero()) else { return };
        let measures = &mut self.measures;
        let tokens = cost.counts().into();
        measures.tokens = measures.tokens.plus(tokens);
        measures.counted = Some(position);
        // After a compaction, Codex writes a count of zero tokens whose total is an estimate of the new context.
        if tokens.input > 0 {
            measures.context = Some(ContextSize { tokens: tokens.input, line_end: position.end });
        }
    }

    fn rate_limits(&mut self, payload: &[u8], position: LinePosition) {
        let Some(value) = session_meta::member(payload, "rate_limits") else { return };
        let limits = RateLimits::read(value, position.at);
        if !limits.is_empty() {
            self.limits_line.clear();
            (self.measures.limits, self.measures.limits_read) = (limits, Some(position));
        }
    }

    fn compacted(&mut self, at: u64) {
        self.measures.context = None;
        self.measures.compacted_at = Some(at);
    }

    fn failed(&mut self, message: &str, at: u64) {
        self.measures.error = Some(TurnError { message: cut(message, MAX_ERROR).to_owned(), at });
    }
}

impl Measures {
    /// Returns the time of the latest line that reported an inference or a limit, in milliseconds since 1970, or 0.
    fn latest_time(&self) -> u64 {
        self.counted.max(self.limits_read).map_or(0, |position| position.at)
    }
}

/// Returns a time in milliseconds since 1970, or 0 for an earlier one.
fn millis(time: Nanos) -> u64 {
    u64::try_from(timestamp::millis(time)).unwrap_or(0)
}

/// Sets a name, if there is one that is short enough to be kept.
fn set_name(name: &mut Option<String>, found: Option<String>) {
    if let Some(found) = found.filter(|found| found.len() <= MAX_NAME) {
        *name = Some(found);
    }
}

/// Returns whether a message, in the form that Codex writes, may be the assistant's.
fn may_be_assistants(item: &[u8]) -> bool {
    const ROLE: &[u8] = b"\"role\":\"";
    let start = &item[..item.len().min(ROLE_WITHIN)];
    match memchr::memmem::find(start, ROLE) {
        Some(role) => item[role + ROLE.len()..].starts_with(b"assistant\""),
        None => true,
    }
}

#[cfg(test)]
mod tests;
