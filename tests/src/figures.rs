//! The results of a benchmark: a [`Part`] with tables and plots, printed, and written as
//! `target/bench/NAME.json` and `.md`.
//!
//! `cargo xtask bench` makes its report from these files. The documentation quotes the table of a
//! `.md` file.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// One value of a table, in a unit.
#[derive(Clone, Debug)]
pub enum Cell {
    /// A name.
    Text(String),
    /// A count.
    Count(u64),
    /// A rate per second.
    PerSecond(f64),
    /// A ratio of two figures.
    Ratio(f64),
    /// A duration.
    Time(Duration),
    /// A difference of durations: positive if the first is longer.
    Difference(Duration, Duration),
    /// Memory in KiB, as `/proc` reports it.
    Kib(u64),
}

/// A table with a heading.
#[derive(Clone, Debug)]
pub struct Table {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

/// A line plot: `name.svg` in the report.
#[derive(Clone, Debug)]
pub struct Plot {
    /// The file name without its extension.
    pub name: &'static str,
    /// The heading.
    pub title: String,
    /// The label of the x axis.
    pub x: &'static str,
    /// The label of the y axis, which starts at 0.
    pub y: &'static str,
    /// The tick labels along x, in even steps.
    pub at: Vec<String>,
    /// The lines: a name, and one value of y per tick.
    pub lines: Vec<(String, Vec<f64>)>,
}

/// The figures of one benchmark program.
#[derive(Clone, Debug)]
pub struct Part {
    name: &'static str,
    title: &'static str,
    about: String,
    tables: Vec<Table>,
    plots: Vec<Plot>,
}

// === impl Part ===

impl Part {
    /// A part without figures. `name` is the name of its files, `about` describes the measurement.
    #[must_use]
    pub fn new(name: &'static str, title: &'static str, about: impl Into<String>) -> Self {
        Self { name, title, about: about.into(), tables: Vec::new(), plots: Vec::new() }
    }

    /// Adds a table, and prints it at once: the next one may take a while.
    #[allow(clippy::print_stdout, reason = "a benchmark prints its tables")]
    pub fn table(&mut self, table: Table) {
        println!("\n{}", table.markdown());
        self.tables.push(table);
    }

    /// Adds a plot.
    pub fn plot(&mut self, plot: Plot) {
        self.plots.push(plot);
    }

    /// Writes both files.
    ///
    /// # Errors
    ///
    /// If a file cannot be written.
    pub fn write(&self) -> Result<()> {
        let folder = folder()?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let write = |ending: &str, text: String| {
            let path = folder.join(self.name).with_extension(ending);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("json", format!("{:#}\n", self.json()))?;
        write("md", self.markdown())
    }

    fn json(&self) -> Value {
        let Self { name, title, about, tables, plots } = self;
        let tables: Vec<_> = tables.iter().map(Table::json).collect();
        let plots: Vec<_> = plots.iter().map(Plot::json).collect();
        json!({ "name": name, "title": title, "about": about, "tables": tables, "plots": plots })
    }

    fn markdown(&self) -> String {
        let tables: Vec<_> = self.tables.iter().map(Table::markdown).collect();
        format!("## {}\n\n{}\n\n{}", self.title, self.about, tables.join("\n"))
    }
}

// === impl Table ===

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(title: impl Into<String>, columns: &[&'static str]) -> Self {
        Self { title: title.into(), columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with one cell per column.
    ///
    /// # Panics
    ///
    /// If the number of cells differs.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let cells: Vec<_> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.columns.len(), "the table {:?} has these columns: {:?}", self.title, self.columns);
        self.rows.push(cells);
    }

    fn json(&self) -> Value {
        let Self { title, columns, rows } = self;
        let rows: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(Cell::json).collect()).collect();
        json!({ "title": title, "columns": columns, "rows": rows })
    }

    fn markdown(&self) -> String {
        let mut text = format!("{}\n\n| {} |\n|", self.title, self.columns.join(" | "));
        for cell in self.rows.first().into_iter().flatten() {
            text.push_str(if matches!(cell, Cell::Text(_)) { " --- |" } else { " ---: |" });
        }
        for row in &self.rows {
            let cells: Vec<_> = row.iter().map(Cell::text).collect();
            let _ = write!(text, "\n| {} |", cells.join(" | "));
        }
        text + "\n"
    }
}

// === impl Cell ===

impl Cell {
    /// A name.
    #[must_use]
    pub fn name(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// For readers: three significant digits.
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(count) => grouped(*count),
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is positive and small")]
            Self::PerSecond(rate) => grouped(rate.round() as u64),
            Self::Ratio(ratio) => format!("{ratio:.2}"),
            Self::Time(time) => time_text(*time),
            Self::Difference(left, right) if left >= right => format!("+{}", time_text(*left - *right)),
            Self::Difference(left, right) => format!("−{}", time_text(*right - *left)),
            #[allow(clippy::cast_precision_loss, reason = "memory in KiB is far below 2^52")]
            Self::Kib(kib) => format!("{:.1} MiB", *kib as f64 / 1024.0),
        }
    }

    /// For programs: the value in its unit.
    fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Count(count) => json!({ "value": count, "unit": "" }),
            Self::PerSecond(rate) => json!({ "value": rate, "unit": "1/s" }),
            Self::Ratio(ratio) => json!({ "value": ratio, "unit": "ratio" }),
            Self::Time(time) => json!({ "value": time.as_secs_f64(), "unit": "s" }),
            Self::Difference(left, right) => {
                json!({ "value": left.as_secs_f64() - right.as_secs_f64(), "unit": "s" })
            }
            Self::Kib(kib) => json!({ "value": kib, "unit": "KiB" }),
        }
    }
}

fn time_text(time: Duration) -> String {
    let nanos = time.as_secs_f64() * 1e9;
    let (value, unit) = match nanos {
        ..1e3 => (nanos, "ns"),
        1e3..1e6 => (nanos / 1e3, "µs"),
        1e6..1e9 => (nanos / 1e6, "ms"),
        _ => (nanos / 1e9, "s"),
    };
    let digits = match value {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// With a comma at each thousand.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

// === impl Plot ===

impl Plot {
    fn json(&self) -> Value {
        let Self { name, title, x, y, at, lines } = self;
        let lines: Vec<_> = lines.iter().map(|(name, values)| json!({ "name": name, "values": values })).collect();
        json!({ "name": name, "title": title, "x": x, "y": y, "at": at, "lines": lines })
    }
}

/// `target/bench`, next to the program's own folder, `target/PROFILE/deps`.
///
/// # Errors
///
/// If the program is not in such a folder.
pub fn folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(3).map(Path::to_path_buf).context("the program is not in a target folder")?;
    Ok(target.join("bench"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_written_as_markdown_and_as_json() {
        let mut table = Table::new("Answers", &["server", "rate", "p99", "over", "memory", "to no-op"]);
        let (fast, slow) = (Duration::from_nanos(8_240), Duration::from_micros(1_350));
        table.row([
            Cell::name("ampoule"),
            Cell::PerSecond(21_399.6),
            Cell::Time(slow),
            Cell::Difference(slow, fast),
            Cell::Kib(46_182),
            Cell::Ratio(0.5449),
        ]);
        let expected = "Answers\n\n| server | rate | p99 | over | memory | to no-op |\n| --- | ---: | ---: | ---: | ---: | ---: |\n\
             | ampoule | 21,400 | 1.35 ms | +1.34 ms | 45.1 MiB | 0.54 |\n";
        assert_eq!(table.markdown(), expected);
        assert_eq!(table.json()["rows"][0][2], json!({ "value": 0.00135, "unit": "s" }));
        let cases = [(Cell::Difference(fast, slow), "−1.34 ms"), (Cell::Count(1_000), "1,000"), (Cell::Count(7), "7")];
        for (cell, expected) in cases {
            assert_eq!(cell.text(), expected);
        }
        for (nanos, expected) in [(0, "0.00 ns"), (312, "312 ns"), (43_210, "43.2 µs"), (2_000_000_000, "2.00 s")] {
            assert_eq!(time_text(Duration::from_nanos(nanos)), expected);
        }
    }
}
