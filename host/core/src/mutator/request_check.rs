//! Checks requests against the pod and the configuration, before any injector is called.
//!
//! The names of containers and injectors are the only parts of a request that the parser of the
//! annotation cannot check.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    injector::SecretInjector,
    pod::{Pod, list},
    request::{AnnotationError, RequestedSecret},
    text,
};

/// Names of containers that a message lists.
const MAX_LISTED: usize = 16;

/// Returns the error of the first request that names a container that the pod does not have, or an
/// injector that the configuration does not have.
pub(super) fn check(
    requests: &[RequestedSecret],
    pod: &Pod,
    injectors: &[Arc<dyn SecretInjector>],
) -> Result<(), AnnotationError> {
    let mut names = None;
    for requested in requests {
        if let Some(wanted) = requested.options.containers.names() {
            let (names, known) = names.get_or_insert_with(|| {
                let names = container_names(pod);
                let known: BTreeSet<_> = names.iter().copied().collect();
                (names, known)
            });
            if let Some(unknown) = wanted.iter().find(|name| !known.contains(name.as_str())) {
                return Err(unknown_container(requested, unknown, names));
            }
        }
        check_injector(requested, injectors)?;
    }
    Ok(())
}

fn unknown_container(requested: &RequestedSecret, unknown: &str, names: &[&str]) -> AnnotationError {
    let listed: Vec<_> = names.iter().take(MAX_LISTED).map(|name| text::escape_name(name)).collect();
    let others = match names.len().saturating_sub(MAX_LISTED) {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    let unknown = text::quote(unknown.as_bytes());
    AnnotationError {
        annotation: format!("{}.containers", requested.annotation),
        reason: format!("the pod has no container {unknown}; it has {}{others}", listed.join(", ")),
    }
}

/// The message does not list the injectors, which a pod's author need not know.
fn check_injector(requested: &RequestedSecret, injectors: &[Arc<dyn SecretInjector>]) -> Result<(), AnnotationError> {
    let Some(wanted) = &requested.options.injector else { return Ok(()) };
    if injectors.iter().any(|injector| injector.name() == wanted) {
        return Ok(());
    }
    let wanted = text::quote(wanted.as_bytes());
    Err(AnnotationError {
        annotation: match requested.options.replaces {
            None => format!("{}.injector", requested.annotation),
            Some(_) => requested.annotation.clone(),
        },
        reason: format!("no injector has the name {wanted}; the administrator of the cluster knows the names"),
    })
}

fn container_names(pod: &Pod) -> Vec<&str> {
    let spec = &pod.as_json()["spec"];
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    let containers = lists.into_iter().flat_map(|key| list(spec, key));
    containers.filter_map(|container| container["name"].as_str()).collect()
}
