//! A pod as it arrived: raw JSON with the little structure that edits need, and the view of it that a plugin gets.
//!
//! A pod is never turned into a typed object and back: a field that this program does not know survives untouched.

use serde_json::{Map, Value};

use crate::{flyte, people};

/// Repeats the whole pod, environment values included, so no plugin may see it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A pod: a JSON object whose `metadata`, `spec` and container lists have the right JSON types, everything else unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod(Value);

/// Why a JSON document is no pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PodError {
    /// Another kind of object.
    #[error("the object is a {kind} of {api_version}, not a Pod of v1")]
    Kind {
        /// Its `kind`, or a note that it has none.
        kind: String,
        /// Its `apiVersion`, or a note that it has none.
        api_version: String,
    },
    /// A field with the wrong JSON type.
    #[error("{path} must be {expected}")]
    Type {
        /// The field's path, such as `spec.containers`.
        path: String,
        /// What it must be.
        expected: &'static str,
    },
}

/// What a plugin may see of a pod. No environment value is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodView {
    /// The namespace that the pod is created in.
    pub namespace: String,
    /// Its name, or the start of it where the API server has yet to make it.
    pub name: String,
    /// Its service account; empty where it names none.
    pub service_account: String,
    /// Its labels, by key.
    pub labels: Vec<(String, String)>,
    /// Its annotations, by key, less the one that repeats the pod and those that ask for secrets.
    pub annotations: Vec<(String, String)>,
    /// Init containers, then containers.
    pub containers: Vec<ContainerView>,
}

/// A container, as far as a plugin may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerView {
    /// Its name.
    pub name: String,
    /// Which list it stands in.
    pub kind: ContainerKind,
}

/// Which of a pod's lists a container stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerKind {
    /// An init container that ends before the next starts.
    Init,
    /// An init container that is restarted for ever.
    Sidecar,
    /// A container of the pod proper.
    Main,
}

// === impl Pod ===

impl Pod {
    /// Takes a JSON document for a pod.
    ///
    /// # Errors
    ///
    /// If it says it is something else, or if a part that edits touch has another JSON type than Kubernetes gives it.
    pub fn parse(value: Value) -> Result<Self, PodError> {
        check_kind(&value)?;
        object(&value, "metadata", || "metadata".to_owned())?;
        for list in ["annotations", "labels"] {
            object(&value["metadata"], list, || format!("metadata.{list}"))?;
        }
        let spec = value.get("spec").and_then(Value::as_object);
        let spec = spec.ok_or_else(|| wrong_type("spec", "an object"))?;
        if !spec.get("containers").is_some_and(Value::is_array) {
            return Err(wrong_type("spec.containers", "a list"));
        }
        for list in ["containers", "initContainers", "volumes", "imagePullSecrets"] {
            for (i, item) in elements(spec, list, || format!("spec.{list}"))?.iter().enumerate() {
                check_element(item, || format!("spec.{list}[{i}]"))?;
            }
        }
        Ok(Self(value))
    }

    /// The pod's annotations; empty where it has none.
    #[must_use]
    pub fn annotations(&self) -> &Map<String, Value> {
        static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        self.0["metadata"]["annotations"].as_object().unwrap_or(&NONE)
    }

    /// Its service account; empty where it names none.
    #[must_use]
    pub fn service_account(&self) -> &str {
        self.0["spec"]["serviceAccountName"].as_str().unwrap_or_default()
    }

    /// What a plugin may see of the pod. `namespace` is the admission request's: the pod's own may still be empty.
    #[must_use]
    pub fn view(&self, namespace: &str) -> PodView {
        let spec = &self.0["spec"];
        let init = list(spec, "initContainers").iter().map(|container| view_of(container, init_kind(container)));
        let main = list(spec, "containers").iter().map(|container| view_of(container, ContainerKind::Main));
        self.view_with(namespace, self.annotations(), init.chain(main).collect())
    }

    /// The same, with other annotations and containers.
    pub(crate) fn view_with(
        &self,
        namespace: &str,
        annotations: &Map<String, Value>,
        containers: Vec<ContainerView>,
    ) -> PodView {
        let metadata = &self.0["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = match text(&metadata["name"]) {
            name if name.is_empty() => text(&metadata["generateName"]),
            name => name,
        };
        PodView {
            namespace: namespace.to_owned(),
            name,
            service_account: self.service_account().to_owned(),
            labels: metadata["labels"].as_object().map(|labels| pairs(labels, |_| true)).unwrap_or_default(),
            annotations: pairs(annotations, is_shown),
            containers,
        }
    }

    /// The JSON document.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        &self.0
    }

    /// The JSON document, for keeps.
    #[must_use]
    pub fn into_json(self) -> Value {
        self.0
    }
}

/// Type-checks what edits walk through in a container, volume or pull secret.
fn check_element(item: &Value, path: impl Fn() -> String) -> Result<(), PodError> {
    let item = item.as_object().ok_or_else(|| wrong_type(&path(), "an object"))?;
    for list in ["env", "volumeMounts"] {
        for (i, entry) in elements(item, list, || format!("{}.{list}", path()))?.iter().enumerate() {
            if !entry.is_object() {
                return Err(wrong_type(&format!("{}.{list}[{i}]", path()), "an object"));
            }
        }
    }
    Ok(())
}

/// Kind and version, where the document gives them: an `AdmissionReview` may leave them out of its object.
fn check_kind(value: &Value) -> Result<(), PodError> {
    if !value.is_object() {
        return Err(wrong_type("the pod", "an object"));
    }
    let is = |key: &str, expected: &str| value.get(key).is_none_or(|actual| actual == expected);
    if is("kind", "Pod") && is("apiVersion", "v1") {
        return Ok(());
    }
    let said = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or("(not given)").chars().take(64).collect();
    Err(PodError::Kind { kind: said("kind"), api_version: said("apiVersion") })
}

fn object(parent: &Value, key: &str, path: impl FnOnce() -> String) -> Result<(), PodError> {
    match parent.get(key) {
        None | Some(Value::Null | Value::Object(_)) => Ok(()),
        Some(_) => Err(wrong_type(&path(), "an object")),
    }
}

fn elements<'a>(
    parent: &'a Map<String, Value>,
    key: &str,
    path: impl FnOnce() -> String,
) -> Result<&'a [Value], PodError> {
    match parent.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(wrong_type(&path(), "a list")),
    }
}

fn wrong_type(path: &str, expected: &'static str) -> PodError {
    PodError::Type { path: path.to_owned(), expected }
}

/// The list under `key`, empty if it is not there.
pub(crate) fn list<'a>(parent: &'a Value, key: &str) -> &'a [Value] {
    parent.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(crate) fn view_of(container: &Value, kind: ContainerKind) -> ContainerView {
    ContainerView { name: container["name"].as_str().unwrap_or_default().to_owned(), kind }
}

pub(crate) fn init_kind(container: &Value) -> ContainerKind {
    if container["restartPolicy"] == "Always" { ContainerKind::Sidecar } else { ContainerKind::Init }
}

/// Whether a plugin may see an annotation. What the pod asks for, it is asked itself.
fn is_shown(key: &str) -> bool {
    key != LAST_APPLIED && key != people::ANNOTATION && !key.starts_with(flyte::PREFIX)
}

fn pairs(object: &Map<String, Value>, shown: fn(&str) -> bool) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = object
        .iter()
        .filter(|(key, _)| shown(key))
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    pairs.sort();
    pairs
}
