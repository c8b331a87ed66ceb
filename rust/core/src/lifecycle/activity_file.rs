//! The file `activity/agent`, which is touched while an agent is working: mngr stops a host whose agents have not touched
//! theirs for a while.

use std::io::Write;
use std::time::{Duration, Instant};

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

/// How often the file is touched during a turn: a long command or a long thought writes no lines. mngr stops a host after
/// minutes.
const INTERVAL: Duration = Duration::from_secs(15);

/// How often the file is touched at most if the rollouts grow.
const INTERVAL_OF_LINES: Duration = Duration::from_secs(10);

/// Decides when the file has to be touched. The caller supplies the time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ActivityTimer {
    /// When the file was touched the last time in the present turn.
    touched: Option<Instant>,
}

impl ActivityTimer {
    /// Returns whether to touch the file now. `is_in_turn` is whether a turn is running, even if Codex waits for an answer
    /// in it, and `has_grown` is whether there are new lines.
    pub(crate) fn is_due(&mut self, is_in_turn: bool, has_grown: bool, now: Instant) -> bool {
        if !is_in_turn {
            self.touched = None;
            return false;
        }
        let interval = if has_grown { INTERVAL_OF_LINES } else { INTERVAL };
        let is_due = self.touched.is_none_or(|touched| now.saturating_duration_since(touched) >= interval);
        if is_due {
            self.touched = Some(now);
        }
        is_due
    }

    /// Returns how long to wait before the next call of [`ActivityTimer::is_due`] if nothing changes: forever outside of
    /// turns.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let passed = self.touched.map(|touched| now.saturating_duration_since(touched));
        passed.map_or(Duration::MAX, |passed| INTERVAL.saturating_sub(passed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a turn of 100 s. Returns the seconds at which the file is touched, and how often the caller wakes up.
    fn touches(lines: &[u64]) -> (Vec<u64>, usize) {
        let (start, mut timer) = (Instant::now(), ActivityTimer::default());
        let (mut now, mut touched, mut wake_ups) = (0, Vec::new(), 0);
        while now < 100 {
            if timer.is_due(true, lines.contains(&now), start + Duration::from_secs(now)) {
                touched.push(now);
            }
            wake_ups += 1;
            let timeout = now + timer.wait(start + Duration::from_secs(now)).as_secs();
            let line = lines.iter().copied().find(|line| *line > now).unwrap_or(u64::MAX);
            assert!(timeout > now, "it waits");
            now = timeout.min(line);
        }
        (touched, wake_ups)
    }

    #[test]
    fn a_turn_without_lines_touches_the_file_every_15_seconds() {
        assert_eq!(touches(&[]), (vec![0, 15, 30, 45, 60, 75, 90], 7));
    }

    #[test]
    fn lines_touch_the_file_at_most_every_10_seconds() {
        assert_eq!(touches(&[3, 9, 12, 13, 40]).0, [0, 12, 27, 40, 55, 70, 85]);
        let every_second: Vec<u64> = (0..100).collect();
        assert_eq!(touches(&every_second).0, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
    }

    #[test]
    fn nothing_is_due_outside_of_turns_and_at_once_in_the_next_one() {
        let (start, mut timer) = (Instant::now(), ActivityTimer::default());
        let at = |second| start + Duration::from_secs(second);
        for second in [0, 100, 10_000] {
            assert!(!timer.is_due(false, true, at(second)));
            assert_eq!(timer.wait(at(second)), Duration::MAX);
        }
        assert!(timer.is_due(true, false, at(10_001)));
        assert!(!timer.is_due(true, true, at(10_002)));
        assert_eq!(timer.wait(at(10_002)), Duration::from_secs(14));
        // A late wake-up.
        assert_eq!(timer.wait(at(11_000)), Duration::ZERO);
        assert!(!timer.is_due(false, false, at(11_001)));
        assert!(timer.is_due(true, false, at(11_002)));
    }

    #[test]
    fn the_file_always_has_the_same_length() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = StateDir::new(folder.path());
        for (time, shown) in [(5, "0000000000005"), (1_796_114_002_031, "1796114002031")] {
            touch(&dir, time).expect("can be touched");
            let content = std::fs::read_to_string(dir.activity()).expect("it exists");
            assert_eq!(content, format!("{{\"time\":{shown},\"source\":\"mngr_codex\"}}\n"));
        }
        assert!(touch(&StateDir::new(folder.path().join("none")), 5).is_err());
    }
}
