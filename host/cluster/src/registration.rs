//! How the API server comes to know the webhook: [`WebhookRegistration`], a `MutatingWebhookConfiguration` by server-side apply.
//!
//! Every field that matters is said, so that what another program left in it does not stay. A `caBundle` that is not ours to know
//! is left out, and so left to whoever fills it in, as cert-manager does. [`RegistrationKeeper`] applies it and keeps it.

mod bundle;
mod drift;
mod keeper;
mod trust;
mod uninstall;

use ampoule_core::TRIGGER_LABELS;
use serde_json::{Value, json};

use crate::ClusterError;
use ampoule_config::{NamespaceSelector, RegistrationConfig, WEBHOOK_PATH};

use self::bundle::Strangers;
pub use self::{
    bundle::CaBundle,
    keeper::RegistrationKeeper,
    trust::{Trust, TrustTiming},
    uninstall::remove,
};

/// Who we are to the API server, field by field.
const FIELD_MANAGER: &str = "ampoule";
/// The second webhook, for people's pods. The first one's name is configured, as it is Flyte's for Flyte.
const PEOPLE_WEBHOOK: &str = "people.ampoule.dev";

/// A registration as it should be.
pub struct WebhookRegistration {
    config: RegistrationConfig,
    /// What the API server is to trust, in PEM form.
    ca_bundle: Option<String>,
}

/// Why there is no registration, or still one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    #[error("cannot {verb} the MutatingWebhookConfiguration {name} (registration.name)")]
    Failed { verb: &'static str, name: String, source: ClusterError },
    #[error(
        "the MutatingWebhookConfiguration {name} (registration.name) was put back each time: end the replicas that run first"
    )]
    PutBack { name: String },
}

// === impl WebhookRegistration ===

impl WebhookRegistration {
    pub fn new(config: RegistrationConfig, ca_bundle: Option<String>) -> Self {
        Self { config, ca_bundle }
    }

    /// The object for a webhook whose Service stands in this namespace.
    fn document(&self, namespace: &str) -> Value {
        let RegistrationConfig { name, webhook_name, .. } = &self.config;
        let [flyte_label, people_label] = TRIGGER_LABELS;
        let flyte = json!({ "matchLabels": { flyte_label: "true" } });
        // A pod with both labels is asked about once, by the first.
        let people = json!({
            "matchLabels": { people_label: "true" },
            "matchExpressions": [{ "key": flyte_label, "operator": "NotIn", "values": ["true"] }],
        });
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": name },
            "webhooks": [
                self.webhook(webhook_name, &flyte, namespace),
                self.webhook(PEOPLE_WEBHOOK, &people, namespace),
            ],
        })
    }

    fn webhook(&self, name: &str, object_selector: &Value, namespace: &str) -> Value {
        let Self { config, ca_bundle } = self;
        let RegistrationConfig {
            enabled: _,
            name: _,
            webhook_name: _,
            service_name,
            service_port,
            failure_policy,
            namespace_selector,
            timeout,
        } = config;
        let service =
            json!({ "name": service_name, "namespace": namespace, "path": WEBHOOK_PATH, "port": service_port });
        let mut client_config = json!({ "service": service });
        if let Some(pem) = ca_bundle {
            client_config["caBundle"] = data_encoding::BASE64.encode(pem.as_bytes()).into();
        }
        let others = || NamespaceSelector::all_but([namespace, "kube-system"]);
        json!({
            "name": name,
            "admissionReviewVersions": ["v1", "v1beta1"],
            "clientConfig": client_config,
            "rules": [{ "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"] }],
            "objectSelector": object_selector,
            "namespaceSelector": namespace_selector.clone().unwrap_or_else(others),
            "failurePolicy": failure_policy,
            "matchPolicy": "Equivalent",
            // A second answer to the same pod changes nothing, and containers that others add get their secrets.
            "reinvocationPolicy": "IfNeeded",
            "sideEffects": "None",
            "timeoutSeconds": timeout.as_secs(),
        })
    }
}

// === impl RegistrationError ===

impl RegistrationError {
    fn failed(verb: &'static str, name: &str, error: kube::Error) -> Self {
        Self::Failed { verb, name: name.to_owned(), source: error.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_config::Config;

    #[test]
    fn by_default_it_is_what_the_manifests_register() {
        let manifest =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/kustomize/components/cert-manager/webhook.yaml");
        let manifest: Value = serde_saphyr::from_str(&std::fs::read_to_string(manifest).unwrap()).unwrap();
        let config = Config::parse("", &[]).unwrap().registration;
        let document = WebhookRegistration::new(config, None).document("ampoule");
        assert_eq!(document["metadata"], manifest["metadata"]);
        assert_eq!(document["webhooks"], manifest["webhooks"]);
    }
}
