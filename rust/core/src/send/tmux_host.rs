//! The host on which the program runs: Codex in a pane of tmux.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::files::file_error::FileError;
use crate::files::regular::read_regular;
use crate::state_dir::StateDir;
use crate::terminal::{Pane, TerminalError, delete_buffer, load_buffer};

use super::Request;
use super::host::{Effect, Fault, Host, Lengths, Look, Marker};
use super::record::Record;
use super::rollouts::RolloutReader;
use super::store::Store;
use super::text::MessagePattern;
use super::token::Token;

/// How often the terminal is read if tmux does not respond.
const MAX_LOOKS: u32 = 3;
/// A Codex that was started longer ago does not show its composer before its login screen.
const JUST_STARTED: Duration = Duration::from_secs(60);

impl From<TerminalError> for Fault {
    fn from(error: TerminalError) -> Self {
        match error {
            TerminalError::Tmux(_) => Self::Tmux(error.to_string()),
            TerminalError::Refused(_) | TerminalError::NoPane(_) => Self::Terminal(error.to_string()),
        }
    }
}

/// The host of an agent.
pub(super) struct TmuxHost<'a> {
    dir: &'a StateDir,
    target: Option<String>,
    pane: Option<Pane>,
    token: &'a Token,
    store: &'a Store,
    rollouts: RolloutReader,
    interrupt: &'a AtomicBool,
    started: Instant,
}

impl<'a> TmuxHost<'a> {
    pub(super) fn new(dir: &'a StateDir, request: &Request<'a>, store: &'a Store) -> Self {
        Self {
            dir,
            target: request.target.map(str::to_owned),
            pane: None,
            token: request.token,
            store,
            rollouts: RolloutReader::new(dir.codex_home()),
            interrupt: request.interrupt,
            started: Instant::now(),
        }
    }

    fn pane(&mut self) -> Result<&Pane, TerminalError> {
        let pane = match self.pane.take() {
            Some(pane) => pane,
            None => Pane::find(self.dir.path(), self.target.as_deref())?,
        };
        Ok(self.pane.insert(pane))
    }

    /// Removes what tmux keeps for a message that needs nothing more.
    pub(super) fn clean_up(&mut self) {
        let option = option(self.token);
        if let Ok(pane) = self.pane() {
            pane.remove_option(&option);
        }
    }
}

/// Returns the name of the buffer with the text of a message. A pane can be used by another message before a run that was
/// killed goes on, so the names differ.
fn buffer(token: &Token) -> String {
    format!("mngr-codex-{}", token.as_str())
}

/// Returns the name of the pane's option with the number of the last change that was made for a message.
fn option(token: &Token) -> String {
    format!("@mngr_codex_{}", token.as_str())
}

/// Removes the texts of messages that were not pasted. Their runs were killed; another run loads its text again.
pub(super) fn forget_texts(tokens: &[Token]) {
    for token in tokens {
        delete_buffer(&buffer(token));
    }
}

impl Host for TmuxHost<'_> {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn wait(&mut self, limit: Duration) {
        self.rollouts.wait(limit);
    }

    fn is_interrupted(&self) -> bool {
        self.interrupt.load(Ordering::SeqCst)
    }

    fn has(&self, marker: Marker) -> bool {
        let path: PathBuf = match marker {
            Marker::Permissions => self.dir.permissions_waiting(),
            Marker::Question => self.dir.question_waiting(),
            Marker::Turn => self.dir.root_active(),
        };
        path.exists()
    }

    fn lacks_login(&self) -> bool {
        let started = self.dir.started().metadata().and_then(|metadata| metadata.modified());
        let is_new = started.is_ok_and(|started| started.elapsed().is_ok_and(|age| age < JUST_STARTED));
        let home = self.dir.codex_home();
        let has_login = home.join("auth.json").metadata().is_ok_and(|metadata| metadata.len() > 0);
        let config = || String::from_utf8(read_regular(&home.join("config.toml")).ok()?).ok();
        is_new && !has_login && config().is_some_and(|config| needs_login(&config))
    }

    fn look(&mut self) -> Result<Look, Fault> {
        let mut tries = 1;
        let seen = loop {
            match self.pane()?.look() {
                // A machine that does not respond for a moment says nothing about Codex.
                Err(TerminalError::Tmux(error)) if error.kind() == ErrorKind::TimedOut && tries < MAX_LOOKS => {
                    tries += 1;
                }
                seen => break seen?,
            }
        };
        Ok(Look { pane: seen.identity, screen: seen.screen })
    }

    fn last_change(&mut self) -> Result<u32, Fault> {
        let option = option(self.token);
        Ok(self.pane()?.option(&option)?.parse().unwrap_or(0))
    }

    fn load(&mut self, text: &str) -> Result<(), Fault> {
        Ok(load_buffer(&buffer(self.token), text.as_bytes())?)
    }

    fn change(&mut self, effect: Effect, number: u32) -> Result<(), Fault> {
        let (option, buffer) = (option(self.token), buffer(self.token));
        let value = number.to_string();
        let pane = self.pane()?;
        let result = match effect {
            Effect::Paste => pane.change(&[&["paste-buffer", "-p", "-d", "-b", &buffer]], &option, &value),
            Effect::Enter => pane.change(&[&["send-keys", "Enter"]], &option, &value),
            Effect::Space => pane.change(&[&["send-keys", "Space"]], &option, &value),
            Effect::Delete { keys } => {
                let keys = keys.to_string();
                let press = |key| ["send-keys", "-N", &keys, key];
                pane.change(&[&press("C-u"), &press("C-k")], &option, &value)
            }
        };
        Ok(result?)
    }

    fn lengths(&mut self) -> Lengths {
        self.rollouts.lengths()
    }

    fn has_arrived(&mut self, before: &Lengths, pattern: &MessagePattern) -> bool {
        self.rollouts.has(before, pattern)
    }

    fn save(&mut self, record: &Record) -> Result<(), Fault> {
        self.store.write(self.token, record).map_err(|error: FileError| Fault::File(error))
    }
}

/// Returns whether Codex asks for a login with these settings: for the models of `OpenAI`, and for providers that require
/// one. False if the settings are damaged.
fn needs_login(config: &str) -> bool {
    let Ok(config) = config.parse::<toml::Table>() else { return false };
    let provider = match config.get("model_provider") {
        None => "openai",
        Some(provider) => provider.as_str().unwrap_or_default(),
    };
    let settings = config.get("model_providers").and_then(|providers| providers.get(provider));
    match settings.and_then(toml::Value::as_table) {
        Some(settings) => settings.get("requires_openai_auth").and_then(toml::Value::as_bool) == Some(true),
        None => provider == "openai",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_needed_for_openai_and_where_a_provider_requires_it() {
        for (config, is_needed) in [
            ("", true),
            ("model_provider = \"openai\"", true),
            ("model_provider = \"other\"", false),
            ("model_provider = 3", false),
            ("model_provider = \"x\"\n[model_providers.x]\nrequires_openai_auth = true", true),
            ("model_provider = \"x\"\n[model_providers.x]\nrequires_openai_auth = false", false),
            ("[model_providers.openai]\nname = \"x\"", false),
            ("model_provider = ", false),
        ] {
            assert_eq!(needs_login(config), is_needed, "{config}");
        }
    }
}
