//! The version of the API server, for features that an older one would drop or refuse:
//! [`check_pod_features`], `Cluster::has_match_conditions`.

use std::str::FromStr;

use ampoule_config::{PodComponentSource, PodFetchConfig, VariableDeliveryName};

use tracing::warn;

use crate::{Cluster, ClusterError};

/// A version of Kubernetes, without its patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KubernetesVersion {
    major: u32,
    minor: u32,
}

/// The version in which the API server and the kubelet read variables from files by default
/// (KEP-3721).
const FILE_KEYS: (u32, u32) = (1, 35);

/// The version in which a pod can mount an image by default (KEP-4639).
const IMAGE_VOLUMES: (u32, u32) = (1, 35);
/// The version in which init containers can be sidecars by default (KEP-753).
const SIDECARS: (u32, u32) = (1, 29);
/// The version with `matchConditions` of webhooks that cannot be switched off.
const MATCH_CONDITIONS: KubernetesVersion = KubernetesVersion { major: 1, minor: 30 };

/// Why pods cannot fetch values in the configured way.
#[derive(Debug, thiserror::Error)]
pub enum PodFeatureError {
    /// The API server would drop a field of the pod.
    #[error("{key} requires Kubernetes {major}.{minor}, and the API server has {version}; {remedy}")]
    TooOld {
        /// The setting that needs the field.
        key: String,
        /// The first version with the field.
        major: u32,
        /// The second part of this version.
        minor: u32,
        /// The version of the API server.
        version: String,
        /// The setting that does not need the field.
        remedy: &'static str,
    },
    /// The version is not known.
    #[error("{key}: the version of the API server cannot be read: {reason}")]
    Unknown {
        /// The setting that needs the version.
        key: String,
        /// The error of the request.
        reason: ClusterError,
    },
}

/// A field that an older API server drops without an error.
struct RequiredFeature {
    key: String,
    since: (u32, u32),
    remedy: &'static str,
}

/// Checks that the API server keeps the fields that pods need to fetch values. A process that has
/// no client for another purpose makes one. Without a configured API server, a warning replaces the
/// check.
///
/// # Errors
///
/// It does not, or its version cannot be read. The nodes are not checked: a kubelet before 1.35
/// gives a variable with `fileKeyRef` no value.
pub async fn check_pod_features(pods: &PodFetchConfig, cluster: Option<&Cluster>) -> Result<(), PodFeatureError> {
    let required = required_features(pods);
    let Some(first) = required.first() else { return Ok(()) };
    let own = if cluster.is_none() { Cluster::connect().await.ok() } else { None };
    let Some(cluster) = cluster.or(own.as_ref()) else {
        warn!(key = first.key, "no API server is configured, so its support of delivery: pod is not checked");
        return Ok(());
    };
    let unknown = |reason| PodFeatureError::Unknown { key: first.key.clone(), reason };
    let version = cluster.version().await.map_err(unknown)?;
    let found = (number(&version.major), number(&version.minor));
    // A server that was built without a version has 0.
    match required.into_iter().find(|feature| found.0 > 0 && found < feature.since) {
        None => Ok(()),
        Some(RequiredFeature { key, since: (major, minor), remedy }) => {
            Err(PodFeatureError::TooOld { key, major, minor, version: version.git_version, remedy })
        }
    }
}

fn required_features(pods: &PodFetchConfig) -> Vec<RequiredFeature> {
    let mut required = Vec::new();
    if pods.image.is_none() {
        return required;
    }
    let form = match pods.variables {
        VariableDeliveryName::File => None,
        VariableDeliveryName::FileKey => Some("file-key"),
        VariableDeliveryName::Both => Some("both"),
    };
    if let Some(form) = form {
        let key = format!("delivery.pod.variables: {form}");
        required.push(RequiredFeature { key, since: FILE_KEYS, remedy: "set delivery.pod.variables: file" });
    }
    if pods.components.source == PodComponentSource::ImageVolume {
        let key = "delivery.pod.components.source: image-volume".to_owned();
        required.push(RequiredFeature { key, since: IMAGE_VOLUMES, remedy: "use another source" });
    }
    if pods.refresh_seconds.is_some() {
        // The sidecar would be an init container that never ends.
        let key = "delivery.pod.refreshSeconds".to_owned();
        required.push(RequiredFeature { key, since: SIDECARS, remedy: "remove it" });
    }
    required
}

// === impl Cluster ===

impl Cluster {
    /// Whether the API server knows `matchConditions`. False if its version cannot be read: the
    /// conditions only save calls.
    pub(crate) async fn has_match_conditions(&self) -> bool {
        let version = self.version().await;
        version
            .is_ok_and(|version| KubernetesVersion::from_parts(&version.major, &version.minor).has_match_conditions())
    }
}

// === impl KubernetesVersion ===

impl KubernetesVersion {
    fn from_parts(major: &str, minor: &str) -> Self {
        Self { major: number(major), minor: number(minor) }
    }

    /// Whether every API server of this version knows the `matchConditions` of webhooks.
    #[must_use]
    pub fn has_match_conditions(self) -> bool {
        self >= MATCH_CONDITIONS
    }
}

impl FromStr for KubernetesVersion {
    type Err = String;

    /// Reads `1.30`, and what `kubectl version` prints, such as `v1.30.2-eks-1`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.strip_prefix('v').unwrap_or(text).split_once('.');
        let version = parts.map(|(major, minor)| Self::from_parts(major, minor));
        let version = version.filter(|version| version.major > 0 && version.minor > 0);
        version.ok_or_else(|| format!("{text:?} is not a version of Kubernetes; use MAJOR.MINOR, such as 1.30"))
    }
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
    async fn match_conditions_are_used_where_every_api_server_has_them() {
        for (body, expected) in
            [(version("20"), false), (version("29+"), false), (version("30"), true), ("no version".to_owned(), false)]
        {
            assert_eq!(cluster(body.clone()).await.has_match_conditions().await, expected, "{body}");
        }
    }

    #[test]
    fn a_version_is_read_as_kubectl_prints_it() {
        for (text, expected) in [
            ("1.29", Some(false)),
            ("v1.29.9", Some(false)),
            ("1.30", Some(true)),
            ("v1.36.2-eks-1", Some(true)),
            ("1.30+", Some(true)),
            ("2.1", Some(true)),
            ("1", None),
            ("", None),
            ("latest", None),
            ("1.x", None),
        ] {
            let found = text.parse::<KubernetesVersion>().ok().map(KubernetesVersion::has_match_conditions);
            assert_eq!(found, expected, "{text}");
        }
        let error = "latest".parse::<KubernetesVersion>().unwrap_err();
        assert_eq!(error, "\"latest\" is not a version of Kubernetes; use MAJOR.MINOR, such as 1.30");
    }

    #[tokio::test]
    async fn an_api_server_that_would_drop_a_field_is_refused() {
        use VariableDeliveryName::{Both, File, FileKey};
        let old = |form: &str| {
            format!(
                "delivery.pod.variables: {form} requires Kubernetes 1.35, and the API server has v1.34+.0; set \
                 delivery.pod.variables: file"
            )
        };
        let no_sidecar =
            "delivery.pod.refreshSeconds requires Kubernetes 1.29, and the API server has v1.28.0; remove it";
        for (variables, refresh_seconds, body, expected) in [
            (FileKey, None, version("34+"), Err(old("file-key"))),
            (Both, None, version("34+"), Err(old("both"))),
            (File, None, version("20"), Ok(())),
            (File, Some(60), version("28"), Err(no_sidecar.to_owned())),
            (File, Some(60), version("29"), Ok(())),
            (FileKey, Some(60), version("35+"), Ok(())),
            (FileKey, None, version("40"), Ok(())),
            (
                FileKey,
                None,
                "no version".to_owned(),
                Err("delivery.pod.variables: file-key: the version of the API server cannot be read: the API \
                     server's response has an unexpected format"
                    .to_owned()),
            ),
        ] {
            let image = Some("a".to_owned());
            let pods = PodFetchConfig { image, variables, refresh_seconds, ..PodFetchConfig::default() };
            let found = check_pod_features(&pods, Some(&cluster(body).await)).await;
            assert_eq!(found.map_err(|error| error.to_string()), expected);
        }
        let mut pods = PodFetchConfig { image: Some("a".to_owned()), variables: File, ..PodFetchConfig::default() };
        pods.components.source = PodComponentSource::ImageVolume;
        let error = check_pod_features(&pods, Some(&cluster(version("34")).await)).await.unwrap_err().to_string();
        let expected = "delivery.pod.components.source: image-volume requires Kubernetes 1.35, and the API server has \
                        v1.34.0; use another source";
        assert_eq!(error, expected);
        let unused = PodFetchConfig::default();
        check_pod_features(&unused, Some(&cluster(version("20")).await)).await.unwrap();
    }
}
