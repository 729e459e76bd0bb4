//! [`Cloud`]: the stores of the clouds, with the names and values of Flyte 2.
//!
//! The requests and the store's errors are those of `plugins/store`. A missing secret is the only
//! answer that leads to a broader scope without a trace; a secret that is disabled, marked for
//! deletion or empty ends the search, as in Flyte.

use ampoule_plugin_sdk::{FetchedValue, InjectionError};
use ampoule_plugin_store::{
    Secret, Store,
    aws::{self, AwsSecretsManager},
    azure::{self, AzureKeyVault},
    find,
    gcp::{self, GcpSecretManager},
};
use data_encoding::{BASE32_NOPAD, BASE64};
use serde::Deserialize;

use crate::scope::{Coordinates, secret_id};

/// The longest name of a secret in Azure Key Vault.
const MAX_AZURE_NAME: usize = 127;

/// The current version in AWS Secrets Manager, which Flyte names.
const AWS_CURRENT: &str = "AWSCURRENT";

/// A store of a cloud.
#[derive(Debug)]
pub(crate) enum Cloud {
    Aws(AwsSecretsManager),
    Gcp(GcpSecretManager),
    Azure(AzureKeyVault),
}

/// The value of a secret in Azure Key Vault, which cannot store bytes.
#[derive(Deserialize)]
struct Envelope {
    /// `STRING`, or `BINARY` for base64. A serde enum would double the code of the plugin.
    #[serde(rename = "type")]
    kind: String,
    value: String,
}

// === impl Cloud ===

impl Cloud {
    /// Returns the store that is set up. The settings have at most one section.
    pub(crate) fn new(
        aws: Option<aws::Settings>,
        gcp: Option<gcp::Settings>,
        azure: Option<azure::Settings>,
    ) -> Result<Option<Self>, String> {
        let at = |section: &'static str| move |reason: String| format!("{section}.{reason}");
        Ok(match (aws, gcp, azure) {
            (Some(settings), _, _) => Some(Self::Aws(AwsSecretsManager::new(settings).map_err(at("aws"))?)),
            (_, Some(settings), _) => Some(Self::Gcp(GcpSecretManager::new(settings).map_err(at("gcp"))?)),
            (_, _, Some(settings)) => Some(Self::Azure(AzureKeyVault::new(settings).map_err(at("azure"))?)),
            (None, None, None) => None,
        })
    }

    /// Checks that the store can have a secret with this key in every scope. Sends no request.
    pub(crate) fn check(&self, of: &Coordinates, key: &str) -> Result<(), InjectionError> {
        for scope in of.scopes() {
            let secret = self.secret(&scope, key)?;
            match self {
                Self::Aws(store) => store.ask(&secret)?,
                Self::Gcp(store) => store.ask(&secret)?,
                Self::Azure(store) => store.ask(&secret)?,
            };
        }
        Ok(())
    }

    /// Fetches the secret of one scope. Returns `None` if the store does not have it.
    pub(crate) fn find(&self, scope: &Coordinates, key: &str) -> Result<Option<FetchedValue>, InjectionError> {
        let secret = self.secret(scope, key)?;
        let found = match self {
            Self::Aws(store) => find(store, &secret)?,
            Self::Gcp(store) => find(store, &secret)?,
            Self::Azure(store) => find(store, &secret)?,
        };
        found.map(|value| value.try_map(|bytes| self.decode(&secret, bytes))).transpose()
    }

    /// The secret of one scope, by its name in the store.
    fn secret(&self, scope: &Coordinates, key: &str) -> Result<Secret, InjectionError> {
        let (name, version) = match self {
            Self::Aws(_) => (secret_id(scope, key), AWS_CURRENT),
            Self::Gcp(_) => (secret_id(scope, key), ""),
            Self::Azure(_) => (azure_name(scope, key)?, ""),
        };
        Ok(Secret { name, version: version.to_owned(), field: None })
    }

    /// The value in the bytes of the store.
    fn decode(&self, secret: &Secret, bytes: Vec<u8>) -> Result<Vec<u8>, InjectionError> {
        match self {
            Self::Aws(_) if bytes.is_empty() => {
                let reason = format!("secret {} read as empty from the secret manager", secret.name);
                Err(InjectionError::invalid_request(reason))
            }
            Self::Aws(_) | Self::Gcp(_) => Ok(bytes),
            Self::Azure(_) => open_envelope(&bytes).ok_or_else(|| {
                InjectionError::invalid_request(format!(
                    "secret {} of Azure Key Vault is not in the form of Flyte: {{\"type\": \"STRING\", \"value\": \
                     …}}; create it with `flyte create secret`",
                    secret.name
                ))
            }),
        }
    }
}

/// The name of a secret in Azure Key Vault, which permits letters, digits and `-` only.
pub(crate) fn azure_name(scope: &Coordinates, key: &str) -> Result<String, InjectionError> {
    let part = |text: &str| text.replace('0', "00").replace('-', "01");
    let [organization, domain, project] = [&scope.organization, &scope.domain, &scope.project].map(|text| part(text));
    let name = format!("1-{organization}-{domain}-{project}-{}", BASE32_NOPAD.encode(key.as_bytes()));
    if name.len() > MAX_AZURE_NAME {
        return Err(InjectionError::invalid_request(format!(
            "the name of secret {key:?} in Azure Key Vault would have {} characters; it may have {MAX_AZURE_NAME}, so \
             use a shorter key",
            name.len()
        )));
    }
    Ok(name)
}

/// The value in the JSON of a secret; `None` if it is not such JSON.
fn open_envelope(json: &[u8]) -> Option<Vec<u8>> {
    let Envelope { kind, value } = serde_json::from_slice(json).ok()?;
    match kind.as_str() {
        "STRING" => Some(value.into_bytes()),
        "BINARY" => BASE64.decode(value.as_bytes()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
