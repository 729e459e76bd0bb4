//! The key `credential` of an entry of `grants.http.hosts`: how the host logs in for a plugin.
//!
//! The section names places of secrets, and contains no secret itself.

mod section;
mod url;

use std::path::{Path, PathBuf};

use ampoule_core::is_dns_label;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use self::section::CredentialSection;
use crate::{ConfigError, names::check_object_name};

/// The file with the token of the pod's service account.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How the host authenticates the requests of a plugin to one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialConfig {
    /// `Authorization: Bearer`, with a token from this place.
    Bearer(CredentialSource),
    /// `Authorization: Basic`.
    Basic(BasicCredential),
    /// One header.
    Header(HeaderCredential),
    /// A signature of AWS, version 4.
    AwsSigV4(AwsCredential),
    /// An access token of Google Cloud.
    Gcp(GcpCredential),
    /// An access token of Microsoft Entra.
    Azure(AzureCredential),
    /// A token of Vault.
    Vault(VaultCredential),
    /// An access token of an OAuth 2 server.
    OAuth2(OAuth2Credential),
}

/// The place of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// A key of a Kubernetes Secret.
    Secret(SecretKey),
    /// A file of the webhook's container.
    File(PathBuf),
    /// A variable of the webhook's environment.
    Environment(String),
}

/// A key of a Kubernetes Secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SecretKey {
    /// The namespace.
    pub namespace: String,
    /// The name of the Secret.
    pub name: String,
    /// The key in the Secret's data.
    pub key: String,
}

/// User name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicCredential {
    /// The user name.
    pub username: String,
    /// The place of the password.
    pub password: CredentialSource,
}

/// A header with a secret value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderCredential {
    /// The name in lower case.
    pub name: String,
    /// The text before the value.
    pub prefix: String,
    /// The place of the value.
    pub value: CredentialSource,
}

/// Requests are signed with the webhook's identity in AWS: a web identity
/// (`AWS_WEB_IDENTITY_TOKEN_FILE`), EKS Pod Identity (`AWS_CONTAINER_CREDENTIALS_FULL_URI`), the
/// variables `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or the instance's role. The first
/// that is set up is used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AwsCredential {
    /// Name of the service in signatures, such as `secretsmanager`. Required.
    pub service: String,
    /// Region, such as `eu-central-1`. Required.
    pub region: String,
    /// ARN of the role to assume. With a web identity, the default is `AWS_ROLE_ARN`; with another
    /// identity, the default is to assume no role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// URL of the Security Token Service (default: the regional one).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sts_endpoint: Option<String>,
    /// URL of the instance metadata service (default: `http://169.254.169.254`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_endpoint: Option<String>,
}

/// Requests have an access token for the webhook's identity in Google Cloud: with `audience`, that
/// of a service account of Kubernetes (workload identity federation); otherwise the file in
/// `GOOGLE_APPLICATION_CREDENTIALS` (of type `external_account` or `service_account`), or the
/// service account of the metadata server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GcpCredential {
    /// Scopes of the token, such as `https://www.googleapis.com/auth/cloud-platform`. Required.
    pub scopes: Vec<String>,
    /// Name of the workload identity provider to which a service account token is sent:
    /// `//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`.
    /// The token has the audience `https:` with this name, which a provider accepts by default.
    /// Not needed in GKE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// File with the service account token for `audience`, from a projected volume. Required in
    /// the webhook: its usual token is for the API server, and Google must not get it. With
    /// `delivery: pod`, the kubelet creates the token, and this key has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// URL of the token exchange (default: `https://sts.googleapis.com/v1/token`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_url: Option<String>,
    /// URL of the metadata server (default: `http://metadata.google.internal`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_endpoint: Option<String>,
}

/// Requests have an access token for the webhook's identity in Microsoft Entra: a workload identity
/// (`AZURE_FEDERATED_TOKEN_FILE`), or the managed identity of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AzureCredential {
    /// Scope of the token, such as `https://vault.azure.net/.default`. Required.
    pub scope: String,
    /// Client id of the identity (default: `AZURE_CLIENT_ID`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Tenant id of a workload identity (default: `AZURE_TENANT_ID`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// URL of the authority of a workload identity, such as `https://login.microsoftonline.us`
    /// (default: `AZURE_AUTHORITY_HOST`, otherwise `https://login.microsoftonline.com`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority_host: Option<String>,
    /// URL of the instance metadata service (default: `http://169.254.169.254`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_endpoint: Option<String>,
}

/// Requests have a token of Vault or OpenBao in the header `X-Vault-Token`, which the host gets for
/// a service account token and renews.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VaultCredential {
    /// URL of the server, such as `https://vault.vault.svc:8200`. Required.
    pub address: String,
    /// Role of the auth method. Required.
    pub role: String,
    /// Path of the auth method, of type `kubernetes` or `jwt`.
    #[serde(default = "kubernetes")]
    pub path: String,
    /// Namespace of the auth method (default: the root namespace).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Audience of the service account token (default: that of the API server). The webhook
    /// requests such a token from the API server; with `delivery: pod`, the kubelet creates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// File with the service account token. If it is set, the webhook requests no token.
    #[serde(default = "service_account_token")]
    pub token_file: PathBuf,
}

/// Client credentials for an OAuth 2 token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2Credential {
    /// The URL of the token endpoint.
    pub token_url: String,
    /// The client's id.
    pub client_id: String,
    /// The place of the client's secret.
    pub client_secret: CredentialSource,
    /// The scopes; may be empty.
    pub scopes: Vec<String>,
}

// === impl CredentialConfig ===

impl CredentialConfig {
    /// The lower-case names of the headers that only the host may set.
    #[must_use]
    pub fn headers(&self) -> Vec<String> {
        let names: &[&str] = match self {
            Self::Bearer(_) | Self::Basic(_) | Self::Gcp(_) | Self::Azure(_) | Self::OAuth2(_) => &["authorization"],
            Self::Header(header) => &[header.name.as_str()],
            Self::AwsSigV4(_) => &["authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"],
            Self::Vault(_) => &["x-vault-token", "authorization"],
        };
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Checks that the webhook itself can log in. `key` is that of the section.
    pub(crate) fn check_in_webhook(&self, key: &str) -> Result<(), ConfigError> {
        match self {
            Self::Gcp(gcp) => gcp.check_in_webhook(&format!("{key}.gcp")),
            _ => Ok(()),
        }
    }

    /// Checks every value of the section, which is the value of `key`.
    fn check(&self, key: &str) -> Result<(), ConfigError> {
        match self {
            Self::Bearer(source) => source.check(&format!("{key}.bearer")),
            Self::Basic(basic) => basic.check(&format!("{key}.basic")),
            Self::Header(header) => header.check(&format!("{key}.header")),
            Self::AwsSigV4(aws) => aws.check(&format!("{key}.awsSigV4")),
            Self::Gcp(gcp) => gcp.check(&format!("{key}.gcp")),
            Self::Azure(azure) => azure.check(&format!("{key}.azure")),
            Self::Vault(vault) => vault.check(&format!("{key}.vault")),
            Self::OAuth2(oauth2) => oauth2.check(&format!("{key}.oauth2ClientCredentials")),
        }
    }
}

// === impl CredentialSource ===

impl CredentialSource {
    fn check(&self, key: &str) -> Result<(), ConfigError> {
        match self {
            Self::Secret(SecretKey { namespace, name, key: data }) => {
                if !is_dns_label(namespace) {
                    return Err(not_a(&format!("{key}.secret.namespace"), namespace, "name of a namespace"));
                }
                check_object_name(&format!("{key}.secret.name"), name)?;
                let is_key = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                if data.is_empty() || !data.chars().all(is_key) {
                    return Err(not_a(&format!("{key}.secret.key"), data, "key of a Secret"));
                }
                Ok(())
            }
            Self::File(path) if !path.is_absolute() => {
                Err(ConfigError::at(format!("{key}.file"), "is not an absolute path"))
            }
            Self::Environment(name) if name.is_empty() || name.contains(['=', '\0']) => {
                Err(not_a(&format!("{key}.environment"), name, "name of an environment variable"))
            }
            Self::File(_) | Self::Environment(_) => Ok(()),
        }
    }
}

// === impl BasicCredential, HeaderCredential ===

impl BasicCredential {
    fn check(&self, key: &str) -> Result<(), ConfigError> {
        if self.username.is_empty() || self.username.contains([':', '\r', '\n', '\0']) {
            return Err(not_a(&format!("{key}.username"), &self.username, "user name without a colon"));
        }
        self.password.check(&format!("{key}.password"))
    }
}

impl HeaderCredential {
    fn check(&self, key: &str) -> Result<(), ConfigError> {
        let name_key = format!("{key}.name");
        let Ok(name) = http::HeaderName::from_bytes(self.name.as_bytes()) else {
            return Err(not_a(&name_key, &self.name, "name of an HTTP header"));
        };
        if CONNECTION_HEADERS.contains(&name.as_str()) {
            let reason = "belongs to the connection, so it cannot contain a credential";
            return Err(ConfigError::at(name_key, format!("{:?} {reason}", self.name)));
        }
        if http::HeaderValue::from_str(&self.prefix).is_err() {
            return Err(not_a(&format!("{key}.prefix"), &self.prefix, "text for an HTTP header"));
        }
        self.value.check(&format!("{key}.value"))
    }
}

/// Headers that describe the connection or the body.
const CONNECTION_HEADERS: [&str; 9] =
    ["connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

// === impl AwsCredential, GcpCredential, AzureCredential, VaultCredential, OAuth2Credential ===

impl AwsCredential {
    fn check(&self, key: &str) -> Result<(), ConfigError> {
        let is_name = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
        for (name, value) in [("service", &self.service), ("region", &self.region)] {
            if !is_name(value) {
                let what = if name == "service" { "name of a service" } else { "name of a region" };
                return Err(not_a(&format!("{key}.{name}"), value, what));
            }
        }
        if self.service == "sts" {
            let reason = "sts would give keys of the webhook's identity to the plugin";
            return Err(ConfigError::at(format!("{key}.service"), reason));
        }
        if let Some(role) = self.role_arn.as_ref().filter(|role| !role.starts_with("arn:") || !role.contains(":role/"))
        {
            return Err(not_a(&format!("{key}.roleArn"), role, "ARN of a role"));
        }
        url::check_optional(&format!("{key}.stsEndpoint"), self.sts_endpoint.as_deref(), url::Transport::Tls)?;
        url::check_optional(&format!("{key}.metadataEndpoint"), self.metadata_endpoint.as_deref(), url::Transport::Any)
    }
}

impl GcpCredential {
    fn check(&self, key: &str) -> Result<(), ConfigError> {
        if self.scopes.is_empty() {
            return Err(ConfigError::at(format!("{key}.scopes"), "is empty; list at least one scope"));
        }
        check_scopes(&format!("{key}.scopes"), &self.scopes)?;
        self.check_federation(key)?;
        url::check_optional(&format!("{key}.metadataEndpoint"), self.metadata_endpoint.as_deref(), url::Transport::Any)
    }

    /// The token of `audience` must be in a file of its own: Google must not get the usual one.
    fn check_in_webhook(&self, key: &str) -> Result<(), ConfigError> {
        let key = format!("{key}.tokenFile");
        let advice = "mount a service account token with the provider's audience from a projected volume, or use \
                      delivery: pod";
        match &self.token_file {
            None if self.audience.is_some() => {
                Err(ConfigError::at(key, format!("is required with audience in the webhook; {advice}")))
            }
            Some(file) if is_usual_token(file) => Err(ConfigError::at(
                key,
                format!("is the token for the API server, which must not be sent to Google; {advice}"),
            )),
            _ => Ok(()),
        }
    }

    fn check_federation(&self, key: &str) -> Result<(), ConfigError> {
        let Some(audience) = &self.audience else {
            let without = [("tokenFile", self.token_file.is_some()), ("tokenUrl", self.token_url.is_some())];
            return match without.iter().find(|(_, is_set)| *is_set) {
                Some((name, _)) => Err(ConfigError::at(format!("{key}.{name}"), "has no effect without audience")),
                None => Ok(()),
            };
        };
        let is_provider = |name: &str| name.contains("/workloadIdentityPools/") && name.contains("/providers/");
        if !audience.strip_prefix("//iam.googleapis.com/").is_some_and(|name| is_provider(name) && is_scope(name)) {
            return Err(not_a(&format!("{key}.audience"), audience, "name of a workload identity provider"));
        }
        if self.token_file.as_ref().is_some_and(|file| !file.is_absolute()) {
            return Err(ConfigError::at(format!("{key}.tokenFile"), "is not an absolute path"));
        }
        url::check_optional(&format!("{key}.tokenUrl"), self.token_url.as_deref(), url::Transport::Tls)
    }
}

impl AzureCredential {
    fn check(&self, key: &str) -> Result<(), ConfigError> {
        if !is_scope(&self.scope) {
            return Err(not_a(&format!("{key}.scope"), &self.scope, "scope"));
        }
        let is_id = |id: &str| !id.is_empty() && id.bytes().all(|c| c.is_ascii_alphanumeric() || b"-.".contains(&c));
        for (name, id) in [("clientId", &self.client_id), ("tenantId", &self.tenant_id)] {
            if let Some(id) = id.as_ref().filter(|id| !is_id(id)) {
                return Err(not_a(&format!("{key}.{name}"), id, "id"));
            }
        }
        url::check_optional(&format!("{key}.authorityHost"), self.authority_host.as_deref(), url::Transport::Tls)?;
        url::check_optional(&format!("{key}.metadataEndpoint"), self.metadata_endpoint.as_deref(), url::Transport::Any)
    }
}

impl VaultCredential {
    /// The audience of the token that the API server creates for each login. `None`: the token is
    /// in the file.
    #[must_use]
    pub fn requested_audience(&self) -> Option<&str> {
        self.audience.as_deref().filter(|_| self.token_file == service_account_token())
    }

    fn check(&self, key: &str) -> Result<(), ConfigError> {
        url::check(&format!("{key}.address"), &self.address, url::Transport::Tls)?;
        for (name, value) in [("role", Some(&self.role)), ("audience", self.audience.as_ref())] {
            if value.is_some_and(String::is_empty) {
                return Err(ConfigError::at(format!("{key}.{name}"), "is empty"));
            }
        }
        let is_segment = |segment: &str| {
            !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(is_path_byte)
        };
        for (name, path) in [("path", Some(&self.path)), ("namespace", self.namespace.as_ref())] {
            if let Some(path) = path.filter(|path| !path.split('/').all(is_segment)) {
                return Err(not_a(&format!("{key}.{name}"), path, "path without a slash at its ends"));
            }
        }
        if !self.token_file.is_absolute() {
            return Err(ConfigError::at(format!("{key}.tokenFile"), "is not an absolute path"));
        }
        Ok(())
    }
}

impl OAuth2Credential {
    fn check(&self, key: &str) -> Result<(), ConfigError> {
        url::check(&format!("{key}.tokenUrl"), &self.token_url, url::Transport::Tls)?;
        if self.client_id.is_empty() {
            return Err(ConfigError::at(format!("{key}.clientId"), "is empty"));
        }
        check_scopes(&format!("{key}.scopes"), &self.scopes)?;
        self.client_secret.check(&format!("{key}.clientSecret"))
    }
}

fn check_scopes(key: &str, scopes: &[String]) -> Result<(), ConfigError> {
    match scopes.iter().enumerate().find(|(_, scope)| !is_scope(scope)) {
        Some((i, scope)) => Err(not_a(&format!("{key}[{i}]"), scope, "scope")),
        None => Ok(()),
    }
}

/// Whether the text is one scope by RFC 6749.
fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_graphic() && !b"\"\\".contains(&c))
}

fn is_path_byte(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b"-_.".contains(&c)
}

fn not_a(key: &str, value: &str, what: &str) -> ConfigError {
    ConfigError::at(key, format!("{value:?} is not a valid {what}"))
}

/// Whether a file is the token for the API server. `/var/run` is usually a link to `/run`.
fn is_usual_token(file: &Path) -> bool {
    let usual = Path::new(SERVICE_ACCOUNT_TOKEN);
    file == usual || usual.strip_prefix("/var").is_ok_and(|rest| file.strip_prefix("/") == Ok(rest))
}

fn kubernetes() -> String {
    "kubernetes".to_owned()
}

fn service_account_token() -> PathBuf {
    SERVICE_ACCOUNT_TOKEN.into()
}
