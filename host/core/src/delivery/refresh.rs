//! The annotation `ampoule.dev/refresh-seconds`: how often a sidecar fetches the values of a pod
//! again.

use super::DeliveryError;
use crate::{pod::Pod, request::annotation_text};

/// The key of the annotation.
pub(crate) const REFRESH_ANNOTATION: &str = "ampoule.dev/refresh-seconds";
/// The shortest and the longest interval, in seconds. A pod's author determines the load on the
/// store.
const REFRESH_RANGE: [u64; 2] = [10, 86_400];

/// The interval for a pod, in seconds: that of its annotation or of the configuration. `None`
/// without a sidecar.
///
/// # Errors
///
/// The annotation is not valid, or the configuration permits no sidecar.
pub(super) fn refresh_interval(configured: Option<u64>, pod: &Pod) -> Result<Option<u64>, DeliveryError> {
    let Some(value) = pod.annotations().get(REFRESH_ANNOTATION) else { return Ok(configured) };
    let refuse = |reason: String| DeliveryError::Refused(format!("annotation {REFRESH_ANNOTATION}: {reason}"));
    let text = annotation_text(value).map_err(|error| refuse(error.to_string()))?;
    let [shortest, longest] = REFRESH_RANGE;
    match text.parse::<u64>() {
        Ok(0) => Ok(None),
        Ok(_) if configured.is_none() => Err(refuse("delivery.pod.refreshSeconds is not set".to_owned())),
        Ok(seconds) if (shortest..=longest).contains(&seconds) => Ok(Some(seconds)),
        _ => Err(refuse(format!("must be 0, or a number of seconds from {shortest} to {longest}"))),
    }
}
