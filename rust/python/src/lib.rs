//! The Python module `mngr_codex._core`: maps types and errors of the core, and contains no logic.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mngr_codex_core::{
    AtomicFile, BatchConverter, ConvertError, End, FileError, FollowError, Input, LOCK_TIMEOUT, LastRecordsError,
    LineError, LockError, MarkerError, Options, OutputError, PassSummary, ReadError, Report, Screen as CodexScreen,
    Start, StartWatch as CodexStartWatch, StateDir, StoreError, Summary, TargetError, Turn, WatchError, Watcher,
    WindowTooLarge, convert as convert_input, last_records as read_last_records, marker, temporary_folder,
};
use pyo3::exceptions::{PyOSError, PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

/// The counts of a conversion. Compares equal if all counts are equal.
#[pyclass(frozen, eq, module = "mngr_codex")]
#[derive(PartialEq)]
struct ConversionSummary {
    summary: Summary,
}

#[pymethods]
impl ConversionSummary {
    /// Complete lines read, including blank lines.
    #[getter]
    fn lines(&self) -> u64 {
        self.summary.lines
    }

    /// Records written, including the header.
    #[getter]
    fn records(&self) -> u64 {
        self.summary.records
    }

    /// Damaged lines: those that are not exactly one JSON object. Whole records in them are converted.
    #[getter]
    fn malformed(&self) -> u64 {
        self.summary.malformed
    }

    /// The offset and the length, in bytes, of an unfinished line at the end; None if there is none.
    #[getter]
    fn partial_line(&self) -> Option<(u64, u64)> {
        self.summary.partial_line.map(|(offset, length)| (offset.0, length))
    }

    /// The number of lines that produce no record, by kind: ``{"event_msg/task_started": 2}``.
    #[getter]
    fn skipped<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = PyDict::new(py);
        for (kind, count) in &self.summary.skipped {
            counts.set_item(kind, count)?;
        }
        Ok(counts)
    }

    fn __repr__(&self) -> String {
        format!("<ConversionSummary: {}>", self.summary)
    }
}

/// Convert a Codex rollout to mngr's common transcript (ATIF v1.7, one record per line).
///
/// Creates or replaces ``output`` atomically, once the transcript is complete. Releases the GIL; Ctrl-C works.
///
/// Args:
///     source: The rollout, ``.jsonl`` or ``.jsonl.zst`` (detected by content).
///     output: The path of the transcript.
///     `agent_id`: The agent's id, from which the header's id is derived.
///     partial: Whether the rollout may still grow. If so, the last step is held back until its token counts are known.
///
/// Returns:
///     The counts that the command ``mngr-codex convert`` prints.
///
/// Raises:
///     `OSError`: If ``source`` cannot be read or ``output`` cannot be written (`FileNotFoundError`, `PermissionError`,
///         `IsADirectoryError`, or `OSError` with another ``errno``, such as ``ENOSPC``).
///     `ValueError`: If ``source`` is not a rollout, a line is longer than 1 GiB, the compressed file is damaged, or
///         ``output`` is ``source``. The message has the path and, if known, the byte offset.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "PyO3 makes the paths for this call")]
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method is not general enough over lifetimes")]
#[pyo3(signature = (source, output, *, agent_id = "", partial = false))]
fn convert(
    py: Python<'_>,
    source: PathBuf,
    output: PathBuf,
    agent_id: &str,
    partial: bool,
) -> PyResult<ConversionSummary> {
    let end = if partial { End::Partial } else { End::Complete };
    let options = Options { agent_id: agent_id.to_owned(), end, ..Options::default() };
    let mut interrupted = None;
    let result = py.detach(|| {
        let input = Input::open(&source).map_err(|error| system_error(&error, &source))?;
        if is_same_file(&source, &output) {
            let message = format!("cannot write {}: it is the input {}", output.display(), source.display());
            return Err(PyValueError::new_err(message));
        }
        let cannot_write = |error: io::Error| system_error(&error, &output);
        let mut file = AtomicFile::create(&output).map_err(cannot_write)?;
        let summary = convert_input(input, &mut file, &options, &mut |_| {
            // Ctrl-C raises an exception, which only the interpreter can do.
            Python::attach(|py| py.check_signals()).map_err(|error| interrupted = Some(error)).is_ok()
        });
        let summary = summary.map_err(|error| conversion_error(&error, &source, &output))?;
        file.commit().map_err(cannot_write)?;
        Ok(summary)
    });
    match interrupted {
        Some(error) => Err(error),
        None => result.map(|summary| ConversionSummary { summary }),
    }
}

/// Iterates over the records of a rollout as batches of JSON lines.
#[pyclass(frozen, module = "mngr_codex._core")]
struct RecordBatches {
    source: PathBuf,
    /// Used by one thread at a time, without the GIL.
    lines: Mutex<BatchConverter<Input>>,
}

#[pymethods]
impl RecordBatches {
    #[new]
    fn new(source: PathBuf) -> PyResult<Self> {
        let input = Input::open(&source).map_err(|error| system_error(&error, &source))?;
        Ok(Self { source, lines: Mutex::new(BatchConverter::new(input, &Options::default())) })
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        loop {
            let batch = py.detach(|| self.lines.lock().unwrap_or_else(PoisonError::into_inner).next_batch());
            let batch = batch.map_err(|error| conversion_error(&error, &self.source, &self.source))?;
            // Ctrl-C works between two batches. An empty batch is not the end: its lines produced no record.
            py.check_signals()?;
            match batch {
                Some(records) if records.is_empty() => {}
                batch => return Ok(batch.map(|records| PyBytes::new(py, &records))),
            }
        }
    }
}

/// Reads the bytes of a rollout, decompressed if necessary.
#[pyclass(frozen, module = "mngr_codex._core")]
struct RolloutBytes {
    source: PathBuf,
    /// Used by one thread at a time, without the GIL.
    input: Mutex<Input>,
}

#[pymethods]
impl RolloutBytes {
    #[new]
    fn new(source: PathBuf) -> PyResult<Self> {
        let input = Input::open(&source).map_err(|error| system_error(&error, &source))?;
        Ok(Self { source, input: Mutex::new(input) })
    }

    /// Return at most this many of the next bytes, fewer only at the end.
    fn read<'py>(&self, py: Python<'py>, size: u32) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = py.detach(|| {
            let mut bytes = Vec::new();
            let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
            input.by_ref().take(size.into()).read_to_end(&mut bytes).map(|_| bytes)
        });
        bytes.map(|bytes| PyBytes::new(py, &bytes)).map_err(|error| system_error(&error, &self.source))
    }
}

/// Returns the last records at a path as JSON lines.
///
/// Args:
///     path: A common transcript, a rollout, or an agent's state directory.
///     n: The number of records; all of them if there are fewer.
///
/// Raises:
///     `OSError`: If ``path`` cannot be read (`FileNotFoundError`, `PermissionError`).
///     `ValueError`: If ``path`` is none of these or cannot be converted.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "PyO3 makes the path for this call")]
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method is not general enough over lifetimes")]
fn last_records(py: Python<'_>, path: PathBuf, n: u64) -> PyResult<Bound<'_, PyBytes>> {
    let mut interrupted = None;
    let result = py.detach(|| {
        let mut progress = |_| {
            // As in `convert`.
            Python::attach(|py| py.check_signals()).map_err(|error| interrupted = Some(error)).is_ok()
        };
        read_last_records(&path, n, &mut progress).map_err(|error| last_records_error(error, &path))
    });
    match interrupted {
        Some(error) => Err(error),
        None => result.map(|records| PyBytes::new(py, &records)),
    }
}

/// Returns whether JSON may contain an integer of more than 64 bits. ``False`` is certain, ``True`` is not.
#[pyfunction]
fn may_exceed_64_bits(json: &[u8]) -> bool {
    mngr_codex_core::may_exceed_64_bits(json)
}

/// The bytes that a pass added to an agent's transcripts. Compares equal if both counts are equal.
#[pyclass(frozen, eq, module = "mngr_codex")]
#[derive(PartialEq)]
struct FollowSummary {
    followed: PassSummary,
}

#[pymethods]
impl FollowSummary {
    /// Bytes added to the raw transcript.
    #[getter]
    fn raw_bytes(&self) -> u64 {
        self.followed.raw_bytes
    }

    /// Bytes added to the common transcript.
    #[getter]
    fn common_bytes(&self) -> u64 {
        self.followed.common_bytes
    }

    fn __repr__(&self) -> String {
        let PassSummary { raw_bytes, common_bytes, .. } = self.followed;
        format!("<FollowSummary: {raw_bytes} bytes raw, {common_bytes} bytes common>")
    }
}

/// Update an agent's transcripts and its marker from its rollouts, like ``mngr-codex watch --once``.
///
/// Releases the GIL. Ctrl-C works between two steps, and a later pass completes one that was interrupted.
///
/// Args:
///     `state_dir`: The agent's state directory.
///     final: Whether the rollouts are complete. If so, no step is held back.
///
/// Returns:
///     The number of bytes added.
///
/// Raises:
///     `OSError`: If ``state_dir`` is missing or not a directory (`FileNotFoundError`, `NotADirectoryError`), or a file
///         cannot be read or written (`PermissionError`, or `OSError` with another ``errno``, such as ``ENOSPC``).
///     `TimeoutError`: If another process follows this agent, or holds its lifecycle lock, for ten seconds.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "PyO3 makes the path for this call")]
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method is not general enough over lifetimes")]
#[pyo3(signature = (state_dir, *, r#final = false))]
fn follow(py: Python<'_>, state_dir: PathBuf, r#final: bool) -> PyResult<FollowSummary> {
    let mut interrupted = None;
    let result = py.detach(|| {
        let mut should_continue = || {
            // As in `convert`.
            Python::attach(|py| py.check_signals()).map_err(|error| interrupted = Some(error)).is_ok()
        };
        let mut watcher = Watcher::new(open_state_dir(&state_dir)?);
        let followed = watcher.once_while(r#final, LOCK_TIMEOUT, &mut should_continue);
        followed.map_err(|error| watch_error(error, &state_dir))
    });
    match interrupted {
        Some(error) => Err(error),
        None => result.map(|followed| FollowSummary { followed }),
    }
}

/// Whether an agent is running, with the evidence. Compares equal if all attributes are equal.
#[pyclass(frozen, eq, module = "mngr_codex")]
#[derive(PartialEq)]
struct MarkerState {
    report: Report,
}

#[pymethods]
impl MarkerState {
    /// ``RUNNING``, ``WAITING``, or ``UNKNOWN`` if no hook has run for this state directory and it was never reset.
    #[getter]
    fn state(&self) -> &'static str {
        self.report.state
    }

    /// Why the agent waits; None if it is running or unknown.
    #[getter]
    fn waiting_reason(&self) -> Option<&'static str> {
        self.report.waiting_reason
    }

    /// Whether the file ``active`` exists.
    #[getter]
    fn is_marker_there(&self) -> bool {
        self.report.is_marker_there
    }

    /// Whether Codex is waiting for an approval.
    #[getter]
    fn is_permission_awaited(&self) -> bool {
        self.report.is_permission_awaited
    }

    /// The id of the root's session.
    #[getter]
    fn session_id(&self) -> Option<&str> {
        self.report.session_id.as_deref()
    }

    /// The root's latest turn.
    #[getter]
    fn root(&self) -> Option<MarkerTurn> {
        self.report.root.clone().map(|turn| MarkerTurn { turn })
    }

    /// The turns of the subagents in flight.
    #[getter]
    fn subagents<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let turns = self.report.subagents.iter().map(|turn| Py::new(py, MarkerTurn { turn: turn.clone() }));
        PyTuple::new(py, turns.collect::<PyResult<Vec<_>>>()?)
    }

    fn __repr__(&self) -> String {
        let subagents = self.report.subagents.len();
        format!("<MarkerState: {}, {subagents} subagents in flight>", self.report.state)
    }
}

/// The latest turn of the root or of a subagent. Compares equal if all attributes are equal.
#[pyclass(frozen, eq, module = "mngr_codex")]
#[derive(PartialEq)]
struct MarkerTurn {
    turn: Turn,
}

#[pymethods]
impl MarkerTurn {
    /// The subagent's id; None for the root.
    #[getter]
    fn agent_id(&self) -> Option<&str> {
        self.turn.agent_id.as_deref()
    }

    /// The turn's id.
    #[getter]
    fn turn_id(&self) -> Option<&str> {
        self.turn.turn_id.as_deref()
    }

    /// ``open``, ``stopped`` or ``over``.
    #[getter]
    fn phase(&self) -> &'static str {
        self.turn.phase
    }

    /// The start of the phase, in ISO 8601.
    #[getter]
    fn since(&self) -> Option<&str> {
        self.turn.since.as_deref()
    }

    /// Why the turn is in this phase, as an English phrase.
    #[getter]
    fn evidence(&self) -> Option<&str> {
        self.turn.evidence.as_deref()
    }

    /// The path of the thread's rollout.
    #[getter]
    fn transcript_path(&self) -> Option<&str> {
        self.turn.transcript_path.as_deref()
    }

    /// Whether the rollout exists, compressed or not.
    #[getter]
    fn is_transcript_there(&self) -> bool {
        self.turn.is_transcript_there
    }

    fn __repr__(&self) -> String {
        let thread = self.turn.agent_id.as_deref().unwrap_or("root");
        format!("<MarkerTurn: {thread} {}>", self.turn.phase)
    }
}

/// Read whether an agent is running, like ``mngr-codex marker show``. Takes no lock and writes nothing.
///
/// Args:
///     `state_dir`: The agent's state directory.
///
/// Raises:
///     `OSError`: If ``state_dir`` is missing or not a directory (`FileNotFoundError`, `NotADirectoryError`), or cannot
///         be read (`PermissionError`).
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "PyO3 makes the path for this call")]
#[pyo3(name = "marker")]
fn read_marker(py: Python<'_>, state_dir: PathBuf) -> PyResult<MarkerState> {
    py.detach(|| {
        let dir = open_state_dir(&state_dir)?;
        let state = marker::read(&dir).map_err(|error| marker_error(error, &state_dir))?;
        Ok(MarkerState { report: Report::new(&state, &dir) })
    })
}

/// What Codex's terminal shows.
#[pyclass(frozen, eq, module = "mngr_codex._core")]
#[derive(PartialEq)]
struct Screen {
    screen: CodexScreen,
}

#[pymethods]
impl Screen {
    /// ``shell``, ``loading``, ``login``, ``side``, ``dialog``, ``draft`` or ``empty``.
    #[getter]
    fn view(&self) -> &'static str {
        self.screen.view().name()
    }

    /// The dialog, if the view is ``dialog``.
    #[getter]
    fn dialog(&self) -> Option<&'static str> {
        self.screen.view().dialog()
    }

    /// What takes all input, as an English phrase: a dialog, the login screen or a side conversation.
    #[getter]
    fn showing(&self) -> Option<&'static str> {
        self.screen.view().showing()
    }

    /// Why an agent with this screen waits if it is not in a turn.
    #[getter]
    fn waiting_reason(&self) -> &'static str {
        self.screen.view().waiting_reason()
    }

    /// The first row of the composer, or the selected choice of a dialog.
    #[getter]
    fn row(&self) -> Option<&str> {
        self.screen.row()
    }

    /// The complete text without styles.
    #[getter]
    fn text(&self) -> &str {
        self.screen.text()
    }

    /// Whether Codex shows its composer or a dialog.
    #[getter]
    fn is_started(&self) -> bool {
        self.screen.is_started()
    }

    /// Whether the line with the model is below the composer.
    #[getter]
    fn has_session_line(&self) -> bool {
        self.screen.has_session_line()
    }

    /// The last lines that Codex printed before it exited.
    #[getter]
    fn last_output(&self) -> Vec<String> {
        self.screen.last_output()
    }

    fn __repr__(&self) -> String {
        let view = self.screen.view();
        format!("<Screen: {}>", view.dialog().unwrap_or(view.name()))
    }
}

/// Reads what Codex's terminal shows.
///
/// Args:
///     command: The name of the process in the foreground.
///     pane: The content with styles.
#[pyfunction]
fn read_screen(command: &str, pane: &str) -> Screen {
    Screen { screen: CodexScreen::parse(command, pane) }
}

/// Recognizes when a Codex that was just started has opened its session.
#[pyclass(module = "mngr_codex._core")]
struct StartWatch {
    watch: CodexStartWatch,
}

#[pymethods]
impl StartWatch {
    #[new]
    fn new() -> Self {
        Self { watch: CodexStartWatch::default() }
    }

    /// Adds what the terminal shows, and returns ``started``, ``exited`` or None.
    fn add(&mut self, screen: &Screen, seconds: f64, was_launched: bool) -> PyResult<Option<&'static str>> {
        let elapsed = Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(self.watch.add(&screen.screen, elapsed, was_launched).map(|start| match start {
            Start::Started => "started",
            Start::Exited => "exited",
        }))
    }
}

/// Returns a message without control characters other than tabs and line breaks.
#[pyfunction]
fn clean_message(message: &str) -> String {
    mngr_codex_core::clean_message(message)
}

/// Returns a message as it is typed, so that Codex neither runs nor completes it.
#[pyfunction]
fn typed_message(message: &str) -> String {
    mngr_codex_core::as_typed(&mngr_codex_core::clean_message(message))
}

/// Returns whether Codex may run a message as a command.
#[pyfunction]
fn is_slash_command(text: &str) -> bool {
    mngr_codex_core::is_slash_command(text)
}

/// Checks that the path is a directory.
fn open_state_dir(path: &Path) -> PyResult<StateDir> {
    let metadata = path.metadata().map_err(|error| system_error(&error, path))?;
    if !metadata.is_dir() {
        return Err(system_error(&io::Error::from_raw_os_error(NOT_A_DIRECTORY), path));
    }
    Ok(StateDir::new(path))
}

fn watch_error(error: WatchError, state_dir: &Path) -> PyErr {
    match error {
        WatchError::Follow(FollowError::File(FileError { path, source, .. })) => system_error(&source, &path),
        WatchError::Follow(FollowError::Lock(error)) => lock_error(error),
        WatchError::Follow(FollowError::Waiting(OutputError::Waiting(error))) => waiting_error(&error),
        WatchError::Follow(FollowError::NoStateDir(path)) => missing(&path),
        WatchError::Marker(error) => marker_error(error, state_dir),
        error => PyOSError::new_err(format!("{}: {error}", state_dir.display())),
    }
}

fn marker_error(error: MarkerError, state_dir: &Path) -> PyErr {
    match error {
        MarkerError::Store(StoreError::File(error)) => system_error(&error.source, &error.path),
        MarkerError::Store(StoreError::NoStateDir(_)) => missing(state_dir),
        MarkerError::Store(StoreError::Lock(error)) => lock_error(error),
        error => PyOSError::new_err(format!("{}: {error}", state_dir.display())),
    }
}

fn lock_error(error: LockError) -> PyErr {
    match error {
        LockError::Timeout { .. } => PyTimeoutError::new_err(error.to_string()),
        LockError::File(error) => system_error(&error.source, &error.path),
    }
}

/// Returns the exception for a state directory that was removed during the call.
fn missing(path: &Path) -> PyErr {
    system_error(&io::Error::from_raw_os_error(NO_SUCH_FILE), path)
}

/// Returns the exception for held-back records that cannot be stored.
fn waiting_error(error: &FileError) -> PyErr {
    let doing = format!("cannot {} (set TMPDIR to use another one): ", error.operation);
    system_error_while(&doing, &error.source, &error.path)
}

/// Returns the exception that Python itself would raise for this I/O error, with the path.
fn system_error(error: &io::Error, path: &Path) -> PyErr {
    system_error_while("", error, path)
}

/// Like [`system_error`], with the operation in the message.
fn system_error_while(doing: &str, error: &io::Error, path: &Path) -> PyErr {
    let errno = error.raw_os_error().or((error.kind() == io::ErrorKind::IsADirectory).then_some(IS_A_DIRECTORY));
    match errno {
        // `OSError` chooses its subclass, such as `FileNotFoundError`, by the number.
        Some(errno) => {
            let described = io::Error::from_raw_os_error(errno).to_string();
            let message = described.split(" (os error").next().unwrap_or(&described);
            PyOSError::new_err((errno, format!("{doing}{message}"), path.as_os_str().to_owned()))
        }
        None => PyOSError::new_err(format!("{}: {doing}{error}", path.display())),
    }
}

// `ENOENT`, `ENOTDIR` and `EISDIR`, the same on Linux and macOS.
const NO_SUCH_FILE: i32 = 2;
const NOT_A_DIRECTORY: i32 = 20;
const IS_A_DIRECTORY: i32 = 21;

fn conversion_error(error: &ConvertError, source: &Path, output: &Path) -> PyErr {
    match error {
        ConvertError::Output(OutputError::Sink(error)) => system_error(error, output),
        ConvertError::Output(OutputError::Waiting(error)) => waiting_error(error),
        ConvertError::Input(LineError::Read { source: error, .. }) if error.raw_os_error().is_some() => {
            system_error(error, source)
        }
        ConvertError::Input(LineError::Read { source: error, .. }) if WindowTooLarge::is_in(error) => {
            let advice = "decompress it first: zstd -d --long=31";
            PyValueError::new_err(format!("cannot convert {}: {error}; {advice}", source.display()))
        }
        ConvertError::NotARollout(kind) => {
            let path = source.display().to_string();
            PyValueError::new_err(format!("cannot convert {path}: {kind}; {}", kind.hint(Some(&path))))
        }
        error => PyValueError::new_err(format!("cannot convert {}: {error}", source.display())),
    }
}

fn last_records_error(error: LastRecordsError, path: &Path) -> PyErr {
    match error {
        LastRecordsError::Target(TargetError::File(FileError { source, .. })) => system_error(&source, path),
        LastRecordsError::File(FileError { path, source, .. }) => system_error(&source, &path),
        LastRecordsError::Read(ReadError { path, source: LineError::Read { source, .. } })
            if source.raw_os_error().is_some() =>
        {
            system_error(&source, &path)
        }
        LastRecordsError::Convert { path, source } => conversion_error(&source, &path, &temporary_folder()),
        LastRecordsError::Target(TargetError::Unrecognized { ref path, kind }) => {
            let hint = kind.hint(Some(&path.display().to_string()));
            PyValueError::new_err(format!("{error}; {hint}"))
        }
        error => PyValueError::new_err(error.to_string()),
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other && one.is_file())
}

#[pymodule]
#[pyo3(name = "_core")]
fn core_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<ConversionSummary>()?;
    module.add_class::<RecordBatches>()?;
    module.add_class::<RolloutBytes>()?;
    module.add_class::<FollowSummary>()?;
    module.add_class::<MarkerState>()?;
    module.add_class::<MarkerTurn>()?;
    module.add_class::<Screen>()?;
    module.add_function(wrap_pyfunction!(follow, module)?)?;
    module.add_function(wrap_pyfunction!(last_records, module)?)?;
    module.add_function(wrap_pyfunction!(read_marker, module)?)?;
    module.add_function(wrap_pyfunction!(may_exceed_64_bits, module)?)?;
    module.add_class::<StartWatch>()?;
    module.add_function(wrap_pyfunction!(read_screen, module)?)?;
    module.add_function(wrap_pyfunction!(typed_message, module)?)?;
    module.add_function(wrap_pyfunction!(clean_message, module)?)?;
    module.add_function(wrap_pyfunction!(is_slash_command, module)?)?;
    module.add_function(wrap_pyfunction!(convert, module)?)
}
