//! [`VaultLogin`]: tokens of Vault or OpenBao for the webhook's service account token. A renewable
//! token is renewed; a login follows when its server no longer extends it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ampoule_config::VaultCredential;
use async_trait::async_trait;
use http::{Request, header::CONTENT_TYPE};
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroizing};
use serde::Deserialize;
use serde_json::json;

use crate::{
    LoginError, Surroundings,
    exchange::{bounded, send, server_name},
    kept::{CredentialLogin, Fresh},
    surroundings::read_secret_file,
};

/// The lifetime of a token that does not expire, after which the host logs in again.
const WITHOUT_EXPIRY: u64 = 3600;

/// Gets tokens of Vault.
pub(crate) struct VaultLogin {
    config: VaultCredential,
    surroundings: Surroundings,
    /// The last token, if it can be renewed.
    renewable: Mutex<Option<Renewable>>,
}

#[derive(Clone)]
struct Renewable {
    token: SecretString,
    /// The lifetime that the login gave, in seconds.
    lifetime: u64,
}

#[derive(Deserialize)]
struct VaultReply {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

// === impl VaultLogin ===

impl VaultLogin {
    pub(crate) fn new(config: VaultCredential, surroundings: Surroundings) -> Self {
        Self { config, surroundings, renewable: Mutex::new(None) }
    }

    async fn call(&self, path: &str, token: Option<&SecretString>, body: String) -> Result<Auth, LoginError> {
        let address = self.config.address.trim_end_matches('/');
        let mut request = Request::post(format!("{address}/v1/auth/{path}")).header(CONTENT_TYPE, "application/json");
        if let Some(namespace) = &self.config.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        if let Some(token) = token {
            request = request.header("x-vault-token", token.expose_secret());
        }
        let server = server_name(address);
        let VaultReply { auth } = send(&self.surroundings, &server, request, body).await?.json(&server)?;
        if auth.client_token.is_empty() { Err(LoginError::format_of(&server)) } else { Ok(auth) }
    }

    /// Extends the last token. `None` without a renewable token, and near the end of its life.
    async fn renew(&self) -> Option<Fresh<SecretString>> {
        let last = self.renewable.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let auth = self.call("token/renew-self", Some(&last.token), "{}".to_owned()).await.ok()?;
        // A token near its maximum lifetime is extended by less and less.
        (auth.lease_duration > last.lifetime / 2).then(|| self.keep(auth, last.lifetime))
    }

    /// The token of the service account.
    async fn account_token(&self) -> Result<SecretString, LoginError> {
        match self.config.requested_audience() {
            Some(audience) => {
                self.surroundings.secrets.request_token(audience).await.map_err(LoginError::of_token_request)
            }
            None => read_secret_file(&self.config.token_file, "tokenFile").await,
        }
    }

    async fn log_in(&self) -> Result<Fresh<SecretString>, LoginError> {
        let token = self.account_token().await?;
        let body = Zeroizing::new(json!({ "role": self.config.role, "jwt": token.expose_secret() }).to_string());
        let auth = self.call(&format!("{}/login", self.config.path), None, body.to_string()).await?;
        let lifetime = auth.lease_duration;
        Ok(self.keep(auth, lifetime))
    }

    fn keep(&self, auth: Auth, lifetime: u64) -> Fresh<SecretString> {
        let token = SecretString::from(auth.client_token);
        let renewable = auth.renewable.then(|| Renewable { token: token.clone(), lifetime });
        *self.renewable.lock().unwrap_or_else(PoisonError::into_inner) = renewable;
        let seconds = if auth.lease_duration == 0 { WITHOUT_EXPIRY } else { bounded(auth.lease_duration) };
        Fresh::for_lifetime(token, Duration::from_secs(seconds))
    }
}

#[async_trait]
impl CredentialLogin<SecretString> for VaultLogin {
    async fn login(&self) -> Result<Fresh<SecretString>, LoginError> {
        match self.renew().await {
            Some(renewed) => Ok(renewed),
            None => self.log_in().await,
        }
    }
}

/// Whether Vault answers a request for this path with a token: below `auth/token` of any namespace,
/// also if the path is written in another way.
pub(crate) fn shows_tokens(path: &str) -> bool {
    let mut segments = Vec::new();
    let decoded = percent_decoded(path);
    for segment in decoded.split(|c| *c == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    segments.windows(2).any(|pair| pair == [&b"auth"[..], &b"token"[..]])
}

fn percent_decoded(path: &str) -> Vec<u8> {
    let (bytes, mut decoded, mut i) = (path.as_bytes(), Vec::new(), 0);
    while i < bytes.len() {
        let hex = path.get(i + 1..i + 3).filter(|_| bytes[i] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                i += 3;
            }
            None => {
                decoded.push(bytes[i]);
                i += 1;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_that_return_tokens_are_known_in_every_spelling() {
        for (path, expected) in [
            ("/v1/auth/token/lookup-self", true),
            ("/v1/auth/token", true),
            ("/v1/team/auth/token/create", true),
            ("/v1/auth%2Ftoken/lookup-self", true),
            ("/v1/%61uth/token/lookup-self", true),
            ("/v1//auth//token/lookup-self", true),
            ("/v1/auth/./token/lookup-self", true),
            ("/v1/auth/x/../token/lookup-self", true),
            ("/v1/secret/data/db", false),
            ("/v1/secret/data/auth-token", false),
            ("/v1/auth/kubernetes/login", false),
            ("/v1/secret/data/%zz%", false),
        ] {
            assert_eq!(shows_tokens(path), expected, "{path}");
        }
    }
}
