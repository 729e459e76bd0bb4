//! [`ConfigFile`]: every key of the configuration file, with default, bounds and description.
//!
//! The reader, the checks, the effective configuration, the JSON Schema and the reference page all
//! derive from these structs. Each key is optional; its unit is part of its name.

use ampoule_core::{EditPermissions, text};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AuditConfig, CertificatesConfig, Config, ConfigError, ConfigMapInjector, DeliveryConfig, EngineSettings,
    InjectorConfig, PodsConfig, ProfileName, RegistrationConfig, RegistriesConfig, RotationConfig, ServerConfig,
    bounds,
    conventions::{ConventionsSection, OnFailureName},
    edits::EditsSection,
    global_secrets::GlobalSecretsSection,
    granted_host::{PermittedSection, check_permitted},
    injector::{self, InjectorEntry, InjectorRules},
    limits::LimitsSection,
    policy::PolicySection,
    section::section,
    tracing::TracingSection,
    trust::TrustSection,
};

/// The configuration file of Ampoule. Each section describes itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(rename = "Config")]
pub(crate) struct ConfigFile {
    pub(crate) profile: ProfileName,
    #[serde(deserialize_with = "section")]
    pub(crate) conventions: ConventionsSection,
    pub(crate) on_failure: OnFailureName,
    #[serde(deserialize_with = "section")]
    pub(crate) global_secrets: GlobalSecretsSection,
    #[serde(deserialize_with = "section")]
    pub(crate) server: ServerConfig,
    #[serde(deserialize_with = "section")]
    pub(crate) registration: RegistrationConfig,
    #[serde(deserialize_with = "section")]
    pub(crate) certificates: CertificatesConfig,
    #[serde(deserialize_with = "section")]
    pub(crate) engine: EngineSettings,
    #[serde(deserialize_with = "section")]
    pub(crate) trust: TrustSection,
    #[serde(deserialize_with = "section")]
    pub(crate) registries: RegistriesConfig,
    #[serde(deserialize_with = "section")]
    pub(crate) pods: PodsConfig,
    #[serde(deserialize_with = "section")]
    pub(crate) delivery: DeliveryConfig,
    #[serde(deserialize_with = "section")]
    pub(crate) rotation: RotationConfig,
    #[serde(deserialize_with = "section")]
    pub(crate) policy: PolicySection,
    #[serde(deserialize_with = "section")]
    pub(crate) audit: AuditConfig,
    #[serde(deserialize_with = "section")]
    pub(crate) tracing: TracingSection,
    #[serde(deserialize_with = "section")]
    pub(crate) plugins: PluginsSection,
    /// Injectors in the order in which they are consulted. If the key is left out, the first
    /// built-in plugin is the only injector. The list may be empty only if there are global secrets
    /// or injectors of ConfigMaps.
    pub(crate) injectors: Option<Vec<InjectorEntry>>,
}

/// Injectors that ConfigMaps add.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct PluginsSection {
    /// Whether labelled ConfigMaps in the namespace of the process add injectors.
    config_maps: bool,
    /// Names of injectors that such a ConfigMap may precede, with a negative `order`. Without a
    /// name, ConfigMaps are after all injectors. Every injector after the first of these must be in
    /// the list as well.
    #[serde(deserialize_with = "section")]
    config_maps_before: Vec<String>,
    /// Maximum of the `limits` of each such ConfigMap. The maximum of `instances` is for all of
    /// them together.
    #[serde(deserialize_with = "section")]
    config_map_limits: LimitsSection,
    /// Maximum of the `edits` of each such ConfigMap.
    #[serde(deserialize_with = "section")]
    config_map_edits: EditsSection,
    /// Whether such a ConfigMap may have `settings` for a built-in plugin while
    /// `trust.requireSignature` is on. These settings can name an image, and no signature covers
    /// them.
    config_map_builtin_settings: bool,
    /// Hosts and credentials that such a ConfigMap may use. Its credential of a host must equal the
    /// credential of that host here. By default, it may use no credential.
    #[serde(deserialize_with = "section")]
    config_map_credentials: Vec<PermittedSection>,
    /// Whether a component that imports HTTP or Kubernetes Secrets is rejected without the grant.
    /// Otherwise it is loaded, and its calls are denied. A built-in plugin for several stores needs
    /// the grant for one of them.
    strict_grants: bool,
}

// === impl ConfigFile ===

impl ConfigFile {
    /// Checks every value and resolves the defaults that depend on other keys.
    ///
    /// Opens and looks up nothing: a missing file is an error when it is used.
    pub(crate) fn check(self, builtins: &[&str]) -> Result<Config, ConfigError> {
        bounds::check("", &self)?;
        let global_secrets = self.global_secrets.check()?;
        let trust = self.trust.check()?;
        let conventions = self.conventions.check(self.profile)?;
        let mount_directory = conventions.mount_directory.as_str();
        let rules =
            InjectorRules { builtins, trust: &trust, mount_directory, most_edits: None, pods: &self.delivery.pod };
        let injectors = injector::check_all(self.injectors, &rules)?;
        check_before(&self.plugins.config_maps_before, &injectors)?;
        let most_edits = EditPermissions::ordinary(mount_directory);
        let config_map_edits = self.plugins.config_map_edits.over(&most_edits, "plugins.configMapEdits")?;
        if injectors.is_empty() && global_secrets.is_none() && !self.plugins.config_maps {
            let reason = "is empty, and globalSecrets.enabled is false: no secret could be found";
            return Err(ConfigError::at("injectors", reason));
        }
        if injectors.iter().all(|injector| injector.shadow) && global_secrets.is_none() && !self.plugins.config_maps {
            let reason = "has only shadow injectors, and globalSecrets.enabled is false: no secret could be found";
            return Err(ConfigError::at("injectors", reason));
        }
        let registration = self.registration.check()?;
        let instances = injectors.iter().map(|injector| injector.limits.instances).sum();
        Ok(Config {
            conventions,
            on_failure: self.on_failure.into(),
            global_secrets,
            server: self.server.check()?,
            certificates: self.certificates.check(&registration)?,
            registration,
            engine: self.engine.check(instances)?,
            trust,
            registries: self.registries.check()?,
            pods: self.pods,
            delivery: self.delivery.check()?,
            rotation: self.rotation.check()?,
            policy: self.policy.check()?,
            audit: self.audit,
            tracing: self.tracing.check()?,
            config_maps: self.plugins.config_maps,
            config_maps_before: self.plugins.config_maps_before,
            config_map_limits: self.plugins.config_map_limits.over(&ConfigMapInjector::default_limits()),
            config_map_edits,
            config_map_builtin_settings: self.plugins.config_map_builtin_settings,
            config_map_credentials: check_permitted(
                "plugins.configMapCredentials",
                self.plugins.config_map_credentials,
            )?,
            strict_grants: self.plugins.strict_grants,
            injectors,
        })
    }
}

/// Checks the names of `plugins.configMapsBefore`: a ConfigMap before one injector is also before
/// those that follow it.
fn check_before(names: &[String], injectors: &[InjectorConfig]) -> Result<(), ConfigError> {
    let at = |index: usize, reason: String| Err(ConfigError::at(format!("plugins.configMapsBefore[{index}]"), reason));
    let chain: Vec<_> = injectors.iter().filter(|injector| !injector.shadow).map(|injector| &injector.name).collect();
    for (index, name) in names.iter().enumerate() {
        let Some(position) = chain.iter().position(|injector| *injector == name) else {
            return at(index, format!("{} is not a name in injectors", text::quote(name.as_bytes())));
        };
        if let Some(next) = chain[position..].iter().find(|next| !names.contains(next)) {
            return at(index, format!("a ConfigMap before {name} is also before {next}, which is not in the list"));
        }
    }
    Ok(())
}

impl From<&Config> for ConfigFile {
    /// The file with the effective value of every key.
    fn from(config: &Config) -> Self {
        Self {
            profile: config.conventions.profile.into(),
            conventions: (&config.conventions).into(),
            on_failure: config.on_failure.into(),
            global_secrets: config.global_secrets.as_ref().into(),
            server: config.server.clone(),
            registration: config.registration.clone(),
            certificates: config.certificates.clone(),
            engine: config.engine.clone(),
            trust: (&config.trust).into(),
            registries: config.registries.clone(),
            pods: config.pods,
            delivery: config.delivery.clone(),
            rotation: config.rotation.clone(),
            policy: (&config.policy).into(),
            audit: config.audit,
            tracing: config.tracing.as_ref().map(Into::into).unwrap_or_default(),
            plugins: PluginsSection {
                config_maps: config.config_maps,
                config_maps_before: config.config_maps_before.clone(),
                config_map_limits: (&config.config_map_limits).into(),
                config_map_edits: (&config.config_map_edits).into(),
                config_map_builtin_settings: config.config_map_builtin_settings,
                config_map_credentials: config
                    .config_map_credentials
                    .iter()
                    .cloned()
                    .map(PermittedSection::from)
                    .collect(),
                strict_grants: config.strict_grants,
            },
            injectors: Some(config.injectors.iter().map(Into::into).collect()),
        }
    }
}
