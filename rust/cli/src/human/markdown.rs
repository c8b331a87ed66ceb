//! Renders Markdown for a terminal.
//!
//! The parser is pulldown-cmark: it is small, needs no allocation per event, and leaves the output to its user. Renderers for
//! terminals on top of it or beside it bring their own terminal handling, and none keeps untrusted text from the terminal.
//! Every text of the document passes through [`push_safe`] after parsing, because a character reference such as `&#27;` is
//! a control character only then.

use std::ops::Range;

use pulldown_cmark::{Alignment, CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::terminal::push_safe;

/// The size in bytes above which a text is not rendered.
const MAX_TEXT: usize = 256 << 10;

/// The number of nested blocks above which a text is not rendered: the time for parsing grows with each of them.
const MAX_NESTED: usize = 64;

/// The number of columns that a line has at least, however deeply it is nested.
const MIN_COLUMNS: usize = 20;

/// The number of nested blocks that are indented.
const MAX_INDENTED: usize = 16;

const BOLD: &str = "1";
const DIM: &str = "2";
const ITALIC: &str = "3";
const UNDERLINED: &str = "4";
const STRUCK: &str = "9";
const CODE: &str = "36";

/// The column separator of a table, and the same in the line after its head.
const SEPARATOR: &str = " │ ";
const CROSSING: &str = "─┼─";

/// Returns the lines of a Markdown text, which contain SGR sequences but no other control sequence. Lines of code and tables
/// are as long as they are, all others have at most `columns` columns if their words fit. `base` is the SGR parameter of plain
/// text, or empty. Returns `None` if the text is too long or nested too deeply.
pub(super) fn render(text: &[u8], columns: usize, base: &'static str) -> Option<Vec<String>> {
    if text.len() > MAX_TEXT || text.split(|byte| *byte == b'\n').any(|line| count_markers(line) > MAX_NESTED) {
        return None;
    }
    let source = safe(text);
    let mut renderer = Renderer::new(&source, columns, base);
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    for (event, range) in Parser::new_ext(&source, options).into_offset_iter() {
        renderer.event(event, range);
    }
    renderer.end_row();
    Some(renderer.rows)
}

/// Counts the quotes and list items that may begin at the start of a line.
fn count_markers(line: &[u8]) -> usize {
    let is_marker = |byte: &u8| matches!(byte, b' ' | b'\t' | b'>' | b'*' | b'+' | b'-' | b'.' | b')' | b'0'..=b'9');
    let start = &line[..line.iter().take_while(|byte| is_marker(byte)).count()];
    let items =
        start.windows(2).filter(|pair| pair[1] == b' ' && !matches!(pair[0], b' ' | b'\t' | b'>' | b'0'..=b'9'));
    memchr::memchr_iter(b'>', start).count() + items.count()
}

fn safe(text: &[u8]) -> String {
    let mut safe = Vec::with_capacity(text.len());
    push_safe(text, &mut safe);
    String::from_utf8_lossy(&safe).into_owned()
}

/// A block that is indented.
struct Indent {
    /// What precedes its first line, until that is written.
    first: Option<String>,
    /// What precedes its other lines.
    rest: &'static str,
    /// The width of both.
    columns: usize,
}

/// A text and, before it, its SGR parameters.
type Piece = (String, String);

/// What events are collected for.
enum Collecting {
    /// Lines that are filled with words.
    Words,
    /// A block of code.
    Code(String),
    Table(Table),
}

/// A table that is being read.
struct Table {
    source: Range<usize>,
    alignments: Vec<Alignment>,
    /// The rows of its cells.
    rows: Vec<Vec<Vec<Piece>>>,
}

struct Renderer<'a> {
    source: &'a str,
    columns: usize,
    rows: Vec<String>,
    indents: Vec<Indent>,
    /// The number of blocks that are nested too deeply to be indented.
    unindented: usize,
    /// The number of the next item for each list that is open; `None` for bullets.
    lists: Vec<Option<u64>>,
    /// The SGR parameters that apply.
    styles: Vec<&'static str>,
    /// The targets of the links that are open, and whether the text is the same.
    links: Vec<(String, String)>,
    collecting: Collecting,
    /// The line that is being filled, and its width.
    row: Vec<Piece>,
    row_columns: usize,
    /// The word that is being read, and its width.
    word: Vec<Piece>,
    word_columns: usize,
    /// The width of the space before the word.
    space: usize,
    /// Whether an empty line may separate the next block.
    has_gap: bool,
}

impl<'a> Renderer<'a> {
    fn new(source: &'a str, columns: usize, base: &'static str) -> Self {
        Self {
            source,
            columns,
            rows: Vec::new(),
            indents: Vec::new(),
            unindented: 0,
            lists: Vec::new(),
            styles: if base.is_empty() { Vec::new() } else { vec![base] },
            links: Vec::new(),
            collecting: Collecting::Words,
            row: Vec::new(),
            row_columns: 0,
            word: Vec::new(),
            word_columns: 0,
            space: 0,
            has_gap: false,
        }
    }

    fn event(&mut self, event: Event<'_>, range: Range<usize>) {
        match event {
            Event::Start(tag) => self.start(tag, range),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
            Event::Code(text) => self.styled(CODE, &text),
            // Authors of plain text mean their line breaks.
            Event::SoftBreak | Event::HardBreak => self.line_break(),
            Event::Rule => {
                self.begin_block(range.start);
                self.styled(DIM, "───");
                self.end_block();
            }
            Event::TaskListMarker(is_done) => self.text(if is_done { "[x] " } else { "[ ] " }),
            // Other extensions are not enabled.
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>, range: Range<usize>) {
        let start = range.start;
        match tag {
            Tag::Paragraph | Tag::HtmlBlock => self.begin_block(start),
            Tag::Heading { .. } => {
                self.begin_block(start);
                self.styles.push(BOLD);
            }
            Tag::BlockQuote(_) => {
                self.begin_block(start);
                self.indent(None, "│ ", 2);
            }
            Tag::CodeBlock(kind) => {
                self.begin_block(start);
                if matches!(kind, CodeBlockKind::Fenced(_)) {
                    self.indent(None, "  ", 2);
                } else {
                    self.indent(None, "    ", 4);
                }
                self.collecting = Collecting::Code(String::new());
            }
            Tag::List(first) => {
                self.end_row();
                if self.lists.is_empty() {
                    self.begin_block(start);
                }
                self.lists.push(first);
            }
            Tag::Item => {
                self.begin_block(start);
                let number = self.lists.last_mut().and_then(Option::as_mut).map(|next| {
                    *next = next.saturating_add(1);
                    *next - 1
                });
                match number {
                    None => self.indent(Some("• ".to_owned()), "  ", 2),
                    Some(number) => {
                        const SPACES: &str = "            ";
                        let mark = format!("{number}. ");
                        let columns = mark.len().min(SPACES.len());
                        self.indent(Some(mark), &SPACES[..columns], columns);
                    }
                }
            }
            Tag::Table(alignments) => {
                self.begin_block(start);
                self.collecting = Collecting::Table(Table { source: range, alignments, rows: Vec::new() });
            }
            Tag::TableHead | Tag::TableRow => {
                if let Collecting::Table(table) = &mut self.collecting {
                    table.rows.push(Vec::new());
                }
            }
            Tag::TableCell => {
                if let Collecting::Table(table) = &mut self.collecting
                    && let Some(row) = table.rows.last_mut()
                {
                    row.push(Vec::new());
                }
            }
            Tag::Emphasis => self.styles.push(ITALIC),
            Tag::Strong => self.styles.push(BOLD),
            Tag::Strikethrough => self.styles.push(STRUCK),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.styles.push(UNDERLINED);
                self.links.push((safe(dest_url.as_bytes()), String::new()));
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::HtmlBlock => self.end_block(),
            TagEnd::Heading(_) => {
                self.styles.pop();
                self.end_block();
            }
            TagEnd::BlockQuote(_) => {
                self.outdent();
                self.end_block();
            }
            TagEnd::CodeBlock => {
                if let Collecting::Code(code) = std::mem::replace(&mut self.collecting, Collecting::Words) {
                    self.code(&code);
                }
                self.outdent();
                self.end_block();
            }
            TagEnd::List(_) => {
                self.lists.pop();
                if self.lists.is_empty() {
                    self.end_block();
                }
            }
            TagEnd::Item => {
                self.end_row();
                // An empty item.
                if self.indents.last().is_some_and(|indent| indent.first.is_some()) && self.unindented == 0 {
                    self.push_row();
                }
                self.outdent();
            }
            TagEnd::Table => {
                if let Collecting::Table(table) = std::mem::replace(&mut self.collecting, Collecting::Words) {
                    self.table(&table);
                }
                self.end_block();
            }
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough => {
                self.styles.pop();
            }
            TagEnd::Link | TagEnd::Image => {
                self.styles.pop();
                if let Some((target, text)) = self.links.pop()
                    && target != text
                    && !target.is_empty()
                {
                    self.styled(DIM, &format!(" ({target})"));
                }
            }
            _ => {}
        }
    }

    // -- blocks

    /// Begins a block, after an empty line if its source follows one.
    fn begin_block(&mut self, start: usize) {
        self.end_row();
        if !std::mem::take(&mut self.has_gap) {
            return;
        }
        let mut lines = self.source.get(..start).unwrap_or_default().rsplit('\n');
        let previous = lines.nth(1).unwrap_or_default();
        if previous.trim_matches([' ', '\t', '>']).is_empty() {
            self.push_row();
        }
    }

    fn end_block(&mut self) {
        self.end_row();
        self.has_gap = true;
    }

    fn indent(&mut self, first: Option<String>, rest: &'static str, columns: usize) {
        if self.indents.len() < MAX_INDENTED {
            self.indents.push(Indent { first, rest, columns });
        } else {
            self.unindented += 1;
        }
    }

    fn outdent(&mut self) {
        self.end_row();
        if self.unindented > 0 {
            self.unindented -= 1;
        } else {
            self.indents.pop();
        }
    }

    /// Returns the number of columns for text.
    fn available(&self) -> usize {
        let indented: usize = self.indents.iter().map(|indent| indent.columns).sum();
        self.columns.saturating_sub(indented).max(MIN_COLUMNS)
    }

    fn code(&mut self, code: &str) {
        for line in code.trim_end_matches('\n').split('\n') {
            self.push_piece(CODE, line);
            self.push_row();
        }
    }

    /// Appends a table, or its source if it is too wide.
    fn table(&mut self, Table { source, alignments, rows }: &Table) {
        let width = |cell: &Vec<Piece>| cell.iter().map(|(_, text)| text.width()).sum::<usize>();
        let mut columns: Vec<usize> = Vec::new();
        for row in rows {
            columns.resize(columns.len().max(row.len()), 0);
            for (column, cell) in columns.iter_mut().zip(row) {
                *column = (*column).max(width(cell));
            }
        }
        let total = columns.iter().sum::<usize>() + SEPARATOR.width() * columns.len().saturating_sub(1);
        if total > self.available() {
            let source = self.source.get(source.clone()).unwrap_or_default();
            for line in source.trim_end().split('\n') {
                self.push_piece("", line);
                self.push_row();
            }
            return;
        }
        for (number, row) in rows.iter().enumerate() {
            for (position, column) in columns.iter().enumerate() {
                if position > 0 {
                    self.push_piece(DIM, SEPARATOR);
                }
                let cell = row.get(position);
                let space = column - cell.map_or(0, width);
                let before = match alignments.get(position) {
                    Some(Alignment::Right) => space,
                    Some(Alignment::Center) => space / 2,
                    _ => 0,
                };
                self.push_piece("", &" ".repeat(before));
                for (style, text) in cell.into_iter().flatten() {
                    let bold = if number > 0 {
                        ""
                    } else if style.is_empty() {
                        BOLD
                    } else {
                        "1;"
                    };
                    self.push_piece(&format!("{bold}{style}"), text);
                }
                if position + 1 < columns.len() {
                    self.push_piece("", &" ".repeat(space - before));
                }
            }
            self.push_row();
            if number == 0 {
                let line = columns.iter().map(|column| "─".repeat(*column)).collect::<Vec<_>>().join(CROSSING);
                self.push_piece(DIM, &line);
                self.push_row();
            }
        }
    }

    // -- text

    /// Appends text in the current style and this one.
    fn styled(&mut self, style: &'static str, text: &str) {
        self.styles.push(style);
        self.text(text);
        self.styles.pop();
    }

    /// Appends text in the current style.
    fn text(&mut self, text: &str) {
        let text = safe(text.as_bytes());
        for (_, link) in &mut self.links {
            link.push_str(&text);
        }
        let style = self.styles.join(";");
        match &mut self.collecting {
            Collecting::Code(code) => code.push_str(&text),
            Collecting::Table(table) => {
                if let Some(cell) = table.rows.last_mut().and_then(|row| row.last_mut()) {
                    cell.push((style, text.replace(['\n', '\t'], " ")));
                }
            }
            Collecting::Words => text.chars().for_each(|character| self.character(character, &style)),
        }
    }

    fn character(&mut self, character: char, style: &str) {
        /// Joins the characters before and after it to one (Unicode: ZERO WIDTH JOINER).
        const JOINER: char = '\u{200D}';
        match character {
            '\n' => return self.line_break(),
            ' ' | '\t' => {
                self.end_word();
                self.space += usize::from(self.row_columns > 0);
                return;
            }
            _ => {}
        }
        let width = character.width().unwrap_or(0);
        let last = self.word.last().and_then(|(_, text)| text.chars().next_back());
        // Scripts with wide characters have no spaces. The last of these is a modifier of the skin color.
        let is_joined = last == Some(JOINER) || matches!(character, '\u{1F3FB}'..='\u{1F3FF}');
        let is_after_wide = last.is_some_and(|last| last.width() == Some(2)) && width > 0;
        if (width == 2 || is_after_wide) && !is_joined {
            self.end_word();
        }
        match self.word.last_mut() {
            Some((last, text)) if *last == style => text.push(character),
            _ => self.word.push((style.to_owned(), character.to_string())),
        }
        self.word_columns += width;
    }

    /// Moves the word to the line, or to the next one if it does not fit.
    fn end_word(&mut self) {
        if self.word.is_empty() {
            return;
        }
        if self.row_columns > 0 && self.row_columns + self.space + self.word_columns > self.available() {
            self.push_row();
        }
        let space = std::mem::take(&mut self.space);
        if space > 0 {
            let is_inside = self.row.last().map(|(style, _)| style) == self.word.first().map(|(style, _)| style);
            let style = self.word.first().filter(|_| is_inside).map(|(style, _)| style.clone());
            self.push_piece(&style.unwrap_or_default(), &" ".repeat(space));
        }
        for (style, text) in std::mem::take(&mut self.word) {
            self.push_piece(&style, &text);
        }
        self.row_columns += space + std::mem::take(&mut self.word_columns);
    }

    /// Appends text to the line.
    fn push_piece(&mut self, style: &str, text: &str) {
        match self.row.last_mut() {
            _ if text.is_empty() => {}
            Some((last, before)) if last == style => before.push_str(text),
            _ => self.row.push((style.to_owned(), text.to_owned())),
        }
    }

    fn line_break(&mut self) {
        match &mut self.collecting {
            Collecting::Words => self.end_row(),
            Collecting::Code(code) => code.push('\n'),
            Collecting::Table(..) => {}
        }
    }

    /// Ends a line of words, if it has any.
    fn end_row(&mut self) {
        self.end_word();
        if !self.row.is_empty() {
            self.push_row();
        }
    }

    /// Appends the line, after the indents of its blocks.
    fn push_row(&mut self) {
        let mut row = String::new();
        for indent in &mut self.indents {
            match indent.first.take() {
                Some(first) => row.push_str(&first),
                None if indent.rest.starts_with(' ') => row.push_str(indent.rest),
                None => paint(DIM, indent.rest, &mut row),
            }
        }
        if self.row.is_empty() {
            row.truncate(row.trim_end_matches(' ').len());
        }
        for (style, text) in self.row.drain(..) {
            paint(&style, &text, &mut row);
        }
        self.rows.push(row);
        self.row_columns = 0;
        self.space = 0;
    }
}

/// Appends a text with SGR parameters, which may be empty.
fn paint(style: &str, text: &str, out: &mut String) {
    if style.is_empty() {
        return out.push_str(text);
    }
    out.extend(["\x1b[", style, "m", text, "\x1b[0m"]);
}

#[cfg(test)]
mod tests;
