//! Colors, and how much of a text is shown.

/// Options for showing records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// Uses colors and bold text (SGR sequences, ECMA-48).
    pub color: bool,
    /// Shows everything in full, including copied context.
    pub full: bool,
}

/// The parameters of an SGR sequence, such as `1;36`; empty for plain text.
#[derive(Clone, Copy)]
pub(super) struct Sgr(pub(super) &'static str);

impl Sgr {
    pub(super) const PLAIN: Self = Self("");
    pub(super) const DIM: Self = Self("2");
    pub(super) const BOLD: Self = Self("1");
    pub(super) const USER: Self = Self("1;36");
    pub(super) const AGENT: Self = Self("1;32");
    pub(super) const SYSTEM: Self = Self("1;33");
    pub(super) const TOOL: Self = Self("35");
    pub(super) const ERROR: Self = Self("31");
    pub(super) const ADDED: Self = Self("32");
    pub(super) const REMOVED: Self = Self("31");
    pub(super) const HUNK: Self = Self("36");
}

/// How much of a text is shown. The lines in between are only counted.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Lines from the start.
    pub(super) first: usize,
    /// Lines from the end.
    pub(super) last: usize,
    /// Columns of each line.
    pub(super) columns: usize,
}

impl Limits {
    pub(super) const OUTPUT: Self = Self { first: 12, last: 6, columns: 200 };
    pub(super) const THINKING: Self = Self { first: 6, last: 0, columns: 200 };
    pub(super) const SYSTEM: Self = Self { first: 4, last: 1, columns: 200 };
    pub(super) const PROGRAM: Self = Self { first: 8, last: 2, columns: 200 };
    pub(super) const PATCH: Self = Self { first: 40, last: 10, columns: 200 };
    pub(super) const LINE: Self = Self { first: 1, last: 0, columns: 200 };
    pub(super) const ALL: Self = Self { first: usize::MAX, last: 0, columns: usize::MAX };
}
