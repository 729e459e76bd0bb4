//! A pod during its mutation: [`EditedPod`], the received pod plus the lists that edits changed.
//!
//! Edits cannot touch most parts of a pod; those parts are neither copied nor compared.

use std::{borrow::Cow, cell::OnceCell, mem::take};

use json_patch::Patch;
use serde_json::{Map, Value};

use crate::{
    diff::{Differ, Step},
    edit::list::EditedList,
    pod::{Pod, PodView, list, view_init_container, view_main_container},
    request::ContainerScope,
};

/// A pod with at least one secret request, and therefore with annotations, after some edits.
pub(crate) struct EditedPod<'a> {
    received: &'a Pod,
    pub(super) annotations: Cow<'a, Map<String, Value>>,
    pub(super) volumes: EditedList<'a>,
    pub(super) pull_secrets: EditedList<'a>,
    pub(super) init_containers: Vec<EditedContainer<'a>>,
    containers: Vec<EditedContainer<'a>>,
    /// The ephemeral containers that an update adds, with their positions. Edits of an update
    /// change no other container.
    ephemeral: Vec<(usize, EditedContainer<'a>)>,
}

/// A container after some edits.
pub(super) struct EditedContainer<'a> {
    /// The received container; or one that an edit added, without the lists below.
    base: Cow<'a, Value>,
    pub(super) env: EditedList<'a>,
    pub(super) env_from: EditedList<'a>,
    pub(super) mounts: EditedList<'a>,
    /// The container without edits. Many comparisons share it and its indexes.
    before: OnceCell<Box<EditedContainer<'a>>>,
}

// === impl EditedPod ===

impl<'a> EditedPod<'a> {
    pub(crate) fn new(received: &'a Pod) -> Self {
        let spec = &received.as_json()["spec"];
        let debuggers = list(spec, "ephemeralContainers");
        let ephemeral = received.new_ephemeral_containers().iter();
        Self {
            received,
            annotations: Cow::Borrowed(received.annotations()),
            volumes: EditedList::received(list(spec, "volumes")),
            pull_secrets: EditedList::received(list(spec, "imagePullSecrets")),
            init_containers: list(spec, "initContainers").iter().map(EditedContainer::received).collect(),
            containers: list(spec, "containers").iter().map(EditedContainer::received).collect(),
            ephemeral: ephemeral.map(|i| (*i, EditedContainer::received(&debuggers[*i]))).collect(),
        }
    }

    /// Returns the parts that an injector may see.
    pub(crate) fn view(&self, namespace: &str) -> PodView {
        let init = self.init_containers.iter().map(|container| view_init_container(&container.base));
        let main = self.containers.iter().map(|container| view_main_container(&container.base));
        self.received.view_with(namespace, &self.annotations, init.chain(main).collect())
    }

    /// Returns the patch from the received pod to this one.
    pub(crate) fn into_patch(mut self) -> Patch {
        let received_annotations = self.received.annotations();
        let spec = &self.received.as_json()["spec"];
        let nothing = Map::new();
        let mut first = self.take_first_annotations();
        let mut differ = Differ::default();
        if self.received.is_update() {
            differ.at(Step::Key("spec"), |differ| compare_ephemeral(differ, &mut self.ephemeral));
            return differ.finish();
        }
        differ.at(Step::Key("metadata"), |differ| {
            differ.object(&nothing, &mut first);
            if let Cow::Owned(annotations) = &mut self.annotations {
                differ.at(Step::Key("annotations"), |differ| {
                    differ.object(received_annotations, annotations);
                });
            }
        });
        differ.at(Step::Key("spec"), |differ| {
            compare_containers(differ, spec, "containers", &mut self.containers);
            self.pull_secrets.compare(differ, spec, "imagePullSecrets");
            compare_containers(differ, spec, "initContainers", &mut self.init_containers);
            self.volumes.compare(differ, spec, "volumes");
        });
        differ.finish()
    }

    /// Takes the annotations if the received pod has none, as a part of its metadata: a patch
    /// cannot add to a map that does not exist.
    fn take_first_annotations(&mut self) -> Map<String, Value> {
        let mut metadata = Map::new();
        if let Cow::Owned(annotations) = &mut self.annotations
            && self.received.annotations().is_empty()
            && !annotations.is_empty()
        {
            metadata.insert("annotations".to_owned(), Value::Object(std::mem::take(annotations)));
        }
        metadata
    }

    /// Whether only ephemeral containers can change.
    pub(super) fn is_update(&self) -> bool {
        self.received.is_update()
    }

    /// Returns the ephemeral containers that an update adds.
    pub(super) fn ephemeral_containers(&self) -> impl Iterator<Item = &EditedContainer<'a>> {
        self.ephemeral.iter().map(|(_, container)| container)
    }

    /// Returns all containers, init containers first.
    pub(super) fn containers(&self) -> impl Iterator<Item = &EditedContainer<'a>> {
        self.init_containers.iter().chain(&self.containers).chain(self.ephemeral_containers())
    }

    /// Returns the number of containers, with init containers and ephemeral containers.
    pub(super) fn container_count(&self) -> usize {
        self.init_containers.len() + self.containers.len() + self.ephemeral.len()
    }

    /// Returns the containers of a scope that edits change, init containers first.
    pub(super) fn containers_in(&mut self, scope: &ContainerScope) -> impl Iterator<Item = &mut EditedContainer<'a>> {
        // Most scopes have all containers, whose names need not be read.
        let has_all = scope.names().is_none();
        self.containers_mut().filter(move |container| has_all || scope.covers(container.name()))
    }

    /// Returns the containers that edits change, init containers first.
    pub(super) fn containers_mut(&mut self) -> impl Iterator<Item = &mut EditedContainer<'a>> {
        let is_fixed = self.is_update();
        let running = self.init_containers.iter_mut().chain(&mut self.containers).filter(move |_| !is_fixed);
        running.chain(self.ephemeral.iter_mut().map(|(_, container)| container))
    }
}

// === impl EditedContainer ===

impl<'a> EditedContainer<'a> {
    fn received(container: &'a Value) -> Self {
        Self {
            base: Cow::Borrowed(container),
            env: EditedList::received(list(container, "env")),
            env_from: EditedList::received(list(container, "envFrom")),
            mounts: EditedList::received(list(container, "volumeMounts")),
            before: OnceCell::new(),
        }
    }

    /// Wraps a container that an edit adds.
    pub(super) fn added(mut container: Value) -> Self {
        let env = take_list(&mut container, "env");
        let env_from = take_list(&mut container, "envFrom");
        let mounts = take_list(&mut container, "volumeMounts");
        Self { base: Cow::Owned(container), env, env_from, mounts, before: OnceCell::new() }
    }

    /// Whether an edit added the container.
    pub(super) fn is_added(&self) -> bool {
        matches!(self.base, Cow::Owned(_))
    }

    /// Returns the container as received; `None` if an edit added it.
    pub(super) fn before_edits(&self) -> Option<&Self> {
        match self.base {
            Cow::Borrowed(container) => Some(self.before.get_or_init(|| Box::new(Self::received(container)))),
            Cow::Owned(_) => None,
        }
    }

    /// Discards the edits of a received container.
    pub(super) fn undo_edits(&mut self) {
        if let Cow::Borrowed(container) = self.base {
            *self = Self::received(container);
        }
    }

    /// Returns the name of the container, for messages.
    pub(super) fn name(&self) -> &str {
        self.base["name"].as_str().unwrap_or("(unnamed)")
    }

    /// Returns a field that is not one of the edited lists.
    pub(super) fn field(&self, key: &str) -> &Value {
        &self.base[key]
    }

    fn take(&mut self) -> Value {
        let mut container = take(self.base.to_mut());
        put_list(&mut container, "env", &mut self.env);
        put_list(&mut container, "envFrom", &mut self.env_from);
        put_list(&mut container, "volumeMounts", &mut self.mounts);
        container
    }
}

fn take_list(container: &mut Value, key: &str) -> EditedList<'static> {
    match container.get_mut(key).map(Value::take) {
        Some(Value::Array(list)) => EditedList::added(list),
        _ => EditedList::default(),
    }
}

fn put_list(container: &mut Value, key: &str, list: &mut EditedList<'_>) {
    let values = take(list).into_values();
    if !values.is_empty() {
        container[key] = Value::Array(values);
    }
}

/// Compares a list of containers. Edits add containers and remove none.
fn compare_containers<'d, 'a: 'd>(
    differ: &mut Differ<'d>,
    spec: &'d Value,
    key: &'static str,
    containers: &'d mut [EditedContainer<'a>],
) {
    differ.at(Step::Key(key), |differ| match spec.get(key) {
        Some(Value::Array(_)) => {
            for (i, container) in containers.iter_mut().enumerate() {
                differ.at(Step::Index(i), |differ| compare_container(differ, container));
            }
        }
        before if !containers.is_empty() => {
            differ.put(before, containers.iter_mut().map(EditedContainer::take).collect());
        }
        _ => {}
    });
}

fn compare_ephemeral<'d, 'a: 'd>(differ: &mut Differ<'d>, containers: &'d mut [(usize, EditedContainer<'a>)]) {
    differ.at(Step::Key("ephemeralContainers"), |differ| {
        for (i, container) in containers {
            differ.at(Step::Index(*i), |differ| compare_container(differ, container));
        }
    });
}

fn compare_container<'d, 'a: 'd>(differ: &mut Differ<'d>, container: &'d mut EditedContainer<'a>) {
    match container.base {
        Cow::Borrowed(received) => {
            container.env.compare(differ, received, "env");
            container.env_from.compare(differ, received, "envFrom");
            container.mounts.compare(differ, received, "volumeMounts");
        }
        Cow::Owned(_) => differ.put(None, container.take()),
    }
}
