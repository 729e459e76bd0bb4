//! Flyte's section `secrets`: where its Global secret manager looks, which is asked before every other, in Flyte as here.
//!
//! Its `secrets-prefix` is a folder, whatever the name says.

use super::{
    super::{ConfigError, file::GlobalSecretsFile},
    translate::Origins,
    tree::Tree,
};

/// Where global secrets are looked for. They are always on.
pub(super) fn secrets(tree: &Tree, origins: &mut Origins) -> Result<GlobalSecretsFile, ConfigError> {
    let mut file = GlobalSecretsFile::default();
    if let Some(prefix) = tree.find("secrets.env-prefix") {
        origins.add("globalSecrets.envPrefix", prefix.place());
        file.env_prefix = prefix.text()?;
    }
    if let Some(directory) = tree.find("secrets.secrets-prefix") {
        origins.add("globalSecrets.directory", directory.place());
        file.directory = directory.text()?.into();
    }
    Ok(file)
}
