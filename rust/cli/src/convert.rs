//! `mngr-codex convert`: a rollout as mngr's common transcript.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mngr_codex_core::convert::{ConvertError, End, Options, OutputError, Summary, convert};
use mngr_codex_core::files::atomic_write::{self, AtomicFile};
use mngr_codex_core::json::NO_OBJECT;
use mngr_codex_core::rollout::input::{Input, WindowTooLarge};
use mngr_codex_core::rollout::lines::{DEFAULT_LINE_LIMIT, LineError};
use mngr_codex_core::transcript::locate::shown;

use crate::progress::Progress;
use crate::signals;
use crate::streams::{self, StandardInput, StandardOutput};

/// Convert a Codex rollout to mngr's common transcript (ATIF v1.7, JSON Lines)
///
/// The last line on standard error sums up: lines read, records written, lines that are no JSON object, and each kind
/// of line that makes no record with its count.
#[derive(clap::Args)]
pub struct Arguments {
    /// The rollout: a .jsonl or .jsonl.zst file (told by its content), or - for standard input
    input: PathBuf,

    /// Write here instead of to standard output (-); the file appears, or replaces the one there, when it is whole, or not
    /// at all
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,

    /// The agent whose transcript this is; seeds the id of the header
    #[arg(long, value_name = "ID", default_value = "")]
    agent_id: String,

    /// The rollout may still grow: hold back the last step until its token counts are known
    #[arg(long)]
    partial: bool,

    /// The longest line that is read, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_LINE_LIMIT, value_parser = line_limit)]
    max_line: usize,
}

fn line_limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit @ 1..=0xF000_0000) => Ok(limit),
        _ => Err("a number of bytes from 1 to 4026531840 is wanted".to_owned()),
    }
}

/// A message for the user: what failed, where, and what to do.
type Failure = String;

/// Runs the command; gives 0, or 1 where the input or the system failed.
pub fn run(arguments: &Arguments) -> ExitCode {
    match run_to_summary(arguments) {
        Ok(summary) => {
            let mut notes = Vec::new();
            for line in &summary.malformed_lines {
                let why = if line.why == NO_OBJECT { String::new() } else { format!(": {}", line.why) };
                notes.push(format!(
                    "{}: the line at byte {} is not a JSON object{why} (byte {} of the line); left out",
                    name(&arguments.input),
                    line.offset,
                    line.at
                ));
            }
            let untold = summary.malformed - summary.malformed_lines.len() as u64;
            if untold > 0 {
                notes.push(format!("{untold} more such lines"));
            }
            if summary.lines > 0 && summary.malformed == summary.lines {
                let advice = "is it a rollout? Codex keeps them as .jsonl and .jsonl.zst files";
                notes.push(format!("{}: not one line of it is a JSON object; {advice}", name(&arguments.input)));
            }
            notes.push(summary.to_string());
            // Nobody may be listening, which is no failure of the conversion.
            let _ = tell(notes.iter());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let _ = tell([&failure]);
            ExitCode::FAILURE
        }
    }
}

/// Writes lines to standard error.
fn tell<'a>(lines: impl IntoIterator<Item = &'a String>) -> io::Result<()> {
    let mut text = String::new();
    for line in lines {
        text.extend(["mngr-codex: ", line, "\n"]);
    }
    io::stderr().write_all(text.as_bytes())
}

fn run_to_summary(arguments: &Arguments) -> Result<Summary, Failure> {
    let input = open(&arguments.input)?;
    let options = Options {
        agent_id: arguments.agent_id.clone(),
        end: if arguments.partial { End::Partial } else { End::Complete },
        line_limit: arguments.max_line,
    };
    let Some(path) = arguments.output.as_deref().filter(|path| *path != Path::new("-")) else {
        refuse_own_end(&arguments.input)?;
        return convert(input, StandardOutput, &options, &mut |_| true)
            .map_err(|error| explain(&error, &arguments.input, "standard output", ""));
    };
    refuse_same_file(&arguments.input, path)?;
    let mut file = AtomicFile::create(path).map_err(|error| cannot_begin(&error, path))?;
    let left = match fs::exists(path) {
        _ if file.is_direct() => String::new(),
        Ok(true) => format!("; {} is as it was", shown(path)),
        _ => format!("; nothing was left at {}", shown(path)),
    };
    let cannot_write = |error: io::Error| format!("cannot write {}: {error}{left}", shown(path));
    if let Some(temporary) = file.temporary_path() {
        signals::remove_when_stopped(temporary.to_owned()).map_err(cannot_write)?;
    }
    let mut progress = Progress::of(&input);
    let summary = convert(input, &mut file, &options, &mut |bytes| progress.tell(bytes))
        .map_err(|error| explain(&error, &arguments.input, &shown(path), &left))?;
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
    let what = shown(path);
    Input::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("cannot read {what}: there is no such file; rollouts are under ~/.codex/sessions")
        }
        io::ErrorKind::IsADirectory => format!("cannot read {what}: it is a directory; name a rollout file in it"),
        io::ErrorKind::PermissionDenied => {
            format!("cannot read {what}: {error}; run this as the user whose rollout it is, or get leave to read it")
        }
        _ => format!("cannot read {what}: {error}"),
    })
}

/// A transcript in place of its own rollout would lose the rollout.
fn refuse_same_file(input: &Path, output: &Path) -> Result<(), Failure> {
    let input = if is_stream(input) { Path::new("/dev/stdin") } else { input };
    match (fs::canonicalize(input), fs::canonicalize(output)) {
        (Ok(one), Ok(other)) if one == other && one.is_file() => {
            Err(format!("{} is the input {}; name another file for the output", shown(output), shown(input)))
        }
        _ => Ok(()),
    }
}

/// A transcript behind its own rollout would be read as a part of it, without end.
fn refuse_own_end(input: &Path) -> Result<(), Failure> {
    if streams::is_output((!is_stream(input)).then_some(input)) {
        let input = name(input);
        return Err(format!("standard output is the same file as the input ({input}); let it go to another file"));
    }
    Ok(())
}

/// Why the output cannot even be begun.
fn cannot_begin(error: &io::Error, path: &Path) -> Failure {
    let what = shown(path);
    let folder = atomic_write::folder(path).unwrap_or_default();
    match error.kind() {
        io::ErrorKind::IsADirectory => format!("cannot write {what}: it is a folder; name a file in it"),
        io::ErrorKind::NotFound if !folder.exists() => {
            let folder = shown(&folder);
            format!("cannot write {what}: there is no folder {folder}; make it first: mkdir -p {folder}")
        }
        io::ErrorKind::PermissionDenied if !fs::metadata(path).is_ok_and(|there| !there.is_file()) => {
            let folder = shown(&folder);
            format!("cannot write {what}: {error}; name a file in a folder that you may write in, unlike {folder}")
        }
        _ => format!("cannot write {what}: {error}"),
    }
}

/// Says what failed; `left` is what the output is like now.
fn explain(error: &ConvertError, input: &Path, output: &str, left: &str) -> Failure {
    let from = name(input);
    match error {
        ConvertError::Output(OutputError::Sink(error)) => {
            if error.kind() == io::ErrorKind::BrokenPipe {
                signals::end_as_if_by(signal_hook::consts::SIGPIPE);
            }
            format!("cannot write {output}: {}{left}", streams::explain(error))
        }
        ConvertError::Output(error) => format!("{error}{left}"),
        ConvertError::Input(LineError::TooLong { .. }) => {
            format!("{from}: {error}; --max-line BYTES allows longer ones{left}")
        }
        ConvertError::Input(LineError::Read { source, .. }) if WindowTooLarge::is_in(source) => {
            let file = if is_stream(input) { String::new() } else { format!(" {from}") };
            let instead = format!("zstd -d --long=31 -c{file} | mngr-codex convert -");
            format!("{from}: {source}; decompress it first: {instead}{left}")
        }
        error => format!("{from}: {error}{left}"),
    }
}

fn is_stream(input: &Path) -> bool {
    input == Path::new("-")
}

fn name(input: &Path) -> String {
    if is_stream(input) { "standard input".to_owned() } else { shown(input) }
}
