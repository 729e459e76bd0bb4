//! [`LearnedFacts`]: what a guest learned from the host while it planned an answer.
//!
//! A guest is deterministic: without grants, its clocks stand still and its random numbers repeat.
//! So with the same settings, requests and facts it gives the same answer again.

use std::sync::Arc;

use ampoule_core::{ContainerKind, ContainerView, PodView, SecretName};

/// Facts of one answer. A guest that asks for more is not recorded.
const MAX_FACTS: usize = 64;

/// Bytes of text in the facts of one answer, such as all annotations of a pod.
const MAX_BYTES: usize = 16 << 10;

/// A key of a Kubernetes Secret.
pub(crate) type KeyOfSecret = (SecretName, String);

/// Keys of Kubernetes Secrets, in the order of a search. Facts and searches share them.
pub(crate) type SearchedKeys = Arc<[KeyOfSecret]>;

/// What a guest learned, as long as all of it can be compared later.
pub(crate) struct LearnedFacts {
    facts: Vec<Fact>,
    bytes: usize,
    /// Whether the guest learned only these facts.
    is_complete: bool,
}

/// An answer of the host to a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    Pod(PodFact),
    /// The position of the first key that exists.
    FirstExisting(SearchedKeys, Option<usize>),
}

/// A fact about the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PodFact {
    Namespace(String),
    Name(String),
    ServiceAccount(String),
    OperatingSystem(Option<String>),
    Label(String, Option<String>),
    Annotation(String, Option<String>),
    Labels(Vec<(String, String)>),
    Annotations(Vec<(String, String)>),
    Containers(Vec<String>),
    InitContainers(Vec<String>),
    Image(String, Option<String>),
}

// === impl LearnedFacts ===

impl LearnedFacts {
    /// Nothing learned yet. `is_recorded` is false for a guest whose answers are not kept.
    pub(crate) fn new(is_recorded: bool) -> Self {
        Self { facts: Vec::new(), bytes: 0, is_complete: is_recorded }
    }

    /// Whether the facts so far are complete.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Adds a fact. It is not created if the answer is not recorded.
    pub(crate) fn add(&mut self, fact: impl FnOnce() -> Fact) {
        if !self.is_complete {
            return;
        }
        let fact = fact();
        self.bytes += fact.size();
        if self.facts.len() == MAX_FACTS || self.bytes > MAX_BYTES {
            self.spoil();
        } else if !self.facts.contains(&fact) {
            self.facts.push(fact);
        }
    }

    /// The guest learned something that cannot be compared later, such as the answer of a store.
    /// No later answer of this instance is recorded either: the instance may have kept it.
    pub(crate) fn spoil(&mut self) {
        self.is_complete = false;
        self.facts.clear();
    }

    /// Takes the facts since the last call; `None` if they are not complete.
    pub(crate) fn take(&mut self) -> Option<Vec<Fact>> {
        self.bytes = 0;
        self.is_complete.then(|| std::mem::take(&mut self.facts))
    }
}

// === impl Fact ===

impl Fact {
    /// Its size in memory, about.
    pub(crate) fn size(&self) -> usize {
        let text = match self {
            Self::Pod(fact) => fact.text(),
            Self::FirstExisting(keys, _) => keys
                .iter()
                .map(|(secret, key)| size_of::<KeyOfSecret>() + secret.namespace.len() + secret.name.len() + key.len())
                .sum(),
        };
        size_of::<Self>() + text
    }
}

// === impl PodFact ===

impl PodFact {
    /// Whether it is true of this pod, too.
    pub(crate) fn holds(&self, pod: &PodView) -> bool {
        match self {
            Self::Namespace(namespace) => pod.namespace == *namespace,
            Self::Name(name) => pod.name == *name,
            Self::ServiceAccount(name) => pod.service_account == *name,
            Self::OperatingSystem(name) => pod.operating_system == *name,
            Self::Label(key, value) => value_of(&pod.labels, key) == value.as_deref(),
            Self::Annotation(key, value) => value_of(&pod.annotations, key) == value.as_deref(),
            Self::Labels(labels) => pod.labels == *labels,
            Self::Annotations(annotations) => pod.annotations == *annotations,
            Self::Containers(names) => main_containers(pod).eq(names),
            Self::InitContainers(names) => init_containers(pod).eq(names),
            Self::Image(container, image) => image_of(pod, container) == image.as_deref(),
        }
    }

    fn text(&self) -> usize {
        let optional = |value: &Option<String>| value.as_ref().map_or(0, String::len);
        let pairs = |pairs: &[(String, String)]| {
            pairs.iter().map(|(key, value)| size_of::<(String, String)>() + key.len() + value.len()).sum()
        };
        match self {
            Self::Namespace(text) | Self::Name(text) | Self::ServiceAccount(text) => text.len(),
            Self::OperatingSystem(value) => optional(value),
            Self::Label(key, value) | Self::Annotation(key, value) | Self::Image(key, value) => {
                key.len() + optional(value)
            }
            Self::Labels(list) | Self::Annotations(list) => pairs(list),
            Self::Containers(names) | Self::InitContainers(names) => {
                names.iter().map(|name| size_of::<String>() + name.len()).sum()
            }
        }
    }
}

/// The value of a key in a sorted list.
pub(crate) fn value_of<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    let position = pairs.binary_search_by(|(existing, _)| existing.as_str().cmp(key)).ok()?;
    Some(&pairs[position].1)
}

/// The names of the regular containers.
pub(crate) fn main_containers(pod: &PodView) -> impl Iterator<Item = &String> {
    pod.containers.iter().filter(is_main).map(|view| &view.name)
}

/// The names of the init containers, with sidecars.
pub(crate) fn init_containers(pod: &PodView) -> impl Iterator<Item = &String> {
    pod.containers.iter().filter(|view| !is_main(view)).map(|view| &view.name)
}

/// The image of a container.
pub(crate) fn image_of<'a>(pod: &'a PodView, container: &str) -> Option<&'a str> {
    pod.containers.iter().find(|view| view.name == container)?.image.as_deref()
}

fn is_main(view: &&ContainerView) -> bool {
    view.kind == ContainerKind::Main
}
