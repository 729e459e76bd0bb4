//! Output: JSON, YAML, diffs, and lines on stderr.
//!
//! Keys are sorted by name, as in kubectl's output, after the keys that identify an object.

use std::io::{ErrorKind, Write as _, stdout};

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use ampoule_telemetry::log::LineWriter;

/// Unchanged lines around a change, as in `diff -u`.
const CONTEXT: usize = 3;

/// Keys that identify an object. They are printed first, in this order.
const FIRST: [&str; 6] = ["apiVersion", "kind", "profile", "name", "version", "component"];

/// A document that serialises its keys in output order.
struct OrderedDocument<'a>(&'a Value);

/// Writes to stdout. A closed pipe, for example to `head`, is not an error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to stdout"),
        _ => Ok(()),
    }
}

/// Writes a line to stderr.
pub(super) fn eprint_line(line: &str) {
    // If stderr fails, no other output is available to report the failure.
    let _ = LineWriter.write_all(format!("{line}\n").as_bytes());
}

/// Indented JSON with a final line break.
pub(super) fn json(value: &Value) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(&OrderedDocument(value))? + "\n")
}

/// YAML that every parser reads alike: strings that a YAML 1.1 parser reads as numbers or booleans
/// are quoted.
pub(super) fn yaml(value: &Value) -> anyhow::Result<String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let text = serde_saphyr::to_string_with_options(&OrderedDocument(value), options)?;
    Ok(if text.ends_with('\n') { text } else { text + "\n" })
}

/// A unified diff of two texts, each given with its name. Empty if they are equal.
pub(super) fn diff([before, after]: [(&str, &str); 2], colour: bool) -> String {
    let ((old_name, before), (new_name, after)) = (before, after);
    let diff = TextDiff::from_lines(before, after);
    let mut text = String::new();
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        push_line(&mut text, colour.then_some(AnsiColor::Cyan), &hunk.header().to_string());
        for change in hunk.iter_changes() {
            let (sign, hue) = match change.tag() {
                ChangeTag::Delete => ('-', Some(AnsiColor::Red)),
                ChangeTag::Insert => ('+', Some(AnsiColor::Green)),
                ChangeTag::Equal => (' ', None),
            };
            push_line(&mut text, hue.filter(|_| colour), &format!("{sign}{}", change.value().trim_end_matches('\n')));
        }
    }
    if text.is_empty() { text } else { format!("--- {old_name}\n+++ {new_name}\n{text}") }
}

fn push_line(text: &mut String, hue: Option<AnsiColor>, line: &str) {
    let style = hue.map_or_else(Style::new, |hue| Style::new().fg_color(Some(hue.into())));
    *text += &format!("{style}{line}{style:#}\n");
}

// === impl OrderedDocument ===

impl Serialize for OrderedDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                let first = FIRST.iter().filter_map(|key| entries.get_key_value(*key));
                let rest = entries.iter().filter(|(key, _)| !FIRST.contains(&key.as_str()));
                for (key, value) in first.chain(rest) {
                    map.serialize_entry(key, &OrderedDocument(value))?;
                }
                map.end()
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(OrderedDocument)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => self.0.serialize(serializer),
        }
    }
}
