//! `set-annotation`: sets one annotation of the pod, except the annotations of secret requests.
//!
//! A value that the pod already has stays, unless the plugin depends on its own value.

use std::sync::Arc;

use serde_json::Value;

use super::{ApplyError, ClaimContent, ClaimKind, EditApplier, validate};
use crate::edit::{Annotation, AnnotationCollision, budget::operation_length, edited::EditedPod};

/// Prefixes of annotations that contain secret requests. A plugin that sets one could request
/// secrets in the name of the pod's author.
const RESERVED_PREFIXES: [&str; 2] = ["flyte.secrets/", "ampoule.dev/"];

impl EditApplier<'_> {
    pub(super) fn set_annotation(
        &mut self,
        origin: &Arc<str>,
        annotation: &Annotation,
        value: Value,
        pod: &mut EditedPod<'_>,
    ) -> Result<(), ApplyError> {
        let key = &annotation.key;
        match pod.annotations.get(key) {
            Some(existing) if *existing == annotation.value => Ok(()),
            Some(_) if annotation.collision == AnnotationCollision::IfAbsent => Ok(()),
            Some(_) => {
                let owner = self.owner(ClaimKind::Annotation, key);
                Err(ApplyError::Conflict(format!("annotation {key} has different values from {owner} and {origin}")))
            }
            None => {
                self.budget.add(key.len() + operation_length(&value))?;
                pod.annotations.to_mut().insert(key.clone(), value);
                self.record(origin, ClaimKind::Annotation, key, ClaimContent::Any);
                Ok(())
            }
        }
    }
}

impl EditApplier<'_> {
    /// Sets an annotation of the webhook itself, also if the pod has another value: a copy of an
    /// older pod, for example.
    pub(crate) fn set_own_annotation(
        &mut self,
        key: &str,
        value: String,
        pod: &mut EditedPod<'_>,
    ) -> Result<(), ApplyError> {
        let value = Value::String(value);
        if pod.annotations.get(key) != Some(&value) {
            self.budget.add(key.len() + operation_length(&value))?;
            pod.annotations.to_mut().insert(key.to_owned(), value);
        }
        Ok(())
    }
}

/// Checks the key of an annotation.
pub(super) fn check(annotation: &Annotation) -> Result<(), ApplyError> {
    let key = &annotation.key;
    validate::require(!key.is_empty(), || "annotation key must not be empty".to_owned())?;
    validate::require(!RESERVED_PREFIXES.iter().any(|prefix| key.starts_with(prefix)), || {
        format!("annotation {key} is reserved for secret requests and cannot be set by a plugin")
    })
}
