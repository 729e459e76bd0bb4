//! A pod as received, and the view of it that plugins get.
//!
//! A pod stays raw JSON and is never converted to a typed object and back, so that fields unknown
//! to this program stay untouched.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock, OnceLock},
};

use serde_json::{Map, Value};

use crate::{
    flyte,
    request::{REFERENCES_ANNOTATION, SECRETS_ANNOTATION},
    text,
};

/// The annotation that repeats the whole pod, environment values included. Plugins must not see it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The annotation with which a kubelet marks the API server's copy of a static pod.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The label of a node with its operating system.
const NODE_SYSTEM: &str = "kubernetes.io/os";

/// Maximum length of a kind or version in an error message, in characters.
const MAX_KIND: usize = 64;

/// A pod: a JSON object whose `metadata`, `spec` and container lists have the right JSON types. All
/// other content is unchecked. Clones share the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    document: Arc<Value>,
    /// For an update of ephemeral containers: the positions of the new ones.
    debuggers: Option<Arc<[usize]>>,
}

/// Reasons why a JSON document is not a pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PodError {
    /// The object has another kind or version.
    #[error("expected kind Pod and apiVersion v1, got kind {kind} and apiVersion {api_version}")]
    Kind {
        /// The object's `kind`, or a note that it is missing.
        kind: String,
        /// The object's `apiVersion`, or a note that it is missing.
        api_version: String,
    },
    /// A field has the wrong JSON type.
    #[error("{path} must be {expected}")]
    Type {
        /// The path of the field, such as `spec.containers`.
        path: String,
        /// The expected JSON type.
        expected: &'static str,
    },
}

/// The parts of a pod that a plugin may see. Contains no environment values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodView {
    /// The namespace of the admission request.
    pub namespace: String,
    /// The name, or the `generateName` if the API server has not generated the name yet.
    pub name: String,
    /// The service account; empty if the pod sets none.
    pub service_account: String,
    /// `spec.os.name`.
    pub operating_system: Option<String>,
    /// The labels, sorted by key.
    pub labels: Vec<(String, String)>,
    /// The annotations, sorted by key, without secret requests and without kubectl's copy of the
    /// pod.
    pub annotations: Vec<(String, String)>,
    /// The init containers, then the containers.
    pub containers: Vec<ContainerView>,
}

/// The parts of a container that a plugin may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerView {
    /// The name.
    pub name: String,
    /// The kind of container.
    pub kind: ContainerKind,
    /// The image.
    pub image: Option<String>,
}

/// A [`PodView`] that is computed when it is first read, because most plugins do not read it.
/// Clones share it.
#[derive(Clone, Debug, Default)]
pub struct LazyPodView(Arc<LazyView>);

#[derive(Debug, Default)]
struct LazyView {
    /// The pod and its namespace. Absent if the view was computed before.
    source: Option<(Pod, String)>,
    view: OnceLock<PodView>,
}

/// Kinds of containers, by their list and restart policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerKind {
    /// An init container that must end before the next one starts.
    Init,
    /// An init container with restart policy `Always`.
    Sidecar,
    /// A regular container.
    Main,
}

// === impl Pod ===

impl Pod {
    /// Checks a JSON document and wraps it as a pod.
    ///
    /// # Errors
    ///
    /// Returns an error if the document has another kind or version, or if a part that edits touch
    /// has the wrong JSON type.
    pub fn parse(value: Value) -> Result<Self, PodError> {
        check_kind(&value)?;
        check_object(&value, "metadata", || "metadata".to_owned())?;
        for list in ["annotations", "labels"] {
            check_object(&value["metadata"], list, || format!("metadata.{list}"))?;
        }
        let spec = value.get("spec").and_then(Value::as_object);
        let spec = spec.ok_or_else(|| wrong_type("spec", "an object"))?;
        if !spec.get("containers").is_some_and(Value::is_array) {
            return Err(wrong_type("spec.containers", "a list"));
        }
        for list in ["containers", "initContainers", "ephemeralContainers", "volumes", "imagePullSecrets"] {
            for (i, item) in checked_list(spec, list, || format!("spec.{list}"))?.iter().enumerate() {
                check_element(item, || format!("spec.{list}[{i}]"))?;
            }
        }
        Ok(Self { document: Arc::new(value), debuggers: None })
    }

    /// Wraps a running pod to which an update adds ephemeral containers (`kubectl debug`). `before`
    /// is the stored pod. Edits change only the new containers.
    ///
    /// # Errors
    ///
    /// As [`Pod::parse`].
    pub fn parse_update(value: Value, before: &Value) -> Result<Self, PodError> {
        let pod = Self::parse(value)?;
        let known: BTreeSet<_> = ephemeral_names(before).collect();
        let names = ephemeral_names(&pod.document).enumerate();
        let debuggers = names.filter(|(_, name)| !known.contains(name)).map(|(position, _)| position).collect();
        Ok(Self { debuggers: Some(debuggers), ..pod })
    }

    /// Whether the pod runs, and an update adds ephemeral containers.
    #[must_use]
    pub fn is_update(&self) -> bool {
        self.debuggers.is_some()
    }

    /// The positions of the ephemeral containers that an update adds.
    pub(crate) fn new_ephemeral_containers(&self) -> &[usize] {
        self.debuggers.as_deref().unwrap_or_default()
    }

    /// Whether the pod is the API server's copy of a static pod. The kubelet runs static pods from
    /// files, and Kubernetes lets neither refer to Secrets.
    #[must_use]
    pub fn is_mirror(&self) -> bool {
        self.annotations().contains_key(MIRROR)
    }

    /// Returns the pod's annotations; empty if it has none.
    #[must_use]
    pub fn annotations(&self) -> &Map<String, Value> {
        static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        self.document["metadata"]["annotations"].as_object().unwrap_or(&EMPTY)
    }

    /// Returns the name of the service account; empty if the pod sets none.
    #[must_use]
    pub fn service_account(&self) -> &str {
        string_or_empty(&self.document["spec"]["serviceAccountName"])
    }

    /// Whether the pod is for Windows nodes. `spec.os` exists since Kubernetes 1.25.
    pub(crate) fn is_windows(&self) -> bool {
        let spec = &self.document["spec"];
        spec["os"]["name"] == "windows" || spec["nodeSelector"][NODE_SYSTEM] == "windows"
    }

    /// Whether its containers run as root unless they name another user.
    pub(crate) fn runs_as_root(&self) -> bool {
        self.document["spec"]["securityContext"]["runAsUser"] == 0
    }

    /// Returns the parts of the pod that a plugin may see.
    ///
    /// `namespace` is that of the admission request, because the pod's own may still be empty.
    #[must_use]
    pub fn view(&self, namespace: &str) -> PodView {
        let spec = &self.document["spec"];
        let init = list(spec, "initContainers").iter().map(view_init_container);
        let main = list(spec, "containers").iter().map(view_main_container);
        self.view_with(namespace, self.annotations(), init.chain(main).collect())
    }

    /// Returns the same view with other annotations and containers.
    pub(crate) fn view_with(
        &self,
        namespace: &str,
        annotations: &Map<String, Value>,
        containers: Vec<ContainerView>,
    ) -> PodView {
        let metadata = &self.document["metadata"];
        let name = match string_or_empty(&metadata["name"]) {
            "" => string_or_empty(&metadata["generateName"]),
            name => name,
        };
        PodView {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            service_account: self.service_account().to_owned(),
            operating_system: self.document["spec"]["os"]["name"].as_str().map(str::to_owned),
            labels: metadata["labels"].as_object().map(|labels| sorted_pairs(labels, |_| true)).unwrap_or_default(),
            annotations: sorted_pairs(annotations, is_visible_to_plugins),
            containers,
        }
    }

    /// Returns the number of containers, with init containers and ephemeral containers.
    #[must_use]
    pub fn container_count(&self) -> usize {
        let spec = &self.document["spec"];
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        lists.into_iter().map(|key| list(spec, key).len()).sum()
    }

    /// Returns the JSON document.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        &self.document
    }

    /// Consumes the pod and returns the JSON document.
    #[must_use]
    pub fn into_json(self) -> Value {
        Arc::unwrap_or_clone(self.document)
    }
}

// === impl LazyPodView ===

impl LazyPodView {
    /// The view of a received pod. `namespace` is that of the admission request.
    pub(crate) fn of(pod: &Pod, namespace: &str) -> Self {
        let source = Some((pod.clone(), namespace.to_owned()));
        Self(Arc::new(LazyView { source, view: OnceLock::new() }))
    }

    /// Returns the view. The first call computes it.
    #[must_use]
    pub fn get(&self) -> &PodView {
        let LazyView { source, view } = &*self.0;
        view.get_or_init(|| source.as_ref().map(|(pod, namespace)| pod.view(namespace)).unwrap_or_default())
    }
}

impl From<PodView> for LazyPodView {
    fn from(view: PodView) -> Self {
        Self(Arc::new(LazyView { source: None, view: OnceLock::from(view) }))
    }
}

/// Checks the JSON types of the lists of a container, volume or pull secret that edits walk.
fn check_element(item: &Value, path: impl Fn() -> String) -> Result<(), PodError> {
    let item = item.as_object().ok_or_else(|| wrong_type(&path(), "an object"))?;
    for list in ["env", "volumeMounts"] {
        for (i, entry) in checked_list(item, list, || format!("{}.{list}", path()))?.iter().enumerate() {
            if !entry.is_object() {
                return Err(wrong_type(&format!("{}.{list}[{i}]", path()), "an object"));
            }
        }
    }
    Ok(())
}

/// Checks the kind and version if the document has them. An `AdmissionReview` may omit both in its
/// object.
fn check_kind(value: &Value) -> Result<(), PodError> {
    if !value.is_object() {
        return Err(wrong_type("the pod", "an object"));
    }
    if absent_or_equal(value, "kind", "Pod") && absent_or_equal(value, "apiVersion", "v1") {
        return Ok(());
    }
    Err(PodError::Kind { kind: shown_field(value, "kind"), api_version: shown_field(value, "apiVersion") })
}

fn absent_or_equal(object: &Value, key: &str, expected: &str) -> bool {
    object.get(key).is_none_or(|actual| actual == expected)
}

fn shown_field(object: &Value, key: &str) -> String {
    let value = object.get(key).and_then(Value::as_str).unwrap_or("(not set)");
    text::first_chars(value, MAX_KIND).to_owned()
}

fn check_object(parent: &Value, key: &str, path: impl FnOnce() -> String) -> Result<(), PodError> {
    match parent.get(key) {
        None | Some(Value::Null | Value::Object(_)) => Ok(()),
        Some(_) => Err(wrong_type(&path(), "an object")),
    }
}

fn checked_list<'a>(
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

fn ephemeral_names(pod: &Value) -> impl Iterator<Item = &str> {
    list(&pod["spec"], "ephemeralContainers").iter().map(|container| string_or_empty(&container["name"]))
}

/// Returns the list under `key`; empty if it is missing.
pub(crate) fn list<'a>(parent: &'a Value, key: &str) -> &'a [Value] {
    parent.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(crate) fn view_init_container(container: &Value) -> ContainerView {
    let is_sidecar = container["restartPolicy"] == "Always";
    view_container(container, if is_sidecar { ContainerKind::Sidecar } else { ContainerKind::Init })
}

pub(crate) fn view_main_container(container: &Value) -> ContainerView {
    view_container(container, ContainerKind::Main)
}

fn view_container(container: &Value, kind: ContainerKind) -> ContainerView {
    let image = container["image"].as_str().map(str::to_owned);
    ContainerView { name: string_or_empty(&container["name"]).to_owned(), kind, image }
}

/// Whether a plugin may see an annotation. Secret requests reach it as arguments instead.
fn is_visible_to_plugins(key: &str) -> bool {
    ![LAST_APPLIED, SECRETS_ANNOTATION, REFERENCES_ANNOTATION].contains(&key) && !key.starts_with(flyte::KEY_PREFIX)
}

fn sorted_pairs(object: &Map<String, Value>, is_shown: fn(&str) -> bool) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = object
        .iter()
        .filter(|(key, _)| is_shown(key))
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    pairs.sort();
    pairs
}

fn string_or_empty(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
