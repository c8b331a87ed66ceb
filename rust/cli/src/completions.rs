//! `mngr-codex completions`: prints the script that completes this program's command lines in a shell.

use std::process::ExitCode;

use clap_complete::Shell;

use crate::streams;

/// Print the completions of this program for a shell
///
/// The shell reads them from a file at its start. The wheel installs them for bash, zsh and fish in the folder `share` of its
/// environment. For zsh, `pip install --user` also needs `fpath+=~/.local/share/zsh/site-functions` before `compinit` in
/// ~/.zshrc.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  mkdir -p ~/.local/share/bash-completion/completions
  mngr-codex completions bash \\
    > ~/.local/share/bash-completion/completions/mngr-codex

  mkdir -p ~/.zfunc
  mngr-codex completions zsh > ~/.zfunc/_mngr-codex

  mkdir -p ~/.config/fish/completions
  mngr-codex completions fish > ~/.config/fish/completions/mngr-codex.fish

zsh needs `fpath+=~/.zfunc` before `compinit` in ~/.zshrc.";

/// Runs the command for the program that `program` describes. Exits 1 if standard output cannot be written.
pub(crate) fn run(arguments: &Arguments, program: clap::Command) -> ExitCode {
    match streams::print(&script(arguments.shell, program)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            streams::complain(error);
            ExitCode::FAILURE
        }
    }
}

/// Returns the completion script of a program.
pub(crate) fn script(shell: Shell, mut program: clap::Command) -> String {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
