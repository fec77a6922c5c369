//! A page of headings, lines and tables, drawn without a terminal in sight.

use std::fmt::Write as _;

use comfy_table::{Attribute, Color, ContentArrangement, presets};

/// What a text says about the state of things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing.
    Plain,
    /// As it should be.
    Good,
    /// Worth a look.
    Odd,
    /// Wrong, or refused.
    Bad,
}

/// A cell of a table.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell with a tone.
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: text.to_string(),
            tone: Tone::Plain,
        }
    }
}

/// Aligned columns with a heading line.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new<'a>(headings: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            headings: headings.into_iter().map(str::to_owned).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, one cell per heading.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }
}

/// What is drawn on.
#[derive(Debug)]
pub(crate) struct Page {
    text: String,
    now: i64,
    colour: bool,
}

impl Page {
    /// An empty page; `now` in Unix seconds is what ages count from.
    pub(crate) fn new(now: i64, colour: bool) -> Self {
        Self {
            text: String::new(),
            now,
            colour,
        }
    }

    /// Unix seconds.
    pub(crate) fn now(&self) -> i64 {
        self.now
    }

    /// A line.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) {
        self.text.push_str(text.as_ref());
        self.text.push('\n');
    }

    /// A line with a tone.
    pub(crate) fn toned_line(&mut self, text: impl AsRef<str>, tone: Tone) {
        let painted = self.paint(text.as_ref(), tone);
        self.line(painted);
    }

    /// An empty line between parts; none at the top.
    pub(crate) fn gap(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    /// A text in the colour of its tone.
    pub(crate) fn paint(&self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Plain => None,
            Tone::Good => Some(32),
            Tone::Odd => Some(33),
            Tone::Bad => Some(31),
        };
        match code.filter(|_| self.colour) {
            Some(code) => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            None => text.to_owned(),
        }
    }

    /// A table; without rows only `otherwise` is said.
    pub(crate) fn table(&mut self, table: Table, otherwise: &str) {
        if table.rows.is_empty() {
            self.line(otherwise);
            return;
        }
        let mut drawn = comfy_table::Table::new();
        drawn
            .load_preset(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        if self.colour {
            drawn.enforce_styling();
        } else {
            drawn.force_no_tty();
        }
        let heading = |text: String| comfy_table::Cell::new(text).add_attribute(Attribute::Bold);
        drawn.set_header(table.headings.into_iter().map(heading));
        for row in table.rows {
            drawn.add_row(row.into_iter().map(|cell| {
                let drawn = comfy_table::Cell::new(cell.text);
                match cell.tone {
                    Tone::Plain => drawn,
                    Tone::Good => drawn.fg(Color::Green),
                    Tone::Odd => drawn.fg(Color::Yellow),
                    Tone::Bad => drawn.fg(Color::Red),
                }
            }));
        }
        for column in drawn.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in drawn.lines() {
            // Writing to a String does not fail.
            let _ = writeln!(self.text, "{}", line.trim_end());
        }
    }

    /// The text.
    pub(crate) fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(colour: bool) -> String {
        let mut page = Page::new(0, colour);
        let mut table = Table::new(["NAME", "STATE"]);
        table.row(["web".into(), Cell::toned("up", Tone::Good)]);
        table.row(["a-longer-name".into(), Cell::toned("down", Tone::Bad)]);
        page.table(table, "nothing");
        page.finish()
    }

    #[test]
    fn columns_align_and_no_line_ends_in_spaces() {
        assert_eq!(
            drawn(false),
            "NAME           STATE\nweb            up\na-longer-name  down\n"
        );
    }

    #[test]
    fn colour_appears_only_where_it_was_asked_for() {
        assert!(!drawn(false).contains('\u{1b}'));
        assert!(drawn(true).contains('\u{1b}'));
    }
}
