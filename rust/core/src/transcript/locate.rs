//! What a user names: a rollout, a transcript, an agent's state dir, or an agent by its name.

use std::env;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::record::{Record, RecordKind};
use super::stream::{CURRENT, files_in};
pub use crate::files::file_error::escaped as shown;
use crate::json::Tape;
use crate::rollout::decompression::Input;
use crate::rollout::lines::{DEFAULT_LINE_LIMIT, Lines};
use crate::state_dir::StateDir;

/// What can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A common transcript.
    Transcript {
        /// Its files, the oldest first; none where the agent has written none yet.
        files: Vec<PathBuf>,
        /// Whether these are all that stand in its folder, or one that was named alone.
        is_all: bool,
        /// The one that it grows in.
        current: PathBuf,
        /// Whose it is, where that is known.
        agent: Agent,
    },
    /// A rollout, compressed or not.
    Rollout {
        /// The file.
        path: PathBuf,
        /// What is known of its session.
        agent: Agent,
    },
}

/// Whose transcript it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// mngr's type of agent.
    pub kind: Option<String>,
    /// The agent's id, or the session's.
    pub id: Option<String>,
}

/// Why nothing can be shown.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No file is called so, and no agent can be.
    #[error("there is no file {name}")]
    NoFile {
        /// What the user said.
        name: String,
    },
    /// Neither a file nor an agent is called so.
    #[error("there is no file {name}, and no agent of that name under {agents}; `mngr list` shows those that there are{kept}", kept = kept(kept_copies))]
    Nothing {
        /// What the user said.
        name: String,
        /// Where agents were looked for.
        agents: String,
        /// What mngr has kept of destroyed agents of that name.
        kept_copies: Vec<PathBuf>,
    },
    /// Several agents are called so.
    #[error("several agents are called {name}; name one by its id or folder: {}", joined(folders))]
    Several {
        /// What the user said.
        name: String,
        /// The agents' folders.
        folders: Vec<PathBuf>,
    },
    /// A folder without a transcript.
    #[error("{folder} has no common transcript; is it an agent's state dir? {advice}")]
    NoTranscript {
        /// The folder.
        folder: String,
        /// What to do.
        advice: &'static str,
    },
    /// A folder with several.
    #[error("{folder} has several transcripts; name one: {}", joined(transcripts))]
    SeveralTranscripts {
        /// The folder.
        folder: String,
        /// Their folders, or files.
        transcripts: Vec<PathBuf>,
    },
    /// A common transcript that was compressed.
    #[error("{path} is a compressed common transcript, and only rollouts are read compressed; unpack it with zstd -d")]
    Compressed {
        /// The file.
        path: String,
    },
    /// A file that holds something else.
    #[error("{path} is neither a rollout nor a common transcript: its first line is no record of either")]
    Neither {
        /// The file.
        path: String,
    },
    /// A pipe or device, which can be read but once.
    #[error("{path} is a pipe or a device; save what comes from it to a file, and name that")]
    NoFileOnDisk {
        /// Its path.
        path: String,
    },
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// What the system says.
        source: io::Error,
    },
}

fn joined(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| shown(path)).collect::<Vec<_>>().join(", ")
}

fn kept(copies: &[PathBuf]) -> String {
    if copies.is_empty() {
        return String::new();
    }
    format!(". Of a destroyed agent of that name this is kept, which can be named instead: {}", joined(copies))
}

/// What every folder of a common transcript is called by mngr.
const COMMON: &str = "common_transcript";

/// Finds out what `name` is. A file or an agent's folder comes before an agent of the same name.
///
/// # Errors
///
/// [`TargetError`]
pub fn find(name: &Path) -> Result<Target, TargetError> {
    let failed = |source| TargetError::Io { path: shown(name), source };
    let in_folder = match fs::metadata(name) {
        Ok(metadata) if metadata.is_dir() => in_folder(name),
        Ok(_) => return in_file(name),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(TargetError::NoFile { name: shown(name) })
        }
        Err(error) => return Err(failed(error)),
    };
    match in_folder {
        Err(TargetError::NoTranscript { .. } | TargetError::NoFile { .. }) if name.iter().count() == 1 => {}
        found => return found,
    }
    match (named(name, &host_dir()), in_folder) {
        (Err(TargetError::Nothing { .. }), Err(error @ TargetError::NoTranscript { .. })) => Err(error),
        (found, _) => found,
    }
}

/// What stands at a path; no agent is looked for by its name.
///
/// # Errors
///
/// [`TargetError`]
pub fn at(path: &Path) -> Result<Target, TargetError> {
    let metadata = fs::metadata(path).map_err(|source| TargetError::Io { path: shown(path), source })?;
    if metadata.is_dir() { in_folder(path) } else { in_file(path) }
}

/// mngr's folder of agents: `$MNGR_HOST_DIR`, else `~/.$MNGR_ROOT_NAME`, else `~/.mngr` (mngr 0.3.0, `config/host_dir.py`).
#[must_use]
pub fn host_dir() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    let home = || PathBuf::from(set("HOME").unwrap_or_default());
    if let Some(folder) = set("MNGR_HOST_DIR") {
        return Path::new(&folder).strip_prefix("~").map_or_else(|_| folder.clone().into(), |rest| home().join(rest));
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(set("MNGR_ROOT_NAME").unwrap_or_else(|| "mngr".into()));
    home().join(name)
}

/// An agent by its name or id, in mngr's folder of agents.
fn named(name: &Path, host: &Path) -> Result<Target, TargetError> {
    let agents = host.join("agents");
    let is_it = |folder: &Path| {
        folder.file_name() == Some(name.as_os_str())
            || data(folder).is_some_and(|data| data["name"].as_str().map(Path::new) == Some(name))
    };
    let folders = folders_in(&agents).filter(|folder| is_it(folder)).collect::<Vec<_>>();
    match folders.as_slice() {
        [folder] => in_folder(folder),
        [] => {
            // `<name>--<id>`, as mngr 0.3.0 keeps what destroyed agents leave.
            let is_kept = |folder: &PathBuf| {
                let whole = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                whole.rsplit_once("--").is_some_and(|(own, id)| [own, id].map(Path::new).contains(&name))
            };
            let kept_copies = folders_in(&host.join("preserved")).filter(is_kept).collect();
            Err(TargetError::Nothing { name: shown(name), agents: shown(&agents), kept_copies })
        }
        _ => Err(TargetError::Several { name: shown(name), folders }),
    }
}

fn folders_in(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir())
}

/// What mngr wrote of an agent.
fn data(folder: &Path) -> Option<serde_json::Value> {
    serde_json::from_slice(&fs::read(folder.join("data.json")).ok()?).ok()
}

/// Whose folder it is. What is kept of a destroyed agent is called `<name>--<id>`.
fn agent(folder: &Path) -> Agent {
    let data = data(folder).unwrap_or_default();
    let member = |name: &str| data[name].as_str().map(str::to_owned);
    let name = || folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let kept_id = |name: String| name.rsplit_once("--").map_or(name.clone(), |(_, id)| id.to_owned());
    Agent { kind: member("type"), id: member("id").or_else(|| name().map(kept_id)) }
}

/// The transcript in a folder: in an agent's state dir, in a copy of one, or the folder of the transcript itself.
fn in_folder(folder: &Path) -> Result<Target, TargetError> {
    let failed = |source| TargetError::Io { path: shown(folder), source };
    let absolute = std::path::absolute(folder).map_err(failed)?;
    let own = files_in(&absolute).map_err(failed)?;
    if let Some(first) = own.first() {
        // The raw transcript of an agent stands in such a folder, too.
        let kind = match kind_of(first) {
            // It was rotated away meanwhile, as no raw transcript is.
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            kind => kind.map_err(|source| TargetError::Io { path: shown(first), source })?,
        };
        if kind == Some(FileKind::Rollout) {
            return match own.as_slice() {
                [rollout] => in_file(rollout),
                _ => Err(TargetError::SeveralTranscripts { folder: shown(folder), transcripts: own }),
            };
        }
        let agent = absolute.ancestors().skip(1).find(|above| data(above).is_some()).map(agent).unwrap_or_default();
        return Ok(Target::Transcript { files: own, is_all: true, current: absolute.join(CURRENT), agent });
    }
    let events = absolute.join("events");
    let mut transcripts: Vec<(PathBuf, Vec<PathBuf>)> = Vec::new();
    for candidate in [events.join(COMMON)].into_iter().chain(folders_in(&events).map(|source| source.join(COMMON))) {
        match files_in(&candidate) {
            Ok(files) if !files.is_empty() => transcripts.push((candidate, files)),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(source) => return Err(TargetError::Io { path: shown(&candidate), source }),
        }
    }
    let state_dir = StateDir::new(&absolute);
    match transcripts.as_slice() {
        [(transcript, files)] => {
            let (files, current) = (files.clone(), transcript.join(CURRENT));
            Ok(Target::Transcript { files, is_all: true, current, agent: agent(&absolute) })
        }
        [] if data(&absolute).is_some() || state_dir.own().is_dir() => {
            let current = state_dir.common_transcript();
            Ok(Target::Transcript { files: Vec::new(), is_all: true, current, agent: agent(&absolute) })
        }
        [] => {
            let advice = "name one, or a transcript, a rollout or an agent";
            Err(TargetError::NoTranscript { folder: shown(folder), advice })
        }
        _ => {
            let transcripts = transcripts.into_iter().map(|(transcript, _)| transcript).collect();
            Err(TargetError::SeveralTranscripts { folder: shown(folder), transcripts })
        }
    }
}

/// What a file holds: told by its content, never by its name.
fn in_file(path: &Path) -> Result<Target, TargetError> {
    let failed = |source| TargetError::Io { path: shown(path), source };
    let absolute = std::path::absolute(path).map_err(failed)?;
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(TargetError::NoFileOnDisk { path: shown(path) });
    }
    let kind = kind_of(&absolute).map_err(failed)?;
    match kind {
        Some(FileKind::Rollout) => {
            let stem = absolute.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            Ok(Target::Rollout { agent: Agent { kind: None, id: thread_id(&stem) }, path: absolute })
        }
        Some(FileKind::CompressedTranscript) => Err(TargetError::Compressed { path: shown(path) }),
        Some(FileKind::Transcript | FileKind::NotBegun) => {
            let agent = absolute.ancestors().skip(1).find(|above| data(above).is_some()).map(agent).unwrap_or_default();
            Ok(Target::Transcript { files: vec![absolute.clone()], is_all: false, current: absolute, agent })
        }
        None => Err(TargetError::Neither { path: shown(path) }),
    }
}

/// The thread's id in a rollout's name, `rollout-<time>-<id>.jsonl` or `rollout-<time>-<id>_<id>.jsonl`.
fn thread_id(name: &str) -> Option<String> {
    const TIME: usize = "2026-01-31T12-34-56-".len();
    let id = name.strip_prefix("rollout-")?.get(TIME..)?.split(['.', '_']).next()?;
    (!id.is_empty()).then(|| id.to_owned())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileKind {
    Rollout,
    Transcript,
    CompressedTranscript,
    /// Either of the first two: nothing is in it yet that tells.
    NotBegun,
}

/// Whether it cannot be told yet what stands at a path, since no whole line does. [`find`] takes it for a transcript.
///
/// # Errors
///
/// [`TargetError`]
pub fn is_not_begun(path: &Path) -> Result<bool, TargetError> {
    let failed = |source| TargetError::Io { path: shown(path), source };
    let file = match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => path.to_owned(),
        // Of several files the first is whole.
        Ok(metadata) if metadata.is_dir() => match files_in(path).map_err(failed)?.as_slice() {
            [only] => only.clone(),
            _ => return Ok(false),
        },
        _ => return Ok(false),
    };
    Ok(kind_of(&file).map_err(failed)? == Some(FileKind::NotBegun))
}

/// What the file is: the first line that is a JSON object tells. An empty file is one that has not begun.
fn kind_of(path: &Path) -> io::Result<Option<FileKind>> {
    // A line that tells nothing can be a torn or damaged one; more than some of them are not.
    const MOST_LINES: usize = 64;
    // The beginning of a line tells, and it can be as long as a session.
    const MOST_KEPT: usize = 64 << 20;
    let input = Input::open(path)?;
    let is_compressed = input.is_compressed();
    let transcript = if is_compressed { FileKind::CompressedTranscript } else { FileKind::Transcript };
    let mut lines = Lines::new(input, DEFAULT_LINE_LIMIT).keeping(MOST_KEPT);
    let mut tape = Tape::default();
    let mut are_blank = true;
    for _ in 0..MOST_LINES {
        let Some(line) = lines.next_line()? else {
            // The first line may still be being written.
            return match lines.partial_line() {
                Some(_) if are_blank => kind_of_half(path, transcript),
                None if are_blank && !is_compressed => Ok(Some(FileKind::NotBegun)),
                _ => Ok(None),
            };
        };
        are_blank &= line.text.bytes().trim_ascii().is_empty();
        let Ok(record) = Record::read(line.text, &mut tape) else { continue };
        return Ok(match record.kind() {
            RecordKind::Header | RecordKind::Step(_) | RecordKind::Observation | RecordKind::Retired => {
                Some(transcript)
            }
            // Every version writes these two (0.64 to 0.169).
            RecordKind::Other if record.member(b"payload").is_some() && record.member(b"type").is_some() => {
                Some(FileKind::Rollout)
            }
            RecordKind::Other => None,
        });
    }
    Ok(None)
}

/// What a file is whose only line has no end yet, by how it begins.
fn kind_of_half(path: &Path, transcript: FileKind) -> io::Result<Option<FileKind>> {
    const ROLLOUT: &[u8] = b"{\"timestamp\"";
    const MOST: u64 = 4 << 10;
    let mut head = Vec::new();
    Input::open(path)?.take(MOST).read_to_end(&mut head)?;
    Ok(match head.trim_ascii_start() {
        head if head.starts_with(ROLLOUT) => Some(FileKind::Rollout),
        head if ROLLOUT.starts_with(head) => (transcript == FileKind::Transcript).then_some(FileKind::NotBegun),
        [b'{', ..] => Some(transcript),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
