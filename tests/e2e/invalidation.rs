//! The port for reports of changed values on an address that is not local: TLS, and the client
//! certificates of the webhook's port (`server.clients.mode: certificate`).

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{
    Ampoule, Connection, Review, Trust, asking,
    network::{Store, in_own_network},
};
use anyhow::{Result, ensure};
use serde_json::json;

use crate::{
    clients::ClientFiles,
    support::{certificate_pem, config, request, variable_in},
};

const REPORT: &str = r#"{"org":"flyte","domain":"","project":"","name":"password"}"#;
const PATH: &str = "/invalidate-secret";
/// The port of the store's address, and the name in the webhook's certificate.
const PORT: ([u8; 4], u16) = ([192, 0, 2, 1], 9444);
const NAME: &str = "localhost";

#[test]
fn only_a_client_with_a_permitted_certificate_reports_changes_over_tls() {
    in_own_network("invalidation::only_a_client_with_a_permitted_certificate_reports_changes_over_tls", || {
        let fetches = AtomicUsize::new(0);
        let store = Store::answering(move |_| {
            let number = fetches.fetch_add(1, Ordering::Relaxed) + 1;
            Some((200, json!({ "value": format!("value-{number}") }).to_string()))
        });
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(report(&store)).expect("the report has its effect");
    });
}

async fn report(store: &Store) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("http-json.wasm"), ampoule_test_guests::plugin("http-json"))?;
    std::fs::write(path("ca.crt"), certificate_pem(store.root.as_ref()))?;
    let [sender, other] = ["sender", "other"].map(|name| {
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).map(|()| folder)
    });
    let (known, unknown) = (ClientFiles::issue(&sender?, "sender")?, ClientFiles::issue(&other?, "sender")?);
    let injector = format!(
        "  - name: store
    component: file:{}
    settings: {{ url: 'https://192.0.2.1:8443/{{group}}/{{key}}', pointer: /value }}
    grants: {{ http: {{ hosts: ['192.0.2.1:8443'], caFile: {} }} }}
    delivery: inline
    acceptPlaintext: true
    cache: {{ ttlSeconds: 600, maxStaleSeconds: 600, invalidation: true }}
    limits: {{ deadlineMillis: 20000, queueWaitMillis: 20000 }}
",
        path("http-json.wasm"),
        path("ca.crt")
    );
    let names = "allowedNames: [sender]";
    let ampoule = start(&injector, &known.ca, names).await?;
    let identity = |files: &ClientFiles| {
        let read = |path: &str| std::fs::read_to_string(path);
        ampoule.trust().clone().identified(&read(&files.certificate)?, &read(&files.key)?)
    };
    let (permitted, foreign) = (identity(&known)?, identity(&unknown)?);
    assert_eq!(value(&ampoule, &permitted).await?, json!("value-1"));

    let anonymous = ampoule.trust().clone().named(NAME)?;
    for (who, trust) in [("no certificate", anonymous), ("a certificate of another CA", foreign.named(NAME)?)] {
        let refused = send(&trust).await;
        ensure!(refused.is_err(), "{who}: {refused:?}");
    }
    let mut plain = Connection::plain(SocketAddr::from(PORT)).await?;
    let refused = plain.send("POST", PATH, &[], REPORT).await;
    ensure!(refused.is_err(), "plain HTTP: {refused:?}");
    assert_eq!(value(&ampoule, &permitted).await?, json!("value-1"), "nothing was reported");

    assert_eq!(send(&permitted.clone().named(NAME)?).await?, 200);
    assert_eq!(value(&ampoule, &permitted).await?, json!("value-2"));
    let metrics = ampoule.admin("/metrics").await?.text();
    assert!(metrics.contains("ampoule_value_invalidations_total{result=\"done\"} 1\n"), "{metrics}");
    ampoule.stop().await?.ensure_clean()?;

    // The certificate is valid, and its name is not permitted.
    let ampoule = start(&injector, &known.ca, "allowedNames: [another]").await?;
    let trust = ampoule.trust().clone().named(NAME)?;
    let read = |path: &str| std::fs::read_to_string(path);
    let status = send(&trust.identified(&read(&known.certificate)?, &read(&known.key)?)?).await;
    ensure!(status.as_ref().map_or(true, |status| *status == 403), "{status:?}");
    let metrics = ampoule.admin("/metrics").await?.text();
    assert!(!metrics.contains("ampoule_value_invalidations_total{result=\"done\"} 1\n"), "{metrics}");
    ampoule.stop().await?.ensure_clean()
}

/// Starts a webhook whose clients need a certificate of this CA with one of these names.
async fn start(injector: &str, ca: &str, names: &str) -> Result<Ampoule> {
    let port = SocketAddr::from(PORT);
    let server =
        format!("clients: {{ mode: certificate, caFile: {ca}, {names} }}, invalidation: {{ listen: '{port}' }}");
    let open = "clients: { acceptValuesToAnyone: true }";
    Ampoule::start(&config("flyte-v1", injector).replace(open, &server)).await
}

/// Reports a change, and returns the status.
async fn send(trust: &Trust) -> Result<u16> {
    let mut connection = Connection::tls(SocketAddr::from(PORT), trust).await?;
    Ok(connection.send("POST", PATH, &[], REPORT).await?.status)
}

/// The value that a pod gets.
async fn value(ampoule: &Ampoule, trust: &Trust) -> Result<serde_json::Value> {
    let pod = asking("task", [request("db", "password", EnvVar, "PASSWORD")]);
    let mut connection = Connection::tls(ampoule.webhook(), trust).await?;
    let answer = Ampoule::review(&mut connection, &Review::of(&pod, "default")).await?;
    ensure!(answer.allowed, "{}", answer.message);
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &answer.patch)?;
    Ok(variable_in(&patched, "PASSWORD").clone())
}
