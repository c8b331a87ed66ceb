//! What a hook does that ends a turn: it brings the transcripts up to date, if that takes no time to speak of.

use std::time::{Duration, Instant};

use super::pass::{FollowError, Follower, Until};
use crate::event_log::{Level, log};
use crate::files::lock::LockError;
use crate::state_dir::StateDir;

/// How long a hook goes on, where nobody says otherwise. Codex waits for its hooks.
pub const BUDGET: Duration = Duration::from_millis(50);

/// Makes one brief pass, which ends within `budget` but for the step that it is at; what is left then, or where another
/// makes one all that time, is a watcher's. What fails is said in the log.
pub fn flush(dir: &StateDir, budget: Duration) {
    if !dir.transcript_paths().exists() && !dir.transcript_path().exists() {
        return;
    }
    let until = Until { deadline: Some(Instant::now() + budget), is_final: false, is_brief: true };
    match Follower::new(dir.clone()).pass(until, budget, None) {
        Ok(_) | Err(FollowError::NoStateDir(_) | FollowError::Lock { source: LockError::Held(_), .. }) => {}
        // There may be no place for a log, and nobody to be told.
        Err(error) => drop(log(dir, Level::Error, &format!("transcripts before a turn's end: {error}"))),
    }
}
