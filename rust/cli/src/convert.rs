//! `mngr-codex convert`: converts a rollout to mngr's common transcript.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mngr_codex_core::{
    AtomicFile, ConvertError, DEFAULT_LINE_LIMIT, End, Input, LineError, Options, OutputError, Place, StateDir,
    Summary, WindowTooLarge, convert, escaped_path, locate, target_folder,
};

use crate::progress::Progress;
use crate::signals;
use crate::streams::{self, StandardInput, StandardOutput, complain};
use crate::target::{self, Source, TargetArguments, Unresolved};

/// Convert a Codex rollout to mngr's common transcript (ATIF v1.7, JSON Lines)
///
/// With -v, on a terminal, or if a line is malformed, a summary on standard error follows: the lines read, the records
/// written, the malformed lines, and the skipped kinds of lines with their counts.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, mut_arg("target", |target| target.help(TARGET)))]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: TargetArguments,

    /// Write to PATH instead of standard output; PATH is created or replaced once the transcript is complete
    #[arg(short, long, value_name = "PATH", help_heading = "Output")]
    output: Option<PathBuf>,

    /// Derive the header's id from this agent id [default: the id of the agent TARGET, else none]
    #[arg(long, value_name = "ID", help_heading = "Output")]
    agent_id: Option<String>,

    /// Print the summary even if standard error is not a terminal
    #[arg(short, long, help_heading = "Output")]
    verbose: bool,

    /// Treat the rollout as unfinished: hold back the last step until its token counts are known
    #[arg(long, help_heading = "Input")]
    partial: bool,

    /// Maximum length of a line, in bytes
    #[arg(help_heading = "Input", long, value_name = "BYTES", default_value_t = DEFAULT_LINE_LIMIT, value_parser = line_limit)]
    max_line: usize,
}

/// Unlike other commands, this one does not read common transcripts.
const TARGET: &str = "\
A rollout (.jsonl or .jsonl.zst), or the state directory of an agent; `-` for standard input; `latest`; the name or id of an \
agent on this machine; or a session id or its beginning [default: choose from a list]";

const EXAMPLES: &str = "\
Examples:
  mngr-codex convert rollout.jsonl -o transcript.jsonl
  mngr-codex convert latest --cwd -o transcript.jsonl        the latest session in this folder
  zstd -dc rollout.jsonl.zst | mngr-codex convert - | jq -c .";

/// The note for a rollout without messages.
pub(crate) const ONLY_EVENTS: &str = "the rollout holds no messages, only events that announce them";

/// Parses `--max-line`. Offsets in a line have 32 bits, of which some are reserved.
fn line_limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit @ 1..=0xF000_0000) => Ok(limit),
        _ => Err("expected a number of bytes from 1 to 4026531840".to_owned()),
    }
}

/// A message for the user: what failed and why, with a hint on its own line if there is a way out.
type Failure = String;

/// The rollout to convert.
struct Rollout {
    /// Its path, or `-`.
    input: PathBuf,
    /// The id of the agent that it belongs to; empty without an agent.
    agent_id: String,
}

/// Runs the command. Exits 1 if the input is invalid or an I/O operation fails, and 2 if the arguments are wrong.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut notes = Vec::new();
    let converted = match arguments.rollout(&mut notes) {
        Ok(rollout) => run_to_summary(arguments, &rollout).map(|summary| (rollout, summary)),
        Err(Unresolved::Usage(what)) => {
            complain(what);
            return ExitCode::from(2);
        }
        Err(Unresolved::Failed(what)) => Err(what),
    };
    match converted {
        Ok((rollout, summary)) => {
            let name = name(&rollout.input);
            for line in &summary.malformed_lines {
                notes.push(format!("{name}: {line}"));
            }
            let remaining = summary.malformed - summary.malformed_lines.len() as u64;
            if remaining > 0 {
                notes.push(format!("{remaining} more such lines"));
            }
            if summary.has_only_events() {
                notes.push(format!("{name}: {ONLY_EVENTS}"));
            }
            if arguments.verbose || summary.malformed > 0 || io::stderr().is_terminal() {
                notes.push(summary.to_string());
            }
            notes.iter().for_each(complain);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            complain(failure);
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    /// Finds the rollout to convert. Of an agent, this is its raw transcript, which has the lines of all its rollouts.
    fn rollout(&self, notes: &mut Vec<String>) -> Result<Rollout, Unresolved> {
        let place = match self.target.resolve("convert")? {
            Source::StandardInput => {
                return Ok(Rollout { input: "-".into(), agent_id: self.agent_id.clone().unwrap_or_default() });
            }
            Source::Place(place) => place,
        };
        notes.extend(target::note_earlier(&place));
        let raw = Some(StateDir::new(place.path()).raw_transcript());
        let raw = raw.filter(|raw| !matches!(place, Place::Session(_)) && raw.is_file());
        if let (Place::Agent(state_dir), None) = (&place, &raw) {
            let state_dir = escaped_path(state_dir);
            return Err(Unresolved::Failed(format!(
                "cannot read {state_dir}: the agent has not written a transcript yet"
            )));
        }
        let agent = raw.is_some().then(|| locate::agent(place.path()).id).flatten();
        let agent_id = self.agent_id.clone().or(agent).unwrap_or_default();
        let recorded = || locate::recorded_rollout(&StateDir::new(place.path()));
        let input = raw.or_else(recorded).unwrap_or_else(|| place.path().to_owned());
        Ok(Rollout { input, agent_id })
    }
}

fn run_to_summary(arguments: &Arguments, rollout: &Rollout) -> Result<Summary, Failure> {
    let Rollout { input: path, agent_id } = rollout;
    let input = open(path)?;
    let options = Options {
        agent_id: agent_id.clone(),
        end: if arguments.partial { End::Partial } else { End::Complete },
        line_limit: arguments.max_line,
    };
    let Some(output) = arguments.output.as_deref().filter(|output| *output != Path::new("-")) else {
        refuse_own_end(path)?;
        return convert(input, StandardOutput, &options, &mut |_| true)
            .map_err(|error| explain(&error, path, "standard output", ""));
    };
    refuse_same_file(path, output)?;
    let mut file = AtomicFile::create(output).map_err(|error| cannot_begin(&error, output))?;
    let unchanged = match fs::exists(output) {
        _ if file.is_direct() => String::new(),
        Ok(true) => format!("; {} is unchanged", escaped_path(output)),
        _ => format!("; {} was not created", escaped_path(output)),
    };
    let cannot_write = |error: io::Error| format!("cannot write {}: {error}{unchanged}", escaped_path(output));
    if let Some(temporary) = file.temporary_path() {
        signals::remove_when_stopped(temporary.to_owned()).map_err(cannot_write)?;
    }
    let mut progress = Progress::of(&input);
    let summary = convert(input, &mut file, &options, &mut |bytes| progress.update(bytes))
        .map_err(|error| explain(&error, path, &escaped_path(output), &unchanged))?;
    signals::uninterrupted(|| file.commit()).and_then(|committed| committed).map_err(cannot_write)?;
    progress.end();
    Ok(summary)
}

/// Opens the input.
fn open(path: &Path) -> Result<Input, Failure> {
    if path == Path::new("-") {
        return Input::from_reader(StandardInput)
            .map_err(|error| format!("cannot read standard input: {}", streams::explain(&error)));
    }
    let path_text = escaped_path(path);
    Input::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!(
                "cannot read {path_text}: no such file\nhint: Codex keeps its rollouts under ~/.codex/sessions; `mngr-codex \
                 convert latest` converts the latest one"
            )
        }
        io::ErrorKind::IsADirectory => {
            format!("cannot read {path_text}: it is a directory, and has no raw transcript\nhint: pass a rollout inside it")
        }
        io::ErrorKind::PermissionDenied => {
            format!("cannot read {path_text}: {error}\nhint: run as the file's owner, or make it readable")
        }
        _ => format!("cannot read {path_text}: {error}"),
    })
}

/// Refuses to replace the rollout with its own transcript.
fn refuse_same_file(input: &Path, output: &Path) -> Result<(), Failure> {
    let input = if is_stream(input) { Path::new("/dev/stdin") } else { input };
    match (fs::canonicalize(input), fs::canonicalize(output)) {
        (Ok(one), Ok(other)) if one == other && one.is_file() => Err(format!(
            "cannot write {}: it is the input {}\nhint: choose another output file",
            escaped_path(output),
            escaped_path(input)
        )),
        _ => Ok(()),
    }
}

/// Refuses to append the transcript to its own rollout, which would then be read as part of it, without end.
fn refuse_own_end(input: &Path) -> Result<(), Failure> {
    if streams::is_output((!is_stream(input)).then_some(input)) {
        let input = name(input);
        return Err(format!(
            "cannot write to standard output: it is the same file as the input ({input})\nhint: redirect it to another file"
        ));
    }
    Ok(())
}

/// Explains why the output cannot be created.
fn cannot_begin(error: &io::Error, path: &Path) -> Failure {
    let path_text = escaped_path(path);
    let folder = target_folder(path).unwrap_or_default();
    match error.kind() {
        io::ErrorKind::IsADirectory => {
            format!("cannot write {path_text}: it is a directory\nhint: pass a file inside it")
        }
        io::ErrorKind::NotFound if !folder.exists() => {
            let folder = escaped_path(&folder);
            format!("cannot write {path_text}: there is no folder {folder}\nhint: create it with `mkdir -p {folder}`")
        }
        io::ErrorKind::PermissionDenied if !fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) => {
            let folder = escaped_path(&folder);
            format!("cannot write {path_text}: {error}\nhint: {folder} is not writable; choose another folder")
        }
        _ => format!("cannot write {path_text}: {error}"),
    }
}

/// Explains a failed conversion. `unchanged` describes the state of the output file.
fn explain(error: &ConvertError, input: &Path, output: &str, unchanged: &str) -> Failure {
    let from = name(input);
    match error {
        ConvertError::Output(OutputError::Sink(error)) => {
            if error.kind() == io::ErrorKind::BrokenPipe {
                signals::end_as_if_by(signal_hook::consts::SIGPIPE);
            }
            format!("cannot write {output}: {}{unchanged}", streams::explain(error))
        }
        ConvertError::Output(error) => format!("{error}{unchanged}\nhint: choose another folder with TMPDIR=FOLDER"),
        ConvertError::NotARollout(kind) => {
            let hint = kind.hint((!is_stream(input)).then_some(&from));
            format!("cannot convert {from}: {kind}{unchanged}\nhint: {hint}")
        }
        ConvertError::Input(LineError::TooLong { .. }) => {
            format!("cannot convert {from}: {error}{unchanged}\nhint: raise the limit with --max-line BYTES")
        }
        ConvertError::Input(LineError::Read { source, .. }) if WindowTooLarge::is_in(source) => {
            let file = if is_stream(input) { String::new() } else { format!(" {from}") };
            let command = format!("zstd -d --long=31 -c{file} | mngr-codex convert -");
            format!("cannot convert {from}: {source}{unchanged}\nhint: decompress it first: `{command}`")
        }
        error => format!("cannot convert {from}: {error}{unchanged}"),
    }
}

fn is_stream(input: &Path) -> bool {
    input == Path::new("-")
}

fn name(input: &Path) -> String {
    if is_stream(input) { "standard input".to_owned() } else { escaped_path(input) }
}
