//! Draws a plot of a part as SVG: lines with one point for each name on the x axis, and a y axis
//! from 0.
//!
//! The colours are those of Okabe and Ito, which colour-blind readers can distinguish.

use std::error::Error;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use plotters::prelude::*;
use serde_json::Value;

const SIZE: (u32, u32) = (760, 420);
/// Height of the y axis relative to the highest value, so that the legend fits above the lines.
const HEADROOM: f64 = 1.35;
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];

/// A plot, as written by `tests/src/figures.rs`.
struct Plot<'a> {
    title: &'a str,
    x: &'a str,
    y: &'a str,
    /// The names on the x axis.
    at: Vec<&'a str>,
    lines: Vec<Line<'a>>,
}

/// A line, with one value for each name on the x axis.
struct Line<'a> {
    name: &'a str,
    values: Vec<f64>,
}

/// Draws a plot into the folder, and returns the file's name and the title.
pub(super) fn draw<'a>(plot: &'a Value, folder: &Path) -> Result<(String, &'a str)> {
    let file = format!("{}.svg", text(plot, "name")?);
    let plot = Plot::read(plot).with_context(|| file.clone())?;
    plot.draw(&folder.join(&file)).map_err(|error| anyhow!("cannot draw {file}: {error}"))?;
    Ok((file, plot.title))
}

// === impl Plot ===

impl<'a> Plot<'a> {
    fn read(plot: &'a Value) -> Result<Self> {
        let at: Vec<_> = list(plot, "at")?.iter().filter_map(Value::as_str).collect();
        let lines = list(plot, "lines")?.iter().map(|line| Line::read(line, at.len()));
        let lines = lines.collect::<Result<Vec<_>>>()?;
        ensure!(at.len() > 1 && !lines.is_empty(), "a plot needs at least two points and one line");
        Ok(Self { title: text(plot, "title")?, x: text(plot, "x")?, y: text(plot, "y")?, at, lines })
    }

    fn draw(&self, path: &Path) -> Result<(), Box<dyn Error + '_>> {
        let highest = self.lines.iter().flat_map(|line| &line.values).copied().fold(0.0, f64::max) * HEADROOM;
        let area = SVGBackend::new(path, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area);
        chart.caption(self.title, ("sans-serif", 18)).margin(16).x_label_area_size(44).y_label_area_size(72);
        let mut chart = chart.build_cartesian_2d(0..self.at.len() - 1, 0.0..highest)?;
        let name = |i: &usize| self.at.get(*i).copied().unwrap_or_default().to_owned();
        let mut mesh = chart.configure_mesh();
        mesh.x_labels(self.at.len()).x_label_formatter(&name).x_desc(self.x).y_desc(self.y);
        // `max_light_lines(0)` causes an overflow in plotters, so draw the light lines in white.
        mesh.light_line_style(WHITE).draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS.into_iter().cycle()) {
            let points = || line.values.iter().copied().enumerate();
            let drawn = chart.draw_series(LineSeries::new(points(), colour.stroke_width(2)))?;
            drawn
                .label(line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
            chart.draw_series(points().map(|point| Circle::new(point, 3, colour.filled())))?;
        }
        let mut legend = chart.configure_series_labels();
        legend.position(SeriesLabelPosition::UpperLeft).background_style(WHITE).border_style(BLACK).draw()?;
        area.present()?;
        Ok(())
    }
}

// === impl Line ===

impl<'a> Line<'a> {
    fn read(line: &'a Value, points: usize) -> Result<Self> {
        let values: Vec<_> = list(line, "values")?.iter().filter_map(Value::as_f64).collect();
        let name = text(line, "name")?;
        ensure!(values.len() == points, "{name:?} has {} values for {points} points", values.len());
        Ok(Self { name, values })
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("no string {key:?}"))
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a [Value]> {
    value[key].as_array().map(Vec::as_slice).with_context(|| format!("no list {key:?}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn draw(lines: &Value) -> Result<String> {
        let folder = tempfile::tempdir().unwrap();
        let plot = json!({ "name": "p", "title": "A title", "x": "connections", "y": "per second", "at": ["1", "8", "64"], "lines": lines });
        let (file, title) = super::draw(&plot, folder.path())?;
        assert_eq!((file.as_str(), title), ("p.svg", "A title"));
        Ok(std::fs::read_to_string(folder.path().join(file))?)
    }

    #[test]
    fn a_plot_has_its_title_axes_and_lines() {
        let lines = json!([{ "name": "bare", "values": [1.0, 20.5, 4.0] }, { "name": "no-op", "values": [1, 2, 3] }]);
        let svg = draw(&lines).unwrap();
        for text in ["A title", "connections", "per second", "\n1\n", "\n8\n", "\n64\n", "bare", "no-op"] {
            assert!(svg.contains(text), "no {text:?} in {svg}");
        }
        assert_eq!(svg.matches("<circle").count(), 6);
    }

    #[test]
    fn a_line_with_a_wrong_number_of_points_is_rejected() {
        let error = draw(&json!([{ "name": "bare", "values": [1.0, 20.5] }])).unwrap_err();
        assert_eq!(format!("{error:#}"), "p.svg: \"bare\" has 2 values for 3 points");
        assert_eq!(
            format!("{:#}", draw(&json!([])).unwrap_err()),
            "p.svg: a plot needs at least two points and one line"
        );
    }
}
