//! Pods of a warm cache while Vault is down: it answers with errors, and then it answers nothing.
//!
//! The outage is longer than the webhook's own token of Vault is valid, so logins fail as well.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{
    Ampoule, ApiServer, Namespace, asking, eventually,
    network::{Question, Store, in_own_network_for, show},
};
use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::support::{certificate_pem, config, request};

/// The seconds of the outage; 600 of them with this variable, for a figure.
const SECONDS: &str = "AMPOULE_OUTAGE_SECONDS";
/// Lifetime of the token of Vault: the host logs in several times during the outage.
const LEASE_SECONDS: u64 = 10;
/// Deadline of the plugin, which a pod waits for if the store answers nothing.
const DEADLINE: Duration = Duration::from_secs(2);
/// The longest time that a pod may wait, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(8);
/// Time for the new value: the host waits for up to 30 seconds after failed logins.
const RECOVERY: Duration = Duration::from_secs(60);
/// Pause between two pods.
const PAUSE: Duration = Duration::from_millis(200);

/// The states of Vault.
const UP: usize = 0;
const FAILS: usize = 1;
const SILENT: usize = 2;

/// What Vault does, and the questions that it got in each state.
#[derive(Default)]
struct Vault {
    state: AtomicUsize,
    version: AtomicUsize,
    questions: [AtomicUsize; 3],
}

#[test]
fn pods_are_served_from_a_warm_cache_during_an_outage() {
    let seconds = std::env::var_os(SECONDS).and_then(|seconds| seconds.to_str()?.parse().ok()).unwrap_or(24);
    let outage = Duration::from_secs(seconds);
    let limit = outage + Duration::from_secs(300);
    in_own_network_for("outage::pods_are_served_from_a_warm_cache_during_an_outage", limit, || {
        let vault = Arc::new(Vault::default());
        let seen = Arc::clone(&vault);
        let store = Store::answering(move |question| Some(seen.answer(question)));
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(create_pods(&store, &vault, outage)).expect("pods are served");
    });
}

// === impl Vault ===

impl Vault {
    fn answer(&self, question: &Question) -> (u16, String) {
        let state = self.state.load(Relaxed);
        self.questions[state].fetch_add(1, Relaxed);
        if state == SILENT {
            std::thread::sleep(DEADLINE * 2);
        }
        if state != UP {
            return (503, json!({ "errors": ["Vault is sealed"] }).to_string());
        }
        match question.target.as_str() {
            "POST /v1/auth/kubernetes/login" | "POST /v1/auth/token/renew-self" => {
                let auth = json!({ "client_token": "hvs.t", "lease_duration": LEASE_SECONDS, "renewable": true });
                (200, json!({ "auth": auth }).to_string())
            }
            _ => {
                let value = format!("value-{}", self.version.load(Relaxed));
                let data = json!({ "data": { "password": value }, "metadata": { "version": 1 } });
                (200, json!({ "data": data }).to_string())
            }
        }
    }
}

async fn create_pods(store: &Store, vault: &Vault, outage: Duration) -> Result<()> {
    let server = ApiServer::shared().await?;
    let namespace = server.namespace("outage").await?;
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("ca.crt"), certificate_pem(store.root.as_ref()))?;
    std::fs::write(path("token"), "eyJ.service.account")?;
    std::fs::write(path("kubeconfig"), server.admin_kubeconfig())?;
    let credential = format!("{{ address: 'https://192.0.2.1:8443', role: ampoule, tokenFile: {} }}", path("token"));
    let injector = format!(
        "  - name: vault
    component: builtin:vault-kv
    settings: {{ address: 'https://192.0.2.1:8443' }}
    grants: {{ http: {{ hosts: [{{ host: '192.0.2.1:8443', credential: {{ vault: {credential} }} }}], caFile: {} }} }}
    cache: {{ ttlSeconds: 2, maxStaleSeconds: {} }}
    limits: {{ deadlineMillis: {}, queueWaitMillis: 20000 }}
",
        path("ca.crt"),
        outage.as_secs() + 60,
        DEADLINE.as_millis(),
    );
    let kubeconfig = path("kubeconfig");
    let environment = [("KUBECONFIG", kubeconfig.as_str()), ("POD_NAMESPACE", "outage")];
    let ampoule = Ampoule::start_with(&config("flyte-v2", &injector), &environment).await?;
    namespace.register(&ampoule).await?;
    let mut pods = Pods { namespace, count: 0, longest: Duration::ZERO };
    assert_eq!(pods.create().await?, "value-0");

    vault.version.store(1, Relaxed);
    for state in [FAILS, SILENT] {
        vault.state.store(state, Relaxed);
        let end = Instant::now() + outage / 2;
        while Instant::now() < end {
            assert_eq!(pods.create().await?, "value-0");
            tokio::time::sleep(PAUSE).await;
        }
        assert!(vault.questions[state].load(Relaxed) > 0, "Vault is not asked in state {state}");
    }
    show(&format!("{} pods in {} s, the slowest in {:?}", pods.count, outage.as_secs(), pods.longest));
    let metrics = ampoule.admin("/metrics").await?.text();
    assert!(metrics.contains("ampoule_plugin_values_total{plugin=\"vault\",origin=\"stale\"}"), "{metrics}");

    vault.state.store(UP, Relaxed);
    eventually("the new value", RECOVERY, async || {
        let value = pods.create().await?;
        ensure!(value == "value-1", "{value}");
        Ok(())
    })
    .await?;
    ampoule.stop().await?.ensure_clean()
}

/// Pods, created one after the other.
struct Pods {
    namespace: Namespace,
    count: usize,
    longest: Duration,
}

// === impl Pods ===

impl Pods {
    /// Creates a pod, and returns the value that its container gets.
    async fn create(&mut self) -> Result<String> {
        self.count += 1;
        let pod = asking(&format!("pod-{}", self.count), [request("db", "password", EnvVar, "PASSWORD")]);
        let started = Instant::now();
        let created = self.namespace.try_create_pod(&pod).await??;
        let time = started.elapsed();
        ensure!(time < PATIENCE, "pod {} took {time:?}", self.count);
        self.longest = self.longest.max(time);
        let env = created["spec"]["containers"][0]["env"].as_array().context("no variables")?;
        let reference = env.iter().find(|entry| entry["name"] == "PASSWORD").context("no PASSWORD")?;
        let reference = &reference["valueFrom"]["secretKeyRef"];
        let name = reference["name"].as_str().context("no reference")?;
        let mut secret = self.namespace.secret(name).await?.context("no Secret")?;
        let value = secret.remove(reference["key"].as_str().unwrap_or_default()).context("no value")?;
        Ok(String::from_utf8(value)?)
    }
}
