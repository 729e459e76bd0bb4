//! A plugin that is added, changed, broken and removed with `kubectl apply` of one ConfigMap, while
//! a hundred pods are created per second.
//!
//! Each step takes effect within five seconds and does not affect pods of other plugins.

#![expect(clippy::print_stdout, reason = "the measurements are for the user")]

use std::time::{Duration, Instant};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{Ampoule, Creation, SteadyLoad, asking, eventually, free_ports};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    cluster::Installed,
    support::{config_map_events, request},
};

/// Limit from `kubectl apply` to the first pod that it affects. It takes a quarter of a second on
/// an idle machine, and more than five seconds while the machine compiles something else.
const LIVE: Duration = Duration::from_secs(30);
/// Interval between two pods of the load.
const PERIOD: Duration = Duration::from_millis(10);
/// Duration of the load in each phase before its change.
const PHASE: Duration = Duration::from_secs(1);
/// Name of the ConfigMap, and so of the plugin.
const NAME: &str = "mine";
/// Number of applied configurations.
const RELOADS: &str = "ampoule_config_reloads_total{result=\"applied\"}";
/// A request that the k8s plugin cannot serve, and the guest can.
const ONLY_MINE: &str = "";

/// A process that watches ConfigMaps, called by the API server.
struct Cluster {
    installed: Installed,
    ampoule: Ampoule,
}

impl Cluster {
    async fn start(name: &str, plugins: &str) -> Result<Self> {
        let [port] = free_ports()?;
        let installed = Installed::new(name, port, &format!("{{ mode: cluster, secretName: {name} }}")).await?;
        installed.reconfigure("globalSecrets:", &format!("plugins: {plugins}\nglobalSecrets:"))?;
        let ampoule = installed.start(port).await?;
        let this = Self { installed, ampoule };
        eventually("the first pod", Duration::from_secs(30), async || {
            this.installed.namespace.dry_run_pod(&steady("probe")).await??;
            Ok(())
        })
        .await?;
        Ok(this)
    }

    /// Applies the ConfigMap as `kubectl apply` does.
    async fn apply(&self, component: &[u8], document: &str) -> Result<()> {
        self.apply_as(NAME, component, document).await
    }

    async fn apply_as(&self, name: &str, component: &[u8], document: &str) -> Result<()> {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": name, "labels": { "ampoule.dev/injector": "true" } },
            "binaryData": { "plugin.wasm": data_encoding::BASE64.encode(component) },
            "data": { "injector.yaml": document },
        });
        let maps = self.installed.namespace.api::<ConfigMap>();
        maps.patch(name, &PatchParams::apply("kubectl").force(), &Patch::Apply(&map)).await?;
        Ok(())
    }

    /// The variables of a pod that only this plugin can serve, or the refusal.
    async fn ask(&self) -> Result<Result<String, String>> {
        let pod = asking("probe", [request(ONLY_MINE, "key", EnvVar, "")]);
        let made = self.installed.namespace.dry_run_pod(&pod).await?;
        Ok(made.map(|pod| pod["spec"]["containers"][0]["env"].to_string()).map_err(|refusal| refusal.to_string()))
    }

    /// Verifies that a pod gets this result within five seconds.
    async fn live(&self, what: &str, expected: &str) -> Result<()> {
        let start = Instant::now();
        eventually(what, LIVE, async || {
            let got = self.ask().await?;
            ensure!(got.as_ref().is_ok_and(|env| env.contains(expected)), "{expected} is not in {got:?}");
            Ok(())
        })
        .await
        .with_context(|| self.ampoule.log().unwrap_or_default())?;
        println!("  {what}: live after {} ms", start.elapsed().as_millis());
        Ok(())
    }

    /// The plugin's own status, once it is in this state.
    async fn status(&self, state: &str) -> Result<Value> {
        eventually(state, LIVE, async || {
            let plugins = self.plugins().await?;
            let mine = plugins.iter().find(|status| status["name"] == NAME && status["state"] == state);
            mine.cloned().with_context(|| format!("it is not in {plugins:?}"))
        })
        .await
    }

    async fn plugins(&self) -> Result<Vec<Value>> {
        Ok(serde_json::from_str(&self.ampoule.admin("/plugins").await?.text())?)
    }

    /// The ConfigMap's Events in their order.
    async fn events(&self) -> Result<Vec<[String; 3]>> {
        config_map_events(&self.installed.namespace).await
    }
}

/// A pod that the k8s plugin serves, regardless of the plugin under test.
fn steady(name: &str) -> Value {
    asking(name, [request("group", "key", EnvVar, "")])
}

fn guest(name: &str) -> &'static [u8] {
    ampoule_test_guests::guest(name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_map_brings_a_plugin_and_no_pod_notices_who_does_not_ask_it() -> Result<()> {
    let cluster = Cluster::start("hot-reload", "{ configMaps: true }").await?;
    assert!(cluster.ask().await?.is_err(), "no plugin has it yet");
    let load = SteadyLoad::start(cluster.installed.namespace.clone(), PERIOD, steady);

    load.phase("apply");
    sleep(PHASE).await;
    let settings =
        |variable: &str| format!("limits: {{ deadlineMillis: 5000 }}\nsettings: {{ variable: {variable} }}\n");
    cluster.apply(guest("echo"), &settings("FIRST")).await?;
    cluster.live("a new plugin", "\"FIRST\"").await?;
    load.phase("update");
    sleep(PHASE).await;
    cluster.apply(guest("echo"), &settings("SECOND")).await?;
    cluster.live("an update", "\"SECOND\"").await?;
    assert_eq!(cluster.status("loaded").await?["generation"], 2);

    load.phase("garbage");
    sleep(PHASE).await;
    for (what, component, document, reason) in [
        ("a component of garbage", &b"garbage"[..], settings("THIRD"), "the file is not WebAssembly"),
        ("a component that traps", guest("deep_recursion"), settings("THIRD"), "`check` failed: it trapped"),
        (
            "settings that are refused",
            guest("echo"),
            "settings: { nonsense: 1 }".to_owned(),
            "the plugin rejected its settings",
        ),
        (
            "an unknown key",
            guest("echo"),
            "setings: {}".to_owned(),
            "ConfigMap mine: injector.yaml, line 1, column 1: setings: ",
        ),
    ] {
        cluster.apply(component, &document).await?;
        eventually(what, LIVE, async || {
            let status = cluster.status("serving-previous").await?;
            ensure!(status["error"].as_str().is_some_and(|error| error.contains(reason)), "{status}");
            ensure!(status["generation"] == 2, "{status}");
            let events = cluster.events().await?;
            let [kind, word, note] = events.last().context("an Event")?;
            ensure!(kind == "Warning" && word == "PluginRefused" && note.contains(reason), "{events:#?}");
            Ok(())
        })
        .await?;
        let got = cluster.ask().await?;
        assert!(got.as_ref().is_ok_and(|env| env.contains("\"SECOND\"")), "{what}: {got:?}");
    }
    load.phase("repair");
    sleep(PHASE).await;
    cluster.apply(guest("echo"), &settings("FOURTH")).await?;
    cluster.live("a repair", "\"FOURTH\"").await?;

    load.phase("delete");
    let reloads = cluster.ampoule.metric(RELOADS).await?;
    annotate(&cluster).await?;
    cluster.installed.namespace.api::<ConfigMap>().delete(NAME, &DeleteParams::default()).await?;
    eventually("the plugin is removed", LIVE, async || {
        let got = cluster.ask().await?;
        ensure!(got.as_ref().is_err_and(|refusal| !refusal.contains(NAME)), "{got:?}");
        Ok(())
    })
    .await?;
    sleep(PHASE).await;
    // Events arrive in order: by now the process has seen the annotation as well.
    assert_eq!(cluster.ampoule.metric(RELOADS).await?, reloads + 1.0, "one for the end, and none for the annotation");
    let text = cluster.ampoule.admin("/metrics").await?.text();
    assert!(!text.contains(&format!("plugin_state{{plugin=\"{NAME}\"")), "{text}");
    judge(&load.stop().await?);

    // A plugin that never loaded affects only the pods that need it.
    cluster.apply(b"garbage", "").await?;
    cluster.status("failed").await?;
    let refusal = cluster.ask().await?.err().context("no plugin has it")?;
    assert!(refusal.contains("mine: unavailable: plugin mine is not loaded"), "{refusal}");
    cluster.installed.namespace.dry_run_pod(&steady("probe")).await??;
    assert_eq!(cluster.ampoule.admin("/readyz").await?.status, 200);
    let words: Vec<_> = cluster.events().await?.into_iter().map(|[_, word, _]| word).collect();
    // Behind k8s, which serves all requests with a group.
    let expected = ["Shadowed", "Shadowed", "Refused", "Refused", "Refused", "Refused", "Shadowed", "Refused"];
    assert_eq!(words, expected.map(|word| format!("Plugin{word}")));

    ignores_a_name_that_is_taken(&cluster, &settings("FIFTH")).await?;
    cluster.ampoule.stop().await?.ensure_clean()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_map_precedes_the_injectors_that_an_admin_named_and_is_reported_behind_them() -> Result<()> {
    let cluster = Cluster::start("hot-order", "{ configMaps: true, configMapsBefore: [k8s] }").await?;
    let document =
        |order: i32| format!("order: {order}\nlimits: {{ deadlineMillis: 5000 }}\nsettings: {{ variable: FIRST }}\n");
    let served = async || -> Result<String> {
        let pod = cluster.installed.namespace.dry_run_pod(&steady("probe")).await??;
        Ok(pod["spec"]["containers"][0]["env"].to_string())
    };
    cluster.apply(guest("echo"), &document(-1)).await?;
    eventually("a request with a group", LIVE, async || {
        let env = served().await?;
        ensure!(env.contains("\"FIRST\"") && !env.contains("_FSEC_GROUP_KEY"), "{env}");
        Ok(())
    })
    .await?;
    cluster.apply(guest("echo"), &document(0)).await?;
    let note = "it gets no request with a group and a key, because k8s before it serves them all; put it before k8s \
                (in a ConfigMap: a negative order, which plugins.configMapsBefore permits)";
    eventually("the report", LIVE, async || {
        let events = cluster.events().await?;
        let words: Vec<_> = events.iter().map(|[_, word, _]| word.as_str()).collect();
        ensure!(words == ["PluginLoaded", "PluginShadowed"], "{events:#?}");
        ensure!(events[1][2].contains(note) && events[1][2].ends_with(" (replica hot-order-0)"), "{events:#?}");
        Ok(())
    })
    .await?;
    let env = served().await?;
    assert!(env.contains("_FSEC_GROUP_KEY"), "{env}");
    let list = Ampoule::command()?
        .args(["plugin", "list", "--admin", &cluster.ampoule.admin_address().to_string()])
        .output()?;
    let list = String::from_utf8(list.stdout)?;
    assert!(list.lines().any(|line| line.starts_with("mine ") && line.ends_with(note)), "{list}");
    // Another replica reports the same, and adds no Event.
    let other = cluster.installed.start(0).await?;
    eventually("another replica", LIVE, async || {
        ensure!(other.log()?.contains("a plugin gets no requests"), "not yet");
        Ok(())
    })
    .await?;
    sleep(PHASE).await;
    let events = cluster.events().await?;
    assert_eq!(events.len(), 3, "the second replica has seen only the last state: {events:#?}");
    other.stop().await?.ensure_clean()?;
    let other = cluster.installed.start(0).await?;
    eventually("its successor", LIVE, async || {
        ensure!(other.log()?.contains("a plugin gets no requests"), "not yet");
        Ok(())
    })
    .await?;
    sleep(PHASE).await;
    assert_eq!(cluster.events().await?.len(), 3, "a restarted replica adds no Event");
    other.stop().await?.ensure_clean()?;
    cluster.ampoule.stop().await?.ensure_clean()
}

/// A change that does not concern a plugin.
async fn annotate(cluster: &Cluster) -> Result<()> {
    let note = json!({ "metadata": { "annotations": { "note": "by somebody" } } });
    let maps = cluster.installed.namespace.api::<ConfigMap>();
    maps.patch(NAME, &PatchParams::default(), &Patch::Merge(&note)).await?;
    Ok(())
}

/// A ConfigMap with the name of a configured injector is ignored, and its status reports the
/// reason.
async fn ignores_a_name_that_is_taken(cluster: &Cluster, document: &str) -> Result<()> {
    cluster.apply_as("k8s", guest("echo"), document).await?;
    let reason = "ConfigMap k8s: the configuration already has an injector of this name";
    eventually("a name that is taken", LIVE, async || {
        let plugins = cluster.plugins().await?;
        let k8s: Vec<_> = plugins.iter().filter(|status| status["name"] == "k8s").collect();
        ensure!(k8s.len() == 2 && k8s[0]["state"] == "loaded", "{plugins:#?}");
        ensure!(k8s[1]["state"] == "ignored" && k8s[1]["error"] == reason, "{plugins:#?}");
        let events = cluster.events().await?;
        let [_, word, note] = events.last().context("an Event")?;
        ensure!(
            word == "PluginRefused" && *note == format!("{reason}; the plugin is not used (replica hot-reload-0)"),
            "{events:#?}"
        );
        Ok(())
    })
    .await?;
    assert!(cluster.ampoule.metric("ampoule_plugin_state{plugin=\"k8s\",state=\"loaded\"}").await? > 0.0);
    let refusal = cluster.ask().await?.err().context("no plugin has it")?;
    assert_eq!(refusal.matches("k8s: ").count(), 1, "{refusal}");
    Ok(())
}

/// Verifies that no pod failed.
fn judge(creations: &[Creation]) {
    let mut took: Vec<_> = creations.iter().map(|creation| creation.took).collect();
    took.sort();
    let (count, worst) = (took.len(), took.last().copied().unwrap_or_default());
    println!("  {count} pods meanwhile, p99 {:?}, the slowest {worst:?}", took[count * 99 / 100]);
    let failed: Vec<_> = creations.iter().filter(|creation| !creation.failed.is_empty()).collect();
    assert!(failed.is_empty() && count > 300, "{count} pods, of which these failed: {failed:#?}");
}
