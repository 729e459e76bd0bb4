//! `mutate` and `explain` with the built-in plugins and the pipeline of `serve`.
//!
//! The pods contain only the fields that the printed results need.

mod calls;
mod streams;

use std::sync::LazyLock;

use ampoule_core::Admitted;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use super::{explain::Explanation, input::PodDocument, mutate::MutatedDocument, output, webhook_call::CallRules};
use crate::args::{CallArg, MutateOutput};
use ampoule_admission::pipeline::Pipeline;
use ampoule_components::builtins;
use ampoule_config::{Config, RegistrationConfig};
use ampoule_review::ReviewSubject;
use ampoule_server::plugins::Loader;
use ampoule_telemetry::metrics::Metrics;

/// Flyte's annotation for group user-info, key user_secret, as a variable.
const AS_VARIABLE: &str =
    "m4zg54lqhiqce4ltmvzc11lomzxsectlmv3tuibcovzwk3s6onswg3tfoqrau2lpovxhix2smvyxk1lsmvwwk2tuhiqektswl4lecuqk";

/// The same for a group without a key.
const WITHOUT_KEY: &str = "m4zg54lqhiqce4ltmvzc11lomzxsecq";

static PIPELINE: LazyLock<Pipeline> = LazyLock::new(|| pipeline("globalSecrets: { enabled: true }"));

fn pipeline(config: &str) -> Pipeline {
    let builtins = ampoule_plugin_bundle::COMPONENTS;
    let config = Config::parse(config, &builtins::names(builtins)).unwrap();
    run(Loader::new(builtins, Metrics::new()).load(&config)).unwrap().pipeline
}

/// An explanation with the registration of a configuration without keys.
fn explain(input: PodDocument, pipeline: &Pipeline) -> Explanation {
    let arg = CallArg::with_labels(None);
    let registration = RegistrationConfig::default();
    run(Explanation::explain_pod(input, pipeline, &CallRules::new(&registration, &arg))).unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn pod(annotations: &Value) -> Value {
    json!({
        "metadata": { "name": "train", "labels": { "inject-flyte-secrets": "true" }, "annotations": annotations },
        "spec": { "containers": [{ "name": "main", "brandNew": { "field": 1 } }] },
    })
}

fn asking() -> Value {
    pod(&json!({ "flyte.secrets/s0": AS_VARIABLE }))
}

fn document(kind: &str, api_version: &str, content: &Value) -> String {
    let mut document = json!({ "apiVersion": api_version, "kind": kind });
    document.as_object_mut().unwrap().extend(content.as_object().unwrap().clone());
    document.to_string()
}

fn mutated(text: &str) -> MutatedDocument {
    run(MutatedDocument::mutate(PodDocument::parse(text).unwrap(), &PIPELINE)).unwrap()
}

fn printed(text: &str, format: MutateOutput) -> String {
    let mutated = mutated(text);
    let admitted: &Admitted = mutated.outcome.as_ref().unwrap();
    mutated.render(admitted, format).unwrap()
}

fn env(pod: &Value) -> &Value {
    &pod["spec"]["containers"][0]["env"][0]
}

fn expected_env() -> Value {
    json!({
        "name": "_FSEC_USER-INFO_USER_SECRET",
        "valueFrom": { "secretKeyRef": { "name": "user-info", "key": "user_secret", "optional": true } },
    })
}

#[test]
fn mutates_a_pod_and_keeps_unknown_fields() {
    let after: Value = serde_json::from_str(&printed(&document("Pod", "v1", &asking()), MutateOutput::Json)).unwrap();
    assert_eq!(env(&after), &expected_env());
    assert_eq!(after["spec"]["containers"][0]["brandNew"], json!({ "field": 1 }));
}

#[test]
fn mutates_the_pod_template_of_every_workload() {
    let template = json!({ "template": asking() });
    let spec = json!({ "spec": template, "status": { "kept": true } });
    let cron = json!({ "spec": { "jobTemplate": { "spec": template } } });
    for (kind, api_version, content, at) in [
        ("Deployment", "apps/v1", &spec, "/spec/template"),
        ("StatefulSet", "apps/v1", &spec, "/spec/template"),
        ("DaemonSet", "apps/v1", &spec, "/spec/template"),
        ("ReplicaSet", "apps/v1", &spec, "/spec/template"),
        ("Job", "batch/v1", &spec, "/spec/template"),
        ("CronJob", "batch/v1", &cron, "/spec/jobTemplate/spec/template"),
        ("PodTemplate", "v1", &template, "/template"),
    ] {
        let text = document(kind, api_version, content);
        let before: Value = serde_json::from_str(&text).unwrap();
        let after: Value = serde_json::from_str(&printed(&text, MutateOutput::Json)).unwrap();
        assert_eq!(env(after.pointer(at).unwrap()), &expected_env(), "{kind}");
        let patch: json_patch::Patch = serde_json::from_str(&printed(&text, MutateOutput::Patch)).unwrap();
        let mut patched = before;
        json_patch::patch(&mut patched, &patch).unwrap();
        assert_eq!(patched, after, "{kind}");
    }
}

#[test]
fn prints_yaml_that_parses_to_the_same_object() {
    let mut object = asking();
    object["spec"]["containers"][0]["args"] = json!([
        "0644",
        "yes",
        "n",
        "1e3",
        "~",
        "null",
        "",
        " ",
        "1_000",
        "0x1F",
        "0o7",
        "12:30",
        "2001-01-01",
        "-",
        "- a",
        "a: b",
        "# x",
        "a #b",
        "two\nlines\n",
        "tail ",
        "\ttab",
        "'",
        "\"",
        "\\n",
        "{}",
        "[",
        "*a",
        "&a",
        "!a",
        "%a",
        "@a",
        "`a",
        "---",
        "é\u{0}\u{85}\u{feff}",
        "=",
        "<<",
        ".inf",
        ".nan",
        "+1",
        "1.",
        "x".repeat(300),
        1,
        1.5,
        true,
        null,
        {},
        [],
    ]);
    let text = document("Pod", "v1", &object);
    let yaml = printed(&text, MutateOutput::Yaml);
    let json: Value = serde_json::from_str(&printed(&text, MutateOutput::Json)).unwrap();
    assert_eq!(PodDocument::parse(&yaml).unwrap().object, json, "{yaml}");
}

#[test]
fn prints_a_diff_of_the_object() {
    let mut object = asking();
    object["spec"]["containers"] = json!([{ "name": "main" }]);
    let expected = "\
--- before
+++ after
@@ -9,3 +9,12 @@
 spec:
   containers:
   - name: main
+    env:
+    - name: _FSEC_USER-INFO_USER_SECRET
+      valueFrom:
+        secretKeyRef:
+          name: user-info
+          key: user_secret
+          optional: true
+    - name: FLYTE_SECRETS_ENV_PREFIX
+      value: _FSEC_
";
    let diff = printed(&document("Pod", "v1", &object), MutateOutput::Diff);
    assert_eq!(diff.replace(AS_VARIABLE, "ANNOTATION"), expected);
    let untouched = document("Pod", "v1", &pod(&json!({})));
    assert_eq!(printed(&untouched, MutateOutput::Diff), "");
}

#[test]
fn prints_identifying_keys_first_and_sorts_the_others() {
    let document = json!({
        "spec": { "containers": [{ "image": "i", "env": [], "name": "main", "args": ["z", "a"] }] },
        "metadata": {}, "kind": "Pod", "apiVersion": "v1",
    });
    let expected = "apiVersion: v1\nkind: Pod\nmetadata: {}\nspec:\n  containers:\n  - name: main\n    args:\n    - z\n    - a\n    env: []\n    image: i\n";
    assert_eq!(output::yaml(&document).unwrap(), expected);
}

#[test]
fn colours_a_diff_on_request() {
    let diff = output::diff([("before", "a\nb\n"), ("after", "a\nc\n")], true);
    assert!(diff.contains("\u{1b}[31m-b\u{1b}[0m\n\u{1b}[32m+c\u{1b}[0m\n"), "{diff:?}");
}

#[test]
fn answers_a_review_as_the_webhook_does() {
    let request = json!({ "uid": "7f", "operation": "CREATE", "namespace": "flyte", "object": asking() });
    let text = document("AdmissionReview", "admission.k8s.io/v1beta1", &json!({ "request": request }));
    let answer: Value = serde_json::from_str(&printed(&text, MutateOutput::Review)).unwrap();
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1beta1");
    assert_eq!((&answer["response"]["uid"], &answer["response"]["allowed"]), (&json!("7f"), &json!(true)));
    assert_eq!(answer["response"]["patchType"], "JSONPatch");
}

#[test]
fn a_second_mutation_changes_nothing() {
    let once = printed(&document("Pod", "v1", &asking()), MutateOutput::Json);
    assert_eq!(printed(&once, MutateOutput::Patch), "[]\n");
}

#[test]
fn explains_each_injectors_answer() {
    let input = PodDocument::parse(&document("Pod", "v1", &asking())).unwrap();
    let explanation = explain(input, &PIPELINE);
    let expected = "\
pod default/train

secret user-info/user_secret (annotation flyte.secrets/s0, mount env-var)
  global: not found: secrets not found - Env [FLYTE_SECRET_USER-INFO_USER_SECRET], file [/etc/secrets/user-info/user_secret]
  k8s: injected (2 edits)

verdict: allowed, with 1 change
";
    assert_eq!(explanation.text(), expected);
    let json = explanation.json();
    assert_eq!(json["requests"][0]["attempts"][1]["answer"], "injected");
    assert_eq!(json["verdict"], json!({ "called": true, "allowed": true, "changes": 1, "warnings": [] }));
}

#[test]
fn explains_both_protocols_in_one_pod() {
    let list = "- {group: openai, key: api-key}\n- {group: tls, key: ca.crt, file: true, env: CA}";
    let mut object = pod(&json!({ "ampoule.dev/secrets": list, "flyte.secrets/s0": AS_VARIABLE }));
    object["metadata"]["labels"] = json!({ "ampoule.dev/inject": "true" });
    let expected = "\
pod default/train

secret user-info/user_secret (annotation flyte.secrets/s0, mount env-var)
  global: not found: secrets not found - Env [FLYTE_SECRET_USER-INFO_USER_SECRET], file [/etc/secrets/user-info/user_secret]
  k8s: injected (2 edits)

secret openai/api-key (annotation ampoule.dev/secrets[0], mount env-var, variable OPENAI_API_KEY)
  global: not found: secrets not found - Env [FLYTE_SECRET_OPENAI_API-KEY], file [/etc/secrets/openai/api-key]
  k8s: injected (3 edits)

secret tls/ca.crt (annotation ampoule.dev/secrets[1], mount file, variable CA)
  global: not found: secrets not found - Env [FLYTE_SECRET_TLS_CA.CRT], file [/etc/secrets/tls/ca.crt]
  k8s: injected (5 edits)

verdict: allowed, with 3 changes
";
    let template = json!({ "spec": { "template": object } });
    for text in [document("Pod", "v1", &object), document("Deployment", "apps/v1", &template)] {
        let explanation = explain(PodDocument::parse(&text).unwrap(), &PIPELINE);
        assert_eq!(explanation.text().replace("default/(unnamed)", "default/train"), expected);
    }
    let after: Value = serde_json::from_str(&printed(&document("Pod", "v1", &object), MutateOutput::Json)).unwrap();
    let env = after["spec"]["containers"][0]["env"].as_array().unwrap();
    let of = |name: &str| env.iter().find(|entry| entry["name"] == name).unwrap_or(&Value::Null);
    let key = &of("OPENAI_API_KEY")["valueFrom"]["secretKeyRef"];
    assert_eq!(key, &json!({ "name": "openai", "key": "api-key", "optional": true }));
    assert_eq!(of("CA")["value"], "/etc/flyte/secrets/tls/ca.crt");
}

#[test]
fn explains_an_invalid_entry_by_its_index() {
    let object =
        pod(&json!({ "ampoule.dev/secrets": "- {group: g, key: a}\n- {group: openai, key: api-key, env: a=b}" }));
    let expected = "\
pod default/train

verdict: refused with code 400
annotation ampoule.dev/secrets[1].env: \"a=b\" must have printable ASCII characters other than = only
";
    let input = PodDocument::parse(&document("Pod", "v1", &object)).unwrap();
    assert_eq!(explain(input, &PIPELINE).text(), expected);
}

#[test]
fn explains_a_refusal() {
    let object = pod(&json!({ "flyte.secrets/s0": WITHOUT_KEY, "flyte.secrets/s1": AS_VARIABLE }));
    let input = PodDocument::parse(&document("Pod", "v1", &object)).unwrap();
    let global = "global: invalid request: both key and group are required parameters. Secret: [user-info/]";
    let k8s = "k8s: invalid request: k8s Secrets Webhook require both key and group to be set. Secret: [user-info/]";
    let expected = format!(
        "\
pod default/train

secret user-info/ (annotation flyte.secrets/s0, mount any)
  {global}
  {k8s}

secret user-info/user_secret (annotation flyte.secrets/s1, mount env-var)
  not processed: an earlier secret failed

verdict: refused with code 400
secret user-info/ (annotation flyte.secrets/s0, mount any) could not be injected: {global}; {k8s}
"
    );
    let explanation = explain(input, &PIPELINE);
    assert_eq!(explanation.text(), expected);
    assert_eq!(explanation.json()["verdict"]["reason"], "BadRequest");
}

#[test]
fn explains_an_annotation_that_cannot_be_parsed() {
    let input = PodDocument::parse(&document("Pod", "v1", &pod(&json!({ "flyte.secrets/s0": "0" })))).unwrap();
    let expected = "\
pod default/train

verdict: refused with code 400
annotation flyte.secrets/s0: illegal base32 data at input byte 0
";
    assert_eq!(explain(input, &PIPELINE).text(), expected);
}

#[test]
fn rejects_an_invalid_document() {
    let refuses = |text: &str, expected: &str| {
        assert_eq!(format!("{:#}", PodDocument::parse(text).unwrap_err()), expected, "{text}");
    };
    refuses(" \n", "the document is empty: expected a Pod, a workload or an AdmissionReview");
    refuses("{", "invalid JSON: EOF while parsing an object at line 1 column 1");
    refuses(
        "kind: Service",
        "kind Service has no pod: expected Pod, AdmissionReview, Deployment, StatefulSet, DaemonSet, ReplicaSet, \
         ReplicationController, Job, CronJob, PodTemplate, or a pod at spec.template",
    );
    refuses("kind: Job\nspec: {}", "spec.template is missing");
    refuses("kind: Job\nspec: { template: { spec: 1 } }", "spec.template is not a pod: spec must be an object");
    refuses("kind: Pod\nspec: {}", "the document is not a pod: spec.containers must be a list");
    refuses(
        "kind: AdmissionReview\napiVersion: admission.k8s.io/v2",
        "unsupported apiVersion of the AdmissionReview: expected admission.k8s.io/v1 or v1beta1",
    );
    refuses("kind: AdmissionReview\napiVersion: admission.k8s.io/v1", "request must be an object");
}

#[test]
fn reads_yaml_as_kubectl_does() {
    let yaml =
        "kind: Pod\nmetadata: { name: a }\nspec: { containers: [{ name: a, a: 0644, b: \"0644\", c: yes, d: 1_000 }] }";
    let input = PodDocument::parse(yaml).unwrap();
    let expected = json!({ "name": "a", "a": 0o644, "b": "0644", "c": true, "d": 1000 });
    assert_eq!(input.object["spec"]["containers"][0], expected);
    assert!(matches!(input.request.subject, ReviewSubject::Pod(_)));
    assert_eq!(input.request.namespace, "default");
}

#[test]
fn explains_which_rule_decides_and_what_the_others_do() {
    let rules = "policy: { rules: [\
        { name: trial, when: \"request.group == 'tls'\", message: m, shadow: true }, \
        { name: note, when: 'true', action: audit }, \
        { name: own, when: \"request.group == 'tls' && injector.builtin\", message: ask the team }, \
        { name: labels, when: \"pod.labels.team == 'a'\", action: audit }] }";
    let list = "- {group: openai, key: api-key}\n- {group: tls, key: ca.crt, file: true}";
    let mut object = pod(&json!({ "ampoule.dev/secrets": list }));
    object["metadata"]["labels"] = json!({ "ampoule.dev/inject": "true" });
    let input = PodDocument::parse(&document("Pod", "v1", &object)).unwrap();
    let explanation = explain(input, &pipeline(rules));
    let expected = "\
pod default/train

secret openai/api-key (annotation ampoule.dev/secrets[0], mount env-var, variable OPENAI_API_KEY)
  policy rule note (audit)
  policy rule labels cannot be evaluated: a map does not contain the key; use `in` or has() before the access (audit)
  k8s: injected (3 edits)

secret tls/ca.crt (annotation ampoule.dev/secrets[1], mount file)
  policy rule trial: m (shadow: would deny)
  policy rule note (audit)
  policy rule labels cannot be evaluated: a map does not contain the key; use `in` or has() before the access (audit)
  policy rule own: ask the team (decides: deny, injector k8s)

verdict: refused with code 403
secret tls/ca.crt (annotation ampoule.dev/secrets[1], mount file) is denied for injector k8s: policy rule own: ask the team
";
    assert_eq!(explanation.text(), expected);
    let policy = &explanation.json()["requests"][1]["policy"];
    let own =
        json!({ "rule": "own", "action": "deny", "shadow": false, "decides": true, "injector": "k8s", "error": null });
    assert!(policy.as_array().unwrap().contains(&own), "{policy}");
}
