//! The inputs as values of the interpreter. Texts are borrowed, not copied.
//!
//! A field above its bound becomes empty; the session refuses to evaluate a rule that reads it.

use std::collections::HashMap;

use ampoule_core::{InjectorFacts, PodView, RequestUser, RequestedSecret};
use cel::common::{
    types::{CelBool, CelList, CelMap, CelMapKey, CelString},
    value::Val,
};

/// A value that borrows from the inputs.
pub(crate) type BoxedValue<'a> = Box<dyn Val + 'a>;

/// Whether a field of this path is above its bound.
pub(crate) type IsTooLarge<'a> = &'a dyn Fn(&str) -> bool;

pub(crate) fn pod<'a>(pod: &'a PodView, is_too_large: IsTooLarge<'_>) -> BoxedValue<'a> {
    let pairs = |path, pairs: &'a [(String, String)]| {
        let pairs = if is_too_large(path) { &[] } else { pairs };
        object(pairs.iter().map(|(key, value)| (key.as_str(), text(value))))
    };
    object([
        ("namespace", text(&pod.namespace)),
        ("name", text(&pod.name)),
        ("serviceAccount", text(&pod.service_account)),
        ("labels", pairs("pod.labels", &pod.labels)),
        ("annotations", pairs("pod.annotations", &pod.annotations)),
    ])
}

pub(crate) fn user<'a>(user: &'a RequestUser, is_too_large: IsTooLarge<'_>) -> BoxedValue<'a> {
    let groups: &[String] = if is_too_large("user.groups") { &[] } else { &user.groups };
    let extra: &[(String, Vec<String>)] = if is_too_large("user.extra") { &[] } else { &user.extra };
    object([
        ("username", text(&user.username)),
        ("uid", text(&user.uid)),
        ("groups", list(groups)),
        ("extra", object(extra.iter().map(|(key, values)| (key.as_str(), list(values))))),
    ])
}

pub(crate) fn request(requested: &RequestedSecret) -> BoxedValue<'_> {
    let request = &requested.request;
    let mount = CelString::from(request.mount.to_string());
    object([
        ("group", text(&request.group)),
        ("key", text(&request.key)),
        ("version", text(&request.group_version)),
        ("mount", Box::new(mount) as BoxedValue<'_>),
        ("variable", text(request.env_var.as_deref().unwrap_or_default())),
        ("protocol", text(requested.protocol())),
    ])
}

pub(crate) fn injector(facts: &InjectorFacts) -> BoxedValue<'_> {
    object([
        ("name", text(&facts.name)),
        ("builtin", boolean(facts.builtin)),
        ("configMap", boolean(facts.config_map)),
        ("readsValues", boolean(facts.reads_values)),
    ])
}

fn text(text: &str) -> BoxedValue<'_> {
    Box::new(CelString::from(text))
}

fn boolean<'a>(value: bool) -> BoxedValue<'a> {
    Box::new(CelBool::from(value))
}

fn list(texts: &[String]) -> BoxedValue<'_> {
    Box::new(CelList::from(texts.iter().map(|entry| text(entry)).collect::<Vec<_>>()))
}

fn object<'a>(entries: impl IntoIterator<Item = (&'a str, BoxedValue<'a>)>) -> BoxedValue<'a> {
    let entries = entries.into_iter().map(|(key, value)| (CelMapKey::from(key), value));
    Box::new(CelMap::from(entries.collect::<HashMap<_, _>>()))
}
