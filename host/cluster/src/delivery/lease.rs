//! [`SweepLease`]: lets one replica at a time search for unused Secrets, by a Lease.
//!
//! Two sweepers at once would do no harm, since every deletion names the version that it deletes;
//! the Lease avoids their work.

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::{SignedDuration, Timestamp},
};
use kube::{Api, api::PostParams};

use crate::client::{Cluster, ClusterError};

/// The name of the Lease.
pub(crate) const NAME: &str = "ampoule-delivery-sweeper";

/// The claim of this replica.
pub(super) struct SweepLease {
    api: Api<Lease>,
    holder: String,
    seconds: i32,
}

// === impl SweepLease ===

impl SweepLease {
    /// `holder` identifies this replica. A claim lasts for this time.
    pub(super) fn new(cluster: &Cluster, holder: String, seconds: i32) -> Self {
        Self { api: cluster.namespaced(), holder, seconds }
    }

    /// Whether this replica has the Lease now. Takes it if no other replica renewed it in time.
    pub(super) async fn acquire(&self) -> Result<bool, ClusterError> {
        let now = Timestamp::now();
        let written = match self.api.get_opt(NAME).await? {
            Some(lease) if self.is_held_by_other(&lease, now) => return Ok(false),
            Some(lease) => {
                // It names the version that it replaces, so that only one replica succeeds.
                let metadata = ObjectMeta { resource_version: lease.metadata.resource_version, ..named() };
                self.api.replace(NAME, &PostParams::default(), &self.claim(metadata, now)).await
            }
            None => self.api.create(&PostParams::default(), &self.claim(named(), now)).await,
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn is_held_by_other(&self, lease: &Lease, now: Timestamp) -> bool {
        let Some(spec) = &lease.spec else { return false };
        let (Some(renewed), Some(seconds)) = (&spec.renew_time, spec.lease_duration_seconds) else { return false };
        let end = renewed.0.checked_add(SignedDuration::from_secs(seconds.into()));
        spec.holder_identity.as_ref() != Some(&self.holder) && end.is_ok_and(|end| now < end)
    }

    fn claim(&self, metadata: ObjectMeta, now: Timestamp) -> Lease {
        let spec = LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: Some(self.seconds),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        };
        Lease { metadata, spec: Some(spec) }
    }
}

fn named() -> ObjectMeta {
    ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() }
}
