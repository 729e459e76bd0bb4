//! Tests of each edit: its effect on a pod, and the errors of invalid edits.
//!
//! Every accepted case is mutated a second time, which must change nothing.

use ampoule_core::{
    Annotation, AnnotationCollision, EnvSource, EnvVar, InitContainer, InitContainerPosition, KeyToPath, PodEdit,
    Profile, Resources, SecretKeyRef, SecretValue, SecretVolume, SecurityContext, ServiceAccountToken, Volume,
    VolumeMount, VolumeSource,
};
use serde_json::{Value, json};

use crate::support::{Scripted, mutate, mutated, mutator, pod_asking};

pub(crate) fn literal(name: &str, value: &str) -> PodEdit {
    PodEdit::SetEnv(EnvVar { name: name.into(), source: EnvSource::Literal(value.into()) })
}

pub(crate) fn secret_env(name: &str, secret: &str, key: &str) -> PodEdit {
    let source = EnvSource::SecretKey(SecretKeyRef { name: secret.into(), key: key.into(), optional: true });
    PodEdit::SetEnv(EnvVar { name: name.into(), source })
}

pub(crate) fn secret_volume(name: &str, secret: &str, items: &[(&str, &str)]) -> PodEdit {
    let items = items.iter().map(|(key, path)| KeyToPath { key: (*key).into(), path: (*path).into() }).collect();
    let source = VolumeSource::Secret(SecretVolume { secret_name: secret.into(), items, optional: true });
    PodEdit::AddVolume(Volume { name: name.into(), source })
}

pub(crate) fn memory_volume(name: &str) -> PodEdit {
    PodEdit::AddVolume(Volume { name: name.into(), source: VolumeSource::Memory { size_limit: None } })
}

pub(crate) fn mount(volume: &str, path: &str) -> PodEdit {
    PodEdit::MountVolume(VolumeMount { volume: volume.into(), path: path.into(), read_only: true, sub_path: None })
}

pub(crate) fn puller(name: &str, volume: &str, position: Option<InitContainerPosition>) -> PodEdit {
    PodEdit::AddInitContainer(InitContainer {
        name: name.into(),
        image: "puller:1".into(),
        command: vec!["pull".into()],
        args: vec![],
        env: vec![EnvVar { name: "WHAT".into(), source: EnvSource::Literal("it".into()) }],
        mounts: vec![VolumeMount { volume: volume.into(), path: "/tmp".into(), read_only: false, sub_path: None }],
        resources: Some(Resources { requests: vec![("cpu".into(), "200m".into())], limits: vec![] }),
        security_context: Some(SecurityContext {
            run_as_non_root: Some(true),
            drop_all_capabilities: true,
            ..Default::default()
        }),
        position,
        patches: vec![],
    })
}

pub(crate) fn annotation(key: &str, value: &str, collision: AnnotationCollision) -> PodEdit {
    PodEdit::SetAnnotation(Annotation { key: key.into(), value: value.into(), collision })
}

/// Applies the edits under the profile and compares the spec. A second run must change nothing.
#[track_caller]
pub(crate) fn check(profile: Profile, spec: Value, edits: Vec<PodEdit>, expected: Value) {
    let mutator = mutator(profile, vec![Scripted::edits("one", edits)]);
    let first = mutated(&mutator, &pod_asking(1, spec));
    assert_eq!(first["spec"], expected);
    let second = mutate(&mutator, &first).outcome.expect("the edits apply again");
    assert!(second.patch.is_empty(), "a second review changes the pod: {}", second.patch);
}

#[track_caller]
pub(crate) fn refuses(spec: Value, edits: Vec<PodEdit>, expected: &str) {
    let mutator = mutator(Profile::FlyteV1, vec![Scripted::edits("one", edits)]);
    let refusal = mutate(&mutator, &pod_asking(1, spec)).outcome.expect_err("the edits do not apply");
    let head = "secret group/key-0 (annotation flyte.secrets/s0, mount any) could not be injected: one: ";
    assert_eq!(refusal.message.strip_prefix(head).unwrap_or(&refusal.message), expected);
}

pub(crate) fn one_container() -> Value {
    json!({ "containers": [{ "name": "main" }] })
}

#[test]
fn v1_appends_a_variable_to_every_container() {
    check(
        Profile::FlyteV1,
        json!({
            "initContainers": [{ "name": "i" }],
            "containers": [{ "name": "main", "env": [{ "name": "A", "value": "1" }] }],
        }),
        vec![literal("B", "2")],
        json!({
            "initContainers": [{ "name": "i", "env": [{ "name": "B", "value": "2" }] }],
            "containers": [
                {
                    "name": "main",
                    "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }],
                },
            ],
        }),
    );
}

#[test]
fn v1_keeps_the_pods_own_variable() {
    let spec = json!({
        "containers": [{ "name": "main", "env": [{ "name": "B", "value": "own" }] }],
    });
    check(Profile::FlyteV1, spec.clone(), vec![literal("B", "2")], spec);
}

#[test]
fn v2_replaces_every_variable_of_that_name() {
    check(
        Profile::FlyteV2,
        json!({
            "containers": [
                {
                    "name": "main",
                    "env": [{ "name": "B", "value": "own" }, { "name": "A" }, { "name": "B" }],
                },
            ],
        }),
        vec![literal("B", "2"), literal("C", "3")],
        json!({
            "containers": [
                {
                    "name": "main",
                    "env": [
                        { "name": "C", "value": "3" },
                        { "name": "B", "value": "2" },
                        { "name": "A" },
                    ],
                },
            ],
        }),
    );
}

#[test]
fn an_empty_value_is_omitted_as_in_kubernetes() {
    let expected = json!({ "containers": [{ "name": "main", "env": [{ "name": "EMPTY" }] }] });
    check(Profile::FlyteV1, one_container(), vec![literal("EMPTY", "")], expected);
}

#[test]
fn v2_an_empty_variable_differs_from_one_with_a_value() {
    let spec = json!({
        "containers": [{ "name": "main", "env": [{ "name": "EMPTY", "value": "own" }] }],
    });
    let expected = json!({ "containers": [{ "name": "main", "env": [{ "name": "EMPTY" }] }] });
    check(Profile::FlyteV2, spec, vec![literal("EMPTY", "")], expected);
}

#[test]
fn a_secret_value_becomes_a_literal_value() {
    let edit = PodEdit::SetEnv(EnvVar {
        name: "S".into(),
        source: EnvSource::SecretValue(SecretValue::new(b"hush".to_vec())),
    });
    let expected = json!({
        "containers": [{ "name": "main", "env": [{ "name": "S", "value": "hush" }] }],
    });
    check(Profile::FlyteV1, one_container(), vec![edit], expected);
}

#[test]
fn keys_of_one_secret_share_a_volume() {
    check(
        Profile::FlyteV1,
        one_container(),
        vec![
            secret_volume("v", "s", &[("A", "a")]),
            secret_volume("v", "s", &[("B", "b"), ("A", "a")]),
            mount("v", "/x"),
        ],
        json!({
            "containers": [
                {
                    "name": "main",
                    "volumeMounts": [{ "name": "v", "readOnly": true, "mountPath": "/x" }],
                },
            ],
            "volumes": [{ "name": "v", "secret": {
                "secretName": "s",
                "items": [{ "key": "A", "path": "a" }, { "key": "B", "path": "b" }],
                "optional": true,
            } }],
        }),
    );
}

#[test]
fn defaults_of_the_api_server_are_not_a_difference() {
    let secret = json!({
        "secretName": "s",
        "items": [{ "key": "A", "path": "a" }],
        "optional": true,
        "defaultMode": 420,
    });
    let source = json!({ "serviceAccountToken": { "expirationSeconds": 3600, "path": "token" } });
    let volume = json!({ "name": "v", "secret": secret });
    let token = json!({ "name": "t", "projected": { "defaultMode": 420, "sources": [source] } });
    let spec = json!({ "containers": [], "volumes": [volume, token] });
    let source = VolumeSource::ServiceAccountToken(ServiceAccountToken {
        audience: None,
        expiration_seconds: None,
        path: "token".into(),
    });
    let token = PodEdit::AddVolume(Volume { name: "t".into(), source });
    check(Profile::FlyteV2, spec.clone(), vec![secret_volume("v", "s", &[("A", "a")]), token], spec);
}

#[test]
fn a_container_that_already_mounts_the_volume_is_unchanged() {
    check(
        Profile::FlyteV1,
        one_container(),
        vec![memory_volume("m"), puller("pull", "m", None), mount("m", "/etc/m")],
        json!({
            "containers": [
                {
                    "name": "main",
                    "volumeMounts": [{ "name": "m", "readOnly": true, "mountPath": "/etc/m" }],
                },
            ],
            "volumes": [{ "name": "m", "emptyDir": { "medium": "Memory" } }],
            "initContainers": [{
                "name": "pull",
                "image": "puller:1",
                "command": ["pull"],
                "env": [{ "name": "WHAT", "value": "it" }],
                "resources": { "requests": { "cpu": "200m" } },
                "volumeMounts": [{ "name": "m", "mountPath": "/tmp" }],
                "securityContext": { "capabilities": { "drop": ["ALL"] }, "runAsNonRoot": true } }],
        }),
    );
}

#[test]
fn a_plugin_sets_the_position_of_its_init_container() {
    let spec = json!({
        "containers": [],
        "initContainers": [{ "name": "mesh" }],
        "volumes": [{ "name": "m", "emptyDir": { "medium": "Memory" } }],
    });
    for (position, index) in
        [(None, 1), (Some(InitContainerPosition::First), 0), (Some(InitContainerPosition::Last), 1)]
    {
        let mutator = mutator(Profile::FlyteV1, vec![Scripted::edits("one", vec![puller("pull", "m", position)])]);
        let pod = mutated(&mutator, &pod_asking(1, spec.clone()));
        assert_eq!(pod["spec"]["initContainers"][index]["name"], "pull", "{position:?}");
    }
}

#[test]
fn an_init_container_with_the_same_task_and_another_name_is_adopted() {
    let mutator_of = |name: &str| {
        mutator(Profile::FlyteV1, vec![Scripted::edits("one", vec![memory_volume("m"), puller(name, "m", None)])])
    };
    let mut pod = mutated(&mutator_of("pull-0"), &pod_asking(1, one_container()));
    let containers = pod["spec"]["initContainers"].as_array_mut().unwrap();
    containers[0]["terminationMessagePath"] = json!("/dev/termination-log");
    containers.insert(0, json!({ "name": "mesh" }));
    assert!(mutate(&mutator_of("pull-1"), &pod).outcome.unwrap().patch.is_empty());
}

#[test]
fn annotations_and_pull_secrets_are_added_once() {
    let edits = vec![
        annotation("a/b", "1", AnnotationCollision::MustOwn),
        annotation("a/b", "2", AnnotationCollision::IfAbsent),
        PodEdit::AddImagePullSecret("pull".into()),
        PodEdit::AddImagePullSecret("pull".into()),
    ];
    let mutator = mutator(Profile::FlyteV1, vec![Scripted::edits("one", edits)]);
    let pod = mutated(&mutator, &pod_asking(1, one_container()));
    assert_eq!(pod["metadata"]["annotations"]["a/b"], "1");
    assert_eq!(pod["spec"]["imagePullSecrets"], json!([{ "name": "pull" }]));
    assert!(mutate(&mutator, &pod).outcome.unwrap().patch.is_empty());
}

#[test]
fn an_edit_that_is_invalid_for_any_pod_is_rejected() {
    let binary = EnvVar { name: "S".into(), source: EnvSource::SecretValue(SecretValue::new(vec![0xff, 0xfe])) };
    let nul = EnvVar { name: "S".into(), source: EnvSource::SecretValue(SecretValue::new(b"a\0b".to_vec())) };
    let json = |text: &str| PodEdit::AddVolume(Volume { name: "j".into(), source: VolumeSource::Json(text.into()) });
    let cases = [
        (literal("", "1"), r#"environment variable name "" must be printable ASCII without '='"#),
        (literal("A=B", "1"), r#"environment variable name "A=B" must be printable ASCII without '='"#),
        (literal("A\nB", "1"), r#"environment variable name "A\nB" must be printable ASCII without '='"#),
        (PodEdit::SetEnv(binary), "the value of environment variable S is not UTF-8; mount it as a file"),
        (PodEdit::SetEnv(nul), "the value of environment variable S contains a NUL byte; mount it as a file"),
        (memory_volume("Upper"), r#"volume name "Upper" must be a DNS label of at most 63 characters"#),
        (
            memory_volume(&"a".repeat(64)),
            &format!("volume name {:?} must be a DNS label of at most 63 characters", "a".repeat(64)),
        ),
        (
            secret_volume("v", "s", &[("a", "../a")]),
            r#"path in a volume "../a" must be relative and must not contain '..'"#,
        ),
        (
            secret_volume("v", "s", &[("a", "/a")]),
            r#"path in a volume "/a" must be relative and must not contain '..'"#,
        ),
        (secret_volume("v", "s", &[("a", "x"), ("b", "x")]), r#"volume v has duplicate path "x""#),
        (mount("v", "relative"), r#"mount path "relative" must be absolute and must not contain ':' or '..'"#),
        (mount("v", "/x"), "cannot mount volume v, which neither the pod nor an earlier edit defines"),
        (json("[]"), "the source of volume j must be a JSON object"),
        (json("{"), "the source of volume j must be a JSON object"),
        (json(r#"{"name":"x"}"#), "the JSON source of volume j must not contain a name"),
        (
            annotation("flyte.secrets/s9", "x", AnnotationCollision::IfAbsent),
            "annotation flyte.secrets/s9 is reserved for secret requests and cannot be set by a \
             plugin",
        ),
        (PodEdit::AddImagePullSecret(String::new()), "image pull secret name must not be empty"),
        (
            puller("p", "nowhere", None),
            "init container p mounts volume nowhere, which neither the pod nor an earlier edit \
             defines",
        ),
    ];
    for (edit, expected) in cases {
        refuses(one_container(), vec![edit], &format!("returned an invalid edit: {expected}"));
    }
}
