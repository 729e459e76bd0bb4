//! Carries edits out on a pod's JSON, and refuses those that contradict it or each other.
//!
//! Every edit first looks whether the pod has what it wants already, defaults that an API server filled in included: this
//! is what makes a second review change nothing.

mod annotation;
mod env;
mod init_container;
mod mount;
mod pull_secret;
mod same;
mod validate;
mod volume;

use std::collections::BTreeMap;

use serde_json::Value;

use super::PodEdit;
use crate::{Conventions, Pod, mutator::warnings::OwnVariables};

/// What the edits of one admission did so far, and for whom: two injectors that want one name for different things are found here.
#[derive(Clone)]
pub(crate) struct EditLog<'a> {
    arrived: &'a Value,
    made: BTreeMap<Kind, BTreeMap<String, Entry>>,
    /// Those that the pod had already.
    pub(crate) own_variables: OwnVariables,
}

/// An edit that cannot be carried out. The pod may be half changed then: the caller drops it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ApplyError {
    /// It contradicts the pod or an earlier edit. Names both sides.
    Conflict(String),
    /// No pod could take it: the plugin is at fault.
    Invalid(String),
}

/// What an edit can claim a name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Env,
    Volume,
    /// Its name is the path, as [`place`] writes it.
    Mount,
    InitContainer,
    Annotation,
}

#[derive(Clone)]
struct Entry {
    by: String,
    content: Value,
}

/// The pod's lists of containers, in the order in which edits reach them.
const CONTAINER_LISTS: [&str; 2] = ["initContainers", "containers"];

// === impl EditLog ===

impl<'a> EditLog<'a> {
    /// A log with nothing in it, for the pod as it arrived.
    pub(crate) fn new(arrived: &'a Pod) -> Self {
        Self { arrived: arrived.as_json(), made: BTreeMap::new(), own_variables: OwnVariables::new() }
    }

    /// Carries one edit out. `by` is the injector and what it does it for, as messages say it: `injector k8s for flyte.secrets/s0`.
    pub(crate) fn apply(
        &mut self,
        by: &str,
        edit: &PodEdit,
        pod: &mut Pod,
        conventions: &Conventions,
    ) -> Result<(), ApplyError> {
        let pod = pod.json_mut();
        match edit {
            PodEdit::SetEnv(env) => self.set_env(by, env, pod, conventions.env_placement),
            PodEdit::AddVolume(volume) => self.add_volume(by, volume, pod),
            PodEdit::MountVolume(mount) => self.mount_volume(by, mount, pod),
            PodEdit::AddInitContainer(container) => {
                let position = container.position.unwrap_or(conventions.init_container_position);
                self.add_init_container(by, container, position, pod)
            }
            PodEdit::SetAnnotation(annotation) => self.set_annotation(by, annotation, pod),
            PodEdit::AddImagePullSecret(name) => pull_secret::add(name, pod),
        }
    }

    fn record(&mut self, by: &str, kind: Kind, name: &str, content: Value) {
        self.made.entry(kind).or_default().insert(name.to_owned(), Entry { by: by.to_owned(), content });
    }

    /// What an edit claimed that name for.
    fn made(&self, kind: Kind, name: &str) -> Option<&Entry> {
        self.made.get(&kind)?.get(name)
    }

    /// Who put that name into the pod: an injector and what for, or the pod's author.
    fn owner(&self, kind: Kind, name: &str) -> &str {
        self.made(kind, name).map_or("the pod itself", |entry| &entry.by)
    }
}

/// A path without slashes at its end: where a volume is mounted, however it is spelt.
fn place(path: &str) -> &str {
    path.trim_end_matches('/')
}

/// The list under `key`, made if it is not there.
fn list_mut<'a>(parent: &'a mut Value, key: &str) -> &'a mut Vec<Value> {
    let list = &mut parent[key];
    if list.is_null() {
        *list = Value::Array(Vec::new());
    }
    list.as_array_mut().expect("Pod::parse checked that this is a list")
}

/// The list under `key`, empty if it is not there.
fn list<'a>(parent: &'a Value, key: &str) -> &'a [Value] {
    parent.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The element with that name.
fn named<'a>(list: &'a [Value], name: &str) -> Option<&'a Value> {
    list.iter().find(|element| element["name"] == name)
}

/// Every container that edits reach, init containers first.
fn containers_mut(pod: &mut Value) -> impl Iterator<Item = &mut Value> {
    let spec = pod["spec"].as_object_mut().into_iter().flat_map(|spec| spec.iter_mut());
    let mut lists: Vec<_> = spec
        .filter_map(|(key, value)| Some((CONTAINER_LISTS.iter().position(|list| list == key)?, value.as_array_mut()?)))
        .collect();
    lists.sort_by_key(|(order, _)| *order);
    lists.into_iter().flat_map(|(_, list)| list)
}

/// A container's name, for messages.
fn name_of(container: &Value) -> &str {
    container["name"].as_str().unwrap_or("(without a name)")
}
