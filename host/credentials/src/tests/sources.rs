//! Secrets from a file, a variable and a Kubernetes Secret, in each kind of header.
//!
//! A secret that cannot be in a header is an error, and never a truncated header.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use ampoule_config::{BasicCredential, CredentialSource, HeaderCredential, SecretKey};
use ampoule_core::{ClusterSecrets, ClusterSecretsError, LabelledSecrets, SecretName};
use ampoule_net::outbound::Roots;
use async_trait::async_trait;

use super::*;

/// A cluster whose Secret can change.
#[derive(Default)]
struct Cluster(Mutex<BTreeMap<String, String>>);

#[async_trait]
impl ClusterSecrets for Cluster {
    async fn read(
        &self,
        secret: &SecretName,
        key: &str,
        _selectors: &[LabelledSecrets],
    ) -> Result<Option<Vec<u8>>, ClusterSecretsError> {
        let found = self.0.lock().unwrap().get(&format!("{secret}/{key}")).cloned();
        match found.as_deref() {
            Some("DENIED") => Err(ClusterSecretsError::Denied("the webhook's role does not allow it".to_owned())),
            Some("DOWN") => Err(ClusterSecretsError::Unavailable("the API server is down".to_owned())),
            found => Ok(found.map(|value| value.as_bytes().to_vec())),
        }
    }
}

fn surroundings(cluster: &Arc<Cluster>) -> Surroundings {
    let secrets: Arc<dyn ClusterSecrets> = Arc::<Cluster>::clone(cluster);
    Surroundings::of_process(secrets, Roots::empty())
        .with_variables(|name| (name == "TOKEN").then(|| "variable".to_owned()))
}

fn secret() -> CredentialSource {
    let [namespace, name, key] = ["vault", "token", "value"].map(str::to_owned);
    CredentialSource::Secret(SecretKey { namespace, name, key })
}

#[tokio::test]
async fn each_kind_has_its_header_and_each_place_its_value() {
    let cluster = Arc::<Cluster>::default();
    cluster.0.lock().unwrap().insert("vault/token/value".to_owned(), "cluster".to_owned());
    let (_folder, path) = file("from file\r\n");
    let variable = || CredentialSource::Environment("TOKEN".to_owned());
    for (config, expected) in [
        (CredentialConfig::Bearer(secret()), "authorization: Bearer cluster"),
        (CredentialConfig::Bearer(CredentialSource::File(path.clone())), "authorization: Bearer from file"),
        (CredentialConfig::Bearer(variable()), "authorization: Bearer variable"),
        (
            CredentialConfig::Basic(BasicCredential { username: "ampoule".to_owned(), password: secret() }),
            "authorization: Basic YW1wb3VsZTpjbHVzdGVy",
        ),
        (
            CredentialConfig::Header(HeaderCredential {
                name: "x-api-key".to_owned(),
                prefix: "Key ".to_owned(),
                value: variable(),
            }),
            "x-api-key: Key variable",
        ),
    ] {
        assert_eq!(attach(config, &surroundings(&cluster)).await, Ok(vec![expected.to_owned()]));
    }
}

#[tokio::test]
async fn a_secret_that_cannot_be_used_has_a_class() {
    let cluster = Arc::<Cluster>::default();
    for (value, expected) in [
        (None, CredentialError::Misconfigured),
        (Some("DENIED"), CredentialError::Misconfigured),
        (Some("DOWN"), CredentialError::Unavailable),
        (Some("\n"), CredentialError::Misconfigured),
        (Some("two\nlines"), CredentialError::Misconfigured),
        (Some("h\u{fc}sh"), CredentialError::Misconfigured),
    ] {
        let values = value.map(|value| ("vault/token/value".to_owned(), value.to_owned()));
        *cluster.0.lock().unwrap() = values.into_iter().collect();
        let sent = attach(CredentialConfig::Bearer(secret()), &surroundings(&cluster)).await;
        assert_eq!(sent, Err(expected), "{value:?}");
    }
    for missing in [CredentialSource::File("/nowhere".into()), CredentialSource::Environment("OTHER".to_owned())] {
        let sent = attach(CredentialConfig::Bearer(missing), &surroundings(&cluster)).await;
        assert_eq!(sent, Err(CredentialError::Misconfigured));
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotated_secret_takes_effect_within_a_minute() {
    let cluster = Arc::<Cluster>::default();
    let set = |value: &str| drop(cluster.0.lock().unwrap().insert("vault/token/value".to_owned(), value.to_owned()));
    set("first");
    let credential = credential(CredentialConfig::Bearer(secret()), &surroundings(&cluster));
    let sent = async || headers(&*credential).await.unwrap().remove(0);
    assert_eq!(sent().await, "authorization: Bearer first");
    set("second");
    tokio::time::sleep(std::time::Duration::from_secs(31)).await;
    sent().await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(sent().await, "authorization: Bearer second");
}
