//! The program `mngr-codex`, which users, Codex's hooks and the watcher run.

mod adopt;
mod agent_terminal;
mod completions;
mod convert;
#[cfg(feature = "data-files")]
mod data_files;
mod hook;
mod hooks;
mod human;
mod live_output;
mod marker;
mod process_exit;
mod progress;
mod screen;
mod send;
mod signals;
mod state_dir;
mod status;
mod streams;
mod target;
mod transcript;
mod watch;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// Read Codex CLI sessions: show and convert transcripts, follow running sessions, report which of them are working
#[derive(Parser)]
#[command(name = "mngr-codex", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Run `mngr-codex COMMAND --help` for the options and examples of a command.")]
struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    Transcript(transcript::Arguments),
    Convert(convert::Arguments),
    Watch(watch::Arguments),
    Status(status::Arguments),
    Hooks(hooks::Arguments),
    Marker(marker::Arguments),
    Adopt(adopt::Arguments),
    Send(send::Arguments),
    Screen(screen::Arguments),
    Hook(hook::Arguments),
    Completions(completions::Arguments),
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if hook::run_plain(&arguments) {
        return ExitCode::SUCCESS;
    }
    #[cfg(feature = "data-files")]
    if let [_, option, prefix] = &arguments[..]
        && option == "--write-data-files"
    {
        return data_files::write(prefix.as_ref(), &Arguments::command());
    }
    let is_hook = arguments.get(1).is_some_and(|command| command == "hook");
    let mut parser = Arguments::command();
    if let Some(name) = streams::given_name() {
        parser = parser.bin_name(name);
    }
    let parsed = parser.try_get_matches_from(arguments).and_then(|matches| Arguments::from_arg_matches(&matches));
    let Arguments { command } = match parsed {
        Ok(arguments) => arguments,
        Err(response) => return if is_hook { hook::print_parse_result(&response) } else { print(&response) },
    };
    match command {
        Subcommands::Adopt(arguments) => adopt::run(&arguments),
        Subcommands::Completions(arguments) => completions::run(&arguments, Arguments::command()),
        Subcommands::Convert(arguments) => convert::run(&arguments),
        Subcommands::Hook(arguments) => {
            hook::run(&arguments);
            ExitCode::SUCCESS
        }
        Subcommands::Hooks(arguments) => hooks::run(&arguments),
        Subcommands::Marker(arguments) => marker::run(&arguments),
        Subcommands::Screen(arguments) => screen::run(&arguments),
        Subcommands::Send(arguments) => send::run(&arguments),
        Subcommands::Status(arguments) => status::run(&arguments),
        Subcommands::Transcript(arguments) => transcript::run(&arguments),
        Subcommands::Watch(arguments) => watch::run(&arguments),
    }
}

/// Prints clap's response to the arguments: help, the version, or a usage error.
fn print(response: &clap::Error) -> ExitCode {
    let status = ExitCode::from(u8::try_from(response.exit_code()).unwrap_or(1));
    match response.print() {
        Err(error) if !response.use_stderr() => {
            if error.kind() == io::ErrorKind::BrokenPipe {
                signals::end_as_if_by(signal_hook::consts::SIGPIPE);
            }
            streams::complain(format!("cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
        _ => status,
    }
}
