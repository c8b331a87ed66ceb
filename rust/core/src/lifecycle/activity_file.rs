//! The file `activity/agent`, which is touched while an agent is working: mngr stops a host whose agents have not touched
//! theirs for a while.

use std::io::Write;

use crate::files::file_error::FileError;
use crate::files::open;
use crate::state_dir::StateDir;

/// Writes the file. mngr reads the time of its last change, and the content is for people. `now` is in milliseconds since
/// 1970.
///
/// # Errors
///
/// Returns an error if the file or its folder cannot be created or written.
pub(crate) fn touch(dir: &StateDir, now: u64) -> Result<(), FileError> {
    let path = dir.activity();
    let mut options = open::options();
    // It always has the same length, and a file system can spend much time on truncating a file.
    let opened = open::open_or_create(dir, &path, options.write(true).create(true).truncate(false));
    let content = format!("{{\"time\":{now:013},\"source\":\"mngr_codex\"}}\n");
    opened.and_then(|mut file| file.write_all(content.as_bytes())).map_err(FileError::on("write", &path))
}
