//! The first reading: all of the stream is checked, and it is noted which result belongs to which step.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use sha2::{Digest, Sha256};

use super::schema::{
    CALL, CALL_ID, Field, HEADER, OBSERVATION, OBSERVATIONS, RESULT, RESULT_EXTRA, STEP, Slots, Wrong, check_members,
    check_model, members, members_of, observations, place_in, step, text_of,
};
use super::{AtifError, Form};
use crate::json::dump::Members;
use crate::json::number::has_unreadable_integer;
use crate::json::{NOT_AN_OBJECT, Tape, string};
use crate::rollout::ByteOffset;
use crate::rollout::timestamp;
use crate::transcript::locate::shown;
use crate::transcript::record::{Record, RecordKind};
use crate::transcript::stream::{Place, Stream};

/// Warnings that are kept one by one.
const MOST_WARNINGS: usize = 100;

/// A call's id, hashed: as good as the id itself, and of one size.
type CallHash = [u8; 16];

/// Takes the hash that a call's id has already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // An array's length comes first, and says nothing.
        if let Some(Ok(first)) = bytes.get(..8).map(<[u8; 8]>::try_from) {
            self.0 ^= u64::from_ne_bytes(first);
        }
    }

    fn write_usize(&mut self, _length: usize) {}
}

/// A result of a call, and the step that it belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attached {
    /// The step, counted from 0.
    pub step: u32,
    /// Its length in the stream, in bytes.
    pub length: u32,
    /// Its file.
    segment: u32,
    /// Where it starts there.
    offset: u64,
    /// No call is known that it is of: it stands with the latest step of the model.
    pub is_unmatched: bool,
}

impl Attached {
    /// Where it stands.
    pub(super) fn place(&self) -> Place {
        Place { segment: self.segment as usize, offset: ByteOffset(self.offset) }
    }
}

/// What the first reading has found.
#[derive(Debug, Default)]
pub struct Index {
    pub(super) steps: u32,
    /// Whether each line is what it [looks like](looks_like).
    pub(super) are_looks_right: bool,
    /// In the order of their steps; those of one step in the order of the stream.
    pub(super) results: Vec<Attached>,
    pub(super) warnings: Vec<String>,
    pub(super) untold_warnings: u64,
}

impl Index {
    fn warn(&mut self, warning: impl FnOnce() -> String) {
        if self.warnings.len() < MOST_WARNINGS {
            self.warnings.push(warning());
        } else {
            self.untold_warnings += 1;
        }
    }
}

/// Checks a stream and notes where its results belong. Memory is some 40 bytes for each call and each result.
///
/// # Errors
///
/// [`AtifError`]; nothing has been written then.
pub fn check(stream: &Stream, form: Form) -> Result<Index, AtifError> {
    let mut reading = Reading::default();
    let mut are_looks_right = true;
    let passed_over = each_record(stream, form, &mut |place, record| {
        if form == Form::AsMngr {
            is_usual(record.text().bytes()).map_err(|wrong| fails(stream, form, place, &wrong))?;
        }
        let kind = record.kind();
        let is_step = matches!(kind, RecordKind::Step(_));
        are_looks_right &= looks_like(record.text().bytes()).is_none_or(|looks| looks == is_step);
        reading.record(form, place, record, kind).map_err(|wrong| fails(stream, form, place, &wrong))
    })?;
    let mut index = reading.index;
    index.are_looks_right = are_looks_right && passed_over.first.is_none() && !passed_over.is_torn;
    if let Some((place, count)) = passed_over.first {
        let path = shown(stream.path(place.segment));
        let more = if count > 1 { format!(", and {} more lines", count - 1) } else { String::new() };
        index.warn(|| format!("{path}: the line at byte {} is not a JSON object{more}; left out", place.offset));
    }
    if index.steps == 0 {
        return Err(AtifError::NoStep(stream.path(0).to_owned()));
    }
    index.results.sort_by_key(|result| result.step);
    Ok(index)
}

/// The error that something wrong with a record makes.
fn fails(stream: &Stream, form: Form, place: Place, wrong: &Wrong) -> AtifError {
    let path = stream.path(place.segment).to_owned();
    let (offset, what) = (place.offset, wrong.what.trim_start_matches([' ', '.']).to_owned());
    match form {
        Form::AsMngr if wrong.is_unusual => AtifError::Unusual { path, offset, what },
        _ => AtifError::Violates { path, offset, what },
    }
}

/// Lines that are no records.
#[derive(Default)]
struct PassedOver {
    /// The first, and how many such there are; the torn last line of a file does not count.
    first: Option<(Place, u64)>,
    /// Whether a file ends in a torn line.
    is_torn: bool,
}

/// Goes over the records of a stream, each with its place.
fn each_record(
    stream: &Stream,
    form: Form,
    act: &mut dyn FnMut(Place, &Record<'_>) -> Result<(), AtifError>,
) -> Result<PassedOver, AtifError> {
    let mut lines = stream.lines();
    let mut tape = Tape::default();
    let mut passed_over = PassedOver::default();
    while let Some(line) = lines.next_line()? {
        let bytes = line.text.bytes();
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        if form == Form::AsMngr && string::has_line_break(bytes) {
            return Err(fails(stream, form, line.place, &Wrong::unusual("mngr takes it for several lines")));
        }
        match Record::read(line.text, &mut tape) {
            Ok(record) => act(line.place, &record)?,
            Err(malformed) if malformed.why == NOT_AN_OBJECT && is_json(bytes) => {
                return Err(fails(stream, form, line.place, &Wrong::new("it is no JSON object")));
            }
            Err(_) if line.is_torn => passed_over.is_torn = true,
            Err(_) => passed_over.first.get_or_insert((line.place, 0)).1 += 1,
        }
    }
    Ok(passed_over)
}

/// Whether a line that begins in the usual form is a step's; `None` where it begins in another.
pub(super) fn looks_like(line: &[u8]) -> Option<bool> {
    let rest = line.strip_prefix(b"{\"type\":\"")?;
    if rest.starts_with(b"step\",") {
        return Some(true);
    }
    rest.starts_with(b"observation\",").then_some(false)
}

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

/// Whether Python reads and writes a line as it is done here.
fn is_usual(line: &[u8]) -> Result<(), Wrong> {
    if has_lone_surrogate(line) {
        return Err(Wrong::unusual("it holds half a surrogate pair"));
    }
    if has_unreadable_integer(line) {
        return Err(Wrong::unusual("it holds an integer that Python does not read"));
    }
    Ok(())
}

/// Whether an escape stands for a surrogate without its partner.
fn has_lone_surrogate(line: &[u8]) -> bool {
    let surrogate = |at: usize, third: &[u8]| {
        let escape = line.get(at..at + 4).unwrap_or_default();
        escape.to_ascii_lowercase().starts_with(b"\\ud") && third.contains(&escape[3].to_ascii_lowercase())
    };
    let mut behind_pair = 0;
    memchr::memmem::find_iter(line, b"\\u").any(|at| {
        // A backslash behind another one is escaped itself.
        let is_escape = line[..at].iter().rev().take_while(|byte| **byte == b'\\').count().is_multiple_of(2);
        let is_first = is_escape && surrogate(at, b"89ab");
        if at < behind_pair || !(is_first || is_escape && surrogate(at, b"cdef")) {
            return false;
        }
        behind_pair = at + 12;
        !(is_first && surrogate(at + 6, b"cdef"))
    })
}

/// The state between two records.
#[derive(Default)]
struct Reading {
    index: Index,
    /// The steps of calls, by the latest.
    steps: HashMap<CallHash, u32, BuildHasherDefault<Hashed>>,
    latest_of_the_model: Option<u32>,
    has_header: bool,
}

impl Reading {
    fn record(&mut self, form: Form, place: Place, record: &Record<'_>, kind: RecordKind) -> Result<(), Wrong> {
        match kind {
            RecordKind::Retired => return Err(Wrong::new("it is of a form that is no longer read")),
            RecordKind::Header if self.has_header => return Err(Wrong::new("it is a second header")),
            RecordKind::Header => {
                let slots = members_of(record, HEADER)?;
                check_members(&slots, HEADER, usize::MAX, form)?;
                is_header_id(&text(&slots, 1))?;
                self.has_header = true;
            }
            _ if !self.has_header => return Err(Wrong::new("it is the first one, and no header")),
            RecordKind::Step(_) => self.step(form, record)?,
            RecordKind::Observation => self.observation(form, place, record)?,
            RecordKind::Other => return Err(Wrong::new("it is of no type that is known")),
        }
        Ok(())
    }

    fn step(&mut self, form: Form, record: &Record<'_>) -> Result<(), Wrong> {
        let slots = members_of(record, STEP)?;
        check_members(&slots, STEP, step::TOOL_CALLS, form)?;
        is_timestamp(&text(&slots, step::TIMESTAMP), form)?;
        let source = text(&slots, step::SOURCE);
        let has =
            |places: &[usize]| places.iter().find(|place| slots[**place].is_some()).map(|place| STEP[*place].name);
        let is_agent = source == b"agent";
        if let Some(name) = has(&step::OF_AGENTS).filter(|_| !is_agent) {
            return Err(Wrong::new(format!("{name} is there, and it is no step of the agent")));
        }
        if slots[step::OBSERVATION].is_some() && source != b"system" {
            return Err(Wrong::new("observation is there, and it is no step of the system"));
        }
        match slots[step::LLM_CALL_COUNT] {
            Some([b'-', digits @ ..]) if digits != b"0" => return Err(Wrong::new("llm_call_count is below 0")),
            Some(b"0" | b"-0") => {
                if let Some(name) = has(&step::OF_THE_MODEL).filter(|_| is_agent) {
                    return Err(Wrong::new(format!("{name} is there, and no model was called")));
                }
            }
            _ => {}
        }
        if let Some(observation) = slots[step::OBSERVATION] {
            let [results, ..] = members(observation, OBSERVATION)?;
            for (_, result) in results.into_iter().flat_map(Members::of) {
                if members(result, RESULT)?[CALL_ID].is_some() {
                    return Err(Wrong::new("observation is of a call, and the step has none"));
                }
            }
        }
        if form == Form::AsMngr
            && let Some(extra) = slots[step::EXTRA]
        {
            has_no_others(extra, &["event_id", "emitter"])?;
        }
        let number = self.index.steps;
        self.index.steps = number.checked_add(1).ok_or_else(|| Wrong::new("it is the 4,294,967,296th step"))?;
        if is_agent {
            self.latest_of_the_model = Some(number);
        }
        for (_, call) in elements(&slots, STEP, step::TOOL_CALLS)? {
            let id = text(&check_model(call, CALL, form).map_err(|wrong| wrong.inside("tool_calls"))?, CALL_ID);
            if self.steps.insert(hash(&id), number).is_some() {
                let id = String::from_utf8_lossy(&id).into_owned();
                self.index.warn(|| format!("several calls have the id {id:?}; results stand with the latest"));
            }
        }
        Ok(())
    }

    fn observation(&mut self, form: Form, place: Place, record: &Record<'_>) -> Result<(), Wrong> {
        let slots = members_of(record, OBSERVATIONS)?;
        check_members(&slots, OBSERVATIONS, observations::RESULTS, form)?;
        is_timestamp(&text(&slots, observations::TIMESTAMP), form)?;
        let mut is_empty = true;
        for (_, result) in elements(&slots, OBSERVATIONS, observations::RESULTS)? {
            is_empty = false;
            let slots = check_model(result, RESULT, form).map_err(|wrong| wrong.inside("results"))?;
            let Some(id) = slots[CALL_ID].map(text_of) else {
                return Err(Wrong::new("results.source_call_id is missing"));
            };
            let matched = self.steps.get(&hash(&id)).copied();
            let is_unmatched = matched.is_none();
            let Some(step) = matched.or(self.latest_of_the_model) else {
                let id = String::from_utf8_lossy(&id);
                self.index.warn(|| {
                    format!(
                        "left out: the result of the call {id:?}, which is not known; no step of the agent is before it"
                    )
                });
                continue;
            };
            if is_unmatched {
                if let Some(extra) = slots[RESULT_EXTRA].filter(|_| form == Form::AsMngr) {
                    has_no_others(extra, &["unmatched", "source_call_id"])?;
                }
                let id = String::from_utf8_lossy(&id);
                self.index.warn(|| {
                    format!("the result of the call {id:?}, which is not known, stands with the agent's step before it")
                });
            }
            let fits = |number: usize| u32::try_from(number).map_err(|_| Wrong::new("it is too large"));
            let (length, segment) = (fits(result.len())?, fits(place.segment)?);
            let offset = place.offset.0 + place_in(record.text().bytes(), result) as u64;
            self.index.results.push(Attached { step, length, segment, offset, is_unmatched });
        }
        if is_empty { Err(Wrong::new("results has none")) } else { Ok(()) }
    }
}

/// The elements of a member that must be an array, if it is there.
fn elements<'a>(slots: &Slots<'a>, fields: &[Field], place: usize) -> Result<Members<'a>, Wrong> {
    match slots[place] {
        Some(array) if array.first() != Some(&b'[') => Err(Wrong::new(format!("{} is no array", fields[place].name))),
        array => Ok(Members::of(array.unwrap_or_default())),
    }
}

fn text(slots: &Slots<'_>, place: usize) -> Vec<u8> {
    slots[place].map(text_of).unwrap_or_default()
}

fn hash(id: &[u8]) -> CallHash {
    let digest: [u8; 32] = Sha256::digest(id).into();
    let mut hash = CallHash::default();
    hash.copy_from_slice(&digest[..16]);
    hash
}

fn is_timestamp(text: &[u8], form: Form) -> Result<(), Wrong> {
    // What else Python takes for one is a matter for mngr; as it stands, whatever begins with a year is handed on.
    let has_year = text.get(..4).is_some_and(|year| year.iter().all(u8::is_ascii_digit));
    if timestamp::parse(text).is_some() || form == Form::Compact && has_year {
        return Ok(());
    }
    Err(Wrong::unusual("timestamp is not in the form 2026-01-31T12:34:56.789Z"))
}

/// `header-` and 32 digits.
fn is_header_id(id: &[u8]) -> Result<(), Wrong> {
    let digits = id.strip_prefix(b"header-").unwrap_or_default();
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() == 32 && digits.iter().all(is_digit) { Ok(()) } else { Err(Wrong::new("event_id is no header's")) }
}

/// An object that others are added to must have each of its own once, and none of those.
fn has_no_others(object: &[u8], added: &[&str]) -> Result<(), Wrong> {
    let mut names: Vec<Vec<u8>> = Members::of(object).map(|(key, _)| text_of(key)).collect();
    names.extend(added.iter().map(|name| name.as_bytes().to_vec()));
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Wrong::unusual(format!("extra.{} would be there twice", String::from_utf8_lossy(&pair[0])))),
        None => Ok(()),
    }
}
