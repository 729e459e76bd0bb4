//! The state of each plugin: [`PluginStates`], an immutable list that each reload replaces.
//!
//! The admin port serves it at `/plugins` and on the readiness page; `ampoule plugin list` prints
//! it.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use ampoule_cluster::events::ConfigMapReference;
use ampoule_components::ListedInjector;
use ampoule_telemetry::{plugin_state::PluginState, reason::one_line};

/// The states of all plugins, including those that are not loaded. Cheap to clone.
#[derive(Clone, Default)]
pub struct PluginStates(Arc<ArcSwap<Vec<PluginStatus>>>);

/// The state of one plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginStatus {
    /// The injector's name.
    pub name: String,
    /// The ConfigMap that defines the plugin.
    #[serde(skip)]
    pub origin: Option<ConfigMapReference>,
    /// Whether the plugin serves.
    pub state: PluginState,
    /// The number of plugins that have served under this name since the process started.
    pub generation: u64,
    /// Whether the pipeline requires the plugin.
    pub required: bool,
    /// The source of the serving component; if none serves, the configured source.
    pub source: String,
    /// The serving plugin.
    pub serving: Option<ServingPlugin>,
    /// The earlier injector that serves every request with a group and a key, so that this plugin
    /// gets none of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadowed_by: Option<String>,
    /// Why the configured plugin does not serve.
    pub error: Option<String>,
    /// The reason for the author of the ConfigMap, without paths, hosts and hashes.
    #[serde(skip)]
    pub public_error: Option<String>,
}

/// A plugin that serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServingPlugin {
    /// The version that the plugin reports.
    pub version: String,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// The key that verified the component's signature, as `NAME (ID)`.
    pub signer: Option<String>,
    /// A warning for the plugin's author.
    pub warning: Option<String>,
}

// === impl PluginStates ===

impl PluginStates {
    /// Returns the current list.
    pub fn get(&self) -> Arc<Vec<PluginStatus>> {
        self.0.load_full()
    }

    /// Replaces the list.
    pub fn set(&self, states: Vec<PluginStatus>) {
        self.0.store(Arc::new(states));
    }

    /// Returns a line for each plugin in the format of the readiness page.
    pub fn lines(&self) -> String {
        self.get().iter().fold(String::new(), |mut lines, status| {
            let sign = if status.serving.is_some() { '+' } else { '-' };
            let _ = writeln!(lines, "[{sign}]plugin/{status}");
            lines
        })
    }
}

// === impl PluginStatus ===

impl PluginStatus {
    /// Creates the status of a plugin that is not in the chain.
    pub(super) fn ignored(injector: ListedInjector) -> Self {
        let error = injector.config.err().map(|error| one_line(&error));
        Self {
            source: format!("configmap:{}", injector.name),
            name: injector.name,
            origin: injector.origin,
            state: PluginState::Ignored,
            generation: 0,
            required: false,
            serving: None,
            shadowed_by: None,
            public_error: error.clone(),
            error,
        }
    }

    /// Describes the problem of the plugin and its effect.
    pub fn problem(&self) -> Option<String> {
        Some(self.describe(self.error.as_ref()?))
    }

    /// Describes the problem for a reader who is less trusted than the admin, if a ConfigMap
    /// defines the plugin.
    pub fn public_problem(&self) -> Option<String> {
        match (&self.origin, &self.public_error) {
            (Some(_), Some(error)) => Some(self.describe(error)),
            _ => self.problem(),
        }
    }

    /// Describes a plugin that serves, without the hash of its component: the source may be a file
    /// of the container. All replicas give the same description.
    pub fn public_line(&self) -> String {
        let version = self.serving.as_ref().map(|serving| serving.version.as_str()).unwrap_or_default();
        let Self { name, state, source, .. } = self;
        format!("{name} {state}: {source}, version {version}")
    }

    /// Describes that the plugin gets no requests, and what to do about it.
    pub fn shadow_note(&self) -> Option<String> {
        let first = self.shadowed_by.as_ref()?;
        Some(format!(
            "it gets no request with a group and a key, because {first} before it serves them all; put it before \
             {first} (in a ConfigMap: a negative order, which plugins.configMapsBefore permits)"
        ))
    }

    fn describe(&self, error: &str) -> String {
        match self.state {
            PluginState::Failed | PluginState::Loading => {
                format!(
                    "{error}; {} serves no request, and a pod is refused unless another injector serves it",
                    self.name
                )
            }
            PluginState::Ignored => format!("{error}; the plugin is not used"),
            PluginState::Loaded | PluginState::ServingPrevious => {
                format!("{error}; the previous plugin stays in use")
            }
        }
    }
}

impl fmt::Display for PluginStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}, generation {}", self.name, self.state, self.source, self.generation)?;
        if let Some(ServingPlugin { version, digest, signer, warning }) = &self.serving {
            write!(f, ", version {version}, sha256:{digest}")?;
            if let Some(signer) = signer {
                write!(f, ", signed by {signer}")?;
            }
            if let Some(warning) = warning {
                write!(f, ", {warning}")?;
            }
        }
        match self.error.clone().or_else(|| self.shadow_note()) {
            Some(note) => write!(f, ": {note}"),
            None => Ok(()),
        }
    }
}
