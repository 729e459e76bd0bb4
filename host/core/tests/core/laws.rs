//! Laws of the mutator for any pod and any answers. The property tests and the fuzz target of the
//! edits check them.
//!
//! They include the changes that an API server makes to a pod between two reviews.

use std::sync::Arc;

use ampoule_core::{InjectionError, Mutation, PodEdit, PodMutator, Profile, SecretInjector};
use serde_json::{Value, json};

use super::support::{Scripted, mutate, mutator};

/// Returns a mutator with two injectors: one answers the even requests, the other the odd ones.
pub(crate) fn scripted(profile: Profile, answers: &[Vec<PodEdit>]) -> PodMutator {
    let injector = |name: &str, turn: usize| -> Arc<dyn SecretInjector> {
        let script = answers.to_vec();
        Scripted::answering(name, move |request, _| {
            let index: usize = request.key["key-".len()..].parse().expect("keys are numbered");
            let declined = || InjectionError::NotFound("not mine".into());
            Ok(if index % 2 == turn { Ok(script[index].clone()) } else { Err(declined()) })
        })
    };
    mutator(profile, vec![injector("even", 0), injector("odd", 1)])
}

/// Returns the patched pod if it is admitted.
pub(crate) fn admitted(mutation: Mutation, before: &Value) -> Option<Value> {
    let admitted = mutation.outcome.ok()?;
    let mut patched = before.clone();
    json_patch::patch(&mut patched, &admitted.patch).expect("the patch applies");
    Some(patched)
}

/// Returns the pod as an API server stores it: without empty values and with defaults.
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
        if let Some(token) = volume.pointer_mut("/projected/sources/0/serviceAccountToken")
            && token["expirationSeconds"].is_null()
        {
            token["expirationSeconds"] = json!(3600);
        }
    }
    pod
}

/// Returns the parts of a pod that no edit may change.
fn untouchable(pod: &Value) -> Value {
    let mut pod = pod.clone();
    let spec = pod["spec"].as_object_mut().expect("a pod has a spec");
    for list in ["volumes", "imagePullSecrets"] {
        spec.remove(list);
    }
    for list in ["initContainers", "containers"] {
        let containers = spec.remove(list).unwrap_or_default();
        let own = containers.as_array().into_iter().flatten().filter(|container| !container["newer/than~us"].is_null());
        let bare = own.map(|container| {
            let mut container = container.clone();
            for list in ["env", "volumeMounts"] {
                container.as_object_mut().expect("containers are objects").remove(list);
            }
            container
        });
        let bare: Vec<_> = bare.collect();
        if !bare.is_empty() {
            spec.insert(list.to_owned(), bare.into());
        }
    }
    pod["metadata"].as_object_mut().expect("a pod has metadata").remove("annotations");
    pod
}

/// Checks that a second review changes nothing, for the patched pod and for the stored pod.
pub(crate) fn check_second_review(mutator: &PodMutator, first: &Value) -> Result<(), String> {
    for pod in [&stored(first), first] {
        let second = mutate(mutator, pod).outcome;
        let second = second.map_err(|refusal| format!("the second review refuses the pod: {}", refusal.message))?;
        if !second.patch.is_empty() {
            return Err(format!("the second review changes {}", second.patch));
        }
    }
    Ok(())
}

/// Checks that the parts that no edit may change are equal, and that the author's content of the
/// other lists is complete.
pub(crate) fn check_kept(profile: Profile, before: &Value, after: &Value) {
    assert_eq!(untouchable(after), untouchable(before));
    let list = |pod: &Value, path: &str| pod.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
    let pull_secrets = list(after, "/spec/imagePullSecrets");
    assert!(list(before, "/spec/imagePullSecrets").iter().all(|secret| pull_secrets.contains(secret)));
    for volume in list(before, "/spec/volumes") {
        let now = list(after, "/spec/volumes").into_iter().find(|now| now["name"] == volume["name"]);
        let mut now = now.unwrap_or_else(|| panic!("volume {volume} is lost"));
        let items = list(&volume, "/secret/items");
        let now_items = list(&now, "/secret/items");
        assert!(items.iter().all(|item| now_items.contains(item)), "{volume} was reduced to {now}");
        assert_eq!(items.is_empty(), now_items.is_empty(), "{volume} was reduced to {now}");
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
                "mounts of the pod are unchanged"
            );
            let env = list(&container, "/env");
            if profile == Profile::FlyteV1 {
                assert_eq!(list(&now, "/env").get(..env.len()), Some(&*env), "variables of the pod are unchanged");
            }
        }
    }
}
