//! A pane of tmux: what it shows, and its own program.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::process::foreground;
use crate::screen::Screen;

/// How long a command of tmux may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The options in which mngr names the agent of a session, and its pane (`hosts/tmux.py` of mngr 0.3.0).
const AGENT_OPTION: &str = "@mngr_agent_id";
const PANE_OPTION: &str = "@mngr_agent_pane";

/// The window that mngr runs agents in.
const WINDOW: &str = "agent";

/// Why a terminal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TerminalError {
    /// tmux cannot be run, or does not respond.
    #[error("cannot run tmux: {0}")]
    Tmux(io::Error),
    /// tmux reported an error.
    #[error("tmux: {0}")]
    Refused(String),
    /// There is no pane for the agent.
    #[error("no tmux session belongs to agent {0}")]
    NoPane(String),
}

/// What a pane shows at one time.
#[derive(Clone, Debug)]
pub struct PaneView {
    /// The identity of the pane and of its own process, for comparison.
    pub identity: String,
    /// What it shows.
    pub screen: Screen,
}

/// A pane of tmux.
#[derive(Clone, Debug)]
pub struct Pane {
    id: String,
}

impl Pane {
    /// Finds the pane that a target of tmux names, or the pane of the agent with this state directory.
    ///
    /// # Errors
    ///
    /// Returns [`TerminalError::NoPane`] if no session belongs to the agent, and another error if tmux fails.
    pub fn find(state_dir: &Path, target: Option<&str>) -> Result<Self, TerminalError> {
        match target {
            Some(target) => Self::of_target(target),
            None => Self::of_agent(&state_dir.file_name().unwrap_or_default().to_string_lossy()),
        }
    }

    fn of_target(target: &str) -> Result<Self, TerminalError> {
        // `list-panes` fails for a window that does not exist; `display-message` does not. Only `display-message` knows
        // the pane of a target such as `session:window.1`.
        let id = "#{pane_id}";
        let shown = tmux(["list-panes", "-t", target, "-F", id, ";", "display-message", "-p", "-t", target, id], b"")?;
        let mut panes: Vec<&str> = shown.lines().collect();
        let is_same = |id: &&str| !target.starts_with('%') || *id == target;
        let found = panes.pop().filter(|id| panes.contains(id)).filter(is_same);
        found
            .map(|id| Self { id: id.to_owned() })
            .ok_or_else(|| TerminalError::Refused(format!("can't find pane: {target}")))
    }

    fn of_agent(agent: &str) -> Result<Self, TerminalError> {
        let format = format!("#{{{AGENT_OPTION}}}\t#{{{PANE_OPTION}}}\t#{{pane_id}}\t#{{window_name}}");
        let panes = tmux(["list-panes", "-a", "-F", &format], b"")?;
        let own: Vec<Vec<&str>> = panes
            .lines()
            .map(|line| line.splitn(4, '\t').collect::<Vec<_>>())
            .filter(|fields| fields.len() == 4 && fields[0] == agent && !agent.is_empty())
            .collect();
        let recorded = own.iter().find(|fields| fields[1] == fields[2]);
        let first = || own.iter().find(|fields| fields[3] == WINDOW).or(own.first());
        let pane = recorded.or_else(first).map(|fields| Self { id: fields[2].to_owned() });
        pane.ok_or_else(|| TerminalError::NoPane(agent.to_owned()))
    }

    /// Returns what the pane shows.
    ///
    /// # Errors
    ///
    /// Returns an error if the pane does not exist or tmux fails.
    pub fn look(&self) -> Result<PaneView, TerminalError> {
        let format = "#{pane_id} #{pane_pid} #{pid} #{pane_current_command}";
        let shown = tmux(
            ["display-message", "-p", "-t", &self.id, format, ";", "capture-pane", "-e", "-p", "-t", &self.id],
            b"",
        )?;
        let (state, pane) = shown.split_once('\n').unwrap_or((&shown, ""));
        let mut fields = state.splitn(4, ' ');
        let mut field = || fields.next().unwrap_or_default();
        let (id, pid, server, command) = (field(), field(), field(), field());
        if id != self.id {
            return Err(TerminalError::Refused(format!("can't find pane: {}", self.id)));
        }
        let screen = Screen::parse(command, pane);
        // A script that runs Codex has the name of a shell too, but it is not the pane's own shell.
        let runs_script = || pid.parse().ok().and_then(Pid::from_raw).is_some_and(|pid| !is_in_foreground(pid));
        let screen = if screen.is_codex() || !runs_script() { screen } else { Screen::parse("codex", pane) };
        Ok(PaneView { identity: format!("{server} {id} {pid}"), screen })
    }

    /// Returns the value of an option of the pane; empty if it is not set.
    ///
    /// # Errors
    ///
    /// Returns an error if the pane does not exist or tmux fails.
    pub(crate) fn option(&self, name: &str) -> Result<String, TerminalError> {
        let value = tmux(["show-options", "-p", "-q", "-v", "-t", &self.id, name], b"")?;
        Ok(value.trim_end().to_owned())
    }

    /// Removes an option of the pane. Errors are ignored: the pane may be gone.
    pub(crate) fn remove_option(&self, name: &str) {
        let _ = tmux(["set-option", "-p", "-u", "-t", &self.id, name], b"");
    }

    /// Runs commands of tmux that get the pane with `-t`, then sets an option of it: both or neither, and neither if the
    /// option has this value already. The pane leaves copy mode first, which would get the keys.
    ///
    /// # Errors
    ///
    /// Returns an error if the pane does not exist or tmux fails.
    pub(crate) fn change(&self, commands: &[&[&str]], option: &str, value: &str) -> Result<(), TerminalError> {
        let id = &self.id;
        let mut script = format!("if-shell -F -t {id} '#{{pane_in_mode}}' 'copy-mode -q -t {id}'");
        for command in commands {
            let _ = write!(script, " ; {} -t {id} {}", command[0], command[1..].join(" "));
        }
        let _ = write!(script, " ; set-option -p -t {id} {option} {value}");
        let is_new = format!("#{{!=:#{{{option}}},{value}}}");
        tmux(["if-shell", "-F", "-t", id, &is_new, &script], b"").map(drop)
    }
}

/// Loads a text into a buffer of tmux. No argument and no file contains it.
pub(crate) fn load_buffer(name: &str, text: &[u8]) -> Result<(), TerminalError> {
    tmux(["load-buffer", "-b", name, "-"], text).map(drop)
}

/// Removes a buffer. Errors are ignored: it may not exist.
pub(crate) fn delete_buffer(name: &str) {
    let _ = tmux(["delete-buffer", "-b", name], b"");
}

/// Returns whether a process is in the foreground of its terminal. True if that is not known.
fn is_in_foreground(process: Pid) -> bool {
    if let Some(is_in_foreground) = foreground(process) {
        return is_in_foreground;
    }
    let pid = process.as_raw_nonzero().to_string();
    let Ok(output) = run(Command::new("ps").args(["-o", "tpgid=,pgid=", "-p", &pid]), b"") else { return true };
    let groups = String::from_utf8_lossy(&output.stdout);
    let groups: Vec<&str> = groups.split_whitespace().collect();
    !matches!(&groups[..], [foreground, own] if foreground != own)
}

/// Runs tmux and returns its output.
fn tmux<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(arguments: I, input: &[u8]) -> Result<String, TerminalError> {
    let mut command = Command::new("tmux");
    command.arg("-u").args(arguments);
    let mut output = run(&mut command, input).map_err(TerminalError::Tmux)?;
    // Ctrl-C ends a child that is not in its own process group yet. Each command does the same if it runs again.
    if output.status.signal() == Some(Signal::INT.as_raw()) {
        output = run(&mut command, input).map_err(TerminalError::Tmux)?;
    }
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(TerminalError::Refused(if error.is_empty() { output.status.to_string() } else { error }))
}

/// Runs a program with this input, and kills it after [`TIMEOUT`].
fn run(command: &mut Command, input: &[u8]) -> io::Result<Output> {
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    // Ctrl-C in the terminal is for this program only.
    let command = command.process_group(0);
    let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pid = Pid::from_child(&child);
    let writer = child.stdin.take();
    std::thread::scope(|scope| {
        // A program that exits without reading closes the pipe.
        let written = scope.spawn(move || writer.map(|mut stdin| stdin.write_all(input)));
        let (sender, receiver) = mpsc::channel();
        let waiting = scope.spawn(move || {
            let _ = sender.send(child.wait_with_output());
        });
        let output = receiver.recv_timeout(TIMEOUT).unwrap_or_else(|_| {
            // The thread waits for the process, so no other one has its id yet.
            let _ = kill_process(pid, Signal::KILL);
            let _ = receiver.recv();
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no response within {} s", TIMEOUT.as_secs())))
        });
        let (_, _) = (written.join(), waiting.join());
        output
    })
}
