//! [`ExternalAccount`]: workload identity federation. A token of the cluster is exchanged for a
//! token of Google (RFC 8693), and that, if configured, for a token of a service account.

use std::time::{Duration, SystemTime};

use ampoule_config::GcpCredential;
use aws_smithy_types::date_time::{DateTime, Format};
use http::{
    Request,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroizing};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{FILE, require_tls};
use crate::{
    LoginError, Surroundings,
    exchange::{DEFAULT_LIFETIME, bounded, send, server_name, token_for_form},
    surroundings::{read_secret_file, secret_text},
};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// Where tokens are exchanged by default.
const TOKEN_URL: &str = "https://sts.googleapis.com/v1/token";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The scope of a token that is only exchanged for one of a service account.
const IMPERSONATION_SCOPE: &str = "https://www.googleapis.com/auth/iam";

/// A workload identity.
#[derive(Deserialize)]
pub(super) struct ExternalAccount {
    audience: String,
    subject_token_type: String,
    token_url: String,
    #[serde(default)]
    service_account_impersonation_url: Option<String>,
    credential_source: SubjectTokenSource,
}

/// Where the token of the cluster is. Programs and AWS are not supported.
#[derive(Deserialize)]
struct SubjectTokenSource {
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    format: TokenFormat,
}

#[derive(Default, Deserialize)]
struct TokenFormat {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    subject_token_field_name: Option<String>,
}

/// An exchange of a token.
struct TokenExchange<'a> {
    url: &'a str,
    audience: &'a str,
    scope: &'a str,
    /// The token and its type.
    subject: (&'a SecretString, &'a str),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Impersonated {
    access_token: String,
    expire_time: String,
}

// === impl ExternalAccount ===

impl ExternalAccount {
    pub(super) async fn token(
        &self,
        surroundings: &Surroundings,
        scopes: &[String],
    ) -> Result<(SecretString, u64), LoginError> {
        require_tls(&self.token_url, "token_url")?;
        let subject = self.credential_source.read().await?;
        let scope = match self.service_account_impersonation_url {
            Some(_) => IMPERSONATION_SCOPE.to_owned(),
            None => scopes.join(" "),
        };
        let exchange = TokenExchange {
            url: &self.token_url,
            audience: &self.audience,
            scope: &scope,
            subject: (&subject, &self.subject_token_type),
        };
        let (token, lifetime) = exchange.send(surroundings).await?;
        match &self.service_account_impersonation_url {
            None => Ok((token, lifetime)),
            Some(url) => impersonate(surroundings, url, &token, scopes).await,
        }
    }
}

// === impl TokenExchange ===

impl TokenExchange<'_> {
    /// Returns the token and its lifetime in seconds.
    async fn send(&self, surroundings: &Surroundings) -> Result<(SecretString, u64), LoginError> {
        let (subject, subject_type) = self.subject;
        let form = [
            ("grant_type", GRANT),
            ("audience", self.audience),
            ("scope", self.scope),
            ("requested_token_type", ACCESS_TOKEN),
            ("subject_token", subject.expose_secret()),
            ("subject_token_type", subject_type),
        ];
        token_for_form(surroundings, &server_name(self.url), Request::post(self.url), &form).await
    }
}

/// Exchanges the token of a service account of Kubernetes, as the configuration states.
pub(super) async fn federated_token(
    surroundings: &Surroundings,
    config: &GcpCredential,
    audience: &str,
) -> Result<(SecretString, u64), LoginError> {
    let Some(file) = &config.token_file else {
        return Err(LoginError::misconfigured(
            "gcp.tokenFile is missing: mount a service account token for gcp.audience",
        ));
    };
    let subject = read_secret_file(file, "gcp.tokenFile:").await?;
    let (url, scope) = (config.token_url.as_deref().unwrap_or(TOKEN_URL), config.scopes.join(" "));
    TokenExchange { url, audience, scope: &scope, subject: (&subject, JWT) }.send(surroundings).await
}

/// Exchanges a token for one of a service account.
async fn impersonate(
    surroundings: &Surroundings,
    url: &str,
    token: &SecretString,
    scopes: &[String],
) -> Result<(SecretString, u64), LoginError> {
    require_tls(url, "service_account_impersonation_url")?;
    let bearer = Zeroizing::new(format!("Bearer {}", token.expose_secret()));
    let request = Request::post(url).header(AUTHORIZATION, bearer.as_str()).header(CONTENT_TYPE, "application/json");
    let server = server_name(url);
    let reply = send(surroundings, &server, request, json!({ "scope": scopes }).to_string()).await?;
    let Impersonated { access_token, expire_time } = reply.json(&server)?;
    let format = || LoginError::format_of(&server);
    if access_token.is_empty() {
        return Err(format());
    }
    let expiry = DateTime::from_str(&expire_time, Format::DateTime).map_err(|_| format())?;
    let expiry = SystemTime::try_from(expiry).map_err(|_| format())?;
    let left = expiry.duration_since(SystemTime::now()).unwrap_or(Duration::from_secs(DEFAULT_LIFETIME));
    Ok((access_token.into(), bounded(left.as_secs())))
}

// === impl SubjectTokenSource ===

impl SubjectTokenSource {
    async fn read(&self) -> Result<SecretString, LoginError> {
        let wrong = |reason: &str| LoginError::misconfigured(format!("{FILE} credential_source {reason}"));
        let Some(file) = &self.file else {
            return Err(wrong("has no file; other sources are not supported"));
        };
        let text = read_secret_file(file.as_ref(), "the file of credential_source").await?;
        match (self.format.kind.as_deref(), &self.format.subject_token_field_name) {
            (None | Some("text"), _) => Ok(text),
            (Some("json"), Some(field)) => {
                let value: Value = serde_json::from_str(text.expose_secret()).map_err(|_| wrong("is not JSON"))?;
                let token = value[field.as_str()].as_str().ok_or_else(|| wrong("lacks the token's field"))?;
                secret_text(token.as_bytes()).map_err(wrong)
            }
            _ => Err(wrong("has an unknown format")),
        }
    }
}
