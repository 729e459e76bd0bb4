//! What a plugin is made of, and how one is made of it: [`Recipe`].
//!
//! A recipe is kept with its component for as long as its plugin serves, so that a source that is gone, or has something broken by now,
//! takes nothing away that serves.

use ampoule_core::Conventions;
use ampoule_engine::{PluginEngine, PluginInjector, PluginSpec};
use anyhow::Context as _;
use tracing::info;

use crate::{
    config::{InjectorConfig, TrustConfig},
    fetch::{Component, Wanted},
    grants,
    metrics::PluginLabels,
};

/// All that a plugin is made of.
#[derive(Clone)]
pub(super) struct Recipe {
    pub(super) config: InjectorConfig,
    pub(super) conventions: Conventions,
    /// What the component was judged by.
    pub(super) trust: TrustConfig,
    pub(super) component: Component,
}

/// A plugin, and what it was made of.
#[derive(Clone)]
pub(super) struct LoadedPlugin {
    pub(super) recipe: Recipe,
    pub(super) plugin: PluginInjector,
}

// === impl Recipe ===

impl Recipe {
    /// Whether both give the same plugin.
    pub(super) fn gives_the_same(&self, other: &Self) -> bool {
        let Self { config, conventions, trust: _, component } = self;
        // Whether it is required is not the plugin's business.
        let config = InjectorConfig { required: other.config.required, ..config.clone() };
        config == other.config && *conventions == other.conventions && component.digest == other.component.digest
    }

    /// Whether this component may be loaded under another configuration, too: it was wanted in the same words and judged by the same keys.
    pub(super) fn component_serves(&self, config: &InjectorConfig, trust: &TrustConfig) -> bool {
        Wanted::from(&self.config) == Wanted::from(config) && self.trust == *trust
    }

    /// Loads the plugin, and tries it.
    pub(super) async fn make(self, engine: &PluginEngine) -> anyhow::Result<LoadedPlugin> {
        let InjectorConfig { name, component: source, sha256: _, signed_by: _, settings, limits, grants, required: _ } =
            self.config.clone();
        let grants = grants::resolve(&grants).with_context(|| format!("injector {name}"))?;
        let spec = PluginSpec {
            name,
            source: source.to_string(),
            component: self.component.bytes.to_vec().into(),
            settings,
            conventions: self.conventions.clone(),
            limits,
            grants,
        };
        let plugin = engine.load(spec).await?;
        engine.try_inject(&plugin).await?;
        let loaded = LoadedPlugin { recipe: self, plugin };
        let PluginLabels { plugin: name, version, digest, source, signer } = loaded.labels();
        info!(plugin = name, version, digest, source, signer, "plugin loaded");
        Ok(loaded)
    }
}

// === impl LoadedPlugin ===

impl LoadedPlugin {
    pub(super) fn labels(&self) -> PluginLabels {
        let Self { recipe, plugin } = self;
        PluginLabels {
            plugin: plugin.name().to_owned(),
            version: plugin.version().to_owned(),
            digest: plugin.digest().to_owned(),
            source: plugin.source().to_owned(),
            signer: recipe.component.signer.clone().unwrap_or_default(),
        }
    }
}
