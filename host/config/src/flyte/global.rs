//! Flyte's section `secrets`: the location of the global secrets, which are consulted first, in
//! Flyte as in Ampoule.
//!
//! Its key `secrets-prefix` is a folder, despite its name.

use super::{place::Origins, tree::Tree};
use crate::{ConfigError, delivery::DeliveryName, global_secrets::GlobalSecretsSection};

/// The location of the global secrets. They are always enabled.
pub(super) fn secrets(tree: &Tree, origins: &mut Origins) -> Result<GlobalSecretsSection, ConfigError> {
    let mut section = GlobalSecretsSection {
        enabled: true,
        // As in Flyte. The start reports a warning.
        delivery: DeliveryName::Inline,
        accept_plaintext: true,
        ..GlobalSecretsSection::default()
    };
    if let Some(prefix) = tree.find("secrets.env-prefix") {
        origins.add("globalSecrets.envPrefix", prefix.place());
        section.env_prefix = prefix.text()?;
    }
    if let Some(directory) = tree.find("secrets.secrets-prefix") {
        origins.add("globalSecrets.directory", directory.place());
        section.directory = directory.text()?.into();
    }
    Ok(section)
}
