//! How values reach pods: the keys `delivery` and `acceptPlaintext` of an injector and of the
//! global secrets, and the section `delivery` about the Secrets that carry values.

use std::time::Duration;

use ampoule_core::{Delivery, is_dns_label};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ComponentSource, Config, ConfigError, InjectorConfig, PodComponentSource, PodFetchConfig,
    conventions::mirror,
    section::{seconds, section},
};

mirror! {
    /// The way in which values that were fetched reach a pod. A reference to an existing Secret is
    /// no value.
    #[derive(Default)]
    pub(crate) enum DeliveryName for Delivery {
        /// Values are refused.
        Reference = Reference,
        /// The pod fetches them: the webhook adds an init container with `delivery.pod.image`,
        /// which runs the plugin with the identity of the pod. The webhook never has the values.
        Pod = Pod,
        /// Through an immutable Secret that the webhook creates in the pod's namespace. The
        /// webhook's role must allow `create` and `patch` on Secrets there, and `list` and `delete`
        /// to remove them.
        #[default]
        Secret = Secret,
        /// As text in the pod's specification, which everyone with read access to the pod can
        /// read. Requires `acceptPlaintext`. Files cannot be delivered this way.
        Inline = Inline,
    }
}

/// How values reach pods: the Secrets that carry them, with `delivery: secret`, and the program
/// that fetches them, with `delivery: pod`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("x-takes-effect" = "restart"))]
pub struct DeliveryConfig {
    /// Namespaces in which the webhook creates Secrets; pods of other namespaces are refused if
    /// they need one. If the list is empty, every namespace, which needs a ClusterRole.
    #[serde(deserialize_with = "section")]
    pub namespaces: Vec<String>,
    /// Time after which a Secret is deleted that no pod refers to, in seconds. Must be longer than
    /// the creation of a pod takes.
    #[serde(rename = "graceSeconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 10, max = 604_800))]
    pub grace: Duration,
    /// Interval of the search for Secrets that no pod refers to, in seconds. One replica searches.
    #[serde(rename = "sweepIntervalSeconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 1, max = 86_400))]
    pub sweep_interval: Duration,
    /// The values that pods fetch, with `delivery: pod`.
    #[serde(deserialize_with = "section")]
    pub pod: PodFetchConfig,
    /// Whether an injector with `delivery: inline` may need an image pull secret, which is always a
    /// Secret. The chart grants the rights for Secrets then too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pull_secrets: bool,
}

// === impl DeliveryName ===

impl DeliveryName {
    /// Checks that an admin accepted plaintext. `key` is that of the section with both keys.
    pub(crate) fn check(self, accept_plaintext: bool, key: &str) -> Result<Delivery, ConfigError> {
        let at = |part: &str| if key.is_empty() { part.to_owned() } else { format!("{key}.{part}") };
        match (self, accept_plaintext) {
            (Self::Inline, false) => {
                let reason = "inline writes values into the pod's specification, which everyone with read access to \
                              the pod can read; use secret, or set acceptPlaintext: true";
                Err(ConfigError::at(at("delivery"), reason))
            }
            (Self::Reference | Self::Pod | Self::Secret, true) => {
                Err(ConfigError::at(at("acceptPlaintext"), "has no effect without delivery: inline"))
            }
            _ => Ok(self.into()),
        }
    }
}

// === impl DeliveryConfig ===

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            grace: Duration::from_secs(3600),
            sweep_interval: Duration::from_secs(300),
            pod: PodFetchConfig::default(),
            pull_secrets: false,
        }
    }
}

impl DeliveryConfig {
    pub(crate) fn check(self) -> Result<Self, ConfigError> {
        for (i, namespace) in self.namespaces.iter().enumerate() {
            if !is_dns_label(namespace) {
                let reason = format!("{namespace:?} is not a valid name of a namespace");
                return Err(ConfigError::at(format!("delivery.namespaces[{i}]"), reason));
            }
        }
        self.pod.check()?;
        Ok(self)
    }

    /// Whether the webhook creates Secrets in a namespace.
    #[must_use]
    pub fn covers(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|covered| covered == namespace)
    }
}

// === impl InjectorConfig ===

impl InjectorConfig {
    /// Whether its component is delivered to pods in ConfigMaps.
    #[must_use]
    pub fn delivers_component(&self, pods: &PodFetchConfig) -> bool {
        self.delivery == Delivery::Pod
            && pods.components.source == PodComponentSource::ConfigMap
            && !matches!(self.component, ComponentSource::Builtin(_))
    }
}

// === impl Config ===

impl Config {
    /// Whether an injector of the configuration, or one that a ConfigMap can add, delivers values
    /// in Secrets. None does if answers must not contain values.
    ///
    /// The chart grants the rights under the same condition (`ampoule.deliversSecrets`).
    #[must_use]
    pub fn delivers_secrets(&self) -> bool {
        let global = self.global_secrets.as_ref().is_some_and(|global| global.delivery == Delivery::Secret);
        let reads_and_delivers = |injector: &InjectorConfig| {
            let needs_secrets = match injector.delivery {
                Delivery::Reference | Delivery::Pod => false,
                Delivery::Secret => true,
                Delivery::Inline => self.delivery.pull_secrets,
            };
            needs_secrets && injector.grants.first_that_reads().is_some()
        };
        self.server.clients.allow_values()
            && (global || self.config_maps || self.injectors.iter().any(reads_and_delivers))
    }

    /// Whether an injector of the configuration, or one that a ConfigMap can add, has its component
    /// delivered to pods in ConfigMaps.
    ///
    /// The chart grants the rights under the same condition (`ampoule.deliversComponents`).
    #[must_use]
    pub fn delivers_components(&self) -> bool {
        let pods = &self.delivery.pod;
        self.server.clients.allow_values()
            && pods.components.source == PodComponentSource::ConfigMap
            && (self.config_maps || self.injectors.iter().any(|injector| injector.delivers_component(pods)))
    }

    /// The key of the first part that writes values into the specification of pods.
    #[must_use]
    pub fn first_plaintext(&self) -> Option<String> {
        if self.global_secrets.as_ref().is_some_and(|global| global.delivery == Delivery::Inline) {
            return Some("globalSecrets.delivery".to_owned());
        }
        let position = self.injectors.iter().position(|injector| injector.delivery == Delivery::Inline)?;
        Some(format!("injectors[{position}].delivery"))
    }
}
