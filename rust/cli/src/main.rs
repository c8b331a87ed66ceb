//! The program `mngr-codex`: what hooks, the watcher and people call.

mod convert;
mod hook;
mod human;
mod marker;
mod progress;
mod signals;
mod state_dir;
mod streams;
mod transcript;
mod watch;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Read what the Codex CLI writes: its rollouts as transcripts, its hooks as whether it is at work
#[derive(Parser)]
#[command(name = "mngr-codex", version, max_term_width = 100, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Convert(convert::Arguments),
    Hook(hook::Arguments),
    Marker(marker::Arguments),
    Transcript(transcript::Arguments),
    Watch(watch::Arguments),
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if hook::run_plain(&arguments) {
        return ExitCode::SUCCESS;
    }
    let is_hook = arguments.get(1).is_some_and(|command| command == "hook");
    let Arguments { command } = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(told) => return if is_hook { hook::tell(&told) } else { tell(&told) },
    };
    match command {
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Hook(arguments) => {
            hook::run(&arguments);
            ExitCode::SUCCESS
        }
        Command::Marker(arguments) => marker::run(&arguments),
        Command::Transcript(arguments) => transcript::run(&arguments),
        Command::Watch(arguments) => watch::run(&arguments),
    }
}

/// Says what came of the arguments instead of a command: help, the version, or what is wrong with them.
fn tell(told: &clap::Error) -> ExitCode {
    let status = ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(1));
    match told.print() {
        Err(error) if !told.use_stderr() => {
            if error.kind() == io::ErrorKind::BrokenPipe {
                signals::end_as_if_by(signal_hook::consts::SIGPIPE);
            }
            streams::complain(format!("cannot write standard output: {error}"));
            ExitCode::FAILURE
        }
        _ => status,
    }
}
