//! A certificate pair in a Secret: [`CertIssuer::ensure`] keeps a usable pair and issues a missing
//! one.
//!
//! Several processes may do this concurrently: each replaces only the version that it has read, so
//! all get the same pair. A renewal leaves the old CA in the bundle, for processes that still serve
//! the old pair.

use std::time::{Duration, SystemTime};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};

use super::{
    condition::{Condition, StoredPair},
    names::{CA_FILE, CERTIFICATE_FILE, KEY_FILE},
    pair::{CertificatePair, CertificateSubject},
};
use crate::{
    ca_bundle::CaBundle,
    client::{Cluster, ClusterError},
};

/// Attempts to write the Secret while other processes change it. With a few replicas, the second
/// one succeeds.
const ATTEMPTS: usize = 5;

/// Bounds of the time between two checks of the Secret, which is a small part of a pair's validity.
const SHORTEST_PERIOD: Duration = Duration::from_secs(1);
const LONGEST_PERIOD: Duration = Duration::from_secs(60);

/// Maintains a Secret with a pair for a Service.
#[derive(Clone, Debug)]
pub struct CertIssuer {
    /// The Service that the API server calls, in the process's namespace.
    pub service: String,
    /// The name of the Secret.
    pub secret: String,
    /// The validity of an issued pair. It is renewed after two thirds of this time.
    pub validity: Duration,
}

/// The pair in the Secret, and the action that was taken.
pub struct Ensured {
    /// The pair.
    pub pair: CertificatePair,
    /// The action.
    pub outcome: IssueOutcome,
}

/// Action of [`CertIssuer::ensure`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssueOutcome {
    /// The Secret contained a usable pair.
    Kept,
    /// The Secret did not exist.
    Created,
    /// The stored pair was not usable, for this reason.
    Replaced(String),
    /// The stored pair was about to expire.
    Renewed,
}

/// Errors of [`CertIssuer::ensure`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The API server refused a request, or is unreachable.
    #[error("cannot {verb} secret {secret}")]
    Api {
        /// The action, such as `read`.
        verb: &'static str,
        /// The Secret, as `NAMESPACE/NAME`.
        secret: String,
        /// The cause.
        source: ClusterError,
    },
    /// The pair must be replaced, but the Secret is immutable.
    #[error("secret {secret} is immutable, and {reason}; delete the secret and try again")]
    Immutable {
        /// The Secret, as `NAMESPACE/NAME`.
        secret: String,
        /// The problem of the stored pair.
        reason: String,
    },
    /// Every write conflicted with that of another process.
    #[error("secret {secret} was changed by another client before each of {ATTEMPTS} writes; try again")]
    Contended {
        /// The Secret, as `NAMESPACE/NAME`.
        secret: String,
    },
    /// The pair cannot be issued.
    #[error("cannot issue a certificate")]
    Certificate(#[from] rcgen::Error),
}

// === impl CertIssuer ===

impl CertIssuer {
    /// Ensures that the Secret contains a usable pair.
    ///
    /// # Errors
    ///
    /// The API server refuses a request, or the Secret must not be changed.
    pub async fn ensure(&self, cluster: &Cluster, now: SystemTime) -> Result<Ensured, IssueError> {
        let api: Api<Secret> = cluster.namespaced();
        for _ in 0..ATTEMPTS {
            let found = api.get_opt(&self.secret).await.map_err(|error| self.failed("read", cluster, error))?;
            let outcome = self.outcome(found.as_ref(), cluster, now);
            if let (IssueOutcome::Kept, Some(secret)) = (&outcome, &found) {
                return Ok(Ensured { pair: read(secret), outcome });
            }
            let renewed = found.as_ref().filter(|_| outcome == IssueOutcome::Renewed);
            let pair = self.issue(renewed, cluster, now)?;
            let written = match found {
                Some(old) => {
                    self.ensure_mutable(&old, &outcome, cluster)?;
                    api.replace(&self.secret, &PostParams::default(), &with(old, &pair)).await
                }
                None => api.create(&PostParams::default(), &with(self.empty(), &pair)).await,
            };
            match written {
                Ok(_) => return Ok(Ensured { pair, outcome }),
                // Another process created, changed or deleted it meanwhile; its pair may be usable.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => return Err(self.failed("write", cluster, error)),
            }
        }
        Err(IssueError::Contended { secret: self.name(cluster) })
    }

    /// The time between two checks of the Secret.
    pub(super) fn check_period(&self) -> Duration {
        (self.validity / 60).clamp(SHORTEST_PERIOD, LONGEST_PERIOD)
    }

    /// Whether the Secret exists.
    ///
    /// # Errors
    ///
    /// The API server refuses the request, or is unreachable.
    pub(super) async fn exists(&self, cluster: &Cluster) -> Result<bool, IssueError> {
        let api: Api<Secret> = cluster.namespaced();
        let found = api.get_opt(&self.secret).await.map_err(|error| self.failed("read", cluster, error))?;
        Ok(found.is_some())
    }

    /// Creates the Secret with a pair, and returns whether this process did. Another replica may
    /// have created it meanwhile.
    ///
    /// # Errors
    ///
    /// The API server refuses the request, or is unreachable.
    pub(super) async fn create(&self, cluster: &Cluster, pair: &CertificatePair) -> Result<bool, IssueError> {
        let api: Api<Secret> = cluster.namespaced();
        match api.create(&PostParams::default(), &with(self.empty(), pair)).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(self.failed("write", cluster, error)),
        }
    }

    /// Returns the action that the stored pair requires.
    fn outcome(&self, secret: Option<&Secret>, cluster: &Cluster, now: SystemTime) -> IssueOutcome {
        let Some(secret) = secret else { return IssueOutcome::Created };
        match stored(secret).condition(&cluster.host(&self.service), now, self.validity / 3) {
            Condition::Unusable(reason) => IssueOutcome::Replaced(reason),
            Condition::Due => IssueOutcome::Renewed,
            Condition::Good => IssueOutcome::Kept,
        }
    }

    /// Issues a pair. Its bundle also contains the CA of `old`.
    fn issue(&self, old: Option<&Secret>, cluster: &Cluster, now: SystemTime) -> Result<CertificatePair, IssueError> {
        let subject = CertificateSubject::service(&self.service, cluster.namespace(), self.validity);
        let mut pair = CertificatePair::issue(subject, now)?;
        if let Some(old) = old {
            // The newest CA is the first; the others have expired.
            let bundle = CaBundle::parse(&read(old).ca_pem);
            pair.ca_pem.extend(bundle.each_pem().next());
        }
        Ok(pair)
    }

    fn ensure_mutable(&self, old: &Secret, outcome: &IssueOutcome, cluster: &Cluster) -> Result<(), IssueError> {
        if old.immutable != Some(true) {
            return Ok(());
        }
        let reason = match outcome {
            IssueOutcome::Replaced(reason) => reason.clone(),
            _ => format!("its {CERTIFICATE_FILE} expires soon"),
        };
        Err(IssueError::Immutable { secret: self.name(cluster), reason })
    }

    fn empty(&self) -> Secret {
        let metadata = ObjectMeta { name: Some(self.secret.clone()), ..ObjectMeta::default() };
        Secret { metadata, type_: Some("Opaque".to_owned()), ..Secret::default() }
    }

    fn failed(&self, verb: &'static str, cluster: &Cluster, error: kube::Error) -> IssueError {
        IssueError::Api { verb, secret: self.name(cluster), source: error.into() }
    }

    fn name(&self, cluster: &Cluster) -> String {
        format!("{}/{}", cluster.namespace(), self.secret)
    }
}

// === impl IssueOutcome ===

impl std::fmt::Display for IssueOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kept => f.write_str("kept"),
            Self::Created => f.write_str("created"),
            Self::Replaced(reason) => write!(f, "replaced, because {reason}"),
            Self::Renewed => f.write_str("renewed"),
        }
    }
}

fn stored(secret: &Secret) -> StoredPair<'_> {
    let file = |name| Some(secret.data.as_ref()?.get(name)?.0.as_slice());
    StoredPair { ca: file(CA_FILE), certificate: file(CERTIFICATE_FILE), key: file(KEY_FILE) }
}

/// Reads the pair of a Secret. A missing key becomes an empty text.
fn read(secret: &Secret) -> CertificatePair {
    let stored = stored(secret);
    CertificatePair { ca_pem: text(stored.ca), certificate_pem: text(stored.certificate), key_pem: text(stored.key) }
}

fn text(pem: Option<&[u8]>) -> String {
    String::from_utf8_lossy(pem.unwrap_or_default()).into_owned()
}

/// Stores a pair in a Secret, and keeps the Secret's other keys.
fn with(mut secret: Secret, pair: &CertificatePair) -> Secret {
    let data = secret.data.get_or_insert_default();
    for (name, pem) in [(CA_FILE, &pair.ca_pem), (CERTIFICATE_FILE, &pair.certificate_pem), (KEY_FILE, &pair.key_pem)] {
        data.insert(name.to_owned(), ByteString(pem.clone().into_bytes()));
    }
    secret
}
