//! [`FetchDocument`]: what the webhook tells the program that fetches values in a pod.
//!
//! It is a variable of the init container, so everyone who can read the pod can read it: it has no
//! secret. The webhook and the program have the same version, because the webhook's configuration
//! names the image of the program.

use serde::{Deserialize, Serialize};

/// The values to fetch in a pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FetchDocument {
    /// The injectors, in their order.
    pub injectors: Vec<FetchInjector>,
    /// The files that are made of several values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<FetchedTemplate>,
    /// The time for all values together, in seconds.
    pub total_seconds: u64,
    /// The interval at which the values are fetched again, in seconds. `None`: the program ends
    /// after the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_seconds: Option<u64>,
    /// Whether the program ends after a change of a variable's value, to report it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub report_changes: bool,
}

/// The values of one injector.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FetchInjector {
    /// Its name in the configuration.
    pub name: String,
    /// How to load its plugin. The core passes it on.
    pub plugin: serde_json::Value,
    /// Its values. Each promise is there once.
    pub values: Vec<PromisedValue>,
}

/// A value, and where it goes.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PromisedValue {
    /// The promise of the plugin.
    pub promise: String,
    /// The secret in messages.
    pub secret: String,
    /// Whether the pod starts without the value if the store does not have it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// The files that get the value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FetchedFile>,
    /// The folders with a file for each field of the value, which is a JSON object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<FetchedFile>,
    /// The environment variables that get the value through the file of variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<FetchedVariable>,
}

/// A file that is made of several values.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FetchedTemplate {
    /// The file.
    pub file: FetchedFile,
    /// Its parts.
    pub parts: Vec<FetchedPart>,
}

/// A part of such a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FetchedPart {
    /// Text.
    Text(String),
    /// The positions of an injector and of its value.
    Value(usize, usize),
}

/// A file in a memory volume.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FetchedFile {
    /// The absolute path, which is the same in all containers.
    pub path: String,
    /// The permission bits. By default, every user may read the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

/// An environment variable that the kubelet reads from the file of variables.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FetchedVariable {
    /// The name.
    pub name: String,
    /// Whether the pod has the value in a file as well, and so may omit a variable that the file of
    /// variables cannot express.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

// === impl FetchDocument ===

impl FetchDocument {
    /// All values, by injector.
    pub fn values(&self) -> impl Iterator<Item = &PromisedValue> {
        self.injectors.iter().flat_map(|injector| &injector.values)
    }

    /// Whether a value goes to a variable that the kubelet reads.
    #[must_use]
    pub fn has_variables(&self) -> bool {
        self.values().any(|value| !value.variables.is_empty())
    }

    /// Whether a value goes to a file.
    #[must_use]
    pub fn has_files(&self) -> bool {
        !self.templates.is_empty() || self.values().any(|value| !value.files.is_empty() || !value.folders.is_empty())
    }
}

// === impl PromisedValue ===

impl PromisedValue {
    /// A value that goes only to files of several values.
    pub(super) fn new(promise: &str, secret: &str) -> Self {
        Self {
            promise: promise.to_owned(),
            secret: secret.to_owned(),
            optional: false,
            files: Vec::new(),
            folders: Vec::new(),
            variables: Vec::new(),
        }
    }
}
