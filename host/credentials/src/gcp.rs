//! [`GcpLogin`]: access tokens of Google Cloud, for a service account of Kubernetes, or for the
//! identity in the file of `GOOGLE_APPLICATION_CREDENTIALS` or of the metadata server.

mod external_account;
mod key_file;

use std::{path::Path, time::Duration};

use ampoule_config::GcpCredential;
use async_trait::async_trait;
use http::Request;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use self::{
    external_account::{ExternalAccount, federated_token},
    key_file::KeyFile,
};
use crate::{
    LoginError, Surroundings,
    exchange::{encoded_pairs, send},
    kept::{CredentialLogin, Fresh},
    surroundings::read_secret_file,
};

/// Names the file in errors.
const FILE: &str = "GOOGLE_APPLICATION_CREDENTIALS:";

/// Gets access tokens of Google Cloud.
pub(crate) struct GcpLogin {
    config: GcpCredential,
    surroundings: Surroundings,
}

/// The file of `GOOGLE_APPLICATION_CREDENTIALS`.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum CredentialFile {
    ExternalAccount(ExternalAccount),
    ServiceAccount(KeyFile),
    #[serde(other)]
    Other,
}

// === impl GcpLogin ===

impl GcpLogin {
    pub(crate) fn new(config: GcpCredential, surroundings: Surroundings) -> Self {
        Self { config, surroundings }
    }

    async fn token_by_file(&self, path: &str) -> Result<(SecretString, u64), LoginError> {
        let text = read_secret_file(Path::new(path), FILE).await?;
        // The parser's error could quote the key.
        let file = serde_json::from_str(text.expose_secret());
        let wrong = |reason: &str| LoginError::misconfigured(format!("{FILE} {path}: {reason}"));
        match file.map_err(|_| wrong("does not have the form of a credential file"))? {
            CredentialFile::ExternalAccount(account) => account.token(&self.surroundings, &self.config.scopes).await,
            CredentialFile::ServiceAccount(key) => key.token(&self.surroundings, &self.config.scopes).await,
            CredentialFile::Other => Err(wrong("its type is neither external_account nor service_account")),
        }
    }

    async fn token_by_metadata(&self) -> Result<(SecretString, u64), LoginError> {
        let endpoint = self.config.metadata_endpoint.as_deref().unwrap_or("http://metadata.google.internal");
        let query = encoded_pairs(&[("scopes", &self.config.scopes.join(","))]);
        let url = format!(
            "{}/computeMetadata/v1/instance/service-accounts/default/token?{query}",
            endpoint.trim_end_matches('/')
        );
        let server = "the metadata server";
        let request = Request::get(url).header("metadata-flavor", "Google");
        send(&self.surroundings, server, request, "").await?.token(server)
    }
}

#[async_trait]
impl CredentialLogin<SecretString> for GcpLogin {
    async fn login(&self) -> Result<Fresh<SecretString>, LoginError> {
        let file = self.surroundings.variable("GOOGLE_APPLICATION_CREDENTIALS");
        let (token, lifetime) = match (&self.config.audience, file) {
            (Some(audience), _) => federated_token(&self.surroundings, &self.config, audience).await?,
            (None, Some(path)) => self.token_by_file(&path).await?,
            (None, None) => self.token_by_metadata().await?,
        };
        Ok(Fresh::for_lifetime(token, Duration::from_secs(lifetime)))
    }
}

/// Requires TLS for a URL of the file.
fn require_tls(url: &str, key: &str) -> Result<(), LoginError> {
    match url.starts_with("https://") {
        true => Ok(()),
        false => Err(LoginError::misconfigured(format!("{FILE} {key} is not a URL with https://"))),
    }
}
