//! Delivery `pod`: the pod fetches its secrets with its own identity, and the webhook and the API
//! server never have them.
//!
//! The containers of the pod run on a node of the test.

use std::fs;

use ampoule_core::MountRequirement::{EnvVar, File};
use ampoule_tests::{Ampoule, asking};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use self::place::{APP, DISTROLESS, ON_DISK, Place, PodStore, QUOTED, SCRATCH, VALUE, with_vault};
use crate::support::request;

#[path = "pod_fetch/clouds.rs"]
mod clouds;
#[path = "pod_fetch/components.rs"]
mod components;
#[path = "pod_fetch/hostile.rs"]
mod hostile;
#[path = "pod_fetch/place.rs"]
mod place;
#[path = "pod_fetch/refresh.rs"]
mod refresh;
#[path = "pod_fetch/reports.rs"]
mod reports;
#[path = "pod_fetch/start.rs"]
mod start;

#[test]
fn a_pod_fetches_its_secrets_with_its_own_identity() {
    with_vault("pod_fetch::a_pod_fetches_its_secrets_with_its_own_identity", fetch_in_pods);
}

async fn fetch_in_pods(vault: &PodStore) -> Result<()> {
    let place = Place::new("pod-fetch", vault).await?;
    let ampoule = place.webhook("both").await?;
    let script = "printenv DB_PASSWORD; cat $DB_PASSWORD_FILE /etc/flyte/secrets/db/token; id -u";
    for (what, changes, user) in [
        ("an ordinary pod", json!({}), "1000"),
        (
            "an image without a system",
            json!({ "containers": [{ "name": "app", "image": SCRATCH, "command": ["/app/sh", "-c", SHELL_SCRIPT] }] }),
            "1000",
        ),
        (
            "an image of libraries, with a user of its own",
            json!({ "containers": [{ "name": "app", "image": DISTROLESS, "command": ["/app/sh", "-c", SHELL_SCRIPT] }] }),
            "65532",
        ),
        (
            "a sidecar of its own, before and after",
            json!({ "initContainers": [own_sidecar("one"), own_init_container(), own_sidecar("two")] }),
            "1000",
        ),
        (
            "any user, as on OpenShift",
            json!({ "securityContext": { "runAsUser": 1_000_660_000, "fsGroup": 5 } }),
            "1000660000",
        ),
        ("root", json!({ "securityContext": { "runAsUser": 0 } }), "0"),
        ("a Job", json!({ "restartPolicy": "Never" }), "1000"),
        ("no root", json!({ "securityContext": { "runAsNonRoot": true } }), "1000"),
        ("a read-only root and no rights", restricted(script), "1000"),
        ("an init container of its own", json!({ "initContainers": [own_init_container()] }), "1000"),
    ] {
        let mut pod = pod(script);
        merge(&mut pod["spec"], &changes);
        let pod = place.mutate(&ampoule, &pod).await.context(what)?;
        ensure_absent(&pod)?;
        let ended = place.run(&pod).await.context(what)?;
        let fetch = ended.first().context("no container ran")?;
        assert_eq!(
            (fetch.name.as_str(), fetch.status, fetch.reason.as_str()),
            ("ampoule-fetch", 0, ""),
            "{what}: {fetch:?}"
        );
        for own in &ended[1..] {
            assert_eq!(own.output, format!("{VALUE}\n{VALUE}{QUOTED}{user}\n"), "{what}: {own:?}");
        }
        let own_containers = pod["spec"]["initContainers"].as_array().map_or(0, Vec::len);
        assert_eq!(ended.len(), 1 + own_containers, "{what}: {ended:?}");
        for text in [&fetch.output, &fetch.errors] {
            assert!(!text.contains("zq7canarybird"), "{what}: {text}");
        }
        let line: Value = serde_json::from_str(fetch.output.trim()).with_context(|| fetch.output.clone())?;
        assert_eq!(line["secrets"].as_array().map(Vec::len), Some(2), "{what}: {line}");
        let asked = std::mem::take(&mut *place.store.asked.lock().expect("no panic"));
        assert_eq!((asked.logins, asked.reads.len()), (1, 2), "{what}");
    }
    fetch_other_forms(&place, &ampoule).await?;
    ensure_absent_on_nodes(&place, &ampoule).await?;
    ensure_memory_absent(&ampoule)?;
    let exit = ampoule.stop().await?;
    assert!(!exit.log.contains("zq7canarybird"), "{}", exit.log);
    exit.ensure_clean()
}

/// Values that no variable can express, and files that the program makes.
async fn fetch_other_forms(place: &Place<'_>, ampoule: &Ampoule) -> Result<()> {
    // No variable can be expressed: the kubelet needs the file of variables all the same.
    let mut pod = asking("app", [request("db", "token", EnvVar, "TOKEN")]);
    pod["spec"]["containers"][0] =
        json!({ "name": "app", "image": APP, "command": ["/bin/sh", "-c", "cat $TOKEN_FILE"] });
    let ended = place.run(&place.mutate(ampoule, &pod).await?).await?;
    assert_eq!(ended.last().map(|app| app.output.as_str()), Some(QUOTED), "{ended:?}");
    // The program makes files of the fields of a value, and of several values.
    let list = "
- { group: db, keys: all, path: /etc/all, mode: 0440 }
- { path: /etc/app/dsn, template: 'db://{{ secret \"db\" \"password\" }}@{{ secret \"db\" \"password\" }}' }
- { group: absent, key: k, path: /etc/app/absent, optional: true }";
    let mut pod = asking("app", [""; 0]);
    pod["metadata"]["annotations"] = json!({ "ampoule.dev/secrets": list });
    let print = "cd /etc/all; stat -L -c '%a %n' *; cat password token; cat /etc/app/dsn; ls /etc/app";
    pod["spec"]["containers"][0] = json!({ "name": "app", "image": APP, "command": ["/bin/sh", "-c", print] });
    pod["spec"]["securityContext"] = json!({ "fsGroup": 1000 });
    let ended = place.run(&place.mutate(ampoule, &pod).await?).await?;
    let expected = format!("440 password\n440 token\n{VALUE}{QUOTED}db://{VALUE}@{VALUE}dsn\n");
    assert_eq!(ended.last().map(|app| app.output.as_str()), Some(expected.as_str()), "{ended:?}");
    Ok(())
}

/// Searches the disk of the node while a pod runs.
async fn ensure_absent_on_nodes(place: &Place<'_>, ampoule: &Ampoule) -> Result<()> {
    // A file is in memory only. A variable is also in the state of the container runtime, from
    // which nothing removes it: the pod with the variable is the last one.
    for mount in [File, EnvVar] {
        let mut pod = asking("app", [request("on-disk", "password", mount, "X")]);
        let script = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
        pod["spec"]["containers"][0] = json!({ "name": "app", "image": APP, "command": ["/bin/sh", "-c", script] });
        let node = place.node()?;
        let running = node.start(place.mutate(ampoule, &pod).await?, &place.namespace).await?;
        let found = node.files_with(ON_DISK, &place.namespace).await?;
        let (state, others): (Vec<_>, Vec<_>) = found.iter().partition(|path| node.is_runtime_state(path));
        assert!(others.is_empty() && state.is_empty() == (mount == File), "{mount:?}: {found:?}");
        let ended = running.stop().await?;
        assert_eq!(ended.last().map(|app| (app.name.as_str(), app.status)), Some(("app", 0)), "{ended:?}");
    }
    Ok(())
}

#[test]
fn a_pod_that_cannot_fetch_says_why() {
    with_vault("pod_fetch::a_pod_that_cannot_fetch_says_why", fail_in_pods);
}

async fn fail_in_pods(vault: &PodStore) -> Result<()> {
    let place = Place::new("pod-fetch-fails", vault).await?;
    let ampoule = place.webhook("file-key").await?;
    let late = "secret slow/password was not fetched by injector vault within 20 s (delivery.pod.totalSeconds): ";
    for (group, key, expected) in [
        (
            "db",
            "token",
            "the value of secret db/token contains a single quote, which fileKeyRef cannot express for the variable _FSEC_DB_TOKEN; \
          request the secret as a file, or set delivery.pod.variables to file or both",
        ),
        ("db", "absent", "secret db/absent cannot be fetched by injector vault: not found: "),
        ("absent", "password", "secret absent/password cannot be fetched by injector vault: not found: "),
        ("forbidden", "password", "secret forbidden/password cannot be fetched by injector vault: denied: "),
        ("slow", "password", late),
    ] {
        let mut pod = asking("app", [request(group, key, EnvVar, "X")]);
        pod["spec"]["containers"][0] = json!({ "name": "app", "image": APP, "command": ["/bin/true"] });
        let pod = place.mutate(&ampoule, &pod).await?;
        let ended = place.run(&pod).await?;
        let [fetch] = &ended[..] else { anyhow::bail!("{group}: {ended:?}") };
        assert!(fetch.reason.starts_with(expected) && fetch.status == 1, "{group}: {fetch:?}");
        assert!(!fetch.reason.contains("zq7canarybird") && !fetch.errors.contains("zq7canarybird"), "{fetch:?}");
    }
    // The author of the pod accepts a file instead.
    let mut pod = asking("app", [] as [String; 0]);
    let list = "[{ group: db, key: token, env: TOKEN, fallback: file }, { group: db, key: password, env: PASSWORD }]";
    pod["metadata"]["annotations"] = json!({ "ampoule.dev/secrets": list });
    let script = "printenv TOKEN; printenv PASSWORD; printenv PASSWORD_FILE; cat $TOKEN_FILE";
    pod["spec"]["containers"][0] = json!({ "name": "app", "image": APP, "command": ["/bin/sh", "-c", script] });
    let ended = place.run(&place.mutate(&ampoule, &pod).await?).await?;
    let expected = format!("{VALUE}\n{QUOTED}");
    assert_eq!(ended.last().map(|app| app.output.as_str()), Some(&*expected), "{ended:?}");
    let mut pod = asking("app", [request("db", "password", EnvVar, "X")]);
    pod["spec"]["serviceAccountName"] = json!("stranger");
    let ended = place.run(&place.mutate(&ampoule, &pod).await?).await?;
    let expected = "secret db/password cannot be fetched by injector vault: internal: the host cannot log in to \
                    192.0.2.1:8443: the login was refused; the log of the container has the cause";
    assert_eq!(ended.first().map(|fetch| fetch.reason.as_str()), Some(expected), "{ended:?}");
    // The store is down at first, and then answers.
    let mut pod = asking("app", [request("recovering", "password", EnvVar, "X")]);
    pod["spec"]["containers"][0] = json!({ "name": "app", "image": APP, "command": ["printenv", "X"] });
    let ended = place.run(&place.mutate(&ampoule, &pod).await?).await?;
    assert_eq!(ended.last().map(|app| app.output.as_str()), Some("zq7canarybird-value\n"), "{ended:?}");
    ampoule.stop().await?.ensure_clean()
}

/// Prints the same without other programs. The kernel knows the user.
const SHELL_SCRIPT: &str = r#"
echo "$DB_PASSWORD"
for path in "$DB_PASSWORD_FILE" /etc/flyte/secrets/db/token; do
    read -r line < "$path"
    printf %s "$line"
done
while read -r field user others; do
    if [ "$field" = Uid: ]; then echo "$user"; fi
done < /proc/self/status
"#;

/// A container of the pod's author that reads the same secrets before the others.
fn own_init_container() -> Value {
    let script = "printenv DB_PASSWORD; cat $DB_PASSWORD_FILE /etc/flyte/secrets/db/token; id -u";
    json!({ "name": "own", "image": APP, "command": ["/bin/sh", "-c", script] })
}

/// A sidecar of the pod's author that reads the same secrets.
fn own_sidecar(name: &str) -> Value {
    let script = "trap 'exit 0' TERM; printenv DB_PASSWORD; cat $DB_PASSWORD_FILE /etc/flyte/secrets/db/token; id -u; \
                  while :; do sleep 0.1; done";
    json!({ "name": name, "image": APP, "restartPolicy": "Always", "command": ["/bin/sh", "-c", script] })
}

/// The fields that the Pod Security Standard `restricted` requires, and a read-only root.
fn restricted(script: &str) -> Value {
    let rights = json!({
        "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "readOnlyRootFilesystem": true,
    });
    let app = json!({ "name": "app", "image": APP, "command": ["/bin/sh", "-c", script], "securityContext": rights });
    let pod = json!({ "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } });
    json!({ "securityContext": pod, "containers": [app] })
}

fn merge(target: &mut Value, changes: &Value) {
    for (key, value) in changes.as_object().into_iter().flatten() {
        target[key] = value.clone();
    }
}

/// Scans the memory of the webhook, which must never have had a value.
fn ensure_memory_absent(ampoule: &Ampoule) -> Result<()> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", ampoule.id()))?;
    let memory = fs::File::open(format!("/proc/{}/mem", ampoule.id()))?;
    let mut scanned = 0;
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw"))) {
        let (start, end) = line.split(' ').next().and_then(|range| range.split_once('-')).context("a range")?;
        let (start, end) = (u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?);
        let mut at = start;
        while at < end {
            let mut chunk = vec![0; usize::try_from((end - at).min(1 << 20))?];
            // Guard pages and reserved memory cannot be read.
            let Ok(read) = std::os::unix::fs::FileExt::read_at(&memory, &mut chunk, at) else { break };
            ensure!(read > 0, "the memory ends");
            scanned += read;
            let has_value = chunk[..read].windows(VALUE.len()).any(|bytes| bytes == VALUE.as_bytes());
            ensure!(!has_value, "the webhook's memory has the value in {line}");
            at += u64::try_from(read)?;
        }
    }
    ensure!(scanned > 1 << 20, "only {scanned} bytes were scanned");
    Ok(())
}

/// A pod with a variable and a file, whose container runs this script.
fn pod(script: &str) -> Value {
    let mut pod = asking("app", [request("db", "password", EnvVar, "DB_PASSWORD"), request("db", "token", File, "")]);
    pod["spec"]["containers"][0] = json!({ "name": "app", "image": APP, "command": ["/bin/sh", "-c", script] });
    pod
}

fn ensure_absent(pod: &Value) -> Result<()> {
    ensure!(!pod.to_string().contains("zq7canarybird"), "the pod has a value: {pod}");
    Ok(())
}
