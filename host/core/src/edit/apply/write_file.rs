//! `write-file`: mounts one key of a Secret as a file.
//!
//! All files of a directory share one projected volume, which every container mounts at the
//! directory: no shell and no init container, and a reference to an existing Secret is rotated.
//! Files that the pod fetches share a memory volume, to which the init container writes.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{ApplyError, Claim, ClaimContent, ClaimKind, EditApplier, validate};
use crate::{
    edit::{SecretFile, SecretKeyRef, Volume, VolumeMount, VolumeSource, budget::operation_length, edited::EditedPod},
    generated_name::GeneratedName,
    pod::list,
    request::ContainerScope,
};

/// Mode of a file that every user may read, also in an image that runs as any user.
const DEFAULT_MODE: u32 = 0o444;
/// The greatest mode of a file. Kubernetes accepts no other bits.
const MAX_MODE: u32 = 0o777;
/// The start of the volumes' names. The rest depends on the directory.
const VOLUME_PREFIX: &str = "ampoule-files-";
/// Like [`VOLUME_PREFIX`], for files that the pod fetches.
const MEMORY_PREFIX: &str = "ampoule-fetched-";

/// A file with a key of a Secret.
pub(super) struct FileReference<'e> {
    pub(super) path: &'e str,
    pub(super) mode: Option<u32>,
    pub(super) source: &'e SecretKeyRef,
}

/// What the volume needs for a file.
#[derive(Debug, PartialEq, Eq)]
enum Merge {
    Present,
    Added,
    Conflict,
}

impl EditApplier<'_> {
    pub(super) fn write_file(
        &mut self,
        origin: &Arc<str>,
        file: &FileReference<'_>,
        pod: &mut EditedPod<'_>,
    ) -> Result<(), ApplyError> {
        let (directory, name) = split(file.path)?;
        let volume = [VOLUME_PREFIX, &short_digest(directory, &self.scope)].concat();
        self.add_file(origin, &volume, name, file, pod)?;
        let mount = VolumeMount { volume, path: directory.to_owned(), read_only: true, sub_path: None };
        self.mount_volume(origin, &mount, mount.to_json(), pod)
    }

    /// Mounts the memory volume of the directory. The init container that writes the file is added
    /// later.
    pub(super) fn write_fetched_file(
        &mut self,
        origin: &Arc<str>,
        path: &str,
        promise: &str,
        pod: &mut EditedPod<'_>,
    ) -> Result<(), ApplyError> {
        let (directory, _) = split(path)?;
        match self.claim(ClaimKind::FetchedFile, path) {
            Some(Claim { origin: owner, content: ClaimContent::Promise(earlier), .. }) if earlier != promise => {
                return Err(file_conflict(path, owner, origin));
            }
            Some(_) => return Ok(()),
            None => {
                self.record(origin, ClaimKind::FetchedFile, path, ClaimContent::Promise(promise.to_owned()));
            }
        }
        let volume = memory_volume_name(directory, &self.scope);
        let added = Volume {
            name: volume.clone(),
            source: VolumeSource::Memory { size_limit: Some(SecretFile::MEMORY_SIZE.to_owned()) },
        };
        let json = added.to_json().map_err(ApplyError::Invalid)?;
        self.add_volume(origin, &added, json, pod)?;
        let mount = VolumeMount { volume, path: directory.to_owned(), read_only: true, sub_path: None };
        self.mount_volume(origin, &mount, mount.to_json(), pod)
    }

    fn add_file(
        &mut self,
        origin: &Arc<str>,
        volume: &str,
        name: &str,
        file: &FileReference<'_>,
        pod: &mut EditedPod<'_>,
    ) -> Result<(), ApplyError> {
        let source = new_source(name, file);
        self.budget.add(operation_length(&source))?;
        let Some(existing) = pod.volumes.named_mut(volume) else {
            let sources = json!({ "defaultMode": DEFAULT_MODE, "sources": [source] });
            pod.volumes.append(json!({ "name": volume, "projected": sources }));
            self.record(origin, ClaimKind::Volume, volume, ClaimContent::Any);
            return Ok(());
        };
        let files = list(&existing["projected"], "sources").iter().map(|source| items(source).len() + 1).sum();
        self.budget.visit(files)?;
        if merge(existing, name, file, source) != Merge::Conflict {
            return Ok(());
        }
        Err(file_conflict(file.path, self.owner(ClaimKind::Volume, volume), origin))
    }
}

fn file_conflict(path: &str, owner: &str, origin: &str) -> ApplyError {
    let advice = "request one of them at another path";
    ApplyError::Conflict(format!("file {path} has different sources from {owner} and {origin}; {advice}"))
}

/// Adds a file to a projected volume. A file that refers to an outdated Secret of the same injector
/// is replaced.
fn merge(volume: &mut Value, name: &str, file: &FileReference<'_>, new: Value) -> Merge {
    let sources = volume.pointer_mut("/projected/sources").and_then(Value::as_array_mut);
    let Some(sources) = sources else { return Merge::Conflict };
    let holder = sources.iter().position(|source| items(source).iter().any(|item| item["path"] == name));
    if let Some(holder) = holder {
        let existing = sources[holder]["secret"]["name"].as_str().unwrap_or_default();
        let is_same_secret = existing == file.source.name;
        if !is_same_secret && !GeneratedName::are_related(existing, &file.source.name) {
            return Merge::Conflict;
        }
        if is_same_secret {
            let is_same_key = |item: &Value| item["path"] == name && item["key"] == file.source.key;
            return if items(&sources[holder]).iter().any(is_same_key) { Merge::Present } else { Merge::Conflict };
        }
        remove(sources, holder, name);
    }
    let is_optional = |source: &Value| source["secret"]["optional"] == true;
    let same = sources
        .iter_mut()
        .find(|source| source["secret"]["name"] == file.source.name && is_optional(source) == file.source.optional);
    match same.and_then(|source| source.pointer_mut("/secret/items")).and_then(Value::as_array_mut) {
        Some(items) => items.push(new["secret"]["items"][0].clone()),
        None => sources.push(new),
    }
    Merge::Added
}

/// Removes a file from a source, and the source if it has no other file.
fn remove(sources: &mut Vec<Value>, holder: usize, name: &str) {
    if let Some(items) = sources[holder].pointer_mut("/secret/items").and_then(Value::as_array_mut) {
        items.retain(|item| item["path"] != name);
    }
    if items(&sources[holder]).is_empty() {
        sources.remove(holder);
    }
}

fn items(source: &Value) -> &[Value] {
    list(&source["secret"], "items")
}

fn new_source(name: &str, file: &FileReference<'_>) -> Value {
    let mut item = json!({ "key": file.source.key, "path": name });
    if let Some(mode) = file.mode {
        item["mode"] = json!(mode);
    }
    let mut secret = json!({ "items": [item], "name": file.source.name });
    if file.source.optional {
        secret["optional"] = json!(true);
    }
    json!({ "secret": secret })
}

/// Splits an absolute path into its directory and the name of the file.
fn split(path: &str) -> Result<(&str, &str), ApplyError> {
    match path.rsplit_once('/') {
        Some((directory, name)) if !directory.is_empty() && !name.is_empty() => Ok((directory, name)),
        _ => Err(ApplyError::Invalid(format!("file path {path:?} must name a file in a directory below /"))),
    }
}

/// The name of the memory volume for the fetched files of a directory.
pub(crate) fn memory_volume_name(directory: &str, scope: &ContainerScope) -> String {
    [MEMORY_PREFIX, &short_digest(directory, scope)].concat()
}

/// Identifies a directory of certain containers. Containers must not have the files of others, so a
/// volume is only for the containers of one scope.
fn short_digest(directory: &str, scope: &ContainerScope) -> String {
    let mut digest = Sha256::new_with_prefix(directory.as_bytes());
    for name in scope.names().into_iter().flatten() {
        digest.update(b"\0");
        digest.update(name.as_bytes());
    }
    HEXLOWER.encode(&digest.finalize()[..8])
}

/// Checks the path and the mode of a file.
pub(crate) fn check(path: &str, mode: Option<u32>) -> Result<(), ApplyError> {
    validate::mount_path(path)?;
    split(path)?;
    let is_plain = path[1..].split('/').all(|part| !part.is_empty() && part != ".");
    validate::require(is_plain, || format!("file path {path:?} must not contain empty parts or '.'"))?;
    let valid_mode = mode.is_none_or(|mode| mode <= MAX_MODE);
    validate::require(valid_mode, || format!("the mode of file {path:?} must be at most 0777"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "ampoule-0123abcd-00000000000000000000000000000000";
    const NEW: &str = "ampoule-0123abcd-11111111111111111111111111111111";

    #[test]
    fn a_volume_gains_files_and_replaces_only_files_of_outdated_secrets() {
        let files = |secret: &str, pairs: &[(&str, &str)]| {
            let items: Vec<_> = pairs.iter().map(|(key, path)| json!({ "key": key, "path": path })).collect();
            json!({ "secret": { "items": items, "name": secret } })
        };
        for (sources, (secret, key, name), result, expected) in [
            (vec![files("a", &[("k", "f")])], ("a", "k", "f"), Merge::Present, vec![files("a", &[("k", "f")])]),
            (vec![files("a", &[("k", "f")])], ("a", "l", "f"), Merge::Conflict, vec![files("a", &[("k", "f")])]),
            (vec![files("a", &[("k", "f")])], ("b", "k", "f"), Merge::Conflict, vec![files("a", &[("k", "f")])]),
            (
                vec![files("a", &[("k", "f")])],
                ("a", "l", "g"),
                Merge::Added,
                vec![files("a", &[("k", "f"), ("l", "g")])],
            ),
            (
                vec![files("a", &[("k", "f")])],
                ("b", "k", "g"),
                Merge::Added,
                vec![files("a", &[("k", "f")]), files("b", &[("k", "g")])],
            ),
            (vec![files(OLD, &[("k", "f")])], (NEW, "k", "f"), Merge::Added, vec![files(NEW, &[("k", "f")])]),
            (
                vec![files(OLD, &[("k", "f"), ("l", "g")])],
                (NEW, "k", "f"),
                Merge::Added,
                vec![files(OLD, &[("l", "g")]), files(NEW, &[("k", "f")])],
            ),
        ] {
            let mut volume = json!({ "projected": { "sources": sources } });
            let source = SecretKeyRef { name: secret.to_owned(), key: key.to_owned(), optional: false };
            let file = FileReference { path: name, mode: None, source: &source };
            let new = new_source(name, &file);
            assert_eq!(merge(&mut volume, name, &file, new), result, "{secret} {key} {name}");
            assert_eq!(volume["projected"]["sources"], json!(expected), "{secret} {key} {name}");
        }
    }

    #[test]
    fn a_file_is_in_a_directory_below_the_root() {
        for (path, mode, error) in [
            ("/etc/secrets/token", None, ""),
            ("/etc/secrets/token", Some(0o400), ""),
            ("/etc/secrets/token", Some(0o1000), "the mode of file \"/etc/secrets/token\" must be at most 0777"),
            ("token", None, "mount path \"token\" must be absolute and must not contain ':' or '..'"),
            ("/token", None, "file path \"/token\" must name a file in a directory below /"),
            ("/etc/", None, "file path \"/etc/\" must name a file in a directory below /"),
            ("/etc/../token", None, "mount path \"/etc/../token\" must be absolute and must not contain ':' or '..'"),
            ("/etc//token", None, "file path \"/etc//token\" must not contain empty parts or '.'"),
            ("/etc/.", None, "file path \"/etc/.\" must not contain empty parts or '.'"),
        ] {
            let found = check(path, mode).map_err(|error| error.to_string());
            assert_eq!(found.err().unwrap_or_default(), error, "{path}");
        }
    }
}
