//! Maintenance of the registration while the process runs: [`RegistrationKeeper`].
//!
//! It watches the object, and reads it every minute if it may not watch. It restores and counts
//! changes by other clients. When the process ends, the object stays: other replicas still serve.
//!
//! With `registration.create: false` it waits for an object that does not exist, restores only the
//! `caBundle`, and reports a difference in another field in the log and in a metric.

mod reconcile;

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

use self::reconcile::Reconciled;
use super::{
    document::ReviewRoute,
    error::RegistrationError,
    foreign_cas::ForeignCas,
    trust::{Trust, TrustRequest, TrustTiming},
};
use crate::{
    client::Cluster,
    follow::{ObjectFollower, ObjectSelector},
};
use ampoule_config::RegistrationConfig;
use ampoule_net::backoff::Backoff;
use ampoule_telemetry::{metrics::Metrics, readiness::ReadinessGate};

/// Time between two reads without an event of the watch.
const LOOK: Duration = Duration::from_secs(60);
/// The same while an object does not exist: an installation creates all objects within seconds, and
/// the process watches only one of them.
const LOOK_FOR_OBJECT: Duration = Duration::from_secs(5);
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
    /// Whether the API server knows `matchConditions`. Only with `registration.create`.
    has_match_conditions: bool,
    /// The difference or the missing object that the log reported last, so that it is reported
    /// once.
    reported: Option<String>,
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
            has_match_conditions: false,
            reported: None,
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
    /// With `registration.create: false`, it waits for the object. The gate has the reason.
    ///
    /// # Errors
    ///
    /// The API server refuses a request.
    pub async fn start(&mut self, gate: &ReadinessGate) -> Result<(), RegistrationError> {
        if self.config.create {
            self.has_match_conditions = self.cluster.has_match_conditions().await;
        }
        let mut follower = self.follower();
        while let Reconciled::Waiting { obstacle, version } = self.reconcile(true).await? {
            gate.unready(obstacle.to_string());
            self.report_obstacle(&obstacle);
            self.wait(&mut follower, &version, LOOK_FOR_OBJECT).await;
        }
        let create = self.config.create;
        info!(name = self.config.name, namespace = self.cluster.namespace(), create, "registered");
        Ok(())
    }

    /// Maintains the object until it is uninstalled. Never returns.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut follower = self.follower();
        loop {
            match self.reconcile(false).await {
                Ok(Reconciled::Uninstalled) => {
                    info!(name = self.config.name, "the registration was uninstalled and is no longer maintained");
                    return std::future::pending().await;
                }
                Ok(Reconciled::Waiting { obstacle, version }) => {
                    self.report_obstacle(&obstacle);
                    self.wait(&mut follower, &version, LOOK_FOR_OBJECT).await;
                }
                Ok(Reconciled::Done { changed: None, version }) => {
                    backoff.reset();
                    self.wait(&mut follower, &version, LOOK).await;
                }
                Ok(Reconciled::Done { changed: Some(changed), .. }) => {
                    let name = &self.config.name;
                    warn!(name, changed, "restored the MutatingWebhookConfiguration after a change by another client");
                    self.metrics.registration_repaired();
                    self.rest(&mut backoff).await;
                }
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    warn!(error = format!("{error:#}"), "cannot reconcile the registration");
                    self.rest(&mut backoff).await;
                }
            }
        }
    }

    fn follower(&self) -> ObjectFollower<MutatingWebhookConfiguration> {
        let api = self.cluster.watching().cluster_wide();
        ObjectFollower::new(api, ObjectSelector::Name(self.config.name.clone()))
    }

    /// Logs why the process waits, once for each reason.
    fn report_obstacle(&mut self, obstacle: &RegistrationError) {
        self.metrics.set_registration_differs(true);
        let obstacle = obstacle.to_string();
        if self.is_new(&obstacle) {
            warn!(reason = obstacle, "the registration is not complete; the API server cannot call this webhook");
        }
    }

    /// Logs that a field differs from the configuration, once for each field.
    fn report_difference(&mut self, field: Option<String>) {
        self.metrics.set_registration_differs(field.is_some());
        let Some(field) = field else {
            self.reported = None;
            return;
        };
        if self.is_new(&field) {
            let name = &self.config.name;
            warn!(
                name,
                field,
                "the MutatingWebhookConfiguration differs from the configuration; the process does not change this \
                 field (registration.create is false)"
            );
        }
    }

    fn is_new(&mut self, report: &str) -> bool {
        let is_new = self.reported.as_deref() != Some(report);
        self.reported = Some(report.to_owned());
        is_new
    }

    /// Returns when the object or the requested trust may have changed, or it is time to read
    /// again.
    async fn wait(
        &mut self,
        follower: &mut ObjectFollower<MutatingWebhookConfiguration>,
        version: &str,
        look: Duration,
    ) {
        let Self { timing, wishes, foreign_cas, blind, .. } = self;
        let look = if foreign_cas.is_empty() { look } else { look.min(timing.stay) };
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
}
