//! The second reading: writes the document step by step.

use std::io::Write;

use super::index::{AttachedResult, Index, kind_by_prefix};
use super::json_writer::JsonWriter;
use super::schema::{CALL_ID, METRICS, RESULT, RESULT_EXTRA, STEP, members, step, text_of};
use super::{AtifError, DocumentSummary, Layout, TrajectoryInfo};
use crate::convert::record::SCHEMA_VERSION;
use crate::json::Tape;
use crate::json::dump::{Members, python_float};
use crate::json::string::replace_invalid_utf8;
use crate::transcript::record::{Record, RecordKind};
use crate::transcript::stream::{ReadError, Stream, StreamPosition};

/// The number of bytes that are collected before they are written.
const WRITE_SIZE: usize = 128 << 10;

/// The members that are moved to the `extra` of each step, because ATIF steps do not have them.
const FRAMING: [(&str, usize); 2] = [("event_id", step::EVENT_ID), ("emitter", step::EMITTER)];

/// The members that are added to the `extra` of a result whose call is unknown.
const UNMATCHED: [&str; 2] = ["unmatched", "source_call_id"];

/// Writes the document of a stream that [`check`](super::check) has indexed with the same layout.
///
/// # Errors
///
/// Returns [`AtifError::Read`] if the stream cannot be read, [`AtifError::Write`] if `out` cannot be written, and
/// [`AtifError::Changed`] if the stream has changed since it was checked. A part of the document may have been written.
pub fn write(
    stream: &Stream,
    index: &Index,
    about: &TrajectoryInfo,
    layout: Layout,
    out: &mut dyn Write,
) -> Result<DocumentSummary, AtifError> {
    let mut document = Document::open(stream, about, layout);
    let mut results = index.results.as_slice();
    let mut lines = stream.lines();
    let mut tape = Tape::default();
    let mut repaired = Vec::new();
    let mut number = 0;
    // Records that were added after the check are not included.
    while number < index.steps
        && let Some(line) = lines.next_line()?
    {
        let is_step = match kind_by_prefix(line.text.bytes()).filter(|_| index.are_prefixes_reliable) {
            Some(is_step) => is_step,
            None => Record::read(line.text, &mut tape).is_ok_and(|record| matches!(record.kind(), RecordKind::Step(_))),
        };
        if !is_step {
            continue;
        }
        let own = results.iter().take_while(|result| result.step == number).count();
        let (own, others) = results.split_at(own);
        results = others;
        document.step(number, replace_invalid_utf8(line.text.bytes().trim_ascii(), &mut repaired), own)?;
        number += 1;
        if document.writer.out.len() >= WRITE_SIZE {
            out.write_all(&document.writer.out).map_err(AtifError::Write)?;
            document.writer.out.clear();
            document.writer.out.shrink_to(8 * WRITE_SIZE);
        }
    }
    if number != index.steps {
        return Err(AtifError::Changed(stream.path(0).to_owned()));
    }
    document.close(number);
    out.write_all(&document.writer.out).map_err(AtifError::Write)?;
    let Index { warnings, omitted_warnings, .. } = index;
    Ok(DocumentSummary { steps: u64::from(number), warnings: warnings.clone(), omitted_warnings: *omitted_warnings })
}

/// Reads results, which are later in the stream than their step. Most follow soon, so a block is kept.
struct ResultReader<'s> {
    stream: &'s Stream,
    /// The position of the block.
    start: StreamPosition,
    block: Vec<u8>,
}

impl<'s> ResultReader<'s> {
    /// The minimum number of bytes that are read at a time.
    const BLOCK: usize = 256 << 10;

    fn new(stream: &'s Stream) -> Self {
        Self { stream, start: StreamPosition::START, block: Vec::new() }
    }

    /// Returns `length` bytes at `position`.
    fn bytes(&mut self, position: StreamPosition, length: usize) -> Result<&[u8], ReadError> {
        let start = position.offset.0.checked_sub(self.start.offset.0).and_then(|start| usize::try_from(start).ok());
        let is_in_block = |start: &usize| {
            position.segment == self.start.segment
                && start.checked_add(length).is_some_and(|end| end <= self.block.len())
        };
        let start = if let Some(start) = start.filter(is_in_block) {
            start
        } else {
            self.block.clear();
            self.block.shrink_to(4 * Self::BLOCK);
            self.stream.read_block(position, length, Self::BLOCK.max(length), &mut self.block)?;
            self.start = position;
            0
        };
        Ok(&self.block[start..start + length])
    }
}

/// The document that is being written.
struct Document<'s> {
    writer: JsonWriter,
    totals: Totals,
    result_reader: ResultReader<'s>,
    repaired: Vec<u8>,
}

impl<'s> Document<'s> {
    fn open(stream: &'s Stream, about: &TrajectoryInfo, layout: Layout) -> Self {
        let mut writer = JsonWriter::new(layout);
        writer.open(b'{');
        for (name, text) in [
            ("schema_version", SCHEMA_VERSION),
            ("session_id", &about.session_id),
            ("trajectory_id", &about.trajectory_id),
        ] {
            writer.key(name);
            writer.text(text);
        }
        writer.key("agent");
        writer.open(b'{');
        // mngr does not know the versions of agents' programs.
        for (name, text) in [("name", about.agent_name.as_str()), ("version", "unknown")] {
            writer.key(name);
            writer.text(text);
        }
        writer.close(b'}');
        writer.key("steps");
        writer.open(b'[');
        Self { writer, totals: Totals::default(), result_reader: ResultReader::new(stream), repaired: Vec::new() }
    }

    /// Returns the error for bytes that have changed since the check.
    fn changed(&self) -> AtifError {
        AtifError::Changed(self.result_reader.stream.path(self.result_reader.start.segment).to_owned())
    }

    fn step(&mut self, number: u32, object: &[u8], results: &[AttachedResult]) -> Result<(), AtifError> {
        let slots = members(object, STEP).map_err(|_| self.changed())?;
        self.writer.element();
        self.writer.open(b'{');
        self.writer.key("step_id");
        self.writer.raw(&(u64::from(number) + 1).to_string());
        for (position, field) in STEP[..step::EXTRA].iter().enumerate() {
            if position == step::OBSERVATION && !results.is_empty() {
                self.writer.key(field.name);
                self.results(results)?;
            } else if let Some(value) = slots[position] {
                self.writer.key(field.name);
                self.writer.shaped(value, &field.shape);
            }
        }
        if let Some(metrics) = slots[step::METRICS] {
            self.totals.add(metrics);
        }
        self.writer.key("extra");
        self.writer.open(b'{');
        copy_members(&mut self.writer, slots[step::EXTRA], &FRAMING.map(|(name, _)| name));
        for (name, position) in FRAMING {
            self.writer.key(name);
            self.writer.value(slots[position].ok_or_else(|| self.changed())?);
        }
        self.writer.close(b'}');
        self.writer.close(b'}');
        Ok(())
    }

    fn results(&mut self, results: &[AttachedResult]) -> Result<(), AtifError> {
        self.writer.open(b'{');
        self.writer.key("results");
        self.writer.open(b'[');
        for attached in results {
            let result = self.result_reader.bytes(attached.position(), attached.length as usize)?;
            let result = replace_invalid_utf8(result, &mut self.repaired);
            self.writer.element();
            if write_result(&mut self.writer, result, attached.is_unmatched).is_none() {
                return Err(self.changed());
            }
        }
        self.writer.close(b']');
        self.writer.close(b'}');
        Ok(())
    }

    fn close(&mut self, steps: u32) {
        let writer = &mut self.writer;
        writer.close(b']');
        writer.key("final_metrics");
        writer.open(b'{');
        for (name, total) in [
            ("total_prompt_tokens", self.totals.prompt),
            ("total_completion_tokens", self.totals.completion),
            ("total_cached_tokens", self.totals.cached),
        ] {
            if let Some(total) = total {
                writer.key(name);
                writer.raw(&total.to_string());
            }
        }
        if let Some(cost) = self.totals.cost.and_then(Cost::json) {
            writer.key("total_cost_usd");
            writer.raw(&cost);
        }
        writer.key("total_steps");
        writer.raw(&steps.to_string());
        writer.close(b'}');
        writer.close(b'}');
        writer.out.push(b'\n');
    }
}

/// Writes the members of an `extra` object, except the ones named in `except`, which the caller writes.
fn copy_members(writer: &mut JsonWriter, extra: Option<&[u8]>, except: &[&str]) {
    for (key, value) in extra.into_iter().flat_map(Members::of) {
        let name = text_of(key);
        if !except.iter().any(|other| other.as_bytes() == name) {
            writer.copied_key(key);
            writer.value(value);
        }
    }
}

/// Writes a result of the stream; returns `None` if it is not valid.
fn write_result(writer: &mut JsonWriter, result: &[u8], is_unmatched: bool) -> Option<()> {
    let slots = members(result, RESULT).ok()?;
    writer.open(b'{');
    for (position, field) in RESULT.iter().enumerate() {
        let is_written = !is_unmatched || (position != CALL_ID && position != RESULT_EXTRA);
        if let Some(value) = slots[position].filter(|_| is_written) {
            writer.key(field.name);
            writer.shaped(value, &field.shape);
        }
    }
    if is_unmatched {
        writer.key("extra");
        writer.open(b'{');
        copy_members(writer, slots[RESULT_EXTRA], &UNMATCHED);
        writer.key(UNMATCHED[0]);
        writer.raw("true");
        writer.key(UNMATCHED[1]);
        writer.value(slots[CALL_ID]?);
        writer.close(b'}');
    }
    writer.close(b'}');
    Some(())
}

/// The totals of the metrics of all steps.
#[derive(Default)]
struct Totals {
    prompt: Option<i128>,
    completion: Option<i128>,
    cached: Option<i128>,
    cost: Option<Cost>,
}

impl Totals {
    fn add(&mut self, metrics: &[u8]) {
        let Ok([prompt, completion, cached, cost, ..]) = members(metrics, METRICS) else { return };
        for (total, value) in
            [(&mut self.prompt, prompt), (&mut self.completion, completion), (&mut self.cached, cached)]
        {
            if let Some(value) = value.and_then(|value| std::str::from_utf8(value).ok()?.parse::<i128>().ok()) {
                *total = Some(total.unwrap_or(0).saturating_add(value));
            }
        }
        if let Some(value) = cost.and_then(|cost| std::str::from_utf8(cost).ok()?.parse::<f64>().ok()) {
            self.cost.get_or_insert_default().add(value);
        }
    }
}

/// A sum of floats as in Python 3.12, which adds the rounding errors at the end (Neumaier's algorithm).
#[derive(Clone, Copy, Default)]
struct Cost {
    sum: f64,
    error: f64,
}

impl Cost {
    fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.error += if self.sum.abs() >= value.abs() { (self.sum - sum) + value } else { (value - sum) + self.sum };
        self.sum = sum;
    }

    /// Returns the sum as JSON, or `None` if it overflowed, because JSON has no infinity.
    fn json(self) -> Option<String> {
        let sum = if self.error.is_finite() { self.sum + self.error } else { self.sum };
        sum.is_finite().then(|| python_float(sum))
    }
}
