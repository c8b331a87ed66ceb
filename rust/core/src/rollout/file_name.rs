//! The names of rollouts: `rollout-<time>-<thread id>.jsonl`.
//!
//! After going back in a conversation, Codex writes a further file of the same thread,
//! `rollout-<time>-<thread id>_<id>.jsonl` (seen on 0.163 and 0.169). It compresses idle files and adds `.zst` to their
//! names.

use std::path::Path;

/// The parts of a rollout's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RolloutName<'a> {
    /// The local time at which the file was created, as in `2026-01-31T12-34-56`. Later times are greater texts.
    pub(crate) time: &'a str,
    /// The id of the thread.
    pub(crate) thread_id: &'a str,
    /// Whether the name ends in `.zst`.
    pub(crate) is_compressed: bool,
}

impl<'a> RolloutName<'a> {
    /// Parses a file name. Returns `None` if it has another form.
    #[must_use]
    pub(crate) fn parse(name: &'a str) -> Option<Self> {
        const TIME: usize = "2026-01-31T12-34-56".len();
        let rest = name.strip_prefix("rollout-")?;
        let (time, rest) = rest.split_at_checked(TIME)?;
        let (stem, extension) = rest.strip_prefix('-')?.split_once('.')?;
        let is_compressed = match extension {
            "jsonl" => false,
            "jsonl.zst" => true,
            _ => return None,
        };
        let thread_id = stem.split('_').next().filter(|id| !id.is_empty())?;
        Some(Self { time, thread_id, is_compressed })
    }
}

/// Returns the thread id in the name of a rollout.
#[must_use]
pub(crate) fn thread_id_in(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    RolloutName::parse(&name).map(|name| name.thread_id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-01-31T12-34-56";

    #[test]
    fn the_parts_of_a_name_are_read() {
        let parse = |name| RolloutName::parse(name).map(|name| (name.time, name.thread_id, name.is_compressed));
        assert_eq!(parse("rollout-2026-01-31T12-34-56-019a-7b.jsonl"), Some((TIME, "019a-7b", false)));
        assert_eq!(parse("rollout-2026-01-31T12-34-56-019a-7b.jsonl.zst"), Some((TIME, "019a-7b", true)));
        assert_eq!(parse("rollout-2026-01-31T12-34-56-019a-7b_0b1c-22.jsonl"), Some((TIME, "019a-7b", false)));
        for other in [
            "rollout-2026-01-31T12-34-56-.jsonl",
            "rollout-2026-01-31T12-34-56-019a.jsonl.tmp",
            "rollout-2026-01-31T12-34-56-019a",
            "rollout-2026.jsonl",
            "events.jsonl",
            "rollout-ééééééééééé-1.jsonl",
            "",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
        assert_eq!(thread_id_in(Path::new("/x/rollout-2026-01-31T12-34-56-019a.jsonl")).as_deref(), Some("019a"));
        assert_eq!(thread_id_in(Path::new("/")), None);
    }
}
