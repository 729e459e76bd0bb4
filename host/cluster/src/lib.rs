//! The Kubernetes API as this process reaches it: [`Cluster`], a client and the namespace that the process belongs to.
//!
//! It is made only by what needs it: a process that neither registers itself nor keeps certificates asks the API server nothing.

pub mod certs;
pub mod events;
pub mod follow;
pub mod registration;
mod secrets;

use std::time::Duration;

use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::{Api, Client, Config, Resource};

pub use self::secrets::ClusterReader;

/// Longer than an API server that answers at all takes for one object.
const ANSWER: Duration = Duration::from_secs(15);

/// Longer than a watch is asked to last.
const WATCH: Duration = Duration::from_secs(150);

/// A client, and where this process belongs.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    /// For answers that take as long as there is nothing to say.
    watching: Client,
    namespace: String,
}

/// What the API server said, or why it said nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    #[error("no way to reach the API server: name a file with KUBECONFIG, or run in a pod with a service account")]
    Unknown(#[source] kube::config::InferConfigError),
    #[error("{message} (HTTP status {code})")]
    Refused { code: u16, message: String },
    /// What the parser says would repeat parts of the answer, which may be a Secret.
    #[error("the API server's answer is not what was asked for")]
    Unreadable,
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
}

// === impl Cluster ===

impl Cluster {
    /// The cluster of `KUBECONFIG`, or the one that this process runs in. Nothing is asked of it yet.
    ///
    /// The namespace is `POD_NAMESPACE`, or what the file or the pod's service account says.
    pub async fn connect() -> Result<Self, ClusterError> {
        let mut config = Config::infer().await.map_err(ClusterError::Unknown)?;
        config.connect_timeout = Some(ANSWER);
        config.read_timeout = Some(ANSWER);
        config.reset_reader_on_write = true;
        // The chart of Flyte and ours set it by the downward API.
        let namespace = std::env::var_os("POD_NAMESPACE").and_then(|name| name.into_string().ok());
        let namespace = namespace.filter(|name| !name.is_empty()).unwrap_or(config.default_namespace.clone());
        let mut watching = config.clone();
        watching.read_timeout = Some(WATCH);
        Ok(Self { client: Client::try_from(config)?, watching: Client::try_from(watching)?, namespace })
    }

    /// Where this process belongs.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name that the API server calls a Service of this namespace by.
    pub fn host(&self, service: &str) -> String {
        format!("{service}.{}.svc", self.namespace)
    }

    /// Objects of a kind in the process' own namespace.
    pub fn namespaced<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Objects of a kind that belongs to no namespace.
    pub fn cluster_wide<K>(&self) -> Api<K>
    where
        K: Resource<Scope = ClusterResourceScope>,
        K::DynamicType: Default,
    {
        Api::all(self.client.clone())
    }

    /// The same, for watches.
    pub fn watching(&self) -> Self {
        Self { client: self.watching.clone(), ..self.clone() }
    }
}

// === impl ClusterError ===

impl From<kube::Error> for ClusterError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                let kube::core::Status { code, message, .. } = *status;
                Self::Refused { code, message }
            }
            kube::Error::SerdeError(_) => Self::Unreadable,
            // The source of what the client says is what matters, and it does not print it.
            other => {
                let mut reason: &dyn std::error::Error = &other;
                while let Some(source) = reason.source() {
                    reason = source;
                }
                Self::Unreachable(reason.to_string())
            }
        }
    }
}
