//! The second reading: the document, step by step.

use std::io::Write;

use super::index::{Attached, Index, looks_like};
use super::json_writer::JsonWriter;
use super::schema::{CALL_ID, METRICS, RESULT, RESULT_EXTRA, STEP, members, step, text_of};
use super::{About, AtifError, Built, Form};
use crate::convert::record::SCHEMA_VERSION;
use crate::json::Tape;
use crate::json::dump::{Members, python_float};
use crate::json::string::replace_invalid_utf8;
use crate::transcript::record::{Record, RecordKind};
use crate::transcript::stream::{Place, ReadError, Stream};

/// Bytes that are gathered before they are written.
const ENOUGH: usize = 128 << 10;

/// Members that the extra of each step gets: what ATIF has no place for.
const FRAMING: [(&str, usize); 2] = [("event_id", step::EVENT_ID), ("emitter", step::EMITTER)];

/// Members that the extra of a result gets that is of no known call.
const UNMATCHED: [&str; 2] = ["unmatched", "source_call_id"];

/// Writes the document of a stream that [`check`](super::check) has indexed in the same form.
///
/// # Errors
///
/// [`AtifError`]; what was written until then stays written.
pub fn write(
    stream: &Stream,
    index: &Index,
    about: &About,
    form: Form,
    out: &mut dyn Write,
) -> Result<Built, AtifError> {
    let mut document = Document::open(stream, about, form);
    let mut results = index.results.as_slice();
    let mut lines = stream.lines();
    let mut tape = Tape::default();
    let mut repaired = Vec::new();
    let mut number = 0;
    // What was added meanwhile has not been checked.
    while number < index.steps
        && let Some(line) = lines.next_line()?
    {
        let is_step = match looks_like(line.text.bytes()).filter(|_| index.are_looks_right) {
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
        if document.pen.out.len() >= ENOUGH {
            out.write_all(&document.pen.out).map_err(AtifError::Write)?;
            document.pen.out.clear();
            document.pen.out.shrink_to(8 * ENOUGH);
        }
    }
    if number != index.steps {
        return Err(AtifError::Changed(stream.path(0).to_owned()));
    }
    document.close(number);
    out.write_all(&document.pen.out).map_err(AtifError::Write)?;
    let Index { warnings, untold_warnings, .. } = index;
    Ok(Built { steps: u64::from(number), warnings: warnings.clone(), untold_warnings: *untold_warnings })
}

/// What stands later in the stream than the step that is written: most often not far behind it.
struct Later<'s> {
    stream: &'s Stream,
    /// Where the bytes stand that are held.
    from: Place,
    held: Vec<u8>,
}

impl<'s> Later<'s> {
    /// Bytes that are read at a time, at the least.
    const BLOCK: usize = 256 << 10;

    fn of(stream: &'s Stream) -> Self {
        Self { stream, from: Place::START, held: Vec::new() }
    }

    /// So many bytes from a place on.
    fn bytes(&mut self, place: Place, length: usize) -> Result<&[u8], ReadError> {
        let start = place.offset.0.checked_sub(self.from.offset.0).and_then(|start| usize::try_from(start).ok());
        let is_held = |start: &usize| {
            place.segment == self.from.segment && start.checked_add(length).is_some_and(|end| end <= self.held.len())
        };
        let start = if let Some(start) = start.filter(is_held) {
            start
        } else {
            self.held.clear();
            self.held.shrink_to(4 * Self::BLOCK);
            self.stream.read_block(place, length, Self::BLOCK.max(length), &mut self.held)?;
            self.from = place;
            0
        };
        Ok(&self.held[start..start + length])
    }
}

/// The document that is being written.
struct Document<'s> {
    pen: JsonWriter,
    totals: Totals,
    later: Later<'s>,
    repaired: Vec<u8>,
}

impl<'s> Document<'s> {
    fn open(stream: &'s Stream, about: &About, form: Form) -> Self {
        let mut pen = JsonWriter::new(form);
        pen.open(b'{');
        for (name, text) in [
            ("schema_version", SCHEMA_VERSION),
            ("session_id", &about.session_id),
            ("trajectory_id", &about.trajectory_id),
        ] {
            pen.key(name);
            pen.text(text);
        }
        pen.key("agent");
        pen.open(b'{');
        // mngr knows no version of any agent's program.
        for (name, text) in [("name", about.agent_name.as_str()), ("version", "unknown")] {
            pen.key(name);
            pen.text(text);
        }
        pen.close(b'}');
        pen.key("steps");
        pen.open(b'[');
        Self { pen, totals: Totals::default(), later: Later::of(stream), repaired: Vec::new() }
    }

    /// What is read is not what was checked.
    fn changed(&self) -> AtifError {
        AtifError::Changed(self.later.stream.path(self.later.from.segment).to_owned())
    }

    fn step(&mut self, number: u32, object: &[u8], results: &[Attached]) -> Result<(), AtifError> {
        let slots = members(object, STEP).map_err(|_| self.changed())?;
        self.pen.element();
        self.pen.open(b'{');
        self.pen.key("step_id");
        self.pen.raw(&(u64::from(number) + 1).to_string());
        for (place, field) in STEP[..step::EXTRA].iter().enumerate() {
            if place == step::OBSERVATION && !results.is_empty() {
                self.pen.key(field.name);
                self.results(results)?;
            } else if let Some(value) = slots[place] {
                self.pen.key(field.name);
                self.pen.shaped(value, &field.shape);
            }
        }
        if let Some(metrics) = slots[step::METRICS] {
            self.totals.add(metrics);
        }
        self.pen.key("extra");
        self.pen.open(b'{');
        copy_members(&mut self.pen, slots[step::EXTRA], &FRAMING.map(|(name, _)| name));
        for (name, place) in FRAMING {
            self.pen.key(name);
            self.pen.value(slots[place].ok_or_else(|| self.changed())?);
        }
        self.pen.close(b'}');
        self.pen.close(b'}');
        Ok(())
    }

    fn results(&mut self, results: &[Attached]) -> Result<(), AtifError> {
        self.pen.open(b'{');
        self.pen.key("results");
        self.pen.open(b'[');
        for attached in results {
            let result = self.later.bytes(attached.place(), attached.length as usize)?;
            let result = replace_invalid_utf8(result, &mut self.repaired);
            self.pen.element();
            if write_result(&mut self.pen, result, attached.is_unmatched).is_none() {
                return Err(self.changed());
            }
        }
        self.pen.close(b']');
        self.pen.close(b'}');
        Ok(())
    }

    fn close(&mut self, steps: u32) {
        let pen = &mut self.pen;
        pen.close(b']');
        pen.key("final_metrics");
        pen.open(b'{');
        for (name, total) in [
            ("total_prompt_tokens", self.totals.prompt),
            ("total_completion_tokens", self.totals.completion),
            ("total_cached_tokens", self.totals.cached),
        ] {
            if let Some(total) = total {
                pen.key(name);
                pen.raw(&total.to_string());
            }
        }
        if let Some(cost) = self.totals.cost.and_then(Cost::json) {
            pen.key("total_cost_usd");
            pen.raw(&cost);
        }
        pen.key("total_steps");
        pen.raw(&steps.to_string());
        pen.close(b'}');
        pen.close(b'}');
        pen.out.push(b'\n');
    }
}

/// Writes the members of an extra, but for those that are written over.
fn copy_members(pen: &mut JsonWriter, extra: Option<&[u8]>, but: &[&str]) {
    for (key, value) in extra.into_iter().flat_map(Members::of) {
        let name = text_of(key);
        if !but.iter().any(|other| other.as_bytes() == name) {
            pen.copied_key(key);
            pen.value(value);
        }
    }
}

/// Writes a result of the stream; `None` where it is none.
fn write_result(pen: &mut JsonWriter, result: &[u8], is_unmatched: bool) -> Option<()> {
    let slots = members(result, RESULT).ok()?;
    pen.open(b'{');
    for (place, field) in RESULT.iter().enumerate() {
        let is_written = !is_unmatched || (place != CALL_ID && place != RESULT_EXTRA);
        if let Some(value) = slots[place].filter(|_| is_written) {
            pen.key(field.name);
            pen.shaped(value, &field.shape);
        }
    }
    if is_unmatched {
        pen.key("extra");
        pen.open(b'{');
        copy_members(pen, slots[RESULT_EXTRA], &UNMATCHED);
        pen.key(UNMATCHED[0]);
        pen.raw("true");
        pen.key(UNMATCHED[1]);
        pen.value(slots[CALL_ID]?);
        pen.close(b'}');
    }
    pen.close(b'}');
    Some(())
}

/// The sums of what steps have.
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

/// A sum of floats as Python 3.12 makes it, with what each addition has lost added at the end (Neumaier's algorithm).
#[derive(Clone, Copy, Default)]
struct Cost {
    sum: f64,
    lost: f64,
}

impl Cost {
    fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.lost += if self.sum.abs() >= value.abs() { (self.sum - sum) + value } else { (value - sum) + self.sum };
        self.sum = sum;
    }

    /// The sum; none where it is beyond what a double holds, for which JSON has no word.
    fn json(self) -> Option<String> {
        let sum = if self.lost.is_finite() { self.sum + self.lost } else { self.sum };
        sum.is_finite().then(|| python_float(sum))
    }
}
