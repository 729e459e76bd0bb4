//! The registration kept right for as long as the process runs: [`RegistrationKeeper`].
//!
//! It watches the object, and looks again every minute where it may not watch. What somebody changed is put back, and counted. It
//! ends with the process and leaves the object: another replica serves on.

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
    CaBundle, FIELD_MANAGER, RegistrationError, Strangers, Trust, TrustTiming, WebhookRegistration, drift,
    trust::Wanted, uninstall,
};
use crate::{
    Cluster,
    follow::{ObjectFollower, ObjectSelector},
};
use ampoule_config::RegistrationConfig;
use ampoule_net::backoff::Backoff;
use ampoule_telemetry::metrics::Metrics;

/// Between two looks without a word from the watch.
const LOOK: Duration = Duration::from_secs(60);
/// After the first failure or repair, doubled with each further one: two that do not agree must not keep each other busy.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Keeps one object as it should be.
pub struct RegistrationKeeper {
    cluster: Cluster,
    config: RegistrationConfig,
    timing: TrustTiming,
    metrics: Metrics,
    trust: Trust,
    wishes: watch::Receiver<Wanted>,
    granted: watch::Sender<u64>,
    strangers: Strangers,
    /// Whether it was said that the object may not be watched.
    blind: bool,
    /// The mark that was there at the start: an earlier registration's.
    old_mark: Option<String>,
}

/// In what the object was not as it should be.
struct Found {
    /// What somebody else changed; none if it was only we who wanted something new.
    changed: Option<String>,
    /// The object's version after.
    version: String,
}

// === impl RegistrationKeeper ===

impl RegistrationKeeper {
    pub fn new(cluster: Cluster, config: RegistrationConfig, timing: TrustTiming, metrics: Metrics) -> Self {
        let (trust, wishes, granted) = Trust::new();
        let strangers = Strangers::default();
        Self { cluster, config, timing, metrics, trust, wishes, granted, strangers, blind: false, old_mark: None }
    }

    /// To ask for trust by.
    pub fn trust(&self) -> Trust {
        self.trust.clone()
    }

    /// Registers, and returns once the API server trusts what was asked for so far.
    ///
    /// # Errors
    ///
    /// If the API server refuses.
    pub async fn start(&mut self) -> Result<(), RegistrationError> {
        self.reconcile(true).await?;
        let (name, namespace) = (&self.config.name, self.cluster.namespace());
        info!(name, namespace, "registered");
        Ok(())
    }

    /// Keeps the object right, until it is taken back. Never ends.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let api = self.cluster.watching().cluster_wide();
        let mut follower = ObjectFollower::new(api, ObjectSelector::Name(self.config.name.clone()));
        loop {
            let version = match self.reconcile(false).await {
                Ok(None) => {
                    info!(name = self.config.name, "the registration is taken back, and looked after no longer");
                    return std::future::pending().await;
                }
                Ok(Some(Found { changed: None, version })) => {
                    backoff.reset();
                    version
                }
                Ok(Some(Found { changed: Some(changed), version: _ })) => {
                    let name = &self.config.name;
                    warn!(name, changed, "somebody changed the MutatingWebhookConfiguration, and it is put back");
                    self.metrics.registration_repaired();
                    self.rest(&mut backoff).await;
                    continue;
                }
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    warn!(error = format!("{error:#}"), "the registration cannot be looked after");
                    self.rest(&mut backoff).await;
                    continue;
                }
            };
            self.wait(&mut follower, &version).await;
        }
    }

    /// Until there may be something to do.
    async fn wait(&mut self, follower: &mut ObjectFollower<MutatingWebhookConfiguration>, version: &str) {
        let Self { timing, wishes, strangers, blind, .. } = self;
        let look = if strangers.is_empty() { LOOK } else { LOOK.min(timing.stay) };
        let unseen = tokio::time::timeout(look, async {
            tokio::select! {
                _ = wishes.changed() => Ok(()),
                seen = follower.changed(version) => seen,
            }
        });
        if let Ok(Err(error)) = unseen.await {
            if !std::mem::replace(blind, true) {
                let seconds = look.as_secs();
                warn!(%error, "the registration cannot be watched, and is looked at every {seconds} s");
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

    /// Looks, and makes it what it should be; `always` writes even where nothing differs, so that the fields are ours. None if
    /// somebody took it back.
    async fn reconcile(&mut self, always: bool) -> Result<Option<Found>, RegistrationError> {
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
        let found = found.map(|found| serde_json::to_value(found).expect("an object of the API always serialises"));

        let ours = self.document(None);
        let there = found.as_ref().map(|found| drift::bundles(&ours, found)).unwrap_or_default();
        let bundle = wanted.bundle.as_ref().map(|bundle| self.with_strangers(bundle, &there));
        // Without a word about it, it stays as others made it.
        let trusted = wanted.bundle.as_ref().is_none_or(|bundle| there.iter().all(|there| there.holds(bundle)));
        let overdue = bundle.as_ref().is_some_and(|bundle| there.iter().any(|there| !bundle.holds(there)));
        let changed = match &found {
            None => Some("all of it".to_owned()),
            Some(found) => drift::first(&ours, found).or_else(|| (!trusted).then(|| "caBundle".to_owned())),
        };
        let known = *self.granted.borrow() == wanted.number;
        let mut version = version;
        if always || changed.is_some() || overdue {
            version = self.write(&api, &self.document(bundle.as_ref()), found.as_ref()).await?;
        }
        if found.is_some() && !trusted {
            sleep(self.timing.settle).await;
        }
        self.granted.send_replace(wanted.number);
        Ok(Some(Found { changed: changed.filter(|_| known && !always), version }))
    }

    /// Applies the document; where others' fields stand in its way, puts it. Gives the version.
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
            // A field of somebody else's that must not stand beside one of ours.
            Err(kube::Error::Api(status)) if status.code == 422 && found.is_some() => {
                let found = api.get(name).await.map_err(|error| self.failed("read", error))?;
                self.put(api, document, found).await?
            }
            Err(error) => return Err(self.failed("apply", error)),
        };
        let stored = serde_json::to_value(&applied).expect("an object of the API always serialises");
        let applied = match drift::first(document, &stored) {
            None => applied,
            Some(_) => self.put(api, document, applied).await?,
        };
        Ok(applied.resource_version().unwrap_or_default())
    }

    async fn put(
        &self,
        api: &Api<MutatingWebhookConfiguration>,
        document: &Value,
        found: MutatingWebhookConfiguration,
    ) -> Result<MutatingWebhookConfiguration, RegistrationError> {
        let version = found.resource_version();
        let found = serde_json::to_value(found).expect("an object of the API always serialises");
        // Not a replacement, which would want a right that nothing else here wants.
        let list = &drift::put(document, found)["webhooks"];
        let patch = json!({ "metadata": { "resourceVersion": version }, "webhooks": list });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        api.patch(&self.config.name, &params, &Patch::Merge(patch)).await.map_err(|error| self.failed("patch", error))
    }

    fn with_strangers(&mut self, wanted: &CaBundle, there: &[CaBundle]) -> CaBundle {
        let mut found = CaBundle::default();
        there.iter().for_each(|there| found.extend(there.clone()));
        let mut bundle = wanted.clone();
        bundle.extend(self.strangers.tolerated(&found, wanted, Instant::now(), self.timing.stay));
        bundle
    }

    fn document(&self, bundle: Option<&CaBundle>) -> Value {
        let registration = WebhookRegistration::new(self.config.clone(), bundle.map(CaBundle::to_pem));
        registration.document(self.cluster.namespace())
    }

    fn failed(&self, verb: &'static str, error: kube::Error) -> RegistrationError {
        RegistrationError::failed(verb, &self.config.name, error)
    }
}
