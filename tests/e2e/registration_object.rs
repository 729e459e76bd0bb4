//! A registration that Helm or kubectl creates: the process sets its `caBundle`, and nothing else.
//!
//! `tests/attack/service_account.rs` tests what its service account may do.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{Ampoule, ApiServer, Connection, Renderers, asking, eventually, free_ports};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Service};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    cluster::NOTICED,
    release::{Release, render},
    support::request,
};

/// Time in which a process without the right to repair would have repaired the object.
const UNREPAIRED: Duration = Duration::from_secs(3);

/// The parts of the process that are ready, and the reasons of the others.
async fn readyz(admin: u16) -> Result<String> {
    let mut connection = Connection::plain(SocketAddr::from(([127, 0, 0, 1], admin))).await?;
    Ok(String::from_utf8(connection.get("/readyz?verbose").await?.body)?)
}

async fn repairs(ampoule: &Ampoule) -> Result<f64> {
    ampoule.metric("ampoule_registration_repairs_total").await
}

async fn differs(ampoule: &Ampoule) -> Result<f64> {
    ampoule.metric("ampoule_registration_differs").await
}

/// The `caBundle` of each webhook, and the failure policy of the first one.
async fn stored(registrations: &Api<MutatingWebhookConfiguration>, name: &str) -> Result<(Vec<Value>, Value)> {
    let stored = serde_json::to_value(registrations.get(name).await?)?;
    let webhooks = stored["webhooks"].as_array().context("webhooks")?;
    let bundles = webhooks.iter().map(|webhook| webhook["clientConfig"]["caBundle"].clone()).collect();
    Ok((bundles, webhooks[0]["failurePolicy"].clone()))
}

/// Waits until both webhooks have a `caBundle`.
async fn trusted(registrations: &Api<MutatingWebhookConfiguration>, name: &str) -> Result<()> {
    eventually("a caBundle", NOTICED, async || {
        let (bundles, _) = stored(registrations, name).await?;
        ensure!(bundles.len() == 2 && bundles.iter().all(Value::is_string), "{bundles:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_process_waits_for_the_object_and_maintains_only_its_ca_bundle() -> Result<()> {
    let [port, admin] = free_ports()?;
    let name = "object";
    let objects = render(name, &[&format!("service.port={port}")])?;
    let release = Release::install_rights(ApiServer::shared().await?, objects, name, None).await?;
    let service =
        json!({ "metadata": { "name": name }, "spec": { "type": "ExternalName", "externalName": "localhost" } });
    release.namespace.api::<Service>().create(&PostParams::default(), &serde_json::from_value(service)?).await?;
    release.init_certs()?;
    let registrations = release.namespace.cluster_wide::<MutatingWebhookConfiguration>();

    let listen = [format!("--listen=127.0.0.1:{port}"), format!("--admin=127.0.0.1:{admin}")];
    let listen: Vec<_> = listen.iter().flat_map(|argument| argument.split('=')).collect();
    let start = release.start_with(&listen);
    let create = async {
        eventually("the reason to wait", NOTICED, async || {
            let expected = "[-]registration failed: the MutatingWebhookConfiguration object (registration.name) does \
                            not exist: apply the chart's or the kustomization's object, or set registration.create\n";
            let found = readyz(admin).await?;
            ensure!(found.contains(expected), "{found}");
            Ok(())
        })
        .await?;
        ensure!(registrations.get_opt(name).await?.is_none(), "the process created the object");
        release.create_registration().await
    };
    let (ampoule, created) = tokio::join!(start, create);
    created?;
    let ampoule = ampoule?;
    trusted(&registrations, name).await?;
    eventually("a pod with its secret", NOTICED, async || {
        let pod = asking("pod", [request("group", "key", EnvVar, "")]);
        let created = release.namespace.dry_run_pod(&pod).await??;
        let env = created["spec"]["containers"][0]["env"].to_string();
        ensure!(env.contains("secretKeyRef"), "{env}");
        Ok(())
    })
    .await?;
    ensure!(repairs(&ampoule).await? == 0.0, "the first caBundle is no repair");
    ensure!(differs(&ampoule).await? == 0.0, "the object has every configured field");

    let edit = |fields: Value| {
        let mut webhook = json!({ "name": "secrets.ampoule.dev" });
        webhook.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        Patch::Strategic(json!({ "webhooks": [webhook] }))
    };
    let without_bundle = edit(json!({ "clientConfig": { "caBundle": null } }));
    registrations.patch(name, &PatchParams::default(), &without_bundle).await?;
    trusted(&registrations, name).await?;
    eventually("a count", NOTICED, async || {
        ensure!(repairs(&ampoule).await? == 1.0);
        Ok(())
    })
    .await?;

    registrations.patch(name, &PatchParams::default(), &edit(json!({ "failurePolicy": "Ignore" }))).await?;
    let difference = "the MutatingWebhookConfiguration differs from the configuration; the process does not change \
                      this field (registration.create is false)";
    eventually("a warning", NOTICED, async || {
        let log = ampoule.log()?;
        ensure!(log.contains(difference) && log.contains("webhooks[secrets.ampoule.dev].failurePolicy"), "{log}");
        Ok(())
    })
    .await?;
    tokio::time::sleep(UNREPAIRED).await;
    assert_eq!(stored(&registrations, name).await?.1, "Ignore");
    assert_eq!(ampoule.log()?.matches(difference).count(), 1);
    ensure!(differs(&ampoule).await? == 1.0);

    registrations.delete(name, &DeleteParams::default()).await?;
    release.create_registration().await?;
    trusted(&registrations, name).await?;
    eventually("no difference", NOTICED, async || {
        ensure!(differs(&ampoule).await? == 0.0);
        Ok(())
    })
    .await?;
    ampoule.stop().await?.ensure_clean()?;
    assert_eq!(stored(&registrations, name).await?.1, "Fail");
    Ok(())
}

#[test]
fn uninstall_leaves_an_object_that_the_process_did_not_create() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("ampoule.yaml");
    fs::write(&config, "registration: { enabled: true }\ninjectors: [{ name: k8s, component: 'builtin:k8s' }]\n")?;
    let output = Ampoule::command()?.arg("uninstall").arg("--config").arg(&config).output()?;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr)?,
        "error: registration.create is false: delete the MutatingWebhookConfiguration ampoule with the program that \
         created it, for example with helm uninstall or kubectl delete\n"
    );
    Ok(())
}

/// Sets a `caBundle` as the process does, runs an upgrade, and compares the `caBundle` after it.
async fn check_upgrade(namespace: &str, mut upgrade: impl FnMut(u32) -> Result<()>) -> Result<()> {
    let namespace = ApiServer::shared().await?.namespace(namespace).await?;
    let name = namespace.name().to_owned();
    let registrations = namespace.cluster_wide::<MutatingWebhookConfiguration>();
    upgrade(3)?;
    let client = json!({ "caBundle": "AAAA" });
    let webhooks = ["secrets.ampoule.dev", "people.ampoule.dev"];
    let webhooks = webhooks.map(|webhook| json!({ "name": webhook, "clientConfig": client }));
    let params = PatchParams { field_manager: Some("ampoule".to_owned()), ..PatchParams::default() };
    registrations.patch(&name, &params, &Patch::Strategic(json!({ "webhooks": webhooks }))).await?;
    upgrade(4)?;
    let found = serde_json::to_value(registrations.get(&name).await?)?;
    for webhook in found["webhooks"].as_array().context("webhooks")? {
        assert_eq!(webhook["timeoutSeconds"], 4, "the upgrade changed the object");
        assert_eq!(webhook["clientConfig"]["caBundle"], "AAAA");
    }
    registrations.delete(&name, &DeleteParams::default()).await?;
    Ok(())
}

/// Writes a file with an administrator's access into the folder.
async fn kubeconfig(folder: &Path) -> Result<String> {
    let path = folder.join("kubeconfig");
    fs::write(&path, ApiServer::shared().await?.admin_kubeconfig())?;
    Ok(path.display().to_string())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Copies the chart with the template of the registration only: API servers before 1.21 do not know
/// all other objects. Without `kubeVersion`, because distributions build API servers whose version
/// is not the one of Kubernetes.
fn registration_chart(folder: &Path) -> Result<PathBuf> {
    let (from, chart) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/chart"), folder.join("chart"));
    fs::create_dir_all(chart.join("templates"))?;
    for file in ["values.yaml", "templates/_helpers.tpl", "templates/webhook.yaml"] {
        fs::copy(from.join(file), chart.join(file)).context(file)?;
    }
    let metadata = fs::read_to_string(from.join("Chart.yaml"))?;
    let metadata: Vec<_> = metadata.lines().filter(|line| !line.starts_with("kubeVersion:")).collect();
    fs::write(chart.join("Chart.yaml"), metadata.join("\n"))?;
    Ok(chart)
}

#[tokio::test]
async fn helm_upgrade_keeps_the_ca_bundle() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let kubeconfig = kubeconfig(folder.path()).await?;
    let chart = registration_chart(folder.path())?;
    for (name, apply) in [("helm-server-side", "true"), ("helm-client-side", "false")] {
        let selector = crate::release::selector(name);
        check_upgrade(name, |timeout| {
            let mut helm = Renderers::find()?.program("helm");
            helm.args(["upgrade", "--install", "release"]).arg(&chart).args(["--namespace", name]);
            helm.args(["--kubeconfig", &kubeconfig, "--server-side", apply]);
            helm.args(["--set", &format!("fullnameOverride={name},webhook.timeoutSeconds={timeout}")]);
            run(helm.args(["--set-json", &format!("config.registration.namespaceSelector={selector}")]))
        })
        .await
        .context(name)?;
    }
    Ok(())
}

#[tokio::test]
async fn kubectl_apply_keeps_the_ca_bundle() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let kubeconfig = kubeconfig(folder.path()).await?;
    let name = "kubectl-apply";
    let object = render(name, &["webhook.matchConditions=false"])?
        .into_iter()
        .find(|object| object["kind"] == "MutatingWebhookConfiguration");
    let object = object.context("the chart has the object")?;
    check_upgrade(name, |timeout| {
        let mut object = object.clone();
        for webhook in object["webhooks"].as_array_mut().context("webhooks")? {
            webhook["timeoutSeconds"] = json!(timeout);
        }
        let file = folder.path().join("object.json");
        fs::write(&file, object.to_string())?;
        let mut kubectl = Renderers::find()?.program("kubectl");
        kubectl.args(["apply", "--kubeconfig", &kubeconfig, "--filename"]).arg(&file);
        run(&mut kubectl)
    })
    .await
}
