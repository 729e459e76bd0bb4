//! Section `limits` of an injector: the resources of its plugin.
//!
//! Limits that are left out keep their defaults.

use std::time::Duration;

use ampoule_core::Limits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ConfigError, bounds};

/// The resources of a plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct LimitsSection {
    /// Maximum linear memory of one instance, in MiB.
    // The memory that WebAssembly can address.
    #[serde(rename = "memoryMiB", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    memory_mib: Option<usize>,
    /// Maximum time for one answer, including the start of an instance.
    // The API server waits at most 30 s for a webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 30_000))]
    deadline_millis: Option<u64>,
    /// Maximum number of instances at the same time. Further admissions wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    instances: Option<usize>,
    /// Maximum time that an admission waits for an instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 30_000))]
    queue_wait_millis: Option<u64>,
    /// Maximum size of the component's file, in MiB.
    #[serde(rename = "componentMiB", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    component_mib: Option<usize>,
    /// Maximum number of HTTP requests and look-ups of Kubernetes Secrets for one pod. A look-up of
    /// several keys counts each of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    outbound_calls: Option<u32>,
}

// === impl LimitsSection ===

impl LimitsSection {
    /// Only a time for an answer, in milliseconds.
    pub(crate) fn with_deadline(millis: u64) -> Self {
        Self { deadline_millis: Some(millis), ..Self::default() }
    }

    /// Checks the section, which is the value of `key`. A limit that it omits has its default.
    ///
    /// # Errors
    ///
    /// The first limit that is out of bounds.
    pub fn check(self, key: &str) -> Result<Limits, ConfigError> {
        bounds::check(key, &self)?;
        Ok(self.over(&Limits::default()))
    }

    /// Returns the limits of this section. A limit that the section omits comes from `base`. The
    /// caller has checked the bounds.
    pub(crate) fn over(self, base: &Limits) -> Limits {
        Limits {
            memory: self.memory_mib.map_or(base.memory, |mib| mib << 20),
            deadline: self.deadline_millis.map_or(base.deadline, Duration::from_millis),
            instances: self.instances.unwrap_or(base.instances),
            queue_wait: self.queue_wait_millis.map_or(base.queue_wait, Duration::from_millis),
            component_bytes: self.component_mib.map_or(base.component_bytes, |mib| mib << 20),
            outbound_calls: self.outbound_calls.unwrap_or(base.outbound_calls),
            ..base.clone()
        }
    }

    /// These limits, completed by the defaults, none of which exceeds `most`.
    pub(crate) fn within(self, most: &Limits) -> Result<Self, ConfigError> {
        let [given, defaults, most] = [self, Self::from(&Limits::default()), Self::from(most)].map(Self::by_key);
        let mut limits = Map::new();
        for (key, most) in &most {
            let default = defaults[key].as_u64().min(most.as_u64());
            let limit = given.get(key).and_then(Value::as_u64).or(default);
            if limit > most.as_u64() {
                let reason =
                    format!("{} exceeds the limit for ConfigMaps, {most} (plugins.configMapLimits.{key})", given[key]);
                return Err(ConfigError::at(format!("limits.{key}"), reason));
            }
            limits.insert(key.clone(), limit.into());
        }
        Ok(serde_json::from_value(limits.into()).expect("the same keys with numbers of the same types"))
    }

    fn by_key(self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(keys)) => keys,
            _ => unreachable!("a struct of numbers is an object"),
        }
    }
}

impl From<&Limits> for LimitsSection {
    fn from(limits: &Limits) -> Self {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            memory_mib: Some(limits.memory >> 20),
            deadline_millis: Some(millis(limits.deadline)),
            instances: Some(limits.instances),
            queue_wait_millis: Some(millis(limits.queue_wait)),
            component_mib: Some(limits.component_bytes >> 20),
            outbound_calls: Some(limits.outbound_calls),
        }
    }
}
