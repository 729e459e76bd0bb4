//! [`PluginInfo`]: the description that a plugin gives of itself.
//!
//! It is the same type for every version of the contract.

use ampoule_core::MountRequirement;

/// The description that a plugin gives of itself. Name and version are short and printable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginInfo {
    /// The backend's name.
    pub name: String,
    /// The plugin's version.
    pub version: String,
    /// The ways in which it can deliver a secret.
    pub mounts: Vec<MountRequirement>,
    /// JSON schema of its settings, as the plugin wrote it.
    pub settings_schema: String,
}
