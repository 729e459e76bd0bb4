//! [`CredentialSection`]: the form of a credential in the configuration file.
//!
//! Each kind is a key, so that an error names the kinds.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AwsCredential, AzureCredential, BasicCredential, CredentialConfig, CredentialSource, GcpCredential,
    HeaderCredential, OAuth2Credential, SecretKey, VaultCredential,
};
use crate::ConfigError;

/// How the host logs in for the plugin. Exactly one key is required. The plugin does not see the
/// credential, and may not set its header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct CredentialSection {
    /// Header `Authorization: Bearer` with this token.
    #[serde(skip_serializing_if = "Option::is_none")]
    bearer: Option<SourceSection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    basic: Option<BasicSection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<HeaderSection>,
    #[serde(rename = "awsSigV4", skip_serializing_if = "Option::is_none")]
    aws: Option<AwsCredential>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gcp: Option<GcpCredential>,
    #[serde(skip_serializing_if = "Option::is_none")]
    azure: Option<AzureCredential>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vault: Option<VaultCredential>,
    #[serde(rename = "oauth2ClientCredentials", skip_serializing_if = "Option::is_none")]
    oauth2: Option<OAuth2Section>,
}

/// The place of a secret. Exactly one key is required.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct SourceSection {
    /// Key of a Kubernetes Secret. The webhook's role must allow `get` on it. A change takes effect
    /// within a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<SecretKey>,
    /// File of the webhook's container. A change takes effect within ten seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    /// Name of a variable of the webhook's environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
}

/// Header `Authorization: Basic`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct BasicSection {
    /// User name. Required.
    username: String,
    /// Place of the password. Required.
    password: SourceSection,
}

/// A header of any name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct HeaderSection {
    /// Name of the header. Required.
    name: String,
    /// Text before the value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    prefix: String,
    /// Place of the value. Required.
    value: SourceSection,
}

/// Header `Authorization: Bearer` with a token that the host gets from an OAuth 2 server with the
/// grant `client_credentials`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct OAuth2Section {
    /// URL of the token endpoint. Required.
    token_url: String,
    /// Id of the client. Required.
    client_id: String,
    /// Place of the client's secret. Required.
    client_secret: SourceSection,
    /// Scopes of the token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<String>,
}

// === impl CredentialSection ===

impl CredentialSection {
    /// Checks the section, which is the value of `key`.
    pub(crate) fn check(self, key: &str) -> Result<CredentialConfig, ConfigError> {
        let place = |part: &str| format!("{key}.{part}");
        let mut kinds = Vec::new();
        if let Some(source) = self.bearer {
            kinds.push(CredentialConfig::Bearer(source.check(&place("bearer"))?));
        }
        if let Some(BasicSection { username, password }) = self.basic {
            let password = password.check(&place("basic.password"))?;
            kinds.push(CredentialConfig::Basic(BasicCredential { username, password }));
        }
        if let Some(HeaderSection { name, prefix, value }) = self.header {
            let (name, value) = (name.to_ascii_lowercase(), value.check(&place("header.value"))?);
            kinds.push(CredentialConfig::Header(HeaderCredential { name, prefix, value }));
        }
        if let Some(OAuth2Section { token_url, client_id, client_secret, scopes }) = self.oauth2 {
            let client_secret = client_secret.check(&place("oauth2ClientCredentials.clientSecret"))?;
            kinds.push(CredentialConfig::OAuth2(OAuth2Credential { token_url, client_id, client_secret, scopes }));
        }
        kinds.extend(self.aws.map(CredentialConfig::AwsSigV4));
        kinds.extend(self.gcp.map(CredentialConfig::Gcp));
        kinds.extend(self.azure.map(CredentialConfig::Azure));
        kinds.extend(self.vault.map(CredentialConfig::Vault));
        let count = kinds.len();
        match kinds.pop().filter(|_| count == 1) {
            Some(credential) => credential.check(key).map(|()| credential),
            None => {
                let reason = format!(
                    "has {count} kinds; use exactly one of bearer, basic, header, awsSigV4, gcp, azure, vault, \
                     oauth2ClientCredentials"
                );
                Err(ConfigError::at(key, reason))
            }
        }
    }
}

impl From<CredentialConfig> for CredentialSection {
    fn from(config: CredentialConfig) -> Self {
        let none = Self::default();
        match config {
            CredentialConfig::Bearer(source) => Self { bearer: Some(source.into()), ..none },
            CredentialConfig::Basic(BasicCredential { username, password }) => {
                Self { basic: Some(BasicSection { username, password: password.into() }), ..none }
            }
            CredentialConfig::Header(HeaderCredential { name, prefix, value }) => {
                Self { header: Some(HeaderSection { name, prefix, value: value.into() }), ..none }
            }
            CredentialConfig::AwsSigV4(aws) => Self { aws: Some(aws), ..none },
            CredentialConfig::Gcp(gcp) => Self { gcp: Some(gcp), ..none },
            CredentialConfig::Azure(azure) => Self { azure: Some(azure), ..none },
            CredentialConfig::Vault(vault) => Self { vault: Some(vault), ..none },
            CredentialConfig::OAuth2(OAuth2Credential { token_url, client_id, client_secret, scopes }) => {
                let client_secret = client_secret.into();
                Self { oauth2: Some(OAuth2Section { token_url, client_id, client_secret, scopes }), ..none }
            }
        }
    }
}

// === impl SourceSection ===

impl SourceSection {
    fn check(self, key: &str) -> Result<CredentialSource, ConfigError> {
        let mut places = Vec::new();
        places.extend(self.secret.map(CredentialSource::Secret));
        places.extend(self.file.map(CredentialSource::File));
        places.extend(self.environment.map(CredentialSource::Environment));
        let count = places.len();
        places.pop().filter(|_| count == 1).ok_or_else(|| {
            ConfigError::at(key, format!("has {count} places; use exactly one of secret, file, environment"))
        })
    }
}

impl From<CredentialSource> for SourceSection {
    fn from(source: CredentialSource) -> Self {
        let none = Self::default();
        match source {
            CredentialSource::Secret(secret) => Self { secret: Some(secret), ..none },
            CredentialSource::File(file) => Self { file: Some(file), ..none },
            CredentialSource::Environment(name) => Self { environment: Some(name), ..none },
        }
    }
}
