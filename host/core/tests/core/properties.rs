//! What holds for any pod and any edits: the patch is exact, a second review changes nothing, what no edit named stays.
//!
//! What an API server does to a pod between two reviews is part of it.

use std::sync::Arc;

use ampoule_core::{Mutation, PodEdit, PodMutator, Profile, SecretInjector, diff};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use crate::{
    generate::{any_answer, any_json, any_spec},
    support::{Scripted, mutate, mutator, pod_asking},
};

/// Two injectors that answer the requests in turn, each from its own part of the script.
fn scripted(profile: Profile, answers: &[Vec<PodEdit>]) -> PodMutator {
    let injector = |name: &str, turn: usize| -> Arc<dyn SecretInjector> {
        let script = answers.to_vec();
        Scripted::answering(name, move |request, _| {
            let index: usize = request.key["key-".len()..].parse().expect("keys are numbered");
            let declined = || ampoule_core::InjectionError::NotFound("not mine".into());
            Ok(if index % 2 == turn { Ok(script[index].clone()) } else { Err(declined()) })
        })
    };
    mutator(profile, vec![injector("even", 0), injector("odd", 1)])
}

/// The pod after, where it is admitted; the patch was checked to lead there.
fn admitted(mutation: Mutation, before: &Value) -> Option<Value> {
    let admitted = mutation.outcome.ok()?;
    let mut patched = before.clone();
    json_patch::patch(&mut patched, &admitted.patch).expect("the patch applies");
    assert_eq!(&patched, admitted.pod.as_json(), "the patch leads elsewhere");
    Some(patched)
}

/// As an API server stores it: empty values dropped, defaults filled in.
fn stored(pod: &Value) -> Value {
    let mut pod = pod.clone();
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            container["terminationMessagePath"] = json!("/dev/termination-log");
            for entry in container["env"].as_array_mut().into_iter().flatten() {
                if entry["value"] == "" {
                    entry.as_object_mut().expect("entries are objects").remove("value");
                }
            }
        }
    }
    for volume in pod["spec"]["volumes"].as_array_mut().into_iter().flatten() {
        for source in ["secret", "projected", "configMap"] {
            if volume[source].is_object() {
                volume[source]["defaultMode"] = json!(420);
            }
        }
    }
    pod
}

/// The pod without what edits may touch: all that is left must be left alone.
fn untouchable(pod: &Value) -> Value {
    let mut pod = pod.clone();
    let spec = pod["spec"].as_object_mut().expect("a pod has a spec");
    for list in ["volumes", "imagePullSecrets"] {
        spec.shift_remove(list);
    }
    for list in ["initContainers", "containers"] {
        let containers = spec.shift_remove(list).unwrap_or_default();
        let own = containers.as_array().into_iter().flatten().filter(|container| !container["newer/than~us"].is_null());
        let bare = own.map(|container| {
            let mut container = container.clone();
            for list in ["env", "volumeMounts"] {
                container.as_object_mut().expect("containers are objects").shift_remove(list);
            }
            container
        });
        let bare: Vec<_> = bare.collect();
        if !bare.is_empty() {
            spec.insert(list.to_owned(), bare.into());
        }
    }
    pod["metadata"].as_object_mut().expect("a pod has metadata").shift_remove("annotations");
    pod
}

/// Everything that the pod's author wrote into lists is there still, and says no less.
fn check_kept(profile: Profile, before: &Value, after: &Value) {
    let list = |pod: &Value, path: &str| pod.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
    let pull_secrets = list(after, "/spec/imagePullSecrets");
    assert!(list(before, "/spec/imagePullSecrets").iter().all(|secret| pull_secrets.contains(secret)));
    for volume in list(before, "/spec/volumes") {
        let now = list(after, "/spec/volumes").into_iter().find(|now| now["name"] == volume["name"]);
        let mut now = now.unwrap_or_else(|| panic!("volume {volume} is lost"));
        let items = list(&volume, "/secret/items");
        let now_items = list(&now, "/secret/items");
        assert!(items.iter().all(|item| now_items.contains(item)), "{volume} was narrowed to {now}");
        assert_eq!(items.is_empty(), now_items.is_empty(), "{volume} was narrowed to {now}");
        if !items.is_empty() {
            now["secret"]["items"] = volume["secret"]["items"].clone();
        }
        assert_eq!(now, volume);
    }
    for path in ["/spec/initContainers", "/spec/containers"] {
        for container in list(before, path) {
            let now = list(after, path).into_iter().find(|now| now["name"] == container["name"]);
            let now = now.unwrap_or_else(|| panic!("container {} is lost", container["name"]));
            let mounts = list(&container, "/volumeMounts");
            assert_eq!(
                list(&now, "/volumeMounts").get(..mounts.len()),
                Some(&*mounts),
                "mounts of the pod are as they were"
            );
            let env = list(&container, "/env");
            if profile == Profile::FlyteV1 {
                assert_eq!(list(&now, "/env").get(..env.len()), Some(&*env), "variables of the pod are as they were");
            }
        }
    }
}

fn any_profile() -> impl Strategy<Value = Profile> {
    prop_oneof![Just(Profile::FlyteV1), Just(Profile::FlyteV2)]
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
    fn a_second_review_changes_nothing(
        spec in any_spec(), answers in vec(any_answer(), 1..4), profile in any_profile(),
    ) {
        let pod = pod_asking(answers.len(), spec);
        let mutator = scripted(profile, &answers);
        if let Some(first) = admitted(mutate(&mutator, &pod), &pod) {
            for pod in [stored(&first), first] {
                match mutate(&mutator, &pod).outcome {
                    Ok(second) => prop_assert!(second.patch.is_empty(), "{}", second.patch),
                    Err(refusal) => prop_assert!(false, "admitted once and not again: {}", refusal.message),
                }
            }
        }
    }

    #[test]
    fn containers_of_another_webhook_are_served_in_a_second_review_and_a_third_changes_nothing(
        spec in any_spec(), answers in vec(any_answer(), 1..4), profile in any_profile(),
    ) {
        let pod = pod_asking(answers.len(), spec);
        let mutator = scripted(profile, &answers);
        if let Some(mut meshed) = admitted(mutate(&mutator, &pod), &pod) {
            for list in ["initContainers", "containers"] {
                if meshed["spec"][list].is_null() {
                    meshed["spec"][list] = json!([]);
                }
                let containers = meshed["spec"][list].as_array_mut().expect("it is a list");
                containers.insert(0, json!({ "name": format!("mesh-{list}"), "image": "mesh:1" }));
            }
            let second = mutate(&mutator, &meshed);
            prop_assert!(second.outcome.is_ok(), "{:?}", second.outcome.map_err(|refusal| refusal.message));
            let second = admitted(second, &meshed).expect("it is");
            prop_assert_eq!(admitted(mutate(&mutator, &second), &second), Some(second));
        }
    }

    #[test]
    fn what_the_pod_says_is_kept(
        spec in any_spec(), answers in vec(any_answer(), 1..4), profile in any_profile(),
    ) {
        let pod = pod_asking(answers.len(), spec);
        if let Some(after) = admitted(mutate(&scripted(profile, &answers), &pod), &pod) {
            prop_assert_eq!(untouchable(&after), untouchable(&pod));
            check_kept(profile, &pod, &after);
        }
    }

    #[test]
    fn the_same_input_gives_the_same_bytes(
        spec in any_spec(), answers in vec(any_answer(), 1..4), profile in any_profile(),
    ) {
        let pod = pod_asking(answers.len(), spec);
        let answer = || match mutate(&scripted(profile, &answers), &pod).outcome {
            Ok(admitted) => serde_json::to_string(&admitted.patch).expect("a patch is JSON"),
            Err(refusal) => refusal.message,
        };
        prop_assert_eq!(answer(), answer());
    }
}
