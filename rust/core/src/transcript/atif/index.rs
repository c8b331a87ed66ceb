//! The first reading: checks all records and finds the step of each result.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use sha2::{Digest, Sha256};

use super::schema::{
    CALL, CALL_ID, Field, HEADER, OBSERVATION, OBSERVATIONS, RESULT, RESULT_EXTRA, STEP, Slots, Violation,
    check_members, check_model, members, members_of, observations, offset_in, step, text_of,
};
use super::{AtifError, Layout};
use crate::files::file_error::escaped_path;
use crate::json::dump::Members;
use crate::json::number::has_unreadable_integer;
use crate::json::{NOT_AN_OBJECT, Tape, string};
use crate::rollout::ByteOffset;
use crate::rollout::timestamp;
use crate::transcript::record::{Record, RecordKind};
use crate::transcript::stream::{Stream, StreamPosition};

/// The number of warnings that are kept. Further ones are counted.
const MAX_WARNINGS: usize = 100;

/// The hash of a call's id, which has a fixed size.
type CallHash = [u8; 16];

/// A hasher for keys that are hashes themselves.
#[derive(Default)]
struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // The length of the array is hashed first, and is ignored.
        if let Some(Ok(first)) = bytes.get(..8).map(<[u8; 8]>::try_from) {
            self.0 ^= u64::from_ne_bytes(first);
        }
    }

    fn write_usize(&mut self, _length: usize) {}
}

/// A result of a call, with its step.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttachedResult {
    /// The number of the step, starting at 0.
    pub(crate) step: u32,
    /// The length in bytes.
    pub(crate) length: u32,
    /// The index of its file in the stream.
    segment: u32,
    /// The offset in the file.
    offset: u64,
    /// Whether its call is unknown. It is attached to the latest step of the agent then.
    pub(crate) is_unmatched: bool,
}

impl AttachedResult {
    /// Returns the position of the result in the stream.
    pub(super) fn position(&self) -> StreamPosition {
        StreamPosition { segment: self.segment as usize, offset: ByteOffset(self.offset) }
    }
}

/// The result of the first reading.
#[derive(Debug, Default)]
pub struct Index {
    pub(super) steps: u32,
    /// Whether [`kind_by_prefix`] is right for all lines.
    pub(super) are_prefixes_reliable: bool,
    /// The results in the order of their steps, and of the stream within a step.
    pub(super) results: Vec<AttachedResult>,
    pub(super) warnings: Vec<String>,
    pub(super) omitted_warnings: u64,
}

impl Index {
    fn warn(&mut self, warning: impl FnOnce() -> String) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(warning());
        } else {
            self.omitted_warnings += 1;
        }
    }
}

/// Checks a stream and finds the steps of its results. The memory is about 40 bytes per call and per result.
///
/// # Errors
///
/// Returns [`AtifError::Read`] if the stream cannot be read, [`AtifError::NoSteps`] if it has no steps, and
/// [`AtifError::Invalid`] or [`AtifError::Unusual`] for a record that cannot be part of the document.
pub fn check(stream: &Stream, layout: Layout) -> Result<Index, AtifError> {
    let mut reading = Reading::default();
    let mut are_prefixes_reliable = true;
    let skipped = each_record(stream, layout, &mut |position, record| {
        if layout == Layout::AsMngr {
            check_usual(record.text().bytes()).map_err(|violation| invalid(stream, layout, position, &violation))?;
        }
        let kind = record.kind();
        let is_step = matches!(kind, RecordKind::Step(_));
        are_prefixes_reliable &= kind_by_prefix(record.text().bytes()).is_none_or(|found| found == is_step);
        reading
            .record(layout, position, record, kind)
            .map_err(|violation| invalid(stream, layout, position, &violation))
    })?;
    let mut index = reading.index;
    index.are_prefixes_reliable = are_prefixes_reliable && skipped.first.is_none() && !skipped.is_partial;
    if let Some((position, count)) = skipped.first {
        let path = escaped_path(stream.path(position.segment));
        let more = if count > 1 { format!(", and {} more lines", count - 1) } else { String::new() };
        index.warn(|| format!("{path}: the line at byte {} is not a JSON object{more}; skipped", position.offset));
    }
    if index.steps == 0 {
        return Err(AtifError::NoSteps(stream.path(0).to_owned()));
    }
    index.results.sort_by_key(|result| result.step);
    Ok(index)
}

/// Returns the error for a violation in a record.
fn invalid(stream: &Stream, layout: Layout, position: StreamPosition, violation: &Violation) -> AtifError {
    let path = stream.path(position.segment).to_owned();
    let (offset, reason) = (position.offset, violation.message.trim_start_matches([' ', '.']).to_owned());
    match layout {
        Layout::AsMngr if violation.is_unusual => AtifError::Unusual { path, offset, reason },
        _ => AtifError::Invalid { path, offset, reason },
    }
}

/// The lines that are not records.
#[derive(Default)]
struct Skipped {
    /// The first such line and their number, except partial last lines of files.
    first: Option<(StreamPosition, u64)>,
    /// Whether a file ends with a partial line.
    is_partial: bool,
}

/// Calls `act` for each record of a stream, with its position.
fn each_record(
    stream: &Stream,
    layout: Layout,
    act: &mut dyn FnMut(StreamPosition, &Record<'_>) -> Result<(), AtifError>,
) -> Result<Skipped, AtifError> {
    let mut lines = stream.lines();
    let mut tape = Tape::default();
    let mut skipped = Skipped::default();
    while let Some(line) = lines.next_line()? {
        let bytes = line.text.bytes();
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        if layout == Layout::AsMngr && string::has_line_break(bytes) {
            return Err(invalid(
                stream,
                layout,
                line.position,
                &Violation::unusual("it contains a line break of Python"),
            ));
        }
        match Record::read(line.text, &mut tape) {
            Ok(record) => act(line.position, &record)?,
            Err(malformed) if malformed.reason == NOT_AN_OBJECT && is_json(bytes) => {
                return Err(invalid(stream, layout, line.position, &Violation::new("it is not a JSON object")));
            }
            Err(_) if line.is_partial => skipped.is_partial = true,
            Err(_) => skipped.first.get_or_insert((line.position, 0)).1 += 1,
        }
    }
    Ok(skipped)
}

/// Returns whether a line is a step, judging by its first bytes. Returns `None` if the line does not begin as
/// emitters usually write it.
pub(super) fn kind_by_prefix(line: &[u8]) -> Option<bool> {
    let rest = line.strip_prefix(b"{\"type\":\"")?;
    if rest.starts_with(b"step\",") {
        return Some(true);
    }
    rest.starts_with(b"observation\",").then_some(false)
}

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

/// Checks that Python reads and writes a line like this program.
fn check_usual(line: &[u8]) -> Result<(), Violation> {
    if has_lone_surrogate(line) {
        return Err(Violation::unusual("it contains half a surrogate pair"));
    }
    if has_unreadable_integer(line) {
        return Err(Violation::unusual("it contains an integer that Python does not read"));
    }
    Ok(())
}

/// Returns whether the line contains an escaped surrogate without its partner.
fn has_lone_surrogate(line: &[u8]) -> bool {
    let surrogate = |at: usize, third: &[u8]| {
        let escape = line.get(at..at + 4).unwrap_or_default();
        escape.to_ascii_lowercase().starts_with(b"\\ud") && third.contains(&escape[3].to_ascii_lowercase())
    };
    let mut pair_end = 0;
    memchr::memmem::find_iter(line, b"\\u").any(|at| {
        // A backslash after another one is escaped itself.
        let is_escape = line[..at].iter().rev().take_while(|byte| **byte == b'\\').count().is_multiple_of(2);
        let is_first = is_escape && surrogate(at, b"89ab");
        if at < pair_end || !(is_first || is_escape && surrogate(at, b"cdef")) {
            return false;
        }
        pair_end = at + 12;
        !(is_first && surrogate(at + 6, b"cdef"))
    })
}

/// The state of the first reading.
#[derive(Default)]
struct Reading {
    index: Index,
    /// The latest step of each call id.
    steps: HashMap<CallHash, u32, BuildHasherDefault<IdentityHasher>>,
    latest_agent_step: Option<u32>,
    has_header: bool,
}

impl Reading {
    fn record(
        &mut self,
        layout: Layout,
        position: StreamPosition,
        record: &Record<'_>,
        kind: RecordKind,
    ) -> Result<(), Violation> {
        match kind {
            RecordKind::Retired => return Err(Violation::new("it has an old format that is no longer supported")),
            RecordKind::Header if self.has_header => return Err(Violation::new("there is a second header")),
            RecordKind::Header => {
                let slots = members_of(record, HEADER)?;
                check_members(&slots, HEADER, usize::MAX, layout)?;
                check_header_id(&text(&slots, 1))?;
                self.has_header = true;
            }
            _ if !self.has_header => return Err(Violation::new("the first record must be a header")),
            RecordKind::Step(_) => self.step(layout, record)?,
            RecordKind::Observation => self.observation(layout, position, record)?,
            RecordKind::Other => return Err(Violation::new("it has an unknown type")),
        }
        Ok(())
    }

    fn step(&mut self, layout: Layout, record: &Record<'_>) -> Result<(), Violation> {
        let slots = members_of(record, STEP)?;
        check_members(&slots, STEP, step::TOOL_CALLS, layout)?;
        check_timestamp(&text(&slots, step::TIMESTAMP), layout)?;
        let source = text(&slots, step::SOURCE);
        let has = |positions: &[usize]| {
            positions.iter().find(|position| slots[**position].is_some()).map(|position| STEP[*position].name)
        };
        let is_agent = source == b"agent";
        if let Some(name) = has(&step::OF_AGENTS).filter(|_| !is_agent) {
            return Err(Violation::new(format!("{name} is only allowed in steps of the agent")));
        }
        if slots[step::OBSERVATION].is_some() && source != b"system" {
            return Err(Violation::new("observation is only allowed in steps of the system"));
        }
        match slots[step::LLM_CALL_COUNT] {
            Some([b'-', digits @ ..]) if digits != b"0" => return Err(Violation::new("llm_call_count is negative")),
            Some(b"0" | b"-0") => {
                if let Some(name) = has(&step::OF_THE_MODEL).filter(|_| is_agent) {
                    return Err(Violation::new(format!("{name} is not allowed if llm_call_count is 0")));
                }
            }
            _ => {}
        }
        if let Some(observation) = slots[step::OBSERVATION] {
            let [results, ..] = members(observation, OBSERVATION)?;
            for (_, result) in results.into_iter().flat_map(Members::of) {
                if members(result, RESULT)?[CALL_ID].is_some() {
                    return Err(Violation::new("observation has a result of a call, but the step has no calls"));
                }
            }
        }
        if layout == Layout::AsMngr
            && let Some(extra) = slots[step::EXTRA]
        {
            check_unique(extra, &["event_id", "emitter"])?;
        }
        let number = self.index.steps;
        self.index.steps = number.checked_add(1).ok_or_else(|| Violation::new("it is the 4,294,967,296th step"))?;
        if is_agent {
            self.latest_agent_step = Some(number);
        }
        for (_, call) in elements(&slots, STEP, step::TOOL_CALLS)? {
            let id =
                text(&check_model(call, CALL, layout).map_err(|violation| violation.inside("tool_calls"))?, CALL_ID);
            if self.steps.insert(hash(&id), number).is_some() {
                let id = String::from_utf8_lossy(&id).into_owned();
                self.index
                    .warn(|| format!("several calls have the id {id:?}; their results are attached to the latest one"));
            }
        }
        Ok(())
    }

    fn observation(&mut self, layout: Layout, position: StreamPosition, record: &Record<'_>) -> Result<(), Violation> {
        let slots = members_of(record, OBSERVATIONS)?;
        check_members(&slots, OBSERVATIONS, observations::RESULTS, layout)?;
        check_timestamp(&text(&slots, observations::TIMESTAMP), layout)?;
        let mut is_empty = true;
        for (_, result) in elements(&slots, OBSERVATIONS, observations::RESULTS)? {
            is_empty = false;
            let slots = check_model(result, RESULT, layout).map_err(|violation| violation.inside("results"))?;
            let Some(id) = slots[CALL_ID].map(text_of) else {
                return Err(Violation::new("results.source_call_id is missing"));
            };
            let matched = self.steps.get(&hash(&id)).copied();
            let is_unmatched = matched.is_none();
            let Some(step) = matched.or(self.latest_agent_step) else {
                let id = String::from_utf8_lossy(&id);
                self.index.warn(|| {
                    format!("skipped a result of the unknown call {id:?}, which has no step of the agent before it")
                });
                continue;
            };
            if is_unmatched {
                if let Some(extra) = slots[RESULT_EXTRA].filter(|_| layout == Layout::AsMngr) {
                    check_unique(extra, &["unmatched", "source_call_id"])?;
                }
                let id = String::from_utf8_lossy(&id);
                self.index.warn(|| {
                    format!("a result of the unknown call {id:?} is attached to the previous step of the agent")
                });
            }
            let fits = |number: usize| u32::try_from(number).map_err(|_| Violation::new("it is too large"));
            let (length, segment) = (fits(result.len())?, fits(position.segment)?);
            let offset = position.offset.0 + offset_in(record.text().bytes(), result) as u64;
            self.index.results.push(AttachedResult { step, length, segment, offset, is_unmatched });
        }
        if is_empty { Err(Violation::new("results is empty")) } else { Ok(()) }
    }
}

/// Returns the elements of a member that must be an array if it exists.
fn elements<'a>(slots: &Slots<'a>, fields: &[Field], position: usize) -> Result<Members<'a>, Violation> {
    match slots[position] {
        Some(array) if array.first() != Some(&b'[') => {
            Err(Violation::new(format!("{} is not an array", fields[position].name)))
        }
        array => Ok(Members::of(array.unwrap_or_default())),
    }
}

fn text(slots: &Slots<'_>, position: usize) -> Vec<u8> {
    slots[position].map(text_of).unwrap_or_default()
}

fn hash(id: &[u8]) -> CallHash {
    let digest: [u8; 32] = Sha256::digest(id).into();
    let mut hash = CallHash::default();
    hash.copy_from_slice(&digest[..16]);
    hash
}

fn check_timestamp(text: &[u8], layout: Layout) -> Result<(), Violation> {
    // Python reads other formats too. Only mngr needs to be strict here, so anything that begins with a year is accepted.
    let has_year = text.get(..4).is_some_and(|year| year.iter().all(u8::is_ascii_digit));
    if timestamp::parse(text).is_some() || layout == Layout::Compact && has_year {
        return Ok(());
    }
    Err(Violation::unusual("timestamp is not in the format 2026-01-31T12:34:56.789Z"))
}

/// Checks that an id is `header-` and 32 digits.
fn check_header_id(id: &[u8]) -> Result<(), Violation> {
    let digits = id.strip_prefix(b"header-").unwrap_or_default();
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() == 32 && digits.iter().all(is_digit) {
        Ok(())
    } else {
        Err(Violation::new("event_id is not that of a header"))
    }
}

/// Checks that the members of an object are unique, and stay so when the members `added` are added.
fn check_unique(object: &[u8], added: &[&str]) -> Result<(), Violation> {
    let mut names: Vec<Vec<u8>> = Members::of(object).map(|(key, _)| text_of(key)).collect();
    names.extend(added.iter().map(|name| name.as_bytes().to_vec()));
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            Err(Violation::unusual(format!("extra.{} would be duplicated", String::from_utf8_lossy(&pair[0]))))
        }
        None => Ok(()),
    }
}
