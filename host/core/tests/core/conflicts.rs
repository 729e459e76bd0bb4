//! Tests of conflicts: edits that contradict each other or the pod are refused with a message that
//! names both sides, and the pod's own content is never reduced.
//!
//! Each conflict is tried with two injectors, with one injector for two secrets, and within one
//! answer.

use ampoule_core::{
    AnnotationCollision, Csi, EnvVar, InitContainer, InjectionError, KeyToPath, PodEdit, Profile, SecretVolume,
    ServiceAccountToken, Volume, VolumeMount, VolumeSource,
};
use serde_json::{Value, json};

use crate::{
    edits::{
        annotation, check, literal, memory_volume, mount, one_container, puller, refuses, secret_env, secret_volume,
    },
    support::{Scripted, mutate, mutated, mutator, pod_asking},
};

/// Returns an injector that answers only the request with this key.
fn answering(name: &str, key: &'static str, edits: Vec<PodEdit>) -> std::sync::Arc<dyn ampoule_core::SecretInjector> {
    Scripted::answering(name, move |request, _| {
        let mine = request.key == key;
        if mine { Ok(Ok(edits.clone())) } else { Ok(Err(InjectionError::NotFound("none".into()))) }
    })
}

/// Checks that the first edits, for `s0`, and the second edits, for `s1`, are in conflict.
/// `expected` contains ONE and TWO in place of the two origins.
#[track_caller]
fn collide(first: &[PodEdit], second: &[PodEdit], expected: &str) {
    let sides = [("by two injectors", ["one", "two"]), ("by one injector", ["one", "one"])];
    for (how, [one, two]) in sides {
        let chain = if one == two {
            let (first, second) = (first.to_vec(), second.to_vec());
            let answer = move |key: &str| if key == "key-0" { first.clone() } else { second.clone() };
            vec![Scripted::answering(one, move |request, _| Ok(Ok(answer(&request.key))))]
        } else {
            vec![answering(one, "key-0", first.to_vec()), answering(two, "key-1", second.to_vec())]
        };
        let expected = expected.replace("ONE", &format!("injector {one} for flyte.secrets/s0"));
        let expected = expected.replace("TWO", &format!("injector {two} for flyte.secrets/s1"));
        let refusal = mutate(&mutator(Profile::FlyteV2, chain), &pod_asking(2, one_container())).outcome;
        let refusal = refusal.expect_err(how);
        assert_eq!(refusal.code.http(), 400);
        let conflict = refusal.message.split_once("conflict: ").map(|(_, conflict)| conflict);
        assert_eq!(conflict, Some(&*expected), "{how}");
    }
    let within = [first, second].concat();
    let expected = expected.replace("ONE", "injector one for flyte.secrets/s0");
    refuses(
        one_container(),
        within,
        &format!("conflict: {}", expected.replace("TWO", "injector one for flyte.secrets/s0")),
    );
}

fn volume(name: &str, source: VolumeSource) -> PodEdit {
    PodEdit::AddVolume(Volume { name: name.into(), source })
}

fn token(audience: Option<&str>) -> PodEdit {
    let token =
        ServiceAccountToken { audience: audience.map(str::to_owned), expiration_seconds: None, path: "token".into() };
    volume("v", VolumeSource::ServiceAccountToken(token))
}

fn csi(attributes: &[(&str, &str)]) -> PodEdit {
    let attributes = attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    volume("v", VolumeSource::Csi(Csi { driver: "d".into(), read_only: true, attributes, node_publish_secret: None }))
}

fn pulling(name: &str, image: &str, mounts: &[(&str, &str)]) -> PodEdit {
    let mounts = mounts.iter().map(|(volume, path)| VolumeMount {
        volume: (*volume).into(),
        path: (*path).into(),
        read_only: false,
        sub_path: None,
    });
    PodEdit::AddInitContainer(InitContainer {
        name: name.into(),
        image: image.into(),
        command: vec![],
        args: vec![],
        env: Vec::<EnvVar>::new(),
        mounts: mounts.collect(),
        resources: None,
        security_context: None,
        position: None,
        patches: vec![],
    })
}

#[test]
fn a_variable_with_two_sources_is_a_conflict() {
    let expected = "environment variable A has different values from ONE and TWO; request them under different names, \
                    or for different containers";
    collide(&[literal("A", "1")], &[literal("A", "2")], expected);
    collide(&[literal("A", "1")], &[secret_env("A", "s", "k")], expected);
    collide(&[secret_env("A", "s", "k")], &[secret_env("A", "s", "l")], expected);
    collide(&[literal("A", "")], &[literal("A", "1")], expected);
}

#[test]
fn a_volume_with_two_definitions_is_a_conflict() {
    let expected = "volume v has different definitions from ONE and TWO";
    collide(&[memory_volume("v")], &[secret_volume("v", "s", &[])], expected);
    collide(&[secret_volume("v", "s", &[])], &[secret_volume("v", "t", &[])], expected);
    collide(&[secret_volume("v", "s", &[("A", "x")])], &[secret_volume("v", "s", &[("B", "x")])], expected);
    collide(&[secret_volume("v", "s", &[])], &[secret_volume("v", "s", &[("A", "b")])], expected);
    collide(&[token(Some("vault"))], &[token(None)], expected);
    collide(&[csi(&[("a", "1"), ("b", "2")])], &[csi(&[("a", "1")])], expected);
}

#[test]
fn a_path_with_two_volumes_is_a_conflict() {
    let volumes = [memory_volume("v"), memory_volume("w")];
    let advice = "a container can mount one of them: request them at different paths, or for different containers";
    let expected = &format!("two volumes have the mount path /x: v from ONE, w from TWO; {advice}");
    collide(&[&volumes[..], &[mount("v", "/x")]].concat(), &[mount("w", "/x")], expected);
    let expected = &format!("two volumes have the mount path /x/: v from ONE, w from TWO; {advice}");
    collide(&[&volumes[..], &[mount("v", "/x")]].concat(), &[mount("w", "/x/")], expected);
    // The first edit does not reach a container that a later edit adds, but would in a second
    // review.
    let expected = "init container pull from TWO mounts volume w at /x, where ONE mounts volume v; request one of them \
                    at another path";
    collide(&[&volumes[..], &[mount("v", "/x")]].concat(), &[pulling("pull", "i", &[("w", "/x")])], expected);
    let expected = "container pull mounts volume v from ONE at /x, where TWO mounts volume w; request one of them at \
                    another path";
    collide(&[&volumes[..], &[pulling("pull", "i", &[("v", "/x")])]].concat(), &[mount("w", "/x")], expected);
}

#[test]
fn a_container_that_mounts_the_volume_elsewhere_is_no_conflict() {
    let edits = vec![
        memory_volume("v"),
        mount("v", "/x"),
        memory_volume("w"),
        pulling("pull", "i", &[("w", "/x"), ("v", "/v")]),
    ];
    let mounted = |name: &str, path: &str| json!({ "name": name, "mountPath": path });
    check(
        Profile::FlyteV1,
        one_container(),
        edits,
        json!({
            "containers": [
                {
                    "name": "main",
                    "volumeMounts": [{ "name": "v", "readOnly": true, "mountPath": "/x" }],
                },
            ],
            "volumes": [
                { "name": "v", "emptyDir": { "medium": "Memory" } },
                { "name": "w", "emptyDir": { "medium": "Memory" } },
            ],
            "initContainers": [
                {
                    "name": "pull",
                    "image": "i",
                    "volumeMounts": [mounted("w", "/x"), mounted("v", "/v")],
                },
            ],
        }),
    );
}

#[test]
fn an_init_container_or_annotation_with_two_definitions_is_a_conflict() {
    collide(
        &[pulling("pull", "i", &[])],
        &[pulling("pull", "j", &[])],
        "container pull has different definitions from ONE and TWO",
    );
    collide(
        &[annotation("a", "1", AnnotationCollision::MustOwn)],
        &[annotation("a", "2", AnnotationCollision::MustOwn)],
        "annotation a has different values from ONE and TWO",
    );
}

#[test]
fn a_conflict_with_the_pod_names_the_pod() {
    let own = |source: Value| json!({ "name": "v", "secret": source });
    let spec = json!({
        "containers": [
            { "name": "main", "volumeMounts": [{ "name": "data", "mountPath": "/x/" }] },
            { "name": "pull" },
        ],
        "volumes": [
            own(json!({
                "secretName": "s", "items": [{ "key": "A", "path": "a" }], "optional": true,
            })),
            { "name": "data", "emptyDir": {} },
        ],
    });
    let items = vec![KeyToPath { key: "A".into(), path: "a".into() }];
    let required = SecretVolume { secret_name: "s".into(), items, optional: false };
    let v = "conflict: volume v has different definitions from the pod and injector one for \
        flyte.secrets/s0; give the pod's own volume another name";
    let cases = [
        (vec![memory_volume("v")], v),
        (vec![secret_volume("v", "t", &[("A", "a")])], v),
        (vec![secret_volume("v", "s", &[("B", "a")])], v),
        (vec![secret_volume("v", "s", &[])], v),
        (vec![volume("v", VolumeSource::Secret(required))], v),
        (
            vec![memory_volume("m"), mount("m", "/x")],
            "conflict: container main mounts volume data from the pod at /x, where injector one \
             for flyte.secrets/s0 \
             mounts volume m; request the secret at another path, or mount the pod's own volume \
             elsewhere",
        ),
        (
            vec![memory_volume("m"), puller("pull", "m", None)],
            "conflict: container pull has different definitions from the pod and injector one \
             for flyte.secrets/s0",
        ),
    ];
    for (edits, expected) in cases {
        refuses(spec.clone(), edits, expected);
    }
}

#[test]
fn the_pods_own_content_is_never_reduced() {
    let with_volume = |source: Value| {
        json!({
            "containers": [],
            "volumes": [{ "name": "v", "secret": source }],
        })
    };
    let all = with_volume(json!({ "secretName": "s" }));
    check(Profile::FlyteV1, all.clone(), vec![secret_volume("v", "s", &[("a", "a")])], all.clone());
    check(Profile::FlyteV2, all.clone(), vec![secret_volume("v", "s", &[])], all);
    let some = |items: Value| {
        with_volume(json!({
            "secretName": "s",
            "items": items,
            "defaultMode": 256,
        }))
    };
    let own = json!({ "key": "A", "path": "deep/a", "mode": 256 });
    check(
        Profile::FlyteV1,
        some(json!([own])),
        vec![secret_volume("v", "s", &[("B", "b")])],
        some(json!([own, { "key": "B", "path": "b" }])),
    );
    let mounted = |name: &str, path: &str| {
        json!({
            "name": name,
            "mountPath": path,
            "subPath": "s",
        })
    };
    let spec = |mounts: Value| {
        json!({
            "containers": [{ "name": "main", "volumeMounts": mounts }],
            "volumes": [
                { "name": "data", "emptyDir": {} },
                { "name": "m", "emptyDir": { "medium": "Memory", "sizeLimit": "1Gi" } },
            ],
        })
    };
    let own = spec(json!([mounted("data", "/data"), mounted("m", "/elsewhere")]));
    check(Profile::FlyteV1, own.clone(), vec![memory_volume("m"), mount("m", "/x")], own);
    let own = json!({
        "containers": [
            {
                "name": "main",
                "env": [{ "name": "A", "value": "own" }, { "name": "A", "value": "twice" }],
            },
        ],
    });
    check(Profile::FlyteV1, own.clone(), vec![literal("A", "1")], own);
}

#[test]
fn an_init_container_keeps_its_own_variables() {
    let edits = |first: bool| {
        let (set, add) = (literal("WHAT", "else"), puller("pull", "m", None));
        let both = if first { [set, add] } else { [add, set] };
        [vec![memory_volume("m")], both.to_vec()].concat()
    };
    for profile in [Profile::FlyteV1, Profile::FlyteV2] {
        for first in [true, false] {
            let mutator = mutator(profile, vec![Scripted::edits("one", edits(first))]);
            let pod = mutated(&mutator, &pod_asking(1, one_container()));
            let env = |list: &str| pod["spec"][list][0]["env"].clone();
            assert_eq!(
                env("initContainers"),
                json!([
                    { "name": "WHAT", "value": "it" },
                ]),
                "{profile}"
            );
            assert_eq!(
                env("containers"),
                json!([
                    { "name": "WHAT", "value": "else" },
                ]),
                "{profile}"
            );
            assert!(mutate(&mutator, &pod).outcome.unwrap().patch.is_empty(), "{profile}");
        }
    }
}

#[test]
fn names_of_the_pod_in_a_message_cannot_change_the_terminal_or_the_line() {
    let spec = json!({
        "containers": [{ "name": "a\nallowed\u{1b}[2J\u{202e}", "volumeMounts": [{ "name": "x", "mountPath": "/s" }] }],
        "volumes": [{ "name": "x", "emptyDir": {} }],
    });
    let edits = vec![volume("v", VolumeSource::Memory { size_limit: None }), mount("v", "/s")];
    let refusal = mutate(&mutator(Profile::FlyteV1, vec![Scripted::edits("one", edits)]), &pod_asking(1, spec)).outcome;
    let message = refusal.unwrap_err().message;
    assert!(message.contains("container a allowed [2J  mounts volume x from the pod at /s"), "{message:?}");
}
