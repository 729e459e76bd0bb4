//! How results are printed: JSON, YAML, and what changed between two objects.
//!
//! Keys stand by name, as kubectl prints them, but for those that say what a thing is: these come first. A diff has colour where
//! a person looks at it.

use std::io::{ErrorKind, Write as _, stdout};

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

/// Unchanged lines around a change, as `diff -u` has them.
const CONTEXT: usize = 3;

/// Keys that say what a thing is, in this order.
const FIRST: [&str; 6] = ["apiVersion", "kind", "profile", "name", "version", "component"];

/// A document with its keys in the order of print.
struct Printed<'a>(&'a Value);

/// Writes to stdout. A reader that has gone away, as `head` does, is no error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to stdout"),
        _ => Ok(()),
    }
}

/// Indented JSON, with a line break at its end.
pub(super) fn json(value: &Value) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(&Printed(value))? + "\n")
}

/// YAML that every reader takes for the same: what an older one would take for a number or a flag is quoted.
pub(super) fn yaml(value: &Value) -> anyhow::Result<String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let text = serde_saphyr::to_string_with_options(&Printed(value), options)?;
    Ok(if text.ends_with('\n') { text } else { text + "\n" })
}

/// What changed between two texts, each with its name, as a unified diff; empty if nothing did.
pub(super) fn diff([before, after]: [(&str, &str); 2], colour: bool) -> String {
    let ((old, before), (new, after)) = (before, after);
    let diff = TextDiff::from_lines(before, after);
    let mut text = String::new();
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        line(&mut text, colour.then_some(AnsiColor::Cyan), &hunk.header().to_string());
        for change in hunk.iter_changes() {
            let (sign, hue) = match change.tag() {
                ChangeTag::Delete => ('-', Some(AnsiColor::Red)),
                ChangeTag::Insert => ('+', Some(AnsiColor::Green)),
                ChangeTag::Equal => (' ', None),
            };
            line(&mut text, hue.filter(|_| colour), &format!("{sign}{}", change.value().trim_end_matches('\n')));
        }
    }
    if text.is_empty() { text } else { format!("--- {old}\n+++ {new}\n{text}") }
}

fn line(text: &mut String, hue: Option<AnsiColor>, line: &str) {
    let style = hue.map_or_else(Style::new, |hue| Style::new().fg_color(Some(hue.into())));
    *text += &format!("{style}{line}{style:#}\n");
}

// === impl Printed ===

impl Serialize for Printed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                let first = FIRST.iter().filter_map(|key| entries.get_key_value(*key));
                let rest = entries.iter().filter(|(key, _)| !FIRST.contains(&key.as_str()));
                for (key, value) in first.chain(rest) {
                    map.serialize_entry(key, &Printed(value))?;
                }
                map.end()
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Printed)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => self.0.serialize(serializer),
        }
    }
}
