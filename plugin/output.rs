//! Output on the terminal and in a pipe: lines, tables, JSON.

use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use clap::ValueEnum;
use clap::builder::styling::{AnsiColor, Style};
use hostup_operator::domain::values::text::Text;
use jiff::Timestamp;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::failure::Failure;

/// Characters of a cell.
const LONGEST_CELL: usize = 2000;
/// Blanks between two columns, as kubectl has them.
const GAP: usize = 3;

/// Of what waits for a user.
pub const URGENT: Style = AnsiColor::Red.on_default().bold();
/// Of what a user may decide.
pub const OPEN: Style = AnsiColor::Yellow.on_default();
/// Of what is well.
pub const WELL: Style = AnsiColor::Green.on_default();
/// Of a heading.
pub const HEADING: Style = Style::new().bold();
/// Of text as it is.
pub const PLAIN: Style = Style::new();

/// When to use colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Makes it hold for everything that this process prints.
    pub fn set(self) {
        let choice = match self {
            Self::Auto => return,
            Self::Always => ColorChoice::Always,
            Self::Never => ColorChoice::Never,
        };
        choice.write_global();
    }
}

/// The format of `-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The table with more columns.
    Wide,
    /// JSON.
    Json,
}

/// The format of `-o`, where there is no wider table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Plain {
    /// JSON.
    Json,
}

/// Standard output. Every write may fail, because a pipe may close.
pub struct Output(AutoStream<io::Stdout>);

impl Output {
    /// Of this process.
    pub fn new() -> Self {
        Self(anstream::stdout())
    }

    /// Writes a line.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        Ok(writeln!(self.0, "{}", text.as_ref())?)
    }

    /// Writes a line in a style.
    pub fn styled(&mut self, style: Style, text: &str) -> Result<(), Failure> {
        Ok(writeln!(self.0, "{style}{text}{style:#}")?)
    }

    /// Writes the names and values of one thing, the values one below the other.
    pub fn facts(&mut self, facts: &[(&str, String)]) -> Result<(), Failure> {
        let widest = facts
            .iter()
            .map(|(name, _)| name.width())
            .max()
            .unwrap_or_default();
        for (name, value) in facts {
            let value = Text::bounded(value, LONGEST_CELL);
            writeln!(self.0, "  {HEADING}{name:widest$}{HEADING:#}  {value}")?;
        }
        Ok(())
    }

    /// Writes a table.
    pub fn table(&mut self, table: &Table) -> Result<(), Failure> {
        let widths = table.widths();
        let heads = table.heads.iter().map(|head| (HEADING, *head));
        self.row(&widths, heads)?;
        for row in &table.rows {
            self.row(&widths, row.iter().map(|cell| (cell.style, cell.text.as_str())))?;
        }
        Ok(())
    }

    fn row<'a>(
        &mut self,
        widths: &[usize],
        cells: impl Iterator<Item = (Style, &'a str)>,
    ) -> Result<(), Failure> {
        let mut missing = 0;
        for ((style, text), width) in cells.zip(widths) {
            // Blanks before a cell, not after it: no line ends in them.
            let blanks = if text.is_empty() { 0 } else { missing };
            write!(self.0, "{:blanks$}{style}{text}{style:#}", "")?;
            missing = missing - blanks + width.saturating_sub(text.width()) + GAP;
        }
        Ok(writeln!(self.0)?)
    }

    /// Writes JSON.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        self.line(text)
    }

    /// Writes bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.0.write_all(bytes)?;
        Ok(self.0.flush()?)
    }
}

/// A text of a table, and its style.
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A cell in this style. Control characters in the text are removed.
    pub fn styled(style: Style, text: impl AsRef<str>) -> Self {
        Self {
            text: Text::bounded(text.as_ref(), LONGEST_CELL).to_string(),
            style,
        }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(PLAIN, text)
    }
}

/// Columns with headings, as kubectl prints them.
pub struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// With these headings.
    pub fn new(heads: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            heads: heads.into_iter().collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn add(&mut self, row: impl IntoIterator<Item = Cell>) {
        self.rows.push(row.into_iter().collect());
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.heads.iter().map(|head| head.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.width());
            }
        }
        widths
    }
}

/// How long ago something was, as kubectl writes it: `45s`, `12m`, `7h`, `3d`.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A time to the second.
pub fn time(at: Timestamp) -> String {
    format!("{at:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_short_and_never_negative() {
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let before = |text: &str| age(text.parse().unwrap(), now);
        assert_eq!(before("2026-11-29T11:59:01Z"), "59s");
        assert_eq!(before("2026-11-29T11:48:00Z"), "12m");
        assert_eq!(before("2026-11-29T05:00:00Z"), "7h");
        assert_eq!(before("2026-11-20T12:00:00Z"), "9d");
        assert_eq!(before("2026-11-29T12:00:09Z"), "0s");
    }

    #[test]
    fn a_cell_contains_no_escape_sequence() {
        assert_eq!(Cell::from("a\u{1b}[2Jb").text, "a [2Jb");
    }
}
