//! The desired `MutatingWebhookConfiguration`: [`document`], and [`WebhookRegistration`] with a
//! `caBundle`.
//!
//! It has two webhooks: one for pods with Flyte's label, and one for pods with Ampoule's label.

use ampoule_config::{AGGREGATED_PATH, ClientMode, Config, RegistrationConfig, WEBHOOK_PATH};
use ampoule_core::TRIGGER_LABELS;
use serde_json::{Value, json};

/// The webhook for pods with Ampoule's label. The name of the other webhook is configurable: for
/// Flyte it must be Flyte's.
const AMPOULE_WEBHOOK: &str = "people.ampoule.dev";

/// The way of a review from the API server to the webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReviewRoute {
    /// The API server calls the webhook's Service.
    #[default]
    Direct,
    /// The API server calls itself, and forwards the review to the webhook's `APIService`.
    Aggregated,
}

/// The condition of CEL that a pod has an annotation of Ampoule or Flyte, or a text that can be a
/// reference with any scheme. A misspelt annotation counts as well, so that its author gets a
/// warning.
pub const REQUESTS_SECRETS: &str = "has(object.metadata.annotations) && object.metadata.annotations.exists(key, \
    key.startsWith('ampoule.dev/') || key.startsWith('flyte.secrets/')) || \
    (object.spec.containers + (has(object.spec.initContainers) ? object.spec.initContainers \
    : []) + (has(object.spec.ephemeralContainers) ? object.spec.ephemeralContainers : \
    [])).exists(c, has(c.env) && c.env.exists(e, has(e.value) && e.value.contains(':')) || \
    has(c.args) && c.args.exists(a, a.contains(':')) || has(c.command) && \
    c.command.exists(a, a.contains(':')))";

/// The name of the condition [`REQUESTS_SECRETS`].
const REQUESTS_SECRETS_NAME: &str = "requests-secrets";

/// A condition without which the API server does not call the webhook.
#[derive(Clone, Debug)]
pub struct MatchCondition {
    /// Its name in the registration.
    pub name: &'static str,
    /// The expression of CEL.
    pub expression: String,
    /// What a pod is for which it is false, as a predicate.
    pub meaning: String,
}

/// Returns the conditions of the registration on an API server that has them. An object that the
/// chart or kustomize creates also has one for the webhook's own pods.
#[must_use]
pub fn match_conditions(config: &RegistrationConfig, namespace: &str) -> Vec<MatchCondition> {
    let requests_secrets = MatchCondition {
        name: REQUESTS_SECRETS_NAME,
        expression: REQUESTS_SECRETS.to_owned(),
        meaning:
            "has no annotation of Ampoule or Flyte, and no text with a colon, as in a reference, in the variables, \
                  command or args of a container"
                .to_owned(),
    };
    if config.create {
        return vec![requests_secrets];
    }
    let account = &config.service_name;
    let not_own_pods = MatchCondition {
        name: "not-own-pods",
        expression: format!(
            "request.namespace != '{namespace}' || !has(object.spec.serviceAccountName) || \
             object.spec.serviceAccountName != '{account}'"
        ),
        meaning: format!("is one of the webhook's: it has service account {account} in namespace {namespace}"),
    };
    vec![requests_secrets, not_own_pods]
}

/// Returns the `MutatingWebhookConfiguration` of this configuration, without a `caBundle`, for a
/// webhook with its Service in this namespace.
///
/// The chart and the kustomization must contain the same object.
#[must_use]
pub fn document(config: &Config, namespace: &str) -> Value {
    let route = ReviewRoute::from_mode(config.server.clients.mode);
    WebhookRegistration::new(config.registration.clone(), route, None).document(namespace)
}

/// A registration in its desired state.
pub(super) struct WebhookRegistration {
    config: RegistrationConfig,
    route: ReviewRoute,
    /// The CAs that the API server trusts, in PEM format; `None` leaves the field to its manager.
    ca_bundle: Option<String>,
    /// Whether the API server knows `matchConditions`.
    has_match_conditions: bool,
}

// === impl ReviewRoute ===

impl ReviewRoute {
    /// Returns the way of reviews from clients of this mode.
    #[must_use]
    pub fn from_mode(mode: ClientMode) -> Self {
        match mode {
            ClientMode::RequestHeader => Self::Aggregated,
            ClientMode::Open | ClientMode::Certificate => Self::Direct,
        }
    }
}

// === impl WebhookRegistration ===

impl WebhookRegistration {
    /// Creates the registration; `ca_bundle` is `None` if this program does not manage it.
    pub(super) fn new(config: RegistrationConfig, route: ReviewRoute, ca_bundle: Option<String>) -> Self {
        Self { config, route, ca_bundle, has_match_conditions: false }
    }

    /// Lets the API server call the webhook only for pods that request secrets, if it can.
    pub(super) fn with_match_conditions(self, has_match_conditions: bool) -> Self {
        Self { has_match_conditions, ..self }
    }

    /// Returns the object for a webhook with its Service in this namespace.
    pub(super) fn document(&self, namespace: &str) -> Value {
        let [flyte_label, ampoule_label] = TRIGGER_LABELS;
        let flyte = json!({ "matchLabels": { flyte_label: "true" } });
        // A pod with both labels is reviewed once, by the first webhook.
        let ampoule = json!({
            "matchLabels": { ampoule_label: "true" },
            "matchExpressions": [{ "key": flyte_label, "operator": "NotIn", "values": ["true"] }],
        });
        let mut metadata = json!({ "name": self.config.name });
        if self.config.create {
            metadata["labels"] = json!({
                "app.kubernetes.io/name": "ampoule",
                "app.kubernetes.io/instance": self.config.service_name,
                "app.kubernetes.io/managed-by": "ampoule",
            });
        }
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": metadata,
            "webhooks": [
                self.webhook(&self.config.webhook_name, &flyte, namespace),
                self.webhook(AMPOULE_WEBHOOK, &ampoule, namespace),
            ],
        })
    }

    fn webhook(&self, name: &str, object_selector: &Value, namespace: &str) -> Value {
        let mut webhook = json!({
            "name": name,
            "admissionReviewVersions": ["v1", "v1beta1"],
            "clientConfig": self.client_config(namespace),
            "rules": self.rules(),
            "objectSelector": object_selector,
            "namespaceSelector": self.config.selected_namespaces(namespace),
            "failurePolicy": self.config.failure_policy,
            "matchPolicy": "Equivalent",
            // A second review of a pod changes only containers that other webhooks added since the
            // first: they get their secrets.
            "reinvocationPolicy": "IfNeeded",
            "sideEffects": "NoneOnDryRun",
            "timeoutSeconds": self.config.timeout.as_secs(),
        });
        if self.has_match_conditions {
            webhook["matchConditions"] = json!([{ "name": REQUESTS_SECRETS_NAME, "expression": REQUESTS_SECRETS }]);
        }
        webhook
    }

    fn rules(&self) -> Vec<Value> {
        let rule = |operation: &str, resource: &str| json!({ "operations": [operation], "apiGroups": [""], "apiVersions": ["v1"], "resources": [resource] });
        let mut rules = vec![rule("CREATE", "pods")];
        if self.config.ephemeral_containers {
            rules.push(rule("UPDATE", "pods/ephemeralcontainers"));
        }
        rules
    }

    fn client_config(&self, namespace: &str) -> Value {
        if self.route == ReviewRoute::Aggregated {
            // The API server calls this Service, which is itself, with its own CA and credentials.
            let service = json!({ "name": "kubernetes", "namespace": "default", "path": AGGREGATED_PATH, "port": 443 });
            return json!({ "service": service });
        }
        let mut client_config = json!({
            "service": {
                "name": self.config.service_name,
                "namespace": namespace,
                "path": WEBHOOK_PATH,
                "port": self.config.service_port,
            },
        });
        if let Some(pem) = &self.ca_bundle {
            client_config["caBundle"] = data_encoding::BASE64.encode(pem.as_bytes()).into();
        }
        client_config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_it_equals_the_registration_of_the_manifests() {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/kustomize/base/webhook.yaml");
        let manifest: Value = serde_saphyr::from_str(&std::fs::read_to_string(manifest).unwrap()).unwrap();
        let config = Config::parse("", &["k8s"]).unwrap().registration;
        let document = WebhookRegistration::new(config, ReviewRoute::Direct, None).document("ampoule");
        assert_eq!(document["metadata"], manifest["metadata"]);
        assert_eq!(document["webhooks"], manifest["webhooks"]);
    }

    #[test]
    fn an_object_that_the_process_creates_has_the_usual_labels() {
        let config = Config::parse("registration: { create: true, serviceName: hook }", &["k8s"]).unwrap().registration;
        let labels = json!({
            "app.kubernetes.io/name": "ampoule",
            "app.kubernetes.io/instance": "hook",
            "app.kubernetes.io/managed-by": "ampoule",
        });
        let document = WebhookRegistration::new(config, ReviewRoute::Direct, None).document("ampoule");
        assert_eq!(document["metadata"], json!({ "name": "ampoule", "labels": labels }));
    }

    #[test]
    fn an_api_server_with_match_conditions_calls_only_for_pods_with_an_annotation() {
        let config = Config::parse("", &["k8s"]).unwrap().registration;
        let registration = |has| {
            let new = WebhookRegistration::new(config.clone(), ReviewRoute::Direct, None);
            new.with_match_conditions(has).document("ampoule")["webhooks"].clone()
        };
        for i in 0..2 {
            assert_eq!(registration(false)[i]["matchConditions"], Value::Null);
            let condition = json!([{ "name": "requests-secrets", "expression": REQUESTS_SECRETS }]);
            assert_eq!(registration(true)[i]["matchConditions"], condition);
        }
    }

    #[test]
    fn updates_of_ephemeral_containers_are_sent_only_if_they_are_configured() {
        for (configured, expected) in [(false, vec!["pods"]), (true, vec!["pods", "pods/ephemeralcontainers"])] {
            let text = format!("registration: {{ ephemeralContainers: {configured} }}");
            let config = Config::parse(&text, &["k8s"]).unwrap().registration;
            let document = WebhookRegistration::new(config, ReviewRoute::Direct, None).document("ampoule");
            for webhook in document["webhooks"].as_array().unwrap() {
                let rules = webhook["rules"].as_array().unwrap().iter();
                let resources: Vec<_> = rules.map(|rule| rule["resources"][0].as_str().unwrap()).collect();
                assert_eq!(resources, expected);
            }
        }
    }

    #[test]
    fn behind_an_api_service_the_api_server_calls_itself() {
        let config = Config::parse("", &["k8s"]).unwrap().registration;
        let registration = WebhookRegistration::new(config, ReviewRoute::Aggregated, Some("PEM".to_owned()));
        for webhook in registration.document("ampoule")["webhooks"].as_array().unwrap() {
            let path = "/apis/admission.ampoule.dev/v1/mutations";
            let service = json!({ "name": "kubernetes", "namespace": "default", "path": path, "port": 443 });
            assert_eq!(webhook["clientConfig"], json!({ "service": service }));
        }
    }
}
