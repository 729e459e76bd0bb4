//! Edits that a pod for Windows nodes must not get: a Linux container would keep it from starting.
//!
//! The check is the host's, so that it holds for every plugin and delivery.

use crate::{edit::PodEdit, injector::InjectionError, pod::Pod};

/// Checks that edits need no Linux container, if the pod is for Windows.
///
/// # Errors
///
/// The edits add a container. The next injector may serve the request by a reference.
pub(super) fn check(pod: &Pod, edits: &[PodEdit]) -> Result<(), InjectionError> {
    // The edits first: few answers need Linux, and each request has one.
    let what = if let Some(name) = edits.iter().find_map(added_container) {
        format!("the plugin adds init container {name}, which needs Linux")
    } else if edits.iter().any(PodEdit::has_promise) {
        "`delivery: pod` adds an init container, which needs Linux".to_owned()
    } else {
        return Ok(());
    };
    if !pod.is_windows() {
        return Ok(());
    }
    Err(InjectionError::Unsupported(format!(
        "{what}, and the pod is for Windows (spec.os, or node selector kubernetes.io/os); use an injector that refers \
         to a Kubernetes Secret, or `delivery: secret`"
    )))
}

fn added_container(edit: &PodEdit) -> Option<&str> {
    match edit {
        PodEdit::AddInitContainer(container) => Some(&container.name),
        _ => None,
    }
}
