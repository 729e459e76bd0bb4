//! A client of the Kubernetes API, and the namespace of this process: [`Cluster`].
//!
//! Watches use a client of their own, as their responses take longer.

use std::{path::Path, time::Duration};

use ampoule_net::file;
use data_encoding::BASE64URL_NOPAD;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope, apimachinery::pkg::version::Info};
use kube::{Api, Client, Config, Resource, config::AuthInfo};
use secrecy::{ExposeSecret as _, zeroize::Zeroizing};
use serde::Deserialize;

use ampoule_net::outbound::uses_proxy;

/// Timeout of connections and responses: more than an API server needs for one object.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(15);

/// Timeout of watches: longer than every requested watch.
const WATCH_TIMEOUT: Duration = Duration::from_secs(150);

/// A client of the API server, and the namespace of this process.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    /// The client for responses that arrive only when something changes.
    watching: Client,
    namespace: String,
    account: Option<AccountName>,
}

/// The name of a service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccountName {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// The claims of a service account's token.
#[derive(Deserialize)]
struct TokenClaims {
    sub: String,
}

/// Errors of requests to the API server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// Neither a kubeconfig nor a service account is available.
    #[error("no API server is configured: set KUBECONFIG, or run in a pod with a service account")]
    Unknown(#[source] kube::config::InferConfigError),
    /// The API server refused the request.
    #[error("{message} (HTTP status {code})")]
    Refused {
        /// The HTTP status code.
        code: u16,
        /// The API server's message.
        message: String,
    },
    /// The response cannot be parsed. The parser's message is omitted: it may quote the response,
    /// which may be a Secret.
    #[error("the API server's response has an unexpected format")]
    Unreadable,
    /// The request failed.
    #[error("the API server is unreachable: {0}")]
    Unreachable(String),
}

/// Whether the proxy is that of the kubeconfig (`proxy-url`), and not of the environment.
fn has_own_proxy(config: &Config) -> bool {
    let proxy = config.proxy_url.as_ref().map(ToString::to_string).unwrap_or_default();
    let is_same = |value: &str| value.trim_end_matches('/') == proxy.trim_end_matches('/');
    let variables = ["HTTPS_PROXY", "https_proxy"].iter().filter_map(std::env::var_os);
    !variables.filter_map(|value| value.into_string().ok()).any(|value| is_same(&value))
}

/// Reads the address of the API server, the CA and the credentials of this process.
pub(crate) async fn infer_config() -> Result<Config, ClusterError> {
    let mut config = Config::infer().await.map_err(ClusterError::Unknown)?;
    if config.proxy_url.is_some() && !uses_proxy(&config.cluster_url) && !has_own_proxy(&config) {
        // kube compares NO_PROXY with the proxy instead of the API server.
        config.proxy_url = None;
    }
    config.connect_timeout = Some(RESPONSE_TIMEOUT);
    config.read_timeout = Some(RESPONSE_TIMEOUT);
    config.reset_reader_on_write = true;
    Ok(config)
}

// === impl Cluster ===

impl Cluster {
    /// Creates the client from `KUBECONFIG`, or from the pod's service account. It sends no request
    /// yet.
    ///
    /// The namespace is `POD_NAMESPACE`, or that of the kubeconfig or the service account.
    ///
    /// # Errors
    ///
    /// The configuration is missing or not valid.
    pub async fn connect() -> Result<Self, ClusterError> {
        let config = infer_config().await?;
        // This chart and Flyte's set it by the downward API.
        let namespace = std::env::var_os("POD_NAMESPACE").and_then(|name| name.into_string().ok());
        let namespace = namespace.filter(|name| !name.is_empty()).unwrap_or(config.default_namespace.clone());
        let account = AccountName::of(&config.auth_info);
        let mut watching = config.clone();
        watching.read_timeout = Some(WATCH_TIMEOUT);
        Ok(Self { client: Client::try_from(config)?, watching: Client::try_from(watching)?, namespace, account })
    }

    #[cfg(test)]
    pub(crate) fn with_client(client: Client, namespace: &str) -> Self {
        let account = AccountName { namespace: namespace.to_owned(), name: "ampoule".to_owned() };
        Self { watching: client.clone(), client, namespace: namespace.to_owned(), account: Some(account) }
    }

    /// Returns the namespace of this process.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the service account of this process, if its token is that of one.
    pub(crate) fn account(&self) -> Option<&AccountName> {
        self.account.as_ref()
    }

    /// Returns the host name by which the API server calls a Service of this namespace.
    pub fn host(&self, service: &str) -> String {
        format!("{service}.{}.svc", self.namespace)
    }

    /// Returns the API for a kind of objects in the namespace of this process.
    pub fn namespaced<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        self.namespaced_in(&self.namespace)
    }

    /// Returns the API for a kind of objects in another namespace.
    pub(crate) fn namespaced_in<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Returns the API for a kind of objects in all namespaces.
    pub(crate) fn in_every_namespace<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::all(self.client.clone())
    }

    /// Returns the API for a kind of cluster-scoped objects.
    pub fn cluster_wide<K>(&self) -> Api<K>
    where
        K: Resource<Scope = ClusterResourceScope>,
        K::DynamicType: Default,
    {
        Api::all(self.client.clone())
    }

    /// Asks the API server for its version.
    pub(crate) async fn version(&self) -> Result<Info, ClusterError> {
        Ok(self.client.apiserver_version().await?)
    }

    /// Returns the same cluster with the client for watches.
    pub fn watching(&self) -> Self {
        Self { client: self.watching.clone(), ..self.clone() }
    }
}

// === impl AccountName ===

impl AccountName {
    /// The service account whose token the client sends.
    fn of(auth: &AuthInfo) -> Option<Self> {
        match (&auth.token, &auth.token_file) {
            (Some(token), _) => Self::in_token(token.expose_secret()),
            (None, Some(file)) => {
                let token = Zeroizing::new(file::read(Path::new(file), file::SMALL).ok()?);
                Self::in_token(std::str::from_utf8(&token).ok()?)
            }
            (None, None) => None,
        }
    }

    /// Reads the subject of a token, which the API server verifies.
    fn in_token(token: &str) -> Option<Self> {
        let claims = BASE64URL_NOPAD.decode(token.split('.').nth(1)?.as_bytes()).ok()?;
        let TokenClaims { sub } = serde_json::from_slice(&claims).ok()?;
        let (namespace, name) = sub.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        Some(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

// === impl ClusterError ===

impl From<kube::Error> for ClusterError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused { code: status.code, message: status.message },
            kube::Error::SerdeError(_) => Self::Unreadable,
            // The client's message omits its source, which has the cause.
            other => {
                let mut cause: &dyn std::error::Error = &other;
                while let Some(source) = cause.source() {
                    cause = source;
                }
                Self::Unreachable(cause.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("eyJ.{}.signature", BASE64URL_NOPAD.encode(claims.as_bytes()))
    }

    #[test]
    fn a_token_of_a_service_account_has_its_name() {
        for (what, token, expected) in [
            ("a service account", token(r#"{"sub": "system:serviceaccount:ns:name", "aud": []}"#), Some("ns/name")),
            ("a user", token(r#"{"sub": "admin"}"#), None),
            ("a node", token(r#"{"sub": "system:node:a:b"}"#), None),
            ("no subject", token("{}"), None),
            ("no JSON", token("x"), None),
            ("a token of another kind", "the-tests-own-token".to_owned(), None),
        ] {
            let account = AccountName::in_token(&token);
            let account = account.map(|AccountName { namespace, name }| format!("{namespace}/{name}"));
            assert_eq!(account.as_deref(), expected, "{what}");
        }
    }

    #[test]
    fn the_token_is_in_the_configuration_or_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, token(r#"{"sub": "system:serviceaccount:ns:file"}"#)).unwrap();
        let file = Some(path.to_str().unwrap().to_owned());
        let inline = Some(token(r#"{"sub": "system:serviceaccount:ns:inline"}"#).into());
        for (token, token_file, expected) in [
            (inline, file.clone(), Some("inline")),
            (None, file, Some("file")),
            (None, Some("/does/not/exist".to_owned()), None),
            (None, None, None),
        ] {
            let account = AccountName::of(&AuthInfo { token, token_file, ..AuthInfo::default() });
            assert_eq!(account.map(|account| account.name).as_deref(), expected);
        }
    }
}
