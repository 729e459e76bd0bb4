//! Kubernetes Secrets for plugins with a grant, and tokens for logins: [`ClusterReader`].
//!
//! It connects at the first use: without such a plugin, it sends the API server no request.

use std::collections::BTreeMap;

use ampoule_core::{
    ClusterSecrets, ClusterSecretsError, LabelledSecrets, SecretName, TokenRequestError, is_dns_label, is_object_name,
};
use async_trait::async_trait;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Secret, ServiceAccount},
};
use kube::{Api, api::PostParams};
use secrecy::SecretString;
use tokio::sync::OnceCell;
use tracing::warn;

use crate::client::{AccountName, Cluster, ClusterError};

/// Lifetime of a token for a login: the shortest that an API server issues.
const TOKEN_SECONDS: i64 = 600;

/// Reads Secrets and requests tokens with the permissions of this process.
#[derive(Default)]
pub struct ClusterReader(OnceCell<Cluster>);

// === impl ClusterReader ===

#[async_trait]
impl ClusterSecrets for ClusterReader {
    async fn read(
        &self,
        secret: &SecretName,
        key: &str,
        selectors: &[LabelledSecrets],
    ) -> Result<Option<Vec<u8>>, ClusterSecretsError> {
        match self.get(secret).await {
            Ok(found) => {
                let none = BTreeMap::new();
                let granted = found.filter(|secret| {
                    LabelledSecrets::cover(selectors, secret.metadata.labels.as_ref().unwrap_or(&none))
                });
                let data = granted.and_then(|secret| secret.data);
                Ok(data.and_then(|mut data| data.remove(key)).map(|value| value.0))
            }
            Err(ClusterError::Refused { code: 403, .. }) => {
                let reason = format!("the webhook's role does not allow `get` on Secret {secret}");
                Err(ClusterSecretsError::Denied(reason))
            }
            Err(error) => {
                warn!(%secret, %error, "cannot read a Secret for a plugin");
                Err(ClusterSecretsError::Unavailable(format!("the API server did not return Secret {secret}")))
            }
        }
    }

    async fn request_token(&self, audience: &str) -> Result<SecretString, TokenRequestError> {
        use TokenRequestError::{Denied, NoAccount, Unavailable};
        let cluster = self.0.get_or_try_init(Cluster::connect).await.map_err(|error| NoAccount(error.to_string()))?;
        let account = cluster.account().ok_or_else(|| {
            NoAccount("audience needs the token of a service account, and the webhook has none".to_owned())
        })?;
        let AccountName { namespace, name } = account;
        match create_token(cluster, account, audience).await {
            Ok(Some(token)) => Ok(token.into()),
            Ok(None) => Err(Unavailable(format!("the API server issued no token for {namespace}/{name}"))),
            Err(ClusterError::Refused { code: 403, .. }) => {
                let right = format!("`create` on serviceaccounts/token of {name} in namespace {namespace}");
                Err(Denied(format!("the webhook's role does not allow {right}")))
            }
            Err(error) => Err(Unavailable(format!("the API server issued no token for {namespace}/{name}: {error}"))),
        }
    }
}

async fn create_token(
    cluster: &Cluster,
    AccountName { namespace, name }: &AccountName,
    audience: &str,
) -> Result<Option<String>, ClusterError> {
    let accounts: Api<ServiceAccount> = cluster.namespaced_in(namespace);
    let (audiences, expiration_seconds) = (Some(vec![audience.to_owned()]), Some(TOKEN_SECONDS));
    let spec = TokenRequestSpec { audiences, expiration_seconds, ..TokenRequestSpec::default() };
    let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let answer = accounts.create_token_request(name, &PostParams::default(), &request).await?;
    Ok(answer.status.and_then(|status| status.token).filter(|token| !token.is_empty()))
}

impl ClusterReader {
    async fn get(&self, secret: &SecretName) -> Result<Option<Secret>, ClusterError> {
        // A plugin chose the name, and the client does not encode it in the path.
        if !is_dns_label(&secret.namespace) || !is_object_name(&secret.name) {
            return Ok(None);
        }
        let cluster = self.0.get_or_try_init(Cluster::connect).await?;
        let secrets: Api<Secret> = cluster.namespaced_in(&secret.namespace);
        Ok(secrets.get_opt(&secret.name).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use axum::{Router, extract::Request, http::StatusCode};
    use kube::{Client, Config};
    use secrecy::ExposeSecret as _;
    use tokio::net::TcpListener;
    use tracing_subscriber::{Registry, fmt, layer::SubscriberExt};

    use super::*;
    use ampoule_telemetry::log;

    #[derive(Clone, Default)]
    struct LogBuffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for LogBuffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A cluster whose API server is this router.
    async fn serve(router: Router) -> Cluster {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
        config.default_retry = false;
        tokio::spawn(async move { axum::serve(listener, router).await });
        Cluster::with_client(Client::try_from(config).unwrap(), "ampoule")
    }

    /// Reads through a server that answers every request with one body.
    async fn read(body: &'static str, selectors: &[LabelledSecrets]) -> Result<Option<Vec<u8>>, ClusterSecretsError> {
        let cluster = serve(Router::new().fallback(async move || body)).await;
        let secret = SecretName { namespace: "store".to_owned(), name: "token".to_owned() };
        ClusterReader(cluster.into()).read(&secret, "value", selectors).await
    }

    #[tokio::test]
    async fn an_unreadable_secret_appears_in_no_log_line_and_no_error() {
        let lines = LogBuffer::default();
        let writer = lines.clone();
        let layer = fmt::layer().with_writer(move || writer.clone()).with_ansi(false).without_time();
        let registry = Registry::default().with(log::filter(log::LogLevel::Trace)).with(layer);
        let _logging = tracing::subscriber::set_default(registry);

        assert_eq!(read(r#"{"data": {"value": "aHVzaA=="}}"#, &[]).await, Ok(Some(b"hush".to_vec())));
        for body in
            [r#"{"data": "hush"}"#, r#"{"data": {"value": "hush"}} hush"#, r#"{"data": {"value": "hush!"}}"#, "hush"]
        {
            let reason = "the API server did not return Secret store/token".to_owned();
            assert_eq!(read(body, &[]).await, Err(ClusterSecretsError::Unavailable(reason)), "{body}");
            let line = " WARN ampoule_cluster::secrets: cannot read a Secret for a plugin secret=store/token \
                        error=the API server's response has an unexpected format\n";
            let logged = String::from_utf8(std::mem::take(&mut *lines.0.lock().unwrap())).unwrap();
            assert_eq!(logged, line, "{body}");
        }
    }

    #[tokio::test]
    async fn a_name_that_no_object_has_causes_no_request() {
        let cluster = serve(Router::new().fallback(async || r#"{"data": {"value": "aHVzaA=="}}"#)).await;
        let reader = ClusterReader(cluster.into());
        for (namespace, name, found) in [
            ("store", "token", true),
            ("store", "../../other/secrets/token", false),
            ("store", "token?a=b", false),
            ("store", "token/status", false),
            ("store", "", false),
            ("other/secrets/x?", "token", false),
        ] {
            let secret = SecretName { namespace: namespace.to_owned(), name: name.to_owned() };
            let value = reader.read(&secret, "value", &[]).await.unwrap();
            assert_eq!(value.is_some(), found, "{secret}");
        }
    }

    #[tokio::test]
    async fn a_token_has_the_requested_audience_and_the_shortest_lifetime() {
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&requests);
        let answers = Arc::new(Mutex::new(vec![
            (
                StatusCode::CREATED,
                r#"{"metadata": {}, "spec": {"audiences": []}, "status": {"token": "eyJ", "expirationTimestamp": "2026-01-01T00:00:00Z"}}"#,
            ),
            (StatusCode::FORBIDDEN, r#"{"kind": "Status", "code": 403, "message": "no"}"#),
            (StatusCode::INTERNAL_SERVER_ERROR, r#"{"kind": "Status", "code": 500, "message": "down"}"#),
        ]));
        let router = Router::new().fallback(async move |request: Request| {
            let line = format!("{} {}", request.method(), request.uri());
            let body = axum::body::to_bytes(request.into_body(), 1 << 16).await.unwrap();
            seen.lock().unwrap().push(format!("{line} {}", String::from_utf8_lossy(&body)));
            answers.lock().unwrap().remove(0)
        });
        let reader = ClusterReader(serve(router).await.into());
        let mut results = Vec::new();
        for _ in 0..3 {
            let token = reader.request_token("vault").await;
            results.push(token.map_or_else(|error| error.to_string(), |token| token.expose_secret().to_owned()));
        }
        let right = "`create` on serviceaccounts/token of ampoule in namespace ampoule";
        assert_eq!(
            results,
            [
                "eyJ".to_owned(),
                format!("the webhook's role does not allow {right}"),
                "the API server issued no token for ampoule/ampoule: down (HTTP status 500)".to_owned(),
            ]
        );
        let (line, body) =
            requests.lock().unwrap()[0].split_once(" {").map(|(l, b)| (l.to_owned(), format!("{{{b}"))).unwrap();
        assert_eq!(line.split('?').next(), Some("POST /api/v1/namespaces/ampoule/serviceaccounts/ampoule/token"));
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["spec"], serde_json::json!({ "audiences": ["vault"], "expirationSeconds": 600 }));
    }

    #[tokio::test]
    async fn a_selector_covers_only_secrets_with_all_of_its_labels() {
        let body = r#"{"metadata": {"labels": {"team": "a", "for": "plugins"}}, "data": {"value": "aHVzaA=="}}"#;
        let selector = |labels: &[(&str, &str)]| LabelledSecrets {
            namespace: "store".to_owned(),
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        };
        let other = selector(&[("team", "b")]);
        for (selectors, is_read) in [
            (vec![], true),
            (vec![selector(&[("team", "a")])], true),
            (vec![selector(&[("team", "a"), ("for", "plugins")])], true),
            (vec![selector(&[("team", "a"), ("for", "pods")])], false),
            (vec![other.clone()], false),
            (vec![other, selector(&[("for", "plugins")])], true),
        ] {
            let value = read(body, &selectors).await;
            assert_eq!(value, Ok(is_read.then(|| b"hush".to_vec())), "{selectors:?}");
        }
    }
}
