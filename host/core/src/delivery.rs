//! How a fetched value reaches a container: [`Delivery`], and the Secrets that carry values.
//!
//! A value must not be in a pod's specification, which everyone with read access to the pod can
//! read. By default, the host therefore writes the values of an injector into one immutable Secret,
//! and the pod refers to it. The name of the Secret depends on its content: two reviews and two
//! replicas write the same object, and a changed value has a new name. With
//! [`PodFetching`], the pod fetches the values itself, and the host never has them.

mod change_report;
mod component;
mod document;
mod fetch;
mod fetch_containers;
mod name;
mod plan;
mod refresh;
mod versions;

use std::{collections::BTreeMap, fmt, time::Duration};

use async_trait::async_trait;

pub use self::{
    change_report::ChangeReport,
    component::{ComponentVolume, ShippedComponent},
    document::{
        FetchDocument, FetchInjector, FetchedFile, FetchedPart, FetchedTemplate, FetchedVariable, PromisedValue,
    },
    fetch::{FetchRecipe, FetchToken, PodFetching, VariableDelivery},
    fetch_containers::{IMAGE_COMPONENTS, SHIPPED_DIRECTORY, TOKENS_DIRECTORY, VARIABLES_PATH, VARIABLES_VOLUME},
    name::NamingKey,
    versions::{
        PodVersions, PromiseOf, REPLACED_UNTIL_ANNOTATION, RESTARTED_FOR_ANNOTATION, ROLLOUT_ANNOTATION,
        VERSIONS_ANNOTATION,
    },
};
pub(crate) use self::{
    fetch::{FetchEdits, FetchPlan},
    plan::DeliveryPlan,
    refresh::REFRESH_ANNOTATION,
};
use crate::{edit::SecretValue, generated_name::GeneratedName};

/// Fetches values again, to find pods with old ones.
#[async_trait]
pub trait CurrentValues: Send + Sync {
    /// Fetches the value of a promise from the store, not from a cache; `None` if the injector is
    /// not loaded, or gives no value at present.
    async fn fetch(&self, promise: &PromiseOf) -> Option<CurrentValue>;
}

/// The value of a promise at present.
pub struct CurrentValue {
    /// The value.
    pub value: SecretValue,
    /// The time for which pods can still get an earlier value, from the cache of a replica.
    pub settles_in: Duration,
}

/// How the values that an injector fetches reach the pod. References to existing Secrets need no
/// delivery.
///
/// A later mode shows the value to more readers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Delivery {
    /// Values are refused.
    Reference,
    /// The pod fetches them, with its own identity.
    Pod,
    /// Through a Secret that the host creates in the pod's namespace.
    #[default]
    Secret,
    /// As text in the pod's specification.
    Inline,
}

/// Writes the Secrets that carry values.
#[async_trait]
pub trait DeliveryStore: Send + Sync {
    /// Returns the key of the names, which all replicas share. A dry run does not create it; before
    /// the first delivery, its names are random.
    ///
    /// # Errors
    ///
    /// The key cannot be read.
    async fn naming_key(&self, dry_run: bool) -> Result<NamingKey, DeliveryError>;

    /// Returns the same key for the seal of a pod that gets no Secret.
    ///
    /// # Errors
    ///
    /// The key cannot be read.
    async fn sealing_key(&self, dry_run: bool) -> Result<NamingKey, DeliveryError> {
        self.naming_key(dry_run).await
    }

    /// Whether pods get the annotation with the versions of their values.
    fn records_versions(&self) -> bool {
        true
    }

    /// Checks what is known of a Secret without a request to the cluster.
    ///
    /// # Errors
    ///
    /// The Secret must not be written.
    fn check(&self, secret: &DeliveredSecret) -> Result<(), DeliveryError> {
        let _ = secret;
        Ok(())
    }

    /// Ensures that the Secret exists, and that nothing deletes it before the pod exists.
    ///
    /// # Errors
    ///
    /// The Secret cannot be written.
    async fn ensure(&self, secret: &DeliveredSecret) -> Result<(), DeliveryError>;

    /// Returns those of these Secrets that do not exist. A Secret whose existence is not known is
    /// not among them.
    async fn missing(&self, namespace: &str, names: Vec<String>) -> Vec<String> {
        let _ = (namespace, names);
        Vec::new()
    }

    /// Checks what is known of a ConfigMap without a request to the cluster.
    ///
    /// # Errors
    ///
    /// The ConfigMap must not be written.
    fn check_component(&self, namespace: &str, component: &ShippedComponent) -> Result<(), DeliveryError> {
        let _ = (namespace, component);
        Ok(())
    }

    /// Ensures that a namespace has the ConfigMap with a component.
    ///
    /// # Errors
    ///
    /// The ConfigMap cannot be written.
    async fn ensure_component(&self, namespace: &str, component: &ShippedComponent) -> Result<(), DeliveryError>;
}

/// A Secret that carries values to the containers of a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveredSecret {
    /// The namespace of the pod.
    pub namespace: String,
    /// The name, which depends on the content.
    pub name: GeneratedName,
    /// The name of the injector whose values it carries.
    pub injector: String,
    /// The type.
    pub kind: DeliveredKind,
    /// The values by their key.
    pub data: BTreeMap<String, SecretValue>,
}

/// The type of a Secret that carries values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeliveredKind {
    /// Variables and files.
    Opaque,
    /// An image pull secret.
    DockerConfig,
}

/// Why values could not be delivered. The pod's author sees the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// The cluster does not allow this process to write the Secret.
    #[error("{0}")]
    Denied(String),
    /// The API server refuses the Secret for another reason, such as a quota.
    #[error("{0}")]
    Refused(String),
    /// The API server does not answer.
    #[error("{0}")]
    Unavailable(String),
}

/// The store of a process that decides without a cluster, such as `ampoule mutate`: it writes
/// nothing, and its names differ from those of a cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDelivery;

// === impl Delivery ===

impl Delivery {
    /// Returns the name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Pod => "pod",
            Self::Secret => "secret",
            Self::Inline => "inline",
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl DeliveredKind ===

impl DeliveredKind {
    /// Returns the `type` of the Secret.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opaque => "Opaque",
            Self::DockerConfig => "kubernetes.io/dockerconfigjson",
        }
    }
}

// === impl NoDelivery ===

#[async_trait]
impl DeliveryStore for NoDelivery {
    async fn naming_key(&self, _dry_run: bool) -> Result<NamingKey, DeliveryError> {
        Ok(NamingKey::new([0; NamingKey::BYTES]))
    }

    /// No process could read them: the key is not that of a cluster.
    fn records_versions(&self) -> bool {
        false
    }

    async fn ensure(&self, _secret: &DeliveredSecret) -> Result<(), DeliveryError> {
        Ok(())
    }

    async fn ensure_component(&self, _namespace: &str, _component: &ShippedComponent) -> Result<(), DeliveryError> {
        Ok(())
    }
}
