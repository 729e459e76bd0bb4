//! Edits of a running pod: an update of ephemeral containers can change nothing else, and the API
//! server drops every other change without an error. [`check_update`] finds what would be missing.
//!
//! A pod that got its secrets when it was created has the volumes and init containers already. A
//! changed value keeps the volume of the pod.

use std::collections::BTreeSet;

use serde_json::Value;

use super::edited::EditedPod;
use crate::{
    pod::list,
    text::{escape_name, one_line},
};

/// Characters of a path in a message.
const MAX_PATH: usize = 256;

/// Checks that the edits of an update need nothing that the running pod does not have.
///
/// # Errors
///
/// The reason for the pod's author.
pub(crate) fn check_update(pod: &EditedPod<'_>) -> Result<(), String> {
    if !pod.is_update() {
        return Ok(());
    }
    if let Some(container) = pod.init_containers.iter().find(|container| container.is_added()) {
        return Err(format!("init container {}, which has not run", escape_name(container.name())));
    }
    if let Some(volume) = pod.volumes.additions().next() {
        return Err(format!("volume {}", escape_name(name(volume))));
    }
    for (before, after) in pod.volumes.changes() {
        let known = paths(before);
        if let Some(path) = paths(after).difference(&known).next() {
            let path = one_line(path, MAX_PATH);
            return Err(format!("file {path} in volume {}", escape_name(name(after))));
        }
    }
    for container in pod.ephemeral_containers() {
        let mut mounts = container.mounts.additions();
        if let Some(mount) = mounts.find(|mount| !mount["subPath"].is_null()) {
            let (volume, container) = (escape_name(name(mount)), escape_name(container.name()));
            return Err(format!("subPath of volume {volume}, which ephemeral container {container} cannot mount"));
        }
    }
    Ok(())
}

fn name(element: &Value) -> &str {
    element["name"].as_str().unwrap_or_default()
}

/// The paths of the files in a volume of Secrets; empty if it has all keys.
fn paths(volume: &Value) -> BTreeSet<&str> {
    let projected = list(&volume["projected"], "sources").iter().flat_map(|source| list(&source["secret"], "items"));
    let items = projected.chain(list(&volume["secret"], "items"));
    items.filter_map(|item| item["path"].as_str()).collect()
}
