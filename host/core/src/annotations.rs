//! Reads the secret requests of a pod from the annotations of both protocols.
//!
//! Each protocol has a module: `flyte` for Flyte's wire format, `ampoule_annotation` for the list
//! that pod authors write. The rest of Ampoule sees only the types of `request`.

use serde_json::{Map, Value};

use crate::{
    ampoule_annotation, flyte,
    pod::Pod,
    request::{AnnotationError, MountRequirement, RequestOptions, RequestedSecret, SecretRequest},
};

/// The labels that select pods for the webhook, each with the value `"true"`: Flyte's label and
/// Ampoule's own. Both labels permit the annotations of both protocols.
pub const TRIGGER_LABELS: [&str; 2] = ["inject-flyte-secrets", "ampoule.dev/inject"];

/// Maximum number of secret requests of a pod, over both protocols.
pub(crate) const MAX_REQUESTS: usize = 256;

impl RequestedSecret {
    /// Returns a request with the default options.
    #[must_use]
    pub fn new(annotation: impl Into<String>, request: SecretRequest) -> Self {
        Self { annotation: annotation.into(), request, options: RequestOptions::default() }
    }

    /// Names the variable of a request without a name `GROUP_KEY`, if that is a valid name.
    pub(crate) fn set_default_variable(&mut self) {
        let request = &mut self.request;
        if request.mount == MountRequirement::EnvVar && request.env_var.is_none() {
            request.env_var = ampoule_annotation::default_variable(&request.group, &request.key);
        }
    }

    /// Returns the name of the annotation protocol: `flyte` or `ampoule`.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        if self.annotation.starts_with(ampoule_annotation::KEY) { "ampoule" } else { "flyte" }
    }

    /// Reads every secret request of a pod. The mirror of a static pod has none.
    ///
    /// # Errors
    ///
    /// As [`Self::from_annotations`].
    pub fn from_pod(pod: &Pod) -> Result<Vec<Self>, AnnotationError> {
        if pod.is_mirror() { Ok(Vec::new()) } else { Self::from_annotations(pod.annotations()) }
    }

    /// Reads every secret request from a pod's annotations: Flyte's by index (`s2` before `s10`),
    /// then Flyte's other keys in alphabetical order, then the list in `ampoule.dev/secrets`.
    ///
    /// A repeated request is served twice, as in Flyte. The second time it finds the edits of the
    /// first in the pod.
    ///
    /// # Errors
    ///
    /// Returns the first annotation, in that order, that is a request and cannot be parsed, or that
    /// exceeds the maximum of 256 requests. Each request costs a plugin call and a line in the
    /// audit log, and Kubernetes limits the size of annotations only after it called the webhooks.
    pub fn from_annotations(annotations: &Map<String, Value>) -> Result<Vec<Self>, AnnotationError> {
        let mut requests = flyte::read_requests(annotations)?;
        requests.extend(ampoule_annotation::read_requests(annotations)?);
        match requests.get(MAX_REQUESTS) {
            None => Ok(requests),
            Some(first_excess) => Err(AnnotationError {
                annotation: first_excess.annotation.clone(),
                reason: format!("too many secret requests: {} (limit {MAX_REQUESTS} per pod)", requests.len()),
            }),
        }
    }
}
