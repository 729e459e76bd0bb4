//! The secrets of Flyte 2 in the stores of the clouds: `builtin:embedded` asks three scopes, with a
//! credential of the host.
//!
//! The tests of the plugin check names, values and errors; this is the way from the labels of a pod
//! to the store and back.

use std::net::SocketAddr;

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{
    Ampoule, Review, asking,
    network::{Question, Store, TOKEN, in_own_network},
    tls_front::TlsFront,
};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::{Moto, certificate_pem, config, request, variable_in};

/// Not a word of the program or of its dependencies.
const CANARY: &str = "zq7canarybird";
/// The names of `shared` and `absent` in the organization.
const SHARED: &str = "u__org__flyte__domain____project____key__shared";

/// A store, and the credential of the host for it.
struct Case {
    settings: &'static str,
    credential: &'static str,
    environment: Vec<(&'static str, String)>,
    /// The CA of the store's certificate, in PEM form.
    ca: String,
    /// A part of each refusal, with its code: of `absent`, and of `forbidden`.
    refusals: Vec<(&'static str, u64, String)>,
}

#[test]
fn secrets_of_flyte_are_in_aws() {
    in_own_network("embedded::secrets_of_flyte_are_in_aws", || {
        Runtime::new().expect("a runtime").block_on(ask_aws()).expect("AWS is asked");
    });
}

async fn ask_aws() -> Result<()> {
    let own = "u__org__flyte__domain__development__project__flytesnacks__key__own";
    let moto = Moto::start(5000, &json!({ SHARED: format!("{CANARY}-shared"), own: format!("{CANARY}-own") }))?;
    let front = TlsFront::start(8443, SocketAddr::from(([127, 0, 0, 1], 5000))).await;
    let folder = tempfile::tempdir()?;
    let token = folder.path().join("token").display().to_string();
    std::fs::write(&token, "eyJ.web.identity")?;
    check(&Case {
        settings: "{ type: AWS, aws: { region: eu-central-1, endpoint: 'https://192.0.2.1:8443' } }",
        credential: "{ awsSigV4: { service: secretsmanager, region: eu-central-1, \
                     stsEndpoint: 'https://192.0.2.1:8443' } }",
        environment: vec![("AWS_WEB_IDENTITY_TOKEN_FILE", token), ("AWS_ROLE_ARN", moto.part("role").to_owned())],
        ca: front.ca.clone(),
        refusals: vec![absent()],
    })
    .await
}

#[test]
fn secrets_of_flyte_are_in_google_secret_manager() {
    in_own_network("embedded::secrets_of_flyte_are_in_google_secret_manager", || {
        let forbidden = "u__org__flyte__domain__development__project__flytesnacks__key__forbidden";
        ask_store(
            gcp,
            "{ type: GCP, gcp: { project: shop, endpoint: 'https://192.0.2.1:8443' } }",
            format!("access is denied to {forbidden} (Google Secret Manager denies access to secret {forbidden})"),
        );
    });
}

#[test]
fn secrets_of_flyte_are_in_azure_key_vault() {
    in_own_network("embedded::secrets_of_flyte_are_in_azure_key_vault", || {
        let id = "u__org__flyte__domain__development__project__flytesnacks__key__forbidden";
        let name = "1-flyte-development-flytesnacks-MZXXEYTJMRSGK3Q";
        ask_store(
            azure,
            "{ type: Azure, azure: { vaultUrl: 'https://192.0.2.1:8443' } }",
            format!("access is denied to {id} (Azure Key Vault denies access to secret {name})"),
        );
    });
}

/// Asks a store that requires a token.
fn ask_store(answers: fn(&str) -> (u16, Value), settings: &'static str, denied: String) {
    let store = Store::answering(move |question| Some(authorized(question, answers)));
    let case = Case {
        settings,
        credential: "{ bearer: { environment: STORE_TOKEN } }",
        environment: vec![("STORE_TOKEN", TOKEN.to_owned())],
        ca: certificate_pem(store.root.as_ref()),
        refusals: vec![absent(), ("forbidden", 403, denied)],
    };
    Runtime::new().expect("a runtime").block_on(check(&case)).expect("the store is asked");
}

fn absent() -> (&'static str, u64, String) {
    let scopes = "no secret \"absent\" in project flytesnacks and domain development, in domain development, or in \
                  organization flyte";
    ("absent", 400, scopes.to_owned())
}

async fn check(case: &Case) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, &case.ca)?;
    let injector = format!(
        "  - name: embedded
    component: builtin:embedded
    settings: {}
    delivery: inline
    acceptPlaintext: true
    grants: {{ http: {{ hosts: [{{ host: '192.0.2.1:8443', credential: {} }}], caFile: {} }} }}
    limits: {{ deadlineMillis: 30000, queueWaitMillis: 30000 }}
",
        case.settings,
        case.credential,
        ca.display()
    );
    let environment: Vec<_> = case.environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let ampoule = Ampoule::start_with(&config("flyte-v2", &injector), &environment).await?;
    for key in ["own", "shared"] {
        let pod = task(key);
        let response = ampoule.review_once(&Review::of(&pod, "anywhere")).await?;
        ensure!(response.allowed, "{key} is refused: {}", response.message);
        let mut patched = pod.clone();
        json_patch::patch(&mut patched, &response.patch)?;
        assert_eq!(variable_in(&patched, "VALUE"), &json!(format!("{CANARY}-{key}")));
    }
    let mut texts = Vec::new();
    for (key, code, expected) in &case.refusals {
        let response = ampoule.review_once(&Review::of(&task(key), "anywhere")).await?;
        let message = response.message;
        ensure!(!response.allowed && response.code == *code && message.contains(expected), "{key}: {message}");
        texts.push(message);
    }
    texts.push(ampoule.admin("/metrics").await?.text());
    let exit = ampoule.stop().await?;
    exit.ensure_clean()?;
    assert!(!exit.log.contains("without the grant"), "{}", exit.log);
    texts.push(exit.log);
    for text in texts {
        assert!(!text.contains(CANARY), "{text}");
    }
    Ok(())
}

/// A pod of a project that requests a secret.
fn task(key: &str) -> Value {
    let mut pod = asking("task", [request("", key, EnvVar, "VALUE")]);
    for (label, value) in [("organization", "flyte"), ("domain", "development"), ("project", "flytesnacks")] {
        pod["metadata"]["labels"][label] = value.into();
    }
    pod
}

fn authorized(question: &Question, answers: fn(&str) -> (u16, Value)) -> (u16, String) {
    let expected = format!("authorization: Bearer {TOKEN}");
    if !question.headers.contains(&expected) {
        return (401, String::new());
    }
    let (status, body) = answers(question.target.strip_prefix("GET ").unwrap_or_default());
    (status, body.to_string())
}

/// `projects.secrets.versions.access`.
fn gcp(path: &str) -> (u16, Value) {
    let error = |code: u16, status: &str| {
        (code, json!({ "error": { "code": code, "message": "zq7canarybird-message", "status": status } }))
    };
    let secret =
        path.strip_prefix("/v1/projects/shop/secrets/").and_then(|rest| rest.strip_suffix("/versions/latest:access"));
    let value = match secret {
        Some("u__org__flyte__domain__development__project__flytesnacks__key__own") => "own",
        Some(SHARED) => "shared",
        Some("u__org__flyte__domain__development__project__flytesnacks__key__forbidden") => {
            return error(403, "PERMISSION_DENIED");
        }
        _ => return error(404, "NOT_FOUND"),
    };
    let data = data_encoding::BASE64.encode(format!("{CANARY}-{value}").as_bytes());
    (200, json!({ "name": "projects/12345/secrets/x/versions/7", "payload": { "data": data } }))
}

/// `GET /secrets/{name}`, with the envelope of Flyte.
fn azure(path: &str) -> (u16, Value) {
    let error = |status, code: &str| (status, json!({ "error": { "code": code, "message": "zq7canarybird-message" } }));
    let secret = path.strip_prefix("/secrets/").and_then(|rest| rest.strip_suffix("?api-version=7.4"));
    let value = match secret {
        Some("1-flyte-development-flytesnacks-N53W4") => {
            json!({ "type": "BINARY", "value": data_encoding::BASE64.encode(format!("{CANARY}-own").as_bytes()) })
        }
        Some("1-flyte---ONUGC4TFMQ") => json!({ "type": "STRING", "value": format!("{CANARY}-shared") }),
        Some("1-flyte-development-flytesnacks-MZXXEYTJMRSGK3Q") => return error(403, "Forbidden"),
        _ => return error(404, "SecretNotFound"),
    };
    (200, json!({ "value": value.to_string(), "id": "https://shop.vault.azure.net/secrets/x/4387e9f3d6e14c45" }))
}
