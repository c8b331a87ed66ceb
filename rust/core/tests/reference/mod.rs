//! A second, slow and simple reading of a rollout: which records are whole in it, which messages they hold, and what the
//! session cost. It shares no code with the converter.

use std::collections::HashMap;

use serde_json::{Deserializer, Value};

/// A record in a rollout.
pub(crate) struct Record {
    pub(crate) value: Value,
    /// Whether the record must be read. Otherwise it depends on the reader: it is in an unterminated line that is not
    /// one object, or it follows damage and does not begin as Codex's records do.
    is_certain: bool,
}

impl Record {
    /// Returns whether the record must be read as one of a rollout.
    pub(crate) fn is_rollout_line(&self) -> bool {
        self.is_certain && self.value["type"].is_string() && self.value["payload"].is_object()
    }
}

const BEGINNING: &str = "{\"timestamp\"";

/// Returns the records that are whole, and those that could be read as such.
pub(crate) fn records(rollout: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    for line in rollout.split_inclusive(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        let blank = |letter: char| letter.is_ascii_whitespace() || letter == '\0' || letter == '\u{feff}';
        let text = text.trim_start_matches(blank);
        let is_terminated = line.ends_with(b"\n");
        let mut at = 0;
        while let Some(next) = text[at..].find('{') {
            at += next;
            let mut values = Deserializer::from_str(&text[at..]).into_iter::<Value>();
            let is_beginning = at == 0 || text[at..].starts_with(BEGINNING);
            if !is_beginning && !text[at..].starts_with("{\"") {
                at += 1;
            } else if let Some(Ok(value)) = values.next() {
                let end = at + values.byte_offset();
                let is_line = at == 0 && text[end..].trim_ascii().is_empty();
                records.push(Record { value, is_certain: is_beginning && (is_terminated || is_line) });
                at = end;
            } else {
                at += 1;
            }
        }
    }
    records
}

/// What must be in the transcript.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    /// A message of a user or an agent that has one part, by its text.
    Message(String),
    /// A call, by its id.
    Call(String),
    /// The output of a call, by the call's id.
    Output(String),
}

/// How often something occurs: in records that must be read, and in those that could be read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) least: usize,
    pub(crate) most: usize,
}

/// Returns the content of records that must be in the transcript.
pub(crate) fn contents(records: &[Record]) -> HashMap<Content, Count> {
    let mut contents: HashMap<Content, Count> = HashMap::new();
    for Record { value, is_certain } in records.iter().filter(|record| record.value["type"] == "response_item") {
        let payload = &value["payload"];
        let call = || payload["call_id"].as_str().filter(|call| !call.is_empty()).map(str::to_owned);
        let is_usual = message(payload).is_none_or(|(_, is_usual)| is_usual);
        let content = match payload["type"].as_str().unwrap_or_default() {
            "message" => message(payload).map(|(text, _)| Content::Message(text)),
            "function_call" | "custom_tool_call" => call().map(Content::Call),
            "function_call_output" | "custom_tool_call_output" => call().map(Content::Output),
            _ => None,
        };
        if let Some(content) = content {
            let count = contents.entry(content).or_default();
            count.least += usize::from(*is_certain && is_usual);
            count.most += 1;
        }
    }
    contents
}

/// Returns the text of a message of one part, and whether the part has the type that Codex gives it. A reader may show the
/// text of another type.
fn message(payload: &Value) -> Option<(String, bool)> {
    let part_type = match payload["role"].as_str()? {
        "user" => "input_text",
        "assistant" => "output_text",
        _ => return None,
    };
    let [part] = payload["content"].as_array()?.as_slice() else { return None };
    // Messages between agents are JSON (seen on 0.138), and only their content is shown.
    let is_shown = |text: &&str| !text.is_empty() && !text.starts_with('{');
    part["text"].as_str().filter(is_shown).map(|text| (text.to_owned(), part["type"] == part_type))
}

/// Numbers of tokens: input, output, and cached input.
pub(crate) type Tokens = [i64; 3];

fn tokens(usage: &Value) -> Tokens {
    ["input_tokens", "output_tokens", "cached_input_tokens"].map(|name| usage[name].as_i64().unwrap_or(0))
}

fn combine(a: Tokens, b: Tokens, operation: fn(i64, i64) -> i64) -> Tokens {
    std::array::from_fn(|index| operation(a[index], b[index]))
}

/// What a session cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// The cost of all inferences in the file.
    pub(crate) all: Tokens,
    /// The cost without the inferences in history that was copied from another session.
    pub(crate) own: Tokens,
    /// Whether a report of another inference is between the two of an inference. It may be counted twice then.
    pub(crate) is_mixed: bool,
}

/// Adds up the inferences. Each is reported by a `token_count` whose total has changed, from Codex 0.154 on also by a
/// `token_usage_record`, usually before it; some have only that record.
pub(crate) fn cost(records: &[Record]) -> Cost {
    let mut cost = Cost::default();
    let (mut responses, mut unconfirmed, mut unrecorded) = (Vec::new(), Vec::new(), Vec::new());
    let (mut previous, mut latest) = ((Value::Null, Tokens::default()), None);
    let own = own_history(records);
    for (index, Record { value, .. }) in records.iter().enumerate().filter(|(_, record)| record.is_certain) {
        let payload = &value["payload"];
        let (usage, waiting, others) = if value["type"] == "token_usage_record" && payload["usage"].is_object() {
            if responses.contains(&payload) {
                continue;
            }
            responses.push(payload);
            (tokens(&payload["usage"]), &mut unrecorded, &mut unconfirmed)
        } else if value["type"] == "event_msg" && payload["type"] == "token_count" {
            let info = &payload["info"];
            let total = &info["total_token_usage"];
            if !info.is_object() || *total == previous.0 {
                continue;
            }
            let difference = combine(tokens(total), previous.1, |now, before| (now - before).max(0));
            let last = &info["last_token_usage"];
            previous = (total.clone(), tokens(total));
            (if last.is_object() { tokens(last) } else { difference }, &mut unconfirmed, &mut unrecorded)
        } else {
            continue;
        };
        // The other report of the same inference is not counted.
        if let Some(same) = waiting.iter().position(|other| *other == usage) {
            waiting.remove(same);
            cost.is_mixed |= latest != Some(usage);
            latest = None;
            continue;
        }
        latest = Some(usage);
        others.push(usage);
        cost.all = combine(cost.all, usage, |sum, more| sum + more);
        if index >= own {
            cost.own = combine(cost.own, usage, |sum, more| sum + more);
        }
    }
    cost
}

/// Returns the index of the first record that is not copied from another session.
fn own_history(records: &[Record]) -> usize {
    let meta = &records.first().map_or(&Value::Null, |record| &record.value)["payload"];
    if let Some(first) = meta["subagent_history_start_ordinal"].as_u64() {
        return records.iter().position(|record| record.value["ordinal"].as_u64() >= Some(first)).unwrap_or(0);
    }
    if !meta["forked_from_id"].is_string() {
        return 0;
    }
    // Ids of threads and turns begin with the time.
    let thread = meta["id"].as_str().unwrap_or_default();
    let begins_own = |record: &Record| record.value["payload"]["turn_id"].as_str() > Some(thread);
    // Before Codex 0.104, turns have no ids. A copy is written without a pause.
    let is_pause = |pair: &[Record]| seconds(&pair[1]) > seconds(&pair[0]) + 0.5;
    let after_pause = || records.windows(2).position(is_pause).map(|before| before + 1);
    records.iter().position(begins_own).or_else(after_pause).unwrap_or(0)
}

/// Returns the time of day of a record, in seconds.
fn seconds(record: &Record) -> f64 {
    let time = record.value["timestamp"].as_str().and_then(|timestamp| timestamp.get(11..23)).unwrap_or_default();
    time.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse().unwrap_or(0.0))
}
