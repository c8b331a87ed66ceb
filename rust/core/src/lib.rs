//! Reads Codex's session files ("rollouts") and keeps mngr informed about running agents.
//!
//! This is the logic behind the program `mngr-codex` and the Python package. It knows neither Python nor the command line,
//! and prints nothing. Where to start:
//!
//! * **Converting a rollout.** [`Input`] opens one, compressed or not, and [`convert()`] writes its common transcript.
//!   [`BatchConverter`] does the same in batches, [`IncrementalConverter`] for a rollout that grows.
//! * **Reading transcripts.** [`locate`] finds the transcript at a path, [`Stream`] reads a transcript's lines, [`Selection`]
//!   chooses records, [`TailFollower`] waits for new ones, and [`atif`] writes a document.
//! * **Following an agent.** [`Watcher`] copies the rollouts of the agent in a [`StateDir`] to its transcripts;
//!   [`flush_transcripts`] is the short version for hooks.
//! * **RUNNING or WAITING.** [`marker`] applies a [`HookRun`] to the lifecycle state and returns the state as a [`Report`].
//! * **The sessions of a machine.** [`find_place`] finds what a user names, [`newest_sessions`] lists sessions, and
//!   [`SessionHead`] has a session's folder, model and title.
//!   [`hooks_file`] adds the hooks that report what sessions do to Codex's `hooks.json`, [`session_dir`] keeps a state
//!   directory for each, and [`status`] lists them.
//!
//! The modules import only from those before them: `json`, `files`, `rollout`, `convert`, `meter`, `watch`,
//! `transcript`, `lifecycle`, `hooks_file`, `follow`, `sessions`, `status`, `screen`, `terminal`, `send`.
//!
//! # Examples
//!
//! ```
//! use mngr_codex_core::{Input, Options, convert};
//!
//! let rollout = concat!(
//!     r#"{"timestamp":"2026-01-05T10:00:00.000Z","type":"response_item","payload":"#,
//!     r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"Hello"}]}}"#,
//!     "\n",
//! );
//! let input = Input::from_reader(rollout.as_bytes())?;
//! let mut transcript = Vec::new();
//! let summary = convert(input, &mut transcript, &Options::default(), &mut |_bytes_read| true)?;
//! assert_eq!(summary.records, 2); // the header and one step
//! assert!(String::from_utf8(transcript)?.contains(r#""source":"user","message":"Hello""#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code, clippy::print_stdout, clippy::print_stderr)]

mod clock;
mod convert;
mod cut;
pub mod event_log;
mod files;
mod follow;
pub mod hooks_file;
mod json;
mod lifecycle;
mod meter;
mod process;
mod rollout;
mod screen;
mod send;
mod sessions;
mod state_dir;
pub mod status;
mod terminal;
mod transcript;
mod watch;

// Converting rollouts.
pub use convert::{
    BatchConverter, Checkpoint, ConvertError, Converter, End, IncrementalConverter, MalformedLine, Options,
    OutputError, Pending, Reread, Summary, convert, program_text, temporary_folder,
};
pub use rollout::ByteOffset;
pub use rollout::decompression::{Input, WindowTooLarge};
pub use rollout::lines::{DEFAULT_LINE_LIMIT, LineError, Lines};
pub use rollout::recognition::NotARollout;
pub use rollout::timestamp::parse as parse_timestamp;

// Reading transcripts.
pub use transcript::head_tail::{Selection, Window};
pub use transcript::last_records::{LastRecordsError, last_records};
pub use transcript::locate::{Agent, Target, TargetError};
pub use transcript::record::{Record, RecordKind, Role};
pub use transcript::resume::{Resumption, last_event_id};
pub use transcript::spool::spool;
pub use transcript::stream::{CopyError, Line, ReadError, Stream, StreamPosition};
pub use transcript::tail_follow::{TailEvent, TailFollower};
pub use transcript::{atif, locate};
pub use watch::{WakeUp, Watched, Watches};

// Agents: their files, their state, and following them.
pub use follow::flush::{FLUSH_BUDGET, flush_transcripts};
pub use follow::pending::{Activity, PendingReader};
pub use follow::rollout_list::rollout_of_transcript;
pub use follow::usage::{begin_live_output, inherit};
pub use follow::watcher::{LOCK_TIMEOUT, WatchError, Watcher};
pub use follow::{FollowError, PassSummary};
pub use lifecycle::error::{MarkerError, StoreError};
pub use lifecycle::hook::{HookEvent, HookRun};
pub use lifecycle::marker;
pub use lifecycle::report::{Report, Turn};
pub use lifecycle::session_dir;
pub use process::ProcessId;
pub use state_dir::StateDir;

// Codex's terminal.
pub use screen::{Dialog, Screen, Start, StartWatch, TypedText, View};
pub use send::{
    InvalidToken, Outcome as SendOutcome, OutcomeKind as SendOutcomeKind, Request as SendRequest, Token as SendToken,
    as_typed, clean_message, is_slash_command, send,
};
pub use terminal::{Pane, PaneView, TerminalError};

// Sessions.
pub use rollout::session_meta::SessionMeta;
pub use sessions::head::SessionHead;
pub use sessions::lookup::{MIN_ID_LENGTH, Session, newest as newest_sessions};
pub use sessions::names::SessionNames;
pub use sessions::places::{Places, codex_home};
pub use sessions::target::{Place, PlaceError, find as find_place, latest as latest_session};

// Files.
pub use files::atomic_write::{AtomicFile, target_folder};
pub use files::file_error::{FileError, escaped_path};
pub use files::lock::LockError;
pub use files::regular::read_regular;

// JSON.
pub use json::dump::{Members, write_compact_json, write_python_json, write_python_json_indented};
pub use json::number::may_exceed_64_bits;
pub use json::string::{decode_string, has_line_break, replace_invalid_utf8};
pub use json::{NOT_AN_OBJECT, Tape, Text};
