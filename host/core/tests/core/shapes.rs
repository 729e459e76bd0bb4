//! Shapes of pods besides init containers and containers: ephemeral containers of a running pod,
//! sidecars, pods for Windows, and mirrors of static pods.
//!
//! `tests/e2e/shapes.rs` has the same shapes on an API server.

use std::sync::Arc;

use ampoule_core::{
    AnnotationCollision, Delivery, EnvSource, EnvVar, FileSource, InjectionError, Mutation, NoDelivery, Pod, PodEdit,
    PodMutator, Profile, SecretFile, SecretKeyRef, VolumeMount,
};
use serde_json::{Value, json};

use crate::{
    edits::{annotation, memory_volume, mount, puller, secret_env, secret_volume},
    support::{Scripted, mutate, mutated, mutator, pod_asking},
};

fn file(path: &str, key: &str) -> PodEdit {
    let source = SecretKeyRef { name: "db".into(), key: key.into(), optional: false };
    PodEdit::WriteFile(SecretFile { path: path.into(), mode: None, source: FileSource::SecretKey(source) })
}

/// Variables, files, an init container, an annotation and an image pull secret.
fn everything() -> Vec<PodEdit> {
    vec![
        secret_env("TOKEN", "db", "token"),
        secret_volume("db", "db", &[("a", "a")]),
        mount("db", "/etc/db"),
        file("/etc/files/one", "one"),
        memory_volume("pulled"),
        puller("pull", "pulled", None),
        annotation("example.org/a", "b", AnnotationCollision::IfAbsent),
        PodEdit::AddImagePullSecret("registry".into()),
    ]
}

fn spec() -> Value {
    json!({
        "initContainers": [{ "name": "prepare" }],
        "containers": [{ "name": "main", "env": [{ "name": "TOKEN", "value": "own" }] }],
    })
}

/// Reviews the update that adds these ephemeral containers to a running pod.
fn debug(mutator: &PodMutator, running: &Value, added: &[Value]) -> (Value, Mutation) {
    let mut updated = running.clone();
    let list = &mut updated["spec"]["ephemeralContainers"];
    let existing = list.as_array().cloned().unwrap_or_default();
    *list = json!([existing, added.to_vec()].concat());
    let pod = Pod::parse_update(updated.clone(), running).unwrap();
    let mutation = pollster::block_on(mutator.mutate(&pod, "team-a"));
    (updated, mutation)
}

pub(crate) fn debugged(mutator: &PodMutator, running: &Value, added: &[Value]) -> Value {
    let (mut updated, mutation) = debug(mutator, running, added);
    json_patch::patch(&mut updated, &mutation.outcome.unwrap().patch).unwrap();
    updated
}

#[test]
fn a_new_ephemeral_container_gets_what_the_running_pod_has_and_nothing_else_changes() {
    for profile in [Profile::FlyteV1, Profile::FlyteV2] {
        let mutator = mutator(profile, vec![Scripted::edits("one", everything())]);
        let running = mutated(&mutator, &pod_asking(1, spec()));
        let first = debugged(&mutator, &running, &[json!({ "name": "debugger", "targetContainerName": "main" })]);
        let mut expected = running.clone();
        let mut container = running["spec"]["containers"][0].clone();
        container["name"] = json!("debugger");
        container["targetContainerName"] = json!("main");
        container["env"] = json!([{
            "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "db", "key": "token", "optional": true } },
        }]);
        expected["spec"]["ephemeralContainers"] = json!([container]);
        assert_eq!(first, expected, "{profile}");

        // A second session leaves the first one unchanged: the API server refuses such a change.
        let old = json!({ "name": "debugger", "targetContainerName": "main" });
        let mut running = running;
        running["spec"]["ephemeralContainers"] = json!([old]);
        let second = debugged(&mutator, &running, &[json!({ "name": "second" })]);
        assert_eq!(second["spec"]["ephemeralContainers"][0], old, "{profile}");
        assert_eq!(second["spec"]["ephemeralContainers"][1]["env"], container["env"], "{profile}");
        assert!(debug(&mutator, &second, &[]).1.outcome.unwrap().patch.is_empty(), "{profile}: a second review");
    }
}

#[test]
fn an_ephemeral_container_that_needs_what_the_running_pod_lacks_is_refused() {
    let running = |edits: Vec<PodEdit>| {
        let mutator = mutator(Profile::FlyteV1, vec![Scripted::edits("one", edits)]);
        mutated(&mutator, &pod_asking(1, spec()))
    };
    let sub_path = PodEdit::MountVolume(VolumeMount {
        volume: "db".into(),
        path: "/a".into(),
        read_only: true,
        sub_path: Some("a".into()),
    });
    for (had, needs, missing) in [
        (vec![], vec![secret_volume("db", "db", &[]), mount("db", "/etc/db")], "volume db"),
        (vec![], vec![file("/etc/files/one", "one")], "volume ampoule-files-e42bb0b4527308aa"),
        (
            vec![file("/etc/files/one", "one")],
            vec![file("/etc/files/two", "two")],
            "file two in volume ampoule-files-e42bb0b4527308aa",
        ),
        (
            vec![secret_volume("db", "db", &[("a", "a")])],
            vec![secret_volume("db", "db", &[("b", "b")])],
            "file b in volume db",
        ),
        (vec![memory_volume("pulled")], vec![puller("pull", "pulled", None)], "init container pull, which has not run"),
        (
            vec![secret_volume("db", "db", &[])],
            vec![sub_path],
            "subPath of volume db, which ephemeral container debugger cannot mount",
        ),
    ] {
        let mutator = mutator(Profile::FlyteV1, vec![Scripted::edits("one", needs)]);
        let (_, mutation) = debug(&mutator, &running(had), &[json!({ "name": "debugger" })]);
        let refusal = mutation.outcome.unwrap_err();
        let start = "the ephemeral container cannot get its secrets: the running pod does not have ";
        let found = refusal.message.strip_prefix(start).and_then(|rest| rest.split_once(", and cannot get it;"));
        assert_eq!((refusal.code.http(), found.map(|(found, _)| found)), (400, Some(missing)), "{}", refusal.message);
    }
}

#[test]
fn a_native_sidecar_gets_what_an_init_container_gets() {
    let spec = json!({
        "initContainers": [{ "name": "prepare" }, { "name": "proxy", "restartPolicy": "Always" }],
        "containers": [{ "name": "main" }],
    });
    let mutator = mutator(Profile::FlyteV1, vec![Scripted::edits("one", everything())]);
    let pod = mutated(&mutator, &pod_asking(1, spec));
    let [prepare, proxy, _] = &pod["spec"]["initContainers"].as_array().unwrap()[..] else { panic!("{pod}") };
    for list in ["env", "volumeMounts"] {
        assert_eq!(prepare[list], proxy[list], "{list}");
        assert!(!proxy[list].as_array().unwrap().is_empty(), "{list}");
    }
    assert_eq!(proxy["restartPolicy"], "Always");
}

#[test]
fn a_pod_for_windows_gets_references_and_never_a_linux_container() {
    let by_field = json!({ "containers": [{ "name": "main" }], "os": { "name": "windows" } });
    let by_node = json!({ "containers": [{ "name": "main" }], "nodeSelector": { "kubernetes.io/os": "windows" } });
    let promise = PodEdit::SetEnv(EnvVar { name: "A".into(), source: EnvSource::Promise("p".into()) });
    for spec in [by_field, by_node] {
        let pod = pod_asking(1, spec);
        for (edit, what) in [
            (puller("pull", "pulled", None), "the plugin adds init container pull, which needs Linux"),
            (promise.clone(), "`delivery: pod` adds an init container, which needs Linux"),
        ] {
            let refusing = mutator(Profile::FlyteV1, vec![Scripted::edits("one", vec![edit.clone()])])
                .with_delivery(vec![Delivery::Pod], Arc::new(NoDelivery));
            let refusal = mutate(&refusing, &pod).outcome.unwrap_err();
            let reason = format!(
                "one: unsupported: {what}, and the pod is for Windows (spec.os, or node selector kubernetes.io/os); \
                 use an injector that refers to a Kubernetes Secret, or `delivery: secret`"
            );
            assert!(refusal.message.ends_with(&reason), "{}", refusal.message);
            assert_eq!(refusal.code.http(), 400);

            // The next injector can refer to a Secret, which works on Windows.
            let fallback = Scripted::edits("two", vec![secret_env("A", "db", "token")]);
            let chain = mutator(Profile::FlyteV1, vec![Scripted::edits("one", vec![edit]), fallback])
                .with_delivery(vec![Delivery::Pod, Delivery::Reference], Arc::new(NoDelivery));
            let expected = json!({ "secretKeyRef": { "name": "db", "key": "token", "optional": true } });
            assert_eq!(mutated(&chain, &pod)["spec"]["containers"][0]["env"][0]["valueFrom"], expected);
        }
    }
}

#[test]
fn a_mirror_of_a_static_pod_stays_unchanged_with_a_warning() {
    let never = Scripted::answering("never", |_, _| Ok(Err(InjectionError::Denied("it was called".into()))));
    let mutator = mutator(Profile::FlyteV1, vec![never]);
    let mirror = |annotations: Value| {
        let mut pod = json!({ "metadata": { "annotations": annotations }, "spec": spec() });
        pod["metadata"]["annotations"]["kubernetes.io/config.mirror"] = json!("0123");
        let admitted = mutate(&mutator, &pod).outcome.unwrap();
        assert!(admitted.patch.is_empty());
        admitted.warnings
    };
    let end = " is ignored: this is the mirror of a static pod, which the kubelet runs from a file and which cannot \
               refer to Secrets; use a DaemonSet";
    for key in ["ampoule.dev/secrets", "flyte.secrets/s0"] {
        assert_eq!(mirror(json!({ key: "[{ group: g, key: K }]" })), [format!("annotation {key}{end}")]);
    }
    assert_eq!(mirror(json!({})), Vec::<String>::new());
}
