//! Whether a subscription or an API key pays for a thread.

use std::path::Path;

use crate::files::regular::read_regular;
use crate::json::{Tape, Text, scan};
use crate::rollout::session_meta::{member, string};

/// The provider that a login is for. Others are paid by their own keys.
const OPENAI: &str = "openai";

/// How a thread is paid for, in mngr's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CostMode {
    Subscription,
    ApiKey,
}

impl CostMode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Subscription => "SUBSCRIPTION",
            Self::ApiKey => "API_KEY",
        }
    }

    /// Returns how a thread with this provider is paid for, in the Codex home `home`. Returns `None` if that is not known:
    /// Codex can keep its login outside of the home, in a keyring. `has_limits` is whether the thread has shown limits,
    /// which only subscriptions have.
    pub(super) fn of(provider: Option<&str>, home: Option<&Path>, has_limits: bool) -> Option<Self> {
        if provider.is_some_and(|provider| provider != OPENAI) {
            return Some(Self::ApiKey);
        }
        let login = home.and_then(|home| read_regular(&home.join("auth.json")).ok()).and_then(Self::of_login);
        login.or(has_limits.then_some(Self::Subscription))
    }

    /// Returns how a thread is paid for with the login in Codex's `auth.json`, by the rules of Codex: `auth_mode` decides,
    /// which earlier versions do not write, then the API key.
    fn of_login(mut json: Vec<u8>) -> Option<Self> {
        let text = Text::pad(&mut json);
        scan(text, &mut Tape::default()).ok()?;
        let is_set = |name| member(text.bytes(), name).is_some_and(|value| value != b"null");
        match string(text.bytes(), "auth_mode") {
            Some(mode) if mode.eq_ignore_ascii_case("apikey") => Some(Self::ApiKey),
            Some(mode) if mode.to_ascii_lowercase().starts_with("chatgpt") => Some(Self::Subscription),
            _ if string(text.bytes(), "OPENAI_API_KEY").is_some() => Some(Self::ApiKey),
            _ => is_set("tokens").then_some(Self::Subscription),
        }
    }
}

/// Returns the Codex home that contains a rollout: the folder with its `sessions` or `archived_sessions`.
pub(super) fn home_of(rollout: &Path) -> Option<&Path> {
    let is_sessions = |folder: &&Path| folder.ends_with("sessions") || folder.ends_with("archived_sessions");
    rollout.ancestors().skip(1).find(is_sessions)?.parent()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_decides_who_pays() {
        let (key, plan) = (Some(CostMode::ApiKey), Some(CostMode::Subscription));
        for (login, expected) in [
            (r#"{"auth_mode":"apikey","OPENAI_API_KEY":"sk-1"}"#, key),
            (r#"{"OPENAI_API_KEY":"sk-1","tokens":{"id_token":"x"}}"#, key),
            (r#"{"auth_mode":"chatgpt","OPENAI_API_KEY":"sk-1","tokens":{}}"#, plan),
            (r#"{"auth_mode":"chatgptAuthTokens","tokens":{}}"#, plan),
            (r#"{"OPENAI_API_KEY":null,"tokens":{"id_token":"x"}}"#, plan),
            (r#"{"OPENAI_API_KEY":null,"tokens":null}"#, None),
            ("{}", None),
            ("[1]", None),
            ("not json", None),
            ("", None),
        ] {
            let home = tempfile::tempdir().expect("a folder");
            std::fs::write(home.path().join("auth.json"), login).expect("a file");
            assert_eq!(CostMode::of(Some("openai"), Some(home.path()), false), expected, "{login}");
            assert_eq!(CostMode::of(None, Some(home.path()), true), expected.or(plan), "{login}");
            assert_eq!(CostMode::of(Some("azure"), Some(home.path()), true), key);
        }
        assert_eq!(CostMode::of(Some("openai"), None, false), None);
    }

    #[test]
    fn the_home_contains_the_sessions() {
        let home = |path| home_of(Path::new(path));
        assert_eq!(home("/h/sessions/2026/01/31/rollout-x.jsonl"), Some(Path::new("/h")));
        assert_eq!(home("/h/archived_sessions/rollout-x.jsonl.zst"), Some(Path::new("/h")));
        assert_eq!(home("/h/other/rollout-x.jsonl"), None);
    }
}
