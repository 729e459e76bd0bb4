//! What became of each plugin, for whoever looks: [`PluginStates`], one immutable list that is swapped whole.
//!
//! The admin port tells it at `/plugins` and on the readiness page, `ampoule plugin list` prints it.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use ampoule_cluster::events::ConfigMapReference;
use ampoule_components::FetchedInjector;
use ampoule_telemetry::{plugin_state::PluginState, reason::one_line};

/// The plugins that serve now, and those that should. Cheap to clone.
#[derive(Clone, Default)]
pub struct PluginStates(Arc<ArcSwap<Vec<PluginStatus>>>);

/// What became of one plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginStatus {
    /// The injector's name.
    pub name: String,
    /// The ConfigMap that brings it along.
    #[serde(skip)]
    pub origin: Option<ConfigMapReference>,
    pub state: PluginState,
    /// How many plugins have served under this name since the process started.
    pub generation: u64,
    /// Whether nothing serves without it.
    pub required: bool,
    /// Where the component that serves came from; where none does, where it should have come from.
    pub source: String,
    /// What serves; none if nothing does.
    pub serving: Option<Serving>,
    /// Why what is configured does not serve.
    pub error: Option<String>,
}

/// A plugin that serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Serving {
    /// The version that it says it has.
    pub version: String,
    /// SHA-256 of its component, in hexadecimal.
    pub digest: String,
    /// Whose signature was verified, as `NAME (ID)` of the key.
    pub signer: Option<String>,
    /// What its author should know of it.
    pub warning: Option<String>,
}

// === impl PluginStates ===

impl PluginStates {
    pub fn get(&self) -> Arc<Vec<PluginStatus>> {
        self.0.load_full()
    }

    pub fn set(&self, states: Vec<PluginStatus>) {
        self.0.store(Arc::new(states));
    }

    /// A line for each, as the readiness page has them.
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
    /// Of one that is no part of the chain.
    pub(super) fn ignored(offer: FetchedInjector) -> Self {
        let FetchedInjector { name, origin, config: _, component } = offer;
        Self {
            source: format!("configmap:{name}"),
            name,
            origin,
            state: PluginState::Ignored,
            generation: 0,
            required: false,
            serving: None,
            error: component.err().map(|error| one_line(&error)),
        }
    }

    /// What its admin should look at.
    pub fn problem(&self) -> Option<String> {
        let error = self.error.as_ref()?;
        Some(match self.state {
            PluginState::Failed => format!("{error}; pods that ask {} fail", self.name),
            PluginState::Ignored => format!("{error}; this one is not asked"),
            PluginState::Loaded | PluginState::ServingPrevious => format!("{error}; what was there before serves on"),
        })
    }
}

impl fmt::Display for PluginStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, origin: _, state, generation, required: _, source, serving, error } = self;
        write!(f, "{name} {state}: {source}, generation {generation}")?;
        if let Some(Serving { version, digest, signer, warning }) = serving {
            write!(f, ", version {version}, sha256:{digest}")?;
            if let Some(signer) = signer {
                write!(f, ", signed by {signer}")?;
            }
            if let Some(warning) = warning {
                write!(f, ", {warning}")?;
            }
        }
        error.as_ref().map_or(Ok(()), |error| write!(f, ": {error}"))
    }
}
