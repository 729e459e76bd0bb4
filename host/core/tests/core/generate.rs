//! Random pods and edits for the property tests. Names come from small pools, so that edits collide
//! with each other and with the pod.
//!
//! Every list and object that is optional in Kubernetes is sometimes absent or null.

use ampoule_core::{
    Annotation, AnnotationCollision, Csi, EnvSource, EnvVar, InitContainer, InitContainerPosition, KeyToPath, PodEdit,
    Profile, SecretKeyRef, SecretValue, SecretVolume, ServiceAccountToken, Volume, VolumeMount, VolumeSource,
};
use proptest::{collection::vec, option, prelude::*};
use serde_json::{Map, Value, json};

/// Generates any document, with keys that a JSON pointer must escape.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_i32).prop_map(Value::from),
        "[a-c/~]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let named = ("[a-d]", inner.clone()).prop_map(|(name, rest)| json!({ "name": name, "rest": rest }));
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec(named, 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-d/~]{1,2}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Generates a profile.
pub(crate) fn any_profile() -> impl Strategy<Value = Profile> {
    prop_oneof![Just(Profile::FlyteV1), Just(Profile::FlyteV2), Just(Profile::Plain)]
}

/// Generates the edits of an answer.
pub(crate) fn any_answer() -> impl Strategy<Value = Vec<PodEdit>> {
    vec(any_edit(), 0..5)
}

/// Generates a pod's `spec` of up to forty containers, with init containers, sidecars, volumes,
/// mounts and unknown fields.
pub(crate) fn any_spec() -> impl Strategy<Value = Value> {
    let containers = prop_oneof![9 => vec(any_container("main"), 0..3), 1 => vec(any_container("main"), 40)];
    (
        containers,
        absent(
            vec(any_container("init"), 0..3)
                .prop_map(|init| init.into_iter().enumerate().map(numbered).collect::<Value>()),
        ),
        absent(any_volumes()),
        absent(any_pull_secrets()),
        any_json(),
    )
        .prop_map(|(containers, init, volumes, pull_secrets, unknown)| {
            let mut spec =
                Map::from_iter([("containers".to_owned(), containers.into_iter().enumerate().map(numbered).collect())]);
            for (key, list) in [("initContainers", init), ("volumes", volumes), ("imagePullSecrets", pull_secrets)] {
                spec.extend(list.map(|list| (key.to_owned(), list)));
            }
            spec.insert("newer/than~us".to_owned(), unknown);
            Value::Object(spec)
        })
}

fn any_edit() -> impl Strategy<Value = PodEdit> {
    prop_oneof![
        4 => any_variable().prop_map(PodEdit::SetEnv),
        4 => any_volume().prop_map(PodEdit::AddVolume),
        4 => any_mount().prop_map(PodEdit::MountVolume),
        3 => any_puller().prop_map(PodEdit::AddInitContainer),
        2 => any_annotation(),
        1 => name().prop_map(PodEdit::AddImagePullSecret),
    ]
}

fn any_volume() -> impl Strategy<Value = Volume> {
    (name(), any_source()).prop_map(|(name, source)| Volume { name, source })
}

fn any_csi() -> impl Strategy<Value = Csi> {
    (name(), any::<bool>(), option::of(name())).prop_map(|(driver, read_only, node_publish_secret)| Csi {
        driver,
        read_only,
        attributes: vec![],
        node_publish_secret,
    })
}

fn any_token() -> impl Strategy<Value = ServiceAccountToken> {
    option::of(600..603_u32).prop_map(|expiration_seconds| ServiceAccountToken {
        audience: None,
        expiration_seconds,
        path: "t".into(),
    })
}

fn any_variable() -> impl Strategy<Value = EnvVar> {
    let source = prop_oneof![
        "[12]?".prop_map(EnvSource::Literal),
        "[12]?".prop_map(|value| EnvSource::SecretValue(SecretValue::new(value.into_bytes()))),
        (name(), name(), any::<bool>()).prop_map(|(name, key, optional)| EnvSource::SecretKey(SecretKeyRef {
            name,
            key,
            optional
        })),
    ];
    (name(), source).prop_map(|(name, source)| EnvVar { name, source })
}

fn any_source() -> impl Strategy<Value = VolumeSource> {
    let items = vec((name(), name()), 0..3)
        .prop_map(|items| items.into_iter().map(|(key, path)| KeyToPath { key, path }).collect::<Vec<_>>());
    prop_oneof![
        3 => (name(), items, any::<bool>()).prop_map(|(secret_name, items, optional)| {
            VolumeSource::Secret(SecretVolume { secret_name, items, optional })
        }),
        3 => option::of("[12]Mi").prop_map(|size_limit| VolumeSource::Memory { size_limit }),
        1 => any_csi().prop_map(VolumeSource::Csi),
        1 => any_token().prop_map(VolumeSource::ServiceAccountToken),
        1 => Just(VolumeSource::Json(r#"{"configMap":{"name":"c"}}"#.into())),
    ]
}

fn any_mount() -> impl Strategy<Value = VolumeMount> {
    (name(), path(), any::<bool>(), option::of("[ab]/[ab]"))
        .prop_map(|(volume, path, read_only, sub_path)| VolumeMount { volume, path, read_only, sub_path })
}

/// Generates an init container that differs from every other in its task, as the contract requires.
fn any_puller() -> impl Strategy<Value = InitContainer> {
    let position = option::of(prop_oneof![Just(InitContainerPosition::First), Just(InitContainerPosition::Last)]);
    let env = vec((name(), "[12]?").prop_map(|(name, value)| (name, EnvSource::Literal(value))), 0..2);
    ("pull-[01]", "[xy]", env, vec(any_mount(), 0..2), position).prop_map(|(name, image, mut env, mounts, position)| {
        env.push(("WORK".into(), EnvSource::Literal(format!("{env:?} {mounts:?}"))));
        InitContainer {
            name,
            image,
            command: vec![],
            args: vec![],
            env: env.into_iter().map(|(name, source)| EnvVar { name, source }).collect(),
            mounts,
            resources: None,
            security_context: None,
            position,
            patches: vec![],
        }
    })
}

fn any_annotation() -> impl Strategy<Value = PodEdit> {
    let collision = prop_oneof![Just(AnnotationCollision::IfAbsent), Just(AnnotationCollision::MustOwn)];
    ("[ab][/~][ab]", "[12]", collision)
        .prop_map(|(key, value, collision)| PodEdit::SetAnnotation(Annotation { key, value, collision }))
}

fn any_container(name: &'static str) -> impl Strategy<Value = Value> {
    let variable = (self::name(), "[12]?").prop_map(|(name, value)| {
        json!({
            "name": name,
            "value": value,
        })
    });
    let mount = (self::name(), path(), "/?").prop_map(|(name, path, slash)| {
        json!({
            "name": name,
            "mountPath": format!("{path}{slash}"),
        })
    });
    (absent(vec(variable, 0..3)), absent(vec(mount, 0..2)), "(|Always|Never)", option::of("[xy]"), any_json()).prop_map(
        move |(env, mounts, restart, image, unknown)| {
            let mut container = json!({ "name": name, "newer/than~us": unknown });
            for (key, list) in [("env", env), ("volumeMounts", mounts)] {
                container
                    .as_object_mut()
                    .expect("a container is an object")
                    .extend(list.map(|list| (key.to_owned(), list)));
            }
            if let Some(image) = image {
                container["image"] = json!(image);
            }
            if !restart.is_empty() && name == "init" {
                container["restartPolicy"] = json!(restart);
            }
            container
        },
    )
}

fn any_volumes() -> impl Strategy<Value = Vec<Value>> {
    let source = prop_oneof![
        Just(json!({ "emptyDir": {} })),
        Just(json!({ "emptyDir": { "medium": "Memory" } })),
        (name(), vec((name(), name()), 0..3), any::<bool>()).prop_map(|(secret, items, optional)| {
            let items: Vec<_> = items.iter().map(|(key, path)| json!({ "key": key, "path": path })).collect();
            json!({ "secret": { "secretName": secret, "items": items, "optional": optional } })
        }),
    ];
    prop::collection::btree_map(name(), source, 0..3).prop_map(|volumes| {
        let named = |(name, mut volume): (String, Value)| {
            volume["name"] = json!(name);
            volume
        };
        volumes.into_iter().map(named).collect()
    })
}

fn any_pull_secrets() -> impl Strategy<Value = Vec<Value>> {
    vec(name().prop_map(|name| json!({ "name": name })), 0..2)
}

/// Generates a list that may be null or absent.
fn absent<T: serde::Serialize + std::fmt::Debug>(
    list: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<Value>> {
    option::weighted(0.8, option::weighted(0.9, list).prop_map(|list| json!(list)))
}

fn numbered((i, mut container): (usize, Value)) -> Value {
    let name = format!("{}-{i}", container["name"].as_str().unwrap_or_default());
    container["name"] = json!(name);
    container
}

fn name() -> impl Strategy<Value = String> {
    "[a-c]"
}

fn path() -> impl Strategy<Value = String> {
    "/[a-c]"
}
