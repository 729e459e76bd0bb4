//! Delivery `pod`: the edits of the pod, second reviews, and what is refused.
//!
//! `tests/e2e/pod_fetch.rs` runs the containers of such pods.

use std::sync::Arc;

use ampoule_core::{
    Delivery, EnvSource, EnvVar, FETCH_VARIABLE, FetchDocument, FetchRecipe, FetchToken, FileSource, NamingKey,
    NoDelivery, PodEdit, PodFetching, PodMutator, PodVersions, Profile, Resources, SecretFile, VERSIONS_ANNOTATION,
    VariableDelivery,
};
use serde_json::{Value, json};

use crate::{
    delivery::Recorder,
    shapes::debugged,
    support::{Scripted, mutate, mutated, mutator, pod_asking},
};

fn variable(name: &str, promise: &str) -> PodEdit {
    PodEdit::SetEnv(EnvVar { name: name.to_owned(), source: EnvSource::Promise(promise.to_owned()) })
}

fn file(path: &str, promise: &str) -> PodEdit {
    let source = FileSource::Promise(promise.to_owned());
    PodEdit::WriteFile(SecretFile { path: path.to_owned(), mode: None, source })
}

fn resources() -> Resources {
    Resources { requests: vec![("cpu".to_owned(), "10m".to_owned())], limits: Vec::new() }
}

fn recipe() -> FetchRecipe {
    let token = FetchToken { file: "store-0".to_owned(), audience: Some("vault".to_owned()) };
    let variables = vec![("AWS_ROLE_ARN".to_owned(), "arn".to_owned())];
    FetchRecipe { plugin: json!({ "component": "0123" }), tokens: vec![token], variables, volume: None }
}

/// A mutator whose injector promises a variable and a file for each request.
fn fetching(variables: VariableDelivery, recipe: Option<FetchRecipe>) -> PodMutator {
    let answer = |key: &str| {
        let name = key.to_uppercase().replace('-', "_");
        vec![variable(&name, key), file(&format!("/etc/secrets/{key}"), key)]
    };
    with_answers(variables, recipe, answer)
}

fn with_answers(
    variables: VariableDelivery,
    recipe: Option<FetchRecipe>,
    answer: fn(&str) -> Vec<PodEdit>,
) -> PodMutator {
    refreshing(variables, recipe, answer, None)
}

fn refreshing(
    variables: VariableDelivery,
    recipe: Option<FetchRecipe>,
    answer: fn(&str) -> Vec<PodEdit>,
    refresh_seconds: Option<u64>,
) -> PodMutator {
    with_pods(variables, recipe, answer, |pods| PodFetching { refresh_seconds, ..pods })
}

fn with_pods(
    variables: VariableDelivery,
    recipe: Option<FetchRecipe>,
    answer: fn(&str) -> Vec<PodEdit>,
    change: impl FnOnce(PodFetching) -> PodFetching,
) -> PodMutator {
    let injector = Scripted::answering("store", move |request, _| Ok(Ok(answer(&request.key))));
    let image = "registry.example.com/ampoule@sha256:0123".to_owned();
    let pods = PodFetching {
        image,
        variables,
        total_seconds: 60,
        refresh_seconds: None,
        reports_changes: false,
        resources: resources(),
        recipes: vec![recipe.map(Arc::new)],
    };
    mutator(Profile::FlyteV1, vec![injector])
        .with_delivery(vec![Delivery::Pod], Arc::new(Recorder::default()))
        .with_pod_fetching(Some(change(pods)))
}

fn spec() -> Value {
    json!({ "containers": [{ "name": "a" }], "initContainers": [{ "name": "own" }] })
}

#[test]
fn a_pod_gets_memory_volumes_tokens_and_a_first_container_without_a_value() {
    let mutator = fetching(VariableDelivery::FileKey, Some(recipe()));
    let pod = mutated(&mutator, &pod_asking(2, spec()));
    insta::assert_json_snapshot!(pod["spec"]);
}

#[test]
fn a_second_review_changes_nothing_also_after_the_defaults_of_the_api_server() {
    for variables in [VariableDelivery::FileKey, VariableDelivery::File, VariableDelivery::Both] {
        let mutator = fetching(variables, Some(recipe()));
        let mut once = mutated(&mutator, &pod_asking(3, spec()));

        assert_eq!(mutated(&mutator, &once), once, "{variables:?}");
        for volume in once["spec"]["volumes"].as_array_mut().unwrap() {
            if let Some(projected) = volume.get_mut("projected") {
                projected["defaultMode"] = json!(0o644);
            }
        }
        for container in once["spec"]["initContainers"].as_array_mut().unwrap() {
            container["imagePullPolicy"] = json!("IfNotPresent");
            container["terminationMessagePath"] = json!("/dev/termination-log");
        }
        assert_eq!(mutated(&mutator, &once), once, "{variables:?} with defaults");
    }
}

#[test]
fn a_new_ephemeral_container_reads_what_the_running_pod_has_fetched() {
    for variables in [VariableDelivery::FileKey, VariableDelivery::File, VariableDelivery::Both] {
        let mutator = fetching(variables, Some(recipe()));
        let running = mutated(&mutator, &pod_asking(2, spec()));
        let updated = debugged(&mutator, &running, &[json!({ "name": "debugger" })]);
        let mut expected = running.clone();
        let container = &running["spec"]["containers"][0];
        let (env, mounts) = (&container["env"], &container["volumeMounts"]);
        expected["spec"]["ephemeralContainers"] = json!([{ "name": "debugger", "env": env, "volumeMounts": mounts }]);
        assert_eq!(updated, expected, "{variables:?}");
        let is_read = env.as_array().unwrap().iter().any(|variable| !variable["valueFrom"]["fileKeyRef"].is_null());
        assert_eq!(is_read, variables != VariableDelivery::File, "{variables:?}");
    }
}

#[test]
fn a_pod_with_files_has_a_sidecar_if_the_configuration_permits_one() {
    const ANNOTATION: &str = "ampoule.dev/refresh-seconds";
    let files = |key: &str| vec![file(&format!("/etc/secrets/{key}"), key)];
    let variables = |_: &str| vec![variable("A", "p")];
    let invalid = Err("annotation ampoule.dev/refresh-seconds: must be 0, or a number of seconds from 10 to 86400");
    for (configured, annotation, answer, expected) in [
        (None, None, files as fn(&str) -> Vec<PodEdit>, Ok(None)),
        (Some(60), None, files, Ok(Some(60))),
        (Some(60), None, variables, Ok(None)),
        (Some(60), Some(json!("300")), files, Ok(Some(300))),
        (Some(60), Some(json!("0")), files, Ok(None)),
        (None, Some(json!("0")), files, Ok(None)),
        (
            None,
            Some(json!("300")),
            files,
            Err("annotation ampoule.dev/refresh-seconds: delivery.pod.refreshSeconds is not set"),
        ),
        (Some(60), Some(json!("9")), files, invalid),
        (Some(60), Some(json!("86401")), files, invalid),
        (Some(60), Some(json!("often")), files, invalid),
        (
            Some(60),
            Some(json!(300)),
            files,
            Err("annotation ampoule.dev/refresh-seconds: must be a string, not a number"),
        ),
    ] {
        let mutator = refreshing(VariableDelivery::FileKey, Some(recipe()), answer, configured);
        let mut pod = pod_asking(2, spec());
        if let Some(value) = &annotation {
            pod["metadata"]["annotations"][ANNOTATION] = value.clone();
        }
        let Ok(seconds) = expected else {
            let refusal = mutate(&mutator, &pod).outcome.unwrap_err().message;
            assert!(refusal.ends_with(expected.unwrap_err()), "{refusal}");
            continue;
        };
        let pod = mutated(&mutator, &pod);
        let containers = pod["spec"]["initContainers"].as_array().unwrap();
        let names: Vec<_> = containers.iter().map(|container| container["name"].as_str().unwrap()).collect();
        if let Some(seconds) = seconds {
            assert_eq!(names, ["ampoule-fetch", "ampoule-refresh", "own"], "{configured:?} {annotation:?}");
            assert_eq!(containers[1]["restartPolicy"], "Always");
            assert_eq!(containers[1]["volumeMounts"], containers[0]["volumeMounts"]);
            assert_eq!(document_of(&containers[1]).refresh_seconds, Some(seconds));
        } else {
            assert_eq!(names, ["ampoule-fetch", "own"], "{configured:?} {annotation:?}");
        }
        assert_eq!(containers[0].get("restartPolicy"), None);
        assert_eq!(document_of(&containers[0]).refresh_seconds, None);
        assert_eq!(mutated(&mutator, &pod), pod, "a second review of {configured:?} {annotation:?}");
    }
}

#[test]
fn a_pod_with_variables_has_a_sidecar_that_reports_changes_if_the_process_searches_for_them() {
    let files = |key: &str| vec![file(&format!("/etc/secrets/{key}"), key)];
    let variables = |_: &str| vec![variable("A", "p")];
    let both = |key: &str| vec![variable("A", "p"), file(&format!("/etc/secrets/{key}"), key)];
    let (key_file, as_files) = (VariableDelivery::FileKey, VariableDelivery::File);
    for (what, form, answer, seconds, annotation, expected) in [
        ("variables", key_file, variables as fn(&str) -> Vec<PodEdit>, Some(60), None, Some(true)),
        ("both", key_file, both, Some(60), None, Some(true)),
        ("files", key_file, files, Some(60), None, Some(false)),
        ("variables as files", as_files, variables, Some(60), None, Some(false)),
        ("no interval", key_file, variables, None, None, None),
        ("the author wants none", key_file, variables, Some(60), Some("0"), None),
    ] {
        let change = |pods| PodFetching { refresh_seconds: seconds, reports_changes: true, ..pods };
        let mutator = with_pods(form, Some(recipe()), answer, change);
        let mut pod = pod_asking(1, spec());
        if let Some(seconds) = annotation {
            pod["metadata"]["annotations"]["ampoule.dev/refresh-seconds"] = json!(seconds);
        }
        let pod = mutated(&mutator, &pod);
        let containers = pod["spec"]["initContainers"].as_array().unwrap();
        let sidecar = containers.iter().find(|container| container["name"] == "ampoule-refresh");
        assert_eq!(sidecar.map(|sidecar| document_of(sidecar).report_changes), expected, "{what}");
        assert!(!document_of(&containers[0]).report_changes, "{what}");
        let annotation = pod["metadata"]["annotations"].get(VERSIONS_ANNOTATION);
        let key = NamingKey::new([0; NamingKey::BYTES]);
        let read = annotation.map(|text| PodVersions::read(text.as_str().unwrap(), "team-a", &key).unwrap());
        assert_eq!(read.is_some_and(|read| read.reports_changes()), expected == Some(true), "{what}");
        assert_eq!(mutated(&mutator, &pod), pod, "a second review: {what}");
    }
}

#[test]
fn a_container_that_another_webhook_put_first_is_a_warning() {
    let mutator = fetching(VariableDelivery::FileKey, Some(recipe()));
    let mut pod = mutated(&mutator, &pod_asking(1, spec()));
    assert_eq!(mutate(&mutator, &pod).outcome.unwrap().warnings, Vec::<String>::new());
    let containers = pod["spec"]["initContainers"].as_array_mut().unwrap();
    containers.insert(0, json!({ "name": "mesh-init" }));
    let admitted = mutate(&mutator, &pod).outcome.unwrap();
    let expected =
        "init container mesh-init runs before ampoule-fetch, so it has no secrets: another webhook put it first";
    assert_eq!(admitted.warnings, [expected]);
}

#[test]
fn a_promise_is_fetched_once_for_all_its_uses() {
    let answer = |key: &str| vec![variable("A", "same"), variable("B", "same"), file(&format!("/s/{key}"), "same")];
    for (form, files, variables) in
        [(VariableDelivery::FileKey, 1, 2), (VariableDelivery::File, 3, 0), (VariableDelivery::Both, 3, 2)]
    {
        let pod = mutated(&with_answers(form, Some(recipe()), answer), &pod_asking(1, spec()));
        let document = document(&pod);
        let [injector] = &document.injectors[..] else { panic!("{document:?}") };
        let [value] = &injector.values[..] else { panic!("{injector:?}") };
        assert_eq!((value.files.len(), value.variables.len()), (files, variables), "{form:?}");
        assert!(value.variables.iter().all(|variable| variable.optional == (form == VariableDelivery::Both)));
        let names: Vec<_> = env(&pod).iter().map(|variable| variable["name"].clone()).collect();
        let expected = match form {
            VariableDelivery::FileKey => vec!["A", "B"],
            VariableDelivery::File => vec!["A_FILE", "B_FILE"],
            VariableDelivery::Both => vec!["A", "A_FILE", "B", "B_FILE"],
        };
        assert_eq!(names, expected, "{form:?}");
    }
}

#[test]
fn what_a_pod_cannot_fetch_is_refused() {
    let taken = json!({ "containers": [{ "name": "ampoule-fetch", "image": "own" }] });
    let mounted = json!({
        "containers": [{ "name": "a", "volumeMounts": [{ "name": "own", "mountPath": "/etc/secrets" }] }],
        "volumes": [{ "name": "own", "emptyDir": {} }],
    });
    for (spec, recipe, expected) in [
        (spec(), None, "the plugin of injector store is being loaded for delivery: pod"),
        (
            taken,
            Some(recipe()),
            "container ampoule-fetch has different definitions from the pod and the init container",
        ),
        (mounted, Some(recipe()), "container a mounts volume own from the pod at /etc/secrets"),
    ] {
        let mutation = mutate(&fetching(VariableDelivery::FileKey, recipe), &pod_asking(1, spec));
        let refusal = mutation.outcome.unwrap_err();
        assert!(refusal.message.contains(expected), "{}", refusal.message);
    }
    for answer in [
        |_: &str| vec![variable("A", "p"), file("/run/ampoule/variables/env", "p")],
        |_: &str| vec![file("/var/run/secrets/ampoule/store-0", "p")],
        |_: &str| vec![file("/components/0123.cwasm", "p")],
        |_: &str| vec![file("/run/ampoule/image/components/0123.cwasm", "p")],
        |_: &str| vec![file("/run/ampoule/file", "p")],
    ] {
        let mutation = mutate(&with_answers(VariableDelivery::FileKey, Some(recipe()), answer), &pod_asking(1, spec()));
        let message = mutation.outcome.unwrap_err().message;
        assert!(message.contains("is in a directory that the init container uses itself"), "{message}");
    }
    let two = |key: &str| vec![file("/s/one", key)];
    let mutation = mutate(&with_answers(VariableDelivery::FileKey, Some(recipe()), two), &pod_asking(2, spec()));
    let message = mutation.outcome.unwrap_err().message;
    assert!(message.contains("file /s/one has different sources from injector store"), "{message}");
    let many =
        |key: &str| (0..200).map(|i| variable(&format!("V{i}"), &format!("{key}{i}{}", "x".repeat(1000)))).collect();
    let mutation = mutate(&with_answers(VariableDelivery::FileKey, Some(recipe()), many), &pod_asking(1, spec()));
    let message = mutation.outcome.unwrap_err().message;
    assert!(message.starts_with("the list of values to fetch in the pod has 2"), "{message}");
}

#[test]
fn a_pod_whose_containers_run_as_root_does_not_fetch_as_root() {
    for (context, expected) in [(json!({}), Value::Null), (json!({ "runAsUser": 0 }), json!(65532))] {
        let spec = json!({ "containers": [{ "name": "a" }], "securityContext": context });
        let pod = mutated(&fetching(VariableDelivery::FileKey, Some(recipe())), &pod_asking(1, spec));
        assert_eq!(pod["spec"]["initContainers"][0]["securityContext"]["runAsUser"], expected);
    }
}

#[test]
fn another_delivery_refuses_a_promise() {
    for (delivery, expected) in [
        (Delivery::Reference, "the plugin would fetch a value, and its delivery is `reference`"),
        (Delivery::Secret, "the plugin is being loaded for another delivery"),
        (Delivery::Inline, "the plugin is being loaded for another delivery"),
    ] {
        let injector = Scripted::answering("store", |_, _| Ok(Ok(vec![variable("A", "p")])));
        let mutator = mutator(Profile::FlyteV1, vec![injector]).with_delivery(vec![delivery], Arc::new(NoDelivery));
        let message = mutate(&mutator, &pod_asking(1, spec())).outcome.unwrap_err().message;
        assert!(message.contains(expected), "{message}");
    }
}

fn env(pod: &Value) -> &[Value] {
    pod["spec"]["containers"][0]["env"].as_array().map_or(&[], Vec::as_slice)
}

fn document(pod: &Value) -> FetchDocument {
    document_of(&pod["spec"]["initContainers"][0])
}

fn document_of(container: &Value) -> FetchDocument {
    let variables = container["env"].as_array().unwrap();
    let variable = variables.iter().find(|variable| variable["name"] == FETCH_VARIABLE).unwrap();
    serde_json::from_str(variable["value"].as_str().unwrap()).unwrap()
}

#[test]
fn a_container_of_an_earlier_configuration_is_named() {
    let old = mutated(&fetching(VariableDelivery::FileKey, Some(recipe())), &pod_asking(1, spec()));
    let changed = FetchRecipe { plugin: json!({ "component": "4567" }), ..recipe() };
    let refusal = mutate(&fetching(VariableDelivery::FileKey, Some(changed)), &old).outcome.unwrap_err();
    assert!(refusal.message.contains("has the init container ampoule-fetch of another configuration"), "{refusal:?}");
}

#[test]
fn a_template_and_all_keys_are_in_the_document_and_a_second_review_changes_nothing() {
    let list = "- { group: db, keys: all, path: /etc/all, mode: 0400 }
- { path: /etc/app/dsn, containers: [a], template: 'x{{ secret \"db\" \"user\" }}{{ secret \"db\" \"user\" }}' }
- { group: db, key: user, path: /etc/one/user, optional: true }
- { group: db, key: other, path: /etc/one/other, optional: true }";
    let mutator = with_answers(VariableDelivery::FileKey, Some(recipe()), |key| vec![file("/etc/secrets/x", key)]);
    let pod = json!({ "metadata": { "annotations": { "ampoule.dev/secrets": list } }, "spec": spec() });
    let once = mutated(&mutator, &pod);
    let containers = once["spec"]["initContainers"].as_array().unwrap();
    let variables = containers[0]["env"].as_array().unwrap();
    let document = variables.iter().find(|variable| variable["name"] == FETCH_VARIABLE).unwrap();
    let document: Value = serde_json::from_str(document["value"].as_str().unwrap()).unwrap();
    insta::assert_json_snapshot!(document);
    let mounts = |container: &Value| {
        let mounts = container["volumeMounts"].as_array().unwrap().iter();
        mounts.map(|mount| mount["mountPath"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(mounts(&containers[1]), ["/etc/all", "/etc/one"], "the init container of the pod");
    assert_eq!(mounts(&once["spec"]["containers"][0]), ["/etc/all", "/etc/app", "/etc/one"]);
    assert_eq!(mutated(&mutator, &once), once);
    let variables = pod_with("- { group: db, keys: all }");
    let message = mutate(&mutator, &variables).outcome.unwrap_err().message;
    assert!(message.ends_with("so they cannot be variables; set path"), "{message}");
    let apart = pod_with(
        "[{ group: db, key: a, path: /etc/x/a, containers: [a] }, { group: db, key: b, path: /etc/x/b, containers: [own] }]",
    );
    let message = mutate(&mutator, &apart).outcome.unwrap_err().message;
    assert!(message.starts_with("files for different containers are in /etc/x: "), "{message}");
}

fn pod_with(list: &str) -> Value {
    json!({ "metadata": { "annotations": { "ampoule.dev/secrets": list } }, "spec": spec() })
}
