//! `explain` for pods that the API server does not send to the webhook.
//!
//! The selector of namespaces has a table of its own, in `ampoule-config`.

use serde_json::{Value, json};

use super::{PIPELINE, asking, document, run};
use crate::{
    args::NamespaceArg,
    commands::{
        explain::Explanation,
        input::PodDocument,
        webhook_call::{CallRules, WebhookCall},
    },
};
use ampoule_config::Config;
use ampoule_core::Pod;

/// Calls a function with the rules of a registration, and the labels of the pod's namespace.
pub(super) fn rules<T>(registration: &str, labels: Option<&str>, call: impl FnOnce(&CallRules<'_>) -> T) -> T {
    let config = Config::parse(&format!("registration: {registration}"), &["k8s"]).unwrap();
    let arg = NamespaceArg::with_labels(labels.map(|labels| serde_saphyr::from_str(labels).unwrap()));
    call(&CallRules::new(&config.registration, &arg))
}

fn explain(pod: &Value, registration: &str, labels: Option<&str>) -> Explanation {
    let input = PodDocument::parse(&document("Pod", "v1", pod)).unwrap();
    rules(registration, labels, |rules| run(Explanation::explain_pod(input, &PIPELINE, rules)).unwrap())
}

fn in_namespace(namespace: &str) -> Value {
    let mut pod = asking();
    pod["metadata"]["namespace"] = json!(namespace);
    pod
}

const BY_TEAM: &str = "{ namespaceSelector: { matchLabels: { team: ml } } }";

#[test]
fn a_pod_is_sent_to_the_webhook_by_its_label_and_by_its_namespace() {
    let label = "the pod has neither label ampoule.dev/inject nor inject-flyte-secrets with the value \"true\"";
    let excluded = |namespace: &str, condition: &str| {
        format!(
            "the registration excludes namespace {namespace}, which does not match {condition} \
             (registration.namespaceSelector)"
        )
    };
    let default = "kubernetes.io/metadata.name notin (ampoule,kube-system)";
    let not_called =
        |reasons: &[&str]| WebhookCall::NotCalled(reasons.iter().map(|&reason| reason.to_owned()).collect());
    let unknown = "whether the webhook is called depends on labels of namespace shop: team; state them with \
                   --namespace-labels";
    for (labels, namespace, registration, of_namespace, expected) in [
        (json!({ "ampoule.dev/inject": "true" }), "shop", "{}", None, WebhookCall::Called),
        (json!({ "inject-flyte-secrets": "true" }), "shop", "{}", None, WebhookCall::Called),
        (json!({}), "shop", "{}", None, not_called(&[label])),
        (json!({ "ampoule.dev/inject": "yes" }), "shop", "{}", None, not_called(&[label])),
        (
            json!({ "ampoule.dev/inject": "true" }),
            "kube-system",
            "{}",
            None,
            not_called(&[&excluded("kube-system", default)]),
        ),
        (json!({}), "ampoule", "{}", None, not_called(&[label, &excluded("ampoule", default)])),
        (json!({ "ampoule.dev/inject": "true" }), "shop", BY_TEAM, None, WebhookCall::Unknown(unknown.to_owned())),
        (json!({}), "shop", BY_TEAM, None, not_called(&[label])),
        (json!({ "ampoule.dev/inject": "true" }), "shop", BY_TEAM, Some("{ team: ml }"), WebhookCall::Called),
        (
            json!({ "ampoule.dev/inject": "true" }),
            "shop",
            BY_TEAM,
            Some("{ team: web }"),
            not_called(&[&excluded("shop", "team in (ml)")]),
        ),
    ] {
        let pod = json!({ "metadata": { "labels": labels }, "spec": { "containers": [] } });
        let pod = Pod::parse(pod).unwrap();
        let found = rules(registration, of_namespace, |rules| rules.call(&pod, namespace));
        assert_eq!(found, expected, "{labels} {namespace} {registration}");
    }
}

#[test]
fn the_verdict_is_not_called_and_shows_what_the_webhook_would_answer() {
    let explained = explain(&in_namespace("kube-system"), "{}", None);
    let reason = "the registration excludes namespace kube-system, which does not match kubernetes.io/metadata.name notin \
                  (ampoule,kube-system) (registration.namespaceSelector)";
    let verdict = format!(
        "verdict: not called; the pod starts without secrets\n\
         reason: {reason}\n\
         if the webhook were called: allowed, with 1 change\n"
    );
    assert_eq!(explained.text().split_once("\n\nverdict").unwrap().1, verdict.strip_prefix("verdict").unwrap());
    let called = json!({ "allowed": true, "changes": 1, "warnings": [] });
    let verdict = json!({
        "called": false, "reasons": [reason], "allowed": true, "changes": 0, "warnings": [], "ifCalled": called,
    });
    assert_eq!(explained.json()["verdict"], verdict);
    assert!(explained.fails(), "the pod starts without the secret that it requests");

    let mut without_requests = in_namespace("kube-system");
    without_requests["metadata"]["annotations"] = json!({});
    assert!(!explain(&without_requests, "{}", None).fails());
}

#[test]
fn an_unknown_label_of_the_namespace_is_a_note() {
    let explained = explain(&asking(), BY_TEAM, None);
    assert!(explained.text().contains("  note: whether the webhook is called depends on"), "{}", explained.text());
    assert!(explained.text().contains("\nverdict: allowed, with 1 change\n"), "{}", explained.text());
    assert_eq!(explained.json()["verdict"]["called"], Value::Null);
    assert!(!explained.fails());
    assert_eq!(explain(&asking(), BY_TEAM, Some("{ team: ml }")).json()["verdict"]["called"], true);
}
