//! The version of the API server, for features that an older one would drop without an error:
//! [`check_file_keys`].

use ampoule_config::{PodFetchConfig, VariableDeliveryName};

use tracing::warn;

use crate::{Cluster, ClusterError};

/// The version in which the API server and the kubelet read variables from files by default
/// (KEP-3721).
const FILE_KEYS: (u32, u32) = (1, 35);

/// Why variables cannot come from files.
#[derive(Debug, thiserror::Error)]
pub enum FileKeyError {
    /// The API server would drop the field, and the variable would have no value.
    #[error(
        "delivery.pod.variables: {form} requires Kubernetes 1.35, and the API server has {version}; set \
         delivery.pod.variables: file"
    )]
    TooOld {
        /// The form of variables in the configuration.
        form: &'static str,
        /// The version of the API server.
        version: String,
    },
    /// The version is not known.
    #[error("delivery.pod.variables: the version of the API server cannot be read: {0}")]
    Unknown(#[from] ClusterError),
}

/// Checks that the API server keeps `fileKeyRef`, if pods need it. A process that has no client for
/// another purpose makes one. Without a configured API server, a warning replaces the check.
///
/// # Errors
///
/// It does not, or its version cannot be read. The nodes are not checked: a kubelet before 1.35
/// gives such a variable no value.
pub async fn check_file_keys(pods: &PodFetchConfig, cluster: Option<&Cluster>) -> Result<(), FileKeyError> {
    let form = match pods.variables {
        VariableDeliveryName::File => return Ok(()),
        VariableDeliveryName::FileKey => "file-key",
        VariableDeliveryName::Both => "both",
    };
    if pods.image.is_none() {
        return Ok(());
    }
    let own = if cluster.is_none() { Cluster::connect().await.ok() } else { None };
    let Some(cluster) = cluster.or(own.as_ref()) else {
        warn!("no API server is configured, so its support of fileKeyRef is not checked (delivery.pod.variables)");
        return Ok(());
    };
    let version = cluster.version().await?;
    if number(&version.major) == FILE_KEYS.0 && number(&version.minor) < FILE_KEYS.1 {
        return Err(FileKeyError::TooOld { form, version: version.git_version });
    }
    Ok(())
}

/// The number at the start of a part of a version, such as `35+`.
fn number(part: &str) -> u32 {
    let digits = part.find(|c: char| !c.is_ascii_digit()).map_or(part, |end| &part[..end]);
    digits.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use kube::{Client, Config};
    use tokio::net::TcpListener;

    use super::*;

    /// A cluster whose API server answers every request with one body.
    async fn cluster(body: String) -> Cluster {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(async move || body)).await });
        Cluster::with_client(Client::try_from(config).unwrap(), "ampoule")
    }

    fn version(minor: &str) -> String {
        format!(
            r#"{{"major":"1","minor":"{minor}","gitVersion":"v1.{minor}.0","gitCommit":"","gitTreeState":"","buildDate":"",
            "goVersion":"","compiler":"","platform":""}}"#
        )
    }

    #[tokio::test]
    async fn an_api_server_that_would_drop_the_field_is_refused() {
        use VariableDeliveryName::{Both, File, FileKey};
        let old = |form: &str| {
            format!(
                "delivery.pod.variables: {form} requires Kubernetes 1.35, and the API server has v1.34+.0; set \
                 delivery.pod.variables: file"
            )
        };
        for (variables, body, expected) in [
            (FileKey, version("34+"), Err(old("file-key"))),
            (Both, version("34+"), Err(old("both"))),
            (File, version("34+"), Ok(())),
            (FileKey, version("35+"), Ok(())),
            (FileKey, version("40"), Ok(())),
            (
                FileKey,
                "no version".to_owned(),
                Err("delivery.pod.variables: the version of the API server cannot be read: the API server's response \
                     has an unexpected format"
                    .to_owned()),
            ),
        ] {
            let pods = PodFetchConfig { image: Some("a".to_owned()), variables, ..PodFetchConfig::default() };
            let found = check_file_keys(&pods, Some(&cluster(body).await)).await;
            assert_eq!(found.map_err(|error| error.to_string()), expected);
        }
        let unused = PodFetchConfig::default();
        check_file_keys(&unused, Some(&cluster(version("20")).await)).await.unwrap();
    }
}
