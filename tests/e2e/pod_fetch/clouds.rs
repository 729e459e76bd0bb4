//! The stores of the clouds: a pod of the API server logs in with the token of its service account,
//! and fetches its secrets.
//!
//! The login servers accept only the service account `default`, with the audience of the cloud.
//! Secrets Manager is that of moto, which checks the signature and the policy of each request.

use std::time::Duration;

use ampoule_core::MountRequirement::{EnvVar, File};
use ampoule_tests::{
    Ampoule, ApiServer, asking, eventually,
    network::{Question, in_own_network},
};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{
    ensure_absent, ensure_memory_absent,
    place::{APP, Asked, Place, PodStore, VALUE, claims},
};
use crate::support::{Moto, forward, request};

/// Secrets of a pod.
const SECRETS: usize = 10;
/// The audience of Google's provider.
const PROVIDER: &str = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/cluster";
/// The token that the clouds give to the pod.
const TOKEN: &str = "zq7canarybird-access";
/// A text in an answer that no one may repeat.
const DETAIL: &str = "zq7canarybird-detail";
/// The time in which etcd writes to its disk.
const WRITTEN: Duration = Duration::from_secs(20);

/// A cloud, as the injector knows it.
struct Cloud {
    name: &'static str,
    component: &'static str,
    settings: &'static str,
    credential: String,
    /// The cause of a refused login in the log.
    refusal: &'static str,
}

#[test]
fn a_pod_logs_in_to_aws_with_a_web_identity() {
    in_own_network("pod_fetch::clouds::a_pod_logs_in_to_aws_with_a_web_identity", || {
        let names = (0..SECRETS).map(|number| (format!("s{number}"), json!(document().to_string())));
        let moto = Moto::start(5000, &Value::Object(names.collect())).expect("moto starts");
        let role = moto.part("role").to_owned();
        let cloud = Cloud {
            name: "aws",
            component: "builtin:aws-secrets-manager",
            settings: "{ region: eu-central-1, endpoint: 'https://192.0.2.1:8443' }",
            credential: format!(
                "{{ awsSigV4: {{ service: secretsmanager, region: eu-central-1, roleArn: '{role}', stsEndpoint: \
                 'https://192.0.2.1:8443' }} }}"
            ),
            refusal: "InvalidIdentityToken",
        };
        run(&cloud, &PodStore::answering(aws));
    });
}

#[test]
fn a_pod_logs_in_to_google_with_a_federated_token() {
    in_own_network("pod_fetch::clouds::a_pod_logs_in_to_google_with_a_federated_token", || {
        let cloud = Cloud {
            name: "gcp",
            component: "builtin:gcp-secret-manager",
            settings: "{ project: shop, endpoint: 'https://192.0.2.1:8443' }",
            credential: format!(
                "{{ gcp: {{ scopes: ['https://www.googleapis.com/auth/cloud-platform'], audience: '{PROVIDER}', tokenUrl: \
                 'https://192.0.2.1:8443/v1/token' }} }}"
            ),
            refusal: "invalid_grant",
        };
        run(&cloud, &PodStore::answering(gcp));
    });
}

#[test]
fn a_pod_logs_in_to_azure_with_a_federated_token() {
    in_own_network("pod_fetch::clouds::a_pod_logs_in_to_azure_with_a_federated_token", || {
        let cloud = Cloud {
            name: "azure",
            component: "builtin:azure-key-vault",
            settings: "{ vaultUrl: 'https://192.0.2.1:8443' }",
            credential: "{ azure: { scope: 'https://vault.azure.net/.default', clientId: client, tenantId: tenant, \
                         authorityHost: 'https://192.0.2.1:8443' } }"
                .to_owned(),
            refusal: "invalid_client",
        };
        run(&cloud, &PodStore::answering(azure));
    });
}

fn run(cloud: &Cloud, store: &PodStore) {
    Runtime::new().expect("a runtime").block_on(fetch_from(cloud, store)).expect("the pods run");
}

async fn fetch_from(cloud: &Cloud, store: &PodStore) -> Result<()> {
    let server = ApiServer::shared().await?;
    let mut place = Place::new(&format!("pod-{}", cloud.name), store).await?;
    place.injector = cloud.name;
    (place.component, place.settings) = (cloud.component.to_owned(), cloud.settings.to_owned());
    place.credential.clone_from(&cloud.credential);
    // An earlier API server drops `fileKeyRef`.
    let has_file_keys = server.has_version((1, 35), "a variable of a pod of the API server by fileKeyRef");
    let ampoule = place.webhook(if has_file_keys { "both" } else { "file" }).await?;
    place.namespace.register(&ampoule).await?;
    let print = "cat $V0_FILE; cat /etc/flyte/secrets/s9/password";
    let (script, variable) = match has_file_keys {
        true => (format!("printenv V8; {print}"), format!("{VALUE}\n")),
        false => (print.to_owned(), String::new()),
    };
    require_restricted_pods(&place, server).await?;
    let created = place.namespace.create_pod(&pod("fetches", "default", &script)).await?;
    ensure_absent(&created)?;
    let ended = place.run(&created).await?;
    let [fetch, app] = &ended[..] else { anyhow::bail!("{ended:?}") };
    assert_eq!((fetch.status, fetch.reason.as_str()), (0, ""), "{fetch:?}");
    assert_eq!(app.output, format!("{variable}{VALUE}{VALUE}"), "{ended:?}");
    let asked = std::mem::take(&mut *store.asked.lock().expect("no panic"));
    assert_eq!((asked.logins, asked.reads.len()), (1, SECRETS), "{:?}", asked.reads);

    let created = place.namespace.create_pod(&pod("refused", "stranger", &script)).await?;
    let ended = place.run(&created).await?;
    let [refused] = &ended[..] else { anyhow::bail!("{ended:?}") };
    let expected = format!(
        "secret s0/password cannot be fetched by injector {}: internal: the host cannot log in to 192.0.2.1:8443: the \
         login was refused; the log of the container has the cause",
        cloud.name
    );
    assert_eq!((refused.status, refused.reason.as_str()), (1, expected.as_str()), "{refused:?}");
    ensure!(refused.errors.contains(cloud.refusal), "{refused:?}");
    assert_eq!(std::mem::take(&mut *store.asked.lock().expect("no panic")).reads.len(), 0);

    for text in [&fetch.output, &fetch.errors, &refused.output, &refused.errors] {
        ensure!(!text.contains("zq7canarybird"), "{text}");
    }
    ensure_absent_on_disk(server, &ampoule, "refused").await?;
    ensure_memory_absent(&ampoule)?;
    let exit = ampoule.stop().await?;
    ensure!(!exit.log.contains("zq7canarybird"), "{}", exit.log);
    exit.ensure_clean()
}

/// Lets the API server refuse pods that are not `restricted` by the Pod Security Standards.
async fn require_restricted_pods(place: &Place<'_>, server: &ApiServer) -> Result<()> {
    let labels = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
    let (name, params) = (place.namespace.name(), PatchParams::default());
    place.namespace.cluster_wide::<Namespace>().patch(name, &params, &Patch::Merge(labels)).await?;
    if server.has_version((1, 25), "a pod that fetches its secrets under Pod Security restricted") {
        let mut privileged = pod("privileged", "default", "true");
        privileged["spec"]["securityContext"] = json!({});
        eventually("the rule of the namespace", WRITTEN, async || {
            let refusal = place.namespace.dry_run_pod(&privileged).await?.err().context("it is accepted")?;
            ensure!(refusal.message.contains("violates PodSecurity"), "{refusal}");
            ensure!(!refusal.message.contains("ampoule"), "the rule names a container of Ampoule: {refusal}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Searches etcd's files, the audit log and the logs of the API server. `pod` is a pod that etcd
/// has, so that a search which finds nothing is noticed.
async fn ensure_absent_on_disk(server: &ApiServer, ampoule: &Ampoule, pod: &str) -> Result<()> {
    let is_etcd = |found: &std::path::PathBuf| found.components().any(|part| part.as_os_str() == "etcd");
    eventually("the pod on the disk of etcd", WRITTEN, async || {
        ensure!(server.files_with(pod)?.iter().any(is_etcd), "no file has it");
        Ok(())
    })
    .await?;
    let found = server.files_with("zq7canarybird")?;
    ensure!(found.is_empty(), "the value is in {found:?}");
    ensure!(!ampoule.log()?.contains("zq7canarybird"), "the log of the webhook has the value");
    Ok(())
}

/// A pod with ten secrets, the last one as a file.
fn pod(name: &str, account: &str, script: &str) -> Value {
    let last = SECRETS - 1;
    let variables = (0..last).map(|number| request(&format!("s{number}"), "password", EnvVar, &format!("V{number}")));
    let requests = variables.chain([request(&format!("s{last}"), "password", File, "")]);
    let mut pod = asking(name, requests);
    pod["spec"]["serviceAccountName"] = json!(account);
    pod["spec"]["restartPolicy"] = json!("Never");
    let rights = json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } });
    let command = ["/bin/sh", "-c", script];
    pod["spec"]["containers"][0] =
        json!({ "name": "app", "image": APP, "command": command, "securityContext": rights });
    pod["spec"]["securityContext"] = json!({ "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } });
    pod
}

/// The JSON of each secret.
fn document() -> Value {
    json!({ "password": VALUE, "other": "zq7canarybird-other" })
}

/// Whether a token belongs to the service account `default` and has this audience only.
fn is_accepted(token: &str, audience: &str) -> bool {
    let claims = claims(token);
    claims["sub"].as_str().is_some_and(|name| name.ends_with(":default")) && claims["aud"] == json!([audience])
}

/// A field of a form.
fn field(question: &Question, name: &str) -> String {
    let pairs = question.body.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value).unwrap_or_default();
    let mut parts = value.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at(2);
        text.push(char::from(u8::from_str_radix(code, 16).expect("an escaped character")));
        text.push_str(rest);
    }
    text
}

fn is_bearer(question: &Question) -> bool {
    question.headers.contains(&format!("authorization: Bearer {TOKEN}"))
}

/// The Security Token Service and Secrets Manager of moto.
fn aws(question: &Question, asked: &mut Asked) -> (u16, String) {
    if !question.body.contains("Action=AssumeRoleWithWebIdentity") {
        asked.reads.push(question.body.clone());
        return forward("127.0.0.1:5000", question).expect("moto answers");
    }
    asked.logins += 1;
    if !is_accepted(&field(question, "WebIdentityToken"), "sts.amazonaws.com") {
        let error = format!("<Error><Code>InvalidIdentityToken</Code><Message>{DETAIL}</Message></Error>");
        return (400, format!("<ErrorResponse>{error}</ErrorResponse>"));
    }
    // This login has no signature; moto checks the following requests.
    let permit = Question {
        target: "POST /moto-api/reset-auth".to_owned(),
        headers: vec!["host: 127.0.0.1:5000".to_owned(), "content-length: 1".to_owned()],
        body: "1".to_owned(),
    };
    assert_eq!(forward("127.0.0.1:5000", &permit).expect("moto answers").0, 200);
    forward("127.0.0.1:5000", question).expect("moto answers")
}

/// The token exchange (RFC 8693) and `versions.access`.
fn gcp(question: &Question, asked: &mut Asked) -> (u16, String) {
    if question.target == "POST /v1/token" {
        asked.logins += 1;
        let is_provider = field(question, "audience") == PROVIDER;
        let subject = field(question, "subject_token");
        if !is_provider || !is_accepted(&subject, &["https:", PROVIDER].concat()) {
            return (400, json!({ "error": "invalid_grant", "error_description": DETAIL }).to_string());
        }
        return token();
    }
    asked.reads.push(question.target.clone());
    if !is_bearer(question) {
        return (401, json!({ "error": { "status": "UNAUTHENTICATED" } }).to_string());
    }
    let data = data_encoding::BASE64.encode(document().to_string().as_bytes());
    (200, json!({ "name": "projects/1/secrets/s/versions/7", "payload": { "data": data } }).to_string())
}

/// The token endpoint of Microsoft Entra, and `GET /secrets/{name}`.
fn azure(question: &Question, asked: &mut Asked) -> (u16, String) {
    if question.target == "POST /tenant/oauth2/v2.0/token" {
        asked.logins += 1;
        let is_client = field(question, "client_id") == "client";
        if !is_client || !is_accepted(&field(question, "client_assertion"), "api://AzureADTokenExchange") {
            return (401, json!({ "error": "invalid_client", "error_description": DETAIL }).to_string());
        }
        return token();
    }
    asked.reads.push(question.target.clone());
    if !is_bearer(question) {
        return (401, json!({ "error": { "code": "Unauthorized" } }).to_string());
    }
    let id = "https://shop.vault.azure.net/secrets/s/4387e9f3d6e14c459867679a90fd0f79";
    (200, json!({ "value": document().to_string(), "id": id, "attributes": { "enabled": true } }).to_string())
}

fn token() -> (u16, String) {
    (200, json!({ "access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer" }).to_string())
}
