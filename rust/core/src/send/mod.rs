//! Sends a message to a running Codex: types it into the composer of the TUI, exactly once.

mod text;

pub use text::{clean_message, is_slash_command};
