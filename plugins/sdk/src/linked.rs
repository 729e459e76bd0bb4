//! Functions of [`host`](crate::host) that only some plugins need: [`Linked`].
//!
//! wasmtime resolves every import of a component for every fresh instance, so an import that a
//! plugin never calls has a cost. The constructor of a part of an edit sets the function that
//! creates the part in the host. A plugin without such a part does not contain the constructor, so
//! the linker removes the function and its imports.

use std::sync::OnceLock;

use crate::{
    CsiVolume, InitContainer, MemoryVolume, SecretFile, ServiceAccountTokenVolume,
    bindings::ampoule::injector::admission as host,
};

/// A function that a constructor sets.
pub(crate) struct Linked<F>(OnceLock<F>);

/// Creates a volume of this kind.
pub(crate) type MakeVolume<V> = fn(&V) -> host::Volume;

pub(crate) static INIT_CONTAINER: Linked<fn(&InitContainer, &host::Request) -> Result<(), String>> = Linked::new();
pub(crate) static SECRET_FILE: Linked<fn(&SecretFile, &host::Request) -> Result<(), String>> = Linked::new();
pub(crate) static MEMORY: Linked<MakeVolume<MemoryVolume>> = Linked::new();
pub(crate) static CSI: Linked<MakeVolume<CsiVolume>> = Linked::new();
pub(crate) static SERVICE_ACCOUNT_TOKEN: Linked<MakeVolume<ServiceAccountTokenVolume>> = Linked::new();

// === impl Linked ===

impl<F: Copy> Linked<F> {
    const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Keeps the function in the component.
    pub(crate) fn link(&self, function: F) {
        let _ = self.0.set(function);
    }

    /// Returns the function. Only a value whose constructor has set it needs it.
    pub(crate) fn get(&self) -> Result<F, String> {
        self.0.get().copied().ok_or_else(|| "it was not created by a constructor of the SDK".to_owned())
    }
}
