//! What became of each plugin, for whoever looks: [`PluginStates`], one immutable list that is swapped whole.
//!
//! The admin port tells it at `/plugins` and on the readiness page, `ampoule plugin list` prints it.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use crate::{
    components::{Offer, Origin},
    reason::one_line,
};

/// The plugins that serve now, and those that should. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct PluginStates(Arc<ArcSwap<Vec<PluginStatus>>>);

/// What became of one plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PluginStatus {
    /// The injector's name.
    pub(crate) name: String,
    /// The ConfigMap that brings it along.
    #[serde(skip)]
    pub(crate) origin: Option<Origin>,
    pub(crate) state: PluginState,
    /// How many plugins have served under this name since the process started.
    pub(crate) generation: u64,
    /// Whether nothing serves without it.
    pub(crate) required: bool,
    /// Where the component that serves came from; where none does, where it should have come from.
    pub(crate) source: String,
    /// What serves; none if nothing does.
    pub(crate) serving: Option<Serving>,
    /// Why what is configured does not serve.
    pub(crate) error: Option<String>,
}

/// A plugin that serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Serving {
    /// The version that it says it has.
    pub(crate) version: String,
    /// SHA-256 of its component, in hexadecimal.
    pub(crate) digest: String,
    /// Whose signature was verified, as `NAME (ID)` of the key.
    pub(crate) signer: Option<String>,
    /// What its author should know of it.
    pub(crate) warning: Option<String>,
}

/// Whether what is configured serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginState {
    /// It does.
    Loaded,
    /// It does not, and what did before serves on.
    ServingPrevious,
    /// It does not, and pods that ask it are told so.
    Failed,
    /// It is not asked: the configuration has another of its name.
    Ignored,
}

// === impl PluginStates ===

impl PluginStates {
    pub(crate) fn get(&self) -> Arc<Vec<PluginStatus>> {
        self.0.load_full()
    }

    pub(crate) fn set(&self, states: Vec<PluginStatus>) {
        self.0.store(Arc::new(states));
    }

    /// A line for each, as the readiness page has them.
    pub(crate) fn lines(&self) -> String {
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
    pub(super) fn ignored(offer: Offer) -> Self {
        let Offer { name, origin, config: _, component } = offer;
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
    pub(crate) fn problem(&self) -> Option<String> {
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

// === impl PluginState ===

impl PluginState {
    /// Those of plugins that are asked.
    pub(crate) const ALL: [Self; 3] = [Self::Loaded, Self::ServingPrevious, Self::Failed];

    /// As metrics and people are told.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::ServingPrevious => "serving-previous",
            Self::Failed => "failed",
            Self::Ignored => "ignored",
        }
    }
}

impl fmt::Display for PluginState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
