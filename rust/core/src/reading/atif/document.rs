//! The second reading: the document, step by step.

use std::io::Write;

use super::index::{Attached, Index, each_record, in_utf8};
use super::pen::Pen;
use super::schema::{CALL_ID, METRICS, OBSERVATIONS, RESULT, RESULT_EXTRA, STEP, members, observations, step, text_of};
use super::{About, AtifError, Built, Form};
use crate::json::dump::Members;
use crate::reading::record::RecordKind;
use crate::reading::stream::Stream;

/// Bytes that are gathered before they are written.
const ENOUGH: usize = 128 << 10;

/// Members of a step that its extra gets in a document, as mngr has it.
const FRAMING: [&str; 2] = ["event_id", "emitter"];

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
    let mut document =
        Document { pen: Pen::new(form), totals: Totals::default(), line: Vec::new(), repaired: Vec::new() };
    document.open(about);
    let mut results = index.results.as_slice();
    let mut number = 0;
    each_record(stream, form, &mut |record| {
        // What was added meanwhile has not been checked.
        if !matches!(record.kind, RecordKind::Step(_)) || number == index.steps {
            return Ok(());
        }
        let own = results.iter().take_while(|result| result.step == number).count();
        let (now, later) = results.split_at(own);
        results = later;
        document.step(number, record.text.bytes().trim_ascii(), now, stream)?;
        number += 1;
        if document.pen.out.len() >= ENOUGH {
            out.write_all(&document.pen.out).map_err(AtifError::Write)?;
            document.pen.out.clear();
            document.pen.out.shrink_to(8 * ENOUGH);
        }
        Ok(())
    })?;
    if number != index.steps {
        return Err(AtifError::Changed(stream.path(0).to_owned()));
    }
    document.close(number);
    out.write_all(&document.pen.out).map_err(AtifError::Write)?;
    let mut warnings = index.warnings.clone();
    if index.untold_warnings > 0 {
        warnings.push(format!("{} more of such kinds", index.untold_warnings));
    }
    Ok(Built { steps: u64::from(number), warnings })
}

/// The document that is being written.
struct Document {
    pen: Pen,
    totals: Totals,
    line: Vec<u8>,
    repaired: Vec<u8>,
}

impl Document {
    fn open(&mut self, about: &About) {
        let pen = &mut self.pen;
        pen.open(b'{');
        for (name, text) in [
            ("schema_version", crate::transcript::record::SCHEMA_VERSION),
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
    }

    fn step(&mut self, number: u32, object: &[u8], results: &[Attached], stream: &Stream) -> Result<(), AtifError> {
        let changed = || AtifError::Changed(stream.path(0).to_owned());
        let slots = members(object, STEP).map_err(|_| changed())?;
        self.pen.element();
        self.pen.open(b'{');
        self.pen.key("step_id");
        self.pen.raw(&(u64::from(number) + 1).to_string());
        for (place, field) in STEP[..step::EXTRA].iter().enumerate() {
            if place == step::OBSERVATION && !results.is_empty() {
                self.pen.key(field.name);
                self.results(results, stream)?;
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
        self.copied_members(slots[step::EXTRA], &FRAMING);
        for (name, place) in [(FRAMING[0], step::EVENT_ID), (FRAMING[1], step::EMITTER)] {
            self.pen.key(name);
            self.pen.value(slots[place].unwrap_or(b"\"\""));
        }
        self.pen.close(b'}');
        self.pen.close(b'}');
        Ok(())
    }

    /// The members of an extra, but for those that are written over.
    fn copied_members(&mut self, extra: Option<&[u8]>, but: &[&str]) {
        for (key, value) in extra.into_iter().flat_map(Members::of) {
            let name = text_of(key);
            if !but.iter().any(|other| other.as_bytes() == name) {
                self.pen.copied_key(key);
                self.pen.value(value);
            }
        }
    }

    fn results(&mut self, results: &[Attached], stream: &Stream) -> Result<(), AtifError> {
        let changed = || AtifError::Changed(stream.path(0).to_owned());
        self.pen.open(b'{');
        self.pen.key("results");
        self.pen.open(b'[');
        let (mut line, mut repaired) = (std::mem::take(&mut self.line), std::mem::take(&mut self.repaired));
        for attached in results {
            let text = stream.reread(attached.place(), attached.length as usize, &mut line)?;
            let text = in_utf8(text, &mut repaired);
            let slots = members(text.bytes().trim_ascii(), OBSERVATIONS).map_err(|_| changed())?;
            let result = slots[observations::RESULTS]
                .and_then(|results| Members::of(results).nth(attached.number as usize))
                .ok_or_else(changed)?;
            self.result(result.1, attached.is_unmatched).ok_or_else(changed)?;
        }
        (self.line, self.repaired) = (line, repaired);
        if self.line.capacity() > 8 * ENOUGH {
            self.line = Vec::new();
        }
        self.pen.close(b']');
        self.pen.close(b'}');
        Ok(())
    }

    fn result(&mut self, result: &[u8], is_unmatched: bool) -> Option<()> {
        let slots = members(result, RESULT).ok()?;
        self.pen.element();
        self.pen.open(b'{');
        for (place, field) in RESULT.iter().enumerate() {
            let is_written = !is_unmatched || (place != CALL_ID && place != RESULT_EXTRA);
            if let Some(value) = slots[place].filter(|_| is_written) {
                self.pen.key(field.name);
                self.pen.shaped(value, &field.shape);
            }
        }
        if is_unmatched {
            self.pen.key("extra");
            self.pen.open(b'{');
            self.copied_members(slots[RESULT_EXTRA], &UNMATCHED);
            self.pen.key(UNMATCHED[0]);
            self.pen.raw("true");
            self.pen.key(UNMATCHED[1]);
            self.pen.value(slots[CALL_ID]?);
            self.pen.close(b'}');
        }
        self.pen.close(b'}');
        Some(())
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
        if let Some(cost) = self.totals.cost {
            pen.key("total_cost_usd");
            pen.raw(&cost.json());
        }
        pen.key("total_steps");
        pen.raw(&steps.to_string());
        pen.close(b'}');
        pen.close(b'}');
        pen.out.push(b'\n');
    }
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

    fn json(self) -> String {
        let sum = if self.lost.is_finite() { self.sum + self.lost } else { self.sum };
        crate::json::dump::python_float(sum)
    }
}
