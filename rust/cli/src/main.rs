//! The program `mngr-codex`: what hooks, the watcher and people call.

mod convert;

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
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    match command {
        Command::Convert(arguments) => convert::run(&arguments),
    }
}
