//! The pod of a test: [`PodBuilder`].
//!
//! The data has the methods of the host's resource, so that [`Pod`] is the same on both targets.

use crate::Pod;

/// Builds a pod for tests.
#[derive(Clone, Debug)]
pub struct PodBuilder(PodData);

/// The data of a pod.
#[derive(Clone, Debug)]
pub(crate) struct PodData {
    namespace: String,
    name: String,
    service_account: String,
    operating_system: Option<String>,
    labels: Vec<(String, String)>,
    annotations: Vec<(String, String)>,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
}

#[derive(Clone, Debug)]
struct Container {
    name: String,
    image: Option<String>,
}

// === impl PodBuilder ===

impl PodBuilder {
    /// A pod in a namespace, without name, labels, annotations and containers.
    #[must_use]
    pub fn new(namespace: impl Into<String>) -> Self {
        Self(PodData {
            namespace: namespace.into(),
            name: String::new(),
            service_account: String::new(),
            operating_system: None,
            labels: Vec::new(),
            annotations: Vec::new(),
            containers: Vec::new(),
            init_containers: Vec::new(),
        })
    }

    /// Sets the pod's name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.0.name = name.into();
        self
    }

    /// Sets the pod's service account.
    #[must_use]
    pub fn service_account(mut self, name: impl Into<String>) -> Self {
        self.0.service_account = name.into();
        self
    }

    /// Sets the pod's operating system.
    #[must_use]
    pub fn operating_system(mut self, name: impl Into<String>) -> Self {
        self.0.operating_system = Some(name.into());
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.labels.push((key.into(), value.into()));
        self.0.labels.sort();
        self
    }

    /// Adds an annotation.
    #[must_use]
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.annotations.push((key.into(), value.into()));
        self.0.annotations.sort();
        self
    }

    /// Appends a container without an image.
    #[must_use]
    pub fn container(mut self, name: impl Into<String>) -> Self {
        self.0.containers.push(Container { name: name.into(), image: None });
        self
    }

    /// Appends an init container without an image.
    #[must_use]
    pub fn init_container(mut self, name: impl Into<String>) -> Self {
        self.0.init_containers.push(Container { name: name.into(), image: None });
        self
    }

    /// Sets the image of all containers and init containers with this name.
    #[must_use]
    pub fn image(mut self, container: &str, image: impl Into<String>) -> Self {
        let image = image.into();
        for found in self.0.containers.iter_mut().chain(&mut self.0.init_containers) {
            if found.name == container {
                found.image = Some(image.clone());
            }
        }
        self
    }

    /// Builds the pod.
    #[must_use]
    pub fn build(self) -> Pod {
        Pod::of(self.0)
    }
}

// === impl PodData ===

impl PodData {
    pub(crate) fn namespace(&self) -> String {
        self.namespace.clone()
    }

    pub(crate) fn name(&self) -> String {
        self.name.clone()
    }

    pub(crate) fn service_account(&self) -> String {
        self.service_account.clone()
    }

    pub(crate) fn operating_system(&self) -> Option<String> {
        self.operating_system.clone()
    }

    pub(crate) fn label(&self, key: &str) -> Option<String> {
        value(&self.labels, key)
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<String> {
        value(&self.annotations, key)
    }

    pub(crate) fn labels(&self) -> Vec<(String, String)> {
        self.labels.clone()
    }

    pub(crate) fn annotations(&self) -> Vec<(String, String)> {
        self.annotations.clone()
    }

    pub(crate) fn containers(&self) -> Vec<String> {
        self.containers.iter().map(|container| container.name.clone()).collect()
    }

    pub(crate) fn init_containers(&self) -> Vec<String> {
        self.init_containers.iter().map(|container| container.name.clone()).collect()
    }

    pub(crate) fn image(&self, container: &str) -> Option<String> {
        let mut all = self.containers.iter().chain(&self.init_containers);
        all.find(|found| found.name == container)?.image.clone()
    }
}

fn value(pairs: &[(String, String)], key: &str) -> Option<String> {
    pairs.iter().find(|(found, _)| found == key).map(|(_, value)| value.clone())
}
