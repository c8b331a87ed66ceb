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
    let hidden = hidden_options(&program);
    String::from_utf8_lossy(&script).lines().filter_map(|line| offered(line, &hidden)).collect()
}

/// Returns the names of the options of a program and its commands that are not in the help.
fn hidden_options(program: &clap::Command) -> Vec<String> {
    let own = program.get_arguments().filter(|argument| argument.is_hide_set()).filter_map(clap::Arg::get_long);
    let own = own.map(str::to_owned);
    own.chain(program.get_subcommands().flat_map(hidden_options)).collect()
}

/// Returns a line of a script, with its newline and without what it must not offer. `clap_complete` (4.5) also generates
/// hidden options, and for bash the placeholders of arguments such as `[TARGET]`.
fn offered(line: &str, hidden: &[String]) -> Option<String> {
    let code = line.trim_start();
    if let Some(words) = code.strip_prefix("opts=\"").and_then(|rest| rest.strip_suffix('"')) {
        let is_hidden = |word: &str| word.strip_prefix("--").is_some_and(|name| hidden.iter().any(|each| each == name));
        let words: Vec<_> = words.split(' ').filter(|word| !word.starts_with(['[', '<']) && !is_hidden(word)).collect();
        return Some(format!("{}opts=\"{}\"\n", &line[..line.len() - code.len()], words.join(" ")));
    }
    let is_of = |name: &String| {
        let beginnings =
            [format!("'--{name}["), format!("cand --{name} "), format!("[CompletionResult]::new('--{name}'")];
        let is_fish = code.starts_with("complete ") && code.contains(&format!(" -l {name} "));
        is_fish || beginnings.iter().any(|beginning| code.starts_with(beginning))
    };
    (!hidden.iter().any(is_of)).then(|| format!("{line}\n"))
}
