//! [`TokenHost`]: a host whose credential is a token in one header.
//!
//! Tokens of Vault are special: some of Vault's paths return the token of the request.

use std::{sync::Arc, time::Duration};

use ampoule_config::CredentialConfig;
use ampoule_core::{CredentialError, CredentialHeader, HostCredential, OutgoingRequest};
use async_trait::async_trait;
use secrecy::{ExposeSecret as _, zeroize::Zeroizing};

use crate::{kept::KeptToken, vault};

/// Vault answers with 403 to a revoked token, and also if its policy denies a path. So a 403 renews
/// the token at most in this interval, and the old one stays in use until then.
const VAULT_AGE: Duration = Duration::from_secs(60);

/// A host whose credential is a token in one header.
pub(crate) struct TokenHost {
    /// The headers that only the host may set; the first contains the token.
    headers: Vec<String>,
    prefix: String,
    is_vault: bool,
    token: Arc<KeptToken>,
}

// === impl TokenHost ===

impl TokenHost {
    pub(crate) fn new(config: &CredentialConfig, token: Arc<KeptToken>) -> Self {
        let prefix = match config {
            CredentialConfig::Header(header) => &header.prefix,
            CredentialConfig::Basic(_) => "Basic ",
            CredentialConfig::Vault(_) => "",
            _ => "Bearer ",
        };
        let is_vault = matches!(config, CredentialConfig::Vault(_));
        Self { headers: config.headers(), prefix: prefix.to_owned(), is_vault, token }
    }
}

#[async_trait]
impl HostCredential for TokenHost {
    fn headers(&self) -> &[String] {
        &self.headers
    }

    fn needs_body(&self) -> bool {
        false
    }

    fn reveals(&self, _method: &str, path: &str) -> Option<&'static str> {
        (self.is_vault && vault::shows_tokens(path)).then_some("the path auth/token returns tokens")
    }

    async fn attach(&self, _request: &OutgoingRequest) -> Result<Vec<CredentialHeader>, CredentialError> {
        let token = self.token.get().await.map_err(|error| error.class)?;
        let value = Zeroizing::new(format!("{}{}", self.prefix, token.expose_secret()));
        Ok(vec![CredentialHeader { name: self.headers[0].clone(), value: value.as_str().into() }])
    }

    fn answered(&self, status: u16) {
        match status {
            401 => self.token.reject(Duration::ZERO),
            403 if self.is_vault => self.token.renew(VAULT_AGE),
            _ => {}
        }
    }
}
