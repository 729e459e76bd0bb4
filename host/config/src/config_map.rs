//! An injector that a ConfigMap brings along: the document under its key `injector.yaml`, which may be left out.
//!
//! Its keys are those of an entry of `injectors`, read and checked by the same code; the name is the ConfigMap's, and `order` says where
//! in the chain it stands. The component is the ConfigMap's own key `plugin.wasm`, unless `component` names another.

use std::{fmt::Display, time::Duration};

use ampoule_core::Limits;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    ConfigError, InjectorConfig, TrustConfig, check,
    file::{self, InjectorFile, LimitsFile, section},
    grants::GrantsFile,
};

/// The key with the document.
pub const DOCUMENT: &str = "injector.yaml";
/// The key with the component.
pub const COMPONENT: &str = "plugin.wasm";

/// What a ConfigMap says.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigMapInjector {
    pub config: InjectorConfig,
    /// Its place: those of the configuration are at 0, and among equals these stand behind them, by their names.
    pub order: i32,
}

/// The document.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Document {
    component: Option<String>,
    sha256: Option<String>,
    signed_by: Option<String>,
    #[serde(deserialize_with = "section")]
    settings: Map<String, Value>,
    #[serde(deserialize_with = "section")]
    limits: LimitsFile,
    #[serde(deserialize_with = "section")]
    grants: GrantsFile,
    required: bool,
    order: i32,
}

// === impl ConfigMapInjector ===

impl ConfigMapInjector {
    /// The most that one may say where the configuration says nothing of it: enough for a guest in Python or JavaScript.
    pub(super) fn default_limits() -> Limits {
        Limits {
            memory: 128 << 20,
            deadline: Duration::from_secs(5),
            instances: 128,
            queue_wait: Duration::from_secs(5),
            ..Limits::default()
        }
    }

    /// Reads and checks the document of the ConfigMap of this name. `most` is the most that its limits may be.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with the ConfigMap in the place of the file.
    pub fn parse(
        map: &str,
        yaml: &str,
        builtins: &[&str],
        trust: &TrustConfig,
        most: &Limits,
    ) -> Result<Self, ConfigError> {
        let place = |error| at(map, error);
        let document: Document = file::parse(yaml).map_err(place)?;
        let Document { component, sha256, signed_by, settings, limits, grants, required, order } = document;
        let file = InjectorFile {
            name: map.to_owned(),
            component: component.unwrap_or_else(|| format!("configmap:{map}/{COMPONENT}")),
            sha256,
            signed_by,
            settings,
            limits: limits.within(most).map_err(place)?,
            grants,
            required: Some(required),
        };
        Ok(Self { config: check::injector("", file, builtins, trust).map_err(place)?, order })
    }
}

// === impl LimitsFile ===

impl LimitsFile {
    /// The same, of which nothing is more than it may be. What is left out is as by default, or less.
    fn within(self, most: &Limits) -> Result<Self, ConfigError> {
        let Self { memory_mib, deadline_millis, instances, queue_wait_millis, component_mib } = self;
        let default = Limits::default();
        let millis = |limit: Duration| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        Ok(Self {
            memory_mib: at_most("memoryMiB", memory_mib, default.memory >> 20, most.memory >> 20)?,
            deadline_millis: at_most(
                "deadlineMillis",
                deadline_millis,
                millis(default.deadline),
                millis(most.deadline),
            )?,
            instances: at_most("instances", instances, default.instances, most.instances)?,
            queue_wait_millis: at_most(
                "queueWaitMillis",
                queue_wait_millis,
                millis(default.queue_wait),
                millis(most.queue_wait),
            )?,
            component_mib: at_most(
                "componentMiB",
                component_mib,
                default.component_bytes >> 20,
                most.component_bytes >> 20,
            )?,
        })
    }
}

fn at_most<T: Ord + Display>(key: &str, said: Option<T>, default: T, most: T) -> Result<Option<T>, ConfigError> {
    match said {
        Some(said) if said > most => {
            let reason = format!("{said} is more than a ConfigMap may say, {most} (plugins.configMapLimits.{key})");
            Err(ConfigError::at(format!("limits.{key}"), reason))
        }
        said => Ok(said.or(Some(default.min(most)))),
    }
}

/// With the ConfigMap in the place of the file.
fn at(map: &str, error: ConfigError) -> ConfigError {
    ConfigError { file: Some(format!("ConfigMap {map}: {DOCUMENT}").into()), ..error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(map: &str, yaml: &str) -> Result<ConfigMapInjector, String> {
        let most = ConfigMapInjector::default_limits();
        ConfigMapInjector::parse(map, yaml, &["k8s"], &TrustConfig::default(), &most).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_document_is_every_default_and_optional() {
        let ConfigMapInjector { config, order } = parse("mine", "").unwrap();
        assert_eq!(
            (config.name.as_str(), config.component.to_string().as_str()),
            ("mine", "configmap:mine/plugin.wasm")
        );
        assert!(!config.required && order == 0);
    }

    #[test]
    fn its_keys_are_those_of_an_injector_of_the_configuration() {
        let keys = "component: oci:ghcr.io/a/b:1\nsha256: DIGEST\nsettings: { a: 1 }\nlimits: { memoryMiB: 3 }\n\
                    grants: { clock: true }\nrequired: true"
            .replace("DIGEST", &"0".repeat(64));
        let ConfigMapInjector { config, order } = parse("mine", &format!("{keys}\norder: -5")).unwrap();
        let entry = format!("injectors:\n- name: mine\n  {}", keys.replace('\n', "\n  "));
        assert_eq!(super::super::Config::parse(&entry, &[]).unwrap().injectors, [config]);
        assert_eq!(order, -5);
    }

    #[test]
    fn what_is_left_out_is_no_more_than_it_may_be() {
        let config = "plugins: { configMapLimits: { memoryMiB: 8, deadlineMillis: 300 } }\ninjectors: []";
        let config = super::super::Config::parse(config, &[]).unwrap();
        let (trust, most) = (&config.trust, &config.config_map_limits);
        let limits = ConfigMapInjector::parse("mine", "", &[], trust, most).unwrap().config.limits;
        assert_eq!(limits, Limits { memory: 8 << 20, ..Limits::default() });
    }

    #[test]
    fn what_is_wrong_is_named_with_the_config_map_and_the_key() {
        for (map, yaml, expected) in [
            (
                "mine",
                "name: x",
                "ConfigMap mine: injector.yaml, line 1, column 1: name: unknown field `name`, expected one of component, sha256, \
                 signedBy, settings, limits, grants, required, order",
            ),
            (
                "mine",
                "limits: { memoryMiB: 0 }",
                "ConfigMap mine: injector.yaml: limits.memoryMiB: must be between 1 and 4096, not 0",
            ),
            (
                "mine",
                "limits: { memoryMiB: 4096 }",
                "ConfigMap mine: injector.yaml: limits.memoryMiB: 4096 is more than a ConfigMap may say, 128 \
                 (plugins.configMapLimits.memoryMiB)",
            ),
            (
                "mine",
                "limits: { deadlineMillis: 5001 }",
                "ConfigMap mine: injector.yaml: limits.deadlineMillis: 5001 is more than a ConfigMap may say, 5000 \
                 (plugins.configMapLimits.deadlineMillis)",
            ),
            (
                "mine",
                "limits: { instances: 10000 }",
                "ConfigMap mine: injector.yaml: limits.instances: 10000 is more than a ConfigMap may say, 128 \
                 (plugins.configMapLimits.instances)",
            ),
            (
                "mine",
                "limits: { queueWaitMillis: 30000 }",
                "ConfigMap mine: injector.yaml: limits.queueWaitMillis: 30000 is more than a ConfigMap may say, 5000 \
                 (plugins.configMapLimits.queueWaitMillis)",
            ),
            (
                "mine",
                "limits: { componentMiB: 1024 }",
                "ConfigMap mine: injector.yaml: limits.componentMiB: 1024 is more than a ConfigMap may say, 64 \
                 (plugins.configMapLimits.componentMiB)",
            ),
            (
                "mine",
                "grants: { environment: [''] }",
                "ConfigMap mine: injector.yaml: grants.environment[0]: \"\" is no name of an environment variable",
            ),
            (
                "mine",
                "signedBy: team",
                "ConfigMap mine: injector.yaml: signedBy: \"team\" is no key of trust.keys (there: none)",
            ),
            (
                "my.plugin",
                "",
                "ConfigMap my.plugin: injector.yaml: name: \"my.plugin\" is no name; use 1 to 63 of a-z, 0-9 and -",
            ),
        ] {
            assert_eq!(parse(map, yaml).unwrap_err(), expected);
        }
    }
}
