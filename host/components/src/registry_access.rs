//! [`RegistryAccess`]: the hosts of registries that an injector may name.
//!
//! A writer of ConfigMaps must not learn from the webhook which ports of the node or of the pod are
//! open. Registries of ConfigMaps obey the rules for hosts that plugins call.

use ampoule_core::prohibited_address;
use ampoule_oci::AddressCheck;

/// The hosts of registries that an injector may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RegistryAccess {
    /// Every host: an admin names it.
    Configured,
    /// Hosts in `registries.insecure`, and hosts whose address plugins may call.
    FromConfigMap,
}

// === impl RegistryAccess ===

impl RegistryAccess {
    pub(crate) fn new(from_config_map: bool) -> Self {
        if from_config_map { Self::FromConfigMap } else { Self::Configured }
    }

    /// The addresses that are allowed; `None` for all.
    pub(crate) fn check(self) -> Option<AddressCheck> {
        match self {
            Self::Configured => None,
            Self::FromConfigMap => Some(|address| prohibited_address(address).is_none()),
        }
    }
}
