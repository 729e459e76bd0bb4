//! One comparison of the stored registration with the desired one, and the write that it needs.
//!
//! `registration.create` decides which fields the process writes: all of them, or the `caBundle`.

use std::time::Instant;

use serde_json::Value;
use tokio::time::sleep;

use super::RegistrationKeeper;
use crate::{
    ca_bundle::CaBundle,
    registration::{
        api_service::{self, ApiServiceRegistration},
        document::{ReviewRoute, WebhookRegistration},
        drift,
        error::RegistrationError,
        object::{FIELD_MANAGER, RegistrationObject, StoredRegistration},
    },
};

/// Result of a reconciliation.
pub(super) enum Reconciled {
    /// The object has its desired state.
    Done {
        /// The field that another client changed; `None` if only the request for trust changed.
        changed: Option<String>,
        /// The object's version afterwards.
        version: String,
    },
    /// An object is missing or has no webhook of this process, and the process does not create it.
    Waiting {
        obstacle: RegistrationError,
        /// The object's version; empty if it does not exist.
        version: String,
    },
    /// The object was uninstalled.
    Uninstalled,
}

/// The stored state, and its difference from the requested trust.
struct Comparison {
    /// The bundle to write; `None` leaves the stored one.
    bundle: Option<CaBundle>,
    /// Whether the API server trusts every requested CA.
    trusted: bool,
    /// Whether it trusts a CA that is no longer requested.
    overdue: bool,
}

// === impl RegistrationKeeper ===

impl RegistrationKeeper {
    /// Reads the object and writes its desired state. `first` writes the whole object even without
    /// a difference, so that this program owns the fields.
    pub(super) async fn reconcile(&mut self, first: bool) -> Result<Reconciled, RegistrationError> {
        let requested = self.wishes.borrow_and_update().clone();
        let object = RegistrationObject::new(&self.cluster, &self.config.name);
        let found = object.read().await?;
        let version = found.as_ref().map(|found| found.version.clone()).unwrap_or_default();
        let reconciled = if self.config.create {
            self.reconcile_whole(&object, found, requested.bundle.as_ref(), requested.number, first).await
        } else {
            self.reconcile_ca_bundle(&object, found, requested.bundle.as_ref(), requested.number).await
        };
        match reconciled {
            Err(obstacle) if obstacle.is_missing_object() => Ok(Reconciled::Waiting { obstacle, version }),
            Ok(Reconciled::Done { changed, version }) => {
                self.granted.send_replace(requested.number);
                Ok(Reconciled::Done { changed, version })
            }
            other => other,
        }
    }

    /// Writes every field of the object.
    async fn reconcile_whole(
        &mut self,
        object: &RegistrationObject,
        found: Option<StoredRegistration>,
        requested: Option<&CaBundle>,
        number: u64,
        first: bool,
    ) -> Result<Reconciled, RegistrationError> {
        let mark = found.as_ref().and_then(|found| found.mark.clone());
        if first {
            self.old_mark = mark;
        } else if mark.is_some() && mark != self.old_mark {
            return Ok(Reconciled::Uninstalled);
        }
        let desired = self.document(None);
        let stored = match self.route {
            ReviewRoute::Direct => found.as_ref().map(|found| drift::ca_bundles(&desired, &found.document)),
            ReviewRoute::Aggregated => Some(vec![self.api_service().stored_bundle().await?.unwrap_or_default()]),
        };
        let Comparison { bundle, trusted, overdue } = self.compare(requested, &stored.unwrap_or_default());
        let changed = match &found {
            None => Some("all fields".to_owned()),
            Some(found) => {
                drift::first_difference(&desired, &found.document).or((!trusted).then(|| "caBundle".to_owned()))
            }
        };
        let exists = found.is_some();
        let mut version = found.map(|found| found.version).unwrap_or_default();
        if first || changed.is_some() || overdue {
            if self.route == ReviewRoute::Aggregated {
                self.api_service().write(FIELD_MANAGER, &self.config, bundle.as_ref()).await?;
            }
            version = object.apply(&self.document(bundle.as_ref()), exists).await?;
        }
        if exists && !trusted {
            sleep(self.timing.settle).await;
        }
        let changed = changed.filter(|_| self.is_granted(number) && !first);
        Ok(Reconciled::Done { changed, version })
    }

    /// Writes the `caBundle`, and reports a difference in another field.
    async fn reconcile_ca_bundle(
        &mut self,
        object: &RegistrationObject,
        found: Option<StoredRegistration>,
        requested: Option<&CaBundle>,
        number: u64,
    ) -> Result<Reconciled, RegistrationError> {
        let found = found.ok_or_else(|| RegistrationError::Absent { name: self.config.name.clone() })?;
        let StoredRegistration { document: found, mut version, .. } = found;
        let desired = self.document(None);
        let stored = self.stored_bundles(&desired, &found).await?;
        self.report_difference(drift::first_difference(&desired, &found));
        let Comparison { bundle, trusted, overdue } = self.compare(requested, &stored);
        if let Some(bundle) = bundle.filter(|_| !trusted || overdue) {
            match self.route {
                ReviewRoute::Direct => version = object.set_ca_bundle(&desired, &found, &bundle).await?,
                ReviewRoute::Aggregated => self.api_service().set_ca_bundle(FIELD_MANAGER, &bundle).await?,
            }
        }
        if !trusted {
            sleep(self.timing.settle).await;
        }
        let changed = (!trusted && self.is_granted(number)).then(|| "caBundle".to_owned());
        Ok(Reconciled::Done { changed, version })
    }

    /// Returns the bundles with which the API server verifies the webhook's certificate.
    async fn stored_bundles(&self, desired: &Value, found: &Value) -> Result<Vec<CaBundle>, RegistrationError> {
        let bundles = drift::ca_bundles(desired, found);
        if bundles.is_empty() {
            let (name, webhook) = (self.config.name.clone(), self.config.webhook_name.clone());
            return Err(RegistrationError::NoWebhook { name, webhook });
        }
        if self.route == ReviewRoute::Direct {
            return Ok(bundles);
        }
        let bundle = self.api_service().stored_bundle().await?;
        let bundle = bundle.ok_or_else(|| RegistrationError::NoApiService { name: api_service::name() })?;
        Ok(vec![bundle])
    }

    /// Compares the requested trust with the stored bundles. Without a request, the stored ones
    /// stay.
    fn compare(&mut self, requested: Option<&CaBundle>, stored: &[CaBundle]) -> Comparison {
        let bundle = requested.map(|requested| self.with_foreign_cas(requested, stored));
        let trusted = requested.is_none_or(|requested| stored.iter().all(|stored| stored.contains_all(requested)));
        let overdue = bundle.as_ref().is_some_and(|bundle| stored.iter().any(|stored| !bundle.contains_all(stored)));
        Comparison { bundle, trusted, overdue }
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

    /// Whether an earlier reconciliation granted this request, so that a difference is a change by
    /// another client.
    fn is_granted(&self, number: u64) -> bool {
        *self.granted.borrow() == number
    }

    fn api_service(&self) -> ApiServiceRegistration {
        ApiServiceRegistration::new(&self.cluster)
    }

    fn document(&self, bundle: Option<&CaBundle>) -> Value {
        let registration = WebhookRegistration::new(self.config.clone(), self.route, bundle.map(CaBundle::to_pem))
            .with_match_conditions(self.has_match_conditions);
        registration.document(self.cluster.namespace())
    }
}
