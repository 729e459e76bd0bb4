//! A pod in the making: [`EditedPod`], the pod as it arrived but for the lists that edits wrote to.
//!
//! Most of a pod is nothing that an edit may touch: it is neither copied nor compared.

use std::{borrow::Cow, mem::take};

use json_patch::Patch;
use serde_json::{Map, Value};

use crate::{
    ContainerKind, Pod, PodView,
    diff::{Differ, Step},
    edit::list::EditedList,
    pod::{init_kind, list, view_of},
};

/// A pod that asks for something, and so has annotations, and what edits made of it.
pub(crate) struct EditedPod<'a> {
    arrived: &'a Pod,
    pub(super) annotations: Cow<'a, Map<String, Value>>,
    pub(super) volumes: EditedList<'a>,
    pub(super) pull_secrets: EditedList<'a>,
    pub(super) init_containers: Vec<EditedContainer<'a>>,
    containers: Vec<EditedContainer<'a>>,
}

/// A container, and what edits made of it.
pub(super) struct EditedContainer<'a> {
    /// As it arrived; or one that an edit added, less its lists.
    base: Cow<'a, Value>,
    pub(super) env: EditedList<'a>,
    pub(super) mounts: EditedList<'a>,
}

// === impl EditedPod ===

impl<'a> EditedPod<'a> {
    pub(crate) fn new(arrived: &'a Pod) -> Self {
        let spec = &arrived.as_json()["spec"];
        let containers = |key| list(spec, key).iter().map(EditedContainer::arrived).collect();
        Self {
            arrived,
            annotations: Cow::Borrowed(arrived.annotations()),
            volumes: EditedList::arrived(list(spec, "volumes")),
            pull_secrets: EditedList::arrived(list(spec, "imagePullSecrets")),
            init_containers: containers("initContainers"),
            containers: containers("containers"),
        }
    }

    /// What an injector may see of it.
    pub(crate) fn view(&self, namespace: &str) -> PodView {
        let init = self.init_containers.iter().map(|container| view_of(&container.base, init_kind(&container.base)));
        let main = self.containers.iter().map(|container| view_of(&container.base, ContainerKind::Main));
        self.arrived.view_with(namespace, &self.annotations, init.chain(main).collect())
    }

    /// What turns the pod that arrived into this one.
    pub(crate) fn into_patch(mut self) -> Patch {
        let (arrived, spec) = (self.arrived.annotations(), &self.arrived.as_json()["spec"]);
        let mut differ = Differ::default();
        differ.at(Step::Key("metadata"), |differ| {
            if let Cow::Owned(annotations) = &mut self.annotations {
                differ.at(Step::Key("annotations"), |differ| differ.object(arrived, annotations));
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

    /// Every container, init containers first.
    pub(super) fn containers(&self) -> impl Iterator<Item = &EditedContainer<'a>> {
        self.init_containers.iter().chain(&self.containers)
    }

    /// Every container, init containers first.
    pub(super) fn containers_mut(&mut self) -> impl Iterator<Item = &mut EditedContainer<'a>> {
        self.init_containers.iter_mut().chain(&mut self.containers)
    }
}

// === impl EditedContainer ===

impl<'a> EditedContainer<'a> {
    fn arrived(container: &'a Value) -> Self {
        let [env, mounts] = ["env", "volumeMounts"].map(|key| EditedList::arrived(list(container, key)));
        Self { base: Cow::Borrowed(container), env, mounts }
    }

    /// One that an edit adds.
    pub(super) fn added(mut container: Value) -> Self {
        let [env, mounts] = ["env", "volumeMounts"].map(|key| match container.get_mut(key).map(Value::take) {
            Some(Value::Array(list)) => EditedList::added(list),
            _ => EditedList::default(),
        });
        Self { base: Cow::Owned(container), env, mounts }
    }

    /// As it arrived, if it did.
    pub(super) fn before_edits(&self) -> Option<Self> {
        match &self.base {
            Cow::Borrowed(container) => Some(Self::arrived(container)),
            Cow::Owned(_) => None,
        }
    }

    /// Its name, for messages.
    pub(super) fn name(&self) -> &str {
        self.base["name"].as_str().unwrap_or("(without a name)")
    }

    /// What is none of its lists.
    pub(super) fn field(&self, key: &str) -> &Value {
        &self.base[key]
    }

    fn take(&mut self) -> Value {
        let Self { base, env, mounts } = self;
        let mut container = take(base.to_mut());
        for (key, list) in [("env", env), ("volumeMounts", mounts)] {
            match take(list).into_values() {
                list if list.is_empty() => {}
                list => container[key] = Value::Array(list),
            }
        }
        container
    }
}

/// Edits add containers, and take none away.
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

fn compare_container<'d, 'a: 'd>(differ: &mut Differ<'d>, container: &'d mut EditedContainer<'a>) {
    match container.base {
        Cow::Borrowed(arrived) => {
            container.env.compare(differ, arrived, "env");
            container.mounts.compare(differ, arrived, "volumeMounts");
        }
        Cow::Owned(_) => differ.put(None, container.take()),
    }
}
