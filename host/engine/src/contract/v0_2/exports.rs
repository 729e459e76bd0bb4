//! [`PluginPre`] and [`PluginExports`]: the interfaces that a plugin exports. `fetcher` and
//! `lifecycle` are optional.

use ampoule_component::Surface;
use wasmtime::{
    Store,
    component::{Instance, InstancePre},
};

use super::bindings::exports::ampoule::injector::{fetcher, injector, lifecycle};
use crate::sandbox::store::GuestState;

/// A component with resolved imports, and the places of its exports.
pub(crate) struct PluginPre {
    pub(crate) instance: InstancePre<GuestState>,
    injector: injector::GuestIndices,
    fetcher: Option<fetcher::GuestIndices>,
    lifecycle: Option<lifecycle::GuestIndices>,
}

/// The exports of an instance.
pub(crate) struct PluginExports {
    pub(crate) injector: injector::Guest,
    pub(crate) fetcher: Option<fetcher::Guest>,
    pub(crate) lifecycle: Option<lifecycle::Guest>,
}

// === impl PluginPre ===

impl PluginPre {
    /// Finds the exports, and checks their types.
    pub(crate) fn new(instance: InstancePre<GuestState>, surface: &Surface) -> wasmtime::Result<Self> {
        let injector = injector::GuestIndices::new(&instance)?;
        let fetcher = surface.has_export("fetcher").then(|| fetcher::GuestIndices::new(&instance)).transpose()?;
        let lifecycle = surface.has_export("lifecycle").then(|| lifecycle::GuestIndices::new(&instance)).transpose()?;
        Ok(Self { instance, injector, fetcher, lifecycle })
    }

    pub(crate) fn has_check(&self) -> bool {
        self.lifecycle.is_some()
    }

    /// Loads the exports of an instance of this component.
    pub(crate) fn load(&self, store: &mut Store<GuestState>, instance: Instance) -> wasmtime::Result<PluginExports> {
        Ok(PluginExports {
            injector: self.injector.load(&mut *store, &instance)?,
            fetcher: self.fetcher.as_ref().map(|indices| indices.load(&mut *store, &instance)).transpose()?,
            lifecycle: self.lifecycle.as_ref().map(|indices| indices.load(&mut *store, &instance)).transpose()?,
        })
    }
}
