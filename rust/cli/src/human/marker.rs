//! The state of an agent in human-readable form.

use std::fmt::Write;

use mngr_codex_core::{Report, Turn};

/// Formats a report.
pub(crate) fn marker(report: &Report) -> String {
    let mut text = format!("{}\n", report.state);
    let mut line = |content: String| text.extend([&content, "\n"]);
    match (report.is_marker_there, report.is_marker_expected) {
        (true, false) => line("  the file `active` exists; `mngr-codex marker recompute` removes it".to_owned()),
        (false, true) => line("  the file `active` is missing; `mngr-codex marker recompute` creates it".to_owned()),
        _ => {}
    }
    match report.waiting_reason {
        Some("PERMISSIONS") => line("  PERMISSIONS: Codex is waiting for an approval".to_owned()),
        Some("QUESTION") => line("  QUESTION: Codex is waiting for an answer".to_owned()),
        _ => {}
    }
    if let Some(session) = &report.session_id {
        line(format!("  session {session}"));
    }
    for turn in report.root.iter().chain(&report.subagents) {
        push_turn(turn, &mut text);
    }
    text
}

fn push_turn(turn: &Turn, text: &mut String) {
    let thread = turn.agent_id.as_ref().map_or_else(|| "root".to_owned(), |id| format!("subagent {id}"));
    let id = turn.turn_id.as_deref().unwrap_or("(no id)");
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  {thread}: turn {id} {}", turn.phase);
    if let (Some(since), Some(evidence)) = (&turn.since, &turn.evidence) {
        let _ = writeln!(text, "    since {since} ({evidence})");
    }
    if let Some(path) = &turn.transcript_path {
        let note = if turn.is_transcript_there { "" } else { " (missing: only hooks count)" };
        let _ = writeln!(text, "    rollout {path}{note}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(agent_id: Option<&str>) -> Turn {
        Turn {
            agent_id: agent_id.map(str::to_owned),
            turn_id: Some("t".to_owned()),
            phase: "open",
            since: Some("2026-11-22T07:12:50.678Z".to_owned()),
            evidence: Some("hook: prompt submitted".to_owned()),
            transcript_path: Some("/c/r.jsonl".to_owned()),
            is_transcript_there: true,
        }
    }

    #[test]
    fn a_report_lists_the_root_and_its_subagents() {
        let report = Report {
            state: "WAITING",
            waiting_reason: Some("PERMISSIONS"),
            is_marker_there: false,
            is_marker_expected: false,
            is_permission_awaited: true,
            session_id: Some("s".to_owned()),
            root: Some(turn(None)),
            subagents: vec![Turn { turn_id: None, since: None, is_transcript_there: false, ..turn(Some("a")) }],
        };
        let expected = "WAITING
  PERMISSIONS: Codex is waiting for an approval
  session s
  root: turn t open
    since 2026-11-22T07:12:50.678Z (hook: prompt submitted)
    rollout /c/r.jsonl
  subagent a: turn (no id) open
    rollout /c/r.jsonl (missing: only hooks count)
";
        assert_eq!(marker(&report), expected);
    }

    #[test]
    fn a_question_is_named_and_keeps_the_marker() {
        let report = Report {
            state: "WAITING",
            waiting_reason: Some("QUESTION"),
            is_marker_there: true,
            is_marker_expected: true,
            is_permission_awaited: false,
            session_id: None,
            root: None,
            subagents: Vec::new(),
        };
        assert_eq!(marker(&report), "WAITING\n  QUESTION: Codex is waiting for an answer\n");
    }

    #[test]
    fn a_marker_that_does_not_match_the_state_is_reported_with_a_fix() {
        let report = |state, is_marker_there| {
            let (root, subagents, session_id) = (None, Vec::new(), None);
            let (is_marker_expected, is_permission_awaited) = (state == "RUNNING", false);
            let waiting_reason = if is_marker_expected { None } else { Some("END_OF_TURN") };
            Report {
                state,
                waiting_reason,
                is_marker_there,
                is_marker_expected,
                is_permission_awaited,
                session_id,
                root,
                subagents,
            }
        };
        assert_eq!(marker(&report("WAITING", false)), "WAITING\n");
        let expected = "WAITING\n  the file `active` exists; `mngr-codex marker recompute` removes it\n";
        assert_eq!(marker(&report("WAITING", true)), expected);
        let expected = "RUNNING\n  the file `active` is missing; `mngr-codex marker recompute` creates it\n";
        assert_eq!(marker(&report("RUNNING", false)), expected);
    }
}
