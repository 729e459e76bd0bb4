//! What holds for any pod and any edits: the patch is exact, a second review changes nothing, what no edit named stays.
//!
//! Names come from small pools so that edits meet each other and the pod.

use ampoule_core::{AnnotationCollision, PodEdit, Profile, diff};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    edits::{annotation, literal, memory_volume, mount, puller, secret_env, secret_volume},
    support::{Scripted, mutate, mutator, pod_asking},
};

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_i32).prop_map(Value::from),
        "[a-c/~]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let named = ("[a-d]", inner.clone()).prop_map(|(name, rest)| json!({ "name": name, "rest": rest }));
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(named, 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-d/~]{1,2}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    "[a-c]"
}

fn any_edit() -> impl Strategy<Value = PodEdit> {
    prop_oneof![
        (name(), "[12]?").prop_map(|(name, value)| literal(&name, &value)),
        (name(), name(), name()).prop_map(|(name, secret, key)| secret_env(&name, &secret, &key)),
        (name(), name(), prop::collection::vec((name(), name()), 0..3)).prop_map(|(volume, secret, items)| {
            let items: Vec<_> = items.iter().map(|(key, path)| (key.as_str(), path.as_str())).collect();
            secret_volume(&volume, &secret, &items)
        }),
        name().prop_map(|name| memory_volume(&name)),
        (name(), "/[a-c]").prop_map(|(volume, path)| mount(&volume, &path)),
        (name(), name()).prop_map(|(name, volume)| puller(&name, &volume, None)),
        (name(), "[12]").prop_map(|(key, value)| annotation(&key, &value, AnnotationCollision::IfAbsent)),
        name().prop_map(PodEdit::AddImagePullSecret),
    ]
}

fn any_container() -> impl Strategy<Value = Value> {
    let env = prop::collection::vec(
        (name(), "[12]?").prop_map(|(name, value)| json!({ "name": name, "value": value })),
        0..3,
    );
    (env, any_json()).prop_map(|(env, unknown)| json!({ "name": "main", "env": env, "newerThanUs": unknown }))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_patch_leads_from_the_first_document_to_the_second(before in any_json(), after in any_json()) {
        let patch = diff(&before, &after);
        let mut patched = before.clone();
        json_patch::patch(&mut patched, &patch).expect("the patch applies");
        prop_assert_eq!(&patched, &after);
        prop_assert_eq!(diff(&before, &after), patch);
    }

    #[test]
    fn a_second_review_changes_nothing_and_unknown_fields_survive(
        containers in prop::collection::vec(any_container(), 1..3),
        answers in prop::collection::vec(prop::collection::vec(any_edit(), 0..4), 1..4),
        profile in prop_oneof![Just(Profile::FlyteV1), Just(Profile::FlyteV2)],
    ) {
        let pod = pod_asking(answers.len(), json!({ "containers": containers, "newerThanUs": { "x": 1 } }));
        let script = answers.clone();
        let injector = Scripted::answering("one", move |request, _| {
            let index: usize = request.key["key-".len()..].parse().expect("keys are numbered");
            Ok(Ok(script[index].clone()))
        });
        let mutator = mutator(profile, vec![injector]);
        if let Ok(first) = mutate(&mutator, &pod).outcome {
            let mut patched = pod.clone();
            json_patch::patch(&mut patched, &first.patch).expect("the patch applies");
            let first = first.pod.into_json();
            prop_assert_eq!(&patched, &first);
            prop_assert_eq!(&first["spec"]["newerThanUs"], &pod["spec"]["newerThanUs"]);
            for (before, after) in containers.iter().zip(first["spec"]["containers"].as_array().unwrap()) {
                prop_assert_eq!(&before["newerThanUs"], &after["newerThanUs"]);
            }
            let second = mutate(&mutator, &first).outcome.expect("what was admitted once is admitted again");
            prop_assert!(second.patch.is_empty(), "{}", second.patch);
        }
    }
}
