//! `mngr-codex hooks`: the hooks of a Codex that runs without mngr.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mngr_codex_core::hooks_file::{self, OwnHooks};
use mngr_codex_core::session_dir::{self, SESSION_ID, SessionDirs};
use mngr_codex_core::{AtomicFile, codex_home, escaped_path, read_regular};

use crate::streams::{as_the_user_runs_it, complain, print};

/// Install or remove the hooks by which Codex reports what its sessions do
///
/// The hooks make `mngr-codex status` list the sessions of a Codex that runs without mngr. Agents of mngr have their own.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
Examples:
  mngr-codex hooks install
  mngr-codex hooks print --codex-home ~/.codex-work
  mngr-codex hooks remove";

#[derive(clap::Subcommand)]
enum Action {
    /// Print the hooks.json that `install` would write
    Print(Options),
    /// Add the hooks to Codex's hooks.json and keep everything else in it; an earlier file is kept as hooks.json.bak
    Install(Options),
    /// Remove these hooks from Codex's hooks.json and keep everything else in it
    Remove(CodexHome),
}

#[derive(clap::Args)]
struct CodexHome {
    /// Codex's home (default: `$CODEX_HOME`, else `~/.codex`)
    #[arg(long, value_name = "DIR")]
    codex_home: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Options {
    #[command(flatten)]
    home: CodexHome,

    /// Where the hooks record the state (default: `$XDG_STATE_HOME/mngr-codex/sessions/{session_id}`, with `~/.local/state`
    /// if the variable is not set). Without `{session_id}` all sessions share one state directory
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// Why the command failed.
enum Failure {
    /// The message.
    Failed(String),
    /// The command line is wrong.
    Usage(String),
}

impl Failure {
    fn on<E: std::fmt::Display>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |error| Self::Failed(format!("cannot {action} {}: {error}", escaped_path(path)))
    }
}

/// Runs the command. Exits 1 if a file cannot be read or written, and 2 if the state directory is not usable.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let result = match &arguments.action {
        Action::Print(options) => print_hooks(options),
        Action::Install(options) => install(options),
        Action::Remove(home) => remove(home),
    };
    match result.map(as_the_user_runs_it).and_then(|text| print(&text).map_err(Failure::Failed)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(message)) => {
            complain(message);
            ExitCode::FAILURE
        }
        Err(Failure::Usage(message)) => {
            complain(message);
            ExitCode::from(2)
        }
    }
}

fn print_hooks(options: &Options) -> Result<String, Failure> {
    let path = hooks_path(&options.home)?;
    let hooks = own_hooks(&state_dir(options)?)?;
    hooks.add_to(&read(&path)?.unwrap_or_default()).map_err(Failure::on("add the hooks to", &path))
}

fn install(options: &Options) -> Result<String, Failure> {
    let path = hooks_path(&options.home)?;
    let home = path.parent().unwrap_or(Path::new("/"));
    if !home.is_dir() {
        let message = "no such directory\nhint: run codex once, or name its home with --codex-home";
        return Err(Failure::on("install hooks in", home)(message));
    }
    if is_home_of_agent(home) {
        let message =
            "it is the home of an agent of mngr, which has its own hooks\nhint: name another one with --codex-home";
        return Err(Failure::on("install hooks in", home)(message));
    }
    let state_dir = state_dir(options)?;
    let hooks = own_hooks(&state_dir)?;
    let root = SessionDirs::of(&state_dir).map_or(state_dir.clone(), |dirs| dirs.root_path().to_owned());
    session_dir::create_private(&root).map_err(|error| Failure::Failed(error.to_string()))?;
    let before = read(&path)?;
    let after = hooks.add_to(before.as_deref().unwrap_or_default()).map_err(Failure::on("add the hooks to", &path))?;
    if before.as_ref() == Some(&after) {
        return Ok(format!("{} already has these hooks.\n", escaped_path(&path)));
    }
    let backup = replace(&path, before.as_deref(), &after)?;
    let mut text = format!("Installed {} hooks in {}.\n", hooks.count(), escaped_path(&path));
    // Writing to a string cannot fail.
    if let Some(backup) = backup {
        let _ = writeln!(text, "The earlier file is {}.", escaped_path(&backup));
    }
    let _ = writeln!(text, "State of the sessions: {}", escaped_path(&root));
    text.push_str(REVIEW);
    if SessionDirs::of(&state_dir).is_some() {
        text.push_str("Then `mngr-codex status` lists the sessions.\n");
    } else {
        let state_dir = escaped_path(&state_dir);
        let _ = writeln!(
            text,
            "All sessions share one state, which `mngr-codex marker show --state-dir {state_dir}` shows. `mngr-codex status` \
             needs a state directory with {SESSION_ID}."
        );
    }
    text.push_str("Run `mngr-codex hooks remove` before you uninstall or move the program.\n");
    Ok(text)
}

/// What the user has to do after an installation (the screen and the command are those of 0.163 and 0.171).
const REVIEW: &str = "
Codex runs new and changed hooks only after a review: when it starts next, choose \"Trust all and continue\" in the screen
\"Hooks need review\", or enter /hooks. Sessions that are already running do not use the new hooks.
";

fn remove(home: &CodexHome) -> Result<String, Failure> {
    let path = hooks_path(home)?;
    let Some(before) = read(&path)? else {
        return Ok(format!("There is no {}.\n", escaped_path(&path)));
    };
    let after = hooks_file::remove_hooks(&before).map_err(Failure::on("remove the hooks from", &path))?;
    if before == after {
        return Ok(format!("{} has none of these hooks.\n", escaped_path(&path)));
    }
    let backup = replace(&path, Some(&before), &after)?;
    let mut text = format!("Removed the hooks from {}.\n", escaped_path(&path));
    if let Some(backup) = backup {
        let _ = writeln!(text, "The earlier file is {}.", escaped_path(&backup));
    }
    text.push_str("If other hooks followed them in the file, Codex may ask you to review those again.\n");
    Ok(text)
}

/// Returns the path of Codex's `hooks.json`.
fn hooks_path(home: &CodexHome) -> Result<PathBuf, Failure> {
    let home = match &home.codex_home {
        Some(home) => home.clone(),
        None => codex_home().ok_or_else(|| Failure::Usage("HOME is not set\nhint: use --codex-home".to_owned()))?,
    };
    let home = std::path::absolute(&home).map_err(Failure::on("use", &home))?;
    Ok(home.join("hooks.json"))
}

/// Returns the folder of the state directories by default, as in the XDG Base Directory Specification 0.8.
pub(crate) fn default_root() -> Option<PathBuf> {
    let state = from_environment("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(from_environment("HOME")?.join(".local/state")))?;
    Some(state.join("mngr-codex/sessions"))
}

fn from_environment(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Returns whether a folder is the `CODEX_HOME` of an agent of mngr.
fn is_home_of_agent(home: &Path) -> bool {
    home.canonicalize().is_ok_and(|home| home.ends_with("plugin/codex/home"))
}

/// Returns the state directory of the hooks, as an absolute path.
fn state_dir(options: &Options) -> Result<PathBuf, Failure> {
    let Some(given) = &options.state_dir else {
        let root = default_root().ok_or_else(|| Failure::Usage("HOME is not set\nhint: use --state-dir".to_owned()))?;
        return Ok(root.join(SESSION_ID));
    };
    let refused =
        |reason: &str| Err(Failure::Usage(format!("cannot use --state-dir {}: {reason}", escaped_path(given))));
    let text = given.to_string_lossy();
    if text.starts_with('~') {
        return refused("the shell has not replaced the ~\nhint: write $HOME, or ./~ for a folder of that name");
    }
    let others = text.replace(SESSION_ID, "");
    if others.split_once('{').is_some_and(|(_, after)| after.contains('}')) {
        return refused(&format!("only {SESSION_ID} is replaced\nhint: write it exactly like that"));
    }
    let dir = std::path::absolute(given).map_err(Failure::on("use", given))?;
    match SessionDirs::of(&dir) {
        Some(dirs) if dir.parent() != Some(dirs.root_path()) => {
            let message = format!("{SESSION_ID} must be in the last name of --state-dir {}", escaped_path(given));
            Err(Failure::Usage(message))
        }
        _ => Ok(dir),
    }
}

fn own_hooks(state_dir: &Path) -> Result<OwnHooks, Failure> {
    let program = env::current_exe().map_err(|error| Failure::Failed(format!("cannot find this program: {error}")))?;
    // Linux says so in the name of a program that was replaced while it runs.
    if !program.exists() {
        return Err(Failure::on("use", &program)("no such file\nhint: run the command again"));
    }
    OwnHooks::new(&program, state_dir).map_err(|error| Failure::Failed(format!("cannot make a hook: {error}")))
}

/// Reads a file; returns `None` if it does not exist.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    match read_regular(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                Err(Failure::on("read", path)(format!("it is not valid UTF-8 (byte {at})")))
            }
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::on("read", path)(error)),
    }
}

/// Replaces a file, and keeps the earlier one under another name, which is returned.
fn replace(path: &Path, before: Option<&str>, after: &str) -> Result<Option<PathBuf>, Failure> {
    let backup = before.map(|before| back_up(path, before)).transpose()?;
    let written = AtomicFile::create(path).and_then(|mut file| {
        file.write_all(after.as_bytes())?;
        file.commit()
    });
    written.map_err(Failure::on("write", path))?;
    Ok(backup)
}

/// Writes a copy of the file next to it: `hooks.json.bak`, or `hooks.json.bak.1` and so on, because earlier copies stay.
fn back_up(path: &Path, content: &str) -> Result<PathBuf, Failure> {
    const MAX_COPIES: u32 = 1000;
    let names = std::iter::once(String::new()).chain((1..MAX_COPIES).map(|number| format!(".{number}")));
    for name in names {
        let mut copy = path.as_os_str().to_owned();
        copy.push(format!(".bak{name}"));
        let copy = PathBuf::from(copy);
        let permissions = fs::metadata(path).map_err(Failure::on("read", path))?.permissions();
        let written = File::create_new(&copy).and_then(|mut file| {
            file.set_permissions(permissions)?;
            file.write_all(content.as_bytes())
        });
        match written {
            Ok(()) => return Ok(copy),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Failure::on("write", &copy)(error)),
        }
    }
    Err(Failure::on("back up", path)(io::Error::from(ErrorKind::AlreadyExists)))
}
