//! The plugins for secret stores against servers: from the annotation of a pod over HTTPS to the
//! variable, and nothing of a value in the log.
//!
//! The answers in this file are those of the stores' API references. Each checks the request as the
//! store would: method, path, query and headers.

use std::{
    net::TcpStream,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use ampoule_core::{MountRequirement::EnvVar, SecretRequest};
use ampoule_tests::{
    Ampoule, Review, asking,
    network::{Question, Store, in_own_network},
};
use anyhow::{Result, ensure};
use serde_json::json;

use crate::support::{certificate_pem, config, forward, variable_in};

/// Not a word of the program or of its dependencies.
const VALUE: &str = "zq7canarybird-value";

/// Makes the secrets of moto, and prints the ARN of the first.
const CREATE_SECRETS: &str = r#"
import boto3, json
client = boto3.client("secretsmanager", region_name="us-east-1", endpoint_url="http://127.0.0.1:5000")
value = "zq7canarybird-value"
document = json.dumps({"password": value, "other": "zq7canarybird-other"})
print(client.create_secret(Name="prod/db", SecretString=document)["ARN"])
client.create_secret(Name="token", SecretString=value)
client.create_secret(Name="binary", SecretBinary=document.encode())
client.create_secret(Name="rotated", SecretString=document)
client.put_secret_value(SecretId="rotated", SecretString="{}")
client.create_secret(Name="deleted", SecretString=document)
client.delete_secret(SecretId="deleted", RecoveryWindowInDays=7)
"#;

/// The address of the server in its network.
const HOST: &str = "192.0.2.1:8443";

/// A plugin with its store.
struct Case {
    component: &'static str,
    settings: &'static str,
    /// Requests `[group, version, key]` whose value is [`VALUE`].
    found: &'static [[&'static str; 3]],
    /// Requests with a part of the refusal.
    refused: &'static [([&'static str; 3], &'static str)],
    answers: fn(&Question) -> (u16, String),
}

#[test]
fn aws_secrets_manager_is_asked_for_a_value() {
    in_own_network("stores::aws_secrets_manager_is_asked_for_a_value", || {
        check(&Case {
            component: "builtin:aws-secrets-manager",
            settings: "{ region: eu-central-1, endpoint: 'https://192.0.2.1:8443' }",
            found: &[["prod/db", "", "password"], ["prod/db", "AWSPREVIOUS", "password"], ["", "", "token"]],
            refused: &[
                (["prod/db", "", "user"], "secret prod/db of AWS Secrets Manager has no key \"user\""),
                (["absent", "", "password"], "AWS Secrets Manager has no secret absent"),
                (["forbidden", "", "password"], "AWS denies access to secret forbidden"),
            ],
            answers: aws,
        });
    });
}

/// The secrets are made with the client of AWS for Python, and asked for over a proxy with TLS.
#[test]
fn a_server_of_aws_secrets_manager_is_asked_for_a_value() {
    in_own_network("stores::a_server_of_aws_secrets_manager_is_asked_for_a_value", || {
        let moto = ampoule_tests::moto().expect("moto is installed");
        let mut server = Command::new(moto.join("bin/moto_server"));
        let server = server.args(["--host", "127.0.0.1", "--port", "5000"]).stderr(Stdio::null());
        let mut server = server.stdout(Stdio::null()).spawn().expect("moto starts");
        let started = Instant::now();
        while TcpStream::connect("127.0.0.1:5000").is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "moto does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        let output = Command::new(moto.join("bin/python"))
            .args(["-c", CREATE_SECRETS])
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .output()
            .expect("Python starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let arn = String::from_utf8(output.stdout).expect("an ARN is ASCII");
        let arn: &str = arn.trim().to_owned().leak();
        check(&Case {
            component: "builtin:aws-secrets-manager",
            settings: "{ region: us-east-1, endpoint: 'https://192.0.2.1:8443' }",
            found: vec![
                ["prod/db", "", "password"],
                [arn, "", "password"],
                ["rotated", "AWSPREVIOUS", "password"],
                ["binary", "", "password"],
                ["", "", "token"],
            ]
            .leak(),
            refused: &[
                (["prod/db", "", "user"], "secret prod/db of AWS Secrets Manager has no key \"user\""),
                (["rotated", "", "password"], "secret rotated of AWS Secrets Manager has no key \"password\""),
                (["absent", "", "password"], "AWS Secrets Manager has no secret absent"),
                (["prod/db", "NO_STAGE", "password"], "AWS Secrets Manager has no secret prod/db@NO_STAGE"),
                (["deleted", "", "password"], "secret deleted is marked for deletion, or has no value"),
                (["token", "", "password"], "secret token of AWS Secrets Manager is not a JSON object"),
            ],
            answers: forward_to_moto,
        });
        server.kill().and_then(|()| server.wait()).expect("moto ends");
    });
}

#[test]
fn google_secret_manager_is_asked_for_a_value() {
    in_own_network("stores::google_secret_manager_is_asked_for_a_value", || {
        check(&Case {
            component: "builtin:gcp-secret-manager",
            settings: "{ project: shop, endpoint: 'https://192.0.2.1:8443' }",
            found: &[["db", "", "password"], ["db", "7", "password"], ["", "", "token"]],
            refused: &[
                (["db", "", "user"], "secret db of Google Secret Manager has no key \"user\""),
                (["absent", "", "password"], "Google Secret Manager has no secret absent"),
                (["db", "6", "password"], "the version of secret db@6 is disabled or destroyed"),
            ],
            answers: gcp,
        });
    });
}

#[test]
fn azure_key_vault_is_asked_for_a_value() {
    in_own_network("stores::azure_key_vault_is_asked_for_a_value", || {
        check(&Case {
            component: "builtin:azure-key-vault",
            settings: "{ vaultUrl: 'https://192.0.2.1:8443' }",
            found: &[["db", "", "password"], ["db", "4387e9f3d6e14c459867679a90fd0f79", "password"], ["", "", "token"]],
            refused: &[
                (["db", "", "user"], "secret db of Azure Key Vault has no key \"user\""),
                (["absent", "", "password"], "Azure Key Vault has no secret absent"),
                (["disabled", "", "password"], "secret disabled is disabled in Azure Key Vault"),
            ],
            answers: azure,
        });
    });
}

#[test]
fn vault_is_asked_for_a_value_of_a_kv_engine_of_version_2() {
    in_own_network("stores::vault_is_asked_for_a_value_of_a_kv_engine_of_version_2", || {
        check(&Case {
            component: "builtin:vault-kv",
            settings: "{ address: 'https://192.0.2.1:8443', mount: kv2, namespace: team-a }",
            found: &[["shop/db", "", "password"], ["shop/db", "3", "password"]],
            refused: &[
                (["shop/db", "", "user"], "secret shop/db of Vault has no key \"user\""),
                (["absent", "", "password"], "Vault has no secret absent at settings.mount"),
                (["forbidden", "", "password"], "Vault denies access to secret forbidden"),
            ],
            answers: vault,
        });
    });
}

#[test]
fn vault_is_asked_for_a_value_of_a_kv_engine_of_version_1() {
    in_own_network("stores::vault_is_asked_for_a_value_of_a_kv_engine_of_version_1", || {
        check(&Case {
            component: "builtin:vault-kv",
            settings: "{ address: 'https://192.0.2.1:8443', mount: kv1, kvVersion: 1, namespace: team-a }",
            found: &[["shop/db", "", "password"]],
            refused: &[
                (["shop/db", "", "user"], "secret shop/db of Vault has no key \"user\""),
                (["shop/db", "3", "password"], "version 1 of the KV secrets engine has no versions of secrets"),
            ],
            answers: vault,
        });
    });
}

#[test]
fn the_connect_server_of_1password_is_asked_for_a_value() {
    in_own_network("stores::the_connect_server_of_1password_is_asked_for_a_value", || {
        let component = ampoule_test_guests::plugin("onepassword-connect");
        let file = std::env::temp_dir().join(format!("onepassword-connect-{}.wasm", std::process::id()));
        std::fs::write(&file, component).expect("the folder for temporary files is writable");
        let component = format!("file:{}", file.display()).leak();
        check(&Case {
            component,
            settings: "{ url: 'https://192.0.2.1:8443', vault: Apps }",
            found: &[["data base", "", "password"]],
            refused: &[
                (["data base", "", "user"], "item \"data base\" has no value in a field \"user\""),
                (["absent", "", "password"], "Connect has nothing with the title \"absent\""),
            ],
            answers: connect,
        });
        std::fs::remove_file(file).expect("the file exists");
    });
}

/// Runs a case in the network of the test.
fn check(case: &Case) {
    let answers = case.answers;
    let store = Store::answering(move |question| Some(answers(question)));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(ask(case, &store)).expect("the store is asked");
}

async fn ask(case: &Case, store: &Store) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, certificate_pem(store.root.as_ref()))?;
    let injector = format!(
        "  - name: store
    component: {}
    settings: {}
    delivery: inline
    acceptPlaintext: true
    grants: {{ http: {{ hosts: ['{HOST}'], caFile: {} }}, cache: true }}
    limits: {{ deadlineMillis: 20000 }}
",
        case.component,
        case.settings,
        ca.display()
    );
    let ampoule = Ampoule::start_with(&config("flyte-v1", &injector), &[]).await?;
    for request in case.found {
        let pod = pod(request);
        let response = ampoule.review_once(&Review::of(&pod, "default")).await?;
        ensure!(response.allowed, "{request:?} is refused: {}", response.message);
        let mut patched = pod.clone();
        json_patch::patch(&mut patched, &response.patch)?;
        assert_eq!(variable_in(&patched, "VALUE"), &json!(VALUE), "{request:?}");
    }
    let mut texts = Vec::new();
    for (request, expected) in case.refused {
        let response = ampoule.review_once(&Review::of(&pod(request), "default")).await?;
        ensure!(!response.allowed && response.message.contains(expected), "{request:?}: {}", response.message);
        texts.push(response.message);
    }
    texts.push(ampoule.admin("/metrics").await?.text());
    let exit = ampoule.stop().await?;
    exit.ensure_clean()?;
    texts.push(exit.log);
    for text in texts {
        assert!(!text.contains("canarybird"), "{text}");
    }
    Ok(())
}

fn pod([group, version, key]: &[&str; 3]) -> serde_json::Value {
    let [group, group_version, key] = [group, version, key].map(|text| (*text).to_owned());
    let env_var = Some("VALUE".to_owned());
    let request = SecretRequest { group, group_version, key, mount: EnvVar, env_var, ..SecretRequest::default() };
    asking("task", [request.to_flyte_annotation()])
}

/// The JSON of a secret, as text.
fn document() -> String {
    json!({ "password": VALUE, "other": "zq7canarybird-other" }).to_string()
}

/// Sends a request to moto, and returns its answer. Moto reads service and region from a signature,
/// and does not verify it.
fn forward_to_moto(question: &Question) -> (u16, String) {
    let mut question = question.clone();
    if !question.headers.iter().any(|line| line.starts_with("authorization: ")) {
        question.headers.push(
            "authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/secretsmanager/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature=0"
                .to_owned(),
        );
    }
    forward("127.0.0.1:5000", &question).expect("moto answers")
}

fn has(question: &Question, header: &str) -> bool {
    question.headers.iter().any(|line| line == header)
}

/// `GetSecretValue`: one URL for all requests, and status 400 for most errors.
fn aws(question: &Question) -> (u16, String) {
    let is_valid = question.target == "POST /"
        && has(question, "content-type: application/x-amz-json-1.1")
        && has(question, "x-amz-target: secretsmanager.GetSecretValue");
    let Some(body) = is_valid.then(|| serde_json::from_str::<serde_json::Value>(&question.body).ok()).flatten() else {
        return (404, "<UnknownOperationException/>".to_owned());
    };
    let error = |name: &str| (400, json!({ "__type": name, "Message": "zq7canarybird-message" }).to_string());
    let value = match (body["SecretId"].as_str(), body["VersionStage"].as_str()) {
        (Some("prod/db"), None | Some("AWSPREVIOUS")) => document(),
        (Some("token"), None) => VALUE.to_owned(),
        (Some("forbidden"), _) => return error("AccessDeniedException"),
        _ => return error("ResourceNotFoundException"),
    };
    let answer = json!({
        "ARN": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:x-AbCdEf",
        "CreatedDate": 1_523_477_145.713,
        "Name": body["SecretId"],
        "SecretString": value,
        "VersionId": "5048bd2e-0c3c-4fa5-9b10-1a2b3c4d5e6f",
        "VersionStages": ["AWSCURRENT"],
    });
    (200, answer.to_string())
}

/// `projects.secrets.versions.access`.
fn gcp(question: &Question) -> (u16, String) {
    let secrets = "GET /v1/projects/shop/secrets/";
    let error = |code: u16, status: &str| {
        (code, json!({ "error": { "code": code, "message": "zq7canarybird-message", "status": status } }).to_string())
    };
    let value = match question.target.strip_prefix(secrets) {
        Some("db/versions/latest:access" | "db/versions/7:access") => document(),
        Some("db/versions/6:access") => return error(400, "FAILED_PRECONDITION"),
        Some("token/versions/latest:access") => VALUE.to_owned(),
        _ => return error(404, "NOT_FOUND"),
    };
    let data = data_encoding::BASE64.encode(value.as_bytes());
    (200, json!({ "name": "projects/12345/secrets/x/versions/7", "payload": { "data": data } }).to_string())
}

/// `GET /secrets/{name}/{version}`.
fn azure(question: &Question) -> (u16, String) {
    let error = |status, code: &str, inner: &str| {
        let inner = json!({ "code": inner });
        let error = json!({ "code": code, "message": "zq7canarybird-message", "innererror": inner });
        (status, json!({ "error": error }).to_string())
    };
    let path = question.target.strip_prefix("GET /secrets/").and_then(|path| path.strip_suffix("?api-version=7.4"));
    let value = match path {
        Some("db" | "db/4387e9f3d6e14c459867679a90fd0f79") => document(),
        Some("token") => VALUE.to_owned(),
        Some("disabled") => return error(403, "Forbidden", "SecretDisabled"),
        _ => return error(404, "SecretNotFound", "SecretNotFound"),
    };
    let id = "https://shop.vault.azure.net/secrets/x/4387e9f3d6e14c459867679a90fd0f79";
    let attributes = json!({ "enabled": true, "created": 1_493_938_410, "recoveryLevel": "Recoverable+Purgeable" });
    (200, json!({ "value": value, "id": id, "attributes": attributes }).to_string())
}

/// Two KV engines in the namespace `team-a`: `kv1` and `kv2`.
fn vault(question: &Question) -> (u16, String) {
    let errors = |status, errors: &[&str]| (status, json!({ "errors": errors }).to_string());
    if !has(question, "x-vault-namespace: team-a") {
        return errors(404, &["no handler for route"]);
    }
    let data = json!({ "password": VALUE, "other": "zq7canarybird-other" });
    let (lease_duration, data) = match question.target.as_str() {
        "GET /v1/kv1/shop/db" => (2_764_800, data),
        "GET /v1/kv2/data/shop/db" | "GET /v1/kv2/data/shop/db?version=3" => {
            let metadata = json!({ "created_time": "2026-01-01T00:00:00Z", "custom_metadata": null, "version": 3 });
            (0, json!({ "data": data, "metadata": metadata }))
        }
        "GET /v1/kv2/data/forbidden" => return errors(403, &["1 error occurred:\n\t* zq7canarybird-message\n\n"]),
        _ => return errors(404, &[]),
    };
    let answer = json!({
        "request_id": "29c2a54b-46f2-4eb9-8a3d-1f0b9b2f8f0c",
        "lease_id": "",
        "renewable": false,
        "lease_duration": lease_duration,
        "data": data,
        "wrap_info": null,
        "warnings": null,
        "auth": null,
    });
    (200, answer.to_string())
}

/// A vault with one item.
fn connect(question: &Question) -> (u16, String) {
    let items = "/v1/vaults/ftz4pm2xxwmwrsd7rjqn7grzfz/items";
    let item = "2fcbqwe9ndg175zg2dzwftvkpa";
    let answer = match question.target.strip_prefix("GET ").unwrap_or_default() {
        "/v1/vaults?filter=name%20eq%20%22Apps%22" => json!([{ "id": "ftz4pm2xxwmwrsd7rjqn7grzfz", "name": "Apps" }]),
        path if path == format!("{items}?filter=title%20eq%20%22data%20base%22") => {
            json!([{ "id": item, "title": "data base", "version": 4, "category": "LOGIN" }])
        }
        path if path == format!("{items}?filter=title%20eq%20%22absent%22") => json!([]),
        path if path == format!("{items}/{item}") => {
            let field = json!({ "id": "password", "type": "CONCEALED", "label": "password", "value": VALUE });
            json!({ "id": item, "title": "data base", "version": 4, "fields": [field] })
        }
        _ => return (404, json!({ "status": 404, "message": "zq7canarybird-message" }).to_string()),
    };
    (200, answer.to_string())
}
