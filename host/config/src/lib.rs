//! The configuration: [`ConfigFile`] mirrors the YAML file, [`Config`] is checked and complete.
//!
//! The way from the one to the other is the only validator; every error names the key that the reader can change.

mod check;
mod config_map;
mod effective;
mod file;
mod flyte;
mod grants;
pub mod public_key;
mod registration;
mod source;
#[cfg(test)]
mod tests;
mod tracing;
mod trust;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use ampoule_core::Limits;
use ampoule_core::{Conventions, OnFailure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::{
    config_map::{ConfigMapInjector, DOCUMENT},
    file::parse as parse_document,
    flyte::FLAGS as FLYTE_FLAGS,
    source::is_digest,
};
pub use self::{
    file::{ConfigFile, ProfileName},
    flyte::{FlyteSource, Notice},
    grants::{GrantsConfig, GrantsFile, HttpGrantConfig},
    registration::{
        CertificateMode, CertificatesConfig, FailurePolicy, LabelCondition, LabelOperator, NamespaceSelector,
        RegistrationConfig,
    },
    source::{ComponentSource, OciReference},
    tracing::TracingConfig,
    trust::{RegistriesConfig, TrustConfig, TrustedKey},
};

/// A Python component of 18 MB takes 410 MiB. The limit of the manifests holds this and what serving takes.
const COMPILE_MEMORY_MIB: u64 = 512;

/// The injector name of the webhook's own secrets (`globalSecrets`). No configured injector may have it.
pub const GLOBAL_INJECTOR: &str = "global";

/// The path on which the webhook serves reviews. The registration names it.
pub const WEBHOOK_PATH: &str = "/mutate--v1-pod";

/// Where a configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// A file of this program; none is every default.
    Native(Option<PathBuf>),
    /// Files of Flyte.
    Flyte(FlyteSource),
}

/// A configuration, and what its author should know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedConfig {
    /// What is in effect.
    pub config: Config,
    /// What is not as it may seem; empty for a file of this program, which is refused instead.
    pub notices: Vec<Notice>,
}

/// Everything that the process needs to know, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How edits land in a pod.
    pub conventions: Conventions,
    /// What becomes of a pod that cannot get a secret.
    pub on_failure: OnFailure,
    /// The webhook's own secrets, asked for before every injector; none if they are off.
    pub global_secrets: Option<GlobalSecretsConfig>,
    /// Ports, certificates and the end of the process.
    pub server: ServerConfig,
    /// How the API server comes to know the webhook.
    pub registration: RegistrationConfig,
    /// Where the certificate is kept.
    pub certificates: CertificatesConfig,
    /// What runs the plugins.
    pub engine: EngineSettings,
    /// Whose signatures count.
    pub trust: TrustConfig,
    /// How registries are reached.
    pub registries: RegistriesConfig,
    /// Where it is told who got which secret.
    pub audit: AuditConfig,
    /// Where spans go; none if there are to be none.
    pub tracing: Option<TracingConfig>,
    /// Whether labelled ConfigMaps of the process' own namespace bring further injectors along.
    pub config_maps: bool,
    /// The most that one of those may say; of instances, all of them together.
    pub config_map_limits: Limits,
    /// Who is asked for secrets, in this order. Empty only where there are global secrets.
    pub injectors: Vec<InjectorConfig>,
}

/// Where the webhook's own secrets are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalSecretsConfig {
    /// What the names of environment variables start with that hold one. Never empty.
    pub env_prefix: String,
    /// The folder with `<group>/<key>`; it need not be there.
    pub directory: PathBuf,
}

/// Where it is told who got which secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// The log has a line for each secret, of target `audit`.
    pub log: bool,
    /// The API server's audit events have them, by the annotation `secrets` of this webhook.
    pub annotations: bool,
}

/// Ports, certificates and the end of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// The webhook's address.
    pub listen: SocketAddr,
    /// The admin port's address.
    pub admin: SocketAddr,
    /// The folder with `tls.crt` and `tls.key`.
    pub cert_dir: PathBuf,
    /// How long the process serves on after a signal to end, while the cluster takes it out of its load balancers.
    pub shutdown_delay: Duration,
    /// How long open requests may take after that.
    pub shutdown_grace: Duration,
    /// Connections to the webhook at once.
    pub max_connections: usize,
    /// How old a connection to the webhook gets, more or less.
    pub max_connection_age: Duration,
    /// Admissions at once, those that wait for a plugin included.
    pub max_admissions: usize,
}

/// What runs the plugins; what is none is the engine's own default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// Where compiled plugins are kept; none keeps none.
    pub cache_directory: Option<PathBuf>,
    /// Instances at once, over all plugins; none is as many as they may have together.
    pub max_concurrent: Option<usize>,
    /// Threads that guests run on.
    pub guest_threads: Option<usize>,
    /// MiB of memory for compiling a component that is not built in, in a process of its own.
    pub compile_memory_mib: u64,
}

/// One injector.
#[derive(Clone, Debug, PartialEq)]
pub struct InjectorConfig {
    /// Its name in messages and metrics.
    pub name: String,
    /// Where its component is.
    pub component: ComponentSource,
    /// The SHA-256 that the component must have, in hexadecimal.
    pub sha256: Option<String>,
    /// The name of the key that must have signed the component.
    pub signed_by: Option<String>,
    /// The JSON object that the plugin gets as its settings.
    pub settings: Value,
    /// What it may use.
    pub limits: Limits,
    /// What it may reach beyond its sandbox.
    pub grants: GrantsConfig,
    /// Whether nothing serves without it. Otherwise only those pods fail that ask it.
    pub required: bool,
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// Line and column, where known.
    pub place: Option<(u64, u64)>,
    /// The key's path, such as `injectors[0].limits.memoryMiB`; empty for the document itself.
    pub key: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

// === impl ConfigSource ===

impl ConfigSource {
    /// Reads and checks. `builtins` are the names of the plugins in this program, in their order.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn load(&self, builtins: &[&str]) -> Result<LoadedConfig, ConfigError> {
        match self {
            Self::Native(path) => {
                Ok(LoadedConfig { config: Config::load(path.as_deref(), builtins)?, notices: Vec::new() })
            }
            Self::Flyte(source) => source.load(builtins),
        }
    }
}

// === impl AuditConfig ===

impl Default for AuditConfig {
    /// Everywhere: what nobody wrote down cannot be looked up.
    fn default() -> Self {
        Self { log: true, annotations: true }
    }
}

// === impl Config ===

impl Config {
    /// Reads, parses and checks a file; without one, everything is as it is by default.
    ///
    /// `builtins` are the names of the plugins in this program, the one that is asked by default first.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn load(path: Option<&Path>, builtins: &[&str]) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Self::parse("", builtins) };
        let locate = |error: ConfigError| ConfigError { file: Some(path.to_owned()), ..error };
        let text = std::fs::read_to_string(path)
            .map_err(|error| locate(ConfigError::at("", format!("cannot be read: {error}"))))?;
        Self::parse(&text, builtins).map_err(locate)
    }

    /// Parses and checks a document.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn parse(yaml: &str, builtins: &[&str]) -> Result<Self, ConfigError> {
        check::config(file::parse(yaml)?, builtins)
    }

    /// Whether it has an injector of this name.
    pub fn names(&self, injector: &str) -> bool {
        self.injectors.iter().any(|there| there.name == injector)
    }
}

// === impl EngineSettings ===

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            cache_directory: None,
            max_concurrent: None,
            guest_threads: None,
            compile_memory_mib: COMPILE_MEMORY_MIB,
        }
    }
}

// === impl ConfigError ===

impl ConfigError {
    pub fn at(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { file: None, place: None, key: key.into(), reason: reason.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, place, key, reason } = self;
        match file {
            Some(file) => write!(f, "{}", file.display())?,
            None => f.write_str("configuration")?,
        }
        if let Some((line, column)) = place {
            write!(f, ", line {line}, column {column}")?;
        }
        if !key.is_empty() {
            write!(f, ": {key}")?;
        }
        write!(f, ": {reason}")
    }
}

impl std::error::Error for ConfigError {}
