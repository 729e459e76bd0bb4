//! A place in the chain and who fills it: [`Slot`], which keeps what served there where something new does not.
//!
//! Tried in this order: what is configured; the component that was there before, where only its source fails; all that was there before.

use std::sync::Arc;

use ampoule_core::{Conventions, SecretInjector};
use ampoule_engine::PluginEngine;
use anyhow::Context as _;

use super::{
    Parts,
    recipe::{LoadedPlugin, Recipe},
    stand_in::StandIn,
    status::{PluginState, PluginStatus, Serving},
};
use crate::{
    config::{InjectorConfig, TrustConfig},
    fetch::{Component, FetchError},
};

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
    pub(super) async fn fill(&self, config: &InjectorConfig, fetched: Result<Component, FetchError>) -> Slot {
        let before = self.last.and_then(|last| last.slots.iter().find(|slot| slot.status.name == config.name));
        let (serving, error) = self.find(config, fetched, before.and_then(|before| before.serving.as_ref())).await;
        let error = error.map(|error| one_line(&error));
        let same = |loaded: &LoadedPlugin| {
            let before = before.and_then(|before| before.serving.as_ref());
            before.is_some_and(|before| before.recipe.gives_the_same(&loaded.recipe))
        };
        let new = serving.as_ref().is_some_and(|loaded| !same(loaded));
        let status = PluginStatus {
            name: config.name.clone(),
            state: match (&serving, &error) {
                (Some(_), None) => PluginState::Loaded,
                (Some(_), Some(_)) => PluginState::ServingPrevious,
                (None, _) => PluginState::Failed,
            },
            generation: before.map_or(0, |before| before.status.generation) + u64::from(new),
            required: config.required,
            source: serving.as_ref().map_or(&config.component, |loaded| &loaded.recipe.config.component).to_string(),
            serving: serving.as_ref().map(|LoadedPlugin { recipe, plugin }| Serving {
                version: plugin.version().to_owned(),
                digest: plugin.digest().to_owned(),
                signer: recipe.component.signer.clone(),
            }),
            error,
        };
        Slot { status, serving }
    }

    /// The first plugin that loads, and what was wrong with what is configured.
    async fn find(
        &self,
        config: &InjectorConfig,
        fetched: Result<Component, FetchError>,
        before: Option<&LoadedPlugin>,
    ) -> (Option<LoadedPlugin>, Option<anyhow::Error>) {
        let configured = |component| Recipe {
            config: config.clone(),
            conventions: self.conventions.clone(),
            trust: self.trust.clone(),
            component,
        };
        let (mut recipes, mut error) = (Vec::new(), None);
        match fetched.with_context(|| format!("injector {}", config.name)) {
            Ok(component) => recipes.push(configured(component)),
            Err(reason) => error = Some(reason),
        }
        if let Some(LoadedPlugin { recipe, plugin: _ }) = before {
            if recipe.component_serves(config, self.trust) {
                recipes.push(configured(recipe.component.clone()));
            }
            recipes.push(recipe.clone());
        }
        recipes.dedup_by(|later, earlier| later.gives_the_same(earlier));
        for recipe in recipes {
            match self.make(recipe).await {
                Ok(loaded) => return (Some(loaded), error),
                // What is wrong with what is configured is what its author can change.
                Err(reason) => _ = error.get_or_insert(reason),
            }
        }
        (None, error)
    }

    /// The plugin of a recipe: one that is there already, or else a new one.
    async fn make(&self, recipe: Recipe) -> anyhow::Result<LoadedPlugin> {
        let same_engine = self.last.filter(|last| Arc::ptr_eq(&last.engine, self.engine));
        let mut there = same_engine.into_iter().flat_map(|last| &last.slots).filter_map(|slot| slot.serving.as_ref());
        match there.find(|loaded| loaded.recipe.gives_the_same(&recipe)) {
            // Another may vouch for the same component by now.
            Some(loaded) => Ok(LoadedPlugin { recipe, plugin: loaded.plugin.clone() }),
            None => recipe.make(self.engine).await,
        }
    }
}

/// A parser's message may have lines.
fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}
