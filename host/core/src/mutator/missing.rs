//! [`ReferencedSecrets`]: the Kubernetes Secrets that a pod refers to, for warnings about those
//! that do not exist (`pods.warnMissingSecrets`).

use std::collections::BTreeMap;

use crate::{
    delivery::DeliveryStore,
    edit::{EnvSource, FileSource, PodEdit, VolumeSource},
    text::escape_name,
};

/// Secrets of a pod that are looked up. Each is a request to the API server.
const MAX_SECRETS: usize = 16;

/// The Secrets that a pod refers to, each with whether the pod starts without it.
#[derive(Default)]
pub(super) struct ReferencedSecrets(BTreeMap<String, bool>);

// === impl ReferencedSecrets ===

impl ReferencedSecrets {
    /// Adds the Secrets that edits refer to.
    pub(super) fn add(&mut self, edits: &[PodEdit]) {
        for (name, optional) in edits.iter().filter_map(reference) {
            if let Some(known) = self.0.get_mut(&name) {
                *known &= optional;
            } else if self.0.len() < MAX_SECRETS {
                self.0.insert(name, optional);
            }
        }
    }

    /// The warnings about those that do not exist in the namespace.
    pub(super) async fn warnings(&self, store: &dyn DeliveryStore, namespace: &str) -> Vec<String> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let missing = store.missing(namespace, self.0.keys().cloned().collect()).await;
        let warning = |name: &String| {
            let effect = match self.0.get(name) {
                Some(true) => "the pod starts without it",
                Some(false) | None => "the pod does not start before it exists",
            };
            format!("Secret {} does not exist in namespace {namespace}; {effect}", escape_name(name))
        };
        missing.iter().map(warning).collect()
    }
}

/// The Secret that an edit refers to, and whether it is optional.
fn reference(edit: &PodEdit) -> Option<(String, bool)> {
    match edit {
        PodEdit::SetEnv(env) => match &env.source {
            EnvSource::SecretKey(key) => Some((key.name.clone(), key.optional)),
            _ => None,
        },
        PodEdit::WriteFile(file) => match &file.source {
            FileSource::SecretKey(key) => Some((key.name.clone(), key.optional)),
            _ => None,
        },
        PodEdit::AddVolume(volume) => match &volume.source {
            VolumeSource::Secret(secret) => Some((secret.secret_name.clone(), secret.optional)),
            VolumeSource::Json(text) => projected(text),
            _ => None,
        },
        PodEdit::SetEnvFrom(all) => Some((all.secret.clone(), all.optional)),
        _ => None,
    }
}

/// The Secret of a volume with all its keys.
fn projected(text: &str) -> Option<(String, bool)> {
    let source: serde_json::Value = serde_json::from_str(text).ok()?;
    let secret = source.pointer("/projected/sources/0/secret")?;
    Some((secret["name"].as_str()?.to_owned(), secret["optional"] == true))
}
