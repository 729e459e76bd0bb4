//! Each login against a server that checks every field, and the headers that a request gets.
//!
//! The fields are those of the published definitions: RFC 6749, 7523 and 8693, AWS's Query API and
//! metadata services, Google's and Microsoft's token endpoints, and Vault's HTTP API.

mod aws;
mod azure;
mod errors;
mod gcp;
mod sources;
mod vault;

use std::{path::PathBuf, sync::Arc};

use ampoule_config::{CredentialConfig, GrantedHost, OAuth2Credential};
use ampoule_core::{CredentialError, Destination, HostCredential, OutgoingRequest};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use crate::{Surroundings, credentials, testing::LoginServer};

/// Not a word of the program or of its dependencies.
const CANARY: &str = "zq7canarybird";

/// The credential of the only host of a plugin.
fn credential(config: CredentialConfig, surroundings: &Surroundings) -> Arc<dyn HostCredential> {
    let destination = Destination::parse("store.example").unwrap();
    let host = GrantedHost { destination, credential: Some(config) };
    let (_, credential) = credentials("p", &[host], surroundings).remove(0);
    credential.unwrap()
}

fn request() -> OutgoingRequest {
    OutgoingRequest {
        method: "GET".to_owned(),
        authority: "store.example".to_owned(),
        path_and_query: "/v1/x".to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    }
}

/// The headers of a request, or the error.
async fn headers(credential: &dyn HostCredential) -> Result<Vec<String>, CredentialError> {
    let headers = credential.attach(&request()).await?;
    Ok(headers.iter().map(|header| format!("{}: {}", header.name, header.value.expose_secret())).collect())
}

async fn attach(config: CredentialConfig, surroundings: &Surroundings) -> Result<Vec<String>, CredentialError> {
    headers(&*credential(config, surroundings)).await
}

/// A folder with one file.
fn file(content: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn token_reply(token: &str) -> (u16, String) {
    (200, format!(r#"{{"access_token":"{token}","expires_in":3600,"token_type":"Bearer"}}"#))
}

#[tokio::test]
async fn oauth2_sends_the_client_in_the_header_and_the_scopes_in_the_form() {
    let server = LoginServer::start(|_| token_reply("t0ken")).await;
    let (_folder, secret) = file("p:ss w\n");
    let config = |scopes: &[&str]| {
        CredentialConfig::OAuth2(OAuth2Credential {
            token_url: format!("{}/oauth2/token", server.url),
            client_id: "am poule".to_owned(),
            client_secret: ampoule_config::CredentialSource::File(secret.clone()),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        })
    };
    for (scopes, expected) in [
        (&["read", "list"][..], pairs(&[("grant_type", "client_credentials"), ("scope", "read list")])),
        (&[], pairs(&[("grant_type", "client_credentials")])),
    ] {
        let sent = attach(config(scopes), &server.surroundings).await;
        assert_eq!(sent, Ok(vec!["authorization: Bearer t0ken".to_owned()]));
        let [login] = &server.take()[..] else { panic!("one login") };
        assert_eq!(login.line(), "POST /oauth2/token");
        // base64 of `am+poule:p%3Ass+w`.
        assert_eq!(login.header("authorization"), Some("Basic YW0rcG91bGU6cCUzQXNzK3c="));
        assert_eq!(login.form(), expected);
    }
}

#[tokio::test]
async fn hosts_with_the_same_identity_share_a_login() {
    let server = LoginServer::start(|_| token_reply("t0ken")).await;
    let (_folder, secret) = file("s");
    let config = CredentialConfig::OAuth2(OAuth2Credential {
        token_url: server.url.clone(),
        client_id: "c".to_owned(),
        client_secret: ampoule_config::CredentialSource::File(secret),
        scopes: Vec::new(),
    });
    let host = |name| GrantedHost { destination: Destination::parse(name).unwrap(), credential: Some(config.clone()) };
    let plain = GrantedHost { destination: Destination::parse("c.example").unwrap(), credential: None };
    let hosts = [host("a.example"), host("b.example"), plain];
    let credentials = credentials("p", &hosts, &server.surroundings);
    assert!(credentials[2].1.is_none());
    for (_, credential) in &credentials[..2] {
        assert!(headers(&**credential.as_ref().unwrap()).await.is_ok());
    }
    assert_eq!(server.take().len(), 1);
}
