//! The text of `/metrics`: its [`Metric`]s with labels and help.
//!
//! The text is OpenMetrics, in which a counter's family lacks the `_total` of its samples. This
//! module uses the samples' name.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

/// A metric that has samples.
#[derive(Debug)]
pub(super) struct Metric<'a> {
    pub(super) name: String,
    pub(super) kind: &'a str,
    pub(super) help: &'a str,
    /// Without `le`, which every histogram has.
    pub(super) labels: BTreeSet<&'a str>,
}

/// Every metric, in order of names.
pub(super) fn read(text: &str) -> Result<Vec<Metric<'_>>> {
    let kind = |family: &str| text.lines().find_map(|line| line.strip_prefix(&format!("# TYPE {family} ")));
    let families = text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '));
    let metrics = families.map(|(family, help)| {
        let kind = kind(family).with_context(|| format!("{family} has no type"))?;
        let name = if kind == "counter" { format!("{family}_total") } else { family.to_owned() };
        // The encoder appends a full stop.
        let help = help.trim_end_matches('.');
        let labels = text.lines().filter_map(|line| line.strip_prefix(family)).flat_map(labels).collect();
        Ok(Metric { name, kind, help, labels })
    });
    let mut metrics = metrics.collect::<Result<Vec<_>>>()?;
    metrics.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(metrics)
}

/// The label names in the rest of a sample after the family's name.
fn labels(sample: &str) -> Vec<&str> {
    let Some((suffix, labels)) = sample.split_once('{') else { return Vec::new() };
    if !["", "_total", "_bucket", "_sum", "_count"].contains(&suffix) {
        return Vec::new();
    }
    let heads: Vec<_> = labels.split("=\"").collect();
    let names = heads[..heads.len() - 1].iter().filter_map(|head| head.rsplit(['"', ',']).next());
    names.filter(|name| *name != "le").collect()
}

/// The text in Prometheus' older format, which promtool reads: a counter's family has its samples'
/// name.
pub(super) fn as_promtool_reads(text: &str) -> String {
    let counters: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let line = |line: &str| {
        let family = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
        match family.and_then(|rest| rest.split_once(' ')) {
            Some((family, _)) if counters.contains(&family) => {
                line.replacen(&format!(" {family} "), &format!(" {family}_total "), 1) + "\n"
            }
            _ => format!("{line}\n"),
        }
    };
    text.lines().filter(|line| *line != "# EOF").map(line).collect()
}
