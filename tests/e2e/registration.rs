//! A webhook that manages its own registration and certificate: it reverts changes, and changes its
//! CA without a refused pod.
//!
//! The real API server creates the pods and calls the process by its Service's name.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{Ampoule, ApiServer, Connection, Namespace, Trust, asking, eventually, free_ports};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    cluster::{Installed, NOTICED},
    support::request,
};

const ADOPTED: &str = "ampoule_certificate_reloads_total{result=\"adopted\"}";

/// Creates a pod and verifies its secret.
async fn create(namespace: &Namespace, name: &str) -> Result<()> {
    let created = namespace.create_pod(&asking(name, [request("group", "key", EnvVar, "")])).await?;
    let env = &created["spec"]["containers"][0]["env"];
    ensure!(env.to_string().contains("secretKeyRef"), "{name} has no secret: {env}");
    Ok(())
}

async fn repairs(ampoule: &Ampoule) -> Result<u32> {
    let text = ampoule.admin("/metrics").await?.text();
    let line = text.lines().find_map(|line| line.strip_prefix("ampoule_registration_repairs_total "));
    Ok(line.context("no such metric")?.parse()?)
}

#[tokio::test]
async fn a_changed_registration_is_restored_and_counted() -> Result<()> {
    let [port] = free_ports()?;
    let installed = Installed::new("kept-right", port, "{ mode: cluster, secretName: kept-right }").await?;
    let ampoule = installed.start(port).await?;
    let first = installed.registration().await?;
    eventually("the first pod", NOTICED, async || create(&installed.namespace, "first").await).await?;
    let webhooks = installed.namespace.cluster_wide::<MutatingWebhookConfiguration>();
    let webhook = |change: Value| {
        let mut webhook = json!({ "name": "secrets.ampoule.dev" });
        webhook.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!({ "webhooks": [webhook] })
    };
    let edits = [
        ("the caBundle", webhook(json!({ "clientConfig": { "caBundle": null } }))),
        ("the rules", webhook(json!({ "rules": [] }))),
        ("the policy", webhook(json!({ "failurePolicy": "Ignore", "timeoutSeconds": 1 }))),
        ("a selector", webhook(json!({ "objectSelector": { "matchLabels": { "further": "label" } } }))),
        (
            "the Service",
            webhook(json!({ "clientConfig": { "service": null, "url": "https://127.0.0.1:1/mutate--v1-pod" } })),
        ),
    ];
    for (i, (what, edit)) in edits.iter().enumerate() {
        webhooks.patch(installed.name(), &PatchParams::default(), &Patch::Strategic(edit)).await.context(*what)?;
        eventually(what, NOTICED, async || {
            let found = installed.registration().await?;
            ensure!(found["webhooks"] == first["webhooks"], "{found}");
            let counted = repairs(&ampoule).await?;
            ensure!(counted as usize == i + 1, "{counted} changes are counted");
            Ok(())
        })
        .await?;
    }
    webhooks.delete(installed.name(), &DeleteParams::default()).await?;
    eventually("the whole", NOTICED, async || {
        ensure!(installed.registration().await?["webhooks"] == first["webhooks"], "another");
        ensure!(repairs(&ampoule).await? as usize == edits.len() + 1, "not counted");
        Ok(())
    })
    .await?;
    eventually("the last pod", NOTICED, async || create(&installed.namespace, "last").await).await?;
    let log = ampoule.log()?;
    assert!(log.contains(r#""changed":"webhooks[secrets.ampoule.dev].rules""#), "{log}");
    assert!(!log.contains("cannot be looked after"), "{log}");
    let asked = ApiServer::shared().await?.audit(installed.name())?;
    let forbidden: Vec<_> = asked.iter().filter(|event| event["responseStatus"]["code"] == 403).collect();
    assert!(!asked.is_empty() && forbidden.is_empty(), "{forbidden:#?}");

    ampoule.stop().await?.ensure_clean()?;
    assert_eq!(installed.registration().await?["webhooks"], first["webhooks"], "the registration outlives the process");
    Ok(())
}

#[tokio::test]
async fn foreign_webhooks_and_fields_are_kept() -> Result<()> {
    let [port] = free_ports()?;
    let installed = Installed::new("beside-ours", port, "{ mode: cluster, secretName: beside-ours }").await?;
    let ampoule = installed.start(port).await?;
    let webhooks = installed.namespace.cluster_wide::<MutatingWebhookConfiguration>();
    let mut theirs = installed.registration().await?["webhooks"][0].clone();
    theirs["name"] = json!("theirs.example.org");
    theirs["failurePolicy"] = json!("Ignore");
    let edit = json!({ "webhooks": [theirs] });
    webhooks.patch(installed.name(), &PatchParams::default(), &Patch::Strategic(&edit)).await?;
    let edit = json!({ "webhooks": [{ "name": "secrets.ampoule.dev", "timeoutSeconds": 3 }] });
    webhooks.patch(installed.name(), &PatchParams::default(), &Patch::Strategic(&edit)).await?;
    eventually("a repair", NOTICED, async || {
        ensure!(repairs(&ampoule).await? == 1, "none yet");
        Ok(())
    })
    .await?;
    let found = installed.registration().await?;
    let mut names: Vec<_> =
        found["webhooks"].as_array().context("a list")?.iter().map(|found| &found["name"]).collect();
    names.sort_by_key(|name| name.to_string());
    assert_eq!(names, ["people.ampoule.dev", "secrets.ampoule.dev", "theirs.example.org"]);
    ampoule.stop().await?.ensure_clean()
}

#[tokio::test]
async fn uninstall_removes_only_the_registration() -> Result<()> {
    let [port] = free_ports()?;
    let installed = Installed::new("uninstall", port, "{ mode: cluster, secretName: uninstall }").await?;
    let replicas = [installed.start(port).await?, installed.start(0).await?];
    let run = || {
        let output = installed.command(&["uninstall"])?.output()?;
        anyhow::Ok((output.status.code(), String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
    };
    let (code, _, output) = run()?;
    assert_eq!(code, Some(1), "the process itself has no right to");
    let expected = "error: cannot remove the MutatingWebhookConfiguration uninstall (registration.name): ";
    assert!(output.starts_with(expected) && output.contains("is forbidden"), "{output}");
    installed.as_admin()?;
    let removed = "mutatingwebhookconfiguration uninstall: removed\n";
    assert_eq!(run()?, (Some(0), removed.to_owned(), String::new()));
    for replica in replicas {
        let exit = replica.stop().await?;
        exit.ensure_clean()?;
        assert!(exit.log.contains("the registration was uninstalled and is no longer maintained"), "{}", exit.log);
    }
    let gone = "mutatingwebhookconfiguration uninstall: not found\n";
    assert_eq!(run()?, (Some(0), gone.to_owned(), String::new()));
    assert!(installed.namespace.api::<Secret>().get_opt("uninstall").await?.is_some());
    installed.start(port).await?.stop().await?.ensure_clean()?;
    assert_eq!(run()?, (Some(0), removed.to_owned(), String::new()), "a start registers again");
    Ok(())
}

/// Creates pods until `stop`; returns their number.
async fn keep_creating(namespace: Namespace, stop: Arc<AtomicBool>) -> Result<u32> {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        create(&namespace, &format!("pod-{count}")).await?;
        count += 1;
        sleep(Duration::from_millis(50)).await;
    }
    Ok(count)
}

/// Verifies that a client that trusts only this CA can open a connection to a replica.
async fn serves_under(ampoule: &Ampoule, ca: &str, host: &str) -> Result<()> {
    Connection::tls(ampoule.webhook(), &Trust::root(ca)?.named(host)?).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_with_its_ca_while_pods_are_created() -> Result<()> {
    let [port] = free_ports()?;
    // Renewed after 40 seconds, trusted 2 seconds before it is served; the previous CA is trusted
    // for 6 more.
    let certificates = "{ mode: cluster, secretName: renewed, validitySeconds: 60 }";
    let installed = Installed::new("renewed", port, certificates).await?;
    let replicas = [installed.start(port).await?, installed.start(0).await?];
    let host = "renewed.renewed.svc";
    let old = installed.trusted().await?;
    eventually("the first pod", NOTICED, async || create(&installed.namespace, "first").await).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(keep_creating(installed.namespace.clone(), stop.clone()));

    let started = Instant::now();
    let limit = Duration::from_secs(60);
    let early = Cell::new(false);
    let both = eventually("a second CA beside the first", limit, async || {
        // This order: a certificate that is served must be trusted already.
        let mut adopted = 0.0;
        for replica in &replicas {
            adopted += replica.metric(ADOPTED).await?;
        }
        let trusted = installed.trusted().await?;
        if trusted == old && adopted > 0.0 {
            early.set(true);
        }
        ensure!(trusted != old && trusted.contains(&old), "{trusted}");
        Ok(trusted)
    })
    .await?;
    println!("trusted after {:.1} s", started.elapsed().as_secs_f64());
    assert!(!early.get(), "the old one is served until the new one is trusted");
    let new = both.replace(&old, "");
    eventually("the new certificate", NOTICED, async || {
        for replica in &replicas {
            serves_under(replica, &new, host).await?;
        }
        Ok(())
    })
    .await?;
    println!("served after {:.1} s", started.elapsed().as_secs_f64());
    eventually("the old CA gone", NOTICED, async || {
        let trusted = installed.trusted().await?;
        ensure!(trusted == new, "{trusted}");
        Ok(())
    })
    .await?;
    println!("alone after {:.1} s", started.elapsed().as_secs_f64());
    stop.store(true, Ordering::Relaxed);
    let created = load.await?.context("no pod is refused")?;
    println!("{created} pods created meanwhile");
    assert!(created > 50, "{created} pods are too few for a load");
    for replica in replicas {
        assert_eq!(repairs(&replica).await?, 0, "replicas do not treat each other's CA as foreign");
        let exit = replica.stop().await?;
        exit.ensure_clean()?;
        assert!(!exit.log.contains("cannot be looked after"), "{}", exit.log);
    }
    Ok(())
}

/// The Secret that `ampoule init-certs` filled, and the folder from which the process serves.
#[tokio::test]
async fn a_deleted_secret_of_init_certs_is_restored_with_the_same_pair() -> Result<()> {
    let [port] = free_ports()?;
    let certificates = "{ secretName: restored, copyToCertDir: true, validitySeconds: 120 }";
    let installed = Installed::new("restored", port, certificates).await?;
    let folder = tempfile::tempdir()?;
    installed.reconfigure("server: { ", &format!("server: {{ certDir: {}, ", folder.path().display()))?;
    let output = installed.command(&["init-certs"])?.output()?;
    ensure!(output.status.success(), "{output:?}");
    let ampoule = installed.start(port).await?;
    let secrets = installed.namespace.api::<Secret>();
    let before = secrets.get("restored").await?.data;
    secrets.delete("restored", &DeleteParams::default()).await?;
    eventually("the Secret", NOTICED, async || {
        ensure!(secrets.get("restored").await?.data == before, "another pair");
        Ok(())
    })
    .await?;
    let log = ampoule.log()?;
    assert!(log.contains("the deleted certificate Secret is restored"), "{log}");
    ampoule.stop().await?.ensure_clean()
}

#[tokio::test]
async fn a_deleted_secret_is_recreated_while_pods_are_created() -> Result<()> {
    let [port] = free_ports()?;
    let certificates = "{ mode: cluster, secretName: deleted, validitySeconds: 120 }";
    let installed = Installed::new("deleted", port, certificates).await?;
    let ampoule = installed.start(port).await?;
    eventually("the first pod", NOTICED, async || create(&installed.namespace, "first").await).await?;
    let old = installed.trusted().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(keep_creating(installed.namespace.clone(), stop.clone()));
    let secrets = installed.namespace.api::<Secret>();
    secrets.delete("deleted", &DeleteParams::default()).await?;
    eventually("another certificate", NOTICED, async || {
        let new = installed.certificate("ca.crt").await?;
        ensure!(new != old, "the same");
        serves_under(&ampoule, &new, "deleted.deleted.svc").await
    })
    .await?;
    // A damaged Secret.
    let broken = json!({ "data": { "tls.key": null } });
    secrets.patch("deleted", &PatchParams::default(), &Patch::Merge(&broken)).await?;
    eventually("a third certificate", NOTICED, async || {
        serves_under(&ampoule, &installed.certificate("ca.crt").await?, "deleted.deleted.svc").await?;
        ensure!(installed.certificate("tls.key").await?.contains("PRIVATE KEY"), "no key");
        Ok(())
    })
    .await?;
    stop.store(true, Ordering::Relaxed);
    load.await?.context("no pod is refused")?;
    let log = ampoule.stop().await?.log;
    assert!(log.contains("replaced, because tls.key is missing"), "{log}");
    Ok(())
}
