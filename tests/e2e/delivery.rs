//! Values that reach a pod through a Secret, with a real API server: `builtin:embedded` fetches
//! them from Flyte's namespace for pods of other namespaces.
//!
//! Secrets of Flyte are created as its service does.

use std::{collections::BTreeSet, time::Duration};

use ampoule_core::MountRequirement::{EnvVar, File};
use ampoule_tests::{Ampoule, ApiServer, Namespace, asking, eventually};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    core::v1::{Pod, Secret},
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{config, request};

/// Not a word of the program or of its dependencies.
pub(crate) const CANARY: &str = "zq7canarybird";

/// Time for the sweeper, whose interval is one second and whose grace period is ten.
const SWEPT: Duration = Duration::from_secs(60);

/// A namespace with the Secrets of Flyte, and one with pods.
pub(crate) struct Place {
    secrets: Namespace,
    pub(crate) pods: Namespace,
}

/// The id of an organization's secret.
fn id(key: &str) -> String {
    format!("u__org__flyte__domain____project____key__{key}")
}

fn md5(id: &str) -> String {
    format!("{:x}", md5::compute(id))
}

/// A task's pod.
pub(crate) fn task(name: &str, requests: &[String]) -> Value {
    let mut pod = asking(name, requests.iter().cloned());
    for (label, value) in [("organization", "flyte"), ("domain", "development"), ("project", "flytesnacks")] {
        pod["metadata"]["labels"][label] = json!(value);
    }
    pod
}

// === impl Place ===

impl Place {
    pub(crate) async fn new(name: &str) -> Result<Self> {
        let server = ApiServer::shared().await?;
        let secrets = server.namespace(&format!("{name}-flyte")).await?;
        let place = Self { secrets, pods: server.namespace(name).await? };
        place.set("Key", CANARY).await?;
        Ok(place)
    }

    /// Creates or changes a secret of the organization.
    pub(crate) async fn set(&self, key: &str, value: &str) -> Result<()> {
        let id = id(key);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": md5(&id), "labels": { "app.flyte.org/managed": "true" } },
            "stringData": { id.as_str(): value },
        });
        let params = PatchParams::apply("writer").force();
        self.secrets.api::<Secret>().patch(&md5(&id), &params, &Patch::Apply(secret)).await?;
        Ok(())
    }

    /// Deletes a secret of the organization.
    pub(crate) async fn remove(&self, key: &str) -> Result<()> {
        self.secrets.api::<Secret>().delete(&md5(&id(key)), &DeleteParams::default()).await?;
        Ok(())
    }

    /// A configuration with this section `delivery`, and these keys of the injector.
    fn config(&self, delivery: &str, injector: &str) -> String {
        let namespace = self.secrets.name();
        let injector = format!(
            "  - name: embedded
    component: builtin:embedded
    settings: {{ k8s: {{ namespace: {namespace} }} }}
    limits: {{ deadlineMillis: 10000, queueWaitMillis: 10000 }}
    grants:
      kubernetesSecrets: [{{ namespace: {namespace}, matchLabels: {{ app.flyte.org/managed: 'true' }} }}]
{injector}"
        );
        format!("delivery: {delivery}\n{}", config("flyte-v2", &injector))
    }

    pub(crate) async fn start(&self, delivery: &str, injector: &str) -> Result<Ampoule> {
        let kubeconfig = tempfile::NamedTempFile::new()?.into_temp_path().keep()?;
        std::fs::write(&kubeconfig, ApiServer::shared().await?.admin_kubeconfig())?;
        let path = kubeconfig.to_str().context("a path in UTF-8")?;
        let environment = [("KUBECONFIG", path), ("POD_NAMESPACE", self.secrets.name())];
        Ampoule::start_with(&self.config(delivery, injector), &environment).await
    }

    /// The Secrets that carry values, in the namespace of the pods.
    async fn delivered(&self) -> Result<Vec<Secret>> {
        let labels = ListParams::default().labels("app.kubernetes.io/managed-by=ampoule");
        Ok(self.pods.api::<Secret>().list(&labels).await?.items)
    }

    async fn names(&self) -> Result<BTreeSet<String>> {
        Ok(self.delivered().await?.into_iter().filter_map(|secret| secret.metadata.name).collect())
    }
}

/// The name of the Secret that a variable of the first container refers to.
fn secret_of(pod: &Value, variable: &str) -> Result<String> {
    let env = pod["spec"]["containers"][0]["env"].as_array().context("no variables")?;
    let found = env.iter().find(|entry| entry["name"] == variable).context("no such variable")?;
    Ok(found["valueFrom"]["secretKeyRef"]["name"].as_str().context("no reference")?.to_owned())
}

#[tokio::test]
async fn a_fetched_value_is_in_one_immutable_secret_and_nowhere_in_the_pod() -> Result<()> {
    let place = Place::new("delivery").await?;
    let (first, second) = (place.start("{}", "").await?, place.start("{}", "").await?);
    place.pods.register(&first).await?;
    let requests = [request("", "Key", EnvVar, "TOKEN"), request("", "Key", File, "TOKEN_FILE")];

    let dry_run = async || secret_of(&place.pods.dry_run_pod(&task("dry", &requests)).await??, "TOKEN");
    let random = dry_run().await?;
    assert_eq!(place.names().await?, BTreeSet::new(), "a dry run writes nothing");
    let key = place.secrets.api::<Secret>().get_opt("ampoule-delivery-key").await?;
    assert!(key.is_none(), "a dry run does not create the key of the names");

    let created = place.pods.create_pod(&task("one", &requests)).await?;
    let name = secret_of(&created, "TOKEN")?;
    assert_ne!(name, random, "without a key, the names of a dry run are random");
    assert_eq!(dry_run().await?, name);
    assert!(!created.to_string().contains(CANARY), "{created}");
    let mount = json!({ "mountPath": "/etc/flyte/secrets", "readOnly": true });
    let mounts = &created["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!((&mounts["mountPath"], &mounts["readOnly"]), (&mount["mountPath"], &mount["readOnly"]));
    let projected = &created["spec"]["volumes"][0]["projected"];
    let items = json!([{ "secret": { "name": name, "items": [{ "key": "Key", "path": "Key" }] } }]);
    assert_eq!((&projected["sources"], &projected["defaultMode"]), (&items, &json!(0o444)));
    let env = created["spec"]["containers"][0]["env"].to_string();
    assert!(env.contains(r#"{"name":"TOKEN_FILE","value":"/etc/flyte/secrets/Key"}"#), "{env}");

    let secret = place.pods.api::<Secret>().get(&name).await?;
    assert_eq!((secret.immutable, secret.type_.as_deref()), (Some(true), Some("Opaque")));
    let data = secret.data.unwrap_or_default();
    assert!(data.values().all(|value| value.0 == CANARY.as_bytes()) && !data.is_empty());
    assert_eq!(secret.metadata.labels.unwrap_or_default()["ampoule.dev/injector"], "embedded");

    // A second review, by another replica, changes nothing and writes nothing.
    let mut copy = created.clone();
    copy["metadata"] = task("two", &requests)["metadata"].clone();
    let again = place.pods.create_pod(&copy).await?;
    assert_eq!(again["spec"]["volumes"], created["spec"]["volumes"]);
    let other = second.review_once(&ampoule_tests::Review::of(&task("three", &requests), place.pods.name())).await?;
    assert!(other.allowed, "{}", other.message);
    assert_eq!(place.names().await?, BTreeSet::from([name.clone()]));

    // A new value has a new name, and the pod's volume follows.
    place.set("Key", "second value").await?;
    let mut stale = created.clone();
    stale["metadata"] = task("four", &requests)["metadata"].clone();
    let updated = place.pods.create_pod(&stale).await?;
    let new = secret_of(&updated, "TOKEN")?;
    assert_ne!(new, name);
    assert!(!updated["spec"].to_string().contains(&name), "{updated}");

    for ampoule in [first, second] {
        let metrics = ampoule.admin("/metrics").await?.text();
        let exit = ampoule.stop().await?;
        exit.ensure_clean()?;
        assert!(!exit.log.contains(CANARY) && !metrics.contains(CANARY), "the canary is in the log");
        assert!(metrics.contains("ampoule_delivery_writes_total{result=\"created\"}"), "{metrics}");
    }
    let audit = serde_json::to_string(&ApiServer::shared().await?.audit_of_pods(place.pods.name())?)?;
    assert!(!audit.contains(CANARY), "{audit}");
    Ok(())
}

#[tokio::test]
async fn the_mode_and_the_namespaces_decide_about_a_value() -> Result<()> {
    let place = Place::new("delivery-modes").await?;
    let pod = task("task", &[request("", "Key", EnvVar, "TOKEN")]);
    let file = task("task", &[request("", "Key", File, "")]);
    let review = |pod: &Value| ampoule_tests::Review::of(pod, place.pods.name());
    for (delivery, injector, pod, expected) in [
        ("{}", "    delivery: reference\n", &pod, "the plugin would fetch a value, and its delivery is `reference`"),
        ("{}", "    delivery: inline\n    acceptPlaintext: true\n", &file, "a fetched value cannot be a file with"),
        ("{ namespaces: [elsewhere] }", "", &pod, "namespace delivery-modes is not one of delivery.namespaces"),
    ] {
        let ampoule = place.start(delivery, injector).await?;
        let refusal = ampoule.review_once(&review(pod)).await?;
        assert!(!refusal.allowed && refusal.message.contains(expected), "{}", refusal.message);
        let dry = ampoule.review_once(&review(pod).dry_run()).await?;
        assert_eq!(dry.message, refusal.message, "a dry run is refused as well");
    }
    let inline = place.start("{}", "    delivery: inline\n    acceptPlaintext: true\n").await?;
    let answer = inline.review_once(&review(&pod)).await?;
    assert!(answer.allowed && serde_json::to_string(&answer.patch)?.contains(CANARY), "{}", answer.message);
    let exit = inline.stop().await?;
    assert!(exit.log.contains("values are text in the specification of pods"), "{}", exit.log);
    assert_eq!(place.names().await?, BTreeSet::new());
    Ok(())
}

#[tokio::test]
async fn a_missing_right_is_named_in_the_refusal() -> Result<()> {
    let place = Place::new("delivery-rights").await?;
    let server = ApiServer::shared().await?;
    let account = place.secrets.create_service_account("webhook").await?;
    let kubeconfig = tempfile::NamedTempFile::new()?;
    std::fs::write(&kubeconfig, server.kubeconfig(&account))?;
    let path = kubeconfig.path().to_str().context("a path in UTF-8")?;
    let environment = [("KUBECONFIG", path), ("POD_NAMESPACE", place.secrets.name())];
    let ampoule = Ampoule::start_with(&place.config("{}", ""), &environment).await?;
    let pod = task("task", &[request("", "Key", EnvVar, "TOKEN")]);
    let message = async || -> Result<String> {
        let answer = ampoule.review_once(&ampoule_tests::Review::of(&pod, place.pods.name())).await?;
        ensure!(answer.allowed || matches!(answer.code, 403 | 500), "{}: {}", answer.code, answer.message);
        Ok(answer.message)
    };
    let rights = [
        (&["get"][..], "does not allow `get` on its Secret ampoule-delivery-key"),
        (&["get", "create"][..], "does not allow `patch` on Secrets in namespace delivery-rights"),
    ];
    assert!(message().await?.contains("does not allow `get` on Secret"), "the plugin may not read");
    grant(&place, &["get"]).await?;
    let denied = rights[0].1.replace("`get`", "`create`");
    eventually("the first right", SWEPT, async || {
        let message = message().await?;
        ensure!(message.contains(&denied), "{message}");
        Ok(())
    })
    .await?;
    grant(&place, rights[1].0).await?;
    eventually("the second right", SWEPT, async || {
        let message = message().await?;
        ensure!(message.is_empty(), "{message}");
        Ok(())
    })
    .await?;
    // Another process finds the Secret, and has to renew it.
    let other = Ampoule::start_with(&place.config("{}", ""), &environment).await?;
    let refusal = other.review_once(&ampoule_tests::Review::of(&pod, place.pods.name())).await?;
    assert!(refusal.message.contains(rights[1].1), "{}", refusal.message);
    Ok(())
}

/// Replaces the rights of the service account on Secrets.
async fn grant(place: &Place, verbs: &[&str]) -> Result<()> {
    let name = place.pods.name();
    let role: ClusterRole = serde_json::from_value(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": name },
        "rules": [{ "apiGroups": [""], "resources": ["secrets"], "verbs": verbs }],
    }))?;
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [{ "kind": "ServiceAccount", "name": "webhook", "namespace": place.secrets.name() }],
    }))?;
    let params = PatchParams::apply("test").force();
    place.pods.cluster_wide::<ClusterRole>().patch(name, &params, &Patch::Apply(role)).await?;
    place.pods.cluster_wide::<ClusterRoleBinding>().patch(name, &params, &Patch::Apply(binding)).await?;
    Ok(())
}

#[tokio::test]
async fn a_secret_without_a_pod_is_deleted_and_one_with_a_pod_gets_it_as_owner() -> Result<()> {
    let place = Place::new("delivery-sweep").await?;
    let ampoule = place.start("{ graceSeconds: 10, sweepIntervalSeconds: 1 }", "").await?;
    place.pods.register(&ampoule).await?;
    let requests = |key: &str| [request("", key, EnvVar, "TOKEN")];
    place.set("Other", "other value").await?;
    let (kept, gone) = (task("kept", &requests("Key")), task("gone", &requests("Other")));
    let (kept, gone) = (place.pods.create_pod(&kept).await?, place.pods.create_pod(&gone).await?);
    let (kept_secret, gone_secret) = (secret_of(&kept, "TOKEN")?, secret_of(&gone, "TOKEN")?);
    let pods: Api<Pod> = place.pods.api();
    pods.delete("gone", &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() }).await?;
    eventually("the end of the unused Secret", SWEPT, async || {
        let names = place.names().await?;
        ensure!(names == BTreeSet::from([kept_secret.clone()]), "{names:?}");
        Ok(())
    })
    .await?;
    let owners = eventually("an owner", SWEPT, async || {
        let secret = place.pods.api::<Secret>().get(&kept_secret).await?;
        secret.metadata.owner_references.filter(|owners| !owners.is_empty()).context("no owner yet")
    })
    .await?;
    assert_eq!((owners.len(), owners[0].kind.as_str(), owners[0].name.as_str()), (1, "Pod", "kept"));

    // Another pod of the same content renews the Secret, and removes the owner.
    place.pods.create_pod(&task("next", &requests("Key"))).await?;
    let secret = place.pods.api::<Secret>().get(&kept_secret).await?;
    assert_eq!(secret.metadata.owner_references.unwrap_or_default(), []);
    // A pod that needs the deleted Secret again gets it.
    let again = place.pods.create_pod(&task("again", &requests("Other"))).await?;
    assert_eq!(secret_of(&again, "TOKEN")?, gone_secret);
    assert!(place.names().await?.contains(&gone_secret));
    let metrics = ampoule.admin("/metrics").await?.text();
    assert!(metrics.contains("ampoule_delivery_swept_total 1"), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn a_hundred_pods_at_once_write_one_secret() -> Result<()> {
    let place = Place::new("delivery-many").await?;
    let ampoule = place.start("{}", "").await?;
    let pod = task("task", &[request("", "Key", EnvVar, "TOKEN")]);
    let review = ampoule_tests::Review::of(&pod, place.pods.name());
    let answers = futures_util::future::join_all((0..100).map(|_| ampoule.review_once(&review))).await;
    for answer in answers {
        let answer = answer?;
        assert!(answer.allowed, "{}", answer.message);
    }
    assert_eq!(place.names().await?.len(), 1);
    let metrics = ampoule.admin("/metrics").await?.text();
    assert!(metrics.contains("ampoule_delivery_writes_total{result=\"created\"} 1\n"), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn an_image_pull_secret_is_a_docker_configuration_that_no_container_sees() -> Result<()> {
    let place = Place::new("delivery-pull").await?;
    place.set("registry", r#"{"auths":{"registry.example":{"auth":"dTpw"}}}"#).await?;
    let names = "    settings: { k8s: { namespace: delivery-pull-flyte }, imagePull: { names: [registry, Key] } }";
    let config = place.config("{}", "").replace("    settings: { k8s: { namespace: delivery-pull-flyte } }", names);
    let kubeconfig = tempfile::NamedTempFile::new()?;
    std::fs::write(&kubeconfig, ApiServer::shared().await?.admin_kubeconfig())?;
    let path = kubeconfig.path().to_str().context("a path in UTF-8")?;
    let ampoule =
        Ampoule::start_with(&config, &[("KUBECONFIG", path), ("POD_NAMESPACE", place.secrets.name())]).await?;
    place.pods.register(&ampoule).await?;
    let mut pod = task("task", &[request("", "registry", EnvVar, "")]);
    pod["spec"]["imagePullSecrets"] = json!([{ "name": "mine" }]);
    let created = place.pods.create_pod(&pod).await?;
    let pull = created["spec"]["imagePullSecrets"].as_array().context("no pull secrets")?;
    assert_eq!((pull.len(), &pull[0]), (2, &json!({ "name": "mine" })));
    assert!(created["spec"]["containers"][0]["env"].is_null(), "{created}");
    let name = pull[1]["name"].as_str().context("a name")?;
    let secret = place.pods.api::<Secret>().get(name).await?;
    assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/dockerconfigjson"));
    let refusal = place.pods.try_create_pod(&task("other", &[request("", "Key", EnvVar, "")])).await?;
    let message = format!("{:?}", refusal.err().context("the value is no Docker configuration")?);
    assert!(message.contains("the value is no Docker configuration") && !message.contains(CANARY), "{message}");
    Ok(())
}

/// Pods of the next test; more of them with this variable, for a figure.
const COMING_AND_GOING: &str = "AMPOULE_SWEEP_PODS";

/// Pods that exist at the same time.
const AT_ONCE: usize = 16;

#[tokio::test]
async fn no_secret_of_a_pod_is_deleted_while_pods_come_and_go_and_none_remains() -> Result<()> {
    let count = std::env::var_os(COMING_AND_GOING).and_then(|count| count.to_str()?.parse().ok()).unwrap_or(320);
    let place = Place::new("delivery-churn").await?;
    for number in 0..AT_ONCE {
        place.set(&format!("Key{number}"), &format!("value {number}")).await?;
    }
    let ampoule = place.start("{ graceSeconds: 10, sweepIntervalSeconds: 1 }", "").await?;
    place.pods.register(&ampoule).await?;
    let lanes = (0..AT_ONCE).map(|lane| come_and_go(&place, lane, count / AT_ONCE));
    futures_util::future::try_join_all(lanes).await?;
    eventually("the end of all Secrets", SWEPT, async || {
        let names = place.names().await?;
        ensure!(names.is_empty(), "{names:?}");
        Ok(())
    })
    .await?;
    ampoule.stop().await?.ensure_clean()
}

/// Creates pods one after the other. Each pod has its Secret from its creation to its end.
async fn come_and_go(place: &Place, lane: usize, count: usize) -> Result<()> {
    let (pods, secrets): (Api<Pod>, Api<Secret>) = (place.pods.api(), place.pods.api());
    for turn in 0..count {
        // Two lanes share a key, and some keys are unused for longer than the grace period.
        let key = format!("Key{}", (lane / 2 + turn) % AT_ONCE);
        let pod = task(&format!("pod-{lane}-{turn}"), &[request("", &key, EnvVar, "TOKEN")]);
        let created = place.pods.create_pod(&pod).await?;
        let secret = secret_of(&created, "TOKEN")?;
        tokio::time::sleep(Duration::from_millis(20 * ((lane + turn) % 50) as u64)).await;
        ensure!(secrets.get_metadata_opt(&secret).await?.is_some(), "{secret} of pod-{lane}-{turn} is deleted");
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        pods.delete(&format!("pod-{lane}-{turn}"), &now).await?;
    }
    Ok(())
}
