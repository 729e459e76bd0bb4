//! The manifests for kustomize: base, overlays and components.
//!
//! A component cannot be built alone, so the test writes a kustomization for it.

use std::{fs, path::Path};

use ampoule_tests::{ApiServer, Renderers};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{check_configuration, check_taken, find, name};

const FOLDER: &str = "deploy/kustomize";

/// Renders an overlay with these components.
pub(super) fn render(overlay: &str, components: &[&str]) -> Result<Vec<Value>> {
    let renderers = Renderers::find()?;
    // Kustomize accepts relative folders only.
    let folder = tempfile::Builder::new()
        .prefix(".test-")
        .tempdir_in(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kustomize"))?;
    let components: Vec<_> = components.iter().map(|component| format!("../components/{component}")).collect();
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": [format!("../{overlay}")], "components": components,
    });
    fs::write(folder.path().join("kustomization.yaml"), serde_json::to_vec(&kustomization)?)?;
    renderers.kustomize(&Path::new(FOLDER).join(folder.path().file_name().unwrap_or_default()))
}

#[tokio::test]
async fn the_api_server_accepts_every_overlay() -> Result<()> {
    let namespace = ApiServer::shared().await?.namespace("ampoule").await?;
    let table: [(&str, &[&str], usize); 20] = [
        ("base", &[], 12),
        ("base", &["cert-manager"], 12),
        ("overlays/dev", &[], 11),
        ("overlays/production", &[], 14),
        ("overlays/production", &["monitoring"], 18),
        ("overlays/production", &["config-maps"], 16),
        ("overlays/production", &["config-map-by-name"], 16),
        ("overlays/production", &["cert-manager", "monitoring"], 18),
        ("overlays/production", &["admission-policy"], 16),
        ("overlays/production", &["clients-certificate"], 14),
        ("overlays/production", &["deliver-secrets"], 18),
        ("overlays/production", &["deliver-components"], 18),
        ("overlays/production", &["deliver-secrets", "restart-workloads"], 20),
        ("overlays/production", &["read-reports"], 18),
        ("overlays/production", &["warn-missing-secrets"], 16),
        ("overlays/production", &["request-tokens"], 16),
        ("overlays/production", &["invalidation"], 15),
        ("overlays/production", &["console"], 15),
        ("overlays/production", &["ephemeral-containers"], 14),
        ("overlays/production", &["clients-request-header", "admission-policy"], 18),
    ];
    for (overlay, components, count) in table {
        let objects = render(overlay, components)?;
        let names: Vec<_> = objects.iter().map(name).collect();
        assert_eq!(objects.len(), count, "{overlay} {components:?}: {names:?}");
        check_taken(&namespace, &objects).await?;
        check_configuration(find(&objects, "ConfigMap/ampoule")?, find(&objects, "Deployment/ampoule")?)?;
        let labels = &find(&objects, "Namespace/ampoule")?["metadata"]["labels"];
        assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    }
    Ok(())
}

#[test]
fn with_cert_manager_it_has_no_rights_and_no_token() -> Result<()> {
    let objects = render("overlays/production", &["cert-manager"])?;
    let rights: Vec<_> = objects.iter().map(name).filter(|name| name.contains("Role")).collect();
    assert_eq!(rights, [""; 0]);
    let spec = &find(&objects, "Deployment/ampoule")?["spec"]["template"]["spec"];
    assert_eq!((&spec["automountServiceAccountToken"], &spec["initContainers"]), (&json!(false), &Value::Null));
    let volume = spec["volumes"].as_array().and_then(|all| all.iter().find(|volume| volume["name"] == "certs"));
    assert_eq!(
        volume,
        Some(&json!({ "name": "certs", "secret": { "secretName": "ampoule-tls", "defaultMode": 0o440 } }))
    );
    let annotations = &find(&objects, "MutatingWebhookConfiguration/ampoule")?["metadata"]["annotations"];
    assert_eq!(annotations, &json!({ "cert-manager.io/inject-ca-from": "ampoule/ampoule" }));
    Ok(())
}

/// The book's command for the audit trail: the log of one replica has a part of it only.
#[test]
fn the_documented_command_reads_the_audit_lines_of_every_replica() -> Result<()> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/operate.md");
    let page = fs::read_to_string(page)?.replace("\\\n", "");
    let command = page.lines().find(|line| line.contains("logs") && line.contains("| grep '\"target\":\"audit\"'"));
    let words: Vec<_> = command.context("the command")?.split_whitespace().collect();
    let value = |flag: &str| words.iter().position(|word| *word == flag).and_then(|at| words.get(at + 1)).copied();
    let (key, name) = value("--selector").and_then(|selector| selector.split_once('=')).context("a selector")?;
    // By default, kubectl prints the last ten lines of each pod of a selector.
    assert!(words.contains(&"--tail=-1"), "{words:?}");
    let chart = Renderers::find()?.helm("ampoule", "ampoule", &[])?;
    for objects in [render("base", &[])?, chart] {
        let deployment = find(&objects, "Deployment/ampoule")?;
        assert_eq!(value("--namespace"), deployment["metadata"]["namespace"].as_str());
        let template = &deployment["spec"]["template"];
        assert_eq!(template["metadata"]["labels"][key], name);
        assert_eq!(value("--container"), template["spec"]["containers"][0]["name"].as_str());
    }
    Ok(())
}

#[test]
fn the_component_for_ephemeral_containers_has_the_rule_of_the_chart() -> Result<()> {
    let ours = render("base", &["ephemeral-containers"])?;
    let words = ["--set", "webhook.matchConditions=false", "--set", "webhook.ephemeralContainers=true"];
    let theirs = Renderers::find()?.helm("ampoule", "ampoule", &words)?;
    let webhooks = |objects: &[Value]| -> Result<Value> {
        Ok(find(objects, "MutatingWebhookConfiguration/ampoule")?["webhooks"].clone())
    };
    assert_eq!(webhooks(&ours)?, webhooks(&theirs)?);
    Ok(())
}

#[test]
fn the_chart_and_the_manifests_agree() -> Result<()> {
    let (base, monitored) = (render("base", &[])?, render("base", &["cert-manager", "monitoring"])?);
    // The base suits every version, and so has no field of a later one.
    let chart = Renderers::find()?.helm("ampoule", "ampoule", &["--set", "webhook.matchConditions=false"])?;
    let words = [
        "webhook.matchConditions=false",
        "certificates.mode=cert-manager",
        "monitoring.rules.enabled=true",
        "monitoring.serviceMonitor.enabled=true",
        "monitoring.dashboard.enabled=true",
    ];
    let charted = Renderers::find()?.helm("ampoule", "ampoule", &words.map(|word| ["--set", word]).concat())?;
    for (ours, theirs, object, key) in [
        (&base, &chart, "Role/ampoule", "rules"),
        (&base, &chart, "ClusterRole/ampoule", "rules"),
        (&base, &chart, "RoleBinding/ampoule", "roleRef"),
        (&base, &chart, "ClusterRoleBinding/ampoule", "subjects"),
        (&monitored, &charted, "PrometheusRule/ampoule", "spec"),
        (&monitored, &charted, "ConfigMap/ampoule-dashboard", "data"),
        (&monitored, &charted, "Certificate/ampoule", "spec"),
        (&monitored, &charted, "Certificate/ampoule-ca", "spec"),
        (&monitored, &charted, "MutatingWebhookConfiguration/ampoule", "webhooks"),
        (&base, &chart, "MutatingWebhookConfiguration/ampoule", "webhooks"),
    ] {
        assert_eq!(find(ours, object)?[key], find(theirs, object)?[key], "{object}.{key}");
    }
    for (component, value) in [
        ("config-maps", "config.plugins.configMaps=true"),
        ("config-map-by-name", "config.injectors[0].component=configmap:ampoule-plugins/k8s.wasm"),
    ] {
        let following = Renderers::find()?.helm("ampoule", "ampoule", &["--set", value])?;
        let mapped = render("base", &[component])?;
        let right = &find(&mapped, &format!("Role/ampoule-{component}"))?["rules"][0];
        let theirs = &find(&following, "Role/ampoule")?["rules"];
        assert!(theirs.as_array().is_some_and(|rules| rules.contains(right)), "{right} is not in {theirs}");
    }
    let spec = |objects| anyhow::Ok(find(objects, "Deployment/ampoule")?["spec"]["template"]["spec"].clone());
    let (ours, theirs) = (spec(&base)?, spec(&chart)?);
    for key in ["securityContext", "nodeSelector", "terminationGracePeriodSeconds", "automountServiceAccountToken"] {
        assert_eq!(ours[key], theirs[key], "{key}");
    }
    for list in ["initContainers", "containers"] {
        for key in ["env", "ports", "resources", "securityContext", "volumeMounts", "readinessProbe", "startupProbe"] {
            assert_eq!(ours[list][0][key], theirs[list][0][key], "{list}.{key}");
        }
    }
    Ok(())
}

#[test]
fn the_chart_and_the_components_for_clients_and_the_policy_agree() -> Result<()> {
    let ours = render("base", &["clients-request-header", "admission-policy"])?;
    let words = ["clients.mode=requestHeader", "admissionPolicy.enabled=true", "webhook.matchConditions=false"];
    let words = words.map(|word| ["--set", word]).concat();
    let theirs = Renderers::find()?.helm("ampoule", "ampoule", &words)?;
    for (object, key) in [
        ("MutatingWebhookConfiguration/ampoule", "webhooks"),
        ("APIService/v1.admission.ampoule.dev", "spec"),
        ("ClusterRole/ampoule", "rules"),
        ("ValidatingAdmissionPolicy/ampoule", "spec"),
        ("ValidatingAdmissionPolicyBinding/ampoule", "spec"),
    ] {
        assert_eq!(find(&ours, object)?[key], find(&theirs, object)?[key], "{object}.{key}");
    }
    let front_proxy = |objects: &[Value]| {
        let mut found = objects.iter().filter(|object| object["metadata"]["namespace"] == "kube-system");
        found.next().map(|object| (object["kind"].clone(), object["roleRef"].clone(), object["subjects"].clone()))
    };
    assert_eq!(front_proxy(&ours), front_proxy(&theirs));
    assert!(front_proxy(&ours).is_some());

    let ours = render("base", &["clients-certificate"])?;
    let words = ["clients.mode=certificate", "clients.caConfigMap=ampoule-clients", "clients.allowedNames={a}"];
    let theirs = Renderers::find()?.helm("ampoule", "ampoule", &words.map(|word| ["--set", word]).concat())?;
    let clients = |objects: &[Value]| {
        let spec = &find(objects, "Deployment/ampoule")?["spec"]["template"]["spec"];
        let entry = |list: &Value| list.as_array()?.iter().find(|entry| entry["name"] == "clients").cloned();
        anyhow::Ok((entry(&spec["volumes"]), entry(&spec["containers"][0]["volumeMounts"])))
    };
    assert_eq!(clients(&ours)?, clients(&theirs)?);
    assert!(clients(&ours)?.0.is_some() && clients(&ours)?.1.is_some());
    Ok(())
}

#[test]
fn the_components_for_clients_set_their_mode_in_the_configuration() -> Result<()> {
    for (component, mode) in [
        ("clients-certificate", ampoule_config::ClientMode::Certificate),
        ("clients-request-header", ampoule_config::ClientMode::RequestHeader),
    ] {
        let objects = render("overlays/production", &[component])?;
        let config = find(&objects, "ConfigMap/ampoule")?["data"]["ampoule.yaml"].as_str().unwrap_or_default();
        let config = ampoule_config::Config::parse(config, &["k8s"])?;
        assert_eq!(config.server.clients.mode, mode);
        assert_eq!((config.registration.enabled, config.registration.create), (true, false));
    }
    Ok(())
}

#[test]
fn a_pod_with_either_label_reaches_the_webhook_once() -> Result<()> {
    let objects = render("base", &["cert-manager"])?;
    let webhooks = &find(&objects, "MutatingWebhookConfiguration/ampoule")?["webhooks"];
    let [flyte, people] = ampoule_core::TRIGGER_LABELS;
    assert_eq!(webhooks[0]["objectSelector"], json!({ "matchLabels": { flyte: "true" } }));
    let not_flyte = json!([{ "key": flyte, "operator": "NotIn", "values": ["true"] }]);
    let expected = json!({ "matchLabels": { people: "true" }, "matchExpressions": not_flyte });
    assert_eq!(webhooks[1]["objectSelector"], expected);
    assert_eq!(webhooks.as_array().map(Vec::len), Some(2));
    for key in ["rules", "namespaceSelector", "failurePolicy", "reinvocationPolicy", "sideEffects", "timeoutSeconds"] {
        assert_eq!(webhooks[0][key], webhooks[1][key], "{key}");
    }
    Ok(())
}
