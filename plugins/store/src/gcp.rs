//! The store of `gcp-secret-manager`: values of Google Secret Manager, fetched with
//! `versions.access`.
//!
//! The group of a request is the name of the secret, the key selects a field of its JSON, and the
//! version is a number or an alias. The host adds the access token (`credential: gcp`), so the
//! plugin sees no credential.

use ampoule_plugin_sdk::{
    FetchedValue, InjectionError,
    http::{self, Request, Response},
};
use crc::{CRC_32_ISCSI, Crc, NoTable};
use data_encoding::BASE64;
use serde::Deserialize;

use crate::{Secret, Store, base_url};

/// The store, with validated settings.
#[derive(Debug)]
pub struct GcpSecretManager {
    /// The URL up to the name of a secret.
    secrets: String,
}

/// The settings of the injector (`injectors[].settings`).
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {
    /// Id or number of the project of the secrets.
    project: String,
    /// Location of regional secrets, such as europe-west3. Default: global secrets.
    #[serde(default)]
    location: Option<String>,
    /// URL of the endpoint, such as that of Private Service Connect. Default:
    /// `https://secretmanager.googleapis.com`, with a location
    /// `https://secretmanager.<location>.rep.googleapis.com`.
    #[serde(default)]
    endpoint: Option<String>,
}

/// The part of the answer that the plugin reads.
#[derive(Deserialize)]
struct Answer {
    /// `projects/…/secrets/…/versions/VERSION`.
    name: String,
    payload: Option<Payload>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    /// Absent if the value is empty.
    #[serde(default)]
    data: String,
    /// A 64-bit integer, as text.
    data_crc32c: Option<String>,
}

/// An error of Google.
#[derive(Deserialize)]
struct Failure {
    error: Status,
}

#[derive(Deserialize)]
struct Status {
    status: String,
}

// === impl GcpSecretManager ===

impl Store for GcpSecretManager {
    type Settings = Settings;
    const TITLE: &'static str = "Google Secret Manager";
    const ADDRESS: &'static str = "endpoint";

    fn new(settings: Settings) -> Result<Self, String> {
        let is_valid = |text: &str, more: &str| {
            let mut chars = text.chars();
            !text.is_empty() && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c))
        };
        // The id of an old project begins with a domain, such as example.com:shop.
        if !is_valid(&settings.project, "-.:") || settings.project.contains("..") {
            return Err("project: must be the id or number of a project".to_owned());
        }
        let mut default = "https://secretmanager.googleapis.com".to_owned();
        let mut parent = format!("projects/{}", settings.project);
        if let Some(location) = &settings.location {
            if !is_valid(location, "-") {
                return Err("location: must be the name of a location, such as europe-west3".to_owned());
            }
            default = format!("https://secretmanager.{location}.rep.googleapis.com");
            parent += &format!("/locations/{location}");
        }
        let endpoint = base_url("endpoint", settings.endpoint.as_ref().unwrap_or(&default))?;
        Ok(Self { secrets: format!("{endpoint}/v1/{parent}/secrets") })
    }

    fn ask(&self, secret: &Secret) -> Result<Request, InjectionError> {
        let is_id_char = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        secret.check("name of a secret", &secret.name, is_id_char)?;
        let version = if secret.version.is_empty() { "latest" } else { &secret.version };
        secret.check("version of a secret", version, is_id_char)?;
        Ok(http::get(format!("{}/{}/versions/{version}:access", self.secrets, secret.name)))
    }

    fn read(&self, secret: &Secret, answer: &Response) -> Result<FetchedValue, InjectionError> {
        let Answer { name, payload } = answer.json()?;
        let document = payload.as_ref().and_then(|payload| BASE64.decode(payload.data.as_bytes()).ok());
        let (Some(payload), Some(document)) = (payload, document) else {
            return Err(InjectionError::internal(format!("the answer for secret {secret} has no valid value")));
        };
        if payload.data_crc32c.is_some_and(|checksum| checksum != crc32c(&document).to_string()) {
            return Err(InjectionError::unavailable(format!("the value of secret {secret} arrived damaged")));
        }
        let version = name.rsplit('/').next().unwrap_or_default();
        Ok(secret.value::<Self>(document)?.version(version))
    }

    /// Google answers with status 400 if the version cannot be read.
    fn reason(&self, secret: &Secret, answer: &Response) -> Option<InjectionError> {
        let failure: Failure = answer.json().ok()?;
        (answer.status == 400 && failure.error.status == "FAILED_PRECONDITION")
            .then(|| InjectionError::not_found(format!("the version of secret {secret} is disabled or destroyed")))
    }
}

fn crc32c(bytes: &[u8]) -> u32 {
    Crc::<u32, NoTable>::new(&CRC_32_ISCSI).checksum(bytes)
}

#[cfg(test)]
mod tests;
