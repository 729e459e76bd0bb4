//! Credentials of the host: a plugin without a credential reads a secret of a store that requires
//! one, and never sees it.
//!
//! The tests of `host/credentials` check the requests of each login.

use std::net::SocketAddr;

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{
    Ampoule, ApiServer, Review, asking,
    network::{Store, TOKEN, VALUE, in_own_network},
    tls_front::TlsFront,
};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::support::{Guests, Moto, config, request};

/// Not a word of the program or of its dependencies.
const CANARY: &str = "zq7canarybird";
/// The path of the store's secret that requires the token.
const SECRET: &str = "https://192.0.2.1:8443/v1/db/password";

#[test]
fn the_host_logs_in_with_a_token_that_the_plugin_never_sees() {
    in_own_network("credentials::the_host_logs_in_with_a_token_that_the_plugin_never_sees", || {
        let (store, runtime) = (Store::start(), Runtime::new().expect("a runtime"));
        runtime.block_on(ask_with_token(&store)).expect("the store is asked");
    });
}

async fn ask_with_token(store: &Store) -> Result<()> {
    let server = ApiServer::shared().await?;
    let namespace = server.namespace("credentials").await?;
    namespace.create_secret("token", &[("value", TOKEN)]).await?;
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("token"), format!("{TOKEN}\n"))?;
    std::fs::write(path("wrong"), format!("{CANARY}-wrong"))?;
    std::fs::write(path("ca.crt"), pem(store.root.as_ref()))?;
    std::fs::write(path("kubeconfig"), server.admin_kubeconfig())?;
    let guests = Guests::write(&["asks_store"])?;
    let own = "the webhook sets the header authorization for 192.0.2.1:8443, so the plugin must not set it";
    let secret = "{ secret: { namespace: credentials, name: token, key: value } }";
    let read = format!("200 {{\"data\":{{\"value\":\"{VALUE}\"}}}}");
    let file = |name: &str| format!("{{ file: {} }}", path(name));
    for (what, source, headers, expected) in [
        ("a file", file("token"), "{}", read.as_str()),
        ("a Secret", secret.to_owned(), "{}", &read),
        ("a variable", "{ environment: STORE_TOKEN }".to_owned(), "{}", &read),
        ("a wrong token", file("wrong"), "{}", "401 "),
        ("no such file", file("none"), "{}", "the host cannot log in to 192.0.2.1:8443: the credential is not set up"),
        ("the plugin's own token", file("token"), "{ authorization: mine }", own),
    ] {
        let settings = format!("{{ url: '{SECRET}', headers: {headers} }}");
        let injector = guests.injector("asks_store", &settings, "{ deadlineMillis: 20000 }");
        let host = format!("{{ host: '192.0.2.1:8443', credential: {{ bearer: {source} }} }}");
        let injector = format!("{injector}    grants: {{ http: {{ hosts: [{host}], caFile: {} }} }}\n", path("ca.crt"));
        let kubeconfig = path("kubeconfig");
        let environment = [("STORE_TOKEN", TOKEN), ("KUBECONFIG", kubeconfig.as_str())];
        let ampoule = Ampoule::start_with(&config("flyte-v1", &injector), &environment).await?;
        let answer = ask(&ampoule).await?;
        assert!(answer.contains(expected) && !answer.contains(TOKEN), "{what}: {answer}");
        let metrics = ampoule.admin("/metrics").await?.text();
        let exit = ampoule.stop().await?;
        exit.ensure_clean()?;
        for (place, text) in [("log", &exit.log), ("metrics", &metrics)] {
            assert!(!text.contains(CANARY), "{what}: the {place} has the canary:\n{text}");
        }
        let has_warning = exit.log.contains("the host cannot log in for a plugin");
        assert_eq!(has_warning, what == "no such file", "{what}: {}", exit.log);
    }
    Ok(())
}

#[test]
fn requests_to_aws_are_signed_with_the_keys_of_the_webhook() {
    in_own_network("credentials::requests_to_aws_are_signed_with_the_keys_of_the_webhook", || {
        Runtime::new().expect("a runtime").block_on(ask_aws()).expect("AWS is asked");
    });
}

async fn ask_aws() -> Result<()> {
    let moto = Moto::start(5000, &json!({ "db": VALUE }))?;
    let front = TlsFront::start(8443, SocketAddr::from(([127, 0, 0, 1], 5000))).await;
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("ca.crt"), &front.ca)?;
    std::fs::write(path("token"), "eyJ.web.identity")?;
    let guests = Guests::write(&["asks_store"])?;
    let settings = "{ url: 'https://192.0.2.1:8443/', post: { SecretId: db }, \
                    headers: { x-amz-target: secretsmanager.GetSecretValue } }";
    let injector = guests.injector("asks_store", settings, "{ deadlineMillis: 30000 }");
    let aws = "{ service: secretsmanager, region: eu-central-1, stsEndpoint: 'https://192.0.2.1:8443' }";
    let host = format!("{{ host: '192.0.2.1:8443', credential: {{ awsSigV4: {aws} }} }}");
    let injector = format!("{injector}    grants: {{ http: {{ hosts: [{host}], caFile: {} }} }}\n", path("ca.crt"));
    let (key_id, secret, role) = (moto.part("keyId"), moto.part("secret"), moto.part("role"));
    let token = path("token");
    let value = format!("\"SecretString\": \"{VALUE}\"");
    for (what, environment, status, expected) in [
        // The only login without a signature, which moto permits once.
        (
            "a web identity",
            [("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()), ("AWS_ROLE_ARN", role)],
            "200",
            value.as_str(),
        ),
        ("keys", [("AWS_ACCESS_KEY_ID", key_id), ("AWS_SECRET_ACCESS_KEY", secret)], "200", &value),
        (
            "a wrong key",
            [("AWS_ACCESS_KEY_ID", key_id), ("AWS_SECRET_ACCESS_KEY", CANARY)],
            "403",
            "SignatureDoesNotMatch",
        ),
    ] {
        let ampoule = Ampoule::start_with(&config("flyte-v1", &injector), &environment).await?;
        let answer = ask(&ampoule).await?;
        assert!(answer.starts_with(status) && answer.contains(expected), "{what}: {answer}");
        let exit = ampoule.stop().await?;
        exit.ensure_clean()?;
        assert!(!exit.log.contains(CANARY) && !exit.log.contains(secret), "{what}: {}", exit.log);
    }
    Ok(())
}

/// What the plugin read, or its error.
async fn ask(ampoule: &Ampoule) -> Result<String> {
    let pod = asking("task", [request("g", "k", EnvVar, "")]);
    let response = ampoule.review_once(&Review::of(&pod, "default")).await?;
    ensure!(response.allowed, "refused: {}", response.message);
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &response.patch)?;
    let env = patched["spec"]["containers"][0]["env"].as_array().into_iter().flatten();
    let read = env.into_iter().find(|entry| entry["name"] == json!("READ"));
    Ok(read.and_then(|entry| entry["value"].as_str()).context("no READ")?.to_owned())
}

/// A certificate in PEM form.
fn pem(certificate: &[u8]) -> String {
    let body = data_encoding::BASE64.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
}
