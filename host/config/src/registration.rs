//! Sections `registration` and `certificates`: how the API server finds and trusts the webhook.
//!
//! The rules are those of the API server for the same fields.

use std::{collections::BTreeMap, time::Duration};

use ampoule_core::{is_dns_label, is_object_name};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ConfigError,
    names::check_object_name,
    section::{seconds, section},
};

mod selection;

pub use self::selection::{NamespaceLabels, SelectorMatch};

/// The label with the name of a namespace, which the API server sets on each.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The path on which the webhook serves reviews. The registration contains it.
pub const WEBHOOK_PATH: &str = "/mutate--v1-pod";

/// The registration of the webhook with the API server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("x-takes-effect" = "restart"))]
pub struct RegistrationConfig {
    /// Whether the process maintains the registration: with `create`, the whole
    /// `MutatingWebhookConfiguration`; without it, only the `caBundle` of its webhooks.
    pub enabled: bool,
    /// Whether the process creates the `MutatingWebhookConfiguration` and restores all its fields.
    /// This requires the permission to create any such object: with it, the service account can
    /// change every object of the cluster. If false, another program such as Helm creates the
    /// object, and the process waits for it.
    pub create: bool,
    /// Name of the `MutatingWebhookConfiguration`.
    pub name: String,
    /// Name of the webhook in it, with at least three parts. The API server puts it in front of
    /// every refusal.
    pub webhook_name: String,
    /// Name of the Service that the API server calls, in the namespace of the process. The
    /// certificate is issued for it.
    pub service_name: String,
    /// Port of the Service.
    #[schemars(range(min = 1, max = 65_535))]
    pub service_port: u64,
    /// What the API server does with a pod if the webhook does not answer.
    pub failure_policy: FailurePolicy,
    /// Namespaces whose pods are sent to the webhook. Without it, all but `kube-system` and the
    /// webhook's own.
    pub namespace_selector: Option<NamespaceSelector>,
    /// Whether the API server also sends updates of ephemeral containers (`kubectl debug`), so that
    /// a new one gets the secrets of its pod as far as the running pod permits. Requires Kubernetes
    /// 1.23. The subresource is `pods/ephemeralcontainers`.
    pub ephemeral_containers: bool,
    /// Maximum time that the API server waits for an answer.
    // The API server accepts at most 30 s.
    #[serde(rename = "timeoutSeconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 1, max = 30))]
    pub timeout: Duration,
}

/// The webhook's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("x-takes-effect" = "restart"))]
pub struct CertificatesConfig {
    /// Source of the certificate of the serving process.
    pub mode: CertificateMode,
    /// Name of the Secret with `ca.crt`, `tls.crt` and `tls.key`, in the namespace of the process.
    pub secret_name: String,
    /// Whether `ampoule init-certs` also writes the three files into `server.certDir`.
    pub copy_to_cert_dir: bool,
    /// Validity of the certificates that Ampoule issues.
    // The API server must learn of the next certificate within a third of it: only tests need 30 s.
    // Clients of public certificates accept 398 days; certificates made by hand often have ten
    // years.
    #[serde(rename = "validitySeconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 30, max = 315_360_000))]
    pub validity: Duration,
}

/// The source of the certificate of the serving process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateMode {
    /// The folder `server.certDir`. Another program renews the certificate.
    #[default]
    Folder,
    /// The Secret, through the API server. The process issues and renews the certificate. Requires
    /// `registration.enabled`.
    Cluster,
}

/// What the API server does with a pod if the webhook does not answer. Spelled as in Kubernetes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum FailurePolicy {
    /// The pod is refused.
    #[default]
    Fail,
    /// The pod is admitted without its secrets.
    Ignore,
}

/// A label selector of Kubernetes. An empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct NamespaceSelector {
    /// Labels and their exact values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "section")]
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions, all of which must hold.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "section")]
    pub match_expressions: Vec<LabelCondition>,
}

/// A condition on a label.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LabelCondition {
    /// The label. Required.
    pub key: String,
    /// How the label's value is compared. Required.
    pub operator: LabelOperator,
    /// The values for `In` and `NotIn`; empty for `Exists` and `DoesNotExist`.
    #[serde(skip_serializing_if = "Vec::is_empty", default, deserialize_with = "section")]
    pub values: Vec<String>,
}

/// How a label's value is compared. Spelled as in Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum LabelOperator {
    /// The label has one of the values.
    In,
    /// The label has none of the values, or does not exist.
    NotIn,
    /// The label exists.
    Exists,
    /// The label does not exist.
    DoesNotExist,
}

// === impl RegistrationConfig ===

impl Default for RegistrationConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            create: false,
            name: "ampoule".to_owned(),
            webhook_name: "secrets.ampoule.dev".to_owned(),
            service_name: "ampoule".to_owned(),
            service_port: 443,
            failure_policy: FailurePolicy::default(),
            namespace_selector: None,
            ephemeral_containers: false,
            // The API server's default for a registration without a timeout.
            timeout: Duration::from_secs(10),
        }
    }
}

impl RegistrationConfig {
    /// Returns the namespaces whose pods are sent to a webhook in namespace `own`: the configured
    /// selector, or all but `own` and `kube-system`.
    #[must_use]
    pub fn selected_namespaces(&self, own: &str) -> NamespaceSelector {
        let configured = self.namespace_selector.clone();
        configured.unwrap_or_else(|| NamespaceSelector::all_but([own, "kube-system"]))
    }

    pub(crate) fn check(self) -> Result<Self, ConfigError> {
        if let Some(selector) = &self.namespace_selector {
            selector.check("registration.namespaceSelector")?;
        }
        check_object_name("registration.name", &self.name)?;
        check_webhook_name(&self.webhook_name)?;
        check_service_name(&self.service_name)?;
        Ok(self)
    }
}

// === impl CertificatesConfig ===

impl Default for CertificatesConfig {
    fn default() -> Self {
        Self {
            mode: CertificateMode::default(),
            secret_name: "ampoule-tls".to_owned(),
            copy_to_cert_dir: false,
            validity: Duration::from_hours(90 * 24),
        }
    }
}

impl CertificatesConfig {
    pub(crate) fn check(self, registration: &RegistrationConfig) -> Result<Self, ConfigError> {
        if self.mode == CertificateMode::Cluster && !registration.enabled {
            let reason = "cluster requires registration.enabled: the API server must learn of each new CA";
            return Err(ConfigError::at("certificates.mode", reason));
        }
        check_object_name("certificates.secretName", &self.secret_name)?;
        Ok(self)
    }
}

// === impl NamespaceSelector ===

impl NamespaceSelector {
    /// Every namespace except these, by the label that the API server sets on each.
    #[must_use]
    pub fn all_but<const N: usize>(names: [&str; N]) -> Self {
        let condition = LabelCondition {
            key: NAME_LABEL.to_owned(),
            operator: LabelOperator::NotIn,
            values: names.map(str::to_owned).into(),
        };
        Self { match_labels: BTreeMap::new(), match_expressions: vec![condition] }
    }

    fn check(&self, key: &str) -> Result<(), ConfigError> {
        for (i, condition) in self.match_expressions.iter().enumerate() {
            let needs_values = matches!(condition.operator, LabelOperator::In | LabelOperator::NotIn);
            if condition.values.is_empty() == needs_values {
                let reason = if needs_values {
                    "is missing; the operator requires it"
                } else {
                    "has no effect with this operator"
                };
                return Err(ConfigError::at(format!("{key}.matchExpressions[{i}].values"), reason));
            }
        }
        Ok(())
    }
}

fn check_service_name(name: &str) -> Result<(), ConfigError> {
    if is_dns_label(name) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(());
    }
    let reason = "is not a valid Service name; use 1 to 63 of a-z, 0-9 and -, and start with a letter";
    Err(ConfigError::at("registration.serviceName", format!("{name:?} {reason}")))
}

fn check_webhook_name(name: &str) -> Result<(), ConfigError> {
    if is_object_name(name) && name.split('.').count() >= 3 {
        return Ok(());
    }
    let reason = "is not a valid webhook name; use at least three parts, such as secrets.ampoule.dev";
    Err(ConfigError::at("registration.webhookName", format!("{name:?} {reason}")))
}
