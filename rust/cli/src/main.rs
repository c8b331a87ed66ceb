//! The program `mngr-codex`: what hooks, the watcher and people call.

mod convert;
mod hook;
mod marker;
mod signals;
mod state_dir;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Codex for mngr: reads what the Codex CLI writes.
#[derive(Parser)]
#[command(name = "mngr-codex", version, about, max_term_width = 100, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Convert(convert::Arguments),
    Hook(hook::Arguments),
    Marker(marker::Arguments),
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if hook::run_plain(&arguments) {
        return ExitCode::SUCCESS;
    }
    let Arguments { command } = Arguments::parse_from(arguments);
    match command {
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Hook(arguments) => {
            hook::run(&arguments);
            ExitCode::SUCCESS
        }
        Command::Marker(arguments) => marker::run(&arguments),
    }
}
