//! Every outcome of reviews and changes, at least once each, with a Prometheus that scrapes the
//! process: [`Scene`].
//!
//! A rate needs two scrapes with events between them, so each step runs before and after a scrape.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use ampoule_cluster::certs::{CertificatePair, CertificateSubject};
use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{Ampoule, Mounted, Prometheus, Review, asking, eventually, pod};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::support::{Guests, request, with_global_secrets};

/// Limit for a poll interval of a second on a machine that is compiling at the same time.
const NOTICED: Duration = Duration::from_secs(60);
const PATH: &str = "/mutate--v1-pod";
/// Bad bodies per round. The alert's threshold is thirty in five minutes.
const BAD_BODIES: usize = 20;
/// Concurrent reviews with `server.maxAdmissions` set to 4.
const CROWD: usize = 12;
const HOST: &str = "ampoule.ampoule.svc";

/// The process after all steps, and the Prometheus that scraped it.
pub(super) struct Scene {
    pub(super) ampoule: Ampoule,
    pub(super) prometheus: Prometheus,
    /// The time of the first scrape.
    pub(super) start: SystemTime,
    folder: TempDir,
    certs: Mounted,
    guests: Guests,
}

/// Stages of the configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    /// A plugin with denied calls, one that answers as requested, and one that traps.
    First,
    /// In addition a plugin that never ends.
    Endless,
    /// In addition a plugin that cannot be loaded; failures are admitted.
    Admitting,
}

// === impl Scene ===

impl Scene {
    /// Runs all steps, with a Prometheus that has these rules.
    pub(super) async fn play(rules: &Value) -> Result<Self> {
        let mut scene = Self::set(rules).await?;
        scene.review_twice(Act::First).await?;
        scene.configure(Act::Endless)?;
        scene.counted("ampoule_config_reloads_total{result=\"applied\"}", 1.0).await?;
        scene.review_twice(Act::Endless).await?;
        scene.configure(Act::Admitting)?;
        // One plugin is refused, and the rest takes effect.
        scene.counted("ampoule_config_reloads_total{result=\"refused\"}", 1.0).await?;
        scene.review_twice(Act::Admitting).await?;
        let [next, other] = [issue()?, issue()?];
        scene.certs.swap(&files(&next, &next))?;
        scene.counted("ampoule_certificate_reloads_total{result=\"adopted\"}", 1.0).await?;
        scene.certs.swap(&files(&next, &other))?;
        scene.counted("ampoule_certificate_reloads_total{result=\"refused\"}", 1.0).await?;
        fs::write(scene.folder.path().join("ampoule.yaml"), "injectors: [")?;
        scene.counted("ampoule_config_reloads_total{result=\"refused\"}", 2.0).await?;
        scene.scraped().await?;
        Ok(scene)
    }

    async fn set(rules: &Value) -> Result<Self> {
        let (folder, guests) =
            (tempfile::tempdir()?, Guests::write(&["echo", "trap", "endless_loop", "secret_value"])?);
        let http_json = ampoule_test_guests::plugin("http-json");
        fs::write(folder.path().join("http-json.wasm"), http_json)?;
        fs::write(folder.path().join("broken.wasm"), "garbage")?;
        fs::create_dir_all(folder.path().join("secrets/global"))?;
        fs::write(folder.path().join("secrets/global/key"), "value")?;
        let first = issue()?;
        let certs = Mounted::new(&files(&first, &first))?;
        let config = folder.path().join("ampoule.yaml");
        fs::write(&config, configuration(&folder, &guests, Act::First))?;
        let mut command = Ampoule::command()?;
        command.arg("serve").arg("--config").arg(config).arg("--cert-dir").arg(certs.path());
        let ampoule = Ampoule::start_command(command, &first.ca_pem, HOST).await?;
        let labels = json!({ "namespace": "ampoule", "pod": "ampoule-0" });
        let prometheus = Prometheus::scraping(ampoule.admin_address(), "ampoule-metrics", &labels, rules).await?;
        Ok(Self { ampoule, prometheus, start: SystemTime::now(), folder, certs, guests })
    }

    fn configure(&self, act: Act) -> Result<()> {
        Ok(fs::write(self.folder.path().join("ampoule.yaml"), configuration(&self.folder, &self.guests, act))?)
    }

    /// Reviews all kinds twice, with a scrape in between.
    async fn review_twice(&self, act: Act) -> Result<()> {
        self.review_all(act).await?;
        self.scraped().await?;
        self.review_all(act).await
    }

    /// Sends invalid bodies and unserved requests, and then every kind of pod.
    async fn review_all(&self, act: Act) -> Result<()> {
        let mut connection = self.ampoule.connect().await?;
        for _ in 0..BAD_BODIES {
            connection.post(PATH, "{}").await?;
        }
        connection.get("/").await?;
        let mut update: Value = serde_json::from_slice(&Review::of(&pod("update"), "default").bytes())?;
        update["request"]["operation"] = json!("UPDATE");
        connection.post(PATH, update.to_string()).await?;
        let asking_for = |group: &str| asking("asks", [request(group, "key", EnvVar, "")]);
        let admits = act == Act::Admitting;
        for (what, pod, allowed) in [
            ("an existing secret", asking_for("group"), true),
            ("nothing", pod("none"), true),
            ("an unreadable annotation", asking("asks", ["ab0d"]), admits),
            ("a value that has to be in a Secret, without an API server", asking_for("global"), admits),
            ("a denied secret", asking_for("denied"), admits),
            ("an unavailable secret", asking_for("unavailable"), admits),
            ("a trap of the plugin", asking_for("not-found"), admits),
        ] {
            let response = Ampoule::review(&mut connection, &Review::of(&pod, "default")).await?;
            ensure!(response.allowed == allowed, "{what}: {response:?}");
        }
        if act == Act::Endless { self.crowd().await } else { Ok(()) }
    }

    /// Sends concurrent requests: some occupy every permit, the rest is rejected.
    async fn crowd(&self) -> Result<()> {
        let mut crowd = JoinSet::new();
        for _ in 0..CROWD {
            let mut connection = self.ampoule.connect().await?;
            let review = Review::of(&asking("crowd", [request("not-found", "key", EnvVar, "")]), "default");
            crowd.spawn(async move { Ampoule::review(&mut connection, &review).await });
        }
        while let Some(response) = crowd.join_next().await {
            ensure!(!response??.allowed, "an endless plugin returned a secret");
        }
        Ok(())
    }

    async fn counted(&self, series: &str, expected: f64) -> Result<()> {
        let counted = eventually(series, NOTICED, async || {
            let value = self.ampoule.metric(series).await?;
            ensure!((value - expected).abs() < 0.5, "{value}, not {expected}");
            Ok(())
        });
        counted.await.with_context(|| self.ampoule.log().unwrap_or_default())
    }

    /// Waits until Prometheus has scraped the current state.
    async fn scraped(&self) -> Result<()> {
        let now = SystemTime::now();
        eventually("a scrape", NOTICED, async || self.prometheus.scraped(now).await).await
    }
}

fn configuration(folder: &TempDir, guests: &Guests, act: Act) -> String {
    let file = |name: &str| folder.path().join(name).display().to_string();
    let limits = "{ deadlineMillis: 5000, queueWaitMillis: 10000 }";
    let mut injectors = format!(
        "  - name: http-json\n    component: file:{}\n    limits: {limits}\n    settings: {{ url: 'https://192.0.2.1:9443/{{key}}', \
         pointer: /value }}\n    grants: {{ http: {{ hosts: ['192.0.2.1:8443'] }} }}\n",
        file("http-json.wasm")
    );
    injectors += &guests.injector("echo", "{}", limits);
    injectors += &guests.injector("trap", "{}", limits);
    injectors += &format!("  - {{ name: next, component: builtin:k8s, shadow: true, limits: {limits} }}\n");
    // Its answers are only compared, so that every other injector is asked as well.
    injectors += &guests.injector("secret_value", "{}", limits);
    injectors += "    shadow: true\n    cache: { ttlSeconds: 600 }\n";
    if act != Act::First {
        injectors +=
            &guests.injector("endless_loop", "{}", "{ deadlineMillis: 300, instances: 2, queueWaitMillis: 5000 }");
    }
    // An engine for more instances reads the components that the previous one compiled from the
    // cache.
    let head = format!("engine: {{ cacheDirectory: {} }}\nserver: {{ maxAdmissions: 4, ", file("compiled"));
    let global = format!("{{ enabled: true, directory: {} }}", file("secrets"));
    let mut config = with_global_secrets("flyte-v1", &global, &injectors).replace("server: { ", &head);
    config.insert_str(0, "policy: { rules: [{ name: seen, when: request.key != '', action: audit }] }\n");
    if act == Act::Admitting {
        config += &format!(
            "  - {{ name: broken, required: false, component: 'file:{}' }}\nonFailure: admit\n",
            file("broken.wasm")
        );
    }
    config
}

/// A certificate that expires early enough for the alert.
fn issue() -> Result<CertificatePair> {
    let hour = Duration::from_secs(3600);
    Ok(CertificatePair::issue(CertificateSubject::service("ampoule", "ampoule", hour), SystemTime::now())?)
}

/// The files that the kubelet mounts for a Secret.
fn files<'a>(certificate: &'a CertificatePair, key: &'a CertificatePair) -> [(&'static str, &'a str); 3] {
    [("ca.crt", &certificate.ca_pem), ("tls.crt", &certificate.certificate_pem), ("tls.key", &key.key_pem)]
}
