//! Flyte's section `secrets`: where its Global secret manager looks.
//!
//! Both keys are those of the native section `globalSecrets`.

use super::{
    super::{ConfigError, ConfigFile},
    Notice,
    translate::Origins,
    tree::Tree,
};

/// Fills in where global secrets are looked for.
pub(super) fn fill(
    _file: &mut ConfigFile,
    tree: &Tree,
    _origins: &mut Origins,
    notices: &mut Vec<Notice>,
) -> Result<(), ConfigError> {
    for path in ["secrets.secrets-prefix", "secrets.env-prefix"] {
        if let Some(found) = tree.find(path) {
            found.text()?;
            notices.push(Notice::Warning(format!("{}: is ignored: there are no global secrets yet", found.place())));
        }
    }
    Ok(())
}
