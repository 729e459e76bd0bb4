//! How the API server identifies itself when it forwards a request: [`RequestHeaderFollower`]
//! follows the ConfigMap `kube-system/extension-apiserver-authentication`.
//!
//! The API server writes it. The role `extension-apiserver-authentication-reader` in that namespace
//! permits to read it.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use tokio::time::sleep;

use crate::{
    client::{Cluster, ClusterError},
    follow::{ObjectChange, ObjectFollower, ObjectSelector},
};
use ampoule_net::backoff::Backoff;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

const CA: &str = "requestheader-client-ca-file";
const ALLOWED_NAMES: &str = "requestheader-allowed-names";
const USERNAME_HEADERS: &str = "requestheader-username-headers";

/// The pause after the first failure to list, and the longest after several in a row.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The identity of the API server's front proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeaderSettings {
    /// The CAs of the proxy's certificate, in PEM format.
    pub ca_pem: String,
    /// Common names of the proxy's certificate; empty for any name.
    pub allowed_names: Vec<String>,
    /// Headers with the name of the user for whom the proxy forwards a request.
    pub username_headers: Vec<String>,
}

/// Why the identity is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestHeaderError {
    /// The ConfigMap does not exist.
    #[error("ConfigMap {NAMESPACE}/{NAME} does not exist")]
    Missing,
    /// A key does not exist or is empty: the API server has no front proxy.
    #[error(
        "ConfigMap {NAMESPACE}/{NAME} has no {0}: the API server has no aggregation layer \
         (--requestheader-client-ca-file, --proxy-client-cert-file)"
    )]
    NoKey(&'static str),
    /// A key is not a JSON list of texts.
    #[error("ConfigMap {NAMESPACE}/{NAME}: {0} is not a JSON list of texts")]
    NotAList(&'static str),
    /// The ConfigMap cannot be read.
    #[error(
        "ConfigMap {NAMESPACE}/{NAME} cannot be read; the service account needs the role \
         extension-apiserver-authentication-reader in {NAMESPACE}: {0}"
    )]
    Unreadable(#[source] ClusterError),
}

/// Follows the ConfigMap.
pub struct RequestHeaderFollower(ObjectFollower<ConfigMap>);

// === impl RequestHeaderSettings ===

impl RequestHeaderSettings {
    fn from_config_map(config_map: &ConfigMap) -> Result<Self, RequestHeaderError> {
        let empty = BTreeMap::new();
        let data = config_map.data.as_ref().unwrap_or(&empty);
        let ca_pem = data.get(CA).filter(|pem| !pem.trim().is_empty()).ok_or(RequestHeaderError::NoKey(CA))?;
        let username_headers = list(data, USERNAME_HEADERS)?;
        if username_headers.is_empty() {
            return Err(RequestHeaderError::NoKey(USERNAME_HEADERS));
        }
        Ok(Self { ca_pem: ca_pem.clone(), allowed_names: list(data, ALLOWED_NAMES)?, username_headers })
    }
}

// === impl RequestHeaderFollower ===

impl RequestHeaderFollower {
    /// Creates the follower. It sends no request yet.
    #[must_use]
    pub fn new(cluster: &Cluster) -> Self {
        let api = cluster.watching().namespaced_in(NAMESPACE);
        Self(ObjectFollower::new(api, ObjectSelector::Name(NAME.to_owned())))
    }

    /// Reports the identity now and after each change, or why it is not known. Never returns.
    pub async fn run(self, mut report: impl FnMut(Result<RequestHeaderSettings, RequestHeaderError>)) -> Infallible {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let version = loop {
            match self.0.list().await {
                Ok((found, version)) => {
                    report(read(found.first()));
                    break version;
                }
                Err(error) => {
                    report(Err(RequestHeaderError::Unreadable(error)));
                    sleep(backoff.pause()).await;
                }
            }
        };
        self.0
            .run(version, |change| match change {
                ObjectChange::Listed(found) => report(read(found.first())),
                ObjectChange::Applied(found) => report(read(Some(&found))),
                ObjectChange::Deleted(_) => report(read(None)),
            })
            .await
    }
}

fn read(config_map: Option<&ConfigMap>) -> Result<RequestHeaderSettings, RequestHeaderError> {
    RequestHeaderSettings::from_config_map(config_map.ok_or(RequestHeaderError::Missing)?)
}

/// Reads a JSON list; a missing or empty key is an empty list.
fn list(data: &BTreeMap<String, String>, key: &'static str) -> Result<Vec<String>, RequestHeaderError> {
    match data.get(key).map(|text| text.trim()).filter(|text| !text.is_empty()) {
        Some(text) => {
            let list: Option<Vec<String>> =
                serde_json::from_str(text).map_err(|_| RequestHeaderError::NotAList(key))?;
            Ok(list.unwrap_or_default())
        }
        None => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(entries: &[(&str, &str)]) -> Result<RequestHeaderSettings, String> {
        let data = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let config_map = ConfigMap { data: Some(data), ..ConfigMap::default() };
        read(Some(&config_map)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_config_map_of_an_api_server_names_the_front_proxy() {
        let found = settings(&[
            (CA, "PEM"),
            (ALLOWED_NAMES, r#"["front-proxy-client"]"#),
            (USERNAME_HEADERS, r#"["X-Remote-User"]"#),
            ("client-ca-file", "other"),
            ("requestheader-group-headers", r#"["X-Remote-Group"]"#),
        ]);
        let expected = RequestHeaderSettings {
            ca_pem: "PEM".to_owned(),
            allowed_names: vec!["front-proxy-client".to_owned()],
            username_headers: vec!["X-Remote-User".to_owned()],
        };
        assert_eq!(found, Ok(expected.clone()));
        for no_names in ["[]", "null", ""] {
            let found = settings(&[(CA, "PEM"), (ALLOWED_NAMES, no_names), (USERNAME_HEADERS, r#"["X-Remote-User"]"#)]);
            assert_eq!(found, Ok(RequestHeaderSettings { allowed_names: Vec::new(), ..expected.clone() }));
        }
    }

    #[test]
    fn a_config_map_without_a_front_proxy_is_an_error_that_names_the_key() {
        let missing = "ConfigMap kube-system/extension-apiserver-authentication does not exist";
        assert_eq!(read(None).unwrap_err().to_string(), missing);
        let users = (USERNAME_HEADERS, r#"["X-Remote-User"]"#);
        for (entries, expected) in [
            (
                vec![users],
                "has no requestheader-client-ca-file: the API server has no aggregation layer \
                 (--requestheader-client-ca-file, --proxy-client-cert-file)",
            ),
            (
                vec![(CA, "PEM")],
                "has no requestheader-username-headers: the API server has no aggregation layer \
                 (--requestheader-client-ca-file, --proxy-client-cert-file)",
            ),
            (vec![(CA, "PEM"), users, (ALLOWED_NAMES, "proxy")], "is not a JSON list of texts"),
            (vec![(CA, "PEM"), (USERNAME_HEADERS, "{}")], "is not a JSON list of texts"),
        ] {
            let error = settings(&entries).unwrap_err();
            assert!(error.ends_with(expected), "{error}");
        }
    }
}
