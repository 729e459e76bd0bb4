//! Uninstallation: [`remove`] deletes the registration, also while replicas run.
//!
//! A replica restores a deleted registration. Therefore the object is marked before its deletion: a
//! replica that finds a mark that was not set at its start no longer maintains the object.

use std::time::Duration;

use k8s_openapi::{api::admissionregistration::v1::MutatingWebhookConfiguration, jiff::Timestamp};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::time::sleep;

use super::error::RegistrationError;
use crate::client::Cluster;

/// The annotation with the mark; its value is the time at which it was set.
const MARK: &str = "ampoule.dev/uninstalled";
/// Time in which replicas receive a change; a watch takes milliseconds.
const PROPAGATION: Duration = Duration::from_secs(3);
/// Number of attempts: a replica that pauses after a failure receives the change late.
const ATTEMPTS: usize = 3;

/// Returns the mark of an object.
pub(super) fn mark(object: &MutatingWebhookConfiguration) -> Option<String> {
    object.annotations().get(MARK).cloned()
}

/// Removes the object, and returns whether it existed.
///
/// # Errors
///
/// The API server refuses a request, or replicas restore the object each time.
pub async fn remove(cluster: &Cluster, name: &str) -> Result<bool, RegistrationError> {
    let registration = DeletableRegistration { api: cluster.cluster_wide(), name };
    // Without the right to delete, the object must not be marked: no replica would maintain it.
    if !registration.delete(DeleteParams { dry_run: true, ..DeleteParams::default() }).await? {
        return Ok(false);
    }
    for _ in 0..ATTEMPTS {
        registration.set_mark().await?;
        sleep(PROPAGATION).await;
        registration.delete(DeleteParams::default()).await?;
        sleep(PROPAGATION).await;
        if !registration.exists().await? {
            return Ok(true);
        }
    }
    Err(RegistrationError::PutBack { name: name.to_owned() })
}

/// The object to remove.
struct DeletableRegistration<'a> {
    api: Api<MutatingWebhookConfiguration>,
    name: &'a str,
}

// === impl DeletableRegistration ===

impl DeletableRegistration<'_> {
    async fn set_mark(&self) -> Result<(), RegistrationError> {
        let mark = json!({ "metadata": { "annotations": { MARK: Timestamp::now().to_string() } } });
        let patched = self.api.patch(self.name, &PatchParams::default(), &Patch::Merge(mark)).await;
        patched.map(drop).map_err(|error| self.failed(error))
    }

    /// Deletes the object, and returns whether it existed.
    async fn delete(&self, params: DeleteParams) -> Result<bool, RegistrationError> {
        match self.api.delete(self.name, &params).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn exists(&self) -> Result<bool, RegistrationError> {
        let found = self.api.get_opt(self.name).await.map_err(|error| self.failed(error))?;
        Ok(found.is_some())
    }

    fn failed(&self, error: kube::Error) -> RegistrationError {
        RegistrationError::failed("remove", self.name, error)
    }
}
