//! The chart, rendered by Helm with several sets of values.
//!
//! `deploy/chart/ci` holds the three sets that are applied to the API server; each row of a table
//! below tests one value.

use ampoule_tests::{Ampoule, ApiServer, Renderers};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{check_configuration, check_taken, find, name};

pub(super) fn render(values: &[&str]) -> Result<Vec<Value>> {
    Renderers::find()?.helm("hook", "hooks", values)
}

#[tokio::test]
async fn the_api_server_accepts_the_chart_with_three_sets_of_values() -> Result<()> {
    let namespace = ApiServer::shared().await?.namespace("hooks").await?;
    for (values, count) in [("defaults", 10), ("flyte", 13), ("everything", 23)] {
        let objects = render(&["--values", &format!("deploy/chart/ci/{values}-values.yaml")])?;
        let names: Vec<_> = objects.iter().map(name).collect();
        assert_eq!(objects.len(), count, "{values}: {names:?}");
        check_taken(&namespace, &objects).await.context(values)?;
    }
    Ok(())
}

/// The process reports every difference between its configuration and the object, so the chart must
/// render both from the same values.
#[test]
fn the_object_of_the_chart_equals_the_object_that_its_configuration_describes() -> Result<()> {
    let table: &[&[&str]] = &[
        &[],
        &["webhook.failurePolicy=Ignore", "webhook.timeoutSeconds=3", "service.port=8443"],
        &["webhook.ephemeralContainers=true"],
        &["config.registration.ephemeralContainers=true"],
        &["config.registration.failurePolicy=Ignore", "config.registration.timeoutSeconds=3"],
        &["webhook.namespaceSelector.matchLabels.team=ml"],
        &["config.registration.namespaceSelector.matchLabels.team=ml"],
        &["config.registration.name=mine", "config.registration.webhookName=a.example.org"],
        &["nameOverride=other", "clients.mode=requestHeader"],
    ];
    let built_ins: Vec<_> = ampoule_plugin_bundle::COMPONENTS.iter().map(|(name, _)| *name).collect();
    for values in table {
        let words: Vec<_> = values.iter().flat_map(|value| ["--set", value]).collect();
        let objects = render(&words)?;
        let object = objects.iter().find(|object| object["kind"] == "MutatingWebhookConfiguration");
        let object = object.context("the chart creates the object")?;
        let config = objects.iter().find_map(|object| object["data"]["ampoule.yaml"].as_str()).context("a file")?;
        let config = ampoule_config::Config::parse(config, &built_ins)?;
        let desired = ampoule_cluster::registration::document(&config, "hooks");
        assert_eq!(object["metadata"]["name"], desired["metadata"]["name"], "{values:?}");
        let mut object = object.clone();
        super::remove_newer_fields(&mut object);
        assert_eq!(object["webhooks"], desired["webhooks"], "{values:?}");
    }
    Ok(())
}

#[test]
fn the_configuration_of_the_chart_loads() -> Result<()> {
    for values in ["defaults", "everything"] {
        let objects = render(&["--values", &format!("deploy/chart/ci/{values}-values.yaml")])?;
        let (config, deployment) = ("ConfigMap/hook-ampoule", "Deployment/hook-ampoule");
        check_configuration(find(&objects, config)?, find(&objects, deployment)?).context(values)?;
    }
    Ok(())
}

#[test]
fn with_flytes_names_every_object_has_the_name_of_flytes_chart() -> Result<()> {
    let objects = render(&["--values", "deploy/chart/ci/flyte-values.yaml"])?;
    for kind in ["Deployment", "Service", "ServiceAccount", "ConfigMap", "Role"] {
        find(&objects, &format!("{kind}/flyte-pod-webhook"))?;
    }
    let container = &find(&objects, "Deployment/flyte-pod-webhook")?["spec"]["template"]["spec"]["containers"][0];
    let folder = tempfile::tempdir()?;
    let config = &find(&objects, "ConfigMap/flyte-pod-webhook")?["data"]["flyte.yaml"];
    std::fs::write(folder.path().join("flyte.yaml"), config.as_str().context("the file")?)?;
    let output =
        Ampoule::command()?.args(["config", "convert", "--flyte-config"]).arg(folder.path().join("*.yaml")).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let converted: Value = serde_saphyr::from_str(&String::from_utf8(output.stdout)?)?;
    assert_eq!(converted["registration"]["serviceName"], "flyte-pod-webhook");
    assert_eq!(container["args"][0], "webhook");
    Ok(())
}

/// Values, an object, the path of the field that the values determine, and its content.
pub(super) type Effect = (&'static [&'static str], &'static str, &'static str, Value);

#[test]
fn values_have_their_effect() -> Result<()> {
    let deployment = "Deployment/hook-ampoule";
    let table: &[Effect] = &[
        (&["image.tag=1.2"], deployment, "/spec/template/spec/containers/0/image", json!("ampoule:1.2")),
        (&["image.tag=1.2", "replicas=5"], deployment, "/spec/replicas", json!(5)),
        (&["autoscaling.enabled=true"], deployment, "/spec/replicas", Value::Null),
        (&["nameOverride=other"], "Service/hook-other", "/spec/ports/0/port", json!(443)),
        (&["service.port=8443"], "Service/hook-ampoule", "/spec/ports/0/port", json!(8443)),
        (&["certificates.secretName=mine"], "Role/hook-ampoule", "/rules/0/resourceNames", json!(["mine"])),
        (&["config.certificates.secretName=mine"], "Role/hook-ampoule", "/rules/0/resourceNames", json!(["mine"])),
        (
            &["config.registration.name=mine"],
            "ClusterRole/hooks-hook-ampoule",
            "/rules/0/resourceNames",
            json!(["mine"]),
        ),
        (
            &["certificates.mode=existing", "certificates.secretName=mine"],
            deployment,
            "/spec/template/spec/volumes/1/secret/secretName",
            json!("mine"),
        ),
        (&["certificates.mode=existing"], deployment, "/spec/template/spec/initContainers", Value::Null),
        (
            &[
                "certificates.mode=existing",
                "config.registration.enabled=false",
                "config.injectors[0].component=configmap:theirs/k8s.wasm",
            ],
            deployment,
            "/spec/template/spec/automountServiceAccountToken",
            json!(true),
        ),
        (
            &["certificates.mode=existing", "config.registration.enabled=false"],
            deployment,
            "/spec/template/spec/automountServiceAccountToken",
            json!(false),
        ),
        (
            &[
                "certificates.mode=existing",
                "config.registration.enabled=false",
                "config.injectors[0].delivery=reference",
                "config.injectors[0].grants.http.hosts[0].host=store.example.com",
                "config.injectors[0].grants.http.hosts[0].credential.bearer.secret.namespace=store",
                "config.injectors[0].grants.http.hosts[0].credential.bearer.secret.name=token",
                "config.injectors[0].grants.http.hosts[0].credential.bearer.secret.key=token",
            ],
            deployment,
            "/spec/template/spec/automountServiceAccountToken",
            json!(true),
        ),
        (
            &["serviceAccount.create=false", "serviceAccount.name=theirs"],
            deployment,
            "/spec/template/spec/serviceAccountName",
            json!("theirs"),
        ),
        (
            &["flyte.enabled=true", "flyte.existingConfigMap=flyte-propeller-config"],
            deployment,
            "/spec/template/spec/volumes/0/configMap/name",
            json!("flyte-propeller-config"),
        ),
        (
            &["plugins.volume.image.reference=registry.example.org/plugins:1"],
            deployment,
            "/spec/template/spec/volumes/3/image/reference",
            json!("registry.example.org/plugins:1"),
        ),
    ];
    ensure_effects(table)
}

/// The values of the registration, as the table above.
#[test]
fn values_of_the_registration_have_their_effect() -> Result<()> {
    let table: &[Effect] = &[
        (
            &["config.registration.enabled=false", "webhook.caBundle=-----BEGIN CERTIFICATE-----"],
            "MutatingWebhookConfiguration/hook-ampoule",
            "/webhooks/1/clientConfig/caBundle",
            json!("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t"),
        ),
        (
            // The process maintains the field.
            &["webhook.caBundle=-----BEGIN CERTIFICATE-----"],
            "MutatingWebhookConfiguration/hook-ampoule",
            "/webhooks/1/clientConfig/caBundle",
            Value::Null,
        ),
        (
            &["config.registration.create=true"],
            "Job/hook-ampoule-uninstall",
            "/spec/template/spec/serviceAccountName",
            json!("hook-ampoule-uninstall"),
        ),
        (
            &["config.registration.create=true", "rbac.create=false"],
            "Job/hook-ampoule-uninstall",
            "/spec/template/spec/serviceAccountName",
            json!("hook-ampoule"),
        ),
        (
            &["config.registration.create=true"],
            "ClusterRole/hooks-hook-ampoule",
            "/rules/0/verbs",
            json!(["get", "patch", "watch"]),
        ),
        (&[], "ClusterRole/hooks-hook-ampoule", "/rules/1", Value::Null),
        (
            &["webhook.timeoutSeconds=3"],
            "MutatingWebhookConfiguration/hook-ampoule",
            "/webhooks/1/timeoutSeconds",
            json!(3),
        ),
        (
            &["webhook.ephemeralContainers=true"],
            "MutatingWebhookConfiguration/hook-ampoule",
            "/webhooks/1/rules/1/resources",
            json!(["pods/ephemeralcontainers"]),
        ),
        (
            &["config.registration.webhookName=a.example.org"],
            "MutatingWebhookConfiguration/hook-ampoule",
            "/webhooks/0/name",
            json!("a.example.org"),
        ),
    ];
    ensure_effects(table)
}

/// The Job of the uninstallation is a pod like the others, as the tables above.
#[test]
fn values_of_pods_reach_the_job_that_uninstalls() -> Result<()> {
    const CREATE: &str = "config.registration.create=true";
    let job = "Job/hook-ampoule-uninstall";
    let table: &[Effect] = &[
        (&[CREATE, "podLabels.team=a"], job, "/spec/template/metadata/labels/team", json!("a")),
        (&[CREATE, "podAnnotations.mesh=off"], job, "/spec/template/metadata/annotations/mesh", json!("off")),
        (&[CREATE], job, "/spec/template/spec/nodeSelector", json!({ "kubernetes.io/os": "linux" })),
        (&[CREATE, "priorityClassName=high"], job, "/spec/template/spec/priorityClassName", json!("high")),
        (
            &[CREATE, "podSecurityContext.runAsUser=null"],
            job,
            "/spec/template/spec/securityContext/runAsUser",
            Value::Null,
        ),
        (
            &[CREATE, "securityContext.runAsUser=1000"],
            job,
            "/spec/template/spec/containers/0/securityContext/runAsUser",
            json!(1000),
        ),
        (&[CREATE, "imagePullSecrets[0].name=pull"], job, "/spec/template/spec/imagePullSecrets/0/name", json!("pull")),
        (&[CREATE, "tolerations[0].key=a"], job, "/spec/template/spec/tolerations/0/key", json!("a")),
    ];
    ensure_effects(table)
}

/// The values that authenticate the webhook's clients, as the table above.
#[test]
fn values_of_the_clients_have_their_effect() -> Result<()> {
    let deployment = "Deployment/hook-ampoule";
    let table: &[Effect] = &[
        (
            &["clients.mode=certificate", "clients.caBundle=PEM", "clients.allowedNames={api}"],
            deployment,
            "/spec/template/spec/volumes/2/configMap/name",
            json!("hook-ampoule-clients"),
        ),
        (
            &["clients.mode=certificate", "clients.caConfigMap=theirs", "clients.allowedNames={api}"],
            deployment,
            "/spec/template/spec/volumes/2/configMap/name",
            json!("theirs"),
        ),
        (
            &["clients.mode=requestHeader", "config.registration.enabled=false"],
            "MutatingWebhookConfiguration/hook-ampoule",
            "/webhooks/1/clientConfig",
            json!({ "service": { "namespace": "default", "name": "kubernetes", "port": 443,
                                 "path": "/apis/admission.ampoule.dev/v1/mutations" } }),
        ),
        (
            &["clients.mode=requestHeader"],
            "APIService/v1.admission.ampoule.dev",
            "/spec/service",
            json!({ "namespace": "hooks", "name": "hook-ampoule", "port": 443 }),
        ),
        (
            &["clients.mode=requestHeader"],
            "ClusterRole/hooks-hook-ampoule",
            "/rules/1",
            json!({ "apiGroups": ["apiregistration.k8s.io"], "resources": ["apiservices"],
                    "resourceNames": ["v1.admission.ampoule.dev"], "verbs": ["get", "patch"] }),
        ),
        (&["clients.mode=requestHeader"], "ClusterRole/hooks-hook-ampoule", "/rules/0/verbs", json!(["get", "watch"])),
        (
            &["networkPolicy.apiServerCIDRs={10.0.0.1/32}"],
            "NetworkPolicy/hook-ampoule",
            "/spec/ingress/0/from/0/ipBlock/cidr",
            json!("10.0.0.1/32"),
        ),
        (&["networkPolicy.enabled=true"], "NetworkPolicy/hook-ampoule", "/spec/ingress/0/from", Value::Null),
    ];
    ensure_effects(table)
}

/// Renders the chart once for each row.
pub(super) fn ensure_effects(table: &[Effect]) -> Result<()> {
    for (values, object, path, expected) in table {
        let words: Vec<_> = values.iter().flat_map(|value| ["--set", value]).collect();
        let objects = render(&words).with_context(|| format!("{values:?}"))?;
        let found = find(&objects, object)?.pointer(path).unwrap_or(&Value::Null);
        assert_eq!(found, expected, "{values:?}");
    }
    Ok(())
}

#[test]
fn a_value_switches_an_object_off_or_on() -> Result<()> {
    let table: &[(&[&str], &str, bool)] = &[
        (&[], "PodDisruptionBudget/hook-ampoule", true),
        (&["podDisruptionBudget.enabled=false"], "PodDisruptionBudget/hook-ampoule", false),
        (&["rbac.create=false"], "Role/hook-ampoule", false),
        (&["rbac.create=false"], "ClusterRole/hooks-hook-ampoule", false),
        (&["serviceAccount.create=false"], "ServiceAccount/hook-ampoule", false),
        (&["config.registration.enabled=false"], "ClusterRole/hooks-hook-ampoule", false),
        (&["config.registration.enabled=false"], "MutatingWebhookConfiguration/hook-ampoule", true),
        (&[], "MutatingWebhookConfiguration/hook-ampoule", true),
        (&["webhook.create=false"], "MutatingWebhookConfiguration/hook-ampoule", false),
        (&["config.registration.create=true"], "MutatingWebhookConfiguration/hook-ampoule", false),
        (&["flyte.enabled=true"], "MutatingWebhookConfiguration/hook-ampoule", false),
        (&[], "Job/hook-ampoule-uninstall", false),
        (&["config.registration.create=true"], "Job/hook-ampoule-uninstall", true),
        (&["flyte.enabled=true"], "Job/hook-ampoule-uninstall", true),
        (&["config.registration.create=true"], "ServiceAccount/hook-ampoule-uninstall", true),
        (&["config.registration.create=true"], "ClusterRole/hooks-hook-ampoule-uninstall", true),
        (&["config.registration.create=true", "rbac.create=false"], "ServiceAccount/hook-ampoule-uninstall", false),
        (
            &["config.registration.create=true", "config.registration.enabled=false"],
            "MutatingWebhookConfiguration/hook-ampoule",
            true,
        ),
        (
            &["certificates.mode=cert-manager", "webhook.create=false"],
            "MutatingWebhookConfiguration/hook-ampoule",
            false,
        ),
        (&["certificates.mode=cert-manager"], "Issuer/hook-ampoule", true),
        (&["certificates.mode=cert-manager", "certificates.issuerRef.name=theirs"], "Issuer/hook-ampoule", false),
        (&["networkPolicy.enabled=true"], "NetworkPolicy/hook-ampoule", true),
        (&[], "NetworkPolicy/hook-ampoule", false),
        (&[], "APIService/v1.admission.ampoule.dev", false),
        (&["clients.mode=requestHeader"], "RoleBinding/hooks-hook-ampoule", true),
        (&["clients.mode=requestHeader", "rbac.create=false"], "RoleBinding/hooks-hook-ampoule", false),
        (&["monitoring.serviceMonitor.enabled=true"], "Service/hook-ampoule-metrics", true),
        (&["monitoring.dashboard.enabled=true"], "ConfigMap/hook-ampoule-dashboard", true),
        (&["plugins.binaryData.a\\.wasm=AGFzbQ0AAQA="], "ConfigMap/hook-ampoule-plugins", true),
        (&["flyte.enabled=true", "flyte.existingConfigMap=theirs"], "ConfigMap/hook-ampoule", false),
    ];
    for (values, object, expected) in table {
        let words: Vec<_> = values.iter().flat_map(|value| ["--set", value]).collect();
        let objects = render(&words).with_context(|| format!("{values:?}"))?;
        assert_eq!(find(&objects, object).is_ok(), *expected, "{values:?} {object}");
    }
    Ok(())
}

/// Helm keeps the values and the rendered objects of a release in one Secret.
#[test]
fn files_of_plugins_are_bounded_by_what_the_secret_of_a_release_holds() -> Result<()> {
    let render_with = |bytes: usize| {
        let folder = tempfile::tempdir()?;
        let values = folder.path().join("values.json");
        let content = "A".repeat(bytes);
        std::fs::write(&values, json!({ "plugins": { "binaryData": { "a.wasm": content } } }).to_string())?;
        render(&["--values", values.to_str().context("a path")?])
    };
    let most = 480 << 10;
    find(&render_with(most)?, "ConfigMap/hook-ampoule-plugins")?;
    let refusal = render_with(most + 4).err().context("a refusal")?.to_string();
    assert!(refusal.contains("plugins.binaryData: 491524 bytes of base64 exceed 491520 (480 KiB)"), "{refusal}");
    Ok(())
}

/// Only settings that a process reads at its start change the pod template.
#[test]
fn a_changed_configuration_starts_new_pods_only_if_necessary() -> Result<()> {
    let template = |value: &str| {
        let objects = render(&["--set", value])?;
        anyhow::Ok(find(&objects, "Deployment/hook-ampoule")?["spec"]["template"].clone())
    };
    let plain = template("config.profile=flyte-v1")?;
    for (value, same) in [
        ("config.profile=flyte-v2", true),
        ("config.onFailure=admit", true),
        ("config.injectors[0].name=mine", true),
        ("config.engine.guestThreads=3", true),
        ("config.server.maxConnections=3", false),
        ("clients.mode=requestHeader", false),
        ("clients.acceptValuesToAnyone=true", false),
        ("config.registration.timeoutSeconds=3", false),
        ("config.certificates.validitySeconds=3600", false),
        ("config.delivery.graceSeconds=60", false),
    ] {
        assert_eq!(template(value)? == plain, same, "{value}");
    }
    Ok(())
}

#[test]
fn the_schema_rejects_values_that_the_chart_cannot_use() -> Result<()> {
    for (value, reason) in [
        ("replica=3", "additional properties 'replica' not allowed"),
        ("replicas=0", "at '/replicas': minimum: got 0, want 1"),
        ("clients.mode=token", "at '/clients/mode': value must be one of"),
        ("certificates.mode=acme", "at '/certificates/mode': value must be one of"),
        ("config.profil=flyte-v1", "additional properties 'profil' not allowed"),
        ("config.profile=flyte-v3", "at '/config/profile': 'oneOf' failed"),
        ("webhook.timeoutSeconds=31", "at '/webhook/timeoutSeconds': maximum: got 31, want 30"),
        ("fullnameOverride=Not_A_Name", "at '/fullnameOverride': 'Not_A_Name' does not match pattern"),
        ("flyte.embedded.enabled=maybe", "at '/flyte/embedded/enabled': value must be one of"),
        ("config.injectors[0].delivery=sidecar", "at '/config/injectors/0/delivery': 'oneOf' failed"),
        ("image.digest=abc", "at '/image/digest': 'abc' does not match pattern"),
        ("enabled=maybe", "at '/enabled': got string, want boolean"),
        ("config=null", "config: is null; remove the key for the chart's defaults, or write a mapping"),
        (
            "podLabels.app\\.kubernetes\\.io/name=mine",
            "podLabels: the chart sets the label app.kubernetes.io/name, which selects the pods",
        ),
    ] {
        let refusal = render(&["--set", value]).err().with_context(|| format!("{value} is accepted"))?.to_string();
        assert!(refusal.contains(reason), "{value}: {refusal}");
    }
    Ok(())
}
