//! The properties of a session and its cost, each on one line.

use std::fmt::Write;
use std::path::Path;

use mngr_codex_core::{SessionHead, escaped_path, parse_timestamp};

use super::json_object::Object;
use super::units::{elapsed, grouped, seconds};

/// Returns a line about a session, in two parts: what is known about it, and its title. Returns `None` if nothing is known.
///
/// `session ID in FOLDER (BRANCH), Codex 0.171.0, MODEL: TITLE`
pub(super) fn first_line(head: &SessionHead) -> Option<(String, String)> {
    let mut facts = if head.meta.is_subagent { "subagent".to_owned() } else { "session".to_owned() };
    let start = facts.len();
    // Writing to a string cannot fail.
    if let Some(id) = &head.meta.id {
        let _ = write!(facts, " {id}");
    }
    if let Some(cwd) = &head.meta.cwd {
        let _ = write!(facts, " in {}", short(cwd));
        if let Some(branch) = &head.meta.branch {
            let _ = write!(facts, " ({branch})");
        }
    }
    if let Some(version) = &head.meta.cli_version {
        let _ = write!(facts, ", Codex {version}");
    }
    if let Some(model) = &head.model {
        let _ = write!(facts, ", {model}");
    }
    if facts.len() == start {
        return None;
    }
    let title = head.title.clone().unwrap_or_default();
    if !title.is_empty() {
        facts.push_str(": ");
    }
    Some((facts, title))
}

/// Returns a path with `~` for the user's home.
fn short(path: &Path) -> String {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let in_home = home.as_ref().and_then(|home| path.strip_prefix(home).ok());
    match in_home {
        Some(rest) if rest.as_os_str().is_empty() => "~".to_owned(),
        Some(rest) => format!("~/{}", escaped_path(rest)),
        None => escaped_path(path),
    }
}

/// What the records of a session add up to. Records that were copied from another session do not count.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    tokens: Tokens,
    model_calls: u64,
    turns: u64,
    /// The timestamps of the first and the last record.
    period: Option<(Vec<u8>, Vec<u8>)>,
}

impl Totals {
    /// Adds the time of a record.
    pub(super) fn add_time(&mut self, timestamp: &[u8]) {
        /// The length of the longest timestamp, with nanoseconds and an offset.
        const MAX: usize = 35;
        if timestamp.is_empty() || timestamp.len() > MAX {
            return;
        }
        match &mut self.period {
            None => self.period = Some((timestamp.to_vec(), timestamp.to_vec())),
            // A command can have ended before the output of its call. Codex writes all timestamps in the same form.
            Some((_, last)) if last.as_slice() < timestamp => timestamp.clone_into(last),
            Some(_) => {}
        }
    }

    /// Adds the token counts of a step, which may have none.
    pub(super) fn add_metrics(&mut self, step: &Object<'_>, tokens: &Tokens) {
        self.tokens.add(tokens);
        self.model_calls += step.integer("llm_call_count").and_then(|count| u64::try_from(count).ok()).unwrap_or(1);
    }

    /// Adds a turn.
    pub(super) fn add_turn(&mut self) {
        self.turns += 1;
    }

    /// Returns the totals on one line: `total: 2 turns, 3 model calls, 4.5 s, 2,200 tokens in, 30 out`.
    pub(super) fn line(&self) -> Option<String> {
        const MINUTE: i64 = 60_000;
        let (first, last) = self.period.as_ref()?;
        let (first, last) = (parse_timestamp(first)?, parse_timestamp(last)?);
        let counted = |count: u64, what: &str| {
            let plural = if count == 1 { "" } else { "s" };
            (count > 0).then(|| format!("{} {what}{plural}", grouped(count)))
        };
        let milliseconds = i64::try_from((last - first).max(0) / 1_000_000).unwrap_or(i64::MAX);
        let duration = if milliseconds < MINUTE { seconds(milliseconds) } else { elapsed(milliseconds.unsigned_abs()) };
        let pieces =
            [counted(self.turns, "turn"), counted(self.model_calls, "model call"), Some(duration), self.tokens.line()];
        Some(format!("total: {}", pieces.into_iter().flatten().collect::<Vec<_>>().join(", ")))
    }
}

/// Token counts. Those that are not known are `None`.
#[derive(Clone, Debug, Default)]
pub(super) struct Tokens {
    prompt: Option<u64>,
    cached: Option<u64>,
    completion: Option<u64>,
    reasoning: Option<u64>,
}

impl Tokens {
    /// Returns the counts in the metrics of a step.
    pub(super) fn of(metrics: &Object<'_>) -> Self {
        let count = |of: &Object<'_>, name| of.integer(name).and_then(|count| u64::try_from(count).ok());
        Self {
            prompt: count(metrics, "prompt_tokens"),
            cached: count(metrics, "cached_tokens"),
            completion: count(metrics, "completion_tokens"),
            reasoning: count(&metrics.object("extra"), "reasoning_output_tokens"),
        }
    }

    fn add(&mut self, other: &Self) {
        let add = |sum: &mut Option<u64>, count: Option<u64>| {
            *sum = count.map_or(*sum, |count| Some(sum.unwrap_or(0).saturating_add(count)));
        };
        add(&mut self.prompt, other.prompt);
        add(&mut self.cached, other.cached);
        add(&mut self.completion, other.completion);
        add(&mut self.reasoning, other.reasoning);
    }

    /// Returns the counts on one line: `1,200 tokens in (800 cached), 20 out (5 reasoning)`.
    pub(super) fn line(&self) -> Option<String> {
        let part = |count: Option<u64>, what| {
            let count = count.filter(|count| *count > 0);
            count.map(|count| format!(" ({} {what})", grouped(count))).unwrap_or_default()
        };
        let prompt = self.prompt.map(|count| format!("{} tokens in{}", grouped(count), part(self.cached, "cached")));
        let completion =
            self.completion.map(|count| format!("{} out{}", grouped(count), part(self.reasoning, "reasoning")));
        let pieces: Vec<String> = [prompt, completion].into_iter().flatten().collect();
        (!pieces.is_empty()).then(|| pieces.join(", "))
    }
}
