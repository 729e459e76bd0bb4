//! The way out: [`remove`] takes the registration back, also while replicas run.
//!
//! A replica puts back what somebody removes. So the object is marked first, and a replica that sees a mark that was not there when
//! it started looks after it no longer.

use std::time::Duration;

use k8s_openapi::{api::admissionregistration::v1::MutatingWebhookConfiguration, jiff::Timestamp};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::time::sleep;

use super::RegistrationError;
use crate::Cluster;

/// The annotation; its value is when it was set.
const MARK: &str = "ampoule.dev/uninstalled";
/// In which replicas hear of a change; a watch takes milliseconds.
const HEARD: Duration = Duration::from_secs(3);
/// One that rests after a failure hears later.
const ROUNDS: usize = 3;

/// The mark of an object.
pub(super) fn mark(object: &MutatingWebhookConfiguration) -> Option<String> {
    object.annotations().get(MARK).cloned()
}

/// Removes the object; whether it was there.
///
/// # Errors
///
/// If the API server refuses, or if somebody puts it back.
pub async fn remove(cluster: &Cluster, name: &str) -> Result<bool, RegistrationError> {
    let api = cluster.cluster_wide::<MutatingWebhookConfiguration>();
    let failed = |error: kube::Error| RegistrationError::failed("remove", name, error);
    let delete = async |params: DeleteParams| match api.delete(name, &params).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(failed(error)),
    };
    // Without the right to, nothing is marked: nobody would look after it then.
    if !delete(DeleteParams { dry_run: true, ..DeleteParams::default() }).await? {
        return Ok(false);
    }
    for _ in 0..ROUNDS {
        let mark = json!({ "metadata": { "annotations": { MARK: Timestamp::now().to_string() } } });
        api.patch(name, &PatchParams::default(), &Patch::Merge(mark)).await.map_err(failed)?;
        sleep(HEARD).await;
        delete(DeleteParams::default()).await?;
        sleep(HEARD).await;
        if api.get_opt(name).await.map_err(failed)?.is_none() {
            return Ok(true);
        }
    }
    Err(RegistrationError::PutBack { name: name.to_owned() })
}
