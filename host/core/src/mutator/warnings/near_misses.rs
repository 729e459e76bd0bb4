//! Warns about values that were probably meant as references: [`near_misses`]. The container starts
//! with the text.
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

/// Bytes of the values that are searched, over all containers.
const MAX_SCANNED: usize = 1 << 20;

/// The variables of a container with texts of one kind.
struct FoundVariables<'p> {
    first: &'p str,
    count: usize,
}

/// Returns a warning for each container and each kind of text.
pub(super) fn near_misses(pod: &Pod, syntax: &ReferenceSyntax) -> Vec<String> {
    let shortest = syntax.shortest();
    let mut room = MAX_SCANNED;
    let mut warnings = Vec::new();
    for container in read_containers(pod) {
        let mut found = BTreeMap::new();
        for variable in list(container, "env") {
            let Some(Value::String(value)) = variable.get("value") else { continue };
            // Most values are short, and every pod has some.
            if value.len() < shortest {
                continue;
            }
            let Some(rest) = room.checked_sub(value.len()) else { break };
            room = rest;
            let Some(kind) = syntax.near_miss(value) else { continue };
            let first = variable["name"].as_str().unwrap_or_default();
            found.entry(kind).or_insert(FoundVariables { first, count: 0 }).count += 1;
        }
        let name = || escape_name(container["name"].as_str().unwrap_or_default());
        warnings.extend(found.into_iter().map(|(kind, variables)| warning(&name(), kind, &variables, syntax)));
    }
    warnings
}

fn warning(container: &str, kind: NearMiss, variables: &FoundVariables<'_>, syntax: &ReferenceSyntax) -> String {
    let variable = escape_name(variables.first);
    let others = match variables.count - 1 {
        0 => String::new(),
        others => format!(" (and {others} more)"),
    };
    format!("the value of variable {variable}{others} of container {container} {}", syntax.advice(kind))
}
