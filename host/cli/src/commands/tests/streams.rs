//! `explain` with several objects: the output of `kustomize build`, of `kubectl get`, and workloads
//! of other projects.
//!
//! `rejects_an_invalid_document` in the parent has the errors of one document.

use serde_json::{Value, json};

use super::{PIPELINE, asking, calls::rules, document, run};
use crate::commands::{
    explain::StreamExplanation,
    input::{PodDocument, PodStream},
};

const KUSTOMIZED: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
---
apiVersion: v1
kind: Service
metadata: { name: web }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: shop }
spec:
  template:
    metadata:
      labels: { ampoule.dev/inject: \"true\" }
      annotations: { ampoule.dev/secrets: \"[{ group: db, key: password }]\" }
    spec: { containers: [{ name: web, image: web }] }
---
# A comment makes an empty document.
---
apiVersion: batch/v1
kind: CronJob
metadata: { name: clean, labels: { ampoule.dev/inject: \"true\" } }
spec: { jobTemplate: { spec: { template: { spec: { containers: [{ name: clean, image: clean }] } } } } }
---
apiVersion: v1
kind: Service
metadata: { name: other }
";

fn explain(text: &str) -> StreamExplanation {
    rules("{}", None, |rules| {
        run(StreamExplanation::explain(PodStream::parse(text).unwrap(), &PIPELINE, rules)).unwrap()
    })
}

#[test]
fn explains_the_workloads_of_a_stream_and_counts_the_other_objects() {
    let explained = explain(KUSTOMIZED);
    insta::assert_snapshot!(explained.text(), @r#"
    Deployment:
    pod shop/web

    secret db/password (annotation ampoule.dev/secrets[0], mount env-var, variable DB_PASSWORD)
      global: not found: secrets not found - Env [FLYTE_SECRET_DB_PASSWORD], file [/etc/secrets/db/password]
      k8s: injected (3 edits)

    verdict: allowed, with 1 change

    CronJob:
    pod default/clean
      warning: the label or an annotation of Ampoule is on the workload; it belongs in the metadata of the pod template
      requests no secret

    verdict: not called; the pod starts without secrets
    reason: the pod has neither label ampoule.dev/inject nor inject-flyte-secrets with the value "true"
    if the webhook were called: allowed, unchanged

    2 with pods, 0 refused, 1 not sent to the webhook; passed over, because they have no pod: 1 ConfigMap, 2 Service
    "#);
    let json = explained.json();
    assert_eq!(json["passedOver"], json!({ "ConfigMap": 1, "Service": 2 }));
    let kinds: Vec<_> = json["objects"].as_array().unwrap().iter().map(|object| &object["kind"]).collect();
    assert_eq!(kinds, ["Deployment", "CronJob"]);
}

/// kustomize writes the label into both metadata with `includeTemplates`.
#[test]
fn a_label_on_a_workload_and_on_its_pod_template_is_not_misplaced() {
    let marks = json!({ "labels": { "ampoule.dev/inject": "true" }, "annotations": { "ampoule.dev/secrets": "[]" } });
    let template = |metadata: &Value| json!({ "metadata": metadata, "spec": { "containers": [] } });
    let of = |metadata: &Value, pod: &Value| {
        let object = json!({ "metadata": metadata, "spec": { "template": template(pod) } });
        explain(&document("Deployment", "apps/v1", &object)).text().contains("warning: the label or an annotation")
    };
    let (label, annotation) = (json!({ "labels": marks["labels"] }), json!({ "annotations": marks["annotations"] }));
    for (workload, pod, expected) in [
        (&marks, &marks, false),
        (&label, &marks, false),
        (&label, &annotation, true),
        (&marks, &label, true),
        (&json!({}), &marks, false),
    ] {
        assert_eq!(of(workload, pod), expected, "{workload} {pod}");
    }
}

#[test]
fn a_list_is_a_stream_and_one_document_is_none() {
    let items = [document("Pod", "v1", &asking()), document("Service", "v1", &json!({}))];
    let items: Vec<Value> = items.iter().map(|item| serde_json::from_str(item).unwrap()).collect();
    let json = explain(&json!({ "kind": "List", "apiVersion": "v1", "items": items }).to_string()).json();
    assert_eq!((json["objects"].as_array().unwrap().len(), &json["passedOver"]), (1, &json!({ "Service": 1 })));
    let text = [items[0].to_string(), items[1].to_string()].join("\n");
    assert_eq!(explain(&text).json(), json, "documents of JSON after each other");
    let only = explain(&items[0].to_string());
    assert_eq!(only.json()["verdict"]["allowed"], true);
    assert!(only.text().starts_with("pod default/train\n"));
    let nothing = explain("kind: Service\n---\nkind: ConfigMap\n");
    assert_eq!(
        nothing.text(),
        "0 with pods, 0 refused; passed over, because they have no pod: 1 ConfigMap, 1 Service\n"
    );
}

#[test]
fn a_kind_of_another_project_is_a_workload_if_it_has_a_pod_template() {
    let template = json!({ "spec": { "template": asking() } });
    for (kind, api_version) in [("Rollout", "argoproj.io/v1alpha1"), ("Service", "serving.knative.dev/v1")] {
        let explained = explain(&document(kind, api_version, &template)).json();
        assert_eq!((&explained["kind"], &explained["verdict"]["changes"]), (&json!(kind), &json!(1)));
    }
    let cron = json!({ "spec": { "jobTemplate": { "spec": { "template": asking() } } } });
    assert_eq!(explain(&document("CronWorkflowLike", "a/v1", &cron)).json()["verdict"]["changes"], 1);
}

#[test]
fn the_errors_of_a_stream_name_the_object() {
    for (text, expected) in [
        ("kind: Service\n---\nkind: Job\nspec: {}\n", "object 2: spec.template is missing"),
        (
            "kind: Service\n---\nkind: Pod\nspec: {}\n",
            "object 2: the document is not a pod: spec.containers must be a list",
        ),
    ] {
        assert_eq!(format!("{:#}", PodStream::parse(text).unwrap_err()), expected);
    }
    let error = PodDocument::parse("kind: Pod\n---\nkind: Pod\n").unwrap_err();
    assert_eq!(error.to_string(), "the input has 2 documents; `ampoule explain` reads several");
}
