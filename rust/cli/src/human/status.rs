//! The list of sessions and their states in human-readable form.

use std::env;
use std::path::Path;

use mngr_codex_core::status::{SessionState, SessionStatus};
use unicode_width::UnicodeWidthStr;

use super::terminal::{cut_to_columns, push_safe};
use super::units::elapsed;
use crate::live_output::Size;

/// The titles of the columns.
const TITLES: [&str; 4] = ["STATE", "FOR", "FOLDER", "SESSION"];

/// The width to which folders are shortened at most, in columns.
const MIN_FOLDER: usize = 12;

/// The width to which names of sessions are shortened at most, in columns: the part of an id that tells sessions apart.
const MIN_SESSION: usize = 14;

/// Formats sessions as a table. `now` is the present time, in milliseconds since 1970. If the table is wider than the
/// terminal, folders are shortened, and then the names of sessions. If it is higher, the last line says how many sessions
/// are not shown. Returns nothing for no sessions.
pub(crate) fn status(sessions: &[SessionStatus], now: u64, size: Size) -> String {
    if sessions.is_empty() {
        return String::new();
    }
    let columns = size.columns;
    // The last row of a terminal stays free.
    let room = size.rows.saturating_sub(1);
    let count = if sessions.len() < room { sessions.len() } else { room.saturating_sub(2) };
    let (sessions, others) = sessions.split_at(count);
    let titles = TITLES.map(str::to_owned);
    let mut rows: Vec<[String; 4]> =
        std::iter::once(titles).chain(sessions.iter().map(|session| row(session, now))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
    let excess = (width(0) + width(1) + width(2) + width(3) + 6).saturating_sub(columns);
    let limit = width(2).saturating_sub(excess).max(MIN_FOLDER);
    let widths = [width(0), width(1), width(2).min(limit)];
    let session_limit = columns.saturating_sub(widths.iter().sum::<usize>() + 6).max(MIN_SESSION);
    for row in &mut rows {
        row[2] = end_of(&row[2], limit);
        row[3] = beginning_of(&row[3], session_limit);
    }
    let mut text = String::new();
    for [state, time, folder, session] in &rows {
        let mut line = String::new();
        for (cell, width) in [state, time, folder].into_iter().zip(widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width()) + 2));
        }
        line.push_str(session);
        text.extend([cut_to_columns(&line, columns), "\n"]);
    }
    if !others.is_empty() {
        text.extend([cut_to_columns(&format!("… and {} more", others.len()), columns), "\n"]);
    }
    text
}

/// Returns the beginning of a text that is wider than `columns`, before an ellipsis.
fn beginning_of(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    format!("{}…", cut_to_columns(text, columns.saturating_sub(1)))
}

/// Returns the end of a text that is wider than `columns`, after an ellipsis.
fn end_of(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut ends = text.char_indices().map(|(at, _)| &text[at..]);
    let end = ends.find(|end| end.width() < columns).unwrap_or_default();
    format!("…{end}")
}

fn row(session: &SessionStatus, now: u64) -> [String; 4] {
    let time = session.since.map_or_else(String::new, |since| elapsed(now.saturating_sub(since)));
    [state(session), time, folder(session), name(session)]
}

/// Formats a session that has changed, as one line.
pub(crate) fn status_change(session: &SessionStatus) -> String {
    format!("{:<8}  {}  {}\n", state(session), folder(session), name(session))
}

fn state(session: &SessionStatus) -> String {
    let state = match session.state {
        SessionState::Running => "RUNNING",
        SessionState::Waiting => "WAITING",
        SessionState::Unknown => "UNKNOWN",
        SessionState::Ended => "ENDED",
    };
    match session.waiting_reason {
        Some(reason) if reason != "END_OF_TURN" => format!("{state} {reason}"),
        _ => state.to_owned(),
    }
}

/// Returns the folder of a session, with `~` for the home.
fn folder(session: &SessionStatus) -> String {
    let Some(folder) = session.cwd.as_deref() else { return "-".to_owned() };
    let home = env::var_os("HOME").filter(|home| !home.is_empty());
    let in_home = home.and_then(|home| Path::new(folder).strip_prefix(home).ok().map(Path::to_owned));
    match in_home {
        Some(rest) if rest.as_os_str().is_empty() => "~".to_owned(),
        Some(rest) => safe(&format!("~/{}", rest.display())),
        None => safe(folder),
    }
}

/// Returns the name of an agent and the id of the session.
fn name(session: &SessionStatus) -> String {
    let id = session.session_id.as_deref();
    match (&session.agent, id) {
        (Some(agent), Some(id)) => safe(&format!("{agent} ({id})")),
        (Some(only), None) => safe(only),
        (None, id) => safe(id.unwrap_or("-")),
    }
}

/// Makes a text safe for a terminal, on one line.
fn safe(text: &str) -> String {
    let mut out = Vec::new();
    push_safe(text.replace(['\n', '\t'], " ").as_bytes(), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
