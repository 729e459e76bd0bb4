//! Logins to Vault: `POST /v1/auth/PATH/login` with `role` and `jwt`, and
//! `POST /v1/auth/token/renew-self` before the token expires.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ampoule_config::VaultCredential;
use ampoule_core::{ClusterSecrets, ClusterSecretsError, LabelledSecrets, SecretName, TokenRequestError};
use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;
use crate::kept::CredentialLogin as _;
use crate::vault::VaultLogin;

fn vault(url: &str, token_file: &std::path::Path) -> VaultCredential {
    VaultCredential {
        address: format!("{url}/"),
        role: "ampoule".to_owned(),
        path: "jwt/k8s".to_owned(),
        namespace: Some("team".to_owned()),
        audience: None,
        token_file: token_file.to_owned(),
    }
}

fn auth(token: &str, seconds: u64, renewable: bool) -> (u16, String) {
    let auth = json!({ "client_token": token, "lease_duration": seconds, "renewable": renewable, "accessor": "a" });
    (200, json!({ "request_id": "r", "auth": auth }).to_string())
}

#[tokio::test]
async fn a_login_sends_role_and_token_and_no_other_field() {
    let server = LoginServer::start(|_| auth("hvs.t0ken", 3600, true)).await;
    let (_folder, path) = file("eyJ.jwt\n");
    let sent = attach(CredentialConfig::Vault(vault(&server.url, &path)), &server.surroundings).await;
    assert_eq!(sent, Ok(vec!["x-vault-token: hvs.t0ken".to_owned()]));
    let [login] = &server.take()[..] else { panic!("one login") };
    assert_eq!(login.line(), "POST /v1/auth/jwt/k8s/login");
    assert_eq!((login.header("x-vault-namespace"), login.header("x-vault-token")), (Some("team"), None));
    assert_eq!(login.header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_str(&login.body).unwrap();
    assert_eq!(body, json!({ "role": "ampoule", "jwt": "eyJ.jwt" }));
}

/// A cluster that issues tokens.
struct Cluster(Result<&'static str, TokenRequestError>);

#[async_trait]
impl ClusterSecrets for Cluster {
    async fn read(
        &self,
        _secret: &SecretName,
        _key: &str,
        _selectors: &[LabelledSecrets],
    ) -> Result<Option<Vec<u8>>, ClusterSecretsError> {
        panic!("a login reads no Secret")
    }

    async fn request_token(&self, audience: &str) -> Result<SecretString, TokenRequestError> {
        assert_eq!(audience, "vault");
        self.0.clone().map(SecretString::from)
    }
}

#[tokio::test]
async fn with_an_audience_the_api_server_issues_the_token_unless_a_file_has_it() {
    use TokenRequestError::{Denied, NoAccount, Unavailable};
    let server = LoginServer::start(|_| auth("t", 3600, true)).await;
    let (_folder, path) = file("from the file");
    let default = std::path::Path::new("/var/run/secrets/kubernetes.io/serviceaccount/token");
    let reason = || "reason".to_owned();
    for (token_file, issued, expected) in [
        (default, Ok("issued"), Ok("issued")),
        (&path, Ok("issued"), Ok("from the file")),
        (default, Err(Denied(reason())), Err(CredentialError::Forbidden)),
        (default, Err(NoAccount(reason())), Err(CredentialError::Misconfigured)),
        (default, Err(Unavailable(reason())), Err(CredentialError::Unavailable)),
    ] {
        let config = VaultCredential { audience: Some("vault".to_owned()), ..vault(&server.url, token_file) };
        let mut surroundings = server.surroundings.clone();
        surroundings.secrets = Arc::new(Cluster(issued));
        let result = attach(CredentialConfig::Vault(config), &surroundings).await;
        let jwt = server.take().first().map(|login| serde_json::from_str::<Value>(&login.body).unwrap()["jwt"].clone());
        assert_eq!((result.map(drop), jwt), (expected.map(drop), expected.ok().map(Value::from)));
    }
}

#[tokio::test]
async fn a_renewable_token_is_renewed_until_its_server_extends_it_no_longer() {
    let renewals = AtomicU32::new(0);
    let server = LoginServer::start(move |request| match request.uri.path() {
        "/v1/auth/token/renew-self" if request.header("x-vault-token") == Some("first") => {
            let lifetime = if renewals.fetch_add(1, Ordering::Relaxed) == 0 { 3600 } else { 60 };
            auth("first", lifetime, true)
        }
        "/v1/auth/jwt/k8s/login" => auth("first", 3600, true),
        other => panic!("unexpected request to {other}"),
    })
    .await;
    let (_folder, path) = file("jwt");
    let login = VaultLogin::new(vault(&server.url, &path), server.surroundings.clone());
    for expected in [
        &["/v1/auth/jwt/k8s/login"][..],
        &["/v1/auth/token/renew-self"],
        &["/v1/auth/token/renew-self", "/v1/auth/jwt/k8s/login"],
    ] {
        login.login().await.unwrap();
        let paths: Vec<_> = server.take().iter().map(|request| request.uri.path().to_owned()).collect();
        assert_eq!(paths, expected);
    }
}

#[tokio::test]
async fn a_token_that_is_not_renewable_leads_to_another_login() {
    let server = LoginServer::start(|_| auth("t", 3600, false)).await;
    let (_folder, path) = file("jwt");
    let login = VaultLogin::new(vault(&server.url, &path), server.surroundings.clone());
    for _ in 0..2 {
        login.login().await.unwrap();
        assert_eq!(server.take()[0].line(), "POST /v1/auth/jwt/k8s/login");
    }
}

/// Lets time pass. The clock runs otherwise: a paused clock would end the connections in between.
async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_host_that_rejects_the_token_gets_another_one() {
    let server = LoginServer::start(|_| auth("t", 360_000, false)).await;
    let (_folder, path) = file("jwt");
    let credential = credential(CredentialConfig::Vault(vault(&server.url, &path)), &server.surroundings);
    for (status, seconds, logins) in [(403, 20, 1), (403, 39, 0), (401, 5, 0), (401, 5, 1), (500, 100, 0), (200, 0, 0)]
    {
        headers(&*credential).await.unwrap();
        assert_eq!(server.take().len(), logins, "before {status}");
        pass(seconds).await;
        credential.answered(status);
    }
    // The token is older than a minute. It stays in use until the next login has ended.
    credential.answered(403);
    headers(&*credential).await.unwrap();
    let mut logins = 0;
    for _ in 0..1000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        logins += server.take().len();
        if logins > 0 {
            return;
        }
    }
    panic!("a status 403 does not renew the token");
}
