//! The store of `vault-kv`: values of the KV secrets engines of HashiCorp Vault and OpenBao.
//!
//! The group of a request is the path of the secret, the key is the key at that path, and the
//! version is a number. The host adds the token (`credential: vault`), so the plugin sees no
//! credential. `builtin:vault` differs: it delegates to Vault's own injector.

use ampoule_plugin_sdk::{
    FetchedValue, InjectionError, SecretRequest,
    http::{self, Request, Response},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Secret, Store, base_url, encode_path};

/// The store, with validated settings.
#[derive(Debug)]
pub struct VaultKv {
    /// The URL up to the path of a secret.
    secrets: String,
    namespace: Option<String>,
    /// Whether the engine has version 2, which keeps versions of a secret.
    has_versions: bool,
}

/// The settings of the injector (`injectors[].settings`).
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {
    /// URL of the server, such as `https://vault.vault.svc:8200`.
    address: String,
    /// Path of the secrets engine. Default: secret.
    #[serde(default)]
    mount: Option<String>,
    /// Version of the secrets engine: 1 or 2. Default: 2.
    #[serde(default)]
    kv_version: Option<u8>,
    /// Namespace of the secrets engine, such as team-a. Default: none.
    #[serde(default)]
    namespace: Option<String>,
}

/// An answer of version 1 of the engine.
#[derive(Deserialize)]
struct Answer {
    data: Box<RawValue>,
    /// The seconds after which Vault suggests to read again.
    #[serde(default)]
    lease_duration: u32,
}

/// An answer of version 2 of the engine.
#[derive(Deserialize)]
struct VersionedAnswer {
    data: Versioned,
}

#[derive(Deserialize)]
struct Versioned {
    data: Box<RawValue>,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    version: u64,
}

// === impl VaultKv ===

impl Store for VaultKv {
    type Settings = Settings;
    const TITLE: &'static str = "Vault";
    const ADDRESS: &'static str = "address";

    fn new(settings: Settings) -> Result<Self, String> {
        let address = base_url("address", &settings.address)?;
        let mount = encode_path(settings.mount.as_deref().unwrap_or("secret"));
        let mount = mount.ok_or("mount: must be a path without a slash at its ends")?;
        if settings.namespace.as_ref().is_some_and(|path| encode_path(path).as_ref() != Some(path)) {
            return Err("namespace: must be a path without a slash at its ends, such as team-a".to_owned());
        }
        let data = match settings.kv_version {
            Some(1) => "",
            None | Some(2) => "/data",
            _ => return Err("kvVersion: must be 1 or 2".to_owned()),
        };
        Ok(Self {
            secrets: format!("{address}/v1/{mount}{data}"),
            namespace: settings.namespace,
            has_versions: !data.is_empty(),
        })
    }

    fn secret(&self, request: &SecretRequest) -> Result<Secret, InjectionError> {
        if request.group.is_empty() {
            return Err(InjectionError::invalid_request(format!("group must be set [{request}]")));
        }
        if !self.has_versions && !request.group_version.is_empty() {
            let text = format!("version 1 of the KV secrets engine has no versions of secrets [{request}]");
            return Err(InjectionError::invalid_request(text));
        }
        Secret::of(request)
    }

    fn ask(&self, secret: &Secret) -> Result<Request, InjectionError> {
        let path = encode_path(&secret.name).ok_or_else(|| secret.invalid("path of a secret", &secret.name))?;
        let mut url = format!("{}/{path}", self.secrets);
        if !secret.version.is_empty() {
            secret.check("version of a secret", &secret.version, |byte| byte.is_ascii_digit())?;
            url += &format!("?version={}", secret.version);
        }
        // An agent of Vault may reject requests without this header.
        let request = http::get(url).header("x-vault-request", "true");
        Ok(match &self.namespace {
            Some(namespace) => request.header("x-vault-namespace", namespace),
            None => request,
        })
    }

    fn read(&self, secret: &Secret, answer: &Response) -> Result<FetchedValue, InjectionError> {
        if self.has_versions {
            let Versioned { data, metadata } = answer.json::<VersionedAnswer>()?.data;
            let value = secret.value::<Self>(Box::<str>::from(data).into_boxed_bytes().into_vec())?;
            return Ok(value.version(metadata.version.to_string()));
        }
        let Answer { data, lease_duration } = answer.json()?;
        let value = secret.value::<Self>(Box::<str>::from(data).into_boxed_bytes().into_vec())?;
        Ok(if lease_duration == 0 { value } else { value.expires_in(lease_duration) })
    }

    /// Vault also answers with status 404 if the engine has another path or version.
    fn reason(&self, secret: &Secret, answer: &Response) -> Option<InjectionError> {
        let version = if self.has_versions { 2 } else { 1 };
        let text = format!("Vault has no secret {secret} at settings.mount with a KV engine of version {version}");
        (answer.status == 404).then(|| InjectionError::not_found(text))
    }
}

#[cfg(test)]
mod tests;
