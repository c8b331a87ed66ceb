//! Finding a transcript by a path: of a rollout, a transcript or an agent's state directory; and agents by their names.

use std::env;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::record::{Record, RecordKind};
use super::stream::{CURRENT, Stream, files_in};
use crate::convert::temporary_folder;
use crate::files::file_error::{FileError, escaped_path};
use crate::files::regular::read_regular;
use crate::follow::rollout_list::current_rollout;
use crate::json::Tape;
use crate::rollout::decompression::Input;
use crate::rollout::file_name::thread_id_in;
use crate::rollout::lines::{DEFAULT_LINE_LIMIT, Lines};
use crate::rollout::recognition::{NotARollout, Recognizer, begins_like_a_rollout};
use crate::rollout::session_meta::SessionMeta;
use crate::state_dir::StateDir;

/// A transcript or a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A common transcript.
    Transcript {
        /// Its files, the oldest first; empty if the agent has not written one yet.
        files: Vec<PathBuf>,
        /// Whether these are all files of the transcript. Otherwise the user gave the path of a single file.
        is_all: bool,
        /// The file to which records are appended.
        current: PathBuf,
        /// The agent that wrote it.
        agent: Agent,
    },
    /// A rollout, compressed or not.
    Rollout {
        /// The file.
        path: PathBuf,
        /// The session.
        agent: Agent,
    },
}

/// The known properties of the agent that wrote a transcript.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// The agent type in mngr.
    pub kind: Option<String>,
    /// The agent's id, or the id of the session.
    pub id: Option<String>,
    /// The folder that mngr started the agent in.
    pub work_dir: Option<PathBuf>,
}

/// Why there is nothing to read.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// A folder that contains no transcript.
    #[error("cannot read {}: it has no common transcript and is not an agent's state directory", escaped_path(.0))]
    NoTranscript(PathBuf),
    /// A folder that contains several transcripts.
    #[error("cannot read {}: it has several transcripts: {}", escaped_path(folder), joined(transcripts))]
    SeveralTranscripts {
        /// The folder.
        folder: PathBuf,
        /// The files or folders of the transcripts.
        transcripts: Vec<PathBuf>,
    },
    /// A common transcript that is compressed.
    #[error("cannot read {}: it is a compressed common transcript, and only rollouts may be compressed", escaped_path(.0))]
    Compressed(PathBuf),
    /// A file of another kind.
    #[error("cannot read {}: {kind}", escaped_path(path))]
    Unrecognized {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: NotARollout,
    },
    /// A pipe or a device, which can be read only once.
    #[error("cannot read {}: it is a pipe or a device", escaped_path(.0))]
    NotRegular(PathBuf),
    /// A file or folder that cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Formats paths for a message.
pub(crate) fn joined(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| escaped_path(path)).collect::<Vec<_>>().join(", ")
}

/// mngr's name for the folder of a common transcript.
const COMMON: &str = "common_transcript";

/// Finds the transcript or rollout at `path`.
///
/// # Errors
///
/// Returns a [`TargetError`] if the transcript or rollout is missing, ambiguous or unreadable.
pub fn at(path: &Path) -> Result<Target, TargetError> {
    let metadata = fs::metadata(path).map_err(FileError::on("read", path))?;
    if metadata.is_dir() { in_folder(path) } else { in_file(path) }
}

/// An input that can be read only once, copied to an unnamed temporary file.
pub enum Copied {
    /// A common transcript.
    Transcript(Stream),
    /// A rollout.
    Rollout(CopiedRollout),
}

/// A rollout in an unnamed temporary file.
pub struct CopiedRollout(File);

impl CopiedRollout {
    /// Returns the rollout from its start. The previous one must not be read any more.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub fn open(&self) -> io::Result<Input> {
        (&self.0).seek(SeekFrom::Start(0))?;
        Input::from_reader(self.0.try_clone()?)
    }
}

/// Copies an input, such as standard input, and detects its kind. `name` names it in messages.
///
/// # Errors
///
/// Returns a [`TargetError`] if the input is neither a rollout nor a transcript, cannot be read, or cannot be copied.
pub fn copy(reader: &mut dyn Read, name: &Path) -> Result<Copied, TargetError> {
    let folder = temporary_folder();
    let mut file = tempfile::tempfile_in(&folder).map_err(FileError::on("create a file in", &folder))?;
    let length = io::copy(reader, &mut file).map_err(FileError::on("copy", name))?;
    let copied = CopiedRollout(file);
    match kind_of_input(&|| copied.open()).map_err(FileError::on("read", name))? {
        Ok(FileKind::Rollout) => Ok(Copied::Rollout(copied)),
        Ok(FileKind::Transcript | FileKind::Undetermined) => {
            Ok(Copied::Transcript(Stream::of(copied.0, name.to_owned(), length)))
        }
        Ok(FileKind::CompressedTranscript) => Err(TargetError::Compressed(name.to_owned())),
        Ok(FileKind::Blank) => Err(TargetError::Unrecognized { path: name.to_owned(), kind: NotARollout::Blank }),
        Err(kind) => Err(TargetError::Unrecognized { path: name.to_owned(), kind }),
    }
}

/// Returns mngr's folder: `$MNGR_HOST_DIR`, else `~/.$MNGR_ROOT_NAME`, else `~/.mngr` (mngr 0.3.0, `config/host_dir.py`).
pub(crate) fn host_dir() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    let home = || PathBuf::from(set("HOME").unwrap_or_default());
    if let Some(folder) = set("MNGR_HOST_DIR") {
        return Path::new(&folder).strip_prefix("~").map_or_else(|_| folder.clone().into(), |rest| home().join(rest));
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(set("MNGR_ROOT_NAME").unwrap_or_else(|| "mngr".into()));
    home().join(name)
}

/// Returns the state directories of the agents with this name or id, in mngr's folder `host`.
pub(crate) fn agents_named(name: &Path, host: &Path) -> Vec<PathBuf> {
    let matches = |folder: &PathBuf| {
        folder.file_name() == Some(name.as_os_str())
            || data(folder).is_some_and(|data| data["name"].as_str().map(Path::new) == Some(name))
    };
    folders_in(&host.join("agents")).filter(matches).collect()
}

/// Returns the folders in which mngr has preserved destroyed agents of this name or id: `<name>--<id>` (mngr 0.3.0).
pub(crate) fn copies_named(name: &Path, host: &Path) -> Vec<PathBuf> {
    let is_copy = |folder: &PathBuf| {
        let file_name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        file_name.rsplit_once("--").is_some_and(|(own, id)| [own, id].map(Path::new).contains(&name))
    };
    folders_in(&host.join("preserved")).filter(is_copy).collect()
}

/// Returns the folders in a folder, in no order. Empty if it cannot be read.
pub(crate) fn folders_in(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir())
}

/// Returns mngr's record of an agent.
fn data(folder: &Path) -> Option<serde_json::Value> {
    serde_json::from_slice(&read_regular(&folder.join("data.json")).ok()?).ok()
}

/// Returns the name and the work directory that mngr has recorded for an agent.
pub(crate) fn name_and_folder(folder: &Path) -> (Option<String>, Option<String>) {
    let data = data(folder).unwrap_or_default();
    let member = |name: &str| data[name].as_str().map(str::to_owned);
    (member("name"), member("work_dir"))
}

/// Returns the agent of a state directory, or of a preserved copy, which has the name `<name>--<id>`.
#[must_use]
pub fn agent(folder: &Path) -> Agent {
    let data = data(folder).unwrap_or_default();
    let member = |name: &str| data[name].as_str().map(str::to_owned);
    let name = || folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let id_in = |name: String| name.rsplit_once("--").map_or(name.clone(), |(_, id)| id.to_owned());
    Agent {
        kind: member("type"),
        id: member("id").or_else(|| name().map(id_in)),
        work_dir: member("work_dir").map(PathBuf::from),
    }
}

/// Finds the transcript in a folder: an agent's state directory, a copy of it, or the folder of the transcript.
fn in_folder(folder: &Path) -> Result<Target, TargetError> {
    let absolute = std::path::absolute(folder).map_err(FileError::on("read", folder))?;
    let own = files_in(&absolute).map_err(FileError::on("read", folder))?;
    if let Some(first) = own.first() {
        // It can also be the raw transcript of an agent, which has a file of the same name.
        let kind = match kind_of(first) {
            // The file has just been rotated. Raw transcripts are never rotated.
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            kind => kind.map_err(FileError::on("read", first))?.ok(),
        };
        if kind == Some(FileKind::Rollout) {
            return match own.as_slice() {
                [rollout] => in_file(rollout),
                _ => Err(TargetError::SeveralTranscripts { folder: folder.to_owned(), transcripts: own }),
            };
        }
        let agent = absolute.ancestors().skip(1).find(|above| data(above).is_some()).map(agent).unwrap_or_default();
        return Ok(Target::Transcript { files: own, is_all: true, current: absolute.join(CURRENT), agent });
    }
    let events = absolute.join("events");
    let mut transcripts: Vec<(PathBuf, Vec<PathBuf>)> = Vec::new();
    // mngr's scripts write logs below this folder, one of them with the name of a transcript.
    let logs = events.join("logs");
    let sources = [events.clone()].into_iter().chain(folders_in(&events).filter(|source| *source != logs));
    for candidate in sources.map(|source| source.join(COMMON)) {
        match files_in(&candidate) {
            Ok(files) if !files.is_empty() => transcripts.push((candidate, files)),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(FileError::on("read", &candidate)(error).into()),
        }
    }
    let state_dir = StateDir::new(&absolute);
    if transcripts.is_empty()
        && let Some(rollout) = recorded_rollout(&state_dir)
    {
        return in_file(&rollout);
    }
    match transcripts.as_slice() {
        [(transcript, files)] => {
            let (files, current) = (files.clone(), transcript.join(CURRENT));
            Ok(Target::Transcript { files, is_all: true, current, agent: agent(&absolute) })
        }
        [] if data(&absolute).is_some() || state_dir.own().is_dir() => {
            let current = state_dir.common_transcript();
            Ok(Target::Transcript { files: Vec::new(), is_all: true, current, agent: agent(&absolute) })
        }
        [] => Err(TargetError::NoTranscript(folder.to_owned())),
        _ => {
            let transcripts = transcripts.into_iter().map(|(transcript, _)| transcript).collect();
            Err(TargetError::SeveralTranscripts { folder: folder.to_owned(), transcripts })
        }
    }
}

/// Returns the rollout of a state directory in which hooks record a session, but no watcher writes a transcript. mngr's
/// agents have one.
#[must_use]
pub fn recorded_rollout(state_dir: &StateDir) -> Option<PathBuf> {
    let has_watcher = data(state_dir.path()).is_some() || state_dir.following().exists();
    if has_watcher { None } else { current_rollout(state_dir) }
}

/// Finds the transcript or rollout in a file. The kind is detected by content, never by name.
fn in_file(path: &Path) -> Result<Target, TargetError> {
    let absolute = std::path::absolute(path).map_err(FileError::on("read", path))?;
    if !fs::metadata(path).map_err(FileError::on("read", path))?.is_file() {
        return Err(TargetError::NotRegular(path.to_owned()));
    }
    let kind = kind_of(&absolute).map_err(FileError::on("read", path))?;
    match kind {
        Ok(FileKind::Rollout) => {
            let meta = SessionMeta::read(&absolute).map_err(FileError::on("read", path))?;
            let id = meta.and_then(|meta| meta.id).or_else(|| thread_id_in(&absolute));
            Ok(Target::Rollout { agent: Agent { id, ..Agent::default() }, path: absolute })
        }
        Ok(FileKind::CompressedTranscript) => Err(TargetError::Compressed(path.to_owned())),
        Ok(FileKind::Transcript | FileKind::Undetermined) => {
            let agent = absolute.ancestors().skip(1).find(|above| data(above).is_some()).map(agent).unwrap_or_default();
            Ok(Target::Transcript { files: vec![absolute.clone()], is_all: false, current: absolute, agent })
        }
        Ok(FileKind::Blank) => Err(TargetError::Unrecognized { path: path.to_owned(), kind: NotARollout::Blank }),
        Err(kind) => Err(TargetError::Unrecognized { path: path.to_owned(), kind }),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileKind {
    Rollout,
    Transcript,
    CompressedTranscript,
    /// A rollout or a transcript whose first line is not complete yet.
    Undetermined,
    /// The same after blank lines.
    Blank,
}

/// Returns whether the kind of the file at `path` cannot be detected yet, because it has no complete line. [`at`]
/// treats it as a transcript.
///
/// # Errors
///
/// Returns a [`TargetError`] if the file or folder cannot be read.
pub fn is_undetermined(path: &Path) -> Result<bool, TargetError> {
    let file = match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => path.to_owned(),
        // If there are several files, the first one is complete.
        Ok(metadata) if metadata.is_dir() => match files_in(path).map_err(FileError::on("read", path))?.as_slice() {
            [only] => only.clone(),
            _ => return Ok(false),
        },
        _ => return Ok(false),
    };
    let kind = kind_of(&file).map_err(FileError::on("read", path))?;
    Ok(matches!(kind, Ok(FileKind::Undetermined | FileKind::Blank)))
}

/// Detects the kind of a file by its first rollout line or record. The kind of an empty file is undetermined.
fn kind_of(path: &Path) -> io::Result<Result<FileKind, NotARollout>> {
    kind_of_input(&|| Input::open(path))
}

/// Does the same for an input that `open` returns from its start.
fn kind_of_input(open: &dyn Fn() -> io::Result<Input>) -> io::Result<Result<FileKind, NotARollout>> {
    // The first lines can be damaged or of an unknown kind.
    const MAX_LINES: usize = 4096;
    const MAX_BYTES: u64 = 64 << 20;
    // A line can be as long as a session, but its beginning shows the kind.
    const MAX_KEPT: usize = 64 << 20;
    let input = open()?;
    let is_compressed = input.is_compressed();
    let transcript = if is_compressed { FileKind::CompressedTranscript } else { FileKind::Transcript };
    let mut lines = Lines::new(input, DEFAULT_LINE_LIMIT).keeping(MAX_KEPT);
    let (mut recognizer, mut tape) = (Recognizer::default(), Tape::default());
    let mut are_blank = true;
    for _ in 0..MAX_LINES {
        if lines.bytes_read() > MAX_BYTES && !are_blank {
            break;
        }
        let Some(line) = lines.next_line()? else {
            let is_partial = lines.partial_line().is_some();
            if let Some(line) = lines.take_partial_line()? {
                recognizer.add_last(&line);
            }
            return match recognizer.other() {
                _ if recognizer.is_rollout() => Ok(Ok(FileKind::Rollout)),
                _ if recognizer.is_transcript() => Ok(Ok(transcript)),
                // The first line may be incomplete.
                other if are_blank && is_partial => kind_of_partial_line(open()?, transcript, other),
                _ if are_blank && !is_compressed => {
                    Ok(Ok(if lines.bytes_read() == 0 { FileKind::Undetermined } else { FileKind::Blank }))
                }
                other => Ok(Err(other.unwrap_or(NotARollout::Blank))),
            };
        };
        are_blank &= line.text.bytes().trim_ascii().is_empty();
        recognizer.add(&line);
        if recognizer.is_rollout() {
            return Ok(Ok(FileKind::Rollout));
        }
        let record = Record::read(line.text, &mut tape);
        if recognizer.is_transcript() || record.is_ok_and(|record| record.kind() != RecordKind::Other) {
            return Ok(Ok(transcript));
        }
    }
    Ok(Err(recognizer.other().unwrap_or(NotARollout::Other)))
}

/// Detects the kind of a file whose only line is incomplete. `other` is what the line shows otherwise.
fn kind_of_partial_line(
    input: Input,
    transcript: FileKind,
    other: Option<NotARollout>,
) -> io::Result<Result<FileKind, NotARollout>> {
    const MAX_READ: u64 = 4 << 10;
    let mut head = Vec::new();
    input.take(MAX_READ).read_to_end(&mut head)?;
    let other = other.unwrap_or(NotARollout::Damaged);
    Ok(match begins_like_a_rollout(&head) {
        Some(true) => Ok(FileKind::Rollout),
        None if transcript == FileKind::Transcript => Ok(FileKind::Undetermined),
        Some(false) if other == NotARollout::Damaged && head.trim_ascii_start().starts_with(b"{") => Ok(transcript),
        _ => Err(other),
    })
}

#[cfg(test)]
mod tests;
