//! Warns about texts of variables and commands that were probably meant as references:
//! [`near_misses`]. The container starts with the text.
//!
//! The messages contain no part of a value, which may be a secret.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    pod::{Pod, list},
    reference_syntax::{NearMiss, ReferenceSyntax},
    references::read_containers,
    text::escape_name,
};

/// Bytes of the texts that are searched, over all containers.
const MAX_SCANNED: usize = 1 << 20;

/// The variables of a container with texts of one kind.
struct FoundVariables<'p> {
    first: &'p str,
    count: usize,
}

/// Returns a warning for each container and each kind of text in its variables, and one for each of
/// `command` and `args`.
pub(super) fn near_misses(pod: &Pod, syntax: &ReferenceSyntax) -> Vec<String> {
    let mut room = MAX_SCANNED;
    let mut warnings = Vec::new();
    for container in read_containers(pod) {
        warnings.extend(in_variables(container, syntax, &mut room));
        warnings.extend(["command", "args"].iter().filter_map(|key| in_words(container, key, syntax, &mut room)));
    }
    warnings
}

fn in_variables(container: &Value, syntax: &ReferenceSyntax, room: &mut usize) -> impl Iterator<Item = String> {
    let shortest = syntax.shortest();
    let mut found = BTreeMap::new();
    for variable in list(container, "env") {
        let Some(Value::String(value)) = variable.get("value") else { continue };
        // Most values are short, and every pod has some.
        if value.len() < shortest {
            continue;
        }
        let Some(rest) = room.checked_sub(value.len()) else { break };
        *room = rest;
        let Some(kind) = syntax.near_miss(value) else { continue };
        let first = variable["name"].as_str().unwrap_or_default();
        found.entry(kind).or_insert(FoundVariables { first, count: 0 }).count += 1;
    }
    found.into_iter().map(|(kind, variables)| warning(&container_name(container), kind, &variables, syntax))
}

/// Returns a warning that names the first word with such a text.
fn in_words(container: &Value, key: &str, syntax: &ReferenceSyntax, room: &mut usize) -> Option<String> {
    let mut found = None;
    for (position, word) in list(container, key).iter().enumerate() {
        let Some(word) = word.as_str() else { continue };
        let Some(rest) = room.checked_sub(word.len()) else { break };
        *room = rest;
        if syntax.has_near_miss_in_word(word) {
            found.get_or_insert((position, 0_usize)).1 += 1;
        }
    }
    let (first, count) = found?;
    let (others, name) = (and_more(count), container_name(container));
    let scheme = &syntax.scheme;
    Some(format!(
        "{key}[{first}]{others} of container {name} has a text that resembles a reference and is left as it is; write \
         {scheme}://GROUP/KEY as the value of a variable, and $(NAME) here"
    ))
}

fn container_name(container: &Value) -> String {
    escape_name(container["name"].as_str().unwrap_or_default())
}

/// The others of a number of texts, for messages.
fn and_more(count: usize) -> String {
    match count - 1 {
        0 => String::new(),
        others => format!(" (and {others} more)"),
    }
}

fn warning(container: &str, kind: NearMiss, variables: &FoundVariables<'_>, syntax: &ReferenceSyntax) -> String {
    let variable = escape_name(variables.first);
    let others = and_more(variables.count);
    format!("the value of variable {variable}{others} of container {container} {}", syntax.advice(kind))
}
