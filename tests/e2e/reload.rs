//! Changes of the configuration of a serving process: each applies to the next pod or is refused,
//! and does not affect other pods.
//!
//! The tests use one process with its registration in a real cluster, and create pods during the
//! changes.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_plugin_bundle::COMPONENTS;
use ampoule_tests::{Ampoule, Mounted, Namespace, Review, asking, eventually, free_ports};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    cluster::{Installed, NOTICED, POD_UID},
    support::{config, request},
};

/// The request whose variable shows which plugin served it.
const ASKS: (&str, &str) = ("group", "key");

/// A process in a cluster, with its own component in a file.
struct Changing {
    installed: Installed,
    ampoule: Ampoule,
    base: String,
    component: PathBuf,
    /// The Event of each change so far: type, reason and note.
    recorded: Vec<[String; 3]>,
}

impl Changing {
    async fn start(name: &str) -> Result<Self> {
        let [port] = free_ports()?;
        let installed = Installed::new(name, port, &format!("{{ mode: cluster, secretName: {name} }}")).await?;
        let base = fs::read_to_string(installed.config())?;
        let component = installed.config().with_file_name("plugin.wasm");
        fs::write(&component, ampoule_test_guests::guest("echo"))?;
        let ampoule = installed.start(port).await?;
        let this = Self { installed, ampoule, base, component, recorded: Vec::new() };
        eventually("the first pod", NOTICED, async || this.ensure_env(json!("_FSEC_GROUP_KEY")).await).await?;
        Ok(this)
    }

    /// The initial configuration, with the file's component first.
    fn with_component(&self, settings: &str) -> String {
        let injector = format!(
            "injectors:\n  - name: mine\n    component: 'file:{}'\n    settings: {settings}\n    limits: {{ deadlineMillis: 5000 }}\n",
            self.component.display()
        );
        self.base.replace("injectors:\n", &injector)
    }

    /// Verifies the name of the first variable of a pod.
    async fn ensure_env(&self, expected: Value) -> Result<()> {
        let pod = asking("probe", [request(ASKS.0, ASKS.1, EnvVar, "")]);
        let pod = self.installed.namespace.dry_run_pod(&pod).await??;
        let env = &pod["spec"]["containers"][0]["env"];
        // It follows the variable that gives the SDK the prefix.
        let names: Vec<_> = env.as_array().into_iter().flatten().map(|variable| &variable["name"]).collect();
        ensure!(names.contains(&&expected), "{expected} is not in {env}");
        Ok(())
    }

    /// Verifies that a change was applied and pods get this variable.
    async fn applied(&mut self, what: &str, variable: &str, event: [&str; 3]) -> Result<()> {
        self.recorded.push(event.map(str::to_owned));
        self.reported(what, 1).await?;
        eventually(what, NOTICED, async || self.ensure_env(json!(variable)).await).await
    }

    /// Verifies that a change was refused and pods still get this variable.
    async fn refused(&mut self, what: &str, variable: &str, reason: &str) -> Result<()> {
        let note = format!("change refused; the previous configuration stays in effect: {reason}");
        self.refused_with(what, variable, ["ConfigurationRefused", &note, reason]).await
    }

    /// Verifies that a change of one plugin was refused and pods still get this variable.
    async fn plugin_refused(&mut self, what: &str, variable: &str, reason: &str) -> Result<()> {
        let note = format!("{reason}; the previous plugin stays in use");
        self.refused_with(what, variable, ["PluginRefused", &note, &note]).await
    }

    async fn refused_with(&mut self, what: &str, variable: &str, [event, note, reason]: [&str; 3]) -> Result<()> {
        self.recorded.push(["Warning", event, note].map(str::to_owned));
        self.reported(what, 0).await?;
        self.ensure_env(json!(variable)).await?;
        let page = self.ampoule.admin("/readyz?verbose").await?;
        let line = format!("[!]configuration needs attention: {note}");
        ensure!(page.status == 200 && page.text().lines().any(|found| found == line), "{line} is not in {page:?}");
        let log = self.ampoule.log()?;
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let errors: Vec<_> = lines.filter(|line| line["level"] == "ERROR").map(|line| line["reason"].clone()).collect();
        let refused = self.recorded.iter().filter(|[_, reason, _]| reason.ends_with("Refused")).count();
        ensure!(errors.len() == refused && errors.last() == Some(&json!(reason)), "{errors:#?}");
        Ok(())
    }

    /// Verifies the metrics, and one Event for each change.
    async fn reported(&self, what: &str, successful: u8) -> Result<()> {
        let count = |reload: &str| {
            self.recorded.iter().filter(|[_, reason, _]| reason.ends_with("Refused") == (reload == "refused")).count()
        };
        let expected = [
            format!("ampoule_config_reloads_total{{result=\"applied\"}} {}", count("applied")),
            format!("ampoule_config_reloads_total{{result=\"refused\"}} {}", count("refused")),
            format!("ampoule_config_last_reload_successful {successful}"),
        ];
        eventually(what, NOTICED, async || {
            let text = self.ampoule.admin("/metrics").await?.text();
            for line in &expected {
                ensure!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
            }
            let events = self.events().await?;
            ensure!(events == self.recorded, "{events:#?} instead of {:#?}", self.recorded);
            Ok(())
        })
        .await
        .with_context(|| self.ampoule.log().unwrap_or_default())
    }

    /// The Events in their order, after a check that they are complete.
    async fn events(&self) -> Result<Vec<[String; 3]>> {
        let name = self.installed.name();
        let pod = format!("{name}-0");
        let mut events = self.installed.namespace.api::<Event>().list(&ListParams::default()).await?.items;
        events.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
        let events = events.into_iter().map(|event| {
            let event = serde_json::to_value(event)?;
            let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            let regarding =
                json!({ "apiVersion": "v1", "kind": "Pod", "name": pod, "namespace": name, "uid": POD_UID });
            ensure!(event["regarding"] == regarding, "{event}");
            ensure!(
                text("reportingController") == "ampoule.dev/webhook" && text("reportingInstance") == pod,
                "{event}"
            );
            ensure!(text("action") == "Configure" && event["eventTime"].is_string(), "{event}");
            ensure!(
                event["metadata"]["name"].as_str().is_some_and(|name| name.starts_with(&format!("{pod}-"))),
                "{event}"
            );
            Ok(["type", "reason", "note"].map(text))
        });
        events.collect()
    }

    /// The error of a plugin, once it contains this text.
    async fn error_of(&self, plugin: &str, expected: &str) -> Result<String> {
        eventually(expected, NOTICED, async || {
            let plugins: Value = serde_json::from_str(&self.ampoule.admin("/plugins").await?.text())?;
            let found = plugins.as_array().into_iter().flatten().find(|status| status["name"] == plugin);
            let error = found.and_then(|status| status["error"].as_str()).unwrap_or_default();
            ensure!(error.contains(expected), "{plugins}");
            Ok(error.to_owned())
        })
        .await
    }

    /// The output of `ampoule plugin list`.
    fn list(&self) -> Result<String> {
        let mut command = Ampoule::command()?;
        command.args(["plugin", "list", "--admin", &self.ampoule.admin_address().to_string()]);
        let output = command.output()?;
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The names of the plugins in the metrics.
    async fn plugins(&self) -> Result<Vec<String>> {
        let text = self.ampoule.admin("/metrics").await?.text();
        let lines = text.lines().filter_map(|line| line.strip_prefix("ampoule_plugin_info{plugin=\""));
        let mut names: Vec<_> = lines.filter_map(|line| Some(line.split('"').next()?.to_owned())).collect();
        names.sort();
        Ok(names)
    }
}

const APPLIED: [&str; 3] = ["Normal", "ConfigurationApplied", "configuration applied"];

/// Creates pods that request a variable, which the first configured plugin at that moment injects.
async fn keep_creating(namespace: Namespace, stop: Arc<AtomicBool>) -> Result<u32> {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let pod = asking(&format!("steady-{count}"), [request("group", "key", EnvVar, "")]);
        let created = namespace.try_create_pod(&pod).await?.with_context(|| format!("pod {count}"))?;
        ensure!(created["spec"]["containers"][0]["env"].is_array(), "pod {count} has no secret: {created}");
        count += 1;
        sleep(Duration::from_millis(20)).await;
    }
    Ok(count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_configured_serves_the_next_pod_and_what_is_broken_changes_nothing() -> Result<()> {
    let mut changing = Changing::start("changing").await?;
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(keep_creating(changing.installed.namespace.clone(), stop.clone()));

    changing.installed.configure(&changing.with_component("{}"))?;
    changing.applied("a further injector", "ECHO", APPLIED).await?;
    assert_eq!(changing.plugins().await?, ["k8s", "mine"]);
    changing.installed.configure(&changing.with_component("{ variable: OTHER }"))?;
    changing.applied("another setting", "OTHER", APPLIED).await?;

    let file = changing.installed.config().display().to_string();
    changing.installed.configure("injectors: [")?;
    let reason = format!("{file}, line 1, column 12: injectors: unclosed bracket '['");
    changing.refused("garbage", "OTHER", &reason).await?;
    changing.installed.configure("injector: []")?;
    let reason = format!(
        "{file}, line 1, column 1: injector: unknown field `injector`, expected one of profile, conventions, onFailure, globalSecrets, server, registration, certificates, engine, trust, registries, pods, delivery, rotation, policy, audit, tracing, plugins, injectors"
    );
    changing.refused("an unknown key", "OTHER", &reason).await?;
    fs::remove_file(changing.installed.config())?;
    let reason = format!("{file}: cannot be read: No such file or directory (os error 2)");
    changing.refused("no file", "OTHER", &reason).await?;
    changing.installed.configure(&changing.with_component("{}"))?;
    changing.applied("a valid configuration again", "ECHO", APPLIED).await?;

    fs::write(&changing.component, "garbage")?;
    let component = changing.component.display().to_string();
    let reason = format!(
        "plugin mine (file:{component}, sha256:795b6904e54f): the file is not WebAssembly: it does not start with \\0asm"
    );
    changing.plugin_refused("a component of garbage", "ECHO", &reason).await?;
    fs::write(&changing.component, ampoule_test_guests::guest("deep_recursion"))?;
    let reason = changing.error_of("mine", "`check` failed: it trapped: ").await?;
    changing.plugin_refused("a component that traps", "ECHO", &reason).await?;
    let listed = changing.list()?;
    let row = |name: &str| listed.lines().find(|line| line.starts_with(name)).map(str::to_owned).context("a row");
    assert!(row("mine ")?.contains(" serving-previous ") && row("mine ")?.ends_with(&reason), "{listed}");
    assert!(row("k8s ")?.contains("   loaded             1            "), "{listed}");
    let (_, k8s) = COMPONENTS.iter().find(|(name, _)| *name == "k8s").context("it is built in")?;
    fs::write(&changing.component, k8s)?;
    changing.applied("another component", "_FSEC_GROUP_KEY", APPLIED).await?;

    let fixed = changing.base.replace("server: { ", "server: { maxConnections: 99, ");
    changing.installed.configure(&format!("onFailure: admit\n{fixed}"))?;
    let note = "takes effect after a restart: server.maxConnections";
    let event = ["Warning", "RestartNeeded", &format!("configuration applied; {note}")];
    changing.applied("a setting that needs a restart", "_FSEC_GROUP_KEY", event).await?;
    assert_eq!(changing.plugins().await?, ["k8s"], "a removed plugin has no metrics");
    let page = changing.ampoule.admin("/readyz?verbose").await?.text();
    assert!(page.contains(&format!("[!]configuration needs attention: {note}\n")), "{page}");
    changing.installed.configure(&changing.base)?;
    changing.applied("as at the start", "_FSEC_GROUP_KEY", APPLIED).await?;

    stop.store(true, Ordering::Relaxed);
    let created = load.await?.context("no pod is refused")?;
    println!("{created} pods created meanwhile");
    assert!(created > 100, "{created} pods are too few for a load");
    changing.ampoule.stop().await?.ensure_clean()
}

/// The variables of a pod from a process that is called directly.
async fn env(ampoule: &Ampoule) -> Result<String> {
    let review = Review::of(&asking("task", [request("group", "key", EnvVar, "")]), "default");
    let response = ampoule.review_once(&review).await?;
    ensure!(response.allowed, "{response:?}");
    Ok(serde_json::to_string(&response.patch)?)
}

async fn ensure_env(ampoule: &Ampoule, what: &str, expected: &str) -> Result<()> {
    eventually(what, NOTICED, async || {
        let env = env(ampoule).await?;
        ensure!(env.contains(expected), "{expected} is not in {env}");
        Ok(())
    })
    .await
}

/// Starts a process with a newly made certificate.
pub(crate) async fn start(mut command: Command, certs: &Mounted) -> Result<Ampoule> {
    command.arg("--cert-dir").arg(certs.path());
    let ca = fs::read_to_string(certs.path().join("ca.crt"))?;
    Ampoule::start_command(command, &ca, "ampoule.ampoule.svc").await
}

#[tokio::test]
async fn both_mounts_of_a_pod_are_watched() -> Result<()> {
    let mut plugins = Mounted::new(&[("mine.wasm", ampoule_test_guests::guest("echo"))])?;
    let file = plugins.path().join("mine.wasm");
    let text = |prefix: &str| {
        let injector =
            format!("  - {{ name: mine, component: 'file:{}', limits: {{ deadlineMillis: 5000 }} }}\n", file.display());
        format!("conventions: {{ envPrefix: {prefix} }}\n{}", config("flyte-v1", &injector))
    };
    let mut mounted = Mounted::new(&[("ampoule.yaml", text("A_"))])?;
    let mut command = Ampoule::command()?;
    command.arg("serve").arg("--config").arg(mounted.path().join("ampoule.yaml"));
    let ampoule = start(command, &crate::certificates::fresh()?).await?;
    ensure_env(&ampoule, "the first", "\"ECHO\"").await?;
    // The link changes twice: a process that watched the target of the link would miss the second
    // change.
    for (builtin, prefix) in [("k8s", "B_"), ("k8s", "C_")] {
        let (_, component) = COMPONENTS.iter().find(|(name, _)| *name == builtin).context("it is built in")?;
        plugins.swap(&[("mine.wasm", component)])?;
        mounted.swap(&[("ampoule.yaml", text(prefix))])?;
        ensure_env(&ampoule, prefix, &format!("{prefix}GROUP_KEY")).await?;
    }
    plugins.swap(&[("mine.wasm", ampoule_test_guests::guest("echo"))])?;
    ensure_env(&ampoule, "echo again", "\"ECHO\"").await?;
    ampoule.stop().await?.ensure_clean()
}

#[tokio::test]
async fn flytes_files_are_watched_and_flags_take_precedence() -> Result<()> {
    let text = |prefix: &str, service: &str| {
        format!(
            "webhook: {{ secretManagerTypes: [K8s], secretEnvVarPrefix: {prefix}, serviceName: {service}, disableCreateMutatingWebhookConfig: true }}\n"
        )
    };
    let mut mounted = Mounted::new(&[("a.yaml", text("A_", "one"))])?;
    let mut command = Ampoule::command()?;
    command.arg("webhook").arg("--config").arg(mounted.path().join("*.yaml"));
    command.arg("--webhook.serviceName=ampoule");
    let ampoule = start(command, &crate::certificates::fresh()?).await?;
    ensure_env(&ampoule, "the first", "A_GROUP_KEY").await?;
    mounted.swap(&[("a.yaml", text("B_", "two"))])?;
    ensure_env(&ampoule, "another prefix", "B_GROUP_KEY").await?;
    let page = ampoule.admin("/readyz?verbose").await?.text();
    assert!(page.contains("[+]configuration ok\n"), "the flag takes precedence: {page}");
    // An additional file, whose name sorts last and so takes precedence.
    mounted.swap(&[("a.yaml", text("B_", "two")), ("b.yaml", "webhook: { secretEnvVarPrefix: C_ }\n".to_owned())])?;
    ensure_env(&ampoule, "a further file", "C_GROUP_KEY").await?;
    ampoule.stop().await?.ensure_clean()
}
