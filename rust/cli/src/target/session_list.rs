//! Sessions on one line each: when they were changed last, their folder and their title.

use std::env;
use std::path::Path;
use std::time::SystemTime;

use mngr_codex_core::{Session, SessionHead, SessionNames};

use crate::human::{cut_to_columns, safe_line};

/// The maximum width of a folder, in columns. Its end is shown.
const MAX_FOLDER: usize = 32;

/// The lines for sessions.
pub(super) struct SessionList {
    rows: Vec<Row>,
}

struct Row {
    id: String,
    age: String,
    folder: String,
    title: String,
}

impl SessionList {
    /// Reads the beginnings of the sessions' rollouts.
    pub(super) fn of(sessions: &[Session]) -> Self {
        let (now, user_home) = (SystemTime::now(), env::var_os("HOME").unwrap_or_default());
        let mut names: Vec<(&Path, SessionNames)> = Vec::new();
        let rows = sessions.iter().map(|session| {
            let home = session.home.as_path();
            if !names.iter().any(|(known, _)| *known == home) {
                names.push((home, SessionNames::in_home(home)));
            }
            let names = names.iter().find(|(known, _)| *known == home).map(|(_, names)| names);
            // A session that cannot be read is listed by its id.
            let read = names.and_then(|names| SessionHead::read_named(&session.path, names).ok());
            let head = read.unwrap_or_default();
            let folder = head.meta.cwd.map(|cwd| folder(&cwd, Path::new(&user_home))).unwrap_or_default();
            let title = head.title.unwrap_or_else(|| format!("({})", session.id));
            let age = now.duration_since(session.modified).unwrap_or_default().as_secs();
            Row { id: session.id.clone(), age: age_of(age), folder, title: safe_line(&title) }
        });
        Self { rows: rows.collect() }
    }

    /// Returns a line for each session, cut to a number of columns. Each is different.
    pub(super) fn lines(&self, columns: usize) -> impl Iterator<Item = String> {
        let age_width = self.rows.iter().map(|row| row.age.len()).max().unwrap_or_default();
        let folder_width = self.rows.iter().map(|row| row.folder.chars().count()).max().unwrap_or_default();
        let number_width = self.rows.len().to_string().len();
        self.rows.iter().enumerate().map(move |(index, Row { age, folder, title, .. })| {
            let number = index + 1;
            let line = format!("{number:>number_width$}  {age:>age_width$}  {folder:folder_width$}  {title}");
            cut_to_columns(&line, columns).to_owned()
        })
    }

    /// Returns a line for each session that begins with its id.
    pub(super) fn with_ids(&self) -> impl Iterator<Item = String> {
        self.rows.iter().map(|Row { id, age, folder, title }| {
            cut_to_columns(&format!("{id}  {age}  {folder}  {title}"), 160).trim_end().to_owned()
        })
    }
}

/// Formats the time since something happened: `3 min ago`.
fn age_of(seconds: u64) -> String {
    match seconds {
        0..60 => "just now".to_owned(),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// Formats a folder, with `~` for the user's home, and only the end of a long one.
fn folder(cwd: &Path, user_home: &Path) -> String {
    let text = match cwd.strip_prefix(user_home) {
        Ok(rest) if user_home.components().count() > 1 => Path::new("~").join(rest),
        _ => cwd.to_owned(),
    };
    let text = safe_line(&text.to_string_lossy());
    let text = text.trim_end_matches('/');
    let length = text.chars().count();
    if length <= MAX_FOLDER {
        return text.to_owned();
    }
    std::iter::once('…').chain(text.chars().skip(length - MAX_FOLDER + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_in_one_unit() {
        for (seconds, expected) in [
            (0, "just now"),
            (59, "just now"),
            (60, "1 min ago"),
            (3_599, "59 min ago"),
            (3_600, "1 h ago"),
            (172_799, "47 h ago"),
            (172_800, "2 days ago"),
        ] {
            assert_eq!(age_of(seconds), expected);
        }
    }

    #[test]
    fn a_folder_is_shown_by_its_end() {
        let shown = |cwd: &str| folder(Path::new(cwd), Path::new("/home/ada"));
        assert_eq!(shown("/home/ada/src"), "~/src");
        assert_eq!(shown("/home/ada"), "~");
        assert_eq!(shown("/home/adam"), "/home/adam");
        let long = shown("/home/ada/a/long/path/to/some/deep/project");
        assert_eq!((long.chars().count(), long.as_str()), (MAX_FOLDER, "…/long/path/to/some/deep/project"));
        assert_eq!(folder(Path::new("/x\x1b[2J"), Path::new("/")), "/x^[[2J");
    }

    #[test]
    fn lines_are_aligned_numbered_and_cut() {
        let row = |age: &str, folder: &str, title: &str| Row {
            id: "01a2".to_owned(),
            age: age.to_owned(),
            folder: folder.to_owned(),
            title: title.to_owned(),
        };
        let list = SessionList { rows: vec![row("just now", "~/a", "fix it"), row("3 min ago", "~/long", "")] };
        let lines: Vec<_> = list.lines(80).collect();
        assert_eq!(lines, ["1   just now  ~/a     fix it", "2  3 min ago  ~/long  "]);
        assert_eq!(list.lines(12).collect::<Vec<_>>(), ["1   just now", "2  3 min ago"]);
        assert_eq!(list.with_ids().collect::<Vec<_>>(), ["01a2  just now  ~/a  fix it", "01a2  3 min ago  ~/long"]);
    }
}
