//! Values that the webhook keeps (`injectors[].cache`): one fetch for many pods, and pods that are
//! served while the store is down.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{
    Ampoule, Review, asking,
    network::{Store, in_own_network},
};
use anyhow::{Result, ensure};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{certificate_pem, config, request, variable_in};

/// What the store does.
#[derive(Default)]
struct Switch {
    questions: AtomicUsize,
    is_down: AtomicBool,
}

#[test]
fn pods_are_served_from_memory_while_the_store_is_down() {
    in_own_network("value_cache::pods_are_served_from_memory_while_the_store_is_down", || {
        let switch = Arc::new(Switch::default());
        let seen = Arc::clone(&switch);
        let store = Store::answering(move |_| {
            let number = seen.questions.fetch_add(1, Ordering::Relaxed) + 1;
            let is_down = seen.is_down.load(Ordering::Relaxed);
            let value = json!({ "value": format!("value-{number}") }).to_string();
            Some(if is_down { (503, String::new()) } else { (200, value) })
        });
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(serve(&store, &switch)).expect("pods are served");
    });
}

async fn serve(store: &Store, switch: &Switch) -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("http-json.wasm"), ampoule_test_guests::plugin("http-json"))?;
    std::fs::write(folder.path().join("ca.crt"), certificate_pem(store.root.as_ref()))?;
    let injector = format!(
        "  - name: store
    component: file:{folder}/http-json.wasm
    settings: {{ url: 'https://192.0.2.1:8443/{{group}}/{{key}}', pointer: /value }}
    grants: {{ http: {{ hosts: ['192.0.2.1:8443'], caFile: {folder}/ca.crt }} }}
    delivery: inline
    acceptPlaintext: true
    cache: {{ ttlSeconds: 10, maxStaleSeconds: 600 }}
    limits: {{ deadlineMillis: 20000, queueWaitMillis: 20000 }}
",
        folder = folder.path().display()
    );
    let ampoule = Ampoule::start(&config("flyte-v1", &injector)).await?;
    let pod = asking("task", [request("db", "password", EnvVar, "PASSWORD")]);
    let review = Review::of(&pod, "default");
    let answers = futures_util::future::join_all((0..100).map(|_| ampoule.review_once(&review))).await;
    for answer in answers {
        let answer = answer?;
        ensure!(answer.allowed, "{}", answer.message);
        let mut patched = pod.clone();
        json_patch::patch(&mut patched, &answer.patch)?;
        assert_eq!(variable_in(&patched, "PASSWORD"), &json!("value-1"));
    }
    assert_eq!(switch.questions.load(Ordering::Relaxed), 1, "one fetch serves all pods");

    switch.is_down.store(true, Ordering::Relaxed);
    let is_stale = async || -> Result<()> {
        let answer = ampoule.review_once(&review).await?;
        ensure!(answer.allowed, "{}", answer.message);
        let metrics = ampoule.admin("/metrics").await?.text();
        let stale = "ampoule_plugin_values_total{plugin=\"store\",origin=\"stale\"}";
        ensure!(metrics.contains(stale), "{metrics}");
        Ok(())
    };
    ampoule_tests::eventually("an outdated value", std::time::Duration::from_secs(60), is_stale).await?;
    let other = asking("task", [request("db", "another", EnvVar, "PASSWORD")]);
    let refusal = ampoule.review_once(&Review::of(&other, "default")).await?;
    assert!(!refusal.allowed && refusal.code == 503, "{}: {}", refusal.code, refusal.message);
    ampoule.stop().await?.ensure_clean()
}

#[test]
fn a_report_of_a_change_clears_the_caches_that_accept_it() {
    in_own_network("value_cache::a_report_of_a_change_clears_the_caches_that_accept_it", || {
        let switch = Arc::new(Switch::default());
        let seen = Arc::clone(&switch);
        let store = Store::answering(move |_| {
            let number = seen.questions.fetch_add(1, Ordering::Relaxed) + 1;
            Some((200, json!({ "value": format!("value-{number}") }).to_string()))
        });
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        for (invalidation, last) in [("false", "value-1"), ("true", "value-2")] {
            switch.questions.store(0, Ordering::Relaxed);
            runtime.block_on(report(&store, invalidation, last)).expect("the report has its effect");
        }
    });
}

/// Injects, reports a change, and injects again.
async fn report(store: &Store, invalidation: &str, last: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("http-json.wasm"), ampoule_test_guests::plugin("http-json"))?;
    std::fs::write(folder.path().join("ca.crt"), certificate_pem(store.root.as_ref()))?;
    let injector = format!(
        "  - name: store
    component: file:{folder}/http-json.wasm
    settings: {{ url: 'https://192.0.2.1:8443/{{group}}/{{key}}', pointer: /value }}
    grants: {{ http: {{ hosts: ['192.0.2.1:8443'], caFile: {folder}/ca.crt }} }}
    delivery: inline
    acceptPlaintext: true
    cache: {{ ttlSeconds: 600, maxStaleSeconds: 600, invalidation: {invalidation} }}
    limits: {{ deadlineMillis: 20000, queueWaitMillis: 20000 }}
",
        folder = folder.path().display()
    );
    let config = config("flyte-v1", &injector).replace("server: { ", "server: { invalidation: {}, ");
    let ampoule = Ampoule::start(&config).await?;
    let pod = asking("task", [request("db", "password", EnvVar, "PASSWORD")]);
    let value = async || -> Result<serde_json::Value> {
        let answer = ampoule.review_once(&Review::of(&pod, "default")).await?;
        ensure!(answer.allowed, "{}", answer.message);
        let mut patched = pod.clone();
        json_patch::patch(&mut patched, &answer.patch)?;
        Ok(variable_in(&patched, "PASSWORD").clone())
    };
    let first = value().await?;
    assert_eq!(value().await?, first);
    let body = r#"{"org":"flyte","domain":"","project":"","name":"password"}"#;
    let answer = post("127.0.0.1:9444", "/invalidate-secret", body).await?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(value().await?, json!(last));
    let metrics = ampoule.admin("/metrics").await?.text();
    assert!(metrics.contains("ampoule_value_invalidations_total{result=\"done\"} 1\n"), "{metrics}");
    ampoule.stop().await?.ensure_clean()
}

/// Sends a request in plain HTTP, and returns the answer with its head.
async fn post(server: &str, path: &str, body: &str) -> Result<String> {
    let mut stream = tokio::net::TcpStream::connect(server).await?;
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all([&head, body].concat().as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[test]
fn no_outdated_value_is_served_if_the_login_is_refused() {
    in_own_network("value_cache::no_outdated_value_is_served_if_the_login_is_refused", || {
        let store = Store::answering(|_| Some((200, json!({ "value": "value" }).to_string())));
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(lose_login(&store)).expect("the pod is refused");
    });
}

/// Removes the credential while a value is kept.
async fn lose_login(store: &Store) -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("http-json.wasm"), ampoule_test_guests::plugin("http-json"))?;
    std::fs::write(folder.path().join("ca.crt"), certificate_pem(store.root.as_ref()))?;
    let token = folder.path().join("token");
    std::fs::write(&token, "token")?;
    let injector = format!(
        "  - name: store
    component: file:{folder}/http-json.wasm
    settings: {{ url: 'https://192.0.2.1:8443/{{group}}/{{key}}', pointer: /value }}
    grants: {{ http: {{ hosts: [{{ host: '192.0.2.1:8443', credential: {{ bearer: {{ file: {folder}/token }} }} }}], \
         caFile: {folder}/ca.crt }} }}
    delivery: inline
    acceptPlaintext: true
    cache: {{ ttlSeconds: 1, maxStaleSeconds: 600 }}
    limits: {{ deadlineMillis: 20000, queueWaitMillis: 20000 }}
",
        folder = folder.path().display()
    );
    let ampoule = Ampoule::start(&config("flyte-v1", &injector)).await?;
    let pod = asking("task", [request("db", "password", EnvVar, "PASSWORD")]);
    let review = Review::of(&pod, "default");
    let answer = ampoule.review_once(&review).await?;
    ensure!(answer.allowed, "{}", answer.message);
    std::fs::remove_file(&token)?;
    let is_refused = async || -> Result<()> {
        let answer = ampoule.review_once(&review).await?;
        let expected = "the host cannot log in to 192.0.2.1:8443: the credential is not set up";
        ensure!(!answer.allowed && answer.message.contains(expected), "{}", answer.message);
        Ok(())
    };
    ampoule_tests::eventually("a refusal", std::time::Duration::from_secs(60), is_refused).await?;
    let metrics = ampoule.admin("/metrics").await?.text();
    assert!(!metrics.contains("origin=\"stale\""), "{metrics}");
    assert!(metrics.contains("ampoule_plugin_logins_total{plugin=\"store\",result=\"misconfigured\"} "), "{metrics}");
    ampoule.stop().await?.ensure_clean()
}
