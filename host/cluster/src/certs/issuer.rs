//! The pair in its Secret: [`CertIssuer::ensure`] keeps a good one, and makes one where there is none.
//!
//! Several processes may do this at once: each writes only over what it has read, so all end up with the same pair. A pair that is
//! renewed before its end leaves its CA in the bundle, for the processes that still serve it.

use std::time::{Duration, SystemTime};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};

use super::{CA_FILE, CERTIFICATE_FILE, CertificatePair, Condition, KEY_FILE, StoredPair, Subject};
use crate::{Cluster, ClusterError, registration::CaBundle};

/// A write is tried again where somebody else was faster; with a handful of replicas the second time is the last.
const ATTEMPTS: usize = 5;

/// Keeps a Secret in the cluster that holds a pair for a Service.
#[derive(Clone, Debug)]
pub struct CertIssuer {
    /// The Service that the API server calls, in the cluster's own namespace.
    pub service: String,
    /// The Secret.
    pub secret: String,
    /// How long a pair is valid that is made here. It is renewed once two thirds of that are over.
    pub validity: Duration,
}

/// A pair that is in the Secret, and how it came there.
pub struct Ensured {
    pub pair: CertificatePair,
    pub outcome: Outcome,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A good pair was there.
    Kept,
    /// There was no Secret.
    Created,
    /// What was there did not serve, for this reason.
    Replaced(String),
    /// What was there would soon have ended.
    Renewed,
}

/// Why there is no pair.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    #[error("cannot {verb} secret {secret}")]
    Api { verb: &'static str, secret: String, source: ClusterError },
    #[error("secret {secret} is immutable, and {reason}; delete it, and run this again")]
    Immutable { secret: String, reason: String },
    #[error("secret {secret} is changed by others as fast as it is read")]
    Contended { secret: String },
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
}

// === impl CertIssuer ===

impl CertIssuer {
    /// Sees to it that the Secret holds a pair that serves.
    ///
    /// # Errors
    ///
    /// If the API server refuses, or the Secret may not be changed.
    pub async fn ensure(&self, cluster: &Cluster, now: SystemTime) -> Result<Ensured, IssueError> {
        let api: Api<Secret> = cluster.namespaced();
        let failed = |verb| move |error: kube::Error| self.failed(verb, cluster, error);
        for _ in 0..ATTEMPTS {
            let found = api.get_opt(&self.secret).await.map_err(failed("read"))?;
            let outcome = match found.as_ref().map(|secret| (secret, self.judge(secret, cluster, now))) {
                None => Outcome::Created,
                Some((_, Condition::Unusable(reason))) => Outcome::Replaced(reason),
                Some((_, Condition::Due)) => Outcome::Renewed,
                Some((secret, Condition::Good)) => return Ok(Ensured { pair: read(secret), outcome: Outcome::Kept }),
            };
            let pair = self.issue(found.as_ref().filter(|_| outcome == Outcome::Renewed), cluster, now)?;
            let written = match found {
                Some(old) => {
                    self.ensure_mutable(&old, &outcome, cluster)?;
                    api.replace(&self.secret, &PostParams::default(), &with(old, &pair)).await
                }
                None => api.create(&PostParams::default(), &with(self.empty(), &pair)).await,
            };
            match written {
                Ok(_) => return Ok(Ensured { pair, outcome }),
                // Somebody created, changed or deleted it meanwhile: theirs may do.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => return Err(failed("write")(error)),
            }
        }
        Err(IssueError::Contended { secret: self.name(cluster) })
    }

    fn judge(&self, secret: &Secret, cluster: &Cluster, now: SystemTime) -> Condition {
        stored(secret).condition(&cluster.host(&self.service), now, self.validity / 3)
    }

    /// A fresh pair; its bundle trusts the CA of `old`, too.
    fn issue(&self, old: Option<&Secret>, cluster: &Cluster, now: SystemTime) -> Result<CertificatePair, IssueError> {
        let subject = Subject::service(&self.service, cluster.namespace(), self.validity);
        let mut pair = CertificatePair::issue(subject, now)?;
        if let Some(old) = old {
            // The newest stands first; those behind it have ended by now.
            let bundle = CaBundle::parse(&read(old).ca_pem);
            pair.ca_pem.extend(bundle.each_pem().next());
        }
        Ok(pair)
    }

    fn ensure_mutable(&self, old: &Secret, outcome: &Outcome, cluster: &Cluster) -> Result<(), IssueError> {
        if old.immutable != Some(true) {
            return Ok(());
        }
        let reason = match outcome {
            Outcome::Replaced(reason) => reason.clone(),
            _ => format!("its {CERTIFICATE_FILE} will soon have expired"),
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

// === impl Outcome ===

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kept => f.write_str("kept"),
            Self::Created => f.write_str("created"),
            Self::Replaced(reason) => write!(f, "replaced, since {reason}"),
            Self::Renewed => f.write_str("renewed"),
        }
    }
}

fn stored(secret: &Secret) -> StoredPair<'_> {
    let file = |name| Some(secret.data.as_ref()?.get(name)?.0.as_slice());
    StoredPair { ca: file(CA_FILE), certificate: file(CERTIFICATE_FILE), key: file(KEY_FILE) }
}

/// What a Secret holds; empty where it holds nothing.
fn read(secret: &Secret) -> CertificatePair {
    let StoredPair { ca, certificate, key } = stored(secret);
    let text = |pem: Option<&[u8]>| String::from_utf8_lossy(pem.unwrap_or_default()).into_owned();
    CertificatePair { ca_pem: text(ca), certificate_pem: text(certificate), key_pem: text(key) }
}

/// The Secret with this pair in it; whatever else it holds stays.
fn with(mut secret: Secret, pair: &CertificatePair) -> Secret {
    let CertificatePair { ca_pem, certificate_pem, key_pem } = pair;
    let data = secret.data.get_or_insert_default();
    for (name, pem) in [(CA_FILE, ca_pem), (CERTIFICATE_FILE, certificate_pem), (KEY_FILE, key_pem)] {
        data.insert(name.to_owned(), ByteString(pem.clone().into_bytes()));
    }
    secret
}
