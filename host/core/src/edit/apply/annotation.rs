//! `set-annotation`: one annotation of the pod, never one that asks this webhook for something.
//! A key that the pod has is the pod's, unless the plugin says that it depends on its value.

use serde_json::{Value, json};

use super::{ApplyError, EditLog, Kind, validate};
use crate::edit::{Annotation, AnnotationCollision};

/// Annotations that secret requests stand in: a plugin that writes one would ask in the pod author's name.
const RESERVED: [&str; 2] = ["flyte.secrets/", "ampoule.dev/"];

impl EditLog<'_> {
    pub(super) fn set_annotation(
        &mut self,
        by: &str,
        annotation: &Annotation,
        pod: &mut Value,
    ) -> Result<(), ApplyError> {
        let Annotation { key, value, collision } = annotation;
        validate::require(!key.is_empty(), || "an annotation must have a key".to_owned())?;
        validate::require(!RESERVED.iter().any(|reserved| key.starts_with(reserved)), || {
            format!("annotation {key} is the webhook's own; no plugin may set it")
        })?;
        let annotations = annotations_mut(pod);
        match annotations.get(key) {
            Some(existing) if existing == value => Ok(()),
            Some(_) if *collision == AnnotationCollision::IfAbsent => Ok(()),
            Some(_) => {
                let owner = self.owner(Kind::Annotation, key);
                Err(ApplyError::Conflict(format!("annotation {key} has another value by {owner} than {by} needs")))
            }
            None => {
                annotations[key] = json!(value);
                self.record(by, Kind::Annotation, key, Value::Null);
                Ok(())
            }
        }
    }
}

fn annotations_mut(pod: &mut Value) -> &mut Value {
    let mut parent = pod;
    for key in ["metadata", "annotations"] {
        parent = &mut parent[key];
        if parent.is_null() {
            *parent = json!({});
        }
    }
    parent
}
