//! The pod that results from a case, and its golden file: the key `result` of a case.
//!
//! A value that the plugin fetched is replaced, so that a golden file contains no secret.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ampoule_core::{EnvSource, EnvVar, Injection, Mutation, Pod, PodEdit};
use anyhow::Context as _;
use serde_json::Value;

use crate::commands::output;
use ampoule_config::{ConfigError, parse_document};

/// The text in place of a fetched value.
const REDACTED: &str = "redacted";

/// The golden file of a case's pod.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GoldenPod {
    pub(super) path: PathBuf,
    /// The expected pod; `None` before the first recording.
    pub(super) expected: Option<Value>,
}

// === impl GoldenPod ===

impl GoldenPod {
    /// Reads the file, if it exists. `case` is the file of the case, `name` the name of the golden
    /// file in the same directory.
    pub(super) fn read(case: &Path, name: &str) -> anyhow::Result<Self> {
        let is_name = Path::new(name).file_name().is_some_and(|file| file == name);
        let is_known =
            ["yaml", "json"].iter().any(|known| Path::new(name).extension().is_some_and(|end| end == *known));
        if !is_name || !is_known {
            let message = "must be the name of a file in the directory of the cases, NAME.json or NAME.yaml";
            return Err(ConfigError { file: Some(case.to_owned()), ..ConfigError::at("result", message) }.into());
        }
        let path = case.with_file_name(name);
        if !path.exists() {
            return Ok(Self { path, expected: None });
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let expected = parse_document(&text).map_err(|error| ConfigError { file: Some(path.clone()), ..error })?;
        Ok(Self { path, expected: Some(expected) })
    }

    /// Writes the pod in the format of the file's extension.
    pub(super) fn record(&self, pod: &Value) -> anyhow::Result<()> {
        let is_json = self.path.extension().is_some_and(|extension| extension == "json");
        let text = if is_json { output::json(pod)? } else { output::yaml(pod)? };
        fs::write(&self.path, text).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// Returns the pod after a mutation, without fetched values. `None` if the webhook refuses the pod.
pub(super) fn resulting_pod(
    received: &Pod,
    mutation: &Mutation,
    injections: &[Injection],
) -> anyhow::Result<Option<Value>> {
    let Ok(admitted) = &mutation.outcome else { return Ok(None) };
    let mut pod = received.as_json().clone();
    json_patch::patch(&mut pod, &admitted.patch).context("the patch does not apply to the pod of the case")?;
    let edits = injections.iter().flatten().flatten().flatten();
    for variable in edits.flat_map(variables) {
        redact(&mut pod, variable);
    }
    Ok(Some(pod))
}

/// The variables that an edit sets.
fn variables(edit: &PodEdit) -> &[EnvVar] {
    match edit {
        PodEdit::SetEnv(variable) => std::slice::from_ref(variable),
        PodEdit::AddInitContainer(container) => &container.env,
        PodEdit::AddVolume(_)
        | PodEdit::MountVolume(_)
        | PodEdit::SetAnnotation(_)
        | PodEdit::AddImagePullSecret(_)
        | PodEdit::SetEnvFrom(_)
        // The value reaches a Secret only; the pod contains the name of the Secret.
        | PodEdit::WriteFile(_)
        | PodEdit::AddPullSecretValue(_) => &[],
    }
}

/// Replaces a fetched value wherever a container has it in this variable.
fn redact(pod: &mut Value, variable: &EnvVar) {
    let EnvSource::SecretValue(secret) = &variable.source else { return };
    for list in ["initContainers", "containers"] {
        let containers = pod["spec"][list].as_array_mut().into_iter().flatten();
        let entries = containers.filter_map(|container| container.get_mut("env")?.as_array_mut()).flatten();
        for entry in entries.filter(|entry| entry["name"] == variable.name.as_str()) {
            if entry["value"].as_str().is_some_and(|value| secret.is(value.as_bytes())) {
                entry["value"] = REDACTED.into();
            }
        }
    }
}
