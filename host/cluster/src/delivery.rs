//! The Secrets that carry values to pods: [`SecretDelivery`] writes them, [`sweeper`] removes them.
//!
//! A Secret is immutable and its name identifies its content, so concurrent admissions and other
//! replicas write the same object. Every use renews its time stamp; the sweeper spares a Secret
//! that was used recently, since its pod may not exist yet.

mod lease;
mod naming_key;
mod references;
pub mod sweeper;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use ampoule_config::DeliveryConfig;
use ampoule_core::{DeliveredSecret, DeliveryError, DeliveryStore, NamingKey};
use ampoule_telemetry::metrics::{DeliveryResult, Metrics};
use async_trait::async_trait;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use moka::future::Cache;
use serde_json::json;
use tokio::sync::OnceCell;
use tracing::warn;

use crate::client::{Cluster, ClusterError};

/// The label of objects that this program manages, and its value.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "ampoule");
/// The label with the namespace of the webhook that created the Secret.
const WEBHOOK: &str = "ampoule.dev/delivered-by";
/// The label with the name of the injector.
const INJECTOR: &str = "ampoule.dev/injector";
/// The annotation with the time of the last use.
const LAST_USED: &str = "ampoule.dev/last-used";

/// A Secret is not written again for this part of the grace period.
const KNOWN_PART: u32 = 6;
/// Secrets of which the process knows that they exist. Each takes about 200 bytes.
const MOST_KNOWN: u64 = 20_000;
/// Attempts to write a Secret that another replica deletes.
const ATTEMPTS: usize = 3;

/// Writes the Secrets that carry values, with the permissions of this process.
pub struct SecretDelivery {
    cluster: OnceCell<Cluster>,
    config: DeliveryConfig,
    key: OnceCell<NamingKey>,
    /// The Secrets that exist, by namespace and name. Concurrent writes of one Secret are one.
    known: Cache<String, ()>,
    /// Whether this process delivers values, or did so.
    is_used: AtomicBool,
    metrics: Metrics,
}

// === impl SecretDelivery ===

impl SecretDelivery {
    /// Connects at the first use: without such Secrets, it sends the API server no request.
    #[must_use]
    pub fn new(config: DeliveryConfig, metrics: Metrics) -> Self {
        let known = Cache::builder().max_capacity(MOST_KNOWN).time_to_live(known_for(&config)).build();
        let (cluster, key, is_used) = (OnceCell::new(), OnceCell::new(), AtomicBool::new(false));
        Self { cluster, config, key, known, is_used, metrics }
    }

    /// Starts the search for unused Secrets, if it does not run. Without it, the first delivery
    /// starts it.
    pub fn set_used(&self) {
        self.is_used.store(true, Ordering::Relaxed);
    }

    fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }

    async fn cluster(&self) -> Result<&Cluster, DeliveryError> {
        self.cluster.get_or_try_init(Cluster::connect).await.map_err(|error| {
            warn!(%error, "cannot connect to the API server to deliver values");
            DeliveryError::Unavailable("the webhook cannot connect to the API server to deliver values".to_owned())
        })
    }

    async fn write(&self, secret: &DeliveredSecret) -> Result<(), DeliveryError> {
        let cluster = self.cluster().await?;
        let api: Api<Secret> = cluster.namespaced_in(&secret.namespace);
        let object = object(secret, cluster.namespace());
        for _ in 0..ATTEMPTS {
            match api.create(&PostParams::default(), &object).await {
                Ok(_) => {
                    self.metrics.delivered(DeliveryResult::Created);
                    return Ok(());
                }
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(self.refusal("create", secret, &error.into())),
            }
            match api.patch_metadata(secret.name.as_str(), &PatchParams::default(), &renewed()).await {
                Ok(_) => {
                    self.metrics.delivered(DeliveryResult::Reused);
                    return Ok(());
                }
                // Deleted since. The next attempt creates it again.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(self.refusal("patch", secret, &error.into())),
            }
        }
        self.metrics.delivered(DeliveryResult::Unavailable);
        Err(DeliveryError::Unavailable(format!("Secret {} is deleted while it is written; retry", secret.name)))
    }

    /// The API server's message is only in the log: it can quote the object.
    fn refusal(&self, verb: &str, secret: &DeliveredSecret, error: &ClusterError) -> DeliveryError {
        let DeliveredSecret { namespace, injector, .. } = secret;
        let code = if let ClusterError::Refused { code, .. } = error { *code } else { 0 };
        let (result, refusal) = match code {
            403 => {
                let reason = format!(
                    "injector {injector} delivers values in Secrets, but the webhook's role does not allow `{verb}` on \
                     Secrets in namespace {namespace}, or a quota is exhausted; the webhook's log has the details"
                );
                (DeliveryResult::Denied, DeliveryError::Denied(reason))
            }
            404 => {
                let reason = format!("namespace {namespace} does not exist");
                (DeliveryResult::Refused, DeliveryError::Refused(reason))
            }
            400..=499 if code != 408 && code != 429 => {
                let reason = format!("the API server refuses the Secret with the values of injector {injector}");
                (DeliveryResult::Refused, DeliveryError::Refused(reason))
            }
            _ => {
                let reason = format!("the API server did not write the Secret with the values of injector {injector}");
                (DeliveryResult::Unavailable, DeliveryError::Unavailable(reason))
            }
        };
        self.metrics.delivered(result);
        let error = public_error(error);
        warn!(namespace, injector, verb, error, "cannot write a Secret with values");
        refusal
    }
}

#[async_trait]
impl DeliveryStore for SecretDelivery {
    async fn naming_key(&self) -> Result<NamingKey, DeliveryError> {
        self.set_used();
        let key = match self.cluster().await {
            Ok(cluster) => self.key.get_or_try_init(|| naming_key::read_or_create(cluster)).await.cloned(),
            Err(error) => Err(error),
        };
        // Without the key, no Secret is written; the metric has to show that as well.
        key.inspect_err(|error| {
            self.metrics.delivered(match error {
                DeliveryError::Denied(_) => DeliveryResult::Denied,
                DeliveryError::Refused(_) => DeliveryResult::Refused,
                DeliveryError::Unavailable(_) => DeliveryResult::Unavailable,
            });
        })
    }

    async fn ensure(&self, secret: &DeliveredSecret) -> Result<(), DeliveryError> {
        if !self.config.covers(&secret.namespace) {
            let reason = format!(
                "injector {} delivers values in Secrets, and namespace {} is not one of delivery.namespaces",
                secret.injector, secret.namespace
            );
            return Err(DeliveryError::Denied(reason));
        }
        let key = format!("{}/{}", secret.namespace, secret.name);
        self.known.try_get_with(key, self.write(secret)).await.map_err(|error| (*error).clone())
    }
}

/// The time for which a Secret need not be written again. The sweeper relies on it.
fn known_for(config: &DeliveryConfig) -> Duration {
    config.grace / KNOWN_PART
}

/// The object for a Secret.
fn object(secret: &DeliveredSecret, webhook: &str) -> Secret {
    let labels = [MANAGED_BY, (WEBHOOK, webhook), (INJECTOR, secret.injector.as_str())];
    let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let data = secret.data.iter().map(|(key, value)| (key.clone(), ByteString(value.to_vec()))).collect();
    Secret {
        metadata: ObjectMeta {
            name: Some(secret.name.to_string()),
            namespace: Some(secret.namespace.clone()),
            labels: Some(labels),
            annotations: Some(BTreeMap::from([(LAST_USED.to_owned(), now())])),
            ..ObjectMeta::default()
        },
        immutable: Some(true),
        type_: Some(secret.kind.as_str().to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

/// The patch for another use. It removes the owners: the garbage collector deletes the Secret with
/// its last owner, and the new pod is not one yet.
fn renewed() -> Patch<serde_json::Value> {
    Patch::Merge(json!({ "metadata": { "annotations": { LAST_USED: now() }, "ownerReferences": null } }))
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The error for the log. A message of the API server about a Secret can quote it, so the log has
/// only the status of errors other than a missing permission.
fn public_error(error: &ClusterError) -> String {
    match error {
        ClusterError::Refused { code: 403, message } => message.clone(),
        ClusterError::Refused { code, .. } => format!("HTTP status {code}"),
        other => other.to_string(),
    }
}
