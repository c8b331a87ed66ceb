//! `mngr-codex status`: the sessions of this machine and their states.

use std::collections::HashMap;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use mngr_codex_core::session_dir::SessionDirs;
use mngr_codex_core::status::{self, Listing, SessionState, SessionStatus, StateFolders};
use mngr_codex_core::{ProcessId, WakeUp, Watches, codex_home, escaped_path, hooks_file, read_regular};
use signal_hook::consts::SIGPIPE;

use crate::human;
use crate::live_output::{LiveOutput, Size, size};
use crate::process_exit::ProcessExit;
use crate::streams::{self, StandardOutput, as_the_user_runs_it, complain, piped_output};
use crate::{hooks, signals};

/// List the Codex sessions of this machine that are running or waiting
///
/// Lists the sessions of a Codex with the hooks of `mngr-codex hooks install`, and the agents of mngr.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A folder with one state directory for each session; can be repeated (default: those of the installed hooks, and
    /// mngr's agents)
    #[arg(long, value_name = "DIR")]
    state_root: Vec<PathBuf>,

    /// Include sessions that have ended
    #[arg(long)]
    all: bool,

    /// Print JSON: an array, or with --follow one object per line and change
    #[arg(long)]
    json: bool,

    /// Keep showing changes: on a terminal the list is replaced, elsewhere each change is one line
    #[arg(short, long)]
    follow: bool,
}

const EXAMPLES: &str = "\
Examples:
  mngr-codex status
  mngr-codex status --follow
  mngr-codex status --json | jq -r '.[] | select(.state == \"WAITING\") | .cwd'";

/// How long changes are collected before the list is read again. Codex writes many lines at once.
const PAUSE: Duration = Duration::from_millis(50);

/// How often the time since a state began is updated.
const INTERVAL: Duration = Duration::from_secs(1);

/// Runs the command. Exits 1 if a folder cannot be read.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    if let Some(missing) = arguments.state_root.iter().find(|root| !root.is_dir()) {
        complain(format!("cannot list {}: no such directory", escaped_path(missing)));
        return ExitCode::FAILURE;
    }
    let result = if arguments.follow { follow(arguments) } else { show(arguments) };
    match result {
        Ok(status) => status,
        Err(error) => {
            if error.kind() == ErrorKind::BrokenPipe {
                signals::end_as_if_by(SIGPIPE);
            }
            complain(format!("cannot write to standard output: {}", streams::explain(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Where to search.
struct Searched {
    folders: StateFolders,
    /// Whether Codex has hooks that record its sessions.
    has_hooks: bool,
}

/// Returns where to search. The hooks of the user's Codex name their folders, whatever the environment was when they were
/// installed.
fn searched(arguments: &Arguments) -> Searched {
    let hooks = codex_home().map(|home| home.join("hooks.json"));
    let text = hooks.as_ref().and_then(|path| String::from_utf8(read_regular(path).ok()?).ok());
    let installed = text.map(|text| hooks_file::state_dirs_of_hooks(&text)).unwrap_or_default();
    let installed: Vec<SessionDirs> = installed.iter().filter_map(|dir| SessionDirs::of(dir)).collect();
    let has_hooks = !installed.is_empty();
    if !arguments.state_root.is_empty() {
        let folders = StateFolders { roots: arguments.state_root.clone(), ..StateFolders::default() };
        return Searched { folders, has_hooks };
    }
    let mut roots: Vec<PathBuf> = hooks::default_root().into_iter().collect();
    for root in installed.iter().map(|dirs| dirs.root_path().to_owned()) {
        if !roots.contains(&root) {
            roots.push(root);
        }
    }
    Searched { folders: StateFolders { roots, agents: Some(status::agents_folder()), hooks }, has_hooks }
}

/// Says that there is no session, and how sessions get into the list.
fn nothing(arguments: &Arguments, folders: &StateFolders, has_hooks: bool) -> String {
    let what = if arguments.all { "no session has been recorded" } else { "no session is running or waiting" };
    let hint = if !arguments.all && !status::list(folders, true).sessions.is_empty() {
        "--all adds the sessions that have ended"
    } else if has_hooks {
        "sessions appear with their first message, once the hooks are trusted in Codex (/hooks)"
    } else if streams::given_name().is_some() {
        // The user has mngr, and this can be another host, where nothing needs to be installed.
        "an agent appears with its first message"
    } else {
        "`mngr-codex hooks install` adds the hooks that report sessions"
    };
    as_the_user_runs_it(format!("{what}\nhint: {hint}"))
}

fn show(arguments: &Arguments) -> io::Result<ExitCode> {
    let Searched { folders, has_hooks } = searched(arguments);
    let Listing { sessions, problems } = status::list(&folders, arguments.all);
    let columns = if io::stdout().is_terminal() { size().columns } else { usize::MAX };
    let size = Size { columns, rows: usize::MAX };
    let text = if arguments.json { to_json(&sessions) } else { human::status(&sessions, status::now(), size) };
    StandardOutput.write_all(text.as_bytes())?;
    for problem in &problems {
        complain(problem);
    }
    if sessions.is_empty() && problems.is_empty() && !arguments.json {
        complain(nothing(arguments, &folders, has_hooks));
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

/// Shows the list again after each change, until the output is closed or a signal ends the program.
fn follow(arguments: &Arguments) -> io::Result<ExitCode> {
    let mut out = StandardOutput;
    let mut out = LiveOutput::new(&mut out, !arguments.json);
    let mut watches = Watches::default();
    let mut exits: HashMap<ProcessId, ProcessExit> = HashMap::new();
    let mut shown: Vec<SessionStatus> = Vec::new();
    let mut reported: Vec<String> = Vec::new();
    loop {
        // Set the watches before reading, so that no change between reading and waiting is missed.
        let Searched { folders, has_hooks } = searched(arguments);
        watches.set(status::watched(&folders, &shown));
        let Listing { sessions, problems } = status::list(&folders, arguments.all);
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        for problem in problems.iter().filter(|problem| !reported.contains(problem)) {
            out.erase()?;
            complain(problem);
        }
        reported = problems;
        if out.can_replace() {
            let text = match sessions.as_slice() {
                [] if reported.is_empty() => nothing(arguments, &folders, has_hooks),
                sessions => human::status(sessions, status::now(), size()),
            };
            out.replace(text.as_bytes())?;
        } else {
            for change in changes(&shown, &sessions) {
                let line = if arguments.json { to_json(&change) } else { human::status_change(&change) };
                out.write_all(line.as_bytes())?;
            }
        }
        let is_timed = out.can_replace() && !sessions.is_empty();
        shown = sessions;
        watch_processes(&shown, &mut exits);
        if watches.set(status::watched(&folders, &shown)) {
            continue;
        }
        let pipe = piped_output();
        let others: Vec<_> = pipe.into_iter().chain(exits.values().map(AsFd::as_fd)).collect();
        let limit = if is_timed { INTERVAL } else { Duration::MAX };
        match watches.wait_at_most(&others, limit) {
            Ok(WakeUp::Ready(0)) if pipe.is_some() => return Err(io::Error::from(ErrorKind::BrokenPipe)),
            Ok(_) => thread::sleep(PAUSE),
            Err(error) => {
                complain(format!("cannot wait for changes: {error}"));
                return Ok(ExitCode::FAILURE);
            }
        }
    }
}

/// Keeps one descriptor for each process of the sessions. Nothing else reports that a process was killed.
fn watch_processes(sessions: &[SessionStatus], exits: &mut HashMap<ProcessId, ProcessExit>) {
    let live = sessions.iter().filter(|session| session.state != SessionState::Ended);
    let processes: Vec<ProcessId> = live.filter_map(|session| session.process).collect();
    exits.retain(|process, _| processes.contains(process));
    for process in processes {
        if !exits.contains_key(&process)
            && let Some(pid) = process.pid()
            // If it cannot be watched, its end is noticed at the next change.
            && let Ok(Some(exit)) = ProcessExit::of(pid)
        {
            exits.insert(process, exit);
        }
    }
}

/// Returns the sessions that are new, have another state, or have disappeared because they have ended.
fn changes(before: &[SessionStatus], now: &[SessionStatus]) -> Vec<SessionStatus> {
    let in_list = |list: &[SessionStatus], session: &SessionStatus| {
        list.iter()
            .find(|known| known.state_dir == session.state_dir)
            .map(|known| (known.session_id.clone(), known.state, known.waiting_reason, known.since))
    };
    let gone = before.iter().filter(|session| in_list(now, session).is_none()).map(SessionStatus::ended_now);
    let changed = now.iter().filter(|session| in_list(before, session) != in_list(now, session)).cloned();
    // The newest are first in the list, and last in the output.
    let mut changes: Vec<SessionStatus> = gone.chain(changed).collect();
    changes.sort_by_key(|session| session.since);
    changes
}
