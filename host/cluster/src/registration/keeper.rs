//! Maintenance of the registration while the process runs: [`RegistrationKeeper`].
//!
//! It watches the object, and reads it every minute if it may not watch. It restores and counts
//! changes by other clients. When the process ends, the object stays: other replicas still serve.

use std::time::{Duration, Instant};

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

use super::{
    api_service::ApiServiceRegistration,
    document::{ReviewRoute, WebhookRegistration},
    drift,
    error::RegistrationError,
    foreign_cas::ForeignCas,
    trust::{Trust, TrustRequest, TrustTiming},
    uninstall,
};
use crate::{
    ca_bundle::CaBundle,
    client::Cluster,
    follow::{ObjectFollower, ObjectSelector},
};
use ampoule_config::RegistrationConfig;
use ampoule_net::backoff::Backoff;
use ampoule_telemetry::metrics::Metrics;

/// The field manager of server-side apply.
const FIELD_MANAGER: &str = "ampoule";
/// Time between two reads without an event of the watch.
const LOOK: Duration = Duration::from_secs(60);
/// The pause after the first failure or repair, and the longest after several in a row: two
/// programs that restore the object in turn must not keep each other busy.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Maintains the `MutatingWebhookConfiguration`.
pub struct RegistrationKeeper {
    cluster: Cluster,
    config: RegistrationConfig,
    route: ReviewRoute,
    timing: TrustTiming,
    metrics: Metrics,
    trust: Trust,
    wishes: watch::Receiver<TrustRequest>,
    granted: watch::Sender<u64>,
    foreign_cas: ForeignCas,
    /// Whether the log already reported that the object cannot be watched.
    blind: bool,
    /// The mark that the object had at the start, of an earlier uninstallation.
    old_mark: Option<String>,
}

/// Result of a reconciliation.
struct Reconciled {
    /// The field that another client changed; `None` if only the request for trust changed.
    changed: Option<String>,
    /// The object's version afterwards.
    version: String,
}

// === impl RegistrationKeeper ===

impl RegistrationKeeper {
    /// Creates the keeper. It sends no request yet.
    pub fn new(cluster: Cluster, config: RegistrationConfig, timing: TrustTiming, metrics: Metrics) -> Self {
        let (trust, wishes, granted) = Trust::new();
        let foreign_cas = ForeignCas::default();
        let route = ReviewRoute::default();
        Self {
            cluster,
            config,
            route,
            timing,
            metrics,
            trust,
            wishes,
            granted,
            foreign_cas,
            blind: false,
            old_mark: None,
        }
    }

    /// Sets the way of a review to the webhook. The default is direct.
    #[must_use]
    pub fn with_route(self, route: ReviewRoute) -> Self {
        Self { route, ..self }
    }

    /// Returns the handle for requests of trust.
    pub fn trust(&self) -> Trust {
        self.trust.clone()
    }

    /// Registers, and returns once the API server trusts the CAs requested so far.
    ///
    /// # Errors
    ///
    /// The API server refuses a request.
    pub async fn start(&mut self) -> Result<(), RegistrationError> {
        self.reconcile(true).await?;
        info!(name = self.config.name, namespace = self.cluster.namespace(), "registered");
        Ok(())
    }

    /// Maintains the object until it is uninstalled. Never returns.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let api = self.cluster.watching().cluster_wide();
        let mut follower = ObjectFollower::new(api, ObjectSelector::Name(self.config.name.clone()));
        loop {
            let version = match self.reconcile(false).await {
                Ok(None) => {
                    info!(name = self.config.name, "the registration was uninstalled and is no longer maintained");
                    return std::future::pending().await;
                }
                Ok(Some(Reconciled { changed: None, version })) => {
                    backoff.reset();
                    version
                }
                Ok(Some(Reconciled { changed: Some(changed), .. })) => {
                    let name = &self.config.name;
                    warn!(name, changed, "restored the MutatingWebhookConfiguration after a change by another client");
                    self.metrics.registration_repaired();
                    self.rest(&mut backoff).await;
                    continue;
                }
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    warn!(error = format!("{error:#}"), "cannot reconcile the registration");
                    self.rest(&mut backoff).await;
                    continue;
                }
            };
            self.wait(&mut follower, &version).await;
        }
    }

    /// Returns when the object or the requested trust may have changed, or it is time to read
    /// again.
    async fn wait(&mut self, follower: &mut ObjectFollower<MutatingWebhookConfiguration>, version: &str) {
        let Self { timing, wishes, foreign_cas, blind, .. } = self;
        let look = if foreign_cas.is_empty() { LOOK } else { LOOK.min(timing.stay) };
        let unseen = tokio::time::timeout(look, async {
            tokio::select! {
                _ = wishes.changed() => Ok(()),
                seen = follower.changed(version) => seen,
            }
        });
        if let Ok(Err(error)) = unseen.await {
            if !std::mem::replace(blind, true) {
                let seconds = look.as_secs();
                warn!(%error, "cannot watch the registration; it is read every {seconds} s instead");
            }
            tokio::select! {
                _ = wishes.changed() => {}
                () = sleep(look) => {}
            }
        }
    }

    async fn rest(&mut self, backoff: &mut Backoff) {
        tokio::select! {
            _ = self.wishes.changed() => {}
            () = sleep(backoff.pause()) => {}
        }
    }

    /// Reads the object and writes its desired state. `always` writes it even without a difference,
    /// so that this program owns the fields. Returns `None` if the object was uninstalled.
    async fn reconcile(&mut self, always: bool) -> Result<Option<Reconciled>, RegistrationError> {
        let wanted = self.wishes.borrow_and_update().clone();
        let name = self.config.name.clone();
        let api = self.cluster.cluster_wide::<MutatingWebhookConfiguration>();
        let found = api.get_opt(&name).await.map_err(|error| self.failed("read", error))?;
        let mark = found.as_ref().and_then(uninstall::mark);
        if always {
            self.old_mark = mark;
        } else if mark.is_some() && mark != self.old_mark {
            return Ok(None);
        }
        let version = found.as_ref().and_then(|found| found.resource_version()).unwrap_or_default();
        let found = found.map(|found| serde_json::to_value(found).expect("an API object serializes"));

        let desired = self.document(None);
        let stored = self.stored_bundles(&desired, found.as_ref()).await?;
        let bundle = wanted.bundle.as_ref().map(|bundle| self.with_foreign_cas(bundle, &stored));
        // Without a requested bundle, the stored one stays.
        let trusted =
            wanted.bundle.as_ref().is_none_or(|wanted| stored.iter().all(|stored| stored.contains_all(wanted)));
        let overdue = bundle.as_ref().is_some_and(|bundle| stored.iter().any(|stored| !bundle.contains_all(stored)));
        let changed = match &found {
            None => Some("all fields".to_owned()),
            Some(found) => drift::first_difference(&desired, found).or((!trusted).then(|| "caBundle".to_owned())),
        };
        let granted = *self.granted.borrow() == wanted.number;
        let mut version = version;
        if always || changed.is_some() || overdue {
            if self.route == ReviewRoute::Aggregated {
                self.api_service().write(FIELD_MANAGER, &self.config, bundle.as_ref()).await?;
            }
            version = self.write(&api, &self.document(bundle.as_ref()), found.as_ref()).await?;
        }
        if found.is_some() && !trusted {
            sleep(self.timing.settle).await;
        }
        self.granted.send_replace(wanted.number);
        Ok(Some(Reconciled { changed: changed.filter(|_| granted && !always), version }))
    }

    /// Returns the bundles with which the API server verifies the webhook's certificate now.
    async fn stored_bundles(&self, desired: &Value, found: Option<&Value>) -> Result<Vec<CaBundle>, RegistrationError> {
        match self.route {
            ReviewRoute::Direct => Ok(found.map(|found| drift::ca_bundles(desired, found)).unwrap_or_default()),
            ReviewRoute::Aggregated => Ok(vec![self.api_service().stored_bundle().await?]),
        }
    }

    fn api_service(&self) -> ApiServiceRegistration {
        ApiServiceRegistration::new(&self.cluster)
    }

    /// Applies the document and returns the object's version. Replaces the webhooks if fields of
    /// another manager prevent that.
    async fn write(
        &self,
        api: &Api<MutatingWebhookConfiguration>,
        document: &Value,
        found: Option<&Value>,
    ) -> Result<String, RegistrationError> {
        let name = &self.config.name;
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let applied = match api.patch(name, &params, &Patch::Apply(document)).await {
            Ok(applied) => applied,
            // A field of another manager is not allowed together with one of ours.
            Err(kube::Error::Api(status)) if status.code == 422 && found.is_some() => {
                let found = api.get(name).await.map_err(|error| self.failed("read", error))?;
                self.replace_webhooks(api, document, found).await?
            }
            Err(error) => return Err(self.failed("apply", error)),
        };
        let stored = serde_json::to_value(&applied).expect("an API object serializes");
        let applied = match drift::first_difference(document, &stored) {
            None => applied,
            Some(_) => self.replace_webhooks(api, document, applied).await?,
        };
        Ok(applied.resource_version().unwrap_or_default())
    }

    async fn replace_webhooks(
        &self,
        api: &Api<MutatingWebhookConfiguration>,
        document: &Value,
        found: MutatingWebhookConfiguration,
    ) -> Result<MutatingWebhookConfiguration, RegistrationError> {
        let version = found.resource_version();
        let found = serde_json::to_value(found).expect("an API object serializes");
        // A replacement of the object would need a right that no other request needs.
        let list = &drift::replace_webhooks(document, found)["webhooks"];
        let patch = json!({ "metadata": { "resourceVersion": version }, "webhooks": list });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        api.patch(&self.config.name, &params, &Patch::Merge(patch)).await.map_err(|error| self.failed("patch", error))
    }

    /// Adds the foreign CAs that stay for now.
    fn with_foreign_cas(&mut self, wanted: &CaBundle, stored: &[CaBundle]) -> CaBundle {
        let mut found = CaBundle::default();
        for bundle in stored {
            found.extend(bundle.clone());
        }
        let mut bundle = wanted.clone();
        bundle.extend(self.foreign_cas.tolerated(&found, wanted, Instant::now(), self.timing.stay));
        bundle
    }

    fn document(&self, bundle: Option<&CaBundle>) -> Value {
        let registration = WebhookRegistration::new(self.config.clone(), self.route, bundle.map(CaBundle::to_pem));
        registration.document(self.cluster.namespace())
    }

    fn failed(&self, verb: &'static str, error: kube::Error) -> RegistrationError {
        RegistrationError::failed(verb, &self.config.name, error)
    }
}
