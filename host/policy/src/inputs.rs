//! The fields that rules can read, and their sizes: [`Inputs`].
//!
//! Each field has a bound. A rule that reads a larger field fails, so that the cost of a rule is
//! bounded.

use ampoule_core::{InjectorFacts, PodView, RequestUser, RequestedSecret};

use crate::shape::Shape;

/// Bytes of a field of the request, the pod or the user that is a single text.
const TEXT: u64 = 1024;
/// Entries of the pod's labels, and of its annotations.
const ENTRIES: u64 = 256;
/// Bytes of a key or value of a label, of a key of an annotation, of a group, and of an attribute
/// of the user.
const SHORT: u64 = 512;
/// Bytes of the value of an annotation.
const LONG: u64 = 16 << 10;
/// Groups of the user.
const GROUPS: u64 = 512;
/// Attributes of the user, and values of each.
const EXTRA: u64 = 64;

/// A field of a variable.
pub(crate) struct Input {
    /// The path, such as `pod.labels`.
    pub(crate) path: &'static str,
    pub(crate) shape: Shape,
}

/// The shape of every field.
pub(crate) struct Inputs {
    fields: Vec<Input>,
}

/// The names of the variables.
pub(crate) const VARIABLES: [&str; 4] = ["request", "pod", "user", "injector"];

// === impl Inputs ===

impl Inputs {
    /// The largest accepted inputs.
    pub(crate) fn largest() -> Self {
        let text = || Shape::Text(TEXT);
        let short = || Shape::Text(SHORT);
        Self::new([
            ("request.group", text()),
            ("request.key", text()),
            ("request.version", text()),
            ("request.mount", text()),
            ("request.variable", text()),
            ("request.protocol", text()),
            ("pod.namespace", text()),
            ("pod.name", text()),
            ("pod.serviceAccount", text()),
            ("pod.labels", Shape::map(SHORT, short(), ENTRIES)),
            ("pod.annotations", Shape::map(SHORT, Shape::Text(LONG), ENTRIES)),
            ("user.username", text()),
            ("user.uid", text()),
            ("user.groups", Shape::list(short(), GROUPS)),
            ("user.extra", Shape::map(SHORT, Shape::list(short(), EXTRA), EXTRA)),
            ("injector.name", text()),
            ("injector.builtin", Shape::Bool),
            ("injector.configMap", Shape::Bool),
            ("injector.readsValues", Shape::Bool),
        ])
    }

    /// The sizes of one pod and its user.
    pub(crate) fn of_pod(pod: &PodView, user: &RequestUser) -> Vec<Input> {
        Self::new([
            ("pod.namespace", text(&pod.namespace)),
            ("pod.name", text(&pod.name)),
            ("pod.serviceAccount", text(&pod.service_account)),
            ("pod.labels", pairs(&pod.labels)),
            ("pod.annotations", pairs(&pod.annotations)),
            ("user.username", text(&user.username)),
            ("user.uid", text(&user.uid)),
            ("user.groups", texts(&user.groups)),
            ("user.extra", extra(&user.extra)),
        ])
        .fields
    }

    /// Adds the sizes of one request and one injector to those of the pod.
    pub(crate) fn complete(pod: &[Input], requested: &RequestedSecret, injector: Option<&InjectorFacts>) -> Self {
        let request = &requested.request;
        let mut inputs = Self::new([
            ("request.group", text(&request.group)),
            ("request.key", text(&request.key)),
            ("request.version", text(&request.group_version)),
            ("request.mount", Shape::Text(TEXT)),
            ("request.variable", text(request.env_var.as_deref().unwrap_or_default())),
            ("request.protocol", Shape::Text(TEXT)),
            ("injector.name", text(injector.map_or("", |injector| &injector.name))),
            ("injector.builtin", Shape::Bool),
            ("injector.configMap", Shape::Bool),
            ("injector.readsValues", Shape::Bool),
        ]);
        inputs.fields.extend(pod.iter().map(|input| Input { path: input.path, shape: input.shape.clone() }));
        inputs
    }

    fn new<const N: usize>(fields: [(&'static str, Shape); N]) -> Self {
        Self { fields: fields.into_iter().map(|(path, shape)| Input { path, shape }).collect() }
    }

    /// The field of a variable.
    pub(crate) fn field(&self, variable: &str, name: &str) -> Option<&Input> {
        self.fields.iter().find(|input| input.path.split_once('.') == Some((variable, name)))
    }

    /// The field of a path.
    pub(crate) fn at(&self, path: &str) -> Option<&Input> {
        self.fields.iter().find(|input| input.path == path)
    }

    /// The names of the fields of a variable, in the order of the documentation.
    pub(crate) fn names(&self, variable: &str) -> Vec<&'static str> {
        let parts = self.fields.iter().filter_map(|input| input.path.split_once('.'));
        parts.filter(|(owner, _)| *owner == variable).map(|(_, name)| name).collect()
    }
}

fn text(text: &str) -> Shape {
    Shape::Text(size(text.len()))
}

fn texts(texts: &[String]) -> Shape {
    let longest = texts.iter().map(String::len).max().unwrap_or_default();
    Shape::list(Shape::Text(size(longest)), size(texts.len()))
}

fn pairs(pairs: &[(String, String)]) -> Shape {
    let key = pairs.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
    let value = pairs.iter().map(|(_, value)| value.len()).max().unwrap_or_default();
    Shape::map(size(key), Shape::Text(size(value)), size(pairs.len()))
}

fn extra(pairs: &[(String, Vec<String>)]) -> Shape {
    let key = pairs.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
    let values = pairs.iter().map(|(_, values)| values.len()).max().unwrap_or_default();
    let value = pairs.iter().flat_map(|(_, values)| values).map(String::len).max().unwrap_or_default();
    Shape::map(size(key), Shape::list(Shape::Text(size(value)), size(values)), size(pairs.len()))
}

fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
