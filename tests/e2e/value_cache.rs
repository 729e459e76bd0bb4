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
