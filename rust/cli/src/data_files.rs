//! The files that the wheel installs next to the program: manual pages, and completions for shells that load them from `share`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;

use crate::completions::script;
use crate::streams;

/// Where each shell looks for the completions of an installed program, below a prefix such as `/usr`.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "share/bash-completion/completions/mngr-codex"),
    (Shell::Zsh, "share/zsh/site-functions/_mngr-codex"),
    (Shell::Fish, "share/fish/vendor_completions.d/mngr-codex.fish"),
];

const MANUAL: &str = "share/man/man1";

/// Writes the files below `prefix` for the program that `program` describes. Exits 1 if a file cannot be written.
pub(crate) fn write(prefix: &Path, program: &Command) -> ExitCode {
    let written = COMPLETIONS
        .iter()
        .try_for_each(|(shell, path)| write_file(&prefix.join(path), script(*shell, program.clone())))
        .and_then(|()| write_manual(&prefix.join(MANUAL), program.clone()));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err((path, error)) => {
            streams::complain(format!("cannot write {}: {error}", path.display()));
            ExitCode::FAILURE
        }
    }
}

fn write_file(path: &Path, content: impl AsRef<[u8]>) -> Result<(), (PathBuf, io::Error)> {
    path.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, content))
        .map_err(|error| (path.to_owned(), error))
}

/// Writes a page for the program and one for each of its subcommands, such as `mngr-codex-marker-show.1`.
fn write_manual(folder: &Path, program: Command) -> Result<(), (PathBuf, io::Error)> {
    fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(program.disable_help_subcommand(true), folder))
        .map_err(|error| (folder.to_owned(), error))
}
