//! The objects that carry values and components to pods: [`SecretDelivery`] writes them,
//! [`sweeper`] removes them.
//!
//! A Secret is immutable and its name identifies its content, so concurrent admissions and other
//! replicas write the same object. Every use renews its time stamp; the sweeper spares a Secret
//! that was used recently, since its pod may not exist yet.

mod components;
mod lease;
mod naming_key;
mod references;
pub mod rotation;
pub mod sweeper;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use ampoule_config::DeliveryConfig;
use ampoule_core::{
    DeliveredKind, DeliveredSecret, DeliveryError, DeliveryStore, NamingKey, ShippedComponent, is_object_name,
};
use ampoule_telemetry::metrics::{DeliveryResult, Metrics};
use async_trait::async_trait;
use futures_util::future::join_all;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use moka::future::Cache;
use serde_json::json;
use tokio::{sync::OnceCell, time::timeout};
use tracing::warn;

use self::components::KnownComponents;
use crate::client::{Cluster, ClusterError};

/// The time for the lookup of a Secret, for a warning.
const LOOKUP: Duration = Duration::from_secs(1);
/// The time for the lookup at the start.
const RESPONSE_TIME: Duration = Duration::from_secs(10);
/// The name of the Secret that is looked up at the start. It need not exist.
const PROBED: &str = "ampoule-lookup-probe";
/// The label of objects that this program manages, and its value.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "ampoule");
/// The label with the namespace of the webhook that created the Secret.
const WEBHOOK: &str = "ampoule.dev/delivered-by";
/// The label with the name of the injector.
const INJECTOR: &str = "ampoule.dev/injector";
/// The annotation with the time of the last use.
const LAST_USED: &str = "ampoule.dev/last-used";

/// A Secret is not written again for this time, so that a burst of pods causes one write. A Secret
/// that someone deletes is written again after it.
const KNOWN: Duration = Duration::from_secs(5);
/// The same, as a part of the grace period.
const KNOWN_PART: u32 = 6;
/// New Secrets in one namespace and grace period. The author of a pod determines their content by
/// the names in its requests, and can create pods that are refused later.
const MOST_NEW: u32 = 2000;
/// Namespaces in which new Secrets are counted.
const MOST_COUNTED: u64 = 10_000;
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
    /// The ConfigMaps with components that exist.
    components: KnownComponents,
    /// The new Secrets of each namespace.
    created: Cache<String, Arc<AtomicU32>>,
    /// Whether this process delivers values, or did so.
    is_used: AtomicBool,
    /// Whether this process delivers components, or did so.
    ships_components: AtomicBool,
    /// Whether this process reads what pods report about the values that they fetch.
    reads_reports: AtomicBool,
    /// Whether the log has the reason why Secrets cannot be looked up.
    has_reported_lookups: AtomicBool,
    metrics: Metrics,
}

// === impl SecretDelivery ===

impl SecretDelivery {
    /// Connects at the first use: without such Secrets, it sends the API server no request.
    #[must_use]
    pub fn new(config: DeliveryConfig, metrics: Metrics) -> Self {
        let known = Cache::builder().max_capacity(MOST_KNOWN).time_to_live(known_for(&config)).build();
        let created = Cache::builder().max_capacity(MOST_COUNTED).time_to_live(config.grace).build();
        let components = KnownComponents::new(known_for(&config));
        Self {
            cluster: OnceCell::new(),
            config,
            key: OnceCell::new(),
            known,
            components,
            created,
            is_used: AtomicBool::new(false),
            ships_components: AtomicBool::new(false),
            reads_reports: AtomicBool::new(false),
            has_reported_lookups: AtomicBool::new(false),
            metrics,
        }
    }

    /// Starts the search for unused Secrets, if it does not run. Without it, the first delivery
    /// starts it.
    pub fn set_used(&self) {
        self.is_used.store(true, Ordering::Relaxed);
    }

    /// Starts the search for unused ConfigMaps with components, if it does not run.
    pub fn set_ships_components(&self) {
        self.ships_components.store(true, Ordering::Relaxed);
    }

    /// Starts the search for pods that report changes of their values, if it is configured.
    pub fn set_reads_reports(&self) {
        self.reads_reports.store(true, Ordering::Relaxed);
    }

    fn reads_reports(&self) -> bool {
        self.reads_reports.load(Ordering::Relaxed)
    }

    fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }

    fn ships_components(&self) -> bool {
        self.ships_components.load(Ordering::Relaxed)
    }

    fn check_namespace(&self, namespace: &str, injector: &str, what: &str) -> Result<(), DeliveryError> {
        if self.config.covers(namespace) {
            return Ok(());
        }
        Err(DeliveryError::Denied(format!(
            "injector {injector} delivers {what}, and namespace {namespace} is not one of delivery.namespaces"
        )))
    }

    /// Looks up a Secret that need not exist, to report in the log why lookups of Secrets do not
    /// work (`pods.warnMissingSecrets`).
    pub async fn check_lookups(&self) {
        let cluster = match self.cluster.get_or_try_init(Cluster::connect).await {
            Ok(cluster) => cluster,
            Err(error) => {
                self.report_lookups(&error);
                return;
            }
        };
        // The right can be for some namespaces only.
        let namespace = self.config.namespaces.first().map_or(cluster.namespace(), String::as_str);
        let api: Api<Secret> = cluster.namespaced_in(namespace);
        match timeout(RESPONSE_TIME, api.get_metadata_opt(PROBED)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => self.report_lookups(&ClusterError::from(error)),
            Err(_) => self.report_lookups(&ClusterError::Unreachable("it does not respond".to_owned())),
        }
    }

    /// Reports once that no Secret can be looked up.
    fn report_lookups(&self, error: &ClusterError) {
        if !self.has_reported_lookups.swap(true, Ordering::Relaxed) {
            warn!(
                error = public_error(error),
                "pods.warnMissingSecrets has no effect: the process cannot look up Secrets at the API server"
            );
        }
    }

    /// The key of names and of seals. A dry run does not create it.
    async fn key(&self, dry_run: bool) -> Result<NamingKey, DeliveryError> {
        if let Some(key) = self.key.get() {
            return Ok(key.clone());
        }
        let cluster = self.cluster().await?;
        if dry_run {
            return naming_key::read_or_random(cluster).await;
        }
        self.key.get_or_try_init(|| naming_key::read_or_create(cluster)).await.cloned()
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
        let created = self.created.get_with_by_ref(&secret.namespace, async { Arc::default() }).await;
        if created.load(Ordering::Relaxed) >= MOST_NEW {
            self.metrics.delivered(DeliveryResult::Refused);
            let reason = format!("namespace {} got too many new Secrets with values; retry later", secret.namespace);
            return Err(DeliveryError::Unavailable(reason));
        }
        for _ in 0..ATTEMPTS {
            match api.create(&PostParams::default(), &object).await {
                Ok(_) => {
                    created.fetch_add(1, Ordering::Relaxed);
                    self.metrics.delivered(DeliveryResult::Created);
                    return Ok(());
                }
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(self.refusal("create", secret, &error.into())),
            }
            match api.patch(secret.name.as_str(), &PatchParams::default(), &renewed(&object)).await {
                Ok(found) if is_same(&found, &object) => {
                    self.metrics.delivered(DeliveryResult::Reused);
                    return Ok(());
                }
                Ok(_) => {
                    self.metrics.delivered(DeliveryResult::Refused);
                    let reason = format!("Secret {} exists with another content; delete it", secret.name);
                    return Err(DeliveryError::Refused(reason));
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
                let reason = match secret.kind {
                    DeliveredKind::DockerConfig if !self.config.pull_secrets => {
                        format!("{reason}; image pull secrets need it with every delivery (delivery.pullSecrets)")
                    }
                    _ => reason,
                };
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
    async fn naming_key(&self, dry_run: bool) -> Result<NamingKey, DeliveryError> {
        if !dry_run {
            self.set_used();
        }
        let key = self.key(dry_run).await;
        if dry_run {
            return key;
        }
        // Without the key, no Secret is written; the metric has to show that as well.
        key.inspect_err(|error| {
            self.metrics.delivered(match error {
                DeliveryError::Denied(_) => DeliveryResult::Denied,
                DeliveryError::Refused(_) => DeliveryResult::Refused,
                DeliveryError::Unavailable(_) => DeliveryResult::Unavailable,
            });
        })
    }

    async fn sealing_key(&self, dry_run: bool) -> Result<NamingKey, DeliveryError> {
        if !dry_run {
            self.set_reads_reports();
        }
        self.key(dry_run).await
    }

    fn check(&self, secret: &DeliveredSecret) -> Result<(), DeliveryError> {
        self.check_namespace(&secret.namespace, &secret.injector, "values in Secrets")
    }

    fn check_component(&self, namespace: &str, component: &ShippedComponent) -> Result<(), DeliveryError> {
        self.check_namespace(namespace, &component.injector, "components in ConfigMaps")
    }

    async fn ensure(&self, secret: &DeliveredSecret) -> Result<(), DeliveryError> {
        self.check(secret)?;
        let key = format!("{}/{}", secret.namespace, secret.name);
        self.known.try_get_with(key, self.write(secret)).await.map_err(|error| (*error).clone())
    }

    async fn missing(&self, namespace: &str, names: Vec<String>) -> Vec<String> {
        let cluster = match self.cluster.get_or_try_init(Cluster::connect).await {
            Ok(cluster) => cluster,
            Err(error) => {
                self.report_lookups(&error);
                return Vec::new();
            }
        };
        let api: Api<Secret> = cluster.namespaced_in(namespace);
        // The pod's author chose the names, and the client does not encode them in the path.
        let (names, mut missing): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| is_object_name(name));
        let lookups = names.iter().map(|name| timeout(LOOKUP, api.get_metadata_opt(name)));
        let mut problem = None;
        for (name, found) in names.iter().zip(join_all(lookups).await) {
            match found {
                Ok(Ok(None)) => missing.push(name.clone()),
                Ok(Ok(Some(_))) | Err(_) => {}
                Ok(Err(error)) => _ = problem.get_or_insert(error),
            }
        }
        if let Some(error) = problem {
            let error = lookup_error(&error.into());
            warn!(error, namespace, "cannot look up Secrets (pods.warnMissingSecrets)");
        }
        missing
    }

    async fn ensure_component(&self, namespace: &str, component: &ShippedComponent) -> Result<(), DeliveryError> {
        self.set_ships_components();
        self.check_component(namespace, component)?;
        self.components.ensure(self.cluster().await?, namespace, component).await
    }
}

/// The API for a kind of objects in each of these namespaces, or in all of them.
fn scopes<K>(cluster: &Cluster, namespaces: &[String]) -> Vec<Api<K>>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    if namespaces.is_empty() {
        return vec![cluster.in_every_namespace()];
    }
    namespaces.iter().map(|namespace| cluster.namespaced_in(namespace)).collect()
}

/// The time for which a Secret need not be written again. The sweeper relies on it.
fn known_for(config: &DeliveryConfig) -> Duration {
    KNOWN.min(config.grace / KNOWN_PART)
}

/// Whether an existing Secret has the content that its name promises. A user who may create Secrets
/// can read a name in a pod or a dry run.
fn is_same(found: &Secret, object: &Secret) -> bool {
    found.data == object.data && found.type_ == object.type_ && found.metadata.deletion_timestamp.is_none()
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
fn renewed(object: &Secret) -> Patch<serde_json::Value> {
    let metadata = json!({
        "annotations": { LAST_USED: now() }, "labels": object.metadata.labels, "ownerReferences": null,
    });
    Patch::Merge(json!({ "immutable": true, "metadata": metadata }))
}

/// Whether the API server's authorization wrote a message.
fn is_missing_right(message: &str) -> bool {
    message.contains(" is forbidden: User \"") && !message.contains("admission webhook")
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The error for the log. A message about a Secret can quote it, also that of another webhook, so
/// the log has only the status of errors other than a missing permission.
fn public_error(error: &ClusterError) -> String {
    match error {
        ClusterError::Refused { code: 403, message } if is_missing_right(message) => message.clone(),
        ClusterError::Refused { code, .. } => format!("HTTP status {code}"),
        other => other.to_string(),
    }
}

/// The error of a lookup for the log. Messages of the API server name the Secret, which is the
/// group of a request: only the audit trail has it.
fn lookup_error(error: &ClusterError) -> String {
    match error {
        ClusterError::Refused { code: 403, .. } => {
            "HTTP status 403: the process may not get Secrets in this namespace".to_owned()
        }
        other => public_error(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_right_is_logged_with_the_message_of_the_api_server() {
        for (code, message, expected) in [
            (
                403,
                "secrets is forbidden: User \"system:serviceaccount:a:b\" cannot create resource \"secrets\"",
                "secrets is forbidden: User \"system:serviceaccount:a:b\" cannot create resource \"secrets\"",
            ),
            (403, "admission webhook \"p.example\" denied the request: the value zq7canarybird", "HTTP status 403"),
            (422, "Secret \"x\" is invalid: data: zq7canarybird", "HTTP status 422"),
        ] {
            let error = ClusterError::Refused { code, message: message.to_owned() };
            assert_eq!(public_error(&error), expected);
        }
    }

    #[test]
    fn the_error_of_a_lookup_does_not_name_the_secret() {
        for (code, expected) in
            [(403, "HTTP status 403: the process may not get Secrets in this namespace"), (500, "HTTP status 500")]
        {
            let message =
                "secrets \"zq7canarybird\" is forbidden: User \"a\" cannot get resource \"secrets\"".to_owned();
            assert_eq!(lookup_error(&ClusterError::Refused { code, message }), expected);
        }
    }

    #[tokio::test]
    async fn a_secret_is_looked_up_only_by_a_name_that_an_object_can_have() {
        let exists = async || r#"{"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {}}"#;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(exists)).await });
        let client = kube::Client::try_from(kube::Config::new(url)).unwrap();
        let delivery = SecretDelivery::new(DeliveryConfig::default(), Metrics::new());
        delivery.cluster.set(Cluster::with_client(client, "ampoule")).ok().unwrap();
        let names = ["db", "../../other/secrets/db", "db?a=b", "db/status", "Db"].map(str::to_owned);
        let missing = delivery.missing("team", names.to_vec()).await;
        assert_eq!(missing, names[1..], "a request for any path would find an object");
    }

    #[test]
    fn an_existing_secret_is_used_only_with_the_same_content() {
        let data = |value: &str| Some(BTreeMap::from([("k".to_owned(), ByteString(value.as_bytes().to_vec()))]));
        let secret =
            |value, kind: &str| Secret { data: data(value), type_: Some(kind.to_owned()), ..Secret::default() };
        let ours = secret("one", "Opaque");
        for (found, expected) in [
            (secret("one", "Opaque"), true),
            (secret("two", "Opaque"), false),
            (secret("one", "kubernetes.io/dockerconfigjson"), false),
            (Secret::default(), false),
        ] {
            assert_eq!(is_same(&found, &ours), expected, "{found:?}");
        }
    }
}
