//! Section `engine`: the WebAssembly engine that runs the plugins.
//!
//! Compiled components and the threads of guests belong to it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::ConfigError;

/// Default of `engine.compileMemoryMiB`: a Python component of 18 MB takes 410 MiB. The memory
/// limit of the manifests covers this and the memory of the serving process.
const COMPILE_MEMORY_MIB: u64 = 512;

/// The WebAssembly engine that runs the plugins.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct EngineSettings {
    /// The folder in which compiled plugins are cached. Without it, no cache is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_directory: Option<PathBuf>,
    /// Maximum number of plugin instances at the same time, at least the sum of
    /// `injectors[].limits.instances`. Without it, that sum, rounded up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_concurrent: Option<usize>,
    /// Number of threads that run plugins. Without it, the number of CPUs of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub guest_threads: Option<usize>,
    /// Maximum memory for the compilation of a plugin that is not built in, in MiB. A separate
    /// process compiles: its memory adds to that of the serving process.
    // At least the program and a few threads; at most four times the need of the largest component
    // that can be configured.
    #[serde(rename = "compileMemoryMiB", deserialize_with = "compile_memory")]
    #[schemars(range(min = 128, max = 131_072))]
    pub compile_memory_mib: u64,
    /// Whether the answer of a plugin is given again, without a call, to a pod for which the plugin
    /// would give the same one: the same requests, and the same facts about the pod and the
    /// existence of Secrets. Values are never kept for this.
    pub reuse_answers: bool,
}

// === impl EngineSettings ===

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            cache_directory: None,
            max_concurrent: None,
            guest_threads: None,
            compile_memory_mib: COMPILE_MEMORY_MIB,
            reuse_answers: true,
        }
    }
}

impl EngineSettings {
    /// `instances` is the sum over all injectors: each plugin must be able to have all its
    /// instances at once, so that no plugin takes those of another.
    pub(crate) fn check(self, instances: usize) -> Result<Self, ConfigError> {
        if self.cache_directory.as_ref().is_some_and(|directory| directory.as_os_str().is_empty()) {
            let reason = "must not be empty; omit the key to disable the cache";
            return Err(ConfigError::at("engine.cacheDirectory", reason));
        }
        if let Some(given) = self.max_concurrent.filter(|given| *given < instances) {
            let reason = format!("{given} is less than {instances}, the sum of injectors[].limits.instances");
            return Err(ConfigError::at("engine.maxConcurrent", reason));
        }
        Ok(self)
    }
}

fn compile_memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(COMPILE_MEMORY_MIB))
}
