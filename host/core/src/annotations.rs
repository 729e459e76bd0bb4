//! Reads the secret requests of a pod from the annotations of both protocols.
//!
//! Each protocol has a module: `flyte` for Flyte's wire format, `ampoule_annotation` for the list
//! that pod authors write. The rest of Ampoule sees only the types of `request`.

use serde_json::{Map, Value};

use crate::{
    ampoule_annotation, flyte,
    pod::Pod,
    reference_syntax::ReferenceSyntax,
    references,
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
        if request.mount == MountRequirement::EnvVar && request.env_var.is_none() && !request.all_keys {
            request.env_var = ampoule_annotation::default_variable(&request.group, &request.key);
        }
    }

    /// Returns the name of the annotation protocol: `flyte` or `ampoule`.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        if self.annotation.starts_with(flyte::KEY_PREFIX) { "flyte" } else { "ampoule" }
    }

    /// Reads every secret request of a pod: those of its annotations, then the references in its
    /// variables. The mirror of a static pod has none. The flag is
    /// [`references::PodReferences::may_have_near_misses`].
    ///
    /// # Errors
    ///
    /// As [`Self::from_annotations`]; or a reference is not valid.
    pub(crate) fn from_pod(pod: &Pod, syntax: &ReferenceSyntax) -> Result<(Vec<Self>, bool), AnnotationError> {
        if pod.is_mirror() {
            return Ok((Vec::new(), false));
        }
        let mut requests = Self::from_annotations(pod.annotations())?;
        let references = references::read_requests(pod, syntax)?;
        requests.extend(references.requests);
        Ok((limited(requests)?, references.may_have_near_misses))
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
        limited(requests)
    }
}

fn limited(requests: Vec<RequestedSecret>) -> Result<Vec<RequestedSecret>, AnnotationError> {
    match requests.get(MAX_REQUESTS) {
        None => Ok(requests),
        Some(first_excess) => Err(AnnotationError {
            annotation: first_excess.annotation.clone(),
            reason: format!("too many secret requests: {} (limit {MAX_REQUESTS} per pod)", requests.len()),
        }),
    }
}
