//! [`InjectorFetcher`]: fetches the components of listed injectors, each on its own.
//!
//! It is independent of the watches, so that a slow source does not delay the others.

use anyhow::Context as _;

use crate::{
    fetch::{Component, ComponentRequest, FetchError, FetchErrorKind, Fetcher},
    injectors::ListedInjector,
};
use ampoule_cluster::events::ConfigMapReference;
use ampoule_config::{ComponentSource, Config, InjectorConfig, OciReference, TrustConfig};
use ampoule_oci::OciError;

/// Fetches components, except for those that a digest names and that were fetched before.
pub struct InjectorFetcher {
    fetcher: Fetcher,
    trust: TrustConfig,
    /// Components from registries that a digest names: the next fetch returns the same.
    pinned: Vec<PinnedComponent>,
}

/// A component that a digest names, with the conditions of its verification.
#[derive(Clone)]
pub(crate) struct PinnedComponent {
    request: ComponentRequest,
    trust: TrustConfig,
    component: Component,
}

/// An injector and its component, or the reason why it has none.
pub struct FetchedInjector {
    /// The name of the injector.
    pub name: String,
    /// The ConfigMap that defines it; `None` for the configuration.
    pub origin: Option<ConfigMapReference>,
    /// `None` if the ConfigMap is not valid.
    pub config: Option<InjectorConfig>,
    /// The verified component.
    pub component: anyhow::Result<Component>,
    /// Whether not even its previous plugin may stay in memory.
    pub is_dropped: bool,
}

/// What a fetch found out, for the watches and for the next fetch.
pub struct FetchRecord {
    pub(crate) pinned: Option<PinnedComponent>,
    pub(crate) tag: Option<(OciReference, TagResult)>,
}

/// What the pull of a tag found.
pub(crate) enum TagResult {
    /// The digest of the manifest.
    Pulled(String),
    /// The pull failed.
    Failed,
    /// The registry asks to wait for this time.
    Busy(std::time::Duration),
}

// === impl InjectorFetcher ===

impl InjectorFetcher {
    pub(crate) fn new(fetcher: Fetcher, config: &Config, pinned: Vec<PinnedComponent>) -> Self {
        Self { fetcher, trust: config.trust.clone(), pinned }
    }

    /// Fetches the component of an injector.
    pub async fn fetch(&self, injector: ListedInjector) -> FetchedInjector {
        let ListedInjector { name, origin, config, is_dropped } = injector;
        let config = match config {
            Ok(config) => config,
            Err(error) => return FetchedInjector { name, origin, config: None, component: Err(error), is_dropped },
        };
        let request = ComponentRequest { from_config_map: origin.is_some(), ..ComponentRequest::from(&config) };
        let component = match self.pinned.iter().find(|pinned| pinned.serves(&request, &self.trust)) {
            Some(pinned) => Ok(pinned.component.clone()),
            None => self.fetcher.fetch(request).await.with_context(|| format!("injector {name}")),
        };
        FetchedInjector { name, origin, config: Some(config), component, is_dropped }
    }

    /// Returns what a fetch found out.
    #[must_use]
    pub fn record(&self, injector: &FetchedInjector) -> FetchRecord {
        FetchRecord { pinned: PinnedComponent::new(injector, &self.trust), tag: tag_result(injector) }
    }
}

/// `None` for sources that are not tags.
fn tag_result(injector: &FetchedInjector) -> Option<(OciReference, TagResult)> {
    let ComponentSource::Oci(reference) = &injector.config.as_ref()?.component else { return None };
    if reference.digest().is_some() {
        return None;
    }
    let result = match &injector.component {
        Ok(component) => TagResult::Pulled(component.manifest.clone()?),
        Err(error) => match error.downcast_ref::<FetchError>().map(|error| &error.kind) {
            Some(FetchErrorKind::Oci(OciError::Busy { wait, .. })) => TagResult::Busy(*wait),
            _ => TagResult::Failed,
        },
    };
    Some((reference.clone(), result))
}

// === impl PinnedComponent ===

impl PinnedComponent {
    /// `None` for mutable tags and for sources that need no network.
    fn new(injector: &FetchedInjector, trust: &TrustConfig) -> Option<Self> {
        let config = injector.config.as_ref()?;
        let component = injector.component.as_ref().ok()?;
        let ComponentSource::Oci(reference) = &config.component else { return None };
        reference.digest()?;
        let request = ComponentRequest { from_config_map: injector.origin.is_some(), ..ComponentRequest::from(config) };
        Some(Self { request, trust: trust.clone(), component: component.clone() })
    }

    pub(crate) fn serves(&self, request: &ComponentRequest, trust: &TrustConfig) -> bool {
        self.request == *request && self.trust == *trust
    }

    /// Whether an injector of this list uses the component.
    pub(crate) fn is_used(&self, injectors: &[ListedInjector]) -> bool {
        injectors.iter().any(|injector| {
            let request = injector.config.as_ref().map(ComponentRequest::from);
            request.is_ok_and(|request| {
                self.request == ComponentRequest { from_config_map: injector.origin.is_some(), ..request }
            })
        })
    }
}
