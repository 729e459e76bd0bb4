//! Logins to Google Cloud: the metadata server, workload identity federation with and without a
//! service account, and the private key of a service account.

use ampoule_config::GcpCredential;
use data_encoding::BASE64URL_NOPAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};

use super::*;

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// A key for tests only.
const KEY: &str = include_str!("key.pem");

fn gcp(metadata_endpoint: Option<&str>) -> CredentialConfig {
    let metadata_endpoint = metadata_endpoint.map(ToOwned::to_owned);
    let (audience, token_file, token_url) = (None, None, None);
    CredentialConfig::Gcp(GcpCredential {
        scopes: vec![SCOPE.to_owned()],
        audience,
        token_file,
        token_url,
        metadata_endpoint,
    })
}

async fn attach_file(server: &LoginServer, content: &Value) -> Result<Vec<String>, CredentialError> {
    let (_folder, path) = file(&content.to_string());
    let variables = [("GOOGLE_APPLICATION_CREDENTIALS", path.to_str().unwrap())];
    attach(gcp(None), &server.surroundings(&variables)).await
}

#[tokio::test]
async fn the_metadata_server_gets_the_scopes_and_its_header() {
    let server = LoginServer::start(|_| token_reply("t0ken")).await;
    let sent = attach(gcp(Some(&server.url)), &server.surroundings).await;
    assert_eq!(sent, Ok(vec!["authorization: Bearer t0ken".to_owned()]));
    let [login] = &server.take()[..] else { panic!("one login") };
    let path = "/computeMetadata/v1/instance/service-accounts/default/token";
    let scopes = "scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform";
    assert_eq!(login.line(), format!("GET {path}?{scopes}"));
    assert_eq!(login.header("metadata-flavor"), Some("Google"));
}

#[tokio::test]
async fn a_token_of_the_cluster_is_exchanged() {
    let server = LoginServer::start(|request| match request.uri.path() {
        "/v1/token" => token_reply("federated"),
        _ => (200, json!({ "accessToken": "of account", "expireTime": "2999-01-01T00:00:00Z" }).to_string()),
    })
    .await;
    let (_folder, plain) = file("eyJ.jwt\n");
    let (_folder, wrapped) = file(r#"{"token":"eyJ.jwt"}"#);
    let format = json!({ "type": "json", "subject_token_field_name": "token" });
    let impersonation = format!("{}/v1/projects/-/serviceAccounts/a@b:generateAccessToken", server.url);
    for (source, impersonated) in [
        (json!({ "file": plain }), false),
        (json!({ "file": wrapped, "format": format }), false),
        (json!({ "file": plain }), true),
    ] {
        let mut account = json!({
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": format!("{}/v1/token", server.url),
            "credential_source": source,
        });
        if impersonated {
            account["service_account_impersonation_url"] = impersonation.as_str().into();
        }
        let sent = attach_file(&server, &account).await;
        let token = if impersonated { "of account" } else { "federated" };
        assert_eq!(sent, Ok(vec![format!("authorization: Bearer {token}")]));
        let logins = server.take();
        assert_eq!(logins[0].line(), "POST /v1/token");
        let expected = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", account["audience"].as_str().unwrap()),
            ("scope", if impersonated { "https://www.googleapis.com/auth/iam" } else { SCOPE }),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token", "eyJ.jwt"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ];
        assert_eq!(logins[0].form(), pairs(&expected));
        assert_eq!(logins.len(), 1 + usize::from(impersonated));
        if let Some(second) = logins.get(1) {
            assert_eq!(second.line(), "POST /v1/projects/-/serviceAccounts/a@b:generateAccessToken");
            assert_eq!(second.header("authorization"), Some("Bearer federated"));
            assert_eq!(serde_json::from_str::<Value>(&second.body).unwrap(), json!({ "scope": [SCOPE] }));
        }
    }
}

#[tokio::test]
async fn a_token_of_the_cluster_is_exchanged_without_a_credential_file() {
    let server = LoginServer::start(|_| token_reply("federated")).await;
    let (_folder, path) = file("eyJ.jwt\n");
    let audience = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k";
    let config = GcpCredential {
        scopes: vec![SCOPE.to_owned()],
        audience: Some(audience.to_owned()),
        token_file: Some(path),
        token_url: Some(format!("{}/v1/token", server.url)),
        metadata_endpoint: None,
    };
    let other = [("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")];
    let sent = attach(CredentialConfig::Gcp(config.clone()), &server.surroundings(&other)).await;
    assert_eq!(sent, Ok(vec!["authorization: Bearer federated".to_owned()]));
    let [login] = &server.take()[..] else { panic!("one login") };
    assert_eq!(login.line(), "POST /v1/token");
    let form = login.form();
    for (name, value) in [("audience", audience), ("scope", SCOPE), ("subject_token", "eyJ.jwt")] {
        assert!(form.contains(&(name.to_owned(), value.to_owned())), "{form:?}");
    }
    // The usual token is for the API server, and is sent to no one else.
    let without = CredentialConfig::Gcp(GcpCredential { token_file: None, ..config });
    let sent = attach(without, &server.surroundings(&other)).await;
    assert_eq!((sent, server.take().len()), (Err(CredentialError::Misconfigured), 0));
}

#[tokio::test]
async fn a_key_signs_a_token_request() {
    let server = LoginServer::start(|_| token_reply("t0ken")).await;
    let uri = format!("{}/token", server.url);
    let account = json!({
        "type": "service_account",
        "client_email": "a@b.iam.gserviceaccount.com",
        "private_key_id": "k1",
        "private_key": KEY,
        "token_uri": uri,
    });
    let sent = attach_file(&server, &account).await;
    assert_eq!(sent, Ok(vec!["authorization: Bearer t0ken".to_owned()]));
    let [login] = &server.take()[..] else { panic!("one login") };
    let form = login.form();
    assert_eq!(form[0], ("grant_type".to_owned(), "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned()));
    let ("assertion", assertion) = (form[1].0.as_str(), &form[1].1) else { panic!("{form:?}") };
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let key = pem::parse(KEY).unwrap();
    let key = ring::signature::RsaKeyPair::from_pkcs8(key.contents()).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public().as_ref());
    public.verify(signed.as_bytes(), &BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap()).unwrap();
    let part =
        |text: &str| -> Value { serde_json::from_slice(&BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()).unwrap() };
    let (header, claims) = signed.split_once('.').unwrap();
    assert_eq!(part(header), json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
    let mut claims = part(claims);
    let [issued, expiry] = ["iat", "exp"].map(|name| claims[name].take().as_u64().unwrap());
    assert_eq!(expiry - issued, 3600);
    let email = "a@b.iam.gserviceaccount.com";
    assert_eq!(claims, json!({ "iss": email, "scope": SCOPE, "aud": uri, "iat": null, "exp": null }));
}

#[tokio::test]
async fn a_file_that_cannot_be_used_sends_nothing() {
    let server = LoginServer::start(|_| token_reply("t0ken")).await;
    let source = json!({ "file": "/nowhere" });
    let account = |token_url: &str, source: &Value| {
        json!({ "type": "external_account", "audience": "a", "subject_token_type": "t", "token_url": token_url,
                "credential_source": source })
    };
    for file in [
        json!({ "type": "authorized_user" }),
        json!({ "no": "type" }),
        account("http://127.0.0.1/token", &source),
        account(&server.url, &source),
        account(&server.url, &json!({ "environment_id": "aws1" })),
        json!({ "type": "service_account", "client_email": "a", "private_key_id": "k", "private_key": "k",
                "token_uri": server.url }),
    ] {
        assert_eq!(attach_file(&server, &file).await, Err(CredentialError::Misconfigured), "{file}");
    }
    assert!(server.take().is_empty());
}
