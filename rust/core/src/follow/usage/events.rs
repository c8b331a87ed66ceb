//! mngr's usage events: one line for each change of a thread's tokens or limits. Their numbers are cumulative.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::checkpoint::{Checkpoint, MeasuredRollout, Reported};
use super::inherited::Inherited;
use super::login::{CostMode, home_of};
use super::threads::{ThreadSum, sum_of};
use crate::clock::rfc3339_millis;
use crate::files::file_error::FileError;
use crate::files::open;
use crate::files::positional::{PositionalReader, after_last_newline};
use crate::files::regular::open_regular;
use crate::json::string::escape;
use crate::meter::{RateLimits, Tokens};
use crate::rollout::ids::{Name, ThreadId};
use crate::rollout::lines::Lines;
use crate::rollout::session_meta::string;
use crate::state_dir::StateDir;

/// A usage event.
pub(super) struct Event {
    id: String,
    line: Vec<u8>,
    reported: Reported,
}

/// Returns the event for the present measures of a thread, if they differ from its latest event. There is none
/// while a rollout of the thread is not measured completely, because sums of parts are not the thread's.
pub(super) fn event_of(
    thread: &ThreadId,
    rollouts: &[MeasuredRollout],
    reported: &[Reported],
    inherited: &[Inherited],
) -> Option<Event> {
    let sum = sum_of(thread, rollouts);
    let (latest, file) = sum.latest.filter(|_| sum.is_complete)?;
    let inherited = inherited.iter().find(|inherited| inherited.thread == *thread);
    let inherited = inherited.cloned().unwrap_or_default();
    let before = reported.iter().find(|reported| reported.thread == *thread);
    let (tokens_before, limits_before, reported_at) = match before {
        Some(before) => (before.tokens, &before.limits, before.at),
        None => (Tokens::default(), &inherited.limits, 0),
    };
    let tokens = sum.tokens.minus(inherited.tokens).at_least(tokens_before);
    let limits = sum.limits.map(|(_, limits)| limits.clone()).unwrap_or_default();
    if tokens == tokens_before && limits == *limits_before {
        return None;
    }
    // Limits that were not read again would hide newer ones, which another agent may have reported in the meantime.
    let is_read_again = sum.limits.is_some_and(|(read, _)| read.at > reported_at) && limits != inherited.limits;
    let has_new_limits = limits != *limits_before || is_read_again;
    // Readers sort the events by their times, and the latest one counts.
    let at = latest.at.max(reported_at);
    let reported = Reported { thread: thread.clone(), tokens, limits, at };
    let id = id_of(&reported, file.as_encoded_bytes(), latest.end);
    let line = line_of(&reported, &sum, &id, has_new_limits);
    Some(Event { id, line, reported })
}

/// Returns an id that is the same for the same content, so that an event is recognized after the checkpoint was lost.
fn id_of(reported: &Reported, file: &[u8], end: u64) -> String {
    let Tokens { input, cached_input, output, reasoning_output } = reported.tokens;
    let hash = Sha256::new()
        .chain_update(reported.thread.0.as_bytes())
        .chain_update([b'\n'])
        .chain_update(file)
        .chain_update(format!("\n{end} {input} {cached_input} {output} {reasoning_output}"))
        .finalize();
    let digits = hash.iter().take(16).map(|byte| format!("{byte:02x}"));
    format!("evt-{}", digits.collect::<String>())
}

fn line_of(reported: &Reported, sum: &ThreadSum<'_>, id: &str, has_new_limits: bool) -> Vec<u8> {
    let Reported { thread, tokens, limits, at } = reported;
    let timestamp = rfc3339_millis(*at);
    let mut line = format!(
        "{{\"source\":\"codex/usage\",\"type\":\"cost_snapshot\",\"event_id\":\"{id}\",\"timestamp\":\"{timestamp}\",\
         \"session_id\":\""
    )
    .into_bytes();
    // A thread id has its escapes in their shortest form, but may contain invalid UTF-8.
    line.extend_from_slice(String::from_utf8_lossy(thread.0.as_bytes()).as_bytes());
    line.extend_from_slice(b"\",\"cost\":null,\"tokens\":");
    line.extend_from_slice(tokens_of(*tokens).as_bytes());
    line.extend_from_slice(b",\"model\":");
    match sum.model {
        Some(model) => {
            line.extend_from_slice(if model.contains('/') { b"\"" } else { b"\"openai/" });
            escape(model.as_bytes(), &mut line);
            line.push(b'"');
        }
        None => line.extend_from_slice(b"null"),
    }
    if let Some(mode) = CostMode::of(sum.provider, home_of(Path::new(sum.path)), !limits.is_empty()) {
        line.extend_from_slice(format!(",\"cost_mode\":\"{}\"", mode.name()).as_bytes());
    }
    if has_new_limits && !limits.is_empty() {
        line.extend_from_slice(limits_of(limits).as_bytes());
    }
    line.extend_from_slice(b"}\n");
    line
}

/// Returns tokens as mngr counts them: cached input is not part of the input. A thread without inferences has none.
fn tokens_of(tokens: Tokens) -> String {
    if tokens == Tokens::default() {
        return "null".to_owned();
    }
    let Tokens { input, cached_input, output, .. } = tokens;
    let uncached = input.saturating_sub(cached_input);
    format!("{{\"input\":{uncached},\"output\":{output},\"cache_read\":{cached_input},\"cache_creation\":null}}")
}

fn limits_of(limits: &RateLimits) -> String {
    let number = |number: Option<String>| number.unwrap_or_else(|| "null".to_owned());
    let windows = limits.windows.iter().map(|window| {
        let (key, label) = window.name();
        let used = number(window.used_percent.map(|used| used.to_string()));
        let resets_at = number(window.resets_at.map(|time| time.to_string()));
        let seconds = window.minutes.map(|minutes| format!("\"window_seconds\":{},", minutes.saturating_mul(60)));
        let seconds = seconds.unwrap_or_default();
        format!("\"{key}\":{{\"used_percentage\":{used},\"resets_at\":{resets_at},{seconds}\"label\":\"{label}\"}}")
    });
    format!(",\"rate_limits\":{{{}}}", windows.collect::<Vec<_>>().join(","))
}

/// Appends events to the agent's file with one write, and adds them to the checkpoint. The checkpoint must be written after
/// that: events that are in the file but not in the checkpoint are recognized by their ids.
///
/// # Errors
///
/// Returns a [`FileError`] if the file cannot be read or written.
pub(super) fn append(dir: &StateDir, checkpoint: &mut Checkpoint, events: Vec<Event>) -> Result<(), FileError> {
    if events.is_empty() {
        return Ok(());
    }
    let path = dir.usage_events();
    let mut options = open::options();
    let mut file = open::open_or_create(dir, &path, options.read(true).append(true).create(true))
        .map_err(FileError::on("open", &path))?;
    // If the checkpoint was lost, any event may already be in the file.
    let is_known = |event: &Event| checkpoint.reported.iter().any(|known| known.thread == event.reported.thread);
    let read = if events.iter().all(is_known) { checkpoint.events_length } else { 0 };
    let known = cut_and_read(&file, read).map_err(FileError::on("read", &path))?;
    let lines: Vec<u8> =
        events.iter().filter(|event| !known.contains(&event.id)).flat_map(|event| &event.line).copied().collect();
    file.write_all(&lines).map_err(FileError::on("write", &path))?;
    checkpoint.events_length = file.metadata().map_err(FileError::on("read", &path))?.len();
    for Event { reported, .. } in events {
        match checkpoint.reported.iter_mut().find(|known| known.thread == reported.thread) {
            Some(known) => *known = reported,
            None => checkpoint.reported.push(reported),
        }
    }
    Ok(())
}

/// Returns the threads that the agent's events name.
///
/// # Errors
///
/// Returns a [`FileError`] if the file exists and cannot be read.
pub(super) fn threads(dir: &StateDir) -> Result<HashSet<ThreadId>, FileError> {
    let path = dir.usage_events();
    let file = match open_regular(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
        opened => opened.map_err(FileError::on("open", &path))?,
    };
    let mut threads = HashSet::new();
    let mut lines = Lines::new(PositionalReader::new(&file, 0), usize::MAX);
    while let Some(line) = lines.next_line().map_err(|error| FileError::on("read", &path)(error.into()))? {
        let thread = string(line.text.bytes(), "session_id");
        threads.extend(thread.map(|thread| ThreadId(Name::new(thread.as_bytes(), false))));
    }
    Ok(threads)
}

/// Cuts a partial line from the end of the file, and returns the ids of the events after the first `length` bytes.
fn cut_and_read(file: &File, length: u64) -> io::Result<HashSet<String>> {
    let size = file.metadata()?.len();
    let whole = after_last_newline(file, 0..size)?.unwrap_or(0);
    if whole < size {
        file.set_len(whole)?;
    }
    let mut ids = HashSet::new();
    if whole == length {
        return Ok(ids);
    }
    // If the file is shorter, it was written by somebody else.
    let from = if length < whole { length } else { 0 };
    let mut lines = Lines::new(PositionalReader::within(file, from..whole), usize::MAX);
    while let Some(line) = lines.next_line()? {
        ids.extend(string(line.text.bytes(), "event_id"));
    }
    Ok(ids)
}

#[cfg(test)]
mod tests;
