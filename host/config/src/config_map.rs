//! [`ConfigMapInjector`]: an injector that a labelled ConfigMap adds.
//!
//! The optional key [`DOCUMENT`] has the keys of an entry of `injectors`, read and checked by the
//! same code, except for the name, which is that of the ConfigMap, and with the additional key
//! `order`.

use std::time::Duration;

use ampoule_core::Limits;

use crate::{
    ComponentSource, Config, ConfigError, InjectorConfig, ValueCacheConfig, bounds,
    delivery::DeliveryName,
    injector::{ConfigMapDocument, InjectorEntry, InjectorRules},
    reader::parse_document,
};

/// The key with the document.
pub const DOCUMENT: &str = "injector.yaml";
/// The key with the component, unless the document names another source.
const COMPONENT: &str = "plugin.wasm";

/// An injector of a ConfigMap.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigMapInjector {
    /// The injector.
    pub config: InjectorConfig,
    /// The position in the order of injectors. Those of the configuration have 0. Of equal
    /// positions, ConfigMaps are after the configuration, sorted by name. A negative one is before
    /// the injectors of `plugins.configMapsBefore`.
    pub order: i32,
}

// === impl ConfigMapInjector ===

impl ConfigMapInjector {
    /// The defaults of `plugins.configMapLimits`: enough for a guest in Python or JavaScript.
    pub(crate) fn default_limits() -> Limits {
        Limits {
            memory: 128 << 20,
            deadline: Duration::from_secs(5),
            instances: 128,
            queue_wait: Duration::from_secs(5),
            ..Limits::default()
        }
    }

    /// Reads and checks the document of the ConfigMap `map`. The configuration has the maximum of
    /// its limits and of its edits.
    ///
    /// # Errors
    ///
    /// The first error in the document, with the ConfigMap in place of the file.
    pub fn parse(map: &str, yaml: &str, builtins: &[&str], config: &Config) -> Result<Self, ConfigError> {
        let rules = InjectorRules {
            builtins,
            trust: &config.trust,
            mount_directory: &config.conventions.mount_directory,
            most_edits: Some(&config.config_map_edits),
            pods: &config.delivery.pod,
        };
        let parse = || -> Result<Self, ConfigError> {
            let document: ConfigMapDocument = parse_document(yaml)?;
            let order = document.order;
            let entry = InjectorEntry {
                name: map.to_owned(),
                component: document.component.or_else(|| Some(format!("configmap:{map}/{COMPONENT}"))),
                sha256: document.sha256,
                signed_by: document.signed_by,
                signed_name: document.signed_name,
                settings: document.settings,
                limits: document.limits.within(&config.config_map_limits)?,
                grants: document.grants,
                edits: document.edits,
                delivery: document.delivery,
                cache: document.cache,
                accept_plaintext: false,
                required: document.required.or(Some(false)),
                shadow: false,
            };
            bounds::check("", &entry)?;
            if entry.cache != ValueCacheConfig::default() {
                let reason = "is not permitted in a ConfigMap: the webhook's memory limit does not cover it";
                return Err(ConfigError::at("cache", reason));
            }
            if entry.delivery == DeliveryName::Inline {
                let reason = "inline is not permitted in a ConfigMap: only the webhook's configuration can accept \
                              plaintext";
                return Err(ConfigError::at("delivery", reason));
            }
            let injector = Self { config: entry.check("", &rules)?, order };
            injector.check_source(config)?;
            Ok(injector)
        };
        parse().map_err(|error| error.in_file(format!("ConfigMap {map}: {DOCUMENT}")))
    }

    /// Refuses what the author of a ConfigMap must not decide.
    fn check_source(&self, config: &Config) -> Result<(), ConfigError> {
        let injector = &self.config;
        let is_file = matches!(injector.component, ComponentSource::File(_));
        let is_builtin = matches!(injector.component, ComponentSource::Builtin(_));
        let has_settings = injector.settings.as_object().is_some_and(|settings| !settings.is_empty());
        if is_file {
            let reason = "file: is not permitted in a ConfigMap: it names a file of the webhook's container; use \
                          configmap: or oci:";
            return Err(ConfigError::at("component", reason));
        }
        if self.order < 0 && config.config_maps_before.is_empty() {
            let reason = format!(
                "{} is negative, but the injectors of the configuration are before those of ConfigMaps; an admin must \
                 list the injectors that a ConfigMap may precede in plugins.configMapsBefore",
                self.order
            );
            return Err(ConfigError::at("order", reason));
        }
        if is_builtin && has_settings && config.trust.require_signature && !config.config_map_builtin_settings {
            let reason = "no signature covers the settings of a built-in plugin, and trust.requireSignature is true \
                          (plugins.configMapBuiltinSettings permits them)";
            return Err(ConfigError::at("settings", reason));
        }
        self.check_credentials(config)
    }

    /// Refuses the credentials of the webhook that an admin has not listed for ConfigMaps.
    fn check_credentials(&self, config: &Config) -> Result<(), ConfigError> {
        match self.config.grants.first_credential_beyond(&config.config_map_credentials) {
            None => Ok(()),
            Some(host) => {
                let reason = format!(
                    "this credential of {} is not permitted in a ConfigMap; an admin must list the host with the same \
                     credential and caFile in plugins.configMapCredentials",
                    host.destination
                );
                Err(ConfigError::at("grants.http.hosts", reason))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(map: &str, yaml: &str) -> Result<ConfigMapInjector, String> {
        parse_with("", map, yaml)
    }

    fn parse_with(config: &str, map: &str, yaml: &str) -> Result<ConfigMapInjector, String> {
        let config = Config::parse(config, &["k8s"]).unwrap();
        ConfigMapInjector::parse(map, yaml, &["k8s"], &config).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_document_has_every_default_and_is_not_required() {
        let ConfigMapInjector { config, order } = parse("mine", "").unwrap();
        assert_eq!(
            (config.name.as_str(), config.component.to_string().as_str()),
            ("mine", "configmap:mine/plugin.wasm")
        );
        assert!(!config.required && order == 0);
    }

    #[test]
    fn the_document_has_the_keys_of_an_injector() {
        let keys = "component: oci:ghcr.io/a/b:1\nsha256: DIGEST\nsettings: { a: 1 }\nlimits: { memoryMiB: 3 }\n\
                    grants: { clock: true }\nrequired: true"
            .replace("DIGEST", &"0".repeat(64));
        let ConfigMapInjector { config, order } = parse("mine", &format!("{keys}\norder: 5")).unwrap();
        let entry = format!("injectors:\n- name: mine\n  {}", keys.replace('\n', "\n  "));
        assert_eq!(super::super::Config::parse(&entry, &[]).unwrap().injectors, [config]);
        assert_eq!(order, 5);
    }

    #[test]
    fn default_limits_do_not_exceed_the_maximum() {
        let config =
            "plugins: { configMapLimits: { memoryMiB: 8, deadlineMillis: 300 }, configMaps: true }\ninjectors: []";
        let config = super::super::Config::parse(config, &[]).unwrap();
        let limits = ConfigMapInjector::parse("mine", "", &[], &config).unwrap().config.limits;
        assert_eq!(limits, Limits { memory: 8 << 20, ..Limits::default() });
    }

    #[test]
    fn errors_name_the_config_map_and_the_key() {
        for (map, yaml, expected) in [
            (
                "mine",
                "name: x",
                "ConfigMap mine: injector.yaml, line 1, column 1: name: unknown field `name`, expected one of component, sha256, \
                 signedBy, signedName, settings, limits, grants, edits, delivery, cache, required, order",
            ),
            (
                "mine",
                "limits: { memoryMiB: 0 }",
                "ConfigMap mine: injector.yaml: limits.memoryMiB: must be between 1 and 4096, not 0",
            ),
            (
                "mine",
                "limits: { memoryMiB: 4096 }",
                "ConfigMap mine: injector.yaml: limits.memoryMiB: 4096 exceeds the limit for ConfigMaps, 128 \
                 (plugins.configMapLimits.memoryMiB)",
            ),
            (
                "mine",
                "limits: { deadlineMillis: 5001 }",
                "ConfigMap mine: injector.yaml: limits.deadlineMillis: 5001 exceeds the limit for ConfigMaps, 5000 \
                 (plugins.configMapLimits.deadlineMillis)",
            ),
            (
                "mine",
                "limits: { instances: 10000 }",
                "ConfigMap mine: injector.yaml: limits.instances: 10000 exceeds the limit for ConfigMaps, 128 \
                 (plugins.configMapLimits.instances)",
            ),
            (
                "mine",
                "limits: { queueWaitMillis: 30000 }",
                "ConfigMap mine: injector.yaml: limits.queueWaitMillis: 30000 exceeds the limit for ConfigMaps, 5000 \
                 (plugins.configMapLimits.queueWaitMillis)",
            ),
            (
                "mine",
                "limits: { componentMiB: 1024 }",
                "ConfigMap mine: injector.yaml: limits.componentMiB: 1024 exceeds the limit for ConfigMaps, 64 \
                 (plugins.configMapLimits.componentMiB)",
            ),
            (
                "mine",
                "limits: { outboundCalls: 33 }",
                "ConfigMap mine: injector.yaml: limits.outboundCalls: 33 exceeds the limit for ConfigMaps, 32 \
                 (plugins.configMapLimits.outboundCalls)",
            ),
            (
                "mine",
                "grants: { environment: [''] }",
                "ConfigMap mine: injector.yaml: grants.environment[0]: \"\" is not a valid name of an environment variable",
            ),
            (
                "mine",
                "signedBy: team",
                "ConfigMap mine: injector.yaml: signedBy: \"team\" is not a key of trust.keys (keys: none)",
            ),
            (
                "my.plugin",
                "",
                "ConfigMap my.plugin: injector.yaml: name: \"my.plugin\" is not a valid name; use 1 to 63 of a-z, 0-9 and -",
            ),
        ] {
            assert_eq!(parse(map, yaml).unwrap_err(), expected);
        }
    }
}
