//! The configuration of Ampoule: [`Config`] is checked and complete.
//!
//! Each key is defined once, in the struct of its section (`file.rs` lists the sections). Every
//! error names the key to change.

mod audit;
mod bounds;
mod clients;
mod config_map;
mod conventions;
mod credential;
mod delivery;
mod edits;
mod effective;
mod engine;
mod error;
mod file;
mod flyte;
mod global_secrets;
mod granted_host;
mod grants;
mod injector;
mod limits;
mod names;
mod pod_fetch;
mod pods;
mod policy;
pub mod public_key;
mod reader;
mod registration;
mod registries;
mod rotation;
mod schema;
mod section;
mod server;
mod source;
#[cfg(test)]
mod tests;
mod tracing;
mod trust;
mod value_cache;

use std::path::{Path, PathBuf};

use ampoule_core::{Conventions, EditPermissions, Limits, OnFailure, PolicyRule};

pub use self::{
    audit::AuditConfig,
    clients::{
        AGGREGATED_PATH, API_GROUP, API_RESOURCE, API_VERSION, ClientMode, ClientsConfig, components_remedy,
        values_remedy,
    },
    config_map::{ConfigMapInjector, DOCUMENT},
    conventions::ProfileName,
    credential::{
        AwsCredential, AzureCredential, BasicCredential, CredentialConfig, CredentialSource, GcpCredential,
        HeaderCredential, OAuth2Credential, SecretKey, VaultCredential,
    },
    delivery::DeliveryConfig,
    edits::EditsSection,
    engine::EngineSettings,
    error::ConfigError,
    flyte::{FLAGS as FLYTE_FLAGS, FlyteSource, Notice},
    global_secrets::{GLOBAL_INJECTOR, GlobalSecretsConfig},
    granted_host::{GrantedHost, PermittedHost},
    grants::{GrantsConfig, GrantsFile, HttpGrantConfig},
    injector::InjectorConfig,
    limits::LimitsSection,
    pod_fetch::{
        CheckedFetchPlugin, FetchPlugin, FetchedComponent, PodComponentSource, PodComponents, PodFetchConfig,
        PodFetchResources, VariableDeliveryName,
    },
    pods::PodsConfig,
    reader::parse_document,
    registration::{
        CertificateMode, CertificatesConfig, FailurePolicy, LabelCondition, LabelOperator, NamespaceLabels,
        NamespaceSelector, RegistrationConfig, SelectorMatch, WEBHOOK_PATH,
    },
    registries::RegistriesConfig,
    rotation::{RolloutConfig, RotationConfig},
    schema::{changed_fixed_keys, json_schema},
    server::{ConsoleConfig, InvalidationConfig, ServerConfig},
    source::{ComponentSource, OciReference, is_digest, is_registry},
    tracing::TracingConfig,
    trust::{TrustConfig, TrustedKey},
    value_cache::ValueCacheConfig,
};

/// The source of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// A file of Ampoule; without one, every key has its default.
    Native(Option<PathBuf>),
    /// No file: every key has the default of this profile.
    Defaults(ProfileName),
    /// Files of Flyte.
    Flyte(FlyteSource),
}

/// A configuration, with notices for its author.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedConfig {
    /// The configuration in effect.
    pub config: Config,
    /// Remarks about keys of Flyte. Empty for a file of Ampoule, in which unknown keys are errors.
    pub notices: Vec<Notice>,
}

/// The configuration of the process, checked and complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How edits change a pod.
    pub conventions: Conventions,
    /// The treatment of a pod whose secrets cannot be injected.
    pub on_failure: OnFailure,
    /// The webhook's own secrets, consulted before every injector; `None` if disabled.
    pub global_secrets: Option<GlobalSecretsConfig>,
    /// Ports, connections and shutdown.
    pub server: ServerConfig,
    /// The registration with the API server.
    pub registration: RegistrationConfig,
    /// The webhook's certificate.
    pub certificates: CertificatesConfig,
    /// The WebAssembly engine.
    pub engine: EngineSettings,
    /// The keys that sign components.
    pub trust: TrustConfig,
    /// Access to OCI registries.
    pub registries: RegistriesConfig,
    /// Limits of the pods that get secrets.
    pub pods: PodsConfig,
    /// The Secrets that carry values to pods.
    pub delivery: DeliveryConfig,
    /// The search for pods with old values.
    pub rotation: RotationConfig,
    /// The authorization rules. Their expressions are not compiled.
    pub policy: Vec<PolicyRule>,
    /// Where the webhook records which pod got which secret.
    pub audit: AuditConfig,
    /// The export of trace spans; `None` if disabled.
    pub tracing: Option<TracingConfig>,
    /// Whether labelled ConfigMaps in the namespace of the process add injectors.
    pub config_maps: bool,
    /// The names of the injectors before which such an injector may be, with a negative order.
    pub config_maps_before: Vec<String>,
    /// The maximum limits of each such injector; the maximum of instances is for all of them
    /// together.
    pub config_map_limits: Limits,
    /// What the plugins of ConfigMaps may change in a pod at most.
    pub config_map_edits: EditPermissions,
    /// Whether a ConfigMap may set the settings of a built-in plugin while `trust.requireSignature`
    /// is on.
    pub config_map_builtin_settings: bool,
    /// The hosts and credentials that the injectors of ConfigMaps may use.
    pub config_map_credentials: Vec<PermittedHost>,
    /// Whether a component that needs a grant is rejected without it.
    pub strict_grants: bool,
    /// The injectors in the order in which they are consulted, and shadow injectors. All of them
    /// are shadow injectors only with global secrets or injectors of ConfigMaps.
    pub injectors: Vec<InjectorConfig>,
}

// === impl ConfigSource ===

impl ConfigSource {
    /// Reads and checks the configuration. `builtins` are the names of the built-in plugins, in
    /// their order.
    ///
    /// # Errors
    ///
    /// The first error in the configuration.
    pub fn load(&self, builtins: &[&str]) -> Result<LoadedConfig, ConfigError> {
        match self {
            Self::Native(path) => {
                Ok(LoadedConfig { config: Config::load(path.as_deref(), builtins)?, notices: Vec::new() })
            }
            Self::Defaults(profile) => {
                let file = file::ConfigFile { profile: *profile, ..file::ConfigFile::default() };
                Ok(LoadedConfig { config: file.check(builtins)?, notices: Vec::new() })
            }
            Self::Flyte(source) => source.load(builtins),
        }
    }

    /// Returns an error with the file of this source, if it is one file.
    #[must_use]
    pub fn locate(&self, error: ConfigError) -> ConfigError {
        match self {
            Self::Native(Some(path)) => error.in_file(path),
            Self::Native(None) | Self::Defaults(_) | Self::Flyte(_) => error,
        }
    }
}

// === impl Config ===

impl Config {
    /// Reads and checks a file; without one, every key has its default.
    ///
    /// `builtins` are the names of the built-in plugins. The first is the default injector.
    ///
    /// # Errors
    ///
    /// The first error in the file.
    pub fn load(path: Option<&Path>, builtins: &[&str]) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Self::parse("", builtins) };
        std::fs::read_to_string(path)
            .map_err(|error| ConfigError::at("", format!("cannot be read: {error}")))
            .and_then(|text| Self::parse(&text, builtins))
            .map_err(|error| error.in_file(path))
    }

    /// Parses and checks a document.
    ///
    /// # Errors
    ///
    /// The first error in the document.
    pub fn parse(yaml: &str, builtins: &[&str]) -> Result<Self, ConfigError> {
        parse_document::<file::ConfigFile>(yaml)?.check(builtins)
    }

    /// Whether the configuration has an injector of this name.
    #[must_use]
    pub fn names(&self, injector: &str) -> bool {
        self.injectors.iter().any(|configured| configured.name == injector)
    }
}
