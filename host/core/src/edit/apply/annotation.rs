//! `set-annotation`: one annotation of the pod, never one that asks this webhook for something.
//! A key that the pod has is the pod's, unless the plugin says that it depends on its value.

use std::sync::Arc;

use serde_json::json;

use super::{ApplyError, Content, EditLog, Kind, validate};
use crate::edit::{Annotation, AnnotationCollision, edited::EditedPod};

/// Annotations that secret requests stand in: a plugin that writes one would ask in the pod author's name.
const RESERVED: [&str; 2] = ["flyte.secrets/", "ampoule.dev/"];

impl EditLog {
    pub(super) fn set_annotation(
        &mut self,
        by: &Arc<str>,
        annotation: &Annotation,
        pod: &mut EditedPod<'_>,
    ) -> Result<(), ApplyError> {
        let Annotation { key, value, collision } = annotation;
        validate::require(!key.is_empty(), || "an annotation must have a key".to_owned())?;
        validate::require(!RESERVED.iter().any(|reserved| key.starts_with(reserved)), || {
            format!("annotation {key} is the webhook's own; no plugin may set it")
        })?;
        match pod.annotations.get(key) {
            Some(existing) if existing == value => Ok(()),
            Some(_) if *collision == AnnotationCollision::IfAbsent => Ok(()),
            Some(_) => {
                let owner = self.owner(Kind::Annotation, key);
                Err(ApplyError::Conflict(format!("annotation {key} has another value by {owner} than {by} needs")))
            }
            None => {
                pod.annotations.to_mut().insert(key.clone(), json!(value));
                self.record(by, Kind::Annotation, key, Content::Any);
                Ok(())
            }
        }
    }
}
