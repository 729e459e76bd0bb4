//! Tests of the limits of one pod: what an edit becomes is bounded before it is copied.
//!
//! Long lists are compared with a simple model, because they are searched by an index.

use std::sync::atomic::{AtomicUsize, Ordering};

use ampoule_core::{
    AdmissionMemory, Annotation, EnvSource, EnvVar, InitContainer, KeyToPath, Mutation, Pod, PodEdit, PodLimits,
    PodMutator, PodOrigin, Profile, RefusalCode, Requester, SecretVolume, UnlimitedMemory, Volume, VolumeMount,
    VolumeSource,
};
use serde_json::{Value, json};

use crate::{
    edits::literal,
    support::{Scripted, mutate, mutated, mutator, pod_asking},
};

const PROFILES: [Profile; 3] = [Profile::FlyteV1, Profile::FlyteV2, Profile::Plain];

/// Memory of which a number of bytes is left.
struct Left(AtomicUsize);

impl AdmissionMemory for Left {
    fn grow(&self, bytes: usize) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

/// Edits that set a variable of their own for each secret, and one that all secrets share.
fn two_variables(value: &str) -> std::sync::Arc<dyn ampoule_core::SecretInjector> {
    let value = value.to_owned();
    Scripted::answering("one", move |request, _| {
        let own = request.key.to_uppercase().replace('-', "_");
        Ok(Ok(vec![literal(&own, &value), literal("SHARED", "same")]))
    })
}

fn containers(count: usize) -> Value {
    json!({ "containers": (0..count).map(|i| json!({ "name": format!("c{i}") })).collect::<Value>() })
}

/// A spec with one container that has `count` variables.
fn variables(count: usize, name: impl Fn(usize) -> String) -> Value {
    let env: Value = (0..count).map(|i| json!({ "name": name(i), "value": "x" })).collect();
    json!({ "containers": [{ "name": "main", "env": env }] })
}

fn ask(pod: &Value, memory: &dyn AdmissionMemory) -> Mutation {
    let pod = Pod::parse(pod.clone()).unwrap();
    let mutator = PodMutator::new(vec![two_variables("x")], Profile::FlyteV1.conventions());
    pollster::block_on(mutator.ask(
        &pod,
        &PodOrigin { namespace: "team-a", requester: &Requester::default(), dry_run: true },
        memory,
    ))
    .finish()
}

#[test]
fn a_pod_with_more_containers_than_the_limit_is_refused_before_an_injector_is_called() {
    let never = || Scripted::answering("never", |_, _| panic!("an injector was called"));
    let refusal = mutate(&mutator(Profile::FlyteV1, vec![never()]), &pod_asking(1, containers(401))).outcome;
    let refusal = refusal.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::BadRequest);
    assert_eq!(
        refusal.message,
        "the pod has 401 containers; secrets are injected into at most 400 (pods.maxContainers); use fewer containers"
    );
    assert!(
        mutate(&mutator(Profile::FlyteV1, vec![two_variables("x")]), &pod_asking(1, containers(400))).outcome.is_ok()
    );
    let without_requests = mutate(&mutator(Profile::FlyteV1, vec![never()]), &pod_asking(0, containers(401)));
    assert!(without_requests.outcome.unwrap().patch.0.is_empty(), "a pod without requests costs nothing");
}

#[test]
fn edits_that_would_add_more_than_the_limit_are_refused() {
    for profile in PROFILES {
        let long = "x".repeat(1000);
        let refusal = mutate(&mutator(profile, vec![two_variables(&long)]), &pod_asking(20, containers(400))).outcome;
        let refusal = refusal.unwrap_err();
        assert_eq!(refusal.code, RefusalCode::BadRequest);
        let expected = "one: too large: the secrets would add more than 2048 KiB to the pod; \
                        request fewer secrets or use fewer containers";
        assert!(refusal.message.ends_with(expected), "{}", refusal.message);
    }
}

#[test]
fn edits_that_add_nothing_are_bounded_as_well() {
    let visit_all = Scripted::edits("one", vec![literal("A", "x"); 200]);
    let refusal = mutate(&mutator(Profile::FlyteV1, vec![visit_all]), &pod_asking(3, containers(400))).outcome;
    let message = refusal.unwrap_err().message;
    assert!(message.contains("the secrets need more than 200000 changes of containers and volumes"), "{message}");
}

#[test]
fn a_volume_with_many_keys_does_not_cost_their_product_with_the_requests() {
    let items: Value = (0..2000).map(|i| json!({ "key": format!("k{i}"), "path": format!("k{i}") })).collect();
    let spec = json!({
        "containers": [{ "name": "main" }],
        "volumes": [{ "name": "v", "secret": { "secretName": "s", "items": items } }],
    });
    let merge = Scripted::answering("one", |request, _| {
        let items = vec![KeyToPath { key: request.key.clone(), path: request.key.clone() }];
        let secret = SecretVolume { secret_name: "s".into(), items, optional: false };
        Ok(Ok(vec![PodEdit::AddVolume(Volume { name: "v".into(), source: VolumeSource::Secret(secret) })]))
    });
    let mutator = mutator(Profile::FlyteV1, vec![merge]);
    assert_eq!(
        mutated(&mutator, &pod_asking(2, spec.clone()))["spec"]["volumes"][0]["secret"]["items"][2001]["key"],
        "key-1"
    );
    assert!(mutate(&mutator, &pod_asking(200, spec)).outcome.unwrap_err().message.contains("too large"));
}

#[test]
fn a_name_that_a_container_repeats_counts_each_time_it_is_compared() {
    let env = |count: usize| vec![EnvVar { name: "A".into(), source: EnvSource::Literal("y".into()) }; count];
    let add = |count| {
        PodEdit::AddInitContainer(InitContainer {
            name: "init".into(),
            image: "init:1".into(),
            command: Vec::new(),
            args: Vec::new(),
            env: env(count),
            mounts: Vec::new(),
            resources: None,
            security_context: None,
            position: None,
            patches: vec![],
        })
    };
    let mut spec = containers(1);
    let mut theirs = variables(2000, |_| "A".into())["containers"][0].take();
    theirs["image"] = json!("init:1");
    spec["initContainers"] = json!([theirs]);
    let mutator = |count| mutator(Profile::FlyteV1, vec![Scripted::edits("one", vec![add(count)])]);
    assert!(mutate(&mutator(1), &pod_asking(1, spec.clone())).outcome.is_ok());
    let message = mutate(&mutator(200), &pod_asking(1, spec)).outcome.unwrap_err().message;
    assert!(message.contains("the secrets need more than 200000 changes of containers and volumes"), "{message}");
}

#[test]
fn a_large_patch_reserves_memory_and_is_refused_for_now_if_there_is_none() {
    let small = pod_asking(3, containers(2));
    assert!(ask(&small, &Left(AtomicUsize::new(0))).outcome.is_ok(), "a usual patch reserves nothing");
    let large = pod_asking(20, containers(40));
    assert!(ask(&large, &UnlimitedMemory).outcome.is_ok());
    let refusal = ask(&large, &Left(AtomicUsize::new(0))).outcome.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::TooManyRequests);
    assert!(refusal.message.ends_with("one: the webhook's memory is in use by other admissions; retry in a second"));
}

/// Compares long lists, which are searched and compared in another way than short ones, with a
/// simple model.
#[test]
fn long_lists_get_the_same_edits_as_short_ones() {
    let request_names = ["KEY_0", "KEY_1", "KEY_2"];
    for length in [0_usize, 1, 14, 30, 31, 32, 33, 40, 255, 256, 300, 2000] {
        let places =
            [vec![], vec![0], vec![length / 2], vec![length.saturating_sub(1)], vec![0, length / 3, length / 2]];
        for places in places {
            let name = |i: usize| match places.iter().position(|place| *place == i) {
                Some(n) => request_names[n].to_owned(),
                None => format!("OTHER_{i}"),
            };
            let pod = pod_asking(3, variables(length, name));
            for (profile, value) in PROFILES.into_iter().flat_map(|profile| [(profile, "x"), (profile, "y")]) {
                let mutator = mutator(profile, vec![two_variables(value)]);
                let once = mutated(&mutator, &pod);
                let expected = model(profile, &pod, &request_names, value);
                assert_eq!(once["spec"]["containers"][0]["env"], expected, "{profile} {length} {places:?} {value}");
                assert_eq!(mutated(&mutator, &once), once, "a second review changes nothing");
                let again = mutate(&mutator, &once).outcome.unwrap();
                assert!(again.patch.0.is_empty(), "{profile} {length} {places:?}: {:?}", again.patch);
            }
        }
    }
}

/// The variables of the first container after [`two_variables`].
fn model(profile: Profile, pod: &Value, names: &[&str], value: &str) -> Value {
    let mut env = pod["spec"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
    for (name, value) in names.iter().flat_map(|name| [(*name, value), ("SHARED", "same")]) {
        let entry = json!({ "name": name, "value": value });
        let is_present = env.iter().any(|existing| existing["name"] == name);
        match profile {
            Profile::FlyteV1 | Profile::Plain if is_present => {}
            Profile::FlyteV1 => env.push(entry),
            Profile::Plain => env.insert(0, entry),
            Profile::FlyteV2 => {
                env.retain(|existing| existing["name"] != name);
                env.insert(0, entry);
            }
        }
    }
    Value::Array(env)
}

#[test]
fn duplicates_of_a_variable_in_a_long_list_are_all_replaced() {
    let pod = pod_asking(1, variables(600, |i| if i % 3 == 0 { "KEY_0".into() } else { format!("OTHER_{i}") }));
    let mutator = mutator(Profile::FlyteV2, vec![two_variables("y")]);
    let once = mutated(&mutator, &pod);
    assert_eq!(once["spec"]["containers"][0]["env"], model(Profile::FlyteV2, &pod, &["KEY_0"], "y"));
}

#[test]
fn a_mount_in_a_long_list_is_found_by_volume_and_by_path() {
    let mounts: Value = (0..100).map(|i| json!({ "name": format!("v{i}"), "mountPath": format!("/m/{i}/") })).collect();
    let volumes: Value = (0..100).map(|i| json!({ "name": format!("v{i}"), "emptyDir": {} })).collect();
    let spec = json!({ "containers": [{ "name": "main", "volumeMounts": mounts }], "volumes": volumes });
    let mount = |volume: &str, path: &str| {
        PodEdit::MountVolume(VolumeMount { volume: volume.into(), path: path.into(), read_only: true, sub_path: None })
    };
    let result = |edit| {
        mutate(&mutator(Profile::FlyteV1, vec![Scripted::edits("one", vec![edit])]), &pod_asking(1, spec.clone()))
    };
    assert!(result(mount("v99", "/elsewhere")).outcome.unwrap().patch.0.is_empty(), "the volume is mounted already");
    let refusal = result(mount("v98", "/m/97")).outcome;
    assert!(refusal.is_ok(), "a volume that is mounted keeps its path");
    let volume = PodEdit::AddVolume(Volume { name: "new".into(), source: VolumeSource::Memory { size_limit: None } });
    let edits = vec![volume, mount("new", "/m/97")];
    let refusal = mutate(&mutator(Profile::FlyteV1, vec![Scripted::edits("one", edits)]), &pod_asking(1, spec.clone()));
    let message = refusal.outcome.unwrap_err().message;
    assert!(message.contains("container main mounts volume v97 from the pod at /m/97"), "{message}");
}

#[test]
fn an_invalid_answer_after_accepted_ones_changes_nothing() {
    let faulty = Scripted::answering("faulty", |_, _| {
        let invalid = EnvVar { name: "A=B".into(), source: EnvSource::Literal("x".into()) };
        Ok(Ok(vec![literal("LOST", "x"), PodEdit::SetEnv(invalid)]))
    });
    let pod = pod_asking(3, variables(2, |i| format!("OTHER_{i}")));
    let with_faulty = mutated(&mutator(Profile::FlyteV1, vec![faulty, two_variables("x")]), &pod);
    assert_eq!(with_faulty, mutated(&mutator(Profile::FlyteV1, vec![two_variables("x")]), &pod));
}

#[test]
fn the_default_limits_admit_a_pod_of_the_usual_size() {
    let limits = PodLimits::default();
    assert_eq!((limits.containers, limits.patch_bytes), (400, 2 << 20));
    assert!(ask(&pod_asking(20, containers(40)), &UnlimitedMemory).outcome.is_ok());
}

#[test]
fn the_keys_of_annotations_and_variables_that_stay_are_counted() {
    let annotate = Scripted::answering("one", |request, _| {
        let key = format!("{}{}", request.key, "k".repeat(200_000));
        let annotation =
            Annotation { key, value: String::new(), collision: ampoule_core::AnnotationCollision::IfAbsent };
        Ok(Ok(vec![PodEdit::SetAnnotation(annotation)]))
    });
    let keep = Scripted::answering("one", |request, _| {
        let value = "x".repeat(200_000);
        Ok(Ok(vec![literal(&request.key.to_uppercase().replace('-', "_"), &value)]))
    });
    let present = variables(20, |i| format!("KEY_{i}"));
    for injector in [annotate, keep] {
        let refusal = mutate(&mutator(Profile::FlyteV1, vec![injector]), &pod_asking(20, present.clone())).outcome;
        assert!(refusal.unwrap_err().message.contains("more than 2048 KiB"));
    }
}
