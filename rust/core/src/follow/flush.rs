//! The brief pass of a hook that ends a turn. It brings the transcripts up to date before the agent shows WAITING, if that
//! takes little time.

use std::time::{Duration, Instant};

use super::error::FollowError;
use super::pass::{Follower, PassOptions};
use crate::event_log::{Level, log};
use crate::files::lock::LockError;
use crate::state_dir::StateDir;

/// The default duration of the pass. Codex waits for its hooks.
pub const FLUSH_BUDGET: Duration = Duration::from_millis(50);

/// Makes one brief pass. It stops after the step during which `budget` has passed, or if another process holds the lock until
/// then. The watcher copies the rest. Errors are logged.
pub fn flush_transcripts(dir: &StateDir, budget: Duration) {
    if !dir.transcript_paths().exists() && !dir.transcript_path().exists() {
        return;
    }
    let options = PassOptions { deadline: Some(Instant::now() + budget), is_final: false, is_brief: true };
    match Follower::new(dir.clone()).pass(options, budget, None) {
        Ok(_) | Err(FollowError::NoStateDir(_) | FollowError::Lock(LockError::Timeout { .. })) => {}
        Err(error) => {
            log(dir, Level::Error, &format!("cannot update the transcripts before the end of a turn: {error}"));
        }
    }
}
