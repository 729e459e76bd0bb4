//! [`OAuth2Login`]: the grant `client_credentials` of OAuth 2 (RFC 6749, section 4.4).
//!
//! The client authenticates by the header `authorization`, which every server must support.

use std::time::Duration;

use ampoule_config::OAuth2Credential;
use async_trait::async_trait;
use http::{Request, header::AUTHORIZATION};
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroizing};

use crate::{
    LoginError, Surroundings,
    exchange::{server_name, token_for_form},
    kept::{CredentialLogin, Fresh},
    source::{SourceLogin, basic},
};

/// Gets an access token for a client.
pub(crate) struct OAuth2Login {
    config: OAuth2Credential,
    secret: SourceLogin,
    surroundings: Surroundings,
}

// === impl OAuth2Login ===

impl OAuth2Login {
    pub(crate) fn new(config: OAuth2Credential, surroundings: Surroundings) -> Self {
        let secret = SourceLogin::new(config.client_secret.clone(), surroundings.clone());
        Self { config, secret, surroundings }
    }
}

#[async_trait]
impl CredentialLogin<SecretString> for OAuth2Login {
    async fn login(&self) -> Result<Fresh<SecretString>, LoginError> {
        let OAuth2Credential { token_url, client_id, scopes, .. } = &self.config;
        let secret = self.secret.read().await?;
        // Id and secret are encoded as in a form before they are joined (section 2.3.1).
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let secret: SecretString = encoded(secret.value().expose_secret()).into();
        let header = Zeroizing::new(format!("Basic {}", basic(&encoded(client_id), &secret).expose_secret()));
        let request = Request::post(token_url.as_str()).header(AUTHORIZATION, header.as_str());
        let scope = scopes.join(" ");
        let mut form = vec![("grant_type", "client_credentials")];
        if !scope.is_empty() {
            form.push(("scope", &scope));
        }
        let (token, lifetime) = token_for_form(&self.surroundings, &server_name(token_url), request, &form).await?;
        Ok(Fresh::for_lifetime(token, Duration::from_secs(lifetime)))
    }
}
