//! The module `mngr_codex._core`: the core's functions for Python, types and errors mapped, no logic.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use mngr_codex_core::atomic_file::AtomicFile;
use mngr_codex_core::rollout::input::{Input, WindowTooLarge};
use mngr_codex_core::rollout::lines::LineError;
use mngr_codex_core::transcript::convert::LineByLine;
use mngr_codex_core::transcript::{
    ConvertError, End, Options, OutputError, Summary, convert as convert_input, temporary_folder,
};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

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
    fn half_line(&self) -> Option<(u64, u64)> {
        self.summary.half_line.map(|(offset, length)| (offset.0, length))
    }

    /// How many lines of each kind made no record, such as ``{"event_msg/task_started": 2}``.
    #[getter]
    fn left_out<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = PyDict::new(py);
        for (kind, count) in &self.summary.left_out {
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

/// Whether compact JSON may hold an integer beyond 64 bits.
#[pyfunction]
fn may_exceed_64_bits(json: &[u8]) -> bool {
    mngr_codex_core::json::number::may_exceed_64_bits(json)
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

/// `EISDIR`, the same on Linux and macOS.
const IS_A_DIRECTORY: i32 = 21;

fn conversion_error(error: &ConvertError, source: &Path, output: &Path) -> PyErr {
    match error {
        ConvertError::Output(OutputError::Sink(error)) => system_error(error, output),
        ConvertError::Output(OutputError::Waiting(error)) => {
            let doing = "records that must wait cannot be kept in the temporary folder (TMPDIR names another one): ";
            system_error_while(doing, error, &temporary_folder())
        }
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

fn is_same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other && one.is_file())
}

#[pymodule]
#[pyo3(name = "_core")]
fn core_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<ConversionSummary>()?;
    module.add_class::<RecordBatches>()?;
    module.add_function(wrap_pyfunction!(may_exceed_64_bits, module)?)?;
    module.add_function(wrap_pyfunction!(convert, module)?)
}
