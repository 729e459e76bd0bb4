//! The configuration file as it is written: YAML, camelCase, a default for every key, no key that is not known.
//!
//! Times carry their unit in the key.

use std::path::PathBuf;

use ampoule_core::Profile;
use clap::ValueEnum;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{
    AuditConfig, ConfigError,
    grants::GrantsFile,
    registration::{CertificatesFile, RegistrationFile},
    tracing::TracingFile,
    trust::{RegistriesFile, TrustFile},
};

/// The file. Every section and key may be left out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ConfigFile {
    /// The set of defaults for what differs between the webhooks that this one takes the place of.
    pub profile: ProfileName,
    /// Single conventions that differ from the profile's.
    #[serde(deserialize_with = "section")]
    pub conventions: ConventionsFile,
    /// What becomes of a pod that cannot get a secret.
    pub on_failure: OnFailureName,
    /// The webhook's own secrets.
    #[serde(deserialize_with = "section")]
    pub global_secrets: GlobalSecretsFile,
    /// Ports, certificates and the end of the process.
    #[serde(deserialize_with = "section")]
    pub server: ServerFile,
    /// How the API server comes to know the webhook.
    #[serde(deserialize_with = "section")]
    pub registration: RegistrationFile,
    /// Where the certificate is kept.
    #[serde(deserialize_with = "section")]
    pub certificates: CertificatesFile,
    /// What runs the plugins.
    #[serde(deserialize_with = "section")]
    pub engine: EngineFile,
    /// Whose signatures count.
    #[serde(deserialize_with = "section")]
    pub trust: TrustFile,
    /// How registries are reached.
    #[serde(deserialize_with = "section")]
    pub registries: RegistriesFile,
    /// Where it is told who got which secret.
    #[serde(deserialize_with = "section")]
    pub audit: AuditConfig,
    /// Where spans go.
    #[serde(deserialize_with = "section")]
    pub tracing: TracingFile,
    /// Where else injectors come from.
    #[serde(deserialize_with = "section")]
    pub plugins: PluginsFile,
    /// Who is asked for secrets, in this order. Left out: the first built-in plugin alone.
    pub injectors: Option<Vec<InjectorFile>>,
}

/// A profile by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileName {
    /// `flyte-pod-webhook` 1.x.
    #[default]
    FlyteV1,
    /// The webhook of Flyte 2.
    FlyteV2,
}

/// What becomes of a pod that cannot get a secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailureName {
    /// It is refused.
    #[default]
    Deny,
    /// It is admitted without its secrets, with a warning.
    Admit,
}

/// Section `conventions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ConventionsFile {
    /// What the names of injected environment variables start with.
    pub env_prefix: Option<String>,
    /// The folder that secret files are mounted below.
    pub mount_directory: Option<String>,
    /// Where an injected environment variable goes.
    pub env_placement: Option<EnvPlacementName>,
    /// Where an init container goes whose plugin does not say.
    pub init_container_position: Option<PositionName>,
}

/// Where an injected environment variable goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnvPlacementName {
    /// At the end; the pod's own is kept.
    Append,
    /// At the front; the pod's own is replaced.
    Prepend,
}

/// Where an init container goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PositionName {
    /// Before every other.
    First,
    /// After every other.
    Last,
}

/// Section `globalSecrets`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct GlobalSecretsFile {
    /// Whether the webhook's own secrets are asked for at all.
    pub enabled: bool,
    /// What the names of environment variables start with that hold one.
    pub env_prefix: String,
    /// The folder with `<group>/<key>`.
    pub directory: PathBuf,
    /// How a value reaches the pod.
    pub delivery: DeliveryName,
}

/// How a value that the host or a plugin has read reaches the pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryName {
    /// As a plain value in the pod's spec.
    #[default]
    Value,
    /// Through a Secret of the pod's own (DESIGN.md, "How a value reaches the pod").
    Secret,
}

/// Section `server`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ServerFile {
    /// The webhook's address and port.
    pub listen: String,
    /// The admin port's address and port.
    pub admin: String,
    /// The folder with `tls.crt` and `tls.key`.
    pub cert_dir: PathBuf,
    /// How long to serve on after a signal to end.
    pub shutdown_delay_seconds: u64,
    /// How long open requests may take after that.
    pub shutdown_grace_seconds: u64,
    /// Connections to the webhook at once.
    pub max_connections: usize,
    /// How old a connection to the webhook gets, give or take a tenth.
    pub max_connection_age_seconds: u64,
    /// Admissions at once, those that wait for a plugin included.
    pub max_admissions: usize,
}

/// Section `engine`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct EngineFile {
    /// Where compiled plugins are kept.
    pub cache_directory: Option<PathBuf>,
    /// Instances at once, over all plugins.
    pub max_concurrent: Option<usize>,
    /// Threads that guests run on.
    pub guest_threads: Option<usize>,
    /// Memory for compiling a component that is not built in, beside what the process that serves takes.
    #[serde(rename = "compileMemoryMiB")]
    pub compile_memory_mib: Option<u64>,
}

/// Section `plugins`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PluginsFile {
    /// Whether labelled ConfigMaps of the webhook's own namespace bring injectors along.
    pub config_maps: bool,
    /// The most that the `limits` of such a ConfigMap may say; of `instances`, all of them together.
    #[serde(deserialize_with = "section")]
    pub config_map_limits: LimitsFile,
}

/// An entry of `injectors`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct InjectorFile {
    /// Its name in messages and metrics.
    pub name: String,
    /// `builtin:NAME`, `file:PATH`, `configmap:NAME/KEY` or `oci:REFERENCE`.
    pub component: String,
    /// The SHA-256 that the component must have.
    pub sha256: Option<String>,
    /// The key of `trust.keys` that must have signed the component.
    pub signed_by: Option<String>,
    /// What the plugin gets as its settings.
    #[serde(deserialize_with = "section")]
    pub settings: Map<String, Value>,
    /// What it may use.
    #[serde(deserialize_with = "section")]
    pub limits: LimitsFile,
    /// What it may reach beyond its sandbox.
    #[serde(deserialize_with = "section")]
    pub grants: GrantsFile,
    /// Whether nothing serves without it. Left out: so it is.
    pub required: Option<bool>,
}

/// Section `limits` of an injector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct LimitsFile {
    /// Linear memory of one instance.
    #[serde(rename = "memoryMiB")]
    pub memory_mib: Option<usize>,
    /// Time from a question to its answer.
    pub deadline_millis: Option<u64>,
    /// Instances at once.
    pub instances: Option<usize>,
    /// How long an admission waits for an instance.
    pub queue_wait_millis: Option<u64>,
    /// Size of the component's file.
    #[serde(rename = "componentMiB")]
    pub component_mib: Option<usize>,
}

/// Parses a document. An empty one is one without keys.
pub fn parse<T: DeserializeOwned + Default>(yaml: &str) -> Result<T, ConfigError> {
    if is_blank(yaml) {
        return Ok(T::default());
    }
    let mut key = String::new();
    let parsed = serde_saphyr::with_deserializer_from_str(yaml, |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            key = error.path().to_string();
            error.into_inner()
        })
    });
    parsed.map_err(|error| {
        let place = error.location().map(|location| (location.line(), location.column()));
        // The document itself, and what is no key yet.
        let key = if matches!(key.as_str(), "." | "?") { String::new() } else { key };
        ConfigError { file: None, place, key, reason: reason(&error) }
    })
}

/// Parses a document of any keys. An empty one is null.
pub(super) fn parse_any(yaml: &str) -> Result<Value, ConfigError> {
    if is_blank(yaml) {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str(yaml).map_err(|error: serde_saphyr::Error| {
        let place = error.location().map(|location| (location.line(), location.column()));
        ConfigError { file: None, place, key: String::new(), reason: reason(&error) }
    })
}

// === impl ProfileName ===

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Self {
        match name {
            ProfileName::FlyteV1 => Self::FlyteV1,
            ProfileName::FlyteV2 => Self::FlyteV2,
        }
    }
}

// === impl GlobalSecretsFile ===

impl Default for GlobalSecretsFile {
    fn default() -> Self {
        Self {
            enabled: true,
            env_prefix: "FLYTE_SECRET_".to_owned(),
            directory: "/etc/secrets".into(),
            delivery: DeliveryName::default(),
        }
    }
}

// === impl ServerFile ===

impl Default for ServerFile {
    fn default() -> Self {
        Self {
            listen: "0.0.0.0:9443".to_owned(),
            admin: "0.0.0.0:10254".to_owned(),
            cert_dir: "/etc/webhook/certs".into(),
            shutdown_delay_seconds: 5,
            shutdown_grace_seconds: 20,
            max_connections: 1024,
            // A handshake a minute costs nothing, and a new replica has its share of the load within two.
            max_connection_age_seconds: 60,
            // Over HTTP/1.1, as API servers call, half of the connections are left to say no on. Three of them have 600 pods under
            // way at the most (--max-mutating-requests-inflight), of all replicas.
            max_admissions: 512,
        }
    }
}

/// Nothing but comments, blank lines and document marks.
fn is_blank(yaml: &str) -> bool {
    yaml.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---")
}

/// A section that is there without a key in it, as when all of them are commented out.
pub(super) fn section<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The parser's own words, in the reader's terms, without the place and the excerpt: the place stands in front already.
fn reason(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.split(" at line ").next().unwrap_or(&text);
    let text = text.split(", set DuplicateKeyPolicy").next().unwrap_or(text);
    match text {
        "expected mapping start" => "must be a mapping".to_owned(),
        "expected sequence start" => "must be a list".to_owned(),
        "expected string scalar" => "must be text".to_owned(),
        _ if text.starts_with("invalid u") => "must be a whole number and not negative".to_owned(),
        _ if text.starts_with("multiple YAML documents") => "must be one document, not several".to_owned(),
        _ => text.to_owned(),
    }
}
