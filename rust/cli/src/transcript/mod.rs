//! `mngr-codex transcript`: shows a transcript.

mod follow;
mod output;
mod records;
mod running;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgGroup, ValueEnum};
use mngr_codex_core::{
    Activity, Agent, BatchConverter, ByteOffset, ConvertError, CopyError, FileError, Input, Line, Lines, MalformedLine,
    NOT_AN_OBJECT, Options, PendingReader, Place, ReadError, Record, RecordKind, Resumption, Role, Selection,
    SessionHead, SessionMeta, Stream, StreamPosition, Tape, Target, TargetError, Text, Window, atif, escaped_path,
    locate, locate::Copied, rollout_of_transcript, spool,
};

use crate::convert::ONLY_EVENTS;
use crate::human::{Style, Zone};
use crate::live_output::size;
use crate::progress::Progress;
use crate::streams::{StandardInput, complain};
use crate::target::{self, Source, TargetArguments, Unresolved};
use output::Output;
use records::{RecordFormat, Records};
use running::{Announced, RunningCalls};

/// The exit status if this program cannot produce exactly the output of mngr, so that mngr has to (`EX_TEMPFAIL` of
/// sysexits.h, which nothing else here returns).
const LEFT_TO_MNGR: u8 = 75;

/// The name of standard input in messages.
const STANDARD_INPUT: &str = "standard input";

/// Show the transcript of a session: of an agent, a rollout or a transcript file
///
/// On a terminal, human-readable output goes through $PAGER (default: less).
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent option")]
#[command(after_help = EXAMPLES)]
#[command(group(ArgGroup::new("window").args(["head", "tail"])))]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: TargetArguments,

    /// Show only records of this role (repeatable)
    #[arg(long, value_enum, value_name = "ROLE", help_heading = "Selection")]
    role: Vec<RoleName>,

    /// Show only the first N records; the header counts as one, except in human-readable output
    #[arg(long, value_name = "N", help_heading = "Selection", allow_negative_numbers = true, value_parser = positive_number)]
    head: Option<u64>,

    /// Show only the last N records; with --follow, 0 shows only new ones
    #[arg(long, value_name = "N", help_heading = "Selection", allow_negative_numbers = true, value_parser = number)]
    tail: Option<u64>,

    /// Show everything in full, including context copied from earlier sessions
    #[arg(long, help_heading = "Output")]
    full: bool,

    /// Keep showing new records until Ctrl-C; waits if the file or the agent's transcript does not exist yet
    #[arg(long, short, help_heading = "Selection", conflicts_with = "head")]
    follow: bool,

    /// human: readable text; jsonl: one record per line; json: an array; atif: the session as one ATIF document
    #[arg(long, value_enum, default_value = "human", help_heading = "Output")]
    format: Format,

    /// Use colors in human-readable output; auto: if standard output is a terminal and `$NO_COLOR` is not set
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto", help_heading = "Output")]
    color: When,

    /// Show times in UTC instead of the local time zone
    #[arg(long, help_heading = "Output")]
    utc: bool,

    /// Don't use a pager
    #[arg(long, help_heading = "Output")]
    no_pager: bool,

    /// For a program that passes the output on over a connection that can break: mark where it can be continued
    ///
    /// Each part that can be shown as a whole is followed by a line with U+001E and, if records were shown completely, `=`
    /// and the id of the last of them. Without an id, none was.
    #[arg(long, hide = true, requires = "follow")]
    marks: bool,

    /// Continue after the record with this id, whatever --tail is; from the start if it is empty
    #[arg(long, hide = true, requires = "marks", value_name = "EVENT_ID")]
    after: Option<String>,

    /// The calls that were announced, as a mark names them after `~`: they are not announced again
    #[arg(long, hide = true, requires = "marks", value_name = "CALLS")]
    announced: Option<Announced>,

    /// Print json, jsonl and atif byte for byte as mngr 0.3 does; exits 75 if that is impossible here
    #[arg(long, hide = true)]
    as_mngr: bool,
}

/// Parses `--tail`.
fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "expected a number of records".to_owned())
}

/// Parses `--head`.
fn positive_number(text: &str) -> Result<u64, String> {
    number(text).ok().filter(|number| *number > 0).ok_or_else(|| "expected a number of records, at least 1".to_owned())
}

const EXAMPLES: &str = "\
Examples:
  mngr-codex transcript                              a session that you choose from a list
  mngr-codex transcript latest --cwd                 the latest session in this folder
  mngr-codex transcript fix-it                       the complete transcript of the agent fix-it
  mngr-codex transcript fix-it --tail 20 --follow    its last 20 records, then new ones
  mngr-codex transcript rollout.jsonl --role user    what the user wrote in a rollout
  mngr-codex transcript fix-it --format jsonl | jq .message";

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

/// Why a transcript cannot be shown, or not completely.
enum Failure {
    /// An error message for the user.
    Message(String),
    /// The output cannot be written.
    Output(io::Error),
    /// Only mngr can produce this output.
    LeftToMngr,
}

impl Failure {
    fn message(error: impl std::fmt::Display) -> Self {
        Self::Message(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::message(error)
    }
}

/// Runs the command. Exits 1 if the input is invalid or an I/O operation fails, and 2 if options contradict each other.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    if let Some(error) = arguments.contradiction() {
        complain(format!("{error}\nhint: run `mngr-codex transcript --help`"));
        return ExitCode::from(2);
    }
    let place = match arguments.place() {
        Ok(place) => place,
        Err(Unresolved::Usage(what)) => {
            complain(what);
            return ExitCode::from(2);
        }
        Err(Unresolved::Failed(what)) => {
            complain(what);
            return ExitCode::FAILURE;
        }
    };
    let is_human = arguments.format == Format::Human;
    let mut out = if is_human && !arguments.no_pager && !arguments.follow { Output::paged() } else { Output::Plain };
    let is_paged = matches!(out, Output::Pager(_));
    let mut notes = Notes::default();
    if let Some(note) = place.as_ref().and_then(target::note_earlier) {
        notes.add(|| note);
    }
    let session = Session::Unknown;
    let mut viewer = Viewer { arguments, notes: &mut notes, is_paged, has_only_events: false, session, is_busy: false };
    let shown = match &place {
        Some(place) => viewer.show(place.path(), &mut out),
        None => viewer.show_standard_input(&mut out),
    };
    let failure = shown.err();
    let failure = match failure {
        Some(Failure::LeftToMngr) => return ExitCode::from(LEFT_TO_MNGR),
        Some(Failure::Message(what)) => {
            out.finish();
            Some(what)
        }
        Some(Failure::Output(error)) => out.explain(&error),
        None => {
            out.finish();
            None
        }
    };
    notes.print();
    match failure {
        Some(failure) => {
            complain(failure);
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

impl Arguments {
    /// Finds what to show; `None` is standard input.
    fn place(&self) -> Result<Option<Place>, Unresolved> {
        if let Some(target) = self.target.given().filter(|target| self.follow && follow::is_expected(target)) {
            return Ok(Some(Place::Path(target.to_owned())));
        }
        match self.target.resolve("transcript")? {
            Source::Place(place) => Ok(Some(place)),
            Source::StandardInput if self.follow => {
                Err(Unresolved::Usage("--follow needs a file or an agent, not standard input".to_owned()))
            }
            Source::StandardInput => Ok(None),
        }
    }

    /// Returns an error message if options contradict each other.
    fn contradiction(&self) -> Option<&'static str> {
        if self.tail == Some(0) && !self.follow {
            return Some("--tail 0 needs --follow");
        }
        match self.format {
            Format::Atif if !self.role.is_empty() || self.head.is_some() || self.tail.is_some() => {
                Some("--format atif shows the complete session and cannot be combined with --role, --head or --tail")
            }
            Format::Atif | Format::Json if self.follow => {
                Some("--follow needs --format human or jsonl, because the other formats are one document")
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
        Selection { roles, window, has_header: self.format != Format::Human, skips_python_line_breaks: self.as_mngr }
    }

    /// Returns the selection for new records: the roles apply, the window does not.
    fn selection_of_new_records(&self) -> Selection {
        Selection { window: Window::All, ..self.selection() }
    }

    /// Returns whether calls without an output are shown, which are steps of the agent.
    fn shows_calls(&self) -> bool {
        self.selection().includes(RecordKind::Step(Some(Role::Agent)))
    }

    fn style(&self, is_paged: bool) -> Style {
        let color = match self.color {
            When::Always => true,
            When::Never => false,
            When::Auto => {
                let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
                let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
                // The convention of no-color.org.
                (is_paged || io::stdout().is_terminal()) && !is_set("NO_COLOR") && !is_dumb
            }
        };
        Style { color, full: self.full }
    }

    fn records(&self, is_paged: bool) -> Records {
        let zone = || if self.utc { Zone::UTC } else { Zone::local() };
        let mut records = Records::new(match (self.format, self.as_mngr) {
            (Format::Human, _) => RecordFormat::human(self.style(is_paged), zone()),
            (Format::Json, false) => RecordFormat::Element,
            (Format::Json, true) => RecordFormat::PythonElement,
            (_, false) => RecordFormat::Line,
            (_, true) => RecordFormat::PythonLine,
        });
        records.set_columns(size().columns);
        if !self.selection().includes(RecordKind::Observation) {
            // Nothing will explain a program.
            records.show_at_once();
        }
        records
    }

    /// Returns whether records of all roles are shown. If not, the output is an extract without lines about the session.
    fn has_all_roles(&self) -> bool {
        self.role.is_empty()
    }
}

/// Warnings about skipped lines, printed after the transcript.
#[derive(Default)]
struct Notes {
    warnings: Vec<String>,
    /// The number of further warnings.
    suppressed: u64,
}

impl Notes {
    /// The number of warnings that are printed in full.
    const LIMIT: usize = 5;

    fn add(&mut self, note: impl FnOnce() -> String) {
        if self.warnings.len() < Self::LIMIT { self.warnings.push(note()) } else { self.suppressed += 1 }
    }

    fn is_empty(&self) -> bool {
        self.warnings.is_empty() && self.suppressed == 0
    }

    /// Prints the warnings and forgets them.
    fn print(&mut self) {
        self.warnings.drain(..).for_each(complain);
        let suppressed = std::mem::take(&mut self.suppressed);
        if suppressed > 0 {
            complain(format!("{suppressed} more such lines"));
        }
    }
}

/// Shows one transcript according to the options.
struct Viewer<'a> {
    arguments: &'a Arguments,
    notes: &'a mut Notes,
    is_paged: bool,
    /// Whether a rollout was read that holds no messages, only events.
    has_only_events: bool,
    session: Session,
    /// Whether a call was shown that has no output yet, so what the session takes is not known.
    is_busy: bool,
}

/// What is known about the session that is shown.
enum Session {
    /// There is nothing that describes it.
    Unknown,
    /// It is described by this rollout, which has not been read. The folder is the agent's, if mngr names one.
    Unread(PathBuf, Option<PathBuf>),
    /// What its rollout says.
    Read(Box<SessionHead>),
}

impl Session {
    /// Returns the session of a target.
    fn of(target: &Target) -> Self {
        let (rollout, agent) = match target {
            Target::Rollout { path, agent } => (Some(path.clone()), agent),
            Target::Transcript { is_all: true, current, agent, .. } => (rollout_of_transcript(current), agent),
            Target::Transcript { agent, .. } => (None, agent),
        };
        rollout.map_or(Self::Unknown, |rollout| Self::Unread(rollout, agent.work_dir.clone()))
    }

    /// Reads the beginning of the rollout, unless that has been done.
    fn head(&mut self) -> Option<&SessionHead> {
        if let Self::Unread(path, work_dir) = self {
            let mut head = SessionHead::read(path).ok()?;
            if let Some(folder) = work_dir.take() {
                head.meta.set_folder(folder);
            }
            *self = Self::Read(Box::new(head));
        }
        match self {
            Self::Read(head) => Some(head),
            _ => None,
        }
    }
}

impl Viewer<'_> {
    /// Shows the transcript or rollout at a path.
    fn show(&mut self, path: &Path, out: &mut Output) -> Result<(), Failure> {
        if self.arguments.follow {
            follow::wait_for_target(path)?;
        }
        let found = locate::at(path).map_err(|error| not_found(&error))?;
        self.set_session(Session::of(&found));
        // Before the transcript is opened, so that the checkpoint is not newer.
        let mut pending = self.pending_reader(&found);
        if let Some(pending) = &mut pending {
            pending.prepare();
        }
        let source = match &found {
            Target::Transcript { files, is_all, current, agent } => {
                if files.is_empty() && !self.arguments.follow {
                    return Err(Failure::Message(format!(
                        "cannot read {}: the agent has not written a transcript yet\nhint: --follow waits for it",
                        escaped_path(current)
                    )));
                }
                let opened =
                    if *is_all { Stream::open_all(files, current) } else { Stream::open(files.iter().cloned()) };
                let stream = opened.map_err(Failure::message)?;
                OpenTranscript { stream, path: current, agent, is_rollout: false }
            }
            Target::Rollout { path, .. } if self.arguments.marks => {
                return Err(Failure::Message(format!("cannot mark the records of {}, a rollout", escaped_path(path))));
            }
            Target::Rollout { path, agent } if self.can_follow(path)? => {
                return follow::show_rollout(self, path, agent, out);
            }
            Target::Rollout { .. } if self.arguments.tail == Some(0) => return Ok(()),
            Target::Rollout { path, agent } if self.is_one_pass() => return self.show_rollout(path, agent, out),
            Target::Rollout { path, agent } => {
                OpenTranscript { stream: self.spooled(path, agent)?, path, agent, is_rollout: true }
            }
        };
        if self.arguments.follow && !source.is_rollout && self.arguments.format != Format::Atif {
            return follow::show(self, source.stream, source.path, pending, out);
        }
        self.show_open(source, pending, out)
    }

    /// Shows what standard input contains. It is copied first, because it is read several times.
    fn show_standard_input(&mut self, out: &mut Output) -> Result<(), Failure> {
        let path = Path::new(STANDARD_INPUT);
        match locate::copy(&mut StandardInput, path).map_err(|error| not_found(&error))? {
            Copied::Transcript(stream) => {
                let agent = &Agent::default();
                self.show_open(OpenTranscript { stream, path, agent, is_rollout: false }, None, out)
            }
            Copied::Rollout(rollout) => {
                let open = || rollout.open().map_err(|error| cannot_read(path, &error));
                let head = SessionHead::of_input(open()?).map_err(|error| cannot_read(path, &error))?;
                let agent = &Agent { id: head.meta.id.clone(), ..Agent::default() };
                self.set_session(Session::Read(Box::new(head)));
                let stream = self.spool(open()?, path, agent)?;
                self.show_open(OpenTranscript { stream, path, agent, is_rollout: true }, None, out)
            }
        }
    }

    /// Sets the session that a first line describes, if there is one.
    fn set_session(&mut self, session: Session) {
        if self.arguments.format == Format::Human && self.arguments.has_all_roles() {
            self.session = session;
        }
    }

    /// Shows an open transcript, and with `pending` the records that follow it.
    fn show_open(
        &mut self,
        source: OpenTranscript<'_>,
        mut pending: Option<PendingReader>,
        out: &mut Output,
    ) -> Result<(), Failure> {
        if self.arguments.format == Format::Atif {
            return self.show_document(&source, out);
        }
        let mut records = self.arguments.records(self.is_paged);
        let mut filter = Filter::new(self.arguments.selection());
        let is_shown = match &mut pending {
            None => self.show_stream(&source.stream, &mut filter, &mut records, out),
            Some(pending) => {
                // The record that is being appended is read from the raw transcript.
                let stream = source.stream.without_partial_line()?;
                self.show_stream(&stream, &mut filter, &mut records, out)
                    .and_then(|()| self.show_pending(pending, &stream, source.path, &mut filter, &mut records, out))
            }
        };
        self.note_empty(&filter);
        self.finish(is_shown, &mut records, out)
    }

    /// Returns the reader of the records that an agent's transcript does not have yet, if they are to be shown.
    fn pending_reader(&self, target: &Target) -> Option<PendingReader> {
        match target {
            Target::Transcript { is_all: true, current, .. }
                if self.arguments.format == Format::Human && self.arguments.head.is_none() =>
            {
                PendingReader::for_transcript(current)
            }
            _ => None,
        }
    }

    /// Shows the records that follow those of an agent's transcript, and the calls that have no output yet.
    fn show_pending(
        &mut self,
        reader: &mut PendingReader,
        stream: &Stream,
        path: &Path,
        filter: &mut Filter,
        records: &mut Records,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let end = stream.end();
        let shown = if stream.path(end.segment) == path { end.offset } else { ByteOffset(0) };
        // Before the records are read: a call that has no output when the agent has ended will never have one.
        let activity = reader.activity();
        let pending = reader.read(shown);
        self.show_batch(&pending.records, filter, records, out)?;
        if self.arguments.shows_calls() {
            let mut calls = RunningCalls::new(self.arguments.style(self.is_paged));
            calls.set_awaited(&pending.awaited_calls);
            calls.search(&pending.records);
            calls.search_backwards(stream);
            self.is_busy = activity != Activity::Ended && calls.found().next().is_some();
            records.open_calls(calls.found(), activity, Some(running::now()));
        }
        Ok(())
    }

    /// Returns whether to follow a rollout. A compressed rollout is complete, so it is only shown.
    fn can_follow(&self, path: &Path) -> Result<bool, Failure> {
        if !self.arguments.follow {
            return Ok(false);
        }
        let is_compressed = Input::open(path).map_err(|error| cannot_read(path, &error))?.is_compressed();
        if is_compressed {
            complain(format!("{} is compressed and no longer grows; not following it", escaped_path(path)));
        }
        Ok(!is_compressed)
    }

    /// Returns whether a rollout's records can be shown during its conversion. `--tail` needs the end first, and a document
    /// needs two passes.
    fn is_one_pass(&self) -> bool {
        self.arguments.format != Format::Atif && self.arguments.tail.is_none()
    }

    /// Shows the selected records of a stream.
    fn show_stream(
        &mut self,
        stream: &Stream,
        filter: &mut Filter,
        records: &mut Records,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let selection = &filter.selection;
        let start = selection.tail_start(stream)?.unwrap_or(StreamPosition::START);
        let is_copy = self.arguments.format == Format::Jsonl
            && !self.arguments.as_mngr
            && selection.roles.is_empty()
            && selection.window == Window::All;
        if is_copy {
            return stream.copy(start, out).map_err(|error| match error {
                CopyError::Read(error) => Failure::message(error),
                CopyError::Write(error) => Failure::Output(error),
            });
        }
        let mut lines = stream.lines_from(start);
        let mut tape = Tape::default();
        while !filter.is_enough() {
            let Some(line) = lines.next_line()? else { break };
            self.show_line(stream, line, &mut tape, filter, records, out)?;
        }
        Ok(())
    }

    /// Shows a line of a stream if it is selected.
    fn show_line(
        &mut self,
        stream: &Stream,
        line: Line<'_>,
        tape: &mut Tape,
        filter: &mut Filter,
        records: &mut Records,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let path = stream.path(line.position.segment);
        if self.arguments.as_mngr && mngr_codex_core::has_line_break(line.text.bytes()) {
            // mngr splits lines at these characters too (Python's `str.splitlines`) and finds no record in the parts.
            self.notes.add(|| {
                format!(
                    "{}: the line at byte {} is several lines for mngr; skipped",
                    escaped_path(path),
                    line.position.offset
                )
            });
            return Ok(());
        }
        self.show_text(line.text, tape, filter, records, out).or_else(|skipped| match skipped {
            Skipped::Failure(failure) => Err(failure),
            Skipped::Malformed { .. } if line.is_partial => Ok(()),
            Skipped::Malformed { reason, at } => {
                self.note_malformed(path, line.position.offset, reason, at);
                Ok(())
            }
            Skipped::Retired => Err(retired(path, line.position.offset)),
            Skipped::NoObject => Err(Failure::Message(format!(
                "cannot show {}: the line at byte {} is not a JSON object, so mngr does not read this transcript",
                escaped_path(path),
                line.position.offset
            ))),
        })
    }

    /// Continues the output of another process that has shown the records before `resumption`.
    fn skip_shown(&mut self, stream: &Stream, resumption: Resumption, records: &mut Records) -> Result<(), Failure> {
        self.session = Session::Unknown;
        let mut lines = stream.lines_from(resumption.context);
        let (mut tape, mut filter) = (Tape::default(), Filter::new(self.arguments.selection_of_new_records()));
        while let Some(line) = lines.next_line()?.filter(|line| line.position < resumption.next) {
            // Damaged lines were reported.
            if let Err(Skipped::Failure(failure)) =
                self.show_text(line.text, &mut tape, &mut filter, records, &mut io::sink())
            {
                return Err(failure);
            }
        }
        // What is held back here was shown.
        records.finish(&mut io::sink())?;
        Ok(())
    }

    /// Shows a record if it is selected.
    fn show_text(
        &mut self,
        text: Text<'_>,
        tape: &mut Tape,
        filter: &mut Filter,
        records: &mut Records,
        out: &mut dyn Write,
    ) -> Result<(), Skipped> {
        if text.bytes().trim_ascii().is_empty() {
            return Ok(());
        }
        let kind = match Record::read(text, tape) {
            Ok(record) => record.kind(),
            Err(malformed) => {
                let is_other_json = || serde_json::from_slice::<serde::de::IgnoredAny>(text.bytes()).is_ok();
                if self.arguments.as_mngr && malformed.reason == NOT_AN_OBJECT && is_other_json() {
                    return Err(Skipped::NoObject);
                }
                return Err(Skipped::Malformed { reason: malformed.reason, at: malformed.at });
            }
        };
        if kind == RecordKind::Retired {
            return Err(Skipped::Retired);
        }
        if filter.takes(kind) {
            if records.is_at_start()
                && let Some(head) = self.session.head()
            {
                records.session(head);
            }
            records.push(text, out).map_err(|error| Skipped::Failure(Failure::Output(error)))?;
        }
        Ok(())
    }

    /// Shows the session as one ATIF document.
    fn show_document(&mut self, source: &OpenTranscript<'_>, out: &mut Output) -> Result<(), Failure> {
        let form = if self.arguments.as_mngr { atif::Layout::AsMngr } else { atif::Layout::Compact };
        let explain = |error| match error {
            atif::AtifError::Write(error) => Failure::Output(error),
            _ if self.arguments.as_mngr => Failure::LeftToMngr,
            error => Failure::message(error),
        };
        let index = atif::check(&source.stream, form).map_err(explain)?;
        let built = atif::write(&source.stream, &index, &source.about(), form, out).map_err(explain)?;
        for warning in built.warnings {
            self.notes.add(|| warning);
        }
        self.notes.suppressed += built.omitted_warnings;
        Ok(())
    }

    /// Converts a rollout completely and returns the stream of its transcript.
    fn spooled(&mut self, path: &Path, agent: &Agent) -> Result<Stream, Failure> {
        self.spool(Input::open(path).map_err(|error| cannot_read(path, &error))?, path, agent)
    }

    fn spool(&mut self, input: Input, path: &Path, agent: &Agent) -> Result<Stream, Failure> {
        let mut progress = Progress::of(&input);
        let spooled = spool(input, path, &options(agent), &mut |bytes| progress.update(bytes));
        progress.end();
        let (stream, mut summary) = spooled.map_err(|error| cannot_convert(path, &error))?;
        self.note_malformed_lines(path, summary.take_malformed());
        self.note_only_events(path, summary.has_only_events());
        Ok(stream)
    }

    /// Shows a rollout's records during its conversion.
    fn show_rollout(&mut self, path: &Path, agent: &Agent, out: &mut Output) -> Result<(), Failure> {
        let input = Input::open(path).map_err(|error| cannot_read(path, &error))?;
        let mut converted = BatchConverter::new(input, &options(agent));
        let mut records = self.arguments.records(self.is_paged);
        let mut filter = Filter::new(self.arguments.selection());
        let mut show_all = || {
            while !filter.is_enough() {
                let batch = converted.next_batch().map_err(|error| cannot_convert(path, &error))?;
                let Some(batch) = batch else { break };
                self.show_batch(&batch, &mut filter, &mut records, out)?;
            }
            Ok(())
        };
        let is_shown = show_all();
        self.note_only_events(path, converted.has_only_events());
        self.note_empty(&filter);
        self.note_malformed_lines(path, converted.take_malformed());
        self.finish(is_shown, &mut records, out)
    }

    /// Shows the selected records of a batch.
    fn show_batch(
        &mut self,
        batch: &[u8],
        filter: &mut Filter,
        records: &mut Records,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let mut lines = Lines::new(batch, usize::MAX);
        let mut tape = Tape::default();
        while let Some(line) = lines.next_line().map_err(Failure::message)? {
            match self.show_text(line.text, &mut tape, filter, records, out) {
                Err(Skipped::Failure(failure)) => return Err(failure),
                // The converter writes neither malformed lines nor retired records.
                _ if filter.is_enough() => break,
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes the end of the output, or after an error the records that were read before it.
    fn finish(&self, is_shown: Result<(), Failure>, records: &mut Records, out: &mut Output) -> Result<(), Failure> {
        match is_shown {
            Ok(()) => {
                let is_whole = self.arguments.has_all_roles() && self.arguments.selection().window == Window::All;
                if is_whole && !self.is_busy {
                    records.totals();
                }
                Ok(records.finish(out)?)
            }
            Err(failure @ Failure::Message(_)) => {
                records.write(out)?;
                Err(failure)
            }
            Err(failure) => Err(failure),
        }
    }

    fn note_malformed(&mut self, path: &Path, offset: ByteOffset, reason: &'static str, at: usize) {
        self.note_malformed_line(path, &MalformedLine { offset, at: at as u64, reason, has_records: false });
    }

    fn note_malformed_line(&mut self, path: &Path, line: &MalformedLine) {
        self.notes.add(|| format!("{}: {line}", escaped_path(path)));
    }

    fn note_malformed_lines(&mut self, path: &Path, (lines, suppressed): (Vec<MalformedLine>, u64)) {
        for line in lines {
            self.note_malformed_line(path, &line);
        }
        self.notes.suppressed += suppressed;
    }

    fn note_only_events(&mut self, path: &Path, has_only_events: bool) {
        self.has_only_events = has_only_events;
        if has_only_events {
            self.notes.add(|| format!("{}: {ONLY_EVENTS}", escaped_path(path)));
        }
    }

    /// Explains an empty output: it could look like a failure, and a role that matches nothing is usually a mistake.
    fn note_empty(&mut self, filter: &Filter) {
        let is_human = self.arguments.format == Format::Human;
        if is_human && filter.taken == 0 && self.arguments.role.is_empty() && !self.has_only_events {
            let note = match self.session.head().map(|head| &head.meta) {
                Some(SessionMeta { id: Some(id), cwd: Some(cwd), .. }) => {
                    format!("session {id} in {} has no messages yet", escaped_path(cwd))
                }
                _ => "this session has no messages yet".to_owned(),
            };
            self.notes.add(|| note);
        }
        if filter.seen > 0 && filter.taken == 0 && !self.arguments.role.is_empty() {
            let names: Vec<_> = self.arguments.role.iter().map(|role| Role::from(*role).name()).collect();
            self.notes.add(|| format!("no record has the role {}", names.join(" or ")));
        }
    }
}

/// Why a line is not shown.
enum Skipped {
    Malformed { reason: &'static str, at: usize },
    NoObject,
    Retired,
    Failure(Failure),
}

/// The transcript to show.
struct OpenTranscript<'a> {
    stream: Stream,
    /// The file to which new records are appended.
    path: &'a Path,
    agent: &'a Agent,
    is_rollout: bool,
}

impl OpenTranscript<'_> {
    /// Describes the agent for a document: from mngr's data if it is an agent of mngr, else from the file name.
    fn about(&self) -> atif::TrajectoryInfo {
        let stem = || self.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let id = self.agent.id.clone().unwrap_or_else(stem);
        let unknown = if self.is_rollout { "codex" } else { "unknown" };
        let agent_name = self.agent.kind.clone().unwrap_or_else(|| unknown.to_owned());
        atif::TrajectoryInfo { agent_name, session_id: id.clone(), trajectory_id: id }
    }
}

/// Selects records and counts them.
struct Filter {
    selection: Selection,
    seen: u64,
    taken: u64,
}

impl Filter {
    fn new(selection: Selection) -> Self {
        Self { selection, seen: 0, taken: 0 }
    }

    /// Returns whether to show the next record, which is of this kind.
    fn takes(&mut self, kind: RecordKind) -> bool {
        self.seen += 1;
        let takes = !self.is_enough() && self.selection.includes(kind);
        self.taken += u64::from(takes);
        takes
    }

    fn is_enough(&self) -> bool {
        matches!(self.selection.window, Window::Head(limit) if self.taken >= limit)
    }
}

fn options(agent: &Agent) -> Options {
    Options { agent_id: agent.id.clone().unwrap_or_default(), ..Options::default() }
}

/// Returns the failure for a target without a transcript, with a hint if there is a way out.
fn not_found(error: &TargetError) -> Failure {
    let hint = match error {
        TargetError::NoTranscript(_) => {
            "\nhint: pass a rollout, a transcript, an agent's state directory or an agent's name"
        }
        TargetError::SeveralTranscripts { .. } => "\nhint: pass one of them",
        TargetError::Compressed(_) => "\nhint: decompress it with `zstd -d`",
        TargetError::NotRegular(_) => "\nhint: pass `-` to read it from standard input",
        TargetError::File(FileError { path, source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Failure::Message(format!(
                "cannot read {}: no such file\nhint: Codex keeps its rollouts under ~/.codex/sessions; `mngr-codex transcript \
                 latest` shows the latest one",
                escaped_path(path)
            ));
        }
        TargetError::Unrecognized { path, kind } => {
            let hint = kind.hint(file_name(path).as_deref());
            return Failure::Message(format!("{error}\nhint: {hint}"));
        }
        TargetError::File(_) => "",
    };
    Failure::Message(format!("{error}{hint}"))
}

/// Returns the name of a file for a hint. Standard input has none.
fn file_name(path: &Path) -> Option<String> {
    (path != Path::new(STANDARD_INPUT)).then(|| escaped_path(path))
}

fn cannot_read(path: &Path, error: &io::Error) -> Failure {
    Failure::Message(format!("cannot read {}: {error}", escaped_path(path)))
}

fn cannot_convert(path: &Path, error: &ConvertError) -> Failure {
    let hint = match error {
        ConvertError::Output(_) => "\nhint: choose another folder with TMPDIR=FOLDER".to_owned(),
        ConvertError::NotARollout(kind) => format!("\nhint: {}", kind.hint(file_name(path).as_deref())),
        _ => String::new(),
    };
    Failure::Message(format!("cannot convert {}: {error}{hint}", escaped_path(path)))
}

fn retired(path: &Path, offset: ByteOffset) -> Failure {
    Failure::Message(format!(
        "cannot show {}: the record at byte {offset} has the format that mngr used before ATIF, which is not supported\n\
         hint: the raw transcript is under logs/ in the agent's state directory",
        escaped_path(path)
    ))
}
