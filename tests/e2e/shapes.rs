//! Shapes of pods on a real API server: ephemeral containers (`kubectl debug`), sidecars, pods for
//! Windows, and mirrors of static pods.
//!
//! The process registers itself. A part that an old API server does not serve is reported as not
//! run; its review is then sent to the process directly.

use ampoule_core::MountRequirement::{EnvVar, File};
use ampoule_tests::{Ampoule, ApiServer, Review, asking, free_ports};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::Installed,
    support::{K8S, config, registered, request, v1},
};

/// A process whose registration has the subresource, and which the API server calls.
async fn debugging(name: &str) -> Result<(Installed, Ampoule)> {
    let [port] = free_ports()?;
    let installed = Installed::new(name, port, &format!("{{ mode: cluster, secretName: {name} }}")).await?;
    installed.reconfigure("  create: true\n", "  create: true\n  ephemeralContainers: true\n")?;
    let ampoule = installed.start_registered(port).await?;
    Ok((installed, ampoule))
}

fn workload() -> Value {
    let mut pod = asking("app", [request("db", "token", EnvVar, ""), request("db", "ca.crt", File, "CA")]);
    pod["spec"]["containers"][0]["env"] = json!([{ "name": "OWN", "value": "1" }]);
    pod
}

/// The variables and mounts of a container, without its own.
fn injected(container: &Value) -> Value {
    let env = container["env"].as_array().into_iter().flatten();
    let env: Vec<_> = env.filter(|entry| entry["name"] != "OWN").collect();
    json!({ "env": env, "mounts": container["volumeMounts"] })
}

fn ephemeral<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let containers = pod["spec"]["ephemeralContainers"].as_array().into_iter().flatten();
    containers.into_iter().find(|container| container["name"] == name).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn kubectl_debug_gives_a_container_the_secrets_of_its_pod() -> Result<()> {
    let (installed, ampoule) = debugging("shapes-debug").await?;
    let namespace = &installed.namespace;
    let registration = installed.registration().await?;
    for webhook in registration["webhooks"].as_array().context("webhooks")? {
        assert_eq!(webhook["rules"][1]["resources"], json!(["pods/ephemeralcontainers"]));
    }
    let stored = namespace.create_pod(&workload()).await?;
    let expected = injected(&stored["spec"]["containers"][0]);
    assert_eq!(
        (expected["env"].as_array().map(Vec::len), expected["mounts"].as_array().map(Vec::len)),
        (Some(5), Some(1))
    );
    let debugger = |name: &str| json!({ "name": name, "image": "example.org/debug:1" });

    let review = Review::of_debugging(&stored, namespace.name(), &[debugger("direct")]);
    let response = ampoule.review_once(&review).await?;
    let mut pod = review.object().clone();
    json_patch::patch(&mut pod, &response.patch)?;
    assert_eq!(injected(&pod["spec"]["ephemeralContainers"][0]), expected);
    let mut rest = pod.clone();
    rest["spec"]["ephemeralContainers"] = review.object()["spec"]["ephemeralContainers"].clone();
    assert_eq!(&rest, review.object(), "nothing else changes");

    if !ApiServer::shared().await?.has_version((1, 25), "kubectl debug on an API server") {
        return Ok(());
    }
    let first = namespace.debug_pod("app", &debugger("first")).await??;
    assert_eq!(injected(ephemeral(&first, "first")), expected);
    let second = namespace.debug_pod("app", &debugger("second")).await??;
    assert_eq!(ephemeral(&second, "first"), ephemeral(&first, "first"));
    assert_eq!(injected(ephemeral(&second, "second")), expected);
    assert_eq!(
        (&second["spec"]["containers"], &second["spec"]["volumes"]),
        (&stored["spec"]["containers"], &stored["spec"]["volumes"])
    );

    // A file that the running pod does not have.
    namespace.annotate_pod("app", &json!({ "flyte.secrets/s2": request("other", "file", File, "") })).await?;
    let refusal = namespace.debug_pod("app", &debugger("third")).await?.expect_err("the volume does not exist");
    ensure!(
        refusal.code == 400 && refusal.message.contains("the running pod does not have volume n41gqzlsl3"),
        "{refusal}"
    );
    Ok(())
}

/// A webhook whose pods fetch their values, with variables that the kubelet reads from a file.
async fn fetching() -> Result<Ampoule> {
    let credential = "{ vault: { address: 'https://192.0.2.1:8443', role: app, audience: vault } }";
    let injector = format!(
        "  - name: vault\n    component: builtin:vault-kv\n    delivery: pod\n    limits: {{ deadlineMillis: 20000 }}\n    \
         settings: {{ address: 'https://192.0.2.1:8443' }}\n    grants: {{ http: {{ hosts: [{{ host: '192.0.2.1:8443', \
         credential: {credential} }}] }} }}\n"
    );
    let image = format!("registry.example.org/ampoule@sha256:{}", "0".repeat(64));
    let keys = format!(
        "registration: {{ ephemeralContainers: true }}\ndelivery: {{ pod: {{ image: '{image}', variables: file-key }} }}\n"
    );
    Ampoule::start(&(keys + &config("plain", &injector))).await
}

#[tokio::test]
async fn an_ephemeral_container_reads_the_variables_that_its_pod_has_fetched() -> Result<()> {
    let ampoule = fetching().await?;
    let namespace = ApiServer::shared().await?.namespace("shapes-fetched").await?;
    let mut pod = asking("app", [request("db", "token", EnvVar, "TOKEN"), request("db", "ca.crt", File, "CA")]);
    pod["spec"]["serviceAccountName"] = json!("default");
    let response = ampoule.review_once(&Review::of(&pod, namespace.name())).await?;
    ensure!(response.allowed, "{}", response.message);
    json_patch::patch(&mut pod, &response.patch)?;
    let expected = injected(&pod["spec"]["containers"][0]);
    ensure!(expected["env"].to_string().contains("fileKeyRef"), "{expected}");

    let debugger = json!({ "name": "debugger", "image": "example.org/debug:1" });
    let review = Review::of_debugging(&pod, namespace.name(), &[debugger]);
    let response = ampoule.review_once(&review).await?;
    ensure!(response.allowed, "{}", response.message);
    let mut debugged = review.object().clone();
    json_patch::patch(&mut debugged, &response.patch)?;
    let debugger = ephemeral(&debugged, "debugger");
    assert_eq!(injected(debugger), expected);

    if ApiServer::shared().await?.has_version((1, 35), "variables of a file on an API server") {
        namespace.create_pod(&pod).await?;
        let stored = namespace.debug_pod("app", debugger).await??;
        // Both have the defaults of the API server.
        let expected = injected(&stored["spec"]["containers"][0]);
        assert_eq!(injected(ephemeral(&stored, "debugger")), expected, "the API server accepts the container");
    }
    Ok(())
}

#[tokio::test]
async fn without_the_key_an_ephemeral_container_stays_as_it_is() -> Result<()> {
    let ampoule = Ampoule::start(&v1()).await?;
    let added = [json!({ "name": "debugger", "image": "i" })];
    let response = ampoule.review_once(&Review::of_debugging(&workload(), "default", &added)).await?;
    assert!(response.allowed && response.patch.is_empty(), "{response:?}");
    Ok(())
}

#[tokio::test]
async fn a_native_sidecar_gets_what_an_init_container_gets() -> Result<()> {
    let (namespace, ampoule) = registered("shapes-sidecar", &v1()).await?;
    let mut pod = workload();
    pod["spec"]["initContainers"] = json!([
        { "name": "prepare", "image": "i" },
        { "name": "proxy", "image": "i", "restartPolicy": "Always" },
    ]);
    // An older API server drops the field, so that the review of a newer one is sent as well.
    let review = Review::of(&pod, namespace.name());
    let mut mutated = review.object().clone();
    json_patch::patch(&mut mutated, &ampoule.review_once(&review).await?.patch)?;
    let stored = namespace.create_pod(&pod).await?;
    for pod in [&mutated, &stored] {
        let [prepare, proxy] = [0, 1].map(|i| injected(&pod["spec"]["initContainers"][i]));
        assert_eq!(prepare, proxy);
        assert_eq!(proxy["env"].as_array().map(Vec::len), Some(5));
    }
    assert_eq!(mutated["spec"]["initContainers"][1]["restartPolicy"], "Always");
    if ApiServer::shared().await?.has_version((1, 29), "a native sidecar on an API server") {
        assert_eq!(stored["spec"]["initContainers"][1]["restartPolicy"], "Always");
    }
    Ok(())
}

#[tokio::test]
async fn a_pod_for_windows_gets_references_or_is_refused() -> Result<()> {
    let windows = |name: &str| {
        let mut pod = asking(name, [request("db", "token", EnvVar, "")]);
        // `spec.os` exists since 1.25.
        pod["spec"]["nodeSelector"] = json!({ "kubernetes.io/os": "windows" });
        pod["spec"]["os"] = json!({ "name": "windows" });
        pod
    };
    let (namespace, _ampoule) = registered("shapes-windows", &v1()).await?;
    let stored = namespace.create_pod(&windows("refers")).await?;
    assert_eq!(stored["spec"]["initContainers"], Value::Null);
    let names = |pod: &Value| injected(&pod["spec"]["containers"][0])["env"].to_string();
    ensure!(names(&stored).contains("secretKeyRef"), "{stored}");

    let pulls = "  - name: azure\n    component: builtin:azure\n    limits: { deadlineMillis: 5000 }\n";
    let (namespace, _ampoule) = registered("shapes-windows-pull", &config("flyte-v1", pulls)).await?;
    let mut pod = windows("pulls");
    pod["metadata"]["annotations"] =
        json!({ "ampoule.dev/secrets": "[{ group: 'https://v.vault.azure.net/secrets/a', key: k, file: true }]" });
    let refusal = namespace.try_create_pod(&pod).await?.expect_err("a Linux container");
    let message = refusal.by("secrets").context("the webhook refused it")?;
    ensure!(
        message.contains("azure: unsupported: the plugin adds init container ")
            && message.contains("which needs Linux, and the pod is for Windows"),
        "{message}"
    );
    // The next injector refers to a Secret.
    let (namespace, _ampoule) = registered("shapes-windows-both", &config("flyte-v1", &[pulls, K8S].concat())).await?;
    let list = "[{ group: db, key: token, env: TOKEN }]";
    pod["metadata"]["annotations"] = json!({ "ampoule.dev/secrets": list });
    let stored = namespace.create_pod(&pod).await?;
    assert_eq!(stored["spec"]["initContainers"], Value::Null);
    ensure!(names(&stored).contains("secretKeyRef"), "{stored}");
    Ok(())
}

#[tokio::test]
async fn a_mirror_of_a_static_pod_is_left_unchanged_with_a_warning() -> Result<()> {
    let (namespace, _ampoule) = registered("shapes-mirror", &v1()).await?;
    let mut mirror = workload();
    mirror["metadata"]["annotations"]["kubernetes.io/config.mirror"] = json!("0123");
    mirror["spec"]["nodeName"] = json!("node");
    let warnings = namespace.warnings(&mirror).await?;
    let ours: Vec<_> = warnings.iter().filter(|warning| warning.contains("flyte.secrets/s0")).collect();
    assert_eq!(ours.len(), 1, "{warnings:?}");
    assert!(ours[0].contains("is ignored: this is the mirror of a static pod"), "{}", ours[0]);
    mirror["metadata"]["name"] = json!("second");
    let stored = namespace.create_pod(&mirror).await?;
    assert_eq!(stored["spec"]["containers"][0]["env"], json!([{ "name": "OWN", "value": "1" }]));
    assert_eq!(stored["spec"]["volumes"], Value::Null);
    Ok(())
}
