//! `mngr-codex transcript`: a transcript for people and programs.

mod follow;
mod output;
mod records;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::human::Style;
use clap::{ArgGroup, ValueEnum};
use mngr_codex_core::convert::one_shot::LineByLine;
use mngr_codex_core::convert::{ConvertError, MalformedLine, Options};
use mngr_codex_core::json::{NO_OBJECT, Tape, Text};
use mngr_codex_core::rollout::ByteOffset;
use mngr_codex_core::rollout::input::Input;
use mngr_codex_core::rollout::lines::Lines;
use mngr_codex_core::transcript::atif::{self, About};
use mngr_codex_core::transcript::locate::{self, Agent, Target, shown};
use mngr_codex_core::transcript::record::RecordKind;
use mngr_codex_core::transcript::spool::spool;
use mngr_codex_core::transcript::stream::{CopyError, Line, Place, ReadError};
use mngr_codex_core::transcript::{Record, Role, Selection, Stream, Window};

use crate::progress::Progress;
use crate::streams::complain;
use output::Output;
use records::{Form, Records};

/// The status where the document cannot be made as mngr makes it (`EX_TEMPFAIL` of sysexits.h; nothing else gives it).
const LEFT_TO_MNGR: u8 = 75;

/// Show a transcript: of an agent, of a rollout, or a common transcript itself
///
/// For people it goes through a pager ($PAGER, else less) where standard output is a terminal.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
#[command(group(ArgGroup::new("window").args(["head", "tail"])))]
pub struct Arguments {
    /// A rollout (.jsonl or .jsonl.zst), a common transcript, an agent's state dir or a copy of one, or an agent's name or
    /// id on this machine
    target: PathBuf,

    /// Only records of this role; can be given several times
    #[arg(long, value_enum, value_name = "ROLE")]
    role: Vec<RoleName>,

    /// Only the first N records (of those roles); the header is one, but for people
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    head: Option<u64>,

    /// Only the last N records (of those roles); with --follow 0 shows new ones only
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    tail: Option<u64>,

    /// Shorten nothing, and show copied context (for people)
    #[arg(long)]
    full: bool,

    /// Go on with new records as they come, until Ctrl-C; waits for a file or an agent's transcript that is not there yet
    #[arg(long, short, conflicts_with = "head")]
    follow: bool,

    /// For people (human), one record a line (jsonl), an array (json), or the whole session as one ATIF document (atif)
    #[arg(long, value_enum, default_value = "human")]
    format: Format,

    /// Colours and other marks for people; auto: if standard output is a terminal, and `$NO_COLOR` is not set
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    color: When,

    /// Write for people straight to the terminal
    #[arg(long)]
    no_pager: bool,

    /// Json, jsonl and atif byte for byte as mngr 0.3 prints them; ends with 75 where that cannot be done here
    #[arg(long, hide = true)]
    as_mngr: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
    Jsonl,
    Atif,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleName {
    User,
    Agent,
    System,
    Tool,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::User => Self::User,
            RoleName::Agent => Self::Agent,
            RoleName::System => Self::System,
            RoleName::Tool => Self::Tool,
        }
    }
}

/// Why a transcript is not shown, or not to its end.
enum Failure {
    /// What the user is to be told.
    Said(String),
    /// The output cannot be written.
    Output(io::Error),
    /// mngr is to do it.
    LeftToMngr,
}

impl Failure {
    fn said(what: impl std::fmt::Display) -> Self {
        Self::Said(what.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::said(error)
    }
}

/// Runs the command; gives 0, 1 where the input or the system failed, 2 for what does not go together.
pub fn run(arguments: &Arguments) -> ExitCode {
    if let Some(why) = arguments.contradiction() {
        complain(format!("{why}; see mngr-codex transcript --help"));
        return ExitCode::from(2);
    }
    let is_for_people = arguments.format == Format::Human;
    let mut out =
        if is_for_people && !arguments.no_pager && !arguments.follow { Output::for_people() } else { Output::Plain };
    let is_paged = matches!(out, Output::Pager(_));
    let mut notes = Notes::default();
    let failure = Shown { arguments, notes: &mut notes, is_paged }.show(&mut out).err();
    let failure = match failure {
        Some(Failure::LeftToMngr) => return ExitCode::from(LEFT_TO_MNGR),
        Some(Failure::Said(what)) => {
            out.finish();
            Some(what)
        }
        Some(Failure::Output(error)) => out.explain(&error),
        None => {
            out.finish();
            None
        }
    };
    notes.tell();
    match failure {
        Some(failure) => {
            complain(failure);
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

impl Arguments {
    /// What does not go together, if anything.
    fn contradiction(&self) -> Option<&'static str> {
        if self.tail == Some(0) && !self.follow {
            return Some("--tail 0 shows nothing; it goes with --follow");
        }
        match self.format {
            Format::Atif if !self.role.is_empty() || self.head.is_some() || self.tail.is_some() => {
                Some("an ATIF document is the whole session: --role, --head and --tail do not go with --format atif")
            }
            Format::Atif | Format::Json if self.follow => {
                Some("--follow goes with --format human and jsonl: the others end with the transcript")
            }
            _ => None,
        }
    }

    fn selection(&self) -> Selection {
        let window = match (self.head, self.tail) {
            (Some(head), _) => Window::Head(head),
            (_, Some(tail)) => Window::Tail(tail),
            _ => Window::All,
        };
        let roles = self.role.iter().copied().map(Role::from).collect();
        Selection { roles, window, has_header: self.format != Format::Human, is_python: self.as_mngr }
    }

    fn style(&self, is_paged: bool) -> Style {
        let colour = match self.color {
            When::Always => true,
            When::Never => false,
            When::Auto => {
                let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
                let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
                // The convention of no-color.org.
                (is_paged || io::stdout().is_terminal()) && !is_set("NO_COLOR") && !is_dumb
            }
        };
        Style { colour, full: self.full }
    }

    fn records(&self, is_paged: bool) -> Records {
        Records::new(match (self.format, self.as_mngr) {
            (Format::Human, _) => Form::human(self.style(is_paged)),
            (Format::Json, false) => Form::Element,
            (Format::Json, true) => Form::PythonElement,
            (_, false) => Form::Line,
            (_, true) => Form::PythonLine,
        })
    }
}

/// What is to be said when all is shown: what was passed over.
#[derive(Default)]
struct Notes {
    said: Vec<String>,
    untold: u64,
}

impl Notes {
    /// As many as are said one by one.
    const MOST: usize = 5;

    fn add(&mut self, note: impl FnOnce() -> String) {
        if self.said.len() < Self::MOST { self.said.push(note()) } else { self.untold += 1 }
    }

    /// Says them, each once.
    fn tell(&mut self) {
        self.said.drain(..).for_each(complain);
        let untold = std::mem::take(&mut self.untold);
        if untold > 0 {
            complain(format!("{untold} more such lines"));
        }
    }
}

/// A transcript that is being shown.
struct Shown<'a> {
    arguments: &'a Arguments,
    notes: &'a mut Notes,
    is_paged: bool,
}

impl Shown<'_> {
    fn show(&mut self, out: &mut Output) -> Result<(), Failure> {
        if self.arguments.follow {
            follow::wait_for_begin(&self.arguments.target)?;
        }
        let found = locate::find(&self.arguments.target).map_err(Failure::said)?;
        let source = match &found {
            Target::Transcript { files, is_all, current, agent } => {
                if files.is_empty() && !self.arguments.follow {
                    let advice = "the agent has not written one yet; --follow waits for it";
                    return Err(Failure::Said(format!("there is no transcript {}: {advice}", shown(current))));
                }
                let opened =
                    if *is_all { Stream::open_all(files, current) } else { Stream::open(files.iter().cloned()) };
                let stream = opened.map_err(|(path, error)| cannot_read(&path, &error))?;
                Source { stream, path: current, agent, rollout: false }
            }
            Target::Rollout { path, agent } if self.can_follow(path)? => {
                return follow::show_rollout(self, path, agent, out);
            }
            Target::Rollout { .. } if self.arguments.tail == Some(0) => return Ok(()),
            Target::Rollout { path, agent } if self.is_one_pass() => return self.show_rollout(path, agent, out),
            Target::Rollout { path, agent } => {
                Source { stream: self.spooled(path, agent)?, path, agent, rollout: true }
            }
        };
        if self.arguments.format == Format::Atif {
            return self.show_document(&source, out);
        }
        if self.arguments.follow && !source.rollout {
            return follow::show(self, source.stream, source.path, out);
        }
        let mut records = self.arguments.records(self.is_paged);
        let is_shown = self.show_stream(&source.stream, &mut records, out);
        finish(is_shown, &mut records, out)
    }

    /// Whether a rollout is to be followed.
    fn can_follow(&self, path: &Path) -> Result<bool, Failure> {
        if !self.arguments.follow {
            return Ok(false);
        }
        let is_compressed = Input::open(path).map_err(|error| cannot_read(path, &error))?.is_compressed();
        if is_compressed {
            complain(format!("{} is compressed, so nothing more comes to it; it is not followed", shown(path)));
        }
        Ok(!is_compressed)
    }

    /// Whether a rollout's records can be shown as they are made. The last ones are known only at its end, and a document
    /// needs two looks.
    fn is_one_pass(&self) -> bool {
        self.arguments.format != Format::Atif && self.arguments.tail.is_none()
    }

    /// Shows the records of a stream that are wanted.
    fn show_stream(&mut self, stream: &Stream, records: &mut Records, out: &mut Output) -> Result<(), Failure> {
        let selection = self.arguments.selection();
        let start = selection.start_of_tail(stream)?.unwrap_or(Place::START);
        let is_copy = self.arguments.format == Format::Jsonl
            && !self.arguments.as_mngr
            && selection.roles.is_empty()
            && selection.window == Window::All;
        if is_copy {
            return stream.copy(start, out).map_err(|error| match error {
                CopyError::Read(error) => Failure::said(error),
                CopyError::Write(error) => Failure::Output(error),
            });
        }
        let mut counted = Counted::new(selection);
        let mut lines = stream.lines_from(start);
        let mut tape = Tape::default();
        while !counted.is_enough() {
            let Some(line) = lines.next_line()? else { break };
            self.show_line(stream, line, &mut tape, &mut counted, records, out)?;
        }
        self.note_nothing(&counted);
        Ok(())
    }

    /// Shows a line of a stream if it is wanted.
    fn show_line(
        &mut self,
        stream: &Stream,
        line: Line<'_>,
        tape: &mut Tape,
        counted: &mut Counted,
        records: &mut Records,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let path = stream.path(line.place.segment);
        if self.arguments.as_mngr && mngr_codex_core::json::string::has_line_end(line.text.bytes()) {
            // mngr ends lines there too (Python's `str.splitlines`), and finds no record in the pieces.
            self.notes
                .add(|| format!("{}: byte {}: a line that mngr takes for several", shown(path), line.place.offset));
            return Ok(());
        }
        self.show_text(line.text, tape, counted, records, out).or_else(|passed_over| match passed_over {
            PassedOver::Failure(failure) => Err(failure),
            PassedOver::Malformed { .. } if line.is_torn => Ok(()),
            PassedOver::Malformed { why, at } => {
                self.note_malformed(path, line.place.offset, why, at);
                Ok(())
            }
            PassedOver::Retired => Err(retired(path, line.place.offset)),
            PassedOver::NoObject => Err(Failure::Said(format!(
                "{}: the line at byte {} is no JSON object; mngr does not read such a transcript",
                shown(path),
                line.place.offset
            ))),
        })
    }

    /// Shows a record if it is wanted.
    fn show_text(
        &mut self,
        text: Text<'_>,
        tape: &mut Tape,
        counted: &mut Counted,
        records: &mut Records,
        out: &mut Output,
    ) -> Result<(), PassedOver> {
        if text.bytes().trim_ascii().is_empty() {
            return Ok(());
        }
        let kind = match Record::read(text, tape) {
            Ok(record) => record.kind(),
            Err(malformed) => {
                let is_other_json = || serde_json::from_slice::<serde::de::IgnoredAny>(text.bytes()).is_ok();
                if self.arguments.as_mngr && malformed.why == NO_OBJECT && is_other_json() {
                    return Err(PassedOver::NoObject);
                }
                return Err(PassedOver::Malformed { why: malformed.why, at: malformed.at });
            }
        };
        if kind == RecordKind::Retired {
            return Err(PassedOver::Retired);
        }
        if counted.takes(kind) {
            records.push(text, out).map_err(|error| PassedOver::Failure(Failure::Output(error)))?;
        }
        Ok(())
    }

    /// Shows the whole session as one document.
    fn show_document(&mut self, source: &Source<'_>, out: &mut Output) -> Result<(), Failure> {
        let form = if self.arguments.as_mngr { atif::Form::AsMngr } else { atif::Form::Compact };
        let explain = |error| match error {
            atif::AtifError::Write(error) => Failure::Output(error),
            _ if self.arguments.as_mngr => Failure::LeftToMngr,
            error => Failure::said(error),
        };
        let index = atif::check(&source.stream, form).map_err(explain)?;
        let built = atif::write(&source.stream, &index, &source.about(), form, out).map_err(explain)?;
        for warning in built.warnings {
            self.notes.add(|| warning);
        }
        self.notes.untold += built.untold_warnings;
        Ok(())
    }

    /// A rollout's whole transcript.
    fn spooled(&mut self, path: &Path, agent: &Agent) -> Result<Stream, Failure> {
        let input = Input::open(path).map_err(|error| cannot_read(path, &error))?;
        let mut progress = Progress::of(&input);
        let spooled = spool(input, path, &options(agent), &mut |bytes| progress.tell(bytes));
        progress.end();
        let (stream, mut summary) = spooled.map_err(|error| cannot_convert(path, &error))?;
        self.note_malformed_lines(path, summary.take_malformed());
        Ok(stream)
    }

    /// Shows a rollout's records as they are made.
    fn show_rollout(&mut self, path: &Path, agent: &Agent, out: &mut Output) -> Result<(), Failure> {
        let input = Input::open(path).map_err(|error| cannot_read(path, &error))?;
        let mut converted = LineByLine::new(input, &options(agent));
        let mut records = self.arguments.records(self.is_paged);
        let mut counted = Counted::new(self.arguments.selection());
        let mut show_all = || {
            while !counted.is_enough() {
                let batch = converted.next_batch().map_err(|error| cannot_convert(path, &error))?;
                let Some(batch) = batch else { break };
                self.show_batch(&batch, &mut counted, &mut records, out)?;
            }
            Ok(())
        };
        let is_shown = show_all();
        self.note_nothing(&counted);
        self.note_malformed_lines(path, converted.take_malformed());
        finish(is_shown, &mut records, out)
    }

    /// Shows those of some records that are wanted.
    fn show_batch(
        &mut self,
        batch: &[u8],
        counted: &mut Counted,
        records: &mut Records,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let mut lines = Lines::new(batch, usize::MAX);
        let mut tape = Tape::default();
        while let Some(line) = lines.next_line().map_err(Failure::said)? {
            match self.show_text(line.text, &mut tape, counted, records, out) {
                Err(PassedOver::Failure(failure)) => return Err(failure),
                // The converter writes none of the others.
                _ if counted.is_enough() => break,
                _ => {}
            }
        }
        Ok(())
    }

    fn note_malformed(&mut self, path: &Path, offset: ByteOffset, why: &str, at: usize) {
        self.notes.add(|| {
            let why = if why == NO_OBJECT { String::new() } else { format!(": {why}") };
            let what = format!("the line at byte {offset} is not a JSON object{why} (byte {at} of the line)");
            format!("{}: {what}; left out", shown(path))
        });
    }

    fn note_malformed_lines(&mut self, path: &Path, (lines, untold): (Vec<MalformedLine>, u64)) {
        for line in lines {
            self.note_malformed(path, line.offset, line.why, line.at);
        }
        self.notes.untold += untold;
    }

    /// Nothing on a screen could be a failure, and a filter that nothing passes is most often a mistake.
    fn note_nothing(&mut self, counted: &Counted) {
        if self.arguments.format == Format::Human && counted.taken == 0 && self.arguments.role.is_empty() {
            self.notes.add(|| "nothing was said yet".to_owned());
        }
        if counted.seen > 0 && counted.taken == 0 && !self.arguments.role.is_empty() {
            let names: Vec<_> = self.arguments.role.iter().map(|role| Role::from(*role).name()).collect();
            self.notes.add(|| format!("no record is of role {}", names.join(" or ")));
        }
    }
}

/// Why a line is not shown.
enum PassedOver {
    Malformed { why: &'static str, at: usize },
    NoObject,
    Retired,
    Failure(Failure),
}

/// What is shown.
struct Source<'a> {
    stream: Stream,
    /// The file that it grows in.
    path: &'a Path,
    agent: &'a Agent,
    rollout: bool,
}

impl Source<'_> {
    /// What a document says of the agent. mngr knows its own agents; of others their file tells.
    fn about(&self) -> About {
        let stem = || self.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let id = self.agent.id.clone().unwrap_or_else(stem);
        let unknown = if self.rollout { "codex" } else { "unknown" };
        let agent_name = self.agent.kind.clone().unwrap_or_else(|| unknown.to_owned());
        About { agent_name, session_id: id.clone(), trajectory_id: id }
    }
}

/// The wanted records, counted.
struct Counted {
    selection: Selection,
    seen: u64,
    taken: u64,
}

impl Counted {
    fn new(selection: Selection) -> Self {
        Self { selection, seen: 0, taken: 0 }
    }

    /// Whether the next record is wanted, which is of this kind.
    fn takes(&mut self, kind: RecordKind) -> bool {
        self.seen += 1;
        let takes = !self.is_enough() && self.selection.takes(kind);
        self.taken += u64::from(takes);
        takes
    }

    fn is_enough(&self) -> bool {
        matches!(self.selection.window, Window::Head(wanted) if self.taken >= wanted)
    }
}

/// Writes what closes the records; where they end with an error, those that were made.
fn finish(is_shown: Result<(), Failure>, records: &mut Records, out: &mut Output) -> Result<(), Failure> {
    match is_shown {
        Ok(()) => Ok(records.finish(out)?),
        Err(failure @ Failure::Said(_)) => {
            records.write(out)?;
            Err(failure)
        }
        Err(failure) => Err(failure),
    }
}

fn options(agent: &Agent) -> Options {
    Options { agent_id: agent.id.clone().unwrap_or_default(), ..Options::default() }
}

fn cannot_read(path: &Path, error: &io::Error) -> Failure {
    Failure::Said(format!("cannot read {}: {error}", shown(path)))
}

fn cannot_convert(path: &Path, error: &ConvertError) -> Failure {
    Failure::Said(format!("{}: {error}", shown(path)))
}

fn retired(path: &Path, offset: ByteOffset) -> Failure {
    let advice = "the agent was made with an mngr before 0.3; its raw transcript is under logs/ in its state dir";
    Failure::Said(format!("{}: the record at byte {offset} is of a form that is no longer read: {advice}", shown(path)))
}
