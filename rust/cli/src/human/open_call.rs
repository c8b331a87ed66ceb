//! Calls that have no output yet, each on one line.

use mngr_codex_core::{Activity, parse_timestamp};

use super::command::{CallText, one_line};
use super::json_object::{Object, any_text};
use super::style::{Sgr, Style};
use super::terminal::push_safe;
use super::transcript::Human;
use super::units::elapsed;

/// A call that has no output yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenCall {
    /// The call's id.
    pub(crate) id: Vec<u8>,
    /// The time of its step.
    timestamp: Vec<u8>,
    /// The command or the arguments.
    summary: Vec<u8>,
}

impl OpenCall {
    /// Returns the call with this id if `record` is its step.
    pub(crate) fn find(record: &[u8], id: &[u8], style: Style) -> Option<Self> {
        let record = Object::of(record);
        let is_it = |call: &Object<'_>| call.get("tool_call_id").map(any_text).as_deref() == Some(id);
        let call = record.elements("tool_calls").map(Object::of).find(is_it)?;
        let CallText { mark, text, patch, .. } = CallText::of(&call);
        // The sign of a command is known from the words before it. A patch has the list of its files before it.
        let text = if mark == CallText::COMMAND { text } else { [mark, &text[..text.len() - patch.len()]].concat() };
        let timestamp = record.get("timestamp").map(any_text).unwrap_or_default();
        Some(Self { id: id.to_vec(), timestamp, summary: one_line(&text, style.full) })
    }

    /// Returns the time since the call began in milliseconds, or `None` if it is unknown or the clock was set back.
    pub(crate) fn age(&self, now: u64) -> Option<u64> {
        let began = u64::try_from(parse_timestamp(&self.timestamp)? / 1_000_000).ok()?;
        now.checked_sub(began)
    }
}

impl Human {
    /// Appends a line for a call without an output. `now` is in milliseconds since the epoch; without it, the line does
    /// not say how much time has passed.
    pub(crate) fn open_call(&mut self, call: &OpenCall, activity: Activity, now: Option<u64>, out: &mut Vec<u8>) {
        const DAY: u64 = 24 * 60 * 60 * 1000;
        let mut line = b"  ".to_vec();
        let doing = match activity {
            Activity::Running => "running",
            Activity::AwaitingApproval => "waiting for an approval",
            Activity::Ended => {
                self.paint(Sgr::DIM, "○ ".as_bytes(), &mut line);
                self.paint(Sgr::BOLD, &call.summary, &mut line);
                self.paint(Sgr::DIM, b" (no output: the session ended)", &mut line);
                line.push(b'\n');
                return out.extend_from_slice(&line);
            }
        };
        let age = now.and_then(|now| call.age(now));
        let local = self.local_time(&call.timestamp);
        let mut since = Vec::new();
        if age.is_some_and(|age| age >= DAY) && !local.day.is_empty() {
            push_safe(&[local.day.as_slice(), b" "].concat(), &mut since);
        }
        push_safe(&local.time, &mut since);
        let age = age.map(|age| format!(" ({})", elapsed(age))).unwrap_or_default();
        self.paint(Sgr::TOOL, format!("● {doing}").as_bytes(), &mut line);
        self.paint(Sgr::DIM, &[b" since ", since.as_slice(), age.as_bytes(), b": "].concat(), &mut line);
        self.paint(Sgr::BOLD, &call.summary, &mut line);
        line.push(b'\n');
        out.extend_from_slice(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::human::Zone;

    const PLAIN: Style = Style { color: false, full: false };

    fn call(function: &str, arguments: &str) -> OpenCall {
        let record = format!(
            r#"{{"type":"step","timestamp":"2026-01-31T10:00:01.500Z","tool_calls":[{{"tool_call_id":"a"}},{{"tool_call_id":"b","function_name":"{function}","arguments":{arguments}}}]}}"#
        );
        assert_eq!(OpenCall::find(record.as_bytes(), b"c", PLAIN), None);
        OpenCall::find(record.as_bytes(), b"b", PLAIN).expect("is there")
    }

    fn line(call: &OpenCall, activity: Activity, age: Option<u64>) -> String {
        let began = parse_timestamp(b"2026-01-31T10:00:01.500Z").expect("is valid") / 1_000_000;
        let now = age.map(|age| u64::try_from(began).expect("is positive") + age);
        let mut out = Vec::new();
        Human::new(PLAIN, Zone::UTC).open_call(call, activity, now, &mut out);
        String::from_utf8(out).expect("is UTF-8")
    }

    #[test]
    fn a_line_names_the_command_and_its_age() {
        let shell = call("shell", r#"{"command":["bash","-lc","make \u001b[2J\nmake test"]}"#);
        let running = |age| line(&shell, Activity::Running, age);
        assert_eq!(running(None), "  ● running since 10:00:01: make ^[[2J …\n");
        assert_eq!(running(Some(12_999)), "  ● running since 10:00:01 (12 s): make ^[[2J …\n");
        assert_eq!(running(Some(185_000)), "  ● running since 10:00:01 (3 min 5 s): make ^[[2J …\n");
        assert_eq!(running(Some(7_500_000)), "  ● running since 10:00:01 (2 h 5 min): make ^[[2J …\n");
        assert_eq!(running(Some(259_200_000)), "  ● running since 2026-01-31 10:00:01 (3 days): make ^[[2J …\n");
        let ended = line(&shell, Activity::Ended, Some(1));
        assert_eq!(ended, "  ○ make ^[[2J … (no output: the session ended)\n");
    }

    #[test]
    fn other_calls_are_named_by_tool_and_arguments() {
        let lookup = call("lookup", r#"{"n":1}"#);
        let awaited = line(&lookup, Activity::AwaitingApproval, Some(0));
        assert_eq!(awaited, "  ● waiting for an approval since 10:00:01 (0 s): → lookup {\"n\":1}\n");
    }
}
