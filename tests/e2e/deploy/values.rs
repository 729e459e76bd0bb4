//! The values of the chart that are passed on unchanged, and a check that every value has a test.
//!
//! `chart.rs` tests the values with a logic of their own.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::chart::{Effect, ensure_effects};

/// The tests of values. A row names its value as `KEY=VALUE`.
const TESTS: [&str; 6] = [
    include_str!("admission_policy.rs"),
    include_str!("chart.rs"),
    include_str!("delivery.rs"),
    include_str!("kustomize.rs"),
    include_str!("match_conditions.rs"),
    include_str!("values.rs"),
];

#[test]
fn values_of_pods_are_passed_on() -> Result<()> {
    let deployment = "Deployment/hook-ampoule";
    let table: &[Effect] = &[
        (&["image.repository=a/b"], deployment, "/spec/template/spec/containers/0/image", json!("a/b:0.1.0")),
        (&["image.pullPolicy=Always"], deployment, "/spec/template/spec/containers/0/imagePullPolicy", json!("Always")),
        (&["extraEnv[0].name=A"], deployment, "/spec/template/spec/containers/0/env/3/name", json!("A")),
        (
            &["extraEnvFrom[0].secretRef.name=a"],
            deployment,
            "/spec/template/spec/containers/0/envFrom/0/secretRef/name",
            json!("a"),
        ),
        (&["extraVolumes[0].name=a"], deployment, "/spec/template/spec/volumes/5/name", json!("a")),
        (
            &["extraVolumeMounts[0].name=a", "extraVolumeMounts[0].mountPath=/a"],
            deployment,
            "/spec/template/spec/containers/0/volumeMounts/5/mountPath",
            json!("/a"),
        ),
        (&["logLevel=debug"], deployment, "/spec/template/spec/containers/0/args/2", json!("--log-level=debug")),
        (&["logFormat=text"], deployment, "/spec/template/spec/containers/0/args/3", json!("--log-format=text")),
        (
            &["resources.limits.memory=2Gi", "resources.requests.cpu=1"],
            deployment,
            "/spec/template/spec/containers/0/resources",
            json!({ "limits": { "memory": "2Gi" }, "requests": { "cpu": 1, "memory": "128Mi" } }),
        ),
        (
            &["affinity.nodeAffinity.a=b"],
            deployment,
            "/spec/template/spec/affinity",
            json!({ "nodeAffinity": { "a": "b" } }),
        ),
        (
            &["topologySpreadConstraints[0].maxSkew=2"],
            deployment,
            "/spec/template/spec/topologySpreadConstraints",
            json!([{ "maxSkew": 2 }]),
        ),
        (
            &["terminationGracePeriodSeconds=60"],
            deployment,
            "/spec/template/spec/terminationGracePeriodSeconds",
            json!(60),
        ),
        (
            &["plugins.existingConfigMap=theirs"],
            deployment,
            "/spec/template/spec/volumes/2/configMap/name",
            json!("theirs"),
        ),
    ];
    ensure_effects(table)
}

#[test]
fn values_of_other_objects_are_passed_on() -> Result<()> {
    let autoscaler = "HorizontalPodAutoscaler/hook-ampoule";
    let policy = "NetworkPolicy/hook-ampoule";
    let monitor = "ServiceMonitor/hook-ampoule";
    let table: &[Effect] = &[
        (&["serviceAccount.annotations.a=b"], "ServiceAccount/hook-ampoule", "/metadata/annotations/a", json!("b")),
        (&["service.annotations.a=b"], "Service/hook-ampoule", "/metadata/annotations/a", json!("b")),
        (
            &[
                "certificates.mode=cert-manager",
                "certificates.issuerRef.name=a",
                "certificates.issuerRef.kind=ClusterIssuer",
            ],
            "Certificate/hook-ampoule",
            "/spec/issuerRef",
            json!({ "name": "a", "kind": "ClusterIssuer" }),
        ),
        (
            &["podDisruptionBudget.maxUnavailable=2"],
            "PodDisruptionBudget/hook-ampoule",
            "/spec/maxUnavailable",
            json!(2),
        ),
        (&["autoscaling.enabled=true", "autoscaling.minReplicas=2"], autoscaler, "/spec/minReplicas", json!(2)),
        (&["autoscaling.enabled=true", "autoscaling.maxReplicas=20"], autoscaler, "/spec/maxReplicas", json!(20)),
        (
            &["autoscaling.enabled=true", "autoscaling.targetCPUUtilizationPercentage=50"],
            autoscaler,
            "/spec/metrics/0/resource/target/averageUtilization",
            json!(50),
        ),
        (
            &["networkPolicy.enabled=true", "networkPolicy.scrapersNamespaceSelector.matchLabels.a=b"],
            policy,
            "/spec/ingress/1/from/0/namespaceSelector/matchLabels/a",
            json!("b"),
        ),
        (
            &["networkPolicy.enabled=true", "networkPolicy.egress[0].ports[0].port=8200"],
            policy,
            "/spec/egress",
            json!([{ "ports": [{ "port": 8200 }] }]),
        ),
        (
            &["monitoring.serviceMonitor.enabled=true", "monitoring.serviceMonitor.interval=10s"],
            monitor,
            "/spec/endpoints/0/interval",
            json!("10s"),
        ),
        (
            &["monitoring.serviceMonitor.enabled=true", "monitoring.serviceMonitor.labels.a=b"],
            monitor,
            "/metadata/labels/a",
            json!("b"),
        ),
        (
            &["monitoring.rules.enabled=true", "monitoring.rules.labels.a=b"],
            "PrometheusRule/hook-ampoule",
            "/metadata/labels/a",
            json!("b"),
        ),
        (
            &["monitoring.dashboard.enabled=true", "monitoring.dashboard.labels.a=b"],
            "ConfigMap/hook-ampoule-dashboard",
            "/metadata/labels/a",
            json!("b"),
        ),
    ];
    ensure_effects(table)
}

/// What a cluster demands of the ports and the network of pods.
#[test]
fn values_of_the_network_have_their_effect() -> Result<()> {
    let deployment = "Deployment/hook-ampoule";
    let table: &[Effect] = &[
        (
            &["config.server.listen=0.0.0.0:10260"],
            deployment,
            "/spec/template/spec/containers/0/ports/0/containerPort",
            json!(10260),
        ),
        (
            &["config.server.admin=[::]:10255"],
            deployment,
            "/spec/template/spec/containers/0/ports/1/containerPort",
            json!(10255),
        ),
        (
            &["flyte.enabled=true", "flyte.config.webhook.listenPort=8443"],
            deployment,
            "/spec/template/spec/containers/0/ports/0/containerPort",
            json!(8443),
        ),
        (
            &["flyte.enabled=true", "flyte.existingConfigMap=theirs", "flyte.listenPort=8444"],
            deployment,
            "/spec/template/spec/containers/0/args/5",
            json!("--webhook.listenPort=8444"),
        ),
        (&["hostNetwork=true"], deployment, "/spec/template/spec/hostNetwork", json!(true)),
        (&["hostNetwork=true"], deployment, "/spec/template/spec/dnsPolicy", json!("ClusterFirstWithHostNet")),
        (&["dnsPolicy=Default"], deployment, "/spec/template/spec/dnsPolicy", json!("Default")),
        (&[], deployment, "/spec/template/spec/dnsPolicy", Value::Null),
    ];
    ensure_effects(table)
}

/// What a cluster demands of nodes, users and labels of pods.
#[test]
fn values_of_nodes_and_users_have_their_effect() -> Result<()> {
    let deployment = "Deployment/hook-ampoule";
    let table: &[Effect] = &[
        (&[], deployment, "/spec/template/spec/nodeSelector", json!({ "kubernetes.io/os": "linux" })),
        (&["nodeSelector.pool=system"], deployment, "/spec/template/spec/nodeSelector/pool", json!("system")),
        (
            &["priorityClassName=system-cluster-critical"],
            deployment,
            "/spec/template/spec/priorityClassName",
            json!("system-cluster-critical"),
        ),
        (
            // As OpenShift's SCC restricted-v2 demands.
            &[
                "podSecurityContext.runAsUser=null",
                "podSecurityContext.runAsGroup=null",
                "podSecurityContext.fsGroup=null",
            ],
            deployment,
            "/spec/template/spec/securityContext",
            json!({ "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } }),
        ),
        (
            &["securityContext.runAsUser=1000"],
            deployment,
            "/spec/template/spec/initContainers/0/securityContext/runAsUser",
            json!(1000),
        ),
        (&["podLabels.team=a"], deployment, "/spec/template/metadata/labels/team", json!("a")),
        (&["podAnnotations.note=a"], deployment, "/spec/template/metadata/annotations/note", json!("a")),
        (&["enabled=true"], deployment, "/kind", json!("Deployment")),
    ];
    ensure_effects(table)
}

/// The keys of a mapping of values. Mappings that are passed on as a whole count as one.
fn keys(values: &Value, prefix: &str, found: &mut Vec<String>) {
    const WHOLE: [&str; 6] = [
        "config",
        "resources",
        "nodeSelector",
        "podSecurityContext",
        "securityContext",
        "networkPolicy.scrapersNamespaceSelector",
    ];
    for (key, value) in values.as_object().into_iter().flatten() {
        let path = format!("{prefix}{key}");
        match value.as_object() {
            Some(inner) if !inner.is_empty() && !WHOLE.contains(&path.as_str()) && !path.ends_with(".labels") => {
                keys(value, &format!("{path}."), found);
            }
            _ => found.push(path),
        }
    }
}

#[test]
fn every_value_has_a_test() -> Result<()> {
    let values = include_str!("../../../deploy/chart/values.yaml");
    let values: Value = serde_saphyr::from_str(values).context("the values")?;
    let mut found = Vec::new();
    keys(&values, "", &mut found);
    assert!(found.len() > 60, "{found:?}");
    let is_tested = |key: &String| {
        let starts = ["=", ".", "["].map(|next| format!("\"{key}{next}"));
        TESTS.iter().any(|test| starts.iter().any(|start| test.contains(start)))
    };
    let untested: Vec<_> = found.iter().filter(|key| !is_tested(key)).collect();
    assert!(untested.is_empty(), "{untested:?}");
    Ok(())
}
