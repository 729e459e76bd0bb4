//! Writes the report: the machine, then the text, tables and plots of each part.
//!
//! All links are relative, so `report.md` can be moved into documentation together with the plots.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Samples, machine::Machine, plot};

/// Writes `report.md` and the plots from the files of these parts in the folder.
pub(super) fn write(folder: &Path, parts: &[&str], samples: Samples) -> Result<PathBuf> {
    let mut report = format!("# Benchmarks\n\nOn {}.", Machine::this());
    if let Samples::Quick = samples {
        report.push_str(" **Quick mode: too few samples to publish.**");
    }
    for part in parts {
        let _ = write!(report, "\n\n{}", read(&folder.join(part).with_extension("md"))?.trim_end());
        let figures: Value = serde_json::from_str(&read(&folder.join(part).with_extension("json"))?)?;
        for plot in figures["plots"].as_array().into_iter().flatten() {
            let (file, title) = plot::draw(plot, folder).with_context(|| format!("a plot of {part}"))?;
            let _ = write!(report, "\n\n![{title}]({file})");
        }
    }
    let path = folder.join("report.md");
    fs::write(&path, report + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
