//! Sections `registration` and `certificates`: how the API server comes to know the webhook, and why it trusts it.
//!
//! What stands in a file, what it becomes, and the way back; the rules are those that the API server has for the same fields.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ConfigError, check::within, file::section};

const DAY: u64 = 24 * 60 * 60;
/// A third of it must do for the API server to hear of the next one. Only a test wants one as short as this.
const SHORTEST_VALIDITY: u64 = 30;
/// Clients of a public certificate take 398 days at most; ten years is what some make by hand.
const LONGEST_VALIDITY: u64 = 3650 * DAY;

/// Section `registration`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct RegistrationFile {
    /// Whether the process registers itself.
    pub enabled: bool,
    /// The name of the `MutatingWebhookConfiguration`.
    pub name: String,
    /// The name of the webhook in it, which stands in front of every refusal.
    pub webhook_name: String,
    /// The Service that the API server calls, in the namespace of the process.
    pub service_name: String,
    /// The Service's port.
    pub service_port: u64,
    /// What the API server does with a pod while nobody answers.
    pub failure_policy: FailurePolicy,
    /// The namespaces whose pods are asked about. Left out: all but `kube-system` and the webhook's own.
    pub namespace_selector: Option<NamespaceSelector>,
    /// How long the API server waits for an answer.
    pub timeout_seconds: u64,
}

/// Section `certificates`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct CertificatesFile {
    /// Where the serving process takes its certificate from.
    pub mode: CertificateMode,
    /// The Secret with `ca.crt`, `tls.crt` and `tls.key`, in the namespace of the process.
    pub secret_name: String,
    /// Whether `init-certs` writes the three into `server.certDir` as well.
    pub copy_to_cert_dir: bool,
    /// How long a certificate is valid that this program makes.
    pub validity_seconds: u64,
}

/// Where the serving process takes its certificate from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateMode {
    /// From `server.certDir`, and whoever writes there renews it.
    #[default]
    Folder,
    /// From the Secret, by the API server; the process makes and renews it.
    Cluster,
}

/// How the API server comes to know the webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationConfig {
    /// Whether the process registers itself.
    pub enabled: bool,
    /// The name of the `MutatingWebhookConfiguration`.
    pub name: String,
    /// The name of the webhook in it.
    pub webhook_name: String,
    /// The Service that the API server calls; the certificate is made for it.
    pub service_name: String,
    /// The Service's port.
    pub service_port: u16,
    /// What the API server does with a pod while nobody answers.
    pub failure_policy: FailurePolicy,
    /// The namespaces whose pods are asked about; none is all but `kube-system` and the webhook's own.
    pub namespace_selector: Option<NamespaceSelector>,
    /// How long the API server waits for an answer, in whole seconds.
    pub timeout: Duration,
}

/// Where the certificate is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatesConfig {
    /// Where the serving process takes its certificate from.
    pub mode: CertificateMode,
    /// The Secret's name.
    pub secret_name: String,
    /// Whether `init-certs` writes to `server.certDir` as well.
    pub copy_to_cert_dir: bool,
    /// How long a certificate is valid that this program makes.
    pub validity: Duration,
}

/// What the API server does with a pod while nobody answers. Spelt as the API server does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum FailurePolicy {
    /// It is refused.
    #[default]
    Fail,
    /// It is admitted without its secrets.
    Ignore,
}

/// A label selector, as Kubernetes writes one. An empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct NamespaceSelector {
    /// Labels with exactly these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "section")]
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions, all of which must hold.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "section")]
    pub match_expressions: Vec<LabelCondition>,
}

/// One condition on a label.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LabelCondition {
    /// The label.
    pub key: String,
    /// How its value is compared.
    pub operator: LabelOperator,
    /// With what; empty for `Exists` and `DoesNotExist`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub values: Vec<String>,
}

/// How a label's value is compared. Spelt as the API server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum LabelOperator {
    /// Is one of the values.
    In,
    /// Is none of the values, or the label is not there.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

// === impl RegistrationFile ===

impl Default for RegistrationFile {
    fn default() -> Self {
        Self {
            enabled: false,
            name: "ampoule".to_owned(),
            webhook_name: "secrets.ampoule.dev".to_owned(),
            service_name: "ampoule".to_owned(),
            service_port: 443,
            failure_policy: FailurePolicy::default(),
            namespace_selector: None,
            // What the API server takes where a registration does not say.
            timeout_seconds: 10,
        }
    }
}

impl RegistrationFile {
    pub(super) fn check(self) -> Result<RegistrationConfig, ConfigError> {
        let Self {
            enabled,
            name,
            webhook_name,
            service_name,
            service_port,
            failure_policy,
            namespace_selector,
            timeout_seconds,
        } = self;
        let port = within("registration.servicePort", service_port, 1..=u64::from(u16::MAX))?;
        // The API server takes no more than 30 s.
        let seconds = within("registration.timeoutSeconds", timeout_seconds, 1..=30)?;
        if let Some(selector) = &namespace_selector {
            selector.check()?;
        }
        Ok(RegistrationConfig {
            enabled,
            name: object_name("registration.name", name)?,
            webhook_name: self::webhook_name(webhook_name)?,
            service_name: self::service_name(service_name)?,
            service_port: u16::try_from(port).expect("the range is that of u16"),
            failure_policy,
            namespace_selector,
            timeout: Duration::from_secs(seconds),
        })
    }
}

// === impl CertificatesFile ===

impl Default for CertificatesFile {
    fn default() -> Self {
        Self {
            mode: CertificateMode::default(),
            secret_name: "ampoule-tls".to_owned(),
            copy_to_cert_dir: false,
            validity_seconds: 90 * DAY,
        }
    }
}

impl CertificatesFile {
    pub(super) fn check(self, registration: &RegistrationConfig) -> Result<CertificatesConfig, ConfigError> {
        let Self { mode, secret_name, copy_to_cert_dir, validity_seconds } = self;
        if mode == CertificateMode::Cluster && !registration.enabled {
            let reason = "cluster needs registration.enabled: somebody has to tell the API server of each new CA";
            return Err(ConfigError::at("certificates.mode", reason));
        }
        let validity = within("certificates.validitySeconds", validity_seconds, SHORTEST_VALIDITY..=LONGEST_VALIDITY)?;
        Ok(CertificatesConfig {
            mode,
            secret_name: object_name("certificates.secretName", secret_name)?,
            copy_to_cert_dir,
            validity: Duration::from_secs(validity),
        })
    }
}

// === impl RegistrationConfig ===

impl RegistrationConfig {
    /// As the configuration file says it.
    pub(super) fn effective(&self) -> Value {
        let Self {
            enabled,
            name,
            webhook_name,
            service_name,
            service_port,
            failure_policy,
            namespace_selector,
            timeout,
        } = self;
        json!({
            "enabled": enabled,
            "name": name,
            "webhookName": webhook_name,
            "serviceName": service_name,
            "servicePort": service_port,
            "failurePolicy": failure_policy,
            "namespaceSelector": namespace_selector,
            "timeoutSeconds": timeout.as_secs(),
        })
    }
}

// === impl CertificatesConfig ===

impl CertificatesConfig {
    /// As the configuration file says it.
    pub(super) fn effective(&self) -> Value {
        let Self { mode, secret_name, copy_to_cert_dir, validity } = self;
        json!({
            "mode": mode,
            "secretName": secret_name,
            "copyToCertDir": copy_to_cert_dir,
            "validitySeconds": validity.as_secs(),
        })
    }
}

// === impl NamespaceSelector ===

impl NamespaceSelector {
    /// Every namespace but these, by the label that the API server gives each.
    pub fn all_but<const N: usize>(names: [&str; N]) -> Self {
        let condition = LabelCondition {
            key: "kubernetes.io/metadata.name".to_owned(),
            operator: LabelOperator::NotIn,
            values: names.map(str::to_owned).into(),
        };
        Self { match_labels: BTreeMap::new(), match_expressions: vec![condition] }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let Self { match_labels: _, match_expressions } = self;
        for (i, LabelCondition { key: _, operator, values }) in match_expressions.iter().enumerate() {
            let wants_values = matches!(operator, LabelOperator::In | LabelOperator::NotIn);
            if values.is_empty() == wants_values {
                let reason = if wants_values {
                    "is missing, and the operator compares with it"
                } else {
                    "makes no sense with this operator"
                };
                let key = format!("registration.namespaceSelector.matchExpressions[{i}].values");
                return Err(ConfigError::at(key, reason));
            }
        }
        Ok(())
    }
}

/// RFC 1123: what the names of most objects are.
pub(super) fn object_name(key: &str, name: String) -> Result<String, ConfigError> {
    if name.len() <= 253 && name.split('.').all(is_label) {
        return Ok(name);
    }
    Err(ConfigError::at(key, format!("{name:?} is no name of an object; use a-z, 0-9, - and . between them")))
}

fn service_name(name: String) -> Result<String, ConfigError> {
    if is_label(&name) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(name);
    }
    let reason = format!("{name:?} is no name of a Service; use 1 to 63 of a-z, 0-9 and -, a letter first");
    Err(ConfigError::at("registration.serviceName", reason))
}

fn webhook_name(name: String) -> Result<String, ConfigError> {
    if name.len() <= 253 && name.split('.').count() >= 3 && name.split('.').all(is_label) {
        return Ok(name);
    }
    let reason = format!("{name:?} is no name of a webhook; use three or more parts, such as secrets.ampoule.dev");
    Err(ConfigError::at("registration.webhookName", reason))
}

pub(super) fn is_label(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(allowed) && !text.starts_with('-') && !text.ends_with('-')
}
