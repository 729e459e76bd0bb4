//! Gives an answer for every key of a group its form: variables, or files of a folder.
//!
//! The keys of a Kubernetes Secret are known to the kubelet only. Those of a fetched value are the
//! fields of its JSON object.

use data_encoding::HEXLOWER;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    edit::{
        EnvFromSecret, EnvSource, EnvVar, FileSource, PodEdit, SecretFile, SecretValue, Volume, VolumeMount,
        VolumeSource,
    },
    edit_permissions::is_reserved_variable,
    injector::InjectionError,
    request::{AllKeys, ContainerScope, RequestOptions},
};

/// The start of the names of volumes with all keys of a Secret.
const VOLUME_PREFIX: &str = "ampoule-keys-";
/// Mode of a file that every user may read, also in an image that runs as any user.
const DEFAULT_MODE: u32 = 0o444;

/// The content and the folder of an answer.
struct GroupKeys {
    source: GroupKeysSource,
    folder: String,
    mode: Option<u32>,
}

enum GroupKeysSource {
    Secret { name: String, optional: bool },
    Value(SecretValue),
    Promise(String),
}

/// Returns the edits for all keys of a group. Other variables of the answer are dropped.
pub(super) fn shape(
    injector: &str,
    form: &AllKeys,
    options: &RequestOptions,
    edits: Vec<PodEdit>,
) -> Result<Vec<PodEdit>, InjectionError> {
    let Some(keys) = read(edits) else {
        let reason = format!("{injector} does not deliver all keys of a group; request each key");
        return Err(InjectionError::Unsupported(reason));
    };
    let folder = options.path.clone().unwrap_or(keys.folder);
    let mode = options.mode.or(keys.mode);
    match (keys.source, form) {
        (GroupKeysSource::Secret { name, optional }, AllKeys::Variables(prefix)) => {
            let optional = options.optional.unwrap_or(optional);
            Ok(vec![PodEdit::SetEnvFrom(EnvFromSecret { prefix: prefix.clone(), secret: name, optional })])
        }
        (GroupKeysSource::Secret { name, optional }, AllKeys::Files) => {
            let optional = options.optional.unwrap_or(optional);
            Ok(volume(&name, optional, mode, folder, &options.containers))
        }
        (GroupKeysSource::Value(value), form) => {
            let fields = value.fields().map_err(|reason| InjectionError::InvalidRequest(reason.to_string()))?;
            fields.into_iter().map(|(key, value)| field(form, &folder, mode, &key, value)).collect()
        }
        (GroupKeysSource::Promise(promise), AllKeys::Files) => {
            Ok(vec![PodEdit::WriteFile(SecretFile { path: folder, mode, source: FileSource::Promise(promise) })])
        }
        (GroupKeysSource::Promise(_), AllKeys::Variables(_)) => {
            let reason = "with delivery: pod, the keys are not known when the pod is created, so they cannot be \
                          variables; set path";
            Err(InjectionError::Unsupported(reason.to_owned()))
        }
    }
}

/// The keys of an answer: a volume with a whole Secret and its mount, or one file.
fn read(edits: Vec<PodEdit>) -> Option<GroupKeys> {
    let is_literal = |edit: &PodEdit| matches!(edit, PodEdit::SetEnv(EnvVar { source: EnvSource::Literal(_), .. }));
    let mut edits: Vec<_> = edits.into_iter().filter(|edit| !is_literal(edit)).collect();
    let (first, second) = match (edits.pop(), edits.pop()) {
        (Some(last), before) if edits.is_empty() => (before, last),
        _ => return None,
    };
    match (first, second) {
        (None, PodEdit::WriteFile(SecretFile { path, mode, source })) => {
            let source = match source {
                FileSource::SecretValue(value) => GroupKeysSource::Value(value),
                FileSource::Promise(promise) => GroupKeysSource::Promise(promise),
                FileSource::SecretKey(_) => return None,
            };
            Some(GroupKeys { source, folder: path, mode })
        }
        (Some(PodEdit::AddVolume(volume)), PodEdit::MountVolume(mount)) if mount.volume == volume.name => {
            let VolumeSource::Secret(secret) = volume.source else { return None };
            let source = GroupKeysSource::Secret { name: secret.secret_name, optional: secret.optional };
            (secret.items.is_empty() && mount.sub_path.is_none()).then_some(GroupKeys {
                source,
                folder: mount.path,
                mode: None,
            })
        }
        _ => None,
    }
}

/// A volume with all keys of a Secret for the containers of a scope, and its mount.
fn volume(secret: &str, optional: bool, mode: Option<u32>, folder: String, scope: &ContainerScope) -> Vec<PodEdit> {
    let mode = mode.unwrap_or(DEFAULT_MODE);
    let mut digest = Sha256::new();
    for part in
        [secret, &mode.to_string(), &folder].into_iter().chain(scope.names().into_iter().flatten().map(|n| &**n))
    {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let name = [VOLUME_PREFIX, &HEXLOWER.encode(&digest.finalize()[..8])].concat();
    let mut source = json!({ "name": secret });
    if optional {
        source["optional"] = json!(true);
    }
    let content = json!({ "projected": { "defaultMode": mode, "sources": [{ "secret": source }] } });
    let source = VolumeSource::Json(content.to_string());
    let mount = VolumeMount { volume: name.clone(), path: folder, read_only: true, sub_path: None };
    vec![PodEdit::AddVolume(Volume { name, source }), PodEdit::MountVolume(mount)]
}

/// The edit for one field of a fetched value. Messages do not contain its name, which the store
/// chose.
fn field(
    form: &AllKeys,
    folder: &str,
    mode: Option<u32>,
    key: &str,
    value: SecretValue,
) -> Result<PodEdit, InjectionError> {
    match form {
        AllKeys::Variables(prefix) => {
            let name = [prefix, key].concat();
            if EnvVar::validate_name(&name).is_err() || is_reserved_variable(&name) {
                let reason = "a key of the value cannot name a variable, or names a variable of the system; set \
                              envPrefix, or request the keys that you need";
                return Err(InjectionError::InvalidRequest(reason.to_owned()));
            }
            Ok(PodEdit::SetEnv(EnvVar { name, source: EnvSource::SecretValue(value) }))
        }
        AllKeys::Files => {
            let path = file_path(folder, key).ok_or_else(|| {
                let reason = "a key of the value cannot name a file; request the keys that you need";
                InjectionError::InvalidRequest(reason.to_owned())
            })?;
            Ok(PodEdit::WriteFile(SecretFile { path, mode, source: FileSource::SecretValue(value) }))
        }
    }
}

fn file_path(folder: &str, key: &str) -> Option<String> {
    SecretValue::is_file_name(key).then(|| [folder, "/", key].concat())
}
