//! `explain` for pods that the API server does not send to the webhook.
//!
//! The selector of namespaces has a table of its own, in `ampoule-config`.

use serde_json::{Value, json};

use super::{PIPELINE, asking, document, run};
use crate::{
    args::CallArg,
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
    let arg = CallArg::with_labels(labels.map(|labels| serde_saphyr::from_str(labels).unwrap()));
    call(&CallRules::new(&config.registration, &arg))
}

/// Whether the webhook is called for a pod by an API server of this version.
fn called_by(server_version: Option<&str>, registration: &str, pod: &Value, namespace: &str) -> WebhookCall {
    let config = Config::parse(&format!("registration: {registration}"), &["k8s"]).unwrap();
    let server_version = server_version.map(|version| version.parse().unwrap());
    let arg = CallArg { server_version, ..CallArg::with_labels(None) };
    CallRules::new(&config.registration, &arg).call(&Pod::parse(pod.clone()).unwrap(), namespace)
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
        (
            json!({ "ampoule.dev/inject": "yes" }),
            "shop",
            "{}",
            None,
            not_called(&["label ampoule.dev/inject of the pod is \"yes\", not \"true\""]),
        ),
        (
            json!({ "inject-flyte-secrets": true }),
            "shop",
            "{}",
            None,
            not_called(&["label inject-flyte-secrets of the pod is not a text; write \"true\" with its quotes"]),
        ),
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
        let metadata = json!({ "labels": labels, "annotations": { "ampoule.dev/secrets": "[]" } });
        let pod = json!({ "metadata": metadata, "spec": { "containers": [] } });
        let pod = Pod::parse(pod).unwrap();
        let found = rules(registration, of_namespace, |rules| rules.call(&pod, namespace));
        assert_eq!(found, expected, "{labels} {namespace} {registration}");
    }
}

#[test]
fn a_pod_is_sent_to_the_webhook_only_if_it_meets_the_conditions_of_the_registration() {
    let requests_nothing = "the pod has no annotation of Ampoule or Flyte, and no text with a colon, as in a reference, \
                            in the variables, command or args of a container (matchConditions requests-secrets of the \
                            registration";
    let own = "the pod is one of the webhook's: it has service account ampoule in namespace ampoule (matchConditions \
               not-own-pods of the registration";
    let chart = "; assumed: the registration of the chart";
    let chart_and_version = "; assumed: the registration of the chart, and Kubernetes 1.30 or later (--server-version)";
    let version = "; assumed: Kubernetes 1.30 or later (--server-version)";
    let pod = |annotations: Value, container: Value| {
        json!({
            "metadata": { "labels": { "ampoule.dev/inject": "true" }, "annotations": annotations },
            "spec": { "serviceAccountName": "ampoule", "containers": [container] },
        })
    };
    let requests = json!({ "ampoule.dev/secrets": "[]" });
    let silent = pod(Value::Null, json!({ "args": ["run"], "env": null }));
    let created = "{ create: true }";
    let everywhere = "{ namespaceSelector: {} }";
    for (server, registration, pod, namespace, expected) in [
        (None, "{}", &silent, "shop", Some((requests_nothing, chart_and_version))),
        (Some("v1.36.2"), "{}", &silent, "shop", Some((requests_nothing, chart))),
        (Some("1.29"), "{}", &silent, "shop", None),
        (None, created, &silent, "shop", Some((requests_nothing, version))),
        (Some("1.30"), created, &silent, "shop", Some((requests_nothing, ""))),
        (Some("1.29"), created, &silent, "shop", None),
        (None, "{}", &pod(requests.clone(), json!({})), "shop", None),
        (None, "{}", &pod(json!({ "ampoule.dev/secret": "" }), json!({})), "shop", None),
        (None, "{}", &pod(json!({}), json!({ "env": [{ "name": "A", "value": "secret://a/b" }] })), "shop", None),
        (None, "{}", &pod(json!({}), json!({ "args": ["secret:/a/b"] })), "shop", None),
        (None, "{}", &pod(json!({}), json!({ "env": [{ "name": "A", "value": 5 }] })), "shop", None),
        (None, everywhere, &pod(requests.clone(), json!({})), "ampoule", Some((own, chart_and_version))),
        (Some("1.30"), "{ create: true, namespaceSelector: {} }", &pod(requests, json!({})), "ampoule", None),
    ] {
        let expected = match expected {
            None => WebhookCall::Called,
            Some((reason, assumption)) => WebhookCall::NotCalled(vec![format!("{reason}{assumption})")]),
        };
        assert_eq!(called_by(server, registration, pod, namespace), expected, "{server:?} {registration} {pod}");
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
fn a_label_that_is_an_annotation_is_named() {
    let mut pod = asking();
    pod["metadata"]["labels"] = json!({});
    pod["metadata"]["annotations"]["ampoule.dev/inject"] = json!("true");
    let explained = explain(&pod, "{}", None).text();
    assert!(
        explained.contains("\nreason: ampoule.dev/inject is an annotation of the pod, not a label\n"),
        "{explained}"
    );
    assert!(explained.contains("\nwarning: annotation ampoule.dev/inject is ignored: it is a label\n"), "{explained}");
}

#[test]
fn ephemeral_containers_of_a_new_pod_are_a_note() {
    let mut pod = asking();
    assert!(!explain(&pod, "{}", None).text().contains("ephemeral"));
    pod["spec"]["ephemeralContainers"] = json!([{ "name": "debugger" }]);
    let note = "  note: ephemeral containers are passed over, because a new pod has none; kubectl debug adds them by an \
                update of the pod\n";
    assert!(explain(&pod, "{}", None).text().contains(note));
}

#[test]
fn an_update_of_ephemeral_containers_is_sent_only_if_the_registration_has_it() {
    let pod = |containers: Value| {
        let mut pod = asking();
        pod["kind"] = json!("Pod");
        pod["spec"]["ephemeralContainers"] = containers;
        pod
    };
    let review = |operation: &str, sub_resource: &str| {
        json!({
            "uid": "1",
            "operation": operation,
            "subResource": sub_resource,
            "namespace": "shop",
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "object": pod(json!([{ "name": "debugger" }])),
            "oldObject": pod(Value::Null),
        })
    };
    let parse = |review: &Value| {
        let text = document("AdmissionReview", "admission.k8s.io/v1", &json!({ "request": review }));
        PodDocument::parse(&text).unwrap()
    };
    let explain = |review: &Value, registration: &str| {
        rules(registration, None, |rules| run(Explanation::explain_pod(parse(review), &PIPELINE, rules)))
    };
    let debug = review("UPDATE", "ephemeralcontainers");
    let explained = explain(&debug, "{}").unwrap().text();
    let reason =
        "\nreason: the registration has no updates of ephemeral containers (registration.ephemeralContainers)\n";
    assert!(explained.contains(reason) && !explained.contains("passed over"), "{explained}");
    let explained = explain(&debug, "{ ephemeralContainers: true }").unwrap().text();
    assert!(explained.contains("\nverdict: allowed, with "), "{explained}");
    let error = explain(&review("UPDATE", ""), "{}").map(|explained| explained.text()).unwrap_err().to_string();
    let expected = "the review neither creates a pod nor adds ephemeral containers to one; the webhook admits such an \
                    object unchanged";
    assert_eq!(error, expected);
}

#[test]
fn a_secret_that_refuses_the_pod_is_not_blamed_on_an_earlier_one() {
    let mut pod = asking();
    pod["metadata"]["annotations"] = json!({ "ampoule.dev/secrets": "[{ group: g, key: k, containers: [none] }]" });
    let explained = explain(&pod, "{}", None).text();
    assert!(explained.contains("\n  not processed: the pod is refused before an injector is asked\n"), "{explained}");
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
