//! [`AzureLogin`]: access tokens of Microsoft Entra, for a workload identity or a managed identity.
//!
//! The variables are those that the webhook of Azure Workload Identity sets.

use std::{path::Path, time::Duration};

use ampoule_config::AzureCredential;
use async_trait::async_trait;
use http::Request;
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    LoginError, Surroundings,
    exchange::{encoded_pairs, send, server_name, token_for_form},
    kept::{CredentialLogin, Fresh},
    surroundings::read_secret_file,
};

const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Gets access tokens of Microsoft Entra.
pub(crate) struct AzureLogin {
    config: AzureCredential,
    surroundings: Surroundings,
}

// === impl AzureLogin ===

impl AzureLogin {
    pub(crate) fn new(config: AzureCredential, surroundings: Surroundings) -> Self {
        Self { config, surroundings }
    }

    async fn workload_identity(&self, token_file: &str) -> Result<(SecretString, u64), LoginError> {
        let beside = "AZURE_FEDERATED_TOKEN_FILE is";
        let id = |configured: &Option<String>, variable: &str| match configured {
            Some(id) => Ok(id.clone()),
            None => self.surroundings.required_variable(variable, beside),
        };
        let tenant = id(&self.config.tenant_id, "AZURE_TENANT_ID")?;
        let client = id(&self.config.client_id, "AZURE_CLIENT_ID")?;
        let configured = self.config.authority_host.clone();
        let authority = configured.or_else(|| self.surroundings.variable("AZURE_AUTHORITY_HOST"));
        let authority = authority.as_deref().unwrap_or("https://login.microsoftonline.com").trim_end_matches('/');
        if !authority.starts_with("https://") {
            return Err(LoginError::misconfigured("AZURE_AUTHORITY_HOST is not a URL with https://"));
        }
        let assertion = read_secret_file(Path::new(token_file), "AZURE_FEDERATED_TOKEN_FILE:").await?;
        let form = [
            ("client_id", client.as_str()),
            ("scope", &self.config.scope),
            ("grant_type", "client_credentials"),
            ("client_assertion_type", ASSERTION),
            ("client_assertion", assertion.expose_secret()),
        ];
        let request = Request::post(format!("{authority}/{tenant}/oauth2/v2.0/token"));
        token_for_form(&self.surroundings, &server_name(authority), request, &form).await
    }

    async fn managed_identity(&self) -> Result<(SecretString, u64), LoginError> {
        let endpoint = self.config.metadata_endpoint.as_deref().unwrap_or("http://169.254.169.254");
        // This service has resources in place of scopes.
        let resource = self.config.scope.strip_suffix("/.default").unwrap_or(&self.config.scope);
        let client = self.config.client_id.clone().or_else(|| self.surroundings.variable("AZURE_CLIENT_ID"));
        let mut query = vec![("api-version", "2018-02-01"), ("resource", resource)];
        query.extend(client.as_deref().map(|client| ("client_id", client)));
        let url =
            format!("{}/metadata/identity/oauth2/token?{}", endpoint.trim_end_matches('/'), encoded_pairs(&query));
        let server = "the instance metadata service";
        let request = Request::get(url).header("metadata", "true");
        send(&self.surroundings, server, request, "").await?.token(server)
    }
}

#[async_trait]
impl CredentialLogin<SecretString> for AzureLogin {
    async fn login(&self) -> Result<Fresh<SecretString>, LoginError> {
        let (token, lifetime) = match self.surroundings.variable("AZURE_FEDERATED_TOKEN_FILE") {
            Some(file) => self.workload_identity(&file).await?,
            None => self.managed_identity().await?,
        };
        Ok(Fresh::for_lifetime(token, Duration::from_secs(lifetime)))
    }
}
