use proptest::prelude::*;

use super::*;
use crate::json::scan;

/// A count line: its kind, and its usage, which is the total if `has_last` is false.
#[derive(Clone, Debug)]
struct Written {
    line: CountLine,
    id: u64,
    usage: u64,
    total: u64,
    has_last: bool,
}

impl Written {
    fn json(&self) -> String {
        let counts = |input: u64| format!(r#"{{"input_tokens":{input},"output_tokens":{}}}"#, 2 * input);
        let (usage, total, id) = (counts(self.usage), counts(self.total), self.id);
        match (self.line, self.has_last) {
            (CountLine::UsageRecord, _) => format!(r#"{{"response_id":"{id}","usage":{usage}}}"#),
            (_, true) => format!(r#"{{"total_token_usage":{total},"last_token_usage":{usage}}}"#),
            (_, false) => format!(r#"{{"total_token_usage":{total}}}"#),
        }
    }
}

/// Applies lines, and returns the input tokens of the metrics that each one gives.
fn apply(ledger: &mut Ledger, lines: &[Written]) -> Vec<Option<u64>> {
    let apply_one = |written: &Written| {
        let json = format!(r#"{{"payload":{{"info":{0},{1}"#, written.json(), &written.json()[1..]) + "}";
        let mut bytes = json.into_bytes();
        let (text, mut tape) = (Text::pad(&mut bytes), Tape::default());
        scan(text, &mut tape).expect("valid JSON");
        let payload = member(&tape, tape.root(), Key::Payload).expect("a payload");
        let cost = match written.line {
            CountLine::TokenCount => ledger.token_count(text, &tape, member(&tape, payload, Key::Info), false),
            CountLine::UsageRecord => ledger.usage_record(text, &tape, payload, false),
        }?;
        let mut metrics = Vec::new();
        push_metrics(text, &tape, cost, &mut metrics);
        let metrics: serde_json::Value = serde_json::from_slice(&[b"{", &metrics[1..], b"}"].concat()).expect("JSON");
        assert_eq!(
            metrics["metrics"]["completion_tokens"].as_u64(),
            metrics["metrics"]["prompt_tokens"].as_u64().map(|n| 2 * n)
        );
        metrics["metrics"]["prompt_tokens"].as_u64()
    };
    lines.iter().map(apply_one).collect()
}

/// How Codex reported an inference.
#[derive(Clone, Copy, Debug)]
enum Reported {
    ByRecordOnly,
    ByCountOnly,
    ByBoth,
    CountFirst,
}

fn reported() -> impl Strategy<Value = Reported> {
    use Reported::{ByBoth, ByCountOnly, ByRecordOnly, CountFirst};
    prop::sample::select(vec![ByRecordOnly, ByCountOnly, ByBoth, CountFirst])
}

/// Writes a session: each inference as it was reported, and each line up to three times.
fn session(inferences: &[(u64, Reported, usize, usize)]) -> Vec<Written> {
    let (mut lines, mut total) = (Vec::new(), 0);
    for (id, (usage, reported, records, counts)) in (0..).zip(inferences.iter().copied()) {
        total += usage;
        let written = |line, times| vec![Written { line, id, usage, total, has_last: true }; times];
        let (record, count) = (written(CountLine::UsageRecord, records), written(CountLine::TokenCount, counts));
        match reported {
            Reported::ByRecordOnly => lines.extend(record),
            Reported::ByCountOnly => lines.extend(count),
            Reported::ByBoth => lines.extend([record, count].concat()),
            Reported::CountFirst => lines.extend([count, record].concat()),
        }
    }
    lines
}

proptest! {
    /// Inferences differ here in their usage: two equal ones in a row, each reported by one line only, cannot be told
    /// from one that is reported by both.
    #[test]
    fn every_inference_is_counted_once(
        inferences in prop::collection::vec((1_u64..9, reported(), 1_usize..3, 1_usize..3), 0..12),
    ) {
        let distinct: Vec<_> =
            (0..).zip(inferences).map(|(number, (usage, reported, records, counts))| (100 * number + usage, reported, records, counts)).collect();
        let cost: u64 = apply(&mut Ledger::default(), &session(&distinct)).into_iter().flatten().sum();
        prop_assert_eq!(cost, distinct.iter().map(|(usage, ..)| usage).sum::<u64>());
    }

    #[test]
    fn equal_inferences_that_both_lines_report_are_counted_once_each(number in 0_usize..6, usage in 1_u64..9) {
        let lines = session(&vec![(usage, Reported::ByBoth, 1, 2); number]);
        let cost: u64 = apply(&mut Ledger::default(), &lines).into_iter().flatten().sum();
        prop_assert_eq!(cost, usage * number as u64);
    }

    /// Two readers of one object agree, and the one for Codex's form refuses every other form.
    #[test]
    fn both_readers_of_a_usage_object_agree(
        members in prop::collection::vec(
            (prop::sample::select(vec!["input_tokens", "cached_input_tokens", "total_tokens", "output_tokens", "other"]),
             prop::sample::select(vec!["0", "7", "1234567", "007", "-3", "1.5", "\"9\"", "9999999999999999999", "18446744073709551616"])),
            1..6,
        ),
        space in prop::sample::select(vec!["", " "]),
    ) {
        let object: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{space}{value}")).collect();
        let json = format!("{{\"usage\":{{{}}}}}", object.join(","));
        let compact = Usage::of_compact(&json.as_bytes()["{\"usage\":{".len()..]);
        let mut bytes = json.clone().into_bytes();
        let (text, mut tape) = (Text::pad(&mut bytes), Tape::default());
        if scan(text, &mut tape).is_err() {
            prop_assert!(compact.is_none(), "{json}");
            return Ok(());
        }
        let parsed = Usage::of(text, &tape, member(&tape, tape.root(), Key::Usage).expect("a member"));
        let distinct: std::collections::HashSet<_> = members.iter().map(|(name, _)| name).collect();
        if let Some((compact, rest)) = compact {
            prop_assert!(rest == b"}" && (compact == parsed || distinct.len() < members.len()), "{json}");
        }
    }

    #[test]
    fn counts_that_have_only_totals_give_their_differences(totals in prop::collection::vec(0_u64..50, 0..12)) {
        let lines: Vec<Written> = totals
            .iter()
            .map(|total| Written { line: CountLine::TokenCount, id: 0, usage: 0, total: *total, has_last: false })
            .collect();
        let cost: u64 = apply(&mut Ledger::default(), &lines).into_iter().flatten().sum();
        // A total that goes back takes nothing back, and is not counted twice.
        prop_assert_eq!(cost, totals.into_iter().max().unwrap_or_default());
    }
}

#[test]
fn a_record_measures_first_and_its_count_confirms() {
    let lines = session(&[(7, Reported::ByBoth, 1, 1), (8, Reported::ByRecordOnly, 1, 1), (9, Reported::ByBoth, 1, 1)]);
    assert_eq!(apply(&mut Ledger::default(), &lines), [Some(7), None, Some(8), Some(9), None]);
}

#[test]
fn the_lines_of_two_inferences_can_be_mixed() {
    let [lines, others] = [7, 8].map(|usage| session(&[(usage, Reported::ByBoth, 1, 1)]));
    let mixed = [lines[0].clone(), others[0].clone(), lines[1].clone(), others[1].clone()];
    assert_eq!(apply(&mut Ledger::default(), &mixed), [Some(7), Some(8), None, None]);
}

#[test]
fn another_session_begins_at_zero() {
    let mut ledger = Ledger::default();
    let lines = session(&[(7, Reported::ByCountOnly, 1, 1)]);
    assert_eq!(apply(&mut ledger, &lines), [Some(7)]);
    assert_eq!(apply(&mut ledger, &lines), [None]);
    ledger.begin_session();
    assert_eq!(apply(&mut ledger, &lines), [Some(7)]);
}

#[test]
fn a_record_that_is_repeated_in_another_form_counts_once() {
    let mut ledger = Ledger::default();
    let mut is_counted = |payload: &str| {
        let mut bytes = format!(r#"{{"payload":{payload}}}"#).into_bytes();
        let (text, mut tape) = (Text::pad(&mut bytes), Tape::default());
        scan(text, &mut tape).expect("valid JSON");
        let payload = member(&tape, tape.root(), Key::Payload).expect("a payload");
        ledger.usage_record(text, &tape, payload, false).is_some()
    };
    assert!(is_counted(r#"{"response_id":"r","usage":{"input_tokens":1},"turn_token_usage":{"input_tokens":1}}"#));
    assert!(!is_counted(
        r#"{"turn_token_usage": {"input_tokens": 1}, "usage": {"input_tokens": 1}, "response_id": "r"}"#
    ));
    assert!(is_counted(r#"{"response_id":"s","usage":{"input_tokens":1},"turn_token_usage":{"input_tokens":1}}"#));
}
