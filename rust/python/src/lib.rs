//! The module `mngr_codex._core`: the core's functions for Python, types and errors mapped, no logic.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use mngr_codex_core::convert::one_shot::LineByLine;
use mngr_codex_core::convert::{
    ConvertError, End, Options, OutputError, Summary, convert as convert_input, temporary_folder,
};
use mngr_codex_core::files::atomic_write::AtomicFile;
use mngr_codex_core::files::lock::LockError;
use mngr_codex_core::follow::watcher::{LOCK_TIMEOUT, WatchError, Watcher};
use mngr_codex_core::follow::{FollowError, Followed};
use mngr_codex_core::lifecycle::marker::{self, MarkerError};
use mngr_codex_core::lifecycle::report::{Report, Turn};
use mngr_codex_core::lifecycle::store::StoreError;
use mngr_codex_core::rollout::input::{Input, WindowTooLarge};
use mngr_codex_core::rollout::lines::LineError;
use mngr_codex_core::state_dir::StateDir;
use mngr_codex_core::transcript::ReadError;
use mngr_codex_core::transcript::last_records::{TailError, tail};
use mngr_codex_core::transcript::locate::TargetError;
use pyo3::exceptions::{PyOSError, PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

/// What came of a conversion. Two are equal where all of their counts are.
#[pyclass(frozen, eq, module = "mngr_codex")]
#[derive(PartialEq)]
struct ConversionSummary {
    summary: Summary,
}

#[pymethods]
impl ConversionSummary {
    /// Whole lines read, blank ones too.
    #[getter]
    fn lines(&self) -> u64 {
        self.summary.lines
    }

    /// Records written, the header too.
    #[getter]
    fn records(&self) -> u64 {
        self.summary.records
    }

    /// Lines that are not a JSON object, and so were left out.
    #[getter]
    fn malformed(&self) -> u64 {
        self.summary.malformed
    }

    /// Where the unfinished line behind the last newline starts and how many bytes it has; None if there is none.
    #[getter]
    fn partial_line(&self) -> Option<(u64, u64)> {
        self.summary.partial_line.map(|(offset, length)| (offset.0, length))
    }

    /// How many lines of each kind made no record, such as ``{"event_msg/task_started": 2}``.
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

/// Convert a Codex rollout to mngr's common transcript (ATIF v1.7, one record a line).
///
/// The output appears when it is whole, or not at all; an output that is there is replaced. Other threads run
/// meanwhile, and Ctrl-C works.
///
/// Args:
///     source: The rollout, ``.jsonl`` or ``.jsonl.zst`` (told by its content).
///     output: Where the transcript is to stand.
///     `agent_id`: The agent whose transcript this is; seeds the id of the header.
///     partial: The rollout may still grow: hold back the last step until its token counts are known.
///
/// Returns:
///     The counts, as the command's last line tells them.
///
/// Raises:
///     `OSError`: ``source`` cannot be read or ``output`` cannot be written (`FileNotFoundError`, `PermissionError`,
///         `IsADirectoryError`, or `OSError` with the system's number, such as a full disk).
///     `ValueError`: A line is longer than 1 GiB, the compressed file is damaged, or ``output`` is ``source``; the
///         message has the path, and the byte offset where there is one.
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
            let why = format!("{} is the input; name another file for the output", output.display());
            return Err(PyValueError::new_err(why));
        }
        let cannot_write = |error: io::Error| system_error(&error, &output);
        let mut file = AtomicFile::create(&output).map_err(cannot_write)?;
        let summary = convert_input(input, &mut file, &options, &mut |_| {
            // Ctrl-C is an exception of Python's, which only Python can raise.
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

/// The records of the rollout at `source`, one batch of JSON lines after the other.
#[pyclass(frozen, module = "mngr_codex._core")]
struct RecordBatches {
    source: PathBuf,
    /// Taken by one thread at a time, without the GIL.
    lines: Mutex<LineByLine<Input>>,
}

#[pymethods]
impl RecordBatches {
    #[new]
    fn new(source: PathBuf) -> PyResult<Self> {
        let input = Input::open(&source).map_err(|error| system_error(&error, &source))?;
        Ok(Self { source, lines: Mutex::new(LineByLine::new(input, &Options::default())) })
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        loop {
            let batch = py.detach(|| self.lines.lock().unwrap_or_else(PoisonError::into_inner).next_batch());
            let batch = batch.map_err(|error| conversion_error(&error, &self.source, &self.source))?;
            // Ctrl-C comes between two batches; a batch of lines that make no record is no reason to end.
            py.check_signals()?;
            match batch {
                Some(records) if records.is_empty() => {}
                batch => return Ok(batch.map(|records| PyBytes::new(py, &records))),
            }
        }
    }
}

/// The last records of what stands at a path, as JSON lines.
///
/// Args:
///     path: A common transcript, a rollout, or an agent's state dir.
///     n: How many records; all where there are fewer.
///
/// Raises:
///     `OSError`: It cannot be read (`FileNotFoundError`, `PermissionError`).
///     `ValueError`: It is none of these, or cannot be converted.
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
        tail(&path, n, &mut progress).map_err(|error| tail_error(error, &path))
    });
    match interrupted {
        Some(error) => Err(error),
        None => result.map(|records| PyBytes::new(py, &records)),
    }
}

/// Whether JSON may hold an integer beyond 64 bits.
#[pyfunction]
fn may_exceed_64_bits(json: &[u8]) -> bool {
    mngr_codex_core::json::number::may_exceed_64_bits(json)
}

/// What a pass added to the transcripts. Two are equal where both counts are.
#[pyclass(frozen, eq, module = "mngr_codex")]
#[derive(PartialEq)]
struct FollowSummary {
    followed: Followed,
}

#[pymethods]
impl FollowSummary {
    /// Bytes that the raw transcript grew by.
    #[getter]
    fn raw_bytes(&self) -> u64 {
        self.followed.raw_bytes
    }

    /// Bytes that the common transcript grew by.
    #[getter]
    fn common_bytes(&self) -> u64 {
        self.followed.common_bytes
    }

    fn __repr__(&self) -> String {
        let Followed { raw_bytes, common_bytes, .. } = self.followed;
        format!("<FollowSummary: {raw_bytes} bytes raw, {common_bytes} bytes common>")
    }
}

/// Bring the transcripts and the marker of an agent up to what its rollouts hold now, as ``mngr-codex watch --once`` does.
///
/// Other threads run meanwhile, and Ctrl-C ends it between two steps; a pass that was ended is completed by the next one.
///
/// Args:
///     `state_dir`: The agent's state dir.
///     final: Nothing more will come: hold no record back.
///
/// Returns:
///     How many bytes were added.
///
/// Raises:
///     `OSError`: There is no such folder (`FileNotFoundError`, `NotADirectoryError`), or a file cannot be read or
///         written (`PermissionError`, or `OSError` with the system's number, such as a full disk).
///     `TimeoutError`: Another process has been following this agent, or had its marker's lock, for ten seconds.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "PyO3 makes the path for this call")]
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method is not general enough over lifetimes")]
#[pyo3(signature = (state_dir, *, r#final = false))]
fn follow(py: Python<'_>, state_dir: PathBuf, r#final: bool) -> PyResult<FollowSummary> {
    let mut interrupted = None;
    let result = py.detach(|| {
        let mut goes_on = || {
            // As in `convert`.
            Python::attach(|py| py.check_signals()).map_err(|error| interrupted = Some(error)).is_ok()
        };
        let mut watcher = Watcher::new(open_state_dir(&state_dir)?);
        let followed = watcher.once_while(r#final, LOCK_TIMEOUT, &mut goes_on);
        followed.map_err(|error| watch_error(error, &state_dir))
    });
    match interrupted {
        Some(error) => Err(error),
        None => result.map(|followed| FollowSummary { followed }),
    }
}

/// Whether an agent is at work, and what told so. Two are equal where all that they say is.
#[pyclass(frozen, eq, module = "mngr_codex")]
#[derive(PartialEq)]
struct MarkerState {
    report: Report,
}

#[pymethods]
impl MarkerState {
    /// ``RUNNING`` or ``WAITING``.
    #[getter]
    fn state(&self) -> &'static str {
        self.report.state
    }

    /// Whether the file ``active`` is there.
    #[getter]
    fn is_marker_there(&self) -> bool {
        self.report.is_marker_there
    }

    /// Whether Codex waits for an approval.
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

/// The latest turn of the root or of a subagent. Two are equal where all that they say is.
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

    /// Since when it is so, in ISO 8601.
    #[getter]
    fn since(&self) -> Option<&str> {
        self.turn.since.as_deref()
    }

    /// What told so, for people.
    #[getter]
    fn evidence(&self) -> Option<&str> {
        self.turn.evidence.as_deref()
    }

    /// The path of the thread's rollout.
    #[getter]
    fn transcript_path(&self) -> Option<&str> {
        self.turn.transcript_path.as_deref()
    }

    /// Whether that is there, compressed or not.
    #[getter]
    fn is_transcript_there(&self) -> bool {
        self.turn.is_transcript_there
    }

    fn __repr__(&self) -> String {
        let whose = self.turn.agent_id.as_deref().unwrap_or("root");
        format!("<MarkerTurn: {whose} {}>", self.turn.phase)
    }
}

/// Whether an agent is at work, as ``mngr-codex marker show`` tells. Locks nothing, waits for nobody, writes nothing.
///
/// Args:
///     `state_dir`: The agent's state dir.
///
/// Raises:
///     `OSError`: There is no such folder (`FileNotFoundError`, `NotADirectoryError`), or it cannot be read
///         (`PermissionError`).
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

/// The state dir, which must be a folder.
fn open_state_dir(path: &Path) -> PyResult<StateDir> {
    let metadata = path.metadata().map_err(|error| system_error(&error, path))?;
    if !metadata.is_dir() {
        return Err(system_error(&io::Error::from_raw_os_error(NOT_A_DIRECTORY), path));
    }
    Ok(StateDir::new(path))
}

fn watch_error(error: WatchError, state_dir: &Path) -> PyErr {
    match error {
        WatchError::Follow(
            FollowError::Io { path, source } | FollowError::Lock { path, source: LockError::Io(source) },
        ) => system_error(&source, &path),
        WatchError::Follow(error @ FollowError::Lock { source: LockError::Held(_), .. }) => {
            PyTimeoutError::new_err(error.to_string())
        }
        WatchError::Follow(FollowError::Waiting(OutputError::Waiting(error))) => waiting_error(&error),
        WatchError::Follow(FollowError::NoStateDir(path)) => missing(&path),
        WatchError::Marker(error) => marker_error(error, state_dir),
        error => PyOSError::new_err(format!("{}: {error}", state_dir.display())),
    }
}

fn marker_error(error: MarkerError, state_dir: &Path) -> PyErr {
    match error {
        MarkerError::Store(StoreError::Io { path, source }) => system_error(&source, Path::new(&path)),
        MarkerError::Store(StoreError::NoStateDir(_)) => missing(state_dir),
        MarkerError::Store(error @ StoreError::Locked(_)) => {
            PyTimeoutError::new_err(format!("{}: {error}", state_dir.display()))
        }
        error => PyOSError::new_err(format!("{}: {error}", state_dir.display())),
    }
}

/// Of a state dir that has gone meanwhile.
fn missing(path: &Path) -> PyErr {
    system_error(&io::Error::from_raw_os_error(NO_SUCH_FILE), path)
}

/// Of records that cannot be kept until they may be written.
fn waiting_error(error: &io::Error) -> PyErr {
    let doing = "records that must wait cannot be kept in the temporary folder (TMPDIR names another one): ";
    system_error_while(doing, error, &temporary_folder())
}

/// The exception that Python raises for an error of the system, with the path.
fn system_error(error: &io::Error, path: &Path) -> PyErr {
    system_error_while("", error, path)
}

/// As [`system_error`], where it is not plain what was being done.
fn system_error_while(doing: &str, error: &io::Error, path: &Path) -> PyErr {
    let errno = error.raw_os_error().or((error.kind() == io::ErrorKind::IsADirectory).then_some(IS_A_DIRECTORY));
    match errno {
        // `OSError` itself chooses `FileNotFoundError`, `PermissionError` and the like by the number.
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
            PyValueError::new_err(format!("{}: {error}; {advice}", source.display()))
        }
        error => PyValueError::new_err(format!("{}: {error}", source.display())),
    }
}

fn tail_error(error: TailError, path: &Path) -> PyErr {
    match error {
        TailError::Target(TargetError::Io { source, .. }) => system_error(&source, path),
        TailError::Open { path, source } => system_error(&source, &path),
        TailError::Read(ReadError { path, source: LineError::Read { source, .. } })
            if source.raw_os_error().is_some() =>
        {
            system_error(&source, &path)
        }
        TailError::Convert { path, source } => conversion_error(&source, &path, &temporary_folder()),
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
    module.add_class::<FollowSummary>()?;
    module.add_class::<MarkerState>()?;
    module.add_class::<MarkerTurn>()?;
    module.add_function(wrap_pyfunction!(follow, module)?)?;
    module.add_function(wrap_pyfunction!(last_records, module)?)?;
    module.add_function(wrap_pyfunction!(read_marker, module)?)?;
    module.add_function(wrap_pyfunction!(may_exceed_64_bits, module)?)?;
    module.add_function(wrap_pyfunction!(convert, module)?)
}
