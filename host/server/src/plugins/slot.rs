//! A position in the chain and its plugin: [`PluginSlot`]. If a new plugin does not load, its
//! predecessor stays.
//!
//! [`SlotFiller`] tries, in this order: the configured plugin; the configured plugin with the
//! previous component, if only the source fails; the previous plugin, unless its grants or its
//! signer's key have been revoked.

use std::sync::Arc;

use ampoule_core::{Conventions, Delivery, EditPermissions, FetchRecipe, InjectorFacts, SecretInjector};
use ampoule_engine::PluginEngine;
use anyhow::Context as _;

use super::{
    PipelineParts,
    kept_values::ValuePlugin,
    missing_plugin::MissingPlugin,
    public_reason::public_reason,
    recipe::{LoadedPlugin, PluginRecipe},
    status::{PluginStatus, ServingPlugin},
};
use ampoule_cluster::events::ConfigMapReference;
use ampoule_components::{FetchedInjector, ListedInjector, fetch::Component};
use ampoule_config::{ComponentSource, Config, InjectorConfig, PermittedHost, PodComponents, TrustConfig};
use ampoule_telemetry::{plugin_state::PluginState, reason::one_line};

/// A position in the chain.
#[derive(Clone)]
pub(super) struct PluginSlot {
    pub(super) status: PluginStatus,
    /// `None` for a [`MissingPlugin`].
    pub(super) serving: Option<LoadedPlugin>,
}

/// The identity of a slot: a name, and whether a ConfigMap defines it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SlotKey {
    pub(super) from_config_map: bool,
    pub(super) name: String,
}

/// Loads the plugins of slots.
pub(super) struct SlotFiller {
    pub(super) engine: Arc<PluginEngine>,
    pub(super) conventions: Conventions,
    pub(super) trust: TrustConfig,
    pub(super) strict_grants: bool,
    /// How pods get components, with `delivery: pod`.
    pub(super) pod_components: PodComponents,
    /// The hosts and credentials that the injectors of ConfigMaps may use.
    pub(super) config_map_credentials: Vec<PermittedHost>,
    /// The parts of the previous pipeline.
    pub(super) last: Option<Arc<PipelineParts>>,
}

/// The states of the plugins in the chain. Those behind a plugin that serves everything name it.
pub(super) fn states<'a>(slots: &'a [PluginSlot], config: &'a Config) -> impl Iterator<Item = PluginStatus> + 'a {
    let mut first = None;
    slots.iter().map(move |slot| {
        let mut status = slot.status.clone();
        if !slot.is_shadow(config) {
            status.shadowed_by.clone_from(&first);
            if first.is_none() && slot.serves_all() {
                first = Some(status.name.clone());
            }
        }
        status
    })
}

// === impl PluginSlot ===

impl PluginSlot {
    /// Returns the injector for the chain.
    pub(super) fn injector(&self) -> Arc<dyn SecretInjector> {
        match &self.serving {
            Some(loaded) => Arc::new(loaded.injector()),
            None => Arc::new(MissingPlugin::new(&self.status.name, self.status.state == PluginState::Loading)),
        }
    }

    /// Restricts the edits of the plugin to those that the new configuration permits as well, and
    /// its delivery likewise.
    pub(super) fn restrict(&mut self, config: Option<&InjectorConfig>) {
        if let (Some(loaded), Some(config)) = (&mut self.serving, config) {
            let current = &mut loaded.recipe.config;
            current.edits = current.edits.intersection(&config.edits);
            current.delivery = current.delivery.min(config.delivery);
        }
    }

    /// Returns what the plugin may change in a pod; `None` without a plugin.
    pub(super) fn edits(&self) -> Option<&EditPermissions> {
        self.serving.as_ref().map(|loaded| &loaded.recipe.config.edits)
    }

    /// How the plugin's values reach pods. Values are refused without a plugin.
    pub(super) fn delivery(&self) -> Delivery {
        self.serving.as_ref().map_or(Delivery::Reference, |loaded| loaded.recipe.config.delivery)
    }

    /// How a pod loads the plugin, with `delivery: pod`.
    pub(super) fn fetch_recipe(&self) -> Option<Arc<FetchRecipe>> {
        self.serving.as_ref()?.fetch.clone()
    }

    /// The plugin that serves, with the time for which its values are kept.
    pub(super) fn values(&self) -> Option<ValuePlugin> {
        let loaded = self.serving.as_ref()?;
        Some(ValuePlugin { plugin: loaded.plugin.clone(), cache: loaded.recipe.config.cache })
    }

    /// Whether the plugin describes itself as one that serves every request with a group and a key.
    pub(super) fn serves_all(&self) -> bool {
        self.serving.as_ref().is_some_and(|loaded| loaded.plugin.info().serves_all)
    }

    /// Whether its answers are only compared. ConfigMaps cannot add such an injector.
    pub(super) fn is_shadow(&self, config: &Config) -> bool {
        let is_same = |injector: &&InjectorConfig| injector.name == self.status.name;
        self.status.origin.is_none() && config.injectors.iter().find(is_same).is_some_and(|injector| injector.shadow)
    }

    /// The properties that policy rules can read. Those of a plugin that is not loaded are unknown.
    pub(super) fn facts(&self) -> InjectorFacts {
        let unknown = InjectorFacts::unknown();
        let config = self.serving.as_ref().map(|loaded| &loaded.recipe.config);
        InjectorFacts {
            name: self.status.name.clone(),
            builtin: config.is_some_and(|config| matches!(config.component, ComponentSource::Builtin(_))),
            config_map: self.status.origin.is_some(),
            reads_values: config.map_or(unknown.reads_values, |config| config.first_that_reads().is_some()),
        }
    }

    /// Removes the plugin, whose grants, key or source were revoked.
    pub(super) fn revoke(&mut self) {
        self.serving = None;
        self.status.serving = None;
        self.status.state = PluginState::Loading;
        self.status.error = None;
        self.status.public_error = None;
    }
}

// === impl SlotFiller ===

impl SlotFiller {
    /// Fills the slot of an injector. Never fails: without a plugin, the status has the error.
    pub(super) async fn fill(&self, offer: FetchedInjector) -> PluginSlot {
        let before = self.predecessor(&offer.name, offer.origin.is_some());
        let kept = before.and_then(|before| before.serving.as_ref()).filter(|_| !offer.is_dropped);
        let FetchedInjector { name, origin, config, component, is_dropped: _ } = offer;
        let (mut serving, error) = self.load_first(config.as_ref(), component, kept, origin.as_ref()).await;
        if let (Some(loaded), Some(config)) = (&mut serving, &config) {
            // Also for a plugin that stays although the new one does not load.
            loaded.recipe.config.edits = config.edits.clone();
            loaded.recipe.config.delivery = config.delivery;
        }
        if let Some(loaded) = &serving {
            loaded.log(kept);
        }
        let public_error = error.as_ref().map(|error| public_reason(error, config.as_ref()));
        let error = error.map(|error| one_line(&error));
        let is_new = match (&serving, kept) {
            (Some(loaded), Some(kept)) => !kept.recipe.builds_same_plugin(&loaded.recipe),
            (Some(_), None) => true,
            (None, _) => false,
        };
        let shown = serving.as_ref().map(|loaded| &loaded.recipe.config).or(config.as_ref());
        let status = PluginStatus {
            state: match (&serving, &error) {
                (Some(_), None) => PluginState::Loaded,
                (Some(_), Some(_)) => PluginState::ServingPrevious,
                (None, _) => PluginState::Failed,
            },
            generation: before.map_or(0, |before| before.status.generation) + u64::from(is_new),
            required: config.as_ref().is_some_and(|config| config.required),
            source: shown.map_or_else(|| format!("configmap:{name}"), |config| config.component.to_string()),
            serving: serving.as_ref().map(|LoadedPlugin { recipe, plugin, fetch: _, warning }| ServingPlugin {
                version: plugin.version().to_owned(),
                digest: plugin.digest().to_owned(),
                signer: recipe.component.signer.as_ref().map(ToString::to_string),
                warning: warning.clone(),
            }),
            name,
            origin,
            shadowed_by: None,
            error,
            public_error,
        };
        PluginSlot { status, serving }
    }

    /// Returns the slot of an injector until it is filled: the previous plugin if it is permitted,
    /// otherwise a missing plugin.
    pub(super) fn keep(&self, injector: &ListedInjector) -> PluginSlot {
        let config = injector.config.as_ref().ok();
        let required = config.is_some_and(|config| config.required);
        if let Some(before) = self.predecessor(&injector.name, injector.origin.is_some()) {
            let mut slot = before.clone();
            slot.status.origin.clone_from(&injector.origin);
            slot.status.required = required;
            let is_permitted = |LoadedPlugin { recipe, .. }: &LoadedPlugin| {
                !injector.is_dropped
                    && recipe.is_permitted(config, &self.trust)
                    && self.permits_credentials(recipe, injector.origin.as_ref())
            };
            if slot.serving.as_ref().is_some_and(|loaded| !is_permitted(loaded)) {
                slot.revoke();
            }
            slot.restrict(config);
            return slot;
        }
        let source =
            config.map_or_else(|| format!("configmap:{}", injector.name), |config| config.component.to_string());
        let status = PluginStatus {
            name: injector.name.clone(),
            origin: injector.origin.clone(),
            state: PluginState::Loading,
            generation: 0,
            required,
            source,
            serving: None,
            shadowed_by: None,
            error: None,
            public_error: None,
        };
        PluginSlot { status, serving: None }
    }

    /// Finds the slot of the previous pipeline that an injector continues: same name, and both or
    /// neither from a ConfigMap.
    fn predecessor(&self, name: &str, from_config_map: bool) -> Option<&PluginSlot> {
        let slots = self.last.iter().flat_map(|last| &last.slots);
        let mut same_name = slots.filter(|slot| slot.status.name == name);
        same_name.find(|slot| slot.status.origin.is_some() == from_config_map)
    }

    fn permits_credentials(&self, recipe: &PluginRecipe, origin: Option<&ConfigMapReference>) -> bool {
        origin.is_none() || recipe.has_permitted_credentials(&self.config_map_credentials)
    }

    /// Returns the first plugin that loads, and the error of the configured plugin.
    async fn load_first(
        &self,
        config: Option<&InjectorConfig>,
        component: anyhow::Result<Component>,
        before: Option<&LoadedPlugin>,
        origin: Option<&ConfigMapReference>,
    ) -> (Option<LoadedPlugin>, Option<anyhow::Error>) {
        let configured = |component, ca| {
            config.map(|config| PluginRecipe {
                config: config.clone(),
                conventions: self.conventions.clone(),
                trust: self.trust.clone(),
                component,
                ca,
                strict_grants: self.strict_grants,
                pod_components: self.pod_components.clone(),
            })
        };
        let ca = config.map_or(Ok(None), |config| {
            ampoule_grants::read_ca(&config.grants).with_context(|| format!("injector {}", config.name))
        });
        let before = before.filter(|LoadedPlugin { recipe, .. }| {
            recipe.is_allowed(config, &self.trust) && self.permits_credentials(recipe, origin)
        });
        let kept = before.map(|before| &before.recipe);
        let (mut recipes, mut error) = (Vec::new(), None);
        match (component, ca) {
            (Ok(component), Ok(ca)) => recipes.extend(configured(component, ca)),
            (Err(reason), Ok(ca)) => {
                error = Some(reason);
                let reusable =
                    |kept: &&PluginRecipe| config.is_some_and(|config| kept.is_component_usable(config, &self.trust));
                // The settings of a ConfigMap belong to the component in the same ConfigMap.
                let kept = kept.filter(reusable).filter(|_| origin.is_none());
                recipes.extend(kept.and_then(|kept| configured(kept.component.clone(), ca)));
            }
            (Err(reason), Err(_)) | (Ok(_), Err(reason)) => error = Some(reason),
        }
        recipes.extend(kept.cloned());
        recipes.dedup_by(|later, earlier| later.builds_same_plugin(earlier));
        for recipe in recipes {
            match self.load_or_reuse(recipe).await {
                Ok(loaded) => return (Some(loaded), error),
                // Keep the first error: that of the configured plugin, which the admin can fix.
                Err(reason) => _ = error.get_or_insert(reason),
            }
        }
        // It keeps its own engine, which may differ from the current one.
        (before.cloned(), error)
    }

    /// Reuses the plugin of the previous pipeline with the same recipe, or loads a new one.
    async fn load_or_reuse(&self, recipe: PluginRecipe) -> anyhow::Result<LoadedPlugin> {
        let same_engine = self.last.as_ref().filter(|last| Arc::ptr_eq(&last.engine, &self.engine));
        let slots = same_engine.into_iter().flat_map(|last| &last.slots);
        let mut loaded = slots.filter_map(|slot| slot.serving.as_ref());
        match loaded.find(|loaded| loaded.recipe.builds_same_plugin(&recipe)) {
            // The new recipe may have another signer for the same component.
            Some(loaded) => Ok(LoadedPlugin { recipe, ..loaded.clone() }),
            None => recipe.load(&self.engine).await,
        }
    }
}
