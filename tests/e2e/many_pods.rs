//! 1,000 pods that request the same secret at once, behind a real API server: one login, one fetch
//! and one Secret.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{
    Ampoule, ApiServer, asking,
    network::{Question, Store, in_own_network},
};
use anyhow::{Context, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use serde_json::json;

use crate::support::{certificate_pem, config, request};

const PODS: usize = 1000;
/// Pods that a client creates at the same time.
const AT_ONCE: usize = 64;
/// Longer than the first pods take to arrive, so that they wait for one login and for one fetch.
const SLOW: Duration = Duration::from_millis(500);

/// The questions that the store has answered.
#[derive(Default)]
struct Counts {
    logins: AtomicUsize,
    fetches: AtomicUsize,
}

#[test]
fn a_thousand_pods_at_once_cause_one_login_one_fetch_and_one_secret() {
    in_own_network("many_pods::a_thousand_pods_at_once_cause_one_login_one_fetch_and_one_secret", || {
        let counts = Arc::new(Counts::default());
        let seen = Arc::clone(&counts);
        let store = Store::answering(move |question| Some(answer(question, &seen)));
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(create_pods(&store, &counts)).expect("the pods are created");
    });
}

/// Vault, which takes its time.
fn answer(question: &Question, counts: &Counts) -> (u16, String) {
    std::thread::sleep(SLOW);
    match question.target.as_str() {
        "POST /v1/auth/kubernetes/login" => {
            counts.logins.fetch_add(1, Ordering::Relaxed);
            let auth = json!({ "client_token": "hvs.token", "lease_duration": 3600, "renewable": true });
            (200, json!({ "auth": auth }).to_string())
        }
        "GET /v1/secret/data/db" => {
            counts.fetches.fetch_add(1, Ordering::Relaxed);
            let data = json!({ "data": { "password": "value" }, "metadata": { "version": 1 } });
            (200, json!({ "data": data }).to_string())
        }
        _ => (404, json!({ "errors": [] }).to_string()),
    }
}

async fn create_pods(store: &Store, counts: &Counts) -> Result<()> {
    let server = ApiServer::shared().await?;
    let namespace = server.namespace("many-pods").await?;
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("ca.crt"), certificate_pem(store.root.as_ref()))?;
    std::fs::write(path("token"), "eyJ.service.account")?;
    std::fs::write(path("kubeconfig"), server.admin_kubeconfig())?;
    let vault = format!("{{ address: 'https://192.0.2.1:8443', role: ampoule, tokenFile: {} }}", path("token"));
    let injector = format!(
        "  - name: vault
    component: builtin:vault-kv
    settings: {{ address: 'https://192.0.2.1:8443' }}
    grants: {{ http: {{ hosts: [{{ host: '192.0.2.1:8443', credential: {{ vault: {vault} }} }}], caFile: {} }} }}
    cache: {{ ttlSeconds: 600 }}
    limits: {{ deadlineMillis: 20000, queueWaitMillis: 20000 }}
",
        path("ca.crt")
    );
    let kubeconfig = path("kubeconfig");
    let environment = [("KUBECONFIG", kubeconfig.as_str()), ("POD_NAMESPACE", "many-pods")];
    let ampoule = Ampoule::start_with(&config("flyte-v2", &injector), &environment).await?;
    namespace.register(&ampoule).await?;

    let pods = (0..PODS).map(|number| {
        let pod = asking(&format!("pod-{number}"), [request("db", "password", EnvVar, "PASSWORD")]);
        let namespace = &namespace;
        async move { anyhow::Ok(namespace.try_create_pod(&pod).await??) }
    });
    let created: Vec<_> = stream::iter(pods).buffer_unordered(AT_ONCE).try_collect().await?;

    let labels = ListParams::default().labels("ampoule.dev/delivered-by");
    let secrets = namespace.api::<Secret>().list_metadata(&labels).await?.items;
    let names: BTreeSet<_> = secrets.into_iter().filter_map(|secret| secret.metadata.name).collect();
    let mut referred = BTreeSet::new();
    for pod in &created {
        let env = pod["spec"]["containers"][0]["env"].as_array().context("no variables")?;
        let reference = env.iter().find(|entry| entry["name"] == "PASSWORD").context("no PASSWORD")?;
        let name = reference["valueFrom"]["secretKeyRef"]["name"].as_str().context("no reference")?;
        referred.insert(name.to_owned());
    }
    assert_eq!((created.len(), names.len(), &referred), (PODS, 1, &names));
    let asked = [&counts.logins, &counts.fetches].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(asked, [1, 1], "logins and fetches");
    let metrics = ampoule.admin("/metrics").await?.text();
    assert!(metrics.contains("ampoule_delivery_writes_total{result=\"created\"} 1\n"), "{metrics}");
    ampoule.stop().await?.ensure_clean()
}
