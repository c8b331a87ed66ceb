//! `mngr-codex screen`: shows what Codex's terminal shows.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use mngr_codex_core::{Pane, Screen, Start, StartWatch, StateDir, TerminalError, View};
use serde::Serialize;

use crate::agent_terminal::AgentTerminal;
use crate::human::safe_line;
use crate::send::seconds;
use crate::state_dir;
use crate::streams::{complain, print};

/// Show what Codex's terminal shows, or wait until it has started
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    terminal: AgentTerminal,

    /// Wait until Codex has opened its session or shows a dialog, or until a message can be typed
    #[arg(long, value_enum)]
    until: Option<Until>,

    /// How long to wait
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    timeout: Duration,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  mngr-codex screen --state-dir ~/.mngr/agents/AGENT_ID
  mngr-codex screen --until started --json | jq -r .outcome";

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Until {
    /// Codex has opened its session, or shows a dialog
    Started,
    /// A message can be typed
    Ready,
}

/// The pause between two looks at the terminal.
const PAUSE: Duration = Duration::from_millis(50);

/// The most lines that are shown.
const MAX_LINES: usize = 12;

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Shown,
    Started,
    Ready,
    Exited,
    NotReady,
    NoTerminal,
}

/// The output as JSON.
#[derive(Serialize)]
struct Report {
    version: u32,
    outcome: Outcome,
    view: Option<&'static str>,
    dialog: Option<&'static str>,
    showing: Option<&'static str>,
    waiting_reason: Option<&'static str>,
    row: Option<String>,
    is_started: bool,
    has_session_line: bool,
    terminal: Vec<String>,
    waited_seconds: f64,
}

/// Runs the command. Exits 1 if there is no terminal, or if Codex has exited or is not ready in time, and 2 if no agent is
/// given.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let Some(path) = arguments.terminal.state_dir() else {
        complain(state_dir::MISSING);
        return ExitCode::from(2);
    };
    let begun = Instant::now();
    let dir = StateDir::new(&path);
    let seen = Pane::find(&path, arguments.terminal.target()).and_then(|pane| watch(&pane, &dir, arguments, begun));
    let (outcome, screen) = match seen {
        Ok((outcome, screen)) => (outcome, Ok(screen)),
        // A tmux that does not respond says nothing about the terminal.
        Err(error @ TerminalError::Tmux(_)) => (Outcome::NotReady, Err(error.to_string())),
        Err(error) => (Outcome::NoTerminal, Err(error.to_string())),
    };
    let is_success = matches!(outcome, Outcome::Shown | Outcome::Started | Outcome::Ready);
    let text = if arguments.json {
        to_json(outcome, &screen, begun.elapsed())
    } else {
        match &screen {
            Ok(screen) => describe(outcome, screen),
            Err(error) => {
                let error = safe_line(error);
                complain(format!("cannot read Codex's terminal: {error}\nhint: use --target PANE, or start the agent"));
                return ExitCode::FAILURE;
            }
        }
    };
    match print(&text) {
        Ok(()) if is_success => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}

/// Looks at the terminal until the condition is true, Codex has exited, or the time is up.
fn watch(
    pane: &Pane,
    dir: &StateDir,
    arguments: &Arguments,
    begun: Instant,
) -> Result<(Outcome, Screen), TerminalError> {
    let mut start = StartWatch::default();
    loop {
        let screen = pane.look()?.screen;
        let Some(until) = arguments.until else { return Ok((Outcome::Shown, screen)) };
        let elapsed = begun.elapsed();
        let outcome = match start.add(&screen, elapsed, dir.started().exists()) {
            Some(Start::Exited) => Some(Outcome::Exited),
            Some(Start::Started) if until == Until::Started => Some(Outcome::Started),
            _ if until == Until::Ready && screen.is_ready() => Some(Outcome::Ready),
            _ if elapsed >= arguments.timeout => Some(Outcome::NotReady),
            _ => None,
        };
        if let Some(outcome) = outcome {
            return Ok((outcome, screen));
        }
        thread::sleep(PAUSE);
    }
}

fn to_json(outcome: Outcome, screen: &Result<Screen, String>, waited: Duration) -> String {
    let view = screen.as_ref().ok().map(Screen::view);
    let report = Report {
        version: 1,
        outcome,
        view: view.map(View::name),
        dialog: view.and_then(View::dialog),
        showing: view.and_then(View::showing),
        waiting_reason: view.map(View::waiting_reason),
        row: screen.as_ref().ok().and_then(|screen| screen.row().map(str::to_owned)),
        is_started: screen.as_ref().is_ok_and(Screen::is_started),
        has_session_line: screen.as_ref().is_ok_and(Screen::has_session_line),
        terminal: match screen {
            Ok(screen) => last_lines(screen),
            Err(error) => vec![error.clone()],
        },
        waited_seconds: (waited.as_secs_f64() * 1000.0).round() / 1000.0,
    };
    serde_json::to_string(&report).unwrap_or_default() + "\n"
}

fn last_lines(screen: &Screen) -> Vec<String> {
    if screen.view() == View::Shell {
        return screen.last_output();
    }
    let lines: Vec<&str> = screen.text().lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(MAX_LINES)..].iter().map(|line| line.trim_end().to_owned()).collect()
}

/// Describes the screen for people.
fn describe(outcome: Outcome, screen: &Screen) -> String {
    let view = screen.view();
    let state = match view {
        View::Shell => "Codex is not running in its terminal",
        View::Loading => "Codex is starting",
        View::Login | View::Side | View::Dialog(_) => "Codex is showing ",
        View::Draft => "there is a draft in Codex's composer",
        View::Empty => "Codex's composer is empty",
    };
    let late = if outcome == Outcome::NotReady { " (not ready in time)" } else { "" };
    let mut text = format!("{state}{}{late}\n", view.showing().unwrap_or_default());
    for line in last_lines(screen) {
        text.push_str("  ");
        text.push_str(&safe_line(&line));
        text.push('\n');
    }
    text
}
