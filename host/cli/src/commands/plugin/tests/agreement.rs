//! `plugin test` and `explain` agree: the same edits, pod and permissions are injected by both, or
//! refused by both with the same message.
//!
//! The guest makes the edits of its settings.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{folder, guests};
use crate::{
    args::CallArg,
    commands::{explain::Explanation, input::PodDocument, plugin::answer::CaseAnswer, webhook_call::CallRules},
};
use ampoule_components::builtins;
use ampoule_config::Config;
use ampoule_plugin_bundle::COMPONENTS;
use ampoule_server::plugins::Loader;
use ampoule_telemetry::metrics::Metrics;

/// The edits of a plugin, and what both commands make of them.
struct Row {
    edits: Value,
    bytes: &'static [u8],
    /// Section `edits` of the injector.
    permissions: Value,
    /// Fields of the pod's spec.
    spec: Value,
    /// The end of the refusal; empty if the pod is admitted.
    refusal: &'static str,
}

// === impl Row ===

impl Row {
    fn new(edits: Value, refusal: &'static str) -> Self {
        Self { edits, bytes: b"value", permissions: json!({}), spec: json!({}), refusal }
    }

    fn settings(&self) -> Value {
        json!({ "edits": self.edits, "bytes": self.bytes })
    }

    fn pod(&self) -> Value {
        let annotation = "[{ group: db, key: password, env: DB_PASSWORD }]";
        let mut pod = json!({
            "metadata": { "name": "web", "annotations": { "ampoule.dev/secrets": annotation, "own": "pod" } },
            "spec": { "containers": [{ "name": "main" }] },
        });
        let spec = pod["spec"].as_object_mut().unwrap();
        spec.extend(self.spec.as_object().unwrap().clone());
        pod
    }

    /// The refusal of `plugin test`; empty if the answer is injected.
    fn tested(&self) -> String {
        let case = json!({
            "settings": self.settings(),
            "edits": self.permissions,
            "request": { "group": "db", "key": "password", "mount": "env-var", "envVar": "DB_PASSWORD" },
            "pod": self.pod(),
        });
        let folder = folder(&[("a.yaml", &case.to_string())]);
        let run = guests::run_case("edits", &folder);
        match &run.answers[..] {
            [CaseAnswer::Edits(_)] => String::new(),
            [CaseAnswer::Rejected(refusal)] => refusal.message.clone(),
            [CaseAnswer::Failed { failure, .. }] => failure.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// The refusal of `explain`; empty if the pod is admitted.
    fn explained(&self, folder: &TempDir) -> String {
        let injector = json!({ "settings": self.settings(), "edits": self.permissions });
        let explanation = explain(folder, "edits", injector, self.pod());
        let verdict = &explanation.json()["verdict"];
        verdict["message"].as_str().unwrap_or_default().to_owned()
    }
}

/// Explains a pod whose only injector is this guest.
fn explain(folder: &TempDir, guest: &str, mut injector: Value, mut pod: Value) -> Explanation {
    let file = folder.path().join("plugin.wasm");
    fs::write(&file, ampoule_test_guests::guest(guest)).unwrap();
    injector["name"] = "guest".into();
    injector["component"] = format!("file:{}", file.display()).into();
    let config = json!({ "profile": "flyte-v1", "injectors": [injector] });
    let config = Config::parse(&config.to_string(), &builtins::names(COMPONENTS)).unwrap();
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["labels"]["ampoule.dev/inject"] = "true".into();
    let input = PodDocument::parse(&pod.to_string()).unwrap();
    let namespace = CallArg::with_labels(None);
    let rules = CallRules::new(&config.registration, &namespace);
    guests::block_on(async {
        let loaded = Loader::new(COMPONENTS, Metrics::new()).in_process().load(&config).await.unwrap();
        Explanation::explain_pod(input, &loaded.pipeline, &rules).await.unwrap()
    })
}

fn rows() -> Vec<Row> {
    let volume = |name: &str| json!({ "volumes": [{ "name": name, "emptyDir": {} }] });
    let with_mount = json!({ "containers": [{
        "name": "main", "volumeMounts": [{ "name": "data", "mountPath": "/etc/flyte/secrets/x" }],
    }] });
    vec![
        Row::new(json!([["env", "A", "x"]]), ""),
        Row::new(json!([["promise", "A"]]), ""),
        Row::new(json!([["memory", "m"], ["mount", "m", "/etc/flyte/secrets/x"]]), ""),
        // Edits that are not valid.
        Row::new(
            json!([["env", "A=B", "x"]]),
            "plugin guest 1.0.0 made an invalid edit: environment variable name \"A=B\" must be printable ASCII \
             without '='",
        ),
        Row::new(
            json!([["memory", "Not_A_Label"]]),
            "made an invalid edit: volume name \"Not_A_Label\" must be a DNS label of at most 63 characters",
        ),
        Row::new(
            json!([["memory", "m"], ["mount", "m", "relative"]]),
            "made an invalid edit: mount path \"relative\" must be absolute and must not contain ':' or '..'",
        ),
        Row::new(
            json!([["annotation", "ampoule.dev/secrets", "x"]]),
            "made an invalid edit: annotation ampoule.dev/secrets is reserved for secret requests and cannot be set by \
             a plugin",
        ),
        // Conflicts.
        Row::new(json!([["env", "A", "x"], ["env", "A", "y"]]), "A"),
        Row { bytes: b"\xff", ..Row::new(json!([["promise", "A"]]), "UTF-8") },
        Row { spec: volume("m"), ..Row::new(json!([["secret", "m", "db"]]), "m") },
        Row {
            permissions: json!({ "podVolumes": ["*"] }),
            ..Row::new(json!([["mount", "missing", "/etc/flyte/secrets/x"]]), "missing")
        },
        Row { spec: with_mount, ..Row::new(json!([["memory", "m"], ["mount", "m", "/etc/flyte/secrets/x"]]), "x") },
        Row {
            permissions: json!({ "annotations": ["*"] }),
            ..Row::new(json!([["own-annotation", "own", "plugin"]]), "own")
        },
        // Permissions.
        Row::new(
            json!([["env", "LD_PRELOAD", "x"]]),
            "denied: the plugin answered with the variable \"LD_PRELOAD\", which its permissions do not cover \
             (edits.variables)",
        ),
        Row {
            permissions: json!({ "variables": ["LD_PRELOAD"] }),
            ..Row::new(json!([["env", "LD_PRELOAD", "x"]]), "")
        },
        Row::new(
            json!([["annotation", "a", "b"]]),
            "denied: the plugin answered with the annotation \"a\", which its permissions do not cover \
             (edits.annotations)",
        ),
        Row { permissions: json!({ "annotations": ["a"] }), ..Row::new(json!([["annotation", "a", "b"]]), "") },
        Row::new(
            json!([["pull-secret", "registry"]]),
            "denied: the plugin answered with the image pull secret \"registry\", which its permissions do not cover \
             (edits.imagePullSecrets)",
        ),
        Row::new(
            json!([["init-container", "i", "busybox"]]),
            "denied: the plugin answered with an init container of the image \"busybox\", which its permissions do not \
             cover (edits.images)",
        ),
        Row::new(
            json!([["memory", "m"], ["mount", "m", "/opt"]]),
            "denied: the plugin answered with a mount at \"/opt\", which its permissions do not cover (edits.mounts)",
        ),
        Row {
            spec: volume("data"),
            ..Row::new(
                json!([["mount", "data", "/etc/flyte/secrets/x"]]),
                "denied: the plugin answered with a mount of the pod's volume \"data\", which its permissions do not \
                 cover (edits.podVolumes)",
            )
        },
    ]
}

#[test]
fn plugin_test_refuses_what_explain_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for row in rows() {
        let (tested, explained) = (row.tested(), row.explained(&folder));
        // A failure of the plugin is part of the refusal.
        let agree = if tested.starts_with("plugin ") { explained.ends_with(&tested) } else { tested == explained };
        if !agree || tested.is_empty() != row.refusal.is_empty() || !tested.contains(row.refusal) {
            wrong.push(format!(
                "{}\n  test:    {tested}\n  explain: {explained}\n  row:     {}",
                row.edits, row.refusal
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn explain_shows_the_reason_of_a_trap_and_the_author_of_the_pod_does_not_see_it() {
    let folder = tempfile::tempdir().unwrap();
    let explanation = explain(&folder, "panics", json!({}), Row::new(json!([]), "").pod());
    let text = explanation.text();
    assert!(text.contains("\n    panicked at tests/sandbox/guests/examples/panics.rs:"), "{text}");
    let json = explanation.json();
    let details = json["requests"][0]["attempts"][0]["details"].as_str().unwrap();
    assert!(details.contains("the reason is here\n"), "{details}");
    let message = json["verdict"]["message"].as_str().unwrap();
    let expected = "could not be injected: guest: plugin guest 1.0.0 trapped: wasm `unreachable` instruction executed";
    assert!(message.ends_with(expected), "{message}");
}
