//! A place in the chain and who fills it: [`Slot`], which keeps what served there where something new does not.
//!
//! Tried in this order: what is configured; the component that was there before, where only its source fails; all that was there before,
//! unless an admin has taken away since what it had.

use std::sync::Arc;

use ampoule_core::{Conventions, SecretInjector};
use ampoule_engine::PluginEngine;
use anyhow::Context as _;

use super::{
    Parts,
    recipe::{LoadedPlugin, Recipe},
    stand_in::StandIn,
    status::{PluginStatus, Serving},
};
use ampoule_cluster::events::ConfigMapReference;
use ampoule_components::{FetchedInjector, fetch::Component, grants};
use ampoule_config::{InjectorConfig, TrustConfig};
use ampoule_telemetry::{plugin_state::PluginState, reason::one_line};

/// A place in the chain.
pub(super) struct Slot {
    pub(super) status: PluginStatus,
    /// None where a stand-in is.
    pub(super) serving: Option<LoadedPlugin>,
}

/// What slots are filled with.
pub(super) struct Filler<'a> {
    pub(super) engine: &'a Arc<PluginEngine>,
    pub(super) conventions: &'a Conventions,
    pub(super) trust: &'a TrustConfig,
    /// What served before.
    pub(super) last: Option<&'a Parts>,
}

// === impl Slot ===

impl Slot {
    /// For the chain.
    pub(super) fn injector(&self) -> Arc<dyn SecretInjector> {
        let Self { status: PluginStatus { name, error, .. }, serving } = self;
        match serving {
            Some(loaded) => Arc::new(loaded.plugin.clone()),
            None => Arc::new(StandIn::new(name, error.as_deref().unwrap_or_default())),
        }
    }
}

// === impl Filler ===

impl Filler<'_> {
    /// Fills the place of an injector, whatever it takes.
    pub(super) async fn fill(&self, offer: FetchedInjector) -> Slot {
        // Two that came from different places are not each other's successors, whatever their names.
        let succeeds =
            |slot: &&Slot| slot.status.name == offer.name && slot.status.origin.is_some() == offer.origin.is_some();
        let before = self.last.and_then(|last| last.slots.iter().find(succeeds));
        let kept = before.and_then(|before| before.serving.as_ref());
        let FetchedInjector { name, origin, config, component } = offer;
        let (serving, error) = self.find(config.as_ref(), component, kept, origin.as_ref()).await;
        let error = error.map(|error| one_line(&error));
        let same = |loaded: &LoadedPlugin| kept.is_some_and(|kept| kept.recipe.gives_the_same(&loaded.recipe));
        let new = serving.as_ref().is_some_and(|loaded| !same(loaded));
        let shown = serving.as_ref().map(|loaded| &loaded.recipe.config).or(config.as_ref());
        let status = PluginStatus {
            state: match (&serving, &error) {
                (Some(_), None) => PluginState::Loaded,
                (Some(_), Some(_)) => PluginState::ServingPrevious,
                (None, _) => PluginState::Failed,
            },
            generation: before.map_or(0, |before| before.status.generation) + u64::from(new),
            required: config.as_ref().is_some_and(|config| config.required),
            source: shown.map_or_else(|| format!("configmap:{name}"), |config| config.component.to_string()),
            serving: serving.as_ref().map(|LoadedPlugin { recipe, plugin, warning }| Serving {
                version: plugin.version().to_owned(),
                digest: plugin.digest().to_owned(),
                signer: recipe.component.signer.as_ref().map(ToString::to_string),
                warning: warning.map(str::to_owned),
            }),
            name,
            origin,
            error,
        };
        Slot { status, serving }
    }

    /// The first plugin that loads, and what was wrong with what is configured.
    async fn find(
        &self,
        config: Option<&InjectorConfig>,
        component: anyhow::Result<Component>,
        before: Option<&LoadedPlugin>,
        origin: Option<&ConfigMapReference>,
    ) -> (Option<LoadedPlugin>, Option<anyhow::Error>) {
        let configured = |component, ca| {
            config.map(|config| Recipe {
                config: config.clone(),
                conventions: self.conventions.clone(),
                trust: self.trust.clone(),
                component,
                ca,
            })
        };
        let ca = config.map_or(Ok(None), |config| {
            grants::read_ca(&config.grants).with_context(|| format!("injector {}", config.name))
        });
        let before = before.filter(|before| before.recipe.is_allowed(config, self.trust));
        let kept = before.map(|before| &before.recipe);
        let (mut recipes, mut error) = (Vec::new(), None);
        match (component, ca) {
            (Ok(component), Ok(ca)) => recipes.extend(configured(component, ca)),
            (Err(reason), Ok(ca)) => {
                error = Some(reason);
                let reusable = |kept: &&Recipe| config.is_some_and(|config| kept.component_serves(config, self.trust));
                // A ConfigMap's settings are meant for the component beside them.
                let kept = kept.filter(reusable).filter(|_| origin.is_none());
                recipes.extend(kept.and_then(|kept| configured(kept.component.clone(), ca)));
            }
            (Err(reason), Err(_)) | (Ok(_), Err(reason)) => error = Some(reason),
        }
        recipes.extend(kept.cloned());
        recipes.dedup_by(|later, earlier| later.gives_the_same(earlier));
        for recipe in recipes {
            match self.make(recipe).await {
                Ok(loaded) => return (Some(loaded), error),
                // What is wrong with what is configured is what its author can change.
                Err(reason) => _ = error.get_or_insert(reason),
            }
        }
        // It has an engine of its own, which may be another than this one.
        (before.cloned(), error)
    }

    /// The plugin of a recipe: one that is there already, or else a new one.
    async fn make(&self, recipe: Recipe) -> anyhow::Result<LoadedPlugin> {
        let same_engine = self.last.filter(|last| Arc::ptr_eq(&last.engine, self.engine));
        let mut there = same_engine.into_iter().flat_map(|last| &last.slots).filter_map(|slot| slot.serving.as_ref());
        match there.find(|loaded| loaded.recipe.gives_the_same(&recipe)) {
            // Another may vouch for the same component by now.
            Some(loaded) => Ok(LoadedPlugin { recipe, ..loaded.clone() }),
            None => recipe.make(self.engine).await,
        }
    }
}
