//! `mngr-codex send`: types a message into Codex's terminal, exactly once.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mngr_codex_core::{
    SendOutcome, SendOutcomeKind, SendRequest, SendToken, StateDir, escaped_path, is_slash_command, send,
};
use serde::Serialize;
use signal_hook::consts::SIGHUP;

use crate::agent_terminal::AgentTerminal;
use crate::human::safe_line;
use crate::signals;
use crate::state_dir;
use crate::streams::{StandardInput, StandardOutput, complain, explain};

/// The longest message in bytes. Codex and tmux hold a message in memory several times.
const MAX_LENGTH: u64 = 64 << 20;

/// Send a message to a running Codex, exactly once
///
/// Reads the message from standard input, types it into the empty composer of Codex's TUI in tmux, presses Enter, and
/// waits until Codex has recorded it.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    terminal: AgentTerminal,

    /// The name of this message: a second run with it types nothing twice and returns the same outcome (default: random)
    #[arg(long, value_name = "TOKEN")]
    token: Option<SendToken>,

    /// The length of the message; do nothing if standard input ends before
    #[arg(long, value_name = "BYTES")]
    length: Option<u64>,

    /// How long to wait until Codex has recorded the message
    #[arg(long, value_name = "SECONDS", default_value = "90", value_parser = seconds)]
    timeout: Duration,

    /// Read the message from PATH instead of standard input
    #[arg(long, value_name = "PATH")]
    message_file: Option<PathBuf>,

    /// Print one JSON object instead of text, whatever the outcome
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  echo 'Run the tests again.' | mngr-codex send --state-dir ~/.mngr/agents/AGENT_ID
  mngr-codex send --message-file plan.md --token 4f1c-9 --json | jq -r .outcome";

/// Parses a number of seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    /// One day. Longer waits are mistakes.
    const MAX: f64 = 86_400.0;
    let seconds = text.parse().ok().filter(|seconds: &f64| (0.0..=MAX).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("expected a number of seconds, at most {MAX}"))
}

/// Runs the command. Exits 1 if Codex does not have the message, and 2 if no agent is given.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let Some(path) = arguments.terminal.state_dir() else {
        complain(state_dir::MISSING);
        return ExitCode::from(2);
    };
    // The connection through which mngr runs this can break at any time. The message is sent nevertheless, and another run
    // learns of it. A closed standard output is no reason to stop either.
    signals::leave_to_others(SIGHUP);
    let begun = Instant::now();
    let token = arguments.token.clone().unwrap_or_else(SendToken::random);
    let outcome = match read(arguments) {
        Ok(Some(message)) => {
            let target = arguments.terminal.target();
            let interrupt = signals::noted();
            let request = SendRequest {
                message: &message,
                token: &token,
                target,
                timeout: arguments.timeout,
                interrupt: &interrupt,
            };
            send(&StateDir::new(&path), &request)
        }
        Ok(None) => SendOutcome::new(SendOutcomeKind::Truncated),
        Err(error) => SendOutcome::failed(&error),
    };
    let status = if outcome.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let is_printed = if arguments.json {
        let waited_seconds = (begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        let line = Line { version: 1, token: token.as_str(), outcome: &outcome, waited_seconds };
        StandardOutput.write_all((serde_json::to_string(&line).unwrap_or_default() + "\n").as_bytes())
    } else if outcome.is_success() {
        StandardOutput.write_all(sentence(&outcome).as_bytes())
    } else {
        complain(sentence(&outcome));
        Ok(())
    };
    match is_printed {
        Ok(()) => status,
        Err(error) => {
            complain(format!("cannot write to standard output: {}", explain(&error)));
            ExitCode::FAILURE
        }
    }
}

/// The output as JSON.
#[derive(Serialize)]
struct Line<'a> {
    version: u32,
    token: &'a str,
    #[serde(flatten)]
    outcome: &'a SendOutcome,
    waited_seconds: f64,
}

/// Reads the message. Returns `None` if it ends before the length that was given.
fn read(arguments: &Arguments) -> Result<Option<String>, String> {
    let limit = arguments.length.unwrap_or(MAX_LENGTH + 1);
    if arguments.length.is_some_and(|length| length > MAX_LENGTH) {
        return Err(format!("cannot send a message of more than {MAX_LENGTH} bytes"));
    }
    let mut bytes = Vec::new();
    let result = match &arguments.message_file {
        Some(path) => File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)),
        // More bytes are not waited for: the other end may keep the connection open.
        None => StandardInput.take(limit).read_to_end(&mut bytes),
    };
    let source = || arguments.message_file.as_ref().map_or("standard input".to_owned(), |path| escaped_path(path));
    let length = result.map_err(|error: io::Error| format!("cannot read {}: {}", source(), explain(&error)))?;
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    if arguments.length.is_some_and(|expected| length < expected) {
        return Ok(None);
    }
    if length > MAX_LENGTH {
        return Err(format!("cannot send a message of more than {MAX_LENGTH} bytes"));
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Describes an outcome for people.
fn sentence(outcome: &SendOutcome) -> String {
    let showing = outcome.showing.as_deref().unwrap_or("a dialog");
    let command = outcome.command.as_deref().filter(|command| is_slash_command(command)).unwrap_or("the command");
    let output = || outcome.terminal.iter().map(|line| safe_line(line)).collect::<Vec<_>>().join("\n");
    let first = || safe_line(outcome.terminal.first().map_or("", String::as_str));
    let opened = match outcome.showing.as_deref() {
        Some(dialog) if outcome.command.is_some() => format!("; it opened {dialog}"),
        _ => String::new(),
    };
    let left = if outcome.in_composer { "; its text may still be in the composer" } else { "" };
    match outcome.kind {
        SendOutcomeKind::Arrived => format!("Codex has the message{opened}\n"),
        SendOutcomeKind::Taken => format!("Codex has run {}{opened}\n", safe_line(command)),
        SendOutcomeKind::Queued => "Codex has queued the message until the current tool call finishes\n".to_owned(),
        SendOutcomeKind::Empty => {
            "not sent: the message is empty\nhint: pass its text on standard input, or use --message-file".to_owned()
        }
        SendOutcomeKind::Truncated => {
            "not sent: standard input ended before the message was complete\nhint: send it again".to_owned()
        }
        SendOutcomeKind::NoTerminal => {
            format!("not sent: cannot read Codex's terminal: {}\nhint: use --target PANE, or start the agent", first())
        }
        SendOutcomeKind::Exited => {
            format!("not sent: Codex has exited. Its terminal shows:\n{}\nhint: start it again", output())
        }
        SendOutcomeKind::Login => {
            "not sent: Codex is showing its login screen\nhint: run `codex login`, then restart Codex".to_owned()
        }
        SendOutcomeKind::Side => {
            "not sent: Codex is showing a side conversation, which is not part of its session\nhint: close it in the \
             terminal"
                .to_owned()
        }
        SendOutcomeKind::Dialog => format!("not sent: Codex is showing {showing}\nhint: answer it in the terminal"),
        SendOutcomeKind::Draft => {
            let draft = outcome.row.as_deref().unwrap_or_default();
            let draft = draft.trim_start_matches(['›', '!', ' ']);
            format!("not sent: there is a draft in the composer: {}\nhint: send or clear it", safe_line(draft))
        }
        SendOutcomeKind::NotReady => {
            "not sent: Codex was not ready within 30 s\nhint: look at it with `mngr-codex screen`".to_owned()
        }
        SendOutcomeKind::Unseen => {
            format!("not sent: the text did not appear in the terminal{left}\nhint: look at it with `mngr-codex screen`")
        }
        SendOutcomeKind::Blocked => {
            format!("not sent: {showing} opened before Enter was pressed{left}\nhint: answer it in the terminal")
        }
        SendOutcomeKind::Refused => format!(
            "not sent: Codex rejects {} during a turn and while its MCP servers start\nhint: send it again when the \
             turn is over",
            safe_line(command)
        ),
        SendOutcomeKind::NotTaken => {
            "not sent: Codex did not react to Enter, so the text was deleted\nhint: look at it with `mngr-codex screen`"
                .to_owned()
        }
        SendOutcomeKind::Ended => "cannot confirm the message: Codex exited\nhint: start it again".to_owned(),
        SendOutcomeKind::Unconfirmed => {
            "cannot confirm the message: Codex did not record it in time\nhint: it may still arrive; look at its \
             terminal before you send it again"
                .to_owned()
        }
        SendOutcomeKind::Busy => {
            "not sent: another message is still being sent\nhint: send it again with the same --token".to_owned()
        }
        SendOutcomeKind::Interrupted if outcome.arrived.is_none() => {
            "cannot confirm the message: interrupted while another run sends it\nhint: run it again with the same --token"
                .to_owned()
        }
        SendOutcomeKind::Interrupted => format!("not sent: interrupted{left}\nhint: send it again"),
        SendOutcomeKind::Failed => format!("cannot send the message: {}{left}", first()),
    }
}
