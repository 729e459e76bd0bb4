//! The store of `azure-key-vault`: values of the secrets of an Azure Key Vault.
//!
//! The group of a request is the name of the secret, the key selects a field of its JSON, and the
//! version is the id of a version. The host adds the access token (`credential: azure`), so the
//! plugin sees no credential.

use ampoule_plugin_sdk::{
    FetchedValue, InjectionError,
    http::{self, Request, Response},
};
use serde::Deserialize;

use crate::{Secret, Store, base_url};

/// The store, with validated settings.
#[derive(Debug)]
pub struct AzureKeyVault {
    url: String,
}

/// The settings of the injector (`injectors[].settings`).
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {
    /// URL of the vault, such as `https://shop.vault.azure.net`.
    vault_url: String,
}

/// The version of the API. Newer ones, up to 2025-07-01, have the same answer; this one also exists
/// in the sovereign clouds and in Azure Stack.
const API_VERSION: &str = "7.4";

/// The part of the answer that the plugin reads.
#[derive(Deserialize)]
struct Answer {
    value: String,
    /// `https://VAULT/secrets/NAME/VERSION`.
    id: String,
}

/// An error of Key Vault.
#[derive(Deserialize)]
struct Failure {
    error: Code,
}

#[derive(Deserialize)]
struct Code {
    code: String,
    innererror: Option<Box<Code>>,
}

// === impl AzureKeyVault ===

impl Store for AzureKeyVault {
    type Settings = Settings;
    const TITLE: &'static str = "Azure Key Vault";
    const ADDRESS: &'static str = "vaultUrl";

    fn new(settings: Settings) -> Result<Self, String> {
        Ok(Self { url: base_url("vaultUrl", &settings.vault_url)? })
    }

    fn ask(&self, secret: &Secret) -> Result<Request, InjectionError> {
        secret.check("name of a secret", &secret.name, |byte| byte.is_ascii_alphanumeric() || byte == b'-')?;
        let mut path = format!("{}/secrets/{}", self.url, secret.name);
        if !secret.version.is_empty() {
            secret.check("version of a secret", &secret.version, |byte| byte.is_ascii_alphanumeric())?;
            path += &format!("/{}", secret.version);
        }
        Ok(http::get(format!("{path}?api-version={API_VERSION}")))
    }

    fn read(&self, secret: &Secret, answer: &Response) -> Result<FetchedValue, InjectionError> {
        let Answer { value, id } = answer.json()?;
        let version = id.rsplit('/').next().unwrap_or_default();
        Ok(secret.value::<Self>(value.into_bytes())?.version(version))
    }

    /// Key Vault answers with status 403 to a disabled secret too.
    fn reason(&self, secret: &Secret, answer: &Response) -> Option<InjectionError> {
        let failure: Failure = answer.json().ok()?;
        let code = failure.error.innererror.map_or(failure.error.code, |inner| inner.code);
        (answer.status == 403 && code == "SecretDisabled")
            .then(|| InjectionError::not_found(format!("secret {secret} is disabled in {}", Self::TITLE)))
    }
}

#[cfg(test)]
mod tests;
