//! Kubernetes Secrets for plugins with a grant: [`ClusterReader`].
//!
//! It connects on the first read: without such a plugin, it sends the API server no request.

use std::collections::BTreeMap;

use ampoule_core::{ClusterSecrets, ClusterSecretsError, LabelledSecrets, SecretName};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use tokio::sync::OnceCell;
use tracing::warn;

use crate::client::{Cluster, ClusterError};

/// Reads Secrets with the permissions of this process.
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
}

impl ClusterReader {
    async fn get(&self, secret: &SecretName) -> Result<Option<Secret>, ClusterError> {
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

    use axum::Router;
    use kube::{Client, Config};
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

    /// Reads through a server that answers every request with one body.
    async fn read(body: &'static str, selectors: &[LabelledSecrets]) -> Result<Option<Vec<u8>>, ClusterSecretsError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(async move || body)).await });
        let client = Client::try_from(config).unwrap();
        let cluster = Cluster::with_client(client, "ampoule");
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
